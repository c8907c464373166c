//! `DIR/control.sock`: how the command line speaks to a running service.
//!
//! One connection, one question, one line of JSON each way; a long task says how far it is in lines of its own.
//! Invariants: the socket is 0600 in a directory 0700, so whoever can ask may read the keys anyway; a line is
//! bounded; a question changes nothing but what it names.
//! Not here: what a question does (`app`), how an answer is shown (`cli`).

use crate::app::{App, stop_begins};
use crate::begin::clock_accepted;
use crate::evidence::Issue;
use commands::handlers::Actor;
use commands::sequencer::Writing;
use domain::aggregate::account::AccountCommand;
use domain::event::Reason;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::mpsc;
use tokio::task::JoinSet;

/// The socket's name in the data directory.
pub const SOCKET: &str = "control.sock";
/// Longest question, in bytes.
const LINE_BYTES_MAX: u64 = 16 << 10;
/// How long somebody may take to ask.
const ASK_TIMEOUT: Duration = Duration::from_secs(10);
/// Lines of progress that may wait for a slow reader.
const PROGRESS_QUEUE: usize = 16;

/// What may be asked.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "command", rename_all = "kebab-case", deny_unknown_fields)]
pub enum Ask {
    /// A link that signs a person in.
    SignIn {
        /// Their address.
        email: String,
    },
    /// A further account with its owner.
    OpenAccount {
        /// Its name.
        name: String,
        /// Its owner's address.
        email: String,
    },
    /// Shut an account's devices and people out.
    SuspendAccount {
        /// Which, `acc_…`.
        account: String,
        /// Why, in words.
        reason: Option<String>,
    },
    /// Let them in again.
    ResumeAccount {
        /// Which, `acc_…`.
        account: String,
        /// Why, in words.
        reason: Option<String>,
    },
    /// Believe a clock that jumped ahead: somebody looked, and it is right.
    AcceptClock,
    /// Record that an evidence pack is handed out.
    IssuePack {
        /// What it is.
        issue: Box<Issue>,
    },
    /// How the service is.
    Status,
    /// Fold every projection again into a second file, and swap.
    Rebuild,
}

/// One line of an answer.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Line {
    /// How far a long task is.
    Progress {
        /// Entries done.
        done: u64,
        /// Entries in all.
        of: u64,
    },
    /// The answer.
    Ok(Value),
    /// Why there is none.
    Error(String),
}

/// Tells how far a long task is.
#[derive(Clone)]
pub struct Progress(mpsc::Sender<Line>);

impl Progress {
    /// So many of so many; left out where the reader is slower.
    pub fn tell(&self, done: u64, of: u64) {
        // A line of progress that nobody waits for is worth nothing.
        let _ = self.0.try_send(Line::Progress { done, of });
    }
}

/// The open socket; removed when it is dropped.
pub struct Control {
    listener: UnixListener,
    path: PathBuf,
}

impl Control {
    /// Opens the socket in the data directory, whose lock the caller holds, so that a file there is a dead one.
    ///
    /// # Errors
    /// What the system says, such as a path longer than about 100 bytes.
    pub fn open(data: &Path) -> io::Result<Self> {
        let path = data.join(SOCKET);
        match std::fs::remove_file(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let listener = UnixListener::bind(&path)?;
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600))?;
        Ok(Self { listener, path })
    }

    /// Answers questions until the service stops.
    pub async fn serve(self, app: Arc<App>) {
        let mut stopping = app.stopping();
        let mut asked = JoinSet::new();
        loop {
            tokio::select! {
                accepted = self.listener.accept() => match accepted {
                    Ok((socket, _)) => {
                        asked.spawn(answer(Arc::clone(&app), socket));
                    }
                    Err(error) => {
                        tracing::warn!(%error, "the control socket failed");
                        return;
                    }
                },
                () = stop_begins(&mut stopping) => return,
                Some(_) = asked.join_next() => {}
            }
        }
    }
}

impl Drop for Control {
    fn drop(&mut self) {
        // A file that stays is removed by the next start.
        let _ = std::fs::remove_file(&self.path);
    }
}

async fn answer(app: Arc<App>, socket: UnixStream) {
    let (read, mut write) = socket.into_split();
    let mut line = String::new();
    let mut reader = BufReader::new(read.take(LINE_BYTES_MAX));
    let asked = tokio::time::timeout(ASK_TIMEOUT, reader.read_line(&mut line)).await;
    if !matches!(asked, Ok(Ok(read)) if read > 0) {
        return;
    }
    let (lines, mut outgoing) = mpsc::channel(PROGRESS_QUEUE);
    let task = async {
        let last = match serde_json::from_str::<Ask>(&line) {
            Ok(ask) => match app.asked(ask, &Progress(lines.clone())).await {
                Ok(value) => Line::Ok(value),
                Err(reason) => Line::Error(reason),
            },
            Err(error) => Line::Error(format!("not a question this service knows: {error}")),
        };
        // The asker may have gone; the task is done all the same.
        let _ = lines.send(last).await;
        drop(lines);
    };
    let send = async {
        while let Some(line) = outgoing.recv().await {
            let last = !matches!(line, Line::Progress { .. });
            let mut text = serde_json::to_vec(&line).unwrap_or_default();
            text.push(b'\n');
            if write.write_all(&text).await.is_err() || last {
                outgoing.close();
                return;
            }
        }
    };
    tokio::join!(task, send);
}

