//! Bringing a new key into force on a stopped directory, and finishing what a crash left of that at the next start.
//!
//! The order: the new key's file beside the old one, durable → the entry → the checkpoint that both sign → the proof
//! beside the heads → the new file in the old one's place. What a crash leaves at each step stands in
//! `commands::sequencer` (`rotate`); here, a `….next` file that is found says that something was begun, and the ledger
//! says how far it came. It is the only way: a service that runs holds the directory's lock, and is stopped first, so
//! that no request is answered between two keys.
//! A log key that another process holds is made there, and only its entry is recorded here (`elsewhere`); one that would
//! sign beside it belongs to the publisher, which cannot do that yet. Receipts are signed here, and their key is replaced
//! as ever; whoever signs checkpoints finds the entry and keeps its proof.
//! Invariants: a key is in force only when its entry is in the ledger and signed by both; the private recovery key is
//! read from a file that the operator brings, and never kept.
//! Source: FORMAT §1. Not here: what the entry holds (`domain::rotation`), the command (`cli::key`).

mod elsewhere;
mod recovery;

pub use recovery::rotate as rotate_recovery;

use crate::app::{Outside, head_store, made_after};
use crate::begin::start_events;
use crate::config::Settings;
use crate::publisher::VERIFIER_KEY;
use crate::stores::{
    KEYS, LogKey, StoresError, log_key_elsewhere, open_ledger, read_origin, read_recovery_key, signing_key,
};
use commands::ingest::channels::AutoChannels;
use commands::keys::{FileKeyStore, KeyError, RoleKeys, Secret, Start};
use commands::ledger::{Ledger, Recovery};
use commands::sequencer::{
    self, EventGroup, Keys, NextKey, Ports, RecordError, RotationOrder, Sequencer, Settled, Signers, Signing,
    StartError,
};
use domain::canonical::{Canonical, CanonicalError};
use domain::entry::{Entry, NewEvent};
use domain::event::EVENT_VERSION;
use domain::note::{Signer, SigningKey, VerifierKey};
use domain::ports::{EventLog, ReadError, Seen, SeenReadings};
use domain::pq::MlDsaKey;
use domain::registry::Registry;
use domain::rotation::{KEY_ROTATED, KeyHistory, KeyRotated, Role, RotationReason, VouchedBy, sign_rotation};
use domain::{Position, Timestamp, TreeSize};
use parking_lot::RwLock;
use serde_json::json;
use std::path::Path;
use std::sync::Arc;

/// Every role that has a key.
pub const ROLES: [Role; 3] = [Role::Log, Role::Receipt, Role::PostQuantum];
/// Entries that are read at once when rotations are looked for.
const READ_ENTRIES: usize = 256;

