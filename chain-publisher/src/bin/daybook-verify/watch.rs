//! `daybook-verify watch`: looks at the newest checkpoint, again and again, and keeps the last one.
//!
//! Invariants: the state is on disk before success is said; a checkpoint that does not continue it never replaces it.
//! Not here: the verdict (`chain_publisher::watch`), the file (`state`), the message (`webhook`).

use crate::state::State;
use crate::webhook;
use chain_publisher::arguments::{Outside, Token, tell, with_exit_codes};
use chain_publisher::evidence::Evidence;
use chain_publisher::source::LogSource;
use chain_publisher::terminal::{FAILED, Failure, Outcome, data, talk};
use chain_publisher::watch::{Look, look};
use chain_publisher::{VerifyError, VerifySettings};
use clap::Args;
use serde_json::json;
use std::path::PathBuf;
use std::time::Duration;

/// The longest that may be waited between two looks: a week.
const EVERY_S_MAX: u64 = 7 * 86_400;

/// Look at the newest checkpoint, and whether it continues the one that was seen last
#[derive(Debug, Args)]
#[command(after_help = with_exit_codes(EXAMPLES))]
pub struct Watch {
    /// A service, or a copy that somebody renews
    #[arg(value_name = "URL|DIR")]
    log: String,
    /// Where the last checkpoint that was seen is kept; made at the first look
    #[arg(long, value_name = "FILE")]
    state: PathBuf,
    /// Where a JSON document is posted when the log contradicts itself
    #[arg(long, value_name = "URL", env = "DAYBOOK_WEBHOOK", hide_env_values = true)]
    webhook: Option<String>,
    /// Stay, and look every so many seconds
    #[arg(long, value_name = "SECONDS", value_parser = clap::value_parser!(u64).range(1..=EVERY_S_MAX))]
    every: Option<u64>,
    #[command(flatten)]
    outside: Outside,
    #[command(flatten)]
    token: Token,
}

const EXAMPLES: &str = "\
Examples:
  daybook-verify watch https://daybook.example.eu --key log.vkey --state seen.checkpoint
  17 * * * *  daybook-verify watch https://daybook.example.eu --key log.vkey --state seen.checkpoint >/dev/null   (cron)
  daybook-verify watch https://daybook.example.eu --key log.vkey --state seen.checkpoint --every 300

The first look has nothing to compare with, keeps what it sees, and ends with 3 unless --head or --policy confirm it.
Later ones end with 0 where the log continues what was seen, and with 1 where it does not: then the state stays, the
other checkpoint is kept beside it, and both together are the proof. A webhook's address may be a secret: the
environment's DAYBOOK_WEBHOOK takes it too. With --every it stays until something does not hold.";

impl Watch {
    pub fn run(self, json: bool) -> Outcome {
        let settings = self.outside.settings()?;
        if self.webhook.as_deref().is_some_and(|url| !webhook::is_url(url)) {
            return Err(Failure::usage("--webhook is not a URL: write https://…"));
        }
        let source = self.token.source(&self.log)?;
        let state = State::take(&self.state)?;
        let Some(every) = self.every.map(Duration::from_secs) else {
            let kept = state.read()?;
            let look = look(&*source, &settings, kept.as_ref()).map_err(Failure::usage)?;
            let code = self.settle(&look, &state, kept.as_ref())?;
            tell(&look.report, json)?;
            return Ok(code);
        };
        loop {
            if let Some(code) = self.once(&*source, &settings, &state, json)? {
                return Ok(code);
            }
            std::thread::sleep(every);
        }
    }

    /// One of many looks: a line each; an exit code where there is an end to it.
    fn once(
        &self,
        source: &dyn LogSource,
        settings: &VerifySettings,
        state: &State,
        json: bool,
    ) -> Result<Option<u8>, Failure> {
        let kept = state.read()?;
        let look = match look(source, settings, kept.as_ref()) {
            Ok(look) => look,
            Err(VerifyError::Source(error)) => {
                talk(&format!("daybook-verify: {error}; it is asked again"));
                return Ok(None);
            }
            Err(error) => return Err(Failure::usage(error)),
        };
        let code = self.settle(&look, state, kept.as_ref())?;
        data(&if json {
            serde_json::to_string(&look.report).map_err(Failure::failed)?
        } else if code == FAILED {
            look.report.to_string()
        } else {
            look.report.message.clone()
        })?;
        Ok((code == FAILED).then_some(code))
    }

    /// Keeps what was seen: in place of what was seen before, or beside it where it does not continue that.
    fn settle(&self, look: &Look, state: &State, kept: Option<&Evidence>) -> Result<u8, Failure> {
        let code = look.report.exit_code;
        let kept = kept.map(|kept| kept.checkpoint.encode());
        match &look.seen {
            Some(seen) if code != FAILED => state.write(seen)?,
            Some(seen) if kept.as_ref() != Some(seen) => {
                let aside = state.keep_aside(seen)?;
                talk(&format!(
                    "daybook-verify: what the log shows now is kept in {}; with {} it is the proof",
                    aside.display(),
                    self.state.display()
                ));
            }
            _ => {}
        }
        if code == FAILED
            && let Some(url) = &self.webhook
        {
            let document = json!({
                "verdict": look.report.verdict.word(),
                "message": look.report.message,
                "source": look.report.source,
                "origin": look.report.origin,
                "kept": kept,
                "seen": look.seen,
            });
            if let Err(why) = webhook::post(url, &document) {
                talk(&format!("daybook-verify: the webhook was not told: {why}"));
            }
        }
        Ok(code)
    }
}
