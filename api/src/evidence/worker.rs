//! The thread that makes evidence packs, one after another: reads the ledger beside the service, writes the file,
//! records it, lets old ones expire.
//!
//! Invariants: no lock of ledger or registry is held; a stop ends it within a block of entries and leaves no half file;
//! a pack that cannot be recorded is not handed out.
//! Not here: which jobs there are (`shelf`), what a pack is (`chain_publisher::pack`).

use super::SOFTWARE;
use super::file::{self, WriteError, Written};
use super::job::{Job, Packed, State};
use super::recipients::Recipients;
use crate::app::App;
use crate::data_source::DataSource;
use chain_publisher::SourceError;
use chain_publisher::pack::{MakeError, Order};
use commands::handlers::ManageError;
use domain::Position;
use domain::time::DAY_US;
use std::io::{self, Write};
use std::ops::ControlFlow;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// How often it is looked for packs that expire.
const SWEEP: Duration = Duration::from_secs(60);
/// How long it is waited until the latest entry is signed: a checkpoint follows a commit within a second.
const SIGNED_WITHIN: Duration = Duration::from_secs(5);
/// How often that is looked for.
const LOOK: Duration = Duration::from_millis(50);
/// After how long a pack is tried to be recorded again.
const RECORD_AGAIN: Duration = Duration::from_secs(10);

/// Starts the thread.
///
/// # Errors
/// No thread.
pub fn start(app: &Arc<App>) -> io::Result<()> {
    let running = Arc::clone(app);
    let runtime = tokio::runtime::Handle::current();
    app.beside().start("evidence", move || {
        let shelf = running.evidence();
        while !shelf.is_stopping() {
            shelf.sweep(running.clock().now());
            if let Some(job) = shelf.next(SWEEP) {
                let recorded = running.advance_evidence(job, &runtime);
                if !recorded {
                    shelf.pause(RECORD_AGAIN);
                }
            }
        }
    })
}

/// Why a pack is not made.
struct Failure {
    code: &'static str,
    message: String,
}

impl Failure {
    fn is_of_ledger(&self) -> bool {
        matches!(self.code, "ledger_unreadable" | "ledger_damaged")
    }
}

impl App {
    /// Makes or records a job's pack; `false` where it has to wait.
    fn advance_evidence(&self, mut job: Job, runtime: &tokio::runtime::Handle) -> bool {
        if !matches!(job.state, State::Made { .. }) {
            job.starts += 1;
            job.state = State::Running;
            self.evidence().set(job.clone());
            let mut made = self.make_evidence(&job);
            // A file that was sealed away while it was looked for is no damage; what is found twice is.
            if matches!(&made, Err(Some(failure)) if failure.is_of_ledger()) {
                made = self.make_evidence(&job);
            }
            match made {
                Ok(pack) => job.state = State::Made { pack },
                Err(None) => {
                    // A stop is nobody's fault: the next start makes it.
                    job.starts -= 1;
                    job.state = State::Queued;
                }
                Err(Some(failure)) => job.state = self.failed(&job, failure),
            }
            self.evidence().set(job.clone());
        }
        let State::Made { pack } = &job.state else {
            return true;
        };
        let pack = pack.clone();
        match runtime.block_on(self.record_evidence(&job, &pack)) {
            Ok(position) => {
                let now = self.clock().now();
                let days = i64::from(self.settings().evidence_keep_days);
                job.state = State::Ready {
                    pack,
                    position,
                    at: now,
                    expires_at: now.plus_micros(days * DAY_US),
                };
                self.evidence().set(job);
                true
            }
            Err(None) => false,
            Err(Some(failure)) => {
                // Nobody was given it.
                let _ = std::fs::remove_file(self.evidence().path(&job));
                job.state = self.failed(&job, failure);
                self.evidence().set(job);
                true
            }
        }
    }

    fn failed(&self, job: &Job, failure: Failure) -> State {
        tracing::warn!(
            pack = job.id,
            code = failure.code,
            reason = failure.message,
            "no evidence pack"
        );
        State::Failed {
            code: failure.code.to_owned(),
            message: failure.message,
            at: self.clock().now(),
        }
    }

    /// The file, whole and with its name; `None` as failure where the service stops.
    fn make_evidence(&self, job: &Job) -> Result<Packed, Option<Failure>> {
        let shelf = self.evidence();
        self.until_signed();
        let damaged = |error: &dyn std::fmt::Display| {
            tracing::error!(%error, pack = job.id, "the ledger could not be read for an evidence pack");
            Some(Failure {
                code: "ledger_unreadable",
                message:
                    "the ledger could not be read for it: tell whoever runs this service, whose log says why"
                        .to_owned(),
            })
        };
        let source = DataSource::open(&self.settings().data).map_err(|error| damaged(&error))?;
        let index = source.index(self.origin()).map_err(|error| damaged(&error))?;
        let recipients = Recipients::parse(job.recipients.iter().map(String::as_str)).map_err(|message| {
            Some(Failure {
                code: "invalid_recipient",
                message,
            })
        })?;
        let order = Order {
            query: &job.query,
            asker: &job.user,
            software: SOFTWARE,
            signer: self.receipt_signer(),
            scratch: shelf.dir(),
            attachments: &[],
        };
        let bytes_max = u64::from(self.settings().evidence_mb_max) << 20;
        let written = file::write(&shelf.path(job), &recipients, |out| {
            let mut out = Bounded {
                out,
                left: bytes_max,
                shelf_stops: &|| shelf.is_stopping(),
            };
            source.make_pack(&index, &order, &mut out, &mut |progress| {
                shelf.progress(job.number, progress.done, progress.total);
                if shelf.is_stopping() {
                    ControlFlow::Break(())
                } else {
                    ControlFlow::Continue(())
                }
            })
        });
        let written = match written {
            Ok(written) => written,
            Err(_) if shelf.is_stopping() => return Err(None),
            Err(error) => return Err(Some(self.why(job, &error, bytes_max))),
        };
        self.keep_file(job, written, bytes_max).map_err(Some)
    }

