-- What holds a message back, and alarms that are of no channel.

DROP TABLE notified_alarms;
CREATE TABLE notified_alarms (
    alarm    TEXT    NOT NULL PRIMARY KEY,
    account  INTEGER NOT NULL,
    -- NULL of an alarm that is of no channel.
    channel  TEXT,
    opened   INTEGER NOT NULL,
    -- The entry that opened it last: of what was said before, nothing counts.
    since    INTEGER NOT NULL,
    severity TEXT    NOT NULL,
    absence  INTEGER NOT NULL,
    -- Of a trial, the contact that is tried, and until when it may answer.
    tried    TEXT,
    until_at INTEGER,
    ended    INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

DROP TABLE notified_silences;
CREATE TABLE notified_silences (
    silence TEXT    NOT NULL PRIMARY KEY,
    channel TEXT    NOT NULL,
    opened  INTEGER NOT NULL,
    from_at INTEGER NOT NULL,
    to_at   INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX notified_silences_of_channel ON notified_silences (channel);

-- When it would be due if nobody was silenced; later than that, a silence holds it until due_at.
ALTER TABLE notifications ADD COLUMN wanted_at INTEGER NOT NULL DEFAULT 0;
CREATE INDEX notifications_of_channel ON notifications (channel) WHERE state = 'due';

-- Ways of an account: since when every attempt was in vain, and the alarm about it.
CREATE TABLE notification_paths (
    account       INTEGER NOT NULL,
    via           TEXT    NOT NULL,
    failing_since INTEGER,
    raised_for    INTEGER,
    alarm         TEXT,
    PRIMARY KEY (account, via)
) STRICT, WITHOUT ROWID;

-- When an alarm's opening was recorded, by our clock.
ALTER TABLE alarms ADD COLUMN recorded_at INTEGER NOT NULL DEFAULT 0;
