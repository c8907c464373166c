//! `contact/con_…`: a mailbox, chat or webhook that is told of alarms.
//!
//! Invariants: a mailbox is told nothing but its confirmation before it is confirmed; a chat nothing before it is
//! linked; who unsubscribed or bounced is told nothing until confirmed again; the kind never changes.
//! Source: REFERENCE §4. Not here: that an address is not there twice (`registry`), sending (`api`).

use super::{Aggregate, Stamp, text};
use crate::event::contact::{
    ContactAdded, ContactBounced, ContactChanged, ContactKind, ContactLinked, Hours, Preferences,
    WebhookSecretRotated,
};
use crate::event::{Change, Event, Nothing, Text};
use crate::ids::{IdKind, kind_of};
use crate::rejection::Rejection;
use crate::sealed::SealedField;
use serde::{Deserialize, Serialize};

/// Most sites, devices and channels in a scope.
pub const SCOPE_MAX: usize = 100;
/// Longest wait before a contact is told, minutes: a day. Whoever is told later is told by the daily digest.
pub const AFTER_MIN_MAX: u32 = 1_440;
/// Most bytes of a webhook's URL.
pub const URL_MAX: usize = 2_000;
/// What a webhook can be told (REFERENCE §4).
pub const WEBHOOK_KINDS: [&str; 8] = [
    "alarm_opened",
    "alarm_ack",
    "alarm_cleared",
    "device_offline",
    "device_online",
    "silence_opened",
    "silence_closed",
    "report_ready",
];

/// Whether a contact is told anything.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ContactState {
    /// Not confirmed, or not linked, yet.
    #[default]
    Pending,
    /// It is.
    Active,
    /// It does not want to be.
    Unsubscribed,
    /// Its address refuses messages for good.
    Bouncing,
    /// It was taken away.
    Removed,
}

impl ContactState {
    /// As written.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Active => "active",
            Self::Unsubscribed => "unsubscribed",
            Self::Bouncing => "bouncing",
            Self::Removed => "removed",
        }
    }
}

/// The state of a contact.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct Contact {
    /// How many events there were.
    pub sequence: u64,
    /// By which way; present once it exists.
    pub kind: Option<ContactKind>,
    /// What people call it, sealed.
    pub name: Option<SealedField>,
    /// Where, sealed.
    pub address: Option<SealedField>,
    /// Its keyed index.
    pub address_index: Option<String>,
    /// What deliveries are signed with, sealed.
    pub secret: Option<SealedField>,
    /// The person behind it.
    pub user: Option<String>,
    /// What it is told.
    pub preferences: Preferences,
    /// Whether it is told anything.
    pub state: ContactState,
    /// Whether it unsubscribed and did not come back, also once it was taken away.
    #[serde(default)]
    pub left: bool,
}

/// A contact to add.
#[derive(Debug, Clone, PartialEq)]
pub struct NewContact {
    /// By which way.
    pub kind: ContactKind,
    /// What people call it.
    pub name: String,
    /// Where, with its keyed index; none for Telegram.
    pub address: Option<(String, String)>,
    /// What a webhook's deliveries are signed with.
    pub secret: Option<String>,
    /// The person behind it.
    pub user: Option<String>,
    /// What it is told.
    pub preferences: Preferences,
}

/// What may be asked of a contact.
#[derive(Debug, Clone, PartialEq)]
pub enum ContactCommand {
    /// Adds it.
    Add(Box<NewContact>),
    /// Tells it other things, or otherwise.
    Change(Preferences),
    /// Its mailbox opened the confirmation's link.
    Confirm,
    /// A chat said its code.
    Link {
        /// The chat.
        chat: String,
        /// Its keyed index.
        index: String,
    },
    /// It does not want to be told any more.
    Unsubscribe,
    /// Its address refuses messages for good.
    Bounce {
        /// What the provider answered.
        code: String,
    },
    /// Its deliveries are signed with another secret from here on.
    RotateSecret {
        /// The new one.
        secret: String,
    },
    /// Takes it away.
    Remove,
}

