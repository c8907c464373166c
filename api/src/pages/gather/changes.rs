//! The configuration timeline in words, and the limits of a channel over time.
//!
//! Invariants: every event type has a title, an unknown one its own name; a value that was erased says so; limits
//! over time come from the same events that the timeline shows.
//! Not here: what may be changed (`domain::aggregate`).

use domain::rule::Derivation;
use domain::{Position, Timestamp};
use projections::QueryError;
use projections::query::{TimelineFilter, TimelineItem};
use serde_json::{Map, Value};
use std::collections::BTreeSet;

use super::super::values::calibration::correction_words;
use super::super::view::{Change, LimitSpan, Limits, Link};
use super::super::words;
use super::{Asker, known};

/// Changes of one channel that are looked at for its limits.
const LIMIT_CHANGES_MAX: usize = 1_000;
/// The code of a reason that nobody gave.
const NOT_GIVEN: &str = domain::event::metadata::REASON_NOT_GIVEN;

/// Changes about a subject, or in the whole account; newest first.
///
/// # Errors
/// `Unavailable`.
pub fn timeline(asker: &Asker<'_>, subject: Option<&str>, limit: usize) -> Result<Vec<Change>, QueryError> {
    let filter = TimelineFilter {
        subject,
        aggregate_type: None,
        before: None,
    };
    let items = asker.rows.timeline(asker.account, &filter, limit)?;
    Ok(items.iter().map(|item| change(asker, item, subject)).collect())
}

/// The device that an event is about: its own, its channel's, its token's. None where the page is its own.
fn about(asker: &Asker<'_>, item: &TimelineItem, subject: Option<&str>) -> Option<Link> {
    let id = match item.aggregate_type.as_str() {
        "channel" => {
            let registry = asker.known.registry();
            let channel = registry.channel(asker.account, &item.aggregate_id)?;
            channel.state.device.to_string()
        }
        "device" | "tokens" => item.aggregate_id.clone(),
        _ => return None,
    };
    if subject == Some(id.as_str()) || item.event_type == "DeviceRegistered" {
        return None;
    }
    let device = asker.known.registry().device(asker.account, &id)?.clone();
    let name = asker.known.text("device", &id, device.state.name.as_ref());
    Some(Link {
        href: format!("/app/devices/{id}"),
        text: name.unwrap_or_else(|| device.state.local_id.clone()),
    })
}

fn change(asker: &Asker<'_>, item: &TimelineItem, subject: Option<&str>) -> Change {
    let payload = asker.known.opened(item);
    let reason: Value = item
        .reason
        .as_deref()
        .and_then(|r| serde_json::from_str(r).ok())
        .unwrap_or_default();
    let code = reason["code"]
        .as_str()
        .filter(|code| *code != NOT_GIVEN && *code != "stated");
    Change {
        at: item.recorded_at,
        position: item.position.get(),
        actor: actor(asker, item.actor.as_deref().unwrap_or("")),
        title: title(&item.event_type, &payload),
        about: about(asker, item, subject),
        changes: fields(asker, &payload),
        reason: payload["reason_text"]
            .as_str()
            .or(code.map(reason_words))
            .map(str::to_owned),
    }
}

/// A reason's code in words, where it is one of ours.
pub fn reason_words(code: &str) -> &str {
    match code {
        "first_reading" => "its first reading came",
        "preset" => "its channels make it complete",
        "setup" => "set up at the first start",
        other => other,
    }
}

/// Who did something, by name.
pub fn actor(asker: &Asker<'_>, id: &str) -> String {
    if let Some(component) = id.strip_prefix("system:") {
        return format!("the service ({component})");
    }
    if id.starts_with("device:") {
        return "the device itself".to_owned();
    }
    let contact = asker.known.registry().contact(asker.account, id).cloned();
    if let Some(contact) = contact {
        let name = asker.known.text("contact", id, contact.state.name.as_ref());
        return name.unwrap_or_else(|| id.to_owned());
    }
    let user = asker.known.registry().user(asker.account, id).cloned();
    let name = user.and_then(|user| {
        let text = |field| asker.known.text("user", &user.id, field);
        text(user.state.name.as_ref()).or_else(|| text(user.state.email.as_ref()))
    });
    name.unwrap_or_else(|| id.to_owned())
}

