//! `daybook demo`: a living site in a fresh directory, to look around.
//!
//! Starts the service in this process and plays owner and devices against it over HTTP, as anybody could.
//! Invariants: a directory that holds a ledger is never touched; what was put into a temporary directory is gone
//! afterwards.
//! Not here: what is played (`demo`), the service (`app`).

use super::{Failure, Global, Outcome, not_listening, program, progress, shell_path, talk};
use crate::app::{App, Outside};
use crate::begin::OWNER_TOKEN;
use crate::clock::SystemClock;
use crate::config::{LogFormat, Settings};
use crate::control::Control;
use crate::demo::build::{Stage, build};
use crate::demo::cast::DEVICES;
use crate::demo::client::Client;
use crate::demo::live::Live;
use crate::demo::past::{self, PastError, Sent, Span};
use crate::entropy::SeededEntropy;
use crate::serve::serve;
use clap::Args;
use domain::ports::Clock;
use indicatif::ProgressBar;
use std::io;
use std::net::SocketAddr;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::time::{Duration, Instant};
use tokio::net::TcpListener;
use tokio::sync::oneshot;

/// Minutes for which the demo's sign-in link works: whoever reads the screen later may still use it.
const SIGN_IN_MINUTES: u32 = 24 * 60;
/// Requests a minute and device: the past of a device comes in a burst, and `--speed` may be more than one.
const RATE_PER_MINUTE: u32 = 6_000;
/// How long the read models may take to fold the past.
const FOLD_MAX: Duration = Duration::from_secs(300);
const DAY_S: i64 = 86_400;

/// Show a living site with invented devices
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct Demo {
    /// An empty directory to keep it in [default: a temporary one, removed at the end]
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,
    /// Address and port to listen on [default: 127.0.0.1:8420, or a free port where that is taken]
    #[arg(long, value_name = "ADDR")]
    listen: Option<SocketAddr>,
    /// Days of past measurements
    #[arg(long, value_name = "N", default_value_t = 21, value_parser = clap::value_parser!(i64).range(0..=90))]
    days: i64,
    /// How many times as often devices report
    #[arg(long, value_name = "FACTOR", default_value_t = 1.0)]
    speed: f64,
    /// Another number is another history
    #[arg(long, value_name = "N", default_value_t = 1)]
    seed: u64,
    /// What is logged, such as info or api=debug
    #[arg(long, value_name = "FILTER", default_value = "warn")]
    log: String,
}

const EXAMPLES: &str = "\
Examples:
  daybook demo
  daybook demo --data ./demo --days 7 --listen 127.0.0.1:9000

What it shows: a kitchen, a hotel's hot water, a server room and a bakery's meter; one refrigerator outside its limits,
one device that has gone silent, one that is refused, and one uplink of a device that nobody has registered.
Past measurements are recorded today, as everything is: the ledger's first day is today, and no past head is invented.

Exit codes: 0 stopped by a signal; 1 it could not start or the site could not be built; 2 usage.";

impl Demo {
    /// Plays until a signal.
    ///
    /// # Errors
    /// [`Failure`] where it could not start or the site could not be built.
    pub fn run(self, _global: &Global) -> Outcome {
        if !(self.speed > 0.0 && self.speed <= 100.0) {
            return Err(Failure::usage("--speed must be more than 0 and at most 100"));
        }
        super::logging::start(&self.log, LogFormat::Text).map_err(Failure::usage)?;
        let home = Home::make(self.data.clone())?;
        let played = tokio::runtime::Builder::new_multi_thread()
            .enable_all()
            .thread_name("daybook")
            .build()
            .map_err(Failure::failed)?
            .block_on(self.play(&home));
        home.leave();
        played
    }

    async fn play(&self, home: &Home) -> Outcome {
        let stop = super::serve::signal()?;
        let listener = listen(self.listen).await?;
        let address = listener.local_addr().map_err(Failure::failed)?;
        let clock = Arc::new(SystemClock::new());
        let outside = Outside {
            clock: clock.clone(),
            entropy: Arc::new(SeededEntropy::from_os().map_err(Failure::failed)?),
            clock_accepted: false,
        };
        let settings = Settings {
            data: home.data.clone(),
            anchor: home.anchor.clone(),
            listen: address,
            rate_per_minute: RATE_PER_MINUTE,
            rate_burst: RATE_PER_MINUTE,
            sign_in_minutes: SIGN_IN_MINUTES,
            ..Settings::default()
        };
        let app = App::open(settings, outside).await.map_err(Failure::failed)?;
        app.listens_on(address);
        let control = Control::open(&app.settings().data).map_err(Failure::failed)?;
        let control = tokio::spawn(control.serve(Arc::clone(&app)));
        let (stop_serving, stopped) = oneshot::channel::<()>();
        let served = tokio::spawn(serve(Arc::clone(&app), listener, async {
            // A dropped sender stops it too.
            let _ = stopped.await;
        }));
        let played = self.play_against(&app, clock, stop).await;
        // Where nobody listens any more it has stopped already.
        let _ = stop_serving.send(());
        let served = served.await;
        app.stop().await;
        if let Err(error) = control.await {
            tracing::warn!(%error, "the control socket ended badly");
        }
        served.map_err(Failure::failed)?.map_err(Failure::failed)?;
        played
    }

