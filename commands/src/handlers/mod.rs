//! Command handlers: what people and the service itself may change, decided by aggregates, recorded as one group.
//!
//! The way: [`Management`] finds what is meant in the registry (another account's things are not there), puts
//! together the commands of one request as [`Step`]s, runs each through cqrs-es over the ledger (`ledgered`),
//! where new texts are sealed, and hands all their events to the recorder as one group. A lost race is tried again
//! from the start; with `If-Match` it is answered 412 instead.
//! Invariants: every event has actor, account and reason; no text reaches an entry in the clear; a request is
//! recorded whole or not at all.
//! Not here: HTTP, sessions, rate limits (`api`); what follows from other entries (alerting).

mod adopt;
mod alarms;
mod contacts;
mod derived;
mod devices;
mod evidence;
mod integrations;
mod ledgered;
mod people;
mod readings;
mod rules;
mod sealer;
mod silences;
mod sites;
mod step;
#[cfg(test)]
pub(crate) mod testing;
#[cfg(test)]
mod tests;

pub use adopt::Adoption;
pub use alarms::MissedAlarm;
pub use contacts::{CONTACTS_MAX, ContactOutcome};
pub use people::{Bootstrap, NewUser, UserPatch};
pub use sealer::Opener;
pub use step::Step;

use crate::record::{Recorder, StreamIndex};
use crate::sequencer::{EventGroup, GroupReading, Idempotency, RecordError, Recorded};
use crate::tokens::{AuthError, Authenticator, NewToken};
use domain::aggregate::user::{OWNER, Right};
use domain::entry::Entry;
use domain::event::metadata::ReasonCode;
use domain::event::{Event, Metadata, Reason, TokenIssued, TokenKind};
use domain::ids::IdKind;
use domain::ports::{Clock, Entropy, EventLog, KeyStore};
use domain::registry::Registry;
use domain::rejection::{Fault, Rejection};
use domain::{Hash, Position, Timestamp};
use parking_lot::RwLock;
use std::sync::Arc;

/// How often a request that lost a race is tried again before it is answered 409.
pub const ATTEMPTS: usize = 4;

/// Who asks, and how we know.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Actor {
    /// The account that everything happens in.
    pub account: String,
    /// `usr_…` or `system:<component>`.
    pub id: String,
    /// The user's role; `owner` for the system.
    pub role: String,
    /// How the actor proved who they are: `token`, `session`, `system`.
    pub auth: String,
    /// The request.
    pub request_id: Option<String>,
    /// The id of the token that was shown.
    pub token: Option<String>,
    /// What makes a repeated request answer as the first did.
    pub idempotency: Option<Idempotency>,
}

impl Actor {
    /// The service itself, in an account.
    pub fn system(component: &str, account: &str) -> Self {
        Self {
            account: account.to_owned(),
            id: format!("system:{component}"),
            role: OWNER.to_owned(),
            auth: "system".to_owned(),
            request_id: None,
            token: None,
            idempotency: None,
        }
    }

    /// Whether the actor's role has what this takes.
    fn may(&self, right: Right) -> Result<(), Rejection> {
        if right.is_of(&self.role) {
            return Ok(());
        }
        let words = match right {
            Right::Manage => "your role may read, but not change this: ask an owner of the account",
            Right::Handle => "this takes an operator or an owner of the account",
            Right::Comment | Right::Annotate => "your role may read and nothing else: ask an owner",
        };
        Err(Rejection::new(Fault::Forbidden, "forbidden", words))
    }

    /// What is recorded of who asked, by what right, and why.
    pub fn metadata(&self, reason: Option<&Reason>) -> Metadata {
        let text = |hash: Hash| hash.to_base64();
        Metadata {
            account: Some(self.account.clone()),
            actor: Some(self.id.clone()),
            auth: Some(self.auth.clone()),
            idempotency: self.idempotency.map(|i| text(i.key)),
            reason: reason.map(|reason| ReasonCode {
                code: reason.code.clone(),
            }),
            request_hash: self.idempotency.map(|i| text(i.request)),
            request_id: self.request_id.clone(),
            token: self.token.clone(),
            ..Metadata::default()
        }
    }
}

