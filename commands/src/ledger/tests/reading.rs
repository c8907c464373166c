//! Reading at every boundary, stale and misshapen appends, and waiting for growth.

use super::*;
use domain::ports::{EventLog, ReadError};
use std::sync::atomic::{AtomicBool, Ordering};

const BOUNDARIES: [u64; 8] = [0, 1, 2, 255, 256, 257, 511, 512];

fn of_size(size: u64, disk: &FaultDisk) -> (Ledger, Pen) {
    let (ledger, _) = open(disk).unwrap();
    let mut pen = Pen::new();
    while pen.size().get() < size {
        pen.commit(&ledger, 50.min(size - pen.size().get())).unwrap();
    }
    (ledger, pen)
}

#[test]
fn reads_give_exactly_what_is_there_at_boundary_sizes() {
    for size in BOUNDARIES {
        let disk = FaultDisk::new();
        let (ledger, pen) = of_size(size, &disk);
        whole(&disk, &ledger, &pen);
        ledger.upkeep_now().unwrap();
        whole(&disk, &ledger, &pen);
        for from in BOUNDARIES {
            let read = ledger.read_now(Position(from), 300, usize::MAX).unwrap();
            assert_eq!(read.len() as u64, size.saturating_sub(from).min(300));
            assert_eq!(read.get(0).map(|(p, _)| p.get()), (from < size).then_some(from));
        }
        assert_eq!(
            ledger.read_at_now(&[Position(size)]),
            Err(ReadError::Beyond(Position(size)))
        );
        let mut out = Vec::new();
        assert!(matches!(
            ledger.read_nodes(0, size, 1, &mut out),
            Err(ReadError::Beyond(_))
        ));
        assert!(matches!(
            ledger.read_nodes(63, 0, 1, &mut out),
            Err(ReadError::Beyond(_))
        ));
        assert!(matches!(
            ledger.read_nodes(1, u64::MAX, 1, &mut out),
            Err(ReadError::Beyond(_))
        ));
    }
}

#[test]
fn reads_keep_their_limits_and_give_at_least_one() {
    let disk = FaultDisk::new();
    let (ledger, pen) = of_size(300, &disk);
    ledger.upkeep_now().unwrap();
    let bytes = |entries: std::ops::Range<usize>| pen.entries[entries].iter().map(Vec::len).sum::<usize>();
    for from in [0, 10, 250, 280] {
        let read = |entries_max, bytes_max| {
            ledger
                .read_now(Position(from as u64), entries_max, bytes_max)
                .unwrap()
        };
        assert_eq!(read(0, 0).len(), 1);
        assert_eq!(read(5, 0).len(), 1);
        assert_eq!(read(5, usize::MAX).len(), 5);
        assert_eq!(read(300, bytes(from..from + 7)).len(), 7);
        assert_eq!(read(300, bytes(from..from + 7) + 1).len(), 8);
    }
    let chosen = [Position(299), Position(0), Position(120), Position(120)];
    let read = ledger.read_at_now(&chosen).unwrap();
    for (i, position) in chosen.iter().enumerate() {
        assert_eq!(
            read.get(i),
            Some((*position, &pen.entries[position.0 as usize][..]))
        );
    }
}

#[test]
fn append_with_a_stale_size_writes_nothing() {
    let disk = FaultDisk::new();
    let (ledger, mut pen) = of_size(10, &disk);
    let mut stale = pen.clone();
    pen.commit(&ledger, 1).unwrap();
    let before = disk.operations();
    assert_eq!(
        stale.commit(&ledger, 1),
        Err(AppendError::Stale {
            expected: TreeSize(10),
            actual: TreeSize(11)
        })
    );
    assert_eq!(disk.operations(), before);
    whole(&disk, &ledger, &pen);
}

