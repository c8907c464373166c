//! A whole service and its witnesses, live, dead and late; and what an auditor makes of the copy with a policy alone.
//!
//! The live witness is the real server over HTTP, in this process, so that it shares the test's clock.
//! Not here: the protocol under attack (`chain_publisher`, the workspace's end-to-end tests).

use crate::service::Moved;
use api::app::{App, Outside};
use api::config::{PublishTo, Settings};
use api::entropy::SeededEntropy;
use api::serve::serve;
use api::witness::http::{Served, serve as serve_witness};
use chain_publisher::witness::Witness;
use chain_publisher::witness::store::FileStore;
use domain::TreeSize;
use domain::checkpoint::SignedCheckpoint;
use domain::cosignature::CosigningKey;
use domain::hash::leaf_hash;
use domain::note::VerifierKey;
use domain::tlog_policy::{Policy, Quorum};
use domain::tlog_proof::TlogProof;
use std::net::{SocketAddr, TcpListener as StdListener};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tests::PATIENCE;
use tokio::net::TcpListener;
use tokio::runtime::Runtime;
use tokio::sync::oneshot;

const ORIGIN: &str = "log.example/main";

/// A witness that can be stopped and started again at its address.
struct Live {
    dir: tempfile::TempDir,
    name: String,
    address: SocketAddr,
    stop: Option<(oneshot::Sender<()>, tokio::task::JoinHandle<()>)>,
}

impl Live {
    /// With a key and an address, and not running.
    fn ready(name: &str) -> Self {
        // The port is free again when this returns, and nobody else asks for it by number.
        let listener = StdListener::bind("127.0.0.1:0").expect("a free port");
        Self {
            dir: tempfile::tempdir().expect("a directory"),
            name: name.to_owned(),
            address: listener.local_addr().expect("an address"),
            stop: None,
        }
    }

    fn key(&self) -> CosigningKey {
        let seed = domain::hash::sha256(self.name.as_bytes()).0;
        CosigningKey::from_seed(&self.name, &seed).expect("a name")
    }

    fn start(&mut self, runtime: &Runtime, log: &VerifierKey, clock: &Arc<Moved>) {
        let store = FileStore::open(self.dir.path()).expect("free");
        let witness = Witness::open(self.key(), [log.clone()], store, clock.clone()).expect("it opens");
        let served = Arc::new(Served {
            witness,
            conflicts: self.dir.path().join("conflicts"),
        });
        let (stop, stopped) = oneshot::channel::<()>();
        let listener = runtime
            .block_on(TcpListener::bind(self.address))
            .expect("its port");
        let task = runtime.spawn(serve_witness(served, listener, async move {
            let _ = stopped.await;
        }));
        self.stop = Some((stop, task));
    }

    fn stop(&mut self, runtime: &Runtime) {
        if let Some((stop, task)) = self.stop.take() {
            drop(stop);
            runtime.block_on(task).expect("it stops");
        }
    }

    fn policy_line(&self) -> String {
        format!(
            "witness {} {} http://{}\n",
            self.name,
            self.key().verifier_key(),
            self.address
        )
    }
}

struct Service {
    runtime: Runtime,
    app: Option<Arc<App>>,
    stop: Option<oneshot::Sender<()>>,
    url: String,
    clock: Arc<Moved>,
    agent: ureq::Agent,
    dir: tempfile::TempDir,
}

