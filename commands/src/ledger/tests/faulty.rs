//! Every write of the store × {fails, fails but persists, no space, the process dies} × what a loss of power leaves,
//! with the whole-log check after each step.

use super::*;
use crate::ledger::faults::{Fault, Loss};

/// A life with everything in it.
#[derive(Debug, Clone, Copy)]
enum Step {
    Commit(u64),
    Month,
    Sign,
    Upkeep,
    Snapshot,
    Restart,
}

const LIFE: &[Step] = &[
    Step::Commit(1),
    Step::Commit(7),
    Step::Sign,
    Step::Commit(2),
    Step::Upkeep,
    Step::Commit(20),
    Step::Commit(6),
    Step::Snapshot,
    Step::Commit(1),
    Step::Sign,
    Step::Month,
    Step::Commit(3),
    Step::Upkeep,
    Step::Restart,
    Step::Commit(2),
    Step::Commit(25),
    Step::Commit(12),
    Step::Upkeep,
    Step::Sign,
    Step::Commit(1),
];

const LOSSES: [Loss; 4] = [
    Loss::Nothing,
    Loss::EverythingUnsynced,
    Loss::Some(1),
    Loss::Some(2),
];

/// How often something is tried that failed once.
const TRIES: usize = 4;
/// Steps behind the fault that are followed by a check of the whole log; before it every life is the same.
const LOOKS: usize = 3;

struct Life {
    disk: FaultDisk,
    ledger: Option<Ledger>,
    pen: Pen,
    loss: Loss,
    fault_at: u64,
    looks: usize,
}

impl Life {
    fn new(disk: FaultDisk, fault_at: u64, loss: Loss) -> Self {
        Self {
            fault_at,
            looks: LOOKS,
            disk,
            ledger: None,
            pen: Pen::new(),
            loss,
        }
    }

    /// An open ledger, after however many restarts it takes.
    fn ledger(&mut self) -> &Ledger {
        for _ in 0..TRIES {
            if self.ledger.is_some() {
                break;
            }
            match open_small(&self.disk) {
                Ok((ledger, recovery)) => {
                    self.pen.settle(recovery.size);
                    assert_eq!(recovery.frontier, self.pen.frontier);
                    self.ledger = Some(ledger);
                    self.look();
                }
                Err(error) => {
                    assert!(matches!(error, OpenError::Io { .. }), "{error}");
                    self.bury();
                }
            }
        }
        self.ledger.as_ref().expect("a disk fails once only")
    }

    /// Checks everything, once the fault has come and not too often after that.
    fn look(&mut self) {
        if let (true, 1.., Some(ledger)) = (self.disk.operations() > self.fault_at, self.looks, &self.ledger)
        {
            self.looks -= 1;
            whole(&self.disk, ledger, &self.pen);
        }
    }

    /// Restarts if the process died.
    fn bury(&mut self) {
        if self.disk.is_dead() {
            self.ledger = None;
            self.disk.restart(self.loss);
        }
    }

    /// Recovers where the ledger says that it must.
    fn recover(&mut self) {
        self.bury();
        for _ in 0..TRIES {
            let size = self.pen.size();
            if self.ledger().failure().is_none() {
                return;
            }
            match self.ledger().recover_now() {
                Ok(now) => {
                    assert!(now >= size, "size shrank from {size} to {now}");
                    self.pen.settle(now);
                }
                Err(error) => {
                    assert!(matches!(error, AppendError::Refused(_)), "{error}");
                    self.bury();
                }
            }
        }
        assert_eq!(self.ledger().failure(), None);
    }

    fn step(&mut self, step: Step) {
        for _ in 0..TRIES {
            let before = self.pen.size();
            self.ledger();
            let mut pen = self.pen.clone();
            let ledger = self.ledger();
            let done = match step {
                Step::Commit(count) => match pen.commit(ledger, count) {
                    Ok(()) => true,
                    Err(AppendError::Refused(_)) => {
                        pen.pending.clear();
                        assert_eq!(ledger.failure(), None, "refused means that nothing happened");
                        false
                    }
                    Err(AppendError::Unknown(_)) => false,
                    Err(error) => panic!("{error}"),
                },
                Step::Month => {
                    pen.month += 1;
                    true
                }
                Step::Sign => match pen.sign(ledger) {
                    Ok(()) => true,
                    Err(SwapError::Failed(_)) => false,
                    Err(SwapError::Stale) => panic!("nobody else signs"),
                },
                Step::Upkeep => ledger.upkeep_now().is_ok(),
                Step::Snapshot => ledger.save_snapshot("sequencer", b"state").is_ok(),
                Step::Restart => true,
            };
            self.pen = pen;
            if matches!(step, Step::Restart) {
                self.ledger = None;
            }
            self.recover();
            self.ledger();
            self.look();
            if done || (matches!(step, Step::Commit(_)) && self.pen.size() > before) {
                return;
            }
        }
        panic!("{step:?} does not work after {TRIES} tries");
    }

