//! A Git repository with a commit a day: the head, and the checkpoint under which it is proven.
//!
//! `git` itself does it, with no shell between. A commit may be signed with an SSH key, and pushed.
//! Invariants: only files of ours are added; a day that is there already makes no commit but is pushed again; `git`
//! never asks anybody anything; one that hangs is ended. A lock that `git` left when it was ended, or when the machine was
//! switched off, does not keep later days back.
//! Not here: serving the repository.

use super::{Channel, Publication, PublishError};
use crate::layout::{CHECKPOINT, consistency_path, head_path, late_path};
use crate::source::SourceError;
use domain::TreeSize;
use domain::checkpoint::SignedCheckpoint;
use domain::tlog_proof::TlogProof;
use std::io::{Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// How long one call of `git` may take; a push over a slow line is the longest.
const GIT_WITHIN: Duration = Duration::from_secs(30);
/// How long `git` may take to put its locks away when it is to end.
#[cfg(unix)]
const GOODBYE_WITHIN: Duration = Duration::from_secs(5);
/// A lock as old as this is nobody's: no call of ours lives so long, and by hand one rarely does.
const LOCK_STALE: Duration = Duration::from_secs(600);
/// How often it is looked whether it has ended.
const LOOK: Duration = Duration::from_millis(20);
/// Bytes of what `git` prints that are read.
const PRINTED_MAX: u64 = 64 << 10;
/// Days that are looked through for late proofs: as many as witnesses are still asked about.
const LATE_DAYS: usize = 31;
/// What of a command is named in an error.
const VERBS: [&str; 6] = ["init", "add", "diff", "commit", "push", "log"];

/// Whether to end what runs.
type GiveUp<'a> = &'a (dyn Fn() -> bool + Sync);

/// A repository.
pub struct GitRepository {
    dir: PathBuf,
    signing_key: Option<PathBuf>,
    push: Option<String>,
}

impl GitRepository {
    /// In `dir`, made where there is none. `signing_key` is a file with an SSH key; `push` a remote's name or URL.
    pub fn new(dir: &Path, signing_key: Option<&Path>, push: Option<&str>) -> Self {
        Self {
            dir: dir.to_owned(),
            signing_key: signing_key.map(Path::to_owned),
            push: push.map(str::to_owned),
        }
    }

    /// Runs `git`; what it printed. Its words of an error may hold a remote's address and whatever the remote says, so
    /// they are not passed on.
    fn git(&self, give_up: GiveUp<'_>, args: &[&str]) -> Result<String, PublishError> {
        let what = args
            .iter()
            .find(|arg| VERBS.contains(arg))
            .copied()
            .unwrap_or("git");
        let failed = |why: String| PublishError::Failed(format!("git {what}: {why}"));
        let mut output = tempfile::tempfile().map_err(|error| failed(error.to_string()))?;
        let stdout = output.try_clone().map_err(|error| failed(error.to_string()))?;
        let mut command = Command::new("git");
        command
            .arg("-C")
            .arg(&self.dir)
            .args(["-c", "core.hooksPath=/dev/null"])
            .args(args)
            .env("GIT_TERMINAL_PROMPT", "0")
            .env("GIT_SSH_COMMAND", "ssh -o BatchMode=yes -o ControlMaster=no")
            .env("LC_ALL", "C")
            .env_remove("GIT_DIR")
            .env_remove("GIT_WORK_TREE")
            .env_remove("GIT_INDEX_FILE")
            .stdin(Stdio::null())
            // A file does not fill as a pipe does, and nobody who keeps it open is waited for.
            .stdout(stdout)
            .stderr(Stdio::null());
        #[cfg(unix)]
        std::os::unix::process::CommandExt::process_group(&mut command, 0);
        let others = self.locks();
        let end = |mut child: Child| {
            end(&mut child);
            // Killed, it could not put away what it had locked.
            self.unlock(|lock| others.iter().all(|other| other != lock));
        };
        let mut child = command.spawn().map_err(|error| failed(error.to_string()))?;
        let until = Instant::now() + GIT_WITHIN;
        let status = loop {
            if let Some(status) = child.try_wait().map_err(|error| failed(error.to_string()))? {
                break status;
            }
            if give_up() {
                end(child);
                return Err(PublishError::GivenUp);
            }
            if Instant::now() > until {
                end(child);
                return Err(failed(format!("not done within {} s", GIT_WITHIN.as_secs())));
            }
            std::thread::sleep(LOOK);
        };
        if !status.success() {
            let why = match self.locks().first() {
                Some(lock) => format!(
                    "it ended with {status}; {} is there: another git runs in that directory, or one did not end well, \
                     and then it is removed {} min after it was made",
                    lock.display(),
                    LOCK_STALE.as_secs() / 60
                ),
                None => format!("it ended with {status}; run it by hand in that directory"),
            };
            return Err(failed(why));
        }
        let mut printed = String::new();
        output
            .seek(SeekFrom::Start(0))
            .and_then(|_| output.take(PRINTED_MAX).read_to_string(&mut printed))
            .map_err(|error| failed(error.to_string()))?;
        Ok(printed)
    }

    /// The locks that hold up a commit: of the index, of HEAD and of the branches.
    fn locks(&self) -> Vec<PathBuf> {
        let repository = self.dir.join(".git");
        let listed = [repository.join("refs/heads"), repository];
        let files = listed.iter().filter_map(|dir| std::fs::read_dir(dir).ok());
        files
            .flatten()
            .filter_map(|file| Some(file.ok()?.path()))
            .filter(|path| path.extension().is_some_and(|end| end == "lock"))
            .collect()
    }

    fn unlock(&self, is_nobodys: impl Fn(&Path) -> bool) {
        for lock in self.locks().iter().filter(|lock| is_nobodys(lock)) {
            // One that stays is named by the error of what it holds up.
            let _ = std::fs::remove_file(lock);
        }
    }

    /// Whether a file has not been changed for as long as no `git` lives.
    fn is_stale(path: &Path) -> bool {
        let changed = std::fs::metadata(path).and_then(|file| file.modified());
        changed.is_ok_and(|at| at.elapsed().is_ok_and(|age| age > LOCK_STALE))
    }

    fn begin(&self, give_up: GiveUp<'_>) -> Result<(), PublishError> {
        std::fs::create_dir_all(&self.dir)
            .map_err(|error| PublishError::Failed(format!("{}: {error}", self.dir.display())))?;
        self.unlock(Self::is_stale);
        let repository = self.dir.join(".git");
        // One that was ended while it was made has no HEAD, and is made to the end.
        if repository.is_file() || repository.join("HEAD").exists() {
            return Ok(());
        }
        self.git(give_up, &["init", "--quiet", "--initial-branch=main"])
            .map(|_| ())
    }

    fn put(&self, name: &str, bytes: &[u8]) -> Result<(), PublishError> {
        crate::export::replace(&self.dir, name, bytes)
            .map_err(|error| PublishError::Failed(error.to_string()))
    }

    /// Whether the checkpoint that is there is a later one: a day that goes out once more must not look like a way back.
    fn has_later(&self, size: TreeSize) -> bool {
        std::fs::read(self.dir.join(CHECKPOINT))
            .ok()
            .and_then(|bytes| SignedCheckpoint::parse(&bytes).ok())
            .is_some_and(|there| there.checkpoint().size() > size)
    }

    fn commit(&self, publication: &Publication<'_>, paths: &[&str]) -> Result<(), PublishError> {
        let message = format!(
            "Head of {}: {} entries\n\nLog: {}\n",
            publication.date, publication.size, publication.origin
        );
        let author = format!("user.name={}", publication.origin);
        let mut args = vec!["-c", &author, "-c", "user.email=log@daybook.invalid"];
        let key;
        if let Some(path) = &self.signing_key {
            key = format!("user.signingkey={}", path.display());
            args.extend(["-c", "gpg.format=ssh", "-c", &key]);
        }
        args.extend(["commit", "--quiet", "--no-verify", "--message", &message]);
        args.push(if self.signing_key.is_some() {
            "--gpg-sign"
        } else {
            "--no-gpg-sign"
        });
        // What somebody else has staged there is theirs.
        args.extend(["--only", "--"]);
        args.extend(paths);
        self.git(publication.give_up, &args).map(|_| ())
    }
}

impl Channel for GitRepository {
    fn publish(&mut self, publication: &Publication<'_>) -> Result<(), PublishError> {
        let head =
            TlogProof::parse(publication.head).map_err(|error| PublishError::Failed(error.to_string()))?;
        let give_up = publication.give_up;
        self.begin(give_up)?;
        let (path, consistency) = (head_path(publication.date), consistency_path(publication.date));
        let mut paths = vec![&*path, CHECKPOINT];
        self.put(&path, publication.head)?;
        if let Some(body) = publication.consistency {
            self.put(&consistency, body)?;
            paths.push(&consistency);
        }
        let late = late_heads(publication)?;
        for (path, bytes) in &late {
            self.put(path, bytes)?;
            paths.push(path);
        }
        if !self.has_later(head.size()) {
            self.put(CHECKPOINT, head.checkpoint.encode().as_bytes())?;
        }
        let with = |verb: &[&'static str]| -> Vec<&str> {
            verb.iter().copied().chain(paths.iter().copied()).collect()
        };
        self.git(give_up, &with(&["add", "--"]))?;
        let staged = self.git(give_up, &with(&["diff", "--cached", "--name-only", "--"]))?;
        if !staged.trim().is_empty() {
            self.commit(publication, &paths)?;
        }
        match &self.push {
            Some(remote) => self
                .git(
                    give_up,
                    &["push", "--quiet", "--", remote, "HEAD:refs/heads/main"],
                )
                .map(|_| ()),
            None => Ok(()),
        }
    }
}

/// The days of the last month that are proven under a later checkpoint: witnesses may come after a head is out, so what
/// they brought goes along with the next one.
fn late_heads(publication: &Publication<'_>) -> Result<Vec<(String, Vec<u8>)>, PublishError> {
    let failed = |error: SourceError| PublishError::Failed(error.to_string());
    let dates = publication.source.head_dates().map_err(failed)?;
    let mut late = Vec::new();
    for date in dates
        .into_iter()
        .filter(|date| *date <= publication.date)
        .rev()
        .take(LATE_DAYS)
    {
        if let Some(bytes) = publication.source.late_head(date).map_err(failed)? {
            late.push((late_path(date), bytes));
        }
    }
    Ok(late)
}

/// Ends `git` and what it started: an answer that never comes is waited for by a child of its own. It is
/// asked first, so that it puts away what it has begun.
fn end(child: &mut Child) {
    #[cfg(unix)]
    {
        let group = format!("-{}", child.id());
        // It may have ended meanwhile.
        let signal = |name: &str| {
            let _ = Command::new("kill").args([name, "--", &group]).status();
        };
        signal("-TERM");
        let until = Instant::now() + GOODBYE_WITHIN;
        while Instant::now() < until {
            if matches!(child.try_wait(), Ok(Some(_))) {
                // What it had started and left behind.
                signal("-KILL");
                return;
            }
            std::thread::sleep(LOOK);
        }
        signal("-KILL");
    }
    let _ = child.kill();
    let _ = child.wait();
}

#[cfg(all(test, unix))]
mod tests {
    use super::*;
    use std::fs::{self, File};
    use std::os::unix::fs::PermissionsExt;
    use std::time::SystemTime;

    const NAMED: [&str; 4] = ["-c", "user.name=log", "-c", "user.email=log@daybook.invalid"];

    fn repository() -> (tempfile::TempDir, GitRepository) {
        let dir = tempfile::tempdir().expect("a scratch directory");
        let repository = GitRepository::new(&dir.path().join("heads"), None, None);
        repository.begin(&|| false).expect("made");
        fs::write(repository.dir.join("head"), "one").expect("written");
        repository.git(&|| false, &["add", "--", "head"]).expect("added");
        (dir, repository)
    }

    fn commit(repository: &GitRepository) -> Result<String, PublishError> {
        let args = [&NAMED[..], &["commit", "--quiet", "--message", "Head"]].concat();
        repository.git(&|| false, &args)
    }

    #[test]
    fn a_git_that_is_ended_in_the_middle_leaves_no_lock_behind() {
        let (scratch, repository) = repository();
        let (signer, lock) = (
            scratch.path().join("signer"),
            repository.dir.join(".git/index.lock"),
        );
        fs::write(&signer, "#!/bin/sh\nsleep 600\n").expect("written");
        fs::set_permissions(&signer, fs::Permissions::from_mode(0o755)).expect("may run");
        let program = format!("gpg.ssh.program={}", signer.display());
        let signed = [
            "-c",
            "gpg.format=ssh",
            "-c",
            "user.signingkey=key::none",
            "-c",
            &program,
        ];
        let verb = [
            "commit",
            "--gpg-sign",
            "--message",
            "Head",
            "--only",
            "--",
            "head",
        ];
        let args = [&NAMED[..], &signed[..], &verb[..]].concat();
        let ended = repository.git(&|| lock.exists(), &args);
        assert!(matches!(ended, Err(PublishError::GivenUp)), "{ended:?}");
        assert_eq!(repository.locks(), Vec::<PathBuf>::new());
        commit(&repository).expect("the next one finds nothing in its way");
    }

    #[test]
    fn a_lock_of_somebody_who_may_live_is_named_and_one_of_nobody_is_removed() {
        let (_scratch, repository) = repository();
        let lock = repository.dir.join(".git/index.lock");
        let file = File::create(&lock).expect("made");
        repository.begin(&|| false).expect("there");
        let refused = commit(&repository).expect_err("it is locked").to_string();
        assert!(refused.contains("index.lock is there"), "{refused}");
        let long_ago = SystemTime::now() - 2 * LOCK_STALE;
        file.set_modified(long_ago).expect("an old one");
        repository.begin(&|| false).expect("there");
        assert!(!lock.exists());
        commit(&repository).expect("nothing is in its way");
    }

    #[test]
    fn a_repository_that_was_not_made_to_its_end_is_made_again() {
        let dir = tempfile::tempdir().expect("a scratch directory");
        fs::create_dir_all(dir.path().join(".git/refs")).expect("half of one");
        let repository = GitRepository::new(dir.path(), None, None);
        repository.begin(&|| false).expect("made");
        fs::write(dir.path().join("head"), "one").expect("written");
        repository.git(&|| false, &["add", "--", "head"]).expect("added");
        commit(&repository).expect("committed");
    }
}
