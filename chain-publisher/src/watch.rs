//! One look at a log's newest checkpoint: whether it continues the one that was seen last.
//!
//! Invariants: whether it does is computed from tiles that were tied to the new root; what was seen last stays as it is
//! until the new one is known to continue it.
//! Source: FORMAT §8 (TRUNCATED, FORKED); C2SP tlog-witness (what a witness checks).
//! Not here: where the state is kept, waiting, telling anybody (`bin/daybook-verify`).

use crate::evidence::Evidence;
use crate::report::Report;
use crate::source::LogSource;
use crate::tree::{SignedTree, newest};
use crate::verify::{VerifyError, VerifySettings};
use domain::verify::Verdict;

/// What was seen.
#[derive(Debug, Clone)]
pub struct Look {
    /// The verdict.
    pub report: Report,
    /// The checkpoint, where the log gave one that can be read: to be kept if the verdict is not one of exit code 1, and
    /// to be shown to others if it is.
    pub seen: Option<String>,
}

/// Looks once. `kept` is what was seen last.
///
/// # Errors
/// [`VerifyError`] where the log does not answer, what was kept is of another log, or no key is known.
pub fn look(
    source: &dyn LogSource,
    settings: &VerifySettings,
    kept: Option<&Evidence>,
) -> Result<Look, VerifyError> {
    if !settings.trust.is_known() {
        return Err(VerifyError::Settings(
            "whose checkpoints are believed? give the log's key with --key, or a policy".to_owned(),
        ));
    }
    let mut settings = settings.clone();
    settings.evidence.extend(kept.cloned());
    let mut report = Report::new(source.describe(), settings.allow_partial);
    let Some(signed) = newest(source, &mut report)? else {
        return Ok(Look { report, seen: None });
    };
    let seen = Some(signed.encode());
    let Some(tree) = SignedTree::at(source, signed, &settings, &mut report)? else {
        return Ok(Look { report, seen });
    };
    let anchored = tree.hold_against_evidence(&settings, &mut report)?;
    let size = tree.size();
    // What is asked is whether it continues, not who confirms what came since.
    let continues = !settings.evidence.is_empty() || anchored == size;
    report.or_worse(if continues {
        Verdict::Verified { size }
    } else {
        Verdict::Unanchored { anchored, size }
    });
    report.say_outside("the signature of the checkpoint");
    report
        .checked
        .push("the tree from its tiles, up to its signed root".to_owned());
    report.not_checked.push(
        "the entries, what lies after this checkpoint, and whether others are shown the same one".to_owned(),
    );
    report.concerning(&match kept {
        Some(kept) => format!(
            "the log of {size} entries continues what was seen at {}",
            kept.size()
        ),
        None => format!("the log of {size} entries is seen for the first time"),
    });
    Ok(Look { report, seen })
}
