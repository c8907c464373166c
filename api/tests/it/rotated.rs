//! A ledger whose log key was replaced, whose recovery key was replaced, and whose log key was then replaced by the new
//! recovery key's word: what each verifier says of a pack of all its days, by which keys an auditor has.
//!
//! Not here: forged rotations (`domain::rotation`), crashes between their steps (the workspace's end-to-end tests).

use crate::service::{Moved, Service};
use api::app::Outside;
use api::config::Settings;
use api::entropy::SeededEntropy;
use api::rekey;
use chain_publisher::VerifySettings;
use chain_publisher::directory::Directory;
use chain_publisher::evidence::{Evidence, Trust};
use chain_publisher::verify;
use domain::note::VerifierKey;
use domain::rotation::{Role, RotationReason};
use serde_json::{Value, json};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use tests::chromium::{self, Chromium};
use tests::debian;
use tests::pack_ledger::{Files, verdict};

const HTML: &str = concat!(
    env!("CARGO_MANIFEST_DIR"),
    "/../chain-publisher/assets/verify.html"
);

/// The ledger at its end, and its keys in their order.
struct Rotated {
    service: Service,
    device: String,
    logs: Vec<VerifierKey>,
    recoveries: Vec<VerifierKey>,
}

fn settings(dir: &Path) -> Settings {
    Settings {
        data: dir.join("data"),
        anchor: Some(dir.join("anchor")),
        ..Settings::default()
    }
}

/// What is done while the service is stopped.
fn stopped<T, F>(dir: &Path, clock: &Arc<Moved>, change: impl FnOnce(Settings, Outside) -> F) -> T
where
    F: Future<Output = Result<T, rekey::RekeyError>>,
{
    let outside = Outside {
        clock: clock.clone(),
        entropy: Arc::new(SeededEntropy::from_os().expect("randomness")),
        clock_accepted: false,
    };
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .expect("a runtime");
    runtime
        .block_on(change(settings(dir), outside))
        .expect("a new key is in force")
}

fn send(service: &Service, token: &str, values: std::ops::Range<u32>) {
    for n in values {
        service.clock.pass(60);
        let (status, taken) = service.post_as(
            token,
            "/v1/ingest",
            &json!({"device": "fridge", "measurements": [{"type": "temperature", "value": n}]}),
        );
        assert_eq!(status, 200, "{taken}");
    }
}

fn until_closed(service: &Service, day: &str) {
    service.clock.pass(86_400);
    service.until("/v1/heads", |heads| {
        let all = heads["data"].as_array().cloned().unwrap_or_default();
        all.iter().any(|head| head["date"] == day)
    });
}

