//! Whether a time stamp is by an authority that the asker names: the signature of an RFC 3161 token (CMS), and the
//! certificate that made it.
//!
//! Invariants: what is signed is the token's content, through its signed attributes; the certificate is for time stamping,
//! was valid at the time that is stated, and is one that was given or leads to one, also where the signature is made by
//! a method that is not looked at here: whoever makes a stamp chooses its method, so a method alone excuses nothing. What
//! the token brings along is believed for nothing but the way there. Whether a certificate was revoked is not looked at.
//! Source: RFC 3161 §2.3 and §2.4.2, RFC 5652 §5.3, §5.4 and §5.6, RFC 5816. Not here: what the token states (`rfc3161`),
//! what stands in a certificate (`certificate`).

use super::certificate::{Certificate, ED25519_OID};
use super::rfc3161::{
    Der, EXPLICIT_0, INTEGER, MALFORMED, OBJECT_IDENTIFIER, OCTET_STRING, RSA_OID, SEQUENCE, SHA256_OID,
    TST_INFO_OID, content, signed_data,
};
use domain::Timestamp;
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, SignatureVerificationAlgorithm, TrustAnchor, UnixTime};
use sha2::{Digest, Sha256, Sha384, Sha512};
use std::time::Duration;
use webpki::ring::{
    ECDSA_P256_SHA256, ECDSA_P256_SHA384, ECDSA_P384_SHA256, ECDSA_P384_SHA384, RSA_PKCS1_2048_8192_SHA256,
    RSA_PKCS1_2048_8192_SHA384, RSA_PKCS1_2048_8192_SHA512,
};
use webpki::{EndEntityCert, KeyUsage, anchor_from_trusted_cert};

const SET: u8 = 0x31;
const IMPLICIT_1: u8 = 0xa1;
/// Object identifiers, with tag and length.
const SHA384_OID: &[u8] = b"\x06\x09\x60\x86\x48\x01\x65\x03\x04\x02\x02";
const SHA512_OID: &[u8] = b"\x06\x09\x60\x86\x48\x01\x65\x03\x04\x02\x03";
const RSA_SHA256_OID: &[u8] = b"\x06\x09\x2a\x86\x48\x86\xf7\x0d\x01\x01\x0b";
const RSA_SHA384_OID: &[u8] = b"\x06\x09\x2a\x86\x48\x86\xf7\x0d\x01\x01\x0c";
const RSA_SHA512_OID: &[u8] = b"\x06\x09\x2a\x86\x48\x86\xf7\x0d\x01\x01\x0d";
const ECDSA_SHA256_OID: &[u8] = b"\x06\x08\x2a\x86\x48\xce\x3d\x04\x03\x02";
const ECDSA_SHA384_OID: &[u8] = b"\x06\x08\x2a\x86\x48\xce\x3d\x04\x03\x03";
const CONTENT_TYPE_OID: &[u8] = b"\x06\x09\x2a\x86\x48\x86\xf7\x0d\x01\x09\x03";
const MESSAGE_DIGEST_OID: &[u8] = b"\x06\x09\x2a\x86\x48\x86\xf7\x0d\x01\x09\x04";
const SIGNING_CERTIFICATE_V2_OID: &[u8] = b"\x06\x0b\x2a\x86\x48\x86\xf7\x0d\x01\x09\x10\x02\x2f";
/// `id-kp-timeStamping`, without tag and length.
const TIME_STAMPING: &[u8] = b"\x2b\x06\x01\x05\x05\x07\x03\x08";
/// Certificates that are read of a token or a file: a chain is three or four.
const CERTIFICATES_MAX: usize = 16;
/// Certificates between a signer's and a given one: as many as webpki follows.
const BETWEEN_MAX: usize = 6;
/// Methods by which a certificate vouches for nobody any more: RSA with MD5, RSA and ECDSA with SHA-1.
const BROKEN_OIDS: [&[u8]; 3] = [
    b"\x06\x09\x2a\x86\x48\x86\xf7\x0d\x01\x01\x04",
    b"\x06\x09\x2a\x86\x48\x86\xf7\x0d\x01\x01\x05",
    b"\x06\x07\x2a\x86\x48\xce\x3d\x04\x01",
];
/// Methods by which certificates are signed that are looked at: those of webpki, but for RSA-PSS, which is many.
const VOUCHING_OIDS: [&[u8]; 6] = [
    RSA_SHA256_OID,
    RSA_SHA384_OID,
    RSA_SHA512_OID,
    ECDSA_SHA256_OID,
    ECDSA_SHA384_OID,
    ED25519_OID,
];
const DOES_NOT_HOLD: &str = "its signature does not hold by any certificate that it brings or that was given";
const HASH_NOT_LOOKED_AT: &str = "it hashes by a function that is not looked at here";
const METHOD_NOT_LOOKED_AT: &str = "it is signed by a method that is not looked at here";

