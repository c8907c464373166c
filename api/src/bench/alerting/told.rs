//! How long each alarm took on its way, from the ledger and from those who were told.
//!
//! The ledger says when the reading was received, when it was recorded and when its alarm was; the receivers say when
//! they had the message. Notifications are found by their ids, and those that went out in another's message by what its
//! outcome says it covers. All times are of one clock.
//! Not here: the load (`mod`), receiving (`receivers`).

use super::receivers::Receivers;
use super::scene::Scene;
use crate::app::App;
use crate::bench::BenchError;
use crate::bench::histogram::Histogram;
use crate::mail::MessageId;
use domain::entry::Entry;
use domain::event::contact::ContactKind;
use domain::event::notification::{
    NOTIFICATION_DIGESTED, NOTIFICATION_DROPPED, NOTIFICATION_FAILED, NOTIFICATION_SENT, NotificationOutcome,
    notification_id,
};
use domain::event::{AlarmOpened, Event};
use domain::{Position, Timestamp};
use serde_json::Value;
use std::collections::HashMap;
use std::time::Duration;

/// Entries and bytes of one read.
const READ_ENTRIES: usize = 4_096;
const READ_BYTES: usize = 4 << 20;

/// An alarm that opened.
struct Opened {
    position: Position,
    recorded_at: Timestamp,
    channel: String,
    reading: Position,
}

/// What the ledger holds of alarms and of telling people.
#[derive(Default)]
pub struct Record {
    opened: Vec<Opened>,
    /// Notifications by the one in whose message they went out.
    lead: HashMap<String, String>,
    /// Outcomes of notifications of alarms, one for each.
    pub outcomes: u64,
    /// Of these, how many did not go out.
    pub not_sent: u64,
}

/// Latencies.
#[derive(Default)]
pub struct Ways {
    /// Alarms.
    pub alarms: u64,
    /// From received to recorded.
    pub recorded: Histogram,
    /// From a reading's record to its alarm's.
    pub decided: Histogram,
    /// From an alarm's record to the message on the receiver's socket, and from received to there, by way.
    pub told: Vec<(ContactKind, Histogram, Histogram)>,
    /// Messages that should have come and did not.
    pub missing: u64,
}

impl Record {
    /// Reads what was recorded from a position on.
    ///
    /// # Errors
    /// [`BenchError`] where the ledger cannot be read.
    pub async fn read(app: &App, from: Position) -> Result<Self, BenchError> {
        let mut record = Self::default();
        let mut next = from;
        let size = app.log().size();
        while size.contains(next) {
            let block = app.log().read(next, READ_ENTRIES, READ_BYTES).await?;
            for (position, bytes) in block.iter() {
                record.entry(position, bytes);
                next = position.plus(1);
            }
        }
        Ok(record)
    }

    fn entry(&mut self, position: Position, bytes: &[u8]) {
        let Ok(entry) = Entry::read(bytes) else { return };
        match entry.event_type {
            "AlarmOpened" => {
                if let Ok(Event::AlarmOpened(AlarmOpened {
                    channel, readings, ..
                })) = Event::read(entry.event_type, entry.payload)
                {
                    self.opened.push(Opened {
                        position,
                        recorded_at: entry.recorded_at,
                        channel,
                        reading: readings.first().copied().unwrap_or(position),
                    });
                }
            }
            NOTIFICATION_SENT | NOTIFICATION_DIGESTED | NOTIFICATION_DROPPED | NOTIFICATION_FAILED => {
                let Ok(outcome) = serde_json::from_slice::<NotificationOutcome>(entry.payload) else {
                    return;
                };
                self.outcomes += 1;
                if matches!(entry.event_type, NOTIFICATION_DROPPED | NOTIFICATION_FAILED) {
                    self.not_sent += 1;
                }
                for covered in outcome.covers {
                    self.lead.insert(covered, outcome.notification.clone());
                }
            }
            _ => {}
        }
    }

    /// Alarms that opened.
    pub fn alarms(&self) -> u64 {
        self.opened.len() as u64
    }

    /// How long each took.
    ///
    /// # Errors
    /// [`BenchError`] where the ledger cannot be read.
    pub async fn ways(&self, scene: &Scene, receivers: &Receivers) -> Result<Ways, BenchError> {
        let app = &scene.served.app;
        let positions: Vec<Position> = self.opened.iter().map(|opened| opened.reading).collect();
        let mut readings = HashMap::new();
        for some in positions.chunks(READ_ENTRIES) {
            let block = app.log().read_at(some).await?;
            for (position, bytes) in block.iter() {
                readings.insert(position, times(bytes));
            }
        }
        let mut ways = Ways {
            alarms: self.alarms(),
            told: ContactKind::ALL
                .map(|via| (via, Histogram::default(), Histogram::default()))
                .into(),
            ..Ways::default()
        };
        for opened in &self.opened {
            let Some(Some((received_at, recorded_at))) = readings.get(&opened.reading).copied() else {
                continue;
            };
            ways.recorded.record(between(received_at, recorded_at));
            ways.decided.record(between(recorded_at, opened.recorded_at));
            for (via, after, whole) in &mut ways.told {
                let Some(contact) = scene.contact_of(&opened.channel, *via) else {
                    continue;
                };
                let id = notification_id(opened.position, contact, "alarm_opened");
                let lead = self.lead.get(&id).unwrap_or(&id);
                match receivers.when(*via, name(app, *via, lead)) {
                    Some(at) => {
                        after.record(between(opened.recorded_at, at));
                        whole.record(between(received_at, at));
                    }
                    None => ways.missing += 1,
                }
            }
        }
        Ok(ways)
    }
}

/// What a message is known by to its receiver.
fn name(app: &App, via: ContactKind, notification: &str) -> String {
    match via {
        ContactKind::Email => MessageId::of(app.origin(), notification).as_str().to_owned(),
        ContactKind::Telegram => app.notify().links().short(notification),
        ContactKind::Webhook => format!("wh_{}", notification.trim_start_matches("ntf_")),
    }
}

/// When a reading was received and recorded.
fn times(bytes: &[u8]) -> Option<(Timestamp, Timestamp)> {
    let entry = Entry::read(bytes).ok()?;
    let metadata: Value = serde_json::from_slice(entry.metadata).ok()?;
    let received_at = Timestamp::parse_rfc3339(metadata["received_at"].as_str()?).ok()?;
    Some((received_at, entry.recorded_at))
}

fn between(from: Timestamp, to: Timestamp) -> Duration {
    Duration::from_micros(to.since(from).max(0).unsigned_abs())
}
