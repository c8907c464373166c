//! The way of a reading from the socket to the pipeline: our own body, Shelly, LoRaWAN, Efento.
//!
//! Order: token, rate limit, body, decoder, pipeline. What an attacker can make us do grows along that order.
//! Invariants: a 2xx for a reading is sent after the pipeline says that it is durable; every refusal is counted
//! with its reason where its device can see it; an Efento gateway is answered 201 unless it should come back.
//! Source: REFERENCE §1.2, DESIGN "Decided" (Efento, limits). Not here: decoders and checks (`commands::ingest`).

use super::receipt;
use crate::auth;
use crate::errors::ApiError;
use crate::redact;
use crate::reply;
use crate::request::Request;
use crate::router::{Access, Answer, Ctx, Doc, Edge, Param, Route, Verb};
use bytes::Bytes;
use commands::ingest::decoded::{DecodeError, Decoded, Dropped, Report};
use commands::ingest::pipeline::{Caller, IngestRequest, RefusedReport, Taken, TakenChannel};
use commands::ingest::{efento, lorawan, native, shelly};
use commands::refusals::Source;
use domain::event::TokenKind;
use domain::hash::{sha256, sha256_of};
use domain::{Hash, Timestamp};
use serde::Serialize;
use serde::ser::{SerializeSeq, Serializer};
use std::borrow::Cow;
use std::collections::BTreeSet;
use warp::http::{HeaderName, Method, StatusCode};

/// Overrides the device named in the body (REFERENCE §1.2).
const X_DEVICE_ID: HeaderName = HeaderName::from_static("x-device-id");
/// How an Efento gateway carries its token.
const X_API_TOKEN: HeaderName = HeaderName::from_static("x-api-token");
/// What a client chose to make a repetition harmless.
pub const IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");
/// Longest idempotency key, in bytes; a UUID has 36.
const IDEMPOTENCY_KEY_BYTES_MAX: usize = 200;
/// Seconds that an Efento gateway pauses after a 503.
const EFENTO_PAUSE_S: u32 = 300;

/// Which vendor's door a request came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Door {
    /// Our own body.
    Native,
    /// Shelly, all generations.
    Shelly,
    /// The Things Stack and ChirpStack.
    Lorawan,
    /// Efento's gateway.
    Efento,
}

const QUERY: &[Param] = &[Param::text(
    "token",
    "The device's or integration's token, where no header can be set.",
)];
const SHELLY_QUERY: &[Param] = &[
    Param::text("token", "The device's token."),
    Param::text("device", "The device's local id; the token's device by default."),
    Param::text("temp", "°C."),
    Param::text("hum", "%."),
    Param::text("battery", "Percent, or volts from the third generation on."),
    Param::text("signal", "dBm."),
    Param::text("ts", "RFC 3339; the time of arrival by default."),
];

/// The routes of this file. The router asks [`door`] before it looks into its table; these rows are for the
/// document, for 405, and for the access rules of old TLS.
pub const ROUTES: &[Route] = &[
    row(
        Verb::Post,
        "/v1/ingest",
        "Readings: one report, or a list of up to 1000.",
        QUERY,
        Some("Report"),
        200,
        "Taken",
    ),
    row(
        Verb::Get,
        "/v1/ingest/shelly",
        "Readings as Shelly devices report them in a URL.",
        SHELLY_QUERY,
        None,
        200,
        "Taken",
    ),
    row(
        Verb::Post,
        "/v1/ingest/shelly",
        "Readings as Shelly devices send them: RPC notifications, status bodies, forms.",
        SHELLY_QUERY,
        Some("Foreign"),
        200,
        "Taken",
    ),
    row(
        Verb::Post,
        "/v1/ingest/lorawan",
        "Uplinks from The Things Stack v3 or ChirpStack v4.",
        QUERY,
        Some("Foreign"),
        200,
        "Taken",
    ),
    row(
        Verb::Post,
        "/v1/ingest/lorawan/{path...}",
        "The same; network servers append path segments.",
        QUERY,
        Some("Foreign"),
        200,
        "Taken",
    ),
    row(
        Verb::Post,
        "/v1/ingest/efento",
        "Measurements from an Efento gateway (API version 2).",
        QUERY,
        Some("Foreign"),
        201,
        "EfentoAnswer",
    ),
    row(
        Verb::Post,
        "/api/v2/measurements",
        "The same, at the path that gateways use by default.",
        QUERY,
        Some("Foreign"),
        201,
        "EfentoAnswer",
    ),
];

