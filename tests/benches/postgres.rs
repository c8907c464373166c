//! The service beside PostgreSQL: readings a second by COPY, and through HTTP with everything on, in one run.
//!
//! PostgreSQL is Debian's, on a fresh cluster of its own with its defaults (`fsync`, `synchronous_commit`), under the
//! same directory and so on the same disk: a thousand rows a COPY, each COPY a transaction, into a bare table and into
//! one whose primary key finds duplicates. Without a server it says so and measures the service alone.
//! Run: `cargo bench -p tests --bench postgres`. Seconds a row: `DAYBOOK_BENCH_SECONDS` (10).
//! Not here: the machine's other limits (`daybook bench`).

use serde_json::Value;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// Rows of one COPY.
const ROWS: u64 = 1_000;
/// Devices that the rows are of.
const DEVICES: u64 = 1_000;
/// How long a server may take to start.
const PATIENCE: Duration = Duration::from_secs(30);

/// A table, and what it says about duplicates.
const TABLES: [(&str, &str); 2] = [
    ("PostgreSQL COPY, no index", ""),
    (
        "PostgreSQL COPY, primary key (channel, measured_at)",
        ", PRIMARY KEY (channel, measured_at)",
    ),
];

fn main() {
    let seconds =
        std::env::var("DAYBOOK_BENCH_SECONDS").map_or(10, |s| s.parse().expect("a number of seconds"));
    let scratch = tempfile::tempdir_in(target()).expect("a directory");
    let mut rows = copies(scratch.path(), Duration::from_secs(seconds));
    let copies = rows.clone();
    let report = bench(scratch.path(), seconds);
    let batches = |row: &&Value| {
        row["group"]
            .as_str()
            .is_some_and(|group| group.contains("batches"))
    };
    let measured = report["rows"].as_array().expect("rows");
    rows.extend(measured.iter().filter(batches).map(|row| {
        let name = format!(
            "{}: {}",
            row["group"].as_str().unwrap_or(""),
            row["name"].as_str().unwrap_or("")
        );
        (name, row["value"].as_f64().unwrap_or_default())
    }));
    println!(
        "{:<70}{:>14}",
        report["machine"].as_str().unwrap_or(""),
        "readings/s"
    );
    for (name, rate) in &rows {
        println!("{name:<70}{rate:>14.0}");
    }
    if let Some((_, service)) = rows.iter().find(|(name, _)| name.contains("the service")) {
        for (name, rate) in &copies {
            println!("the service is {:.2} times {name}", service / rate);
        }
    }
}

/// Where cargo keeps what it builds: the disk that everything is measured on.
fn target() -> PathBuf {
    let bench = std::env::current_exe().expect("the bench has a path");
    let target = bench
        .ancestors()
        .nth(3)
        .expect("a bench stands in <target>/<profile>/deps");
    target.to_owned()
}

fn bench(dir: &Path, seconds: u64) -> Value {
    let output = Command::new(tests::daybook::binary())
        .args([
            "bench",
            "--only",
            "http",
            "--json",
            "--seconds",
            &seconds.to_string(),
            "--dir",
        ])
        .arg(dir)
        .stderr(Stdio::inherit())
        .output()
        .expect("it runs");
    serde_json::from_slice(&output.stdout).expect("a report")
}

fn copies(dir: &Path, budget: Duration) -> Vec<(String, f64)> {
    let Some(bin) = server() else {
        eprintln!("no PostgreSQL server here (Debian: apt-get install postgresql): its rows are left out");
        return Vec::new();
    };
    let cluster = Cluster::start(&bin, dir);
    let rows = TABLES.map(|(name, constraint)| (name.to_owned(), cluster.copy(constraint, budget)));
    rows.into()
}

/// The newest server's programs.
fn server() -> Option<PathBuf> {
    let mut found: Vec<PathBuf> = std::fs::read_dir("/usr/lib/postgresql")
        .ok()?
        .filter_map(|version| Some(version.ok()?.path().join("bin")))
        .filter(|bin| bin.join("initdb").exists())
        .collect();
    found.sort();
    found.pop()
}

/// A server of its own, reached by a socket in its own directory; it ends with this.
struct Cluster {
    bin: PathBuf,
    dir: PathBuf,
    postgres: Child,
}

