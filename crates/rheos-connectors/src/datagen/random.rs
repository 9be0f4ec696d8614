//! Random numbers by counting: number `i` of a stream is a function of (seed, stream, i) and of nothing else.
//!
//! That is what makes generated tables the same whatever the parallelism and the splits, and what lets a column that
//! nobody reads be left out without a change to the others. The function is SplitMix64 (Steele, Lea and Flood, OOPSLA
//! 2014) at an arbitrary position, which passes BigCrush.

/// The distance of neighbouring numbers before mixing: 2^64 divided by the golden ratio, made odd.
const STEP: u64 = 0x9e37_79b9_7f4a_7c15;

/// Another odd distance, for the words of one value: a value's words must not be its neighbours' numbers.
const WORD_STEP: u64 = 0xd1b5_4a32_d192_ed03;

/// Bytes of text in a word.
pub(crate) const WORD_BYTES: usize = 8;

/// SplitMix64's finaliser: every bit of the input changes every bit of the output with even odds.
fn mix(mut z: u64) -> u64 {
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

/// The random numbers of one column.
#[derive(Debug, Clone, Copy)]
pub(crate) struct RandomStream {
    base: u64,
}

impl RandomStream {
    /// Stream number `stream` of a seed; streams are independent of each other.
    pub(crate) fn new(seed: u64, stream: u64) -> Self {
        Self { base: mix(mix(seed.wrapping_add(STEP)).wrapping_add(stream.wrapping_mul(WORD_STEP))) }
    }

    /// Number `i`: all 64 bits.
    pub(crate) fn at(self, i: u64) -> u64 {
        mix(self.base.wrapping_add(i.wrapping_mul(STEP)))
    }

    /// Number `i` as one of `0..bound`; `bound` is more than 0.
    pub(crate) fn below(self, i: u64, bound: u64) -> u64 {
        ((u128::from(self.at(i)) * u128::from(bound)) >> 64) as u64
    }

    /// Number `i` as a fraction: at least 0 and less than 1.
    pub(crate) fn unit(self, i: u64) -> f64 {
        (self.at(i) >> 11) as f64 / (1u64 << 53) as f64
    }

    /// Number `i` as 128 bits.
    pub(crate) fn wide(self, i: u64) -> u128 {
        let first = self.at(i);
        (u128::from(first) << 64) | u128::from(mix(first.wrapping_add(WORD_STEP)))
    }

    /// Appends value `i` as `length` random bytes.
    pub(crate) fn bytes(self, i: u64, length: usize, out: &mut Vec<u8>) {
        self.words(i, length, out, u64::to_le_bytes);
    }

    /// Appends value `i` as `length` letters from `a` to `z`.
    pub(crate) fn letters(self, i: u64, length: usize, out: &mut Vec<u8>) {
        self.words(i, length, out, |word| eight_letters(word).to_le_bytes());
    }

    /// Fills `out` with value `i` as letters. Only whole words: the length is a multiple of [`WORD_BYTES`].
    pub(crate) fn fill_letters(self, i: u64, out: &mut [u8]) {
        self.fill(i, out, |word| eight_letters(word).to_le_bytes());
    }

    fn words(self, i: u64, length: usize, out: &mut Vec<u8>, convert: impl Fn(u64) -> [u8; WORD_BYTES]) {
        let start = out.len();
        out.resize(start + length.next_multiple_of(8), 0);
        self.fill(i, &mut out[start..], convert);
        out.truncate(start + length);
    }

    fn fill(self, i: u64, out: &mut [u8], convert: impl Fn(u64) -> [u8; WORD_BYTES]) {
        let mut state = self.at(i);
        for word in out.as_chunks_mut::<WORD_BYTES>().0 {
            *word = convert(mix(state));
            state = state.wrapping_add(WORD_STEP);
        }
    }

    /// Appends value `i` as a text of words: `length` characters, each a letter or, once in 13, `gap`.
    pub(crate) fn gapped(self, i: u64, length: usize, gap: u8, out: &mut Vec<u8>) {
        let start = out.len();
        let mut state = self.at(i);
        out.resize(start + length.next_multiple_of(4), 0);
        for four in out[start..].as_chunks_mut::<4>().0 {
            let word = mix(state);
            state = state.wrapping_add(WORD_STEP);
            *four = [word, word >> 16, word >> 32, word >> 48].map(|lane| {
                let draw = ((lane & 0xffff) as u32 * (13 * 26)) >> 16;
                if draw < 26 { gap } else { b'a' + (draw % 26) as u8 }
            });
        }
        out.truncate(start + length);
    }
}

/// Turns each byte of a word into a letter, eight at once: `b'a' + (byte * 26) / 256`. The letters differ in frequency by
/// a tenth at most, which is enough for padding.
fn eight_letters(word: u64) -> u64 {
    const EVEN: u64 = 0x00ff_00ff_00ff_00ff;
    let even = (((word & EVEN) * 26) >> 8) & EVEN;
    let odd = (((word >> 8) & EVEN) * 26) & !EVEN;
    (even | odd) + 0x6161_6161_6161_6161
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_depend_on_seed_stream_and_position() {
        let a = RandomStream::new(1, 1);
        assert_eq!(a.at(7), RandomStream::new(1, 1).at(7));
        for other in [RandomStream::new(2, 1), RandomStream::new(1, 2)] {
            assert!((0..1000).all(|i| a.at(i) != other.at(i)));
        }
    }

    #[test]
    fn bounded_numbers_are_even_and_in_range() {
        let stream = RandomStream::new(42, 0);
        let mut counts = [0u32; 10];
        (0..100_000).for_each(|i| counts[stream.below(i, 10) as usize] += 1);
        // 10,000 each; five standard deviations of a binomial(100000, 0.1) are 474.
        assert!(counts.iter().all(|n| n.abs_diff(10_000) < 474), "{counts:?}");
        assert!((0..1000).all(|i| stream.below(i, 1) == 0));
        assert!((0..1000).all(|i| (0.0..1.0).contains(&stream.unit(i))));
    }

    #[test]
    fn letters_have_the_asked_length_and_alphabet() {
        let stream = RandomStream::new(3, 9);
        for length in 0..40 {
            let (mut plain, mut gapped, mut bytes) = (vec![], vec![], vec![]);
            stream.letters(5, length, &mut plain);
            stream.gapped(5, length, b'_', &mut gapped);
            stream.bytes(5, length, &mut bytes);
            assert_eq!((plain.len(), gapped.len(), bytes.len()), (length, length, length));
            assert!(plain.iter().all(u8::is_ascii_lowercase));
            assert!(gapped.iter().all(|c| c.is_ascii_lowercase() || *c == b'_'));
        }
        let mut text = vec![];
        stream.letters(0, 26_000, &mut text);
        for letter in b'a'..=b'z' {
            let n = text.iter().filter(|c| **c == letter).count();
            assert!((850..1150).contains(&n), "{n} of 26,000 are {}", letter as char);
        }
    }
}
