//! Asking witnesses: each day's head before any larger checkpoint, and the latest checkpoint now and then.
//!
//! Invariants: a witness that is down stops neither ingest nor the closing of days, and holds up no other witness; each
//! witness is offered the heads that are open before anything larger; lines are added only after they were verified; the
//! note of a head never changes. A head is *open* while it is the newest, or while its quorum is missed and no late proof
//! is there; after a start the newest `TAKEN_UP_MAX` are looked at again.
//! What if we crash here? A cosignature that was not stored yet is asked for again: the witness has seen that size and
//! signs it again.
//! Source: FORMAT §4 and §5; C2SP tlog-witness, tlog-policy.
//! Not here: the protocol (`chain_publisher::cosign`), making heads (`commands::sequencer`), being a witness (`witness`).

use crate::key_chain;
use chain_publisher::cosign::{ClientError, OfferError, Outcome, WitnessClient, offer_all};
use commands::sequencer::HeadStore;
use domain::checkpoint::SignedCheckpoint;
use domain::merkle::Frontier;
use domain::note::{Note, NoteSignature, VerifierKey};
use domain::ports::{Clock, TileStore};
use domain::proof::inclusion_proof;
use domain::tlog_policy::{POLICY_BYTES_MAX, Policy, PolicyError, Quorum};
use domain::tlog_proof::TlogProof;
use domain::{Date, Timestamp, TreeSize};
use parking_lot::Mutex;
use std::collections::{BTreeMap, BTreeSet};
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

/// How often the latest checkpoint is offered at most: each costs a witness a sync of its disk.
const OFFER_EVERY: Duration = Duration::from_secs(10);
/// How many heads without their quorum are taken up after a start: a month. Older ones are covered by every newer
/// checkpoint that is cosigned, because that is consistent with them.
const TAKEN_UP_MAX: usize = 31;
/// How long a start waits for what witnesses have seen: one that does not answer by then is not asked.
const START_WITHIN: Duration = Duration::from_secs(3);

/// The witnesses cannot be asked.
#[derive(Debug, thiserror::Error)]
pub enum WitnessesError {
    /// The file.
    #[error("witness_policy {}: {error}", path.display())]
    Unreadable {
        /// Which.
        path: PathBuf,
        /// What the system says.
        error: std::io::Error,
    },
    /// Not a policy.
    #[error("witness_policy {}: {error}", path.display())]
    Policy {
        /// Which.
        path: PathBuf,
        /// What is wrong with it.
        error: PolicyError,
    },
    /// It names logs, and this is none of them.
    #[error(
        "witness_policy {} does not name this log: add the line  log {}", path.display(),
        key.as_ref().map_or_else(String::new, ToString::to_string)
    )]
    OtherLog {
        /// Which.
        path: PathBuf,
        /// This log's key.
        key: Option<Box<VerifierKey>>,
    },
    /// No witness in it can be asked.
    #[error("witness_policy {} names no witness with a URL: write  witness NAME VKEY URL", .0.display())]
    NoWitness(PathBuf),
    /// A witness in it cannot be asked.
    #[error("witness_policy {}: {error}", path.display())]
    Client {
        /// Which.
        path: PathBuf,
        /// Why not.
        error: ClientError,
    },
}

/// What is known of one witness.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WitnessState {
    /// Its name in the policy.
    pub name: String,
    /// Whether its last answer was one that the protocol goes on from.
    pub up: bool,
    /// When it last cosigned.
    pub cosigned_at: Option<Timestamp>,
    /// The largest size it cosigned since the start.
    pub size: Option<TreeSize>,
    /// Why it did not cosign last, in words.
    pub trouble: Option<String>,
    /// It says that it has seen a larger ledger of this name, or another history.
    pub alarm: bool,
}

/// How far the head of a day is seen (STYLE: sequenced → integrated → published → witnessed).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HeadState {
    /// Its entry is recorded; the head is not there yet.
    Sequenced,
    /// Its head is signed and served here, and has gone nowhere else yet.
    Integrated,
    /// It is where this service cannot take it back.
    Published,
    /// As many witnesses as the policy asks for have cosigned it.
    Witnessed,
    /// They have cosigned a later checkpoint, under which the day is proven.
    WitnessedLate,
}

/// The witnesses of one ledger.
pub struct Witnesses {
    policy: Policy,
    /// The key in force, and those before it.
    log_keys: Vec<VerifierKey>,
    heads: HeadStore,
    clients: Mutex<Vec<WitnessClient>>,
    state: Mutex<State>,
}

