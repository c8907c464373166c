//! What changes something: each form becomes a command, and its answer a page or the way to one.
//!
//! Invariants: no form is read without the session's token; a form that was sent twice changes once; what cannot
//! be done is said on the page it came from, with what was typed; a token is shown in the answer that made it.
//! Not here: what may be changed (`commands::handlers`), pages (`show`).

use commands::handlers::{Actor, ManageError, NewUser, Outcome};
use commands::sequencer::Idempotency;
use domain::aggregate::account::AccountCommand;
use domain::aggregate::channel::ChannelPatch;
use domain::aggregate::device::{DevicePatch, NewDevice};
use domain::aggregate::site::SitePatch;
use domain::event::Reason;
use domain::event::metadata::REASON_NOT_GIVEN;
use domain::hash::sha256_of;
use warp::http::{StatusCode, header};

use super::super::gather::Typed;
use super::super::onboarding::MODELS;
use super::super::site as site_page;
use super::super::view::{FreshToken, Notice};
use super::super::add_device::view::DeviceForm;
use super::{Visit, html, show};
use crate::auth;
use crate::errors::ApiError;
use crate::reply::{self, Response};
use crate::request::pairs;
use crate::router::{Answer, Ctx};
use crate::routes::change;
use crate::routes::evidence::{Asked, Of, take_on};
use chain_publisher::pack::Subject;

/// Largest form, bytes: the longest note, percent-encoded, and room.
const FORM_BYTES_MAX: usize = 64 << 10;
/// Local ids made from a name are told apart up to this many.
const LOCAL_ID_TRIES: u32 = 1_000;

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
    fn cadence_s(&self) -> Result<Option<u32>, ApiError> {
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

fn fresh(outcome: &Outcome, opens: &str) -> Option<FreshToken> {
    outcome.token.as_ref().map(|token| FreshToken {
        secret: token.text().to_owned(),
        opens: opens.to_owned(),
    })
}

const OPENS_DEVICE: &str = "the ingest address of this device only";
const OPENS_INTEGRATION: &str = "ingest for every device of the account";
const OPENS_API: &str = "the API, as you";

/// The way to a page that says what was done.
pub(super) fn to(href: &str, done: &str) -> Response {
    reply::see_other(&format!("{href}?done={done}"))
}

pub async fn sign_out(mut visit: Visit) -> Answer {
    visit.form().await?;
    let request = &visit.ctx.request;
    if let Some(cookie) = auth::cookie(request, auth::SESSION_COOKIE) {
        visit
            .ctx
            .app
            .state()
            .end_session(cookie)
            .map_err(ApiError::internal)?;
    }
    let response = reply::see_other("/sign-in");
    Ok(reply::with(
        response,
        header::SET_COOKIE,
        &auth::session_cookie(&visit.ctx.app, ""),
    ))
}

pub async fn add_site(mut visit: Visit) -> Answer {
    let form = visit.form().await?;
    let made = make_site(&visit, &form, form.get("name")).await;
    match made.map_err(refused) {
        Ok(outcome) => Ok(to(&format!("/app/sites/{}", outcome.id), "added")),
        Err(refused) => {
            let (status, notice) = refused?;
            let frame = visit.frame(None).await?;
            Ok(html(
                status,
                site_page::new_page(&frame, form.get("name"), Some(&notice.text)),
            ))
        }
    }
}

async fn make_site(visit: &Visit, form: &Form, name: &str) -> Result<Outcome, ApiError> {
    let made = visit
        .ctx
        .app
        .management()
        .create_site(
            &visit.actor(form, "site"),
            &form.reason(),
            name,
            form.get("vertical"),
            form.get("timezone"),
            form.some("address").as_deref(),
        )
        .await;
    visit.settled(made).await
}

pub async fn change_site(mut visit: Visit) -> Answer {
    let form = visit.form().await?;
    let patch = SitePatch {
        name: form.some("name"),
        vertical: form.some("vertical"),
        timezone: form.some("timezone"),
        address: Some(form.some("address")),
    };
    let id = visit.ctx.id().to_owned();
    let management = visit.ctx.app.management();
    let made = management
        .patch_site(
            &visit.actor(&form, ""),
            &form.reason(),
            &id,
            form.if_match(),
            patch,
        )
        .await;
    match visit.settled(made).await.map_err(refused) {
        Ok(_) => Ok(to(&format!("/app/sites/{id}"), "saved")),
        Err(refused) => show::site_with(&visit, Some(refused?)).await,
    }
}

pub async fn add_device(mut visit: Visit) -> Answer {
    let form = visit.form().await?;
    match make_device(&visit, &form).await {
        Ok(outcome) => {
            let token = fresh(&outcome, OPENS_DEVICE);
            show::onboarding_with(&visit, &outcome.id, token, None).await
        }
        Err(error) => {
            let (status, notice) = refused(error.clone())?;
            let text = notice.text.trim_start_matches("Not saved: ").to_owned();
            let typed = DeviceForm {
                name: form.get("name").to_owned(),
                local_id: form.get("local_id").to_owned(),
                model: form.get("model").to_owned(),
                dev_eui: form.get("dev_eui").to_owned(),
                cadence_min: form.get("cadence_min").to_owned(),
                errors: vec![(field_of(&error).to_owned(), text)],
            };
            show::new_device_with(&visit, form.some("site_id"), typed, status).await
        }
    }
}

/// The field that an error is about; empty for the whole form.
fn field_of(error: &ApiError) -> &'static str {
    let about = |word: &str| error.code.contains(word) || error.message.contains(word);
    ["local_id", "dev_eui", "cadence", "timezone", "model"]
        .into_iter()
        .find(|word| about(word))
        .map_or(
            if error.code.contains("name") { "name" } else { "" },
            |word| match word {
                "cadence" => "cadence_min",
                other => other,
            },
        )
}

