//! `daybook-verify pack`: an evidence pack.
//!
//! Not here: the verdict (`chain_publisher::pack`).

use chain_publisher::arguments::{PackQuestion, with_exit_codes};
use chain_publisher::terminal::Outcome;
use clap::Args;

/// Check an evidence pack: that it holds, and that nothing of what was asked for is missing
#[derive(Debug, Args)]
#[command(after_help = with_exit_codes(EXAMPLES))]
pub struct Pack {
    #[command(flatten)]
    question: PackQuestion,
}

const EXAMPLES: &str = "\
Examples:
  daybook-verify pack march.pack.zip --key log.vkey --head kept/2026-04-01.tlog-proof
  daybook-verify pack march.pack.zip --policy witnesses.policy --json

A head of the pack's last day, of the day after it, or the checkpoint that it leads to confirms a pack. What a pack
says of keys and policies is a hint: without a key from elsewhere nothing is better than UNANCHORED.";

impl Pack {
    pub fn run(self, json: bool) -> Outcome {
        self.question.run(json)
    }
}
