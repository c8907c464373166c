//! Contacts, and what was sent to them, as pages show them.
//!
//! Invariant: an address is opened for its own account's people only, a webhook's without its path.
//! Not here: who may look (`routes`).

use std::collections::BTreeMap;

use domain::aggregate::contact::ContactState;
use domain::event::contact::ContactKind;
use domain::registry::{Contact, User};
use projections::QueryError;
use projections::query::{Outbound, OutboundFilter, Waiting};

use super::super::contacts::form::Typed;
use super::super::contacts::view::{Choices, ContactRow, ContactsPage, Former};
use super::super::outbound::view::{Attempt, Filter, OutboundPage, Outcome, WaitingRow, WayRow, what_words};
use super::super::view::Link;
use super::super::words::{self, Zone};
use super::{Asker, devices};
use crate::routes::texts::without_path;

/// Attempts of a page.
const PAGE: usize = 50;
/// Waiting messages that are listed.
const WAITING_MAX: usize = 50;

/// What the service is set to do.
#[derive(Debug, Clone, Copy)]
pub struct Telling {
    /// A mail server is set up.
    pub has_mail: bool,
    /// A bot is set up.
    pub has_bot: bool,
    /// Days between two challenges; 0 is never.
    pub challenge_days: u32,
}

/// What forms left to be shown.
#[derive(Debug, Default)]
pub struct Left {
    /// The contact whose secret is shown this once.
    pub fresh: Option<(String, String)>,
    /// What was typed for a new one.
    pub new: Option<Typed>,
    /// What was typed to change one.
    pub changing: Option<(String, Typed)>,
}

/// The page of contacts.
///
/// # Errors
/// `Unavailable`.
pub fn contacts(
    asker: &Asker<'_>,
    telling: Telling,
    left: Left,
    idempotency_key: String,
) -> Result<ContactsPage, QueryError> {
    let (found, former): (Vec<Contact>, Vec<Contact>) = {
        let registry = asker.known.registry();
        (
            registry.contacts(asker.account, None).cloned().collect(),
            registry.former_contacts(asker.account).cloned().collect(),
        )
    };
    let names = names(asker);
    let last = asker.rows.last_outbound(asker.account)?;
    let mut last: BTreeMap<String, Attempt> = last
        .into_iter()
        .map(|one| (one.contact.clone(), attempt(one, &names)))
        .collect();
    let contacts: Vec<ContactRow> = found
        .iter()
        .filter_map(|it| row(asker, it, last.remove(&*it.id)))
        .collect();
    let fresh = left.fresh.map(|(id, secret)| {
        let name = names.get(&id).cloned();
        (name.unwrap_or(id), secret)
    });
    let mut former: Vec<Former> = former
        .iter()
        .filter_map(|it| {
            Some(Former {
                name: names.get(&*it.id).cloned()?,
                kind: it.state.kind?,
                at: it.changed.at,
            })
        })
        .collect();
    former.reverse();
    Ok(ContactsPage {
        contacts,
        former,
        fresh,
        choices: Choices {
            sites: devices::site_cards(asker),
            people: people(asker),
        },
        new: left.new.unwrap_or_else(Typed::empty),
        changing: left.changing,
        challenge_days: telling.challenge_days,
        has_mail: telling.has_mail,
        has_bot: telling.has_bot,
        idempotency_key,
    })
}

fn row(asker: &Asker<'_>, it: &Contact, last: Option<Attempt>) -> Option<ContactRow> {
    let (state, kind) = (&it.state, it.state.kind?);
    let text = |field| asker.known.text("contact", &it.id, field);
    let address = text(state.address.as_ref());
    let waits = kind == ContactKind::Telegram && state.state == ContactState::Pending;
    let person = state.user.as_ref().map(|id| super::actor(asker, id));
    Some(ContactRow {
        id: it.id.to_string(),
        kind,
        name: text(state.name.as_ref()).unwrap_or_else(|| it.id.to_string()),
        address: match kind {
            ContactKind::Webhook => address.map(|url| without_path(&url)),
            _ => address,
        },
        state: state.state,
        person,
        scope: state
            .preferences
            .scope
            .iter()
            .map(|id| (id.clone(), place(asker, id)))
            .collect(),
        preferences: state.preferences.clone(),
        code: waits.then(|| asker.known.link_code(&it.id)),
        last,
        etag: state.sequence.to_string(),
    })
}

