//! Small tools that the decoders share: parsing within bounds, numbers as vendors write them, clipped texts.
//!
//! Invariants: nothing here panics; nesting is bounded by serde_json (128), size by [`FOREIGN_BYTES_MAX`].
//! Not here: the native format's parsing (`loose`), which builds no tree.

use super::decoded::{DecodeError, DropReason, RAW_CHARS_MAX};
use domain::Timestamp;
use serde_json::error::Category;
use serde_json::{Map, Value};

/// Largest foreign body that is parsed: a gateway's batch of [`super::decoded::REPORTS_MAX`] sensors has half.
pub const FOREIGN_BYTES_MAX: usize = 1 << 20;

/// The object that `body` is.
pub(super) fn object(body: &[u8]) -> Result<Map<String, Value>, DecodeError> {
    if body.len() > FOREIGN_BYTES_MAX {
        return Err(DecodeError::Malformed {
            code: "too_large",
            message: format!("the body has {} bytes, more than {FOREIGN_BYTES_MAX}", body.len()),
        });
    }
    match serde_json::from_slice(body).map_err(|e| refused(&e))? {
        Value::Object(object) => Ok(object),
        other => Err(DecodeError::Malformed {
            code: "bad_json",
            message: format!("the body must be a JSON object, not {}", what(&other)),
        }),
    }
}

/// What the parser says, with line and column, under the reference's codes.
pub(super) fn refused(error: &serde_json::Error) -> DecodeError {
    match error.classify() {
        Category::Data => invalid(error.to_string()),
        _ => DecodeError::Malformed {
            code: "bad_json",
            message: format!("not valid JSON: {error}"),
        },
    }
}

pub(super) fn invalid(message: String) -> DecodeError {
    DecodeError::Malformed {
        code: "invalid_measurement",
        message,
    }
}

pub(super) fn rejected(code: &'static str, message: impl Into<String>) -> DecodeError {
    DecodeError::Rejected {
        code,
        message: message.into(),
    }
}

/// The number in `value`, also where it is written as text.
pub(super) fn number(value: &Value) -> Result<f64, DropReason> {
    match value {
        Value::Number(n) => n.as_f64().filter(|v| v.is_finite()).ok_or(DropReason::NotANumber),
        Value::String(text) => number_in(text),
        _ => Err(DropReason::NotANumber),
    }
}

/// The number that `text` is. A template that nobody filled in is told apart from other non-numbers.
pub(super) fn number_in(text: &str) -> Result<f64, DropReason> {
    let text = text.trim();
    if text.starts_with('$') || text.contains("${") {
        return Err(DropReason::UnevaluatedToken);
    }
    let written_as_number = text
        .bytes()
        .all(|b| matches!(b, b'0'..=b'9' | b'.' | b'-' | b'+' | b'e' | b'E'));
    match text.parse::<f64>() {
        Ok(value) if written_as_number && value.is_finite() => Ok(value),
        _ => Err(DropReason::NotANumber),
    }
}

/// The instant that a device's Unix seconds, with decimals, mean.
pub(super) fn unix_seconds(seconds: f64) -> Option<Timestamp> {
    let us = (seconds * 1e6).round();
    // The cast saturates, and what is outside the calendar is no time.
    us.is_finite()
        .then_some(us as i64)
        .and_then(Timestamp::from_micros)
}

/// `value` as it was received, clipped.
pub(super) fn raw(value: &Value) -> String {
    match value {
        Value::String(text) => clip(text),
        Value::Array(_) => "[…]".to_owned(),
        Value::Object(_) => "{…}".to_owned(),
        scalar => scalar.to_string(),
    }
}

/// The first [`RAW_CHARS_MAX`] characters, control characters replaced.
pub(super) fn clip(text: &str) -> String {
    let printable = |c: char| {
        if c.is_control() {
            char::REPLACEMENT_CHARACTER
        } else {
            c
        }
    };
    text.chars().take(RAW_CHARS_MAX).map(printable).collect()
}

/// For a sentence: "must be an object, not …".
pub(super) const fn what(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "a boolean",
        Value::Number(_) => "a number",
        Value::String(_) => "a text",
        Value::Array(_) => "a list",
        Value::Object(_) => "an object",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_is_read_as_a_person_would_and_nothing_else_is_one() {
        assert_eq!(number_in(" 21.50 "), Ok(21.5));
        assert_eq!(number_in("-0.5e1"), Ok(-5.0));
        for text in [
            "nan",
            "NaN",
            "null",
            "",
            "inf",
            "-infinity",
            "err",
            "21,5",
            "0x10",
            "1_0",
            "1e999",
        ] {
            assert_eq!(number_in(text), Err(DropReason::NotANumber), "{text}");
        }
        for text in ["${ev.tC}", "$temperature", "${status[\"temperature:0\"].tC}"] {
            assert_eq!(number_in(text), Err(DropReason::UnevaluatedToken), "{text}");
        }
    }

    #[test]
    fn what_is_kept_of_a_text_is_short_and_printable() {
        assert_eq!(clip("a\u{0}b\u{1b}[31m"), "a\u{fffd}b\u{fffd}[31m");
        assert_eq!(clip(&"°".repeat(1000)).chars().count(), RAW_CHARS_MAX);
    }
}
