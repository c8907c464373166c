//! `/v1/stream`: what is recorded is sent, a lost connection goes on behind the last id, and streams end.
//!
//! Not here: what may be seen (`walls`).

use serde_json::{Value, json};
use std::io::{BufRead, BufReader, Write};
use std::net::TcpStream;
use tests::daybook::Daybook;

/// A stream as a browser would read it.
struct Stream {
    lines: BufReader<TcpStream>,
}

/// One event: id, type, data.
#[derive(Debug, Default, PartialEq)]
struct Event {
    id: u64,
    kind: String,
    data: Value,
}

impl Stream {
    fn open(daybook: &Daybook, token: &str, path: &str, last: Option<u64>) -> Self {
        Self::with(daybook, &format!("Authorization: Bearer {token}"), path, last)
    }

    fn with(daybook: &Daybook, header: &str, path: &str, last: Option<u64>) -> Self {
        let mut socket = TcpStream::connect(daybook.address()).expect("it listens");
        socket.set_read_timeout(Some(tests::PATIENCE)).expect("a timeout");
        let last = last.map_or(String::new(), |id| format!("Last-Event-ID: {id}\r\n"));
        write!(
            socket,
            "GET {path} HTTP/1.1\r\nHost: localhost\r\n{header}\r\n{last}\r\n"
        )
        .expect("sent");
        let mut stream = Self {
            lines: BufReader::new(socket),
        };
        let status = stream.line().expect("an answer");
        assert!(status.contains("200"), "{status}");
        while stream.line().is_some_and(|line| !line.is_empty()) {}
        stream
    }

    fn line(&mut self) -> Option<String> {
        let mut line = String::new();
        match self.lines.read_line(&mut line) {
            Ok(0) => None,
            Ok(_) => Some(line.trim_end().to_owned()),
            Err(error) => panic!("nothing came: {error}"),
        }
    }

    /// The next event with data; `None` at the end. Lengths of chunks and comments are passed over.
    fn next(&mut self) -> Option<Event> {
        let mut event = Event::default();
        loop {
            let line = self.line()?;
            if let Some(id) = line.strip_prefix("id: ") {
                event.id = id.parse().expect("a position");
            } else if let Some(kind) = line.strip_prefix("event: ") {
                event.kind = kind.to_owned();
            } else if let Some(data) = line.strip_prefix("data: ") {
                event.data = serde_json::from_str(data).expect("an entry");
                return Some(event);
            }
        }
    }

    fn until(&mut self, kind: &str) -> Event {
        loop {
            let event = self.next().expect("it goes on");
            if event.kind == kind {
                return event;
            }
        }
    }
}

#[test]
fn a_stream_goes_on_behind_the_last_event_and_misses_nothing() {
    let daybook = Daybook::start();
    let owner = daybook.owner_token();
    let (_, _, token) = daybook.device("hut01");
    let mut stream = Stream::open(&daybook, &owner, "/v1/stream", None);
    daybook.send(&token, "hut01", None, 1.0).expect(200);
    let first = stream.until("ReadingRecorded");
    assert_eq!(first.data["position"], first.id);
    assert_eq!(first.data["payload"]["values"]["temperature"], 1);
    drop(stream);
    for n in 2..5 {
        daybook.send(&token, "hut01", None, f64::from(n)).expect(200);
    }
    let mut stream = Stream::open(&daybook, &owner, "/v1/stream", Some(first.id));
    let values: Vec<Value> = (0..3)
        .map(|_| stream.until("ReadingRecorded").data["payload"]["values"]["temperature"].clone())
        .collect();
    assert_eq!(values, [2, 3, 4]);
    let mut whole = Stream::open(&daybook, &owner, "/v1/stream?from=0", None);
    let created = whole.next().expect("an event");
    assert_eq!((created.id, created.kind.as_str()), (0, "LedgerCreated"));
}

#[test]
fn only_the_accounts_own_entries_are_sent() {
    let daybook = Daybook::start();
    let (_, _, device) = daybook.device("hut01");
    let (_, token, _) = daybook.cli(&["account", "open", "Next door", "next@example.eu"]);
    let mut stream = Stream::open(&daybook, token.trim(), "/v1/stream?from=0", None);
    daybook.send(&device, "hut01", None, 1.0).expect(200);
    daybook
        .call("POST", "/v1/sites")
        .token(token.trim())
        .json(&json!({"name": "Mine", "vertical": "haccp"}))
        .send()
        .expect(201);
    loop {
        let event = stream.next().expect("it goes on");
        assert_ne!(event.kind, "ReadingRecorded");
        assert_ne!(event.kind, "TokenIssued");
        if event.kind == "SiteCreated"
            && event.data["metadata"]["actor"]
                .as_str()
                .is_some_and(|a| a.starts_with("usr_"))
        {
            break;
        }
    }
}

#[test]
fn a_stream_ends_with_the_session_that_opened_it() {
    let daybook = Daybook::start();
    let cookie = super::access::sign_in(&daybook, "owner@localhost");
    let csrf = super::access::csrf_of(&daybook, &cookie);
    let mut stream = Stream::with(&daybook, &format!("Cookie: {cookie}"), "/v1/stream", None);
    let site = |name: &str| json!({"name": name, "vertical": "climate"});
    daybook.post("/v1/sites", &site("A")).expect(201);
    stream.until("SiteCreated");
    let out = daybook
        .call("POST", "/app/sign-out")
        .header("Cookie", &cookie)
        .header("Content-Type", "application/x-www-form-urlencoded")
        .bytes(format!("csrf={csrf}"))
        .send();
    assert_eq!(out.status, 303);
    daybook.post("/v1/sites", &site("B")).expect(201);
    while let Some(event) = stream.next() {
        assert_ne!(event.kind, "SiteCreated", "nothing is sent after the sign-out");
    }
}

#[test]
fn a_stream_ends_with_its_token_and_with_the_service() {
    let mut daybook = Daybook::start();
    let made = daybook.post("/v1/tokens", &json!({})).expect(201);
    let token = made["token"].as_str().expect("shown once").to_owned();
    let mut stream = Stream::open(&daybook, &token, "/v1/stream", None);
    daybook.delete(&format!("/v1/tokens/{}", made["id"].as_str().expect("an id")));
    while stream.next().is_some() {}
    let owner = daybook.owner_token();
    let mut stream = Stream::open(&daybook, &owner, "/v1/stream", None);
    assert!(daybook.stop().success());
    while stream.next().is_some() {}
}
