//! What a verification says in the end: the verdict, what it rests on, what was checked and what was not.
//!
//! Invariants: the first of FORMAT §8's verdicts stands; whatever was not checked is said; the JSON form only ever gains
//! members.
//! Source: FORMAT §8.
//! Not here: finding anything (`verify`).

use crate::source::Flaw;
use domain::continues::Continues;
use domain::rotation::{Role, Rotation, RotationReason, VouchedBy};
use domain::verify::Verdict;
use domain::{Date, Hash, Position, Timestamp, TreeSize};
use serde::Serialize;
use std::fmt;

/// Findings that are listed; more are counted.
pub const FINDINGS_MAX: usize = 50;

/// Where the keys that signatures were checked with come from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum KeysFrom {
    /// From who asks: they count.
    Outside,
    /// From the log itself: a hint, no more.
    Log,
    /// There are none: no signature was checked.
    Nowhere,
}

/// A day that the log closed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct DayReport {
    /// The day.
    pub date: Date,
    /// The position of its `DayClosed`.
    pub position: Position,
    /// Entries of the day.
    pub entries: u64,
    /// Streams of the day.
    pub streams: u64,
    /// Whether its head was there and holds.
    pub head: bool,
    /// Its entries were written before this time, as far as cosignatures tell.
    pub written_before: Option<Timestamp>,
}

/// A rotation of a key.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct RotationReport {
    /// Where it stands.
    pub position: Position,
    /// What the key is for.
    pub role: Role,
    /// The key from there on.
    pub new: String,
    /// Why.
    pub reason: RotationReason,
    /// Whether the recovery key vouched for it, instead of the key before.
    pub by_recovery: bool,
}

impl RotationReport {
    pub(crate) fn of(rotation: &Rotation) -> Self {
        Self {
            position: rotation.position,
            role: rotation.role,
            new: rotation.new.to_string(),
            reason: rotation.reason,
            by_recovery: rotation.by == VouchedBy::Recovery,
        }
    }
}

impl fmt::Display for RotationReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let by = if self.by_recovery {
            "the recovery key"
        } else {
            "the key before"
        };
        let (at, role, reason) = (self.position, self.role, self.reason.as_str());
        write!(
            f,
            "position {at}: the {role} key becomes {} ({reason}; signed by it and {by})",
            self.new
        )
    }
}

/// Something that does not hold.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// The first position that it concerns.
    pub position: Option<Position>,
    /// What, in words.
    pub what: String,
}

/// What a verification found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Report {
    /// The verdict's word.
    #[serde(rename = "verdict", serialize_with = "word")]
    pub verdict: Verdict,
    /// The verdict in words.
    pub message: String,
    /// The first position that is wrong.
    pub position: Option<Position>,
    /// How the process ends.
    pub exit_code: u8,
    /// What was read.
    pub source: String,
    /// Which log it is.
    pub origin: Option<String>,
    /// The keys that signatures were checked with.
    pub keys: Vec<String>,
    /// Where they come from.
    pub keys_from: KeysFrom,
    /// The keys that signed the log's own latest checkpoint, in words.
    pub signed_by: Vec<String>,
    /// The rotations of keys that the log's entries tell.
    pub rotations: Vec<RotationReport>,
    /// The ledger that it says that it continues.
    pub continues: Option<Continues>,
    /// The witness policy that it says is in force: a hint.
    pub log_policy: Option<String>,
    /// Entries, withheld ones included.
    pub size: TreeSize,
    /// The root over them, base64.
    pub root: Hash,
    /// The size of the log's own latest checkpoint.
    pub signed: Option<TreeSize>,
    /// Up to this size something from outside confirms them.
    pub anchored: TreeSize,
    /// Entries whose bytes were hashed and read.
    pub entries: u64,
    /// Entries whose bytes were withheld.
    pub withheld: u64,
    /// Entries whose bytes retention removed.
    pub pruned: u64,
    /// Streams whose chains were followed.
    pub streams: u64,
    /// Heads of days that hold.
    pub heads: u64,
    /// Tiles that were compared.
    pub tiles: u64,
    /// Days that are closed, rising.
    pub days: Vec<DayReport>,
    /// What from outside was used.
    pub evidence: Vec<String>,
    /// Everything that does not hold, by position, up to a limit.
    pub findings: Vec<Finding>,
    /// How many findings are not listed.
    pub findings_not_listed: u64,
    /// Damage to files that are derived from the entries and can be made again.
    pub derived_damage: Vec<Finding>,
    /// What was checked, in words.
    pub checked: Vec<String>,
    /// What was not checked, in words.
    pub not_checked: Vec<String>,
    /// What else the asker should know.
    pub notes: Vec<String>,
    #[serde(skip)]
    pub(crate) allow_partial: bool,
}

