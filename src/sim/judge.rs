//! The invariants: what must hold whatever happens, looked at as it happens and at the end.
//!
//! As it happens: replicas deliver the same write at every position (as far as neither has lost it again with
//! unsynced bytes), without gaps; a replica shows exactly what the writes it has delivered amount to, after
//! a restart or a transfer of state too. At the end: every acknowledged write was delivered once, everywhere,
//! no refused one was, and what was read is there.
//!
//! Where the mode promises sequential consistency the end also asks whether each client's operations fit
//! non-decreasing places in the agreed order: its writes where they were delivered, each read where its value
//! was current. The least place is always the best choice, so this takes one pass; given the order of
//! deliveries it is exactly sequential consistency.

use hashbrown::HashMap;

use super::client::key_name;
use super::verdict::Kind;
use super::world::World;
use crate::base::Timestamp;
use crate::history::Outcome;
use crate::node::Node;

/// Stands for a position at which nothing was written: where replicas have leaders, each begins with one.
const NOTHING: u32 = u32::MAX;

/// What one replica has delivered.
#[derive(Debug)]
struct Log {
    /// The write at each position.
    writes: Vec<u32>,
    /// What that amounts to, by key.
    values: Vec<Option<u32>>,
    /// What it will find on its disk is not known.
    down: bool,
}

/// What the invariants need to know.
#[derive(Debug)]
pub(super) struct Judge {
    logs: Vec<Log>,
    /// The longest order that any replica has had, for what comes by a transfer of state.
    longest: Vec<u32>,
    /// Which request writes a value.
    writers: HashMap<Box<[u8]>, u32, foldhash::fast::FixedState>,
}

impl Judge {
    pub fn new(replicas: u16, keys: u16) -> Self {
        let log = |_| Log { writes: Vec::new(), values: vec![None; usize::from(keys)], down: true };
        Self {
            logs: (0..replicas).map(log).collect(),
            longest: Vec::new(),
            writers: HashMap::default(),
        }
    }

    /// Notes that a request is to write this value.
    pub fn written(&mut self, value: &str, request: u32) {
        self.writers.insert(value.as_bytes().into(), request);
    }

    /// Which request writes this value.
    pub fn writer(&self, value: &[u8]) -> Option<u32> {
        self.writers.get(value).copied()
    }

    /// A replica is down; how much of its log its disk holds will be seen.
    pub fn down(&mut self, id: u16) {
        self.logs[usize::from(id)].down = true;
    }
}

