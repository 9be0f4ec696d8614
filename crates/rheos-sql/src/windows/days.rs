//! Windows of days over instants: all windows begin at UTC, so in another zone theirs would not be its days.

use arrow::array::timezone::Tz;
use chrono::{DateTime, Offset, TimeZone};
use rheos_core::error::{Error, Result};
use rheos_core::window::WindowSpec;

const DAY_MS: i64 = 86_400_000;

/// What windows over a TIMESTAMP_LTZ, or over `PROCTIME()`, must be. Errors: they are of a day or more, and the session's
/// zone is not that of UTC; without a place.
pub(super) fn check(spec: &WindowSpec, zone: &str) -> Result<()> {
    let size_ms = match *spec {
        WindowSpec::Tumble { size_ms, .. } | WindowSpec::Hop { size_ms, .. } | WindowSpec::Cumulate { size_ms, .. } => {
            size_ms
        }
        WindowSpec::Session { .. } | WindowSpec::Global => return Ok(()),
    };
    if size_ms < DAY_MS || is_utc(zone) {
        return Ok(());
    }
    Err(Error::invalid(
        142,
        format!("a window of days of '{zone}' is not supported yet: its days would be those of UTC"),
    )
    .with_hint(
        "declare the time of the wall, as in wall AS CAST(ts AS TIMESTAMP(3)), with WATERMARK FOR wall, and window \
             over that; or SET 'timezone' = 'UTC'",
    ))
}

/// Whether a zone has never been away from UTC since 1970, nor is going to be until 2100, looked at every week.
fn is_utc(zone: &str) -> bool {
    let Ok(zone) = zone.parse::<Tz>() else { return false };
    let weeks = (0..4_102_444_800).step_by(7 * 86_400);
    weeks.filter_map(|seconds| DateTime::from_timestamp(seconds, 0)).all(|at| {
        let offset = zone.offset_from_utc_datetime(&at.naive_utc());
        offset.fix().local_minus_utc() == 0
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_zone_with_any_offset_is_not_utc() {
        for zone in ["UTC", "Etc/UTC", "+00:00", "Etc/GMT"] {
            assert!(is_utc(zone), "{zone}");
        }
        // London has summer time, and was an hour ahead all through 1970.
        for zone in ["Europe/Berlin", "Europe/London", "Asia/Kolkata", "+01:00", "Etc/GMT+5"] {
            assert!(!is_utc(zone), "{zone}");
        }
    }
}
