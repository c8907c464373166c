//! Overview, site, device and the first minute of a device.
//!
//! Invariants: which devices there are, the registry says; what they sent, the read models; the small lines are
//! drawn for as many devices as one look can hold.
//! Not here: history of one channel (`history`).

use std::collections::{BTreeMap, HashMap};

use domain::Timestamp;
use domain::aggregate::channel::Limits as Configured;
use domain::registry::{Channel, Device, Site};
use domain::time::DAY_US;
use projections::QueryError;
use projections::query::{ChannelLatest, DeviceOverview};

use super::super::device::view::DevicePage;
use super::super::onboarding::view::{FirstReading, OnboardingStatus};
use super::super::overview::view::Overview;
use super::super::overview::worst_first;
use super::super::site::view::SitePage;
use super::super::view::{ChannelNow, DeviceRow, Gap, Limits, Link, RefusalNote, SiteCard, Spark, TokenRow};
use super::super::words::Zone;
use super::alarms::States;
use super::{Asker, alarms, changes, history, known, refusals};

/// Devices that get a small line on a page: each is a query of a few hundred rows.
const SPARKS_MAX: usize = 200;
/// Columns of a small line.
const SPARK_STEPS: usize = 48;
/// Gaps listed on a device's page.
const GAPS_MAX: usize = 20;
/// Changes listed on a page.
const CHANGES_MAX: usize = 50;
/// A refusal so recent shows that the device is not silent, microseconds.
const HEARD_US: i64 = 3_600_000_000;
/// A value is not called old before this, microseconds: devices' clocks are off by minutes, and a message that
/// comes a little late is no reason to call somebody.
const OLD_MIN_US: i64 = 3_600_000_000;
/// A cadence of this length is told in whole minutes, seconds.
const MINUTE_S: u32 = 60;

/// A device as the registry has it, copied.
struct Registered {
    device: Device,
    channels: Vec<Channel>,
}

/// A device's channels in the order in which people look for them: what it measures before what it is.
fn in_order(mut channels: Vec<Channel>) -> Vec<Channel> {
    const FIRST: &[&str] = &[
        "leak",
        "temperature",
        "humidity",
        "co2",
        "pressure",
        "power",
        "energy",
    ];
    let rank = |kind: &str| FIRST.iter().position(|k| *k == kind).unwrap_or(FIRST.len());
    channels.sort_by(|a, b| {
        let of = |c: &Channel| (c.state.auxiliary, rank(&c.state.kind));
        of(a).cmp(&of(b)).then_with(|| a.state.key.cmp(&b.state.key))
    });
    channels
}

fn registered(asker: &Asker<'_>, wanted: impl Fn(&Device) -> bool) -> Vec<Registered> {
    let registry = asker.known.registry();
    let copy = |device: &Device| Registered {
        channels: in_order(registry.channels(device).cloned().collect()),
        device: device.clone(),
    };
    registry
        .devices(asker.account, None)
        .filter(|d| wanted(d))
        .map(copy)
        .collect()
}

fn one(asker: &Asker<'_>, id: &str) -> Result<Registered, QueryError> {
    let registry = asker.known.registry();
    let found = registry.device(asker.account, id).filter(|d| !d.state.removed);
    let device = found.ok_or_else(|| QueryError::DeviceNotFound(id.to_owned()))?;
    Ok(Registered {
        channels: in_order(registry.channels(device).cloned().collect()),
        device: device.clone(),
    })
}

/// Every site of the account.
pub fn site_cards(asker: &Asker<'_>) -> Vec<SiteCard> {
    let sites: Vec<Site> = asker
        .known
        .registry()
        .sites(asker.account, None)
        .cloned()
        .collect();
    sites.iter().map(|site| card(asker, site)).collect()
}

fn card(asker: &Asker<'_>, site: &Site) -> SiteCard {
    SiteCard {
        id: site.id.to_string(),
        name: asker
            .known
            .text("site", &site.id, site.state.name.as_ref())
            .unwrap_or_else(|| site.id.to_string()),
        vertical: site
            .state
            .vertical
            .map_or_else(String::new, |v| v.as_str().to_owned()),
        zone: Zone::named(&site.state.timezone),
    }
}

