//! Alarms as pages show them: the list, one with what happened to it, and what the rules say of a channel.
//!
//! Invariants: how a channel stands comes from one query, whichever page asks; names are opened once a channel.
//! Not here: the why's readings, which stand in the ledger (`routes`).

use std::collections::BTreeMap;

use domain::Timestamp;
use domain::event::{Cause, Event, Signature, Thresholds};
use domain::registry::Channel;
use domain::rule::windows::Schedule;
use domain::rule::{ChannelState, Definition, Kind, Severity};
use domain::time::DAY_US;
use projections::QueryError;
use projections::query::{Alarm, AlarmFilter, AlarmPlace, OutboundFilter, StateOfChannel, TimelineItem};
use serde_json::Value;

use super::super::alarms::reasons;
use super::super::alarms::view::{AlarmRow, AlarmsPage, Around, Held, Life, Raised, Shown, SilenceRow, Step};
use super::super::outbound::view::code_words;
use super::super::view::{LimitSpan, Limits, Link};
use super::super::words::{self, Zone};
use super::{Asker, changes, devices, history, known};
use crate::judged::Judged;

/// Open alarms that a page shows.
const OPEN_MAX: usize = 200;
/// Alarms that are over, below the open ones.
const RECENT_MAX: usize = 20;
/// Alarms of a page of all of them.
const PAGE: usize = 50;
/// Messages about one alarm that are shown, the newest.
const TOLD_MAX: usize = 100;
/// The rank of an alarm that has ended.
const ENDED: u8 = 4;
/// Columns of a chart around an alarm.
const CHART_STEPS: usize = 320;
/// Least that is shown before and after an alarm, microseconds.
const AROUND_US: i64 = 2 * 3_600_000_000;
/// Spans of limits in one chart: a window every hour of a month.
const SPANS_MAX: usize = 1_500;

/// Which alarms are asked for.
#[derive(Debug, Clone, Default)]
pub struct AlarmsAsked {
    /// Which.
    pub shown: Shown,
    /// Of which site.
    pub site: Option<String>,
    /// Behind this one.
    pub after: Option<AlarmPlace>,
}

/// The states of every channel of the account, as the rules last said.
pub type States = BTreeMap<String, StateOfChannel>;

/// What the rules say of a channel.
pub fn judged(asker: &Asker<'_>, channel: &Channel, states: &States) -> Judged {
    Judged::of(
        &asker.known.registry(),
        channel,
        states.get(&*channel.id),
        asker.now,
    )
}

/// The list.
///
/// # Errors
/// `SiteNotFound`, `Unavailable`.
pub fn alarms(asker: &Asker<'_>, asked: AlarmsAsked) -> Result<AlarmsPage, QueryError> {
    let sites = devices::site_cards(asker);
    if let Some(site) = asked
        .site
        .as_ref()
        .filter(|id| !sites.iter().any(|site| site.id == **id))
    {
        return Err(QueryError::SiteNotFound(site.clone()));
    }
    let filter = |life: Option<&str>, after| AlarmFilter {
        site: asked.site.clone(),
        life: life.map(str::to_owned),
        after,
        ..AlarmFilter::default()
    };
    let ask = |filter: &AlarmFilter, limit| asker.rows.alarms(asker.account, filter, limit);
    let ended = Some(AlarmPlace {
        rank: ENDED - 1,
        position: domain::Position(0),
    });
    let open = match asked.after {
        None => ask(&filter(Some("open"), None), OPEN_MAX)?,
        Some(_) => Vec::new(),
    };
    let mut over = match asked.shown {
        Shown::Open => Vec::new(),
        Shown::Recent => ask(&filter(None, ended), RECENT_MAX)?,
        Shown::All => ask(&filter(None, asked.after.or(ended)), PAGE + 1)?,
    };
    let more = asked.shown == Shown::All && over.len() > PAGE;
    over.truncate(PAGE);
    let older = over.last().filter(|_| more).map(|last| {
        let site = asked
            .site
            .as_ref()
            .map(|site| format!("&site={site}"))
            .unwrap_or_default();
        format!("/app/alarms?show=all&before={}{site}", last.place.position)
    });
    let rules = {
        let registry = asker.known.registry();
        let of = |device| {
            registry
                .channels(device)
                .map(|channel| registry.rules_in_force(channel).len())
                .sum::<usize>()
        };
        registry.devices(asker.account, None).map(of).sum()
    };
    Ok(AlarmsPage {
        open: rows(asker, open)?,
        over: rows(asker, over)?,
        shown: asked.shown,
        site: asked.site,
        sites,
        older,
        rules,
    })
}

