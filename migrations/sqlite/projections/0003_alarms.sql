-- Alarms and what the rules make of channels. Times are microseconds since 1970, UTC.

-- One row an alarm. `rank` is the place in the list: 0 open alarm, 1 open and acknowledged, 2 open warning, 3 open
-- warning that was acknowledged, 4 ended.
CREATE TABLE alarms (
    id             TEXT    NOT NULL PRIMARY KEY,
    account        INTEGER NOT NULL,
    channel        TEXT    NOT NULL,
    device         TEXT,
    site           TEXT,
    rule           TEXT    NOT NULL,
    rule_version   INTEGER NOT NULL,
    kind           TEXT    NOT NULL,
    severity       TEXT    NOT NULL,
    life           TEXT    NOT NULL,
    acknowledged   INTEGER NOT NULL,
    acknowledged_by TEXT,
    rank           INTEGER NOT NULL,
    began_at       INTEGER NOT NULL,
    opened_at      INTEGER NOT NULL,
    ended_at       INTEGER,
    position       INTEGER NOT NULL,
    changed        INTEGER NOT NULL,
    changed_at     INTEGER NOT NULL,
    sequence       INTEGER NOT NULL,
    late           INTEGER NOT NULL,
    withdrawn      INTEGER NOT NULL,
    value          REAL,
    opened         TEXT    NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX alarms_of_account ON alarms (account, rank, position DESC);
CREATE INDEX alarms_of_channel ON alarms (channel, rank, position DESC);

-- The state of each channel that has had one.
CREATE TABLE channel_states (
    channel      TEXT    NOT NULL PRIMARY KEY,
    account      INTEGER NOT NULL,
    state        TEXT    NOT NULL,
    since_at     INTEGER NOT NULL,
    position     INTEGER NOT NULL,
    rule         TEXT,
    rule_version INTEGER,
    late         INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX channel_states_of_account ON channel_states (account, channel);
