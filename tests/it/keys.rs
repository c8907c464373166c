//! Keys over time: rotations, a crash between any two of their steps, recovery, and a ledger that continues another.
//!
//! Everything by the binary, on real directories: what an operator's runbook says is done here, with its words.
//! Not here: forged rotations (`domain::rotation`).

use chain_publisher::directory::Directory;
use chain_publisher::evidence::Trust;
use chain_publisher::{VerifySettings, verify};
use domain::checkpoint::SignedCheckpoint;
use domain::note::{SigningKey, VerifierKey};
use domain::verify::Verdict;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};
use tests::daybook::{Daybook, Options, binary};
use tests::witness::WitnessProcess;

/// A service with a recovery key beside its directory.
fn recoverable() -> (Daybook, PathBuf) {
    let keys = tempfile::tempdir().expect("a scratch directory").keep();
    let file = keys.join("recovery.key");
    let mut daybook = Daybook::with().set("recovery_key_out", file.display()).start();
    assert!(
        daybook.said().contains("take it off this machine now"),
        "{}",
        daybook.said()
    );
    assert!(daybook.stop().success());
    (daybook, file)
}

/// Its command, with the anchor that its service has.
fn key(daybook: &Daybook, args: &[&str]) -> (i32, String, String) {
    let anchor = daybook.scratch().join("anchor");
    let anchor = anchor.to_str().expect("a path of ours");
    let args: Vec<&str> = ["key"]
        .iter()
        .chain(args)
        .copied()
        .chain(["--anchor", anchor])
        .collect();
    daybook.cli(&args)
}

fn first_key(daybook: &Daybook) -> String {
    let (code, out, _) = daybook.cli(&["key", "show"]);
    assert_eq!(code, 0);
    out.lines().next().expect("a key").to_owned()
}

/// What an auditor with that key says of a copy.
fn audit(daybook: &Daybook, keys: &[&str]) -> Verdict {
    let copy = tempfile::tempdir().expect("a scratch directory");
    let to = copy.path().join("copy");
    let (code, _, said) = daybook.cli(&["export", "--to", to.to_str().expect("a path of ours")]);
    assert_eq!(code, 0, "{said}");
    audit_copy(&to, keys)
}

fn audit_copy(copy: &Path, keys: &[&str]) -> Verdict {
    let settings = VerifySettings {
        trust: Trust {
            keys: keys
                .iter()
                .map(|key| VerifierKey::parse(key).expect("a key"))
                .collect(),
            ..Trust::default()
        },
        ..VerifySettings::default()
    };
    let source = Directory::open(copy).expect("a copy");
    verify(&source, &settings, &mut |_| {})
        .expect("a verdict")
        .verdict
}

/// Nothing is wrong with it, and nobody outside is asked.
fn holds(verdict: &Verdict) -> bool {
    matches!(verdict, Verdict::Unanchored { .. } | Verdict::Verified { .. })
}

/// Which keys have signed the latest checkpoint.
fn signers(daybook: &Daybook) -> usize {
    let anchors = fs::read_dir(daybook.scratch().join("anchor")).expect("the anchor");
    let file = anchors
        .flatten()
        .map(|it| it.path())
        .next()
        .expect("a checkpoint");
    let bytes = fs::read(file).expect("readable");
    let text = String::from_utf8_lossy(&bytes);
    text.matches("— ").count()
}

