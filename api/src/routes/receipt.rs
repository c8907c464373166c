//! Receipts: what we signed about a request, so that its sender can hold us to it.
//!
//! Invariants: one receipt a request, signed by the receipt key and never by the log key; it names the body by its
//! hash and each entry by position and leaf hash; the answer gives the entries' bytes, so that the sender can
//! check that they hold what it sent.
//! Source: FORMAT §7. Not here: the text, and verifying it (`chain_publisher::receipt`).

use crate::app::App;
use crate::errors::ApiError;
use crate::reply;
use crate::request::Request;
use crate::router::Answer;
pub use chain_publisher::receipt::Receipt;
use chain_publisher::receipt::{Became, ReceiptEntry, ReceiptText};
use commands::ingest::pipeline::Taken;
use domain::note::Note;
use domain::{Hash, Timestamp};
use warp::http::{HeaderMap, HeaderName};

/// RFC 7240 §3.
pub const PREFERENCE_APPLIED: HeaderName = HeaderName::from_static("preference-applied");
/// Whether the client prefers a receipt (`Prefer: return=receipt`).
pub fn is_asked_for(headers: &HeaderMap) -> bool {
    headers
        .get_all("prefer")
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split([',', ';']))
        .any(|preference| preference.trim().eq_ignore_ascii_case("return=receipt"))
}

/// The receipt of a request that was taken.
///
/// # Errors
/// 500 where it cannot be signed; the readings are recorded all the same.
pub fn of_taken(
    app: &App,
    taken: &Taken,
    body_sha256: Hash,
    received_at: Timestamp,
) -> Result<Receipt, ApiError> {
    let at = taken.recorded_at.unwrap_or(received_at);
    let mut text = text(app, Became::Recorded, body_sha256, at);
    let named = taken
        .entries
        .iter()
        .map(|entry| (entry.position, entry.leaf_hash));
    text.entries.extend(named);
    let entries = taken.entries.iter().map(|entry| ReceiptEntry {
        position: entry.position,
        leaf_hash: entry.leaf_hash,
        entry: String::from_utf8_lossy(&entry.bytes).into_owned(),
    });
    Ok(Receipt {
        note: sign(app, &text)?,
        entries: entries.collect(),
    })
}

/// The answer to a refused request, with a receipt that says so.
///
/// # Errors
/// The refusal itself where it cannot be signed.
pub fn of_refused(
    app: &App,
    error: ApiError,
    body_sha256: Hash,
    received_at: Timestamp,
    request: &Request,
) -> Answer {
    let became = Became::Refused(error.code.to_string());
    let text = text(app, became, body_sha256, received_at);
    let Ok(note) = sign(app, &text) else {
        return Err(error);
    };
    let receipt = serde_json::json!({"note": note, "entries": []});
    let more = serde_json::Map::from_iter([("receipt".to_owned(), receipt)]);
    let response = error.to_response_with(&request.headers, &request.id, more);
    Ok(reply::with(response, PREFERENCE_APPLIED, "return=receipt"))
}

fn text(app: &App, became: Became, body_sha256: Hash, recorded_at: Timestamp) -> ReceiptText {
    ReceiptText {
        origin: app.origin().to_owned(),
        became,
        body_sha256,
        recorded_at,
        entries: Vec::new(),
    }
}

fn sign(app: &App, text: &ReceiptText) -> Result<String, ApiError> {
    Note::sign(&text.to_string(), &[app.receipt_signer()])
        .map(|note| note.encode())
        .map_err(ApiError::internal)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_receipt_is_asked_for_by_rfc_7240() {
        let asked = |value: &str| {
            let mut headers = HeaderMap::new();
            headers.insert("prefer", value.parse().expect("value"));
            is_asked_for(&headers)
        };
        assert!(asked("return=receipt"));
        assert!(asked("respond-async, Return=Receipt"));
        assert!(!asked("return=minimal"));
        assert!(!is_asked_for(&HeaderMap::new()));
    }
}
