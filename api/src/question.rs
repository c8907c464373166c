//! What a request may ask: the parameters that its route's document names, each once, each with a word, number or id
//! that belongs there.
//!
//! Invariants: one list, the table's, is both what is taken and what the OpenAPI document says; a parameter that nobody
//! knows is refused and not passed over, because an answer to another question than the one that was asked looks like an
//! answer; one that is given without a value is not given.
//! Not here: ingest, where vendors send what they like (`routes::ingest`); pages, which show what they made of a query;
//! times, and whether what an id names is there (handlers).

use crate::errors::ApiError;
use crate::request::{Request, pairs};
use crate::router::{Access, Doc, Route, Verb};
use domain::ids::{ID_TEXT, IdKind};
use serde_json::{Value, json};
use std::fmt::Display;

/// Most characters of what somebody sent that are said back.
const SAID_BACK_MAX: usize = 40;
/// Words that a refusal lists; of more it says where they stand.
const WORDS_LISTED_MAX: usize = 24;
/// Why something is changed: taken by every change, where its body says nothing of it.
pub const REASON: &str = "reason";

/// A parameter of a query.
#[derive(Debug, Clone, Copy)]
pub struct Param {
    /// Its name.
    pub name: &'static str,
    /// What it does.
    pub about: &'static str,
    /// What belongs there.
    pub takes: Takes,
}

