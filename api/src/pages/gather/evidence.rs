//! The page of evidence packs: what may be asked for, and what became of what was.

use domain::Date;
use domain::registry::{Channel, Device};

use super::super::view::{EvidencePage, PackMade, PackRow, PackState, Subjects};
use super::super::words;
use super::{Asker, devices};
use crate::evidence::job::{Packed, State};
use crate::evidence::shelf::Told;
use chain_publisher::pack::Subject;

/// What the page is asked with.
#[derive(Debug, Clone, Default)]
pub struct Typed {
    /// `site:…`, `device:…` or `channel:…`.
    pub subject: Option<String>,
    /// The first day, as typed.
    pub from: Option<String>,
    /// The last day, as typed.
    pub to: Option<String>,
    /// Lines of recipients.
    pub recipients: String,
    /// What is wrong with it.
    pub error: Option<String>,
}

/// The page.
pub fn evidence(
    asker: &Asker<'_>,
    told: &[Told],
    typed: Typed,
    last_closed: Option<Date>,
    idempotency_key: String,
) -> EvidencePage {
    let day = last_closed.unwrap_or_else(|| asker.now.date()).to_string();
    EvidencePage {
        subjects: subjects(asker, typed.subject.as_deref()),
        chosen: typed.subject,
        from: typed.from.unwrap_or_else(|| day.clone()),
        to: typed.to.unwrap_or(day),
        recipients: typed.recipients,
        error: typed.error,
        packs: told.iter().rev().map(|told| row(asker, told)).collect(),
        last_closed,
        idempotency_key,
    }
}

/// Sites, devices, and the channel that is chosen.
fn subjects(asker: &Asker<'_>, chosen: Option<&str>) -> Vec<Subjects> {
    let mut groups = Vec::new();
    if let Some(id) = chosen.and_then(|chosen| chosen.strip_prefix("channel:"))
        && let Some((channel, device)) = channel(asker, id)
    {
        groups.push(Subjects {
            label: "Channel".to_owned(),
            options: vec![(format!("channel:{id}"), channel_words(asker, &channel, &device))],
        });
    }
    let sites = devices::site_cards(asker);
    if !sites.is_empty() {
        groups.push(Subjects {
            label: "Sites, with every device that was ever there".to_owned(),
            options: sites
                .into_iter()
                .map(|site| (format!("site:{}", site.id), site.name))
                .collect(),
        });
    }
    let all: Vec<Device> = asker
        .known
        .registry()
        .devices_ever(asker.account, None)
        .cloned()
        .collect();
    if !all.is_empty() {
        groups.push(Subjects {
            label: "Devices, with their channels".to_owned(),
            options: all
                .iter()
                .map(|device| (format!("device:{}", device.id), device_name(asker, device)))
                .collect(),
        });
    }
    groups
}

fn channel(asker: &Asker<'_>, id: &str) -> Option<(Channel, Device)> {
    let registry = asker.known.registry();
    let channel = registry.channel(asker.account, id)?.clone();
    let device = registry.device(asker.account, &channel.state.device)?.clone();
    Some((channel, device))
}

fn device_name(asker: &Asker<'_>, device: &Device) -> String {
    asker
        .known
        .text("device", &device.id, device.state.name.as_ref())
        .unwrap_or_else(|| device.state.local_id.clone())
}

fn channel_words(asker: &Asker<'_>, channel: &Channel, device: &Device) -> String {
    let kind = words::capitalised(words::kind(&channel.state.kind));
    let label = asker
        .known
        .text("channel", &channel.id, channel.state.label.as_ref());
    let device = device_name(asker, device);
    match label {
        Some(label) => format!("{kind} · {label}, {device}"),
        None => format!("{kind}, {device}"),
    }
}

fn about(asker: &Asker<'_>, subject: &Subject) -> String {
    let named = match subject {
        Subject::Site(id) => {
            let name = {
                let registry = asker.known.registry();
                registry
                    .site(asker.account, id)
                    .and_then(|it| it.state.name.clone())
            };
            asker.known.text("site", id, name.as_ref())
        }
        Subject::Device(id) => {
            let device = asker.known.registry().device(asker.account, id).cloned();
            device.map(|device| device_name(asker, &device))
        }
        Subject::Channel(id) => {
            channel(asker, id).map(|(channel, device)| channel_words(asker, &channel, &device))
        }
        Subject::Alarm { channel: of, .. } => channel(asker, of)
            .map(|(channel, device)| format!("Alarm of {}", channel_words(asker, &channel, &device))),
    };
    named.unwrap_or_else(|| subject.id().to_owned())
}

fn row(asker: &Asker<'_>, told: &Told) -> PackRow {
    let job = &told.job;
    let made = |pack: &Packed, position: domain::Position| {
        let (bytes, sha256) = pack.file();
        PackMade {
            file: format!("/v1/evidence/{}/file", job.id),
            bytes,
            sha256: sha256.to_string(),
            pack_sha256: pack.sha256.to_string(),
            values: pack.values,
            open_from: pack.open_from,
            position: position.get(),
        }
    };
    let state = match &job.state {
        State::Queued => PackState::Waiting { progress: None },
        State::Running | State::Made { .. } => PackState::Waiting {
            progress: Some(told.progress.unwrap_or((0, 1))),
        },
        State::Ready {
            pack,
            position,
            expires_at,
            ..
        } => PackState::Ready {
            expires_at: *expires_at,
            made: made(pack, *position),
        },
        State::Expired {
            pack, position, at, ..
        } => PackState::Expired {
            at: *at,
            made: made(pack, *position),
        },
        State::Failed { message, .. } => PackState::Failed {
            message: message.clone(),
        },
    };
    PackRow {
        id: job.id.clone(),
        about: about(asker, &job.query.subject),
        from: job.query.from,
        to: job.query.to,
        asked_at: job.asked_at,
        asked_by: person(asker, &job.user),
        encrypted: job.recipients.len() as u64,
        state,
    }
}

/// A person's name or address, or their id.
fn person(asker: &Asker<'_>, id: &str) -> String {
    let user = asker.known.registry().user(asker.account, id).cloned();
    let named = user.and_then(|user| {
        let name = asker.known.text("user", id, user.state.name.as_ref());
        name.or_else(|| asker.known.text("user", id, user.state.email.as_ref()))
    });
    named.unwrap_or_else(|| id.to_owned())
}
