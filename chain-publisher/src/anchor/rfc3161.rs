//! RFC 3161: the request to a time-stamping authority, and what its answer says.
//!
//! Invariants: an answer is kept only if it grants a token over exactly the hash that was sent; the file is the whole
//! `TimeStampResp`, as `openssl ts -verify -in` takes it.
//! Source: RFC 3161 §2.4; X.690 (DER: one length, one encoding).
//! Not here: HTTP (`http`), the authority's signature (`authority`).

use super::http;
use domain::Timestamp;

/// The object identifier of SHA-256, with tag and length.
pub(super) const SHA256_OID: &[u8] = b"\x06\x09\x60\x86\x48\x01\x65\x03\x04\x02\x01";
/// … of `id-signedData`.
const SIGNED_DATA_OID: &[u8] = b"\x06\x09\x2a\x86\x48\x86\xf7\x0d\x01\x07\x02";
/// … of `id-ct-TSTInfo`.
pub(super) const TST_INFO_OID: &[u8] = b"\x06\x0b\x2a\x86\x48\x86\xf7\x0d\x01\x09\x10\x01\x04";
/// … of `rsaEncryption`.
pub(super) const RSA_OID: &[u8] = b"\x06\x09\x2a\x86\x48\x86\xf7\x0d\x01\x01\x01";
pub(super) const INTEGER: u8 = 0x02;
pub(super) const OCTET_STRING: u8 = 0x04;
pub(super) const OBJECT_IDENTIFIER: u8 = 0x06;
pub(super) const GENERALIZED_TIME: u8 = 0x18;
pub(super) const SEQUENCE: u8 = 0x30;
pub(super) const EXPLICIT_0: u8 = 0xa0;
/// What is said of anything that has not the form.
pub(super) const MALFORMED: &str = "it is no RFC 3161 time stamp";

/// A `TimeStampReq` over a SHA-256, which asks for the certificate too. Every length is below 128.
pub fn request(sha256: &[u8; 32]) -> Vec<u8> {
    let imprint = [
        &[SEQUENCE, 0x0d][..],
        SHA256_OID,
        &[0x05, 0x00, OCTET_STRING, 0x20],
        sha256,
    ]
    .concat();
    let body = [
        &[INTEGER, 1, 1][..],
        &[SEQUENCE, imprint.len() as u8],
        &imprint,
        &[0x01, 0x01, 0xff],
    ]
    .concat();
    [&[SEQUENCE, body.len() as u8], &body[..]].concat()
}

/// Asks an authority, and gives the file to keep.
///
/// # Errors
/// In words, without the authority's address.
pub fn ask(url: &str, sha256: &[u8; 32]) -> Result<Vec<u8>, String> {
    let answer = http::post(
        url,
        "application/timestamp-query",
        "application/timestamp-reply",
        &request(sha256),
    )?;
    read(&answer, sha256)?;
    Ok(answer)
}

/// The time that a `TimeStampResp` over this hash states.
///
/// # Errors
/// In words: refused, malformed, or of another hash.
pub fn read(bytes: &[u8], sha256: &[u8; 32]) -> Result<Timestamp, String> {
    let mut signed = signed_data(bytes)?;
    signed.take(INTEGER).ok_or(MALFORMED)?;
    signed.any().ok_or(MALFORMED)?;
    let mut info = content(&mut signed)
        .and_then(|mut it| it.take(SEQUENCE))
        .ok_or(MALFORMED)?;
    info.take(INTEGER).ok_or(MALFORMED)?;
    info.any().ok_or(MALFORMED)?;
    let mut imprint = info.take(SEQUENCE).ok_or(MALFORMED)?;
    let mut algorithm = imprint.take(SEQUENCE).ok_or(MALFORMED)?;
    algorithm.skip(SHA256_OID).ok_or("it is not over a SHA-256")?;
    if imprint.take(OCTET_STRING).ok_or(MALFORMED)?.0 != sha256 {
        return Err("it is over another hash".to_owned());
    }
    info.take(INTEGER).ok_or(MALFORMED)?;
    let time = info.take(GENERALIZED_TIME).ok_or(MALFORMED)?;
    time_of(time.0).ok_or_else(|| MALFORMED.to_owned())
}

/// The members of the `SignedData` in a `TimeStampResp` that grants one.
///
/// # Errors
/// In words: refused, malformed.
pub(super) fn signed_data(bytes: &[u8]) -> Result<Der<'_>, String> {
    let mut whole = Der(bytes);
    let mut response = whole
        .take(SEQUENCE)
        .filter(|_| whole.0.is_empty())
        .ok_or(MALFORMED)?;
    let mut status = response.take(SEQUENCE).ok_or(MALFORMED)?;
    match status.take(INTEGER).ok_or(MALFORMED)?.0 {
        [0 | 1] => {}
        other => return Err(format!("the authority refuses it (status {other:?})")),
    }
    let mut token = response.take(SEQUENCE).ok_or(MALFORMED)?;
    token.skip(SIGNED_DATA_OID).ok_or(MALFORMED)?;
    let signed = token.take(EXPLICIT_0).and_then(|mut it| it.take(SEQUENCE));
    signed.ok_or_else(|| MALFORMED.to_owned())
}

