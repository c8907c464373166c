//! Tokens: their text, the hash that is kept of them, and how the holder of one is recognised.
//!
//! Invariants: a token's secret has 256 random bits and is shown once; the ledger holds its bcrypt hash only; an
//! unknown or ended id never reaches bcrypt; a token verified before is remembered under a keyed hash and looked
//! up in the registry on each use, so that revocation bites with its entry. Secrets are not shown by `Debug`.
//! Text: `ds_live_`, `ua_live_` or `whk_`, the id (26 characters), `_`, the secret (43 letters and digits).
//! Source: DESIGN "Decided" (tokens). Not here: rate limits and failures a peer (the edge).

use domain::event::TokenKind;
use domain::ids::{ID_TEXT, IdKind};
use domain::ports::Entropy;
use domain::registry::{Admitted, NotAdmitted, Registry};
use domain::{Position, Timestamp};
use hmac::{Hmac, Mac};
use lru::LruCache;
use parking_lot::{Mutex, RwLock};
use sha2::Sha256;
use std::num::NonZeroUsize;
use std::sync::Arc;
use tokio::sync::Semaphore;
use zeroize::Zeroizing;

/// Characters of a secret: 43 of 62 are 256 bits.
pub const SECRET_TEXT: usize = 43;
/// bcrypt's cost: 2^10 rounds, 73 ms where this was decided.
pub const BCRYPT_COST: u32 = 10;
/// Verified tokens that are remembered, about 10 MB. A device beyond them costs one bcrypt more.
pub const REMEMBERED_MAX: usize = 65_536;
/// Requests that wait for bcrypt at once; at 73 ms each the last waits half a minute. More are told to come back.
pub const WAITING_MAX: usize = 400;

const SECRET_ALPHABET: &[u8; 62] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";

/// The text that a kind's tokens begin with.
pub const fn prefix(kind: TokenKind) -> &'static str {
    match kind {
        TokenKind::Device => "ds_live_",
        TokenKind::User => "ua_live_",
        TokenKind::Webhook => "whk_",
    }
}

/// A new token: the only moment at which its text is known.
pub struct NewToken {
    /// What it opens.
    pub kind: TokenKind,
    /// The id inside it.
    pub id: String,
    text: Zeroizing<String>,
}

impl std::fmt::Debug for NewToken {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("NewToken")
            .field("kind", &self.kind)
            .field("id", &self.id)
            .finish_non_exhaustive()
    }
}

impl NewToken {
    /// A token of this kind.
    pub fn make(kind: TokenKind, entropy: &dyn Entropy) -> Self {
        let mut id = [0u8; 16];
        entropy.fill(&mut id);
        let id = IdKind::Token.id(&id);
        let mut text = Zeroizing::new(String::with_capacity(
            prefix(kind).len() + ID_TEXT + 1 + SECRET_TEXT,
        ));
        text.push_str(prefix(kind));
        text.push_str(&id);
        text.push('_');
        push_secret(&mut text, entropy);
        Self { kind, id, text }
    }

    /// The whole text, to be shown once.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// Its bcrypt hash at [`BCRYPT_COST`]; takes tens of milliseconds.
    pub fn hash(&self, entropy: &dyn Entropy) -> String {
        self.hash_at(BCRYPT_COST, entropy)
    }

    fn hash_at(&self, cost: u32, entropy: &dyn Entropy) -> String {
        let mut salt = [0u8; 16];
        entropy.fill(&mut salt);
        let secret = parse(&self.text).map_or("", |parsed| parsed.secret);
        bcrypt::hash_with_salt(secret, cost, salt)
            .map(|parts| parts.format_for_version(bcrypt::Version::TwoB))
            .expect("the cost is within bcrypt's range and the secret below its 72 bytes")
    }
}

/// Letters and digits, each equally likely: bytes of 248 and more are thrown away.
fn push_secret(out: &mut String, entropy: &dyn Entropy) {
    let mut left = SECRET_TEXT;
    let mut bytes = Zeroizing::new([0u8; 64]);
    while left > 0 {
        entropy.fill(&mut *bytes);
        for byte in bytes.iter().filter(|b| **b < 248).take(left) {
            out.push(char::from(SECRET_ALPHABET[usize::from(byte % 62)]));
            left -= 1;
        }
    }
}

