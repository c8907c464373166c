//! Heads of days that somebody kept or was given, without the log: each by itself, and all against one another.
//!
//! Invariants: heads are taken by rising position, whatever the order of the files; two that hold by themselves and not
//! together are two histories (FORKED), one that does not hold by itself is TAMPERED; a later head that is confirmed
//! confirms those that it leads back to.
//! Source: FORMAT §5, §8.
//! Not here: one head alone (`heads`), the heads of a log that is read as a whole (`verify`).

use crate::anchor::authority::{self, Signed};
use crate::anchor::{self, AnchorKind, Says};
use crate::confirm::{Asked, confirm};
use crate::evidence::Trust;
use crate::heads::{CheckedHead, HeadCheck};
use crate::layout;
use crate::report::{DayReport, KeysFrom, Report};
use crate::rotations::follow;
use crate::source::{Flaw, LogSource};
use crate::verify::{VerifyError, VerifySettings};
use domain::add_checkpoint::AddCheckpoint;
use domain::checkpoint::SignedCheckpoint;
use domain::tlog_proof::TlogProof;
use domain::verify::Verdict;
use domain::{Date, Hash, Timestamp, TreeSize};

/// A file with a head.
pub struct HeadFile {
    /// What it is called: a path. A name such as `2026-05-17.tlog-proof` must tell the day.
    pub name: String,
    /// What is in it.
    pub bytes: Vec<u8>,
    /// Time stamps that lie beside it.
    pub stamps: Vec<(AnchorKind, Vec<u8>)>,
}

impl HeadFile {
    /// The day that its name promises.
    fn date(&self) -> Option<Date> {
        layout::head_date(self.file_name()).or_else(|| layout::beside_head_date(self.file_name()))
    }

    fn file_name(&self) -> &str {
        self.name.rsplit(['/', '\\']).next().unwrap_or_default()
    }
}

/// Verifies heads; `log`, where there is one, shows in its tree whether they are of one history.
///
/// # Errors
/// [`VerifyError`] where there is nothing to verify.
pub fn verify_heads(
    files: &[HeadFile],
    settings: &VerifySettings,
    log: Option<&dyn LogSource>,
) -> Result<Report, VerifyError> {
    let what = match files {
        [one] => format!("the head {}", one.name),
        _ => format!("{} heads", files.len()),
    };
    let mut report = Report::new(what, settings.allow_partial);
    let given = parse(files, &mut report)?;
    let proofs = &given.heads;
    let signed = given.checkpoints();
    let origin = settings.origin_of(signed.first().copied())?;
    report.origin = Some(origin.clone());
    let last = signed
        .iter()
        .copied()
        .max_by_key(|signed| signed.checkpoint().size());
    let settings = &follow(settings, &origin, log, last, &mut report)?;
    report.signed_by = last
        .map(|signed| settings.trust.signers(signed))
        .unwrap_or_default();
    let trust = settings.trust.is_known().then_some(&settings.trust);
    report.keys = settings.trust.keys().map(ToString::to_string).collect();
    report.keys_from = match trust {
        Some(_) => KeysFrom::Outside,
        None => KeysFrom::Nowhere,
    };
    let mut heads = each(proofs, &origin, trust, &mut report);
    let late = each_late(&given.late, &heads, &origin, trust, &mut report);
    let joined = join(&given.bodies, &heads, &origin, trust, &mut report);
    // A day of which only the late head is here stands for itself.
    let own = heads.len();
    let alone = late
        .iter()
        .filter(|(_, late)| heads.iter().all(|(_, head)| head.position != late.position));
    let alone: Vec<_> = alone.cloned().collect();
    heads.extend(alone);
    if let Some((_, last)) = heads.iter().max_by_key(|(_, head)| head.size) {
        (report.size, report.root, report.signed) = (last.size, last.root, Some(last.size));
    }
    let beside = late.iter().filter(|(_, late)| {
        heads[..own]
            .iter()
            .any(|(_, head)| head.position == late.position)
    });
    let asked: Vec<Asked<'_>> = heads
        .iter()
        .chain(beside.clone())
        .map(|(name, head)| Asked {
            name,
            size: head.size,
            root: head.root,
            needs: head.position.size_through(),
            quorum: head.witnesses.quorum,
        })
        .collect();
    let anchored = confirm(&asked, &origin, settings, log, &mut report)?;
    let confirmed = asked.iter().zip(anchored);
    let mut confirmed: Vec<bool> = confirmed
        .map(|(one, anchored)| one.is_confirmed(anchored))
        .collect();
    // The same entry under a later checkpoint: what confirms that one confirms the day.
    let confirmed_late = confirmed.split_off(heads.len());
    for ((_, late), is_confirmed) in beside.zip(confirmed_late) {
        let day = heads.iter().position(|(_, head)| head.position == late.position);
        if let Some(day) = day.filter(|_| is_confirmed) {
            confirmed[day] = true;
        }
    }
    lead_back(&heads[..own], &mut confirmed[..own]);
    let unchecked = stamps(proofs, &settings.authorities, &mut report);
    conclude(
        &mut report,
        &heads,
        &confirmed,
        Tree {
            joined,
            with_log: log.is_some(),
        },
        &unchecked,
    );
    Ok(report)
}

