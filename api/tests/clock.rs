//! A whole service under a clock of the test's: days are closed, their heads served, wrong clocks not believed.
//!
//! Not here: what else the API does (the workspace's end-to-end tests).

use api::app::{App, Outside};
use api::config::Settings;
use api::entropy::SeededEntropy;
use api::serve::serve;
use domain::entry::Entry;
use domain::hash::leaf_hash;
use domain::ports::Clock;
use domain::tlog_proof::TlogProof;
use domain::{Timestamp, TreeSize};
use parking_lot::Mutex;
use serde_json::{Value, json};
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::runtime::Runtime;
use tokio::sync::oneshot;

/// A clock that stands until it is moved.
struct Moved {
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
    /// Time passes.
    fn pass(&self, seconds: u64) {
        *self.monotonic.lock() += Duration::from_secs(seconds);
        self.step(seconds as i64);
    }

    /// The wall clock alone is set.
    fn step(&self, seconds: i64) {
        let mut wall = self.wall.lock();
        *wall = wall.plus_micros(seconds * 1_000_000);
    }
}

struct Service {
    runtime: Runtime,
    app: Option<Arc<App>>,
    stop: Option<oneshot::Sender<()>>,
    url: String,
    token: String,
    clock: Arc<Moved>,
    agent: ureq::Agent,
    _dir: tempfile::TempDir,
}

impl Service {
    fn start(at: &str) -> Self {
        let dir = tempfile::tempdir().expect("a directory");
        let settings = Settings {
            data: dir.path().join("data"),
            anchor: Some(dir.path().join("anchor")),
            ..Settings::default()
        };
        let clock = Arc::new(Moved {
            wall: Mutex::new(Timestamp::parse_rfc3339(at).expect("a time")),
            monotonic: Mutex::default(),
        });
        let outside = Outside {
            clock: clock.clone(),
            entropy: Arc::new(SeededEntropy::from_os().expect("randomness")),
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
            _dir: dir,
        }
    }

    fn get(&self, path: &str) -> (u16, Vec<u8>) {
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

    fn json(&self, path: &str) -> Value {
        serde_json::from_slice(&self.get(path).1).expect("JSON")
    }

    fn site(&self, name: &str) -> (u16, Value) {
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
    fn until(&self, path: &str, there: impl Fn(&Value) -> bool) -> Value {
        for _ in 0..100_000 {
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

#[test]
fn midnight_closes_the_day_and_its_head_is_there_to_be_kept() {
    let service = Service::start("2026-05-17T23:59:50Z");
    assert_eq!(service.site("Before midnight").0, 201);
    for _ in 0..2 {
        let refused = service
            .agent
            .post(format!("{}/v1/ingest", service.url))
            .send("{}")
            .expect("an answer");
        assert_eq!(refused.status(), 401);
    }
    let app = service.app.as_ref().expect("it runs");
    service
        .runtime
        .block_on(app.refusals().flush(app.sequencer(), true));
    let before = service.json("/readyz")["size"].as_u64().expect("a size");
    service.clock.pass(20);
    let heads = service.until("/v1/heads", |heads| heads["data"][0].is_object());
    let head = &heads["data"][0];
    assert_eq!(head["date"], "2026-05-17");
    assert_eq!(head["refused"], json!({"auth_required": 2}));
    assert_eq!(
        (&head["first_position"], &head["previous"]),
        (&json!(0), &Value::Null)
    );
    assert!(head["size"].as_u64().is_some_and(|size| size >= before));
    assert_eq!(service.json("/v1/heads/2026-05-17"), *head);

    let (status, file) = service.get("/heads/2026/2026-05-17.tlog-proof");
    assert_eq!(status, 200);
    let proof = TlogProof::parse(&file).expect("a tlog-proof");
    let bytes = proof.extra.clone().expect("the entry");
    let entry = Entry::decode(&bytes).expect("an entry");
    assert_eq!(entry.event_type, "DayClosed");
    assert_eq!(proof.size(), TreeSize(entry.position.get() + 1));
    assert_eq!(head["size"], entry.position.get());
    proof
        .verify_inclusion(&leaf_hash(&bytes))
        .expect("it is in the tree");

    service.clock.pass(10 * 86_400);
    let heads = service.until("/v1/heads", |heads| {
        heads["data"].as_array().map(Vec::len) > Some(1)
    });
    let newest = &heads["data"][0];
    assert_eq!(newest["date"], "2026-05-27");
    assert_eq!(newest["idle_since"], "2026-05-18", "ten idle days are one entry");
    let one = service.json("/v1/heads?limit=1");
    assert_eq!(one["has_more"], true);
    let next = one["next_cursor"].as_str().expect("a cursor");
    assert_eq!(
        service.json(&format!("/v1/heads?cursor={next}"))["data"]
            .as_array()
            .map(Vec::len),
        Some(1)
    );
}

#[test]
fn a_clock_ten_years_ahead_writes_nothing_until_it_agrees() {
    let service = Service::start("2026-05-17T12:00:00Z");
    assert_eq!(service.site("A").0, 201);
    let size = service.json("/readyz")["size"].clone();
    service.clock.step(10 * 366 * 86_400);
    let (status, answer) = service.site("B");
    assert_eq!(
        (status, &answer["error"]["code"]),
        (503, &json!("clock_implausible"))
    );
    let ready = service.json("/readyz");
    assert_eq!((&ready["ready"], &ready["size"]), (&json!(false), &size));
    assert_eq!(service.json("/v1/heads")["data"], json!([]), "no day was closed");
    assert_eq!(
        service.json("/v1/sites")["data"].as_array().map(Vec::len),
        Some(1),
        "reading goes on"
    );
    service.clock.step(-10 * 366 * 86_400);
    service.until("/readyz", |ready| ready["ready"] == true);
    assert_eq!(service.site("B").0, 201);
}

#[test]
fn a_clock_set_back_a_day_holds_the_time_and_the_order() {
    let service = Service::start("2026-05-17T12:00:00Z");
    let first = service.site("A").1;
    service.clock.step(-86_400);
    let (status, second) = service.site("B");
    assert_eq!(status, 201);
    assert!(
        second["created_at"].as_str() >= first["created_at"].as_str(),
        "{first} {second}"
    );
    assert!(second["position"].as_u64() > first["position"].as_u64());
}
