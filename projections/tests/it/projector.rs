//! The projector: it follows, it hurries for who waits, it rebuilds beside the live file, and says when it cannot.

use crate::support::{Scribe, TestClock, at, dump, minutes, size};
use domain::ports::{EventLog, Seen, SeenReadings};
use domain::{Hash, Position, TreeSize};
use projections::{Found, Projector, Roots};
use std::ops::ControlFlow;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

fn fridge() -> Scribe {
    let scribe = Scribe::new();
    scribe.account("acc_a");
    scribe.site("acc_a", "site_one");
    scribe.device("acc_a", "site_one", "dev_0", Some(60));
    scribe.channel("acc_a", "dev_0", "chn_0", "temperature");
    scribe
}

#[test]
fn what_is_recorded_while_it_runs_is_projected_and_survives_a_restart() {
    let scribe = fridge();
    let dir = tempfile::tempdir().expect("a directory");
    let path = dir.path().join("x.sqlite");
    let (projector, model) = scribe.projected(&path);
    assert_eq!(projector.found(), Found::Nothing);
    for n in 0..50 {
        let position = scribe.reading("dev_0", minutes(n), &[("temperature", n as f64)]);
        assert!(projector.wait_here(position));
        assert!(projector.cursor().contains(position));
        let latest = model
            .channel("acc_a", "chn_0")
            .expect("is there")
            .latest
            .expect("has a value");
        assert_eq!((latest.value, latest.position), (n as f64, position));
    }
    let status = projector.status();
    assert_eq!((status.lag_entries, status.lag_seconds), (0, 0.0));
    assert_eq!(status.cursor.root, scribe.log.root());
    projector.stop();

    scribe.reading("dev_0", minutes(60), &[("temperature", 60.0)]);
    let (projector, _) = scribe.projected(&path);
    assert_eq!(projector.found(), Found::Good);
    drop(projector);
    let whole = dir.path().join("whole.sqlite");
    drop(scribe.fold(&whole, usize::MAX >> 1));
    assert_eq!(dump(&path), dump(&whole));
}

#[tokio::test]
async fn waiting_ends_at_once_when_passed_and_gives_up_in_time() {
    let scribe = fridge();
    let dir = tempfile::tempdir().expect("a directory");
    let projector = scribe.projector(&dir.path().join("x.sqlite"));
    let last = scribe.log.size().last().expect("has entries");
    assert!(projector.wait_for(last, Duration::from_secs(30)).await);
    assert!(
        projector.wait_for(Position(0), Duration::ZERO).await,
        "long passed"
    );
    assert!(
        !projector.wait_for(Position(999), Duration::from_millis(1)).await,
        "never recorded"
    );
}

#[test]
fn who_waits_for_facts_is_woken_by_anything_but_readings() {
    let scribe = fridge();
    let dir = tempfile::tempdir().expect("a directory");
    let (projector, _) = scribe.projected(&dir.path().join("x.sqlite"));
    let mut facts = projector.facts();
    facts.mark_unchanged();
    for n in 0..20 {
        let position = scribe.reading("dev_0", minutes(n), &[("temperature", 4.0)]);
        assert!(projector.wait_here(position));
    }
    assert!(!facts.has_changed().expect("it runs"), "readings wake nobody");
    let position = scribe.device("acc_a", "site_one", "dev_1", None);
    assert!(projector.wait_here(position));
    assert!(facts.has_changed().expect("it runs"));
    assert!(facts.borrow_and_update().contains(position));
}

#[test]
fn a_rebuild_gives_identical_rows_while_questions_are_answered() {
    let scribe = fridge();
    for n in 0..500 {
        scribe.reading("dev_0", minutes(n * 7 % 400), &[("temperature", n as f64)]);
    }
    let dir = tempfile::tempdir().expect("a directory");
    let path = dir.path().join("x.sqlite");
    let (projector, model) = scribe.projected(&path);
    let before = dump(&path);

    let mut told = Vec::new();
    projector
        .rebuild(&mut |progress| {
            assert!(
                model.channel("acc_a", "chn_0").is_ok(),
                "the old rows still answer"
            );
            told.push(progress.done);
            ControlFlow::Continue(())
        })
        .expect("rebuilds");
    assert_eq!(told, [0, scribe.log.size().get()]);
    assert_eq!(dump(&path), before);
    assert!(!dir.path().join("x.sqlite.rebuild").exists());
    // It goes on from there.
    let position = scribe.reading("dev_0", minutes(9_000), &[("temperature", 1.5)]);
    assert!(projector.wait_here(position));
    assert_eq!(
        model
            .channel("acc_a", "chn_0")
            .expect("is there")
            .latest
            .map(|l| l.value),
        Some(1.5)
    );
}

