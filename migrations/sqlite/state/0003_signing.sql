-- A code that was mailed to a person who is about to sign something; one a person. The code itself is never here.

CREATE TABLE signing_codes (
    user       TEXT    NOT NULL PRIMARY KEY,
    meaning    TEXT    NOT NULL,
    shown      BLOB    NOT NULL,
    code       BLOB    NOT NULL,
    tries      INTEGER NOT NULL,
    expires_at INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
