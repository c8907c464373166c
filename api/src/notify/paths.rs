//! Whether a way works: one that fails for five minutes is an alarm, which ends when the way works again.
//!
//! Invariants: what counts as failing is read from the ledger's outcomes, so a restart forgets nothing and raises nothing
//! twice; one time of failing is one alarm, whoever ends it. A stop says nothing.
//! Source: REFERENCE (alarm dispatch paths failing for more than five minutes). Not here: who is told of it and the next
//! way (`projections::outbox::raised`), when it is looked (`watch`).

use super::trials::Raise;
use crate::app::App;
use domain::Position;
use domain::event::alarm::{AlarmRaised, Cause};
use domain::event::{AlarmCleared, Event};
use domain::rule::Severity;

impl App {
    /// Raises the alarms of ways that have failed for long, and ends those of ways that work again.
    pub(super) async fn look_at_paths(&self) {
        let now = self.clock().now();
        let limit_s = i64::try_from(self.settings().notify_failing_s).unwrap_or(i64::MAX);
        let before = now.plus_micros(-limit_s.saturating_mul(1_000_000).min(i64::MAX / 4));
        let asked = self
            .ask(move |rows| Ok((rows.failing_paths(before)?, rows.restored_paths()?)))
            .await;
        let Ok((failing, restored)) = asked else { return };
        for path in failing {
            let cause = Cause::Path { via: path.via };
            let alarm = cause.alarm_id(&path.account, path.since);
            tracing::warn!(
                via = path.via.as_str(),
                account = path.account,
                "a way of notification fails"
            );
            let raised = AlarmRaised {
                began_at: path.since,
                cause,
                severity: Severity::Alarm,
            };
            self.record_of_raised(Raise::First, &path.account, &alarm, Event::AlarmRaised(raised))
                .await;
        }
        for (account, alarm, position) in restored {
            tracing::info!(account, alarm, "a way of notification works again");
            let cleared = AlarmCleared {
                cleared_at: now,
                decided_at: now,
                decided_by: position,
                late: false,
                readings: Vec::<Position>::new(),
                value_at: None,
                withdrawn: false,
            };
            self.record_of_raised(Raise::Behind, &account, &alarm, Event::AlarmCleared(cleared))
                .await;
        }
    }
}
