//! The on-call order as a picture: a lane a contact, from the minute at which it is told to the acknowledgement.
//!
//! Invariants: minutes stand in order and apart, not to scale, since ten minutes and a day are in one picture; who is
//! told nothing now has an empty lane; the picture says in words what it shows.
//! Not here: hours and scope beyond their words.

use domain::aggregate::contact::ContactState;
use maud::{Markup, html};

use super::super::marks;
use super::super::words;
use super::list::duty_words;
use super::view::ContactRow;

/// A drawing's measures, in its own units.
struct Measures {
    width: f64,
    /// Where lanes begin; names stand left of it, or above them where it is 0.
    left: f64,
    lane: f64,
    /// Characters of a name and what follows it.
    text_max: usize,
}

const WIDE: Measures = Measures {
    width: 1040.0,
    left: 330.0,
    lane: 34.0,
    text_max: 46,
};
const NARROW: Measures = Measures {
    width: 350.0,
    left: 0.0,
    lane: 46.0,
    text_max: 46,
};
const MINUTE_US: i64 = 60_000_000;
const TOP: f64 = 30.0;
const EDGE: f64 = 10.0;
const BAR: f64 = 12.0;

/// The picture, for both widths; nothing where there is no contact.
pub fn picture(contacts: &[ContactRow]) -> Markup {
    let mut lanes: Vec<&ContactRow> = contacts.iter().collect();
    lanes.sort_by(|a, b| {
        let key = |row: &ContactRow| (row.preferences.after_min, row.state != ContactState::Active);
        key(a).cmp(&key(b)).then_with(|| a.name.cmp(&b.name))
    });
    let mut minutes: Vec<u32> = lanes.iter().map(|row| row.preferences.after_min).collect();
    minutes.dedup();
    if lanes.is_empty() {
        return html! {};
    }
    html! {
        figure.chart-box.ladder {
            div.only-wide { (drawing(&lanes, &minutes, &WIDE)) }
            div.only-narrow { (drawing(&lanes, &minutes, &NARROW)) }
            figcaption {
                span.legend {
                    span.key.k-told { "told, until somebody acknowledges" }
                    @if lanes.iter().any(|row| row.state != ContactState::Active) {
                        span.key.k-untold { "told nothing now" }
                    }
                }
            }
        }
    }
}

/// When a contact is told.
pub fn when(after_min: u32) -> String {
    match after_min {
        0 => "at once".to_owned(),
        minutes => format!("after {}", words::span(i64::from(minutes) * MINUTE_US)),
    }
}

/// As [`when`], in as few words as a narrow drawing has room for.
fn step_words(after_min: u32, m: &Measures) -> String {
    let when = when(after_min);
    match when.strip_prefix("after ") {
        Some(short) if m.left == 0.0 => short.to_owned(),
        _ => when,
    }
}

fn drawing(lanes: &[&ContactRow], minutes: &[u32], m: &Measures) -> Markup {
    let left = m.left + EDGE;
    let step = (m.width - left - EDGE) / minutes.len() as f64;
    let x = |after: u32| left + step * minutes.iter().position(|m| *m == after).unwrap_or(0) as f64;
    let height = TOP + m.lane * lanes.len() as f64 + 4.0;
    let title = lanes
        .iter()
        .map(|row| {
            let nothing = if row.state == ContactState::Active {
                ""
            } else {
                " (told nothing now)"
            };
            format!("{}: {}{nothing}", row.name, when(row.preferences.after_min))
        })
        .collect::<Vec<_>>()
        .join("; ");
    html! {
        svg.chart viewBox={ "0 0 " (m.width) " " (height) } role="img" aria-label={ "Who is told when. " (title) } {
            @for after in minutes {
                path.c-grid.major d={ "M" (x(*after)) " 22V" (height) } {}
                text.c-text.major x=(x(*after)) y="14" { (words::capitalised(&step_words(*after, m))) }
            }
            @for (i, row) in lanes.iter().enumerate() {
                (lane(row, x(row.preferences.after_min), TOP + m.lane * i as f64, m))
            }
        }
    }
}

fn lane(row: &ContactRow, x: f64, top: f64, m: &Measures) -> Markup {
    let above = m.left == 0.0;
    let middle = top + if above { m.lane - BAR } else { m.lane / 2.0 };
    let (mark, word) = marks::of_contact(row.kind, row.state);
    let told = row.state == ContactState::Active;
    let mut more = vec![marks::way(row.kind).to_owned()];
    if !told {
        more.push(word.to_owned());
    }
    more.extend(duty_words(&row.preferences));
    let name: String = row.name.chars().take(m.text_max / 2).collect();
    let room = m.text_max.saturating_sub(name.chars().count());
    let more = more.join(", ");
    let shown: String = more.chars().take(room).collect();
    let cut = if shown.len() < more.len() { "…" } else { "" };
    html! {
        g class={ "lane " (marks::class(mark)) } {
            title { (row.name) ", " (more) ": " (when(row.preferences.after_min)) }
            text.l-name x=(EDGE) y=(if above { top + 20.0 } else { middle + 4.0 }) {
                (name) tspan.l-more dx="6" { (shown) (cut) }
            }
            @if told {
                rect.l-told x=(x) y=(middle - BAR / 2.0) width=(m.width - EDGE - x) height=(BAR) rx="6" {}
                circle.l-at cx=(x) cy=(middle) r="7" {}
            } @else {
                rect.l-untold x=(x) y=(middle - BAR / 2.0) width=(m.width - EDGE - x) height=(BAR) rx="6" {}
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::sample;
    use super::*;

    #[test]
    fn who_is_told_first_stands_first_and_who_is_told_later_begins_further_right() {
        let html = picture(&sample::contacts().contacts).into_string();
        let wide = html.split("only-narrow").next().unwrap_or("");
        let starts: Vec<f64> = wide
            .split("<rect class=\"l-")
            .skip(1)
            .filter_map(|part| part.split(" x=\"").nth(1)?.split('"').next()?.parse().ok())
            .collect();
        assert!(starts.len() > 2, "{html}");
        assert!(starts.is_sorted() && starts.first() < starts.last(), "{starts:?}");
        assert!(
            html.contains("After 10\u{a0}min") && html.contains("At once"),
            "{html}"
        );
        assert!(picture(&[]).into_string().is_empty());
    }
}
