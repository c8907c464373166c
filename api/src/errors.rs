//! Every error as HTTP: the one place where kinds become status codes, envelopes and headers.
//!
//! Invariants: the client sees `code` and `message`, without any token that it quoted at us; `cause`, where there is
//! one, is for the log only. 503 and 429 always say when to come back. Codes are stable, messages may be reworded.
//! Source: REFERENCE §1.0 and §1.1 (the envelope), RFC 9457 (problem details), RFC 6750 (the challenge).
//! Not here: which error a room returns (they have enums of their own).

use crate::redact;
use crate::reply::{self, Response};
use commands::handlers::ManageError;
use commands::ingest::decoded::DecodeError;
use commands::sequencer::RecordError;
use domain::rejection::{Fault, Rejection};
use projections::QueryError;
use serde_json::{Map, Value};
use std::borrow::Cow;
use warp::http::{HeaderMap, HeaderValue, StatusCode, header};

/// Seconds after which a request that found the writer busy or stopped may come back.
pub const RETRY_AFTER_DEFAULT_S: u32 = 5;

/// What the client is told, and what the log is told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ApiError {
    /// The HTTP status.
    pub status: StatusCode,
    /// Stable, such as `device_not_found`.
    pub code: &'static str,
    /// For a person: what is wrong and what to do.
    pub message: Cow<'static, str>,
    /// Seconds, for 429 and 503.
    pub retry_after_s: Option<u32>,
    /// For the log only.
    pub cause: Option<String>,
    /// Methods a path knows, for 405.
    pub allow: Option<String>,
}

type Text = Cow<'static, str>;

impl ApiError {
    /// An error of this status, code and message.
    pub fn new(status: StatusCode, code: &'static str, message: impl Into<Text>) -> Self {
        Self {
            status,
            code,
            message: message.into(),
            retry_after_s: None,
            cause: None,
            allow: None,
        }
    }

    /// 400: not what the route can read.
    pub fn malformed(code: &'static str, message: impl Into<Text>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, code, message)
    }

    /// 401 without any token.
    pub fn auth_required() -> Self {
        Self::new(
            StatusCode::UNAUTHORIZED,
            "auth_required",
            "this needs a token: send it as 'Authorization: Bearer <token>'",
        )
    }

    /// 401 for a token that is malformed, unknown, expired or revoked; which of them is not said.
    pub fn token_invalid() -> Self {
        Self::new(
            StatusCode::UNAUTHORIZED,
            "token_invalid",
            "the token is malformed, unknown or revoked",
        )
    }

    /// 403: known, but not allowed to do this.
    pub fn forbidden(message: impl Into<Text>) -> Self {
        Self::new(StatusCode::FORBIDDEN, "forbidden", message)
    }

    /// 404 with the thing's own code, such as `device_not_found`. Another account's id reads the same.
    pub fn not_found(code: &'static str, message: impl Into<Text>) -> Self {
        Self::new(StatusCode::NOT_FOUND, code, message)
    }

    /// 404 for a path that is no route.
    pub fn no_route() -> Self {
        Self::not_found(
            "not_found",
            "there is nothing at this path; /openapi.json lists what there is",
        )
    }

    /// 409.
    pub fn conflict(code: &'static str, message: impl Into<Text>) -> Self {
        Self::new(StatusCode::CONFLICT, code, message)
    }

    /// 412: the resource is no longer what `If-Match` says.
    pub fn stale() -> Self {
        Self::new(
            StatusCode::PRECONDITION_FAILED,
            "precondition_failed",
            "it was changed meanwhile: read it again and repeat the change with the new ETag",
        )
    }

    /// 413 with the limit that was passed.
    pub fn too_large(limit_bytes: usize) -> Self {
        Self::new(
            StatusCode::PAYLOAD_TOO_LARGE,
            "payload_too_large",
            format!("the body is larger than the {limit_bytes} bytes this route takes"),
        )
    }

    /// 422: understood and not acceptable.
    pub fn rejected(code: &'static str, message: impl Into<Text>) -> Self {
        Self::new(StatusCode::UNPROCESSABLE_ENTITY, code, message)
    }

    /// 429.
    pub fn rate_limited(retry_after_s: u32) -> Self {
        let mut error = Self::new(
            StatusCode::TOO_MANY_REQUESTS,
            "rate_limited",
            format!("too many requests: come back in {retry_after_s} s"),
        );
        error.retry_after_s = Some(retry_after_s);
        error
    }

