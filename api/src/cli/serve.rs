//! `daybook serve`: opens the data directory, listens, and stops gracefully.
//!
//! The first start makes keys, ledger, account and owner, and says how to sign in. SIGTERM and SIGINT stop
//! taking, commit, sign the last position, and exit 0; a second signal is not waited for by anybody.
//! Not here: what is wired (`app`), sockets (`serve`).

use super::{Failure, Global, Outcome, not_listening, program, shell_path, shell_word, talk};
use crate::app::{App, Outside};
use crate::clock::SystemClock;
use crate::config::{LogFormat, Settings, described};
use crate::control::Control;
use crate::entropy::SeededEntropy;
use crate::serve::serve_over;
use chain_publisher::arguments::directory_of;
use clap::Args;
use serde::Serialize;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use tokio::net::TcpListener;

/// Run the service
#[derive(Debug, Args, Serialize)]
#[command(after_help = EXAMPLES, after_long_help = long_help())]
pub struct Serve {
    /// Everything is kept below this directory [default: daybook-data]
    #[arg(long, value_name = "DIR")]
    #[serde(skip_serializing_if = "Option::is_none")]
    data: Option<PathBuf>,
    /// Address and port to listen on; port 0 takes a free one [default: 127.0.0.1:8420]
    #[arg(long, value_name = "ADDR")]
    #[serde(skip_serializing_if = "Option::is_none")]
    listen: Option<SocketAddr>,
    /// The ledger's name for ever, such as daybook.example.eu/main; before the first start only
    #[arg(long)]
    #[serde(skip_serializing_if = "Option::is_none")]
    origin: Option<String>,
    /// Where the latest signed checkpoint is kept outside the data directory
    #[arg(long, value_name = "DIR")]
    #[serde(skip_serializing_if = "Option::is_none")]
    anchor: Option<PathBuf>,
    /// Write the private half of a recovery key to this file, to be taken off this machine; at the first start only
    #[arg(long, value_name = "FILE")]
    #[serde(skip_serializing_if = "Option::is_none")]
    recovery_key_out: Option<PathBuf>,
    /// How the service is reached from outside, such as `https://daybook.example.eu`
    #[arg(long, value_name = "URL")]
    #[serde(skip_serializing_if = "Option::is_none")]
    public_url: Option<String>,
    /// The first owner's e-mail address; at the first start only [default: owner@localhost]
    #[arg(long, value_name = "EMAIL")]
    #[serde(skip_serializing_if = "Option::is_none")]
    owner_email: Option<String>,
    /// Settings as TOML
    #[arg(long, value_name = "FILE", env = "DAYBOOK_CONFIG")]
    #[serde(skip)]
    config: Option<PathBuf>,
    /// Certificate chain (PEM); HTTPS is spoken, TLS 1.3 only
    #[arg(long, value_name = "FILE", requires = "tls_key")]
    #[serde(skip_serializing_if = "Option::is_none")]
    tls_cert: Option<PathBuf>,
    /// The certificate's private key (PEM, mode 0600)
    #[arg(long, value_name = "FILE", requires = "tls_cert")]
    #[serde(skip_serializing_if = "Option::is_none")]
    tls_key: Option<PathBuf>,
    /// What is logged, such as info or api=debug
    #[arg(long, value_name = "FILTER")]
    #[serde(skip_serializing_if = "Option::is_none")]
    log: Option<String>,
    /// How log lines are written
    #[arg(long, value_name = "FORMAT")]
    #[serde(skip_serializing_if = "Option::is_none")]
    log_format: Option<LogFormat>,
    /// Believe the clock at this start although it is more than a year ahead of the last entry; it is recorded
    #[arg(long)]
    #[serde(skip)]
    accept_clock: bool,
}

/// Characters of a line of the help, beside its indent.
const HELP_WIDTH: usize = 90;

const EXAMPLES: &str = "\
Examples:
  daybook serve
  daybook serve --data /var/lib/daybook --origin daybook.example.eu/main --listen 0.0.0.0:443 \\
      --tls-cert chain.pem --tls-key key.pem --public-url https://daybook.example.eu

Every setting may also stand in the file of --config, or in the environment as DAYBOOK_<NAME>; --help lists them.
The owner's API token is written to DIR/owner-token (mode 0600) at the first start.

