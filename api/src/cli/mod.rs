//! The command line of the binary: one file a subcommand.
//!
//! Data goes to stdout, talk to stderr; `--json` makes the data one JSON document. Exit codes: 0 done, 1 it
//! failed, 2 usage or unreadable input; `verify` and `evidence verify` add those of FORMAT §8.
//! Invariant: nothing but this module decides how the process ends.
//! Not here: what the service does (`app`, `serve`).

use clap::{Args, Parser, Subcommand};
use serde::Serialize;
use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use crate::stores::LEDGER;
pub use chain_publisher::progress;
use chain_publisher::terminal::exit_code;
pub use chain_publisher::terminal::{FAILED, Failure, Outcome, USAGE, data, data_bytes, data_json, talk};

pub mod account;
pub mod as_of;
pub mod bench;
pub mod clock;
pub mod continues;
pub mod demo;
pub mod doctor;
pub mod evidence;
pub mod export;
pub mod key;
pub mod logging;
mod past;
pub mod publish;
pub mod rebuild;
pub mod replay;
pub mod replay_rules;
pub mod rule;
pub mod serve;
pub mod sign_in;
pub mod verify;
pub mod witness;

/// Daybook: an event-sourced, tamper-evident ledger for sensors.
#[derive(Debug, Parser)]
#[command(name = "daybook", version, arg_required_else_help = true, after_help = EXAMPLES)]
pub struct Cli {
    #[command(subcommand)]
    command: Command,
    #[command(flatten)]
    global: Global,
}

const EXAMPLES: &str = "\
Examples:
  daybook demo                               a living site with invented devices, to look around
  daybook serve                              on 127.0.0.1:8420, everything below ./daybook-data
  daybook sign-in owner@localhost            a link that signs a browser in
  daybook key show                           what an auditor needs to know, once
  daybook verify --key VKEY                  whether everything still holds
  daybook witness --dir DIR --log VKEY       cosign somebody else's log

Exit codes: 0 done, 1 it failed, 2 usage or unreadable input.";

/// What every command takes.
#[derive(Debug, Args)]
pub struct Global {
    /// Answer with one JSON document on stdout
    #[arg(long, global = true)]
    pub json: bool,
}

/// The commands.
#[derive(Debug, Subcommand)]
enum Command {
    Demo(demo::Demo),
    Serve(serve::Serve),
    SignIn(sign_in::SignIn),
    #[command(subcommand)]
    Account(account::Account),
    #[command(subcommand)]
    Clock(clock::Clock),
    #[command(subcommand)]
    Key(key::Key),
    Continue(continues::Continue),
    Verify(Box<verify::Verify>),
    Export(export::Export),
    Evidence(Box<evidence::Evidence>),
    Rebuild(rebuild::Rebuild),
    Replay(replay::Replay),
    AsOf(as_of::AsOf),
    #[command(subcommand)]
    Rule(rule::Rule),
    Doctor(doctor::Doctor),
    Bench(bench::Bench),
    Witness(witness::Witness),
    Publish(publish::Publish),
}

/// Where the data is; commands that do not serve need no more.
#[derive(Debug, Args, Serialize)]
pub struct DataDir {
    /// The data directory
    #[arg(
        long,
        env = "DAYBOOK_DATA",
        value_name = "DIR",
        default_value = "daybook-data"
    )]
    pub data: PathBuf,
}

/// Reads the arguments and does what they say.
pub fn run() -> ExitCode {
    let cli = Cli::parse();
    let outcome = match cli.command {
        Command::Demo(command) => command.run(&cli.global),
        Command::Serve(command) => command.run(&cli.global),
        Command::SignIn(command) => command.run(&cli.global),
        Command::Account(command) => command.run(&cli.global),
        Command::Clock(command) => command.run(&cli.global),
        Command::Key(command) => command.run(&cli.global),
        Command::Continue(command) => command.run(&cli.global),
        Command::Verify(command) => command.run(&cli.global),
        Command::Export(command) => command.run(&cli.global),
        Command::Evidence(command) => command.run(&cli.global),
        Command::Rebuild(command) => command.run(&cli.global),
        Command::Replay(command) => command.run(&cli.global),
        Command::AsOf(command) => command.run(&cli.global),
        Command::Rule(command) => command.run(&cli.global),
        Command::Doctor(command) => command.run(&cli.global),
        Command::Bench(command) => command.run(&cli.global),
        Command::Witness(command) => command.run(&cli.global),
        Command::Publish(command) => command.run(&cli.global),
    };
    exit_code("daybook", outcome)
}

/// How this program is called from where its user stands, for lines to paste: by its name where the shell found
/// it, by its path where it was started by one, as `cargo run` does.
pub fn program() -> String {
    called(std::env::args_os().next())
}

fn called(zeroth: Option<std::ffi::OsString>) -> String {
    match zeroth.map(|zeroth| zeroth.to_string_lossy().into_owned()) {
        Some(path) if path.contains('/') => shell_word(&path),
        _ => "daybook".to_owned(),
    }
}

/// Text as one word of a shell.
pub fn shell_word(text: &str) -> String {
    let plain = |c: char| c.is_alphanumeric() || "@._+-/=:".contains(c);
    if !text.is_empty() && text.chars().all(plain) && !text.starts_with('-') {
        text.to_owned()
    } else {
        format!("'{}'", text.replace('\'', r"'\''"))
    }
}

/// A directory as one word of a shell.
pub fn shell_path(path: &Path) -> String {
    shell_word(&path.to_string_lossy())
}

/// There is no ledger where one was looked for: what to do.
pub fn no_ledger(dir: &Path) -> String {
    format!(
        "there is no ledger in {0}: name its directory with --data, or begin one there with  {1} serve --data {2}",
        dir.display(),
        program(),
        shell_path(dir)
    )
}

/// No service answers on the data directory: what to do.
pub fn no_service(dir: &Path) -> String {
    if !dir.join(LEDGER).exists() {
        return no_ledger(dir);
    }
    format!(
        "no service runs on {}: start it with  {} serve --data {}",
        dir.display(),
        program(),
        shell_path(dir)
    )
}

/// An address could not be listened on: why, and what to do.
pub fn not_listening(address: SocketAddr, error: &io::Error) -> String {
    let hint = match error.kind() {
        io::ErrorKind::AddrInUse => {
            "; stop what listens there, or take another port with --listen (port 0 takes a free one)"
        }
        io::ErrorKind::PermissionDenied => {
            "; ports below 1024 need a right of their own: take a higher one with --listen, or CAP_NET_BIND_SERVICE"
        }
        io::ErrorKind::AddrNotAvailable => {
            "; this machine has no such address: give one that it has, or 0.0.0.0"
        }
        _ => "",
    };
    format!("{address} cannot be listened on: {error}{hint}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_to_paste_name_the_program_as_it_was_called() {
        assert_eq!(called(Some("daybook".into())), "daybook");
        assert_eq!(called(None), "daybook");
        assert_eq!(
            called(Some("target/release/daybook".into())),
            "target/release/daybook"
        );
        assert_eq!(called(Some("/my tools/daybook".into())), "'/my tools/daybook'");
        assert_eq!(shell_word("it's"), r"'it'\''s'");
        assert_eq!(shell_word("--data"), "'--data'");
    }

    #[test]
    fn an_address_in_use_says_what_to_do() {
        let taken = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
        let address = taken.local_addr().expect("its address");
        let error = std::net::TcpListener::bind(address).expect_err("taken");
        let said = not_listening(address, &error);
        assert!(
            said.contains(&address.to_string()) && said.contains("--listen"),
            "{said}"
        );
    }
}
