//! The payloads of contacts: who is told of alarms, where, of what and when.
//!
//! Invariants: an address, a chat and a webhook's secret are sealed with the contact's own key, so that destroying it
//! erases them; an address is found by a keyed index only; preferences stand whole in each change, old beside new.
//! Source: REFERENCE §4, docs/events.md. Not here: what was sent (`notification`), what is allowed (`aggregate`).

use super::payload::Change;
use super::text::Text;
use crate::rule::Severity;
use serde::{Deserialize, Serialize};
use std::ops::Not;

/// By which way a contact is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ContactKind {
    /// A mailbox.
    Email,
    /// A chat with the bot.
    Telegram,
    /// A signed POST.
    Webhook,
}

impl ContactKind {
    /// Every one.
    pub const ALL: [Self; 3] = [Self::Email, Self::Telegram, Self::Webhook];

    /// As written.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Email => "email",
            Self::Telegram => "telegram",
            Self::Webhook => "webhook",
        }
    }

    /// The one of that name.
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.as_str() == name)
    }
}

/// When somebody is on duty, in their site's time zone.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Hours {
    /// Days of the week, 1 is Monday; rising.
    pub days: Vec<u8>,
    /// From, `HH:MM`.
    pub from: String,
    /// Until, `HH:MM`; at or before `from`, it is of the next day.
    pub to: String,
    /// On duty outside of these hours instead, as somebody who is called out of opening hours.
    #[serde(default, skip_serializing_if = "Not::not")]
    pub outside: bool,
}

/// When a site is open, in its time zone.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OpeningHours {
    /// Days of the week, 1 is Monday; rising.
    pub days: Vec<u8>,
    /// From, `HH:MM`.
    pub from: String,
    /// Until, `HH:MM`; at or before `from`, it is of the next day.
    pub to: String,
}

/// When somebody is on duty, by the opening hours of the site that it is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum SiteHours {
    /// While the site is open.
    Open,
    /// While it is closed.
    Closed,
}

/// What a contact is told, and when.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Preferences {
    /// Minutes after which it is told of an alarm that nobody acknowledged; 0 is at once. This is the on-call order.
    pub after_min: u32,
    /// Whether it gets a test of the alarm path now and then, and is expected to acknowledge it.
    #[serde(skip_serializing_if = "Not::not")]
    pub challenge: bool,
    /// Whether it gets one message a day with what happened and the day's head.
    #[serde(skip_serializing_if = "Not::not")]
    pub daily_digest: bool,
    /// When it is on duty; always, where nothing is said.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hours: Option<Hours>,
    /// What a webhook gets, by the reference's names; everything where there is none.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub kinds: Vec<String>,
    /// The mildest that it is told of.
    pub min_severity: MildestSeverity,
    /// Whether a webhook is signed with the reference product's headers, too.
    #[serde(skip_serializing_if = "Not::not")]
    pub reference_headers: bool,
    /// When it is on duty by the site's opening hours, instead of hours of its own. A site that says none is both.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub site_hours: Option<SiteHours>,
    /// Sites, devices and channels, sorted; the whole account where there is none.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub scope: Vec<String>,
}

/// A severity that is `warn` where nothing is said: whoever asks to be told is told of everything.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct MildestSeverity(pub Severity);

impl Default for MildestSeverity {
    fn default() -> Self {
        Self(Severity::Warn)
    }
}

/// `ContactAdded`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ContactAdded {
    /// A mailbox or a URL; a Telegram chat is known once it is linked. Sealed with the contact's key.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub address: Option<Text>,
    /// base64url of HMAC-SHA256 of it under the server's secret.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub address_index: Option<String>,
    /// By which way.
    pub kind: ContactKind,
    /// What people call it. Sealed with the contact's key.
    pub name: Text,
    /// What it is told.
    pub preferences: Preferences,
    /// What a webhook's deliveries are signed with. Sealed with the contact's key, and never shown again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub secret: Option<Text>,
    /// The person behind it, who acknowledges from its messages.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user: Option<String>,
}

/// `ContactChanged`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ContactChanged {
    /// What it was told, and is told from here on.
    pub preferences: Change<Preferences>,
}

/// `ContactLinked`: a chat said a contact's code.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ContactLinked {
    /// The chat. Sealed with the contact's key.
    pub address: Text,
    /// base64url of HMAC-SHA256 of it under the server's secret.
    pub address_index: String,
}

/// `ContactBounced`: its address refuses messages for good; it is told nothing until it is confirmed again.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ContactBounced {
    /// What the provider answered, as a code.
    pub code: String,
}

/// `WebhookSecretRotated`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct WebhookSecretRotated {
    /// What deliveries are signed with from here on. Sealed with the contact's key.
    pub secret: Text,
}

/// `ChannelNotificationsSet`: who is told of a channel's alarms, and how often.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ChannelNotificationsSet {
    /// From what to what.
    pub notifications: Change<ChannelNotifications>,
}

/// How a channel's alarms are told.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct ChannelNotifications {
    /// Fewest minutes between two messages of this channel to one contact; what comes between is one digest.
    pub min_interval_min: u32,
    /// The Telegram contacts that are told, and no others; all in scope where there is none.
    pub telegram: Vec<String>,
}

/// `SiteNotificationsSet`: whether a site's messages are gathered.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SiteNotificationsSet {
    /// From what to what.
    pub notifications: Change<SiteNotifications>,
}

/// How a site's alarms are told.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct SiteNotifications {
    /// Whether several channels go into one summary.
    pub enabled: bool,
    /// Fewest minutes between two summaries.
    pub min_interval_min: u32,
    /// Whether a summary counts and does not list.
    pub summary_only: bool,
}
