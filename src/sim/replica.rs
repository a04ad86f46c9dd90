//! One replica: the production node and log on a disk in memory, and what its driver owes them.
//!
//! As in the runtime: frames leave before the log is written, except for the start of an incarnation; with
//! `always` the answers wait for the sync that covers them, and so do values that are read. A disk that
//! fails ends the replica, and nothing is answered from then on.

use std::time::Duration;

use super::client::Answer;
use super::link::Payload;
use super::plan::{MS, Sync};
use super::verdict::Kind;
use super::world::{Event, World};
use crate::base::{Now, ReplicaId};
use crate::node::{LogWrite, Node, NodeLog};
use crate::protocol::{Backlog, Recovered, ReplyAt, Setup, Tail};
use crate::storage::mem_disk::SyncUnderWay;
use crate::storage::record::{self, Body};
use crate::storage::{self, Finish, MemDisk, StorageError};
use crate::wire::peer::{Frame, Message};

/// How long after a write `batch` syncs it.
const BATCH_INTERVAL: u64 = 10 * MS;

/// The wall clocks' beginning, in milliseconds since 1970, far enough from it to jump back.
const EPOCH_MS: i64 = 1_000_000_000_000;

/// A replica, whether it runs or not.
pub(super) struct Replica {
    pub running: Option<Box<Running>>,
    pub disk: MemDisk,
    /// By how many faults it is held up, and what came meanwhile.
    pub paused: u32,
    pub inbox: Vec<Event>,
    /// By how much its wall clock is wrong.
    pub clock_error_ms: i64,
    /// How long it stays down when its disk fails, and as what its death counts.
    pub on_failure: Option<(u64, Death)>,
    /// What holds frames while they are received.
    pub frames: Vec<Frame>,
}

/// A sync that takes its time, and what it covers.
#[derive(Debug)]
struct Syncing {
    sync: SyncUnderWay,
    written: u64,
    position: u64,
}

/// One life of a replica.
pub(super) struct Running {
    pub node: Node<u32>,
    log: NodeLog<MemDisk>,
    pub life: u32,
    /// The position up to which all may be shown.
    pub durable: u64,
    syncing: Option<Syncing>,
    /// Whether something was written since the last sync began.
    dirty: bool,
    /// Answers and values that wait for a sync: behind which offset, and behind which position.
    pub deferred: Vec<(u64, u64, u32, Answer)>,
    /// Reads that wait until the store is known to be current, and those that need not any more.
    pub confirming: Vec<u32>,
    current: Vec<u32>,
    /// Up to where the log is synced.
    synced: u64,
    /// Requests that wait until the replica is live or readable.
    pub waiting: Vec<u32>,
    /// Links that the node wants cut, and why.
    cut: Vec<(ReplicaId, String)>,
    timer: u64,
}

/// How a replica dies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Death {
    /// The process ends; its system closes its connections.
    Killed,
    /// The machine is off; of the unsynced bytes so many percent stay.
    PowerLoss(u8),
    /// The process ends because a sync failed; what it was to cover is gone, if anything depends on syncs.
    SyncFailed,
}

impl Replica {
    pub fn new() -> Self {
        Self {
            running: None,
            disk: MemDisk::new(),
            paused: 0,
            inbox: Vec::new(),
            clock_error_ms: 0,
            on_failure: None,
            frames: Vec::new(),
        }
    }
}

