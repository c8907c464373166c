//! A POST to somebody else's server, which ends the moment its future is dropped.
//!
//! Invariants: redirects are not followed; of an answer only the status is looked at; an error names neither URL nor
//! header, which may hold a secret; a whole exchange has an end.
//! Not here: what is sent, signatures (`chain_publisher::publish::webhook`), when it is tried again.

use bytes::Bytes;
use http_body_util::Full;
use hyper::{Request, StatusCode, Uri};
use hyper_util::rt::TokioIo;
use rustls::pki_types::ServerName;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

/// Why there is no answer, in words that name nobody.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum PostError {
    /// Not an `http://` or `https://` URL with a host.
    #[error("its address is none")]
    Address,
    /// Nobody there, or the connection broke.
    #[error("it cannot be connected to")]
    Connection,
    /// Nobody trusted vouches for it.
    #[error("its certificate is not trusted")]
    Untrusted,
    /// Not HTTP.
    #[error("what came back is no answer")]
    Answer,
    /// Longer than it may take.
    #[error("it took too long")]
    Timeout,
}

/// A place that is posted to.
pub struct Receiver {
    uri: Uri,
    tls: Arc<rustls::ClientConfig>,
}

impl Receiver {
    /// The receiver at that URL, vouched for by these authorities, or by those that browsers trust.
    ///
    /// # Errors
    /// In words, without the URL.
    pub fn new(url: &str, authorities: Option<&Path>) -> Result<Self, String> {
        let uri: Uri = url.parse().map_err(|_| PostError::Address.to_string())?;
        if !matches!(uri.scheme_str(), Some("http" | "https")) || uri.host().is_none() {
            return Err(PostError::Address.to_string());
        }
        let tls = crate::tls::client(authorities).map_err(|error| error.to_string())?;
        Ok(Self { uri, tls })
    }

    /// Posts, and gives the status of the answer.
    ///
    /// # Errors
    /// [`PostError`].
    pub async fn post(
        &self,
        headers: &[(&'static str, String)],
        body: Vec<u8>,
        within: Duration,
    ) -> Result<StatusCode, PostError> {
        tokio::time::timeout(within, self.exchange(headers, body))
            .await
            .unwrap_or(Err(PostError::Timeout))
    }

    async fn exchange(
        &self,
        headers: &[(&'static str, String)],
        body: Vec<u8>,
    ) -> Result<StatusCode, PostError> {
        let host = self.uri.host().ok_or(PostError::Address)?;
        let is_tls = self.uri.scheme_str() == Some("https");
        let port = self.uri.port_u16().unwrap_or(if is_tls { 443 } else { 80 });
        let bare = host.trim_start_matches('[').trim_end_matches(']');
        let stream = TcpStream::connect((bare, port))
            .await
            .map_err(|_| PostError::Connection)?;
        let authority = self.uri.authority().ok_or(PostError::Address)?;
        // Who is at the door is no part of the host's name.
        let named = authority.as_str().rsplit('@').next().unwrap_or_default();
        let path = self.uri.path_and_query().map_or("/", |path| path.as_str());
        let mut request = Request::post(path)
            .header("host", named)
            .header("connection", "close");
        for (name, value) in headers {
            request = request.header(*name, value);
        }
        let request = request
            .body(Full::new(Bytes::from(body)))
            .map_err(|_| PostError::Address)?;
        if !is_tls {
            return send(stream, request).await;
        }
        let name = ServerName::try_from(bare.to_owned()).map_err(|_| PostError::Address)?;
        let stream = TlsConnector::from(Arc::clone(&self.tls))
            .connect(name, stream)
            .await
            .map_err(|error| {
                let inner = error
                    .get_ref()
                    .and_then(|inner| inner.downcast_ref::<rustls::Error>());
                match inner {
                    Some(rustls::Error::InvalidCertificate(_)) => PostError::Untrusted,
                    _ => PostError::Connection,
                }
            })?;
        send(stream, request).await
    }
}

/// Sends a request and drives its connection until there is an answer: both end together.
async fn send<S>(stream: S, request: Request<Full<Bytes>>) -> Result<StatusCode, PostError>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let handshake = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await;
    let (mut sender, connection) = handshake.map_err(|_| PostError::Connection)?;
    let mut connection = std::pin::pin!(connection);
    let mut answer = std::pin::pin!(sender.send_request(request));
    tokio::select! {
        biased;
        answer = &mut answer => answer.map(|answer| answer.status()).map_err(|_| PostError::Answer),
        ended = &mut connection => match ended {
            // It may have ended with the answer.
            Ok(()) => answer.await.map(|answer| answer.status()).map_err(|_| PostError::Answer),
            Err(_) => Err(PostError::Answer),
        },
    }
}