impl Aggregate for Contact {
    const TYPE: &'static str = "contact";
    type Command = ContactCommand;

    fn apply(&mut self, event: &Event, stamp: Stamp<'_>) {
        self.sequence = stamp.sequence;
        match event {
            Event::ContactAdded(added) => {
                self.kind = Some(added.kind);
                self.name = stamp.field(&added.name, "/name");
                self.address = stamp.maybe(added.address.as_ref(), "/address");
                self.address_index.clone_from(&added.address_index);
                self.secret = stamp.maybe(added.secret.as_ref(), "/secret");
                self.user.clone_from(&added.user);
                self.preferences = added.preferences.clone();
                self.state = match added.kind {
                    ContactKind::Webhook => ContactState::Active,
                    ContactKind::Email | ContactKind::Telegram => ContactState::Pending,
                };
            }
            Event::ContactChanged(changed) => self.preferences = changed.preferences.new.clone(),
            Event::ContactConfirmed(_) => {
                self.state = ContactState::Active;
                self.left = false;
            }
            Event::ContactLinked(linked) => {
                self.address = stamp.field(&linked.address, "/address");
                self.address_index = Some(linked.address_index.clone());
                self.state = ContactState::Active;
                self.left = false;
            }
            Event::ContactUnsubscribed(_) => {
                self.state = ContactState::Unsubscribed;
                self.left = true;
            }
            Event::ContactBounced(_) => self.state = ContactState::Bouncing,
            Event::WebhookSecretRotated(rotated) => self.secret = stamp.field(&rotated.secret, "/secret"),
            Event::ContactRemoved(_) => self.state = ContactState::Removed,
            _ => {}
        }
    }

    fn decide(&self, command: &ContactCommand) -> Result<Vec<Event>, Rejection> {
        if let ContactCommand::Add(new) = command {
            if self.sequence > 0 {
                return Err(Rejection::conflict(
                    "already_exists",
                    "this contact exists already",
                ));
            }
            return Ok(vec![Event::ContactAdded(added(new)?)]);
        }
        let Some(kind) = self.kind.filter(|_| self.state != ContactState::Removed) else {
            return Err(Rejection::not_found("contact_not_found", "no such contact"));
        };
        Ok(match command {
            ContactCommand::Add(_) => vec![],
            ContactCommand::Change(preferences) => {
                let preferences = checked(preferences)?;
                let change = Change::between(&self.preferences, &preferences);
                change
                    .map(|preferences| Event::ContactChanged(ContactChanged { preferences }))
                    .into_iter()
                    .collect()
            }
            ContactCommand::Confirm if self.state == ContactState::Active => vec![],
            // A chat that unsubscribed is known; one that never said its code is not.
            ContactCommand::Confirm if self.address.is_none() => {
                return Err(Rejection::conflict(
                    "not_linked",
                    "this chat is not linked yet: send its code to the bot",
                ));
            }
            ContactCommand::Confirm => vec![Event::ContactConfirmed(Nothing {})],
            ContactCommand::Link { .. } if kind != ContactKind::Telegram => {
                return Err(Rejection::conflict(
                    "not_a_chat",
                    "only a Telegram contact is linked",
                ));
            }
            ContactCommand::Link { chat, index } => vec![Event::ContactLinked(ContactLinked {
                address: Text::Plain(chat.clone()),
                address_index: index.clone(),
            })],
            ContactCommand::Unsubscribe if self.state == ContactState::Unsubscribed => vec![],
            ContactCommand::Unsubscribe => vec![Event::ContactUnsubscribed(Nothing {})],
            ContactCommand::Bounce { .. } if self.state != ContactState::Active => vec![],
            ContactCommand::Bounce { code } => {
                vec![Event::ContactBounced(ContactBounced { code: code.clone() })]
            }
            ContactCommand::RotateSecret { .. } if kind != ContactKind::Webhook => {
                return Err(Rejection::conflict(
                    "not_a_webhook",
                    "only a webhook has a secret",
                ));
            }
            ContactCommand::RotateSecret { secret } => {
                vec![Event::WebhookSecretRotated(WebhookSecretRotated {
                    secret: Text::Plain(secret.clone()),
                })]
            }
            ContactCommand::Remove => vec![Event::ContactRemoved(Nothing {})],
        })
    }

