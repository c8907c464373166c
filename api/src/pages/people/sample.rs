//! To look at, and for the goldens.

use super::super::onboarding::sample::TOKEN;
use super::super::sample::{before, timeline, token_row};
use super::super::view::{FreshToken, TokenRow};
use super::view::{AccountPage, TokensPage, UserRow, UsersPage};

pub fn users() -> UsersPage {
    let user = |id: &str, name: Option<&str>, email: Option<&str>, role: &str| UserRow {
        id: id.into(),
        name: name.map(Into::into),
        email: email.map(Into::into),
        role: role.into(),
        is_viewer: id == "usr_1",
    };
    UsersPage {
        users: vec![
            user("usr_1", Some("Jana Nováková"), Some("jana@example.eu"), "owner"),
            user("usr_2", None, Some("inspection@example.org"), "auditor"),
        ],
        error: None,
    }
}

pub fn tokens() -> TokensPage {
    TokensPage {
        tokens: vec![TokenRow {
            prefix: "ua_live_".into(),
            ..token_row()
        }],
        fresh: Some(FreshToken {
            secret: TOKEN.replace("ds_", "ua_"),
            opens: "the API, as you".into(),
        }),
        base_url: "https://daybook.example.eu".into(),
        idempotency_key: "idem-2".into(),
    }
}

pub fn account() -> AccountPage {
    AccountPage {
        id: "acc_k3v7q2mxw5cztbnfy4hjd6rpae".into(),
        name: "Bistro Dunaj".into(),
        email: Some("jana@example.eu".into()),
        origin: "daybook.example.eu/main".into(),
        opened_at: before(60_000),
        timeline: timeline(),
        etag: "2".into(),
    }
}
