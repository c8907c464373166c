//! The wiring: everything a running Daybook is made of, opened in order and stopped in the reverse.
//!
//! Invariants: one `App` a data directory; after [`App::stop`] returned, everything acknowledged is committed and
//! the last position is signed. It listens to nothing by itself (`serve`), so that tests, the demo and the
//! benchmark can hold one.
//! Not here: what any part does.

use crate::config::Settings;
use crate::limits::Limits;
use crate::metrics::Metrics;
use crate::router::Table;
use crate::routes;
use crate::state::{State, StateError};
use domain::ports::{Clock, Entropy};
use std::sync::Arc;
use tokio::sync::watch;

/// A running Daybook.
pub struct App {
    settings: Settings,
    clock: Arc<dyn Clock>,
    entropy: Arc<dyn Entropy>,
    state: State,
    limits: Limits,
    metrics: Metrics,
    table: Table,
    stopping: watch::Sender<bool>,
}

/// What a start brings along from outside.
#[derive(Clone)]
pub struct Outside {
    /// The only clock.
    pub clock: Arc<dyn Clock>,
    /// The only randomness.
    pub entropy: Arc<dyn Entropy>,
}

/// A Daybook could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The data directory cannot be used.
    #[error("{path} cannot be used as the data directory: {reason}")]
    Directory {
        /// The directory.
        path: std::path::PathBuf,
        /// Why not.
        reason: String,
    },
    /// The edge's own store does not open.
    #[error(transparent)]
    State(#[from] StateError),
}

impl App {
    /// Opens the data directory, made at the first start.
    ///
    /// # Errors
    /// [`OpenError`], saying what to do.
    pub async fn open(settings: Settings, outside: Outside) -> Result<Arc<Self>, OpenError> {
        let state = State::open(&settings.data.join("state.sqlite"))?;
        let (stopping, _) = watch::channel(false);
        Ok(Arc::new(Self {
            limits: Limits::new(&settings),
            metrics: Metrics::new(),
            table: Table::new(routes::all()),
            settings,
            clock: outside.clock,
            entropy: outside.entropy,
            state,
            stopping,
        }))
    }

    /// The settings.
    pub fn settings(&self) -> &Settings {
        &self.settings
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

    /// A new `req_…`.
    pub fn request_id(&self) -> Arc<str> {
        crate::entropy::id(self.entropy(), "req_").into()
    }

    /// Whether browsers reach this over HTTPS, by us or by a proxy.
    pub fn is_https(&self) -> bool {
        self.settings.tls()
            || self
                .settings
                .public_url
                .as_deref()
                .is_some_and(|url| url.starts_with("https://"))
    }

    /// Tells long answers (streams) to end.
    pub fn begin_stop(&self) {
        self.stopping.send_replace(true);
    }

    /// Becomes true when the stop begins.
    pub fn stopping(&self) -> watch::Receiver<bool> {
        self.stopping.subscribe()
    }
}
