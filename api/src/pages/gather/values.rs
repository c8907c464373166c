//! Where a channel's values come from: calibrations, derivations, and what was recorded beside what is shown.
//!
//! Not here: applying a calibration (`projections`), markup (`pages::values`).

use domain::calibration::Calibrations;
use domain::event::Event;
use domain::registry::{Channel, Registry};
use domain::rule::Function;
use domain::rule::derived::MAX_AGE_S;
use projections::QueryError;
use projections::query::{Chart, TimelineFilter, TimelineItem};

use super::super::values::derived::source_words;
use super::super::values::view::{CalibrationRow, DeriveForm, Made, Values};
use super::super::view::{Bucket, Link, Series};
use super::{Asker, changes, known};

/// Entries of a channel that are looked at for its calibrations and derivation.
const ENTRIES_MAX: usize = 1_000;
/// Channels that a source is chosen from.
const OTHERS_MAX: usize = 500;

/// The sections about a channel's values. `asker.known` is locked only while names are copied.
///
/// # Errors
/// `Unavailable`.
pub fn values(asker: &Asker<'_>, channel: &Channel, chart: Option<&Chart>) -> Result<Values, QueryError> {
    let id = &*channel.id;
    let filter = TimelineFilter {
        subject: Some(id),
        aggregate_type: Some("channel"),
        before: None,
    };
    let items = asker.rows.timeline(asker.account, &filter, ENTRIES_MAX)?;
    let (made_of, fed) = {
        let registry = asker.known.registry();
        let sources = channel.state.derivation.iter().flat_map(|it| &it.sources);
        let sources: Vec<Channel> = sources
            .filter_map(|source| registry.channel(asker.account, source).cloned())
            .collect();
        let fed: Vec<Channel> = match registry.channel(asker.account, id) {
            Some(found) => registry.derived_from(found).cloned().collect(),
            None => Vec::new(),
        };
        (sources, fed)
    };
    let functions = functions(channel);
    let made = channel.state.derivation.as_ref().map(|derivation| Made {
        function: derivation.function,
        sources: source_words(derivation.function)
            .iter()
            .zip(&made_of)
            .map(|(word, source)| ((*word).to_owned(), link(asker, source)))
            .collect(),
        max_age_min: f64::from(derivation.max_age_s.unwrap_or(MAX_AGE_S)) / 60.0,
        trailing_days: derivation.trailing_days.or(derivation.function.trailing_days()),
        since: items
            .iter()
            .find(|item| item.event_type == "DerivationSet")
            .map_or(channel.created.at, |item| item.recorded_at),
    });
    let sources = match &channel.state.derivation {
        Some(derivation) => derivation.sources.clone(),
        None => Vec::new(),
    };
    Ok(Values {
        raw: chart.and_then(raw),
        calibrations: calibrations(asker, &items),
        calibration: Default::default(),
        is_derived: channel.state.is_derived,
        made,
        feeds: fed.iter().map(|it| link(asker, it)).collect(),
        derive: DeriveForm {
            others: others(asker, channel, &functions),
            sources,
            functions,
            ..DeriveForm::default()
        },
        etag: channel.state.sequence.to_string(),
        idempotency_key: String::new(),
    })
}

/// Functions that a channel can be a source of; of a derived channel its own.
fn functions(channel: &Channel) -> Vec<Function> {
    if channel.state.is_derived {
        let label = channel.state.key.split_once('/').map_or("", |(_, slug)| slug);
        let own = channel.state.derivation.as_ref().map(|it| it.function);
        let named = Function::ALL
            .into_iter()
            .find(|function| function.as_str() == label);
        return own.or(named).into_iter().collect();
    }
    let kind = channel.state.kind.as_str();
    let unit = domain::kinds::find(kind).map_or("", |kind| kind.unit);
    if channel.state.auxiliary || channel.state.unit != unit {
        return Vec::new();
    }
    let takes = Function::ALL.into_iter();
    takes
        .filter(|function| function.sources().contains(&kind))
        .collect()
}

/// Channels that may be sources, this one first.
fn others(asker: &Asker<'_>, channel: &Channel, functions: &[Function]) -> Vec<(String, String, String)> {
    let kinds: Vec<&str> = functions.iter().flat_map(|it| it.sources()).copied().collect();
    let found: Vec<Channel> = {
        let registry = asker.known.registry();
        let Some(device) = registry.device(asker.account, &channel.state.device) else {
            return Vec::new();
        };
        let of_site = registry.devices(asker.account, None);
        let of_site = of_site.filter(|it| it.state.site == device.state.site);
        let channels = of_site.flat_map(|it| Registry::channels(&registry, it));
        let fitting = channels.filter(|it| {
            !it.state.is_derived && !it.state.auxiliary && kinds.contains(&it.state.kind.as_str())
        });
        fitting.take(OTHERS_MAX).cloned().collect()
    };
    let mut named: Vec<(String, String, String)> = found
        .iter()
        .map(|it| (it.id.to_string(), link(asker, it).text, it.state.kind.clone()))
        .collect();
    named.sort_by_key(|(id, name, _)| (**id != *channel.id, name.clone()));
    named
}

