//! What people do about alarms: acknowledge, comment, close, open again.
//!
//! Invariants: an alarm of another account is not there; words are sealed with the account's key and the reason's code
//! stands in the clear; acknowledging never ends an alarm.
//! Source: docs/rules.md. Not here: opening and clearing (`alerting`).

use super::ledgered::changed_meanwhile;
use super::{Actor, ManageError, Management, Outcome, Request, Step};
use domain::Position;
use domain::aggregate::alarm::AlarmCommand;
use domain::aggregate::standing::StandingCommand;
use domain::aggregate::user::Right;
use domain::entry::Entry;
use domain::event::metadata::REASON_NOT_GIVEN;
use domain::event::{AlarmCleared, AlarmOpened, Event, Metadata, Reason, RulesRecomputed, Signature};
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
        signature: Option<Signature>,
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
            signature: signature.map(Box::new),
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
        signature: Option<Signature>,
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
            signature: signature.map(Box::new),
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

    /// Somebody does not take an alarm for over, whether values ended it or a person did.
    ///
    /// # Errors
    /// [`ManageError`]: `alarm_not_found`, `alarm_open`, `reason_required`, `precondition_failed`.
    pub async fn reopen_alarm(
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
            return Err(
                Rejection::invalid("reason_required", "say why the alarm is not over: reason").into(),
            );
        }
        let coded = Reason::code(&reason.code);
        let command = AlarmCommand::ReopenByPerson {
            reason: reason.clone(),
        };
        self.of_alarm(actor, &coded, alarm, if_match, command, Right::Handle)
            .await
    }

    /// Records that a channel's rules were tried again, and the alarms that had been missing; nothing, where the state of
    /// the channel has had more entries than `state_sequence` since they were looked for, or one of them is there by now.
    ///
    /// # Errors
    /// [`ManageError`]: `channel_not_found`, `precondition_failed`.
    pub async fn recomputed(
        &self,
        actor: &Actor,
        reason: &Reason,
        recomputed: RulesRecomputed,
        missed: Vec<MissedAlarm>,
        state_sequence: u64,
    ) -> Result<Outcome, ManageError> {
        if let Some(outcome) = self.earlier(actor, "state").await? {
            return Ok(outcome);
        }
        let channel = recomputed.channel.clone();
        if missed.iter().any(|alarm| self.knows_alarm(&alarm.id)) {
            return Err(changed_meanwhile().into());
        }
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
            if_match: Some(state_sequence),
            steps,
            readings: Vec::new(),
            right: Right::Handle,
        };
        self.run(request, None).await
    }

    /// Whether a request about an alarm was made before, with the same idempotency key: what is used up by it is not asked
    /// for again.
    ///
    /// # Errors
    /// [`ManageError`]: `idempotency_conflict`.
    pub async fn is_repeated(&self, actor: &Actor) -> Result<bool, ManageError> {
        Ok(self.earlier(actor, "alarm").await?.is_some())
    }

    /// What is kept of a code that was mailed to a person, so that it is known again and not found out.
    pub fn signing_code_hash(&self, user: &str, code: &str) -> [u8; 32] {
        let named = format!("daybook/signing-code/v1\n{user}\n{code}");
        crate::tokens::hmac(&self.settings.server_secret, named.as_bytes())
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
