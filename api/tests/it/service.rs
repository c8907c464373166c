//! A service in this process, whose clock the test turns.

use api::app::{App, Outside};
use api::config::{PublishTo, Settings};
use api::entropy::SeededEntropy;
use api::mail::MailSettings;
use api::serve::serve;
use domain::Timestamp;
use domain::ports::Clock;
use parking_lot::Mutex;
use serde_json::{Value, json};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use tests::PATIENCE;
use tokio::net::TcpListener;
use tokio::runtime::Runtime;
use tokio::sync::oneshot;

/// A clock that stands until it is moved.
pub struct Moved {
    wall: Mutex<Timestamp>,
    monotonic: Mutex<Duration>,
}

impl Clock for Moved {
    fn now(&self) -> Timestamp {
        *self.wall.lock()
    }

    fn monotonic(&self) -> Duration {
        *self.monotonic.lock()
    }
}

impl Moved {
    /// A clock that stands at that time.
    pub fn at(at: &str) -> Arc<Self> {
        Arc::new(Self {
            wall: Mutex::new(Timestamp::parse_rfc3339(at).expect("a time")),
            monotonic: Mutex::default(),
        })
    }

    /// Time passes.
    pub fn pass(&self, seconds: u64) {
        *self.monotonic.lock() += Duration::from_secs(seconds);
        self.step(seconds as i64);
    }

    /// The wall clock alone is set.
    pub fn step(&self, seconds: i64) {
        let mut wall = self.wall.lock();
        *wall = wall.plus_micros(seconds * 1_000_000);
    }
}

pub struct Service {
    pub runtime: Runtime,
    pub app: Option<Arc<App>>,
    stop: Option<oneshot::Sender<()>>,
    pub url: String,
    token: String,
    pub clock: Arc<Moved>,
    pub agent: ureq::Agent,
    dir: Arc<tempfile::TempDir>,
    mail: Option<MailSettings>,
    /// Who signs, and for which ledger.
    elsewhere: Option<(PathBuf, String)>,
}

impl Service {
    pub fn start(at: &str) -> Self {
        let clock = Moved::at(at);
        let dir = Arc::new(tempfile::tempdir().expect("a directory"));
        Self::open(dir, clock, |_| {})
    }

    /// With other settings.
    pub fn start_with(at: &str, change: impl FnOnce(&mut Settings)) -> Self {
        let clock = Moved::at(at);
        let dir = Arc::new(tempfile::tempdir().expect("a directory"));
        Self::open(dir, clock, change)
    }

    /// One whose log key another process holds, in that directory below the scratch directory.
    pub fn signed_elsewhere(
        dir: impl Into<Arc<tempfile::TempDir>>,
        at: &str,
        signs: &str,
        origin: &str,
    ) -> Self {
        Self::signed_elsewhere_with(dir, at, signs, origin, |_| {})
    }

    /// As [`Service::signed_elsewhere`], with other settings.
    pub fn signed_elsewhere_with(
        dir: impl Into<Arc<tempfile::TempDir>>,
        at: &str,
        signs: &str,
        origin: &str,
        change: impl FnOnce(&mut Settings),
    ) -> Self {
        let dir = dir.into();
        let signs = dir.path().join(signs);
        Self::open(dir, Moved::at(at), |settings| {
            (settings.signed_elsewhere, settings.origin) = (Some(signs), Some(origin.to_owned()));
            change(settings);
        })
    }

    /// The same data again, after a stop, with these channels.
    pub fn again(self, publish: Vec<PublishTo>) -> Self {
        let mail = self.mail.clone();
        self.again_with(publish, mail)
    }

    /// As [`Service::again`], with this mail server.
    pub fn again_with(self, publish: Vec<PublishTo>, mail: Option<MailSettings>) -> Self {
        let (dir, clock, elsewhere) = (self.dir.clone(), self.clock.clone(), self.elsewhere.clone());
        drop(self);
        Self::open(dir, clock, |settings| {
            (settings.publish, settings.mail) = (publish, mail);
            (settings.signed_elsewhere, settings.origin) = elsewhere.unzip();
        })
    }

    /// Its directory, for who needs it longer than it runs.
    pub fn dir(&self) -> Arc<tempfile::TempDir> {
        self.dir.clone()
    }