impl Service {
    fn ready(at: &str) -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .enable_all()
            .build()
            .expect("a runtime");
        Self {
            runtime,
            app: None,
            stop: None,
            url: String::new(),
            clock: Moved::at(at),
            agent: ureq::Agent::config_builder()
                .http_status_as_error(false)
                .build()
                .new_agent(),
            dir: tempfile::tempdir().expect("a directory"),
        }
    }

    fn data(&self) -> PathBuf {
        self.dir.path().join("data")
    }

    fn published(&self) -> PathBuf {
        self.dir.path().join("static")
    }

    fn policy(&self) -> PathBuf {
        self.dir.path().join("policy")
    }

    /// Runs once without witnesses, as the first start does, and says the log's key.
    fn first_start(&mut self) -> VerifierKey {
        self.try_start(None).expect("it opens");
        let (key, _) = self.app.as_ref().expect("it runs").verifier_keys();
        self.stop();
        VerifierKey::parse(&key).expect("a key")
    }

    fn start(&mut self) {
        self.try_start(Some(self.policy())).expect("it opens");
    }

    fn try_start(&mut self, policy: Option<PathBuf>) -> Result<(), String> {
        let settings = Settings {
            data: self.data(),
            anchor: Some(self.dir.path().join("anchor")),
            origin: Some(ORIGIN.to_owned()),
            witness_policy: policy,
            publish: vec![PublishTo::Directory {
                name: "static".to_owned(),
                path: self.published(),
            }],
            ..Settings::default()
        };
        let outside = Outside {
            clock: self.clock.clone(),
            entropy: Arc::new(SeededEntropy::from_os().expect("randomness")),
            clock_accepted: false,
        };
        let (stop, stopped) = oneshot::channel();
        let (app, url) = self.runtime.block_on(async {
            let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
            let address = listener.local_addr().expect("an address");
            let app = App::open(settings, outside)
                .await
                .map_err(|error| error.to_string())?;
            let served = serve(Arc::clone(&app), listener, async move {
                // Dropping the sender stops it, too.
                let _ = stopped.await;
            });
            tokio::spawn(served);
            Ok::<_, String>((app, format!("http://{address}")))
        })?;
        (self.app, self.stop, self.url) = (Some(app), Some(stop), url);
        Ok(())
    }

    fn stop(&mut self) {
        drop(self.stop.take());
        if let Some(app) = self.app.take() {
            self.runtime.block_on(app.stop());
        }
    }

    fn get(&self, path: &str) -> (u16, Vec<u8>) {
        let mut answer = self
            .agent
            .get(format!("{}{path}", self.url))
            .call()
            .expect("an answer");
        (
            answer.status().as_u16(),
            answer.body_mut().read_to_vec().expect("a body"),
        )
    }

    /// Records something, which is answered although witnesses may be down.
    fn record(&self, name: &str) {
        let token = std::fs::read_to_string(self.data().join("owner-token")).expect("the owner's token");
        let body = format!("{{\"name\": \"{name}\", \"vertical\": \"climate\"}}");
        let answer = self
            .agent
            .post(format!("{}/v1/sites", self.url))
            .header("Authorization", format!("Bearer {}", token.trim()))
            .send(body)
            .expect("an answer");
        assert_eq!(answer.status(), 201);
    }

    /// Asks until the file is as it is waited for; time passes for the witnesses meanwhile.
    fn until(&self, path: &str, there: impl Fn(&[u8]) -> bool) -> Vec<u8> {
        let began = Instant::now();
        while began.elapsed() < PATIENCE {
            let (status, bytes) = self.get(path);
            if status == 200 && there(&bytes) {
                return bytes;
            }
            std::thread::sleep(Duration::from_millis(20));
            self.clock.pass(1);
        }
        let (status, bytes) = self.get(path);
        panic!(
            "{path} never became what was waited for: {status} {}",
            String::from_utf8_lossy(&bytes)
        );
    }

    /// Waits until the checkpoint that covers every entry has a line by this witness.
    fn until_cosigned(&self, witness: &CosigningKey) -> Vec<u8> {
        let size = || {
            let ready: serde_json::Value = serde_json::from_slice(&self.get("/readyz").1).expect("JSON");
            TreeSize(ready["size"].as_u64().expect("a size"))
        };
        let covers = |bytes: &[u8]| {
            let signed = SignedCheckpoint::parse(bytes).expect("a checkpoint");
            signed.checkpoint().size() == size()
        };
        self.until("/log/checkpoint", |bytes| {
            lines(bytes, witness) == 1 && covers(bytes)
        })
    }

    /// `daybook verify` of a copy with nothing but the policy: exit code and what it says.
    fn verified(&self, policy: &Path) -> (Option<i32>, String) {
        let copy = tempfile::tempdir().expect("a directory");
        let run = |args: &[&str], paths: &[(&str, &Path)]| {
            let mut command = Command::new(env!("CARGO_BIN_EXE_daybook"));
            command.args(args);
            for (name, path) in paths {
                command.arg(name).arg(path);
            }
            let output = command.output().expect("it runs");
            let said = String::from_utf8_lossy(&output.stdout).into_owned()
                + &String::from_utf8_lossy(&output.stderr);
            (output.status.code(), said)
        };
        let to = copy.path().join("copy");
        let exported = run(&["export"], &[("--data", &self.data()), ("--to", &to)]);
        assert_eq!(exported.0, Some(0), "{}", exported.1);
        run(&["verify"], &[("--export", &to), ("--policy", policy)])
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        self.stop();
    }
}

fn lines(bytes: &[u8], key: &CosigningKey) -> usize {
    let text = String::from_utf8_lossy(bytes);
    let start = format!("— {} ", key.verifier_key().name());
    text.lines().filter(|line| line.starts_with(&start)).count()
}

