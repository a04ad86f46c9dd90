//! A few replicas and clients in virtual time, and everything that passes between them: for pictures and
//! texts that are true, because the nodes are those that `servers` runs.
//!
//! One thread, one queue of things to come, ordered by the time at which they come. Each link takes the
//! same time for every frame, so links are FIFO; frames go through the real encoder and decoder, and
//! records into a `storage.txt` in memory. The replicas start, find each other, and get `x = 0` before the
//! trace begins. Nothing fails here: this is for showing, the tests have drivers that break things.
//!
//! Cost: O(log e) an event with e events ahead.

use std::collections::BTreeMap;
use std::time::Duration;

use thiserror::Error;

use crate::base::{Now, Op, Outcome, ReplicaId, StoreRule, Timestamp, Value};
use crate::node::{LogWrite, Node};
use crate::protocol::{Backlog, Mode, Recovered, Refusal, ReplyAt, Setup, Tail};
use crate::storage::{self, LogFile, MemDisk, StorageError};
use crate::wire::peer::{Frame, FrameError};

/// The key that everyone writes and reads.
pub const KEY: &str = "x";

/// Its value before the trace begins.
pub const INITIAL: &str = "0";

/// The most events of a trace; a run that goes on for longer is not a picture any more.
const MAX_EVENTS: usize = 100_000;

/// What a client asks of a replica.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ask {
    /// `set x VALUE`.
    Set(&'static str),
    /// `get x`.
    Get,
}

/// A client that asks one replica one thing after the other.
#[derive(Clone, Debug)]
pub struct Script {
    /// The replica.
    pub replica: usize,
    /// Each with the time before which it is not asked.
    pub asks: Vec<(Duration, Ask)>,
}

/// How long everything takes.
#[derive(Clone, Debug)]
pub struct World {
    /// From a client to its replica, and back.
    pub client_delay: Duration,
    /// How long a client waits between an answer and what it asks next.
    pub think_time: Duration,
    /// From each replica to each other, by replica; the table's size is the number of replicas.
    pub link_delays: Vec<Vec<Duration>>,
    /// How long a write that could be delivered waits before it is.
    pub write_delay: Duration,
}

impl World {
    /// `replicas` that are all `delay` apart.
    pub fn even(replicas: usize, delay: Duration, write_delay: Duration) -> Self {
        Self {
            client_delay: delay,
            think_time: delay,
            link_delays: vec![vec![delay; replicas]; replicas],
            write_delay,
        }
    }
}

/// What happened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum What {
    /// A client asked a replica.
    Asked(Ask),
    /// A replica answered a client, with these words.
    Answered(Ask, String),
    /// A replica sent a frame to this other one.
    Sent(usize, Frame),
    /// A replica delivered a write; the key has this value there now.
    Delivered(Timestamp, String),
}

/// One thing that happened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Happening {
    /// When it began: a message left, a write was delivered.
    pub at: Duration,
    /// When it had reached whom it was for.
    pub arrives: Duration,
    /// The replica that it happened at, or that was asked.
    pub replica: usize,
    /// The client, where there is one.
    pub client: Option<usize>,
    /// What it was.
    pub what: What,
}