/// The place behind which older alarms are listed.
pub fn behind(position: u64) -> AlarmPlace {
    AlarmPlace {
        rank: ENDED,
        position: domain::Position(position),
    }
}

/// The open alarms of a device's channels, or of one channel.
///
/// # Errors
/// `Unavailable`.
pub fn open_of(
    asker: &Asker<'_>,
    device: Option<&str>,
    channel: Option<&str>,
) -> Result<Vec<AlarmRow>, QueryError> {
    let filter = AlarmFilter {
        life: Some("open".to_owned()),
        channel: channel.map(str::to_owned),
        ..AlarmFilter::default()
    };
    let mut alarms = asker.rows.alarms(asker.account, &filter, OPEN_MAX)?;
    alarms.retain(|alarm| device.is_none() || alarm.device.as_deref() == device);
    rows(asker, alarms)
}

/// Alarms with the names of what they are about.
///
/// # Errors
/// `Unavailable`.
pub fn rows(asker: &Asker<'_>, alarms: Vec<Alarm>) -> Result<Vec<AlarmRow>, QueryError> {
    if alarms.is_empty() {
        return Ok(Vec::new());
    }
    let sites = devices::site_cards(asker);
    let states = asker.rows.channel_states(asker.account)?;
    Ok(alarms
        .iter()
        .map(|alarm| {
            let site = alarm.site.clone().unwrap_or_default();
            let about = match raised(alarm) {
                Some((cause, _)) => about_telling(asker, &cause),
                None => about(asker, &alarm.channel),
            };
            let state = states.get(&alarm.channel).map(|said| said.state);
            let opened = alarm.opening();
            let thresholds = opened
                .as_ref()
                .map(|opened| opened.thresholds)
                .unwrap_or_default();
            AlarmRow {
                severity: Severity::parse(&alarm.severity).unwrap_or_default(),
                life: life(alarm),
                recovering: alarm.life == "open" && state == Some(ChannelState::Recovering),
                seen_by: alarm
                    .acknowledged_by
                    .as_deref()
                    .map(|id| changes::actor(asker, id)),
                silenced: asker
                    .known
                    .registry()
                    .is_silenced(&alarm.channel, alarm.recorded_at),
                raised: raised(alarm).map(|(_, about)| about),
                late: alarm.late,
                began_at: alarm.began_at,
                opened_at: alarm.opened_at,
                ended_at: alarm.ended_at,
                value: lately(asker, alarm).or(alarm.value),
                held: held(Kind::parse(&alarm.kind).unwrap_or_default(), &thresholds, &about),
                channel: about.channel,
                device: about.device,
                zone: devices::zone_of(&sites, &site),
                site: Link {
                    href: format!("/app/sites/{site}"),
                    text: sites
                        .iter()
                        .find(|card| card.id == site)
                        .map_or_else(String::new, |card| card.name.clone()),
                },
                id: alarm.id.clone(),
            }
        })
        .collect())
}

/// The newest value of an open alarm's channel, where that is what its rule looks at: whoever is called wants to know
/// how warm it is now.
fn lately(asker: &Asker<'_>, alarm: &Alarm) -> Option<f64> {
    let looked_at = alarm.life == "open" && Kind::parse(&alarm.kind) == Some(Kind::Range);
    let channel = looked_at.then(|| asker.rows.channel(asker.account, &alarm.channel).ok())??;
    channel.latest.map(|latest| latest.value)
}

fn life(alarm: &Alarm) -> Life {
    match alarm.life.as_str() {
        "open" if alarm.acknowledged => Life::Seen,
        "open" => Life::Open,
        _ if alarm.withdrawn => Life::Withdrawn,
        "closed" => Life::Closed,
        _ => Life::Over,
    }
}

/// What an alarm of no channel is about.
pub fn raised(alarm: &Alarm) -> Option<(Cause, Raised)> {
    if !alarm.channel.is_empty() {
        return None;
    }
    let Ok(Event::AlarmRaised(raised)) = Event::read("AlarmRaised", alarm.opened.as_bytes()) else {
        return None;
    };
    let about = match &raised.cause {
        Cause::Path { .. } => Raised::Path,
        Cause::Challenge { until, .. } => Raised::Trial { until: *until },
    };
    Some((raised.cause, about))
}

