//! Rules and silences in the registry, and which rules of a channel are in force.
//!
//! Every channel with limits has a *simple rule*: a range with a grace, whose id follows from the channel's. It is the
//! channel's limits under another name, until somebody gives it what limits cannot say (windows, a warn band); then it
//! has a stream of its own, which leads, and the channel's limits repeat it.
//! Invariant: a rule in force has exactly one definition and version at a position.
//! Source: docs/rules.md. Not here: judging by rules (`rule::engine`).

use super::check::{TRAILING_PER_ACCOUNT_MAX, TRAILING_PER_DEVICE_MAX};
use super::lookup::listed;
use super::{Channel, Device, Mark, Registry, Rule, Silence};
use crate::ids::IdKind;
use crate::position::Position;
use crate::rule::Definition;
use crate::time::Timestamp;
use std::borrow::Cow;

/// The id of a channel's simple rule: the channel's own letters under a rule's prefix.
pub fn simple_rule_id(channel: &str) -> String {
    let letters = channel.strip_prefix(IdKind::Channel.prefix()).unwrap_or(channel);
    format!("{}{letters}", IdKind::Rule.prefix())
}

/// A rule as it is in force.
#[derive(Debug, Clone)]
pub struct InForce<'r> {
    /// `rul_…`
    pub id: Cow<'r, str>,
    /// What it judges.
    pub channel: &'r Channel,
    /// Its version.
    pub version: u32,
    /// What it is.
    pub definition: Cow<'r, Definition>,
    /// The entry that made this version.
    pub changed: Mark,
    /// Its stream; `None` where it is the channel's limits.
    pub stream: Option<&'r Rule>,
    /// Whether it is the channel's simple rule.
    pub is_simple: bool,
}

impl InForce<'_> {
    /// The sequence of the stream that a change of it goes to: the entity tag.
    pub fn sequence(&self) -> u64 {
        self.stream
            .map_or(self.channel.state.sequence, |rule| rule.state.sequence)
    }
}

impl Registry {
    /// A rule with a stream of its own; removed ones too.
    pub fn rule(&self, account: &str, id: &str) -> Option<&Rule> {
        self.rules.get(id).filter(|rule| *rule.account == *account)
    }

    /// A channel's rules with streams of their own, in order of creation.
    pub fn rules_of<'r>(&'r self, channel: &'r Channel) -> impl Iterator<Item = &'r Rule> {
        let rules = channel.rules.iter().map(|slot| self.rules.at(*slot));
        rules.filter(|rule| !rule.state.removed)
    }

    /// The channels whose values are made of this one's.
    pub fn derived_from<'r>(&'r self, channel: &'r Channel) -> impl Iterator<Item = &'r Channel> {
        let fed = channel.feeds.iter().map(|slot| self.channels.at(*slot));
        fed.filter(|derived| {
            let sources = derived.state.derivation.as_ref().map(|it| &it.sources);
            sources.is_some_and(|sources| sources.iter().any(|source| **source == *channel.id))
        })
    }

    /// How many of a device's channels are made of past days of others.
    pub fn trailing_of(&self, device: &Device) -> usize {
        self.channels(device)
            .filter(|channel| channel.state.is_trailing())
            .count()
    }

    /// How many more of them may begin on a device.
    pub fn trailing_room(&self, device: &Device) -> usize {
        let of_account = self.account(&device.account).map_or(0, |it| it.trailing_count);
        let room = TRAILING_PER_DEVICE_MAX.saturating_sub(self.trailing_of(device));
        room.min(TRAILING_PER_ACCOUNT_MAX.saturating_sub(of_account))
    }

    /// A channel's simple rule.
    pub fn simple_rule<'r>(&'r self, channel: &'r Channel) -> Option<InForce<'r>> {
        let id = simple_rule_id(&channel.id);
        if let Some(rule) = self.rules.get(&id).filter(|rule| !rule.state.removed) {
            return Some(in_force(channel, rule, true));
        }
        let limits = channel.state.limits;
        if limits.ok_min.is_none() && limits.ok_max.is_none() {
            return None;
        }
        Some(InForce {
            id: Cow::Owned(id),
            channel,
            version: channel.simple_version,
            definition: Cow::Owned(Definition::range(
                limits.ok_min,
                limits.ok_max,
                limits.grace_min.unwrap_or(0),
            )),
            changed: channel.simple_changed,
            stream: None,
            is_simple: true,
        })
    }

    /// A channel's rules: the simple one, then the others in order of creation.
    pub fn rules_in_force<'r>(&'r self, channel: &'r Channel) -> Vec<InForce<'r>> {
        let mut rules: Vec<InForce<'r>> = self.simple_rule(channel).into_iter().collect();
        let simple = simple_rule_id(&channel.id);
        let others = self.rules_of(channel).filter(|rule| *rule.id != *simple);
        rules.extend(others.map(|rule| in_force(channel, rule, false)));
        rules
    }

    /// A rule of the account by its id, the simple ones among them.
    pub fn rule_in_force<'r>(&'r self, account: &str, id: &str) -> Option<InForce<'r>> {
        if let Some(rule) = self.rule(account, id).filter(|rule| !rule.state.removed) {
            let channel = self.channels.get(&rule.state.channel)?;
            return Some(in_force(channel, rule, simple_rule_id(&channel.id) == id));
        }
        let letters = id.strip_prefix(IdKind::Rule.prefix())?;
        let channel = self.channel(account, &format!("{}{letters}", IdKind::Channel.prefix()))?;
        self.simple_rule(channel)
    }

    /// A silence of the account; ended ones too.
    pub fn silence(&self, account: &str, id: &str) -> Option<&Silence> {
        self.silences
            .get(id)
            .filter(|silence| *silence.account == *account)
    }

    /// A silence, in whichever account; ended ones too.
    pub fn silence_anywhere(&self, id: &str) -> Option<&Silence> {
        self.silences.get(id)
    }

    /// The account's silences after the cursor, in order of creation; ended ones too.
    pub fn silences<'r>(
        &'r self,
        account: &str,
        after: Option<Position>,
    ) -> impl Iterator<Item = &'r Silence> {
        let slots = self.accounts.get(account).map_or(&[][..], |a| &a.silences);
        listed(&self.silences, slots, after, |silence| silence.created)
    }

    /// A channel's silences, in order of creation; ended ones too.
    pub fn silences_of<'r>(&'r self, channel: &'r Channel) -> impl Iterator<Item = &'r Silence> {
        channel.silences.iter().map(|slot| self.silences.at(*slot))
    }

    /// Whether nobody was told of a channel at a time, by our clock: of an alarm, that is when its opening was recorded.
    /// `false` of what is no channel.
    pub fn is_silenced(&self, channel: &str, at: Timestamp) -> bool {
        self.channels.get(channel).is_some_and(|channel| {
            let mut silences = self.silences_of(channel);
            silences.any(|silence| silence.state.holds_at(at))
        })
    }
}

fn in_force<'r>(channel: &'r Channel, rule: &'r Rule, is_simple: bool) -> InForce<'r> {
    InForce {
        id: Cow::Borrowed(&*rule.id),
        channel,
        version: rule.state.version,
        definition: Cow::Borrowed(&rule.state.definition),
        changed: rule.changed,
        stream: Some(rule),
        is_simple,
    }
}
