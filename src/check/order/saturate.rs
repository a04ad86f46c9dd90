//! Saturation: is there a legal serialization for one process?
//!
//! Given are a partial order of writes (the [`Base`]) and the reads of one process *p*, one after the other:
//! `r1 < r2 < …`. Wanted is a total order of all of them in which each read returns the last write to its
//! key. Saturation adds what must hold, to a fixpoint: where `r` reads the write `w`, every other write `v`
//! to that key with `v < r` has to have `v < w`.
//!
//! **This is complete**: where the fixpoint has no cycle and no write stands before a read of the initial
//! value, a serialization exists. Place everything as late as possible: each write right before the first
//! read that it is ordered before. If a write `v` to the key then stood between `w` and `r` it would be
//! ordered before some read up to `r`, so before `r`, so, by the rule, before `w`. (It needs the reads to be
//! totally ordered. The argument is the one of Bouajjani et al., POPL 2017, for causal memory.)
//!
//! # How it is fast
//!
//! The only question that the rule asks is "is `v` before `r_i`?", so all that is stored of the order is a
//! number a node: its *level*, that of the first own read that it is before. `v < w` lowers the level of `v`
//! (and of all before it) to that of `w`. Read `i` (from 1) has the level `2i`; a compare-and-set of *p* is a
//! read and, right behind it, a write, of level `2i + 1`.
//!
//! A cycle has all its nodes at one level, except where it passes *p*'s own order: there a level would have
//! to sink below a node's *floor*, which is found at once. The cycles within a level are looked for once, at
//! the end ([`super::cycle`]).
//!
//! For each key the own reads form *groups*: the consecutive reads of one write, its source. The
//! fixpoint's invariant: a group's source is not before the reads of the group before it (it would have to
//! be both before and behind that one's source), and the writes first seen since then, the group's *members*,
//! have no higher level than the source. So each write is looked at once a group that it moves to; it moves
//! only when its level sinks. On histories of real stores few levels sink twice and the whole is linear.

use super::base::{Base, Node, Own};
use super::group::{Group, KeySlot, UNREAD};
use super::proof::Recorder;
use super::{INITIAL, NONE, Trace};
use crate::check::Budget;

/// More than any level.
const ABOVE_ALL: u32 = u32::MAX - 1;
/// With more keys times processes than this, writes that are pending are kept in lists only.
const LARGEST_TABLE: usize = 1 << 20;
/// How many steps there are between two looks at the budget.
const STEPS_PER_LOOK: usize = 4096;

/// Why no serialization exists.
#[derive(Clone, Debug)]
pub enum Conflict<W> {
    /// This own operation would have to come before what it comes behind.
    Sinks(u32, W),
    /// This read of the initial value comes behind this write.
    NotInitial(u32, u32),
    /// The reader reads the source again, or for the first time, after a read of a later write that comes
    /// behind the source.
    Returns {
        /// The write that is read.
        source: u32,
        /// An own read of it.
        reader: u32,
        /// The read in between.
        between: u32,
    },
    /// A cycle within one level, found at the end; each node comes behind the next.
    Cycle(Vec<u32>),
    /// None was looked for: the budget is spent.
    Budget,
}

/// The saturation of one process; its memory serves one process after the other.
pub struct Scan<'a, R: Recorder> {
    trace: &'a Trace,
    base: &'a Base,
    budget: Budget<'a>,
    /// By node.
    pub levels: Vec<u32>,
    /// By node: the group that it is the source of.
    source_of: Vec<u32>,
    /// Levels from here on are those of processes before; the level of nothing yet.
    top: u32,
    /// The level of the beginning.
    bottom: u32,
    keys: Vec<KeySlot>,
    /// The groups, key by key in the order of the reads.
    pub groups: Vec<Group>,
    /// By key and process: the last write that came up since the last read of the key. It stands for those
    /// before it, where the base order has them before it; empty where it has not, or would be too large.
    latest: Vec<u32>,
    /// Lists of writes: node and the next entry.
    entries: Vec<(u32, u32)>,
    /// The floors of the own operations.
    floors: Vec<u32>,
    own: std::ops::Range<u32>,
    stack: Vec<(u32, R::Why)>,
    /// What is to be lowered, and how far.
    open: Vec<(u32, u32, R::Why)>,
    steps: usize,
    /// What is written down of the reasons.
    pub recorder: R,
}

