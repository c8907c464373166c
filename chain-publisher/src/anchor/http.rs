//! One POST to an authority or a calendar: bounded in time and size, no redirect, and no address in any word.
//!
//! Not here: what is sent and what comes back (`rfc3161`, `ots`).

use super::ANCHOR_BYTES_MAX;
use std::io::Read;
use std::time::Duration;
use ureq::Agent;

/// How long one question may take.
const TIMEOUT: Duration = Duration::from_secs(20);

/// Posts, and gives the body of a 200.
pub fn post(url: &str, content_type: &str, accept: &str, body: &[u8]) -> Result<Vec<u8>, String> {
    let agent: Agent = Agent::config_builder()
        .http_status_as_error(false)
        .max_redirects(0)
        .max_redirects_will_error(false)
        .timeout_global(Some(TIMEOUT))
        .user_agent(concat!("daybook/", env!("CARGO_PKG_VERSION")))
        .build()
        .new_agent();
    let sent = agent
        .post(url)
        .header("content-type", content_type)
        .header("accept", accept)
        .send(body);
    let mut answer = match sent {
        Ok(answer) => answer,
        Err(ureq::Error::Io(error)) => return Err(error.to_string()),
        Err(ureq::Error::Timeout(_)) => return Err("it does not answer in time".to_owned()),
        Err(_) => return Err("it cannot be reached".to_owned()),
    };
    if answer.status() != 200 {
        return Err(format!("it answers {}", answer.status()));
    }
    let mut bytes = Vec::new();
    let reader = answer.body_mut().as_reader();
    reader
        .take(ANCHOR_BYTES_MAX as u64 + 1)
        .read_to_end(&mut bytes)
        .map_err(|_| "its answer breaks off".to_owned())?;
    if bytes.len() > ANCHOR_BYTES_MAX {
        return Err(format!("its answer is larger than {ANCHOR_BYTES_MAX} bytes"));
    }
    Ok(bytes)
}
