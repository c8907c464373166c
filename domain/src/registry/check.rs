//! Whether a group of events may be recorded as the registry stands: what no single stream can decide.
//!
//! Invariants: asked by the sequencer just before it records a group, so that nothing can come between; within a
//! group, earlier events count for later ones. It reads only. Parents exist in the same account; identifiers are
//! unique; an owner stays.
//! Not here: what one stream decides for itself (`aggregate`), expected sequences (the sequencer).

use super::Registry;
use crate::aggregate::artefact::About;
use crate::entry::NewEvent;
use crate::event::{
    ArtefactRegistered, ChannelRegistered, DeviceChanges, DeviceRegistered, Event, EventError, Metadata,
    RuleCreated, SilenceOpened, TokenIssued, TokenKind, UplinkParked, UserChanges, UserRegistered,
};
use crate::kinds;
use crate::position::Position;
use crate::rejection::{Fault, Rejection};
use crate::retention::{RETENTION_POLICY_SET, RetentionTerms};
use crate::rule::{Definition, Derivation};
use std::collections::{BTreeMap, BTreeSet};

/// Most channels of one device: a reading has at most 64 values, and labels come and go.
pub const CHANNELS_PER_DEVICE_MAX: usize = 128;
/// Most artefacts of one device, site or account: each is held in memory, some 500 bytes.
pub const ARTEFACTS_PER_OWNER_MAX: usize = 100_000;
/// Most DevEUIs that wait in an account's tray (DESIGN "Decided").
pub const TRAY_DEVICES_MAX: usize = 200;
/// Most uplinks that wait for one DevEUI (DESIGN "Decided").
pub const TRAY_UPLINKS_MAX: usize = 1_000;

/// Most rules of one channel, its simple one not counted: each is judged at every reading.
pub const RULES_PER_CHANNEL_MAX: usize = 16;
/// Most derived channels of one source: each is made anew at each of its values.
pub const DERIVED_PER_SOURCE_MAX: usize = 16;
/// Most channels of one device that are made of past days of others: its meters' baselines, or its stores' mean kinetic
/// temperatures. Each remembers up to 2,161 hours, some 90 kB as they are written, and writes them anew with its values.
pub const TRAILING_PER_DEVICE_MAX: usize = 8;
/// Most of them in one account: both baselines of 64 meters, 12 MB as they are written.
pub const TRAILING_PER_ACCOUNT_MAX: usize = 128;
/// Most silences of one channel that have not ended.
pub const SILENCES_PER_CHANNEL_MAX: usize = 32;

/// What a name must be unique among.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Space {
    Local,
    DevEui,
    Serial,
    Email,
    Channel,
    Sensor,
    Token,
}

/// What the group has added so far.
struct Group<'r> {
    registry: &'r Registry,
    /// Accounts, users, sites, devices, integrations that begin in this group: id → account.
    begun: BTreeMap<String, String>,
    taken: BTreeMap<(Space, String, String), String>,
    freed: BTreeSet<(Space, String, String)>,
    owners: BTreeMap<String, i64>,
    channels: BTreeMap<String, usize>,
    /// The devices of the channels that begin in this group.
    homes: BTreeMap<String, String>,
    /// By device and by account.
    trailing: BTreeMap<String, usize>,
    artefacts: BTreeMap<String, usize>,
    rules: BTreeMap<String, usize>,
    parked: BTreeMap<String, usize>,
    parked_devices: BTreeMap<String, BTreeSet<String>>,
    /// How long classes are kept, where the group says so.
    retention: Option<RetentionTerms>,
}

impl Registry {
    /// Checks a group of events against this registry.
    ///
    /// # Errors
    /// The first [`Rejection`] in order of the events.
    pub fn check(&self, events: &[NewEvent]) -> Result<(), Rejection> {
        self.check_all(events)
    }