/// A token's parts.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Parsed<'a> {
    /// What it claims to open.
    pub kind: TokenKind,
    /// The id inside it.
    pub id: &'a str,
    /// What proves it.
    secret: &'a str,
}

/// Takes a token apart; `None` for what is none.
pub fn parse(text: &str) -> Option<Parsed<'_>> {
    let kinds = [TokenKind::Device, TokenKind::User, TokenKind::Webhook];
    let (kind, rest) = kinds
        .into_iter()
        .find_map(|kind| Some((kind, text.strip_prefix(prefix(kind))?)))?;
    let (id, secret) = rest.split_at_checked(ID_TEXT)?;
    let secret = secret.strip_prefix('_')?;
    let right = IdKind::Token.is(id)
        && secret.len() == SECRET_TEXT
        && secret.bytes().all(|b| b.is_ascii_alphanumeric());
    right.then_some(Parsed { kind, id, secret })
}

/// `text` with the secret of every token in it cut out, for logs and answers.
pub fn redacted(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    let kinds = [TokenKind::Device, TokenKind::User, TokenKind::Webhook];
    while let Some((at, start)) = kinds
        .into_iter()
        .filter_map(|kind| Some((rest.find(prefix(kind))?, prefix(kind).len())))
        .min()
    {
        let (before, token) = rest.split_at(at + start);
        let end = token
            .find(|c: char| !c.is_ascii_alphanumeric() && c != '_')
            .unwrap_or(token.len());
        out.push_str(before);
        out.push('…');
        rest = &token[end..];
    }
    out.push_str(rest);
    out
}

/// HMAC-SHA256.
pub(crate) fn hmac(key: &[u8; 32], message: &[u8]) -> [u8; 32] {
    let mut mac = Hmac::<Sha256>::new_from_slice(key).expect("HMAC takes a key of any length");
    mac.update(message);
    mac.finalize().into_bytes().into()
}

/// Why somebody is not let in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, thiserror::Error)]
pub enum AuthError {
    /// Not a token's text.
    #[error("this is not a token: it begins with ds_live_, ua_live_ or whk_ and is used whole")]
    Malformed,
    /// A token that exists, with another secret.
    #[error("the token is not known")]
    WrongSecret,
    /// The registry does not let its holder in.
    #[error(transparent)]
    NotAdmitted(#[from] NotAdmitted),
    /// Too many wait for verification; try again.
    #[error("too many tokens are being verified right now; try again in a few seconds")]
    Busy,
}

impl AuthError {
    /// The API's code (REFERENCE §1.1).
    pub const fn code(self) -> &'static str {
        match self {
            Self::NotAdmitted(NotAdmitted::Suspended) => "account_suspended",
            Self::Busy => "busy",
            Self::Malformed | Self::WrongSecret | Self::NotAdmitted(_) => "token_invalid",
        }
    }
}

/// What a token's first look-up gives.
#[derive(Debug)]
pub enum Step<'r> {
    /// Verified before, and let in.
    Admitted(Admitted<'r>),
    /// The secret has to be verified, away from the registry's lock.
    Verify(Pending),
}

/// A secret to verify.
pub struct Pending {
    id: String,
    issued: Position,
    hash: String,
    secret: Zeroizing<String>,
    memory: [u8; 32],
}

impl std::fmt::Debug for Pending {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Pending")
            .field("id", &self.id)
            .finish_non_exhaustive()
    }
}

/// A secret that was right.
#[derive(Debug)]
pub struct Verified {
    id: String,
    issued: Position,
    memory: [u8; 32],
}

impl Pending {
    /// Runs bcrypt: tens of milliseconds of a whole core.
    ///
    /// # Errors
    /// [`AuthError::WrongSecret`].
    pub fn run(self) -> Result<Verified, AuthError> {
        match bcrypt::verify(self.secret.as_bytes(), &self.hash) {
            Ok(true) => Ok(Verified {
                id: self.id,
                issued: self.issued,
                memory: self.memory,
            }),
            Ok(false) | Err(_) => Err(AuthError::WrongSecret),
        }
    }
}

