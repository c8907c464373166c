//! How many messages at once: what of that which is due goes out in one, what waits, what is summed up.
//!
//! Pure. Invariants: what is due is said or waits, and nothing is left out; a contact gets no more than its path
//! allows; channels do not hold up one another; a test and a confirmation go alone and first.
//! Source: REFERENCE §4 (10 mails an hour, then a digest; a chat one message in 10 s, what is older than 2 min is
//! summed up; gaps of a channel and digests of a site).
//! Not here: what is due (`outbox`), who is on duty, words (`api`).

use domain::event::contact::{ChannelNotifications, ContactKind, SiteNotifications};
use domain::{Position, Timestamp};
use std::collections::BTreeMap;

/// Messages an hour to one mailbox (REFERENCE §8).
pub const MAILS_PER_HOUR: usize = 10;
/// Microseconds between two messages to one chat (REFERENCE §8).
pub const CHAT_GAP_US: i64 = 10 * 1_000_000;
/// What waited longer for a chat is summed up (REFERENCE §8), microseconds.
pub const CHAT_WAIT_US: i64 = 120 * 1_000_000;
/// So many messages of one site at once are one.
pub const GROUP_MIN: usize = 3;
/// Most that one message says.
pub const LINES_MAX: usize = 50;
const HOUR_US: i64 = 3_600 * 1_000_000;
const MINUTE_US: i64 = 60 * 1_000_000;

/// A notification that is due.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Due {
    /// `ntf_…`
    pub id: String,
    /// `acc_…`
    pub account: String,
    /// `con_…`
    pub contact: String,
    /// By which way.
    pub via: ContactKind,
    /// What it says.
    pub what: String,
    /// The entry that caused it.
    pub event: Position,
    /// The alarm and the entry that opened it.
    pub alarm: Option<(String, Position)>,
    /// The channel.
    pub channel: Option<String>,
    /// The device.
    pub device: Option<String>,
    /// The site.
    pub site: Option<String>,
    /// Whether its whole site is silent, and this follows from it.
    pub site_silent: bool,
    /// When the entry was recorded.
    pub caused_at: Timestamp,
    /// When it is due.
    pub due_at: Timestamp,
    /// Attempts so far.
    pub attempts: u32,
}

/// What a contact was sent in the last day, newest first.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SentBefore {
    /// When.
    pub at: Timestamp,
    /// A message of its own; else it went out in another's.
    pub alone: bool,
    /// Of which channel.
    pub channel: Option<String>,
    /// Of which site.
    pub site: Option<String>,
}

/// What was set for channels and sites.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Routes {
    /// By channel.
    pub channels: BTreeMap<String, ChannelNotifications>,
    /// By site.
    pub sites: BTreeMap<String, SiteNotifications>,
}

/// What a message is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// One thing.
    Single,
    /// Several things.
    Digest,
    /// Several things, counted and not listed.
    Summary,
    /// A whole site is silent.
    SiteSilent,
    /// Several things that waited too long.
    Overflow,
}

/// One message, and what it says by index; the first gives it its id.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Message {
    /// What it is.
    pub form: Form,
    /// What it says.
    pub says: Vec<usize>,
}

