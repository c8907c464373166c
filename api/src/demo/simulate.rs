//! Rooms, tanks and mains that behave as real ones do: what the demo's devices measure, and benchmarks may use.
//!
//! Pure: a model is advanced on a fixed grid of [`STEP_S`] seconds with randomness from its seed alone, so that the
//! same seed and start give the same values at the same times, however often and in whatever steps it is asked.
//! Temperatures follow first-order heat flow (leaks, doors, compressors with hysteresis, heaters), probes lag, and
//! what is read is rounded as the device would round it.
//! Not here: which devices there are (`cast`), how they say it (`vendor`), clocks.

/// The grid on which models are advanced, seconds: shorter than every time constant here.
pub const STEP_S: i64 = 20;
const STEP: f64 = STEP_S as f64;
const HOUR_S: i64 = 3600;
const DAY_S: i64 = 86_400;

/// One measured value. Units are those of the kind.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Value {
    /// Such as `temperature`.
    pub kind: &'static str,
    /// Tells two values of a kind apart.
    pub label: Option<&'static str>,
    /// As the device shows it.
    pub value: f64,
}

/// A value without a label.
pub const fn plain(kind: &'static str, value: f64) -> Value {
    Value {
        kind,
        label: None,
        value,
    }
}

/// A value with a label.
pub const fn labelled(kind: &'static str, label: &'static str, value: f64) -> Value {
    Value {
        kind,
        label: Some(label),
        value,
    }
}

/// SplitMix64: small, fast, good enough for noise, the same on every machine.
#[derive(Debug, Clone)]
pub struct Rng(u64);

impl Rng {
    /// A generator of this seed.
    pub const fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// The next 64 bits.
    #[allow(
        clippy::should_implement_trait,
        reason = "it never ends, so it is no iterator"
    )]
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    /// In [0, 1).
    pub fn unit(&mut self) -> f64 {
        (self.next() >> 11) as f64 / (1u64 << 53) as f64
    }

    /// In [from, to).
    pub fn between(&mut self, from: f64, to: f64) -> f64 {
        from + (to - from) * self.unit()
    }

    /// Bell-shaped around 0 with standard deviation 1 (the sum of twelve).
    pub fn bell(&mut self) -> f64 {
        (0..12).map(|_| self.unit()).sum::<f64>() - 6.0
    }

    /// Whether something that happens so many times an hour happens within one step.
    pub fn happens(&mut self, times_an_hour: f64) -> bool {
        self.unit() < times_an_hour * STEP / HOUR_S as f64
    }
}

/// A moment on the wall clock of a place.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Local {
    /// Seconds since 1970, UTC.
    pub unix_s: i64,
    /// Seconds since 1970, by the local wall clock.
    pub wall_s: i64,
}

impl Local {
    /// The hour of the day, with decimals.
    pub fn hour(self) -> f64 {
        self.wall_s.rem_euclid(DAY_S) as f64 / HOUR_S as f64
    }

    /// Monday is 0.
    pub fn weekday(self) -> i64 {
        (self.wall_s.div_euclid(DAY_S) + 3).rem_euclid(7)
    }

    /// A bump around an hour of the day: 1 there, falling off over `width` hours, across midnight too.
    pub fn bump(self, hour: f64, width: f64) -> f64 {
        let away = (self.hour() - hour).abs();
        let away = away.min(24.0 - away) / width;
        (-away * away).exp()
    }
}

/// Something that can be measured.
pub trait Model: Send {
    /// One step of [`STEP_S`] seconds.
    fn step(&mut self, now: Local, rng: &mut Rng);
    /// What the probes show; `noise` differs from call to call and changes nothing in the model.
    fn read(&self, noise: &mut Rng, out: &mut Vec<Value>);
}

/// A model at a place, from a start on.
pub struct Plant {
    model: Box<dyn Model>,
    rng: Rng,
    seed: u64,
    wall: Box<dyn Fn(i64) -> i64 + Send>,
    next_s: i64,
}

