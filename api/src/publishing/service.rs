//! Publishing within the service that records: outcomes go to its own sequencer.
//!
//! Not here: the threads (`lane`).

use super::{
    ChannelError, Desk, HEAD_PUBLISHED, Outcome, PUBLICATION, Publishing, StoredHeads, start_lanes, stream_of,
};
use crate::app::App;
use crate::witnesses::HeadState;
use chain_publisher::ports_source::PortsSource;
use chain_publisher::publish::PublishError;
use chain_publisher::source::LogSource;
use commands::sequencer::{EventGroup, HeadStore, Writing};
use domain::Date;
use domain::canonical::{Canonical, CanonicalError};
use domain::entry::{Entry, NewEvent};
use domain::event::EVENT_VERSION;
use domain::ports::{BoxFuture, Clock};
use std::sync::Arc;
use std::time::Duration;

/// Entries of a stream that are read at once.
const READ_ENTRIES: usize = 256;

/// Starts a thread for each channel of the settings.
///
/// # Errors
/// [`ChannelError`].
pub fn start(app: &Arc<App>) -> Result<(), ChannelError> {
    let settings = app.settings();
    let retry = Duration::from_secs(settings.publish_retry_s);
    start_lanes(app.beside(), app, &settings.publish, app.mailer(), retry)
}

impl Desk for App {
    fn origin(&self) -> &str {
        self.origin()
    }

    fn heads(&self) -> &HeadStore {
        self.heads()
    }

    fn clock(&self) -> &dyn Clock {
        self.clock()
    }

    fn publishing(&self) -> &Publishing {
        self.publishing()
    }

    fn with_source(
        &self,
        read: &mut dyn FnMut(&dyn LogSource) -> Result<(), PublishError>,
    ) -> Result<(), PublishError> {
        let heads = StoredHeads(self.heads());
        read(&PortsSource {
            name: "the ledger".to_owned(),
            log: self.log(),
            tiles: self.tiles(),
            size: self.log().size(),
            checkpoint: self.signed().map(|(_, note)| note),
            key: Some(self.verifier_keys().0),
            heads: &heads,
        })
    }

    fn head_state(&self, date: Date) -> Option<HeadState> {
        self.witnesses().map(|witnesses| witnesses.head_state(date))
    }

    fn records(&self) -> bool {
        self.sequencer().status().writing == Writing::Yes
    }

    fn last_published<'a>(&'a self, channel: &'a str) -> BoxFuture<'a, Result<Option<Date>, String>> {
        Box::pin(self.last_head_published(channel))
    }

    fn record<'a>(
        &'a self,
        event_type: &'static str,
        outcome: &'a Outcome,
    ) -> BoxFuture<'a, Result<(), String>> {
        Box::pin(self.record_outcome(event_type, outcome))
    }
}

impl App {
    async fn last_head_published(&self, channel: &str) -> Result<Option<Date>, String> {
        let is_published = |event_type: &str, _: &Outcome| event_type == HEAD_PUBLISHED;
        Ok(self
            .last_outcome(channel, is_published)
            .await?
            .map(|outcome| outcome.date))
    }

    /// The last outcome of a channel that the ledger has and that is such a one.
    pub(crate) async fn last_outcome(
        &self,
        channel: &str,
        wanted: impl Fn(&str, &Outcome) -> bool,
    ) -> Result<Option<Outcome>, String> {
        // While the state is loaded again the index of streams is not whole.
        if !self.records() {
            return Err("nothing is recorded now".to_owned());
        }
        let positions = self.sequencer().positions().of(PUBLICATION, &stream_of(channel));
        for some in positions.rchunks(READ_ENTRIES) {
            let block = self
                .log()
                .read_at(some)
                .await
                .map_err(|error| error.to_string())?;
            let mut last = None;
            for (_, bytes) in block.iter() {
                let entry = Entry::read(bytes).map_err(|error| error.to_string())?;
                let outcome: Outcome =
                    serde_json::from_slice(entry.payload).map_err(|error| error.to_string())?;
                if wanted(entry.event_type, &outcome) {
                    last = Some(outcome);
                }
            }
            if last.is_some() {
                return Ok(last);
            }
        }
        if !self.records() {
            return Err("nothing is recorded now".to_owned());
        }
        Ok(None)
    }

    pub(crate) async fn record_outcome(
        &self,
        event_type: &'static str,
        outcome: &Outcome,
    ) -> Result<(), String> {
        let event = event(event_type, outcome).map_err(|error| error.to_string())?;
        let group = EventGroup {
            events: vec![(event, None)],
            ..EventGroup::default()
        };
        let recorded = self.sequencer().record(group).await;
        recorded.map(|_| ()).map_err(|error| error.to_string())
    }
}

fn event(event_type: &'static str, outcome: &Outcome) -> Result<NewEvent, CanonicalError> {
    Ok(NewEvent {
        aggregate_type: PUBLICATION.into(),
        aggregate_id: stream_of(&outcome.channel),
        event_type: event_type.into(),
        event_version: EVENT_VERSION.into(),
        payload: Canonical::from_serialize(outcome)?,
        metadata: Canonical::of(&serde_json::json!({"actor": "system:publishing"}))?,
        salt: None,
    })
}
