//! How fast the embedded ledger is, against a bare file: append and fdatasync of the same bytes. Prints tables.
//!
//! `cargo bench -p commands --bench ledger -- [FOLDER] [ENTRIES]`: FOLDER is where files go (default: the system's
//! folder for temporary files), ENTRIES how many the ledger for reading and opening has.
//! Targets: 1 M entries/s at 1,000 a commit without hashing; an entry of a sealed segment within 100 µs; opening 10 M
//! entries within 2 s. Not here: hashing on append (`domain`'s bench), HTTP (`daybook bench`).

use commands::ledger::{Ledger, Options, Upkeep, check};
use domain::entry::{EntryHead, Placement, encode_parts};
use domain::hash::leaf_hash;
use domain::merkle::{Frontier, TileNodes};
use domain::ports::{Append, EntryBlock, TileStore};
use domain::{Hash, Position, Timestamp, TreeSize};
use std::fs::{File, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// A table's row takes about this long.
const ROW: Duration = Duration::from_secs(2);
/// Rounds of the append table; the better one counts, for the disk has other guests.
const ROUNDS: usize = 3;
/// Entries of the ledger that is read and opened, unless said otherwise.
const ENTRIES: u64 = 2_000_000;
const START_US: i64 = 1_780_000_000_000_000;

fn main() {
    let args: Vec<String> = std::env::args().skip(1).filter(|arg| arg != "--bench").collect();
    let folder = args.first().map_or_else(std::env::temp_dir, PathBuf::from);
    let entries = args.get(1).and_then(|n| n.parse().ok()).unwrap_or(ENTRIES);
    let dir = folder.join(format!("daybook-bench-{}", std::process::id()));
    std::fs::create_dir_all(&dir).expect("the folder can be made");
    appends(&dir);
    reads(&dir, entries);
    std::fs::remove_dir_all(&dir).expect("the folder can be removed");
}

/// Commits that were hashed beforehand.
struct Batch {
    block: EntryBlock,
    leaves: Vec<Hash>,
    nodes: TileNodes,
    root: Hash,
}

fn batch(frontier: &mut Frontier, count: u64) -> Batch {
    let mut block = EntryBlock::new();
    let first = frontier.size().get();
    for position in first..first + count {
        let device = format!("dev_{:026}", position % 1000);
        let head = EntryHead {
            aggregate_type: "readings",
            aggregate_id: &device,
            event_type: "ReadingRecorded",
            event_version: "1.0",
        };
        let placement = Placement {
            position: Position(position),
            recorded_at: Timestamp::from_micros(START_US + position as i64).expect("in range"),
            sequence: position / 1000 + 1,
            salt: leaf_hash(&position.to_le_bytes()).0[..16]
                .try_into()
                .expect("16 bytes"),
        };
        let value = 2000 + position * 7919 % 1000;
        let payload = format!(
            "{{\"config\":12,\"measured_at\":\"2026-05-29T00:00:00.000000Z\",\"time_from\":\"device\",\
             \"values\":{{\"temperature\":{}.{}}}}}",
            value / 100,
            value % 100
        );
        block
            .push_with(Position(position), |out| {
                encode_parts(
                    out,
                    &placement,
                    &head,
                    b"{\"received_at\":\"2026-05-29T00:00:01.000000Z\"}",
                    |out| {
                        out.extend_from_slice(payload.as_bytes());
                    },
                )
            })
            .expect("within the limits");
    }
    let leaves: Vec<Hash> = block.iter().map(|(_, entry)| leaf_hash(entry)).collect();
    let mut nodes = TileNodes::new();
    frontier.extend(&leaves, &mut nodes);
    Batch {
        block,
        leaves,
        root: frontier.root(),
        nodes,
    }
}

fn append(ledger: &Ledger, batch: &Batch, expected: u64) {
    ledger
        .append_now(Append {
            expected: TreeSize(expected),
            entries: &batch.block,
            leaf_hashes: &batch.leaves,
            root: batch.root,
            tile_nodes: batch.nodes.above(),
        })
        .expect("appends");
}

fn appends(dir: &Path) {
    println!("append, hashing not counted; best of {ROUNDS} rounds of {ROW:?}");
    println!(
        "  a commit   ledger entries/s   bare file entries/s   ledger/bare   ledger p50/p99 µs   bare p50/p99 µs"
    );
    for count in [1, 10, 100, 1000] {
        let mut best: [Option<Row>; 2] = [None, None];
        for round in 0..ROUNDS {
            let name = format!("append-{count}-{round}");
            for (which, row) in [
                with_ledger(&dir.join(&name), count),
                with_file(&dir.join(name + ".bare"), count),
            ]
            .into_iter()
            .enumerate()
            {
                let better = best[which].as_ref().is_none_or(|best| row.rate > best.rate);
                if better {
                    best[which] = Some(row);
                }
            }
        }
        if let [Some(ledger), Some(bare)] = best {
            println!(
                "  {count:>8}   {:>16.0}   {:>19.0}   {:>11.2}   {:>8.0} / {:<6.0}   {:>6.0} / {:<6.0}   {:>8.0} / {:<8.0}",
                ledger.rate,
                bare.rate,
                ledger.rate / bare.rate,
                ledger.p50,
                ledger.p99,
                bare.p50,
                bare.p99,
                ledger.processor_ns,
                bare.processor_ns
            );
        }
    }
}

struct Row {
    rate: f64,
    p50: f64,
    p99: f64,
    processor_ns: f64,
}

/// Processor time of this thread so far, where the system tells; others' work does not count in it.
fn processor() -> Duration {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap_or_default();
    let ns = text.split(' ').next().and_then(|ns| ns.parse().ok());
    Duration::from_nanos(ns.unwrap_or(0))
}

/// What is measured of one commit after the other.
#[derive(Default)]
struct Times {
    times: Vec<Duration>,
    total: Duration,
    processor: Duration,
}

impl Times {
    fn measure(&mut self, run: impl FnOnce()) {
        let (start, used) = (Instant::now(), processor());
        run();
        let elapsed = start.elapsed();
        self.processor += processor().saturating_sub(used);
        self.times.push(elapsed);
        self.total += elapsed;
    }

    fn row(self, count: u64) -> Row {
        let entries = count as f64 * self.times.len() as f64;
        Row {
            processor_ns: self.processor.as_nanos() as f64 / entries,
            ..row(count, self.times)
        }
    }
}

fn row(count: u64, mut times: Vec<Duration>) -> Row {
    let total: Duration = times.iter().sum();
    times.sort();
    let at = |share: f64| times[((times.len() - 1) as f64 * share) as usize].as_secs_f64() * 1e6;
    Row {
        rate: count as f64 * times.len() as f64 / total.as_secs_f64(),
        p50: at(0.5),
        p99: at(0.99),
        processor_ns: 0.0,
    }
}

fn with_ledger(dir: &Path, count: u64) -> Row {
    let (ledger, _) = Ledger::open(dir, Options::default()).expect("opens");
    let mut frontier = Frontier::new();
    let mut times = Times::default();
    while times.total < ROW {
        let expected = frontier.size().get();
        let batch = batch(&mut frontier, count);
        times.measure(|| append(&ledger, &batch, expected));
    }
    drop(ledger);
    std::fs::remove_dir_all(dir).expect("removes");
    times.row(count)
}

fn with_file(path: &Path, count: u64) -> Row {
    let mut file = OpenOptions::new()
        .append(true)
        .create(true)
        .open(path)
        .expect("opens");
    let mut frontier = Frontier::new();
    let mut times = Times::default();
    while times.total < ROW {
        let batch = batch(&mut frontier, count);
        times.measure(|| {
            file.write_all(batch.block.bytes()).expect("writes");
            file.sync_data().expect("syncs");
        });
    }
    drop(file);
    std::fs::remove_file(path).expect("removes");
    times.row(count)
}

fn timed<T>(what: &str, run: impl FnOnce() -> T) -> T {
    let start = Instant::now();
    let result = run();
    println!("  {what:<52} {:>10.3} s", start.elapsed().as_secs_f64());
    result
}

/// Microseconds a call over positions spread by a fixed stride.
fn spread(what: &str, size: u64, calls: u64, mut run: impl FnMut(Position)) {
    let mut times = Vec::new();
    for i in 0..calls {
        let position = Position((i * 7_368_787 + 1_299_709) % size);
        let start = Instant::now();
        run(position);
        times.push(start.elapsed());
    }
    let row = row(1, times);
    println!("  {what:<52} {:>7.1} / {:<7.1} µs p50/p99", row.p50, row.p99);
}

fn reads(dir: &Path, entries: u64) {
    println!("\na ledger of {entries} entries");
    let dir = dir.join("reads");
    let options = || Options {
        upkeep: Upkeep::WhenAsked,
        ..Options::default()
    };
    let (ledger, _) = Ledger::open(&dir, options()).expect("opens");
    let mut frontier = Frontier::new();
    let mut bytes = 0;
    while frontier.size().get() < entries {
        let expected = frontier.size().get();
        let batch = batch(&mut frontier, 1000.min(entries - expected));
        bytes += batch.block.bytes().len();
        append(&ledger, &batch, expected);
    }
    println!("  {} bytes an entry", bytes as u64 / entries);
    sequential("reading all in order, in segments of frames", &ledger);
    spread("one entry, frames", entries, 20_000, |position| {
        ledger.read_at_now(&[position]).expect("reads");
    });
    drop(ledger);
    let (ledger, recovery) = timed("opening after a crash, nothing synced", || {
        Ledger::open(&dir, options()).expect("opens")
    });
    println!("  {:<52} {:>10}", "  entries hashed again", recovery.rechecked);
    timed("syncing what is derived and sealing", || {
        ledger.upkeep_now().expect("works")
    });
    sequential("reading all in order, sealed", &ledger);
    spread(
        "one entry, sealed, spread over everything",
        entries,
        20_000,
        |position| {
            ledger.read_at_now(&[position]).expect("reads");
        },
    );
    let last = Position(entries - 1);
    spread(
        "one entry, sealed, its bundle in memory",
        256,
        20_000,
        |position| {
            ledger.read_at_now(&[position.min(last)]).expect("reads");
        },
    );
    let mut tile = Vec::new();
    spread("one tile of 256 hashes", entries / 256, 20_000, |position| {
        tile.clear();
        ledger
            .read_nodes(0, position.0 * 256, 256, &mut tile)
            .expect("reads");
    });
    drop(ledger);
    let (ledger, recovery) = timed("opening after a graceful stop", || {
        Ledger::open(&dir, options()).expect("opens")
    });
    println!("  {:<52} {:>10}", "  entries hashed again", recovery.rechecked);
    drop(ledger);
    let report = timed("check of everything on disk", || check(&dir).expect("reads"));
    assert_eq!(report.damage, []);
    println!(
        "  {:<52} {:>10.1}",
        "bytes on disk an entry",
        on_disk(&dir) as f64 / entries as f64
    );
}

fn sequential(what: &str, ledger: &Ledger) {
    let size = ledger.size_now().get();
    let start = Instant::now();
    let mut next = 0;
    while next < size {
        let block = ledger.read_now(Position(next), 4096, 4 << 20).expect("reads");
        next += block.len() as u64;
    }
    let rate = size as f64 / start.elapsed().as_secs_f64();
    println!("  {what:<52} {rate:>10.0} entries/s");
}

fn on_disk(dir: &Path) -> u64 {
    let mut bytes = 0;
    for entry in std::fs::read_dir(dir).expect("reads") {
        let path = entry.expect("reads").path();
        bytes += match path.is_dir() {
            true => on_disk(&path),
            false => File::open(&path)
                .and_then(|file| file.metadata())
                .map_or(0, |m| m.len()),
        };
    }
    bytes
}
