//! Real conversations with a mail server: TLS, signing in, refusals, hang-ups.

use api::mail::{Attachment, Mail, MailClass, MailError, MailSettings, MailTls, Mailer, MessageId};
use domain::Timestamp;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::time::{Duration, Instant};
use tests::certificates::Certificates;
use tests::smtp::{MailServer, PASSWORD, USER};

fn settings(dir: &Path, server: &MailServer, tls: MailTls, certificates: &Certificates) -> MailSettings {
    let credentials = dir.join("credentials");
    std::fs::write(&credentials, format!("{USER}\n{PASSWORD}\n")).expect("written");
    std::fs::set_permissions(&credentials, std::fs::Permissions::from_mode(0o600)).expect("set");
    MailSettings {
        host: "localhost".to_owned(),
        port: Some(server.port),
        tls,
        from: "Daybook <log@example.eu>".to_owned(),
        credentials_file: (tls != MailTls::None).then_some(credentials),
        ca_file: Some(certificates.authority.clone()),
        hello: None,
        timeout_s: 20,
    }
}

fn mail() -> Mail {
    Mail {
        to: "Kim <kim@example.eu>".to_owned(),
        subject: "Wärme".to_owned(),
        text: "Plain words.\n.\nA line with one dot stands before this.\n".to_owned(),
        html: Some("<p>Words.</p>".to_owned()),
        attachments: vec![Attachment {
            name: "a.tlog-proof".to_owned(),
            media_type: "text/plain",
            bytes: b"c2sp.org/tlog-proof@v1\n".to_vec(),
        }],
        id: MessageId::of("log.example/main", "one"),
        at: Timestamp::parse_rfc3339("2026-05-18T00:00:01Z").expect("a time"),
    }
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .expect("a runtime")
}

fn send(settings: &MailSettings) -> Result<(), MailError> {
    let mailer = Mailer::open(settings).expect("usable");
    runtime().block_on(mailer.send(&mail()))
}

#[test]
fn a_message_arrives_over_starttls_over_implicit_tls_and_over_loopback() {
    let dir = tempfile::tempdir().expect("a directory");
    let certificates = Certificates::make(dir.path(), "good");
    for (name, tls) in [
        ("starttls", MailTls::Starttls),
        ("implicit", MailTls::Implicit),
        ("none", MailTls::None),
    ] {
        let server = MailServer::start(&dir.path().join(name), name, &certificates).expect("a mail server");
        send(&settings(dir.path(), &server, tls, &certificates)).expect("sent");
        let taken = server.taken();
        assert_eq!(taken.len(), 1, "{name}");
        assert_eq!(taken[0].to, "kim@example.eu");
        let id = MessageId::of("log.example/main", "one");
        assert!(
            taken[0].message.contains(&format!("Message-ID: {}", id.as_str())),
            "{}",
            taken[0].message
        );
        assert!(taken[0].message.contains("\n.\r\nA line") || taken[0].message.contains("\n.\nA line"));
    }
}

#[test]
fn refusals_and_hang_ups_have_the_class_that_they_mean_and_tell_no_address() {
    let dir = tempfile::tempdir().expect("a directory");
    let certificates = Certificates::make(dir.path(), "good");
    let server =
        MailServer::start(&dir.path().join("mails"), "starttls", &certificates).expect("a mail server");
    let settings = settings(dir.path(), &server, MailTls::Starttls, &certificates);
    for (how, class, words) in [
        ("rcpt-4xx", MailClass::Transient, "450, 4.2.1"),
        ("rcpt-5xx", MailClass::Permanent, "550, 5.1.1"),
        ("data-4xx", MailClass::Transient, "451, 4.3.0"),
        ("data-5xx", MailClass::Permanent, "554, 5.7.1"),
        ("hangup", MailClass::Transient, "hung up"),
    ] {
        server.behave(how);
        let error = send(&settings).expect_err(how);
        assert_eq!(error.class, class, "{how}: {error}");
        assert!(error.reason.contains(words), "{how}: {error}");
        assert!(!error.reason.contains("kim"), "{how}: {error}");
    }
    assert!(server.taken().is_empty());
    // It was taken, and nobody here knows: the same message goes again under the same id.
    server.behave("hangup-after");
    assert_eq!(send(&settings).expect_err("unknown").class, MailClass::Transient);
    server.behave("ok");
    send(&settings).expect("sent");
    let id = |message: &str| {
        let line = message.lines().find(|line| line.starts_with("Message-ID:"));
        line.expect("an id").to_owned()
    };
    let taken = server.taken();
    assert_eq!(taken.len(), 2);
    assert_eq!(id(&taken[0].message), id(&taken[1].message));
}

