//! Evidence packs: made from a ledger of several accounts and days, verified whole, and forged in every way.
//!
//! `agree` other verifiers · `alarm` packs of alarms · `cli` as typed · `good` what is made and what it is worth · `forged` what somebody could
//! do who has the receipt key but not the log's.

mod agree;
pub mod alarm;
mod cli;
pub mod forged;
mod good;
