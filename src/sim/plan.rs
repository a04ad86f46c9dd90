//! A plan: everything that a run depends on, so that the same plan gives the same run to the byte.
//!
//! A plan is data. It can be generated from a seed ([`Plan::generate`]), written to a file and read again,
//! edited by hand, and made smaller piece by piece ([`super::shrink`]). Times are nanoseconds of virtual time.
//! An operation has the earliest time at which it is asked, not a pause behind the one before: so leaving
//! one out leaves the others where they were.

use serde::{Deserialize, Serialize};
use thiserror::Error;

use super::mutants::{self, Mutant};
pub use super::random::Shape;
use crate::base::limits::MAX_REPLICAS;
use crate::faults::{Fault, FaultSet};
use crate::protocol::{self, Mode, Protocol, Setup};

/// A millisecond.
pub const MS: u64 = 1_000_000;

/// The most clients, operations and faults of a plan.
pub(super) const MOST: usize = 1_000_000;

/// No time of a plan is later: a year, far from where times overflow.
pub(super) const LATEST: u64 = 365 * 24 * 3600 * 1000 * MS;

/// What plans are generated for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// The consistency mode, by name.
    pub mode: String,
    /// A protocol that is wrong on purpose, by name.
    pub mutant: Option<String>,
    /// How many replicas.
    pub replicas: u16,
    /// How many clients.
    pub clients: usize,
    /// How many operations, of all clients together.
    pub operations: usize,
    /// How many keys they are about; few, so that operations meet.
    pub keys: u16,
    /// Which faults.
    pub faults: FaultSet,
    /// When a write counts as kept; `None` leaves it to the seed.
    pub sync: Option<Sync>,
}

impl Config {
    /// The usual size for a mode: 3 replicas, 4 clients, 200 operations, 3 keys, all faults.
    pub fn new(mode: &str) -> Self {
        Self {
            mode: mode.to_owned(),
            mutant: None,
            replicas: 3,
            clients: 4,
            operations: 200,
            keys: 3,
            faults: FaultSet::all(),
            sync: None,
        }
    }
}

/// When a write counts as kept, as `servers --sync` has it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Sync {
    /// When it is synced.
    Always,
    /// When it is in the file; synced soon.
    Batch,
    /// When it is in the file.
    Os,
}

/// How long a message takes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Delay {
    /// At the least.
    pub base: u64,
    /// How much longer on average.
    pub jitter: u64,
    /// How that scatters.
    pub shape: Shape,
}

/// One operation of a client.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Step {
    /// The earliest time at which it is asked; it is never asked before the one before has ended.
    pub at: u64,
    /// Whom.
    pub replica: u16,
    /// The key.
    pub key: u16,
    /// The value to write, unique in the plan; a read where there is none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub write: Option<u32>,
    /// Whether it is asked of the next replica when this one refuses.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub retry: bool,
}

/// A client: its operations, one after the other.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Script {
    /// Its operations.
    #[serde(default)]
    pub steps: Vec<Step>,
}

/// A fault and when it comes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PlannedFault {
    /// When.
    pub at: u64,
    /// What.
    pub fault: Fault,
}

/// Everything a run depends on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Plan {
    /// What random numbers are drawn from.
    pub seed: u64,
    /// The consistency mode.
    pub mode: String,
    /// The mutant, if it is not the real protocol.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mutant: Option<String>,
    /// How many replicas.
    pub replicas: u16,
    /// When a write counts as kept.
    pub sync: Sync,
    /// How long a sync takes.
    pub sync_time: u64,
    /// About how many bytes of state are sent at once.
    pub chunk: usize,
    /// How long a replica lets a request wait until it is live.
    pub write_timeout: u64,
    /// How long a client waits for an answer.
    pub client_timeout: u64,
    /// How long the healed cluster has to answer and to converge.
    pub settle: u64,
    /// Between a client and a replica.
    pub client_delay: Delay,
    /// From each replica to each other, row by row.
    pub links: Vec<Delay>,
    /// The clients.
    pub clients: Vec<Script>,
    /// The faults.
    #[serde(default)]
    pub faults: Vec<PlannedFault>,
}

/// Why a plan cannot be run.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum PlanError {
    /// No such mode, or not built yet.
    #[error("expected a consistency mode that is built, found {0}")]
    Mode(String),
    /// No such mutant.
    #[error("expected one of the mutants ({known}), found {found}")]
    Mutant {
        /// Which there are.
        known: String,
        /// What was asked for.
        found: String,
    },
    /// The mutant breaks something that the mode does not have.
    #[error("the mutant {mutant} breaks what mode {mode} does not have; it is for {modes}")]
    MutantMode {
        /// Its name.
        mutant: String,
        /// The mode.
        mode: String,
        /// The modes it is for.
        modes: String,
    },
    /// A number is out of its range.
    #[error("expected {what} of {from} to {to}, found {found}")]
    Range {
        /// Of what.
        what: &'static str,
        /// At the least.
        from: u64,
        /// At the most.
        to: u64,
        /// What the plan says.
        found: u64,
    },
    /// Two writes of the same value.
    #[error("the value {0} is written twice; values must be unique")]
    Value(u32),
    /// What a power loss takes back would have been answered.
    #[error("a power loss needs sync = \"always\": otherwise replies do not wait for the disk")]
    PowerLoss,
    /// A lost disk loses what has been answered.
    #[error("a lost disk needs a mode that answers at delivery; {0} answers before others hold it")]
    DiskLost(String),
}

