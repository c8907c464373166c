//! Who plays in the demo: four sites, their devices, what each is like and what is wrong with some.
//!
//! Invariants: one refrigerator is outside its limits now, one device has been silent for hours, one sends what
//! nobody can read, one has a gap in its past; everything else works.
//! Not here: physics (`simulate`), payloads (`vendor`).

use super::simulate::{Cold, ColdProbes, HotProbes, HotWater, Mains, Plant, Rack, Room, RoomProbes};
use jiff::tz::TimeZone;

const MINUTE_S: i64 = 60;
const HOUR_S: i64 = 3600;
const DAY_S: i64 = 24 * HOUR_S;

/// A place.
#[derive(Debug)]
pub struct Site {
    /// What it is called.
    pub name: &'static str,
    /// Its preset of limits.
    pub vertical: &'static str,
    /// IANA name.
    pub timezone: &'static str,
    /// Its address.
    pub address: &'static str,
}

/// The sites, in the order in which [`Device::site`] counts them.
pub const SITES: &[Site] = &[
    Site {
        name: "Bistro Na Rohu",
        vertical: "haccp",
        timezone: "Europe/Prague",
        address: "Krymská 12, Praha",
    },
    Site {
        name: "Hotel Dunaj",
        vertical: "legionella",
        timezone: "Europe/Bratislava",
        address: "Nábrežná 4, Bratislava",
    },
    Site {
        name: "Server room Graz",
        vertical: "server-room",
        timezone: "Europe/Vienna",
        address: "Keplerstraße 88, Graz",
    },
    Site {
        name: "Padaria do Cais",
        vertical: "energy",
        timezone: "Europe/Lisbon",
        address: "Rua da Ribeira 7, Porto",
    },
];

/// How a device speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wire {
    /// Shelly's first generation: a GET with everything in the query.
    ShellyQuery {
        /// The id that the device appends.
        id: &'static str,
    },
    /// Shelly's second and third generation: `NotifyFullStatus` of a thermometer.
    ShellyClimate {
        /// The device's own name for itself.
        src: &'static str,
    },
    /// Shelly's three-phase meter: `NotifyFullStatus`.
    ShellyMeter {
        /// The device's own name for itself.
        src: &'static str,
    },
    /// An uplink through The Things Stack v3.
    Lorawan {
        /// 16 hexadecimal digits.
        dev_eui: &'static str,
        /// The device's id in its application.
        device_id: &'static str,
    },
    /// A logger behind an Efento gateway.
    Efento {
        /// 12 hexadecimal digits.
        serial: &'static str,
    },
    /// The service's own JSON.
    Native,
}

/// What is different about a device.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Story {
    /// Nothing.
    Usual,
    /// It has said nothing for so many hours.
    SilentFor(i64),
    /// Somebody flashed it with a typing error.
    Misspelt,
    /// It said nothing for some hours some days ago.
    Gap {
        /// When it began, days ago.
        days_ago: i64,
        /// How long it was.
        hours: i64,
    },
}

/// Limits that somebody set, different from the vertical's.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Limit {
    /// Of this kind.
    pub kind: &'static str,
    /// And this label.
    pub label: Option<&'static str>,
    /// Lowest that is fine.
    pub ok_min: Option<f64>,
    /// Highest that is fine.
    pub ok_max: Option<f64>,
    /// Minutes that it may be outside.
    pub grace_min: u32,
}

const fn limit(
    kind: &'static str,
    label: Option<&'static str>,
    ok_min: Option<f64>,
    ok_max: Option<f64>,
    grace_min: u32,
) -> Limit {
    Limit {
        kind,
        label,
        ok_min,
        ok_max,
        grace_min,
    }
}

/// What a device is in.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Where {
    /// A refrigerator held at so many °C, with so many door openings an hour of work.
    Refrigerator(f64, f64),
    /// One whose door has stood ajar for so many minutes.
    Ajar(f64, i64),
    /// A freezer that defrosts every six hours.
    Freezer,
    /// A hotel's storage tank.
    Tank,
    /// The pipes behind it.
    Pipes,
    /// A rack whose cooling failed six days ago.
    Rack,
    /// A shop.
    Shop,
    /// A cellar.
    Cellar,
    /// A bakery's mains.
    Mains,
}

