//! Alarms, worst and unacknowledged first, and the states of channels.
//!
//! Invariants: an account sees its own; lists go on by (rank, position), so that a page never repeats what stays where
//! it is. Not here: an alarm's entries (`timeline`, by its id), silences (the registry).

use super::{ReadModel, time};
use crate::error::QueryError;
use domain::event::{AlarmOpened, Event};
use domain::rule::ChannelState;
use domain::{Position, Timestamp};
use rusqlite::{OptionalExtension, Row};
use std::collections::BTreeMap;

/// Most alarms of a page.
const ALARMS_MAX: usize = 1_001;

/// Which alarms.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct AlarmFilter {
    /// Of this channel.
    pub channel: Option<String>,
    /// Opened at this site.
    pub site: Option<String>,
    /// `warn` or `alarm`.
    pub severity: Option<String>,
    /// `open`, `cleared` or `closed`.
    pub life: Option<String>,
    /// Whether a person has seen it.
    pub acknowledged: Option<bool>,
    /// Opened at or after.
    pub from: Option<Timestamp>,
    /// Opened before.
    pub to: Option<Timestamp>,
    /// Behind this one.
    pub after: Option<AlarmPlace>,
}

/// An alarm's place in the list.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AlarmPlace {
    /// 0 open … 4 ended.
    pub rank: u8,
    /// Of its first entry.
    pub position: Position,
}

/// An alarm as it is now.
#[derive(Debug, Clone, PartialEq)]
pub struct Alarm {
    /// `alm_…`
    pub id: String,
    /// `chn_…`; empty of one that no rule opened: a way that fails, or a trial.
    pub channel: String,
    /// `dev_…`
    pub device: Option<String>,
    /// Where the device stood when it opened.
    pub site: Option<String>,
    /// `rul_…`
    pub rule: String,
    /// Its version.
    pub rule_version: u32,
    /// What the rule looks at; `path` and `challenge` where there is none.
    pub kind: String,
    /// `warn` or `alarm`.
    pub severity: String,
    /// `open`, `cleared` or `closed`.
    pub life: String,
    /// Whether a person has seen it since it last became worse.
    pub acknowledged: bool,
    /// Who, last.
    pub acknowledged_by: Option<String>,
    /// When the values left what is right.
    pub began_at: Timestamp,
    /// When it became an alarm.
    pub opened_at: Timestamp,
    /// When it ended.
    pub ended_at: Option<Timestamp>,
    /// Where it stands in the list.
    pub place: AlarmPlace,
    /// Its newest entry.
    pub changed: Position,
    /// When that was recorded.
    pub changed_at: Timestamp,
    /// How many entries it has: the entity tag.
    pub sequence: u64,
    /// Opened after readings that came late.
    pub late: bool,
    /// Readings that came late show that it had not been one.
    pub withdrawn: bool,
    /// The newest value that was told.
    pub value: Option<f64>,
    /// The payload of its `AlarmOpened` or `AlarmRaised`, JSON.
    pub opened: String,
    /// When that was recorded, by our clock.
    pub recorded_at: Timestamp,
}

impl Alarm {
    /// Its first entry where a rule opened it; `None` of one that no rule opened.
    pub fn opening(&self) -> Option<AlarmOpened> {
        match Event::read("AlarmOpened", self.opened.as_bytes()) {
            Ok(Event::AlarmOpened(opened)) => Some(opened),
            _ => None,
        }
    }
}

/// How a channel is.
#[derive(Debug, Clone, PartialEq)]
pub struct StateOfChannel {
    /// In one word.
    pub state: ChannelState,
    /// Since when, in the time of the data.
    pub since: Timestamp,
    /// The entry that says so.
    pub position: Position,
    /// The rule that brought it about, and its version.
    pub rule: Option<(String, u32)>,
    /// Whether the channel's open alarms were all seen by a person; `false` where none is open.
    pub acknowledged: bool,
}

/// How many alarms an account has.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct AlarmCounts {
    /// Open.
    pub open: u64,
    /// Open and not seen by anybody.
    pub unacknowledged: u64,
}

impl ReadModel {
    /// Alarms of an account: open ones first, among them the worst and those that nobody has seen; then by when they
    /// were recorded, newest first.
    ///
    /// # Errors
    /// `Unavailable`.
    pub fn alarms(
        &self,
        account: &str,
        filter: &AlarmFilter,
        limit: usize,
    ) -> Result<Vec<Alarm>, QueryError> {
        let after = filter.after.unwrap_or(AlarmPlace {
            rank: 0,
            position: Position(i64::MAX as u64),
        });
        self.ask(|connection| {
            let mut statement = connection.prepare_cached(
                "SELECT * FROM alarms WHERE account = (SELECT key FROM accounts WHERE id = ?1)
                     AND (rank > ?2 OR (rank = ?2 AND position < ?3))
                     AND (?4 IS NULL OR channel = ?4) AND (?5 IS NULL OR site = ?5)
                     AND (?6 IS NULL OR severity = ?6) AND (?7 IS NULL OR life = ?7)
                     AND (?8 IS NULL OR acknowledged = ?8)
                     AND (?9 IS NULL OR opened_at >= ?9) AND (?10 IS NULL OR opened_at < ?10)
                 ORDER BY rank, position DESC LIMIT ?11",
            )?;
            let rows = statement.query_map(
                rusqlite::params![
                    account,
                    after.rank,
                    after.position.get() as i64,
                    filter.channel,
                    filter.site,
                    filter.severity,
                    filter.life,
                    filter.acknowledged,
                    filter.from.map(Timestamp::as_micros),
                    filter.to.map(Timestamp::as_micros),
                    limit.min(ALARMS_MAX) as i64,
                ],
                alarm,
            )?;
            Ok(rows.collect::<rusqlite::Result<_>>()?)
        })
    }

