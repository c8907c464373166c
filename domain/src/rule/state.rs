//! The state of a channel in one word, and which word wins where several rules judge it.
//!
//! Invariant: no data never means resolved: a channel with an open alarm whose readings stop stays in `alarm`.
//! Source: DESIGN "Decided"; docs/rules.md. Not here: `acknowledged` and `silenced`, which are flags beside it.

use serde::{Deserialize, Serialize};

/// How a channel is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ChannelState {
    /// Every rule is met.
    #[default]
    Ok,
    /// In range again, not yet for long enough; the alarm is still open.
    Recovering,
    /// Out of range; the countdown runs.
    Grace,
    /// Nothing arrived for too long, and no alarm is open.
    NoData,
    /// An alarm is open.
    Alarm,
}

impl ChannelState {
    /// Every one, the mildest first.
    pub const ALL: [Self; 5] = [Self::Ok, Self::Recovering, Self::Grace, Self::NoData, Self::Alarm];

    /// As written.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Recovering => "recovering",
            Self::Grace => "grace",
            Self::NoData => "no_data",
            Self::Alarm => "alarm",
        }
    }

    /// The one of that name.
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|state| state.as_str() == name)
    }

    /// The state of a channel whose rules are in these states: the most severe one. Where data are missing, a
    /// recovery cannot be seen, so it counts as the alarm that it has not ended.
    pub fn most_severe(rules: impl IntoIterator<Item = Self>) -> Self {
        let (mut worst, mut recovering) = (Self::Ok, false);
        for state in rules {
            recovering |= state == Self::Recovering;
            worst = worst.max(state);
        }
        if worst == Self::NoData && recovering {
            return Self::Alarm;
        }
        worst
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_most_severe_rule_gives_the_state_and_no_data_never_resolves() {
        use ChannelState::{Alarm, Grace, NoData, Ok, Recovering};
        assert_eq!(ChannelState::most_severe([]), Ok);
        assert_eq!(ChannelState::most_severe([Ok, Grace, Recovering]), Grace);
        assert_eq!(ChannelState::most_severe([NoData, Grace]), NoData);
        assert_eq!(ChannelState::most_severe([NoData, Alarm]), Alarm);
        assert_eq!(ChannelState::most_severe([Recovering, NoData]), Alarm);
        for state in ChannelState::ALL {
            assert_eq!(ChannelState::parse(state.as_str()), Some(state));
        }
    }
}
