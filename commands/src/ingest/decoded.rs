//! What a decoder makes of a payload: readings, what it could not use, or why there are none.
//!
//! Decoders are pure: bytes in, [`Decoded`] out. They never panic, never guess a unit, never invent a time.
//! Not here: authentication, the registry, sanity ranges that need configuration, duplicates.

use domain::Timestamp;
use domain::kinds::Kind;
use std::borrow::Cow;

/// Most measurements one report may carry: a three-phase meter's full status has about forty.
pub const MEASUREMENTS_MAX: usize = 64;
/// Most reports one request may carry.
pub const REPORTS_MAX: usize = 1000;
/// Longest label, in characters; a channel's slug has as many.
pub const LABEL_CHARS_MAX: usize = 64;
/// Longest unit as a payload may spell it, in characters.
pub const UNIT_CHARS_MAX: usize = 16;
/// Longest device id as a payload may spell it, in characters.
pub const DEVICE_CHARS_MAX: usize = 64;
/// How much of a dropped value is kept, in characters.
pub const RAW_CHARS_MAX: usize = 64;

/// What a payload turned out to be.
#[derive(Debug, Clone, PartialEq)]
pub enum Decoded {
    /// Readings, with what was dropped beside them. `reports` is never empty.
    Reports(Vec<Report>),
    /// Well-formed, and rightly without a reading (a join, an acknowledgement, a switch state).
    Nothing {
        /// In words, for the answer and the device page.
        why: Cow<'static, str>,
        /// The device it came from, where the payload says so.
        device: Option<DeviceHint>,
        /// What was in it but could not be used.
        dropped: Vec<Dropped>,
    },
    /// An uplink whose bytes nobody here can read yet: it is parked whole.
    Opaque(Box<Uplink>),
}

/// One device, one message; measurements of several times are grouped by time later.
#[derive(Debug, Clone, PartialEq)]
pub struct Report {
    /// Which device the payload names; `None` where only the token can tell.
    pub device: Option<DeviceHint>,
    /// What was measured; empty where nothing could be used (`dropped` says why).
    pub measurements: Vec<Measurement>,
    /// What was in the payload but must not be stored as a reading, and why.
    pub dropped: Vec<Dropped>,
    /// The radio frame it came in, for LoRaWAN; `None` where the message names no session.
    pub uplink: Option<UplinkId>,
    /// That frame's bytes, where the server passed them on: kept where the device is not known yet, so that another
    /// codec can read them again.
    pub frame: Option<Box<RawFrame>>,
    /// The device's or gateway's own reference for this report (Efento's response handle).
    pub handle: Option<i64>,
}

/// A radio frame as it came over the air.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RawFrame {
    /// Application port, where given.
    pub f_port: Option<u8>,
    /// The bytes.
    pub bytes: Vec<u8>,
}

/// How a payload names its device.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum DeviceHint {
    /// A local id, as shown in the dashboard; compared without regard to case.
    Local(String),
    /// A LoRaWAN DevEUI, 16 upper-case hexadecimal digits.
    DevEui(String),
    /// What the maker calls it: a serial number or MAC, upper-case and without separators, or a maker's name; compared
    /// without regard to case.
    Serial(String),
}

impl DeviceHint {
    /// The id as text.
    pub fn as_str(&self) -> &str {
        match self {
            Self::Local(id) | Self::DevEui(id) | Self::Serial(id) => id,
        }
    }
}

/// One value of one channel.
#[derive(Debug, Clone, PartialEq)]
pub struct Measurement {
    /// One of the kinds of [`domain::kinds`], such as `temperature`; it knows unit, range and whether it is
    /// about the device itself.
    pub kind: &'static Kind,
    /// Tells two sensors of one kind apart: phase, index, probe id, JSON key. It follows from the payload's
    /// own naming only, never from what else was in the message, so that a channel keeps its label.
    pub label: Option<String>,
    /// As the device meant it, in `unit`; finite.
    pub value: f64,
    /// UCUM code, such as `Cel`, `%`, `hPa`, `W`, `kWh`; `None` = the kind's own unit.
    pub unit: Option<Cow<'static, str>>,
    /// When the payload or network says it was measured.
    pub at: Option<Timed>,
}

