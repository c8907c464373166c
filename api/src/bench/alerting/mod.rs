//! The bench of alarms: how long one takes from the reading's arrival to the socket of who is told, while readings come
//! at a steady pace; and what ingest is like with rules and without.
//!
//! `scene` a service with devices, rules and contacts · `receivers` those who are told · `told` how long it took.
//! Everything is the service's own: its HTTP, ledger, alerting, read models and notifiers, with their limits in force,
//! over real sockets; the load is a process of its own.
//! Not here: the command line (`cli::bench`), rules alone (`domain/benches/rules.rs`).

mod receivers;
mod scene;
mod told;

use super::drive::{Driven, drive};
use super::histogram::Histogram;
use super::table::{Check, Report, Row, figure};
use super::{BenchError, host};
use crate::app::{App, Outside};
use domain::Position;
use domain::event::contact::ContactKind;
use receivers::Receivers;
use scene::{CONTACTS, Scene};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};
use told::{Record, Ways};

/// Connections that the load comes over, and reports in a request.
const CONNECTIONS: usize = 8;
const BATCH: usize = 10;
/// The same where ingest is asked for all that it can take.
const BATCH_MOST: usize = 100;
/// Before counting begins.
const WARM_UP: Duration = Duration::from_secs(2);
/// How often it is looked how far anything is behind.
const LOOK: Duration = Duration::from_millis(100);
/// How long the last messages may take.
const LAST: Duration = Duration::from_secs(60);
/// How long alerting may take to catch up.
const CATCH_UP_MAX: Duration = Duration::from_secs(600);
/// Within which everybody should be told, milliseconds.
const TOLD_MS: f64 = 1_000.0;
/// Rounds with and without rules, in turns, so that what else the machine does falls on both.
const ROUNDS: usize = 3;

/// What is to be measured.
#[derive(Debug, Clone)]
pub struct Options {
    /// Where everything is written; removed by the caller.
    pub dir: PathBuf,
    /// Devices.
    pub devices: usize,
    /// Values in a report, each of a channel with a rule.
    pub values: usize,
    /// Reports a second.
    pub per_second: f64,
    /// Alarms a second.
    pub alarms_per_second: f64,
    /// For how long.
    pub seconds: f64,
    /// How long each round of ingest alone takes; 0 for none.
    pub ingest_s: f64,
}

/// How far anything was behind at worst.
#[derive(Debug, Clone, Copy, Default)]
struct Behind {
    rules_entries: u64,
    rules_s: f64,
    rows_entries: u64,
    rows_s: f64,
}

impl Behind {
    fn look(&mut self, app: &App) {
        let rules = app
            .alerting()
            .map(commands::alerting::Alerting::status)
            .unwrap_or_default();
        let rows = app.projector().status();
        self.rules_entries = self.rules_entries.max(rules.lag_entries);
        self.rules_s = self.rules_s.max(rules.lag_s);
        self.rows_entries = self.rows_entries.max(rows.lag_entries);
        self.rows_s = self.rows_s.max(rows.lag_seconds);
    }
}

/// One run.
pub struct Alarms<'a> {
    options: Options,
    outside: Outside,
    say: &'a dyn Fn(&str),
    report: Report,
}

