//! A log that is served over HTTP: checkpoint, tiles and heads publicly, entries to whoever has a token.
//!
//! Invariants: a token goes to the host that was named and to no other, and in the clear to this machine only; nothing
//! is read beyond its limit or waited for beyond its time; what is busy is asked again, a few times.
//! Source: FORMAT §3; C2SP tlog-tiles v0.1.0.
//! Not here: believing what comes (`verify`), where the token is kept (`api`).

use crate::directory::ROTATIONS_BYTES_MAX;
use crate::layout::{LINE_BYTES_MAX, Line, ROTATIONS, head_path, parse_line, parse_rotations, rotation_path};
use crate::source::{Chunk, EntryStream, LogSource, SourceError};
use domain::checkpoint::SignedCheckpoint;
use domain::note::NOTE_BYTES_MAX;
use domain::tile::Tile;
use domain::tlog_proof::TLOG_PROOF_BYTES_MAX;
use domain::{Date, Position, TreeSize};
use serde::Deserialize;
use std::io::{BufRead, BufReader, Read};
use std::time::Duration;
use ureq::http::{Response, StatusCode, header};
use ureq::{Agent, Body};

/// A connection that is not there by then will not come.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// A server that says nothing for so long is not at work.
const RESPONSE_TIMEOUT: Duration = Duration::from_secs(30);
/// A whole answer takes no longer: 5,000 entries at a modem's pace.
const BODY_TIMEOUT: Duration = Duration::from_secs(300);
/// How often a busy server is asked again.
const TRIES_MAX: u32 = 6;
/// The longest wait before that, whatever the server says.
const RETRY_WAIT_MAX: Duration = Duration::from_secs(30);
/// Entries of one request: about 2 MB.
const REQUEST_ENTRIES: u64 = 5_000;
/// Entries of one chunk.
const CHUNK_ENTRIES: usize = 1_024;
/// The largest list of heads: 366 of them with their checkpoints.
const HEADS_BYTES_MAX: usize = 8 << 20;
/// The largest tile.
const TILE_BYTES_MAX: usize = 256 * 32;

/// Why a URL cannot be read from.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum UrlError {
    /// Neither http nor https.
    #[error("not a URL of a service: write https://HOST")]
    Form,
    /// A token would be readable on its way.
    #[error("a token is sent over https only, or to this machine itself: write https://…")]
    TokenInTheClear,
    /// Not what a token is made of.
    #[error("the token holds characters that no token has")]
    Token,
}

/// A log served over HTTP.
pub struct Url {
    base: String,
    token: Option<String>,
    agent: Agent,
}

impl std::fmt::Debug for Url {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Url")
            .field("base", &self.base)
            .finish_non_exhaustive()
    }
}

impl Url {
    /// The log of the service at `base`, such as `https://daybook.example.eu`. Without a token there are no entries.
    ///
    /// # Errors
    /// [`UrlError`].
    pub fn new(base: &str, token: Option<&str>) -> Result<Self, UrlError> {
        let base = base.trim_end_matches('/');
        let (scheme, rest) = base.split_once("://").ok_or(UrlError::Form)?;
        let host = rest.split(['/', '?', '#']).next().unwrap_or_default();
        if !matches!(scheme, "http" | "https") || host.is_empty() || rest.contains(['?', '#', '@', ' ']) {
            return Err(UrlError::Form);
        }
        let token = token.map(str::trim).filter(|token| !token.is_empty());
        if token.is_some_and(|token| !token.bytes().all(|b| b.is_ascii_graphic())) {
            return Err(UrlError::Token);
        }
        if token.is_some() && scheme == "http" && !is_this_machine(host) {
            return Err(UrlError::TokenInTheClear);
        }
        let config = Agent::config_builder()
            .http_status_as_error(false)
            .redirect_auth_headers(ureq::config::RedirectAuthHeaders::Never)
            .max_redirects(if token.is_some() { 0 } else { 3 })
            .max_redirects_will_error(false)
            .timeout_connect(Some(CONNECT_TIMEOUT))
            .timeout_recv_response(Some(RESPONSE_TIMEOUT))
            .timeout_recv_body(Some(BODY_TIMEOUT))
            .user_agent(concat!("daybook/", env!("CARGO_PKG_VERSION")))
            .build();
        Ok(Self {
            base: base.to_owned(),
            token: token.map(str::to_owned),
            agent: config.new_agent(),
        })
    }