/// A channel with its device, by name.
fn link(asker: &Asker<'_>, channel: &Channel) -> Link {
    let device = asker
        .known
        .registry()
        .device(asker.account, &channel.state.device)
        .cloned();
    let name = device.and_then(|device| {
        let name = asker.known.text("device", &device.id, device.state.name.as_ref());
        name.or(Some(device.state.local_id))
    });
    let label = asker
        .known
        .text("channel", &channel.id, channel.state.label.as_ref());
    let kind = super::super::words::capitalised(super::super::words::kind(&channel.state.kind));
    let own = label.map_or(kind.clone(), |label| format!("{kind} {label}"));
    Link {
        href: format!("/app/channels/{}", channel.id),
        text: match name {
            Some(name) => format!("{own}, {name}"),
            None => own,
        },
    }
}

/// Calibrations, newest first.
fn calibrations(asker: &Asker<'_>, items: &[TimelineItem]) -> Vec<CalibrationRow> {
    let sets: Vec<(&TimelineItem, domain::event::CalibrationSet)> = items
        .iter()
        .filter_map(|item| {
            let payload = item.payload.as_deref()?;
            match Event::read(&item.event_type, payload.as_bytes()) {
                Ok(Event::CalibrationSet(set)) => Some((item, set)),
                _ => None,
            }
        })
        .collect();
    let mut all = Calibrations::default();
    for (_, set) in sets.iter().rev() {
        all.set(set.valid_from, set.correction.new);
    }
    let today = asker.now.date();
    // The newest whose time has come, unless a later entry of an earlier time took its place.
    let in_force = sets
        .iter()
        .enumerate()
        .filter(|(index, (_, set))| {
            let replaced = sets[..*index]
                .iter()
                .any(|(_, later)| later.valid_from <= set.valid_from);
            set.valid_from <= asker.now && !replaced
        })
        .max_by_key(|(_, (_, set))| set.valid_from)
        .map(|(index, _)| index);
    let rows = sets.iter().enumerate().map(|(index, (item, set))| {
        let opened = asker.known.opened(item);
        let reason: serde_json::Value = item
            .reason
            .as_deref()
            .and_then(|text| serde_json::from_str(text).ok())
            .unwrap_or_default();
        CalibrationRow {
            position: item.position.get(),
            recorded_at: item.recorded_at,
            valid_from: set.valid_from,
            correction: set.correction.new,
            due: set.due.map(|due| due.to_string()),
            overdue: index == 0 && set.due.is_some_and(|due| due < today),
            certificate: opened["certificate"].as_str().map(str::to_owned),
            actor: changes::actor(asker, item.actor.as_deref().unwrap_or("")),
            reason: opened["reason_text"]
                .as_str()
                .or(reason["text"].as_str())
                .map(str::to_owned),
            in_force: in_force == Some(index),
        }
    });
    rows.collect()
}

/// What was recorded, where something corrects it.
fn raw(chart: &Chart) -> Option<Series> {
    chart
        .calibrations
        .iter()
        .any(|it| it.correction.is_some())
        .then_some(())?;
    let points = &chart.points;
    if points.iter().all(|point| point.count == 1) {
        return Some(Series::Points(points.iter().map(|p| (p.at, p.raw)).collect()));
    }
    let buckets = points.iter().map(|point| Bucket {
        from: point.at,
        to: point.at,
        min: point.raw,
        mean: point.raw,
        max: point.raw,
        count: point.count,
    });
    Some(Series::Buckets(buckets.collect()))
}

/// Notes on the readings of a range, by when these were measured.
///
/// # Errors
/// `Unavailable`.
pub fn notes(
    asker: &Asker<'_>,
    channel: &str,
    (from, to): (domain::Timestamp, domain::Timestamp),
) -> Result<Vec<(domain::Timestamp, String)>, QueryError> {
    let items = known(asker.rows.notes(asker.account, channel, from, to))?.unwrap_or_default();
    let told = items.iter().filter_map(|item| {
        let payload = item.payload.as_deref()?;
        let Ok(Event::ReadingAnnotated(note)) = Event::read(&item.event_type, payload.as_bytes()) else {
            return None;
        };
        let opened = asker.known.opened(item);
        let text = opened["note"].as_str()?;
        let who = changes::actor(asker, item.actor.as_deref().unwrap_or(""));
        Some((note.measured_at, format!("{text} ({who})")))
    });
    Ok(told.collect())
}
