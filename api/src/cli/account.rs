//! `daybook account open`: a further account on this ledger, with its owner.
//!
//! Accounts are walls: nobody sees another's things, but for ledger auditors, who see entries.
//! Not here: what is in an account.

use super::{DataDir, Failure, Global, Outcome, data, data_json, no_service, talk};
use crate::control::{Ask, ask, nobody_there};
use clap::{Args, Subcommand};

/// Accounts of this ledger
#[derive(Debug, Subcommand)]
#[command(after_help = EXAMPLES)]
pub enum Account {
    /// Open a further account
    Open(Open),
}

/// Open a further account
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct Open {
    /// The account's name
    name: String,
    /// Its owner's e-mail address
    email: String,
    #[command(flatten)]
    data: DataDir,
}

const EXAMPLES: &str = "\
Examples:
  daybook account open 'North kitchen' chef@example.eu

The service must be running. The owner's API token is printed once, on stdout.
Exit codes: 0 opened; 1 the address has access already, or no service runs.";

impl Account {
    /// Asks the service.
    ///
    /// # Errors
    /// [`Failure`] where none runs or it refuses.
    pub fn run(self, global: &Global) -> Outcome {
        let Self::Open(open) = self;
        let question = Ask::OpenAccount {
            name: open.name,
            email: open.email,
        };
        let answer = match ask(&open.data.data, &question, |_, _| {}) {
            Ok(answer) => answer.map_err(Failure::failed)?,
            Err(error) if nobody_there(&error) => {
                return Err(Failure::failed(no_service(&open.data.data)));
            }
            Err(error) => return Err(Failure::failed(error)),
        };
        if global.json {
            data_json(&answer)?;
        } else {
            data(answer["token"].as_str().unwrap_or_default())?;
            talk(&format!(
                "The account is {}",
                answer["account"].as_str().unwrap_or_default()
            ));
        }
        Ok(0)
    }
}