fn title(event_type: &str, payload: &Value) -> String {
    let kind = || words::kind(payload["kind"].as_str().unwrap_or("channel")).to_owned();
    match event_type {
        "AccountOpened" => "Account opened".to_owned(),
        "AccountRenamed" => "Account renamed".to_owned(),
        "AccountSuspended" => "Account suspended".to_owned(),
        "AccountResumed" => "Account resumed".to_owned(),
        "UserRegistered" => "User invited".to_owned(),
        "UserChanged" => "User changed".to_owned(),
        "UserRemoved" => "User removed".to_owned(),
        "SiteCreated" => "Site added".to_owned(),
        "SiteChanged" => "Site changed".to_owned(),
        "DeviceRegistered" => "Device added".to_owned(),
        "DeviceChanged" => "Device changed".to_owned(),
        "DeviceMoved" => "Device moved to another site".to_owned(),
        "DeviceRemoved" => "Device removed".to_owned(),
        "ChannelRegistered" => format!("Channel added: {}", kind()),
        "ChannelChanged" => "Channel changed".to_owned(),
        "CalibrationSet" => "Calibration set".to_owned(),
        "DerivationSet" if payload.pointer("/derivation/new").is_none_or(Value::is_null) => {
            "Its values are made of nothing any more".to_owned()
        }
        "DerivationSet" => "Its values are made of other channels'".to_owned(),
        "ReadingAnnotated" => "Note on a reading".to_owned(),
        "RuleCreated" => "Rule added".to_owned(),
        "RuleChanged" => "Rule changed".to_owned(),
        "RuleRemoved" => "Rule removed".to_owned(),
        "RulesRecomputed" => "Rules tried again on the last day".to_owned(),
        "AlarmOpened" => "Alarm".to_owned(),
        "AlarmEscalated" => "Alarm got worse".to_owned(),
        "AlarmAcknowledged" => "Alarm acknowledged".to_owned(),
        "AlarmCommented" => "Comment on an alarm".to_owned(),
        "AlarmCleared" => "Alarm over".to_owned(),
        "AlarmRaised" => "Alarm about telling people, or a trial".to_owned(),
        "AlarmReopened" => "Alarm not over after all".to_owned(),
        "AlarmReopenedByPerson" => "Alarm opened again".to_owned(),
        "AlarmClosed" => "Alarm closed".to_owned(),
        "SilenceOpened" => "Channel silenced".to_owned(),
        "SilenceEnded" => "Silence ended".to_owned(),
        "ChannelNotificationsSet" => "Changed how the channel's messages are spaced".to_owned(),
        "SiteNotificationsSet" => "Changed how the site's messages are spaced".to_owned(),
        "ContactAdded" => "Contact added".to_owned(),
        "ContactConfirmed" => "Contact confirmed by its owner".to_owned(),
        "ContactLinked" => "Contact linked to a chat".to_owned(),
        "ContactChanged" => "Contact changed".to_owned(),
        "ContactBounced" => "Contact's mailbox refuses messages".to_owned(),
        "ContactUnsubscribed" => "Contact unsubscribed".to_owned(),
        "ContactRemoved" => "Contact removed".to_owned(),
        "WebhookSecretRotated" => "Webhook's secret replaced".to_owned(),
        "SubjectKeyDestroyed" => "Personal data erased".to_owned(),
        "TokenIssued" => "Token issued".to_owned(),
        "TokenExpirySet" => "Token given an end".to_owned(),
        "TokenRevoked" => "Token revoked".to_owned(),
        "IntegrationCreated" => "Integration added".to_owned(),
        "IntegrationRemoved" => "Integration removed".to_owned(),
        "ArtefactRegistered" => "File registered by its hash".to_owned(),
        "EvidencePackIssued" => "Evidence pack issued".to_owned(),
        other => other.to_owned(),
    }
}

