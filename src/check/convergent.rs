//! Convergence: once nothing is written any more, all replicas come to hold the same.
//!
//! *Quiescence* is the last event of any write that may have taken effect: the completion of one that ended
//! `Ok`, the invocation of one whose outcome is unknown. The reads invoked behind it are the evidence. They
//! are grouped by replica (by process where the replica is not known) and key, and the last of each group
//! counts: those of one key have to agree, and on a value that somebody wrote to it or, if no write to it was
//! acknowledged, on the initial one. What only one of them was asked for is no evidence: it may be behind.
//!
//! A finite history cannot show that replicas would not have converged a little later; a violation says that
//! they had not when they were last looked at. An unknown write that takes effect long after its
//! invocation shows as a violation too.
//!
//! *Time to converge* is from quiescence to the invocation of the first read from which on all reads return
//! what their key holds in the end. It is an upper bound: replicas may have agreed before they were asked.
//!
//! Cost: `O(n log n)`. Source: W. Vogels, *Eventually Consistent*, 2009; quiescent consistency of replicated
//! data as in S. Burckhardt, *Principles of Eventual Consistency*, 2014, section 5.

use hashbrown::HashMap;

use super::reads_from::wrote;
use super::{Answer, Problem};
use crate::history::{Action, Clock, History, OpId, Outcome, ValueId};

/// What a history shows of convergence.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Convergence {
    /// Whether it converged.
    pub answer: Answer,
    /// When the last write ended, in the history's clock; `None` where nothing was written.
    pub quiescent_at: Option<u64>,
    /// How long after that all reads agreed; `None` where they did not, or nothing was written.
    pub took: Option<u64>,
    /// How many reads are evidence.
    pub reads: usize,
    /// How many keys two replicas or more were asked for.
    pub compared: usize,
    /// How many keys were written.
    pub written: usize,
}

/// Whether the replicas converged.
pub fn check(problem: &Problem<'_>) -> Answer {
    report(problem).answer
}

/// Whether the replicas converged, and how fast.
pub fn report(problem: &Problem<'_>) -> Convergence {
    let history = problem.history;
    let quiescence = history.ids().filter_map(|id| last_event(history, id)).max();
    let evidence = Evidence::of(history, quiescence.map(|(event, _)| event));
    let mut written: Vec<_> = history
        .ids()
        .filter(|id| may_write(history, *id))
        .map(|id| history.operation(id).key)
        .collect();
    written.sort_unstable();
    written.dedup();
    let answer = evidence.answer(problem);
    let quiescent_at = quiescence.map(|(_, at)| at);
    let took = match (&answer, quiescent_at) {
        (Answer::Valid, Some(at)) => {
            evidence.agreed_at(history).map(|then| then.saturating_sub(at))
        }
        _ => None,
    };
    Convergence {
        answer,
        quiescent_at,
        took,
        reads: evidence.reads.len(),
        compared: evidence.compared_in(history),
        written: written.len(),
    }
}

/// Whether an operation may have changed its key.
fn may_write(history: &History, id: OpId) -> bool {
    let operation = history.operation(id);
    match operation.action {
        Action::Append(_) | Action::Other(_) => operation.outcome != Outcome::Fail,
        _ => wrote(history, id).is_some(),
    }
}

/// The last event of a write that may have taken effect, and when it was.
fn last_event(history: &History, id: OpId) -> Option<(u32, u64)> {
    let operation = history.operation(id);
    if !may_write(history, id) {
        return None;
    }
    Some(match operation.outcome {
        Outcome::Ok => {
            (operation.completed, operation.completed_at.unwrap_or(operation.invoked_at))
        }
        _ => (operation.invoked, operation.invoked_at),
    })
}

/// The reads behind quiescence.
struct Evidence {
    /// In the order of invocation.
    reads: Vec<OpId>,
    /// The last read of each group, those of one key together.
    last: Vec<OpId>,
}

