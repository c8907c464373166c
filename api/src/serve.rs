//! The accept loop: sockets, TLS, HTTP/1.1 and HTTP/2, limits on all of them, and a graceful stop.
//!
//! warp 0.4 accepts no TLS, so connections are served by hyper with the filter tree as their service.
//! Invariants: at most `connections_max` connections; nobody holds one for longer than the header timeout
//! without sending a request; after the stop no new request begins and those under way are answered.
//! Not here: routes (`router`), what a stop does behind the edge (`app`).

use crate::config::Settings;
use crate::request::{Arrival, Peer, Transport};
use crate::router;
use crate::tls;
use futures_util::future::Either;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use hyper_util::server::graceful::{GracefulShutdown, Watcher};
use hyper_util::service::TowerToHyperService;
use std::future::Future;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::JoinSet;
use tokio_rustls::TlsAcceptor;

/// HTTP/2 requests at once on one connection; browsers use a dozen.
const STREAMS_PER_CONNECTION: u32 = 64;
/// Header lines of one request; browsers send about thirty.
const HEADERS_MAX: usize = 64;
/// A pause after the kernel refused a connection (out of descriptors), so that the loop does not spin.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);
/// How often a silent HTTP/2 connection is asked whether it is still there.
const PING_INTERVAL: Duration = Duration::from_secs(30);

/// What every connection needs.
struct Shared {
    builder: auto::Builder<TokioExecutor>,
    acceptor: Option<TlsAcceptor>,
    header_timeout: Duration,
}

/// As [`serve_over`], with what the settings say about TLS.
///
/// # Errors
/// Where TLS cannot be set up.
pub async fn serve(
    app: router::Edge,
    listener: TcpListener,
    stop: impl Future<Output = ()>,
) -> Result<(), tls::TlsError> {
    let acceptor = tls::acceptor(app.settings())?;
    serve_over(app, listener, acceptor, stop).await;
    Ok(())
}

/// Accepts connections until `stop` completes, then lets requests under way end, for `stop_grace_s` at most.
/// `acceptor` is what [`tls::acceptor`] made of the settings, so that a start fails before anything is opened.
pub async fn serve_over(
    app: router::Edge,
    listener: TcpListener,
    acceptor: Option<TlsAcceptor>,
    stop: impl Future<Output = ()>,
) {
    let settings = app.settings();
    let permits = Arc::new(Semaphore::new(settings.connections_max));
    let grace = Duration::from_secs(settings.stop_grace_s);
    let shared = Arc::new(Shared {
        builder: builder(settings),
        acceptor,
        header_timeout: Duration::from_secs(settings.header_timeout_s),
    });
    let graceful = GracefulShutdown::new();
    let mut connections = JoinSet::new();
    tokio::pin!(stop);
    loop {
        // A connection is taken from the kernel only when there is room for it.
        let permit = tokio::select! {
            permit = Arc::clone(&permits).acquire_owned() => permit.expect("the semaphore is never closed"),
            () = &mut stop => break,
        };
        let (socket, address) = tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok(accepted) => accepted,
                Err(error) => {
                    tracing::warn!(%error, "a connection could not be accepted");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                    continue;
                }
            },
            () = &mut stop => break,
        };
        let connection = connection(
            app.clone(),
            Arc::clone(&shared),
            socket,
            address,
            graceful.watcher(),
            permit,
        );
        connections.spawn(connection);
        while connections.try_join_next().is_some() {}
    }
    drop(listener);
    app.begin_stop();
    if tokio::time::timeout(grace, graceful.shutdown()).await.is_err() {
        tracing::warn!("requests under way took longer than the grace and were cut off");
    }
    connections.shutdown().await;
}

fn builder(settings: &Settings) -> auto::Builder<TokioExecutor> {
    let mut builder = auto::Builder::new(TokioExecutor::new());
    builder
        .http1()
        .timer(TokioTimer::new())
        .header_read_timeout(Duration::from_secs(settings.header_timeout_s))
        .max_headers(HEADERS_MAX)
        .max_buf_size(settings.header_bytes_max.max(16 << 10));
    builder
        .http2()
        .timer(TokioTimer::new())
        .max_concurrent_streams(STREAMS_PER_CONNECTION)
        .max_header_list_size(settings.header_bytes_max as u32)
        .keep_alive_interval(PING_INTERVAL)
        .keep_alive_timeout(Duration::from_secs(settings.header_timeout_s));
    builder
}

async fn connection(
    app: router::Edge,
    shared: Arc<Shared>,
    socket: TcpStream,
    address: SocketAddr,
    watcher: Watcher,
    permit: OwnedSemaphorePermit,
) {
    // Answers are small and somebody waits for each.
    if let Err(error) = socket.set_nodelay(true) {
        tracing::debug!(%error, "nagle's delay could not be switched off");
    }
    let Some(acceptor) = &shared.acceptor else {
        let peer = Peer {
            ip: address.ip(),
            transport: Transport::Plain,
        };
        http(app, &shared, socket, peer, watcher).await;
        return drop(permit);
    };
    match tokio::time::timeout(shared.header_timeout, acceptor.accept(socket)).await {
        Ok(Ok(stream)) => {
            let peer = Peer {
                ip: address.ip(),
                transport: tls::transport(stream.get_ref().1.protocol_version()),
            };
            http(app, &shared, stream, peer, watcher).await;
        }
        Ok(Err(error)) => tracing::debug!(%error, "a tls handshake failed"),
        Err(_) => tracing::debug!("a tls handshake took too long"),
    }
    drop(permit);
}

async fn http<I>(app: router::Edge, shared: &Shared, io: I, peer: Peer, watcher: Watcher)
where
    I: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    let began = Arc::new(AtomicBool::new(false));
    let filter = TowerToHyperService::new(warp::service(router::filter(app)));
    let seen = Arc::clone(&began);
    let service = hyper::service::service_fn(move |mut request: hyper::Request<hyper::body::Incoming>| {
        seen.store(true, Ordering::Relaxed);
        let arrival = Arrival {
            peer,
            uri: request.uri().clone(),
            headers: Arc::new(std::mem::take(request.headers_mut())),
        };
        request.extensions_mut().insert(arrival);
        hyper::service::Service::call(&filter, request)
    });
    let served = watcher.watch(
        shared
            .builder
            .serve_connection_with_upgrades(TokioIo::new(io), service)
            .into_owned(),
    );
    tokio::pin!(served);
    // hyper's header timeout begins once it knows the version, which a peer may withhold; ours begins now.
    let first = tokio::time::sleep(shared.header_timeout);
    tokio::pin!(first);
    let ended = match futures_util::future::select(served, first).await {
        Either::Left((ended, _)) => ended,
        Either::Right(((), served)) if began.load(Ordering::Relaxed) => served.await,
        Either::Right(_) => return tracing::debug!("a connection sent no request in time"),
    };
    if let Err(error) = ended {
        tracing::debug!(%error, "a connection ended early");
    }
}