fn word<S: serde::Serializer>(verdict: &Verdict, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(verdict.word())
}

impl Report {
    /// Without findings, of nothing yet; also where a source cannot even be opened.
    pub fn new(source: String, allow_partial: bool) -> Self {
        let mut report = Self {
            verdict: Verdict::Verified {
                size: TreeSize::EMPTY,
            },
            message: String::new(),
            position: None,
            exit_code: 0,
            source,
            origin: None,
            keys: Vec::new(),
            keys_from: KeysFrom::Nowhere,
            signed_by: Vec::new(),
            rotations: Vec::new(),
            continues: None,
            log_policy: None,
            size: TreeSize::EMPTY,
            root: Hash::empty_root(),
            signed: None,
            anchored: TreeSize::EMPTY,
            entries: 0,
            withheld: 0,
            pruned: 0,
            streams: 0,
            heads: 0,
            tiles: 0,
            days: Vec::new(),
            evidence: Vec::new(),
            findings: Vec::new(),
            findings_not_listed: 0,
            derived_damage: Vec::new(),
            checked: Vec::new(),
            not_checked: Vec::new(),
            notes: Vec::new(),
            allow_partial,
        };
        report.judge(Verdict::Verified {
            size: TreeSize::EMPTY,
        });
        report
    }

    /// This verdict stands unless a worse one does.
    pub fn or_worse(&mut self, verdict: Verdict) {
        let stands = self.verdict.clone().or_worse(verdict);
        self.judge(stands);
    }

    /// The verdict is this one, whatever it was.
    pub(crate) fn judge(&mut self, verdict: Verdict) {
        self.position = match verdict {
            Verdict::Tampered { position, .. } => position,
            _ => None,
        };
        self.message = verdict.to_string();
        self.exit_code = if self.allow_partial {
            verdict.exit_code_allowing_partial()
        } else {
            verdict.exit_code()
        };
        self.verdict = verdict;
    }

    /// The verdict in words, where it is about `what`, a statement that holds, and not about all entries of a log.
    pub(crate) fn concerning(&mut self, what: &str) {
        let word = self.verdict.word();
        self.message = match self.verdict {
            Verdict::Verified { .. } => format!("{word}: {what}"),
            Verdict::Unanchored { anchored, .. } if anchored.is_empty() => {
                format!("{word}: {what}, but nobody outside confirms it")
            }
            Verdict::Unanchored { anchored, .. } => {
                format!("{word}: {what}, but it is confirmed from outside only up to size {anchored}")
            }
            _ => return,
        };
    }

    /// Says whether signatures were checked, and what was kept elsewhere and held against it.
    pub(crate) fn say_outside(&mut self, what: &str) {
        if self.keys_from == KeysFrom::Nowhere {
            self.notes.push(
                "no key is known, so no signature was checked: give the log's key with --key".to_owned(),
            );
        } else {
            self.checked.push(what.to_owned());
        }
        self.say_evidence();
    }

    /// Says what was kept elsewhere and held against it.
    pub(crate) fn say_evidence(&mut self) {
        if !self.evidence.is_empty() {
            self.checked.push(format!("against {}", self.evidence.join(", ")));
        }
    }

    /// Takes note of something that does not hold: the log is tampered with.
    pub fn tampered(&mut self, flaw: Flaw) {
        let Flaw { position, what } = flaw;
        self.list(Finding {
            position,
            what: what.clone(),
        });
        self.or_worse(Verdict::Tampered { position, what });
    }

