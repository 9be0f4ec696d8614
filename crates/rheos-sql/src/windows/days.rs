//! Windows over instants: all begin at UTC's days and hours, which in another zone need not be those of its clocks.

use arrow::array::timezone::Tz;
use chrono::{DateTime, Offset, TimeZone};
use rheos_core::error::{Error, Result};
use rheos_core::window::WindowSpec;

const DAY_MS: i64 = 86_400_000;

/// What windows over a TIMESTAMP_LTZ, or over `PROCTIME()`, must be. Errors: in the session's zone they would begin at other
/// times than in UTC, or are of a day or more, which is not always 24 hours; without a place.
pub(super) fn check(spec: &WindowSpec, zone: &str) -> Result<()> {
    let (size_ms, start_every_ms) = match *spec {
        WindowSpec::Tumble { size_ms, .. } | WindowSpec::Cumulate { size_ms, .. } => (size_ms, size_ms),
        WindowSpec::Hop { size_ms, slide_ms, .. } => (size_ms, slide_ms),
        WindowSpec::Session { .. } | WindowSpec::Global => return Ok(()),
    };
    let what = match () {
        () if is_whole_in(start_every_ms.max(1), zone) && (size_ms < DAY_MS || is_whole_in(DAY_MS, zone)) => {
            return Ok(());
        }
        () if size_ms < DAY_MS => {
            format!(
                "this window in '{zone}' is not supported yet: it would begin at hours of UTC, not at those of the zone"
            )
        }
        () => format!("a window of days of '{zone}' is not supported yet: its days would be those of UTC"),
    };
    Err(Error::invalid(142, what).with_hint(
        "declare the time of the wall, as in wall AS CAST(ts AS TIMESTAMP(3)), with WATERMARK FOR wall, and window \
             over that; or SET 'timezone' = 'UTC'",
    ))
}

/// Whether a zone has always been a whole number of `step_ms` away from UTC since 1970, and is going to be until 2100, looked
/// at every week.
fn is_whole_in(step_ms: i64, zone: &str) -> bool {
    let Ok(zone) = zone.parse::<Tz>() else { return false };
    let weeks = (0..4_102_444_800).step_by(7 * 86_400);
    weeks.filter_map(|seconds| DateTime::from_timestamp(seconds, 0)).all(|at| {
        let offset = zone.offset_from_utc_datetime(&at.naive_utc());
        i64::from(offset.fix().local_minus_utc()) * 1000 % step_ms == 0
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR_MS: i64 = 3_600_000;

    #[test]
    fn days_of_a_zone_with_any_offset_are_not_those_of_utc() {
        for zone in ["UTC", "Etc/UTC", "+00:00", "Etc/GMT"] {
            assert!(is_whole_in(DAY_MS, zone), "{zone}");
        }
        // London has summer time, and was an hour ahead all through 1970.
        for zone in ["Europe/Berlin", "Europe/London", "Asia/Kolkata", "+01:00", "Etc/GMT+5"] {
            assert!(!is_whole_in(DAY_MS, zone), "{zone}");
        }
    }

    #[test]
    fn hours_of_a_zone_are_those_of_utc_where_its_offsets_are_whole() {
        // Berlin is one or two hours ahead, Kolkata five and a half, New York four or five behind.
        let cases = [
            ("Europe/Berlin", 1, true),
            ("Europe/Berlin", 2, false),
            ("Europe/Berlin", 6, false),
            ("America/New_York", 1, true),
            ("Asia/Kolkata", 1, false),
            ("+06:00", 6, true),
            ("+06:00", 12, false),
        ];
        for (zone, hours, expected) in cases {
            assert_eq!(is_whole_in(hours * HOUR_MS, zone), expected, "{zone}, {hours} hours");
        }
        assert!(is_whole_in(HOUR_MS / 2, "Asia/Kolkata"));
        let hop = |size: i64, slide: i64| WindowSpec::Hop {
            size_ms: size * HOUR_MS,
            slide_ms: slide * HOUR_MS,
            offset_ms: 0,
        };
        assert!(check(&hop(6, 1), "Europe/Berlin").is_ok());
        assert!(check(&hop(6, 2), "Europe/Berlin").is_err());
        assert!(check(&hop(24, 1), "Europe/Berlin").is_err());
    }
}
