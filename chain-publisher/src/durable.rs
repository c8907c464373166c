//! Files that are replaced whole or not at all, and are on disk when that is said.
//!
//! Crash between writing and renaming: the old file stands, and beside it lies one whose name ends in `.new`, which the
//! next replacement begins anew.
//! Not here: secrets, whose files only their owner may read (`commands::keys`).

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

/// Puts a file of these bytes, readable by everybody, in the place of the one that is there.
///
/// # Errors
/// What the system says; the old or the new is there then, and the new perhaps not for long.
pub fn replace(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let new = beside(path, "new");
    let mut file = File::create(&new)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    drop(file);
    fs::rename(&new, path)?;
    sync_folder(path)
}

/// The file of that name with `.` and this ending behind it: two that differ in what follows their last point stay two.
pub fn beside(path: &Path, ending: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".");
    name.push(ending);
    PathBuf::from(name)
}

/// Makes durable what was made, renamed or removed in the folder of that file.
///
/// # Errors
/// What the system says.
#[cfg(unix)]
pub fn sync_folder(path: &Path) -> io::Result<()> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
    File::open(folder.unwrap_or(Path::new(".")))?.sync_all()
}

/// A folder cannot be opened for that elsewhere; renaming is journalled there.
///
/// # Errors
/// None.
#[cfg(not(unix))]
pub fn sync_folder(_path: &Path) -> io::Result<()> {
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_crash_left_of_a_new_file_is_begun_anew_and_the_old_one_stands_until_then() {
        let dir = tempfile::tempdir().expect("a scratch directory");
        let path = dir.path().join("seen.txt");
        replace(&path, b"one").expect("written");
        fs::write(beside(&path, "new"), "half of a lon").expect("writable");
        assert_eq!(fs::read(&path).expect("it is there"), b"one");
        replace(&path, b"two").expect("written");
        assert_eq!(fs::read(&path).expect("it is there"), b"two");
        assert!(!beside(&path, "new").exists());
    }
}
