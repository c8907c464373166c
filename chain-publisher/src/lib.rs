//! What leaves the house as proof: exports of the whole log, readers of logs kept elsewhere, their verification.
//!
//! - `source`: where a log is read from, and what comes out.
//! - `ports_source`: a log behind the ports `EventLog` and `TileStore`.
//! - `directory`: a log in tlog-tiles layout on disk; `layout` names its files.
//! - `url`: a log served over HTTP.
//! - `export`: a log written to a directory.
//! - `anchor`: time stamps of third parties over heads.
//! - `publish`: heads put where others can get them.
//! - `verify`: a whole log against what its asker knows from elsewhere; `evidence` is that, `heads` the heads of days,
//!   `ahead` the entries as several threads read and examine them, `tiles` the tiles, `report` what is said in the end.
//! - `tree`: the tree of a log behind its signed checkpoint, where whole entries are not needed; `confirm` holds single
//!   checkpoints against what is known, `kept_heads`, `one_proof`, `receipt` and `watch` are what is asked then.
//! - `continued`: the log that a log says it continues; `carried`: what it carried over from that one.
//! - `rotations`: from the key that an asker has to those that came after and before it.
//! - `arguments`, `terminal`, `progress`: what the commands that verify share.
//! - `bin/daybook-verify`: the auditor's own program.
//! - `witness`: being a witness of other logs; `cosign`: asking witnesses for cosignatures of one's own.
//! - `pack`: evidence packs, made and verified.
//! - `durable`: small files replaced whole or not at all.
//!
//! Invariant: nothing that is read is believed before it was hashed.
//! Not here: signing, storing (`commands`), the service's commands (`api`).

mod ahead;
pub mod anchor;
pub mod arguments;
mod carried;
mod confirm;
pub mod continued;
pub mod cosign;
pub mod directory;
pub mod durable;
pub mod evidence;
pub mod export;
pub mod heads;
pub mod kept_heads;
pub mod layout;
pub mod one_proof;
pub mod pack;
pub mod ports_source;
pub mod progress;
pub mod publish;
pub mod receipt;
pub mod report;
pub mod rotations;
pub mod source;
pub mod terminal;
mod tiles;
pub mod tree;
pub mod url;
pub mod verify;
pub mod watch;
pub mod witness;

pub use export::{ExportError, Exported, export};
pub use report::Report;
pub use source::{LogSource, SourceError};
pub use verify::{VerifyError, VerifySettings, verify};
