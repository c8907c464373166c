//! What may be typed about a site: read from a form, made into a change, shown again.
//!
//! Invariants: what is shown again is what was typed; hours of no day are none.
//! Not here: what is allowed (`domain::aggregate::site`).

use domain::aggregate::site::{OPENING_SPANS_MAX, SitePatch};
use domain::event::contact::OpeningHours;
use maud::{Markup, html};

use super::super::parts::{self, Field, Span};
use super::super::view::Frame;
use super::reason_typed;
use super::view::SitePage;
use crate::errors::ApiError;

/// Fewest hours that a form has room for: of workdays, and of Saturdays.
const SPANS_MIN: usize = 2;

/// A site's form.
#[derive(Debug, Clone, Default)]
pub struct Typed {
    name: String,
    address: String,
    vertical: String,
    timezone: String,
    reason: String,
    /// `None` of a form without room for them, which leaves them as they are.
    hours: Option<Vec<Span>>,
}

impl Typed {
    /// Of a form that nobody touched.
    fn of(view: &SitePage) -> Self {
        let span = |it: &OpeningHours| Span::of(&it.days, &it.from, &it.to);
        Self {
            name: view.site.name.clone(),
            address: view.address.clone().unwrap_or_default(),
            vertical: view.site.vertical.clone(),
            timezone: view.site.zone.name().to_owned(),
            reason: String::new(),
            hours: Some(view.opening_hours.iter().map(span).collect()),
        }
    }

    /// From the fields of a form.
    pub fn read(fields: &[(String, String)]) -> Self {
        let one = |name: &str| {
            let found = fields.iter().find(|(n, _)| n == name);
            found.map_or_else(String::new, |(_, value)| value.trim().to_owned())
        };
        // A browser sends a time also where it is empty.
        let has_room = fields.iter().any(|(n, _)| *n == format!("{}from", prefix(0)));
        let hours = (0..OPENING_SPANS_MAX).map(|i| Span::read(fields, &prefix(i)));
        Self {
            name: one("name"),
            address: one("address"),
            vertical: one("vertical"),
            timezone: one("timezone"),
            reason: one("reason"),
            hours: has_room.then(|| hours.filter(|span| *span != Span::default()).collect()),
        }
    }

    /// What it means. An empty name, field of work or zone stays as it is; an empty address is none.
    ///
    /// # Errors
    /// 422, naming the hours.
    pub fn patch(&self) -> Result<SitePatch, ApiError> {
        let some = |text: &String| Some(text.clone()).filter(|text| !text.is_empty());
        Ok(SitePatch {
            name: some(&self.name),
            vertical: some(&self.vertical),
            timezone: some(&self.timezone),
            address: Some(some(&self.address)),
            opening_hours: self.hours.as_deref().map(opening_hours).transpose()?,
        })
    }
}

/// Hours of no day are none.
fn opening_hours(spans: &[Span]) -> Result<Vec<OpeningHours>, ApiError> {
    let mut all = Vec::new();
    for span in spans.iter().filter(|span| !span.days.is_empty()) {
        let invalid = |words: &str| {
            let words = format!("opening hours {} to {}: {words}", span.from, span.to);
            ApiError::rejected("invalid_opening_hours", words)
        };
        if span.from.is_empty() || span.to.is_empty() {
            return Err(invalid("say from when until when, as in 08:00 and 18:00"));
        }
        all.push(OpeningHours {
            days: span.days().ok_or_else(|| invalid("choose days of the week"))?,
            from: span.from.clone(),
            to: span.to.clone(),
        });
    }
    Ok(all)
}

/// The names of the fields of one span begin so.
fn prefix(i: usize) -> String {
    format!("open{i}-")
}

/// The form.
pub fn form(frame: &Frame, view: &SitePage) -> Markup {
    let typed = view.typed.clone().unwrap_or_else(|| Typed::of(view));
    let hours = typed.hours.unwrap_or_default();
    let rooms = (hours.len() + 1).clamp(SPANS_MIN, OPENING_SPANS_MAX);
    html! {
        form.stack method="post" action={ "/app/sites/" (view.site.id) } {
            (parts::csrf(frame))
            input type="hidden" name="if_match" value=(view.etag);
            (parts::field(&Field { name: "name", label: "Name", value: &typed.name, required: true, ..Field::default() }))
            (parts::field(&Field { name: "address", label: "Address", value: &typed.address, ..Field::default() }))
            (parts::site_fields(&typed.vertical, &typed.timezone))
            fieldset.choices.opening {
                legend { "Opening hours" }
                p.hint {
                    "In the site's time zone; hours of no day count for nothing. Contacts can be on duty while the site is \
                     open, or while it is closed."
                }
                @for i in 0..rooms {
                    div.hours role="group" aria-label={ "Hours " (i + 1) } {
                        (parts::hours(&prefix(i), &format!("f-{}", prefix(i)), hours.get(i).unwrap_or(&Span::default())))
                    }
                }
            }
            (reason_typed("", &typed.reason))
            button.primary type="submit" { "Save" }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn typed(fields: &[(&str, &str)]) -> Typed {
        let own = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
        Typed::read(&fields.iter().map(own).collect::<Vec<_>>())
    }

    #[test]
    fn hours_are_read_by_their_rows_and_a_row_of_no_day_is_none() {
        let it = typed(&[
            ("open0-days", "5"),
            ("open0-days", "1"),
            ("open0-from", "08:00"),
            ("open0-to", "18:00"),
            ("open1-from", "09:00"),
            ("open1-to", "12:00"),
            ("open2-days", "6"),
            ("open2-from", "22:00"),
            ("open2-to", "02:00"),
        ]);
        let hours = it.patch().expect("means something").opening_hours.expect("said");
        let said: Vec<_> = hours.iter().map(|it| (&*it.days, &*it.from, &*it.to)).collect();
        assert_eq!(said, [(&[1, 5][..], "08:00", "18:00"), (&[6], "22:00", "02:00")]);
        let emptied = typed(&[("open0-from", ""), ("open0-to", "")]);
        assert_eq!(emptied.patch().expect("none").opening_hours, Some(vec![]));
        // A form without room for them does not take them away.
        assert_eq!(typed(&[]).patch().expect("nothing").opening_hours, None);
    }

    #[test]
    fn days_without_a_time_and_days_that_are_none_are_refused() {
        for (day, from, words) in [
            ("1", "", "from when until when"),
            ("8", "08:00", "days of the week"),
        ] {
            let it = typed(&[("open0-days", day), ("open0-from", from), ("open0-to", "18:00")]);
            let error = it.patch().expect_err("refused");
            assert!(error.message.contains(words), "{}", error.message);
        }
    }
}