fn rotated() -> Rotated {
    let files = tempfile::tempdir().expect("a directory").keep();
    let (first, second) = (files.join("recovery-1"), files.join("recovery-2"));
    let named = first.clone();
    let service = Service::start_with("2026-05-17T10:00:00Z", |settings| {
        settings.recovery_key_out = Some(named);
    });
    let (_, site) = service.site("Kitchen");
    let (status, device) = service.post(
        "/v1/devices",
        &json!({"site_id": site["id"], "local_id": "fridge", "name": "Fridge", "model": "diy_esp32"}),
    );
    assert_eq!(status, 201, "{device}");
    let text = |value: &Value| value.as_str().expect("a text").to_owned();
    let (device, token) = (text(&device["id"]), text(&device["ingest_token"]));
    let log_key = |service: &Service| {
        VerifierKey::parse(&service.app.as_ref().expect("it runs").verifier_keys().0).expect("a key")
    };
    let mut logs = vec![log_key(&service)];
    send(&service, &token, 0..5);
    until_closed(&service, "2026-05-17");

    // The 18th: a planned rotation, another recovery key, and another key for receipts.
    let (dir, clock) = service.ends();
    let scheduled = RotationReason::Scheduled;
    stopped(dir.path(), &clock, async move |settings, outside| {
        rekey::rotate(&settings, &outside, Role::Log, scheduled, None).await
    });
    let (old, new) = (first.clone(), second.clone());
    let replaced = stopped(dir.path(), &clock, async move |settings, outside| {
        rekey::rotate_recovery(&settings, &outside, scheduled, &old, &new).await
    });
    assert!(!replaced.finished);
    // The same again finds it done.
    let (old, new) = (first.clone(), second.clone());
    let again = stopped(dir.path(), &clock, async move |settings, outside| {
        rekey::rotate_recovery(&settings, &outside, scheduled, &old, &new).await
    });
    assert_eq!(
        (again.finished, again.position, &again.new),
        (true, replaced.position, &replaced.new)
    );
    stopped(dir.path(), &clock, async move |settings, outside| {
        rekey::rotate(&settings, &outside, Role::Receipt, scheduled, None).await
    });
    let service = Service::reopened(dir, clock);
    logs.push(log_key(&service));
    send(&service, &token, 5..10);
    until_closed(&service, "2026-05-18");

    // The 19th: the log key is stolen. The old recovery key is out of force, the new one is in.
    let (dir, clock) = service.ends();
    let stolen = RotationReason::Compromised;
    let path = first.clone();
    let refused = stopped(dir.path(), &clock, async move |settings, outside| {
        Ok(rekey::rotate(&settings, &outside, Role::Log, stolen, Some(&path)).await)
    });
    let refused = refused.expect_err("it is out of force").to_string();
    assert!(refused.contains("the recovery key that was given"), "{refused}");
    stopped(dir.path(), &clock, async move |settings, outside| {
        rekey::rotate(&settings, &outside, Role::Log, stolen, Some(&second)).await
    });
    let service = Service::reopened(dir, clock);
    logs.push(log_key(&service));
    send(&service, &token, 10..15);
    until_closed(&service, "2026-05-19");
    let first = std::fs::read_to_string(first).expect("readable");
    let first = domain::note::SigningKey::parse(first.trim())
        .expect("a key")
        .verifier_key();
    Rotated {
        service,
        device,
        logs,
        recoveries: vec![first, replaced.new],
    }
}

impl Rotated {
    fn pack(&self) -> Vec<u8> {
        let ask = json!({"device_id": self.device, "from": "2026-05-17", "to": "2026-05-19"});
        let (status, asked) = self.service.post("/v1/evidence", &ask);
        assert_eq!(status, 202, "{asked}");
        let poll = asked["poll"].as_str().expect("where").to_owned();
        let made = self.service.until(&poll, |pack| {
            pack["state"] == "ready" || pack["state"] == "failed"
        });
        assert_eq!(made["state"], "ready", "{made}");
        self.service.get(made["file"].as_str().expect("where")).1
    }

    fn head(&self) -> Vec<u8> {
        self.service.get("/heads/2026/2026-05-19.tlog-proof").1
    }

    fn keep(&self, name: &str, bytes: &[u8]) -> PathBuf {
        let path = self.service.scratch().join(name);
        std::fs::write(&path, bytes).expect("writable");
        path
    }

    /// Which keys an auditor may have, and whether these lead to the key in force.
    fn auditors(&self) -> Vec<(&'static str, Vec<VerifierKey>, bool)> {
        let (logs, recoveries) = (&self.logs, &self.recoveries);
        let some = |keys: &[&VerifierKey]| keys.iter().map(|key| (*key).clone()).collect::<Vec<_>>();
        vec![
            ("the key in force", some(&[&logs[2]]), true),
            ("every log key", logs.clone(), true),
            (
                "the first key and the first recovery key",
                some(&[&logs[0], &recoveries[0]]),
                true,
            ),
            (
                "the second key and the recovery key in force",
                some(&[&logs[1], &recoveries[1]]),
                true,
            ),
            ("the first key alone", some(&[&logs[0]]), false),
        ]
    }
}

fn trust(keys: &[VerifierKey], head: &[u8]) -> VerifySettings {
    VerifySettings {
        trust: Trust {
            keys: keys.to_vec(),
            ..Trust::default()
        },
        evidence: vec![Evidence::parse("the head that was kept", head).expect("a head")],
        ..VerifySettings::default()
    }
}

