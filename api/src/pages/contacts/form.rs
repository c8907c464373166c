//! What may be typed about a contact: read from a form, made into preferences, shown again.
//!
//! Invariants: what is shown again is what was typed; sites, devices and channels of a scope that the form does not
//! offer stay in it; a field that means nothing for a kind is not shown for it.
//! Not here: what is allowed (`domain::aggregate::contact`).

use domain::aggregate::contact::WEBHOOK_KINDS;
use domain::event::contact::{ContactKind, Hours, MildestSeverity, Preferences, SiteHours};
use domain::rule::Severity;
use maud::{Markup, html};

use super::super::outbound::view::what_words;
use super::super::parts::{self, Field, Span};
use super::super::words;
use super::view::Choices;
use crate::errors::ApiError;

/// On duty while the site is open.
const OPEN: &str = "open";
/// On duty while the site is closed.
const CLOSED: &str = "closed";

/// What was typed.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Typed {
    /// By which way: `email`, `telegram`, `webhook`.
    pub kind: String,
    /// Name.
    pub name: String,
    /// Mailbox or URL.
    pub address: String,
    /// Whose it is, `usr_…`.
    pub person: String,
    /// Minutes after which it is told.
    pub after_min: String,
    /// The mildest severity.
    pub severity: String,
    /// Ids of sites, devices, channels.
    pub scope: Vec<String>,
    /// `always`, `within`, `outside`.
    pub hours: String,
    /// Which, for `within` and `outside`.
    pub span: Span,
    /// One message a day.
    pub daily_digest: bool,
    /// Trials.
    pub challenge: bool,
    /// What a webhook gets.
    pub kinds: Vec<String>,
    /// The reference product's headers.
    pub reference_headers: bool,
    /// What was wrong with it.
    pub error: Option<String>,
}

impl Typed {
    /// The form of a new contact before anything was typed.
    pub fn empty() -> Self {
        Self {
            kind: ContactKind::Email.as_str().to_owned(),
            ..Self::of(&Preferences::default())
        }
    }

    /// As a contact is now.
    pub fn of(preferences: &Preferences) -> Self {
        let hours = preferences.hours.as_ref();
        Self {
            after_min: preferences.after_min.to_string(),
            severity: preferences.min_severity.0.as_str().to_owned(),
            scope: preferences.scope.clone(),
            hours: match (hours, preferences.site_hours) {
                (Some(hours), _) if hours.outside => "outside",
                (Some(_), _) => "within",
                (None, Some(SiteHours::Open)) => OPEN,
                (None, Some(SiteHours::Closed)) => CLOSED,
                (None, None) => "always",
            }
            .to_owned(),
            span: hours.map_or_else(Span::office, |hours| {
                Span::of(&hours.days, &hours.from, &hours.to)
            }),
            daily_digest: preferences.daily_digest,
            challenge: preferences.challenge,
            kinds: preferences.kinds.clone(),
            reference_headers: preferences.reference_headers,
            ..Self::default()
        }
    }

    /// From the fields of a form.
    pub fn read(fields: &[(String, String)]) -> Self {
        let one = |name: &str| {
            let found = fields.iter().find(|(n, _)| n == name);
            found.map_or_else(String::new, |(_, value)| value.trim().to_owned())
        };
        let all = |name: &str| {
            let of = fields.iter().filter(|(n, _)| n == name);
            of.map(|(_, value)| value.trim().to_owned()).collect()
        };
        Self {
            kind: one("kind"),
            name: one("name"),
            address: one("address"),
            person: one("user_id"),
            after_min: one("after_min"),
            severity: one("min_severity"),
            scope: all("scope"),
            hours: one("hours"),
            span: Span::read(fields, ""),
            daily_digest: !one("daily_digest").is_empty(),
            challenge: !one("challenge").is_empty(),
            kinds: all("kinds"),
            reference_headers: !one("reference_headers").is_empty(),
            error: None,
        }
    }

    /// What it means.
    ///
    /// # Errors
    /// 422, naming the field.
    pub fn preferences(&self) -> Result<Preferences, ApiError> {
        let invalid = |words: &'static str| ApiError::rejected("invalid_preferences", words);
        let after_min = match self.after_min.as_str() {
            "" => 0,
            text => text.parse().map_err(|_| {
                invalid("the minutes after which it is told must be a whole number, such as 10")
            })?,
        };
        let severity = match self.severity.as_str() {
            "" => Severity::Warn,
            text => Severity::parse(text).ok_or_else(|| invalid("choose alarms, or alarms and warnings"))?,
        };
        let hours = match self.hours.as_str() {
            "" | "always" | OPEN | CLOSED => None,
            "within" | "outside" => Some(self.on_duty()?),
            _ => return Err(invalid("choose when it is on duty")),
        };
        let site_hours = match self.hours.as_str() {
            OPEN => Some(SiteHours::Open),
            CLOSED => Some(SiteHours::Closed),
            _ => None,
        };
        Ok(Preferences {
            after_min,
            challenge: self.challenge,
            daily_digest: self.daily_digest,
            hours,
            kinds: self.kinds.clone(),
            min_severity: MildestSeverity(severity),
            reference_headers: self.reference_headers,
            scope: self.scope.clone(),
            site_hours,
        })
    }

