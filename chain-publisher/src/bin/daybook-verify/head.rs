//! `daybook-verify head`: heads of days, each by itself and against one another.
//!
//! Not here: the verdict (`chain_publisher::kept_heads`).

use chain_publisher::anchor::authority::certificates;
use chain_publisher::anchor::{ANCHOR_BYTES_MAX, ANCHOR_KINDS, AnchorKind};
use chain_publisher::arguments::{Outside, Token, read_file, tell, with_exit_codes};
use chain_publisher::evidence::EVIDENCE_MAX;
use chain_publisher::kept_heads::{HeadFile, verify_heads};
use chain_publisher::terminal::{Failure, Outcome};
use clap::Args;
use domain::tlog_proof::TLOG_PROOF_BYTES_MAX;
use std::path::{Path, PathBuf};

/// Check heads of days, each by itself and against one another
#[derive(Debug, Args)]
#[command(after_help = with_exit_codes(EXAMPLES))]
pub struct Head {
    /// The heads, in any order; a name such as 2026-05-17.tlog-proof must tell the day. Their .late.tlog-proof and
    /// .consistency files too
    #[arg(value_name = "FILE", required = true)]
    file: Vec<PathBuf>,
    /// The log: its tree shows whether all of them are of one history
    #[arg(long, value_name = "URL|DIR")]
    log: Option<String>,
    /// The certificate of a time-stamping authority, or of who vouches for it (PEM or DER); as often as there are
    #[arg(long, value_name = "FILE")]
    tsa: Vec<PathBuf>,
    #[command(flatten)]
    outside: Outside,
    #[command(flatten)]
    token: Token,
}

const EXAMPLES: &str = "\
Examples:
  daybook-verify head 2026-05-17.tlog-proof --key log.vkey
  daybook-verify head kept/*.tlog-proof --key log.vkey --policy witnesses.policy
  daybook-verify head given/*.tlog-proof --key log.vkey --head kept/2026-05-17.tlog-proof
  daybook-verify head kept/*.tlog-proof --key log.vkey --log https://daybook.example.eu
  daybook-verify head kept/*/*.tlog-proof kept/*/*.consistency --key log.vkey
  daybook-verify head 2026-05-17.tlog-proof --key log.vkey --tsa tsa-ca.pem

Time stamps beside a head (.tsr, .ots of the same name) are read, and what they say is told. With --tsa the signature on
a .tsr is checked, too: one that does not hold, or is by another authority, is TAMPERED. A head that a kept one (--head) or enough witnesses (--policy) confirm is VERIFIED, and so are those that it
leads back to; with the key alone it is UNANCHORED. A .late.tlog-proof proves a day under a later checkpoint, which more
witnesses have cosigned; a .consistency file shows without the log that a head continues the one before as a tree. Two
heads that both hold and contradict each other are FORKED: keep both files,
they are the proof.";

/// The time stamps that lie beside a head.
fn stamps(head: &Path) -> Result<Vec<(AnchorKind, Vec<u8>)>, Failure> {
    let mut stamps = Vec::new();
    for kind in ANCHOR_KINDS {
        let path = head.with_extension(kind.ending());
        if path.exists() {
            stamps.push((kind, read_file(&path, ANCHOR_BYTES_MAX)?));
        }
    }
    Ok(stamps)
}

impl Head {
    pub fn run(self, json: bool) -> Outcome {
        let mut settings = self.outside.settings()?;
        for path in &self.tsa {
            let found = certificates(&read_file(path, ANCHOR_BYTES_MAX)?);
            let found = found.map_err(|what| Failure::usage(format!("{}: {what}", path.display())))?;
            settings.authorities.extend(found);
        }
        if self.file.len() > EVIDENCE_MAX {
            return Err(Failure::usage(format!("more than {EVIDENCE_MAX} heads")));
        }
        let read = |path: &PathBuf| {
            Ok(HeadFile {
                name: path.display().to_string(),
                bytes: read_file(path, TLOG_PROOF_BYTES_MAX)?,
                stamps: stamps(path)?,
            })
        };
        let files = self.file.iter().map(read).collect::<Result<Vec<_>, Failure>>()?;
        let log = self
            .log
            .as_deref()
            .map(|log| self.token.source(log))
            .transpose()?;
        let report = verify_heads(&files, &settings, log.as_deref()).map_err(Failure::usage)?;
        tell(&report, json)
    }
}