/// What came of checking a signature.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Signed {
    /// It is by an authority that was given.
    ByAuthority,
    /// It names a certificate that was given, or that leads to one as far as that can be told here, and by such a key it
    /// might be signed; whether it is cannot be told here; why.
    Unknown(String),
}

/// The certificates in a file: PEM, as many as there are, or one in DER.
///
/// # Errors
/// In words.
pub fn certificates(bytes: &[u8]) -> Result<Vec<Vec<u8>>, String> {
    const NONE: &str = "it is no certificate (PEM, or DER)";
    if bytes.first() == Some(&SEQUENCE) {
        return Ok(vec![bytes.to_vec()]);
    }
    let found: Result<Vec<CertificateDer<'_>>, _> = CertificateDer::pem_slice_iter(bytes)
        .take(CERTIFICATES_MAX)
        .collect();
    match found {
        Ok(found) if !found.is_empty() => Ok(found.iter().map(|one| one.to_vec()).collect()),
        _ => Err(NONE.to_owned()),
    }
}

/// Checks the signature of a `TimeStampResp` that states a time, against certificates (DER) of authorities that sign
/// time stamps, or that vouch for those who do.
///
/// # Errors
/// In words, where it does not hold or is by somebody else.
pub fn check(bytes: &[u8], at: Timestamp, given: &[Vec<u8>]) -> Result<Signed, String> {
    let token = Token::read(bytes)?;
    if token.attribute(CONTENT_TYPE_OID) != Some(TST_INFO_OID) {
        return Err("its signature is over something else".to_owned());
    }
    let digest = digest(token.digest, token.content);
    let stated = token
        .attribute(MESSAGE_DIGEST_OID)
        .and_then(|raw| Der(raw).take(OCTET_STRING));
    let is_other = |digest: &Vec<u8>| stated.is_none_or(|stated| stated.0 != digest);
    if digest.as_ref().is_some_and(is_other) {
        return Err("what it states is not what its authority signed".to_owned());
    }
    let given: Vec<CertificateDer<'_>> = given.iter().map(|one| CertificateDer::from(&one[..])).collect();
    let brought = token.certificates.iter().map(|one| CertificateDer::from(*one));
    let all: Vec<CertificateDer<'_>> = brought.chain(given.iter().cloned()).collect();
    let (signer, mut unlooked) = match digest {
        None => (token.named_in(&all)?, Some(HASH_NOT_LOOKED_AT)),
        Some(_) => token.signer(&all)?,
    };
    match token.names(signer) {
        Some(true) => {}
        Some(false) => return Err("it names another certificate than the one that signed it".to_owned()),
        None => unlooked = unlooked.or(Some(HASH_NOT_LOOKED_AT)),
    }
    Certificate::read(signer).ok_or(MALFORMED)?.stamps(at)?;
    // Whoever is named outright needs nobody to vouch for them.
    let vouched = if given.contains(signer) {
        Signed::ByAuthority
    } else {
        leads_to(signer, &given, &all, at)?
    };
    Ok(match unlooked {
        Some(why) => Signed::Unknown(why.to_owned()),
        None => vouched,
    })
}