    fn on_duty(&self) -> Result<Hours, ApiError> {
        let invalid = |words: &'static str| ApiError::rejected("invalid_preferences", words);
        let days = self.span.days().filter(|days| !days.is_empty()).ok_or_else(|| {
            invalid("choose at least one day of the week, or that it is on duty at any time")
        })?;
        Ok(Hours {
            days,
            from: self.span.from.clone(),
            to: self.span.to.clone(),
            outside: self.hours == "outside",
        })
    }
}

/// Which fields a form shows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fields {
    /// Those of every kind; the style sheet hides what the chosen one has not.
    Any,
    /// Those of a kind.
    Of(ContactKind),
}

impl Fields {
    fn people(self) -> bool {
        self != Self::Of(ContactKind::Webhook)
    }

    fn webhook(self) -> bool {
        matches!(self, Self::Any | Self::Of(ContactKind::Webhook))
    }
}

/// The fields of what a contact is told. `form` tells the ids of several forms on a page apart; `kept` are names of ids
/// in its scope that are no sites.
pub fn preferences(
    typed: &Typed,
    choices: &Choices,
    kept: &[(String, String)],
    fields: Fields,
    form: &str,
    challenge_days: u32,
) -> Markup {
    let id = |name: &str| format!("f-{form}{name}");
    let radio = |name: &str, value: &str, chosen: &str, label: &str| {
        html! { label.choice { input type="radio" name=(name) value=(value) checked[value == chosen]; (label) } }
    };
    html! {
        @if !choices.sites.is_empty() || !kept.is_empty() {
            fieldset.choices {
                legend { "Of where?" }
                p.hint { "Of everywhere, if nothing is chosen." }
                div.choices.row {
                    @for site in &choices.sites {
                        (parts::check("scope", &site.id, typed.scope.contains(&site.id), html! { (site.name) }))
                    }
                    @for (id, name) in kept.iter().filter(|(id, _)| !choices.sites.iter().any(|site| site.id == *id)) {
                        (parts::check("scope", id, typed.scope.contains(id), html! { (name) }))
                    }
                }
            }
        }
        fieldset.choices.row {
            legend { "Of what?" }
            (radio("min_severity", "warn", &typed.severity, "Alarms and warnings"))
            (radio("min_severity", "alarm", &typed.severity, "Alarms only"))
        }
        div.field {
            label for=(id("after_min")) { "Minutes until it is told" }
            input.short id=(id("after_min")) name="after_min" inputmode="numeric" value=(typed.after_min)
                autocomplete="off" aria-describedby=(id("after_min-hint"));
            p.hint id=(id("after_min-hint")) {
                "0 is at once; 10 is after ten minutes, if nobody acknowledged until then. At most a day."
            }
        }
        @if fields.people() {
            fieldset.choices.for-person {
                legend { "On duty" }
                div.choices.row {
                    (radio("hours", "always", &typed.hours, "At any time"))
                    (radio("hours", "within", &typed.hours, "In these hours"))
                    (radio("hours", "outside", &typed.hours, "Outside of these hours"))
                    (radio("hours", OPEN, &typed.hours, "While the site is open"))
                    (radio("hours", CLOSED, &typed.hours, "While the site is closed"))
                }
                div.hours {
                    (parts::hours("", &id(""), &typed.span))
                    p.hint { "In the site's time zone. Off duty it is left in peace as long as somebody else is told." }
                }
            }
            fieldset.choices.for-person {
                legend { "Besides" }
                (parts::check("daily_digest", "yes", typed.daily_digest, html! { strong { "Daily digest" }
                    span.dim { "One message a day: what happened, and the day's head." } }))
                (parts::check("challenge", "yes", typed.challenge, html! { strong { "Challenge" }
                    span.dim {
                        @match challenge_days {
                            0 => { "A marked trial that asks to be acknowledged. This service is set to send none." }
                            days => { "Every " (words::plural(u64::from(days), "day", "days")) " a marked trial, which asks to be acknowledged." }
                        }
                    } }))
            }
        }
        @if fields.webhook() {
            fieldset.choices.for-webhook {
                legend { "What it gets" }
                p.hint { "Everything, if nothing is chosen." }
                div.choices.row {
                    @for kind in WEBHOOK_KINDS {
                        (parts::check("kinds", kind, typed.kinds.iter().any(|k| k == kind), html! { (words::capitalised(what_words(kind))) }))
                    }
                }
                (parts::check("reference_headers", "yes", typed.reference_headers, html! { strong { "X-OpenSense headers as well" }
                    span.dim { "For a receiver that was written for them." } }))
            }
        }
    }
}

