//! Taking an entry over into the registry.
//!
//! Invariants: entries come in the order of their positions; an entry that does not fit (an unknown parent, a
//! sequence already seen) stops the fold, because then the ledger is damaged or newer than this software.
//! Streams of other types pass by. Not here: whether an event may be recorded (`check`).

use super::{
    Account, Artefact, Channel, Contact, Device, Integration, Mark, Pack, Registry, Rule, Silence, Site,
    Slot, TokenSet, Tray, User,
};
use crate::aggregate::{self, Aggregate, Stamp};
use crate::entry::Entry;
use crate::event::{Changed, Event, EventError, Metadata, UplinkParked};
use crate::position::{Position, TreeSize};
use crate::retention::{RETENTION_POLICY_SET, RetentionTerms};
use crate::time::Timestamp;
use std::collections::HashMap;
use std::sync::Arc;

/// Why an entry cannot be taken over.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RegistryError {
    /// The payload is not what its type says.
    #[error("position {position}: {error}")]
    Event {
        /// The entry.
        position: Position,
        /// What is wrong.
        error: EventError,
    },
    /// It does not follow from the entries before it.
    #[error("position {position}: {reason}")]
    Inconsistent {
        /// The entry.
        position: Position,
        /// What does not fit.
        reason: &'static str,
    },
}

/// An entry on its way in.
struct Incoming<'a> {
    entry: &'a Entry<'a>,
    event: Event,
    mark: Mark,
}

impl<'a> Incoming<'a> {
    fn id(&self) -> &'a str {
        self.entry.aggregate_id
    }

    fn stamp(&self) -> Stamp<'a> {
        Stamp {
            sequence: self.entry.sequence,
            salt: self.entry.salt,
        }
    }

    fn inconsistent(&self, reason: &'static str) -> RegistryError {
        RegistryError::Inconsistent {
            position: self.entry.position,
            reason,
        }
    }

    fn metadata(&self) -> Result<Metadata, RegistryError> {
        Metadata::read(self.entry.metadata).map_err(|_| self.inconsistent("metadata of another shape"))
    }

    /// The state of a new stream after its first entry.
    fn begin<A: Aggregate>(&self) -> A {
        let mut state = A::default();
        state.apply(&self.event, self.stamp());
        state
    }

    /// Takes the event over into the state of a stream that exists.
    fn go_on<A: Aggregate>(&self, state: &mut A) -> Result<(), RegistryError> {
        if self.entry.sequence <= state.sequence() {
            return Err(self.inconsistent("a sequence that the stream already has"));
        }
        state.apply(&self.event, self.stamp());
        Ok(())
    }
}

