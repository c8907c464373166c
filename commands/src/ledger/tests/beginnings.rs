//! Opening, refusing to open, reading beside a running service, and what a start finds again.

use super::*;
use crate::ledger::disk::RealDisk;
use crate::ledger::{TailCut, check};
use domain::hash::sha256;

#[test]
fn a_new_ledger_is_empty_and_grows() {
    let disk = FaultDisk::new();
    let (ledger, recovery) = open(&disk).unwrap();
    assert_eq!(recovery.size, TreeSize::EMPTY);
    assert_eq!(recovery.root, Hash::empty_root());
    assert_eq!(recovery.tail_cut, None);
    let mut pen = Pen::new();
    whole(&disk, &ledger, &pen);
    for count in [1, 3, 1, 20] {
        pen.commit(&ledger, count).unwrap();
        whole(&disk, &ledger, &pen);
    }
}

#[test]
fn a_ledger_opened_again_goes_on_where_it_was() {
    let disk = FaultDisk::new();
    let mut pen = Pen::new();
    for round in 0..12 {
        let (ledger, recovery) = open(&disk).unwrap();
        assert_eq!(recovery.size, pen.size());
        assert_eq!(recovery.frontier, pen.frontier);
        for count in [1, 5, 2] {
            pen.commit(&ledger, count).unwrap();
        }
        match round % 3 {
            0 => pen.sign(&ledger).unwrap(),
            1 => ledger.upkeep_now().unwrap(),
            _ => {}
        }
        whole(&disk, &ledger, &pen);
    }
}

#[test]
fn a_start_after_upkeep_reads_only_what_came_later() {
    let disk = FaultDisk::new();
    let mut pen = Pen::new();
    let (ledger, _) = open(&disk).unwrap();
    pen.commit(&ledger, 100).unwrap();
    ledger.upkeep_now().unwrap();
    pen.commit(&ledger, 3).unwrap();
    drop(ledger);
    let (ledger, recovery) = open(&disk).unwrap();
    assert_eq!(recovery.rechecked, 3);
    assert!(!recovery.derived_rebuilt);
    whole(&disk, &ledger, &pen);
}

#[test]
fn a_second_process_is_refused_with_the_first_ones_name() {
    let dir = tempfile::tempdir().unwrap();
    let real = || Options {
        anchor: None,
        upkeep: Upkeep::WhenAsked,
        ..Options::default()
    };
    let (ledger, _) = Ledger::open(dir.path(), real()).unwrap();
    let Err(refused) = Ledger::open(dir.path(), real()) else {
        panic!("two writers")
    };
    let words = refused.to_string();
    assert!(
        words.contains(&format!("process {}", std::process::id())),
        "{words}"
    );
    assert!(matches!(refused, OpenError::Locked { .. }));
    drop(ledger);
    Ledger::open(dir.path(), real()).unwrap();
}

#[test]
fn it_works_on_a_real_file_system_with_its_own_thread() {
    let dir = tempfile::tempdir().unwrap();
    let real = || Options {
        segment_bytes: 16 * 1024,
        ahead_bytes: 4096,
        anchor: Some(dir.path().join("anchors")),
        ..Options::default()
    };
    let folder = dir.path().join("ledger");
    let mut pen = Pen::new();
    for _ in 0..4 {
        let (ledger, _) = Ledger::open(&folder, real()).unwrap();
        for count in [1, 30, 100, 1, 1] {
            pen.commit(&ledger, count).unwrap();
            same_entries(&ledger, &pen);
        }
        pen.sign(&ledger).unwrap();
        ledger.stop();
        same_entries(&ledger, &pen);
        let report = check(&folder).unwrap();
        assert_eq!(report.damage, []);
        assert_eq!(report.size, pen.size());
    }
    assert!(check(&folder).unwrap().sealed_files > 3);
    let names = RealDisk.list(&dir.path().join("anchors")).unwrap();
    assert_eq!(names.len(), 1);
}

#[test]
fn a_reader_beside_a_running_service_writes_nothing_and_sees_what_is_durable() {
    let disk = FaultDisk::new();
    let mut pen = Pen::new();
    let (ledger, _) = open(&disk).unwrap();
    pen.commit(&ledger, 60).unwrap();
    ledger.upkeep_now().unwrap();
    pen.commit(&ledger, 40).unwrap();
    let then = pen.clone();
    let before = (disk.operations(), disk.files());
    let (reader, recovery) = Ledger::open_read_only(Path::new(DIR), options(&disk)).unwrap();
    assert_eq!(recovery.size, pen.size());
    same_entries(&reader, &then);
    assert_eq!((disk.operations(), disk.files()), before);
    assert!(matches!(
        then.clone().commit(&reader, 1),
        Err(AppendError::Refused(_))
    ));
    assert!(matches!(then.sign(&reader), Err(SwapError::Failed(_))));
    assert!(reader.save_snapshot("x", b"").is_err());
    // The service goes on, seals what the reader reads, and the reader does not notice.
    for _ in 0..30 {
        pen.commit(&ledger, 10).unwrap();
        ledger.upkeep_now().unwrap();
    }
    same_entries(&reader, &then);
    whole(&disk, &ledger, &pen);
}

#[test]
fn a_reader_needs_a_ledger() {
    let disk = FaultDisk::new();
    let opened = Ledger::open_read_only(Path::new(DIR), options(&disk));
    assert!(matches!(opened, Err(OpenError::NoLedger { .. })));
}

