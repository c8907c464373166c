//! What this process and its machine spend: processor time, memory, disk.
//!
//! Read from `/proc`, so that no library and no unsafe code is needed; elsewhere the figures are missing, never
//! guessed. Not here: what is measured with it.

use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::time::{Duration, Instant};

/// Linux counts processor time for programs in hundredths of a second, whatever the kernel's own tick is.
const TICKS_PER_S: f64 = 100.0;
/// `st_blocks` counts pieces of so many bytes, whatever the file system's own are.
const BLOCK_BYTES: u64 = 512;

/// Processor time of this process, all threads, seconds.
pub fn cpu_s() -> Option<f64> {
    let stat = std::fs::read_to_string("/proc/self/stat").ok()?;
    cpu_of(&stat)
}

/// The name of a program may hold anything, also brackets: what follows the last one is fixed.
fn cpu_of(stat: &str) -> Option<f64> {
    let fields: Vec<&str> = stat[stat.rfind(')')? + 1..].split_whitespace().collect();
    let ticks = |at: usize| fields.get(at)?.parse::<f64>().ok();
    Some((ticks(11)? + ticks(12)?) / TICKS_PER_S)
}

/// Resident memory of this process, bytes.
pub fn resident_bytes() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find(|line| line.starts_with("VmRSS:"))?;
    let kib: u64 = line.split_whitespace().nth(1)?.parse().ok()?;
    Some(kib << 10)
}

/// Idle and stolen time of all processors since the start of the machine, seconds.
fn machine_s() -> Option<(f64, f64)> {
    let stat = std::fs::read_to_string("/proc/stat").ok()?;
    let fields: Vec<f64> = stat
        .lines()
        .next()?
        .split_whitespace()
        .skip(1)
        .filter_map(|field| field.parse().ok())
        .collect();
    let idle = fields.get(3)? + fields.get(4)?;
    Some((
        idle / TICKS_PER_S,
        fields.get(7).copied().unwrap_or(0.0) / TICKS_PER_S,
    ))
}

/// A stretch of time that is being measured.
pub struct Watch {
    began: Instant,
    cpu_s: Option<f64>,
    machine_s: Option<(f64, f64)>,
}

/// What a stretch of time cost.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Spent {
    /// How long it was.
    pub wall: Duration,
    /// Processor time of this process, seconds.
    pub cpu_s: Option<f64>,
    /// Processors that had nothing to do, on average.
    pub idle_cores: Option<f64>,
    /// Processors that the machine's host gave to others, on average.
    pub stolen_cores: Option<f64>,
}

impl Watch {
    /// Begins.
    pub fn start() -> Self {
        Self {
            cpu_s: cpu_s(),
            machine_s: machine_s(),
            began: Instant::now(),
        }
    }

    /// What was spent since the start.
    pub fn spent(&self) -> Spent {
        let wall = self.began.elapsed();
        let seconds = wall.as_secs_f64();
        let machine = self.machine_s.zip(machine_s());
        Spent {
            wall,
            cpu_s: self.cpu_s.zip(cpu_s()).map(|(before, after)| after - before),
            idle_cores: machine.map(|(before, after)| (after.0 - before.0) / seconds),
            stolen_cores: machine.map(|(before, after)| (after.1 - before.1) / seconds),
        }
    }
}

/// Bytes that the files below a directory take on the disk.
pub fn disk_bytes(dir: &Path) -> u64 {
    let Ok(entries) = std::fs::read_dir(dir) else {
        return 0;
    };
    entries
        .filter_map(Result::ok)
        .map(|entry| match entry.metadata() {
            Ok(metadata) if metadata.is_dir() => disk_bytes(&entry.path()),
            Ok(metadata) => metadata.blocks() * BLOCK_BYTES,
            // A file that was renamed away meanwhile.
            Err(_) => 0,
        })
        .sum()
}

/// What machine this is, in a line.
pub fn machine() -> String {
    let cores = std::thread::available_parallelism().map_or(0, std::num::NonZero::get);
    let model = std::fs::read_to_string("/proc/cpuinfo").ok().and_then(|info| {
        let line = info.lines().find(|line| line.starts_with("model name"))?;
        Some(line.split_once(':')?.1.trim().to_owned())
    });
    format!(
        "{} × {}",
        cores,
        model.unwrap_or_else(|| std::env::consts::ARCH.to_owned())
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn processor_time_is_found_behind_a_name_with_brackets() {
        let stat = "42 (a) b (c)) S 1 2 3 4 5 6 7 8 9 10 250 50 0 0 20 0 9 0 77 1000 2000";
        assert_eq!(cpu_of(stat), Some(3.0));
        assert_eq!(cpu_of("nothing"), None);
    }

    #[test]
    fn disk_use_is_that_of_all_files_below() {
        let dir = tempfile::tempdir().expect("a directory");
        std::fs::create_dir(dir.path().join("inner")).expect("made");
        std::fs::write(dir.path().join("inner/file"), vec![7u8; 100_000]).expect("written");
        std::fs::File::open(dir.path().join("inner/file"))
            .and_then(|file| file.sync_all())
            .expect("synced");
        assert!(disk_bytes(dir.path()) >= 100_000);
        assert_eq!(disk_bytes(&dir.path().join("absent")), 0);
    }
}