/// A device.
#[derive(Debug)]
pub struct Device {
    /// Index in [`SITES`].
    pub site: usize,
    /// Its id at its site.
    pub local_id: &'static str,
    /// What people call it.
    pub name: &'static str,
    /// Its model.
    pub model: &'static str,
    /// How it speaks.
    pub wire: Wire,
    /// How often it reported in the past, seconds.
    pub cadence_s: i64,
    /// How often it reports while somebody watches, seconds.
    pub live_s: i64,
    /// Where it is.
    pub place: Where,
    /// What is different about it.
    pub story: Story,
    /// Limits that somebody set.
    pub limits: &'static [Limit],
}

/// The device whose DevEUI nobody has registered: it fills the tray.
pub const STRANGER: Wire = Wire::Lorawan {
    dev_eui: "A84041FFFF18D27E",
    device_id: "lht65-spare-room",
};

/// Every device.
pub const DEVICES: &[Device] = &[
    Device {
        site: 0,
        local_id: "walk-in",
        name: "Walk-in fridge",
        model: "shelly-plus-h-t",
        wire: Wire::ShellyClimate {
            src: "shellyplusht-08b61fcd36a8",
        },
        cadence_s: 60,
        live_s: 12,
        place: Where::Refrigerator(2.4, 7.0),
        story: Story::Usual,
        limits: &[],
    },
    Device {
        site: 0,
        local_id: "dessert-fridge",
        name: "Dessert fridge",
        model: "shelly-h-t-gen1",
        wire: Wire::ShellyQuery {
            id: "shellyht-1BDD1B",
        },
        cadence_s: 60,
        live_s: 10,
        place: Where::Ajar(2.9, 70),
        story: Story::Usual,
        limits: &[],
    },
    Device {
        site: 0,
        local_id: "fish-drawer",
        name: "Fish drawer",
        model: "shelly-h-t-gen3",
        wire: Wire::ShellyClimate {
            src: "shellyhtg3-3030f9ec8468",
        },
        cadence_s: 60,
        live_s: 14,
        place: Where::Refrigerator(0.6, 3.0),
        story: Story::Gap {
            days_ago: 9,
            hours: 5,
        },
        limits: &[limit("temperature", None, Some(-2.0), Some(3.0), 15)],
    },
    Device {
        site: 0,
        local_id: "freezer",
        name: "Chest freezer",
        model: "diy_esp32",
        wire: Wire::Native,
        cadence_s: 60,
        live_s: 9,
        place: Where::Freezer,
        story: Story::Usual,
        limits: &[
            limit("temperature", Some("air"), None, Some(-12.0), 45),
            limit("temperature", Some("evaporator"), None, None, 0),
        ],
    },
    Device {
        site: 0,
        local_id: "bar-fridge",
        name: "Bar fridge",
        model: "shelly-h-t-gen1",
        wire: Wire::ShellyQuery {
            id: "shellyht-6BB646",
        },
        cadence_s: 60,
        live_s: 15,
        place: Where::Refrigerator(3.1, 9.0),
        story: Story::SilentFor(5),
        limits: &[],
    },
    Device {
        site: 0,
        local_id: "cold-table",
        name: "Cold table",
        model: "diy_esp32",
        wire: Wire::Native,
        cadence_s: 60,
        live_s: 30,
        place: Where::Refrigerator(2.7, 6.0),
        story: Story::Misspelt,
        limits: &[],
    },
    Device {
        site: 1,
        local_id: "boiler",
        name: "Hot water storage",
        model: "lorawan-dragino-ltc2",
        wire: Wire::Lorawan {
            dev_eui: "A84041C181850B4F",
            device_id: "ltc2-boiler",
        },
        cadence_s: 600,
        live_s: 20,
        place: Where::Tank,
        story: Story::Usual,
        limits: &[limit(
            "temperature",
            Some("storage_bottom"),
            Some(48.0),
            None,
            120,
        )],
    },
    Device {
        site: 1,
        local_id: "circulation",
        name: "Hot water circulation",
        model: "lorawan-dragino-ltc2",
        wire: Wire::Lorawan {
            dev_eui: "A84041C181850B50",
            device_id: "ltc2-circulation",
        },
        cadence_s: 600,
        live_s: 20,
        place: Where::Pipes,
        story: Story::Usual,
        limits: &[],
    },
    Device {
        site: 1,
        local_id: "wine-cellar",
        name: "Wine cellar",
        model: "efento-ble-th",
        wire: Wire::Efento {
            serial: "282C024FFFB3",
        },
        cadence_s: 180,
        live_s: 18,
        place: Where::Cellar,
        story: Story::Usual,
        limits: &[
            limit("temperature", Some("1"), Some(10.0), Some(15.0), 60),
            limit("humidity", Some("2"), Some(60.0), Some(80.0), 60),
        ],
    },
    Device {
        site: 2,
        local_id: "rack-1",
        name: "Rack 1",
        model: "diy_esp32",
        wire: Wire::Native,
        cadence_s: 60,
        live_s: 5,
        place: Where::Rack,
        story: Story::Usual,
        limits: &[],
    },
    Device {
        site: 3,
        local_id: "mains",
        name: "Main meter",
        model: "shelly-pro-3em",
        wire: Wire::ShellyMeter {
            src: "shellypro3em-a0dd6ca0c27c",
        },
        cadence_s: 300,
        live_s: 3,
        place: Where::Mains,
        story: Story::Usual,
        limits: &[limit("power", Some("total"), None, Some(9_000.0), 30)],
    },
    Device {
        site: 3,
        local_id: "shop",
        name: "Shop floor",
        model: "lorawan-milesight-am103",
        wire: Wire::Lorawan {
            dev_eui: "24E124707C481234",
            device_id: "am103-shop",
        },
        cadence_s: 600,
        live_s: 25,
        place: Where::Shop,
        story: Story::Usual,
        limits: &[limit("co2", None, None, Some(1_400.0), 30)],
    },
];

