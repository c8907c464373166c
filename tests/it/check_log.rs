//! An auditor without an account checks the live log in a real browser: a good log, and copies of it that were changed,
//! forked, cut or that hold something back, served as whoever runs the log could serve them.
//!
//! Invariants: page and script are those of the service; the logs are recorded by the real sequencer.
//! Not here: the verifier of packs in the browser, the command line (`chain-publisher`).

use crate::browser::browser;
use chain_publisher::export;
use domain::TreeSize;
use domain::proof::consistency_proof;
use parking_lot::Mutex;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use tests::chromium::Chromium;
use tests::daybook::Daybook;
use tests::small_ledger::{ORIGIN, Plan, SmallLedger};

/// Days of the log, and readings a day: more than a tile.
const DAYS: u32 = 3;
const READINGS: u32 = 80;

fn plan(days: u32) -> Plan {
    Plan {
        days,
        readings: READINGS,
        ..Plan::default()
    }
}

/// The service's page over another log, which may be changed while it is served.
struct Door {
    url: String,
    shared: Arc<Shared>,
}

struct Shared {
    /// What is given whatever the log says, by path; `None`: not there.
    instead: Mutex<BTreeMap<String, Option<Vec<u8>>>>,
    page: BTreeMap<String, (String, Vec<u8>)>,
    policy: String,
    ledger: Mutex<(SmallLedger, tempfile::TempDir)>,
    stop: AtomicBool,
}

fn exported(ledger: SmallLedger) -> (SmallLedger, tempfile::TempDir) {
    let dir = tempfile::tempdir().expect("a scratch directory");
    export(&ledger.source(), dir.path(), &mut |_, _| {}).expect("it is exported");
    (ledger, dir)
}

impl Door {
    fn of(daybook: &Daybook, ledger: SmallLedger) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let url = format!("http://{}", listener.local_addr().expect("its address"));
        let answer = daybook.call("GET", "/ledger/verify").send();
        let html = answer.text();
        let own = |name: &str| {
            let from = html.split_once(&format!("{name}=\"")).expect("it is there").1;
            from.split('"').next().expect("a value").to_owned()
        };
        // The key first: it begins with the origin.
        let html = html
            .replace(&own("data-key"), &ledger.key)
            .replace(&own("data-origin"), ORIGIN);
        let mut page = BTreeMap::new();
        for part in html.split('"').filter(|part| part.starts_with("/assets/")) {
            let asset = daybook.call("GET", part).send();
            let kind = asset.header("content-type").unwrap_or_default().to_owned();
            page.insert(part.to_owned(), (kind, asset.body));
        }
        page.insert(
            "/ledger/verify".to_owned(),
            ("text/html; charset=utf-8".to_owned(), html.into_bytes()),
        );
        let shared = Arc::new(Shared {
            instead: Mutex::default(),
            page,
            policy: answer
                .header("content-security-policy")
                .expect("a policy")
                .to_owned(),
            ledger: Mutex::new(exported(ledger)),
            stop: AtomicBool::new(false),
        });
        let serving = Arc::clone(&shared);
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                if serving.stop.load(Ordering::SeqCst) {
                    return;
                }
                let serving = Arc::clone(&serving);
                // Who goes away early gets no answer.
                std::thread::spawn(move || drop(serving.answer(&stream)));
            }
        });
        Self { url, shared }
    }

    /// Serves another log from here on.
    fn serve(&self, ledger: SmallLedger) {
        *self.shared.ledger.lock() = exported(ledger);
    }

    fn file(&self, path: &str) -> Vec<u8> {
        let name = path.strip_prefix("/log/").unwrap_or(&path[1..]);
        std::fs::read(self.shared.ledger.lock().1.path().join(name)).expect("it is served")
    }

    /// Gives this in the place of what is there.
    fn instead(&self, path: &str, change: impl FnOnce(&mut Vec<u8>)) {
        let mut bytes = self.file(path);
        change(&mut bytes);
        self.shared.instead.lock().insert(path.to_owned(), Some(bytes));
    }

    fn without(&self, path: &str) {
        self.shared.instead.lock().insert(path.to_owned(), None);
    }

    fn honest(&self) {
        self.shared.instead.lock().clear();
    }
}

impl Drop for Door {
    fn drop(&mut self) {
        self.shared.stop.store(true, Ordering::SeqCst);
        let _ = TcpStream::connect(self.url.trim_start_matches("http://"));
    }
}

