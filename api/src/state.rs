//! What the edge remembers and may lose: sessions, sign-in links, when a token was last used.
//!
//! `state.sqlite` is neither ground nor derived: losing it signs everybody out and nothing more.
//! Invariants: only SHA-256 of secrets is stored; a link works once and not after its end; a session ends when
//! it is told to, when its time is over, or when its user is gone (checked by `auth`, not here).
//! Each call is one small statement on a local file without a sync of its own, so it runs where it is called.
//! Not here: who a user is (the registry), what a session may do (`auth`).

use domain::Timestamp;
use domain::hash::{Hash, base64url, sha256};
use domain::ports::Entropy;
use domain::time::DAY_US;
use parking_lot::Mutex;
use rusqlite::{Connection, OptionalExtension, params};
use std::collections::HashMap;
use std::path::Path;

/// Microseconds in a minute.
const MINUTE_US: i64 = 60_000_000;
/// Open links a user may have; asking again beyond it makes the oldest void.
const LINKS_PER_USER: i64 = 5;
/// How long tokens' last use may wait in memory, in entries; a fleet of this size is one flush.
const USES_HELD_MAX: usize = 10_000;

/// The open database.
pub struct State {
    db: Mutex<Connection>,
    uses: Mutex<HashMap<String, Timestamp>>,
}

/// A signed-in browser.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Session {
    /// Whose account.
    pub account: String,
    /// Who.
    pub user: String,
    /// What forms must send back.
    pub csrf: String,
    /// When it ends.
    pub expires_at: Timestamp,
}

/// What a person is about to sign.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Signing {
    /// What signing means.
    pub meaning: String,
    /// SHA-256 of what was shown.
    pub shown: Hash,
    /// What is kept of the code.
    pub code: [u8; 32],
    /// From here on it is none.
    pub expires_at: Timestamp,
}

/// How often a code may be tried: eight digits are not found in five tries.
const SIGNING_TRIES_MAX: u32 = 5;

