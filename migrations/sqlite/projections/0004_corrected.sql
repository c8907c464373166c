-- What becomes of raw values when they are read: corrections, notes, and channels made of others.
-- Times are microseconds since 1970, UTC; `channel` is the key in `channels`.

-- Corrections in force, one row a beginning. One that was recorded later takes the place of those that begin at its
-- time or after it.
CREATE TABLE calibrations (
    channel    INTEGER NOT NULL,
    valid_from INTEGER NOT NULL,
    position   INTEGER NOT NULL,
    correction TEXT,              -- JSON as in the entry; null where nothing is corrected
    PRIMARY KEY (channel, valid_from)
) STRICT, WITHOUT ROWID;

-- Notes on readings, by when the reading was measured.
CREATE TABLE notes (
    channel  INTEGER NOT NULL,
    at       INTEGER NOT NULL,
    position INTEGER NOT NULL,
    PRIMARY KEY (channel, at, position)
) STRICT, WITHOUT ROWID;

-- Derived channels at work, with what they remember of their sources.
CREATE TABLE derivations (
    channel INTEGER PRIMARY KEY,
    state   TEXT    NOT NULL
) STRICT;