/// Members of a creation that are worth a line.
const TOLD: &[&str] = &[
    "name",
    "email",
    "role",
    "local_id",
    "model",
    "dev_eui",
    "serial",
    "cadence_s",
    "vertical",
    "timezone",
    "ok_min",
    "ok_max",
    "grace_min",
    "label",
    "effective_at",
];

/// Field, old, new: of a change, or what a creation began with.
fn fields(asker: &Asker<'_>, payload: &Value) -> Vec<(String, Option<String>, Option<String>)> {
    if let Some(changes) = payload["changes"].as_object() {
        let told = changes.iter().filter(|(name, _)| *name != "email_index");
        return told
            .flat_map(|(name, change)| lines(name, &change["old"], &change["new"]))
            .collect();
    }
    if let Some(change) = payload.get("correction") {
        let told = |value: &Value| {
            let correction = serde_json::from_value(value.clone()).unwrap_or_default();
            Some(correction_words(correction, ""))
        };
        let mut lines = vec![("corrected".to_owned(), told(&change["old"]), told(&change["new"]))];
        for name in ["valid_from", "due", "certificate"] {
            if let Some(text) = payload[name].as_str() {
                lines.push((field(name).to_owned(), None, Some(text.to_owned())));
            }
        }
        return lines;
    }
    if let Some(change) = payload.get("derivation") {
        let told = |value: &Value| {
            let derivation: Option<Derivation> = serde_json::from_value(value.clone()).unwrap_or_default();
            derivation.map(|it| format!("{} of {}", it.function.as_str(), it.sources.join(" and ")))
        };
        return vec![("made".to_owned(), told(&change["old"]), told(&change["new"]))];
    }
    if let (Some(from), Some(to)) = (payload["from_site"].as_str(), payload["to_site"].as_str()) {
        return vec![(
            "site".to_owned(),
            Some(site_name(asker, from)),
            Some(site_name(asker, to)),
        )];
    }
    TOLD.iter()
        .filter(|name| !payload[**name].is_null())
        .map(|name| (field(name).to_owned(), None, say(name, &payload[*name])))
        .collect()
}

/// What changed of a member; of one with members of its own, each of them.
fn lines(name: &str, old: &Value, new: &Value) -> Vec<(String, Option<String>, Option<String>)> {
    if !old.is_object() && !new.is_object() {
        return vec![(field(name).to_owned(), say(name, old), say(name, new))];
    }
    let of = |value: &Value| value.as_object().cloned().unwrap_or_default();
    let (old, new) = (of(old), of(new));
    let names: BTreeSet<&String> = old.keys().chain(new.keys()).collect();
    let changed = names.into_iter().filter(|name| old.get(*name) != new.get(*name));
    changed
        .map(|name| {
            let said = |of: &Map<String, Value>| of.get(name).and_then(|value| say(name, value));
            (field(name).to_owned(), said(&old), said(&new))
        })
        .collect()
}

fn site_name(asker: &Asker<'_>, id: &str) -> String {
    let site = asker.known.registry().site(asker.account, id).cloned();
    site.and_then(|site| asker.known.text("site", id, site.state.name.as_ref()))
        .unwrap_or_else(|| id.to_owned())
}

fn field(name: &str) -> &str {
    match name {
        "ok_min" => "lowest",
        "ok_max" => "highest",
        "grace_min" => "grace",
        "cadence_s" => "reports",
        "local_id" => "local id",
        "dev_eui" => "DevEUI",
        "timezone" => "time zone",
        "vertical" => "what is measured",
        "effective_at" => "from",
        "opening_hours" => "open",
        "site_hours" => "on duty while the site is",
        "hours" => "on duty",
        "after_min" => "told after",
        "min_severity" => "told of",
        "min_interval_min" => "at most every",
        "daily_digest" => "daily digest",
        "valid_from" => "measured from",
        "due" => "next one due",
        other => other,
    }
}

