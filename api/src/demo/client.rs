//! HTTP as the demo's owner and devices speak it: blocking, one connection kept alive a thread.
//!
//! Invariants: a 429 or 503 is waited out as `Retry-After` says, for a while; anything else that is no success is
//! told with the service's own words.
//! Not here: what is sent.

use serde_json::Value as Json;
use std::time::Duration;

/// How often a request is tried again that should come back later.
const TRIES: u32 = 30;
/// How long a whole request may take.
const PATIENCE: Duration = Duration::from_secs(60);
/// Longest wait between two tries, seconds.
const WAIT_S_MAX: u64 = 5;

/// A client of one service.
pub struct Client {
    agent: ureq::Agent,
    url: String,
}

/// What the service answered.
#[derive(Debug, Clone)]
pub struct Answer {
    /// The HTTP status.
    pub status: u16,
    /// The body, null where it is no JSON.
    pub body: Json,
}

/// A request did not succeed.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// Nobody answered.
    #[error("{target}: {reason}")]
    Unreachable {
        /// What was asked.
        target: String,
        /// Why.
        reason: String,
    },
    /// The service said no.
    #[error("{target} was answered {status}: {message}")]
    Refused {
        /// What was asked.
        target: String,
        /// The HTTP status.
        status: u16,
        /// The service's words.
        message: String,
    },
}

impl Client {
    /// A client of the service at this URL.
    pub fn new(url: &str) -> Self {
        let agent = ureq::Agent::config_builder()
            .http_status_as_error(false)
            .timeout_global(Some(PATIENCE))
            .build()
            .new_agent();
        Self {
            agent,
            url: url.trim_end_matches('/').to_owned(),
        }
    }

    /// Sends once; any status is an answer.
    ///
    /// # Errors
    /// [`ClientError::Unreachable`]. The token in a query is not part of it.
    pub fn send(
        &self,
        method: &str,
        target: &str,
        headers: &[(&str, &str)],
        body: Option<&[u8]>,
    ) -> Result<(Answer, Option<u64>), ClientError> {
        let unreachable = |reason: String| ClientError::Unreachable {
            target: format!("{method} {}", path(target)),
            reason,
        };
        let mut request = ureq::http::Request::builder()
            .method(method)
            .uri(format!("{}{target}", self.url));
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let answered = match body {
            Some(body) => {
                let request = request.header("Content-Type", "application/json").body(body);
                self.agent.run(request.map_err(|e| unreachable(e.to_string()))?)
            }
            None => self
                .agent
                .run(request.body(()).map_err(|e| unreachable(e.to_string()))?),
        };
        let mut answered = answered.map_err(|e| unreachable(e.to_string()))?;
        let retry_after = answered
            .headers()
            .get("retry-after")
            .and_then(|v| v.to_str().ok())
            .and_then(|v| v.parse().ok());
        let text = answered
            .body_mut()
            .read_to_string()
            .map_err(|e| unreachable(e.to_string()))?;
        let answer = Answer {
            status: answered.status().as_u16(),
            body: serde_json::from_str(&text).unwrap_or(Json::Null),
        };
        Ok((answer, retry_after))
    }

    /// Sends until the service has time for it; a success's body.
    ///
    /// # Errors
    /// [`ClientError`].
    pub fn ask(
        &self,
        method: &str,
        target: &str,
        token: &str,
        body: Option<&[u8]>,
    ) -> Result<Json, ClientError> {
        let bearer = format!("Bearer {token}");
        let mut tries = 0;
        loop {
            let (answer, retry_after) = self.send(method, target, &[("Authorization", &bearer)], body)?;
            match answer.status {
                200..=299 => return Ok(answer.body),
                429 | 503 if tries < TRIES => {
                    tries += 1;
                    let wait = retry_after.unwrap_or(1).clamp(1, WAIT_S_MAX);
                    std::thread::sleep(Duration::from_secs(wait));
                }
                status => {
                    return Err(ClientError::Refused {
                        target: format!("{method} {}", path(target)),
                        status,
                        message: words(&answer.body),
                    });
                }
            }
        }
    }

    /// POST of JSON.
    ///
    /// # Errors
    /// [`ClientError`].
    pub fn post(&self, target: &str, token: &str, body: &Json) -> Result<Json, ClientError> {
        self.ask("POST", target, token, Some(body.to_string().as_bytes()))
    }
}

/// A target without its query, in which a token may stand.
fn path(target: &str) -> &str {
    target.split('?').next().unwrap_or_default()
}

/// The words of an error envelope.
pub fn words(body: &Json) -> String {
    match body["error"]["message"].as_str() {
        Some(message) => format!(
            "{} ({})",
            message,
            body["error"]["code"].as_str().unwrap_or("no code")
        ),
        None => "without a word".to_owned(),
    }
}