/// Why there is no trace.
#[derive(Debug, Error)]
pub enum TraceError {
    /// The mode is not built.
    #[error("consistency mode {0} is not built yet")]
    NotBuilt(&'static str),
    /// The disk in memory refused.
    #[error(transparent)]
    Storage(#[from] StorageError),
    /// A write was refused.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// A frame that a node encoded does not decode.
    #[error("a frame of replica {0} does not decode: {1}")]
    Frame(usize, FrameError),
    /// Something that only happens where something fails.
    #[error("replica {0}: expected a run without failures, found {1}")]
    Failure(usize, String),
    /// It did not end.
    #[error("the trace did not come to rest within {MAX_EVENTS} events")]
    Endless,
}

/// Runs the clients against replicas of this mode until all have their answers and all is delivered.
///
/// # Errors
/// A mode that is not built; anything else is an error of this program.
pub fn trace(
    mode: &'static Mode,
    world: &World,
    scripts: &[Script],
) -> Result<Vec<Happening>, TraceError> {
    let mut run = Run::new(mode, world, scripts)?;
    run.join()?;
    run.begin = run.now;
    run.recording = true;
    for client in 0..scripts.len() {
        run.ask_next(client, Duration::ZERO);
    }
    run.until_quiet()?;
    // Begun first stands first; what began at one time stays in the order of causes.
    run.happenings.sort_by_key(|happening| happening.at);
    Ok(run.happenings)
}

/// Whom a client is known by at a node; `None` is the initial value.
type Ticket = Option<usize>;

/// Something to come.
enum Next {
    Frame { from: usize, frame: Frame },
    Ask { client: usize, ask: Ask },
    Answer { client: usize },
}

struct Replica {
    node: Node<Ticket>,
    log: LogFile<MemDisk>,
}

struct Run<'a> {
    world: &'a World,
    scripts: &'a [Script],
    /// How many asks of each client have been sent, and which is under way.
    asked: Vec<usize>,
    replicas: Vec<Replica>,
    now: Duration,
    /// The trace's own zero.
    begin: Duration,
    recording: bool,
    /// By time, and by order where times are equal.
    ahead: BTreeMap<(Duration, usize), (usize, Next)>,
    count: usize,
    happenings: Vec<Happening>,
}

impl<'a> Run<'a> {
    fn new(
        mode: &'static Mode,
        world: &'a World,
        scripts: &'a [Script],
    ) -> Result<Self, TraceError> {
        let build = mode.build.ok_or(TraceError::NotBuilt(mode.name))?;
        let replica = |me: u16, replicas: u16| {
            let opened = storage::open_as(MemDisk::new(), 0, mode.has_versions())?;
            let setup = Setup {
                me: ReplicaId(me),
                replicas,
                life: u64::from(me) + 1,
                write_delay: world.write_delay,
                remember_own: mode.reply_at == ReplyAt::Submission,
                backlog: Backlog::default(),
                tail: Tail::default(),
                recovered: Recovered::default(),
            };
            let node = Node::new(mode, build, setup, opened.store, Vec::new(), opened.kept);
            Ok(Replica { node, log: opened.log })
        };
        let n = world.link_delays.len() as u16;
        Ok(Self {
            world,
            scripts,
            asked: vec![0; scripts.len()],
            replicas: (0..n).map(|me| replica(me, n)).collect::<Result<_, TraceError>>()?,
            now: Duration::ZERO,
            begin: Duration::ZERO,
            recording: false,
            ahead: BTreeMap::new(),
            count: 0,
            happenings: Vec::new(),
        })
    }

    /// Brings all links up, and the initial value into all stores.
    fn join(&mut self) -> Result<(), TraceError> {
        for i in 0..self.replicas.len() {
            for j in (0..self.replicas.len()).filter(|j| *j != i) {
                self.drive(i, |node, now| {
                    node.connected(now, ReplicaId(j as u16));
                    Ok(())
                })?;
            }
        }
        self.until_quiet()?;
        self.drive(0, |node, now| Ok(node.submit(now, set(INITIAL), true, None)?))?;
        self.until_quiet()
    }

    fn until_quiet(&mut self) -> Result<(), TraceError> {
        while let Some(time) = self.next_time() {
            self.count += 1;
            if self.count > MAX_EVENTS {
                return Err(TraceError::Endless);
            }
            self.now = self.now.max(time);
            match self.ahead.first_entry() {
                Some(first) if first.key().0 <= self.now => {
                    let (at, next) = first.remove();
                    self.come(at, next)?;
                }
                // Nothing comes; a deadline has passed.
                _ => {
                    for i in 0..self.replicas.len() {
                        self.drive(i, |_, _| Ok(()))?;
                    }
                }
            }
        }
        Ok(())
    }

    /// When something happens next; `None` when nothing is under way any more.
    fn next_time(&self) -> Option<Duration> {
        let queued = self.ahead.keys().next().map(|(time, _)| *time);
        let pending = self.replicas.iter().any(|r| r.node.status().pending > 0);
        // Deadlines go on for ever (heartbeats), so they count only while something waits for one.
        let deadlines = self.replicas.iter().filter_map(|r| r.node.deadline());
        let deadline = pending.then(|| deadlines.min()).flatten();
        [queued, deadline].into_iter().flatten().min()
    }

