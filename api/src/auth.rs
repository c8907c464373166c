//! Who asks: tokens and sessions, checked against the registry on every use.
//!
//! Invariants: an unknown token id never reaches bcrypt; bcrypt runs one at a time, off the runtime's threads;
//! failures are limited per peer while verified tokens from there stay welcome; a session may read, and may
//! change something only with its CSRF token. Another account's things are not forbidden, they are not there.
//! Source: REFERENCE §1.0, DESIGN "Decided" (tokens).
//! Not here: what a token's hash is (`commands::tokens`), what sessions are stored as (`state`).

use crate::app::App;
use crate::errors::ApiError;
use crate::request::Request;
use crate::state::Session;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use commands::ingest::pipeline::Caller as Sender;
use commands::refusals::Source;
use commands::tokens::{self, AuthError, Identity, Step};
use domain::event::TokenKind;
use domain::registry::NotAdmitted;
use std::borrow::Cow;
use std::net::IpAddr;
use warp::http::{StatusCode, header};

/// The cookie that holds a session's secret.
pub const SESSION_COOKIE: &str = "daybook_session";
/// The header by which scripts send a session's CSRF token back; forms send the field `csrf`.
pub const CSRF_HEADER: &str = "x-csrf-token";
/// Longest token that is looked at, in bytes: prefix, 26 of id, 43 of secret, and room.
const TOKEN_BYTES_MAX: usize = 128;

/// Who asks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Caller {
    /// Somebody unknown.
    Nobody,
    /// A person, by token or session.
    User(User),
}

/// A person who is signed in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct User {
    /// Whose account; everything they may see is in it.
    pub account: String,
    /// Who, `usr_…`.
    pub user: String,
    /// `owner`, `auditor`; an open set.
    pub role: String,
    /// How they showed it.
    pub by: By,
}

/// How a person showed who they are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum By {
    /// By an API token with this id.
    Token(String),
    /// By a session whose forms must send this back.
    Session {
        /// The CSRF token.
        csrf: String,
    },
}

/// The role that may change an account.
pub const OWNER: &str = "owner";

impl Caller {
    /// The person, on routes that let nobody else in.
    ///
    /// # Errors
    /// 401 where nobody is known.
    pub fn user(&self) -> Result<&User, ApiError> {
        match self {
            Self::User(user) => Ok(user),
            Self::Nobody => Err(ApiError::auth_required()),
        }
    }
}

/// Who may read.
///
/// # Errors
/// 401, 403 (suspended), 429.
pub async fn reader(app: &App, request: &Request) -> Result<Caller, ApiError> {
    match caller(app, request).await? {
        Caller::Nobody => Err(ApiError::auth_required()),
        Caller::User(user) => {
            app.limits().user(&user.user)?;
            Ok(Caller::User(user))
        }
    }
}

/// Who may change something.
///
/// # Errors
/// As [`reader`]; 403 for a role that only reads, and for a session without its CSRF token in the header (pages'
/// forms carry it in the body, and check it themselves with [`User::check_csrf`]).
pub async fn writer(app: &App, request: &Request) -> Result<Caller, ApiError> {
    let caller = own(app, request).await?;
    caller.user()?.check_may_change()?;
    Ok(caller)
}

/// Who may change what is their own (their tokens), whatever their role.
///
/// # Errors
/// As [`writer`], but for the role.
pub async fn own(app: &App, request: &Request) -> Result<Caller, ApiError> {
    let caller = reader(app, request).await?;
    let user = caller.user()?;
    if let By::Session { .. } = user.by {
        let sent = request
            .headers
            .get(CSRF_HEADER)
            .and_then(|value| value.to_str().ok());
        user.check_csrf(sent.unwrap_or(""))?;
    }
    Ok(caller)
}

impl User {
    /// Whether this role changes what is configured, for what no command decides.
    ///
    /// # Errors
    /// 403.
    pub fn check_may_change(&self) -> Result<(), ApiError> {
        if self.role == OWNER {
            return Ok(());
        }
        Err(ApiError::forbidden("this role may read and not change"))
    }

    /// Compares what a form sent back with the session's CSRF token. By token there is nothing to forge.
    ///
    /// # Errors
    /// 403.
    pub fn check_csrf(&self, sent: &str) -> Result<(), ApiError> {
        let By::Session { csrf } = &self.by else {
            return Ok(());
        };
        if bool::from(subtle::ConstantTimeEq::ct_eq(csrf.as_bytes(), sent.as_bytes())) {
            return Ok(());
        }
        Err(ApiError::forbidden(
            "the form is from another session: load the page again and repeat",
        ))
    }
}

