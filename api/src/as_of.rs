//! What was in force at a moment, from the ledger's own entries: for `?as_of=`, `/v1/sites/{id}/as-of` and
//! `daybook as-of`.
//!
//! Invariants: a moment is decided once, as the last position recorded at or before it, and everything is folded up to
//! there and no further; a moment that has not come, or that was before the first entry, is an error and never a guess;
//! every item is given with the entries that it follows from and their leaf hashes.
//! Not here: the fold (`domain::in_force`), where entries are (`commands::sequencer`), who may see it (`routes`).

use crate::routes::texts::{ERASED, WITHHELD, is_withheld, without_paths};
use commands::sequencer::StreamPositions;
use domain::entry::Entry;
use domain::in_force::{
    Evidence, InForce, InForceError, Item, LEDGER_STREAM, Rule, SiteInForce, TokenItem, is_configuration,
};
use domain::ports::{EventLog, KeyStore, ReadError, TileStore};
use domain::proof::{PROVER_TILES, ProofError, Prover};
use domain::sealed::SealedField;
use domain::{Position, Timestamp, TreeSize};
use serde::Serialize;
use serde_json::{Map, Value, json};

/// Entries read at once.
const READ_ENTRIES: usize = 4_096;
/// Members that say nothing to anybody without the server's secret.
const INDICES: [&str; 2] = ["email_index", "address_index"];

/// When.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Moment {
    /// After this entry.
    Position(Position),
    /// At this time, as far as it was recorded then.
    Time(Timestamp),
}