struct State {
    witnesses: Vec<WitnessState>,
    /// The heads that are open, by day.
    open: BTreeMap<Date, TlogProof>,
    /// The newest day that was looked at.
    newest: Option<Date>,
    /// The latest checkpoint with a cosignature.
    cosigned: Option<SignedCheckpoint>,
    /// The size of the latest checkpoint that was signed here.
    signed: Option<TreeSize>,
    /// Who has cosigned what, since the start.
    have: BTreeSet<(usize, TreeSize)>,
    /// When the latest checkpoint was last offered.
    offered_at: Option<Duration>,
    /// Days that are known to be witnessed.
    done: BTreeMap<Date, HeadState>,
}

impl Witnesses {
    /// The witnesses that a policy names with a URL; its quorum says how many are enough.
    ///
    /// # Errors
    /// [`WitnessesError`], naming the file and what to do.
    pub fn open(path: &Path, log_keys: Vec<VerifierKey>, heads: HeadStore) -> Result<Self, WitnessesError> {
        let policy = read_policy(path)?;
        // A policy that names an earlier key of this log is one that its rotations lead on from.
        let named = |log: &domain::tlog_policy::PolicyLog| log_keys.contains(&log.key);
        if !policy.logs().is_empty() && !policy.logs().iter().any(named) {
            return Err(WitnessesError::OtherLog {
                path: path.to_owned(),
                key: log_keys.into_iter().next().map(Box::new),
            });
        }
        let unreadable = |error| WitnessesError::Unreadable {
            path: path.to_owned(),
            error,
        };
        let rotations: Arc<[_]> = key_chain::log_proofs(&heads).map_err(unreadable)?.into();
        let mut clients = Vec::new();
        for witness in policy.witnesses() {
            let Some(url) = &witness.url else { continue };
            let name = String::from_utf8_lossy(&witness.name);
            let url = String::from_utf8_lossy(url);
            let client = WitnessClient::new(&name, witness.key.clone(), &url);
            let mut client = client.map_err(|error| WitnessesError::Client {
                path: path.to_owned(),
                error,
            })?;
            client.set_rotations(Arc::clone(&rotations));
            clients.push(client);
        }
        if clients.is_empty() {
            return Err(WitnessesError::NoWitness(path.to_owned()));
        }
        let witnesses = clients.iter().map(|client| WitnessState {
            name: client.name().to_owned(),
            up: false,
            cosigned_at: None,
            size: None,
            trouble: None,
            alarm: false,
        });
        let state = State {
            witnesses: witnesses.collect(),
            open: BTreeMap::new(),
            newest: None,
            cosigned: heads
                .cosigned()
                .map_err(unreadable)?
                .and_then(|note| SignedCheckpoint::parse(&note).ok()),
            signed: None,
            have: BTreeSet::new(),
            offered_at: None,
            done: BTreeMap::new(),
        };
        let this = Self {
            policy,
            log_keys,
            heads,
            clients: Mutex::new(clients),
            state: Mutex::new(state),
        };
        // What was kept is served only if it still holds under this key and policy.
        let mut state = this.state.lock();
        if state
            .cosigned
            .as_ref()
            .is_some_and(|signed| this.quorum(signed).is_none())
        {
            state.cosigned = None;
        }
        drop(state);
        Ok(this)
    }

    /// What a witness shows to have been signed under this ledger's key that this ledger, of that size, does not have:
    /// then it is an older copy or a changed one, and nothing may be signed (FORMAT §4). In words. Blocks for up to
    /// `START_WITHIN`. A witness's word alone does not count, only our own signature.
    pub fn contradiction(&self, tiles: &dyn TileStore, size: TreeSize) -> Option<String> {
        let clients = self.clients.lock();
        let origin = self.log_keys.first()?.name();
        std::thread::scope(|scope| {
            let asked: Vec<_> = clients
                .iter()
                .map(|client| (client, scope.spawn(|| client.last_seen(origin, START_WITHIN))))
                .collect();
            asked.into_iter().find_map(|(client, thread)| {
                let signed = thread.join().ok()?.ok()??;
                signed.verify(origin, &self.log_keys).ok()?;
                let (seen, root) = (signed.checkpoint().size(), signed.checkpoint().root());
                if seen > size {
                    return Some(format!(
                        "the witness {} shows a checkpoint of size {seen} that was signed with this ledger's key, but \
                         there are {size} entries here: this is an older copy; restore the newest copy, or begin a \
                         ledger that continues this one with `daybook continue`",
                        client.name()
                    ));
                }
                let own = Frontier::from_nodes(seen, tiles).ok()?.root();
                (own != root).then(|| {
                    format!(
                        "the witness {} shows another root at size {seen} that was signed with this ledger's key: the \
                         ledger was changed, or its key signs another one; keep both and find out why",
                        client.name()
                    )
                })
            })
        })
    }

