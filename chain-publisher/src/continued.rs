//! The log that a log says it continues (FORMAT §1, `continues`): whether that one was there, with that root.
//!
//! Invariant: what the new log says of the old one is a hint until it was held against the old log, or against a head or
//! checkpoint of it that was kept; of the old log's own entries only those are read that were carried over.
//! Not here: beginning one (`api`), each entry that was carried over (`carried`).

use crate::carried;
use crate::directory::Directory;
use crate::evidence::{Evidence, Trust};
use crate::report::Report;
use crate::source::{Flaw, LogSource};
use crate::tree::SignedTree;
use crate::url::Url;
use crate::verify::{VerifyError, VerifySettings};
use domain::TreeSize;
use domain::note::VerifierKey;
use domain::tlog_proof::TLOG_PROOF_BYTES_MAX;
use domain::verify::{Carried, Verdict};
use std::io::Read;
use std::path::Path;

/// Where the old log is, or what was kept of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Continued {
    /// A URL, a directory in tlog-tiles layout, or the file of a head or checkpoint.
    pub place: String,
    /// The old log's keys, from elsewhere.
    pub keys: Vec<VerifierKey>,
}

/// The log that says so.
pub(crate) struct New<'a> {
    /// Where it is read from.
    pub source: &'a dyn LogSource,
    /// How many entries it has.
    pub size: TreeSize,
    /// The entries that it carried over.
    pub carried: &'a [Carried],
}

/// Holds what a log says of the one that it continues against that one.
///
/// # Errors
/// [`VerifyError`] where the old log does not answer, or what was kept cannot be used.
pub(crate) fn check(old: Option<&Continued>, new: &New<'_>, report: &mut Report) -> Result<(), VerifyError> {
    let (old, says) = match (old, report.continues.clone()) {
        (None, None) => return Ok(()),
        (None, Some(says)) => {
            report.not_checked.push(format!(
                "that the log {} was there at size {} with that root: name it, or a head of it that you kept, with \
                 --continues",
                says.origin, says.size
            ));
            not_held(new, &says.origin, report);
            return Ok(());
        }
        (Some(old), None) => {
            return Err(VerifyError::Settings(format!(
                "this log does not say that it continues another, and {} was given as the one",
                old.place
            )));
        }
        (Some(old), Some(says)) => (old, says),
    };
    let settings = VerifySettings {
        origin: Some(says.origin.clone()),
        trust: Trust {
            keys: old.keys.clone(),
            ..Trust::default()
        },
        ..VerifySettings::default()
    };
    let path = Path::new(&old.place);
    if !old.place.contains("://") && !path.is_dir() {
        not_held(new, &says.origin, report);
        return against_kept(&settings, old, path, report);
    }
    let source: Box<dyn LogSource> = if old.place.contains("://") {
        Box::new(Url::new(&old.place, None).map_err(|error| VerifyError::Settings(error.to_string()))?)
    } else {
        Box::new(Directory::open(path)?)
    };
    let mut of_old = Report::new(source.describe(), false);
    let Some(tree) = SignedTree::open(&*source, &settings, &mut of_old)? else {
        return old_does_not_hold(&of_old, report);
    };
    let agrees = tree.agrees(says.size, &says.root, "the log that continues it", &mut of_old)?;
    if !agrees {
        return old_does_not_hold(&of_old, report);
    }
    report.checked.push(format!(
        "that {} had {} entries and that root, from its tiles, up to its signed root{}",
        says.origin,
        says.size,
        if old.keys.is_empty() {
            "; its signature was not checked: give its key with --continues-key"
        } else {
            ""
        }
    ));
    if tree.size() > says.size {
        report.notes.push(format!(
            "{} has {} entries: those from {} on are not part of what is continued here",
            says.origin,
            tree.size(),
            says.size.next_position()
        ));
    }
    if new.carried.is_empty() || matches!(report.verdict, Verdict::Tampered { .. }) {
        return Ok(());
    }
    carried::check((new.source, new.size), &*source, &tree, new.carried, report)
}

/// Only the old log itself tells what it held.
fn not_held(new: &New<'_>, origin: &str, report: &mut Report) {
    if !new.carried.is_empty() {
        report.not_checked.push(format!(
            "that {} entries which were carried over were those of {origin}: name that log itself with --continues",
            new.carried.len()
        ));
    }
}

/// Against a head or checkpoint alone: of the same size it decides, of another it only says what was lost.
fn against_kept(
    settings: &VerifySettings,
    old: &Continued,
    path: &Path,
    report: &mut Report,
) -> Result<(), VerifyError> {
    let Some(says) = report.continues.clone() else {
        return Ok(());
    };
    let unusable = |what: String| VerifyError::Settings(format!("{}: {what}", old.place));
    let mut bytes = Vec::new();
    let file = std::fs::File::open(path).map_err(|error| unusable(error.to_string()))?;
    file.take(TLOG_PROOF_BYTES_MAX as u64 + 1)
        .read_to_end(&mut bytes)
        .map_err(|error| unusable(error.to_string()))?;
    let kept = Evidence::parse(&old.place, &bytes)?;
    if kept.checkpoint.checkpoint().origin() != says.origin {
        return Err(unusable(format!("it is not of the log {}", says.origin)));
    }
    if settings.trust.is_known() {
        settings
            .trust
            .examine(&says.origin, &kept.checkpoint)
            .map_err(unusable)?;
    }
    if kept.size() == says.size && kept.root() != says.root {
        report.or_worse(Verdict::Forked {
            size: says.size,
            what: format!(
                "{} has the root {}, and the log says that it continues {}",
                old.place,
                kept.root(),
                says.root
            ),
        });
    } else if kept.size() == says.size {
        report
            .checked
            .push(format!("what it says that it continues, against {}", old.place));
    } else if kept.size() > says.size {
        report.notes.push(format!(
            "{} was kept at size {}, and the log continues {} from size {} on: what lay between is not in what is \
             continued",
            old.place,
            kept.size(),
            says.origin,
            says.size
        ));
    } else {
        report.not_checked.push(format!(
            "that {} had that root at size {}: {} is of size {}",
            says.origin,
            says.size,
            old.place,
            kept.size()
        ));
    }
    Ok(())
}

fn old_does_not_hold(old: &Report, report: &mut Report) -> Result<(), VerifyError> {
    report.tampered(Flaw {
        position: Some(domain::Position::FIRST),
        what: format!("what it says that it continues: {}", old.message),
    });
    Ok(())
}
