//! The overview: what needs somebody first, then the sites, then every device, worst first.
//!
//! Invariants: the order of devices is state, then the longest silence, then name; the counts at the top are
//! the counts of the list below; the empty overview leads to the first device.
//! Not here: gathering the rows.

pub mod view;

use std::collections::BTreeMap;

use domain::Timestamp;
use maud::{Markup, html};

use super::layout::{self, Page, Section};
use super::parts;
use super::spark;
use super::view::{ChannelNow, DeviceRow, Frame, Side, SiteCard, State};
use super::words::{self, Zone};
use view::Overview;

/// Seconds between two looks of an open page.
pub const LIVE_S: u32 = 15;
/// A value that arrives this long after it was measured is worth a word, microseconds.
const LATE_US: i64 = 10 * 60 * 1_000_000;
/// Values shown in a row before "and n more".
const VALUES_MAX: usize = 4;

/// The overview's document.
pub fn page(frame: &Frame, view: &Overview) -> Markup {
    let body = if view.devices.is_empty() {
        first_run(frame, &view.sites)
    } else {
        filled(frame, view)
    };
    layout::page(
        frame,
        &Page {
            title: "Overview",
            section: Section::Overview,
            live_s: Some(LIVE_S),
            body,
        },
    )
}

fn first_run(frame: &Frame, sites: &[SiteCard]) -> Markup {
    let may_edit = parts::may_edit(frame);
    html! {
        div.empty {
            h1 { "Nothing has been recorded yet" }
            p.lead {
                "From the first reading on, everything that your sensors send is kept here in the order it came, "
                "and nobody can change it afterwards without it being seen."
            }
            ol.steps {
                li { strong { "Add a device." } " A name is enough; you get an address and a token for it." }
                li { strong { "Let it send." } " Shelly, The Things Network, an ESP32 or one line of curl." }
                li { strong { "Watch the first reading land." } " If it is refused, you see the exact reason." }
            }
            @if may_edit {
                p { a.button.primary href="/app/devices/new" { "Add your first device" } }
            } @else {
                p.dim { "You can look at everything here and change nothing. An owner adds the first device." }
            }
        }
        @if !sites.is_empty() { (site_cards(sites, &[], frame.now)) }
    }
}

fn filled(frame: &Frame, view: &Overview) -> Markup {
    let rows = worst_first(&view.devices);
    let zones: BTreeMap<&str, &Zone> = view.sites.iter().map(|s| (s.id.as_str(), &s.zone)).collect();
    let zone_of = |row: &DeviceRow| zones.get(row.site.as_str()).copied().unwrap_or(&frame.zone);
    let urgent: Vec<&&DeviceRow> = rows.iter().filter(|r| needs_somebody(r.state())).collect();
    html! {
        div.title-row {
            h1 { (headline(urgent.len(), rows.len())) }
            @if parts::may_edit(frame) { a.button href="/app/devices/new" { "Add device" } }
        }
        (tally(&rows))
        @if !urgent.is_empty() {
            section.urgent aria-labelledby="urgent-h" {
                h2.sr #urgent-h { "Needs somebody" }
                @for row in urgent { (urgent_card(row, zone_of(row), frame.now)) }
            }
        }
        (site_cards(&view.sites, &rows, frame.now))
        section aria-labelledby="devices-h" {
            h2 #devices-h { "Every device" }
            (device_list(&rows, &zone_of, frame.now, view.sites.len() > 1))
        }
    }
}

/// Whether somebody should do something.
fn needs_somebody(state: State) -> bool {
    matches!(
        state,
        State::Alarm | State::Offline | State::Silent | State::Refused | State::Old
    )
}

fn headline(urgent: usize, all: usize) -> String {
    match (urgent, all) {
        (0, 1) => "The device reports".to_owned(),
        (0, n) => format!("Nothing needs you among {n} devices"),
        (1, 1) => "The device needs you".to_owned(),
        (1, n) => format!("1 of {n} devices needs you"),
        (u, n) => format!("{u} of {n} devices need you"),
    }
}

/// Devices by state, then silence, then name.
pub fn worst_first(devices: &[DeviceRow]) -> Vec<&DeviceRow> {
    let mut rows: Vec<&DeviceRow> = devices.iter().collect();
    rows.sort_by(|a, b| {
        let silence = |r: &DeviceRow| (r.state() == State::Offline).then_some(r.last_seen);
        a.state()
            .cmp(&b.state())
            .then(silence(a).cmp(&silence(b)))
            .then_with(|| a.name.cmp(&b.name))
            .then_with(|| a.id.cmp(&b.id))
    });
    rows
}