/// Why nothing can be said of a moment.
#[derive(Debug, thiserror::Error)]
pub enum MomentError {
    /// Neither a position nor a time.
    #[error("it must be a position or a time with its zone, such as 2026-05-17T08:22:00Z")]
    Malformed,
    /// It has not come.
    #[error("{0} has not come yet: what will be in force then is not known")]
    Future(Timestamp),
    /// Nothing was recorded by then.
    #[error("the ledger begins at {0}: nothing was recorded before")]
    BeforeLedger(Timestamp),
    /// An entry that is not there.
    #[error("position {0} is not in the ledger yet")]
    Beyond(Position),
    /// The ledger.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// An entry that cannot be folded.
    #[error(transparent)]
    Fold(#[from] InForceError),
    /// A proof that cannot be made.
    #[error(transparent)]
    Proof(#[from] ProofError),
}

impl Moment {
    /// Reads a position, or a time with its zone.
    ///
    /// # Errors
    /// [`MomentError::Malformed`].
    pub fn parse(text: &str) -> Result<Self, MomentError> {
        // A plus sign that nobody encoded arrives as a space.
        let text = &*text.replace(' ', "+");
        if let Ok(position) = text.parse() {
            return Ok(Self::Position(Position(position)));
        }
        Timestamp::parse_rfc3339(text)
            .map(Self::Time)
            .map_err(|_| MomentError::Malformed)
    }

    /// Decides what was recorded by then.
    ///
    /// # Errors
    /// [`MomentError`].
    pub async fn decide(
        self,
        log: &dyn EventLog,
        size: TreeSize,
        now: Timestamp,
    ) -> Result<Decided, MomentError> {
        match self {
            Self::Position(position) if size.contains(position) => {
                let recorded_at = recorded_at(log, position).await?;
                Ok(Decided {
                    position,
                    recorded_at,
                    at: recorded_at,
                })
            }
            Self::Position(position) => Err(MomentError::Beyond(position)),
            Self::Time(at) => {
                let (mut low, mut high) = (0, size.get());
                // The clock stands behind the newest entry where `recorded_at` had to be held.
                if at > now && !(high > 0 && at <= recorded_at(log, Position(high - 1)).await?) {
                    return Err(MomentError::Future(at));
                }
                while low < high {
                    let middle = low + (high - low) / 2;
                    if recorded_at(log, Position(middle)).await? <= at {
                        low = middle + 1;
                    } else {
                        high = middle;
                    }
                }
                let Some(position) = TreeSize(low).last() else {
                    return Err(MomentError::BeforeLedger(
                        recorded_at(log, Position::FIRST).await?,
                    ));
                };
                Ok(Decided {
                    position,
                    recorded_at: recorded_at(log, position).await?,
                    at,
                })
            }
        }
    }
}

async fn recorded_at(log: &dyn EventLog, position: Position) -> Result<Timestamp, MomentError> {
    let block = log.read_at(&[position]).await?;
    let entry = block.get(0).map(|(_, bytes)| Entry::read(bytes));
    let entry = entry.ok_or(ReadError::Beyond(position))?;
    let entry = entry.map_err(|error| ReadError::Corrupt {
        position,
        reason: error.to_string(),
    })?;
    Ok(entry.recorded_at)
}

/// A moment, decided.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Decided {
    /// The last position recorded at or before it: everything up to here was looked at, and nothing after.
    pub position: Position,
    /// When that was recorded.
    pub recorded_at: Timestamp,
    /// The moment itself.
    pub at: Timestamp,
}

impl Decided {
    /// The tree size that holds what was recorded by then.
    pub const fn size(&self) -> TreeSize {
        self.position.size_through()
    }
}

/// The streams of an account's configuration that begin below a size. What a stream is,
/// its first entry says; it is read once in a process' life and not again, because of facts, such as alarms, there may
/// be very many.
///
/// # Errors
/// [`ReadError`].
pub async fn configuration(
    log: &dyn EventLog,
    streams: &StreamPositions,
    account: &str,
    end: TreeSize,
) -> Result<Vec<Vec<Position>>, ReadError> {
    loop {
        let unlearnt = streams.unlearnt(account, end);
        let some = &unlearnt.firsts[..unlearnt.firsts.len().min(READ_ENTRIES)];
        if some.is_empty() {
            break;
        }
        let block = log.read_at(some).await?;
        let mut are_wanted = Vec::with_capacity(some.len());
        for (position, bytes) in block.iter() {
            let entry = Entry::read(bytes).map_err(|error| ReadError::Corrupt {
                position,
                reason: error.to_string(),
            })?;
            are_wanted.push(is_configuration(entry.aggregate_type));
        }
        if are_wanted.is_empty() {
            return Err(ReadError::Beyond(some[0]));
        }
        streams.learn(&unlearnt, &are_wanted);
        tokio::task::yield_now().await;
    }
    Ok(streams.wanted(account))
}

/// Shows `take` the entries of these streams up to a size, in the order of their positions. Others are let run in
/// between.
///
/// # Errors
/// [`ReadError`], and what `take` returns.
pub async fn each_entry<E: From<ReadError>>(
    log: &dyn EventLog,
    streams: Vec<Vec<Position>>,
    end: TreeSize,
    mut take: impl FnMut(&[u8]) -> Result<(), E>,
) -> Result<(), E> {
    let below = |stream: Vec<Position>| stream.into_iter().take_while(|position| end.contains(*position));
    let mut positions: Vec<Position> = streams.into_iter().flat_map(below).collect();
    positions.sort_unstable();
    for some in positions.chunks(READ_ENTRIES) {
        let block = log.read_at(some).await?;
        for (_, bytes) in block.iter() {
            take(bytes)?;
        }
        tokio::task::yield_now().await;
    }
    Ok(())
}

/// Folds an account's configuration and the ledger's own rules up to a size.
///
/// # Errors
/// [`MomentError`].
pub async fn fold(
    log: &dyn EventLog,
    positions: &StreamPositions,
    account: &str,
    end: TreeSize,
) -> Result<InForce, MomentError> {
    let mut streams = configuration(log, positions, account, end).await?;
    streams.push(positions.of(LEDGER_STREAM.0, LEDGER_STREAM.1));
    let mut folded = InForce::default();
    each_entry(log, streams, end, |bytes| {
        folded.take(bytes).map_err(MomentError::from)
    })
    .await?;
    Ok(folded)
}

/// What a document of a site is made with.
pub struct Show<'a> {
    /// The ledger's name, which sealed values are bound to.
    pub origin: &'a str,
    /// Opens sealed values; without, they stay sealed.
    pub keys: Option<&'a dyn KeyStore>,
    /// Proves each entry under a checkpoint; without, positions and leaf hashes must do.
    pub proofs: Option<Proofs<'a>>,
}

