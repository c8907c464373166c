//! Which handler gets a request: one table of routes, one filter, ingest first.
//!
//! warp's `or` chains try every branch and box its rejection, which costs more than the handlers here. So the
//! tree is one filter that takes a request apart, and a table decides. The OpenAPI document is written from the
//! same table, so neither can know a route that the other does not.
//! Invariants: authentication and the right to write are decided here for every route but ingest; a request over
//! TLS 1.2 reaches ingest only; every answer carries the request id.
//! Not here: what routes do (`routes`, `pages`).

use crate::app::App;
use crate::auth::{self, Caller};
use crate::errors::ApiError;
use crate::pages;
use crate::question;
pub use crate::question::Param;
use crate::redact;
use crate::reply::Response;
use crate::request::{Arrival, Request, Transport, body_stream};
use crate::routes;
use domain::ports::BoxFuture;
use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;
use warp::Filter;
use warp::http::{HeaderName, HeaderValue, Method};

/// What the accept loop hands to every connection.
pub type Edge = Arc<App>;
/// What a handler answers.
pub type Answer = Result<Response, ApiError>;
/// A handler: an async function behind one allocation.
pub type Handler = fn(Ctx) -> BoxFuture<'static, Answer>;

/// The header that carries the request id.
pub const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// A request on its way to a handler, with who asks and the path's parameters.
pub struct Ctx {
    /// Everything behind the edge.
    pub app: Edge,
    /// The request.
    pub request: Request,
    /// Who asks; [`Caller::Nobody`] only on public routes.
    pub caller: Caller,
    /// Values of `{…}` in the path, in order.
    params: Vec<String>,
}

impl Ctx {
    /// The first `{…}` of the path.
    pub fn id(&self) -> &str {
        self.param(0)
    }

    /// The `index`-th `{…}` of the path; empty where the path has fewer.
    pub fn param(&self, index: usize) -> &str {
        self.params.get(index).map_or("", String::as_str)
    }
}

/// A method that routes are for. `Get` answers HEAD too.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Verb {
    /// Looks; HEAD too.
    Get,
    /// Makes, or does.
    Post,
    /// Changes what is there.
    Patch,
    /// Takes away.
    Delete,
}

impl Verb {
    /// As HTTP spells it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Get => "GET",
            Self::Post => "POST",
            Self::Patch => "PATCH",
            Self::Delete => "DELETE",
        }
    }

    fn of(method: &Method) -> Option<Self> {
        match *method {
            Method::GET | Method::HEAD => Some(Self::Get),
            Method::POST => Some(Self::Post),
            Method::PATCH => Some(Self::Patch),
            Method::DELETE => Some(Self::Delete),
            _ => None,
        }
    }
}

/// Who may use a route.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Access {
    /// Anybody. A token or session that is sent is not looked at.
    Public,
    /// Anybody, but who is signed in is known (pages that greet).
    Optional,
    /// Whoever may read the account: a user's token, or a browser's session.
    Read,
    /// Whoever may change the account. A session must send its CSRF token.
    Write,
    /// Whoever is signed in, for what is their own (their tokens), or where the command decides by their role. A session
    /// must send its CSRF token.
    Own,
    /// Devices and integrations; the handler authenticates, because each vendor carries its token elsewhere.
    Ingest,
}

/// What the OpenAPI document says of a route, and what a request may ask it. Pages have none.
#[derive(Debug, Clone, Copy)]
pub struct Doc {
    /// What it does, in a line.
    pub summary: &'static str,
    /// Its query parameters.
    pub query: &'static [Param],
    /// The schema of its body, by name.
    pub body: Option<&'static str>,
    /// The status of success.
    pub status: u16,
    /// The schema of its answer by name, or a media type.
    pub answer: &'static str,
}

/// One row of the table.
#[derive(Clone, Copy)]
pub struct Route {
    /// Its method.
    pub verb: Verb,
    /// Its path; `{name}` is one segment, `{name...}` at the end any number of them.
    pub path: &'static str,
    /// Who may use it.
    pub access: Access,
    /// What answers.
    pub handler: Handler,
    /// What the OpenAPI document says; `None` for pages.
    pub doc: Option<Doc>,
}

