//! RFC 8785 (JCS) canonical JSON: a writer, and a strict scanner that accepts canonical bytes only.
//!
//! Invariants: what [`Canonical`] holds is canonical, so it can be spliced into an entry as it is;
//! integers stay within ±(2^53−1), there is no `-0`, nesting is at most [`NESTING_MAX`], text is UTF-8
//! (so no lone surrogates). The scanner accepts exactly what the writer produces, in one pass without
//! allocating, which is the same as parsing, encoding again and comparing.
//! Source: RFC 8785; FORMAT §2. Numbers by `ryu-js` (ECMAScript's Number::toString).
//! Not here: what the members of an object mean (`entry`, `event`).

use serde_json::Value;
use std::cmp::Ordering;

/// Deepest nesting of objects and arrays (FORMAT §2).
pub const NESTING_MAX: usize = 16;
/// Largest magnitude of an integer, 2^53−1 (FORMAT §2).
pub const INTEGER_MAX: f64 = 9_007_199_254_740_991.0;

/// Why bytes are not canonical JSON of this format, or a value cannot be written as such.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum CanonicalError {
    /// The bytes end inside a value.
    #[error("the JSON ends too early, at byte {0}")]
    Truncated(usize),
    /// A byte that canonical JSON does not have at this place.
    #[error("not canonical JSON at byte {0}")]
    Unexpected(usize),
    /// Members not in order of their UTF-16 code units, or twice.
    #[error("object members out of order or repeated at byte {0}")]
    Order(usize),
    /// Another spelling of a number, or one outside ±(2^53−1).
    #[error("a number that is not canonical or too large at byte {0}")]
    Number(usize),
    /// Not UTF-8, or another spelling of a character.
    #[error("a string that is not canonical at byte {0}")]
    Text(usize),
    /// Nested deeper than [`NESTING_MAX`].
    #[error("nested deeper than {NESTING_MAX} levels")]
    Nesting,
}

/// Bytes known to be one canonical JSON value.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Canonical(Vec<u8>);

impl Canonical {
    /// The canonical form of a value.
    ///
    /// # Errors
    /// [`CanonicalError::Number`] for an integer beyond ±(2^53−1), [`CanonicalError::Nesting`] beyond the limit.
    pub fn of(value: &Value) -> Result<Self, CanonicalError> {
        let mut out = Vec::with_capacity(128);
        write_value(&mut out, value, 0)?;
        Ok(Self(out))
    }

    /// The canonical form of anything serde can turn into JSON.
    ///
    /// # Errors
    /// As [`Canonical::of`]; what serde cannot express counts as `Unexpected(0)`.
    pub fn from_serialize<T: serde::Serialize>(value: &T) -> Result<Self, CanonicalError> {
        let value = serde_json::to_value(value).map_err(|_| CanonicalError::Unexpected(0))?;
        Self::of(&value)
    }

    /// Takes bytes after checking that they are canonical.
    ///
    /// # Errors
    /// [`CanonicalError`] naming the first byte that is not.
    pub fn check(bytes: Vec<u8>) -> Result<Self, CanonicalError> {
        check(&bytes)?;
        Ok(Self(bytes))
    }

    /// Takes bytes that a writer of this crate just produced; checked in debug builds only.
    pub fn trusted(bytes: Vec<u8>) -> Self {
        debug_assert_eq!(check(&bytes), Ok(()), "{}", String::from_utf8_lossy(&bytes));
        Self(bytes)
    }

    /// `{}`.
    pub fn empty_object() -> Self {
        Self(b"{}".to_vec())
    }

    /// The bytes.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

impl std::fmt::Debug for Canonical {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&String::from_utf8_lossy(&self.0))
    }
}