/// The checkpoint that entries are proven under, and the hashes for it.
pub struct Proofs<'a> {
    /// The tree.
    pub tiles: &'a dyn TileStore,
    /// The checkpoint's size.
    pub size: TreeSize,
    /// The signed checkpoint.
    pub checkpoint: &'a [u8],
}

impl Show<'_> {
    /// Everything that was in force at a site, as one JSON document.
    ///
    /// # Errors
    /// [`MomentError::Proof`].
    pub fn site(
        &self,
        decided: &Decided,
        all: &InForce,
        site: &SiteInForce<'_>,
    ) -> Result<Value, MomentError> {
        let mut prover = Prover::new(PROVER_TILES);
        let mut entries = |evidence: &[Evidence]| self.entries(&mut prover, evidence);
        let mut items = |items: &[&Item]| -> Result<Vec<Value>, MomentError> {
            items
                .iter()
                .map(|item| Ok(self.item(item, entries(&item.entries)?)))
                .collect()
        };
        let mut document = Map::new();
        let account: Vec<&Item> = site.account.into_iter().collect();
        document.insert("account".to_owned(), items(&account)?.pop().unwrap_or_default());
        document.insert("site".to_owned(), items(&[site.site])?.pop().unwrap_or_default());
        document.insert("devices".to_owned(), items(&site.devices)?.into());
        document.insert("channels".to_owned(), items(&site.channels)?.into());
        document.insert("users".to_owned(), items(&site.users)?.into());
        document.insert("integrations".to_owned(), items(&site.integrations)?.into());
        let mut others = Map::new();
        // Said also where there are none: that no rule of its own was in force is an answer.
        others.insert("rule".to_owned(), Value::Array(Vec::new()));
        for (kind, of_kind) in &site.others {
            others.insert((*kind).to_owned(), items(of_kind)?.into());
        }
        let tokens: Result<Vec<Value>, MomentError> = site
            .tokens
            .iter()
            .map(|token| Ok(token_shape(token, entries(&token.entries)?)))
            .collect();
        document.insert("tokens".to_owned(), tokens?.into());
        let ledger = all.ledger();
        let mut rule = |rule: &Rule| -> Result<Value, MomentError> {
            let entries = entries(std::slice::from_ref(&rule.entry))?;
            Ok(with_entries(json!({"value": rule.value}), &rule.entry, entries))
        };
        for (name, set) in [
            ("software", &ledger.software),
            ("retention_policy", &ledger.retention),
            ("witness_policy", &ledger.witnesses),
            ("keys", &ledger.keys),
        ] {
            let set = set.as_ref().map(&mut rule).transpose()?;
            document.insert(name.to_owned(), set.unwrap_or_default());
        }
        let rotations: Result<Vec<Value>, MomentError> = ledger.rotations.iter().map(rule).collect();
        document.insert("key_rotations".to_owned(), rotations?.into());
        for (kind, of_kind) in others {
            document.insert(plural(&kind), of_kind);
        }
        let mut top = json!({
            "as_of": decided,
            "origin": self.origin,
            "sealed_values": if self.keys.is_some() { "opened" } else { "sealed: the keys were not there" },
        });
        if let (Some(proofs), Some(top)) = (&self.proofs, top.as_object_mut()) {
            let checkpoint = String::from_utf8_lossy(proofs.checkpoint);
            top.insert(
                "proofs".to_owned(),
                json!({"size": proofs.size, "checkpoint": checkpoint}),
            );
        }
        if let Some(top) = top.as_object_mut() {
            top.append(&mut document);
        }
        Ok(top)
    }

    fn item(&self, item: &Item, entries: Vec<Value>) -> Value {
        let members = item
            .value
            .iter()
            .filter(|(name, _)| !INDICES.contains(&name.as_str()));
        let mut value: Map<String, Value> = members
            .map(|(name, value)| {
                let opened = opened(
                    self.keys,
                    self.origin,
                    (&item.aggregate_type, &item.aggregate_id),
                    value,
                );
                (name.clone(), opened)
            })
            .collect();
        without_paths(&item.aggregate_type, &mut value);
        let shape = json!({"type": item.aggregate_type, "id": item.aggregate_id, "owner": item.owner, "value": value});
        match item.last() {
            Some(last) => with_entries(shape, last, entries),
            None => shape,
        }
    }

    fn entries(&self, prover: &mut Prover, evidence: &[Evidence]) -> Result<Vec<Value>, MomentError> {
        evidence
            .iter()
            .map(|entry| {
                let mut shape = json!({
                    "position": entry.position,
                    "leaf_hash": entry.leaf_hash,
                    "event_type": entry.event_type,
                    "recorded_at": entry.recorded_at,
                });
                if let Some(proofs) = &self.proofs {
                    // What is younger than the checkpoint has no proof yet.
                    let covered = proofs.size.contains(entry.position);
                    let proof = covered.then(|| prover.inclusion(proofs.tiles, entry.position, proofs.size));
                    shape["proof"] = json!(proof.transpose()?);
                }
                Ok(shape)
            })
            .collect()
    }
}