fn say(name: &str, value: &Value) -> Option<String> {
    match value {
        Value::Null => None,
        Value::Number(n) if name == "cadence_s" => {
            n.as_u64().and_then(|s| u32::try_from(s).ok()).map(words::every)
        }
        Value::Number(n) if matches!(name, "grace_min" | "after_min" | "min_interval_min") => {
            Some(format!("{n}\u{a0}min"))
        }
        Value::Number(n) => n.as_f64().map(words::exact),
        Value::String(text) if name == "vertical" => Some(words::vertical(text).to_owned()),
        Value::String(text) if name == "role" => Some(words::role(text).0.to_owned()),
        Value::String(text) => Some(text.clone()),
        Value::Bool(yes) => Some(if *yes { "yes" } else { "no" }.to_owned()),
        Value::Array(all) => {
            let all: Vec<String> = all.iter().filter_map(|one| say(name, one)).collect();
            (!all.is_empty()).then(|| all.join(", "))
        }
        Value::Object(span) if matches!(name, "opening_hours" | "hours") => {
            let days: Vec<u8> = serde_json::from_value(span.get("days")?.clone()).ok()?;
            let said = words::hours(&days, span.get("from")?.as_str()?, span.get("to")?.as_str()?);
            let outside = span.get("outside") == Some(&Value::Bool(true));
            Some(if outside {
                format!("outside of {said}")
            } else {
                said
            })
        }
        other => Some(other.to_string()),
    }
}

/// A channel's limits and when each were in force, oldest first. `now` stands where the changes are not known yet.
///
/// # Errors
/// `Unavailable`.
pub fn limits_over_time(asker: &Asker<'_>, channel: &str, now: Limits) -> Result<Vec<LimitSpan>, QueryError> {
    let filter = TimelineFilter {
        subject: Some(channel),
        aggregate_type: Some("channel"),
        before: None,
    };
    let items = asker.rows.timeline(asker.account, &filter, LIMIT_CHANGES_MAX)?;
    let own = items.iter().rev().filter(|item| item.aggregate_id == channel);
    let changes: Vec<Told> = own
        .filter_map(|item| {
            Some(Told {
                position: item.position,
                at: item.recorded_at,
                payload: serde_json::from_str(item.payload.as_deref()?).ok()?,
            })
        })
        .collect();
    // Most channels were configured once: then there is nothing to tell apart.
    let first = match changes.len() {
        0 | 1 => None,
        _ => known(asker.rows.first_recorded(asker.account, channel))?.flatten(),
    };
    Ok(spans(&changes, first, now))
}

/// A channel's event.
struct Told {
    position: Position,
    at: Timestamp,
    payload: Value,
}

