//! One entry of the old ledger as an event of the new one: the same fact in the same stream, sealed anew.
//!
//! A sealed value is bound to its ledger and its place in it, so it is opened with the old ledger's keys and sealed with
//! a new key of the same person or account. An old value of a change is sealed at its own place in the new entry. What
//! cannot be opened because its key is not there any more was erased: it stays so, as a sealed `null`, or as no old
//! value; and the index by which an erased address was found is replaced by a random one.
//! Invariants: nothing is written in the clear; a value whose key is there and that does not open stops everything.
//! Source: FORMAT §2. Not here: the cipher (`domain::sealed`), which entries (`find`).

use super::{ACTOR, CarryOverError};
use crate::keys::FileKeyStore;
use domain::canonical::Canonical;
use domain::entry::{Entry, NewEvent, Placement, Salt, encode};
use domain::event::{CarriedOver, Metadata};
use domain::hash::base64url;
use domain::ports::{Entropy, KeyStore};
use domain::registry::Registry;
use domain::sealed::{NONCE_BYTES, Place, SealPlace, Sealed, SealedField, open, seal};
use domain::{Hash, Position};
use serde_json::{Map, Value};
use std::collections::HashMap;
use std::sync::Arc;

/// The members that index an address, which is found by them, and where the address stands.
const INDEXES: [(&str, &str, &str); 2] = [
    ("email_index", "/email", "/changes/email/new"),
    ("address_index", "/address", ""),
];
/// Bytes of an index that finds nothing.
const INDEX_BYTES: usize = 32;

/// A ledger's name and its keys of persons and accounts.
pub struct Side {
    /// The origin.
    pub origin: String,
    /// The keys.
    pub keys: Arc<FileKeyStore>,
}

/// Makes new events of old entries, in their order.
pub struct Resealer {
    from: Side,
    to: Side,
    entropy: Arc<dyn Entropy>,
    /// How many events each stream has so far: sign-ins are left behind, so sequences are others than they were.
    sequences: HashMap<String, u64>,
    /// What the new ledger will fold, so that whatever does not fit is found before there is one.
    registry: Registry,
    /// Where the next one is tried: what stands before it in the ledger is counted out of its way.
    next: u64,
    erased: u64,
}

/// An event on its way, and what its values are bound to.
struct Resealing<'a> {
    entry: &'a Entry<'a>,
    account: &'a str,
    sequence: u64,
    salt: String,
    erased: Vec<String>,
}

impl Resealer {
    /// From one ledger to another.
    pub fn new(from: Side, to: Side, entropy: Arc<dyn Entropy>) -> Self {
        Self {
            from,
            to,
            entropy,
            sequences: HashMap::new(),
            registry: Registry::default(),
            next: 0,
            erased: 0,
        }
    }

    /// How many values were erased, and stay so.
    pub fn erased(&self) -> u64 {
        self.erased
    }

    /// What an entry becomes, and its sequence in its stream. Its leaf hash is that of its bytes.
    ///
    /// # Errors
    /// [`CarryOverError::Entry`]; `NoKey`.
    pub fn event(&mut self, entry: &Entry<'_>, leaf: Hash) -> Result<(NewEvent, u64), CarryOverError> {
        let at = entry.position;
        let old = Metadata::read(entry.metadata).map_err(|e| CarryOverError::entry(at, e))?;
        let sequence = {
            let sequence = self.sequences.entry(entry.stream_name()).or_default();
            *sequence += 1;
            *sequence
        };
        let mut salt = Salt::default();
        self.entropy.fill(&mut salt);
        let mut resealing = Resealing {
            entry,
            account: old.account.as_deref().unwrap_or_default(),
            sequence,
            salt: base64url(&salt),
            erased: Vec::new(),
        };
        let payload = serde_json::from_slice(entry.payload).map_err(|e| CarryOverError::entry(at, e))?;
        let mut payload = self.reseal(&mut resealing, payload, &mut String::new())?;
        if let Some(members) = payload.as_object_mut() {
            self.unlink(members, &resealing.erased);
        }
        self.erased += resealing.erased.len() as u64;
        let metadata = carried(old, entry, leaf, sequence);
        let event = NewEvent {
            aggregate_type: entry.aggregate_type.to_owned().into(),
            aggregate_id: entry.aggregate_id.to_owned(),
            event_type: entry.event_type.to_owned().into(),
            event_version: entry.event_version.to_owned().into(),
            payload: Canonical::of(&payload).map_err(CarryOverError::canonical(at))?,
            metadata: metadata.write().map_err(CarryOverError::canonical(at))?,
            salt: Some(salt),
        };
        self.try_out(&event, sequence, salt, entry)?;
        Ok((event, sequence))
    }

    /// Whether the new ledger will take the event: it is an entry, and follows from those before it.
    fn try_out(
        &mut self,
        event: &NewEvent,
        sequence: u64,
        salt: Salt,
        entry: &Entry<'_>,
    ) -> Result<(), CarryOverError> {
        let placement = Placement {
            position: Position(self.next),
            recorded_at: entry.recorded_at,
            sequence,
            salt,
        };
        self.next += 1;
        let mut bytes = Vec::with_capacity(1_024);
        encode(&mut bytes, &placement, event).map_err(CarryOverError::encoded(entry.position))?;
        let new = Entry::decode(&bytes).map_err(CarryOverError::encoded(entry.position))?;
        self.registry
            .apply(&new)
            .map_err(|e| CarryOverError::entry(entry.position, format!("as it would be carried over: {e}")))
    }

