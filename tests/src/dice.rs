//! Chance that can be repeated: everything random in a test follows from one seed.
//!
//! Source: SplitMix64 (Steele, Lea, Flood 2014). Not here: anything that must not be guessed.

/// The environment variable that sets the seed of tests that use chance.
pub const SEED_VARIABLE: &str = "DAYBOOK_SEED";

/// A generator with a seed.
#[derive(Debug, Clone)]
pub struct Dice {
    state: u64,
}

impl Dice {
    /// The numbers that follow from `seed`.
    pub const fn new(seed: u64) -> Self {
        Self { state: seed }
    }

    /// With `DAYBOOK_SEED`, or this seed where it is not set; says which, so that a failure can be repeated.
    ///
    /// # Panics
    /// Where the variable is not a number.
    pub fn from_environment(seed: u64) -> Self {
        let seed = std::env::var(SEED_VARIABLE).map_or(seed, |text| text.parse().expect("a number"));
        eprintln!("{SEED_VARIABLE}={seed}");
        Self::new(seed)
    }

    /// 64 bits.
    pub const fn roll(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.state;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// One of 0 to `end` − 1; 0 where `end` is 0. The bias is below 2^−32 for what tests ask.
    pub const fn below(&mut self, end: u64) -> u64 {
        match end {
            0 => 0,
            end => self.roll() % end,
        }
    }

    /// True in `percent` of a hundred cases.
    pub const fn chance(&mut self, percent: u64) -> bool {
        self.below(100) < percent
    }

    /// A generator of its own, for a thread.
    pub const fn another(&mut self) -> Self {
        Self::new(self.roll())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_gives_the_published_numbers() {
        let mut dice = Dice::new(1_234_567);
        assert_eq!(dice.roll(), 6_457_827_717_110_365_317);
        assert_eq!(dice.roll(), 3_203_168_211_198_807_973);
    }

    #[test]
    fn every_side_comes_up() {
        let mut dice = Dice::new(7);
        let mut seen = [false; 6];
        for _ in 0..200 {
            seen[dice.below(6) as usize] = true;
        }
        assert_eq!(seen, [true; 6]);
        assert_eq!(dice.below(0), 0);
    }
}
