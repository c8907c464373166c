//! What was in force at a moment: every stream of configuration, folded to one JSON value each.
//!
//! Invariants: a pure fold of entries in the order of their positions; what is in force is said with the entries that
//! it follows from; a token's hash never comes in; a sealed value stays sealed and takes along where it was sealed.
//! It knows no list of configuration's streams: one that is new to this software is folded like any other (FORMAT §7,
//! `config.json`: a first payload, over which each later `changes.<field>.new` is laid), so that nothing that was in
//! force is left out because this page of code is older. What is known not to be configuration is named
//! ([`is_configuration`]).
//! Source: FORMAT §1, §2, §7. Not here: which entries to read, opening sealed values, how it is shown.

mod site;
#[cfg(test)]
mod tests;

pub use site::SiteInForce;

use crate::entry::Entry;
use crate::event::{Class, Metadata, class_of};
use crate::hash::{Hash, leaf_hash};
use crate::position::Position;
use crate::sealed::Place;
use crate::time::Timestamp;
use serde_json::{Map, Value};
use std::collections::BTreeMap;

/// The ledger's own stream.
pub const LEDGER_STREAM: (&str, &str) = ("ledger", "main");
/// Streams of facts, not of what holds from then on.
const FACTS: &[&str] = &[
    "alarm",
    "annotations",
    "artefact",
    "ledger",
    "notifications",
    "pack",
    "publication",
    "readings",
    "refusals",
    "report",
    "state",
    "tray",
];
/// Ends of event types after which nothing of a stream is in force.
const ENDINGS: &[&str] = &["Archived", "Deleted", "Ended", "Removed", "Retired"];

/// Whether a stream of this type says what holds from then on. Unknown types do.
pub fn is_configuration(aggregate_type: &str) -> bool {
    !FACTS.contains(&aggregate_type)
}

/// An entry that something follows from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Evidence {
    /// Where it is.
    pub position: Position,
    /// Its leaf hash.
    pub leaf_hash: Hash,
    /// What it says happened.
    pub event_type: String,
    /// When it was recorded.
    pub recorded_at: Timestamp,
}

impl Evidence {
    fn of(entry: &Entry<'_>, bytes: &[u8]) -> Self {
        Self {
            position: entry.position,
            leaf_hash: leaf_hash(bytes),
            event_type: entry.event_type.to_owned(),
            recorded_at: entry.recorded_at,
        }
    }
}

/// What one stream of configuration came to.
#[derive(Debug, Clone, PartialEq)]
pub struct Item {
    /// Such as `device`.
    pub aggregate_type: String,
    /// The stream's id.
    pub aggregate_id: String,
    /// Whose it is.
    pub account: Option<String>,
    /// The device, site or account that the stream is about.
    pub owner: Option<String>,
    /// The members that are in force.
    pub value: Map<String, Value>,
    /// Whether it was taken away.
    pub ended: bool,
    /// The stream's entries, rising.
    pub entries: Vec<Evidence>,
    moves: Vec<Move>,
}

#[derive(Debug, Clone, PartialEq)]
struct Move {
    effective_at: Timestamp,
    from_site: String,
}

impl Item {
    fn begin(entry: &Entry<'_>, metadata: &Metadata) -> Self {
        Self {
            aggregate_type: entry.aggregate_type.to_owned(),
            aggregate_id: entry.aggregate_id.to_owned(),
            account: metadata.account.clone(),
            owner: metadata.owner.clone(),
            value: Map::new(),
            ended: false,
            entries: Vec::new(),
            moves: Vec::new(),
        }
    }

    /// The text of a member.
    pub fn text(&self, member: &str) -> Option<&str> {
        self.value.get(member).and_then(Value::as_str)
    }

    /// The newest of its entries.
    pub fn last(&self) -> Option<&Evidence> {
        self.entries.last()
    }

    /// Where a device stood at a time: a move may hold from another time on than it was recorded.
    pub fn site_at(&self, at: Timestamp) -> Option<&str> {
        let after = self.moves.iter().find(|moved| at < moved.effective_at);
        after.map_or_else(|| self.text("site"), |moved| Some(&moved.from_site))
    }

    fn take(&mut self, entry: &Entry<'_>, mut payload: Map<String, Value>) {
        payload.remove("reason_text");
        if ENDINGS.iter().any(|ending| entry.event_type.ends_with(ending)) {
            self.ended = true;
        }
        if let Some(Value::Object(changes)) = payload.remove("changes") {
            for (member, change) in changes {
                let Value::Object(mut change) = change else {
                    continue;
                };
                let pointer = format!("/changes/{}/new", escaped(&member));
                let new = change.remove("new").unwrap_or(Value::Null);
                self.value.insert(member, placed(new, &pointer, entry));
            }
        }
        match entry.event_type {
            "DeviceMoved" => self.moved(payload),
            "AccountSuspended" => drop(self.value.insert("suspended".to_owned(), Value::Bool(true))),
            "AccountResumed" => drop(self.value.insert("suspended".to_owned(), Value::Bool(false))),
            _ => {
                for (member, value) in payload {
                    let pointer = format!("/{}", escaped(&member));
                    let (pointer, value) = match changed_to(&value) {
                        Some(new) => (format!("{pointer}/new"), new.clone()),
                        None => (pointer, value),
                    };
                    self.value.insert(member, placed(value, &pointer, entry));
                }
            }
        }
    }

