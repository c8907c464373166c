//! What a witness answers over HTTP, and the limits on who asks: small enough for the smallest computer.
//!
//! `POST /add-checkpoint` · `POST /add-rotation` the proof of a rotation of a log's key (FORMAT §1) · `GET /<hex SHA-256 of an origin>/checkpoint` · `GET /` its key and what it has seen ·
//! `GET /healthz`.
//! Invariants: at most [`CONNECTIONS_MAX`] connections of [`BODY_BYTES_MAX`] each; nobody holds one for longer than the
//! timeouts without saying something; the disk is waited for on threads that may block; after the stop no new request
//! begins and those under way are answered.
//! Source: C2SP tlog-witness v1.0.0; the monitoring path is its later drafts'.
//! Not here: what is cosigned (`chain_publisher::witness`); TLS, which a proxy in front speaks where it is wanted: what is
//! sent is signed on both ways and public.

use bytes::Bytes;
use chain_publisher::witness::store::WitnessStore;
use chain_publisher::witness::{Refusal, SIZE_TYPE, Witness};
use domain::hash::sha256;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::header::{ALLOW, CACHE_CONTROL, CONTENT_TYPE, HeaderValue};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::GracefulShutdown;
use std::convert::Infallible;
use std::future::Future;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

/// Open connections. A log needs one; the rest is room for strangers, 32 MiB of bodies at the worst.
pub const CONNECTIONS_MAX: usize = 128;
/// Bytes of a request's body: a checkpoint with sixty ML-DSA-44 lines, and its proof.
pub const BODY_BYTES_MAX: usize = 256 << 10;
/// Bytes of a body that is too large which are read and dropped, so that who sends a little too much hears why.
const BODY_DROPPED_MAX: usize = 2 << 20;
/// For a request's headers, and for an idle connection.
const HEADER_TIMEOUT: Duration = Duration::from_secs(20);
/// For a request's body.
const BODY_TIMEOUT: Duration = Duration::from_secs(20);
/// Bytes of a request's headers; hyper takes no less.
const HEADER_BYTES_MAX: usize = 16 << 10;
/// Header lines of one request.
const HEADERS_MAX: usize = 64;
/// How long a stop waits for requests under way.
const STOP_GRACE: Duration = Duration::from_secs(5);
/// A pause after the kernel refused a connection, so that the loop does not spin.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);
/// Checkpoints that contradict a cosigned one and are kept as proof against their log; each is a log's own signature.
const CONFLICTS_MAX: usize = 64;

type Answer = Response<Full<Bytes>>;

/// A witness, and where proof against a log is kept.
pub struct Served<S> {
    /// What decides.
    pub witness: Witness<S>,
    /// The folder for checkpoints that show two histories of a log; made when there is the first.
    pub conflicts: PathBuf,
}

/// Answers until `stop` completes, then lets requests under way end.
pub async fn serve<S: WitnessStore + 'static>(
    served: Arc<Served<S>>,
    listener: TcpListener,
    stop: impl Future<Output = ()>,
) {
    let permits = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    let graceful = GracefulShutdown::new();
    let mut connections = JoinSet::new();
    let mut builder = http1::Builder::new();
    builder
        .timer(TokioTimer::new())
        .header_read_timeout(HEADER_TIMEOUT)
        .max_headers(HEADERS_MAX)
        .max_buf_size(HEADER_BYTES_MAX);
    tokio::pin!(stop);
    loop {
        let permit = tokio::select! {
            permit = Arc::clone(&permits).acquire_owned() => permit.expect("the semaphore is never closed"),
            () = &mut stop => break,
        };
        let socket = tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok((socket, _)) => socket,
                Err(error) => {
                    tracing::warn!(%error, "a connection could not be accepted");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                    continue;
                }
            },
            () = &mut stop => break,
        };
        let served = Arc::clone(&served);
        let service = service_fn(move |request| {
            let served = Arc::clone(&served);
            async move { Ok::<_, Infallible>(answer(&served, request).await) }
        });
        let connection = graceful.watch(builder.serve_connection(TokioIo::new(socket), service));
        connections.spawn(async move {
            if let Err(error) = connection.await {
                tracing::debug!(%error, "a connection ended early");
            }
            drop(permit);
        });
        while connections.try_join_next().is_some() {}
    }
    drop(listener);
    if tokio::time::timeout(STOP_GRACE, graceful.shutdown())
        .await
        .is_err()
    {
        tracing::warn!("requests under way took longer than the grace and were cut off");
    }
    connections.shutdown().await;
}

async fn answer<S: WitnessStore + 'static>(served: &Arc<Served<S>>, request: Request<Incoming>) -> Answer {
    let path = request.uri().path();
    let monitored = path
        .strip_prefix('/')
        .and_then(|rest| rest.strip_suffix("/checkpoint"));
    let wanted = match path {
        "/add-checkpoint" | "/add-rotation" => Method::POST,
        "/" | "/healthz" => Method::GET,
        _ if monitored.is_some() => Method::GET,
        _ => return words(StatusCode::NOT_FOUND, "there is nothing here"),
    };
    if *request.method() != wanted {
        let mut answer = words(StatusCode::METHOD_NOT_ALLOWED, &format!("use {wanted}"));
        let allow = if wanted == Method::POST { "POST" } else { "GET" };
        answer
            .headers_mut()
            .insert(ALLOW, HeaderValue::from_static(allow));
        return answer;
    }
    match (path, monitored) {
        ("/healthz", _) => words(StatusCode::OK, "ok"),
        ("/", _) => words(StatusCode::OK, describe(&served.witness).trim_end()),
        (_, Some(origin_hash)) => match served.witness.latest(origin_hash) {
            Some(note) => text(StatusCode::OK, "text/plain; charset=utf-8", note),
            None => words(
                StatusCode::NOT_FOUND,
                "no checkpoint of such a log was cosigned here",
            ),
        },
        ("/add-rotation", _) => decided(served, request, Served::add_rotation).await,
        _ => decided(served, request, Served::add_checkpoint).await,
    }
}