#[test]
fn one_live_witness_of_two_is_enough_for_an_auditor_who_kept_nothing() {
    let mut service = Service::ready("2026-05-17T23:59:40Z");
    let log = service.first_start();
    let (mut live, dead) = (Live::ready("live.example"), Live::ready("dead.example"));
    live.start(&service.runtime, &log, &service.clock);
    let policy = format!(
        "log {log}\n{}{}group both any live.example dead.example\nquorum both\n",
        live.policy_line(),
        dead.policy_line()
    );
    std::fs::write(service.policy(), &policy).expect("written");
    service.start();
    service.record("Before midnight");
    service.clock.pass(30);
    let head = "/heads/2026/2026-05-17.tlog-proof";
    let bytes = service.until(head, |bytes| lines(bytes, &live.key()) == 1);
    let head = TlogProof::parse(&bytes).expect("a head");
    let leaf = leaf_hash(head.extra.as_deref().expect("its entry"));
    let policy = Policy::parse(policy.as_bytes()).expect("a policy");
    let examined = head.verify(&leaf, &policy).expect("it holds");
    assert_eq!(examined.quorum, Quorum::Met);
    assert_eq!(head.size(), TreeSize(head.index.get() + 1));
    let published = service.published().join("heads/2026/2026-05-17.tlog-proof");
    let began = Instant::now();
    while !published.exists() {
        assert!(began.elapsed() < PATIENCE, "the head is not published");
        std::thread::sleep(Duration::from_millis(20));
    }
    let published = std::fs::read(published).expect("readable");
    assert_eq!(
        lines(&published, &live.key()),
        1,
        "it went out with its cosignature"
    );
    service.record("After midnight");
    let checkpoint = service.until_cosigned(&live.key());
    assert_eq!(lines(&checkpoint, &dead.key()), 0);
    let (_, page) = service.get("/ledger");
    let page = String::from_utf8_lossy(&page).into_owned();
    assert!(
        page.contains("live.example") && page.contains("witnessed"),
        "{page}"
    );
    let (_, metrics) = service.get("/metrics");
    let metrics = String::from_utf8_lossy(&metrics).into_owned();
    for line in [
        "daybook_witness_up{witness=\"live.example\"} 1",
        "daybook_witness_up{witness=\"dead.example\"} 0",
        "daybook_heads_unwitnessed 0",
    ] {
        assert!(metrics.contains(line), "{line} is not in {metrics}");
    }
    let path = service.policy();
    service.record("The last, which a stop offers");
    service.stop();
    let (code, said) = service.verified(&path);
    assert!(code == Some(0) && said.starts_with("VERIFIED"), "{code:?} {said}");
    // The same copy without the witnesses' word is worth less.
    let alone = service.dir.path().join("alone");
    std::fs::write(&alone, Policy::text_of_log(&log)).expect("written");
    let (code, said) = service.verified(&alone);
    assert!(
        code == Some(3) && said.starts_with("UNANCHORED"),
        "{code:?} {said}"
    );
}

#[test]
fn heads_without_their_quorum_are_taken_up_again_after_a_restart() {
    let mut service = Service::ready("2026-05-17T12:00:00Z");
    let log = service.first_start();
    let mut late = Live::ready("late.example");
    let policy = format!("log {log}\n{}quorum late.example\n", late.policy_line());
    std::fs::write(service.policy(), &policy).expect("written");
    service.start();
    for day in 17..20 {
        service.record(&format!("On day {day}"));
        service.clock.pass(86_400);
        let head = service.until(&format!("/heads/2026/2026-05-{day}.tlog-proof"), |_| true);
        assert_eq!(lines(&head, &late.key()), 0, "nobody is there to cosign it");
    }
    service.stop();
    late.start(&service.runtime, &log, &service.clock);
    service.start();
    for day in 17..20 {
        service.until(&format!("/heads/2026/2026-05-{day}.tlog-proof"), |bytes| {
            lines(bytes, &late.key()) == 1
        });
    }
    service.until_cosigned(&late.key());
    service.stop();
    let (code, said) = service.verified(&service.policy());
    assert!(code == Some(0) && said.starts_with("VERIFIED"), "{code:?} {said}");
    assert!(said.contains("LATE"), "{said}");
    late.stop(&service.runtime);
}

