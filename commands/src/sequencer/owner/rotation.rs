//! The entry that brings a new key into force, and what must be signed right behind it.
//!
//! Not here: the order of the steps and what a crash leaves at each (`sequencer::rotate`).

use super::{GroupAnswer, Owner, unknown};
use crate::sequencer::checkpoints::CheckpointError;
use crate::sequencer::handle::stopping;
use crate::sequencer::rotate::{NextKey, RotationOrder, Settled, other_vouchers};
use crate::sequencer::types::{RecordError, Writing};
use domain::entry::Entry;
use domain::merkle::Frontier;
use domain::note::Note;
use domain::rotation::{KEY_ROTATED, KeyRotated};
use domain::{Position, TreeSize};

impl Owner {
    /// Records it in a commit of its own, and signs the checkpoint that ends with it.
    pub(super) fn rotate(&mut self, order: RotationOrder) -> GroupAnswer {
        let now = self.believe_clock().map(|(now, _)| now);
        if let Some(now) = now.filter(|_| self.state.is_some()) {
            self.close_days(now);
        }
        if let Some(refusal) = self.refusal() {
            return Err(refusal);
        }
        let (Some(now), true) = (now, self.land()) else {
            return Err(stopping());
        };
        let Some(state) = &self.state else {
            return Err(stopping());
        };
        // A commit of its own: nobody else's entry can come before it.
        let position = state.size().next_position();
        let event = (order.make)(position).map_err(RecordError::TooLarge)?;
        self.begin(now);
        self.next_key = Some(order.next.clone());
        self.checkpointer.hand_over(order.next.at(position));
        let recorded = match self.record_own(event) {
            Ok(recorded) => recorded,
            Err(error) => {
                // Whether it stands is found when the state is loaded again; until then nothing is signed beyond it.
                if self.state.is_some() {
                    self.checkpointer.withdraw();
                    self.next_key = None;
                }
                return Err(error);
            }
        };
        match self.prove_rotation(&order.next, position) {
            Ok(()) => {
                self.next_key = None;
                Ok(recorded)
            }
            Err(error) => {
                let reason =
                    format!("the KeyRotated at position {position} is recorded and not signed: {error}");
                tracing::error!(%error, %position, "a rotation was recorded and not signed");
                self.set_writing(Writing::StoreFailing(reason.clone()));
                self.give_up(&unknown(&reason));
                Err(unknown(&reason))
            }
        }
    }

    /// Signs the checkpoint that ends with the rotation, where it is not signed yet, and keeps the proof.
    fn prove_rotation(&self, next: &NextKey, position: Position) -> Result<(), CheckpointError> {
        let size = position.size_through();
        let latest = self.checkpointer.latest();
        let signed = latest.as_ref().map_or(TreeSize::EMPTY, |(size, _)| *size);
        if signed > size {
            // Nothing larger is signed before the proof is kept.
            self.checkpointer.handed_over(next);
            return Ok(());
        }
        let root = Frontier::from_nodes(size, &*self.ports.tiles)
            .map_err(|error| CheckpointError::Unreadable(error.to_string()))?
            .root();
        let note = self.checkpointer.sign(size, root)?;
        self.checkpointer.handed_over(next);
        let entry = self.entry_before(size).map_err(CheckpointError::Unreadable)?;
        let proof = crate::heads::head(&*self.ports.tiles, &entry, size, &note)
            .map_err(CheckpointError::Unreadable)?;
        self.settings
            .heads
            .put_rotation(position, &proof)
            .map_err(|error| CheckpointError::Unreadable(format!("the rotation's proof: {error}")))
    }

    /// What became of the key that was being brought into force when the state was lost: where its entry stands, what
    /// must follow is made good.
    pub(super) fn settle_rotation(&mut self) -> Result<Option<Settled>, CheckpointError> {
        let Some(next) = self.next_key.clone() else {
            return Ok(None);
        };
        self.checkpointer.withdraw();
        let Some((position, note)) = self.rotation_to(&next.vkey)? else {
            self.next_key = None;
            return Ok(Some(Settled::NotRecorded));
        };
        let latest = self.checkpointer.latest();
        let signed = latest.map_or(TreeSize::EMPTY, |(size, _)| size);
        if !signed.contains(position) {
            let lines = note.signatures();
            let on_note = |(name, id): &(String, domain::note::KeyId)| {
                lines
                    .iter()
                    .any(|line| line.name() == name && line.key_id() == *id)
            };
            if !next.vouchers.iter().all(on_note) {
                return Err(other_vouchers(position));
            }
            self.checkpointer.hand_over(next.at(position));
            // Days that were closed below it come first: sizes rise.
            self.finish_heads()?;
        }
        self.prove_rotation(&next, position)?;
        self.next_key = None;
        Ok(Some(Settled::InForce(position)))
    }

    /// The newest rotation to that key.
    fn rotation_to(&self, vkey: &str) -> Result<Option<(Position, Note)>, CheckpointError> {
        let Some(state) = &self.state else { return Ok(None) };
        let unreadable = |what: String| CheckpointError::Unreadable(what);
        for position in self.positions.of("ledger", "main").into_iter().rev() {
            if !state.size().contains(position) {
                continue;
            }
            let bytes = self.entry_before(position.size_through()).map_err(unreadable)?;
            let Some(entry) = Entry::read(&bytes).ok().filter(|it| it.event_type == KEY_ROTATED) else {
                continue;
            };
            let said: KeyRotated = serde_json::from_slice(entry.payload)
                .map_err(|error| unreadable(format!("the KeyRotated at position {position}: {error}")))?;
            if said.new == vkey {
                let note = Note::parse(said.note.as_bytes());
                let note = note
                    .map_err(|error| unreadable(format!("the KeyRotated at position {position}: {error}")))?;
                return Ok(Some((position, note)));
            }
        }
        Ok(None)
    }
}
