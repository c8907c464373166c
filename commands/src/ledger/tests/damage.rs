//! Every single-byte flip and every truncation of every file of a small ledger: reported with a position, or healed.

use super::*;
use crate::ledger::check::CheckReport;
use std::path::PathBuf;

/// Two sealed segments, one full, one open, everything signed.
fn example() -> (FaultDisk, Pen) {
    let disk = FaultDisk::new();
    let small = Options {
        segment_bytes: 3000,
        ahead_bytes: 96,
        ..options(&disk)
    };
    let (ledger, _) = Ledger::open(Path::new(DIR), small).unwrap();
    let mut pen = Pen::new();
    for count in [6, 4, 6, 4, 1] {
        pen.commit(&ledger, count).unwrap();
    }
    pen.sign(&ledger).unwrap();
    ledger.upkeep_now().unwrap();
    ledger.save_snapshot("sequencer", b"snapshot").unwrap();
    ledger
        .save_day_lines(Date::from_civil(2026, 1, 1).unwrap(), b"lines\n")
        .unwrap();
    for count in [6, 3, 2] {
        pen.commit(&ledger, count).unwrap();
    }
    pen.sign(&ledger).unwrap();
    (disk, pen)
}

fn check(disk: &FaultDisk) -> CheckReport {
    check_on(&(Arc::new(disk.clone()) as Arc<dyn Disk>), Path::new(DIR)).unwrap()
}

/// Opens a damaged ledger and looks at everything: damage is reported, or it is as it was.
fn found_or_healed(what: &str, disk: &FaultDisk, pen: &Pen) -> Found {
    let report = check(disk);
    for damage in &report.damage {
        assert!(damage.position < pen.size().next_position(), "{what}: {damage:?}");
    }
    let mut cut = report.tail.is_some();
    let ledger = match open(disk) {
        Err(OpenError::Corrupt { .. } | OpenError::Missing { .. }) => {
            assert!(report.damage.iter().any(|d| !d.derived), "{what}: {report:#?}");
            return Found::Stopped;
        }
        Err(error) => panic!("{what}: {error}"),
        Ok((ledger, recovery)) => {
            assert_eq!(recovery.size, pen.size(), "{what}: nothing signed may be cut");
            assert_eq!(recovery.root, pen.frontier.root(), "{what}");
            cut |= recovery.tail_cut.is_some();
            ledger
        }
    };
    let after = check(disk);
    if after.damage.iter().any(|damage| !damage.derived) {
        return Found::Reported;
    }
    if after.damage.is_empty() {
        same_entries(&ledger, pen);
    } else {
        drop(ledger);
        rebuild(what, disk, pen);
    }
    match report.damage.is_empty() {
        true if cut => Found::Reported,
        true => Found::NothingWrong,
        false => Found::Healed,
    }
}

/// Makes again what is derived and was not looked at by a start.
fn rebuild(what: &str, disk: &FaultDisk, pen: &Pen) {
    let rebuild = Options {
        rebuild_derived: true,
        ..options(disk)
    };
    let (ledger, _) = Ledger::open(Path::new(DIR), rebuild).unwrap();
    ledger.upkeep_now().unwrap();
    same_entries(&ledger, pen);
    let mut rest = check(disk).damage;
    // These are the sequencer's, and made again by it.
    rest.retain(|damage| !damage.file.starts_with("snapshots") && !damage.file.starts_with("days"));
    assert_eq!(rest, [], "{what}");
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Found {
    Stopped,
    Reported,
    Healed,
    NothingWrong,
}

fn is_ground(path: &Path) -> bool {
    let name = path.file_name().unwrap().to_str().unwrap();
    name.ends_with(".seg") || name.ends_with(".sealed")
}

fn files(disk: &FaultDisk) -> Vec<(PathBuf, usize)> {
    disk.files()
        .into_iter()
        .filter(|(path, _)| path.starts_with(DIR))
        .map(|(path, bytes)| (path, bytes.len()))
        .collect()
}

#[test]
fn the_example_has_every_kind_of_file() {
    let (disk, _) = example();
    let names: Vec<String> = files(&disk)
        .iter()
        .map(|(path, _)| path.display().to_string())
        .collect();
    for part in [
        ".seg",
        ".idx",
        ".sealed",
        "hashes/0",
        "synced",
        "checkpoint",
        "manifest",
        "manifest.copy",
        "snapshots/",
        "days/",
    ] {
        assert!(
            names.iter().any(|name| name.contains(part)),
            "{part} in {names:?}"
        );
    }
    let report = check(&disk);
    assert_eq!(report.damage, []);
    assert!(report.sealed_files >= 4 && report.segments >= 3, "{report:?}");
}

#[test]
fn every_flipped_byte_is_reported_or_healed() {
    let (disk, pen) = example();
    for (path, len) in files(&disk) {
        let mut seen = [0; 4];
        for at in 0..len {
            let flipped = disk.copy();
            flipped.tamper(&path, |bytes| bytes[at] ^= 1 << (at % 8));
            let what = format!("{} byte {at}", path.display());
            let found = found_or_healed(&what, &flipped, &pen);
            seen[found as usize] += 1;
            if is_ground(&path) {
                assert!(
                    matches!(found, Found::Stopped | Found::Reported),
                    "{what}: {found:?}"
                );
            }
        }
        println!(
            "{}: {len} bytes, stopped/reported/healed/nothing {seen:?}",
            path.display()
        );
    }
}

#[test]
fn every_truncation_is_reported_or_healed() {
    let (disk, pen) = example();
    for (path, len) in files(&disk) {
        for at in 0..len {
            let cut = disk.copy();
            cut.tamper(&path, |bytes| bytes.truncate(at));
            found_or_healed(&format!("{} cut to {at}", path.display()), &cut, &pen);
        }
        let lost = disk.copy();
        lost.lose(&path);
        let what = format!("{} lost", path.display());
        if path.ends_with("checkpoint") {
            // Taken from the anchor.
            let (ledger, _) = open(&lost).unwrap();
            whole(&lost, &ledger, &pen);
        } else {
            found_or_healed(&what, &lost, &pen);
        }
    }
}