type Step<W> = Result<(), Conflict<W>>;

impl<'a, R: Recorder> Scan<'a, R> {
    /// Memory for the processes of a trace.
    pub fn new(trace: &'a Trace, base: &'a Base, budget: Budget<'a>, recorder: R) -> Self {
        let table = trace.keys.saturating_mul(trace.processes());
        Self {
            trace,
            base,
            budget,
            levels: vec![ABOVE_ALL; base.nodes.len()],
            source_of: vec![NONE; base.nodes.len()],
            top: ABOVE_ALL,
            bottom: ABOVE_ALL,
            keys: vec![KeySlot::UNREAD; trace.keys],
            groups: Vec::new(),
            latest: if base.has_chains && table <= LARGEST_TABLE {
                vec![NONE; table]
            } else {
                Vec::new()
            },
            entries: Vec::new(),
            floors: Vec::new(),
            own: 0..0,
            stack: Vec::new(),
            open: Vec::new(),
            steps: 0,
            recorder,
        }
    }

    /// Saturates for one process.
    ///
    /// # Errors
    /// With what contradicts; cycles within a level are not looked for.
    pub fn run(&mut self, process: usize) -> Step<R::Why> {
        self.begin(process);
        let mut level = self.bottom;
        let mut writes_from = self.own.start;
        for place in self.own.clone() {
            if !self.trace.reads(place) {
                continue;
            }
            level += 2;
            if self.base.own == Own::Ordered {
                for write in writes_from..place {
                    if !self.trace.is_loose(write) && !self.trace.reads(write) {
                        self.push_pending(write);
                    }
                }
            }
            writes_from = place + 1;
            self.read(place, level)?;
        }
        Ok(())
    }

    fn begin(&mut self, process: usize) {
        for group in self.groups.drain(..).filter(|group| group.source < INITIAL) {
            self.source_of[group.source as usize] = NONE;
        }
        for place in self.own.clone() {
            self.keys[self.trace.key[place as usize] as usize] = KeySlot::UNREAD;
        }
        self.own = self.trace.places(process);
        self.entries.clear();
        self.latest.fill(NONE);
        self.open.clear();
        self.stack.clear();
        self.recorder.clear();
        self.set_levels();
        self.place_groups();
        self.set_floors();
    }

    /// Each process has lower levels than the one before, so that those need not be wiped out.
    fn set_levels(&mut self) {
        let room = 2 * self.own.len() as u32 + 4;
        self.top = self.bottom;
        if self.top <= room {
            self.levels.fill(ABOVE_ALL);
            self.top = ABOVE_ALL;
        }
        self.bottom = self.top - room;
    }

    /// Gives each key as much room for groups as it has reads.
    fn place_groups(&mut self) {
        let reads = || self.own.clone().filter(|place| self.trace.reads(*place));
        for place in reads() {
            let slot = &mut self.keys[self.trace.key[place as usize] as usize];
            *slot = KeySlot { pending: NONE, count: slot.count + 1, ..KeySlot::UNREAD };
        }
        let mut room = 0;
        for place in reads() {
            let slot = &mut self.keys[self.trace.key[place as usize] as usize];
            if slot.last_level == 0 {
                slot.start = room;
                room += std::mem::take(&mut slot.count);
                slot.last_level = self.bottom;
            }
        }
        let empty =
            Group { source: NONE, last: NONE, last_level: 0, members: NONE, is_tied: false };
        self.groups.resize(room as usize, empty);
    }

    /// The floor of an own operation is the lowest level that what comes behind it can have.
    fn set_floors(&mut self) {
        self.floors.clear();
        let mut read_level = self.bottom;
        for place in self.own.clone() {
            let (read, write) = (self.trace.reads(place), self.trace.writes(place));
            read_level += 2 * u32::from(read);
            self.floors.push(read_level + 2);
            let level = match (read, write) {
                (true, true) => read_level + 1,
                _ if self.base.own == Own::ReadsOrdered || self.trace.is_loose(place) => continue,
                (true, false) => read_level,
                (false, _) => read_level + 2,
            };
            self.levels[place as usize] = level;
        }
    }

