//! Telling somebody, once, that a log contradicts itself: a JSON document to a URL.
//!
//! Invariants: it follows no redirect and waits for nobody for long; its address, which may be a secret, is never said.
//! Not here: when (`watch`).

use serde_json::Value;
use std::time::Duration;
use ureq::Agent;

/// How long one try may take.
const TIMEOUT: Duration = Duration::from_secs(20);
/// How often it is tried.
const TRIES: u32 = 3;
/// How long to wait before it is tried again.
const WAIT: Duration = Duration::from_secs(2);

/// Whether it reads like an address.
pub fn is_url(url: &str) -> bool {
    url.starts_with("https://") || url.starts_with("http://")
}

/// Posts the document.
///
/// # Errors
/// In words, without the address.
pub fn post(url: &str, document: &Value) -> Result<(), String> {
    let agent: Agent = Agent::config_builder()
        .http_status_as_error(false)
        .max_redirects(0)
        .max_redirects_will_error(false)
        .timeout_global(Some(TIMEOUT))
        .user_agent(concat!("daybook-verify/", env!("CARGO_PKG_VERSION")))
        .build()
        .new_agent();
    let body = document.to_string();
    let mut said = String::new();
    for n in 0..TRIES {
        if n > 0 {
            std::thread::sleep(WAIT);
        }
        let sent = agent
            .post(url)
            .header("content-type", "application/json")
            .send(body.as_bytes());
        said = match sent {
            Ok(answer) if answer.status().is_success() => return Ok(()),
            Ok(answer) => format!("it answers {}", answer.status()),
            Err(ureq::Error::Io(error)) => error.to_string(),
            Err(ureq::Error::Timeout(_)) => "it does not answer in time".to_owned(),
            Err(_) => "it cannot be reached".to_owned(),
        };
    }
    Err(said)
}
