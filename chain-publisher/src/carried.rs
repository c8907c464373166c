//! What a log carried over from the one that it continues, entry by entry against that one (FORMAT §1).
//!
//! Invariants: an entry of the old log counts by the leaf hash that its signed root commits to, whether its bytes are shown
//! or not; where both are shown, everything is compared that is not sealed. Two chunks of entries are in memory at once.
//! Not here: that the old log is the one, with that root (`continued`); number and order (`domain::verify`).

use crate::report::Report;
use crate::source::{Chunk, EntryStream, Flaw, Given, LogSource, SourceError};
use crate::tree::{SignedTree, TreeError};
use crate::verify::VerifyError;
use domain::entry::Entry;
use domain::event::Metadata;
use domain::hash::leaf_hash;
use domain::merkle::TILE_WIDTH;
use domain::verify::Carried;
use domain::{Position, TreeSize};
use serde_json::{Map, Value};

/// So many entries are read over rather than the stream opened anew.
const READ_OVER: u64 = 8 * TILE_WIDTH;
/// Indexes of addresses, which are random where the address was erased.
const INDEXES: [&str; 4] = [
    "/email_index",
    "/address_index",
    "/changes/email_index/old",
    "/changes/email_index/new",
];

/// What could not be compared.
#[derive(Debug, Default)]
struct Uncompared {
    /// Entries of which one side's bytes are not shown.
    entries: u64,
    /// Values that are sealed.
    sealed: u64,
    /// Indexes of addresses that are others.
    indexes: u64,
}

/// Holds what `new` says it carried over against the tree of the old log, and its entries where they are shown.
///
/// # Errors
/// [`VerifyError`] where one of them does not answer.
pub(crate) fn check(
    new: (&dyn LogSource, TreeSize),
    old: &dyn LogSource,
    tree: &SignedTree<'_>,
    carried: &[Carried],
    report: &mut Report,
) -> Result<(), VerifyError> {
    let mut uncompared = Uncompared::default();
    let (mut of_new, mut of_old) = (Reader::new(new.0, new.1), Reader::new(old, tree.size()));
    for it in carried {
        let wrong = |what: String| Flaw {
            position: Some(it.position),
            what: format!(
                "it says that it was position {} of {}: {what}",
                it.was,
                tree.origin()
            ),
        };
        let leaf = match tree.leaf(it.was) {
            Ok(leaf) => leaf,
            Err(TreeError::Source(error)) => return Err(error.into()),
            Err(TreeError::Flaw(Flaw { what, .. })) => {
                report.tampered(wrong(format!("that one cannot be told: {what}")));
                return Ok(());
            }
        };
        if leaf != it.was_leaf {
            report.tampered(wrong(format!(
                "it names the leaf hash {}, and that has {leaf}",
                it.was_leaf
            )));
            return Ok(());
        }
        let (Some(is), Some(was)) = (of_new.entry(it.position)?, of_old.entry(it.was)?) else {
            uncompared.entries += 1;
            continue;
        };
        // What is not the entry of its leaf hash is a finding of whoever looks at the whole log.
        if leaf_hash(&is) != it.leaf || leaf_hash(&was) != leaf {
            uncompared.entries += 1;
            continue;
        }
        if let Err(what) = compare(&is, &was, &mut uncompared) {
            report.tampered(wrong(what));
            return Ok(());
        }
    }
    uncompared.say(carried.len() as u64, tree.origin(), report);
    Ok(())
}

impl Uncompared {
    fn say(&self, entries: u64, origin: &str, report: &mut Report) {
        report.checked.push(format!(
            "{entries} entries that were carried over: each was in {origin} at the position and with the leaf hash that \
             it names"
        ));
        let compared = entries - self.entries;
        if compared > 0 {
            report.checked.push(format!(
                "{compared} of them against the entries that they were: stream, type, and what is not sealed"
            ));
        }
        let not = &mut report.not_checked;
        if self.entries > 0 {
            not.push(format!(
                "what {} of the entries carried over say, against {origin}: the bytes of the one or the other are not shown",
                self.entries
            ));
        }
        if self.sealed > 0 {
            not.push(format!(
                "whether {} sealed values of what was carried over are what they were: they are sealed anew, which only \
                 the keys of both can tell",
                self.sealed
            ));
        }
        if self.indexes > 0 {
            not.push(format!(
                "whether {} addresses whose index is another one since they were carried over were erased",
                self.indexes
            ));
        }
    }
}