    /// As [`Registry::check`], for events that are held otherwise than in a slice.
    ///
    /// # Errors
    /// As [`Registry::check`].
    pub fn check_all<'e>(&self, events: impl IntoIterator<Item = &'e NewEvent>) -> Result<(), Rejection> {
        let mut group = Group {
            registry: self,
            begun: BTreeMap::new(),
            taken: BTreeMap::new(),
            freed: BTreeSet::new(),
            owners: BTreeMap::new(),
            channels: BTreeMap::new(),
            homes: BTreeMap::new(),
            trailing: BTreeMap::new(),
            artefacts: BTreeMap::new(),
            rules: BTreeMap::new(),
            parked: BTreeMap::new(),
            parked_devices: BTreeMap::new(),
            retention: None,
        };
        for event in events {
            group.event(event)?;
        }
        group.owners_stay()
    }
}

impl Group<'_> {
    fn event(&mut self, new: &NewEvent) -> Result<(), Rejection> {
        if new.event_type == RETENTION_POLICY_SET {
            return self.retention(new);
        }
        let event = match Event::read(&new.event_type, new.payload.as_bytes()) {
            Ok(event) if event.aggregate_type() == new.aggregate_type => event,
            Err(EventError::Unknown(_)) => return Ok(()),
            Ok(_) | Err(_) => return Err(malformed("an event of another shape or stream")),
        };
        // Time passes for every account.
        if matches!(event, Event::DeadlineReached(_)) {
            return Ok(());
        }
        let metadata = Metadata::read(new.metadata.as_bytes()).map_err(|_| malformed("metadata"))?;
        let account = metadata
            .account
            .ok_or_else(|| malformed("metadata without account"))?;
        let id = new.aggregate_id.as_str();
        if !matches!(event, Event::AccountOpened(_)) {
            self.wall(&event, id, &account)?;
        }
        match &event {
            Event::AccountOpened(_) => {
                if id != account {
                    return Err(malformed("an account that opens another"));
                }
                self.begin(id, &account)
            }
            Event::UserRegistered(user) => self.user(id, &account, user),
            Event::UserChanged(changed) => self.user_changed(id, &account, &changed.changes),
            Event::UserRemoved(_) => self.user_removed(id, &account),
            Event::SiteCreated(_) | Event::IntegrationCreated(_) | Event::ContactAdded(_) => {
                self.begin(id, &account)
            }
            Event::DeviceRegistered(device) => self.device(id, &account, device),
            Event::DeviceChanged(changed) => self.device_changed(id, &account, &changed.changes),
            Event::DeviceMoved(moved) => self.has_site(&account, &moved.to_site),
            Event::DeviceRemoved(_) => self.device_removed(id, &account),
            Event::ChannelRegistered(channel) => self.channel(id, &account, channel),
            Event::TokenIssued(token) => self.token(id, &account, token),
            Event::RuleCreated(rule) => self.rule(id, &account, rule),
            Event::RuleChanged(rule) => self.comparable(&account, &rule.channel, &rule.definition.new),
            Event::SilenceOpened(silence) => self.silence(id, &account, silence),
            Event::DerivationSet(set) => match &set.derivation.new {
                Some(derivation) => self.derivation(id, &account, derivation),
                None => Ok(()),
            },
            Event::UplinkParked(parked) => self.parked(id, &account, parked),
            Event::ArtefactRegistered(artefact) => {
                let owner = metadata.owner.as_deref().unwrap_or(&account);
                self.artefact(id, &account, owner, artefact)
            }
            Event::EvidencePackIssued(_) => self.begin(id, &account),
            Event::AccountRenamed(_)
            | Event::AccountSuspended(_)
            | Event::AccountResumed(_)
            | Event::SignInLinkIssued(_)
            | Event::SignedIn(_)
            | Event::SiteChanged(_)
            | Event::ChannelChanged(_)
            | Event::TokenExpirySet(_)
            | Event::TokenRevoked(_)
            | Event::IntegrationRemoved(_)
            | Event::CalibrationSet(_)
            | Event::ContactChanged(_)
            | Event::ContactConfirmed(_)
            | Event::ContactLinked(_)
            | Event::ContactUnsubscribed(_)
            | Event::ContactBounced(_)
            | Event::WebhookSecretRotated(_)
            | Event::ContactRemoved(_)
            | Event::ChannelNotificationsSet(_)
            | Event::SiteNotificationsSet(_) => Ok(()),
            // Alarms and states take no names and begin no stream that the registry folds.
            Event::ReadingAnnotated(_)
            | Event::DeadlineReached(_)
            | Event::RuleRemoved(_)
            | Event::RulesRecomputed(_)
            | Event::AlarmOpened(_)
            | Event::AlarmEscalated(_)
            | Event::AlarmAcknowledged(_)
            | Event::AlarmCommented(_)
            | Event::AlarmCleared(_)
            | Event::AlarmRaised(_)
            | Event::AlarmReopened(_)
            | Event::AlarmReopenedByPerson(_)
            | Event::AlarmClosed(_)
            | Event::SilenceEnded(_)
            | Event::ChannelStateChanged(_)
            | Event::DeviceStateChanged(_) => Ok(()),
        }
    }

    /// Retention is lengthened or left, for whoever verifies the ledger refuses anything else.
    fn retention(&mut self, new: &NewEvent) -> Result<(), Rejection> {
        let says = RetentionTerms::read(new.payload.as_bytes())
            .map_err(|_| malformed("an event of another shape or stream"))?;
        if (&*new.aggregate_type, &*new.aggregate_id) != ("ledger", "main") {
            return Err(malformed("an event of another shape or stream"));
        }
        let terms = self
            .retention
            .get_or_insert_with(|| self.registry.retention.clone());
        terms
            .check(&says)
            .map_err(|shortened| Rejection::conflict("retention_shortened", shortened.to_string()))?;
        // It stands behind the ledger's first entry, whatever its position will be.
        let _ = terms.take(Position(1), &says);
        Ok(())
    }

    /// The account exists, and the stream, where it exists, is in it.
    fn wall(&self, event: &Event, id: &str, account: &str) -> Result<(), Rejection> {
        let exists = self.registry.account(account).is_some() || self.begun.contains_key(account);
        let begun = self.begun.get(id).map(String::as_str);
        let of = begun.or_else(|| self.registry.account_of(id));
        let (code, what) = match event.aggregate_type() {
            "user" => ("user_not_found", "user"),
            "site" => ("site_not_found", "site"),
            "device" => ("device_not_found", "device"),
            "channel" => ("channel_not_found", "channel"),
            "integration" => ("integration_not_found", "integration"),
            "contact" => ("contact_not_found", "contact"),
            "tokens" => ("token_not_found", "token"),
            "artefact" => ("artifact_not_found", "artefact"),
            "pack" => ("evidence_not_found", "evidence pack"),
            "rule" => ("rule_not_found", "rule"),
            "silence" => ("silence_not_found", "silence"),
            "state" | "annotations" => ("channel_not_found", "channel"),
            _ => ("account_not_found", "account"),
        };
        if exists && of.is_none_or(|of| of == account) {
            Ok(())
        } else {
            Err(Rejection::not_found(code, format!("no such {what}")))
        }
    }

    fn begin(&mut self, id: &str, account: &str) -> Result<(), Rejection> {
        if self.registry.account_of(id).is_some() || self.begun.contains_key(id) {
            return Err(Rejection::conflict("already_exists", "this id is taken"));
        }
        self.begun.insert(id.to_owned(), account.to_owned());
        Ok(())
    }

    fn rule(&mut self, id: &str, account: &str, rule: &RuleCreated) -> Result<(), Rejection> {
        self.begin(id, account)?;
        self.has_channel(account, &rule.channel)?;
        self.comparable(account, &rule.channel, &rule.definition)?;
        let simple = super::rules::simple_rule_id(&rule.channel);
        if id == simple {
            return Ok(());
        }
        let registry = self.registry;
        let more = self.rules.entry(rule.channel.clone()).or_default();
        *more += 1;
        let there = registry.channel(account, &rule.channel).map_or(0, |channel| {
            registry.rules_of(channel).filter(|r| *r.id != *simple).count()
        });
        if there + *more > RULES_PER_CHANNEL_MAX {
            return Err(Rejection::conflict(
                "too_many_rules",
                format!("a channel has at most {RULES_PER_CHANNEL_MAX} rules: remove one first"),
            ));
        }
        Ok(())
    }

    /// A channel that is there, or begins in this group.
    fn has_channel(&self, account: &str, id: &str) -> Result<(), Rejection> {
        let begins = self.begun.get(id).is_some_and(|of| of == account);
        if begins || self.registry.channel(account, id).is_some() {
            return Ok(());
        }
        Err(Rejection::not_found("channel_not_found", "no such channel"))
    }

    /// What a rule compares with is another channel of the account.
    fn comparable(&self, account: &str, channel: &str, definition: &Definition) -> Result<(), Rejection> {
        let Some(other) = &definition.another_channel else {
            return Ok(());
        };
        if other == channel {
            return Err(Rejection::invalid(
                "invalid_rule",
                "another_channel must be another channel",
            ));
        }
        self.has_channel(account, other)
    }

    /// A derivation's sources measure themselves, and what the function takes.
    fn derivation(&mut self, id: &str, account: &str, derivation: &Derivation) -> Result<(), Rejection> {
        let invalid = |message: String| Rejection::invalid("invalid_derivation", message);
        for (source, kind) in derivation.sources.iter().zip(derivation.function.sources()) {
            self.has_channel(account, source)?;
            // One that begins in this group was made by the same hand, for this.
            let Some(found) = self.registry.channel(account, source) else {
                continue;
            };
            if found.state.is_derived || source == id {
                return Err(invalid(format!(
                    "{source} is derived itself: name channels that measure"
                )));
            }
            let unit = kinds::find(kind).map_or("", |kind| kind.unit);
            if found.state.kind != *kind || found.state.unit != unit {
                return Err(invalid(format!(
                    "{} goes from {} in this order; {source} is {} in {}",
                    derivation.function.as_str(),
                    in_words(derivation.function.sources()),
                    found.state.kind,
                    found.state.unit,
                )));
            }
            let others = self.registry.derived_from(found).filter(|other| *other.id != *id);
            if others.count() >= DERIVED_PER_SOURCE_MAX {
                return Err(Rejection::conflict(
                    "too_many_derived",
                    format!("at most {DERIVED_PER_SOURCE_MAX} channels are made of one: end one first"),
                ));
            }
        }
        if derivation.is_trailing() {
            self.trailing(id, account)?;
        }
        Ok(())
    }

    /// One more channel that is made of past days, unless it is one already.
    fn trailing(&mut self, id: &str, account: &str) -> Result<(), Rejection> {
        let registry = self.registry;
        let found = registry.channel(account, id);
        if found.is_some_and(|it| it.state.is_trailing()) {
            return Ok(());
        }
        let home = found.map(|it| it.state.device.clone());
        let device = home.or_else(|| self.homes.get(id).cloned()).unwrap_or_default();
        let of_device = registry
            .device(account, &device)
            .map_or(0, |it| registry.trailing_of(it));
        let of_account = registry.account(account).map_or(0, |it| it.trailing_count);
        for (of, there, most, what) in [
            (device.as_str(), of_device, TRAILING_PER_DEVICE_MAX, "a device"),
            (account, of_account, TRAILING_PER_ACCOUNT_MAX, "an account"),
        ] {
            let more = self.trailing.entry(of.to_owned()).or_default();
            *more += 1;
            if there + *more > most {
                return Err(Rejection::invalid(
                    "too_many_trailing",
                    format!("{what} has at most {most} channels that are made of past days: end one first"),
                ));
            }
        }
        Ok(())
    }

    fn silence(&mut self, id: &str, account: &str, silence: &SilenceOpened) -> Result<(), Rejection> {
        self.begin(id, account)?;
        self.has_channel(account, &silence.channel)?;
        let registry = self.registry;
        let open = registry.channel(account, &silence.channel).map_or(0, |channel| {
            let later = |s: &&super::Silence| s.state.to > silence.from;
            registry.silences_of(channel).filter(later).count()
        });
        if open >= SILENCES_PER_CHANNEL_MAX {
            return Err(Rejection::conflict(
                "too_many_silences",
                format!("a channel has at most {SILENCES_PER_CHANNEL_MAX} silences: end one first"),
            ));
        }
        Ok(())
    }

    /// Takes a name within an account, or learns who has it.
    fn take(
        &mut self,
        space: Space,
        within: &str,
        name: &str,
        by: &str,
        holder: Option<&str>,
    ) -> Result<(), Rejection> {
        let slot = (space, within.to_owned(), name.to_owned());
        let held = holder.is_some_and(|holder| holder != by) && !self.freed.contains(&slot);
        let taken = self.taken.get(&slot).is_some_and(|holder| holder != by);
        if held || taken {
            return Err(space.taken(name));
        }
        self.taken.insert(slot, by.to_owned());
        Ok(())
    }

    fn free(&mut self, space: Space, within: &str, name: &str) {
        let slot = (space, within.to_owned(), name.to_owned());
        if self.taken.remove(&slot).is_none() {
            self.freed.insert(slot);
        }
    }

    fn user(&mut self, id: &str, account: &str, user: &UserRegistered) -> Result<(), Rejection> {
        self.begin(id, account)?;
        self.take_email(id, &user.email_index)?;
        if user.role == crate::aggregate::user::OWNER {
            *self.owners.entry(account.to_owned()).or_default() += 1;
        }
        Ok(())
    }

    fn take_email(&mut self, id: &str, index: &str) -> Result<(), Rejection> {
        let registry = self.registry;
        let holder = registry.user_by_email(index).map(|user| &*user.id);
        self.take(Space::Email, "", index, id, holder)
    }

    fn user_changed(&mut self, id: &str, account: &str, changes: &UserChanges) -> Result<(), Rejection> {
        if let Some(index) = &changes.email_index {
            self.take_email(id, &index.new)?;
            self.free(Space::Email, "", &index.old);
        }
        if let Some(role) = &changes.role {
            let owner = |role: &str| i64::from(role == crate::aggregate::user::OWNER);
            *self.owners.entry(account.to_owned()).or_default() += owner(&role.new) - owner(&role.old);
        }
        Ok(())
    }

    fn user_removed(&mut self, id: &str, account: &str) -> Result<(), Rejection> {
        let registry = self.registry;
        if let Some(user) = registry.user(account, id) {
            self.free(Space::Email, "", &user.state.email_index);
            if user.state.is_owner() {
                *self.owners.entry(account.to_owned()).or_default() -= 1;
            }
        }
        Ok(())
    }

    fn owners_stay(&self) -> Result<(), Rejection> {
        for (account, change) in &self.owners {
            let before = self.registry.account(account).map_or(0, |a| a.owners as i64);
            if *change < 0 && before + change < 1 {
                return Err(Rejection::conflict(
                    "last_owner",
                    "an account must keep at least one owner: make somebody else owner first",
                ));
            }
        }
        Ok(())
    }

    fn has_site(&self, account: &str, site: &str) -> Result<(), Rejection> {
        let begun = self.begun.get(site).is_some_and(|of| of == account);
        if begun || self.registry.site(account, site).is_some() {
            return Ok(());
        }
        Err(Rejection::not_found("site_not_found", "no such site"))
    }

    fn device(&mut self, id: &str, account: &str, device: &DeviceRegistered) -> Result<(), Rejection> {
        self.begin(id, account)?;
        self.has_site(account, &device.site)?;
        self.take_local(id, account, &device.local_id)?;
        self.take_dev_eui(id, account, device.dev_eui.as_deref())?;
        self.take_serial(id, account, device.serial.as_deref())
    }

    fn take_local(&mut self, id: &str, account: &str, local: &str) -> Result<(), Rejection> {
        let registry = self.registry;
        let holder = registry.device_by_local(account, local).map(|d| &*d.id);
        self.take(Space::Local, account, &local.to_ascii_lowercase(), id, holder)
    }

    fn take_dev_eui(&mut self, id: &str, account: &str, dev_eui: Option<&str>) -> Result<(), Rejection> {
        let registry = self.registry;
        dev_eui.map_or(Ok(()), |dev_eui| {
            let holder = registry.device_by_dev_eui(account, dev_eui).map(|d| &*d.id);
            self.take(Space::DevEui, account, dev_eui, id, holder)
        })
    }

    fn take_serial(&mut self, id: &str, account: &str, serial: Option<&str>) -> Result<(), Rejection> {
        let registry = self.registry;
        serial.map_or(Ok(()), |serial| {
            let holder = registry.device_by_serial(account, serial).map(|d| &*d.id);
            self.take(Space::Serial, account, serial, id, holder)
        })
    }

    fn device_changed(&mut self, id: &str, account: &str, changes: &DeviceChanges) -> Result<(), Rejection> {
        if let Some(local) = &changes.local_id {
            self.take_local(id, account, &local.new)?;
            if !local.new.eq_ignore_ascii_case(&local.old) {
                self.free(Space::Local, account, &local.old.to_ascii_lowercase());
            }
        }
        if let Some(dev_eui) = &changes.dev_eui {
            self.take_dev_eui(id, account, dev_eui.new.as_deref())?;
            if let Some(old) = &dev_eui.old {
                self.free(Space::DevEui, account, old);
            }
        }
        if let Some(serial) = &changes.serial {
            self.take_serial(id, account, serial.new.as_deref())?;
            if let Some(old) = &serial.old {
                self.free(Space::Serial, account, old);
            }
        }
        Ok(())
    }

    fn device_removed(&mut self, id: &str, account: &str) -> Result<(), Rejection> {
        let registry = self.registry;
        if let Some(device) = registry.device(account, id) {
            self.free(Space::Local, account, &device.state.local_id.to_ascii_lowercase());
            if let Some(dev_eui) = &device.state.dev_eui {
                self.free(Space::DevEui, account, dev_eui);
            }
            if let Some(serial) = &device.state.serial {
                self.free(Space::Serial, account, serial);
            }
        }
        Ok(())
    }

    fn channel(&mut self, id: &str, account: &str, channel: &ChannelRegistered) -> Result<(), Rejection> {
        self.begin(id, account)?;
        let registry = self.registry;
        let device = registry
            .device(account, &channel.device)
            .filter(|d| !d.state.removed);
        let begun = self.begun.get(&channel.device).is_some_and(|of| of == account);
        if device.is_none() && !begun {
            return Err(Rejection::not_found("device_not_found", "no such device"));
        }
        let holder = device.and_then(|d| registry.channel_by_key(d, &channel.key));
        self.take(
            Space::Channel,
            &channel.device,
            &channel.key,
            id,
            holder.map(|c| &*c.id),
        )?;
        self.homes.insert(id.to_owned(), channel.device.clone());
        let holder = registry.channel_by_sensor(account, &channel.sensor);
        self.take(Space::Sensor, "", &channel.sensor, id, holder.map(|c| &*c.id))?;
        let added = self.channels.entry(channel.device.clone()).or_default();
        *added += 1;
        if device.map_or(0, |d| d.channels.len()) + *added > CHANNELS_PER_DEVICE_MAX {
            return Err(Rejection::invalid(
                "too_many_channels",
                format!("a device has at most {CHANNELS_PER_DEVICE_MAX} channels"),
            ));
        }
        Ok(())
    }

    fn artefact(
        &mut self,
        id: &str,
        account: &str,
        owner: &str,
        artefact: &ArtefactRegistered,
    ) -> Result<(), Rejection> {
        self.begin(id, account)?;
        let registry = self.registry;
        let of = match artefact.about() {
            About::Account => Some(account),
            About::Site(site) => registry.site(account, &site).map(|it| &*it.id),
            About::Device(device) => registry.device(account, &device).map(|it| &*it.id),
            About::Channel(channel) => registry
                .channel(account, &channel)
                .map(|it| it.state.device.as_str()),
        };
        let Some(of) = of else {
            return Err(Rejection::not_found(
                "subject_not_found",
                "no such site, device or channel",
            ));
        };
        if of != owner {
            return Err(malformed("an artefact in another's streams"));
        }
        let added = self.artefacts.entry(owner.to_owned()).or_default();
        *added += 1;
        let there = registry.artefacts_of.get(owner).map_or(0, Vec::len);
        if there + *added > ARTEFACTS_PER_OWNER_MAX {
            return Err(Rejection::invalid(
                "too_many_artifacts",
                format!("one device, site or account has at most {ARTEFACTS_PER_OWNER_MAX} artefacts"),
            ));
        }
        Ok(())
    }

    fn token(&mut self, owner: &str, account: &str, token: &TokenIssued) -> Result<(), Rejection> {
        let registry = self.registry;
        let standing = match token.kind {
            TokenKind::Device => registry.device(account, owner).map(|d| !d.state.removed),
            TokenKind::User => registry.user(account, owner).map(|u| !u.state.removed),
            TokenKind::Webhook => registry.integration(account, owner).map(|i| !i.state.removed),
        };
        let begun = self.begun.get(owner).is_some_and(|of| of == account);
        if standing != Some(true) && !begun {
            return Err(Rejection::not_found(
                "owner_not_found",
                "nobody there to hold a token",
            ));
        }
        let holder = registry.token(&token.token).map(|found| found.owner);
        if holder.is_some() {
            return Err(Space::Token.taken(&token.token));
        }
        self.take(Space::Token, "", &token.token, owner, None)
    }

    fn parked(&mut self, id: &str, account: &str, parked: &UplinkParked) -> Result<(), Rejection> {
        let registry = self.registry;
        let tray = registry.trays.get(id);
        if tray.is_some_and(|tray| *tray.dev_eui != *parked.dev_eui) {
            return Err(malformed("an uplink in the tray of another DevEUI"));
        }
        if tray.is_some_and(|tray| tray.adopted_by.is_some()) {
            return Err(Rejection::conflict(
                "device_adopted",
                "the device was adopted at this moment: send the uplink again",
            ));
        }
        let there = tray.map_or(0, |tray| tray.uplinks.len());
        let added = self.parked.entry(id.to_owned()).or_default();
        *added += 1;
        if there + *added > TRAY_UPLINKS_MAX {
            return Err(Rejection::conflict(
                "tray_full",
                format!("{TRAY_UPLINKS_MAX} uplinks of this device wait already: adopt it first"),
            ));
        }
        if there == 0 {
            let devices = self.parked_devices.entry(account.to_owned()).or_default();
            devices.insert(parked.dev_eui.clone());
            let waiting = registry.account(account).map_or(0, |a| a.waiting_count);
            if waiting + devices.len() > TRAY_DEVICES_MAX {
                return Err(Rejection::conflict(
                    "tray_full",
                    format!("{TRAY_DEVICES_MAX} unknown devices wait already: adopt some first"),
                ));
            }
        }
        Ok(())
    }
}

impl Space {
    fn taken(self, name: &str) -> Rejection {
        let (code, message) = match self {
            Self::Local => (
                "local_id_taken",
                format!("another device has the local_id {name}"),
            ),
            Self::DevEui => ("dev_eui_taken", format!("another device has the DevEUI {name}")),
            Self::Serial => (
                "serial_taken",
                format!("another device has the serial number {name}"),
            ),
            Self::Email => (
                "email_taken",
                "somebody with this address has access already".to_owned(),
            ),
            Self::Channel => (
                "channel_exists",
                format!("the device has a channel {name} already"),
            ),
            Self::Sensor | Self::Token => ("already_exists", "this id is taken".to_owned()),
        };
        Rejection::conflict(code, message)
    }
}

/// `temperature (Cel) and humidity (%)`.
fn in_words(sources: &[&str]) -> String {
    let named = sources
        .iter()
        .map(|name| format!("{name} ({})", kinds::find(name).map_or("", |kind| kind.unit)));
    named.collect::<Vec<_>>().join(" and ")
}

fn malformed(what: &'static str) -> Rejection {
    Rejection::new(Fault::Malformed, "bad_event", what)
}