/// A site, device or channel by name.
fn place(asker: &Asker<'_>, id: &str) -> String {
    let (site, device, channel) = {
        let registry = asker.known.registry();
        let channel = registry.channel(asker.account, id).cloned();
        let device = channel.as_ref().map_or(id, |channel| &channel.state.device);
        (
            registry.site(asker.account, id).cloned(),
            registry.device(asker.account, device).cloned(),
            channel,
        )
    };
    let site = site.and_then(|site| asker.known.text("site", id, site.state.name.as_ref()));
    let device = device.map(|device| {
        let name = asker.known.text("device", &device.id, device.state.name.as_ref());
        name.unwrap_or_else(|| device.state.local_id.clone())
    });
    match (site, device, channel) {
        (Some(site), _, _) => site,
        (None, Some(device), Some(channel)) => format!("{device}, {}", words::kind(&channel.state.kind)),
        (None, Some(device), None) => device,
        (None, None, _) => id.to_owned(),
    }
}

fn people(asker: &Asker<'_>) -> Vec<(String, String)> {
    let users: Vec<User> = {
        let registry = asker.known.registry();
        registry.users(asker.account, None).cloned().collect()
    };
    users
        .iter()
        .map(|user| (user.id.to_string(), super::actor(asker, &user.id)))
        .collect()
}

/// Names of every contact of the account, by id; those that were taken away too.
fn names(asker: &Asker<'_>) -> BTreeMap<String, String> {
    let contacts: Vec<Contact> = {
        let registry = asker.known.registry();
        let former = registry.former_contacts(asker.account);
        registry
            .contacts(asker.account, None)
            .chain(former)
            .cloned()
            .collect()
    };
    contacts
        .iter()
        .map(|it| {
            let name = asker.known.text("contact", &it.id, it.state.name.as_ref());
            (it.id.to_string(), name.unwrap_or_else(|| it.id.to_string()))
        })
        .collect()
}

/// A contact as a link to its card.
fn link(names: &BTreeMap<String, String>, id: &str) -> Link {
    Link {
        href: format!("/app/contacts#{id}"),
        text: names.get(id).cloned().unwrap_or_else(|| id.to_owned()),
    }
}

fn kind_of(via: &str) -> ContactKind {
    ContactKind::parse(via).unwrap_or(ContactKind::Webhook)
}

fn alarm_page(alarm: Option<String>) -> Option<String> {
    alarm.map(|id| format!("/app/alarms/{id}"))
}

fn attempt(one: Outbound, names: &BTreeMap<String, String>) -> Attempt {
    Attempt {
        position: one.position.get(),
        at: one.recorded_at,
        contact: link(names, &one.contact),
        kind: kind_of(&one.via),
        what: what_words(one.what.as_deref().unwrap_or("message")).to_owned(),
        alarm: alarm_page(one.alarm),
        outcome: Outcome::of(&one.event_type, one.next_at),
        notification: one.notification,
        attempt: one.attempt,
        code: one.code,
        provider_id: one.provider_id,
        latency_ms: one.latency_ms,
        took_ms: one.took_ms,
        repeated: one.repeated,
        next_at: one.next_at,
    }
}

/// The outbound log, before a position.
///
/// # Errors
/// `Unavailable`.
pub fn outbound(
    asker: &Asker<'_>,
    telling: Telling,
    mut filter: Filter,
    before: Option<u64>,
) -> Result<OutboundPage, QueryError> {
    let names = names(asker);
    let zone = {
        let registry = asker.known.registry();
        let site = registry.sites(asker.account, None).next();
        site.map_or_else(Zone::utc, |site| Zone::named(&site.state.timezone))
    };
    let asked = asked(&mut filter, &zone);
    let mut tried = asker
        .rows
        .outbound(asker.account, &asked, before.map(domain::Position), PAGE + 1)?;
    let more = tried.len() > PAGE;
    tried.truncate(PAGE);
    let older = tried.last().filter(|_| more).map(|last| {
        let mut query = form_urlencoded(&filter.query());
        query.push_str(&format!("before={}", last.position));
        format!("/app/outbound?{query}")
    });
    let mut waiting = asker.rows.waiting(asker.account, asker.now, WAITING_MAX + 1)?;
    let more_waits = waiting.len() > WAITING_MAX;
    waiting.truncate(WAITING_MAX);
    Ok(OutboundPage {
        ways: ways(asker, telling, &names)?,
        waiting: waiting
            .into_iter()
            .map(|one| waits(asker, telling, one, &names))
            .collect(),
        more_waits,
        attempts: tried.into_iter().map(|one| attempt(one, &names)).collect(),
        older,
        filter,
        contacts: names.into_iter().collect(),
        zone,
    })
}

