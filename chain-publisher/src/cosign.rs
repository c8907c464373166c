//! Asking witnesses to cosign one's own checkpoints, over HTTP. Everything here blocks: it runs on threads of its own.
//!
//! Invariants: a cosignature counts only after it was verified against the key that was configured for that witness, and
//! states a time; a witness is offered checkpoints by rising size; nothing but checkpoints and hashes is sent, to the URL
//! that was named and to no other; no answer is read beyond its limit or waited for beyond its time. A witness that does
//! not trust the key that signs is shown how the log came to it: at each rotation the checkpoint that both keys signed,
//! and its proof (FORMAT §1); one that knows nothing of that says 404, and its runner is needed.
//! Source: C2SP tlog-witness v1.0.0, the client's side.
//! Not here: which witnesses are enough (`domain::tlog_policy`), where cosignatures are kept (`api`), being a witness
//! (`witness`).

use crate::rotations::RotationProof;
use crate::url::is_passing;
use domain::TreeSize;
use domain::add_checkpoint::AddCheckpoint;
use domain::checkpoint::SignedCheckpoint;
use domain::hash::sha256;
use domain::note::{Note, NoteError, NoteSignature, VerifierKey, parse_signatures};
use domain::ports::TileStore;
use domain::proof::{ProofError, consistency_proof};
use std::io::Read;
use std::sync::Arc;
use std::sync::mpsc::channel;
use std::time::{Duration, Instant};
use ureq::http::{StatusCode, header};
use ureq::{Agent, Body};

/// What one checkpoint may take, with the second try after 409.
pub const OFFER_WITHIN: Duration = Duration::from_secs(10);
/// The largest answer with cosignatures: some lines, of which an ML-DSA-44 one has 3.3 kB.
const LINES_BYTES_MAX: usize = 64 << 10;
/// The largest answer that tells a size, or says why not.
const WORDS_BYTES_MAX: usize = 1 << 10;
/// Characters of a witness's words that are passed on.
const WORDS_SHOWN: usize = 120;
/// The first pause after a witness did not answer; it doubles.
const PAUSE_FIRST: Duration = Duration::from_secs(10);
/// The longest: a witness that is back is noticed within it.
const PAUSE_MAX: Duration = Duration::from_secs(300);

/// Why there is no cosignature.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum OfferError {
    /// It does not answer.
    #[error("it does not answer: {0}")]
    Unreachable(String),
    /// It answers with a status that says no.
    #[error("it answers {status}{}: {}", said(.words), advice(*.status))]
    Refused {
        /// The status.
        status: u16,
        /// The beginning of what it said, printable.
        words: String,
    },
    /// It has cosigned a larger checkpoint of this log than the one that was offered.
    #[error(
        "it has seen {known} entries of this log, more than the {offered} that were offered: for the newest checkpoint \
         that would mean an older copy of the ledger runs here"
    )]
    Ahead {
        /// What it has seen.
        known: TreeSize,
        /// What was offered.
        offered: TreeSize,
    },
    /// It names the same size again after the proof began there.
    #[error(
        "it has seen another root at size {known}: either it errs, or this log was shown with two histories"
    )]
    Disagrees {
        /// That size.
        known: TreeSize,
    },
    /// What it answered is not what the specification asks for.
    #[error("its answer cannot be used: {0}")]
    Answer(String),
    /// What it answered as its cosignature does not hold.
    #[error("it gave a cosignature that does not hold: {0}")]
    Cosignature(NoteError),
    /// No proof can be made here.
    #[error("the proof for it cannot be made: {0}")]
    Proof(#[from] ProofError),
}

fn said(words: &str) -> String {
    if words.is_empty() {
        String::new()
    } else {
        format!(" ({words})")
    }
}

const fn advice(status: u16) -> &'static str {
    match status {
        403 => "it does not trust the key that signs here; give its runner the log's verifier key",
        404 => {
            "it does not know this log, or the URL is not a witness's; give its runner the log's verifier key"
        }
        422 => "it finds that this checkpoint does not continue what it has seen",
        300..=399 => "it redirects elsewhere; name that URL if you trust it",
        _ => "nothing was cosigned",
    }
}

/// A witness cannot be asked.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ClientError {
    /// Neither http nor https, or with more than a host and a path.
    #[error("{0:?} is not the URL of a witness: write https://HOST or https://HOST/PATH")]
    Url(String),
    /// Its cosignatures cannot be checked here.
    #[error("the cosignatures of {0} are of a type that cannot be checked here yet")]
    KeyType(String),
}

