//! What somebody could do who has the receipt key and not the log's: each ends with its verdict, and names what it was.

use chain_publisher::VerifySettings;
use chain_publisher::evidence::Trust;
use chain_publisher::layout::pruned_line;
use chain_publisher::pack::{PackError, Subject, verify};
use domain::Position;
use domain::checkpoint::{Checkpoint, SignedCheckpoint};
use domain::hash::{base64url, leaf_hash, sha256};
use domain::stream::blind;
use domain::tlog_proof::TlogProof;
use serde_json::Value;
use std::io::Cursor;
use tests::pack_ledger::{Files, PackLedger, device, site, verdict};
use tests::small_ledger::{ORIGIN, signing_key};

/// Name, the pack, the verdict's word, a part of what is said.
pub type Forgery = (&'static str, Vec<u8>, &'static str, &'static str);

pub const FROM: &str = "2026-05-18";
pub const TO: &str = "2026-05-21";

pub struct Forger {
    pub ledger: PackLedger,
    pub good: Files,
}

/// Stubs for the readings of a day for which `which` is true, by the ledger's `RetentionApplied`.
pub fn prune(ledger: &PackLedger, day: &str, which: impl Fn(usize) -> bool) -> Files {
    let mut files = ledger.files(Subject::Device(device(1)), FROM, TO);
    let by = files.entries_with("RetentionApplied")[0].0;
    let recorded = format!("\"recorded_at\":\"{day}");
    let readings = files.entries_with("ReadingRecorded");
    let of_day = readings.iter().filter(|(_, line)| line.contains(&recorded));
    for (_, (position, line)) in of_day.enumerate().filter(|(n, _)| which(*n)) {
        let stub = pruned_line(&leaf_hash(line.as_bytes()), Position(*position), Position(by));
        files.replace("entries.ndjson", line, &stub);
    }
    files.rederive();
    ledger.renode(&mut files);
    ledger.reseal(&mut files);
    files
}

impl Forger {
    pub fn new() -> Self {
        let ledger = PackLedger::record();
        let good = ledger.files(Subject::Device(device(1)), FROM, TO);
        Self { ledger, good }
    }

    /// Changed, with a manifest that fits.
    pub fn resealed(&self, change: impl FnOnce(&mut Files)) -> Vec<u8> {
        let mut files = self.good.clone();
        change(&mut files);
        self.ledger.reseal(&mut files);
        files.zip()
    }

    /// Changed, with nodes and a manifest that fit.
    fn renoded(&self, change: impl FnOnce(&mut Files)) -> Vec<u8> {
        self.resealed(|files| {
            change(files);
            self.ledger.renode(files);
        })
    }

    /// Without the entry that is the `n`-th of those with that text.
    pub fn without(&self, text: &str, n: usize) -> Vec<u8> {
        let mut files = self.good.clone();
        let (position, _) = files.entries_with(text)[n];
        self.ledger.without(&mut files, &[position]);
        files.zip()
    }

    /// Without the readings of 20 May and without the line that tells of them.
    pub fn day_left_out(&self) -> Vec<u8> {
        let mut files = self.good.clone();
        let readings = files.entries_with("ReadingRecorded");
        let gone: Vec<u64> = readings
            .iter()
            .filter(|(_, line)| line.contains("\"recorded_at\":\"2026-05-20"))
            .map(|(position, _)| *position)
            .collect();
        let stream = base64url(&blind(&format!("readings/{}", device(1))));
        files.lines("streams.ndjson", |line| {
            let text = String::from_utf8_lossy(line);
            !(text.contains("2026-05-20") && text.contains(&stream))
        });
        self.ledger.without(&mut files, &gone);
        files.zip()
    }

    fn entries(&self) -> Vec<Forgery> {
        let readings = self.good.clone().entries_with("ReadingRecorded");
        let last = readings[readings.len() - 1].0;
        let swapped = |files: &mut Files| {
            let (one, two) = (readings[0].1.clone(), readings[1].1.clone());
            files.replace(
                "entries.ndjson",
                &format!("{one}\n{two}\n"),
                &format!("{two}\n{one}\n"),
            );
        };
        let stubbed = |files: &mut Files, more: &str| {
            let (position, line) = &readings[2];
            let leaf = leaf_hash(line.as_bytes());
            let stub = format!("{{\"leaf_hash\":\"{leaf}\",\"position\":{position},{more}}}");
            files.replace("entries.ndjson", line, &stub);
            let position = position.to_string();
            files.lines("readings.csv", |row| {
                !row.starts_with(format!("{position},").as_bytes())
            });
        };
        let other = self
            .ledger
            .files(Subject::Device(device(2)), FROM, TO)
            .entries_with("DeviceRegistered")[0]
            .clone();
        vec![
            (
                "reading-removed",
                self.without("ReadingRecorded", 2),
                "INCOMPLETE",
                "sequence 7 on 2026-05-18 is missing",
            ),
            (
                "last-reading-removed",
                self.without("ReadingRecorded", readings.len() - 1),
                "INCOMPLETE",
                "is missing",
            ),
            (
                "first-reading-removed",
                self.without("ReadingRecorded", 0),
                "INCOMPLETE",
                "sequence 5 on 2026-05-18",
            ),
            (
                "configuration-removed",
                self.without("DeviceChanged", 0),
                "INCOMPLETE",
                "device/",
            ),
            (
                "registration-removed",
                self.without("DeviceRegistered", 0),
                "INCOMPLETE",
                "the first entry of the device",
            ),
            (
                "channel-removed",
                self.without("ChannelRegistered", 0),
                "INCOMPLETE",
                "the registration of the channel",
            ),
            (
                "day-closed-removed",
                self.without("DayClosed", 1),
                "INCOMPLETE",
                "whose head is in the pack",
            ),
            (
                "stub-for-reading",
                self.renoded(|files| stubbed(files, "\"withheld\":true")),
                "INCOMPLETE",
                "sequence 7",
            ),
            (
                "pruned-by-nothing",
                self.renoded(|files| stubbed(files, "\"pruned_by\":0")),
                "TAMPERED",
                "RetentionApplied",
            ),
            (
                "value-changed",
                self.resealed(|files| {
                    files.replace("entries.ndjson", "\"temperature\":1.2", "\"temperature\":9.2");
                    files.replace("readings.csv", ",1.2,", ",9.2,");
                }),
                "TAMPERED",
                "another root",
            ),
            ("swapped", self.resealed(swapped), "TAMPERED", "position 3"),
            (
                "twice",
                self.resealed(|files| {
                    files.replace(
                        "entries.ndjson",
                        &readings[0].1,
                        &format!("{0}\n{0}", readings[0].1),
                    )
                }),
                "TAMPERED",
                "stands behind",
            ),
            (
                "not-canonical",
                self.resealed(|files| {
                    files.replace("entries.ndjson", "{\"aggregate_id\":", "{ \"aggregate_id\":")
                }),
                "TAMPERED",
                "line 1",
            ),
            (
                "not-a-line",
                self.resealed(|files| {
                    files.file("entries.ndjson").pop();
                }),
                "TAMPERED",
                "does not end",
            ),
            (
                "beyond",
                self.resealed(|files| {
                    let line = readings[readings.len() - 1]
                        .1
                        .replace(&format!("\"position\":{last}"), "\"position\":9999999");
                    files
                        .file("entries.ndjson")
                        .extend_from_slice(format!("{line}\n").as_bytes());
                }),
                "TAMPERED",
                "position 9999999",
            ),
            (
                "of-another-device",
                self.renoded(|files| {
                    let (position, line) = &other;
                    let after = files
                        .positions()
                        .into_iter()
                        .rfind(|found| found < position)
                        .expect("one before");
                    let before = files.entries_with(&format!("\"position\":{after},")).remove(0).1;
                    files.replace(
                        "entries.ndjson",
                        &format!("{before}\n"),
                        &format!("{before}\n{line}\n"),
                    );
                }),
                "TAMPERED",
                "is not of what was asked for",
            ),
        ]
    }

    fn tree(&self) -> Vec<Forgery> {
        let line = |files: &mut Files, n: usize| {
            let text = String::from_utf8(files.file("nodes.ndjson").clone()).expect("text");
            text.lines().nth(n).expect("a node").to_owned()
        };
        vec![
            (
                "node-missing",
                self.resealed(|files| {
                    let gone = line(files, 3);
                    files.lines("nodes.ndjson", |line| line != gone.as_bytes());
                }),
                "TAMPERED",
                "is missing",
            ),
            (
                "node-superfluous",
                self.resealed(|files| {
                    let more = format!("{{\"hash\":\"{}\",\"index\":0,\"level\":40}}\n", sha256(b"x"));
                    files.file("nodes.ndjson").extend_from_slice(more.as_bytes());
                }),
                "TAMPERED",
                "one too many",
            ),
            (
                "node-changed",
                self.resealed(|files| {
                    let old = line(files, 1);
                    let value: Value = serde_json::from_str(&old).expect("JSON");
                    files.replace(
                        "nodes.ndjson",
                        value["hash"].as_str().expect("a hash"),
                        &sha256(b"x").to_base64(),
                    );
                }),
                "TAMPERED",
                "another root",
            ),
            (
                "nodes-unsorted",
                self.resealed(|files| {
                    let (one, two) = (line(files, 0), line(files, 1));
                    files.replace("nodes.ndjson", &format!("{one}\n{two}"), &format!("{two}\n{one}"));
                }),
                "TAMPERED",
                "out of order",
            ),
            (
                "checkpoint-with-moved-signature",
                self.resealed(|files| {
                    let own = SignedCheckpoint::parse(files.file("checkpoint")).expect("a checkpoint");
                    let says = own.checkpoint();
                    let text = own
                        .encode()
                        .replace(&says.root().to_base64(), &sha256(b"x").to_base64());
                    *files.file("checkpoint") = text.into_bytes();
                }),
                "TAMPERED",
                "signature",
            ),
            (
                "checkpoint-by-another-key",
                self.resealed(|files| {
                    let own = SignedCheckpoint::parse(files.file("checkpoint")).expect("a checkpoint");
                    let says = Checkpoint::new(ORIGIN, own.checkpoint().size(), own.checkpoint().root())
                        .expect("one");
                    let signed = SignedCheckpoint::sign(says, &[&signing_key(99)]).expect("signed");
                    *files.file("checkpoint") = signed.encode().into_bytes();
                }),
                "TAMPERED",
                "no known key",
            ),
        ]
    }

    fn maps(&self) -> Vec<Forgery> {
        let lines: Vec<Value> = {
            let mut good = self.good.clone();
            let text = String::from_utf8(good.file("streams.ndjson").clone()).expect("text");
            text.lines()
                .map(|line| serde_json::from_str(line).expect("JSON"))
                .collect()
        };
        let drop = |pick: &dyn Fn(&Value) -> bool| {
            let gone = lines.iter().find(|line| pick(line)).expect("a line").clone();
            self.resealed(|files| {
                files.lines("streams.ndjson", |line| {
                    serde_json::from_slice::<Value>(line).ok() != Some(gone.clone())
                });
            })
        };
        let opened = lines
            .iter()
            .find(|line| line.get("opening").is_some())
            .expect("one");
        let chain = opened["opening"]
            .as_str()
            .and_then(|text| text.trim().rsplit(' ').next())
            .expect("a chain");
        let begins = lines
            .iter()
            .find_map(|line| line.get("before")?.as_str())
            .expect("one");
        vec![
            (
                "line-left-out",
                drop(&|line| line["date"] == "2026-05-20" && line.get("opening").is_some()),
                "INCOMPLETE",
                "neighbours in the day's map",
            ),
            (
                "line-and-entries-left-out",
                self.day_left_out(),
                "INCOMPLETE",
                "neighbours in the day's map",
            ),
            (
                "neighbour-left-out",
                drop(&|line| line["date"] == "2026-05-20" && line.get("opening").is_none()),
                "INCOMPLETE",
                "neighbours",
            ),
            (
                "opening-changed",
                self.resealed(|files| files.replace("streams.ndjson", chain, &sha256(b"x").to_base64())),
                "TAMPERED",
                "not that of its opening",
            ),
            (
                "before-changed",
                self.resealed(|files| files.replace("streams.ndjson", begins, &sha256(b"x").to_base64())),
                "TAMPERED",
                "not those that",
            ),
            (
                "proof-changed",
                self.resealed(|files| {
                    let hash = opened["proof"][0].as_str().expect("a hash");
                    files.replace("streams.ndjson", hash, &sha256(b"x").to_base64());
                }),
                "TAMPERED",
                "another root",
            ),
        ]
    }

    fn heads(&self) -> Vec<Forgery> {
        let last = "heads/2026/2026-05-21.tlog-proof";
        let middle = "heads/2026/2026-05-19.tlog-proof";
        let remove = |files: &mut Files, name: &str| files.0.retain(|(found, _)| found != name);
        let other = PackLedger::record_by(9);
        let cut = |day: &str, next: &str| {
            // The day, its head, its lines and everything recorded after it.
            let mut files = self.good.clone();
            for day in [day, next] {
                files.0.retain(|(name, _)| !name.contains(day));
                files.lines("streams.ndjson", |line| {
                    !line.windows(day.len()).any(|part| part == day.as_bytes())
                });
            }
            let closed = files.entries_with("DayClosed");
            let gone: Vec<u64> = closed[closed.len() - 2..]
                .iter()
                .map(|(position, _)| *position)
                .collect();
            self.ledger.without(&mut files, &gone);
            files.zip()
        };
        vec![
            (
                "head-missing",
                self.resealed(|files| remove(files, last)),
                "TAMPERED",
                "not one of this pack",
            ),
            (
                "head-of-idle-day-missing",
                self.resealed(|files| {
                    remove(files, middle);
                    self.ledger.renode(files);
                }),
                "INCOMPLETE",
                "head of the day",
            ),
            (
                "last-day-left-out",
                cut("2026-05-21", "2026-05-31"),
                "INCOMPLETE",
                "has closed 2026-05-21",
            ),
            (
                "head-of-another-ledger",
                self.resealed(|files| *files.file(last) = other.head("2026-05-21")),
                "TAMPERED",
                "2026-05-21",
            ),
            (
                "head-of-another-day",
                self.resealed(|files| *files.file(last) = self.ledger.head("2026-05-20")),
                "TAMPERED",
                "2026-05-21",
            ),
            (
                "head-with-another-root",
                self.resealed(|files| {
                    let mut head = TlogProof::parse(files.file(last)).expect("a head");
                    let says = Checkpoint::new(ORIGIN, head.size(), sha256(b"x")).expect("one");
                    head.checkpoint = SignedCheckpoint::sign(says, &[&signing_key(98)]).expect("signed");
                    *files.file(last) = head.encode().into_bytes();
                }),
                "TAMPERED",
                "the head of 2026-05-21",
            ),
        ]
    }

    fn files(&self) -> Vec<Forgery> {
        let renamed = |from: &str, to: &str| {
            let mut files = self.good.clone();
            for (name, _) in &mut files.0 {
                if name == from {
                    *name = to.to_owned();
                }
            }
            files.zip()
        };
        let mut order = self.good.clone();
        order.0.swap(3, 4);
        let mut doubled = self.good.clone();
        let again = doubled.0[4].clone();
        doubled.0.insert(5, again);
        let mut unsigned = self.good.clone();
        unsigned.replace("manifest.json", "an auditor", "a stranger");
        let mut unlisted = self.good.clone();
        unlisted.replace("readings.csv", ",1.2,", ",9.2,");
        let config =
            self.resealed(|files| files.replace("config.json", "\"cadence_s\":60", "\"cadence_s\":61"));
        vec![
            (
                "readings-csv-changed",
                self.resealed(|files| files.replace("readings.csv", ",1.2,", ",9.2,")),
                "TAMPERED",
                "readings.csv",
            ),
            ("config-changed", config, "TAMPERED", "config.json"),
            (
                "policy-changed",
                self.resealed(|files| files.file("policy").extend_from_slice(b"#\n")),
                "TAMPERED",
                "policy",
            ),
            (
                "unlisted-change",
                unlisted.zip(),
                "TAMPERED",
                "readings.csv is not what the manifest says",
            ),
            ("manifest-changed", unsigned.zip(), "TAMPERED", "another manifest"),
            ("file-order", order.zip(), "TAMPERED", "in their order"),
            ("file-twice", doubled.zip(), "TAMPERED", "in their order"),
            (
                "path-traversal",
                renamed("verify.py", "../verify.py"),
                "TAMPERED",
                "in their order",
            ),
            (
                "absolute-path",
                renamed("verify.py", "/etc/passwd"),
                "TAMPERED",
                "in their order",
            ),
            (
                "head-elsewhere",
                renamed(
                    "heads/2026/2026-05-21.tlog-proof",
                    "heads/2025/2026-05-21.tlog-proof",
                ),
                "TAMPERED",
                "order",
            ),
        ]
    }

    fn bytes(&self) -> Vec<Forgery> {
        let good = self.good.zip();
        let with = |at: usize, bytes: &[u8]| {
            let mut forged = good.clone();
            forged[at..at + bytes.len()].copy_from_slice(bytes);
            forged
        };
        let longer = [&good[..], b"more"].concat();
        vec![
            (
                "compressed",
                with(8, &8u16.to_le_bytes()),
                "TAMPERED",
                "uncompressed",
            ),
            (
                "encrypted",
                with(6, &1u16.to_le_bytes()),
                "TAMPERED",
                "uncompressed",
            ),
            (
                "grows-on-unpacking",
                with(22, &u32::MAX.to_le_bytes()),
                "TAMPERED",
                "sizes",
            ),
            ("trailing-bytes", longer, "TAMPERED", "behind its end"),
            (
                "directory-names-another",
                with(good.len() - 30, b"X"),
                "TAMPERED",
                "directory",
            ),
        ]
    }

    /// Of ledgers of which a day's readings were pruned, lawfully and not.
    pub fn pruned() -> Vec<(PackLedger, Vec<Forgery>)> {
        let lawful = PackLedger::record_pruned("2026-05-18");
        let early = PackLedger::record_pruned("2026-05-25");
        let pack = |ledger, day, which: fn(usize) -> bool| prune(ledger, day, which).zip();
        let forgeries = vec![
            (
                "a-day-pruned",
                pack(&lawful, "2026-05-18", |_| true),
                "PARTIAL",
                "4 entries are pruned",
            ),
            (
                "pruned-against-the-entry",
                pack(&lawful, "2026-05-20", |_| true),
                "TAMPERED",
                "no RetentionApplied at position",
            ),
            (
                "shown-after-pruning",
                pack(&lawful, "2026-05-18", |_| false),
                "TAMPERED",
                "readings of 2026-05-18 are shown after position",
            ),
            (
                "withheld-among-pruned",
                {
                    let mut files = prune(&lawful, "2026-05-18", |_| true);
                    let (_, stub) = files.entries_with("pruned_by").swap_remove(1);
                    let (leaf, _) = stub.split_once("\"pruned_by\"").expect("a stub");
                    let withheld = format!("{leaf}\"withheld\":true}}");
                    files.replace("entries.ndjson", &stub, &withheld);
                    lawful.reseal(&mut files);
                    files.zip()
                },
                "INCOMPLETE",
                "on 2026-05-18 are missing",
            ),
            (
                "half-pruned",
                pack(&lawful, "2026-05-18", |n| n < 2),
                "TAMPERED",
                "readings of 2026-05-18 are shown after position",
            ),
        ];
        let too_early = vec![(
            "pruned-too-early",
            pack(&early, "2026-05-18", |_| true),
            "TAMPERED",
            "removed too early, 2026-05-2",
        )];
        vec![(lawful, forgeries), (early, too_early)]
    }

    /// Of ledgers that say anew how long entries are kept, lawfully and not.
    pub fn policies() -> Vec<(PackLedger, Vec<Forgery>)> {
        let of = |name, policies, word, said| {
            let ledger = PackLedger::record_policies(policies);
            let pack = ledger.files(Subject::Device(device(1)), FROM, TO).zip();
            (ledger, vec![(name, pack, word, said)])
        };
        vec![
            of(
                "retention-lengthened",
                &[
                    r#"{"reading":10}"#,
                    r#"{"reading":400}"#,
                    r#"{"audit":null,"ledger":null,"outbound":null}"#,
                    r#"{"reading":400}"#,
                    r#"{"reading":null}"#,
                ],
                "VERIFIED",
                "",
            ),
            of(
                "retention-shortened",
                &[r#"{"reading":400}"#, r#"{"access":null}"#, r#"{"reading":399}"#],
                "TAMPERED",
                "the class reading is to be kept for 399 days, and was to be kept for 400 days",
            ),
            of(
                "retention-shortened-at-once",
                &[r#"{"reading":0}"#],
                "TAMPERED",
                "the class reading is to be kept for 0 days, and was to be kept for 10 days",
            ),
            of(
                "retention-for-ever-shortened",
                &[r#"{"reading":null}"#, r#"{"reading":4000}"#],
                "TAMPERED",
                "the class reading is to be kept for 4000 days, and was to be kept for ever",
            ),
            of(
                "retention-of-a-class-not-named-before",
                &[r#"{"access":4000}"#],
                "TAMPERED",
                "the class access is to be kept for 4000 days, and was to be kept for ever",
            ),
            of(
                "retention-of-audit",
                &[r#"{"audit":null}"#, r#"{"audit":4000}"#],
                "TAMPERED",
                "the class audit is to be kept for 4000 days, and was to be kept for ever",
            ),
            of(
                "retention-of-less-than-no-days",
                &[r#"{"reading":-1}"#],
                "TAMPERED",
                "RetentionPolicySet: ",
            ),
        ]
    }

    pub fn all(&self) -> Vec<Forgery> {
        [
            self.entries(),
            self.tree(),
            self.maps(),
            self.heads(),
            self.files(),
            self.bytes(),
        ]
        .concat()
    }
}

#[test]
fn every_forgery_has_its_verdict_and_is_named() {
    let forger = Forger::new();
    let head = forger.ledger.head("2026-05-21");
    let settings = forger.ledger.auditor(&[&head]);
    let mut wrong = Vec::new();
    for (name, pack, word, said) in forger.all() {
        let report = verdict(&pack, &settings);
        let text = report.to_string();
        if report.report.verdict.word() != word || !text.contains(said) {
            wrong.push(format!("{name}: expected {word} and {said:?}\n{text}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n\n"));
}

#[test]
fn what_retention_removed_is_partial_and_every_breach_of_it_is_named() {
    for (ledger, forgeries) in Forger::pruned().into_iter().chain(Forger::policies()) {
        let head = ledger.head(TO);
        for (name, pack, word, said) in forgeries {
            let report = verdict(&pack, &ledger.auditor(&[&head]));
            let text = report.to_string();
            assert_eq!(report.report.verdict.word(), word, "{name}: {text}");
            assert!(text.contains(said), "{name}: {text}");
        }
    }
}

#[test]
fn no_flipped_bit_goes_unseen() {
    let forger = Forger::new();
    let head = forger.ledger.head("2026-05-21");
    let settings = forger.ledger.auditor(&[&head]);
    let mut good = forger.good.clone();
    for name in ["verify.html", "verify.py"] {
        good.file(name).truncate(100);
    }
    forger.ledger.reseal(&mut good);
    let good = good.zip();
    assert_eq!(verdict(&good, &settings).report.exit_code, 0);
    for at in (0..good.len()).step_by(23) {
        let mut flipped = good.clone();
        flipped[at] ^= 1 << (at % 8);
        let found = verify("a pack", Cursor::new(&flipped), &settings, &mut |_| {});
        let seen = found
            .as_ref()
            .map_or(true, |report| report.report.verdict.word() == "TAMPERED");
        assert!(
            seen,
            "byte {at}: {}",
            found.map_or_else(|e| e.to_string(), |report| report.to_string())
        );
    }
}

#[test]
fn a_pack_that_cannot_be_read_has_no_verdict() {
    let forger = Forger::new();
    let good = forger.good.zip();
    let mut large = good.clone();
    large[18..26].copy_from_slice(&[0xff, 0xff, 0, 0xff, 0xff, 0xff, 0, 0xff]);
    for bytes in [
        &b""[..],
        b"PK",
        b"hello",
        &good[..good.len() - 1],
        &good[..good.len() / 2],
        &good[1..],
        &large,
    ] {
        let found = verify(
            "a pack",
            Cursor::new(bytes),
            &VerifySettings::default(),
            &mut |_| {},
        );
        assert!(matches!(found, Err(PackError::Unreadable { .. })), "{found:?}");
    }
}

#[test]
fn somebody_elses_ledger_with_its_own_key_is_worth_nothing_more_than_unanchored() {
    let (own, forged) = (PackLedger::record(), PackLedger::record_by(9));
    let bytes = forged.files(Subject::Device(device(1)), FROM, TO).zip();
    let alone = verdict(&bytes, &VerifySettings::default());
    assert_eq!(alone.report.verdict.word(), "UNANCHORED", "{alone}");
    let head = own.head("2026-05-21");
    let known = verdict(&bytes, &own.auditor(&[&head]));
    assert_eq!(known.report.verdict.word(), "TAMPERED", "{known}");
    // A head that was kept shows it also where nobody knows the key.
    let no_key = VerifySettings {
        trust: Trust::default(),
        ..own.auditor(&[&head])
    };
    assert_eq!(verdict(&bytes, &no_key).report.verdict.word(), "FORKED");
    // The own key that the forger brought along gives nothing to somebody who takes it from there.
    let key = forged.auditor(&[]);
    assert_eq!(verdict(&bytes, &key).report.verdict.word(), "UNANCHORED");
}

#[test]
fn a_pack_by_somebody_without_the_receipt_key_is_tampered_with() {
    let (own, other) = (PackLedger::record(), PackLedger::record_by(9));
    let mut files = own.files(Subject::Site(site(1)), FROM, TO);
    other.reseal(&mut files);
    let head = own.head("2026-05-21");
    let report = verdict(&files.zip(), &own.auditor(&[&head]));
    assert_eq!(report.report.verdict.word(), "TAMPERED", "{report}");
    assert!(report.report.message.contains("signature"), "{report}");
}

#[test]
fn a_device_of_a_site_whose_entries_are_left_out_is_not_noticed_and_that_is_said() {
    let ledger = PackLedger::record();
    let mut files = ledger.files(Subject::Site(site(1)), FROM, TO);
    // All of device 2: its own entries, its channels' and its readings; its lines stay.
    let gone: Vec<u64> = files
        .entries_with(&device(2))
        .iter()
        .map(|(position, _)| *position)
        .collect();
    ledger.without(&mut files, &gone);
    let head = ledger.head("2026-05-21");
    let report = verdict(&files.zip(), &ledger.auditor(&[&head]));
    assert_ne!(report.report.verdict.word(), "VERIFIED", "{report}");
    assert!(
        report
            .to_string()
            .contains("whether further devices were at the site"),
        "{report}"
    );
}
