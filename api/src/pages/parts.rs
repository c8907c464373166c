//! The pieces that pages are made of: states, times, values, copyable text, form fields.
//!
//! Invariants: a state is always a shape and a word, colour only repeats them; a time is a `<time>` whose
//! title has date, seconds and offset; text to copy can be selected whole without JavaScript.
//! Not here: whole pages, words (`words`).

use domain::aggregate::user::Right;
use domain::ports::Entropy;
use domain::{Hash, Timestamp};
use maud::{Markup, html};

use super::view::{Change, ChannelNow, Frame, Limits, RefusalNote, Side, SiteCard, State};
use super::words::{self, Zone};

/// The CSS class of a state.
pub fn state_class(state: State) -> &'static str {
    match state {
        State::Alarm => "st-alarm",
        State::Offline => "st-offline",
        State::Silent => "st-silent",
        State::Seen => "st-seen",
        State::Grace => "st-grace",
        State::Recovering => "st-recovering",
        State::Refused => "st-refused",
        State::Old => "st-old",
        State::NoData => "st-nodata",
        State::NoLimits => "st-nolimits",
        State::Inside => "st-inside",
    }
}

/// A state in words.
pub fn state_word(state: State) -> &'static str {
    match state {
        State::Alarm => "alarm",
        State::Offline => "offline",
        State::Silent => "no data",
        State::Seen => "alarm, seen",
        State::Grace => "outside, in grace",
        State::Recovering => "recovering",
        State::Refused => "refused",
        State::Old => "no recent value",
        State::NoData => "nothing yet",
        State::NoLimits => "no limits set",
        State::Inside => "inside limits",
    }
}

/// The shape of a state: a sign where somebody is needed, else where the value lies between two limit lines, or why
/// there is none.
pub fn glyph(state: State) -> Markup {
    html! {
        svg.glyph viewBox="0 0 16 16" aria-hidden="true" {
            @match state {
                State::Inside => {
                    path.g-line d="M2 3.5H14M2 12.5H14" {}
                    circle.g-fill cx="8" cy="8" r="2.6" {}
                }
                State::Alarm => {
                    path.g-fill d="M8 0.9L15.6 14.6H0.4Z" {}
                    path.g-tick d="M8 5.6V9.6M8 12V12.1" {}
                }
                State::Seen => {
                    path.g-line d="M8 1.7L14.9 14H1.1Z" {}
                    path.g-line d="M5.7 10.3L7.4 11.9L10.4 8.4" {}
                }
                State::Grace => {
                    path.g-line d="M4 1.5H12M4 14.5H12M5 1.5C5 6 11 10 11 14.5M11 1.5C11 6 5 10 5 14.5" {}
                }
                State::Recovering => {
                    path.g-line d="M2 13.5H14M2 6.5H4.6M11.4 6.5H14M8 1V10M5.6 7.6L8 10.2L10.4 7.6" {}
                }
                State::Silent => { path.g-line d="M1.2 8H5.4M10.6 8H14.8M6.8 11.6L9.2 4.4" {} }
                State::Offline => {
                    circle.g-line cx="8" cy="8" r="6" {}
                    path.g-line d="M3.8 12.2L12.2 3.8" {}
                }
                State::Refused => {
                    path.g-line d="M8 1.5L14.5 8L8 14.5L1.5 8Z" {}
                    path.g-line d="M8 4.8V8.6M8 10.4V11.4" {}
                }
                State::Old => {
                    circle.g-line cx="8" cy="8" r="6" {}
                    path.g-line d="M8 4.6V8L10.4 9.6" {}
                }
                State::NoData => { circle.g-dash cx="8" cy="8" r="6" {} }
                State::NoLimits => {
                    path.g-dash d="M2 3.5H14M2 12.5H14" {}
                    circle.g-line cx="8" cy="8" r="2.2" {}
                }
            }
        }
    }
}

/// On which side of its limits a value lies.
pub fn side(side: Side) -> Markup {
    html! {
        svg.glyph viewBox="0 0 16 16" aria-hidden="true" {
            @match side {
                Side::Above => { path.g-fill d="M8 0.8L13.6 9H2.4Z" {} path.g-line d="M2 12.5H14" {} }
                Side::Below => { path.g-line d="M2 3.5H14" {} path.g-fill d="M8 15.2L13.6 7H2.4Z" {} }
            }
        }
    }
}

/// Shape and word.
pub fn badge(state: State) -> Markup {
    html! { span class={ "badge " (state_class(state)) } { (glyph(state)) (state_word(state)) } }
}

/// A time, short, with everything in its title.
pub fn time(at: Timestamp, zone: &Zone, now: Timestamp) -> Markup {
    html! {
        time datetime=(at) title=(words::stamp(at, zone)) { (words::moment(now, at, zone)) }
    }
}

