//! A new log key where another process holds the log key: what is recorded here, and by which key this directory goes.
//!
//! Invariants: the entry is the request's and nobody else's; what the ledger's entries say is in force, whatever a crash
//! left in the directory. Who signs what follows it: the publisher, which finds the entry.
//! Not here: the request, and the order of all steps (`publisher::handover`).

use super::{Opened, RekeyError, Rekeyed, event, history, record_start};
use crate::app::Outside;
use crate::config::Settings;
use crate::data_source::DataSource;
use crate::publisher::{Known, Request, read_verifier_key};
use crate::stores::{StoresError, read_origin};
use commands::sequencer::{NextKey, RotationOrder};
use domain::note::VerifierKey;
use domain::rotation::{KeyHistory, Role};
use domain::{Position, TreeSize};

/// Whether the directory may go by another key than the ledger says: a rotation was asked for, or the publisher has
/// another key.
///
/// # Errors
/// In words.
pub(super) fn is_pending(settings: &Settings) -> Result<bool, StoresError> {
    let (Some(signs), elsewhere) = (&settings.signed_elsewhere, StoresError::Elsewhere) else {
        return Ok(false);
    };
    let Some(known) = Known::read(&settings.data).map_err(elsewhere)? else {
        return Ok(false);
    };
    let asked = Request::read(signs).map_err(StoresError::Elsewhere)?;
    let publishers = read_verifier_key(signs).map_err(StoresError::Elsewhere)?;
    Ok(asked.is_some() || publishers != known.key)
}

/// What the ledger's own entries say of its keys, beside whoever writes them.
async fn told(settings: &Settings) -> Result<(String, KeyHistory), RekeyError> {
    let refused = |error: &dyn std::fmt::Display| RekeyError::Refused(error.to_string());
    let origin = read_origin(&settings.data)?;
    let origin = origin.ok_or_else(|| refused(&"there is no ledger yet"))?;
    let data = DataSource::open(&settings.data).map_err(|error| refused(&error))?;
    let positions = data.ledger_positions(&origin).map_err(|error| refused(&error))?;
    let history = history(data.ledger(), &positions).await?;
    Ok((origin, history))
}

/// The log key in force at the end, and the one before with the entry that replaced it.
fn known(history: &KeyHistory) -> Option<Known> {
    let key = history.key_at(Role::Log, TreeSize::MAX)?.clone();
    let of_log = history.rotations().iter().rev().find(|it| it.role == Role::Log);
    let before = of_log.and_then(|it| Some((it.position, it.old.clone()?)));
    Some(Known { key, before })
}

/// The directory goes by the key that the ledger says; the rotation to it, where that was not so.
///
/// # Errors
/// [`RekeyError`].
pub(super) async fn settle(settings: &Settings) -> Result<Option<Rekeyed>, RekeyError> {
    let kept = Known::read(&settings.data).map_err(StoresError::Elsewhere)?;
    let Some(kept) = kept else { return Ok(None) };
    let (_, history) = told(settings).await?;
    let Some(known) = known(&history).filter(|known| *known != kept) else {
        return Ok(None);
    };
    let Some(position) = known.before.as_ref().map(|(position, _)| *position) else {
        return Ok(None);
    };
    keep(settings, &known)?;
    tracing::info!(%position, "a new log key is in force, as the ledger says");
    Ok(Some(Rekeyed {
        role: Role::Log,
        new: known.key,
        position,
        finished: true,
    }))
}

fn keep(settings: &Settings, known: &Known) -> Result<(), RekeyError> {
    known.write(&settings.data).map_err(|error| {
        RekeyError::Stores(StoresError::Io {
            path: settings.data.clone(),
            error,
        })
    })
}

/// Records what the publisher's directory asks for.
///
/// # Errors
/// [`RekeyError`]; run again, it goes on where it was.
pub(super) async fn rotate(settings: &Settings, outside: &Outside) -> Result<Rekeyed, RekeyError> {
    let refused = |what: String| RekeyError::Refused(what);
    if let Some(done) = settle(settings).await? {
        return Ok(done);
    }
    let signs = settings.signed_elsewhere.clone().unwrap_or_default();
    let asked = Request::read(&signs).map_err(StoresError::Elsewhere)?;
    let request = asked.ok_or_else(|| {
        refused(format!(
            "the log key is with `daybook publish`, so the new one is made there first:  daybook key rotate --publisher {} \
             --data {}  ; nothing was changed. Where the log key is lost or stolen, begin a ledger that continues this one: \
             daybook continue",
            signs.display(),
            settings.data.display()
        ))
    })?;
    let (_, history) = told(settings).await?;
    let known = known(&history).ok_or_else(|| refused("the ledger names no log key".to_owned()))?;
    if known.key.to_string() == request.new_key() {
        let position = known.before.map_or(Position::FIRST, |(position, _)| position);
        return Ok(Rekeyed {
            role: Role::Log,
            new: known.key,
            position,
            finished: true,
        });
    }
    if known.key.to_string() != request.old_key() {
        return Err(refused(format!(
            "the request in {} replaces another key than the one in force, {}; nothing was changed",
            signs.display(),
            known.key
        )));
    }
    let new = VerifierKey::parse(request.new_key()).map_err(|error| refused(error.to_string()))?;
    let opened = Opened::open(settings, outside, None)?;
    let recorded = record(&opened, request).await;
    opened.log.stop();
    let position = recorded?;
    keep(
        settings,
        &Known {
            key: new.clone(),
            before: Some((position, known.key)),
        },
    )?;
    Ok(Rekeyed {
        role: Role::Log,
        new,
        position,
        finished: false,
    })
}

async fn record(opened: &Opened<'_>, request: Request) -> Result<Position, RekeyError> {
    // It is found out before anything is recorded that the request is too old by far.
    let next = opened.log.size_now().next_position();
    request
        .rotation(&opened.origin, next)
        .map_err(RekeyError::Refused)?;
    let (sequencer, _) = opened.start(Vec::new(), None)?;
    let recorded = async {
        record_start(opened, &sequencer).await?;
        let (origin, vkey) = (opened.origin.clone(), request.new_key().to_owned());
        let make = move |position: Position| {
            let said = request.rotation(&origin, position)?;
            event(&said).map_err(|error| error.to_string())
        };
        let order = RotationOrder {
            make: Box::new(make),
            // Nobody signs checkpoints here.
            next: NextKey {
                vkey,
                both: Vec::new(),
                after: Vec::new(),
                vouchers: Vec::new(),
            },
        };
        Ok(Position(sequencer.rotate(order).await?.positions.start))
    }
    .await;
    sequencer.stop().await;
    recorded
}