    fn keep_file(&self, job: &Job, written: Written, bytes_max: u64) -> Result<Packed, Failure> {
        let pack = Packed::of(&written.made, written.pack_sha256, written.encrypted.clone());
        let now = self.clock().now();
        if !self
            .evidence()
            .make_room(&job.account, pack.file().0, bytes_max, now)
        {
            return Err(no_room(bytes_max));
        }
        written.name().map_err(|error| {
            tracing::warn!(%error, pack = job.id, "an evidence pack could not be kept");
            no_disk()
        })?;
        Ok(pack)
    }

    fn why(&self, job: &Job, error: &WriteError, bytes_max: u64) -> Failure {
        let failure = |code, message: String| Failure { code, message };
        match error {
            WriteError::Make(error @ (MakeError::Unknown { .. } | MakeError::Days(_))) => {
                failure("nothing_there", error.to_string())
            }
            WriteError::Make(MakeError::Checkpoint(_)) => {
                failure("not_signed", "nothing was signed yet: ask again".to_owned())
            }
            WriteError::Make(MakeError::Io(error)) if error.kind() == io::ErrorKind::FileTooLarge => {
                no_room(bytes_max)
            }
            WriteError::Make(
                MakeError::Damaged(_)
                | MakeError::Source(SourceError::Missing { .. } | SourceError::Malformed { .. }),
            ) => {
                tracing::error!(%error, pack = job.id, "the ledger does not fit together");
                failure(
                    "ledger_damaged",
                    "the ledger does not fit together: tell whoever runs this service, whose log says why"
                        .to_owned(),
                )
            }
            WriteError::Encrypt(error) => failure("invalid_recipient", error.to_string()),
            WriteError::Make(_) | WriteError::Io { .. } => {
                tracing::warn!(%error, pack = job.id, "an evidence pack could not be written");
                no_disk()
            }
        }
    }

    /// Waits until what was recorded when a pack is begun is signed, so that it is in it.
    fn until_signed(&self) {
        let Some(newest) = self.newest() else { return };
        let until = Instant::now() + SIGNED_WITHIN;
        let is_signed = || self.signed().is_some_and(|(size, _)| size.contains(newest));
        while !is_signed() && Instant::now() < until && self.evidence().pause(LOOK) {}
    }

    /// Records that a pack is handed out; where that stands. `None` as failure where it has to be tried again.
    async fn record_evidence(&self, job: &Job, pack: &Packed) -> Result<Position, Option<Failure>> {
        if let Some(position) = self.recorded_evidence(job, pack) {
            return Ok(position);
        }
        let issued = job.issue(pack).event("api");
        match self
            .management()
            .issue_pack(&job.actor(), &job.reason(), &job.id, issued)
            .await
        {
            Ok(outcome) => Ok(Position(outcome.positions.start)),
            Err(ManageError::Rejected(rejection)) => match self.recorded_evidence(job, pack) {
                Some(position) => Ok(position),
                None => Err(Some(Failure {
                    code: "not_recorded",
                    message: rejection.to_string(),
                })),
            },
            Err(error) => {
                tracing::warn!(%error, pack = job.id, "an evidence pack is made and could not be recorded yet");
                Err(None)
            }
        }
    }

    fn recorded_evidence(&self, job: &Job, pack: &Packed) -> Option<Position> {
        let registry = self.registry().read();
        let known = registry.pack(&job.account, &job.id)?;
        (known.state.manifest_sha256 == Some(pack.manifest_sha256)).then_some(known.created.position)
    }
}

fn no_room(bytes_max: u64) -> Failure {
    Failure {
        code: "no_room",
        message: format!(
            "it does not fit into the {} MB that evidence packs may take here: ask for less, or let whoever runs this \
             service make it with `daybook evidence`",
            bytes_max >> 20
        ),
    }
}

fn no_disk() -> Failure {
    Failure {
        code: "not_written",
        message: "it could not be written: tell whoever runs this service, whose log says why".to_owned(),
    }
}

/// Takes no more than so many bytes, and none once the service stops.
struct Bounded<'a> {
    out: &'a mut dyn Write,
    left: u64,
    shelf_stops: &'a dyn Fn() -> bool,
}

impl Write for Bounded<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if (self.shelf_stops)() {
            return Err(io::Error::other("the service is stopping"));
        }
        self.left = self
            .left
            .checked_sub(bytes.len() as u64)
            .ok_or(io::ErrorKind::FileTooLarge)?;
        self.out.write_all(bytes)?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}
