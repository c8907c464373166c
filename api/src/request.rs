//! A request as handlers see it: who sent it over what, its query, headers and body, read with a limit.
//!
//! Invariants: a body is read at most once, never beyond its limit, never longer than the body timeout; the
//! request id is ours and never the client's.
//! Not here: who the caller is (`auth`), which handler gets it (`router`).

use crate::errors::ApiError;
use bytes::{Buf, Bytes, BytesMut};
use futures_util::{Stream, StreamExt};
use parking_lot::Mutex;
use percent_encoding::percent_decode_str;
use serde::de::value::MapAccessDeserializer;
use serde::de::{Deserialize, DeserializeOwned, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Value};
use std::borrow::Cow;
use std::net::IpAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;
use warp::http::{HeaderMap, Method, Uri, header};

/// Bytes of a body too large that are read and thrown away, so that its sender sees why it was refused.
const DRAIN_BYTES_MAX: usize = 8 << 20;

/// Bytes of a body that a handler left unread and that are read all the same.
const LEFT_BYTES_MAX: usize = 64 << 10;
/// How long that may take.
const LEFT_TIMEOUT: Duration = Duration::from_secs(1);

/// What is known of a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Peer {
    /// The other end's address.
    pub ip: IpAddr,
    /// Whether it came over TLS, and whether by a version that only devices may use.
    pub transport: Transport,
}

/// How a connection is protected.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Transport {
    /// Not by us: loopback, or a proxy in front.
    Plain,
    /// TLS 1.3.
    Tls13,
    /// TLS 1.2: ingest only, where `tls_min_ingest` allows it.
    Tls12,
}

/// What the accept loop puts into a request's extensions.
#[derive(Debug, Clone)]
pub struct Arrival {
    /// The connection.
    pub peer: Peer,
    /// The request's target.
    pub uri: Uri,
    /// The request's headers, taken out so that nobody has to copy them.
    pub headers: Arc<HeaderMap>,
}

/// The body as it comes.
pub type BodyStream = Pin<Box<dyn Stream<Item = Result<Bytes, warp::Error>> + Send + Sync>>;

/// A request.
pub struct Request {
    /// Its method.
    pub method: Method,
    /// Its target.
    pub uri: Uri,
    /// Its headers.
    pub headers: Arc<HeaderMap>,
    /// Where it came from.
    pub peer: Peer,
    /// `req_…`, ours.
    pub id: Arc<str>,
    body: Unread,
    body_timeout: Duration,
}

/// A body that nobody has read yet; also held by the router, which reads what a handler left.
#[derive(Clone)]
pub struct Unread(Arc<Mutex<Option<BodyStream>>>);

impl Unread {
    /// Reads the little that a handler left, so that a connection whose request was refused stays usable; more is
    /// left unread, and the connection closed.
    pub async fn finish(&self) {
        let left = self.0.lock().take();
        if let Some(body) = left {
            // A sender that is slower than this loses its connection and nothing else.
            let _ = tokio::time::timeout(LEFT_TIMEOUT, drain(body, LEFT_BYTES_MAX)).await;
        }
    }
}

impl Request {
    /// From its parts.
    pub fn new(
        method: Method,
        arrival: Arrival,
        id: Arc<str>,
        body: BodyStream,
        body_timeout: Duration,
    ) -> Self {
        Self {
            method,
            uri: arrival.uri,
            headers: arrival.headers,
            peer: arrival.peer,
            id,
            body: Unread(Arc::new(Mutex::new(Some(body)))),
            body_timeout,
        }
    }

    /// The body as long as nobody has read it.
    pub fn unread(&self) -> Unread {
        self.body.clone()
    }

    /// The path, as sent.
    pub fn path(&self) -> &str {
        self.uri.path()
    }

    /// The query, as sent, without its question mark.
    pub fn raw_query(&self) -> &str {
        self.uri.query().unwrap_or("")
    }

