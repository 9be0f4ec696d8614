//! Dates and times as text: `YYYY-MM-DD`, `YYYY-MM-DD[ T]HH:MM[:SS[.f]][Z|+hh:mm]`, in the proleptic Gregorian calendar.
//!
//! Values are microseconds since 1970-01-01 00:00 UTC; a text without a zone is UTC. Digits behind the microsecond are
//! floored.

use crate::word::{parse_clock_word, parse_digits, word};

const US_PER_SECOND: i64 = 1_000_000;
const US_PER_DAY: i64 = 86_400 * US_PER_SECOND;

/// Days since 1970-01-01 (H. Hinnant, "chrono-compatible low-level date algorithms").
fn days_from_civil(year: i64, month: i64, day: i64) -> i64 {
    let y = year - i64::from(month <= 2);
    let era = y.div_euclid(400);
    let year_of_era = y.rem_euclid(400);
    let day_of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    era * 146_097 + year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year - 719_468
}

fn digits(text: &[u8], at: usize, n: usize) -> Option<i64> {
    text.get(at..at + n)?.iter().try_fold(0, |v, b| b.is_ascii_digit().then(|| v * 10 + i64::from(b - b'0')))
}

/// The days of `YYYY-MM-DD` at the beginning of `text`.
fn parse_day(text: &[u8]) -> Option<i64> {
    let (year, month, day) = (digits(text, 0, 4)?, digits(text, 5, 2)?, digits(text, 8, 2)?);
    if text[4] != b'-' || text[7] != b'-' || !(1..=12).contains(&month) {
        return None;
    }
    let leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    let days = match month {
        2 => 28 + i64::from(leap),
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    };
    (1..=days).contains(&day).then(|| days_from_civil(year, month, day))
}

/// `HH:MM[:SS[.f]]` at the beginning of `text`: microseconds, and the rest of the text.
fn parse_clock(text: &[u8]) -> Option<(i64, &[u8])> {
    let (hour, minute) = (digits(text, 0, 2)?, digits(text, 3, 2)?);
    if text[2] != b':' || hour > 23 || minute > 59 {
        return None;
    }
    let mut us = (hour * 60 + minute) * 60 * US_PER_SECOND;
    let mut rest = &text[5..];
    if rest.first() == Some(&b':') {
        let second = digits(rest, 1, 2)?;
        if second > 59 {
            return None;
        }
        us += second * US_PER_SECOND;
        rest = &rest[3..];
        if matches!(rest.first(), Some(b'.' | b',')) {
            let n = rest[1..].iter().take_while(|b| b.is_ascii_digit()).count();
            if n == 0 || n > 9 {
                return None;
            }
            let kept = n.min(6);
            us += digits(rest, 1, kept)? * 10i64.pow(6 - kept as u32);
            rest = &rest[1 + n..];
        }
    }
    Some((us, rest))
}

/// `Z`, `+hh`, `+hh:mm` or `+hhmm`, in microseconds; nothing is UTC.
fn parse_zone(text: &[u8]) -> Option<i64> {
    let text = text.trim_ascii();
    let (negative, rest) = match text {
        [] | [b'Z' | b'z'] => return Some(0),
        [b'+', rest @ ..] => (false, rest),
        [b'-', rest @ ..] => (true, rest),
        _ => return None,
    };
    let (hours, minutes) = match rest.len() {
        2 => (digits(rest, 0, 2)?, 0),
        4 => (digits(rest, 0, 2)?, digits(rest, 2, 2)?),
        5 if rest[2] == b':' => (digits(rest, 0, 2)?, digits(rest, 3, 2)?),
        _ => return None,
    };
    let us = (hours * 60 + minutes) * 60 * US_PER_SECOND;
    (hours < 24 && minutes < 60).then_some(if negative { -us } else { us })
}

/// A timestamp in microseconds.
pub(crate) fn parse_timestamp(text: &[u8]) -> Option<i64> {
    let text = text.trim_ascii();
    let midnight = parse_day(text)? * US_PER_DAY;
    match text.get(10) {
        None => Some(midnight),
        Some(b' ' | b'T' | b't') => {
            let (us, zone) = parse_clock(&text[11..])?;
            Some(midnight + us - parse_zone(zone)?)
        }
        Some(_) => None,
    }
}

/// Timestamps of the form `YYYY-MM-DD[ T]HH:MM:SS[.f]`: the same day comes again and again, so it is parsed once.
#[derive(Debug, Default)]
pub(crate) struct DayCache {
    /// The last day as text, `YYYY-MM-` and `DD`; and its midnight. All zero is no text of a day.
    year_month: u64,
    day: u16,
    midnight_us: i64,
}

impl DayCache {
    /// The timestamp in `data[at..at + n]` in microseconds; `None`: [`parse_timestamp`] must tell.
    #[inline]
    pub(crate) fn parse_timestamp(&mut self, data: &[u8], at: usize, n: usize) -> Option<i64> {
        // Up to six digits behind a point.
        if !(n == 19 || (21..=26).contains(&n)) || !matches!(data[at + 10], b' ' | b'T') {
            return None;
        }
        let (hour, minute, second) = parse_clock_word(word(data, at + 11)?)?;
        if hour > 23 || minute > 59 || second > 59 {
            return None;
        }
        let fraction_us = match n {
            19 => 0,
            _ if data[at + 19] != b'.' => return None,
            _ => parse_digits(data, at + 20, n - 20)? * [0, 100_000, 10_000, 1000, 100, 10, 1][n - 20],
        };
        let (year_month, day) = (word(data, at)?, u16::from_le_bytes([data[at + 8], data[at + 9]]));
        if (year_month, day) != (self.year_month, self.day) {
            self.midnight_us = parse_day(&data[at..at + n])? * US_PER_DAY;
            (self.year_month, self.day) = (year_month, day);
        }
        Some(self.midnight_us + ((hour * 60 + minute) * 60 + second) * US_PER_SECOND + fraction_us)
    }
}

