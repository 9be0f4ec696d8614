//! Eight bytes at a time: searches and numbers that are too short for a call into a library.
//!
//! A word is eight bytes of a buffer, the first one lowest. Words may reach behind the value that is looked at, never
//! behind the buffer: what stands there has no influence on what is found before it.

use memchr::memchr2;

/// The byte 1, eight times.
const ONES: u64 = 0x0101_0101_0101_0101;
/// The highest bit of each byte.
const HIGHS: u64 = 0x80 * ONES;

/// The bytes of a search that are looked at here; what is longer is left to `memchr`, which takes 32 at once.
const NEAR_WORDS: usize = 3;

/// The eight bytes from `at` on; `None` where the buffer ends before.
#[inline]
pub(crate) fn word(data: &[u8], at: usize) -> Option<u64> {
    data.get(at..)?.first_chunk().map(|bytes| u64::from_le_bytes(*bytes))
}

/// The sixteen bytes from `at` on; `None` where the buffer ends before.
#[inline]
pub(crate) fn two_words(data: &[u8], at: usize) -> Option<(u64, u64)> {
    let both = u128::from_le_bytes(*data.get(at..)?.first_chunk()?);
    Some((both as u64, (both >> 64) as u64))
}

/// The highest bit of the first byte that is `byte`, and maybe of later ones.
#[inline]
fn marks(word: u64, byte: u8) -> u64 {
    let zero_where_equal = word ^ (ONES * u64::from(byte));
    zero_where_equal.wrapping_sub(ONES) & !zero_where_equal & HIGHS
}

/// The highest bit of each byte that is `byte`, and no other.
#[inline]
pub(crate) fn all_marks(word: u64, byte: u8) -> u64 {
    let zero_where_equal = word ^ (ONES * u64::from(byte));
    !(((zero_where_equal & !HIGHS) + !HIGHS) | zero_where_equal) & HIGHS
}

/// The place of the first mark in a word: 0 to 7.
#[inline]
pub(crate) fn first(marks: u64) -> usize {
    (marks.trailing_zeros() / 8) as usize
}

/// The place of the first quote or backslash from `at` on; the buffer's length where there is none.
#[inline]
pub(crate) fn find_quote_or_backslash(data: &[u8], at: usize) -> usize {
    let Some(mut rest) = data.get(at..) else { return data.len() };
    for _ in 0..NEAR_WORDS {
        let Some((bytes, behind)) = rest.split_first_chunk() else { break };
        let word = u64::from_le_bytes(*bytes);
        let found = marks(word, b'"') | marks(word, b'\\');
        if found != 0 {
            return data.len() - rest.len() + first(found);
        }
        rest = behind;
    }
    data.len() - rest.len() + memchr2(b'"', b'\\', rest).unwrap_or(rest.len())
}

/// The place of the first `byte` in `data[at..end]`, or `end`.
#[inline]
pub(crate) fn find_byte(byte: u8, data: &[u8], at: usize, end: usize) -> usize {
    let mut at = at;
    for _ in 0..NEAR_WORDS {
        let Some(word) = word(data, at) else { break };
        let found = marks(word, byte);
        if found != 0 {
            return (at + first(found)).min(end);
        }
        at += 8;
        if at >= end {
            return end;
        }
    }
    data.get(at..end).and_then(|rest| memchr::memchr(byte, rest)).map_or(end, |n| at + n)
}

/// The highest bit of the first byte that is no digit, and maybe of later ones.
#[inline]
fn no_digits(word: u64) -> u64 {
    let digits = word ^ (ONES * u64::from(b'0'));
    // 0x76 brings 10 to the highest bit. A carry only reaches bytes behind one that is no digit.
    (digits.wrapping_add(ONES * 0x76) | digits) & HIGHS
}

/// How many digits stand at `at`.
#[inline]
pub(crate) fn count_digits(data: &[u8], at: usize) -> usize {
    let mut n = 0;
    while let Some(word) = word(data, at + n) {
        let other = no_digits(word);
        if other != 0 {
            return n + first(other);
        }
        n += 8;
    }
    n + data.get(at + n..).map_or(0, |rest| rest.iter().take_while(|b| b.is_ascii_digit()).count())
}

