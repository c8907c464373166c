//! What a notification says: subject, lines, HTML, a chat's text, a webhook's body.
//!
//! Invariants: what is said follows from entries and from what things are called now; a sealed name that was erased is
//! said to be; no address is in a message.
//! Source: REFERENCE §4 (subjects, bodies). Not here: to whom and when (`lane`).

use super::links::{ACKNOWLEDGE_HOURS, CONFIRM_DAYS, Link};
use crate::app::App;
use crate::pages::words::{self, Zone};
use domain::entry::Entry;
use domain::event::Event;
use domain::event::alarm::Cause;
use domain::time::DAY_US;
use domain::{Position, Timestamp};
use maud::{DOCTYPE, html};
use projections::outbox::plan::{Due, Form};
use projections::outbox::reference_kind;
use serde_json::{Value, json};

const HOUR_US: i64 = 3_600 * 1_000_000;

/// A thing to say, in words.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Said {
    /// What happened, in a word and a mark: `🔴 ALARM`.
    pub mark: String,
    /// For a subject: `ALARM`.
    pub class: String,
    /// What it is about: the channel, the device.
    pub thing: String,
    /// The site's name.
    pub site: String,
    /// One line: `at 9.4 °C (range −2–5)`.
    pub line: String,
    /// More lines.
    pub more: Vec<String>,
    /// What may be acknowledged.
    pub alarm: Option<String>,
}

/// A message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Words {
    /// In one line.
    pub subject: String,
    /// As text.
    pub text: String,
    /// As HTML.
    pub html: String,
    /// For a chat.
    pub chat: String,
    /// Where it is acknowledged.
    pub acknowledge: Option<String>,
}

/// An entry with its event.
struct Told {
    event: Option<Event>,
    payload: Value,
}

impl App {
    async fn told(&self, position: Position) -> Told {
        let block = self.log().read_at(&[position]).await.ok();
        let bytes = block
            .as_ref()
            .and_then(|block| block.get(0))
            .map(|(_, bytes)| bytes);
        let entry = bytes.and_then(|bytes| Entry::read(bytes).ok());
        Told {
            event: entry
                .as_ref()
                .and_then(|entry| Event::read(entry.event_type, entry.payload).ok()),
            payload: entry
                .and_then(|entry| serde_json::from_slice(entry.payload).ok())
                .unwrap_or_default(),
        }
    }

    /// What things are called: (channel, device, site), and the site's zone.
    fn names(&self, due: &Due) -> (String, String, String, Zone) {
        let registry = self.registry().read();
        let device = due
            .device
            .as_ref()
            .and_then(|id| registry.device(&due.account, id));
        let site = due.site.as_ref().and_then(|id| registry.site(&due.account, id));
        let site_name = site
            .and_then(|site| self.text("site", &site.id, site.state.name.as_ref()))
            .unwrap_or_default();
        let zone = site.map_or_else(Zone::utc, |site| Zone::named(&site.state.timezone));
        let device_name = device
            .and_then(|device| self.text("device", &device.id, device.state.name.as_ref()))
            .unwrap_or_default();
        let channel = due
            .channel
            .as_ref()
            .and_then(|id| registry.channel(&due.account, id));
        let channel_name = channel.map_or_else(String::new, |channel| {
            let what = self
                .text("channel", &channel.id, channel.state.label.as_ref())
                .unwrap_or_else(|| words::kind(&channel.state.kind).to_owned());
            format!("{device_name} {what}").trim().to_owned()
        });
        (channel_name, device_name, site_name, zone)
    }

    fn value_of(&self, due: &Due, value: f64) -> String {
        let registry = self.registry().read();
        let channel = due
            .channel
            .as_ref()
            .and_then(|id| registry.channel(&due.account, id));
        match channel {
            Some(channel) => words::value_with_unit(&channel.state.kind, value, &channel.state.unit),
            None => words::exact(value),
        }
    }

