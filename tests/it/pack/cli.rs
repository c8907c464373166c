//! `daybook evidence` as it is typed, beside a running service and without one.

use chain_publisher::pack::Subject;
use serde_json::Value;
use std::path::Path;
use std::process::{Command, Stdio};
use tests::daybook::{Daybook, binary};
use tests::pack_ledger::{PackLedger, device};

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
