//! What people do about alarms: acknowledge, comment, close.
//!
//! Invariants: an alarm of another account is not there; words are sealed with the account's key and the reason's code
//! stands in the clear; acknowledging never ends an alarm.
//! Source: docs/rules.md. Not here: opening and clearing (`alerting`).

use super::{Actor, ManageError, Management, Outcome, Request, Step};
use domain::Position;
use domain::aggregate::alarm::AlarmCommand;
use domain::aggregate::standing::StandingCommand;
use domain::aggregate::user::Right;
use domain::entry::Entry;
use domain::event::metadata::REASON_NOT_GIVEN;
use domain::event::{AlarmCleared, AlarmOpened, Event, Metadata, Reason, RulesRecomputed};
use domain::rejection::Rejection;

/// An alarm that had been missing: it began and ended.
#[derive(Debug, Clone, PartialEq)]
pub struct MissedAlarm {
    /// `alm_…`
    pub id: String,
    /// How it began.
    pub opened: AlarmOpened,
    /// How it ended.
    pub cleared: AlarmCleared,
}

/// The code of an acknowledgement for which none was given.
const SEEN: &str = "seen";

impl Management {
    /// Somebody has seen an alarm.
    ///
    /// # Errors
    /// [`ManageError`]: `alarm_not_found`, `alarm_closed`, `precondition_failed`, `invalid_text`.
    pub async fn acknowledge_alarm(
        &self,
        actor: &Actor,
        reason: &Reason,
        alarm: &str,
        if_match: Option<u64>,
        corrective_action: Option<String>,
    ) -> Result<Outcome, ManageError> {
        if let Some(outcome) = self.earlier(actor, "alarm").await? {
            return Ok(outcome);
        }
        let mut reason = reason.clone();
        if reason.code == REASON_NOT_GIVEN {
            SEEN.clone_into(&mut reason.code);
        }
        let coded = Reason::code(&reason.code);
        let command = AlarmCommand::Acknowledge {
            reason,
            corrective_action,
            signature: None,
        };
        self.of_alarm(actor, &coded, alarm, if_match, command, Right::Handle)
            .await
    }

    /// Somebody says something about an alarm.
    ///
    /// # Errors
    /// [`ManageError`]: `alarm_not_found`, `invalid_text`.
    pub async fn comment_alarm(
        &self,
        actor: &Actor,
        reason: &Reason,
        alarm: &str,
        text: String,
    ) -> Result<Outcome, ManageError> {
        if let Some(outcome) = self.earlier(actor, "alarm").await? {
            return Ok(outcome);
        }
        let command = AlarmCommand::Comment { text };
        self.of_alarm(actor, reason, alarm, None, command, Right::Comment)
            .await
    }

    /// Somebody has done with an alarm that no value ends.
    ///
    /// # Errors
    /// [`ManageError`]: `alarm_not_found`, `reason_required`, `precondition_failed`.
    pub async fn close_alarm(
        &self,
        actor: &Actor,
        reason: &Reason,
        alarm: &str,
        if_match: Option<u64>,
    ) -> Result<Outcome, ManageError> {
        if let Some(outcome) = self.earlier(actor, "alarm").await? {
            return Ok(outcome);
        }
        if reason.code == REASON_NOT_GIVEN {
            return Err(Rejection::invalid("reason_required", "say why the alarm is closed: reason").into());
        }
        let coded = Reason::code(&reason.code);
        let command = AlarmCommand::Close {
            reason: reason.clone(),
        };
        self.of_alarm(actor, &coded, alarm, if_match, command, Right::Handle)
            .await
    }

    /// Whether somebody may have a channel's rules tried again, before that is done; and what came of it, where they
    /// asked already with the same idempotency key.
    ///
    /// # Errors
    /// [`ManageError`]: `forbidden`, `idempotency_conflict`.
    pub async fn may_recompute(
        &self,
        actor: &Actor,
        reason: &Reason,
    ) -> Result<Option<(Outcome, RulesRecomputed)>, ManageError> {
        actor.may(Right::Handle)?;
        reason.check()?;
        let Some(outcome) = self.earlier(actor, "state").await? else {
            return Ok(None);
        };
        let first = [Position(outcome.positions.start)];
        let block = self.ports.log.read_at(&first).await;
        let block = block.map_err(|error| ManageError::Unavailable(error.to_string()))?;
        let entry = block.get(0).and_then(|(_, bytes)| Entry::read(bytes).ok());
        let event = entry.and_then(|entry| Event::read(entry.event_type, entry.payload).ok());
        match event {
            Some(Event::RulesRecomputed(recomputed)) => Ok(Some((outcome, recomputed))),
            _ => Err(ManageError::Unavailable(
                "what was recorded cannot be read".to_owned(),
            )),
        }
    }

    /// Records that a channel's rules were tried again, and the alarms that had been missing.
    ///
    /// # Errors
    /// [`ManageError`]: `channel_not_found`.
    pub async fn recomputed(
        &self,
        actor: &Actor,
        reason: &Reason,
        recomputed: RulesRecomputed,
        missed: Vec<MissedAlarm>,
    ) -> Result<Outcome, ManageError> {
        let channel = recomputed.channel.clone();
        let mut steps = vec![Step::Standing(
            channel.clone(),
            StandingCommand::Recomputed(recomputed),
        )];
        for alarm in missed {
            let step = |command| Step::Alarm {
                id: alarm.id.clone(),
                channel: channel.clone(),
                command,
            };
            steps.push(step(AlarmCommand::Open(Box::new(alarm.opened))));
            steps.push(step(AlarmCommand::Clear(alarm.cleared)));
        }
        let request = Request {
            actor,
            reason,
            if_match: None,
            steps,
            readings: Vec::new(),
            right: Right::Handle,
        };
        self.run(request, None).await
    }

    /// Whether there is an alarm of that id.
    pub fn knows_alarm(&self, id: &str) -> bool {
        !self.ports.index.positions("alarm", id).is_empty()
    }

    async fn of_alarm(
        &self,
        actor: &Actor,
        reason: &Reason,
        alarm: &str,
        if_match: Option<u64>,
        command: AlarmCommand,
        right: Right,
    ) -> Result<Outcome, ManageError> {
        let step = Step::Alarm {
            channel: self.channel_of_alarm(&actor.account, alarm).await?,
            id: alarm.to_owned(),
            command,
        };
        self.handle(actor, reason, if_match, step, right).await
    }

    /// The alarm's first entry says whose it is, and of which channel.
    pub(super) async fn channel_of_alarm(&self, account: &str, alarm: &str) -> Result<String, ManageError> {
        let missing = || Rejection::not_found("alarm_not_found", "no such alarm");
        let positions = self.ports.index.positions("alarm", alarm);
        let first = positions.first().ok_or_else(missing)?;
        let block = self.ports.log.read_at(&[*first]).await;
        let block = block.map_err(|e| ManageError::Unavailable(e.to_string()))?;
        let of = block
            .get(0)
            .and_then(|(_, bytes)| Entry::read(bytes).ok())
            .and_then(|entry| Metadata::read(entry.metadata).ok())
            .filter(|metadata| metadata.account.as_deref() == Some(account))
            .and_then(|metadata| metadata.owner);
        Ok(of.ok_or_else(missing)?)
    }
}