    /// Asks until there is an answer that is none of "try again".
    fn get(&self, path: &str) -> Result<Response<Body>, SourceError> {
        let url = format!("{}{path}", self.base);
        let mut tries = 0;
        loop {
            tries += 1;
            let mut request = self.agent.get(&url);
            if let Some(token) = &self.token {
                request = request.header(header::AUTHORIZATION, format!("Bearer {token}"));
            }
            let wait = match request.call() {
                Ok(response) if is_busy(response.status()) && tries < TRIES_MAX => {
                    retry_after(&response).unwrap_or(Duration::from_millis(250 << tries))
                }
                Ok(response) => return answer(response, path, &url),
                Err(error) if is_passing(&error) && tries < TRIES_MAX => Duration::from_millis(250 << tries),
                Err(error) => return Err(SourceError::Unavailable(format!("{url}: {}", words(&error)))),
            };
            std::thread::sleep(wait.min(RETRY_WAIT_MAX));
        }
    }

    /// What does not come from a service of ours: a portal, a proxy's page, another address. Nothing is known of the log
    /// then; a log that hides behind such a page gains no more than by not answering.
    fn elsewhere(&self, path: &str, why: impl std::fmt::Display) -> SourceError {
        SourceError::Unavailable(format!(
            "{}{path}: this is no answer of a Daybook service ({why}): name the service itself, such as https://HOST, and \
             see whether something on the way answers in its place",
            self.base
        ))
    }

    /// As [`Url::bytes`], of what every service has.
    fn bytes_of_every(&self, path: &str, bytes_max: usize) -> Result<Vec<u8>, SourceError> {
        self.bytes(path, bytes_max).map_err(|error| match error {
            SourceError::Missing { .. } => self.elsewhere(path, "there is nothing"),
            SourceError::Malformed { reason, .. } => self.elsewhere(path, reason),
            unavailable @ SourceError::Unavailable(_) => unavailable,
        })
    }

    fn bytes(&self, path: &str, bytes_max: usize) -> Result<Vec<u8>, SourceError> {
        let mut response = self.get(path)?;
        let mut bytes = Vec::new();
        // One byte more than allowed tells a larger answer.
        let body = response.body_mut().as_reader().take(bytes_max as u64 + 1);
        { body }
            .read_to_end(&mut bytes)
            .map_err(|error| SourceError::Unavailable(format!("{}{path}: {error}", self.base)))?;
        if bytes.len() > bytes_max {
            return Err(SourceError::malformed(
                path,
                format_args!("larger than {bytes_max} bytes"),
            ));
        }
        Ok(bytes)
    }
}

/// A host that only this machine reaches.
fn is_this_machine(host: &str) -> bool {
    let name = match host.strip_prefix('[') {
        Some(rest) => rest.split(']').next().unwrap_or_default(),
        None => host.split(':').next().unwrap_or_default(),
    };
    let address = name.parse::<std::net::IpAddr>();
    name == "localhost" || address.is_ok_and(|address| address.is_loopback())
}

fn is_busy(status: StatusCode) -> bool {
    status == StatusCode::TOO_MANY_REQUESTS || status == StatusCode::SERVICE_UNAVAILABLE
}

pub(crate) fn is_passing(error: &ureq::Error) -> bool {
    use std::io::ErrorKind::{BrokenPipe, ConnectionAborted, ConnectionReset, UnexpectedEof};
    matches!(error, ureq::Error::Io(error)
        if matches!(error.kind(), BrokenPipe | ConnectionAborted | ConnectionReset | UnexpectedEof))
}