impl<'a> Alarms<'a> {
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
        }
    }

    /// Measures.
    ///
    /// # Errors
    /// [`BenchError`] at the first thing that cannot be measured.
    pub async fn run(mut self) -> Result<Report, BenchError> {
        std::fs::create_dir_all(&self.options.dir)?;
        if self.options.seconds > 0.0 {
            self.alarms().await?;
        }
        if self.options.ingest_s > 0.0 {
            self.ingest().await?;
        }
        Ok(self.report)
    }

    fn row(&mut self, row: Row) {
        (self.say)(&format!(
            "{}: {} {} ({})",
            row.name,
            figure(row.value),
            row.unit,
            row.note
        ));
        self.report.rows.push(row);
    }

    fn check(&mut self, what: String, measured: String, target: &str, met: bool) {
        self.report.checks.push(Check {
            what,
            measured,
            target: target.to_owned(),
            met,
        });
    }

    /// Devices that will be out, in the order in which they will, spread over all.
    fn out(&self) -> Vec<usize> {
        // The last goes out a second before the end, so that it reports once more.
        let seconds = (self.options.seconds - 1.0).max(0.0);
        let wanted = (seconds * self.options.alarms_per_second).max(1.0) as usize;
        let count = wanted.min(self.options.devices);
        (0..count).map(|n| n * self.options.devices / count).collect()
    }

    async fn alarms(&mut self) -> Result<(), BenchError> {
        (self.say)("starting the service, its receivers and devices");
        let receivers = Receivers::start(self.outside.clock.clone()).await?;
        let dir = self.options.dir.join("alarms");
        let mut scene = Scene::open(&dir, &self.outside, &self.options, Some(&receivers)).await?;
        let out = self.out();
        let rules = scene.rules().await?;
        scene.contacts(&out, &receivers).await?;
        let app = Arc::clone(&scene.served.app);
        // Mailboxes are asked to confirm before anything else is said to them.
        let asked = CONTACTS.min(out.len()) as u64;
        until(LAST, || receivers.count(ContactKind::Email).0 >= asked).await;
        scene.served.drain().await?;
        let from = app.log().size();
        (self.say)(&format!(
            "{rules} rules; {} reports of {} values a second for {} s, {} devices will be out",
            figure(self.options.per_second),
            self.options.values,
            figure(self.options.seconds),
            out.len()
        ));
        let window = Duration::from_secs_f64(self.options.seconds);
        let mut plan = scene.plan(CONNECTIONS, BATCH, WARM_UP, window);
        plan.per_second = Some(self.options.per_second);
        let each_ms = 1e3 / self.options.alarms_per_second;
        plan.out = (0u32..)
            .zip(&out)
            .map(|(n, number)| {
                (
                    *number,
                    WARM_UP.as_millis() as u64 + (f64::from(n) * each_ms) as u64,
                )
            })
            .collect();
        let (driven, behind) = watched(&app, plan).await?;
        let record = self.settled(&app, from.next_position(), &out).await?;
        let ways = record.ways(&scene, &receivers).await?;
        self.load_row("readings while alarms are told", &driven, &behind);
        self.way_rows(&ways, &receivers);
        self.check(
            "every alarm was told every way".to_owned(),
            format!("{} missing", ways.missing),
            "0 missing",
            ways.missing == 0 && ways.alarms == out.len() as u64,
        );
        scene.served.stop().await
    }

    /// What was recorded once everybody was told, or a minute later.
    async fn settled(&self, app: &App, from: Position, out: &[usize]) -> Result<Record, BenchError> {
        let wanted = (out.len() * ContactKind::ALL.len()) as u64;
        let until = Instant::now() + LAST;
        loop {
            let record = Record::read(app, from).await?;
            if record.outcomes >= wanted || Instant::now() > until {
                if record.not_sent > 0 {
                    (self.say)(&format!("{} notifications did not go out", record.not_sent));
                }
                return Ok(record);
            }
            tokio::time::sleep(LOOK).await;
        }
    }

    fn load_row(&mut self, name: &str, driven: &Driven, behind: &Behind) {
        let latency = &driven.load.latency;
        self.row(Row {
            group: "the load",
            name: name.to_owned(),
            value: driven.rate(),
            unit: "readings/s",
            p50_us: Some(latency.quantile_us(0.5)),
            p99_us: Some(latency.quantile_us(0.99)),
            p999_us: Some(latency.quantile_us(0.999)),
            cpu_us: driven.cpu_us(),
            client_cpu_us: driven.client_cpu_us(),
            idle_cores: driven.spent.idle_cores,
            note: format!(
                "at worst rules {} entries ({} s) behind, read models {} ({} s); {} refused",
                figure(behind.rules_entries as f64),
                figure(behind.rules_s),
                figure(behind.rows_entries as f64),
                figure(behind.rows_s),
                driven.load.refused
            ),
        });
    }

    fn way_rows(&mut self, ways: &Ways, receivers: &Receivers) {
        const GROUP: &str = "the way of an alarm";
        let (recorded, decided) = (&ways.recorded, &ways.decided);
        self.row(latency_row(GROUP, "received → recorded", recorded, String::new()));
        self.row(latency_row(
            GROUP,
            "recorded → alarm recorded",
            decided,
            String::new(),
        ));
        for (via, after, whole) in &ways.told {
            let (came, again) = receivers.count(*via);
            let note = format!("; {came} messages, {again} of them again");
            self.row(latency_row(
                GROUP,
                &format!("alarm recorded → {}", via.as_str()),
                after,
                String::new(),
            ));
            self.row(latency_row(
                GROUP,
                &format!("received → {}", via.as_str()),
                whole,
                note,
            ));
            let p99_ms = whole.quantile_us(0.99) as f64 / 1e3;
            self.check(
                format!("p99 from received to {}", via.as_str()),
                format!("{} ms", figure(p99_ms)),
                "at most 1000 ms",
                whole.count() > 0 && p99_ms <= TOLD_MS,
            );
        }
    }

    /// All that ingest can take, with rules and without, in turns.
    async fn ingest(&mut self) -> Result<(), BenchError> {
        (self.say)("two services, one with rules and one without");
        let without = Scene::open(
            &self.options.dir.join("without"),
            &self.outside,
            &self.options,
            None,
        )
        .await?;
        let with = Scene::open(&self.options.dir.join("with"), &self.outside, &self.options, None).await?;
        let rules = with.rules().await?;
        let window = Duration::from_secs_f64(self.options.ingest_s);
        let (mut rates, mut waits) = ([Vec::new(), Vec::new()], [Vec::new(), Vec::new()]);
        for round in 1..=ROUNDS {
            for (which, scene) in [&without, &with].into_iter().enumerate() {
                let name = match which {
                    0 => format!("without rules, {round}"),
                    _ => format!("with {} rules, {round}", figure(rules as f64)),
                };
                let app = &scene.served.app;
                let plan = scene.plan(CONNECTIONS, BATCH_MOST, WARM_UP.min(window / 4), window);
                let (driven, behind) = watched(app, plan).await?;
                let began = Instant::now();
                let caught_up = match app.alerting() {
                    Some(rules) => rules.wait_for(app.log().size(), CATCH_UP_MAX).await,
                    None => false,
                };
                let caught_up_s = began.elapsed().as_secs_f64();
                scene.served.drain().await?;
                rates[which].push(driven.rate());
                waits[which].push(driven.load.latency.quantile_us(0.99) as f64 / 1e3);
                self.load_row(&name, &driven, &behind);
                if let Some(row) = self.report.rows.last_mut() {
                    let words = if caught_up {
                        "caught up"
                    } else {
                        "did not catch up"
                    };
                    row.note
                        .push_str(&format!("; rules {words} in {} s", figure(caught_up_s)));
                }
            }
        }
        let ratio = median(&mut rates[1]) / median(&mut rates[0]);
        self.check(
            "readings taken with rules against without, medians".to_owned(),
            figure(ratio),
            "at least 0.8",
            ratio >= 0.8,
        );
        without.served.stop().await?;
        with.served.stop().await
    }
}

