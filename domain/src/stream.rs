//! Streams: their chains, and the day's stream map with its range and absence proofs (FORMAT §5).
//!
//! Invariants: a chain value commits to every entry of its stream in order; a map has one line a stream, sorted
//! by bytes, so that the streams of one account or owner stand side by side and a missing one leaves a hole that
//! two neighbours prove.
//! Not here: who sequences (`commands`), the day's other figures (`day`).

use crate::hash::{Hash, base64url, leaf_hash, node_hash, pair_hash, sha256, sha256_of};
use crate::levels::{self, audit_path};

/// Chain value of a stream without entries.
pub const CHAIN_START: Hash = Hash([0; 32]);
/// Bytes of a map line with its line feed: three names of 22 characters, one hash of 44, three spaces.
pub const LINE_BYTES: usize = 22 * 3 + 44 + 3 + 1;

/// The chain value after one more entry: SHA-256(d ‖ leaf hash).
pub fn chain(previous: &Hash, leaf: &Hash) -> Hash {
    pair_hash(previous, leaf)
}

/// The blinded name of an account, an owner or a stream: 16 bytes of SHA-256(`daybook/stream/v1\n` ‖ x).
pub fn blind(name: &str) -> [u8; 16] {
    let full = sha256_of(&[b"daybook/stream/v1\n", name.as_bytes()]);
    let mut short = [0u8; 16];
    short.copy_from_slice(&full.0[..16]);
    short
}

/// Where a stream's line stands in a map: the blinded account, owner and stream.
///
/// base64url does not keep the order of bytes, so keys compare by their text.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct StreamKey {
    text: [u8; 66],
}

impl StreamKey {
    /// `account` is `-` where there is none.
    pub fn new(account: &str, owner: &str, stream: &str) -> Self {
        Self::from_blinded(&blind(account), &blind(owner), &blind(stream))
    }

    /// From names that are blinded already.
    pub fn from_blinded(account: &[u8; 16], owner: &[u8; 16], stream: &[u8; 16]) -> Self {
        let mut text = [0u8; 66];
        for (part, name) in text.chunks_exact_mut(22).zip([account, owner, stream]) {
            part.copy_from_slice(base64url(name).as_bytes());
        }
        Self { text }
    }

    /// The account's part, 22 characters.
    pub fn account(&self) -> &str {
        self.part(0)
    }

    /// The owner's part, 22 characters.
    pub fn owner(&self) -> &str {
        self.part(1)
    }

    /// The stream's part, 22 characters.
    pub fn stream(&self) -> &str {
        self.part(2)
    }

    fn part(&self, n: usize) -> &str {
        std::str::from_utf8(&self.text[n * 22..(n + 1) * 22]).expect("base64url is ASCII")
    }
}

impl PartialOrd for StreamKey {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for StreamKey {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.text.cmp(&other.text)
    }
}

impl std::fmt::Debug for StreamKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} {} {}", self.account(), self.owner(), self.stream())
    }
}

/// What a stream did in a day.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StreamDay {
    /// Which stream.
    pub key: StreamKey,
    /// Sequence of its first entry of the day.
    pub first: u64,
    /// Sequence of its last.
    pub last: u64,
    /// Chain value at the last.
    pub chain: Hash,
}

impl StreamDay {
    /// What `c` hashes: `<first> <last> <base64 chain>\n`.
    pub fn opening(&self) -> String {
        format!("{} {} {}\n", self.first, self.last, self.chain)
    }

    /// The line with its line feed.
    pub fn line(&self) -> [u8; LINE_BYTES] {
        let c = sha256(self.opening().as_bytes()).to_base64();
        let mut line = [b' '; LINE_BYTES];
        for n in 0..3 {
            line[n * 23..n * 23 + 22].copy_from_slice(&self.key.text[n * 22..(n + 1) * 22]);
        }
        line[69..113].copy_from_slice(c.as_bytes());
        line[113] = b'\n';
        line
    }
}

/// Nodes of a level from which on two processors share the work: below it a thread costs more than it saves.
const SHARED_NODES: usize = 1 << 15;

/// New streams that find room without anything being moved: so many, and one in so many of those that are there.
const ROOM_MIN: usize = 256;
const ROOM_SHARE: usize = 64;

