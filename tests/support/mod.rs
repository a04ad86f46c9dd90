//! A deterministic driver of replicas: the production node, frames through the real encoder, disks in
//! memory, and links that move a frame only when the test says so.

// Each test uses its own part of this.
#![allow(dead_code)]

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use consistency_lab::base::{Now, Op, Outcome, ReplicaId};
use consistency_lab::node::{LogWrite, Node, NodeLog};
use consistency_lab::protocol::{self, Backlog, Mode, Recovered, Refusal, ReplyAt, Setup, Tail};
use consistency_lab::storage::{self, MemDisk};
use consistency_lab::wire::peer::{Frame, Message};

/// What happened, for whoever prints or checks it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Seen {
    /// A frame was put on a link.
    Sent(usize, usize, Frame),
    /// A client was answered.
    Answered(usize, u64, Outcome),
    /// A replica cut its link to another.
    Cut(usize, usize, String),
}

/// Small, so that transfers take several chunks.
const CHUNK_SIZE: usize = 100;

struct Replica {
    node: Node<u64>,
    log: NodeLog<MemDisk>,
}

/// Replicas, their disks, and the links between them.
pub struct Cluster {
    mode: &'static Mode,
    n: u16,
    delay: Duration,
    backlog: Backlog,
    /// Sync after every write, as `--sync always` does before it answers.
    pub synced: bool,
    pub now: Now,
    running: Vec<Option<Replica>>,
    disks: Vec<MemDisk>,
    wires: BTreeMap<(usize, usize), VecDeque<Frame>>,
    linked: BTreeSet<(usize, usize)>,
    pub seen: Vec<Seen>,
    next_ticket: u64,
    next_life: u64,
    /// The most bytes that one batch has written to a file.
    pub largest_batch: usize,
}

impl Cluster {
    /// A cluster of replicas that are not started.
    pub fn new(mode: &str, n: u16, delay: Duration, backlog: Backlog) -> Self {
        Self {
            mode: protocol::mode(mode).expect("a mode of the list"),
            n,
            delay,
            backlog,
            synced: false,
            now: Now { since_start: Duration::ZERO, unix_ms: 1_000_000 },
            running: (0..n).map(|_| None).collect(),
            disks: (0..n).map(|_| MemDisk::new()).collect(),
            wires: BTreeMap::new(),
            linked: BTreeSet::new(),
            seen: Vec::new(),
            next_ticket: 1,
            next_life: 1,
            largest_batch: 0,
        }
    }

    pub fn is_up(&self, i: usize) -> bool {
        self.running[i].is_some()
    }

    pub fn node(&self, i: usize) -> &Node<u64> {
        &self.running[i].as_ref().expect("a running replica").node
    }

    pub fn start(&mut self, i: usize) {
        self.trace(&format!("start {i}"));
        assert!(self.running[i].is_none(), "replica {i} runs already");
        let opened = storage::open(self.disks[i].clone(), 7).expect("an intact store");
        let pending = opened.pending.iter().map(|(_, b)| Message::decode(b).expect("a message"));
        let setup = Setup {
            me: ReplicaId(i as u16),
            replicas: self.n,
            life: self.next_life,
            write_delay: self.delay,
            remember_own: self.mode.reply_at == ReplyAt::Submission,
            backlog: self.backlog,
            tail: Tail::default(),
            patience: Duration::ZERO,
            recovered: Recovered::default(),
        };
        self.next_life += 1;
        let build = self.mode.build.expect("a mode that is built");
        let node = Node::new(self.mode, build, setup, opened.store, pending.collect(), opened.kept);
        self.running[i] = Some(Replica { node, log: NodeLog::new(opened.log, 7) });
        self.drive(i, |_, _| ());
    }

    /// kill -9: what was written stays.
    pub fn kill(&mut self, i: usize) {
        self.stop(i);
        self.disks[i] = self.disks[i].restart(usize::MAX, true);
    }

