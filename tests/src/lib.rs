//! What the end-to-end tests share.
//!
//! | file | holds |
//! |---|---|
//! | `daybook` | a real service in a directory of its own |
//! | `publisher` | a real publisher that holds a service's log key |
//! | `witness` | a real witness, and a log of numbers that is offered to it |
//! | `small_ledger` | a ledger in memory, recorded by the real sequencer |
//! | `pack_ledger` | a ledger of several accounts and many days, and evidence packs of it, good and forged |
//! | `simulated_site`, `replayed` | a year of a site in which much goes wrong; what the rules make of it, again |
//! | `chromium` | a real browser |
//! | `golang` | programs in Go |
//! | `python` | packages of PyPI in an environment of their own |
//! | `smtp` | a real mail server that can be told to misbehave |
//! | `mosquitto` | a real MQTT broker |
//! | `certificates` | an authority and a server's certificate for a test |
//! | `debian` | what Debian has to be asked for |
//! | `dice` | chance from a seed |
//! | `load`, `follower` | a device that remembers what it was told; a ledger followed from outside |
//! | `fuzz`, `payloads` | fuzz targets' bodies; payload cases |
//!
//! Not here: tests (`it/`).

use std::time::Duration;

/// How long a test waits for what is bound to come before it says that it never came: long, since the machine may be
/// busy, and since a test waits that long only to fail.
pub const PATIENCE: Duration = Duration::from_secs(300);

pub mod certificates;
pub mod chromium;
pub mod daybook;
pub mod debian;
pub mod dice;
pub mod follower;
pub mod fuzz;
pub mod golang;
pub mod load;
pub mod mosquitto;
pub mod pack_ledger;
pub mod payloads;
pub mod publisher;
pub mod python;
pub mod receiver;
pub mod replayed;
pub mod simulated_site;
pub mod small_ledger;
pub mod smtp;
pub mod witness;
