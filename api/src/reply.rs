//! Answers: JSON, NDJSON, text, streams, and the headers they share.
//!
//! Invariant: every answer of the API says its media type and its length or that it streams.
//! Not here: error answers (`errors`), pages (`pages`).

use bytes::Bytes;
use futures_util::Stream;
use parking_lot::Mutex;
use serde::Serialize;
use std::pin::Pin;
use std::task::{Context, Poll};
use warp::Reply;
use warp::http::{HeaderValue, StatusCode, header};

/// An HTTP answer.
pub type Response = warp::reply::Response;

/// JSON with this status.
pub fn json<T: Serialize + ?Sized>(status: StatusCode, value: &T) -> Response {
    match serde_json::to_vec(value) {
        Ok(body) => bytes(status, "application/json", body),
        Err(error) => {
            tracing::error!(%error, "an answer could not be written as json");
            bytes(StatusCode::INTERNAL_SERVER_ERROR, "application/json", "{}")
        }
    }
}

/// 200 with JSON.
pub fn ok<T: Serialize + ?Sized>(value: &T) -> Response {
    json(StatusCode::OK, value)
}

/// Bytes of this media type.
pub fn bytes(status: StatusCode, media_type: &'static str, body: impl Into<Bytes>) -> Response {
    let body: Bytes = body.into();
    let mut response = Response::new(body.into());
    *response.status_mut() = status;
    response
        .headers_mut()
        .insert(header::CONTENT_TYPE, HeaderValue::from_static(media_type));
    response
}

/// 200 with a body that is made while it is sent.
pub fn stream<S, E>(media_type: &'static str, body: S) -> Response
where
    S: Stream<Item = Result<Bytes, E>> + Send + 'static,
    E: Into<Box<dyn std::error::Error + Send + Sync>> + Send + 'static,
{
    let mut response = warp::reply::stream(Exclusive(Mutex::new(Box::pin(body)))).into_response();
    response
        .headers_mut()
        .insert(header::CONTENT_TYPE, HeaderValue::from_static(media_type));
    response
}

/// A stream that only its one owner polls, which makes it `Sync`: warp asks for that, and the ports' futures
/// are not. The lock is never taken, only looked through.
struct Exclusive<S>(Mutex<Pin<Box<S>>>);

impl<S: Stream> Stream for Exclusive<S> {
    type Item = S::Item;

    fn poll_next(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<S::Item>> {
        self.get_mut().0.get_mut().as_mut().poll_next(context)
    }
}

/// 204.
pub fn no_content() -> Response {
    let mut response = Response::default();
    *response.status_mut() = StatusCode::NO_CONTENT;
    response
}

/// 303 to another page.
pub fn see_other(to: &str) -> Response {
    let mut response = Response::default();
    *response.status_mut() = StatusCode::SEE_OTHER;
    with(response, header::LOCATION, to)
}

/// The answer with one more header; a value that is not one is left out.
pub fn with(mut response: Response, name: header::HeaderName, value: &str) -> Response {
    if let Ok(value) = HeaderValue::from_str(value) {
        response.headers_mut().append(name, value);
    }
    response
}

/// The answer with a strong `ETag` of this text.
pub fn tagged(response: Response, tag: &str) -> Response {
    with(response, header::ETAG, &format!("\"{tag}\""))
}

/// One page of a list: REFERENCE §1.0.
#[derive(Debug, Serialize)]
pub struct Page<T> {
    /// What is on this page.
    pub data: Vec<T>,
    /// Where the next one starts, opaque; null on the last.
    pub next_cursor: Option<String>,
    /// Whether there is a next one.
    pub has_more: bool,
}

impl<T> Page<T> {
    /// A page that is the whole list.
    pub fn whole(data: Vec<T>) -> Self {
        Self {
            data,
            next_cursor: None,
            has_more: false,
        }
    }

    /// The same page of what is made of its things.
    pub fn map<U>(self, show: impl FnMut(T) -> U) -> Page<U> {
        Page {
            data: self.data.into_iter().map(show).collect(),
            next_cursor: self.next_cursor,
            has_more: self.has_more,
        }
    }
}
