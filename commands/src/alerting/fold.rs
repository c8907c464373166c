//! Entries in, decisions that the ledger should hold out: the registry, the rule engine, and what is not recorded yet.
//!
//! The state at a position is a pure fold of the entries before it. A decision is *due* from the entry at which it was
//! made until the entry that records it; so a start after a crash finds what is missing by folding, records each once,
//! and a replay of the whole ledger finds what was taken out of it or put into it.
//! Invariants: decisions are due in the order in which they were made; an entry that records a decision has exactly its
//! payload; what a person closed is told no more of.
//! Source: DESIGN "Determinism"; docs/rules.md. Not here: deciding (`domain::rule::engine`), recording (`mod`).

use domain::canonical::Canonical;
use domain::entry::Entry;
use domain::event::{Event, Metadata};
use domain::ports::TileStore;
use domain::reading::{READING_RECORDED, READINGS, Reading};
use domain::registry::{Channel, Registry, simple_rule_id};
use domain::rule::engine::{Decision, Engine, Fact, Subject, What};
use domain::{Hash, Position, Timestamp, TreeSize};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

/// Who decides, as entries say it.
pub const ACTOR: &str = "system:rules";

/// A decision that no entry records yet.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Due {
    /// `alarm` or `state`.
    pub aggregate_type: String,
    /// The stream's id.
    pub aggregate_id: String,
    /// What was decided.
    pub event_type: String,
    /// Canonical JSON.
    pub payload: String,
    /// Whose it is.
    pub account: String,
    /// The channel or device that the stream is about.
    pub owner: String,
    /// The entry at which it was decided.
    pub decided_by: Position,
    /// When that entry was recorded.
    pub decided_at: Timestamp,
    /// How many decisions were made before it.
    pub order: u64,
}

/// An entry that says it is a decision, which the rules did not make.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unexpected {
    /// The entry.
    pub position: Position,
    /// Its stream and type: `alarm/alm_… AlarmOpened`.
    pub what: String,
}

/// Why an entry could not be followed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("position {position}: {reason}")]
pub struct FoldError {
    /// The entry.
    pub position: Position,
    /// What is wrong.
    pub reason: String,
}

/// The leaf hash at a position; it names alarms.
fn leaf(tiles: &dyn TileStore, position: Position) -> Result<Hash, String> {
    let mut out = Vec::with_capacity(1);
    tiles
        .read_nodes(0, position.get(), 1, &mut out)
        .map_err(|e| e.to_string())?;
    out.first().copied().ok_or_else(|| "no leaf hash".to_owned())
}

/// What has to be kept of a fold so that it can go on: everything but the registry, which the ledger's index gives.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(super) struct Kept {
    pub made: u64,
    pub closed: BTreeSet<String>,
    pub recomputed: BTreeSet<String>,
    #[serde(default)]
    pub raised: BTreeSet<String>,
    pub due: Vec<Due>,
}

/// The fold.
#[derive(Debug, Default)]
pub struct Fold {
    size: TreeSize,
    recorded_at: Timestamp,
    registry: Registry,
    engine: Engine,
    due: VecDeque<Due>,
    /// Decisions made.
    made: u64,
    /// Decisions whose entries were found.
    recorded: u64,
    /// The order of the newest of those.
    newest_recorded: Option<u64>,
    /// Alarms that a person closed: the engine goes on, nobody is told.
    closed: BTreeSet<String>,
    /// Alarms that a recompute names, whose entries stand behind it.
    recomputed: BTreeSet<String>,
    /// Alarms that are about no channel: no rule decides of them.
    raised: BTreeSet<String>,
    /// Names of alarms that are open, so that their first entry is not looked up again.
    names: BTreeMap<(Arc<str>, Position), String>,
    decisions: Vec<Decision>,
    values: Vec<(Arc<str>, f64)>,
}

impl Fold {
    /// A fold that begins at the ledger's first entry.
    pub fn new() -> Self {
        Self::default()
    }