impl Plant {
    /// `wall` gives the local wall clock for a time in UTC, both in seconds since 1970.
    pub fn new(
        model: impl Model + 'static,
        seed: u64,
        start_s: i64,
        wall: impl Fn(i64) -> i64 + Send + 'static,
    ) -> Self {
        Self {
            model: Box::new(model),
            rng: Rng::new(seed),
            seed,
            wall: Box::new(wall),
            next_s: start_s.div_euclid(STEP_S) * STEP_S,
        }
    }

    /// What is measured at a time that is not before the one asked for last.
    pub fn at(&mut self, unix_s: i64) -> Vec<Value> {
        while self.next_s <= unix_s {
            let now = Local {
                unix_s: self.next_s,
                wall_s: (self.wall)(self.next_s),
            };
            self.model.step(now, &mut self.rng);
            self.next_s += STEP_S;
        }
        let mut noise = Rng::new(self.seed ^ (unix_s as u64).wrapping_mul(0xD6E8_FEB8_6659_FD93));
        let mut values = Vec::new();
        self.model.read(&mut noise, &mut values);
        values
    }
}

fn round(value: f64, decimals: i32) -> f64 {
    let factor = 10f64.powi(decimals);
    (value * factor).round() / factor
}

/// How much a kitchen is at work, 0 to 1: deliveries in the morning, lunch, dinner; closed on Mondays.
fn kitchen(now: Local) -> f64 {
    let busy = 0.45 * now.bump(8.5, 1.0) + now.bump(12.5, 1.4) + 0.9 * now.bump(19.5, 1.7);
    (busy * if now.weekday() == 0 { 0.15 } else { 1.0 }).min(1.0)
}

/// A refrigerator or freezer: air, goods, compressor, door, defrosts.
#[derive(Debug, Clone)]
pub struct Cold {
    /// Where the compressor holds it, °C.
    pub set: f64,
    /// Hours between defrosts, and how long one lasts in minutes.
    pub defrost: Option<(i64, i64)>,
    /// From when on the door stands ajar, seconds since 1970.
    pub ajar_from_s: Option<i64>,
    /// Door openings an hour when the kitchen is at work.
    pub doors: f64,
    /// What is measured.
    pub probes: ColdProbes,
    air: f64,
    goods: f64,
    coil: f64,
    shown: f64,
    moist: f64,
    on: bool,
    door_s: f64,
    battery: f64,
}

/// What a device in a refrigerator measures.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ColdProbes {
    /// Temperature and humidity.
    Climate,
    /// Air and evaporator coil.
    AirAndCoil,
}

/// Heat through the walls, a share of the difference a second.
const LEAK: f64 = 1.4e-4;
/// Heat through an open door.
const DOOR: f64 = 2.2e-3;
/// Heat through a door that stands ajar.
const AJAR: f64 = 5.2e-4;
/// Heat between air and goods.
const GOODS: f64 = 4.0e-4;
/// How fast a compressor cools, °C a second, for each degree below a room's 23 °C it has to hold.
const COOL: f64 = 3.6e-4;
/// Seconds that a probe in its housing lags.
const LAG_S: f64 = 150.0;

impl Cold {
    /// One that is held at `set` °C.
    pub fn new(set: f64, doors: f64) -> Self {
        Self {
            set,
            defrost: None,
            ajar_from_s: None,
            doors,
            probes: ColdProbes::Climate,
            air: set,
            goods: set,
            coil: set - 6.0,
            shown: set,
            moist: 68.0,
            on: false,
            door_s: 0.0,
            battery: 97.0,
        }
    }

    fn defrosts(&self, now: Local) -> bool {
        self.defrost
            .is_some_and(|(every_h, minutes)| now.wall_s.rem_euclid(every_h * HOUR_S) < minutes * 60)
    }

    fn door(&mut self, now: Local, rng: &mut Rng) -> f64 {
        let busy = kitchen(now);
        if self.door_s <= 0.0 && rng.happens(0.15 + self.doors * busy) {
            self.door_s = 8.0 + 70.0 * rng.unit().powi(2);
        }
        let open = (self.door_s / STEP).clamp(0.0, 1.0);
        self.door_s -= STEP;
        let ajar = self.ajar_from_s.is_some_and(|from| now.unix_s >= from);
        DOOR * open + if ajar { AJAR } else { 0.0 }
    }
}

