//! The payloads of the configuration's events, as types.
//!
//! Invariants: member names are those of the catalogue; a change has the old value beside the new one, and where
//! it is sealed, the old one stands with its place so that it can still be opened.
//! Source: docs/events.md. Not here: what commands are allowed (`aggregate`).

use super::contact::OpeningHours;
use super::text::Text;
use crate::Date;
use crate::aggregate::artefact::About;
use crate::hash::Hash;
use crate::position::TreeSize;
use crate::sealed::SealedField;
use crate::time::Timestamp;
use serde::{Deserialize, Serialize};

/// A payload without members.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Nothing {}

/// An old value and the new one.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Change<T> {
    /// As it was.
    pub old: T,
    /// As it is from here on.
    pub new: T,
}

impl<T: PartialEq + Clone> Change<T> {
    /// The change from `old` to `new`; `None` where there is none.
    pub fn between(old: &T, new: &T) -> Option<Self> {
        (old != new).then(|| Self {
            old: old.clone(),
            new: new.clone(),
        })
    }
}

/// The change of a sealed text.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct TextChange {
    /// As it was sealed, and where.
    pub old: Option<SealedField>,
    /// As it is from here on.
    pub new: Option<Text>,
}

impl TextChange {
    /// The change of a text that always has a value.
    pub fn to(old: Option<&SealedField>, new: &str) -> Self {
        Self {
            old: old.cloned(),
            new: Some(Text::Plain(new.to_owned())),
        }
    }

    /// The change of a text that may be absent; `None` where it was and stays absent.
    pub fn maybe(old: Option<&SealedField>, new: Option<&str>) -> Option<Self> {
        (old.is_some() || new.is_some()).then(|| Self {
            old: old.cloned(),
            new: new.map(|text| Text::Plain(text.to_owned())),
        })
    }
}

/// What a change event carries: `{"changes": {"<field>": {"old", "new"}}}`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Changed<C> {
    /// Field by field; absent fields stay as they are.
    pub changes: C,
}

/// What a site is for; it picks the limits that new channels begin with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Vertical {
    /// Food: cold and hot holding.
    Haccp,
    /// Drinking water: hot enough, cold enough.
    Legionella,
    /// Intake air and humidity of a server room.
    ServerRoom,
    /// Rooms for people and things.
    Climate,
    /// Meters.
    Energy,
}

impl Vertical {
    /// Every one.
    pub const ALL: [Self; 5] = [
        Self::Haccp,
        Self::Legionella,
        Self::ServerRoom,
        Self::Climate,
        Self::Energy,
    ];

    /// As written.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Haccp => "haccp",
            Self::Legionella => "legionella",
            Self::ServerRoom => "server-room",
            Self::Climate => "climate",
            Self::Energy => "energy",
        }
    }

    /// The one of that name.
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|v| v.as_str() == name)
    }
}

/// Which webhook an integration is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum IntegrationKind {
    /// A LoRaWAN network server.
    Lorawan,
    /// Shelly devices of a whole account.
    Shelly,
    /// An Efento gateway.
    Efento,
    /// A gateway that sends batches in our own format.
    Gateway,
}

impl IntegrationKind {
    /// Every one.
    pub const ALL: [Self; 4] = [Self::Lorawan, Self::Shelly, Self::Efento, Self::Gateway];

    /// As written.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Lorawan => "lorawan",
            Self::Shelly => "shelly",
            Self::Efento => "efento",
            Self::Gateway => "gateway",
        }
    }

    /// The one of that name.
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|k| k.as_str() == name)
    }
}

/// Whose a token is, and so what it opens.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum TokenKind {
    /// `ds_live_`: that device's ingest.
    Device,
    /// `ua_live_`: management, with its user's role.
    User,
    /// `whk_`: ingest of an integration's whole account.
    Webhook,
}

/// `AccountOpened`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct AccountOpened {
    /// Sealed with the account's key.
    pub name: Text,
}

/// `AccountRenamed`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct AccountChanges {
    /// The name.
    pub name: TextChange,
}

/// `UserRegistered`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct UserRegistered {
    /// Sealed with the person's key.
    pub email: Text,
    /// base64url of HMAC-SHA256 of the normalised address under the server's secret.
    pub email_index: String,
    /// Sealed with the person's key.
    pub name: Option<Text>,
    /// `owner`, `auditor`, or another `[a-z_]{1,32}`.
    pub role: String,
}