impl Shared {
    fn answer(&self, stream: &TcpStream) -> std::io::Result<()> {
        let mut lines = BufReader::new(stream).lines();
        let first = lines.next().transpose()?.unwrap_or_default();
        for line in lines {
            if line?.is_empty() {
                break;
            }
        }
        let path = first.split(' ').nth(1).unwrap_or_default();
        let (status, kind, body) = match self.body(path) {
            Some((kind, body)) => ("200 OK", kind, body),
            None => ("404 Not Found", "text/plain".to_owned(), Vec::new()),
        };
        let head = format!(
            "HTTP/1.1 {status}\r\ncontent-type: {kind}\r\ncontent-length: {}\r\ncontent-security-policy: {}\r\nconnection: close\r\n\r\n",
            body.len(),
            self.policy
        );
        let mut stream = stream;
        stream.write_all(&[head.as_bytes(), &body].concat())
    }

    fn body(&self, path: &str) -> Option<(String, Vec<u8>)> {
        if let Some(instead) = self.instead.lock().get(path) {
            return instead
                .clone()
                .map(|body| ("application/octet-stream".to_owned(), body));
        }
        if let Some(found) = self.page.get(path) {
            return Some(found.clone());
        }
        let served = self.ledger.lock();
        let json = |value: Value| Some(("application/json".to_owned(), value.to_string().into_bytes()));
        if path.starts_with("/v1/heads") {
            return json(self.list(served.1.path()));
        }
        if let Some(query) = path.strip_prefix("/v1/proofs/consistency?from=") {
            let (from, to) = query.split_once("&to=")?;
            let (from, to) = (TreeSize(from.parse().ok()?), TreeSize(to.parse().ok()?));
            return json(json!({"proof": consistency_proof(&*served.0.log, from, to).ok()?}));
        }
        let name = path.strip_prefix("/log/").or_else(|| path.strip_prefix('/'))?;
        let body = std::fs::read(served.1.path().join(name)).ok()?;
        Some(("application/octet-stream".to_owned(), body))
    }

    /// The heads, newest first, in two pages.
    fn list(&self, dir: &Path) -> Value {
        let files = std::fs::read_dir(dir.join("heads/2026"))
            .into_iter()
            .flatten()
            .flatten();
        let names = files.filter_map(|file| file.file_name().into_string().ok());
        let mut urls: Vec<String> = names.map(|name| format!("/heads/2026/{name}")).collect();
        urls.retain(|url| {
            url.ends_with(".tlog-proof") && !matches!(self.instead.lock().get(url), Some(None))
        });
        urls.sort_by(|a, b| b.cmp(a));
        let data: Vec<Value> = urls.into_iter().map(|url| json!({"url": url})).collect();
        json!({"data": data, "next_cursor": null, "has_more": false})
    }
}

/// What an auditor types and drops in, and what the page says.
fn check(browser: &mut Chromium, key: &str, kept: &[(&str, &[u8])]) -> Value {
    browser.evaluate("document.querySelector('#report').textContent = ''");
    let kept: Vec<_> = kept
        .iter()
        .map(|(name, bytes)| (name, String::from_utf8_lossy(bytes)))
        .collect();
    browser.evaluate(&format!(
        "(() => {{ const all = new DataTransfer();
            for (const [name, text] of {}) all.items.add(new File([text], name));
            document.querySelector('#kept').files = all.files;
            document.querySelector('#vkey').value = {}; }})()",
        json!(kept),
        json!(key)
    ));
    browser.click("#go");
    report(browser)
}

fn report(browser: &mut Chromium) -> Value {
    browser.wait(
        "a verdict",
        "document.querySelector('#report').textContent.length > 0",
    );
    let said = browser.evaluate("document.querySelector('#report').textContent");
    serde_json::from_str(said.as_str().expect("a text")).expect("JSON")
}

fn is(report: &Value, verdict: &str, words: &str) {
    assert_eq!(report["verdict"], verdict, "{report:#}");
    assert!(report.to_string().contains(words), "no {words:?} in {report:#}");
}

