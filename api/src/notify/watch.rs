//! What is looked at again and again beside the notifiers: ways, trials, and a dead-man ping that says that we live.
//!
//! Not here: what a look does (`paths`, `trials`).

use super::guard;
use crate::app::{App, stop_begins};
use commands::sequencer::Writing;
use std::sync::Arc;
use std::time::Duration;

/// How long a ping may take.
const PING_WITHIN: Duration = Duration::from_secs(10);
/// How often it is looked: two small questions of the read models.
const LOOK: Duration = Duration::from_secs(1);

/// Until the stop.
pub(super) async fn run(app: Arc<App>) {
    let mut stopping = app.stopping();
    let every = Duration::from_secs(app.settings().dead_man_s.max(1));
    let mut next_ping = Duration::ZERO;
    loop {
        let now = app.clock().monotonic();
        if now >= next_ping {
            app.ping().await;
            next_ping = now + every;
        }
        // What cannot be recorded is not begun.
        if app.sequencer().status().writing == Writing::Yes {
            app.look_at_paths().await;
            app.try_who_is_due().await;
            app.end_trials().await;
        }
        tokio::select! {
            () = tokio::time::sleep(LOOK.min(every)) => {}
            () = stop_begins(&mut stopping) => return,
        }
    }
}

impl App {
    /// Says to the outside that we live, where everything that alarms need does: the ledger takes entries and the read
    /// models keep up. Otherwise it says nothing, and whoever waits for it raises the alarm.
    async fn ping(&self) {
        let Some(url) = self.settings().dead_man_url.clone() else {
            return;
        };
        let lives = self.sequencer().status().writing == Writing::Yes
            && self.backlog().too_far().is_none()
            && self.projector().status().trouble.is_none();
        if !lives {
            return tracing::warn!("the dead-man ping is withheld");
        }
        let agent = guard::agent(guard::Targets::Any, PING_WITHIN);
        let pinged = tokio::task::spawn_blocking(move || match agent.get(&url).call() {
            Ok(answer) if answer.status().is_success() => None,
            Ok(answer) => Some(answer.status().as_u16().to_string()),
            Err(error) => Some(guard::code_of(&error).to_owned()),
        });
        if let Ok(Some(code)) = pinged.await {
            tracing::warn!(code, "the dead-man ping did not arrive");
        }
    }
}
