//! TLS: 1.3 and nothing below, but for ingest where the settings say so.
//!
//! The client here is rustls, so that the version is ours to choose. Not here: certificates' renewal.

use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned, SupportedProtocolVersion};
use std::io::{Read, Write};
use std::net::TcpStream;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::sync::Arc;
use tests::daybook::{Daybook, Options};

fn certificate(dir: &Path) -> (Options, CertificateDer<'static>) {
    let made = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).expect("a certificate");
    let (cert, key) = (dir.join("cert.pem"), dir.join("key.pem"));
    std::fs::write(&cert, made.cert.pem()).expect("written");
    std::fs::write(&key, made.signing_key.serialize_pem()).expect("written");
    std::fs::set_permissions(&key, std::fs::Permissions::from_mode(0o600)).expect("set");
    let options = Daybook::with()
        .set("tls_cert", cert.display())
        .set("tls_key", key.display());
    (options, made.cert.der().clone())
}

/// Asks over TLS of one version: the answer's first line, or why there is no connection.
fn ask(
    daybook: &Daybook,
    root: &CertificateDer<'static>,
    version: &'static SupportedProtocolVersion,
    request: &str,
) -> Result<String, String> {
    let mut roots = RootCertStore::empty();
    roots.add(root.clone()).expect("a root");
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&[version])
        .expect("a version")
        .with_root_certificates(roots)
        .with_no_client_auth();
    let name = ServerName::try_from("localhost").expect("a name");
    let connection = ClientConnection::new(Arc::new(config), name).map_err(|e| e.to_string())?;
    let socket = TcpStream::connect(daybook.address()).map_err(|e| e.to_string())?;
    let mut tls = StreamOwned::new(connection, socket);
    let request = format!("{request} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
    tls.write_all(request.as_bytes()).map_err(|e| e.to_string())?;
    let mut answer = Vec::new();
    // A server that closes without a farewell has still answered.
    let _ = tls.read_to_end(&mut answer);
    let text = String::from_utf8_lossy(&answer).into_owned();
    Ok(text.lines().next().unwrap_or_default().to_owned())
}

#[test]
fn nothing_below_tls_1_3_connects() {
    let dir = tempfile::tempdir().expect("a directory");
    let (options, root) = certificate(dir.path());
    let daybook = options.start();
    assert!(daybook.url().starts_with("https://"));
    let answer = ask(&daybook, &root, &rustls::version::TLS13, "GET /healthz").expect("connects");
    assert_eq!(answer, "HTTP/1.1 200 OK");
    ask(&daybook, &root, &rustls::version::TLS12, "GET /healthz").expect_err("refused");
}

#[test]
fn old_devices_may_send_where_the_settings_let_them_and_do_nothing_else() {
    let dir = tempfile::tempdir().expect("a directory");
    let (options, root) = certificate(dir.path());
    let daybook = options.set("tls_min_ingest", "1.2").start();
    let old = |request: &str| ask(&daybook, &root, &rustls::version::TLS12, request).expect("connects");
    assert_eq!(old("GET /healthz"), "HTTP/1.1 403 Forbidden");
    assert_eq!(old("GET /v1/sites"), "HTTP/1.1 403 Forbidden");
    assert_eq!(old("GET /v1/ingest/shelly?token=x"), "HTTP/1.1 401 Unauthorized");
    let (_, found, _) = daybook.cli(&["doctor"]);
    assert!(found.contains("1.2"), "{found}");
}

#[test]
fn a_private_key_that_others_may_read_stops_the_start() {
    let dir = tempfile::tempdir().expect("a directory");
    let (options, _) = certificate(dir.path());
    let key = dir.path().join("key.pem");
    std::fs::set_permissions(&key, std::fs::Permissions::from_mode(0o644)).expect("set");
    let said = options.try_start().map(drop).expect_err("refused");
    assert!(said.contains("chmod 600"), "{said}");
}
