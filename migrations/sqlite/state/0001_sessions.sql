-- What the edge remembers and may lose: neither ground state nor derived from it.
-- Times are microseconds since 1970 (UTC). Secrets are never here, only their SHA-256.

CREATE TABLE sessions (
    hash         BLOB    NOT NULL PRIMARY KEY,
    account      TEXT    NOT NULL,
    user         TEXT    NOT NULL,
    csrf         TEXT    NOT NULL,
    created_at   INTEGER NOT NULL,
    last_used_at INTEGER NOT NULL,
    expires_at   INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX sessions_of_user ON sessions (user);
CREATE INDEX sessions_by_end  ON sessions (expires_at);

CREATE TABLE sign_in_links (
    hash       BLOB    NOT NULL PRIMARY KEY,
    account    TEXT    NOT NULL,
    user       TEXT    NOT NULL,
    created_at INTEGER NOT NULL,
    expires_at INTEGER NOT NULL,
    used_at    INTEGER
) STRICT, WITHOUT ROWID;
CREATE INDEX sign_in_links_of_user ON sign_in_links (user, created_at);
CREATE INDEX sign_in_links_by_end  ON sign_in_links (expires_at);

CREATE TABLE token_uses (
    token        TEXT    NOT NULL PRIMARY KEY,
    last_used_at INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