#[test]
fn a_server_that_nobody_trusted_vouches_for_gets_nothing() {
    let dir = tempfile::tempdir().expect("a directory");
    let (good, other) = (
        Certificates::make(dir.path(), "good"),
        Certificates::make(dir.path(), "other"),
    );
    for (name, tls) in [("starttls", MailTls::Starttls), ("implicit", MailTls::Implicit)] {
        let server = MailServer::start(&dir.path().join(name), name, &other).expect("a mail server");
        for ca_file in [Some(good.authority.clone()), None] {
            let settings = MailSettings {
                ca_file,
                ..settings(dir.path(), &server, tls, &good)
            };
            let error = send(&settings).expect_err("refused");
            assert_eq!(error.class, MailClass::Transient);
            assert!(error.reason.contains("certificate is not trusted"), "{error}");
        }
        assert!(server.taken().is_empty());
    }
}

#[test]
fn a_wrong_password_is_said_as_such_and_not_said_again() {
    let dir = tempfile::tempdir().expect("a directory");
    let certificates = Certificates::make(dir.path(), "good");
    let server =
        MailServer::start(&dir.path().join("mails"), "starttls", &certificates).expect("a mail server");
    let good = settings(dir.path(), &server, MailTls::Starttls, &certificates);
    let credentials = good.credentials_file.clone().expect("a file");
    std::fs::write(&credentials, format!("{USER}\nwrong words\n")).expect("written");
    let error = send(&good).expect_err("refused");
    assert_eq!(error.class, MailClass::Auth, "{error}");
    assert!(
        error.reason.contains("535") && !error.reason.contains("wrong words"),
        "{error}"
    );
    // Without any, the server says that it wants one.
    let nobody = MailSettings {
        credentials_file: None,
        ..good
    };
    assert_eq!(send(&nobody).expect_err("refused").class, MailClass::Auth);
    assert!(server.taken().is_empty());
}

#[test]
fn a_server_without_starttls_gets_neither_password_nor_message() {
    let dir = tempfile::tempdir().expect("a directory");
    let certificates = Certificates::make(dir.path(), "good");
    let server = MailServer::start(&dir.path().join("mails"), "none", &certificates).expect("a mail server");
    let error = send(&settings(dir.path(), &server, MailTls::Starttls, &certificates)).expect_err("refused");
    assert!(error.reason.contains("STARTTLS"), "{error}");
    assert!(server.taken().is_empty());
}

#[test]
fn a_silent_server_is_left_in_time_and_at_once_by_who_gives_up() {
    let dir = tempfile::tempdir().expect("a directory");
    let certificates = Certificates::make(dir.path(), "good");
    let server =
        MailServer::start(&dir.path().join("mails"), "starttls", &certificates).expect("a mail server");
    server.behave("silent");
    let mut settings = settings(dir.path(), &server, MailTls::Starttls, &certificates);
    settings.timeout_s = 2;
    let error = send(&settings).expect_err("too slow");
    assert_eq!(error.class, MailClass::Transient);
    assert!(error.reason.contains("within 2 s"), "{error}");
    settings.timeout_s = 600;
    let mailer = Mailer::open(&settings).expect("usable");
    let (began, mail) = (Instant::now(), mail());
    runtime().block_on(async {
        tokio::select! {
            sent = mailer.send(&mail) => panic!("{sent:?}"),
            () = tokio::time::sleep(Duration::from_millis(500)) => {}
        }
    });
    assert!(began.elapsed() < tests::PATIENCE);
    // Nobody listens there.
    let port = settings.port.take();
    drop(server);
    settings.port = port;
    assert_eq!(send(&settings).expect_err("nobody").class, MailClass::Transient);
}