/// Recognises the holders of tokens.
pub struct Authenticator {
    key: Zeroizing<[u8; 32]>,
    cost: u32,
    remembered: Mutex<LruCache<[u8; 32], Position>>,
    bcrypt: Arc<Semaphore>,
    waiting: Arc<Semaphore>,
}

impl std::fmt::Debug for Authenticator {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Authenticator(…)")
    }
}

/// Whom a token let in, without a borrow of the registry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    /// The id inside the token.
    pub token: String,
    /// What it opens.
    pub kind: TokenKind,
    /// `dev_…`, `usr_…` or `int_…`.
    pub owner: String,
    /// The owner's account.
    pub account: String,
    /// A user's role.
    pub role: Option<String>,
}

impl From<Admitted<'_>> for Identity {
    fn from(admitted: Admitted<'_>) -> Self {
        Self {
            token: admitted.token.to_owned(),
            kind: admitted.kind,
            owner: admitted.owner.to_owned(),
            account: admitted.account.to_owned(),
            role: admitted.role.map(str::to_owned),
        }
    }
}

impl Authenticator {
    /// With nothing remembered and a key of this process.
    pub fn new(entropy: &dyn Entropy) -> Self {
        Self::remembering(entropy, REMEMBERED_MAX)
    }

    /// As [`Authenticator::new`], remembering at most `count` tokens, and one at least.
    pub fn remembering(entropy: &dyn Entropy, count: usize) -> Self {
        let mut key = Zeroizing::new([0u8; 32]);
        entropy.fill(&mut *key);
        let count = NonZeroUsize::new(count).unwrap_or(NonZeroUsize::MIN);
        Self {
            key,
            cost: BCRYPT_COST,
            remembered: Mutex::new(LruCache::new(count)),
            bcrypt: Arc::new(Semaphore::new(1)),
            waiting: Arc::new(Semaphore::new(WAITING_MAX)),
        }
    }

    /// With hashes that cost next to nothing, for tests that make many tokens.
    #[cfg(test)]
    pub(crate) fn cheap(entropy: &dyn Entropy) -> Self {
        Self {
            cost: 4,
            ..Self::new(entropy)
        }
    }