/// What shows that heads continue one another as trees.
struct Tree {
    /// So many do, by the files that say so.
    joined: usize,
    with_log: bool,
}

/// What time stamps say of the heads that they lie beside: a hint as far as their own signatures are not checked. Gives
/// in words those that the asker named an authority for, which could not be told of them.
fn stamps(proofs: &Proofs<'_>, authorities: &[Vec<u8>], report: &mut Report) -> Vec<String> {
    let mut unchecked = Vec::new();
    for (file, proof) in proofs {
        let hash = proof.checkpoint.body_sha256();
        for (kind, bytes) in &file.stamps {
            let ending = kind.ending();
            match anchor::says(*kind, bytes, &hash.0) {
                Ok(Says::At(time)) => {
                    let said = stamped(&file.name, &hash, (bytes, time), authorities, report);
                    match said {
                        Ok(why) => unchecked.extend(why),
                        Err(what) => report.tampered(Flaw {
                            position: Some(proof.index),
                            what: format!("{}: its .{ending}: {what}", file.name),
                        }),
                    }
                }
                Ok(Says::Leads { blocks, pending }) => {
                    let to = match blocks.first() {
                        Some(block) => format!("Bitcoin block {block}"),
                        None => format!("{pending} calendars that have promised one: run  ots upgrade"),
                    };
                    report
                        .notes
                        .push(format!("{}: its .{ending} leads to {to}", file.name));
                    report.not_checked.push(format!(
                        "what the .{ending} of {} leads to: run  ots verify -d {} FILE.ots",
                        file.name,
                        hash.to_hex()
                    ));
                }
                Err(what) => report.tampered(Flaw {
                    position: Some(proof.index),
                    what: format!("{}: its .{ending}: {what}", file.name),
                }),
            }
        }
    }
    unchecked
}

/// What an authority's time stamp states, and by whom. Gives in words that it could not be told, where an authority was
/// named for it. Whatever nobody checked is no bound on when entries were written, and is not called one.
fn stamped(
    name: &str,
    hash: &Hash,
    (bytes, time): (&[u8], Timestamp),
    authorities: &[Vec<u8>],
    report: &mut Report,
) -> Result<Option<String>, String> {
    let (why, unchecked) = match authorities {
        [] => ("no certificate of it was given (--tsa)".to_owned(), None),
        _ => match authority::check(bytes, time, authorities)? {
            Signed::ByAuthority => {
                report.notes.push(format!(
                    "{name}: its .tsr, signed by an authority that was given, states that this head was there at {time}, \
                     so its entries were written before"
                ));
                report.not_checked.push(format!(
                    "whether the authority's certificate on the .tsr of {name} was revoked"
                ));
                return Ok(None);
            }
            Signed::Unknown(why) => {
                let words = format!("the authority that was given confirms no time stamp of {name}: {why}");
                (why, Some(words))
            }
        },
    };
    report.notes.push(format!(
        "{name}: its .tsr states that this head was there at {time}, which nobody has checked here"
    ));
    report.not_checked.push(format!(
        "the authority's signature on the .tsr of {name}, because {why}; or run  openssl ts -verify -digest {} -in \
         FILE.tsr -CAfile CA.pem",
        hash.to_hex()
    ));
    Ok(unchecked)
}

type Proofs<'a> = Vec<(&'a HeadFile, TlogProof)>;

/// The files by what they are, each sorted by position or size.
struct Given<'a> {
    heads: Proofs<'a>,
    late: Proofs<'a>,
    bodies: Vec<(&'a HeadFile, AddCheckpoint)>,
}

impl Given<'_> {
    /// Every checkpoint that is in them, those of the heads first.
    fn checkpoints(&self) -> Vec<&SignedCheckpoint> {
        let proofs = self.heads.iter().chain(&self.late);
        let signed = proofs.map(|(_, proof)| &proof.checkpoint);
        signed
            .chain(self.bodies.iter().map(|(_, body)| &body.checkpoint))
            .collect()
    }
}

