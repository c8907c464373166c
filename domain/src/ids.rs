//! Ids: a prefix that says what they name, and sixteen random bytes in base32.
//!
//! Invariants: the bytes are given by the caller (nothing here is random); an id has exactly one spelling, so
//! two texts name the same thing only when they are equal bytes.
//! Source: RFC 4648 §6, lower case, without padding; FORMAT §2 (at least 128 random bits).
//! Not here: local ids and serial numbers, which people and devices choose (`aggregate::device`).

/// Random bytes of an id.
pub const ID_BYTES: usize = 16;
/// Characters of those bytes in base32.
pub const ID_TEXT: usize = 26;

const ALPHABET: &[u8; 32] = b"abcdefghijklmnopqrstuvwxyz234567";

/// What an id names.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum IdKind {
    /// `acc_`
    Account,
    /// `usr_`
    User,
    /// `site_`
    Site,
    /// `dev_`
    Device,
    /// `snr_`
    Sensor,
    /// `chn_`
    Channel,
    /// `int_`
    Integration,
    /// `art_`
    Artefact,
    /// `pck_`
    Pack,
    /// `rul_`
    Rule,
    /// `alm_`
    Alarm,
    /// `sil_`
    Silence,
    /// `con_`
    Contact,
    /// `ntf_`
    Notification,
    /// `req_`
    Request,
    /// Without a prefix: the id inside a token.
    Token,
    /// Without a prefix: streams such as the tray's.
    Stream,
}

impl IdKind {
    /// The prefix with its underscore; empty for what has none.
    pub const fn prefix(self) -> &'static str {
        match self {
            Self::Account => "acc_",
            Self::User => "usr_",
            Self::Site => "site_",
            Self::Device => "dev_",
            Self::Sensor => "snr_",
            Self::Channel => "chn_",
            Self::Integration => "int_",
            Self::Artefact => "art_",
            Self::Pack => "pck_",
            Self::Rule => "rul_",
            Self::Alarm => "alm_",
            Self::Silence => "sil_",
            Self::Contact => "con_",
            Self::Notification => "ntf_",
            Self::Request => "req_",
            Self::Token | Self::Stream => "",
        }
    }

    /// The id of this kind made of these random bytes.
    pub fn id(self, bytes: &[u8; ID_BYTES]) -> String {
        let mut text = String::with_capacity(self.prefix().len() + ID_TEXT);
        text.push_str(self.prefix());
        push_base32(&mut text, bytes);
        text
    }

    /// Whether `text` is an id of this kind.
    pub fn is(self, text: &str) -> bool {
        text.strip_prefix(self.prefix()).is_some_and(is_base32)
    }
}

/// The kind of an id, by its prefix; `None` for what is no id. Ids without a prefix are [`IdKind::Stream`].
pub fn kind_of(text: &str) -> Option<IdKind> {
    use IdKind::{
        Account, Alarm, Artefact, Channel, Contact, Device, Integration, Notification, Pack, Request, Rule,
        Sensor, Silence, Site, Stream, User,
    };
    [
        Account,
        User,
        Site,
        Device,
        Sensor,
        Channel,
        Integration,
        Artefact,
        Pack,
        Rule,
        Alarm,
        Silence,
        Contact,
        Notification,
        Request,
        Stream,
    ]
    .into_iter()
    .find(|kind| kind.is(text))
}

fn push_base32(out: &mut String, bytes: &[u8; ID_BYTES]) {
    let (mut bits, mut held) = (0u32, 0u32);
    for &byte in bytes {
        bits = bits << 8 | u32::from(byte);
        held += 8;
        while held >= 5 {
            held -= 5;
            out.push(char::from(ALPHABET[(bits >> held & 31) as usize]));
        }
    }
    out.push(char::from(ALPHABET[(bits << (5 - held) & 31) as usize]));
}

/// Whether `text` is what sixteen bytes become in base32: the unused two bits of the last character are zero.
fn is_base32(text: &str) -> bool {
    let bytes = text.as_bytes();
    bytes.len() == ID_TEXT
        && bytes.iter().all(|b| ALPHABET.contains(b))
        && ALPHABET
            .iter()
            .position(|b| *b == bytes[ID_TEXT - 1])
            .is_some_and(|value| value % 4 == 0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn ids_are_rfc_4648_base32_in_lower_case() {
        // RFC 4648 §10: "foobar" → MZXW6YTBOI; here sixteen bytes that begin and end with it.
        let id = IdKind::Device.id(b"foobarfoobarfoob");
        assert_eq!(id, "dev_mzxw6ytbojtg633cmfzgm33pmi");
        assert_eq!(IdKind::Token.id(&[0; 16]), "a".repeat(26));
        assert_eq!(IdKind::Token.id(&[255; 16]), format!("{}4", "7".repeat(25)));
    }

    #[test]
    fn what_is_no_id_is_refused() {
        let good = IdKind::Site.id(&[7; 16]);
        assert!(IdKind::Site.is(&good));
        assert!(!IdKind::Device.is(&good));
        for bad in [
            "",
            "site_",
            "site_abc",
            &good.to_uppercase(),
            &format!("{good}a"),
            &good[1..],
        ] {
            assert!(!IdKind::Site.is(bad), "{bad}");
        }
        let other_spelling = format!("{}b", "a".repeat(25));
        assert!(!IdKind::Token.is(&other_spelling));
        assert_eq!(kind_of("usr_é"), None);
    }

    proptest! {
        #[test]
        fn every_id_is_of_its_kind_and_no_other(bytes in any::<[u8; 16]>()) {
            for kind in [IdKind::Account, IdKind::User, IdKind::Channel, IdKind::Sensor, IdKind::Integration, IdKind::Artefact, IdKind::Pack] {
                let id = kind.id(&bytes);
                prop_assert!(kind.is(&id));
                prop_assert_eq!(kind_of(&id), Some(kind));
                prop_assert!(crate::entry::is_aggregate_id(&id));
            }
        }

        #[test]
        fn different_bytes_give_different_ids(a in any::<[u8; 16]>(), b in any::<[u8; 16]>()) {
            prop_assert_eq!(IdKind::User.id(&a) == IdKind::User.id(&b), a == b);
        }

        #[test]
        fn any_text_is_judged_without_a_panic(text in ".*") {
            let _ = kind_of(&text);
        }
    }
}
