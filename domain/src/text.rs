//! Pieces of text that the C2SP formats share, read strictly: one value, one spelling.
//!
//! Source: "ASCII decimal with no leading zeroes", "standard Base 64" in C2SP tlog-checkpoint, signed-note, tlog-proof.
//! Not here: times (`time`), JSON (`canonical`).

use base64::{Engine, engine::general_purpose::STANDARD};

/// An ASCII decimal without leading zeroes, sign or space.
pub(crate) fn decimal(text: &str) -> Option<u64> {
    let digits = text.as_bytes();
    let canonical = matches!(digits, [b'0'] | [b'1'..=b'9', ..]);
    if !canonical || !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    text.parse().ok()
}

/// Standard base64 with padding, without stray bits.
pub(crate) fn base64(bytes: &[u8]) -> String {
    STANDARD.encode(bytes)
}

/// Reads what [`base64`] writes; nothing else.
pub(crate) fn from_base64(text: &str) -> Option<Vec<u8>> {
    STANDARD.decode(text).ok()
}

/// The lines of a text in which every line, the last too, ends in a newline. The empty text has none.
pub(crate) fn lines(text: &str) -> Option<impl Iterator<Item = &str>> {
    let mut lines = text.split('\n');
    (lines.next_back() == Some("")).then_some(lines)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_has_one_spelling() {
        assert_eq!(decimal("0"), Some(0));
        assert_eq!(decimal("18446744073709551615"), Some(u64::MAX));
        for bad in [
            "",
            "00",
            "01",
            "+1",
            "-1",
            " 1",
            "1 ",
            "1_0",
            "0x1",
            "१",
            "18446744073709551616",
        ] {
            assert_eq!(decimal(bad), None, "{bad:?}");
        }
    }

    #[test]
    fn bytes_have_one_base64() {
        assert_eq!(from_base64("AA=="), Some(vec![0]));
        for bad in ["AA", "AA=", "AB==", "A A=", "AA==\n", "_w==", "===="] {
            assert_eq!(from_base64(bad), None, "{bad:?}");
        }
    }

    #[test]
    fn the_last_line_ends_too() {
        assert_eq!(
            lines("a\nb\n").map(Iterator::collect::<Vec<_>>),
            Some(vec!["a", "b"])
        );
        assert_eq!(lines("").map(Iterator::count), Some(0));
        assert!(lines("a").is_none());
    }
}
