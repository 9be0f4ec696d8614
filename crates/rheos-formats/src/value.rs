//! Text to numbers, booleans and bytes: exactly, or not at all. `None` always means "it does not fit".

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use crate::word::parse_digits;

/// A whole number; a fraction of zeros (`517.0`) and an exponent that leaves it whole are fine.
pub(crate) fn parse_int(text: &[u8]) -> Option<i128> {
    let text = text.trim_ascii();
    let (negative, digits) = sign(text);
    // 18 digits cannot overflow an i64.
    if !digits.is_empty() && digits.len() <= 18 {
        let mut n = 0i64;
        let mut plain = true;
        for b in digits {
            let d = b.wrapping_sub(b'0');
            plain &= d < 10;
            n = n * 10 + i64::from(d.min(9));
        }
        if plain {
            return Some(i128::from(if negative { -n } else { n }));
        }
    }
    Number::parse(text)?.at_scale(0)
}

/// A whole number of up to 16 digits, with or without a minus, in `data[at..at + n]`; `None`: [`parse_int`] must tell.
#[inline(always)]
pub(crate) fn short_int(data: &[u8], at: usize, n: usize) -> Option<i64> {
    let is_negative = n > 0 && data[at] == b'-';
    let value = parse_digits(data, at + usize::from(is_negative), n - usize::from(is_negative))?;
    Some(if is_negative { -value } else { value })
}

/// A decimal with `scale` digits behind the point, unscaled; `None` also if it needs more than `precision` digits.
pub(crate) fn parse_decimal(text: &[u8], precision: u8, scale: i8) -> Option<i128> {
    let value = Number::parse(text.trim_ascii())?.at_scale(i32::from(scale))?;
    let limit = 10u128.pow(u32::from(precision.min(38)));
    (value.unsigned_abs() < limit).then_some(value)
}

/// A double; what is too large for one is refused, unless it says infinity.
pub(crate) fn parse_f64(text: &[u8]) -> Option<f64> {
    let text = std::str::from_utf8(text.trim_ascii()).ok()?;
    let value = text.parse::<f64>().ok()?;
    (value.is_finite() || names_no_number(text)).then_some(value)
}

/// A double of at most 15 digits, with or without a minus and a point, in `data[at..at + n]`; `None`: [`parse_f64`] must
/// tell. Digits and power of ten are exact doubles, so their quotient is the nearest one (W. Clinger, 1990).
#[inline]
pub(crate) fn short_f64(data: &[u8], at: usize, n: usize) -> Option<f64> {
    const POWERS: [f64; 16] = [1e0, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9, 1e10, 1e11, 1e12, 1e13, 1e14, 1e15];
    let (is_negative, digits) = match data.get(at..at + n)? {
        [b'-', rest @ ..] => (true, rest),
        rest => (false, rest),
    };
    if digits.len() > 16 || !digits.first()?.is_ascii_digit() || !digits.last()?.is_ascii_digit() {
        return None;
    }
    let (mut mantissa, mut point) = (0u64, None);
    for (n, byte) in digits.iter().enumerate() {
        match byte {
            b'0'..=b'9' => mantissa = mantissa * 10 + u64::from(byte - b'0'),
            b'.' if point.is_none() => point = Some(n),
            _ => return None,
        }
    }
    let fraction = match point {
        Some(n) => digits.len() - n - 1,
        None if digits.len() == 16 => return None,
        None => 0,
    };
    let value = mantissa as f64 / POWERS[fraction];
    Some(if is_negative { -value } else { value })
}

/// A float, by the nearest value.
pub(crate) fn parse_f32(text: &[u8]) -> Option<f32> {
    let text = std::str::from_utf8(text.trim_ascii()).ok()?;
    let value = text.parse::<f32>().ok()?;
    (value.is_finite() || names_no_number(text)).then_some(value)
}

fn names_no_number(text: &str) -> bool {
    text.bytes().any(|b| matches!(b, b'n' | b'N'))
}

/// The words that PostgreSQL takes.
pub(crate) fn parse_bool(text: &[u8]) -> Option<bool> {
    let text = text.trim_ascii();
    let is = |words: &[&str]| words.iter().any(|w| text.eq_ignore_ascii_case(w.as_bytes()));
    if is(&["true", "t", "1", "yes", "y", "on"]) {
        return Some(true);
    }
    is(&["false", "f", "0", "no", "n", "off"]).then_some(false)
}

/// Base64 with padding.
pub(crate) fn parse_bytes(text: &[u8], out: &mut Vec<u8>) -> Option<()> {
    out.clear();
    STANDARD.decode_vec(text, out).ok()
}

/// Base64 of `bytes`, appended.
pub(crate) fn write_bytes(bytes: &[u8], out: &mut Vec<u8>) {
    let start = out.len();
    out.resize(start + bytes.len().div_ceil(3) * 4, 0);
    STANDARD.encode_slice(bytes, &mut out[start..]).expect("there is room for four characters for three bytes");
}

fn sign(text: &[u8]) -> (bool, &[u8]) {
    match text {
        [b'-', rest @ ..] => (true, rest),
        [b'+', rest @ ..] => (false, rest),
        _ => (false, text),
    }
}

/// `mantissa * 10^exponent`, exactly.
struct Number {
    negative: bool,
    mantissa: u128,
    exponent: i32,
}

