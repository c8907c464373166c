//! The wiring: everything a running Daybook is made of, opened in order and stopped in the reverse.
//!
//! Invariants: one `App` a data directory; after [`App::stop`] returned, everything acknowledged is committed and
//! the last position is signed. It listens to nothing by itself (`serve`), so that tests, the demo and the
//! benchmark can hold one.
//! Not here: what any part does; what the first start records (`begin`); what runs beside (`chores`);
//! questions to the read models (`asking`).

mod asking;

use crate::anchors::{self, Anchoring};
use crate::begin::{self, BeginError, Begun, ClockAtStart};
use crate::chores::{self, Backlog};
use crate::config::Settings;
use crate::evidence::shelf::Shelf;
use crate::evidence::worker;
use crate::key_chain;
use crate::limits::Limits;
use crate::mail::Mailer;
use crate::metrics::Metrics;
use crate::notify::{self, Notify};
use crate::outflow::{OPEN_ACCOUNT_MAX, OPEN_MAX};
use crate::policy_record;
use crate::publisher::{self, VERIFIER_KEY};
use crate::publishing::{self, ChannelError, Publishing};
use crate::rekey::{self, RekeyError};
use crate::request::Request;
use crate::router::Table;
use crate::routes;
use crate::self_audit::{self, SelfAudit};
use crate::state::{State, StateError};
use crate::stores::{self, Stores, StoresError};
use crate::streams::Streams;
use crate::threads::Threads;
use crate::witnesses::{Witnesses, WitnessesError};
use commands::alerting::{Alerting, AlertingPorts};
use commands::handlers::{Management, ManagementPorts, ManagementSettings};
use commands::ingest::channels::AutoChannels;
use commands::ingest::pipeline::{Backpressure, Ingest};
use commands::refusals::Refusals;
use commands::sequencer::{self, HeadStore, Keys, Ports, Sequencer, StartError};
use commands::tokens::Authenticator;
use domain::hash::sha256_of;
use domain::note::{Signer, VerifierKey};
use domain::ports::{Clock, Entropy, EventLog, KeyStore, TileStore};
use domain::registry::Registry;
use domain::{Date, Position, TreeSize};
use parking_lot::{Mutex, RwLock};
use projections::{ProjectionError, Projector, ReadModel, StoredRoots};
use serde_json::{Value, json};
use std::net::SocketAddr;
use std::ops::ControlFlow;
use std::sync::{Arc, OnceLock};
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinHandle;
use warp::http::header;

/// When this software was made, at the earliest: a clock before it is not believed (FORMAT §5). Raised with each
/// release; it is no build's date, so that builds stay reproducible.
const MADE_AFTER: (i32, u32, u32) = (2026, 1, 1);
/// The folder of heads in the data directory.
pub const HEADS: &str = "heads";
/// The folder of time stamps over them in the data directory, where another process keeps the heads.
pub const STAMPS: &str = "stamps";

/// Trials of rules at once: each holds up to a million values and a processor.
const TRIALS_AT_ONCE: usize = 2;

/// A running Daybook.
pub struct App {
    settings: Settings,
    clock: Arc<dyn Clock>,
    entropy: Arc<dyn Entropy>,
    state: State,
    limits: Limits,
    metrics: Metrics,
    table: Table,
    stores: Stores,
    registry: Arc<RwLock<Registry>>,
    sequencer: Sequencer,
    projector: Arc<Projector>,
    rows: ReadModel,
    management: Management,
    ingest: Ingest,
    refusals: Arc<Refusals>,
    authenticator: Arc<Authenticator>,
    backlog: Arc<Backlog>,
    self_audit: SelfAudit,
    evidence: Shelf,
    publishing: Publishing,
    anchoring: Anchoring,
    alerting: OnceLock<Arc<Alerting>>,
    streams: Arc<Streams>,
    downloads: Arc<Streams>,
    questions: Arc<Semaphore>,
    notify: Notify,
    beside: Threads,
    trials: Semaphore,
    mailer: Option<Arc<Mailer>>,
    witnesses: Option<Arc<Witnesses>>,
    stopping: watch::Sender<bool>,
    chores: Mutex<Vec<JoinHandle<()>>>,
    address: OnceLock<SocketAddr>,
    begun: Begun,
}

