//! A site with many channels over weeks or a year, simulated from a seed: what its devices send and what goes wrong.
//!
//! Things break in it: fridges warm up, probes freeze or fall off, doors stay open, devices fall silent and send what
//! they kept later or never, messages overtake one another, clocks of devices jump there and back, the service is down
//! for a while, our own clock is set back, rules are changed and taken away while alarms are open.
//! Invariant: the same plan gives the same steps. Recorded by the real sequencer, decided by the real fold of alerting
//! and recorded with what was decided, so that the ledger is one as a service leaves it.
//! Not here: what replays of it have to have in common (`replayed`).

use crate::dice::Dice;
use crate::small_ledger::{ORIGIN, Recorder, receipt_key};
use commands::alerting::{Fold, as_group};
use commands::sequencer::{EventGroup, PendingReading, PendingValue, ReadingGroup, StreamPositions};
use domain::Timestamp;
use domain::canonical::Canonical;
use domain::entry::NewEvent;
use domain::event::rule::DeadlineReached;
use domain::event::{Change, Event, RuleChanged, RuleCreated};
use domain::ids::IdKind;
use domain::memory::MemoryLog;
use domain::ports::{Clock, EventLog};
use domain::reading::TimeFrom;
use domain::rule::Definition;
use serde_json::{Value, json};
use std::borrow::Cow;
use std::collections::VecDeque;
use std::sync::Arc;

/// Values in a device's report, each of a channel.
pub const VALUES: usize = 4;
/// What they are: key, kind, unit, where it lies by day, by how much it swings.
const CHANNELS: [(&str, &str, &str, f64, f64); VALUES] = [
    ("temperature", "temperature", "Cel", 3.0, 1.2),
    ("temperature/core", "temperature", "Cel", 2.5, 0.6),
    ("humidity", "humidity", "%", 55.0, 12.0),
    ("co2", "co2", "ppm", 700.0, 250.0),
];
/// What devices' rules are, in turns; `{other}` is the device's first channel.
const RULES: [(usize, &str); 8] = [
    (
        1,
        r#"{"ok_max":5,"warn_max":8,"grace_min":30,"hysteresis":0.5,"recovery_min":20}"#,
    ),
    (1, r#"{"kind":"delta","max_delta":3,"interval_s":5400}"#),
    (
        2,
        r#"{"ok_min":30,"ok_max":75,"grace_min":60,"keep_firing_min":120,"windows":[{"rrule":"FREQ=DAILY;BYHOUR=2,14;BYMINUTE=15","duration_min":50,"ok_max":95}]}"#,
    ),
    (
        3,
        r#"{"kind":"derivative","min_rate":-900,"max_rate":900,"grace_min":20}"#,
    ),
    (
        0,
        r#"{"kind":"absence","min_interval_s":5400,"grace_min":45,"recovery_min":30}"#,
    ),
    (
        1,
        r#"{"kind":"comparison","another_channel":"{other}","offset":4,"interval_s":2700,"grace_min":40}"#,
    ),
    (
        3,
        r#"{"ok_max":1000,"flap":{"changes":3,"within_min":720},"severity":"warn"}"#,
    ),
    (
        2,
        r#"{"kind":"absence","min_interval_s":7200,"windows":[{"rrule":"FREQ=WEEKLY;BYDAY=SA,SU;BYHOUR=0","duration_min":1440,"enabled":false}]}"#,
    ),
];
/// What is said of the time-zone database; the one that the software carries is what counts.
const TZDB_VERSION: &str = "2025b";
const MINUTE_US: i64 = 60_000_000;
const DAY_MIN: u32 = 1_440;
/// Readings of one request to the sequencer: as many as a commit takes without ado.
const GROUP: usize = 1_000;

/// What is simulated.
#[derive(Debug, Clone, Copy)]
pub struct Plan {
    /// What chance begins with.
    pub seed: u64,
    /// Devices of [`VALUES`] channels.
    pub devices: usize,
    /// How often each reports, minutes.
    pub every_min: u32,
    /// For how long.
    pub days: u32,
}

impl Plan {
    /// Two hundred channels for a month, a report each half an hour.
    pub const MONTH: Self = Self {
        seed: 1,
        devices: 50,
        every_min: 30,
        days: 30,
    };
    /// Two hundred channels for a year, a report each ten minutes.
    pub const YEAR: Self = Self {
        seed: 2,
        devices: 50,
        every_min: 10,
        days: 365,
    };

    fn steps(&self) -> u32 {
        self.days * DAY_MIN / self.every_min
    }
}

/// A recorded site.
pub struct Site {
    /// Its entries.
    pub log: Arc<MemoryLog>,
    /// Where streams are.
    pub positions: StreamPositions,
    /// Readings recorded.
    pub readings: u64,
    /// Values in them.
    pub values: u64,
    _dir: tempfile::TempDir,
}

/// What is wrong with a channel.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Fault {
    /// It lies elsewhere by so much.
    Off(f64),
    /// It goes away by so much with each report, since that step.
    Drifts(f64, u32),
    /// It lies elsewhere every other time, by chance.
    Flickers(f64),
    /// It says the same again and again.
    Stuck(f64),
    /// It says nothing.
    Gone,
}