    fn come(&mut self, at: usize, next: Next) -> Result<(), TraceError> {
        match next {
            Next::Frame { from, frame } => self.drive(at, |node, now| {
                node.receive(now, ReplicaId(from as u16), frame);
                Ok(())
            }),
            Next::Ask { client, ask: Ask::Set(value) } => {
                self.drive(at, |node, now| Ok(node.submit(now, set(value), false, Some(client))?))
            }
            Next::Ask { client, ask: Ask::Get } => {
                let found = self.value(at);
                self.answer(client, found);
                Ok(())
            }
            Next::Answer { client } => {
                self.ask_next(client, self.world.think_time);
                Ok(())
            }
        }
    }

    fn value(&self, at: usize) -> String {
        let table = self.replicas[at].node.store().table();
        let found = table.get(KEY.as_bytes(), unix_ms(self.now));
        found.map_or("nothing".to_owned(), |f| String::from_utf8_lossy(f.data).into_owned())
    }

    fn ask_next(&mut self, client: usize, think: Duration) {
        let script = &self.scripts[client];
        let Some((earliest, ask)) = script.asks.get(self.asked[client]).copied() else { return };
        self.asked[client] += 1;
        let at = (self.now + think).max(self.begin + earliest);
        let arrives = at + self.world.client_delay;
        self.record(at, arrives, script.replica, Some(client), What::Asked(ask));
        self.schedule(arrives, script.replica, Next::Ask { client, ask });
    }

    fn answer(&mut self, client: usize, words: String) {
        let script = &self.scripts[client];
        let Some((_, ask)) = script.asks.get(self.asked[client] - 1).copied() else { return };
        let arrives = self.now + self.world.client_delay;
        self.record(self.now, arrives, script.replica, Some(client), What::Answered(ask, words));
        self.schedule(arrives, script.replica, Next::Answer { client });
    }

    fn schedule(&mut self, at: Duration, replica: usize, next: Next) {
        self.count += 1;
        self.ahead.insert((at, self.count), (replica, next));
    }

    fn record(
        &mut self,
        at: Duration,
        arrives: Duration,
        replica: usize,
        client: Option<usize>,
        what: What,
    ) {
        if self.recording {
            let (at, arrives) = (at - self.begin, arrives - self.begin);
            self.happenings.push(Happening { at, arrives, replica, client, what });
        }
    }

    /// Gives a node an input and carries out what follows from it.
    fn drive(
        &mut self,
        i: usize,
        input: impl FnOnce(&mut Node<Ticket>, Now) -> Result<(), TraceError>,
    ) -> Result<(), TraceError> {
        let now = Now { since_start: self.now, unix_ms: unix_ms(self.now) };
        let replica = &mut self.replicas[i];
        let position = replica.node.store().position();
        input(&mut replica.node, now)?;
        let output = replica.node.finish(now);
        let log = std::mem::take(&mut output.log);
        let replies = std::mem::take(&mut output.replies);
        if let Some((peer, why)) = output.cut.first() {
            return Err(TraceError::Failure(i, format!("the link to {peer} cut: {why}")));
        }
        for write in log {
            match write {
                LogWrite::Append(batch) => replica.log.write(&batch)?,
                LogWrite::Install(step) => {
                    return Err(TraceError::Failure(i, format!("a transfer of state: {step:?}")));
                }
            }
        }
        let (last, delivered) = (replica.node.store().last(), replica.node.store().position());
        for peer in (0..self.replicas.len()).filter(|j| *j != i) {
            self.send(i, peer)?;
        }
        if delivered > position {
            let value = self.value(i);
            self.record(self.now, self.now, i, None, What::Delivered(last, value));
        }
        for reply in replies {
            if let Some(client) = reply.ticket {
                self.answer(client, words(reply.outcome));
            }
        }
        Ok(())
    }