    /// What was stopped, with the settings of [`Service::start`].
    pub fn reopened(dir: Arc<tempfile::TempDir>, clock: Arc<Moved>) -> Self {
        Self::open(dir, clock, |_| {})
    }

    /// Stops it; its data and its clock stay.
    pub fn ends(self) -> (Arc<tempfile::TempDir>, Arc<Moved>) {
        (self.dir.clone(), self.clock.clone())
    }

    /// A place for what the test keeps.
    pub fn scratch(&self) -> &Path {
        self.dir.path()
    }

    fn open(dir: Arc<tempfile::TempDir>, clock: Arc<Moved>, change: impl FnOnce(&mut Settings)) -> Self {
        let mut settings = Settings {
            data: dir.path().join("data"),
            anchor: Some(dir.path().join("anchor")),
            publish_retry_s: 1,
            user_rate_per_minute: 0,
            ..Settings::default()
        };
        change(&mut settings);
        let mail = settings.mail.clone();
        let elsewhere = settings.signed_elsewhere.clone().zip(settings.origin.clone());
        let outside = Outside {
            clock: clock.clone(),
            entropy: Arc::new(SeededEntropy::from_os().expect("randomness")),
            clock_accepted: false,
        };
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .enable_all()
            .build()
            .expect("a runtime");
        let (stop, stopped) = oneshot::channel();
        let (app, url) = runtime.block_on(async {
            let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
            let address = listener.local_addr().expect("an address");
            let app = App::open(settings, outside).await.expect("opens");
            let served = serve(Arc::clone(&app), listener, async move {
                // Dropping the sender stops it, too.
                let _ = stopped.await;
            });
            tokio::spawn(served);
            (app, format!("http://{address}"))
        });
        let token = std::fs::read_to_string(dir.path().join("data/owner-token")).expect("the owner's token");
        Self {
            runtime,
            app: Some(app),
            stop: Some(stop),
            url,
            token: token.trim().to_owned(),
            clock,
            agent: ureq::Agent::config_builder()
                .http_status_as_error(false)
                .build()
                .new_agent(),
            dir,
            mail,
            elsewhere,
        }
    }

    pub fn get(&self, path: &str) -> (u16, Vec<u8>) {
        let mut answer = self
            .agent
            .get(format!("{}{path}", self.url))
            .header("Authorization", format!("Bearer {}", self.token))
            .call()
            .expect("an answer");
        (
            answer.status().as_u16(),
            answer.body_mut().read_to_vec().expect("a body"),
        )
    }

    pub fn post(&self, path: &str, body: &Value) -> (u16, Value) {
        self.post_as(&self.token, path, body)
    }

    pub fn post_as(&self, token: &str, path: &str, body: &Value) -> (u16, Value) {
        let mut answer = self
            .agent
            .post(format!("{}{path}", self.url))
            .header("Authorization", format!("Bearer {token}"))
            .send(body.to_string())
            .expect("an answer");
        let bytes = answer.body_mut().read_to_vec().expect("a body");
        (
            answer.status().as_u16(),
            serde_json::from_slice(&bytes).expect("JSON"),
        )
    }

    pub fn json(&self, path: &str) -> Value {
        serde_json::from_slice(&self.get(path).1).expect("JSON")
    }

    pub fn site(&self, name: &str) -> (u16, Value) {
        let body = json!({"name": name, "vertical": "climate"}).to_string();
        let mut answer = self
            .agent
            .post(format!("{}/v1/sites", self.url))
            .header("Authorization", format!("Bearer {}", self.token))
            .send(body)
            .expect("an answer");
        let bytes = answer.body_mut().read_to_vec().expect("a body");
        (
            answer.status().as_u16(),
            serde_json::from_slice(&bytes).expect("JSON"),
        )
    }

    /// Asks until the answer is what is waited for.
    pub fn until(&self, path: &str, there: impl Fn(&Value) -> bool) -> Value {
        let began = std::time::Instant::now();
        while began.elapsed() < PATIENCE {
            let answer = self.json(path);
            if there(&answer) {
                return answer;
            }
            std::thread::yield_now();
        }
        panic!("{path} never became what was waited for");
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(app) = self.app.take() {
            self.runtime.block_on(app.stop());
        }
    }
}
