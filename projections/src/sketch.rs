//! A DDSketch: quantiles within 1 % from counts in logarithmic bins.
//!
//! Derived. Invariants: counts are integers and bins depend on the value alone, so merging is associative and
//! commutative, and the same values give the same bytes in whatever order and batches they came. Bins are
//! bounded by construction: what is nearer to zero than [`SMALLEST`] counts as zero, what is beyond [`LARGEST`]
//! counts as that, which leaves at most 5,529 bins, and a channel uses a few dozen.
//! Source: Masson, Rim, Lee, "DDSketch", VLDB 2019; `libm` for the same logarithm on every machine.
//! Not here: minimum, maximum and sum (`rollups`), exact quantiles of raw values (`query`).

/// Magnitudes below it count as zero; it is also the resolution of a rollup's sum.
pub const SMALLEST: f64 = 1e-9;
/// Magnitudes beyond it count as this.
pub const LARGEST: f64 = 1e15;

/// ln((1 + α) / (1 − α)) with α = 0.01.
const LN_GAMMA: f64 = 0.020_000_666_706_669_435;
const GAMMA: f64 = 1.01 / 0.99;
/// Added to a bin's index so that the smallest magnitude has 1.
const SHIFT: i32 = 1_037;

/// Most values of one bin that are believed when read: a century of a channel at 20 kHz.
const COUNT_MAX: u64 = 1 << 46;

/// Counts by bin, bins rising. A bin's sign is the sign of its values; bin 0 is zero.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Sketch {
    bins: Vec<(i32, u64)>,
}

/// The bytes are not a sketch.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a stored sketch does not read; rebuild the projections")]
pub struct SketchError;

/// The bin of a value.
pub fn bin_of(value: f64) -> i32 {
    let magnitude = value.abs();
    // `partial_cmp` rather than `<`: whatever is not a number counts as zero.
    if !matches!(
        magnitude.partial_cmp(&SMALLEST),
        Some(std::cmp::Ordering::Greater | std::cmp::Ordering::Equal)
    ) {
        return 0;
    }
    let index = libm::ceil(libm::log(magnitude.min(LARGEST)) / LN_GAMMA) as i32 + SHIFT;
    if value < 0.0 { -index } else { index }
}

/// The value that stands for a bin: within 1 % of every value in it.
fn value_of(bin: i32) -> f64 {
    if bin == 0 {
        return 0.0;
    }
    let index = f64::from(bin.abs() - SHIFT);
    let magnitude = 2.0 * libm::exp(index * LN_GAMMA) / (GAMMA + 1.0);
    if bin < 0 { -magnitude } else { magnitude }
}

impl Sketch {
    /// Without values.
    pub fn new() -> Self {
        Self::default()
    }

    /// Counts values by their bins; `scratch` is memory to sort in.
    pub fn of_bins(scratch: &mut [i32]) -> Self {
        scratch.sort_unstable();
        let mut bins: Vec<(i32, u64)> = Vec::with_capacity(scratch.len().min(32));
        for &bin in scratch.iter() {
            match bins.last_mut() {
                Some((last, count)) if *last == bin => *count += 1,
                _ => bins.push((bin, 1)),
            }
        }
        Self { bins }
    }

    /// Counts one value.
    pub fn add(&mut self, value: f64) {
        let bin = bin_of(value);
        match self.bins.binary_search_by_key(&bin, |b| b.0) {
            Ok(at) => self.bins[at].1 += 1,
            Err(at) => self.bins.insert(at, (bin, 1)),
        }
    }

    /// Adds another sketch's counts.
    pub fn merge(&mut self, other: &Self) {
        if self.bins.is_empty() {
            self.bins.clone_from(&other.bins);
            return;
        }
        let known = other
            .bins
            .iter()
            .all(|(bin, _)| self.bins.binary_search_by_key(bin, |b| b.0).is_ok());
        if known {
            for (bin, count) in &other.bins {
                if let Ok(at) = self.bins.binary_search_by_key(bin, |b| b.0) {
                    self.bins[at].1 += count;
                }
            }
            return;
        }
        let mine = std::mem::take(&mut self.bins);
        self.bins.reserve(mine.len() + other.bins.len());
        let (mut a, mut b) = (mine.iter().peekable(), other.bins.iter().peekable());
        loop {
            let next = match (a.peek(), b.peek()) {
                (Some(x), Some(y)) if x.0 == y.0 => {
                    let sum = (x.0, x.1 + y.1);
                    a.next();
                    b.next();
                    sum
                }
                (Some(x), Some(y)) if x.0 > y.0 => {
                    let y = **y;
                    b.next();
                    y
                }
                (Some(x), _) => {
                    let x = **x;
                    a.next();
                    x
                }
                (None, Some(y)) => {
                    let y = **y;
                    b.next();
                    y
                }
                (None, None) => break,
            };
            self.bins.push(next);
        }
    }

    /// How many values.
    pub fn count(&self) -> u64 {
        self.bins.iter().map(|b| b.1).sum()
    }

    /// The value at quantile `q` in 0..=1, within 1 %; `None` without values.
    pub fn quantile(&self, q: f64) -> Option<f64> {
        let count = self.count();
        let rank = q.clamp(0.0, 1.0) * count.checked_sub(1)? as f64;
        let mut passed = 0u64;
        for &(bin, n) in &self.bins {
            passed += n;
            if passed as f64 > rank {
                return Some(value_of(bin));
            }
        }
        self.bins.last().map(|b| value_of(b.0))
    }