async fn make_device(visit: &Visit, form: &Form) -> Result<Outcome, ApiError> {
    let cadence_s = form.cadence_s()?;
    let name = form.get("name").to_owned();
    let site = match form.some("site_id") {
        Some(site) => site,
        None => make_site(visit, form, form.get("site_name")).await?.id,
    };
    let local_id = form
        .some("local_id")
        .unwrap_or_else(|| free_local_id(visit, &name));
    let device = NewDevice {
        site,
        local_id,
        name,
        model: form
            .some("model")
            .unwrap_or_else(|| MODELS.last().map_or("http", |m| m.code).to_owned()),
        dev_eui: form.some("dev_eui"),
        serial: None,
        cadence_s,
        notes: None,
    };
    let management = visit.ctx.app.management();
    let made = management
        .create_device(&visit.actor(form, "device"), &form.reason(), device)
        .await;
    visit.settled(made).await
}

/// A local id from a name, one that no device of the account has.
fn free_local_id(visit: &Visit, name: &str) -> String {
    let base = local_id_of(name);
    let registry = visit.ctx.app.registry().read();
    let free = |id: &String| registry.device_by_local(&visit.user.account, id).is_none();
    let numbered = (2..LOCAL_ID_TRIES).map(|n| format!("{base}-{n}"));
    std::iter::once(base.clone())
        .chain(numbered)
        .find(free)
        .unwrap_or(base)
}

/// `Walk-in fridge` becomes `walk-in-fridge`.
fn local_id_of(name: &str) -> String {
    const LENGTH_MAX: usize = 40;
    let mut id = String::new();
    for c in name.to_lowercase().chars() {
        let c = plain(c);
        if c.is_ascii_alphanumeric() {
            id.push(c);
        } else if !id.is_empty() && !id.ends_with('-') {
            id.push('-');
        }
        if id.len() >= LENGTH_MAX {
            break;
        }
    }
    let id = id.trim_matches('-');
    if id.is_empty() {
        "device".to_owned()
    } else {
        id.to_owned()
    }
}

/// The letter below a mark, for the languages of those who name fridges here.
fn plain(c: char) -> char {
    match c {
        'á' | 'ä' | 'à' | 'â' | 'ã' | 'å' | 'ą' => 'a',
        'č' | 'ć' | 'ç' => 'c',
        'ď' => 'd',
        'é' | 'ě' | 'è' | 'ê' | 'ë' | 'ę' => 'e',
        'í' | 'î' | 'ï' | 'ì' => 'i',
        'ľ' | 'ĺ' | 'ł' => 'l',
        'ň' | 'ń' | 'ñ' => 'n',
        'ó' | 'ô' | 'ö' | 'ò' | 'õ' | 'ő' | 'ø' => 'o',
        'ŕ' | 'ř' => 'r',
        'š' | 'ś' | 'ß' => 's',
        'ť' => 't',
        'ú' | 'ü' | 'ů' | 'ù' | 'û' | 'ű' => 'u',
        'ý' => 'y',
        'ž' | 'ź' | 'ż' => 'z',
        other => other,
    }
}

