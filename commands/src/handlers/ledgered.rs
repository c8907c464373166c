//! cqrs-es over the ledger: one newtype around the domain's aggregates, and the repository that loads their
//! streams and gathers their events into one group.
//!
//! cqrs-es loads a stream, lets the aggregate decide, and hands the events back with their sequences; it never
//! writes by itself, because a request may touch several streams and is recorded whole.
//! Invariants: the event store only (its snapshots apply events twice, DESIGN "Stores"); an event carries its
//! salt and sequence, because sealed values are bound to them.
//! Not here: what is decided (`domain::aggregate`), recording (`record`).

use super::sealer::{NotSealed, Sealer};
use super::{ManageError, Management, Request, Step};
use crate::record::StreamIndex;
use cqrs_es::event_sink::EventSink;
use cqrs_es::persist::{
    PersistedEventRepository, PersistedEventStore, PersistenceError, ReplayStream, SerializedEvent,
    SerializedSnapshot,
};
use cqrs_es::{AggregateError, CqrsFramework, DomainEvent};
use domain::Position;
use domain::aggregate::{self, Aggregate, Stamp};
use domain::canonical::Canonical;
use domain::entry::{Entry, NewEvent, Salt};
use domain::event::{Event, Metadata, Text};
use domain::hash::{base64url, from_base64url};
use domain::ports::EventLog;
use domain::rejection::{Fault, Rejection};
use parking_lot::Mutex;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use std::sync::Arc;
use std::time::Duration;

/// How long a stream's newest entry may be on its way to disk before it is read all the same.
const DURABLE_WITHIN: Duration = Duration::from_secs(10);

/// A domain aggregate as cqrs-es sees it.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub(super) struct Ledgered<A>(A);

/// An event with what its entry adds to it.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Stamped {
    event: Event,
    reason_text: Option<Text>,
    sequence: u64,
    salt: Salt,
}

/// As it passes through cqrs-es.
#[derive(Serialize, Deserialize)]
struct Wire {
    event_type: String,
    payload: Value,
    salt: String,
    sequence: u64,
}

impl Serialize for Stamped {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        use serde::ser::Error;
        let canonical = self
            .event
            .payload(self.reason_text.as_ref())
            .map_err(Error::custom)?;
        let payload = serde_json::from_slice(canonical.as_bytes()).map_err(Error::custom)?;
        Wire {
            event_type: self.event.event_type().to_owned(),
            payload,
            salt: base64url(&self.salt),
            sequence: self.sequence,
        }
        .serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Stamped {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        use serde::de::Error;
        let wire = Wire::deserialize(deserializer)?;
        let payload = serde_json::to_vec(&wire.payload).map_err(Error::custom)?;
        let salt = from_base64url(&wire.salt).and_then(|bytes| bytes.try_into().ok());
        Ok(Self {
            event: Event::read(&wire.event_type, &payload).map_err(Error::custom)?,
            reason_text: None,
            sequence: wire.sequence,
            salt: salt.ok_or_else(|| Error::custom("not a salt"))?,
        })
    }
}

impl DomainEvent for Stamped {
    fn event_type(&self) -> String {
        self.event.event_type().to_owned()
    }

    fn event_version(&self) -> String {
        domain::event::EVENT_VERSION.to_owned()
    }
}

