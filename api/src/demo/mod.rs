//! The demo: a living site that shows what the service does.
//!
//! `simulate` what is measured (pure) · `cast` the sites and devices · `vendor` how each device says it · `client`
//! HTTP · `build` sites, devices, limits · `past` weeks of measurements before now · `live` new readings
//! every second.
//! Invariant: everything goes through the service's own HTTP endpoints; nothing here reaches behind them.
//! Not here: the command line (`cli::demo`), the service (`app`).

pub mod build;
pub mod cast;
pub mod client;
pub mod live;
pub mod past;
pub mod simulate;
pub mod vendor;
