//! SHA-256 values and the two hashes of the tree (RFC 6962 §2.1).
//!
//! Invariant: a leaf is hashed behind 0x00 and a node behind 0x01, so that neither can be passed off as the other.
//! Not here: the tree itself (`merkle`), streams' chains (`stream`).

use base64::{Engine, engine::general_purpose::STANDARD, engine::general_purpose::URL_SAFE_NO_PAD};
use sha2::digest::generic_array::GenericArray;
use sha2::{Digest, Sha256, compress256};

/// A SHA-256 value, 32 bytes.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Hash(pub [u8; 32]);

impl Hash {
    /// The root of the empty tree: SHA-256 of nothing (RFC 6962 §2.1).
    pub fn empty_root() -> Self {
        sha256(&[])
    }

    /// Standard base64 with padding, 44 characters.
    pub fn to_base64(&self) -> String {
        STANDARD.encode(self.0)
    }

    /// Reads what [`Hash::to_base64`] writes; nothing else.
    pub fn from_base64(text: &str) -> Option<Self> {
        let bytes = STANDARD.decode(text).ok()?;
        Some(Self(bytes.try_into().ok()?))
    }

    /// Lower-case hexadecimal, 64 characters.
    pub fn to_hex(&self) -> String {
        self.0.iter().map(|b| format!("{b:02x}")).collect()
    }
}

impl std::fmt::Debug for Hash {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.to_base64())
    }
}

impl std::fmt::Display for Hash {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.to_base64())
    }
}

impl serde::Serialize for Hash {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.to_base64())
    }
}

impl<'de> serde::Deserialize<'de> for Hash {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = <std::borrow::Cow<'de, str> as serde::Deserialize>::deserialize(deserializer)?;
        Self::from_base64(&text).ok_or_else(|| serde::de::Error::custom("not a base64 SHA-256 value"))
    }
}

/// SHA-256 of `bytes`.
pub fn sha256(bytes: &[u8]) -> Hash {
    Hash(Sha256::digest(bytes).into())
}

/// SHA-256 of the concatenation of `parts`.
pub fn sha256_of(parts: &[&[u8]]) -> Hash {
    let mut hasher = Sha256::new();
    for part in parts {
        hasher.update(part);
    }
    Hash(hasher.finalize().into())
}

/// SHA-256 of bytes that come piece by piece.
#[derive(Clone, Default)]
pub struct Sha256Stream(Sha256);

impl Sha256Stream {
    /// Of nothing yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// The next bytes.
    pub fn update(&mut self, bytes: &[u8]) {
        self.0.update(bytes);
    }

    /// SHA-256 of all of them.
    pub fn finish(self) -> Hash {
        Hash(self.0.finalize().into())
    }
}

/// The leaf hash of an entry, H(0x00 ‖ entry).
pub fn leaf_hash(entry: &[u8]) -> Hash {
    sha256_of(&[&[0x00], entry])
}

/// The hash of an interior node, H(0x01 ‖ left ‖ right).
pub fn node_hash(left: &Hash, right: &Hash) -> Hash {
    let mut message = [0u8; 128];
    message[0] = 0x01;
    message[1..33].copy_from_slice(&left.0);
    message[33..65].copy_from_slice(&right.0);
    two_blocks(message, 65)
}

/// SHA-256 of two hashes one behind the other.
pub fn pair_hash(first: &Hash, second: &Hash) -> Hash {
    let mut message = [0u8; 128];
    message[..32].copy_from_slice(&first.0);
    message[32..64].copy_from_slice(&second.0);
    two_blocks(message, 64)
}

/// SHA-256 of the first `length` bytes of `message`, whose rest is zeros; with its padding it fills two blocks.
///
/// Every node and every link of a chain is of this shape, and needs nothing of what a streaming hasher keeps account of.
/// Source: FIPS 180-4 §5.1.1, §5.3.3, §6.2.
fn two_blocks(mut message: [u8; 128], length: usize) -> Hash {
    debug_assert!((56..=119).contains(&length));
    message[length] = 0x80;
    message[120..].copy_from_slice(&(length as u64 * 8).to_be_bytes());
    let mut blocks = [GenericArray::default(); 2];
    for (block, bytes) in blocks.iter_mut().zip(message.chunks_exact(64)) {
        block.copy_from_slice(bytes);
    }
    let mut state = INITIAL;
    compress256(&mut state, &blocks);
    let mut hash = Hash::default();
    for (bytes, word) in hash.0.chunks_exact_mut(4).zip(state) {
        bytes.copy_from_slice(&word.to_be_bytes());
    }
    hash
}

/// Where SHA-256 begins (FIPS 180-4 §5.3.3).
const INITIAL: [u32; 8] = [
    0x6a09_e667,
    0xbb67_ae85,
    0x3c6e_f372,
    0xa54f_f53a,
    0x510e_527f,
    0x9b05_688c,
    0x1f83_d9ab,
    0x5be0_cd19,
];

/// base64url without padding (RFC 4648 §5).
pub fn base64url(bytes: &[u8]) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

/// Reads what [`base64url`] writes; nothing else.
pub fn from_base64url(text: &str) -> Option<Vec<u8>> {
    URL_SAFE_NO_PAD.decode(text).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn what_fits_two_blocks_hashes_as_the_library_says(left in any::<[u8; 32]>(), right in any::<[u8; 32]>()) {
            let (l, r) = (Hash(left), Hash(right));
            prop_assert_eq!(node_hash(&l, &r), sha256_of(&[&[0x01], &left, &right]));
            prop_assert_eq!(pair_hash(&l, &r), sha256_of(&[&left, &right]));
        }
    }
}