    /// 503: the outcome may be unknown; read before retrying, or retry with the same idempotency key.
    pub fn unavailable(code: &'static str, message: impl Into<Text>) -> Self {
        let mut error = Self::new(StatusCode::SERVICE_UNAVAILABLE, code, message);
        error.retry_after_s = Some(RETRY_AFTER_DEFAULT_S);
        error
    }

    /// 500 whose cause only the log sees.
    pub fn internal(cause: impl std::fmt::Display) -> Self {
        let mut error = Self::new(
            StatusCode::INTERNAL_SERVER_ERROR,
            "internal",
            "something failed here; the log has the reason under this request id",
        );
        error.cause = Some(cause.to_string());
        error
    }

    /// The same, with another time to come back.
    #[must_use]
    pub fn retry_after(mut self, seconds: u32) -> Self {
        self.retry_after_s = Some(seconds.max(1));
        self
    }

    /// The same, with what the log should know.
    #[must_use]
    pub fn caused_by(mut self, cause: impl std::fmt::Display) -> Self {
        self.cause = Some(cause.to_string());
        self
    }

    /// The same, without the tokens that a message may quote: whoever reads an error is not always who sent it.
    #[must_use]
    pub fn redacted(mut self) -> Self {
        if let Some(clean) = redact::cleaned(&self.message) {
            self.message = clean.into();
        }
        self
    }

    /// The answer: the reference's envelope, or a problem document where `accept` asks for one.
    pub fn to_response(&self, headers: &HeaderMap, request_id: &str) -> Response {
        self.to_response_with(headers, request_id, Map::new())
    }

    /// The same, with more members beside the error.
    pub fn to_response_with(
        &self,
        headers: &HeaderMap,
        request_id: &str,
        more: Map<String, Value>,
    ) -> Response {
        let problem = asks_for_problem(headers);
        let message = redact::word(&self.message);
        let mut body = if problem {
            serde_json::json!({
                "type": format!("urn:daybook:error:{}", self.code),
                "title": self.status.canonical_reason().unwrap_or("Error"),
                "status": self.status.as_u16(),
                "detail": message,
                "code": self.code,
                "request_id": request_id,
            })
        } else {
            serde_json::json!({
                "error": { "code": self.code, "message": message, "request_id": request_id }
            })
        };
        if let Some(members) = body.as_object_mut() {
            members.extend(more);
        }
        let mut response = reply::json(self.status, &body);
        let out = response.headers_mut();
        if problem {
            out.insert(
                header::CONTENT_TYPE,
                HeaderValue::from_static("application/problem+json"),
            );
        }
        if let Some(seconds) = self.retry_after_s {
            out.insert(header::RETRY_AFTER, HeaderValue::from(seconds));
        }
        if self.status == StatusCode::UNAUTHORIZED {
            out.insert(
                header::WWW_AUTHENTICATE,
                HeaderValue::from_static("Bearer realm=\"daybook\""),
            );
        }
        if let Some(allow) = self.allow.as_deref().and_then(|a| HeaderValue::from_str(a).ok()) {
            out.insert(header::ALLOW, allow);
        }
        out.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
        response
    }
}

impl From<Rejection> for ApiError {
    fn from(rejection: Rejection) -> Self {
        let status = match rejection.fault {
            Fault::Malformed => StatusCode::BAD_REQUEST,
            Fault::Forbidden => StatusCode::FORBIDDEN,
            Fault::NotFound => StatusCode::NOT_FOUND,
            Fault::Conflict => StatusCode::CONFLICT,
            Fault::Stale => StatusCode::PRECONDITION_FAILED,
            Fault::Invalid => StatusCode::UNPROCESSABLE_ENTITY,
        };
        Self::new(status, rejection.code, rejection.message)
    }
}

impl From<DecodeError> for ApiError {
    fn from(error: DecodeError) -> Self {
        match error {
            DecodeError::Malformed { code, message } => Self::malformed(code, message),
            DecodeError::Rejected { code, message } => Self::rejected(code, message),
        }
    }
}

