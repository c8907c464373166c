//! The service reads its own ledger again and again, as slowly as it is told, and verifies all of it.
//!
//! A pass opens the files anew beside the running service, as `daybook verify` does, and holds every entry, tile,
//! chain, day and head against the log's own key. What does not hold is shouted: in the log, in the metrics, on the
//! ledger's page, to every contact and owner (`notify::damage`); and nothing is recorded any more, because whatever is
//! written on top would vouch for it.
//! Invariants: no lock of the ledger is taken; a pass that could not be finished is no verdict; a pass reads at most
//! so many bytes a second.
//! What it cannot see: what the disk keeps and the system's cache does not, while the cache still has it; and a
//! rewrite by whoever holds the log's key, which only heads kept elsewhere show.
//! Not here: what is verified (`chain_publisher::verify`).

use crate::app::App;
use crate::data_source::DataSource;
use crate::notify::damage;
use crate::stopping::Stopping;
use chain_publisher::evidence::Trust;
use chain_publisher::verify::Progress;
use chain_publisher::{Report, VerifySettings, verify};
use commands::ledger::OpenError;
use domain::ports::{Append, AppendError, BoxFuture, Clock, EntryBlock, EventLog, ReadError};
use domain::verify::Verdict;
use domain::{Hash, Position, Timestamp, TreeSize};
use parking_lot::Mutex;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// How long after the start the first pass begins: a start has enough to do.
const FIRST_AFTER: Duration = Duration::from_secs(20);

/// How long after a pass that found something wrong it is looked for once more.
const CONFIRM_AFTER: Duration = Duration::from_secs(2);

/// What a pass found.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Pass {
    /// When it ended.
    pub at: Timestamp,
    /// How long it took.
    pub took: Duration,
    /// Entries that were read and hashed.
    pub size: TreeSize,
    /// Their root.
    pub root: Hash,
    /// What does not hold, in words; `None` where everything does.
    pub wrong: Option<String>,
}

/// How the self-audit does.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Audited {
    /// The last pass that was finished.
    pub last: Option<Pass>,
    /// Entries done and entries in all of the pass that runs.
    pub running: Option<(u64, u64)>,
    /// Why the last try was not finished, in words.
    pub trouble: Option<String>,
}

/// The self-audit of a service.
#[derive(Default)]
pub struct SelfAudit {
    audited: Mutex<Audited>,
    stopping: Stopping,
}

impl SelfAudit {
    /// How it does.
    pub fn audited(&self) -> Audited {
        self.audited.lock().clone()
    }

    /// Ends the pass that runs, and those to come.
    pub fn stop(&self) {
        self.stopping.stop();
    }

    fn pause(&self, duration: Duration) -> bool {
        self.stopping.pause(duration)
    }

    fn is_stopping(&self) -> bool {
        self.stopping.is_stopping()
    }
}

/// Starts the thread, where the settings want one.
///
/// # Errors
/// No thread.
pub fn start(app: &Arc<App>) -> std::io::Result<()> {
    let settings = app.settings();
    if settings.self_audit_mb_per_s == 0 {
        return Ok(());
    }
    let pause = Duration::from_secs(settings.self_audit_pause_s);
    let (running, runtime) = (Arc::clone(app), tokio::runtime::Handle::current());
    app.beside().start("self-audit", move || {
        let mut next = FIRST_AFTER.min(pause);
        while running.self_audit().pause(next) {
            next = pause;
            running.audit_itself();
            let last = running.self_audit().audited().last;
            if let Some((wrong, at)) = last.and_then(|pass| Some((pass.wrong?, pass.at))) {
                return runtime.block_on(damage::tell(running, &wrong, at));
            }
        }
    })
}

impl App {
    /// One pass.
    fn audit_itself(&self) {
        let began = Instant::now();
        let mut outcome = self.read_again();
        if outcome.as_ref().is_ok_and(|pass| pass.wrong.is_some()) {
            // A file that was replaced while it was looked for is no damage; what is found twice is.
            outcome = if self.self_audit().pause(CONFIRM_AFTER) {
                self.read_again()
            } else {
                Err("the service is stopping".to_owned())
            };
        }
        let mut audited = self.self_audit().audited.lock();
        audited.running = None;
        match outcome {
            Ok(found) => {
                let pass = Pass {
                    at: self.clock().now(),
                    took: began.elapsed(),
                    ..found
                };
                audited.trouble = None;
                audited.last = Some(pass.clone());
                drop(audited);
                self.tell(&pass);
            }
            Err(_) if self.self_audit().is_stopping() => {}
            Err(reason) => {
                tracing::warn!(reason, "the ledger could not be read again in full");
                audited.trouble = Some(reason);
            }
        }
    }