impl<S: WitnessStore> Served<S> {
    fn add_checkpoint(&self, body: &[u8]) -> Result<String, Refusal> {
        let decided = self.witness.add_checkpoint(body);
        if let Err(Refusal::OtherRoot { .. }) = &decided {
            keep_conflict(&self.conflicts, body);
        }
        decided
    }

    fn add_rotation(&self, body: &[u8]) -> Result<String, Refusal> {
        let key = self.witness.add_rotation(body)?;
        tracing::warn!(%key, "a log has a new key: the one before vouches for it, and it is trusted from here on");
        Ok(format!("{key}\n"))
    }
}

/// The answer to a body, decided on a thread that may block.
async fn decided<S: WitnessStore + 'static>(
    served: &Arc<Served<S>>,
    request: Request<Incoming>,
    decide: fn(&Served<S>, &[u8]) -> Result<String, Refusal>,
) -> Answer {
    let body = match tokio::time::timeout(BODY_TIMEOUT, body(request.into_body())).await {
        Ok(Ok(body)) if body.len() > BODY_BYTES_MAX => {
            return words(
                StatusCode::PAYLOAD_TOO_LARGE,
                &format!("a body has at most {BODY_BYTES_MAX} bytes"),
            );
        }
        Ok(Ok(body)) => body,
        Ok(Err(_)) => return words(StatusCode::BAD_REQUEST, "the body ended early"),
        Err(_) => return words(StatusCode::REQUEST_TIMEOUT, "the body took too long"),
    };
    let served = Arc::clone(served);
    match tokio::task::spawn_blocking(move || decide(&served, &body)).await {
        Ok(Ok(lines)) => text(StatusCode::OK, "text/plain; charset=utf-8", lines),
        Ok(Err(refusal)) => refused(&refusal),
        Err(error) => {
            tracing::error!(%error, "a request could not be decided");
            words(StatusCode::INTERNAL_SERVER_ERROR, "this witness has a fault")
        }
    }
}

/// The body; of one that is too large no more than a byte beyond the limit is kept.
async fn body(mut incoming: Incoming) -> Result<Vec<u8>, hyper::Error> {
    let (mut bytes, mut dropped) = (Vec::new(), 0);
    while let Some(frame) = incoming.frame().await {
        let Ok(data) = frame?.into_data() else { continue };
        let room = (BODY_BYTES_MAX + 1 - bytes.len()).min(data.len());
        bytes.extend_from_slice(&data[..room]);
        dropped += data.len() - room;
        if dropped > BODY_DROPPED_MAX {
            break;
        }
    }
    Ok(bytes)
}

fn refused(refusal: &Refusal) -> Answer {
    match refusal {
        Refusal::OtherRoot { .. } => tracing::error!(%refusal, "a log shows two histories"),
        Refusal::Inconsistent(_) => tracing::warn!(%refusal, "a signed checkpoint does not continue"),
        Refusal::Store(_) | Refusal::Clock => tracing::error!(%refusal, "nothing can be cosigned"),
        _ => tracing::debug!(%refusal, "a checkpoint was refused"),
    }
    let status = StatusCode::from_u16(refusal.status()).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    match refusal.known() {
        Some(known) => text(status, SIZE_TYPE, format!("{known}\n")),
        None => words(status, &refusal.to_string()),
    }
}

/// Two signed checkpoints of one size and two roots prove that their log lied; the one that came later is kept here.
fn keep_conflict(dir: &std::path::Path, body: &[u8]) {
    let keep = || -> std::io::Result<()> {
        std::fs::create_dir_all(dir)?;
        let path = dir.join(format!("{}.add-checkpoint", sha256(body).to_hex()));
        if path.exists() || std::fs::read_dir(dir)?.count() >= CONFLICTS_MAX {
            return Ok(());
        }
        let mut file = std::fs::File::create(&path)?;
        std::io::Write::write_all(&mut file, body)?;
        file.sync_all()
    };
    if let Err(error) = keep() {
        tracing::warn!(%error, "a checkpoint that proves two histories could not be kept");
    }
}

/// Its key, and each log with the latest size cosigned.
fn describe<S: WitnessStore>(witness: &Witness<S>) -> String {
    let mut text = format!("{}\n", witness.verifier_key());
    for (origin, size) in witness.logs() {
        text.push_str(&format!("{size} {origin}\n"));
    }
    text
}

fn words(status: StatusCode, words: &str) -> Answer {
    text(status, "text/plain; charset=utf-8", format!("{words}\n"))
}

fn text(status: StatusCode, kind: &'static str, text: String) -> Answer {
    let mut answer = Response::new(Full::new(Bytes::from(text)));
    *answer.status_mut() = status;
    let headers = answer.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    answer
}