    fn reseal(
        &self,
        at: &mut Resealing<'_>,
        value: Value,
        pointer: &mut String,
    ) -> Result<Value, CarryOverError> {
        match value {
            Value::Object(members) if members.contains_key("sealed") => {
                self.reseal_one(at, Value::Object(members), pointer)
            }
            Value::Object(members) => {
                let mut new = Map::new();
                for (name, member) in members {
                    let step = name.replace('~', "~0").replace('/', "~1");
                    let member = self.below(at, member, pointer, &step)?;
                    new.insert(name, member);
                }
                Ok(Value::Object(new))
            }
            Value::Array(values) => {
                let values = values.into_iter().enumerate();
                let new = values.map(|(index, value)| self.below(at, value, pointer, &index.to_string()));
                Ok(Value::Array(new.collect::<Result<_, _>>()?))
            }
            plain => Ok(plain),
        }
    }

    fn below(
        &self,
        at: &mut Resealing<'_>,
        value: Value,
        pointer: &mut String,
        step: &str,
    ) -> Result<Value, CarryOverError> {
        let length = pointer.len();
        pointer.push('/');
        pointer.push_str(step);
        let new = self.reseal(at, value, pointer);
        pointer.truncate(length);
        new
    }

    /// A sealed value: one that says where it was sealed is an old one, else it was sealed where it stands.
    fn reseal_one(
        &self,
        at: &mut Resealing<'_>,
        value: Value,
        pointer: &str,
    ) -> Result<Value, CarryOverError> {
        let wrong = |what: &dyn std::fmt::Display| {
            CarryOverError::entry(
                at.entry.position,
                format!("the sealed value at {pointer}: {what}"),
            )
        };
        let is_old = value.get("place").is_some();
        let (stream, id) = (at.entry.aggregate_type, at.entry.aggregate_id);
        let field: SealedField = if is_old {
            serde_json::from_value(value).map_err(|e| wrong(&e))?
        } else {
            let sealed: Sealed = serde_json::from_value(value).map_err(|e| wrong(&e))?;
            sealed.at(Place {
                pointer: pointer.to_owned(),
                salt: at.entry.salt.to_owned(),
                sequence: at.entry.sequence,
            })
        };
        let plain = match self.from.keys.get(&field.sealed.key) {
            Some(key) => field
                .open(&self.from.origin, stream, id, &key)
                .map_err(|e| wrong(&e))?,
            None => Value::Null,
        };
        if plain.is_null() {
            at.erased.push(pointer.to_owned());
            if is_old {
                return Ok(Value::Null);
            }
        }
        let subject = self.from.keys.subject_of(&field.sealed.key);
        let subject = subject.unwrap_or_else(|| at.account.to_owned());
        let place = SealPlace {
            aggregate_type: stream,
            aggregate_id: id,
            sequence: at.sequence,
            pointer,
            salt: &at.salt,
        };
        let sealed = self.seal(&place, &plain, &subject)?;
        let new = if is_old {
            serde_json::to_value(sealed.at(Place {
                pointer: pointer.to_owned(),
                salt: at.salt.clone(),
                sequence: at.sequence,
            }))
        } else {
            serde_json::to_value(sealed)
        };
        new.map_err(|e| wrong(&e))
    }

    fn seal(&self, place: &SealPlace<'_>, plain: &Value, subject: &str) -> Result<Sealed, CarryOverError> {
        let keys = &self.to.keys;
        let id = keys.create(subject).map_err(CarryOverError::NoKey)?;
        let key = keys
            .get(&id)
            .ok_or_else(|| CarryOverError::NoKey(format!("that of {subject} is gone")))?;
        let mut nonce = [0u8; NONCE_BYTES];
        self.entropy.fill(&mut nonce);
        let sealed = seal(&self.to.origin, place, plain, &key, nonce)
            .map_err(|error| CarryOverError::NoKey(error.to_string()))?;
        debug_assert_eq!(
            open(&self.to.origin, place, &sealed, &key).as_ref(),
            Ok(plain),
            "what was sealed opens"
        );
        Ok(sealed)
    }

    /// An erased address is not found by its index any more.
    fn unlink(&self, members: &mut Map<String, Value>, erased: &[String]) {
        let is_erased = |pointer: &str| erased.iter().any(|it| it == pointer);
        for (name, first, changed) in INDEXES {
            if is_erased(first)
                && let Some(index) = members.get_mut(name).filter(|it| it.is_string())
            {
                *index = self.nobody();
            }
            if is_erased(changed)
                && let Some(change) = members
                    .get_mut("changes")
                    .and_then(|changes| changes.get_mut(name))
                    .and_then(Value::as_object_mut)
            {
                for side in change.values_mut() {
                    *side = self.nobody();
                }
            }
        }
    }

    fn nobody(&self) -> Value {
        let mut bytes = [0u8; INDEX_BYTES];
        self.entropy.fill(&mut bytes);
        base64url(&bytes).into()
    }
}

/// The metadata of what is carried over: whose it is and why it was done stay; who asked by which request does not.
fn carried(old: Metadata, entry: &Entry<'_>, leaf_hash: Hash, sequence: u64) -> Metadata {
    let recorded_at = old.carried_over.map_or(entry.recorded_at, |it| it.recorded_at);
    Metadata {
        account: old.account.clone(),
        actor: Some(ACTOR.to_owned()),
        auth: Some("system".to_owned()),
        carried_over: Some(CarriedOver {
            leaf_hash,
            position: entry.position,
            recorded_at,
        }),
        owner: old.owner.clone().filter(|_| sequence == 1),
        reason: old.reason.clone(),
        on_behalf_of: old.author(),
        ..Metadata::default()
    }
}
