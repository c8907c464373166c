//! `daybook rebuild`: folds every projection again from the ledger, into a second file, and swaps.
//!
//! A running service does it itself and answers from the old rows until then; without one it is done here.
//! Not here: folding (`projections`).

use super::{DataDir, Failure, Global, Outcome, data, data_json, no_ledger, progress, talk};
use crate::control::{Ask, ask, nobody_there};
use crate::stores::LEDGER;
use clap::Args;
use commands::ledger::{Ledger, Options};
use domain::ports::{EventLog, TileStore};
use indicatif::ProgressBar;
use projections::StoredRoots;
use serde_json::{Value, json};
use std::ops::ControlFlow;
use std::sync::Arc;
use std::time::Instant;

/// Fold the read models again from the ledger
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct Rebuild {
    #[command(flatten)]
    data: DataDir,
}

const EXAMPLES: &str = "\
Examples:
  daybook rebuild
  daybook rebuild --data /var/lib/daybook

The rows afterwards are the same as before, but for what was wrong with them.
Exit codes: 0 rebuilt; 1 it failed, and the old rows stay.";

impl Rebuild {
    /// Rebuilds.
    ///
    /// # Errors
    /// [`Failure`]; the old rows stay.
    pub fn run(self, global: &Global) -> Outcome {
        let bar = progress::entries();
        let answer = match ask(&self.data.data, &Ask::Rebuild, |done, of| {
            bar.set_length(of);
            bar.set_position(done);
        }) {
            Ok(answer) => answer.map_err(Failure::failed)?,
            Err(error) if nobody_there(&error) => self.alone(&bar)?,
            Err(error) => return Err(Failure::failed(error)),
        };
        bar.finish_and_clear();
        if global.json {
            data_json(&answer)?;
        } else {
            data(&format!("{} entries", answer["entries"]))?;
            talk("The read models are folded again.");
        }
        Ok(0)
    }

    /// Without a service. The ledger's lock is held meanwhile, so that none starts.
    fn alone(&self, bar: &ProgressBar) -> Result<Value, Failure> {
        let dir = &self.data.data;
        if !dir.join(LEDGER).exists() {
            return Err(Failure::failed(no_ledger(dir)));
        }
        let (ledger, _) = Ledger::open(&dir.join(LEDGER), Options::default()).map_err(Failure::failed)?;
        let ledger = Arc::new(ledger);
        let tiles: Arc<dyn TileStore> = ledger.clone();
        let began = Instant::now();
        let path = dir.join("projections.sqlite");
        let beside = dir.join("projections.sqlite.rebuild");
        let store = projections::fill(&*ledger, &StoredRoots(tiles), &beside, &mut |so_far| {
            bar.set_length(so_far.total);
            bar.set_position(so_far.done);
            ControlFlow::Continue(())
        })
        .map_err(Failure::failed)?;
        projections::replace(store, &path).map_err(Failure::failed)?;
        ledger.stop();
        Ok(json!({"entries": ledger.size(), "seconds": began.elapsed().as_secs_f64()}))
    }
}
