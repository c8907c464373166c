//! The frame of every page, and the pages about the account: users, tokens, integrations, tray.
//!
//! Not here: devices (`devices`).

use domain::ports::Entropy;
use domain::registry::{Integration, User};
use projections::QueryError;
use serde_json::Value;

use super::super::integrations::view::{IntegrationRow, IntegrationsPage};
use super::super::onboarding::MODELS;
use super::super::parts;
use super::super::people::view::{AccountPage, TokensPage, UserRow, UsersPage};
use super::super::tray::view::{Parked, TrayPage};
use super::super::view::{ChannelNow, Frame, FreshToken, LedgerStrip, Limits, OpenAlarms, Viewer};
use super::super::words::{self, Zone};
use super::{Asker, changes, devices};
use crate::judged::Judged;

/// Changes listed on the account's page.
const CHANGES_MAX: usize = 100;

/// The frame of somebody who is signed in.
///
/// # Errors
/// `Unavailable`.
pub fn frame(asker: &Asker<'_>, user: &str, csrf: &str, ledger: LedgerStrip) -> Result<Frame, QueryError> {
    let alarms = asker.rows.alarm_counts(asker.account)?;
    let (person, account, zone, tray) = {
        let registry = asker.known.registry();
        (
            registry.user(asker.account, user).cloned(),
            registry
                .account(asker.account)
                .map(|account| (account.id.clone(), account.state.name.clone())),
            registry
                .sites(asker.account, None)
                .next()
                .map(|site| site.state.timezone.clone()),
            registry.trays(asker.account, None).count() as u64,
        )
    };
    let role = person
        .as_ref()
        .map_or_else(String::new, |person| person.state.role.clone());
    let text = |person: &User| {
        let open = |field| asker.known.text("user", &person.id, field);
        open(person.state.name.as_ref()).or_else(|| open(person.state.email.as_ref()))
    };
    Ok(Frame {
        now: asker.now,
        zone: zone.map_or_else(Zone::utc, |zone| Zone::named(&zone)),
        viewer: Some(Viewer {
            name: person.as_ref().and_then(text).unwrap_or_else(|| user.to_owned()),
            may_edit: role == domain::aggregate::user::OWNER,
            role,
            account: account
                .and_then(|(id, name)| asker.known.text("account", &id, name.as_ref()))
                .unwrap_or_else(|| asker.account.to_owned()),
            csrf: csrf.to_owned(),
        }),
        ledger,
        tray,
        alarms: OpenAlarms {
            open: alarms.open,
            unseen: alarms.unacknowledged,
        },
        notice: None,
    })
}

/// The users of the account; `viewer` is who looks.
pub fn users(asker: &Asker<'_>, viewer: &str, error: Option<String>) -> UsersPage {
    let users: Vec<User> = asker
        .known
        .registry()
        .users(asker.account, None)
        .cloned()
        .collect();
    let row = |user: &User| {
        let text = |field| asker.known.text("user", &user.id, field);
        UserRow {
            id: user.id.to_string(),
            name: text(user.state.name.as_ref()),
            email: text(user.state.email.as_ref()),
            role: user.state.role.clone(),
            is_viewer: *user.id == *viewer,
        }
    };
    UsersPage {
        users: users.iter().map(row).collect(),
        error,
    }
}

/// The API tokens of who looks.
pub fn tokens(
    asker: &Asker<'_>,
    viewer: &str,
    fresh: Option<FreshToken>,
    base_url: String,
    entropy: &dyn Entropy,
) -> TokensPage {
    TokensPage {
        tokens: devices::tokens_of(asker, viewer, "you"),
        fresh,
        base_url,
        idempotency_key: parts::idempotency_key(entropy),
    }
}

