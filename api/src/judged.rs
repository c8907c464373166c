//! What the rules say of a channel now: derived once, for the API and for the pages.
//!
//! Invariants: a state comes from what the rules last said, never from limits and a value; where no rule in force
//! judges a channel, nobody says that it is right; no data never means that it is.
//! Not here: the words for it (`routes::sensors` as the reference has them, `pages::parts` as people do).

use domain::Timestamp;
use domain::registry::{Channel, Registry};
use domain::rule::ChannelState;
use projections::query::StateOfChannel;

/// What the rules say of a channel.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Judged {
    /// What they last said; `None` where they never said anything.
    pub told: Option<ChannelState>,
    /// Since when, in the time of the data.
    pub since: Option<Timestamp>,
    /// Whether somebody has acknowledged every alarm that is open.
    pub acknowledged: bool,
    /// Whether nobody is told of its alarms now.
    pub silenced: bool,
    /// How many rules judge it.
    pub rules: usize,
}

impl Judged {
    /// Of a channel at a time, by what the rules last said of it.
    pub fn of(registry: &Registry, channel: &Channel, told: Option<&StateOfChannel>, now: Timestamp) -> Self {
        Self {
            told: told.map(|told| told.state),
            since: told.map(|told| told.since),
            acknowledged: told.is_some_and(|told| told.acknowledged),
            silenced: registry.is_silenced(&channel.id, now),
            rules: registry
                .rules_in_force(channel)
                .iter()
                .filter(|rule| rule.definition.enabled)
                .count(),
        }
    }

    /// Its state, where it has a value or not; `None` where values come and no rule says what they should be.
    pub fn state(&self, has_value: bool) -> Option<ChannelState> {
        let judged = self.rules > 0;
        match (self.told, has_value) {
            (None, false) => Some(ChannelState::NoData),
            (None, true) => judged.then_some(ChannelState::Ok),
            (Some(told), _) if judged || told != ChannelState::Ok => Some(told),
            (Some(_), _) => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_channel_without_a_rule_is_never_said_to_be_right() {
        let judged = |told, rules| Judged {
            told,
            rules,
            ..Judged::default()
        };
        for (told, rules, has_value, expected) in [
            (None, 0, false, Some(ChannelState::NoData)),
            (None, 0, true, None),
            (None, 1, true, Some(ChannelState::Ok)),
            (Some(ChannelState::Ok), 0, true, None),
            (Some(ChannelState::Ok), 1, true, Some(ChannelState::Ok)),
            // Its rules were switched off: what they said last is still open.
            (Some(ChannelState::Alarm), 0, true, Some(ChannelState::Alarm)),
            (Some(ChannelState::NoData), 1, true, Some(ChannelState::NoData)),
        ] {
            assert_eq!(
                judged(told, rules).state(has_value),
                expected,
                "{told:?} {rules} {has_value}"
            );
        }
    }
}
