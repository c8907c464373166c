//! The latest signed checkpoint, its anchor, and folders that are older than it.

use super::*;
use crate::ledger::faults::Fault;

fn grown(disk: &FaultDisk) -> (Ledger, Pen) {
    let (ledger, _) = open(disk).unwrap();
    let mut pen = Pen::new();
    pen.commit(&ledger, 30).unwrap();
    (ledger, pen)
}

fn anchor(disk: &FaultDisk) -> std::path::PathBuf {
    let names = disk.list(Path::new(ANCHORS)).unwrap();
    assert_eq!(names.len(), 1);
    Path::new(ANCHORS).join(&names[0])
}

#[test]
fn a_checkpoint_is_swapped_only_for_the_one_that_stands() {
    let disk = FaultDisk::new();
    let (ledger, mut pen) = grown(&disk);
    let first = pen.checkpoint();
    assert_eq!(ledger.latest(), Ok(None));
    assert_eq!(ledger.swap(Some(&first), &first), Err(SwapError::Stale));
    ledger.swap(None, &first).unwrap();
    pen.commit(&ledger, 1).unwrap();
    let second = pen.checkpoint();
    assert_eq!(ledger.swap(None, &second), Err(SwapError::Stale));
    assert_eq!(ledger.swap(Some(&second), &second), Err(SwapError::Stale));
    ledger.swap(Some(&first), &second).unwrap();
    drop(ledger);
    let (ledger, recovery) = open(&disk).unwrap();
    assert_eq!(ledger.latest(), Ok(Some(second.clone())));
    assert_eq!(recovery.checkpoint, Some(second));
}

#[test]
fn what_is_not_of_this_ledger_or_not_durable_yet_is_not_kept() {
    let disk = FaultDisk::new();
    let (ledger, pen) = grown(&disk);
    pen.sign(&ledger).unwrap();
    let latest = pen.checkpoint();
    for wrong in [
        signed(TreeSize(30), Hash([9; 32])),
        signed(TreeSize(31), pen.frontier.root()),
        signed(TreeSize(29), ledger.root_at(TreeSize(29)).unwrap()),
        b"no checkpoint".to_vec(),
    ] {
        let swapped = ledger.swap(Some(&latest), &wrong);
        assert!(matches!(swapped, Err(SwapError::Failed(_))));
        assert_eq!(ledger.latest(), Ok(Some(latest.clone())));
    }
}

#[test]
fn a_failed_swap_leaves_the_old_or_the_new_and_the_next_one_works() {
    let disk = FaultDisk::new();
    let (ledger, mut pen) = grown(&disk);
    pen.sign(&ledger).unwrap();
    let start = disk.operations();
    pen.commit(&ledger, 1).unwrap();
    let commit = disk.operations() - start;
    pen.sign(&ledger).unwrap();
    let steps = disk.operations() - start - commit;
    assert!(steps >= 8, "two places, four steps each");
    for fault in [Fault::Fails, Fault::FailsButPersists, Fault::Full] {
        for step in 0..steps {
            let old = pen.checkpoint();
            pen.commit(&ledger, 1).unwrap();
            let new = pen.checkpoint();
            disk.plan(disk.operations() + step, fault);
            match ledger.swap(Some(&old), &new) {
                Ok(()) => {}
                Err(SwapError::Failed(_)) => {
                    disk.heal();
                    let latest = ledger.latest().unwrap();
                    assert!(latest == Some(old) || latest.as_ref() == Some(&new));
                    if latest.as_ref() != Some(&new) {
                        ledger.swap(latest.as_deref(), &new).unwrap();
                    }
                }
                Err(SwapError::Stale) => panic!("nobody else signs"),
            }
            disk.heal();
            assert_eq!(ledger.latest(), Ok(Some(new)));
        }
    }
    drop(ledger);
    let (ledger, _) = open(&disk).unwrap();
    whole(&disk, &ledger, &pen);
}

