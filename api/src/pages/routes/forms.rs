//! Forms as they are sent: read, held against their session, and what is said where they could not be done.
//!
//! Invariants: no form is read without the session's token; a form that was sent twice changes once; what cannot
//! be done is said on the page it came from, with what was typed; a token is shown in the answer that made it.
//! Not here: what each form changes (`sites`, `devices`, `integrations`, `people`, `alarms`, `rules`, `contacts`).

use commands::handlers::{Actor, ManageError, Outcome};
use commands::sequencer::Idempotency;
use domain::event::Reason;
use domain::event::metadata::REASON_NOT_GIVEN;
use domain::hash::sha256_of;
use warp::http::StatusCode;

use super::super::view::{FreshToken, Notice};
use super::Visit;
use crate::errors::ApiError;
use crate::reply::{self, Response};
use crate::request::pairs;
use crate::router::Ctx;
use crate::routes::change;

/// Largest form, bytes: the longest note, percent-encoded, and room.
const FORM_BYTES_MAX: usize = 64 << 10;

/// A form as it was sent.
pub struct Form(Vec<(String, String)>);

impl Form {
    /// Reads a form's body.
    ///
    /// # Errors
    /// 413, 408, 400 as any body.
    pub async fn read(ctx: &mut Ctx) -> Result<Self, ApiError> {
        let body = ctx.request.bytes(FORM_BYTES_MAX).await?;
        let text = String::from_utf8_lossy(&body);
        Ok(Self(
            pairs(&text)
                .map(|(name, value)| (name.into_owned(), value.into_owned()))
                .collect(),
        ))
    }

    /// A field without surrounding space; empty where it was not sent.
    pub fn get(&self, name: &str) -> &str {
        self.0
            .iter()
            .find(|(n, _)| n == name)
            .map_or("", |(_, value)| value.trim())
    }

    /// A field, unless it is empty.
    pub fn some(&self, name: &str) -> Option<String> {
        Some(self.get(name))
            .filter(|text| !text.is_empty())
            .map(str::to_owned)
    }

    /// Every field.
    pub fn fields(&self) -> &[(String, String)] {
        &self.0
    }

    /// A number, unless the field is empty. A decimal comma is a decimal point.
    ///
    /// # Errors
    /// 422, naming the field.
    pub fn number(&self, name: &str, label: &str) -> Result<Option<f64>, ApiError> {
        let Some(text) = self.some(name) else {
            return Ok(None);
        };
        let text = text.replace(',', ".").replace('\u{2212}', "-");
        let number = text.parse().ok().filter(|n: &f64| n.is_finite());
        number
            .map(Some)
            .ok_or_else(|| ApiError::rejected("not_a_number", format!("{label} must be a number.")))
    }

    /// Seconds from a field of minutes.
    ///
    /// # Errors
    /// As [`Form::number`].
    pub fn cadence_s(&self) -> Result<Option<u32>, ApiError> {
        Ok(self
            .number("cadence_min", "Reports every")?
            .map(|minutes| (minutes * 60.0).round().clamp(0.0, 1e9) as u32))
    }

    /// Why, in words; not given where the field is empty.
    pub fn reason(&self) -> Reason {
        self.some("reason")
            .map_or_else(|| Reason::code(REASON_NOT_GIVEN), change::in_words)
    }

    /// The sequence that the form was made from.
    pub fn if_match(&self) -> Option<u64> {
        self.get("if_match").parse().ok()
    }
}

impl Visit {
    /// The form, which must be from this session.
    pub(super) async fn form(&mut self) -> Result<Form, ApiError> {
        let form = Form::read(&mut self.ctx).await?;
        self.user.check_csrf(form.get("csrf"))?;
        Ok(form)
    }

    /// Who changes something. `step` tells several changes of one form apart.
    pub(super) fn actor(&self, form: &Form, step: &str) -> Actor {
        let idempotency = form.some("idempotency_key").map(|key| {
            let mut fields: Vec<u8> = Vec::new();
            for (name, value) in &form.0 {
                fields.extend_from_slice(format!("{name}={value}\n").as_bytes());
            }
            Idempotency {
                key: sha256_of(&[
                    self.user.user.as_bytes(),
                    b"\n",
                    key.as_bytes(),
                    b"\n",
                    step.as_bytes(),
                ]),
                request: sha256_of(&[self.ctx.request.path().as_bytes(), b"\n", &fields]),
            }
        });
        change::actor_of(&self.user, &self.ctx.request.id, idempotency)
    }

    /// A change that was made: its outcome once it can be read.
    pub(super) async fn settled(&self, done: Result<Outcome, ManageError>) -> Result<Outcome, ApiError> {
        let outcome = done.map_err(ApiError::from)?;
        change::settle(&self.ctx, &outcome).await;
        Ok(outcome)
    }
}

/// What a form could not do, on the page it came from; what concerns the whole page stays an error.
pub(super) fn refused(error: ApiError) -> Result<(StatusCode, Notice), ApiError> {
    let here = matches!(
        error.status,
        StatusCode::UNPROCESSABLE_ENTITY
            | StatusCode::CONFLICT
            | StatusCode::PRECONDITION_FAILED
            | StatusCode::BAD_REQUEST
    );
    if !here {
        return Err(error);
    }
    let text = match error.status {
        StatusCode::PRECONDITION_FAILED => {
            "Somebody changed this while you were writing. Nothing of yours was saved; look, and do it again."
                .into()
        }
        _ => format!("Not saved: {}", error.message),
    };
    Ok((error.status, Notice { good: false, text }))
}

pub(super) fn fresh(outcome: &Outcome, opens: &str) -> Option<FreshToken> {
    outcome.token.as_ref().map(|token| FreshToken {
        secret: token.text().to_owned(),
        opens: opens.to_owned(),
    })
}

/// The way to a page that says what was done.
pub(super) fn to(href: &str, done: &str) -> Response {
    reply::see_other(&format!("{href}?done={done}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn form(text: &str) -> Form {
        Form(
            pairs(text)
                .map(|(n, v)| (n.into_owned(), v.into_owned()))
                .collect(),
        )
    }

    #[test]
    fn numbers_may_have_a_comma_and_must_be_numbers() {
        let form = form("a=4,5&b=%E2%88%9218&c=&d=warm&e=inf");
        assert_eq!(form.number("a", "A").ok(), Some(Some(4.5)));
        assert_eq!(form.number("b", "B").ok(), Some(Some(-18.0)));
        assert_eq!(form.number("c", "C").ok(), Some(None));
        assert_eq!(
            form.number("d", "D").map_err(|e| e.message.into_owned()),
            Err("D must be a number.".into())
        );
        assert!(form.number("e", "E").is_err());
    }
}
