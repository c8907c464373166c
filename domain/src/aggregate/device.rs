//! `device/dev_…`: a hardware unit, at one site at a time.
//!
//! Invariants: model and site never change by an edit (recreate or move it); moving never rewrites history: what
//! was measured before `effective_at` stays with the old site. A removed device stays readable.
//! Source: REFERENCE §1.3. Not here: its channels (`channel`), tokens (`tokens`), uniqueness (`registry`).

use super::{Aggregate, Stamp, text};
use crate::event::{
    Change, Changed, DeviceChanges, DeviceMoved, DeviceRegistered, Event, Nothing, Text, TextChange,
};
use crate::rejection::Rejection;
use crate::sealed::SealedField;
use crate::time::Timestamp;
use serde::{Deserialize, Serialize};

/// Shortest cadence, seconds: one report a minute is the rate limit, some meters report faster.
pub const CADENCE_S_MIN: u32 = 1;
/// Longest cadence, seconds: a week.
pub const CADENCE_S_MAX: u32 = 604_800;

/// The state of a device.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct Device {
    /// How many events there were.
    pub sequence: u64,
    /// Where it is.
    pub site: String,
    /// What people and payloads call it.
    pub local_id: String,
    /// Its name, sealed.
    pub name: Option<SealedField>,
    /// Such as `shelly-h-t-gen3`.
    pub model: String,
    /// 16 upper-case hexadecimal digits.
    pub dev_eui: Option<String>,
    /// Upper-case, without separators.
    pub serial: Option<String>,
    /// How often it means to report.
    pub cadence_s: Option<u32>,
    /// Notes, sealed.
    pub notes: Option<SealedField>,
    /// Its moves, in order of time.
    pub moves: Vec<DeviceMoved>,
    /// Whether it was taken out of service.
    pub removed: bool,
}

/// What may be asked of a device.
#[derive(Debug, Clone, PartialEq)]
pub enum DeviceCommand {
    /// Makes it known.
    Register(NewDevice),
    /// Changes what is given; absent fields stay.
    Change(DevicePatch),
    /// Moves it to another site.
    Move {
        /// Where to.
        to_site: String,
        /// From when on.
        effective_at: Timestamp,
        /// The time now: a move lies never ahead.
        now: Timestamp,
    },
    /// Takes it out of service.
    Remove,
}

/// A device to make known.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct NewDevice {
    /// Where it stands.
    pub site: String,
    /// What people and payloads call it.
    pub local_id: String,
    /// Its name.
    pub name: String,
    /// Its model.
    pub model: String,
    /// LoRaWAN DevEUI.
    pub dev_eui: Option<String>,
    /// Serial number or MAC.
    pub serial: Option<String>,
    /// How often it means to report.
    pub cadence_s: Option<u32>,
    /// Notes.
    pub notes: Option<String>,
}

/// What to change of a device. `site_id` and `model` are there to be refused in words.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct DevicePatch {
    /// A new name.
    pub name: Option<String>,
    /// A new local id.
    pub local_id: Option<String>,
    /// New notes, or none.
    pub notes: Option<Option<String>>,
    /// A new cadence, or none.
    pub cadence_s: Option<Option<u32>>,
    /// A new DevEUI, or none.
    pub dev_eui: Option<Option<String>>,
    /// A new serial number, or none.
    pub serial: Option<Option<String>>,
    /// Cannot be changed: move it.
    pub site_id: Option<String>,
    /// Cannot be changed: recreate it.
    pub model: Option<String>,
}

impl Aggregate for Device {
    const TYPE: &'static str = "device";
    type Command = DeviceCommand;

    fn apply(&mut self, event: &Event, stamp: Stamp<'_>) {
        self.sequence = stamp.sequence;
        match event {
            Event::DeviceRegistered(device) => {
                self.site.clone_from(&device.site);
                self.local_id.clone_from(&device.local_id);
                self.name = stamp.field(&device.name, "/name");
                self.model.clone_from(&device.model);
                self.dev_eui.clone_from(&device.dev_eui);
                self.serial.clone_from(&device.serial);
                self.cadence_s = device.cadence_s;
                self.notes = stamp.maybe(device.notes.as_ref(), "/notes");
            }
            Event::DeviceChanged(Changed { changes }) => self.take(changes, stamp),
            Event::DeviceMoved(moved) => {
                self.site.clone_from(&moved.to_site);
                self.moves.push(moved.clone());
            }
            Event::DeviceRemoved(_) => self.removed = true,
            _ => {}
        }
    }

    fn decide(&self, command: &DeviceCommand) -> Result<Vec<Event>, Rejection> {
        if let DeviceCommand::Register(device) = command {
            if self.sequence > 0 {
                return Err(Rejection::conflict(
                    "already_exists",
                    "this device exists already",
                ));
            }
            return Ok(vec![Event::DeviceRegistered(registered(device)?)]);
        }
        if self.sequence == 0 || self.removed {
            return Err(Rejection::not_found("device_not_found", "no such device"));
        }
        match command {
            DeviceCommand::Change(patch) => self.changed(patch),
            DeviceCommand::Move {
                to_site,
                effective_at,
                now,
            } => self.moved(to_site, *effective_at, *now),
            DeviceCommand::Remove => Ok(vec![Event::DeviceRemoved(Nothing {})]),
            DeviceCommand::Register(_) => Ok(vec![]),
        }
    }

