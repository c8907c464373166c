//! The only randomness of the house: a ChaCha20 generator, seeded by the operating system.
//!
//! Invariants: the seed comes from `getrandom` and nothing else; it is renewed after `RESEED_BYTES`, so that
//! memory read later says nothing about what was drawn much earlier.
//! Not here: what the bytes are used for.

use domain::ports::Entropy;
use parking_lot::Mutex;
use rand_chacha::ChaCha20Rng;
use rand_core::{OsRng, RngCore, SeedableRng};

/// Bytes drawn before the generator is seeded anew: 16 MiB, a million salts, so that a seed lives for minutes
/// under load and the operating system is asked rarely.
const RESEED_BYTES: usize = 16 << 20;

/// A seeded generator behind a lock that is held for nanoseconds.
pub struct SeededEntropy {
    state: Mutex<State>,
}

struct State {
    rng: ChaCha20Rng,
    drawn: usize,
}

/// The operating system gave no randomness.
#[derive(Debug, thiserror::Error)]
#[error("the operating system gives no random bytes: {0}")]
pub struct EntropyError(String);

impl SeededEntropy {
    /// Seeded by the operating system.
    ///
    /// # Errors
    /// Where the operating system gives no random bytes; nothing may be started then.
    pub fn from_os() -> Result<Self, EntropyError> {
        Ok(Self {
            state: Mutex::new(State {
                rng: fresh()?,
                drawn: 0,
            }),
        })
    }
}

fn fresh() -> Result<ChaCha20Rng, EntropyError> {
    let mut seed = [0u8; 32];
    OsRng
        .try_fill_bytes(&mut seed)
        .map_err(|error| EntropyError(error.to_string()))?;
    Ok(ChaCha20Rng::from_seed(seed))
}

impl Entropy for SeededEntropy {
    fn fill(&self, out: &mut [u8]) {
        let mut state = self.state.lock();
        state.drawn += out.len();
        if state.drawn > RESEED_BYTES {
            // The generator stays sound without a new seed, so a refusal now is no reason to stop.
            if let Ok(rng) = fresh() {
                state.rng = rng;
                state.drawn = out.len();
            }
        }
        state.rng.fill_bytes(out);
    }
}

/// `prefix` and sixteen random bytes as 26 lower-case base32 characters (RFC 4648 §6, without padding).
pub fn id(entropy: &dyn Entropy, prefix: &str) -> String {
    const ALPHABET: &[u8; 32] = b"abcdefghijklmnopqrstuvwxyz234567";
    let mut random = [0u8; 16];
    entropy.fill(&mut random);
    let mut bits = u128::from_be_bytes(random);
    // 26 × 5 = 130 bits: the last character holds the lowest three bits, shifted by two.
    let mut tail = [0u8; 26];
    tail[25] = ALPHABET[((bits & 0b111) << 2) as usize];
    bits >>= 3;
    for slot in tail[..25].iter_mut().rev() {
        *slot = ALPHABET[(bits & 31) as usize];
        bits >>= 5;
    }
    let mut text = String::with_capacity(prefix.len() + tail.len());
    text.push_str(prefix);
    text.extend(tail.iter().map(|&b| char::from(b)));
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Fixed([u8; 16]);

    impl Entropy for Fixed {
        fn fill(&self, out: &mut [u8]) {
            out.copy_from_slice(&self.0);
        }
    }

    #[test]
    fn two_draws_differ_and_a_new_seed_is_drawn_after_the_limit() {
        let entropy = SeededEntropy::from_os().expect("the system has randomness");
        let (mut a, mut b) = ([0u8; 32], [0u8; 32]);
        entropy.fill(&mut a);
        entropy.fill(&mut b);
        assert_ne!(a, b);
        entropy.state.lock().drawn = RESEED_BYTES;
        entropy.fill(&mut a);
        assert_eq!(entropy.state.lock().drawn, a.len());
    }

    #[test]
    fn ids_are_base32_of_their_bytes() {
        // As Python's base64.b32encode writes it, lower case, without padding.
        assert_eq!(id(&Fixed([0; 16]), "req_"), format!("req_{}", "a".repeat(26)));
        assert_eq!(id(&Fixed([255; 16]), ""), "77777777777777777777777774");
        let counted: [u8; 16] = std::array::from_fn(|i| i as u8);
        assert_eq!(id(&Fixed(counted), ""), "aaaqeayeaudaocajbifqydiob4");
    }
}