    /// Appends the one encoding: for each bin its distance from the one before (zigzag) and its count, as LEB128.
    pub fn encode(&self, out: &mut Vec<u8>) {
        let mut before = 0i32;
        for &(bin, count) in &self.bins {
            let distance = bin - before;
            leb128(out, ((distance << 1) ^ (distance >> 31)) as u32 as u64);
            leb128(out, count);
            before = bin;
        }
    }

    /// Reads what [`Sketch::encode`] writes.
    ///
    /// # Errors
    /// [`SketchError`] for other bytes.
    pub fn decode(mut bytes: &[u8]) -> Result<Self, SketchError> {
        let mut bins = Vec::with_capacity(bytes.len() / 2);
        let mut before = 0i64;
        while !bytes.is_empty() {
            let zigzag = take_leb128(&mut bytes)?;
            let count = take_leb128(&mut bytes)?;
            let distance = (zigzag >> 1) as i64 ^ -((zigzag & 1) as i64);
            let bin = before.checked_add(distance).ok_or(SketchError)?;
            let rising = bins.is_empty() || distance > 0;
            if !rising || count == 0 || count > COUNT_MAX || bin.unsigned_abs() > 1 << 16 {
                return Err(SketchError);
            }
            bins.push((bin as i32, count));
            before = bin;
        }
        Ok(Self { bins })
    }
}

fn leb128(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

fn take_leb128(bytes: &mut &[u8]) -> Result<u64, SketchError> {
    let mut value = 0u64;
    for shift in (0..64).step_by(7) {
        let (&byte, rest) = bytes.split_first().ok_or(SketchError)?;
        *bytes = rest;
        value |= u64::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return Ok(value);
        }
    }
    Err(SketchError)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn sketch_of(values: &[f64]) -> Sketch {
        let mut sketch = Sketch::new();
        values.iter().for_each(|v| sketch.add(*v));
        sketch
    }

    fn encoded(sketch: &Sketch) -> Vec<u8> {
        let mut out = Vec::new();
        sketch.encode(&mut out);
        out
    }

    #[test]
    fn the_base_is_that_of_one_per_cent() {
        assert!((LN_GAMMA - libm::log(GAMMA)).abs() < 1e-16);
    }

    #[test]
    fn zero_and_both_signs_have_their_bins_and_extremes_are_bounded() {
        assert_eq!(bin_of(0.0), 0);
        assert_eq!(bin_of(-1e-10), 0);
        assert_eq!(bin_of(1e-9), 1);
        assert_eq!(bin_of(-5.0), -bin_of(5.0));
        assert_eq!(bin_of(1e300), bin_of(1e15));
        assert_eq!(bin_of(1e15), 2_764);
        assert_eq!(sketch_of(&[]).quantile(0.5), None);
        assert_eq!(sketch_of(&[-3.0, 0.0, 3.0]).quantile(0.5), Some(0.0));
    }

    #[test]
    fn foreign_bytes_are_refused() {
        for bad in [&[0x80u8][..], &[2], &[2, 0], &[2, 1, 0, 1], &[0xff; 20]] {
            assert_eq!(Sketch::decode(bad), Err(SketchError), "{bad:?}");
        }
    }

    fn values() -> impl Strategy<Value = Vec<f64>> {
        let value = prop_oneof![
            -100.0f64..100.0,
            -1e12f64..1e12,
            -1e-6f64..1e-6,
            Just(0.0),
            any::<f64>().prop_filter("finite", |v| v.is_finite()),
        ];
        prop::collection::vec(value, 1..200)
    }

    proptest! {
        #[test]
        fn quantiles_are_within_one_per_cent(mut values in prop::collection::vec(prop_oneof![-1e6f64..1e6, 1e-6f64..1.0], 1..300), q in 0.0f64..=1.0) {
            let got = sketch_of(&values).quantile(q).expect("has values");
            values.sort_by(f64::total_cmp);
            let exact = values[(q * (values.len() - 1) as f64).floor() as usize];
            let tolerance = exact.abs() * 0.01 * (1.0 + 1e-9) + SMALLEST;
            prop_assert!((got - exact).abs() <= tolerance, "{got} for {exact}");
        }

        #[test]
        fn merging_in_any_order_gives_the_same_bytes(values in values(), cut in any::<prop::sample::Index>()) {
            let whole = sketch_of(&values);
            let (left, right) = values.split_at(cut.index(values.len()));
            let mut one = sketch_of(left);
            one.merge(&sketch_of(right));
            let mut two = sketch_of(right);
            two.merge(&sketch_of(left));
            let mut bins: Vec<i32> = values.iter().map(|v| bin_of(*v)).collect();
            prop_assert_eq!(encoded(&one), encoded(&whole));
            prop_assert_eq!(encoded(&two), encoded(&whole));
            prop_assert_eq!(&Sketch::of_bins(&mut bins), &whole);
            prop_assert_eq!(Sketch::decode(&encoded(&whole)), Ok(whole));
        }

        #[test]
        fn any_bytes_are_read_without_a_panic(bytes in prop::collection::vec(any::<u8>(), 0..64)) {
            if let Ok(sketch) = Sketch::decode(&bytes) {
                let _ = sketch.quantile(0.5);
            }
        }
    }
}
