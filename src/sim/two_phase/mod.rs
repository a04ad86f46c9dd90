//! Two-phase commit in virtual time: one coordinator, some participants, some clients.
//!
//! ```text
//! plan         everything a run depends on, as data      generate      plans out of seeds
//! world        the time and the queue                    network       connections, dialled by the coordinator
//! coordinator  the production machine, driven            participant   the same
//! disk         its log, and what a death leaves of it
//! client       who asks, and how it ended                nemesis       has the planned faults happen
//! record       history and trace                         judge         what is said about a run
//! mutants      protocols that are wrong on purpose       smaller       a failing plan made small
//! ```
//!
//! A run goes as those of the replicas do (`sim`): clients ask while faults come, then everything is healed and
//! has to answer again. Frames go through the real encoder and decoder.
//!
//! # What is judged
//!
//! - *History*: all commands, of however many keys, seem to take effect one after the other in real time (strict
//!   serializability). Where they do not, the verdict says whether a deletion was seen half.
//! - *Agreement*: the participants that clients are served from carried out the same ends of transactions, and in
//!   the end hold the same; nothing commits between deciding upon a view and the moment when all its members have
//!   stored it.
//! - *Liveness*: when all is healed, commands are carried out and everybody is a member again, unless the newest copy
//!   may be lost; then every command is still answered.
//!
//! # What may be lost
//!
//! Without a log, a participant that dies loses its copy. Where all copies are gone the store is empty
//! again; the history then has an operation of unknown outcome that removes everything. Where the newest copy
//! may be gone and older ones are there, the protocol must not guess: errors, for as long as it takes.

mod client;
mod coordinator;
mod disk;
mod generate;
mod judge;
mod mutants;
mod nemesis;
mod network;
mod participant;
mod plan;
mod record;
mod smaller;
mod world;

use std::ops::Range;

pub use generate::all_faults;
pub use mutants::{MUTANTS, Mutant};
pub use plan::{Ask, Config, MOST_PARTICIPANTS, Plan, Script, Step, VotesNo, meaningful};

use super::record::Recorder;
use super::shrink::shrink_with;
use super::{Detail, Outcome, PlanError, Shrunk, Sweep, SweepOptions, sweep_with};
use world::World;

/// Runs a plan.
///
/// # Errors
/// A plan that cannot be run, because it says something impossible.
pub fn run(plan: &Plan, detail: Detail) -> Result<Outcome, PlanError> {
    let mutant = plan.check()?;
    let mut recorder = Recorder::new(detail, Some("linearizable"));
    let name = |p| format!("participant {p}");
    let names = (0..plan.participants).map(name).chain(["coordinator".to_owned()]);
    recorder.builder.history_mut().replica_names = names.collect();
    let mut world = World::new(plan, mutant, recorder);
    world.run();
    Ok(world.outcome())
}

/// Runs all seeds of a range. `progress` is told after each how many are done.
///
/// # Errors
/// A configuration from which no plan can be made.
pub fn sweep(
    config: &Config,
    seeds: Range<u64>,
    options: SweepOptions,
    progress: &(dyn Fn(u64) + Sync),
) -> Result<Sweep, PlanError> {
    let one = |seed| run(&Plan::generate(seed, config)?, Detail::History);
    sweep_with(&one, seeds, options, progress)
}

/// Shrinks a plan that fails, in at most so many runs. `None` where it does not fail.
///
/// # Errors
/// A plan that cannot be run.
pub fn shrink(plan: &Plan, most: u64) -> Result<Option<Shrunk<Plan>>, PlanError> {
    shrink_with(plan, &|plan| run(plan, Detail::History), most)
}