    fn sequence(&self) -> u64 {
        self.sequence
    }
}

fn added(new: &NewContact) -> Result<ContactAdded, Rejection> {
    let address = match (new.kind, &new.address) {
        (ContactKind::Email, Some((address, _))) => Some(text::email(address)?),
        (ContactKind::Webhook, Some((url, _))) => Some(url_of(url)?),
        (ContactKind::Telegram, None) => None,
        (ContactKind::Telegram, Some(_)) => {
            return Err(Rejection::invalid(
                "invalid_address",
                "a Telegram contact has no address: it is linked by its code",
            ));
        }
        (_, None) => return Err(Rejection::invalid("invalid_address", "an address is needed")),
    };
    Ok(ContactAdded {
        address: address.map(Text::Plain),
        address_index: new.address.as_ref().map(|(_, index)| index.clone()),
        kind: new.kind,
        name: Text::Plain(text::name("name", &new.name)?),
        preferences: checked(&new.preferences)?,
        secret: new.secret.clone().map(Text::Plain),
        user: new.user.clone(),
    })
}

fn url_of(url: &str) -> Result<String, Rejection> {
    let url = url.trim();
    let rest = url
        .strip_prefix("https://")
        .or_else(|| url.strip_prefix("http://"));
    let host = rest.map(|rest| rest.split(['/', '?', '#']).next().unwrap_or_default());
    let right = host.is_some_and(|host| !host.is_empty() && !host.contains('@'))
        && url.len() <= URL_MAX
        && url.bytes().all(|b| b.is_ascii_graphic());
    if right {
        return Ok(url.to_owned());
    }
    Err(Rejection::invalid(
        "invalid_url",
        "a URL such as https://example.eu/hook, without user and password",
    ))
}

/// Preferences in their one spelling.
fn checked(preferences: &Preferences) -> Result<Preferences, Rejection> {
    let invalid = |words: &str| Err(Rejection::invalid("invalid_preferences", words.to_owned()));
    let mut checked = preferences.clone();
    checked.scope.sort();
    checked.scope.dedup();
    checked.kinds.sort();
    checked.kinds.dedup();
    let in_scope = |id: &String| matches!(kind_of(id), Some(IdKind::Site | IdKind::Device | IdKind::Channel));
    if checked.scope.len() > SCOPE_MAX || !checked.scope.iter().all(in_scope) {
        return invalid("scope holds up to 100 ids of sites, devices and channels");
    }
    if !checked
        .kinds
        .iter()
        .all(|kind| WEBHOOK_KINDS.contains(&kind.as_str()))
    {
        let kinds = WEBHOOK_KINDS.join(", ");
        return invalid(&format!("kinds holds some of {kinds}"));
    }
    if checked.after_min > AFTER_MIN_MAX {
        return invalid("after_min is at most 1440 minutes");
    }
    if checked
        .hours
        .as_ref()
        .is_some_and(|hours| !is_span(&hours.days, &hours.from, &hours.to))
    {
        return invalid("hours has days 1 to 7, rising, and from and to as HH:MM");
    }
    if checked.hours.is_some() && checked.site_hours.is_some() {
        return invalid("hours of its own, or the site's in site_hours, not both");
    }
    Ok(checked)
}