    /// Lives; how many operations that took before the power went at its end.
    fn live(&mut self) -> u64 {
        for step in LIFE {
            self.step(*step);
        }
        let operations = self.disk.operations();
        // Whatever happened, everything acknowledged survives the power going now.
        self.ledger = None;
        self.disk.restart(Loss::EverythingUnsynced);
        self.looks = 1;
        self.ledger();
        assert_eq!(self.looks, 0, "the fault came and the end was looked at");
        operations
    }
}

fn open_small(disk: &FaultDisk) -> Result<(Ledger, Recovery), OpenError> {
    let small = Options {
        segment_bytes: 6000,
        ahead_bytes: 700,
        ..options(disk)
    };
    Ledger::open(Path::new(DIR), small)
}

fn operations_of_a_life() -> u64 {
    Life::new(FaultDisk::new(), 0, Loss::Nothing).live()
}

fn every_operation(fault: Fault, loss: Loss) {
    let operations = operations_of_a_life();
    assert!(operations > 150, "{operations}");
    for n in 0..operations {
        let disk = FaultDisk::new();
        disk.plan(n, fault);
        let lived = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            Life::new(disk.clone(), n, loss).live()
        }));
        assert!(lived.is_ok(), "{fault:?} {loss:?} at {}", disk.operation(n));
    }
}

#[test]
fn every_operation_that_fails_loses_nothing_acknowledged() {
    every_operation(Fault::Fails, Loss::Nothing);
}

#[test]
fn every_operation_that_fails_although_it_persists_loses_nothing_acknowledged() {
    every_operation(Fault::FailsButPersists, Loss::Nothing);
}

#[test]
fn every_operation_without_space_loses_nothing_acknowledged() {
    every_operation(Fault::Full, Loss::Nothing);
}

#[test]
fn a_process_that_dies_at_any_operation_loses_nothing_acknowledged() {
    for loss in LOSSES {
        every_operation(Fault::Dies, loss);
    }
}

/// A sync that failed is on no disk although it can be read: a process that starts over it must not build on it.
#[test]
fn what_a_start_takes_up_survives_the_power_going_afterwards() {
    for fault in [Fault::Fails, Fault::FailsButPersists, Fault::Dies] {
        for n in 0..operations_of_a_life() {
            let disk = FaultDisk::new();
            disk.plan(n, fault);
            let mut pen = Pen::new();
            let Ok((ledger, _)) = open_small(&disk) else {
                continue;
            };
            for step in LIFE {
                let Step::Commit(count) = step else { continue };
                if pen.commit(&ledger, *count).is_err() {
                    break;
                }
            }
            drop(ledger);
            disk.restart(Loss::Nothing);
            let (ledger, recovery) = open_small(&disk).unwrap();
            pen.settle(recovery.size);
            whole(&disk, &ledger, &pen);
            drop(ledger);
            disk.restart(Loss::EverythingUnsynced);
            let (ledger, _) = open_small(&disk).unwrap();
            whole(&disk, &ledger, &pen);
        }
    }
}