    /// The first value of a query parameter, decoded.
    pub fn query(&self, name: &str) -> Option<Cow<'_, str>> {
        pairs(self.raw_query())
            .find(|(key, _)| key == name)
            .map(|(_, value)| value)
    }

    /// As [`Request::query`]; what is given without a value is not given.
    pub fn given(&self, name: &str) -> Option<Cow<'_, str>> {
        self.query(name).filter(|value| !value.is_empty())
    }

    /// A query parameter read as a type.
    ///
    /// # Errors
    /// 400 `bad_query`, naming the parameter and what belongs there.
    pub fn query_as<T: std::str::FromStr>(&self, name: &str, expected: &str) -> Result<Option<T>, ApiError> {
        match self.given(name) {
            None => Ok(None),
            Some(text) => text
                .parse()
                .map(Some)
                .map_err(|_| ApiError::malformed("bad_query", format!("'{name}' must be {expected}"))),
        }
    }

    /// A header as text.
    pub fn header(&self, name: header::HeaderName) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }

    /// The whole body.
    ///
    /// # Errors
    /// 413 beyond `limit_bytes`, 408 when it takes too long, 400 when it breaks off.
    pub async fn bytes(&mut self, limit_bytes: usize) -> Result<Bytes, ApiError> {
        let announced = self
            .header(header::CONTENT_LENGTH)
            .and_then(|text| text.parse::<usize>().ok());
        let unread = self.body.0.lock().take();
        let Some(body) = unread else {
            return Ok(Bytes::new());
        };
        if announced.is_some_and(|len| len > limit_bytes) {
            // Who is cut off while sending never sees the answer; a little is let through for politeness.
            let _ = tokio::time::timeout(self.body_timeout, drain(body, DRAIN_BYTES_MAX)).await;
            return Err(ApiError::too_large(limit_bytes));
        }
        match tokio::time::timeout(self.body_timeout, collect(body, limit_bytes)).await {
            Ok(collected) => collected,
            Err(_) => Err(ApiError::new(
                warp::http::StatusCode::REQUEST_TIMEOUT,
                "body_timeout",
                "the body took too long to arrive",
            )),
        }
    }

    /// The body as JSON of a shape.
    ///
    /// # Errors
    /// As [`Request::bytes`]; 400 `bad_json` with where and why.
    pub async fn json<T: DeserializeOwned>(&mut self, limit_bytes: usize) -> Result<(T, Bytes), ApiError> {
        let body = self.bytes(limit_bytes).await?;
        Ok((parse_json(&body)?, body))
    }
}

/// Bytes as JSON of a shape.
///
/// # Errors
/// 400 `bad_json` with where and why.
pub fn parse_json<T: DeserializeOwned>(body: &[u8]) -> Result<T, ApiError> {
    serde_json::from_slice(body).map_err(bad_json)
}

/// What a body is that has not the shape that belongs there.
pub fn bad_json(error: serde_json::Error) -> ApiError {
    let words = json_words(&error);
    ApiError::malformed("bad_json", format!("the body is not what belongs here: {words}"))
}

/// Why JSON has not the shape that belongs there, in the words of JSON and not of our types.
pub fn json_words(error: &serde_json::Error) -> String {
    let mut words = error.to_string();
    for (ours, json) in [
        ("expected u32", "expected a whole number from 0"),
        ("expected u64", "expected a whole number from 0"),
        ("expected f64", "expected a number"),
        ("expected a boolean", "expected true or false"),
        ("expected a map", "expected an object"),
        ("expected a sequence", "expected a list"),
        ("invalid type: sequence", "invalid type: list"),
        ("invalid type: map", "invalid type: object"),
        ("invalid type: floating point", "invalid type: number"),
        ("invalid type: integer", "invalid type: number"),
    ] {
        words = words.replace(ours, json);
    }
    words
}

/// The members of a JSON object. A name that stands twice, in it or in an object within, is refused: readers disagree
/// about which of them counts.
#[derive(Debug, Default)]
pub struct Members(pub Map<String, Value>);