/// A date in days; a timestamp is one only at midnight.
pub(crate) fn parse_date(text: &[u8]) -> Option<i32> {
    let us = parse_timestamp(text)?;
    (us % US_PER_DAY == 0).then(|| i32::try_from(us / US_PER_DAY).ok()).flatten()
}

/// A time of day in microseconds.
pub(crate) fn parse_time(text: &[u8]) -> Option<i64> {
    let (us, rest) = parse_clock(text.trim_ascii())?;
    rest.is_empty().then_some(us)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use rheos_core::temporal::write_timestamp;

    fn parse(text: &str) -> Option<i64> {
        parse_timestamp(text.as_bytes())
    }

    /// Values by Python's `datetime(..., tzinfo=timezone.utc).timestamp()`.
    #[test]
    fn timestamps_in_all_their_spellings() {
        let base = 1_357_016_400_000_000; // 2013-01-01 05:00
        for text in [
            "2013-01-01 05:00",
            "2013-01-01T05:00:00",
            "2013-01-01T05:00:00Z",
            " 2013-01-01 05:00:00.000 ",
            "2013-01-01 07:30:00+02:30",
            "2012-12-31 23:00:00-06",
            "2013-01-01 07:00:00 +0200",
        ] {
            assert_eq!(parse(text), Some(base), "{text}");
        }
        assert_eq!(parse("2013-01-01 05:00:00.0000019"), Some(base + 1));
        assert_eq!(parse("1969-12-31 23:59:59.5"), Some(-500_000));
        assert_eq!(parse("0001-01-01"), Some(-62_135_596_800_000_000));
        assert_eq!(parse("2000-02-29"), Some(951_782_400_000_000));
    }

    #[test]
    fn what_is_no_timestamp_is_refused() {
        for bad in [
            "",
            "2013",
            "2013-02-29",
            "2013-13-01",
            "2013-00-10",
            "2013-01-32",
            "2013-01-01 24:00",
            "2013-01-01 05",
            "2013-01-01 05:60",
            "2013-01-01 05:00:60",
            "2013-01-01 05:00:00.",
            "2013-01-01x05:00",
            "1900-02-29",
            "292277026596-12-04 15:30:08",
            "2013-01-01 05:00:00+25:00",
            "2013-01-01 05:00 Europe/Paris",
            "20130101",
            "2013-01-01 05:00:00.0123456789",
            "1357016400",
            "2013/01/01",
        ] {
            assert_eq!(parse(bad), None, "{bad}");
        }
        assert_eq!(parse_date(b"2013-01-01 00:00"), parse_date(b"2013-01-01"));
        assert_eq!(parse_date(b"2013-01-01 00:01"), None);
        assert_eq!(parse_time(b"05:00:00.25"), Some(18_000_250_000));
        assert_eq!(parse_time(b"05:00Z"), None);
    }

    #[test]
    fn trailing_zeros_are_dropped() {
        let text = |us| {
            let mut out = vec![];
            write_timestamp(us, &mut out);
            String::from_utf8(out).unwrap()
        };
        assert_eq!(text(1_357_016_400_000_000), "2013-01-01 05:00:00");
        assert_eq!(text(-500_000), "1969-12-31 23:59:59.5");
        assert_eq!(text(1), "1970-01-01 00:00:00.000001");
        assert_eq!(text(253_402_300_800_000_000), "10000-01-01 00:00:00");
    }

    proptest! {
        #[test]
        fn round_trip(us in -62_135_596_800_000_000i64..253_402_300_800_000_000) {
            let mut out = vec![];
            write_timestamp(us, &mut out);
            prop_assert_eq!(parse_timestamp(&out), Some(us));
        }

        #[test]
        fn a_cached_day_is_parsed_as_any(
            texts in prop::collection::vec("(2024-02-2[89]|2023-02-2[89]|1969-12-31|[0-9]{4}-[01][0-9]-[0-3][0-9])[ Tt][0-2][0-9]:[0-6][0-9]:[0-6][0-9]([.,][0-9]{0,7})?Z?", 1..8),
        ) {
            let mut day = DayCache::default();
            for text in texts {
                let data = format!("{text}\",\"12345678");
                let short = day.parse_timestamp(data.as_bytes(), 0, text.len());
                prop_assert!(short.is_none() || short == parse(&text), "{} {:?}", text, short);
                let common = text.len() == 19 && text.as_bytes()[10] == b' ';
                prop_assert!(!common || short == parse(&text), "{}", text);
            }
        }

        #[test]
        fn any_bytes_are_parsed_or_refused(bytes: Vec<u8>) {
            let _ = (parse_timestamp(&bytes), parse_date(&bytes), parse_time(&bytes));
        }

        #[test]
        fn any_microsecond_can_be_written(us: i64) {
            write_timestamp(us, &mut vec![]);
        }
    }
}
