//! What commands say and how they end: data on stdout, talk on stderr.
//!
//! Exit codes: 0 done, 1 it failed, 2 usage or unreadable input; what verifies adds those of FORMAT §8.
//! Invariant: nothing here ends the process; whoever owns `main` does.
//! Not here: what is said (each command), bars (`progress`).

use serde::Serialize;
use std::io::{self, Write};
use std::process::ExitCode;

/// It failed.
pub const FAILED: u8 = 1;
/// Usage, or input that cannot be read.
pub const USAGE: u8 = domain::verify::EXIT_UNUSABLE;

/// Why a command did not do what it was asked to.
#[derive(Debug)]
pub struct Failure {
    /// The exit code.
    pub code: u8,
    /// For a person: what is wrong and what to do.
    pub message: String,
}

impl Failure {
    /// It failed.
    pub fn failed(message: impl ToString) -> Self {
        Self {
            code: FAILED,
            message: message.to_string(),
        }
    }

    /// Usage, or input that cannot be read.
    pub fn usage(message: impl ToString) -> Self {
        Self {
            code: USAGE,
            message: message.to_string(),
        }
    }
}

/// How a command ended: the exit code, 0 for done.
pub type Outcome = Result<u8, Failure>;

/// How the process of that name ends; a failure is told first.
pub fn exit_code(program: &str, outcome: Outcome) -> ExitCode {
    match outcome {
        Ok(code) => ExitCode::from(code),
        Err(failure) => {
            talk(&format!("{program}: {}", failure.message));
            ExitCode::from(failure.code)
        }
    }
}

/// Writes a line of talk to stderr; a closed stderr is no reason to stop.
pub fn talk(line: &str) {
    let _ = writeln!(io::stderr(), "{line}");
}

/// Writes data to stdout.
///
/// # Errors
/// Where stdout is closed.
pub fn data(text: &str) -> Result<(), Failure> {
    writeln!(io::stdout(), "{text}").map_err(Failure::failed)
}

/// Writes bytes to stdout; `false` where nobody reads them any more.
///
/// # Errors
/// Where they cannot be written.
pub fn data_bytes(bytes: &[u8]) -> Result<bool, Failure> {
    match io::stdout().lock().write_all(bytes) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(false),
        Err(error) => Err(Failure::failed(error)),
    }
}

/// Writes a JSON document to stdout.
///
/// # Errors
/// Where stdout is closed.
pub fn data_json(value: &impl Serialize) -> Result<(), Failure> {
    data(&serde_json::to_string_pretty(value).map_err(Failure::failed)?)
}
