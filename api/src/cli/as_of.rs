//! `daybook as-of`: everything that was in force at a site at an instant, as one JSON document.
//!
//! Invariants: the ledger is only read, also beside a running service; no reading is looked at; sealed values are opened
//! where the keys are there and stay sealed otherwise.
//! Not here: the fold (`domain::in_force`), the document (`crate::as_of`).

use super::{DataDir, Failure, Global, Outcome, data, data_json, no_ledger, talk};
use crate::as_of::{Decided, Moment, MomentError, Proofs, Show, fold};
use crate::clock::SystemClock;
use crate::data_source::DataSource;
use crate::entropy::SeededEntropy;
use crate::stores::{KEYS, LEDGER, read_origin};
use clap::Args;
use commands::keys::FileKeyStore;
use commands::sequencer::{StreamPositions, read_positions};
use domain::checkpoint::SignedCheckpoint;
use domain::entry::Entry;
use domain::event::Metadata;
use domain::ports::{Clock, Entropy, EventLog, KeyStore};
use domain::{Date, Position, TreeSize};
use serde_json::Value;
use std::path::Path;
use std::sync::Arc;

/// Say what was in force at a site at an instant
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct AsOf {
    /// A time with its zone, a day (its first moment, UTC), or a position
    #[arg(value_name = "DATE|TIME|POSITION")]
    at: String,
    /// The site's id (site_…)
    #[arg(value_name = "SITE")]
    site: String,
    /// With an inclusion proof of each entry under the latest checkpoint, which is given once
    #[arg(long)]
    proof: bool,
    #[command(flatten)]
    data: DataDir,
}

const EXAMPLES: &str = "\
Examples:
  daybook as-of 2026-05-17T08:22:00Z site_k7pzqw2m4x
  daybook as-of 2026-05-17 site_k7pzqw2m4x --proof > 17-may.json
  daybook as-of 2026-05-17 site_k7pzqw2m4x | jq '.devices[].value.name'

One JSON document on stdout: the site, its devices, channels with their limits, rules and calibrations, users with
their rights, integrations, tokens (never a secret or its hash), software, retention and witness policy; each with the
position and leaf hash of the entry that put it as it is, and the entries that it follows from. What was recorded later
counts as not known then. It works on a stopped directory and beside a running service.

Exit codes: 0 said; 1 the ledger cannot be read; 2 usage, an instant that has not come or was before the ledger, or no
such site then.";

impl AsOf {
    /// Says it.
    ///
    /// # Errors
    /// [`Failure`].
    pub fn run(self, global: &Global) -> Outcome {
        let dir = &self.data.data;
        let moment = moment(&self.at)?;
        if !dir.join(LEDGER).exists() {
            return Err(Failure::usage(no_ledger(dir)));
        }
        let opened = DataSource::open(dir).map_err(Failure::failed)?;
        let origin = read_origin(dir).map_err(Failure::usage)?.unwrap_or_default();
        let keys = keys(dir);
        let runtime = tokio::runtime::Builder::new_current_thread()
            .build()
            .map_err(Failure::failed)?;
        let document = runtime.block_on(self.document(&opened, &origin, moment, keys.as_ref()))?;
        if global.json {
            data(&document.to_string())?;
        } else {
            data_json(&document)?;
        }
        Ok(0)
    }

    async fn document(
        &self,
        opened: &DataSource,
        origin: &str,
        moment: Moment,
        keys: Option<&FileKeyStore>,
    ) -> Result<Value, Failure> {
        let ledger = opened.ledger();
        let decided = moment
            .decide(ledger, ledger.size(), SystemClock::default().now())
            .await;
        let decided = decided.map_err(failure)?;
        let positions = read_positions(origin, ledger, ledger, ledger, decided.size())
            .map_err(|error| Failure::failed(format!("{error}; `daybook verify` says more")))?;
        let account = account_of(ledger, &positions, &self.site, &decided).await?;
        let folded = fold(ledger, &positions, &account, decided.size())
            .await
            .map_err(failure)?;
        let site = folded
            .at_site(&self.site, decided.at)
            .ok_or_else(|| no_site(&self.site, &decided))?;
        let checkpoint = opened.checkpoint().filter(|_| self.proof);
        let size = checkpoint.map(signed_size).transpose()?;
        if self.proof && size.is_none() {
            return Err(Failure::usage(
                "nothing was signed yet, so nothing can be proven: leave out --proof",
            ));
        }
        let show = Show {
            origin,
            keys: keys.map(|keys| keys as &dyn KeyStore),
            proofs: checkpoint.zip(size).map(|(checkpoint, size)| Proofs {
                tiles: ledger,
                size,
                checkpoint,
            }),
        };
        show.site(&decided, &folded, &site).map_err(failure)
    }
}

/// The account of a site that was there then.
async fn account_of(
    log: &dyn EventLog,
    positions: &StreamPositions,
    site: &str,
    decided: &Decided,
) -> Result<String, Failure> {
    let first = positions.of("site", site).first().copied();
    let first: Position = first
        .filter(|first| decided.size().contains(*first))
        .ok_or_else(|| no_site(site, decided))?;
    let block = log.read_at(&[first]).await.map_err(Failure::failed)?;
    let entry = block.get(0).and_then(|(_, bytes)| Entry::read(bytes).ok());
    let metadata = entry.and_then(|entry| Metadata::read(entry.metadata).ok());
    metadata.and_then(|metadata| metadata.account).ok_or_else(|| {
        Failure::failed(format!(
            "the entry at position {first} names no account; `daybook verify` says more"
        ))
    })
}

fn no_site(site: &str, decided: &Decided) -> Failure {
    Failure::usage(format!(
        "there is no site {site} at {}: sites are listed by  daybook replay --type SiteCreated",
        decided.at
    ))
}

fn signed_size(note: &[u8]) -> Result<TreeSize, Failure> {
    let signed = SignedCheckpoint::parse(note).map_err(Failure::failed)?;
    Ok(signed.checkpoint().size())
}

/// A day is its first moment, UTC.
fn moment(text: &str) -> Result<Moment, Failure> {
    match Date::parse(text) {
        Ok(date) => Ok(Moment::Time(date.start())),
        Err(_) => Moment::parse(text)
            .map_err(|error| Failure::usage(format!("{text:?}: {error}, or a day such as 2026-05-17"))),
    }
}

fn keys(dir: &Path) -> Option<FileKeyStore> {
    let dir = dir.join(KEYS);
    if !dir.exists() {
        return None;
    }
    let entropy: Arc<dyn Entropy> = Arc::new(SeededEntropy::from_os().ok()?);
    match FileKeyStore::open(&dir, entropy) {
        Ok(keys) => Some(keys),
        Err(error) => {
            talk(&format!("sealed values stay sealed: {error}"));
            None
        }
    }
}

fn failure(error: MomentError) -> Failure {
    match error {
        MomentError::Malformed
        | MomentError::Future(_)
        | MomentError::BeforeLedger(_)
        | MomentError::Beyond(_) => Failure::usage(error),
        MomentError::Read(_) | MomentError::Fold(_) | MomentError::Proof(_) => {
            Failure::failed(format!("{error}; `daybook verify` says more"))
        }
    }
}
