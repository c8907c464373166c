//! Time stamps over a day's head: a real authority made of `openssl ts`, and a calendar, both on loopback; both out of
//! order at first.

use crate::service::Service;
use api::data_source::DataSource;
use chain_publisher::VerifySettings;
use chain_publisher::anchor::AnchorKind;
use chain_publisher::anchor::authority::certificates;
use chain_publisher::kept_heads::{HeadFile, verify_heads};
use chain_publisher::source::LogSource;
use domain::Date;
use domain::tlog_proof::TlogProof;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpListener;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};
use tests::PATIENCE;
use tests::publisher::{ORIGIN, Publisher};

/// What `ots` is installed from, where it can be.
const OTS_CLIENT: &str = "opentimestamps-client==0.7.2";

/// Answers each POST with what `answer` makes of its path and body, and 503 while it is out of order.
fn server(answer: impl Fn(&str, &[u8]) -> Vec<u8> + Send + 'static) -> (String, Arc<AtomicBool>) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let url = format!("http://{}", listener.local_addr().expect("an address"));
    let broken = Arc::new(AtomicBool::new(true));
    let is_broken = broken.clone();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.expect("a connection");
            let mut reader = BufReader::new(stream.try_clone().expect("cloned"));
            let (mut length, mut path) = (0, String::new());
            loop {
                let mut line = String::new();
                reader.read_line(&mut line).expect("a line");
                if let Some(rest) = line.strip_prefix("POST ") {
                    path = rest.split(' ').next().unwrap_or_default().to_owned();
                }
                if let Some((name, value)) = line.trim().split_once(": ")
                    && name.eq_ignore_ascii_case("content-length")
                {
                    length = value.parse().expect("a length");
                }
                if line.trim().is_empty() {
                    break;
                }
            }
            let mut body = vec![0; length];
            reader.read_exact(&mut body).expect("a body");
            let (status, body) = if is_broken.load(Ordering::SeqCst) {
                ("503 Busy", Vec::new())
            } else {
                ("200 OK", answer(&path, &body))
            };
            let head = format!(
                "HTTP/1.1 {status}\r\ncontent-length: {}\r\nconnection: close\r\n\r\n",
                body.len()
            );
            // The asker may have gone.
            let _ = stream.write_all(&[head.as_bytes(), &body].concat());
        }
    });
    (url, broken)
}

fn run(dir: &Path, program: &str, args: &[&str]) -> (bool, String) {
    let output = Command::new(program)
        .args(args)
        .current_dir(dir)
        .stdin(Stdio::null())
        .output()
        .unwrap_or_else(|error| panic!("{program}: {error}"));
    let said = [&output.stdout[..], &output.stderr[..]].concat();
    (
        output.status.success(),
        String::from_utf8_lossy(&said).into_owned(),
    )
}

/// A certificate authority, and an authority of time stamps that it vouches for.
fn make_authority(dir: &Path) {
    let config = "[tsa]\nserial = serial\nsigner_cert = tsa.pem\nsigner_key = tsa.key\nsigner_digest = sha256\n\
        default_policy = 1.2.3.4.1\ndigests = sha256\naccuracy = secs:1\ness_cert_id_alg = sha256\n\
        [usage]\nextendedKeyUsage = critical,timeStamping\n[req]\ndistinguished_name = name\n[name]\n";
    std::fs::write(dir.join("tsa.cnf"), config).expect("written");
    std::fs::write(dir.join("serial"), "01\n").expect("written");
    for args in [
        "req -x509 -newkey rsa:2048 -nodes -keyout ca.key -out ca.pem -days 36500 -subj /CN=ca",
        "req -config tsa.cnf -newkey rsa:2048 -nodes -keyout tsa.key -out tsa.csr -subj /CN=tsa",
        "x509 -req -in tsa.csr -CA ca.pem -CAkey ca.key -CAcreateserial -days 36500 -extfile tsa.cnf -extensions usage -out tsa.pem",
    ] {
        let args: Vec<&str> = args.split(' ').collect();
        let (done, said) = run(dir, "openssl", &args);
        assert!(done, "{said}");
    }
}

/// A calendar's promise for any digest: append, hash, pending at an address.
fn promise() -> Vec<u8> {
    let uri = b"https://calendar.example";
    let payload = [&[uri.len() as u8][..], uri].concat();
    let pending = [0x83, 0xdf, 0xe3, 0x0d, 0x2e, 0xf9, 0x0c, 0x8e];
    [
        &[0xf0, 2, 1, 2, 0x08, 0x00][..],
        &pending,
        &[payload.len() as u8],
        &payload,
    ]
    .concat()
}

