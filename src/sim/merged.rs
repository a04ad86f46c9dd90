//! The invariants where replicas have no one order: each key holds its latest version, and in the end all have all.
//!
//! As it happens: a replica never replaces a version by an earlier one, and shows exactly the latest of the writes
//! that it has executed, after a restart or a transfer of state too. In causal mode it executes no write before all
//! that the write's replica had executed; a session never reads an older version than it has written or read, at
//! whatever replica. At the end: all replicas have the same clock and
//! show the same; every acknowledged write is known everywhere, no refused one is; and of each key the latest write
//! that anybody has executed is what all show.

use std::collections::BTreeMap;

use super::client::key_name;
use super::verdict::Kind;
use super::world::World;
use crate::base::{Timestamp, VectorClock};
use crate::history::{OpId, Outcome};
use crate::protocol::Reads;
use crate::storage::record::{Body, Record};

/// What a replica shows of a key: the version, and the request that wrote it.
type Shown = Option<(Timestamp, u32)>;

/// What one replica has executed.
#[derive(Debug)]
struct Executed {
    /// Each write, and what entry it has put, if any.
    lines: Vec<Line>,
    /// What that amounts to, by key.
    values: Vec<Shown>,
    /// The latest write of each replica.
    clock: VectorClock,
    /// The writes of an operation whose last line has not come yet.
    group: Vec<Timestamp>,
}

/// A line about a write.
#[derive(Clone, Copy, Debug)]
struct Line {
    position: u64,
    version: Timestamp,
    /// The key and the request, where an entry was put.
    put: Option<(usize, u32)>,
}

impl Executed {
    fn add(&mut self, line: Line) {
        self.clock.observe(line.version);
        if let Some((key, request)) = line.put {
            let shown = &mut self.values[key];
            if shown.is_none_or(|(old, _)| line.version > old) {
                *shown = Some((line.version, request));
            }
        }
        self.lines.push(line);
    }
}

/// What the invariants need to know.
#[derive(Debug)]
pub(super) struct Merged {
    replicas: Vec<Executed>,
    /// Which request each write is.
    writes: BTreeMap<Timestamp, u32>,
    /// What the replica of a write had executed when it took it.
    needs: BTreeMap<Timestamp, VectorClock>,
}

impl Merged {
    pub fn new(replicas: u16, keys: u16) -> Self {
        let executed = |_| Executed {
            lines: Vec::new(),
            values: vec![None; usize::from(keys)],
            clock: VectorClock::new(),
            group: Vec::new(),
        };
        Self {
            replicas: (0..replicas).map(executed).collect(),
            writes: BTreeMap::new(),
            needs: BTreeMap::new(),
        }
    }
}

impl Merged {
    /// Which request wrote what a replica shows of a key, if anything is shown.
    pub fn shown(&self, id: u16, key: u16) -> Option<u32> {
        self.replicas[usize::from(id)].values[usize::from(key)].map(|(_, request)| request)
    }
}

