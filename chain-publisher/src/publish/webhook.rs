//! A head as a signed POST (Standard Webhooks).
//!
//! The body is `{"type": "head.published", "timestamp", "data": {"origin", "date", "size", "head"}}`, `head` being the
//! whole tlog-proof file. The id is the same for the same day, so that a receiver knows a repetition.
//! Invariants: redirects are not followed; an answer is read up to a limit and not looked at but for its status; the
//! secret is in no error.
//! Source: Standard Webhooks 1.0: `webhook-id`, `webhook-timestamp`, `webhook-signature: v1,<base64 HMAC-SHA256>` over
//! `<id>.<timestamp>.<body>`.
//! Not here: other events.

use super::{Channel, Publication, PublishError};
use base64::{Engine, engine::general_purpose::STANDARD};
use domain::Timestamp;
use domain::hash::{base64url, sha256};
use hmac::{Hmac, Mac};
use sha2::Sha256;
use std::time::Duration;
use zeroize::Zeroizing;

/// How long a receiver may take, in all.
const ANSWER_WITHIN: Duration = Duration::from_secs(20);
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

/// A receiver.
pub struct Webhook {
    url: String,
    secret: WebhookSecret,
    agent: ureq::Agent,
}

impl Webhook {
    /// `url` is `https://…`, or `http://…` where the operator says so.
    pub fn new(url: &str, secret: WebhookSecret) -> Self {
        let agent = ureq::Agent::config_builder()
            .timeout_global(Some(ANSWER_WITHIN))
            .max_redirects(0)
            .max_redirects_will_error(false)
            .http_status_as_error(false)
            .build()
            .new_agent();
        Self {
            url: url.to_owned(),
            secret,
            agent,
        }
    }
}

impl Channel for Webhook {
    fn publish(&mut self, publication: &Publication<'_>) -> Result<(), PublishError> {
        let named = format!("{}\n{}", publication.origin, publication.date);
        let id = format!("head_{}", base64url(&sha256(named.as_bytes()).0[..16]));
        let at = Timestamp::from_micros(publication.now_s as i64 * 1_000_000).unwrap_or_default();
        let body = serde_json::json!({
            "type": "head.published",
            "timestamp": at.to_string(),
            "data": {
                "origin": publication.origin,
                "date": publication.date,
                "size": publication.size,
                "head": String::from_utf8_lossy(publication.head),
            },
        })
        .to_string();
        let answer = self
            .agent
            .post(&self.url)
            .header("content-type", "application/json")
            .header("webhook-id", &id)
            .header("webhook-timestamp", publication.now_s.to_string())
            .header(
                "webhook-signature",
                self.secret.sign(&id, publication.now_s, body.as_bytes()),
            )
            .send(body.as_bytes())
            // The error may name the URL, and that a secret of the receiver's.
            .map_err(|error| PublishError(format!("no answer: {}", kind_of(&error))))?;
        let status = answer.status();
        if status.is_success() {
            return Ok(());
        }
        Err(PublishError(format!("the receiver answered {status}")))
    }
}

fn kind_of(error: &ureq::Error) -> &'static str {
    match error {
        ureq::Error::Timeout(_) => "it took too long",
        ureq::Error::HostNotFound => "the host is not known",
        ureq::Error::ConnectionFailed | ureq::Error::Io(_) => "it cannot be connected to",
        ureq::Error::BadUri(_) => "its address is none",
        _ => "what came back is no answer",
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
