//! End-to-end tests, one binary: a real process, real HTTP, real files.

mod api;
mod demo;
mod fuzz;
mod tidy;
mod verify;