    /// One notification in words.
    pub(super) async fn said(&self, due: &Due) -> Said {
        let (channel, device, site, zone) = self.names(due);
        let told = self.told(due.event).await;
        let mut said = Said {
            site,
            thing: if channel.is_empty() { device } else { channel },
            alarm: due.alarm.as_ref().map(|(alarm, _)| alarm.clone()),
            ..Said::default()
        };
        let class = |said: &mut Said, mark: &str, class: &str| {
            said.mark = format!("{mark} {class}");
            said.class = class.to_owned();
        };
        match due.what.as_str() {
            "alarm_opened" | "alarm_escalated" | "alarm_reopened" | "alarm_silenced" => {
                let opened = match &due.alarm {
                    Some((_, opened)) => self.told(*opened).await,
                    None => Told {
                        event: None,
                        payload: Value::Null,
                    },
                };
                self.opening(due, &told, &opened, &zone, &mut said);
            }
            "alarm_cleared" => {
                class(&mut said, "🟢", "OK");
                said.line = "cleared".to_owned();
                if let Some(via) = self.failing_path(due).await {
                    "Notifications".clone_into(&mut said.thing);
                    said.line = format!("by {via} arrive again");
                }
                if let Some(Event::AlarmCleared(cleared)) = &told.event {
                    if let Some(value) = cleared.value_at {
                        said.line = format!("cleared at {}", self.value_of(due, value));
                    }
                    said.more
                        .push(format!("Since {}.", words::stamp(cleared.cleared_at, &zone)));
                    if cleared.withdrawn {
                        said.more
                            .push("Readings that came late show that it had not been an alarm.".to_owned());
                    }
                }
                said.alarm = None;
            }
            "alarm_closed" => {
                class(&mut said, "⚪", "CLOSED");
                let reason = told.payload["reason"].as_str().unwrap_or("stated");
                said.line = format!("closed: {}", reason.replace('_', " "));
                if let Some(via) = self.failing_path(due).await {
                    said.thing = format!("Notifications by {via}");
                }
                said.alarm = None;
            }
            "alarm_ack" => {
                class(&mut said, "👁", "ACKNOWLEDGED");
                said.line = "acknowledged".to_owned();
            }
            "device_offline" => {
                class(&mut said, "📡", "OFFLINE");
                said.line = "no data".to_owned();
                if let Some(Event::DeviceStateChanged(changed)) = &told.event
                    && let Some(last) = changed.last_at
                {
                    let silent = changed.at.since(last).max(0);
                    said.line = format!("no data for {}", words::span(silent));
                    said.more
                        .push(format!("Last heard {}.", words::stamp(last, &zone)));
                }
            }
            "device_online" => {
                class(&mut said, "📡", "ONLINE");
                said.line = "reconnected".to_owned();
            }
            "path_failed" => {
                class(&mut said, "🔴", "ALARM");
                said.thing = "Notifications".to_owned();
                let via = told.payload["cause"]["via"].as_str().unwrap_or("one way");
                let since = told.payload["began_at"].as_str().map(Timestamp::parse_rfc3339);
                let since = since.and_then(Result::ok).unwrap_or(due.caused_at);
                said.line = format!(
                    "by {via} have failed for {}",
                    words::span(due.caused_at.since(since).max(0))
                );
                said.more.push(
                    "You are told by this way instead. The log of what was sent (GET /v1/outbound) says what failed."
                        .to_owned(),
                );
            }
            "challenge_failed" => {
                class(&mut said, "🟡", "WARN");
                let contact = self.tried(due).await;
                said.thing = contact.unwrap_or_else(|| "A contact".to_owned());
                said.line = "did not acknowledge a trial alarm in time".to_owned();
                said.more.push("Find out whether alarms reach them.".to_owned());
                said.alarm = None;
            }
            other => {
                class(&mut said, "ℹ️", "NOTE");
                said.line = other.replace('_', " ");
            }
        }
        said
    }