/// Whether a certificate for time stamping leads to one of these.
fn leads_to(
    signer: &CertificateDer<'_>,
    given: &[CertificateDer<'_>],
    between: &[CertificateDer<'_>],
    at: Timestamp,
) -> Result<Signed, String> {
    let anchors: Vec<TrustAnchor<'_>> = given
        .iter()
        .filter_map(|one| anchor_from_trusted_cert(one).ok())
        .collect();
    let since_1970 = Duration::from_micros(u64::try_from(at.as_micros()).unwrap_or_default());
    let by = EndEntityCert::try_from(signer).map_err(|error| error.to_string())?;
    let path = by.verify_for_usage(
        webpki::ALL_VERIFICATION_ALGS,
        &anchors,
        between,
        UnixTime::since_unix_epoch(since_1970),
        // The signer itself must be for time stamping, which is checked before; authorities need not say what they
        // vouch for, and few do (RFC 3161 §2.3).
        KeyUsage::required_if_present(TIME_STAMPING),
        None,
        None,
    );
    match path {
        Ok(_) => Ok(Signed::ByAuthority),
        Err(error) if is_for_its_method(&error, signer, given, between) => Ok(Signed::Unknown(
            "the certificate of an authority that was given is for a method that is not looked at here"
                .to_owned(),
        )),
        Err(error) => Err(format!("it is not by an authority that was given: {error}")),
    }
}

/// Whether the way fails for nothing but the method of a given certificate, to which it leads by name. A method that only
/// certificates use that the token brings is no excuse: anybody can make such ones.
fn is_for_its_method(
    error: &webpki::Error,
    signer: &CertificateDer<'_>,
    given: &[CertificateDer<'_>],
    between: &[CertificateDer<'_>],
) -> bool {
    let is_unsupported = match error {
        webpki::Error::UnsupportedSignatureAlgorithmContext(_)
        | webpki::Error::UnsupportedSignatureAlgorithmForPublicKeyContext(_) => true,
        // So ends, too, a signature by an RSA key of a length that is not looked at.
        webpki::Error::InvalidSignatureForPublicKey => false,
        _ => return false,
    };
    let read = |one| Certificate::read(one);
    let between: Vec<Certificate<'_>> = between.iter().filter_map(|one| read(one)).collect();
    let mut reached: Vec<Certificate<'_>> = read(signer).into_iter().collect();
    let mut issuers: Vec<&[u8]> = reached.iter().map(|one| one.issuer).collect();
    for one in between.iter().cycle().take(between.len() * BETWEEN_MAX) {
        if issuers.contains(&one.subject) && !issuers.contains(&one.issuer) {
            issuers.push(one.issuer);
        }
    }
    reached.extend(between.into_iter().filter(|one| issuers.contains(&one.subject)));
    let uses = |given: &Certificate<'_>, method: &[u8]| {
        let own = given.subject == given.issuer && given.signed_by == method;
        let is_looked_at = VOUCHING_OIDS.contains(&method) || BROKEN_OIDS.contains(&method);
        let by_its_key = !given.key_vouches() && given.can_sign_by(method);
        by_its_key || is_unsupported && own && !is_looked_at
    };
    given.iter().filter_map(|one| read(one)).any(|given| {
        let below = |one: &&Certificate<'_>| one.issuer == given.subject && one.subject != given.subject;
        reached
            .iter()
            .filter(below)
            .any(|one| uses(&given, one.signed_by))
    })
}

/// A token's parts.
struct Token<'a> {
    content: &'a [u8],
    certificates: Vec<&'a [u8]>,
    /// What it calls the signer's certificate, with its tag.
    signer: (u8, Der<'a>),
    /// Object identifier of the hash.
    digest: &'a [u8],
    /// With tag and length.
    attributes: &'a [u8],
    /// Object identifier of the way of signing.
    algorithm: &'a [u8],
    signature: &'a [u8],
}

impl<'a> Token<'a> {
    fn read(bytes: &'a [u8]) -> Result<Self, String> {
        let signed = signed_data(bytes)?;
        Self::parts(signed).ok_or_else(|| MALFORMED.to_owned())
    }

    fn parts(mut signed: Der<'a>) -> Option<Self> {
        signed.take(INTEGER)?;
        signed.take(SET)?;
        let content = content(&mut signed)?.0;
        let mut brought = signed.take(EXPLICIT_0).unwrap_or(Der(&[]));
        let certificates = std::iter::from_fn(|| brought.raw(SEQUENCE));
        let certificates = certificates.take(CERTIFICATES_MAX).collect();
        signed.take(IMPLICIT_1);
        let mut signers = signed.take(SET)?;
        let mut signer = signers.take(SEQUENCE)?;
        if !signers.0.is_empty() {
            return None;
        }
        signer.take(INTEGER)?;
        let called = signer.any()?;
        let digest = signer.take(SEQUENCE)?.raw(OBJECT_IDENTIFIER)?;
        let attributes = signer.raw(EXPLICIT_0)?;
        let algorithm = signer.take(SEQUENCE)?.raw(OBJECT_IDENTIFIER)?;
        let signature = signer.take(OCTET_STRING)?.0;
        Some(Self {
            content,
            certificates,
            signer: called,
            digest,
            attributes,
            algorithm,
            signature,
        })
    }

    /// The one value of a signed attribute that stands there once.
    fn attribute(&self, oid: &[u8]) -> Option<&'a [u8]> {
        let mut attributes = Der(self.attributes).take(EXPLICIT_0)?;
        let mut found = None;
        while let Some(mut attribute) = attributes.take(SEQUENCE) {
            if attribute.skip(oid).is_some() {
                let values = attribute.take(SET)?.0;
                if found.replace(values).is_some() {
                    return None;
                }
            }
        }
        found
    }

    /// The certificate of these that it is signed by; or why that cannot be told, and the one that it says it is.
    fn signer<'c, 'd>(
        &self,
        all: &'c [CertificateDer<'d>],
    ) -> Result<(&'c CertificateDer<'d>, Option<&'static str>), String> {
        let Some(algorithms) = algorithms(self.algorithm, self.digest) else {
            return Ok((self.named_in(all)?, Some(METHOD_NOT_LOOKED_AT)));
        };
        let mut signed = self.attributes.to_vec();
        // The attributes are signed as the SET that they are, whatever tag they stand under (RFC 5652 §5.4).
        signed[0] = SET;
        let made_it = |certificate: &&CertificateDer<'_>| {
            EndEntityCert::try_from(*certificate).is_ok_and(|by| {
                let holds = |algorithm: &&dyn SignatureVerificationAlgorithm| {
                    by.verify_signature(*algorithm, &signed, self.signature).is_ok()
                };
                algorithms.iter().any(holds)
            })
        };
        if let Some(signer) = all.iter().find(made_it) {
            return Ok((signer, None));
        }
        let named = self.named_in(all)?;
        match Certificate::read(named) {
            Some(certificate) if !certificate.key_is_looked_at() => Ok((named, Some(METHOD_NOT_LOOKED_AT))),
            _ => Err(DOES_NOT_HOLD.to_owned()),
        }
    }

    /// The certificate of these that it says it is signed by, where it might be by that one's key.
    fn named_in<'c, 'd>(&self, all: &'c [CertificateDer<'d>]) -> Result<&'c CertificateDer<'d>, String> {
        let is_named = |certificate: &&CertificateDer<'_>| {
            Certificate::read(certificate)
                .is_some_and(|it| it.is_called(self.signer) && it.can_sign_by(self.algorithm))
        };
        all.iter().find(is_named).ok_or_else(|| DOES_NOT_HOLD.to_owned())
    }

    /// Whether the attribute that names the signer's certificate names this one, where that can be told. An old one that
    /// names it by SHA-1 says nothing that would be believed.
    fn names(&self, certificate: &CertificateDer<'_>) -> Option<bool> {
        let Some(attribute) = self.attribute(SIGNING_CERTIFICATE_V2_OID) else {
            return Some(true);
        };
        let first = || {
            let mut first = Der(attribute).take(SEQUENCE)?.take(SEQUENCE)?.take(SEQUENCE)?;
            let oid = match first.take(SEQUENCE) {
                Some(mut algorithm) => algorithm.raw(OBJECT_IDENTIFIER)?,
                None => SHA256_OID,
            };
            Some((oid, first.take(OCTET_STRING)?.0))
        };
        match first() {
            None => Some(false),
            Some((oid, hash)) => digest(oid, certificate).map(|of| of == hash),
        }
    }
}

