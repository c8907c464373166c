//! The whole service under load: everything on, over real HTTP on the loopback.
//!
//! A thousand devices, one value a reading; a gateway's token for batches, a token of its own for each device that
//! sends single readings; the rate limit runs, raised by its setting; read models fold beside.
//! Not here: the load (`drive`), what it is compared with (`bare`).

use super::drive::{Driven, drive};
use super::host;
use super::load::{Plan, device_name};
use super::stage::Stage;
use super::{BenchError, Options};
use crate::app::{App, Outside};
use crate::config::Settings;
use crate::demo::client::Client;
use crate::serve::serve;
use serde_json::json;
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::net::TcpListener;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

/// Requests a minute and device: the limit is looked at for each request and never reached.
const RATE: u32 = 60_000_000;
/// How often memory is looked at during a load.
const SAMPLES: u32 = 3;
/// How long the read models may take to fold what is left.
const DRAIN_MAX: Duration = Duration::from_secs(600);

/// A running service over real sockets.
pub struct Served {
    /// Everything behind the edge.
    pub app: Arc<App>,
    /// Where it listens.
    pub address: SocketAddr,
    stop: oneshot::Sender<()>,
    served: JoinHandle<Result<(), crate::tls::TlsError>>,
}

impl Served {
    /// Starts it.
    ///
    /// # Errors
    /// [`BenchError`].
    pub async fn open(settings: Settings, outside: Outside) -> Result<Self, BenchError> {
        let listener = TcpListener::bind((std::net::Ipv4Addr::LOCALHOST, 0)).await?;
        let address = listener.local_addr()?;
        let app = App::open(settings, outside).await?;
        app.listens_on(address);
        let (stop, stopped) = oneshot::channel::<()>();
        let served = tokio::spawn(serve(Arc::clone(&app), listener, async {
            // A dropped sender stops it too.
            let _ = stopped.await;
        }));
        Ok(Self {
            app,
            address,
            stop,
            served,
        })
    }

    /// Waits until the read models have folded everything; how long that took.
    ///
    /// # Errors
    /// [`BenchError`] where they do not get there.
    pub async fn drain(&self) -> Result<Duration, BenchError> {
        let began = Instant::now();
        let Some(last) = self.app.newest() else {
            return Ok(began.elapsed());
        };
        if !self.app.projector().wait_for(last, DRAIN_MAX).await {
            return Err(BenchError::Load("the read models do not catch up".to_owned()));
        }
        Ok(began.elapsed())
    }

    /// Stops it.
    ///
    /// # Errors
    /// [`BenchError`].
    pub async fn stop(self) -> Result<(), BenchError> {
        // Where nobody listens any more it has stopped already.
        let _ = self.stop.send(());
        let served = self.served.await;
        self.app.stop().await;
        match served {
            Ok(Ok(())) => Ok(()),
            Ok(Err(error)) => Err(BenchError::Load(error.to_string())),
            Err(error) => Err(BenchError::Load(error.to_string())),
        }
    }
}

/// A running service with its devices.
pub struct Service {
    served: Served,
    gateway: String,
    tokens: Vec<String>,
    devices: usize,
}

/// A load on the service.
#[derive(Debug, Clone)]
pub struct Loaded {
    /// What the load saw.
    pub driven: Driven,
    /// How far the read models were behind at the end.
    pub lag_entries: u64,
    /// The same in seconds.
    pub lag_s: f64,
    /// How long they took to fold the rest.
    pub drain: Duration,
    /// Processor time of the service a reading, the rest of the folding included, microseconds.
    pub cpu_us: Option<f64>,
    /// What it held and took meanwhile, three times evenly.
    pub meanwhile: Vec<Footprint>,
}

/// What a service held and took.
#[derive(Debug, Clone, Copy)]
pub struct Footprint {
    /// Entries in the ledger.
    pub entries: u64,
    /// Bytes of the ledger on disk.
    pub ledger_bytes: u64,
    /// Bytes of the read models on disk.
    pub rows_bytes: u64,
    /// Resident memory of this process.
    pub resident_bytes: Option<u64>,
}

/// Settings of a service that is measured: below `dir`, and nothing outside it.
pub fn settings(dir: PathBuf) -> Settings {
    Settings {
        anchor: Some(dir.join("anchor")),
        data: dir.join("data"),
        listen: SocketAddr::from(([127, 0, 0, 1], 0)),
        rate_per_minute: RATE,
        rate_burst: RATE,
        user_rate_per_minute: RATE,
        ..Settings::default()
    }
}

