//! Aggregates: the state of one stream, what may be asked of it, and what follows.
//!
//! Invariants: `decide` is pure and gives events that carry every old value; `apply` never fails and takes events
//! in the order of their sequence; what a command does not change gives no event.
//! Not here: what spans several streams, such as unique ids (`registry`); sealing (`sealed`), which happens
//! between `decide` and `apply`.

pub mod account;
pub mod alarm;
pub mod annotations;
pub mod artefact;
pub mod channel;
pub mod contact;
pub mod device;
pub mod integration;
pub mod pack;
pub mod rule;
pub mod silence;
pub mod site;
pub mod standing;
#[cfg(test)]
mod tests;
pub mod text;
pub mod tokens;
pub mod user;

pub use account::Account;
pub use alarm::Alarm;
pub use annotations::Annotations;
pub use artefact::Artefact;
pub use channel::{Channel, Limits};
pub use contact::Contact;
pub use device::Device;
pub use integration::Integration;
pub use pack::Pack;
pub use rule::Rule;
pub use silence::Silence;
pub use site::Site;
pub use standing::Standing;
pub use tokens::Tokens;
pub use user::User;

use crate::event::{Event, Text, TextChange};
use crate::rejection::Rejection;
use crate::sealed::{Place, SealedField};

/// What an entry adds to its event, as far as a state needs it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stamp<'a> {
    /// The entry's sequence in its stream.
    pub sequence: u64,
    /// The entry's salt, as it stands.
    pub salt: &'a str,
}

impl Stamp<'_> {
    /// A text of the payload, with where it was sealed.
    fn field(&self, text: &Text, pointer: &str) -> Option<SealedField> {
        let place = Place {
            pointer: pointer.to_owned(),
            salt: self.salt.to_owned(),
            sequence: self.sequence,
        };
        Some(text.sealed()?.clone().at(place))
    }

    /// As [`Stamp::field`], for a text that may be absent.
    fn maybe(&self, text: Option<&Text>, pointer: &str) -> Option<SealedField> {
        self.field(text?, pointer)
    }

    /// Takes a changed text over into a state.
    fn change(&self, state: &mut Option<SealedField>, change: Option<&TextChange>, pointer: &str) {
        if let Some(change) = change {
            *state = self.maybe(change.new.as_ref(), pointer);
        }
    }
}

/// The state of one stream.
pub trait Aggregate: Default {
    /// The stream's type, such as `device`.
    const TYPE: &'static str;
    /// What may be asked of it.
    type Command;

    /// Takes an event over. Events of other types leave it as it is.
    fn apply(&mut self, event: &Event, stamp: Stamp<'_>);

    /// What follows from a command: nothing where nothing changes.
    ///
    /// # Errors
    /// [`Rejection`], with a code of the API.
    fn decide(&self, command: &Self::Command) -> Result<Vec<Event>, Rejection>;

    /// How many events there were; 0 for one that does not exist.
    fn sequence(&self) -> u64;
}