impl<'de> Deserialize<'de> for Members {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Each;

        impl<'de> Visitor<'de> for Each {
            type Value = Members;

            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Members, A::Error> {
                let mut members = Map::new();
                while let Some(name) = map.next_key::<String>()? {
                    if members.contains_key(&name) {
                        return Err(serde::de::Error::custom(format_args!(
                            "the member `{name}` stands twice"
                        )));
                    }
                    members.insert(name, map.next_value::<Within>()?.0);
                }
                Ok(Members(members))
            }
        }
        deserializer.deserialize_map(Each)
    }
}

/// What stands within: any JSON.
struct Within(Value);

impl<'de> Deserialize<'de> for Within {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Any;

        impl<'de> Visitor<'de> for Any {
            type Value = Within;

            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("any JSON")
            }

            fn visit_unit<E>(self) -> Result<Within, E> {
                Ok(Within(Value::Null))
            }

            fn visit_bool<E>(self, value: bool) -> Result<Within, E> {
                Ok(Within(value.into()))
            }

            fn visit_i64<E>(self, value: i64) -> Result<Within, E> {
                Ok(Within(value.into()))
            }

            fn visit_u64<E>(self, value: u64) -> Result<Within, E> {
                Ok(Within(value.into()))
            }

            fn visit_f64<E>(self, value: f64) -> Result<Within, E> {
                Ok(Within(value.into()))
            }

            fn visit_str<E>(self, value: &str) -> Result<Within, E> {
                Ok(Within(value.into()))
            }

            fn visit_string<E>(self, value: String) -> Result<Within, E> {
                Ok(Within(value.into()))
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Within, A::Error> {
                let mut items = Vec::new();
                while let Some(Within(item)) = list.next_element()? {
                    items.push(item);
                }
                Ok(Within(Value::Array(items)))
            }

            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Within, A::Error> {
                let members = Members::deserialize(MapAccessDeserializer::new(map))?;
                Ok(Within(Value::Object(members.0)))
            }
        }
        deserializer.deserialize_any(Any)
    }
}

/// Reads what is thrown away, up to `left` bytes.
async fn drain(mut body: BodyStream, mut left: usize) {
    while let Some(Ok(chunk)) = body.next().await {
        left = left.saturating_sub(chunk.len());
        if left == 0 {
            return;
        }
    }
}

async fn collect(mut body: BodyStream, limit_bytes: usize) -> Result<Bytes, ApiError> {
    let mut first = Bytes::new();
    let mut whole = BytesMut::new();
    while let Some(chunk) = body.next().await {
        let chunk = chunk.map_err(|error| {
            ApiError::malformed("bad_body", "the body broke off before its end").caused_by(error)
        })?;
        if first.len() + whole.len() + chunk.len() > limit_bytes {
            return Err(ApiError::too_large(limit_bytes));
        }
        // Nearly every body is one chunk, and stays where it is.
        if first.is_empty() && whole.is_empty() {
            first = chunk;
        } else {
            if whole.is_empty() {
                whole.extend_from_slice(&std::mem::take(&mut first));
            }
            whole.extend_from_slice(&chunk);
        }
    }
    Ok(if whole.is_empty() { first } else { whole.freeze() })
}

/// A body of warp's as a stream of bytes.
pub fn body_stream<S, B>(body: S) -> BodyStream
where
    S: Stream<Item = Result<B, warp::Error>> + Send + Sync + 'static,
    B: Buf,
{
    Box::pin(body.map(|chunk| chunk.map(|mut chunk| chunk.copy_to_bytes(chunk.remaining()))))
}

/// The pairs of a query or form, decoded (`application/x-www-form-urlencoded`).
pub fn pairs(text: &str) -> impl Iterator<Item = (Cow<'_, str>, Cow<'_, str>)> {
    text.split('&').filter(|pair| !pair.is_empty()).map(|pair| {
        let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
        (decode(key), decode(value))
    })
}

