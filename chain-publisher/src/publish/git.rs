//! A Git repository with a commit a day: the head, and the checkpoint under which it is proven.
//!
//! `git` itself does it, with no shell between. A commit may be signed with an SSH key, and pushed.
//! Invariants: only files of ours are added; a day that is there already makes no commit but is pushed again; `git`
//! never asks anybody anything; one that hangs is ended.
//! Not here: serving the repository.

use super::{Channel, Publication, PublishError};
use crate::layout::{CHECKPOINT, head_path};
use domain::tlog_proof::TlogProof;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// How long one call of `git` may take; a push over a slow line is the longest.
const GIT_WITHIN: Duration = Duration::from_secs(60);
/// How often it is looked whether it has ended.
const LOOK: Duration = Duration::from_millis(20);
/// Characters of what `git` says that are passed on.
const SAID_MAX: usize = 500;

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

    fn git(&self, args: &[&str]) -> Result<String, PublishError> {
        let failed = |what: String| PublishError(format!("git {}: {what}", args[0]));
        let mut child = Command::new("git")
            .arg("-C")
            .arg(&self.dir)
            .args(args)
            .env("GIT_TERMINAL_PROMPT", "0")
            .env("GIT_SSH_COMMAND", "ssh -o BatchMode=yes")
            .env("LC_ALL", "C")
            .env_remove("GIT_DIR")
            .env_remove("GIT_WORK_TREE")
            .env_remove("GIT_INDEX_FILE")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .map_err(|error| failed(error.to_string()))?;
        let until = Instant::now() + GIT_WITHIN;
        // What it says fits a pipe: every call below is a quiet one.
        while child
            .try_wait()
            .map_err(|error| failed(error.to_string()))?
            .is_none()
        {
            if Instant::now() > until {
                let _ = child.kill();
                let _ = child.wait();
                return Err(failed(format!("not done within {} s", GIT_WITHIN.as_secs())));
            }
            std::thread::sleep(LOOK);
        }
        let output = child
            .wait_with_output()
            .map_err(|error| failed(error.to_string()))?;
        if !output.status.success() {
            let said: String = String::from_utf8_lossy(&output.stderr)
                .trim()
                .chars()
                .take(SAID_MAX)
                .collect();
            return Err(failed(without_credentials(&said)));
        }
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
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

    fn commit(&self, publication: &Publication<'_>) -> Result<(), PublishError> {
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
        self.git(&args).map(|_| ())
    }
}

impl Channel for GitRepository {
    fn publish(&mut self, publication: &Publication<'_>) -> Result<(), PublishError> {
        let head = TlogProof::parse(publication.head).map_err(|error| PublishError(error.to_string()))?;
        self.begin()?;
        let path = head_path(publication.date);
        self.put(&path, publication.head)?;
        self.put(CHECKPOINT, head.checkpoint.encode().as_bytes())?;
        self.git(&["add", "--", &path, CHECKPOINT])?;
        let staged = self.git(&["status", "--porcelain", "--untracked-files=no"])?;
        if !staged.trim().is_empty() {
            self.commit(publication)?;
        }
        match &self.push {
            Some(remote) => self
                .git(&["push", "--quiet", "--", remote, "HEAD:refs/heads/main"])
                .map(|_| ()),
            None => Ok(()),
        }
    }
}

/// What `git` says, without the user and password that a URL in it may carry.
fn without_credentials(said: &str) -> String {
    said.split(' ')
        .map(|word| match (word.find("://"), word.find('@')) {
            (Some(scheme), Some(at)) if at > scheme => {
                format!("{}://[redacted]{}", &word[..scheme], &word[at..])
            }
            _ => word.to_owned(),
        })
        .collect::<Vec<_>>()
        .join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_password_in_a_url_is_not_passed_on() {
        assert_eq!(
            without_credentials("fatal: unable to access 'https://me:secret@example.org/x.git/': no"),
            "fatal: unable to access 'https://[redacted]@example.org/x.git/': no"
        );
        assert_eq!(
            without_credentials("mail log@example.org now"),
            "mail log@example.org now"
        );
    }
}
