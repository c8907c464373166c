//! A Git repository with a commit a day: the head, and the checkpoint under which it is proven.
//!
//! `git` itself does it, with no shell between. A commit may be signed with an SSH key, and pushed.
//! Invariants: only files of ours are added; a day that is there already makes no commit but is pushed again; `git`
//! never asks anybody anything; one that hangs is ended.
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
        let mut child = command.spawn().map_err(|error| failed(error.to_string()))?;
        let until = Instant::now() + GIT_WITHIN;
        let status = loop {
            if let Some(status) = child.try_wait().map_err(|error| failed(error.to_string()))? {
                break status;
            }
            if give_up() {
                end(&mut child);
                return Err(PublishError::GivenUp);
            }
            if Instant::now() > until {
                end(&mut child);
                return Err(failed(format!("not done within {} s", GIT_WITHIN.as_secs())));
            }
            std::thread::sleep(LOOK);
        };
        if !status.success() {
            return Err(failed(format!(
                "it ended with {status}; run it by hand in that directory"
            )));
        }
        let mut printed = String::new();
        output
            .seek(SeekFrom::Start(0))
            .and_then(|_| output.take(PRINTED_MAX).read_to_string(&mut printed))
            .map_err(|error| failed(error.to_string()))?;
        Ok(printed)
    }

    fn begin(&self, give_up: GiveUp<'_>) -> Result<(), PublishError> {
        std::fs::create_dir_all(&self.dir)
            .map_err(|error| PublishError::Failed(format!("{}: {error}", self.dir.display())))?;
        if self.dir.join(".git").exists() {
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

/// Ends `git` and what it started: an answer that never comes is waited for by a child of its own.
fn end(child: &mut Child) {
    #[cfg(unix)]
    {
        let group = format!("-{}", child.id());
        // It may have ended meanwhile.
        let _ = Command::new("kill").args(["-KILL", "--", &group]).status();
    }
    let _ = child.kill();
    let _ = child.wait();
}
