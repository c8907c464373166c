//! A real mail server (aiosmtpd) with TLS and authentication, which misbehaves when it is told to.
//!
//! Invariants: nothing but loopback; the process never outlives the value.
//! Not here: what is sent to it.

use crate::certificates::Certificates;
use crate::python;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};

/// The user it knows.
pub const USER: &str = "daybook";
/// The user's password.
pub const PASSWORD: &str = "a password of the test";
const PACKAGES: &[&str] = &["aiosmtpd==1.4.6"];

/// A message that it took.
#[derive(Debug, Clone)]
pub struct Taken {
    /// To whom.
    pub to: String,
    /// As it came.
    pub message: String,
}

/// A mail server.
pub struct MailServer {
    /// Where it listens.
    pub port: u16,
    dir: PathBuf,
    tls: String,
    certificates: Certificates,
    child: Child,
    /// It ends when this is closed.
    _alive: ChildStdin,
}

impl MailServer {
    /// Starts one that keeps what it takes in `dir`; `tls` is `starttls`, `implicit` or `none`. It wants `USER` and
    /// `PASSWORD` but where `tls` is `none`.
    ///
    /// # Errors
    /// Why there is none.
    pub fn start(dir: &Path, tls: &str, certificates: &Certificates) -> Result<Self, String> {
        Self::on(dir, tls, certificates, 0)
    }

    fn on(dir: &Path, tls: &str, certificates: &Certificates, port: u16) -> Result<Self, String> {
        let python = python::with("smtp", PACKAGES)?;
        let mut command = Command::new(python);
        command
            .arg(python::script("smtp_server.py"))
            .arg("--dir")
            .arg(dir)
            .args(["--tls", tls, "--port", &port.to_string()]);
        if tls != "none" {
            command.args(["--user", USER, "--password", PASSWORD]);
            command.arg("--cert").arg(&certificates.certificate);
            command.arg("--key").arg(&certificates.key);
        }
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .map_err(|error| error.to_string())?;
        let alive = child.stdin.take().expect("stdin is piped");
        let mut line = String::new();
        BufReader::new(child.stdout.take().expect("stdout is piped"))
            .read_line(&mut line)
            .map_err(|error| error.to_string())?;
        let port = line.trim().rsplit(' ').next().and_then(|port| port.parse().ok());
        Ok(Self {
            port: port.ok_or_else(|| format!("the mail server said {line:?}"))?,
            dir: dir.to_owned(),
            tls: tls.to_owned(),
            certificates: certificates.clone(),
            child,
            _alive: alive,
        })
    }

    /// Says how to misbehave: `ok`, `rcpt-4xx`, `rcpt-5xx`, `data-4xx`, `data-5xx`, `hangup`, `hangup-after`, `silent`.
    ///
    /// # Panics
    /// Where that cannot be written.
    pub fn behave(&self, how: &str) {
        std::fs::write(self.dir.join("behave"), how).expect("written");
    }

    /// What it took, in order.
    ///
    /// # Panics
    /// Where that cannot be read.
    pub fn taken(&self) -> Vec<Taken> {
        let mut files: Vec<PathBuf> = std::fs::read_dir(&self.dir)
            .into_iter()
            .flatten()
            .flatten()
            .map(|file| file.path())
            .filter(|path| path.extension().is_some_and(|end| end == "eml"))
            .collect();
        files.sort();
        let read = |path: &Path| std::fs::read_to_string(path).expect("it was written");
        files
            .iter()
            .map(|path| Taken {
                to: read(&path.with_extension("rcpt")),
                message: read(path),
            })
            .collect()
    }

    /// Ends it and starts it again at the same port.
    ///
    /// # Panics
    /// Where it does not come up.
    pub fn restart(self) -> Self {
        let (dir, tls, certificates, port) = (
            self.dir.clone(),
            self.tls.clone(),
            self.certificates.clone(),
            self.port,
        );
        drop(self);
        Self::on(&dir, &tls, &certificates, port).expect("it comes up again")
    }
}

impl Drop for MailServer {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The words of a mail with their line breaks of quoted-printable undone.
pub fn words(message: &str) -> String {
    message
        .replace("\r\n", "\n")
        .replace("=\n", "")
        .replace("=3D", "=")
}

/// The path of a message's link of a kind, such as `/a/…` for an acknowledgement.
///
/// # Panics
/// Where there is none.
pub fn link(message: &str, kind: &str) -> String {
    let text = words(message);
    let at = text
        .find(&format!("/{kind}/"))
        .unwrap_or_else(|| panic!("no /{kind}/ in {text}"));
    let rest = &text[at..];
    let end = rest
        .find(|c: char| !(c.is_ascii_alphanumeric() || matches!(c, '/' | '-' | '_')))
        .unwrap_or(rest.len());
    rest[..end].to_owned()
}