fn about_telling(asker: &Asker<'_>, cause: &Cause) -> About {
    let link = |text: String| Link {
        href: "/app/alarms".to_owned(),
        text,
    };
    About {
        channel: link(match cause {
            Cause::Path { via } => format!("by {}", way(via.as_str())),
            Cause::Challenge { contact, .. } => changes::actor(asker, contact),
        }),
        device: link(
            match cause {
                Cause::Path { .. } => "Telling people",
                Cause::Challenge { .. } => "Trial alarm",
            }
            .to_owned(),
        ),
        kind: String::new(),
        unit: String::new(),
    }
}

/// A way by which people are told, as people say it.
fn way(via: &str) -> &str {
    match via {
        "email" => "mail",
        "telegram" => "Telegram",
        other => other,
    }
}

/// A channel and its device by name; removed ones too.
struct About {
    channel: Link,
    device: Link,
    kind: String,
    unit: String,
}

fn about(asker: &Asker<'_>, id: &str) -> About {
    let found = {
        let registry = asker.known.registry();
        let channel = registry.channel(asker.account, id).cloned();
        channel.map(|channel| {
            let device = registry.device(asker.account, &channel.state.device).cloned();
            (channel, device)
        })
    };
    let Some((channel, device)) = found else {
        let link = |text: &str| Link {
            href: "/app".to_owned(),
            text: text.to_owned(),
        };
        return About {
            channel: link("channel"),
            device: link("a device that is gone"),
            kind: String::new(),
            unit: String::new(),
        };
    };
    let kind = words::capitalised(words::kind(&channel.state.kind));
    let label = asker.known.text("channel", id, channel.state.label.as_ref());
    let name = device.map(|device| {
        let name = asker.known.text("device", &device.id, device.state.name.as_ref());
        name.unwrap_or_else(|| device.state.local_id.clone())
    });
    About {
        channel: Link {
            href: format!("/app/channels/{id}"),
            text: label.map_or_else(|| kind.clone(), |label| format!("{kind} · {label}")),
        },
        device: Link {
            href: format!("/app/devices/{}", channel.state.device),
            text: name.unwrap_or_else(|| channel.state.device.clone()),
        },
        kind: channel.state.kind.clone(),
        unit: channel.state.unit.clone(),
    }
}

fn held(rule: Kind, thresholds: &Thresholds, about: &About) -> Held {
    Held {
        rule,
        band: thresholds.band,
        silent_s: thresholds.min_interval_s,
        grace_min: thresholds.grace_min,
        kind: about.kind.clone(),
        unit: about.unit.clone(),
    }
}

/// Whom an alarm was told, or why not.
///
/// # Errors
/// `Unavailable`.
fn told(asker: &Asker<'_>, alarm: &str) -> Result<Vec<Step>, QueryError> {
    let filter = OutboundFilter {
        alarm: Some(alarm.to_owned()),
        ..OutboundFilter::default()
    };
    let tried = asker.rows.outbound(asker.account, &filter, None, TOLD_MAX)?;
    Ok(tried
        .into_iter()
        .map(|tried| {
            let name = changes::actor(asker, &tried.contact);
            let via = way(&tried.via);
            let (title, lines) = match tried.event_type.as_str() {
                "NotificationSent" => (format!("Told {name}"), Vec::new()),
                "NotificationDigested" => (format!("Told {name} in a digest"), Vec::new()),
                "NotificationDropped" => (
                    format!("Not told {name}"),
                    vec![
                        code_words(&tried.code)
                            .map_or_else(|| format!("Because: {}.", tried.code), str::to_owned),
                    ],
                ),
                "NotificationFailed" => {
                    let then = if tried.next_at.is_some() {
                        "It is tried again."
                    } else {
                        "It is not tried again."
                    };
                    (
                        format!("{name} could not be told"),
                        vec![format!("Attempt {}: {}. {then}", tried.attempt, tried.code)],
                    )
                }
                _ => (format!("To be told again: {name}"), Vec::new()),
            };
            Step {
                at: tried.recorded_at,
                title: format!("{title}, by {via}"),
                lines,
                said: None,
                actor: None,
                position: Some(tried.position.get()),
                late: None,
                shape: "told",
            }
        })
        .collect())
}

