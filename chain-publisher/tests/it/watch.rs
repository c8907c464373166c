//! `daybook-verify watch`: the state, what replaces it and what does not, the webhook, staying.

use crate::served::serve;
use crate::{Auditor, command, daybook_verify, export_to, exported, forked, plan, text};
use serde_json::Value;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;
use tests::small_ledger::SmallLedger;

/// How long a message may take on a machine that does much else.
const PATIENCE: Duration = Duration::from_secs(60);

struct Watch {
    dir: tempfile::TempDir,
    key: String,
}

impl Watch {
    fn new(auditor: &Auditor) -> Self {
        Self {
            dir: tempfile::tempdir().expect("a scratch directory"),
            key: auditor.key.clone(),
        }
    }

    fn state(&self) -> PathBuf {
        self.dir.path().join("seen.checkpoint")
    }

    fn kept(&self) -> Vec<u8> {
        std::fs::read(self.state()).unwrap_or_default()
    }

    fn args<'a>(&'a self, log: &'a str, state: &'a Path) -> Vec<&'a str> {
        vec!["watch", log, "--key", &self.key, "--state", text(state)]
    }

    fn look(&self, log: &str, more: &[&str]) -> crate::Ran {
        daybook_verify(&[&self.args(log, &self.state())[..], more].concat())
    }

    /// What was kept because it contradicts the state.
    fn aside(&self) -> Vec<PathBuf> {
        let files = std::fs::read_dir(self.dir.path()).expect("readable").flatten();
        files
            .map(|file| file.path())
            .filter(|path| path.extension().is_some_and(|ending| ending == "contradicts"))
            .collect()
    }
}

#[test]
fn what_continues_is_kept_and_success_is_said() {
    let auditor = Auditor::with_days(2);
    let longer = SmallLedger::record(plan(4));
    let watch = Watch::new(&auditor);
    watch
        .look(auditor.copy(), &[])
        .ends(3, &["UNANCHORED", "seen for the first time"]);
    assert_eq!(watch.kept(), auditor.ledger.checkpoint);
    watch
        .look(auditor.copy(), &[])
        .ends(0, &["VERIFIED", "continues what was seen at"]);
    export_to(&longer, auditor.copy.path());
    let served = serve(auditor.copy.path());
    let ran = watch.look(&served.url, &["--json"]).ends(0, &[]);
    let report: Value = serde_json::from_str(&ran.out).expect("JSON");
    assert_eq!(
        (&report["verdict"], &report["size"]),
        (&"VERIFIED".into(), &longer.size().get().into())
    );
    assert_eq!(watch.kept(), longer.checkpoint);
    assert!(watch.aside().is_empty());
    // A head that was kept elsewhere confirms the first look.
    let first = Watch::new(&auditor);
    let head = auditor.keep_head(0);
    first.look(&served.url, &["--head", &head]).ends(0, &["VERIFIED"]);
}

#[test]
fn a_log_that_was_cut_or_parted_is_told_and_never_replaces_what_was_seen() {
    let auditor = Auditor::with_days(3);
    let hook = serve(auditor.kept.path());
    for (other, word) in [
        (SmallLedger::record(plan(2)), "TRUNCATED: "),
        (forked(3), "FORKED at size "),
        (forked(4), "FORKED at size "),
    ] {
        let watch = Watch::new(&auditor);
        watch.look(auditor.copy(), &[]).ends(3, &[]);
        let copy = exported(&other);
        let log = text(copy.path());
        watch
            .look(log, &["--webhook", &format!("{}/secret", hook.url)])
            .ends(1, &[word, "contradicts"]);
        assert_eq!(watch.kept(), auditor.ledger.checkpoint);
        let [aside] = &watch.aside()[..] else {
            panic!("one is kept aside")
        };
        assert_eq!(std::fs::read(aside).expect("readable"), other.checkpoint);
        let told: Value =
            serde_json::from_str(&hook.posted.recv_timeout(PATIENCE).expect("it is told")).expect("JSON");
        assert!(
            told["message"]
                .as_str()
                .is_some_and(|message| message.starts_with(word)),
            "{told}"
        );
        assert_eq!(
            told["kept"].as_str().map(str::as_bytes),
            Some(&auditor.ledger.checkpoint[..])
        );
        assert_eq!(
            told["seen"].as_str().map(str::as_bytes),
            Some(&other.checkpoint[..])
        );
        // Nobody there changes nothing, and the address is not said.
        let gone = watch
            .look(log, &["--webhook", "http://127.0.0.1:9/secret"])
            .ends(1, &["was not told"]);
        assert!(!gone.err.contains("secret"), "{}", gone.err);
        watch.look(auditor.copy(), &[]).ends(0, &["VERIFIED"]);
    }
}