pub async fn change_device(mut visit: Visit) -> Answer {
    let form = visit.form().await?;
    let id = visit.ctx.id().to_owned();
    match patch_device(&visit, &form, &id).await.map_err(refused) {
        Ok(_) => Ok(to(&format!("/app/devices/{id}"), "saved")),
        Err(refused) => show::device_with(&visit, id, Some(refused?)).await,
    }
}

async fn patch_device(visit: &Visit, form: &Form, id: &str) -> Result<Outcome, ApiError> {
    let patch = DevicePatch {
        name: form.some("name"),
        local_id: form.some("local_id"),
        notes: Some(form.some("notes")),
        cadence_s: Some(form.cadence_s()?),
        dev_eui: Some(form.some("dev_eui")),
        serial: None,
        site_id: None,
        model: None,
    };
    let management = visit.ctx.app.management();
    let made = management
        .patch_device(&visit.actor(form, ""), &form.reason(), id, form.if_match(), patch)
        .await;
    visit.settled(made).await
}

pub async fn move_device(mut visit: Visit) -> Answer {
    let form = visit.form().await?;
    let id = visit.ctx.id().to_owned();
    let management = visit.ctx.app.management();
    let (actor, reason) = (visit.actor(&form, ""), form.reason());
    let made = management
        .move_device(
            &actor,
            &reason,
            &id,
            form.if_match(),
            form.get("to_site_id"),
            None,
        )
        .await;
    match visit.settled(made).await.map_err(refused) {
        Ok(_) => Ok(to(&format!("/app/devices/{id}"), "moved")),
        Err(refused) => show::device_with(&visit, id, Some(refused?)).await,
    }
}

pub async fn remove_device(mut visit: Visit) -> Answer {
    let form = visit.form().await?;
    let id = visit.ctx.id().to_owned();
    let management = visit.ctx.app.management();
    let made = management
        .remove_device(&visit.actor(&form, ""), &form.reason(), &id, form.if_match())
        .await;
    match visit.settled(made).await.map_err(refused) {
        Ok(_) => Ok(to("/app", "removed")),
        Err(refused) => show::device_with(&visit, id, Some(refused?)).await,
    }
}

pub async fn rotate_device_token(mut visit: Visit) -> Answer {
    let form = visit.form().await?;
    let id = visit.ctx.id().to_owned();
    let management = visit.ctx.app.management();
    let overlap_s = form
        .get("overlap_min")
        .parse::<u32>()
        .unwrap_or(0)
        .saturating_mul(60);
    let made = management
        .rotate_device_token(&visit.actor(&form, ""), &form.reason(), &id, overlap_s)
        .await;
    match visit.settled(made).await {
        Ok(outcome) => show::onboarding_with(&visit, &id, fresh(&outcome, OPENS_DEVICE), None).await,
        Err(error) => show::device_with(&visit, id, Some(refused(error)?)).await,
    }
}

pub async fn change_limits(mut visit: Visit) -> Answer {
    let form = visit.form().await?;
    let device = form.get("device").to_owned();
    match patch_limits(&visit, &form).await.map_err(refused) {
        Ok(_) => Ok(to(&format!("/app/devices/{}", path_segment(&device)), "saved")),
        Err(refused) => show::device_with(&visit, device, Some(refused?)).await,
    }
}

/// An id as one segment of a path, whatever a form sent for it.
fn path_segment(id: &str) -> String {
    percent_encoding::utf8_percent_encode(id, percent_encoding::NON_ALPHANUMERIC)
        .to_string()
        .replace("%5F", "_")
}

