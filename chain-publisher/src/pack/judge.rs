//! What a pack's parts come to: signatures, heads, roots kept elsewhere, what can be made again, and the verdict.
//!
//! Invariants: the first of FORMAT §8's verdicts stands; keys that the pack names count for nothing but UNANCHORED.
//! Source: FORMAT §7, §8.
//! Not here: reading the pack (`verify`).

use super::manifest::{FileOf, Manifest};
use super::pass::{Facts, Passed};
use super::report::PackReport;
use super::streams::Day;
use super::verify::PackError;
use super::{CONFIG, POLICY, READINGS_CSV, note_text};
use crate::evidence::{Trust, known_roots};
use crate::heads::{CheckedHead, HeadCheck};
use crate::report::{DayReport, Finding, KeysFrom, Report};
use crate::source::Flaw;
use crate::verify::VerifySettings;
use domain::checkpoint::SignedCheckpoint;
use domain::hash::sha256;
use domain::note::{Note, VerifierKey};
use domain::rotation::{KeyHistory, Role, VouchedBy};
use domain::verify::Verdict;
use domain::{Date, Hash, Position, Timestamp, TreeSize};

/// A pack that was read through.
pub struct Judge<'a> {
    pub settings: &'a VerifySettings,
    pub manifest: &'a Manifest,
    pub signed: &'a SignedCheckpoint,
    pub origin: &'a str,
    pub days: &'a [Day],
    pub heads: &'a [(Date, Vec<u8>)],
}

