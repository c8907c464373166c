-- Attempts that were begun: one that has no outcome in the ledger may have arrived.

CREATE TABLE sending (
    notification TEXT    NOT NULL PRIMARY KEY,
    attempt      INTEGER NOT NULL,
    began_at     INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

-- Where reading of the bot's messages goes on.
CREATE TABLE bot_cursor (
    one  INTEGER NOT NULL PRIMARY KEY CHECK (one = 1),
    next INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
