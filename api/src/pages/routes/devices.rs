//! Devices: added, adopted, changed, moved, removed; their tokens, and the limits of their channels.
//!
//! Not here: pages (`show`), what may be changed (`commands::handlers`).

use commands::handlers::Outcome;
use domain::aggregate::channel::ChannelPatch;
use domain::aggregate::device::{DevicePatch, NewDevice};

use super::super::add_device::view::DeviceForm;
use super::super::onboarding::MODELS;
use super::forms::{Form, fresh, refused, to};
use super::sites::make_site;
use super::{Visit, show};
use crate::errors::ApiError;
use crate::router::Answer;

/// Local ids made from a name are told apart up to this many.
const LOCAL_ID_TRIES: u32 = 1_000;
const OPENS_DEVICE: &str = "the ingest address of this device only";

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

#[cfg(test)]
mod tests {
    use super::*;

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
    fn an_id_from_a_form_cannot_leave_its_segment() {
        assert_eq!(path_segment("dev_abc"), "dev_abc");
        assert_eq!(path_segment("../x?y#z\r\n"), "%2E%2E%2Fx%3Fy%23z%0D%0A");
    }
}
