//! The registry: what is configured now, folded from the configuration's streams and the tray. Derived.
//!
//! Invariants: it is a pure fold of entries in the order of their positions, so folding up to a position gives
//! what was in force there; ids are looked up within an account, and what belongs to another account is not
//! there; nothing is ever forgotten, only marked removed; look-ups of the way of a reading allocate nothing.
//! Hash maps are only ever asked for one key, never walked: lists are in order of creation.
//! Source: DESIGN "The way of a reading". Not here: readings, what projections answer, sealed texts' meaning.

mod admit;
mod apply;
mod check;
mod lookup;
mod rules;
#[cfg(test)]
mod tests;

pub use admit::{Admitted, NotAdmitted};
pub use apply::RegistryError;
pub use check::{
    ARTEFACTS_PER_OWNER_MAX, CHANNELS_PER_DEVICE_MAX, DERIVED_PER_SOURCE_MAX, RULES_PER_CHANNEL_MAX,
    SILENCES_PER_CHANNEL_MAX, TRAILING_PER_ACCOUNT_MAX, TRAILING_PER_DEVICE_MAX, TRAY_DEVICES_MAX,
    TRAY_UPLINKS_MAX,
};
pub use rules::{InForce, simple_rule_id};

use crate::aggregate;
use crate::event::TokenKind;
use crate::position::{Position, TreeSize};
use crate::retention::RetentionTerms;
use crate::time::Timestamp;
use std::collections::HashMap;
use std::sync::Arc;

/// An entry's place in the ledger and when it was recorded; of what was carried over from another one, when it was there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Mark {
    /// The entry's position.
    pub position: Position,
    /// When it was recorded.
    pub at: Timestamp,
}

/// An account and what is in it.
#[derive(Debug, Clone)]
pub struct Account {
    /// `acc_…`
    pub id: Arc<str>,
    /// Its first entry.
    pub created: Mark,
    /// The newest entry of its own stream.
    pub changed: Mark,
    /// Its stream's state.
    pub state: aggregate::Account,
    locals: HashMap<Box<str>, Slot>,
    dev_euis: HashMap<Box<str>, Slot>,
    serials: HashMap<Box<str>, Slot>,
    waiting: HashMap<Box<str>, Slot>,
    waiting_count: usize,
    owners: usize,
    /// Channels that are made of past days of others.
    trailing_count: usize,
    users: Vec<Slot>,
    sites: Vec<Slot>,
    devices: Vec<Slot>,
    integrations: Vec<Slot>,
    artefacts: Vec<Slot>,
    contacts: Vec<Slot>,
    trays: Vec<Slot>,
    silences: Vec<Slot>,
}

/// A person's access to an account.
#[derive(Debug, Clone)]
pub struct User {
    /// `usr_…`
    pub id: Arc<str>,
    /// The account it opens.
    pub account: Arc<str>,
    /// Its first entry.
    pub created: Mark,
    /// The newest entry of its stream.
    pub changed: Mark,
    /// Its stream's state.
    pub state: aggregate::User,
}

/// A site.
#[derive(Debug, Clone)]
pub struct Site {
    /// `site_…`
    pub id: Arc<str>,
    /// Whose it is.
    pub account: Arc<str>,
    /// Its first entry.
    pub created: Mark,
    /// The newest entry of its stream.
    pub changed: Mark,
    /// Its stream's state.
    pub state: aggregate::Site,
}

/// A device and its channels.
#[derive(Debug, Clone)]
pub struct Device {
    /// `dev_…`
    pub id: Arc<str>,
    /// How many devices were registered before it.
    pub number: u32,
    /// Whose it is.
    pub account: Arc<str>,
    /// Its first entry.
    pub created: Mark,
    /// The newest entry of its own stream.
    pub changed: Mark,
    /// The newest entry among its own stream and its channels' streams: what a reading's `config` names.
    pub config: Position,
    /// Its stream's state.
    pub state: aggregate::Device,
    channels: Vec<(Box<str>, Slot)>,
    tray: Option<Slot>,
}

/// A channel, which is one with its sensor.
#[derive(Debug, Clone)]
pub struct Channel {
    /// `chn_…`
    pub id: Arc<str>,
    /// Whose it is.
    pub account: Arc<str>,
    /// Its first entry.
    pub created: Mark,
    /// The newest entry of its stream.
    pub changed: Mark,
    /// Its stream's state; names device, sensor and key.
    pub state: aggregate::Channel,
    /// How many times its simple rule was given another definition, whether by its limits or by a stream of its own.
    pub simple_version: u32,
    /// When that was last.
    pub simple_changed: Mark,
    rules: Vec<Slot>,
    /// Channels whose values are, or once were, made of this one's.
    feeds: Vec<Slot>,
    silences: Vec<Slot>,
}

/// A rule with a stream of its own.
#[derive(Debug, Clone)]
pub struct Rule {
    /// `rul_…`
    pub id: Arc<str>,
    /// Whose it is.
    pub account: Arc<str>,
    /// Its first entry.
    pub created: Mark,
    /// The newest entry of its stream.
    pub changed: Mark,
    /// Its stream's state; names the channel.
    pub state: aggregate::Rule,
}

/// A time in which nobody is told of a channel's alarms.
#[derive(Debug, Clone)]
pub struct Silence {
    /// `sil_…`
    pub id: Arc<str>,
    /// Whose it is.
    pub account: Arc<str>,
    /// Who asked for it.
    pub author: Option<Box<str>>,
    /// Its first entry.
    pub created: Mark,
    /// The newest entry of its stream.
    pub changed: Mark,
    /// Its stream's state; names the channel.
    pub state: aggregate::Silence,
}

