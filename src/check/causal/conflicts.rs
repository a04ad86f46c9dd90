//! For each read the last writes to its key in its causal past, one of each process, and what they forbid.

use std::sync::Mutex;

use hashbrown::HashSet;

use super::clocks::{Clocks, merge};
use super::paths::chain;
use crate::check::Budget;
use crate::check::order::cycle::Search;
use crate::check::order::{Halt, INITIAL, NONE, Trace, by_process};

/// How many reads there are between two looks at the budget.
const READS_PER_LOOK: u32 = 1024;

/// `cf`: this write has to come before that one, since it is in the past of a read of that one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Edge {
    later: u32,
    earlier: u32,
    read: u32,
}

/// What a check of the reads looks at.
#[derive(Clone, Copy, Debug)]
pub struct Conflicts<'a> {
    /// The operations.
    pub trace: &'a Trace,
    /// Their causal order.
    pub clocks: &'a Clocks,
    /// When to give up.
    pub budget: Budget<'a>,
}

/// What the past of one process holds as it grows with its operations.
struct Past {
    /// The clock.
    row: Vec<u32>,
    /// By process, how many of its [`Index::events`] are in the past.
    passed: Vec<u32>,
    /// By key: its number among the keys that the process reads, or [`NONE`].
    local: Vec<u32>,
    /// By such number and process: one more than the last write.
    last: Vec<u32>,
    /// By such number: the loose writes.
    loose: Vec<Vec<u32>>,
    /// By such number: the source of the last read, where nothing has come up since.
    settled: Vec<u32>,
    known: HashSet<u32, foldhash::fast::FixedState>,
    edges: Vec<Edge>,
    reads: u32,
}

/// What comes up as a past grows, by process: its writes, and its reads of loose writes.
struct Index {
    starts: Vec<u32>,
    events: Vec<u32>,
}

impl Index {
    fn of(trace: &Trace) -> Self {
        let comes_up = |place: u32| {
            let source = trace.source[place as usize];
            let reads_loose = source < INITIAL && trace.is_loose(source);
            reads_loose || (trace.writes(place) && !trace.is_loose(place))
        };
        let mut index = Self { starts: vec![0], events: Vec::new() };
        for process in 0..trace.processes() {
            index.events.extend(trace.places(process).filter(|place| comes_up(*place)));
            index.starts.push(index.events.len() as u32);
        }
        index
    }
}

