//! Full segments, by size and by month, and what sealing them changes: nothing but the files.

use super::*;
use crate::ledger::UpkeepError;
use crate::ledger::manifest::{Loaded, Manifest, SegmentState};

fn manifest(disk: &FaultDisk) -> Manifest {
    match Manifest::load(disk, Path::new(DIR)).unwrap() {
        Loaded::Manifest { manifest, both } => {
            assert!(both);
            manifest
        }
        other => panic!("{other:?}"),
    }
}

fn sealed(disk: &FaultDisk) -> usize {
    let is_sealed = |state: &SegmentState| matches!(state, SegmentState::Sealed { .. });
    manifest(disk)
        .segments
        .iter()
        .filter(|s| is_sealed(&s.state))
        .count()
}

#[test]
fn full_segments_are_sealed_class_by_class_and_read_as_before() {
    let disk = FaultDisk::new();
    let (ledger, _) = open(&disk).unwrap();
    let mut pen = Pen::new();
    for _ in 0..40 {
        pen.commit(&ledger, 9).unwrap();
    }
    assert!(manifest(&disk).segments.len() > 5);
    assert_eq!(sealed(&disk), 0);
    ledger.upkeep_now().unwrap();
    assert_eq!(sealed(&disk), manifest(&disk).segments.len() - 1);
    whole(&disk, &ledger, &pen);
    let names: Vec<_> = disk.list(&Path::new(DIR).join("segments")).unwrap();
    for class in ["access", "audit", "ledger", "reading"] {
        assert!(names.contains(&format!("00000000.{class}.sealed")), "{names:?}");
    }
    assert_eq!(names.iter().filter(|name| name.ends_with(".seg")).count(), 1);
    drop(ledger);
    let (ledger, recovery) = open(&disk).unwrap();
    assert!(!recovery.derived_rebuilt);
    whole(&disk, &ledger, &pen);
}

#[test]
fn another_month_opens_another_segment() {
    let disk = FaultDisk::new();
    let mut pen = Pen::new();
    let (ledger, _) = open(&disk).unwrap();
    pen.commit(&ledger, 2).unwrap();
    pen.commit(&ledger, 2).unwrap();
    drop(ledger);
    let (ledger, _) = open(&disk).unwrap();
    pen.commit(&ledger, 2).unwrap();
    assert_eq!(manifest(&disk).segments.len(), 1);
    pen.month = 2;
    pen.commit(&ledger, 2).unwrap();
    pen.commit(&ledger, 2).unwrap();
    let firsts: Vec<u64> = manifest(&disk).segments.iter().map(|s| s.first).collect();
    assert_eq!(firsts, [0, 6]);
    whole(&disk, &ledger, &pen);
}

#[test]
fn everything_derived_can_be_lost_and_is_made_again() {
    let disk = FaultDisk::new();
    let (ledger, _) = open(&disk).unwrap();
    let mut pen = Pen::new();
    for i in 0..40 {
        pen.commit(&ledger, 20).unwrap();
        if i % 15 == 14 {
            ledger.upkeep_now().unwrap();
        }
    }
    pen.sign(&ledger).unwrap();
    drop(ledger);
    assert!(sealed(&disk) > 2 && sealed(&disk) + 2 < manifest(&disk).segments.len());
    let derived: Vec<_> = disk
        .files()
        .into_keys()
        .filter(|path| {
            let name = path.strip_prefix(DIR).unwrap_or(path).display().to_string();
            name.ends_with(".idx")
                || name.starts_with("hashes/")
                || name == "synced"
                || name == "manifest.copy"
        })
        .collect();
    assert!(derived.len() > 5);
    for path in &derived {
        let one = disk.copy();
        one.lose(path);
        let (ledger, _) = open(&one).unwrap();
        whole(&one, &ledger, &pen);
    }
    derived.iter().for_each(|path| disk.lose(path));
    let (reader, _) = Ledger::open_read_only(Path::new(DIR), options(&disk)).unwrap();
    same_entries(&reader, &pen);
    let (ledger, recovery) = open(&disk).unwrap();
    assert!(recovery.derived_rebuilt);
    whole(&disk, &ledger, &pen);
}

#[test]
fn a_segment_whose_entries_differ_from_the_tree_is_not_sealed() {
    let disk = FaultDisk::new();
    let (ledger, _) = open(&disk).unwrap();
    let mut pen = Pen::new();
    for _ in 0..10 {
        pen.commit(&ledger, 9).unwrap();
    }
    disk.tamper(&Path::new(DIR).join("hashes/0"), |bytes| bytes[32 * 5] ^= 1);
    let error = ledger.upkeep_now().unwrap_err();
    assert!(matches!(error, UpkeepError::Seal(_)), "{error}");
    assert!(error.to_string().contains("position 5 "), "{error}");
    assert!(ledger.trouble().is_some());
    assert_eq!(sealed(&disk), 0);
    // Appending goes on; rebuilding what is derived mends it.
    pen.commit(&ledger, 9).unwrap();
    drop(ledger);
    let rebuild = Options {
        rebuild_derived: true,
        ..options(&disk)
    };
    let (ledger, _) = Ledger::open(Path::new(DIR), rebuild).unwrap();
    ledger.upkeep_now().unwrap();
    assert!(sealed(&disk) > 0);
    whole(&disk, &ledger, &pen);
}

#[test]
fn entries_are_read_where_the_index_lies() {
    let disk = FaultDisk::new();
    let (ledger, _) = open(&disk).unwrap();
    let mut pen = Pen::new();
    for _ in 0..4 {
        pen.commit(&ledger, 5).unwrap();
    }
    let path = Path::new(DIR).join("segments/00000000.idx");
    for at in 0..disk.files()[&path].len() {
        for bits in [1_u8, 0x80] {
            disk.tamper(&path, |bytes| bytes[at] ^= bits);
            same_entries(&ledger, &pen);
            disk.tamper(&path, |bytes| bytes[at] ^= bits);
        }
    }
}

#[test]
fn strangers_in_the_folder_are_removed_and_what_holds_entries_is_kept_aside() {
    let disk = FaultDisk::new();
    let (ledger, _) = open(&disk).unwrap();
    let mut pen = Pen::new();
    for _ in 0..10 {
        pen.commit(&ledger, 9).unwrap();
    }
    drop(ledger);
    let folder = Path::new(DIR).join("segments");
    let segment = disk.files()[&folder.join("00000000.seg")].clone();
    for (name, bytes) in [
        ("00000077.seg", &segment[..]),
        ("00000078.seg", &segment[..64]),
        ("00000000.reading.sealed", b"half"),
        ("notes.txt", b"hello"),
    ] {
        let file = disk
            .open(&folder.join(name), crate::ledger::disk::Access::CreateNew)
            .unwrap();
        file.write_at(bytes, 0).unwrap();
    }
    let (ledger, _) = open(&disk).unwrap();
    whole(&disk, &ledger, &pen);
    let kept = disk.list(&Path::new(DIR).join("quarantine")).unwrap();
    assert_eq!(kept, ["00000077.seg"]);
    let left = disk.list(&folder).unwrap();
    assert!(left.iter().all(|name| name.starts_with("0000000")), "{left:?}");
}