    /// One alarm; `None` where the account has none of that id.
    ///
    /// # Errors
    /// `Unavailable`.
    pub fn alarm(&self, account: &str, id: &str) -> Result<Option<Alarm>, QueryError> {
        self.ask(|connection| {
            Ok(connection
                .prepare_cached(
                    "SELECT * FROM alarms WHERE id = ?2 AND account = (SELECT key FROM accounts WHERE id = ?1)",
                )?
                .query_row((account, id), alarm)
                .optional()?)
        })
    }

    /// How many alarms are open; trials are none.
    ///
    /// # Errors
    /// `Unavailable`.
    pub fn alarm_counts(&self, account: &str) -> Result<AlarmCounts, QueryError> {
        self.ask(|connection| {
            Ok(connection
                .prepare_cached(
                    "SELECT count(*), coalesce(sum(1 - acknowledged), 0) FROM alarms
                     WHERE account = (SELECT key FROM accounts WHERE id = ?1) AND rank < 4 AND kind <> 'challenge'",
                )?
                .query_row([account], |row| {
                    Ok(AlarmCounts {
                        open: row.get::<_, i64>(0)? as u64,
                        unacknowledged: row.get::<_, i64>(1)? as u64,
                    })
                })?)
        })
    }

    /// The states of the account's channels, by channel id; one that never had another than `ok` is not there.
    ///
    /// # Errors
    /// `Unavailable`.
    pub fn channel_states(&self, account: &str) -> Result<BTreeMap<String, StateOfChannel>, QueryError> {
        self.ask(|connection| {
            let mut statement = connection.prepare_cached(
                "SELECT s.channel, s.state, s.since_at, s.position, s.rule, s.rule_version,
                     (SELECT min(a.acknowledged) FROM alarms a WHERE a.channel = s.channel AND a.rank < 4)
                 FROM channel_states s WHERE s.account = (SELECT key FROM accounts WHERE id = ?1)",
            )?;
            let rows = statement.query_map([account], |row| Ok((row.get(0)?, state(row)?)))?;
            Ok(rows.collect::<rusqlite::Result<_>>()?)
        })
    }

    /// The state of one channel.
    ///
    /// # Errors
    /// `Unavailable`.
    pub fn channel_state(&self, account: &str, channel: &str) -> Result<Option<StateOfChannel>, QueryError> {
        self.ask(|connection| {
            Ok(connection
                .prepare_cached(
                    "SELECT s.channel, s.state, s.since_at, s.position, s.rule, s.rule_version,
                         (SELECT min(a.acknowledged) FROM alarms a WHERE a.channel = s.channel AND a.rank < 4)
                     FROM channel_states s
                     WHERE s.channel = ?2 AND s.account = (SELECT key FROM accounts WHERE id = ?1)",
                )?
                .query_row((account, channel), state)
                .optional()?)
        })
    }
}

fn state(row: &Row<'_>) -> rusqlite::Result<StateOfChannel> {
    let word: String = row.get(1)?;
    let rule: Option<String> = row.get(4)?;
    let version: Option<u32> = row.get(5)?;
    Ok(StateOfChannel {
        state: ChannelState::parse(&word).unwrap_or_default(),
        since: time(row.get(2)?),
        position: Position(row.get::<_, i64>(3)? as u64),
        rule: rule.zip(version),
        acknowledged: row.get::<_, Option<i64>>(6)? == Some(1),
    })
}

fn alarm(row: &Row<'_>) -> rusqlite::Result<Alarm> {
    Ok(Alarm {
        id: row.get("id")?,
        channel: row.get("channel")?,
        device: row.get("device")?,
        site: row.get("site")?,
        rule: row.get("rule")?,
        rule_version: row.get("rule_version")?,
        kind: row.get("kind")?,
        severity: row.get("severity")?,
        life: row.get("life")?,
        acknowledged: row.get::<_, i64>("acknowledged")? != 0,
        acknowledged_by: row.get("acknowledged_by")?,
        began_at: time(row.get("began_at")?),
        opened_at: time(row.get("opened_at")?),
        ended_at: row.get::<_, Option<i64>>("ended_at")?.map(time),
        place: AlarmPlace {
            rank: row.get("rank")?,
            position: Position(row.get::<_, i64>("position")? as u64),
        },
        changed: Position(row.get::<_, i64>("changed")? as u64),
        changed_at: time(row.get("changed_at")?),
        sequence: row.get::<_, i64>("sequence")? as u64,
        late: row.get::<_, i64>("late")? != 0,
        withdrawn: row.get::<_, i64>("withdrawn")? != 0,
        value: row.get("value")?,
        opened: row.get("opened")?,
        recorded_at: time(row.get("recorded_at")?),
    })
}
