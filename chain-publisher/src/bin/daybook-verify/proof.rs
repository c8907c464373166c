//! `daybook-verify proof`: one tlog-proof.
//!
//! Not here: the verdict (`chain_publisher::one_proof`).

use chain_publisher::arguments::{Outside, Token, read_file, tell, with_exit_codes};
use chain_publisher::one_proof::{ProofQuestion, verify_proof};
use chain_publisher::terminal::{Failure, Outcome};
use clap::Args;
use domain::tlog_proof::{EXTRA_BYTES_MAX, TLOG_PROOF_BYTES_MAX};
use std::path::PathBuf;

/// Check that one entry is in the log where a tlog-proof says
#[derive(Debug, Args)]
#[command(after_help = with_exit_codes(EXAMPLES))]
pub struct Proof {
    /// The proof (C2SP tlog-proof)
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// The entry's exact bytes, where the proof does not hold them
    #[arg(long, value_name = "FILE")]
    entry: Option<PathBuf>,
    /// The log: its tree shows whether kept heads of other sizes confirm the proof
    #[arg(long, value_name = "URL|DIR")]
    log: Option<String>,
    #[command(flatten)]
    outside: Outside,
    #[command(flatten)]
    token: Token,
}

const EXAMPLES: &str = "\
Examples:
  daybook-verify proof entry-42.tlog-proof --key log.vkey
  daybook-verify proof entry-42.tlog-proof --key log.vkey --policy witnesses.policy
  daybook-verify proof pruned.tlog-proof --entry entry.json --key log.vkey
  daybook-verify proof entry-42.tlog-proof --key log.vkey --head kept/2026-05-17.tlog-proof \\
      --log https://daybook.example.eu

With the key alone a proof that holds is UNANCHORED: the log might show another history to others. Enough witnesses
(--policy) or a kept head (--head, mostly with --log) make it VERIFIED.";

impl Proof {
    pub fn run(self, json: bool) -> Outcome {
        let settings = self.outside.settings()?;
        let proof = read_file(&self.file, TLOG_PROOF_BYTES_MAX)?;
        if !proof.starts_with(b"c2sp.org/tlog-proof@") {
            let not = "not a proof: it does not begin with c2sp.org/tlog-proof@v1";
            return Err(Failure::usage(format!("{}: {not}", self.file.display())));
        }
        let entry = self
            .entry
            .as_ref()
            .map(|path| read_file(path, EXTRA_BYTES_MAX))
            .transpose()?;
        let log = self
            .log
            .as_deref()
            .map(|log| self.token.source(log))
            .transpose()?;
        let question = ProofQuestion {
            name: &self.file.display().to_string(),
            proof: &proof,
            entry: entry.as_deref(),
            log: log.as_deref(),
        };
        tell(&verify_proof(&question, &settings).map_err(Failure::usage)?, json)
    }
}
