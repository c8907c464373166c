//! The client against witnesses written here from the specification, honest ones and those that lie.

use super::*;
use domain::checkpoint::Checkpoint;
use domain::cosignature::CosigningKey;
use domain::hash::leaf_hash;
use domain::memory::MemoryLog;
use domain::note::{NoteSignature, SigningKey};
use domain::proof::verify_consistency;
use domain::{Hash, TreeSize};
use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};

const ORIGIN: &str = "log.example/main";
const NAME: &str = "witness.example/w1";

/// A log in memory.
struct TestLog {
    memory: MemoryLog,
    key: SigningKey,
}

impl TestLog {
    fn new() -> Self {
        Self {
            memory: MemoryLog::new(),
            key: SigningKey::from_seed(ORIGIN, &[1; 32]).expect("a name"),
        }
    }

    fn grow(&self, count: u64) -> SignedCheckpoint {
        let entries: Vec<Vec<u8>> = (0..count).map(|n| n.to_be_bytes().to_vec()).collect();
        let size = self.memory.push_entries(entries.iter().map(Vec::as_slice));
        let checkpoint = Checkpoint::new(ORIGIN, size, self.memory.root()).expect("valid");
        SignedCheckpoint::sign(checkpoint, &[&self.key]).expect("valid")
    }
}

/// One request's body, and the answer to it: status line, content type, body.
type Answer = (u16, &'static str, Vec<u8>);

/// A server on a free port that answers each POST as `answer` says; `endless` bodies never end.
fn serve(answer: impl Fn(&str, &str) -> Answer + Send + Sync + 'static) -> String {
    serve_some(usize::MAX, answer)
}

/// The same, and a connection is closed without an answer after so many.
fn serve_some(some: usize, answer: impl Fn(&str, &str) -> Answer + Send + Sync + 'static) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let url = format!("http://{}/prefix", listener.local_addr().expect("its address"));
    let answer = Arc::new(answer);
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let answer = Arc::clone(&answer);
            std::thread::spawn(move || one(stream, some, &*answer));
        }
    });
    url
}

fn one(stream: TcpStream, some: usize, answer: &(dyn Fn(&str, &str) -> Answer + Send + Sync)) {
    let mut reader = BufReader::new(stream.try_clone().expect("a socket"));
    let mut stream = stream;
    for nth in 0.. {
        let (mut first, mut length) = (String::new(), 0usize);
        if reader.read_line(&mut first).unwrap_or(0) == 0 {
            return;
        }
        loop {
            let mut line = String::new();
            if reader.read_line(&mut line).unwrap_or(0) == 0 {
                return;
            }
            if let Some(value) = line.to_lowercase().strip_prefix("content-length:") {
                length = value.trim().parse().expect("a length");
            }
            if line.trim().is_empty() {
                break;
            }
        }
        let mut body = vec![0; length];
        reader.read_exact(&mut body).expect("a body");
        if nth >= some {
            return;
        }
        let (status, kind, bytes) = answer(first.trim(), &String::from_utf8(body).expect("text"));
        if bytes == b"endless" {
            let _ = stream.write_all(b"HTTP/1.1 200 OK\r\n\r\n");
            while stream.write_all(&[b'a'; 4096]).is_ok() {}
            return;
        }
        if bytes == b"trickle" {
            let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n");
            while stream.write_all(b"a").is_ok() {
                std::thread::sleep(Duration::from_millis(50));
            }
            return;
        }
        let head = format!(
            "HTTP/1.1 {status} X\r\nContent-Type: {kind}\r\nContent-Length: {}\r\n\r\n",
            bytes.len()
        );
        if stream.write_all(head.as_bytes()).is_err() || stream.write_all(&bytes).is_err() {
            return;
        }
    }
}

fn witness_key(seed: u8) -> CosigningKey {
    CosigningKey::from_seed(NAME, &[seed; 32]).expect("a name")
}

fn cosign(text: &str, key: &CosigningKey, at: u64) -> String {
    NoteSignature::sign(text, &key.at(at))
        .expect("a line")
        .to_string()
}