/// Reads the files, and sorts them by position.
fn parse<'a>(files: &'a [HeadFile], report: &mut Report) -> Result<Given<'a>, VerifyError> {
    let (mut heads, mut late, mut bodies) = (Vec::new(), Vec::new(), Vec::new());
    for file in files {
        let unusable = |what: &str| VerifyError::Settings(format!("{}: {what}", file.name));
        if file.bytes.starts_with(b"old ") {
            match AddCheckpoint::parse(&file.bytes) {
                Ok(body) => bodies.push((file, body)),
                Err(error) => report.tampered(Flaw {
                    position: None,
                    what: format!("{}: {error}", file.name),
                }),
            }
            continue;
        }
        if !file.bytes.starts_with(b"c2sp.org/tlog-proof@") {
            return Err(unusable(
                "not a head: it does not begin with c2sp.org/tlog-proof@v1",
            ));
        }
        match TlogProof::parse(&file.bytes) {
            Ok(proof) if file.file_name().ends_with(".late.tlog-proof") => late.push((file, proof)),
            Ok(proof) => heads.push((file, proof)),
            Err(error) => report.tampered(Flaw {
                position: None,
                what: format!("{}: {error}", file.name),
            }),
        }
    }
    heads.sort_by_key(|(_, proof)| proof.index);
    late.sort_by_key(|(_, proof)| proof.index);
    bodies.sort_by_key(|(_, body)| body.old);
    Ok(Given { heads, late, bodies })
}

/// The late heads that hold, and say of their day what its own head says, where that is here.
fn each_late<'a>(
    proofs: &Proofs<'a>,
    heads: &[(&'a str, CheckedHead)],
    origin: &str,
    trust: Option<&Trust>,
    report: &mut Report,
) -> Vec<(&'a str, CheckedHead)> {
    let mut late: Vec<(&str, CheckedHead)> = Vec::new();
    for (file, proof) in proofs {
        let found = match HeadCheck::new(origin, trust).take_late(file.date(), proof) {
            Ok(found) => found,
            Err((position, what)) => {
                report.tampered(Flaw {
                    position,
                    what: format!("{}: {what}", file.name),
                });
                continue;
            }
        };
        let of_it = |head: &CheckedHead| head.date == found.date || head.position == found.position;
        let same = |head: &CheckedHead| head.leaf == found.leaf;
        let other = heads
            .iter()
            .chain(&late)
            .find(|(_, head)| of_it(head) && !same(head));
        match other {
            Some((other, _)) => report.or_worse(Verdict::Forked {
                size: found.size,
                what: format!(
                    "{} and {other} close {} differently: both hold, so there are two histories",
                    file.name, found.date
                ),
            }),
            None if late.iter().any(|(_, one)| of_it(one)) => {}
            None => late.push((&file.name, found)),
        }
    }
    late
}

/// How many heads are shown to continue the one before as a tree.
fn join(
    bodies: &[(&HeadFile, AddCheckpoint)],
    heads: &[(&str, CheckedHead)],
    origin: &str,
    trust: Option<&Trust>,
    report: &mut Report,
) -> usize {
    let mut joined = 0;
    for (file, body) in bodies {
        let checkpoint = body.checkpoint.checkpoint();
        let signed = match trust {
            Some(trust) => trust.examine(origin, &body.checkpoint).map(|_| ()),
            None if checkpoint.origin() == origin => Ok(()),
            None => Err(format!("it is of the log {}", checkpoint.origin())),
        };
        let of_size = |size: TreeSize| heads.iter().find(|(_, head)| head.size == size);
        let checked = signed.and_then(|()| match of_size(checkpoint.size()) {
            None => Ok(None),
            Some((name, head)) if head.root != checkpoint.root() => {
                report.or_worse(Verdict::Forked {
                    size: head.size,
                    what: format!(
                        "{} has the root {}, {name} {}",
                        file.name,
                        checkpoint.root(),
                        head.root
                    ),
                });
                Ok(None)
            }
            Some((_, head)) => {
                let before = of_size(body.old).map(|(_, before)| &before.root);
                head.check_consistency(body, before).map(Some)
            }
        });
        match checked {
            Ok(Some(true)) => joined += 1,
            Ok(_) => report.notes.push(format!(
                "{} joins two heads, of which one is not here: it shows nothing",
                file.name
            )),
            Err(what) => report.tampered(Flaw {
                position: checkpoint.size().last(),
                what: format!("{}: {what}", file.name),
            }),
        }
    }
    joined
}

/// The heads that hold, each by itself and behind the one before.
fn each<'a>(
    proofs: &Proofs<'a>,
    origin: &str,
    trust: Option<&Trust>,
    report: &mut Report,
) -> Vec<(&'a str, CheckedHead)> {
    let mut heads: Vec<(&str, CheckedHead)> = Vec::new();
    let mut check = HeadCheck::new(origin, trust);
    for (file, proof) in proofs {
        let alone = match HeadCheck::new(origin, trust).take_proof(file.date(), proof) {
            Ok(alone) => alone,
            Err((position, what)) => {
                report.tampered(Flaw {
                    position,
                    what: format!("{}: {what}", file.name),
                });
                continue;
            }
        };
        report.notes.extend(alone.oddities());
        let twice = heads
            .iter()
            .find(|(_, head)| head.date == alone.date || head.size == alone.size);
        if let Some((other, head)) = twice {
            if head.body_sha256 != alone.body_sha256 {
                report.or_worse(Verdict::Forked {
                    size: alone.size,
                    what: format!(
                        "{} closes {} at position {} with the root {}, and {other} closes {} at position {} with the \
                         root {}: both hold, so there are two histories",
                        file.name, alone.date, alone.position, alone.root, head.date, head.position, head.root
                    ),
                });
            }
            continue;
        }
        match check.take_proof(file.date(), proof) {
            Ok(head) => heads.push((&file.name, head)),
            // It holds by itself, and so does the one before: they are not of one history.
            Err((_, what)) => report.or_worse(Verdict::Forked {
                size: alone.size,
                what: format!("{}: {what}", file.name),
            }),
        }
    }
    heads
}

