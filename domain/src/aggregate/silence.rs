//! `silence/sil_…`: nobody is told of a channel's alarms for a time; everything else goes on.
//!
//! Invariants: `from` lies before `to`, and both within [`SILENCE_US_MAX`] of each other; it ends once.
//! Source: REFERENCE §1.4. Not here: who would have been told (`api`).

use super::{Aggregate, Stamp, text};
use crate::event::{Event, SilenceEnded, SilenceOpened, Text};
use crate::rejection::Rejection;
use crate::sealed::SealedField;
use crate::time::{DAY_US, Timestamp};
use serde::{Deserialize, Serialize};

/// Longest silence, microseconds: 31 days. A longer one is a rule nobody wants, and should be changed.
pub const SILENCE_US_MAX: i64 = 31 * DAY_US;

/// The state of a silence.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct Silence {
    /// How many events there were.
    pub sequence: u64,
    /// The channel.
    pub channel: String,
    /// From when.
    pub from: Timestamp,
    /// Until when; earlier than planned once it was ended.
    pub to: Timestamp,
    /// Why, sealed.
    pub text: Option<SealedField>,
    /// Whether a person ended it.
    pub ended: bool,
}

/// What may be asked of a silence.
#[derive(Debug, Clone, PartialEq)]
pub enum SilenceCommand {
    /// Begins it.
    Open {
        /// The channel.
        channel: String,
        /// From when.
        from: Timestamp,
        /// Until when.
        to: Timestamp,
        /// Why, in words.
        text: Option<String>,
    },
    /// Ends it before its time.
    End {
        /// When.
        at: Timestamp,
    },
}

impl Silence {
    /// Whether it holds at that time.
    pub fn holds_at(&self, at: Timestamp) -> bool {
        self.sequence > 0 && holds(&(self.from, self.to), at)
    }
}

fn holds((from, to): &(Timestamp, Timestamp), at: Timestamp) -> bool {
    *from <= at && at < *to
}

/// When somebody who is silenced at `at` is told again, over silences (from, to) that overlap or follow one another
/// without a gap; `None` where none holds.
pub fn silent_until(
    silences: impl Iterator<Item = (Timestamp, Timestamp)> + Clone,
    at: Timestamp,
) -> Option<Timestamp> {
    let mut until = at;
    while let Some(end) = silences
        .clone()
        .filter(|silence| holds(silence, until))
        .map(|(_, to)| to)
        .max()
    {
        until = end;
    }
    (until > at).then_some(until)
}

impl Aggregate for Silence {
    const TYPE: &'static str = "silence";
    type Command = SilenceCommand;

    fn apply(&mut self, event: &Event, stamp: Stamp<'_>) {
        self.sequence = stamp.sequence;
        match event {
            Event::SilenceOpened(opened) => {
                self.channel.clone_from(&opened.channel);
                self.from = opened.from;
                self.to = opened.to;
                self.text = stamp.maybe(opened.text.as_ref(), "/text");
            }
            Event::SilenceEnded(ended) => {
                self.to = self.to.min(ended.at);
                self.ended = true;
            }
            _ => {}
        }
    }

    fn decide(&self, command: &SilenceCommand) -> Result<Vec<Event>, Rejection> {
        match command {
            SilenceCommand::Open { .. } if self.sequence > 0 => Err(Rejection::conflict(
                "already_exists",
                "this silence exists already",
            )),
            SilenceCommand::Open {
                channel,
                from,
                to,
                text: why,
            } => {
                if from >= to || to.since(*from) > SILENCE_US_MAX {
                    return Err(Rejection::invalid(
                        "invalid_silence",
                        "from must lie before to, by at most 31 days",
                    ));
                }
                let why = text::notes("reason", why.as_deref())?;
                Ok(vec![Event::SilenceOpened(SilenceOpened {
                    channel: channel.clone(),
                    from: *from,
                    text: why.map(Text::Plain),
                    to: *to,
                })])
            }
            SilenceCommand::End { .. } if self.sequence == 0 => {
                Err(Rejection::not_found("silence_not_found", "no such silence"))
            }
            SilenceCommand::End { at } if self.ended || *at >= self.to => Ok(vec![]),
            SilenceCommand::End { at } => Ok(vec![Event::SilenceEnded(SilenceEnded {
                at: *at,
                channel: self.channel.clone(),
            })]),
        }
    }

    fn sequence(&self) -> u64 {
        self.sequence
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn silences_that_meet_are_one_and_one_that_never_began_holds_nothing() {
        let at = |s: i64| Timestamp::default().plus_micros(s);
        let until = |silences: &[(i64, i64)], t| {
            let silences: Vec<_> = silences.iter().map(|(from, to)| (at(*from), at(*to))).collect();
            silent_until(silences.into_iter(), at(t))
        };
        assert_eq!(until(&[(0, 10), (20, 30)], 5), Some(at(10)));
        assert_eq!(until(&[(0, 10), (9, 20), (20, 30)], 5), Some(at(30)));
        assert_eq!(until(&[(0, 10), (2, 8)], 3), Some(at(10)));
        assert_eq!(until(&[(0, 10)], 10), None);
        assert_eq!(until(&[(10, 5)], 7), None);
        assert_eq!(until(&[], 7), None);
    }

    #[test]
    fn a_silence_holds_from_its_beginning_to_its_end_or_until_it_is_ended() {
        let at = |s: i64| Timestamp::default().plus_micros(s * 1_000_000);
        let open = |from, to| SilenceCommand::Open {
            channel: "chn_a".into(),
            from: at(from),
            to: at(to),
            text: None,
        };
        let mut silence = Silence::default();
        for bad in [open(10, 10), open(10, 5), open(0, 32 * 86_400)] {
            assert_eq!(silence.decide(&bad).map_err(|r| r.code), Err("invalid_silence"));
        }
        let end = SilenceCommand::End { at: at(50) };
        assert_eq!(silence.decide(&end).map_err(|r| r.code), Err("silence_not_found"));
        for (sequence, command) in [(1, open(10, 100)), (2, end.clone())] {
            for event in silence.decide(&command).expect("accepted") {
                silence.apply(&event, Stamp { sequence, salt: "" });
            }
        }
        assert!(!silence.holds_at(at(9)) && silence.holds_at(at(10)) && !silence.holds_at(at(50)));
        assert_eq!(silence.decide(&end), Ok(vec![]));
    }
}