/// An age, with the time in its title.
pub fn ago(at: Timestamp, zone: &Zone, now: Timestamp) -> Markup {
    html! { time datetime=(at) title=(words::stamp(at, zone)) { (words::ago(now, at)) } }
}

/// A number and its unit, the unit small.
pub fn quantity(kind: &str, value: f64, ucum: &str) -> Markup {
    let unit = if kind == "leak" { "" } else { words::unit(ucum) };
    html! {
        span.num { (words::value(kind, value)) }
        @if !unit.is_empty() { span.unit { "\u{a0}" (unit) } }
    }
}

/// Limits as a range: `2 to 5 °C`, `at most 5 °C`, `no limits set`.
pub fn limits_words(limits: &Limits, kind: &str, ucum: &str) -> String {
    let say = |v: f64| {
        let unit = words::unit(ucum);
        let gap = if unit.is_empty() { "" } else { "\u{a0}" };
        let number = words::exact(v);
        if kind == "leak" {
            words::value(kind, v)
        } else {
            format!("{number}{gap}{unit}")
        }
    };
    match (limits.min, limits.max) {
        (Some(min), Some(max)) => format!("{} to {}", words::exact(min), say(max)),
        (Some(min), None) => format!("at least {}", say(min)),
        (None, Some(max)) => format!("at most {}", say(max)),
        (None, None) => "no limits set".to_owned(),
    }
}

/// A channel's name: `Temperature`, `Temperature · front`.
pub fn channel_name(channel: &ChannelNow) -> String {
    let kind = words::capitalised(words::kind(&channel.kind));
    match &channel.label {
        Some(label) => format!("{kind} · {label}"),
        None => kind,
    }
}

/// A position, which leads to its entry and proof.
pub fn position(position: u64) -> Markup {
    html! { a.pos href={ "/app/entries/" (position) } { "№\u{a0}" (words::count(position)) } }
}

/// A hash, shortened for the eye, whole in its title.
pub fn short_hash(hash: &Hash) -> Markup {
    let text = hash.to_base64();
    html! { code.hash title=(text) { (text[..10]) "…" } }
}

/// Text that is to be copied: its own label, selectable whole, a button where there is JavaScript.
pub fn copyable(id: &str, label: &str, text: &str) -> Markup {
    html! {
        figure.copyable {
            figcaption {
                span { (label) }
                button.copy type="button" data-copy={ "#" (id) } aria-label={ "Copy: " (label) } { "Copy" }
            }
            pre tabindex="0" { code id=(id) { (text) } }
        }
    }
}

/// A refusal in words, with its code, its message and what to do.
pub fn refusal(note: &RefusalNote, zone: &Zone, now: Timestamp) -> Markup {
    let said = words::refused(&note.code);
    let remedy = words::remedy(&note.code, &note.message);
    html! {
        div.refusal {
            p.refusal-head {
                strong { (said.meaning) } " "
                span.dim {
                    (ago(note.at, zone, now))
                    @if note.count > 1 { ", " (words::plural(note.count, "time", "times")) }
                }
            }
            p { (remedy) }
            p.dim {
                // A token's holder is told less than stands here: which of its flaws it is.
                "Refused as " code { (note.code) }
                @if !note.message.is_empty() { " – " (note.message) }
            }
            @if let Some(example) = &note.example {
                details { summary { "What it sent" } pre tabindex="0" { code { (example) } } }
            }
        }
    }
}

/// Changes of a timeline that are shown without asking.
const CHANGES_SHOWN: usize = 8;

/// A configuration timeline, newest first; what is older opens at a touch.
pub fn timeline(changes: &[Change], zone: &Zone, now: Timestamp) -> Markup {
    // A fold that hides one or two hides nothing worth a touch.
    let shown = if changes.len() <= CHANGES_SHOWN + 2 {
        changes.len()
    } else {
        CHANGES_SHOWN
    };
    let (newest, older) = changes.split_at(shown);
    html! {
        @if changes.is_empty() { p.dim { "Nothing has been changed yet." } }
        (changes_list(newest, zone, now))
        @if !older.is_empty() {
            details.older {
                summary { (words::plural(older.len() as u64, "older change", "older changes")) }
                (changes_list(older, zone, now))
            }
        }
    }
}

