//! A device under load that remembers everything: what it sent, what it was told, what it was never told.
//!
//! Each value it sends is another one, so that a value found twice in the ledger is a duplicate. A request without an
//! answer is kept: it may or may not have been recorded, and, where it can be told from another (by its idempotency
//! key, or by its times), it is sent again until it is answered.
//! Not here: whether it is true what it was told (`follower`, and the tests).

use crate::dice::Dice;
use domain::{Hash, Timestamp};
use serde_json::{Value, json};
use std::ops::Range;
use std::sync::mpsc::SyncSender;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// Most reports of a small batch.
const BATCH_MAX: u64 = 40;
/// Most reports of a large one: commits so large are written while the next is decided.
const LARGE_BATCH_MAX: u64 = 400;
/// How far behind now the measured times begin: far enough that no test catches up with it.
const BEHIND_US: i64 = 20 * 86_400 * 1_000_000;
/// Between two measured times.
const STEP_US: i64 = 1_000;
/// How long an answer may take before it counts as none.
const ANSWER: Duration = Duration::from_secs(60);

/// A request, as it was sent and may be sent again.
#[derive(Debug, Clone)]
pub struct Sent {
    /// Its body.
    pub body: Vec<u8>,
    /// Its idempotency key.
    pub key: Option<String>,
    /// The values in it.
    pub values: Vec<u64>,
    /// Whether each of its reports says when it was measured.
    pub timed: bool,
}

impl Sent {
    /// Whether it can be sent again without being recorded again.
    pub const fn is_repeatable(&self) -> bool {
        self.key.is_some() || self.timed
    }
}

/// What a 2xx said.
#[derive(Debug, Clone)]
pub struct Answer {
    /// Where the entries are; empty where everything was there already.
    pub positions: Range<u64>,
    /// Measurements that were recorded.
    pub accepted: u64,
    /// Measurements that were there already.
    pub deduplicated: u64,
    /// The tree that it is in.
    pub tree: Option<(u64, Hash)>,
    /// It was said before.
    pub replayed: bool,
}

/// A device.
pub struct Device {
    /// `dev_…`.
    pub id: String,
    /// What it calls itself.
    pub local_id: String,
    /// Its token.
    pub token: String,
    dice: Dice,
    began_us: i64,
    count: u64,
    agent: ureq::Agent,
    /// What was acknowledged.
    pub answered: Vec<(Sent, Answer)>,
    /// What was not.
    pub unanswered: Vec<Sent>,
}

/// Why a request has no 2xx.
#[derive(Debug)]
pub enum NoAnswer {
    /// Nobody answered: the service is gone.
    Gone(String),
    /// 503: it says that it could not.
    Unavailable(String),
}

impl Device {
    /// A device that was registered.
    pub fn new(id: &str, local_id: &str, token: &str, dice: Dice) -> Self {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Self {
            id: id.to_owned(),
            local_id: local_id.to_owned(),
            token: token.to_owned(),
            dice,
            began_us: i64::try_from(now.as_micros()).unwrap_or(i64::MAX) - BEHIND_US,
            count: 0,
            agent: agent(),
            answered: Vec::new(),
            unanswered: Vec::new(),
        }
    }

    /// Sends until nobody answers, and passes the number of each answer's measurements to `told`.
    ///
    /// # Panics
    /// At an answer that no well-behaved device should get.
    pub fn send_until_gone(&mut self, url: &str, told: &SyncSender<u64>) {
        loop {
            let sent = self.next();
            match self.exchange(url, sent) {
                // Nobody listens any more once the service is to be killed.
                Ok(measurements) => drop(told.try_send(measurements)),
                Err(NoAnswer::Unavailable(_)) => {}
                Err(NoAnswer::Gone(_)) => return,
            }
            if self.dice.chance(5)
                && let Some((sent, first)) = self.answered.last().cloned()
                && sent.is_repeatable()
            {
                match self.post(url, &sent) {
                    Ok(second) => {
                        assert_eq!(second.accepted + second.deduplicated, sent.values.len() as u64);
                        if sent.key.is_some() {
                            assert_eq!(second.positions, first.positions, "of {sent:?}");
                        } else {
                            assert_eq!(second.accepted, 0, "of {sent:?}");
                        }
                    }
                    Err(NoAnswer::Unavailable(_)) => {}
                    Err(NoAnswer::Gone(_)) => return,
                }
            }
        }
    }

    /// Sends again whatever has no answer and can be told from another; what cannot is forgotten. How many of them
    /// had been recorded all the same.
    ///
    /// # Panics
    /// Where that is not taken.
    pub fn settle(&mut self, url: &str) -> u64 {
        let mut unheard = 0;
        for sent in std::mem::take(&mut self.unanswered) {
            if !sent.is_repeatable() {
                continue;
            }
            let deadline = Instant::now() + ANSWER;
            let answer = loop {
                match self.post(url, &sent) {
                    Ok(answer) => break answer,
                    Err(NoAnswer::Unavailable(why)) => assert!(Instant::now() < deadline, "still: {why}"),
                    Err(NoAnswer::Gone(why)) => panic!("{}: {why}", self.local_id),
                }
            };
            unheard += u64::from(answer.replayed || answer.deduplicated > 0);
            self.answered.push((sent, answer));
        }
        unheard
    }

