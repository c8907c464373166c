//! The read side: disposable views of the ledger, each with its cursor, and their drivers.
//!
//! *Derived, all of it*: delete the file, and the same rows are folded again from the ledger (promise 2).
//!
//! | file | what |
//! |---|---|
//! | `raw` | every measurement by channel and time |
//! | `rollups`, `sketch` | buckets of 5 minutes, 1 hour, 1 day |
//! | `overview` | devices: last seen, gaps, refusals; parked uplinks |
//! | `timeline` | who changed what; the days that were closed |
//! | `world` | who owns what, as the entries tell it |
//! | `fold`, `store` | one batch, one transaction, with the cursors |
//!
//! Not here: appending, decisions, configuration as of a date (the registry's fold in `domain`).

mod error;
mod fold;
mod overview;
mod raw;
mod rollups;
mod sketch;
mod store;
mod timeline;
mod world;

pub use error::{ProjectionError, QueryError};
pub use overview::gap_limit_us;
pub use rollups::{Resolution, Rollup};
pub use store::{Cursor, Found, Roots, Store, StoredRoots};
