//! The routes, one file a resource, and the table of all of them.
//!
//! Invariant: a route that is not in [`all`] does not exist, and one that is, is in the OpenAPI document.
//! Not here: authentication and look-ups (`router`), pages (`pages`).

use crate::router::Route;

pub mod health;
pub mod ingest;

/// Every route.
pub fn all() -> impl Iterator<Item = &'static Route> {
    [health::ROUTES].into_iter().flatten()
}