    fn moved(&mut self, mut payload: Map<String, Value>) {
        let text = |value: Option<&Value>| value.and_then(Value::as_str).map(str::to_owned);
        let at = text(payload.get("effective_at")).and_then(|at| Timestamp::parse_rfc3339(&at).ok());
        if let (Some(effective_at), Some(from_site)) = (at, text(payload.get("from_site"))) {
            self.moves.push(Move {
                effective_at,
                from_site,
            });
        }
        if let Some(to) = payload.remove("to_site") {
            self.value.insert("site".to_owned(), to);
        }
    }
}

/// What a member is from now on, where it says what it was, too: `{"old", "new"}` and nothing else.
pub fn changed_to(value: &Value) -> Option<&Value> {
    let members = value.as_object()?;
    let is_change = members.len() == 2 && members.contains_key("old");
    members.get("new").filter(|_| is_change)
}

/// A token that was issued; nothing of its secret.
#[derive(Debug, Clone, PartialEq)]
pub struct TokenItem {
    /// The id inside the token.
    pub id: String,
    /// The device, user or integration that it is of.
    pub owner: String,
    /// `device`, `user`, `integration`.
    pub kind: String,
    /// From here on it is refused.
    pub expires_at: Option<Timestamp>,
    /// Whether it ended at once.
    pub revoked: bool,
    /// The entries about it, rising.
    pub entries: Vec<Evidence>,
}

impl TokenItem {
    /// Whether it opened something at a time.
    pub fn is_good_at(&self, at: Timestamp) -> bool {
        !self.revoked && self.expires_at.is_none_or(|end| at < end)
    }
}

/// One of the ledger's own rules, with the entry that set it.
#[derive(Debug, Clone, PartialEq)]
pub struct Rule {
    /// What was set.
    pub value: Value,
    /// By which entry.
    pub entry: Evidence,
}

/// What the ledger says of itself.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct LedgerRules {
    /// The software that ran: version, hash of the binary, time zones.
    pub software: Option<Rule>,
    /// How long each class is kept.
    pub retention: Option<Rule>,
    /// The witnesses and how many are enough, as text.
    pub witnesses: Option<Rule>,
    /// The keys of the log and of receipts, as the ledger began.
    pub keys: Option<Rule>,
    /// Keys that took the place of others since.
    pub rotations: Vec<Rule>,
}

/// A fold of configuration.
#[derive(Debug, Clone, Default)]
pub struct InForce {
    items: BTreeMap<(String, String), Item>,
    tokens: BTreeMap<String, Vec<TokenItem>>,
    ledger: LedgerRules,
    sequences: BTreeMap<String, u64>,
}

/// Why an entry cannot be folded.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("position {position}: {reason}")]
pub struct InForceError {
    /// The entry.
    pub position: Position,
    /// What is wrong with it.
    pub reason: String,
}

impl InForce {
    /// Takes an entry over; facts and who came in pass by, but are counted: a stream without its every entry would give
    /// something that never was.
    ///
    /// # Errors
    /// [`InForceError`] where it cannot be read, or is not the next one of its stream.
    pub fn take(&mut self, bytes: &[u8]) -> Result<(), InForceError> {
        let entry = Entry::read(bytes).map_err(|error| InForceError {
            position: Position::FIRST,
            reason: error.to_string(),
        })?;
        let wrong = |reason: String| InForceError {
            position: entry.position,
            reason,
        };
        let sequence = self.sequences.entry(entry.stream_name()).or_default();
        if entry.sequence != *sequence + 1 {
            let stream = entry.stream_name();
            return Err(wrong(format!(
                "sequence {} of {stream} follows {sequence}: an entry is missing",
                entry.sequence
            )));
        }
        *sequence = entry.sequence;
        let is_ledgers = entry.stream_is(LEDGER_STREAM.0, LEDGER_STREAM.1);
        let is_access = class_of(entry.event_type) == Some(Class::Access);
        if is_access || !(is_ledgers || is_configuration(entry.aggregate_type)) {
            return Ok(());
        }
        if is_ledgers && !is_rule(entry.event_type) {
            return Ok(());
        }
        let payload: Map<String, Value> =
            serde_json::from_slice(entry.payload).map_err(|error| wrong(error.to_string()))?;
        let evidence = Evidence::of(&entry, bytes);
        if is_ledgers {
            self.rule(payload, evidence);
        } else if entry.aggregate_type == "tokens" {
            self.token(entry.aggregate_id, &payload, evidence);
        } else {
            let key = (entry.aggregate_type.to_owned(), entry.aggregate_id.to_owned());
            let item = match self.items.entry(key) {
                std::collections::btree_map::Entry::Occupied(there) => there.into_mut(),
                std::collections::btree_map::Entry::Vacant(place) => {
                    let metadata = Metadata::read(entry.metadata).map_err(wrong)?;
                    place.insert(Item::begin(&entry, &metadata))
                }
            };
            item.take(&entry, payload);
            item.entries.push(evidence);
        }
        Ok(())
    }

