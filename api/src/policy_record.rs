//! `WitnessPolicySet`: recorded at a start whose witness policy is not the one that the ledger names (FORMAT §1).
//!
//! Invariant: what stands there is what this service goes by; for a verifier it is a hint, whose own policy comes from
//! elsewhere. A crash before it was recorded: the next start records it.
//! Not here: asking witnesses (`witnesses`), reading a policy (`domain::tlog_policy`).

use crate::begin::BeginError;
use crate::config::Settings;
use crate::stores::Stores;
use commands::sequencer::{EventGroup, Sequencer};
use domain::canonical::{Canonical, CanonicalError};
use domain::entry::{Entry, NewEvent};
use domain::event::EVENT_VERSION;
use domain::ports::{EventLog, ReadError};
use domain::{Position, TreeSize};
use serde::Deserialize;
use serde_json::json;

/// The event type.
pub const WITNESS_POLICY_SET: &str = "WitnessPolicySet";
/// Bytes of a policy that fit an entry with everything around it; a policy of a hundred witnesses has a third.
const RECORDED_BYTES_MAX: u64 = 48 << 10;
/// Entries that are read at once.
const READ_ENTRIES: usize = 256;

#[derive(Deserialize)]
struct Said {
    #[serde(default)]
    policy: Option<String>,
}

/// Records the policy of the settings where the ledger names another.
///
/// # Errors
/// [`BeginError`].
pub async fn record(settings: &Settings, stores: &Stores, sequencer: &Sequencer) -> Result<(), BeginError> {
    let policy = match &settings.witness_policy {
        None => none(stores),
        Some(path) => {
            let io = |error| BeginError::Io {
                path: path.clone(),
                error,
            };
            let size = std::fs::metadata(path).map_err(io)?.len();
            if size > RECORDED_BYTES_MAX {
                tracing::warn!(size, "the witness policy is too large to be recorded");
                return Ok(());
            }
            std::fs::read_to_string(path).map_err(io)?
        }
    };
    let positions = sequencer.positions().of("ledger", "main");
    if in_force(&*stores.log, &positions).await?.as_ref() == Some(&policy) {
        return Ok(());
    }
    let event = event(&policy)?;
    sequencer
        .record(EventGroup {
            events: vec![(event, None)],
            ..EventGroup::default()
        })
        .await?;
    tracing::info!("the witness policy is another one than before, and recorded");
    Ok(())
}

/// What a ledger without witnesses says.
pub fn none(stores: &Stores) -> String {
    format!("log {}\nquorum none\n", stores.log_key.verifier_key())
}

/// The policy that the ledger names last.
async fn in_force(log: &dyn EventLog, positions: &[Position]) -> Result<Option<String>, ReadError> {
    for some in positions.rchunks(READ_ENTRIES) {
        let block = log.read_at(some).await?;
        let mut last = None;
        for (position, bytes) in block.iter() {
            let Ok(entry) = Entry::read(bytes) else { continue };
            if entry.event_type == WITNESS_POLICY_SET || position == Position::FIRST {
                last = serde_json::from_slice::<Said>(entry.payload)
                    .ok()
                    .and_then(|said| said.policy);
            }
        }
        if last.is_some() {
            return Ok(last);
        }
    }
    debug_assert!(log.size() == TreeSize::EMPTY || !positions.is_empty());
    Ok(None)
}

fn event(policy: &str) -> Result<NewEvent, CanonicalError> {
    Ok(NewEvent {
        aggregate_type: "ledger".into(),
        aggregate_id: "main".to_owned(),
        event_type: WITNESS_POLICY_SET.into(),
        event_version: EVENT_VERSION.into(),
        payload: Canonical::of(&json!({"policy": policy}))?,
        metadata: Canonical::of(&json!({
            "actor": "system:daybook",
            "reason": {"code": "configuration"},
        }))?,
        salt: None,
    })
}
