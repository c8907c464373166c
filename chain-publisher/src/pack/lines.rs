//! Lines of a day's stream map, with the proofs that they are there and that no other is between them.
//!
//! Invariants: a line that is read writes back to the same bytes; who has a line's proof under the root of its day knows
//! its index, and neighbours by index have nothing between them.
//! Source: FORMAT §5, §7.
//! Not here: what the entries of a stream are (`streams`).

use domain::canonical::Canonical;
use domain::hash::{base64url, leaf_hash, sha256};
use domain::levels::{audit_path, levels, root};
use domain::proof::verify_inclusion;
use domain::stream::{LINE_BYTES, blind};
use domain::{Date, Hash, Position, TreeSize};
use serde::{Deserialize, Serialize};
use std::ops::Range;

/// Characters of a line without its line feed.
const TEXT_BYTES: usize = LINE_BYTES - 1;
/// Characters of a blinded name.
const NAME_BYTES: usize = 22;

/// All lines of a map, as a tree.
pub struct LineTree {
    lines: Vec<u8>,
    levels: Vec<Vec<Hash>>,
}

impl LineTree {
    /// Of the lines as they are kept; `None` where they are no lines or not in order.
    pub fn new(lines: Vec<u8>) -> Option<Self> {
        let whole = lines.len().is_multiple_of(LINE_BYTES);
        let ends = lines
            .chunks_exact(LINE_BYTES)
            .all(|line| line[TEXT_BYTES] == b'\n' && line.is_ascii());
        if !whole || !ends || !lines.chunks_exact(LINE_BYTES).is_sorted_by(|a, b| a < b) {
            return None;
        }
        let levels = levels(lines.chunks_exact(LINE_BYTES).map(leaf_hash).collect());
        Some(Self { lines, levels })
    }

    /// How many lines.
    pub fn count(&self) -> u64 {
        (self.lines.len() / LINE_BYTES) as u64
    }

    /// The root over them.
    pub fn root(&self) -> Hash {
        root(&self.levels)
    }

    /// The `index`-th line without its line feed.
    pub fn text(&self, index: u64) -> &str {
        let at = index as usize * LINE_BYTES;
        std::str::from_utf8(&self.lines[at..at + TEXT_BYTES]).unwrap_or_default()
    }

    /// The lines that begin so.
    pub fn range(&self, prefix: &str) -> Range<u64> {
        let part = |lines: Range<u64>, before: fn(std::cmp::Ordering) -> bool| {
            let (mut from, mut to) = (lines.start, lines.end);
            while from < to {
                let middle = from + (to - from) / 2;
                let ordering = self
                    .text(middle)
                    .get(..prefix.len())
                    .unwrap_or_default()
                    .cmp(prefix);
                if before(ordering) {
                    from = middle + 1;
                } else {
                    to = middle;
                }
            }
            from
        };
        let all = 0..self.count();
        part(all.clone(), std::cmp::Ordering::is_lt)..part(all, std::cmp::Ordering::is_le)
    }

    /// The audit path of the `index`-th line, from the leaf up.
    pub fn proof(&self, index: u64) -> Vec<Hash> {
        audit_path(&self.levels, index as usize).unwrap_or_default()
    }
}

/// What the lines of an owner begin with.
pub fn prefix(account: &str, owner: &str) -> String {
    format!("{} {} ", base64url(&blind(account)), base64url(&blind(owner)))
}

/// A stream's blinded name.
pub fn blinded(stream: &str) -> String {
    base64url(&blind(stream))
}

/// A line of `streams.ndjson`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MapLine {
    /// The stream's chain value before its first entry of the day, where nothing else in the pack tells it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub before: Option<Hash>,
    /// The day, as its `DayClosed` names it.
    pub date: Date,
    /// Which line of the map.
    pub index: u64,
    /// The line without its line feed.
    pub line: String,
    /// What the line's hash is of; absent where the line is a neighbour.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub opening: Option<String>,
    /// The audit path, from the leaf up.
    pub proof: Vec<Hash>,
}

/// What a line's hash is of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Opening {
    /// Sequence of the first entry of the day.
    pub first: u64,
    /// Sequence of the last.
    pub last: u64,
    /// Chain value at the last.
    pub chain: Hash,
}

impl Opening {
    /// Reads the text, strictly.
    pub fn parse(text: &str) -> Option<Self> {
        let mut parts = text.strip_suffix('\n')?.split(' ');
        let (first, last) = (parts.next()?.parse().ok()?, parts.next()?.parse().ok()?);
        let opening = Self {
            first,
            last,
            chain: Hash::from_base64(parts.next()?)?,
        };
        let whole = parts.next().is_none() && first >= 1 && last >= first && last < u64::MAX;
        (whole && opening.text() == text).then_some(opening)
    }

    /// The text.
    pub fn text(&self) -> String {
        format!("{} {} {}\n", self.first, self.last, self.chain)
    }
}