    /// The next request: one report or a batch, with and without key, with and without times, now and then with a
    /// channel that nobody has seen.
    #[allow(
        clippy::should_implement_trait,
        reason = "it never ends, so it is no iterator"
    )]
    pub fn next(&mut self) -> Sent {
        let timed = self.dice.chance(70);
        let batch = self.dice.chance(40);
        let most = if self.dice.chance(25) {
            LARGE_BATCH_MAX
        } else {
            BATCH_MAX
        };
        let reports = if batch { 1 + self.dice.below(most) } else { 1 };
        let label = (self.dice.below(500) == 0).then(|| format!("probe {}", self.count));
        // Without a time all reports have the same, and could not be told apart.
        let reports = if timed { reports } else { 1 };
        let mut values = Vec::new();
        let bodies: Vec<Value> = (0..reports)
            .map(|_| {
                self.count += 1;
                values.push(self.count);
                self.report(self.count, timed, label.as_deref())
            })
            .collect();
        let body = if batch {
            Value::Array(bodies)
        } else {
            bodies.into_iter().next().unwrap_or_default()
        };
        let key = self
            .dice
            .chance(50)
            .then(|| format!("{}-{}", self.local_id, self.count));
        Sent {
            body: body.to_string().into_bytes(),
            key,
            values,
            timed,
        }
    }

    fn report(&mut self, value: u64, timed: bool, label: Option<&str>) -> Value {
        let mut measurement = json!({"type": "power", "value": value});
        if let Some(label) = label {
            measurement["label"] = label.into();
        }
        let mut report = json!({"device": self.local_id, "measurements": [measurement]});
        if timed {
            // Some go forward, some are filled in backwards.
            let step = STEP_US * i64::try_from(value).unwrap_or(i64::MAX);
            let at = self.began_us + if self.dice.chance(70) { step } else { -step };
            report["ts"] = Timestamp::from_micros(at).map(|at| at.to_string()).into();
        }
        report
    }

    /// Sends, and remembers what came of it; how many measurements were acknowledged.
    fn exchange(&mut self, url: &str, sent: Sent) -> Result<u64, NoAnswer> {
        match self.post(url, &sent) {
            Ok(answer) => {
                let measurements = sent.values.len() as u64;
                assert_eq!(answer.accepted + answer.deduplicated, measurements, "of {sent:?}");
                self.answered.push((sent, answer));
                Ok(measurements)
            }
            Err(error) => {
                self.unanswered.push(sent);
                Err(error)
            }
        }
    }

    /// Sends without remembering.
    ///
    /// # Errors
    /// [`NoAnswer`].
    ///
    /// # Panics
    /// At an answer that no well-behaved device should get.
    pub fn post(&self, url: &str, sent: &Sent) -> Result<Answer, NoAnswer> {
        post(&self.agent, url, &self.token, sent)
    }
}

/// A client with a connection of its own.
pub fn agent() -> ureq::Agent {
    ureq::Agent::config_builder()
        .http_status_as_error(false)
        .timeout_global(Some(ANSWER))
        .build()
        .new_agent()
}

/// Sends a request with a device's token.
///
/// # Errors
/// [`NoAnswer`].
///
/// # Panics
/// At an answer that no well-behaved device should get.
pub fn post(agent: &ureq::Agent, url: &str, token: &str, sent: &Sent) -> Result<Answer, NoAnswer> {
    let mut request = agent
        .post(format!("{url}/v1/ingest"))
        .header("Authorization", format!("Bearer {token}"))
        .header("Content-Type", "application/json");
    if let Some(key) = &sent.key {
        request = request.header("Idempotency-Key", key);
    }
    let gone = |error: ureq::Error| NoAnswer::Gone(error.to_string());
    let mut reply = request.send(&sent.body[..]).map_err(gone)?;
    // An answer that breaks off is none: its status alone promises nothing that could be looked up.
    let body = reply.body_mut().read_to_vec().map_err(gone)?;
    let text = String::from_utf8_lossy(&body);
    match reply.status().as_u16() {
        200 => Ok(answer(&serde_json::from_slice(&body).expect("JSON"))),
        503 => Err(NoAnswer::Unavailable(text.into_owned())),
        status => panic!("{status} {text} for {}", String::from_utf8_lossy(&sent.body)),
    }
}

fn answer(body: &Value) -> Answer {
    let number = |name: &str| body[name].as_u64();
    let first = number("first_position").unwrap_or_default();
    let root = body["root"].as_str().and_then(Hash::from_base64);
    Answer {
        positions: first..first + number("entries").unwrap_or_default(),
        accepted: number("accepted").unwrap_or_else(|| panic!("{body}")),
        deduplicated: number("deduplicated").unwrap_or_else(|| panic!("{body}")),
        tree: number("size").zip(root),
        replayed: body["replayed"] == true,
    }
}
