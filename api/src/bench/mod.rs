//! The bench: what the service costs, beside what this machine can do at all, in one run.
//!
//! `plain` the machine's limits · `bare` the least that durable hashed ingest can be · `service` everything on ·
//! `alone` sequencer and ledger · `midnight` closing a day · `alerting` the way of an alarm · `load`, `drive` the load generator, a process of its
//! own · `stage`, `entries` what is measured on · `host`, `histogram`, `table` how it is measured and shown.
//! Invariants: a load is put on the bare path and on the service one right after the other; what is compared was
//! measured in the same run.
//! Not here: the command line (`cli::bench`).

pub mod alerting;
pub mod alone;
pub mod bare;
pub mod drive;
pub mod entries;
pub mod histogram;
pub mod host;
pub mod load;
pub mod midnight;
pub mod plain;
pub mod service;
pub mod stage;
pub mod table;

use crate::app::Outside;
use alone::{Alone, Kept};
use bare::Bare;
use domain::verify::Strictness;
use drive::{Driven, drive};
use load::Plan;
use plain::{AppendWork, Pace, Sample};
use service::{Loaded, Service};
use std::path::PathBuf;
use std::time::Duration;
use table::{Check, Report, Row, figure};

/// Reports in a batch.
const BATCH: usize = 100;
/// Connections that send batches.
const BATCH_CONNECTIONS: usize = 8;
/// Idle processors from which on the bare path is bound by the disk, not by work.
const HALF_A_CORE: f64 = 0.5;
/// Inclusion proofs that are made.
const PROOFS: u32 = 2_000;

/// What is to be measured.
#[derive(Debug, Clone)]
pub struct Options {
    /// Where everything is written; removed by the caller.
    pub dir: PathBuf,
    /// How long each row is measured.
    pub seconds: f64,
    /// How long the service takes batches.
    pub sustained_s: f64,
    /// Entries of the ledger that is opened, proven and verified.
    pub entries: u64,
    /// Streams of the day that is closed.
    pub streams: u64,
    /// Devices that are known.
    pub devices: usize,
    /// Connections with single readings.
    pub connections: usize,
    /// Which groups of rows; none for all.
    pub only: Vec<Group>,
}

/// Rows that belong together.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Group {
    /// Hashing, appending, SQLite.
    Limits,
    /// Over HTTP: nothing, the bare path, the service.
    Http,
    /// Sequencer and ledger without HTTP; opening, proofs, verification.
    Ledger,
    /// Closing a day.
    Midnight,
}

