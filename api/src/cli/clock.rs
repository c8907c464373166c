//! `daybook clock`: what an operator says of a clock that the service does not believe.
//!
//! A clock that jumped more than five minutes ahead stops all writing, since one bad clock would date the ledger for
//! ever (FORMAT §5). Where a person looked and the clock is right, they say so, and the ledger says who did.
//! Not here: a start a year after the last entry (`serve --accept-clock`); how clocks are judged (`commands`).

use super::{DataDir, Failure, Global, Outcome, data_json, no_service, talk};
use crate::control::{Ask, ask, nobody_there};
use clap::{Args, Subcommand};

/// A clock that is not believed
#[derive(Debug, Subcommand)]
#[command(after_help = EXAMPLES)]
pub enum Clock {
    /// Believe it: somebody looked, and it is right
    Accept(Accept),
}

/// Believe the clock
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct Accept {
    #[command(flatten)]
    data: DataDir,
}

const EXAMPLES: &str = "\
Examples:
  daybook doctor             says whether the clock is believed, and why not
  daybook clock accept       records ClockAccepted and goes on writing

The service must be running. Set the clock instead wherever it is wrong: what is recorded under it stays.
Exit codes: 0 accepted; 1 the clock is believed or cannot be right, or no service runs.";

impl Clock {
    /// Asks the service.
    ///
    /// # Errors
    /// [`Failure`] where none runs, or there is nothing to accept.
    pub fn run(self, global: &Global) -> Outcome {
        let Self::Accept(accept) = self;
        let data = &accept.data.data;
        let answer = match ask(data, &Ask::AcceptClock, |_, _| {}) {
            Ok(answer) => answer.map_err(Failure::failed)?,
            Err(error) if nobody_there(&error) => return Err(Failure::failed(no_service(data))),
            Err(error) => return Err(Failure::failed(error)),
        };
        if global.json {
            data_json(&answer)?;
        } else {
            let wall = answer["wall"].as_str().unwrap_or_default();
            talk(&format!(
                "The clock is believed again; it says {wall}. The ledger says that you vouch for it"
            ));
        }
        Ok(0)
    }
}
