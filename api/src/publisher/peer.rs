//! Files that the other process wrote: read with a limit, and only where they are files.
//!
//! The service and the publisher need not trust each other: a pipe in a file's place would make the reader wait for ever,
//! and a file without end fill its memory.
//! Not here: what stands in them.

use std::fs::OpenOptions;
use std::io::{self, Read};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

/// Bytes of a file of a few lines: a checkpoint with its signatures, a key.
pub const SMALL_BYTES_MAX: u64 = 64 << 10;

/// The whole of a file of at most so many bytes; `None` where there is none.
///
/// # Errors
/// Where it cannot be read, is larger, or is none.
pub fn read(path: &Path, bytes_max: u64) -> io::Result<Option<Vec<u8>>> {
    let mut options = OpenOptions::new();
    // Without waiting for whoever is to write into a pipe.
    let flags = rustix::fs::OFlags::NONBLOCK.bits().cast_signed();
    let file = match options.read(true).custom_flags(flags).open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    let wrong = |words: String| io::Error::new(io::ErrorKind::InvalidData, words);
    if !file.metadata()?.is_file() {
        return Err(wrong("this is no file".to_owned()));
    }
    let mut bytes = Vec::new();
    file.take(bytes_max + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > bytes_max {
        return Err(wrong(format!("it is larger than {bytes_max} bytes")));
    }
    Ok(Some(bytes))
}

/// The same as text.
///
/// # Errors
/// As [`read`], and where it is none.
pub fn read_text(path: &Path) -> io::Result<Option<String>> {
    let bytes = read(path, SMALL_BYTES_MAX)?;
    let text = bytes.map(String::from_utf8).transpose();
    text.map_err(|_| io::Error::new(io::ErrorKind::InvalidData, "it is not text"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pipe_a_folder_and_a_file_without_end_are_refused_at_once() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("to-sign");
        assert_eq!(read(&path, 4).expect("nothing there"), None);
        std::fs::write(&path, b"four").expect("written");
        assert_eq!(read(&path, 4).expect("it fits"), Some(b"four".to_vec()));
        let refused = |path: &Path| read(path, 3).expect_err("refused").to_string();
        assert!(refused(&path).contains("larger than 3 bytes"));
        assert!(refused(dir.path()).contains("no file"));
        assert!(refused(Path::new("/dev/zero")).contains("no file"));
        let pipe = dir.path().join("pipe");
        let made = std::process::Command::new("mkfifo").arg(&pipe).status();
        assert!(made.expect("mkfifo runs").success());
        assert!(refused(&pipe).contains("no file"));
    }
}
