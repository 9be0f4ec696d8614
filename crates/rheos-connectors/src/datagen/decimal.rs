//! Decimals as their options are written.

/// A number such as `12.5` in units of 10^-scale; `None` if it is no number, or has more places than that.
pub(super) fn parse_decimal(text: &str, scale: i8) -> Option<i128> {
    let text = text.trim();
    let (negative, digits) = match text.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, text.strip_prefix('+').unwrap_or(text)),
    };
    let (whole, places) = digits.split_once('.').unwrap_or((digits, ""));
    let scale = usize::try_from(scale).ok()?;
    let all_digits = |s: &str| s.bytes().all(|b| b.is_ascii_digit());
    if places.len() > scale || !all_digits(whole) || !all_digits(places) || whole.len() + places.len() == 0 {
        return None;
    }
    let value: i128 = format!("{whole}{places:0<scale$}").parse().ok()?;
    Some(if negative { -value } else { value })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn decimals_are_read_at_their_scale() {
        assert_eq!(parse_decimal("12.5", 2), Some(1250));
        assert_eq!(parse_decimal("-0.01", 2), Some(-1));
        assert_eq!(parse_decimal("+7", 0), Some(7));
        for bad in ["", "-", ".", "1.234", "1e3", "1.2.3", "x", " "] {
            assert_eq!(parse_decimal(bad, 2), None, "{bad}");
        }
    }
}
