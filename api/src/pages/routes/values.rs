//! Forms about a channel's values: calibrating it, and making channels of it.
//!
//! Not here: what is allowed (`commands::handlers`), markup (`pages::values`).

use commands::handlers::Outcome;
use domain::aggregate::channel::NewCalibration;
use domain::event::{Correction, Reason};
use domain::rule::{Derivation, Function};
use domain::{Date, Timestamp};
use warp::http::StatusCode;

use super::super::alarms::view::SilenceForm;
use super::super::values::view::{CalibrationForm, DeriveForm};
use super::super::view::Notice;
use super::super::words;
use super::forms::{Form, refused, to};
use super::{Visit, show};
use crate::errors::ApiError;
use crate::router::Answer;
use crate::routes::change;

/// What was typed in the forms about a channel's values.
#[derive(Debug, Clone, Default)]
pub struct Typed {
    /// Of a calibration.
    pub calibration: CalibrationForm,
    /// Of a derivation: function, sources, reason, error.
    pub derive: DeriveForm,
}

fn reason(form: &Form) -> Result<Reason, ApiError> {
    let text = form.some("reason").map(change::in_words);
    text.ok_or_else(|| ApiError::rejected("reason_required", "say why: it is on record with your name"))
}

async fn back(visit: &Visit, id: String, typed: Typed, refused: (StatusCode, Notice)) -> Answer {
    show::channel_with(visit, id, SilenceForm::default(), typed, Some(refused)).await
}

pub async fn calibrate(mut visit: Visit) -> Answer {
    let form = visit.form().await?;
    let id = visit.ctx.id().to_owned();
    match set(&visit, &form, &id).await.map_err(refused) {
        Ok(_) => Ok(to(&format!("/app/channels/{id}"), "calibrated")),
        Err(refused) => {
            let (status, notice) = refused?;
            let text = |name: &str| form.get(name).to_owned();
            let calibration = CalibrationForm {
                how: text("how"),
                offset: text("offset"),
                points: ["raw_low", "true_low", "raw_high", "true_high"].map(text),
                valid_from: text("valid_from"),
                due: text("due"),
                certificate: text("certificate"),
                reason: text("reason"),
                error: Some(notice.text.clone()),
            };
            let typed = Typed {
                calibration,
                ..Typed::default()
            };
            back(&visit, id, typed, (status, notice)).await
        }
    }
}

async fn set(visit: &Visit, form: &Form, id: &str) -> Result<Outcome, ApiError> {
    let zone = show::zone_of_channel(visit, id)?;
    let bad = |words: &'static str| ApiError::rejected("invalid_calibration", words);
    let needed = |name: &str, label: &str| {
        let missing = || bad("fill in the numbers of what the check found");
        form.number(name, label)?.ok_or_else(missing)
    };
    let correction = match form.get("how") {
        "none" => None,
        "two_point" => Some(Correction::TwoPoint([
            [
                needed("raw_low", "The lower value shown")?,
                needed("true_low", "The lower right value")?,
            ],
            [
                needed("raw_high", "The higher value shown")?,
                needed("true_high", "The higher right value")?,
            ],
        ])),
        _ => Some(Correction::Offset(needed("offset", "The offset")?)),
    };
    let valid_from: Option<Timestamp> = form
        .some("valid_from")
        .map(|text| words::typed(&text, &zone).ok_or_else(|| bad("'measured from' must be a time")))
        .transpose()?;
    let due = form
        .some("due")
        .map(|text| Date::parse(&text).map_err(|_| bad("the next one is due on a day, such as 2027-05-17")))
        .transpose()?;
    let new = NewCalibration {
        correction,
        valid_from: valid_from.unwrap_or(visit.now),
        due,
        certificate: form.some("certificate"),
    };
    let management = visit.ctx.app.management();
    let (actor, reason) = (visit.actor(form, "calibrate"), reason(form)?);
    let made = management
        .calibrate(&actor, &reason, id, form.if_match(), new)
        .await;
    visit.settled(made).await
}

fn derivation(form: &Form) -> Result<Derivation, ApiError> {
    let function = Function::ALL
        .into_iter()
        .find(|function| function.as_str() == form.get("function"))
        .ok_or_else(|| ApiError::rejected("invalid_derivation", "choose what is to be made"))?;
    let sources = (0..function.sources().len()).map(|index| form.get(&format!("source{index}")).to_owned());
    Ok(Derivation {
        function,
        max_age_s: None,
        sources: sources.collect(),
        trailing_days: None,
    })
}

fn typed(form: &Form, notice: &Notice) -> Typed {
    let sources = (0..2).map(|index| form.get(&format!("source{index}")).to_owned());
    Typed {
        derive: DeriveForm {
            function: form.get("function").to_owned(),
            sources: sources.collect(),
            reason: form.get("reason").to_owned(),
            error: Some(notice.text.clone()),
            ..DeriveForm::default()
        },
        ..Typed::default()
    }
}

/// Makes a channel of this one.
pub async fn derive(mut visit: Visit) -> Answer {
    let form = visit.form().await?;
    let id = visit.ctx.id().to_owned();
    match begin(&visit, &form, &id).await.map_err(refused) {
        Ok(outcome) => Ok(to(&format!("/app/channels/{}", outcome.id), "derived")),
        Err(refused) => {
            let refused = refused?;
            let typed = typed(&form, &refused.1);
            back(&visit, id, typed, refused).await
        }
    }
}

async fn begin(visit: &Visit, form: &Form, id: &str) -> Result<Outcome, ApiError> {
    let device = {
        let registry = visit.ctx.app.registry().read();
        let channel = registry.channel(&visit.user.account, id);
        channel.ok_or_else(ApiError::no_route)?.state.device.clone()
    };
    let (actor, reason) = (visit.actor(form, "derive"), reason(form)?);
    let management = visit.ctx.app.management();
    let made = management
        .create_derived(&actor, &reason, &device, derivation(form)?, None, None)
        .await;
    visit.settled(made).await
}

/// Has a derived channel made otherwise, or no longer.
pub async fn make(mut visit: Visit) -> Answer {
    let form = visit.form().await?;
    let id = visit.ctx.id().to_owned();
    match change_of(&visit, &form, &id).await.map_err(refused) {
        Ok(_) => Ok(to(&format!("/app/channels/{id}"), "made")),
        Err(refused) => {
            let refused = refused?;
            let typed = typed(&form, &refused.1);
            back(&visit, id, typed, refused).await
        }
    }
}

async fn change_of(visit: &Visit, form: &Form, id: &str) -> Result<Outcome, ApiError> {
    let before = {
        let registry = visit.ctx.app.registry().read();
        let channel = registry.channel(&visit.user.account, id);
        channel.ok_or_else(ApiError::no_route)?.state.derivation.clone()
    };
    let wanted = match form.some("end") {
        Some(_) => None,
        // What the form does not show stays.
        None => {
            let typed = derivation(form)?;
            Some(Derivation {
                max_age_s: before.as_ref().and_then(|it| it.max_age_s),
                trailing_days: before.and_then(|it| it.trailing_days),
                ..typed
            })
        }
    };
    let (actor, reason) = (visit.actor(form, "make"), reason(form)?);
    let management = visit.ctx.app.management();
    let made = management
        .derive(&actor, &reason, id, form.if_match(), wanted)
        .await;
    visit.settled(made).await
}
