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
use std::borrow::Cow;
use std::net::IpAddr;
use warp::http::header;

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
    let caller = reader(app, request).await?;
    let user = caller.user()?;
    if user.role != OWNER {
        return Err(ApiError::forbidden("this role may read and not change"));
    }
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
    if let Some(token) = token(request) {
        return app.user_of_token(request.peer.ip, &token).await.map(Caller::User);
    }
    let Some(cookie) = cookie(request, SESSION_COOKIE) else {
        return Ok(Caller::Nobody);
    };
    let session = app
        .state()
        .session(app.clock().now(), cookie)
        .map_err(ApiError::internal)?;
    match session {
        Some(session) => app.user_of_session(session).map(Caller::User),
        None => Ok(Caller::Nobody),
    }
}

impl App {
    /// The person behind a token.
    async fn user_of_token(&self, _peer: IpAddr, _token: &str) -> Result<User, ApiError> {
        Err(ApiError::token_invalid())
    }

    /// The person behind a session, as the registry knows them now.
    fn user_of_session(&self, session: Session) -> Result<User, ApiError> {
        Ok(User {
            account: session.account,
            user: session.user,
            role: OWNER.to_owned(),
            by: By::Session { csrf: session.csrf },
        })
    }
}

/// The token of a request: bearer, or the password of basic auth.
pub fn token(request: &Request) -> Option<Cow<'_, str>> {
    let value = request.header(header::AUTHORIZATION)?;
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

/// The token of an ingest request, which may also stand in the query.
pub fn ingest_token(request: &Request) -> Option<Cow<'_, str>> {
    token(request)
        .or_else(|| request.query("token"))
        .filter(|token| !token.is_empty() && token.len() <= TOKEN_BYTES_MAX)
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