fn write_value(out: &mut Vec<u8>, value: &Value, depth: usize) -> Result<(), CanonicalError> {
    match value {
        Value::Null => out.extend_from_slice(b"null"),
        Value::Bool(true) => out.extend_from_slice(b"true"),
        Value::Bool(false) => out.extend_from_slice(b"false"),
        Value::Number(n) => {
            let n = n.as_f64().ok_or(CanonicalError::Number(out.len()))?;
            write_number(out, n)?;
        }
        Value::String(s) => write_string(out, s),
        Value::Array(items) => {
            let depth = deeper(depth)?;
            out.push(b'[');
            for (i, item) in items.iter().enumerate() {
                if i > 0 {
                    out.push(b',');
                }
                write_value(out, item, depth)?;
            }
            out.push(b']');
        }
        Value::Object(members) => {
            let depth = deeper(depth)?;
            let mut members: Vec<_> = members.iter().collect();
            members.sort_by(|a, b| utf16_order(a.0, b.0));
            out.push(b'{');
            for (i, (key, value)) in members.into_iter().enumerate() {
                if i > 0 {
                    out.push(b',');
                }
                write_string(out, key);
                out.push(b':');
                write_value(out, value, depth)?;
            }
            out.push(b'}');
        }
    }
    Ok(())
}

fn deeper(depth: usize) -> Result<usize, CanonicalError> {
    if depth == NESTING_MAX {
        Err(CanonicalError::Nesting)
    } else {
        Ok(depth + 1)
    }
}

/// The order of object members: by UTF-16 code units (RFC 8785 §3.2.3).
pub fn utf16_order(a: &str, b: &str) -> Ordering {
    if a.is_ascii() && b.is_ascii() {
        a.cmp(b)
    } else {
        a.encode_utf16().cmp(b.encode_utf16())
    }
}

/// Appends a JSON string (RFC 8785 §3.2.2.2).
pub fn write_string(out: &mut Vec<u8>, text: &str) {
    out.push(b'"');
    let bytes = text.as_bytes();
    let mut written = 0;
    for (i, &byte) in bytes.iter().enumerate() {
        let escape: &[u8] = match byte {
            b'"' => b"\\\"",
            b'\\' => b"\\\\",
            0x08 => b"\\b",
            0x0c => b"\\f",
            b'\n' => b"\\n",
            b'\r' => b"\\r",
            b'\t' => b"\\t",
            0..=0x1f => b"",
            _ => continue,
        };
        out.extend_from_slice(&bytes[written..i]);
        if escape.is_empty() {
            out.extend_from_slice(&control_escape(byte));
        } else {
            out.extend_from_slice(escape);
        }
        written = i + 1;
    }
    out.extend_from_slice(&bytes[written..]);
    out.push(b'"');
}

fn control_escape(byte: u8) -> [u8; 6] {
    const HEX: &[u8; 16] = b"0123456789abcdef";
    [
        b'\\',
        b'u',
        b'0',
        b'0',
        HEX[usize::from(byte >> 4)],
        HEX[usize::from(byte & 15)],
    ]
}

/// Appends a number as ECMAScript writes it (RFC 8785 §3.2.2.3).
///
/// # Errors
/// [`CanonicalError::Number`] for what is not finite or an integer beyond ±(2^53−1).
pub fn write_number(out: &mut Vec<u8>, value: f64) -> Result<(), CanonicalError> {
    if !value.is_finite() || (value.abs() > INTEGER_MAX && value.fract() == 0.0) {
        return Err(CanonicalError::Number(out.len()));
    }
    if value.fract() == 0.0 {
        write_integer(out, value as i64);
    } else {
        out.extend_from_slice(ryu_js::Buffer::new().format_finite(value).as_bytes());
    }
    Ok(())
}

/// Appends an integer; the caller keeps it within ±(2^53−1).
pub fn write_integer(out: &mut Vec<u8>, value: i64) {
    let mut text = [0u8; 20];
    let mut at = text.len();
    let mut rest = value.unsigned_abs();
    loop {
        at -= 1;
        text[at] = b'0' + (rest % 10) as u8;
        rest /= 10;
        if rest == 0 {
            break;
        }
    }
    if value < 0 {
        at -= 1;
        text[at] = b'-';
    }
    out.extend_from_slice(&text[at..]);
}