#[derive(Debug, Clone)]
struct Probe {
    fault: Option<(Fault, u32)>,
    last: f64,
    phase: f64,
}

struct Device {
    id: Arc<str>,
    /// Until which step it reaches nobody, and whether it keeps what it measures.
    silent: Option<(u32, bool)>,
    /// What it sends later, and not before which step.
    kept: VecDeque<(u32, PendingReading)>,
    clock_off_us: i64,
    probes: Vec<Probe>,
}

impl Device {
    fn new(number: usize, dice: &mut Dice) -> Self {
        let probe = |dice: &mut Dice| Probe {
            fault: None,
            last: 0.0,
            phase: dice.below(1_000) as f64 / 1_000.0,
        };
        Self {
            id: id(IdKind::Device, number).into(),
            silent: None,
            kept: VecDeque::new(),
            clock_off_us: 0,
            probes: (0..VALUES).map(|_| probe(dice)).collect(),
        }
    }

    /// What goes wrong from here on, and what is right again.
    fn befall(&mut self, step: u32, dice: &mut Dice) {
        // One in so many steps.
        let one_in = |dice: &mut Dice, many: u64| dice.below(many) == 0;
        if self.silent.is_none() && one_in(dice, 400) {
            self.silent = Some((step + 1 + dice.below(60) as u32, dice.chance(70)));
        }
        if one_in(dice, 1_500) {
            let minutes = dice.below(360) as i64 - 180;
            self.clock_off_us = if self.clock_off_us == 0 {
                minutes * MINUTE_US
            } else {
                0
            };
        }
        for (probe, (_, _, _, _, swing)) in self.probes.iter_mut().zip(CHANNELS) {
            if probe.fault.is_some_and(|(_, until)| until <= step) {
                probe.fault = None;
            }
            if probe.fault.is_none() && one_in(dice, 250) {
                let fault = match dice.below(9) {
                    0 => Fault::Stuck(probe.last),
                    1 => Fault::Gone,
                    2 => Fault::Off(-6.0 * swing),
                    3 => Fault::Drifts(swing * (1.0 + dice.below(20) as f64 / 10.0), step),
                    4 | 5 => Fault::Flickers(swing * (3.0 + dice.below(50) as f64 / 10.0)),
                    _ => Fault::Off(swing * (2.0 + dice.below(60) as f64 / 10.0)),
                };
                probe.fault = Some((fault, step + 1 + dice.below(24) as u32));
            }
        }
    }

    fn measure(&mut self, step: u32, at: Timestamp, dice: &mut Dice) -> Option<PendingReading> {
        let hours = at.as_micros() as f64 / 3.6e9;
        let mut values = Vec::with_capacity(VALUES);
        for (probe, (key, kind, unit, base, swing)) in self.probes.iter_mut().zip(CHANNELS) {
            let by_day = triangle(hours / 24.0 + probe.phase);
            let noise = (dice.below(2_001) as f64 - 1_000.0) / 4_000.0;
            let mut value = base + swing * (by_day + noise);
            match probe.fault {
                Some((Fault::Off(by), _)) => value += by,
                Some((Fault::Drifts(by, since), _)) => value += by * f64::from(step - since),
                Some((Fault::Flickers(by), _)) if dice.chance(50) => value += by,
                Some((Fault::Flickers(_), _)) => {}
                Some((Fault::Stuck(at), _)) => value = at,
                Some((Fault::Gone, _)) => continue,
                None => {}
            }
            // As a probe says it: to a hundredth.
            value = (value * 100.0).round() / 100.0;
            probe.last = value;
            values.push(PendingValue {
                key: Cow::Borrowed(key),
                kind: Cow::Borrowed(kind),
                label: None,
                unit: Cow::Borrowed(unit),
                value,
                auxiliary: false,
            });
        }
        // No two readings of one device are at the same microsecond, also when its clock jumps.
        let own = self.clock_off_us + i64::from(step % 997);
        (!values.is_empty()).then(|| PendingReading {
            device: Arc::clone(&self.id),
            number: None,
            measured_at: at.plus_micros(own),
            time_from: TimeFrom::Device,
            claimed_at: None,
            values,
            uplink: None,
        })
    }

