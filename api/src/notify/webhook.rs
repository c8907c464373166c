//! A notification as a signed POST (Standard Webhooks), with the reference product's headers where a contact wants them.
//!
//! Invariants: the id is the notification's, the same in every attempt; up to three redirects are followed, each looked
//! at anew, none of them from https to http; of an answer the status and `Retry-After` are looked at and at most a
//! kilobyte is read; no URL and no secret is in a code.
//! Source: Standard Webhooks 1.0; REFERENCE §4. Not here: when it is tried again (`outcome`); where it may go (`guard`).
//! Heads go out by `outgoing`, whose exchange ends with its future: a stop waits for no publication.

use super::Sent;
use super::guard::code_of;
use base64::{Engine, engine::general_purpose::STANDARD};
use chain_publisher::publish::webhook::WebhookSecret;
use hmac::{Hmac, Mac};
use sha2::Sha256;
use std::time::Duration;
use ureq::Agent;
use ureq::http::{Uri, header};

/// How long a receiver may take, in all, for each request.
pub const ANSWER_WITHIN: Duration = Duration::from_secs(15);
/// Redirects that are followed (REFERENCE §4).
const REDIRECTS_MAX: usize = 3;
/// The longest wait that a receiver may ask for.
const RETRY_AFTER_MAX: Duration = Duration::from_secs(3600);

/// A delivery.
pub struct Delivery<'a> {
    /// Where to.
    pub url: &'a str,
    /// What it is signed with, `whsec_…`.
    pub secret: &'a str,
    /// `wh_…`
    pub id: &'a str,
    /// When, seconds.
    pub now_s: u64,
    /// JSON.
    pub body: &'a str,
    /// Whether the reference product's headers go along.
    pub reference_headers: bool,
}

/// Makes the delivery; blocks.
pub fn deliver(agent: &Agent, delivery: &Delivery<'_>) -> Sent {
    let Ok(secret) = WebhookSecret::parse(delivery.secret) else {
        return Sent::Refused("no_secret".to_owned());
    };
    let signature = secret.sign(delivery.id, delivery.now_s, delivery.body.as_bytes());
    let mut url = delivery.url.to_owned();
    for _ in 0..=REDIRECTS_MAX {
        let mut request = agent
            .post(&url)
            .header("content-type", "application/json")
            .header("webhook-id", delivery.id)
            .header("webhook-timestamp", delivery.now_s.to_string())
            .header("webhook-signature", &signature);
        if delivery.reference_headers {
            request = request
                .header("x-opensense-delivery-id", delivery.id)
                .header("x-opensense-timestamp", delivery.now_s.to_string())
                .header("x-opensense-signature", reference_signature(delivery));
        }
        let answer = match request.send(delivery.body.as_bytes()) {
            Ok(answer) => answer,
            Err(error) => {
                return match code_of(&error) {
                    code @ ("target_not_allowed" | "https_only" | "bad_url") => {
                        Sent::Refused(code.to_owned())
                    }
                    code => Sent::Later(code.to_owned(), None),
                };
            }
        };
        let status = answer.status().as_u16();
        let head = |name: header::HeaderName| answer.headers().get(name)?.to_str().ok();
        match status {
            200..=299 => return Sent::Taken(status.to_string(), None),
            301 | 302 | 307 | 308 => match head(header::LOCATION).and_then(|to| target(&url, to)) {
                Some(next) => url = next,
                None => return Sent::Refused("bad_redirect".to_owned()),
            },
            429 => {
                let seconds = head(header::RETRY_AFTER).and_then(|text| text.trim().parse().ok());
                let wait = seconds.map(|seconds| Duration::from_secs(seconds).min(RETRY_AFTER_MAX));
                return Sent::Later("429".to_owned(), wait);
            }
            500..=599 | 408 => return Sent::Later(status.to_string(), None),
            _ => return Sent::Refused(status.to_string()),
        }
    }
    Sent::Refused("too_many_redirects".to_owned())
}

/// Where a redirect leads; `None` for what is no URL, or leads from a secured line to an open one.
fn target(from: &str, to: &str) -> Option<String> {
    let from: Uri = from.parse().ok()?;
    let scheme = from.scheme_str()?;
    let next = if to.starts_with("//") {
        format!("{scheme}:{to}")
    } else if to.starts_with('/') {
        format!("{scheme}://{}{to}", from.authority()?)
    } else {
        to.to_owned()
    };
    let uri: Uri = next.parse().ok()?;
    let right = match uri.scheme_str()? {
        "https" => true,
        "http" => scheme == "http",
        _ => false,
    };
    (right
        && uri
            .authority()
            .is_some_and(|authority| !authority.as_str().contains('@')))
    .then_some(next)
}

/// `t=<epoch>,v1=base64(HMAC-SHA256(secret, t + "." + body))`; the secret is the text that was handed over.
fn reference_signature(delivery: &Delivery<'_>) -> String {
    let mut mac = Hmac::<Sha256>::new_from_slice(delivery.secret.as_bytes()).expect("any length is a key");
    mac.update(format!("{}.{}", delivery.now_s, delivery.body).as_bytes());
    format!(
        "t={},v1={}",
        delivery.now_s,
        STANDARD.encode(mac.finalize().into_bytes())
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_redirect_keeps_its_line_secured() {
        let to = |from: &str, location: &str| target(from, location);
        assert_eq!(to("https://a.eu/x", "/y"), Some("https://a.eu/y".into()));
        assert_eq!(to("https://a.eu/x", "//b.eu/y"), Some("https://b.eu/y".into()));
        assert_eq!(to("http://a.eu/x", "https://b.eu/"), Some("https://b.eu/".into()));
        for bad in [
            "http://b.eu/",
            "ftp://b.eu/",
            "file:///etc/passwd",
            "https://u@b.eu/",
            "y",
        ] {
            assert_eq!(to("https://a.eu/x", bad), None, "{bad}");
        }
    }
}
