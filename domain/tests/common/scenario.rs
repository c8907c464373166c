//! Reading scenario files, running them, and telling what came out.
//!
//! Source: `scenarios/README.md`. Not here: which scenarios there are.

#![allow(dead_code, reason = "each test binary uses a part of it")]

use domain::event::{Correction, Event, InWindow};
use domain::rule::{Decision, Definition, Derivation, Engine, Fact, Subject, What};
use domain::{Date, Position, Timestamp};
use std::fmt::Write;

/// An entry that owns what it says.
#[derive(Debug, Clone)]
pub enum Owned {
    Other,
    Started,
    Reading(String, Timestamp, Vec<(String, f64)>),
    Device(String, Option<u32>),
    DeviceRemoved(String),
    Channel(String, String, String),
    ChannelRemoved(String),
    Calibrated(String, Option<Correction>, Timestamp),
    Derived(String, Option<Derivation>),
    Rule(String, String, u32, Box<Definition>),
    RuleRemoved(String),
}

/// A line of a scenario.
#[derive(Debug, Clone)]
struct Line {
    text: String,
    day: Date,
    entry: Option<(Timestamp, Owned)>,
}

/// A scenario.
#[derive(Debug, Clone)]
pub struct Scenario {
    pub title: String,
    lines: Vec<Line>,
}

/// Reads a file of scenarios.
pub fn read_file(text: &str) -> Result<Vec<Scenario>, String> {
    let mut scenarios: Vec<Scenario> = Vec::new();
    let mut reader = Reader::default();
    for (number, line) in text.lines().enumerate() {
        if let Some(title) = line.strip_prefix("== ") {
            reader = Reader::default();
            scenarios.push(Scenario {
                title: title.to_owned(),
                lines: Vec::new(),
            });
            continue;
        }
        if line.trim_start().starts_with("> ") {
            continue;
        }
        let read = reader
            .line(line)
            .map_err(|e| format!("line {}: {e}", number + 1))?;
        match scenarios.last_mut() {
            Some(scenario) => scenario.lines.push(read),
            None => return Err("the first line must begin with ==".into()),
        }
    }
    Ok(scenarios)
}

/// Where a scenario's reading has come to.
#[derive(Debug, Default)]
struct Reader {
    day: Date,
    now: Timestamp,
    devices: Vec<(String, String)>,
    versions: Vec<(String, u32)>,
}

impl Reader {
    fn line(&mut self, text: &str) -> Result<Line, String> {
        let entry = self.entry(text.trim())?;
        Ok(Line {
            text: text.to_owned(),
            day: self.day,
            entry,
        })
    }

    fn entry(&mut self, text: &str) -> Result<Option<(Timestamp, Owned)>, String> {
        if text.is_empty() || text.starts_with('#') {
            return Ok(None);
        }
        if let Some(day) = text.strip_prefix("day ") {
            self.day = Date::parse(day).map_err(|e| e.to_string())?;
            self.now = self.now.max(self.day.start());
            return Ok(None);
        }
        let mut words = text;
        if text.starts_with(|c: char| c.is_ascii_digit()) {
            let (time, rest) = text.split_once(' ').ok_or("a time and nothing")?;
            self.now = self.time(time)?;
            words = rest.trim();
        }
        Ok(Some((self.now, self.what(words)?)))
    }

    fn time(&self, text: &str) -> Result<Timestamp, String> {
        if text.contains('T') {
            return Timestamp::parse_rfc3339(text).map_err(|e| e.to_string());
        }
        let whole = if text.len() == 5 {
            format!("{}T{text}:00Z", self.day)
        } else {
            format!("{}T{text}Z", self.day)
        };
        Timestamp::parse_rfc3339(&whole).map_err(|e| format!("{text}: {e}"))
    }

    fn what(&mut self, text: &str) -> Result<Owned, String> {
        let words: Vec<&str> = text.split_whitespace().collect();
        match words.as_slice() {
            ["tick", ..] => Ok(Owned::Other),
            ["started"] => Ok(Owned::Started),
            ["device", id] => Ok(Owned::Device((*id).into(), None)),
            ["device", id, "every", seconds] => Ok(Owned::Device(
                (*id).into(),
                Some(seconds.parse().map_err(|_| "seconds")?),
            )),
            ["channel", id, "of", device, "in", zone] => {
                self.devices.push(((*id).into(), (*device).into()));
                Ok(Owned::Channel((*id).into(), (*device).into(), (*zone).into()))
            }
            ["remove", "rule", id] => Ok(Owned::RuleRemoved((*id).into())),
            ["remove", "channel", id] => Ok(Owned::ChannelRemoved((*id).into())),
            ["remove", "device", id] => Ok(Owned::DeviceRemoved((*id).into())),
            ["calibrate", id, correction, "from", from] => {
                let correction = serde_json::from_str(correction).map_err(|e| e.to_string())?;
                Ok(Owned::Calibrated((*id).into(), correction, self.time(from)?))
            }
            ["derive", id, "no", "longer"] => Ok(Owned::Derived((*id).into(), None)),
            ["derive", id, ..] => {
                let derivation = serde_json::from_str(json(text)?).map_err(|e| e.to_string())?;
                Ok(Owned::Derived((*id).into(), Some(derivation)))
            }
            ["rule", id, "on", channel, ..] => self.rule(id, channel, json(text)?),
            _ => self.reading(&words),
        }
    }