const fn row(
    verb: Verb,
    path: &'static str,
    summary: &'static str,
    query: &'static [Param],
    body: Option<&'static str>,
    status: u16,
    answer: &'static str,
) -> Route {
    Route {
        verb,
        path,
        access: Access::Ingest,
        handler: |ctx| Box::pin(by_table(ctx)),
        doc: Some(Doc {
            summary,
            query,
            body,
            status,
            answer,
        }),
    }
}

async fn by_table(ctx: Ctx) -> Answer {
    match door(&ctx.request) {
        Some(door) => take(&ctx.app, ctx.request, door).await,
        None => Err(ApiError::no_route()),
    }
}

/// The door of a request, if it is an ingest request with a method that the door takes.
pub fn door(request: &Request) -> Option<Door> {
    let path = request.path();
    if request.method == Method::POST {
        return match path {
            "/v1/ingest" => Some(Door::Native),
            "/v1/ingest/shelly" => Some(Door::Shelly),
            "/v1/ingest/lorawan" => Some(Door::Lorawan),
            "/v1/ingest/efento" | "/api/v2/measurements" => Some(Door::Efento),
            _ => path.starts_with("/v1/ingest/lorawan/").then_some(Door::Lorawan),
        };
    }
    (request.method == Method::GET && path == "/v1/ingest/shelly").then_some(Door::Shelly)
}

/// What is known of a request once its sender is: enough to answer, to count a refusal, to sign a receipt.
struct Visit<'a> {
    app: &'a Edge,
    door: Door,
    caller: Caller,
    received_at: Timestamp,
    receipt: bool,
}

/// Takes readings in.
///
/// # Errors
/// [`ApiError`]; nothing of the request was recorded, but where it says that this is not known.
pub async fn take(app: &Edge, mut request: Request, door: Door) -> Answer {
    let received_at = app.clock().now();
    let caller = match authenticate(app, &request, door).await {
        Ok(caller) => caller,
        Err(error) => {
            app.metrics().refused.increment(1);
            return Err(error);
        }
    };
    let visit = Visit {
        app,
        door,
        caller,
        received_at,
        receipt: receipt::is_asked_for(&request.headers),
    };
    let (answer, body_sha256) = visit.answer(&mut request).await;
    match answer {
        Ok(response) => Ok(response),
        Err(error) => {
            visit.count(&error, None);
            visit.refuse(error, body_sha256, &request)
        }
    }
}

/// Who sends. Failures are counted where they can be told apart.
async fn authenticate(app: &Edge, request: &Request, door: Door) -> Result<Caller, ApiError> {
    let token = auth::ingest_token(request)
        .or_else(|| {
            let own = (door == Door::Efento)
                .then(|| request.header(X_API_TOKEN))
                .flatten();
            own.map(Cow::Borrowed)
        })
        .ok_or_else(|| {
            app.refusals()
                .count(Source::Peer, None, "auth_required", "no token was sent");
            ApiError::auth_required()
        })?;
    app.sender_of_token(request.peer.ip, &token).await
}

