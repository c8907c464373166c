//! `daybook-verify log`: a whole log, as it is served or as a copy.
//!
//! Not here: the verdict (`chain_publisher::verify`).

use chain_publisher::arguments::{HowClosely, Outside, Token, tell, verify_with_bar, with_exit_codes};
use chain_publisher::terminal::Outcome;
use clap::Args;

/// Check a whole log: every entry, every tile, every head
#[derive(Debug, Args)]
#[command(after_help = with_exit_codes(EXAMPLES))]
pub struct Log {
    /// A service, or a copy in tlog-tiles layout such as `daybook export` writes
    #[arg(value_name = "URL|DIR")]
    log: String,
    #[command(flatten)]
    outside: Outside,
    #[command(flatten)]
    token: Token,
    #[command(flatten)]
    closely: HowClosely,
}

const EXAMPLES: &str = "\
Examples:
  daybook-verify log ./export --key log.vkey --head kept/2026-05-17.tlog-proof
  daybook-verify log https://daybook.example.eu --key log.vkey --head kept/2026-05-17.tlog-proof --allow-partial
  daybook-verify log ./new --key new.vkey --continues ./old --continues-key old.vkey
  DAYBOOK_TOKEN=$(cat auditor.token) daybook-verify log https://daybook.example.eu --key log.vkey

A URL without a token shows the tree and not the entries: then the hashes are checked in their place.";

impl Log {
    pub fn run(self, json: bool) -> Outcome {
        let settings = self.closely.settings(self.outside.settings()?)?;
        let source = self.token.source(&self.log)?;
        tell(&verify_with_bar(&*source, &settings)?, json)
    }
}
