//! To whom an evidence pack is encrypted: age keys (`age1…`) and SSH keys (`ssh-ed25519`, `ssh-rsa`), the receiver's own.
//!
//! Invariants: at most so many, each of bounded length; only public keys are ever here.
//! Source: age-encryption.org/v1. Not here: writing the file (`file`).

use age::Recipient;
use domain::Hash;
use domain::hash::sha256;
use std::str::FromStr;

/// Most recipients of one pack: each adds a stanza of about 200 bytes to the file's head.
pub const RECIPIENTS_MAX: usize = 32;
/// Longest line of a recipient, bytes: an RSA key of 8,192 bits with its comment.
pub const RECIPIENT_BYTES_MAX: usize = 2_048;

/// Recipients that were read.
#[derive(Default)]
pub struct Recipients {
    keys: Vec<Box<dyn Recipient>>,
    fingerprints: Vec<Hash>,
}

impl Recipients {
    /// Reads one a line; empty lines and those that begin with `#` are passed over.
    ///
    /// # Errors
    /// In words, naming the line.
    pub fn parse<'l>(lines: impl IntoIterator<Item = &'l str>) -> Result<Self, String> {
        let mut all = Self::default();
        for line in lines.into_iter().map(str::trim) {
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            if all.keys.len() == RECIPIENTS_MAX {
                return Err(format!("a pack has at most {RECIPIENTS_MAX} recipients"));
            }
            let (key, spelled) = recipient(line)?;
            let fingerprint = sha256(spelled.as_bytes());
            if !all.fingerprints.contains(&fingerprint) {
                all.keys.push(key);
                all.fingerprints.push(fingerprint);
            }
        }
        Ok(all)
    }

    /// Whether there is none, and nothing is encrypted.
    pub fn is_empty(&self) -> bool {
        self.keys.is_empty()
    }

    /// SHA-256 of each key as it is written, without its comment.
    pub fn fingerprints(&self) -> &[Hash] {
        &self.fingerprints
    }

    /// The keys.
    pub fn keys(&self) -> impl Iterator<Item = &dyn Recipient> {
        self.keys.iter().map(|key| &**key)
    }
}

/// A key and how it is written without its comment.
fn recipient(line: &str) -> Result<(Box<dyn Recipient>, String), String> {
    let shown: String = line.chars().take(24).filter(|c| !c.is_control()).collect();
    if line.len() > RECIPIENT_BYTES_MAX {
        return Err(format!("{shown}… is longer than {RECIPIENT_BYTES_MAX} bytes"));
    }
    if line.starts_with("AGE-SECRET-KEY-") || line.contains("PRIVATE KEY") {
        return Err("that is a secret key: give the public one (age-keygen -y prints it)".to_owned());
    }
    if line.starts_with("age1") {
        let key = age::x25519::Recipient::from_str(line);
        return match key {
            Ok(key) => Ok((Box::new(key), line.to_owned())),
            Err(error) => Err(format!("{shown}… is no age recipient: {error}")),
        };
    }
    let words: Vec<&str> = line.split_ascii_whitespace().take(2).collect();
    match age::ssh::Recipient::from_str(line) {
        Ok(key) => Ok((Box::new(key), words.join(" "))),
        Err(_) => Err(format!(
            "{shown}… is no recipient: give an age key (age1…) or the line of an SSH public key (ssh-ed25519 or ssh-rsa)"
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SSH: &str =
        "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIHsKLqeplhpW+uObz5dvMgjz1OxfM/XXUB+VHtZ6isGN alice@example";

    #[test]
    fn age_and_ssh_keys_are_read_once_each_and_nothing_else() {
        let key = age::x25519::Identity::generate().to_public().to_string();
        let text = format!("# whose\n\n{key}\n{SSH}\n  {key}\n");
        let read = Recipients::parse(text.lines()).expect("recipients");
        assert_eq!(read.keys().count(), 2);
        assert_eq!(read.fingerprints()[0], sha256(key.as_bytes()));
        let without_comment = SSH.rsplit_once(' ').expect("a comment").0;
        assert_eq!(read.fingerprints()[1], sha256(without_comment.as_bytes()));
        assert!(Recipients::parse([]).expect("none").is_empty());
        for bad in [
            "age1nonsense",
            "ssh-dss AAAA",
            "alice@example.org",
            &"age1".repeat(1000),
        ] {
            assert!(Recipients::parse([bad]).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_secret_key_is_refused_without_being_repeated() {
        use age::secrecy::ExposeSecret;
        let secret = age::x25519::Identity::generate().to_string();
        let error = Recipients::parse([secret.expose_secret()])
            .err()
            .expect("refused");
        assert!(!error.contains(&secret.expose_secret()[16..30]), "{error}");
    }

    #[test]
    fn there_are_not_too_many() {
        let keys: Vec<String> = (0..=RECIPIENTS_MAX)
            .map(|_| age::x25519::Identity::generate().to_public().to_string())
            .collect();
        assert!(Recipients::parse(keys.iter().map(String::as_str)).is_err());
        assert!(Recipients::parse(keys[1..].iter().map(String::as_str)).is_ok());
    }
}
