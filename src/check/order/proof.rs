//! Which operations a contradiction needs.
//!
//! The fast run of the saturation writes nothing down. Where it finds a conflict, the process is run once
//! more with a [`Log`]: every time a level sinks, the log gets an event with its reason, and a reason names
//! earlier events. From the conflict back through the reasons come the operations that it needs.
//! Program order needs only its two ends, so runs along it are skipped.

use hashbrown::HashSet;

use super::NONE;
use super::base::Base;
use super::saturate::{Conflict, Scan};

/// What is told about the reasons for which levels sink.
pub trait Recorder {
    /// A reason.
    type Why: Copy + std::fmt::Debug;
    /// A new process begins.
    fn clear(&mut self);
    /// The base order or reads-from puts it right before this own read.
    fn seed(&self, read: u32) -> Self::Why;
    /// It is the first (else the second) predecessor of this node, which has just sunk.
    fn through(&self, node: u32, first: bool) -> Self::Why;
    /// It is before this read, which reads this other write to the key.
    fn rule(&self, read: u32, source: u32) -> Self::Why;
    /// The level of this node sinks.
    fn record(&mut self, node: u32, level: u32, why: Self::Why);
}

/// Writes nothing down.
#[derive(Clone, Copy, Debug)]
pub struct Silent;

impl Recorder for Silent {
    type Why = ();
    fn clear(&mut self) {}
    fn seed(&self, _: u32) {}
    fn through(&self, _: u32, _: bool) {}
    fn rule(&self, _: u32, _: u32) {}
    fn record(&mut self, _: u32, _: u32, (): ()) {}
}

/// A reason, see [`Recorder`]; events are places in the log, or [`NONE`] where the order of *p*'s own program
/// is the reason.
#[derive(Clone, Copy, Debug)]
pub enum Reason {
    /// Right before this read.
    Seed(u32),
    /// A predecessor of the node of this event, by its first link or the second.
    Through(u32, bool),
    /// Before the read, which reads the source, which got its level by the event.
    Rule {
        /// The read.
        read: u32,
        /// The source.
        source: u32,
        /// Its event.
        event: u32,
    },
}

/// A level sank.
#[derive(Clone, Copy, Debug)]
struct Event {
    node: u32,
    why: Reason,
    /// The event before of the same node.
    before: u32,
}

/// Writes everything down.
#[derive(Clone, Debug)]
pub struct Log {
    events: Vec<Event>,
    latest: Vec<u32>,
}

impl Log {
    /// A log for this many nodes.
    pub fn new(nodes: usize) -> Self {
        Self { events: Vec::new(), latest: vec![NONE; nodes] }
    }
}

impl Recorder for Log {
    type Why = Reason;

    fn clear(&mut self) {
        self.events.clear();
        self.latest.fill(NONE);
    }

    fn seed(&self, read: u32) -> Reason {
        Reason::Seed(read)
    }

    fn through(&self, node: u32, first: bool) -> Reason {
        Reason::Through(self.latest[node as usize], first)
    }

    fn rule(&self, read: u32, source: u32) -> Reason {
        Reason::Rule { read, source, event: self.latest[source as usize] }
    }

    fn record(&mut self, node: u32, _: u32, why: Reason) {
        let before = std::mem::replace(&mut self.latest[node as usize], self.events.len() as u32);
        self.events.push(Event { node, why, before });
    }
}

/// Collects what a conflict needs.
struct Walk<'a> {
    log: &'a Log,
    base: &'a Base,
    found: Vec<u32>,
    open: Vec<u32>,
    seen: HashSet<u32, foldhash::fast::FixedState>,
}

impl Walk<'_> {
    fn node(&mut self, node: u32) {
        self.found.push(self.base.place(node));
    }

    /// The node is needed, and why it has its level now.
    fn latest(&mut self, node: u32) {
        self.node(node);
        self.open.push(self.log.latest[node as usize]);
    }

    /// A reason, of a node whose event before was this.
    fn reason(&mut self, why: Reason, before: u32) {
        match why {
            Reason::Seed(read) => self.node(read),
            Reason::Through(mut event, true) => {
                while let Reason::Through(next, true) = self.log.events[event as usize].why {
                    event = next;
                }
                self.open.push(event);
            }
            Reason::Through(event, false) => self.open.push(event),
            Reason::Rule { read, source, event } => {
                self.node(read);
                self.node(source);
                self.open.extend([event, before]);
            }
        }
    }

    fn finish(mut self) -> Vec<u32> {
        while let Some(index) = self.open.pop() {
            if index == NONE || !self.seen.insert(index) {
                continue;
            }
            let event = self.log.events[index as usize];
            self.node(event.node);
            self.reason(event.why, event.before);
        }
        self.found
    }
}

/// The operations that a conflict needs, without what they read from.
pub fn core(scan: &Scan<'_, Log>, base: &Base, conflict: &Conflict<Reason>) -> Vec<u32> {
    let mut walk = Walk {
        log: &scan.recorder,
        base,
        found: Vec::new(),
        open: Vec::new(),
        seen: HashSet::default(),
    };
    match conflict {
        Conflict::Sinks(node, why) => {
            walk.node(*node);
            walk.reason(*why, scan.recorder.latest[*node as usize]);
        }
        Conflict::NotInitial(read, node) => {
            walk.node(*read);
            walk.latest(*node);
        }
        Conflict::Returns { source, reader, between } => {
            walk.node(*reader);
            walk.node(*between);
            walk.latest(*source);
        }
        Conflict::Cycle(nodes) => {
            for (at, node) in nodes.iter().enumerate() {
                let next = nodes[(at + 1) % nodes.len()];
                walk.node(*node);
                let base = scan.base_node(next);
                if base.first == *node || base.second == *node {
                    continue;
                }
                // The member of a group, before its source.
                if let Some(group) = scan.group_of_source(next) {
                    walk.node(group.last);
                    walk.latest(*node);
                }
            }
        }
        Conflict::Budget => {}
    }
    walk.finish()
}