/// The table, prepared for look-ups.
pub struct Table {
    fixed: HashMap<&'static str, Vec<&'static Route>>,
    patterns: Vec<(Vec<Segment>, &'static Route)>,
}

#[derive(Debug, PartialEq, Eq)]
enum Segment {
    Fixed(&'static str),
    One,
    Rest,
}

/// What a look-up found.
pub enum Found {
    /// A route and the values of its parameters.
    Route(&'static Route, Vec<String>),
    /// The path is known, the method is not; these are.
    OtherMethods(Vec<Verb>),
    /// Nothing.
    Nothing,
}

impl Table {
    /// Of these routes.
    pub fn new(routes: impl IntoIterator<Item = &'static Route>) -> Self {
        let mut table = Self {
            fixed: HashMap::new(),
            patterns: Vec::new(),
        };
        for route in routes {
            if route.path.contains('{') {
                table.patterns.push((segments(route.path), route));
            } else {
                table.fixed.entry(route.path).or_default().push(route);
            }
        }
        table
    }

    /// The route of a request.
    pub fn find(&self, method: &Method, path: &str) -> Found {
        let verb = Verb::of(method);
        let mut others = Vec::new();
        if let Some(routes) = self.fixed.get(path) {
            for route in routes {
                if Some(route.verb) == verb {
                    return Found::Route(route, Vec::new());
                }
                others.push(route.verb);
            }
        }
        for (pattern, route) in &self.patterns {
            if let Some(params) = matches(pattern, path) {
                if Some(route.verb) == verb {
                    return Found::Route(route, params);
                }
                others.push(route.verb);
            }
        }
        if others.is_empty() {
            Found::Nothing
        } else {
            Found::OtherMethods(others)
        }
    }
}

fn segments(path: &'static str) -> Vec<Segment> {
    path.split('/')
        .skip(1)
        .map(|segment| match segment.strip_prefix('{') {
            Some(name) if name.ends_with("...}") => Segment::Rest,
            Some(_) => Segment::One,
            None => Segment::Fixed(segment),
        })
        .collect()
}

fn matches(pattern: &[Segment], path: &str) -> Option<Vec<String>> {
    let mut rest = path.strip_prefix('/')?;
    let mut params = Vec::new();
    for (i, segment) in pattern.iter().enumerate() {
        let (head, tail) = match rest.split_once('/') {
            Some((head, tail)) => (head, Some(tail)),
            None => (rest, None),
        };
        match segment {
            Segment::Rest => {
                params.push(rest.to_owned());
                return Some(params);
            }
            Segment::Fixed(text) if *text != head => return None,
            Segment::One if head.is_empty() => return None,
            Segment::Fixed(_) => {}
            Segment::One => params.push(
                percent_encoding::percent_decode_str(head)
                    .decode_utf8_lossy()
                    .into_owned(),
            ),
        }
        match tail {
            Some(tail) => rest = tail,
            None => return (i + 1 == pattern.len()).then_some(params),
        }
    }
    None
}

/// The whole edge as one warp filter.
pub fn filter(app: Edge) -> impl Filter<Extract = (Response,), Error = warp::Rejection> + Clone {
    let app = warp::any().map(move || Arc::clone(&app));
    warp::method()
        .and(warp::ext::get::<Arrival>())
        .and(warp::body::stream())
        .and(app)
        .then(|method, arrival, body, app: Edge| {
            let id = app.request_id();
            let body = body_stream(body);
            let timeout = Duration::from_secs(app.settings().body_timeout_s);
            handle(app, Request::new(method, arrival, id, body, timeout))
        })
}

/// Answers a request.
async fn handle(app: Edge, mut request: Request) -> Response {
    let began = app.clock().monotonic();
    request.peer.ip = auth::peer(&app, &request);
    let id = Arc::clone(&request.id);
    // What an error answer and the log need after the handler has taken the request.
    let (headers, log) = (Arc::clone(&request.headers), Line::of(&request));
    let unread = request.unread();
    let answer = if let Some(door) = routes::ingest::door(&request) {
        routes::ingest::take(&app, request, door).await
    } else {
        dispatch(&app, request).await
    };
    unread.finish().await;
    let mut response = match answer {
        Ok(response) => response,
        Err(error) => {
            let error = error.redacted();
            log.error(&id, &error);
            pages::routes::error_page(log.uri.path(), &headers, &error, &id)
                .unwrap_or_else(|| error.to_response(&headers, &id))
        }
    };
    if let Ok(value) = HeaderValue::from_str(&id) {
        response.headers_mut().insert(REQUEST_ID, value);
    }
    app.metrics()
        .answered(response.status(), app.clock().monotonic().saturating_sub(began));
    response
}

async fn dispatch(app: &Edge, request: Request) -> Answer {
    let (route, params) = match app.table().find(&request.method, request.path()) {
        Found::Route(route, params) => (route, params),
        Found::OtherMethods(verbs) => return Err(other_methods(verbs)),
        Found::Nothing => return Err(ApiError::no_route()),
    };
    if request.peer.transport == Transport::Tls12 && route.access != Access::Ingest {
        return Err(ApiError::forbidden(
            "this needs TLS 1.3; only ingest is open to older versions",
        ));
    }
    let caller = match route.access {
        Access::Public | Access::Ingest => Caller::Nobody,
        Access::Optional => auth::caller(app, &request).await.unwrap_or(Caller::Nobody),
        Access::Read => auth::reader(app, &request).await?,
        Access::Write => auth::writer(app, &request).await?,
        Access::Own => auth::own(app, &request).await?,
    };
    question::check(route, &request)?;
    if !matches!(caller, Caller::Nobody) {
        app.fresh().await;
    }
    let ctx = Ctx {
        app: Arc::clone(app),
        request,
        caller,
        params,
    };
    (route.handler)(ctx).await
}

fn other_methods(mut verbs: Vec<Verb>) -> ApiError {
    verbs.sort_unstable();
    verbs.dedup();
    let allow: Vec<_> = verbs.iter().map(|verb| verb.as_str()).collect();
    let mut error = ApiError::new(
        warp::http::StatusCode::METHOD_NOT_ALLOWED,
        "method_not_allowed",
        format!("this path takes {}", allow.join(", ")),
    );
    error.allow = Some(allow.join(", "));
    error
}

/// A request as the log may know it.
struct Line {
    method: Method,
    uri: warp::http::Uri,
}

impl Line {
    fn of(request: &Request) -> Self {
        Self {
            method: request.method.clone(),
            uri: request.uri.clone(),
        }
    }

