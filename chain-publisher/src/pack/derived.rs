//! `readings.csv` and `config.json`: what follows from the entries, made alike by whoever makes or verifies a pack.
//!
//! Invariant: the same entries in order give the same bytes.
//! Source: FORMAT §7.
//! Not here: which entries these are.

use super::TOKENS;
use super::manifest::Query;
use domain::Date;
use domain::Position;
use domain::canonical::{Canonical, CanonicalError, write_number};
use domain::entry::Entry;
use domain::in_force::changed_to;
use domain::reading::{READING_RECORDED, READINGS, Reading};
use serde::Deserialize;
use serde_json::{Map, Value, json};
use std::borrow::Cow;
use std::collections::{BTreeMap, HashMap};

/// The first line of `readings.csv`.
pub const CSV_HEADER: &str = "position,recorded_at,received_at,measured_at,time_from,device,key,value,unit\n";

/// Why something was changed, in words: of the change, not of what holds after it.
const REASON_TEXT: &str = "reason_text";

/// A channel as its registration has it.
#[derive(Deserialize)]
struct Registered {
    device: String,
    key: String,
    unit: String,
}

/// `readings.csv` and `config.json` of these lines of `entries.ndjson`; stubs give nothing.
///
/// # Errors
/// In words, where a line is neither entry nor stub, or a payload is not what its event type says.
pub fn derive(query: &Query, lines: &[u8]) -> Result<(Vec<u8>, Vec<u8>), String> {
    let (mut rows, mut config) = (Rows::new(query), Config::new(query));
    let mut csv = CSV_HEADER.as_bytes().to_vec();
    let given = lines.split(|b| *b == b'\n').filter(|line| !line.is_empty());
    for line in given.filter(|line| !line.starts_with(b"{\"leaf_hash\"")) {
        let entry = Entry::decode(line).map_err(|error| error.to_string())?;
        if is_told(&entry) {
            config.take(&entry)?;
        }
        rows.take(&entry, &mut csv)?;
    }
    Ok((csv, config.encode().map_err(|error| error.to_string())?))
}

/// Whether `config.json` tells of an entry's stream: also of those that are facts and not configuration.
pub fn is_told(entry: &Entry<'_>) -> bool {
    !matches!(entry.aggregate_type, READINGS | TOKENS) && !entry.stream_is("ledger", "main")
}

/// What a reading rests on.
pub struct RestsOn {
    /// The position of the configuration that it names.
    pub config: Position,
    /// A key whose channel was never registered.
    pub unregistered: Option<String>,
}

/// Makes the lines of `readings.csv`.
pub struct Rows {
    /// Only this channel's values.
    channel: Option<String>,
    /// Device and key by channel.
    channels: HashMap<String, (String, String)>,
    /// Unit by device and key.
    units: HashMap<String, HashMap<String, String>>,
}

impl Rows {
    /// For that query.
    pub fn new(query: &Query) -> Self {
        Self {
            channel: query.subject.channel().map(str::to_owned),
            channels: HashMap::new(),
            units: HashMap::new(),
        }
    }

    /// Takes the next entry, and appends its lines.
    ///
    /// # Errors
    /// In words, where the payload is not what its event type says.
    pub fn take(&mut self, entry: &Entry<'_>, out: &mut Vec<u8>) -> Result<Option<RestsOn>, String> {
        match (entry.aggregate_type, entry.event_type) {
            ("channel", "ChannelRegistered") => self.registered(entry)?,
            ("channel", "ChannelChanged") => self.changed(entry)?,
            (READINGS, READING_RECORDED) => return self.reading(entry, out).map(Some),
            _ => {}
        }
        Ok(None)
    }

    fn registered(&mut self, entry: &Entry<'_>) -> Result<(), String> {
        let channel: Registered = payload(entry)?;
        let units = self.units.entry(channel.device.clone()).or_default();
        units.insert(channel.key.clone(), channel.unit);
        self.channels
            .insert(entry.aggregate_id.to_owned(), (channel.device, channel.key));
        Ok(())
    }

