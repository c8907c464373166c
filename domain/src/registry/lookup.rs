//! Finding things in the registry.
//!
//! Invariants: what takes an account answers `None` for a thing of another account, as if it were not there;
//! lists are in order of creation, and a cursor is the position of the last thing's first entry.
//! Not here: whether a token is taken (`admit`).

use super::{
    Account, Arena, Artefact, Channel, Contact, Device, Integration, Mark, Pack, Registry, Site, Slot, Token,
    Tray, User,
};
use crate::aggregate;
use crate::aggregate::text::LOCAL_ID_MAX;
use crate::position::{Position, TreeSize};

impl Registry {
    /// Up to which tree size entries were folded.
    pub const fn size(&self) -> TreeSize {
        self.size
    }

    /// The sequence of a stream: how many entries it has; 0 for one that does not exist.
    pub fn sequence(&self, aggregate_type: &str, id: &str) -> u64 {
        match aggregate_type {
            "account" => self.accounts.get(id).map(|x| x.state.sequence),
            "user" => self.users.get(id).map(|x| x.state.sequence),
            "site" => self.sites.get(id).map(|x| x.state.sequence),
            "device" => self.devices.get(id).map(|x| x.state.sequence),
            "channel" => self.channels.get(id).map(|x| x.state.sequence),
            "integration" => self.integrations.get(id).map(|x| x.state.sequence),
            "artefact" => self.artefacts.get(id).map(|x| x.state.sequence),
            "pack" => self.packs.get(id).map(|x| x.state.sequence),
            "contact" => self.contacts.get(id).map(|x| x.state.sequence),
            "tokens" => self.token_sets.get(id).map(|x| x.state.sequence),
            "tray" => self.trays.get(id).map(|x| x.sequence),
            "rule" => self.rules.get(id).map(|x| x.state.sequence),
            "silence" => self.silences.get(id).map(|x| x.state.sequence),
            _ => None,
        }
        .unwrap_or(0)
    }

    /// An account.
    pub fn account(&self, id: &str) -> Option<&Account> {
        self.accounts.get(id)
    }

    /// Every account, in order of creation.
    pub fn accounts(&self) -> impl Iterator<Item = &Account> {
        self.accounts.items.iter()
    }

    /// A user of the account; removed ones too.
    pub fn user(&self, account: &str, id: &str) -> Option<&User> {
        self.users.get(id).filter(|user| *user.account == *account)
    }

    /// The user with access who has this e-mail index, in whichever account.
    pub fn user_by_email(&self, email_index: &str) -> Option<&User> {
        self.emails.get(email_index).map(|slot| self.users.at(*slot))
    }

    /// A site of the account.
    pub fn site(&self, account: &str, id: &str) -> Option<&Site> {
        self.sites.get(id).filter(|site| *site.account == *account)
    }

    /// A device of the account; removed ones too.
    pub fn device(&self, account: &str, id: &str) -> Option<&Device> {
        self.devices.get(id).filter(|device| *device.account == *account)
    }

    /// A device, in whichever account: for those who hold its token or its entries.
    pub fn device_anywhere(&self, id: &str) -> Option<&Device> {
        self.devices.get(id)
    }

    /// The device of the account that has this local id, without regard to case.
    pub fn device_by_local(&self, account: &str, local: &str) -> Option<&Device> {
        let mut lower = [0u8; LOCAL_ID_MAX];
        let lower = lower.get_mut(..local.len())?;
        lower.copy_from_slice(local.as_bytes());
        lower.make_ascii_lowercase();
        let slot = self
            .accounts
            .get(account)?
            .locals
            .get(std::str::from_utf8(lower).ok()?)?;
        Some(self.devices.at(*slot))
    }

    /// The device of the account that has this DevEUI, in upper case.
    pub fn device_by_dev_eui(&self, account: &str, dev_eui: &str) -> Option<&Device> {
        let slot = self.accounts.get(account)?.dev_euis.get(dev_eui)?;
        Some(self.devices.at(*slot))
    }

    /// The device of the account that has this serial number, upper-case, without separators.
    pub fn device_by_serial(&self, account: &str, serial: &str) -> Option<&Device> {
        let slot = self.accounts.get(account)?.serials.get(serial)?;
        Some(self.devices.at(*slot))
    }

    /// A device's channel by the key of its values.
    pub fn channel_by_key(&self, device: &Device, key: &str) -> Option<&Channel> {
        let at = device.channels.binary_search_by(|(k, _)| (**k).cmp(key)).ok()?;
        Some(self.channels.at(device.channels[at].1))
    }

    /// A device's channels, by key.
    pub fn channels<'r>(&'r self, device: &'r Device) -> impl Iterator<Item = &'r Channel> {
        device.channels.iter().map(|(_, slot)| self.channels.at(*slot))
    }

    /// A channel of the account.
    pub fn channel(&self, account: &str, id: &str) -> Option<&Channel> {
        self.channels
            .get(id)
            .filter(|channel| *channel.account == *account)
    }