/// Checks that `bytes` are exactly one canonical JSON value.
///
/// # Errors
/// [`CanonicalError`] naming the first byte that is not.
pub fn check(bytes: &[u8]) -> Result<(), CanonicalError> {
    let mut scanner = Scanner::new(bytes);
    scanner.value(0)?;
    scanner.end()
}

/// A strict reader of canonical JSON, for those that know which members to expect.
#[derive(Debug, Clone)]
pub struct Scanner<'a> {
    bytes: &'a [u8],
    /// The bytes as text, where all of them are: checked once, which is cheaper than string by string.
    text: Option<&'a str>,
    at: usize,
}

impl<'a> Scanner<'a> {
    /// At the first byte.
    pub fn new(bytes: &'a [u8]) -> Self {
        Self {
            bytes,
            text: std::str::from_utf8(bytes).ok(),
            at: 0,
        }
    }

    /// The offset of the next byte.
    pub fn offset(&self) -> usize {
        self.at
    }

    /// The next byte, not taken.
    #[inline]
    pub fn peek(&self) -> Option<u8> {
        self.bytes.get(self.at).copied()
    }

    /// Takes exactly `literal`.
    ///
    /// # Errors
    /// `Truncated` or `Unexpected` where something else stands.
    #[inline]
    pub fn literal(&mut self, literal: &[u8]) -> Result<(), CanonicalError> {
        if self.take_if(literal) {
            Ok(())
        } else if self.bytes.len() < self.at + literal.len() {
            Err(CanonicalError::Truncated(self.bytes.len()))
        } else {
            Err(CanonicalError::Unexpected(self.at))
        }
    }

    /// Takes `literal` if it stands here.
    #[inline]
    pub fn take_if(&mut self, literal: &[u8]) -> bool {
        let found = self.bytes[self.at..].starts_with(literal);
        if found {
            self.at += literal.len();
        }
        found
    }

    /// Nothing may follow.
    ///
    /// # Errors
    /// `Unexpected` where something does.
    pub fn end(&self) -> Result<(), CanonicalError> {
        if self.at == self.bytes.len() {
            Ok(())
        } else {
            Err(CanonicalError::Unexpected(self.at))
        }
    }

