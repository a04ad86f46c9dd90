//! The coordinator's threads around its machine.
//!
//! A thread that has read commands or frames leaves them in the inbox and tries to lock the machine. If another
//! has it, that one takes them along before it leaves, and the reader is free to read on: fifty clients do not
//! queue up for a lock. And while every participant owes an answer, commands stay in the inbox: the thread that
//! reads the first answer takes them along. So one client is served at once, what fifty want travels in common
//! frames, and no client's own thread is kept busy with the work of others.

use std::net::TcpStream;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, TryLockError};
use std::time::{Duration, Instant};

use tracing::{debug, info, warn};

use super::client;
use super::intake::{Intake, LinkError, read_preface};
use super::outbox::{Bytes, Outbox};
use super::{CoordinatorSettings, DIAL_TIMEOUT, LINK_BOUND, Life, Server, StartError};
use crate::protocol::two_phase::coordinator::{Coordinator as Machine, Setup};
use crate::protocol::two_phase::{Answer, Command, Event, Frame, MAX_PARTICIPANTS, Members};
use crate::runtime::budget::Budget;
use crate::runtime::inbox::{LEAVE_AT_MOST, MAX_TURNS, all_owe_answers};
use crate::runtime::link::Link;
use crate::runtime::ports::{self, Owner};
use crate::runtime::sessions::Sessions;
use crate::runtime::sync::lock;
use crate::wire::simple_resp::{self, ERROR};
use crate::wire::two_phase::PREFACE;

/// How long after a failed dial, or a lost link, the next is tried.
const REDIAL: Duration = Duration::from_millis(50);

/// A machine that has had no turn for so long has been kept from it: it wants one with every heartbeat.
const STALL: Duration = Duration::from_millis(300);

/// Who gets an answer: a place in the order of one client's replies.
#[derive(Debug)]
pub(super) struct Ticket {
    pub(super) outbox: Arc<Outbox>,
    pub(super) number: u64,
}

/// The machine, as it runs here.
pub(super) type Running = Machine<Ticket>;

/// What threads leave for the machine.
pub(super) enum Input {
    /// A client's commands.
    Commands {
        commands: Vec<Command>,
        outbox: Arc<Outbox>,
        /// The place of the first one's reply.
        first: u64,
    },
    /// Frames of a participant.
    Frames { p: u16, session: u64, frames: Vec<Frame> },
}

/// What is left to do when the machine is unlocked.
#[derive(Default)]
struct Rest {
    touched: Members,
    replies: Vec<(Ticket, Answer)>,
    events: Vec<Event>,
    deadline: Option<Duration>,
}

/// A coordinator that runs, shared by all its threads.
pub(super) struct Coordinator {
    pub(super) life: Arc<Life>,
    pub(super) settings: CoordinatorSettings,
    machine: Mutex<Running>,
    /// Inputs that are left for whoever has the machine.
    inbox: Mutex<Vec<Input>>,
    /// When the machine last had a turn, in milliseconds since the start.
    turned_at: AtomicU64,
    links: Vec<Link>,
    /// Whether what has come on a link is being decoded.
    working: Vec<AtomicBool>,
    pub(super) sessions: Sessions,
    pub(super) budget: Arc<Budget>,
}