/// A confirmed head confirms the one that it names as the one before.
fn lead_back(heads: &[(&str, CheckedHead)], confirmed: &mut [bool]) {
    for later in (1..heads.len()).rev() {
        if confirmed[later] && heads[later].1.continues(&heads[later - 1].1) {
            confirmed[later - 1] = true;
        }
    }
}

fn conclude(
    report: &mut Report,
    heads: &[(&str, CheckedHead)],
    confirmed: &[bool],
    tree: Tree,
    unchecked: &[String],
) {
    let last = heads.iter().zip(confirmed).filter(|(_, confirmed)| **confirmed);
    report.anchored = last
        .map(|((_, head), _)| head.size)
        .max()
        .unwrap_or(TreeSize::EMPTY);
    report.heads = heads.len() as u64;
    report.days = heads.iter().enumerate().map(|(n, _)| day(&heads[n..])).collect();
    let count = confirmed.iter().filter(|confirmed| **confirmed).count();
    report.or_worse(if count == heads.len() {
        Verdict::Verified { size: report.size }
    } else {
        Verdict::Unanchored {
            anchored: report.anchored,
            size: report.size,
        }
    });
    report.checked.push(format!(
        "{} heads of days: entry, counts, root and proof of each, dates and what each says of the one before",
        heads.len()
    ));
    report.say_outside("the signatures of their checkpoints");
    let gaps = heads
        .windows(2)
        .filter(|pair| !pair[1].1.continues(&pair[0].1))
        .count();
    if gaps > 0 {
        report.not_checked.push(format!(
            "days between the heads that were given, at {gaps} places: their heads are not here"
        ));
    }
    if tree.joined > 0 {
        report.checked.push(format!(
            "that {} heads continue the ones before them as trees, by the .consistency files",
            tree.joined
        ));
    }
    if !tree.with_log && tree.joined + 1 < heads.len() {
        report.not_checked.push(
            "that each checkpoint continues the one before as a tree, which the log shows: name it with --log".to_owned(),
        );
    }
    report.not_checked.push("the entries of the days".to_owned());
    let what = match heads {
        [(_, one)] => format!("the head of {} holds", one.date),
        _ => format!("{} heads hold", heads.len()),
    };
    report.concerning(&what);
    unconfirmed(report, &what, unchecked);
}

/// Whoever names an authority asks for its word: where it could not be told, the verdict says so and is no better than
/// that nobody outside confirms it.
fn unconfirmed(report: &mut Report, what: &str, unchecked: &[String]) {
    let Some(first) = unchecked.first() else {
        return;
    };
    let but = match unchecked.len() {
        1 => first.clone(),
        many => format!("{first} (and so with {} more)", many - 1),
    };
    let lowered = Verdict::Unanchored {
        anchored: report.anchored,
        size: report.size,
    };
    let message = match report.verdict {
        Verdict::Verified { .. } => format!("{}: {what}, but {but}", lowered.word()),
        Verdict::Unanchored { .. } => format!("{}, and {but}", report.message),
        _ => return,
    };
    report.or_worse(lowered);
    report.message = message;
}

/// A day, whose entries were written before a witness saw its head or a later one.
fn day(from_here: &[(&str, CheckedHead)]) -> DayReport {
    let head = &from_here[0].1;
    // A later head covers this day only where it leads back to it.
    let linked = from_here
        .windows(2)
        .take_while(|pair| pair[1].1.continues(&pair[0].1))
        .count();
    DayReport {
        date: head.date,
        position: head.position,
        entries: head.entries,
        streams: head.streams,
        head: true,
        written_before: from_here[..=linked]
            .iter()
            .filter_map(|(_, head)| head.witnessed_at())
            .min(),
    }
}