    /// Takes a string without escapes and gives its characters; for members that never need any.
    ///
    /// # Errors
    /// `Text` where it has an escape or is not UTF-8.
    #[inline]
    pub fn plain_string(&mut self) -> Result<&'a str, CanonicalError> {
        self.literal(b"\"")?;
        let from = self.at;
        self.at += plain_len(&self.bytes[from..]);
        match self.bytes.get(self.at) {
            None => return Err(CanonicalError::Truncated(self.at)),
            Some(b'"') => {}
            Some(_) => return Err(CanonicalError::Text(self.at)),
        }
        let text = match self.text.and_then(|text| text.get(from..self.at)) {
            Some(text) => text,
            None => {
                std::str::from_utf8(&self.bytes[from..self.at]).map_err(|_| CanonicalError::Text(from))?
            }
        };
        self.at += 1;
        Ok(text)
    }

    /// Takes a non-negative integer within 2^53−1.
    ///
    /// # Errors
    /// `Number` for any other spelling or a larger one.
    pub fn unsigned(&mut self) -> Result<u64, CanonicalError> {
        let from = self.at;
        let rest = &self.bytes[from..];
        let digits = rest.iter().take_while(|b| b.is_ascii_digit()).count();
        self.at += digits;
        canonical_unsigned(&rest[..digits]).ok_or(CanonicalError::Number(from))
    }

    /// Takes a number.
    ///
    /// # Errors
    /// `Number` where its spelling is not ECMAScript's or it is an integer beyond ±(2^53−1).
    pub fn number(&mut self) -> Result<f64, CanonicalError> {
        let from = self.at;
        self.at += number_len(&self.bytes[from..]);
        canonical_number(&self.bytes[from..self.at]).ok_or(CanonicalError::Number(from))
    }

    /// Takes any value and gives its bytes. `depth` is how many containers are around it.
    ///
    /// # Errors
    /// [`CanonicalError`] at the first byte that is not canonical.
    pub fn value(&mut self, depth: usize) -> Result<&'a [u8], CanonicalError> {
        let from = self.at;
        match self.peek().ok_or(CanonicalError::Truncated(self.at))? {
            b'"' => {
                self.string()?;
            }
            b'{' => self.object(depth)?,
            b'[' => self.array(depth)?,
            b'n' => self.literal(b"null")?,
            b't' => self.literal(b"true")?,
            b'f' => self.literal(b"false")?,
            _ => {
                self.number()?;
            }
        }
        Ok(&self.bytes[from..self.at])
    }

    /// Takes an object by counting its braces, without checking what is between them; for bytes that were
    /// checked otherwise. `_depth` is there so that it can stand in for [`Scanner::value`].
    ///
    /// # Errors
    /// `Truncated` where the object does not end, `Unexpected` where none begins.
    pub fn skim(&mut self, _depth: usize) -> Result<&'a [u8], CanonicalError> {
        let from = self.at;
        if self.peek() != Some(b'{') {
            return Err(CanonicalError::Unexpected(self.at));
        }
        let (mut open, mut at) = (0usize, from);
        while let Some(&byte) = self.bytes.get(at) {
            at += 1;
            match byte {
                b'"' => at = self.end_of_string(at)?,
                b'{' => open += 1,
                b'}' => {
                    open -= 1;
                    if open == 0 {
                        self.at = at;
                        return Ok(&self.bytes[from..at]);
                    }
                }
                _ => {}
            }
        }
        Err(CanonicalError::Truncated(self.bytes.len()))
    }

    /// The offset behind the quote that ends the string whose first character is at `at`.
    fn end_of_string(&self, mut at: usize) -> Result<usize, CanonicalError> {
        loop {
            let rest = self.bytes.get(at..).unwrap_or_default();
            let plain = plain_len(rest);
            match rest.get(plain) {
                None => return Err(CanonicalError::Truncated(self.bytes.len())),
                Some(b'"') => return Ok(at + plain + 1),
                Some(b'\\') => at += plain + 2,
                Some(_) => at += plain + 1,
            }
        }
    }

    fn array(&mut self, depth: usize) -> Result<(), CanonicalError> {
        let depth = deeper(depth)?;
        self.literal(b"[")?;
        if self.take_if(b"]") {
            return Ok(());
        }
        loop {
            self.value(depth)?;
            if !self.take_if(b",") {
                return self.literal(b"]");
            }
        }
    }

    fn object(&mut self, depth: usize) -> Result<(), CanonicalError> {
        let depth = deeper(depth)?;
        self.literal(b"{")?;
        if self.take_if(b"}") {
            return Ok(());
        }
        let mut last: Option<&'a [u8]> = None;
        loop {
            let at = self.at;
            let key = self.string()?;
            if last.is_some_and(|last| !in_order(last, key)) {
                return Err(CanonicalError::Order(at));
            }
            last = Some(key);
            self.literal(b":")?;
            self.value(depth)?;
            if !self.take_if(b",") {
                return self.literal(b"}");
            }
        }
    }

    /// Takes a string and gives its raw bytes between the quotes, escapes as they stand.
    fn string(&mut self) -> Result<&'a [u8], CanonicalError> {
        self.literal(b"\"")?;
        let from = self.at;
        loop {
            self.at += plain_len(&self.bytes[self.at..]);
            match self.bytes.get(self.at) {
                None => return Err(CanonicalError::Truncated(self.at)),
                Some(b'"') => break,
                Some(b'\\') => self.escape()?,
                Some(_) => return Err(CanonicalError::Text(self.at)),
            }
        }
        let raw = &self.bytes[from..self.at];
        if self.text.is_none() && std::str::from_utf8(raw).is_err() {
            return Err(CanonicalError::Text(from));
        }
        self.at += 1;
        Ok(raw)
    }

    fn escape(&mut self) -> Result<(), CanonicalError> {
        let rest = &self.bytes[self.at..];
        let len = match rest.get(1) {
            Some(b'"' | b'\\' | b'b' | b'f' | b'n' | b'r' | b't') => 2,
            Some(b'u') => {
                let canonical = (0u8..0x20)
                    .filter(|b| !matches!(b, 0x08 | 0x0c | b'\n' | b'\r' | b'\t'))
                    .any(|b| rest.starts_with(&control_escape(b)));
                if !canonical {
                    return Err(CanonicalError::Text(self.at));
                }
                6
            }
            _ => return Err(CanonicalError::Text(self.at)),
        };
        self.at += len;
        Ok(())
    }
}