impl Evidence {
    fn of(history: &History, quiescence: Option<u32>) -> Self {
        let is_late = |id: &OpId| {
            let operation = history.operation(*id);
            let late = quiescence.is_none_or(|event| operation.invoked > event);
            operation.read().is_some() && late
        };
        let reads: Vec<OpId> = history.ids().filter(is_late).collect();
        let group = |id: &OpId| {
            let operation = history.operation(*id);
            let place = match operation.replica {
                Some(replica) => (0, u32::from(replica.0)),
                None => (1, operation.process.0),
            };
            (operation.key, place)
        };
        let mut last = reads.clone();
        last.sort_by_key(|id| (group(id), std::cmp::Reverse(*id)));
        last.dedup_by_key(|id| group(id));
        Self { reads, last }
    }

    fn by_key<'a>(&'a self, history: &'a History) -> impl Iterator<Item = &'a [OpId]> {
        self.last.chunk_by(|a, b| history.operation(*a).key == history.operation(*b).key)
    }

    fn compared_in(&self, history: &History) -> usize {
        self.by_key(history).filter(|reads| reads.len() > 1).count()
    }

    fn answer(&self, problem: &Problem<'_>) -> Answer {
        let history = problem.history;
        if history.clock == Clock::ProcessOrder {
            return Answer::Unknown(
                "the history does not tell what came after the last write: it orders only what \
                 each process did by itself"
                    .to_owned(),
            );
        }
        let writers = Writers::of(history);
        for reads in self.by_key(history) {
            let value = |id: OpId| history.operation(id).read();
            let wrong = reads
                .iter()
                .find_map(|id| writers.out_of_thin_air(problem, *id))
                .or_else(|| writers.vanished(problem, reads));
            let differs = || reads.iter().find(|id| value(**id) != value(reads[0])).copied();
            if let Some(core) = wrong {
                return Answer::Violation(core);
            }
            if let Some(other) = differs() {
                let mut core = vec![reads[0], other];
                core.extend(core.clone().into_iter().flat_map(|id| writers.of_read(history, id)));
                core.sort_unstable();
                core.dedup();
                return Answer::Violation(core);
            }
        }
        if self.reads.is_empty() {
            return Answer::Unknown(
                "no read after the last write: nothing shows what the replicas came to hold"
                    .to_owned(),
            );
        }
        if self.compared_in(history) == 0 {
            return Answer::Unknown(
                "no key was read from two replicas (or by two processes) after the last write"
                    .to_owned(),
            );
        }
        Answer::Valid
    }

    /// When the first read was invoked from which on all agree with the last ones.
    fn agreed_at(&self, history: &History) -> Option<u64> {
        let value = |id: OpId| history.operation(id).read();
        let key = |id: OpId| history.operation(id).key;
        let agrees = |id: &OpId| {
            let at = self.last.partition_point(|last| key(*last) < key(*id));
            self.last.get(at).is_some_and(|last| value(*last) == value(*id))
        };
        let from = self.reads.iter().rposition(|id| !agrees(id)).map_or(0, |last| last + 1);
        self.reads.get(from).map(|id| history.operation(*id).invoked_at)
    }
}

/// Who wrote what.
struct Writers {
    by_value: HashMap<(u32, ValueId), OpId, foldhash::fast::FixedState>,
    /// By key: an acknowledged write.
    acknowledged: Vec<Option<OpId>>,
    /// By key: the operations whose effect is not just to write a value.
    others: Vec<Vec<OpId>>,
}

impl Writers {
    fn of(history: &History) -> Self {
        let keys = history.keys.len();
        let mut writers = Self {
            by_value: HashMap::default(),
            acknowledged: vec![None; keys],
            others: vec![Vec::new(); keys],
        };
        for id in history.ids().filter(|id| may_write(history, *id)) {
            let operation = history.operation(id);
            let key = operation.key.0 as usize;
            match wrote(history, id) {
                Some(value) => {
                    writers.by_value.entry((operation.key.0, value)).or_insert(id);
                }
                None => writers.others[key].push(id),
            }
            if operation.outcome == Outcome::Ok {
                writers.acknowledged[key].get_or_insert(id);
            }
        }
        writers
    }