impl Model for Cold {
    fn step(&mut self, now: Local, rng: &mut Rng) {
        let room = 21.0 + 4.5 * kitchen(now) + 1.2 * now.bump(15.0, 5.0);
        let door = self.door(now, rng);
        let defrosting = self.defrosts(now);
        if defrosting {
            self.on = false;
        } else if self.air > self.set + 0.9 {
            self.on = true;
        } else if self.air < self.set - 0.9 {
            self.on = false;
        }
        let cooling = if self.on {
            COOL * (23.0 - self.set) * 0.9
        } else {
            0.0
        };
        let heater = if defrosting { 2.4e-3 } else { 0.0 };
        let flow = (room - self.air) * (LEAK + door) + (self.goods - self.air) * GOODS - cooling + heater;
        self.air += flow * STEP;
        self.goods += (self.air - self.goods) * 4.0e-5 * STEP;
        let coil_to = match (defrosting, self.on) {
            (true, _) => 8.0,
            (false, true) => self.air - 9.0,
            (false, false) => self.air - 1.0,
        };
        self.coil += (coil_to - self.coil) * STEP / 260.0;
        self.shown += (self.air - self.shown) * STEP / LAG_S;
        let moist_to = if self.on { 60.0 } else { 74.0 } + 2.0e4 * door.min(9.0e-4);
        self.moist += (moist_to - self.moist) * STEP / 420.0 + 0.05 * rng.bell();
        self.moist = self.moist.clamp(30.0, 97.0);
        self.battery = (self.battery - 1.4e-5 * rng.unit()).max(12.0);
    }

    fn read(&self, noise: &mut Rng, out: &mut Vec<Value>) {
        match self.probes {
            ColdProbes::Climate => {
                out.push(plain("temperature", round(self.shown + 0.03 * noise.bell(), 1)));
                out.push(plain("humidity", round(self.moist + 0.2 * noise.bell(), 1)));
                out.push(plain("battery", self.battery.round()));
            }
            ColdProbes::AirAndCoil => {
                out.push(labelled(
                    "temperature",
                    "air",
                    round(self.shown + 0.03 * noise.bell(), 2),
                ));
                out.push(labelled(
                    "temperature",
                    "evaporator",
                    round(self.coil + 0.05 * noise.bell(), 2),
                ));
            }
        }
    }
}

/// A hotel's hot water: a storage tank in two layers, a boiler, a circulation, guests, and a flush at night that
/// keeps legionella away.
#[derive(Debug, Clone)]
pub struct HotWater {
    /// Which probes this device has.
    pub probes: HotProbes,
    top: f64,
    bottom: f64,
    supply: f64,
    back: f64,
    heating: bool,
    showers: f64,
    battery: f64,
}

/// Where a device's probes are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HotProbes {
    /// In the tank.
    Storage,
    /// On the pipes.
    Circulation,
}

impl HotWater {
    /// A tank at rest.
    pub fn new(probes: HotProbes) -> Self {
        Self {
            probes,
            top: 63.0,
            bottom: 59.0,
            supply: 61.5,
            back: 56.0,
            heating: false,
            showers: 0.0,
            battery: 3.61,
        }
    }
}

impl Model for HotWater {
    fn step(&mut self, now: Local, rng: &mut Rng) {
        let guests = now.bump(7.3, 1.1) + 0.35 * now.bump(13.0, 1.5) + 0.75 * now.bump(20.7, 1.6) + 0.03;
        self.showers += (guests * rng.between(0.3, 1.7) - self.showers) * STEP / 300.0;
        let flush = (2.5..3.25).contains(&now.hour());
        let (low, high) = if flush { (70.0, 71.5) } else { (61.5, 64.5) };
        if self.top < low || self.bottom < low - 4.0 {
            self.heating = true;
        } else if self.bottom > high - 0.5 {
            self.heating = false;
        }
        let heat = if self.heating { 2.6e-3 } else { 0.0 };
        // Cold water enters below, and what is warm rises.
        self.bottom += (heat * 1.25 - self.showers * (self.bottom - 12.0) * 3.4e-5) * STEP;
        let mixing = if self.bottom > self.top { 4.0e-3 } else { 5.0e-5 };
        self.top += ((self.bottom - self.top) * mixing + heat * 0.6 - 1.2e-4) * STEP;
        self.bottom -= 9.0e-5 * STEP;
        self.top = self.top.min(74.0);
        self.bottom = self.bottom.min(74.0);
        self.supply += (self.top - 1.1 - self.supply) * STEP / 120.0;
        let lost = if flush {
            3.2
        } else {
            5.4 - 1.5 * self.showers.min(1.0)
        } + 0.12 * rng.bell();
        self.back += (self.supply - lost - self.back) * STEP / 480.0;
        self.battery = (self.battery - 2.0e-8 * STEP).max(3.0);
    }

