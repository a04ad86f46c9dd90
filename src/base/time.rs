//! The time, as an argument. Drivers read the system's clocks and pass what they read; the machines
//! below them never ask.

use std::time::Duration;

/// What a driver's two clocks show at one moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Now {
    /// Time since the driver started, from a clock that never goes back. Deadlines are made of it.
    pub since_start: Duration,
    /// Milliseconds since 1970, from the wall clock, which may jump. Expiry times are made of it.
    pub unix_ms: u64,
}
