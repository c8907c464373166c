//! LoRaWAN uplinks over webhooks: which network server sent it, and what all of them share.
//!
//! The network server's time is the measured time; a device's clock is believed only where a codec gives it.
//! A frame is identified by device, session (or address) and frame counter, never by its bytes; a counter that is
//! left out is 0, because both servers leave out zeros. A frame that no codec of the server has read is opaque:
//! it keeps its bytes. Signal strength and noise of the first gateway come along with a frame that measured
//! something, as `rssi` and `snr`.
//! Not here: codecs for bare frames, adoption of unknown devices.

use super::decoded::{DecodeError, Decoded, DeviceHint, RawFrame, Timed, Uplink, UplinkId, WhoseClock};
use super::gather::{Channel, Gather};
use super::{chirpstack, json, tts};
use base64::Engine;
use base64::alphabet::{STANDARD, URL_SAFE};
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use domain::Timestamp;
use serde_json::Value;
use std::borrow::Cow;

/// The longest frame LoRaWAN carries is 242 bytes; twice that is still a frame, more is something else.
const FRAME_BYTES_MAX: usize = 512;
/// How many unknown keys are named when nothing in a payload was known.
const KEYS_NAMED_MAX: usize = 8;

/// Decodes a webhook of The Things Stack v3 or ChirpStack v4; `query` is the URL's, without `?`.
///
/// # Errors
/// `bad_json`; `missing_device` where the message does not say which device, `ttn_v2`, `unknown_format`,
/// `invalid_payload` where the frame is no base64.
pub fn decode(query: &str, body: &[u8]) -> Result<Decoded, DecodeError> {
    let object = json::object(body)?;
    if chirpstack::is_one(&object) {
        return chirpstack::decode(query, &object);
    }
    if tts::is_one(&object) {
        return tts::decode(&object);
    }
    Err(json::rejected(
        "unknown_format",
        "this is no message of The Things Stack v3 (end_device_ids, uplink_message) or ChirpStack v4 (deviceInfo)",
    ))
}

/// One uplink, as both servers give it.
pub(super) struct Frame<'a> {
    pub(super) dev_eui: String,
    /// Session key id or device address.
    pub(super) session: Option<&'a str>,
    pub(super) f_cnt: Option<&'a Value>,
    pub(super) f_port: Option<&'a Value>,
    pub(super) bytes: Option<&'a Value>,
    pub(super) at: Option<Timestamp>,
    /// What the first gateway heard.
    pub(super) gateway: Option<&'a Value>,
}

