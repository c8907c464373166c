//! Entries that a ledger says it carried over from the one that it continues: that it says so in the form, number and
//! order that the format has for it.
//!
//! Invariants: nothing is carried over but behind the `ConfigurationCarriedOver` at position 1, from below the size that is
//! continued, in rising order, and before anything else is recorded; memory goes with what was announced.
//! Source: FORMAT §1. Not here: holding them against the old ledger (`chain-publisher`).

use crate::continues::Continues;
use crate::entry::Entry;
use crate::event::CarriedOver;
use crate::hash::Hash;
use crate::position::{Position, TreeSize};
use crate::reading::READINGS;
use serde::Deserialize;

/// Says what is carried over.
const CONFIGURATION_CARRIED_OVER: &str = "ConfigurationCarriedOver";
/// Who records what is carried over.
const ACTOR: &str = "system:continue";

/// An entry, and the one of the old ledger that it says it was.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Carried {
    /// Its position.
    pub position: Position,
    /// Its leaf hash.
    pub leaf: Hash,
    /// The position that it had in the old ledger.
    pub was: Position,
    /// The leaf hash that it had there.
    pub was_leaf: Hash,
}

/// Takes the entries of a ledger in order.
#[derive(Debug, Default)]
pub(super) struct CarriedEntries {
    /// How many there are to be.
    announced: Option<u64>,
    /// Whether one of the first two entries, which say so, is withheld.
    untold: bool,
    withheld: u64,
    entries: Vec<Carried>,
}

impl CarriedEntries {
    /// Those that are there.
    pub(super) fn into_entries(self) -> Vec<Carried> {
        self.entries
    }

    /// An entry that is withheld, and may be one of them.
    pub(super) fn withheld(&mut self, position: Position) {
        self.withheld += 1;
        self.untold |= position <= Position(1);
    }

    /// Takes an entry that is there.
    ///
    /// # Errors
    /// In words, where it cannot be carried over, or something else had to be first.
    pub(super) fn take(
        &mut self,
        entry: &Entry<'_>,
        leaf: &Hash,
        continues: Option<&Continues>,
    ) -> Result<(), String> {
        let own = entry.stream_is("ledger", "main");
        if entry.event_type == CONFIGURATION_CARRIED_OVER {
            return self.announce(entry, own, continues);
        }
        if own {
            return Ok(());
        }
        let there = self.entries.len() as u64;
        let Some(says) = says(entry)? else {
            return match self.announced {
                Some(announced) if there + self.withheld < announced => Err(format!(
                    "it is recorded before all of the {announced} entries that were to be carried over: {there} are there"
                )),
                _ => Ok(()),
            };
        };
        match self.announced {
            None if self.untold => {}
            None => {
                return Err(format!(
                    "it says that it was carried over, and no {CONFIGURATION_CARRIED_OVER} at position 1 says so"
                ));
            }
            Some(announced) if there < announced => {}
            Some(announced) => {
                return Err(format!(
                    "it says that it was carried over, and the {announced} that were to be are there already"
                ));
            }
        }
        let was = says.position;
        if let Some(continues) = continues.filter(|it| !it.size.contains(was)) {
            return Err(format!(
                "it says that it was position {was} of {}, of which {} entries are continued",
                continues.origin, continues.size
            ));
        }
        if let Some(last) = self.entries.last().filter(|last| last.was >= was) {
            return Err(format!(
                "it says that it was position {was}, and position {} before it that it was {}: they are not in their order",
                last.position, last.was
            ));
        }
        self.entries.push(Carried {
            position: entry.position,
            leaf: *leaf,
            was,
            was_leaf: says.leaf_hash,
        });
        Ok(())
    }

    fn announce(
        &mut self,
        entry: &Entry<'_>,
        own: bool,
        continues: Option<&Continues>,
    ) -> Result<(), String> {
        #[derive(Deserialize)]
        struct Says {
            origin: String,
            size: TreeSize,
            root: Hash,
            entries: u64,
        }
        if !own || entry.position != Position(1) {
            return Err(format!("a {CONFIGURATION_CARRIED_OVER} that is not position 1"));
        }
        let says: Says = serde_json::from_slice(entry.payload)
            .map_err(|error| format!("{CONFIGURATION_CARRIED_OVER}: {error}"))?;
        let same = continues.map(|it| (&it.origin, it.size, it.root) == (&says.origin, says.size, says.root));
        if !same.unwrap_or(self.untold) {
            return Err(format!(
                "{CONFIGURATION_CARRIED_OVER} is of {} at size {}, which is not what the first entry continues",
                says.origin, says.size
            ));
        }
        self.announced = Some(says.entries);
        Ok(())
    }
}

