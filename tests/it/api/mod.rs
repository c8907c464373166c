//! The API over HTTP, one file a group of routes.

mod access;
mod document;
mod ingest;
mod ledger;
mod limits;
mod resources;
mod restart;
mod stream;
mod tls;
mod walls;
