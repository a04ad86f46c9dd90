//! The coordinator's threads around its machine.

use std::net::TcpStream;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use tracing::{debug, info, warn};

use super::client;
use super::intake::{Intake, LinkError, read_preface};
use super::outbox::{Bytes, Outbox};
use super::{CoordinatorSettings, DIAL_TIMEOUT, LINK_BOUND, Life, SILENCE, Server, StartError};
use crate::protocol::two_phase::coordinator::{Coordinator as Machine, Setup};
use crate::protocol::two_phase::{Answer, Event, Frame, MAX_PARTICIPANTS, Members};
use crate::runtime::budget::Budget;
use crate::runtime::link::Link;
use crate::runtime::ports::{self, Owner};
use crate::runtime::sessions::Sessions;
use crate::runtime::sync::lock;
use crate::wire::simple_resp::{self, ERROR};
use crate::wire::two_phase::PREFACE;

/// How long after a failed dial, or a lost link, the next is tried.
const REDIAL: Duration = Duration::from_millis(50);

/// Who gets an answer: a place in the order of one client's replies.
#[derive(Debug)]
pub(super) struct Ticket {
    pub(super) outbox: Arc<Outbox>,
    pub(super) number: u64,
}

/// The machine, as it runs here.
pub(super) type Running = Machine<Ticket>;

/// Where an input comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Source {
    /// Clients.
    Client,
    /// Frames of this participant.
    Link(u16),
    /// The timer.
    Own,
}

/// A coordinator that runs, shared by all its threads.
pub(super) struct Coordinator {
    pub(super) life: Arc<Life>,
    pub(super) settings: CoordinatorSettings,
    machine: Mutex<Running>,
    links: Vec<Link>,
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

    /// Gives the machine an input and carries out what follows from it.
    pub(super) fn drive<R>(
        &self,
        source: Source,
        input: impl FnOnce(&mut Running, Duration) -> R,
    ) -> Option<R> {
        let mut machine = lock(&self.machine);
        if self.life.stopping() {
            return None;
        }
        let now = self.life.now();
        for p in self.participants() {
            machine.alive(self.link(p).heard_at(), p);
        }
        let result = input(&mut machine, now);
        machine.finish(now);
        let replies = std::mem::take(machine.replies_mut());
        let events = std::mem::take(machine.events_mut());
        for (p, why) in machine.cuts_mut().drain(..) {
            // Under the lock: it is the connection that the machine means.
            if self.link(p).detach(self.link(p).session()) {
                warn!("cut the link to participant {p}: it {why}");
            }
        }
        let mut touched = Members::default();
        for p in self.participants() {
            let frames = machine.frames_mut(p);
            if !frames.is_empty() {
                touched.insert(p);
                if !self.link(p).enqueue(frames) {
                    warn!("cut the link to participant {p}: too much waits for it");
                }
            }
        }
        let deadline = machine.deadline();
        drop(machine);
        self.send(source, touched);
        events.iter().for_each(|event| self.tell(event));
        answer(replies);
        self.life.mind(deadline);
        Some(result)
    }

    /// Sends what has gathered for the participants. While one owes an answer (it answers every frame), more
    /// gathers until that comes.
    fn send(&self, source: Source, mut touched: Members) {
        match source {
            Source::Own => return self.participants().for_each(|p| self.link(p).flush()),
            Source::Client => {}
            Source::Link(p) => {
                // It has just spoken and waits, so it comes first.
                self.link(p).flush();
                touched.remove(p);
            }
        }
        for p in touched.iter() {
            self.link(p).flush_unless_busy(true);
        }
    }

    fn tick(&self) {
        self.drive(Source::Own, |_, _| ());
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
        let session = self.drive(Source::Link(p), |machine, now| {
            let session = self.link(p).attach(Arc::clone(&stream));
            machine.connected(now, p);
            session
        });
        let Some(session) = session else { return Ok(()) };
        info!("linked to participant {p} at {address}");
        let result = self.read_frames(p, session, &stream);
        self.drive(Source::Own, |machine, now| {
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
        let mut intake = Intake::new();
        loop {
            let result = intake.read(stream);
            if !link.is_current(session) {
                return Ok(());
            }
            match result {
                Ok(frames) if frames.is_empty() => link.note_bytes(self.life.now()),
                Ok(frames) => {
                    if !self.receive(p, session, frames) {
                        return Ok(());
                    }
                }
                // It still takes a long frame.
                Err(LinkError::Silent) if self.life.now() < link.heard_at() + SILENCE => {}
                Err(error) => return Err(error),
            }
        }
    }

    /// Frames have come. `false` when the connection is over.
    fn receive(&self, p: u16, session: u64, frames: &mut Vec<Frame>) -> bool {
        self.link(p).heard();
        let good = self.drive(Source::Link(p), |machine, now| {
            if !self.link(p).is_current(session) {
                return false;
            }
            for frame in frames.drain(..) {
                if let Err(why) = machine.receive(now, p, frame) {
                    warn!("cut the link to participant {p}: it {why}");
                    self.link(p).detach(session);
                    machine.disconnected(now, p);
                    return false;
                }
            }
            true
        });
        good.unwrap_or(false)
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