/// What happened to an alarm, oldest first.
///
/// # Errors
/// `Unavailable`.
pub fn steps(asker: &Asker<'_>, row: &AlarmRow, items: &[TimelineItem]) -> Result<Vec<Step>, QueryError> {
    let mut steps = vec![Step {
        at: row.began_at,
        title: match (row.raised, row.held.rule) {
            (Some(Raised::Path), _) => "The first attempt in vain",
            (Some(Raised::Trial { .. }), _) => "It was time for a trial",
            (None, Kind::Absence) => "Last heard",
            (None, _) => "Left what is right",
        }
        .to_owned(),
        lines: match row.held.grace_min {
            0 => Vec::new(),
            grace => vec![format!("A grace of {grace}\u{a0}min began.")],
        },
        said: None,
        actor: None,
        position: None,
        late: None,
        shape: "out",
    }];
    let mut items: Vec<&TimelineItem> = items.iter().collect();
    items.sort_by_key(|item| item.position);
    steps.extend(items.into_iter().filter_map(|item| step(asker, row, item)));
    steps.extend(told(asker, &row.id)?);
    // In the time of the data; what is of one time stays in the order in which it was recorded.
    steps.sort_by_key(|step| step.at);
    Ok(steps)
}

fn step(asker: &Asker<'_>, row: &AlarmRow, item: &TimelineItem) -> Option<Step> {
    let payload = asker.known.opened(item);
    let event = Event::read(&item.event_type, item.payload.as_deref()?.as_bytes()).ok()?;
    let text = |name: &str| payload[name].as_str().map(str::to_owned);
    let value = |v: Option<f64>| {
        v.map(|v| format!("{}.", words::value_with_unit(&row.held.kind, v, &row.held.unit)))
            .into_iter()
            .collect::<Vec<String>>()
    };
    let late = |is: bool, at: Timestamp| is.then_some(at);
    let person = || {
        item.actor
            .as_deref()
            .filter(|id| !id.starts_with("system:"))
            .map(|id| changes::actor(asker, id))
    };
    let base = Step {
        at: item.recorded_at,
        title: String::new(),
        lines: Vec::new(),
        said: None,
        actor: None,
        position: Some(item.position.get()),
        late: None,
        shape: "end",
    };
    Some(match event {
        Event::AlarmOpened(e) => Step {
            at: e.opened_at,
            title: match (e.severity, e.thresholds.grace_min) {
                (Severity::Alarm, 0) => "Alarm".to_owned(),
                (Severity::Alarm, _) => "The grace was over: alarm".to_owned(),
                (Severity::Warn, 0) => "Warning".to_owned(),
                (Severity::Warn, _) => "The grace was over: warning".to_owned(),
            },
            lines: {
                let mut lines = if row.held.rule == Kind::Range {
                    value(e.value)
                } else {
                    Vec::new()
                };
                if e.flapping {
                    lines.push(
                        "It had come and gone so often that it ends only after a longer time.".to_owned(),
                    );
                }
                lines
            },
            late: late(e.late, e.decided_at),
            shape: "alarm",
            ..base
        },
        Event::AlarmRaised(e) => Step {
            title: match e.cause {
                Cause::Path { .. } => "In vain for so long that it is an alarm",
                Cause::Challenge { .. } => "Trial alarm",
            }
            .to_owned(),
            shape: "alarm",
            ..base
        },
        Event::AlarmEscalated(e) => Step {
            at: e.at,
            title: "Got worse: alarm".to_owned(),
            lines: if row.held.rule == Kind::Range {
                value(e.value)
            } else {
                Vec::new()
            },
            late: late(e.late, e.decided_at),
            shape: "alarm",
            ..base
        },
        Event::AlarmReopened(e) => Step {
            at: e.at,
            title: "Not over after all".to_owned(),
            late: late(e.late, e.decided_at),
            shape: "alarm",
            ..base
        },
        Event::AlarmReopenedByPerson(e) => Step {
            title: "Opened again".to_owned(),
            lines: reasons::words(&e.reason)
                .map(|words| format!("{}.", words::capitalised(words)))
                .into_iter()
                .collect(),
            said: text("text"),
            actor: person(),
            shape: "alarm",
            ..base
        },
        Event::AlarmCleared(e) => Step {
            at: e.cleared_at,
            title: if e.withdrawn {
                "Taken back"
            } else if row.raised.is_some() {
                "A message was taken again: over"
            } else {
                "Right again for long enough: over"
            }
            .to_owned(),
            lines: if row.held.rule == Kind::Range {
                value(e.value_at)
            } else {
                Vec::new()
            },
            late: late(e.late, e.decided_at),
            shape: "good",
            ..base
        },
        Event::AlarmAcknowledged(e) => Step {
            title: "Acknowledged".to_owned(),
            lines: [
                reasons::words(&e.reason)
                    .filter(|_| e.reason != "seen")
                    .map(|words| format!("{words}.")),
                text("corrective_action").map(|done| format!("Done: {done}")),
                e.signature.as_ref().map(signed),
            ]
            .into_iter()
            .flatten()
            .collect(),
            said: text("text"),
            actor: person(),
            shape: "seen",
            ..base
        },
        Event::AlarmCommented(_) => Step {
            title: "Comment".to_owned(),
            said: text("text"),
            actor: person(),
            shape: "said",
            ..base
        },
        Event::AlarmClosed(e) => Step {
            title: "Closed".to_owned(),
            lines: reasons::words(&e.reason)
                .map(|words| format!("{}.", words::capitalised(words)))
                .into_iter()
                .chain(e.signature.as_ref().map(signed))
                .collect(),
            said: text("text"),
            actor: person(),
            ..base
        },
        _ => return None,
    })
}

