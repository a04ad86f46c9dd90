//! The slow operations of a phase, set against compactions and against chance.
//!
//! A server says when it compacted its log ([`Compaction`], in Unix time). An operation *overlaps* a compaction
//! when one of the servers that it needed compacted at some moment between its begin and its end. That alone
//! says little: where servers compact half of the time, half of all operations overlap. So the slow ones (the
//! slowest hundredth, ten at least) are compared with all operations of the same kind, and with the share of
//! the time that compactions took.
//!
//! Caveat: a long operation overlaps more easily than a short one, whatever made it long; by about its own
//! length over the distance of compactions. The comparison is with chance, and no proof of a cause. Clients
//! and servers on several machines need clocks that agree to less than a compaction's length.

use std::time::Duration;

use crate::labs::cluster::perf::{Phase, PhaseResult, Sample};

/// So many slow operations are named.
pub const NAMED: usize = 10;

/// When a server compacted, since the run began; either end may lie outside of the run.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Compaction {
    /// Which server.
    pub server: usize,
    /// Its begin in seconds.
    pub from: f64,
    /// Its end in seconds.
    pub to: f64,
}

/// Which servers an operation needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shape {
    /// How many servers there are.
    pub servers: usize,
    /// How many copies there are of a key.
    pub copies: usize,
}

impl Shape {
    /// Whether a server may have had to do with an operation. A lookup asks the primary alone while that answers.
    fn needs(&self, phase: Phase, sample: &Sample, server: usize) -> bool {
        let Some(primary) = sample.primary else { return true };
        let copies = if phase == Phase::Lookup { 1 } else { self.copies };
        let distance = (server + self.servers - usize::from(primary)) % self.servers.max(1);
        distance < copies
    }
}

/// A slow operation.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Slow {
    /// The operation.
    pub sample: Sample,
    /// The compaction that it overlaps most with.
    pub during: Option<Compaction>,
}

/// What was found of one kind of operation.
#[derive(Clone, Debug)]
pub struct Outliers {
    /// Which.
    pub phase: Phase,
    /// How many there were.
    pub count: usize,
    /// The fastest.
    pub fastest: Duration,
    /// The median.
    pub median: Duration,
    /// The slowest ones, the slowest first; [`NAMED`] at most.
    pub slowest: Vec<Slow>,
    /// How many count as slow.
    pub slow: usize,
    /// How many of these overlap a compaction.
    pub slow_overlapping: usize,
    /// How many of all do.
    pub overlapping: usize,
    /// The share of the phase in which some server compacted, from 0 to 1.
    pub compacting: f64,
    /// How many compactions touch the phase.
    pub compactions: usize,
}

impl Outliers {
    /// Whether compactions explain the slow ones, in words.
    pub fn verdict(&self) -> String {
        let share = |part: usize, whole: usize| part as f64 * 100.0 / whole.max(1) as f64;
        if self.compactions == 0 {
            return "no compaction in this phase: they have another cause".to_owned();
        }
        let slow = share(self.slow_overlapping, self.slow);
        let all = share(self.overlapping, self.count);
        let judgement = if slow >= 2.0 * all && slow >= 20.0 {
            "far more than chance: compaction slows them"
        } else if slow > 1.2 * all + 5.0 {
            "more than chance"
        } else {
            "no more than chance: they have another cause"
        };
        format!(
            "{} of the {} slowest overlap a compaction ({slow:.0} %), of all {all:.0} %: {judgement}",
            self.slow_overlapping, self.slow
        )
    }
}

/// Looks at one phase; `None` where nothing was done in it.
pub fn find(result: &PhaseResult, compactions: &[Compaction], shape: Shape) -> Option<Outliers> {
    let mut samples = result.samples.clone();
    samples.sort_by_key(|sample| std::cmp::Reverse(sample.took));
    let (fastest, median) = (samples.last()?.took, samples.get(samples.len() / 2)?.took);
    let begin = result.begun.as_secs_f64();
    let end = begin + result.elapsed.as_secs_f64();
    let touching: Vec<Compaction> =
        compactions.iter().copied().filter(|c| c.to >= begin && c.from <= end).collect();
    let index = Index::of(&touching, shape.servers);
    let during = |sample: &Sample| index.during(sample, result.phase, shape);
    let slow = (samples.len() / 100).max(NAMED).min(samples.len());
    let overlap = |samples: &[Sample]| samples.iter().filter(|s| during(s).is_some()).count();
    let slowest = samples.iter().take(NAMED);
    Some(Outliers {
        phase: result.phase,
        count: samples.len(),
        fastest,
        median,
        slowest: slowest.map(|s| Slow { sample: *s, during: during(s) }).collect(),
        slow,
        slow_overlapping: overlap(&samples[..slow]),
        overlapping: overlap(&samples),
        compacting: covered(&touching, begin, end),
        compactions: touching.len(),
    })
}