    /// Looks a token up: lets its holder in when it was verified before, or gives what has to be verified.
    ///
    /// # Errors
    /// [`AuthError`] for what is no token, unknown, ended, or of a suspended account and verified before.
    pub fn begin<'r>(
        &self,
        registry: &'r Registry,
        text: &str,
        now: Timestamp,
    ) -> Result<Step<'r>, AuthError> {
        let parsed = parse(text).ok_or(AuthError::Malformed)?;
        let token = registry
            .token(parsed.id)
            .filter(|token| token.kind == parsed.kind)
            .ok_or(NotAdmitted::Unknown)?;
        let memory = hmac(&self.key, text.as_bytes());
        if self.remembered.lock().get(&memory) == Some(&token.issued.position) {
            return Ok(Step::Admitted(registry.admit(parsed.id, now)?));
        }
        match registry.admit(parsed.id, now) {
            // That an account is suspended is told to those only who hold its token.
            Ok(_) | Err(NotAdmitted::Suspended) => Ok(Step::Verify(Pending {
                id: parsed.id.to_owned(),
                issued: token.issued.position,
                hash: token.hash.to_owned(),
                secret: Zeroizing::new(parsed.secret.to_owned()),
                memory,
            })),
            Err(ended) => Err(ended.into()),
        }
    }

    /// Remembers a verified token and looks it up again: the registry may have moved on meanwhile.
    ///
    /// # Errors
    /// [`AuthError::NotAdmitted`].
    pub fn finish<'r>(
        &self,
        registry: &'r Registry,
        verified: Verified,
        now: Timestamp,
    ) -> Result<Admitted<'r>, AuthError> {
        self.remembered.lock().put(verified.memory, verified.issued);
        Ok(registry.admit(&verified.id, now)?)
    }

    /// The whole way: looks up, and verifies in a blocking pool of one where it has to. Those who waited for a
    /// verification of the same token find it remembered.
    ///
    /// # Errors
    /// [`AuthError`]; `Busy` where [`WAITING_MAX`] wait already.
    pub async fn authenticate(
        &self,
        registry: &RwLock<Registry>,
        text: &str,
        now: Timestamp,
    ) -> Result<Identity, AuthError> {
        if let Step::Admitted(admitted) = self.begin(&registry.read(), text, now)? {
            return Ok(admitted.into());
        }
        let _place = self.waiting.try_acquire().map_err(|_| AuthError::Busy)?;
        let turn = Arc::clone(&self.bcrypt).acquire_owned().await;
        let turn = turn.map_err(|_| AuthError::Busy)?;
        let pending = match self.begin(&registry.read(), text, now)? {
            Step::Admitted(admitted) => return Ok(admitted.into()),
            Step::Verify(pending) => pending,
        };
        let run = tokio::task::spawn_blocking(move || {
            let verified = pending.run();
            drop(turn);
            verified
        });
        let verified = run.await.map_err(|_| AuthError::Busy)??;
        Ok(self.finish(&registry.read(), verified, now)?.into())
    }

    /// Hashes a new token in the same blocking pool of one.
    ///
    /// # Errors
    /// [`AuthError::Busy`] where the runtime stops.
    pub async fn hash(&self, token: &Arc<NewToken>, entropy: &Arc<dyn Entropy>) -> Result<String, AuthError> {
        let turn = Arc::clone(&self.bcrypt).acquire_owned().await;
        let turn = turn.map_err(|_| AuthError::Busy)?;
        let (token, entropy, cost) = (Arc::clone(token), Arc::clone(entropy), self.cost);
        let run = tokio::task::spawn_blocking(move || {
            let hash = token.hash_at(cost, &*entropy);
            drop(turn);
            hash
        });
        run.await.map_err(|_| AuthError::Busy)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::handlers::testing::{Counting, World, reason};
    use domain::ports::Clock;
    use proptest::prelude::*;

    fn token(kind: TokenKind) -> NewToken {
        NewToken::make(kind, &Counting::default())
    }

    #[test]
    fn a_token_is_its_prefix_its_id_and_a_secret_of_256_bits() {
        for (kind, prefix) in [
            (TokenKind::Device, "ds_live_"),
            (TokenKind::User, "ua_live_"),
            (TokenKind::Webhook, "whk_"),
        ] {
            let token = token(kind);
            let parsed = parse(token.text()).expect("a token");
            assert_eq!((parsed.kind, parsed.id), (kind, token.id.as_str()));
            assert_eq!(token.text(), format!("{prefix}{}_{}", token.id, parsed.secret));
            assert_eq!(parsed.secret.len(), 43);
        }
        assert!((62f64).log2() * SECRET_TEXT as f64 >= 256.0);
    }

    #[test]
    fn secrets_use_every_letter_and_digit_and_never_repeat() {
        let entropy = Counting::default();
        let mut seen = std::collections::BTreeSet::new();
        let mut letters = std::collections::BTreeSet::new();
        for _ in 0..200 {
            let token = NewToken::make(TokenKind::Device, &entropy);
            let secret = parse(token.text()).expect("a token").secret.to_owned();
            letters.extend(secret.bytes());
            assert!(seen.insert(secret));
        }
        assert_eq!(letters.len(), 62);
    }

    #[test]
    fn what_is_kept_is_bcrypt_of_cost_ten_and_opens_for_the_secret_only() {
        let token = token(TokenKind::User);
        let hash = token.hash(&Counting::default());
        assert!(hash.starts_with("$2b$10$"), "{hash}");
        let secret = parse(token.text()).expect("a token").secret;
        assert!(bcrypt::verify(secret, &hash).expect("a hash"));
        assert!(!bcrypt::verify(&secret[1..], &hash).expect("a hash"));
        assert!(!format!("{token:?}").contains(secret));
    }

    #[test]
    fn what_is_no_token_is_not_taken_apart() {
        let good = token(TokenKind::Device).text().to_owned();
        let longer = format!("{good}a");
        let spaced = format!("{good} ");
        let hyphen = format!("{}-", &good[..good.len() - 1]);
        let upper = good.to_uppercase();
        for bad in [
            "",
            "ds_live_",
            "ds_live_x_y",
            &good[1..],
            &longer,
            &spaced,
            &hyphen,
            &upper,
            &good[..good.len() - 1],
        ] {
            assert!(parse(bad).is_none(), "{bad}");
        }
    }

    #[test]
    fn tokens_in_texts_are_cut_out() {
        let good = token(TokenKind::Webhook).text().to_owned();
        let line = format!("GET /v1/ingest/shelly?token={good}&temp=4.2 ua_live_abc_DEF; {good}");
        let cut = redacted(&line);
        assert_eq!(cut, "GET /v1/ingest/shelly?token=whk_…&temp=4.2 ua_live_…; whk_…");
        assert_eq!(redacted("nothing here"), "nothing here");
    }

    #[tokio::test]
    async fn a_token_verified_before_is_remembered_but_looked_up_each_time() {
        let world = World::new().await;
        let now = world.clock.now();
        let token = world.owner_token.clone();
        let begin = || {
            let registry = world.registry.read();
            match world.authenticator.begin(&registry, &token, now) {
                Ok(Step::Admitted(_)) => "admitted",
                Ok(Step::Verify(_)) => "verify",
                Err(_) => "refused",
            }
        };
        assert_eq!(begin(), "verify");
        let identity = world
            .authenticator
            .authenticate(&world.registry, &token, now)
            .await
            .expect("let in");
        assert_eq!(begin(), "admitted");
        // Another process remembers nothing, and another secret under the same id is not remembered either.
        let other = Authenticator::cheap(&Counting::default());
        assert!(matches!(
            other.begin(&world.registry.read(), &token, now),
            Ok(Step::Verify(_))
        ));
        world
            .management
            .revoke_user_token(&world.owner, &reason(), &identity.owner, &identity.token)
            .await
            .expect("revoked");
        assert_eq!(begin(), "refused");
    }

    #[tokio::test]
    async fn a_revocation_during_verification_bites() {
        let world = World::new().await;
        let now = world.clock.now();
        let pending = match world
            .authenticator
            .begin(&world.registry.read(), &world.owner_token, now)
        {
            Ok(Step::Verify(pending)) => pending,
            other => panic!("{other:?}"),
        };
        let id = pending.id.clone();
        world
            .management
            .revoke_user_token(&world.owner, &reason(), &world.owner.id, &id)
            .await
            .expect("revoked");
        let verified = pending.run().expect("the secret is right");
        let registry = world.registry.read();
        let finished = world.authenticator.finish(&registry, verified, now);
        assert_eq!(finished, Err(AuthError::NotAdmitted(NotAdmitted::Revoked)));
    }

    #[tokio::test]
    async fn what_is_remembered_is_bounded() {
        let world = World::new().await;
        let small = Authenticator {
            cost: 4,
            ..Authenticator::remembering(&Counting::default(), 1)
        };
        let now = world.clock.now();
        let issued = world
            .management
            .issue_user_token(&world.owner, &reason(), &world.owner.id)
            .await
            .expect("issued");
        let second = issued.token.expect("shown once");
        small
            .authenticate(&world.registry, &world.owner_token, now)
            .await
            .expect("let in");
        small
            .authenticate(&world.registry, second.text(), now)
            .await
            .expect("let in");
        assert_eq!(small.remembered.lock().len(), 1);
        assert!(matches!(
            small.begin(&world.registry.read(), &world.owner_token, now),
            Ok(Step::Verify(_))
        ));
    }

    #[tokio::test]
    async fn too_many_who_wait_are_told_to_come_back() {
        let world = World::new().await;
        let now = world.clock.now();
        let waiting = Arc::clone(&world.authenticator.waiting);
        let all = waiting.acquire_many(WAITING_MAX as u32).await.expect("free");
        let busy = world
            .authenticator
            .authenticate(&world.registry, &world.owner_token, now)
            .await;
        assert_eq!(busy, Err(AuthError::Busy));
        drop(all);
        assert!(
            world
                .authenticator
                .authenticate(&world.registry, &world.owner_token, now)
                .await
                .is_ok()
        );
    }

    proptest! {
        #[test]
        fn any_text_is_parsed_and_redacted_without_a_panic(
            text in prop_oneof!["\\PC*", "(ds_live_|ua_live_|whk_)[a-z2-7]{20,30}_?[A-Za-z0-9é]{40,45}"],
        ) {
            if let Some(parsed) = parse(&text) {
                prop_assert!(!redacted(&text).contains(parsed.secret));
            }
            let _ = redacted(&text);
        }
    }
}