#[test]
fn a_rotated_key_is_followed_from_the_old_one_and_from_the_new_one() {
    let mut daybook = Daybook::start();
    assert!(daybook.stop().success());
    let old = first_key(&daybook);
    let (code, new, said) = key(&daybook, &["rotate"]);
    assert_eq!(code, 0, "{said}");
    assert!(said.contains("is in force since position"), "{said}");
    let new = new.trim();
    assert_eq!(first_key(&daybook), new);
    for known in [old.as_str(), new] {
        let verdict = audit(&daybook, &[known]);
        assert!(holds(&verdict), "{verdict}");
    }
    daybook.restart();
    let size = daybook.size();
    daybook.until_signed(size);
    let watched = |key: &str| {
        let settings = VerifySettings {
            trust: Trust {
                keys: vec![VerifierKey::parse(key).expect("a key")],
                ..Trust::default()
            },
            ..VerifySettings::default()
        };
        let url = chain_publisher::url::Url::new(daybook.url(), None).expect("a url");
        chain_publisher::watch::look(&url, &settings, None)
            .expect("it answers")
            .report
    };
    let report = watched(&old);
    assert!(holds(&report.verdict), "{report}");
    assert!(
        report.signed_by.iter().all(|by| by.contains("in force since")),
        "{report}"
    );
    let stranger = SigningKey::from_seed(old.split('+').next().expect("a name"), &[7; 32]).expect("a name");
    let report = watched(&stranger.verifier_key().to_string());
    assert!(matches!(report.verdict, Verdict::Tampered { .. }), "{report}");
}

#[test]
fn a_larger_checkpoint_with_the_old_key_alone_is_tampered() {
    let mut daybook = Daybook::start();
    assert!(daybook.stop().success());
    let old = first_key(&daybook);
    let seed: [u8; 32] = fs::read(daybook.data().join("keys/log-key"))
        .expect("readable")
        .try_into()
        .expect("a seed");
    assert_eq!(key(&daybook, &["rotate"]).0, 0);
    daybook.restart();
    assert!(daybook.stop().success());
    let copy = tempfile::tempdir().expect("a scratch directory");
    let to = copy.path().join("copy");
    assert_eq!(
        daybook.cli(&["export", "--to", to.to_str().expect("a path")]).0,
        0
    );
    assert!(holds(&audit_copy(&to, &[&old])));
    let path = to.join("checkpoint");
    let signed = SignedCheckpoint::parse(&fs::read(&path).expect("readable")).expect("a checkpoint");
    let thief = SigningKey::from_seed(signed.checkpoint().origin(), &seed).expect("a name");
    let forged = SignedCheckpoint::sign(signed.checkpoint().clone(), &[&thief]).expect("signed");
    fs::write(&path, forged.encode()).expect("writable");
    for with_proofs in [true, false] {
        if !with_proofs {
            fs::remove_dir_all(to.join("keys")).expect("there");
        }
        let verdict = audit_copy(&to, &[&old]);
        assert!(
            matches!(&verdict, Verdict::Tampered { what, .. } if what.contains("KeyRotated at position")),
            "{verdict}"
        );
    }
}

#[test]
fn a_lost_log_key_is_replaced_with_the_recovery_key_and_by_nobody_else() {
    let (mut daybook, recovery) = recoverable();
    let old = first_key(&daybook);
    fs::remove_file(daybook.data().join("keys/log-key")).expect("lost");
    let refused = daybook.try_restart().expect_err("it must not start");
    assert!(refused.contains("daybook key recover"), "{refused}");
    let (code, _, said) = key(&daybook, &["rotate", "--reason", "lost"]);
    assert_eq!(code, 1, "{said}");
    assert!(said.contains("daybook key recover"), "{said}");
    let path = recovery.to_str().expect("a path of ours");
    let origin = old.split('+').next().expect("a name");
    let strange = SigningKey::from_seed(&format!("{origin}/recovery"), &[5; 32]).expect("a name");
    let strange_file = recovery.with_file_name("strange.key");
    commands::keys::write_secret_file(&strange_file, strange.encode().as_bytes()).expect("writable");
    let args = ["recover", "--reason", "lost", "--recovery-key"];
    let strange_path = strange_file.to_str().expect("a path of ours");
    let (code, _, said) = key(&daybook, &[&args[..], &[strange_path]].concat());
    assert_eq!(code, 1, "{said}");
    assert!(said.contains("the ledger names"), "{said}");
    let (code, new, said) = key(&daybook, &[&args[..], &[path]].concat());
    assert_eq!(code, 0, "{said}");
    assert!(
        said.contains("Take ") && said.contains("off this machine again"),
        "{said}"
    );
    daybook.restart();
    assert!(daybook.stop().success());
    let text = fs::read_to_string(&recovery).expect("readable");
    let recovery_key = SigningKey::parse(text.trim())
        .expect("a key")
        .verifier_key()
        .to_string();
    for keys in [vec![new.trim()], vec![&old, &recovery_key]] {
        let verdict = audit(&daybook, &keys);
        assert!(holds(&verdict), "{keys:?}: {verdict}");
    }
    // Who knows neither the new key nor the recovery key cannot tell it from a forgery, and says so.
    let verdict = audit(&daybook, &[&old]);
    assert!(
        matches!(&verdict, Verdict::Tampered { what, .. } if what.contains("recovery")),
        "{verdict}"
    );
}