/// Puts a load on and looks how far anything gets behind meanwhile.
async fn watched(app: &App, plan: super::load::Plan) -> Result<(Driven, Behind), BenchError> {
    let mut behind = Behind::default();
    let mut ticks = tokio::time::interval(LOOK);
    let mut driving = std::pin::pin!(drive(plan));
    loop {
        tokio::select! {
            driven = &mut driving => return Ok((driven?, behind)),
            _ = ticks.tick() => behind.look(app),
        }
    }
}

async fn until(patience: Duration, there: impl Fn() -> bool) {
    let end = Instant::now() + patience;
    while !there() && Instant::now() < end {
        tokio::time::sleep(LOOK).await;
    }
}

fn latency_row(group: &'static str, name: &str, latency: &Histogram, note: String) -> Row {
    Row {
        group,
        name: name.to_owned(),
        value: latency.count() as f64,
        unit: "alarms",
        p50_us: Some(latency.quantile_us(0.5)),
        p99_us: Some(latency.quantile_us(0.99)),
        p999_us: Some(latency.quantile_us(0.999)),
        note: format!(
            "p90 {} ms, longest {} ms{note}",
            figure(latency.quantile_us(0.9) as f64 / 1e3),
            figure(latency.max_us() as f64 / 1e3)
        ),
        ..Row::default()
    }
}

fn median(of: &mut [f64]) -> f64 {
    of.sort_by(f64::total_cmp);
    of.get(of.len() / 2).copied().unwrap_or(f64::NAN)
}