/// What became of a request.
#[derive(Debug)]
pub struct Outcome {
    /// What was made or changed.
    pub id: String,
    /// Its stream's sequence now: the entity tag.
    pub sequence: u64,
    /// The positions of its entries, first and one past the last; empty where nothing changed.
    pub positions: std::ops::Range<u64>,
    /// When it was recorded; `None` where nothing changed.
    pub recorded_at: Option<Timestamp>,
    /// A new token, to be shown once. `None` in a repeated answer: the token was shown then.
    pub token: Option<Arc<NewToken>>,
    /// The id of the token that was made, in a repeated answer too.
    pub token_id: Option<String>,
    /// Whether this is the answer of an earlier request with the same idempotency key.
    pub replayed: bool,
}

/// Why a request was not carried out.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ManageError {
    /// Not acceptable; says which status and code.
    #[error(transparent)]
    Rejected(#[from] Rejection),
    /// The ledger did not take it.
    #[error(transparent)]
    Record(RecordError),
    /// Something that is needed does not answer; nothing was recorded.
    #[error("{0}")]
    Unavailable(String),
}

impl From<RecordError> for ManageError {
    fn from(error: RecordError) -> Self {
        match error {
            RecordError::Rejected(rejection) => Self::Rejected(rejection),
            RecordError::Stale { .. } => Self::Rejected(Rejection::conflict(
                "conflict",
                "somebody else changed this at the same moment: read it again and repeat",
            )),
            RecordError::IdempotencyConflict => Self::Rejected(Rejection::conflict(
                "idempotency_conflict",
                "this idempotency key was used for another request: use a new one",
            )),
            RecordError::TooLarge(words) => Self::Rejected(Rejection::invalid("too_large", words)),
            other => Self::Record(other),
        }
    }
}

impl From<AuthError> for ManageError {
    fn from(error: AuthError) -> Self {
        Self::Unavailable(error.to_string())
    }
}

/// What [`Management`] needs.
#[derive(Clone)]
pub struct ManagementPorts {
    /// The one door into the ledger.
    pub recorder: Arc<dyn Recorder>,
    /// Where streams' entries are.
    pub index: Arc<dyn StreamIndex>,
    /// The entries.
    pub log: Arc<dyn EventLog>,
    /// What is configured now.
    pub registry: Arc<RwLock<Registry>>,
    /// Keys of persons and accounts.
    pub keys: Arc<dyn KeyStore>,
    /// Hashes new tokens.
    pub authenticator: Arc<Authenticator>,
    /// The wall clock.
    pub clock: Arc<dyn Clock>,
    /// Randomness.
    pub entropy: Arc<dyn Entropy>,
}

/// The service's own facts.
#[derive(Clone)]
pub struct ManagementSettings {
    /// The ledger's origin.
    pub origin: String,
    /// Indexes e-mail addresses.
    pub server_secret: crate::keys::Secret,
    /// As given to the ingest pipeline: keeps keys of channels from telling their labels.
    pub label_secret: [u8; 32],
}

/// Carries out what the API's users ask for. Cheap to clone.
#[derive(Clone)]
pub struct Management {
    ports: ManagementPorts,
    settings: Arc<ManagementSettings>,
}

impl std::fmt::Debug for Management {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Management(…)")
    }
}

/// One request on its way.
struct Request<'a> {
    actor: &'a Actor,
    reason: &'a Reason,
    /// The sequence that the first step's stream must have.
    if_match: Option<u64>,
    steps: Vec<Step>,
    readings: Vec<GroupReading>,
    /// What it takes to ask for it.
    right: Right,
}

impl Management {
    /// Over these ports.
    pub fn new(ports: ManagementPorts, settings: ManagementSettings) -> Self {
        Self {
            ports,
            settings: Arc::new(settings),
        }
    }

    /// Opens sealed texts.
    pub fn opener(&self) -> Opener {
        Opener::new(&self.settings.origin, self.ports.keys.clone())
    }

    /// The keyed index under which an address, as typed, is found.
    ///
    /// # Errors
    /// `invalid_email`.
    pub fn email_index(&self, email: &str) -> Result<String, Rejection> {
        let email = domain::aggregate::text::email(email)?;
        let index = crate::tokens::hmac(&self.settings.server_secret, email.as_bytes());
        Ok(domain::hash::base64url(&index))
    }

    fn id(&self, kind: IdKind) -> String {
        let mut random = [0u8; 16];
        self.ports.entropy.fill(&mut random);
        kind.id(&random)
    }

    /// How many entries a stream has.
    fn sequence(&self, aggregate_type: &str, id: &str) -> u64 {
        match aggregate_type {
            "alarm" | "annotations" | "state" => self.ports.index.positions(aggregate_type, id).len() as u64,
            _ => self.ports.registry.read().sequence(aggregate_type, id),
        }
    }

