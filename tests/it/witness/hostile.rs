//! A real witness over real HTTP, and everything that a stranger, a lying log or a power cut may do to it.

use domain::Hash;
use domain::TreeSize;
use domain::checkpoint::SignedCheckpoint;
use domain::hash::sha256;
use domain::note::{Note, SigningKey, parse_signatures};
use std::io::{Read, Write};
use std::net::TcpStream;
use std::os::unix::fs::PermissionsExt;
use std::sync::Barrier;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};
use tests::dice::Dice;
use tests::witness::{NumberLog, WitnessProcess, offer};

const ORIGIN: &str = "log.example/main";

fn followed(log: &NumberLog) -> WitnessProcess {
    WitnessProcess::start(&[log.key.verifier_key().to_string()])
}

fn bytes(log: &NumberLog, old: u64, new: u64) -> Vec<u8> {
    log.body(old, new).encode().into_bytes()
}

#[test]
fn a_log_that_only_grows_is_cosigned_and_monitored() {
    let log = NumberLog::new(ORIGIN, 0, 600);
    let mut witness = followed(&log);
    let key = witness.key();
    assert_eq!(key.name(), "witness.example/w1");
    let path = format!("/{}/checkpoint", sha256(ORIGIN.as_bytes()).to_hex());
    assert_eq!(witness.get(&path).status, 404);
    for (old, new) in [(0, 1), (1, 256), (256, 256), (256, 599)] {
        let answer = witness.offer(&bytes(&log, old, new));
        assert_eq!(answer.status, 200, "{answer:?}");
        let mut note = log.body(old, new).checkpoint.note().clone();
        for line in parse_signatures(&answer.body).expect("lines") {
            note.add(line).expect("room");
        }
        let verified = note.verify([&key]).expect("it holds");
        assert!(verified[0].timestamp_s.is_some_and(|at| at > 1_700_000_000));
        let monitored = Note::parse(witness.get(&path).body.as_bytes()).expect("a note");
        assert_eq!(monitored.text(), note.text());
        let keys = [key.clone(), log.key.verifier_key()];
        assert_eq!(monitored.verify(&keys).expect("both hold").len(), 2);
    }
    assert_eq!(witness.get("/healthz").body, "ok\n");
    assert!(witness.get("/").body.contains(&format!("599 {ORIGIN}")));
    let mode = std::fs::metadata(witness.dir().join("witness-key")).expect("there");
    assert_eq!(mode.permissions().mode() & 0o777, 0o600);
}

#[test]
fn whatever_is_wrong_has_its_status_and_leaves_no_trace() {
    let log = NumberLog::new(ORIGIN, 0, 600);
    let fork = NumberLog::new(ORIGIN, 1, 600);
    let witness = followed(&log);
    assert_eq!(witness.offer(&bytes(&log, 0, 300)).status, 200);
    let text = |old, new| log.body(old, new).encode();
    let wrong_key = {
        let mut body = log.body(300, 400);
        let other = SigningKey::from_seed(ORIGIN, &[9; 32]).expect("a name");
        let says = body.checkpoint.checkpoint().clone();
        body.checkpoint = SignedCheckpoint::sign(says, &[&other]).expect("valid");
        body.encode()
    };
    let forged = {
        let mut body = log.body(300, 400);
        body.hashes[2] = Hash([7; 32]);
        body.encode()
    };
    let long = {
        let mut body = log.body(300, 400);
        body.hashes.push(Hash([7; 32]));
        body.encode()
    };
    let many = text(300, 400).replacen(
        '\n',
        &format!("\n{}", format!("{}=\n", "A".repeat(43)).repeat(64)),
        1,
    );
    let ahead = text(300, 400).replacen("old 300", "old 401", 1);
    for (what, body, status) in [
        ("nothing", Vec::new(), 400),
        ("garbage", b"\xff\xfe\x00garbage".to_vec(), 400),
        (
            "a checkpoint alone",
            log.body(0, 5).checkpoint.encode().into_bytes(),
            400,
        ),
        ("64 hashes", many.into_bytes(), 400),
        ("an old size ahead of its checkpoint", ahead.into_bytes(), 400),
        (
            "another log",
            text(300, 400).replace(ORIGIN, "log.example/b").into_bytes(),
            404,
        ),
        ("another key", wrong_key.into_bytes(), 403),
        (
            "a changed root",
            text(300, 400).replacen("\n400\n", "\n401\n", 1).into_bytes(),
            403,
        ),
        ("a forged proof", forged.into_bytes(), 422),
        ("a proof too long", long.into_bytes(), 422),
        ("another history", bytes(&fork, 300, 400), 422),
        ("another root of the same size", bytes(&fork, 300, 300), 409),
        ("a beginner", bytes(&log, 0, 400), 409),
        ("a rollback", bytes(&log, 100, 200), 409),
        ("a rollback from here", bytes(&log, 200, 250), 409),
        ("an old size that nobody cosigned", bytes(&log, 350, 400), 409),
        ("a replay of the first", bytes(&log, 0, 300), 409),
        ("oversize", vec![b'a'; 300 << 10], 413),
        ("a replay of the latest", bytes(&log, 300, 300), 200),
    ] {
        let answer = witness.offer(&body);
        assert_eq!(answer.status, status, "{what}: {answer:?}");
        if status == 409 {
            assert_eq!(
                (&*answer.kind, &*answer.body),
                ("text/x.tlog.size", "300\n"),
                "{what}"
            );
        } else {
            assert!(answer.kind.starts_with("text/plain"), "{what}: {answer:?}");
        }
    }
    let kept = std::fs::read_dir(witness.dir().join("conflicts"))
        .expect("kept")
        .count();
    assert_eq!(kept, 1, "two histories that a log signed are kept as proof");
    assert_eq!(witness.get("/add-checkpoint").status, 405);
    assert_eq!(witness.get("/../witness-key").status, 404);
    assert_eq!(witness.get("/lock/checkpoint").status, 404);
    assert_eq!(witness.offer(&bytes(&log, 300, 400)).status, 200);
}