/// What became of one checkpoint at one witness.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outcome {
    /// Which witness, by its place among those that were asked.
    pub witness: usize,
    /// The size of the checkpoint.
    pub size: TreeSize,
    /// How long it took.
    pub took: Duration,
    /// The cosignature's line, or why there is none.
    pub result: Result<NoteSignature, OfferError>,
}

/// One witness, asked by one log.
#[derive(Debug)]
pub struct WitnessClient {
    name: String,
    key: VerifierKey,
    prefix: String,
    agent: Agent,
    /// The rotations of the log's key, rising.
    rotations: Arc<[RotationProof]>,
    within: Duration,
    /// The size it last cosigned, as far as is known.
    known: Option<TreeSize>,
    pause: Duration,
    not_before: Option<Instant>,
}

impl WitnessClient {
    /// The witness with that submission prefix and key; `name` is what it is called when it is spoken of.
    ///
    /// # Errors
    /// [`ClientError`].
    pub fn new(name: &str, key: VerifierKey, prefix: &str) -> Result<Self, ClientError> {
        if !key.can_verify() {
            return Err(ClientError::KeyType(name.to_owned()));
        }
        let prefix = prefix.trim_end_matches('/');
        let (scheme, rest) = prefix.split_once("://").unwrap_or_default();
        let host = rest.split('/').next().unwrap_or_default();
        let plain = rest.bytes().all(|b| b.is_ascii_graphic()) && !rest.contains(['?', '#', '@']);
        if !matches!(scheme, "http" | "https") || host.is_empty() || !plain {
            return Err(ClientError::Url(prefix.to_owned()));
        }
        let agent = Agent::config_builder()
            .http_status_as_error(false)
            .max_redirects(0)
            .max_redirects_will_error(false)
            .user_agent(concat!("daybook/", env!("CARGO_PKG_VERSION")))
            .build()
            .new_agent();
        Ok(Self {
            name: name.to_owned(),
            key,
            prefix: prefix.to_owned(),
            agent,
            rotations: Arc::default(),
            within: OFFER_WITHIN,
            known: None,
            pause: Duration::ZERO,
            not_before: None,
        })
    }

    /// How the log came to the key that signs now: the rotations of its log key, rising.
    pub fn set_rotations(&mut self, rotations: Arc<[RotationProof]>) {
        self.rotations = rotations;
    }

    /// The same with another time for one checkpoint.
    #[must_use]
    pub const fn within(mut self, within: Duration) -> Self {
        self.within = within;
        self
    }

    /// What it is called.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The key that its cosignatures must hold against.
    pub const fn key(&self) -> &VerifierKey {
        &self.key
    }

    /// The size it last cosigned, as far as is known since the start.
    pub const fn known(&self) -> Option<TreeSize> {
        self.known
    }

    /// Whether it may be asked now, or did not answer so lately that asking again is of no use.
    pub fn may_ask(&self) -> bool {
        self.not_before.is_none_or(|at| Instant::now() >= at)
    }

    /// The latest checkpoint of a log that it has cosigned, as its monitoring endpoint below the same prefix shows it;
    /// `None` where it never has, or shows nothing there. Nothing of it is verified.
    ///
    /// # Errors
    /// [`OfferError`].
    pub fn last_seen(&self, origin: &str, within: Duration) -> Result<Option<SignedCheckpoint>, OfferError> {
        let url = format!(
            "{}/{}/checkpoint",
            self.prefix,
            sha256(origin.as_bytes()).to_hex()
        );
        let request = self.agent.get(&url).config().timeout_global(Some(within)).build();
        let response = request.call().map_err(|error| unreachable(&error))?;
        match response.status() {
            StatusCode::OK => {}
            StatusCode::NOT_FOUND => return Ok(None),
            status => {
                return Err(OfferError::Refused {
                    status: status.as_u16(),
                    words: String::new(),
                });
            }
        }
        let bytes = body(response, LINES_BYTES_MAX)?;
        let signed = SignedCheckpoint::parse(&bytes);
        signed
            .map(Some)
            .map_err(|error| OfferError::Answer(error.to_string()))
    }

    /// Offers a checkpoint, which the log has signed.
    ///
    /// # Errors
    /// [`OfferError`], in words.
    pub fn offer(
        &mut self,
        tiles: &dyn TileStore,
        checkpoint: &SignedCheckpoint,
    ) -> Result<NoteSignature, OfferError> {
        let mut result = self.try_twice(tiles, checkpoint);
        let is_stranger = matches!(&result, Err(OfferError::Refused { status: 403, .. }));
        if is_stranger && self.hand_over(tiles, checkpoint.checkpoint().size()) {
            result = self.try_twice(tiles, checkpoint);
        }
        if let Err(OfferError::Unreachable(_) | OfferError::Answer(_) | OfferError::Refused { .. }) = &result
        {
            self.pause = (self.pause * 2).clamp(PAUSE_FIRST, PAUSE_MAX);
            self.not_before = Some(Instant::now() + self.pause);
        } else {
            (self.pause, self.not_before) = (Duration::ZERO, None);
        }
        result
    }

