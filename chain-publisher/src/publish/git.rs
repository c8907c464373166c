//! A Git repository with a commit a day: the head, and the checkpoint under which it is proven.
//!
//! `git` itself does it, with no shell between. A commit may be signed with an SSH key, and pushed.
//! Invariants: only files of ours are added; a day that is there already makes no commit but is pushed again; `git`
//! never asks anybody anything; one that hangs is ended.
//! Not here: serving the repository.

use super::{Channel, Publication, PublishError};
use crate::layout::{CHECKPOINT, head_path};
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
/// What of a command is named in an error.
const VERBS: [&str; 6] = ["init", "add", "diff", "commit", "push", "log"];

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
    fn git(&self, args: &[&str]) -> Result<String, PublishError> {
        let what = args
            .iter()
            .find(|arg| VERBS.contains(arg))
            .copied()
            .unwrap_or("git");
        let failed = |why: String| PublishError(format!("git {what}: {why}"));
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

    fn begin(&self) -> Result<(), PublishError> {
        std::fs::create_dir_all(&self.dir)
            .map_err(|error| PublishError(format!("{}: {error}", self.dir.display())))?;
        if self.dir.join(".git").exists() {
            return Ok(());
        }
        self.git(&["init", "--quiet", "--initial-branch=main"])
            .map(|_| ())
    }

    fn put(&self, name: &str, bytes: &[u8]) -> Result<(), PublishError> {
        crate::export::replace(&self.dir, name, bytes).map_err(|error| PublishError(error.to_string()))
    }

    /// Whether the checkpoint that is there is a later one: a day that goes out once more must not look like a way back.
    fn has_later(&self, size: TreeSize) -> bool {
        std::fs::read(self.dir.join(CHECKPOINT))
            .ok()
            .and_then(|bytes| SignedCheckpoint::parse(&bytes).ok())
            .is_some_and(|there| there.checkpoint().size() > size)
    }

    fn commit(&self, publication: &Publication<'_>, path: &str) -> Result<(), PublishError> {
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
        args.extend(["--only", "--", path, CHECKPOINT]);
        self.git(&args).map(|_| ())
    }
}

impl Channel for GitRepository {
    fn publish(&mut self, publication: &Publication<'_>) -> Result<(), PublishError> {
        let head = TlogProof::parse(publication.head).map_err(|error| PublishError(error.to_string()))?;
        self.begin()?;
        let path = head_path(publication.date);
        self.put(&path, publication.head)?;
        if !self.has_later(head.size()) {
            self.put(CHECKPOINT, head.checkpoint.encode().as_bytes())?;
        }
        self.git(&["add", "--", &path, CHECKPOINT])?;
        let staged = self.git(&["diff", "--cached", "--name-only", "--", &path, CHECKPOINT])?;
        if !staged.trim().is_empty() {
            self.commit(publication, &path)?;
        }
        match &self.push {
            Some(remote) => self
                .git(&["push", "--quiet", "--", remote, "HEAD:refs/heads/main"])
                .map(|_| ()),
            None => Ok(()),
        }
    }
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