#[test]
fn a_stolen_log_key_signs_nothing_more_after_a_recovery() {
    let (mut daybook, recovery) = recoverable();
    let args = ["recover", "--reason", "compromised", "--recovery-key"];
    let path = recovery.to_str().expect("a path of ours");
    let (code, new, said) = key(&daybook, &[&args[..], &[path]].concat());
    assert_eq!(code, 0, "{said}");
    assert_eq!(signers(&daybook), 2, "the recovery key and the new one");
    daybook.restart();
    let size = daybook.size();
    daybook.until_signed(size);
    assert!(daybook.stop().success());
    assert_eq!(signers(&daybook), 1);
    assert!(holds(&audit(&daybook, &[new.trim()])));
    let (_, list, _) = daybook.cli(&["key", "list"]);
    assert!(
        list.contains("compromised, vouched for by the recovery key"),
        "{list}"
    );
}

/// A key file without an entry; an entry whose checkpoint is signed and whose proof is not kept; everything but the file.
#[test]
fn a_crash_after_any_step_of_a_rotation_is_made_good_by_the_next_start() {
    let mut daybook = Daybook::start();
    assert!(daybook.stop().success());
    let keys = daybook.data().join("keys");
    let (current, next) = (keys.join("log-key"), keys.join("log-key.next"));
    let first = first_key(&daybook);
    // 1: the new key's file is there, and no entry names it.
    commands::keys::write_secret_file(&next, &[9; 32]).expect("writable");
    daybook.restart();
    assert!(daybook.stop().success());
    assert!(!next.exists());
    assert_eq!(first_key(&daybook), first);
    // 4: the checkpoint is signed by both, the proof cannot be kept.
    let proofs = daybook.data().join("heads/keys");
    fs::create_dir_all(daybook.data().join("heads")).expect("writable");
    fs::write(&proofs, b"in the way").expect("writable");
    let (code, _, said) = key(&daybook, &["rotate"]);
    assert_eq!(code, 1, "{said}");
    assert!(next.exists());
    fs::remove_file(&proofs).expect("there");
    daybook.restart();
    assert!(daybook.stop().success());
    assert!(!next.exists());
    assert_eq!(fs::read_dir(&proofs).expect("made good").count(), 1);
    let second = first_key(&daybook);
    assert_ne!(second, first);
    // 6: everything is done but the new file's taking the old one's place.
    let old = fs::read(&current).expect("readable");
    assert_eq!(key(&daybook, &["rotate"]).0, 0);
    let new = fs::read(&current).expect("readable");
    commands::keys::write_secret_file(&current, &old).expect("writable");
    commands::keys::write_secret_file(&next, &new).expect("writable");
    daybook.restart();
    assert!(daybook.stop().success());
    assert!(!next.exists());
    assert_eq!(fs::read(&current).expect("readable"), new);
    for known in [&first, &second] {
        let verdict = audit(&daybook, &[known]);
        assert!(holds(&verdict), "{verdict}");
    }
}