    pub(super) fn restored(registry: Registry, engine: Engine, kept: Kept, size: TreeSize) -> Self {
        Self {
            size,
            registry,
            engine,
            due: kept.due.into(),
            made: kept.made,
            closed: kept.closed,
            recomputed: kept.recomputed,
            raised: kept.raised,
            ..Self::default()
        }
    }

    pub(super) fn kept(&self) -> Kept {
        Kept {
            made: self.made,
            closed: self.closed.clone(),
            recomputed: self.recomputed.clone(),
            raised: self.raised.clone(),
            due: self.due.iter().cloned().collect(),
        }
    }

    /// How many entries were followed.
    pub const fn size(&self) -> TreeSize {
        self.size
    }

    /// When the newest of them was recorded.
    pub const fn recorded_at(&self) -> Timestamp {
        self.recorded_at
    }

    /// Decisions that no entry records yet, in order.
    pub fn due(&self) -> &VecDeque<Due> {
        &self.due
    }

    /// How many decisions were found recorded.
    pub const fn recorded(&self) -> u64 {
        self.recorded
    }

    /// Whether a decision that is due was passed over: a later one is recorded, or `grace_us` passed since.
    pub fn is_passed_over(&self, due: &Due, grace_us: i64) -> bool {
        self.newest_recorded.is_some_and(|newest| newest > due.order)
            || self.recorded_at.since(due.decided_at) > grace_us
    }

    /// The engine.
    pub fn engine(&self) -> &Engine {
        &self.engine
    }

    /// What is configured at this size.
    pub fn registry(&self) -> &Registry {
        &self.registry
    }

    /// Follows one entry.
    ///
    /// # Errors
    /// [`FoldError`]; the ledger is then damaged, or newer than this software.
    pub fn entry(
        &mut self,
        position: Position,
        bytes: &[u8],
        tiles: &dyn TileStore,
        unexpected: &mut Vec<Unexpected>,
    ) -> Result<(), FoldError> {
        let wrong = |reason: String| FoldError { position, reason };
        let entry = Entry::read(bytes).map_err(|e| wrong(e.to_string()))?;
        if position != self.size.next_position() || entry.position != position {
            return Err(wrong("entries must follow each other".to_owned()));
        }
        match entry.aggregate_type {
            READINGS => self.reading(&entry).map_err(wrong)?,
            "alarm" | "state" => {
                self.step(&entry, What::Other);
                self.told(&entry, unexpected).map_err(wrong)?;
            }
            "ledger" if entry.event_type == "SoftwareStarted" => self.step(&entry, What::Started),
            _ => {
                self.registry.apply(&entry).map_err(|e| wrong(e.to_string()))?;
                self.configured(&entry).map_err(wrong)?;
            }
        }
        self.registry.advance(position.size_through());
        self.decided(&entry, tiles).map_err(wrong)?;
        self.size = position.size_through();
        self.recorded_at = entry.recorded_at;
        Ok(())
    }

    fn step(&mut self, entry: &Entry<'_>, what: What<'_>) {
        let fact = Fact {
            position: entry.position,
            recorded_at: entry.recorded_at,
            what,
        };
        self.engine.step(&fact, &mut self.decisions);
    }

    fn reading(&mut self, entry: &Entry<'_>) -> Result<(), String> {
        let device = self.registry.device_anywhere(entry.aggregate_id);
        let (Some(device), READING_RECORDED) = (device, entry.event_type) else {
            self.step(entry, What::Other);
            return Ok(());
        };
        let reading = Reading::read(entry.payload).map_err(|e| e.to_string())?;
        self.values.clear();
        for (key, value) in &reading.values {
            if let Some(channel) = self.registry.channel_by_key(device, key) {
                self.values.push((Arc::clone(&channel.id), *value));
            }
        }
        let values: Vec<(&str, f64)> = self.values.iter().map(|(id, value)| (&**id, *value)).collect();
        let fact = Fact {
            position: entry.position,
            recorded_at: entry.recorded_at,
            what: What::Reading {
                device: entry.aggregate_id,
                measured_at: reading.measured_at,
                values: &values,
            },
        };
        self.engine.step(&fact, &mut self.decisions);
        Ok(())
    }