impl Cluster {
    fn start(bin: &Path, under: &Path) -> Self {
        let dir = under.join("postgres");
        std::fs::create_dir(&dir).expect("a directory");
        let data = dir.join("data");
        // The server refuses to run as root; its user must reach the directory.
        if is_root() {
            run(Command::new("chmod").arg("0755").arg(under));
            run(Command::new("chown").arg("postgres:").arg(&dir));
        }
        run(unprivileged(&bin.join("initdb"))
            .args([
                "--auth=trust",
                "--username=daybook",
                "--encoding=UTF8",
                "--no-locale",
                "-D",
            ])
            .arg(&data)
            .stdout(Stdio::null()));
        let postgres = unprivileged(&bin.join("postgres"))
            .arg("-D")
            .arg(&data)
            .arg("-k")
            .arg(&dir)
            .args(["-c", "listen_addresses="])
            .stderr(Stdio::null())
            .spawn()
            .expect("it starts");
        let cluster = Self {
            bin: bin.to_owned(),
            dir,
            postgres,
        };
        let began = Instant::now();
        while !cluster
            .psql()
            .args(["-c", "SELECT 1"])
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .status()
            .is_ok_and(|s| s.success())
        {
            assert!(began.elapsed() < PATIENCE, "PostgreSQL does not answer");
            std::thread::yield_now();
        }
        cluster
    }

    fn psql(&self) -> Command {
        let mut psql = Command::new(self.bin.join("psql"));
        psql.args([
            "-X",
            "-q",
            "-v",
            "ON_ERROR_STOP=1",
            "-U",
            "daybook",
            "-d",
            "postgres",
            "-h",
        ])
        .arg(&self.dir);
        psql
    }

    /// Rows a second into a fresh table, for as long as `budget`.
    fn copy(&self, constraint: &str, budget: Duration) -> f64 {
        let table = format!(
            "DROP TABLE IF EXISTS reading; CREATE TABLE reading (device text NOT NULL, channel text NOT NULL, \
             measured_at timestamptz NOT NULL, received_at timestamptz NOT NULL, value float8 NOT NULL{constraint})"
        );
        run(self.psql().args(["-c", &table]).stderr(Stdio::null()));
        let mut psql = self.psql().stdin(Stdio::piped()).spawn().expect("it starts");
        let mut input = psql.stdin.take().expect("a pipe");
        let (began, mut count) = (Instant::now(), 0);
        let mut statement = Vec::new();
        while began.elapsed() < budget {
            statement.clear();
            statement.extend_from_slice(b"COPY reading FROM STDIN;\n");
            for n in count..count + ROWS {
                row(&mut statement, n).expect("memory takes it");
            }
            statement.extend_from_slice(b"\\.\n");
            input.write_all(&statement).expect("psql takes it");
            count += ROWS;
        }
        drop(input);
        assert!(psql.wait().expect("it ends").success(), "COPY failed");
        count as f64 / began.elapsed().as_secs_f64()
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        let stop = unprivileged(&self.bin.join("pg_ctl"))
            .args(["stop", "--mode=immediate", "--silent", "-D"])
            .arg(self.dir.join("data"))
            .status();
        if !stop.is_ok_and(|stopped| stopped.success()) {
            eprintln!("PostgreSQL did not stop when asked");
        }
        // The directory goes next; what cannot be waited for cannot be helped.
        let _ = self.postgres.wait();
    }
}

/// One reading as COPY takes it.
fn row(out: &mut Vec<u8>, n: u64) -> std::io::Result<()> {
    let (device, time) = (n % DEVICES, n / DEVICES);
    let (minute, second) = (time / 60 % 60, time % 60);
    let (day, hour) = (time / 86_400 + 1, time / 3_600 % 24);
    writeln!(
        out,
        "dev_{device:026}\tchn_{device:026}\t2026-05-{day:02} {hour:02}:{minute:02}:{second:02}+00\t\
         2026-05-{day:02} {hour:02}:{minute:02}:{second:02}.123456+00\t{}",
        4.0 + (n % 97) as f64 / 100.0
    )
}

fn is_root() -> bool {
    let id = Command::new("id").arg("-u").output().expect("id runs");
    id.stdout == b"0\n"
}

/// A command as a user that the server accepts.
fn unprivileged(program: &Path) -> Command {
    if !is_root() {
        return Command::new(program);
    }
    let mut command = Command::new("runuser");
    command.args(["-u", "postgres", "--"]).arg(program);
    command
}

fn run(command: &mut Command) {
    let status = command.status().unwrap_or_else(|e| panic!("{command:?}: {e}"));
    assert!(status.success(), "{command:?} failed");
}
