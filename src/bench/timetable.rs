//! When operations are due in an open loop.

use std::time::Duration;

/// The timetable of one client: operation `k` is due at `first + k × interval`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Timetable {
    first: f64,
    interval: f64,
}

impl Timetable {
    /// Client `index` of `clients` that together send `rate` operations a second, evenly interleaved.
    pub fn new(rate: f64, index: usize, clients: usize) -> Self {
        Self { first: index as f64 / rate, interval: clients as f64 / rate }
    }

    /// When operation `k` is due.
    pub fn due(&self, k: u64) -> Duration {
        let seconds = self.first + k as f64 * self.interval;
        Duration::try_from_secs_f64(seconds).unwrap_or(Duration::MAX)
    }

    /// How many operations are due by `now`, the one due at `now` included.
    pub fn due_by(&self, now: Duration) -> u64 {
        let since = now.as_secs_f64() - self.first;
        if since < 0.0 {
            return 0;
        }
        // The division can be off by one at the edges; `due` is what counts.
        let mut count = (since / self.interval) as u64 + 1;
        while count > 0 && self.due(count - 1) > now {
            count -= 1;
        }
        while self.due(count) <= now {
            count += 1;
        }
        count
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn due_by_counts_exactly_what_is_due() {
        for (rate, index, clients) in [(1000.0, 0, 1), (300.0, 2, 7), (0.5, 0, 1), (1e6, 49, 50)] {
            let table = Timetable::new(rate, index, clients);
            for k in [0, 1, 2, 3, 10, 1000, 12345] {
                let due = table.due(k);
                assert_eq!(table.due_by(due), k + 1, "{rate} {index}/{clients} {k}");
                if let Some(before) = due.checked_sub(Duration::from_nanos(1)) {
                    assert_eq!(table.due_by(before), k, "{rate} {index}/{clients} {k}");
                }
            }
        }
    }
}
