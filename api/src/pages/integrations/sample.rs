//! To look at, and for the goldens.

use super::super::onboarding::sample::TOKEN;
use super::super::sample::token_row;
use super::super::view::{FreshToken, TokenRow};
use super::view::{IntegrationRow, IntegrationsPage};

pub fn integrations(fresh: bool) -> IntegrationsPage {
    IntegrationsPage {
        base_url: "https://daybook.example.eu".into(),
        integrations: vec![IntegrationRow {
            id: "int_ttn".into(),
            name: "The Things Network".into(),
            kind: "lorawan".into(),
            token: Some(TokenRow {
                prefix: "whk_".into(),
                ..token_row()
            }),
        }],
        fresh: fresh.then(|| {
            (
                "int_ttn".into(),
                FreshToken {
                    secret: TOKEN.replace("ds_live_", "whk_"),
                    opens: "ingest".into(),
                },
            )
        }),
        idempotency_key: "idem-1".into(),
    }
}