impl Registry {
    /// The registry after these entries, which come in order of position.
    ///
    /// # Errors
    /// [`RegistryError`] of the first entry that does not fit.
    pub fn fold<'a>(entries: impl IntoIterator<Item = Entry<'a>>) -> Result<Self, RegistryError> {
        let mut registry = Self::default();
        for entry in entries {
            registry.apply(&entry)?;
        }
        Ok(registry)
    }

    /// Takes an entry over; entries of other streams only raise the size.
    ///
    /// # Errors
    /// [`RegistryError`]; the registry is then as before.
    pub fn apply(&mut self, entry: &Entry<'_>) -> Result<(), RegistryError> {
        if entry.position.get() < self.size.get() {
            return Err(RegistryError::Inconsistent {
                position: entry.position,
                reason: "a position that was folded already",
            });
        }
        if is_registered_type(entry.aggregate_type) {
            let event =
                Event::read(entry.event_type, entry.payload).map_err(|error| RegistryError::Event {
                    position: entry.position,
                    error,
                })?;
            let incoming = Incoming {
                entry,
                event,
                mark: Mark {
                    position: entry.position,
                    at: recorded_first(entry),
                },
            };
            if incoming.event.aggregate_type() != entry.aggregate_type {
                return Err(incoming.inconsistent("an event of another stream's type"));
            }
            self.take(&incoming)?;
        } else if entry.stream_is("ledger", "main")
            && matches!(entry.event_type, "LedgerCreated" | RETENTION_POLICY_SET)
            && let Ok(says) = RetentionTerms::read(entry.payload)
        {
            // What is in the ledger stays; that it should not be is a verifier's to say.
            let _ = self.retention.take(entry.position, &says);
        }
        self.size = entry.position.size_through();
        Ok(())
    }

    /// Passes over entries that are known to be of other streams, or pruned.
    pub fn advance(&mut self, size: TreeSize) {
        self.size = self.size.max(size);
    }

    fn take(&mut self, incoming: &Incoming<'_>) -> Result<(), RegistryError> {
        match &incoming.event {
            Event::AccountOpened(_) => self.open_account(incoming),
            Event::UserRegistered(_) => self.register_user(incoming),
            Event::SiteCreated(_) => self.create_site(incoming),
            Event::DeviceRegistered(_) => self.register_device(incoming),
            Event::ChannelRegistered(_) => self.register_channel(incoming),
            Event::IntegrationCreated(_) => self.create_integration(incoming),
            Event::ContactAdded(_) => self.add_contact(incoming),
            Event::AccountRenamed(_) | Event::AccountSuspended(_) | Event::AccountResumed(_) => {
                let account = known(incoming, self.accounts.get_mut(incoming.id()))?;
                incoming.go_on(&mut account.state)?;
                account.changed = incoming.mark;
                Ok(())
            }
            Event::UserChanged(_)
            | Event::UserRemoved(_)
            | Event::SignInLinkIssued(_)
            | Event::SignedIn(_) => self.change_user(incoming),
            Event::SiteChanged(_) | Event::SiteNotificationsSet(_) => {
                let site = known(incoming, self.sites.get_mut(incoming.id()))?;
                incoming.go_on(&mut site.state)?;
                site.changed = incoming.mark;
                Ok(())
            }
            Event::DeviceChanged(_) | Event::DeviceMoved(_) | Event::DeviceRemoved(_) => {
                self.change_device(incoming)
            }
            Event::ChannelChanged(_)
            | Event::CalibrationSet(_)
            | Event::DerivationSet(_)
            | Event::ChannelNotificationsSet(_) => self.change_channel(incoming),
            Event::IntegrationRemoved(_) => {
                let integration = known(incoming, self.integrations.get_mut(incoming.id()))?;
                incoming.go_on(&mut integration.state)?;
                integration.changed = incoming.mark;
                Ok(())
            }
            Event::ContactChanged(_)
            | Event::ContactConfirmed(_)
            | Event::ContactLinked(_)
            | Event::ContactUnsubscribed(_)
            | Event::ContactBounced(_)
            | Event::WebhookSecretRotated(_)
            | Event::ContactRemoved(_) => {
                let contact = known(incoming, self.contacts.get_mut(incoming.id()))?;
                incoming.go_on(&mut contact.state)?;
                contact.changed = incoming.mark;
                Ok(())
            }
            Event::TokenIssued(issued) => self.issue_token(incoming, &issued.token),
            Event::TokenExpirySet(_) | Event::TokenRevoked(_) => {
                let set = known(incoming, self.token_sets.get_mut(incoming.id()))?;
                incoming.go_on(&mut set.state)
            }
            Event::UplinkParked(parked) => self.park(incoming, parked),
            Event::ArtefactRegistered(_) => self.register_artefact(incoming),
            Event::EvidencePackIssued(_) => self.issue_pack(incoming),
            Event::RuleCreated(_) => self.create_rule(incoming),
            Event::RuleChanged(_) | Event::RuleRemoved(_) => self.change_rule(incoming),
            Event::SilenceOpened(_) => self.open_silence(incoming),
            Event::SilenceEnded(_) => {
                let silence = known(incoming, self.silences.get_mut(incoming.id()))?;
                incoming.go_on(&mut silence.state)?;
                silence.changed = incoming.mark;
                Ok(())
            }
            _ => Err(incoming.inconsistent("an event of a stream that is not folded here")),
        }
    }

    fn open_account(&mut self, incoming: &Incoming<'_>) -> Result<(), RegistryError> {
        let id: Arc<str> = incoming.id().into();
        fresh(incoming, self.accounts.slot(&id))?;
        let account = Account {
            id: Arc::clone(&id),
            created: incoming.mark,
            changed: incoming.mark,
            state: incoming.begin(),
            locals: HashMap::new(),
            dev_euis: HashMap::new(),
            serials: HashMap::new(),
            waiting: HashMap::new(),
            waiting_count: 0,
            owners: 0,
            trailing_count: 0,
            users: Vec::new(),
            sites: Vec::new(),
            devices: Vec::new(),
            integrations: Vec::new(),
            artefacts: Vec::new(),
            contacts: Vec::new(),
            trays: Vec::new(),
            silences: Vec::new(),
        };
        self.accounts.push(&id, account);
        Ok(())
    }

    /// The account that an entry's metadata names.
    fn named_account(&self, incoming: &Incoming<'_>) -> Result<(Slot, Arc<str>), RegistryError> {
        let named = incoming.metadata()?.account;
        let slot = named.and_then(|id| self.accounts.slot(&id));
        let slot = slot.ok_or_else(|| incoming.inconsistent("an account that does not exist"))?;
        Ok((slot, Arc::clone(&self.accounts.at(slot).id)))
    }

    fn register_user(&mut self, incoming: &Incoming<'_>) -> Result<(), RegistryError> {
        fresh(incoming, self.users.slot(incoming.id()))?;
        let (owner, account) = self.named_account(incoming)?;
        let state: aggregate::User = incoming.begin();
        let (index, is_owner) = (state.email_index.clone(), state.is_owner());
        let user = User {
            id: incoming.id().into(),
            account,
            created: incoming.mark,
            changed: incoming.mark,
            state,
        };
        let slot = self.users.push(incoming.id(), user);
        self.emails.insert(index.into(), slot);
        let account = self.accounts.at_mut(owner);
        account.users.push(slot);
        account.owners += usize::from(is_owner);
        Ok(())
    }

    fn change_user(&mut self, incoming: &Incoming<'_>) -> Result<(), RegistryError> {
        let user = known(incoming, self.users.get_mut(incoming.id()))?;
        let (before, was_owner) = (user.state.email_index.clone(), user.state.is_owner());
        incoming.go_on(&mut user.state)?;
        user.changed = incoming.mark;
        let (after, is_owner, removed) = (
            user.state.email_index.clone(),
            user.state.is_owner(),
            user.state.removed,
        );
        let account = Arc::clone(&user.account);
        if let Some(account) = self.accounts.get_mut(&account) {
            account.owners = account.owners + usize::from(is_owner) - usize::from(was_owner);
        }
        if removed || before != after {
            self.emails.remove(before.as_str());
        }
        if !removed && let Some(slot) = self.users.slot(incoming.id()) {
            self.emails.insert(after.into(), slot);
        }
        Ok(())
    }

    fn create_site(&mut self, incoming: &Incoming<'_>) -> Result<(), RegistryError> {
        fresh(incoming, self.sites.slot(incoming.id()))?;
        let (owner, account) = self.named_account(incoming)?;
        let site = Site {
            id: incoming.id().into(),
            account,
            created: incoming.mark,
            changed: incoming.mark,
            state: incoming.begin(),
        };
        let slot = self.sites.push(incoming.id(), site);
        self.accounts.at_mut(owner).sites.push(slot);
        Ok(())
    }

    fn create_integration(&mut self, incoming: &Incoming<'_>) -> Result<(), RegistryError> {
        fresh(incoming, self.integrations.slot(incoming.id()))?;
        let (owner, account) = self.named_account(incoming)?;
        let integration = Integration {
            id: incoming.id().into(),
            account,
            created: incoming.mark,
            changed: incoming.mark,
            state: incoming.begin(),
        };
        let slot = self.integrations.push(incoming.id(), integration);
        self.accounts.at_mut(owner).integrations.push(slot);
        Ok(())
    }

    fn register_artefact(&mut self, incoming: &Incoming<'_>) -> Result<(), RegistryError> {
        fresh(incoming, self.artefacts.slot(incoming.id()))?;
        let (of, account) = self.named_account(incoming)?;
        let owner = incoming.metadata()?.owner.unwrap_or_else(|| account.to_string());
        let artefact = Artefact {
            id: incoming.id().into(),
            account,
            created: incoming.mark,
            state: incoming.begin(),
        };
        let slot = self.artefacts.push(incoming.id(), artefact);
        self.accounts.at_mut(of).artefacts.push(slot);
        self.artefacts_of.entry(owner.into()).or_default().push(slot);
        Ok(())
    }

    fn issue_pack(&mut self, incoming: &Incoming<'_>) -> Result<(), RegistryError> {
        fresh(incoming, self.packs.slot(incoming.id()))?;
        let (_, account) = self.named_account(incoming)?;
        let pack = Pack {
            id: incoming.id().into(),
            account,
            created: incoming.mark,
            state: incoming.begin(),
        };
        self.packs.push(incoming.id(), pack);
        Ok(())
    }

    fn add_contact(&mut self, incoming: &Incoming<'_>) -> Result<(), RegistryError> {
        fresh(incoming, self.contacts.slot(incoming.id()))?;
        let (owner, account) = self.named_account(incoming)?;
        let contact = Contact {
            id: incoming.id().into(),
            account,
            created: incoming.mark,
            changed: incoming.mark,
            state: incoming.begin(),
        };
        let slot = self.contacts.push(incoming.id(), contact);
        self.accounts.at_mut(owner).contacts.push(slot);
        Ok(())
    }

    fn register_device(&mut self, incoming: &Incoming<'_>) -> Result<(), RegistryError> {
        fresh(incoming, self.devices.slot(incoming.id()))?;
        let (owner, account) = self.named_account(incoming)?;
        let device = Device {
            id: incoming.id().into(),
            number: self.devices.items.len() as u32,
            account,
            created: incoming.mark,
            changed: incoming.mark,
            config: incoming.entry.position,
            state: incoming.begin(),
            channels: Vec::new(),
            tray: None,
        };
        let slot = self.devices.push(incoming.id(), device);
        self.accounts.at_mut(owner).devices.push(slot);
        self.name_device(owner, slot);
        Ok(())
    }

    fn change_device(&mut self, incoming: &Incoming<'_>) -> Result<(), RegistryError> {
        let device = known(incoming, self.devices.get_mut(incoming.id()))?;
        let before = identifiers(&device.state);
        incoming.go_on(&mut device.state)?;
        device.changed = incoming.mark;
        device.config = incoming.entry.position;
        let owner = self.accounts.slot(&device.account);
        let slot = self.devices.slot(incoming.id());
        let identified = matches!(
            &incoming.event,
            Event::DeviceChanged(Changed { .. }) | Event::DeviceRemoved(_)
        );
        if let (Some(owner), Some(slot), true) = (owner, slot, identified) {
            let account = self.accounts.at_mut(owner);
            account.locals.remove(before.local.as_str());
            before.dev_eui.map(|eui| account.dev_euis.remove(eui.as_str()));
            before
                .serial
                .map(|serial| account.serials.remove(serial.as_str()));
            self.name_device(owner, slot);
        }
        Ok(())
    }

    /// Makes a device findable by what payloads call it, and takes its DevEUI's uplinks out of the waiting ones.
    fn name_device(&mut self, owner: Slot, slot: Slot) {
        let device = self.devices.at(slot);
        if device.state.removed {
            return;
        }
        let names = identifiers(&device.state);
        let id = Arc::clone(&device.id);
        let account = self.accounts.at_mut(owner);
        account.locals.insert(names.local.into(), slot);
        if let Some(serial) = names.serial {
            account.serials.insert(serial.into(), slot);
        }
        if let Some(dev_eui) = names.dev_eui {
            if let Some(tray) = account.waiting.remove(dev_eui.as_str()) {
                account.waiting_count -= 1;
                self.trays.at_mut(tray).adopted_by = Some(id);
            }
            account.dev_euis.insert(dev_eui.into(), slot);
        }
    }

    fn register_channel(&mut self, incoming: &Incoming<'_>) -> Result<(), RegistryError> {
        fresh(incoming, self.channels.slot(incoming.id()))?;
        let state: aggregate::Channel = incoming.begin();
        let device = known(incoming, self.devices.get_mut(&state.device))?;
        let Err(at) = device
            .channels
            .binary_search_by(|(key, _)| (**key).cmp(&state.key))
        else {
            return Err(incoming.inconsistent("a channel that the device already has"));
        };
        let slot = Slot(self.channels.items.len() as u32);
        device.channels.insert(at, (state.key.as_str().into(), slot));
        device.config = incoming.entry.position;
        self.sensors.insert(state.sensor.as_str().into(), slot);
        let channel = Channel {
            id: incoming.id().into(),
            account: Arc::clone(&device.account),
            created: incoming.mark,
            changed: incoming.mark,
            simple_version: u32::from(has_limits(&state)),
            simple_changed: incoming.mark,
            state,
            rules: Vec::new(),
            feeds: Vec::new(),
            silences: Vec::new(),
        };
        self.channels.push(incoming.id(), channel);
        Ok(())
    }

    fn change_channel(&mut self, incoming: &Incoming<'_>) -> Result<(), RegistryError> {
        let channel = known(incoming, self.channels.get_mut(incoming.id()))?;
        let before = channel.state.limits;
        let was_trailing = channel.state.is_trailing();
        incoming.go_on(&mut channel.state)?;
        channel.changed = incoming.mark;
        let is_trailing = channel.state.is_trailing();
        if let Some(account) = self.accounts.get_mut(&channel.account) {
            // How many there may be is not asked here: what is on record is on record, of any number.
            let others = account.trailing_count.saturating_sub(usize::from(was_trailing));
            account.trailing_count = others + usize::from(is_trailing);
        }
        // Where the simple rule has a stream of its own, the limits only repeat what stands there.
        let own = super::rules::simple_rule_id(incoming.id());
        let led = self.rules.get(&own).is_some_and(|rule| !rule.state.removed);
        if before != channel.state.limits && !led {
            channel.simple_version += 1;
            channel.simple_changed = incoming.mark;
        }
        let sources = match &incoming.event {
            Event::DerivationSet(set) => set.derivation.new.as_ref().map(|it| it.sources.clone()),
            _ => None,
        };
        let device = channel.state.device.clone();
        if let (Some(sources), Some(slot)) = (sources, self.channels.slot(incoming.id())) {
            self.feed(slot, &sources);
        }
        if let Some(device) = self.devices.get_mut(&device) {
            device.config = incoming.entry.position;
        }
        Ok(())
    }

    /// Notes on the sources of a derived channel that it is made of them.
    fn feed(&mut self, derived: Slot, sources: &[String]) {
        for source in sources {
            if let Some(channel) = self.channels.get_mut(source)
                && !channel.feeds.contains(&derived)
            {
                channel.feeds.push(derived);
            }
        }
    }

    fn create_rule(&mut self, incoming: &Incoming<'_>) -> Result<(), RegistryError> {
        fresh(incoming, self.rules.slot(incoming.id()))?;
        let state: aggregate::Rule = incoming.begin();
        let channel = known(incoming, self.channels.get_mut(&state.channel))?;
        let slot = Slot(self.rules.items.len() as u32);
        channel.rules.push(slot);
        if super::rules::simple_rule_id(&state.channel) == incoming.id() {
            channel.simple_version = state.version;
            channel.simple_changed = incoming.mark;
        }
        let rule = Rule {
            id: incoming.id().into(),
            account: Arc::clone(&channel.account),
            created: incoming.mark,
            changed: incoming.mark,
            state,
        };
        self.rules.push(incoming.id(), rule);
        Ok(())
    }

    fn change_rule(&mut self, incoming: &Incoming<'_>) -> Result<(), RegistryError> {
        let rule = known(incoming, self.rules.get_mut(incoming.id()))?;
        incoming.go_on(&mut rule.state)?;
        rule.changed = incoming.mark;
        let (channel, version) = (rule.state.channel.clone(), rule.state.version);
        if super::rules::simple_rule_id(&channel) == incoming.id()
            && let Some(channel) = self.channels.get_mut(&channel)
        {
            channel.simple_version = version;
            channel.simple_changed = incoming.mark;
        }
        Ok(())
    }

    fn open_silence(&mut self, incoming: &Incoming<'_>) -> Result<(), RegistryError> {
        fresh(incoming, self.silences.slot(incoming.id()))?;
        let state: aggregate::Silence = incoming.begin();
        let channel = known(incoming, self.channels.get_mut(&state.channel))?;
        let slot = Slot(self.silences.items.len() as u32);
        channel.silences.push(slot);
        let account = Arc::clone(&channel.account);
        let silence = Silence {
            id: incoming.id().into(),
            account: Arc::clone(&account),
            author: incoming.metadata()?.author().map(Into::into),
            created: incoming.mark,
            changed: incoming.mark,
            state,
        };
        self.silences.push(incoming.id(), silence);
        if let Some(account) = self.accounts.get_mut(&account) {
            account.silences.push(slot);
        }
        Ok(())
    }

    fn issue_token(&mut self, incoming: &Incoming<'_>, token: &str) -> Result<(), RegistryError> {
        if self.tokens.contains_key(token) {
            return Err(incoming.inconsistent("a token that exists already"));
        }
        if self.token_sets.slot(incoming.id()).is_none() {
            let (_, account) = self.named_account(incoming)?;
            let set = TokenSet {
                owner: incoming.id().into(),
                account,
                state: aggregate::Tokens::default(),
                issued: Vec::new(),
            };
            self.token_sets.push(incoming.id(), set);
        }
        let slot = self.token_sets.slot(incoming.id());
        let slot = slot.ok_or_else(|| incoming.inconsistent("a stream that does not exist"))?;
        let set = self.token_sets.at_mut(slot);
        incoming.go_on(&mut set.state)?;
        self.tokens.insert(token.into(), (slot, set.issued.len() as u32));
        set.issued.push(incoming.mark);
        Ok(())
    }

    fn park(&mut self, incoming: &Incoming<'_>, parked: &UplinkParked) -> Result<(), RegistryError> {
        if let Some(tray) = self.trays.get_mut(incoming.id()) {
            if incoming.entry.sequence <= tray.sequence {
                return Err(incoming.inconsistent("a sequence that the stream already has"));
            }
            tray.sequence = incoming.entry.sequence;
            tray.changed = incoming.mark;
            tray.uplinks.push(incoming.entry.position);
            return Ok(());
        }
        let (owner, account) = self.named_account(incoming)?;
        let device = incoming.metadata()?.owner.and_then(|id| self.devices.slot(&id));
        let tray = Tray {
            id: incoming.id().into(),
            account,
            device: device.map(|slot| Arc::clone(&self.devices.at(slot).id)),
            dev_eui: parked.dev_eui.as_str().into(),
            created: incoming.mark,
            changed: incoming.mark,
            sequence: incoming.entry.sequence,
            adopted_by: None,
            uplinks: vec![incoming.entry.position],
        };
        let slot = self.trays.push(incoming.id(), tray);
        let account = self.accounts.at_mut(owner);
        account.trays.push(slot);
        match device {
            Some(device) => self.devices.at_mut(device).tray = Some(slot),
            None => {
                account.waiting_count += 1;
                account.waiting.insert(parked.dev_eui.as_str().into(), slot);
            }
        }
        Ok(())
    }
}

