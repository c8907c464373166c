//! The conversation with a mail server, and what an error of it means.
//!
//! Each message is a connection of its own: there are few, and a connection that was kept is one that may be gone.
//! Invariants: as the room's; a server that cannot secure its line, or that nobody trusted vouches for, gets neither the
//! password nor the message; an error says what the server's code was, never its words, which repeat addresses.
//! Source: RFC 5321 §4.2 (codes), RFC 3463 (enhanced codes), RFC 4954 (authentication).
//! Not here: what is sent (`message`).

use super::message::{Mail, build};
use super::settings::{MailSettings, MailTls};
use lettre::message::Mailbox;
use lettre::transport::smtp::authentication::{Credentials, Mechanism};
use lettre::transport::smtp::client::{Certificate, CertificateStore, Tls, TlsParameters};
use lettre::transport::smtp::extension::ClientId;
use lettre::transport::smtp::{AsyncSmtpTransport, Error};
use lettre::{AsyncTransport, Tokio1Executor};
use std::time::Duration;

/// What an error means for whoever sends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MailClass {
    /// It was refused for good: the address or the message will not do.
    Permanent,
    /// It did not work now, or nobody knows whether it did: try again, with the same Message-ID.
    Transient,
    /// The server does not take this user and password.
    Auth,
}

impl MailClass {
    /// In a word, for metrics.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Permanent => "permanent",
            Self::Transient => "transient",
            Self::Auth => "auth",
        }
    }
}

/// A message was not sent, or nobody knows; in words, without addresses or secrets.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{reason}")]
pub struct MailError {
    /// What it means.
    pub class: MailClass,
    /// What happened.
    pub reason: String,
}

/// Sends messages over one server.
pub struct Mailer {
    transport: AsyncSmtpTransport<Tokio1Executor>,
    from: Mailbox,
    within: Duration,
}

impl Mailer {
    /// Reads what the settings name; nothing is connected yet.
    ///
    /// # Errors
    /// In words, without secrets.
    pub fn open(settings: &MailSettings) -> Result<Self, String> {
        settings.check()?;
        let from = settings
            .from
            .parse()
            .map_err(|_| "mail.from is no address".to_owned())?;
        let within = Duration::from_secs(settings.timeout_s);
        let mut builder = AsyncSmtpTransport::<Tokio1Executor>::builder_dangerous(settings.host.clone())
            .port(settings.port())
            .timeout(Some(within))
            .tls(tls(settings)?);
        if let Some(name) = &settings.hello {
            builder = builder.hello_name(ClientId::Domain(name.clone()));
        }
        if let Some((user, password)) = settings.credentials()? {
            builder = builder
                .credentials(Credentials::new(user, password.to_string()))
                .authentication(vec![Mechanism::Plain, Mechanism::Login]);
        }
        Ok(Self {
            transport: builder.build(),
            from,
            within,
        })
    }

    /// Sends one message; the server has taken it when this returns. Dropping it ends the conversation.
    ///
    /// # Errors
    /// [`MailError`], whose class says whether it is worth trying again.
    pub async fn send(&self, mail: &Mail) -> Result<(), MailError> {
        self.send_to_subscriber(mail, None, None).await
    }

    /// As [`Mailer::send`], from another sender of ours, and with a URL at which one click unsubscribes.
    ///
    /// # Errors
    /// As [`Mailer::send`].
    pub async fn send_to_subscriber(
        &self,
        mail: &Mail,
        from: Option<&Mailbox>,
        unsubscribe: Option<&str>,
    ) -> Result<(), MailError> {
        let message = build(mail, from.unwrap_or(&self.from), unsubscribe).map_err(|reason| MailError {
            class: MailClass::Permanent,
            reason,
        })?;
        let sent = tokio::time::timeout(self.within, self.transport.send(message)).await;
        match sent {
            Ok(Ok(_)) => Ok(()),
            Ok(Err(error)) => Err(meaning(&error)),
            Err(_) => Err(MailError {
                class: MailClass::Transient,
                reason: format!("the mail server was not done within {} s", self.within.as_secs()),
            }),
        }
    }
}

fn tls(settings: &MailSettings) -> Result<Tls, String> {
    if settings.tls == MailTls::None {
        return Ok(Tls::None);
    }
    let mut parameters = TlsParameters::builder(settings.host.clone());
    match &settings.ca_file {
        None => parameters = parameters.certificate_store(CertificateStore::WebpkiRoots),
        Some(path) => {
            parameters = parameters.certificate_store(CertificateStore::None);
            for authority in crate::tls::certificates(path).map_err(|error| error.to_string())? {
                let authority =
                    Certificate::from_der(authority.to_vec()).map_err(|error| error.to_string())?;
                parameters = parameters.add_root_certificate(authority);
            }
        }
    }
    let parameters = parameters.build_rustls().map_err(|error| error.to_string())?;
    Ok(match settings.tls {
        MailTls::Implicit => Tls::Wrapper(parameters),
        MailTls::Starttls | MailTls::None => Tls::Required(parameters),
    })
}

fn meaning(error: &Error) -> MailError {
    let (class, reason) = match error.status().map(u16::from) {
        // RFC 4954 §6: no user, a weak mechanism, wrong credentials, no secured line.
        Some(code @ (530 | 534 | 535 | 538)) => (
            MailClass::Auth,
            format!("the mail server does not take this user and password ({code})"),
        ),
        Some(code) => {
            let class = if error.is_permanent() {
                MailClass::Permanent
            } else {
                MailClass::Transient
            };
            let enhanced = enhanced(error)
                .map(|code| format!(", {code}"))
                .unwrap_or_default();
            (class, format!("the mail server answered {code}{enhanced}"))
        }
        None if is_untrusted(error) => (
            MailClass::Transient,
            "the mail server's certificate is not trusted: see its name, its validity, and mail.ca_file"
                .to_owned(),
        ),
        None if error.is_timeout() => (MailClass::Transient, "the mail server took too long".to_owned()),
        None if error.is_client() => (
            MailClass::Transient,
            "the mail server offers no STARTTLS or no way to sign in that is known here".to_owned(),
        ),
        None if error.is_response() => (
            MailClass::Transient,
            "the mail server hung up, or what it said is no SMTP".to_owned(),
        ),
        None => (
            MailClass::Transient,
            "the mail server cannot be connected to, or hung up".to_owned(),
        ),
    };
    MailError { class, reason }
}

/// `5.1.1` at the beginning of an answer.
fn enhanced(error: &Error) -> Option<String> {
    let said = std::error::Error::source(error)?.to_string();
    let first = said.split_whitespace().next()?;
    let parts: Vec<&str> = first.split('.').collect();
    let digits =
        |part: &&str| !part.is_empty() && part.len() <= 3 && part.chars().all(|c| c.is_ascii_digit());
    (parts.len() == 3 && parts.iter().all(digits)).then(|| first.to_owned())
}

/// Whether it ended because of the server's certificate.
fn is_untrusted(error: &Error) -> bool {
    let mut next = std::error::Error::source(error);
    while let Some(error) = next {
        let inner = error
            .downcast_ref::<std::io::Error>()
            .and_then(|error| error.get_ref());
        let tls = error
            .downcast_ref::<rustls::Error>()
            .or_else(|| inner.and_then(|inner| inner.downcast_ref::<rustls::Error>()));
        if matches!(tls, Some(rustls::Error::InvalidCertificate(_))) {
            return true;
        }
        next = error.source();
    }
    false
}