#[test]
fn a_head_that_a_witness_has_passed_is_proven_under_the_first_checkpoint_that_reached_the_quorum() {
    let mut service = Service::ready("2026-05-17T23:59:40Z");
    let log = service.first_start();
    let (mut first, mut second) = (Live::ready("first.example"), Live::ready("second.example"));
    let policy = |quorum: &str| {
        format!(
            "log {log}\n{}{}group both all first.example second.example\nquorum {quorum}\n",
            first.policy_line(),
            second.policy_line()
        )
    };
    let (both, passed) = (policy("both"), policy("first.example"));
    // The second witness is away at midnight.
    std::fs::write(service.policy(), &both).expect("written");
    first.start(&service.runtime, &log, &service.clock);
    service.start();
    service.record("On the first day");
    service.clock.pass(86_400);
    let path = "/heads/2026/2026-05-17.tlog-proof";
    let head = service.until(path, |bytes| lines(bytes, &first.key()) == 1);
    let head = TlogProof::parse(&head).expect("a head");
    service.record("Still on the first day's morrow");
    service.until("/log/checkpoint", |bytes| {
        SignedCheckpoint::parse(bytes).is_ok_and(|signed| signed.checkpoint().size() > head.size())
    });
    service.stop();
    // It comes back, and somebody shows it a later checkpoint before the head.
    second.start(&service.runtime, &log, &service.clock);
    let heads = service.data().join("heads");
    let hidden = service.dir.path().join("hidden");
    std::fs::rename(&heads, &hidden).expect("moved");
    std::fs::write(service.policy(), &passed).expect("written");
    service.start();
    service.record("On the second day");
    service.until("/log/checkpoint", |bytes| lines(bytes, &second.key()) == 1);
    service.stop();
    std::fs::remove_dir_all(&heads).expect("removed");
    std::fs::rename(&hidden, &heads).expect("moved back");
    std::fs::write(service.policy(), &both).expect("written");
    service.start();
    let late = service.until("/heads/2026/2026-05-17.late.tlog-proof", |_| true);
    let late = TlogProof::parse(&late).expect("a proof");
    let head = TlogProof::parse(&service.get(path).1).expect("a head");
    assert_eq!((late.index, &late.extra), (head.index, &head.extra));
    assert!(late.size() > head.size());
    let leaf = leaf_hash(late.extra.as_deref().expect("its entry"));
    let policy = Policy::parse(both.as_bytes()).expect("a policy");
    assert_eq!(late.verify(&leaf, &policy).expect("it holds").quorum, Quorum::Met);
    assert_eq!(
        head.verify(&leaf, &policy).expect("it holds").quorum,
        Quorum::Missed
    );
    first.stop(&service.runtime);
    second.stop(&service.runtime);
}

#[test]
fn an_older_copy_without_its_anchor_is_noticed_by_what_a_witness_has_seen() {
    let mut service = Service::ready("2026-05-17T12:00:00Z");
    let log = service.first_start();
    let mut live = Live::ready("live.example");
    live.start(&service.runtime, &log, &service.clock);
    let policy = format!("log {log}\n{}quorum live.example\n", live.policy_line());
    std::fs::write(service.policy(), policy).expect("written");
    let copy = service.dir.path().join("copy");
    let copied = Command::new("cp")
        .arg("-a")
        .args([&service.data(), &copy])
        .status()
        .expect("it runs");
    assert!(copied.success());
    service.start();
    service.record("What the copy does not have");
    service.until_cosigned(&live.key());
    service.stop();
    std::fs::remove_dir_all(service.data()).expect("removed");
    std::fs::remove_dir_all(service.dir.path().join("anchor")).expect("removed");
    std::fs::rename(&copy, service.data()).expect("put back");
    let said = service.try_start(Some(service.policy())).expect_err("refused");
    assert!(
        said.contains("live.example") && said.contains("older copy"),
        "{said}"
    );
    // A witness that is away stops nothing, and has nothing cosigned.
    live.stop(&service.runtime);
    service.start();
    service.record("Another history");
    live.start(&service.runtime, &log, &service.clock);
    service.until("/ledger", |page| {
        String::from_utf8_lossy(page).contains("has seen a larger ledger")
    });
    let (_, checkpoint) = service.get("/log/checkpoint");
    assert_eq!(lines(&checkpoint, &live.key()), 0);
}

#[test]
fn a_policy_that_cannot_be_used_stops_the_start_with_what_to_do() {
    let mut service = Service::ready("2026-05-17T12:00:00Z");
    let log = service.first_start();
    let live = Live::ready("live.example");
    let other = domain::note::SigningKey::from_seed("other.example", &[7; 32]).expect("a name");
    let stranger = format!(
        "log {}\n{}quorum live.example\n",
        other.verifier_key(),
        live.policy_line()
    );
    let nobody = format!("log {log}\nquorum none\n");
    for (policy, says) in [
        ("rubbish\n", "line 1"),
        (&*stranger, "add the line  log log.example/main+"),
        (&*nobody, "names no witness with a URL"),
    ] {
        std::fs::write(service.policy(), policy).expect("written");
        let said = service.try_start(Some(service.policy())).expect_err("refused");
        assert!(said.contains(says), "{said}");
    }
    let said = service
        .try_start(Some(service.dir.path().join("nowhere")))
        .expect_err("refused");
    assert!(said.contains("witness_policy"), "{said}");
}
