-- The read models of the embedded profile. Derived: delete the file and they are folded again from the ledger.
-- Times are microseconds since 1970 (UTC). `key` columns are small integers of this file only; ids are texts.
-- Texts that are sealed in the ledger stand here sealed: {"sealed":{…},"place":{…}}.

CREATE TABLE cursors (
    projection  TEXT    NOT NULL PRIMARY KEY,
    version     INTEGER NOT NULL,  -- of the projection's meaning; another one is a rebuild
    size        INTEGER NOT NULL,  -- tree size that the rows reflect
    root        BLOB    NOT NULL,  -- root at that size; another one is a rebuild
    recorded_at INTEGER NOT NULL   -- of the newest entry applied
) STRICT, WITHOUT ROWID;

-- The world as the entries tell it: who owns what.

CREATE TABLE accounts (
    key       INTEGER PRIMARY KEY,
    id        TEXT    NOT NULL UNIQUE,
    name      TEXT,
    suspended INTEGER NOT NULL DEFAULT 0
) STRICT;

CREATE TABLE sites (
    key      INTEGER PRIMARY KEY,
    id       TEXT    NOT NULL UNIQUE,
    account  INTEGER NOT NULL,
    name     TEXT,
    vertical TEXT,
    timezone TEXT
) STRICT;
CREATE INDEX sites_of_account ON sites (account);

CREATE TABLE devices (
    key       INTEGER PRIMARY KEY,
    id        TEXT    NOT NULL UNIQUE,
    account   INTEGER NOT NULL,
    site      TEXT,
    local_id  TEXT,
    name      TEXT,
    model     TEXT,
    dev_eui   TEXT,
    serial    TEXT,
    cadence_s INTEGER,
    registered_at INTEGER NOT NULL,
    removed   INTEGER NOT NULL DEFAULT 0
) STRICT;
CREATE INDEX devices_of_account ON devices (account, site);

CREATE TABLE channels (
    key       INTEGER PRIMARY KEY,
    id        TEXT    NOT NULL UNIQUE,
    account   INTEGER NOT NULL,
    device    INTEGER NOT NULL,
    sensor    TEXT,
    value_key TEXT    NOT NULL,
    kind      TEXT,
    unit      TEXT,
    label     TEXT,
    auxiliary INTEGER NOT NULL DEFAULT 0,
    ok_min    REAL,
    ok_max    REAL,
    grace_min INTEGER
) STRICT;
CREATE INDEX channels_of_device ON channels (device, value_key);

-- Users, integrations and tokens: whose they are.
CREATE TABLE principals (
    id      TEXT    NOT NULL PRIMARY KEY,
    account INTEGER,
    device  INTEGER
) STRICT, WITHOUT ROWID;

-- Raw measurements.

CREATE TABLE measurements (
    channel  INTEGER NOT NULL,
    at       INTEGER NOT NULL,
    value    REAL    NOT NULL,
    position INTEGER NOT NULL,
    PRIMARY KEY (channel, at)
) STRICT, WITHOUT ROWID;

-- Rollups: UTC buckets; `sum` is an i128 in 1e-9 units, big-endian; `sketch` a DDSketch of 1 %.

CREATE TABLE rollups_5m (
    channel INTEGER NOT NULL, bucket INTEGER NOT NULL, count INTEGER NOT NULL,
    min REAL NOT NULL, max REAL NOT NULL,
    first_at INTEGER NOT NULL, first REAL NOT NULL, last_at INTEGER NOT NULL, last REAL NOT NULL,
    sum BLOB NOT NULL, sketch BLOB NOT NULL,
    PRIMARY KEY (channel, bucket)
) STRICT, WITHOUT ROWID;
CREATE TABLE rollups_1h (
    channel INTEGER NOT NULL, bucket INTEGER NOT NULL, count INTEGER NOT NULL,
    min REAL NOT NULL, max REAL NOT NULL,
    first_at INTEGER NOT NULL, first REAL NOT NULL, last_at INTEGER NOT NULL, last REAL NOT NULL,
    sum BLOB NOT NULL, sketch BLOB NOT NULL,
    PRIMARY KEY (channel, bucket)
) STRICT, WITHOUT ROWID;
CREATE TABLE rollups_1d (
    channel INTEGER NOT NULL, bucket INTEGER NOT NULL, count INTEGER NOT NULL,
    min REAL NOT NULL, max REAL NOT NULL,
    first_at INTEGER NOT NULL, first REAL NOT NULL, last_at INTEGER NOT NULL, last REAL NOT NULL,
    sum BLOB NOT NULL, sketch BLOB NOT NULL,
    PRIMARY KEY (channel, bucket)
) STRICT, WITHOUT ROWID;