    fn sequence(&self) -> u64 {
        self.sequence
    }
}

impl Device {
    /// Where it stood at a time.
    pub fn site_at(&self, at: Timestamp) -> &str {
        let after = self.moves.iter().find(|moved| at < moved.effective_at);
        after.map_or(&self.site, |moved| &moved.from_site)
    }

    fn take(&mut self, changes: &DeviceChanges, stamp: Stamp<'_>) {
        stamp.change(&mut self.name, changes.name.as_ref(), "/changes/name/new");
        stamp.change(&mut self.notes, changes.notes.as_ref(), "/changes/notes/new");
        if let Some(change) = &changes.local_id {
            self.local_id.clone_from(&change.new);
        }
        if let Some(change) = &changes.cadence_s {
            self.cadence_s = change.new;
        }
        if let Some(change) = &changes.dev_eui {
            self.dev_eui.clone_from(&change.new);
        }
        if let Some(change) = &changes.serial {
            self.serial.clone_from(&change.new);
        }
    }

    fn changed(&self, patch: &DevicePatch) -> Result<Vec<Event>, Rejection> {
        self.immutable(patch)?;
        let mut changes = DeviceChanges::default();
        if let Some(name) = &patch.name {
            changes.name = Some(TextChange::to(self.name.as_ref(), &text::name("name", name)?));
        }
        if let Some(notes) = &patch.notes {
            let notes = text::notes("notes", notes.as_deref())?;
            changes.notes = TextChange::maybe(self.notes.as_ref(), notes.as_deref());
        }
        if let Some(local_id) = &patch.local_id {
            changes.local_id = Change::between(&self.local_id, &text::local_id(local_id)?);
        }
        if let Some(cadence_s) = patch.cadence_s {
            changes.cadence_s = Change::between(&self.cadence_s, &cadence(cadence_s)?);
        }
        if let Some(dev_eui) = &patch.dev_eui {
            let dev_eui = dev_eui.as_deref().map(text::dev_eui).transpose()?;
            changes.dev_eui = Change::between(&self.dev_eui, &dev_eui);
        }
        if let Some(serial) = &patch.serial {
            let serial = serial.as_deref().map(text::serial).transpose()?;
            changes.serial = Change::between(&self.serial, &serial);
        }
        let nothing = changes == DeviceChanges::default();
        Ok(if nothing {
            vec![]
        } else {
            vec![Event::DeviceChanged(Changed { changes })]
        })
    }

    fn immutable(&self, patch: &DevicePatch) -> Result<(), Rejection> {
        if patch.site_id.as_ref().is_some_and(|site| *site != self.site) {
            return Err(Rejection::invalid(
                "immutable_field",
                "site_id cannot be edited: use POST /v1/devices/{id}/move, so that history stays with the old site",
            ));
        }
        if patch.model.as_ref().is_some_and(|model| *model != self.model) {
            return Err(Rejection::invalid(
                "immutable_field",
                "model cannot be edited: remove the device and create it again",
            ));
        }
        Ok(())
    }

    fn moved(&self, to_site: &str, effective_at: Timestamp, now: Timestamp) -> Result<Vec<Event>, Rejection> {
        if to_site == self.site {
            return Ok(vec![]);
        }
        if effective_at > now {
            return Err(Rejection::invalid(
                "invalid_effective_at",
                "effective_at must not lie in the future",
            ));
        }
        if self
            .moves
            .last()
            .is_some_and(|last| effective_at <= last.effective_at)
        {
            return Err(Rejection::invalid(
                "invalid_effective_at",
                "effective_at must lie after the device's last move",
            ));
        }
        Ok(vec![Event::DeviceMoved(DeviceMoved {
            effective_at,
            from_site: self.site.clone(),
            to_site: to_site.to_owned(),
        })])
    }
}

fn registered(device: &NewDevice) -> Result<DeviceRegistered, Rejection> {
    Ok(DeviceRegistered {
        cadence_s: cadence(device.cadence_s)?,
        dev_eui: device.dev_eui.as_deref().map(text::dev_eui).transpose()?,
        local_id: text::local_id(&device.local_id)?,
        model: text::model(&device.model)?,
        name: Text::Plain(text::name("name", &device.name)?),
        notes: text::notes("notes", device.notes.as_deref())?.map(Text::Plain),
        serial: device.serial.as_deref().map(text::serial).transpose()?,
        site: device.site.clone(),
    })
}

fn cadence(cadence_s: Option<u32>) -> Result<Option<u32>, Rejection> {
    if cadence_s.is_some_and(|s| !(CADENCE_S_MIN..=CADENCE_S_MAX).contains(&s)) {
        return Err(Rejection::invalid(
            "invalid_cadence",
            format!("cadence_s must lie between {CADENCE_S_MIN} and {CADENCE_S_MAX}"),
        ));
    }
    Ok(cadence_s)
}