    fn send(&mut self, from: usize, to: usize) -> Result<(), TraceError> {
        let bytes = std::mem::take(self.replicas[from].node.frames_mut(ReplicaId(to as u16)));
        let mut rest = &bytes[..];
        let arrives = self.now + self.world.link_delays[from][to];
        let wrong = |error| TraceError::Frame(from, error);
        while let Some((frame, used)) = Frame::decode(rest).map_err(wrong)? {
            rest = &rest[used..];
            self.record(self.now, arrives, from, None, What::Sent(to, frame.clone()));
            self.schedule(arrives, to, Next::Frame { from, frame });
        }
        Ok(())
    }
}

/// The wall clock of the virtual world, which begins in 1970.
fn unix_ms(now: Duration) -> u64 {
    u64::try_from(now.as_millis()).unwrap_or(u64::MAX)
}

fn set(value: &str) -> Op {
    Op::Store {
        key: KEY.as_bytes().into(),
        value: Value { data: value.as_bytes().into(), ..Value::default() },
        rule: StoreRule::Always,
    }
}

/// What memcached's protocol answers.
fn words(outcome: Outcome) -> String {
    match outcome {
        Outcome::Stored => "STORED".to_owned(),
        other => format!("{other:?}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::labs::compared_modes;

    const HOP: Duration = Duration::from_millis(2);

    fn run(mode: &'static Mode) -> Vec<Happening> {
        let asks = vec![(Duration::ZERO, Ask::Set("42")), (Duration::ZERO, Ask::Get)];
        let world = World { client_delay: HOP / 4, ..World::even(3, HOP, Duration::ZERO) };
        trace(mode, &world, &[Script { replica: 0, asks }]).expect("a trace")
    }

    /// The costs that the header of `protocol::total_order` states.
    #[test]
    fn a_write_costs_two_messages_and_four_acknowledgements_and_two_hops() {
        for mode in compared_modes() {
            let happenings = run(mode);
            let sent = |kind: fn(&Frame) -> bool| {
                let is = |h: &&Happening| matches!(&h.what, What::Sent(_, frame) if kind(frame));
                happenings.iter().filter(is).count()
            };
            assert_eq!(sent(|frame| matches!(frame, Frame::Write(_))), 2, "{mode:?}");
            assert_eq!(sent(|frame| matches!(frame, Frame::Ack { .. })), 4, "{mode:?}");
            let delivered: Vec<(usize, Duration)> = happenings
                .iter()
                .filter(|h| matches!(&h.what, What::Delivered(_, value) if value == "42"))
                .map(|h| (h.replica, h.at))
                .collect();
            assert_eq!(delivered.len(), 3, "{mode:?}");
            assert_eq!(delivered[0], (0, HOP / 4 + HOP * 2), "{mode:?}: the origin first");
        }
    }

    #[test]
    fn the_modes_differ_in_when_the_write_is_answered_and_what_is_read_then() {
        let answers = compared_modes().map(|mode| {
            let answer = |h: Happening| match h.what {
                What::Answered(_, words) => Some((h.arrives, words)),
                _ => None,
            };
            run(mode).into_iter().filter_map(answer).collect::<Vec<_>>()
        });
        let stored = |at| (at, "STORED".to_owned());
        let read = |at, value: &str| (at, value.to_owned());
        let (quick, slow) = (HOP / 2, HOP / 2 + HOP * 2);
        let rest = HOP + HOP / 2;
        let expected = [
            vec![stored(quick), read(quick + rest, "0")],
            vec![stored(slow), read(slow + rest, "42")],
        ];
        assert_eq!(answers.collect::<Vec<_>>(), expected);
    }

    #[test]
    fn the_write_delay_delays_the_delivery() {
        let delay = Duration::from_secs(2);
        let asks = vec![(Duration::ZERO, Ask::Set("42"))];
        let world = World::even(3, HOP, delay);
        let mode = compared_modes().next().expect("a mode");
        let happenings = trace(mode, &world, &[Script { replica: 1, asks }]).expect("a trace");
        let delivered = happenings.iter().filter(|h| matches!(h.what, What::Delivered(..)));
        assert_eq!(delivered.clone().count(), 3);
        let first = delivered.map(|h| h.at).min();
        assert_eq!(first, Some(HOP * 3 + delay));
    }
}