fn changes_list(changes: &[Change], zone: &Zone, now: Timestamp) -> Markup {
    html! {
        ol.timeline {
            @for change in changes {
                li {
                    p.timeline-head {
                        strong { (change.title) }
                        @if let Some(about) = &change.about { " " a href=(about.href) { (about.text) } }
                        span.dim { (time(change.at, zone, now)) " · " (change.actor) " · " (position(change.position)) }
                    }
                    @if !change.changes.is_empty() {
                        ul.changes {
                            @for (field, old, new) in &change.changes {
                                li {
                                    (field) ": "
                                    @if let Some(old) = old { del { (old) } " → " }
                                    @match new { Some(new) => { ins { (new) } }, None => { ins { "none" } } }
                                }
                            }
                        }
                    }
                    @if let Some(reason) = &change.reason { p.dim { "Reason: " (reason) } }
                }
            }
        }
    }
}

/// A labelled input of a form.
#[derive(Debug, Clone, Copy, Default)]
pub struct Field<'a> {
    /// Name in the form, and part of the id.
    pub name: &'a str,
    /// Tells the ids of several forms on a page apart; empty where there is one.
    pub form: &'a str,
    /// Label.
    pub label: &'a str,
    /// `text`, `email`, `number`.
    pub kind: &'a str,
    /// What stands in it.
    pub value: &'a str,
    /// One line of help.
    pub hint: &'a str,
    /// What is wrong with it.
    pub error: Option<&'a str>,
    /// Whether it must be filled in.
    pub required: bool,
    /// Browser completion.
    pub autocomplete: &'a str,
}

/// The label, input, hint and error of a field.
pub fn field(f: &Field<'_>) -> Markup {
    let id = format!("f-{}{}", f.form, f.name);
    let (hint, error) = (format!("{id}-hint"), format!("{id}-error"));
    let described = match (f.hint.is_empty(), f.error) {
        (_, Some(_)) => Some(error.as_str()),
        (false, None) => Some(hint.as_str()),
        (true, None) => None,
    };
    html! {
        div.field.bad[f.error.is_some()] {
            label for=(id) { (f.label) @if !f.required { span.dim { " (optional)" } } }
            input id=(id) name=(f.name) type=(if f.kind.is_empty() { "text" } else { f.kind })
                value=(f.value) required[f.required] aria-describedby=[described]
                aria-invalid=[f.error.map(|_| "true")] step=[(f.kind == "number").then_some("any")]
                autocomplete=(if f.autocomplete.is_empty() { "off" } else { f.autocomplete });
            @if let Some(text) = f.error { p.error id=(error) { (words::capitalised(text)) } }
            @else if !f.hint.is_empty() { p.hint id=(hint) { (f.hint) } }
        }
    }
}

/// A select of sites; `form` tells the ids of several forms on a page apart.
pub fn site_select(sites: &[SiteCard], chosen: Option<&str>, form: &str) -> Markup {
    html! {
        div.field {
            label for={ "f-" (form) "site_id" } { "Site" }
            select id={ "f-" (form) "site_id" } name="site_id" {
                @for site in sites {
                    option value=(site.id) selected[chosen == Some(site.id.as_str())] { (site.name) }
                }
            }
        }
    }
}

/// The verticals a site may have.
pub const VERTICALS: &[&str] = &["haccp", "legionella", "server-room", "climate", "energy"];

/// Vertical and time zone, for the forms of a site.
pub fn site_fields(vertical: &str, zone: &str) -> Markup {
    html! {
        div.field {
            label for="f-vertical" { "What is measured there" }
            select id="f-vertical" name="vertical" {
                @for code in VERTICALS {
                    option value=(code) selected[*code == vertical] { (words::vertical(code)) }
                }
            }
        }
        div.field {
            label for="f-timezone" { "Time zone" }
            input id="f-timezone" name="timezone" list="zones" value=(zone) required autocomplete="off"
                data-timezone=[zone.is_empty().then_some("")] aria-describedby="timezone-hint";
            p.hint #timezone-hint { "As in Europe/Bratislava. Days and charts of the site follow it." }
            datalist #zones {
                @for name in zones() { option value=(name) {} }
            }
        }
    }
}

/// A box to tick, in a `choices`.
pub fn check(name: &str, value: &str, checked: bool, label: Markup) -> Markup {
    html! { label.choice { input type="checkbox" name=(name) value=(value) checked[checked]; span { (label) } } }
}

/// Hours of days of the week, as typed.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Span {
    /// `1` to `7`, 1 is Monday.
    pub days: Vec<String>,
    /// `HH:MM`
    pub from: String,
    /// `HH:MM`; at or before `from`, it is of the next day.
    pub to: String,
}

impl Span {
    /// Hours that are kept.
    pub fn of(days: &[u8], from: &str, to: &str) -> Self {
        Self {
            days: days.iter().map(u8::to_string).collect(),
            from: from.to_owned(),
            to: to.to_owned(),
        }
    }

    /// Those of a form that nobody touched.
    pub fn office() -> Self {
        Self::of(&[1, 2, 3, 4, 5], "08:00", "18:00")
    }

