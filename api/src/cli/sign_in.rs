//! `daybook sign-in EMAIL`: a link that signs a browser in, from the service that runs.
//!
//! Not here: how links are made (`state`), sending them by mail.

use super::{DataDir, Failure, Global, Outcome, data, data_json, no_service, talk};
use crate::control::{Ask, ask, nobody_there};
use clap::Args;

/// Print a link that signs a person in
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct SignIn {
    /// The person's e-mail address
    #[arg(default_value = "owner@localhost")]
    email: String,
    #[command(flatten)]
    data: DataDir,
}

const EXAMPLES: &str = "\
Examples:
  daybook sign-in
  daybook sign-in jana@example.eu --data /var/lib/daybook

The service must be running on the data directory. The link works once, for fifteen minutes by default.
Exit codes: 0 the link is on stdout; 1 nobody with that address may sign in, or no service runs.";

impl SignIn {
    /// Asks the service.
    ///
    /// # Errors
    /// [`Failure`] where none runs or it refuses.
    pub fn run(self, global: &Global) -> Outcome {
        let question = Ask::SignIn { email: self.email };
        let answer = match ask(&self.data.data, &question, |_, _| {}) {
            Ok(answer) => answer.map_err(Failure::failed)?,
            Err(error) if nobody_there(&error) => {
                return Err(Failure::failed(no_service(&self.data.data)));
            }
            Err(error) => return Err(Failure::failed(error)),
        };
        if global.json {
            data_json(&answer)?;
        } else {
            data(answer["link"].as_str().unwrap_or_default())?;
            let minutes = answer["minutes"].as_u64().unwrap_or_default();
            talk(&format!("The link works once, within {}.", within(minutes)));
        }
        Ok(0)
    }
}

/// `15 minutes`, `24 hours`.
fn within(minutes: u64) -> String {
    match minutes {
        1 => "a minute".to_owned(),
        60 => "an hour".to_owned(),
        hours if hours > 0 && hours.is_multiple_of(60) => format!("{} hours", hours / 60),
        minutes => format!("{minutes} minutes"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whole_hours_are_said_in_hours() {
        assert_eq!(within(15), "15 minutes");
        assert_eq!(within(60), "an hour");
        assert_eq!(within(90), "90 minutes");
        assert_eq!(within(1440), "24 hours");
    }
}