    /// Shows the rotations below that size; whether it took one.
    fn hand_over(&mut self, tiles: &dyn TileStore, size: TreeSize) -> bool {
        let mut taken = false;
        for rotation in Arc::clone(&self.rotations).iter() {
            let at = rotation.proof.size();
            if at > size || self.known.is_some_and(|known| known > at) {
                continue;
            }
            match self.try_twice(tiles, &rotation.proof.checkpoint) {
                Ok(_) => {}
                Err(OfferError::Ahead { .. }) => continue,
                Err(_) => return taken,
            }
            let end = Instant::now() + self.within;
            match self.send("add-rotation", rotation.proof.encode(), end) {
                Ok((StatusCode::OK, ..)) => taken = true,
                _ => return taken,
            }
        }
        taken
    }

    fn try_twice(
        &mut self,
        tiles: &dyn TileStore,
        checkpoint: &SignedCheckpoint,
    ) -> Result<NoteSignature, OfferError> {
        let end = Instant::now() + self.within;
        let size = checkpoint.checkpoint().size();
        // Who never asked begins with nothing, and is told in a 409 if that is not so.
        let old = self.known.unwrap_or(TreeSize::EMPTY);
        let known = match self.ask(tiles, checkpoint, old, end)? {
            Said::Cosigned(line) => return Ok(line),
            Said::Conflict(known) => known,
        };
        self.known = Some(known);
        if known > size {
            return Err(OfferError::Ahead { known, offered: size });
        }
        if known == old {
            return Err(OfferError::Disagrees { known });
        }
        match self.ask(tiles, checkpoint, known, end)? {
            Said::Cosigned(line) => Ok(line),
            Said::Conflict(again) if again == known => Err(OfferError::Disagrees { known }),
            Said::Conflict(again) => {
                self.known = Some(again);
                Err(OfferError::Answer(format!(
                    "it named size {known}, then {again}: another copy of this log is offering checkpoints too"
                )))
            }
        }
    }

    fn ask(
        &mut self,
        tiles: &dyn TileStore,
        checkpoint: &SignedCheckpoint,
        old: TreeSize,
        end: Instant,
    ) -> Result<Said, OfferError> {
        let size = checkpoint.checkpoint().size();
        if old > size {
            return Err(OfferError::Ahead {
                known: old,
                offered: size,
            });
        }
        let body = AddCheckpoint {
            old,
            hashes: consistency_proof(tiles, old, size)?,
            checkpoint: checkpoint.clone(),
        };
        let (status, kind, body) = self.send("add-checkpoint", body.encode(), end)?;
        match status {
            StatusCode::OK => {
                let line = cosignature(checkpoint, &self.key, &body)?;
                self.known = Some(size);
                Ok(Said::Cosigned(line))
            }
            StatusCode::CONFLICT => conflict(kind.as_deref(), &body).map(Said::Conflict),
            status => Err(OfferError::Refused {
                status: status.as_u16(),
                words: printable(&body),
            }),
        }
    }

    /// Status, content type, and the body up to its limit.
    fn send(
        &self,
        path: &str,
        request: String,
        end: Instant,
    ) -> Result<(StatusCode, Option<String>, Vec<u8>), OfferError> {
        let url = format!("{}/{path}", self.prefix);
        let left = end.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Err(unreachable(&"it took too long"));
        }
        let post = || {
            let left = end.saturating_duration_since(Instant::now());
            self.agent
                .post(&url)
                .config()
                .timeout_global(Some(left.max(Duration::from_millis(1))))
                .build()
                .content_type("text/plain; charset=utf-8")
                .send(&request)
        };
        // A connection that was kept may have been closed meanwhile; offering twice does no harm.
        let response = match post() {
            Err(error) if is_passing(&error) => post(),
            other => other,
        };
        let response = response.map_err(|error| unreachable(&error))?;
        let status = response.status();
        let limit = if status == StatusCode::OK {
            LINES_BYTES_MAX
        } else {
            WORDS_BYTES_MAX
        };
        let kind = response.headers().get(header::CONTENT_TYPE);
        let kind = kind.and_then(|kind| kind.to_str().ok()).map(str::to_owned);
        let bytes = body(response, limit)?;
        if bytes.len() > limit && status == StatusCode::OK {
            return Err(OfferError::Answer(format!("it is larger than {limit} bytes")));
        }
        Ok((status, kind, bytes))
    }
}