/// `UserChanged`.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct UserChanges {
    /// The address.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub email: Option<TextChange>,
    /// The address's index, beside it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub email_index: Option<Change<String>>,
    /// The name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<TextChange>,
    /// The role.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub role: Option<Change<String>>,
}

/// `SiteCreated`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SiteCreated {
    /// Sealed with the account's key.
    pub address: Option<Text>,
    /// Sealed with the account's key.
    pub name: Text,
    /// IANA name, such as `Europe/Berlin`.
    pub timezone: String,
    /// What it is for.
    pub vertical: Vertical,
}

/// `SiteChanged`.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct SiteChanges {
    /// The address.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub address: Option<TextChange>,
    /// The name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<TextChange>,
    /// When it is open.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub opening_hours: Option<Change<Vec<OpeningHours>>>,
    /// The time zone.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub timezone: Option<Change<String>>,
    /// What it is for. Limits of channels that exist stay as they are.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub vertical: Option<Change<Vertical>>,
}

/// `DeviceRegistered`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct DeviceRegistered {
    /// How often it means to report, in seconds.
    pub cadence_s: Option<u32>,
    /// 16 upper-case hexadecimal digits.
    pub dev_eui: Option<String>,
    /// What people and payloads call it, unique in the account without regard to case.
    pub local_id: String,
    /// Such as `shelly-h-t-gen3`; never changes.
    pub model: String,
    /// Sealed with the account's key.
    pub name: Text,
    /// Sealed with the account's key.
    pub notes: Option<Text>,
    /// Serial number or MAC, upper-case, without separators.
    pub serial: Option<String>,
    /// Where it begins.
    pub site: String,
}

/// `DeviceChanged`.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct DeviceChanges {
    /// How often it means to report.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cadence_s: Option<Change<Option<u32>>>,
    /// DevEUI.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub dev_eui: Option<Change<Option<String>>>,
    /// Local id.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub local_id: Option<Change<String>>,
    /// The name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<TextChange>,
    /// The notes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub notes: Option<TextChange>,
    /// Serial number or MAC.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub serial: Option<Change<Option<String>>>,
}

/// `DeviceMoved`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct DeviceMoved {
    /// What was measured from here on belongs to the new site.
    pub effective_at: Timestamp,
    /// Where it was.
    pub from_site: String,
    /// Where it is.
    pub to_site: String,
}

/// `ChannelRegistered`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ChannelRegistered {
    /// About the device itself: stored and shown, no limits by default.
    pub auxiliary: bool,
    /// Whose it is.
    pub device: String,
    /// Minutes outside the limits before it counts.
    pub grace_min: Option<u32>,
    /// The key of its values in readings, `<kind>` or `<kind>/<slug>`.
    pub key: String,
    /// One of [`crate::kinds`].
    pub kind: String,
    /// As the device or a person wrote it; sealed with the account's key.
    pub label: Option<Text>,
    /// Highest value that is right.
    pub ok_max: Option<f64>,
    /// Lowest value that is right.
    pub ok_min: Option<f64>,
    /// Its sensor's id.
    pub sensor: String,
    /// UCUM code.
    pub unit: String,
}

/// `ChannelChanged`.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct ChannelChanges {
    /// Minutes outside the limits before it counts.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub grace_min: Option<Change<Option<u32>>>,
    /// The label.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub label: Option<TextChange>,
    /// Highest value that is right.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ok_max: Option<Change<Option<f64>>>,
    /// Lowest value that is right.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ok_min: Option<Change<Option<f64>>>,
    /// The unit.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub unit: Option<Change<String>>,
}

/// `TokenIssued`; withheld from every read API.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TokenIssued {
    /// bcrypt of the secret.
    pub hash: String,
    /// Whose it is.
    pub kind: TokenKind,
    /// The id inside the token.
    pub token: String,
}

/// `TokenExpirySet`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TokenExpirySet {
    /// From here on it is refused.
    pub expires_at: Timestamp,
    /// The id inside the token.
    pub token: String,
}

