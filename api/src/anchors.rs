//! Time stamps over the heads of days, where the settings ask for them: which are missing, when to ask again, and what
//! came of it.
//!
//! A thread of its own, so that a slow authority delays no channel and nothing else. What is missing is what has no file
//! beside its head; so nothing is forgotten over a restart, and a crash between an answer and its file asks once more.
//! Each outcome is an entry (`HeadAnchored`, `HeadNotAnchored`) of class `outbound`.
//! Invariants: a file is kept only if it is about the head's hash; no address is in an entry or a log.
//! Source: FORMAT §5. Not here: the formats and questions (`chain_publisher::anchor`).

use crate::app::App;
use crate::back_off;
use crate::config::Settings;
use crate::publishing::PUBLICATION;
use crate::stopping::Stopping;
use chain_publisher::anchor::{AnchorKind, ots, rfc3161};
use commands::sequencer::{EventGroup, Writing};
use domain::Date;
use domain::canonical::{Canonical, CanonicalError};
use domain::entry::NewEvent;
use domain::event::EVENT_VERSION;
use domain::hash::{base64url, sha256};
use domain::tlog_proof::TlogProof;
use serde::Serialize;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// A head has a time stamp.
pub const HEAD_ANCHORED: &str = "HeadAnchored";
/// It has none yet; it is asked for again.
pub const HEAD_NOT_ANCHORED: &str = "HeadNotAnchored";
/// How often it is looked for heads without one.
const LOOK: Duration = Duration::from_secs(1);
/// Heads that are looked back at: a month. Whoever is silent for longer leaves a gap, which newer heads cover.
const LOOK_BACK_DAYS: usize = 31;
/// Characters of a reason that are recorded.
const REASON_MAX: usize = 300;

/// The anchoring of a service.
#[derive(Default)]
pub struct Anchoring {
    stopping: Stopping,
}

impl Anchoring {
    /// Ends it after what it does now.
    pub fn stop(&self) {
        self.stopping.stop();
    }
}

/// One kind of time stamp and where it is.
struct Lane {
    kind: AnchorKind,
    failures: u32,
    next_try: Instant,
}

/// What the ledger says of one.
#[derive(Debug, Serialize)]
struct Outcome {
    kind: &'static str,
    date: Date,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    attempt: Option<u32>,
    took_ms: u64,
}

/// The kinds that the settings ask for.
fn kinds(settings: &Settings) -> Vec<AnchorKind> {
    let tsa = settings.tsa_url.as_ref().map(|_| AnchorKind::Rfc3161);
    let ots = (!settings.ots_calendars.is_empty()).then_some(AnchorKind::OpenTimestamps);
    tsa.into_iter().chain(ots).collect()
}

/// Starts the thread, where the settings ask for time stamps.
///
/// # Errors
/// No thread.
pub fn start(app: &Arc<App>) -> std::io::Result<()> {
    let lanes: Vec<Lane> = kinds(app.settings())
        .into_iter()
        .map(|kind| Lane {
            kind,
            failures: 0,
            next_try: Instant::now(),
        })
        .collect();
    if lanes.is_empty() {
        return Ok(());
    }
    let running = Arc::clone(app);
    let runtime = tokio::runtime::Handle::current();
    app.beside()
        .start("anchors", move || runtime.block_on(run(&running, lanes)))
}

async fn run(app: &App, mut lanes: Vec<Lane>) {
    loop {
        for lane in &mut lanes {
            app.anchor_next(lane).await;
        }
        if !app.anchoring().stopping.pause(LOOK) {
            return;
        }
    }
}