/// Starts a coordinator.
pub(super) fn start(settings: CoordinatorSettings) -> Result<Server, StartError> {
    let n = settings.participants.len();
    let participants = u16::try_from(n)
        .ok()
        .filter(|n| (1..=MAX_PARTICIPANTS).contains(n))
        .ok_or(StartError::Participants(n))?;
    let listener = super::bind(&settings.listen)?;
    let address = listener.local_addr().map_err(StartError::Thread)?;
    let (life, notices) = Life::begin("coordinator");
    let setup = Setup {
        participants,
        incarnation: super::incarnation(),
        timing: settings.timing,
        limits: settings.limits,
        trace: false,
    };
    let coordinator = Arc::new(Coordinator {
        life: Arc::clone(&life),
        machine: Mutex::new(Machine::new(setup)),
        inbox: Mutex::default(),
        turned_at: AtomicU64::new(0),
        working: (0..n).map(|_| AtomicBool::new(false)).collect(),
        links: (0..n).map(|_| Link::with_bound(LINK_BOUND)).collect(),
        sessions: Sessions::default(),
        budget: Arc::new(Budget::new(settings.memory)),
        settings,
    });
    let its = Arc::clone(&coordinator);
    let end = Box::new(move || its.end());
    let mut server = Server { address, life, end, threads: Vec::new(), notices };
    // The port is closed by its thread, at its end: behind the machine's.
    let its = Arc::clone(&coordinator);
    server.spawn("2pc-client-port".to_owned(), move || client::listen(&its, &listener))?;
    let its = Arc::clone(&coordinator);
    server.spawn("2pc-timer".to_owned(), move || its.life.run_timer(|| its.tick()))?;
    for p in 0..participants {
        let its = Arc::clone(&coordinator);
        server.spawn(format!("2pc-p{p}-link-out"), move || {
            let link = its.link(p);
            link.write_blocked(|| link.note_bytes(its.life.now()));
        })?;
        let its = Arc::clone(&coordinator);
        server.spawn(format!("2pc-p{p}-link"), move || its.keep_dialing(p))?;
    }
    Ok(server)
}

impl Coordinator {
    fn link(&self, p: u16) -> &Link {
        &self.links[usize::from(p)]
    }

    fn participants(&self) -> impl Iterator<Item = u16> + use<> {
        // Not more than MAX_PARTICIPANTS.
        0..self.links.len() as u16
    }

    /// Leaves an input for the machine, and waits for nobody: whoever has the machine takes it along.
    pub(super) fn post(&self, input: Input) {
        let mut rest = Rest::default();
        let from = match &input {
            Input::Frames { p, .. } => Some(*p),
            Input::Commands { .. } => None,
        };
        if let Some(p) = from {
            // What has gathered while it owed this answer.
            self.link(p).heard();
            rest.touched.insert(p);
        }
        lock(&self.inbox).push(input);
        if from.is_some() || !self.may_leave_the_rest() {
            self.empty_inbox(rest);
        }
    }

    /// Whether what is in the inbox can stay there: nothing, or commands while everybody owes an answer. Frames
    /// cannot; others wait for what follows from them.
    fn may_leave_the_rest(&self) -> bool {
        let (is_empty, frames) = {
            let inbox = lock(&self.inbox);
            let is_frames = |input: &Input| matches!(input, Input::Frames { .. });
            (inbox.is_empty(), inbox.iter().any(is_frames))
        };
        let may = is_empty || (!frames && all_owe_answers(self.links.iter()));
        if may && !is_empty {
            self.life.timer.mind(Some(self.life.now() + LEAVE_AT_MOST));
        }
        may
    }

    fn empty_inbox(&self, mut rest: Rest) {
        for _ in 0..MAX_TURNS {
            let machine = match self.machine.try_lock() {
                Ok(machine) => machine,
                Err(TryLockError::Poisoned(poisoned)) => poisoned.into_inner(),
                // It looks into the inbox again before it leaves.
                Err(TryLockError::WouldBlock) => return self.carry_out(rest),
            };
            self.turn(machine, &mut rest, |_, _| ());
            self.carry_out(std::mem::take(&mut rest));
            if self.may_leave_the_rest() {
                return;
            }
        }
        // It has done enough for others; the timer's thread goes on.
        self.life.timer.mind(Some(Duration::ZERO));
    }

    /// Gives the machine an input and carries out what follows from it; `None` once it has stopped.
    fn drive<R>(&self, input: impl FnOnce(&mut Running, Duration) -> R) -> Option<R> {
        let mut rest = Rest::default();
        let result = self.turn(lock(&self.machine), &mut rest, input);
        self.carry_out(rest);
        if !lock(&self.inbox).is_empty() {
            self.empty_inbox(Rest::default());
        }
        result
    }

