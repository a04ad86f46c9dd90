//! The broadcast port: where peers connect, and the threads that dial the peers of lower number.
//!
//! Every pair of replicas shares one connection; the one with the higher number dials, again and again
//! until it succeeds. Both sides open with [`peer::PREFACE`] and a greeting, so that a stray connection
//! is told from a peer by its first bytes, and replicas of different clusters or modes do not mix.

use std::io::{self, ErrorKind, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use thiserror::Error;
use tracing::{debug, info, warn};

use super::gate::Target;
use super::ports::{self, Owner, accept_loop};
use super::replica::Replica;
use super::sync::lock;
use crate::base::ReplicaId;
use crate::wire::peer::{self, Frame, FrameError, Greeting};

/// How long a connection may take to greet.
const GREETING_TIMEOUT: Duration = Duration::from_secs(2);

/// How long a dial may take. Less than a second, so that the replica can stop within one.
const DIAL_TIMEOUT: Duration = Duration::from_millis(500);

/// How often a connection that does not greet is left to look whether the replica stops.
const GLANCE: Duration = Duration::from_millis(100);

/// How many connections may be greeting at once; further ones are closed.
const MAX_GREETING: usize = 64;

/// How long a line about a replica of another cluster is not repeated.
const SAY_AGAIN: Duration = Duration::from_secs(60);

/// How much is read at once.
const READ_SIZE: usize = 64 * 1024;

/// Why a connection on the broadcast port is cut.
#[derive(Debug, Error)]
enum LinkError {
    #[error("does not speak the peer protocol")]
    NotAPeer,
    #[error(
        "greets as replica {from} to replica {to} of {replicas} ({mode}); this is replica {me} of {ours} ({our_mode})"
    )]
    WrongCluster {
        from: ReplicaId,
        to: ReplicaId,
        replicas: u16,
        mode: String,
        me: ReplicaId,
        ours: u16,
        our_mode: String,
    },
    #[error("is replica {0}, to which no link is wanted")]
    Unwanted(ReplicaId),
    #[error("sent {0}")]
    Frame(#[from] FrameError),
    #[error("{0}")]
    Io(#[from] io::Error),
}

/// The body of the broadcast-port thread.
pub(super) fn listen(replica: &Arc<Replica>, listener: &TcpListener) {
    let door = Arc::new(Door::new(replica));
    accept_loop(&**replica, listener, "broadcast port", |stream| {
        door.admit(stream, &[]);
    });
}

/// Where connections come in that should be peers.
pub(super) struct Door {
    replica: Arc<Replica>,
    /// How many have not greeted yet.
    greeting: AtomicUsize,
    said: Said,
}

impl Door {
    pub(super) fn new(replica: &Arc<Replica>) -> Self {
        let replica = Arc::clone(replica);
        Self { replica, greeting: AtomicUsize::new(0), said: Said::default() }
    }

    /// Gives a connection a thread that greets it, and serves the peer if it is one. Where clients come to the
    /// same port, `to_stranger` is what one is told that is no peer; it is no news then.
    pub(super) fn admit(self: &Arc<Self>, stream: TcpStream, to_stranger: &'static [u8]) {
        // Only the one thread that accepts counts up, or a few sessions that are one too many for a moment.
        if self.greeting.load(Ordering::Relaxed) >= MAX_GREETING {
            return;
        }
        self.greeting.fetch_add(1, Ordering::Relaxed);
        let door = Arc::clone(self);
        let name = format!("r{}-link-in", self.replica.id);
        let spawned = thread::Builder::new().name(name).spawn(move || {
            door.serve(stream, to_stranger);
        });
        if let Err(error) = spawned {
            self.greeting.fetch_sub(1, Ordering::Relaxed);
            warn!("cannot start a thread for a peer: {error}");
        }
    }

    fn serve(&self, stream: TcpStream, to_stranger: &[u8]) {
        let replica = &self.replica;
        let from = stream.peer_addr();
        let greeted = accept_peer(replica, &stream);
        let is_client = matches!(greeted, Err(LinkError::NotAPeer)) && !to_stranger.is_empty();
        if is_client {
            // A new socket's buffer has room for it; if it has not, the client learns from the close.
            let _ = stream.set_write_timeout(Some(GLANCE));
            let _ = (&stream).write_all(to_stranger);
        }
        self.greeting.fetch_sub(1, Ordering::Relaxed);
        let result = greeted.and_then(|peer| run_link(replica, peer, stream, None));
        if let Err(error) = result
            && !is_client
            && !replica.stopping()
            && self.said.is_new(&error)
        {
            let from = from.map_or_else(|_| "unknown address".to_owned(), |a| a.to_string());
            report(replica, &format!("peer connection from {from}"), &error);
        }
    }
}

/// What has been said lately about replicas of other clusters: they come back many times a second, and
/// a line each time would bury all others.
#[derive(Debug, Default)]
struct Said(Mutex<Vec<(String, Instant)>>);

impl Said {
    fn is_new(&self, error: &LinkError) -> bool {
        if !matches!(error, LinkError::WrongCluster { .. }) {
            return true;
        }
        let (line, now) = (error.to_string(), Instant::now());
        let mut said = lock(&self.0);
        said.retain(|(_, when)| now.duration_since(*when) < SAY_AGAIN);
        let is_new = said.len() < MAX_GREETING && said.iter().all(|(other, _)| *other != line);
        if is_new {
            said.push((line, now));
        }
        is_new
    }
}

/// Connections that merely end are normal where replicas come and go; all else is worth a line.
fn report(replica: &Replica, what: &str, error: &LinkError) {
    match error {
        LinkError::Io(error) => debug!("replica {}: {what}: {error}", replica.id),
        LinkError::Unwanted(_) => debug!("replica {}: {what}: it {error}", replica.id),
        _ => warn!("replica {}: cut off {what}: it {error}", replica.id),
    }
}

fn greeting_to(replica: &Replica, to: ReplicaId) -> Vec<u8> {
    let mut bytes = peer::PREFACE.to_vec();
    let greeting = Greeting {
        from: replica.id,
        to,
        replicas: replica.settings.replicas,
        mode: replica.settings.greeting(),
    };
    Frame::Greeting(greeting).encode(&mut bytes);
    bytes
}

fn accept_peer(replica: &Replica, mut stream: &TcpStream) -> Result<ReplicaId, LinkError> {
    stream.set_nodelay(true)?;
    let greeted = read_greeting(replica, stream).and_then(|peer| {
        // Not greeted at all: it would take the greeting for a link.
        if replica.gate.admits(peer, None) { Ok(peer) } else { Err(LinkError::Unwanted(peer)) }
    });
    // One of another cluster is greeted as well: it can then say on its own side what is wrong.
    if let Ok(peer) | Err(LinkError::WrongCluster { from: peer, .. }) = &greeted {
        stream.write_all(&greeting_to(replica, *peer))?;
    }
    greeted
}

/// Reads the other side's preface and greeting, and not a byte more.
fn read_greeting(replica: &Replica, mut stream: &TcpStream) -> Result<ReplicaId, LinkError> {
    let deadline = Instant::now() + GREETING_TIMEOUT;
    let mut read_exact = |bytes: &mut [u8]| -> Result<(), LinkError> {
        let mut filled = 0;
        while filled < bytes.len() {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() || replica.stopping() {
                return Err(io::Error::from(ErrorKind::TimedOut).into());
            }
            stream.set_read_timeout(Some(left.min(GLANCE)))?;
            match stream.read(&mut bytes[filled..]) {
                Ok(0) => return Err(io::Error::from(ErrorKind::UnexpectedEof).into()),
                Ok(n) => filled += n,
                Err(error)
                    if matches!(
                        error.kind(),
                        ErrorKind::Interrupted | ErrorKind::WouldBlock | ErrorKind::TimedOut
                    ) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    };
    let mut preface = vec![0; peer::PREFACE.len()];
    for (byte, expected) in preface.iter_mut().zip(peer::PREFACE) {
        // Byte by byte, so that garbage is refused at its first byte and not when enough has come.
        read_exact(std::slice::from_mut(byte))?;
        if byte != expected {
            return Err(LinkError::NotAPeer);
        }
    }
    let mut frame = vec![0; 4];
    read_exact(&mut frame)?;
    let length = u32::from_le_bytes([frame[0], frame[1], frame[2], frame[3]]) as usize;
    if length > 256 {
        return Err(LinkError::NotAPeer);
    }
    frame.resize(4 + length, 0);
    read_exact(&mut frame[4..])?;
    stream.set_read_timeout(None)?;
    match Frame::decode(&frame)? {
        Some((Frame::Greeting(greeting), _)) => check_greeting(replica, greeting),
        _ => Err(LinkError::NotAPeer),
    }
}

fn check_greeting(replica: &Replica, greeting: Greeting) -> Result<ReplicaId, LinkError> {
    let settings = &replica.settings;
    let our_mode = settings.greeting();
    let right = greeting.to == replica.id
        && greeting.from != replica.id
        && greeting.from.0 < settings.replicas
        && greeting.replicas == settings.replicas
        && greeting.mode == our_mode;
    if right {
        return Ok(greeting.from);
    }
    Err(LinkError::WrongCluster {
        from: greeting.from,
        to: greeting.to,
        replicas: greeting.replicas,
        mode: greeting.mode,
        me: replica.id,
        ours: settings.replicas,
        our_mode,
    })
}

/// The body of a dialing thread: keeps up the link to one peer, for as long as one is wanted.
pub(super) fn keep_dialing(replica: &Arc<Replica>, peer: ReplicaId) {
    let mut said = None;
    let mut failures = 0;
    while let Some(target) = replica.gate.target(peer, || replica.stopping()) {
        let result = dial(replica, peer, &target);
        if replica.stopping() {
            return;
        }
        if let Err(error) = result {
            failures += 1;
            // One line for a condition that lasts, not one for every try.
            let line = error.to_string();
            if said.as_ref() != Some(&line) {
                let at = &target.address;
                match &error {
                    LinkError::Io(_) if replica.gate.is_controlled() => {}
                    LinkError::Io(error) => {
                        info!("replica {}: no link to replica {peer} at {at}: {error}", replica.id);
                    }
                    _ => report(replica, &format!("link to replica {peer} at {at}"), &error),
                }
                said = Some(line);
            }
        } else {
            (said, failures) = (None, 0);
        }
        replica.gate.pause(peer, target.change, failures, || replica.stopping());
    }
}

fn dial(replica: &Arc<Replica>, peer: ReplicaId, target: &Target) -> Result<(), LinkError> {
    let stream = ports::connect(&target.address, DIAL_TIMEOUT)?;
    stream.set_nodelay(true)?;
    (&stream).write_all(&greeting_to(replica, peer))?;
    let greeted = read_greeting(replica, &stream)?;
    if greeted != peer {
        return Err(LinkError::NotAPeer);
    }
    run_link(replica, peer, stream, Some(target.change))
}

/// Reads frames from a link until it ends. `dialed`: by which change of the gate.
fn run_link(
    replica: &Arc<Replica>,
    peer: ReplicaId,
    stream: TcpStream,
    dialed: Option<u64>,
) -> Result<(), LinkError> {
    let stream = Arc::new(stream);
    let session = replica.connected(peer, &stream, dialed).ok_or(LinkError::Unwanted(peer))?;
    let result = read_frames(replica, peer, session, &stream);
    replica.disconnected(peer, session);
    result
}

fn read_frames(
    replica: &Replica,
    peer: ReplicaId,
    session: u64,
    mut stream: &TcpStream,
) -> Result<(), LinkError> {
    let mut buffer = vec![0; READ_SIZE];
    let mut filled = 0;
    let mut frames = Vec::new();
    loop {
        match stream.read(&mut buffer[filled..]) {
            Ok(0) => return Ok(()),
            Ok(n) => {
                filled += n;
                replica.link(peer).note_bytes(replica.clock.now().since_start);
            }
            Err(error) if error.kind() == ErrorKind::Interrupted => continue,
            Err(_) if !replica.link(peer).is_current(session) => return Ok(()),
            Err(error) => return Err(error.into()),
        }
        let mut used = 0;
        // Decoded before the replica is locked: this is the larger part of the work.
        while let Some((frame, length)) = Frame::decode(&buffer[used..filled])? {
            frames.push(frame);
            used += length;
        }
        if !frames.is_empty() && !replica.receive(peer, session, &mut frames) {
            return Ok(());
        }
        if used > 0 {
            // Only then: a long frame comes in many pieces, and would be copied at each.
            buffer.copy_within(used..filled, 0);
            filled -= used;
        }
        if filled == buffer.len() {
            // Grown with the bytes that are here, never by what a frame announces.
            buffer.resize(buffer.len() * 2, 0);
        } else if filled == 0 && buffer.len() > 16 * READ_SIZE {
            buffer.truncate(READ_SIZE);
            buffer.shrink_to_fit();
        }
    }
}
