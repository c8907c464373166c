//! End-to-end tests, one binary: a real process, real HTTP, real files.

mod alarms;
mod api;
mod attacks;
mod browser;
mod check_log;
mod cli;
mod console;
mod crash;
mod demo;
mod faults;
mod forged_alarms;
mod fuzz;
mod keys;
mod notify_crash;
mod pack;
mod payloads;
mod publisher;
mod replayed;
mod recurrence;
mod roles;
mod self_audit;
mod tidy;
mod values;
mod values_browser;
mod verify;
mod witness;
