//! A real `daybook publish` that holds the log key of a service beside it: started, killed, started again.
//!
//! Its directory is `publisher` in a scratch directory, of the service `data`; a directory `static` is its one channel.
//! Invariants: nothing but loopback; the process never outlives the value; what it said is kept.
//! Not here: the service (`daybook`).

use crate::PATIENCE;
use crate::daybook::binary;
use domain::note::VerifierKey;
use std::fmt::Write as _;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

/// The ledger that it signs for.
pub const ORIGIN: &str = "log.example/main";
/// What it says once it runs.
const RUNNING: &str = "daybook publish is running";

/// A publisher's directory, and its process while one runs.
pub struct Publisher {
    scratch: PathBuf,
    child: Option<Child>,
    said: Arc<Mutex<String>>,
}

impl Publisher {
    /// One with a key, which does not run yet.
    ///
    /// # Panics
    /// With what it said, where it shows no key.
    pub fn new(scratch: &Path) -> (Self, VerifierKey) {
        Self::with(scratch, "")
    }

    /// As [`Publisher::new`], with these settings (TOML) before those of its channel.
    ///
    /// # Panics
    /// With what it said, where it shows no key.
    pub fn with(scratch: &Path, settings: &str) -> (Self, VerifierKey) {
        let publisher = Self {
            scratch: scratch.to_owned(),
            child: None,
            said: Arc::default(),
        };
        publisher.set(settings);
        let key = publisher.key();
        (publisher, key)
    }

    /// Other settings from the next start on.
    ///
    /// # Panics
    /// Where they cannot be written.
    pub fn set(&self, settings: &str) {
        let settings = format!(
            "publish_retry_s = 1\n{settings}\n[[publish]]\nto = \"directory\"\nname = \"static\"\npath = \"{}\"\n",
            self.scratch.join("static").display()
        );
        std::fs::write(self.scratch.join("publish.toml"), settings).expect("written");
    }

    /// The key that it signs with, as it shows it while it does not run.
    ///
    /// # Panics
    /// With what it said, where it shows none.
    pub fn key(&self) -> VerifierKey {
        let shown = self.command().arg("--show-key").output().expect("it runs");
        assert!(
            shown.status.success(),
            "{}",
            String::from_utf8_lossy(&shown.stderr)
        );
        let key = String::from_utf8(shown.stdout).expect("text");
        VerifierKey::parse(key.trim()).expect("a key")
    }

    /// What runs it in its directory.
    pub fn command(&self) -> Command {
        let mut command = Command::new(binary());
        command
            .args(["publish", "--origin", ORIGIN, "--dir"])
            .arg(self.dir())
            .arg("--anchor")
            .arg(self.scratch.join("publisher-anchor"))
            .stdin(Stdio::null());
        command
    }

    /// Its directory.
    pub fn dir(&self) -> PathBuf {
        self.scratch.join("publisher")
    }

    /// Starts it.
    ///
    /// # Panics
    /// With what it said, where it does not come up.
    pub fn start(&mut self) {
        assert!(self.child.is_none(), "it still runs");
        let mut child = self
            .command()
            .arg("--data")
            .arg(self.scratch.join("data"))
            .arg("--config")
            .arg(self.scratch.join("publish.toml"))
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .expect("it runs");
        let lines = BufReader::new(child.stderr.take().expect("stderr is piped")).lines();
        let (kept, (send, up)) = (Arc::clone(&self.said), std::sync::mpsc::channel());
        // It is read to its end, so that a full pipe never stops it.
        std::thread::spawn(move || {
            for line in lines.map_while(Result::ok) {
                let _ = writeln!(kept.lock().expect("not poisoned"), "{line}");
                if line == RUNNING {
                    let _ = send.send(());
                }
            }
        });
        self.child = Some(child);
        assert!(
            up.recv_timeout(PATIENCE).is_ok(),
            "it does not come up: {}",
            self.said()
        );
    }

    /// SIGKILL: no code of it runs any more.
    ///
    /// # Panics
    /// Where it does not run.
    pub fn kill9(&mut self) {
        let mut child = self.child.take().expect("it runs");
        child.kill().expect("killed");
        child.wait().expect("ended");
    }

    /// SIGTERM, and how it ended.
    ///
    /// # Panics
    /// Where it does not run.
    pub fn stop(&mut self) -> Option<i32> {
        let pid = self.child.as_ref().expect("it runs").id().to_string();
        let sent = Command::new("kill").args(["-TERM", &pid]).status();
        assert!(sent.expect("kill runs").success());
        self.ended()
    }

    /// Whether it still runs.
    ///
    /// # Panics
    /// Where it was not started.
    pub fn runs(&mut self) -> bool {
        let child = self.child.as_mut().expect("it was started");
        child.try_wait().expect("asked").is_none()
    }

    /// How it ended by itself; `None` where it does not.
    ///
    /// # Panics
    /// Where it was not started.
    pub fn ended(&mut self) -> Option<i32> {
        let mut child = self.child.take().expect("it was started");
        let began = Instant::now();
        while began.elapsed() < PATIENCE {
            if let Some(status) = child.try_wait().expect("asked") {
                return status.code();
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        let _ = child.kill();
        let _ = child.wait();
        None
    }

    /// Everything that it ever said on stderr.
    ///
    /// # Panics
    /// Where a test broke it.
    pub fn said(&self) -> String {
        self.said.lock().expect("not poisoned").clone()
    }
}

impl Drop for Publisher {
    fn drop(&mut self) {
        if self.child.is_some() {
            self.kill9();
        }
    }
}
