//! Single checkpoints against what is known from elsewhere: which of them somebody outside confirms.
//!
//! Without the log only an equal checkpoint confirms one; with it, any later one that the log's tree leads to.
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
    /// Enough witnesses have cosigned it.
    pub quorum: bool,
}

/// Tells for each whether it is confirmed. What contradicts one is a finding.
///
/// # Errors
/// [`VerifyError`] where the log does not answer, or what was kept cannot be used.
pub fn confirm(
    asked: &[Asked<'_>],
    origin: &str,
    settings: &VerifySettings,
    log: Option<&dyn LogSource>,
    report: &mut Report,
) -> Result<Vec<bool>, VerifyError> {
    let mut confirmed: Vec<bool> = match log {
        None => beside(asked, origin, settings, report)?,
        Some(log) => within(asked, settings, log, report)?,
    };
    for (one, confirmed) in asked.iter().zip(&mut confirmed) {
        *confirmed = (*confirmed || one.quorum) && settings.trust.is_known();
    }
    Ok(confirmed)
}

/// Against what was kept alone.
fn beside(
    asked: &[Asked<'_>],
    origin: &str,
    settings: &VerifySettings,
    report: &mut Report,
) -> Result<Vec<bool>, VerifyError> {
    let mut confirmed = vec![false; asked.len()];
    for known in known_roots(&settings.evidence, origin, &settings.trust)? {
        let mut met = false;
        for (one, confirmed) in asked.iter().zip(&mut confirmed) {
            if one.size != known.size {
                continue;
            }
            met = true;
            if one.root == known.root {
                *confirmed = true;
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
    Ok(confirmed)
}

/// Within the tree of the log.
fn within(
    asked: &[Asked<'_>],
    settings: &VerifySettings,
    log: &dyn LogSource,
    report: &mut Report,
) -> Result<Vec<bool>, VerifyError> {
    let (size, root, signed) = (report.size, report.root, report.signed);
    let Some(tree) = SignedTree::open(log, settings, report)? else {
        return Ok(vec![false; asked.len()]);
    };
    let anchored = tree.hold_against_evidence(settings, report)?;
    let mut confirmed = Vec::new();
    for one in asked {
        let agrees = tree.agrees(one.size, &one.root, one.name, report)?;
        confirmed.push(agrees && one.size <= anchored);
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
