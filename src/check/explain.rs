//! Why a few operations break a model, as a chain of facts that ends in a contradiction.
//!
//! The facts are of the form 'a comes before b'. Base facts come from what the model respects (real time,
//! program order, …), others from what was read: if r read what w wrote, then another write of the same key
//! that comes before r comes before w too, and if w comes before it, r does. A history breaks the model
//! where an operation would have to come before itself. Each fact remembers what it was concluded from, so the
//! chain can be told from its beginning.
//!
//! Cost: cubic in the operations a round; witnesses have a handful.

use super::models::View;
use super::reads_from::{Source, observed, wrote};
use super::{Problem, ReadsFrom};
use crate::history::{History, NEVER, OpId, Operation, ProcessId};

/// A node: an operation by its index, or behind them the initial state.
type Node = usize;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Reason {
    RealTime,
    Program,
    ReadsFrom,
    Initial,
    /// `q` read this before it wrote.
    FollowsRead(Node),
    /// `a` comes before this read of what `b` wrote.
    Older(Node),
    /// `a` read what this wrote, which `b` overwrote.
    Overwritten(Node),
    /// By way of this.
    Through(Node),
}

/// A contradiction: lines of the chain, told from its beginning.
pub fn contradiction(problem: &Problem<'_>, view: View) -> Option<Vec<String>> {
    let reads_from = ReadsFrom::of(problem).ok()?;
    let processes: Vec<Option<ProcessId>> = match view {
        View::FinalReads => return None,
        View::RealTime | View::ProgramOrder | View::Causal | View::CausalConvergence => vec![None],
        _ => (0..problem.history.processes.len() as u32).map(|p| Some(ProcessId(p))).collect(),
    };
    let chains = processes.into_iter().filter_map(|process| {
        let mut facts = Facts::new(problem.history, &reads_from, view, process);
        facts.contradiction()
    });
    chains.min_by_key(Vec::len)
}

struct Facts<'a> {
    history: &'a History,
    reads_from: &'a ReadsFrom,
    view: View,
    /// Whose view it is, where each process has its own.
    process: Option<ProcessId>,
    n: usize,
    /// `before[a][b]`: why a comes before b.
    before: Vec<Vec<Option<Reason>>>,
}

impl<'a> Facts<'a> {
    fn new(
        history: &'a History,
        reads_from: &'a ReadsFrom,
        view: View,
        process: Option<ProcessId>,
    ) -> Self {
        let n = history.operations.len();
        let before = vec![vec![None; n + 1]; n + 1];
        let mut facts = Self { history, reads_from, view, process, n, before };
        facts.base();
        facts
    }

