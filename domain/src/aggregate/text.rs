//! What texts and identifiers may be.
//!
//! Invariants: names have 1 to 100 characters without controls, on one line that reads as it stands; identifiers have
//! one spelling, so that equal ones are equal bytes (local ids keep their case and are compared without it).
//! Source: docs/events.md; REFERENCE §2. Not here: whether they are free (`registry`).

use crate::rejection::Rejection;

/// Most characters of a name or label.
pub const NAME_MAX: usize = 100;
/// Most characters of notes and addresses, so that an entry with old and new ones stays far below 64 KiB.
pub const NOTES_MAX: usize = 2_000;
/// Most characters of a local id.
pub const LOCAL_ID_MAX: usize = 64;
/// Most characters of a model.
pub const MODEL_MAX: usize = 64;
/// Most characters of a serial number.
pub const SERIAL_MAX: usize = 64;
/// Most characters of an e-mail address (RFC 5321 §4.5.3.1.3).
pub const EMAIL_MAX: usize = 254;

/// Whether a character breaks the line, or turns the direction in which what follows is read: behind such a name, on a
/// page or in a mail, the words of the software would stand in another order than they were written.
fn derails(c: char) -> bool {
    matches!(c, '\u{2028}' | '\u{2029}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

/// A name or label: 1 to [`NAME_MAX`] characters, none of them a control or one that turns the direction of writing
/// (Unicode's embeddings, overrides and isolates; names written from right to left need none); blanks around it are cut.
///
/// # Errors
/// `invalid_name`, naming the field.
pub fn name(field: &str, text: &str) -> Result<String, Rejection> {
    let text = text.trim();
    let length = text.chars().count();
    if length == 0 || length > NAME_MAX || text.chars().any(|c| c.is_control() || derails(c)) {
        return Err(Rejection::invalid(
            "invalid_name",
            format!(
                "{field} must have 1 to {NAME_MAX} characters, none of them a control character or one that turns the \
                 direction of writing"
            ),
        ));
    }
    Ok(text.to_owned())
}

/// Notes or an address: up to [`NOTES_MAX`] characters; lines and tabs are allowed. Blank ones are absent.
///
/// # Errors
/// `invalid_text`, naming the field.
pub fn notes(field: &str, text: Option<&str>) -> Result<Option<String>, Rejection> {
    let Some(text) = text.map(str::trim).filter(|text| !text.is_empty()) else {
        return Ok(None);
    };
    let control = |c: char| c.is_control() && !matches!(c, '\n' | '\t' | '\r');
    if text.chars().count() > NOTES_MAX || text.chars().any(control) {
        return Err(Rejection::invalid(
            "invalid_text",
            format!("{field} must have at most {NOTES_MAX} characters, none of them a control character"),
        ));
    }
    Ok(Some(text.to_owned()))
}

/// A local id: `[A-Za-z0-9._:-]{1,64}`.
///
/// # Errors
/// `invalid_local_id`.
pub fn local_id(text: &str) -> Result<String, Rejection> {
    let right = (1..=LOCAL_ID_MAX).contains(&text.len())
        && text
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b':' | b'-'));
    if !right {
        return Err(Rejection::invalid(
            "invalid_local_id",
            format!("local_id must have 1 to {LOCAL_ID_MAX} letters, digits, or . _ : -"),
        ));
    }
    Ok(text.to_owned())
}

/// A model: `[A-Za-z0-9._ /+-]{1,64}`.
///
/// # Errors
/// `invalid_model`.
pub fn model(text: &str) -> Result<String, Rejection> {
    let text = text.trim();
    let right = (1..=MODEL_MAX).contains(&text.len())
        && text
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b' ' | b'/' | b'+' | b'-'));
    if !right {
        return Err(Rejection::invalid(
            "invalid_model",
            format!("model must have 1 to {MODEL_MAX} letters, digits, spaces, or . _ / + -"),
        ));
    }
    Ok(text.to_owned())
}

