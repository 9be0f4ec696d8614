//! Times as texts: what stands in input files and what results must read.

/// `YYYY-MM-DD HH:MM:SS[.ffffff]` without trailing zeros, of microseconds since 1970.
pub(crate) fn timestamp(us: i64) -> String {
    let (year, month, day) = civil(us.div_euclid(86_400_000_000));
    let of_day = us.rem_euclid(86_400_000_000);
    let (seconds, fraction) = (of_day / 1_000_000, of_day % 1_000_000);
    let clock = format!("{:02}:{:02}:{:02}", seconds / 3600, seconds / 60 % 60, seconds % 60);
    let text = format!("{year:04}-{month:02}-{day:02} {clock}");
    if fraction == 0 { text } else { format!("{text}.{fraction:06}").trim_end_matches('0').to_string() }
}

/// The date of a day since 1970, by counting years and months.
fn civil(day: i64) -> (i64, usize, i64) {
    let is_leap = |y: i64| y % 4 == 0 && (y % 100 != 0 || y % 400 == 0);
    let days_of = |y: i64| if is_leap(y) { 366 } else { 365 };
    let (mut year, mut rest) = (1970, day);
    while rest < 0 {
        year -= 1;
        rest += days_of(year);
    }
    while rest >= days_of(year) {
        rest -= days_of(year);
        year += 1;
    }
    let february = if is_leap(year) { 29 } else { 28 };
    let mut month = 0;
    for length in [31, february, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31] {
        month += 1;
        if rest < length {
            break;
        }
        rest -= length;
    }
    (year, month, rest + 1)
}

/// `INTERVAL '..' UNIT` of milliseconds, in the largest unit that takes a whole number.
pub(crate) fn interval(ms: i64) -> String {
    match ms {
        0 => "INTERVAL '0' SECOND".to_string(),
        _ if ms % 86_400_000 == 0 => format!("INTERVAL '{}' DAY", ms / 86_400_000),
        _ if ms % 3_600_000 == 0 => format!("INTERVAL '{}' HOUR", ms / 3_600_000),
        _ if ms % 60_000 == 0 => format!("INTERVAL '{}' MINUTE", ms / 60_000),
        _ => {
            let sign = if ms < 0 { "-" } else { "" };
            let ms = ms.abs();
            format!("INTERVAL '{sign}{}.{:03}' SECOND", ms / 1000, ms % 1000)
        }
    }
}

#[test]
fn dates_are_those_of_the_calendar() {
    assert_eq!(timestamp(0), "1970-01-01 00:00:00");
    assert_eq!(timestamp(-1_000), "1969-12-31 23:59:59.999");
    assert_eq!(timestamp(1_709_164_800_000_000 + 86_399_999_999), "2024-02-29 23:59:59.999999");
    assert_eq!(timestamp(951_868_800_000_000), "2000-03-01 00:00:00");
    assert_eq!(interval(-5_250), "INTERVAL '-5.250' SECOND");
    assert_eq!(interval(7_200_000), "INTERVAL '2' HOUR");
}
