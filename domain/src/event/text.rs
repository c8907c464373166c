//! Free text and personal data on its way into a payload: plain in memory, sealed in the ledger.
//!
//! Invariant: a plain text cannot be serialised and is not shown by `Debug`; what is read back is sealed.
//! Not here: sealing itself (`sealed`), which key (`commands`).

use crate::sealed::Sealed;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// A text of a payload.
#[derive(Clone, PartialEq, Eq)]
pub enum Text {
    /// As somebody typed it; must be sealed before it is written.
    Plain(String),
    /// As it stands in the ledger.
    Sealed(Sealed),
}

impl Text {
    /// The sealed form; `None` while it is plain.
    pub const fn sealed(&self) -> Option<&Sealed> {
        match self {
            Self::Plain(_) => None,
            Self::Sealed(sealed) => Some(sealed),
        }
    }
}

impl std::fmt::Debug for Text {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Plain(_) => "Plain(…)",
            Self::Sealed(_) => "Sealed(…)",
        })
    }
}

impl Serialize for Text {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Plain(_) => Err(serde::ser::Error::custom(
                "free text must be sealed before it is written",
            )),
            Self::Sealed(sealed) => sealed.serialize(serializer),
        }
    }
}

impl<'de> Deserialize<'de> for Text {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Sealed::deserialize(deserializer).map(Self::Sealed)
    }
}