    fn read(&self, noise: &mut Rng, out: &mut Vec<Value>) {
        let mut probe = |label, value: f64| {
            out.push(labelled(
                "temperature",
                label,
                round(value + 0.06 * noise.bell(), 2),
            ));
        };
        match self.probes {
            HotProbes::Storage => {
                probe("storage_top", self.top);
                probe("storage_bottom", self.bottom);
            }
            HotProbes::Circulation => {
                probe("flow_supply", self.supply);
                probe("flow_return", self.back);
            }
        }
        out.push(plain("battery_voltage", round(self.battery, 3)));
    }
}

/// A rack: air in, air out, humidity, a leak sensor on the floor, and one afternoon on which the cooling failed.
#[derive(Debug, Clone)]
pub struct Rack {
    /// When the cooling fails: from and to, seconds since 1970.
    pub failure: (i64, i64),
    intake: f64,
    exhaust: f64,
    moist: f64,
    load: f64,
    cooling: bool,
}

impl Rack {
    /// A rack whose cooling fails once.
    pub const fn new(failure: (i64, i64)) -> Self {
        Self {
            failure,
            intake: 21.0,
            exhaust: 33.0,
            moist: 43.0,
            load: 0.7,
            cooling: true,
        }
    }
}

impl Model for Rack {
    fn step(&mut self, now: Local, rng: &mut Rng) {
        let office = if now.weekday() < 5 {
            now.bump(13.0, 4.5)
        } else {
            0.1
        };
        let backup = if (1.0..2.6).contains(&now.hour()) {
            0.22
        } else {
            0.0
        };
        let load_to = 0.55 + 0.25 * office + backup;
        self.load += (load_to - self.load) * STEP / 240.0 + 0.004 * rng.bell();
        let failed = (self.failure.0..self.failure.1).contains(&now.unix_s);
        if failed || self.intake < 20.6 {
            self.cooling = false;
        } else if self.intake > 22.0 {
            self.cooling = true;
        }
        let heat = 2.6e-3 * self.load;
        let cold = if self.cooling { 4.4e-3 } else { 0.0 };
        let room = (26.0 - self.intake) * 8.0e-5;
        // Beyond 34 °C the walls and an opened door take what the racks give.
        let walls = (self.intake - 31.0).max(0.0) * 9.0e-4;
        self.intake += (heat - cold + room - walls) * STEP;
        self.exhaust += (self.intake + 5.5 + 9.5 * self.load - self.exhaust) * STEP / 180.0;
        let moist_to = 43.0 + 4.0 * now.bump(16.0, 5.0) - 1.1 * (self.intake - 21.0);
        self.moist += (moist_to - self.moist) * STEP / 1800.0 + 0.03 * rng.bell();
        self.moist = self.moist.clamp(20.0, 70.0);
    }

    fn read(&self, noise: &mut Rng, out: &mut Vec<Value>) {
        out.push(labelled(
            "temperature",
            "intake",
            round(self.intake + 0.04 * noise.bell(), 2),
        ));
        out.push(labelled(
            "temperature",
            "exhaust",
            round(self.exhaust + 0.08 * noise.bell(), 2),
        ));
        out.push(plain("humidity", round(self.moist + 0.15 * noise.bell(), 1)));
        out.push(plain("leak", 0.0));
    }
}

/// A room in which people come and go: temperature, humidity, CO₂.
#[derive(Debug, Clone)]
pub struct Room {
    /// What is measured.
    pub probes: RoomProbes,
    air: f64,
    moist: f64,
    co2: f64,
}