impl Conflicts<'_> {
    /// Looks for WriteCOInitRead and WriteCORead, and collects `cf` where it is wanted (less what follows
    /// from causal order).
    ///
    /// # Errors
    /// With the operations of such a pattern, or where the budget is spent.
    pub fn check_reads(&self, edges: Option<&Mutex<Vec<Edge>>>) -> Result<(), Halt> {
        let index = Index::of(self.trace);
        let processes = self.trace.processes();
        let memory = || Past {
            row: vec![0; processes],
            passed: vec![0; processes],
            local: vec![NONE; self.trace.keys],
            last: Vec::new(),
            loose: Vec::new(),
            settled: Vec::new(),
            known: HashSet::default(),
            edges: Vec::new(),
            reads: 0,
        };
        let work = |past: &mut Past, process: usize| {
            let result = self.check_process(&index, past, process, edges.is_some());
            if let Some(edges) = edges {
                let mut all = edges.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
                all.append(&mut past.edges);
            }
            result
        };
        by_process(self.trace, memory, work).map_err(|(_, halt)| halt)
    }

    fn check_process(
        &self,
        index: &Index,
        past: &mut Past,
        process: usize,
        wants_edges: bool,
    ) -> Result<(), Halt> {
        let trace = self.trace;
        past.begin(trace, index, process);
        let mut result = Ok(());
        for place in trace.places(process) {
            let source = trace.source[place as usize];
            if source != NONE {
                if source != INITIAL {
                    merge(&mut past.row, self.clocks.row(source));
                    past.cover(trace, index);
                }
                result = self.check_read(past, place, wants_edges);
                if result.is_err() {
                    break;
                }
            }
            if !trace.is_loose(place) {
                past.row[process] = place + 1;
                past.cover_process(trace, index, process);
            }
        }
        past.end(trace, process);
        result
    }

    fn check_read(&self, past: &mut Past, read: u32, wants_edges: bool) -> Result<(), Halt> {
        past.reads += 1;
        if past.reads.is_multiple_of(READS_PER_LOOK) && self.budget.is_spent() {
            return Err(Halt::Budget);
        }
        let trace = self.trace;
        let key = past.local[trace.key[read as usize] as usize] as usize;
        let source = trace.source[read as usize];
        if past.settled[key] == source {
            return Ok(());
        }
        past.settled[key] = source;
        let processes = past.row.len();
        let last = &past.last[key * processes..(key + 1) * processes];
        if source == INITIAL {
            let written = last.iter().find(|last| **last > 0).map(|last| *last - 1);
            return match written.or_else(|| past.loose[key].first().copied()) {
                Some(write) => Err(Halt::Conflict(chain(trace, write, read))),
                None => Ok(()),
            };
        }
        let row = self.clocks.row(source);
        for (last, known) in last.iter().zip(row) {
            if last > known {
                let edge = Edge { later: source, earlier: last - 1, read };
                self.check_edge(edge)?;
                if wants_edges {
                    past.edges.push(edge);
                }
            }
        }
        for write in &past.loose[key] {
            if *write != source && !self.clocks.is_in(trace, *write, row) {
                let edge = Edge { later: source, earlier: *write, read };
                self.check_edge(edge)?;
                if wants_edges {
                    past.edges.push(edge);
                }
            }
        }
        Ok(())
    }

    /// WriteCORead: what has to come earlier is causally later.
    fn check_edge(&self, edge: Edge) -> Result<(), Halt> {
        let Edge { later, earlier, read } = edge;
        if !self.clocks.is_in(self.trace, later, self.clocks.row(earlier)) {
            return Ok(());
        }
        let mut core = chain(self.trace, later, earlier);
        core.extend(chain(self.trace, earlier, read));
        Err(Halt::Conflict(core))
    }

    /// Looks for CyclicCF.
    ///
    /// # Errors
    /// With the operations of such a cycle, or where the budget is spent.
    pub fn check_order(&self, mut edges: Vec<Edge>) -> Result<(), Halt> {
        let rank = &self.clocks.rank;
        if edges.iter().all(|edge| rank[edge.earlier as usize] < rank[edge.later as usize]) {
            return Ok(());
        }
        edges.sort_unstable();
        edges.dedup_by_key(|edge| (edge.later, edge.earlier));
        let mut starts = vec![0u32; self.trace.len() + 1];
        for edge in &edges {
            starts[edge.later as usize + 1] += 1;
        }
        for place in 0..self.trace.len() {
            starts[place + 1] += starts[place];
        }
        let forced = |place: u32| {
            &edges[starts[place as usize] as usize..starts[place as usize + 1] as usize]
        };
        let predecessors = |place: u32, list: &mut Vec<u32>| {
            let (before, source) =
                (self.trace.before[place as usize], self.trace.source[place as usize]);
            list.extend([before, source].into_iter().filter(|other| *other < INITIAL));
            list.extend(forced(place).iter().map(|edge| edge.earlier));
        };
        let mut search = Search::new(self.trace.len());
        for place in 0..self.trace.len() as u32 {
            if place.is_multiple_of(READS_PER_LOOK) && self.budget.is_spent() {
                return Err(Halt::Budget);
            }
            let Some(cycle) = search.from(place, predecessors, |_| {}) else { continue };
            return Err(Halt::Conflict(self.cycle_core(&cycle, forced)));
        }
        Ok(())
    }

    /// What a cycle of `co` and `cf` needs.
    fn cycle_core<'e>(&self, cycle: &[u32], forced: impl Fn(u32) -> &'e [Edge]) -> Vec<u32> {
        let program = |at: usize| {
            let next = cycle[(at + 1) % cycle.len()];
            self.trace.before[next as usize] == cycle[at % cycle.len()]
        };
        let mut core = Vec::new();
        for (at, place) in cycle.iter().enumerate() {
            let next = cycle[(at + 1) % cycle.len()];
            if program(at) && program(at + cycle.len() - 1) {
                continue;
            }
            core.push(*place);
            if program(at) || self.trace.source[next as usize] == *place {
                continue;
            }
            for edge in forced(next).iter().filter(|edge| edge.earlier == *place) {
                core.extend(chain(self.trace, edge.earlier, edge.read));
            }
        }
        core
    }
}

impl Past {
    fn begin(&mut self, trace: &Trace, index: &Index, process: usize) {
        self.row.fill(0);
        self.passed.copy_from_slice(&index.starts[..self.row.len()]);
        self.known.clear();
        let mut count = 0;
        for place in trace.places(process).filter(|place| trace.reads(*place)) {
            let local = &mut self.local[trace.key[place as usize] as usize];
            if *local == NONE {
                *local = count;
                count += 1;
            }
        }
        self.last.clear();
        self.last.resize(count as usize * self.row.len(), 0);
        self.loose.iter_mut().for_each(Vec::clear);
        self.loose.resize(count as usize, Vec::new());
        self.settled.clear();
        self.settled.resize(count as usize, NONE);
    }

    fn end(&mut self, trace: &Trace, process: usize) {
        for place in trace.places(process) {
            self.local[trace.key[place as usize] as usize] = NONE;
        }
    }

    fn cover(&mut self, trace: &Trace, index: &Index) {
        for process in 0..self.row.len() {
            self.cover_process(trace, index, process);
        }
    }

    /// Takes in what has come up from a process.
    fn cover_process(&mut self, trace: &Trace, index: &Index, process: usize) {
        let end = index.starts[process + 1];
        let mut at = self.passed[process];
        while at < end && index.events[at as usize] < self.row[process] {
            let place = index.events[at as usize];
            at += 1;
            let key = self.local[trace.key[place as usize] as usize];
            if key == NONE {
                continue;
            }
            let source = trace.source[place as usize];
            if trace.writes(place) {
                self.last[key as usize * self.row.len() + process] = place + 1;
                self.settled[key as usize] = NONE;
            }
            if source < INITIAL && trace.is_loose(source) && self.known.insert(source) {
                self.loose[key as usize].push(source);
                self.settled[key as usize] = NONE;
            }
        }
        self.passed[process] = at;
    }
}
