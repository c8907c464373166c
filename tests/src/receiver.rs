//! A small HTTP server on loopback that keeps what it is sent and answers as it is told: webhooks, a bot's API.
//!
//! Invariants: each connection has a thread of its own and one request, so that one that hangs holds up no other.
//! Not here: what is sent to it.

use crate::PATIENCE;
use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Condvar, Mutex};
use std::time::{Duration, Instant};

/// A request as it came.
#[derive(Debug, Clone, Default)]
pub struct Came {
    /// Such as `/hook`.
    pub path: String,
    /// By lower-case name.
    pub headers: BTreeMap<String, String>,
    /// As it came.
    pub body: String,
}

impl Came {
    /// A header; empty where there is none.
    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", String::as_str)
    }

    /// The body as JSON.
    ///
    /// # Panics
    /// Where it is none.
    pub fn json(&self) -> serde_json::Value {
        serde_json::from_str(&self.body).expect("JSON")
    }
}

/// What is answered.
#[derive(Debug, Clone)]
pub enum Answer {
    /// A status, further header lines, a body.
    Say(u16, Vec<(&'static str, String)>, String),
    /// Nothing, and the connection stays open for so long.
    Hang(Duration),
    /// Nothing, and the connection ends.
    HangUp,
}

impl Answer {
    /// A status alone.
    pub fn status(status: u16) -> Self {
        Self::Say(status, Vec::new(), String::new())
    }
}

/// Decides an answer by the request and how many came before it.
pub type Decide = Box<dyn Fn(&Came, usize) -> Answer + Send + Sync>;

struct Shared {
    came: Mutex<Vec<Came>>,
    more: Condvar,
    decide: Mutex<Arc<Decide>>,
}

/// The server; it lives as long as the process.
#[derive(Clone)]
pub struct Receiver {
    /// `http://127.0.0.1:<port>`
    pub url: String,
    shared: Arc<Shared>,
}

impl Receiver {
    /// One that answers as `decide` says.
    ///
    /// # Panics
    /// Where there is no port.
    pub fn start(decide: impl Fn(&Came, usize) -> Answer + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let url = format!("http://{}", listener.local_addr().expect("an address"));
        let shared = Arc::new(Shared {
            came: Mutex::default(),
            more: Condvar::new(),
            decide: Mutex::new(Arc::new(Box::new(decide))),
        });
        let kept = Arc::clone(&shared);
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let kept = Arc::clone(&kept);
                std::thread::spawn(move || take(&kept, stream));
            }
        });
        Self { url, shared }
    }

    /// Answers otherwise from now on.
    ///
    /// # Panics
    /// Where a test broke it.
    pub fn answer(&self, decide: impl Fn(&Came, usize) -> Answer + Send + Sync + 'static) {
        *self.shared.decide.lock().expect("not poisoned") = Arc::new(Box::new(decide));
    }

    /// What came to a path that begins so.
    ///
    /// # Panics
    /// Where a test broke it.
    pub fn came(&self, path: &str) -> Vec<Came> {
        let came = self.shared.came.lock().expect("not poisoned");
        came.iter()
            .filter(|one| one.path.starts_with(path))
            .cloned()
            .collect()
    }

    /// Waits until so many came to a path that begins so.
    ///
    /// # Panics
    /// Where they do not come.
    pub fn until(&self, path: &str, count: usize) -> Vec<Came> {
        let until = Instant::now() + PATIENCE;
        let mut came = self.shared.came.lock().expect("not poisoned");
        loop {
            let of: Vec<Came> = came
                .iter()
                .filter(|one| one.path.starts_with(path))
                .cloned()
                .collect();
            if of.len() >= count {
                return of;
            }
            let left = until.saturating_duration_since(Instant::now());
            assert!(!left.is_zero(), "{} of {count} came to {path}: {of:?}", of.len());
            came = self.shared.more.wait_timeout(came, left).expect("not poisoned").0;
        }
    }
}

fn take(shared: &Shared, mut stream: TcpStream) {
    let Ok(read) = stream.try_clone() else { return };
    let mut reader = BufReader::new(read);
    let mut came = Came::default();
    let mut line = String::new();
    if reader.read_line(&mut line).is_err() {
        return;
    }
    came.path = line.split(' ').nth(1).unwrap_or_default().to_owned();
    loop {
        line.clear();
        if reader.read_line(&mut line).is_err() || line.trim().is_empty() {
            break;
        }
        if let Some((name, value)) = line.trim().split_once(": ") {
            came.headers.insert(name.to_lowercase(), value.to_owned());
        }
    }
    let length = came.header("content-length").parse().unwrap_or(0);
    let mut body = vec![0; length];
    if reader.read_exact(&mut body).is_err() {
        return;
    }
    came.body = String::from_utf8_lossy(&body).into_owned();
    let answer = {
        let decide = Arc::clone(&shared.decide.lock().expect("not poisoned"));
        let before = {
            let mut all = shared.came.lock().expect("not poisoned");
            all.push(came.clone());
            all.len() - 1
        };
        shared.more.notify_all();
        decide(&came, before)
    };
    match answer {
        Answer::Say(status, headers, body) => {
            let mut head = format!(
                "HTTP/1.1 {status} X\r\ncontent-length: {}\r\nconnection: close\r\n",
                body.len()
            );
            for (name, value) in headers {
                head.push_str(&format!("{name}: {value}\r\n"));
            }
            // Whoever asked may have gone.
            let _ = write!(stream, "{head}\r\n{body}");
        }
        Answer::Hang(time) => std::thread::sleep(time),
        Answer::HangUp => {}
    }
}