/// Who asks, by whatever was sent.
///
/// # Errors
/// 401 where something was sent and is not valid.
pub async fn caller(app: &App, request: &Request) -> Result<Caller, ApiError> {
    // What is no token of ours may be a proxy's, in front of a browser that has a session.
    let session = cookie(request, SESSION_COOKIE);
    if let Some(token) = token(request)
        && (session.is_none() || tokens::parse(&token).is_some())
    {
        return app.user_of_token(request.peer.ip, &token).await.map(Caller::User);
    }
    let Some(cookie) = session else {
        return Ok(Caller::Nobody);
    };
    let session = app
        .state()
        .session(app.clock().now(), cookie)
        .map_err(ApiError::internal)?;
    match session {
        Some(session) => Ok(app.user_of_session(session)?.map_or(Caller::Nobody, Caller::User)),
        None => Ok(Caller::Nobody),
    }
}

impl App {
    /// The person behind a token.
    async fn user_of_token(&self, peer: IpAddr, token: &str) -> Result<User, ApiError> {
        let identity = self.identify(peer, token).await?;
        if identity.kind != TokenKind::User {
            return Err(ApiError::forbidden(
                "this token is for ingest; management takes a person's API token (ua_live_…)",
            ));
        }
        self.state().token_used(self.clock().now(), &identity.token);
        Ok(User {
            account: identity.account,
            user: identity.owner,
            role: identity.role.unwrap_or_default(),
            by: By::Token(identity.token),
        })
    }

    /// Who sends readings with a token.
    ///
    /// # Errors
    /// 401, 403 (suspended, or a person's token), 429, 503.
    pub async fn sender_of_token(&self, peer: IpAddr, token: &str) -> Result<Sender, ApiError> {
        let identity = self.identify(peer, token).await?;
        if identity.kind == TokenKind::User {
            return Err(ApiError::forbidden(
                "this is a person's API token; readings come with a device's (ds_live_…) or an integration's (whk_…)",
            ));
        }
        Ok(Sender {
            account: identity.account.into(),
            token: identity.token.into(),
            kind: identity.kind,
            owner: identity.owner.into(),
        })
    }

    /// Whom a token belongs to. A token that was verified before is let in at once; another costs a bcrypt, which
    /// a peer that failed too often does not get.
    async fn identify(&self, peer: IpAddr, token: &str) -> Result<Identity, ApiError> {
        let now = self.clock().now();
        let step = match self.authenticator().begin(&self.registry().read(), token, now) {
            Ok(Step::Admitted(admitted)) => return Ok(admitted.into()),
            Ok(Step::Verify(_)) => Ok(()),
            Err(error) => Err(error),
        };
        self.limits().may_attempt(peer)?;
        let verified = match step {
            Ok(()) => {
                self.authenticator()
                    .authenticate(self.registry(), token, now)
                    .await
            }
            Err(error) => Err(error),
        };
        verified.map_err(|error| self.not_let_in(peer, token, error))
    }

    fn not_let_in(&self, peer: IpAddr, token: &str, error: AuthError) -> ApiError {
        let answer = match error {
            AuthError::Busy => {
                return ApiError::unavailable("busy", error.to_string());
            }
            AuthError::NotAdmitted(NotAdmitted::Suspended) => ApiError::new(
                StatusCode::FORBIDDEN,
                "account_suspended",
                "the account is suspended",
            ),
            AuthError::Malformed | AuthError::WrongSecret | AuthError::NotAdmitted(_) => {
                ApiError::token_invalid()
            }
        };
        self.limits().failed(peer);
        // Whoever holds a token that ended sees so where the device is shown; a guess tells nobody's name.
        let known = tokens::parse(token).and_then(|parsed| {
            let registry = self.registry().read();
            let found = registry.token(parsed.id)?;
            let source = match found.kind {
                TokenKind::Device => Source::Device(found.owner.into()),
                TokenKind::Webhook => Source::Integration(found.owner.into()),
                TokenKind::User => Source::Token(found.id.into()),
            };
            Some((source, found.account.to_owned()))
        });
        let (source, account) = match known {
            Some((source, account)) => (source, Some(account)),
            None => (Source::Peer, None),
        };
        self.refusals()
            .count(source, account.as_deref(), answer.code, &error.to_string());
        answer
    }