#[test]
fn every_verifier_follows_rotations_of_the_log_key_and_of_the_recovery_key() {
    let rotated = rotated();
    let (bytes, head) = (rotated.pack(), rotated.head());
    let pack = rotated.keep("pack.zip", &bytes);
    let kept = rotated.keep("head.tlog-proof", &head);
    for (who, keys, leads) in rotated.auditors() {
        let mut settings = trust(&keys, &head);
        if !leads {
            // Nobody that they know signed the head.
            settings.evidence.clear();
        }
        let report = verdict(&bytes, &settings);
        let word = report.report.verdict.word();
        assert_eq!(
            word,
            if leads { "VERIFIED" } else { "TAMPERED" },
            "{who}: {report}"
        );
    }

    // A copy of the whole log.
    let copy = rotated.service.scratch().join("copy");
    let exported = Command::new(env!("CARGO_BIN_EXE_daybook"))
        .args(["export", "--data"])
        .arg(rotated.service.scratch().join("data"))
        .arg("--to")
        .arg(&copy)
        .output()
        .expect("it runs");
    assert!(
        exported.status.success(),
        "{}",
        String::from_utf8_lossy(&exported.stderr)
    );
    for (who, keys, leads) in rotated.auditors() {
        let source = Directory::open(&copy).expect("a copy");
        let settings = VerifySettings {
            evidence: Vec::new(),
            ..trust(&keys, &head)
        };
        let report = verify(&source, &settings, &mut |_| {}).expect("a verdict");
        // The first head, which the first key signed, covers the entry that names the recovery key.
        let word = report.verdict.word();
        assert_eq!(word, "UNANCHORED", "{who} ({leads}): {report}");
    }

    // The one in Python wants every key, and says so where it has not.
    if let Some(python) = debian::program(&["python3"], &["python3"]) {
        let script = rotated.keep("verify.py", Files::of(&bytes).file("verify.py"));
        let run = |keys: &[VerifierKey]| {
            let mut command = Command::new(&python);
            command.args([&script, &pack]).arg("--head").arg(&kept);
            for key in keys {
                command.args(["--key", &key.to_string()]);
            }
            let out = command.output().expect("python runs");
            let said = String::from_utf8_lossy(&[out.stdout, out.stderr].concat()).into_owned();
            (out.status.code(), said)
        };
        let (code, said) = run(&rotated.logs);
        assert_eq!(code, Some(0), "{said}");
        let (code, said) = run(&[rotated.logs[0].clone(), rotated.logs[2].clone()]);
        assert_eq!(code, Some(2), "{said}");
        assert!(said.contains("the log's key was replaced"), "{said}");
        let (code, said) = run(&rotated.recoveries);
        assert_eq!(code, Some(2), "a recovery key signs no checkpoint: {said}");
    } else {
        eprintln!("NOT TESTED: there is no python3 here");
    }

    // The page.
    let program = match chromium::program() {
        Ok(program) => program,
        Err(why) if std::env::var_os("CI").is_some_and(|ci| ci == "true") => panic!("{why}"),
        Err(why) => return eprintln!("SKIPPED: {why}"),
    };
    let mut browser = Chromium::start(&program, "file://");
    for (who, keys, leads) in rotated.auditors() {
        browser.open(&format!("file://{HTML}"));
        browser.evaluate("document.querySelectorAll('details').forEach(d => d.open = true)");
        let keys: Vec<String> = keys.iter().map(ToString::to_string).collect();
        browser.fill("#key", &keys.join("\n"));
        if leads {
            browser.choose_files("#heads", &[&kept]);
        }
        browser.evaluate("document.getElementById('report').textContent = ''");
        browser.drop_file("#drop", &pack);
        browser.wait(
            "a report",
            "document.getElementById('report').textContent !== '' && !document.getElementById('go').disabled",
        );
        let text = browser.evaluate("document.getElementById('report').textContent");
        let report: Value = serde_json::from_str(text.as_str().expect("text")).expect("JSON");
        let expected = if leads { "VERIFIED" } else { "TAMPERED" };
        assert_eq!(report["verdict"], expected, "{who}: {report}");
    }
    assert_eq!(browser.complaints(), Vec::<String>::new());
}
