//! The hashes beside the entries of a pack.
//!
//! Invariant: they are taken in the order of the walk, each once, and none is left over.
//! Source: FORMAT §7.
//! Not here: which are needed (`walk`).

use super::NODES;
use super::read::{Stop, flaw, flaw_at};
use domain::canonical::Scanner;
use domain::{Hash, Position};
use std::collections::BTreeMap;

/// The hashes beside the entries, which are taken in the order of the walk.
#[derive(Default)]
pub struct Nodes {
    /// By height: index and hash, rising, and how many were taken.
    levels: BTreeMap<u8, (Vec<(u64, Hash)>, usize)>,
    pub count: u64,
}

impl Nodes {
    pub fn push(&mut self, (level, index, hash): (u8, u64, Hash)) -> Option<()> {
        if self.levels.range(level + 1..).next().is_some() {
            return None;
        }
        let (nodes, _) = self.levels.entry(level).or_default();
        if nodes.last().is_some_and(|(before, _)| *before >= index) {
            return None;
        }
        nodes.push((index, hash));
        self.count += 1;
        Some(())
    }

    pub fn take(&mut self, level: u8, index: u64) -> Result<Hash, Stop> {
        let position = Position(index << level);
        let missing = || {
            flaw_at(
                position,
                format!("{NODES}: the node {index} of level {level} is missing"),
            )
        };
        let (nodes, taken) = self.levels.get_mut(&level).ok_or_else(missing)?;
        match nodes.get(*taken) {
            Some((found, hash)) if *found == index => {
                *taken += 1;
                Ok(*hash)
            }
            Some((found, _)) if *found < index => Err(superfluous(level, *found)),
            _ => Err(missing()),
        }
    }

    pub fn all_taken(&self) -> Result<(), Stop> {
        for (level, (nodes, taken)) in &self.levels {
            if let Some((index, _)) = nodes.get(*taken) {
                return Err(superfluous(*level, *index));
            }
        }
        Ok(())
    }
}

fn superfluous(level: u8, index: u64) -> Stop {
    flaw(format!(
        "{NODES}: the node {index} of level {level} is one too many"
    ))
}

/// A line of `nodes.ndjson`.
pub fn node(line: &[u8]) -> Option<(u8, u64, Hash)> {
    let mut s = Scanner::new(line);
    s.literal(b"{\"hash\":").ok()?;
    let hash = Hash::from_base64(s.plain_string().ok()?)?;
    s.literal(b",\"index\":").ok()?;
    let index = s.unsigned().ok()?;
    s.literal(b",\"level\":").ok()?;
    let level = u8::try_from(s.unsigned().ok()?).ok()?;
    s.literal(b"}").ok()?;
    s.end().ok()?;
    (level < 63 && index <= (i64::MAX as u64) >> level).then_some((level, index, hash))
}