    fn changed(&mut self, entry: &Entry<'_>) -> Result<(), String> {
        let changed: Value = payload(entry)?;
        if let (Some(unit), Some((device, key))) = (
            changed["changes"]["unit"]["new"].as_str(),
            self.channels.get(entry.aggregate_id),
        ) && let Some(units) = self.units.get_mut(device)
        {
            units.insert(key.clone(), unit.to_owned());
        }
        Ok(())
    }

    fn reading(&self, entry: &Entry<'_>, out: &mut Vec<u8>) -> Result<RestsOn, String> {
        #[derive(Deserialize)]
        struct Received<'a> {
            #[serde(borrow, default)]
            received_at: Option<Cow<'a, str>>,
        }
        let reading = Reading::read(entry.payload).map_err(|error| format!("ReadingRecorded: {error}"))?;
        let received: Received<'_> =
            serde_json::from_slice(entry.metadata).map_err(|error| format!("metadata: {error}"))?;
        let device = entry.aggregate_id;
        let only = self.channel.as_ref().map(|channel| self.channels.get(channel));
        let units = self.units.get(device);
        let registered = |key: &str| units.is_some_and(|units| units.contains_key(key));
        let unregistered = reading.values.iter().find(|(key, _)| !registered(key));
        for (key, value) in &reading.values {
            let asked = match only {
                None => true,
                Some(only) => only.is_some_and(|(of, is)| of == device && is == key),
            };
            if !asked {
                continue;
            }
            let unit = units.and_then(|units| units.get(*key));
            out.extend_from_slice(entry.position.to_string().as_bytes());
            out.push(b',');
            entry.recorded_at.write(out);
            out.push(b',');
            out.extend_from_slice(received.received_at.as_deref().unwrap_or_default().as_bytes());
            out.push(b',');
            reading.measured_at.write(out);
            for text in [reading.time_from.as_str(), device, key] {
                out.push(b',');
                out.extend_from_slice(text.as_bytes());
            }
            out.push(b',');
            write_number(out, *value).map_err(|error| error.to_string())?;
            out.push(b',');
            out.extend_from_slice(unit.map_or("", String::as_str).as_bytes());
            out.push(b'\n');
        }
        Ok(RestsOn {
            config: reading.config,
            unregistered: unregistered.map(|(key, _)| (*key).to_owned()),
        })
    }
}

fn payload<T: for<'de> Deserialize<'de>>(entry: &Entry<'_>) -> Result<T, String> {
    serde_json::from_slice(entry.payload).map_err(|error| format!("{}: {error}", entry.event_type))
}

/// Makes `config.json`.
pub struct Config {
    from: Date,
    to: Date,
    streams: BTreeMap<String, Configured>,
}

#[derive(Default)]
struct Configured {
    at_start: Option<(Position, Map<String, Value>)>,
    events: Vec<Value>,
}

impl Config {
    /// For that query.
    pub fn new(query: &Query) -> Self {
        Self {
            from: query.from,
            to: query.to,
            streams: BTreeMap::new(),
        }
    }

    /// Takes the next entry of a stream of configuration.
    ///
    /// # Errors
    /// In words, where the payload is no object.
    pub fn take(&mut self, entry: &Entry<'_>) -> Result<(), String> {
        let stream = self.streams.entry(entry.stream_name()).or_default();
        if entry.recorded_at.date() >= self.from {
            let event = json!({"event_type": entry.event_type, "position": entry.position});
            stream.events.push(event);
            return Ok(());
        }
        let fact: Map<String, Value> = payload(entry)?;
        match &mut stream.at_start {
            None => stream.at_start = Some((entry.position, fact)),
            Some((position, value)) => {
                if overlay(value, entry.event_type, fact) {
                    *position = entry.position;
                }
            }
        }
        Ok(())
    }

