//! A running publisher: follows, signs, has cosigned, publishes.
//!
//! Threads: one signs, one asks the witnesses, one for each channel. Each ends when the stop begins, and is joined.
//! Invariants: as the room's; what cannot be signed for good stops everything, and is said.
//! Not here: the signal that stops it (`cli::publish`).

use super::dir::Dir;
use super::follow::{self, FollowError, Followed};
use super::outcomes::Outcomes;
use crate::app::STAMPS;
use crate::config::Settings;
use crate::key_chain;
use crate::mail::Mailer;
use crate::publishing::{ChannelError, Desk, Outcome, Publishing, StoredHeads, start_lanes};
use crate::stopping::Stopping;
use crate::threads::Threads;
use crate::witnesses::{HeadState, Witnesses};
use chain_publisher::ports_source::PortsSource;
use chain_publisher::publish::PublishError;
use chain_publisher::source::LogSource;
use commands::sequencer::HeadStore;
use domain::ports::{BoxFuture, Clock};
use domain::{Date, TreeSize};
use parking_lot::{Mutex, RwLock};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// How often it is looked for what may be signed: a checkpoint a second at most (FORMAT §4).
const LOOK: Duration = Duration::from_secs(1);
/// Opening the ledger's files costs more the more was written since they were last sealed; it rests so many times as long.
const REST_TIMES: u32 = 4;

/// A publisher.
pub struct Publisher {
    dir: Dir,
    settings: Settings,
    clock: Arc<dyn Clock>,
    publishing: Publishing,
    witnesses: RwLock<Option<Arc<Witnesses>>>,
    outcomes: Mutex<Outcomes>,
    followed: Mutex<Option<Arc<Followed>>>,
    stopping: Stopping,
    refused: Mutex<Option<String>>,
    threads: Threads,
}

impl Publisher {
    /// Makes one ready; nothing is signed yet.
    ///
    /// # Errors
    /// In words.
    pub fn open(mut dir: Dir, settings: Settings, clock: Arc<dyn Clock>) -> Result<Arc<Self>, String> {
        // The service asks for those, and publishing takes them along.
        dir.heads = dir.heads.with_stamps_in(&settings.data.join(STAMPS));
        let witnesses = witnesses(&dir, &settings)?;
        let outcomes = Outcomes::open(&dir.path).map_err(|error| error.to_string())?;
        Ok(Arc::new(Self {
            dir,
            settings,
            clock,
            publishing: Publishing::default(),
            witnesses: RwLock::new(witnesses),
            outcomes: Mutex::new(outcomes),
            followed: Mutex::default(),
            stopping: Stopping::default(),
            refused: Mutex::default(),
            threads: Threads::default(),
        }))
    }

    /// Starts the threads.
    ///
    /// # Errors
    /// A channel that cannot be used, or no thread.
    pub fn start(self: &Arc<Self>) -> Result<(), ChannelError> {
        let mailer = self.settings.mail.as_ref().map(Mailer::open).transpose();
        let mailer = mailer
            .map_err(|reason| ChannelError::new("mail", reason))?
            .map(Arc::new);
        let retry = Duration::from_secs(self.settings.publish_retry_s);
        start_lanes(
            &self.threads,
            self,
            &self.settings.publish,
            mailer.as_ref(),
            retry,
        )?;
        let thread = |name: &str, body: fn(&Self)| {
            let this = Arc::clone(self);
            let started = self.threads.start(name, move || body(&this));
            started.map_err(|error| ChannelError::new(name, error.to_string()))
        };
        thread("sign", Self::sign)?;
        if self.witnesses().is_some() {
            thread("witnesses", Self::ask_witnesses)?;
        }
        Ok(())
    }

    /// Tells every thread to end.
    pub fn stop(&self) {
        self.stopping.stop();
        self.publishing.stop();
    }

    /// Waits until every thread has ended.
    pub async fn ended(&self) {
        self.threads.join().await;
    }

    /// Completes when it has stopped by itself or was stopped.
    pub async fn stopped(&self) {
        self.stopping.stopped().await;
    }

    /// Why nothing is signed any more, if so.
    pub fn refused(&self) -> Option<String> {
        self.refused.lock().clone()
    }

    fn sign(&self) {
        let mut said = None;
        loop {
            let began = Instant::now();
            match self.sign_once() {
                Ok(()) => said = None,
                Err(FollowError::Later(reason)) => {
                    if said.as_ref() != Some(&reason) {
                        tracing::warn!(reason, "nothing can be signed now");
                    }
                    said = Some(reason);
                }
                Err(FollowError::Refused(reason)) => {
                    tracing::error!(
                        reason,
                        "NOTHING IS SIGNED ANY MORE: find out why before anything else"
                    );
                    *self.refused.lock() = Some(reason);
                    return self.stop();
                }
            }
            if !self.stopping.pause(LOOK.max(began.elapsed() * REST_TIMES)) {
                return;
            }
        }
    }