/// What an entry says of the one that it was.
fn says(entry: &Entry<'_>) -> Result<Option<CarriedOver>, String> {
    const MEMBER: &[u8] = b"\"carried_over\":";
    // Most entries are readings, which are never carried over.
    let is_there = |metadata: &[u8]| metadata.windows(MEMBER.len()).any(|bytes| bytes == MEMBER);
    if entry.aggregate_type == READINGS || !is_there(entry.metadata) {
        return Ok(None);
    }
    #[derive(Deserialize)]
    struct Metadata {
        actor: Option<String>,
        carried_over: Option<CarriedOver>,
    }
    let metadata: Metadata =
        serde_json::from_slice(entry.metadata).map_err(|error| format!("metadata: {error}"))?;
    if metadata.carried_over.is_some() && metadata.actor.as_deref() != Some(ACTOR) {
        return Err(format!("it says that it was carried over, and not by {ACTOR}"));
    }
    Ok(metadata.carried_over)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::canonical::Canonical;
    use crate::entry::{NewEvent, Placement, encode};
    use crate::time::Timestamp;
    use serde_json::{Value, json};

    fn continues() -> Continues {
        Continues {
            origin: "old.example/log".into(),
            size: TreeSize(100),
            root: Hash([5; 32]),
            reason: "test".into(),
        }
    }

    /// Takes an entry at that position.
    fn take(
        carried: &mut CarriedEntries,
        position: u64,
        (stream, event_type): (&'static str, &'static str),
        payload: &Value,
        metadata: &Value,
    ) -> Result<(), String> {
        let event = NewEvent {
            aggregate_type: stream.into(),
            aggregate_id: "main".into(),
            event_type: event_type.into(),
            event_version: "1.0".into(),
            payload: Canonical::of(payload).expect("canonical"),
            metadata: Canonical::of(metadata).expect("canonical"),
            salt: None,
        };
        let placement = Placement {
            position: Position(position),
            recorded_at: Timestamp::default(),
            sequence: 1,
            salt: [0; 16],
        };
        let mut bytes = Vec::new();
        encode(&mut bytes, &placement, &event).expect("an entry");
        let entry = Entry::decode(&bytes).expect("an entry");
        carried.take(&entry, &Hash([9; 32]), Some(&continues()))
    }

    fn announced(entries: u64) -> Value {
        json!({"origin": "old.example/log", "size": 100, "root": Hash([5; 32]), "entries": entries})
    }

    fn was(position: u64) -> Value {
        json!({"actor": ACTOR, "carried_over": {"leaf_hash": Hash([1; 32]), "position": position,
            "recorded_at": Timestamp::default()}})
    }

    const OWN: (&str, &str) = ("ledger", CONFIGURATION_CARRIED_OVER);
    const SITE: (&str, &str) = ("site", "SiteCreated");

    fn begun(entries: u64) -> CarriedEntries {
        let mut carried = CarriedEntries::default();
        assert_eq!(
            take(&mut carried, 1, OWN, &announced(entries), &json!({})),
            Ok(())
        );
        carried
    }

    fn wrong(found: Result<(), String>, words: &str) {
        assert!(
            found.as_ref().is_err_and(|what| what.contains(words)),
            "{words}: {found:?}"
        );
    }

    #[test]
    fn what_was_announced_comes_first_in_its_order_and_nothing_more() {
        let none = json!({});
        let mut carried = begun(2);
        for (position, event, metadata) in [
            (2, SITE, was(7)),
            (3, ("ledger", "SoftwareStarted"), none.clone()),
            (4, SITE, was(99)),
            (5, SITE, none.clone()),
        ] {
            assert_eq!(take(&mut carried, position, event, &none, &metadata), Ok(()));
        }
        wrong(
            take(&mut carried, 6, SITE, &none, &was(99)),
            "the 2 that were to be are there already",
        );
        let entries = carried.into_entries();
        assert_eq!(entries.iter().map(|it| it.was.get()).collect::<Vec<_>>(), [7, 99]);

        wrong(
            take(&mut begun(1), 2, SITE, &none, &none),
            "before all of the 1 entries",
        );
        wrong(
            take(&mut begun(1), 2, SITE, &none, &was(100)),
            "it was position 100 of old.example/log, of which 100",
        );
        let mut carried = begun(3);
        assert_eq!(take(&mut carried, 2, SITE, &none, &was(7)), Ok(()));
        for position in [7, 6] {
            wrong(
                take(&mut carried, 3, SITE, &none, &was(position)),
                "not in their order",
            );
        }
        let mut other = was(8);
        other["actor"] = json!("usr_1");
        wrong(
            take(&mut carried, 3, SITE, &none, &other),
            "not by system:continue",
        );
        // A withheld entry may be one of them.
        carried.withheld(Position(3));
        carried.withheld(Position(4));
        assert_eq!(take(&mut carried, 5, SITE, &none, &none), Ok(()));
    }

    #[test]
    fn it_is_announced_at_position_1_of_the_ledger_that_is_continued() {
        let none = json!({});
        let mut fresh = CarriedEntries::default();
        wrong(
            take(&mut fresh, 2, SITE, &none, &was(7)),
            "no ConfigurationCarriedOver at position 1",
        );
        wrong(
            take(&mut fresh, 2, OWN, &announced(1), &none),
            "that is not position 1",
        );
        for (member, value) in [
            ("size", json!(99)),
            ("origin", json!("x")),
            ("root", json!(Hash([6; 32]))),
        ] {
            let mut says = announced(1);
            says[member] = value;
            wrong(
                take(&mut fresh, 1, OWN, &says, &none),
                "not what the first entry continues",
            );
        }
        fresh.withheld(Position(1));
        assert_eq!(take(&mut fresh, 2, SITE, &none, &was(7)), Ok(()));
    }
}
