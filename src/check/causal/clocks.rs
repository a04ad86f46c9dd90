//! Vector clocks: what is in the causal past of each write.
//!
//! A row has one entry a process: one more than the place of that process' last operation in the past of the
//! write, or 0; a write is in its own past. Only writes have rows, and what loose ones come right behind:
//! the past of a read is its process' past and that of its source.
//!
//! A loose write is not on its process' chain, so no entry can tell that it is in a past. It is in there
//! exactly if somebody's read of it is, and of each process the first such read suffices.

use hashbrown::HashMap;

use crate::check::order::base::Base;
use crate::check::order::{Halt, INITIAL, NONE, Trace, topological};

/// The vector clocks of a trace.
#[derive(Debug)]
pub struct Clocks {
    processes: usize,
    rows: Vec<u32>,
    row_of: Vec<u32>,
    /// By place: where it stands in an order that agrees with causality.
    pub rank: Vec<u32>,
    /// The first read by each process of each loose write.
    first_reads: HashMap<u32, Vec<u32>, foldhash::fast::FixedState>,
}

impl Clocks {
    /// The clocks.
    ///
    /// # Errors
    /// Where the causal order has a cycle.
    pub fn of(trace: &Trace, base: &Base) -> Result<Self, Halt> {
        let order = topological(trace, base).map_err(Halt::Conflict)?;
        let processes = trace.processes();
        let mut has_row: Vec<bool> = (0..trace.len() as u32).map(|op| trace.writes(op)).collect();
        for place in (0..trace.len() as u32).filter(|place| trace.is_loose(*place)) {
            if let Some(before) = has_row.get_mut(trace.before[place as usize] as usize) {
                *before = true;
            }
        }
        let mut rows = Vec::with_capacity(has_row.iter().filter(|has| **has).count() * processes);
        let mut row_of = vec![NONE; trace.len()];
        let mut now = vec![0u32; processes * processes];
        let mut rank = vec![0; trace.len()];
        let mut count = 0;
        for (position, place) in order.into_iter().enumerate() {
            rank[place as usize] = position as u32;
            let process = trace.process[place as usize] as usize;
            let own = &mut now[process * processes..(process + 1) * processes];
            let source = trace.source[place as usize];
            if source < INITIAL {
                let start = row_of[source as usize] as usize * processes;
                merge(own, &rows[start..start + processes]);
            }
            if has_row[place as usize] {
                row_of[place as usize] = count;
                count += 1;
            }
            match (trace.is_loose(place), trace.before[place as usize]) {
                (true, NONE) => rows.resize(rows.len() + processes, 0),
                (true, before) => {
                    let start = row_of[before as usize] as usize * processes;
                    rows.extend_from_within(start..start + processes);
                }
                (false, _) => {
                    own[process] = place + 1;
                    if has_row[place as usize] {
                        rows.extend_from_slice(own);
                    }
                }
            }
        }
        Ok(Self { processes, rows, row_of, rank, first_reads: first_reads(trace) })
    }

    /// The row of a write.
    pub fn row(&self, write: u32) -> &[u32] {
        let start = self.row_of[write as usize] as usize * self.processes;
        &self.rows[start..start + self.processes]
    }

    /// Whether a write is in the past that a row tells.
    pub fn is_in(&self, trace: &Trace, write: u32, row: &[u32]) -> bool {
        if !trace.is_loose(write) {
            return row[trace.process[write as usize] as usize] > write;
        }
        self.first_reads.get(&write).is_some_and(|reads| {
            reads.iter().any(|read| row[trace.process[*read as usize] as usize] > *read)
        })
    }
}

/// Joins a past to another.
pub fn merge(into: &mut [u32], from: &[u32]) {
    for (into, from) in into.iter_mut().zip(from) {
        *into = (*into).max(*from);
    }
}

fn first_reads(trace: &Trace) -> HashMap<u32, Vec<u32>, foldhash::fast::FixedState> {
    let mut first: HashMap<u32, Vec<u32>, foldhash::fast::FixedState> = HashMap::default();
    for place in 0..trace.len() as u32 {
        let source = trace.source[place as usize];
        if source < INITIAL && trace.is_loose(source) {
            let reads = first.entry(source).or_default();
            let process = trace.process[place as usize];
            // Places come process by process.
            if reads.last().is_none_or(|last| trace.process[*last as usize] != process) {
                reads.push(place);
            }
        }
    }
    first
}
