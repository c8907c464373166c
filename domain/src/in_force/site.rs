//! What of an account's configuration was in force at one site.
//!
//! Invariants: a device is where its moves say it stood at that time; what names nothing of the site and nothing of
//! another is the whole account's and holds here too; what was taken away, or is over by itself, is not in force.
//! Not here: the fold (`in_force`).

use super::{InForce, Item, TokenItem};
use crate::time::Timestamp;
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};

/// Types that have a list of their own.
const LISTED: &[&str] = &["account", "site", "device", "channel", "user", "integration"];
/// What holds until a time that it names.
const SILENCE: &str = "silence";
/// Beginnings of ids that tie something to a place.
const PLACES: &[&str] = &["site_", "dev_", "chn_", "snr_"];

/// What was in force at a site.
#[derive(Debug, Clone)]
pub struct SiteInForce<'a> {
    /// The account.
    pub account: Option<&'a Item>,
    /// The site.
    pub site: &'a Item,
    /// The devices that stood there, by id.
    pub devices: Vec<&'a Item>,
    /// Their channels, by device and key.
    pub channels: Vec<&'a Item>,
    /// Who had which rights in the account.
    pub users: Vec<&'a Item>,
    /// Webhooks of the account.
    pub integrations: Vec<&'a Item>,
    /// Tokens that were good: of these devices, users and integrations.
    pub tokens: Vec<&'a TokenItem>,
    /// Everything else that held here, such as rules and calibrations, by type.
    pub others: BTreeMap<&'a str, Vec<&'a Item>>,
}

impl InForce {
    /// What was in force at a site at a time; `None` where it was not there.
    pub fn at_site(&self, site: &str, at: Timestamp) -> Option<SiteInForce<'_>> {
        let site = self.item("site", site).filter(|site| !site.ended)?;
        let lives = |of: &'static str| self.items(of).filter(|item| !item.ended);
        let devices: Vec<&Item> = lives("device")
            .filter(|device| device.site_at(at) == Some(&*site.aggregate_id))
            .collect();
        let is_here = |id: &str| {
            devices
                .binary_search_by(|device| (*device.aggregate_id).cmp(id))
                .is_ok()
        };
        let mut channels: Vec<&Item> = lives("channel")
            .filter(|channel| channel.text("device").is_some_and(is_here))
            .collect();
        channels.sort_by_key(|channel| (channel.text("device"), channel.text("key")));
        let users: Vec<&Item> = lives("user").collect();
        let integrations: Vec<&Item> = lives("integration").collect();
        let mut places: BTreeSet<&str> = BTreeSet::from([&*site.aggregate_id]);
        places.extend(devices.iter().chain(&channels).map(|item| &*item.aggregate_id));
        places.extend(channels.iter().filter_map(|channel| channel.text("sensor")));
        let owners = devices.iter().chain(&users).chain(&integrations);
        let tokens = owners
            .flat_map(|owner| self.tokens(&owner.aggregate_id))
            .filter(|token| token.is_good_at(at))
            .collect();
        let mut others: BTreeMap<&str, Vec<&Item>> = BTreeMap::new();
        for item in self
            .items
            .values()
            .filter(|item| !item.ended && !is_over(item, at))
        {
            if !LISTED.contains(&&*item.aggregate_type) && holds_at(item, &places) {
                others.entry(&item.aggregate_type).or_default().push(item);
            }
        }
        Some(SiteInForce {
            account: site.account.as_ref().and_then(|id| self.item("account", id)),
            site,
            devices,
            channels,
            users,
            integrations,
            tokens,
            others,
        })
    }
}

/// Whether something ended by itself: a silence that runs out has no entry of its own.
fn is_over(item: &Item, at: Timestamp) -> bool {
    let end = item.text("to").filter(|_| item.aggregate_type == SILENCE);
    let end = end.and_then(|to| Timestamp::parse_rfc3339(to).ok());
    end.is_some_and(|end| end <= at)
}

/// Whether something is of one of these places, or of no place in particular.
fn holds_at(item: &Item, places: &BTreeSet<&str>) -> bool {
    let mut named = Vec::new();
    named.extend(item.owner.as_deref());
    item.value.values().for_each(|value| names_in(value, &mut named));
    let mut ids = named
        .into_iter()
        .filter(|name| PLACES.iter().any(|kind| name.starts_with(kind)))
        .peekable();
    ids.peek().is_none() || ids.any(|id| places.contains(id))
}

fn names_in<'v>(value: &'v Value, names: &mut Vec<&'v str>) {
    match value {
        Value::String(text) => names.push(text),
        Value::Array(values) => values.iter().for_each(|value| names_in(value, names)),
        Value::Object(members) if !members.contains_key("sealed") => {
            members.values().for_each(|value| names_in(value, names));
        }
        _ => {}
    }
}