impl World<'_> {
    /// A replica has delivered a write.
    pub fn delivered(&mut self, id: u16, position: u64, ts: Timestamp, value: &[u8]) {
        let Some(request) = self.judge.writer(value) else {
            return self.violate(Kind::ThinAir, || {
                format!("replica {id} delivers a value that nobody wrote")
            });
        };
        let asked = &self.requests[request as usize];
        self.recorder.delivered(self.now, id, position, ts, asked);
        let key = usize::from(asked.key);
        let log = &mut self.judge.logs[usize::from(id)];
        log.writes.push(request);
        log.values[key] = Some(request);
        self.follows(id, position, request);
    }

    /// A replica has delivered what changes nothing.
    pub fn delivered_nothing(&mut self, id: u16, position: u64) {
        self.judge.logs[usize::from(id)].writes.push(NOTHING);
        self.follows(id, position, NOTHING);
    }

    fn follows(&mut self, id: u16, position: u64, request: u32) {
        let log = &self.judge.logs[usize::from(id)];
        let expected = log.writes.len() as u64;
        if position != expected {
            return self.violate(Kind::Gap, || {
                format!("replica {id} delivers position {position}, expected {expected}")
            });
        }
        self.agree(id, log_index(position), request);
    }

    /// All replicas have the same write at a position.
    fn agree(&mut self, id: u16, at: usize, request: u32) {
        let longest = &mut self.judge.longest;
        match longest.get(at) {
            None => longest.push(request),
            Some(known) if *known == request => return,
            // What stood there has been lost again, or is in conflict with this.
            Some(_) => {
                longest.truncate(at);
                longest.push(request);
            }
        }
        let other =
            self.judge.logs.iter().position(|log| {
                !log.down && log.writes.get(at).is_some_and(|write| *write != request)
            });
        if let Some(other) = other {
            let theirs = self.judge.logs[other].writes[at];
            let (this, that) = (self.write_in_words(request), self.write_in_words(theirs));
            self.violate(Kind::Diverged, || {
                format!(
                    "at position {} replica {id} delivers {this}, and replica {other} {that}",
                    at + 1
                )
            });
        }
    }

    pub fn write_in_words(&self, request: u32) -> String {
        if request == NOTHING {
            return "nothing".to_owned();
        }
        let asked = &self.requests[request as usize];
        format!("{} = {}", key_name(asked.key), asked.write.as_deref().unwrap_or("?"))
    }

    /// A replica has started with what its disk held.
    pub fn restored(&mut self, id: u16, position: u64) {
        let log = &mut self.judge.logs[usize::from(id)];
        log.down = false;
        let had = log.writes.len() as u64;
        if position > had {
            return self.violate(Kind::Gap, || {
                format!("replica {id} starts at position {position}, and had delivered {had}")
            });
        }
        log.writes.truncate(position as usize);
        self.replay(id);
        let Some(running) = self.replicas[usize::from(id)].running.take() else { return };
        self.judge_contents(id, &running.node);
        self.replicas[usize::from(id)].running = Some(running);
    }

    /// A replica has taken over the state of another.
    pub fn judge_state(&mut self, id: u16, node: &Node<u32>) {
        let position = node.store().position() as usize;
        let log = &mut self.judge.logs[usize::from(id)];
        let has = log.writes.len();
        let Some(news) = self.judge.longest.get(has.min(position)..position) else {
            return self.violate(Kind::Gap, || {
                format!("replica {id} takes over position {position}, which nobody has delivered")
            });
        };
        log.writes.truncate(position);
        log.writes.extend_from_slice(news);
        for request in news {
            let at = log.writes.len() as u64;
            if *request != NOTHING {
                self.recorder.taken_over(self.now, id, at, &self.requests[*request as usize]);
            }
        }
        self.replay(id);
        self.judge_contents(id, node);
    }

    /// What a log amounts to, from its beginning.
    fn replay(&mut self, id: u16) {
        let log = &mut self.judge.logs[usize::from(id)];
        log.values.fill(None);
        for request in log.writes.iter().filter(|request| **request != NOTHING) {
            log.values[usize::from(self.requests[*request as usize].key)] = Some(*request);
        }
    }

    pub fn judge_contents(&mut self, id: u16, node: &Node<u32>) {
        for key in 0..self.keys {
            let found = node.store().table().get(key_name(key).as_bytes(), 0);
            let shows = found.map(|found| self.judge.writer(found.data).unwrap_or(u32::MAX));
            self.judge_read(id, key, shows);
        }
    }

    /// A replica shows what the writes that it has delivered amount to.
    pub fn judge_read(&mut self, id: u16, key: u16, shows: Option<u32>) {
        let expected = if self.mode.has_versions() {
            self.merged.shown(id, key)
        } else {
            self.judge.logs[usize::from(id)].values[usize::from(key)]
        };
        if shows == expected || self.broken.is_some() {
            return;
        }
        let words = |write: Option<u32>| match write {
            None => "nothing".to_owned(),
            Some(u32::MAX) => "a value that nobody wrote".to_owned(),
            Some(request) => self.write_in_words(request),
        };
        let (shows, expected) = (words(shows), words(expected));
        self.violate(Kind::Contents, || {
            format!("replica {id} shows {shows} where it has delivered {expected}")
        });
    }

    /// What must hold when all has healed and come to rest.
    pub fn look_at_the_end(&mut self) {
        for id in 0..self.replicas_count() {
            if self.judge.logs[usize::from(id)].writes != self.judge.logs[0].writes {
                self.violate(Kind::Diverged, || {
                    format!("replicas 0 and {id} have delivered different writes")
                });
            }
            if let Some(running) = self.replicas[usize::from(id)].running.take() {
                self.judge_contents(id, &running.node);
                self.replicas[usize::from(id)].running = Some(running);
            }
        }
        let order = std::mem::take(&mut self.judge.logs[0].writes);
        let mut place: Vec<Option<usize>> = vec![None; self.requests.len()];
        for (at, request) in order.iter().enumerate().filter(|(_, r)| **r != NOTHING) {
            if place[*request as usize].replace(at + 1).is_some() {
                let what = self.write_in_words(*request);
                self.violate(Kind::Twice, || format!("{what} is delivered twice"));
            }
        }
        self.look_at_outcomes(&place);
        let next = Next::of(&order, &self.requests, self.keys);
        match self.plan.mode.as_str() {
            "sequential" => self.look_at_clients(&next, &place),
            "linearizable" => self.look_at_times(&next, &place),
            _ => {}
        }
        self.judge.logs[0].writes = order;
    }

    fn look_at_outcomes(&mut self, place: &[Option<usize>]) {
        for request in 0..self.requests.len() as u32 {
            let asked = &self.requests[request as usize];
            let (outcome, read, is_write) = (asked.outcome, asked.read, asked.write.is_some());
            let there = place[request as usize].is_some();
            match (outcome, is_write) {
                (Some(Outcome::Ok), true) if !there => {
                    let what = self.write_in_words(request);
                    self.violate(Kind::Lost, || format!("{what} was acknowledged and is lost"));
                }
                (Some(Outcome::Fail), true) if there => {
                    let what = self.write_in_words(request);
                    self.violate(Kind::Refused, || format!("{what} was refused and is delivered"));
                }
                _ => {}
            }
            if let Some(Some(source)) = read
                && place[source as usize].is_none()
            {
                let what = self.write_in_words(source);
                self.violate(Kind::Lost, || format!("{what} was read and is lost"));
            }
        }
    }

    /// Whether each client's operations fit non-decreasing places in the order.
    fn look_at_clients(&mut self, next: &Next, place: &[Option<usize>]) {
        let mut reached: Vec<usize> = Vec::new();
        for request in 0..self.requests.len() {
            let asked = &self.requests[request];
            let process = self.recorder.process(asked.operation);
            reached.resize(reached.len().max(process + 1), 0);
            let (fits, least) = match (asked.read, asked.outcome) {
                (Some(source), _) => {
                    let written = source.map_or(Some(0), |write| place[write as usize]);
                    let from = written.unwrap_or(0);
                    let until = next.behind(from, asked.key);
                    let least = reached[process].max(from);
                    (least < until, least)
                }
                (None, outcome) => {
                    let Some(at) = place[request] else { continue };
                    let fits = at > reached[process];
                    (fits, if outcome == Some(Outcome::Ok) { at } else { reached[process] })
                }
            };
            if !fits {
                let what = self.request_in_words(request);
                return self.violate(Kind::ClientOrder, || {
                    format!("{what} when it had seen the order up to a later place")
                });
            }
            reached[process] = least;
        }
    }

    fn request_in_words(&mut self, request: usize) -> String {
        let asked = &self.requests[request];
        let process = self.recorder.process(asked.operation);
        let (name, key) = (self.recorder.process_name(process), key_name(asked.key));
        match (&asked.write, asked.read) {
            (Some(value), _) => format!("{name} writes {key} = {value}"),
            (None, Some(Some(write))) => format!("{name} reads {}", self.write_in_words(write)),
            (None, _) => format!("{name} reads no {key}"),
        }
    }

    /// Whether all operations fit places in the order such that what has ended before another is asked has no
    /// later place. Here, too, the least place is always the best choice; given the order of deliveries this is
    /// exactly linearizability.
    fn look_at_times(&mut self, next: &Next, place: &[Option<usize>]) {
        // Requests are numbered as they are asked.
        let mut ends: Vec<usize> = (0..self.requests.len()).collect();
        ends.sort_by_key(|request| self.requests[*request].ended_at);
        let mut ends = ends.into_iter().peekable();
        let mut least = vec![0; self.requests.len()];
        let mut reached = 0;
        for request in 0..self.requests.len() {
            let asked = &self.requests[request];
            while let Some(ended) =
                ends.next_if(|ended| self.requests[*ended].ended_at < asked.asked_at)
            {
                if self.requests[ended].outcome == Some(Outcome::Ok) {
                    reached = reached.max(least[ended]);
                }
            }
            let fits = match asked.read {
                Some(source) => {
                    let from = source.map_or(Some(0), |write| place[write as usize]).unwrap_or(0);
                    least[request] = reached.max(from);
                    least[request] < next.behind(from, asked.key)
                }
                None => {
                    least[request] = place[request].unwrap_or(0);
                    place[request].is_none_or(|at| at > reached)
                }
            };
            if !fits {
                let what = self.request_in_words(request);
                return self.violate(Kind::RealTime, || {
                    format!("{what}, asked after something of a later place had ended")
                });
            }
        }
    }
}

/// Behind each place of an order: where the same key is written next.
struct Next {
    next: Vec<usize>,
    first: Vec<usize>,
}

impl Next {
    fn of(order: &[u32], requests: &[super::client::Request], keys: u16) -> Self {
        let mut next = vec![usize::MAX; order.len() + 1];
        let mut first = vec![usize::MAX; usize::from(keys)];
        for (at, request) in order.iter().enumerate().rev().filter(|(_, r)| **r != NOTHING) {
            let key = usize::from(requests[*request as usize].key);
            next[at + 1] = std::mem::replace(&mut first[key], at + 1);
        }
        Self { next, first }
    }

    /// Up to which place a key holds what was written to it at this one; at 0 nothing is written yet.
    fn behind(&self, place: usize, key: u16) -> usize {
        if place == 0 { self.first[usize::from(key)] } else { self.next[place] }
    }
}

fn log_index(position: u64) -> usize {
    usize::try_from(position).unwrap_or(usize::MAX).saturating_sub(1)
}
