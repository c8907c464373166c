//! What every change has in common: who and why, what it is based on, and what makes a repetition harmless.
//!
//! Invariants: a change is answered once the read models have passed it (or a second is over), so that what was
//! written can be read; a token is shown in the answer that made it and never again.
//! Source: REFERENCE §1.0, RFC 9110 §13.1.1 (`If-Match`). Not here: what may be changed (`commands::handlers`).

use super::ingest::idempotency_key;
use crate::auth::{By, User};
use crate::errors::ApiError;
use crate::question::REASON;
use crate::reply::{self, Response};
use crate::request::{Members, bad_json, parse_json};
use crate::router::Ctx;
use commands::handlers::{Actor, ManageError, Outcome};
use commands::sequencer::Idempotency;
use domain::event::Reason;
use domain::event::metadata::REASON_NOT_GIVEN;
use domain::hash::sha256_of;
use domain::rejection::Fault;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Deserializer};
use serde_json::Value;
use warp::http::{HeaderName, Method, header};

/// The code of a reason that somebody gave in words only.
const REASON_STATED: &str = "stated";
/// How often a change is made again of what is there.
const MERGES_MAX: u32 = 8;
/// Says that an answer is that of an earlier request.
pub const REPLAYED: HeaderName = HeaderName::from_static("idempotent-replayed");

/// Who changes something, why, and based on what.
#[derive(Debug)]
pub struct Change {
    /// Who.
    pub actor: Actor,
    /// Why.
    pub reason: Reason,
    /// The sequence that the resource must still have.
    pub if_match: Option<u64>,
}

/// A body that asks for nothing: it has the reason at most.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Empty {}

/// Reads a change and its body. An empty body is an empty object.
///
/// # Errors
/// 400 for what cannot be read, 412 for an `If-Match` that no resource of ours can have.
pub async fn read<T: DeserializeOwned>(ctx: &mut Ctx) -> Result<(T, Change), ApiError> {
    let limit = ctx.app.settings().body_bytes_max;
    let body = ctx.request.bytes(limit).await?;
    let Members(mut members) = if body.is_empty() {
        Members::default()
    } else {
        parse_json(&body)?
    };
    let reason = match members.remove("reason") {
        Some(reason) => reason_of(reason)?,
        None => match ctx.request.given(REASON) {
            Some(text) => in_words(text.into_owned()),
            None => Reason::code(REASON_NOT_GIVEN),
        },
    };
    let shape = serde_json::from_value(Value::Object(members)).map_err(bad_json)?;
    let change = Change {
        actor: actor(ctx, &body)?,
        reason,
        if_match: if_match(ctx)?,
    };
    Ok((shape, change))
}

/// Changes what is made of what is there. `read` gives that with its sequence, `attempt` records it, based on a sequence:
/// whoever sends no `If-Match` means what is there when it is recorded, so where somebody else came in between it is read
/// and made again. Nothing of theirs is lost.
///
/// # Errors
/// Those of both; 412 where the request has an `If-Match`, or others come in between each time.
pub async fn merge<T, Fut>(
    if_match: Option<u64>,
    read: impl Fn() -> Result<(T, u64), ApiError>,
    attempt: impl Fn(T, Option<u64>) -> Fut,
) -> Result<Outcome, ApiError>
where
    Fut: Future<Output = Result<Outcome, ManageError>> + Send,
{
    let mut left = MERGES_MAX;
    loop {
        let (made, sequence) = read()?;
        match attempt(made, Some(if_match.unwrap_or(sequence))).await {
            Err(ManageError::Rejected(rejection))
                if rejection.fault == Fault::Stale && if_match.is_none() && left > 1 =>
            {
                left -= 1;
            }
            done => return Ok(done?),
        }
    }
}

fn actor(ctx: &Ctx, body: &[u8]) -> Result<Actor, ApiError> {
    let user = ctx.caller.user()?;
    let request = &ctx.request;
    let idempotency = match idempotency_key(request)? {
        Some(key) if request.method == Method::POST => {
            let route = [request.method.as_str(), request.path()].join(" ");
            Some(Idempotency {
                key: sha256_of(&[holder(user).as_bytes(), b"\n", key.as_bytes()]),
                request: sha256_of(&[route.as_bytes(), b"\n", body]),
            })
        }
        _ => None,
    };
    Ok(actor_of(user, &request.id, idempotency))
}