-- Overview.

CREATE TABLE latest (
    channel         INTEGER PRIMARY KEY,
    at              INTEGER NOT NULL,  -- newest measured_at, its value and entry
    value           REAL    NOT NULL,
    position        INTEGER NOT NULL,
    newest_position INTEGER NOT NULL,  -- newest entry that added to the channel, late ones too
    count           INTEGER NOT NULL
) STRICT;

CREATE TABLE device_state (
    device         INTEGER PRIMARY KEY,
    last_seen      INTEGER NOT NULL,
    first_measured INTEGER NOT NULL,
    last_measured  INTEGER NOT NULL,
    last_position  INTEGER NOT NULL,
    readings       INTEGER NOT NULL,
    conflicts      INTEGER NOT NULL,
    unresolved     INTEGER NOT NULL,  -- values whose channel was never registered
    learned_us     INTEGER NOT NULL,  -- cadence learned from the device's own rhythm; 0 while unknown
    intervals      BLOB    NOT NULL,  -- the intervals it is learned from
    gaps           INTEGER NOT NULL,
    gaps_dropped   INTEGER NOT NULL,
    newest_gap_end INTEGER NOT NULL
) STRICT;

CREATE TABLE gaps (
    device  INTEGER NOT NULL,
    from_at INTEGER NOT NULL,
    to_at   INTEGER NOT NULL,
    PRIMARY KEY (device, from_at)
) STRICT, WITHOUT ROWID;

CREATE TABLE refusals (
    position    INTEGER PRIMARY KEY,
    recorded_at INTEGER NOT NULL,
    source      TEXT    NOT NULL,
    account     INTEGER,
    device      INTEGER,
    from_at     INTEGER,
    to_at       INTEGER,
    total       INTEGER NOT NULL,
    codes       TEXT    NOT NULL,
    example     TEXT
) STRICT;
CREATE INDEX refusals_of_source  ON refusals (source, position);
CREATE INDEX refusals_of_account ON refusals (account, position);
CREATE INDEX refusals_of_device  ON refusals (device, position);

CREATE TABLE refusal_totals (
    source  TEXT    NOT NULL,
    code    TEXT    NOT NULL,
    account INTEGER,
    device  INTEGER,
    total   INTEGER NOT NULL,
    last_at INTEGER NOT NULL,
    PRIMARY KEY (source, code)
) STRICT, WITHOUT ROWID;
CREATE INDEX refusal_totals_of_device ON refusal_totals (device);

-- Uplinks of devices that nobody registered yet, one row a tray.
CREATE TABLE trays (
    stream      TEXT    NOT NULL PRIMARY KEY,
    account     INTEGER,
    dev_eui     TEXT    NOT NULL,
    parked      INTEGER NOT NULL,
    first_at    INTEGER NOT NULL,
    last_at     INTEGER NOT NULL,
    last_position INTEGER NOT NULL,
    last_payload  TEXT  NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX trays_of_account ON trays (account);

-- Configuration timeline and days.

CREATE TABLE timeline (
    position       INTEGER PRIMARY KEY,
    recorded_at    INTEGER NOT NULL,
    account        INTEGER,
    class          TEXT    NOT NULL,
    aggregate_type TEXT    NOT NULL,
    aggregate_id   TEXT    NOT NULL,
    sequence       INTEGER NOT NULL,
    event_type     TEXT    NOT NULL,
    actor          TEXT,
    reason         TEXT,
    request_id     TEXT,
    salt           TEXT    NOT NULL,
    payload        TEXT
) STRICT;
CREATE INDEX timeline_of_account ON timeline (account, position);

CREATE TABLE timeline_subjects (
    subject  TEXT    NOT NULL,
    position INTEGER NOT NULL,
    PRIMARY KEY (subject, position)
) STRICT, WITHOUT ROWID;

CREATE TABLE days (
    date           TEXT    NOT NULL PRIMARY KEY,
    position       INTEGER NOT NULL,
    recorded_at    INTEGER NOT NULL,
    first_position INTEGER NOT NULL,
    size           INTEGER NOT NULL,
    root           TEXT    NOT NULL,
    payload        TEXT    NOT NULL
) STRICT, WITHOUT ROWID;
