//! At start: the latest signed checkpoint as it stands in the folder and outside, and whether the ledger is its.
//!
//! Invariants: a folder whose tree does not give every checkpoint that stands anywhere is not opened; the larger of
//! two that both fit is the latest.
//! Not here: replacing it while running (`guard`).

use super::Options;
use super::disk::Disk;
use super::error::{OpenError, corrupt, io_error};
use super::guard::{NAME, Signed, Standing, anchor_path};
use super::hashes::HashFiles;
use super::view::frontier_at;
use domain::position::TreeSize;
use std::path::{Path, PathBuf};

/// The latest signed checkpoint, as it stands in the folder and outside.
pub(super) struct Checkpoints {
    inside: Standing,
    inside_path: PathBuf,
    outside: Option<Signed>,
    outside_path: Option<PathBuf>,
}

impl Checkpoints {
    pub(super) fn load(disk: &dyn Disk, dir: &Path, options: &Options) -> Result<Self, OpenError> {
        let inside_path = dir.join(NAME);
        let inside = Standing::load(disk, &inside_path).map_err(io_error("reading the latest checkpoint"))?;
        let found = inside.signed().map(|signed| signed.says.origin().to_owned());
        if let (Some(expected), Some(found)) = (&options.origin, &found)
            && expected != found
        {
            return Err(OpenError::OtherOrigin {
                dir: dir.to_owned(),
                expected: expected.clone(),
                found: found.clone(),
            });
        }
        let origin = options.origin.clone().or(found);
        let outside_path = options
            .anchor
            .as_ref()
            .zip(origin)
            .map(|(folder, origin)| anchor_path(folder, &origin));
        let outside = match &outside_path {
            Some(path) => match Standing::load(disk, path).map_err(io_error("reading the anchor"))? {
                Standing::Damaged => return Err(OpenError::AnchorDamaged { path: path.clone() }),
                standing => standing.signed().cloned(),
            },
            None => None,
        };
        if inside == Standing::Damaged && outside.is_none() {
            let reason = "`checkpoint` is damaged and no anchor has it: restore it from a copy";
            return Err(corrupt(0, reason));
        }
        Ok(Self {
            inside,
            inside_path,
            outside,
            outside_path,
        })
    }

    /// The largest that was signed.
    pub(super) fn latest(&self) -> Option<&Signed> {
        let inside = self.inside.signed();
        match &self.outside {
            Some(outside) if inside.is_none_or(|inside| inside.size() < outside.size()) => Some(outside),
            _ => inside,
        }
    }

    /// What the folder itself says was signed: entries missing below it are damage, below the anchor only an older
    /// copy.
    pub(super) fn signed_inside(&self) -> u64 {
        match (&self.inside, &self.outside) {
            (Standing::Damaged, Some(outside)) => outside.size(),
            _ => self.inside.signed().map_or(0, Signed::size),
        }
    }

    /// The latest, if it does not stand in both places.
    pub(super) fn to_repair(&self) -> Option<&Signed> {
        let latest = self.latest()?;
        let outside_is = self.outside_path.is_none() || self.outside.as_ref() == Some(latest);
        (self.inside.signed() != Some(latest) || !outside_is).then_some(latest)
    }

    /// Refuses a folder that is older than what was signed.
    pub(super) fn covered_by(&self, dir: &Path, size: u64) -> Result<(), OpenError> {
        match (&self.outside, &self.outside_path) {
            (Some(outside), Some(path)) if outside.size() > size => Err(OpenError::Older {
                dir: dir.to_owned(),
                size: TreeSize(size),
                anchored: outside.says.size(),
                anchor: path.clone(),
            }),
            _ => Ok(()),
        }
    }

    /// The checkpoints and where they stand.
    pub(super) fn all(&self) -> impl Iterator<Item = (&Signed, &Path)> {
        let outside = self.outside.iter().zip(self.outside_path.as_deref());
        let inside = self
            .inside
            .signed()
            .map(|signed| (signed, self.inside_path.as_path()));
        inside.into_iter().chain(outside)
    }
}
/// The first checkpoint that the tree does not give, and where it stands.
pub(super) fn first_inconsistent(
    checkpoints: &Checkpoints,
    hashes: &HashFiles,
) -> Option<(TreeSize, PathBuf)> {
    checkpoints.all().find_map(|(signed, path)| {
        let frontier = frontier_at(hashes, signed.size());
        let same = frontier.is_ok_and(|frontier| frontier.root() == signed.says.root());
        (!same).then(|| (signed.says.size(), path.to_owned()))
    })
}