impl Visit<'_> {
    /// The answer, and the body's hash as far as it was read.
    async fn answer(&self, request: &mut Request) -> (Answer, Option<Hash>) {
        if self.caller.kind == TokenKind::Device
            && let Err(limited) = self.app.limits().device(&self.caller.token)
        {
            return (Err(limited), None);
        }
        let body = match request.bytes(self.app.settings().ingest_body_bytes_max).await {
            Ok(body) => body,
            Err(error) => return (Err(error), None),
        };
        let body_sha256 = sha256(&body);
        (self.record(request, &body, body_sha256).await, Some(body_sha256))
    }

    async fn record(&self, request: &Request, body: &Bytes, body_sha256: Hash) -> Answer {
        let idempotency_key = idempotency_key(request)?;
        let decoded = self.decode(request, body)?;
        self.limit_devices(&decoded)?;
        let handles = handles(&decoded);
        let taken = self
            .app
            .ingest()
            .take(IngestRequest {
                caller: &self.caller,
                decoded,
                received_at: self.received_at,
                body_sha256,
                request_hash: request_hash(request, body_sha256),
                idempotency_key: idempotency_key.as_deref(),
                request_id: &request.id,
                source: self.source(),
                want_entries: self.receipt,
            })
            .await;
        match taken {
            Ok(taken) => self.accept(taken, body_sha256, &handles),
            Err(error) => self.efento_or(error.into(), &handles),
        }
    }

    const fn source(&self) -> &'static str {
        match self.door {
            Door::Native => "http",
            Door::Shelly => "shelly",
            Door::Lorawan => "lorawan",
            Door::Efento => "efento",
        }
    }

    fn decode(&self, request: &Request, body: &[u8]) -> Result<Decoded, DecodeError> {
        match self.door {
            Door::Native => native::decode(body, device_header(request)?),
            Door::Shelly => shelly::decode(request.raw_query(), body),
            Door::Lorawan => lorawan::decode(request.raw_query(), body),
            Door::Efento => efento::decode(body),
        }
    }

    /// Behind an integration every device has its own bucket; one request takes one from each.
    fn limit_devices(&self, decoded: &Decoded) -> Result<(), ApiError> {
        if self.caller.kind != TokenKind::Webhook {
            return Ok(());
        }
        let limits = self.app.limits();
        match decoded {
            Decoded::Reports(reports) => {
                let devices: BTreeSet<&str> = reports
                    .iter()
                    .filter_map(|report| report.device.as_ref().map(|hint| hint.as_str()))
                    .collect();
                devices
                    .into_iter()
                    .try_for_each(|device| limits.behind(&self.caller.owner, device))
            }
            Decoded::Opaque(uplink) => limits.behind(&self.caller.owner, &uplink.dev_eui),
            Decoded::Nothing { device, .. } => match device {
                Some(device) => limits.behind(&self.caller.owner, device.as_str()),
                None => Ok(()),
            },
        }
    }

    fn accept(&self, mut taken: Taken, body_sha256: Hash, handles: &[i64]) -> Answer {
        let metrics = self.app.metrics();
        metrics.accepted.increment(taken.accepted.into());
        metrics.deduplicated.increment(taken.deduplicated.into());
        for refused in &mut taken.refused {
            if let Some(clean) = redact::cleaned(&refused.message) {
                refused.message = clean;
            }
            metrics.refused.increment(1);
            let source = refused
                .device
                .clone()
                .map_or_else(|| self.own_source(), Source::Device);
            self.app
                .refusals()
                .count(source, Some(&self.caller.account), refused.code, &refused.message);
        }
        self.app.state().token_used(self.received_at, &self.caller.token);
        if self.door == Door::Efento {
            return Ok(self.efento(handles, &taken.refused));
        }
        if let Some(first) = all_refused(&taken) {
            return Err(ApiError::rejected(
                first.code,
                format!(
                    "none of the {} reports was taken; the first: {}",
                    taken.refused.len(),
                    first.message
                ),
            ));
        }
        let receipt = if self.receipt {
            Some(receipt::of_taken(
                self.app,
                &taken,
                body_sha256,
                self.received_at,
            )?)
        } else {
            None
        };
        let answer = TakenAnswer {
            taken: &taken,
            receipt,
        };
        let response = reply::ok(&answer);
        Ok(if self.receipt {
            reply::with(response, receipt::PREFERENCE_APPLIED, "return=receipt")
        } else {
            response
        })
    }

    /// An Efento gateway resends what is not answered 201: what would be refused again is told in the body, and
    /// what may succeed later gets 503.
    fn efento_or(&self, error: ApiError, handles: &[i64]) -> Answer {
        if self.door != Door::Efento {
            return Err(error);
        }
        if error.status == StatusCode::UNAUTHORIZED || error.status.is_server_error() {
            return Err(error);
        }
        self.count(&error, None);
        let refused: Vec<_> = handles
            .iter()
            .map(|handle| RefusedReport {
                report: 0,
                code: error.code,
                message: String::new(),
                handle: Some(*handle),
                device: None,
            })
            .collect();
        Ok(self.efento(handles, &refused))
    }

    fn efento(&self, handles: &[i64], refused: &[RefusedReport]) -> reply::Response {
        let refused: BTreeSet<i64> = refused.iter().filter_map(|report| report.handle).collect();
        let as_taken = self.app.settings().efento_refused_as_taken;
        let (no, yes): (Vec<i64>, Vec<i64>) = handles
            .iter()
            .partition(|handle| !as_taken && refused.contains(handle));
        reply::json(StatusCode::CREATED, &serde_json::json!({"Y": yes, "N": no}))
    }

    /// The answer to a refused request: Efento's loop, or the envelope, with a receipt where one was asked for.
    fn refuse(&self, error: ApiError, body_sha256: Option<Hash>, request: &Request) -> Answer {
        if self.door == Door::Efento {
            return match error.status {
                StatusCode::TOO_MANY_REQUESTS => {
                    Err(ApiError::unavailable(error.code, error.message).retry_after(EFENTO_PAUSE_S))
                }
                StatusCode::BAD_REQUEST
                | StatusCode::UNPROCESSABLE_ENTITY
                | StatusCode::PAYLOAD_TOO_LARGE => Ok(self.efento(&[], &[])),
                _ => Err(error),
            };
        }
        match (self.receipt, body_sha256) {
            (true, Some(body_sha256)) if !error.status.is_server_error() => {
                receipt::of_refused(self.app, error, body_sha256, self.received_at, request)
            }
            _ => Err(error),
        }
    }

    fn count(&self, error: &ApiError, device: Option<Source>) {
        // Nobody was refused where the service itself could not.
        if error.status.is_server_error() {
            return;
        }
        self.app.metrics().refused.increment(1);
        let source = device.unwrap_or_else(|| self.own_source());
        // What is counted is shown to others than its sender.
        self.app.refusals().count(
            source,
            Some(&self.caller.account),
            error.code,
            &redact::word(&error.message),
        );
    }

    fn own_source(&self) -> Source {
        match self.caller.kind {
            TokenKind::Device => Source::Device(self.caller.owner.clone()),
            TokenKind::Webhook => Source::Integration(self.caller.owner.clone()),
            TokenKind::User => Source::Token(self.caller.token.clone()),
        }
    }
}