/// Why a handler gives no events.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum HandleError {
    #[error(transparent)]
    Rejected(#[from] Rejection),
    #[error(transparent)]
    NotSealed(#[from] NotSealed),
}

/// What handling one command needs.
pub(super) struct Handling {
    sealer: Sealer,
    if_match: Option<u64>,
    reason_text: Option<String>,
}

/// The answer to an `If-Match` that does not hold any more.
pub(super) fn changed_meanwhile() -> Rejection {
    Rejection::new(
        Fault::Stale,
        "precondition_failed",
        "this was changed since you read it (If-Match): read it again and repeat",
    )
}

impl<A> cqrs_es::Aggregate for Ledgered<A>
where
    A: Aggregate + Serialize + DeserializeOwned + Send + Sync + 'static,
    A::Command: Send + Sync,
{
    const TYPE: &'static str = A::TYPE;
    type Command = A::Command;
    type Event = Stamped;
    type Error = HandleError;
    type Services = Handling;

    async fn handle(
        &mut self,
        command: Self::Command,
        service: &Self::Services,
        sink: &EventSink<Self>,
    ) -> Result<(), Self::Error> {
        if service
            .if_match
            .is_some_and(|sequence| sequence != self.0.sequence())
        {
            return Err(changed_meanwhile().into());
        }
        for mut event in self.0.decide(&command)? {
            if !service.sealer.changes(&mut event) {
                continue;
            }
            let (sequence, salt) = (self.0.sequence() + 1, service.sealer.salt());
            service.sealer.seal(&mut event, sequence, &salt)?;
            let mut reason_text = service.reason_text.clone().map(Text::Plain);
            if let Some(text) = &mut reason_text {
                service.sealer.text(text, "/reason_text", sequence, &salt)?;
            }
            let stamped = Stamped {
                event,
                reason_text,
                sequence,
                salt,
            };
            sink.write(stamped, self).await;
        }
        Ok(())
    }

    fn apply(&mut self, event: Self::Event) {
        let salt = base64url(&event.salt);
        let stamp = Stamp {
            sequence: event.sequence,
            salt: &salt,
        };
        self.0.apply(&event.event, stamp);
    }
}

/// An event and the sequence that its stream must have before it.
pub(super) type Expecting = (NewEvent, Option<u64>);

/// Loads streams from the ledger, and gathers what is to be appended to them.
#[derive(Clone)]
pub(super) struct Gathering {
    log: Arc<dyn EventLog>,
    index: Arc<dyn StreamIndex>,
    gathered: Arc<Mutex<Vec<Expecting>>>,
    metadata: Metadata,
    owner: String,
}

impl Gathering {
    /// The entries of a stream, then what this request adds to it.
    async fn load(&self, aggregate_type: &str, id: &str) -> Result<Vec<SerializedEvent>, PersistenceError> {
        let positions = self.index.positions(aggregate_type, id);
        if let Some(last) = positions.last() {
            self.until_durable(*last).await;
        }
        let block = self
            .log
            .read_at(&positions)
            .await
            .map_err(|e| PersistenceError::ConnectionError(Box::new(e)))?;
        let mut events = Vec::with_capacity(block.len());
        for (_, bytes) in block.iter() {
            let entry =
                Entry::read(bytes).map_err(|e| PersistenceError::DeserializationError(Box::new(e)))?;
            events.push(serialized(&entry)?);
        }
        let gathered = self.gathered.lock();
        let added = gathered
            .iter()
            .filter(|(event, _)| event.aggregate_type == aggregate_type && event.aggregate_id == id);
        for (event, expected) in added {
            let wire = Wire {
                event_type: event.event_type.to_string(),
                payload: serde_json::from_slice(event.payload.as_bytes())?,
                salt: base64url(&event.salt.unwrap_or_default()),
                sequence: expected.unwrap_or_default() + 1,
            };
            events.push(of_wire(&wire, aggregate_type, id)?);
        }
        Ok(events)
    }

    /// The index names what was decided, which is durable a moment later. Where it never will be, reading says so.
    async fn until_durable(&self, position: Position) {
        let durable = async {
            let mut size = self.log.size();
            while !size.contains(position) {
                size = self.log.follow(size).await;
            }
        };
        if tokio::time::timeout(DURABLE_WITHIN, durable).await.is_err() {
            tracing::warn!(%position, "an entry of a stream is not durable");
        }
    }

    /// An event as it is recorded.
    fn new_event(&self, event: &SerializedEvent) -> Result<Expecting, PersistenceError> {
        let wire: Wire = serde_json::from_value(event.payload.clone())?;
        let salt = from_base64url(&wire.salt).and_then(|bytes| bytes.try_into().ok());
        let metadata = Metadata {
            owner: (wire.sequence == 1).then(|| self.owner.clone()),
            ..self.metadata.clone()
        };
        let unwritable = |e| PersistenceError::UnknownError(Box::new(e));
        let new = NewEvent {
            aggregate_type: event.aggregate_type.clone().into(),
            aggregate_id: event.aggregate_id.clone(),
            event_type: wire.event_type.into(),
            event_version: event.event_version.clone().into(),
            payload: Canonical::of(&wire.payload).map_err(unwritable)?,
            metadata: metadata.write().map_err(unwritable)?,
            salt,
        };
        Ok((new, Some(wire.sequence - 1)))
    }
}

fn serialized(entry: &Entry<'_>) -> Result<SerializedEvent, PersistenceError> {
    let wire = Wire {
        event_type: entry.event_type.to_owned(),
        payload: serde_json::from_slice(entry.payload)?,
        salt: entry.salt.to_owned(),
        sequence: entry.sequence,
    };
    of_wire(&wire, entry.aggregate_type, entry.aggregate_id)
}

fn of_wire(wire: &Wire, aggregate_type: &str, id: &str) -> Result<SerializedEvent, PersistenceError> {
    Ok(SerializedEvent::new(
        id.to_owned(),
        wire.sequence as usize,
        aggregate_type.to_owned(),
        wire.event_type.clone(),
        domain::event::EVENT_VERSION.to_owned(),
        serde_json::to_value(wire)?,
        json!({}),
    ))
}

impl PersistedEventRepository for Gathering {
    async fn get_events<A: cqrs_es::Aggregate>(
        &self,
        id: &str,
    ) -> Result<Vec<SerializedEvent>, PersistenceError> {
        self.load(A::TYPE, id).await
    }

    async fn get_last_events<A: cqrs_es::Aggregate>(
        &self,
        id: &str,
        last_sequence: usize,
    ) -> Result<Vec<SerializedEvent>, PersistenceError> {
        let mut events = self.load(A::TYPE, id).await?;
        events.retain(|event| event.sequence > last_sequence);
        Ok(events)
    }

    async fn get_snapshot<A: cqrs_es::Aggregate>(
        &self,
        _id: &str,
    ) -> Result<Option<SerializedSnapshot>, PersistenceError> {
        Ok(None)
    }

    async fn persist<A: cqrs_es::Aggregate>(
        &self,
        events: &[SerializedEvent],
        _snapshot: Option<(String, Value, usize)>,
    ) -> Result<(), PersistenceError> {
        let events: Result<Vec<_>, _> = events.iter().map(|event| self.new_event(event)).collect();
        self.gathered.lock().extend(events?);
        Ok(())
    }

    async fn stream_events<A: cqrs_es::Aggregate>(&self, id: &str) -> Result<ReplayStream, PersistenceError> {
        let events = self.load(A::TYPE, id).await?;
        let (mut feed, stream) = ReplayStream::new(events.len().max(1));
        for event in events {
            feed.push(Ok(event)).await?;
        }
        Ok(stream)
    }

    async fn stream_all_events<A: cqrs_es::Aggregate>(&self) -> Result<ReplayStream, PersistenceError> {
        // Projections read the ledger by position; nothing here replays a whole type.
        let (_, stream) = ReplayStream::new(1);
        Ok(stream)
    }
}

impl Management {
    /// Runs every step of a request and gives the events that follow.
    pub(super) async fn decide(&self, request: &Request<'_>) -> Result<Vec<Expecting>, ManageError> {
        let gathered = Arc::new(Mutex::new(Vec::new()));
        for (index, step) in request.steps.iter().enumerate() {
            let gathering = Gathering {
                log: self.ports.log.clone(),
                index: self.ports.index.clone(),
                gathered: gathered.clone(),
                metadata: request.actor.metadata(Some(request.reason)),
                owner: step.owner(&request.actor.account).to_owned(),
            };
            let handling = Handling {
                sealer: self.sealer(step, &request.actor.account)?,
                if_match: request.if_match.filter(|_| index == 0),
                reason_text: request.reason.text.clone(),
            };
            execute_step(gathering, handling, step.clone()).await?;
        }
        let events = std::mem::take(&mut *gathered.lock());
        Ok(events)
    }

    fn sealer(&self, step: &Step, account: &str) -> Result<Sealer, ManageError> {
        let keys = &self.ports.keys;
        let id = keys
            .create(step.subject(account))
            .map_err(ManageError::Unavailable)?;
        let gone = || ManageError::Unavailable("the key that seals this is gone".to_owned());
        Ok(Sealer {
            origin: self.settings.origin.as_str().into(),
            aggregate_type: step.aggregate_type(),
            aggregate_id: step.id().to_owned(),
            key: keys.get(&id).ok_or_else(gone)?,
            opener: self.opener(),
            entropy: self.ports.entropy.clone(),
        })
    }
}

async fn execute_step(gathering: Gathering, handling: Handling, step: Step) -> Result<(), ManageError> {
    match step {
        Step::Account(id, command) => execute::<aggregate::Account>(gathering, handling, &id, command).await,
        Step::User(id, command) => execute::<aggregate::User>(gathering, handling, &id, command).await,
        Step::Site(id, command) => execute::<aggregate::Site>(gathering, handling, &id, command).await,
        Step::Device(id, command) => execute::<aggregate::Device>(gathering, handling, &id, command).await,
        Step::Channel { id, command, .. } => {
            execute::<aggregate::Channel>(gathering, handling, &id, command).await
        }
        Step::Tokens(id, command) => execute::<aggregate::Tokens>(gathering, handling, &id, command).await,
        Step::Integration(id, command) => {
            execute::<aggregate::Integration>(gathering, handling, &id, command).await
        }
        Step::Artefact { id, command, .. } => {
            execute::<aggregate::Artefact>(gathering, handling, &id, command).await
        }
        Step::Pack(id, command) => execute::<aggregate::Pack>(gathering, handling, &id, command).await,
        Step::Rule { id, command, .. } => execute::<aggregate::Rule>(gathering, handling, &id, command).await,
        Step::Alarm { id, command, .. } => {
            execute::<aggregate::Alarm>(gathering, handling, &id, command).await
        }
        Step::Silence { id, command, .. } => {
            execute::<aggregate::Silence>(gathering, handling, &id, command).await
        }
        Step::Annotations(id, command) => {
            execute::<aggregate::Annotations>(gathering, handling, &id, command).await
        }
        Step::Standing(id, command) => {
            execute::<aggregate::Standing>(gathering, handling, &id, command).await
        }
        Step::Contact(id, command) => execute::<aggregate::Contact>(gathering, handling, &id, command).await,
    }
}

async fn execute<A>(
    gathering: Gathering,
    handling: Handling,
    id: &str,
    command: A::Command,
) -> Result<(), ManageError>
where
    A: Aggregate + Serialize + DeserializeOwned + Send + Sync + 'static,
    A::Command: Send + Sync,
{
    let store = PersistedEventStore::<_, Ledgered<A>>::new_event_store(gathering);
    let framework = CqrsFramework::new(store, vec![], handling);
    framework.execute(id, command).await.map_err(|error| match error {
        AggregateError::UserError(HandleError::Rejected(rejection)) => ManageError::Rejected(rejection),
        AggregateError::UserError(HandleError::NotSealed(words)) => {
            ManageError::Unavailable(words.to_string())
        }
        AggregateError::AggregateConflict => ManageError::Rejected(changed_meanwhile()),
        other => ManageError::Unavailable(other.to_string()),
    })
}