    /// What a stream came to.
    pub fn item(&self, aggregate_type: &str, aggregate_id: &str) -> Option<&Item> {
        self.items
            .get(&(aggregate_type.to_owned(), aggregate_id.to_owned()))
    }

    /// What streams of a type came to, by id; ended ones too.
    pub fn items(&self, aggregate_type: &str) -> impl Iterator<Item = &Item> {
        let from = (aggregate_type.to_owned(), String::new());
        self.items
            .range(from..)
            .take_while(move |((of, _), _)| of == aggregate_type)
            .map(|(_, item)| item)
    }

    /// The tokens of a device, user or integration, in order of issue; ended ones too.
    pub fn tokens(&self, owner: &str) -> impl Iterator<Item = &TokenItem> {
        self.tokens.get(owner).into_iter().flatten()
    }

    /// What the ledger says of itself.
    pub const fn ledger(&self) -> &LedgerRules {
        &self.ledger
    }

    fn rule(&mut self, mut payload: Map<String, Value>, entry: Evidence) {
        let rule = |value: Value| {
            Some(Rule {
                value,
                entry: entry.clone(),
            })
        };
        let mut part = |name: &str| payload.remove(name).unwrap_or(Value::Null);
        let ledger = &mut self.ledger;
        match entry.event_type.as_str() {
            "LedgerCreated" => {
                ledger.retention = rule(part("retention"));
                ledger.witnesses = rule(part("policy"));
                let keys = ["log_keys", "receipt_keys", "recovery_key"];
                let keys: Map<String, Value> = keys
                    .map(|name| (name.to_owned(), part(name)))
                    .into_iter()
                    .collect();
                ledger.keys = rule(Value::Object(keys));
            }
            "SoftwareStarted" => {
                let said = ["version", "binary_sha256", "tzdb"];
                let said: Map<String, Value> = said
                    .map(|name| (name.to_owned(), part(name)))
                    .into_iter()
                    .collect();
                ledger.software = rule(Value::Object(said));
            }
            "RetentionPolicySet" => {
                payload.remove("reason_text");
                let set = payload.remove("retention").unwrap_or(Value::Object(payload));
                ledger.retention = rule(set);
            }
            "WitnessPolicySet" => ledger.witnesses = rule(part("policy")),
            _ => ledger.rotations.extend(rule(Value::Object(payload))),
        }
    }

    fn token(&mut self, owner: &str, payload: &Map<String, Value>, evidence: Evidence) {
        let text = |member: &str| payload.get(member).and_then(Value::as_str);
        let Some(id) = text("token") else { return };
        let tokens = self.tokens.entry(owner.to_owned()).or_default();
        match tokens.iter_mut().find(|token| token.id == id) {
            Some(token) => {
                let end = text("expires_at").and_then(|end| Timestamp::parse_rfc3339(end).ok());
                token.expires_at = end.or(token.expires_at);
                token.revoked |= evidence.event_type == "TokenRevoked";
                token.entries.push(evidence);
            }
            None => tokens.push(TokenItem {
                id: id.to_owned(),
                owner: owner.to_owned(),
                kind: text("kind").unwrap_or_default().to_owned(),
                expires_at: None,
                revoked: false,
                entries: vec![evidence],
            }),
        }
    }
}

/// Whether an event of the ledger's own stream sets one of its rules.
fn is_rule(event_type: &str) -> bool {
    matches!(
        event_type,
        "LedgerCreated" | "SoftwareStarted" | "RetentionPolicySet" | "WitnessPolicySet" | "KeyRotated"
    )
}

/// A value in which each sealed one takes along its place, as an old value of a change does.
fn placed(value: Value, pointer: &str, entry: &Entry<'_>) -> Value {
    match value {
        Value::Object(mut members) if members.contains_key("sealed") => {
            if !members.contains_key("place") {
                let place = Place {
                    pointer: pointer.to_owned(),
                    salt: entry.salt.to_owned(),
                    sequence: entry.sequence,
                };
                members.insert(
                    "place".to_owned(),
                    serde_json::to_value(place).unwrap_or_default(),
                );
            }
            Value::Object(members)
        }
        Value::Object(members) => members
            .into_iter()
            .map(|(name, value)| {
                let pointer = format!("{pointer}/{}", escaped(&name));
                (name, placed(value, &pointer, entry))
            })
            .collect(),
        Value::Array(values) => values
            .into_iter()
            .enumerate()
            .map(|(index, value)| placed(value, &format!("{pointer}/{index}"), entry))
            .collect(),
        plain => plain,
    }
}

fn escaped(name: &str) -> String {
    name.replace('~', "~0").replace('/', "~1")
}