impl Device {
    /// What the device measures, from `start_s` on; `now_s` is the moment at which the demo begins.
    ///
    /// # Errors
    /// Where the site's time zone is not known.
    pub fn plant(&self, seed: u64, start_s: i64, now_s: i64) -> Result<Plant, jiff::Error> {
        let zone = TimeZone::get(SITES[self.site].timezone)?;
        let wall = move |unix_s: i64| {
            jiff::Timestamp::from_second(unix_s)
                .map_or(unix_s, |at| unix_s + i64::from(zone.to_offset(at).seconds()))
        };
        // Devices at one tank see one tank.
        let seed = seed ^ ((self.site as u64) << 32) ^ hash(self.shared().unwrap_or(self.local_id));
        Ok(match self.place {
            Where::Refrigerator(set, doors) => Plant::new(Cold::new(set, doors), seed, start_s, wall),
            Where::Ajar(set, minutes) => {
                let mut cold = Cold::new(set, 5.0);
                cold.ajar_from_s = Some(now_s - minutes * MINUTE_S);
                Plant::new(cold, seed, start_s, wall)
            }
            Where::Freezer => {
                let mut cold = Cold::new(-20.0, 2.0);
                cold.defrost = Some((6, 25));
                cold.probes = ColdProbes::AirAndCoil;
                Plant::new(cold, seed, start_s, wall)
            }
            Where::Tank => Plant::new(HotWater::new(HotProbes::Storage), seed, start_s, wall),
            Where::Pipes => Plant::new(HotWater::new(HotProbes::Circulation), seed, start_s, wall),
            Where::Rack => {
                let from = now_s - 6 * DAY_S;
                Plant::new(Rack::new((from, from + 2 * HOUR_S)), seed, start_s, wall)
            }
            Where::Shop => Plant::new(Room::new(RoomProbes::Shop), seed, start_s, wall),
            Where::Cellar => Plant::new(Room::new(RoomProbes::Cellar), seed, start_s, wall),
            Where::Mains => Plant::new(Mains::default(), seed, start_s, wall),
        })
    }

