//! What a run came to: counts, rates, percentiles, CPU; and the ratio of two.

use std::time::Duration;

use hdrhistogram::Histogram;

use super::accounting::Reading;
use super::json::Json;

/// Latencies above this are counted as this.
const LONGEST: Duration = Duration::from_secs(600);

/// The percentiles that are told.
const QUANTILES: [(&str, f64); 5] =
    [("p50", 0.5), ("p90", 0.9), ("p99", 0.99), ("p99.9", 0.999), ("p99.99", 0.9999)];

/// Latencies in nanoseconds, three digits kept.
#[derive(Clone)]
pub struct Latencies(Histogram<u64>);

impl Latencies {
    pub fn new() -> Latencies {
        let bounds = Histogram::new_with_bounds(1, LONGEST.as_nanos() as u64, 3);
        Latencies(bounds.expect("sound bounds"))
    }

    pub fn record(&mut self, ns: u64) {
        self.0.saturating_record(ns);
    }

    pub fn add(&mut self, other: &Latencies) {
        self.0.add(&other.0).expect("the same bounds");
    }

    pub fn count(&self) -> u64 {
        self.0.len()
    }

    /// In microseconds.
    pub fn quantile(&self, share: f64) -> f64 {
        self.0.value_at_quantile(share) as f64 / 1000.0
    }

    pub fn max(&self) -> f64 {
        self.0.max() as f64 / 1000.0
    }

    pub fn json(&self) -> Json {
        let mut fields = vec![
            ("min", Json::Real(self.0.min() as f64 / 1000.0)),
            ("mean", Json::Real(self.0.mean() / 1000.0)),
        ];
        let told = QUANTILES.iter().map(|(name, share)| (*name, Json::Real(self.quantile(*share))));
        fields.extend(told);
        fields.push(("max", Json::Real(self.max())));
        Json::Object(fields)
    }

    pub fn line(&self) -> String {
        let told =
            QUANTILES.iter().map(|(name, share)| format!("{name} {}", us(self.quantile(*share))));
        let told: Vec<String> = told.collect();
        format!("{}, max {} us", told.join(", "), us(self.max()))
    }
}

/// Microseconds with as many decimals as they deserve.
pub fn us(n: f64) -> String {
    if n < 100.0 { format!("{n:.1}") } else { format!("{n:.0}") }
}

/// One measured stretch of one target.
#[derive(Clone)]
pub struct Stretch {
    pub operations: u64,
    pub seconds: f64,
    pub latencies: Latencies,
    /// Open loop: slots sent more than a millisecond late, and those never sent.
    pub late: u64,
    pub missed: u64,
    pub used: Reading,
}

impl Stretch {
    pub fn nothing() -> Stretch {
        Stretch {
            operations: 0,
            seconds: 0.0,
            latencies: Latencies::new(),
            late: 0,
            missed: 0,
            used: Reading { server: Some(0.0), ..Reading::default() },
        }
    }

    pub fn plus(mut self, other: &Stretch) -> Stretch {
        self.operations += other.operations;
        self.seconds += other.seconds;
        self.latencies.add(&other.latencies);
        self.late += other.late;
        self.missed += other.missed;
        self.used = self.used.plus(other.used);
        self
    }

    pub fn per_second(&self) -> f64 {
        self.operations as f64 / self.seconds
    }

    /// CPU seconds for each 100,000 operations.
    fn per_lakh(&self, seconds: f64) -> f64 {
        seconds * 100_000.0 / self.operations as f64
    }

    /// Every figure that can be compared, by name.
    pub fn figures(&self) -> Vec<(&'static str, Option<f64>)> {
        let mut figures = vec![("per_second", Some(self.per_second()))];
        let quantiles =
            QUANTILES.iter().map(|(n, share)| (*n, Some(self.latencies.quantile(*share))));
        figures.extend(quantiles);
        figures.push(("max", Some(self.latencies.max())));
        figures.push(("server_cpu_per_100k", self.used.server.map(|cpu| self.per_lakh(cpu))));
        figures
    }