/// The open segment's path and where its last frame begins and ends.
fn last_frame(disk: &FaultDisk) -> (std::path::PathBuf, std::ops::Range<usize>) {
    let files = disk.files();
    let (path, bytes) = files
        .iter()
        .rfind(|(path, _)| path.extension().is_some_and(|e| e == "seg"))
        .unwrap();
    let end = bytes.iter().rposition(|b| *b != 0).unwrap() + 1;
    let start = bytes[..end].windows(4).rposition(|w| w == b"DBF1").unwrap();
    (path.clone(), start..end)
}

#[test]
fn a_torn_tail_is_cut_kept_and_told_until_an_entry_says_so() {
    let disk = FaultDisk::new();
    let mut pen = Pen::new();
    let (ledger, _) = open(&disk).unwrap();
    pen.commit(&ledger, 20).unwrap();
    pen.sign(&ledger).unwrap();
    let before = pen.clone();
    pen.commit(&ledger, 4).unwrap();
    drop(ledger);
    let (path, frame) = last_frame(&disk);
    for cut in [1, 4, 40, 60, 200, frame.len() - 1] {
        let disk = disk.copy();
        disk.tamper(&path, |bytes| bytes[frame.start + cut..].fill(0));
        let torn = disk.files()[&path][frame.start..frame.start + cut].to_vec();
        let expected = TailCut {
            position: Position(20),
            bytes: torn.len() as u64,
            sha256: sha256(&torn),
        };
        for _ in 0..2 {
            let (ledger, recovery) = open(&disk).unwrap();
            assert_eq!(recovery.tail_cut, Some(expected.clone()), "cut at {cut}");
            assert_eq!(ledger.unrecorded_cuts(), std::slice::from_ref(&expected));
            whole(&disk, &ledger, &before);
        }
        let kept = Path::new(DIR).join("quarantine").join(expected.file_name());
        assert_eq!(disk.files()[&kept], torn);
        let (ledger, _) = open(&disk).unwrap();
        let mut after = before.clone();
        after.commit(&ledger, 1).unwrap();
        drop(ledger);
        let (ledger, recovery) = open(&disk).unwrap();
        assert_eq!(recovery.tail_cut, None);
        whole(&disk, &ledger, &after);
    }
}

#[test]
fn a_frame_that_is_not_whole_is_never_cut_at_or_below_the_signed_size_or_before_a_whole_one() {
    let disk = FaultDisk::new();
    let mut pen = Pen::new();
    let (ledger, _) = open(&disk).unwrap();
    pen.commit(&ledger, 8).unwrap();
    pen.sign(&ledger).unwrap();
    pen.commit(&ledger, 4).unwrap();
    drop(ledger);
    let (path, acknowledged) = last_frame(&disk);
    let (ledger, _) = open(&disk).unwrap();
    pen.commit(&ledger, 4).unwrap();
    drop(ledger);
    let disk_signed = disk.copy();
    let (ledger, _) = open(&disk_signed).unwrap();
    pen.sign(&ledger).unwrap();
    drop(ledger);
    let corrupt_at = |disk: &FaultDisk, at: usize| {
        let disk = disk.copy();
        disk.tamper(&path, |bytes| bytes[at] ^= 1);
        let files = disk.files();
        let position = match open(&disk) {
            Err(OpenError::Corrupt { position, .. }) => Some(position),
            Err(error) => panic!("{error}"),
            Ok(_) => return None,
        };
        assert_eq!(disk.files().get(&path), files.get(&path), "nothing was cut");
        position
    };
    // The last commit: torn if nobody signed it.
    let (_, last) = last_frame(&disk);
    assert_eq!(corrupt_at(&disk, last.end - 1), None);
    assert_eq!(corrupt_at(&disk_signed, last.end - 1), Some(Position(12)));
    // The one before it was acknowledged, for another one follows.
    assert_eq!(corrupt_at(&disk, acknowledged.end - 1), Some(Position(8)));
    assert_eq!(corrupt_at(&disk, acknowledged.start), Some(Position(8)));
}

#[test]
fn snapshots_and_days_are_whole_or_absent() {
    let disk = FaultDisk::new();
    let (ledger, _) = open(&disk).unwrap();
    let date = Date::from_civil(2026, 7, 31).unwrap();
    assert_eq!(ledger.load_snapshot("sequencer"), None);
    assert_eq!(ledger.day_lines(date), None);
    ledger.save_snapshot("sequencer", b"one").unwrap();
    ledger.save_snapshot("sequencer", b"two").unwrap();
    ledger.save_day_lines(date, b"a b c d\n").unwrap();
    assert!(ledger.save_snapshot("../checkpoint", b"").is_err());
    drop(ledger);
    let (ledger, _) = open(&disk).unwrap();
    assert_eq!(ledger.load_snapshot("sequencer").as_deref(), Some(&b"two"[..]));
    assert_eq!(ledger.day_lines(date).as_deref(), Some(&b"a b c d\n"[..]));
    disk.tamper(&Path::new(DIR).join("snapshots/sequencer"), |bytes| {
        *bytes.last_mut().unwrap() ^= 1;
    });
    assert_eq!(ledger.load_snapshot("sequencer"), None);
}
