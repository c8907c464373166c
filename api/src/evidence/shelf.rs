//! Every evidence pack that was asked for and is remembered: the queue, the walls, the limits, what a restart finds.
//!
//! Invariants: a change is on disk before it is told; what belongs to another account is not there, and takes neither
//! an account's turn nor its share of the room; files without a job
//! are removed at the start, jobs without their file say so.
//! What if we crash between a file's name and its job's state: the file is removed and the pack made again. Between
//! state `made` and the ledger: it is recorded after the restart, or found there.
//! Not here: making packs (`worker`).

use super::file::UNFINISHED;
use super::job::{Job, Packed, State};
use commands::keys::write_secret_file;
use domain::time::DAY_US;
use domain::{Position, Timestamp};
use parking_lot::{Condvar, Mutex};
use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// The folder in the data directory.
pub const FOLDER: &str = "evidence";
/// Packs of one account that may wait or be under way: a pack reads the ledger as fast as the disk gives it, and one is
/// made at a time.
pub const WAITING_PER_ACCOUNT_MAX: usize = 10;
/// Packs of all accounts that may wait: at minutes each, a night's work.
pub const WAITING_MAX: usize = 100;
/// Packs of one account whose files are kept at once; the oldest expires for a new one.
pub const KEPT_PER_ACCOUNT_MAX: usize = 50;
/// Packs of one account that are remembered; the oldest that are over are forgotten first. The ledger forgets none.
pub const REMEMBERED_PER_ACCOUNT_MAX: usize = 1_000;
/// How long a pack that failed or expired is remembered, days.
pub const REMEMBERED_DAYS: i64 = 90;
/// How often a pack is begun that a restart interrupts, before it is given up.
pub const STARTS_MAX: u32 = 3;
/// The largest file of a job, bytes: 32 recipients and room.
const JOB_BYTES_MAX: u64 = 256 << 10;

/// All of them.
pub struct Shelf {
    dir: PathBuf,
    inner: Mutex<Inner>,
    changed: Condvar,
}

#[derive(Default)]
struct Inner {
    /// By number, which is the order in which they were asked for.
    jobs: BTreeMap<u64, Job>,
    next: u64,
    /// When each account had its turn last, so that nobody waits for all that somebody else asked for.
    turns: BTreeMap<String, u64>,
    /// How many turns there were.
    turn: u64,
    /// The one under way: its number, entries done and in all.
    progress: Option<(u64, u64, u64)>,
    stopping: bool,
}

/// A job as it is told.
#[derive(Debug, Clone, PartialEq)]
pub struct Told {
    /// The job.
    pub job: Job,
    /// Entries looked through and in all, while it is made.
    pub progress: Option<(u64, u64)>,
}

/// Why nothing was taken on.
#[derive(Debug, thiserror::Error)]
pub enum AskError {
    /// Too many of this account wait.
    #[error(
        "{WAITING_PER_ACCOUNT_MAX} evidence packs of this account wait already: ask again when one is done"
    )]
    AccountBusy,
    /// Too many of all accounts wait.
    #[error("{WAITING_MAX} evidence packs wait already: ask again later")]
    Busy,
    /// The key was used for something else.
    #[error("this idempotency key was used for another request: use a new one")]
    OtherRequest,
    /// The disk.
    #[error("it could not be kept: {0}")]
    Io(#[from] io::Error),
    /// The service ends.
    #[error("the service is stopping")]
    Stopping,
}

impl Shelf {
    /// What is in the data directory.
    ///
    /// # Errors
    /// What the system says. A file of a job that cannot be read is passed over, and said in the log.
    pub fn open(data: &Path, now: Timestamp) -> io::Result<Self> {
        let dir = data.join(FOLDER);
        fs::DirBuilder::new().recursive(true).mode(0o700).create(&dir)?;
        let shelf = Self {
            dir,
            inner: Mutex::default(),
            changed: Condvar::new(),
        };
        shelf.restore(now)?;
        Ok(shelf)
    }