fn plural(kind: &str) -> String {
    match kind.strip_suffix('y') {
        Some(stem) => format!("{stem}ies"),
        None => format!("{kind}s"),
    }
}

fn token_shape(token: &TokenItem, entries: Vec<Value>) -> Value {
    let shape = json!({
        "id": token.id,
        "owner": token.owner,
        "kind": token.kind,
        "expires_at": token.expires_at,
    });
    match token.entries.last() {
        Some(last) => with_entries(shape, last, entries),
        None => shape,
    }
}

/// The shape with the entry that put it as it is, and all that it follows from.
fn with_entries(mut shape: Value, last: &Evidence, entries: Vec<Value>) -> Value {
    shape["position"] = json!(last.position);
    shape["leaf_hash"] = json!(last.leaf_hash);
    shape["since"] = json!(last.recorded_at);
    shape["entries"] = entries.into();
    shape
}

/// A value with what is sealed in it opened, where the keys are there.
fn opened(keys: Option<&dyn KeyStore>, origin: &str, stream: (&str, &str), value: &Value) -> Value {
    match value {
        Value::Object(members) if members.contains_key("sealed") => {
            let Some(keys) = keys else { return value.clone() };
            let field: Option<SealedField> = serde_json::from_value(value.clone()).ok();
            if let Some(field) = &field
                && is_withheld(stream.0, &field.place.pointer)
            {
                return WITHHELD.into();
            }
            let text = field.and_then(|field| {
                let key = keys.get(&field.sealed.key)?;
                field.open(origin, stream.0, stream.1, &key).ok()
            });
            text.unwrap_or_else(|| ERASED.into())
        }
        Value::Object(members) => members
            .iter()
            .map(|(name, value)| (name.clone(), opened(keys, origin, stream, value)))
            .collect(),
        Value::Array(values) => values
            .iter()
            .map(|value| opened(keys, origin, stream, value))
            .collect(),
        plain => plain.clone(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_moment_is_a_position_or_a_time_with_a_zone() {
        let parse = |text| Moment::parse(text).ok();
        assert_eq!(parse("17"), Some(Moment::Position(Position(17))));
        assert!(matches!(
            parse("2026-05-17T10:22:00+02:00"),
            Some(Moment::Time(_))
        ));
        assert_eq!(
            parse("2026-05-17T10:22:00 02:00"),
            parse("2026-05-17T08:22:00Z"),
            "a query decodes a bare plus as a space"
        );
        for bad in ["yesterday", "2026-05-17", "-1", "2026-05-17T08:22:00"] {
            assert_eq!(parse(bad), None, "{bad}");
        }
    }
}
