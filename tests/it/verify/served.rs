//! A log over HTTP: with a token, without one, and from servers that misbehave.

use super::{auditor, exported, run};
use chain_publisher::layout::withheld_line;
use chain_publisher::source::SourceError;
use chain_publisher::url::{Url, UrlError};
use chain_publisher::watch::look;
use chain_publisher::{VerifyError, VerifySettings, verify};
use domain::entry::Entry;
use domain::hash::leaf_hash;
use domain::{Position, TreeSize};
use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use tests::small_ledger::{Plan, SmallLedger};

const TOKEN: &str = "ua_live_test_secret";

/// Serves what is in an export, as the service would.
struct Served {
    url: String,
    state: Arc<State>,
}

#[derive(Default)]
struct State {
    dir: PathBuf,
    /// Answers 503 so often first.
    busy: AtomicU32,
    /// At most so many entries an answer, whatever was asked for; 0: as many as asked for.
    stingy: AtomicU32,
    /// The next body is cut in the middle of a line.
    cut: AtomicBool,
    /// Something on the way answers in its place: a portal, a proxy's page.
    portal: AtomicBool,
    stop: AtomicBool,
}

impl Served {
    fn start(dir: &Path) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let url = format!("http://{}", listener.local_addr().expect("an address"));
        let state = Arc::new(State {
            dir: dir.to_owned(),
            ..State::default()
        });
        let serving = Arc::clone(&state);
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                if serving.stop.load(Ordering::SeqCst) {
                    return;
                }
                let (serving, stream) = (Arc::clone(&serving), stream.expect("a connection"));
                std::thread::spawn(move || serving.serve(&stream));
            }
        });
        Self { url, state }
    }

    fn source(&self, token: Option<&str>) -> Url {
        Url::new(&self.url, token).expect("a URL")
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        self.state.stop.store(true, Ordering::SeqCst);
        let _ = TcpStream::connect(self.url.trim_start_matches("http://"));
    }
}

impl State {
    fn serve(&self, stream: &TcpStream) {
        let mut reader = BufReader::new(stream);
        loop {
            let (mut path, mut token, mut line) = (String::new(), String::new(), String::new());
            while reader.read_line(&mut line).is_ok_and(|n| n > 2) {
                if let Some(rest) = line.strip_prefix("GET ") {
                    path = rest.split(' ').next().unwrap_or_default().to_owned();
                }
                if line.to_lowercase().starts_with("authorization: bearer ") {
                    token = line[22..].trim().to_owned();
                }
                line.clear();
            }
            if path.is_empty() {
                return;
            }
            let busy = self
                .busy
                .fetch_update(Ordering::SeqCst, Ordering::SeqCst, |n| n.checked_sub(1));
            let (status, body) = if self.portal.load(Ordering::SeqCst) {
                let page = "<!doctype html><html><body>Sign in to use this network</body></html>";
                ("200 OK\r\nContent-Type: text/html", page.as_bytes().to_vec())
            } else if busy.is_ok() {
                ("503 Service Unavailable\r\nRetry-After: 0", Vec::new())
            } else {
                self.answer(&path, &token)
            };
            let head = format!("HTTP/1.1 {status}\r\nContent-Length: {}\r\n\r\n", body.len());
            let mut stream = stream;
            if stream.write_all(&[head.as_bytes(), &body].concat()).is_err() {
                return;
            }
        }
    }

    fn answer(&self, path: &str, token: &str) -> (&'static str, Vec<u8>) {
        let file = |path: &str| match std::fs::read(self.dir.join(path)) {
            Ok(bytes) => ("200 OK", bytes),
            Err(_) => ("404 Not Found", Vec::new()),
        };
        if let Some(path) = path.strip_prefix("/log/") {
            return file(path);
        }
        if path.starts_with("/heads/") || path.starts_with("/keys/") {
            return file(&path[1..]);
        }
        if path.starts_with("/v1/heads") {
            return ("200 OK", self.heads(path));
        }
        if token != TOKEN {
            return ("401 Unauthorized", Vec::new());
        }
        ("200 OK", self.entries(path))
    }

    /// One head a page, newest first.
    fn heads(&self, path: &str) -> Vec<u8> {
        let before = path.split_once("cursor=").map(|(_, cursor)| cursor.to_owned());
        let mut dates: Vec<String> = super::files(&self.dir.join("heads"))
            .iter()
            .filter_map(|path| Some(path.file_name()?.to_str()?.get(..10)?.to_owned()))
            .filter(|date| before.as_ref().is_none_or(|before| date < before))
            .collect();
        dates.sort();
        let Some(date) = dates.pop() else {
            return br#"{"data":[],"next_cursor":null,"has_more":false}"#.to_vec();
        };
        let next = if dates.is_empty() {
            "null".to_owned()
        } else {
            format!("\"{date}\"")
        };
        format!("{{\"data\":[{{\"date\":\"{date}\"}}],\"next_cursor\":{next},\"has_more\":true}}")
            .into_bytes()
    }