    /// Tells the engine what an entry of configuration changed; the registry has followed it already.
    fn configured(&mut self, entry: &Entry<'_>) -> Result<(), String> {
        let Self {
            registry,
            engine,
            decisions,
            ..
        } = self;
        let mut tell = |what: What<'_>| {
            let fact = Fact {
                position: entry.position,
                recorded_at: entry.recorded_at,
                what,
            };
            engine.step(&fact, decisions);
        };
        let id = entry.aggregate_id;
        match entry.event_type {
            "DeviceRegistered" | "DeviceChanged" => {
                let cadence_s = registry.device_anywhere(id).and_then(|d| d.state.cadence_s);
                tell(What::Device {
                    device: id,
                    cadence_s,
                });
            }
            "DeviceRemoved" => {
                tell(What::DeviceRemoved { device: id });
                if let Some(device) = registry.device_anywhere(id) {
                    for channel in registry.channels(device) {
                        tell(What::ChannelRemoved { channel: &channel.id });
                    }
                }
            }
            "DeviceMoved" => {
                if let Some(device) = registry.device_anywhere(id) {
                    registry
                        .channels(device)
                        .for_each(|channel| tell(made_known(registry, channel)));
                }
                tell(What::Other);
            }
            "SiteChanged" => {
                if let Some(account) = registry.account_of(id) {
                    let devices = registry.devices(account, None).filter(|d| d.state.site == id);
                    for channel in devices.flat_map(|device| registry.channels(device)) {
                        tell(made_known(registry, channel));
                    }
                }
                tell(What::Other);
            }
            "ChannelRegistered" | "ChannelChanged" => {
                let channel = registry
                    .channel_anywhere(id)
                    .ok_or("a channel that is not there")?;
                if entry.event_type == "ChannelRegistered" {
                    tell(made_known(registry, channel));
                }
                simple(registry, channel, entry.position, &mut tell);
            }
            "CalibrationSet" => {
                let channel = registry
                    .channel_anywhere(id)
                    .ok_or("a channel that is not there")?;
                match &channel.state.calibration {
                    Some(calibration) => tell(What::Calibrated {
                        channel: id,
                        correction: calibration.correction,
                        valid_from: calibration.valid_from,
                    }),
                    None => tell(What::Other),
                }
            }
            "DerivationSet" => {
                let channel = registry
                    .channel_anywhere(id)
                    .ok_or("a channel that is not there")?;
                tell(What::Derived {
                    channel: id,
                    derivation: channel.state.derivation.as_ref(),
                });
            }
            "RuleCreated" | "RuleChanged" => {
                let rule = registry
                    .account_of(id)
                    .and_then(|account| registry.rule(account, id))
                    .ok_or("a rule that is not there")?;
                tell(What::Rule {
                    rule: id,
                    channel: &rule.state.channel,
                    version: rule.state.version,
                    definition: &rule.state.definition,
                });
            }
            "RuleRemoved" => tell(What::RuleRemoved { rule: id }),
            _ => tell(What::Other),
        }
        Ok(())
    }

    /// An entry of an alarm or a state: the record of a decision, or what a person did.
    fn told(&mut self, entry: &Entry<'_>, unexpected: &mut Vec<Unexpected>) -> Result<(), String> {
        let same = |due: &Due| {
            due.aggregate_id == entry.aggregate_id
                && due.event_type == entry.event_type
                && due.aggregate_type == entry.aggregate_type
                && due.payload.as_bytes() == entry.payload
        };
        if let Some(at) = self.due.iter().position(same) {
            if let Some(due) = self.due.remove(at) {
                self.recorded += 1;
                self.newest_recorded = self.newest_recorded.max(Some(due.order));
            }
            return Ok(());
        }
        match entry.event_type {
            "AlarmAcknowledged" | "AlarmCommented" | "DeadlineReached" => return Ok(()),
            "AlarmRaised" => {
                self.raised.insert(entry.aggregate_id.to_owned());
                return Ok(());
            }
            // What the rules decide from here on is told again.
            "AlarmReopenedByPerson" => {
                self.closed.remove(entry.aggregate_id);
                return Ok(());
            }
            _ if entry.aggregate_type == "alarm" && self.raised.contains(entry.aggregate_id) => return Ok(()),
            "RulesRecomputed" => {
                if let Ok(Event::RulesRecomputed(it)) = Event::read(entry.event_type, entry.payload) {
                    self.due.retain(|due| !it.missed.contains(&due.aggregate_id));
                    self.recomputed.extend(it.missed);
                }
                return Ok(());
            }
            _ => {}
        }
        let metadata = Metadata::read(entry.metadata)?;
        if entry.event_type == "AlarmClosed" && metadata.actor.as_deref() != Some(ACTOR) {
            self.closed.insert(entry.aggregate_id.to_owned());
            self.due.retain(|due| due.aggregate_id != entry.aggregate_id);
            return Ok(());
        }
        if entry.aggregate_type == "alarm" && self.recomputed.contains(entry.aggregate_id) {
            return Ok(());
        }
        unexpected.push(Unexpected {
            position: entry.position,
            what: format!("{} {}", entry.stream_name(), entry.event_type),
        });
        Ok(())
    }

    /// Makes what the engine decided due.
    fn decided(&mut self, entry: &Entry<'_>, tiles: &dyn TileStore) -> Result<(), String> {
        for decision in std::mem::take(&mut self.decisions) {
            let payload = decision.event.payload(None).map_err(|e| e.to_string())?;
            let (aggregate_id, owner) = match &decision.subject {
                Subject::Alarm { alarm, channel } => {
                    let key = (Arc::clone(&alarm.rule), alarm.opening);
                    let id = match self.names.get(&key) {
                        Some(id) => id.clone(),
                        None => alarm.id(&leaf(tiles, alarm.opening)?),
                    };
                    match decision.event {
                        Event::AlarmOpened(_) => {
                            self.names.insert(key, id.clone());
                        }
                        Event::AlarmCleared(_) | Event::AlarmClosed(_) => {
                            self.names.remove(&key);
                        }
                        _ => {}
                    }
                    (id, Arc::clone(channel))
                }
                Subject::Channel(id) | Subject::Device(id) => (id.to_string(), Arc::clone(id)),
            };
            if self.closed.contains(&aggregate_id) || self.recomputed.contains(&aggregate_id) {
                continue;
            }
            let Some(account) = self.registry.account_of(&owner) else {
                return Err(format!("a decision about {owner}, which is not there"));
            };
            self.due.push_back(Due {
                aggregate_type: decision.event.aggregate_type().to_owned(),
                aggregate_id,
                event_type: decision.event.event_type().to_owned(),
                payload: text(&payload)?,
                account: account.to_owned(),
                owner: owner.to_string(),
                decided_by: entry.position,
                decided_at: entry.recorded_at,
                order: self.made,
            });
            self.made += 1;
        }
        Ok(())
    }
}

fn text(canonical: &Canonical) -> Result<String, String> {
    String::from_utf8(canonical.as_bytes().to_vec()).map_err(|e| e.to_string())
}

/// A channel with its site's time zone.
fn made_known<'r>(registry: &'r Registry, channel: &'r Channel) -> What<'r> {
    let site = registry
        .device_anywhere(&channel.state.device)
        .and_then(|device| registry.site(&channel.account, &device.state.site));
    What::Channel {
        channel: &channel.id,
        device: &channel.state.device,
        timezone: site.map_or("UTC", |site| site.state.timezone.as_str()),
    }
}

/// A channel's limits as the rule they are, where this entry changed them and no stream of its own leads.
fn simple(registry: &Registry, channel: &Channel, position: Position, tell: &mut impl FnMut(What<'_>)) {
    match registry.simple_rule(channel) {
        Some(rule) if rule.stream.is_none() && rule.changed.position == position => tell(What::Rule {
            rule: &rule.id,
            channel: &channel.id,
            version: rule.version,
            definition: &rule.definition,
        }),
        None if channel.simple_changed.position == position => tell(What::RuleRemoved {
            rule: &simple_rule_id(&channel.id),
        }),
        _ => tell(What::Other),
    }
}
