//! Whole services in this process, under a clock of the test's.
//!
//! Not here: what needs no clock of its own (the workspace's end-to-end tests, with real processes).

mod anchors;
mod clock;
mod evidence;
mod mail;
mod notify;
mod publisher;
mod publishing;
mod rotated;
mod service;
mod witnesses;