/// Each server's compactions in order. A server makes one at a time, so they do not overlap.
struct Index {
    servers: Vec<Vec<Compaction>>,
}

impl Index {
    fn of(compactions: &[Compaction], servers: usize) -> Self {
        let mut of_server = vec![Vec::new(); servers];
        for compaction in compactions {
            if let Some(list) = of_server.get_mut(compaction.server) {
                list.push(*compaction);
            }
        }
        for list in &mut of_server {
            list.sort_by(|a, b| a.from.total_cmp(&b.from));
        }
        Self { servers: of_server }
    }

    fn during(&self, sample: &Sample, phase: Phase, shape: Shape) -> Option<Compaction> {
        let begin = sample.begun.as_secs_f64();
        let end = begin + sample.took.as_secs_f64();
        let common = |c: &Compaction| c.to.min(end) - c.from.max(begin);
        let of_server = |(server, list): (usize, &Vec<Compaction>)| {
            if !shape.needs(phase, sample, server) {
                return None;
            }
            let first = list.partition_point(|c| c.to < begin);
            let overlapping = list[first..].iter().take_while(|c| c.from <= end);
            overlapping.copied().max_by(|a, b| common(a).total_cmp(&common(b)))
        };
        let found = self.servers.iter().enumerate().filter_map(of_server);
        found.max_by(|a, b| common(a).total_cmp(&common(b)))
    }
}

/// The share of a stretch of time that compactions cover.
fn covered(compactions: &[Compaction], begin: f64, end: f64) -> f64 {
    if end <= begin {
        return 0.0;
    }
    let clip = |c: &Compaction| (c.from.max(begin), c.to.min(end));
    let mut spans: Vec<(f64, f64)> = compactions.iter().map(clip).filter(|s| s.1 > s.0).collect();
    spans.sort_by(|a, b| a.0.total_cmp(&b.0));
    let (mut covered, mut until) = (0.0, begin);
    for (from, to) in spans {
        covered += (to - from.max(until)).max(0.0);
        until = until.max(to);
    }
    covered / (end - begin)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::Tally;

    fn sample(begun_ms: u64, took_ms: u64, primary: Option<u16>) -> Sample {
        let ms = Duration::from_millis;
        Sample { begun: ms(begun_ms), took: ms(took_ms), primary }
    }

    fn phase(phase: Phase, samples: Vec<Sample>) -> PhaseResult {
        PhaseResult {
            phase,
            begun: Duration::ZERO,
            elapsed: Duration::from_secs(1),
            clients: Vec::new(),
            total: Tally::default(),
            samples,
            troubles: Vec::new(),
            busy: None,
        }
    }

    const SHAPE: Shape = Shape { servers: 3, copies: 2 };

    #[test]
    fn only_the_servers_of_a_key_count() {
        let from = 0.010;
        let on = |server| vec![Compaction { server, from, to: 0.020 }];
        let samples = vec![sample(5, 10, Some(2))];
        for (server, expected) in [(2, 1), (0, 1), (1, 0)] {
            let found = find(&phase(Phase::Insert, samples.clone()), &on(server), SHAPE);
            assert_eq!(found.map(|f| f.overlapping), Some(expected), "server {server}");
        }
        // A lookup asks the primary; a scan asks all.
        let lookup = find(&phase(Phase::Lookup, samples), &on(0), SHAPE);
        assert_eq!(lookup.map(|f| f.overlapping), Some(0));
        let scan = find(&phase(Phase::Scan, vec![sample(5, 10, None)]), &on(1), SHAPE);
        assert_eq!(scan.map(|f| f.overlapping), Some(1));
    }

    #[test]
    fn the_slow_ones_are_set_against_all() {
        let compactions = [Compaction { server: 0, from: 0.100, to: 0.200 }];
        let quick = (0..990).map(|at| sample(at, 1, Some(0)));
        let slow = (0..10).map(|at| sample(95 + at, 50, Some(0)));
        let found = find(&phase(Phase::Insert, quick.chain(slow).collect()), &compactions, SHAPE);
        let found = found.expect("there are samples");
        assert_eq!((found.slow, found.slow_overlapping), (10, 10));
        assert_eq!(found.overlapping, 10 + 102);
        assert!((found.compacting - 0.1).abs() < 1e-9);
        assert_eq!(found.fastest, Duration::from_millis(1));
        assert!(found.verdict().contains("far more than chance"), "{}", found.verdict());
        assert!(find(&phase(Phase::Scan, Vec::new()), &compactions, SHAPE).is_none());
    }

    #[test]
    fn compactions_at_the_same_time_count_once() {
        let c = |server, from, to| Compaction { server, from, to };
        let all = [c(0, -1.0, 0.2), c(1, 0.1, 0.3), c(2, 0.9, 4.0)];
        assert!((covered(&all, 0.0, 1.0) - 0.4).abs() < 1e-9);
        assert_eq!(covered(&all, 1.0, 1.0), 0.0);
    }
}