    /// A new token and what is recorded of it.
    async fn token(&self, kind: TokenKind) -> Result<(Arc<NewToken>, TokenIssued), ManageError> {
        let token = Arc::new(NewToken::make(kind, &*self.ports.entropy));
        let hash = self.ports.authenticator.hash(&token, &self.ports.entropy).await?;
        let issued = TokenIssued {
            hash,
            kind,
            token: token.id.clone(),
        };
        Ok((token, issued))
    }

    /// The answer of an earlier request with the same idempotency key; what it was about is read from its entries.
    async fn earlier(&self, actor: &Actor, aggregate_type: &str) -> Result<Option<Outcome>, ManageError> {
        let Some(idempotency) = actor.idempotency else {
            return Ok(None);
        };
        match self.ports.recorder.replayed(idempotency).await? {
            Some(recorded) => Ok(Some(self.repeated(aggregate_type, &recorded).await?)),
            None => Ok(None),
        }
    }

    async fn repeated(&self, aggregate_type: &str, recorded: &Recorded) -> Result<Outcome, ManageError> {
        let positions: Vec<Position> = recorded.positions.clone().map(Position).collect();
        let block = self.ports.log.read_at(&positions).await;
        let block = block.map_err(|e| ManageError::Unavailable(e.to_string()))?;
        let entries = || block.iter().filter_map(|(_, bytes)| Entry::read(bytes).ok());
        let id = entries()
            .find(|entry| entry.aggregate_type == aggregate_type)
            .map(|entry| entry.aggregate_id.to_owned());
        let token_id = entries().find_map(|entry| match Event::read(entry.event_type, entry.payload) {
            Ok(Event::TokenIssued(issued)) => Some(issued.token),
            _ => None,
        });
        let Some(id) = id else {
            return Err(ManageError::Rejected(Rejection::conflict(
                "idempotency_conflict",
                "this idempotency key was used for another kind of request: use a new one",
            )));
        };
        let sequence = self.sequence(aggregate_type, &id);
        Ok(Outcome {
            id,
            sequence,
            positions: recorded.positions.clone(),
            recorded_at: Some(recorded.recorded_at),
            token: None,
            token_id,
            replayed: true,
        })
    }

    /// Runs a request's steps and records what follows, whole or not at all. The outcome is about the first step's
    /// stream.
    async fn run(&self, request: Request<'_>, token: Option<Arc<NewToken>>) -> Result<Outcome, ManageError> {
        Ok(self.run_telling(request, token).await?.0)
    }

    /// As [`Management::run`], with what the recorder answered.
    async fn run_telling(
        &self,
        request: Request<'_>,
        token: Option<Arc<NewToken>>,
    ) -> Result<(Outcome, Option<Recorded>), ManageError> {
        request.actor.may(request.right)?;
        request.reason.check()?;
        let Some(first) = request.steps.first() else {
            return Err(ManageError::Unavailable("a request without steps".to_owned()));
        };
        let (aggregate_type, id) = (first.aggregate_type(), first.id().to_owned());
        let mut attempt = 0;
        let recorded = loop {
            attempt += 1;
            let events = self.decide(&request).await?;
            if events.is_empty() {
                break None;
            }
            let group = EventGroup {
                events,
                idempotency: request.actor.idempotency,
                readings: request.readings.clone(),
                ..EventGroup::default()
            };
            match self.ports.recorder.record(group).await {
                Ok(recorded) => break Some(recorded),
                Err(RecordError::Stale { .. }) if request.if_match.is_some() => {
                    return Err(ledgered::changed_meanwhile().into());
                }
                Err(RecordError::Stale { .. }) if attempt < ATTEMPTS => {}
                Err(error) => return Err(error.into()),
            }
        };
        if let Some(recorded) = recorded.as_ref().filter(|recorded| recorded.replayed) {
            return Ok((self.repeated(aggregate_type, recorded).await?, None));
        }
        let sequence = self.sequence(aggregate_type, &id);
        let token = token.filter(|_| recorded.is_some());
        let outcome = Outcome {
            id,
            sequence,
            positions: recorded.as_ref().map_or(0..0, |r| r.positions.clone()),
            recorded_at: recorded.as_ref().map(|r| r.recorded_at),
            token_id: token.as_ref().map(|token| token.id.clone()),
            token,
            replayed: false,
        };
        Ok((outcome, recorded))
    }
}
