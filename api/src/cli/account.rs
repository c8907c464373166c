//! `daybook account`: a further account on this ledger with its owner; shutting one out and letting it in again.
//!
//! Accounts are walls: nobody sees another's things, but for ledger auditors, who see entries. A suspended account
//! keeps everything; its devices and people are refused until it is resumed.
//! Not here: what is in an account.

use super::{DataDir, Failure, Global, Outcome, data, data_json, no_service, talk};
use crate::control::{Ask, ask, nobody_there};
use clap::{Args, Subcommand};
use serde_json::Value;

/// Accounts of this ledger
#[derive(Debug, Subcommand)]
#[command(after_help = EXAMPLES)]
pub enum Account {
    /// Open a further account
    Open(Open),
    /// Refuse an account's devices and people; nothing is taken away
    Suspend(Gate),
    /// Let a suspended account in again
    Resume(Gate),
}

/// Suspend or resume an account
#[derive(Debug, Args)]
#[command(after_help = GATE_EXAMPLES)]
pub struct Gate {
    /// The account's id, acc_…
    account: String,
    /// Why, in words; it is recorded
    #[arg(long)]
    reason: Option<String>,
    #[command(flatten)]
    data: DataDir,
}

const GATE_EXAMPLES: &str = "\
Examples:
  daybook account suspend acc_2hx5… --reason 'contract ended'
  daybook account resume acc_2hx5…

The service must be running.
Exit codes: 0 done; 1 there is no such account, or no service runs.";

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
        match self {
            Self::Open(open) => open.run(global),
            Self::Suspend(gate) => {
                gate.run(global, |account, reason| Ask::SuspendAccount { account, reason })
            }
            Self::Resume(gate) => gate.run(global, |account, reason| Ask::ResumeAccount { account, reason }),
        }
    }
}

impl Gate {
    fn run(self, global: &Global, question: impl FnOnce(String, Option<String>) -> Ask) -> Outcome {
        let answer = asked(&self.data, &question(self.account, self.reason))?;
        if global.json {
            data_json(&answer)?;
        } else {
            let state = if answer["suspended"] == true {
                "suspended: its devices and people are refused"
            } else {
                "let in"
            };
            let account = answer["account"].as_str().unwrap_or_default();
            talk(&format!("The account {account} is {state}"));
        }
        Ok(0)
    }
}

impl Open {
    fn run(self, global: &Global) -> Outcome {
        let question = Ask::OpenAccount {
            name: self.name,
            email: self.email,
        };
        let answer = asked(&self.data, &question)?;
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

/// What the service that runs on the directory answers.
fn asked(data: &DataDir, question: &Ask) -> Result<Value, Failure> {
    match ask(&data.data, question, |_, _| {}) {
        Ok(answer) => answer.map_err(Failure::failed),
        Err(error) if nobody_there(&error) => Err(Failure::failed(no_service(&data.data))),
        Err(error) => Err(Failure::failed(error)),
    }
}
