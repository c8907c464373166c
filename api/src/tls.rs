//! TLS: certificate and key from files, TLS 1.3, and 1.2 only where old devices were let in on purpose.
//!
//! Invariants: without `tls_min_ingest = "1.2"` nothing below TLS 1.3 completes a handshake; the key file must
//! not be readable by others.
//! Not here: which routes a TLS 1.2 connection may use (`router`), the accept loop (`serve`).

use crate::config::{Settings, TlsMin};
use crate::request::Transport;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ProtocolVersion, ServerConfig};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use tokio_rustls::TlsAcceptor;

/// TLS could not be set up.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// A file is missing or not PEM.
    #[error("{path} cannot be used: {reason}")]
    File {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        reason: String,
    },
    /// Others may read the private key.
    #[error("{0} holds a private key that others may read: chmod 600 {0}")]
    Exposed(PathBuf),
    /// Certificate and key do not fit.
    #[error("the certificate cannot be used: {0}")]
    Rejected(#[from] rustls::Error),
}

/// What TLS connections are accepted with; `None` where the settings name no certificate.
///
/// # Errors
/// [`TlsError`], naming the file.
pub fn acceptor(settings: &Settings) -> Result<Option<TlsAcceptor>, TlsError> {
    let (Some(cert), Some(key)) = (&settings.tls_cert, &settings.tls_key) else {
        return Ok(None);
    };
    let chain = certificates(cert)?;
    let key = private_key(key)?;
    let versions: &[&rustls::SupportedProtocolVersion] = match settings.tls_min_ingest {
        TlsMin::Tls13 => &[&rustls::version::TLS13],
        TlsMin::Tls12 => &[&rustls::version::TLS13, &rustls::version::TLS12],
    };
    // The provider is named here, so that no process-wide default has to be set before.
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_protocol_versions(versions)?
        .with_no_client_auth()
        .with_single_cert(chain, key)?;
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(Some(TlsAcceptor::from(Arc::new(config))))
}

/// How a connection that completed its handshake is protected.
pub fn transport(version: Option<ProtocolVersion>) -> Transport {
    match version {
        Some(ProtocolVersion::TLSv1_3) => Transport::Tls13,
        _ => Transport::Tls12,
    }
}

/// The certificates of a PEM file, at least one.
///
/// # Errors
/// [`TlsError::File`].
pub fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let chain = CertificateDer::pem_file_iter(path)
        .and_then(Iterator::collect::<Result<Vec<_>, _>>)
        .map_err(|error| file(path, error))?;
    if chain.is_empty() {
        return Err(file(path, "there is no certificate in it"));
    }
    Ok(chain)
}

fn private_key(path: &Path) -> Result<PrivateKeyDer<'static>, TlsError> {
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        let mode = std::fs::metadata(path)
            .map_err(|error| file(path, error))?
            .permissions()
            .mode();
        if mode & 0o077 != 0 {
            return Err(TlsError::Exposed(path.to_owned()));
        }
    }
    PrivateKeyDer::from_pem_file(path).map_err(|error| file(path, error))
}

fn file(path: &Path, reason: impl ToString) -> TlsError {
    TlsError::File {
        path: path.to_owned(),
        reason: reason.to_string(),
    }
}