/// Entries of a log at rising positions.
struct Reader<'a> {
    source: &'a dyn LogSource,
    size: TreeSize,
    stream: Option<Box<dyn EntryStream + 'a>>,
    chunk: Chunk,
    /// Where the chunk begins.
    first: u64,
}

impl<'a> Reader<'a> {
    fn new(source: &'a dyn LogSource, size: TreeSize) -> Self {
        Self {
            source,
            size,
            stream: None,
            chunk: Chunk::default(),
            first: 0,
        }
    }

    /// The bytes of the entry there; nothing where they are not shown, or cannot be read.
    fn entry(&mut self, at: Position) -> Result<Option<Vec<u8>>, VerifyError> {
        match self.find(at) {
            Ok(found) => Ok(found),
            Err(error @ SourceError::Unavailable(_)) => Err(error.into()),
            Err(SourceError::Missing { .. } | SourceError::Malformed { .. }) => {
                self.stream = None;
                Ok(None)
            }
        }
    }

    fn find(&mut self, at: Position) -> Result<Option<Vec<u8>>, SourceError> {
        if self.source.withholds_entries().is_some() || !self.size.contains(at) {
            return Ok(None);
        }
        let at = at.get();
        let next = self.first + self.chunk.len() as u64;
        if self.stream.is_none() || at < self.first || at >= next + READ_OVER {
            let from = at / TILE_WIDTH * TILE_WIDTH;
            self.stream = Some(self.source.entries(Position(from), self.size)?);
            self.chunk.clear();
            self.first = from;
        }
        let Some(stream) = &mut self.stream else {
            return Ok(None);
        };
        while at >= self.first + self.chunk.len() as u64 {
            self.first += self.chunk.len() as u64;
            if !stream.next(&mut self.chunk)? {
                return Ok(None);
            }
        }
        let given = self.chunk.iter().nth((at - self.first) as usize);
        Ok(match given {
            Some(Given::Entry(bytes)) => Some(bytes.to_vec()),
            _ => None,
        })
    }
}

/// Whether an entry says what the one says that it was; in words, where it does not.
fn compare(is: &[u8], was: &[u8], uncompared: &mut Uncompared) -> Result<(), String> {
    let read = |bytes| Entry::decode(bytes).map_err(|error| format!("it cannot be read: {error}"));
    let (is, was) = (read(is)?, read(was)?);
    let both = |what: &str, is: &dyn std::fmt::Debug, was: &dyn std::fmt::Debug| {
        Err(format!("its {what} is {is:?}, and was {was:?}"))
    };
    if is.stream_name() != was.stream_name() {
        return both("stream", &is.stream_name(), &was.stream_name());
    }
    if (is.event_type, is.event_version) != (was.event_type, was.event_version) {
        return both(
            "type",
            &(is.event_type, is.event_version),
            &(was.event_type, was.event_version),
        );
    }
    let metadata = |entry: &Entry<'_>| {
        Metadata::read(entry.metadata).map_err(|error| format!("its metadata cannot be read: {error}"))
    };
    let (new, old) = (metadata(&is)?, metadata(&was)?);
    let recorded_at = old.carried_over.map_or(was.recorded_at, |it| it.recorded_at);
    let says = new.carried_over.map(|it| it.recorded_at);
    if says != Some(recorded_at) {
        return both("first time of recording", &says, &recorded_at);
    }
    if new.account != old.account {
        return both("account", &new.account, &old.account);
    }
    // The owner stands in a stream's first entry.
    let owner = old.owner.clone().filter(|_| is.sequence == 1);
    if new.owner != owner {
        return both("owner", &new.owner, &owner);
    }
    if new.reason != old.reason {
        return both("reason", &new.reason, &old.reason);
    }
    let (by, author) = (new.on_behalf_of.clone(), old.author());
    if by != author {
        return both("author", &by, &author);
    }
    let payload = |bytes: &[u8]| serde_json::from_slice::<Value>(bytes).map_err(|error| error.to_string());
    let (is, was) = (payload(is.payload)?, payload(was.payload)?);
    values(&is, &was, &mut String::new(), uncompared)
}