fn handles(decoded: &Decoded) -> Vec<i64> {
    match decoded {
        Decoded::Reports(reports) => reports
            .iter()
            .filter_map(|report: &Report| report.handle)
            .collect(),
        _ => Vec::new(),
    }
}

/// The first refusal of a batch of which nothing was taken.
fn all_refused(taken: &Taken) -> Option<&RefusedReport> {
    let something = taken.accepted + taken.deduplicated + taken.conflicts + taken.parked > 0;
    if something { None } else { taken.refused.first() }
}

/// The device that a header names, instead of the body.
fn device_header(request: &Request) -> Result<Option<&str>, DecodeError> {
    match request.headers.get(X_DEVICE_ID).map(|value| value.to_str()) {
        None => Ok(None),
        Some(Ok(id)) => Ok(Some(id)),
        Some(Err(_)) => Err(DecodeError::Malformed {
            code: "invalid_measurement",
            message: "X-Device-Id is not plain text".to_owned(),
        }),
    }
}

/// All that a request asks: its body, where nothing beside it says what it means; else with the query, which is all
/// that an old Shelly sends, without its token, and with the header that names the device.
fn request_hash(request: &Request, body_sha256: Hash) -> Hash {
    let device = request
        .headers
        .get(X_DEVICE_ID)
        .map_or(&b""[..], |id| id.as_bytes());
    let query: Vec<&str> = request
        .raw_query()
        .split('&')
        .filter(|pair| !pair.is_empty() && !pair.starts_with("token="))
        .collect();
    if query.is_empty() && device.is_empty() {
        return body_sha256;
    }
    sha256_of(&[query.join("&").as_bytes(), b"\n", device, b"\n", &body_sha256.0])
}