impl App {
    /// Asks for the oldest time stamp of that kind that is missing.
    async fn anchor_next(&self, lane: &mut Lane) {
        let records = self.sequencer().status().writing == Writing::Yes;
        if self.anchoring().stopping.is_stopping() || !records || Instant::now() < lane.next_try {
            return;
        }
        let ending = lane.kind.ending();
        let date = match self.without_stamp(ending) {
            Ok(Some(date)) => date,
            Ok(None) => return,
            // Nothing is known of what is missing: nobody is asked for what may be there.
            Err(error) => {
                return tracing::warn!(kind = ending, %error, "heads and their time stamps cannot be read now");
            }
        };
        let began = Instant::now();
        let anchored = self.stamp_head(lane.kind, date);
        let took_ms = began.elapsed().as_millis() as u64;
        let failed = anchored
            .as_ref()
            .err()
            .map(|why| why.chars().take(REASON_MAX).collect::<String>());
        let outcome = Outcome {
            kind: ending,
            date,
            attempt: (lane.failures > 0 || failed.is_some()).then_some(lane.failures + 1),
            reason: failed.clone(),
            took_ms,
        };
        let event_type = match &failed {
            None => {
                lane.failures = 0;
                tracing::info!(kind = ending, %date, took_ms, "head anchored");
                HEAD_ANCHORED
            }
            Some(reason) => {
                tracing::warn!(kind = ending, %date, reason, "head not anchored");
                let first = Duration::from_secs(self.settings().publish_retry_s);
                lane.next_try = Instant::now() + back_off::pause(first, lane.failures);
                lane.failures += 1;
                HEAD_NOT_ANCHORED
            }
        };
        let event = match event(event_type, &outcome) {
            Ok(event) => event,
            Err(error) => return tracing::error!(%error, "an outcome cannot be written"),
        };
        let group = EventGroup {
            events: vec![(event, None)],
            ..EventGroup::default()
        };
        if let Err(error) = self.sequencer().record(group).await {
            // The file is what counts; what came of it is told by it, too.
            tracing::warn!(%error, kind = ending, "what came of a time stamp was not recorded");
        }
    }

    /// The oldest head without that time stamp.
    fn without_stamp(&self, ending: &str) -> std::io::Result<Option<Date>> {
        let dates = self.heads().dates()?;
        for date in &dates[dates.len().saturating_sub(LOOK_BACK_DAYS)..] {
            if !self.heads().has_stamp(*date, ending)? {
                return Ok(Some(*date));
            }
        }
        Ok(None)
    }

    /// Asks for one time stamp, and keeps it beside its head.
    fn stamp_head(&self, kind: AnchorKind, date: Date) -> Result<(), String> {
        let head = self.heads().get(date).map_err(|error| error.to_string())?;
        let head = head.ok_or("its head is gone")?;
        let proof = TlogProof::parse(&head).map_err(|error| error.to_string())?;
        let hash = proof.checkpoint.body_sha256().0;
        let settings = self.settings();
        let stamp = match kind {
            AnchorKind::Rfc3161 => {
                let url = settings.tsa_url.as_deref().ok_or("no authority is set")?;
                rfc3161::ask(url, &hash)?
            }
            AnchorKind::OpenTimestamps => {
                let mut nonces = vec![[0; ots::NONCE_BYTES]; settings.ots_calendars.len()];
                nonces.iter_mut().for_each(|nonce| self.entropy().fill(nonce));
                let (stamp, silent) = ots::ask(&settings.ots_calendars, &hash, &nonces)?;
                for why in silent {
                    tracing::warn!(%date, why, "a calendar did not answer");
                }
                stamp
            }
        };
        let kept = self.heads().put_stamp(date, kind.ending(), &stamp);
        kept.map_err(|error| format!("it cannot be kept: {error}"))
    }
}

fn event(event_type: &'static str, outcome: &Outcome) -> Result<NewEvent, CanonicalError> {
    let hash = sha256(format!("daybook/anchor\n{}", outcome.kind).as_bytes());
    Ok(NewEvent {
        aggregate_type: PUBLICATION.into(),
        aggregate_id: format!("anc_{}", base64url(&hash.0[..16])),
        event_type: event_type.into(),
        event_version: EVENT_VERSION.into(),
        payload: Canonical::from_serialize(outcome)?,
        metadata: Canonical::of(&serde_json::json!({"actor": "system:anchors"}))?,
        salt: None,
    })
}
