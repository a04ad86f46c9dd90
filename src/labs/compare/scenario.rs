//! The scenario: one plan for all modes, out of a seed.
//!
//! ```text
//! 0        1 s                                                              the clients come to their end
//! | start  | calm: closed loop        | storm: operations are due at their times           | heal, converge
//!                                       [fault]   [fault]   [fault]   [closing fault ......|
//! ```
//!
//! In the *calm* part every client asks again as soon as it is answered: that shows what a mode costs, and how much it
//! carries. In the *storm* operations are *due* at times of their own, whether or not those before them have been
//! answered: so a mode that blocks has as many operations to answer for as one that does not. Faults come one at a
//! time, each kind in its turn, with a rest between them; the last one is in force when the clients come to their end, so
//! that something is left to converge from.
//!
//! Nothing here depends on the mode. A plan for finding mistakes ([`Plan::generate`]) does, and has few rules so as to
//! surprise; a plan for comparing has to be fair and to show the same from seed to seed.

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};
use thiserror::Error;

use crate::faults::{Fault, FaultSet, Kind};
use crate::protocol::{Mode, ReplyAt};
use crate::sim::plan::{Delay, MS, PlannedFault, Script, Shape, Step};
use crate::sim::{Plan, Sync};

/// When clients begin: the replicas have found each other by then, and a leader where they need one.
pub(super) const BEGIN: u64 = 1000 * MS;

/// How long a client waits for an answer; an operation that takes longer was not available.
pub(super) const PATIENCE: u64 = 1000 * MS;

/// How long a replica lets a request wait that it cannot serve yet, before it refuses.
pub(super) const REPLICA_PATIENCE: u64 = 800 * MS;

/// How long a fault lasts, and the rest behind it, from and to.
const FAULT: (u64, u64) = (1000 * MS, 2000 * MS);
const REST: (u64, u64) = (1000 * MS, 1500 * MS);

/// The closing fault ends when the clients do, which is much sooner.
const UNTIL_HEALED: u64 = 3_600_000 * MS;

/// The fewest faults before the closing one.
const FEWEST: usize = 3;

/// How many hops between replicas an operation takes at the most, with room to spare.
const HOPS: u64 = 12;

/// What is compared on: everything but the mode.
#[derive(Clone, Debug, PartialEq)]
pub struct Settings {
    /// What all else is drawn from.
    pub seed: u64,
    /// How many replicas.
    pub replicas: u16,
    /// How many clients; client i asks replica i modulo their number.
    pub clients: usize,
    /// How many operations, of all clients together.
    pub operations: usize,
    /// The share of reads, from 0 to 1.
    pub reads: f64,
    /// How many keys.
    pub keys: u16,
    /// Which kinds of faults.
    pub faults: FaultSet,
    /// When a write counts as kept.
    pub sync: Sync,
    /// Whether on real threads and sockets, where links are as fast as they are and fewer kinds of faults can be had.
    pub real: bool,
    /// How long a message between two replicas takes, about: half of it to one and a half, by the pair. In nanoseconds.
    pub delay: u64,
}

/// A kind of fault that the comparison cannot have.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("{} cannot be compared here: {why}", kind.name())]
pub struct Unfair {
    /// Which.
    pub kind: Kind,
    /// Why not.
    pub why: String,
}

/// One plan for all modes.
#[derive(Clone, Debug)]
pub struct Scenario {
    /// The plan; its mode stands for any.
    plan: Plan,
    /// When the storm begins.
    pub storm_at: u64,
    /// When the last operation is due.
    pub ends_at: u64,
}