    /// Gives the machine what has been left for it, then an input of one's own.
    fn turn<R>(
        &self,
        mut machine: MutexGuard<'_, Running>,
        rest: &mut Rest,
        input: impl FnOnce(&mut Running, Duration) -> R,
    ) -> Option<R> {
        if self.life.stopping() {
            return None;
        }
        let now = self.life.now();
        self.forgive(&mut machine, now);
        let inputs = std::mem::take(&mut *lock(&self.inbox));
        for input in inputs {
            self.give(&mut machine, now, input);
        }
        let result = input(&mut machine, now);
        machine.finish(now);
        rest.replies.append(machine.replies_mut());
        rest.events.append(machine.events_mut());
        for (p, why) in machine.cuts_mut().drain(..) {
            // Under the lock: it is the connection that the machine means.
            if self.link(p).detach(self.link(p).session()) {
                warn!("cut the link to participant {p}: it {why}");
            }
        }
        for p in self.participants() {
            let frames = machine.frames_mut(p);
            if !frames.is_empty() {
                rest.touched.insert(p);
                if !self.link(p).enqueue(frames) {
                    warn!("cut the link to participant {p}: too much waits for it");
                }
            }
        }
        rest.deadline = machine.deadline();
        Some(result)
    }

    /// Tells the machine of silence that is no participant's fault: it takes or gives a long frame, or its
    /// frames lie here unread, or this process has been too busy to ask it.
    fn forgive(&self, machine: &mut Running, now: Duration) {
        let millis = u64::try_from(now.as_millis()).unwrap_or(u64::MAX);
        let before = Duration::from_millis(self.turned_at.swap(millis, Ordering::Relaxed));
        let stalled = now > before + STALL;
        for p in self.participants() {
            let working = self.working[usize::from(p)].load(Ordering::Relaxed);
            let alive = if stalled || working { now } else { self.link(p).heard_at() };
            machine.alive(alive, p);
        }
    }

    fn give(&self, machine: &mut Running, now: Duration, input: Input) {
        match input {
            Input::Commands { commands, outbox, first } => {
                for (number, command) in (first..).zip(commands) {
                    machine.submit(now, command, Ticket { outbox: Arc::clone(&outbox), number });
                }
            }
            Input::Frames { p, session, frames } => {
                // What an earlier connection carried is void.
                if !self.link(p).is_current(session) {
                    return;
                }
                let mut frames = frames.into_iter();
                if let Err(why) = frames.try_for_each(|frame| machine.receive(now, p, frame)) {
                    warn!("cut the link to participant {p}: it {why}");
                    self.link(p).detach(session);
                    machine.disconnected(now, p);
                }
            }
        }
    }

    /// Sends what has gathered: first to the participants, because others wait behind that. While one owes an
    /// answer (it answers every frame), more gathers for it until that comes.
    fn carry_out(&self, rest: Rest) {
        for p in rest.touched.iter() {
            self.link(p).flush_unless_busy(true);
        }
        rest.events.iter().for_each(|event| self.tell(event));
        answer(rest.replies);
        self.life.timer.mind(rest.deadline);
    }

    fn tick(&self) {
        self.drive(|_, _| ());
        self.participants().for_each(|p| self.link(p).flush());
    }

    fn end(&self) {
        // Whoever drives has finished, and nobody begins.
        drop(lock(&self.machine));
        self.participants().for_each(|p| self.link(p).close());
        self.sessions.end_all(Instant::now() + Duration::from_millis(500));
    }

    /// The body of a link's thread: keeps up the connection to one participant.
    fn keep_dialing(&self, p: u16) {
        let address = &self.settings.participants[usize::from(p)];
        let mut said = None;
        while !self.life.stopping() {
            let result = self.dial(p, address);
            if self.life.stopping() {
                return;
            }
            if let Err(error) = result {
                // One line for a condition that lasts, not one for every try.
                let line = error.to_string();
                if said.as_ref() != Some(&line) {
                    match &error {
                        LinkError::Io(_) | LinkError::Silent => {
                            debug!("participant {p} at {address}: {error}")
                        }
                        _ => warn!("cut the link to participant {p} at {address}: it {error}"),
                    }
                    said = Some(line);
                }
            }
            self.life.pause(REDIAL);
        }
    }

