//! What stands in an X.509 certificate that decides whether it may make time stamps, and by which method it signs.
//!
//! Invariants: nothing is believed here: whoever asks has checked, or checks, who vouches for it. What cannot be read is
//! no certificate.
//! Source: RFC 5280 §4.1 and §4.2.1.12, RFC 3161 §2.3, RFC 5480, RFC 8410.
//! Not here: signatures and the way to an authority (`authority`).

use super::rfc3161::{
    Der, EXPLICIT_0, GENERALIZED_TIME, INTEGER, OBJECT_IDENTIFIER, OCTET_STRING, RSA_OID, SEQUENCE,
};
use domain::Timestamp;
use std::ops::RangeInclusive;

const BIT_STRING: u8 = 0x03;
const BOOLEAN: u8 = 0x01;
const UTC_TIME: u8 = 0x17;
const EXPLICIT_3: u8 = 0xa3;
/// A year of two digits from here on is of the twentieth century (RFC 5280 §4.1.2.5.1).
const TWENTIETH_CENTURY: &str = "50";
/// Object identifiers, with tag and length.
const EC_OID: &[u8] = b"\x06\x07\x2a\x86\x48\xce\x3d\x02\x01";
const P256_OID: &[u8] = b"\x06\x08\x2a\x86\x48\xce\x3d\x03\x01\x07";
const P384_OID: &[u8] = b"\x06\x05\x2b\x81\x04\x00\x22";
pub(super) const ED25519_OID: &[u8] = b"\x06\x03\x2b\x65\x70";
const ED448_OID: &[u8] = b"\x06\x03\x2b\x65\x71";
const KEY_IDENTIFIER_OID: &[u8] = b"\x06\x03\x55\x1d\x0e";
const EXTENDED_KEY_USAGE_OID: &[u8] = b"\x06\x03\x55\x1d\x25";
/// `id-kp-timeStamping`, with tag and length.
const TIME_STAMPING_OID: &[u8] = b"\x06\x08\x2b\x06\x01\x05\x05\x07\x03\x08";
/// What every PKCS #1 method begins with, without tag and length; and every one of X9.62.
const PKCS1: &[u8] = b"\x2a\x86\x48\x86\xf7\x0d\x01\x01";
const X9_62: &[u8] = b"\x2a\x86\x48\xce\x3d";
/// Bits of an RSA modulus that signatures are checked with: those of webpki.
const RSA_BITS: RangeInclusive<usize> = 2048..=8192;

/// A certificate's parts.
pub(super) struct Certificate<'a> {
    serial: &'a [u8],
    /// Whole, with tag and length, as are all names and object identifiers here.
    pub issuer: &'a [u8],
    pub subject: &'a [u8],
    /// By which method it is itself signed: an object identifier.
    pub signed_by: &'a [u8],
    not_before: String,
    not_after: String,
    key_algorithm: &'a [u8],
    key_parameters: &'a [u8],
    key: &'a [u8],
    extensions: Der<'a>,
}

impl<'a> Certificate<'a> {
    pub fn read(bytes: &'a [u8]) -> Option<Self> {
        let mut body = Der(bytes).take(SEQUENCE)?.take(SEQUENCE)?;
        body.take(EXPLICIT_0);
        let serial = body.raw(INTEGER)?;
        let signed_by = body.take(SEQUENCE)?.raw(OBJECT_IDENTIFIER)?;
        let issuer = body.raw(SEQUENCE)?;
        let mut validity = body.take(SEQUENCE)?;
        let (not_before, not_after) = (time(&mut validity)?, time(&mut validity)?);
        let subject = body.raw(SEQUENCE)?;
        let mut key = body.take(SEQUENCE)?;
        let mut algorithm = key.take(SEQUENCE)?;
        let key_algorithm = algorithm.raw(OBJECT_IDENTIFIER)?;
        // The first byte counts unused bits: none in any key.
        let key = key.take(BIT_STRING)?.0.strip_prefix(&[0])?;
        let mut extensions = Der(&[]);
        while !body.0.is_empty() {
            match body.take(EXPLICIT_3) {
                Some(mut found) => extensions = found.take(SEQUENCE)?,
                None => _ = body.any()?,
            }
        }
        Some(Self {
            serial,
            issuer,
            subject,
            signed_by,
            not_before,
            not_after,
            key_algorithm,
            key_parameters: algorithm.0,
            key,
            extensions,
        })
    }