Exit codes: 0 stopped by a signal, everything committed; 1 it could not start or had to stop;
2 the settings cannot be used.";

/// The examples, and every setting with its default and why.
fn long_help() -> String {
    let mut text = format!("{EXAMPLES}\n\nSettings:\n");
    for setting in described() {
        text.push_str(&format!("  {}\n", setting.name));
        let mut line = String::new();
        for word in setting.about.split(' ') {
            if line.len() + word.len() > HELP_WIDTH {
                text.push_str(&format!("      {line}\n"));
                line.clear();
            }
            if !line.is_empty() {
                line.push(' ');
            }
            line.push_str(word);
        }
        text.push_str(&format!("      {line}\n"));
    }
    text
}

impl Serve {
    /// Runs until a signal.
    ///
    /// # Errors
    /// [`Failure`] where it could not start.
    pub fn run(self, _global: &Global) -> Outcome {
        let settings = Settings::load(self.config.as_deref(), &self).map_err(Failure::usage)?;
        directory_of("--data", &settings.data)?;
        super::logging::start(&settings.log, settings.log_format).map_err(Failure::usage)?;
        tokio::runtime::Builder::new_multi_thread()
            .enable_all()
            .thread_name("daybook")
            .build()
            .map_err(Failure::failed)?
            .block_on(run(settings, self.accept_clock))
    }
}

async fn run(settings: Settings, clock_accepted: bool) -> Outcome {
    let stop = signal()?;
    let outside = Outside {
        clock: Arc::new(SystemClock::new()),
        entropy: Arc::new(SeededEntropy::from_os().map_err(Failure::failed)?),
        clock_accepted,
    };
    let acceptor = crate::tls::acceptor(&settings).map_err(Failure::failed)?;
    let listener = TcpListener::bind(settings.listen)
        .await
        .map_err(|error| Failure::failed(not_listening(settings.listen, &error)))?;
    let address = listener.local_addr().map_err(Failure::failed)?;
    let app = App::open(settings, outside).await.map_err(Failure::failed)?;
    app.listens_on(address);
    let control = match Control::open(&app.settings().data) {
        Ok(control) => Some(tokio::spawn(control.serve(Arc::clone(&app)))),
        Err(error) => {
            talk(&format!(
                "there is no control socket, so `sign-in`, `rebuild` and `doctor` cannot ask this service: {error}"
            ));
            None
        }
    };
    announce(&app);
    serve_over(Arc::clone(&app), listener, acceptor, stop).await;
    app.stop().await;
    if let Some(control) = control
        && let Err(error) = control.await
    {
        tracing::warn!(%error, "the control socket ended badly");
    }
    talk("daybook has stopped: everything is committed and the last position is signed");
    Ok(0)
}

fn announce(app: &App) {
    let begun = app.begun();
    let data = app.settings().data.display();
    if begun.first {
        talk(&format!("A new ledger: {}", app.origin()));
    }
    if begun.cut_bytes > 0 {
        talk(&format!(
            "{} bytes of a commit that was never acknowledged were cut; they are kept in {data}/ledger/quarantine, \
             and the ledger says so",
            begun.cut_bytes
        ));
    }
    if let (true, Some(path)) = (begun.first, &app.settings().recovery_key_out) {
        talk(&format!(
            "The recovery key is in {}: take it off this machine now, to a place of its own",
            path.display()
        ));
    }
    if let Some(path) = &begun.owner_token {
        talk(&format!("The owner's API token is in {}", path.display()));
    }
    let email = begun.owner_email.as_deref().unwrap_or("EMAIL");
    talk(&format!(
        "Sign in with the link of:  {} sign-in {} --data {}",
        program(),
        shell_word(email),
        shell_path(&app.settings().data)
    ));
    // Last, and alone on its line: scripts wait for it.
    talk(&format!("daybook is listening on {}", app.own_url()));
}

/// Completes at SIGTERM or SIGINT. Listened for before anything is opened, so that a signal during a long
/// recovery is not lost.
pub(super) fn signal() -> Result<impl Future<Output = ()>, Failure> {
    use tokio::signal::unix::{SignalKind, signal};
    let mut terminate = signal(SignalKind::terminate()).map_err(Failure::failed)?;
    let mut interrupt = signal(SignalKind::interrupt()).map_err(Failure::failed)?;
    Ok(async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
        tracing::info!("a signal asks to stop");
    })
}
