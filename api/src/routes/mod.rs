//! The routes, one file a resource, and the table of all of them.
//!
//! Invariant: a route that is not in [`all`] does not exist, and one that is, is in the OpenAPI document.
//! Not here: authentication and look-ups (`router`), pages (`pages`).

use crate::openapi;
use crate::router::Route;

pub mod account;
pub mod artifacts;
pub mod as_of;
pub mod change;
pub mod contacts;
pub mod corrections;
pub mod derived;
pub mod devices;
pub mod entries;
pub mod events;
pub mod evidence;
pub mod heads;
pub mod health;
pub mod ingest;
pub mod integrations;
pub mod life;
pub mod lists;
pub mod log;
pub mod measurements;
pub mod outbound;
pub mod proofs;
pub mod receipt;
pub mod refusals;
pub mod rules;
pub mod sensors;
pub mod sign_in;
pub mod silences;
pub mod sites;
pub mod stream;
pub mod texts;
pub mod timeline;
pub mod tokens;
pub mod tray;
pub mod users;

/// Every route.
pub fn all() -> impl Iterator<Item = &'static Route> {
    [
        ingest::ROUTES,
        sites::ROUTES,
        as_of::ROUTES,
        devices::ROUTES,
        sensors::ROUTES,
        measurements::ROUTES,
        rules::ROUTES,
        events::ROUTES,
        silences::ROUTES,
        corrections::ROUTES,
        derived::ROUTES,
        integrations::ROUTES,
        contacts::ROUTES,
        outbound::ROUTES,
        tray::ROUTES,
        users::ROUTES,
        tokens::ROUTES,
        account::ROUTES,
        evidence::ROUTES,
        artifacts::ROUTES,
        timeline::ROUTES,
        refusals::ROUTES,
        entries::ROUTES,
        heads::ROUTES,
        log::ROUTES,
        proofs::ROUTES,
        stream::ROUTES,
        sign_in::ROUTES,
        health::ROUTES,
        openapi::ROUTES,
        crate::pages::routes::ROUTES,
    ]
    .into_iter()
    .flatten()
}
