//! The clients of the coordinator: one thread each, which reads requests and waits for no answer.
//!
//! A command goes to the machine with a ticket: a place in the order of the replies. The thread that learns how it
//! ends fills the place and sends (see `outbox`). So the session's thread sleeps in `read` while its commands run,
//! and a client that sends many without waiting has them run beside each other.
//!
//! Bounds: [`MAX_OWED`] commands and [`MAX_HELD`] bytes of replies; beyond, nothing more is read until the client
//! has taken some. A buffer of 4 KiB; what a large request needs beyond 64 KiB comes out of the budget, and
//! where that is spent, the answer is `-ERROR` and the connection ends, because the request cannot be read.

use std::io::{self, ErrorKind, Read as _, Write as _};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use tracing::warn;

use super::coordinator::{Coordinator, Input};
use super::outbox::{Bytes, Outbox};
use crate::protocol::two_phase::Command;
use crate::runtime::budget::LARGE;
use crate::runtime::ports::{self, Owner, accept_loop};
use crate::runtime::sessions::{SESSION_STACK, WRITE_TIMEOUT};
use crate::wire::simple_resp::{self, Decoder, ERROR, MAX_REQUEST, Step};

/// The buffer that every session has.
const SMALL: usize = 4 * 1024;

/// How many replies may be owed to one client until its further requests have to wait.
const MAX_OWED: usize = 1024;

/// How many bytes of replies may wait for one client until its further requests have to wait.
const MAX_HELD: usize = 256 * 1024;

/// How long to wait before looking whether the coordinator stops.
const GLANCE: Duration = Duration::from_millis(100);

/// The body of the client-port thread.
pub(super) fn listen(coordinator: &Arc<Coordinator>, listener: &TcpListener) {
    accept_loop(&*coordinator.life, listener, "client port", |stream| {
        if coordinator.sessions.len() >= coordinator.settings.connections {
            return refuse(&stream);
        }
        let stream = Arc::new(stream);
        let id = coordinator.sessions.add(&stream, None);
        let (its, its_stream) = (Arc::clone(coordinator), Arc::clone(&stream));
        let spawned = thread::Builder::new()
            .name("2pc-session".to_owned())
            .stack_size(SESSION_STACK)
            .spawn(move || {
                // What ends a session early is the client's connection; there is no one left to tell.
                let _ = Session::new(&its, &its_stream).serve();
                let _ = its_stream.shutdown(Shutdown::Both);
                its.sessions.remove(id);
            });
        if let Err(error) = spawned {
            warn!("cannot start a thread for a client: {error}");
            coordinator.sessions.remove(id);
            refuse(&stream);
        }
    });
}

/// Turns a client away.
fn refuse(mut stream: &TcpStream) {
    // A new socket's buffer has room for one line; if it has not, the client learns from the close.
    let _ = stream.set_write_timeout(Some(Duration::from_millis(100)));
    let _ = stream.write_all(ERROR);
}

/// Whether a session goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Next {
    GoOn,
    Close,
}

struct Session<'a> {
    coordinator: &'a Coordinator,
    stream: &'a Arc<TcpStream>,
    outbox: Arc<Outbox>,
    decoder: Decoder,
    /// Commands that have been decoded and not been submitted.
    commands: Vec<Command>,
    /// What is taken from the budget for the request.
    lent: usize,
}

impl Drop for Session<'_> {
    fn drop(&mut self) {
        self.outbox.close();
        self.coordinator.budget.give_back(self.lent);
    }
}

impl<'a> Session<'a> {
    fn new(coordinator: &'a Coordinator, stream: &'a Arc<TcpStream>) -> Self {
        Self {
            coordinator,
            stream,
            outbox: Arc::new(Outbox::new(Arc::clone(stream), Arc::clone(&coordinator.budget))),
            decoder: Decoder::default(),
            commands: Vec::new(),
            lent: 0,
        }
    }