    /// Whether that is what a `SignerInfo` calls it: issuer and serial number, or its key's identifier.
    pub fn is_called(&self, (tag, mut name): (u8, Der<'_>)) -> bool {
        if tag != SEQUENCE {
            let own = self.extension(KEY_IDENTIFIER_OID);
            let own = own.and_then(|mut value| value.take(OCTET_STRING));
            return own.is_some_and(|own| own.0 == name.0);
        }
        name.raw(SEQUENCE) == Some(self.issuer) && name.raw(INTEGER) == Some(self.serial)
    }

    /// That it may make time stamps, and might at that time.
    ///
    /// # Errors
    /// In words.
    pub fn stamps(&self, at: Timestamp) -> Result<(), String> {
        let usages = self.extension(EXTENDED_KEY_USAGE_OID);
        let mut usages = usages
            .and_then(|mut value| value.take(SEQUENCE))
            .unwrap_or(Der(&[]));
        let mut usages = std::iter::from_fn(|| usages.raw(OBJECT_IDENTIFIER));
        if !usages.any(|usage| usage == TIME_STAMPING_OID) {
            return Err("the certificate that signed it is not for time stamping".to_owned());
        }
        let digits: String = at.to_string().chars().filter(char::is_ascii_digit).collect();
        let second = digits.get(..14).unwrap_or_default();
        if second < self.not_before.as_str() || self.not_after.as_str() < second {
            return Err(format!(
                "the certificate that signed it was not valid at the time that is stated, {at}"
            ));
        }
        Ok(())
    }

    /// Whether signatures by its key on time stamps are looked at.
    pub fn key_is_looked_at(&self) -> bool {
        match self.key_algorithm {
            RSA_OID => self.modulus_bits().is_some_and(|bits| RSA_BITS.contains(&bits)),
            EC_OID => [P256_OID, P384_OID].contains(&self.key_parameters),
            _ => false,
        }
    }

    /// Whether signatures by its key under other certificates are looked at.
    pub fn key_vouches(&self) -> bool {
        self.key_algorithm == ED25519_OID || self.key_is_looked_at()
    }

    /// Whether that method, an object identifier, can be one of its key. Of keys that are not known here any can.
    pub fn can_sign_by(&self, method: &[u8]) -> bool {
        let is_of = |family: &[u8]| method.get(2..).is_some_and(|oid| oid.starts_with(family));
        match self.key_algorithm {
            RSA_OID => is_of(PKCS1),
            EC_OID => is_of(X9_62),
            ED25519_OID | ED448_OID => method == self.key_algorithm,
            _ => true,
        }
    }

    fn modulus_bits(&self) -> Option<usize> {
        let modulus = Der(self.key).take(SEQUENCE)?.take(INTEGER)?.0;
        let first = modulus.iter().position(|byte| *byte != 0)?;
        let rest = &modulus[first..];
        Some(rest.len() * 8 - rest[0].leading_zeros() as usize)
    }

    /// The value of an extension.
    fn extension(&self, oid: &[u8]) -> Option<Der<'a>> {
        let mut extensions = self.extensions;
        while let Some(mut extension) = extensions.take(SEQUENCE) {
            if extension.skip(oid).is_some() {
                extension.take(BOOLEAN);
                return extension.take(OCTET_STRING);
            }
        }
        None
    }
}

/// `YYYYMMDDHHMMSS`, which sorts as the times do.
fn time(validity: &mut Der<'_>) -> Option<String> {
    let (tag, text) = validity.any()?;
    let text = std::str::from_utf8(text.0).ok()?.strip_suffix('Z')?;
    let whole = match tag {
        UTC_TIME if text.get(..2)? >= TWENTIETH_CENTURY => format!("19{text}"),
        UTC_TIME => format!("20{text}"),
        GENERALIZED_TIME => text.to_owned(),
        _ => return None,
    };
    (whole.len() == 14 && whole.bytes().all(|byte| byte.is_ascii_digit())).then_some(whole)
}