/// What a plan's names stand for.
#[derive(Clone, Copy, Debug)]
pub(super) struct Resolved {
    pub mode: &'static Mode,
    pub build: fn(Setup) -> Box<dyn Protocol>,
    pub mutant: Option<&'static Mutant>,
}

pub(super) fn range(what: &'static str, found: u64, from: u64, to: u64) -> Result<(), PlanError> {
    if (from..=to).contains(&found) {
        return Ok(());
    }
    Err(PlanError::Range { what, from, to, found })
}

/// Looks a mode up, and the mutant of it.
pub(super) fn resolve(name: &str, mutant: Option<&str>) -> Result<Resolved, PlanError> {
    let unknown = || PlanError::Mode(name.to_owned());
    let mode = protocol::mode(name).ok_or_else(unknown)?;
    let build = mode.build.ok_or_else(unknown)?;
    let Some(named) = mutant else { return Ok(Resolved { mode, build, mutant: None }) };
    let mutant = mutants::find(named)
        .ok_or_else(|| PlanError::Mutant { known: mutants::names(), found: named.to_owned() })?;
    if !mutant.modes.contains(&name) {
        return Err(PlanError::MutantMode {
            mutant: named.to_owned(),
            mode: name.to_owned(),
            modes: mutant.modes.join(", "),
        });
    }
    Ok(Resolved { mode, build: mutant.build.unwrap_or(build), mutant: Some(mutant) })
}

impl Plan {
    /// How many operations it has.
    pub fn operations(&self) -> usize {
        self.clients.iter().map(|client| client.steps.len()).sum()
    }

    /// How many keys its operations are about: numbers below this.
    pub fn keys(&self) -> u16 {
        let steps = self.clients.iter().flat_map(|client| &client.steps);
        steps.map(|step| step.key).max().unwrap_or(0).saturating_add(1)
    }

    /// Looks whether it can be run.
    pub(super) fn check(&self) -> Result<Resolved, PlanError> {
        let resolved = resolve(&self.mode, self.mutant.as_deref())?;
        let n = u64::from(self.replicas);
        range("replicas", n, 1, u64::from(MAX_REPLICAS))?;
        range("links", self.links.len() as u64, n * n, n * n)?;
        range("clients", self.clients.len() as u64, 0, MOST as u64)?;
        range("operations", self.operations() as u64, 0, MOST as u64)?;
        range("faults", self.faults.len() as u64, 0, MOST as u64)?;
        range("bytes at once", self.chunk as u64, 1, 1 << 24)?;
        let delays = self.links.iter().chain([&self.client_delay]);
        for time in delays.flat_map(|delay| [delay.base, delay.jitter]) {
            range("a delay", time, 0, 3_600_000 * MS)?;
        }
        for time in [self.sync_time, self.write_timeout, self.client_timeout, self.settle] {
            range("a time", time, 0, LATEST)?;
        }
        range("a client's timeout", self.client_timeout, 1, LATEST)?;
        let mut values = std::collections::BTreeSet::new();
        for step in self.clients.iter().flat_map(|client| &client.steps) {
            range("a replica", u64::from(step.replica), 0, n - 1)?;
            range("the time of an operation", step.at, 0, LATEST)?;
            range("a key", u64::from(step.key), 0, 999)?;
            if let Some(value) = step.write.filter(|value| !values.insert(*value)) {
                return Err(PlanError::Value(value));
            }
        }
        self.faults.iter().try_for_each(|planned| self.check_fault(planned, resolved.mode))?;
        Ok(resolved)
    }

    fn check_fault(&self, planned: &PlannedFault, mode: &Mode) -> Result<(), PlanError> {
        range("the time of a fault", planned.at, 0, LATEST)?;
        range("how long a fault lasts", planned.fault.lasts(), 0, LATEST)?;
        for id in planned.fault.replicas() {
            range("a replica", u64::from(id), 0, u64::from(self.replicas) - 1)?;
        }
        match &planned.fault {
            Fault::PowerLoss { .. } if self.sync != Sync::Always => Err(PlanError::PowerLoss),
            Fault::DiskLost { .. } if mode.reply_at == protocol::ReplyAt::Submission => {
                Err(PlanError::DiskLost(mode.name.to_owned()))
            }
            Fault::SlowLink { by, .. } => range("a delay", *by, 0, 3_600_000 * MS),
            Fault::ClockJump { by_ms, .. } => {
                range("a clock's jump in ms", by_ms.unsigned_abs(), 0, LATEST / MS)
            }
            _ => Ok(()),
        }
    }
}