impl Service {
    /// Starts it and registers the devices: `options.connections` of them with tokens of their own.
    ///
    /// # Errors
    /// [`BenchError`].
    pub async fn start(dir: PathBuf, outside: Outside, options: &Options) -> Result<Self, BenchError> {
        let served = Served::open(settings(dir), outside).await?;
        let app = &served.app;
        let stage = Stage::begin(app.management(), app.registry()).await?;
        let speaking = options.connections.min(options.devices);
        stage.devices(speaking..options.devices).await?;
        let gateway = stage.gateway().await?.text().to_owned();
        let tokens = with_tokens(app, served.address, stage.site().to_owned(), speaking).await?;
        Ok(Self {
            served,
            gateway,
            tokens,
            devices: options.devices,
        })
    }

    /// A plan of single readings, each connection with the token of its own device.
    pub fn singles(&self, connections: usize, warm_up: Duration, window: Duration) -> Plan {
        let tokens = self.tokens.iter().take(connections.max(2)).cloned().collect();
        self.plan(connections, 1, tokens, warm_up, window)
    }

    /// A plan of batches with the gateway's token.
    pub fn batches(&self, connections: usize, batch: usize, warm_up: Duration, window: Duration) -> Plan {
        self.plan(connections, batch, vec![self.gateway.clone()], warm_up, window)
    }

    fn plan(
        &self,
        connections: usize,
        batch: usize,
        tokens: Vec<String>,
        warm_up: Duration,
        window: Duration,
    ) -> Plan {
        Plan {
            address: self.served.address,
            path: "/v1/ingest".to_owned(),
            connections,
            batch,
            devices: self.devices,
            tokens,
            warm_up_ms: warm_up.as_millis() as u64,
            window_ms: window.as_millis() as u64,
            values: 1,
            per_second: None,
            out: BTreeMap::new(),
        }
    }

    /// Puts a load on, then waits until the read models have folded it.
    ///
    /// # Errors
    /// [`BenchError`], also where they do not get there.
    pub async fn load(&self, plan: Plan) -> Result<Loaded, BenchError> {
        let every = Duration::from_millis(plan.warm_up_ms + plan.window_ms) / (SAMPLES + 1);
        let mut meanwhile = Vec::new();
        let mut ticks = tokio::time::interval(every.max(Duration::from_millis(1)));
        ticks.tick().await;
        let mut driving = std::pin::pin!(drive(plan));
        let driven = loop {
            tokio::select! {
                driven = &mut driving => break driven?,
                _ = ticks.tick() => meanwhile.push(self.footprint()),
            }
        };
        let lag = self.served.app.projector().status();
        let cpu_before = host::cpu_s();
        let drain = self.served.drain().await?;
        let drain_cpu_s = cpu_before
            .zip(host::cpu_s())
            .map(|(before, after)| after - before);
        let cpu_us = driven
            .spent
            .cpu_s
            .zip(drain_cpu_s)
            .map(|(load, drain)| (load + drain) * 1e6 / driven.load.readings.max(1) as f64);
        Ok(Loaded {
            driven,
            lag_entries: lag.lag_entries,
            lag_s: lag.lag_seconds,
            drain,
            cpu_us,
            meanwhile,
        })
    }

    /// What it holds and takes now.
    pub fn footprint(&self) -> Footprint {
        let app = &self.served.app;
        let data = &app.settings().data;
        let rows = ["", "-wal", "-shm"]
            .map(|suffix| data.join(format!("projections.sqlite{suffix}")))
            .iter()
            .filter_map(|path| std::fs::metadata(path).ok())
            .map(|metadata| metadata.len())
            .sum();
        Footprint {
            entries: app.newest().map_or(0, |last| last.get() + 1),
            ledger_bytes: host::disk_bytes(&data.join(crate::stores::LEDGER)),
            rows_bytes: rows,
            resident_bytes: host::resident_bytes(),
        }
    }

    /// Stops it.
    ///
    /// # Errors
    /// [`BenchError`].
    pub async fn stop(self) -> Result<(), BenchError> {
        self.served.stop().await
    }
}

/// Registers devices over HTTP and sends one reading with each token, so that each is verified once.
async fn with_tokens(
    app: &Arc<App>,
    address: SocketAddr,
    site: String,
    count: usize,
) -> Result<Vec<String>, BenchError> {
    let owner = std::fs::read_to_string(app.settings().data.join(crate::begin::OWNER_TOKEN))?;
    let made = tokio::task::spawn_blocking(move || {
        let client = Client::new(&format!("http://{address}"));
        let mut tokens = Vec::with_capacity(count);
        for number in 0..count {
            let name = device_name(number);
            let device = json!({"site_id": site, "local_id": name, "name": name, "model": "bench"});
            let made = client.post("/v1/devices", owner.trim(), &device)?;
            let token = made["ingest_token"].as_str().unwrap_or_default().to_owned();
            let reading = json!({"device": name, "measurements": [{"type": "temperature", "value": 4.2}]});
            client.post("/v1/ingest", &token, &reading)?;
            tokens.push(token);
        }
        Ok::<_, BenchError>(tokens)
    });
    made.await.map_err(|error| BenchError::Load(error.to_string()))?
}