    fn restore(&self, now: Timestamp) -> io::Result<()> {
        let mut inner = self.inner.lock();
        let mut files = Vec::new();
        for found in fs::read_dir(&self.dir)? {
            let path = found?.path();
            if path.extension().is_some_and(|ending| ending == "json") {
                match read(&path) {
                    Ok(job) => _ = inner.jobs.insert(job.number, job),
                    Err(reason) => {
                        tracing::warn!(path = %path.display(), reason, "what was asked for is not known any more");
                    }
                }
            } else {
                files.push(path);
            }
        }
        inner.next = inner.jobs.keys().next_back().map_or(0, |last| last + 1);
        for job in inner.jobs.values_mut() {
            let there = self.dir.join(job.file_name()).exists();
            if let Some(state) = restored(job, there, now) {
                tracing::info!(
                    pack = job.id,
                    state = state.word(),
                    "an evidence pack was interrupted"
                );
                job.state = state;
                self.keep(job)?;
            }
        }
        for path in files {
            let name = path.file_name().map(|name| name.to_string_lossy().into_owned());
            let name = name.unwrap_or_default();
            let kept = inner
                .jobs
                .values()
                .any(|job| job.kept_bytes() > 0 && job.file_name() == name);
            if !kept || name.ends_with(UNFINISHED) {
                fs::remove_file(&path)?;
            }
        }
        Ok(())
    }

    /// Takes on a pack; the same one again where the same request was made with the same idempotency key. The job's
    /// number is set here. Whether it was there already.
    ///
    /// # Errors
    /// [`AskError`]; nothing was taken on then.
    pub fn ask(&self, mut job: Job) -> Result<(Told, bool), AskError> {
        let mut inner = self.inner.lock();
        if inner.stopping {
            return Err(AskError::Stopping);
        }
        if let Some(asked) = job.idempotency {
            let same =
                |it: &&Job| it.account == job.account && it.idempotency.is_some_and(|i| i.key == asked.key);
            if let Some(there) = inner.jobs.values().find(same) {
                let is_same = there.idempotency.is_some_and(|it| it.request == asked.request);
                let told = inner.told(there);
                return is_same.then_some((told, true)).ok_or(AskError::OtherRequest);
            }
        }
        let waits = |job: &&Job| !job.state.is_over();
        let of_account = |it: &&Job| it.account == job.account;
        if inner.jobs.values().filter(waits).filter(of_account).count() >= WAITING_PER_ACCOUNT_MAX {
            return Err(AskError::AccountBusy);
        }
        if inner.jobs.values().filter(waits).count() >= WAITING_MAX {
            return Err(AskError::Busy);
        }
        job.number = inner.next;
        self.keep(&job)?;
        inner.next += 1;
        let told = inner.told(&job);
        inner.jobs.insert(job.number, job);
        drop(inner);
        self.changed.notify_all();
        Ok((told, false))
    }

    /// One of an account's.
    pub fn one(&self, account: &str, id: &str) -> Option<Told> {
        let inner = self.inner.lock();
        let found = inner
            .jobs
            .values()
            .find(|job| job.id == id && job.account == account);
        found.map(|job| inner.told(job))
    }

    /// An account's, in the order in which they were asked for, after the cursor.
    pub fn list(&self, account: &str, after: Option<Position>) -> Vec<Told> {
        let inner = self.inner.lock();
        let from = after.map_or(0, |after| after.get() + 1);
        let own = inner.jobs.range(from..).map(|(_, job)| job);
        own.filter(|job| job.account == account)
            .map(|job| inner.told(job))
            .collect()
    }

    /// Where a job's file is or will be.
    pub fn path(&self, job: &Job) -> PathBuf {
        self.dir.join(job.file_name())
    }

    /// The folder, which has room for temporary files.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// Ends what is made now, and takes nothing on any more.
    pub fn stop(&self) {
        self.inner.lock().stopping = true;
        self.changed.notify_all();
    }

    /// Whether it was stopped.
    pub fn is_stopping(&self) -> bool {
        self.inner.lock().stopping
    }

    /// Waits; `false` where it was stopped meanwhile.
    pub(super) fn pause(&self, duration: Duration) -> bool {
        let until = Instant::now() + duration;
        let mut inner = self.inner.lock();
        while !inner.stopping && !self.changed.wait_until(&mut inner, until).timed_out() {}
        !inner.stopping
    }