/// The request's idempotency key.
///
/// # Errors
/// 400 for one that is empty, too long, or not printable.
pub fn idempotency_key(request: &Request) -> Result<Option<String>, ApiError> {
    let Some(value) = request.headers.get(IDEMPOTENCY_KEY) else {
        return Ok(None);
    };
    let text = value.to_str().unwrap_or("");
    if text.is_empty() || text.len() > IDEMPOTENCY_KEY_BYTES_MAX {
        return Err(ApiError::malformed(
            "bad_idempotency_key",
            format!("'Idempotency-Key' must be 1 to {IDEMPOTENCY_KEY_BYTES_MAX} printable characters"),
        ));
    }
    Ok(Some(text.to_owned()))
}

/// What is answered: the reference's members first, ours after them and only where they say something.
struct TakenAnswer<'a> {
    taken: &'a Taken,
    receipt: Option<receipt::Receipt>,
}

impl Serialize for TakenAnswer<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        use serde::ser::SerializeMap;
        let taken = self.taken;
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("accepted", &taken.accepted)?;
        map.serialize_entry("deduplicated", &taken.deduplicated)?;
        map.serialize_entry("channels", &Channels(&taken.channels))?;
        if taken.conflicts > 0 {
            map.serialize_entry("conflicts", &taken.conflicts)?;
        }
        if !taken.dropped.is_empty() {
            let dropped: Vec<_> = taken.dropped.iter().map(DroppedAnswer::of).collect();
            map.serialize_entry("dropped", &dropped)?;
        }
        if !taken.refused.is_empty() {
            let refused: Vec<_> = taken.refused.iter().map(RefusedAnswer::of).collect();
            map.serialize_entry("refused", &refused)?;
        }
        if taken.parked > 0 {
            map.serialize_entry("parked", &taken.parked)?;
        }
        if let Some(ignored) = &taken.ignored {
            map.serialize_entry("ignored", ignored)?;
        }
        if !taken.positions.is_empty() {
            map.serialize_entry("first_position", &taken.positions.start)?;
            map.serialize_entry("entries", &(taken.positions.end - taken.positions.start))?;
        }
        if let Some(recorded_at) = &taken.recorded_at {
            map.serialize_entry("recorded_at", recorded_at)?;
            map.serialize_entry("size", &taken.size)?;
            map.serialize_entry("root", &taken.root)?;
        }
        if taken.replayed {
            map.serialize_entry("replayed", &true)?;
        }
        if let Some(receipt) = &self.receipt {
            map.serialize_entry("receipt", receipt)?;
        }
        map.end()
    }
}

struct Channels<'a>(&'a [TakenChannel]);

impl Serialize for Channels<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        #[derive(Serialize)]
        struct Channel<'a> {
            #[serde(rename = "type")]
            kind: &'a str,
            label: Option<&'a str>,
            channel_id: &'a str,
        }
        let mut list = serializer.serialize_seq(Some(self.0.len()))?;
        for channel in self.0 {
            list.serialize_element(&Channel {
                kind: channel.kind,
                label: channel.label.as_deref(),
                channel_id: &channel.channel_id,
            })?;
        }
        list.end()
    }
}

#[derive(Serialize)]
struct DroppedAnswer<'a> {
    channel: &'a str,
    raw: &'a str,
    reason: &'static str,
}

impl<'a> DroppedAnswer<'a> {
    fn of(dropped: &'a Dropped) -> Self {
        Self {
            channel: &dropped.channel,
            raw: &dropped.raw,
            reason: dropped.reason.code(),
        }
    }
}

#[derive(Serialize)]
struct RefusedAnswer<'a> {
    report: usize,
    code: &'static str,
    message: &'a str,
}

impl<'a> RefusedAnswer<'a> {
    fn of(refused: &'a RefusedReport) -> Self {
        Self {
            report: refused.report,
            code: refused.code,
            message: &refused.message,
        }
    }
}