/// What a parameter takes.
#[derive(Debug, Clone, Copy)]
pub enum Takes {
    /// Text, which the handler reads.
    Text,
    /// A time with a zone, which the handler reads.
    Time,
    /// A whole number from the one to the other.
    Number(u64, u64),
    /// `true` or `false`.
    Flag,
    /// One of these words.
    OneOf(fn() -> Vec<&'static str>),
    /// Some of these words, with commas between them.
    AnyOf(fn() -> Vec<&'static str>),
    /// The id of one of these.
    Id(&'static [IdKind]),
}

impl Param {
    /// Text.
    pub const fn text(name: &'static str, about: &'static str) -> Self {
        Self::of(name, about, Takes::Text)
    }

    /// A time with a zone.
    pub const fn time(name: &'static str, about: &'static str) -> Self {
        Self::of(name, about, Takes::Time)
    }

    /// A whole number from `least` to `most`.
    pub const fn number(name: &'static str, least: u64, most: u64, about: &'static str) -> Self {
        Self::of(name, about, Takes::Number(least, most))
    }

    /// `true` or `false`.
    pub const fn flag(name: &'static str, about: &'static str) -> Self {
        Self::of(name, about, Takes::Flag)
    }

    /// One of some words.
    pub const fn one_of(name: &'static str, words: fn() -> Vec<&'static str>, about: &'static str) -> Self {
        Self::of(name, about, Takes::OneOf(words))
    }

    /// Some of these words, with commas between them.
    pub const fn any_of(name: &'static str, words: fn() -> Vec<&'static str>, about: &'static str) -> Self {
        Self::of(name, about, Takes::AnyOf(words))
    }

    /// The id of something of one of these kinds.
    pub const fn id(name: &'static str, kinds: &'static [IdKind], about: &'static str) -> Self {
        Self::of(name, about, Takes::Id(kinds))
    }

    const fn of(name: &'static str, about: &'static str, takes: Takes) -> Self {
        Self { name, about, takes }
    }

    /// What does not belong there, in words.
    fn refuse(&self, value: &str) -> Result<(), String> {
        let (name, said) = (self.name, said_back(value));
        match self.takes {
            Takes::Text | Takes::Time => Ok(()),
            Takes::Number(least, most) => match value.parse::<u64>() {
                Ok(number) if (least..=most).contains(&number) => Ok(()),
                _ if most == u64::MAX => Err(format!(
                    "'{name}' must be a whole number from {least}, not '{said}'"
                )),
                _ => Err(format!(
                    "'{name}' must be a whole number from {least} to {most}, not '{said}'"
                )),
            },
            Takes::Flag if matches!(value, "true" | "false") => Ok(()),
            Takes::Flag => Err(format!("'{name}' must be true or false, not '{said}'")),
            Takes::OneOf(words) => one_of(name, value, &words()),
            Takes::AnyOf(words) => {
                let words = words();
                let mut parts = value.split(',').map(str::trim).filter(|part| !part.is_empty());
                parts.try_for_each(|part| one_of(name, part, &words))
            }
            Takes::Id(kinds) if kinds.iter().any(|kind| kind.is(value)) => Ok(()),
            Takes::Id(kinds) => {
                let kinds = kinds.iter().filter(|kind| !kind.prefix().is_empty());
                let kinds = kinds.map(|kind| format!("{}…", kind.prefix()));
                Err(format!(
                    "'{name}' must be an id such as {}, not '{said}'",
                    or(kinds)
                ))
            }
        }
    }

    /// What the OpenAPI document says of it.
    pub fn described(&self) -> Value {
        let schema = match self.takes {
            Takes::Text => json!({"type": "string"}),
            Takes::Time => json!({"type": "string", "format": "date-time"}),
            Takes::Number(least, u64::MAX) => json!({"type": "integer", "minimum": least}),
            Takes::Number(least, most) => json!({"type": "integer", "minimum": least, "maximum": most}),
            Takes::Flag => json!({"type": "boolean"}),
            Takes::OneOf(words) => json!({"type": "string", "enum": words()}),
            Takes::AnyOf(words) => json!({"type": "array", "items": {"type": "string", "enum": words()}}),
            Takes::Id(kinds) => {
                let kinds: Vec<&str> = kinds.iter().map(|kind| kind.prefix()).collect();
                json!({"type": "string", "pattern": format!("^({})[a-z2-7]{{{ID_TEXT}}}$", kinds.join("|"))})
            }
        };
        let mut described = json!({
            "name": self.name, "in": "query", "description": self.about, "schema": schema,
        });
        if matches!(self.takes, Takes::AnyOf(_)) {
            (described["style"], described["explode"]) = (json!("form"), json!(false));
        }
        described
    }
}

fn one_of(name: &str, value: &str, words: &[&'static str]) -> Result<(), String> {
    if words.contains(&value) {
        return Ok(());
    }
    let said = said_back(value);
    Err(if words.len() > WORDS_LISTED_MAX {
        format!(
            "'{name}': there is no '{said}'; /openapi.json lists the {} words that there are",
            words.len()
        )
    } else {
        format!("'{name}' must be {}, not '{said}'", or(words))
    })
}

/// The one of `all` that is called `text`, for handlers that read a parameter with a word.
///
/// # Errors
/// 400 `bad_query`, which says what the words are.
pub fn find<'a, T>(
    name: &str,
    text: &str,
    all: &'a [T],
    called: impl Fn(&T) -> &'static str,
) -> Result<&'a T, ApiError> {
    all.iter().find(|one| called(one) == text).ok_or_else(|| {
        let words: Vec<&'static str> = all.iter().map(&called).collect();
        let refused = one_of(name, text, &words).err().unwrap_or_default();
        ApiError::malformed("bad_query", refused)
    })
}

/// `a, b or c`.
fn or(words: impl IntoIterator<Item = impl Display>) -> String {
    let words: Vec<String> = words.into_iter().map(|word| word.to_string()).collect();
    match words.split_last() {
        Some((last, [])) => last.clone(),
        Some((last, others)) => format!("{} or {last}", others.join(", ")),
        None => String::new(),
    }
}

/// What somebody sent, short, and without what a terminal would take for a command.
fn said_back(value: &str) -> String {
    let plain = value.chars().map(|c| if c.is_control() { '?' } else { c });
    let mut said: String = plain.clone().take(SAID_BACK_MAX).collect();
    if plain.count() > SAID_BACK_MAX {
        said.push('…');
    }
    said
}

/// Holds a request's query against what its route takes.
///
/// # Errors
/// 400 `bad_query`, naming the parameter and what belongs there.
pub fn check(route: &Route, request: &Request) -> Result<(), ApiError> {
    match &route.doc {
        Some(doc) if route.path.starts_with("/v1/") && route.access != Access::Ingest => {
            let takes_reason = route.verb != Verb::Get;
            check_pairs(doc, takes_reason, request.raw_query())
                .map_err(|words| ApiError::malformed("bad_query", words))
        }
        _ => Ok(()),
    }
}

fn check_pairs(doc: &Doc, takes_reason: bool, query: &str) -> Result<(), String> {
    let mut seen: Vec<&'static str> = Vec::new();
    for (name, value) in pairs(query) {
        let known = doc.query.iter().find(|param| *param.name == *name);
        let name = match known {
            Some(param) => param.name,
            None if takes_reason && name == REASON => REASON,
            None => return Err(unknown(doc, takes_reason, &name)),
        };
        if seen.contains(&name) {
            return Err(format!("'{name}' stands twice: give it once"));
        }
        seen.push(name);
        if let Some(param) = known.filter(|_| !value.is_empty()) {
            param.refuse(&value)?;
        }
    }
    Ok(())
}

fn unknown(doc: &Doc, takes_reason: bool, name: &str) -> String {
    let said = said_back(name);
    let mut known: Vec<&str> = doc.query.iter().map(|param| param.name).collect();
    if takes_reason && !known.contains(&REASON) {
        known.push(REASON);
    }
    if known.is_empty() {
        format!("there is no parameter '{said}' here: this takes none")
    } else {
        format!(
            "there is no parameter '{said}' here: this takes {}",
            known.join(", ")
        )
    }
}

/// Refuses a range that ends before it begins, or where it does.
///
/// # Errors
/// 400 `bad_query`.
pub fn in_order<T: PartialOrd>(from: (&str, Option<T>), to: (&str, Option<T>)) -> Result<(), ApiError> {
    match (&from.1, &to.1) {
        (Some(begin), Some(end)) if begin >= end => Err(ApiError::malformed(
            "bad_query",
            format!("'{}' must be before '{}'", from.0, to.0),
        )),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DOC: Doc = Doc {
        summary: "",
        query: &[
            Param::one_of("what", || vec!["a", "b", "c"], ""),
            Param::any_of("type", || vec!["X", "Y"], ""),
            Param::number("limit", 1, 10, ""),
            Param::number("from", 0, u64::MAX, ""),
            Param::flag("active", ""),
            Param::id("subject", &[IdKind::Site, IdKind::Device], ""),
            Param::text("name", ""),
        ],
        body: None,
        status: 200,
        answer: "Nothing",
    };

    #[test]
    fn what_belongs_there_passes_and_nothing_given_is_not_given() {
        let site = IdKind::Site.id(&[7; 16]);
        for query in [
            "",
            "what=a&limit=10&from=0&active=false&name=%20&type=X,%20Y",
            "what=&limit=&active=&type=&subject=",
            &format!("subject={site}"),
        ] {
            assert_eq!(check_pairs(&DOC, false, query), Ok(()), "{query}");
        }
        assert_eq!(check_pairs(&DOC, true, "reason=x"), Ok(()));
    }

    #[test]
    fn what_does_not_is_refused_with_what_would() {
        let channel = format!("subject={}", IdKind::Channel.id(&[7; 16]));
        let long = format!("what={}", "x".repeat(1_000));
        for (query, says) in [
            ("what=song", "'what' must be a, b or c, not 'song'"),
            ("what=A", "must be a, b or c"),
            ("type=X,Z", "must be X or Y, not 'Z'"),
            ("limit=0", "from 1 to 10, not '0'"),
            ("limit=11", "from 1 to 10"),
            ("limit=1e1", "from 1 to 10"),
            ("from=-1", "a whole number from 0, not '-1'"),
            ("from=18446744073709551616", "a whole number"),
            ("active=yes", "true or false, not 'yes'"),
            ("subject=x", "site_… or dev_…"),
            (&channel, "site_… or dev_…"),
            ("limit=1&limit=2", "'limit' stands twice"),
            (
                "Limit=1",
                "no parameter 'Limit' here: this takes what, type, limit",
            ),
            ("reason=x", "no parameter 'reason'"),
            ("what=%1b%5b2J", "not '?[2J'"),
            (&long, "xxx…'"),
        ] {
            let refused = check_pairs(&DOC, false, query).expect_err(query);
            assert!(refused.contains(says), "{query}: {refused}");
            assert!(refused.len() < 300, "{refused}");
        }
        let none = Doc { query: &[], ..DOC };
        assert!(
            check_pairs(&none, false, "a=1")
                .expect_err("unknown")
                .contains("takes none")
        );
    }

    #[test]
    fn a_range_goes_forwards() {
        assert!(in_order(("from", Some(1)), ("to", Some(2))).is_ok());
        assert!(in_order(("from", Some(1)), ("to", None)).is_ok());
        for to in [1, 0] {
            let refused = in_order(("from", Some(1)), ("to", Some(to))).expect_err("backwards");
            assert_eq!(refused.code, "bad_query");
        }
    }
}
