//! Links in messages: signed, about one thing, and good for a time.
//!
//! A link is base64url of a short JSON list and of 16 bytes of its HMAC under a key that follows from the server's
//! secret. It says what it is for, so that one for unsubscribing acknowledges nothing.
//! Invariants: a link that was changed, or is over, is none; comparison takes the same time; using one is single where
//! the ledger's idempotency makes it so (an acknowledgement's lifetime is that of an idempotency key).
//! Not here: the pages behind them (`pages`), what they do (`commands`).

use domain::Timestamp;
use domain::hash::{base64url, from_base64url, sha256_of};
use hmac::{Hmac, Mac};
use sha2::Sha256;
use subtle::ConstantTimeEq;

/// Hours for which an acknowledgement's link is good: as long as the ledger remembers that it was used.
pub const ACKNOWLEDGE_HOURS: i64 = 24;
/// Days for which a confirmation's link is good.
pub const CONFIRM_DAYS: i64 = 7;
/// Longest link that is looked at.
const TEXT_MAX: usize = 512;
const MAC_BYTES: usize = 16;
/// Characters of a code that a chat is linked by: 50 bits.
const CODE_CHARS: usize = 10;

/// What a link is for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Link {
    /// Acknowledges an alarm, as a contact.
    Acknowledge {
        /// `con_…`
        contact: String,
        /// `alm_…`
        alarm: String,
        /// When it is over.
        until: Timestamp,
    },
    /// Shows a contact's own page, and unsubscribes it. It does not end: a mail may be read in years.
    Own {
        /// `con_…`
        contact: String,
    },
    /// Confirms a mailbox.
    Confirm {
        /// `con_…`
        contact: String,
        /// When it is over.
        until: Timestamp,
    },
}

/// Makes links and reads them.
pub struct Links {
    key: [u8; 32],
}

impl Links {
    /// With a key that follows from the server's secret.
    pub fn new(server_secret: &[u8; 32]) -> Self {
        Self {
            key: sha256_of(&[b"daybook/links/v1\n", server_secret]).0,
        }
    }

    /// The text of a link, for behind `/a/`, `/u/` or `/c/`.
    pub fn write(&self, link: &Link) -> String {
        let seconds = |at: &Timestamp| at.as_micros() / 1_000_000;
        let list = match link {
            Link::Acknowledge {
                contact,
                alarm,
                until,
            } => serde_json::json!(["a", contact, alarm, seconds(until)]),
            Link::Own { contact } => serde_json::json!(["u", contact]),
            Link::Confirm { contact, until } => serde_json::json!(["c", contact, seconds(until)]),
        };
        let text = list.to_string();
        let mut bytes = self.mac(text.as_bytes()).to_vec();
        bytes.extend_from_slice(text.as_bytes());
        base64url(&bytes)
    }

    /// What a text is a link for; `None` where it is none, or over.
    pub fn read(&self, text: &str, now: Timestamp) -> Option<Link> {
        let bytes = from_base64url(text).filter(|_| text.len() <= TEXT_MAX)?;
        let (mac, list) = bytes.split_at_checked(MAC_BYTES)?;
        if !bool::from(mac.ct_eq(&self.mac(list))) {
            return None;
        }
        let parts: Vec<serde_json::Value> = serde_json::from_slice(list).ok()?;
        let word = |index: usize| Some(parts.get(index)?.as_str()?.to_owned());
        let time = |index: usize| Timestamp::from_micros(parts.get(index)?.as_i64()?.checked_mul(1_000_000)?);
        let link = match parts.first()?.as_str()? {
            "a" => Link::Acknowledge {
                contact: word(1)?,
                alarm: word(2)?,
                until: time(3)?,
            },
            "u" => Link::Own { contact: word(1)? },
            "c" => Link::Confirm {
                contact: word(1)?,
                until: time(2)?,
            },
            _ => return None,
        };
        match &link {
            Link::Acknowledge { until, .. } | Link::Confirm { until, .. } if *until <= now => None,
            _ => Some(link),
        }
    }

    /// The code by which a chat says that it is this contact.
    pub fn code(&self, contact: &str) -> String {
        let hash = sha256_of(&[b"code\n", &self.key, contact.as_bytes()]);
        let mut bytes = [0; 16];
        bytes.copy_from_slice(&hash.0[..16]);
        let text = domain::ids::IdKind::Token.id(&bytes);
        text[..CODE_CHARS].to_owned()
    }

    /// What a bot's webhook or button carries, in 64 bytes at most: a short name of a notification.
    pub fn short(&self, notification: &str) -> String {
        let hash = sha256_of(&[b"button\n", &self.key, notification.as_bytes()]);
        base64url(&hash.0[..12])
    }

    fn mac(&self, bytes: &[u8]) -> [u8; MAC_BYTES] {
        let mut mac = Hmac::<Sha256>::new_from_slice(&self.key).expect("any length is a key");
        mac.update(bytes);
        let full = mac.finalize().into_bytes();
        let mut short = [0; MAC_BYTES];
        short.copy_from_slice(&full[..MAC_BYTES]);
        short
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_micros((1_700_000_000 + seconds) * 1_000_000).expect("a time")
    }

    #[test]
    fn a_link_reads_as_it_was_written_until_it_is_over_and_no_other_does() {
        let links = Links::new(&[7; 32]);
        let link = Link::Acknowledge {
            contact: "con_a".into(),
            alarm: "alm_b".into(),
            until: at(60),
        };
        let text = links.write(&link);
        assert_eq!(links.read(&text, at(0)), Some(link));
        assert_eq!(links.read(&text, at(60)), None, "over");
        assert_eq!(Links::new(&[8; 32]).read(&text, at(0)), None, "another server's");
        for index in 0..text.len() {
            let mut changed = text.clone().into_bytes();
            changed[index] = if changed[index] == b'A' { b'B' } else { b'A' };
            let changed = String::from_utf8(changed).expect("ASCII");
            assert_eq!(links.read(&changed, at(0)), None, "{index}");
        }
        for text in ["", "a", "////", &"A".repeat(2000)] {
            assert_eq!(links.read(text, at(0)), None);
        }
        let own = Link::Own {
            contact: "con_a".into(),
        };
        assert_eq!(links.read(&links.write(&own), at(1_000_000_000)), Some(own));
    }

    #[test]
    fn codes_differ_by_contact_and_server() {
        let links = Links::new(&[7; 32]);
        assert_eq!(links.code("con_a"), links.code("con_a"));
        assert_ne!(links.code("con_a"), links.code("con_b"));
        assert_ne!(links.code("con_a"), Links::new(&[8; 32]).code("con_a"));
    }
}
