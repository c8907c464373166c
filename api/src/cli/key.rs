//! `daybook key show`: what an auditor needs to know once, from a place of their own choosing.
//!
//! Not here: making and rotating keys.

use super::{DataDir, Failure, Global, Outcome, data, data_json, no_ledger, talk};
use crate::entropy::SeededEntropy;
use crate::stores::{LEDGER, read_keys};
use clap::{Args, Subcommand};
use serde_json::json;
use std::sync::Arc;

/// Show the keys that verify this ledger
#[derive(Debug, Subcommand)]
#[command(after_help = EXAMPLES)]
pub enum Key {
    /// Print origin and verifier keys
    Show(Show),
}

/// Print origin and verifier keys
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct Show {
    #[command(flatten)]
    data: DataDir,
}

const EXAMPLES: &str = "\
Examples:
  daybook key show
  daybook key show --json --data /var/lib/daybook

The first line is the verifier key of checkpoints, in the form that C2SP tools take; the second that of receipts.
Exit codes: 0 the keys are on stdout; 1 there is no ledger yet.";

impl Key {
    /// Prints the keys.
    ///
    /// # Errors
    /// [`Failure`] where there are none.
    pub fn run(self, global: &Global) -> Outcome {
        let Self::Show(show) = self;
        if !show.data.data.join(LEDGER).exists() {
            return Err(Failure::failed(no_ledger(&show.data.data)));
        }
        let entropy: Arc<dyn domain::ports::Entropy> =
            Arc::new(SeededEntropy::from_os().map_err(Failure::failed)?);
        let (origin, log_key, receipt_key) = read_keys(&show.data.data, &entropy).map_err(Failure::failed)?;
        if global.json {
            data_json(&json!({"origin": origin, "log_key": log_key, "receipt_key": receipt_key}))?;
        } else {
            data(&log_key)?;
            data(&receipt_key)?;
            talk(&format!("Origin: {origin}"));
        }
        Ok(0)
    }
}