#[test]
fn a_folder_put_back_from_an_older_copy_is_refused() {
    let disk = FaultDisk::new();
    let (ledger, mut pen) = grown(&disk);
    pen.sign(&ledger).unwrap();
    drop(ledger);
    let old = disk.files();
    let (ledger, _) = open(&disk).unwrap();
    pen.commit(&ledger, 5).unwrap();
    pen.sign(&ledger).unwrap();
    drop(ledger);
    let new_anchor = disk.files()[&anchor(&disk)].clone();
    // Everything but the anchor is as it was.
    for path in disk.files().into_keys().filter(|path| path.starts_with(DIR)) {
        match old.get(&path) {
            Some(bytes) => disk.tamper(&path, |now| now.clone_from(bytes)),
            None => disk.lose(&path),
        }
    }
    let Err(error) = open(&disk) else { panic!("opened") };
    let OpenError::Older { size, anchored, .. } = &error else {
        panic!("{error}")
    };
    assert_eq!((*size, *anchored), (TreeSize(30), TreeSize(35)));
    assert!(error.to_string().contains("older copy"), "{error}");
    assert_eq!(disk.files()[&anchor(&disk)], new_anchor);
    // The same for a folder that is empty, and for one whose checkpoint was taken away.
    disk.lose(&Path::new(DIR).join("checkpoint"));
    assert!(matches!(open(&disk), Err(OpenError::Older { .. })));
    for path in disk.files().into_keys().filter(|path| path.starts_with(DIR)) {
        disk.lose(&path);
    }
    assert!(matches!(open(&disk), Err(OpenError::Older { .. })));
}

#[test]
fn a_ledger_that_is_not_the_anchored_one_is_refused() {
    let disk = FaultDisk::new();
    let (ledger, pen) = grown(&disk);
    pen.sign(&ledger).unwrap();
    drop(ledger);
    let other = FaultDisk::new();
    let (ledger, _) = open(&other).unwrap();
    let mut fork = Pen::new();
    fork.month = 2;
    fork.commit(&ledger, 40).unwrap();
    drop(ledger);
    let anchor = anchor(&disk);
    let bytes = disk.files()[&anchor].clone();
    let file = other
        .open(&anchor, crate::ledger::disk::Access::CreateNew)
        .unwrap();
    file.write_at(&bytes, 0).unwrap();
    assert!(matches!(open(&other), Err(OpenError::Inconsistent { .. })));
}

#[test]
fn an_anchor_that_stayed_behind_or_is_missing_is_brought_up() {
    let disk = FaultDisk::new();
    let (ledger, mut pen) = grown(&disk);
    pen.sign(&ledger).unwrap();
    let before = disk.files()[&anchor(&disk)].clone();
    pen.commit(&ledger, 1).unwrap();
    pen.sign(&ledger).unwrap();
    let after = disk.files()[&anchor(&disk)].clone();
    drop(ledger);
    let anchor = anchor(&disk);
    disk.tamper(&anchor, |bytes| *bytes = before);
    drop(open(&disk).unwrap());
    assert_eq!(disk.files()[&anchor], after);
    disk.lose(&anchor);
    drop(open(&disk).unwrap());
    assert_eq!(disk.files()[&anchor], after);
    disk.tamper(&anchor, |bytes| bytes[20] ^= 1);
    assert!(matches!(open(&disk), Err(OpenError::AnchorDamaged { .. })));
}

#[test]
fn another_origin_is_refused() {
    let disk = FaultDisk::new();
    let (ledger, pen) = grown(&disk);
    pen.sign(&ledger).unwrap();
    drop(ledger);
    let options = Options {
        origin: Some("elsewhere.example/log".to_owned()),
        ..options(&disk)
    };
    let opened = Ledger::open(Path::new(DIR), options);
    assert!(matches!(opened, Err(OpenError::OtherOrigin { .. })));
}