impl Settings {
    /// The kinds of faults that not all of these modes survive as they promise, and why.
    pub fn unfair(&self, modes: &[&'static Mode]) -> Vec<Unfair> {
        let early = modes.iter().find(|mode| mode.reply_at == ReplyAt::Submission);
        let on_threads = [Kind::Crash, Kind::Partition, Kind::OneWay, Kind::SlowLink, Kind::Cut];
        let why = |kind: Kind| match kind {
            kind if self.real && !on_threads.contains(&kind) => {
                Some("only the simulator has it".to_owned())
            }
            Kind::PowerLoss if self.sync != Sync::Always => {
                Some("with --sync batch or os it takes back what was answered".to_owned())
            }
            Kind::SyncError if self.sync == Sync::Os => {
                Some("with --sync os nothing waits for a sync".to_owned())
            }
            Kind::Partition | Kind::OneWay | Kind::SlowLink | Kind::Cut | Kind::DiskLost
                if self.replicas == 1 =>
            {
                Some("one replica has no links".to_owned())
            }
            Kind::DiskLost => early.map(|mode| {
                format!("{} answers before another replica holds the write", mode.name)
            }),
            _ => None,
        };
        let unfair = |kind| why(kind).map(|why| Unfair { kind, why });
        self.faults.kinds().filter_map(unfair).collect()
    }

    /// The scenario of these settings.
    pub fn scenario(&self) -> Scenario {
        let each = self.operations.div_ceil(self.clients.max(1)) as u64;
        let longest = HOPS * self.delay + 4 * MS;
        let kinds: Vec<Kind> = self.faults.kinds().collect();
        let calm = if kinds.is_empty() { each } else { each.div_ceil(2) };
        // Half of the time is enough for what is due, where nothing fails.
        let busy = 2 * (each - calm) * longest;
        let storm_at = BEGIN + calm * longest + 500 * MS;
        let (faults, ends_at) = faults(self, &kinds, storm_at, busy);
        let storm = (storm_at, ends_at);
        let mut values = 0;
        let clients = (0..self.clients.max(1))
            .map(|client| script(self, client, calm as usize, storm, &mut values))
            .collect();
        // Some are nearer to each other than others, the same in both directions.
        let mut below = stream(self.seed, 2);
        let n = usize::from(self.replicas);
        let mut links = vec![Delay::default(); n * n];
        for (from, to) in (0..n).flat_map(|from| (0..from).map(move |to| (from, to))) {
            let base = self.delay / 2 + below(self.delay);
            let delay = Delay { base, jitter: base / 10, shape: Shape::LogNormal };
            (links[from * n + to], links[to * n + from]) = (delay, delay);
        }
        let plan = Plan {
            // Odd: with an even one the simulator's replicas keep little of their log, to find mistakes sooner.
            seed: self.seed.wrapping_mul(2).wrapping_add(1),
            mode: String::new(),
            mutant: None,
            replicas: self.replicas,
            sync: self.sync,
            sync_time: MS,
            chunk: 64 * 1024,
            write_timeout: REPLICA_PATIENCE,
            client_timeout: PATIENCE,
            settle: (60_000 + 100 * self.operations as u64) * MS,
            client_delay: Delay { base: MS / 10, jitter: MS / 100, shape: Shape::LogNormal },
            links,
            clients,
            faults,
        };
        Scenario { plan, storm_at, ends_at }
    }
}

impl Scenario {
    /// The plan for a mode.
    pub fn plan(&self, mode: &str) -> Plan {
        Plan { mode: mode.to_owned(), ..self.plan.clone() }
    }

    /// The same without faults and with just some of the operations, asked as fast as they are answered; one read is
    /// always among them.
    pub fn quiet(&self, mode: &str, keep: impl Fn(&Step) -> bool) -> Plan {
        let mut plan = Plan { faults: Vec::new(), ..self.plan(mode) };
        for (number, client) in plan.clients.iter_mut().enumerate() {
            client.steps.retain(&keep);
            client.steps.iter_mut().for_each(|step| step.at = BEGIN);
            if number == 0 {
                let read = Step { at: BEGIN, replica: 0, key: 0, write: None, retry: false };
                client.steps.insert(0, read);
            }
        }
        plan
    }

    /// The operations of a client, in their order.
    pub fn steps(&self, client: usize) -> &[Step] {
        self.plan.clients.get(client).map_or(&[], |script| &script.steps)
    }

    /// The greatest value that is written.
    pub fn values(&self) -> u32 {
        let steps = self.plan.clients.iter().flat_map(|client| &client.steps);
        steps.filter_map(|step| step.write).max().unwrap_or(0)
    }

    /// The faults.
    pub fn faults(&self) -> &[PlannedFault] {
        &self.plan.faults
    }

    /// Whether an operation is due at a time of its own; the others are asked one behind the other.
    pub fn is_due(&self, step: &Step) -> bool {
        step.at >= self.storm_at
    }