/// The overview.
///
/// # Errors
/// `Unavailable`.
pub fn overview(asker: &Asker<'_>) -> Result<Overview, QueryError> {
    let sites = site_cards(asker);
    let mut devices = rows(asker, &registered(asker, |_| true), &sites)?;
    draw_sparks(asker, &mut devices)?;
    Ok(Overview { sites, devices })
}

/// A site's page.
///
/// # Errors
/// `SiteNotFound`, `Unavailable`.
pub fn site(asker: &Asker<'_>, id: &str) -> Result<SitePage, QueryError> {
    let found = asker.known.registry().site(asker.account, id).cloned();
    let site = found.ok_or_else(|| QueryError::SiteNotFound(id.to_owned()))?;
    let card = card(asker, &site);
    let here = registered(asker, |device| device.state.site_at(asker.now) == id);
    let mut devices = rows(asker, &here, std::slice::from_ref(&card))?;
    draw_sparks(asker, &mut devices)?;
    Ok(SitePage {
        address: asker.known.text("site", &site.id, site.state.address.as_ref()),
        timeline: changes::timeline(asker, Some(id), CHANGES_MAX)?,
        etag: site.state.sequence.to_string(),
        is_open: {
            let (weekday, minute) = card.zone.weekday_minute(asker.now);
            site.state.is_open(weekday, minute)
        },
        opening_hours: site.state.opening_hours.clone(),
        typed: None,
        site: card,
        devices,
    })
}

/// A device's page.
///
/// # Errors
/// `DeviceNotFound`, `Unavailable`.
pub fn device(asker: &Asker<'_>, id: &str) -> Result<DevicePage, QueryError> {
    let found = one(asker, id)?;
    let sites = site_cards(asker);
    let life = known(asker.rows.device(asker.account, id))?;
    let states = asker.rows.channel_states(asker.account)?;
    let row = row(asker, &found, life.as_ref(), &sites, &states)?;
    let Registered { device, .. } = &found;
    let mut gaps: Vec<Gap> = known(asker.rows.device_gaps(asker.account, id, GAPS_MAX))?
        .unwrap_or_default()
        .iter()
        .map(|gap| Gap {
            from: gap.from,
            to: Some(gap.to),
        })
        .collect();
    // What is missing begins where measuring ended, not where the last message came.
    let missing = !row.online || row.channels.iter().any(|channel| channel.old);
    if let Some(from) = life
        .as_ref()
        .and_then(|life| life.last_measured)
        .filter(|_| missing)
    {
        gaps.insert(0, Gap { from, to: None });
    }
    let mut sparks = BTreeMap::new();
    for channel in row.channels.iter().filter(|c| !c.auxiliary) {
        sparks.insert(channel.id.clone(), spark(asker, channel)?);
    }
    let text = |field| asker.known.text("device", &device.id, field);
    Ok(DevicePage {
        local_id: device.state.local_id.clone(),
        dev_eui: device.state.dev_eui.clone(),
        serial: device.state.serial.clone(),
        notes: text(device.state.notes.as_ref()),
        zone: zone_of(&sites, &row.site),
        gaps,
        refusals: refusals::notes(asker, device)?,
        timeline: changes::timeline(asker, Some(id), CHANGES_MAX)?,
        tokens: tokens_of(asker, id, &row.name),
        sites: sites
            .iter()
            .filter(|site| site.id != row.site)
            .map(|site| Link {
                href: site.id.clone(),
                text: site.name.clone(),
            })
            .collect(),
        config: device.config.get(),
        etag: device.state.sequence.to_string(),
        alarms: alarms::open_of(asker, Some(id), None)?,
        row,
        sparks,
    })
}

