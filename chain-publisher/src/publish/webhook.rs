//! A head as a signed POST (Standard Webhooks).
//!
//! The body is `{"type": "head.published", "timestamp", "data": {"origin", "date", "size", "head"}}`, `head` being the
//! whole tlog-proof file, and `consistency` beside it where there is a head before. The id is the same for the same day, so that a receiver knows a repetition.
//! Invariants: the secret is in no error.
//! Source: Standard Webhooks 1.0: `webhook-id`, `webhook-timestamp`, `webhook-signature: v1,<base64 HMAC-SHA256>` over
//! `<id>.<timestamp>.<body>`.
//! Not here: sending it (`api`), other events.

use super::Publication;
use base64::{Engine, engine::general_purpose::STANDARD};
use domain::Timestamp;
use domain::hash::{base64url, sha256};
use hmac::{Hmac, Mac};
use sha2::Sha256;
use zeroize::Zeroizing;

/// What a secret begins with, as it is handed over.
const SECRET_PREFIX: &str = "whsec_";
/// Fewest and most bytes of a secret (Standard Webhooks).
const SECRET_BYTES: std::ops::RangeInclusive<usize> = 24..=64;

/// The key that deliveries are signed with.
pub struct WebhookSecret(Zeroizing<Vec<u8>>);

impl WebhookSecret {
    /// Reads `whsec_<base64 of 24 to 64 bytes>`.
    ///
    /// # Errors
    /// In words, without the secret.
    pub fn parse(text: &str) -> Result<Self, String> {
        let encoded = text
            .trim()
            .strip_prefix(SECRET_PREFIX)
            .ok_or_else(|| format!("a webhook's secret begins with {SECRET_PREFIX}"))?;
        let bytes = STANDARD
            .decode(encoded)
            .map_err(|_| "a webhook's secret is base64 behind its prefix")?;
        if !SECRET_BYTES.contains(&bytes.len()) {
            return Err("a webhook's secret has 24 to 64 bytes".to_owned());
        }
        Ok(Self(Zeroizing::new(bytes)))
    }

    /// The signature of a delivery.
    pub fn sign(&self, id: &str, timestamp_s: u64, body: &[u8]) -> String {
        let mut mac = Hmac::<Sha256>::new_from_slice(&self.0).expect("any length is a key");
        mac.update(format!("{id}.{timestamp_s}.").as_bytes());
        mac.update(body);
        format!("v1,{}", STANDARD.encode(mac.finalize().into_bytes()))
    }
}

/// A delivery: what is sent, and the headers that say from whom.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Delivery {
    /// The headers, `content-type` among them.
    pub headers: Vec<(&'static str, String)>,
    /// The body.
    pub body: Vec<u8>,
}

/// The delivery of a head.
pub fn delivery(publication: &Publication<'_>, secret: &WebhookSecret) -> Delivery {
    let named = format!("{}\n{}", publication.origin, publication.date);
    let id = format!("head_{}", base64url(&sha256(named.as_bytes()).0[..16]));
    let at = Timestamp::from_micros(publication.now_s as i64 * 1_000_000).unwrap_or_default();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let mut data = serde_json::json!({
        "origin": publication.origin,
        "date": publication.date,
        "size": publication.size,
        "head": text(publication.head),
    });
    if let Some(body) = publication.consistency {
        data["consistency"] = text(body).into();
    }
    let body = serde_json::json!({
        "type": "head.published",
        "timestamp": at.to_string(),
        "data": data,
    });
    let body = body.to_string().into_bytes();
    let signature = secret.sign(&id, publication.now_s, &body);
    Delivery {
        headers: vec![
            ("content-type", "application/json".to_owned()),
            ("webhook-id", id),
            ("webhook-timestamp", publication.now_s.to_string()),
            ("webhook-signature", signature),
        ],
        body,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_delivery_is_signed_as_the_specification_shows() {
        // The example of Standard Webhooks' own libraries.
        let secret = WebhookSecret::parse("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw").expect("a secret");
        assert_eq!(
            secret.sign(
                "msg_p5jXN8AQM9LWM0D4loKWxJek",
                1_614_265_330,
                br#"{"test": 2432232314}"#
            ),
            "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="
        );
    }

    #[test]
    fn what_is_no_secret_is_refused_without_being_said_again() {
        for text in [
            "",
            "whsec_",
            "whsec_c2hvcnQ=",
            "MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",
            "whsec_!!!!",
        ] {
            let error = WebhookSecret::parse(text).err().expect("refused");
            assert!(!error.contains("c2hv") && !error.contains("MfKQ"), "{error}");
        }
    }
}
