//! A receipt against the log: each position that it names must hold that leaf hash.
//!
//! Invariants: a receipt that no key of the log signed is itself what does not hold, and says nothing about the log; one
//! that a key signed and the log does not keep is an omission, proven. A log that has not come so far yet is not
//! accused: it is only where its own entries are later in time.
//! Source: FORMAT §7, §8.
//! Not here: reading the text (this folder's `mod`), whose keys count (`keys`).

use super::keys::ReceiptKeys;
use super::{Became, Receipt, ReceiptText};
use crate::heads::HeadCheck;
use crate::report::Report;
use crate::source::{Flaw, LogSource, SourceError};
use crate::tree::{SignedTree, TreeError};
use crate::verify::{VerifyError, VerifySettings};
use domain::entry::Entry;
use domain::hash::{leaf_hash, sha256};
use domain::note::{Note, NoteError, VerifierKey};
use domain::rotation::{Role, Rotation};
use domain::verify::Verdict;
use domain::{Position, Timestamp, TreeSize};

/// A receipt and what it is held against.
pub struct ReceiptQuestion<'a> {
    /// What it is called.
    pub name: &'a str,
    /// The signed note, or the JSON answer that carried it.
    pub receipt: &'a [u8],
    /// The body of the request.
    pub body: Option<&'a [u8]>,
    /// The JSON answer that carried the receipt, for the entries in it.
    pub answer: Option<&'a [u8]>,
    /// Receipt keys that are known from elsewhere.
    pub keys: &'a [VerifierKey],
}

/// Verifies a receipt against its log.
///
/// # Errors
/// [`VerifyError`] where the log does not answer, or what was given cannot be used.
pub fn verify_receipt(
    source: &dyn LogSource,
    question: &ReceiptQuestion<'_>,
    settings: &VerifySettings,
) -> Result<Report, VerifyError> {
    let mut report = Report::new(
        format!("the receipt {}, against {}", question.name, source.describe()),
        settings.allow_partial,
    );
    let unusable = |why: String| VerifyError::Settings(format!("{}: {why}", question.name));
    let own = carried(question.receipt).map_err(unusable)?;
    let bytes = own.as_ref().map_or(question.receipt, |own| own.note.as_bytes());
    let note = Note::parse(bytes).map_err(|error| unusable(error.to_string()))?;
    let text = ReceiptText::parse(note.text()).map_err(|error| unusable(error.to_string()))?;
    let answer = match question.answer {
        None => own,
        Some(answer) => Some(
            carried(answer)
                .map_err(|why| VerifyError::Settings(format!("the answer: {why}")))?
                .ok_or_else(|| VerifyError::Settings("the answer is not JSON".to_owned()))?,
        ),
    };
    let Some(tree) = SignedTree::open(source, settings, &mut report)? else {
        return Ok(report);
    };
    if text.origin != tree.origin() {
        let (found, origin) = (&text.origin, tree.origin());
        return Err(unusable(format!("it is of the log {found}, not of {origin}")));
    }
    let anchored = tree.hold_against_evidence(settings, &mut report)?;
    if signed(&tree, &note, question, &mut report)? {
        positions(&tree, source, &text, &mut report)?;
    }
    body(&text, question.body, &mut report);
    entries(&text, answer.as_ref(), &mut report);
    conclude(&tree, &text, anchored, &mut report);
    Ok(report)
}

/// The receipt in a JSON answer, or `None` where it is no JSON.
fn carried(bytes: &[u8]) -> Result<Option<Receipt>, String> {
    if !bytes.trim_ascii_start().starts_with(b"{") {
        return Ok(None);
    }
    let mut json: serde_json::Value = serde_json::from_slice(bytes).map_err(|error| error.to_string())?;
    let receipt = match json.get_mut("receipt") {
        Some(receipt) => receipt.take(),
        None => json,
    };
    let receipt = serde_json::from_value(receipt)
        .map_err(|error| format!("there is no receipt in it, which has note and entries: {error}"))?;
    Ok(Some(receipt))
}

