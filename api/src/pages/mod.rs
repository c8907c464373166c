//! The console: pages rendered on the server, pure functions from view models to markup.
//!
//! | file | what |
//! |---|---|
//! | `view` | what several pages show, as plain values; what one page shows stands in its own `view` |
//! | `words` | numbers, units, times, codes as people read them |
//! | `parts`, `layout`, `assets` | states, forms; the shell; style sheet, script, policy |
//! | `chart`, `spark`, `series`, `ticks` | drawings as SVG |
//! | `overview`, `site`, `device`, `add_device`, `onboarding`, `channel` | devices |
//! | `tray`, `integrations`, `people` | unknown devices, webhooks, users, tokens, account |
//! | `alarms`, `rules` | alarms, silences; what is right, tried on the past before it is in force |
//! | `values` | where a channel's values come from: calibration, derivation |
//! | `contacts`, `outbound`, `marks` | who is told, what was sent, and how both stand |
//! | `evidence` | evidence packs: asked for, watched, fetched |
//! | `ledger` | the public page for auditors, and an entry with its proof |
//! | `sign_in` | signing in, and errors |
//! | `gather`, `routes` | what is shown to whom, and at which address |
//!
//! Invariants: every page works without JavaScript; nothing is fetched from elsewhere; state is never colour
//! alone; the word "ok" stands on no page.
//!
//! Not here: queries, decisions.

pub mod add_device;
pub mod alarms;
pub mod assets;
pub mod channel;
pub mod chart;
pub mod contacts;
pub mod device;
pub mod evidence;
pub mod gather;
#[cfg(test)]
mod golden;
pub mod integrations;
pub mod layout;
pub mod ledger;
pub mod marks;
pub mod onboarding;
pub mod outbound;
pub mod overview;
pub mod parts;
pub mod people;
pub mod routes;
pub mod rules;
#[cfg(test)]
mod sample;
#[cfg(test)]
mod sample_alarms;
pub mod series;
pub mod sign_in;
pub mod site;
pub mod spark;
#[cfg(test)]
mod tests;
pub mod ticks;
pub mod tray;
pub mod values;
pub mod verify_log;
pub mod view;
pub mod words;