impl World<'_> {
    /// Which life a replica lives; `None` while it is down.
    pub fn life(&self, id: u16) -> Option<u32> {
        self.replicas[usize::from(id)].running.as_ref().map(|running| running.life)
    }

    pub fn node(&self, id: u16) -> Option<&Node<u32>> {
        self.replicas[usize::from(id)].running.as_ref().map(|running| &running.node)
    }

    pub fn clocks(&self, id: u16) -> Now {
        let wall =
            EPOCH_MS + (self.now / MS) as i64 + self.replicas[usize::from(id)].clock_error_ms;
        Now { since_start: Duration::from_nanos(self.now), unix_ms: wall.max(0) as u64 }
    }

    pub fn on_start(&mut self, id: u16) {
        let at = usize::from(id);
        if self.replicas[at].running.is_some() {
            return;
        }
        let disk = self.replicas[at].disk.clone();
        let opened = match storage::open_as(disk, 7, self.mode.has_versions()) {
            Ok(opened) => opened,
            Err(error) => {
                return self
                    .violate(Kind::Damage, || format!("replica {id} cannot start: {error}"));
            }
        };
        self.sessions += 1;
        let life = self.sessions;
        let bring_back = self.duties.brings_back_pending;
        let noted = opened.pending.iter().filter(|_| bring_back);
        let pending = noted.filter_map(|(_, bytes)| Message::decode(bytes).ok()).collect();
        let setup = Setup {
            me: ReplicaId(id),
            replicas: self.replicas_count(),
            life: u64::from(life),
            write_delay: Duration::ZERO,
            remember_own: self.mode.reply_at == ReplyAt::Submission,
            backlog: Backlog::default(),
            tail: self.tail(),
            patience: Duration::from_millis(20),
            recovered: Recovered::default(),
        };
        let position = opened.store.position();
        let node = Node::new(self.mode, self.build, setup, opened.store, pending, opened.kept);
        self.replicas[at].running = Some(Box::new(Running {
            node,
            log: NodeLog::new(opened.log, 7),
            life,
            durable: position,
            syncing: None,
            dirty: false,
            deferred: Vec::new(),
            confirming: Vec::new(),
            current: Vec::new(),
            synced: 0,
            waiting: Vec::new(),
            cut: Vec::new(),
            timer: u64::MAX,
        }));
        self.recorder.started(self.now, id, position);
        if self.mode.has_versions() {
            self.restored_merged(id, position);
        } else {
            self.restored(id, position);
        }
        for peer in self.peers(id) {
            self.dial_at(id.max(peer), id.min(peer), self.now);
        }
        self.drive(id, |_, _| ());
    }

    /// In every second run a lagging replica soon has to fetch state.
    fn tail(&self) -> Tail {
        if self.plan.seed.is_multiple_of(2) {
            Tail { entries: 5, bytes: 4096 }
        } else {
            Tail::default()
        }
    }

    /// Ends a life.
    pub fn die(&mut self, id: u16, death: Death) {
        let at = usize::from(id);
        let Some(running) = self.replicas[at].running.take() else { return };
        self.recorder.died(self.now, id, death);
        self.judge.down(id);
        self.reset_clients(id, running.life);
        let replica = &mut self.replicas[at];
        replica.inbox.clear();
        replica.disk = match death {
            Death::PowerLoss(kept) => {
                let unsynced = replica.disk.file_len().saturating_sub(replica.disk.synced_len());
                replica.disk.restart(unsynced * usize::from(kept) / 100, true)
            }
            Death::SyncFailed if self.plan.sync == Sync::Always => replica.disk.restart(0, true),
            Death::Killed | Death::SyncFailed => replica.disk.after_kill(),
        };
        let off = matches!(death, Death::PowerLoss(_));
        for peer in self.peers(id) {
            let (session, sessions) = (self.link_mut(id, peer).session, self.sessions);
            self.link_mut(id, peer).forget();
            if off {
                if self.nemesis.one_in(2) {
                    self.link_mut(id, peer).severed = sessions;
                }
            } else if session != 0 {
                self.send(id, peer, session, Payload::Close);
            }
        }
    }

    pub fn on_timer(&mut self, id: u16, life: u32) {
        let now = self.now;
        let Some(running) = self.replicas[usize::from(id)].running.as_mut() else { return };
        if running.life != life || running.timer > now {
            return;
        }
        running.timer = u64::MAX;
        self.drive(id, |_, _| ());
    }

    /// Gives a node an input and carries out what follows from it.
    pub fn drive(&mut self, id: u16, input: impl FnOnce(&mut Node<u32>, Now)) {
        let Some(mut running) = self.replicas[usize::from(id)].running.take() else { return };
        let now = self.clocks(id);
        let (was_live, was_readable) = (running.node.not_live().is_none(), running.node.readable());
        input(&mut running.node, now);
        let mut alive = self.carry_out(id, &mut running, now);
        while let Ok(installed) = &mut alive {
            match installed.take() {
                Some(Ok(installed)) => {
                    running.node.installed(now, installed);
                    self.judge_state(id, &running.node);
                }
                Some(Err(why)) => running.node.install_failed(&why),
                None => {
                    let kept = self.kept(&running);
                    if !running.node.waits_for_kept(kept) {
                        break;
                    }
                    running.node.kept(kept);
                }
            }
            alive = self.carry_out(id, &mut running, now);
        }
        let cut = std::mem::take(&mut running.cut);
        self.mind_timer(id, &mut running);
        let wakes = !running.waiting.is_empty()
            && (was_live != running.node.not_live().is_none()
                || was_readable != running.node.readable());
        if wakes {
            self.schedule(self.now, Event::Wake { replica: id, life: running.life });
        }
        let current = std::mem::take(&mut running.current);
        self.replicas[usize::from(id)].running = Some(running);
        if let Err(error) = alive {
            return self.disk_failed(id, &error);
        }
        current.into_iter().for_each(|request| self.read(id, request));
        for (peer, why) in cut {
            self.recorder.cut(self.now, id, peer.0, &why);
            if !why.contains("silent") {
                self.violate(Kind::Protocol, || format!("replica {id} cut off {peer}: it {why}"));
            }
            self.hang_up(id, peer.0);
        }
    }

    /// Carries out one batch of effects; gives what came of an installation.
    fn carry_out(
        &mut self,
        id: u16,
        running: &mut Running,
        now: Now,
    ) -> Result<Option<crate::node::InstallResult>, StorageError> {
        let output = running.node.finish(now);
        let log_first = std::mem::take(&mut output.log_first);
        let log = std::mem::take(&mut output.log);
        let replies = std::mem::take(&mut output.replies);
        let serve = std::mem::take(&mut output.serve);
        let mut output_reads = std::mem::take(&mut output.reads);
        running.cut.append(&mut output.cut);
        for write in &log {
            if let LogWrite::Append(batch) = write {
                self.note_deliveries(id, &batch.bytes);
            }
        }
        if !log_first {
            self.send_frames(id, running);
        }
        let installed = self.write(id, running, log)?;
        self.send_frames(id, running);
        for (peer, fetch) in serve {
            let chunk = running.log.read_chunk(fetch, self.plan.chunk)?;
            let mut bytes = Vec::new();
            Frame::Chunk(chunk).encode(&mut bytes);
            self.send_bytes(id, peer.0, bytes);
        }
        let waits = self.plan.sync == Sync::Always && self.duties.answers_wait;
        for request in std::mem::take(&mut output_reads) {
            // One that has waited for too long has been refused.
            if let Some(at) = running.confirming.iter().position(|waits| *waits == request) {
                running.confirming.remove(at);
                running.current.push(request);
            }
        }
        for reply in replies {
            if self.mode.has_versions() {
                self.requests[reply.ticket as usize].version = Some(reply.version);
            }
            if waits && reply.after > running.synced {
                running.deferred.push((reply.after, 0, reply.ticket, Answer::Done));
                running.dirty = true;
            } else {
                self.answer(reply.ticket, Answer::Done);
            }
        }
        self.mind_sync(id, running);
        Ok(installed)
    }

    /// Up to where the log of a replica is kept as its policy wants it.
    fn kept(&self, running: &Running) -> u64 {
        let syncs = self.plan.sync == Sync::Always && self.duties.promises_wait;
        if syncs { running.synced } else { running.log.file.written() }
    }

    fn write(
        &mut self,
        id: u16,
        running: &mut Running,
        log: Vec<LogWrite>,
    ) -> Result<Option<crate::node::InstallResult>, StorageError> {
        let mut installed = None;
        for write in log {
            running.dirty = true;
            self.recorder.persisted(self.now, id, &write);
            installed = running.log.carry_out(write)?.or(installed);
        }
        if self.plan.sync != Sync::Always {
            running.durable = running.log.file.position();
        }
        Ok(installed)
    }

    fn send_frames(&mut self, id: u16, running: &mut Running) {
        for peer in self.peers(id) {
            let frames = running.node.frames_mut(ReplicaId(peer));
            if !frames.is_empty() {
                let bytes = std::mem::take(frames);
                self.send_bytes(id, peer, bytes);
            }
        }
    }

    fn send_bytes(&mut self, id: u16, peer: u16, bytes: Vec<u8>) {
        let session = self.link_mut(id, peer).session;
        if session != 0 {
            let message = self.recorder.sent(self.now, id, peer, || super::record::labels(&bytes));
            self.send(id, peer, session, Payload::Data { bytes, message });
        }
    }

    fn mind_timer(&mut self, id: u16, running: &mut Running) {
        let Some(deadline) = running.node.deadline() else { return };
        let at = u64::try_from(deadline.as_nanos()).unwrap_or(u64::MAX).max(self.now);
        if at < running.timer {
            running.timer = at;
            self.schedule(at, Event::Timer { replica: id, life: running.life });
        }
    }

    /// Begins a sync where one is due and none is under way.
    fn mind_sync(&mut self, id: u16, running: &mut Running) {
        let promised = self.plan.sync == Sync::Always && running.node.holds_promises();
        if !running.dirty && !promised || running.syncing.is_some() {
            return;
        }
        let takes = match self.plan.sync {
            Sync::Always => self.plan.sync_time,
            Sync::Batch => BATCH_INTERVAL,
            Sync::Os => return,
        };
        running.dirty = false;
        running.syncing = Some(Syncing {
            sync: self.replicas[usize::from(id)].disk.begin_sync(),
            written: running.log.file.written(),
            position: running.log.file.position(),
        });
        self.schedule(self.now + takes, Event::Synced { replica: id, life: running.life });
    }

    pub fn on_synced(&mut self, id: u16, life: u32) {
        let at = usize::from(id);
        let disk = self.replicas[at].disk.clone();
        let Some(mut running) = self.replicas[at].running.take_if(|r| r.life == life) else {
            return;
        };
        let result = running.syncing.take().map_or(Ok(()), |syncing| {
            disk.finish_sync(syncing.sync)?;
            running.durable = running.durable.max(syncing.position);
            running.synced = syncing.written;
            for (after, position, request, answer) in std::mem::take(&mut running.deferred) {
                if after <= syncing.written && position <= running.durable {
                    self.answer(request, answer);
                } else {
                    running.deferred.push((after, position, request, answer));
                }
            }
            Ok(())
        });
        self.mind_sync(id, &mut running);
        self.replicas[at].running = Some(running);
        match result {
            Ok(()) => {
                self.recorder.synced(self.now, id);
                if self.node(id).is_some_and(Node::holds_promises) {
                    self.drive(id, |_, _| ());
                }
            }
            Err(source) => {
                let path = "storage.txt".to_owned();
                self.disk_failed(id, &StorageError::Io { action: "sync", path, source });
            }
        }
    }

    /// The replica cannot go on; it is started again later.
    fn disk_failed(&mut self, id: u16, error: &StorageError) {
        let Some((down, death)) = self.replicas[usize::from(id)].on_failure.take() else {
            return self.violate(Kind::Damage, || format!("replica {id}: {error}"));
        };
        self.recorder.disk_failed(self.now, id, &error.to_string());
        self.die(id, death);
        self.schedule(self.now.saturating_add(down), Event::Start { replica: id });
    }

    /// What is delivered at a replica, read out of the lines that it writes.
    fn note_deliveries(&mut self, id: u16, lines: &[u8]) {
        for line in lines.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()) {
            match record::parse_line(line) {
                Ok(record) if !record.is_ordered() => {}
                Ok(record) if self.mode.has_versions() => self.merged(id, &record),
                Ok(record) if record.body == Body::Nothing => {
                    self.delivered_nothing(id, record.position);
                }
                Ok(record::Record {
                    body: Body::Set { data, .. }, position, timestamp, ..
                }) => {
                    self.delivered(id, position, timestamp, &data);
                }
                _ => self.violate(Kind::Damage, || {
                    format!("replica {id} writes a line that is no write of a client")
                }),
            }
        }
    }

    /// Whether the replica's file holds everything up to this position as safely as its policy wants.
    pub fn is_safe(&self, id: u16, position: u64) -> bool {
        let running = &self.replicas[usize::from(id)].running;
        running.as_ref().is_some_and(|r| r.durable >= position && r.node.status().live)
    }

    /// Compacts the file of a replica, at one instant.
    pub fn compact(&mut self, id: u16) {
        let Some(running) = self.replicas[usize::from(id)].running.as_mut() else { return };
        if running.log.is_installing() {
            return;
        }
        let mut steps = || {
            let mut compaction = running.log.file.begin_compaction()?;
            compaction.run(|records| Some(running.node.store().are_live(records)))?;
            running.node.store_mut().compaction_started();
            let finished = running.log.file.finish_compaction(compaction)?;
            let compacted = if let Finish::Done(done) = finished { Some(done) } else { None };
            running.node.store_mut().compaction_ended(compacted);
            Ok(())
        };
        let result: Result<(), StorageError> = steps();
        // A compaction that fails leaves the file as it is, unless the process dies in it.
        if let Err(error) = result {
            if self.replicas[usize::from(id)].disk.is_down() {
                self.disk_failed(id, &error);
            } else {
                self.recorder.disk_failed(self.now, id, &error.to_string());
            }
        }
    }
}
