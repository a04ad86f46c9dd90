//! What is said about a run.

use std::fmt;

use crate::history::History;

/// What a checker says of a history.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Finding {
    /// It keeps what the mode promises.
    Holds,
    /// It does not, for this reason.
    Violation(String),
    /// It cannot be said, for this reason.
    Unknown(String),
}

/// The checker of a history, passed in by whoever runs the simulator.
pub type Checker<'a> = dyn Fn(&History) -> Finding + Sync + 'a;

/// A checker that is content with everything, for those who look at the invariants alone.
pub fn no_checker(_: &History) -> Finding {
    Finding::Holds
}

/// What kind of failure it is; a shrunk run fails in the same way.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// A client saw what the mode excludes: the checker's finding.
    History,
    /// A client's reads and writes fit no increasing places of the order of deliveries.
    ClientOrder,
    /// Operations that came one after the other fit no increasing places of the order of deliveries.
    RealTime,
    /// A replica shows something else than what it has delivered.
    Contents,
    /// A value that nobody wrote.
    ThinAir,
    /// Replicas deliver different writes at one position.
    Diverged,
    /// A delivery that is not the next one.
    Gap,
    /// A write that was acknowledged, or read, is not there at the end.
    Lost,
    /// A write is delivered twice.
    Twice,
    /// A write that was refused is delivered.
    Refused,
    /// The healed cluster does not answer, or does not converge.
    Liveness,
    /// A replica breaks the protocol in a way that its peer notices.
    Protocol,
    /// Something on a link is not what it should be.
    Wire,
    /// A disk holds what it should not.
    Damage,
    /// Participants that serve disagree on how a transaction ended.
    Agreement,
    /// The program panicked.
    Panic,
}

impl Kind {
    /// Its name in reports.
    pub fn name(self) -> &'static str {
        match self {
            Kind::History => "history",
            Kind::ClientOrder => "client-order",
            Kind::RealTime => "real-time",
            Kind::Contents => "contents",
            Kind::ThinAir => "thin-air",
            Kind::Diverged => "diverged",
            Kind::Gap => "gap",
            Kind::Lost => "lost",
            Kind::Twice => "twice",
            Kind::Refused => "refused",
            Kind::Liveness => "liveness",
            Kind::Protocol => "protocol",
            Kind::Wire => "wire",
            Kind::Damage => "damage",
            Kind::Agreement => "agreement",
            Kind::Panic => "panic",
        }
    }
}

/// A broken invariant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Broken {
    /// Which.
    pub kind: Kind,
    /// When, in nanoseconds of virtual time.
    pub at: u64,
    /// What happened.
    pub why: String,
}

impl fmt::Display for Broken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ms = self.at / 1_000_000;
        let rest = self.at / 1_000 % 1_000;
        write!(f, "{} at {ms}.{rest:03} ms: {}", self.kind.name(), self.why)
    }
}

/// The verdict on a run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Nothing was found.
    Holds,
    /// The checker could not say, for this reason; no invariant is broken.
    Unknown(String),
    /// Something is wrong: what clients saw, an invariant, or both.
    Violation {
        /// What the checker says of the history.
        history: Option<String>,
        /// The first invariant that broke.
        broken: Option<Broken>,
    },
}

impl Verdict {
    /// Puts together what was found.
    pub(super) fn of(finding: Finding, broken: Option<Broken>) -> Self {
        match (finding, broken) {
            (Finding::Holds, None) => Verdict::Holds,
            (Finding::Unknown(why), None) => Verdict::Unknown(why),
            (Finding::Violation(why), broken) => Verdict::Violation { history: Some(why), broken },
            (_, broken) => Verdict::Violation { history: None, broken },
        }
    }

    /// The kind of failure; what clients saw counts before what only the replicas know.
    pub fn kind(&self) -> Option<Kind> {
        match self {
            Verdict::Violation { history: Some(_), .. } => Some(Kind::History),
            Verdict::Violation { broken, .. } => broken.as_ref().map(|broken| broken.kind),
            Verdict::Holds | Verdict::Unknown(_) => None,
        }
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Verdict::Holds => f.write_str("holds"),
            Verdict::Unknown(why) => write!(f, "unknown: {why}"),
            Verdict::Violation { history: Some(why), broken: Some(broken) } => {
                write!(f, "violation: {why} ({broken})")
            }
            Verdict::Violation { history: Some(why), broken: None } => {
                write!(f, "violation: {why}")
            }
            Verdict::Violation { broken: Some(broken), .. } => write!(f, "violation: {broken}"),
            Verdict::Violation { .. } => f.write_str("violation"),
        }
    }
}
