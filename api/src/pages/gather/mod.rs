//! View models, gathered from the registry, the read models and the refusals of late.
//!
//! Everything here blocks and is asked on a thread that may. Invariants: all of it is from within one account; the
//! registry is locked only while it is copied from, never while SQL runs or a text is opened, because the sequencer
//! waits for it; what the read models do not know yet reads as *no data*, not as an error.
//! Not here: HTTP, the ledger's entries (`routes`), markup.

mod account;
pub mod alarms;
mod changes;
pub mod contacts;
mod devices;
mod evidence;
mod history;
mod refusals;
pub mod rules;
mod values;

pub use account::{account, frame, integrations, tokens, tray, users};
pub use changes::{actor, reason_words};
pub use devices::{device, onboarding_status, overview, site, site_cards};
pub use evidence::{Typed, evidence};
pub use history::{Asked, channel, drawn};

use commands::refusals::{Refusal, Source};
use domain::Timestamp;
use domain::registry::Registry;
use domain::sealed::SealedField;
use parking_lot::RwLockReadGuard;
use projections::query::TimelineItem;
use projections::{QueryError, ReadModel};
use serde_json::Value;

/// What is known beside the read models.
pub trait Known: Send + Sync {
    /// What is configured now.
    fn registry(&self) -> RwLockReadGuard<'_, Registry>;
    /// A sealed text of a stream, opened.
    fn text(&self, aggregate_type: &str, id: &str, field: Option<&SealedField>) -> Option<String>;
    /// A change's payload with every sealed value in it opened; null where it is withheld.
    fn opened(&self, item: &TimelineItem) -> Value;
    /// An example of a refusal, opened.
    fn example(&self, sealed: &str) -> Option<String>;
    /// What was refused of late, newest first.
    fn refused_of_late(&self, source: &Source) -> Vec<Refusal>;
    /// The code by which a chat says that it is this contact.
    fn link_code(&self, contact: &str) -> String;
    /// When a token last opened something.
    fn last_used(&self, token: &str) -> Option<Timestamp>;
}

/// Who asks, whom, and when.
#[derive(Clone, Copy)]
pub struct Asker<'a> {
    /// What is known beside the read models.
    pub known: &'a dyn Known,
    /// The read models.
    pub rows: &'a ReadModel,
    /// Whose account.
    pub account: &'a str,
    /// The time that ages are reckoned from.
    pub now: Timestamp,
}

/// An answer of the read models, where not knowing a thing yet is no error.
pub fn known<T>(answer: Result<T, QueryError>) -> Result<Option<T>, QueryError> {
    match answer {
        Ok(answer) => Ok(Some(answer)),
        Err(QueryError::ChannelNotFound(_) | QueryError::DeviceNotFound(_) | QueryError::SiteNotFound(_)) => {
            Ok(None)
        }
        Err(error) => Err(error),
    }
}