/// The integrations; `fresh` is one that was made or rotated just now.
pub fn integrations(
    asker: &Asker<'_>,
    fresh: Option<(String, FreshToken)>,
    base_url: String,
    entropy: &dyn Entropy,
) -> IntegrationsPage {
    let found: Vec<Integration> = asker
        .known
        .registry()
        .integrations(asker.account, None)
        .cloned()
        .collect();
    let row = |it: &Integration| {
        let name = asker.known.text("integration", &it.id, it.state.name.as_ref());
        let name = name.unwrap_or_else(|| it.id.to_string());
        IntegrationRow {
            token: devices::tokens_of(asker, &it.id, &name).pop(),
            id: it.id.to_string(),
            kind: it
                .state
                .kind
                .map_or_else(String::new, |kind| kind.as_str().to_owned()),
            name,
        }
    };
    IntegrationsPage {
        base_url,
        integrations: found.iter().map(row).collect(),
        fresh,
        idempotency_key: parts::idempotency_key(entropy),
    }
}

/// The account's page.
///
/// # Errors
/// `Unavailable`.
pub fn account(asker: &Asker<'_>, viewer: &str, origin: &str) -> Result<AccountPage, QueryError> {
    let (account, user) = {
        let registry = asker.known.registry();
        let account = registry.account(asker.account);
        (
            account.map(|account| {
                (
                    account.state.name.clone(),
                    account.created.at,
                    account.state.sequence,
                )
            }),
            registry.user(asker.account, viewer).cloned(),
        )
    };
    let (name, opened_at, sequence) = account.unwrap_or((None, asker.now, 0));
    let email = |user: User| asker.known.text("user", &user.id, user.state.email.as_ref());
    Ok(AccountPage {
        id: asker.account.to_owned(),
        name: asker
            .known
            .text("account", asker.account, name.as_ref())
            .unwrap_or_default(),
        email: user.and_then(email),
        origin: origin.to_owned(),
        opened_at,
        timeline: changes::timeline(asker, None, CHANGES_MAX)?,
        etag: sequence.to_string(),
    })
}

/// The tray.
///
/// # Errors
/// `Unavailable`.
pub fn tray(asker: &Asker<'_>) -> Result<TrayPage, QueryError> {
    let waiting: Vec<String> = asker
        .known
        .registry()
        .trays(asker.account, None)
        .map(|tray| tray.id.to_string())
        .collect();
    let trays = asker.rows.trays(asker.account)?;
    Ok(TrayPage {
        parked: trays
            .iter()
            .filter(|tray| waiting.contains(&tray.id))
            .map(parked)
            .collect(),
        sites: devices::site_cards(asker),
        models: MODELS
            .iter()
            .filter(|model| model.tab == "ttn")
            .map(|model| (model.code.to_owned(), model.name.to_owned()))
            .collect(),
    })
}

fn parked(tray: &projections::query::Tray) -> Parked {
    let payload: Value = serde_json::from_str(&tray.last_payload).unwrap_or_default();
    let decoded = payload["decoded"].as_array().cloned().unwrap_or_default();
    Parked {
        dev_eui: tray.dev_eui.clone(),
        first: tray.first_at,
        last: tray.last_at,
        uplinks: tray.parked,
        sample: decoded.iter().filter_map(measured).collect(),
        f_port: payload["f_port"]
            .as_u64()
            .and_then(|port| u8::try_from(port).ok()),
    }
}

/// One decoded measurement in words.
fn measured(measurement: &Value) -> Option<(String, String)> {
    let kind = measurement["kind"].as_str()?;
    let unit = measurement["unit"]
        .as_str()
        .or_else(|| domain::kinds::find(kind).map(|k| k.unit));
    let channel = ChannelNow {
        id: String::new(),
        sensor: String::new(),
        kind: kind.to_owned(),
        label: measurement["label"].as_str().map(str::to_owned),
        unit: unit.unwrap_or("").to_owned(),
        auxiliary: false,
        latest: None,
        old: false,
        judged: Judged::default(),
        limits: Limits::default(),
        etag: String::new(),
    };
    let value = measurement["value"].as_f64()?;
    Some((
        parts::channel_name(&channel),
        words::value_with_unit(kind, value, &channel.unit),
    ))
}