    /// Whether a fault is planned to be in force at this time.
    pub fn fails_at(&self, at: u64) -> bool {
        let within = |fault: &PlannedFault| {
            fault.at <= at && at < fault.at.saturating_add(fault.fault.lasts())
        };
        self.plan.faults.iter().any(within)
    }
}

/// A source of random numbers for one concern.
fn stream(seed: u64, concern: u64) -> impl FnMut(u64) -> u64 {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    rng.set_stream(concern);
    // The high half of the product: a number below the bound.
    move |bound: u64| ((u128::from(rng.next_u64()) * u128::from(bound)) >> 64) as u64
}

/// What one client asks: a calm part, and a storm from one time to another.
fn script(
    settings: &Settings,
    client: usize,
    calm: usize,
    storm: (u64, u64),
    values: &mut u32,
) -> Script {
    let mut below = stream(settings.seed, 1 << 32 | client as u64);
    let clients = settings.clients.max(1);
    let steps = settings.operations / clients + usize::from(client < settings.operations % clients);
    let calm = calm.min(steps);
    let mut due: Vec<u64> =
        (calm..steps).map(|_| storm.0 + below(storm.1.saturating_sub(storm.0))).collect();
    due.sort_unstable();
    let reads = (settings.reads.clamp(0.0, 1.0) * 1000.0).round() as u64;
    let times = std::iter::repeat_n(BEGIN, calm).chain(due);
    let step = |at| {
        let key = below(u64::from(settings.keys.max(1))) as u16;
        let write = (below(1000) >= reads).then(|| {
            *values += 1;
            *values
        });
        let replica = (client % usize::from(settings.replicas.max(1))) as u16;
        Step { at, replica, key, write, retry: false }
    };
    Script { steps: times.map(step).collect() }
}

/// Faults one behind the other from a time on, for at least so long; and when the last operation is due.
fn faults(settings: &Settings, kinds: &[Kind], from: u64, long: u64) -> (Vec<PlannedFault>, u64) {
    let mut below = stream(settings.seed, 1);
    let mut between = |(from, to): (u64, u64)| from + below(to - from);
    let (mut faults, mut at) = (Vec::new(), from);
    if kinds.is_empty() {
        return (faults, from + long);
    }
    let mut turns = kinds.iter().cycle();
    while faults.len() < FEWEST.next_multiple_of(kinds.len()) || at < from + long {
        let Some(kind) = turns.next() else { break };
        at += between(REST);
        let lasts = between(FAULT);
        let replica = between((0, u64::from(settings.replicas))) as u16;
        let fault = fault(*kind, replica, settings, lasts);
        let lasts = fault.lasts();
        faults.push(PlannedFault { at, fault });
        at += lasts;
    }
    at += between(REST);
    let lasting = |kind: &&Kind| fault(**kind, 0, settings, 1).lasts() > 0;
    let partition = kinds.iter().find(|kind| **kind == Kind::Partition);
    if let Some(kind) = partition.or_else(|| kinds.iter().rfind(lasting)) {
        let replica = between((0, u64::from(settings.replicas))) as u16;
        let fault = fault(*kind, replica, settings, UNTIL_HEALED);
        faults.push(PlannedFault { at, fault });
    }
    (faults, at + FAULT.1)
}

/// A fault of this kind at this replica, or between it and the next one.
fn fault(kind: Kind, replica: u16, settings: &Settings, lasts: u64) -> Fault {
    let other = (replica + 1) % settings.replicas.max(1);
    match kind {
        Kind::Crash => Fault::Crash { replica, down: lasts },
        Kind::TornWrite => Fault::TornWrite { replica, down: lasts },
        Kind::PowerLoss => Fault::PowerLoss { replicas: vec![replica], down: lasts, kept: 0 },
        Kind::DiskLost => Fault::DiskLost { replica, down: lasts },
        Kind::DiskFull => Fault::DiskFull { replica, down: lasts },
        Kind::SyncError => Fault::SyncError { replica, down: lasts },
        Kind::Partition => Fault::Partition { side: vec![replica], lasts },
        Kind::OneWay => Fault::OneWay { from: vec![replica], to: vec![other], lasts },
        Kind::SlowLink => {
            let by = 20 * settings.delay.max(MS / 2);
            Fault::SlowLink { from: replica, to: other, by, lasts }
        }
        Kind::Cut => Fault::Cut { a: replica, b: other },
        Kind::Pause => Fault::Pause { replica, lasts },
        Kind::ClockJump => Fault::ClockJump { replica, by_ms: 60_000 },
        Kind::Compaction => Fault::Compaction { replica },
    }
}