/// Whether a key of the log signed it, or one that is known from elsewhere.
fn signed(
    tree: &SignedTree<'_>,
    note: &Note,
    question: &ReceiptQuestion<'_>,
    report: &mut Report,
) -> Result<bool, VerifyError> {
    // Only what is named so signs receipts: a log's own key does not.
    let name = format!("{}/receipt", tree.origin());
    // A rotation that the log's own key signed leads from one receipt key to the next.
    let rotated = tree.rotations().iter().filter(|it| it.role == Role::Receipt);
    let rotated: Vec<&Rotation> = rotated.collect();
    let verify = |keys: &[VerifierKey]| {
        let mut known: Vec<&VerifierKey> = keys.iter().collect();
        for rotation in &rotated {
            if rotation.old.as_ref().is_some_and(|old| known.contains(&old)) {
                known.push(&rotation.new);
            }
        }
        let named = known.into_iter().filter(|key| key.name() == name);
        note.verify(named).map(|_| ())
    };
    if !question.keys.is_empty() {
        report
            .checked
            .push("the receipt's signature, with the key that was given".to_owned());
        return Ok(holds(verify(question.keys), report));
    }
    let mut keys = match ReceiptKeys::first(tree) {
        Ok(keys) => keys,
        Err(error) => return error.told(report).map(|()| false),
    };
    if verify(&keys.keys) == Err(NoteError::Unsigned)
        && let Err(error) = keys.add_rotated(tree)
    {
        return error.told(report).map(|()| false);
    }
    if keys.keys.is_empty() {
        return Err(VerifyError::Settings(
            "no receipt key is known: name it with --receipt-key (`daybook key show` prints it on its second line), \
             or give an auditor's token, so that the log's first entry can be read"
                .to_owned(),
        ));
    }
    report
        .checked
        .push("the receipt's signature, with the keys that the log names".to_owned());
    Ok(holds(verify(&keys.keys), report))
}

fn holds(verified: Result<(), NoteError>, report: &mut Report) -> bool {
    let Err(error) = verified else {
        return true;
    };
    report.tampered(Flaw {
        position: None,
        what: format!("the receipt itself, which so says nothing about the log: {error}"),
    });
    false
}

/// Every position must hold that leaf hash.
fn positions(
    tree: &SignedTree<'_>,
    source: &dyn LogSource,
    text: &ReceiptText,
    report: &mut Report,
) -> Result<(), VerifyError> {
    let mut beyond: Option<Position> = None;
    for (position, leaf) in &text.entries {
        if !tree.size().contains(*position) {
            beyond = beyond.max(Some(*position));
            continue;
        }
        match tree.leaf(*position) {
            Ok(found) if found == *leaf => report.entries += 1,
            Ok(found) => report.tampered(Flaw {
                position: Some(*position),
                what: format!(
                    "the receipt promises the entry with the leaf hash {leaf} there, and the log has {found}: what was \
                     received is left out or changed"
                ),
            }),
            Err(error) => error.told(report)?,
        }
    }
    let Some(last) = beyond else {
        return Ok(());
    };
    match latest_time(tree, source, report)? {
        Some(time) if time > text.recorded_at => report.or_worse(Verdict::Truncated {
            size: tree.size(),
            known: last.size_through(),
            what: format!(
                "the receipt of {} names position {last}, and the log goes on to {time} without it",
                text.recorded_at
            ),
        }),
        _ => report.notes.push(format!(
            "it cannot be said yet: the receipt names position {last}, and the log's latest checkpoint has {} entries \
             and is not known to be later than the receipt; ask again when there is a newer one",
            tree.size()
        )),
    }
    Ok(())
}