/// Something could not be measured.
#[derive(Debug, thiserror::Error)]
pub enum BenchError {
    /// A file or socket.
    #[error(transparent)]
    Io(#[from] std::io::Error),
    /// SQLite.
    #[error(transparent)]
    Sqlite(#[from] rusqlite::Error),
    /// The load generator, or what it was put on.
    #[error("the load could not be put on: {0}")]
    Load(String),
    /// Every request was refused.
    #[error("every request was refused: {0}")]
    Refused(String),
    /// The service does not open.
    #[error(transparent)]
    Open(#[from] crate::app::OpenError),
    /// The stores do not open.
    #[error(transparent)]
    Stores(#[from] crate::stores::StoresError),
    /// The ledger does not open.
    #[error(transparent)]
    Ledger(#[from] commands::ledger::OpenError),
    /// The sequencer does not start.
    #[error(transparent)]
    Sequencer(#[from] commands::sequencer::StartError),
    /// The first entries.
    #[error(transparent)]
    Begin(#[from] crate::begin::BeginError),
    /// A device or site.
    #[error(transparent)]
    Manage(#[from] commands::handlers::ManageError),
    /// A reading.
    #[error(transparent)]
    Record(#[from] commands::sequencer::RecordError),
    /// The ledger cannot be read.
    #[error(transparent)]
    Read(#[from] domain::ports::ReadError),
    /// A proof does not hold.
    #[error(transparent)]
    Proof(#[from] domain::proof::ProofError),
    /// HTTP.
    #[error(transparent)]
    Client(#[from] crate::demo::client::ClientError),
}

/// One run.
pub struct Bench<'a> {
    options: Options,
    outside: Outside,
    say: &'a dyn Fn(&str),
    report: Report,
    /// Plain appends of a thousand entries, and SQLite, where they were measured.
    append: Option<Pace>,
    sqlite: Option<Pace>,
}

impl<'a> Bench<'a> {
    /// A run; `say` is told what is being measured.
    pub fn new(options: Options, outside: Outside, say: &'a dyn Fn(&str)) -> Self {
        Self {
            options,
            outside,
            say,
            report: Report {
                machine: host::machine(),
                version: env!("CARGO_PKG_VERSION"),
                optimised: !cfg!(debug_assertions),
                ..Report::default()
            },
            append: None,
            sqlite: None,
        }
    }

    /// Measures everything that was asked for.
    ///
    /// # Errors
    /// [`BenchError`] at the first thing that cannot be measured.
    pub async fn run(mut self) -> Result<Report, BenchError> {
        std::fs::create_dir_all(&self.options.dir)?;
        let wanted = |group| self.options.only.is_empty() || self.options.only.contains(&group);
        let (limits, http) = (wanted(Group::Limits), wanted(Group::Http));
        let (ledger, midnight) = (wanted(Group::Ledger), wanted(Group::Midnight));
        if limits || ledger {
            self.limits(limits)?;
        }
        if http {
            self.http().await?;
        }
        if ledger {
            self.ledger().await?;
        }
        if midnight {
            self.midnight()?;
        }
        Ok(self.report)
    }

    fn window(&self) -> Duration {
        Duration::from_secs_f64(self.options.seconds)
    }

    fn warm_up(&self) -> Duration {
        self.window().div_f64(5.0).min(Duration::from_secs(2))
    }

    fn row(&mut self, row: Row) {
        (self.say)(&format!("{}: {} {}", row.name, figure(row.value), row.unit));
        self.report.rows.push(row);
    }

    fn check(&mut self, what: &str, measured: f64, target: Target, unit: &str) {
        let (met, words) = match target {
            Target::AtLeast(least) => (measured >= least, format!("at least {}{unit}", figure(least))),
            Target::AtMost(most) => (measured <= most, format!("at most {}{unit}", figure(most))),
        };
        self.report.checks.push(Check {
            what: what.to_owned(),
            measured: format!("{}{unit}", figure(measured)),
            target: words,
            met,
        });
    }

    fn pace(&mut self, name: &str, pace: Pace, note: String) {
        self.row(Row {
            group: "the machine's own limits, one thread",
            name: name.to_owned(),
            value: pace.rate(),
            unit: "entries/s",
            note: format!("{} MB/s{note}", figure(pace.megabytes())),
            ..Row::default()
        });
    }

    fn limits(&mut self, all: bool) -> Result<(), BenchError> {
        let sample = Sample::new(self.outside.clock.now());
        let short = self.window().div_f64(2.0);
        if all {
            let size = format!(", {} bytes an entry", sample.entry_bytes());
            self.pace("SHA-256 of the entries", sample.sha256(short), size);
            let least = sample.hashes_of_a_tree(short);
            self.pace("SHA-256 of entries and as many nodes", least, String::new());
            let tree = sample.tree(short);
            self.pace("leaf and tree", tree, String::new());
            let ratio = least.rate() / tree.rate();
            self.check(
                "leaf and tree against the same hashes",
                ratio,
                Target::AtMost(1.15),
                "×",
            );
            for group in [1, 100] {
                let pace = sample.append(&self.options.dir, group, AppendWork::Bytes, short)?;
                self.pace(&format!("append + fdatasync of {group}"), pace, String::new());
            }
        }
        let append = sample.append(&self.options.dir, 1000, AppendWork::Bytes, self.window())?;
        self.pace("append + fdatasync of 1000", append, String::new());
        self.append = Some(append);
        if all {
            let hashed = sample.append(&self.options.dir, 1000, AppendWork::WithTree, short)?;
            self.pace("the same with leaf and tree", hashed, String::new());
            let sqlite = sample.sqlite(&self.options.dir, 1000, self.window())?;
            self.pace("SQLite inserts of 1000, no hashing", sqlite, String::new());
            self.sqlite = Some(sqlite);
        }
        Ok(())
    }

    async fn http(&mut self) -> Result<(), BenchError> {
        (self.say)("starting the service and registering devices");
        let bare = Bare::start(&self.options.dir, self.outside.clock.clone()).await?;
        let service = Service::start(
            self.options.dir.join("service"),
            self.outside.clone(),
            &self.options,
        )
        .await?;
        let many = self.options.connections;
        let (warm_up, window) = (self.warm_up(), self.window());
        let sustained = Duration::from_secs_f64(self.options.sustained_s);
        let one = service.singles(1, warm_up, window);
        self.compare("1 client, single readings", &bare, &service, one)
            .await?;
        let before = service.footprint();
        let singles = service.singles(many, warm_up, window);
        let (bare_64, service_64) = self
            .compare(
                &format!("{many} connections, single readings"),
                &bare,
                &service,
                singles,
            )
            .await?;
        let ratio = service_64.driven.rate() / bare_64.rate();
        self.check(
            &format!("single readings at {many} connections against the bare path"),
            ratio,
            Target::AtLeast(0.6),
            "",
        );
        let batches = service.batches(BATCH_CONNECTIONS, BATCH, warm_up, window.max(sustained));
        let name = format!("{BATCH_CONNECTIONS} connections, batches of {BATCH}");
        let (bare_100, service_100) = self.compare(&name, &bare, &service, batches).await?;
        self.batches(&bare_100, &service_100);
        let after = service.footprint();
        self.footprint(before, &service_100.meanwhile, after);
        service.stop().await?;
        bare.stop().await?;
        Ok(())
    }

    /// A load on a handler that does nothing, on the bare path, on the service.
    async fn compare(
        &mut self,
        name: &str,
        bare: &Bare,
        service: &Service,
        plan: Plan,
    ) -> Result<(Driven, Loaded), BenchError> {
        let short = Plan {
            window_ms: plan.window_ms.min(self.window().as_millis() as u64),
            ..plan.clone()
        };
        let to = |path: &str| Plan {
            address: bare.address,
            path: path.to_owned(),
            ..short.clone()
        };
        let nothing = drive(to("/noop")).await?;
        self.driven(name, "a handler that does nothing", &nothing, None, String::new());
        let least = drive(to("/bare")).await?;
        self.driven(name, "bare path", &least, None, String::new());
        let loaded = service.load(plan).await?;
        let note = format!(
            "{} of bare; lag {} entries, {} s; drained in {} s{}",
            figure(loaded.driven.rate() / least.rate()),
            figure(loaded.lag_entries as f64),
            figure(loaded.lag_s),
            figure(loaded.drain.as_secs_f64()),
            refusals(&loaded.driven),
        );
        self.driven(
            name,
            "the service, everything on",
            &loaded.driven,
            loaded.cpu_us,
            note,
        );
        Ok((least, loaded))
    }

    fn driven(&mut self, load: &str, name: &str, driven: &Driven, cpu_us: Option<f64>, note: String) {
        let group = match load {
            _ if load.starts_with("1 client") => "1 client, single readings",
            _ if load.contains("batches") => "8 connections, batches of 100",
            _ => "many connections, single readings",
        };
        let latency = &driven.load.latency;
        self.row(Row {
            group,
            name: name.to_owned(),
            value: driven.rate(),
            unit: "readings/s",
            p50_us: Some(latency.quantile_us(0.5)),
            p99_us: Some(latency.quantile_us(0.99)),
            p999_us: Some(latency.quantile_us(0.999)),
            cpu_us: cpu_us.or(driven.cpu_us()),
            client_cpu_us: driven.client_cpu_us(),
            idle_cores: driven.spent.idle_cores,
            note,
        });
    }

    fn batches(&mut self, bare: &Driven, service: &Loaded) {
        let idle = bare.spent.idle_cores.unwrap_or_default();
        if idle >= HALF_A_CORE {
            let ratio = service.driven.rate() / bare.rate();
            self.check("batches against the bare path", ratio, Target::AtLeast(0.5), "");
        } else if let Some(ratio) = service.cpu_us.zip(bare.cpu_us()).map(|(ours, bare)| ours / bare) {
            self.check(
                "processor time a reading in batches, against the bare path",
                ratio,
                Target::AtMost(3.5),
                "×",
            );
        }
        self.check(
            "read models behind at the end",
            service.lag_s,
            Target::AtMost(5.0),
            " s",
        );
        if let Some(sqlite) = self.sqlite {
            self.check(
                "batches against plain SQLite inserts",
                service.driven.rate() / sqlite.rate(),
                Target::AtLeast(1.0),
                "×",
            );
        }
    }

    fn footprint(
        &mut self,
        before: service::Footprint,
        meanwhile: &[service::Footprint],
        after: service::Footprint,
    ) {
        let entries = after.entries.saturating_sub(before.entries).max(1) as f64;
        let mut add = |name: &str, value: f64, unit: &'static str, note: String| {
            self.row(Row {
                group: "what the service takes",
                name: name.to_owned(),
                value,
                unit,
                note,
                ..Row::default()
            });
        };
        let grown = |before: u64, after: u64| after.saturating_sub(before) as f64 / entries;
        add(
            "ledger on disk",
            grown(before.ledger_bytes, after.ledger_bytes),
            "bytes/reading",
            format!("{} entries", figure(after.entries as f64)),
        );
        add(
            "read models on disk",
            grown(before.rows_bytes, after.rows_bytes),
            "bytes/reading",
            String::new(),
        );
        let meanwhile = meanwhile.iter().map(|footprint| ("memory meanwhile", *footprint));
        let all = std::iter::once(("memory before the batches", before))
            .chain(meanwhile)
            .chain([("memory after them", after)]);
        for (name, footprint) in all {
            if let Some(bytes) = footprint.resident_bytes {
                add(
                    name,
                    bytes as f64 / 1e6,
                    "MB",
                    format!("{} entries", figure(footprint.entries as f64)),
                );
            }
        }
    }

    async fn ledger(&mut self) -> Result<(), BenchError> {
        const GROUP: &str = "sequencer and ledger, without HTTP";
        let settings = service::settings(self.options.dir.join("alone"));
        let alone = Alone::open(&settings, &self.outside)?;
        let filled = alone
            .fill(&settings, self.options.devices, self.options.entries)
            .await?;
        alone.stop().await;
        let rate = filled.entries as f64 / filled.spent.wall.as_secs_f64();
        self.row(Row {
            group: GROUP,
            name: "groups of 100, 32 at once".to_owned(),
            value: rate,
            unit: "entries/s",
            cpu_us: filled.spent.cpu_s.map(|cpu| cpu * 1e6 / filled.entries as f64),
            idle_cores: filled.spent.idle_cores,
            ..Row::default()
        });
        if let Some(append) = self.append {
            self.check(
                "sequencer and ledger against the bare append",
                rate / append.rate(),
                Target::AtLeast(0.5),
                "",
            );
        }
        let again = Alone::open(&settings, &self.outside)?;
        let opened = again.opened_in;
        again.stop().await;
        let entries = format!("{} entries", figure(filled.entries as f64));
        let of_kept = |name: &str, value, unit, note| Row {
            group: "a ledger on disk",
            name: name.to_owned(),
            value,
            unit,
            note,
            ..Row::default()
        };
        self.row(of_kept("open", opened.as_secs_f64(), "s", entries));
        self.check("open", opened.as_secs_f64(), Target::AtMost(2.0), " s");
        let kept = Kept::open(&settings.data)?;
        let proofs = kept.proofs(PROOFS)?;
        let note = format!(
            "p99 {} µs, {} proofs, each verified",
            figure(proofs.p99_us),
            proofs.count
        );
        self.row(of_kept("inclusion proof", proofs.mean_us, "µs", note));
        self.check("inclusion proof", proofs.mean_us, Target::AtMost(100.0), " µs");
        for (name, strictness, least) in [
            ("verify: hashes, tree, chains", Strictness::Hashes, 1e6),
            (
                "verify: and the strict canonical form",
                Strictness::Canonical,
                4e5,
            ),
        ] {
            let verified = kept.verify(strictness)?;
            let rate = verified.entries as f64 / verified.took.as_secs_f64();
            self.row(of_kept(
                name,
                rate,
                "entries/s",
                format!("one thread; {}", verified.verdict.word()),
            ));
            self.check(name, rate, Target::AtLeast(least), " entries/s");
        }
        Ok(())
    }

    fn midnight(&mut self) -> Result<(), BenchError> {
        let midnight = midnight::midnight(self.options.streams)?;
        let pause = midnight.pause.as_secs_f64() * 1e3;
        self.row(Row {
            group: "midnight",
            name: "ingest waits".to_owned(),
            value: pause,
            unit: "ms",
            note: format!(
                "{} streams; prepared beside in {} s",
                figure(midnight.count as f64),
                figure(midnight.prepared.as_secs_f64())
            ),
            ..Row::default()
        });
        self.check("midnight's pause", pause, Target::AtMost(100.0), " ms");
        Ok(())
    }
}

fn refusals(driven: &Driven) -> String {
    match &driven.load.first_refusal {
        Some(words) => format!("; {} refused: {words}", driven.load.refused),
        None => String::new(),
    }
}

/// What a figure should be.
#[derive(Debug, Clone, Copy)]
enum Target {
    AtLeast(f64),
    AtMost(f64),
}