fn tally(rows: &[&DeviceRow]) -> Markup {
    let counts = counts(rows.iter().copied());
    html! {
        ul.tally aria-label="Devices by state" {
            @for (state, n) in counts {
                li class=(parts::state_class(state)) {
                    (parts::glyph(state)) strong.num { (n) } " " (parts::state_word(state))
                }
            }
        }
    }
}

fn counts<'a>(rows: impl Iterator<Item = &'a DeviceRow>) -> Vec<(State, usize)> {
    let mut counts: BTreeMap<State, usize> = BTreeMap::new();
    for row in rows {
        *counts.entry(row.state()).or_default() += 1;
    }
    counts.into_iter().collect()
}

fn urgent_card(row: &DeviceRow, zone: &Zone, now: Timestamp) -> Markup {
    let state = row.state();
    html! {
        article class={ "urgent-card " (parts::state_class(state)) } {
            div.urgent-state { (parts::badge(state)) }
            h3 { a href={ "/app/devices/" (row.id) } { (row.name) } span.dim { (row.site_name) } }
            p { (why(row, zone, now)) }
        }
    }
}

/// Why a device is in its state, a sentence.
pub fn why(row: &DeviceRow, zone: &Zone, now: Timestamp) -> Markup {
    html! {
        @match row.state() {
            State::Offline => {
                @if let Some(at) = row.last_seen {
                    "Last heard " (parts::ago(at, zone, now)) ", at " (words::moment(now, at, zone)) "."
                    @if let Some(measured) = late(row, at) {
                        " Its newest value was measured " (parts::ago(measured, zone, now)) "."
                    }
                }
                @if let Some(cadence) = row.cadence_s { " It should report " (words::every(cadence)) "." }
                @if let Some(channel) = row.telling().filter(|c| c.state() == State::Seen || c.state() == State::Grace) {
                    " Its last " (words::kind(&channel.kind)) " was " (latest(channel)) ": "
                    (parts::state_word(channel.state())) "."
                }
                @if let Some(note) = &row.refused {
                    " The last thing it sent was refused " (parts::ago(note.at, zone, now)) ". "
                    (words::refused(&note.code).meaning)
                }
            },
            State::Alarm | State::Seen | State::Grace | State::Recovering => {
                @if let Some(channel) = row.telling() { (judged(channel, zone, now)) }
            },
            State::Silent => {
                @if let Some(channel) = row.telling() {
                    "Nothing from " (parts::channel_name(channel))
                    @if let Some((at, _)) = channel.latest { " since " (words::moment(now, at, zone)) }
                    ", longer than its rules allow."
                }
            },
            State::Refused => {
                @if let Some(note) = &row.refused {
                    (words::refused(&note.code).meaning) " Refused "
                    (parts::ago(note.at, zone, now))
                    @if note.count > 1 { ", " (words::plural(note.count, "time", "times")) }
                    "."
                }
            },
            State::Old => {
                @if let Some(channel) = row.channels.iter().filter(|c| c.old).max_by_key(|c| c.latest.map(|l| l.0))
                    && let Some((at, _)) = channel.latest {
                    "Its newest " (words::kind(&channel.kind)) " was measured " (parts::ago(at, zone, now))
                    ", at " (words::moment(now, at, zone)) "."
                }
            },
            State::NoData => { "Nothing has come from it yet." },
            State::NoLimits => { "It reports. Nobody has said what its values should be." },
            State::Inside => { "Every rule is met." },
        }
    }
}

/// When its newest value was measured, where that is long before it was heard.
fn late(row: &DeviceRow, heard: Timestamp) -> Option<Timestamp> {
    let newest = row
        .channels
        .iter()
        .filter_map(|c| c.latest)
        .map(|(at, _)| at)
        .max()?;
    (heard.since(newest) > LATE_US).then_some(newest)
}

/// What its rules say of a channel, a sentence or two.
fn judged(channel: &ChannelNow, zone: &Zone, now: Timestamp) -> Markup {
    let since = channel.judged.since;
    html! {
        (parts::channel_name(channel)) " is "
        strong { (latest(channel)) }
        @if let Some(text) = beyond(channel) { ", " (text) }
        @if let Some((at, _)) = channel.latest { ", measured " (parts::ago(at, zone, now)) }
        ". "
        @if let Some(since) = since {
            @match channel.state() {
                State::Grace => { "Outside since " (words::moment(now, since, zone)) "; an alarm once its grace is over." }
                State::Recovering => { "Right again since " (words::moment(now, since, zone)) ", not yet for long enough." }
                State::Seen => { "An alarm since " (words::moment(now, since, zone)) "; somebody has acknowledged it." }
                _ => { "An alarm since " (words::moment(now, since, zone)) "." }
            }
        }
        @if channel.judged.silenced { " Silenced: nobody is told." }
    }
}