impl From<RecordError> for ApiError {
    fn from(error: RecordError) -> Self {
        let message = error.to_string();
        match error {
            RecordError::Rejected(rejection) => rejection.into(),
            RecordError::Stale { .. } => Self::conflict(
                "conflict",
                "it was changed at the same time: read it again and repeat",
            )
            .caused_by(message),
            RecordError::IdempotencyConflict => Self::conflict("idempotency_conflict", message),
            RecordError::TokenInvalid => Self::token_invalid(),
            RecordError::TooLarge(_) => Self::rejected("too_large", message),
            RecordError::Unavailable {
                code,
                outcome_unknown,
                ..
            } => {
                let advice = if outcome_unknown {
                    "; whether it was recorded is not known: read before you repeat it, or repeat it with the same \
                     Idempotency-Key"
                } else {
                    "; nothing was recorded"
                };
                Self::unavailable(code, message + advice)
            }
            RecordError::Corrupt(reason) => {
                let mut error = Self::internal(reason);
                error.code = "ledger_damaged";
                error.message =
                    "the ledger contradicts itself and takes nothing until an operator has looked".into();
                error
            }
        }
    }
}

impl From<ManageError> for ApiError {
    fn from(error: ManageError) -> Self {
        match error {
            ManageError::Rejected(rejection) => rejection.into(),
            ManageError::Record(error) => error.into(),
            ManageError::Unavailable(reason) => {
                Self::unavailable("unavailable", reason + "; nothing was recorded")
            }
        }
    }
}

impl From<QueryError> for ApiError {
    fn from(error: QueryError) -> Self {
        let message = error.to_string();
        match error {
            QueryError::ChannelNotFound(_) => Self::not_found("channel_not_found", message),
            QueryError::DeviceNotFound(_) => Self::not_found("device_not_found", message),
            QueryError::SiteNotFound(_) => Self::not_found("site_not_found", message),
            QueryError::BadCursor => Self::malformed("bad_cursor", message),
            QueryError::BadRange(_) => Self::malformed("bad_query", message),
            QueryError::TooManyShared { .. } => Self::rejected("too_many_shared_values", message),
            QueryError::Receiver(_) => Self::internal(message),
            QueryError::Unavailable(_) => {
                Self::unavailable("unavailable", "the read models do not answer now").caused_by(message)
            }
        }
    }
}

fn asks_for_problem(headers: &HeaderMap) -> bool {
    headers
        .get_all(header::ACCEPT)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .any(|value| value.contains("application/problem+json"))
}

impl std::fmt::Display for ApiError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} {}: {}", self.status.as_u16(), self.code, self.message)
    }
}

impl std::error::Error for ApiError {}

#[cfg(test)]
mod tests {
    use super::*;

    fn body(response: Response) -> Value {
        let bytes = tokio::runtime::Builder::new_current_thread()
            .build()
            .expect("runtime")
            .block_on(http_body_util::BodyExt::collect(response.into_body()))
            .expect("body")
            .to_bytes();
        serde_json::from_slice(&bytes).expect("JSON")
    }

    #[test]
    fn an_error_is_the_envelope_and_a_problem_document_when_asked() {
        let error = ApiError::rate_limited(7).caused_by("secret reason");
        let plain = error.to_response(&HeaderMap::new(), "req_x");
        assert_eq!(plain.status(), 429);
        assert_eq!(plain.headers()[header::RETRY_AFTER], "7");
        let json = body(plain);
        assert_eq!(json["error"]["code"], "rate_limited");
        assert_eq!(json["error"]["request_id"], "req_x");
        assert!(!json.to_string().contains("secret reason"));

        let mut accept = HeaderMap::new();
        accept.insert(header::ACCEPT, "application/problem+json".parse().expect("value"));
        let problem = error.to_response(&accept, "req_x");
        assert_eq!(
            problem.headers()[header::CONTENT_TYPE],
            "application/problem+json"
        );
        let json = body(problem);
        assert_eq!(json["status"], 429);
        assert_eq!(json["code"], "rate_limited");
    }

    #[test]
    fn a_token_that_a_message_quotes_is_not_in_the_answer() {
        let error = ApiError::malformed("bad_json", "unknown field `ds_live_abc_secret`");
        let json = body(error.to_response(&HeaderMap::new(), "req_x")).to_string();
        assert!(!json.contains("secret"), "{json}");
        assert!(!error.redacted().message.contains("secret"));
    }

    #[test]
    fn a_missing_token_is_challenged() {
        let response = ApiError::auth_required().to_response(&HeaderMap::new(), "req_x");
        assert_eq!(response.status(), 401);
        assert!(response.headers().contains_key(header::WWW_AUTHENTICATE));
    }
}