fn unreachable(error: &dyn std::fmt::Display) -> OfferError {
    OfferError::Unreachable(error.to_string())
}

/// An answer's body, up to a byte more than the limit, which tells a larger one.
fn body(mut response: ureq::http::Response<Body>, limit: usize) -> Result<Vec<u8>, OfferError> {
    let mut bytes = Vec::new();
    let reader = response.body_mut().as_reader().take(limit as u64 + 1);
    { reader }
        .read_to_end(&mut bytes)
        .map_err(|error| unreachable(&error))?;
    Ok(bytes)
}

/// What a witness said that the protocol goes on from.
enum Said {
    Cosigned(NoteSignature),
    Conflict(TreeSize),
}

/// The size in the body of a 409.
fn conflict(kind: Option<&str>, body: &[u8]) -> Result<TreeSize, OfferError> {
    let kind = kind.unwrap_or_default();
    if kind.split(';').next().map(str::trim) != Some(crate::witness::SIZE_TYPE) {
        return Err(OfferError::Answer(
            "409 without the type text/x.tlog.size".to_owned(),
        ));
    }
    let text = std::str::from_utf8(body)
        .ok()
        .and_then(|text| text.strip_suffix('\n'));
    let size = text.and_then(|text| text.parse().ok().filter(|size: &u64| size.to_string() == text));
    size.map(TreeSize)
        .filter(|size| *size <= TreeSize::MAX)
        .ok_or_else(|| OfferError::Answer("409 without a size".to_owned()))
}

/// The witness's line among those that it answered, after it was verified. Others' lines are ignored.
fn cosignature(
    checkpoint: &SignedCheckpoint,
    key: &VerifierKey,
    body: &[u8],
) -> Result<NoteSignature, OfferError> {
    let unusable = |error: NoteError| OfferError::Answer(error.to_string());
    let text = std::str::from_utf8(body).map_err(|_| unusable(NoteError::Characters))?;
    let lines = parse_signatures(text).map_err(unusable)?;
    let mut note = Note::sign(checkpoint.note().text(), &[]).map_err(OfferError::Cosignature)?;
    let by_witness = |line: &NoteSignature| line.name() == key.name() && line.key_id() == key.id();
    let mut own = lines.into_iter().filter(by_witness);
    let line = own
        .next()
        .ok_or_else(|| OfferError::Answer(format!("no line of it is by the key {}", key.name())))?;
    note.add(line.clone()).map_err(unusable)?;
    for further in own {
        note.add(further).map_err(unusable)?;
    }
    let verified = note.verify([key]).map_err(OfferError::Cosignature)?;
    if verified
        .iter()
        .any(|one| one.timestamp_s.is_none_or(|at| at == 0))
    {
        return Err(OfferError::Answer("a cosignature states no time".to_owned()));
    }
    Ok(line)
}

/// The beginning of what somebody else said, fit for a line of ours.
fn printable(body: &[u8]) -> String {
    let text = String::from_utf8_lossy(body);
    let line = text.lines().next().unwrap_or_default();
    line.chars()
        .filter(|c| !c.is_control())
        .take(WORDS_SHOWN)
        .collect()
}

/// Offers checkpoints, by rising size, to every witness at once; each is on a thread of its own and gets what `wanted`
/// says of it (its place, the checkpoint), which is asked before each. Outcomes are told as they come. A witness that does not answer is not asked
/// for the rest.
pub fn offer_all(
    clients: &mut [WitnessClient],
    tiles: &dyn TileStore,
    checkpoints: &[SignedCheckpoint],
    wanted: &(dyn Fn(usize, &SignedCheckpoint) -> bool + Sync),
    tell: &mut dyn FnMut(Outcome),
) {
    let (sender, outcomes) = channel();
    std::thread::scope(|scope| {
        for (witness, client) in clients.iter_mut().enumerate() {
            if !client.may_ask() || !checkpoints.iter().any(|one| wanted(witness, one)) {
                continue;
            }
            let sender = sender.clone();
            scope.spawn(move || {
                for checkpoint in checkpoints.iter().filter(|one| wanted(witness, one)) {
                    let size = checkpoint.checkpoint().size();
                    let began = Instant::now();
                    let result = client.offer(tiles, checkpoint);
                    let goes_on = matches!(result, Ok(_) | Err(OfferError::Ahead { .. }));
                    let outcome = Outcome {
                        witness,
                        size,
                        took: began.elapsed(),
                        result,
                    };
                    if sender.send(outcome).is_err() || !goes_on {
                        return;
                    }
                }
            });
        }
        drop(sender);
        outcomes.iter().for_each(tell);
    });
}

#[cfg(test)]
mod tests;
