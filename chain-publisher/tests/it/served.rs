//! A copy served over HTTP as a service serves its log: publicly, so without entries; and whoever is told of forks.
//!
//! Invariant: nothing but loopback.

use crate::text;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, Sender, channel};

/// A server in a thread of its own, which ends with the process.
pub struct Served {
    /// Where it is.
    pub url: String,
    /// The bodies that were posted.
    pub posted: Receiver<String>,
}

/// Serves the log in a directory.
pub fn serve(dir: &Path) -> Served {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let url = format!("http://{}", listener.local_addr().expect("its address"));
    let (send, posted) = channel();
    let dir = dir.to_owned();
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            // Who goes away early gets no answer.
            let _ = answer(stream, &dir, &send);
        }
    });
    Served { url, posted }
}

fn answer(stream: TcpStream, dir: &Path, posted: &Sender<String>) -> std::io::Result<()> {
    let mut reader = BufReader::new(stream.try_clone()?);
    let mut first = String::new();
    reader.read_line(&mut first)?;
    let mut length = 0;
    loop {
        let mut line = String::new();
        reader.read_line(&mut line)?;
        let line = line.trim().to_ascii_lowercase();
        if let Some(value) = line.strip_prefix("content-length:") {
            length = value.trim().parse().unwrap_or(0);
        }
        if line.is_empty() {
            break;
        }
    }
    let mut words = first.split(' ');
    let (method, path) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
    let found = if method == "POST" {
        let mut body = vec![0; length];
        reader.read_exact(&mut body)?;
        let _ = posted.send(String::from_utf8_lossy(&body).into_owned());
        Some(Vec::new())
    } else {
        page(dir, path)
    };
    let (status, body) = found.map_or(("404 Not Found", Vec::new()), |body| ("200 OK", body));
    let mut stream = stream;
    let head = format!(
        "HTTP/1.1 {status}\r\ncontent-length: {}\r\nconnection: close\r\n\r\n",
        body.len()
    );
    stream.write_all(&[head.as_bytes(), &body].concat())
}

fn page(dir: &Path, path: &str) -> Option<Vec<u8>> {
    if path.starts_with("/v1/heads") {
        return Some(list(dir).into_bytes());
    }
    let file = path.strip_prefix("/log/").or_else(|| path.strip_prefix('/'))?;
    std::fs::read(dir.join(file)).ok()
}

/// The days that have a head, newest first.
fn list(dir: &Path) -> String {
    let mut names: Vec<PathBuf> = std::fs::read_dir(dir.join("heads/2026"))
        .map(|files| files.flatten().map(|file| file.path()).collect())
        .unwrap_or_default();
    names.sort();
    let dates: Vec<serde_json::Value> = names
        .iter()
        .rev()
        .filter_map(|path| text(path).rsplit('/').next()?.strip_suffix(".tlog-proof"))
        .map(|date| serde_json::json!({ "date": date }))
        .collect();
    serde_json::json!({"data": dates, "next_cursor": null}).to_string()
}