/// How many bytes at the beginning can belong to a number.
pub(crate) fn number_len(bytes: &[u8]) -> usize {
    let in_number = |b: &&u8| matches!(b, b'0'..=b'9' | b'-' | b'+' | b'.' | b'e');
    bytes.iter().take_while(in_number).count()
}

/// The number that is spelled so; `None` for any spelling but ECMAScript's, or an integer beyond ±(2^53−1).
pub(crate) fn canonical_number(token: &[u8]) -> Option<f64> {
    short_integer(token)
        .or_else(|| short_decimal(token))
        .or_else(|| number_of(token))
}

/// The same for integers that are not negative.
pub(crate) fn canonical_unsigned(token: &[u8]) -> Option<u64> {
    // Sixteen digits fit; more are too large.
    if token.is_empty() || token.len() > 16 || (token[0] == b'0' && token.len() > 1) {
        return None;
    }
    let value = token.iter().try_fold(0u64, |n, b| {
        b.is_ascii_digit().then(|| n * 10 + u64::from(b - b'0'))
    })?;
    (value <= INTEGER_MAX as u64).then_some(value)
}

/// How many bytes come before the first quote, backslash or control character, eight at a time.
fn plain_len(bytes: &[u8]) -> usize {
    const ONES: u64 = u64::MAX / 255;
    const HIGH: u64 = ONES * 0x80;
    let mut words = bytes.chunks_exact(8);
    let mut at = 0;
    for word in &mut words {
        let word = u64::from_le_bytes(word.try_into().expect("a chunk of eight bytes"));
        let quote = word ^ (ONES * b'"' as u64);
        let backslash = word ^ (ONES * b'\\' as u64);
        // A byte that borrows sets its high bit: exact for the lowest such byte, which is the one wanted.
        let stop = (quote.wrapping_sub(ONES) & !quote)
            | (backslash.wrapping_sub(ONES) & !backslash)
            | (word.wrapping_sub(ONES * 0x20) & !word);
        if stop & HIGH != 0 {
            return at + ((stop & HIGH).trailing_zeros() / 8) as usize;
        }
        at += 8;
    }
    let rest = words.remainder();
    let stop = rest.iter().position(|b| matches!(b, b'"' | b'\\' | 0..=0x1f));
    at + stop.unwrap_or(rest.len())
}

/// Most digits of a decimal that is the only one of its length for its float: DBL_DIG.
const EXACT_DIGITS: usize = 15;

/// A decimal of at most fifteen digits, from 1e-6 on, without needless zeros. No other decimal of at most fifteen
/// digits gives the same float, so it is the shortest, which is what ECMAScript writes; and the quotient of two
/// exact floats is rounded correctly.
fn short_decimal(token: &[u8]) -> Option<f64> {
    const POWERS: [f64; EXACT_DIGITS + 1] = [
        1e0, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9, 1e10, 1e11, 1e12, 1e13, 1e14, 1e15,
    ];
    let (negative, digits) = match token {
        [b'-', rest @ ..] => (true, rest),
        _ => (false, token),
    };
    if digits.len() > EXACT_DIGITS + 1 {
        return None;
    }
    let point = digits.iter().position(|b| *b == b'.')?;
    let (whole, fraction) = (&digits[..point], &digits[point + 1..]);
    let needless = whole.len() > 1 && whole[0] == b'0' || fraction.last() == Some(&b'0');
    if whole.is_empty() || fraction.is_empty() || needless {
        return None;
    }
    let number = whole.iter().chain(fraction).try_fold(0u64, |n, b| {
        b.is_ascii_digit().then(|| n * 10 + u64::from(b - b'0'))
    })?;
    let value = number as f64 / POWERS[fraction.len()];
    if value < 1e-6 {
        return None;
    }
    Some(if negative { -value } else { value })
}

