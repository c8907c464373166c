//! Single checkpoints against what is known from elsewhere: which of them somebody outside confirms.
//!
//! Without the log only an equal checkpoint confirms one; with it, any other of the same tree that covers what is asked.
//! Source: FORMAT §8.
//! Not here: their signatures (`tree::signatures`), what they belong to (`kept_heads`, `one_proof`).

use crate::evidence::known_roots;
use crate::report::Report;
use crate::source::LogSource;
use crate::tree::SignedTree;
use crate::verify::{VerifyError, VerifySettings};
use domain::verify::Verdict;
use domain::{Hash, TreeSize};

/// A checkpoint that is asked about.
pub struct Asked<'a> {
    /// What it is called.
    pub name: &'a str,
    /// Its size.
    pub size: TreeSize,
    /// Its root.
    pub root: Hash,
    /// What is asked about lies below this size of its tree: an earlier confirmation is enough.
    pub needs: TreeSize,
    /// Enough witnesses have cosigned it.
    pub quorum: bool,
}

impl Asked<'_> {
    /// Whether it is confirmed, where somebody outside confirms its tree up to that size.
    pub fn is_confirmed(&self, anchored: TreeSize) -> bool {
        self.needs <= anchored
    }
}

/// Tells for each up to which size somebody outside confirms its tree. What contradicts one is a finding.
///
/// # Errors
/// [`VerifyError`] where the log does not answer, or what was kept cannot be used.
pub fn confirm(
    asked: &[Asked<'_>],
    origin: &str,
    settings: &VerifySettings,
    log: Option<&dyn LogSource>,
    report: &mut Report,
) -> Result<Vec<TreeSize>, VerifyError> {
    let mut anchored = match log {
        None => beside(asked, origin, settings, report)?,
        Some(log) => within(asked, settings, log, report)?,
    };
    for (one, anchored) in asked.iter().zip(&mut anchored) {
        if !settings.trust.is_known() {
            *anchored = TreeSize::EMPTY;
        } else if one.quorum {
            *anchored = one.size;
        }
    }
    Ok(anchored)
}

/// Against what was kept alone.
fn beside(
    asked: &[Asked<'_>],
    origin: &str,
    settings: &VerifySettings,
    report: &mut Report,
) -> Result<Vec<TreeSize>, VerifyError> {
    let mut anchored = vec![TreeSize::EMPTY; asked.len()];
    for known in known_roots(&settings.evidence, origin, &settings.trust)? {
        let mut met = false;
        for (one, anchored) in asked.iter().zip(&mut anchored) {
            if one.size != known.size {
                continue;
            }
            met = true;
            if one.root == known.root {
                *anchored = one.size;
            } else {
                report.or_worse(Verdict::Forked {
                    size: one.size,
                    what: format!(
                        "{} has the root {}, {} {}",
                        known.source, known.root, one.name, one.root
                    ),
                });
            }
        }
        if met {
            report.evidence.push(known.source);
        } else {
            report.notes.push(format!(
                "{} is of the size {}, which nothing here has: name the log with --log, and its tree shows whether it \
                 fits",
                known.source, known.size
            ));
        }
    }
    Ok(anchored)
}

/// Within the tree of the log.
fn within(
    asked: &[Asked<'_>],
    settings: &VerifySettings,
    log: &dyn LogSource,
    report: &mut Report,
) -> Result<Vec<TreeSize>, VerifyError> {
    let (size, root, signed) = (report.size, report.root, report.signed);
    let Some(tree) = SignedTree::open(log, settings, report)? else {
        return Ok(vec![TreeSize::EMPTY; asked.len()]);
    };
    let anchored = tree.hold_against_evidence(settings, report)?;
    let mut confirmed = Vec::new();
    for one in asked {
        let agrees = tree.agrees(one.size, &one.root, one.name, report)?;
        confirmed.push(if agrees {
            anchored.min(one.size)
        } else {
            TreeSize::EMPTY
        });
    }
    report.checked.push(format!(
        "that {}, of {} entries, continues what was given: from its tiles, up to its signed root",
        log.describe(),
        tree.size()
    ));
    // The report is about what was asked.
    (report.size, report.root, report.signed) = (size, root, signed);
    Ok(confirmed)
}
