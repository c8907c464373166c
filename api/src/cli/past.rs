//! A channel's past as the ledger holds it: values in the order in which they were recorded, as they were judged.
//!
//! Values of a channel that measures are corrected by its calibrations as they are now; those of a derived channel are
//! made as the rules make them. Invariant: the ledger is read without a lock. Not here: judging (`domain::rule`).

use super::{Failure, progress};
use crate::entry_filter::Filter;
use crate::routes::rules::timezone_of;
use commands::ledger::Ledger;
use domain::calibration::Calibrations;
use domain::entry::Entry;
use domain::event::Event;
use domain::reading::{READING_RECORDED, READINGS, Reading};
use domain::registry::{Device, Registry};
use domain::rule::Derived;
use domain::rule::back_test::PastReading;
use domain::rule::engine::zone_of;
use domain::rule::kinds::VALUE_MAX;
use domain::{Position, Timestamp};
use jiff::tz::TimeZone;
use std::collections::BTreeMap;

/// Entries and bytes of one read.
const READ_ENTRIES: usize = 4_096;
const READ_BYTES: usize = 4 << 20;

/// A channel's past, and that of the one that it is compared with.
pub(super) struct Past {
    /// The time zone of its site.
    pub timezone: String,
    /// Values, in order of position.
    pub readings: Vec<PastReading>,
    /// When the newest entry was recorded.
    pub last_at: Timestamp,
}

/// What is known while entries are read.
#[derive(Default)]
struct Reader {
    registry: Registry,
    calibrations: BTreeMap<String, Calibrations>,
    /// Of the channel and of the other one, where their values are made.
    made: [Option<Making>; 2],
}

/// A derived channel.
struct Making {
    derived: Derived,
    sources: Vec<String>,
    zone: TimeZone,
}

impl Past {
    /// Reads it; `other` is what a comparison compares with.
    ///
    /// # Errors
    /// Where the ledger does not read, or has no such channel.
    pub(super) fn read(
        ledger: &Ledger,
        channel: &str,
        other: Option<&str>,
        filter: &Filter,
    ) -> Result<Self, Failure> {
        let size = ledger.size_now();
        let channels = [Some(channel), other];
        let mut reader = Reader::default();
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
                    reader.configured(&entry, channels)?;
                } else if entry.event_type == READING_RECORDED {
                    let within = filter.is_within(entry.recorded_at);
                    past.readings
                        .extend(reader.values(&entry, position, channels, within)?);
                }
            }
            bar.inc(block.len() as u64);
            next = next.plus(block.len() as u64);
        }
        bar.finish_and_clear();
        let account = reader.registry.account_of(channel).map(str::to_owned);
        let account =
            account.ok_or_else(|| Failure::usage(format!("there is no channel {channel} in this ledger")))?;
        past.timezone =
            timezone_of(&reader.registry, &account, channel).map_err(|e| Failure::failed(e.message))?;
        for reading in &mut past.readings {
            let of = channels[usize::from(reading.other)].and_then(|id| reader.calibrations.get(id));
            if let Some(of) = of {
                reading.value = of.of(reading.measured_at, reading.value);
            }
        }
        Ok(past)
    }
}

impl Reader {
    fn configured(&mut self, entry: &Entry<'_>, channels: [Option<&str>; 2]) -> Result<(), Failure> {
        self.registry.apply(entry).map_err(Failure::failed)?;
        let id = entry.aggregate_id;
        if !matches!(entry.event_type, "CalibrationSet" | "DerivationSet") {
            return Ok(());
        }
        match Event::read(entry.event_type, entry.payload) {
            Ok(Event::CalibrationSet(set)) => {
                let calibrations = self.calibrations.entry(id.to_owned()).or_default();
                calibrations.set(set.valid_from, set.correction.new);
            }
            Ok(Event::DerivationSet(set)) => {
                if let Some(index) = channels.iter().position(|wanted| *wanted == Some(id)) {
                    let account = self.registry.account_of(id).unwrap_or_default();
                    let zone = timezone_of(&self.registry, account, id).unwrap_or_default();
                    self.made[index] = set.derivation.new.map(|derivation| Making {
                        sources: derivation.sources.clone(),
                        zone: zone_of(&zone),
                        derived: Derived::new(
                            derivation.clone(),
                            (0..derivation.sources.len() as u32).collect(),
                        ),
                    });
                }
            }
            _ => {}
        }
        Ok(())
    }

    /// The values of a reading; a derived channel sees readings that are not asked for too.
    fn values(
        &mut self,
        entry: &Entry<'_>,
        position: Position,
        channels: [Option<&str>; 2],
        within: bool,
    ) -> Result<Vec<PastReading>, Failure> {
        let Self {
            registry,
            calibrations,
            made,
        } = self;
        if !within && made.iter().all(Option::is_none) {
            return Ok(Vec::new());
        }
        let Some(device) = registry.device_anywhere(entry.aggregate_id) else {
            return Ok(Vec::new());
        };
        let reading = Reading::read(entry.payload).map_err(Failure::failed)?;
        let mut found = Vec::new();
        for (index, (wanted, making)) in channels.into_iter().zip(made).enumerate() {
            let Some(wanted) = wanted else { continue };
            let value = match making {
                Some(making) => making.take(registry, calibrations, device, &reading),
                None => value_of(registry, device, &reading, wanted),
            };
            found.extend(value.filter(|_| within).map(|value| PastReading {
                measured_at: reading.measured_at,
                other: index == 1,
                position,
                recorded_at: entry.recorded_at,
                value,
            }));
        }
        Ok(found)
    }
}

impl Making {
    fn take(
        &mut self,
        registry: &Registry,
        calibrations: &BTreeMap<String, Calibrations>,
        device: &Device,
        reading: &Reading<'_>,
    ) -> Option<f64> {
        let at = reading.measured_at;
        let given: Vec<(u32, f64)> = self
            .sources
            .iter()
            .enumerate()
            .filter_map(|(number, source)| {
                let raw = value_of(registry, device, reading, source)?;
                let value = calibrations.get(source).map_or(raw, |of| of.of(at, raw));
                (raw.abs() <= VALUE_MAX).then_some((number as u32, value))
            })
            .collect();
        if given.is_empty() {
            return None;
        }
        self.derived.take(&self.zone, at, &given)
    }
}

fn value_of(registry: &Registry, device: &Device, reading: &Reading<'_>, channel: &str) -> Option<f64> {
    let found = reading.values.iter().find(|(key, _)| {
        let of = registry.channel_by_key(device, key);
        of.is_some_and(|of| *of.id == *channel)
    });
    found.map(|(_, value)| *value)
}