/// What a device in a room measures.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RoomProbes {
    /// Temperature, humidity and CO₂ of a shop.
    Shop,
    /// Temperature and humidity of a cellar that keeps both; channels 1 and 2 of a logger.
    Cellar,
}

impl Room {
    /// A room at rest.
    pub fn new(probes: RoomProbes) -> Self {
        let cellar = probes == RoomProbes::Cellar;
        Self {
            probes,
            air: if cellar { 12.6 } else { 21.0 },
            moist: if cellar { 71.0 } else { 46.0 },
            co2: 450.0,
        }
    }
}

impl Model for Room {
    fn step(&mut self, now: Local, rng: &mut Rng) {
        if self.probes == RoomProbes::Cellar {
            let outside = now.bump(15.5, 5.0);
            self.air += ((12.3 + 0.9 * outside - self.air) / 14_000.0 + 2.0e-4 * rng.bell() / STEP) * STEP;
            self.moist += ((71.0 - 2.0 * outside - self.moist) / 9_000.0) * STEP + 0.01 * rng.bell();
            return;
        }
        let people = (now.bump(8.0, 1.2) + 0.7 * now.bump(12.3, 1.5) + 0.4 * now.bump(17.0, 1.5)).min(1.0);
        self.air +=
            (20.2 + 3.4 * people + 1.6 * now.bump(15.0, 4.0) - self.air) * STEP / 2400.0 + 0.004 * rng.bell();
        self.moist += (44.0 + 7.0 * people - self.moist) * STEP / 2700.0 + 0.02 * rng.bell();
        self.co2 += (435.0 + 780.0 * people * rng.between(0.6, 1.4) - self.co2) * STEP / 1500.0;
    }

    fn read(&self, noise: &mut Rng, out: &mut Vec<Value>) {
        let air = round(self.air + 0.05 * noise.bell(), 1);
        let moist = round(self.moist + 0.2 * noise.bell(), 1);
        if self.probes == RoomProbes::Cellar {
            out.push(labelled("temperature", "1", air));
            out.push(labelled("humidity", "2", moist));
            out.push(plain("rssi", -66.0 + (2.0 * noise.bell()).round()));
        } else {
            out.push(plain("temperature", air));
            out.push(plain("humidity", moist));
            out.push(plain("co2", (self.co2 + 6.0 * noise.bell()).round()));
        }
    }
}

/// A bakery on three phases: ovens at night on `a`, machines on `b`, ventilation and light on `c`.
#[derive(Debug, Clone)]
pub struct Mains {
    watts: [f64; 3],
    watt_hours: [f64; 3],
    oven: bool,
    compressor: bool,
    sag: f64,
    hertz: f64,
}

/// The phases' names.
pub const PHASES: [&str; 3] = ["a", "b", "c"];

impl Default for Mains {
    fn default() -> Self {
        Self {
            watts: [380.0, 300.0, 250.0],
            watt_hours: [2_034_616.0, 985_686.0, 1_369_469.0],
            oven: false,
            compressor: false,
            sag: 0.0,
            hertz: 50.0,
        }
    }
}

impl Model for Mains {
    fn step(&mut self, now: Local, rng: &mut Rng) {
        let hour = now.hour();
        let sunday = now.weekday() == 6;
        let baking = (2.0..9.5).contains(&hour) && !sunday;
        let preheating = (2.0..3.0).contains(&hour);
        // A thermostat: on for about three minutes of five once the oven is hot.
        let switches = if self.oven { 14.0 } else { 22.0 };
        if !baking {
            self.oven = false;
        } else if preheating || rng.happens(switches) {
            self.oven = preheating || !self.oven;
        }
        if rng.happens(if self.compressor { 6.0 } else { 3.5 }) {
            self.compressor = !self.compressor;
        }
        let open = if sunday { 0.0 } else { now.bump(11.0, 4.5) };
        let dark = now.bump(21.5, 3.5) + now.bump(4.5, 2.5);
        let to = [
            240.0
                + if self.oven {
                    5_350.0
                } else {
                    60.0 * f64::from(u8::from(baking))
                },
            180.0 + if self.compressor { 820.0 } else { 0.0 } + if baking { 640.0 * rng.unit() } else { 0.0 },
            160.0 + 1_250.0 * open + 430.0 * dark.min(1.0),
        ];
        for ((watts, watt_hours), to) in self.watts.iter_mut().zip(&mut self.watt_hours).zip(to) {
            *watts += (to * (1.0 + 0.01 * rng.bell()) - *watts) * 0.7;
            *watt_hours += *watts * STEP / HOUR_S as f64;
        }
        self.sag += (1.6 * now.bump(19.0, 3.0) - self.sag) * STEP / 900.0 + 0.02 * rng.bell();
        self.hertz += (50.0 - self.hertz) * 0.2 + 0.004 * rng.bell();
    }