/// The latest time that something in the tree tells: its last entry, or the closing of a day.
fn latest_time(
    tree: &SignedTree<'_>,
    source: &dyn LogSource,
    report: &mut Report,
) -> Result<Option<Timestamp>, VerifyError> {
    let entry = match tree.size().last().map(|last| tree.entry(last)) {
        None => return Ok(None),
        Some(Ok(entry)) => entry,
        Some(Err(error)) => return error.told(report).map(|()| None),
    };
    if let Some(bytes) = entry {
        return Ok(Entry::decode(&bytes).ok().map(|entry| entry.recorded_at));
    }
    let Some(date) = source.head_dates()?.pop() else {
        return Ok(None);
    };
    let head = match source.head(date) {
        Ok(bytes) => HeadCheck::new(tree.origin(), None).take(date, &bytes).ok(),
        Err(error @ SourceError::Unavailable(_)) => return Err(error.into()),
        Err(_) => None,
    };
    // A head counts as far as the signed tree leads to it.
    let head = head.filter(|head| head.size <= tree.size());
    Ok(match head {
        Some(head) => match tree.root_at(head.size) {
            Ok(root) => (root == head.root).then_some(head.closed_at),
            Err(TreeError::Source(error)) => return Err(error.into()),
            Err(TreeError::Flaw(_)) => None,
        },
        None => None,
    })
}

fn body(text: &ReceiptText, body: Option<&[u8]>, report: &mut Report) {
    let Some(body) = body else {
        report.not_checked.push(
            "that it is about the request that you sent: give its body, byte for byte, with --body"
                .to_owned(),
        );
        return;
    };
    if sha256(body) == text.body_sha256 {
        report.checked.push("the hash of the request's body".to_owned());
    } else {
        report.tampered(Flaw {
            position: None,
            what: format!(
                "the receipt is about a body with the SHA-256 {}, and the one that was given has {}",
                text.body_sha256,
                sha256(body)
            ),
        });
    }
}

/// The entries' bytes as they came with the receipt: all of them, and no others.
fn entries(text: &ReceiptText, answer: Option<&Receipt>, report: &mut Report) {
    let Some(answer) = answer else {
        if !text.entries.is_empty() {
            report.not_checked.push(
                "that the entries hold what was sent: give the answer that came with the receipt with --answer".to_owned(),
            );
        }
        return;
    };
    let given: Vec<(Position, domain::Hash)> = answer
        .entries
        .iter()
        .map(|given| (given.position, leaf_hash(given.entry.as_bytes())))
        .collect();
    let named = text.entries.iter().zip(&given).zip(&answer.entries);
    let differs = named
        .filter(|((named, given), stated)| named != given || stated.leaf_hash != named.1)
        .map(|((named, _), _)| named.0)
        .next();
    if let Some(position) = differs {
        report.tampered(Flaw {
            position: Some(position),
            what: "the bytes in the answer are not those of the entry that the receipt names".to_owned(),
        });
    } else if given.len() != text.entries.len() {
        report.tampered(Flaw {
            position: None,
            what: format!(
                "the answer gives {} entries, and the receipt names {}",
                given.len(),
                text.entries.len()
            ),
        });
    } else {
        report.checked.push(format!(
            "the bytes of {} entries in the answer: what they hold is yours to compare with what you sent",
            given.len()
        ));
    }
}

fn conclude(tree: &SignedTree<'_>, text: &ReceiptText, anchored: TreeSize, report: &mut Report) {
    let needed = text.entries.iter().map(|(position, _)| position.size_through());
    let needed = needed.max().unwrap_or(Position::FIRST.size_through());
    report.or_worse(if needed <= anchored {
        Verdict::Verified { size: tree.size() }
    } else {
        Verdict::Unanchored {
            anchored,
            size: tree.size(),
        }
    });
    report.checked.push(format!(
        "{} leaf hashes in the tree of {} entries, up to its root",
        report.entries,
        tree.size()
    ));
    report.say_outside("the signature of the log's checkpoint");
    report
        .not_checked
        .push("every other entry of the log, and what was sent without a receipt".to_owned());
    let what = match &text.became {
        _ if !tree.size().contains(Position(needed.get().saturating_sub(1))) => {
            "it cannot be said yet whether the log keeps to the receipt: it has not come so far".to_owned()
        }
        Became::Recorded => format!(
            "the log keeps to the receipt of {}: {} entries are where it says",
            text.recorded_at, report.entries
        ),
        Became::Refused(code) => format!(
            "the log's key has signed that the request was refused at {} ({code})",
            text.recorded_at
        ),
    };
    report.concerning(&what);
}