/// Name, way and address of a new contact.
pub fn who(typed: &Typed, choices: &Choices) -> Markup {
    const WAYS: [(ContactKind, &str, &str); 3] = [
        (
            ContactKind::Email,
            "Mailbox",
            "Its owner is asked to confirm before anything else is sent.",
        ),
        (
            ContactKind::Telegram,
            "Telegram chat or group",
            "Linked by a code that is sent to the bot.",
        ),
        (
            ContactKind::Webhook,
            "Webhook",
            "A system of yours gets a signed POST.",
        ),
    ];
    html! {
        fieldset.choices {
            legend { "Who is it?" }
            @for (kind, name, hint) in WAYS {
                label.choice {
                    input type="radio" name="kind" value=(kind.as_str()) checked[typed.kind == kind.as_str()];
                    span { strong { (name) } span.dim { (hint) } }
                }
            }
        }
        (parts::field(&Field { name: "name", form: "new-", label: "Name", value: &typed.name, required: true,
            hint: "Such as: Jana, night shift, kitchen group.", ..Field::default() }))
        // Not `required`: a browser would wait for it where it is not shown.
        div.field.for-address {
            label for="f-new-address" { "Address" }
            input id="f-new-address" name="address" value=(typed.address) autocomplete="off" autocapitalize="none"
                spellcheck="false" aria-describedby="f-new-address-hint";
            p.hint #f-new-address-hint { "An e-mail address, or a webhook's URL." }
        }
        @if !choices.people.is_empty() {
            div.field.for-person {
                label for="f-new-user_id" { "Whose is it?" span.dim { " (optional)" } }
                select id="f-new-user_id" name="user_id" aria-describedby="f-new-user_id-hint" {
                    option value="" { "Nobody's in particular" }
                    @for (id, name) in &choices.people { option value=(id) selected[*id == typed.person] { (name) } }
                }
                p.hint #f-new-user_id-hint { "Who acknowledges from a message to their own mailbox is recorded by name." }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fields(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
        pairs
            .iter()
            .map(|(n, v)| ((*n).to_owned(), (*v).to_owned()))
            .collect()
    }

    #[test]
    fn what_a_contact_is_told_survives_its_form() {
        let preferences = Preferences {
            after_min: 10,
            challenge: true,
            daily_digest: true,
            hours: Some(Hours {
                days: vec![1, 6],
                from: "22:00".into(),
                to: "06:00".into(),
                outside: true,
            }),
            kinds: vec!["alarm_opened".into()],
            min_severity: MildestSeverity(Severity::Alarm),
            reference_headers: true,
            scope: vec!["dev_a".into(), "site_b".into()],
            site_hours: None,
        };
        assert_eq!(Typed::of(&preferences).preferences().ok(), Some(preferences));
        for site_hours in [SiteHours::Open, SiteHours::Closed] {
            let of_the_site = Preferences {
                site_hours: Some(site_hours),
                ..Preferences::default()
            };
            assert_eq!(Typed::of(&of_the_site).preferences().ok(), Some(of_the_site));
        }
        let nothing = Preferences::default();
        assert_eq!(Typed::of(&nothing).preferences().ok(), Some(nothing));
    }

    #[test]
    fn what_means_nothing_is_refused_in_words() {
        for (pairs, said) in [
            (vec![("after_min", "soon")], "whole number"),
            (vec![("after_min", "-1")], "whole number"),
            (vec![("min_severity", "mild")], "choose alarms"),
            (vec![("hours", "within")], "at least one day"),
            (vec![("hours", "within"), ("days", "8")], "at least one day"),
            (vec![("hours", "now and then")], "on duty"),
        ] {
            let refused = Typed::read(&fields(&pairs))
                .preferences()
                .map_err(|e| e.message.into_owned());
            assert!(
                refused.as_ref().is_err_and(|m| m.contains(said)),
                "{pairs:?}: {refused:?}"
            );
        }
    }
}