/// The tokens of an owner that still open something, oldest first.
pub fn tokens_of(asker: &Asker<'_>, owner: &str, name: &str) -> Vec<TokenRow> {
    let registry = asker.known.registry();
    let good = registry
        .tokens(owner)
        .filter(|token| !token.revoked && token.expires_at.is_none_or(|end| asker.now < end));
    good.map(|token| TokenRow {
        id: token.id.to_owned(),
        prefix: commands::tokens::prefix(token.kind).to_owned(),
        owner: name.to_owned(),
        issued_at: token.issued.at,
        last_used: asker.known.last_used(token.id),
        expires_at: token.expires_at,
    })
    .collect()
}

/// How the first reading of a device stands.
///
/// # Errors
/// `DeviceNotFound`, `Unavailable`.
pub fn onboarding_status(asker: &Asker<'_>, id: &str) -> Result<OnboardingStatus, QueryError> {
    let found = one(asker, id)?;
    let sites = site_cards(asker);
    let life = known(asker.rows.device(asker.account, id))?;
    let states = asker.rows.channel_states(asker.account)?;
    let row = row(asker, &found, life.as_ref(), &sites, &states)?;
    let since = {
        let registry = asker.known.registry();
        let issued = registry.tokens(id).map(|token| token.issued.at).last();
        issued.unwrap_or(found.device.created.at)
    };
    let step = match (row.last_seen, life.and_then(|life| life.last_position)) {
        (Some(at), Some(position)) => FirstReading::Landed {
            at,
            position: position.get(),
            channels: row.channels,
        },
        _ => match row.refused {
            Some(note) => FirstReading::Refused(note),
            None => FirstReading::Waiting { since },
        },
    };
    Ok(OnboardingStatus {
        device: id.to_owned(),
        now: asker.now,
        zone: zone_of(&sites, &row.site),
        step,
    })
}

/// The zone of a site; UTC where it is not known.
pub fn zone_of(sites: &[SiteCard], id: &str) -> Zone {
    sites
        .iter()
        .find(|site| site.id == id)
        .map_or_else(Zone::utc, |site| site.zone.clone())
}

fn rows(asker: &Asker<'_>, devices: &[Registered], sites: &[SiteCard]) -> Result<Vec<DeviceRow>, QueryError> {
    let lives: HashMap<String, DeviceOverview> = asker
        .rows
        .devices(asker.account, None)?
        .into_iter()
        .map(|life| (life.device_id.clone(), life))
        .collect();
    let states = asker.rows.channel_states(asker.account)?;
    devices
        .iter()
        .map(|device| row(asker, device, lives.get(&*device.device.id), sites, &states))
        .collect()
}

fn row(
    asker: &Asker<'_>,
    found: &Registered,
    life: Option<&DeviceOverview>,
    sites: &[SiteCard],
    states: &States,
) -> Result<DeviceRow, QueryError> {
    let (device, state) = (&found.device, &found.device.state);
    let site = state.site_at(asker.now).to_owned();
    let last_seen = life.and_then(|life| life.last_seen);
    let latest = |id: &str| life.and_then(|life| life.channels.iter().find(|c| c.channel_id == id));
    let old_us = old_after_us(life, asker.now);
    let refused = refused_since(asker, device, life, last_seen)?;
    // A device whose messages are refused is heard all the same.
    let heard = |note: &RefusalNote| asker.now.since(note.at) <= HEARD_US;
    let online =
        life.and_then(|life| life.online(asker.now)).unwrap_or(false) || refused.as_ref().is_some_and(heard);
    Ok(DeviceRow {
        name: asker
            .known
            .text("device", &device.id, state.name.as_ref())
            .unwrap_or_else(|| state.local_id.clone()),
        site_name: sites
            .iter()
            .find(|s| s.id == site)
            .map_or_else(String::new, |s| s.name.clone()),
        site,
        model: state.model.clone(),
        cadence_s: state.cadence_s.or_else(|| learned(life)),
        last_seen,
        channels: found
            .channels
            .iter()
            .map(|c| channel_now(asker, c, latest(&c.id), old_us, states))
            .collect(),
        online,
        refused,
        spark: None,
        id: device.id.to_string(),
    })
}