/// Asks the service that runs on a data directory, if one does.
///
/// # Errors
/// `NotFound` or `ConnectionRefused` where none runs; else what the system says.
pub fn ask(data: &Path, ask: &Ask, mut progress: impl FnMut(u64, u64)) -> io::Result<Result<Value, String>> {
    use std::io::{BufRead, Write};
    let mut socket = std::os::unix::net::UnixStream::connect(data.join(SOCKET))?;
    let mut question = serde_json::to_vec(ask)?;
    question.push(b'\n');
    socket.write_all(&question)?;
    for line in io::BufReader::new(socket).lines() {
        match serde_json::from_str(&line?)? {
            Line::Progress { done, of } => progress(done, of),
            Line::Ok(value) => return Ok(Ok(value)),
            Line::Error(reason) => return Ok(Err(reason)),
        }
    }
    Err(io::Error::new(
        io::ErrorKind::UnexpectedEof,
        "the service ended before it answered",
    ))
}

/// Whether an error of [`ask`] means that no service runs.
pub fn nobody_there(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused
    )
}

impl App {
    /// Answers a question of the command line.
    ///
    /// # Errors
    /// In words, for the person who asked.
    pub async fn asked(&self, ask: Ask, progress: &Progress) -> Result<Value, String> {
        match ask {
            Ask::SignIn { email } => {
                let link = self
                    .sign_in_link(&email)
                    .await
                    .map_err(|error| error.message.into_owned())?;
                Ok(json!({
                    "link": link,
                    "minutes": self.settings().sign_in_minutes,
                }))
            }
            Ask::OpenAccount { name, email } => {
                let made = self
                    .management()
                    .open_account(&Reason::code("operator"), &name, &email, None)
                    .await
                    .map_err(|error| error.to_string())?;
                Ok(json!({
                    "account": made.account,
                    "owner": made.owner,
                    "token": made.token.text(),
                }))
            }
            Ask::SuspendAccount { account, reason } => {
                self.set_access(&account, reason, AccountCommand::Suspend).await
            }
            Ask::ResumeAccount { account, reason } => {
                self.set_access(&account, reason, AccountCommand::Resume).await
            }
            Ask::AcceptClock => self.accept_clock().await,
            Ask::IssuePack { issue } => self.issue_pack(*issue).await,
            Ask::Status => Ok(self.describe()),
            Ask::Rebuild => {
                let tell = progress.clone();
                self.rebuild(move |done, of| tell.tell(done, of)).await
            }
        }
    }

    /// Records that an operator vouches for the clock, where it is not believed.
    async fn accept_clock(&self) -> Result<Value, String> {
        let Writing::ClockImplausible(disbelieved) = self.sequencer().status().writing else {
            return Err("the clock is believed; there is nothing to accept".to_owned());
        };
        let wall = self.clock().now();
        let event = clock_accepted(wall).map_err(|error| error.to_string())?;
        let recorded = self
            .sequencer()
            .accept_clock(event)
            .await
            .map_err(|error| error.to_string())?;
        Ok(json!({"wall": wall, "disbelieved": disbelieved, "size": recorded.size}))
    }

    /// Records a pack that the command line made.
    async fn issue_pack(&self, issue: Issue) -> Result<Value, String> {
        let subject = &issue.query.subject;
        // An alarm is its channel's.
        let id = subject.channel().unwrap_or_else(|| subject.id());
        let account = self.registry().read().account_of(id).map(str::to_owned);
        let account = account.ok_or_else(|| format!("there is no {} {}", subject.kind(), subject.id()))?;
        let pack = self.management().pack_id();
        let outcome = self
            .management()
            .issue_pack(
                &Actor::system("operator", &account),
                &Reason::code("operator"),
                &pack,
                issue.event("command_line"),
            )
            .await
            .map_err(|error| error.to_string())?;
        Ok(json!({"id": pack, "position": outcome.positions.start}))
    }

    /// Shuts an account out or lets it in again.
    async fn set_access(
        &self,
        account: &str,
        reason: Option<String>,
        command: AccountCommand,
    ) -> Result<Value, String> {
        if self.registry().read().account(account).is_none() {
            return Err(format!("there is no account {account}"));
        }
        let reason = Reason {
            code: "operator".to_owned(),
            text: reason,
        };
        self.management()
            .change_account(&Actor::system("operator", account), &reason, None, command)
            .await
            .map_err(|error| error.to_string())?;
        let registry = self.registry().read();
        let suspended = registry.account(account).is_some_and(|it| it.state.suspended);
        Ok(json!({"account": account, "suspended": suspended}))
    }
}