    fn error(&self, id: &str, error: &ApiError) {
        let (method, status) = (self.method.as_str(), error.status.as_u16());
        let url = redact::url(self.uri.path(), self.uri.query().unwrap_or(""));
        let cause = redact::word(error.cause.as_deref().unwrap_or(""));
        if error.status.is_server_error() {
            tracing::warn!(request = id, method, url, status, code = %error.code, cause, "a request failed");
        } else {
            tracing::debug!(request = id, method, url, status, code = %error.code, cause, "a request was refused");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn never(_: Ctx) -> BoxFuture<'static, Answer> {
        Box::pin(async { Err(ApiError::no_route()) })
    }

    const fn route(verb: Verb, path: &'static str) -> Route {
        Route {
            verb,
            path,
            access: Access::Public,
            handler: never,
            doc: None,
        }
    }

    const ROUTES: &[Route] = &[
        route(Verb::Get, "/v1/sites"),
        route(Verb::Post, "/v1/sites"),
        route(Verb::Get, "/v1/sites/{id}"),
        route(Verb::Get, "/v1/devices/{id}/sensors"),
        route(Verb::Get, "/log/tile/{rest...}"),
        route(Verb::Get, "/"),
    ];

    fn found(method: Method, path: &str) -> String {
        match Table::new(ROUTES).find(&method, path) {
            Found::Route(route, params) => format!("{} {} {params:?}", route.verb.as_str(), route.path),
            Found::OtherMethods(verbs) => format!("{verbs:?}"),
            Found::Nothing => "nothing".to_owned(),
        }
    }

    #[test]
    fn a_path_finds_its_route_and_nothing_else() {
        assert_eq!(found(Method::POST, "/v1/sites"), "POST /v1/sites []");
        assert_eq!(found(Method::HEAD, "/v1/sites"), "GET /v1/sites []");
        assert_eq!(
            found(Method::GET, "/v1/sites/a%20b"),
            "GET /v1/sites/{id} [\"a b\"]"
        );
        assert_eq!(
            found(Method::GET, "/v1/devices/d/sensors"),
            "GET /v1/devices/{id}/sensors [\"d\"]"
        );
        assert_eq!(
            found(Method::GET, "/log/tile/0/x001/000"),
            "GET /log/tile/{rest...} [\"0/x001/000\"]"
        );
        assert_eq!(found(Method::GET, "/"), "GET / []");
        assert_eq!(found(Method::DELETE, "/v1/sites"), "[Get, Post]");
        assert_eq!(found(Method::PUT, "/v1/sites/x"), "[Get]");
        for nothing in [
            "/v1/sites/",
            "/v1/site",
            "/v1/sites/x/y",
            "/v1/devices/d",
            "",
            "/log/tile",
            "//",
        ] {
            assert_eq!(found(Method::GET, nothing), "nothing", "{nothing}");
        }
    }
}