    /// What it sends at this step.
    fn send(&mut self, step: u32, at: Timestamp, dice: &mut Dice, out: &mut Vec<PendingReading>) {
        let Some(reading) = self.measure(step, at, dice) else {
            return;
        };
        match self.silent {
            Some((until, keeps)) if step < until => {
                if keeps {
                    self.kept.push_back((until, reading));
                }
                return;
            }
            _ => self.silent = None,
        }
        // Now and then a message takes longer than the next ones.
        if dice.below(50) == 0 {
            self.kept.push_back((step + 1 + dice.below(5) as u32, reading));
            return;
        }
        let mut sent = vec![reading];
        for (due, kept) in std::mem::take(&mut self.kept) {
            if due <= step {
                sent.push(kept);
            } else {
                self.kept.push_back((due, kept));
            }
        }
        if dice.chance(20) {
            sent.reverse();
        }
        out.append(&mut sent);
    }
}

/// −1 to 1 and back once in each unit: the same on every machine, which a sine is not.
fn triangle(x: f64) -> f64 {
    let part = x - x.floor();
    if part < 0.5 {
        4.0 * part - 1.0
    } else {
        3.0 - 4.0 * part
    }
}

fn id(kind: IdKind, number: usize) -> String {
    let mut bytes = [7; 16];
    bytes[..8].copy_from_slice(&(number as u64).to_be_bytes());
    kind.id(&bytes)
}