/// Kill −9 at any instant of the command: what it left is finished or taken back, and every key still leads on.
#[test]
fn a_rotation_that_is_killed_at_any_instant_leaves_a_ledger_that_verifies() {
    let mut daybook = Daybook::start();
    assert!(daybook.stop().success());
    let first = first_key(&daybook);
    for n in 0..12u64 {
        let mut child = Command::new(binary())
            .args(["key", "rotate", "--data"])
            .arg(daybook.data())
            .arg("--anchor")
            .arg(daybook.scratch().join("anchor"))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("the binary runs");
        // The instant is what is tried, not what is waited for.
        std::thread::sleep(Duration::from_millis(15 * n));
        let _ = child.kill();
        child.wait().expect("it ends");
        if n % 3 == 0 {
            daybook.restart();
            assert!(daybook.stop().success());
        }
        let verdict = audit(&daybook, &[&first]);
        assert!(holds(&verdict), "killed after {} ms: {verdict}", 15 * n);
    }
    daybook.restart();
    assert!(daybook.stop().success());
    assert!(!daybook.data().join("keys/log-key.next").exists());
    let last = first_key(&daybook);
    assert!(holds(&audit(&daybook, &[&last])));
}

#[test]
fn receipts_go_on_over_a_rotation_of_their_key() {
    let mut daybook = Daybook::start();
    assert!(daybook.stop().success());
    let (_, keys, _) = daybook.cli(&["key", "show"]);
    let (log, old) = keys.split_once('\n').expect("two keys");
    let (code, new, said) = key(
        &daybook,
        &["rotate", "--role", "receipt", "--reason", "compromised"],
    );
    assert_eq!(code, 0, "{said}");
    daybook.restart();
    let (_, _, token) = daybook.device("fridge01");
    let body = br#"{"device":"fridge01","measurements":[{"type":"temperature","value":4.2}]}"#;
    let answer = daybook
        .call("POST", "/v1/ingest")
        .token(&token)
        .header("content-type", "application/json")
        .header("prefer", "return=receipt")
        .bytes(body.to_vec())
        .send();
    let answer = answer.text();
    let size = daybook.size();
    daybook.until_signed(size);
    let settings = VerifySettings {
        trust: Trust {
            keys: vec![VerifierKey::parse(log).expect("a key")],
            ..Trust::default()
        },
        ..VerifySettings::default()
    };
    let url = chain_publisher::url::Url::new(daybook.url(), None).expect("a url");
    for known in [old.trim(), new.trim()] {
        let question = chain_publisher::receipt::ReceiptQuestion {
            name: "answer",
            receipt: answer.as_bytes(),
            body: Some(body),
            answer: None,
            keys: &[VerifierKey::parse(known).expect("a key")],
        };
        let report =
            chain_publisher::receipt::verify_receipt(&url, &question, &settings).expect("it answers");
        assert!(holds(&report.verdict), "{report}");
    }
}

#[test]
fn a_post_quantum_key_is_added_and_must_sign_from_then_on() {
    let mut daybook = Daybook::start();
    assert!(daybook.stop().success());
    let old = first_key(&daybook);
    let (code, new, said) = key(&daybook, &["rotate", "--role", "post-quantum"]);
    assert_eq!(code, 0, "{said}");
    let new = VerifierKey::parse(new.trim()).expect("a key");
    assert_eq!(new.key_type(), domain::note::KeyType::MlDsa44);
    daybook.restart();
    assert!(daybook.stop().success());
    assert_eq!(signers(&daybook), 2);
    assert!(holds(&audit(&daybook, &[&old])));
    let copy = tempfile::tempdir().expect("a scratch directory");
    let to = copy.path().join("copy");
    assert_eq!(
        daybook.cli(&["export", "--to", to.to_str().expect("a path")]).0,
        0
    );
    let path = to.join("checkpoint");
    let text = fs::read_to_string(&path).expect("readable");
    let without: Vec<&str> = text.lines().filter(|line| line.len() < 1_000).collect();
    fs::write(&path, format!("{}\n", without.join("\n"))).expect("writable");
    let verdict = audit_copy(&to, &[&old]);
    assert!(matches!(verdict, Verdict::Tampered { .. }), "{verdict}");
    // A ledger that begins with one names it in its first entry.
    let options: Options = Daybook::with().set("post_quantum", true);
    let mut begun = options.start();
    assert!(begun.stop().success());
    assert_eq!(signers(&begun), 2);
    let (_, keys, _) = begun.cli(&["key", "show"]);
    let both: Vec<&str> = keys.lines().collect();
    assert!(holds(&audit(&begun, &[both[0], both[2]])));
}