    fn sign_once(&self) -> Result<(), FollowError> {
        let data = &self.settings.data;
        let Some(offered) = follow::offered(data, &self.dir.origin)? else {
            return Err(FollowError::Later(format!(
                "{} offers nothing: a service with signed_elsewhere has to run on it",
                data.display()
            )));
        };
        // Held while heads are made: whoever reads one finds a ledger here that covers it.
        let mut slot = self.followed.lock();
        let before = slot.clone();
        if before
            .as_ref()
            .is_some_and(|followed| followed.signed.0 >= offered.size())
        {
            return Ok(());
        }
        let key = self.dir.key();
        let signed = follow::sign(data, &self.dir, &offered);
        if self.dir.key().verifier_key() != key.verifier_key() {
            // They are shown how this log came to its new key.
            let reopened = witnesses(&self.dir, &self.settings).map_err(FollowError::Refused)?;
            *self.witnesses.write() = reopened;
        }
        let mut followed = signed?;
        if before.is_none() {
            self.ask_what_was_signed(&followed)?;
        }
        let day_before = before.and_then(|before| before.last_day);
        followed.last_day = followed.last_day.or(day_before);
        *slot = Some(Arc::new(followed));
        Ok(())
    }

    /// What a witness shows that this ledger does not have: then it is an older copy (FORMAT §4).
    fn ask_what_was_signed(&self, followed: &Followed) -> Result<(), FollowError> {
        let Some(witnesses) = self.witnesses() else {
            return Ok(());
        };
        match witnesses.contradiction(&*followed.ledger, follow::size_of(followed)) {
            None => Ok(()),
            Some(found) => Err(FollowError::Refused(found)),
        }
    }

    fn witnesses(&self) -> Option<Arc<Witnesses>> {
        self.witnesses.read().clone()
    }

    fn ask_witnesses(&self) {
        loop {
            let followed = self.followed.lock().clone();
            if let (Some(followed), Some(witnesses)) = (followed, self.witnesses()) {
                let stopping = || self.stopping.is_stopping();
                let (signed, day) = (Some(followed.signed.clone()), followed.last_day);
                witnesses.round(&*followed.ledger, signed, day, &*self.clock, &stopping);
            }
            if !self.stopping.pause(LOOK) {
                return;
            }
        }
    }
}

/// The witnesses that the settings name, under every key that this log had.
fn witnesses(dir: &Dir, settings: &Settings) -> Result<Option<Arc<Witnesses>>, String> {
    let Some(policy) = settings.witness_policy.as_deref() else {
        return Ok(None);
    };
    let keys =
        key_chain::log_keys(&dir.heads, dir.key().verifier_key()).map_err(|error| error.to_string())?;
    let witnesses = Witnesses::open(policy, keys, dir.heads.clone()).map_err(|error| error.to_string())?;
    Ok(Some(Arc::new(witnesses)))
}

impl Desk for Publisher {
    fn origin(&self) -> &str {
        &self.dir.origin
    }

    fn heads(&self) -> &HeadStore {
        &self.dir.heads
    }

    fn clock(&self) -> &dyn Clock {
        &*self.clock
    }

    fn publishing(&self) -> &Publishing {
        &self.publishing
    }

    fn with_source(
        &self,
        read: &mut dyn FnMut(&dyn LogSource) -> Result<(), PublishError>,
    ) -> Result<(), PublishError> {
        let followed = self.followed.lock().clone();
        let nothing = || PublishError::Failed("the ledger was not read yet".to_owned());
        let followed = followed.ok_or_else(nothing)?;
        let heads = StoredHeads(&self.dir.heads);
        let size: TreeSize = follow::size_of(&followed);
        read(&PortsSource {
            name: "the ledger".to_owned(),
            log: &*followed.ledger,
            tiles: &*followed.ledger,
            size,
            checkpoint: Some(followed.signed.1.clone()),
            key: Some(self.dir.key().verifier_key().to_string()),
            heads: &heads,
        })
    }

    fn head_state(&self, date: Date) -> Option<HeadState> {
        self.witnesses().map(|witnesses| witnesses.head_state(date))
    }

    fn records(&self) -> bool {
        // Its own file takes what comes of it; whether a service runs does not matter.
        self.followed.lock().is_some()
    }

    fn last_published<'a>(&'a self, channel: &'a str) -> BoxFuture<'a, Result<Option<Date>, String>> {
        let last = self.outcomes.lock().last_published(channel);
        Box::pin(std::future::ready(Ok(last)))
    }

    fn record<'a>(
        &'a self,
        event_type: &'static str,
        outcome: &'a Outcome,
    ) -> BoxFuture<'a, Result<(), String>> {
        let added = self.outcomes.lock().add(event_type, outcome);
        Box::pin(std::future::ready(added.map_err(|error| error.to_string())))
    }
}