#[test]
fn forged_tiles_and_other_signatures_are_no_continuation() {
    let auditor = Auditor::with_days(2);
    let longer = SmallLedger::record(plan(4));
    let watch = Watch::new(&auditor);
    watch.look(auditor.copy(), &[]).ends(3, &[]);
    let copy = exported(&longer);
    let tile = copy.path().join(format!("tile/0/000.p/{}", longer.size()));
    let good = std::fs::read(&tile).expect("readable");
    let mut forged = good.clone();
    forged[40] ^= 1;
    std::fs::write(&tile, &forged).expect("writable");
    watch
        .look(text(copy.path()), &[])
        .ends(1, &["TAMPERED", "lead to the root"]);
    std::fs::remove_file(&tile).expect("it is there");
    watch
        .look(text(copy.path()), &[])
        .ends(1, &["TAMPERED", "missing"]);
    assert_eq!(watch.kept(), auditor.ledger.checkpoint);
    std::fs::write(&tile, &good).expect("writable");
    watch.look(text(copy.path()), &[]).ends(0, &["VERIFIED"]);
    let stranger = SmallLedger::record(tests::small_ledger::Plan { seed: 9, ..plan(5) });
    watch
        .look(text(exported(&stranger).path()), &[])
        .ends(1, &["TAMPERED", "no known key has signed"]);
    assert_eq!(watch.kept(), longer.checkpoint);
}

#[test]
fn what_cannot_be_used_has_no_verdict_and_leaves_the_state_alone() {
    let auditor = Auditor::with_days(1);
    let watch = Watch::new(&auditor);
    let state = watch.state();
    daybook_verify(&["watch", auditor.copy(), "--state", text(&state)]).ends(2, &["--key"]);
    watch.look("http://127.0.0.1:9", &[]).ends(2, &["127.0.0.1:9"]);
    watch
        .look(auditor.copy(), &["--webhook", "mailto:x"])
        .ends(2, &["--webhook"]);
    watch
        .look(auditor.copy(), &["--every", "0"])
        .ends(2, &["--every"]);
    assert!(!state.exists());
    std::fs::write(&state, "half a no").expect("writable");
    watch.look(auditor.copy(), &[]).ends(2, &["put back a copy"]);
    assert_eq!(watch.kept(), b"half a no");
    let stranger = SmallLedger::record(tests::small_ledger::Plan { seed: 9, ..plan(1) });
    std::fs::write(&state, &stranger.checkpoint).expect("writable");
    watch
        .look(auditor.copy(), &[])
        .ends(2, &["no known key has signed"]);
    let folder = daybook_verify(&watch.args(auditor.copy(), watch.dir.path()));
    folder.ends(2, &["names a file"]);
}

#[test]
fn who_stays_looks_again_and_ends_when_something_does_not_hold() {
    let auditor = Auditor::with_days(3);
    let watch = Watch::new(&auditor);
    let state = watch.state();
    let args = [&watch.args(auditor.copy(), &state)[..], &["--every", "1"]].concat();
    let mut child = command(&args)
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .expect("it runs");
    let mut lines = BufReader::new(child.stdout.take().expect("piped"))
        .lines()
        .map_while(Result::ok);
    assert!(lines.next().is_some_and(|line| line.starts_with("UNANCHORED: ")));
    assert!(lines.next().is_some_and(|line| line.starts_with("VERIFIED: ")));
    // The copy is put back to an older one.
    let older = SmallLedger::record(plan(2));
    export_to(&older, &auditor.copy.path().join("older"));
    let file = format!("tile/0/000.p/{}", older.size());
    let from = auditor.copy.path().join("older");
    std::fs::copy(from.join(&file), auditor.copy.path().join(&file)).expect("copied");
    let new = auditor.copy.path().join("new");
    std::fs::write(&new, &older.checkpoint).expect("writable");
    std::fs::rename(new, auditor.copy.path().join("checkpoint")).expect("renamed");
    assert!(lines.any(|line| line.starts_with("TRUNCATED: ")));
    assert_eq!(child.wait().expect("it ends").code(), Some(1));
    assert_eq!(watch.kept(), auditor.ledger.checkpoint);
}
