//! Exact sums of floats: a sum is kept as several floats that do not overlap, small ones first, and nothing is rounded until
//! the sum is asked for (Shewchuk, "Adaptive Precision Floating-Point Arithmetic", 1997). So it is a matter of the multiset of
//! the summands alone: what is added and taken away again leaves no trace, and the order does not show.
//!
//! Absent: overflow. Callers keep their summands below 2^960, so that 2^63 of them have a sum.

/// `a + b`, rounded, and what the rounding took away.
#[inline]
pub(super) fn two_sum(a: f64, b: f64) -> (f64, f64) {
    let sum = a + b;
    let from_b = sum - a;
    let from_a = sum - from_b;
    (sum, (a - from_a) + (b - from_b))
}

/// `a * b`, rounded, and what the rounding took away (Dekker). Exact where both are below 2^960 and the product is no smaller
/// than 2^-960.
#[inline]
pub(super) fn product(a: f64, b: f64) -> (f64, f64) {
    let high = a * b;
    let ((a_high, a_low), (b_high, b_low)) = (halves(a), halves(b));
    (high, ((a_high * b_high - high) + a_high * b_low + a_low * b_high) + a_low * b_low)
}

/// A float as two of half its digits.
#[inline]
fn halves(value: f64) -> (f64, f64) {
    let spread = value * 134_217_729.0;
    let high = spread - (spread - value);
    (high, value - high)
}

/// `value * 2^power`.
pub(super) fn times_power(value: f64, power: i32) -> f64 {
    // In steps: a single factor may be no float though the result is.
    let (mut value, mut left) = (value, power);
    while left != 0 {
        let step = left.clamp(-1000, 1000);
        value *= f64::from_bits(((1023 + i64::from(step)) as u64) << 52);
        left -= step;
    }
    value
}

/// Adds a float to an expansion.
pub(super) fn grow(parts: &mut Vec<f64>, summand: f64) {
    let mut carry = summand;
    let mut kept = 0;
    for at in 0..parts.len() {
        let (sum, error) = two_sum(carry, parts[at]);
        if error != 0.0 {
            parts[kept] = error;
            kept += 1;
        }
        carry = sum;
    }
    parts.truncate(kept);
    if carry != 0.0 {
        parts.push(carry);
    }
}

/// The sum of an expansion, rounded once: half to even, as if it were computed exactly.
pub(super) fn rounded(parts: &[f64]) -> f64 {
    let Some((mut sum, mut rest)) = parts.split_last().map(|(last, rest)| (*last, rest)) else { return 0.0 };
    let mut error = 0.0;
    while let Some((part, smaller)) = rest.split_last() {
        (sum, error) = two_sum(sum, *part);
        rest = smaller;
        if error != 0.0 {
            break;
        }
    }
    // What is left of it may lie exactly between two floats; then what comes behind tells to which side it goes.
    let same_side = rest.last().is_some_and(|next| (*next < 0.0) == (error < 0.0));
    if error != 0.0 && same_side {
        let doubled = error * 2.0;
        let other = sum + doubled;
        if other - sum == doubled {
            return other;
        }
    }
    sum
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn sum(values: &[f64]) -> f64 {
        let mut parts = vec![];
        values.iter().for_each(|v| grow(&mut parts, *v));
        rounded(&parts)
    }

    /// By hand. The last two: 2^53 + 1 lies between two floats and goes to the even one, but not with a little more.
    #[test]
    fn sums_are_rounded_once() {
        assert_eq!(sum(&[]), 0.0);
        assert_eq!(sum(&[1e300, 1.0, -1e300]), 1.0);
        assert_eq!(sum(&[0.1; 10]), 1.0);
        assert_eq!(sum(&[9_007_199_254_740_992.0, 1.0]), 9_007_199_254_740_992.0);
        assert_eq!(sum(&[9_007_199_254_740_992.0, 1.0, 1e-300]), 9_007_199_254_740_994.0);
        assert_eq!(sum(&[9_007_199_254_740_992.0, 1.0, -1e-300]), 9_007_199_254_740_992.0);
    }

    /// By hand: (2^27 + 1)^2 = 2^54 + 2^28 + 1 has one digit too many.
    #[test]
    fn products_lose_nothing() {
        let x = 134_217_729.0;
        assert_eq!(product(x, x), (18_014_398_777_917_440.0, 1.0));
        assert_eq!(product(x, -x), (-18_014_398_777_917_440.0, -1.0));
        assert_eq!(product(3.0, 5.0), (15.0, 0.0));
        assert_eq!(times_power(3.0, -1100), 3.0 * 2.0_f64.powi(-500) * 2.0_f64.powi(-500) * 2.0_f64.powi(-100));
    }

    proptest! {
        #![proptest_config(rheos_testkit::cases(64))]

        /// Integers times powers of two, which i128 adds up exactly.
        #[test]
        fn sums_are_those_of_integers(values in proptest::collection::vec((any::<i32>(), 0..64_u32), 0..60)) {
            let exact: i128 = values.iter().map(|(m, e)| i128::from(*m) << e).sum();
            let floats: Vec<f64> = values.iter().map(|(m, e)| f64::from(*m) * (1_u64 << e) as f64).collect();
            // Conversion of an integer rounds half to even as well.
            prop_assert_eq!(sum(&floats), exact as f64);
            let taken_away: Vec<f64> = floats.iter().copied().chain(floats.iter().rev().map(|v| -v)).collect();
            prop_assert_eq!(sum(&taken_away), 0.0);
        }
    }
}
