//! The API over HTTP, one file a group of routes.

pub mod access;
mod as_of;
mod document;
mod evidence;
mod ingest;
mod ledger;
mod limits;
mod measurements;
mod repeats;
mod resources;
mod restart;
mod stream;
mod tls;
mod tokens;
mod walls;
mod wrong;