/// What payloads call a device.
struct Identifiers {
    local: String,
    dev_eui: Option<String>,
    serial: Option<String>,
}

fn identifiers(device: &aggregate::Device) -> Identifiers {
    Identifiers {
        local: device.local_id.to_ascii_lowercase(),
        dev_eui: device.dev_eui.clone(),
        serial: device.serial.clone(),
    }
}

/// Whether a channel has limits.
fn has_limits(channel: &aggregate::Channel) -> bool {
    channel.limits.ok_min.is_some() || channel.limits.ok_max.is_some()
}

/// When an entry was recorded; of one that was carried over from another ledger, when that was first.
fn recorded_first(entry: &Entry<'_>) -> Timestamp {
    const MEMBER: &[u8] = b"\"carried_over\":{";
    // Few entries have it, and none of its letters stands within a text of metadata unescaped.
    let is_there = entry.metadata.windows(MEMBER.len()).any(|bytes| bytes == MEMBER);
    let metadata = is_there.then(|| Metadata::read(entry.metadata).ok()).flatten();
    let carried = metadata.and_then(|metadata| metadata.carried_over);
    carried.map_or(entry.recorded_at, |carried| carried.recorded_at)
}

/// Whether streams of this type are folded here.
fn is_registered_type(aggregate_type: &str) -> bool {
    matches!(
        aggregate_type,
        "account"
            | "artefact"
            | "channel"
            | "contact"
            | "device"
            | "integration"
            | "pack"
            | "rule"
            | "silence"
            | "site"
            | "tokens"
            | "tray"
            | "user"
    )
}

fn known<'r, T>(incoming: &Incoming<'_>, found: Option<&'r mut T>) -> Result<&'r mut T, RegistryError> {
    found.ok_or_else(|| incoming.inconsistent("a stream or parent that does not exist"))
}

fn fresh(incoming: &Incoming<'_>, found: Option<Slot>) -> Result<(), RegistryError> {
    match found {
        Some(_) => Err(incoming.inconsistent("a stream that begins twice")),
        None => Ok(()),
    }
}