/// A DevEUI as 16 upper-case hexadecimal digits; separators are cut.
///
/// # Errors
/// `invalid_dev_eui`.
pub fn dev_eui(text: &str) -> Result<String, Rejection> {
    let digits = without_separators(text);
    if digits.len() != 16 || !digits.bytes().all(|b| b.is_ascii_hexdigit()) {
        return Err(Rejection::invalid(
            "invalid_dev_eui",
            "dev_eui must have 16 hexadecimal digits",
        ));
    }
    Ok(digits)
}

/// A serial number or MAC, upper-case, without separators.
///
/// # Errors
/// `invalid_serial`.
pub fn serial(text: &str) -> Result<String, Rejection> {
    let serial = without_separators(text);
    let right = (1..=SERIAL_MAX).contains(&serial.len()) && serial.bytes().all(|b| b.is_ascii_alphanumeric());
    if !right {
        return Err(Rejection::invalid(
            "invalid_serial",
            format!("serial must have 1 to {SERIAL_MAX} letters and digits"),
        ));
    }
    Ok(serial)
}

fn without_separators(text: &str) -> String {
    text.chars()
        .filter(|c| !matches!(c, ':' | '-' | ' '))
        .map(|c| c.to_ascii_uppercase())
        .collect()
}

/// An e-mail address, normalised: lower case, without blanks around it. It is checked for its form only.
///
/// # Errors
/// `invalid_email`.
pub fn email(text: &str) -> Result<String, Rejection> {
    let text = text.trim().to_lowercase();
    let plain =
        |c: char| !c.is_whitespace() && !c.is_control() && !matches!(c, '<' | '>' | ',' | ';' | '"' | '@');
    let right = text.len() <= EMAIL_MAX
        && text.split_once('@').is_some_and(|(local, host)| {
            !local.is_empty()
                && local.chars().all(plain)
                && host.chars().all(plain)
                && host.split('.').all(|label| !label.is_empty())
        });
    if !right {
        return Err(Rejection::invalid(
            "invalid_email",
            "email must be one address, such as name@example.org",
        ));
    }
    Ok(text)
}

/// A role: `[a-z_]{1,32}`.
///
/// # Errors
/// `invalid_role`.
pub fn role(text: &str) -> Result<String, Rejection> {
    if !crate::entry::is_type(text) {
        return Err(Rejection::invalid(
            "invalid_role",
            "role must be 1 to 32 lower-case letters and underscores, such as owner or auditor",
        ));
    }
    Ok(text.to_owned())
}

