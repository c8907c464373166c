//! Where the log goes: stderr, as text or JSON lines.
//!
//! Invariant: libraries that log headers or bodies at a fine level are held at `warn`, whatever the filter says,
//! because tokens travel in both.
//! Not here: what is logged (`redact` says what may be).

use crate::config::LogFormat;
use tracing_subscriber::EnvFilter;

/// Libraries that see requests before `redact` does.
const HELD: &[&str] = &[
    "hyper=warn",
    "hyper_util=warn",
    "warp=warn",
    "h2=warn",
    "rustls=warn",
];

/// Sets the process' log up. Called once, by the command that runs.
///
/// # Errors
/// In words, where the filter is not one or a log is set up already.
pub fn start(filter: &str, format: LogFormat) -> Result<(), String> {
    let mut filter: EnvFilter = filter
        .parse()
        .map_err(|error| format!("'{filter}' is not a log filter, such as info or api=debug: {error}"))?;
    for directive in HELD {
        filter = filter.add_directive(directive.parse().map_err(|_| (*directive).to_owned())?);
    }
    let log = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_ansi(std::io::IsTerminal::is_terminal(&std::io::stderr()))
        .with_writer(std::io::stderr);
    let started = match format {
        LogFormat::Text => log.with_target(false).compact().try_init(),
        LogFormat::Json => log.json().flatten_event(true).try_init(),
    };
    started.map_err(|error| error.to_string())
}
