//! The ledger of a data directory as a source of `chain-publisher`: read beside a running service, without a lock.
//!
//! Invariants: nothing is written; what is read ends at the size that was found when it was opened; heads that were
//! made later are left out. Keys are not touched: the key that the ledger names in its first entry is the hint.
//! Not here: verifying (`chain_publisher::verify`), the files themselves (`commands::ledger::check`).

use crate::app::{HEADS, heads_of};
use crate::stores::LEDGER;
use chain_publisher::anchor::AnchorKind;
use chain_publisher::pack::{
    AlarmError, DayLines, Days, Made, MakeError, Order, PackSource, Query, StreamIndex, find_alarm, make,
};
use chain_publisher::ports_source::{HeadFiles, PortsSource};
use chain_publisher::source::SourceError;
use chain_publisher::verify::Progress;
use commands::ledger::{Ledger, OpenError, Options};
use commands::sequencer::{HeadStore, LoadError, StreamPositions, read_index};
use domain::checkpoint::SignedCheckpoint;
use domain::entry::Entry;
use domain::note::VerifierKey;
use domain::ports::EventLog;
use domain::registry::Registry;
use domain::{Date, Position};
use serde::Deserialize;
use std::collections::BTreeMap;
use std::io::Write;
use std::ops::ControlFlow;
use std::path::Path;

/// A data directory's ledger, opened for reading.
pub struct DataSource {
    name: String,
    ledger: Ledger,
    checkpoint: Option<Vec<u8>>,
    heads: Heads,
    key: Option<String>,
}

/// Registry and positions of a data directory's ledger, for evidence packs.
pub struct Index {
    registry: Registry,
    positions: StreamPositions,
}

impl StreamIndex for Index {
    fn positions(&self, aggregate_type: &str, aggregate_id: &str) -> Vec<Position> {
        self.positions.of(aggregate_type, aggregate_id)
    }
}

/// The lines of days that a ledger keeps.
struct Lines<'a>(&'a Ledger);

impl DayLines for Lines<'_> {
    fn day_lines(&self, date: Date) -> Option<Vec<u8>> {
        self.0.day_lines(date)
    }
}

/// The heads that were there when the ledger was opened.
struct Heads {
    store: HeadStore,
    dates: Vec<Date>,
    late: BTreeMap<Date, Vec<u8>>,
}

impl HeadFiles for Heads {
    fn dates(&self) -> Result<Vec<Date>, SourceError> {
        Ok(self.dates.clone())
    }

    fn get(&self, date: Date) -> Result<Option<Vec<u8>>, SourceError> {
        self.store.get(date).map_err(unavailable)
    }

    fn late(&self, date: Date) -> Result<Option<Vec<u8>>, SourceError> {
        Ok(self.late.get(&date).cloned())
    }

    fn consistency(&self, date: Date) -> Result<Option<Vec<u8>>, SourceError> {
        self.store.consistency(date).map_err(unavailable)
    }

    fn stamp(&self, date: Date, kind: AnchorKind) -> Result<Option<Vec<u8>>, SourceError> {
        self.store.stamp(date, kind.ending()).map_err(unavailable)
    }

    fn rotations(&self) -> Result<Vec<Position>, SourceError> {
        self.store.rotations().map_err(unavailable)
    }

    fn rotation(&self, position: Position) -> Result<Option<Vec<u8>>, SourceError> {
        self.store.rotation(position).map_err(unavailable)
    }
}

fn unavailable(error: std::io::Error) -> SourceError {
    SourceError::Unavailable(error.to_string())
}