/// A start with much to do: a torn tail, a manifest without its copy, strangers, a mark from long ago, an anchor that
/// stayed behind.
fn much_to_mend() -> (FaultDisk, Pen) {
    let disk = FaultDisk::new();
    let (ledger, _) = open_small(&disk).unwrap();
    let mut pen = Pen::new();
    pen.commit(&ledger, 5).unwrap();
    pen.sign(&ledger).unwrap();
    ledger.upkeep_now().unwrap();
    let old: Vec<_> = disk
        .files()
        .into_iter()
        .filter(|(path, _)| path.starts_with(ANCHORS) || path.ends_with("synced"))
        .collect();
    for count in [20, 4, 9, 20, 7] {
        pen.commit(&ledger, count).unwrap();
    }
    ledger.upkeep_now().unwrap();
    for count in [20, 4] {
        pen.commit(&ledger, count).unwrap();
    }
    pen.sign(&ledger).unwrap();
    let mut torn = pen.clone();
    torn.commit(&ledger, 3).unwrap();
    drop(ledger);
    for (path, bytes) in old {
        disk.tamper(&path, |now| *now = bytes);
    }
    let segments = Path::new(DIR).join("segments");
    let open_segment = disk
        .files()
        .into_keys()
        .rfind(|path| path.extension().is_some_and(|e| e == "seg"));
    disk.tamper(&open_segment.unwrap(), |bytes| {
        let end = bytes.iter().rposition(|b| *b != 0).unwrap();
        bytes[end] ^= 0x55;
    });
    disk.lose(&Path::new(DIR).join("manifest.copy"));
    for name in ["00000042.reading.sealed", "00000043.seg", "00000043.idx"] {
        let file = disk
            .open(&segments.join(name), crate::ledger::disk::Access::CreateNew)
            .unwrap();
        file.write_at(b"stranger", 0).unwrap();
        file.sync_all().unwrap();
    }
    disk.sync_dir(&segments).unwrap();
    disk.restart(Loss::EverythingUnsynced);
    (disk, pen)
}

#[test]
fn a_start_that_fails_or_dies_at_any_operation_is_made_up_by_the_next() {
    let (mended, pen) = much_to_mend();
    let first = mended.operations();
    let (ledger, recovery) = open_small(&mended).unwrap();
    assert!(recovery.tail_cut.is_some());
    whole(&mended, &ledger, &pen);
    let operations = first..mended.operations();
    assert!(operations.end - operations.start > 20, "{operations:?}");
    for n in operations {
        for (fault, loss) in [
            (Fault::Fails, Loss::Nothing),
            (Fault::FailsButPersists, Loss::Nothing),
            (Fault::Full, Loss::EverythingUnsynced),
            (Fault::Dies, Loss::Nothing),
            (Fault::Dies, Loss::EverythingUnsynced),
            (Fault::Dies, Loss::Some(n)),
        ] {
            let (disk, mut pen) = much_to_mend();
            disk.plan(n, fault);
            match open_small(&disk) {
                Ok(_) => assert!(!disk.is_dead()),
                Err(error) => assert!(matches!(error, OpenError::Io { .. }), "{error}"),
            }
            disk.restart(loss);
            let (ledger, recovery) = open_small(&disk).unwrap();
            let what = format!("{fault:?} {loss:?} at {}", disk.operation(n));
            let cut = recovery.tail_cut.expect("told until an entry says so");
            let kept = Path::new(DIR).join("quarantine").join(cut.file_name());
            let bytes = disk.files()[&kept].clone();
            assert_eq!(domain::hash::sha256(&bytes), cut.sha256, "{what}");
            whole(&disk, &ledger, &pen);
            pen.commit(&ledger, 2).unwrap();
            pen.sign(&ledger).unwrap();
            ledger.upkeep_now().unwrap();
            whole(&disk, &ledger, &pen);
        }
    }
}

#[test]
fn a_full_disk_refuses_appends_reads_on_and_goes_on_when_there_is_space() {
    let disk = FaultDisk::new();
    let (ledger, _) = open_small(&disk).unwrap();
    let mut pen = Pen::new();
    pen.commit(&ledger, 20).unwrap();
    for room in [0, 1, 100, 500, 900, 1500, 3000, 9000] {
        disk.limit(Some(disk.used() + room));
        let mut refused = 0;
        for _ in 0..30 {
            match pen.commit(&ledger, 6) {
                Ok(()) => {}
                Err(AppendError::Refused(_)) => refused += 1,
                Err(AppendError::Unknown(_)) => {
                    refused += 1;
                    assert!(matches!(
                        ledger.recover_now(),
                        Ok(_) | Err(AppendError::Refused(_))
                    ));
                }
                Err(error) => panic!("{error}"),
            }
            pen.pending.clear();
            same_entries(&ledger, &pen);
        }
        assert!(refused > 0, "room for {room}");
        let _ = ledger.upkeep_now();
        let _ = pen.sign(&ledger);
        disk.limit(None);
        assert_eq!(ledger.recover_now(), Ok(pen.size()));
        pen.commit(&ledger, 3).unwrap();
        pen.sign(&ledger).unwrap();
        ledger.upkeep_now().unwrap();
        whole(&disk, &ledger, &pen);
    }
    drop(ledger);
    disk.restart(Loss::EverythingUnsynced);
    let (ledger, _) = open_small(&disk).unwrap();
    whole(&disk, &ledger, &pen);
}