    /// Whether the level of this own operation is given by its place in the program.
    fn is_fixed(&self, node: u32) -> bool {
        let ordered = self.base.own == Own::Ordered && !self.trace.is_loose(node);
        ordered || (self.trace.reads(node) && self.trace.writes(node))
    }

    /// A write has come up since the last read of its key.
    fn push_pending(&mut self, node: u32) {
        let key = self.trace.key[node as usize] as usize;
        let slot = &mut self.keys[key];
        if slot.pending == UNREAD {
            return;
        }
        if !self.latest.is_empty() && !self.trace.is_loose(node) {
            let process = self.trace.process[node as usize] as usize;
            let latest = &mut self.latest[key * self.trace.processes() + process];
            if *latest == NONE || *latest < node {
                *latest = node;
            }
            return;
        }
        self.entries.push((node, slot.pending));
        slot.pending = self.entries.len() as u32 - 1;
    }

    /// The next own read.
    fn read(&mut self, place: u32, level: u32) -> Step<R::Why> {
        let source = self.trace.source[place as usize];
        let Node { first, second, .. } = self.base.nodes[place as usize];
        for node in [source, first, second] {
            if node < INITIAL {
                let why = self.recorder.seed(place);
                self.lower(node, level, why)?;
            }
        }
        self.group(place, level, source)?;
        while let Some((node, target, why)) = self.open.pop() {
            self.lower(node, target, why)?;
            if self.steps >= STEPS_PER_LOOK {
                self.look()?;
            }
        }
        if self.trace.writes(place) {
            self.push_pending(place);
        }
        self.look()
    }

    fn look(&mut self) -> Step<R::Why> {
        self.steps += 1;
        if self.steps < STEPS_PER_LOOK {
            return Ok(());
        }
        self.steps = 0;
        if self.budget.is_spent() { Err(Conflict::Budget) } else { Ok(()) }
    }

    /// Puts a read into its group, and what was pending for its key too.
    fn group(&mut self, place: u32, level: u32, source: u32) -> Step<R::Why> {
        let key = self.trace.key[place as usize] as usize;
        let slot = self.group_for(place, source)?;
        self.groups[slot].last = place;
        self.groups[slot].last_level = level;
        self.keys[key].last_level = level;
        let mut entry = std::mem::replace(&mut self.keys[key].pending, NONE);
        while entry != NONE {
            let (node, next) = self.entries[entry as usize];
            self.entries[entry as usize].1 = self.groups[slot].members;
            self.groups[slot].members = entry;
            self.constrain(node, slot)?;
            entry = next;
        }
        if self.latest.is_empty() {
            return Ok(());
        }
        let processes = self.trace.processes();
        for at in key * processes..(key + 1) * processes {
            let node = std::mem::replace(&mut self.latest[at], NONE);
            if node != NONE {
                self.add_member(node, slot)?;
            }
        }
        Ok(())
    }

    /// The group that a read belongs to, a new one where its source is not the last read's.
    fn group_for(&mut self, place: u32, source: u32) -> Result<usize, Conflict<R::Why>> {
        let key = self.trace.key[place as usize] as usize;
        let KeySlot { start, count, .. } = self.keys[key];
        if let Some(last) = count.checked_sub(1).map(|last| self.groups[(start + last) as usize]) {
            if last.source == source {
                return Ok((start + count - 1) as usize);
            }
            if source == INITIAL {
                return Err(Conflict::NotInitial(place, last.source));
            }
            if self.levels[source as usize] <= last.last_level {
                return Err(Conflict::Returns { source, reader: place, between: last.last });
            }
        }
        let slot = (start + count) as usize;
        self.keys[key].count += 1;
        self.groups[slot].source = source;
        if source != INITIAL {
            self.source_of[source as usize] = slot as u32;
        }
        Ok(slot)
    }

    fn add_member(&mut self, node: u32, slot: usize) -> Step<R::Why> {
        self.entries.push((node, self.groups[slot].members));
        self.groups[slot].members = self.entries.len() as u32 - 1;
        self.constrain(node, slot)
    }

