//! The participant's threads around its machine.
//!
//! The thread that has read frames hands them to the machine, and what follows joins a queue in the machine's
//! order. Then it takes, from the front of the queue, all that has gathered there: the records are written to the
//! log and synced once, and only then the frames go out. So several batches share a sync, and no frame overtakes
//! the promise that it tells of. Without a log the way is the same, but for the disk.
//!
//! Whatever keeps the thread from reading the next heartbeat (a long frame to be decoded, a slow disk), another
//! one says meanwhile that the participant lives, so that it is not excluded for being busy.

use std::collections::HashMap;
use std::net::{TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use tracing::{debug, info, warn};

use super::intake::{Intake, LinkError, read_preface};
use super::outbox::Outbox;
use super::{LINK_BOUND, Life, ParticipantSettings, Server, StartError};
use crate::protocol::two_phase::participant::{Participant as Machine, Setup};
use crate::protocol::two_phase::{Batch, Frame};
use crate::runtime::budget::Budget;
use crate::runtime::ports::{self, Owner, accept_loop};
use crate::runtime::sessions::WRITE_TIMEOUT;
use crate::runtime::sync::lock;
use crate::storage::two_phase_log::TwoPhaseLog;
use crate::storage::{RealDisk, StorageError};
use crate::wire::simple_resp::ERROR;
use crate::wire::two_phase::PREFACE;

/// How many connections there may be at once. There is one coordinator, and it has one connection; those it
/// has lost end by themselves.
const MAX_CONNECTIONS: usize = 64;

/// How long a dial that only looks whether the coordinator's port listens may take, and how long until the next.
const PROBE: (Duration, Duration) = (Duration::from_millis(200), Duration::from_millis(25));

/// How long a connection's thread may be busy until another one speaks for it.
const BUSY: Duration = Duration::from_millis(100);

/// How often to look whether the log is mostly garbage.
const BETWEEN_COMPACTIONS: Duration = Duration::from_secs(1);

/// A participant that runs, shared by all its threads.
struct Participant {
    life: Arc<Life>,
    settings: ParticipantSettings,
    machine: Mutex<Machine>,
    /// What the machine wants done, in its order.
    batches: Mutex<Vec<Batch>>,
    /// Held from taking the batches until their frames are on their way.
    log: Mutex<Option<TwoPhaseLog<RealDisk>>>,
    connections: Mutex<HashMap<u64, Connection>>,
    next: AtomicU64,
    budget: Arc<Budget>,
    probing: AtomicBool,
}

/// A connection of a coordinator.
#[derive(Clone)]
struct Connection {
    outbox: Arc<Outbox>,
    /// Since when what came last is being worked on, in milliseconds since the start; 0 while nothing is.
    working: Arc<AtomicU64>,
}

/// Starts a participant.
pub(super) fn start(settings: ParticipantSettings) -> Result<Server, StartError> {
    let listener = super::bind(&settings.listen)?;
    let address = listener.local_addr().map_err(StartError::Thread)?;
    let (life, notices) = Life::begin("participant");
    let (log, recovered) = match &settings.data {
        Some(folder) => {
            let opened = TwoPhaseLog::open(RealDisk::open_file(folder, "2pc.log")?)?;
            if let Some(torn) = &opened.torn {
                warn!(
                    "cut {} bytes off the end of 2pc.log, at line {}: nobody has been told of them",
                    torn.bytes, torn.line
                );
            }
            (Some(opened.log), opened.recovered)
        }
        None => Default::default(),
    };
    let setup = Setup {
        life: super::super::fresh_number(),
        durable: log.is_some(),
        max_bytes: settings.max_bytes,
        timing: settings.timing,
        recovered,
    };
    let participant = Arc::new(Participant {
        life: Arc::clone(&life),
        machine: Mutex::new(Machine::new(setup)),
        batches: Mutex::default(),
        log: Mutex::new(log),
        connections: Mutex::default(),
        next: AtomicU64::new(1),
        budget: Arc::new(Budget::new(LINK_BOUND)),
        probing: AtomicBool::new(false),
        settings,
    });
    let its = Arc::clone(&participant);
    let end = Box::new(move || its.end());
    let mut server = Server { address, life, end, threads: Vec::new(), notices };
    let its = Arc::clone(&participant);
    server.spawn("2pc-port".to_owned(), move || its.listen(&listener))?;
    let its = Arc::clone(&participant);
    server.spawn("2pc-timer".to_owned(), move || its.life.run_timer(|| its.tick()))?;
    let its = Arc::clone(&participant);
    server.spawn("2pc-alive".to_owned(), move || its.speak_while_busy())?;
    let its = Arc::clone(&participant);
    server.spawn("2pc-compaction".to_owned(), move || its.compact())?;
    Ok(server)
}

impl Participant {
    /// Gives the machine an input and carries out what follows from it.
    fn drive<R>(self: &Arc<Self>, input: impl FnOnce(&mut Machine, Duration) -> R) -> Option<R> {
        let mut machine = lock(&self.machine);
        if self.life.stopping() {
            return None;
        }
        let now = self.life.now();
        let result = input(&mut machine, now);
        let batch = machine.finish(now);
        lock(&self.batches).push(batch);
        let deadline = machine.deadline();
        let probe = machine.probe(now);
        drop(machine);
        self.carry_out();
        if probe {
            // The deadline is in the past then; whoever looks drives the machine again.
            self.begin_probing();
        } else {
            self.life.timer.mind(deadline);
        }
        Some(result)
    }

    fn carry_out(&self) {
        let mut log = lock(&self.log);
        let batches = std::mem::take(&mut *lock(&self.batches));
        if !batches.is_empty() {
            let touched = self.persist_and_queue(&mut log, batches);
            drop(log);
            touched.iter().for_each(Outbox::flush);
        }
    }

    /// Makes durable what these batches promise, then puts their frames into the queues; gives these.
    fn persist_and_queue(
        &self,
        log: &mut Option<TwoPhaseLog<RealDisk>>,
        mut batches: Vec<Batch>,
    ) -> Vec<Arc<Outbox>> {
        if self.life.stopping() {
            return Vec::new();
        }
        if let Some(log) = log {
            let records = batches.iter_mut().map(|batch| std::mem::take(&mut batch.records));
            if let Err(error) = log.write(records.flatten()) {
                // What was promised may not be on the disk: nothing is said any more.
                self.life.fail(&error.to_string());
                self.close_all();
                return Vec::new();
            }
        }
        let mut touched = Vec::new();
        let outbox_of =
            |session| lock(&self.connections).get(&session).map(|one| Arc::clone(&one.outbox));
        for mut batch in batches {
            let cuts = std::mem::take(&mut batch.cuts);
            for (session, frames) in batch.persisted() {
                let Some(outbox) = outbox_of(session) else { continue };
                if !frames.is_empty() && !outbox.push(frames) {
                    warn!("cut off a coordinator: too much waits for it");
                    outbox.close();
                }
                touched.push(outbox);
            }
            for (session, why) in cuts {
                let Some(outbox) = outbox_of(session) else { continue };
                info!("cut off a coordinator: it {why}");
                outbox.end();
                touched.push(outbox);
            }
        }
        touched
    }

    fn tick(self: &Arc<Self>) {
        self.drive(|_, _| ());
    }

    fn close_all(&self) {
        lock(&self.connections).values().for_each(|one| one.outbox.close());
    }

    fn end(&self) {
        drop(lock(&self.machine));
        // With the log goes the lock on its folder. What had not been synced, nobody has been told.
        drop(lock(&self.log).take());
        self.close_all();
    }

    /// The body of the port's thread.
    fn listen(self: &Arc<Self>, listener: &TcpListener) {
        accept_loop(&*self.life, listener, "port", |stream| {
            if lock(&self.connections).len() >= MAX_CONNECTIONS {
                return;
            }
            let stream = Arc::new(stream);
            let session = self.next.fetch_add(1, Ordering::Relaxed);
            let outbox = Outbox::new(Arc::clone(&stream), Arc::clone(&self.budget));
            let connection = Connection { outbox: Arc::new(outbox), working: Arc::default() };
            let working = Arc::clone(&connection.working);
            lock(&self.connections).insert(session, connection);
            let its = Arc::clone(self);
            let spawned =
                thread::Builder::new().name("2pc-coordinator".to_owned()).spawn(move || {
                    its.serve(session, &stream, &working);
                    if let Some(one) = lock(&its.connections).remove(&session) {
                        one.outbox.close();
                    }
                });
            if let Err(error) = spawned {
                warn!("cannot start a thread for a connection: {error}");
                lock(&self.connections).remove(&session);
            }
        });
    }

    fn serve(self: &Arc<Self>, session: u64, stream: &TcpStream, working: &AtomicU64) {
        use std::io::Write;
        let greeted = (|| {
            stream.set_nodelay(true)?;
            stream.set_write_timeout(Some(WRITE_TIMEOUT))?;
            read_preface(&self.life, stream)?;
            Ok((&mut &*stream).write_all(PREFACE)?)
        })();
        match greeted {
            Ok(()) => {}
            // A client that has taken this port for the coordinator's.
            Err(LinkError::Stranger) => return ports::part(stream, ERROR),
            Err(error) => return debug!("a connection says nothing: {error}"),
        }
        self.drive(|machine, now| machine.connected(now, session));
        let result = self.read_frames(session, stream, working);
        self.drive(|machine, now| machine.disconnected(now, session));
        match result {
            Ok(()) => {}
            Err(error @ (LinkError::Io(_) | LinkError::Silent)) => {
                info!("lost a coordinator: {error}");
            }
            Err(error) => warn!("cut off a coordinator: it {error}"),
        }
    }

    fn read_frames(
        self: &Arc<Self>,
        session: u64,
        stream: &TcpStream,
        working: &AtomicU64,
    ) -> Result<(), LinkError> {
        let mut intake = Intake::new();
        loop {
            working.store(0, Ordering::Relaxed);
            match intake.fill(stream) {
                Err(_) if self.life.stopping() => return Ok(()),
                filled => filled?,
            }
            working.store(self.millis(), Ordering::Relaxed);
            let frames = intake.frames()?;
            if !frames.is_empty() && !self.receive(session, frames) {
                return Ok(());
            }
        }
    }

    fn millis(&self) -> u64 {
        u64::try_from(self.life.now().as_millis()).unwrap_or(u64::MAX)
    }

    /// The body of the thread that says on a connection whose thread is busy that the participant lives. A
    /// heartbeat of number 0 was never asked for, so this answers none and promises nothing.
    fn speak_while_busy(&self) {
        let mut alive = Vec::new();
        Frame::Alive { number: 0 }.encode(&mut alive);
        while !self.life.stopping() {
            self.life.pause(BUSY);
            let before = self.millis().saturating_sub(BUSY.as_millis() as u64);
            let busy =
                |one: &&Connection| (1..before).contains(&one.working.load(Ordering::Relaxed));
            let all: Vec<Connection> =
                lock(&self.connections).values().filter(busy).cloned().collect();
            for one in all {
                one.outbox.push(alive.clone());
                one.outbox.flush();
            }
        }
    }

    /// Frames have come. `false` when the connection is over.
    fn receive(self: &Arc<Self>, session: u64, frames: Vec<Frame>) -> bool {
        let good = self.drive(|machine, now| {
            frames.into_iter().try_for_each(|frame| machine.receive(now, session, frame))
        });
        match good {
            Some(Ok(())) => true,
            Some(Err(why)) => {
                warn!("cut off a coordinator: it {why}");
                false
            }
            None => false,
        }
    }

    /// Has a thread look whether the coordinator's port listens, as long as the machine wants to know.
    fn begin_probing(self: &Arc<Self>) {
        if self.probing.swap(true, Ordering::AcqRel) {
            return;
        }
        let its = Arc::clone(self);
        let spawned =
            thread::Builder::new().name("2pc-probe".to_owned()).spawn(move || its.probe());
        if let Err(error) = spawned {
            warn!("cannot start a thread to look for the coordinator: {error}");
            self.probing.store(false, Ordering::Release);
        }
    }

    fn probe(self: &Arc<Self>) {
        let (timeout, pause) = PROBE;
        let wanted = || lock(&self.machine).probe(self.life.now());
        while !self.life.stopping() && wanted() {
            // The machine judges by the time when the answer is known, not when it was asked.
            if ports::is_refused(&self.settings.coordinator, timeout) {
                self.drive(|machine, now| machine.coordinator_gone(now));
            }
            self.life.pause(pause);
        }
        self.probing.store(false, Ordering::Release);
    }

    /// The body of the compaction's thread.
    fn compact(&self) {
        while !self.life.stopping() {
            self.life.pause(BETWEEN_COMPACTIONS);
            match &*lock(&self.log) {
                None => return,
                Some(log) if !log.wants_compaction() => continue,
                Some(_) => {}
            }
            match self.compact_now() {
                Ok(()) => {}
                Err(error) if self.life.stopping() => debug!("{error}"),
                // The log itself goes on; if it cannot, the next write says so.
                Err(error) => warn!("the log was not compacted: {error}"),
            }
        }
    }

    fn compact_now(&self) -> Result<(), StorageError> {
        let mut compaction = {
            let mut log = lock(&self.log);
            // Whoever drives the machine does not hold its lock while it waits for the log.
            let (state, batches) = {
                let machine = lock(&self.machine);
                (machine.state().clone(), std::mem::take(&mut *lock(&self.batches)))
            };
            let touched = self.persist_and_queue(&mut log, batches);
            let begun = log.as_mut().map(|log| log.begin_compaction(state)).transpose();
            drop(log);
            touched.iter().for_each(Outbox::flush);
            let Some(begun) = begun? else { return Ok(()) };
            begun
        };
        compaction.run(|| self.life.stopping())?;
        match &mut *lock(&self.log) {
            Some(log) => log.finish_compaction(compaction),
            None => Ok(()),
        }
    }
}