/// `state.sqlite` does not answer.
#[derive(Debug, thiserror::Error)]
pub enum StateError {
    /// It could not be opened.
    #[error(transparent)]
    Open(#[from] migrations::MigrateError),
    /// A statement failed.
    #[error("state.sqlite does not answer: {0}")]
    Sqlite(#[from] rusqlite::Error),
}

impl State {
    /// Opens or makes `path`.
    ///
    /// # Errors
    /// [`StateError::Open`]; deleting the file is a safe way out.
    pub fn open(path: &Path) -> Result<Self, StateError> {
        Ok(Self {
            db: Mutex::new(migrations::open_and_migrate(path, &migrations::STATE)?),
            uses: Mutex::new(HashMap::new()),
        })
    }

    /// Makes a sign-in link's secret for a user.
    ///
    /// # Errors
    /// [`StateError::Sqlite`].
    pub fn issue_link(
        &self,
        entropy: &dyn Entropy,
        now: Timestamp,
        account: &str,
        user: &str,
        minutes: u32,
    ) -> Result<String, StateError> {
        let (secret, hash) = secret(entropy);
        let end = now.plus_micros(i64::from(minutes) * MINUTE_US);
        let db = self.db.lock();
        db.execute(
            "INSERT INTO sign_in_links (hash, account, user, created_at, expires_at) VALUES (?1, ?2, ?3, ?4, ?5)",
            params![hash.0, account, user, now.as_micros(), end.as_micros()],
        )?;
        db.execute(
            "DELETE FROM sign_in_links WHERE user = ?1 AND hash NOT IN
                 (SELECT hash FROM sign_in_links WHERE user = ?1 ORDER BY created_at DESC, hash LIMIT ?2)",
            params![user, LINKS_PER_USER],
        )?;
        Ok(secret)
    }

    /// Uses a link up: (account, user), or `None` where it is unknown, used or over.
    ///
    /// # Errors
    /// [`StateError::Sqlite`].
    pub fn use_link(&self, now: Timestamp, secret: &str) -> Result<Option<(String, String)>, StateError> {
        let used = self
            .db
            .lock()
            .query_row(
                "UPDATE sign_in_links SET used_at = ?2
                     WHERE hash = ?1 AND used_at IS NULL AND expires_at > ?2 RETURNING account, user",
                params![sha256(secret.as_bytes()).0, now.as_micros()],
                |row| Ok((row.get(0)?, row.get(1)?)),
            )
            .optional()?;
        Ok(used)
    }

    /// Keeps that a code was mailed to a person who is about to sign; one that was before is good no more.
    ///
    /// # Errors
    /// [`StateError::Sqlite`].
    pub fn keep_signing(&self, user: &str, signing: &Signing) -> Result<(), StateError> {
        self.db.lock().execute(
            "INSERT OR REPLACE INTO signing_codes VALUES (?1, ?2, ?3, ?4, 0, ?5)",
            params![
                user,
                signing.meaning,
                signing.shown.0,
                signing.code,
                signing.expires_at.as_micros()
            ],
        )?;
        Ok(())
    }

    /// What a person is about to sign, with one try counted; `None` where there is nothing, it is over, or it was tried
    /// too often.
    ///
    /// # Errors
    /// [`StateError::Sqlite`].
    pub fn try_signing(&self, now: Timestamp, user: &str) -> Result<Option<Signing>, StateError> {
        let found = self
            .db
            .lock()
            .query_row(
                "UPDATE signing_codes SET tries = tries + 1 WHERE user = ?1 AND expires_at > ?2 AND tries < ?3
                     RETURNING meaning, shown, code, expires_at",
                params![user, now.as_micros(), SIGNING_TRIES_MAX],
                |row| {
                    Ok(Signing {
                        meaning: row.get(0)?,
                        shown: Hash(row.get(1)?),
                        code: row.get(2)?,
                        expires_at: Timestamp::from_micros(row.get(3)?).unwrap_or_default(),
                    })
                },
            )
            .optional()?;
        Ok(found)
    }

    /// Uses a code up; whether it was there.
    ///
    /// # Errors
    /// [`StateError::Sqlite`].
    pub fn end_signing(&self, user: &str) -> Result<bool, StateError> {
        let gone = self
            .db
            .lock()
            .execute("DELETE FROM signing_codes WHERE user = ?1", params![user])?;
        Ok(gone > 0)
    }

    /// Begins a session: its secret for the cookie, and what it is.
    ///
    /// # Errors
    /// [`StateError::Sqlite`].
    pub fn begin_session(
        &self,
        entropy: &dyn Entropy,
        now: Timestamp,
        account: &str,
        user: &str,
        days: u32,
    ) -> Result<(String, Session), StateError> {
        let (cookie, hash) = secret(entropy);
        let (csrf, _) = secret(entropy);
        let session = Session {
            account: account.to_owned(),
            user: user.to_owned(),
            csrf,
            expires_at: now.plus_micros(i64::from(days) * DAY_US),
        };
        self.db.lock().execute(
            "INSERT INTO sessions (hash, account, user, csrf, created_at, last_used_at, expires_at)
                 VALUES (?1, ?2, ?3, ?4, ?5, ?5, ?6)",
            params![
                hash.0,
                account,
                user,
                session.csrf,
                now.as_micros(),
                session.expires_at.as_micros()
            ],
        )?;
        Ok((cookie, session))
    }

    /// The session of a cookie, unless it is over.
    ///
    /// # Errors
    /// [`StateError::Sqlite`].
    pub fn session(&self, now: Timestamp, cookie: &str) -> Result<Option<Session>, StateError> {
        let found = self
            .db
            .lock()
            .prepare_cached(
                "SELECT account, user, csrf, expires_at FROM sessions WHERE hash = ?1 AND expires_at > ?2",
            )?
            .query_row(params![sha256(cookie.as_bytes()).0, now.as_micros()], |row| {
                Ok(Session {
                    account: row.get(0)?,
                    user: row.get(1)?,
                    csrf: row.get(2)?,
                    expires_at: Timestamp::from_micros(row.get(3)?).unwrap_or_default(),
                })
            })
            .optional()?;
        Ok(found)
    }

    /// Whether a session still is, by its CSRF token: for answers that last longer than their request.
    ///
    /// # Errors
    /// [`StateError::Sqlite`].
    pub fn session_lives(&self, now: Timestamp, csrf: &str) -> Result<bool, StateError> {
        Ok(self
            .db
            .lock()
            .prepare_cached("SELECT 1 FROM sessions WHERE csrf = ?1 AND expires_at > ?2")?
            .exists(params![csrf, now.as_micros()])?)
    }

    /// Ends the session of a cookie.
    ///
    /// # Errors
    /// [`StateError::Sqlite`].
    pub fn end_session(&self, cookie: &str) -> Result<(), StateError> {
        self.db.lock().execute(
            "DELETE FROM sessions WHERE hash = ?1",
            params![sha256(cookie.as_bytes()).0],
        )?;
        Ok(())
    }

    /// Ends every session of a user and voids their links.
    ///
    /// # Errors
    /// [`StateError::Sqlite`].
    pub fn end_sessions_of(&self, user: &str) -> Result<(), StateError> {
        let db = self.db.lock();
        db.execute("DELETE FROM sessions WHERE user = ?1", params![user])?;
        db.execute("DELETE FROM sign_in_links WHERE user = ?1", params![user])?;
        Ok(())
    }

    /// A token was used; written within a minute.
    pub fn token_used(&self, now: Timestamp, token: &str) {
        let mut uses = self.uses.lock();
        if let Some(at) = uses.get_mut(token) {
            *at = now;
        } else if uses.len() < USES_HELD_MAX {
            uses.insert(token.to_owned(), now);
        }
    }

    /// When a token was last used, as far as is remembered.
    ///
    /// # Errors
    /// [`StateError::Sqlite`].
    pub fn last_used(&self, token: &str) -> Result<Option<Timestamp>, StateError> {
        if let Some(at) = self.uses.lock().get(token) {
            return Ok(Some(*at));
        }
        let stored: Option<i64> = self
            .db
            .lock()
            .query_row(
                "SELECT last_used_at FROM token_uses WHERE token = ?1",
                params![token],
                |row| row.get(0),
            )
            .optional()?;
        Ok(stored.and_then(Timestamp::from_micros))
    }

    /// An attempt to send a notification begins; gives whether one before it was begun that had no outcome.
    ///
    /// # Errors
    /// [`StateError::Sqlite`].
    pub fn begin_sending(
        &self,
        now: Timestamp,
        notification: &str,
        attempt: u32,
    ) -> Result<bool, StateError> {
        let db = self.db.lock();
        let begun = db
            .prepare_cached("SELECT 1 FROM sending WHERE notification = ?1")?
            .exists([notification])?;
        db.execute(
            "INSERT OR REPLACE INTO sending VALUES (?1, ?2, ?3)",
            params![notification, attempt, now.as_micros()],
        )?;
        Ok(begun)
    }

    /// Its outcome is in the ledger.
    ///
    /// # Errors
    /// [`StateError::Sqlite`].
    pub fn end_sending(&self, notification: &str) -> Result<(), StateError> {
        self.db
            .lock()
            .execute("DELETE FROM sending WHERE notification = ?1", [notification])?;
        Ok(())
    }

    /// Where reading of the bot's messages goes on.
    ///
    /// # Errors
    /// [`StateError::Sqlite`].
    pub fn bot_cursor(&self) -> Result<i64, StateError> {
        let found = self
            .db
            .lock()
            .query_row("SELECT next FROM bot_cursor", [], |row| row.get(0))
            .optional()?;
        Ok(found.unwrap_or(0))
    }

    /// Keeps it.
    ///
    /// # Errors
    /// [`StateError::Sqlite`].
    pub fn keep_bot_cursor(&self, next: i64) -> Result<(), StateError> {
        self.db
            .lock()
            .execute("INSERT OR REPLACE INTO bot_cursor VALUES (1, ?1)", [next])?;
        Ok(())
    }

    /// Writes what waits in memory and forgets what is over; called about once a minute and at the stop.
    ///
    /// # Errors
    /// [`StateError::Sqlite`]; what was waiting is lost, and nothing else.
    pub fn flush(&self, now: Timestamp) -> Result<(), StateError> {
        let uses = std::mem::take(&mut *self.uses.lock());
        let mut db = self.db.lock();
        let transaction = db.transaction()?;
        for (token, at) in uses {
            transaction.execute(
                "INSERT INTO token_uses (token, last_used_at) VALUES (?1, ?2)
                     ON CONFLICT (token) DO UPDATE SET last_used_at = excluded.last_used_at",
                params![token, at.as_micros()],
            )?;
        }
        for table in ["sessions", "sign_in_links", "signing_codes"] {
            transaction.execute(
                &format!("DELETE FROM {table} WHERE expires_at <= ?1"),
                params![now.as_micros()],
            )?;
        }
        // What was begun so long ago is due no more.
        transaction.execute(
            "DELETE FROM sending WHERE began_at <= ?1",
            params![now.as_micros() - 30 * DAY_US],
        )?;
        transaction.commit()?;
        Ok(())
    }
}

/// 256 random bits as text, and their hash.
fn secret(entropy: &dyn Entropy) -> (String, Hash) {
    let mut bytes = [0u8; 32];
    entropy.fill(&mut bytes);
    let text = base64url(&bytes);
    let hash = sha256(text.as_bytes());
    (text, hash)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::entropy::SeededEntropy;

    fn open() -> (tempfile::TempDir, State, SeededEntropy) {
        let dir = tempfile::tempdir().expect("a directory");
        let state = State::open(&dir.path().join("state.sqlite")).expect("opens");
        (dir, state, SeededEntropy::from_os().expect("randomness"))
    }

    fn at(minutes: i64) -> Timestamp {
        Timestamp::from_micros(1_800_000_000_000_000 + minutes * MINUTE_US).expect("in range")
    }

    #[test]
    fn a_link_works_once_and_not_after_its_end() {
        let (_dir, state, entropy) = open();
        let link = state
            .issue_link(&entropy, at(0), "acc_a", "usr_a", 15)
            .expect("issued");
        let late = state
            .issue_link(&entropy, at(0), "acc_a", "usr_a", 15)
            .expect("issued");
        assert_eq!(state.use_link(at(1), "guessed").expect("answers"), None);
        assert_eq!(
            state.use_link(at(14), &link).expect("answers"),
            Some(("acc_a".to_owned(), "usr_a".to_owned()))
        );
        assert_eq!(state.use_link(at(14), &link).expect("answers"), None, "used");
        assert_eq!(state.use_link(at(15), &late).expect("answers"), None, "over");
    }

    #[test]
    fn only_the_newest_links_of_a_user_stay() {
        let (_dir, state, entropy) = open();
        let links: Vec<_> = (0..8)
            .map(|i| {
                state
                    .issue_link(&entropy, at(i), "acc_a", "usr_a", 600)
                    .expect("issued")
            })
            .collect();
        let working = links
            .iter()
            .filter(|link| state.use_link(at(9), link).expect("answers").is_some())
            .count();
        assert_eq!(working, LINKS_PER_USER as usize);
        assert_eq!(state.use_link(at(9), &links[0]).expect("answers"), None);
    }

    #[test]
    fn a_session_ends_by_itself_and_when_told() {
        let (_dir, state, entropy) = open();
        let (cookie, session) = state
            .begin_session(&entropy, at(0), "acc_a", "usr_a", 1)
            .expect("begun");
        assert_eq!(state.session(at(1), &cookie).expect("answers"), Some(session));
        assert_eq!(state.session(at(24 * 60), &cookie).expect("answers"), None);
        assert_eq!(state.session(at(1), "guessed").expect("answers"), None);
        let csrf = state
            .session(at(1), &cookie)
            .expect("answers")
            .expect("a session")
            .csrf;
        assert!(state.session_lives(at(1), &csrf).expect("answers"));
        assert!(!state.session_lives(at(24 * 60), &csrf).expect("answers"));
        state.end_session(&cookie).expect("ended");
        assert!(!state.session_lives(at(1), &csrf).expect("answers"));
        assert_eq!(state.session(at(1), &cookie).expect("answers"), None);
        let (cookie, _) = state
            .begin_session(&entropy, at(0), "acc_a", "usr_a", 1)
            .expect("begun");
        state.end_sessions_of("usr_a").expect("ended");
        assert_eq!(state.session(at(1), &cookie).expect("answers"), None);
    }

    #[test]
    fn secrets_are_nowhere_in_the_file() {
        let (dir, state, entropy) = open();
        let link = state
            .issue_link(&entropy, at(0), "acc_a", "usr_a", 15)
            .expect("issued");
        let (cookie, _) = state
            .begin_session(&entropy, at(0), "acc_a", "usr_a", 1)
            .expect("begun");
        state.flush(at(0)).expect("flushed");
        drop(state);
        for file in std::fs::read_dir(dir.path()).expect("listed") {
            let bytes = std::fs::read(file.expect("entry").path()).expect("read");
            for secret in [&link, &cookie] {
                assert!(!bytes.windows(secret.len()).any(|w| w == secret.as_bytes()));
            }
        }
    }

    #[test]
    fn the_last_use_of_a_token_is_kept_over_a_flush() {
        let (_dir, state, _) = open();
        assert_eq!(state.last_used("t").expect("answers"), None);
        state.token_used(at(1), "t");
        assert_eq!(state.last_used("t").expect("answers"), Some(at(1)));
        state.flush(at(2)).expect("flushed");
        assert_eq!(state.last_used("t").expect("answers"), Some(at(1)));
    }
}