fn until(service: &Service, path: &str) -> Vec<u8> {
    let began = Instant::now();
    while began.elapsed() < PATIENCE {
        let (status, body) = service.get(path);
        if status == 200 {
            return body;
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    panic!("{path} never came");
}

/// The ledger's bytes hold these words.
fn recorded(service: &Service, words: &str) -> bool {
    let segments = std::fs::read_dir(service.scratch().join("data/ledger/segments")).expect("segments");
    let mut bytes = segments
        .flatten()
        .map(|file| std::fs::read(file.path()).expect("readable"));
    bytes.any(|bytes| bytes.windows(words.len()).any(|part| part == words.as_bytes()))
}

fn until_recorded(service: &Service, words: &str) {
    let began = Instant::now();
    while !recorded(service, words) {
        assert!(began.elapsed() < PATIENCE, "{words} never came");
        std::thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn a_head_is_time_stamped_when_the_authority_and_the_calendars_are_back() {
    let tools = tempfile::tempdir().expect("a directory");
    let dir = tools.path().to_owned();
    make_authority(&dir);
    let (tsa, tsa_broken) = server(move |_, query| {
        std::fs::write(dir.join("q.tsq"), query).expect("written");
        let (done, said) = run(
            &dir,
            "openssl",
            &[
                "ts",
                "-reply",
                "-config",
                "tsa.cnf",
                "-section",
                "tsa",
                "-queryfile",
                "q.tsq",
                "-out",
                "q.tsr",
            ],
        );
        assert!(done, "{said}");
        std::fs::read(dir.join("q.tsr")).expect("answered")
    });
    let (calendar, calendar_broken) = server(|path, digest| {
        assert_eq!((path, digest.len()), ("/digest", 32));
        promise()
    });
    let service = Service::start_with("2026-05-17T12:00:00Z", |settings| {
        settings.tsa_url = Some(tsa);
        settings.ots_calendars = vec![calendar.clone(), format!("{calendar}/")];
        settings.publish_retry_s = 1;
    });
    service.clock.pass(43_210);
    until_recorded(&service, "\"HeadNotAnchored\"");
    // Nothing else waits for them.
    assert_eq!(service.site("while they are away").0, 201);
    tsa_broken.store(false, Ordering::SeqCst);
    calendar_broken.store(false, Ordering::SeqCst);
    let tsr = until(&service, "/heads/2026/2026-05-17.tsr");
    let ots = until(&service, "/heads/2026/2026-05-17.ots");
    until_recorded(&service, "\"HeadAnchored\"");
    assert!(!recorded(&service, "127.0.0.1:"), "no address stands in an entry");
    let (_, head) = service.get("/heads/2026/2026-05-17.tlog-proof");
    let hash = TlogProof::parse(&head).expect("a head").checkpoint.body_sha256();
    std::fs::write(tools.path().join("head.tsr"), &tsr).expect("written");
    let verify = [
        "ts",
        "-verify",
        "-digest",
        &hash.to_hex(),
        "-in",
        "head.tsr",
        "-CAfile",
        "ca.pem",
    ];
    let (holds, said) = run(tools.path(), "openssl", &verify);
    assert!(holds && said.contains("Verification: OK"), "{said}");
    what_an_auditor_is_told(&head, &tsr, &ots);
    what_an_auditor_of_the_authority_is_told(tools.path(), &head, &tsr);
    by_the_client(tools.path(), &ots, &hash.to_hex());
}

#[test]
fn where_another_process_signs_time_stamps_lie_with_the_service_and_go_out_with_the_heads() {
    let (calendar, broken) = server(|_, _| promise());
    broken.store(false, Ordering::SeqCst);
    let dir = tempfile::tempdir().expect("a directory");
    let (mut publisher, _) = Publisher::new(dir.path());
    publisher.start();
    let service =
        Service::signed_elsewhere_with(dir, "2026-05-17T12:00:00Z", "publisher", ORIGIN, |settings| {
            settings.ots_calendars = vec![calendar.clone()]
        });
    service.clock.pass(43_210);
    let stamp = until(&service, "/heads/2026/2026-05-17.ots");
    until_recorded(&service, "\"HeadAnchored\"");
    let there = |path: &str| std::fs::read(service.scratch().join(path)).ok();
    assert_eq!(there("data/stamps/2026/2026-05-17.ots").as_ref(), Some(&stamp));
    assert_eq!(
        there("publisher/heads/2026/2026-05-17.ots"),
        None,
        "that is not ours to write"
    );
    // It goes out with the next head at the latest, and whoever reads the directory alone finds it.
    service.clock.pass(86_400);
    until(&service, "/heads/2026/2026-05-18.tlog-proof");
    let began = Instant::now();
    while there("static/heads/2026/2026-05-18.tlog-proof").is_none() {
        assert!(began.elapsed() < PATIENCE, "the second day is not out");
        std::thread::sleep(Duration::from_millis(20));
    }
    assert_eq!(there("static/heads/2026/2026-05-17.ots").as_ref(), Some(&stamp));
    let opened = DataSource::open(&service.scratch().join("data")).expect("opened");
    let date = Date::parse("2026-05-17").expect("a day");
    let found = opened.source().stamp(date, AnchorKind::OpenTimestamps);
    assert_eq!(found.expect("readable"), Some(stamp));
}

fn what_an_auditor_is_told(head: &[u8], tsr: &[u8], ots: &[u8]) {
    let report = |stamps: Vec<(AnchorKind, Vec<u8>)>| {
        let file = HeadFile {
            name: "2026-05-17.tlog-proof".to_owned(),
            bytes: head.to_vec(),
            stamps,
        };
        verify_heads(&[file], &VerifySettings::default(), None).expect("a verdict")
    };
    let told = report(vec![
        (AnchorKind::Rfc3161, tsr.to_vec()),
        (AnchorKind::OpenTimestamps, ots.to_vec()),
    ]);
    let text = told.to_string();
    assert_eq!(told.exit_code, 3, "{text}");
    assert!(text.contains("states that this head was there at 20"), "{text}");
    assert!(text.contains("leads to 2 calendars"), "{text}");
    assert!(text.contains("openssl ts -verify"), "{text}");
    let at = ots
        .windows(4)
        .position(|part| part == b"Proo")
        .expect("the magic")
        + 24;
    let mut other = ots.to_vec();
    other[at] ^= 1;
    for (kind, bytes) in [
        (AnchorKind::OpenTimestamps, other),
        (AnchorKind::Rfc3161, b"rubbish".to_vec()),
    ] {
        let report = report(vec![(kind, bytes)]);
        assert_eq!(report.exit_code, 1, "{report}");
    }
}

/// The same head and stamp by who names the authority: signed by it, by another, and with a byte changed.
fn what_an_auditor_of_the_authority_is_told(dir: &Path, head: &[u8], tsr: &[u8]) {
    let other = dir.join("other");
    std::fs::create_dir(&other).expect("made");
    make_authority(&other);
    let judged = |tsr: &[u8], authorities: &[&Path]| {
        let file = HeadFile {
            name: "2026-05-17.tlog-proof".to_owned(),
            bytes: head.to_vec(),
            stamps: vec![(AnchorKind::Rfc3161, tsr.to_vec())],
        };
        let read = |path: &&Path| {
            let bytes = std::fs::read(path).expect("readable");
            certificates(&bytes).expect("certificates")
        };
        let settings = VerifySettings {
            authorities: authorities.iter().flat_map(read).collect(),
            ..VerifySettings::default()
        };
        let report = verify_heads(&[file], &settings, None).expect("a verdict");
        (report.exit_code, report.to_string())
    };
    let (ca, tsa, theirs) = (dir.join("ca.pem"), dir.join("tsa.pem"), other.join("ca.pem"));
    for given in [&[&*ca][..], &[&*tsa], &[&*theirs, &*ca]] {
        let (code, said) = judged(tsr, given);
        assert!(
            code == 3 && said.contains("signed by an authority that was given"),
            "{given:?}: {said}"
        );
        assert!(
            said.contains("was revoked") && !said.contains("openssl ts"),
            "{said}"
        );
    }
    let (code, said) = judged(tsr, &[&theirs]);
    assert!(
        code == 1 && said.contains("not by an authority that was given"),
        "{said}"
    );
    // The last bytes are the signature's; a byte of the serial number is of what is signed.
    let mut flipped = tsr.to_vec();
    *flipped.last_mut().expect("bytes") ^= 1;
    let (code, said) = judged(&flipped, &[&ca]);
    assert!(code == 1 && said.contains("signature does not hold"), "{said}");
    let accuracy = tsr
        .windows(5)
        .rposition(|part| part == [0x30, 3, 2, 1, 1])
        .expect("an accuracy of a second");
    let mut restated = tsr.to_vec();
    restated[accuracy + 4] = 2;
    let (code, said) = judged(&restated, &[&ca]);
    assert!(
        code == 1 && said.contains("not what its authority signed"),
        "{said}"
    );
    // As it is typed.
    for (name, bytes) in [("2026-05-17.tlog-proof", head), ("2026-05-17.tsr", tsr)] {
        std::fs::write(dir.join(name), bytes).expect("written");
    }
    let program = tests::daybook::verifier().to_str().expect("a path of ours");
    let typed = |ca: &str| run(dir, program, &["head", "2026-05-17.tlog-proof", "--tsa", ca]);
    assert!(
        typed("ca.pem")
            .1
            .contains("signed by an authority that was given")
    );
    assert!(typed("other/ca.pem").1.starts_with("TAMPERED"));
    assert!(typed("tsa.key").1.contains("it is no certificate"));
}

/// The file is one that the `ots` client reads, where that can be had.
fn by_the_client(dir: &Path, ots: &[u8], hash: &str) {
    let (made, _) = run(dir, "python3", &["-m", "venv", "venv"]);
    let installed = made && run(dir, "venv/bin/pip", &["--quiet", "install", OTS_CLIENT]).0;
    if !installed {
        assert!(
            std::env::var_os("CI").is_none(),
            "{OTS_CLIENT} cannot be installed"
        );
        eprintln!("SKIPPED: {OTS_CLIENT} cannot be installed here");
        return;
    }
    std::fs::write(dir.join("head.ots"), ots).expect("written");
    let (read, said) = run(dir, "venv/bin/ots", &["info", "head.ots"]);
    assert!(read, "{said}");
    assert!(said.contains(hash), "{said}");
    assert_eq!(
        said.matches("PendingAttestation('https://calendar.example')")
            .count(),
        2,
        "{said}"
    );
}