/// `name=value&` for each.
fn form_urlencoded(pairs: &[(&str, &str)]) -> String {
    let encoded = |text: &str| {
        percent_encoding::utf8_percent_encode(text, percent_encoding::NON_ALPHANUMERIC).to_string()
    };
    pairs
        .iter()
        .map(|(name, value)| format!("{name}={}&", encoded(value)))
        .collect()
}

/// What is asked for; a time that is none is said to be none and not asked for.
fn asked(filter: &mut Filter, zone: &Zone) -> OutboundFilter {
    let given = |text: &str| Some(text.to_owned()).filter(|text| !text.is_empty());
    let mut wrong = false;
    let mut time = |text: &str| {
        let at = words::typed(text, zone);
        wrong |= at.is_none() && !text.is_empty();
        at
    };
    let (since, until) = (time(&filter.since), time(&filter.until));
    filter.error = wrong.then(|| "A time is such as 2026-05-17 08:00.".to_owned());
    OutboundFilter {
        contact: given(&filter.contact),
        alarm: None,
        via: None,
        event_type: given(&filter.outcome),
        what: given(&filter.what),
        since,
        until,
    }
}

/// E-mail and Telegram as one way each where a contact goes it, and every webhook as one of its own.
fn ways(
    asker: &Asker<'_>,
    telling: Telling,
    names: &BTreeMap<String, String>,
) -> Result<Vec<WayRow>, QueryError> {
    let known = asker.rows.ways(asker.account)?;
    let contacts: Vec<(String, ContactKind)> = {
        let registry = asker.known.registry();
        let contacts = registry.contacts(asker.account, None);
        contacts
            .filter_map(|it| Some((it.id.to_string(), it.state.kind?)))
            .collect()
    };
    let way = |name: &str, kind, contact: Option<Link>| {
        let does = known.iter().find(|way| way.name == name);
        WayRow {
            kind,
            contact,
            is_set_up: match kind {
                ContactKind::Email => telling.has_mail,
                ContactKind::Telegram => telling.has_bot,
                ContactKind::Webhook => true,
            },
            taken_at: does.and_then(|way| way.taken_at),
            failing_since: does.and_then(|way| way.failing_since),
        }
    };
    let mut ways = Vec::new();
    for kind in [ContactKind::Email, ContactKind::Telegram] {
        let is_known = known.iter().any(|way| way.name == kind.as_str());
        if is_known || contacts.iter().any(|(_, of)| *of == kind) {
            ways.push(way(kind.as_str(), kind, None));
        }
    }
    let webhooks = contacts.iter().filter(|(_, kind)| *kind == ContactKind::Webhook);
    ways.extend(webhooks.map(|(id, kind)| way(id, *kind, Some(link(names, id)))));
    Ok(ways)
}

/// What waits, and why.
fn waits(asker: &Asker<'_>, telling: Telling, one: Waiting, names: &BTreeMap<String, String>) -> WaitingRow {
    let kind = kind_of(&one.via);
    let state = {
        let registry = asker.known.registry();
        registry
            .contact(asker.account, &one.contact)
            .map(|it| it.state.state)
    };
    let missing = match kind {
        ContactKind::Email if !telling.has_mail => Some("This service has no mail server."),
        ContactKind::Telegram if !telling.has_bot => Some("This service has no bot."),
        _ => None,
    };
    let why = match (missing, &one.code) {
        (Some(missing), _) => missing.to_owned(),
        _ if state.is_none_or(|state| state == ContactState::Removed) => {
            "Its contact was removed: it is dropped when its turn comes.".to_owned()
        }
        (None, Some(code)) if one.attempts > 0 => {
            let times = words::plural(u64::from(one.attempts), "attempt", "attempts");
            format!("{times} failed, the last with {code}. It is tried again then.")
        }
        _ if one.due_at > asker.now && one.what == "alarm_silenced" => {
            "The channel is silenced: it is said when the silence is over.".to_owned()
        }
        _ if one.due_at > asker.now && one.alarm.is_some() => {
            "Its turn comes then, if nobody has acknowledged the alarm.".to_owned()
        }
        _ if one.due_at > asker.now => "It is said then, if it is still so.".to_owned(),
        _ => match kind {
            ContactKind::Email => {
                "It goes out now, or with the next digest: a mailbox gets ten mails an hour, and what a site or channel gathers goes together."
            }
            ContactKind::Telegram => {
                "It goes out now, or in a moment: a chat gets one message in ten seconds, and what a site or channel gathers goes together."
            }
            ContactKind::Webhook => "It goes out now.",
        }
        .to_owned(),
    };
    WaitingRow {
        contact: link(names, &one.contact),
        kind,
        what: what_words(&one.what).to_owned(),
        alarm: alarm_page(one.alarm),
        due_at: one.due_at,
        why,
    }
}