/// A witness by the words of tlog-witness: split by hand, nothing of the server's code.
fn honest(state: Arc<Mutex<(u64, Hash)>>) -> impl Fn(&str, &str) -> Answer + Send + Sync {
    move |request, body| {
        assert!(request.starts_with("POST /prefix/add-checkpoint "), "{request}");
        let (head, note) = body.split_once("\n\n").expect("a blank line");
        let mut head = head.lines();
        let old: u64 = head
            .next()
            .and_then(|line| line.strip_prefix("old "))
            .and_then(|n| n.parse().ok())
            .expect("an old size");
        let proof: Vec<Hash> = head
            .map(|line| Hash::from_base64(line).expect("a hash"))
            .collect();
        let (text, _) = note.split_once("\n\n").expect("a note");
        let text = format!("{text}\n");
        let lines: Vec<&str> = text.lines().collect();
        let size: u64 = lines[1].parse().expect("a size");
        let root = Hash::from_base64(lines[2]).expect("a root");
        let mut state = state.lock().expect("not poisoned");
        if old != state.0 {
            let known = format!("{}\n", state.0).into_bytes();
            return (409, "text/x.tlog.size", known);
        }
        if verify_consistency(TreeSize(old), &state.1, TreeSize(size), &root, &proof).is_err() {
            return (422, "text/plain", b"no".to_vec());
        }
        *state = (size, root);
        let stranger = CosigningKey::from_seed("other.example/w", &[9; 32]).expect("a name");
        let lines = cosign(&text, &stranger, 5) + &cosign(&text, &witness_key(2), 1_800_000_000);
        (200, "text/plain", lines.into_bytes())
    }
}

fn client(url: &str) -> WitnessClient {
    WitnessClient::new("w1", witness_key(2).verifier_key(), url)
        .expect("a URL")
        .within(Duration::from_secs(5))
}

fn holds(checkpoint: &SignedCheckpoint, line: NoteSignature) -> bool {
    let mut note = checkpoint.note().clone();
    note.add(line).expect("room");
    note.verify([&witness_key(2).verifier_key()]).is_ok()
}

#[test]
fn an_honest_witness_cosigns_whatever_it_saw_before() {
    let log = TestLog::new();
    let state = Arc::new(Mutex::new((0, Hash::empty_root())));
    let url = serve(honest(state.clone()));
    let mut client = client(&url);
    for count in [1, 5, 300, 0, 1] {
        let checkpoint = log.grow(count);
        let line = client.offer(&log.memory, &checkpoint).expect("cosigned");
        assert!(holds(&checkpoint, line));
        assert_eq!(client.known(), Some(checkpoint.checkpoint().size()));
    }
    // A client that forgot everything learns the size from 409.
    let checkpoint = log.grow(7);
    let line = self::client(&url)
        .offer(&log.memory, &checkpoint)
        .expect("cosigned");
    assert!(holds(&checkpoint, line));
    // And the first one learns that somebody else was there.
    let checkpoint = log.grow(7);
    assert!(client.offer(&log.memory, &checkpoint).is_ok());
}

#[test]
fn a_connection_that_was_closed_meanwhile_costs_nothing() {
    let log = TestLog::new();
    let url = serve_some(1, honest(Arc::new(Mutex::new((0, Hash::empty_root())))));
    let mut client = client(&url);
    for count in [3, 4, 5] {
        let checkpoint = log.grow(count);
        assert!(client.offer(&log.memory, &checkpoint).is_ok());
    }
}

#[test]
fn a_witness_that_is_ahead_or_on_another_history_is_told_apart() {
    let log = TestLog::new();
    let small = log.grow(3);
    let state = Arc::new(Mutex::new((0, Hash::empty_root())));
    let url = serve(honest(state.clone()));
    client(&url).offer(&log.memory, &log.grow(5)).expect("cosigned");
    assert_eq!(
        client(&url).offer(&log.memory, &small),
        Err(OfferError::Ahead {
            known: TreeSize(8),
            offered: TreeSize(3)
        })
    );
    let other = TestLog::new();
    other.memory.push_entries([&b"another history"[..]]);
    let forked = client(&url).offer(&other.memory, &other.grow(9));
    assert!(
        matches!(forked, Err(OfferError::Refused { status: 422, .. })),
        "{forked:?}"
    );
    state.lock().expect("not poisoned").1 = leaf_hash(b"x");
    let same_size = SignedCheckpoint::sign(
        Checkpoint::new(ORIGIN, TreeSize(8), other.memory.root()).expect("valid"),
        &[&log.key],
    )
    .expect("valid");
    assert!(client(&url).offer(&log.memory, &same_size).is_err());
}

