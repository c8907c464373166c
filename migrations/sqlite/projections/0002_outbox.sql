-- Whom to tell what, when, and what came of it.

CREATE TABLE contacts (
    id          TEXT    NOT NULL PRIMARY KEY,
    account     INTEGER NOT NULL,
    via         TEXT    NOT NULL,
    state       TEXT    NOT NULL,
    preferences TEXT    NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX contacts_of_account ON contacts (account);

-- What was set for a channel or site, as JSON.
CREATE TABLE notification_routes (
    subject       TEXT NOT NULL PRIMARY KEY,
    notifications TEXT NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE notified_alarms (
    alarm        TEXT    NOT NULL PRIMARY KEY,
    account      INTEGER NOT NULL,
    channel      TEXT    NOT NULL,
    opened       INTEGER NOT NULL,
    severity     TEXT    NOT NULL,
    absence      INTEGER NOT NULL,
    acknowledged INTEGER NOT NULL,
    ended        INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE notified_silences (
    silence TEXT    NOT NULL PRIMARY KEY,
    channel TEXT    NOT NULL,
    from_at INTEGER NOT NULL,
    to_at   INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX notified_silences_of_channel ON notified_silences (channel);

CREATE TABLE silent_devices (
    device TEXT    NOT NULL PRIMARY KEY,
    site   TEXT
) STRICT, WITHOUT ROWID;

-- One row a notification; state is due, sent, digested, dropped, dead or cancelled.
CREATE TABLE notifications (
    id           TEXT    NOT NULL PRIMARY KEY,
    account      INTEGER NOT NULL,
    contact      TEXT    NOT NULL,
    via          TEXT    NOT NULL,
    event        INTEGER NOT NULL,
    what         TEXT    NOT NULL,
    alarm        TEXT,
    alarm_opened INTEGER,
    channel      TEXT,
    device       TEXT,
    site         TEXT,
    severity     TEXT,
    absence      INTEGER NOT NULL,
    caused_at    INTEGER NOT NULL,
    due_at       INTEGER NOT NULL,
    state        TEXT    NOT NULL,
    attempts     INTEGER NOT NULL,
    done_at      INTEGER
) STRICT, WITHOUT ROWID;
CREATE INDEX notifications_due ON notifications (via, due_at) WHERE state = 'due';
CREATE INDEX notifications_of_alarm ON notifications (alarm) WHERE alarm IS NOT NULL;
CREATE INDEX notifications_by_age ON notifications (caused_at);

-- What was tried, one row an entry.
CREATE TABLE outbound (
    position     INTEGER PRIMARY KEY,
    recorded_at  INTEGER NOT NULL,
    account      INTEGER,
    event_type   TEXT    NOT NULL,
    notification TEXT    NOT NULL,
    contact      TEXT    NOT NULL,
    via          TEXT    NOT NULL,
    what         TEXT,
    alarm        TEXT,
    channel      TEXT,
    site         TEXT,
    event        INTEGER NOT NULL,
    attempt      INTEGER NOT NULL,
    code         TEXT    NOT NULL,
    provider_id  TEXT,
    latency_ms   INTEGER NOT NULL,
    took_ms      INTEGER NOT NULL,
    repeated     INTEGER NOT NULL,
    next_at      INTEGER
) STRICT;
CREATE INDEX outbound_of_account ON outbound (account, position);
CREATE INDEX outbound_of_contact ON outbound (contact, recorded_at);
CREATE INDEX outbound_by_age ON outbound (recorded_at);