/// Whether a value says what it said; the pointer to the first that does not is told.
fn values(is: &Value, was: &Value, pointer: &mut String, uncompared: &mut Uncompared) -> Result<(), String> {
    let sealed = |value: &Value| value.as_object().filter(|it| it.contains_key("sealed")).is_some();
    let placed = |value: &Value| value.get("place").is_some();
    let differs = |what: &str, pointer: &str| Err(format!("its payload{what} at {pointer:?}"));
    if sealed(was) || sealed(is) {
        // An old value of a change that was erased is no value any more.
        let is_erased = sealed(was) && placed(was) && is.is_null();
        if is_erased || sealed(is) && sealed(was) && placed(is) == placed(was) {
            uncompared.sealed += 1;
            return Ok(());
        }
        return differs(" is not sealed as it was", pointer);
    }
    match (is, was) {
        (Value::Object(is), Value::Object(was)) => members(is, was, pointer, uncompared),
        (Value::Array(is), Value::Array(was)) if is.len() == was.len() => {
            for (n, (is, was)) in is.iter().zip(was).enumerate() {
                below(is, was, &n.to_string(), pointer, uncompared)?;
            }
            Ok(())
        }
        _ if is == was => Ok(()),
        _ if is.is_string() && INDEXES.contains(&&**pointer) => {
            uncompared.indexes += 1;
            Ok(())
        }
        _ => differs(" says something else", pointer),
    }
}

fn members(
    is: &Map<String, Value>,
    was: &Map<String, Value>,
    pointer: &mut String,
    uncompared: &mut Uncompared,
) -> Result<(), String> {
    if !is.keys().eq(was.keys()) {
        return Err(format!("its payload has other members at {pointer:?}"));
    }
    for (name, is) in is {
        below(is, &was[name], name, pointer, uncompared)?;
    }
    Ok(())
}

