//! The files of an export: what each is called, and what of their content is ours to define.
//!
//! `checkpoint`, `tile/…` and `tile/entries/…` are tlog-tiles; beside them `entries/<N>.ndjson[.p/<W>]` with the exact
//! entries or their stubs, one a line; `heads/YYYY/YYYY-MM-DD.tlog-proof`, and beside it perhaps `.late.tlog-proof` and `.consistency`; `verifier-key`; `README.txt`.
//! Source: C2SP tlog-tiles v0.1.0, FORMAT §3 and §5.
//! Not here: writing them (`export`), reading them (`directory`).

use crate::anchor::AnchorKind;
use domain::entry::ENTRY_BYTES_MAX;
use domain::rotation::ROTATIONS_MAX;
use domain::tile::{Bundle, TilePath};
use domain::{Date, Hash, Position};

/// The latest checkpoint.
pub const CHECKPOINT: &str = "checkpoint";
/// The folder of heads.
pub const HEADS: &str = "heads";
/// The folder of entries as lines.
pub const ENTRIES: &str = "entries";
/// The key that the log names as its own, one line.
pub const VERIFIER_KEY: &str = "verifier-key";
/// What this is.
pub const README: &str = "README.txt";
/// Says that an export is not finished, and how far it came.
pub const UNFINISHED: &str = "export-unfinished";
/// The most bytes of a line: the largest entry.
pub const LINE_BYTES_MAX: usize = ENTRY_BYTES_MAX;

/// How the name of a day's late head ends.
const LATE_END: &str = ".late.tlog-proof";
/// How the name of the file ends that says that a head continues the one before.
const CONSISTENCY_END: &str = ".consistency";

/// `heads/2026/2026-05-17.tlog-proof`
pub fn head_path(date: Date) -> String {
    let text = date.to_string();
    format!("{HEADS}/{}/{text}.tlog-proof", &text[..4])
}

/// `heads/2026/2026-05-17.tsr`
pub fn stamp_path(date: Date, kind: AnchorKind) -> String {
    let text = date.to_string();
    format!("{HEADS}/{}/{}", &text[..4], kind.file_name(date))
}

/// The positions of rotations, one a line.
pub const ROTATIONS: &str = "keys/rotations";

/// `keys/17.tlog-proof`: the proof of the rotation at position 17.
pub fn rotation_path(position: Position) -> String {
    format!("keys/{position}.tlog-proof")
}

/// Reads [`ROTATIONS`]; rising positions, at most as many as a log can have.
///
/// # Errors
/// In words.
pub fn parse_rotations(text: &[u8]) -> Result<Vec<Position>, String> {
    let wrong = || format!("not the positions of rotations, rising, one a line, at most {ROTATIONS_MAX}");
    let text = std::str::from_utf8(text).map_err(|_| wrong())?;
    let mut positions: Vec<Position> = Vec::new();
    for line in text.lines() {
        let position = line.parse().map(Position).map_err(|_| wrong())?;
        let rises = positions.last().is_none_or(|last| *last < position);
        if !rises || positions.len() >= ROTATIONS_MAX {
            return Err(wrong());
        }
        positions.push(position);
    }
    Ok(positions)
}

/// The day of a head's file name, `2026-05-17.tlog-proof`.
pub fn head_date(file_name: &str) -> Option<Date> {
    Date::parse(file_name.strip_suffix(".tlog-proof")?).ok()
}

/// `heads/2026/2026-05-17.late.tlog-proof`: the same day under a later checkpoint.
pub fn late_path(date: Date) -> String {
    let text = date.to_string();
    format!("{HEADS}/{}/{text}{LATE_END}", &text[..4])
}

/// `heads/2026/2026-05-17.consistency`: that the head continues the one before.
pub fn consistency_path(date: Date) -> String {
    let text = date.to_string();
    format!("{HEADS}/{}/{text}{CONSISTENCY_END}", &text[..4])
}

/// The day of the name of a file that lies beside a head.
pub fn beside_head_date(file_name: &str) -> Option<Date> {
    let date = file_name
        .strip_suffix(LATE_END)
        .or_else(|| file_name.strip_suffix(CONSISTENCY_END))?;
    Date::parse(date).ok()
}

/// `entries/x001/234.ndjson`, or `entries/000.ndjson.p/17` where the bundle is partial.
pub fn lines_path(bundle: Bundle) -> String {
    let path = bundle.to_string();
    let number = path.strip_prefix("tile/").unwrap_or(&path);
    match number.split_once(".p/") {
        Some((number, width)) => format!("{number}.ndjson.p/{width}"),
        None => format!("{number}.ndjson"),
    }
}

/// The bundle that [`lines_path`] names.
pub fn parse_lines_path(path: &str) -> Option<Bundle> {
    let (number, width) = match path.split_once(".ndjson.p/") {
        Some((number, width)) => (number, format!(".p/{width}")),
        None => (path.strip_suffix(".ndjson")?, String::new()),
    };
    match TilePath::parse(&format!("tile/{number}{width}")) {
        Ok(TilePath::Entries(bundle)) => Some(bundle),
        _ => None,
    }
}

/// The line of an entry that is withheld, without its line feed: canonical JSON.
pub fn withheld_line(leaf: &Hash, position: Position) -> String {
    format!("{{\"leaf_hash\":\"{leaf}\",\"position\":{position},\"withheld\":true}}")
}