/// Whether days rise from 1 to 7 and both ends are times of a day.
pub fn is_span(days: &[u8], from: &str, to: &str) -> bool {
    !days.is_empty()
        && days.iter().all(|day| (1..=7).contains(day))
        && days.windows(2).all(|pair| pair[0] < pair[1])
        && minutes(from).is_some()
        && minutes(to).is_some()
}

/// Minutes of the day of `HH:MM`.
pub fn minutes(text: &str) -> Option<u16> {
    let (hours, minutes) = text.split_once(':')?;
    let two = |part: &str, below: u16| {
        let digits = part.len() == 2 && part.bytes().all(|b| b.is_ascii_digit());
        let number = part.parse::<u16>().ok().filter(|_| digits)?;
        (number < below).then_some(number)
    };
    Some(two(hours, 24)? * 60 + two(minutes, 60)?)
}

impl Hours {
    /// Whether somebody with these hours is on duty on a weekday (1 is Monday) at a minute of the day.
    pub fn on_duty(&self, weekday: u8, minute: u16) -> bool {
        within(&self.days, &self.from, &self.to, weekday, minute).is_none_or(|within| within != self.outside)
    }
}

/// Whether a weekday (1 is Monday) and a minute of the day lie in a span of these days; one that passes midnight is of
/// the day on which it begins. `None` where the ends are no times.
pub fn within(days: &[u8], from: &str, to: &str, weekday: u8, minute: u16) -> Option<bool> {
    let (from, to) = (minutes(from)?, minutes(to)?);
    let yesterday = if weekday == 1 { 7 } else { weekday - 1 };
    Some(if from < to {
        days.contains(&weekday) && (from..to).contains(&minute)
    } else {
        days.contains(&weekday) && minute >= from || days.contains(&yesterday) && minute < to
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::contact::SiteHours;

    fn hours(from: &str, to: &str) -> Hours {
        Hours {
            days: vec![1, 2, 3, 4, 5],
            from: from.into(),
            to: to.into(),
            outside: false,
        }
    }

    #[test]
    fn hours_that_pass_midnight_belong_to_the_day_on_which_they_begin() {
        let day = hours("08:00", "18:00");
        assert!(day.on_duty(1, 8 * 60) && !day.on_duty(1, 18 * 60) && !day.on_duty(6, 600));
        let night = hours("22:00", "06:00");
        assert!(night.on_duty(5, 23 * 60) && night.on_duty(6, 5 * 60) && !night.on_duty(7, 5 * 60));
        let called = Hours { outside: true, ..day };
        assert!(called.on_duty(6, 600) && !called.on_duty(1, 600));
    }

    #[test]
    fn preferences_that_mean_nothing_are_refused() {
        for preferences in [
            Preferences {
                scope: vec!["acc_x".into()],
                ..Preferences::default()
            },
            Preferences {
                kinds: vec!["alarm".into()],
                ..Preferences::default()
            },
            Preferences {
                after_min: 1441,
                ..Preferences::default()
            },
            Preferences {
                hours: Some(hours("8:00", "18:00")),
                ..Preferences::default()
            },
            Preferences {
                hours: Some(hours("08:00", "18:00")),
                site_hours: Some(SiteHours::Closed),
                ..Preferences::default()
            },
            Preferences {
                hours: Some(Hours {
                    days: vec![],
                    ..hours("08:00", "18:00")
                }),
                ..Preferences::default()
            },
        ] {
            assert!(checked(&preferences).is_err(), "{preferences:?}");
        }
        assert_eq!(minutes("24:00"), None);
        assert_eq!(minutes("+1:00"), None);
    }

    #[test]
    fn what_is_no_url_of_a_webhook_is_refused() {
        for url in [
            "ftp://example.eu",
            "https://",
            "https://user@example.eu/x",
            "https://a b",
            "example.eu",
        ] {
            assert!(url_of(url).is_err(), "{url}");
        }
        assert!(url_of("https://example.eu/hook?x=1").is_ok());
    }
}