    /// The loss of power: of what was not synced, only the first bytes stay.
    pub fn lose_power(&mut self, i: usize, unsynced: usize) {
        self.stop(i);
        self.disks[i] = self.disks[i].restart(unsynced, true);
    }

    /// The disk is lost as well.
    pub fn wipe(&mut self, i: usize) {
        if self.running[i].is_some() {
            self.stop(i);
        }
        self.disks[i] = MemDisk::new();
    }

    /// With `TRACE=1`, says what happens as it happens.
    fn trace(&self, what: &str) {
        if std::env::var_os("TRACE").is_some() {
            eprintln!("{what}");
        }
    }

    fn stop(&mut self, i: usize) {
        self.trace(&format!("stop {i}"));
        for j in 0..self.running.len() {
            if j != i {
                self.cut(i, j);
            }
        }
        self.running[i] = None;
    }

    fn pair(i: usize, j: usize) -> (usize, usize) {
        (i.min(j), i.max(j))
    }

    pub fn is_linked(&self, i: usize, j: usize) -> bool {
        self.linked.contains(&Self::pair(i, j))
    }

    /// Brings a link up, if both ends run.
    pub fn link(&mut self, i: usize, j: usize) {
        if self.is_linked(i, j) || !self.is_up(i) || !self.is_up(j) {
            return;
        }
        self.linked.insert(Self::pair(i, j));
        self.trace(&format!("link {i} {j}"));
        self.drive(i, |node, now| node.connected(now, ReplicaId(j as u16)));
        self.drive(j, |node, now| node.connected(now, ReplicaId(i as u16)));
    }

    pub fn link_all(&mut self) {
        for i in 0..self.running.len() {
            for j in 0..i {
                self.link(j, i);
            }
        }
    }

    /// Takes a link down; what was on its way is lost.
    pub fn cut(&mut self, i: usize, j: usize) {
        if !self.linked.remove(&Self::pair(i, j)) {
            return;
        }
        self.trace(&format!("cut {i} {j}"));
        self.wires.remove(&(i, j));
        self.wires.remove(&(j, i));
        for (a, b) in [(i, j), (j, i)] {
            if self.is_up(a) {
                self.drive(a, |node, _| node.disconnected(ReplicaId(b as u16)));
            }
        }
    }

    /// A client's write; the ticket by which its answer will be known.
    pub fn submit(&mut self, i: usize, op: Op) -> Result<u64, Refusal> {
        let ticket = self.next_ticket;
        self.trace(&format!("submit {ticket} at {i}"));
        self.next_ticket += 1;
        self.drive(i, |node, now| node.submit(now, op, false, ticket)).map(|()| ticket)
    }

    pub fn read(&self, i: usize, key: &str) -> Option<String> {
        let found = self.node(i).store().table().get(key.as_bytes(), self.now.unix_ms)?;
        Some(String::from_utf8_lossy(found.data).into_owned())
    }

    /// Everything a replica holds, sorted.
    pub fn contents(&self, i: usize) -> Vec<(String, String)> {
        let table = self.node(i).store().table();
        let keys = table.keys_matching(b"*", self.now.unix_ms);
        let name = |key: &[u8]| String::from_utf8_lossy(key).into_owned();
        keys.iter().map(|k| (name(k), self.read(i, &name(k)).unwrap_or_default())).collect()
    }

    pub fn storage(&self, i: usize) -> String {
        String::from_utf8_lossy(&self.disks[i].contents()).into_owned()
    }

    /// The links on which frames wait, in order.
    pub fn busy(&self) -> Vec<(usize, usize)> {
        self.wires.iter().filter(|(_, q)| !q.is_empty()).map(|(link, _)| *link).collect()
    }

    /// Moves the next frame of a link to its receiver. `None` when there is none.
    pub fn step(&mut self, from: usize, to: usize) -> Option<Frame> {
        let frame = self.wires.get_mut(&(from, to))?.pop_front()?;
        let its = frame.clone();
        self.trace(&format!("{from} → {to}: {frame:?}"));
        self.drive(to, |node, now| node.receive(now, ReplicaId(from as u16), its));
        Some(frame)
    }