async fn patch_limits(visit: &Visit, form: &Form) -> Result<Outcome, ApiError> {
    let patch = ChannelPatch {
        ok_min: Some(form.number("ok_min", "Lowest")?),
        ok_max: Some(form.number("ok_max", "Highest")?),
        grace_min: Some(
            form.number("grace_min", "Grace")?
                .map(|minutes| minutes.round().clamp(0.0, 1e9) as u32),
        ),
        label: None,
        unit: None,
    };
    let management = visit.ctx.app.management();
    let (actor, reason) = (visit.actor(form, ""), form.reason());
    let made = management
        .patch_channel(&actor, &reason, visit.ctx.id(), form.if_match(), patch)
        .await;
    visit.settled(made).await
}

pub async fn adopt(mut visit: Visit) -> Answer {
    let form = visit.form().await?;
    let name = form.get("name").to_owned();
    let device = NewDevice {
        site: form.get("site_id").to_owned(),
        local_id: free_local_id(&visit, &name),
        name,
        model: form.get("model").to_owned(),
        dev_eui: Some(visit.ctx.id().to_uppercase()),
        serial: None,
        cadence_s: None,
        notes: None,
    };
    let made = visit
        .ctx
        .app
        .management()
        .adopt(&visit.actor(&form, ""), &form.reason(), device)
        .await;
    match visit
        .settled(made.map(|adoption| adoption.device))
        .await
        .map_err(refused)
    {
        Ok(outcome) => Ok(to(&format!("/app/devices/{}", outcome.id), "added")),
        Err(refused) => show::tray_with(&visit, Some(refused?)).await,
    }
}

pub async fn add_integration(mut visit: Visit) -> Answer {
    let form = visit.form().await?;
    let management = visit.ctx.app.management();
    let (actor, reason) = (visit.actor(&form, ""), form.reason());
    let made = management
        .create_integration(&actor, &reason, form.get("kind"), form.get("name"))
        .await;
    match visit.settled(made).await.map_err(refused) {
        Ok(outcome) => {
            let token = fresh(&outcome, OPENS_INTEGRATION);
            match form.some("device") {
                Some(device) => show::onboarding_with(&visit, &device, None, token).await,
                None => show::integrations_with(&visit, token.map(|token| (outcome.id, token)), None).await,
            }
        }
        Err(refused) => show::integrations_with(&visit, None, Some(refused?)).await,
    }
}

pub async fn rotate_integration_token(mut visit: Visit) -> Answer {
    let form = visit.form().await?;
    let id = visit.ctx.id().to_owned();
    let management = visit.ctx.app.management();
    let made = management
        .rotate_integration_token(&visit.actor(&form, ""), &form.reason(), &id, 0)
        .await;
    match visit.settled(made).await.map_err(refused) {
        Ok(outcome) => {
            let token = fresh(&outcome, OPENS_INTEGRATION);
            show::integrations_with(&visit, token.map(|token| (id, token)), None).await
        }
        Err(refused) => show::integrations_with(&visit, None, Some(refused?)).await,
    }
}

pub async fn remove_integration(mut visit: Visit) -> Answer {
    let form = visit.form().await?;
    let management = visit.ctx.app.management();
    let made = management
        .remove_integration(&visit.actor(&form, ""), &form.reason(), visit.ctx.id(), None)
        .await;
    match visit.settled(made).await.map_err(refused) {
        Ok(_) => Ok(to("/app/integrations", "revoked")),
        Err(refused) => show::integrations_with(&visit, None, Some(refused?)).await,
    }
}

pub async fn ask_for_evidence(mut visit: Visit) -> Answer {
    let form = visit.form().await?;
    let typed = Typed {
        subject: form.some("subject"),
        from: form.some("from"),
        to: form.some("to"),
        recipients: form.get("recipients").to_owned(),
        error: None,
    };
    let subject = match form.get("subject").split_once(':') {
        Some(("site", id)) => Subject::Site(id.to_owned()),
        Some(("channel", id)) => Subject::Channel(id.to_owned()),
        Some((_, id)) => Subject::Device(id.to_owned()),
        None => Subject::Device(String::new()),
    };
    let asked = Asked {
        of: Of::Subject(subject),
        from: Some(form.get("from").to_owned()),
        to: Some(form.get("to").to_owned()),
        recipients: form.get("recipients").lines().map(str::to_owned).collect(),
    };
    let actor = visit.actor(&form, "");
    match take_on(&visit.ctx.app, &visit.user, actor, form.reason(), asked).await {
        Ok(_) => Ok(reply::see_other("/app/evidence")),
        Err(error) if error.status.is_client_error() => {
            let typed = Typed {
                error: Some(format!("Not asked for: {}.", error.message.trim_end_matches('.'))),
                ..typed
            };
            show::evidence_with(&visit, typed, error.status).await
        }
        Err(error) => Err(error),
    }
}