    pub fn json(&self) -> Vec<(&'static str, Json)> {
        vec![
            ("operations", Json::Whole(self.operations)),
            ("seconds", Json::Real(self.seconds)),
            ("per_second", Json::Real(self.per_second())),
            ("latency_us", self.latencies.json()),
            ("late", Json::Whole(self.late)),
            ("missed", Json::Whole(self.missed)),
            ("server_cpu_seconds", Json::maybe(self.used.server)),
            ("server_cpu_per_100k", Json::maybe(self.used.server.map(|cpu| self.per_lakh(cpu)))),
            ("client_cpu_seconds", Json::Real(self.used.client)),
            ("machine_cpu_seconds", Json::Real(self.used.machine)),
        ]
    }

    pub fn lines(&self, open_loop: bool) -> String {
        let mut lines = format!(
            "  {} operations in {:.2} s, {:.0}/s\n  latency {}\n",
            self.operations,
            self.seconds,
            self.per_second(),
            self.latencies.line()
        );
        if open_loop {
            lines += &format!("  slots: {} late, {} missed\n", self.late, self.missed);
        }
        if let Some(cpu) = self.used.server {
            lines += &format!(
                "  server CPU {cpu:.2} s, {:.3} s for each 100,000 operations\n",
                self.per_lakh(cpu)
            );
        }
        lines += &format!(
            "  client CPU {:.2} s; the whole machine {:.2} s\n",
            self.used.client, self.used.machine
        );
        lines
    }
}

/// The ratio of one figure over the pairs of a run.
pub struct Ratio {
    pub name: &'static str,
    pub median: f64,
    pub least: f64,
    pub most: f64,
}

impl Ratio {
    pub fn json(&self) -> (&'static str, Json) {
        let fields = [("median", self.median), ("least", self.least), ("most", self.most)];
        (self.name, Json::Object(fields.map(|(name, n)| (name, Json::Real(n))).to_vec()))
    }
}

/// The first target's figures over the second's, pair by pair.
pub fn ratios(pairs: &[(Stretch, Stretch)]) -> Vec<Ratio> {
    let Some((first, _)) = pairs.first() else { return Vec::new() };
    let names = first.figures().into_iter().map(|(name, _)| name).enumerate();
    let ratio = |(n, name): (usize, &'static str)| {
        let of = |(a, b): &(Stretch, Stretch)| Some(a.figures()[n].1? / b.figures()[n].1?);
        let mut all: Vec<f64> = pairs.iter().filter_map(of).filter(|r| r.is_finite()).collect();
        all.sort_by(f64::total_cmp);
        let (least, most) = (*all.first()?, *all.last()?);
        Some(Ratio { name, median: all[all.len() / 2], least, most })
    };
    names.filter_map(ratio).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stretch(operations: u64, cpu: Option<f64>) -> Stretch {
        let mut stretch = Stretch { operations, seconds: 1.0, ..Stretch::nothing() };
        stretch.used.server = cpu;
        (1..=operations).for_each(|n| stretch.latencies.record(n * 1000));
        stretch
    }

    #[test]
    fn quantiles_are_within_a_thousandth_of_the_exact_ones() {
        let latencies = stretch(10_000, None).latencies;
        for (share, exact) in [(0.5, 5000.0), (0.99, 9900.0), (0.9999, 9999.0)] {
            let told = latencies.quantile(share);
            assert!((told - exact).abs() / exact < 0.002, "{share}: {told}");
        }
        assert!((latencies.max() - 10_000.0).abs() < 10.0);
        assert_eq!(latencies.count(), 10_000);
    }

    #[test]
    fn a_ratio_is_the_median_of_the_pairs_and_left_out_where_a_figure_was_not_taken() {
        let pair = |a, b| (stretch(a, Some(2.0)), stretch(b, None));
        let ratios = ratios(&[pair(100, 100), pair(300, 100), pair(200, 100)]);
        let rate = ratios.iter().find(|r| r.name == "per_second").expect("a rate");
        assert_eq!((rate.least, rate.median, rate.most), (1.0, 2.0, 3.0));
        assert!(!ratios.iter().any(|r| r.name == "server_cpu_per_100k"));
    }

    #[test]
    fn stretches_add_up() {
        let both = stretch(100, Some(1.0)).plus(&stretch(300, Some(3.0)));
        assert_eq!((both.operations, both.latencies.count()), (400, 400));
        assert_eq!(both.used.server, Some(4.0));
        assert_eq!(both.per_second(), 200.0);
    }
}