fn below(
    is: &Value,
    was: &Value,
    step: &str,
    pointer: &mut String,
    uncompared: &mut Uncompared,
) -> Result<(), String> {
    let length = pointer.len();
    pointer.push('/');
    pointer.push_str(&step.replace('~', "~0").replace('/', "~1"));
    values(is, was, pointer, uncompared)?;
    pointer.truncate(length);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use domain::canonical::Canonical;
    use domain::entry::{NewEvent, Placement, encode};
    use domain::{Hash, Timestamp};
    use serde_json::json;

    const RECORDED: i64 = 1_779_000_000_000_000;

    fn entry(
        position: u64,
        stream: &str,
        event_type: &'static str,
        payload: &Value,
        metadata: &Value,
    ) -> Vec<u8> {
        let event = NewEvent {
            aggregate_type: "device".into(),
            aggregate_id: stream.to_owned(),
            event_type: event_type.into(),
            event_version: "1.0".into(),
            payload: Canonical::of(payload).expect("canonical"),
            metadata: Canonical::of(metadata).expect("canonical"),
            salt: None,
        };
        let placement = Placement {
            position: Position(position),
            recorded_at: Timestamp::from_micros(RECORDED).expect("a time"),
            sequence: 1,
            salt: [3; 16],
        };
        let mut bytes = Vec::new();
        encode(&mut bytes, &placement, &event).expect("an entry");
        bytes
    }

    fn was(payload: &Value) -> Vec<u8> {
        let metadata =
            json!({"account": "acc_1", "actor": "usr_1", "owner": "dev_1", "reason": {"code": "moved"}});
        entry(9, "dev_1", "DeviceRegistered", payload, &metadata)
    }

    fn said() -> Value {
        let at = Timestamp::from_micros(RECORDED).expect("a time");
        json!({"account": "acc_1", "actor": "system:continue", "on_behalf_of": "usr_1", "owner": "dev_1",
            "reason": {"code": "moved"},
            "carried_over": {"leaf_hash": Hash([1; 32]), "position": 9, "recorded_at": at}})
    }

    fn compared(is: &Value, was_payload: &Value) -> (Result<(), String>, Uncompared) {
        let mut uncompared = Uncompared::default();
        let is = entry(2, "dev_1", "DeviceRegistered", is, &said());
        (compare(&is, &was(was_payload), &mut uncompared), uncompared)
    }

    fn sealed(with: &str) -> Value {
        json!({"sealed": {"ciphertext": with, "key": with, "nonce": with}})
    }

    fn placed(with: &str) -> Value {
        let mut value = sealed(with);
        value["place"] = json!({"pointer": with, "salt": with, "sequence": 1});
        value
    }

    #[test]
    fn what_is_sealed_anew_cannot_be_compared_and_everything_else_is() {
        let old = json!({"name": sealed("a"), "changes": {"name": {"old": placed("a"), "new": sealed("b")}},
            "email_index": "x", "list": [1, {"k": null}], "n": 2});
        let same = |change: &dyn Fn(&mut Value)| {
            let mut new = old.clone();
            new["name"] = sealed("c");
            new["changes"]["name"] = json!({"old": placed("d"), "new": sealed("e")});
            change(&mut new);
            compared(&new, &old)
        };
        let (holds, uncompared) = same(&|_| {});
        assert_eq!((holds, uncompared.sealed, uncompared.indexes), (Ok(()), 3, 0));
        let (holds, uncompared) = same(&|new| {
            new["changes"]["name"]["old"] = Value::Null;
            new["email_index"] = json!("random");
        });
        assert_eq!((holds, uncompared.sealed, uncompared.indexes), (Ok(()), 3, 1));
        type Change = fn(&mut Value);
        let wrong: [(Change, &str); 9] = [
            (|new| new["n"] = json!(3), "something else at \"/n\""),
            (
                |new| new["list"][1]["k"] = json!(1),
                "something else at \"/list/1/k\"",
            ),
            (
                |new| new["list"][1]["k"] = sealed("f"),
                "is not sealed as it was at \"/list/1/k\"",
            ),
            (|new| new["list"] = json!([1]), "something else at \"/list\""),
            (|new| new["more"] = json!(1), "other members at \"\""),
            (
                |new| new["name"] = json!("in the clear"),
                "is not sealed as it was at \"/name\"",
            ),
            (
                |new| new["name"] = Value::Null,
                "is not sealed as it was at \"/name\"",
            ),
            (
                |new| new["name"] = placed("f"),
                "is not sealed as it was at \"/name\"",
            ),
            (
                |new| new["email_index"] = json!(5),
                "something else at \"/email_index\"",
            ),
        ];
        for (change, words) in wrong {
            let found = same(&|new| change(new)).0;
            assert!(
                found.as_ref().is_err_and(|what| what.contains(words)),
                "{words}: {found:?}"
            );
        }
    }

    #[test]
    fn stream_type_author_owner_reason_and_time_are_those_that_they_were() {
        let payload = json!({"n": 1});
        let of = |stream: &str, event_type: &'static str, change: &dyn Fn(&mut Value)| {
            let mut metadata = said();
            change(&mut metadata);
            let is = entry(2, stream, event_type, &payload, &metadata);
            compare(&is, &was(&payload), &mut Uncompared::default())
        };
        assert_eq!(of("dev_1", "DeviceRegistered", &|_| {}), Ok(()));
        type Change = fn(&mut Value);
        let none: Change = |_| {};
        let wrong: [(&str, &'static str, Change, &str); 7] = [
            (
                "dev_2",
                "DeviceRegistered",
                none,
                "its stream is \"device/dev_2\", and was",
            ),
            ("dev_1", "DeviceRemoved", none, "its type is (\"DeviceRemoved\""),
            (
                "dev_1",
                "DeviceRegistered",
                |it| it["account"] = json!("acc_2"),
                "its account is",
            ),
            (
                "dev_1",
                "DeviceRegistered",
                |it| it["owner"] = json!("dev_2"),
                "its owner is",
            ),
            (
                "dev_1",
                "DeviceRegistered",
                |it| it["reason"]["code"] = json!("x"),
                "its reason is",
            ),
            (
                "dev_1",
                "DeviceRegistered",
                |it| it["on_behalf_of"] = json!("usr_2"),
                "its author is",
            ),
            (
                "dev_1",
                "DeviceRegistered",
                |it| it["carried_over"]["recorded_at"] = json!("2026-01-01T00:00:00.000000Z"),
                "its first time of recording is",
            ),
        ];
        for (stream, event_type, change, words) in wrong {
            let found = of(stream, event_type, &|it| change(it));
            assert!(
                found.as_ref().is_err_and(|what| what.contains(words)),
                "{words}: {found:?}"
            );
        }
    }
}