#[test]
fn a_restored_older_copy_is_refused_and_a_new_ledger_continues_it() {
    let mut daybook = Daybook::start();
    assert!(daybook.stop().success());
    let copy = daybook.scratch().join("copy");
    copy_dir(&daybook.data(), &copy);
    daybook.restart();
    let size = daybook.size();
    daybook.until_signed(size);
    assert!(daybook.stop().success());
    fs::remove_dir_all(daybook.data()).expect("lost");
    copy_dir(&copy, &daybook.data());
    let refused = daybook.try_restart().expect_err("it must not start");
    assert!(refused.contains("daybook continue"), "{refused}");
    let old_key = first_key(&daybook);
    let new = daybook.scratch().join("new");
    let run = |args: &[&str]| {
        let output = Command::new(binary())
            .args(args)
            .output()
            .expect("the binary runs");
        let said = String::from_utf8_lossy(&[&output.stdout[..], &output.stderr[..]].concat()).into_owned();
        (output.status.code(), said)
    };
    let text = |path: &Path| path.to_str().expect("a path of ours").to_owned();
    let origin = old_key.split('+').next().expect("a name");
    let (code, said) = run(&[
        "continue",
        &text(&daybook.data()),
        &text(&new),
        "--origin",
        origin,
    ]);
    assert_eq!(code, Some(2), "under its old name: {said}");
    let (code, said) = run(&[
        "continue",
        &text(&daybook.data()),
        &text(&new),
        "--origin",
        "log.example/main-2",
    ]);
    assert_eq!(code, Some(0), "{said}");
    assert!(said.contains("continues"), "{said}");
    // The old copy is shown, not started; the new one begins.
    let (old_copy, new_copy) = (
        daybook.scratch().join("old-copy"),
        daybook.scratch().join("new-copy"),
    );
    assert_eq!(
        run(&[
            "export",
            "--data",
            &text(&daybook.data()),
            "--to",
            &text(&old_copy)
        ])
        .0,
        Some(0)
    );
    let mut begun = Daybook::with().ready();
    fs::rename(&new, begun.data()).expect("renamed");
    begun.restart();
    assert!(begun.stop().success());
    assert_eq!(begun.cli(&["export", "--to", &text(&new_copy)]).0, 0);
    let new_key = first_key(&begun);
    let verify = |more: &[&str]| {
        let copy = text(&new_copy);
        run(&[&["verify", "--export", &copy, "--key", &new_key][..], more].concat())
    };
    let (code, said) = verify(&[]);
    assert_eq!(code, Some(3), "{said}");
    assert!(
        said.contains("restored_older_copy") && said.contains("--continues"),
        "{said}"
    );
    let (code, said) = verify(&["--continues", &text(&old_copy), "--continues-key", &old_key]);
    assert_eq!(code, Some(3), "{said}");
    assert!(said.contains("and that root"), "{said}");
    let head = text(&old_copy.join("checkpoint"));
    let (code, said) = verify(&["--continues", &head, "--continues-key", &old_key]);
    assert_eq!(code, Some(3), "{said}");
    assert!(said.contains("what it says that it continues, against"), "{said}");
    let (code, said) = verify(&["--continues", &text(&new_copy)]);
    assert_ne!(
        code,
        Some(3),
        "another log is not the one that is continued: {said}"
    );
}