    /// Builds the site and lets it live until the signal.
    async fn play_against(
        &self,
        app: &Arc<App>,
        clock: Arc<SystemClock>,
        stop: impl Future<Output = ()>,
    ) -> Outcome {
        let stopping = Arc::new(AtomicBool::new(false));
        let (stop_live, live_stops) = sync_channel(1);
        let player = Player {
            url: app.own_url(),
            owner: app.settings().data.join(OWNER_TOKEN),
            clock,
            seed: self.seed,
            days: self.days,
            speed: self.speed,
            stopping: Arc::clone(&stopping),
            app: Arc::clone(app),
            runtime: tokio::runtime::Handle::current(),
        };
        let mut playing = tokio::task::spawn_blocking(move || player.play(&live_stops));
        tokio::select! {
            ended = &mut playing => return ended.map_err(Failure::failed)?,
            () = stop => {}
        }
        stopping.store(true, Ordering::Relaxed);
        hang_up(stop_live);
        playing.await.map_err(Failure::failed)?
    }
}

/// Tells the live readings to end.
fn hang_up(stop: SyncSender<()>) {
    drop(stop);
}

/// The thread that plays owner and devices.
struct Player {
    url: String,
    owner: PathBuf,
    clock: Arc<SystemClock>,
    seed: u64,
    days: i64,
    speed: f64,
    stopping: Arc<AtomicBool>,
    app: Arc<App>,
    runtime: tokio::runtime::Handle,
}

impl Player {
    fn play(self, stop: &Receiver<()>) -> Outcome {
        let owner = std::fs::read_to_string(&self.owner).map_err(Failure::failed)?;
        let client = Client::new(&self.url);
        talk("Setting the stage: four sites, a dozen devices");
        let stage = build(&client, owner.trim()).map_err(Failure::failed)?;
        let now_s = self.clock.now().as_micros() / 1_000_000;
        let span = Span {
            start_s: now_s - self.days * DAY_S,
            now_s,
        };
        match self.past(&stage, span) {
            Ok(()) => {}
            Err(PastError::Stopped) => return Ok(0),
            Err(error) => return Err(Failure::failed(error)),
        }
        let live = Live::new(&self.url, &stage, self.seed, span, self.speed, self.clock.now())
            .map_err(Failure::failed)?;
        self.announce()?;
        live.run(&*self.clock, stop);
        Ok(0)
    }

    fn past(&self, stage: &Stage, span: Span) -> Result<(), PastError> {
        let total: usize = DEVICES
            .iter()
            .map(|device| past::times(device, span).count())
            .sum();
        let bar = bar(total as u64);
        let began = Instant::now();
        let sent = past::send(
            &self.url,
            &stage.archive,
            &DEVICES.iter().collect::<Vec<_>>(),
            self.seed,
            span,
            &self.stopping,
            &|readings| bar.inc(readings),
        );
        bar.finish_and_clear();
        let Sent {
            readings,
            measurements,
        } = sent?;
        if readings > 0 {
            let took = began.elapsed().as_secs_f64();
            talk(&format!(
                "The past: {measurements} measurements in {readings} readings of {} days, recorded in {took:.1} s \
                 ({:.0} measurements a second)",
                self.days,
                measurements as f64 / took,
            ));
        }
        self.fold();
        Ok(())
    }

    /// Waits until the read models have folded the past.
    fn fold(&self) {
        let Some(last) = self.app.newest() else { return };
        let began = Instant::now();
        let folded = self
            .runtime
            .block_on(self.app.projector().wait_for(last, FOLD_MAX));
        if !folded {
            talk("The read models are still folding the past; pages will show it when they have.");
        } else if began.elapsed() > Duration::from_millis(500) {
            talk(&format!(
                "Folded into the read models {:.1} s later",
                began.elapsed().as_secs_f64()
            ));
        }
    }

