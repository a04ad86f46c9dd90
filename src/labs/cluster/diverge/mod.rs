//! Two clients write the same key at K=2, and the copies differ from then on.
//!
//! A write of the cluster's client writes each copy in turn. Nothing orders the writes of two clients, so
//! copy 1 may see A before B and copy 2 B before A:
//!
//! ```text
//! client A   ├ copy 1 ← a                                 copy 2 ← a ┤
//! client B                ├ copy 1 ← b    copy 2 ← b ┤
//! copy 1     0 ·········· a ············ b ····································
//! copy 2     0 ······································ b ········ a ·········
//! ```
//!
//! Both clients were told that their write succeeded. Reads go to copy 1 and see `b`; while the server of copy 1
//! is down they go to copy 2 and see `a`; when it is back they see `b` again. The value goes back in time, and no
//! model that orders the writes of a key for a reader allows that.
//!
//! | file | holds |
//! |---|---|
//! | `chance.rs` | two clients that race: how often it happens by itself |
//! | `forced.rs` | the same step by step, recorded as a history |
//! | `text.rs` | what is said of it |
//!
//! Both run on two server processes of their own.

mod chance;
mod forced;
mod text;

use std::path::Path;
use std::sync::atomic::AtomicBool;

pub use chance::Chance;
pub use forced::{Forced, KEY, Row};
pub use text::{HELP, chance_text, steps_text};

use crate::bench::{BenchError, Meter};
use crate::check::spec::SPECS;
use crate::check::{Budget, MODELS, Problem};
use crate::client::ClientError;
use crate::client::cluster::{ClusterClient, ClusterError};
use crate::history::{BuildError, ValueId};
use crate::labs::cluster::fleet::{Fleet, FleetError};
use crate::labs::cluster::perf::sweep::{SweepError, own_cluster, scratch};
use crate::labs::judge::Judged;

/// What the servers are called.
const NAME: &str = "diverge";

/// How many servers there are, and copies of each key.
const COPIES: usize = 2;

/// Why it could not be shown.
#[derive(Debug, thiserror::Error)]
pub enum DivergeError {
    /// The servers could not be had.
    #[error(transparent)]
    Sweep(#[from] SweepError),
    /// The cluster's client gave up.
    #[error(transparent)]
    Cluster(#[from] ClusterError),
    /// A single server did not do what it was told.
    #[error(transparent)]
    Client(#[from] ClientError),
    /// The threads could not be started.
    #[error(transparent)]
    Bench(#[from] BenchError),
    /// The history does not fit together.
    #[error("cannot record what was done: {0}")]
    Record(#[from] BuildError),
    /// A value is no JSON.
    #[error("cannot write a value: {0}")]
    Value(#[from] serde_json::Error),
}

impl From<FleetError> for DivergeError {
    fn from(error: FleetError) -> Self {
        SweepError::from(error).into()
    }
}

/// What happened.
#[derive(Debug)]
pub struct Diverged {
    /// By itself.
    pub chance: Chance,
    /// Step by step.
    pub forced: Forced,
    /// What the checkers say of the steps.
    pub judged: Judged,
}

/// Lets it happen; `program` is the program `servers`, whose files go into a new folder in `place`.
///
/// # Errors
/// A server could not be had, or did not do what it was told.
pub fn run(
    program: &Path,
    place: &Path,
    rounds: u64,
    stop: &AtomicBool,
    meter: &Meter,
) -> Result<Diverged, DivergeError> {
    let folder = scratch(place)?;
    let mut fleet = Fleet::start(program, NAME, COPIES, folder.path())?;
    let client = || ClusterClient::new(own_cluster(NAME, fleet.addresses(), COPIES));
    meter.begin("race");
    let chance = Chance::take([client()?, client()?], client()?, rounds, stop, meter)?;
    meter.begin("step by step");
    let (clients, observer) = ([client()?, client()?, client()?], client()?);
    let forced = Forced::run(&mut fleet, clients, observer)?;
    let problem = Problem {
        history: &forced.history,
        spec: &SPECS[0],
        initial: ValueId::NIL,
        budget: Budget::unlimited(),
    };
    let models: Vec<_> = MODELS.iter().collect();
    let judged = Judged::of(&problem, &models, problem.budget, &|_| ());
    Ok(Diverged { chance, forced, judged })
}