    /// A member of a group comes before the group's source.
    fn constrain(&mut self, node: u32, slot: usize) -> Step<R::Why> {
        let Group { source, last, .. } = self.groups[slot];
        if source == INITIAL {
            return Err(Conflict::NotInitial(last, node));
        }
        let (level, target) = (self.levels[node as usize], self.levels[source as usize]);
        if node == source || level < target {
            return Ok(());
        }
        self.groups[slot].is_tied = true;
        if level > target {
            let why = self.recorder.rule(last, source);
            self.open.push((node, target & !1, why));
        }
        Ok(())
    }

    /// The node, and all before it, has no higher level than this.
    fn lower(&mut self, node: u32, target: u32, why: R::Why) -> Step<R::Why> {
        let (mut node, mut why) = (node, why);
        loop {
            let mut next = NONE;
            if self.sink(node, target, why)? {
                let Node { first, second, .. } = self.base.nodes[node as usize];
                if second != NONE && self.levels[second as usize] > target
                    || self.own.contains(&second)
                {
                    self.stack.push((second, self.recorder.through(node, false)));
                }
                next = first;
            }
            if next != NONE {
                why = self.recorder.through(node, true);
                node = next;
            } else if let Some((popped, its_why)) = self.stack.pop() {
                (node, why) = (popped, its_why);
            } else {
                return Ok(());
            }
        }
    }

    /// Sets a node's level where it sinks; whether what is before it has to be looked at.
    fn sink(&mut self, node: u32, target: u32, why: R::Why) -> Result<bool, Conflict<R::Why>> {
        self.steps += 1;
        if self.own.contains(&node) && (self.base.own == Own::Ordered || self.is_fixed(node)) {
            if target < self.floors[(node - self.own.start) as usize] {
                return Err(Conflict::Sinks(node, why));
            }
            if self.is_fixed(node) {
                return Ok(false);
            }
        }
        let old = self.levels[node as usize];
        if old <= target {
            return Ok(false);
        }
        self.levels[node as usize] = target;
        self.recorder.record(node, target, why);
        let key = self.base.nodes[node as usize].key;
        if key != NONE {
            self.place_write(node, key, old, target)?;
        }
        Ok(true)
    }

    /// Puts a write whose level sank where it belongs among the groups of its key.
    fn place_write(&mut self, node: u32, key: u32, old: u32, level: u32) -> Step<R::Why> {
        let KeySlot { start, count, last_level, .. } = self.keys[key as usize];
        if level > last_level {
            if old >= self.top {
                self.push_pending(node);
            }
            return Ok(());
        }
        if count == 0 {
            return Ok(());
        }
        let groups = &self.groups[start as usize..(start + count) as usize];
        let slot = start as usize + groups.partition_point(|group| group.last_level < level);
        let own = self.source_of[node as usize];
        if own != NONE && slot != own as usize {
            let reader = self.groups[own as usize].last;
            let between = self.groups[own as usize - 1].last;
            return Err(Conflict::Returns { source: node, reader, between });
        }
        if own != NONE {
            return self.sink_members(own as usize);
        }
        // What was in this group before is a member, or a member stands for it.
        if old > self.groups[slot].last_level {
            return self.add_member(node, slot);
        }
        self.constrain(node, slot)
    }

    /// The source of a group sank: so do its members.
    fn sink_members(&mut self, slot: usize) -> Step<R::Why> {
        let mut entry = self.groups[slot].members;
        while entry != NONE {
            let (node, next) = self.entries[entry as usize];
            self.steps += 1;
            self.constrain(node, slot)?;
            entry = next;
        }
        Ok(())
    }

    /// The groups that have been filled, by the node they are the source of.
    pub fn group_of_source(&self, node: u32) -> Option<&Group> {
        match self.source_of[node as usize] {
            NONE => None,
            slot => Some(&self.groups[slot as usize]),
        }
    }

    /// The members of a group; some may have sunk into earlier groups since.
    pub fn members(&self, group: &Group) -> impl Iterator<Item = u32> {
        let mut entry = group.members;
        std::iter::from_fn(move || {
            let (node, next) = *self.entries.get(entry as usize)?;
            entry = next;
            Some(node)
        })
    }

    /// The base order's predecessors of a node.
    pub fn base_node(&self, node: u32) -> Node {
        self.base.nodes[node as usize]
    }
}