#[test]
fn sockets_that_say_nothing_or_nonsense_hold_nobody_up() {
    let log = NumberLog::new(ORIGIN, 0, 10);
    let witness = followed(&log);
    let address = witness.url().trim_start_matches("http://").to_owned();
    let connect = || TcpStream::connect(&address).expect("it listens");
    let silent: Vec<TcpStream> = (0..100).map(|_| connect()).collect();
    let mut nonsense = connect();
    nonsense
        .write_all(b"\x16\x03\x01\x00\xff nonsense\r\n\r\n")
        .expect("sent");
    let mut endless = connect();
    let _ =
        endless.write_all(b"POST /add-checkpoint HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n");
    // A body without an end is cut off at its limit, with an answer or without.
    let chunk = format!("1000\r\n{}\r\n", "a".repeat(0x1000));
    while endless.write_all(chunk.as_bytes()).is_ok() {}
    let mut headers = connect();
    let _ = headers.write_all(b"GET / HTTP/1.1\r\n");
    while headers
        .write_all(&[b"X: ".as_slice(), &[b'a'; 1000], b"\r\n"].concat())
        .is_ok()
    {}
    let answer = witness.offer(&bytes(&log, 0, 10));
    assert_eq!(answer.status, 200, "{answer:?}");
    let began = Instant::now();
    for mut socket in silent {
        socket
            .set_read_timeout(Some(Duration::from_secs(50)))
            .expect("set");
        let mut rest = Vec::new();
        let _ = socket.read_to_end(&mut rest);
    }
    assert!(
        began.elapsed() < Duration::from_secs(45),
        "who says nothing is let go"
    );
}

#[test]
fn of_many_at_once_exactly_one_wins_each_round() {
    let log = NumberLog::new(ORIGIN, 0, 2000);
    let witness = followed(&log);
    let mut known = 0;
    for _ in 0..20 {
        let bodies: Vec<(u64, Vec<u8>)> = (1..=8)
            .map(|ahead| (known + ahead, bytes(&log, known, known + ahead)))
            .collect();
        let start = Barrier::new(bodies.len());
        let answers: Vec<(u64, u16)> = std::thread::scope(|scope| {
            let (witness, start) = (&witness, &start);
            let threads: Vec<_> = bodies
                .iter()
                .map(|(size, body)| {
                    scope.spawn(move || {
                        start.wait();
                        (*size, witness.offer(body).status)
                    })
                })
                .collect();
            threads
                .into_iter()
                .map(|thread| thread.join().expect("no panic"))
                .collect()
        });
        let won: Vec<u64> = answers
            .iter()
            .filter(|(_, status)| *status == 200)
            .map(|(size, _)| *size)
            .collect();
        assert_eq!(won.len(), 1, "{answers:?}");
        assert!(answers.iter().all(|(_, status)| matches!(status, 200 | 409)));
        known = won[0];
    }
}