    /// Has bytes come from a peer that are not a whole frame yet.
    pub fn trickle(&mut self, from: usize, to: usize) {
        let peer = ReplicaId(from as u16);
        self.drive(to, |node, now| node.note_heard(peer, now.since_start));
    }

    /// Has a frame come that the sender's node never sent.
    pub fn inject(&mut self, from: usize, to: usize, frame: Frame) {
        self.drive(to, |node, now| node.receive(now, ReplicaId(from as u16), frame));
    }

    /// Moves frames, link by link in turn, until all is quiet.
    pub fn settle(&mut self) {
        for round in 0.. {
            assert!(round < 100_000, "the cluster does not come to rest");
            let mut busy = self.busy();
            if busy.is_empty() {
                // Acknowledgements that gather to go out together.
                self.advance(Duration::from_millis(1));
                busy = self.busy();
            }
            if busy.is_empty() {
                return;
            }
            for (from, to) in busy {
                self.step(from, to);
            }
        }
    }

    /// Lets time pass.
    pub fn advance(&mut self, time: Duration) {
        self.now.since_start += time;
        self.now.unix_ms += time.as_millis() as u64;
        for i in 0..self.running.len() {
            if self.is_up(i) {
                self.drive(i, |_, _| ());
            }
        }
    }

    fn drive<R>(&mut self, i: usize, input: impl FnOnce(&mut Node<u64>, Now) -> R) -> R {
        let now = self.now;
        let replica = self.running[i].as_mut().expect("a running replica");
        let result = input(&mut replica.node, now);
        self.carry_out(i);
        result
    }

    fn carry_out(&mut self, i: usize) {
        let replica = self.running[i].as_mut().expect("a running replica");
        let output = replica.node.finish(self.now);
        let log = std::mem::take(&mut output.log);
        let replies = std::mem::take(&mut output.replies);
        let serve = std::mem::take(&mut output.serve);
        let cut = std::mem::take(&mut output.cut);
        output.log_first = false;
        let mut installed = None;
        for write in log {
            if let LogWrite::Append(batch) = &write {
                self.largest_batch = self.largest_batch.max(batch.bytes.len());
            }
            let ended = replica.log.carry_out(write).expect("a disk that works");
            installed = ended.map(|state| state.expect("intact lines")).or(installed);
        }
        if self.synced {
            use consistency_lab::storage::Handle;
            replica.log.file.sync_handle().sync().expect("a disk that syncs");
        }
        for peer in (0..self.n).map(ReplicaId).filter(|peer| peer.index() != i) {
            let bytes = std::mem::take(replica.node.frames_mut(peer));
            if self.linked.contains(&Self::pair(i, peer.index())) {
                let wire = self.wires.entry((i, peer.index())).or_default();
                for frame in decode(&bytes) {
                    self.seen.push(Seen::Sent(i, peer.index(), frame.clone()));
                    wire.push_back(frame);
                }
            }
        }
        for (peer, fetch) in serve {
            let chunk =
                Frame::Chunk(replica.log.read_chunk(fetch, CHUNK_SIZE).expect("a disk that works"));
            self.seen.push(Seen::Sent(i, peer.index(), chunk.clone()));
            self.wires.entry((i, peer.index())).or_default().push_back(chunk);
        }
        for reply in replies {
            self.seen.push(Seen::Answered(i, reply.ticket, reply.outcome));
        }
        if let Some(installed) = installed {
            self.drive(i, |node, now| node.installed(now, installed));
        }
        for (peer, why) in cut {
            self.seen.push(Seen::Cut(i, peer.index(), why));
            self.cut(i, peer.index());
        }
    }
}

fn decode(mut bytes: &[u8]) -> Vec<Frame> {
    let mut frames = Vec::new();
    while let Some((frame, used)) = Frame::decode(bytes).expect("own frames decode") {
        frames.push(frame);
        bytes = &bytes[used..];
    }
    assert!(bytes.is_empty(), "half a frame was sent");
    frames
}
