//! The ledger's files, read beside the service that writes them: what it says is durable is found there and signed.
//!
//! Invariants: no lock is taken and nothing is written into the ledger; a root that the files do not give is not signed; a
//! tree that does not continue what was signed ends the publisher, and so does an entry that says that a stranger signs;
//! a day that was closed is signed at exactly its size, and its head kept, before anything larger is; so is an entry that
//! replaces a key, whose proof is kept: where it is the log key, by both, and it is the one that was asked for here.
//! What if we crash here? Between a day's signature and its head, or a rotation's and its proof: the guard stands at that
//! size, and what is missing is made of it at the next start.
//! Not here: who publishes it (`publishing`), witnesses (`crate::witnesses`).

use super::{Dir, TO_SIGN, peer};
use crate::stores::LEDGER;
use commands::ledger::{Ledger, OpenError, Options};
use commands::sequencer::{CheckpointError, Checkpointer, Signers, Signing};
use domain::checkpoint::Checkpoint;
use domain::day::{DAY_CLOSED, DayClosed};
use domain::entry::Entry;
use domain::ports::EventLog;
use domain::rotation::{KEY_ROTATED, KeyRotated, Role, Rotation, Vouchers};
use domain::{Date, Position, TreeSize};
use std::path::Path;
use std::sync::Arc;

/// Entries that are read at once while days are looked for.
const READ_ENTRIES: usize = 4_096;
/// Bytes of them, about.
const READ_BYTES: usize = 8 << 20;

/// Nothing was signed.
#[derive(Debug, thiserror::Error)]
pub enum FollowError {
    /// It may work later.
    #[error("{0}")]
    Later(String),
    /// It never will: somebody has to look.
    #[error("{0}")]
    Refused(String),
}

/// The ledger as it was when it was opened, and what of it is signed.
pub struct Followed {
    /// The ledger.
    pub ledger: Arc<Ledger>,
    /// The latest checkpoint: its size and note.
    pub signed: (TreeSize, Vec<u8>),
    /// The last day that was closed in it.
    pub last_day: Option<Date>,
}

/// What the service says is durable; `None` before it said anything.
///
/// # Errors
/// `Later` where it cannot be read, `Refused` where it is of another ledger.
pub fn offered(data: &Path, origin: &str) -> Result<Option<Checkpoint>, FollowError> {
    let path = data.join(TO_SIGN);
    let later = |error: &dyn std::fmt::Display| FollowError::Later(format!("{}: {error}", path.display()));
    let Some(text) = peer::read_text(&path).map_err(|error| later(&error))? else {
        return Ok(None);
    };
    let offered = Checkpoint::parse(&text).map_err(|error| later(&error))?;
    if offered.origin() != origin {
        return Err(FollowError::Refused(format!(
            "{} is of {}, but this key signs for {origin}",
            path.display(),
            offered.origin()
        )));
    }
    Ok(Some(offered))
}

/// Signs what was offered, and the days before it.
///
/// # Errors
/// [`FollowError`]; what was signed before it stays signed.
pub fn sign(data: &Path, dir: &Dir, offered: &Checkpoint) -> Result<Followed, FollowError> {
    let opened = Ledger::open_read_only(&data.join(LEDGER), Options::default());
    let (ledger, _) = opened.map_err(|error| match error {
        OpenError::Io { .. } | OpenError::Locked { .. } | OpenError::NoLedger { .. } => {
            FollowError::Later(error.to_string())
        }
        damage => FollowError::Refused(damage.to_string()),
    })?;
    let size = offered.size();
    if ledger.size_now() < size {
        return Err(FollowError::Later(format!(
            "{size} entries were offered, and {} are there",
            ledger.size_now()
        )));
    }
    if ledger.root_at(size).map_err(FollowError::Later)? != offered.root() {
        return Err(FollowError::Refused(format!(
            "the root that was offered at size {size} is not the one that the ledger's files give"
        )));
    }
    let checkpointer = Checkpointer::open(
        &dir.origin,
        Signing::Here(dir.key()),
        dir.guard.clone(),
        &ledger,
        ledger.size_now(),
    )
    .map_err(refused)?;
    let last_day = sign_ends(dir, &ledger, &checkpointer, size)?;
    let before = checkpointer.latest();
    let signed = match before {
        Some(before) if before.0 >= size => before,
        _ => (size, checkpointer.sign(size, offered.root()).map_err(refused)?),
    };
    Ok(Followed {
        ledger: Arc::new(ledger),
        signed,
        last_day,
    })
}

fn refused(error: CheckpointError) -> FollowError {
    match error {
        CheckpointError::Inconsistent { .. } => FollowError::Refused(error.to_string()),
        other => FollowError::Later(other.to_string()),
    }
}