    /// From the fields of a form that `prefix` begins.
    pub fn read(fields: &[(String, String)], prefix: &str) -> Self {
        let of = |name: &'static str| {
            let named = move |(n, _): &&(String, String)| n.strip_prefix(prefix) == Some(name);
            fields
                .iter()
                .filter(named)
                .map(|(_, value)| value.trim().to_owned())
        };
        Self {
            days: of("days").collect(),
            from: of("from").next().unwrap_or_default(),
            to: of("to").next().unwrap_or_default(),
        }
    }

    /// The days, rising; `None` where one is none.
    pub fn days(&self) -> Option<Vec<u8>> {
        let day = |text: &String| text.parse().ok().filter(|day| (1..=7u8).contains(day));
        let mut days = self.days.iter().map(day).collect::<Option<Vec<u8>>>()?;
        days.sort_unstable();
        days.dedup();
        Some(days)
    }
}

/// Fields for hours of days of the week, `days`, `from` and `to` behind `prefix`; `id` tells those of one page apart.
pub fn hours(prefix: &str, id: &str, span: &Span) -> Markup {
    html! {
        div.choices.row.days-of-week {
            @for (i, name) in words::WEEKDAYS.iter().enumerate() {
                @let day = (i + 1).to_string();
                (check(&format!("{prefix}days"), &day, span.days.contains(&day), html! { (name) }))
            }
        }
        div.period-days {
            @for (name, label, value) in [("from", "From", &span.from), ("to", "Until", &span.to)] {
                div.field {
                    label for={ (id) (name) } { (label) }
                    input id={ (id) (name) } type="time" name={ (prefix) (name) } value=(value);
                }
            }
        }
    }
}

/// Names of zones, without legacy aliases.
fn zones() -> Vec<String> {
    const AREAS: &[&str] = &[
        "Africa/",
        "America/",
        "Antarctica/",
        "Asia/",
        "Atlantic/",
        "Australia/",
        "Europe/",
        "Indian/",
        "Pacific/",
    ];
    let mut names: Vec<String> = jiff::tz::db()
        .available()
        .map(|name| name.as_str().to_owned())
        .filter(|name| AREAS.iter().any(|area| name.starts_with(area)))
        .collect();
    names.push("UTC".to_owned());
    names.sort_unstable();
    names
}

/// A key that makes a second click on a form harmless.
pub fn idempotency_key(entropy: &dyn Entropy) -> String {
    let mut random = [0u8; 16];
    entropy.fill(&mut random);
    domain::hash::base64url(&random)
}

/// Whether forms are shown to whoever looks.
pub fn may_edit(frame: &Frame) -> bool {
    frame.viewer.as_ref().is_some_and(|v| v.may_edit)
}

/// Whether whoever looks has this right.
pub fn may(frame: &Frame, right: Right) -> bool {
    frame.viewer.as_ref().is_some_and(|v| right.is_of(&v.role))
}

/// A channel's state with its flags.
pub fn channel_badge(channel: &ChannelNow) -> Markup {
    html! { (badge(channel.state())) @if channel.judged.silenced { " " (silenced()) } }
}

/// The flag of a channel of whose alarms nobody is told.
pub fn silenced() -> Markup {
    html! {
        span.badge.flag {
            svg.glyph viewBox="0 0 16 16" aria-hidden="true" {
                path.g-line d="M8 2C5.4 2 4.2 4 4.2 6.4V9.6L2.8 11.8H13.2L11.8 9.6V6.4C11.8 4 10.6 2 8 2ZM6.6 13.8H9.4M2.2 2.2L13.8 14" {}
            }
            "silenced"
        }
    }
}

/// A button that does one thing, as a form of its own.
pub fn action(frame: &Frame, href: &str, label: &str, class: &str) -> Markup {
    html! {
        form.inline method="post" action=(href) { (csrf(frame)) button class=(class) type="submit" { (label) } }
    }
}

/// A button that cannot be taken back: it opens the consequence, and the second button does it. A thumb that
/// slips opens nothing but words, also without JavaScript.
pub fn confirmed(frame: &Frame, href: &str, label: &str, name: &str, consequence: &str) -> Markup {
    html! {
        details.confirm {
            summary.button.danger {
                span.closed { (label) span.sr { " " (name) } }
                span.opened { "Cancel" }
            }
            form method="post" action=(href) {
                (csrf(frame))
                p { (consequence) }
                button.danger type="submit" { (label) " " (name) }
            }
        }
    }
}

/// What every form that changes something carries: proof that it is from this session.
pub fn csrf(frame: &Frame) -> Markup {
    html! {
        @if let Some(viewer) = &frame.viewer { input type="hidden" name="csrf" value=(viewer.csrf); }
    }
}