    /// A channel, in whichever account: for those who hold its entries.
    pub fn channel_anywhere(&self, id: &str) -> Option<&Channel> {
        self.channels.get(id)
    }

    /// The channel of a sensor of the account.
    pub fn channel_by_sensor(&self, account: &str, sensor: &str) -> Option<&Channel> {
        let channel = self.channels.at(*self.sensors.get(sensor)?);
        (*channel.account == *account).then_some(channel)
    }

    /// An integration of the account; removed ones too.
    pub fn integration(&self, account: &str, id: &str) -> Option<&Integration> {
        self.integrations.get(id).filter(|it| *it.account == *account)
    }

    /// An artefact of the account.
    pub fn artefact(&self, account: &str, id: &str) -> Option<&Artefact> {
        self.artefacts.get(id).filter(|it| *it.account == *account)
    }

    /// An evidence pack of the account that was handed out.
    pub fn pack(&self, account: &str, id: &str) -> Option<&Pack> {
        self.packs.get(id).filter(|it| *it.account == *account)
    }

    /// The artefacts that are about a device (or a channel of it), a site, or an account as a whole, in order of
    /// creation.
    pub fn artefacts_of<'r>(&'r self, owner: &str) -> impl Iterator<Item = &'r Artefact> {
        let slots = self.artefacts_of.get(owner).map_or(&[][..], |slots| &slots[..]);
        slots.iter().map(|slot| self.artefacts.at(*slot))
    }

    /// A contact of the account; removed ones too.
    pub fn contact(&self, account: &str, id: &str) -> Option<&Contact> {
        self.contacts.get(id).filter(|it| *it.account == *account)
    }

    /// A contact, in whichever account: for those who hold its links or its code.
    pub fn contact_anywhere(&self, id: &str) -> Option<&Contact> {
        self.contacts.get(id)
    }

    /// Every contact that was not taken away, in order of creation.
    pub fn contacts_anywhere(&self) -> impl Iterator<Item = &Contact> {
        let contacts = self.contacts.items.iter();
        contacts.filter(|it| it.state.state != aggregate::contact::ContactState::Removed)
    }

    /// The account's contacts, removed ones too, in order of creation.
    pub fn contacts_ever<'r>(&'r self, account: &str) -> impl Iterator<Item = &'r Contact> {
        let slots = self.accounts.get(account).map_or(&[][..], |a| &a.contacts);
        listed(&self.contacts, slots, None, |it| it.created)
    }

    /// The account's contacts that were not taken away, after the cursor.
    pub fn contacts<'r>(
        &'r self,
        account: &str,
        after: Option<Position>,
    ) -> impl Iterator<Item = &'r Contact> {
        let slots = self.accounts.get(account).map_or(&[][..], |a| &a.contacts);
        listed(&self.contacts, slots, after, |it| it.created)
            .filter(|it| it.state.state != aggregate::contact::ContactState::Removed)
    }

    /// The account's contacts that were taken away, in order of creation.
    pub fn former_contacts<'r>(&'r self, account: &str) -> impl Iterator<Item = &'r Contact> {
        let slots = self.accounts.get(account).map_or(&[][..], |a| &a.contacts);
        listed(&self.contacts, slots, None, |it| it.created)
            .filter(|it| it.state.state == aggregate::contact::ContactState::Removed)
    }

    /// A token by the id inside it, in whichever account.
    pub fn token(&self, id: &str) -> Option<Token<'_>> {
        let (slot, index) = *self.tokens.get(id)?;
        self.token_at(slot, index as usize)
    }

    /// The tokens of a device, user or integration, in order of issue; ended ones too.
    pub fn tokens(&self, owner: &str) -> impl Iterator<Item = Token<'_>> {
        let slot = self.token_sets.slot(owner);
        let count = slot.map_or(0, |slot| self.token_sets.at(slot).issued.len());
        (0..count).filter_map(move |index| self.token_at(slot?, index))
    }

    fn token_at(&self, slot: Slot, index: usize) -> Option<Token<'_>> {
        let set = self.token_sets.at(slot);
        let token = set.state.tokens.get(index)?;
        Some(Token {
            id: &token.id,
            owner: &set.owner,
            kind: token.kind,
            account: &set.account,
            hash: &token.hash,
            issued: *set.issued.get(index)?,
            expires_at: token.expires_at,
            revoked: token.revoked,
        })
    }

    /// The parked uplinks of a DevEUI that no device of the account has.
    pub fn tray(&self, account: &str, dev_eui: &str) -> Option<&Tray> {
        let slot = self.accounts.get(account)?.waiting.get(dev_eui)?;
        Some(self.trays.at(*slot))
    }

    /// A tray of the account by its stream's id; adopted ones too.
    pub fn tray_by_id(&self, account: &str, id: &str) -> Option<&Tray> {
        self.trays.get(id).filter(|tray| *tray.account == *account)
    }

    /// The tray whose uplinks a device was given when it was adopted.
    pub fn tray_adopted_by(&self, device: &Device) -> Option<&Tray> {
        let slots = &self.accounts.get(&device.account)?.trays;
        let mut trays = slots.iter().map(|slot| self.trays.at(*slot));
        trays.find(|tray| tray.adopted_by.as_deref() == Some(&*device.id))
    }

    /// The parked uplinks of a known device whose frames nobody could decode.
    pub fn tray_of(&self, device: &Device) -> Option<&Tray> {
        device.tray.map(|slot| self.trays.at(slot))
    }

    /// The account's parked DevEUIs that wait to be adopted, after the cursor.
    pub fn trays<'r>(&'r self, account: &str, after: Option<Position>) -> impl Iterator<Item = &'r Tray> {
        let slots = self.accounts.get(account).map_or(&[][..], |a| &a.trays);
        listed(&self.trays, slots, after, |tray| tray.created)
            .filter(|tray| tray.device.is_none() && tray.adopted_by.is_none())
    }

    /// The account's users with access, after the cursor.
    pub fn users<'r>(&'r self, account: &str, after: Option<Position>) -> impl Iterator<Item = &'r User> {
        let slots = self.accounts.get(account).map_or(&[][..], |a| &a.users);
        listed(&self.users, slots, after, |user| user.created).filter(|user| !user.state.removed)
    }

    /// The account's sites, after the cursor.
    pub fn sites<'r>(&'r self, account: &str, after: Option<Position>) -> impl Iterator<Item = &'r Site> {
        let slots = self.accounts.get(account).map_or(&[][..], |a| &a.sites);
        listed(&self.sites, slots, after, |site| site.created)
    }

    /// The account's devices that are in service, after the cursor.
    pub fn devices<'r>(&'r self, account: &str, after: Option<Position>) -> impl Iterator<Item = &'r Device> {
        self.devices_ever(account, after)
            .filter(|device| !device.state.removed)
    }

    /// The account's devices, removed ones too, after the cursor.
    pub fn devices_ever<'r>(
        &'r self,
        account: &str,
        after: Option<Position>,
    ) -> impl Iterator<Item = &'r Device> {
        let slots = self.accounts.get(account).map_or(&[][..], |a| &a.devices);
        listed(&self.devices, slots, after, |device| device.created)
    }

    /// The account's integrations that are set up, after the cursor.
    pub fn integrations<'r>(
        &'r self,
        account: &str,
        after: Option<Position>,
    ) -> impl Iterator<Item = &'r Integration> {
        let slots = self.accounts.get(account).map_or(&[][..], |a| &a.integrations);
        listed(&self.integrations, slots, after, |it| it.created).filter(|it| !it.state.removed)
    }

    /// The account's artefacts, after the cursor.
    pub fn artefacts<'r>(
        &'r self,
        account: &str,
        after: Option<Position>,
    ) -> impl Iterator<Item = &'r Artefact> {
        let slots = self.accounts.get(account).map_or(&[][..], |a| &a.artefacts);
        listed(&self.artefacts, slots, after, |it| it.created)
    }

    /// The account that something with an id belongs to: account, user, site, device, channel, sensor,
    /// integration, artefact, pack, tray, rule with a stream of its own, or silence.
    pub fn account_of(&self, id: &str) -> Option<&str> {
        let account = self.accounts.get(id).map(|x| &x.id);
        let account = account.or_else(|| self.users.get(id).map(|x| &x.account));
        let account = account.or_else(|| self.sites.get(id).map(|x| &x.account));
        let account = account.or_else(|| self.devices.get(id).map(|x| &x.account));
        let account = account.or_else(|| self.channels.get(id).map(|x| &x.account));
        let account = account.or_else(|| self.integrations.get(id).map(|x| &x.account));
        let account = account.or_else(|| self.artefacts.get(id).map(|x| &x.account));
        let account = account.or_else(|| self.packs.get(id).map(|x| &x.account));
        let account = account.or_else(|| self.contacts.get(id).map(|x| &x.account));
        let account = account.or_else(|| self.trays.get(id).map(|x| &x.account));
        let account = account.or_else(|| self.rules.get(id).map(|x| &x.account));
        let account = account.or_else(|| self.silences.get(id).map(|x| &x.account));
        let sensor = || Some(&self.channels.at(*self.sensors.get(id)?).account);
        account.or_else(sensor).map(|account| &**account)
    }
}

/// What is in `slots`, which rise by creation, after the cursor.
pub(super) fn listed<'r, T>(
    arena: &'r Arena<T>,
    slots: &'r [Slot],
    after: Option<Position>,
    created: impl Fn(&T) -> Mark,
) -> impl Iterator<Item = &'r T> {
    let from = after.map_or(0, |after| {
        slots.partition_point(|slot| created(arena.at(*slot)).position <= after)
    });
    slots[from..].iter().map(|slot| arena.at(*slot))
}
