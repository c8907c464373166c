//! `daybook-verify receipt`: whether the log keeps to a receipt.
//!
//! Not here: the verdict (`chain_publisher::receipt`).

use chain_publisher::arguments::{Outside, Token, all_keys, read_file, tell, with_exit_codes};
use chain_publisher::receipt::{ReceiptQuestion, verify_receipt};
use chain_publisher::terminal::{Failure, Outcome};
use clap::Args;
use std::path::PathBuf;

/// The largest answer that is read: a thousand of the largest entries.
const ANSWER_BYTES_MAX: usize = 128 << 20;
/// The largest body of a request that is read.
const BODY_BYTES_MAX: usize = 64 << 20;

/// Check that the log keeps to a receipt
#[derive(Debug, Args)]
#[command(after_help = with_exit_codes(EXAMPLES))]
pub struct Receipt {
    /// The receipt: the signed note, or the whole answer to a request with `Prefer: return=receipt`
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// The log: a service, or a copy of it
    #[arg(long, value_name = "URL|DIR")]
    log: String,
    /// The body of the request, byte for byte
    #[arg(long, value_name = "FILE")]
    body: Option<PathBuf>,
    /// The answer that carried the receipt, where FILE is the note alone
    #[arg(long, value_name = "FILE")]
    answer: Option<PathBuf>,
    /// The receipt key, from elsewhere; otherwise those that the log's own entries name
    #[arg(long, value_name = "VKEY|FILE")]
    receipt_key: Vec<String>,
    #[command(flatten)]
    outside: Outside,
    #[command(flatten)]
    token: Token,
}

const EXAMPLES: &str = "\
Examples:
  daybook-verify receipt answer.json --body sent.json --log ./export --key log.vkey
  daybook-verify receipt answer.json --body sent.json --log https://daybook.example.eu --key log.vkey \\
      --receipt-key receipt.vkey
  daybook-verify receipt receipt.note --answer answer.json --log ./export --key log.vkey --head kept/2026-05-18.tlog-proof

TAMPERED names the position where something else stands than was promised: keep receipt and checkpoint, together they
are the proof. TRUNCATED says that the log goes on to a later time without the entry. A log that has not come so far yet
is UNANCHORED: ask again later.";

impl Receipt {
    pub fn run(self, json: bool) -> Outcome {
        let settings = self.outside.settings()?;
        let receipt = read_file(&self.file, ANSWER_BYTES_MAX)?;
        let read = |path: &Option<PathBuf>, bytes_max| {
            path.as_ref().map(|path| read_file(path, bytes_max)).transpose()
        };
        let body = read(&self.body, BODY_BYTES_MAX)?;
        let answer = read(&self.answer, ANSWER_BYTES_MAX)?;
        let source = self.token.source(&self.log)?;
        let question = ReceiptQuestion {
            name: &self.file.display().to_string(),
            receipt: &receipt,
            body: body.as_deref(),
            answer: answer.as_deref(),
            keys: &all_keys("--receipt-key", &self.receipt_key)?,
        };
        let report = verify_receipt(&*source, &question, &settings).map_err(Failure::usage)?;
        tell(&report, json)
    }
}