    /// What is known of each witness.
    pub fn states(&self) -> Vec<WitnessState> {
        self.state.lock().witnesses.clone()
    }

    /// How many heads miss their quorum, of those that are looked at.
    pub fn heads_missed(&self) -> usize {
        let state = self.state.lock();
        let missed = |proof: &&TlogProof| self.quorum(&proof.checkpoint) == Some(Quorum::Missed);
        state.open.values().filter(missed).count()
    }

    /// A checkpoint of ours with the cosignatures that it has.
    pub fn with_lines(&self, note: Vec<u8>) -> Vec<u8> {
        let state = self.state.lock();
        let same = |signed: &&SignedCheckpoint| signed.encode().as_bytes().starts_with(&note);
        match state.cosigned.as_ref().filter(same) {
            Some(signed) => signed.encode().into_bytes(),
            None => note,
        }
    }

    /// How far the head of that day is seen.
    pub fn head_state(&self, date: Date) -> HeadState {
        if let Some(done) = self.state.lock().done.get(&date) {
            return *done;
        }
        let found = match self.heads.get(date) {
            Ok(None) => return HeadState::Sequenced,
            Err(error) => {
                tracing::warn!(%date, %error, "the head of a day cannot be read now");
                return HeadState::Sequenced;
            }
            Ok(Some(bytes)) => TlogProof::parse(&bytes)
                .ok()
                .and_then(|proof| self.quorum(&proof.checkpoint)),
        };
        let state = match found {
            Some(Quorum::Met) => HeadState::Witnessed,
            _ if self.has_late(date) => HeadState::WitnessedLate,
            _ => return HeadState::Integrated,
        };
        self.state.lock().done.insert(date, state);
        state
    }

    /// Whether a day is proven late; where that cannot be told now, it is not, and is looked at again.
    fn has_late(&self, date: Date) -> bool {
        self.heads.has_late(date).unwrap_or(false)
    }

    /// Whether enough witnesses have cosigned; `None` where a line does not hold.
    fn quorum(&self, signed: &SignedCheckpoint) -> Option<Quorum> {
        let examined = self.policy.examine_with(signed, &self.log_keys);
        examined.ok().map(|examined| examined.quorum)
    }

    /// Offers what is due, and keeps what comes back. Blocks as long as the slowest witness is waited for.
    ///
    /// `signed` is the latest checkpoint, `day` the newest day that may have a head. `signed` was read before this was
    /// called, and a head is kept before anything larger is signed: so the heads that are found here come first.
    pub fn round(
        &self,
        tiles: &dyn TileStore,
        signed: Option<(TreeSize, Vec<u8>)>,
        day: Option<Date>,
        clock: &dyn Clock,
        stopping: &(dyn Fn() -> bool + Sync),
    ) {
        let mut clients = self.clients.lock();
        let latest = signed.and_then(|(_, note)| SignedCheckpoint::parse(&note).ok());
        let work = self.due(latest, day, clock.monotonic(), &clients);
        if work.is_empty() {
            return;
        }
        let known: Vec<Option<TreeSize>> = clients.iter().map(WitnessClient::known).collect();
        let wanted = |witness: usize, one: &SignedCheckpoint| {
            let size = one.checkpoint().size();
            let passed = known[witness].is_some_and(|known| known > size);
            !stopping() && !passed && !self.state.lock().have.contains(&(witness, size))
        };
        offer_all(&mut clients, tiles, &work, &wanted, &mut |outcome| {
            self.take(&work, outcome, clock.now());
        });
        self.finish(tiles);
    }

    /// Offers the last checkpoint of a run without waiting for its time. Witnesses that did not answer lately are left
    /// out, so that a stop waits for one offer at most.
    pub fn last_round(&self, tiles: &dyn TileStore, signed: Option<(TreeSize, Vec<u8>)>, clock: &dyn Clock) {
        self.state.lock().offered_at = None;
        self.round(tiles, signed, None, clock, &|| false);
    }