    /// Entries as lines; those that hold a token's hash as stubs.
    fn entries(&self, path: &str) -> Vec<u8> {
        let number = |name: &str| -> usize {
            let rest = path.split_once(name).expect("it is asked for").1;
            rest.split('&')
                .next()
                .expect("a value")
                .parse()
                .expect("a number")
        };
        let stingy = self.stingy.load(Ordering::SeqCst) as usize;
        let limit = if stingy > 0 {
            stingy.min(number("limit="))
        } else {
            number("limit=")
        };
        let mut lines = Vec::new();
        for file in super::files(&self.dir.join("entries")) {
            lines.extend(std::fs::read(self.dir.join("entries").join(file)).expect("readable"));
        }
        let mut body = Vec::new();
        let entries = lines.split_inclusive(|b| *b == b'\n').enumerate();
        for (position, line) in entries.skip(number("from=")).take(limit) {
            let entry = &line[..line.len() - 1];
            if Entry::read(entry).is_ok_and(|entry| entry.event_type == "TokenIssued") {
                body.extend(withheld_line(&leaf_hash(entry), Position(position as u64)).as_bytes());
                body.push(b'\n');
            } else {
                body.extend(line);
            }
        }
        if self.cut.swap(false, Ordering::SeqCst) {
            body.truncate(body.len() - 10);
        }
        body
    }
}

fn small() -> (SmallLedger, tempfile::TempDir) {
    let ledger = SmallLedger::record(Plan {
        days: 3,
        readings: 90,
        ..Plan::default()
    });
    let dir = exported(&ledger);
    (ledger, dir)
}

#[test]
fn an_auditor_with_a_token_reads_everything_but_the_hashes_of_tokens() {
    let (ledger, dir) = small();
    let served = Served::start(dir.path());
    served.state.busy.store(2, Ordering::SeqCst);
    served.state.stingy.store(100, Ordering::SeqCst);
    let mut settings = auditor(&ledger.key, &[&ledger.checkpoint]);
    let report = run(&served.source(Some(TOKEN)), &settings);
    assert_eq!(
        (report.verdict.word(), report.exit_code),
        ("PARTIAL", 5),
        "{report}"
    );
    assert_eq!((report.withheld, report.size), (1, ledger.size()));
    assert_eq!(report.entries, ledger.size().get() - 1);
    assert_eq!((report.heads, report.days.len()), (3, 3));
    settings.allow_partial = true;
    assert_eq!(run(&served.source(Some(TOKEN)), &settings).exit_code, 0);
}

#[test]
fn without_a_token_the_tree_is_checked_and_it_is_said_that_entries_are_not() {
    let (ledger, dir) = small();
    let served = Served::start(dir.path());
    let report = run(&served.source(None), &auditor(&ledger.key, &[&ledger.checkpoint]));
    assert_eq!(
        (report.verdict.word(), report.exit_code),
        ("PARTIAL", 5),
        "{report}"
    );
    assert_eq!((report.entries, report.withheld), (0, ledger.size().get()));
    assert_eq!(report.anchored, ledger.size());
    assert!(
        report.not_checked.iter().any(|what| what.contains("token")),
        "{report}"
    );
    let report = run(&served.source(None), &VerifySettings::default());
    assert_eq!(report.verdict.word(), "UNANCHORED", "{report}");
    // An older head is found to be in it, and a tile that lies is found.
    let report = run(&served.source(None), &auditor(&ledger.key, &[&ledger.head(0)]));
    assert_eq!(report.verdict.word(), "UNANCHORED", "{report}");
    assert!(report.anchored > TreeSize(0));
    let tile = dir.path().join("tile/0/000");
    let mut bytes = std::fs::read(&tile).expect("readable");
    bytes[33] ^= 1;
    std::fs::write(&tile, bytes).expect("writable");
    let report = run(&served.source(None), &auditor(&ledger.key, &[&ledger.checkpoint]));
    assert_eq!(
        (report.verdict.word(), report.exit_code),
        ("TAMPERED", 1),
        "{report}"
    );
}

