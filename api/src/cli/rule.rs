//! `daybook rule backtest`: what a draft would have done to a channel's past.
//!
//! Invariants: the ledger is read without a lock and nothing is written; values come in the order in which they were
//! recorded, with their times, so that what would have come late comes late here.
//! Not here: judging (`domain::rule`).

use super::{DataDir, Failure, Global, Outcome, data, data_json, no_ledger, progress, talk};
use crate::data_source::DataSource;
use crate::entry_filter::Filter;
use crate::routes::rules::timezone_of;
use crate::stores::LEDGER;
use clap::{Args, Subcommand};
use commands::ledger::Ledger;
use domain::calibration::Calibrations;
use domain::entry::Entry;
use domain::event::Event;
use domain::reading::{READING_RECORDED, READINGS, Reading};
use domain::registry::Registry;
use domain::rule::Definition;
use domain::rule::back_test::{BackTest, PastReading, back_test};
use domain::{Position, Timestamp};
use serde_json::json;
use std::path::PathBuf;

/// Entries and bytes of one read.
const READ_ENTRIES: usize = 4_096;
const READ_BYTES: usize = 4 << 20;
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
        let past = Past::read(opened.ledger(), &self.channel, &definition, &filter)?;
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

/// A channel's past.
struct Past {
    timezone: String,
    readings: Vec<PastReading>,
    last_at: Timestamp,
}

impl Past {
    fn read(
        ledger: &Ledger,
        channel: &str,
        definition: &Definition,
        filter: &Filter,
    ) -> Result<Self, Failure> {
        let size = ledger.size_now();
        let other = definition.another_channel.as_deref();
        let mut registry = Registry::default();
        let mut corrections: [Calibrations; 2] = Default::default();
        let mut past = Self {
            timezone: "UTC".to_owned(),
            readings: Vec::new(),
            last_at: Timestamp::default(),
        };
        let mut next = Position::FIRST;
        let bar = progress::entries();
        bar.set_length(size.get());
        while size.contains(next) {
            let block = ledger
                .read_now(next, READ_ENTRIES, READ_BYTES)
                .map_err(Failure::failed)?;
            for (position, bytes) in block.iter() {
                let entry = Entry::read(bytes).map_err(Failure::failed)?;
                past.last_at = entry.recorded_at;
                if entry.aggregate_type != READINGS {
                    registry.apply(&entry).map_err(Failure::failed)?;
                    note_correction(&entry, [Some(channel), other], &mut corrections);
                } else if entry.event_type == READING_RECORDED && filter.is_within(entry.recorded_at) {
                    past.take(&registry, &entry, position, [Some(channel), other])?;
                }
            }
            bar.inc(block.len() as u64);
            next = next.plus(block.len() as u64);
        }
        bar.finish_and_clear();
        let account = registry.account_of(channel).map(str::to_owned);
        let account =
            account.ok_or_else(|| Failure::usage(format!("there is no channel {channel} in this ledger")))?;
        past.timezone = timezone_of(&registry, &account, channel).map_err(|e| Failure::failed(e.message))?;
        for reading in &mut past.readings {
            let of = &corrections[usize::from(reading.other)];
            reading.value = of.of(reading.measured_at, reading.value);
        }
        Ok(past)
    }

    fn take(
        &mut self,
        registry: &Registry,
        entry: &Entry<'_>,
        position: Position,
        channels: [Option<&str>; 2],
    ) -> Result<(), Failure> {
        let Some(device) = registry.device_anywhere(entry.aggregate_id) else {
            return Ok(());
        };
        let reading = Reading::read(entry.payload).map_err(Failure::failed)?;
        for (index, wanted) in channels.into_iter().enumerate() {
            let Some(wanted) = wanted else { continue };
            for (key, value) in &reading.values {
                let is_it = registry
                    .channel_by_key(device, key)
                    .is_some_and(|channel| *channel.id == *wanted);
                if is_it {
                    self.readings.push(PastReading {
                        measured_at: reading.measured_at,
                        other: index == 1,
                        position,
                        recorded_at: entry.recorded_at,
                        value: *value,
                    });
                }
            }
        }
        Ok(())
    }
}

fn note_correction(entry: &Entry<'_>, channels: [Option<&str>; 2], corrections: &mut [Calibrations; 2]) {
    if entry.event_type != "CalibrationSet" {
        return;
    }
    let Some(index) = channels.iter().position(|id| *id == Some(entry.aggregate_id)) else {
        return;
    };
    if let Ok(Event::CalibrationSet(set)) = Event::read(entry.event_type, entry.payload) {
        corrections[index].set(set.valid_from, set.correction.new);
    }
}
