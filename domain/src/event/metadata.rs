//! An entry's metadata: who, why and in answer to what (FORMAT §2).
//!
//! Invariants: it holds ids and codes only, never a network address, a name or free text; the free text of a
//! reason stands sealed in the payload (`reason_text`). Members that are not known are passed over.
//! Not here: the metadata of readings, which is empty or says only how they came (`reading`, the sequencer).

use crate::canonical::{Canonical, CanonicalError};
use crate::hash::Hash;
use crate::position::Position;
use crate::rejection::Rejection;
use crate::time::Timestamp;
use serde::{Deserialize, Serialize};

/// Most characters of a reason's free text.
pub const REASON_TEXT_MAX: usize = 1_000;
/// The reason of a change for which none was given.
pub const REASON_NOT_GIVEN: &str = "not_given";

/// Why something was changed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reason {
    /// `[a-z_]{1,32}`.
    pub code: String,
    /// In words, for a person; sealed before it is written.
    pub text: Option<String>,
}

impl Reason {
    /// A reason without words.
    pub fn code(code: &str) -> Self {
        Self {
            code: code.to_owned(),
            text: None,
        }
    }

    /// Checks code and text.
    ///
    /// # Errors
    /// `invalid_reason`.
    pub fn check(&self) -> Result<(), Rejection> {
        if !crate::entry::is_type(&self.code) {
            return Err(Rejection::invalid(
                "invalid_reason",
                "a reason's code is 1 to 32 lower-case letters and underscores",
            ));
        }
        let long = self
            .text
            .as_ref()
            .is_some_and(|t| t.chars().count() > REASON_TEXT_MAX);
        if long {
            return Err(Rejection::invalid(
                "invalid_reason",
                format!("a reason's text has at most {REASON_TEXT_MAX} characters"),
            ));
        }
        Ok(())
    }
}

/// The code of a reason as it stands in metadata.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReasonCode {
    /// `[a-z_]{1,32}`.
    pub code: String,
}

/// The position of the entry that caused this one.
pub type Causation = Position;

/// Which entry of the ledger that this one continues was carried over as this entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct CarriedOver {
    /// Its leaf hash there.
    pub leaf_hash: Hash,
    /// Its position there.
    pub position: Position,
    /// When it was recorded first: there, or where that one had carried it over itself, as it says.
    pub recorded_at: Timestamp,
}

/// Metadata, as it stands in an entry. Absent members are left out.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Metadata {
    /// The account that the entry belongs to.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub account: Option<String>,
    /// `usr_…`, `device:<id>`, `integration:<id>` or `system:<component>`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub actor: Option<String>,
    /// How the actor proved who they are: `token`, `session`, `system`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub auth: Option<String>,
    /// The entry of another ledger that was carried over as this one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub carried_over: Option<CarriedOver>,
    /// The entry that caused this one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub causation_id: Option<Causation>,
    /// SHA-256 of token id and idempotency key.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub idempotency: Option<String>,
    /// Whose act it is, where another recorded it: of what was carried over, who did it then.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub on_behalf_of: Option<String>,
    /// The device, site or account that the stream is about; in a stream's first entry.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub owner: Option<String>,
    /// Why.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<ReasonCode>,
    /// SHA-256 of the request's body.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub request_hash: Option<String>,
    /// The request.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub request_id: Option<String>,
    /// The id of the token that was shown.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub token: Option<String>,
}

impl Metadata {
    /// Who did it: the actor, or on whose behalf it was recorded.
    pub fn author(self) -> Option<String> {
        self.on_behalf_of.or(self.actor)
    }

    /// The canonical bytes.
    ///
    /// # Errors
    /// [`CanonicalError`]; only for positions beyond 2^53−1.
    pub fn write(&self) -> Result<Canonical, CanonicalError> {
        Canonical::from_serialize(self)
    }

    /// Reads metadata; members that are not known are passed over.
    ///
    /// # Errors
    /// In words, where a known member has another type.
    pub fn read(bytes: &[u8]) -> Result<Self, String> {
        serde_json::from_slice(bytes).map_err(|e| e.to_string())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn absent_members_are_left_out_and_unknown_ones_passed_over() {
        let metadata = Metadata {
            account: Some("acc_a".into()),
            actor: Some("system:setup".into()),
            causation_id: Some(Position(7)),
            reason: Some(ReasonCode { code: "setup".into() }),
            ..Metadata::default()
        };
        let bytes = metadata.write().expect("canonical");
        let text = r#"{"account":"acc_a","actor":"system:setup","causation_id":7,"reason":{"code":"setup"}}"#;
        assert_eq!(bytes.as_bytes(), text.as_bytes());
        assert_eq!(Metadata::read(text.as_bytes()), Ok(metadata));
        let more = r#"{"account":"acc_a","on_behalf_of":"usr_b","reason":{"code":"x","more":1}}"#;
        assert_eq!(
            Metadata::read(more.as_bytes()).map(|m| m.account),
            Ok(Some("acc_a".into()))
        );
        assert!(Metadata::read(br#"{"account":1}"#).is_err());
    }

    #[test]
    fn reasons_are_codes_with_a_text_of_bounded_length() {
        assert_eq!(Reason::code("not_given").check(), Ok(()));
        assert!(Reason::code("Not given").check().is_err());
        assert!(Reason::code("").check().is_err());
        let long = Reason {
            code: "x".into(),
            text: Some("ä".repeat(1001)),
        };
        assert_eq!(long.check().map_err(|r| r.code), Err("invalid_reason"));
        let fits = Reason {
            code: "x".into(),
            text: Some("ä".repeat(1000)),
        };
        assert_eq!(fits.check(), Ok(()));
    }
}
