//! How dates, times and intervals are spelled: the same in tables, files, JSON and `CAST(.. AS STRING)`.
//!
//! ```text
//!   2013-01-01    05:15:00.25    2013-01-01 05:15:00.25[Z]    1 year 2 mons 3 days 04:05:06.5
//! ```
//!
//! Values are counted from 1970-01-01 00:00 in the proleptic Gregorian calendar; trailing zeros of seconds are dropped.
//! Intervals are PostgreSQL's default style.

const US_PER_SECOND: i64 = 1_000_000;
const US_PER_DAY: i64 = 86_400 * US_PER_SECOND;
const NS_PER_SECOND: u64 = 1_000_000_000;
const NS_PER_DAY: i128 = 86_400 * NS_PER_SECOND as i128;

/// Year, month and day of a day since 1970-01-01.
fn civil_from_days(days: i64) -> (i64, u32, u32) {
    let z = days + 719_468;
    let era = z.div_euclid(146_097);
    let day_of_era = z.rem_euclid(146_097);
    let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let mp = (5 * day_of_year + 2) / 153;
    let day = (day_of_year - (153 * mp + 2) / 5 + 1) as u32;
    let month = if mp < 10 { mp + 3 } else { mp - 9 };
    (year_of_era + era * 400 + i64::from(month <= 2), month as u32, day)
}

fn two(n: i64, out: &mut Vec<u8>) {
    out.extend([b'0' + (n / 10) as u8, b'0' + (n % 10) as u8]);
}

/// `YYYY-MM-DD`; years beyond four digits keep their sign and digits.
pub fn write_date(days: i64, out: &mut Vec<u8>) {
    let (year, month, day) = civil_from_days(days);
    if (0..=9999).contains(&year) {
        two(year / 100, out);
        two(year % 100, out);
    } else {
        out.extend_from_slice(year.to_string().as_bytes());
    }
    out.push(b'-');
    two(i64::from(month), out);
    out.push(b'-');
    two(i64::from(day), out);
}

/// `HH:MM:SS[.ffffff]`, trailing zeros dropped.
pub fn write_time(us: i64, out: &mut Vec<u8>) {
    let (seconds, fraction) = (us / US_PER_SECOND, us % US_PER_SECOND);
    two(seconds / 3600 % 24, out);
    out.push(b':');
    two(seconds / 60 % 60, out);
    out.push(b':');
    two(seconds % 60, out);
    write_fraction(fraction, 100_000, out);
}

/// `YYYY-MM-DD HH:MM:SS[.ffffff]`.
pub fn write_timestamp(us: i64, out: &mut Vec<u8>) {
    write_date(us.div_euclid(US_PER_DAY), out);
    out.push(b' ');
    write_time(us.rem_euclid(US_PER_DAY), out);
}

/// The digits behind the point; `unit` is the value of the first.
fn write_fraction(mut fraction: i64, unit: i64, out: &mut Vec<u8>) {
    if fraction > 0 {
        out.push(b'.');
    }
    while fraction > 0 {
        out.push(b'0' + (fraction / unit) as u8);
        fraction = fraction % unit * 10;
    }
}

/// An interval: its months, days and nanoseconds each have a sign of their own.
pub fn write_interval(months: i32, days: i64, nanoseconds: i64, out: &mut Vec<u8>) {
    let start = out.len();
    let mut is_behind_minus = false;
    let parts = [(i64::from(months / 12), "year"), (i64::from(months % 12), "mon"), (days, "day")];
    for (n, unit) in parts.into_iter().filter(|(n, _)| *n != 0) {
        let space = if out.len() > start { " " } else { "" };
        let sign = if is_behind_minus && n > 0 { "+" } else { "" };
        let plural = if n == 1 { "" } else { "s" };
        out.extend_from_slice(format!("{space}{sign}{n} {unit}{plural}").as_bytes());
        is_behind_minus = n < 0;
    }
    if nanoseconds == 0 && out.len() > start {
        return;
    }
    if out.len() > start {
        out.push(b' ');
    }
    match nanoseconds < 0 {
        true => out.push(b'-'),
        false if is_behind_minus => out.push(b'+'),
        false => {}
    }
    let (seconds, fraction) = (nanoseconds.unsigned_abs() / NS_PER_SECOND, nanoseconds.unsigned_abs() % NS_PER_SECOND);
    out.extend_from_slice(format!("{:02}:{:02}:{:02}", seconds / 3600, seconds / 60 % 60, seconds % 60).as_bytes());
    write_fraction(fraction as i64, 100_000_000, out);
}

/// A span of fixed length, as an interval of days and time.
pub fn write_duration(nanoseconds: i128, out: &mut Vec<u8>) {
    write_interval(0, (nanoseconds / NS_PER_DAY) as i64, (nanoseconds % NS_PER_DAY) as i64, out);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn interval(months: i32, days: i64, nanoseconds: i64) -> String {
        let mut out = vec![];
        write_interval(months, days, nanoseconds, &mut out);
        String::from_utf8(out).unwrap()
    }

    /// Texts by the rules of PostgreSQL's `EncodeInterval`, style `postgres`.
    #[test]
    fn intervals_are_spelled_as_postgresql_does() {
        let hour = 3600 * NS_PER_SECOND as i64;
        let cases = [
            ((0, 0, 0), "00:00:00"),
            ((0, 1, 0), "1 day"),
            ((1, 0, 0), "1 mon"),
            ((14, 3, 4 * hour + 306_789_000_000), "1 year 2 mons 3 days 04:05:06.789"),
            ((0, -1, 2 * hour), "-1 days +02:00:00"),
            ((0, 1, -2 * hour), "1 day -02:00:00"),
            ((-14, 3, 0), "-1 years -2 mons +3 days"),
            ((-1, 1, hour), "-1 mons +1 day 01:00:00"),
            ((0, 0, -1), "-00:00:00.000000001"),
            ((0, 0, 90 * hour), "90:00:00"),
            ((0, 0, i64::MIN), "-2562047:47:16.854775808"),
            ((i32::MIN, i64::MIN, 0), "-178956970 years -8 mons -9223372036854775808 days"),
        ];
        for ((months, days, nanoseconds), text) in cases {
            assert_eq!(interval(months, days, nanoseconds), text);
        }
    }

    #[test]
    fn durations_have_days() {
        let text = |seconds: i128| {
            let mut out = vec![];
            write_duration(seconds * i128::from(NS_PER_SECOND), &mut out);
            String::from_utf8(out).unwrap()
        };
        assert_eq!(text(97_445), "1 day 03:04:05");
        assert_eq!(text(-97_445), "-1 days -03:04:05");
        assert_eq!(text(0), "00:00:00");
        assert_eq!(text(i128::from(i64::MAX)), "106751991167300 days 15:30:07");
    }
}