/// An IANA time zone of the bundled database, in that database's spelling.
///
/// # Errors
/// `invalid_timezone`.
pub fn timezone(text: &str) -> Result<String, Rejection> {
    jiff::tz::TimeZoneDatabase::bundled()
        .get(text)
        .ok()
        .and_then(|zone| zone.iana_name().map(str::to_owned))
        .ok_or_else(|| {
            Rejection::invalid(
                "invalid_timezone",
                "timezone must be an IANA name, such as Europe/Berlin",
            )
        })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn names_have_one_to_a_hundred_characters_without_controls() {
        assert_eq!(name("name", "  Kühlschrank 1 "), Ok("Kühlschrank 1".into()));
        assert_eq!(name("name", &"ü".repeat(100)), Ok("ü".repeat(100)));
        // Right to left, and emoji that are joined, need none of what is refused.
        for good in ["مطبخ 2", "\u{1f468}\u{200d}\u{1f373}", "מקרר"] {
            assert_eq!(name("name", good), Ok(good.into()));
        }
        for bad in [
            "",
            "   ",
            "a\nb",
            "a\u{7f}",
            "a\u{0}",
            "a\u{202e}b",
            "a\u{2066}b\u{2069}",
            "a\u{2028}b",
            &"ü".repeat(101),
        ] {
            assert_eq!(
                name("name", bad).map_err(|r| r.code),
                Err("invalid_name"),
                "{bad:?}"
            );
        }
    }

    #[test]
    fn notes_may_have_lines_and_be_absent() {
        assert_eq!(
            notes("notes", Some("left\nof the door")),
            Ok(Some("left\nof the door".into()))
        );
        assert_eq!(notes("notes", Some("  ")), Ok(None));
        assert_eq!(notes("notes", None), Ok(None));
        assert!(notes("notes", Some(&"x".repeat(2001))).is_err());
        assert!(notes("notes", Some("a\u{1b}[31m")).is_err());
    }

    #[test]
    fn local_ids_are_plain() {
        for good in ["hut01", "A.b_c:d-e", &"x".repeat(64)] {
            assert_eq!(local_id(good), Ok(good.into()));
        }
        for bad in ["", "a b", "a/b", "ä", &"x".repeat(65)] {
            assert_eq!(local_id(bad).map_err(|r| r.code), Err("invalid_local_id"));
        }
    }

    #[test]
    fn identifiers_of_devices_have_one_spelling() {
        assert_eq!(dev_eui("00-04-a3:0b 001B7ad1"), Ok("0004A30B001B7AD1".into()));
        assert_eq!(serial("a4:cf:12:00:ff:01"), Ok("A4CF1200FF01".into()));
        for bad in [
            "",
            "0004A30B001B7AD",
            "0004A30B001B7AD12",
            "0004A30B001B7ADG",
            "０004A30B001B7AD1",
        ] {
            assert_eq!(dev_eui(bad).map_err(|r| r.code), Err("invalid_dev_eui"), "{bad}");
        }
        assert!(serial("").is_err());
        assert!(serial("a_b").is_err());
        assert_eq!(model(" shelly-h-t-gen3 "), Ok("shelly-h-t-gen3".into()));
        assert!(model("a<b").is_err());
    }

    #[test]
    fn addresses_are_normalised() {
        assert_eq!(email(" Ada@Example.ORG "), Ok("ada@example.org".into()));
        assert_eq!(email("root@localhost"), Ok("root@localhost".into()));
        for bad in [
            "",
            "a",
            "@b",
            "a@",
            "a@b@c",
            "a b@c.de",
            "a@c..de",
            "a@.de",
            "A <a@b.de>",
        ] {
            assert_eq!(email(bad).map_err(|r| r.code), Err("invalid_email"), "{bad}");
        }
    }

    #[test]
    fn time_zones_come_from_the_bundled_database() {
        assert_eq!(timezone("Europe/Berlin"), Ok("Europe/Berlin".into()));
        assert_eq!(timezone("UTC"), Ok("UTC".into()));
        assert_eq!(timezone("europe/berlin"), Ok("Europe/Berlin".into()));
        for bad in ["", "Europe/Nowhere", "+02:00", "../../etc/passwd", "Etc/Unknown"] {
            assert_eq!(
                timezone(bad).map_err(|r| r.code),
                Err("invalid_timezone"),
                "{bad}"
            );
        }
    }

    #[test]
    fn roles_are_an_open_set() {
        for good in ["owner", "auditor", "night_shift"] {
            assert_eq!(role(good), Ok(good.into()));
        }
        for bad in ["", "Owner", "a b", &"x".repeat(33)] {
            assert_eq!(role(bad).map_err(|r| r.code), Err("invalid_role"));
        }
    }

    proptest! {
        #[test]
        fn what_passes_passes_again_unchanged(text in "\\PC{0,120}") {
            for check in [local_id, model, dev_eui, serial, email, role] {
                if let Ok(once) = check(&text) {
                    prop_assert_eq!(check(&once), Ok(once.clone()));
                }
            }
            if let Ok(once) = name("name", &text) {
                prop_assert_eq!(name("name", &once), Ok(once.clone()));
            }
        }
    }
}