fn digest(oid: &[u8], bytes: &[u8]) -> Option<Vec<u8>> {
    match oid {
        SHA256_OID => Some(Sha256::digest(bytes).to_vec()),
        SHA384_OID => Some(Sha384::digest(bytes).to_vec()),
        SHA512_OID => Some(Sha512::digest(bytes).to_vec()),
        _ => None,
    }
}

/// Ways of checking a signature; which one depends on the key.
fn algorithms(oid: &[u8], digest: &[u8]) -> Option<Vec<&'static dyn SignatureVerificationAlgorithm>> {
    match (oid, digest) {
        (RSA_SHA256_OID, _) | (RSA_OID, SHA256_OID) => Some(vec![RSA_PKCS1_2048_8192_SHA256]),
        (RSA_SHA384_OID, _) | (RSA_OID, SHA384_OID) => Some(vec![RSA_PKCS1_2048_8192_SHA384]),
        (RSA_SHA512_OID, _) | (RSA_OID, SHA512_OID) => Some(vec![RSA_PKCS1_2048_8192_SHA512]),
        (ECDSA_SHA256_OID, _) => Some(vec![ECDSA_P256_SHA256, ECDSA_P384_SHA256]),
        (ECDSA_SHA384_OID, _) => Some(vec![ECDSA_P256_SHA384, ECDSA_P384_SHA384]),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rubbish_is_no_certificate_and_no_token() {
        for bad in [&b""[..], b"rubbish", b"-----BEGIN CERTIFICATE-----\nAA"] {
            assert!(certificates(bad).is_err());
        }
        for bad in [&b""[..], b"rubbish", &[0x30, 5, 0x30, 3, 2, 1, 0]] {
            assert!(check(bad, Timestamp::default(), &[]).is_err());
        }
    }

    #[test]
    fn a_signature_by_a_method_of_tomorrow_is_not_looked_at() {
        assert!(algorithms(b"\x06\x03\x2b\x65\x70", SHA512_OID).is_none());
        assert!(algorithms(RSA_OID, b"\x06\x05\x2b\x0e\x03\x02\x1a").is_none());
        assert!(digest(b"\x06\x05\x2b\x0e\x03\x02\x1a", b"").is_none());
    }
}