/// What a start brings along from outside.
#[derive(Clone)]
pub struct Outside {
    /// The only clock.
    pub clock: Arc<dyn Clock>,
    /// The only randomness.
    pub entropy: Arc<dyn Entropy>,
    /// An operator vouches for the clock at this start, however far it is ahead of the last entry.
    pub clock_accepted: bool,
}

/// A Daybook could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// Keys or ledger cannot be used.
    #[error(transparent)]
    Stores(#[from] StoresError),
    /// A rotation that was begun cannot be finished.
    #[error("a key that was being replaced: {0}")]
    Rekey(#[from] Box<RekeyError>),
    /// The edge's own store does not open.
    #[error(transparent)]
    State(#[from] StateError),
    /// The read models do not open.
    #[error("the read models cannot be used: {0}")]
    Projections(#[from] ProjectionError),
    /// Which keys this ledger had is not known.
    #[error("the proofs of rotations beside the heads cannot be read: {0}")]
    Rotations(std::io::Error),
    /// The witnesses cannot be asked.
    #[error(transparent)]
    Witnesses(#[from] WitnessesError),
    /// A witness has seen what this ledger does not have.
    #[error("{0}")]
    Witnessed(String),
    /// The sequencer does not start.
    #[error(transparent)]
    Sequencer(#[from] StartError),
    /// The mail server's settings cannot be used.
    #[error("mail cannot be sent: {0}")]
    Mail(String),
    /// The notifiers' settings cannot be used.
    #[error("nobody can be told of alarms: {0}")]
    Notify(String),
    /// A channel that heads are published on cannot be used.
    #[error(transparent)]
    Publishing(#[from] ChannelError),
    /// What was asked for of evidence packs.
    #[error(
        "evidence packs cannot be kept: {0}; `DIR/evidence` may be removed, its packs can be asked for again"
    )]
    Evidence(std::io::Error),
    /// No thread.
    #[error("no thread could be started: {0}")]
    Thread(#[from] std::io::Error),
    /// The first entries could not be recorded.
    #[error(transparent)]
    Begin(#[from] BeginError),
}

impl App {
    /// Opens the data directory, made at the first start, and begins the ledger there.
    ///
    /// # Errors
    /// [`OpenError`], saying what to do. Nothing runs then.
    pub async fn open(settings: Settings, outside: Outside) -> Result<Arc<Self>, OpenError> {
        let mailer = settings.mail.as_ref().map(Mailer::open).transpose();
        let mailer = mailer.map_err(OpenError::Mail)?.map(Arc::new);
        if rekey::is_pending(&settings).map_err(Box::new)? {
            // A crash came between two steps of a rotation.
            rekey::settle(&settings, &outside, None).await.map_err(Box::new)?;
        }
        let (stores, recovery) = stores::open(&settings, &outside.entropy)?;
        let witnesses = settings
            .witness_policy
            .as_deref()
            .map(|policy| {
                let heads = head_store(&settings);
                let key = stores.log_key.verifier_key();
                let mut keys = key_chain::log_keys(&heads, key).map_err(OpenError::Rotations)?;
                let before = stores.log_key.verifier_keys().into_iter();
                let before: Vec<_> = before.filter(|key| !keys.contains(key)).collect();
                keys.extend(before);
                Witnesses::open(policy, keys, heads)
                    .map(Arc::new)
                    .map_err(OpenError::from)
            })
            .transpose()?;
        if let Some(found) = contradiction(&witnesses, &stores).await {
            return Err(OpenError::Witnessed(found));
        }
        let notify = Notify::open(&settings, &stores.server_secret).map_err(OpenError::Notify)?;
        link_heads(&settings)?;
        let evidence = Shelf::open(&settings.data, outside.clock.now()).map_err(OpenError::Evidence)?;
        let state = State::open(&settings.data.join("state.sqlite"))?;
        let log: Arc<dyn EventLog> = stores.log.clone();
        let tiles: Arc<dyn TileStore> = stores.log.clone();
        let projector = Arc::new(Projector::start(
            &settings.data.join("projections.sqlite"),
            log.clone(),
            Arc::new(StoredRoots(tiles.clone())),
            outside.clock.clone(),
        )?);
        let rows = projector.read_model();
        let registry = Arc::new(RwLock::new(Registry::default()));
        let (sequencer, _) = Sequencer::start_with(
            Ports {
                log: log.clone(),
                tiles,
                checkpoints: stores.log.clone(),
                derived: stores.log.clone(),
                seen: Arc::new(rows.clone()),
                channels: Arc::new(AutoChannels {
                    origin: stores.origin.clone(),
                    keys: stores.keys.clone(),
                }),
                signing: stores.log_key.signing(Some(&settings.data)),
                clock: outside.clock.clone(),
                entropy: outside.entropy.clone(),
            },
            sequencer::Settings {
                origin: stores.origin.clone(),
                build_date: made_after(),
                snapshot_entries: sequencer::SNAPSHOT_ENTRIES,
                beside_entries: sequencer::BESIDE_ENTRIES,
                heads: head_store(&settings),
            },
            registry.clone(),
            Keys {
                beside: stores.beside(),
                next: None,
            },
        )?;
        let remembered = settings.tokens_cached_max;
        let authenticator = Arc::new(Authenticator::remembering(&*outside.entropy, remembered));
        let management = Management::new(
            ManagementPorts {
                recorder: Arc::new(sequencer.clone()),
                index: Arc::new(sequencer.positions().clone()),
                log: log.clone(),
                registry: registry.clone(),
                keys: stores.keys.clone(),
                authenticator: authenticator.clone(),
                clock: outside.clock.clone(),
                entropy: outside.entropy.clone(),
            },
            ManagementSettings {
                origin: stores.origin.clone(),
                server_secret: stores.server_secret.clone(),
                label_secret: label_secret(&stores),
            },
        );
        let clock = match outside.clock_accepted {
            true => ClockAtStart::Accepted(outside.clock.now()),
            false => ClockAtStart::Judged,
        };
        let begun = begin::begin(
            &settings,
            &stores,
            &recovery,
            &sequencer,
            &registry,
            &management,
            &clock,
        )
        .await;
        let recorded = match begun {
            Ok(begun) => policy_record::record(&settings, &stores, &sequencer)
                .await
                .map(|()| begun)
                .map_err(OpenError::from),
            Err(error) => Err(error.into()),
        };
        let begun = match recorded {
            Ok(begun) => begun,
            Err(error) => {
                sequencer.stop().await;
                stores.log.stop();
                return Err(error);
            }
        };
        let refusals = Arc::new(Refusals::new(
            &stores.origin,
            stores.keys.clone(),
            outside.clock.clone(),
            outside.entropy.clone(),
        ));
        let backlog = Arc::new(Backlog::default());
        let ingest = Ingest::new(
            sequencer.clone(),
            registry.clone(),
            outside.clock.clone(),
            outside.entropy.clone(),
            backpressure(&backlog),
            label_secret(&stores),
        );
        let (stopping, _) = watch::channel(false);
        let app = Arc::new(Self {
            limits: Limits::new(&settings),
            metrics: Metrics::new(),
            table: Table::new(routes::all()),
            streams: Streams::new(
                "streams",
                "streams_full",
                settings.streams_max,
                settings.streams_account_max,
            ),
            downloads: Streams::new("downloads", "downloads_full", OPEN_MAX, OPEN_ACCOUNT_MAX),
            questions: asking::turns(),
            settings,
            clock: outside.clock,
            entropy: outside.entropy,
            state,
            stores,
            registry,
            sequencer,
            projector,
            rows,
            management,
            ingest,
            refusals,
            authenticator,
            backlog,
            self_audit: SelfAudit::default(),
            evidence,
            publishing: Publishing::default(),
            anchoring: Anchoring::default(),
            alerting: OnceLock::new(),
            mailer,
            notify,
            beside: Threads::default(),
            trials: Semaphore::new(TRIALS_AT_ONCE),
            witnesses,
            stopping,
            chores: Mutex::default(),
            address: OnceLock::new(),
            begun,
        });
        if let Err(error) = app.start_beside() {
            app.stop().await;
            return Err(error);
        }
        Ok(app)
    }

    /// Starts what runs beside the answers.
    fn start_beside(self: &Arc<Self>) -> Result<(), OpenError> {
        let projector = Arc::clone(&self.projector);
        let alerting = Alerting::start(AlertingPorts {
            log: self.stores.log.clone(),
            tiles: self.stores.log.clone(),
            derived: self.stores.log.clone(),
            sequencer: self.sequencer.clone(),
            clock: self.clock.clone(),
            // Nobody is told of an alarm before the outbox has passed it.
            alarms: Arc::new(move |position| projector.hurry(position)),
        })?;
        // Started once; nobody else sets it.
        let _ = self.alerting.set(Arc::new(alerting));
        *self.chores.lock() = chores::start(self);
        self_audit::start(self)?;
        match &self.settings.signed_elsewhere {
            None => publishing::start(self)?,
            Some(signs) => publisher::take_over(self, signs)?,
        }
        anchors::start(self)?;
        worker::start(self)?;
        notify::start(self)?;
        Ok(())
    }

    /// Ends what runs beside, records what was counted, commits what was queued, signs the last position. Requests
    /// must have ended; those that come later are refused.
    pub async fn stop(&self) {
        self.begin_stop();
        self.beside.join().await;
        let chores = std::mem::take(&mut *self.chores.lock());
        for chore in chores {
            if let Err(error) = chore.await {
                tracing::error!(%error, "a chore ended badly");
            }
        }
        self.refusals.flush(&self.sequencer, true).await;
        if let Some(alerting) = self.alerting.get().cloned()
            && let Err(error) = tokio::task::spawn_blocking(move || alerting.stop()).await
        {
            tracing::error!(%error, "alerting ended badly");
        }
        if let Err(error) = self.state.flush(self.clock.now()) {
            tracing::warn!(%error, "tokens' last use was not kept");
        }
        self.sequencer.stop().await;
        self.offer_last().await;
        self.stores.log.stop();
    }

    /// Offers the last position, so that what lies there until the next start is cosigned too.
    async fn offer_last(&self) {
        let Some(witnesses) = self.witnesses.clone() else {
            return;
        };
        if self.settings.signed_elsewhere.is_some() {
            return;
        }
        let (log, clock, signed) = (self.stores.log.clone(), self.clock.clone(), self.signed());
        let offered = tokio::task::spawn_blocking(move || witnesses.last_round(&*log, signed, &*clock));
        if let Err(error) = offered.await {
            tracing::warn!(%error, "the last position was not offered to the witnesses");
        }
    }

    /// Places for trials of rules over the past.
    pub fn trials(&self) -> &Semaphore {
        &self.trials
    }

    /// Where what runs beside is started.
    pub fn beside(&self) -> &Threads {
        &self.beside
    }

    /// The settings.
    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    /// Where the latest checkpoint is kept outside the data.
    pub fn anchor(&self) -> Option<&std::path::Path> {
        self.stores.anchor.as_deref()
    }

    /// The only clock.
    pub fn clock(&self) -> &dyn Clock {
        &*self.clock
    }

    /// The only randomness.
    pub fn entropy(&self) -> &dyn Entropy {
        &*self.entropy
    }

    /// Sessions, links, tokens' last use.
    pub fn state(&self) -> &State {
        &self.state
    }

    /// Rate limits.
    pub fn limits(&self) -> &Limits {
        &self.limits
    }

    /// Counters.
    pub fn metrics(&self) -> &Metrics {
        &self.metrics
    }

    /// The routes.
    pub fn table(&self) -> &Table {
        &self.table
    }

    /// The ledger's name.
    pub fn origin(&self) -> &str {
        &self.stores.origin
    }

    /// The ledger.
    pub fn log(&self) -> &dyn EventLog {
        &*self.stores.log
    }

    /// The ledger's hashes.
    pub fn tiles(&self) -> &dyn TileStore {
        &*self.stores.log
    }

    /// Keys of persons and accounts.
    pub fn keys(&self) -> &dyn KeyStore {
        &*self.stores.keys
    }

    /// What verifies checkpoints: the key in force, and the one before where another process signs.
    pub fn log_keys(&self) -> Vec<VerifierKey> {
        self.stores.log_key.verifier_keys()
    }

    /// What signs receipts.
    pub fn receipt_signer(&self) -> &dyn Signer {
        &*self.stores.receipt_key
    }

    /// The text of the key that verifies checkpoints, and of the one that verifies receipts.
    pub fn verifier_keys(&self) -> (String, String) {
        self.stores.verifier_keys()
    }

    /// What is configured now.
    pub fn registry(&self) -> &RwLock<Registry> {
        &self.registry
    }

    /// The one door into the ledger.
    pub fn sequencer(&self) -> &Sequencer {
        &self.sequencer
    }

    /// Command handlers.
    pub fn management(&self) -> &Management {
        &self.management
    }

    /// The way of a reading.
    pub fn ingest(&self) -> &Ingest {
        &self.ingest
    }

    /// Refused requests.
    pub fn refusals(&self) -> &Refusals {
        &self.refusals
    }

    /// Who holds which token.
    pub fn authenticator(&self) -> &Authenticator {
        &self.authenticator
    }

    /// What sends e-mail, where the settings name a server.
    pub fn mailer(&self) -> Option<&Arc<Mailer>> {
        self.mailer.as_ref()
    }

    /// Notifiers.
    pub fn notify(&self) -> &Notify {
        &self.notify
    }

    /// Heads on their way out.
    pub fn publishing(&self) -> &Publishing {
        &self.publishing
    }

    /// Evidence packs that were asked for.
    pub fn evidence(&self) -> &Shelf {
        &self.evidence
    }

    /// Time stamps over heads.
    pub fn anchoring(&self) -> &Anchoring {
        &self.anchoring
    }

    /// The service's own reading of its ledger.
    pub fn self_audit(&self) -> &SelfAudit {
        &self.self_audit
    }

    /// The process that lets the rules decide; `None` only while the service starts.
    pub fn alerting(&self) -> Option<&Alerting> {
        self.alerting.get().map(|alerting| &**alerting)
    }

    /// The projector.
    pub fn projector(&self) -> &Arc<Projector> {
        &self.projector
    }

    /// How far the read models are behind, and since when.
    pub fn backlog(&self) -> &Backlog {
        &self.backlog
    }

    /// Places for answers that a thread makes while they are read.
    pub fn downloads(&self) -> &Arc<Streams> {
        &self.downloads
    }

    /// Places for long answers.
    pub fn streams(&self) -> &Arc<Streams> {
        &self.streams
    }

    /// What this start found and made.
    pub fn begun(&self) -> &Begun {
        &self.begun
    }

    /// The witnesses, where there are any.
    pub fn witnesses(&self) -> Option<&Witnesses> {
        self.witnesses.as_deref()
    }

    /// The latest signed checkpoint with the cosignatures that it has: size and note.
    pub fn published(&self) -> Option<(TreeSize, Vec<u8>)> {
        let (size, note) = self.signed()?;
        if self.settings.signed_elsewhere.is_some() {
            // Whoever signs has asked the witnesses, too.
            let cosigned = self.heads().cosigned().ok().flatten();
            return Some((
                size,
                cosigned
                    .filter(|cosigned| cosigned.starts_with(&note))
                    .unwrap_or(note),
            ));
        }
        Some(match &self.witnesses {
            Some(witnesses) => (size, witnesses.with_lines(note)),
            None => (size, note),
        })
    }

    /// Offers to the witnesses what is due. Blocks.
    pub fn ask_witnesses(&self) {
        let Some(witnesses) = &self.witnesses else { return };
        // The checkpoint is read first: the heads below it are there then.
        let signed = self.signed();
        let day = self.sequencer.status().open_day.map(Date::previous);
        let stopping = self.stopping();
        witnesses.round(&*self.stores.log, signed, day, &*self.clock, &|| {
            *stopping.borrow()
        });
    }

    /// The latest signed checkpoint: size and note.
    pub fn signed(&self) -> Option<(TreeSize, Vec<u8>)> {
        self.sequencer.checkpoint()
    }

    /// The heads of days.
    pub fn heads(&self) -> &HeadStore {
        self.sequencer.heads()
    }

    /// A new `req_…`.
    pub fn request_id(&self) -> Arc<str> {
        let mut random = [0u8; 16];
        self.entropy.fill(&mut random);
        domain::ids::IdKind::Request.id(&random).into()
    }

    /// Whether browsers reach this over HTTPS, by us or by a proxy.
    pub fn is_https(&self) -> bool {
        match &self.settings.public_url {
            Some(url) => url.starts_with("https://"),
            None => self.settings.tls(),
        }
    }

    /// Says where it listens; for URLs.
    pub fn listens_on(&self, address: SocketAddr) {
        // The first address stays: it is what was announced.
        let _ = self.address.set(address);
    }

    /// Where this service is reached, as far as it knows by itself.
    pub fn own_url(&self) -> String {
        if let Some(url) = &self.settings.public_url {
            return url.trim_end_matches('/').to_owned();
        }
        let address = self.address.get().copied().unwrap_or(self.settings.listen);
        let scheme = if self.settings.tls() { "https" } else { "http" };
        if address.ip().is_unspecified() {
            format!("{scheme}://localhost:{}", address.port())
        } else {
            format!("{scheme}://{address}")
        }
    }

    /// Where this service is reached, as the request shows: what a device on the same network can use.
    pub fn base_url(&self, request: &Request) -> String {
        if self.settings.public_url.is_some() {
            return self.own_url();
        }
        let host = request
            .header(header::HOST)
            .or_else(|| request.uri.authority().map(|authority| authority.as_str()))
            .filter(|host| is_host(host));
        match host {
            Some(host) => {
                let scheme = if self.settings.tls() { "https" } else { "http" };
                format!("{scheme}://{host}")
            }
            None => self.own_url(),
        }
    }

    /// Tells long answers (streams) and chores to end.
    pub fn begin_stop(&self) {
        self.stopping.send_replace(true);
        self.self_audit.stop();
        self.evidence.stop();
        self.publishing.stop();
        self.anchoring.stop();
    }

    /// Becomes true when the stop begins.
    pub fn stopping(&self) -> watch::Receiver<bool> {
        self.stopping.subscribe()
    }

    /// How the service is, for `doctor` and the control socket.
    pub fn describe(&self) -> Value {
        let status = self.sequencer.status();
        let projections = self.projector.status();
        let alerting = self.alerting().map(Alerting::status).unwrap_or_default();
        json!({
            "version": env!("CARGO_PKG_VERSION"),
            "pid": std::process::id(),
            "url": self.own_url(),
            "origin": self.origin(),
            "size": status.size,
            "signed_size": self.signed().map(|(size, _)| size),
            "writing": format!("{:?}", status.writing),
            "commits": status.commits,
            "streams": status.streams,
            "open_day": status.open_day,
            "ledger_trouble": self.stores.log.failure().or_else(|| self.stores.log.trouble()),
            "projections": {
                "cursor": projections.cursor.size,
                "lag_entries": projections.lag_entries,
                "lag_seconds": projections.lag_seconds,
                "catching_up": projections.catching_up,
                "trouble": projections.trouble,
            },
            "alerting": {
                "cursor": alerting.size,
                "lag_entries": alerting.lag_entries,
                "lag_seconds": alerting.lag_s,
                "catching_up": alerting.catching_up,
                "due": alerting.due,
                "recorded": alerting.recorded,
                "latency_ms": alerting.latency_ms,
                "too_late": alerting.too_late,
                "unexpected": alerting.unexpected,
                "next_deadline": alerting.next_deadline,
                "trouble": alerting.trouble,
            },
            "anchor": self.stores.anchor,
            "now": self.clock.now(),
            "last_recorded_at": status.last_recorded_at,
            "tls": self.settings.tls(),
            "tls_min_ingest": self.settings.tls_min_ingest,
        })
    }

    /// Folds every projection again into a second file, and swaps.
    ///
    /// # Errors
    /// In words; the old rows stay.
    pub async fn rebuild(&self, tell: impl Fn(u64, u64) + Send + 'static) -> Result<Value, String> {
        let projector = Arc::clone(&self.projector);
        let stopping = self.stopping();
        let began = self.clock.monotonic();
        let rebuilt = tokio::task::spawn_blocking(move || {
            projector.rebuild(&mut |progress| {
                tell(progress.done, progress.total);
                if *stopping.borrow() {
                    ControlFlow::Break(())
                } else {
                    ControlFlow::Continue(())
                }
            })
        });
        rebuilt
            .await
            .map_err(|error| error.to_string())?
            .map_err(|error| error.to_string())?;
        let took = self.clock.monotonic().saturating_sub(began);
        Ok(json!({
            "entries": self.projector.cursor(),
            "seconds": took.as_secs_f64(),
        }))
    }

    /// The newest position, for pages and health.
    pub fn newest(&self) -> Option<Position> {
        self.stores.log.size_now().last()
    }
}

/// Completes when the stop begins.
pub async fn stop_begins(stopping: &mut watch::Receiver<bool>) {
    // The sender lives in the `App`; without one there is nothing left to stop.
    let _ = stopping.wait_for(|stop| *stop).await;
}

/// No earlier clock is believed.
pub fn made_after() -> Date {
    Date::from_civil(MADE_AFTER.0, MADE_AFTER.1, MADE_AFTER.2).unwrap_or_default()
}

/// What keeps channels' keys from telling their labels; follows from the server's secret, so that a restored
/// directory has the same.
fn label_secret(stores: &Stores) -> [u8; 32] {
    sha256_of(&[b"daybook/label-secret/v1\n", &*stores.server_secret]).0
}

/// Whoever reads the data directory alone finds the heads of days there, too.
fn link_heads(settings: &Settings) -> std::io::Result<()> {
    let (link, heads) = (settings.data.join(HEADS), heads_dir(settings));
    if settings.signed_elsewhere.is_none() || link.symlink_metadata().is_ok() {
        return Ok(());
    }
    std::os::unix::fs::symlink(std::path::absolute(heads)?, link)
}

/// Where the heads of days are: with whoever signs them.
pub fn heads_dir(settings: &Settings) -> std::path::PathBuf {
    settings
        .signed_elsewhere
        .as_ref()
        .unwrap_or(&settings.data)
        .join(HEADS)
}

/// The heads of days, and their time stamps, which this process writes itself.
pub fn head_store(settings: &Settings) -> HeadStore {
    let heads = HeadStore::new(&heads_dir(settings));
    match settings.signed_elsewhere {
        Some(_) => heads.with_stamps_in(&settings.data.join(STAMPS)),
        None => heads,
    }
}

/// The same of a data directory, whatever the settings are.
pub fn heads_of(data: &std::path::Path) -> HeadStore {
    let heads = HeadStore::new(&data.join(HEADS));
    match data.join(VERIFIER_KEY).try_exists() {
        Ok(false) => heads,
        Ok(true) | Err(_) => heads.with_stamps_in(&data.join(STAMPS)),
    }
}

/// Asks the witnesses what they have seen, before anything is signed.
async fn contradiction(witnesses: &Option<Arc<Witnesses>>, stores: &Stores) -> Option<String> {
    let (witnesses, log) = (witnesses.clone()?, stores.log.clone());
    let asked = tokio::task::spawn_blocking(move || witnesses.contradiction(&*log, log.size_now()));
    match asked.await {
        Ok(found) => found,
        Err(error) => {
            tracing::warn!(%error, "the witnesses were not asked what they have seen");
            None
        }
    }
}

fn backpressure(backlog: &Arc<Backlog>) -> Backpressure {
    let backlog = Arc::clone(backlog);
    Arc::new(move || backlog.too_far())
}

/// Whether a `Host` header is one, and not markup or another path.
fn is_host(host: &str) -> bool {
    !host.is_empty()
        && host.len() <= 255
        && host
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-' | b':' | b'[' | b']' | b'_'))
}
