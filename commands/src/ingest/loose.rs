//! JSON values of a native body before anybody has said what they should be.
//!
//! A scalar of the wrong type must be refused by its path, so a field is first taken as whatever it is; texts
//! are borrowed, anything nested is skipped without being built, lists stop at their limit.
//! Not here: what a field means (`native`).

use serde::de::{Deserialize, Deserializer, Error, IgnoredAny, MapAccess, SeqAccess, Visitor};
use std::borrow::Cow;
use std::fmt;
use std::marker::PhantomData;

/// One JSON value, unless it is nested.
#[derive(Debug, Default)]
pub(super) enum Loose<'a> {
    #[default]
    Absent,
    Null,
    Bool(bool),
    Number(f64),
    Text(Cow<'a, str>),
    List,
    Object,
}

impl Loose<'_> {
    pub(super) const fn is_absent(&self) -> bool {
        matches!(self, Self::Absent)
    }

    /// For a sentence: "must be a number, not …".
    pub(super) const fn what(&self) -> &'static str {
        match self {
            Self::Absent => "missing",
            Self::Null => "null",
            Self::Bool(_) => "a boolean",
            Self::Number(_) => "a number",
            Self::Text(_) => "a text",
            Self::List => "a list",
            Self::Object => "an object",
        }
    }
}

impl<'de: 'a, 'a> Deserialize<'de> for Loose<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(LooseVisitor(PhantomData))
    }
}

struct LooseVisitor<'a>(PhantomData<&'a ()>);

impl<'de: 'a, 'a> Visitor<'de> for LooseVisitor<'a> {
    type Value = Loose<'a>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("any value")
    }

    fn visit_unit<E: Error>(self) -> Result<Loose<'a>, E> {
        Ok(Loose::Null)
    }

    fn visit_bool<E: Error>(self, value: bool) -> Result<Loose<'a>, E> {
        Ok(Loose::Bool(value))
    }

    fn visit_i64<E: Error>(self, value: i64) -> Result<Loose<'a>, E> {
        Ok(Loose::Number(value as f64))
    }

    fn visit_u64<E: Error>(self, value: u64) -> Result<Loose<'a>, E> {
        Ok(Loose::Number(value as f64))
    }

    fn visit_f64<E: Error>(self, value: f64) -> Result<Loose<'a>, E> {
        Ok(Loose::Number(value))
    }

    fn visit_borrowed_str<E: Error>(self, value: &'de str) -> Result<Loose<'a>, E> {
        Ok(Loose::Text(Cow::Borrowed(value)))
    }

    fn visit_str<E: Error>(self, value: &str) -> Result<Loose<'a>, E> {
        Ok(Loose::Text(Cow::Owned(value.to_owned())))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Loose<'a>, A::Error> {
        while seq.next_element::<IgnoredAny>()?.is_some() {}
        Ok(Loose::List)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Loose<'a>, A::Error> {
        while map.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
        Ok(Loose::Object)
    }
}

/// What takes the entries of a list, one by one as they are read.
pub(super) trait Collect<'de>: Default {
    /// Most entries the list may have.
    const MAX: usize;
    /// One entry.
    type Item: Deserialize<'de>;

    /// Takes the next entry; it is never called more than `MAX` times.
    fn push(&mut self, entry: Self::Item);
}

/// A list that stops at its limit, however long the body is.
pub(super) struct List<C>(pub(super) C);

impl<'de, C: Collect<'de>> Deserialize<'de> for List<C> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_seq(ListVisitor(PhantomData))
    }
}

struct ListVisitor<C>(PhantomData<C>);

impl<'de, C: Collect<'de>> Visitor<'de> for ListVisitor<C> {
    type Value = List<C>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "a list of 1 to {} entries", C::MAX)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Self::Value, A::Error> {
        let mut list = C::default();
        let mut count = 0;
        while let Some(entry) = seq.next_element()? {
            if count == C::MAX {
                return Err(Error::custom(format_args!(
                    "a list of more than {} entries",
                    C::MAX
                )));
            }
            count += 1;
            list.push(entry);
        }
        Ok(List(list))
    }
}
