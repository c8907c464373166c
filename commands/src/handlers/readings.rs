//! What people say about values: calibrations of channels and notes on readings. No reading is changed.
//!
//! Invariants: a note names the reading's entry, which is looked at before; a calibration is a version that applies
//! from a time on. Source: REFERENCE §1.4, §5. Not here: applying a calibration (`projections`, `rule::engine`).

use super::rules::find_channel;
use super::{Actor, ManageError, Management, Outcome, Step};
use domain::aggregate::annotations::AnnotationsCommand;
use domain::aggregate::channel::{ChannelCommand, NewCalibration};
use domain::aggregate::user::Right;
use domain::entry::Entry;
use domain::event::Reason;
use domain::reading::{READING_RECORDED, READINGS, Reading};
use domain::rejection::Rejection;
use domain::{Position, Timestamp};

impl Management {
    /// Sets how a channel's values are corrected from some time on.
    ///
    /// # Errors
    /// [`ManageError`]: `channel_not_found`, `invalid_calibration`, `too_many_calibrations`, `precondition_failed`.
    pub async fn calibrate(
        &self,
        actor: &Actor,
        reason: &Reason,
        channel: &str,
        if_match: Option<u64>,
        calibration: NewCalibration,
    ) -> Result<Outcome, ManageError> {
        if let Some(outcome) = self.earlier(actor, "channel").await? {
            return Ok(outcome);
        }
        let step = {
            let registry = self.ports.registry.read();
            let found = find_channel(&registry, &actor.account, channel)?;
            Step::Channel {
                id: found.id.to_string(),
                device: found.state.device.clone(),
                command: ChannelCommand::Calibrate(calibration),
            }
        };
        self.handle(actor, reason, if_match, step, Right::Annotate).await
    }

    /// Adds a note to the reading at a position.
    ///
    /// # Errors
    /// [`ManageError`]: `channel_not_found`, `reading_not_found`, `invalid_text`.
    pub async fn annotate(
        &self,
        actor: &Actor,
        reason: &Reason,
        channel: &str,
        measured_at: Timestamp,
        reading: Position,
        note: String,
    ) -> Result<Outcome, ManageError> {
        if let Some(outcome) = self.earlier(actor, "annotations").await? {
            return Ok(outcome);
        }
        let (channel, device, key) = {
            let registry = self.ports.registry.read();
            let found = find_channel(&registry, &actor.account, channel)?;
            (
                found.id.to_string(),
                found.state.device.clone(),
                found.state.key.clone(),
            )
        };
        self.has_reading(&device, &key, measured_at, reading).await?;
        let command = AnnotationsCommand::Annotate {
            channel: channel.clone(),
            measured_at,
            reading,
            note,
        };
        let step = Step::Annotations(channel, command);
        self.handle(actor, reason, None, step, Right::Annotate).await
    }

    async fn has_reading(
        &self,
        device: &str,
        key: &str,
        measured_at: Timestamp,
        position: Position,
    ) -> Result<(), ManageError> {
        let block = self.ports.log.read_at(&[position]).await;
        let block = block.map_err(|e| ManageError::Unavailable(e.to_string()))?;
        let is_it = block
            .get(0)
            .and_then(|(_, bytes)| Entry::read(bytes).ok())
            .filter(|entry| entry.stream_is(READINGS, device) && entry.event_type == READING_RECORDED)
            .and_then(|entry| Reading::read(entry.payload).ok())
            .is_some_and(|reading| {
                reading.measured_at == measured_at && reading.values.iter().any(|(name, _)| *name == key)
            });
        if is_it {
            return Ok(());
        }
        Err(Rejection::not_found("reading_not_found", "this channel has no value at that time").into())
    }
}
