//! An authority of its own, and a certificate for this machine that it vouches for, as files.
//!
//! Not here: what uses them.

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

/// Files of an authority and of a server that it vouches for.
#[derive(Debug, Clone)]
pub struct Certificates {
    /// The authority's certificate.
    pub authority: PathBuf,
    /// The server's certificate, for `localhost` and 127.0.0.1.
    pub certificate: PathBuf,
    /// The server's key.
    pub key: PathBuf,
}

impl Certificates {
    /// Makes them in that directory; files begin with `name`.
    ///
    /// # Panics
    /// Where they cannot be made.
    pub fn make(dir: &Path, name: &str) -> Self {
        let mut authority = CertificateParams::new(Vec::new()).expect("no names");
        authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let issuer =
            CertifiedIssuer::self_signed(authority, KeyPair::generate().expect("a key")).expect("signed");
        let key = KeyPair::generate().expect("a key");
        let names = vec!["localhost".to_owned(), "127.0.0.1".to_owned()];
        let certificate = CertificateParams::new(names)
            .expect("names")
            .signed_by(&key, &issuer)
            .expect("signed");
        let made = Self {
            authority: dir.join(format!("{name}-authority.pem")),
            certificate: dir.join(format!("{name}.pem")),
            key: dir.join(format!("{name}.key")),
        };
        std::fs::write(&made.authority, issuer.pem()).expect("written");
        std::fs::write(&made.certificate, certificate.pem()).expect("written");
        std::fs::write(&made.key, key.serialize_pem()).expect("written");
        std::fs::set_permissions(&made.key, std::fs::Permissions::from_mode(0o600)).expect("set");
        made
    }
}
