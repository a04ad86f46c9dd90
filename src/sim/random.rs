//! Random numbers out of a seed, the same on any machine.
//!
//! Every concern has a stream of its own (one a client, one a link, one for the faults …), so that leaving
//! one fault or operation out of a plan does not change what all the others draw. Distributions are
//! tables of quantiles in integers: floating-point logarithms differ between libraries.

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};
use serde::{Deserialize, Serialize};

/// How times scatter around their mean.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Shape {
    /// Not at all.
    #[default]
    Constant,
    /// Exponentially, as independent arrivals do.
    Exponential,
    /// Log-normally with σ = 1, as round trips in real networks do.
    LogNormal,
}

/// The quantiles at (i + ½)/64 of the exponential distribution of mean 1, in 1/1024.
const EXPONENTIAL: [u16; 64] = [
    8, 24, 41, 58, 75, 92, 110, 128, 146, 165, 184, 203, 223, 243, 263, 284, 305, 327, 349, 372,
    395, 419, 444, 469, 494, 520, 547, 575, 603, 633, 663, 694, 726, 759, 793, 828, 865, 903, 942,
    983, 1026, 1070, 1117, 1166, 1217, 1271, 1328, 1388, 1452, 1520, 1594, 1672, 1758, 1851, 1953,
    2067, 2195, 2342, 2513, 2719, 2976, 3320, 3844, 4968,
];

/// The same of the log-normal distribution of mean 1 with σ = 1.
const LOG_NORMAL: [u16; 64] = [
    55, 85, 107, 125, 142, 158, 174, 189, 204, 219, 234, 248, 263, 278, 293, 309, 324, 340, 356,
    373, 389, 407, 424, 442, 461, 480, 500, 520, 541, 563, 586, 609, 633, 659, 685, 713, 741, 772,
    803, 837, 872, 909, 949, 991, 1035, 1083, 1134, 1190, 1250, 1315, 1387, 1466, 1553, 1651, 1763,
    1891, 2040, 2218, 2435, 2711, 3079, 3616, 4532, 6968,
];

/// What draws from a stream, so that no two concerns share one.
#[derive(Clone, Copy, Debug)]
pub(super) enum Concern {
    /// What kind of run it is: pace, network, sync policy.
    Shape,
    /// Which faults.
    Faults,
    /// What a client asks.
    Script(u64),
    /// How long messages of a link take.
    Link(u64),
    /// How long a client's requests and answers take.
    Client(u64),
    /// Small choices of the faults as they happen.
    Nemesis,
    /// Whether it is an election storm, and which.
    Storm,
}

/// One stream.
#[derive(Clone, Debug)]
pub(super) struct Stream(ChaCha8Rng);

impl Stream {
    pub(super) fn new(seed: u64, concern: Concern) -> Self {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        rng.set_stream(match concern {
            Concern::Shape => 0,
            Concern::Faults => 1,
            Concern::Nemesis => 2,
            Concern::Storm => 3,
            Concern::Script(client) => 1 << 32 | client,
            Concern::Link(link) => 2 << 32 | link,
            Concern::Client(client) => 3 << 32 | client,
        });
        Self(rng)
    }

    /// A number below `bound`; 0 for a bound of 0.
    pub(super) fn below(&mut self, bound: u64) -> u64 {
        ((u128::from(self.0.next_u64()) * u128::from(bound)) >> 64) as u64
    }

    /// A number of `from..to`.
    pub(super) fn between(&mut self, from: u64, to: u64) -> u64 {
        from + self.below(to.saturating_sub(from))
    }

    /// True once in so many times.
    pub(super) fn one_in(&mut self, times: u64) -> bool {
        self.below(times) == 0
    }

    /// A time of this mean.
    pub(super) fn time(&mut self, shape: Shape, mean: u64) -> u64 {
        let table = match shape {
            Shape::Constant => return mean,
            Shape::Exponential => &EXPONENTIAL,
            Shape::LogNormal => &LOG_NORMAL,
        };
        let drawn = self.0.next_u32();
        let quantile = u64::from(table[(drawn >> 26) as usize]);
        // Spread between the quantiles, so that no two times are equal by construction.
        (mean.saturating_mul(quantile) >> 10) + (((mean >> 6) * u64::from(drawn & 0xffff)) >> 16)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_have_about_the_mean_that_was_asked_for() {
        for shape in [Shape::Constant, Shape::Exponential, Shape::LogNormal] {
            let mut stream = Stream::new(7, Concern::Link(1));
            let sum: u64 = (0..10_000).map(|_| stream.time(shape, 1_000_000)).sum();
            let mean = sum / 10_000;
            assert!((900_000..1_100_000).contains(&mean), "{shape:?} has a mean of {mean}");
        }
    }

    #[test]
    fn concerns_draw_independently_of_each_other() {
        let mut first = Stream::new(7, Concern::Script(0));
        let mut second = Stream::new(7, Concern::Script(1));
        let draws = |stream: &mut Stream| (0..8).map(|_| stream.below(1000)).collect::<Vec<_>>();
        assert_ne!(draws(&mut first), draws(&mut second));
        assert_eq!(
            draws(&mut Stream::new(7, Concern::Script(1))),
            draws(&mut Stream::new(7, Concern::Script(1)))
        );
    }
}