#[test]
fn a_lying_witness_gives_nothing_that_counts() {
    let log = TestLog::new();
    let checkpoint = log.grow(9);
    let text = checkpoint.note().text().to_owned();
    let line = |key: u8, at: u64| cosign(&text, &witness_key(key), at).into_bytes();
    let another = cosign(
        "log.example/main\n8\nAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=\n",
        &witness_key(2),
        5,
    );
    let forged = {
        // Our witness's key id before the signature of another key.
        let own = parse_signatures(std::str::from_utf8(&line(2, 5)).expect("text")).expect("a line");
        struct Forged(NoteSignature);
        impl domain::note::Signer for Forged {
            fn name(&self) -> &str {
                NAME
            }
            fn key_id(&self) -> domain::note::KeyId {
                self.0.key_id()
            }
            fn sign(&self, _: &[u8]) -> Vec<u8> {
                let mut turned = self.0.signature().to_vec();
                turned[30] ^= 1;
                turned
            }
        }
        NoteSignature::sign(&text, &Forged(own[0].clone()))
            .expect("a line")
            .to_string()
    };
    let both = [line(2, 5), forged.clone().into_bytes()].concat();
    let ok = |body: Vec<u8>| (200, "text/plain", body);
    let cases: Vec<(&str, Answer)> = vec![
        ("another checkpoint's cosignature", ok(another.into_bytes())),
        ("a turned bit", ok(forged.into_bytes())),
        ("a good line and a bad one", ok(both)),
        ("another key of its name", ok(line(3, 5))),
        ("a time of zero", ok(line(2, 0))),
        ("nothing", ok(Vec::new())),
        ("rubbish", ok(b"<html>hello</html>".to_vec())),
        ("no UTF-8", ok(vec![0xff; 100])),
        ("a note instead of lines", ok(checkpoint.encode().into_bytes())),
        ("an endless body", ok(b"endless".to_vec())),
        ("a body that trickles", ok(b"trickle".to_vec())),
        ("409 without its type", (409, "text/plain", b"3\n".to_vec())),
        (
            "409 without a size",
            (409, "text/x.tlog.size", b"three\n".to_vec()),
        ),
        (
            "409 with another spelling",
            (409, "text/x.tlog.size", b"03\n".to_vec()),
        ),
        (
            "409 beyond every size",
            (409, "text/x.tlog.size", b"99999999999999999999\n".to_vec()),
        ),
        ("409 for ever", (409, "text/x.tlog.size", b"3\n".to_vec())),
        ("409 ahead", (409, "text/x.tlog.size", b"10\n".to_vec())),
        (
            "409 with what was offered",
            (409, "text/x.tlog.size", b"0\n".to_vec()),
        ),
        ("a redirect", (302, "text/plain", Vec::new())),
        ("an error", (500, "text/plain", b"\x1b[31mred\nsecond".to_vec())),
    ];
    let state: Arc<Mutex<Answer>> = Arc::new(Mutex::new(ok(Vec::new())));
    let answer = state.clone();
    let url = serve(move |_, _| answer.lock().expect("not poisoned").clone());
    for (what, case) in cases {
        *state.lock().expect("not poisoned") = case;
        let began = Instant::now();
        let mut client = client(&url).within(Duration::from_secs(1));
        let refused = client.offer(&log.memory, &checkpoint).expect_err(what);
        assert!(
            began.elapsed() < Duration::from_secs(4),
            "{what}: {:?}",
            began.elapsed()
        );
        assert!(!refused.to_string().contains('\x1b'), "{what}");
        assert!(client.known() != Some(TreeSize(9)), "{what}");
    }
}

#[test]
fn one_dead_witness_does_not_hold_up_a_live_one() {
    let log = TestLog::new();
    let (first, second) = (log.grow(3), log.grow(4));
    let live = serve(honest(Arc::new(Mutex::new((0, Hash::empty_root())))));
    let dead = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let silent = format!("http://{}", dead.local_addr().expect("its address"));
    let gone = {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        format!("http://{}", listener.local_addr().expect("its address"))
    };
    let mut clients = [&silent, &live, &gone].map(|url| client(url).within(Duration::from_secs(1)));
    let mut told = Vec::new();
    let began = Instant::now();
    offer_all(
        &mut clients,
        &log.memory,
        &[first, second],
        &|_, _| true,
        &mut |outcome| told.push((outcome, began.elapsed())),
    );
    let of = |witness| told.iter().filter(move |(outcome, _)| outcome.witness == witness);
    assert_eq!(of(1).filter(|(one, _)| one.result.is_ok()).count(), 2);
    for dead in [0, 2] {
        assert_eq!(of(dead).count(), 1, "it is not asked for the second");
        assert!(of(dead).all(|(one, _)| matches!(one.result, Err(OfferError::Unreachable(_)))));
    }
    assert!(
        !clients[0].may_ask() && clients[1].may_ask(),
        "the silent one is let be for a while"
    );
}

#[test]
fn urls_that_could_carry_anything_else_are_refused() {
    let key = witness_key(2).verifier_key();
    for bad in [
        "",
        "witness.example",
        "ftp://a",
        "https://",
        "https://user:word@a",
        "https://a/?x=1",
        "https://a b",
    ] {
        assert!(WitnessClient::new("w", key.clone(), bad).is_err(), "{bad}");
    }
    for good in [
        "https://witness.example",
        "http://10.0.0.5:8421/w/",
        "https://[::1]:8421",
    ] {
        assert!(WitnessClient::new("w", key.clone(), good).is_ok(), "{good}");
    }
}
