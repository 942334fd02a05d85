//! Counters and summaries: plain values, owned by whoever counts, shown by `admin`.

/// A count that only rises until an operator resets it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counter(pub u64);

impl Counter {
    pub fn add(&mut self, n: u64) {
        self.0 = self.0.saturating_add(n);
    }

    pub fn one(&mut self) {
        self.add(1);
    }
}

/// Count, sum, minimum and maximum of what was observed, and its percentiles where asked for.
///
/// The percentiles come from buckets at most 1/16 apart, so they cost no allocation per sample.
#[derive(Clone, Debug)]
pub struct Summary {
    count: u64,
    sum: u64,
    min: u64,
    max: u64,
    buckets: Option<Box<[u32; BUCKETS]>>,
}

const SUB_BITS: u32 = 4;
const BUCKETS: usize = ((64 - SUB_BITS as usize) + 1) << SUB_BITS;

impl Summary {
    /// Count, sum, minimum, maximum only.
    pub fn basic() -> Summary {
        Summary { count: 0, sum: 0, min: u64::MAX, max: 0, buckets: None }
    }

    /// Percentiles too.
    pub fn advanced() -> Summary {
        Summary { buckets: Some(Box::new([0; BUCKETS])), ..Summary::basic() }
    }

    pub fn observe(&mut self, value: u64) {
        self.count += 1;
        self.sum = self.sum.saturating_add(value);
        self.min = self.min.min(value);
        self.max = self.max.max(value);
        if let Some(buckets) = &mut self.buckets {
            let slot = &mut buckets[bucket_of(value)];
            *slot = slot.saturating_add(1);
        }
    }

    pub fn reset(&mut self) {
        *self = if self.buckets.is_some() { Summary::advanced() } else { Summary::basic() };
    }

    pub fn count(&self) -> u64 {
        self.count
    }

    pub fn sum(&self) -> u64 {
        self.sum
    }

    pub fn max(&self) -> u64 {
        self.max
    }

    /// The smallest observation, 0 before the first.
    pub fn min(&self) -> u64 {
        if self.count == 0 { 0 } else { self.min }
    }

    pub fn mean(&self) -> f64 {
        if self.count == 0 { 0.0 } else { self.sum as f64 / self.count as f64 }
    }

    pub fn has_percentiles(&self) -> bool {
        self.buckets.is_some()
    }

    /// The value below which `q` (0..=1) of the observations lie; 0 where none are kept.
    pub fn percentile(&self, q: f64) -> u64 {
        let Some(buckets) = &self.buckets else { return 0 };
        if self.count == 0 {
            return 0;
        }
        let wanted = ((self.count as f64) * q).ceil().max(1.0) as u64;
        let mut seen = 0u64;
        for (slot, n) in buckets.iter().enumerate() {
            seen += u64::from(*n);
            if seen >= wanted {
                return lower_bound_of(slot).clamp(self.min, self.max);
            }
        }
        self.max
    }
}

fn bucket_of(value: u64) -> usize {
    if value < (1 << SUB_BITS) {
        return value as usize;
    }
    let log2 = 63 - value.leading_zeros();
    let sub = (value >> (log2 - SUB_BITS)) as usize & ((1 << SUB_BITS) - 1);
    (((log2 - SUB_BITS + 1) as usize) << SUB_BITS) + sub
}

fn lower_bound_of(bucket: usize) -> u64 {
    if bucket < (1 << SUB_BITS) {
        return bucket as u64;
    }
    let shift = (bucket >> SUB_BITS) as u32 - 1;
    let sub = (bucket & ((1 << SUB_BITS) - 1)) as u64;
    ((1 << SUB_BITS) + sub) << shift
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_value_lies_in_the_bucket_that_names_it() {
        for shift in 0..64 {
            for low in [0u64, 1, 3] {
                let value = (1u64 << shift).wrapping_add(low);
                let bucket = bucket_of(value);
                assert!(bucket < BUCKETS, "{value}");
                let bound = lower_bound_of(bucket);
                assert!(bound <= value && value - bound <= value / 16, "{value} in {bound}");
            }
        }
        assert!(bucket_of(u64::MAX) < BUCKETS);
    }

    #[test]
    fn percentiles_follow_the_observations() {
        let mut s = Summary::advanced();
        (1..=1000).for_each(|v| s.observe(v));
        assert_eq!((s.min(), s.max(), s.count()), (1, 1000, 1000));
        let p50 = s.percentile(0.5);
        assert!((470..=500).contains(&p50), "{p50}");
        assert!(s.percentile(0.99) >= 930);
    }
}