/// A stream that a map does not hold, or whose line has no place yet.
const NOWHERE: u32 = u32::MAX;

/// A day's stream map that is kept ready, so that a map of a million streams closes in the time of what changed last.
///
/// Streams are told by a number that whoever tells keeps for them; a line that is there costs one path of the tree.
/// New lines move the ones behind them: their hashes are kept, and only the nodes above are made again.
#[derive(Debug, Default, Clone)]
pub struct StreamMap {
    /// In the order in which streams were first told.
    days: Vec<StreamDay>,
    /// Index into `days` of a stream's number.
    told: Vec<u32>,
    /// Line of each of `days`; [`NOWHERE`] until the next [`StreamMap::settle`].
    line: Vec<u32>,
    /// Index into `days` of each line.
    order: Vec<u32>,
    /// `levels[0]` are the lines' leaf hashes, `levels[k]` the roots of full subtrees of 2^k lines.
    levels: Vec<Vec<Hash>>,
    /// Of `days`, those whose leaf hash is old; a stream stands here once.
    changed: Vec<u32>,
    is_changed: Vec<bool>,
    /// Of `days`, those that have no line yet.
    fresh: Vec<u32>,
}

impl StreamMap {
    /// Without streams.
    pub fn new() -> Self {
        Self::default()
    }

    /// Takes the newest state of the stream that the caller calls `number`; a number is of one key, and small.
    pub fn update(&mut self, number: u32, day: StreamDay) {
        let number = number as usize;
        if number >= self.told.len() {
            self.told.resize(number + 1, NOWHERE);
        }
        let at = self.told[number];
        if at == NOWHERE {
            let at = self.days.len() as u32;
            self.told[number] = at;
            self.days.push(day);
            self.line.push(NOWHERE);
            self.is_changed.push(false);
            self.fresh.push(at);
            return;
        }
        debug_assert_eq!(self.days[at as usize].key, day.key, "a number is of one stream");
        self.days[at as usize] = day;
        if self.line[at as usize] != NOWHERE && !self.is_changed[at as usize] {
            self.is_changed[at as usize] = true;
            self.changed.push(at);
        }
    }

    /// How many lines are not as they should be: those of changed streams, and of new ones.
    pub fn stale(&self) -> (usize, usize) {
        (self.changed.len(), self.fresh.len())
    }

    /// Brings lines and nodes up to date with every update so far.
    pub fn settle(&mut self) {
        if self.fresh.is_empty() {
            return self.settle_changed();
        }
        let changed = self.hash_changed().first().copied();
        let moved = self.place_fresh();
        self.build_from(changed.map_or(moved, |line| moved.min(line as usize)));
    }

    /// Brings the lines that are there up to date; new streams wait for [`StreamMap::settle`], and find room then.
    pub fn settle_changed(&mut self) {
        self.make_room();
        let mut lines = self.hash_changed();
        for level in 1..self.levels.len() {
            lines.iter_mut().for_each(|index| *index /= 2);
            lines.dedup();
            let (below, above) = self.levels.split_at_mut(level);
            let (below, above) = (&below[level - 1], &mut above[0]);
            lines.retain(|&index| (index as usize) < above.len());
            for &index in &lines {
                let left = index as usize * 2;
                above[index as usize] = node_hash(&below[left], &below[left + 1]);
            }
        }
    }

    /// Moving tens of megabytes for want of room costs more than hashing what moved.
    fn make_room(&mut self) {
        let room = ROOM_MIN + self.days.len() / ROOM_SHARE;
        self.days.reserve(room);
        self.line.reserve(room);
        self.is_changed.reserve(room);
        self.order.reserve(room);
        for (level, nodes) in self.levels.iter_mut().enumerate() {
            nodes.reserve((room >> level) + 1);
        }
    }

    /// Makes the leaf hashes of the changed lines again; which those are, rising.
    fn hash_changed(&mut self) -> Vec<u32> {
        let mut lines = Vec::with_capacity(self.changed.len());
        for at in std::mem::take(&mut self.changed) {
            self.is_changed[at as usize] = false;
            let line = self.line[at as usize];
            self.levels[0][line as usize] = leaf_hash(&self.days[at as usize].line());
            lines.push(line);
        }
        lines.sort_unstable();
        lines
    }