    fn serve(&mut self) -> io::Result<()> {
        self.stream.set_nodelay(true)?;
        self.stream.set_write_timeout(Some(WRITE_TIMEOUT))?;
        let mut buffer = vec![0; SMALL];
        let mut filled = 0;
        loop {
            let read = match (&mut &**self.stream).read(&mut buffer[filled..]) {
                Ok(0) => return self.drain(),
                Ok(read) => read,
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                Err(error) => return Err(error),
            };
            filled += read;
            let (used, announced, next) = self.take_requests(&buffer[..filled])?;
            if next == Next::Close {
                return self.part();
            }
            if used > 0 {
                // Only then: a long request comes in many pieces, and would be copied at each.
                buffer.copy_within(used..filled, 0);
                filled -= used;
            }
            if !self.resize(&mut buffer, filled, announced) {
                return self.part();
            }
        }
    }

    /// Takes all whole requests off the front of the buffer; gives how many bytes they were, and how many the
    /// next one is known to have.
    fn take_requests(&mut self, buffer: &[u8]) -> io::Result<(usize, usize, Next)> {
        let mut used = 0;
        loop {
            let step = match &buffer[used..] {
                [] => Step::NeedMore { at_least: 1 },
                rest => self.decoder.next(rest),
            };
            match step {
                Step::NeedMore { at_least } => {
                    self.submit()?;
                    return Ok((used, at_least, Next::GoOn));
                }
                Step::Skip { consumed } => used += consumed,
                Step::Refused { consumed } => {
                    used += consumed;
                    self.refuse()?;
                }
                Step::Command { command, consumed } => {
                    used += consumed;
                    self.commands.push(owned(command));
                    if self.commands.len() >= MAX_OWED / 2 {
                        self.submit()?;
                    }
                }
                Step::Fatal => {
                    self.submit()?;
                    return Ok((used, 0, Next::Close));
                }
            }
        }
    }

    /// Hands what has been decoded to the machine, once there is room for the replies.
    fn submit(&mut self) -> io::Result<()> {
        if self.commands.is_empty() {
            return Ok(());
        }
        self.wait(MAX_OWED - self.commands.len() + 1, MAX_HELD)?;
        let first = self.outbox.owe(self.commands.len());
        self.coordinator.post(Input::Commands {
            commands: std::mem::take(&mut self.commands),
            outbox: Arc::clone(&self.outbox),
            first,
        });
        Ok(())
    }

    /// Answers a request that is no command.
    fn refuse(&mut self) -> io::Result<()> {
        self.submit()?;
        self.wait(MAX_OWED, MAX_HELD)?;
        let number = self.outbox.owe(1);
        self.outbox.fill(number, Bytes::Fixed(ERROR), ERROR);
        self.outbox.flush();
        Ok(())
    }

    /// Waits until fewer replies are owed and fewer bytes wait.
    fn wait(&self, owed: usize, held: usize) -> io::Result<()> {
        loop {
            match self.outbox.wait(owed, held, GLANCE) {
                Some(true) => return Ok(()),
                Some(false) if !self.coordinator.life.stopping() => {}
                _ => return Err(ErrorKind::BrokenPipe.into()),
            }
        }
    }

    /// The client has sent its last request: it gets what it is owed.
    fn drain(&self) -> io::Result<()> {
        self.wait(1, 1)
    }

    /// Nothing that the client sends can be understood any more.
    fn part(&self) -> io::Result<()> {
        self.drain()?;
        ports::part(self.stream, ERROR);
        Ok(())
    }

    /// Makes room for more than has come, and gives back what one large request took. `false` when there is
    /// no memory.
    fn resize(&mut self, buffer: &mut Vec<u8>, filled: usize, announced: usize) -> bool {
        if filled == buffer.len() {
            // Twice as much, but not more than the request needs.
            let most = announced.max(filled + filled / 4).min(MAX_REQUEST).max(filled + SMALL);
            let size = (filled * 2).min(most);
            if !self.coordinator.budget.covers(size, &mut self.lent) {
                return false;
            }
            buffer.reserve_exact(size - filled);
            buffer.resize(size, 0);
        } else if self.lent > 0 && filled <= LARGE {
            buffer.truncate(LARGE);
            buffer.shrink_to_fit();
            self.coordinator.budget.give_back(std::mem::take(&mut self.lent));
        }
        true
    }
}

fn owned(command: simple_resp::Command<'_>) -> Command {
    match command {
        simple_resp::Command::Set { key, value } => Command::Set { key: key.into(), value },
        simple_resp::Command::Get { key } => Command::Get { key: key.into() },
        simple_resp::Command::Del { keys } => {
            Command::Delete { keys: keys.into_iter().map(Into::into).collect() }
        }
    }
}