    /// Lists a finding, once.
    pub(crate) fn list(&mut self, finding: Finding) {
        if self.findings.contains(&finding) {
            return;
        }
        if self.findings.len() == FINDINGS_MAX {
            self.findings_not_listed += 1;
            return;
        }
        let key = |f: &Finding| f.position.map_or(u64::MAX, Position::get);
        let at = self.findings.partition_point(|f| key(f) <= key(&finding));
        self.findings.insert(at, finding);
    }

    /// Takes note of damage that can be made good from the entries.
    pub fn derived_damage(&mut self, flaw: Flaw) {
        let Flaw { position, what } = flaw;
        if self.derived_damage.len() < FINDINGS_MAX {
            self.derived_damage.push(Finding { position, what });
        }
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.position {
            Some(position) => write!(f, "position {position}: {}", self.what),
            None => f.write_str(&self.what),
        }
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}", self.message)?;
        writeln!(f)?;
        writeln!(f, "  read        {}", self.source)?;
        writeln!(f, "  log         {}", self.origin.as_deref().unwrap_or("unknown"))?;
        writeln!(f, "  size        {}", self.size)?;
        writeln!(f, "  root        {}", self.root)?;
        match self.signed {
            Some(signed) => writeln!(f, "  signed      up to {signed}")?,
            None => writeln!(f, "  signed      nothing")?,
        }
        writeln!(f, "  confirmed   up to {} from outside", self.anchored)?;
        for key in &self.keys {
            let from = match self.keys_from {
                KeysFrom::Outside => "",
                KeysFrom::Log | KeysFrom::Nowhere => "   (as the log itself names it)",
            };
            writeln!(f, "  key         {key}{from}")?;
        }
        for signer in &self.signed_by {
            writeln!(f, "  signed by   {signer}")?;
        }
        if let Some(continues) = &self.continues {
            writeln!(f, "  continues   {continues}, as it says")?;
        }
        if let (Some(first), Some(last)) = (self.days.first(), self.days.last()) {
            writeln!(
                f,
                "  days        {}, from {} to {}",
                self.days.len(),
                first.date,
                last.date
            )?;
        }
        for day in self.days.iter().filter(|day| day.written_before.is_some()) {
            if let Some(before) = day.written_before {
                writeln!(
                    f,
                    "  {}  {} entries, written before {before}",
                    day.date, day.entries
                )?;
            }
        }
        list(f, "Keys over time", &self.rotations)?;
        list(f, "Does not hold", &self.findings)?;
        if self.findings_not_listed > 0 {
            writeln!(f, "  - and {} more", self.findings_not_listed)?;
        }
        list(
            f,
            "Damaged, but made again from the entries",
            &self.derived_damage,
        )?;
        list(f, "Checked", &self.checked)?;
        list(f, "Not checked", &self.not_checked)?;
        list(f, "Note", &self.notes)
    }
}

fn list(f: &mut fmt::Formatter<'_>, title: &str, lines: &[impl fmt::Display]) -> fmt::Result {
    if lines.is_empty() {
        return Ok(());
    }
    writeln!(f, "\n{title}:")?;
    lines.iter().try_for_each(|line| writeln!(f, "  - {line}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn findings_stand_by_position_and_the_first_is_the_verdict() {
        let mut report = Report::new("a test".to_owned(), false);
        for position in [9, 3, 3, 5] {
            report.tampered(Flaw {
                position: Some(Position(position)),
                what: "wrong".to_owned(),
            });
        }
        let positions: Vec<_> = report.findings.iter().map(|f| f.position).collect();
        assert_eq!(positions, [3, 5, 9].map(|n| Some(Position(n))));
        assert_eq!((report.position, report.exit_code), (Some(Position(3)), 1));
        for n in 0..100 {
            report.tampered(Flaw {
                position: Some(Position(n + 100)),
                what: "wrong".to_owned(),
            });
        }
        assert_eq!(
            (report.findings.len(), report.findings_not_listed),
            (FINDINGS_MAX, 53)
        );
    }
}