    fn read(&self, noise: &mut Rng, out: &mut Vec<Value>) {
        let (mut watts, mut apparent, mut amperes) = (0.0, 0.0, 0.0);
        for (n, phase) in PHASES.into_iter().enumerate() {
            let power = round(self.watts[n] * (1.0 + 0.002 * noise.bell()), 1);
            let volts = round(233.4 - self.sag - 7.5e-4 * power + 0.15 * noise.bell(), 1);
            // Small loads are electronics, large ones heat.
            let factor = (0.62 + 0.36 * (power / 1500.0).min(1.0)).min(0.99);
            let volt_amperes = round(power / factor, 1);
            let current = round(volt_amperes / volts, 3);
            out.extend([
                labelled("power", phase, power),
                labelled("apparent_power", phase, volt_amperes),
                labelled("voltage", phase, volts),
                labelled("current", phase, current),
                labelled("power_factor", phase, round(factor, 2)),
                labelled("frequency", phase, round(self.hertz, 2)),
                labelled("energy", phase, kilowatt_hours(self.watt_hours[n])),
            ]);
            watts += power;
            apparent += volt_amperes;
            amperes += current;
        }
        out.extend([
            labelled("power", "total", round(watts, 1)),
            labelled("apparent_power", "total", round(apparent, 1)),
            labelled("current", "total", round(amperes, 3)),
            labelled("energy", "total", kilowatt_hours(self.watt_hours.iter().sum())),
            labelled("energy_returned", "total", 0.0),
        ]);
    }
}