#[test]
fn a_server_that_shows_other_entries_than_it_signed_is_named_with_the_position() {
    let (ledger, dir) = small();
    let served = Served::start(dir.path());
    let path = dir.path().join("entries/000.ndjson");
    let text = std::fs::read_to_string(&path).expect("readable");
    let at = text
        .lines()
        .position(|line| line.contains("\"temperature\":4.3"))
        .expect("a reading");
    std::fs::write(
        &path,
        text.replacen("\"temperature\":4.3", "\"temperature\":4.4", 1),
    )
    .expect("writable");
    let report = run(
        &served.source(Some(TOKEN)),
        &auditor(&ledger.key, &[&ledger.checkpoint]),
    );
    assert_eq!(report.verdict.word(), "TAMPERED", "{report}");
    assert_eq!(report.position, Some(Position(at as u64)), "{report}");
}

#[test]
fn an_older_service_is_truncated_for_who_kept_a_newer_head() {
    let (_, dir) = small();
    let newer = SmallLedger::record(Plan {
        days: 4,
        readings: 90,
        ..Plan::default()
    });
    let served = Served::start(dir.path());
    for token in [None, Some(TOKEN)] {
        let report = run(&served.source(token), &auditor(&newer.key, &[&newer.checkpoint]));
        assert_eq!(
            (report.verdict.word(), report.exit_code),
            ("TRUNCATED", 1),
            "{report}"
        );
    }
}

#[test]
fn what_does_not_answer_or_breaks_off_is_an_error_or_a_finding_but_never_a_good_verdict() {
    let (ledger, dir) = small();
    let served = Served::start(dir.path());
    let settings = auditor(&ledger.key, &[&ledger.checkpoint]);
    let refused = verify(&served.source(Some("ua_live_wrong")), &settings, &mut |_| {});
    let Err(VerifyError::Source(error)) = refused else {
        panic!("{refused:?}");
    };
    assert!(error.to_string().contains("token"), "{error}");
    served.state.cut.store(true, Ordering::SeqCst);
    let report = run(&served.source(Some(TOKEN)), &settings);
    assert_eq!(report.verdict.word(), "TAMPERED", "{report}");
    assert!(report.position.is_some(), "{report}");
    let nobody = TcpListener::bind("127.0.0.1:0")
        .expect("a port")
        .local_addr()
        .expect("an address");
    let nowhere = Url::new(&format!("http://{nobody}"), None).expect("a URL");
    assert!(matches!(
        verify(&nowhere, &settings, &mut |_| {}),
        Err(VerifyError::Source(_))
    ));
}

#[test]
fn tokens_are_not_sent_where_others_could_read_them() {
    let refused = |url: &str, token: Option<&str>| Url::new(url, token).err();
    assert_eq!(
        refused("http://daybook.example", Some("t")),
        Some(UrlError::TokenInTheClear)
    );
    assert_eq!(
        refused("http://localhost.example", Some("t")),
        Some(UrlError::TokenInTheClear)
    );
    assert_eq!(refused("http://user@host", None), Some(UrlError::Form));
    assert_eq!(refused("daybook.example", None), Some(UrlError::Form));
    assert_eq!(
        refused("https://daybook.example", Some("a b")),
        Some(UrlError::Token)
    );
    for fine in [
        "https://daybook.example/",
        "http://localhost:8420",
        "http://127.0.0.1:1",
        "http://[::1]:1",
    ] {
        assert_eq!(refused(fine, Some("t")), None, "{fine}");
    }
    let secret = Url::new("https://daybook.example", Some(TOKEN)).expect("a URL");
    assert!(!format!("{secret:?}").contains(TOKEN));
}

#[test]
fn a_page_of_something_on_the_way_is_no_verdict_on_the_log() {
    let (ledger, dir) = small();
    let served = Served::start(dir.path());
    let settings = auditor(&ledger.key, &[&ledger.checkpoint]);
    let source = served.source(None);
    let seen = look(&source, &settings, None).expect("a look");
    assert_eq!(seen.report.exit_code, 0, "{}", seen.report);
    served.state.portal.store(true, Ordering::SeqCst);
    for refused in [
        look(&source, &settings, None).map(|look| look.report),
        verify(&source, &settings, &mut |_| {}),
    ] {
        let Err(VerifyError::Source(SourceError::Unavailable(words))) = refused else {
            panic!("{refused:?}");
        };
        assert!(
            words.contains(&served.url) && words.contains("no answer of a Daybook service"),
            "{words}"
        );
    }
    served.state.portal.store(false, Ordering::SeqCst);
    let elsewhere = Url::new(&format!("{}/heads", served.url), None).expect("a URL");
    let refused = look(&elsewhere, &settings, None).expect_err("no log there");
    assert!(
        refused.to_string().contains("name the service itself"),
        "{refused}"
    );
}