/// The line of an entry whose bytes were removed, without its line feed: canonical JSON.
pub fn pruned_line(leaf: &Hash, position: Position, by: Position) -> String {
    format!("{{\"leaf_hash\":\"{leaf}\",\"position\":{position},\"pruned_by\":{by}}}")
}

/// What a line is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Line<'a> {
    /// An entry's exact bytes. Not looked at.
    Entry(&'a [u8]),
    /// A withheld entry's leaf hash.
    Withheld(Hash),
    /// The leaf hash of an entry whose bytes are gone, and the position of what is said to have removed them.
    Pruned(Hash, Position),
}

/// Reads a line without its line feed.
///
/// # Errors
/// In words: too long, empty, or a stub that is none, or that stands at another position.
pub fn parse_line(line: &[u8], position: Position) -> Result<Line<'_>, String> {
    if line.is_empty() || line.len() > LINE_BYTES_MAX {
        return Err(format!("a line has 1 to {LINE_BYTES_MAX} bytes"));
    }
    let Some(rest) = line.strip_prefix(b"{\"leaf_hash\":\"") else {
        return Ok(Line::Entry(line));
    };
    let leaf = rest.get(..44).and_then(|text| std::str::from_utf8(text).ok());
    let leaf = leaf
        .and_then(Hash::from_base64)
        .ok_or("a stub without a leaf hash")?;
    if line == withheld_line(&leaf, position).as_bytes() {
        return Ok(Line::Withheld(leaf));
    }
    let by = line
        .strip_suffix(b"}")
        .and_then(|line| line.rsplit(|byte| *byte == b':').next());
    let by = by.and_then(|digits| std::str::from_utf8(digits).ok()?.parse().ok());
    if let Some(by) = by.map(Position)
        && line == pruned_line(&leaf, position, by).as_bytes()
    {
        return Ok(Line::Pruned(leaf, by));
    }
    Err(format!("not the stub of position {position}"))
}

/// What `README.txt` says.
pub fn readme(origin: &str) -> String {
    format!(
        "This folder holds a copy of the whole log {origin}.\n\
         \n\
         checkpoint            the latest signed checkpoint: origin, size, root, signatures (C2SP tlog-checkpoint)\n\
         tile/<L>/<N>          hashes of the tree (C2SP tlog-tiles)\n\
         tile/entries/<N>      entries, 256 a file, each behind two bytes of length (C2SP tlog-tiles)\n\
         entries/<N>.ndjson    the same entries, one a line, for people and scripts\n\
         keys/                 where the signing key was replaced: each rotation, proven under both keys' signatures\n\
         heads/                the head of each day: what the day was, proven under a signed checkpoint\n\
         verifier-key          the key that signs, as the log itself names it: compare it with one from elsewhere\n\
         \n\
         To check it, with a key and a head that were kept elsewhere:\n\
         \n\
             daybook-verify log . --key KEY --head FILE\n\
         \n\
         Every entry is hashed again and everything is held against everything. Entries of tokens hold the hashes of\n\
         secrets: keep this folder as you would keep the ledger.\n"
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use domain::TreeSize;

    #[test]
    fn lines_lie_beside_bundles_under_the_same_number() {
        for (index, size, path) in [
            (0, 256, "entries/000.ndjson"),
            (0, 17, "entries/000.ndjson.p/17"),
            (1_234, 316_160, "entries/x001/234.ndjson"),
            (1_234, 315_905, "entries/x001/234.ndjson.p/1"),
        ] {
            let bundle = Bundle::at(index, TreeSize(size)).expect("it is there");
            assert_eq!(lines_path(bundle), path);
            assert_eq!(parse_lines_path(path), Some(bundle));
        }
        for bad in [
            "entries/000",
            "entries/0.ndjson",
            "entries/000.ndjson.p/256",
            "x/000.ndjson",
        ] {
            assert_eq!(parse_lines_path(bad), None, "{bad}");
        }
    }

    #[test]
    fn a_stub_is_read_at_its_own_position_only() {
        let stub = withheld_line(&Hash([3; 32]), Position(7));
        assert_eq!(
            parse_line(stub.as_bytes(), Position(7)),
            Ok(Line::Withheld(Hash([3; 32])))
        );
        assert!(parse_line(stub.as_bytes(), Position(8)).is_err());
        assert!(parse_line(stub.replace("true", "false").as_bytes(), Position(7)).is_err());
        assert!(parse_line(b"", Position(7)).is_err());
        let pruned = stub.replace("\"withheld\":true", "\"pruned_by\":9");
        assert_eq!(
            parse_line(pruned.as_bytes(), Position(7)),
            Ok(Line::Pruned(Hash([3; 32]), Position(9)))
        );
        for wrong in ["\"pruned_by\":09", "\"pruned_by\":-1", "\"pruned_by\":9,\"x\":1"] {
            let wrong = pruned.replace("\"pruned_by\":9", wrong);
            assert!(parse_line(wrong.as_bytes(), Position(7)).is_err(), "{wrong}");
        }
        assert_eq!(
            parse_line(b"{\"a\":1}", Position(7)),
            Ok(Line::Entry(b"{\"a\":1}"))
        );
    }

    #[test]
    fn heads_are_named_by_their_day() {
        let date = Date::parse("2026-05-17").expect("a day");
        assert_eq!(head_path(date), "heads/2026/2026-05-17.tlog-proof");
        assert_eq!(head_date("2026-05-17.tlog-proof"), Some(date));
        assert_eq!(head_date("2026-05-17.late.tlog-proof"), None);
    }
}