    fn tell(&self, pass: &Pass) {
        match &pass.wrong {
            None => tracing::info!(
                entries = pass.size.get(),
                took_s = pass.took.as_secs(),
                "the ledger was read again and holds"
            ),
            Some(wrong) => {
                tracing::error!(
                    entries = pass.size.get(),
                    wrong,
                    "THE LEDGER DOES NOT HOLD: nothing is recorded any more; keep the files as they are, and run \
                     `daybook verify` and `daybook doctor`"
                );
                self.sequencer().distrust(&format!("the self-audit: {wrong}"));
            }
        }
    }

    fn read_again(&self) -> Result<Pass, String> {
        let settings = VerifySettings {
            origin: Some(self.origin().to_owned()),
            trust: Trust {
                keys: self.log_keys(),
                ..Trust::default()
            },
            ..VerifySettings::default()
        };
        let data = match DataSource::open(&self.settings().data) {
            Ok(data) => data,
            Err(error @ (OpenError::Io { .. } | OpenError::Locked { .. })) => return Err(error.to_string()),
            Err(damage) => {
                return Ok(Pass {
                    wrong: Some(damage.to_string()),
                    ..Pass::default()
                });
            }
        };
        let slowly = Slowly {
            log: data.ledger(),
            audit: self.self_audit(),
            clock: self.clock(),
            bytes_per_s: u64::from(self.settings().self_audit_mb_per_s) << 20,
            owed: Mutex::new((self.clock().monotonic(), 0)),
        };
        let told = &mut |progress: Progress| {
            self.self_audit().audited.lock().running = Some((progress.done, progress.total));
        };
        let report =
            verify(&data.source_through(&slowly), &settings, told).map_err(|error| error.to_string())?;
        Ok(Pass {
            size: report.size,
            root: report.root,
            wrong: wrong(&report),
            ..Pass::default()
        })
    }
}

/// What of a report is a reason to stop, in words.
fn wrong(report: &Report) -> Option<String> {
    match &report.verdict {
        // That nobody outside confirms it is not the ledger's fault.
        Verdict::Verified { .. } | Verdict::Unanchored { .. } | Verdict::Partial { .. } => None,
        bad => Some(bad.to_string()),
    }
}

/// A log that is read no faster than so many bytes a second, and not at all once the service stops.
struct Slowly<'a> {
    log: &'a dyn EventLog,
    audit: &'a SelfAudit,
    clock: &'a dyn Clock,
    bytes_per_s: u64,
    /// Since when, and the bytes that were read since.
    owed: Mutex<(Duration, u64)>,
}

impl Slowly<'_> {
    fn wait(&self, bytes: u64) -> Result<(), ReadError> {
        let mut owed = self.owed.lock();
        owed.1 += bytes;
        let due = owed.0 + Duration::from_secs_f64(owed.1 as f64 / self.bytes_per_s as f64);
        drop(owed);
        let left = due.saturating_sub(self.clock.monotonic());
        if self.audit.pause(left) {
            Ok(())
        } else {
            Err(ReadError::Unavailable("the service is stopping".to_owned()))
        }
    }
}

impl EventLog for Slowly<'_> {
    fn size(&self) -> TreeSize {
        self.log.size()
    }

    fn append<'a>(&'a self, _: Append<'a>) -> BoxFuture<'a, Result<(), AppendError>> {
        Box::pin(async { Err(AppendError::Refused("it is read only".to_owned())) })
    }

    fn recover(&self) -> BoxFuture<'_, Result<TreeSize, AppendError>> {
        Box::pin(async { Ok(self.log.size()) })
    }

    fn read(
        &self,
        from: Position,
        entries_max: usize,
        bytes_max: usize,
    ) -> BoxFuture<'_, Result<EntryBlock, ReadError>> {
        Box::pin(async move {
            let block = self.log.read(from, entries_max, bytes_max).await?;
            self.wait(block.bytes().len() as u64)?;
            Ok(block)
        })
    }

    fn read_at<'a>(&'a self, positions: &'a [Position]) -> BoxFuture<'a, Result<EntryBlock, ReadError>> {
        self.log.read_at(positions)
    }

    fn follow(&self, seen: TreeSize) -> BoxFuture<'_, TreeSize> {
        self.log.follow(seen)
    }
}
