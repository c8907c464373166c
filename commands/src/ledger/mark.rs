//! The mark `synced`: up to which size the derived files are known to be on disk.
//!
//! *Derived.* Invariant: whatever the mark covers was synced before the mark was written, so that after any crash
//! only what comes behind it has to be rebuilt. A mark that is damaged, or that does not fit the frames or the
//! hashes, is not believed: then everything derived is rebuilt from the entries.
//! Not here: the rebuilding (`recover`).

use super::blob::{self, Blob, ReplaceError};
use super::disk::Disk;
use domain::Hash;
use std::io;
use std::path::Path;

/// Its name in the ledger's folder.
pub const NAME: &str = "synced";
const VERSION: &str = "daybook/synced/v1";

/// A frame's border up to which the derived files are durable.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Mark {
    /// The tree's size there.
    pub size: u64,
    /// The root at that size.
    pub root: Hash,
    /// The segment that is going on there.
    pub segment: u32,
    /// Where in it its last frame begins; `None` if it has none yet.
    pub last_frame: Option<u64>,
}

impl Mark {
    /// Reads it; `None` where there is none to be believed.
    pub fn load(disk: &dyn Disk, dir: &Path) -> io::Result<Option<Self>> {
        match blob::load(disk, &dir.join(NAME))? {
            Blob::Whole(bytes) => Ok(Self::parse(&bytes)),
            Blob::Damaged | Blob::Missing => Ok(None),
        }
    }

    /// Replaces it; it is durable when this returns `Ok`.
    pub fn store(&self, disk: &dyn Disk, dir: &Path) -> Result<(), ReplaceError> {
        let last_frame = self.last_frame.map_or("-".to_owned(), |at| at.to_string());
        let text = format!(
            "{VERSION}\nsize {}\nroot {}\nsegment {}\nlast-frame {last_frame}\n",
            self.size, self.root, self.segment
        );
        blob::replace(disk, &dir.join(NAME), text.as_bytes())
    }

    fn parse(bytes: &[u8]) -> Option<Self> {
        let mut lines = std::str::from_utf8(bytes).ok()?.lines();
        if lines.next()? != VERSION {
            return None;
        }
        Some(Self {
            size: lines.next()?.strip_prefix("size ")?.parse().ok()?,
            root: Hash::from_base64(lines.next()?.strip_prefix("root ")?)?,
            segment: lines.next()?.strip_prefix("segment ")?.parse().ok()?,
            last_frame: match lines.next()?.strip_prefix("last-frame ")? {
                "-" => None,
                at => Some(at.parse().ok()?),
            },
        })
    }
}
