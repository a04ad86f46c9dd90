//! The deterministic simulator: the production replicas in virtual time, on a network and on disks that fail
//! as a plan says.
//!
//! ```text
//! plan       everything a run depends on, as data        generate   plans out of seeds
//! world      the time and the queue of what is to come   network    links as TCP gives them
//! replica    the production node and log, driven         serve      how it serves its clients
//! standing   how far it is
//! client     who asks, and how it ended
//! nemesis    has the planned faults happen               judge      the invariants; merged where there is no one order
//! record     history and trace                           verdict    what is said about a run
//! mutants    protocols that are wrong on purpose         random     seeded streams
//! sweep      many seeds on all cores                     shrink     a failing plan made small
//! explore    every interleaving of a few operations      storm    plans that do nothing but break elections
//! ```
//!
//! A run has two phases. First clients ask while faults come: nothing wrong may ever be seen (safety). Then
//! everything is healed, and within a bound of virtual time every replica must take a write, all must
//! converge, and each is read (liveness). The history then goes to the checker of the mode's own claim, which
//! the caller passes in.
//!
//! The node, the protocol, the log, the encoder and the decoder are those that `servers` runs; only threads,
//! sockets, clocks and the disk are replaced. One thread a run, no clock, no random source but the seed: the
//! same plan gives the same bytes on any machine.

mod client;
pub mod explore;
mod generate;
mod judge;
mod link;
mod merged;
pub mod mutants;
mod nemesis;
mod network;
pub mod plan;
mod queue;
mod random;
mod record;
mod replica;
mod serve;
mod shrink;
mod standing;
mod storm;
mod sweep;
pub mod two_phase;
mod verdict;
mod world;

pub use mutants::{MUTANTS, Mutant};
pub use plan::{Config, Plan, PlanError, Sync};
pub use record::Detail;
pub use shrink::{Shrunk, shrink};
pub use sweep::{Failure, Sweep, SweepOptions, sweep, sweep_with};
pub use verdict::{Broken, Checker, Finding, Kind, Verdict, no_checker};

use crate::history::History;
use crate::wire::traffic::Traffic;
use record::Recorder;
use world::World;

/// What came of a run.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// What clients asked and were told.
    pub history: History,
    /// What happened, as JSON lines; empty unless asked for.
    pub trace: String,
    /// What is said about it.
    pub verdict: Verdict,
    /// How many events of the virtual world there were.
    pub events: u64,
    /// How long it took in virtual time, in nanoseconds.
    pub virtual_time: u64,
    /// What was counted on the way.
    pub counted: Counted,
}

/// What is counted of a run of replicas, for those who compare; times in nanoseconds of virtual time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counted {
    /// What the replicas sent each other, from the beginning to the end.
    pub traffic: Traffic,
    /// When all faults ended: right behind the last operation of the clients.
    pub healed_at: u64,
    /// When every replica had taken a write again and all held the same; `None` where they never did.
    pub converged_at: Option<u64>,
}

/// Runs a plan.
///
/// # Errors
/// A plan that cannot be run, because it says something impossible.
pub fn run(plan: &Plan, detail: Detail, checker: &Checker<'_>) -> Result<Outcome, PlanError> {
    let resolved = plan.check()?;
    let recorder = Recorder::new(detail, Some(&plan.mode));
    let mut world = World::new(plan, resolved, recorder);
    world.run();
    let versions = world.versions();
    let World { recorder, broken, events, now, healed_at, converged_at, sent, .. } = world;
    let (mut history, trace) = recorder.finish(healed_at);
    history.versions = versions;
    let verdict = Verdict::of(checker(&history), broken);
    let counted = Counted { traffic: sent.traffic, healed_at, converged_at };
    Ok(Outcome { history, trace, verdict, events, virtual_time: now, counted })
}