impl World<'_> {
    /// A replica writes a line about an operation that it has executed.
    pub fn merged(&mut self, id: u16, record: &Record<'_>) {
        let put = match &record.body {
            // What all have is forgotten.
            Body::Delete { .. } => return,
            // A write that takes no effect.
            Body::Nothing => None,
            Body::Set { data, .. } => match self.judge.writer(data) {
                Some(request) => Some((usize::from(self.requests[request as usize].key), request)),
                None => {
                    return self.violate(Kind::ThinAir, || {
                        format!("replica {id} delivers a value that nobody wrote")
                    });
                }
            },
            _ => {
                return self.violate(Kind::Damage, || {
                    format!("replica {id} writes a line that is no write of a client")
                });
            }
        };
        let (position, version) = (record.position, record.timestamp);
        if let Some((key, request)) = put {
            let asked = &self.requests[request as usize];
            self.recorder.delivered(self.now, id, position, version, asked);
            self.judge_version(id, key, version, request);
        }
        let executed = &mut self.merged.replicas[usize::from(id)];
        if version.replica.0 == id && !executed.clock.has(version) {
            self.merged.needs.insert(version, executed.clock.clone());
        }
        if !executed.clock.has(version) {
            executed.group.push(version);
        }
        executed.add(Line { position, version, put });
        if !record.more {
            self.judge_needs(id);
        }
    }

    /// An entry comes from one write, and never takes the place of a later one.
    fn judge_version(&mut self, id: u16, key: usize, version: Timestamp, request: u32) {
        let known = *self.merged.writes.entry(version).or_insert(request);
        if known != request {
            let (this, that) = (self.write_in_words(request), self.write_in_words(known));
            self.violate(Kind::Diverged, || format!("{this} and {that} are both write {version}"));
        }
        let old = self.merged.replicas[usize::from(id)].values[key];
        if let Some((old, before)) = old.filter(|(old, _)| *old > version) {
            let (this, that) = (self.write_in_words(request), self.write_in_words(before));
            self.violate(Kind::Contents, || {
                format!("replica {id} replaces {that} (write {old}) by {this} (write {version})")
            });
        }
    }

    /// What an operation brings depends on nothing that is not executed.
    fn judge_needs(&mut self, id: u16) {
        let merged = &mut self.merged;
        let executed = &mut merged.replicas[usize::from(id)];
        let group = std::mem::take(&mut executed.group);
        if self.mode.reads == Reads::Seen {
            return;
        }
        let missing = group.into_iter().find_map(|version| {
            let needs = merged.needs.get(&version)?;
            Some((version, needs.iter().find(|need| !executed.clock.has(*need))?))
        });
        if let Some((version, need)) = missing {
            self.violate(Kind::ClientOrder, || {
                format!(
                    "replica {id} executes write {version} before write {need}, which it depends on"
                )
            });
        }
    }

    /// A session has heard the answer to a request: it never sees an older version than it has written or read.
    pub fn judge_session(&mut self, client: u32, request: u32) {
        let asked = &self.requests[request as usize];
        let (key, version) = (asked.key, asked.version.unwrap_or(Timestamp::ZERO));
        let latest = self.clients[client as usize].latest.entry(key).or_default();
        let before = std::mem::replace(latest, version.max(*latest));
        if version < before {
            self.violate(Kind::ClientOrder, || {
                format!("c{client} reads write {version} of {} behind {before}", key_name(key))
            });
        }
    }

    /// The operations of all writes, in the order of their versions.
    pub fn versions(&self) -> Vec<OpId> {
        let writes = self.merged.writes.values();
        writes.map(|request| self.requests[*request as usize].operation).collect()
    }

    /// A replica has started with what its disk held.
    pub fn restored_merged(&mut self, id: u16, position: u64) {
        let executed = &mut self.merged.replicas[usize::from(id)];
        let (kept, gone): (Vec<_>, Vec<_>) =
            executed.lines.drain(..).partition(|line| line.position <= position);
        executed.values.fill(None);
        (executed.clock, executed.group) = (VectorClock::new(), Vec::new());
        kept.into_iter().for_each(|line| executed.add(line));
        // Own writes that were never on the disk have never left the replica: their timestamps are free again.
        for version in gone.into_iter().map(|line| line.version).filter(|v| v.replica.0 == id) {
            if !self.merged.replicas.iter().any(|executed| executed.clock.has(version)) {
                self.merged.writes.remove(&version);
                self.merged.needs.remove(&version);
            }
        }
        let Some(running) = self.replicas[usize::from(id)].running.take() else { return };
        self.judge_contents(id, &running.node);
        self.replicas[usize::from(id)].running = Some(running);
    }

    /// What must hold when all has healed and come to rest.
    pub fn look_at_the_merged_end(&mut self) {
        let mut known = VectorClock::new();
        for id in 0..self.replicas_count() {
            let Some(running) = self.replicas[usize::from(id)].running.take() else { continue };
            known.merge(&running.node.clock());
            self.judge_contents(id, &running.node);
            self.replicas[usize::from(id)].running = Some(running);
        }
        for key in 0..usize::from(self.keys) {
            let shown = |executed: &Executed| executed.values[key];
            let latest = self.merged.replicas.iter().filter_map(shown).max();
            let lags = self.merged.replicas.iter().position(|executed| shown(executed) != latest);
            if let Some((id, (version, request))) = lags.zip(latest) {
                let latest = self.write_in_words(request);
                self.violate(Kind::Diverged, || {
                    format!("replica {id} does not show {latest} (write {version}) in the end")
                });
            }
        }
        self.look_at_merged_outcomes(&known);
    }

    fn look_at_merged_outcomes(&mut self, known: &VectorClock) {
        let executed: std::collections::BTreeSet<u32> =
            self.merged.writes.values().copied().collect();
        for request in 0..self.requests.len() as u32 {
            let asked = &self.requests[request as usize];
            let is_known = asked.version.is_none_or(|ts| known.has(ts));
            let (outcome, is_write) = (asked.outcome, asked.write.is_some());
            if outcome == Some(Outcome::Ok) && !is_known {
                let what = self.write_in_words(request);
                self.violate(Kind::Lost, || format!("{what} was acknowledged and is lost"));
            }
            if outcome == Some(Outcome::Fail) && is_write && executed.contains(&request) {
                let what = self.write_in_words(request);
                self.violate(Kind::Refused, || format!("{what} was refused and is delivered"));
            }
        }
    }
}