    fn dial(&self, p: u16, address: &str) -> Result<(), LinkError> {
        use std::io::Write;
        let stream = Arc::new(ports::connect(address, DIAL_TIMEOUT)?);
        stream.set_nodelay(true)?;
        (&*stream).write_all(PREFACE)?;
        read_preface(&self.life, &stream)?;
        let session = self.drive(|machine, now| {
            let session = self.link(p).attach(Arc::clone(&stream));
            machine.connected(now, p);
            session
        });
        let Some(session) = session else { return Ok(()) };
        info!("linked to participant {p} at {address}");
        let result = self.read_frames(p, session, &stream);
        self.drive(|machine, now| {
            self.link(p).detach(session);
            machine.disconnected(now, p);
        });
        if !self.life.stopping() {
            info!("lost the link to participant {p} at {address}");
        }
        result
    }

    fn read_frames(&self, p: u16, session: u64, stream: &TcpStream) -> Result<(), LinkError> {
        let link = self.link(p);
        let working = &self.working[usize::from(p)];
        let mut intake = Intake::new();
        loop {
            let filled = intake.fill(stream);
            if !link.is_current(session) {
                return Ok(());
            }
            filled?;
            link.note_bytes(self.life.now());
            working.store(true, Ordering::Relaxed);
            let frames = intake.frames();
            working.store(false, Ordering::Relaxed);
            let frames = frames?;
            if !frames.is_empty() {
                self.post(Input::Frames { p, session, frames });
            }
        }
    }

    fn tell(&self, event: &Event) {
        match event {
            Event::Began(txn) => debug!("{txn} begins"),
            Event::Decided { txn, commit } => debug!("{txn}: {}", decision(*commit)),
            Event::Finished(txn) => debug!("{txn} is finished"),
            Event::Decides(view) => debug!("view {} is decided: {:?}", view.id.epoch, view.members),
            Event::Active(view) => info!("view {} is active: {:?}", view.id.epoch, view.members),
            Event::Excludes(p) => warn!("participant {p} is excluded: it does not answer"),
            Event::Joins(p) => info!("participant {p} is brought up to date"),
            Event::CaughtUp(p) => info!("participant {p} has caught up"),
            Event::StartsOver { incarnation } => {
                warn!("starts over as incarnation {incarnation}: nobody with the data is left");
            }
            Event::Resolved { txn, commit } => {
                info!("{txn}, left by an earlier coordinator: {}", decision(*commit));
            }
            Event::DataLost => {
                warn!("all participants have lost their memory, and with it all data")
            }
        }
    }
}

fn decision(commit: bool) -> &'static str {
    if commit { "commit" } else { "abort" }
}

/// Hands the answers to the clients, and sends all that each of them gets in one go.
fn answer(replies: Vec<(Ticket, Answer)>) {
    let mut touched: Vec<Arc<Outbox>> = Vec::new();
    for (Ticket { outbox, number }, answer) in replies {
        outbox.fill(number, reply(answer), ERROR);
        if touched.last().is_none_or(|last| !Arc::ptr_eq(last, &outbox)) {
            touched.push(outbox);
        }
    }
    touched.iter().for_each(Outbox::flush);
}

fn reply(answer: Answer) -> Bytes {
    match answer {
        Answer::Ok => Bytes::Fixed(simple_resp::OK),
        Answer::Value(Some(value)) => Bytes::Shared(value),
        Answer::Value(None) => Bytes::Fixed(simple_resp::NIL),
        Answer::Removed(n) => {
            let mut bytes = Vec::with_capacity(24);
            simple_resp::put_count(&mut bytes, n);
            Bytes::Own(bytes)
        }
        Answer::Error(_) | Answer::Unknown => Bytes::Fixed(ERROR),
    }
}