    /// The next one to be made or recorded, once there is one: the oldest of the account that had no turn for the
    /// longest. `None` after that long, or where it was stopped.
    pub(super) fn next(&self, within: Duration) -> Option<Job> {
        let until = Instant::now() + within;
        let mut inner = self.inner.lock();
        loop {
            if inner.stopping {
                return None;
            }
            if let Some(job) = inner.in_turn() {
                return Some(job);
            }
            if self.changed.wait_until(&mut inner, until).timed_out() {
                return None;
            }
        }
    }

    /// How far the one under way is.
    pub(super) fn progress(&self, number: u64, done: u64, total: u64) {
        self.inner.lock().progress = Some((number, done, total));
    }

    /// What became of a job, on disk before anybody is told.
    pub(super) fn set(&self, mut job: Job) {
        let mut inner = self.inner.lock();
        if job.state.is_over() {
            job.reason_text = None;
            inner.progress = None;
        }
        if let Err(error) = self.keep(&job) {
            // After a restart it is as it was before, and is done again.
            tracing::warn!(%error, pack = job.id, "what became of an evidence pack could not be kept");
        }
        inner.jobs.insert(job.number, job);
    }

    /// Makes room for so many bytes of an account by letting packs expire; whether there is. Each account that keeps
    /// something has the same share: within it, nothing goes for another's sake. Its own oldest go first; what others
    /// have beyond their shares is lent to them, and goes where that is enough.
    pub(super) fn make_room(&self, account: &str, bytes: u64, bytes_max: u64, now: Timestamp) -> bool {
        let going = self.inner.lock().going(account, bytes, bytes_max);
        let Some(going) = going else { return false };
        for job in going {
            self.expire(job, now);
        }
        true
    }

    /// Lets expire and forgets what is due.
    pub(super) fn sweep(&self, now: Timestamp) {
        let jobs: Vec<Job> = self.inner.lock().jobs.values().cloned().collect();
        for job in &jobs {
            if matches!(&job.state, State::Ready { expires_at, .. } if *expires_at <= now) {
                self.expire(job.clone(), now);
            }
        }
        let mut per_account: BTreeMap<&str, usize> = BTreeMap::new();
        for job in jobs.iter().rev() {
            let count = per_account.entry(&job.account).or_default();
            *count += 1;
            let old = match &job.state {
                State::Failed { at, .. } | State::Expired { at, .. } => {
                    at.plus_micros(REMEMBERED_DAYS * DAY_US) <= now || *count > REMEMBERED_PER_ACCOUNT_MAX
                }
                _ => false,
            };
            if old {
                self.inner.lock().jobs.remove(&job.number);
                // It is read again after a restart, and forgotten again.
                let _ = fs::remove_file(self.record(job));
            }
        }
    }

    fn expire(&self, mut job: Job, now: Timestamp) {
        let State::Ready {
            pack, position, at, ..
        } = job.state
        else {
            return;
        };
        job.state = State::Expired {
            pack,
            position,
            ready_at: at,
            at: now,
        };
        tracing::info!(pack = job.id, "the file of an evidence pack was deleted");
        // Whoever reads that it expired finds no file; a stop in between is made good by the start, which looks for it.
        let path = self.path(&job);
        if let Err(error) = fs::remove_file(&path) {
            tracing::warn!(%error, path = %path.display(), "an expired evidence pack could not be removed");
        }
        self.set(job);
    }

    fn record(&self, job: &Job) -> PathBuf {
        self.dir.join(format!("{}.json", job.id))
    }

    fn keep(&self, job: &Job) -> io::Result<()> {
        let bytes = serde_json::to_vec(job).map_err(io::Error::other)?;
        write_secret_file(&self.record(job), &bytes)
    }
}

impl Inner {
    /// The next job in turn, whose account has its turn with it.
    fn in_turn(&mut self) -> Option<Job> {
        let waits = self.jobs.values().filter(|job| !job.state.is_over());
        let last = |job: &&Job| self.turns.get(&job.account).copied().unwrap_or_default();
        let job = waits.min_by_key(|job| (last(job), job.number))?.clone();
        self.turn += 1;
        self.turns.insert(job.account.clone(), self.turn);
        let jobs = &self.jobs;
        self.turns
            .retain(|account, _| jobs.values().any(|job| job.account == *account));
        Some(job)
    }