/// A key could not be brought into force.
#[derive(Debug, thiserror::Error)]
pub enum RekeyError {
    /// Directory, origin or ledger.
    #[error(transparent)]
    Stores(#[from] StoresError),
    /// A key's file.
    #[error(transparent)]
    Keys(#[from] KeyError),
    /// The sequencer does not start.
    #[error(transparent)]
    Start(#[from] StartError),
    /// The entry was not recorded, or nobody knows.
    #[error("{0}; run the same command again: it finds out how far it came")]
    Record(#[from] RecordError),
    /// The ledger's own entries cannot be read.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// An event that cannot be written.
    #[error(transparent)]
    Canonical(#[from] CanonicalError),
    /// What was asked does not fit the ledger.
    #[error("{0}")]
    Refused(String),
}

/// What was done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rekeyed {
    /// What the key is for.
    pub role: Role,
    /// The key in force.
    pub new: VerifierKey,
    /// Where its entry stands.
    pub position: Position,
    /// It was begun before, and only finished now.
    pub finished: bool,
}

/// Nobody sends readings while keys change.
struct NoReadings;

impl SeenReadings for NoReadings {
    fn cursor(&self) -> TreeSize {
        TreeSize::EMPTY
    }

    fn seen(&self, _: &[(&str, Timestamp)]) -> Result<Option<Vec<Option<Seen>>>, String> {
        Ok(None)
    }
}

/// A key of any role.
enum RoleKey {
    Ed25519(Arc<SigningKey>),
    MlDsa(Arc<MlDsaKey>),
}

impl RoleKey {
    fn new(role: Role, origin: &str, seed: &Secret) -> Result<Self, StoresError> {
        let name = role.key_name(origin);
        Ok(match role {
            Role::Log | Role::Receipt | Role::Recovery => Self::Ed25519(Arc::new(signing_key(&name, seed)?)),
            Role::PostQuantum => Self::MlDsa(Arc::new(crate::stores::post_quantum_key(&name, seed)?)),
        })
    }

    fn signer(&self) -> Arc<dyn Signer> {
        match self {
            Self::Ed25519(key) => key.clone(),
            Self::MlDsa(key) => key.clone(),
        }
    }

    fn verifier_key(&self) -> VerifierKey {
        match self {
            Self::Ed25519(key) => key.verifier_key(),
            Self::MlDsa(key) => key.verifier_key(),
        }
    }
}

/// The directory, locked, and its keys.
struct Opened<'a> {
    settings: &'a Settings,
    outside: &'a Outside,
    origin: String,
    log: Arc<Ledger>,
    cut: Recovery,
    recovery: Option<Arc<SigningKey>>,
    /// Who signs checkpoints, where that is another process.
    elsewhere: Option<LogKey>,
}

impl<'a> Opened<'a> {
    fn open(
        settings: &'a Settings,
        outside: &'a Outside,
        recovery: Option<&Path>,
    ) -> Result<Self, RekeyError> {
        let origin = read_origin(&settings.data)?
            .ok_or_else(|| RekeyError::Refused("there is no ledger yet".to_owned()))?;
        let recovery = recovery
            .map(|path| read_recovery_key(path, &origin))
            .transpose()?;
        let elsewhere = log_key_elsewhere(settings, Start::Later)?;
        let (log, cut, _) = open_ledger(settings, &origin, elsewhere.as_ref())?;
        Ok(Self {
            settings,
            outside,
            origin,
            log: Arc::new(log),
            cut,
            recovery: recovery.map(Arc::new),
            elsewhere,
        })
    }

    fn files(&self, role: Role) -> RoleKeys {
        RoleKeys::new(&self.settings.data.join(KEYS), role)
    }

    fn key(&self, role: Role) -> Result<Option<RoleKey>, RekeyError> {
        let secret = self.files(role).current()?;
        let key = secret.map(|seed| RoleKey::new(role, &self.origin, &seed));
        Ok(key.transpose()?)
    }

    /// Who signs now, the first alone and the rest beside it, nobody where another process does; and who vouches for a
    /// new key of that role.
    fn signers(&self, role: Role, new: &RoleKey) -> Result<(Signers, Arc<dyn Signer>), RekeyError> {
        let missing = |what: &str| {
            RekeyError::Refused(format!(
                "the {what} key is not there: restore it from a backup, or, if it is lost, bring a new one into force with  \
                 daybook key recover"
            ))
        };
        let log = match self.elsewhere {
            None => self.key(Role::Log)?.map(|key| key.signer()),
            Some(_) => None,
        };
        let recovery = || self.recovery.clone().map(|key| key as Arc<dyn Signer>);
        let mut now: Signers = match (&log, role, recovery()) {
            _ if self.elsewhere.is_some() => Vec::new(),
            (Some(log), _, _) => vec![log.clone()],
            // What is still to be signed below the rotation, both vouch for.
            (None, Role::Log, Some(recovery)) => vec![recovery, new.signer()],
            (None, ..) => return Err(missing("log")),
        };
        if self.elsewhere.is_none() {
            now.extend(self.key(Role::PostQuantum)?.map(|key| key.signer()));
        }
        let voucher = match (recovery(), role) {
            (Some(recovery), _) => recovery,
            // It is vouched for by itself, from its own file.
            (None, Role::Recovery) => return Err(missing("recovery")),
            (None, Role::Receipt) => self.key(role)?.ok_or_else(|| missing("receipt"))?.signer(),
            (None, Role::Log | Role::PostQuantum) => log.ok_or_else(|| missing("log"))?,
        };
        Ok((now, voucher))
    }

    /// The key that is to come into force, and who signs when.
    fn next(&self, role: Role, new: &RoleKey, voucher: &Arc<dyn Signer>) -> Result<NextKey, RekeyError> {
        let beside = self.key(Role::PostQuantum)?.map(|key| key.signer());
        let with = |signers: Signers| signers.into_iter().chain(beside.clone()).collect();
        let (both, after): (Signers, Signers) = match role {
            Role::Log => (
                with(vec![voucher.clone(), new.signer()]),
                with(vec![new.signer()]),
            ),
            Role::Receipt | Role::Recovery => (Vec::new(), Vec::new()),
            Role::PostQuantum => {
                let log = self.key(Role::Log)?;
                let log = log.map_or_else(|| voucher.clone(), |log| log.signer());
                let mut both = vec![log.clone(), new.signer()];
                if voucher.key_id() != log.key_id() {
                    both.push(voucher.clone());
                }
                (both, vec![log, new.signer()])
            }
        };
        let mut vouchers = vec![(voucher.name().to_owned(), voucher.key_id())];
        if role != Role::PostQuantum {
            let new = new.signer();
            vouchers.push((new.name().to_owned(), new.key_id()));
        }
        Ok(NextKey {
            vkey: new.verifier_key().to_string(),
            both,
            after,
            vouchers,
        })
    }

    fn start(&self, now: Signers, next: Option<NextKey>) -> Result<(Sequencer, Option<Settled>), RekeyError> {
        let mut now = now.into_iter();
        let signing = match &self.elsewhere {
            Some(key) => key.signing(Some(&self.settings.data)),
            None => Signing::Here(
                now.next()
                    .ok_or_else(|| RekeyError::Refused("no key signs here".to_owned()))?,
            ),
        };
        let keys = FileKeyStore::open(&self.settings.data.join(KEYS), self.outside.entropy.clone())?;
        let ports = Ports {
            log: self.log.clone(),
            tiles: self.log.clone(),
            checkpoints: self.log.clone(),
            derived: self.log.clone(),
            seen: Arc::new(NoReadings),
            channels: Arc::new(AutoChannels {
                origin: self.origin.clone(),
                keys: Arc::new(keys),
            }),
            signing,
            clock: self.outside.clock.clone(),
            entropy: self.outside.entropy.clone(),
        };
        let settings = sequencer::Settings {
            origin: self.origin.clone(),
            build_date: made_after(),
            snapshot_entries: sequencer::SNAPSHOT_ENTRIES,
            beside_entries: sequencer::BESIDE_ENTRIES,
            heads: head_store(self.settings),
        };
        let keys = Keys {
            beside: now.collect(),
            next,
        };
        let registry = Arc::new(RwLock::new(Registry::default()));
        Ok(Sequencer::start_with(ports, settings, registry, keys)?)
    }
}

/// The roles whose keys are here.
fn roles_here(settings: &Settings) -> &'static [Role] {
    match settings.signed_elsewhere {
        None => &ROLES,
        Some(_) => &[Role::Receipt],
    }
}

/// Whether something was begun in this directory and not finished.
///
/// # Errors
/// Where that cannot be told.
pub fn is_pending(settings: &Settings) -> Result<bool, RekeyError> {
    let dir = settings.data.join(KEYS);
    if elsewhere::is_pending(settings)? {
        return Ok(true);
    }
    for role in roles_here(settings) {
        if RoleKeys::new(&dir, *role).next()?.is_some() {
            return Ok(true);
        }
    }
    Ok(false)
}

/// A key that another process holds, or that would sign beside it, is not replaced here.
fn is_here(settings: &Settings, role: Role, recovery: Option<&Path>) -> Result<(), RekeyError> {
    let path = settings.data.join(VERIFIER_KEY);
    let begun_so = path
        .try_exists()
        .map_err(|error| StoresError::Io { path, error })?;
    if !begun_so && settings.signed_elsewhere.is_none() {
        return Ok(());
    }
    let why = match role {
        Role::Receipt | Role::Recovery => return Ok(()),
        Role::Log if recovery.is_none() && settings.signed_elsewhere.is_some() => return Ok(()),
        Role::Log if recovery.is_none() => {
            "the log key is with `daybook publish`: give the service's settings with --config"
        }
        Role::Log => {
            "the log key is with `daybook publish`, where the recovery key cannot vouch for a new one yet"
        }
        Role::PostQuantum => {
            "the post-quantum key signs checkpoints, and those are signed by `daybook publish`, which has none yet"
        }
    };
    Err(RekeyError::Refused(format!(
        "{why}; nothing was changed. The receipt key can be replaced here: --role receipt. Where the log key is lost or \
         stolen, begin a ledger that continues this one: daybook continue"
    )))
}

/// Finishes what was begun, or takes back what no entry names. `recovery` is the file of the recovery key, where it is
/// at hand.
///
/// # Errors
/// [`RekeyError`]; what was begun stays as it is.
pub async fn settle(
    settings: &Settings,
    outside: &Outside,
    recovery: Option<&Path>,
) -> Result<Vec<Rekeyed>, RekeyError> {
    let mut done: Vec<Rekeyed> = elsewhere::settle(settings).await?.into_iter().collect();
    for role in roles_here(settings).iter().copied() {
        let files = RoleKeys::new(&settings.data.join(KEYS), role);
        let Some(seed) = files.next()? else { continue };
        let opened = Opened::open(settings, outside, recovery)?;
        let new = RoleKey::new(role, &opened.origin, &seed)?;
        let (now, voucher) = opened.signers(role, &new)?;
        let next = opened.next(role, &new, &voucher)?;
        let (sequencer, settled) = opened.start(now, Some(next))?;
        // A tail that was cut now is told now: the next start does not know of it.
        let recorded = record_start(&opened, &sequencer).await;
        sequencer.stop().await;
        recorded?;
        opened.log.stop();
        match settled {
            Some(Settled::InForce(position)) => {
                files.put_in_force()?;
                tracing::info!(role = role.as_str(), %position, "a rotation that was begun is finished");
                done.push(Rekeyed {
                    role,
                    new: new.verifier_key(),
                    position,
                    finished: true,
                });
            }
            Some(Settled::NotRecorded) | None => {
                files.forget_next()?;
                tracing::info!(role = role.as_str(), "a key that no entry names is taken back");
            }
        }
    }
    Ok(done)
}

/// Brings a new key into force. With `recovery`, the file of the recovery key, that one vouches for it.
///
/// # Errors
/// [`RekeyError`]; run again, it goes on where it was.
pub async fn rotate(
    settings: &Settings,
    outside: &Outside,
    role: Role,
    reason: RotationReason,
    recovery: Option<&Path>,
) -> Result<Rekeyed, RekeyError> {
    is_here(settings, role, recovery)?;
    if settings.signed_elsewhere.is_some() && role == Role::Log {
        return elsewhere::rotate(settings, outside).await;
    }
    let settled = settle(settings, outside, recovery).await?;
    if let Some(done) = settled.into_iter().find(|done| done.role == role) {
        return Ok(done);
    }
    let opened = Opened::open(settings, outside, recovery)?;
    let files = opened.files(role);
    let old = opened.key(role)?.map(|key| key.verifier_key());
    // The signers are asked for before a key is made, so that nothing is begun that cannot go on.
    let seed = files.make_next(&*outside.entropy)?;
    let new = RoleKey::new(role, &opened.origin, &seed)?;
    let change = Replacement {
        role,
        reason,
        new: &new,
        old: old.as_ref(),
    };
    let begun = begin(&opened, &change).await;
    opened.log.stop();
    match begun {
        Ok(position) => {
            files.put_in_force()?;
            Ok(Rekeyed {
                role,
                new: new.verifier_key(),
                position,
                finished: false,
            })
        }
        Err(error) => {
            // What was refused before anything was recorded leaves nothing behind.
            if matches!(error, RekeyError::Refused(_)) {
                files.forget_next()?;
            }
            Err(error)
        }
    }
}

/// Which key takes whose place, and why.
struct Replacement<'a> {
    role: Role,
    reason: RotationReason,
    new: &'a RoleKey,
    /// What is in the keys' folder, if anything.
    old: Option<&'a VerifierKey>,
}

async fn begin(opened: &Opened<'_>, change: &Replacement<'_>) -> Result<Position, RekeyError> {
    let (now, voucher) = opened.signers(change.role, change.new)?;
    let next = opened.next(change.role, change.new, &voucher)?;
    let (sequencer, _) = opened.start(now, None)?;
    let recorded = record(opened, &sequencer, change, voucher, next).await;
    sequencer.stop().await;
    recorded
}

async fn record(
    opened: &Opened<'_>,
    sequencer: &Sequencer,
    change: &Replacement<'_>,
    voucher: Arc<dyn Signer>,
    next: NextKey,
) -> Result<Position, RekeyError> {
    let Replacement {
        role,
        reason,
        new,
        old,
    } = *change;
    let positions = sequencer.positions().of("ledger", "main");
    let history = history(&*opened.log, &positions).await?;
    let in_force = history.key_at(role, opened.log.size_now()).cloned();
    fits(opened, role, old, in_force.as_ref(), &history)?;
    record_start(opened, sequencer).await?;
    let origin = opened.origin.clone();
    let vkey = new.verifier_key().to_string();
    let own = (role != Role::PostQuantum).then(|| new.signer());
    let old = in_force.map(|key| key.to_string());
    let make = move |position: Position| -> Result<NewEvent, String> {
        let note = sign_rotation(&origin, role, &vkey, position, &*voucher, own.as_deref());
        let said = KeyRotated {
            role,
            old,
            new: vkey,
            reason,
            note: note.map_err(|error| error.to_string())?,
        };
        event(&said).map_err(|error| error.to_string())
    };
    let order = RotationOrder {
        make: Box::new(make),
        next,
    };
    let recorded = sequencer.rotate(order).await?;
    Ok(Position(recorded.positions.start))
}

/// What every start records.
async fn record_start(opened: &Opened<'_>, sequencer: &Sequencer) -> Result<(), RekeyError> {
    let events = start_events(&opened.cut)?;
    let group = EventGroup {
        events: events.into_iter().map(|event| (event, None)).collect(),
        ..EventGroup::default()
    };
    sequencer.record(group).await?;
    Ok(())
}

/// What is here must be what the ledger names.
fn fits(
    opened: &Opened<'_>,
    role: Role,
    old: Option<&VerifierKey>,
    in_force: Option<&VerifierKey>,
    history: &KeyHistory,
) -> Result<(), RekeyError> {
    let refuse = |what: String| Err(RekeyError::Refused(what));
    if old.is_some() && old != in_force {
        return refuse(format!(
            "the {role} key in {} is not the one that the ledger names: restore the newest copy of keys/",
            opened.settings.data.join(KEYS).display()
        ));
    }
    if role != Role::PostQuantum && in_force.is_none() {
        return refuse(format!("the ledger names no {role} key"));
    }
    let Some(recovery) = &opened.recovery else {
        return Ok(());
    };
    match history.recovery() {
        None => {
            refuse("this ledger was begun without a recovery key, so none can vouch for a new one".to_owned())
        }
        Some(named) if *named != recovery.verifier_key() => refuse(format!(
            "the recovery key that was given is {}, and the ledger names {named}",
            recovery.verifier_key()
        )),
        Some(_) => Ok(()),
    }
}

/// The keys that a ledger names, from its own entries.
///
/// # Errors
/// [`RekeyError`] where they cannot be read or a rotation does not hold.
pub async fn history(log: &dyn EventLog, positions: &[Position]) -> Result<KeyHistory, RekeyError> {
    let mut history = KeyHistory::default();
    for some in positions.chunks(READ_ENTRIES) {
        let block = log.read_at(some).await?;
        for (position, bytes) in block.iter() {
            let entry = Entry::read(bytes)
                .map_err(|error| RekeyError::Refused(format!("the entry at position {position}: {error}")))?;
            if position == Position::FIRST {
                history = KeyHistory::begin(entry.payload);
            } else if entry.event_type == KEY_ROTATED {
                history.take(&entry).map_err(RekeyError::Refused)?;
            }
        }
    }
    Ok(history)
}

fn event(said: &KeyRotated) -> Result<NewEvent, CanonicalError> {
    Ok(NewEvent {
        aggregate_type: "ledger".into(),
        aggregate_id: "main".to_owned(),
        event_type: KEY_ROTATED.into(),
        event_version: EVENT_VERSION.into(),
        payload: Canonical::from_serialize(said)?,
        metadata: Canonical::of(&json!({
            "actor": "system:operator",
            "reason": {"code": said.reason.as_str()},
        }))?,
        salt: None,
    })
}

/// Who vouched, in a word.
pub const fn vouched(by: VouchedBy) -> &'static str {
    match by {
        VouchedBy::Old => "the key before",
        VouchedBy::Recovery => "the recovery key",
    }
}