/// Meters count watt-hours with two decimals.
fn kilowatt_hours(watt_hours: f64) -> f64 {
    round(watt_hours, 2) / 1000.0
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A Wednesday at midnight.
    const START_S: i64 = 1_780_444_800;

    fn plant(model: impl Model + 'static) -> Plant {
        Plant::new(model, 7, START_S, |s| s)
    }

    fn series(plant: &mut Plant, kind: &str, label: Option<&str>, hours: i64) -> Vec<f64> {
        (0..hours * 60)
            .map(|minute| {
                let values = plant.at(START_S + minute * 60);
                let found = values.iter().find(|v| v.kind == kind && v.label == label);
                found.expect("the device measures it").value
            })
            .collect()
    }

    fn range(values: &[f64]) -> (f64, f64) {
        values
            .iter()
            .fold((f64::MAX, f64::MIN), |(low, high), v| (low.min(*v), high.max(*v)))
    }

    #[test]
    fn the_same_seed_measures_the_same_however_it_is_asked() {
        let mut often = plant(Cold::new(3.0, 8.0));
        let mut rarely = plant(Cold::new(3.0, 8.0));
        let mut last = Vec::new();
        for second in (0..=7200).step_by(7) {
            last = often.at(START_S + second);
        }
        assert_eq!(last, rarely.at(START_S + 7200 / 7 * 7));
        let mut other = Plant::new(Cold::new(3.0, 8.0), 8, START_S, |s| s);
        assert_ne!(last, other.at(START_S + 7200 / 7 * 7));
    }

    #[test]
    fn a_closed_refrigerator_stays_within_its_limits_and_one_ajar_does_not() {
        let mut closed = plant(Cold::new(2.8, 7.0));
        let values = series(&mut closed, "temperature", None, 14 * 24);
        let (low, high) = range(&values);
        assert!(low > 0.5 && high < 8.0, "{low} to {high}");
        let outside = values.iter().filter(|v| **v > 5.0).count();
        assert!(outside * 33 < values.len(), "{outside} of {}", values.len());
        let mut ajar = Cold::new(2.8, 7.0);
        ajar.ajar_from_s = Some(START_S + 20 * 3600);
        let values = series(&mut plant(ajar), "temperature", None, 21);
        let last = *values.last().expect("values");
        assert!((6.0..14.0).contains(&last), "{last}");
    }

    #[test]
    fn a_freezer_rises_at_each_defrost_and_comes_back() {
        let mut freezer = Cold::new(-20.0, 2.0);
        freezer.defrost = Some((6, 25));
        freezer.probes = ColdProbes::AirAndCoil;
        let mut freezer = plant(freezer);
        let air = series(&mut freezer, "temperature", Some("air"), 24);
        for defrost in 1..4 {
            let at = defrost * 360;
            let (_, peak) = range(&air[at..at + 60]);
            let (_, before) = range(&air[at - 60..at]);
            assert!(peak > before + 2.0, "defrost {defrost}: {before} then {peak}");
            assert!(air[at + 180] < -18.0, "{}", air[at + 180]);
        }
        let (low, high) = range(&air);
        assert!(low > -24.0 && high < -9.0, "{low} to {high}");
    }

    #[test]
    fn hot_water_stays_hot_and_is_flushed_at_night() {
        let mut tank = plant(HotWater::new(HotProbes::Storage));
        let top = series(&mut tank, "temperature", Some("storage_top"), 72);
        let (low, high) = range(&top);
        assert!(low > 57.0 && high < 75.0, "{low} to {high}");
        for night in 0..3 {
            let (_, peak) = range(&top[night * 1440 + 150..night * 1440 + 220]);
            assert!(peak > 69.0, "night {night}: {peak}");
        }
        let mut pipes = plant(HotWater::new(HotProbes::Circulation));
        let back = series(&mut pipes, "temperature", Some("flow_return"), 72);
        let (low, high) = range(&back);
        assert!(low > 49.0 && high < 72.0, "{low} to {high}");
    }

    #[test]
    fn a_rack_is_cool_until_its_cooling_fails() {
        let failure = (START_S + 30 * 3600, START_S + 32 * 3600);
        let mut rack = plant(Rack::new(failure));
        let intake = series(&mut rack, "temperature", Some("intake"), 48);
        let (low, high) = range(&intake[..30 * 60]);
        assert!(low > 18.0 && high < 25.0, "{low} to {high}");
        let (_, peak) = range(&intake[30 * 60..33 * 60]);
        assert!(peak > 28.0 && peak < 45.0, "{peak}");
        assert!(intake[47 * 60] < 25.0);
    }

    #[test]
    fn a_cellar_hardly_moves_and_a_shop_breathes() {
        let (low, high) = range(&series(
            &mut plant(Room::new(RoomProbes::Cellar)),
            "temperature",
            Some("1"),
            96,
        ));
        assert!(low > 11.0 && high < 15.0, "{low} to {high}");
        let (low, high) = range(&series(&mut plant(Room::new(RoomProbes::Shop)), "co2", None, 48));
        assert!(low > 380.0 && high > 800.0 && high < 2000.0, "{low} to {high}");
    }

    #[test]
    fn a_meter_counts_what_it_shows() {
        let mut mains = plant(Mains::default());
        let values = mains.at(START_S);
        let value = |values: &[Value], kind: &str, label: &str| {
            let found = values.iter().find(|v| v.kind == kind && v.label == Some(label));
            found.expect("the meter measures it").value
        };
        let sum: f64 = PHASES.iter().map(|p| value(&values, "power", p)).sum();
        assert!((sum - value(&values, "power", "total")).abs() < 0.2);
        let before = value(&values, "energy", "total");
        let power = series(&mut mains, "power", Some("total"), 24);
        let mean = power.iter().sum::<f64>() / power.len() as f64;
        let counted = value(&mains.at(START_S + DAY_S - 60), "energy", "total") - before;
        assert!(
            (counted - mean * 24.0 / 1000.0).abs() < 2.0,
            "{counted} and {mean}"
        );
        assert!(power.iter().all(|w| *w > 300.0 && *w < 12_000.0));
    }
}