    fn opening(&self, due: &Due, told: &Told, opened: &Told, zone: &Zone, said: &mut Said) {
        let Some(Event::AlarmOpened(opening)) = &opened.event else {
            said.mark = "🔴 ALARM".to_owned();
            said.class = "ALARM".to_owned();
            return;
        };
        let (mut value, mut thresholds, mut severity) = (opening.value, opening.thresholds, opening.severity);
        if let Some(Event::AlarmEscalated(escalated)) = &told.event {
            (value, thresholds, severity) = (escalated.value, escalated.thresholds, escalated.severity.new);
        }
        let (mark, class) = match severity {
            domain::rule::Severity::Alarm => ("🔴", "ALARM"),
            domain::rule::Severity::Warn => ("🟡", "WARN"),
        };
        (said.mark, said.class) = (format!("{mark} {class}"), class.to_owned());
        if due.what == "alarm_silenced" {
            (said.mark, said.class) = ("⚫ SILENCED".to_owned(), "SILENCED".to_owned());
        }
        let range = match (thresholds.band.ok_min, thresholds.band.ok_max) {
            (Some(min), Some(max)) => {
                format!(" (range {}–{})", self.value_of(due, min), self.value_of(due, max))
            }
            (Some(min), None) => format!(" (at least {})", self.value_of(due, min)),
            (None, Some(max)) => format!(" (at most {})", self.value_of(due, max)),
            (None, None) => String::new(),
        };
        said.line = match value {
            Some(value) => format!("at {}{range}", self.value_of(due, value)),
            None => "sends nothing".to_owned(),
        };
        match due.what.as_str() {
            "alarm_silenced" => said.line.push_str(", alarm during silence window"),
            "alarm_reopened" => said.line.push_str(", not over after all"),
            _ => {}
        }
        said.more.push(format!(
            "Outside since {}, longer than the grace of {} min.",
            words::stamp(opening.began_at, zone),
            thresholds.grace_min
        ));
        if opening.late {
            said.more
                .push("Decided after readings that came late.".to_owned());
        }
    }

    /// What an alarm of no channel is about.
    async fn cause(&self, due: &Due) -> Option<Cause> {
        let (_, opened) = due.alarm.as_ref()?;
        match self.told(*opened).await.event? {
            Event::AlarmRaised(raised) => Some(raised.cause),
            _ => None,
        }
    }

