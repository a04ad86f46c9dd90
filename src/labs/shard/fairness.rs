//! How evenly counts lie on nodes, and whether chance explains it.
//!
//! `max/mean` is what a user feels: the fullest node is the first at its limit. The *coefficient of variation*
//! is the standard deviation of the nodes' counts over their mean. Both depend on how many keys there are,
//! so neither says alone whether a function is at fault. *Pearson's chi-square* does: the sum of
//! `(count - mean)²/mean`. Were every key thrown on a node at random, it would have the chi-square
//! distribution with n-1 degrees of freedom, and `p` is the probability of a value as large or larger.
//!
//! A small p means that chance does not explain the imbalance. The reverse is no defect: keys 1, 2, 3, … modulo
//! n lie *more* evenly than chance would have them, p is near 1.
//!
//! Caveats. The distribution is an approximation, good where a node can expect 5 keys or more. A p below 0.05
//! comes up once in 20 tests of a fair function, so a table of 15 rows shows one rather often than not: the
//! verdict is `unfair` only below 0.001. And p is about a sample: with keys enough any lasting difference
//! shows, even one of no consequence.
//!
//! Source: Pearson 1900; the incomplete gamma function as in Press et al., *Numerical Recipes*, §6.2; its
//! logarithm by Lanczos' approximation.

/// Below this p a placement is [`Verdict::Unfair`].
pub const UNFAIR: f64 = 0.001;

/// Below this p it is [`Verdict::Doubtful`].
pub const DOUBTFUL: f64 = 0.05;

/// The fewest keys a node has to expect for chi-square to be trusted.
pub const FEWEST: f64 = 5.0;

/// No series below needs more terms: both converge within some √a beyond a, and a is bounded by the nodes.
const MOST_TERMS: usize = 100_000;

/// What p says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// As even as chance, or more so.
    Fair,
    /// Chance does it once in 20 to 1000 times.
    Doubtful,
    /// Chance does not explain it.
    Unfair,
}

impl Verdict {
    /// As it is written.
    pub fn word(self) -> &'static str {
        match self {
            Self::Fair => "fair",
            Self::Doubtful => "doubtful",
            Self::Unfair => "unfair",
        }
    }
}

/// The figures of one placement.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Fairness {
    /// How many keys there are.
    pub keys: u64,
    /// How many nodes have at least one.
    pub reached: usize,
    /// How many keys the fullest node has.
    pub fullest: u64,
    /// Keys a node, on average.
    pub mean: f64,
    /// The fullest node against the mean.
    pub max_over_mean: f64,
    /// The standard deviation over the mean.
    pub variation: f64,
    /// Pearson's statistic.
    pub chi_square: f64,
    /// Its degrees of freedom: the nodes less one.
    pub freedom: usize,
    /// The probability of such a chi-square, or a larger one, by chance.
    pub p: f64,
}

impl Fairness {
    /// Judges the counts of the nodes. No keys are as even as can be.
    pub fn of(counts: &[u64]) -> Self {
        let keys: u64 = counts.iter().sum();
        let mean = keys as f64 / counts.len().max(1) as f64;
        let squares: f64 = counts.iter().map(|count| (*count as f64 - mean).powi(2)).sum();
        let fullest = counts.iter().copied().max().unwrap_or(0);
        let over_mean = |figure: f64| if keys == 0 { 0.0 } else { figure / mean };
        let chi_square = over_mean(squares);
        let freedom = counts.len().saturating_sub(1);
        Self {
            keys,
            reached: counts.iter().filter(|count| **count > 0).count(),
            fullest,
            mean,
            max_over_mean: over_mean(fullest as f64),
            variation: over_mean((squares / counts.len().max(1) as f64).sqrt()),
            chi_square,
            freedom,
            p: exceeds(chi_square, freedom),
        }
    }

    /// What p says.
    pub fn verdict(&self) -> Verdict {
        match self.p {
            p if p < UNFAIR => Verdict::Unfair,
            p if p < DOUBTFUL => Verdict::Doubtful,
            _ => Verdict::Fair,
        }
    }
}

/// The probability that a chi-square of so many degrees of freedom is `value` or more.
pub fn exceeds(value: f64, freedom: usize) -> f64 {
    if freedom == 0 || value <= 0.0 {
        return 1.0;
    }
    let (a, x) = (freedom as f64 / 2.0, value / 2.0);
    let tail = if x < a + 1.0 { 1.0 - series(a, x) } else { fraction(a, x) };
    tail.clamp(0.0, 1.0)
}

/// The value that a fair placement stays below in this share of cases, such as 0.95.
pub fn bound(share: f64, freedom: usize) -> f64 {
    let (mut low, mut high) = (0.0, freedom as f64 + 1.0);
    while exceeds(high, freedom) > 1.0 - share && high < 1e9 {
        high *= 2.0;
    }
    // A double has no more bits to halve.
    for _ in 0..64 {
        let middle = (low + high) / 2.0;
        if exceeds(middle, freedom) > 1.0 - share { low = middle } else { high = middle }
    }
    high
}

