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
mod fuzz;
mod keys;
mod notify_crash;
mod pack;
mod payloads;
mod self_audit;
mod telling;
mod tidy;
mod verify;
mod witness;
