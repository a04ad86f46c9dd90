//! The one list of consistency models, strongest first. The command line, the ladder and the docs read it.

use super::order::{Halt, Trace};
use super::{
    Answer, Budget, Problem, causal, convergent, linearizable, pram, sequential, session, strict,
};

/// Whose order a model speaks of, and which orders it must respect; what a witness is explained with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum View {
    /// One order of all operations, in real time.
    RealTime,
    /// One order of all operations, in every process' own order.
    ProgramOrder,
    /// For each process, its own operations and all writes, in causal order.
    CausalMemory,
    /// Causal order, and one order in which conflicting writes are settled everywhere.
    CausalConvergence,
    /// Causal order.
    Causal,
    /// For each process, its own operations and all writes, in every process' own order.
    Pram,
    /// For each process, its reads in order, and writes after what their writers had read.
    WritesFollowReads,
    /// For each process, its reads in order, and all writes in their writers' orders.
    MonotonicWrites,
    /// For each process, its reads in order, and the writes of each key in their writers' orders.
    MonotonicReads,
    /// For each process, each of its reads behind its own earlier writes.
    ReadYourWrites,
    /// The last reads of every replica.
    FinalReads,
}

/// A consistency model.
pub struct Model {
    /// Its name on the command line.
    pub name: &'static str,
    /// Its name for people.
    pub title: &'static str,
    /// What it promises, in one line.
    pub promise: &'static str,
    checker: Checker,
    /// What its orders respect.
    pub view: View,
    /// The models right below it: what keeps this one keeps them.
    below: &'static [&'static str],
}

/// How a model is checked.
#[derive(Clone, Copy)]
enum Checker {
    /// From the history itself.
    History(fn(&Problem<'_>) -> Answer),
    /// From its trace, which several models share.
    Trace(fn(&Trace, Budget<'_>) -> Result<(), Halt>),
}

/// The trace of a history, made when the first model needs it.
#[derive(Debug, Default)]
pub struct SharedTrace(Option<Result<Trace, Answer>>);

impl std::fmt::Debug for Model {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name)
    }
}

impl Model {
    /// Checks a history.
    pub fn check(&self, problem: &Problem<'_>) -> Answer {
        self.check_sharing(problem, &mut SharedTrace::default())
    }

    /// The same as one of several checks of one problem.
    pub fn check_sharing(&self, problem: &Problem<'_>, shared: &mut SharedTrace) -> Answer {
        match self.checker {
            Checker::History(check) => check(problem),
            Checker::Trace(check) => match shared.0.get_or_insert_with(|| Trace::of(problem)) {
                Ok(trace) => trace.answer(check(trace, problem.budget)),
                Err(answer) => answer.clone(),
            },
        }
    }

    /// Its place in [`MODELS`].
    pub fn index(&self) -> usize {
        MODELS.iter().position(|model| model.name == self.name).unwrap_or(0)
    }

    /// Whether every history that keeps this model keeps the other too.
    pub fn implies(&self, other: &Model) -> bool {
        self.name == other.name
            || self.below.iter().filter_map(|name| model(name)).any(|below| below.implies(other))
    }
}

/// All models, strongest first. `Model::below` is the diagram:
///
/// ```text
/// linearizable → sequential → cm → cc → ryw          cm → pram → mw → mr
///                sequential → ccv → cc               cm → wfr
///                             ccv → mr               pram → ryw
/// ```
pub const MODELS: &[Model] = &[
    Model {
        name: "linearizable",
        title: "linearizable",
        promise: "one order of all operations that respects real time: every read is current",
        checker: Checker::History(one_object),
        view: View::RealTime,
        below: &["sequential"],
    },
    Model {
        name: "sequential",
        title: "sequential",
        promise: "one order of all operations that respects every process' own order",
        checker: Checker::History(sequential::check),
        view: View::ProgramOrder,
        below: &["cm", "ccv"],
    },
    Model {
        name: "ccv",
        title: "causal convergence (CCv)",
        promise: "causes before effects, and conflicting writes are settled alike everywhere",
        checker: Checker::Trace(causal::ccv),
        view: View::CausalConvergence,
        below: &["cc", "mr"],
    },
    Model {
        name: "cm",
        title: "causal memory (CM)",
        promise: "causes before effects, and each process sees one order that fits all it has read",
        checker: Checker::Trace(causal::cm),
        view: View::CausalMemory,
        below: &["cc", "pram", "wfr"],
    },
    Model {
        name: "cc",
        title: "causal consistency (CC)",
        promise: "no effect is seen without its cause",
        checker: Checker::Trace(causal::cc),
        view: View::Causal,
        below: &["ryw"],
    },
    Model {
        name: "pram",
        title: "PRAM",
        promise: "each process sees the writes of every other in the order they were made",
        checker: Checker::Trace(pram::pram),
        view: View::Pram,
        below: &["mw", "ryw"],
    },
    Model {
        name: "wfr",
        title: "writes follow reads",
        promise: "whoever sees a write sees what its writer had read before",
        checker: Checker::Trace(session::writes_follow_reads),
        view: View::WritesFollowReads,
        below: &[],
    },
    Model {
        name: "mw",
        title: "monotonic writes",
        promise: "whoever sees a write sees its writer's earlier writes",
        checker: Checker::Trace(session::monotonic_writes),
        view: View::MonotonicWrites,
        below: &["mr"],
    },
    Model {
        name: "mr",
        title: "monotonic reads",
        promise: "no process reads a key back in time",
        checker: Checker::Trace(session::monotonic_reads),
        view: View::MonotonicReads,
        below: &[],
    },
    Model {
        name: "ryw",
        title: "read your writes",
        promise: "no process reads what is older than its own last write",
        checker: Checker::Trace(session::read_your_writes),
        view: View::ReadYourWrites,
        below: &[],
    },
    Model {
        name: "convergent",
        title: "convergent",
        promise: "when writing has ended, all replicas come to hold the same",
        checker: Checker::History(convergent::check),
        view: View::FinalReads,
        below: &[],
    },
];

/// Linearizability of the store as one object. Where every command is about one key, that is the same as key by
/// key; commands of several keys have to take effect at one moment.
fn one_object(problem: &Problem<'_>) -> Answer {
    match linearizable::check(problem) {
        Answer::Valid if !problem.history.together.is_empty() => strict::check(problem),
        answer => answer,
    }
}

/// The model of this name.
pub fn model(name: &str) -> Option<&'static Model> {
    MODELS.iter().find(|model| model.name == name)
}

/// The models that a recording which names a consistency mode (or a model) is to be judged by; none for a
/// name that means nothing here.
pub fn claimed(name: &str) -> Vec<&'static Model> {
    let names: &[&str] = match name {
        "eventual" => &["convergent"],
        "session" => &["ryw", "mr"],
        // The causal mode settles conflicting writes alike everywhere.
        "causal" => &["ccv"],
        other => return model(other).into_iter().collect(),
    };
    names.iter().filter_map(|name| model(name)).collect()
}
