//! What the sections about a channel's values show.

use domain::Timestamp;
use domain::event::Correction;
use domain::rule::Function;

use super::super::view::{Link, Series};

/// Where a channel's values come from.
#[derive(Debug, Clone, Default)]
pub struct Values {
    /// What was recorded, where it is shown otherwise.
    pub raw: Option<Series>,
    /// Calibrations, newest first.
    pub calibrations: Vec<CalibrationRow>,
    /// The form of another.
    pub calibration: CalibrationForm,
    /// Whether the channel measures nothing itself.
    pub is_derived: bool,
    /// What it is made of.
    pub made: Option<Made>,
    /// The channels that are made of it.
    pub feeds: Vec<Link>,
    /// The form of a derivation.
    pub derive: DeriveForm,
    /// The entity tag, for the forms.
    pub etag: String,
    /// The key that makes a second click harmless.
    pub idempotency_key: String,
}

/// A calibration that was set.
#[derive(Debug, Clone)]
pub struct CalibrationRow {
    /// Its entry.
    pub position: u64,
    /// When it was recorded.
    pub recorded_at: Timestamp,
    /// Of values measured from here on.
    pub valid_from: Timestamp,
    /// What it does.
    pub correction: Option<Correction>,
    /// When the next one is due: a day.
    pub due: Option<String>,
    /// Whether that day has passed, and no other followed.
    pub overdue: bool,
    /// The certificate.
    pub certificate: Option<String>,
    /// Who.
    pub actor: String,
    /// Why, where it was said.
    pub reason: Option<String>,
    /// Whether it corrects what is measured now.
    pub in_force: bool,
}

/// The form of a calibration, as it was typed.
#[derive(Debug, Clone, Default)]
pub struct CalibrationForm {
    /// `offset`, `two_point` or `none`; empty for the first.
    pub how: String,
    /// What is added.
    pub offset: String,
    /// Raw and true at the lower point, then at the higher one.
    pub points: [String; 4],
    /// From when, local; empty for now.
    pub valid_from: String,
    /// The day of the next one.
    pub due: String,
    /// The certificate.
    pub certificate: String,
    /// Why.
    pub reason: String,
    /// What is wrong with it.
    pub error: Option<String>,
}

/// How a derived channel's values are made.
#[derive(Debug, Clone)]
pub struct Made {
    /// What they are.
    pub function: Function,
    /// The channels that they are made of, in the function's order.
    pub sources: Vec<(String, Link)>,
    /// Oldest value of a source that is used, minutes.
    pub max_age_min: f64,
    /// How far back it goes, days.
    pub trailing_days: Option<u32>,
    /// Since when.
    pub since: Timestamp,
}

/// The form of a derivation, as it was typed.
#[derive(Debug, Clone, Default)]
pub struct DeriveForm {
    /// Functions that this channel can be a source of.
    pub functions: Vec<Function>,
    /// Channels that may be sources: id, name, kind.
    pub others: Vec<(String, String, String)>,
    /// The function that was chosen.
    pub function: String,
    /// The sources that were chosen, in order.
    pub sources: Vec<String>,
    /// Why.
    pub reason: String,
    /// What is wrong with it.
    pub error: Option<String>,
}