/// The next message to a contact, of what is due for it in order of `due_at`; `None` where all of it waits.
pub fn next(
    via: ContactKind,
    now: Timestamp,
    due: &[Due],
    sent: &[SentBefore],
    routes: &Routes,
) -> Option<Message> {
    let single = |index| Message {
        form: Form::Single,
        says: vec![index],
    };
    if via == ContactKind::Webhook {
        return (!due.is_empty()).then(|| single(0));
    }
    if let Some(alone) = due.iter().position(|one| is_alone(&one.what)) {
        return Some(single(alone));
    }
    let since = |at: Timestamp| now.since(at);
    match via {
        ContactKind::Telegram if sent.first().is_some_and(|last| since(last.at) < CHAT_GAP_US) => {
            return None;
        }
        ContactKind::Email if within_hour(now, sent) >= MAILS_PER_HOUR => return None,
        _ => {}
    }
    let ready: Vec<usize> = (0..due.len())
        .filter(|&index| is_ready(now, &due[index], sent, routes))
        .collect();
    let first = *ready.first()?;
    let among = |of: &dyn Fn(&Due) -> bool| -> Vec<usize> {
        ready
            .iter()
            .copied()
            .filter(|&index| of(&due[index]))
            .take(LINES_MAX)
            .collect()
    };
    // A digest is told whole, and so are the others of a silent site.
    if via == ContactKind::Telegram && ready.len() > 1 && since(due[first].due_at) > CHAT_WAIT_US {
        let says = among(&|one| since(one.due_at) > CHAT_WAIT_US);
        if says.len() > 1 {
            return Some(Message {
                form: Form::Overflow,
                says,
            });
        }
    }
    let capped = |due: &Due| {
        let before = |one: &&SentBefore| one.alone && due.due_at.since(one.at) < HOUR_US;
        sent.iter().filter(before).count() >= MAILS_PER_HOUR
    };
    let too_many = ready.len() > MAILS_PER_HOUR.saturating_sub(within_hour(now, sent));
    if via == ContactKind::Email && ready.len() > 1 && (too_many || capped(&due[first])) {
        return Some(Message {
            form: Form::Digest,
            says: among(&|_| true),
        });
    }
    let lead = &due[first];
    if lead.site_silent {
        let says = among(&|one| one.site_silent && one.site == lead.site);
        if says.len() > 1 {
            return Some(Message {
                form: Form::SiteSilent,
                says,
            });
        }
    }
    let same_site = among(&|one| one.site.is_some() && one.site == lead.site);
    let gathered = lead.site.as_ref().and_then(|site| routes.sites.get(site));
    if let Some(site) = gathered.filter(|site| site.enabled && same_site.len() > 1) {
        let form = if site.summary_only {
            Form::Summary
        } else {
            Form::Digest
        };
        return Some(Message {
            form,
            says: same_site,
        });
    }
    if same_site.len() >= GROUP_MIN {
        return Some(Message {
            form: Form::Digest,
            says: same_site,
        });
    }
    let same_channel = among(&|one| one.channel.is_some() && one.channel == lead.channel);
    if same_channel.len() > 1 {
        return Some(Message {
            form: Form::Digest,
            says: same_channel,
        });
    }
    Some(single(first))
}

/// What is about the contact itself, or a whole day.
fn is_alone(what: &str) -> bool {
    matches!(what, "confirm" | "test" | "challenge" | "daily" | "path_failed")
}

fn within_hour(now: Timestamp, sent: &[SentBefore]) -> usize {
    sent.iter()
        .filter(|one| one.alone && now.since(one.at) < HOUR_US)
        .count()
}

