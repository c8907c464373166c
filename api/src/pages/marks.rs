//! The states of telling: of a contact, of an attempt, of a way. A shape, a word and a colour for each.
//!
//! Invariant: two states that a person must tell apart differ in shape and in word, not in colour alone.
//! Not here: the states of channels (`parts`).

use domain::aggregate::contact::ContactState;
use domain::event::contact::ContactKind;
use maud::{Markup, html};

/// How something stands, by what it asks of somebody.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mark {
    /// It works, or was taken.
    Done,
    /// It waits for somebody, or for its time.
    Waits,
    /// It failed, and is tried again.
    Again,
    /// It failed for good.
    Failed,
    /// It came back: the address refuses.
    Bounced,
    /// Somebody does not want it.
    Declined,
    /// Nothing was sent, on purpose.
    Held,
    /// It went out together with others.
    Gathered,
    /// It is gone.
    Gone,
    /// Nothing is known of it yet.
    Unknown,
}

impl Mark {
    const fn class(self) -> &'static str {
        match self {
            Self::Done | Self::Gathered => "st-inside",
            Self::Waits | Self::Again => "st-grace",
            Self::Failed | Self::Bounced => "st-alarm",
            Self::Declined => "st-silent",
            Self::Held | Self::Gone | Self::Unknown => "st-nodata",
        }
    }
}

/// Shape and word.
pub fn badge(mark: Mark, word: &str) -> Markup {
    html! { span class={ "badge " (mark.class()) } { (shape(mark)) (word) } }
}

/// The class that gives a thing its mark's colour.
pub const fn class(mark: Mark) -> &'static str {
    mark.class()
}

fn shape(mark: Mark) -> Markup {
    html! {
        svg.glyph viewBox="0 0 16 16" aria-hidden="true" {
            @match mark {
                Mark::Done => { path.g-line d="M2.2 8.6L6.2 12.6L13.8 3.8" {} }
                Mark::Waits => {
                    circle.g-line cx="8" cy="8" r="6" {}
                    path.g-line d="M8 4.6V8L10.4 9.6" {}
                }
                Mark::Again => { path.g-line d="M13.4 8A5.4 5.4 0 1 1 11.6 4M11.8 1.2V4.4H8.6" {} }
                Mark::Failed => { path.g-line d="M3.2 3.2L12.8 12.8M12.8 3.2L3.2 12.8" {} }
                Mark::Bounced => { path.g-line d="M14.2 3.4V9.4H2.4M6 5.8L2.2 9.4L6 13" {} }
                Mark::Declined => {
                    circle.g-line cx="8" cy="8" r="6" {}
                    path.g-line d="M3.8 12.2L12.2 3.8" {}
                }
                Mark::Held => { path.g-line d="M5.4 3.2V12.8M10.6 3.2V12.8" {} }
                Mark::Gathered => { path.g-line d="M2.4 4H13.6M2.4 8H13.6M2.4 12H9" {} }
                Mark::Gone => { path.g-line d="M2.6 8H13.4" {} }
                Mark::Unknown => { circle.g-dash cx="8" cy="8" r="6" {} }
            }
        }
    }
}

/// A contact's state, as it is called for its kind.
pub const fn of_contact(kind: ContactKind, state: ContactState) -> (Mark, &'static str) {
    match (state, kind) {
        (ContactState::Pending, ContactKind::Telegram) => (Mark::Waits, "waits to be linked"),
        (ContactState::Pending, _) => (Mark::Waits, "waits to be confirmed"),
        (ContactState::Active, ContactKind::Email) => (Mark::Done, "confirmed"),
        (ContactState::Active, ContactKind::Telegram) => (Mark::Done, "linked"),
        (ContactState::Active, ContactKind::Webhook) => (Mark::Done, "in use"),
        (ContactState::Bouncing, _) => (Mark::Bounced, "bouncing"),
        (ContactState::Unsubscribed, _) => (Mark::Declined, "unsubscribed"),
        (ContactState::Removed, _) => (Mark::Gone, "removed"),
    }
}

/// By which way, in a word.
pub const fn way(kind: ContactKind) -> &'static str {
    match kind {
        ContactKind::Email => "E-mail",
        ContactKind::Telegram => "Telegram",
        ContactKind::Webhook => "Webhook",
    }
}

/// The shape of a way: an envelope, a sheet that flies, an arrow into a bracket.
pub fn way_shape(kind: ContactKind) -> Markup {
    html! {
        svg.glyph.way viewBox="0 0 16 16" aria-hidden="true" {
            @match kind {
                ContactKind::Email => { path.g-line d="M1.8 3.6H14.2V12.4H1.8ZM2 4L8 9L14 4" {} }
                ContactKind::Telegram => { path.g-line d="M1.6 7.6L14.2 2.4L11.6 13.4L7.4 10.2L14.2 2.4M7.4 10.2L5.6 13.2L5.2 9" {} }
                ContactKind::Webhook => { path.g-line d="M1.6 8H10.4M7.2 4.8L10.4 8L7.2 11.2M10.6 2.6H13.8V13.4H10.6" {} }
            }
        }
    }
}
