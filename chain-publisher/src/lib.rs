//! What leaves the house as proof: exports of the whole log, readers of logs kept elsewhere, their verification.
//!
//! - `source`: where a log is read from, and what comes out.
//! - `ports_source`: a log behind the ports `EventLog` and `TileStore`.
//! - `directory`: a log in tlog-tiles layout on disk; `layout` names its files.
//! - `url`: a log served over HTTP.
//! - `export`: a log written to a directory.
//! - `verify`: a whole log against what its asker knows from elsewhere; `evidence` is that, `heads` the heads of days,
//!   `tiles` the tiles, `report` what is said in the end.
//! - `pack`: evidence packs, made and verified.
//!
//! Invariant: nothing that is read is believed before it was hashed.
//! Not here: signing, storing, the process's arguments and exit (`api`).

pub mod directory;
pub mod evidence;
pub mod export;
pub mod heads;
pub mod layout;
pub mod pack;
pub mod ports_source;
pub mod report;
pub mod source;
mod tiles;
pub mod url;
pub mod verify;

pub use export::{ExportError, Exported, export};
pub use report::Report;
pub use source::{LogSource, SourceError};
pub use verify::{VerifyError, VerifySettings, verify};
