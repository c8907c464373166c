//! The heads of days as files, and what lies beside them (FORMAT §5).
//!
//! Invariants: a head is written once, whole or not at all, durably; afterwards it gains cosignature lines and changes
//! otherwise never; what cannot be read is an error and no absence.
//! Not here: making and signing them (`checkpoints`), asking for cosignatures (`api`).

use domain::tlog_proof::TlogProof;
use domain::{Date, Position};
use std::io;
use std::path::{Path, PathBuf};

/// The folder of rotations, `<position>.tlog-proof`.
const ROTATIONS: &str = "keys";
/// The latest checkpoint that a witness has cosigned.
const COSIGNED: &str = "cosigned";

/// Writes a file whole or not at all, durably.
fn replace(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let dir = path.parent().unwrap_or(path);
    std::fs::create_dir_all(dir)?;
    // A name of its own: beside one another lie files that differ only in what follows the day.
    let mut temporary = path.as_os_str().to_owned();
    temporary.push(".tmp");
    let mut file = std::fs::File::create(&temporary)?;
    io::Write::write_all(&mut file, bytes)?;
    file.sync_all()?;
    std::fs::rename(&temporary, path)?;
    std::fs::File::open(dir)?.sync_all()
}

/// The heads of days as files, `YYYY/YYYY-MM-DD.tlog-proof` below one directory; written once, and only cosignature
/// lines are ever added. Beside a head that too few witnesses have cosigned lies `YYYY-MM-DD.late.tlog-proof`, and beside
/// the years `cosigned`, the latest checkpoint that a witness has cosigned, and `keys/`, the proofs of rotations.
#[derive(Debug, Clone)]
pub struct HeadStore {
    dir: PathBuf,
    /// Where time stamps are: beside the heads, unless another process keeps those.
    stamps: PathBuf,
}

impl HeadStore {
    /// Below `dir`, which is made when the first head is.
    pub fn new(dir: &Path) -> Self {
        Self {
            dir: dir.to_owned(),
            stamps: dir.to_owned(),
        }
    }

    /// The same heads, with their time stamps below `dir`: whoever asks for those may not write where the heads are.
    #[must_use]
    pub fn with_stamps_in(self, dir: &Path) -> Self {
        Self {
            stamps: dir.to_owned(),
            ..self
        }
    }

    fn path(&self, date: Date) -> PathBuf {
        let text = date.to_string();
        self.dir.join(&text[..4]).join(format!("{text}.tlog-proof"))
    }

    fn late_path(&self, date: Date) -> PathBuf {
        self.path(date).with_file_name(format!("{date}.late.tlog-proof"))
    }

    fn consistency_path(&self, date: Date) -> PathBuf {
        self.path(date).with_file_name(format!("{date}.consistency"))
    }

    /// The head of that day; `None` only where there is none.
    ///
    /// # Errors
    /// When it cannot be read: nothing is known of it then.
    pub fn get(&self, date: Date) -> io::Result<Option<Vec<u8>>> {
        read(&self.path(date))
    }

    /// Whether that day has a head.
    ///
    /// # Errors
    /// When that cannot be told.
    pub fn has(&self, date: Date) -> io::Result<bool> {
        self.path(date).try_exists()
    }

    /// Keeps the head of a day; a head that is there already stays as it is.
    ///
    /// # Errors
    /// When it could not be made durable.
    pub fn put(&self, date: Date, head: &[u8]) -> io::Result<()> {
        put(&self.path(date), head)
    }

    /// Keeps a head that has more lines below its checkpoint than the one that is there, and is the same otherwise.
    ///
    /// # Errors
    /// `InvalidData` for anything else, and the head stays as it is; when it could not be made durable.
    pub fn add_lines(&self, date: Date, head: &[u8]) -> io::Result<()> {
        let path = self.path(date);
        let refused = |why: &str| io::Error::new(io::ErrorKind::InvalidData, why.to_owned());
        let unreadable = |error: domain::tlog_proof::TlogProofError| refused(&error.to_string());
        let (old, new) = (
            TlogProof::parse(&std::fs::read(&path)?).map_err(unreadable)?,
            TlogProof::parse(head).map_err(unreadable)?,
        );
        let same = (&old.extra, old.index, &old.hashes, old.checkpoint.note().text())
            == (&new.extra, new.index, &new.hashes, new.checkpoint.note().text());
        let lines = new.checkpoint.note().signatures();
        if !same || !lines.starts_with(old.checkpoint.note().signatures()) {
            return Err(refused(
                "a head is never changed: only cosignature lines may be added",
            ));
        }
        replace(&path, head)
    }