    fn op(&self, node: Node) -> &'a Operation {
        &self.history.operations[node]
    }

    fn add(&mut self, a: Node, b: Node, reason: Reason) -> bool {
        let slot = &mut self.before[a][b];
        let new = slot.is_none();
        if new {
            *slot = Some(reason);
        }
        new
    }

    fn base(&mut self) {
        for a in 0..self.n {
            self.add(self.n, a, Reason::Initial);
            if let Source::Write(write) = self.reads_from.source(OpId(a as u32))
                && self.judges(a)
            {
                self.add(write.index(), a, Reason::ReadsFrom);
            }
            for b in 0..self.n {
                if let Some(reason) = self.base_reason(a, b) {
                    self.add(a, b, reason);
                }
            }
        }
    }

    /// Whether what this operation observed counts in this view.
    fn judges(&self, node: Node) -> bool {
        match self.view {
            View::CausalMemory => true,
            _ => self.process.is_none_or(|process| self.op(node).process == process),
        }
    }

    fn base_reason(&self, a: Node, b: Node) -> Option<Reason> {
        let (first, second) = (self.op(a), self.op(b));
        if self.view == View::RealTime {
            return first.precedes(second).then_some(Reason::RealTime);
        }
        // An operation without an outcome is nobody's predecessor.
        let program = first.process == second.process && a < b && first.completed != NEVER;
        let writes = |node: Node| wrote(self.history, OpId(node as u32)).is_some();
        let own = self.process == Some(first.process);
        let own_reads = own && observed(self.history, OpId(a as u32)).is_some();
        let both_write = writes(a) && writes(b);
        let respected = match self.view {
            View::Pram => program && (own || both_write),
            View::MonotonicWrites => program && (both_write || (own_reads && self.reads(b))),
            View::MonotonicReads => {
                let same_key = both_write && first.key == second.key;
                program && (same_key || (own_reads && self.reads(b)))
            }
            View::ReadYourWrites => program && own && writes(a),
            View::WritesFollowReads => {
                if writes(b)
                    && let Some(read) = self.read_before(a, b)
                {
                    return Some(Reason::FollowsRead(read));
                }
                program && own_reads && self.reads(b)
            }
            _ => program,
        };
        respected.then_some(Reason::Program)
    }

    fn reads(&self, node: Node) -> bool {
        observed(self.history, OpId(node as u32)).is_some()
    }

    /// A read of what `write` wrote, by whoever wrote `later` after it.
    fn read_before(&self, write: Node, later: Node) -> Option<Node> {
        let process = self.op(later).process;
        (0..=later).find(|read| {
            self.op(*read).process == process
                && (*read == later || self.op(*read).completed != NEVER)
                && self.reads_from.source(OpId(*read as u32)) == Source::Write(OpId(write as u32))
        })
    }

    fn contradiction(&mut self) -> Option<Vec<String>> {
        self.close();
        let causal = self.before.clone();
        loop {
            if let Some(node) = (0..=self.n).find(|node| self.before[*node][*node].is_some()) {
                return Some(self.tell(node));
            }
            // What conclusions may be drawn from: causal consistency looks at causes alone.
            let from = match self.view {
                View::Causal | View::CausalConvergence => causal.clone(),
                _ => self.before.clone(),
            };
            if !self.conclude(&from) {
                return None;
            }
            match self.view {
                View::Causal => {
                    // Each conclusion stands alone; it contradicts a cause or nothing.
                    for (a, b) in self.pairs() {
                        if self.before[a][b].is_some() && causal[b][a].is_some() {
                            self.add(a, a, Reason::Through(b));
                        }
                    }
                }
                _ => self.close(),
            }
        }
    }

    fn pairs(&self) -> Vec<(Node, Node)> {
        (0..=self.n).flat_map(|a| (0..=self.n).map(move |b| (a, b))).collect()
    }

    /// The transitive closure.
    fn close(&mut self) {
        for mid in 0..=self.n {
            for a in 0..=self.n {
                if self.before[a][mid].is_none() {
                    continue;
                }
                for b in 0..=self.n {
                    if self.before[mid][b].is_some() {
                        self.add(a, b, Reason::Through(mid));
                    }
                }
            }
        }
    }

    /// Draws what follows from the reads. Whether anything is new.
    fn conclude(&mut self, from: &[Vec<Option<Reason>>]) -> bool {
        let mut new = false;
        for read in 0..self.n {
            let own = self.process.is_none_or(|process| self.op(read).process == process);
            let source = match self.reads_from.source(OpId(read as u32)) {
                _ if !own => continue,
                Source::Nothing => continue,
                Source::Initial => self.n,
                Source::Write(write) => write.index(),
            };
            let rivals: Vec<Node> = (0..self.n)
                .filter(|other| *other != source && *other != read)
                .filter(|other| self.op(*other).key == self.op(read).key)
                .filter(|other| wrote(self.history, OpId(*other as u32)).is_some())
                .collect();
            for other in rivals {
                if from[other][read].is_some() {
                    new |= self.add(other, source, Reason::Older(read));
                }
                if from[source][other].is_some() && self.view != View::CausalConvergence {
                    new |= self.add(read, other, Reason::Overwritten(source));
                }
            }
        }
        new
    }

    fn tell(&self, node: Node) -> Vec<String> {
        let mut lines = Vec::new();
        let mut told = vec![vec![false; self.n + 1]; self.n + 1];
        self.tell_fact(node, node, &mut told, &mut lines);
        let name = self.name(node);
        lines.push(format!("So {name} would have to come before itself."));
        lines
    }

    fn tell_fact(&self, a: Node, b: Node, told: &mut [Vec<bool>], lines: &mut Vec<String>) {
        let Some(reason) = self.before[a][b] else { return };
        if std::mem::replace(&mut told[a][b], true) {
            return;
        }
        let (first, second) = (self.name(a), self.name(b));
        let why = match reason {
            Reason::Through(mid) => {
                self.tell_fact(a, mid, told, lines);
                self.tell_fact(mid, b, told, lines);
                return;
            }
            Reason::Initial => return,
            Reason::RealTime => "the one had ended before the other began".to_owned(),
            Reason::Program => {
                format!("{} did them in this order", self.history.process(self.op(a).process))
            }
            Reason::ReadsFrom => format!("{second} read what {first} wrote"),
            Reason::FollowsRead(read) => {
                let process = self.history.process(self.op(b).process);
                if read == b {
                    format!("{second} read it, and wrote then")
                } else {
                    format!("{process} had read it (operation {}) when it wrote {second}", read + 1)
                }
            }
            Reason::Older(read) => {
                self.tell_fact(a, read, told, lines);
                format!("it comes before {}, which read what {second} wrote", self.name(read))
            }
            Reason::Overwritten(write) => {
                self.tell_fact(write, b, told, lines);
                if write == self.n {
                    format!("{first} read the initial value, which {second} replaced")
                } else {
                    format!(
                        "{first} read what {} wrote, and {second} replaced that",
                        self.name(write)
                    )
                }
            }
        };
        if b == self.n {
            let Reason::Older(read) = reason else { return };
            let read = self.name(read);
            lines.push(format!("{first} → {read}, but {read} read the initial value"));
            return;
        }
        lines.push(format!("{first} → {second}: {why}"));
    }

    /// Operations are numbered from 1 in the order of the witness.
    fn name(&self, node: Node) -> String {
        if node == self.n { "the initial state".to_owned() } else { format!("{}", node + 1) }
    }
}