pub async fn invite(mut visit: Visit) -> Answer {
    let form = visit.form().await?;
    let user = NewUser {
        email: form.get("email").to_owned(),
        name: form.some("name"),
        role: form.get("role").to_owned(),
    };
    let made = visit
        .ctx
        .app
        .management()
        .add_user(&visit.actor(&form, ""), &form.reason(), user)
        .await;
    match visit.settled(made).await.map_err(refused) {
        Ok(_) => Ok(to("/app/users", "invited")),
        Err(refused) => show::users_with(&visit, Some(refused?.1.text), None).await,
    }
}

pub async fn remove_user(mut visit: Visit) -> Answer {
    let form = visit.form().await?;
    let id = visit.ctx.id().to_owned();
    let management = visit.ctx.app.management();
    let made = management
        .remove_user(&visit.actor(&form, ""), &form.reason(), &id, None)
        .await;
    match visit.settled(made).await.map_err(refused) {
        Ok(_) => {
            // A session that stays behind is refused on use all the same: its user is gone.
            visit
                .ctx
                .app
                .state()
                .end_sessions_of(&id)
                .map_err(ApiError::internal)?;
            Ok(to("/app/users", "saved"))
        }
        Err(refused) => show::users_with(&visit, None, Some(refused?)).await,
    }
}

pub async fn make_token(mut visit: Visit) -> Answer {
    let form = visit.form().await?;
    let user = visit.user.user.clone();
    let made = visit
        .ctx
        .app
        .management()
        .issue_user_token(&visit.actor(&form, ""), &form.reason(), &user)
        .await;
    let outcome = visit.settled(made).await?;
    show::tokens_with(&visit, fresh(&outcome, OPENS_API)).await
}

pub async fn revoke_token(mut visit: Visit) -> Answer {
    let form = visit.form().await?;
    let (user, token) = (visit.user.user.clone(), visit.ctx.id().to_owned());
    let own = visit
        .ctx
        .app
        .registry()
        .read()
        .token(&token)
        .is_some_and(|token| token.owner == user);
    if !own {
        return Err(ApiError::not_found("token_not_found", "you have no such token"));
    }
    let management = visit.ctx.app.management();
    let made = management
        .revoke_user_token(&visit.actor(&form, ""), &form.reason(), &user, &token)
        .await;
    visit.settled(made).await?;
    Ok(to("/app/tokens", "revoked"))
}

pub async fn rename_account(mut visit: Visit) -> Answer {
    let form = visit.form().await?;
    let rename = AccountCommand::Rename {
        name: form.get("name").to_owned(),
    };
    let management = visit.ctx.app.management();
    let made = management
        .change_account(&visit.actor(&form, ""), &form.reason(), form.if_match(), rename)
        .await;
    match visit.settled(made).await.map_err(refused) {
        Ok(_) => Ok(to("/app/account", "saved")),
        Err(refused) => show::account_with(&visit, Some(refused?)).await,
    }
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
    fn a_local_id_is_made_from_a_name() {
        for (name, expected) in [
            ("Walk-in fridge", "walk-in-fridge"),
            ("Chladnička č. 2", "chladnicka-c-2"),
            ("  ", "device"),
            ("冷蔵庫", "device"),
            ("--a--", "a"),
        ] {
            assert_eq!(local_id_of(name), expected, "{name}");
        }
        assert!(local_id_of(&"x".repeat(300)).len() <= 40);
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

    #[test]
    fn an_id_from_a_form_cannot_leave_its_segment() {
        assert_eq!(path_segment("dev_abc"), "dev_abc");
        assert_eq!(path_segment("../x?y#z\r\n"), "%2E%2E%2Fx%3Fy%23z%0D%0A");
    }
}