    /// Gives the new streams their lines; the first line that is not what it was.
    fn place_fresh(&mut self) -> usize {
        let mut fresh = std::mem::take(&mut self.fresh);
        let days = &self.days;
        fresh.sort_unstable_by(|a, b| days[*a as usize].key.cmp(&days[*b as usize].key));
        if self.levels.is_empty() {
            self.levels.push(Vec::new());
        }
        let leaves = &mut self.levels[0];
        let mut until = self.order.len();
        self.order.resize(until + fresh.len(), NOWHERE);
        leaves.resize(until + fresh.len(), Hash::default());
        // From the back, so that every line moves once.
        for (n, &at) in fresh.iter().enumerate().rev() {
            let key = &days[at as usize].key;
            let place = self.order[..until].partition_point(|&other| days[other as usize].key < *key);
            self.order.copy_within(place..until, place + n + 1);
            leaves.copy_within(place..until, place + n + 1);
            self.order[place + n] = at;
            leaves[place + n] = leaf_hash(&days[at as usize].line());
            until = place;
        }
        for (n, &at) in self.order.iter().enumerate().skip(until) {
            self.line[at as usize] = n as u32;
        }
        until
    }

    /// Makes every node above the lines from `first` on again.
    fn build_from(&mut self, first: usize) {
        let mut from = first;
        for level in 1.. {
            let Some(below) = self.levels.get(level - 1).filter(|below| below.len() > 1) else {
                self.levels.truncate(level);
                return;
            };
            let count = below.len() / 2;
            if self.levels.len() == level {
                self.levels.push(Vec::new());
            }
            let (below, above) = self.levels.split_at_mut(level);
            let (below, above) = (&below[level - 1], &mut above[0]);
            from /= 2;
            above.resize(count, Hash::default());
            fold_pairs(&below[from * 2..count * 2], &mut above[from..]);
        }
    }

    /// The number of streams.
    pub fn count(&self) -> u64 {
        self.days.len() as u64
    }

    /// The RFC 6962 root over the lines, as of the last [`StreamMap::settle`].
    pub fn root(&self) -> Hash {
        levels::root(&self.levels)
    }

    /// The streams, sorted, as of the last [`StreamMap::settle`].
    pub fn days(&self) -> impl ExactSizeIterator<Item = &StreamDay> {
        self.order.iter().map(|&at| &self.days[at as usize])
    }

    /// All lines, each with its line feed.
    pub fn lines(&self) -> Vec<u8> {
        self.days().flat_map(StreamDay::line).collect()
    }

    /// The range of lines of one account, or of one owner within it, closed by its two outer neighbours where
    /// there are any: index of the first line given and the lines. A range without the asked-for streams is the
    /// proof of their absence.
    pub fn range(&self, account: &str, owner: Option<&str>) -> (u64, Vec<StreamDay>) {
        let (account, owner) = (base64url(&blind(account)), owner.map(|o| base64url(&blind(o))));
        let of = |d: &StreamDay| match &owner {
            Some(owner) => (d.key.account(), d.key.owner()).cmp(&(account.as_str(), owner.as_str())),
            None => d.key.account().cmp(account.as_str()),
        };
        let before = |ordering: fn(std::cmp::Ordering) -> bool| {
            self.order
                .partition_point(|&at| ordering(of(&self.days[at as usize])))
        };
        let from = before(std::cmp::Ordering::is_lt).saturating_sub(1);
        let to = (before(std::cmp::Ordering::is_le) + 1).min(self.order.len());
        (
            from as u64,
            self.days().skip(from).take(to - from).copied().collect(),
        )
    }

    /// The audit path of the line at `index`, from the leaf up (RFC 6962 §2.1.1).
    pub fn proof(&self, index: u64) -> Option<Vec<Hash>> {
        audit_path(&self.levels, usize::try_from(index).ok()?)
    }
}