/// Why there is no answer. Who speaks TLS to a port without it hears of corrupt messages otherwise.
fn words(error: &ureq::Error) -> String {
    let said = error.to_string();
    if said.contains("InvalidContentType") {
        return "the server does not speak TLS on this port: is it http://, or another port?".to_owned();
    }
    said.trim_start_matches("io: ").to_owned()
}

fn retry_after(response: &Response<Body>) -> Option<Duration> {
    let seconds = response
        .headers()
        .get(header::RETRY_AFTER)?
        .to_str()
        .ok()?
        .parse()
        .ok()?;
    Some(Duration::from_secs(seconds))
}

fn answer(response: Response<Body>, path: &str, url: &str) -> Result<Response<Body>, SourceError> {
    let status = response.status();
    let unavailable = |why: &str| Err(SourceError::Unavailable(format!("{url}: {why}")));
    match status {
        StatusCode::OK => Ok(response),
        StatusCode::NOT_FOUND => Err(SourceError::missing(path)),
        StatusCode::UNAUTHORIZED => {
            unavailable("the token is not accepted: it is mistyped, expired or revoked")
        }
        StatusCode::FORBIDDEN => unavailable("this token may not read it: use one of a ledger auditor"),
        status if status.is_redirection() => {
            unavailable("it redirects elsewhere: name that URL if you trust it")
        }
        status => unavailable(&format!("the server answers {status}")),
    }
}

impl LogSource for Url {
    fn describe(&self) -> String {
        format!("the log at {}", self.base)
    }

    fn checkpoint(&self) -> Result<Option<Vec<u8>>, SourceError> {
        let path = "/log/checkpoint";
        let note = self.bytes_of_every(path, NOTE_BYTES_MAX)?;
        SignedCheckpoint::parse(&note).map_err(|error| self.elsewhere(path, error))?;
        Ok(Some(note))
    }

    fn head_dates(&self) -> Result<Vec<Date>, SourceError> {
        #[derive(Deserialize)]
        struct Head {
            date: Date,
        }
        #[derive(Deserialize)]
        struct List {
            data: Vec<Head>,
            next_cursor: Option<Date>,
        }
        let mut dates: Vec<Date> = Vec::new();
        let mut cursor = String::new();
        loop {
            let path = format!("/v1/heads?limit=366{cursor}");
            let list: List = serde_json::from_slice(&self.bytes_of_every(&path, HEADS_BYTES_MAX)?)
                .map_err(|error| self.elsewhere(&path, error))?;
            let before = dates.last().copied();
            dates.extend(list.data.iter().map(|head| head.date));
            match list.next_cursor {
                // A list that does not go back in time would never end.
                Some(next) if dates.last().copied() != before && before.is_none_or(|b| next < b) => {
                    cursor = format!("&cursor={next}");
                }
                _ => break,
            }
        }
        dates.sort_unstable();
        dates.dedup();
        Ok(dates)
    }

    fn head(&self, date: Date) -> Result<Vec<u8>, SourceError> {
        self.bytes(&format!("/{}", head_path(date)), TLOG_PROOF_BYTES_MAX)
    }

    fn rotations(&self) -> Result<Vec<(String, Vec<u8>)>, SourceError> {
        let list = match self.bytes(&format!("/{ROTATIONS}"), ROTATIONS_BYTES_MAX) {
            // Other logs, and older services, have none.
            Err(SourceError::Missing { .. }) => return Ok(Vec::new()),
            other => other?,
        };
        let positions = parse_rotations(&list).map_err(|why| SourceError::malformed(ROTATIONS, why))?;
        let proof = |at: Position| {
            let path = rotation_path(at);
            self.bytes(&format!("/{path}"), TLOG_PROOF_BYTES_MAX)
                .map(|bytes| (path, bytes))
        };
        positions.into_iter().map(proof).collect()
    }