/// `1.3 °C above its limit of 5 °C`.
fn beyond(channel: &ChannelNow) -> Option<String> {
    let (_, value) = channel.latest?;
    let side = channel.limits.side_of(value)?;
    if channel.kind == "leak" {
        return Some(format!(
            "it should be {}",
            words::value("leak", channel.limits.max?)
        ));
    }
    let (limit, word) = match side {
        Side::Above => (channel.limits.max?, "above"),
        Side::Below => (channel.limits.min?, "below"),
    };
    let off = (value - limit).abs();
    let unit = words::unit(&channel.unit);
    // A difference too small for the readout's decimals is still a difference.
    let off = match words::number(off, words::decimals(&channel.kind)) {
        zero if zero.bytes().all(|b| b == b'0' || b == b'.') => words::number(off, 4),
        some => some,
    };
    Some(format!(
        "{off}\u{a0}{unit} {word} its limit of {}\u{a0}{unit}",
        words::exact(limit)
    ))
}

fn latest(channel: &ChannelNow) -> Markup {
    html! { @if let Some((_, v)) = channel.latest { (parts::quantity(&channel.kind, v, &channel.unit)) } }
}

/// Sites with the counts of their devices.
pub fn site_cards(sites: &[SiteCard], rows: &[&DeviceRow], now: Timestamp) -> Markup {
    html! {
        section aria-labelledby="sites-h" {
            h2 #sites-h { "Sites" }
            ul.cards {
                @for site in sites {
                    @let of_site: Vec<&DeviceRow> = rows.iter().copied().filter(|r| r.site == site.id).collect();
                    @let worst = of_site.iter().map(|r| r.state()).min();
                    li class={ "card " (worst.map_or("", parts::state_class)) } {
                        h3 { a href={ "/app/sites/" (site.id) } { (site.name) } }
                        p.dim {
                            (words::vertical(&site.vertical)) " · local time "
                            (words::moment(now, now, &site.zone))
                        }
                        @if of_site.is_empty() { p { "No devices yet." } }
                        @else {
                            ul.counts {
                                @for (state, n) in counts(of_site.iter().copied()) {
                                    li class=(parts::state_class(state)) {
                                        (parts::glyph(state)) span.num { (n) } " " (parts::state_word(state))
                                    }
                                }
                            }
                        }
                    }
                }
            }
        }
    }
}

/// Devices in the order given, one a row.
pub fn device_list<'a>(
    rows: &[&'a DeviceRow],
    zone_of: &dyn Fn(&'a DeviceRow) -> &'a Zone,
    now: Timestamp,
    with_site: bool,
) -> Markup {
    html! {
        div.devices role="table" aria-label="Devices" {
            div.device-head role="row" {
                span role="columnheader" { "Device" }
                span role="columnheader" { "State" }
                span role="columnheader" { "Latest" }
                span role="columnheader" { "24 hours" }
                span role="columnheader" { "Heard" }
            }
            @for row in rows {
                @let state = row.state();
                div role="row" class={ "device " (parts::state_class(state)) } {
                    div.device-name role="cell" {
                        a href={ "/app/devices/" (row.id) } { (row.name) }
                        @if with_site { span.dim { (row.site_name) } }
                    }
                    div.device-state role="cell" { (parts::badge(state)) }
                    div.device-values role="cell" { (values(row, zone_of(row))) }
                    div.device-spark role="cell" { (spark::svg(row.spark.as_ref())) }
                    div.device-seen role="cell" {
                        @match row.last_seen {
                            Some(at) => { (parts::ago(at, zone_of(row), now)) }
                            None => { span.dim { "never" } }
                        }
                    }
                }
            }
        }
    }
}

fn values(row: &DeviceRow, zone: &Zone) -> Markup {
    let own: Vec<&ChannelNow> = row
        .channels
        .iter()
        .filter(|c| !c.auxiliary && c.latest.is_some())
        .collect();
    html! {
        @for channel in own.iter().take(VALUES_MAX) {
            a class={ "value " (parts::state_class(channel.state())) } href={ "/app/channels/" (channel.id) }
                title={ (parts::channel_name(channel)) ", "
                    (parts::limits_words(&channel.limits, &channel.kind, &channel.unit))
                    @if let Some((at, _)) = channel.latest { ", measured " (words::stamp(at, zone)) } } {
                @if channel.state() <= State::Recovering { (parts::glyph(channel.state())) span.sr { (parts::state_word(channel.state())) " " } }
                @if let Some(label) = &channel.label { span.dim { (label) } " " }
                @else { span.sr { (words::kind(&channel.kind)) } " " }
                (latest(channel))
                @if channel.old { span.sr { ", not recent" } }
            }
        }
        @if own.len() > VALUES_MAX { span.dim { "and " (own.len() - VALUES_MAX) " more" } }
        @if own.is_empty() { span.dim { "–" } }
    }
}
