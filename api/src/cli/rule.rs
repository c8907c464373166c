//! `daybook rule backtest`: what a draft would have done to a channel's past.
//!
//! Invariants: the ledger is read without a lock and nothing is written; values come in the order in which they were
//! recorded, with their times, so that what would have come late comes late here.
//! Not here: judging (`domain::rule`).

use super::past::Past;
use super::{DataDir, Failure, Global, Outcome, data, data_json, no_ledger, talk};
use crate::data_source::DataSource;
use crate::entry_filter::Filter;
use crate::stores::LEDGER;
use clap::{Args, Subcommand};
use domain::rule::Definition;
use domain::rule::back_test::{BackTest, back_test};
use serde_json::json;
use std::path::PathBuf;

/// Largest file with a rule, bytes: a definition has at most a quarter.
const FILE_BYTES_MAX: u64 = 65_536;

/// Try rules without activating them
#[derive(Debug, Subcommand)]
pub enum Rule {
    /// Try a draft on a channel's past
    #[command(after_help = EXAMPLES)]
    Backtest(Backtest),
}

/// A try.
#[derive(Debug, Args)]
pub struct Backtest {
    /// The draft: a JSON file as POST /v1/channels/{id}/rules takes it
    file: PathBuf,
    /// The channel
    #[arg(long, value_name = "ID")]
    channel: String,
    #[command(flatten)]
    data: DataDir,
    /// Recorded at or after this day (UTC) or time
    #[arg(long, value_name = "DATE|TIME")]
    from: Option<String>,
    /// Recorded before this day (UTC) or time
    #[arg(long, value_name = "DATE|TIME")]
    to: Option<String>,
}

const EXAMPLES: &str = "\
Examples:
  echo '{\"kind\":\"range\",\"ok_max\":7,\"grace_min\":20}' >rule.json
  daybook rule backtest rule.json --channel chn_4f3c1d --from 2026-01-01
  daybook rule backtest rule.json --channel chn_4f3c1d --json | jq '.alarms | length'

The alarms that there would have been, one a line on stdout. It works also while the service runs.

Exit codes: 0 tried; 1 the ledger cannot be read or the rule is not valid; 2 usage.";

impl Rule {
    /// Tries it.
    ///
    /// # Errors
    /// [`Failure`].
    pub fn run(self, global: &Global) -> Outcome {
        let Self::Backtest(it) = self;
        it.run(global)
    }
}

impl Backtest {
    fn run(self, global: &Global) -> Outcome {
        let filter =
            Filter::parse(&[], None, None, self.from.as_deref(), self.to.as_deref()).map_err(|reason| {
                Failure::usage(reason.replace("'since'", "--from").replace("'until'", "--to"))
            })?;
        let definition = self.definition()?;
        if !self.data.data.join(LEDGER).exists() {
            return Err(Failure::usage(no_ledger(&self.data.data)));
        }
        let opened = DataSource::open(&self.data.data).map_err(Failure::failed)?;
        let past = Past::read(
            opened.ledger(),
            &self.channel,
            definition.another_channel.as_deref(),
            &filter,
        )?;
        let until = filter.until.unwrap_or(past.last_at);
        let tried = back_test(&definition, &past.timezone, past.readings, until)
            .map_err(|rejection| Failure::failed(format!("{}: {rejection}", rejection.code)))?;
        tell(global, &self.channel, &tried)?;
        Ok(0)
    }

    fn definition(&self) -> Result<Definition, Failure> {
        let shown = self.file.display();
        let size = std::fs::metadata(&self.file)
            .map_err(|e| Failure::usage(format!("{shown}: {e}")))?
            .len();
        if size > FILE_BYTES_MAX {
            return Err(Failure::usage(format!(
                "{shown} has {size} bytes; a rule has at most {FILE_BYTES_MAX}"
            )));
        }
        let text = std::fs::read(&self.file).map_err(|e| Failure::usage(format!("{shown}: {e}")))?;
        serde_json::from_slice(&text).map_err(|e| Failure::usage(format!("{shown} is not a rule: {e}")))
    }
}

fn tell(global: &Global, channel: &str, tried: &BackTest) -> Result<(), Failure> {
    let alarms = || tried.alarms.iter().filter(|alarm| !alarm.withdrawn);
    if global.json {
        return data_json(&json!({
            "channel_id": channel,
            "readings": tried.readings,
            "too_late": tried.too_late,
            "alarms": alarms().map(|alarm| json!({
                "began_at": alarm.opened.began_at,
                "opened_at": alarm.opened.opened_at,
                "cleared_at": alarm.cleared_at,
                "severity": alarm.severity,
                "value": alarm.opened.value,
                "reading": alarm.opened.readings.first(),
            })).collect::<Vec<_>>(),
        }))
        .map(|_| ());
    }
    data(&format!(
        "{:<28} {:<28} {:<28} {:<6} {}",
        "began", "alarm", "over", "", "value"
    ))?;
    for alarm in alarms() {
        data(&format!(
            "{:<28} {:<28} {:<28} {:<6} {}",
            alarm.opened.began_at.to_string(),
            alarm.opened.opened_at.to_string(),
            alarm
                .cleared_at
                .map_or_else(|| "still open".to_owned(), |at| at.to_string()),
            alarm.severity.as_str(),
            alarm
                .opened
                .value
                .map_or_else(|| "-".to_owned(), |value| value.to_string()),
        ))?;
    }
    talk(&format!(
        "{} alarms over {} readings, {} of which came too late to be judged.",
        alarms().count(),
        tried.readings,
        tried.too_late
    ));
    Ok(())
}