impl MapLine {
    /// The line of the file, with its line feed.
    pub fn encode(&self) -> Vec<u8> {
        let canonical = Canonical::from_serialize(self);
        let mut bytes = canonical.map(|it| it.as_bytes().to_vec()).unwrap_or_default();
        bytes.push(b'\n');
        bytes
    }

    /// Reads a line of the file, without its line feed.
    pub fn decode(bytes: &[u8]) -> Result<Self, String> {
        let line: Self = serde_json::from_slice(bytes).map_err(|error| error.to_string())?;
        if line.encode().strip_suffix(b"\n") != Some(bytes) {
            return Err("not canonical".to_owned());
        }
        let spaces = [NAME_BYTES, 2 * NAME_BYTES + 1, 3 * NAME_BYTES + 2];
        let shaped = line.line.len() == TEXT_BYTES
            && line.line.is_ascii()
            && !line.line.contains('\n')
            && spaces.iter().all(|at| line.line.as_bytes()[*at] == b' ');
        if shaped {
            Ok(line)
        } else {
            Err("its line is none of a stream map".to_owned())
        }
    }

    /// Account and owner, and the space behind them.
    pub fn owner(&self) -> &str {
        &self.line[..2 * NAME_BYTES + 2]
    }

    /// The stream's blinded name.
    pub fn stream(&self) -> &str {
        &self.line[2 * NAME_BYTES + 2..3 * NAME_BYTES + 2]
    }

    /// That the line is where it says, under the day's root, and that its hash is of its opening.
    pub fn check(&self, root: &Hash, count: u64) -> Result<Option<Opening>, String> {
        let leaf = leaf_hash(format!("{}\n", self.line).as_bytes());
        verify_inclusion(&leaf, Position(self.index), TreeSize(count), &self.proof, root)
            .map_err(|error| error.to_string())?;
        let Some(text) = &self.opening else {
            return match self.before {
                None => Ok(None),
                Some(_) => Err("a chain value before a stream that is not shown".to_owned()),
            };
        };
        let opening = Opening::parse(text).ok_or("its opening is none")?;
        if sha256(text.as_bytes()).to_base64() != self.line[3 * NAME_BYTES + 3..] {
            return Err("its hash is not that of its opening".to_owned());
        }
        Ok(Some(opening))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use domain::stream::{StreamDay, StreamKey, StreamMap};

    #[test]
    fn lines_prove_as_the_map_that_they_come_from() {
        for count in [0u32, 1, 2, 3, 7, 8, 9, 50] {
            let mut map = StreamMap::new();
            for n in 0..count {
                let owner = format!("dev_{}", n % 5);
                let key = StreamKey::new("acc_a", &owner, &format!("channel/{n}"));
                map.update(
                    n,
                    StreamDay {
                        key,
                        first: 1,
                        last: 2,
                        chain: sha256(&n.to_be_bytes()),
                    },
                );
            }
            map.settle();
            let tree = LineTree::new(map.lines()).expect("lines");
            assert_eq!((tree.root(), tree.count()), (map.root(), map.count()));
            for index in 0..tree.count() {
                assert_eq!(Some(tree.proof(index)), map.proof(index));
            }
            for owner in ["dev_0", "dev_4", "dev_none"] {
                let (from, days) = map.range("acc_a", Some(owner));
                let range = tree.range(&prefix("acc_a", owner));
                let with_neighbours = range.start.saturating_sub(1)..(range.end + 1).min(tree.count());
                assert_eq!(with_neighbours.start, from);
                assert_eq!(with_neighbours.end - with_neighbours.start, days.len() as u64);
            }
        }
    }

    #[test]
    fn a_line_reads_back_and_nothing_else_does() {
        let opening = Opening {
            first: 3,
            last: 9,
            chain: sha256(b"x"),
        };
        let key = StreamKey::new("acc_a", "dev_a", "readings/dev_a");
        let day = StreamDay {
            key,
            first: 3,
            last: 9,
            chain: opening.chain,
        };
        assert_eq!(day.opening(), opening.text());
        let text = String::from_utf8(day.line().to_vec()).expect("text");
        let line = MapLine {
            before: Some(sha256(b"y")),
            date: Date::from_days(20_000),
            index: 0,
            line: text.trim_end().to_owned(),
            opening: Some(opening.text()),
            proof: Vec::new(),
        };
        let bytes = line.encode();
        let bytes = bytes.strip_suffix(b"\n").expect("a line");
        assert_eq!(MapLine::decode(bytes).as_ref(), Ok(&line));
        let root = leaf_hash(text.as_bytes());
        assert_eq!(line.check(&root, 1), Ok(Some(opening)));
        assert!(line.check(&root, 2).is_err());
        for text in ["0 1 x\n", "1 1\n", "2 1 AAAA\n", "01 2 AAAA\n"] {
            assert_eq!(Opening::parse(text), None, "{text}");
        }
        let other = MapLine {
            opening: Some(opening.text().replace('9', "8")),
            ..line
        };
        assert!(other.check(&root, 1).is_err());
    }
}