#[test]
fn kill_9_at_any_instant_never_takes_a_cosignature_back() {
    let log = NumberLog::new(ORIGIN, 0, 40_000);
    let fork = NumberLog::new(ORIGIN, 1, 40_000);
    let mut witness = followed(&log);
    let mut dice = Dice::from_environment(20_261_127);
    let (mut known, mut unheard) = (0, 0);
    for round in 0..12 {
        let (url, acknowledged, sent) = (
            witness.url().to_owned(),
            AtomicU64::new(known),
            AtomicU64::new(known),
        );
        std::thread::scope(|scope| {
            scope.spawn(|| {
                let agent = ureq::Agent::config_builder()
                    .http_status_as_error(false)
                    .build()
                    .new_agent();
                let mut size = known;
                loop {
                    let body = bytes(&log, size, size + 1);
                    sent.store(size + 1, Ordering::SeqCst);
                    match offer(&agent, &url, &body) {
                        Ok(answer) => assert_eq!(answer.status, 200, "{answer:?}"),
                        Err(_) => return,
                    }
                    size += 1;
                    acknowledged.store(size, Ordering::SeqCst);
                }
            });
            while acknowledged.load(Ordering::SeqCst) < known + 3 {
                std::thread::yield_now();
            }
            // The only sleep here is the instant of the kill itself.
            std::thread::sleep(Duration::from_micros(dice.below(5_000)));
            witness.kill9();
        });
        witness.restart();
        let told = witness.offer(&bytes(&log, 0, 1));
        assert_eq!(told.status, 409, "{told:?}");
        let size: u64 = told.body.trim().parse().expect("a size");
        let (least, most) = (acknowledged.load(Ordering::SeqCst), sent.load(Ordering::SeqCst));
        assert!(
            (least..=most).contains(&size),
            "round {round}: {size} of {least} to {most}"
        );
        unheard += size - least;
        let forked = witness.offer(&bytes(&fork, size, size));
        assert_eq!((forked.status, forked.body), (409, format!("{size}\n")));
        known = size;
    }
    eprintln!("{unheard} checkpoints were kept whose cosignature nobody heard");
}

#[test]
fn one_process_a_directory_one_key_a_name_and_no_start_without_a_log() {
    let log = NumberLog::new(ORIGIN, 0, 10);
    let mut witness = followed(&log);
    let run = |witness: &WitnessProcess, args: &[&str]| {
        let mut command = witness.command();
        let output = command.args(args).output().expect("it runs");
        (
            output.status.code(),
            String::from_utf8_lossy(&output.stderr).into_owned(),
        )
    };
    let (code, said) = run(&witness, &[]);
    assert_eq!(code, Some(1));
    assert!(said.contains("another witness runs"), "{said}");
    let key = witness.key();
    assert_eq!(witness.offer(&bytes(&log, 0, 10)).status, 200);
    witness.kill9();
    let path = witness.dir().join("witness-key");
    let mode = |mode| std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).expect("set");
    mode(0o644);
    let (code, said) = run(&witness, &[]);
    assert!(code == Some(1) && said.contains("chmod 0600"), "{said}");
    mode(0o600);
    let secret = std::fs::read(&path).expect("there");
    std::fs::remove_file(&path).expect("removed");
    let (code, said) = run(&witness, &[]);
    assert!(
        code == Some(1) && said.contains("witness-key is missing"),
        "{said}"
    );
    std::fs::write(&path, &secret).expect("written");
    mode(0o600);
    for file in std::fs::read_dir(witness.dir()).expect("readable").flatten() {
        if file.path().extension().is_some_and(|e| e == "checkpoint") {
            let mut kept = std::fs::read(file.path()).expect("there");
            kept[ORIGIN.len() + 1] ^= 1;
            std::fs::write(file.path(), &kept).expect("written");
            let (code, said) = run(&witness, &[]);
            assert!(code == Some(1) && said.contains("damaged"), "{said}");
            kept[ORIGIN.len() + 1] ^= 1;
            std::fs::write(file.path(), &kept).expect("written");
        }
    }
    witness.restart();
    assert_eq!(witness.key(), key);
    let told = witness.offer(&bytes(&log, 0, 5));
    assert_eq!((told.status, &*told.body), (409, "10\n"));
    assert_eq!(TreeSize(10), log.body(0, 10).checkpoint.checkpoint().size());
}