    /// What a read's value comes from.
    fn of_read(&self, history: &History, id: OpId) -> Vec<OpId> {
        let operation = history.operation(id);
        let value = operation.read().unwrap_or(ValueId::NIL);
        match self.by_value.get(&(operation.key.0, value)) {
            Some(write) => vec![*write],
            None => self.others[operation.key.0 as usize].clone(),
        }
    }

    /// A read of what nobody wrote, which no key can come to hold.
    fn out_of_thin_air(&self, problem: &Problem<'_>, id: OpId) -> Option<Vec<OpId>> {
        let operation = problem.history.operation(id);
        let value = operation.read()?;
        let key = operation.key.0 as usize;
        let written = self.by_value.contains_key(&(operation.key.0, value));
        let explained =
            written || value == problem.initial(operation.key) || !self.others[key].is_empty();
        (!explained).then(|| vec![id])
    }

    /// Two replicas that hold the initial value although a write was acknowledged. One alone may just
    /// be behind.
    fn vanished(&self, problem: &Problem<'_>, reads: &[OpId]) -> Option<Vec<OpId>> {
        let key = problem.history.operation(reads[0]).key;
        let initial = problem.initial(key);
        if self.by_value.contains_key(&(key.0, initial)) {
            return None;
        }
        let write = self.acknowledged[key.0 as usize]?;
        let holds_initial = |id: &&OpId| problem.history.operation(**id).read() == Some(initial);
        let mut core: Vec<OpId> = reads.iter().filter(holds_initial).take(2).copied().collect();
        if core.len() < 2 {
            return None;
        }
        core.push(write);
        core.sort_unstable();
        Some(core)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check::order::generate::{history, problem};

    #[test]
    fn replicas_that_agree_in_the_end_have_converged() {
        let history = history(
            "0: w(x,1)
             1: w(x,2)
             2: r(x,1)
             1: r(x,2)
             0: r(x,2)
             2: r(x,2)",
        );
        let report = report(&problem(&history));
        assert_eq!(report.answer, Answer::Valid);
        assert_eq!(report.quiescent_at, Some(3), "the completion of the last write");
        assert_eq!(report.took, Some(3), "until the invocation of the read after the stale one");
        assert_eq!((report.reads, report.compared, report.written), (4, 1, 1));
    }

    #[test]
    fn replicas_that_disagree_in_the_end_have_not() {
        let text = "0: w(x,1) w(y,5)
             1: w(x,2)
             0: r(x,1)
             1: r(x,2) r(y,5)";
        let history = history(text);
        let answer = check(&problem(&history));
        assert_eq!(answer, Answer::Violation([0, 2, 3, 4].map(OpId).to_vec()));
        let small = history.restricted(&[0, 2, 3, 4].map(OpId));
        assert!(matches!(check(&problem(&small)), Answer::Violation(_)));
    }

    #[test]
    fn an_acknowledged_write_does_not_vanish() {
        let lost = history("0: w(x,1) \n 1: r(x,0) \n 2: r(x,0)");
        assert_eq!(check(&problem(&lost)), Answer::Violation([0, 1, 2].map(OpId).to_vec()));
        let behind = history("0: w(x,1) \n 1: r(x,0)");
        assert!(matches!(check(&problem(&behind)), Answer::Unknown(_)), "it may come yet");
        let never_sure = history("0: u(x,1) \n 1: r(x,0) \n 2: r(x,0)");
        assert_eq!(check(&problem(&never_sure)), Answer::Valid);
        let thin_air = history("0: w(x,1) \n 1: r(x,7)");
        assert_eq!(check(&problem(&thin_air)), Answer::Violation(vec![OpId(1)]));
    }

    #[test]
    fn without_evidence_there_is_no_verdict() {
        for text in ["0: w(x,1)", "1: r(x,0) \n 0: w(x,1)", "0: w(x,1) r(x,1)", ""] {
            let history = history(text);
            assert!(matches!(check(&problem(&history)), Answer::Unknown(_)), "{text}");
        }
    }
}