/// The number of the first `n` bytes of a word, 1 to 8; `None` where one is no digit.
#[inline]
fn digits_of_word(word: u64, n: usize) -> Option<u64> {
    let word = (word ^ (ONES * u64::from(b'0'))) << (64 - 8 * n);
    if (word.wrapping_add(ONES * 0x76) | word) & HIGHS != 0 {
        return None;
    }
    // Pairs, fours, all eight (D. Lemire, "Quickly parsing eight digits").
    let word = word.wrapping_mul(10).wrapping_add(word >> 8);
    let low = (word & 0x0000_00ff_0000_00ff).wrapping_mul(100 + (1_000_000 << 32));
    let high = ((word >> 16) & 0x0000_00ff_0000_00ff).wrapping_mul(1 + (10_000 << 32));
    Some(low.wrapping_add(high) >> 32)
}

/// The number of the digits in `data[at..at + n]`; `None` for other bytes, for none, for more than 16, and near the end of
/// the buffer.
#[inline(always)]
pub(crate) fn parse_digits(data: &[u8], at: usize, n: usize) -> Option<i64> {
    const POWERS: [u64; 9] = [1, 10, 100, 1000, 10_000, 100_000, 1_000_000, 10_000_000, 100_000_000];
    let number = match n {
        1..=8 => digits_of_word(word(data, at)?, n)?,
        9..=16 => {
            let head = digits_of_word(word(data, at)?, 8)?;
            head * POWERS[n - 8] + digits_of_word(word(data, at + 8)?, n - 8)?
        }
        _ => return None,
    };
    // 16 digits fit.
    Some(number as i64)
}

/// Hours, minutes and seconds of `HH:MM:SS`; `None` for any other eight bytes. The ranges are not looked at.
#[inline]
pub(crate) fn parse_clock_word(word: u64) -> Option<(i64, i64, i64)> {
    let word = word ^ u64::from_le_bytes(*b"00:00:00");
    // Digits are at most 9, colons are 0 now.
    let limits = u64::from_le_bytes([0x76, 0x76, 0x7f, 0x76, 0x76, 0x7f, 0x76, 0x76]);
    if (word.wrapping_add(limits) | word) & HIGHS != 0 {
        return None;
    }
    let pairs = word.wrapping_mul(10).wrapping_add(word >> 8);
    let pair = |at: u32| ((pairs >> (8 * at)) & 0xff) as i64;
    Some((pair(0), pair(3), pair(6)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn searches_find_what_a_loop_finds(
            bytes in prop::collection::vec(prop::sample::select(&b"ab\"\\,0!]\x80\xff"[..]), 0..70),
            at in 0usize..80, end in 0usize..80,
        ) {
            let end = end.min(bytes.len());
            let naive = |is: &dyn Fn(u8) -> bool, end: usize| (at..end).find(|n| is(bytes[*n]));
            let want = naive(&|b| b == b'"' || b == b'\\', bytes.len()).unwrap_or(bytes.len());
            prop_assert_eq!(find_quote_or_backslash(&bytes, at), want);
            if at <= end {
                prop_assert_eq!(find_byte(b',', &bytes, at, end), naive(&|b| b == b',', end).unwrap_or(end));
            }
        }

        #[test]
        fn every_byte_is_marked_or_not(bytes: [u8; 8], same in 0usize..8) {
            let marks = all_marks(u64::from_le_bytes(bytes), bytes[same]).to_le_bytes();
            let want = bytes.map(|b| if b == bytes[same] { 0x80 } else { 0 });
            prop_assert_eq!(marks, want);
        }

        #[test]
        fn digits_are_counted_and_read(text in "[0-9]{0,20}[0-9/:,a\u{80}-\u{ff}]{0,3}", n in 0usize..20) {
            let mut data = text.into_bytes();
            let digits = data.iter().take_while(|b| b.is_ascii_digit()).count();
            prop_assert_eq!(count_digits(&data, 0), digits);
            data.extend([b'#'; 16]);
            let want = if (1..=16).contains(&n) && n <= digits {
                Some(std::str::from_utf8(&data[..n]).unwrap().parse().unwrap())
            } else {
                None
            };
            prop_assert_eq!(parse_digits(&data, 0, n), want);
        }

        #[test]
        fn clocks_are_read(h in 0i64..100, m in 0i64..100, s in 0i64..100, at in 0usize..8, other: u8) {
            let mut text = format!("{h:02}:{m:02}:{s:02}").into_bytes();
            prop_assert_eq!(parse_clock_word(word(&text, 0).unwrap()), Some((h, m, s)));
            let before = std::mem::replace(&mut text[at], other);
            let fits = if before == b':' { other == b':' } else { other.is_ascii_digit() };
            prop_assert_eq!(parse_clock_word(word(&text, 0).unwrap()).is_some(), fits);
        }
    }
}
