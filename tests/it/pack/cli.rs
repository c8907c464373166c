//! `daybook evidence` as it is typed, beside a running service and without one.

use chain_publisher::pack::Subject;
use domain::hash::sha256;
use serde_json::{Value, json};
use std::path::Path;
use std::process::{Command, Stdio};
use tests::daybook::{Daybook, binary};
use tests::pack_ledger::{Files, PackLedger, device};

/// The first recipient of age's own documentation.
const RECIPIENT: &str = "age1ql3z7hjy54pw3hyww5ayyfg7zqgvc7w3j2elw8zmrj2kg5sfn9aqmcac8p";

fn text(path: &Path) -> &str {
    path.to_str().expect("a path of ours")
}

/// Runs the binary: exit code, stdout, stderr.
fn daybook(args: &[&str]) -> (i32, String, String) {
    let output = Command::new(binary())
        .args(args)
        .env("DAYBOOK_DATA", "/nowhere")
        .stdin(Stdio::null())
        .output()
        .expect("the binary runs");
    (
        output.status.code().unwrap_or(-1),
        String::from_utf8_lossy(&output.stdout).into_owned(),
        String::from_utf8_lossy(&output.stderr).into_owned(),
    )
}

#[test]
fn each_verdict_ends_with_its_exit_code_and_begins_with_its_word() {
    let ledger = PackLedger::record();
    let dir = tempfile::tempdir().expect("a scratch directory");
    let keep = |name: &str, bytes: &[u8]| {
        let path = dir.path().join(name);
        std::fs::write(&path, bytes).expect("writable");
        text(&path).to_owned()
    };
    let mut files = ledger.files(Subject::Device(device(1)), "2026-05-18", "2026-05-20");
    let good = keep("good.pack.zip", &files.zip());
    let (key, head) = (
        keep("log.vkey", ledger.key.as_bytes()),
        keep("head", &ledger.head("2026-05-21")),
    );
    let (code, out, err) = daybook(&["evidence", "verify", &good, "--key", &key, "--head", &head]);
    assert_eq!((code, out.starts_with("VERIFIED: ")), (0, true), "{out}{err}");
    let (code, out, _) = daybook(&[
        "evidence", "verify", &good, "--key", &key, "--head", &head, "--json",
    ]);
    let report: Value = serde_json::from_str(&out).expect("JSON");
    assert_eq!((code, &report["verdict"]), (0, &Value::from("VERIFIED")));
    assert_eq!(report["query"]["device"], device(1));
    let (code, out, _) = daybook(&["evidence", "verify", &good, "--key", &key]);
    assert_eq!((code, out.starts_with("UNANCHORED: ")), (3, true), "{out}");
    let reading = files.entries_with("ReadingRecorded")[1].0;
    ledger.without(&mut files, &[reading]);
    let less = keep("less.pack.zip", &files.zip());
    let (code, out, _) = daybook(&["evidence", "verify", &less, "--key", &key, "--head", &head]);
    assert_eq!((code, out.starts_with("INCOMPLETE: ")), (4, true), "{out}");
    files.replace("readings.csv", ",1,", ",2,");
    let forged = keep("forged.pack.zip", &files.zip());
    let (code, out, _) = daybook(&["evidence", "verify", &forged, "--key", &key, "--head", &head]);
    assert_eq!((code, out.starts_with("TAMPERED")), (1, true), "{out}");
    let none = keep("none.pack.zip", b"no pack");
    for args in [
        &["evidence", "verify", none.as_str()][..],
        &["evidence", "verify", "/nowhere/at/all"],
        &["evidence", "verify", &good, "--key", "nonsense"],
        &["evidence"],
        &["evidence", "--device", "dev_a", "--from", "2026-05-18"],
        &[
            "evidence",
            "--device",
            "dev_a",
            "--site",
            "b",
            "--from",
            "2026-05-18",
            "--to",
            "2026-05-18",
            "--out",
            "x",
        ],
        &[
            "evidence",
            "--device",
            "dev_a",
            "--from",
            "18 May",
            "--to",
            "2026-05-18",
            "--out",
            "x",
        ],
    ] {
        let (code, _, err) = daybook(args);
        assert_eq!(code, 2, "{args:?}: {err}");
    }
}