    /// The packs that expire for so many bytes of an account; `None` where there is no room, and nothing expires.
    fn going(&self, account: &str, bytes: u64, bytes_max: u64) -> Option<Vec<Job>> {
        let mut kept: BTreeMap<&str, u64> = BTreeMap::from([(account, 0)]);
        let mut ready: Vec<&Job> = Vec::new();
        for job in self.jobs.values().filter(|job| job.kept_bytes() > 0) {
            *kept.entry(&job.account).or_default() += job.kept_bytes();
            if matches!(job.state, State::Ready { .. }) {
                ready.push(job);
            }
        }
        let share = bytes_max / kept.len() as u64;
        let mut going = Vec::new();
        loop {
            let own = ready.iter().filter(|job| job.account == account).count();
            let fits = kept.values().sum::<u64>().saturating_add(bytes) <= bytes_max;
            if fits && own < KEPT_PER_ACCOUNT_MAX {
                return Some(going);
            }
            let beyond = |account: &str, more: u64| kept[account].saturating_add(more).saturating_sub(share);
            let of_own = |job: &&Job| job.account == account;
            let own_goes = own >= KEPT_PER_ACCOUNT_MAX || beyond(account, bytes) > 0;
            let lent = |job: &&Job| job.account != account && beyond(&job.account, 0) > 0;
            let most = |job: &&Job| (beyond(&job.account, 0), std::cmp::Reverse(job.number));
            let oldest = ready.iter().copied().find(of_own).filter(|_| own_goes);
            let next = oldest.or_else(|| ready.iter().copied().filter(lent).max_by_key(most))?;
            *kept.get_mut(&*next.account)? -= next.kept_bytes();
            ready.retain(|job| job.number != next.number);
            going.push(next.clone());
        }
    }

    fn told(&self, job: &Job) -> Told {
        let progress = self.progress.filter(|(number, ..)| *number == job.number);
        Told {
            job: job.clone(),
            progress: progress.map(|(_, done, total)| (done, total)),
        }
    }
}

/// The state that a job has after a restart, where it is another one.
fn restored(job: &Job, file_is_there: bool, now: Timestamp) -> Option<State> {
    match &job.state {
        State::Running if job.starts >= STARTS_MAX => Some(State::Failed {
            code: "interrupted".to_owned(),
            message: format!(
                "the service ended {STARTS_MAX} times while it was made: ask for less, or again"
            ),
            at: now,
        }),
        State::Running => Some(State::Queued),
        State::Made { .. } if !file_is_there => Some(State::Queued),
        State::Ready {
            pack, position, at, ..
        } if !file_is_there => Some(State::Expired {
            pack: Packed::clone(pack),
            position: *position,
            ready_at: *at,
            at: now,
        }),
        _ => None,
    }
}