/// A person as the write side knows them.
pub fn actor_of(user: &User, request_id: &str, idempotency: Option<Idempotency>) -> Actor {
    let (auth, token) = match &user.by {
        By::Token(id) => ("token", Some(id.clone())),
        By::Session { .. } => ("session", None),
    };
    Actor {
        account: user.account.clone(),
        id: user.user.clone(),
        role: user.role.clone(),
        auth: auth.to_owned(),
        request_id: Some(request_id.to_owned()),
        token,
        idempotency,
    }
}

/// Whose idempotency keys these are: the token's, or in a browser the person's.
fn holder(user: &User) -> &str {
    match &user.by {
        By::Token(id) => id,
        By::Session { .. } => &user.user,
    }
}

fn reason_of(reason: Value) -> Result<Reason, ApiError> {
    #[derive(Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Given {
        code: Option<String>,
        text: Option<String>,
    }
    match reason {
        Value::Null => Ok(Reason::code(REASON_NOT_GIVEN)),
        Value::String(text) => Ok(in_words(text)),
        other => {
            let given: Given = serde_json::from_value(other).map_err(|_| {
                ApiError::malformed(
                    "invalid_reason",
                    "'reason' must be words, or {\"code\", \"text\"}",
                )
            })?;
            let code = given.code.unwrap_or_else(|| REASON_STATED.to_owned());
            Ok(Reason {
                code,
                text: given.text,
            })
        }
    }
}

/// A reason given in words.
pub fn in_words(text: String) -> Reason {
    Reason {
        code: REASON_STATED.to_owned(),
        text: Some(text),
    }
}

/// The sequence of `If-Match`; several tags or a weak one cannot be ours.
fn if_match(ctx: &Ctx) -> Result<Option<u64>, ApiError> {
    let Some(value) = ctx.request.headers.get(header::IF_MATCH) else {
        return Ok(None);
    };
    match value.to_str().map(str::trim) {
        Ok("*") => Ok(None),
        Ok(text) => text
            .strip_prefix('"')
            .and_then(|text| text.strip_suffix('"'))
            .and_then(|text| text.parse().ok())
            .map(Some)
            .ok_or_else(ApiError::stale),
        Err(_) => Err(ApiError::stale()),
    }
}

impl Change {
    /// Holds `If-Match` against what a change is about, where another stream takes the change: a device's tokens, its
    /// new sensor.
    ///
    /// # Errors
    /// 412.
    pub fn still(&self, sequence: Option<u64>) -> Result<(), ApiError> {
        match (self.if_match, sequence) {
            (Some(expected), Some(sequence)) if expected != sequence => Err(ApiError::stale()),
            _ => Ok(()),
        }
    }
}

/// Waits until the read models have passed a change, five seconds at most.
pub async fn settle(ctx: &Ctx, outcome: &Outcome) {
    ctx.app.settled(outcome.positions.end).await;
}

/// The answer to a creation: where the new thing is, and whether this is a repetition.
pub fn created(response: Response, location: &str, outcome: &Outcome) -> Response {
    repeated(reply::with(response, header::LOCATION, location), outcome)
}

/// The answer, marked where it is that of an earlier request.
pub fn repeated(response: Response, outcome: &Outcome) -> Response {
    if outcome.replayed {
        reply::with(response, REPLAYED, "true")
    } else {
        response
    }
}

/// Adds a fresh token to an answer, or says that it was shown before.
pub fn show_token(answer: &mut Value, name: &str, outcome: &Outcome) {
    let Some(members) = answer.as_object_mut() else {
        return;
    };
    match &outcome.token {
        Some(token) => {
            members.insert(name.to_owned(), token.text().into());
        }
        None => {
            members.insert(name.to_owned(), Value::Null);
            members.insert(
                "hint".to_owned(),
                "the token was shown in the answer to the first request; if that was lost, rotate it".into(),
            );
        }
    }
}

/// For members where absent and null differ: `null` takes a value away.
///
/// # Errors
/// Where the member has another type.
pub fn present<'de, D: Deserializer<'de>, T: Deserialize<'de>>(
    deserializer: D,
) -> Result<Option<Option<T>>, D::Error> {
    Option::<T>::deserialize(deserializer).map(Some)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_reason_is_words_or_a_code_with_words() {
        let words = reason_of(json!("door was left open")).expect("a reason");
        assert_eq!(
            (words.code.as_str(), words.text.as_deref()),
            ("stated", Some("door was left open"))
        );
        let both = reason_of(json!({"code": "audit", "text": "x"})).expect("a reason");
        assert_eq!(both.code, "audit");
        assert_eq!(reason_of(json!(null)).expect("a reason").code, REASON_NOT_GIVEN);
        assert!(reason_of(json!({"why": 1})).is_err());
        assert!(reason_of(json!(7)).is_err());
    }
}
