//! End-to-end tests, one binary.

mod fuzz;
mod tidy;