    /// The way that an alarm is about.
    async fn failing_path(&self, due: &Due) -> Option<&'static str> {
        match self.cause(due).await? {
            Cause::Path { via } => Some(via.as_str()),
            Cause::Challenge { .. } => None,
        }
    }

    /// The name of the contact that a trial is of.
    async fn tried(&self, due: &Due) -> Option<String> {
        let Cause::Challenge { contact, .. } = self.cause(due).await? else {
            return None;
        };
        let registry = self.registry().read();
        let found = registry.contact(&due.account, &contact)?;
        self.text("contact", &contact, found.state.name.as_ref())
    }

    /// What an alarm is about, for the page that acknowledges it.
    pub async fn about_alarm(&self, account: &str, alarm: &str) -> Vec<String> {
        let positions = self.sequencer().positions().of("alarm", alarm);
        let Some(opened) = positions.first().copied() else {
            return Vec::new();
        };
        let told = self.told(opened).await;
        if let Some(Event::AlarmRaised(raised)) = &told.event {
            let what = match &raised.cause {
                Cause::Challenge { .. } => {
                    "🧪 This is a trial of the way that alarms go, and no fact about any channel.".to_owned()
                }
                Cause::Path { via } => format!("🔴 ALARM — Notifications by {} fail.", via.as_str()),
            };
            return vec![what];
        }
        let Some(channel) = told.payload["channel"].as_str() else {
            return Vec::new();
        };
        let (device, site) = {
            let registry = self.registry().read();
            let device = registry
                .channel(account, channel)
                .map(|it| it.state.device.clone());
            let site = device
                .as_ref()
                .and_then(|id| Some(registry.device(account, id)?.state.site.clone()));
            (device, site)
        };
        let due = Due {
            id: String::new(),
            account: account.to_owned(),
            contact: String::new(),
            via: domain::event::contact::ContactKind::Email,
            what: "alarm_opened".to_owned(),
            event: opened,
            alarm: Some((alarm.to_owned(), opened)),
            channel: Some(channel.to_owned()),
            device,
            site,
            site_silent: false,
            caused_at: Timestamp::default(),
            due_at: Timestamp::default(),
            attempts: 0,
        };
        let said = self.said(&due).await;
        let mut lines = vec![format!("{} — {} {}", said.mark, said.thing, said.line)];
        if !said.site.is_empty() {
            lines.push(said.site);
        }
        lines.extend(said.more);
        lines
    }

    /// Several notifications as one message.
    pub(super) async fn words(&self, form: Form, dues: &[&Due]) -> Words {
        let lead = dues[0];
        match lead.what.as_str() {
            "confirm" => return self.confirmation(lead),
            "test" | "challenge" => return self.trial(lead),
            "daily" => return self.daily(lead).await,
            _ => {}
        }
        let mut all = Vec::with_capacity(dues.len());
        for due in dues {
            all.push(self.said(due).await);
        }
        let first = &all[0];
        let site = &first.site;
        let (subject, heading) = match form {
            Form::Single => {
                let subject = format!("[{}] {} {}", first.class, site, first.thing);
                (
                    subject,
                    format!("{} — {} {}", first.mark, first.thing, first.line),
                )
            }
            Form::SiteSilent => (
                format!("[OFFLINE] {site}"),
                format!("📡 OFFLINE — {site}: nothing of it reports any more"),
            ),
            Form::Overflow => (
                format!("[Daybook] {} messages waited", all.len()),
                format!("{} messages waited too long and are summed up", all.len()),
            ),
            Form::Digest | Form::Summary => {
                let worst = all.iter().find(|said| said.class == "ALARM").unwrap_or(first);
                (
                    format!("[{}] {site} {} messages", worst.class, all.len()),
                    format!("{} — {} messages", worst.mark, all.len()),
                )
            }
        };
        let mut lines = Vec::new();
        match form {
            Form::Single => {
                if !site.is_empty() {
                    lines.push(format!("{site} · {}", first.thing));
                }
                lines.extend(first.more.iter().cloned());
            }
            Form::Summary => {
                let mut counts = std::collections::BTreeMap::new();
                for said in &all {
                    *counts.entry(said.mark.as_str()).or_insert(0u32) += 1;
                }
                lines.extend(counts.iter().map(|(mark, count)| format!("{mark}: {count}")));
            }
            Form::Digest | Form::SiteSilent | Form::Overflow => {
                lines.extend(all.iter().map(|said| {
                    let at = if said.site.is_empty() {
                        String::new()
                    } else {
                        format!("{} · ", said.site)
                    };
                    format!("{} — {at}{} {}", said.mark, said.thing, said.line)
                }));
            }
        }
        let acknowledge = all
            .iter()
            .find_map(|said| said.alarm.as_deref())
            .filter(|_| reference_kind(&lead.what) == "alarm_opened")
            .map(|alarm| self.acknowledge_link(&lead.contact, alarm));
        self.put_together(&subject, &heading, &lines, acknowledge, &lead.contact)
    }

    /// Where an alarm is acknowledged, as this contact.
    pub fn acknowledge_link(&self, contact: &str, alarm: &str) -> String {
        let link = Link::Acknowledge {
            contact: contact.to_owned(),
            alarm: alarm.to_owned(),
            until: self.clock().now().plus_micros(ACKNOWLEDGE_HOURS * HOUR_US),
        };
        format!("{}/a/{}", self.own_url(), self.notify().links().write(&link))
    }

    /// Where a contact unsubscribes.
    pub fn own_link(&self, contact: &str) -> String {
        let link = Link::Own {
            contact: contact.to_owned(),
        };
        format!("{}/u/{}", self.own_url(), self.notify().links().write(&link))
    }

    fn put_together(
        &self,
        subject: &str,
        heading: &str,
        lines: &[String],
        acknowledge: Option<String>,
        contact: &str,
    ) -> Words {
        let own = self.own_link(contact);
        let mut text = format!("{heading}\n\n");
        for line in lines {
            text.push_str(line);
            text.push('\n');
        }
        let chat = text.trim_end().to_owned();
        if let Some(url) = &acknowledge {
            text.push_str(&format!(
                "\nAcknowledge (good for {ACKNOWLEDGE_HOURS} h): {url}\n"
            ));
        }
        text.push_str(&format!(
            "\n-- \nDaybook, {}\nStop these messages, or change them: {own}\n",
            self.own_url()
        ));
        let page = html! {
            (DOCTYPE)
            html lang="en" {
                body {
                    h1 { (heading) }
                    @for line in lines { p { (line) } }
                    @if let Some(url) = &acknowledge { p { a href=(url) { "Acknowledge with a reason" } } }
                    hr;
                    p { small { a href=(own) { "Stop these messages, or change them" } } }
                }
            }
        };
        Words {
            subject: subject.to_owned(),
            text,
            html: page.into_string(),
            chat,
            acknowledge,
        }
    }

    fn confirmation(&self, due: &Due) -> Words {
        let until = self.clock().now().plus_micros(CONFIRM_DAYS * DAY_US);
        let link = Link::Confirm {
            contact: due.contact.clone(),
            until,
        };
        let url = format!("{}/c/{}", self.own_url(), self.notify().links().write(&link));
        let lines = [
            "Somebody wants alarms of their sensors to be sent to this address.".to_owned(),
            format!("If you want that, confirm it within {CONFIRM_DAYS} days: {url}"),
            "If not, do nothing, and nothing more is sent.".to_owned(),
        ];
        self.put_together(
            "[Daybook] Confirm that you want alarms by e-mail",
            "Confirm this address",
            &lines,
            None,
            &due.contact,
        )
    }

    fn trial(&self, due: &Due) -> Words {
        if due.what == "challenge" {
            let acknowledge = due
                .alarm
                .as_ref()
                .map(|(alarm, _)| self.acknowledge_link(&due.contact, alarm));
            let lines = [
                "This is a test of the alarm path and no fact about any channel.".to_owned(),
                "Please acknowledge it as you would an alarm; whether you did is on record.".to_owned(),
            ];
            let subject = "[TEST ALARM] Please acknowledge";
            return self.put_together(
                subject,
                "🧪 TEST ALARM — please acknowledge",
                &lines,
                acknowledge,
                &due.contact,
            );
        }
        let lines = ["If there were an alarm, it would have come this way.".to_owned()];
        self.put_together(
            "[Daybook] Test message",
            "🧪 Test message",
            &lines,
            None,
            &due.contact,
        )
    }

    /// The day that was closed: what happened, and its head, for whoever keeps it.
    async fn daily(&self, due: &Due) -> Words {
        let told = self.told(due.event).await;
        let date = told.payload["date"].as_str().unwrap_or_default().to_owned();
        let since = told.payload["first_position"].as_u64().unwrap_or_default();
        let account = due.account.clone();
        let counts = self.ask(move |rows| rows.day_of(&account, Position(since))).await;
        let mut lines = Vec::new();
        match counts {
            Ok((opened, open, silent)) => {
                lines.push(format!(
                    "{} opened, {open} open now.",
                    words::plural(opened, "alarm", "alarms")
                ));
                lines.push(format!(
                    "{} silent now.",
                    words::plural(silent, "device is", "devices are")
                ));
            }
            Err(error) => lines.push(format!("The read models do not answer ({}).", error.code)),
        }
        lines.push(format!(
            "{} entries in the ledger at the end of the day.",
            told.payload["size"].as_u64().unwrap_or_default()
        ));
        let head = domain::Date::parse(&date)
            .ok()
            .and_then(|date| self.heads().get(date).ok().flatten());
        match head {
            Some(head) => {
                lines.push(
                    "The day's head follows. Keep it: it proves later what the ledger was today.".to_owned(),
                );
                lines.push(String::from_utf8_lossy(&head).into_owned());
            }
            None => lines.push("The day's head was not signed yet; it is on the ledger's page.".to_owned()),
        }
        let sites: Vec<String> = {
            let registry = self.registry().read();
            let named = registry.sites(&due.account, None);
            named
                .filter_map(|site| self.text("site", &site.id, site.state.name.as_ref()))
                .take(3)
                .collect()
        };
        let subject = format!("[Daybook] daily digest {}", sites.join(", "));
        self.put_together(
            &subject,
            &format!("{date} in your sites"),
            &lines,
            None,
            &due.contact,
        )
    }

    /// What a webhook gets: the reference's body.
    pub(super) async fn body(&self, due: &Due, delivery_id: &str, attempt: u32, now: Timestamp) -> String {
        let told = self.told(due.event).await;
        let mut event = json!({
            "id": format!("evt_{}", due.event),
            "kind": reference_kind(&due.what),
            "site_id": due.site,
            "device_id": due.device,
            "channel_id": due.channel,
            "position": due.event,
            "at": due.caused_at,
        });
        if let Some((alarm, opened)) = &due.alarm {
            let opening = self.told(*opened).await;
            event["alarm_id"] = json!(alarm);
            if let Some(Event::AlarmOpened(opening)) = &opening.event {
                event["severity"] = json!(opening.severity);
                event["rule_id"] = json!(opening.rule);
                event["opened_at"] = json!(opening.opened_at);
                event["value_at"] = json!(opening.value);
                event["thresholds"] = json!({
                    "ok_min": opening.thresholds.band.ok_min,
                    "ok_max": opening.thresholds.band.ok_max,
                });
            }
        }
        match &told.event {
            Some(Event::AlarmRaised(raised)) => {
                event["severity"] = json!(raised.severity);
                event["cause"] = json!(raised.cause);
                event["opened_at"] = json!(due.caused_at);
            }
            Some(Event::AlarmEscalated(escalated)) => {
                event["severity"] = json!(escalated.severity.new);
                event["escalated_from"] = json!(escalated.severity.old);
                event["value_at"] = json!(escalated.value);
            }
            Some(Event::AlarmReopenedByPerson(reopened)) => event["reason"] = json!(reopened.reason),
            Some(Event::AlarmReopened(reopened)) => {
                event["reopened_at"] = json!(reopened.at);
                event["value_at"] = json!(reopened.value);
            }
            Some(Event::AlarmCleared(cleared)) => {
                event["cleared_at"] = json!(cleared.cleared_at);
                event["value_at"] = json!(cleared.value_at);
            }
            Some(Event::AlarmAcknowledged(acknowledged)) => event["reason"] = json!(acknowledged.reason),
            Some(Event::AlarmClosed(closed)) => event["reason"] = json!(closed.reason),
            Some(Event::DeviceStateChanged(changed)) => {
                event["last_seen_at"] = json!(changed.last_at);
                event["severity"] = json!("warn");
            }
            Some(Event::SilenceOpened(silence)) => {
                event["from"] = json!(silence.from);
                event["to"] = json!(silence.to);
            }
            _ => {}
        }
        if due.what == "test" {
            event["kind"] = json!("test");
        }
        json!({
            "event": event,
            "delivery": {"id": delivery_id, "attempt": attempt, "delivered_at": now},
        })
        .to_string()
    }
}