impl DataSource {
    /// Opens the ledger in a data directory.
    ///
    /// # Errors
    /// [`OpenError`].
    pub fn open(dir: &Path) -> Result<Self, OpenError> {
        // The heads come first: the ledger that is opened then covers them.
        let store = heads_of(dir);
        let unreadable = |error| OpenError::Io {
            what: HEADS.to_owned(),
            source: error,
        };
        let dates = store.dates().map_err(unreadable)?;
        let mut late = BTreeMap::new();
        for date in &dates {
            if let Some(proof) = store.late(*date).map_err(unreadable)? {
                late.insert(*date, proof);
            }
        }
        let cosigned = store.cosigned().map_err(unreadable)?;
        let (ledger, recovery) = Ledger::open_read_only(&dir.join(LEDGER), Options::default())?;
        let key = named_key(&ledger, recovery.checkpoint.as_deref());
        let checkpoint = recovery.checkpoint.map(|note| match cosigned {
            // Cosignature lines stand behind the log's own.
            Some(cosigned) if cosigned.starts_with(&note) => cosigned,
            _ => note,
        });
        Ok(Self {
            name: format!("the ledger in {}", dir.display()),
            ledger,
            checkpoint,
            heads: Heads { store, dates, late },
            key,
        })
    }

    /// What an evidence pack needs to know of the ledger before it is made.
    ///
    /// # Errors
    /// [`LoadError`].
    pub fn index(&self, origin: &str) -> Result<Index, LoadError> {
        let (registry, positions) = read_index(origin, &self.ledger, &self.ledger, &self.ledger)?;
        Ok(Index { registry, positions })
    }

    /// The positions of the ledger's own stream.
    ///
    /// # Errors
    /// [`LoadError`].
    pub fn ledger_positions(&self, origin: &str) -> Result<Vec<Position>, LoadError> {
        Ok(self.index(origin)?.positions.of("ledger", "main"))
    }

    /// What a pack of an alarm is asked for.
    ///
    /// # Errors
    /// [`AlarmError`].
    pub fn alarm_query(&self, index: &Index, alarm: &str, given: Days) -> Result<Query, AlarmError> {
        Ok(find_alarm(&self.ledger, index, alarm)?.query(given)?)
    }

    /// Makes an evidence pack that leads to the latest checkpoint.
    ///
    /// # Errors
    /// [`MakeError`].
    pub fn make_pack(
        &self,
        index: &Index,
        order: &Order<'_>,
        out: &mut dyn Write,
        progress: &mut dyn FnMut(Progress) -> ControlFlow<()>,
    ) -> Result<Made, MakeError> {
        let source = PackSource {
            log: &self.ledger,
            tiles: &self.ledger,
            checkpoint: self.checkpoint.as_deref().unwrap_or_default(),
            heads: &self.heads,
            registry: &index.registry,
            streams: index,
            lines: &Lines(&self.ledger),
        };
        make(&source, order, out, progress)
    }

    /// The ledger as it was found.
    pub fn source(&self) -> PortsSource<'_> {
        self.source_through(&self.ledger)
    }

    /// The ledger itself.
    pub fn ledger(&self) -> &Ledger {
        &self.ledger
    }

    /// The latest checkpoint, with the cosignatures that it has.
    pub fn checkpoint(&self) -> Option<&[u8]> {
        self.checkpoint.as_deref()
    }

    /// The same, its entries read through `log`, which stands before [`DataSource::ledger`].
    pub fn source_through<'a>(&'a self, log: &'a dyn EventLog) -> PortsSource<'a> {
        PortsSource {
            name: self.name.clone(),
            log,
            tiles: &self.ledger,
            size: self.ledger.size_now(),
            checkpoint: self.checkpoint.clone(),
            key: self.key.clone(),
            heads: &self.heads,
        }
    }
}

/// The key that the first entry names and that signed the latest checkpoint.
fn named_key(ledger: &Ledger, checkpoint: Option<&[u8]>) -> Option<String> {
    #[derive(Deserialize)]
    struct Created {
        log_keys: Vec<String>,
    }
    let signed = SignedCheckpoint::parse(checkpoint?).ok()?;
    let block = ledger.read_now(Position::FIRST, 1, 1).ok()?;
    let (_, bytes) = block.get(0)?;
    let created: Created = serde_json::from_slice(Entry::read(bytes).ok()?.payload).ok()?;
    created.log_keys.into_iter().find(|text| {
        let key = VerifierKey::parse(text);
        key.is_ok_and(|key| signed.verify(signed.checkpoint().origin(), [&key]).is_ok())
    })
}