    fn tile(&self, tile: Tile) -> Result<Vec<u8>, SourceError> {
        match self.bytes(&format!("/log/{tile}"), TILE_BYTES_MAX) {
            // A partial tile may go once there is the full one.
            Err(SourceError::Missing { .. }) if !tile.is_full() => {
                let mut bytes = self.bytes(&format!("/log/{}", tile.filled()), TILE_BYTES_MAX)?;
                bytes.truncate(usize::from(tile.width()) * 32);
                Ok(bytes)
            }
            other => other,
        }
    }

    fn entries(&self, from: Position, size: TreeSize) -> Result<Box<dyn EntryStream + '_>, SourceError> {
        Ok(Box::new(Lines {
            url: self,
            next: from,
            size,
            body: None,
            line: Vec::new(),
        }))
    }

    fn withholds_entries(&self) -> Option<String> {
        self.token.is_none().then(|| {
            "the entries themselves, which are shown with the token of an auditor only: the hashes of the tree were \
             checked in their place"
                .to_owned()
        })
    }
}

/// Entries as lines, some thousands a request.
struct Lines<'a> {
    url: &'a Url,
    next: Position,
    size: TreeSize,
    body: Option<BufReader<ureq::BodyReader<'static>>>,
    line: Vec<u8>,
}

impl Lines<'_> {
    /// The next line without its line feed; `false` where the answer ends.
    fn line(&mut self) -> Result<bool, SourceError> {
        let Some(body) = &mut self.body else {
            return Ok(false);
        };
        self.line.clear();
        let broken = |error: std::io::Error| SourceError::Unavailable(format!("{}: {error}", self.url.base));
        let mut limited = body.take(LINE_BYTES_MAX as u64 + 1);
        limited.read_until(b'\n', &mut self.line).map_err(broken)?;
        match self.line.pop() {
            None => Ok(false),
            Some(b'\n') => Ok(true),
            Some(_) => Err(SourceError::Malformed {
                what: "/v1/entries".to_owned(),
                position: Some(self.next),
                reason: "a line that does not end or is too long".to_owned(),
            }),
        }
    }
}

impl EntryStream for Lines<'_> {
    fn next(&mut self, chunk: &mut Chunk) -> Result<bool, SourceError> {
        chunk.clear();
        while chunk.len() < CHUNK_ENTRIES && self.size.contains(self.next) {
            if self.line()? {
                let item = parse_line(&self.line, self.next).map_err(|reason| SourceError::Malformed {
                    what: "/v1/entries".to_owned(),
                    position: Some(self.next),
                    reason,
                })?;
                match item {
                    Line::Entry(entry) => chunk.push(entry),
                    Line::Withheld(leaf) => chunk.push_withheld(&leaf),
                    Line::Pruned(leaf, by) => chunk.push_pruned(&leaf, by),
                }
                self.next = self.next.next();
                continue;
            }
            if !chunk.is_empty() {
                break;
            }
            // A short answer is no end: what follows it is asked for, and an empty one tells.
            let limit = REQUEST_ENTRIES.min(self.size.get() - self.next.get());
            let path = format!("/v1/entries?from={}&limit={limit}", self.next);
            let body = self.url.get(&path)?.into_body();
            self.body = Some(BufReader::new(body.into_with_config().limit(u64::MAX).reader()));
            if !self.line_waits()? {
                return Err(SourceError::Missing {
                    what: format!("the entry at position {}", self.next),
                    position: Some(self.next),
                });
            }
        }
        Ok(!chunk.is_empty())
    }
}

impl Lines<'_> {
    /// Whether the answer has anything.
    fn line_waits(&mut self) -> Result<bool, SourceError> {
        let broken = |error: std::io::Error| SourceError::Unavailable(format!("{}: {error}", self.url.base));
        match &mut self.body {
            Some(body) => body.fill_buf().map(|buffer| !buffer.is_empty()).map_err(broken),
            None => Ok(false),
        }
    }
}
