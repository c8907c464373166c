//! A real `daybook witness` in a directory of its own, and a log in memory whose checkpoints are offered to it.
//!
//! Invariants: nothing but loopback; the process never outlives the value; the log shares no code with the witness
//! beyond the formats.
//! Not here: what is offered (`tests/it/witness`).

use crate::PATIENCE;
use crate::daybook::binary;
use domain::Hash;
use domain::TreeSize;
use domain::add_checkpoint::AddCheckpoint;
use domain::checkpoint::{Checkpoint, SignedCheckpoint};
use domain::hash::leaf_hash;
use domain::merkle::{Frontier, MemoryNodes};
use domain::note::{SigningKey, VerifierKey};
use domain::proof::consistency_proof;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};

/// What it says once it listens.
const LISTENING: &str = "daybook witness is listening on ";

/// A log of numbered entries.
pub struct NumberLog {
    /// What signs its checkpoints.
    pub key: SigningKey,
    nodes: MemoryNodes,
}

impl NumberLog {
    /// A log with so many entries to come, which are numbers from `first` on.
    ///
    /// # Panics
    /// Where the origin cannot name a key.
    pub fn new(origin: &str, first: u64, entries: u64) -> Self {
        let leaves: Vec<Hash> = (first..first + entries)
            .map(|n| leaf_hash(&n.to_be_bytes()))
            .collect();
        Self {
            key: SigningKey::from_seed(origin, &[1; 32]).expect("a name"),
            nodes: MemoryNodes::of_leaves(&leaves),
        }
    }

    /// The body that offers the checkpoint of size `new` from `old` on.
    ///
    /// # Panics
    /// Where it has not that many entries.
    pub fn body(&self, old: u64, new: u64) -> AddCheckpoint {
        let root = Frontier::from_nodes(TreeSize(new), &self.nodes)
            .expect("they are there")
            .root();
        let origin = self.key.verifier_key().name().to_owned();
        let checkpoint = Checkpoint::new(&origin, TreeSize(new), root).expect("valid");
        AddCheckpoint {
            old: TreeSize(old),
            hashes: consistency_proof(&self.nodes, TreeSize(old), TreeSize(new)).expect("in order"),
            checkpoint: SignedCheckpoint::sign(checkpoint, &[&self.key]).expect("valid"),
        }
    }
}

/// A running (or killed) witness.
pub struct WitnessProcess {
    dir: tempfile::TempDir,
    logs: Vec<String>,
    listen: String,
    child: Option<Child>,
    url: String,
    key: Option<VerifierKey>,
    agent: ureq::Agent,
}

/// An answer.
#[derive(Debug, PartialEq, Eq)]
pub struct Answered {
    /// The status.
    pub status: u16,
    /// The content type.
    pub kind: String,
    /// The body.
    pub body: String,
}

impl WitnessProcess {
    /// Starts one that follows the logs of these verifier keys.
    ///
    /// # Panics
    /// With what it said, where it does not come up.
    pub fn start(logs: &[String]) -> Self {
        let agent = ureq::Agent::config_builder()
            .http_status_as_error(false)
            .timeout_global(Some(PATIENCE))
            .build()
            .new_agent();
        let mut witness = Self {
            dir: tempfile::tempdir().expect("a scratch directory"),
            logs: logs.to_vec(),
            listen: "127.0.0.1:0".to_owned(),
            child: None,
            url: String::new(),
            key: None,
            agent,
        };
        witness.restart();
        witness
    }

    /// Follows one more key, from the next start on.
    pub fn follow(&mut self, log: &str) {
        self.logs.push(log.to_owned());
    }

    /// What starts it in its directory.
    pub fn command(&self) -> Command {
        let mut command = Command::new(binary());
        command
            .args([
                "witness",
                "--listen",
                &self.listen,
                "--name",
                "witness.example/w1",
                "--dir",
            ])
            .arg(self.dir())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped());
        for log in &self.logs {
            command.args(["--log", log]);
        }
        command
    }

    /// Its directory.
    pub fn dir(&self) -> &Path {
        self.dir.path()
    }

    /// Starts it again, at the address it had.
    ///
    /// # Panics
    /// With what it said, where it does not come up.
    pub fn restart(&mut self) {
        assert!(self.child.is_none(), "it still runs");
        let mut child = self.command().spawn().expect("the binary runs");
        let stderr = child.stderr.take().expect("stderr is piped");
        let (send, lines) = std::sync::mpsc::channel();
        // It is read to its end, so that a full pipe never stops the witness.
        std::thread::spawn(move || {
            for line in BufReader::new(stderr).lines().map_while(Result::ok) {
                let _ = send.send(line);
            }
        });
        let mut said = String::new();
        while let Ok(line) = lines.recv_timeout(PATIENCE) {
            if let Some(url) = line.strip_prefix(LISTENING) {
                self.url = url.trim().to_owned();
                self.listen = self.url.trim_start_matches("http://").to_owned();
                self.child = Some(child);
                return;
            }
            said.push_str(&line);
            said.push('\n');
        }
        let _ = child.kill();
        let _ = child.wait();
        panic!("the witness did not start:\n{said}");
    }

    /// SIGKILL: no code of it runs any more.
    ///
    /// # Panics
    /// Where it does not run.
    pub fn kill9(&mut self) {
        let mut child = self.child.take().expect("it runs");
        child.kill().expect("it can be killed");
        child.wait().expect("it ends");
    }

    /// Where it answers.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// Its verifier key, as `--show-key` prints it.
    ///
    /// # Panics
    /// Where it prints none.
    pub fn key(&mut self) -> VerifierKey {
        let shown = Command::new(binary())
            .args(["witness", "--show-key", "--dir"])
            .arg(self.dir())
            .output()
            .expect("the binary runs");
        let text = String::from_utf8(shown.stdout).expect("text");
        self.key
            .get_or_insert_with(|| VerifierKey::parse(text.trim()).expect("a key"))
            .clone()
    }

    /// POST to `add-checkpoint`.
    ///
    /// # Panics
    /// Where there is no answer.
    pub fn offer(&self, body: &[u8]) -> Answered {
        self.try_offer(body).expect("it answers")
    }

    /// The same to one that may be gone.
    ///
    /// # Errors
    /// Where there was no answer.
    pub fn try_offer(&self, body: &[u8]) -> Result<Answered, String> {
        offer(&self.agent, &self.url, body)
    }

    /// GET.
    ///
    /// # Panics
    /// Where there is no answer.
    pub fn get(&self, path: &str) -> Answered {
        answered(self.agent.get(format!("{}{path}", self.url)).call()).expect("it answers")
    }
}

/// POST to a witness's `add-checkpoint`.
///
/// # Errors
/// Where there was no answer.
pub fn offer(agent: &ureq::Agent, url: &str, body: &[u8]) -> Result<Answered, String> {
    answered(agent.post(format!("{url}/add-checkpoint")).send(body))
}

fn answered(response: Result<ureq::http::Response<ureq::Body>, ureq::Error>) -> Result<Answered, String> {
    let mut response = response.map_err(|error| error.to_string())?;
    let kind = response.headers().get("content-type");
    Ok(Answered {
        status: response.status().as_u16(),
        kind: kind
            .and_then(|kind| kind.to_str().ok())
            .unwrap_or_default()
            .to_owned(),
        body: response
            .body_mut()
            .read_to_string()
            .map_err(|error| error.to_string())?,
    })
}

impl Drop for WitnessProcess {
    fn drop(&mut self) {
        if let Some(mut child) = self.child.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}