/// Up to fifteen digits without a leading zero: the numbers that need no float.
fn short_integer(token: &[u8]) -> Option<f64> {
    let (negative, digits) = match token {
        [b'-', rest @ ..] => (true, rest),
        _ => (false, token),
    };
    if digits.is_empty() || digits.len() > 15 || (digits[0] == b'0' && (digits.len() > 1 || negative)) {
        return None;
    }
    let value = digits.iter().try_fold(0u64, |n, b| {
        b.is_ascii_digit().then(|| n * 10 + u64::from(b - b'0'))
    })?;
    Some(if negative { -(value as f64) } else { value as f64 })
}

fn number_of(token: &[u8]) -> Option<f64> {
    let text = std::str::from_utf8(token).ok()?;
    if !text.starts_with(|c: char| c == '-' || c.is_ascii_digit()) {
        return None;
    }
    let value: f64 = text.parse().ok()?;
    let mut again = Vec::with_capacity(24);
    write_number(&mut again, value).ok()?;
    (again == token).then_some(value)
}

/// Whether two member names (raw, escapes as they stand) are in strictly rising order.
fn in_order(a: &[u8], b: &[u8]) -> bool {
    let simple = |s: &[u8]| s.iter().all(|c| c.is_ascii() && *c != b'\\');
    if simple(a) && simple(b) {
        return a < b;
    }
    match (unescape(a), unescape(b)) {
        (Some(a), Some(b)) => utf16_order(&a, &b) == Ordering::Less,
        _ => false,
    }
}

