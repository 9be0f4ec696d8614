//! Durations (`200 ms`), sizes (`64 KiB`) and rates (`1000/s`) as users write them. A bare number is refused, with the
//! unit's name in the message.

use std::time::Duration;

use crate::error::{Error, Result};

fn split(text: &str) -> Option<(f64, String)> {
    let text = text.trim();
    let end = text.find(|c: char| !(c.is_ascii_digit() || c == '.')).unwrap_or(text.len());
    let number: f64 = text[..end].parse().ok()?;
    Some((number, text[end..].trim().to_string()))
}

/// A duration in milliseconds.
pub fn parse_duration_ms(text: &str) -> Result<i64> {
    let refuse = |why: &str| {
        Error::invalid(110, format!("'{text}' is not a duration: {why}"))
            .with_hint("write a number with a unit, such as '200 ms', '1 s', '5 min', '1 h' or '7 d'")
    };
    let (number, unit) = split(text).ok_or_else(|| refuse("it does not begin with a number"))?;
    let factor = match unit.as_str() {
        "ms" | "milliseconds" | "millisecond" => 1.0,
        "s" | "sec" | "second" | "seconds" => 1e3,
        "min" | "minute" | "minutes" => 60e3,
        "h" | "hour" | "hours" => 3600e3,
        "d" | "day" | "days" => 86_400e3,
        "" => return Err(refuse("the unit is missing")),
        other => return Err(refuse(&format!("'{other}' is no unit of time"))),
    };
    let ms = number * factor;
    if ms > 1e15 {
        return Err(refuse("it is longer than 30,000 years"));
    }
    Ok(ms.round() as i64)
}

/// A duration for messages: `200 ms`, `1.6 s`, `60 s`.
pub fn shown(duration: Duration) -> String {
    match duration.as_millis() {
        ms @ 0..1000 => format!("{ms} ms"),
        ms if ms.is_multiple_of(1000) => format!("{} s", ms / 1000),
        _ => format!("{:.1} s", duration.as_secs_f64()),
    }
}

/// A size in bytes.
pub fn parse_size_bytes(text: &str) -> Result<u64> {
    let refuse = |why: &str| {
        Error::invalid(111, format!("'{text}' is not a size: {why}"))
            .with_hint("write a number with a unit, such as '64 KiB' or '512 MiB'")
    };
    let (number, unit) = split(text).ok_or_else(|| refuse("it does not begin with a number"))?;
    let factor = match unit.to_lowercase().as_str() {
        "b" => 1.0,
        "kib" | "k" => 1024.0,
        "mib" | "m" => 1024.0 * 1024.0,
        "gib" | "g" => 1024.0 * 1024.0 * 1024.0,
        "kb" => 1e3,
        "mb" => 1e6,
        "gb" => 1e9,
        "" => return Err(refuse("the unit is missing")),
        other => return Err(refuse(&format!("'{other}' is no unit of size"))),
    };
    let bytes = number * factor;
    if bytes > 1e18 {
        return Err(refuse("it is more than an exabyte"));
    }
    Ok(bytes as u64)
}

/// A rate in records per second.
pub fn parse_rate_per_s(text: &str) -> Result<f64> {
    let refuse =
        |why: &str| Error::invalid(112, format!("'{text}' is not a rate: {why}")).with_hint("write it as '1000/s'");
    let (number, unit) = split(text).ok_or_else(|| refuse("it does not begin with a number"))?;
    let rate = match unit.replace(' ', "").as_str() {
        "/s" => number,
        "/min" => number / 60.0,
        "" => return Err(refuse("'/s' is missing")),
        other => return Err(refuse(&format!("'{other}' is no unit of a rate"))),
    };
    if rate > 0.0 { Ok(rate) } else { Err(refuse("it must be more than zero")) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn units_are_read_and_bare_numbers_refused() {
        assert_eq!(parse_duration_ms("200 ms").unwrap(), 200);
        assert_eq!(parse_duration_ms("1.5s").unwrap(), 1500);
        assert_eq!(parse_duration_ms("7 d").unwrap(), 604_800_000);
        assert_eq!(parse_size_bytes("64 KiB").unwrap(), 65_536);
        assert_eq!(parse_rate_per_s("120/min").unwrap(), 2.0);
        assert!(parse_duration_ms("5").unwrap_err().message().contains("unit is missing"));
        assert!(parse_size_bytes("5").unwrap_err().message().contains("unit is missing"));
        assert!(parse_rate_per_s("5").unwrap_err().message().contains("'/s' is missing"));
        let told = [0, 999, 1000, 1600, 60_000].map(|ms| shown(Duration::from_millis(ms)));
        assert_eq!(told, ["0 ms", "999 ms", "1 s", "1.6 s", "60 s"]);
        for bad in ["", "ms", "-1 s", "1 fortnight", "1e3 s", "NaN s", "1..2 s", "99999999999999999 d"] {
            assert!(parse_duration_ms(bad).is_err(), "{bad}");
        }
    }
}