/// The factor that both forms of the incomplete gamma function share: `x^a e^-x / Γ(a)`.
fn factor(a: f64, x: f64) -> f64 {
    (a * x.ln() - x - ln_gamma(a)).exp()
}

/// The lower incomplete gamma function over Γ(a), by its series; for x below a + 1.
fn series(a: f64, x: f64) -> f64 {
    let (mut term, mut sum) = (1.0 / a, 1.0 / a);
    for n in 1..MOST_TERMS {
        term *= x / (a + n as f64);
        sum += term;
        if term < sum * 1e-15 {
            break;
        }
    }
    sum * factor(a, x)
}

/// The upper one, by its continued fraction (Lentz's method); for x above a + 1.
fn fraction(a: f64, x: f64) -> f64 {
    let tiny = 1e-300;
    let mut b = x + 1.0 - a;
    let (mut c, mut d) = (1.0 / tiny, 1.0 / b);
    let mut whole = d;
    for n in 1..MOST_TERMS {
        let n = n as f64;
        let numerator = -n * (n - a);
        b += 2.0;
        let nonzero = |figure: f64| if figure.abs() < tiny { tiny } else { figure };
        d = 1.0 / nonzero(numerator * d + b);
        c = nonzero(b + numerator / c);
        whole *= d * c;
        if (d * c - 1.0).abs() < 1e-15 {
            break;
        }
    }
    whole * factor(a, x)
}

/// The logarithm of Γ(z), z ≥ 1/2, to 15 digits.
fn ln_gamma(z: f64) -> f64 {
    const G: f64 = 7.0;
    const TERMS: [f64; 9] = [
        0.999_999_999_999_809_9,
        676.520_368_121_885_1,
        -1_259.139_216_722_402_8,
        771.323_428_777_653_1,
        -176.615_029_162_140_6,
        12.507_343_278_686_905,
        -0.138_571_095_265_720_12,
        9.984_369_578_019_572e-6,
        1.505_632_735_149_311_6e-7,
    ];
    let z = z - 1.0;
    let later = TERMS.iter().enumerate().skip(1).map(|(n, term)| term / (z + n as f64));
    let sum = TERMS[0] + later.sum::<f64>();
    let t = z + G + 0.5;
    0.5 * (2.0 * std::f64::consts::PI).ln() + (z + 0.5) * t.ln() - t + sum.ln()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn near(found: f64, expected: f64) {
        assert!((found - expected).abs() < 1e-6 * expected.abs().max(1e-3), "{found} {expected}");
    }

    #[test]
    fn p_is_that_of_the_printed_tables() {
        // R: pchisq(x, df, lower.tail = FALSE).
        for (value, freedom, expected) in [
            (3.841_458_820_694_124, 1, 0.05),
            (19.675_137_572_682_495, 11, 0.05),
            (31.264_133_620_239_992, 11, 0.001),
            (2.0, 2, 0.367_879_441_171_442_33),
            (1_074.679_449, 1000, 0.05),
        ] {
            near(exceeds(value, freedom), expected);
        }
        near(bound(0.95, 11), 19.675_137_572_682_495);
        near(bound(0.95, 1), 3.841_458_820_694_124);
    }

    #[test]
    fn two_degrees_of_freedom_are_an_exponential() {
        for value in [0.1, 1.0, 3.0, 10.0, 100.0, 1000.0] {
            near(exceeds(value, 2), (-value / 2.0f64).exp());
        }
    }

    #[test]
    fn extremes_have_a_defined_answer() {
        assert!((exceeds(0.0, 11) - 1.0).abs() < 1e-12);
        assert!((exceeds(5.0, 0) - 1.0).abs() < 1e-12);
        assert!(exceeds(1e12, 11) < 1e-300);
        assert!(exceeds(4095.0, 4095) > 0.4 && exceeds(4095.0, 4095) < 0.6);
        let none = Fairness::of(&[0, 0, 0]);
        assert_eq!((none.keys, none.reached, none.verdict()), (0, 0, Verdict::Fair));
        assert_eq!(Fairness::of(&[]).freedom, 0);
        assert_eq!(Fairness::of(&[7]).verdict(), Verdict::Fair);
    }

    #[test]
    fn counts_are_judged() {
        let even = Fairness::of(&[10, 10, 10, 10]);
        assert_eq!((even.chi_square, even.p, even.verdict()), (0.0, 1.0, Verdict::Fair));
        // By hand: mean 10, squares 4 · 100 over 10 = 40.
        let odd = Fairness::of(&[20, 0, 20, 0]);
        assert_eq!((odd.reached, odd.fullest, odd.freedom), (2, 20, 3));
        near(odd.chi_square, 40.0);
        near(odd.max_over_mean, 2.0);
        near(odd.variation, 1.0);
        assert_eq!(odd.verdict(), Verdict::Unfair);
    }
}