impl Number {
    fn parse(text: &[u8]) -> Option<Self> {
        let (negative, text) = sign(text);
        let split = text.iter().position(|b| matches!(b, b'e' | b'E'));
        let (digits, exponent) = match split {
            Some(n) => {
                let (minus, e) = sign(&text[n + 1..]);
                // Four digits are more than any type can use.
                if e.is_empty() || e.len() > 4 || !e.iter().all(u8::is_ascii_digit) {
                    return None;
                }
                let e = e.iter().fold(0, |n, b| n * 10 + i32::from(b - b'0'));
                (&text[..n], if minus { -e } else { e })
            }
            None => (text, 0),
        };
        let mut number = Number { negative, mantissa: 0, exponent };
        let (mut any, mut point) = (false, false);
        for b in digits {
            match b {
                b'0'..=b'9' => {
                    any = true;
                    number.push(b - b'0', point)?;
                }
                b'.' if !point => point = true,
                _ => return None,
            }
        }
        any.then_some(number)
    }

    fn push(&mut self, digit: u8, behind_point: bool) -> Option<()> {
        self.mantissa = self.mantissa.checked_mul(10)?.checked_add(u128::from(digit))?;
        self.exponent -= i32::from(behind_point);
        Some(())
    }

    /// `value * 10^scale` if that is whole and fits.
    fn at_scale(mut self, scale: i32) -> Option<i128> {
        if self.mantissa == 0 {
            return Some(0);
        }
        let mut shift = self.exponent + scale;
        while shift < 0 {
            if !self.mantissa.is_multiple_of(10) {
                return None;
            }
            self.mantissa /= 10;
            shift += 1;
        }
        let factor = 10u128.checked_pow(u32::try_from(shift).ok()?)?;
        let value = i128::try_from(self.mantissa.checked_mul(factor)?).ok()?;
        Some(if self.negative { -value } else { value })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn whole_numbers_are_exact_or_refused() {
        let cases = [("0", Some(0)), ("-17", Some(-17)), (" +5 ", Some(5)), ("517.0", Some(517)), ("1e3", Some(1000))];
        for (text, want) in cases {
            assert_eq!(parse_int(text.as_bytes()), want, "{text}");
        }
        assert_eq!(parse_int(b"9223372036854775808"), Some(9_223_372_036_854_775_808));
        for bad in ["", "-", "1.5", "1e-1", "NaN", "0x10", "1 2", "1e99999", ".", "--1", "1.2.3", "１"] {
            assert_eq!(parse_int(bad.as_bytes()), None, "{bad}");
        }
    }

    #[test]
    fn decimals_never_round() {
        assert_eq!(parse_decimal(b"12.30", 5, 2), Some(1230));
        assert_eq!(parse_decimal(b"12.3000", 5, 1), Some(123));
        assert_eq!(parse_decimal(b"1.005", 10, 2), None);
        assert_eq!(parse_decimal(b"999.99", 5, 2), Some(99_999));
        assert_eq!(parse_decimal(b"1000.00", 5, 2), None);
        assert_eq!(parse_decimal(b"-1.5e2", 5, 2), Some(-15_000));
    }

    #[test]
    fn floats_too_large_are_refused_but_infinity_is_a_value() {
        assert_eq!(parse_f64(b"1e400"), None);
        assert_eq!(parse_f32(b"1e39"), None);
        assert_eq!(parse_f64(b"-Infinity"), Some(f64::NEG_INFINITY));
        assert!(parse_f64(b"NaN").unwrap().is_nan());
    }

    #[test]
    fn base64_round_trips() {
        let (mut text, mut back) = (vec![], vec![]);
        write_bytes(b"\x00\xffab", &mut text);
        assert_eq!(text, b"AP9hYg==");
        parse_bytes(&text, &mut back).unwrap();
        assert_eq!(back, b"\x00\xffab");
    }

    proptest! {
        #[test]
        fn a_short_number_is_what_any_number_is(text in "-?[0-9]{0,18}[0-9.e ]{0,2}", behind in "[0-9,]{0,20}") {
            let data = format!("{text}{behind}");
            if let Some(short) = short_int(data.as_bytes(), 0, text.len()) {
                prop_assert_eq!(Some(i128::from(short)), parse_int(text.as_bytes()));
            }
        }

        #[test]
        fn a_short_double_is_what_any_double_is(text in "-?[0-9]{0,17}([.][0-9]{0,16})?[-.e ]?", f in -1e9f64..1e9, n in 0usize..5) {
            for text in [text, format!("{f:.n$}")] {
                if let Some(short) = short_f64(text.as_bytes(), 0, text.len()) {
                    prop_assert_eq!(Some(short.to_bits()), parse_f64(text.as_bytes()).map(f64::to_bits), "{}", text);
                }
            }
        }

        #[test]
        fn any_bytes_are_parsed_or_refused(bytes: Vec<u8>) {
            let _ = (parse_int(&bytes), parse_decimal(&bytes, 38, 10), parse_f64(&bytes), parse_bool(&bytes));
        }

        #[test]
        fn every_i64_and_f64_comes_back(n: i64, f: f64) {
            prop_assert_eq!(parse_int(n.to_string().as_bytes()), Some(i128::from(n)));
            prop_assert_eq!(parse_f64(format!("{f:?}").as_bytes()).map(f64::to_bits), Some(f.to_bits()));
        }
    }
}