impl Judge<'_> {
    /// That what can be made from the entries is what they make.
    pub fn derived(&self, passed: &Passed, report: &mut Report) {
        let of = |bytes: &[u8]| FileOf {
            bytes: bytes.len() as u64,
            sha256: sha256(bytes),
        };
        for (name, made) in [
            (READINGS_CSV, Some(passed.csv)),
            (CONFIG, passed.config.as_deref().map(of)),
            (POLICY, Some(of(passed.facts.policy.as_bytes()))),
        ] {
            match made {
                None => report
                    .not_checked
                    .push(format!("{name}, which could not be made again")),
                Some(made) if self.manifest.files.get(name) == Some(&made) => {}
                Some(_) => tampered(report, format!("{name} is not what the entries of the pack give")),
            }
        }
        if passed.facts.origin.as_deref() != Some(self.origin) {
            report.tampered(Flaw {
                position: Some(Position::FIRST),
                what: format!("the ledger calls itself something else than {}", self.origin),
            });
        }
    }

    /// The manifest's signature.
    pub fn note(&self, bytes: &[u8], manifest_sha256: &Hash, facts: &Facts, report: &mut Report) {
        let signed = Note::parse(bytes).and_then(|note| {
            note.verify(&facts.receipt_keys)?;
            Ok(note.text().to_owned())
        });
        match signed {
            Ok(text) if text == note_text(self.origin, manifest_sha256) => {}
            Ok(_) => tampered(
                report,
                "what the receipt key signed is another manifest".to_owned(),
            ),
            Err(error) => tampered(report, format!("the manifest's signature: {error}")),
        }
    }

    /// The verdict.
    ///
    /// # Errors
    /// [`PackError::Evidence`].
    pub fn conclude(&self, passed: Passed, out: &mut PackReport) -> Result<(), PackError> {
        let report = &mut out.report;
        if let Some(flaw) = passed.facts.rotation_flaw.clone() {
            report.tampered(flaw);
        }
        let trust = self.trust(&passed.facts, report);
        let mut anchored = self.checkpoint(&trust, &passed, report);
        let heads = self.heads(&trust, &passed, report);
        let witnessed = heads
            .iter()
            .filter(|head| head.witnesses.quorum)
            .map(|head| head.size);
        anchored = witnessed.fold(anchored, TreeSize::max);
        anchored = anchored.max(self.evidence(&trust, &passed, report)?);
        let open_from = self.range(&passed, report);
        out.values = passed.values;
        report.entries = passed.entries;
        report.withheld = passed.stubs;
        report.streams = passed.checked.streams;
        report.heads = heads.len() as u64;
        self.days(&heads, report);
        self.missing(&passed, report);
        if !self.settings.trust.is_known() {
            anchored = TreeSize::EMPTY;
        }
        report.anchored = anchored;
        let needed = self.needed(open_from);
        if open_from.is_some() || anchored < needed {
            report.or_worse(Verdict::Unanchored {
                anchored,
                size: needed,
            });
        }
        if passed.checked.findings.pruned > 0 {
            report.or_worse(Verdict::Partial {
                pruned: passed.checked.findings.pruned,
                withheld: 0,
                erased: 0,
            });
        }
        self.words(&passed, open_from, needed, report);
        Ok(())
    }

    /// The keys from outside, or those that the pack names.
    fn trust(&self, facts: &Facts, report: &mut Report) -> Trust {
        let outside = &self.settings.trust;
        if outside.is_known() {
            report.keys = outside.keys().map(ToString::to_string).collect();
            report.keys_from = KeysFrom::Outside;
            return over_rotations(outside, self.origin, &facts.keys);
        }
        let named = facts.log_keys.iter().filter(|key| key.name() == self.origin);
        let trust = Trust {
            keys: named.cloned().collect(),
            rotations: facts.keys.rotations().to_vec(),
            ..Trust::default()
        };
        report.keys = trust.keys.iter().map(ToString::to_string).collect();
        report.keys_from = if trust.is_known() {
            KeysFrom::Log
        } else {
            KeysFrom::Nowhere
        };
        trust
    }

    /// The pack's checkpoint; its size where witnesses of the asker's policy confirm it.
    fn checkpoint(&self, trust: &Trust, passed: &Passed, report: &mut Report) -> TreeSize {
        let says = self.signed.checkpoint();
        if passed.roots.get(&says.size().get()) != Some(&says.root()) {
            let what = "the entries and hashes of the pack lead to another root than that of its checkpoint";
            tampered(report, what.to_owned());
        }
        match trust.is_known().then(|| trust.examine(self.origin, self.signed)) {
            Some(Ok(witnesses)) if witnesses.quorum => says.size(),
            Some(Err(error)) => {
                tampered(report, format!("the checkpoint: {error}"));
                TreeSize::EMPTY
            }
            Some(Ok(_)) | None => TreeSize::EMPTY,
        }
    }

    /// Every head by itself, against the one before and against the entries.
    fn heads(&self, trust: &Trust, passed: &Passed, report: &mut Report) -> Vec<CheckedHead> {
        let mut check = HeadCheck::new(self.origin, trust.is_known().then_some(trust));
        let mut heads = Vec::new();
        for (date, bytes) in self.heads {
            match check.take(*date, bytes) {
                Err((position, what)) => report.tampered(Flaw {
                    position,
                    what: format!("the head of {date}: {what}"),
                }),
                Ok(head) if passed.roots.get(&head.size.get()) != Some(&head.root) => report.tampered(Flaw {
                    position: Some(head.position),
                    what: format!("the head of {date} has another root than the entries of the pack"),
                }),
                Ok(head) => {
                    report.notes.extend(head.oddities());
                    heads.push(head);
                }
            }
        }
        heads
    }

    /// What was kept elsewhere; the largest size that it confirms.
    fn evidence(&self, trust: &Trust, passed: &Passed, report: &mut Report) -> Result<TreeSize, PackError> {
        // What the pack says of its keys judges nothing that was kept.
        let own = &self.settings.trust;
        let trust = if own.is_known() { trust } else { own };
        let known = known_roots(&self.settings.evidence, self.origin, trust)?;
        let mut anchored = TreeSize::EMPTY;
        for known in known {
            match passed.roots.get(&known.size.get()) {
                Some(root) if *root == known.root => {
                    anchored = anchored.max(known.size);
                    report.evidence.push(known.source);
                }
                Some(_) => report.or_worse(Verdict::Forked {
                    size: known.size,
                    what: known.source,
                }),
                None => report.not_checked.push(format!(
                    "against {}: this pack shows no root at its size {}",
                    known.source, known.size
                )),
            }
        }
        Ok(anchored)
    }

    /// That the days follow one another over the range; the first one asked for that is not closed.
    fn range(&self, passed: &Passed, report: &mut Report) -> Option<Date> {
        let query = &self.manifest.query;
        let mut incomplete = |what: String| {
            report.list(Finding {
                position: None,
                what: what.clone(),
            });
            report.or_worse(Verdict::Incomplete { what });
        };
        if let Some(first) = self.days.first()
            && first.closed.begins() > query.from
            && first.closed.previous.is_some()
        {
            incomplete(format!(
                "the days before {} are not in the pack",
                first.closed.begins()
            ));
        }
        for pair in self.days.windows(2) {
            if pair[1].closed.begins() != pair[0].closed.date.next() {
                incomplete(format!(
                    "the day after {} is not in the pack",
                    pair[0].closed.date
                ));
            }
        }
        let last = self.days.iter().rfind(|day| day.asked);
        let open_from = match last {
            Some(day) if day.closed.date >= query.to => return None,
            Some(day) => day.closed.date.next(),
            // Before its first entry the ledger had no days.
            None => passed
                .created
                .map_or(query.from, |created| created.max(query.from)),
        };
        let kept = self
            .settings
            .evidence
            .iter()
            .filter_map(|evidence| evidence.closes)
            .max();
        if passed.checked.latest.is_some_and(|date| date > open_from)
            || kept.is_some_and(|date| date >= open_from)
        {
            incomplete(format!(
                "the ledger has closed {open_from}, and the pack leaves that out"
            ));
        }
        Some(open_from)
    }

    /// The size that something from outside has to confirm.
    fn needed(&self, open_from: Option<Date>) -> TreeSize {
        let last = self.days.iter().rfind(|day| day.asked);
        match (open_from, last) {
            (None, Some(day)) => day.position.size_through(),
            _ => self.manifest.size,
        }
    }

    /// What streams and days lack, and what of them does not hold.
    fn missing(&self, passed: &Passed, report: &mut Report) {
        let findings = &passed.checked.findings;
        for flaw in passed.flaws.iter().chain(&findings.tampered) {
            report.tampered(flaw.clone());
        }
        if !passed.owners {
            let what = format!(
                "the first entry of the {} {} is not in the pack",
                self.manifest.query.subject.kind(),
                self.manifest.query.subject.id()
            );
            report.list(Finding {
                position: None,
                what: what.clone(),
            });
            report.or_worse(Verdict::Incomplete { what });
        }
        for what in &findings.incomplete {
            report.list(Finding {
                position: None,
                what: what.clone(),
            });
            report.or_worse(Verdict::Incomplete { what: what.clone() });
        }
    }

    /// The days asked for, with the window in which their entries can have been written.
    fn days(&self, heads: &[CheckedHead], report: &mut Report) {
        let before = |position: Position| {
            let covering = heads.iter().filter(|head| head.position >= position);
            let first_s = covering.filter_map(|head| head.witnesses.first_s).min()?;
            Timestamp::from_millis(i64::try_from(first_s).ok()?.checked_mul(1000)?)
        };
        report.days = self
            .days
            .iter()
            .filter(|day| day.asked)
            .map(|day| DayReport {
                date: day.closed.date,
                position: day.position,
                entries: day.closed.size.get() - day.closed.first_position.get(),
                streams: day.closed.streams.count,
                head: heads.iter().any(|head| head.position == day.position),
                written_before: before(day.position),
            })
            .collect();
    }

    fn words(&self, passed: &Passed, open_from: Option<Date>, needed: TreeSize, report: &mut Report) {
        let query = &self.manifest.query;
        let (kind, id) = (query.subject.kind(), query.subject.id());
        match &report.verdict {
            Verdict::Verified { .. } => {
                report.message = format!(
                    "VERIFIED: {} entries, all that was recorded of the {kind} {id} from {} to {}",
                    passed.entries, query.from, query.to
                );
            }
            Verdict::Unanchored { .. } if !self.settings.trust.is_known() => {
                report.message = format!(
                    "UNANCHORED: {} entries fit together, but no key of yours says whose they are",
                    passed.entries
                );
            }
            Verdict::Unanchored { .. } => {
                report.message = match open_from {
                    Some(open) => format!(
                        "UNANCHORED: {} entries fit together, but {open} is not closed: that nothing of it is missing \
                         cannot be shown yet",
                        passed.entries
                    ),
                    None => format!(
                        "UNANCHORED: {} entries fit together, but nothing of yours confirms the ledger at size {needed} \
                         or beyond",
                        passed.entries
                    ),
                };
            }
            _ => {}
        }
        match report.keys_from {
            KeysFrom::Outside => {}
            KeysFrom::Log => report.notes.push(
                "the key is the one that the pack itself names, which proves nothing about who made it: compare it with \
                 one from elsewhere and give that with --key"
                    .to_owned(),
            ),
            KeysFrom::Nowhere => report
                .notes
                .push("no key is known, so no signature was checked: give the log's key with --key".to_owned()),
        }
        if report.keys_from == KeysFrom::Outside && report.anchored < needed && open_from.is_none() {
            report.notes.push(format!(
                "a head or checkpoint that was kept elsewhere confirms a pack that has a root at its size: give one with \
                 --head, best the head of {} or of the day after",
                query.to
            ));
        }
        report.checked.push(format!(
            "{} entries: form, hashes, order, times; completeness of {} streams over {} days",
            passed.entries,
            passed.checked.streams,
            report.days.len()
        ));
        report
            .checked
            .push("readings.csv, config.json and policy against the entries".to_owned());
        if report.keys_from != KeysFrom::Nowhere {
            report
                .checked
                .push("the signatures of the checkpoint, the heads and the manifest".to_owned());
        }
        if !report.evidence.is_empty() {
            report
                .checked
                .push(format!("against {}", report.evidence.join(", ")));
        }
        self.not_checked(passed, open_from, report);
    }

    fn not_checked(&self, passed: &Passed, open_from: Option<Date>, report: &mut Report) {
        let query = &self.manifest.query;
        let not = &mut report.not_checked;
        if let Some(open) = open_from {
            not.push(format!("completeness of {open} to {}: not closed yet", query.to));
        }
        if passed.stubs > passed.checked.findings.pruned {
            not.push(format!(
                "{} withheld entries: of those about tokens of devices, which hold hashes of secrets, no pack shows more",
                passed.stubs - passed.checked.findings.pruned
            ));
        }
        if query.subject.kind() == "site" {
            not.push(
                "whether further devices were at the site: a pack cannot show that there were none"
                    .to_owned(),
            );
        }
        not.push(
            "of configuration that did not change in these days, whether its last change before them was left out"
                .to_owned(),
        );
        not.push(
            "whether the ledger has further KeyRotated, WitnessPolicySet or RetentionPolicySet, and whether anything that \
             is pruned was under a hold"
                .to_owned(),
        );
        not.push(
            "texts that are sealed, and the verifiers and the README.txt that the pack brings along"
                .to_owned(),
        );
        not.push(
            "the order of arrival within one commit, what was dropped before a receipt was given, and whether sensors \
             told the truth"
                .to_owned(),
        );
    }
}

