//! Being a witness of other people's logs: the key's file, and the server. No ledger and no database is opened.
//!
//! - `key`: the key that cosigns, in a file of its own.
//! - `http`: what is answered, and the limits on who asks.
//!
//! Not here: what is cosigned and what is not (`chain_publisher::witness`), asking witnesses (`crate::witnesses`).

pub mod http;
pub mod key;