    fn rule(&mut self, id: &str, channel: &str, json: &str) -> Result<Owned, String> {
        let definition: Definition = serde_json::from_str(json).map_err(|e| e.to_string())?;
        // Names stand for ids here.
        let mut checked = definition.clone();
        if checked.another_channel.is_some() {
            checked.another_channel = Some(domain::ids::IdKind::Channel.id(&[7; 16]));
        }
        checked.check().map_err(|e| e.to_string())?;
        let version = match self.versions.iter_mut().find(|(rule, _)| rule == id) {
            Some((_, version)) => {
                *version += 1;
                *version
            }
            None => {
                self.versions.push((id.into(), 1));
                1
            }
        };
        Ok(Owned::Rule(
            id.into(),
            channel.into(),
            version,
            Box::new(definition),
        ))
    }

    fn reading(&self, words: &[&str]) -> Result<Owned, String> {
        let (mut measured_at, mut values) = (self.now, Vec::new());
        let mut device = String::new();
        for word in words {
            if let Some(time) = word.strip_prefix("(of").and_then(|w| w.strip_suffix(')')) {
                measured_at = self.time(time.trim_start_matches(':'))?;
                continue;
            }
            let (channel, value) = word.split_once('=').ok_or(format!("{word}?"))?;
            if let Some((_, of)) = self.devices.iter().find(|(id, _)| id == channel) {
                device.clone_from(of);
            }
            values.push((channel.to_owned(), value.parse().map_err(|_| format!("{word}?"))?));
        }
        Ok(Owned::Reading(device, measured_at, values))
    }
}

fn json(text: &str) -> Result<&str, String> {
    text.find('{').map(|at| &text[at..]).ok_or("no {…}".into())
}

impl Owned {
    /// Lends it as the engine takes it; `values` is room for a reading's.
    pub fn what<'a>(&'a self, values: &'a mut Vec<(&'a str, f64)>) -> What<'a> {
        match self {
            Self::Other => What::Other,
            Self::Started => What::Started,
            Self::Reading(device, measured_at, owned) => {
                values.extend(owned.iter().map(|(channel, value)| (channel.as_str(), *value)));
                What::Reading {
                    device,
                    measured_at: *measured_at,
                    values,
                }
            }
            Self::Device(device, cadence_s) => What::Device {
                device,
                cadence_s: *cadence_s,
            },
            Self::DeviceRemoved(device) => What::DeviceRemoved { device },
            Self::Channel(channel, device, timezone) => What::Channel {
                channel,
                device,
                timezone,
            },
            Self::ChannelRemoved(channel) => What::ChannelRemoved { channel },
            Self::Calibrated(channel, correction, valid_from) => What::Calibrated {
                channel,
                correction: *correction,
                valid_from: *valid_from,
            },
            Self::Derived(channel, derivation) => What::Derived {
                channel,
                derivation: derivation.as_ref(),
            },
            Self::Rule(rule, channel, version, definition) => What::Rule {
                rule,
                channel,
                version: *version,
                definition,
            },
            Self::RuleRemoved(rule) => What::RuleRemoved { rule },
        }
    }
}

/// Runs entries, `size` a batch; `after` sees the engine after each batch.
pub fn run(entries: &[(Timestamp, Owned)], size: usize, mut after: impl FnMut(&mut Engine)) -> Vec<Decision> {
    let mut engine = Engine::new();
    let mut out = Vec::new();
    let mut position = 0;
    for batch in entries.chunks(size.min(entries.len().max(1))) {
        let mut room: Vec<Vec<(&str, f64)>> = batch.iter().map(|_| Vec::new()).collect();
        let facts: Vec<Fact<'_>> = batch
            .iter()
            .zip(&mut room)
            .map(|((recorded_at, owned), values)| {
                position += 1;
                Fact {
                    position: Position(position - 1),
                    recorded_at: *recorded_at,
                    what: owned.what(values),
                }
            })
            .collect();
        engine.batch(facts, &mut out);
        after(&mut engine);
    }
    out
}

/// The engine as it is after it was written and read back.
pub fn restarted(engine: &Engine) -> Engine {
    let bytes = engine.snapshot().expect("a state that can be written");
    let again = Engine::restore(bytes.as_bytes()).expect("a state that can be read");
    assert_eq!(
        again.snapshot().expect("written").as_bytes(),
        bytes.as_bytes(),
        "a state read back is written as it was"
    );
    assert_eq!(again.next_deadline(), engine.next_deadline());
    again
}

impl Scenario {
    fn entries(&self) -> Vec<(Timestamp, Owned)> {
        self.lines.iter().filter_map(|line| line.entry.clone()).collect()
    }