    /// The checkpoints to offer, by rising size: those of open heads, and the latest where it is time.
    fn due(
        &self,
        latest: Option<SignedCheckpoint>,
        day: Option<Date>,
        monotonic: Duration,
        clients: &[WitnessClient],
    ) -> Vec<SignedCheckpoint> {
        let mut state = self.state.lock();
        state.signed = latest.as_ref().map(|latest| latest.checkpoint().size());
        let lacks = |state: &State, size: TreeSize| {
            (0..clients.len()).any(|witness| {
                clients[witness].may_ask()
                    && clients[witness].known().is_none_or(|known| known <= size)
                    && !state.have.contains(&(witness, size))
            })
        };
        let latest = latest.filter(|latest| {
            let waited = state
                .offered_at
                .is_none_or(|at| monotonic.saturating_sub(at) >= OFFER_EVERY);
            waited && lacks(&state, latest.checkpoint().size())
        });
        let has = |day: Date| self.heads.has(day).unwrap_or(false);
        let is_new = |day: Date| state.newest.is_none_or(|newest| newest < day) && has(day);
        if latest.is_some() || day.is_some_and(is_new) {
            self.look_for_heads(&mut state);
        }
        let heads = state.open.values().map(|head| &head.checkpoint);
        let mut due: Vec<SignedCheckpoint> = heads
            .filter(|head| lacks(&state, head.checkpoint().size()))
            .cloned()
            .collect();
        if let Some(latest) = latest {
            state.offered_at = Some(monotonic);
            let size = latest.checkpoint().size();
            if due.iter().all(|head| head.checkpoint().size() != size) {
                due.push(latest);
            }
        }
        due.sort_by_key(|one| one.checkpoint().size());
        due
    }

    /// Opens the heads that were made since it last looked; at a start the newest ones.
    fn look_for_heads(&self, state: &mut State) {
        let since = state.newest;
        let found = self.heads.dates().and_then(|dates| {
            let new = dates.iter().rev().take_while(|date| Some(**date) > since);
            let read = |date: &Date| Ok((*date, self.heads.get(*date)?));
            let heads: std::io::Result<Vec<_>> = new.take(TAKEN_UP_MAX).map(read).collect();
            Ok((heads?, dates.last().copied()))
        });
        let (heads, last) = match found {
            Ok(found) => found,
            // They are looked for again.
            Err(error) => return tracing::warn!(%error, "the heads of days cannot be read now"),
        };
        for (date, head) in &heads {
            let Some(head) = head else { continue };
            match TlogProof::parse(head) {
                Ok(head) => drop(state.open.insert(*date, head)),
                Err(error) => tracing::error!(%date, %error, "a head cannot be read, and is not offered"),
            }
        }
        state.newest = last.max(since);
        self.close_heads(state);
    }

    /// Closes what is complete: all but the newest head whose quorum is met, not asked for, or proven late.
    fn close_heads(&self, state: &mut State) {
        let newest = state.newest;
        state.open.retain(|date, head| {
            let missed = self.quorum(&head.checkpoint) == Some(Quorum::Missed);
            Some(*date) == newest || (missed && !self.has_late(*date))
        });
    }

    /// Takes notice of one answer.
    fn take(&self, offered: &[SignedCheckpoint], outcome: Outcome, now: Timestamp) {
        let mut state = self.state.lock();
        let signed = state.signed;
        let took_ms = outcome.took.as_millis() as u64;
        let witness = &mut state.witnesses[outcome.witness];
        let name = witness.name.clone();
        let line = match outcome.result {
            Ok(line) => line,
            // It went on to a later checkpoint of ours: the head waits for a late proof.
            Err(OfferError::Ahead { known, .. }) if Some(known) <= signed => {
                witness.up = true;
                witness.trouble = None;
                witness.size = witness.size.max(Some(known));
                return;
            }
            Err(error) => {
                let words = error.to_string();
                let alarming = is_alarming(&error);
                if alarming {
                    tracing::error!(witness = name, size = %outcome.size, %error, "a witness has seen another ledger");
                } else if witness.trouble.as_ref() != Some(&words) {
                    tracing::warn!(witness = name, size = %outcome.size, took_ms, %error, "a witness did not cosign");
                }
                witness.up = false;
                witness.alarm = alarming;
                witness.trouble = Some(words);
                return;
            }
        };
        if !witness.up {
            tracing::info!(witness = name, size = %outcome.size, took_ms, "a witness cosigns");
        }
        witness.up = true;
        (witness.trouble, witness.alarm) = (None, false);
        witness.cosigned_at = Some(now);
        witness.size = witness.size.max(Some(outcome.size));
        state.have.insert((outcome.witness, outcome.size));
        let Some(checkpoint) = offered.iter().find(|one| one.checkpoint().size() == outcome.size) else {
            return;
        };
        self.add_to_heads(&mut state, checkpoint, &line);
        self.add_to_latest(&mut state, checkpoint, &line);
    }