impl Frame<'_> {
    /// The measured time of everything in this frame that has no time of its own.
    pub(super) fn timed(&self) -> Option<Timed> {
        self.at.map(|at| Timed {
            at,
            clock: WhoseClock::Network,
        })
    }

    fn id(&self) -> Option<UplinkId> {
        let session = json::clip(self.session.filter(|s| !s.is_empty())?);
        let f_cnt = match self.f_cnt {
            None | Some(Value::Null) => 0,
            Some(f_cnt) => u32::try_from(f_cnt.as_u64()?).ok()?,
        };
        Some(UplinkId {
            dev_eui: self.dev_eui.clone(),
            session,
            f_cnt,
        })
    }

    fn port(&self) -> Option<u8> {
        let port = self.f_port.and_then(Value::as_u64)?;
        u8::try_from(port).ok()
    }

    /// Its bytes beside what the server made of them; bytes that are none refuse nothing that was decoded.
    fn raw(&self) -> Option<Box<RawFrame>> {
        let bytes = frame_bytes(self.bytes?.as_str()?).ok()?;
        (!bytes.is_empty()).then(|| {
            Box::new(RawFrame {
                f_port: self.port(),
                bytes,
            })
        })
    }

    /// The frame without a payload that anybody has decoded.
    pub(super) fn opaque(self) -> Result<Decoded, DecodeError> {
        let bytes = match self.bytes {
            None | Some(Value::Null) => Vec::new(),
            Some(Value::String(text)) => frame_bytes(text)?,
            Some(other) => return Err(bad_frame(&format!("it is {}", json::what(other)))),
        };
        let device = Some(DeviceHint::DevEui(self.dev_eui.clone()));
        if bytes.is_empty() {
            let why = Cow::Borrowed("an uplink without a payload");
            return Ok(Decoded::Nothing {
                why,
                device,
                dropped: Vec::new(),
            });
        }
        let f_port = self.port();
        let id = self.id();
        Ok(Decoded::Opaque(Box::new(Uplink {
            dev_eui: self.dev_eui,
            id,
            f_port,
            bytes,
            at: self.at,
        })))
    }

    /// The frame with what its payload measured; `payload` is what the server's codec gave.
    pub(super) fn measured(
        self,
        mut gather: Gather,
        payload: Option<&Value>,
    ) -> Result<Decoded, DecodeError> {
        let device = Some(DeviceHint::DevEui(self.dev_eui.clone()));
        if gather.measurements.is_empty() {
            let why = Cow::Owned(unknown_keys(payload));
            return Ok(Decoded::Nothing {
                why,
                device,
                dropped: gather.dropped,
            });
        }
        let heard = |keys: [&str; 2]| {
            keys.iter()
                .find_map(|key| self.gateway?.get(key))
                .filter(|value| value.is_number())
        };
        for (kind, keys) in [("rssi", ["rssi", "channel_rssi"]), ("snr", ["snr", "loRaSNR"])] {
            if let Some(value) = heard(keys) {
                gather.take_json(
                    Channel {
                        kind,
                        label: None,
                        at: self.timed(),
                    },
                    value,
                );
            }
        }
        let id = self.id();
        let mut report = gather.report(device, id, None)?;
        report.frame = self.raw();
        Ok(Decoded::Reports(vec![report]))
    }
}

fn unknown_keys(payload: Option<&Value>) -> String {
    let keys: Vec<String> = match payload {
        Some(Value::Object(object)) => object
            .keys()
            .take(KEYS_NAMED_MAX)
            .map(|key| json::clip(key))
            .collect(),
        _ => Vec::new(),
    };
    if keys.is_empty() {
        return "an uplink without a measurement".to_owned();
    }
    format!(
        "an uplink without a measurement that is known here; it has {}",
        keys.join(", ")
    )
}

/// Sixteen upper-case hexadecimal digits.
pub(super) fn dev_eui(value: Option<&Value>) -> Option<String> {
    let digits: String = value?
        .as_str()?
        .chars()
        .filter(|c| !matches!(c, ':' | '-' | ' '))
        .collect();
    let fits = digits.len() == 16 && digits.bytes().all(|b| b.is_ascii_hexdigit());
    fits.then(|| digits.to_ascii_uppercase())
}

/// A server's time; nanoseconds are cut.
pub(super) fn time(value: Option<&Value>) -> Option<Timestamp> {
    Timestamp::parse_rfc3339(value?.as_str()?).ok()
}

/// Base64 as servers and their simulators write it: either alphabet, with or without padding.
fn frame_bytes(text: &str) -> Result<Vec<u8>, DecodeError> {
    if text.len() > FRAME_BYTES_MAX * 2 {
        return Err(bad_frame("it is longer than any frame"));
    }
    let config = GeneralPurposeConfig::new()
        .with_decode_padding_mode(DecodePaddingMode::Indifferent)
        .with_decode_allow_trailing_bits(true);
    let alphabet = if text.contains(['-', '_']) {
        URL_SAFE
    } else {
        STANDARD
    };
    let bytes = GeneralPurpose::new(&alphabet, config)
        .decode(text.trim())
        .map_err(|e| bad_frame(&e.to_string()))?;
    if bytes.len() > FRAME_BYTES_MAX {
        return Err(bad_frame("it is longer than any frame"));
    }
    Ok(bytes)
}

fn bad_frame(why: &str) -> DecodeError {
    DecodeError::Malformed {
        code: "invalid_payload",
        message: format!("the frame's payload cannot be read: {why}"),
    }
}