fn read(path: &Path) -> Result<Job, String> {
    let size = fs::metadata(path).map_err(|error| error.to_string())?.len();
    if size > JOB_BYTES_MAX {
        return Err(format!("it is larger than {JOB_BYTES_MAX} bytes"));
    }
    let bytes = fs::read(path).map_err(|error| error.to_string())?;
    serde_json::from_slice(&bytes).map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;
    use chain_publisher::pack::{Counts, Query, Subject};
    use domain::{Date, Hash, TreeSize};

    fn at(s: i64) -> Timestamp {
        Timestamp::from_micros(1_800_000_000_000_000 + s * 1_000_000).expect("in range")
    }

    fn job(id: &str, account: &str) -> Job {
        let day = Date::parse("2026-05-17").expect("a day");
        Job {
            id: id.to_owned(),
            number: 0,
            account: account.to_owned(),
            user: "usr_a".to_owned(),
            auth: "token".to_owned(),
            token: None,
            request_id: None,
            reason_code: "stated".to_owned(),
            reason_text: Some("inspection".to_owned()),
            idempotency: None,
            query: Query::new(Subject::Device("dev_a".to_owned()), day, day).expect("a query"),
            recipients: Vec::new(),
            asked_at: at(0),
            starts: 0,
            state: State::Queued,
        }
    }

    fn ready(bytes: u64, expires_at: Timestamp) -> State {
        State::Ready {
            pack: Packed {
                bytes,
                sha256: Hash([1; 32]),
                manifest_sha256: Hash([2; 32]),
                counts: Counts::default(),
                values: 0,
                size: TreeSize(1),
                open_from: None,
                encrypted: None,
            },
            position: Position(7),
            at: at(0),
            expires_at,
        }
    }

    /// One that is ready, with its file.
    fn put(shelf: &Shelf, id: &str, account: &str, bytes: u64) -> Job {
        let (told, _) = shelf.ask(job(id, account)).expect("taken on");
        let job = Job {
            state: ready(bytes, at(100)),
            ..told.job
        };
        fs::write(shelf.path(&job), b"a pack").expect("written");
        shelf.set(job.clone());
        job
    }

    fn word(shelf: &Shelf, account: &str, id: &str) -> &'static str {
        shelf
            .one(account, id)
            .map_or("nothing", |told| told.job.state.word())
    }

    #[test]
    fn an_account_sees_its_own_and_may_have_so_many_wait() {
        let dir = tempfile::tempdir().expect("a directory");
        let shelf = Shelf::open(dir.path(), at(0)).expect("opens");
        for n in 0..WAITING_PER_ACCOUNT_MAX {
            shelf.ask(job(&format!("pck_{n}"), "acc_a")).expect("taken on");
        }
        assert!(matches!(
            shelf.ask(job("pck_x", "acc_a")),
            Err(AskError::AccountBusy)
        ));
        shelf.ask(job("pck_b", "acc_b")).expect("another account's");
        assert_eq!(shelf.list("acc_a", None).len(), WAITING_PER_ACCOUNT_MAX);
        assert_eq!(
            shelf.list("acc_a", Some(Position(3))).len(),
            WAITING_PER_ACCOUNT_MAX - 4
        );
        assert_eq!(
            (word(&shelf, "acc_a", "pck_b"), word(&shelf, "acc_b", "pck_b")),
            ("nothing", "queued")
        );
        assert_eq!(
            shelf.next(Duration::ZERO).map(|job| job.id),
            Some("pck_0".to_owned())
        );
        shelf.stop();
        assert!(shelf.next(Duration::ZERO).is_none());
        assert!(matches!(
            shelf.ask(job("pck_y", "acc_c")),
            Err(AskError::Stopping)
        ));
    }

    #[test]
    fn a_restart_goes_on_with_what_was_interrupted_and_gives_up_after_a_few() {
        let dir = tempfile::tempdir().expect("a directory");
        let shelf = Shelf::open(dir.path(), at(0)).expect("opens");
        let running = |id: &str, starts| {
            let (told, _) = shelf.ask(job(id, "acc_a")).expect("taken on");
            shelf.set(Job {
                starts,
                state: State::Running,
                ..told.job
            });
        };
        running("pck_once", 1);
        running("pck_often", STARTS_MAX);
        let lost = put(&shelf, "pck_lost", "acc_a", 6);
        fs::remove_file(shelf.path(&lost)).expect("removed");
        put(&shelf, "pck_ready", "acc_a", 6);
        fs::write(dir.path().join(FOLDER).join("pck_bad.json"), b"{").expect("written");
        drop(shelf);
        let shelf = Shelf::open(dir.path(), at(1)).expect("opens");
        for (id, state) in [
            ("pck_once", "queued"),
            ("pck_often", "failed"),
            ("pck_lost", "expired"),
            ("pck_ready", "ready"),
        ] {
            assert_eq!(word(&shelf, "acc_a", id), state, "{id}");
        }
        let (again, _) = shelf.ask(job("pck_new", "acc_a")).expect("taken on");
        assert_eq!(again.job.number, 4, "numbers go on");
        let told = shelf.one("acc_a", "pck_ready").expect("remembered");
        assert_eq!(told.job.reason_text, None, "words are kept no longer than needed");
    }

    #[test]
    fn accounts_are_served_in_turn_whoever_asked_for_how_many() {
        let dir = tempfile::tempdir().expect("a directory");
        let shelf = Shelf::open(dir.path(), at(0)).expect("opens");
        for (id, account) in [
            ("pck_a1", "acc_a"),
            ("pck_a2", "acc_a"),
            ("pck_a3", "acc_a"),
            ("pck_b1", "acc_b"),
            ("pck_b2", "acc_b"),
            ("pck_c1", "acc_c"),
        ] {
            shelf.ask(job(id, account)).expect("taken on");
        }
        let another = |id: &str| job(id, "acc_a");
        let mut order = Vec::new();
        while let Some(job) = shelf.next(Duration::ZERO) {
            order.push(job.id.clone());
            shelf.set(Job {
                state: ready(1, at(100)),
                ..job
            });
            // Whoever asks again and again for one at a time does not come before those who wait.
            if order.len() == 1 {
                shelf.ask(another("pck_a4")).expect("taken on");
            }
        }
        assert_eq!(
            order,
            [
                "pck_a1", "pck_b1", "pck_c1", "pck_a2", "pck_b2", "pck_a3", "pck_a4"
            ]
        );
    }

    #[test]
    fn an_accounts_share_is_its_own_and_what_others_have_beyond_theirs_is_lent() {
        let dir = tempfile::tempdir().expect("a directory");
        let shelf = Shelf::open(dir.path(), at(0)).expect("opens");
        let there = |account: &str, ids: &[&str]| -> Vec<&'static str> {
            ids.iter().map(|id| word(&shelf, account, id)).collect()
        };
        for id in ["pck_a1", "pck_a2", "pck_a3"] {
            put(&shelf, id, "acc_a", 30);
        }
        // One account has nearly all of it; another's share is half.
        assert!(!shelf.make_room("acc_b", 101, 100, at(1)), "more than there is");
        assert_eq!(there("acc_a", &["pck_a1", "pck_a2", "pck_a3"]), ["ready"; 3]);
        assert!(shelf.make_room("acc_b", 50, 100, at(1)));
        assert_eq!(
            there("acc_a", &["pck_a1", "pck_a2", "pck_a3"]),
            ["expired", "expired", "ready"]
        );
        put(&shelf, "pck_b1", "acc_b", 50);
        // Whoever has its share takes of its own.
        assert!(shelf.make_room("acc_b", 50, 100, at(1)));
        assert_eq!(
            (there("acc_a", &["pck_a3"]), there("acc_b", &["pck_b1"])),
            (vec!["ready"], vec!["expired"])
        );
        // What is within a share goes for nobody.
        assert!(!shelf.make_room("acc_b", 71, 100, at(1)));
        assert_eq!(there("acc_a", &["pck_a3"]), ["ready"]);
    }

    #[test]
    fn what_is_due_expires_and_what_needs_room_lets_only_its_own_go() {
        let dir = tempfile::tempdir().expect("a directory");
        let shelf = Shelf::open(dir.path(), at(0)).expect("opens");
        let old = put(&shelf, "pck_1", "acc_a", 40);
        put(&shelf, "pck_2", "acc_b", 40);
        assert!(shelf.make_room("acc_a", 60, 100, at(1)));
        assert_eq!(
            (word(&shelf, "acc_a", "pck_1"), word(&shelf, "acc_b", "pck_2")),
            ("expired", "ready")
        );
        assert!(!shelf.path(&old).exists());
        assert!(
            !shelf.make_room("acc_a", 61, 100, at(1)),
            "another account's stays"
        );
        shelf.sweep(at(99));
        assert_eq!(word(&shelf, "acc_b", "pck_2"), "ready");
        shelf.sweep(at(100));
        assert_eq!(word(&shelf, "acc_b", "pck_2"), "expired");
        shelf.sweep(at(101 + REMEMBERED_DAYS * 86_400));
        assert_eq!(word(&shelf, "acc_b", "pck_2"), "nothing");
        let left = fs::read_dir(dir.path().join(FOLDER)).expect("listed").count();
        assert_eq!(left, 0);
    }
}