    /// The same `DayClosed` under a later checkpoint, which enough witnesses have cosigned.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn late(&self, date: Date) -> io::Result<Option<Vec<u8>>> {
        read(&self.late_path(date))
    }

    /// Whether that day has one.
    ///
    /// # Errors
    /// When that cannot be told.
    pub fn has_late(&self, date: Date) -> io::Result<bool> {
        self.late_path(date).try_exists()
    }

    /// Keeps it; one that is there already stays as it is.
    ///
    /// # Errors
    /// When it could not be made durable.
    pub fn put_late(&self, date: Date, proof: &[u8]) -> io::Result<()> {
        put(&self.late_path(date), proof)
    }

    /// That the head of that day continues the one before it: a tlog-witness add-checkpoint body.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn consistency(&self, date: Date) -> io::Result<Option<Vec<u8>>> {
        read(&self.consistency_path(date))
    }

    /// Keeps it; one that is there already stays as it is.
    ///
    /// # Errors
    /// When it could not be made durable.
    pub fn put_consistency(&self, date: Date, body: &[u8]) -> io::Result<()> {
        put(&self.consistency_path(date), body)
    }

    fn stamp_path(&self, date: Date, ending: &str) -> PathBuf {
        let text = date.to_string();
        self.stamps.join(&text[..4]).join(format!("{text}.{ending}"))
    }

    /// The time stamp over the head of that day, whose file ends so.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn stamp(&self, date: Date, ending: &str) -> io::Result<Option<Vec<u8>>> {
        read(&self.stamp_path(date, ending))
    }

    /// Whether it is there.
    ///
    /// # Errors
    /// When that cannot be told.
    pub fn has_stamp(&self, date: Date, ending: &str) -> io::Result<bool> {
        self.stamp_path(date, ending).try_exists()
    }

    /// Keeps it; one that is there already stays as it is.
    ///
    /// # Errors
    /// When it could not be made durable.
    pub fn put_stamp(&self, date: Date, ending: &str, bytes: &[u8]) -> io::Result<()> {
        put(&self.stamp_path(date, ending), bytes)
    }

    fn rotation_path(&self, position: Position) -> PathBuf {
        self.dir.join(ROTATIONS).join(format!("{position}.tlog-proof"))
    }

    /// The rotation at that position, proven under the checkpoint that both keys signed.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn rotation(&self, position: Position) -> io::Result<Option<Vec<u8>>> {
        read(&self.rotation_path(position))
    }

    /// Keeps it; one that is there already stays as it is.
    ///
    /// # Errors
    /// When it could not be made durable.
    pub fn put_rotation(&self, position: Position, proof: &[u8]) -> io::Result<()> {
        put(&self.rotation_path(position), proof)
    }

    /// The positions of rotations, rising.
    ///
    /// # Errors
    /// When they cannot be listed: a part of them is no answer.
    pub fn rotations(&self) -> io::Result<Vec<Position>> {
        let mut positions = Vec::new();
        for file in list(&self.dir.join(ROTATIONS))? {
            let name = file.file_name();
            let position = name.to_str().and_then(|name| name.strip_suffix(HEAD_END));
            positions.extend(position.and_then(|it| it.parse().ok()).map(Position));
        }
        positions.sort_unstable();
        Ok(positions)
    }

    /// The latest checkpoint that a witness has cosigned, with its lines.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn cosigned(&self) -> io::Result<Option<Vec<u8>>> {
        read(&self.dir.join(COSIGNED))
    }

    /// Keeps it. It is a copy of what witnesses have: losing it loses nothing that they would not sign again.
    ///
    /// # Errors
    /// When it could not be made durable.
    pub fn put_cosigned(&self, note: &[u8]) -> io::Result<()> {
        replace(&self.dir.join(COSIGNED), note)
    }

    /// The days that have a head, rising.
    ///
    /// # Errors
    /// When they cannot be listed: a part of them is no answer.
    pub fn dates(&self) -> io::Result<Vec<Date>> {
        let mut dates = Vec::new();
        for year in list(&self.dir)? {
            if !year.file_type()?.is_dir() {
                continue;
            }
            for file in list(&year.path())? {
                let name = file.file_name();
                let date = name.to_str().and_then(|name| name.strip_suffix(HEAD_END));
                dates.extend(date.and_then(|date| Date::parse(date).ok()));
            }
        }
        dates.sort_unstable();
        Ok(dates)
    }
}

/// How the name of a head's file ends.
const HEAD_END: &str = ".tlog-proof";