impl Measurement {
    /// The UCUM code of `value`.
    pub fn unit(&self) -> &str {
        self.unit.as_deref().unwrap_or(self.kind.unit)
    }
}

/// A time and whose clock it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Timed {
    /// The instant.
    pub at: Timestamp,
    /// Whose clock said so.
    pub clock: WhoseClock,
}

/// Whose clock a measured time comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WhoseClock {
    /// The device's own.
    Device,
    /// The LoRaWAN network server's.
    Network,
}

/// Something in a payload that is not a reading.
#[derive(Debug, Clone, PartialEq)]
pub struct Dropped {
    /// The kind or key it would have been.
    pub channel: String,
    /// As received, at most 64 characters.
    pub raw: String,
    /// Why, as a stable code.
    pub reason: DropReason,
}

/// Why a value was dropped.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum DropReason {
    /// A value that stands for "no sensor" (999, -127, 327.67).
    Sentinel,
    /// Physically impossible for this sensor.
    OutOfRange,
    /// `nan`, `null`, text where a number belongs.
    NotANumber,
    /// `${ev.tC}` left as it was.
    UnevaluatedToken,
    /// The device itself says the value is invalid.
    MarkedInvalid,
    /// A temperature of the device's own electronics.
    ChipTemperature,
    /// A unit this decoder does not know for this kind.
    UnknownUnit,
    /// A quantity that is not one of the kinds.
    UnknownKind,
    /// A time that cannot be read; the measurements beside it stand.
    NotATime,
    /// A label longer than a channel's may be.
    LabelTooLong,
}

impl DropReason {
    /// The stable code.
    pub const fn code(self) -> &'static str {
        match self {
            Self::Sentinel => "sentinel",
            Self::OutOfRange => "out_of_range",
            Self::NotANumber => "not_a_number",
            Self::UnevaluatedToken => "unevaluated_token",
            Self::MarkedInvalid => "marked_invalid",
            Self::ChipTemperature => "chip_temperature",
            Self::UnknownUnit => "unknown_unit",
            Self::UnknownKind => "unknown_kind",
            Self::NotATime => "not_a_time",
            Self::LabelTooLong => "label_too_long",
        }
    }
}

/// What identifies a LoRaWAN frame: duplicates share it, equal payloads do not.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct UplinkId {
    /// 16 upper-case hexadecimal digits.
    pub dev_eui: String,
    /// Session key id, or device address where the server gives none.
    pub session: String,
    /// Frame counter; an omitted one is 0.
    pub f_cnt: u32,
}

/// An uplink that could not be decoded, with everything a later codec needs.
#[derive(Debug, Clone, PartialEq)]
pub struct Uplink {
    /// 16 upper-case hexadecimal digits.
    pub dev_eui: String,
    /// Which frame; `None` where the message names no session, so that nothing can be a duplicate of it.
    pub id: Option<UplinkId>,
    /// Application port, where given.
    pub f_port: Option<u8>,
    /// The frame's bytes.
    pub bytes: Vec<u8>,
    /// The network server's time.
    pub at: Option<Timestamp>,
}

/// A payload that cannot be taken: the request is refused, counted, and the reason shown.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    /// Not the format it claims to be (400).
    #[error("{message}")]
    Malformed {
        /// Stable code: `bad_json`, `invalid_measurement`, …
        code: &'static str,
        /// What is wrong and where, for a person.
        message: String,
    },
    /// Understood and not acceptable (422).
    #[error("{message}")]
    Rejected {
        /// Stable code: `out_of_range`, `unknown_kind`, …
        code: &'static str,
        /// What is wrong and what to do, for a person.
        message: String,
    },
}

impl DecodeError {
    /// The stable code.
    pub const fn code(&self) -> &'static str {
        match self {
            Self::Malformed { code, .. } | Self::Rejected { code, .. } => code,
        }
    }
}