    /// The file.
    ///
    /// # Errors
    /// [`CanonicalError`] for what nests too deeply.
    pub fn encode(&self) -> Result<Vec<u8>, CanonicalError> {
        let streams = self.streams.iter().map(|(name, stream)| {
            let at_start = stream
                .at_start
                .as_ref()
                .map(|(position, value)| json!({"position": position, "value": value}));
            json!({"stream": name, "at_start": at_start, "events": stream.events})
        });
        let streams: Vec<Value> = streams.collect();
        let file = json!({"from": self.from, "to": self.to, "streams": streams});
        Ok(Canonical::of(&file)?.as_bytes().to_vec())
    }
}

/// What is so after one more event; whether it says anything about that. What only happened, such as an
/// acknowledgement, says nothing.
fn overlay(value: &mut Map<String, Value>, event_type: &str, mut fact: Map<String, Value>) -> bool {
    let laid: Map<String, Value> = if event_type == "DeviceMoved" {
        let site = fact.remove("to_site");
        site.map(|site| ("site".to_owned(), site)).into_iter().collect()
    } else if let Some(changes) = fact.remove("changes") {
        let Value::Object(changes) = changes else {
            return false;
        };
        let new = |(field, mut change): (String, Value)| Some((field, change.get_mut("new")?.take()));
        changes.into_iter().filter_map(new).collect()
    } else if fact.values().any(|member| changed_to(member).is_some()) {
        fact.remove(REASON_TEXT);
        let now = |(field, member): (String, Value)| (field, changed_to(&member).cloned().unwrap_or(member));
        fact.into_iter().map(now).collect()
    } else {
        Map::new()
    };
    let says = !laid.is_empty();
    value.extend(laid);
    says
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pack::Subject;
    use domain::Timestamp;
    use domain::entry::{NewEvent, Placement, encode};

    fn entry(
        position: u64,
        day: i64,
        stream: (&'static str, &str),
        event: &'static str,
        fact: &Value,
    ) -> Vec<u8> {
        let event = NewEvent {
            aggregate_type: stream.0.into(),
            aggregate_id: stream.1.to_owned(),
            event_type: event.into(),
            event_version: "1.0".into(),
            payload: Canonical::of(fact).expect("canonical"),
            metadata: Canonical::empty_object(),
            salt: None,
        };
        let placement = Placement {
            position: Position(position),
            recorded_at: Timestamp::from_micros(day * 86_400_000_000).expect("in range"),
            sequence: 1,
            salt: [0; 16],
        };
        let mut out = Vec::new();
        encode(&mut out, &placement, &event).expect("an entry");
        out
    }

    #[test]
    fn what_was_in_force_is_the_first_fact_with_every_change_before_the_start() {
        let device = ("device", "dev_a");
        let facts = [
            (
                1,
                1,
                "DeviceRegistered",
                json!({"site": "s1", "local_id": "a", "cadence_s": 60}),
            ),
            (
                2,
                2,
                "DeviceChanged",
                json!({"changes": {"cadence_s": {"old": 60, "new": null}}}),
            ),
            (
                3,
                2,
                "DeviceMoved",
                json!({"from_site": "s1", "to_site": "s2", "effective_at": "x"}),
            ),
            (4, 2, "DeviceRemoved", json!({})),
            (
                5,
                3,
                "DeviceChanged",
                json!({"changes": {"local_id": {"old": "a", "new": "b"}}}),
            ),
        ];
        let subject = Subject::Device("dev_a".to_owned());
        let query = Query::new(subject, Date::from_days(3), Date::from_days(4)).expect("a query");
        let mut config = Config::new(&query);
        for (position, day, event, fact) in &facts {
            let bytes = entry(*position, *day, device, event, fact);
            config
                .take(&Entry::decode(&bytes).expect("an entry"))
                .expect("taken");
        }
        let found: Value = serde_json::from_slice(&config.encode().expect("JSON")).expect("JSON");
        assert_eq!(
            found["streams"],
            json!([{
                "stream": "device/dev_a",
                "at_start": {"position": 3, "value": {"site": "s2", "local_id": "a", "cadence_s": null}},
                "events": [{"event_type": "DeviceChanged", "position": 5}],
            }])
        );
    }

    #[test]
    fn a_rule_that_was_changed_is_in_force_as_it_was_changed_and_an_event_that_changes_nothing_says_nothing()
    {
        let facts = [
            (
                "rule",
                "RuleCreated",
                json!({"channel": "chn_t", "definition": {"ok_max": 5}, "version": 1, "tzdb": "2025a"}),
            ),
            (
                "rule",
                "RuleChanged",
                json!({"channel": "chn_t", "definition": {"old": {"ok_max": 5}, "new": {"ok_max": 8}},
                    "version": 2, "tzdb": "2025b", "reason_text": {"sealed": {}}}),
            ),
            ("alarm", "AlarmOpened", json!({"severity": "warning", "value": 9})),
            ("alarm", "AlarmAcknowledged", json!({"reason": "seen"})),
        ];
        let subject = Subject::Device("dev_a".to_owned());
        let query = Query::new(subject, Date::from_days(3), Date::from_days(4)).expect("a query");
        let mut config = Config::new(&query);
        for (at, (kind, event, fact)) in (0..).zip(&facts) {
            let bytes = entry(at, 1, (kind, "x"), event, fact);
            config
                .take(&Entry::decode(&bytes).expect("an entry"))
                .expect("taken");
        }
        let found: Value = serde_json::from_slice(&config.encode().expect("JSON")).expect("JSON");
        assert_eq!(
            found["streams"],
            json!([
                {"stream": "alarm/x", "events": [],
                    "at_start": {"position": 2, "value": {"severity": "warning", "value": 9}}},
                {"stream": "rule/x", "events": [], "at_start": {"position": 1, "value": {"channel": "chn_t",
                    "definition": {"ok_max": 8}, "version": 2, "tzdb": "2025b"}}},
            ])
        );
    }

    #[test]
    fn values_stand_with_the_unit_that_their_channel_had_then() {
        let registered = json!({"device": "dev_a", "key": "temperature", "unit": "Cel"});
        let reading = json!({"config": 1, "measured_at": "1970-01-03T00:00:00.000000Z", "time_from": "device",
            "values": {"humidity": 61, "temperature": 4.25}});
        let changed = json!({"changes": {"unit": {"old": "Cel", "new": "K"}}});
        let entries = [
            entry(1, 1, ("channel", "chn_t"), "ChannelRegistered", &registered),
            entry(2, 2, (READINGS, "dev_a"), READING_RECORDED, &reading),
            entry(3, 2, ("channel", "chn_t"), "ChannelChanged", &changed),
            entry(4, 2, (READINGS, "dev_a"), READING_RECORDED, &reading),
        ];
        let rows = |subject| {
            let query = Query::new(subject, Date::from_days(0), Date::from_days(9)).expect("a query");
            let (mut rows, mut out) = (Rows::new(&query), Vec::new());
            for bytes in &entries {
                rows.take(&Entry::decode(bytes).expect("an entry"), &mut out)
                    .expect("taken");
            }
            String::from_utf8(out).expect("text")
        };
        let line = |position: u64, rest: &str| {
            format!(
                "{position},1970-01-03T00:00:00.000000Z,,1970-01-03T00:00:00.000000Z,device,dev_a,{rest}\n"
            )
        };
        assert_eq!(
            rows(Subject::Device("dev_a".to_owned())),
            [
                line(2, "humidity,61,"),
                line(2, "temperature,4.25,Cel"),
                line(4, "humidity,61,"),
                line(4, "temperature,4.25,K"),
            ]
            .concat()
        );
        assert_eq!(
            rows(Subject::Channel("chn_t".to_owned())),
            [line(2, "temperature,4.25,Cel"), line(4, "temperature,4.25,K")].concat()
        );
    }
}