/// `TokenRevoked`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TokenRevoked {
    /// The id inside the token.
    pub token: String,
}

/// `IntegrationCreated`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct IntegrationCreated {
    /// Which webhook.
    pub kind: IntegrationKind,
    /// Sealed with the account's key.
    pub name: Text,
}

/// A measurement that a decoder made of a parked uplink.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ParkedMeasurement {
    /// About the device itself.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub auxiliary: bool,
    /// One of [`crate::kinds`].
    pub kind: String,
    /// Tells two of one kind apart. It comes from the codec, so it is a name of a field, not of a person.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub label: Option<String>,
    /// UCUM code, where it is not the kind's own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unit: Option<String>,
    /// As the device meant it.
    pub value: f64,
}

/// `UplinkParked`: everything that is needed to make a reading of it later.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct UplinkParked {
    /// The network server's time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub at: Option<Timestamp>,
    /// What the decoder made of it, where it could.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub decoded: Option<Vec<ParkedMeasurement>>,
    /// 16 upper-case hexadecimal digits.
    pub dev_eui: String,
    /// Frame counter.
    pub f_cnt: u32,
    /// Application port.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub f_port: Option<u8>,
    /// The frame's bytes in base64, where the server passed them on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub frame: Option<String>,
    /// When it arrived here.
    pub received_at: Timestamp,
    /// Session key id, or device address where the server gives none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub session: Option<String>,
}

/// What stands for a file in a payload (FORMAT §2).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ArtefactFile {
    /// Such as `application/pdf`.
    pub media_type: String,
    /// base64url of 16 bytes, or empty where the hash is of the file alone.
    pub salt: String,
    /// SHA-256 of the salt's bytes and the file's, base64.
    pub sha256: Hash,
    /// Bytes of the file.
    pub size: u64,
}

/// `ArtefactRegistered`. At most one of `channel`, `device` and `site`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ArtefactRegistered {
    /// The file.
    pub artefact: ArtefactFile,
    /// The channel that it is about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub channel: Option<String>,
    /// Canonical JSON of whoever registered it; sealed with the account's key.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub details: Option<Text>,
    /// The device that it is about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub device: Option<String>,
    /// Sealed with the account's key.
    pub name: Text,
    /// The site that it is about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub site: Option<String>,
}

impl ArtefactRegistered {
    /// What it is about.
    pub fn about(&self) -> About {
        match (&self.channel, &self.device, &self.site) {
            (Some(id), ..) => About::Channel(id.clone()),
            (_, Some(id), _) => About::Device(id.clone()),
            (.., Some(id)) => About::Site(id.clone()),
            (None, None, None) => About::Account,
        }
    }
}

/// What an evidence pack was asked for (FORMAT §7). Exactly one of `channel`, `device` and `site`; with `channel` perhaps
/// `alarm`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PackQuery {
    /// One alarm of the channel.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub alarm: Option<String>,
    /// One channel.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub channel: Option<String>,
    /// A device with its channels.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub device: Option<String>,
    /// The first day of recording, UTC.
    pub from: Date,
    /// A site with its devices.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub site: Option<String>,
    /// The last day.
    pub to: Date,
}

/// The file that was handed out, where the pack was encrypted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct EncryptedPack {
    /// Its size.
    pub bytes: u64,
    /// SHA-256 of each recipient's public key as age writes it, base64.
    pub recipients: Vec<Hash>,
    /// SHA-256 of its bytes, base64.
    pub sha256: Hash,
}

/// `EvidencePackIssued`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct EvidencePackIssued {
    /// Who asked, as the manifest says it; sealed with the account's key.
    pub asker: Text,
    /// The pack's size before it was encrypted.
    pub bytes: u64,
    /// The file that was handed out, where it was encrypted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub encrypted: Option<EncryptedPack>,
    /// SHA-256 of its manifest, base64.
    pub manifest_sha256: Hash,
    /// SHA-256 of the pack before it was encrypted, base64.
    pub pack_sha256: Hash,
    /// What was asked for.
    pub query: PackQuery,
    /// The size of the checkpoint that it leads to.
    pub size: TreeSize,
    /// `api` or `command_line`.
    pub through: String,
}
