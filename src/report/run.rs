//! What a run measured, before any format.

use std::time::{Duration, SystemTime};

use super::{Kind, Machine, Tally};

/// One uninterrupted stretch of measuring.
#[derive(Clone, Debug, Default)]
pub struct Round {
    /// When it began, since the run began.
    pub begin: Duration,
    /// How long it took, from the common start to the last client's last reply.
    pub elapsed: Duration,
    /// The reads.
    pub read: Tally,
    /// The writes.
    pub write: Tally,
    /// Open loop: operations that were due before the end and could not be sent in time.
    pub unsent: u64,
    /// Open loop: how late the load generator itself woke up for an operation when it was idle.
    pub lateness: Option<Tally>,
}

impl Round {
    /// The tally of one kind.
    pub fn tally(&self, kind: Kind) -> &Tally {
        match kind {
            Kind::Read => &self.read,
            Kind::Write => &self.write,
        }
    }

    /// The tally of one kind, to be changed.
    pub fn tally_mut(&mut self, kind: Kind) -> &mut Tally {
        match kind {
            Kind::Read => &mut self.read,
            Kind::Write => &mut self.write,
        }
    }

    /// Adds the counts of another stretch; the time is left alone.
    pub fn merge(&mut self, other: &Round) {
        self.read.merge(&other.read);
        self.write.merge(&other.write);
        self.unsent += other.unsent;
        if let Some(lateness) = &other.lateness {
            self.lateness.get_or_insert_default().merge(lateness);
        }
    }

    /// Operations a second of all kinds.
    pub fn throughput(&self) -> f64 {
        per_second(self.read.succeeded() + self.write.succeeded(), self.elapsed)
    }
}

/// `count` over `elapsed`, 0 for no time at all.
pub(super) fn per_second(count: u64, elapsed: Duration) -> f64 {
    if elapsed.is_zero() { 0.0 } else { count as f64 / elapsed.as_secs_f64() }
}

/// The bare costs of the machine, measured in turn with the work.
#[derive(Clone, Debug, Default)]
pub struct Floors {
    /// An echo over loopback: same clients, pipeline and bytes.
    pub echo: Vec<Round>,
    /// The bare chain client → R0 → {R1, R2} → R0 → client, or the one of two rounds.
    pub chain: Vec<Round>,
    /// Whether the chain is client → C → {P1, P2, P3} → C → {P1, P2, P3} → C → client.
    pub two_rounds: bool,
}

/// The result of alternating writes and reads.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pairs {
    /// How many pairs were run.
    pub count: u64,
    /// How many reads returned what the write before them had stored.
    pub current: u64,
    /// The consistency mode that the server states, or `unknown`.
    pub mode: String,
}

/// Everything about one run.
#[derive(Clone, Debug)]
pub struct Report {
    /// The run's name, which is also its folder's.
    pub name: String,
    /// The command line, as it was given.
    pub command_line: Vec<String>,
    /// When the measuring began.
    pub started: SystemTime,
    /// The machine it ran on.
    pub machine: Machine,
    /// The configuration, the seed included, as it goes into `summary.json`.
    pub config: serde_json::Value,
    /// What was measured; one round unless floors were measured between.
    pub rounds: Vec<Round>,
    /// The floors, if asked for; as many rounds as above.
    pub floors: Option<Floors>,
    /// The pairs, if that was the workload.
    pub pairs: Option<Pairs>,
    /// What a reader has to know: clients that gave up, an early stop.
    pub notes: Vec<String>,
}

impl Report {
    /// All rounds as one; its time is the sum of theirs.
    pub fn total(&self) -> Round {
        let mut total = Round::default();
        for round in &self.rounds {
            total.merge(round);
            total.elapsed += round.elapsed;
        }
        total
    }

    /// The kinds of which there was at least one operation.
    pub fn kinds(&self, total: &Round) -> Vec<Kind> {
        Kind::ALL.into_iter().filter(|kind| total.tally(*kind).tried() > 0).collect()
    }
}