#[test]
fn no_question_fails_while_files_are_swapped_and_entries_come_in() {
    let scribe = fridge();
    for n in 0..300 {
        scribe.reading("dev_0", minutes(n), &[("temperature", n as f64)]);
    }
    let dir = tempfile::tempdir().expect("a directory");
    let path = dir.path().join("x.sqlite");
    let (projector, model) = scribe.projected(&path);
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let askers: Vec<_> = (0..3)
            .map(|_| {
                let (model, done) = (model.clone(), &done);
                scope.spawn(move || {
                    let mut least = 300;
                    while !done.load(Ordering::SeqCst) {
                        let latest = model.channel("acc_a", "chn_0").expect("answers").latest;
                        let count = latest.expect("has a value").count;
                        assert!(count >= least, "rows went back from {least} to {count}");
                        least = count;
                    }
                })
            })
            .collect();
        for round in 0..5 {
            for n in 0..20 {
                scribe.reading("dev_0", minutes(300 + round * 20 + n), &[("temperature", 1.0)]);
            }
            projector
                .rebuild(&mut |_| ControlFlow::Continue(()))
                .expect("rebuilds");
        }
        done.store(true, Ordering::SeqCst);
        askers
            .into_iter()
            .for_each(|asker| asker.join().expect("no question failed"));
    });
    assert!(projector.wait_here(scribe.log.size().last().expect("has entries")));
    projector.stop();
    let offline = dir.path().join("offline.sqlite");
    projections::rebuild(&*scribe.log, &scribe.roots(), &offline, &mut |_| {
        ControlFlow::Continue(())
    })
    .expect("rebuilds");
    assert_eq!(dump(&offline), dump(&path));
}

#[test]
fn a_rebuild_that_is_broken_off_changes_nothing() {
    let scribe = fridge();
    let dir = tempfile::tempdir().expect("a directory");
    let path = dir.path().join("x.sqlite");
    let (projector, model) = scribe.projected(&path);
    let before = dump(&path);
    assert!(projector.rebuild(&mut |_| ControlFlow::Break(())).is_err());
    assert_eq!(dump(&path), before);
    assert!(model.channel("acc_a", "chn_0").is_ok());
    assert!(!dir.path().join("x.sqlite.rebuild").exists());
}

#[test]
fn seen_readings_answer_from_another_thread_by_channel_and_time() {
    let scribe = fridge();
    let position = scribe.reading("dev_0", minutes(5), &[("temperature", 4.5)]);
    let dir = tempfile::tempdir().expect("a directory");
    let (_projector, model) = scribe.projected(&dir.path().join("x.sqlite"));
    let answer = std::thread::spawn(move || {
        let asked = [
            ("chn_0", minutes(5)),
            ("chn_0", minutes(6)),
            ("chn_unknown", minutes(5)),
            ("chn_0", minutes(5)),
        ];
        (model.cursor(), model.seen(&asked))
    })
    .join()
    .expect("does not panic");
    let there = Some(Seen { position, value: 4.5 });
    assert_eq!(
        answer,
        (scribe.log.size(), Ok(Some(vec![there, None, None, there])))
    );
}

/// Roots that do not answer until told to.
struct Late(Scribe, AtomicBool);

impl Roots for Late {
    fn root_at(&self, size: TreeSize) -> Result<Option<Hash>, String> {
        if self.1.load(Ordering::SeqCst) {
            self.0.roots().root_at(size)
        } else {
            Err("the tiles do not answer".to_owned())
        }
    }
}

#[test]
fn while_it_catches_up_nothing_is_said_to_be_unseen_and_trouble_that_passes_is_survived() {
    let scribe = fridge();
    let position = scribe.reading("dev_0", minutes(5), &[("temperature", 4.5)]);
    let dir = tempfile::tempdir().expect("a directory");
    let log = scribe.log.clone();
    let late = Arc::new(Late(scribe, AtomicBool::new(false)));
    let path = dir.path().join("x.sqlite");
    let projector =
        Projector::start(&path, log.clone(), late.clone(), Arc::new(TestClock::new())).expect("starts");
    let model = projector.read_model();
    assert!(
        !projector.wait_here(position),
        "it gives up on a projector in trouble"
    );
    let status = projector.status();
    assert!(status.trouble.is_some_and(|t| t.contains("do not answer")));
    assert!(status.catching_up);
    assert_eq!(model.cursor(), size(0));
    assert_eq!(model.seen(&[("chn_0", minutes(5))]), Ok(None));

    late.1.store(true, Ordering::SeqCst);
    let passed = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .build()
        .expect("a runtime")
        .block_on(projector.wait_for(position, Duration::from_secs(30)));
    assert!(passed);
    assert_eq!(projector.status().trouble, None);
    assert_eq!(model.seen(&[("chn_0", minutes(6))]), Ok(Some(vec![None])));
}

#[test]
fn an_entry_that_does_not_read_stops_it_and_it_says_where() {
    let scribe = fridge();
    let dir = tempfile::tempdir().expect("a directory");
    let (projector, model) = scribe.projected(&dir.path().join("x.sqlite"));
    scribe.log.push_entries([&b"{\"not\":\"an entry\"}"[..]]);
    assert!(!projector.wait_here(Position(4)));
    let trouble = projector.status().trouble.expect("is in trouble");
    assert!(
        trouble.contains("position 4") && trouble.contains("verify"),
        "{trouble}"
    );
    assert_eq!(projector.cursor(), size(4));
    assert!(
        model.channel("acc_a", "chn_0").is_ok(),
        "what was projected is still answered"
    );
    projector.stop();
}

#[test]
fn a_ledger_far_ahead_is_caught_up_in_bounded_batches() {
    let scribe = fridge();
    for n in 0..2_500 {
        scribe.reading("dev_0", at(n * 1_000_000), &[("temperature", 1.0)]);
    }
    let dir = tempfile::tempdir().expect("a directory");
    let (projector, model) = scribe.projected(&dir.path().join("x.sqlite"));
    assert_eq!(projector.cursor(), scribe.log.size());
    let device = model.device("acc_a", "dev_0").expect("is there");
    assert_eq!(
        (device.readings, device.channels[0].latest.map(|l| l.count)),
        (2_500, Some(2_500))
    );
}