fn event(
    stream: (&'static str, String),
    owner: &str,
    event_type: &'static str,
    payload: Canonical,
) -> NewEvent {
    let mut metadata = json!({"actor": "system:test", "reason": {"code": "test"}});
    if stream.0 != "ledger" {
        metadata["account"] = json!(id(IdKind::Account, 0));
        metadata["owner"] = json!(owner);
    }
    NewEvent {
        aggregate_type: stream.0.into(),
        aggregate_id: stream.1,
        event_type: event_type.into(),
        event_version: "1.0".into(),
        payload,
        metadata: Canonical::of(&metadata).expect("canonical"),
        salt: None,
    }
}

fn plain(stream: (&'static str, String), event_type: &'static str, payload: &Value) -> NewEvent {
    let owner = stream.1.clone();
    event(
        stream,
        &owner,
        event_type,
        Canonical::of(payload).expect("canonical"),
    )
}

fn group(events: Vec<NewEvent>) -> EventGroup {
    EventGroup {
        events: events.into_iter().map(|event| (event, None)).collect(),
        ..EventGroup::default()
    }
}

/// Records a site as the plan says it.
///
/// # Panics
/// Where the sequencer refuses anything.
pub fn record(plan: Plan) -> Site {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime");
    runtime.block_on(Recording::begin(plan).run())
}

struct Recording {
    plan: Plan,
    dice: Dice,
    recorder: Recorder,
    devices: Vec<Device>,
    fold: Fold,
    /// Rules by id: channel, version, what it is now.
    rules: Vec<(String, String, u32, Definition)>,
    readings: u64,
    values: u64,
}

impl Recording {
    fn begin(plan: Plan) -> Self {
        let mut dice = Dice::new(plan.seed);
        Self {
            plan,
            recorder: Recorder::start_long(7),
            devices: (0..plan.devices).map(|n| Device::new(n, &mut dice)).collect(),
            dice,
            fold: Fold::new(),
            rules: Vec::new(),
            readings: 0,
            values: 0,
        }
    }

    async fn run(mut self) -> Site {
        self.beginnings().await;
        let mut step = 0;
        while step < self.plan.steps() {
            let mut minutes = self.plan.every_min;
            if step > 0 && self.dice.below(700) == 0 {
                // The service is down; devices measure on and send it all when it is back.
                let down = 1 + self.dice.below(8) as u32;
                self.outage(step, down);
                minutes *= down;
                step += down;
                self.pass(minutes);
                self.put(group(vec![started()])).await;
            } else {
                self.pass(minutes);
            }
            if self.dice.below(900) == 0 {
                // Our clock is set back; entries are held until it is where it was.
                self.recorder.clock.set_back(4 * MINUTE_US);
            }
            self.deadline().await;
            self.reports(step).await;
            if self.dice.below(60) == 0 {
                self.change_a_rule().await;
            }
            self.decide().await;
            step += 1;
        }
        self.recorder.sequencer.stop().await;
        self.decide_nothing_more().await;
        Site {
            positions: self.recorder.sequencer.positions().clone(),
            log: self.recorder.log,
            readings: self.readings,
            values: self.values,
            _dir: self.recorder.dir,
        }
    }

    fn now(&self) -> Timestamp {
        self.recorder.clock.now()
    }

    fn pass(&self, minutes: u32) {
        self.recorder.clock.pass(i64::from(minutes) * MINUTE_US);
    }

    async fn put(&mut self, group: EventGroup) {
        self.recorder.sequencer.record(group).await.expect("recorded");
        self.follow().await;
    }

    /// Account, site, devices, a gateway's token, a first report of each, rules.
    async fn beginnings(&mut self) {
        let (account, site) = (id(IdKind::Account, 0), id(IdKind::Site, 0));
        let sealed = json!({"sealed": {"key": "a", "nonce": "b", "ciphertext": "c"}});
        let created = json!({"origin": ORIGIN, "format": 1,
            "log_keys": [self.recorder.key.verifier_key().to_string()],
            "receipt_keys": [receipt_key(7).verifier_key().to_string()]});
        self.put(group(vec![
            plain(("ledger", "main".to_owned()), "LedgerCreated", &created),
            started(),
        ]))
        .await;
        let token = json!({"token": id(IdKind::Token, 0), "kind": "device",
            "hash": "$2b$10$abcdefghijklmnopqrstuuABCDEFGHIJKLMNOPQRSTUVWXYZ01234"});
        let site_of =
            json!({"name": sealed, "vertical": "haccp", "timezone": "Europe/Berlin", "address": null});
        let mut events = vec![
            plain(("account", account), "AccountOpened", &json!({"name": sealed})),
            plain(("site", site.clone()), "SiteCreated", &site_of),
        ];
        for (number, device) in self.devices.iter().enumerate() {
            // Some say how often they mean to report, and are then missed when they do not.
            let cadence_s = (number % 3 != 0).then_some(self.plan.every_min * 60);
            let registered = json!({"site": site, "local_id": format!("unit{number}"), "name": sealed,
                "model": "test", "dev_eui": null, "serial": null, "cadence_s": cadence_s, "notes": null});
            events.push(plain(
                ("device", device.id.to_string()),
                "DeviceRegistered",
                &registered,
            ));
        }
        events.push(plain(
            ("tokens", self.devices[0].id.to_string()),
            "TokenIssued",
            &token,
        ));
        self.put(group(events)).await;
        self.reports(0).await;
        let mut rules = Vec::new();
        for (number, device) in self.devices.iter().enumerate() {
            let registry = self.recorder.registry.read();
            let known = registry.device_anywhere(&device.id).expect("registered");
            let channel = |index: usize| {
                let key = CHANNELS[index].0;
                registry
                    .channel_by_key(known, key)
                    .map(|channel| channel.id.to_string())
            };
            // Two rules each beside the limits that its temperatures begin with.
            for turn in [number % RULES.len(), (number / 3 + 4) % RULES.len()] {
                let (index, text) = RULES[turn];
                if let (Some(of), Some(other)) = (channel(index), channel(0)) {
                    let definition = serde_json::from_str(&text.replace("{other}", &other)).expect("a rule");
                    rules.push((id(IdKind::Rule, rules.len()), of, 1, definition));
                }
            }
        }
        let created = rules.iter().map(|(rule, channel, version, definition)| {
            let payload = RuleCreated {
                channel: channel.clone(),
                definition: Definition::clone(definition),
                name: None,
                tzdb: TZDB_VERSION.to_owned(),
                version: *version,
            };
            rule_event(rule, channel, &Event::RuleCreated(payload))
        });
        let created = created.collect();
        self.rules = rules;
        self.put(group(created)).await;
    }

    /// Devices go on without us.
    fn outage(&mut self, step: u32, steps: u32) {
        let now = self.now();
        for n in 0..steps {
            let at = now.plus_micros(i64::from(n * self.plan.every_min) * MINUTE_US);
            for device in &mut self.devices {
                device.befall(step + n, &mut self.dice);
                if let Some(reading) = device.measure(step + n, at, &mut self.dice)
                    && device.silent.is_none_or(|(_, keeps)| keeps)
                {
                    device.kept.push_back((step + steps, reading));
                }
            }
        }
    }

    async fn reports(&mut self, step: u32) {
        let now = self.now();
        let mut readings = Vec::new();
        for device in &mut self.devices {
            device.befall(step, &mut self.dice);
            let jitter_us = self.dice.below(20_000_000) as i64;
            device.send(step, now.plus_micros(-jitter_us), &mut self.dice, &mut readings);
        }
        while !readings.is_empty() {
            let rest = readings.split_off(readings.len().min(GROUP));
            self.readings += readings.len() as u64;
            self.values += readings
                .iter()
                .map(|reading| reading.values.len() as u64)
                .sum::<u64>();
            let group = ReadingGroup {
                account: id(IdKind::Account, 0).into(),
                token: id(IdKind::Token, 0).into(),
                metadata: b"{}".to_vec(),
                idempotency: None,
                readings: std::mem::replace(&mut readings, rest),
                want_channels: false,
                want_entries: false,
            };
            let sequencer = &self.recorder.sequencer;
            sequencer.record_readings(group).await.expect("recorded");
        }
        self.follow().await;
    }

    /// One rule becomes another, or what it was.
    async fn change_a_rule(&mut self) {
        let chosen = self.dice.below(self.rules.len() as u64) as usize;
        let (rule, channel, version, definition) = &mut self.rules[chosen];
        let old = definition.clone();
        definition.grace_min = if old.grace_min == 0 { 25 } else { 0 };
        *version += 1;
        let payload = RuleChanged {
            channel: channel.clone(),
            definition: Change {
                old,
                new: definition.clone(),
            },
            tzdb: TZDB_VERSION.to_owned(),
            version: *version,
        };
        let changed = rule_event(rule, channel, &Event::RuleChanged(payload));
        self.put(group(vec![changed])).await;
    }

    /// Says that a deadline is over, as the service does where nothing else came.
    async fn deadline(&mut self) {
        let due = self.fold.engine().next_deadline();
        if let Some(at) = due.filter(|at| *at <= self.now()) {
            let reached = Event::DeadlineReached(DeadlineReached { at });
            let payload = reached.payload(None).expect("canonical");
            let mut event = event(("state", "deadlines".to_owned()), "", "DeadlineReached", payload);
            event.metadata = Canonical::of(&json!({"actor": "system:rules"})).expect("canonical");
            self.put(group(vec![event])).await;
        }
    }

    /// Records what is due until nothing is.
    async fn decide(&mut self) {
        while !self.fold.due().is_empty() {
            let some: Vec<_> = self.fold.due().iter().take(GROUP / 2).collect();
            let group = as_group(&some, self.recorder.sequencer.positions()).expect("canonical");
            self.put(group).await;
        }
    }

    /// The last decisions of the ledger stand in it, too.
    async fn decide_nothing_more(&mut self) {
        self.follow().await;
        assert!(self.fold.due().is_empty(), "what is due is recorded");
    }

    async fn follow(&mut self) {
        let log = Arc::clone(&self.recorder.log);
        let mut unexpected = Vec::new();
        while self.fold.size() < EventLog::size(&*log) {
            let from = self.fold.size().next_position();
            let block = log.read(from, 4_096, 4 << 20).await.expect("read");
            for (position, bytes) in block.iter() {
                self.fold
                    .entry(position, bytes, &*log, &mut unexpected)
                    .expect("follows");
            }
        }
        assert_eq!(unexpected, [], "nothing is recorded that was not decided");
    }
}

fn started() -> NewEvent {
    let software = json!({"version": "0.1.0", "tzdb": TZDB_VERSION});
    plain(("ledger", "main".to_owned()), "SoftwareStarted", &software)
}

fn rule_event(rule: &str, channel: &str, payload: &Event) -> NewEvent {
    event(
        ("rule", rule.to_owned()),
        channel,
        payload.event_type(),
        payload.payload(None).expect("canonical"),
    )
}