/// The device's own rhythm; told in whole minutes, because it is one.
fn learned(life: Option<&DeviceOverview>) -> Option<u32> {
    let seconds = life?.learned_cadence_s?.round() as u32;
    Some(if seconds < MINUTE_S {
        seconds
    } else {
        (seconds + MINUTE_S / 2) / MINUTE_S * MINUTE_S
    })
}

/// The newest refusal, where nothing was taken since.
fn refused_since(
    asker: &Asker<'_>,
    device: &Device,
    life: Option<&DeviceOverview>,
    last_seen: Option<Timestamp>,
) -> Result<Option<RefusalNote>, QueryError> {
    let recorded = life
        .and_then(|life| life.refused_at)
        .is_some_and(|at| last_seen.is_none_or(|seen| at > seen));
    // Memory is asked first: most devices were never refused anything, and reading nothing costs nothing.
    let of_late = last_seen.is_none()
        || !asker
            .known
            .refused_of_late(&commands::refusals::Source::Device(device.id.clone()))
            .is_empty();
    if !recorded && !of_late {
        return Ok(None);
    }
    let newest = refusals::notes(asker, device)?.into_iter().next();
    Ok(newest.filter(|note| last_seen.is_none_or(|seen| note.at > seen)))
}

/// Limits as pages show them.
pub fn limits_of(limits: &Configured) -> Limits {
    Limits {
        min: limits.ok_min,
        max: limits.ok_max,
        grace_min: limits.grace_min,
    }
}

/// The age above which a channel's newest value says nothing of now, microseconds.
///
/// While others of its device are fresh, one channel may speak less often than they do.
pub fn old_after_us(life: Option<&DeviceOverview>, now: Timestamp) -> i64 {
    let rhythm = life
        .and_then(DeviceOverview::gap_limit_us)
        .unwrap_or(0)
        .max(OLD_MIN_US);
    let fresh = life
        .and_then(|life| life.last_measured)
        .is_some_and(|at| now.since(at) <= rhythm);
    if fresh { rhythm.max(DAY_US) } else { rhythm }
}

/// A channel and its latest value, which is old after `old_us`.
pub fn channel_now(
    asker: &Asker<'_>,
    channel: &Channel,
    latest: Option<&ChannelLatest>,
    old_us: i64,
    states: &States,
) -> ChannelNow {
    let state = &channel.state;
    let latest = latest.and_then(|latest| latest.latest);
    ChannelNow {
        id: channel.id.to_string(),
        sensor: state.sensor.clone(),
        kind: state.kind.clone(),
        label: asker.known.text("channel", &channel.id, state.label.as_ref()),
        unit: state.unit.clone(),
        auxiliary: state.auxiliary,
        old: !state.auxiliary && latest.is_some_and(|latest| asker.now.since(latest.at) > old_us),
        latest: latest.map(|latest| (latest.at, latest.value)),
        limits: limits_of(&state.limits),
        judged: alarms::judged(asker, channel, states),
        etag: state.sequence.to_string(),
    }
}

/// Small lines for the first devices of the list as it is shown.
fn draw_sparks(asker: &Asker<'_>, devices: &mut [DeviceRow]) -> Result<(), QueryError> {
    let shown: Vec<String> = worst_first(devices)
        .iter()
        .take(SPARKS_MAX)
        .map(|row| row.id.clone())
        .collect();
    for row in devices.iter_mut().filter(|row| shown.contains(&row.id)) {
        let telling = row.telling().filter(|channel| channel.latest.is_some());
        row.spark = telling.map(|channel| spark(asker, channel)).transpose()?;
    }
    Ok(())
}

fn spark(asker: &Asker<'_>, channel: &ChannelNow) -> Result<Spark, QueryError> {
    let (from, to) = (asker.now.plus_micros(-DAY_US), asker.now);
    let chart = known(
        asker
            .rows
            .chart(asker.account, &channel.id, from, to, SPARK_STEPS),
    )?;
    let (series, gaps) = history::drawn(chart, from, to, SPARK_STEPS);
    Ok(Spark {
        from,
        to,
        series,
        gaps,
        limits: channel.limits,
    })
}
