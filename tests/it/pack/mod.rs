//! Evidence packs: made from a ledger of several accounts and days, verified whole, and forged in every way.
//!
//! `alarm` packs of alarms · `cli` as typed · `good` what is made and what it is worth · `forged` what somebody could do who has the receipt key but not the log's.

mod alarm;
mod cli;
mod forged;
mod good;