/// Whether the gaps that were set for its channel and site are over.
fn is_ready(now: Timestamp, due: &Due, sent: &[SentBefore], routes: &Routes) -> bool {
    let over = |last: Option<&SentBefore>, minutes: u32| {
        last.is_none_or(|last| now.since(last.at) >= i64::from(minutes) * MINUTE_US)
    };
    let channel = due.channel.as_ref().is_none_or(|channel| {
        let minutes = routes
            .channels
            .get(channel)
            .map_or(0, |route| route.min_interval_min);
        over(
            sent.iter().find(|one| one.channel.as_ref() == Some(channel)),
            minutes,
        )
    });
    let site = due.site.as_ref().is_none_or(|site| {
        let route = routes.sites.get(site).filter(|route| route.enabled);
        let minutes = route.map_or(0, |route| route.min_interval_min);
        over(sent.iter().find(|one| one.site.as_ref() == Some(site)), minutes)
    });
    channel && site
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_micros(1_700_000_000_000_000 + seconds * 1_000_000).expect("a time")
    }

    fn due(n: u64, seconds: i64, channel: &str) -> Due {
        Due {
            id: format!("ntf_{n}"),
            account: "acc".into(),
            contact: "con".into(),
            via: ContactKind::Email,
            what: "alarm_opened".into(),
            event: Position(n),
            alarm: None,
            channel: Some(channel.into()),
            device: None,
            site: None,
            site_silent: false,
            caused_at: at(seconds),
            due_at: at(seconds),
            attempts: 0,
        }
    }

    fn sent(seconds: i64, channel: &str) -> SentBefore {
        SentBefore {
            at: at(seconds),
            alone: true,
            channel: Some(channel.into()),
            site: None,
        }
    }

    fn says(message: Option<Message>) -> Option<(Form, usize)> {
        message.map(|message| (message.form, message.says.len()))
    }

    #[test]
    fn ten_mails_an_hour_and_then_one_digest_of_all_that_waited() {
        let routes = Routes::default();
        let many: Vec<Due> = (0..5).map(|n| due(n, 0, &format!("c{n}"))).collect();
        let ten: Vec<SentBefore> = (0..10).map(|n| sent(-60 * n, "x")).collect();
        let plan = |now| says(next(ContactKind::Email, at(now), &many, &ten, &routes));
        assert_eq!(plan(0), None);
        // The oldest of the ten is an hour old.
        assert_eq!(plan(3_600 - 540), Some((Form::Digest, 5)));
        assert_eq!(
            says(next(ContactKind::Email, at(0), &many, &[], &routes)),
            Some((Form::Single, 1))
        );
    }

    #[test]
    fn a_chat_gets_one_message_in_ten_seconds_and_a_summary_of_what_waited_too_long() {
        let routes = Routes::default();
        let many: Vec<Due> = (0..5).map(|n| due(n, n as i64, &format!("c{n}"))).collect();
        let plan =
            |now, sent: &[SentBefore]| says(next(ContactKind::Telegram, at(now), &many, sent, &routes));
        assert_eq!(plan(10, &[sent(1, "x")]), None);
        assert_eq!(plan(11, &[sent(1, "x")]), Some((Form::Single, 1)));
        assert_eq!(plan(123, &[sent(1, "x")]), Some((Form::Overflow, 3)));
    }

    #[test]
    fn a_channels_gap_holds_up_no_other_channel_and_ends_in_one_digest() {
        let mut routes = Routes::default();
        let gap = ChannelNotifications {
            min_interval_min: 5,
            telegram: vec![],
        };
        routes.channels.insert("a".into(), gap);
        let many = [due(0, 0, "a"), due(1, 1, "a"), due(2, 2, "b")];
        let plan = |now| next(ContactKind::Telegram, at(now), &many, &[sent(-20, "a")], &routes);
        assert_eq!(plan(10).map(|message| message.says), Some(vec![2]));
        assert_eq!(says(plan(280)).map(|(_, count)| count), Some(3));
    }

    #[test]
    fn a_silent_site_is_one_message() {
        let silent = |n| Due {
            site: Some("s".into()),
            site_silent: true,
            ..due(n, 0, &format!("c{n}"))
        };
        let many = [silent(0), silent(1)];
        let plan = next(ContactKind::Email, at(0), &many, &[], &Routes::default());
        assert_eq!(says(plan), Some((Form::SiteSilent, 2)));
    }

    #[test]
    fn a_webhook_gets_each_and_a_test_goes_first() {
        let routes = Routes::default();
        let mut many: Vec<Due> = (0..5).map(|n| due(n, 0, "a")).collect();
        assert_eq!(
            says(next(ContactKind::Webhook, at(0), &many, &[], &routes)),
            Some((Form::Single, 1))
        );
        many[3].what = "test".into();
        let plan = next(ContactKind::Email, at(0), &many, &[], &routes);
        assert_eq!(plan.map(|message| message.says), Some(vec![3]));
    }
}
