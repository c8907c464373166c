//! The read side: disposable views of the ledger, each with its cursor, and their drivers.
//!
//! *Derived, all of it*: delete the file, and the same rows are folded again from the ledger (promise 2).
//!
//! | file | what |
//! |---|---|
//! | `raw` | every measurement by channel and time |
//! | `rollups`, `sketch` | buckets of 5 minutes, 1 hour, 1 day |
//! | `overview` | devices: last seen, gaps, refusals; parked uplinks |
//! | `alarms` | alarms and channels' states |
//! | `timeline` | who changed what; the days that were closed |
//! | `outbox` | whom to tell what, when, and what came of it |
//! | `world` | who owns what, as the entries tell it |
//! | `fold`, `store` | one batch, one transaction, with the cursors |
//! | `projector`, `rebuild` | following the ledger; folding it again into a second file |
//! | `seen` | the port by which the sequencer asks for duplicates |
//! | `query` | every question, from within one account |
//!
//! Not here: appending, decisions, configuration as of a date (the registry's fold in `domain`).

mod alarms;
mod derived;
mod error;
mod fold;
pub mod outbox;
mod overview;
mod projector;
pub mod query;
mod raw;
mod readers;
mod rebuild;
mod rollups;
mod seen;
mod sketch;
mod store;
mod timeline;
mod waiting;
mod world;

pub use error::{ProjectionError, QueryError};
pub use overview::{GAPS_KEPT, REFUSALS_KEPT, gap_limit_us};
pub use projector::{Projector, Status};
pub use query::ReadModel;
pub use rebuild::{Progress, fill, rebuild, replace};
pub use rollups::{Resolution, Rollup};
pub use store::{Cursor, Found, Roots, Store, StoredRoots};