    fn add_to_heads(&self, state: &mut State, checkpoint: &SignedCheckpoint, line: &NoteSignature) {
        let text = checkpoint.note().text();
        for (date, head) in &mut state.open {
            if head.checkpoint.note().text() != text || has_line_of(head.checkpoint.note(), line) {
                continue;
            }
            let mut more = head.clone();
            let kept = more.checkpoint.note_mut().add(line.clone());
            let kept = kept.map_err(|error| error.to_string()).and_then(|()| {
                let stored = self.heads.add_lines(*date, more.encode().as_bytes());
                stored.map_err(|error| error.to_string())
            });
            match kept {
                Ok(()) => {
                    tracing::info!(%date, witness = line.name(), "the head of a day is cosigned");
                    *head = more;
                }
                Err(error) => tracing::error!(%date, error, "a cosignature could not be added to a head"),
            }
        }
    }

    fn add_to_latest(&self, state: &mut State, checkpoint: &SignedCheckpoint, line: &NoteSignature) {
        let size = checkpoint.checkpoint().size();
        let mut latest = match &state.cosigned {
            Some(cosigned) if cosigned.note().text() == checkpoint.note().text() => cosigned.clone(),
            Some(cosigned) if cosigned.checkpoint().size() >= size => return,
            _ => checkpoint.clone(),
        };
        if has_line_of(latest.note(), line) {
            return;
        }
        if let Err(error) = latest.note_mut().add(line.clone()) {
            return tracing::warn!(%error, "a cosignature could not be added to the latest checkpoint");
        }
        if let Err(error) = self.heads.put_cosigned(latest.encode().as_bytes()) {
            tracing::warn!(%error, "the latest cosigned checkpoint was not kept");
        }
        state.cosigned = Some(latest);
    }

    /// Proves days whose head missed its quorum under the latest checkpoint that reached it, and closes what is complete.
    fn finish(&self, tiles: &dyn TileStore) {
        let mut state = self.state.lock();
        let reached = state
            .cosigned
            .clone()
            .filter(|signed| self.quorum(signed) == Some(Quorum::Met));
        if let Some(reached) = reached {
            for (date, head) in &state.open {
                let late = head.size() < reached.checkpoint().size()
                    && self.quorum(&head.checkpoint) == Some(Quorum::Missed)
                    && !self.has_late(*date);
                if late && let Err(error) = self.prove_late(tiles, *date, head, &reached) {
                    tracing::error!(%date, error, "a day could not be proven under a later checkpoint");
                }
            }
        }
        self.close_heads(&mut state);
        // Of other sizes nobody asks again.
        let mut asked: BTreeSet<TreeSize> = state.open.values().map(TlogProof::size).collect();
        asked.extend(state.have.iter().map(|(_, size)| *size).max());
        state.have.retain(|(_, size)| asked.contains(size));
    }

    fn prove_late(
        &self,
        tiles: &dyn TileStore,
        date: Date,
        head: &TlogProof,
        reached: &SignedCheckpoint,
    ) -> Result<(), String> {
        let size = reached.checkpoint().size();
        let late = TlogProof {
            extra: head.extra.clone(),
            index: head.index,
            hashes: inclusion_proof(tiles, head.index, size).map_err(|error| error.to_string())?,
            checkpoint: reached.clone(),
        };
        self.heads
            .put_late(date, late.encode().as_bytes())
            .map_err(|error| error.to_string())?;
        tracing::info!(%date, %size, "a day whose head missed its quorum is proven under a later checkpoint");
        Ok(())
    }
}

/// Whether a witness says in effect that it has seen another ledger of this name.
const fn is_alarming(error: &OfferError) -> bool {
    matches!(
        error,
        OfferError::Ahead { .. } | OfferError::Disagrees { .. } | OfferError::Refused { status: 422, .. }
    )
}

/// Whether a note has a line by the key of this line; a second one with another time says nothing new.
fn has_line_of(note: &Note, line: &NoteSignature) -> bool {
    note.signatures()
        .iter()
        .any(|there| there.name() == line.name() && there.key_id() == line.key_id())
}

fn read_policy(path: &Path) -> Result<Policy, WitnessesError> {
    let mut bytes = Vec::new();
    std::fs::File::open(path)
        .and_then(|file| file.take(POLICY_BYTES_MAX as u64 + 1).read_to_end(&mut bytes))
        .map_err(|error| WitnessesError::Unreadable {
            path: path.to_owned(),
            error,
        })?;
    Policy::parse(&bytes).map_err(|error| WitnessesError::Policy {
        path: path.to_owned(),
        error,
    })
}