fn tampered(report: &mut Report, what: String) {
    report.tampered(Flaw { position: None, what });
}

/// What the rotations in a pack lead to, where one of the asker's keys stands on their way; one that the recovery key
/// vouched for counts if the asker has that key, or the new one.
fn over_rotations(outside: &Trust, origin: &str, history: &KeyHistory) -> Trust {
    let has = |key: &VerifierKey| outside.keys().any(|known| known == key);
    let of_log = || history.rotations().iter().filter(|it| it.role == Role::Log);
    let begins = history.key_at(Role::Log, TreeSize(1)).is_some_and(has);
    let mut believed = begins || of_log().any(|it| has(&it.new));
    let last_known = of_log()
        .enumerate()
        .filter(|(_, it)| has(&it.new))
        .map(|(n, _)| n)
        .last();
    // A recovery key that the asker has vouches for the next one, too.
    let mut recoveries: Vec<&VerifierKey> = Vec::new();
    for it in history.rotations().iter().filter(|it| it.role == Role::Recovery) {
        if has(&it.voucher) || recoveries.contains(&&it.voucher) {
            recoveries.push(&it.new);
        }
    }
    for (n, rotation) in of_log().enumerate() {
        let voucher = &rotation.voucher;
        let vouched = rotation.by == VouchedBy::Old || has(voucher) || recoveries.contains(&voucher);
        // Beyond the newest key that the asker has, each step must be vouched for by one that they believe.
        believed &= vouched || last_known.is_some_and(|known| n <= known);
    }
    debug_assert!(outside.origin().is_none_or(|own| own == origin));
    Trust {
        rotations: if believed {
            history.rotations().to_vec()
        } else {
            Vec::new()
        },
        ..outside.clone()
    }
}