fn decode(text: &str) -> Cow<'_, str> {
    if text.contains('+') {
        let spaced = text.replace('+', " ");
        Cow::Owned(percent_decode_str(&spaced).decode_utf8_lossy().into_owned())
    } else {
        percent_decode_str(text).decode_utf8_lossy()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures_util::stream;

    fn request(query: &str, chunks: Vec<&'static [u8]>) -> Request {
        let arrival = Arrival {
            peer: Peer {
                ip: IpAddr::from([127, 0, 0, 1]),
                transport: Transport::Plain,
            },
            uri: format!("/x?{query}").parse().expect("uri"),
            headers: Arc::default(),
        };
        let body = Box::pin(stream::iter(
            chunks.into_iter().map(|c| Ok(Bytes::from_static(c))),
        ));
        Request::new(
            Method::POST,
            arrival,
            "req_x".into(),
            body,
            Duration::from_secs(5),
        )
    }

    #[tokio::test]
    async fn a_body_is_read_up_to_its_limit_and_not_a_byte_beyond() {
        let whole = request("", vec![b"ab", b"cd", b"ef"]).bytes(6).await;
        assert_eq!(whole.expect("fits"), "abcdef");
        let beyond = request("", vec![b"ab", b"cd", b"ef"]).bytes(5).await;
        assert_eq!(beyond.expect_err("too large").status, 413);
        let mut announced = request("", vec![b"ab"]);
        announced.headers = Arc::new(HeaderMap::from_iter([(header::CONTENT_LENGTH, 7.into())]));
        assert_eq!(announced.bytes(6).await.expect_err("too large").status, 413);
    }

    #[tokio::test]
    async fn a_body_that_never_ends_is_given_up() {
        let mut slow = request("", vec![]);
        slow.body_timeout = Duration::from_millis(1);
        *slow.body.0.lock() = Some(Box::pin(stream::pending()));
        assert_eq!(slow.bytes(6).await.expect_err("timeout").status, 408);
    }

    #[test]
    fn a_member_that_stands_twice_is_refused_wherever_it_stands() {
        let whole = r#"{"a":null,"b":[true,-1,2,1.5,"x\ty",{"a":1}],"c":{"a":{"a":"y"}}}"#;
        let Members(members) = parse_json(whole.as_bytes()).expect("an object");
        assert_eq!(
            Value::Object(members),
            serde_json::from_str::<Value>(whole).expect("JSON")
        );
        for twice in [
            r#"{"a":1,"a":1}"#,
            r#"{"b":{"a":1,"a":2}}"#,
            r#"{"b":[0,{"c":{"a":1,"b":0,"a":2}}]}"#,
        ] {
            let refused = parse_json::<Members>(twice.as_bytes()).expect_err(twice);
            assert!(
                refused.message.contains("`a` stands twice"),
                "{}",
                refused.message
            );
        }
        let deep = format!("{{\"a\":{}{}}}", "[".repeat(100_000), "]".repeat(100_000));
        let refused = parse_json::<Members>(deep.as_bytes()).expect_err("too deep");
        assert!(refused.message.contains("recursion"), "{}", refused.message);
    }

    #[test]
    fn a_query_is_decoded() {
        let request = request("a=1%2B1&b=x+y&token=&n=7&n=8&bare", vec![]);
        assert_eq!(request.query("a").as_deref(), Some("1+1"));
        assert_eq!(request.query("b").as_deref(), Some("x y"));
        assert_eq!(request.query("bare").as_deref(), Some(""));
        assert_eq!(request.query("missing"), None);
        assert_eq!(request.query_as::<u32>("n", "a number"), Ok(Some(7)));
        assert_eq!(request.query_as::<u32>("token", "a number"), Ok(None));
        assert_eq!(
            request
                .query_as::<u32>("b", "a number")
                .expect_err("not one")
                .code,
            "bad_query"
        );
    }
}