    fn announce(&self) -> Result<(), Failure> {
        let email = self.app.begun().owner_email.clone().unwrap_or_default();
        let link = self
            .runtime
            .block_on(self.app.sign_in_link(&email))
            .map_err(|error| Failure::failed(error.message))?;
        let data = shell_path(&self.app.settings().data);
        let daybook = program();
        let (key, _) = self.app.verifier_keys();
        let anchor = self.app.anchor().map(shell_path);
        let anchor = anchor.map_or_else(String::new, |anchor| format!(" --anchor {anchor}"));
        talk(&format!(
            "
The demo lives: {url}

  Sign in      {link}
               (once, within a day; another:  {daybook} sign-in {email} --data {data})
  Look at      the overview: the dessert fridge is too warm, the bar fridge is silent, the cold table is refused
               the tray: an uplink of a device that nobody has registered; adopt it
               {url}/ledger : size, root, heads and how to check them
  Send         a reading of your own: add a device, the page has the line to paste
  Verify       {daybook} verify --data {data}{anchor} --key {key}
  API          curl -H \"Authorization: Bearer $(cat {data}/{OWNER_TOKEN})\" {url}/v1/sites
  Stop         Ctrl-C
",
            url = self.url,
        ));
        Ok(())
    }
}

fn bar(total: u64) -> ProgressBar {
    let bar = progress::bar(
        "Weeks of past measurements  {bar:32} {human_pos}/{human_len} readings  {rate}/s  {eta} left",
    );
    bar.set_length(total);
    bar
}

/// The asked-for address, or the usual one, or any.
async fn listen(asked: Option<SocketAddr>) -> Result<TcpListener, Failure> {
    let usual = Settings::default().listen;
    let cannot =
        |address: SocketAddr| move |error: io::Error| Failure::failed(not_listening(address, &error));
    match (asked, TcpListener::bind(asked.unwrap_or(usual)).await) {
        (_, Ok(listener)) => Ok(listener),
        (Some(address), Err(error)) => Err(cannot(address)(error)),
        (None, Err(_)) => {
            let any = SocketAddr::new(usual.ip(), 0);
            TcpListener::bind(any).await.map_err(cannot(any))
        }
    }
}

/// Where the demo's ledger is.
struct Home {
    data: PathBuf,
    /// Where the anchor is; none for the usual place.
    anchor: Option<PathBuf>,
    /// To be removed at the end.
    scratch: Option<PathBuf>,
}

impl Home {
    fn make(data: Option<PathBuf>) -> Result<Self, Failure> {
        if let Some(data) = data {
            if !is_free(&data).map_err(Failure::failed)? {
                return Err(Failure::usage(format!(
                    "{0} is not empty: the demo begins with a ledger of its own. Give it another directory, or look \
                     at what is there with  {1} serve --data {2}",
                    data.display(),
                    program(),
                    shell_path(&data)
                )));
            }
            return Ok(Self {
                data,
                anchor: None,
                scratch: None,
            });
        }
        let scratch = std::env::temp_dir().join(format!("daybook-demo-{}", std::process::id()));
        std::fs::DirBuilder::new()
            .mode(0o700)
            .create(&scratch)
            .map_err(|error| Failure::failed(format!("{}: {error}", scratch.display())))?;
        Ok(Self {
            data: scratch.join("data"),
            anchor: Some(scratch.join("anchor")),
            scratch: Some(scratch),
        })
    }

    fn leave(self) {
        let Some(scratch) = self.scratch else {
            return talk(&format!(
                "Kept in {0}: look at it again with  {1} serve --data {2}",
                self.data.display(),
                program(),
                shell_path(&self.data)
            ));
        };
        match std::fs::remove_dir_all(&scratch) {
            Ok(()) => talk("The demo's ledger is gone with it; --data DIR keeps one."),
            Err(error) => talk(&format!("{} could not be removed: {error}", scratch.display())),
        }
    }
}

/// Whether nothing is there.
fn is_free(dir: &Path) -> io::Result<bool> {
    match std::fs::read_dir(dir) {
        Ok(mut entries) => Ok(entries.next().is_none()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(true),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_directory_that_holds_anything_is_refused_and_left_alone() {
        let dir = tempfile::tempdir().expect("a directory");
        assert!(Home::make(Some(dir.path().join("new"))).is_ok());
        assert!(Home::make(Some(dir.path().to_owned())).is_ok());
        std::fs::write(dir.path().join("theirs"), b"x").expect("written");
        let refused = Home::make(Some(dir.path().to_owned())).err().expect("refused");
        assert_eq!(refused.code, super::super::USAGE);
        assert!(dir.path().join("theirs").exists());
    }
}