#[test]
fn a_changed_witness_policy_is_recorded_once() {
    let mut daybook = Daybook::start();
    assert!(daybook.stop().success());
    let key = first_key(&daybook);
    let witness = domain::cosignature::CosigningKey::from_seed("w.example", &[3; 32]).expect("a name");
    let policy = daybook.scratch().join("policy");
    let text = format!(
        "log {key}\nwitness w {} http://127.0.0.1:9\nquorum w\n",
        witness.verifier_key()
    );
    fs::write(&policy, &text).expect("writable");
    let recorded = |daybook: &Daybook| {
        let (_, out, _) = daybook.cli(&["verify", "--json"]);
        let report: serde_json::Value = serde_json::from_str(&out).expect("JSON");
        report["log_policy"].as_str().expect("a policy").to_owned()
    };
    assert!(recorded(&daybook).ends_with("quorum none\n"));
    daybook.set("witness_policy", policy.display());
    daybook.restart();
    assert!(daybook.stop().success());
    assert_eq!(recorded(&daybook), text);
    daybook.restart();
    assert!(daybook.stop().success());
    let segment = fs::read_dir(daybook.data().join("ledger/segments"))
        .expect("segments")
        .flatten()
        .map(|file| fs::read(file.path()).expect("readable"))
        .map(|bytes| {
            String::from_utf8_lossy(&bytes)
                .matches("\"WitnessPolicySet\",\"event_version\"")
                .count()
        })
        .sum::<usize>();
    assert_eq!(segment, 1);
}

/// Waits until the latest checkpoint that the service shows has a line of that name.
fn until_cosigned(daybook: &Daybook, name: &str) {
    let began = Instant::now();
    while !daybook
        .call("GET", "/log/checkpoint")
        .send()
        .text()
        .contains(name)
    {
        assert!(began.elapsed() < tests::PATIENCE, "no witness ever cosigned");
        std::thread::sleep(Duration::from_millis(50));
    }
}

#[test]
fn a_witness_follows_a_rotation_by_its_proof_and_the_old_policy_still_verifies() {
    let mut daybook = Daybook::start();
    assert!(daybook.stop().success());
    let old = first_key(&daybook);
    let mut witness = WitnessProcess::start(std::slice::from_ref(&old));
    let (witness_key, url) = (witness.key(), witness.url().to_owned());
    let policy = daybook.scratch().join("policy");
    let text = format!("log {old}\nwitness w {witness_key} {url}\nquorum w\n");
    fs::write(&policy, &text).expect("writable");
    daybook.set("witness_policy", policy.display());
    daybook.restart();
    until_cosigned(&daybook, witness_key.name());
    assert!(daybook.stop().success());
    // Twice, so that one rotation is followed from the other; nobody tells the witness.
    for _ in 0..2 {
        let (code, _, said) = key(&daybook, &["rotate"]);
        assert_eq!(code, 0, "{said}");
    }
    // It starts under the policy that names the old key.
    daybook.restart();
    until_cosigned(&daybook, witness_key.name());
    let proofs = || {
        let files = fs::read_dir(witness.dir()).expect("readable").flatten();
        files
            .filter(|file| file.path().extension().is_some_and(|end| end == "rotation"))
            .count()
    };
    assert_eq!(proofs(), 2, "kept before anything under the new key was cosigned");
    // It remembers over a kill of its own.
    witness.kill9();
    witness.restart();
    let size = daybook.size();
    assert!(daybook.stop().success());
    daybook.restart();
    assert!(daybook.size() > size);
    until_cosigned(&daybook, witness_key.name());
    assert!(daybook.stop().success());
    let copy = daybook.scratch().join("copy");
    assert_eq!(
        daybook.cli(&["export", "--to", copy.to_str().expect("a path")]).0,
        0
    );
    let settings = VerifySettings {
        trust: Trust {
            policy: Some(domain::tlog_policy::Policy::parse(text.as_bytes()).expect("a policy")),
            ..Trust::default()
        },
        ..VerifySettings::default()
    };
    let source = Directory::open(&copy).expect("a copy");
    let report = verify(&source, &settings, &mut |_| {}).expect("a verdict");
    assert!(matches!(report.verdict, Verdict::Verified { .. }), "{report}");
}

fn copy_dir(from: &Path, to: &Path) {
    let copied = Command::new("cp")
        .arg("-a")
        .arg(from)
        .arg(to)
        .status()
        .expect("cp runs");
    assert!(copied.success());
}
