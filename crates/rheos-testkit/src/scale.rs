//! How long random tests run.

use proptest::prelude::ProptestConfig;

/// The variable that makes random tests longer or shorter: a factor, 1 unless given.
const SCALE: &str = "RHEOS_TEST_SCALE";

/// `default` random cases, times the factor in the environment variable `RHEOS_TEST_SCALE`; one at least.
///
/// Panics where the variable is not a positive number.
pub fn cases(default: u32) -> ProptestConfig {
    ProptestConfig::with_cases(scaled(default, std::env::var(SCALE).ok().as_deref()))
}

fn scaled(default: u32, scale: Option<&str>) -> u32 {
    let Some(text) = scale else { return default };
    match text.trim().parse::<f64>() {
        // The cast stops at the largest number there is.
        Ok(factor) if factor.is_finite() && factor > 0.0 => (f64::from(default) * factor).round().max(1.0) as u32,
        _ => panic!("{SCALE} is '{text}', but it must be a positive number such as 10 or 0.5"),
    }
}

#[cfg(test)]
mod tests {
    use super::scaled;

    #[test]
    fn a_factor_makes_more_or_fewer_cases_but_never_none() {
        assert_eq!(scaled(40, None), 40);
        assert_eq!(scaled(40, Some("10")), 400);
        assert_eq!(scaled(40, Some("0.25")), 10);
        assert_eq!(scaled(40, Some("0.001")), 1);
        assert_eq!(scaled(u32::MAX, Some("10")), u32::MAX);
    }

    #[test]
    #[should_panic(expected = "must be a positive number")]
    fn a_factor_that_is_none_is_refused() {
        scaled(40, Some("long"));
    }
}
