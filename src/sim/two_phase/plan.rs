//! A plan: everything that a run depends on. As for the replicas (`sim::plan`): data, written and read, shrunk.

use serde::{Deserialize, Serialize};

use super::mutants::{self, Mutant};
use crate::faults::{Fault, FaultSet, Kind};
pub use crate::sim::plan::{Delay, MS, PlanError, PlannedFault, Shape};
use crate::sim::plan::{LATEST, MOST, range};

/// The most participants of a plan.
pub const MOST_PARTICIPANTS: u16 = 16;

/// What plans are generated for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// A protocol that is wrong on purpose, by name.
    pub mutant: Option<String>,
    /// How many participants.
    pub participants: u16,
    /// How many clients.
    pub clients: usize,
    /// How many commands, of all clients together.
    pub operations: usize,
    /// How many keys they are about; few, so that commands meet.
    pub keys: u16,
    /// Which faults.
    pub faults: FaultSet,
    /// Whether participants keep a log.
    pub durable: bool,
}

impl Default for Config {
    /// 3 participants, 4 clients, 100 commands, 4 keys, all faults, in memory.
    fn default() -> Self {
        Self {
            mutant: None,
            participants: 3,
            clients: 4,
            operations: 100,
            keys: 4,
            faults: FaultSet::all(),
            durable: false,
        }
    }
}

/// The kinds of faults that mean something here. Without a log there is no disk that could fail.
pub fn meaningful(faults: FaultSet, durable: bool) -> FaultSet {
    let disk = [Kind::TornWrite, Kind::DiskLost, Kind::DiskFull, Kind::SyncError, Kind::Compaction];
    disk.into_iter().filter(|_| !durable).fold(faults, FaultSet::without)
}

/// What a client asks for. Keys are numbers, values unique in the plan.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Ask {
    /// `SET key value`.
    Set {
        /// The key.
        key: u16,
        /// The value.
        value: u32,
    },
    /// `GET key`.
    Get {
        /// The key.
        key: u16,
    },
    /// `DEL key…`.
    Del {
        /// The keys, each once.
        keys: Vec<u16>,
    },
}

impl Ask {
    /// The keys that it is about.
    pub fn keys(&self) -> &[u16] {
        match self {
            Ask::Set { key, .. } | Ask::Get { key } => std::slice::from_ref(key),
            Ask::Del { keys } => keys,
        }
    }
}

/// One command of a client.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Step {
    /// The earliest time at which it is asked; it is never asked before the one before has ended.
    pub at: u64,
    /// What.
    pub ask: Ask,
}

/// A client: its commands, one after the other.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Script {
    /// Its commands.
    #[serde(default)]
    pub steps: Vec<Step>,
}

/// A participant votes NO for a while.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct VotesNo {
    /// Who.
    pub participant: u16,
    /// From when.
    pub from: u64,
    /// Until when.
    pub until: u64,
}

/// Everything a run depends on. Participants are 0 to n-1; to faults, the coordinator is n.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Plan {
    /// What random numbers are drawn from.
    pub seed: u64,
    /// The mutant, if it is not the real protocol.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mutant: Option<String>,
    /// How many participants.
    pub participants: u16,
    /// Whether they keep a log.
    pub durable: bool,
    /// How long a sync of a log takes.
    pub sync_time: u64,
    /// About how many bytes of a copy are sent at once.
    pub chunk: u32,
    /// How long a client waits for an answer.
    pub client_timeout: u64,
    /// How long the healed system has to answer and to be whole again; 0 ends the run with the last client,
    /// without healing anything.
    pub settle: u64,
    /// Between a client and the coordinator.
    pub client_delay: Delay,
    /// For each participant: from the coordinator to it, and back.
    pub links: Vec<[Delay; 2]>,
    /// The clients.
    pub clients: Vec<Script>,
    /// The faults.
    #[serde(default)]
    pub faults: Vec<PlannedFault>,
    /// Who votes NO and when.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub votes_no: Vec<VotesNo>,
}

impl Plan {
    /// How many commands it has.
    pub fn operations(&self) -> usize {
        self.clients.iter().map(|client| client.steps.len()).sum()
    }

    /// How many keys there are.
    pub fn keys(&self) -> u16 {
        let steps = self.clients.iter().flat_map(|client| &client.steps);
        let keys = steps.flat_map(|step| step.ask.keys().iter().copied());
        keys.max().map_or(1, |key| key + 1)
    }

    /// The highest value that is set.
    pub(super) fn last_value(&self) -> u32 {
        let value = |step: &Step| match step.ask {
            Ask::Set { value, .. } => Some(value),
            _ => None,
        };
        self.clients.iter().flat_map(|client| &client.steps).filter_map(value).max().unwrap_or(0)
    }

    /// Whether it can be run, and which protocol it names.
    pub(super) fn check(&self) -> Result<&'static Mutant, PlanError> {
        let n = u64::from(self.participants);
        range("participants", n, 1, u64::from(MOST_PARTICIPANTS))?;
        range("links", self.links.len() as u64, n, n)?;
        range("clients", self.clients.len() as u64, 0, MOST as u64)?;
        range("operations", self.operations() as u64, 0, MOST as u64)?;
        range("faults", self.faults.len() as u64, 0, MOST as u64)?;
        range("a client's patience", self.client_timeout, 1, LATEST)?;
        range("the time to settle", self.settle, 0, LATEST)?;
        range("the time of a sync", self.sync_time, 0, LATEST)?;
        let delays = self.links.iter().flatten().chain([&self.client_delay]);
        for delay in delays {
            range("a delay", delay.base.max(delay.jitter), 0, 3_600_000 * MS)?;
        }
        let mut values = std::collections::BTreeSet::new();
        for step in self.clients.iter().flat_map(|client| &client.steps) {
            range("the time of an operation", step.at, 0, LATEST)?;
            let keys = step.ask.keys();
            range("keys of a command", keys.len() as u64, 1, 1000)?;
            for (at, key) in keys.iter().enumerate() {
                range("a key", u64::from(*key), 0, 999)?;
                range("keys that stand twice in a command", keys[..at].contains(key).into(), 0, 0)?;
            }
            if let Ask::Set { value, .. } = step.ask
                && !values.insert(value)
            {
                return Err(PlanError::Value(value));
            }
        }
        for votes in &self.votes_no {
            range("a participant", votes.participant.into(), 0, n - 1)?;
            range("the time of a vote", votes.from.max(votes.until), 0, LATEST)?;
        }
        self.faults.iter().try_for_each(|planned| self.check_fault(planned))?;
        mutants::find(self.mutant.as_deref())
    }

    fn check_fault(&self, planned: &PlannedFault) -> Result<(), PlanError> {
        let n = u64::from(self.participants);
        range("the time of a fault", planned.at, 0, LATEST)?;
        range("how long a fault lasts", planned.fault.lasts(), 0, LATEST)?;
        for id in planned.fault.replicas() {
            range("a node", u64::from(id), 0, n)?;
        }
        match &planned.fault {
            Fault::SlowLink { by, .. } => range("a delay", *by, 0, 3_600_000 * MS),
            Fault::ClockJump { by_ms, .. } => {
                range("a clock's jump in ms", by_ms.unsigned_abs(), 0, LATEST / MS)
            }
            _ => Ok(()),
        }
    }
}