/// That it was signed, a sentence.
fn signed(signature: &Signature) -> String {
    let how = match signature.method.as_deref() {
        Some("mail_code") => ", by a code from their mailbox",
        Some(_) => "",
        None => ", with a key of theirs",
    };
    format!("Signed as “{}”{how}.", signature.meaning)
}

/// The channel around an alarm, with what its rule held right.
///
/// # Errors
/// `Unavailable`.
pub fn around(
    asker: &Asker<'_>,
    alarm: &Alarm,
    row: &AlarmRow,
    rule: Option<&Definition>,
) -> Result<Around, QueryError> {
    let end = alarm.ended_at.unwrap_or(asker.now);
    let margin = (end.since(alarm.began_at) / 2).clamp(AROUND_US, 2 * DAY_US);
    let (from, to) = (
        alarm.began_at.plus_micros(-margin),
        end.plus_micros(margin).min(asker.now),
    );
    let chart = known(
        asker
            .rows
            .chart(asker.account, &alarm.channel, from, to, CHART_STEPS),
    )?;
    let (series, gaps) = history::drawn(chart, from, to, CHART_STEPS);
    let limits = match rule {
        Some(rule) => in_force(rule, &row.zone, from, to),
        // The rule's version is not known any more: what the alarm was held against, all along.
        None if row.held.rule == Kind::Range => vec![LimitSpan {
            from,
            to: None,
            limits: Limits {
                min: row.held.band.ok_min,
                max: row.held.band.ok_max,
                grace_min: None,
            },
        }],
        None => Vec::new(),
    };
    Ok(Around {
        from,
        to,
        series,
        gaps,
        limits,
    })
}

/// What a range rule holds right over a time, its windows in it.
pub fn in_force(rule: &Definition, zone: &Zone, from: Timestamp, to: Timestamp) -> Vec<LimitSpan> {
    if rule.kind != Kind::Range {
        return Vec::new();
    }
    let mut schedule = Schedule::new(rule, zone.time_zone());
    let mut spans: Vec<LimitSpan> = Vec::new();
    let mut at = from;
    while at < to && spans.len() < SPANS_MAX {
        let now = schedule.at(at);
        let until = if schedule.has_windows() {
            schedule.until(at)
        } else {
            to
        };
        let limits = match now.enabled {
            true => Limits {
                min: now.band.ok_min,
                max: now.band.ok_max,
                grace_min: None,
            },
            false => Limits::default(),
        };
        match spans.last_mut() {
            Some(last) if last.limits == limits => last.to = Some(until),
            _ => spans.push(LimitSpan {
                from: at,
                to: Some(until),
                limits,
            }),
        }
        if until <= at {
            break;
        }
        at = until;
    }
    spans
}

/// The silences of a channel that hold now or later.
pub fn silences(asker: &Asker<'_>, channel: &str) -> Vec<SilenceRow> {
    let found: Vec<_> = {
        let registry = asker.known.registry();
        let Some(channel) = registry.channel(asker.account, channel) else {
            return Vec::new();
        };
        let holds = registry
            .silences_of(channel)
            .filter(|silence| silence.state.to > asker.now);
        holds.cloned().collect()
    };
    found
        .iter()
        .map(|silence| SilenceRow {
            id: silence.id.to_string(),
            from: silence.state.from,
            to: silence.state.to,
            reason: asker
                .known
                .text("silence", &silence.id, silence.state.text.as_ref()),
            author: silence
                .author
                .as_deref()
                .map_or_else(String::new, |id| changes::actor(asker, id)),
            active: silence.state.holds_at(asker.now),
            etag: silence.state.sequence.to_string(),
        })
        .collect()
}

/// A rule's version as the API tells it, as a definition.
pub fn definition_of(version: &Value) -> Option<Definition> {
    serde_json::from_value(version.clone()).ok()
}