/// Folds a channel's events, oldest first. What is in force now is believed over the fold's end.
///
/// A reading's limits are those in force when it was recorded (its `config`), so what was configured before the
/// first recorded reading reaches back to readings that were measured long before.
fn spans(changes: &[Told], first: Option<Position>, now: Limits) -> Vec<LimitSpan> {
    let mut out: Vec<LimitSpan> = Vec::new();
    let mut limits = Limits::default();
    for Told {
        position,
        at,
        payload,
    } in changes
    {
        let early = first.is_some_and(|first| *position < first);
        let at = if out.is_empty() || early {
            Timestamp::default()
        } else {
            *at
        };
        if early {
            out.clear();
        }
        let before = limits;
        for (name, end) in [("ok_min", &mut limits.min), ("ok_max", &mut limits.max)] {
            // A creation holds the value itself, a change holds old and new.
            let change = payload["changes"].get(name).map(|change| &change["new"]);
            if let Some(value) = change.or_else(|| payload.get(name)) {
                *end = value.as_f64();
            }
        }
        if out.is_empty() || limits != before {
            if let Some(last) = out.last_mut() {
                last.to = Some(at);
            }
            out.push(LimitSpan {
                from: at,
                to: None,
                limits,
            });
        }
    }
    match out.last_mut() {
        Some(last) => (last.limits.min, last.limits.max) = (now.min, now.max),
        None => out.push(LimitSpan {
            from: Timestamp::default(),
            to: None,
            limits: now,
        }),
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn t(s: i64) -> Timestamp {
        Timestamp::from_micros(s * 1_000_000).expect("a time of the test")
    }

    fn limits(min: Option<f64>, max: Option<f64>) -> Limits {
        Limits {
            min,
            max,
            grace_min: None,
        }
    }

    #[test]
    fn limits_are_those_that_were_in_force() {
        let spans = spans(&events(), None, limits(None, Some(5.0)));
        let told: Vec<_> = spans
            .iter()
            .map(|s| (s.from, s.to, s.limits.min, s.limits.max))
            .collect();
        assert_eq!(
            told,
            [
                (t(0), Some(t(3)), Some(-2.0), Some(8.5)),
                (t(3), Some(t(4)), Some(-2.0), Some(5.0)),
                (t(4), None, None, Some(5.0)),
            ]
        );
    }

    #[test]
    fn limits_set_before_the_first_recorded_reading_reach_back_to_all_of_them() {
        let spans = spans(&events(), Some(Position(3)), limits(None, Some(5.0)));
        let told: Vec<_> = spans
            .iter()
            .map(|s| (s.from, s.to, s.limits.min, s.limits.max))
            .collect();
        assert_eq!(
            told,
            [
                (t(0), Some(t(4)), Some(-2.0), Some(5.0)),
                (t(4), None, None, Some(5.0))
            ]
        );
    }

    fn events() -> Vec<Told> {
        [
            (t(1), json!({"kind": "temperature", "ok_min": -2, "ok_max": 8.5})),
            (t(2), json!({"changes": {"label": {"old": null, "new": "x"}}})),
            (t(3), json!({"changes": {"ok_max": {"old": 8.5, "new": 5}}})),
            (t(4), json!({"changes": {"ok_min": {"old": -2, "new": null}}})),
        ]
        .into_iter()
        .enumerate()
        .map(|(i, (at, payload))| Told {
            position: Position(i as u64),
            at,
            payload,
        })
        .collect()
    }

    #[test]
    fn without_changes_the_limits_of_now_hold() {
        let spans = spans(&[], None, limits(Some(1.0), None));
        assert_eq!(spans.len(), 1);
        assert_eq!(spans[0].limits.min, Some(1.0));
    }

    #[test]
    fn every_event_that_is_kept_for_audit_has_a_title() {
        let audit = domain::event::CLASS_TABLE
            .iter()
            .filter(|(_, class)| *class == domain::event::Class::Audit);
        let untitled: Vec<&str> = audit
            .map(|(name, _)| *name)
            .filter(|name| title(name, &json!({})) == *name)
            .collect();
        assert_eq!(untitled, [""; 0]);
    }

    #[test]
    fn values_of_changes_are_told_in_words() {
        assert_eq!(say("cadence_s", &json!(300)).as_deref(), Some("every 5\u{a0}min"));
        assert_eq!(say("ok_min", &json!(-18)).as_deref(), Some("−18"));
        assert_eq!(
            say("vertical", &json!("haccp")).as_deref(),
            Some("Kitchen (HACCP)")
        );
        assert_eq!(say("ok_max", &Value::Null), None);
        let hours = json!([
            {"days": [1, 2, 3], "from": "08:00", "to": "18:00"},
            {"days": [6], "from": "09:00", "to": "12:00"},
        ]);
        assert_eq!(
            lines("opening_hours", &json!([]), &hours),
            [(
                "open".to_owned(),
                None,
                Some("Mon–Wed 08:00–18:00, Sat 09:00–12:00".to_owned())
            )]
        );
        let preferences = |after: u32, digest: bool, hours: Value| json!({"after_min": after, "daily_digest": digest, "hours": hours});
        let night = json!({"days": [1, 2, 3, 4, 5, 6, 7], "from": "08:00", "to": "18:00", "outside": true});
        let told = lines(
            "preferences",
            &preferences(0, false, Value::Null),
            &preferences(10, false, night),
        );
        let said = |text: &str| Some(text.to_owned());
        assert_eq!(
            told,
            [
                ("told after".to_owned(), said("0\u{a0}min"), said("10\u{a0}min")),
                (
                    "on duty".to_owned(),
                    None,
                    said("outside of every day 08:00–18:00")
                ),
            ]
        );
    }
}