/// The parents of the nodes in `below`; two processors share the work where it is worth it.
fn fold_pairs(below: &[Hash], above: &mut [Hash]) {
    let fold = |below: &[Hash], above: &mut [Hash]| {
        for (node, pair) in above.iter_mut().zip(below.chunks_exact(2)) {
            *node = node_hash(&pair[0], &pair[1]);
        }
    };
    let half = above.len() / 2;
    if half < SHARED_NODES {
        return fold(below, above);
    }
    let (left, right) = above.split_at_mut(half);
    std::thread::scope(|scope| {
        scope.spawn(|| fold(&below[half * 2..], right));
        fold(&below[..half * 2], left);
    });
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn day(n: u32, last: u64) -> StreamDay {
        StreamDay {
            key: StreamKey::new(
                &format!("acc_{}", n % 3),
                &format!("dev_{}", n % 17),
                &format!("readings/{n}"),
            ),
            first: 1,
            last,
            chain: sha256(&last.to_be_bytes()),
        }
    }

    /// RFC 6962 §2.1, word for word.
    fn root_of(leaves: &[Hash]) -> Hash {
        match leaves {
            [] => Hash::empty_root(),
            [leaf] => *leaf,
            _ => {
                let left = leaves.len().next_power_of_two() / 2;
                node_hash(&root_of(&leaves[..left]), &root_of(&leaves[left..]))
            }
        }
    }

    fn naive(map: &StreamMap) -> Hash {
        let leaves: Vec<Hash> = map.lines().chunks_exact(LINE_BYTES).map(leaf_hash).collect();
        root_of(&leaves)
    }

    #[test]
    fn lines_are_sorted_distinct_and_as_the_format_says() {
        let mut map = StreamMap::new();
        for n in 0..100 {
            map.update(n, day(n, 5));
        }
        map.settle();
        let lines = map.lines();
        let lines: Vec<&[u8]> = lines.chunks_exact(LINE_BYTES).collect();
        assert_eq!(lines.len(), 100);
        assert!(lines.windows(2).all(|w| w[0] < w[1]));
        let text = std::str::from_utf8(lines[0]).expect("ASCII");
        assert_eq!(
            text.split(' ').map(str::len).collect::<Vec<_>>(),
            [22, 22, 22, 45]
        );
        assert_eq!(StreamMap::new().root(), Hash::empty_root());
    }

    #[test]
    fn nodes_that_two_processors_make_are_those_that_one_makes() {
        // The level above the lines is shared from four times this on; odd, so that no level pairs up.
        let count = 4 * SHARED_NODES as u32 + 7;
        let mut map = StreamMap::new();
        for n in 0..count {
            map.update(n, day(n, 5));
        }
        map.settle();
        assert_eq!((map.count(), map.root()), (u64::from(count), naive(&map)));
    }

    #[test]
    fn an_account_and_an_owner_are_contiguous_and_closed_by_neighbours() {
        let mut map = StreamMap::new();
        for n in 0..60 {
            map.update(n, day(n, 5));
        }
        map.settle();
        let (from, days) = map.range("acc_1", None);
        let inside = days
            .iter()
            .filter(|d| d.key.account() == base64url(&blind("acc_1")))
            .count();
        assert_eq!(inside, 20);
        assert!(days.len() <= 22 && days.len() >= 21);
        assert_eq!(map.days().nth(from as usize), days.first());
        let (_, absent) = map.range("acc_nobody", None);
        assert!(absent.len() <= 2 && !absent.is_empty());
    }

    proptest! {
        #[test]
        fn a_map_kept_ready_has_the_root_of_one_built_at_once(updates in prop::collection::vec((0u32..200, 1u64..9, 0u8..4), 1..120)) {
            let mut kept = StreamMap::new();
            for (n, last, settle) in &updates {
                kept.update(*n, day(*n, *last));
                match settle {
                    0 => kept.settle(),
                    1 => kept.settle_changed(),
                    _ => {}
                }
            }
            kept.settle();
            let newest: std::collections::BTreeMap<u32, u64> = updates.iter().map(|(n, last, _)| (*n, *last)).collect();
            let mut fresh = StreamMap::new();
            newest.into_iter().for_each(|(n, last)| fresh.update(n, day(n, last)));
            fresh.settle();
            prop_assert!(kept.days().eq(fresh.days()));
            prop_assert_eq!(kept.root(), fresh.root());
            prop_assert_eq!(kept.root(), naive(&kept));
        }
    }
}