    /// The person behind a session, as the registry knows them now; `None` where they are gone.
    fn user_of_session(&self, session: Session) -> Result<Option<User>, ApiError> {
        let registry = self.registry().read();
        let Some(user) = registry
            .user(&session.account, &session.user)
            .filter(|user| !user.state.removed)
        else {
            return Ok(None);
        };
        if registry
            .account(&session.account)
            .is_none_or(|account| account.state.suspended)
        {
            return Err(ApiError::new(
                StatusCode::FORBIDDEN,
                "account_suspended",
                "the account is suspended",
            ));
        }
        Ok(Some(User {
            role: user.state.role.clone(),
            account: session.account,
            user: session.user,
            by: By::Session { csrf: session.csrf },
        }))
    }

    /// Whether a person who was let in still would be: for answers that last.
    pub fn is_admitted(&self, user: &User) -> bool {
        let now = self.clock().now();
        if let By::Session { csrf } = &user.by
            && !self.state().session_lives(now, csrf).unwrap_or(false)
        {
            return false;
        }
        let registry = self.registry().read();
        match &user.by {
            By::Token(id) => registry.admit(id, now).is_ok(),
            By::Session { .. } => {
                let there = registry.user(&user.account, &user.user);
                let open = registry.account(&user.account);
                there.is_some_and(|user| !user.state.removed)
                    && open.is_some_and(|account| !account.state.suspended)
            }
        }
    }

    /// Whether a person sees the entries of every account: those of the first account do, where the settings say so,
    /// because it is theirs who run the ledger.
    pub fn is_ledger_auditor(&self, user: &User) -> bool {
        self.settings().first_account_audits
            && self
                .registry()
                .read()
                .accounts()
                .next()
                .is_some_and(|first| *first.id == *user.account)
    }
}

/// The token of a request: bearer, or the password of basic auth. What is neither reads as an empty token, which
/// nobody has: it was sent, and is not good.
pub fn token(request: &Request) -> Option<Cow<'_, str>> {
    let value = request.headers.get(header::AUTHORIZATION)?;
    Some(token_of(value.to_str().unwrap_or("")).unwrap_or_default())
}

fn token_of(value: &str) -> Option<Cow<'_, str>> {
    let (scheme, rest) = value.split_once(' ')?;
    let rest = rest.trim();
    if rest.len() > TOKEN_BYTES_MAX * 2 {
        return None;
    }
    if scheme.eq_ignore_ascii_case("bearer") {
        Some(Cow::Borrowed(rest))
    } else if scheme.eq_ignore_ascii_case("basic") {
        let text = String::from_utf8(STANDARD.decode(rest).ok()?).ok()?;
        let (_, password) = text.split_once(':')?;
        Some(Cow::Owned(password.to_owned()))
    } else {
        None
    }
}

/// The token of an ingest request, which may also stand in the query. What is too long to be one reads as an empty
/// token, as in [`token`].
pub fn ingest_token(request: &Request) -> Option<Cow<'_, str>> {
    let token = token(request).or_else(|| request.query("token"))?;
    Some(if token.len() > TOKEN_BYTES_MAX {
        Cow::Borrowed("")
    } else {
        token
    })
}

/// A cookie's value.
pub fn cookie<'a>(request: &'a Request, name: &str) -> Option<&'a str> {
    request
        .headers
        .get_all(header::COOKIE)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(';'))
        .filter_map(|pair| pair.trim().split_once('='))
        .find(|(key, _)| *key == name)
        .map(|(_, value)| value)
}

/// The `Set-Cookie` value that begins a session, or ends it where `secret` is empty.
pub fn session_cookie(app: &App, secret: &str) -> String {
    let settings = app.settings();
    let max_age_s = if secret.is_empty() {
        0
    } else {
        u64::from(settings.session_days) * 86_400
    };
    let secure = if app.is_https() { "; Secure" } else { "" };
    format!("{SESSION_COOKIE}={secret}; Path=/; HttpOnly; SameSite=Lax; Max-Age={max_age_s}{secure}")
}

/// The address that limits count against: the peer's, or the one its proxy vouches for.
pub fn peer(app: &App, request: &Request) -> IpAddr {
    if !app.settings().behind_proxy {
        return request.peer.ip;
    }
    request
        .headers
        .get_all("x-forwarded-for")
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .next_back()
        .and_then(|last| last.trim().parse().ok())
        .unwrap_or(request.peer.ip)
}