    pub fn decisions_in_batches(&self, size: usize) -> Vec<Decision> {
        run(&self.entries(), size, |_| {})
    }

    pub fn decisions_with_restarts(&self) -> Vec<Decision> {
        run(&self.entries(), 1, |engine| *engine = restarted(engine))
    }

    /// The scenario with what comes out of it.
    pub fn rendered(&self) -> String {
        let mut text = format!("== {}\n", self.title);
        let mut engine = Engine::new();
        let mut position = 0;
        for line in &self.lines {
            text.push_str(&line.text);
            text.push('\n');
            let Some((recorded_at, owned)) = &line.entry else {
                continue;
            };
            let (mut values, mut out) = (Vec::new(), Vec::new());
            let fact = Fact {
                position: Position(position),
                recorded_at: *recorded_at,
                what: owned.what(&mut values),
            };
            engine.step(&fact, &mut out);
            position += 1;
            for decision in &out {
                writeln!(text, "    > {}", told(decision, line.day)).expect("text");
            }
        }
        text
    }
}

/// A decision in words.
fn told(decision: &Decision, day: Date) -> String {
    let at = |t: Timestamp| clock(t, day);
    let value = |v: Option<f64>| v.map_or("nothing".into(), number);
    let subject = match &decision.subject {
        Subject::Alarm { alarm, .. } => {
            format!("{} v{} #{}", alarm.rule, alarm.rule_version, alarm.opening.get())
        }
        Subject::Channel(id) | Subject::Device(id) => id.to_string(),
    };
    let what = match &decision.event {
        Event::AlarmOpened(it) => format!(
            "OPENED {} at {}, began {}, value {}, {}{}{}, decided {} by #{}, readings {:?}{}",
            it.severity.as_str(),
            at(it.opened_at),
            at(it.began_at),
            value(it.value),
            limits(&serde_json::to_value(it.thresholds).expect("JSON")),
            window(it.window, day),
            if it.flapping { ", FLAPPING" } else { "" },
            at(it.decided_at),
            it.decided_by.get(),
            it.readings.iter().map(|p| p.get()).collect::<Vec<_>>(),
            late(it.late),
        ),
        Event::AlarmEscalated(it) => format!(
            "ESCALATED {} to {} at {}, value {}{}{}",
            it.severity.old.as_str(),
            it.severity.new.as_str(),
            at(it.at),
            value(it.value),
            window(it.window, day),
            late(it.late),
        ),
        Event::AlarmCleared(it) => format!(
            "{} at {}, value {}, readings {:?}{}",
            if it.withdrawn { "WITHDRAWN" } else { "CLEARED" },
            at(it.cleared_at),
            value(it.value_at),
            it.readings.iter().map(|p| p.get()).collect::<Vec<_>>(),
            late(it.late),
        ),
        Event::AlarmReopened(it) => format!("REOPENED at {}{}", at(it.at), late(it.late)),
        Event::AlarmClosed(it) => format!("CLOSED, {}", it.reason),
        Event::ChannelStateChanged(it) => format!(
            "{} → {} since {}{}{}{}",
            it.from.as_str(),
            it.to.as_str(),
            at(it.at),
            it.value
                .map_or(String::new(), |v| format!(", value {}", number(v))),
            it.rule
                .as_ref()
                .map_or(String::new(), |r| format!(", {} v{}", r.rule, r.version)),
            late(it.late),
        ),
        Event::DeviceStateChanged(it) => format!(
            "{} since {}, last {}",
            serde_json::to_value(it.state)
                .expect("JSON")
                .as_str()
                .expect("text")
                .to_uppercase(),
            at(it.at),
            it.last_at.map_or("never".into(), at),
        ),
        other => panic!("the engine never decides {}", other.event_type()),
    };
    format!("{subject} {what}")
}

/// As an entry would hold it.
fn number(value: f64) -> String {
    let mut text = Vec::new();
    domain::canonical::write_number(&mut text, value).expect("a number that an entry can hold");
    String::from_utf8(text).expect("ASCII")
}

fn late(late: bool) -> &'static str {
    if late { ", LATE" } else { "" }
}

fn limits(thresholds: &serde_json::Value) -> String {
    let members = thresholds.as_object().expect("an object");
    let told: Vec<String> = members
        .iter()
        .map(|(name, value)| format!("{name} {value}"))
        .collect();
    told.join(" ")
}

fn window(window: Option<InWindow>, day: Date) -> String {
    window.map_or(String::new(), |w| {
        format!(
            ", window {} {}–{}",
            w.index,
            clock(w.starts_at, day),
            clock(w.ends_at, day)
        )
    })
}

/// The time of that day, with its date where it is another one.
fn clock(at: Timestamp, day: Date) -> String {
    let text = at.to_string();
    let mut time = text[11..19].to_owned();
    if let Some(minutes) = time.strip_suffix(":00") {
        time = minutes.to_owned();
    }
    if &text[20..26] != "000000" {
        time = text[11..26].to_owned();
    }
    if at.date() == day {
        time
    } else {
        format!("{} {time}", &text[5..10])
    }
}
