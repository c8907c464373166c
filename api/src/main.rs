//! The binary `daybook`.
//!
//! Not here: everything; `api::cli` reads the arguments.

fn main() -> std::process::ExitCode {
    api::cli::run()
}