#[test]
fn an_auditor_without_an_account_checks_the_live_log_and_every_change_of_it_is_seen() {
    let daybook = Daybook::with().set("log", "warn").start();
    let ledger = SmallLedger::record(plan(DAYS));
    let (key, size) = (ledger.key.clone(), ledger.size().get());
    let (first, last) = (ledger.head(0), ledger.head(DAYS as usize - 1));
    let door = Door::of(&daybook, ledger);
    let Some(mut browser) = browser(&door.url) else {
        return;
    };
    browser.open(&format!("{}/ledger/verify", door.url));

    let none = check(&mut browser, "", &[]);
    is(&none, "UNANCHORED", "only a hint");
    assert_eq!(none["size"], size);
    is(
        &check(&mut browser, &key, &[]),
        "UNANCHORED",
        "this browser remembers",
    );
    // Now it has seen it, and that is enough to go on from.
    is(
        &check(&mut browser, &key, &[]),
        "VERIFIED",
        "what this browser saw last",
    );
    let good = check(&mut browser, &key, &[("first", &first), ("last", &last)]);
    is(&good, "VERIFIED", &format!("{} hash tiles", size.div_ceil(256)));
    assert_eq!(good["confirmed"], size);
    assert!(browser.complaints().is_empty());
    for (width, height, name) in [(1280, 800, "desktop"), (390, 844, "phone")] {
        browser.resize(width, height);
        browser.picture(&format!("check-log-{name}"));
        assert!(!browser.overflows(), "{name}");
    }
    browser.evaluate("document.querySelector('#check-log').dataset.own = 'yes'");
    is(
        &check(&mut browser, &key, &[("last", &last)]),
        "VERIFIED",
        "asked for",
    );
    browser.evaluate("document.querySelector('#check-log').dataset.own = ''");

    let head = "/heads/2026/2026-05-18.tlog-proof";
    let checkpoint = "/log/checkpoint";
    let partial = format!("/log/tile/0/{:03}.p/{}", size / 256, size % 256);
    let above = format!("/log/tile/1/000.p/{}", size / 256);
    for (path, byte) in [
        ("/log/tile/0/000", 40),
        (&*partial, 0),
        (&*above, 3),
        (head, 70),
        (checkpoint, 30),
    ] {
        door.instead(path, |bytes| bytes[byte] ^= 1);
        is(&check(&mut browser, &key, &[]), "TAMPERED", "");
        door.honest();
    }
    browser.picture("check-log-tampered");
    door.without(head);
    is(&check(&mut browser, &key, &[]), "INCOMPLETE", "2026-05-19");
    door.honest();
    door.without("/log/tile/0/000");
    is(&check(&mut browser, &key, &[]), "INCOMPLETE", "is not there");
    door.honest();

    // Another key, and files that are no heads or another log's: the asker's own mistake accuses nobody.
    let other = SmallLedger::record(Plan { seed: 9, ..plan(1) });
    is(&check(&mut browser, &other.key, &[]), "TAMPERED", "key");
    is(
        &check(&mut browser, &key, &[("other", &other.head(0))]),
        "UNREADABLE",
        "cannot be used",
    );
    is(
        &check(&mut browser, "nonsense", &[]),
        "UNREADABLE",
        "cannot be used",
    );

    // A shorter log is no longer what this browser saw; another history is not what was kept.
    door.serve(SmallLedger::record(plan(DAYS - 1)));
    is(
        &check(&mut browser, &key, &[]),
        "TRUNCATED",
        "what this browser saw last",
    );
    is(
        &check(&mut browser, &key, &[("last", &last)]),
        "TRUNCATED",
        "last is signed over",
    );
    door.serve(SmallLedger::record(Plan {
        parts_at: Some(1),
        ..plan(DAYS + 1)
    }));
    is(
        &check(&mut browser, &key, &[("last", &last)]),
        "FORKED",
        "two different histories",
    );
    is(
        &check(&mut browser, &key, &[("first", &first)]),
        "FORKED",
        "what this browser saw last",
    );

    // What is left of what was seen is compared in a short look, too.
    let watched = |browser: &mut Chromium| {
        browser.evaluate("document.querySelector('#watch').checked = false; document.querySelector('#report').textContent = ''");
        browser.evaluate("document.querySelector('#kept').value = ''");
        browser.click("#watch");
        report(browser)
    };
    is(&watched(&mut browser), "FORKED", "continues");
    door.serve(SmallLedger::record(plan(DAYS + 1)));
    is(&watched(&mut browser), "VERIFIED", "consistency proof");
    let seen = browser.text("#seen");
    assert!(seen.starts_with("This browser last saw"), "{seen}");
}

#[test]
fn the_services_own_log_is_checked_from_its_ledger_page() {
    let daybook = Daybook::with().set("log", "warn").start();
    let (_, _, token) = daybook.device("hut01");
    for n in 0..20 {
        let at = format!("2026-05-17T08:{:02}:{:02}Z", n / 60, n % 60);
        daybook.send(&token, "hut01", Some(&at), 4.2).expect(200);
    }
    daybook.until_signed(daybook.size());
    let (code, keys, err) = daybook.cli(&["key", "show"]);
    assert_eq!(code, 0, "{err}");
    let key = keys.lines().find_map(|line| {
        line.split_whitespace()
            .find(|word| word.matches('+').count() >= 2)
    });
    let kept = daybook.call("GET", "/log/checkpoint").send().body;
    let Some(mut browser) = browser(daybook.url()) else {
        return;
    };
    browser.open(&format!("{}/ledger", daybook.url()));
    browser.follow("a[href='/ledger/verify']");
    let report = check(&mut browser, key.expect("the log's key"), &[("kept", &kept)]);
    is(&report, "VERIFIED", "checkpoint");
    assert!(browser.complaints().is_empty());
}