fn unescape(raw: &[u8]) -> Option<String> {
    let quoted = [b"\"", raw, b"\""].concat();
    serde_json::from_slice(&quoted).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::json;

    fn canonical(value: &Value) -> String {
        String::from_utf8(Canonical::of(value).expect("canonical").as_bytes().to_vec()).expect("UTF-8")
    }

    #[test]
    fn rfc_8785_example_is_written_as_printed_there() {
        let value: Value = serde_json::from_str(
            r#"{"numbers":[333333333.33333329,4.50,2e-3,0.000000000000000000000000001],
               "string":"\u20ac$\u000F\u000aA'\u0042\u0022\u005c\\\"\/","literals":[null,true,false]}"#,
        )
        .expect("JSON");
        assert_eq!(
            canonical(&value),
            "{\"literals\":[null,true,false],\"numbers\":[333333333.3333333,4.5,0.002,1e-27],\
             \"string\":\"€$\\u000f\\nA'B\\\"\\\\\\\\\\\"/\"}"
        );
    }

    #[test]
    fn members_are_sorted_by_utf_16_code_units() {
        let value =
            json!({"\u{20ac}": 1, "\r": 2, "\u{fb33}": 3, "1": 4, "\u{1f600}": 5, "\u{80}": 6, "\u{f6}": 7});
        let text = canonical(&value);
        let order: Vec<usize> = [
            "\\r",
            "\"1\"",
            "\u{80}",
            "\u{f6}",
            "\u{20ac}",
            "\u{1f600}",
            "\u{fb33}",
        ]
        .iter()
        .map(|k| text.find(k).expect("there"))
        .collect();
        assert!(order.is_sorted(), "{text}");
        assert_eq!(check(text.as_bytes()), Ok(()));
    }

    #[test]
    fn other_spellings_are_refused() {
        for bad in [
            "{ }",
            "[1, 2]",
            "1.0",
            "01",
            "-0",
            "1E5",
            "1e5",
            "+1",
            "\"\\u0041\"",
            "\"\\/\"",
            "\"\\u000A\"",
            "\"\\u000a\"",
            "{\"b\":1,\"a\":2}",
            "{\"a\":1,\"a\":2}",
            "9007199254740992",
            "nul",
            "",
            "[",
            "{\"a\"",
            "\"\u{7}\"",
            "NaN",
            "1e400",
            "[1]x",
            "\"\\ud800\"",
        ] {
            assert!(check(bad.as_bytes()).is_err(), "{bad}");
        }
        for good in [
            "{}",
            "[1,2]",
            "1.5",
            "-1",
            "1e-7",
            "\"\\u000f\"",
            "\"\\n\"",
            "{\"a\":1,\"b\":2}",
            "9007199254740991",
            "null",
        ] {
            assert_eq!(check(good.as_bytes()), Ok(()), "{good}");
        }
    }

    #[test]
    fn seventeen_levels_are_one_too_many() {
        let nested = |n: usize| format!("{}{}", "[".repeat(n), "]".repeat(n));
        assert_eq!(check(nested(16).as_bytes()), Ok(()));
        assert_eq!(check(nested(17).as_bytes()), Err(CanonicalError::Nesting));
    }

    fn any_json() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::Bool),
            (-(1i64 << 53) + 1..(1i64 << 53)).prop_map(|n| json!(n)),
            (-1e15f64..1e15).prop_map(|n| json!(n)),
            (-1.0f64..1.0).prop_map(|n| json!(n)),
            any::<String>().prop_map(Value::String),
        ];
        leaf.prop_recursive(4, 32, 6, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..6).prop_map(Value::Array),
                prop::collection::btree_map(any::<String>(), inner, 0..6)
                    .prop_map(|m| Value::Object(m.into_iter().collect())),
            ]
        })
    }

    proptest! {
        #[test]
        fn agrees_with_another_implementation(value in any_json()) {
            let ours = canonical(&value);
            let theirs = serde_json_canonicalizer::to_string(&value).expect("theirs");
            prop_assert_eq!(&ours, &theirs);
            prop_assert_eq!(check(ours.as_bytes()), Ok(()));
        }

        #[test]
        fn the_scanner_accepts_only_what_the_writer_writes(bytes in prop::collection::vec(any::<u8>(), 0..64)) {
            if check(&bytes).is_ok() {
                let value: Value = serde_json::from_slice(&bytes).expect("canonical JSON is JSON");
                prop_assert_eq!(canonical(&value).into_bytes(), bytes);
            }
        }

        #[test]
        fn the_short_ways_to_read_a_number_agree_with_the_long_one(
            token in prop_oneof!["-?(0|[1-9][0-9]{0,9})\\.[0-9]{1,9}", "-?0\\.0{0,8}[0-9]{1,7}", "[-0-9.]{1,20}"]
        ) {
            let token = token.as_bytes();
            for short in [short_decimal(token), short_integer(token)].into_iter().flatten() {
                prop_assert_eq!(number_of(token).map(f64::to_bits), Some(short.to_bits()));
            }
        }

        #[test]
        fn plain_runs_end_at_the_same_byte_however_they_are_counted(
            bytes in prop::collection::vec(prop_oneof![Just(b'"'), Just(b'\\'), any::<u8>(), any::<u8>(), 0x20u8..0x80], 0..40)
        ) {
            let slow = bytes.iter().position(|b| matches!(b, b'"' | b'\\' | 0..=0x1f)).unwrap_or(bytes.len());
            prop_assert_eq!(plain_len(&bytes), slow);
        }

        #[test]
        fn a_changed_byte_is_refused_or_another_canonical_value(value in any_json(), at in any::<prop::sample::Index>(), with in any::<u8>()) {
            let mut bytes = canonical(&value).into_bytes();
            let at = at.index(bytes.len());
            bytes[at] = with;
            if check(&bytes).is_ok() {
                let value: Value = serde_json::from_slice(&bytes).expect("canonical JSON is JSON");
                prop_assert_eq!(canonical(&value).into_bytes(), bytes);
            }
        }
    }
}
