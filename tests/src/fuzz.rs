//! The fuzz targets: what every decoder and parser must survive, and what must hold of what it accepts.
//!
//! Used twice: by `cargo fuzz` (tests/fuzz) with coverage, and by `cargo test` on stable with the small corpus and
//! inputs generated from it. Invariant: no panic, whatever the bytes; what is accepted encodes back to the same.
//! Not here: what the decoders mean (fixtures).

#![allow(
    clippy::collapsible_if,
    reason = "what is accepted comes first, what must hold of it second"
)]

use domain::canonical;
use domain::checkpoint::SignedCheckpoint;
use domain::entry::Entry;
use domain::note::{Note, VerifierKey};
use domain::tile::{encode_bundle, parse_bundle, parse_tile};
use domain::tlog_policy::Policy;
use domain::tlog_proof::TlogProof;
use domain::verify::{Examiner, Strictness};
use std::cell::RefCell;
use std::path::PathBuf;

/// A target: its name, and what it does with an input.
pub type Target = (&'static str, fn(&[u8]));

/// Every target.
pub const TARGETS: &[Target] = &[
    ("canonical", canonical_json),
    ("entry", entry),
    ("reading", reading),
    ("event", event),
    ("note", note),
    ("checkpoint", checkpoint),
    ("tlog_proof", tlog_proof),
    ("tlog_policy", tlog_policy),
    ("tile_path", tile_path),
    ("bundle", bundle),
    ("pack", pack),
    ("native", native),
    ("shelly", shelly),
    ("lorawan", lorawan),
    ("efento", efento),
];

/// The target of that name.
pub fn target(name: &str) -> Option<fn(&[u8])> {
    TARGETS.iter().find(|(n, _)| *n == name).map(|(_, f)| *f)
}

fn canonical_json(data: &[u8]) {
    if canonical::check(data).is_ok() {
        let value: serde_json::Value = serde_json::from_slice(data).expect("canonical JSON is JSON");
        let again = canonical::Canonical::of(&value).expect("what was canonical can be written");
        assert_eq!(again.as_bytes(), data);
    }
}

thread_local! {
    /// Knows the shapes of the inputs before, so that those made from them are held against these.
    static EXAMINER: RefCell<Examiner> = RefCell::new(Examiner::new(Strictness::Canonical));
}

fn entry(data: &[u8]) {
    let skimmed = Entry::read(data);
    let examined = EXAMINER.with_borrow_mut(|examiner| examiner.examine(data));
    assert_eq!(
        examined.entry(data),
        Entry::decode(data),
        "a shape changes nothing"
    );
    if let Ok(strict) = Entry::decode(data) {
        assert_eq!(skimmed, Ok(strict), "both readers see the same entry");
        assert_eq!(canonical::check(data), Ok(()));
    }
}

fn reading(data: &[u8]) {
    if let Ok(reading) = domain::reading::Reading::read(data) {
        if reading.values.is_sorted_by(|a, b| a.0 < b.0) {
            let mut again = Vec::new();
            if reading.write(&mut again).is_ok() && !reading.values.is_empty() && reading.status.is_empty() {
                assert_eq!(again, data);
            }
        }
    }
    let _ = domain::reading::Conflict::read(data);
}

fn event(data: &[u8]) {
    let (name, payload) = data.split_at(data.iter().position(|b| *b == b'\n').unwrap_or(data.len()));
    let name = String::from_utf8_lossy(name);
    let _ = domain::event::Event::read(&name, payload.get(1..).unwrap_or_default());
    let _ = domain::event::Metadata::read(data);
}

fn note(data: &[u8]) {
    if let Ok(note) = Note::parse(data) {
        assert_eq!(note.encode().as_bytes(), data);
    }
    if let Ok(text) = std::str::from_utf8(data) {
        if let Ok(key) = VerifierKey::parse(text) {
            assert_eq!(key.to_string(), text);
        }
    }
}

fn checkpoint(data: &[u8]) {
    if let Ok(signed) = SignedCheckpoint::parse(data) {
        assert_eq!(signed.encode().as_bytes(), data);
    }
}

fn tlog_proof(data: &[u8]) {
    if let Ok(proof) = TlogProof::parse(data) {
        assert_eq!(proof.encode().as_bytes(), data);
        let leaf = domain::hash::leaf_hash(proof.extra.as_deref().unwrap_or_default());
        let _ = proof.verify_inclusion(&leaf);
    }
}

fn tlog_policy(data: &[u8]) {
    let _ = Policy::parse(data);
}

fn tile_path(data: &[u8]) {
    if let Ok(text) = std::str::from_utf8(data) {
        if let Ok(path) = domain::tile::TilePath::parse(text) {
            assert_eq!(path.to_string(), text);
        }
    }
}

fn bundle(data: &[u8]) {
    let width = data.first().copied().unwrap_or_default().max(1);
    let rest = data.get(1..).unwrap_or_default();
    if let Ok(entries) = parse_bundle(rest, u16::from(width)) {
        assert_eq!(
            encode_bundle(entries).expect("what was a bundle can be written"),
            rest
        );
    }
    let _ = parse_tile(rest, u16::from(width));
}

/// A pack as bytes; and, where they are no archive, as the texts of its files, so that what is behind the container is
/// reached too: the files of the good pack in the corpus, with the `n`-th replaced by the data behind the first byte.
fn pack(data: &[u8]) {
    let settings = chain_publisher::VerifySettings::default();
    let verify = |bytes: &[u8]| {
        let report =
            chain_publisher::pack::verify("a pack", std::io::Cursor::new(bytes), &settings, &mut |_| {});
        if let Ok(report) = report {
            assert_ne!(report.report.exit_code, 0, "nothing is verified without a key");
            assert!(!report.to_string().is_empty());
        }
    };
    verify(data);
    if data.starts_with(b"PK") {
        let archive = chain_publisher::pack::zip::Archive::open(std::io::Cursor::new(data));
        if archive.is_ok() {
            assert!(crate::pack_ledger::Files::of(data).zip().len() == data.len());
        }
        return;
    }
    let Some((which, text)) = data.split_first() else {
        return;
    };
    let mut files = GOOD_PACK.clone();
    let at = usize::from(*which) % files.0.len();
    files.0[at].1 = text.to_vec();
    verify(&files.resummed().zip());
}

/// The good pack of the corpus.
static GOOD_PACK: std::sync::LazyLock<crate::pack_ledger::Files> = std::sync::LazyLock::new(|| {
    let packs = corpus("pack").into_iter().find(|bytes| bytes.starts_with(b"PK"));
    crate::pack_ledger::Files::of(&packs.expect("the corpus has a good pack"))
});

fn native(data: &[u8]) {
    let _ = commands::ingest::native::decode(data, None);
    let _ = commands::ingest::native::decode(data, Some("fridge01"));
}

/// A query and a body, apart by a line feed.
fn split(data: &[u8]) -> (String, &[u8]) {
    let at = data.iter().position(|b| *b == b'\n').unwrap_or(data.len());
    (
        String::from_utf8_lossy(&data[..at]).into_owned(),
        data.get(at + 1..).unwrap_or_default(),
    )
}

fn shelly(data: &[u8]) {
    let (query, body) = split(data);
    let _ = commands::ingest::shelly::decode(&query, body);
    let _ = commands::ingest::shelly::decode("", data);
}

fn lorawan(data: &[u8]) {
    let (query, body) = split(data);
    let _ = commands::ingest::lorawan::decode(&query, body);
    let _ = commands::ingest::lorawan::decode("", data);
}

fn efento(data: &[u8]) {
    let _ = commands::ingest::efento::decode(data);
}

/// The committed corpus of a target.
pub fn corpus(target: &str) -> Vec<Vec<u8>> {
    let dir: PathBuf = [env!("CARGO_MANIFEST_DIR"), "fuzz", "corpus", target]
        .iter()
        .collect();
    let mut files: Vec<PathBuf> = std::fs::read_dir(dir)
        .into_iter()
        .flatten()
        .flatten()
        .map(|f| f.path())
        .collect();
    files.sort();
    files.into_iter().filter_map(|f| std::fs::read(f).ok()).collect()
}

/// Inputs made from a corpus: cut, spliced, repeated, with bytes changed. The same for the same seed.
pub struct Mutations {
    corpus: Vec<Vec<u8>>,
    state: u64,
}

impl Mutations {
    /// `corpus` may be empty: then inputs are made of nothing.
    pub fn new(corpus: Vec<Vec<u8>>, seed: u64) -> Self {
        Self {
            corpus,
            state: seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1,
        }
    }

    /// xorshift64*, enough to vary inputs.
    fn next(&mut self, below: usize) -> usize {
        self.state ^= self.state >> 12;
        self.state ^= self.state << 25;
        self.state ^= self.state >> 27;
        (self.state.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33) as usize % below.max(1)
    }

    /// The next input.
    pub fn input(&mut self) -> Vec<u8> {
        const TOKENS: &[&[u8]] = &[
            b"\"",
            b"{",
            b"}",
            b"[",
            b"]",
            b",",
            b":",
            b"null",
            b"-1",
            b"1e999",
            b"0.1",
            b"\\u0000",
            b"\xff",
            b"\n",
            b"NaN",
            b"9007199254740993",
            b"true",
            b"temperature",
            b"\xf0\x9f\x98\x80",
        ];
        let which = self.next(self.corpus.len());
        let mut input = self.corpus.get(which).cloned().unwrap_or_default();
        for _ in 0..=self.next(6) {
            let at = self.next(input.len() + 1);
            match self.next(7) {
                0 => input.truncate(at),
                1 if at < input.len() => input[at] ^= 1 << self.next(8),
                2 if at < input.len() => input[at] = self.next(256) as u8,
                3 => {
                    let token = TOKENS[self.next(TOKENS.len())];
                    input.splice(at..at, token.iter().copied());
                }
                4 => {
                    let end = (at + self.next(40)).min(input.len());
                    let part = input[at..end].to_vec();
                    input.splice(at..at, part);
                }
                5 => {
                    let other = self.next(self.corpus.len());
                    let other = self.corpus.get(other).cloned().unwrap_or_default();
                    let from = self.next(other.len() + 1);
                    input.truncate(at);
                    input.extend_from_slice(&other[from..]);
                }
                _ => {
                    let end = (at + self.next(8)).min(input.len());
                    input.drain(at..end);
                }
            }
        }
        input.truncate(1 << 16);
        input
    }
}