#[test]
fn an_append_whose_parts_do_not_belong_together_writes_nothing() {
    let disk = FaultDisk::new();
    let (ledger, pen) = of_size(255, &disk);
    let before = disk.operations();
    let append = |positions: &[u64], leaves: usize, nodes: &[Vec<Hash>]| {
        let mut block = EntryBlock::new();
        for position in positions {
            block.push(Position(*position), b"{}");
        }
        ledger.append_now(Append {
            expected: pen.size(),
            entries: &block,
            leaf_hashes: &vec![Hash::default(); leaves],
            root: Hash::default(),
            tile_nodes: nodes,
        })
    };
    let node = vec![Hash::default()];
    assert!(matches!(
        append(&[255], 2, std::slice::from_ref(&node)),
        Err(AppendError::Refused(_))
    ));
    assert!(matches!(append(&[255], 1, &[]), Err(AppendError::Refused(_))));
    assert!(matches!(
        append(&[255], 1, &[node.clone(), node.clone()]),
        Err(AppendError::Refused(_))
    ));
    assert!(matches!(
        append(&[256], 1, std::slice::from_ref(&node)),
        Err(AppendError::Refused(_))
    ));
    assert!(matches!(
        append(&[255, 257], 2, &[node]),
        Err(AppendError::Refused(_))
    ));
    assert_eq!(append(&[], 0, &[]), Ok(()));
    assert_eq!(disk.operations(), before);
    whole(&disk, &ledger, &pen);
}

#[tokio::test]
async fn follow_wakes_every_waiter_of_a_commit() {
    let disk = FaultDisk::new();
    let (ledger, mut pen) = of_size(3, &disk);
    assert_eq!(ledger.follow(TreeSize(2)).await, TreeSize(3));
    let ledger = Arc::new(ledger);
    let waiters: Vec<_> = (0..3)
        .map(|_| {
            let ledger = ledger.clone();
            tokio::spawn(async move { ledger.follow(TreeSize(3)).await })
        })
        .collect();
    pen.commit(&ledger, 2).unwrap();
    for waiter in waiters {
        assert_eq!(waiter.await.unwrap(), TreeSize(5));
    }
}

#[test]
fn readers_see_whole_commits_while_one_appends_and_segments_are_sealed() {
    let dir = tempfile::tempdir().unwrap();
    let (ledger, _) = Ledger::open(
        dir.path(),
        Options {
            segment_bytes: 32 * 1024,
            ahead_bytes: 4096,
            cache_bytes: 64 * 1024,
            ..Options::default()
        },
    )
    .unwrap();
    let ledger = Arc::new(ledger);
    let done = Arc::new(AtomicBool::new(false));
    let mut pen = Pen::new();
    let readers: Vec<_> = (0..3_u64)
        .map(|seed| {
            let (ledger, done) = (ledger.clone(), done.clone());
            std::thread::spawn(move || {
                let (mut at, mut read) = (seed, 0_u64);
                while !done.load(Ordering::Relaxed) || read == 0 {
                    let size = ledger.size_now().get();
                    assert_eq!(size % 10, 0, "a commit is seen whole or not at all");
                    if size == 0 {
                        continue;
                    }
                    at = (at * 7919 + 104_729) % size;
                    let block = ledger.read_now(Position(at), 25, 1 << 16).unwrap();
                    for (position, entry) in block.iter() {
                        assert_eq!(domain::entry::Entry::read(entry).unwrap().position, position);
                        let mut leaf = Vec::new();
                        ledger.read_nodes(0, position.0, 1, &mut leaf).unwrap();
                        assert_eq!(leaf, [leaf_hash(entry)]);
                        read += 1;
                    }
                }
            })
        })
        .collect();
    for _ in 0..120 {
        pen.commit(&ledger, 10).unwrap();
    }
    ledger.upkeep_now().unwrap();
    done.store(true, Ordering::Relaxed);
    for reader in readers {
        reader.join().unwrap();
    }
    same_entries(&ledger, &pen);
    assert!(crate::ledger::check(dir.path()).unwrap().sealed_files > 5);
}
