//! How late the late rows were: what the hint at a job's end is made of.
//!
//! A histogram with eight buckets to a doubling, so a quantile is at most an eighth too large and never too small. It
//! holds nothing until the first late row.

/// How many rows were how late.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Lateness {
    buckets: Vec<u64>,
    rows: u64,
}

const BITS: u32 = 3;

impl Lateness {
    /// `rows` rows would have been in time with a watermark that is `ms` wider.
    pub fn observe(&mut self, ms: i64, rows: u64) {
        let bucket = bucket_of(ms.max(0) as u64);
        if self.buckets.len() <= bucket {
            self.buckets.resize(bucket + 1, 0);
        }
        self.buckets[bucket] += rows;
        self.rows += rows;
    }

    /// Adds what another worker or operator has seen.
    pub fn merge(&mut self, other: &Lateness) {
        if self.buckets.len() < other.buckets.len() {
            self.buckets.resize(other.buckets.len(), 0);
        }
        for (mine, theirs) in self.buckets.iter_mut().zip(&other.buckets) {
            *mine += theirs;
        }
        self.rows += other.rows;
    }

    /// Late rows, all together.
    pub fn rows(&self) -> u64 {
        self.rows
    }

    /// By how many ms the watermark must be wider to keep this share (0 to 1) of the late rows; `None` without any.
    pub fn quantile_ms(&self, share: f64) -> Option<i64> {
        let wanted = ((self.rows as f64 * share.clamp(0.0, 1.0)).ceil() as u64).max(1);
        let mut seen = 0;
        self.buckets.iter().enumerate().find_map(|(bucket, n)| {
            seen += n;
            (seen >= wanted).then(|| upper_ms(bucket))
        })
    }
}

/// Values below 8 have a bucket of their own; above, the bucket is the exponent and the three bits behind the first.
fn bucket_of(ms: u64) -> usize {
    if ms < 1 << BITS {
        return ms as usize;
    }
    let exponent = ms.ilog2();
    let fraction = (ms >> (exponent - BITS)) & ((1 << BITS) - 1);
    ((exponent - BITS + 1) as usize) << BITS | fraction as usize
}

/// The largest value of a bucket.
fn upper_ms(bucket: usize) -> i64 {
    if bucket < 1 << BITS {
        return bucket as i64;
    }
    let shift = (bucket >> BITS) - 1;
    let first = ((1 << BITS) | (bucket & ((1 << BITS) - 1))) as i64;
    ((first + 1) << shift) - 1
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bucket_holds_its_values_and_is_an_eighth_wide() {
        for ms in (0..10_000).chain([1 << 40, (1 << 40) + 12_345]) {
            let upper = upper_ms(bucket_of(ms));
            assert!(upper >= ms as i64 && upper <= (ms + ms / 8) as i64, "{ms} in a bucket up to {upper}");
        }
    }

    #[test]
    fn quantiles_over_merged_workers() {
        let (mut a, mut b) = (Lateness::default(), Lateness::default());
        assert_eq!(a.quantile_ms(0.99), None);
        a.observe(5, 99);
        b.observe(1_000, 1);
        a.merge(&b);
        assert_eq!((a.rows(), a.quantile_ms(0.99)), (100, Some(5)));
        assert!((1_000..1_125).contains(&a.quantile_ms(1.0).unwrap()));
    }
}
