//! Silences: times in which nobody is told of a channel's alarms. Everything else goes on.
//!
//! Invariants: a silence has an end, an author and a reason. Source: REFERENCE §1.4.
//! Not here: who would have been told (`api`).

use super::rules::find_channel;
use super::{Actor, ManageError, Management, Outcome, Request, Step};
use domain::Timestamp;
use domain::aggregate::silence::SilenceCommand;
use domain::aggregate::user::Right;
use domain::event::Reason;
use domain::event::metadata::REASON_NOT_GIVEN;
use domain::ids::IdKind;
use domain::rejection::Rejection;

impl Management {
    /// Silences a channel, found by its own id or its sensor's. The words of the reason stand in the silence.
    ///
    /// # Errors
    /// [`ManageError`]: `channel_not_found`, `sensor_not_found`, `invalid_silence`, `reason_required`,
    /// `too_many_silences`.
    pub async fn open_silence(
        &self,
        actor: &Actor,
        reason: &Reason,
        channel: &str,
        from: Timestamp,
        to: Timestamp,
    ) -> Result<Outcome, ManageError> {
        if let Some(outcome) = self.earlier(actor, "silence").await? {
            return Ok(outcome);
        }
        if reason.code == REASON_NOT_GIVEN {
            return Err(
                Rejection::invalid("reason_required", "say why the channel is silenced: reason").into(),
            );
        }
        if to <= self.ports.clock.now() {
            return Err(Rejection::invalid("invalid_silence", "to has passed already").into());
        }
        reason.check()?;
        let channel = {
            let registry = self.ports.registry.read();
            find_channel(&registry, &actor.account, channel)?.id.to_string()
        };
        let command = SilenceCommand::Open {
            channel: channel.clone(),
            from,
            to,
            text: reason.text.clone(),
        };
        let step = Step::Silence {
            id: self.id(IdKind::Silence),
            channel,
            command,
        };
        self.handle(actor, &Reason::code(&reason.code), None, step, Right::Handle)
            .await
    }

    /// Ends a silence before its time.
    ///
    /// # Errors
    /// [`ManageError`]: `silence_not_found`, `precondition_failed`.
    pub async fn end_silence(
        &self,
        actor: &Actor,
        reason: &Reason,
        silence: &str,
        if_match: Option<u64>,
    ) -> Result<Outcome, ManageError> {
        let channel = {
            let registry = self.ports.registry.read();
            let found = registry
                .silence(&actor.account, silence)
                .ok_or_else(|| Rejection::not_found("silence_not_found", "no such silence"))?;
            found.state.channel.clone()
        };
        let step = Step::Silence {
            id: silence.to_owned(),
            channel,
            command: SilenceCommand::End {
                at: self.ports.clock.now(),
            },
        };
        self.handle(actor, reason, if_match, step, Right::Handle).await
    }

    /// Runs one step that takes another right than managing.
    pub(super) async fn handle(
        &self,
        actor: &Actor,
        reason: &Reason,
        if_match: Option<u64>,
        step: Step,
        right: Right,
    ) -> Result<Outcome, ManageError> {
        let request = Request {
            actor,
            reason,
            if_match,
            steps: vec![step],
            readings: Vec::new(),
            right,
        };
        self.run(request, None).await
    }
}