/// Signs at each entry that a checkpoint has to end with, since the latest checkpoint or with it, and keeps what proves
/// it: days that were closed, whose last is told, and keys that were replaced.
fn sign_ends(
    dir: &Dir,
    ledger: &Ledger,
    checkpointer: &Checkpointer,
    size: TreeSize,
) -> Result<Option<Date>, FollowError> {
    let signed = checkpointer.latest().map_or(TreeSize::EMPTY, |(size, _)| size);
    let mut next = signed.last().unwrap_or(Position::FIRST);
    let mut last_day = None;
    while size.contains(next) {
        let block = ledger
            .read_now(next, READ_ENTRIES, READ_BYTES)
            .map_err(|error| FollowError::Later(error.to_string()))?;
        if block.is_empty() {
            return Err(FollowError::Later(format!(
                "the entry at position {next} is not there"
            )));
        }
        for (position, bytes) in block.iter() {
            next = position.next();
            let entry = Entry::read(bytes).map_err(|error| FollowError::Refused(error.to_string()))?;
            if !size.contains(position) || !entry.stream_is("ledger", "main") {
                continue;
            }
            let end = End {
                dir,
                ledger,
                checkpointer,
                position,
                entry: bytes,
            };
            let unreadable = |error: serde_json::Error| FollowError::Refused(error.to_string());
            match entry.event_type {
                DAY_CLOSED => {
                    let day: DayClosed = serde_json::from_slice(entry.payload).map_err(unreadable)?;
                    end.keep_head(day.date)?;
                    last_day = Some(day.date);
                }
                KEY_ROTATED => {
                    let said: KeyRotated = serde_json::from_slice(entry.payload).map_err(unreadable)?;
                    match said.role {
                        Role::Log => end.hand_over(&entry)?,
                        role => end.keep_rotation(role)?,
                    }
                }
                _ => {}
            }
        }
    }
    Ok(last_day)
}

/// An entry that a checkpoint has to end with.
struct End<'a> {
    dir: &'a Dir,
    ledger: &'a Ledger,
    checkpointer: &'a Checkpointer,
    position: Position,
    entry: &'a [u8],
}

impl End<'_> {
    fn keep_head(&self, date: Date) -> Result<(), FollowError> {
        let heads = &self.dir.heads;
        if heads.has(date).map_err(later)? {
            return Ok(());
        }
        let checkpoint = self.sign()?;
        let beside = commands::heads::consistency(self.ledger, self.entry, &checkpoint);
        if let Some(body) = beside.map_err(FollowError::Later)? {
            heads.put_consistency(date, &body).map_err(later)?;
        }
        heads.put(date, &self.proof(&checkpoint)?).map_err(later)?;
        tracing::info!(%date, size = %self.position.size_through(), "the head of a day is signed");
        Ok(())
    }

    fn keep_rotation(&self, role: Role) -> Result<(), FollowError> {
        if role.signs_checkpoints() {
            return Err(FollowError::Refused(format!(
                "the entry at position {} says that another {role} key signs checkpoints, and this publisher cannot hand \
                 over to one",
                self.position
            )));
        }
        let heads = &self.dir.heads;
        if heads.rotation(self.position).map_err(later)?.is_some() {
            return Ok(());
        }
        let proof = self.proof(&self.sign()?)?;
        heads.put_rotation(self.position, &proof).map_err(later)?;
        tracing::info!(position = %self.position, "the proof of a new key is signed");
        Ok(())
    }

    /// Both keys sign the checkpoint that ends with the entry, the new one all that comes after it, here and from the next
    /// start on.
    fn hand_over(&self, entry: &Entry<'_>) -> Result<(), FollowError> {
        let (dir, position) = (self.dir, self.position);
        let refused =
            |what: String| FollowError::Refused(format!("the entry at position {position}: {what}"));
        let rotation = Rotation::read(&dir.origin, entry, &Vouchers::default()).map_err(refused)?;
        let current = dir.key();
        if rotation.new == current.verifier_key() {
            // It was handed over before the last stop.
            return Ok(());
        }
        let next = dir
            .next_key()
            .map_err(|error| FollowError::Later(error.to_string()))?;
        let next = next.filter(|next| {
            rotation.new == next.verifier_key() && rotation.old.as_ref() == Some(&current.verifier_key())
        });
        let next = next.ok_or_else(|| {
            refused(format!(
                "another log key is said to sign from there on, {}, and none was asked for here: find out who did",
                rotation.new
            ))
        })?;
        let size = position.size_through();
        let root = self.ledger.root_at(size).map_err(FollowError::Later)?;
        let both: Signers = vec![current, next.clone()];
        let signed = self
            .checkpointer
            .sign_handover(position, root, both, vec![next.clone()])
            .map_err(self::refused)?;
        dir.heads
            .put_rotation(position, &self.proof(&signed)?)
            .map_err(later)?;
        dir.put_in_force(next)
            .map_err(|error| FollowError::Later(error.to_string()))?;
        tracing::info!(%position, "a new log key is in force");
        Ok(())
    }

    /// The checkpoint that ends with the entry.
    fn sign(&self) -> Result<Vec<u8>, FollowError> {
        let size = self.position.size_through();
        let root = self.ledger.root_at(size).map_err(FollowError::Later)?;
        self.checkpointer.sign(size, root).map_err(refused)
    }

    fn proof(&self, checkpoint: &[u8]) -> Result<Vec<u8>, FollowError> {
        let size = self.position.size_through();
        commands::heads::head(self.ledger, self.entry, size, checkpoint).map_err(FollowError::Later)
    }
}

fn later(error: std::io::Error) -> FollowError {
    FollowError::Later(error.to_string())
}

/// The size that the files of the followed ledger have.
pub fn size_of(followed: &Followed) -> TreeSize {
    EventLog::size(&*followed.ledger)
}