/// What is signed: the bytes of the `TSTInfo`.
pub(super) fn content<'a>(signed: &mut Der<'a>) -> Option<Der<'a>> {
    let mut content = signed.take(SEQUENCE)?;
    content.skip(TST_INFO_OID)?;
    content.take(EXPLICIT_0)?.take(OCTET_STRING)
}

/// `YYYYMMDDHHMMSS[.f]Z`, as DER allows it.
fn time_of(text: &[u8]) -> Option<Timestamp> {
    let text = std::str::from_utf8(text).ok()?.strip_suffix('Z')?;
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    let digits = |text: &str| text.bytes().all(|b| b.is_ascii_digit());
    if whole.len() != 14 || !digits(whole) || !digits(fraction) || fraction.len() > 9 {
        return None;
    }
    let micros = format!("{:0<6}", &fraction[..fraction.len().min(6)]);
    let at = |range: std::ops::Range<usize>| &whole[range];
    let canonical = format!(
        "{}-{}-{}T{}:{}:{}.{micros}Z",
        at(0..4),
        at(4..6),
        at(6..8),
        at(8..10),
        at(10..12),
        at(12..14)
    );
    Timestamp::parse_canonical(canonical.as_bytes()).ok()
}

/// DER that is left to read.
#[derive(Clone, Copy)]
pub(super) struct Der<'a>(pub &'a [u8]);

impl<'a> Der<'a> {
    /// The next element, with its tag.
    pub fn any(&mut self) -> Option<(u8, Self)> {
        let (&[tag, first], rest) = self.0.split_first_chunk()?;
        let (len, rest) = match first {
            0..=0x7f => (usize::from(first), rest),
            0x81..=0x83 => {
                let (bytes, rest) = rest.split_at_checked(usize::from(first & 0x7f))?;
                let len = bytes.iter().fold(0usize, |len, b| len << 8 | usize::from(*b));
                (len, rest)
            }
            0x80 | 0x84.. => return None,
        };
        let (content, rest) = rest.split_at_checked(len)?;
        self.0 = rest;
        Some((tag, Self(content)))
    }

    /// The content of the next element, where it has that tag.
    pub fn take(&mut self, tag: u8) -> Option<Self> {
        let mut after = *self;
        let (found, content) = after.any()?;
        if found != tag {
            return None;
        }
        *self = after;
        Some(content)
    }

    /// The next element whole, with tag and length.
    pub fn raw(&mut self, tag: u8) -> Option<&'a [u8]> {
        let before = self.0;
        self.take(tag)?;
        Some(&before[..before.len() - self.0.len()])
    }

    pub fn skip(&mut self, bytes: &[u8]) -> Option<()> {
        self.0 = self.0.strip_prefix(bytes)?;
        Some(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_is_the_one_that_openssl_makes_without_a_nonce() {
        // `openssl ts -query -digest 0909… -sha256 -no_nonce -cert`
        let expected = "30390201013031300d060960864801650304020105000420\
            0909090909090909090909090909090909090909090909090909090909090909010 1ff";
        let expected = expected.replace([' ', '\n'], "");
        let made: String = request(&[9; 32]).iter().map(|b| format!("{b:02x}")).collect();
        assert_eq!(made, expected);
    }

    #[test]
    fn times_are_read_with_and_without_fractions() {
        for (text, expected) in [
            ("20260517235959Z", Some("2026-05-17T23:59:59.000000Z")),
            ("20260517235959.5Z", Some("2026-05-17T23:59:59.500000Z")),
            ("20260517235959.123456789Z", Some("2026-05-17T23:59:59.123456Z")),
            ("20260517235959", None),
            ("202605172359Z", None),
            ("20261317235959Z", None),
        ] {
            let found = time_of(text.as_bytes()).map(|time| time.to_string());
            assert_eq!(found.as_deref(), expected, "{text}");
        }
    }

    #[test]
    fn rubbish_and_refusals_are_no_time_stamps() {
        for bad in [
            &b""[..],
            b"<html>",
            &[0x30, 0x80],
            &[0x30, 0x84, 1, 1, 1, 1],
            &[0x30, 5, 0x30, 3, 2, 1, 0],
        ] {
            assert!(read(bad, &[9; 32]).is_err());
        }
        let refused = read(&[0x30, 5, 0x30, 3, 2, 1, 2], &[9; 32]);
        assert!(refused.is_err_and(|why| why.contains("refuses")));
    }
}