/// What a file holds; `None` only where there is none.
fn read(path: &Path) -> io::Result<Option<Vec<u8>>> {
    match std::fs::read(path) {
        Ok(bytes) => Ok(Some(bytes)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(at(path, &error)),
    }
}

/// Keeps a file; one that is there already stays as it is.
fn put(path: &Path, bytes: &[u8]) -> io::Result<()> {
    if path.try_exists()? {
        return Ok(());
    }
    replace(path, bytes)
}

/// What is in a directory, which need not be there.
fn list(dir: &Path) -> io::Result<Vec<std::fs::DirEntry>> {
    match std::fs::read_dir(dir) {
        Ok(files) => files.collect(),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
        Err(error) => Err(at(dir, &error)),
    }
}

/// The same error, with the file's name.
fn at(path: &Path, error: &io::Error) -> io::Error {
    io::Error::new(error.kind(), format!("{}: {error}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use domain::TreeSize;
    use domain::checkpoint::{Checkpoint, SignedCheckpoint};
    use domain::cosignature::CosigningKey;
    use domain::note::{NoteSignature, SigningKey};

    fn head(lines: &[u8]) -> Vec<u8> {
        let key = SigningKey::from_seed("log.example", &[1; 32]).expect("a name");
        let leaf = domain::hash::leaf_hash(b"entry");
        let checkpoint = Checkpoint::new("log.example", TreeSize(1), leaf).expect("valid");
        let mut checkpoint = SignedCheckpoint::sign(checkpoint, &[&key]).expect("valid");
        let text = checkpoint.note().text().to_owned();
        for seed in lines {
            let witness = CosigningKey::from_seed("w.example", &[*seed; 32]).expect("a name");
            let line = NoteSignature::sign(&text, &witness.at(7)).expect("a line");
            checkpoint.note_mut().add(line).expect("room");
        }
        let proof = TlogProof {
            extra: Some(b"entry".to_vec()),
            index: Position(0),
            hashes: Vec::new(),
            checkpoint,
        };
        proof.encode().into_bytes()
    }

    #[test]
    fn a_head_gains_lines_and_never_changes_otherwise() {
        let dir = tempfile::tempdir().expect("a directory");
        let heads = HeadStore::new(dir.path());
        let date = Date::parse("2026-05-17").expect("a day");
        assert!(heads.add_lines(date, &head(&[2])).is_err(), "there is none");
        heads.put(date, &head(&[])).expect("kept");
        heads.add_lines(date, &head(&[2])).expect("a line more");
        heads.add_lines(date, &head(&[2, 3])).expect("a line more");
        let kept = heads.get(date).expect("readable").expect("there");
        assert_eq!(kept, head(&[2, 3]));
        let other = String::from_utf8(head(&[2, 3, 4]))
            .expect("text")
            .replace("index 0", "index 1");
        for (what, bad) in [
            ("a line less", head(&[2])),
            ("another line instead", head(&[2, 4])),
            ("another index", other.into_bytes()),
            ("no head", b"none".to_vec()),
        ] {
            assert!(heads.add_lines(date, &bad).is_err(), "{what}");
            assert_eq!(heads.get(date).expect("readable").as_ref(), Some(&kept), "{what}");
        }
        heads.put_late(date, b"late").expect("kept");
        heads.put_late(date, b"later").expect("the first stays");
        heads.put_cosigned(b"note").expect("kept");
        heads.put_consistency(date, b"old 1").expect("kept");
        assert_eq!(heads.late(date).expect("readable").as_deref(), Some(&b"late"[..]));
        assert_eq!(
            heads.consistency(date).expect("readable").as_deref(),
            Some(&b"old 1"[..])
        );
        assert_eq!(heads.dates().expect("listed"), [date], "none of these is a day");
    }

    #[test]
    fn what_cannot_be_read_is_not_absent() {
        let dir = tempfile::tempdir().expect("a directory");
        let heads = HeadStore::new(&dir.path().join("heads"));
        let date = Date::parse("2026-05-17").expect("a day");
        assert!(heads.dates().expect("nothing yet").is_empty());
        assert_eq!(heads.get(date).expect("nothing yet"), None);
        // A directory stands where a file belongs, and a file where a year does.
        std::fs::create_dir_all(dir.path().join("heads/2026/2026-05-17.tlog-proof")).expect("made");
        let error = heads.get(date).expect_err("no absence");
        assert!(error.to_string().contains("2026-05-17"), "{error}");
        std::fs::create_dir_all(dir.path().join("heads/2026/2026-05-17.tsr")).expect("made");
        assert!(heads.stamp(date, "tsr").is_err());
        assert_eq!(heads.stamp(date, "ots").expect("nothing yet"), None);
        assert!(heads.rotations().expect("nothing yet").is_empty());
        std::fs::create_dir_all(dir.path().join("heads/keys/7.tlog-proof")).expect("made");
        assert!(heads.rotation(Position(7)).is_err());
        std::fs::write(dir.path().join("file"), b"").expect("written");
        assert!(HeadStore::new(&dir.path().join("file")).dates().is_err());
        std::fs::write(dir.path().join("keys"), b"").expect("written");
        assert!(HeadStore::new(dir.path()).rotations().is_err());
    }
}