    /// What several devices are at, by name.
    const fn shared(&self) -> Option<&'static str> {
        match self.place {
            Where::Tank | Where::Pipes => Some("hot water"),
            _ => None,
        }
    }

    /// Whether it said anything at that time; `now_s` is the moment at which the demo began.
    pub const fn speaks(&self, unix_s: i64, now_s: i64) -> bool {
        match self.story {
            Story::Usual => true,
            Story::SilentFor(hours) => unix_s < now_s - hours * HOUR_S,
            // It was flashed yesterday.
            Story::Misspelt => unix_s < now_s - DAY_S,
            Story::Gap { days_ago, hours } => {
                let from = now_s - days_ago * DAY_S;
                unix_s < from || unix_s >= from + hours * HOUR_S
            }
        }
    }

    /// The DevEUI, where it has one.
    pub const fn dev_eui(&self) -> Option<&'static str> {
        match self.wire {
            Wire::Lorawan { dev_eui, .. } => Some(dev_eui),
            _ => None,
        }
    }

    /// The serial number by which its gateway names it, where one does.
    pub const fn serial(&self) -> Option<&'static str> {
        match self.wire {
            Wire::Efento { serial } => Some(serial),
            _ => None,
        }
    }
}

/// FNV-1a, so that each device has a seed of its own.
fn hash(text: &str) -> u64 {
    text.bytes().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    /// A Wednesday at noon.
    const NOW_S: i64 = 1_780_488_000;

    #[test]
    fn nobody_has_another_ones_name() {
        let ids: BTreeSet<_> = DEVICES.iter().map(|d| d.local_id).collect();
        assert_eq!(ids.len(), DEVICES.len());
        let wires: Vec<_> = DEVICES
            .iter()
            .filter_map(|d| d.dev_eui().or(d.serial()))
            .collect();
        assert_eq!(wires.iter().collect::<BTreeSet<_>>().len(), wires.len());
        assert!(DEVICES.iter().all(|d| d.site < SITES.len() && d.wire != STRANGER));
    }

    #[test]
    fn exactly_one_refrigerator_is_outside_its_limits_now() {
        let warm: Vec<_> = DEVICES
            .iter()
            .filter(|d| d.site == 0 && d.speaks(NOW_S, NOW_S))
            .filter(|d| {
                let mut plant = d.plant(1, NOW_S - 2 * DAY_S, NOW_S).expect("the zone is known");
                let air = plant
                    .at(NOW_S)
                    .into_iter()
                    .find(|v| v.label != Some("evaporator"));
                air.is_some_and(|v| v.value > 5.0)
            })
            .map(|d| d.local_id)
            .collect();
        assert_eq!(warm, ["dessert-fridge"]);
    }

    #[test]
    fn something_is_said_at_least_once_a_second_and_never_beyond_the_rate_limit() {
        let speaking = DEVICES
            .iter()
            .filter(|d| d.speaks(NOW_S, NOW_S) || d.story == Story::Misspelt);
        let a_second: f64 = speaking.map(|d| 1.0 / d.live_s as f64).sum();
        assert!((1.0..4.0).contains(&a_second), "{a_second}");
        assert!(DEVICES.iter().all(|d| d.live_s >= 1));
    }

    #[test]
    fn tank_and_pipes_are_of_one_hot_water() {
        let at = |id: &str| {
            let device = DEVICES.iter().find(|d| d.local_id == id).expect("it plays");
            device
                .plant(1, NOW_S - DAY_S, NOW_S)
                .expect("the zone is known")
                .at(NOW_S)
        };
        let (top, supply) = (at("boiler")[0].value, at("circulation")[0].value);
        assert!((top - supply - 1.1).abs() < 1.0, "{top} and {supply}");
    }
}
