//! What is counted of one kind of operation.

use std::time::Duration;

use hdrhistogram::Histogram;

/// The percentiles that tables and files show.
pub const PERCENTILES: [f64; 4] = [50.0, 90.0, 99.0, 99.9];

/// The longest latency that is told apart, in nanoseconds; longer ones count as this.
const LONGEST: u64 = 60_000_000_000;

/// The two kinds of operations that are counted apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// `get`.
    Read,
    /// `set`.
    Write,
}

impl Kind {
    /// Both, in the order in which they are shown.
    pub const ALL: [Kind; 2] = [Kind::Read, Kind::Write];

    /// The name in tables and files.
    pub fn name(self) -> &'static str {
        match self {
            Self::Read => "read",
            Self::Write => "write",
        }
    }
}

/// Latencies of the operations that succeeded, and how many did not.
#[derive(Clone, Debug)]
pub struct Tally {
    /// Latencies in nanoseconds.
    pub latency: Histogram<u64>,
    /// Operations that definitely failed.
    pub errors: u64,
    /// Operations of which it is not known whether they took or will take effect.
    pub unknown: u64,
    /// Reads that found no such key; they succeeded, and are in `latency`.
    pub missing: u64,
}

/// An empty histogram with the bounds that all of this project's latencies use.
pub fn new_histogram() -> Histogram<u64> {
    Histogram::new_with_bounds(1, LONGEST, 3)
        .expect("1 ns, 60 s and 3 digits are bounds that HdrHistogram takes")
}

impl Default for Tally {
    fn default() -> Self {
        Self { latency: new_histogram(), errors: 0, unknown: 0, missing: 0 }
    }
}

impl Tally {
    /// Counts an operation that succeeded.
    pub fn record(&mut self, latency: Duration) {
        let nanos = u64::try_from(latency.as_nanos()).unwrap_or(u64::MAX);
        self.latency.saturating_record(nanos.max(1));
    }

    /// Adds another tally to this one.
    pub fn merge(&mut self, other: &Tally) {
        // All histograms have the same bounds, so this cannot fail; if it did, nothing would be added.
        let added = self.latency.add(&other.latency);
        debug_assert!(added.is_ok(), "all histograms have the same bounds");
        self.errors += other.errors;
        self.unknown += other.unknown;
        self.missing += other.missing;
    }

    /// How many operations succeeded.
    pub fn succeeded(&self) -> u64 {
        self.latency.len()
    }

    /// How many operations were tried.
    pub fn tried(&self) -> u64 {
        self.succeeded() + self.errors + self.unknown
    }

    /// A percentile in microseconds; 0 when there is nothing.
    pub fn percentile_us(&self, percentile: f64) -> f64 {
        if self.latency.is_empty() {
            return 0.0;
        }
        self.latency.value_at_percentile(percentile) as f64 / 1000.0
    }
}