/// A webhook of an account.
#[derive(Debug, Clone)]
pub struct Integration {
    /// `int_…`
    pub id: Arc<str>,
    /// Whose it is.
    pub account: Arc<str>,
    /// Its first entry.
    pub created: Mark,
    /// The newest entry of its stream.
    pub changed: Mark,
    /// Its stream's state.
    pub state: aggregate::Integration,
}

/// A file that is kept elsewhere, registered by its hash.
#[derive(Debug, Clone)]
pub struct Artefact {
    /// `art_…`
    pub id: Arc<str>,
    /// Whose it is.
    pub account: Arc<str>,
    /// Its one entry.
    pub created: Mark,
    /// Its stream's state.
    pub state: aggregate::Artefact,
}

/// An evidence pack that was handed out.
#[derive(Debug, Clone)]
pub struct Pack {
    /// `pck_…`
    pub id: Arc<str>,
    /// Whose it is.
    pub account: Arc<str>,
    /// Its one entry.
    pub created: Mark,
    /// Its stream's state.
    pub state: aggregate::Pack,
}

/// A mailbox, chat or webhook that is told of an account's alarms.
#[derive(Debug, Clone)]
pub struct Contact {
    /// `con_…`
    pub id: Arc<str>,
    /// Whose it is.
    pub account: Arc<str>,
    /// Its first entry.
    pub created: Mark,
    /// The newest entry of its stream.
    pub changed: Mark,
    /// Its stream's state.
    pub state: aggregate::Contact,
}

/// The tokens of one device, user or integration.
#[derive(Debug, Clone)]
struct TokenSet {
    owner: Arc<str>,
    account: Arc<str>,
    state: aggregate::Tokens,
    issued: Vec<Mark>,
}

/// A token, as it stands in the registry.
#[derive(Debug, Clone, Copy)]
pub struct Token<'a> {
    /// The id inside the token.
    pub id: &'a str,
    /// `dev_…`, `usr_…` or `int_…`.
    pub owner: &'a str,
    /// Whose it is, and so what it opens.
    pub kind: TokenKind,
    /// The owner's account.
    pub account: &'a str,
    /// bcrypt of the secret.
    pub hash: &'a str,
    /// The entry that made it; the version under which a verification is remembered.
    pub issued: Mark,
    /// From here on it is refused.
    pub expires_at: Option<Timestamp>,
    /// Whether it ended at once.
    pub revoked: bool,
}

/// Parked uplinks: of a DevEUI that nobody registered, or of a device whose frames nobody can decode yet.
#[derive(Debug, Clone)]
pub struct Tray {
    /// The stream's id.
    pub id: Arc<str>,
    /// Whose it is.
    pub account: Arc<str>,
    /// The device, where it was known when they were parked.
    pub device: Option<Arc<str>>,
    /// The DevEUI.
    pub dev_eui: Box<str>,
    /// Its first entry.
    pub created: Mark,
    /// Its newest entry.
    pub changed: Mark,
    /// How many entries the stream has had.
    pub sequence: u64,
    /// The device that the DevEUI was given to since.
    pub adopted_by: Option<Arc<str>>,
    /// The uplinks' positions, rising.
    pub uplinks: Vec<Position>,
}

/// Where something stands in its arena.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Slot(u32);

/// Things in order of creation, found by id.
#[derive(Debug, Clone)]
struct Arena<T> {
    items: Vec<T>,
    ids: HashMap<Box<str>, Slot>,
}

impl<T> Default for Arena<T> {
    fn default() -> Self {
        Self {
            items: Vec::new(),
            ids: HashMap::new(),
        }
    }
}

impl<T> Arena<T> {
    fn slot(&self, id: &str) -> Option<Slot> {
        self.ids.get(id).copied()
    }

    fn get(&self, id: &str) -> Option<&T> {
        Some(self.at(self.slot(id)?))
    }

    fn get_mut(&mut self, id: &str) -> Option<&mut T> {
        let slot = self.slot(id)?;
        Some(self.at_mut(slot))
    }

    fn at(&self, slot: Slot) -> &T {
        &self.items[slot.0 as usize]
    }

    fn at_mut(&mut self, slot: Slot) -> &mut T {
        &mut self.items[slot.0 as usize]
    }

    fn push(&mut self, id: &str, item: T) -> Slot {
        let slot = Slot(self.items.len() as u32);
        self.items.push(item);
        self.ids.insert(id.into(), slot);
        slot
    }
}

/// What is configured, up to a tree size.
#[derive(Debug, Clone, Default)]
pub struct Registry {
    size: TreeSize,
    accounts: Arena<Account>,
    users: Arena<User>,
    sites: Arena<Site>,
    devices: Arena<Device>,
    channels: Arena<Channel>,
    integrations: Arena<Integration>,
    artefacts: Arena<Artefact>,
    packs: Arena<Pack>,
    /// By the device, site or account that they are about, in order of creation.
    artefacts_of: HashMap<Box<str>, Vec<Slot>>,
    contacts: Arena<Contact>,
    token_sets: Arena<TokenSet>,
    trays: Arena<Tray>,
    rules: Arena<Rule>,
    silences: Arena<Silence>,
    tokens: HashMap<Box<str>, (Slot, u32)>,
    emails: HashMap<Box<str>, Slot>,
    sensors: HashMap<Box<str>, Slot>,
    /// How long classes are kept, as the ledger's own stream says.
    retention: RetentionTerms,
}
