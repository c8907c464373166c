//! `daybook-verify`: the auditor's own program. It needs nothing of the service but what anybody can fetch.
//!
//! One file a command. Data goes to stdout, talk and progress to stderr; `--json` makes the data one JSON document.
//! Invariant: nothing but this file decides how the process ends.
//! Source: FORMAT §5, §7, §8. Not here: verifying (`chain_publisher`).

mod head;
mod log;
mod pack;
mod proof;
mod receipt;
mod state;
mod watch;
mod webhook;

use chain_publisher::arguments::with_exit_codes;
use chain_publisher::terminal::exit_code;
use clap::{Args, Parser, Subcommand};
use std::process::ExitCode;

/// Check what a Daybook ledger shows, signs and promises
#[derive(Debug, Parser)]
#[command(name = "daybook-verify", version, arg_required_else_help = true, after_help = with_exit_codes(EXAMPLES))]
struct Cli {
    #[command(subcommand)]
    command: Command,
    #[command(flatten)]
    global: Global,
}

const EXAMPLES: &str = "\
Examples:
  daybook-verify log ./export --key log.vkey --head kept/2026-05-17.tlog-proof     the whole log
  daybook-verify head kept/*.tlog-proof --key log.vkey                            heads, against one another
  daybook-verify proof entry-42.tlog-proof --key log.vkey                         one entry
  daybook-verify pack march.pack.zip --key log.vkey --head kept/2026-04-01.tlog-proof
  daybook-verify receipt answer.json --log https://daybook.example.eu --key log.vkey
  daybook-verify watch https://daybook.example.eu --key log.vkey --state seen.checkpoint

The key comes from elsewhere: from whoever runs the ledger (`daybook key show`), once, on paper or in a contract.";

/// What every command takes.
#[derive(Debug, Args)]
struct Global {
    /// Answer with one JSON document on stdout
    #[arg(long, global = true)]
    json: bool,
}

#[derive(Debug, Subcommand)]
enum Command {
    Log(log::Log),
    Head(head::Head),
    Proof(proof::Proof),
    Pack(pack::Pack),
    Receipt(receipt::Receipt),
    Watch(watch::Watch),
}

fn main() -> ExitCode {
    let cli = Cli::parse();
    let json = cli.global.json;
    let outcome = match cli.command {
        Command::Log(command) => command.run(json),
        Command::Head(command) => command.run(json),
        Command::Proof(command) => command.run(json),
        Command::Pack(command) => command.run(json),
        Command::Receipt(command) => command.run(json),
        Command::Watch(command) => command.run(json),
    };
    exit_code("daybook-verify", outcome)
}