#[test]
fn a_pack_is_made_beside_the_service_and_says_which_day_is_not_closed() {
    let service = Daybook::with().set("rate_per_minute", 0).start();
    let (_, id, token) = service.device("fridge");
    for n in 0..20 {
        service.send(&token, "fridge", None, f64::from(n)).expect(200);
    }
    service.until_signed(service.size());
    let key = service
        .cli(&["key", "show"])
        .1
        .lines()
        .next()
        .expect("a key")
        .to_owned();
    let out = service.scratch().join("today.pack.zip");
    let args = [
        "evidence",
        "--device",
        &id,
        "--from",
        "2026-01-01",
        "--to",
        "2999-01-01",
        "--out",
        text(&out),
    ];
    let (code, said, err) = service.cli(&args);
    assert_eq!(code, 0, "{said}{err}");
    assert!(
        err.contains("20 values") && err.contains("is not closed yet"),
        "{err}"
    );
    let (code, said, err) = daybook(&["evidence", "verify", text(&out), "--key", &key]);
    assert_eq!((code, said.starts_with("UNANCHORED")), (3, true), "{said}{err}");
    // What is there is not written over, and what is not there leaves nothing behind.
    let (code, _, err) = service.cli(&args);
    assert_eq!(code, 2, "{err}");
    let other = service.scratch().join("other.pack.zip");
    let nobody = [
        "evidence",
        "--device",
        "dev_a",
        "--from",
        "2026-01-01",
        "--to",
        "2999-01-01",
        "--out",
        text(&other),
    ];
    let (code, _, err) = service.cli(&nobody);
    assert!(code == 2 && err.contains("there is no device dev_a"), "{err}");
    let left = std::fs::read_dir(service.scratch()).expect("readable").flatten();
    assert!(
        !left
            .into_iter()
            .any(|file| file.file_name().to_string_lossy().contains("other.pack"))
    );
}

#[test]
fn a_pack_of_the_command_line_is_recorded_brings_files_along_and_can_be_encrypted() {
    let mut service = Daybook::with().set("rate_per_minute", 0).start();
    let (_, id, token) = service.device("fridge");
    service.send(&token, "fridge", None, 4.0).expect(200);
    let clip = service.scratch().join("clip.mp4");
    std::fs::write(&clip, b"what the camera saw").expect("writable");
    let artefact = service
        .post(
            "/v1/artifacts",
            &json!({"sha256": sha256(b"what the camera saw"), "size": 19, "media_type": "video/mp4",
                "name": "clip.mp4", "device_id": id}),
        )
        .expect(201);
    service.until_signed(service.size());
    let key = service
        .cli(&["key", "show"])
        .1
        .lines()
        .next()
        .expect("a key")
        .to_owned();
    let make = |service: &Daybook, name: &str, more: &[&str]| {
        let out = service.scratch().join(name);
        let mut args = vec![
            "evidence",
            "--device",
            &id,
            "--from",
            "2026-01-01",
            "--to",
            "2999-01-01",
            "--json",
        ];
        args.extend(["--out", text(&out)]);
        args.extend(more);
        let (code, said, err) = service.cli(&args);
        (
            code,
            serde_json::from_str::<Value>(&said).unwrap_or_default(),
            err,
            out,
        )
    };
    let (code, made, err, pack) = make(&service, "a.zip", &["--attach", text(&clip)]);
    assert_eq!((code, &made["artefacts"]), (0, &json!(1)), "{err}");
    let position = made["recorded"]["position"].as_u64().expect("it is recorded");
    let entry = service
        .get("/v1/entries?type=EvidencePackIssued")
        .ndjson()
        .pop()
        .expect("an entry");
    assert_eq!(
        (entry["position"].as_u64(), &entry["payload"]["through"]),
        (Some(position), &json!("command_line"))
    );
    assert_eq!(entry["payload"]["manifest_sha256"], made["manifest_sha256"]);
    let mut files = Files::of(&std::fs::read(&pack).expect("readable"));
    let name = format!("artefacts/{}", artefact["id"].as_str().expect("an id"));
    assert_eq!(files.file(&name), b"what the camera saw");
    let (code, said, _) = daybook(&["evidence", "verify", text(&pack), "--key", &key]);
    assert_eq!((code, said.contains("1 files of artefacts")), (3, true), "{said}");

    // A file that nobody registered is not put in, and nothing is left behind.
    let other = service.scratch().join("other.mp4");
    std::fs::write(&other, b"something else").expect("writable");
    let (code, _, err, out) = make(&service, "b.zip", &["--attach", text(&other)]);
    assert!(code == 2 && err.contains("registers") && !out.exists(), "{err}");

    let (code, made, err, closed) = make(&service, "c.zip.age", &["--recipient", RECIPIENT]);
    assert_eq!(
        (code, made["encrypted"]["recipients"].as_array().map(Vec::len)),
        (0, Some(1)),
        "{err}"
    );
    assert!(err.contains("age --decrypt"), "{err}");
    let (code, _, err) = daybook(&["evidence", "verify", text(&closed), "--key", &key]);
    assert!(
        code == 2 && err.contains("encrypted with age") && err.contains("age --decrypt"),
        "{err}"
    );
    let (code, _, err, _) = make(&service, "d.zip", &["--recipient", "alice@example.org"]);
    assert!(code == 2 && err.contains("no recipient"), "{err}");

    // Without a service nobody may append, and that is said.
    service.stop();
    let (code, made, err, _) = make(&service, "e.zip", &[]);
    assert_eq!((code, &made["recorded"]), (0, &Value::Null));
    assert!(err.contains("is not recorded"), "{err}");
}
