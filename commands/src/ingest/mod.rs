//! The way in for foreign payloads.
//!
//! A decoder is a pure function from bytes to [`decoded::Decoded`]; one file a vendor. [`native`] is the service's
//! own format, [`shelly`], [`lorawan`] and [`efento`] are the foreign ones, each with one `decode`.
//! Not here: sockets, tokens, the registry, duplicates.

pub mod channels;
mod chirpstack;
pub mod decoded;
pub mod efento;
mod gather;
mod json;
mod loose;
pub mod lorawan;
mod lorawan_keys;
mod lorawan_payload;
pub mod native;
pub mod pipeline;
pub mod sanity;
pub mod shelly;
mod shelly_gen1;
mod shelly_query;
mod shelly_rpc;
mod tts;
mod units;

pub use json::FOREIGN_BYTES_MAX;
