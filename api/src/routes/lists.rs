//! Lists: how long an answer is and where the next one starts.
//!
//! Invariants: a cursor is opaque, says which list it is of, and stays good when the list grows; a list is in
//! order of creation, which is the order of first entries' positions.
//! Source: REFERENCE §1.0. Not here: lists of measurements (`measurements`).

use crate::errors::ApiError;
use crate::reply::Page;
use crate::request::Request;
use domain::Position;
use domain::hash::{base64url, from_base64url};

/// Things of one answer unless asked otherwise.
const LIMIT_DEFAULT: usize = 100;
/// Most things of one answer.
pub const LIMIT_MAX: usize = 1_000;

/// What a request says about its list.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Listing {
    list: &'static str,
    limit: usize,
    /// The last thing of the answer before.
    pub after: Option<Position>,
}

impl Listing {
    /// Of the list with this name.
    ///
    /// # Errors
    /// 400 for a cursor that is not of this list.
    pub fn of(request: &Request, list: &'static str) -> Result<Self, ApiError> {
        Self::read(request, list, LIMIT_DEFAULT)
    }

    /// Of a list that is short, and whole unless asked otherwise.
    ///
    /// # Errors
    /// As [`Listing::of`].
    pub fn short(request: &Request, list: &'static str) -> Result<Self, ApiError> {
        Self::read(request, list, LIMIT_MAX)
    }

    fn read(request: &Request, list: &'static str, limit: usize) -> Result<Self, ApiError> {
        let limit = request.query_as::<usize>("limit", "a number")?.unwrap_or(limit);
        let after = match request.given("cursor") {
            None => None,
            Some(cursor) => Some(read(list, &cursor).ok_or_else(|| {
                ApiError::malformed(
                    "bad_cursor",
                    "this is not a cursor of this list; begin without one",
                )
            })?),
        };
        Ok(Self { list, limit, after })
    }

    /// The page that begins at the iterator, which begins behind `after`; `at` is where a thing was created.
    pub fn page<T, U>(
        &self,
        things: impl Iterator<Item = T>,
        at: impl Fn(&T) -> Position,
        show: impl Fn(T) -> U,
    ) -> Page<U> {
        let mut things = things.peekable();
        let mut data = Vec::new();
        let mut last = None;
        while data.len() < self.limit {
            let Some(thing) = things.next() else { break };
            last = Some(at(&thing));
            data.push(show(thing));
        }
        let has_more = things.peek().is_some();
        Page {
            data,
            next_cursor: last.filter(|_| has_more).map(|last| write(self.list, last)),
            has_more,
        }
    }

    /// The page of a list that is at hand, in an order of its own: its cursor counts.
    pub fn part<T>(&self, things: Vec<T>) -> Page<T> {
        let begin = self.after.map_or(0, |last| last.size_through().get() as usize);
        let counted = things.into_iter().enumerate().skip(begin);
        self.page(counted, |(n, _)| Position(*n as u64), |(_, thing)| thing)
    }

    /// How many things at most.
    pub const fn limit(&self) -> usize {
        self.limit
    }

    /// The cursor that goes on behind a position.
    pub fn cursor(&self, last: Position) -> String {
        write(self.list, last)
    }
}

fn write(list: &str, position: Position) -> String {
    base64url(format!("{list}:{position}").as_bytes())
}

fn read(list: &str, cursor: &str) -> Option<Position> {
    let text = String::from_utf8(from_base64url(cursor)?).ok()?;
    let (of, position) = text.split_once(':')?;
    (of == list)
        .then(|| position.parse().ok().map(Position))
        .flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cursor_goes_on_behind_the_last_thing_and_is_of_one_list() {
        let listing = Listing {
            list: "sites",
            limit: 2,
            after: None,
        };
        let page = listing.page([3, 5, 8].into_iter(), |n| Position(*n), |n| n);
        assert_eq!(page.data, [3, 5]);
        assert!(page.has_more);
        let cursor = page.next_cursor.expect("there is more");
        assert_eq!(read("sites", &cursor), Some(Position(5)));
        assert_eq!(read("devices", &cursor), None);
        assert_eq!(read("sites", "x"), None);
        let last = listing.page([8].into_iter(), |n| Position(*n), |n| n);
        assert_eq!((last.has_more, last.next_cursor), (false, None));
    }
}
