//! Where the mail server is, how it is trusted, and where user and password come from.
//!
//! Not here: the conversation (`transport`).

use commands::keys::read_secret_text;
use serde::{Deserialize, Serialize};
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use zeroize::Zeroizing;

/// The environment's variable with the user, where no file is named.
pub const USER_VARIABLE: &str = "DAYBOOK_MAIL_USER";
/// The environment's variable with the password, where no file is named.
pub const PASSWORD_VARIABLE: &str = "DAYBOOK_MAIL_PASSWORD";
/// The largest file with user and password, bytes.
const CREDENTIALS_BYTES_MAX: u64 = 4_096;
/// Seconds that a whole conversation may take where nothing else is set.
const TIMEOUT_S: u64 = 30;
/// The longest time a conversation may be given, seconds: a stop ends it anyway, but a channel should not sleep in it.
const TIMEOUT_S_MAX: u64 = 600;

/// A mail server, as the settings name it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MailSettings {
    /// The server's name, which its certificate must have.
    pub host: String,
    /// Its port; by default 587 for `starttls`, 465 for `implicit`, 25 for `none`.
    #[serde(default)]
    pub port: Option<u16>,
    /// How the line is secured; by default `starttls`.
    #[serde(default)]
    pub tls: MailTls,
    /// Who it is from: `Daybook <daybook@example.eu>`.
    pub from: String,
    /// A file, readable by nobody else, with the user on its first line and the password on its second. Without it the
    /// environment's `DAYBOOK_MAIL_USER` and `DAYBOOK_MAIL_PASSWORD` are used; without those, nobody is signed in.
    #[serde(default)]
    pub credentials_file: Option<PathBuf>,
    /// Certificates (PEM) of the authorities that may vouch for the server, instead of those that browsers trust.
    #[serde(default)]
    pub ca_file: Option<PathBuf>,
    /// The name that this side gives itself; by default its address.
    #[serde(default)]
    pub hello: Option<String>,
    /// Seconds that a whole conversation may take; by default 30. Some servers let strangers wait.
    #[serde(default = "timeout_s")]
    pub timeout_s: u64,
}

const fn timeout_s() -> u64 {
    TIMEOUT_S
}

/// How the line is secured.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum MailTls {
    /// An open line that is secured before anything is said (RFC 3207); a server that cannot is refused.
    #[default]
    Starttls,
    /// Secured from the first byte (RFC 8314).
    Implicit,
    /// Not at all: to this machine itself only.
    None,
}

impl MailSettings {
    /// Where it is connected to.
    pub fn port(&self) -> u16 {
        self.port.unwrap_or(match self.tls {
            MailTls::Starttls => 587,
            MailTls::Implicit => 465,
            MailTls::None => 25,
        })
    }

    /// Whether this can work, as far as can be told without asking the server.
    ///
    /// # Errors
    /// In words.
    pub fn check(&self) -> Result<(), String> {
        if self.host.is_empty() || self.host.contains(['/', '@', ' ']) {
            return Err("mail.host is a server's name, such as smtp.example.eu".to_owned());
        }
        if self.tls == MailTls::None && !is_loopback(&self.host) {
            return Err(
                "mail.tls = \"none\" is for a server on this machine only (localhost, 127.0.0.1): use \"starttls\" or \
                 \"implicit\""
                    .to_owned(),
            );
        }
        if self.from.parse::<lettre::message::Mailbox>().is_err() {
            return Err("mail.from is an address such as  Daybook <daybook@example.eu>".to_owned());
        }
        if self.timeout_s == 0 || self.timeout_s > TIMEOUT_S_MAX {
            return Err(format!("mail.timeout_s is 1 to {TIMEOUT_S_MAX}"));
        }
        Ok(())
    }

    /// User and password; `None` where neither a file nor the environment has any.
    ///
    /// # Errors
    /// In words, without either.
    pub fn credentials(&self) -> Result<Option<(String, Zeroizing<String>)>, String> {
        if let Some(path) = &self.credentials_file {
            return read_credentials(path).map(Some);
        }
        let password = std::env::var(PASSWORD_VARIABLE).ok().map(Zeroizing::new);
        match (std::env::var(USER_VARIABLE).ok(), password) {
            (Some(user), Some(password)) => Ok(Some((user, password))),
            (None, None) => Ok(None),
            _ => Err(format!("{USER_VARIABLE} and {PASSWORD_VARIABLE} belong together")),
        }
    }
}

/// The user from a file's first line and the password from its second.
///
/// # Errors
/// In words, without either.
pub fn read_credentials(path: &Path) -> Result<(String, Zeroizing<String>), String> {
    let text = read_secret_text(path, CREDENTIALS_BYTES_MAX).map_err(|error| error.to_string())?;
    let mut lines = text.lines();
    match (lines.next(), lines.next()) {
        (Some(user), Some(password)) if !user.is_empty() && !password.is_empty() => {
            Ok((user.to_owned(), Zeroizing::new(password.to_owned())))
        }
        _ => Err(format!(
            "{} has the user on its first line and the password on its second",
            path.display()
        )),
    }
}

/// Whether a host is this machine, whatever a resolver says.
pub fn is_loopback(host: &str) -> bool {
    host == "localhost" || host.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(tls: MailTls, host: &str) -> MailSettings {
        MailSettings {
            host: host.to_owned(),
            port: None,
            tls,
            from: "Daybook <daybook@example.eu>".to_owned(),
            credentials_file: None,
            ca_file: None,
            hello: None,
            timeout_s: 30,
        }
    }

    #[test]
    fn an_open_line_leads_to_this_machine_only() {
        for (tls, host, good) in [
            (MailTls::Starttls, "smtp.example.eu", true),
            (MailTls::Implicit, "smtp.example.eu", true),
            (MailTls::None, "smtp.example.eu", false),
            (MailTls::None, "127.0.0.1.example.eu", false),
            (MailTls::None, "localhost", true),
            (MailTls::None, "127.0.0.1", true),
            (MailTls::None, "::1", true),
            (MailTls::Starttls, "https://smtp.example.eu", false),
            (MailTls::Starttls, "", false),
        ] {
            assert_eq!(settings(tls, host).check().is_ok(), good, "{tls:?} {host}");
        }
    }

    #[test]
    fn a_file_with_user_and_password_is_nobody_elses() {
        use std::os::unix::fs::PermissionsExt;
        let file = tempfile::NamedTempFile::new().expect("a file");
        std::fs::write(file.path(), "daybook\npass word\n").expect("written");
        let mode = |mode| std::fs::set_permissions(file.path(), std::fs::Permissions::from_mode(mode));
        mode(0o644).expect("set");
        let error = read_credentials(file.path()).expect_err("refused");
        assert!(error.contains("chmod") && !error.contains("pass word"), "{error}");
        mode(0o600).expect("set");
        let (user, password) = read_credentials(file.path()).expect("read");
        assert_eq!((&*user, &**password), ("daybook", "pass word"));
        std::fs::write(file.path(), "daybook\n").expect("written");
        assert!(read_credentials(file.path()).is_err());
    }
}
