//! A port that speaks lines: one request a line, one reply a line, each client with a thread of its own.
//!
//! What the lines mean is the [`Service`]'s affair. This file owns the sockets and every bound on them: the
//! number of connections, the length of a line, the memory that long lines take together, the time
//! that a client which does not read its replies can hold a thread.
//!
//! Lines that have come together are handed in together; [`Service::settle`] is called once behind them
//! and then all replies go out in one write. A service that must wait for a disk waits there, once.

use std::io::{self, ErrorKind, Read as _, Write as _};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use tracing::warn;

use super::budget::{Budget, LARGE};
use super::ports::{self, Owner};
use super::sessions::{SESSION_STACK, Sessions, WRITE_TIMEOUT};
use super::sync::{lock, pause};

/// The buffer that every session has. One whose client sends much at once has 64 KiB; what needs more is
/// taken from the budget.
const SMALL: usize = 4 * 1024;

/// Whether a session goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Flow {
    /// With the next line.
    GoOn,
    /// No: the replies so far are sent, then the connection is closed.
    Close,
}

/// Why a line never reached the service, or a client was turned away.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// The line is longer than a line may be; the rest of it is skipped.
    #[error("the request is longer than {0} bytes")]
    TooLong(usize),
    /// The long lines of all clients take all the memory there is for them; the rest of it is skipped.
    #[error("no memory for so long a request now; try again")]
    OutOfMemory,
    /// There are as many clients as there may be.
    #[error("too many open connections")]
    TooManyConnections,
    /// The system has no thread for another client.
    #[error("out of threads")]
    OutOfThreads,
}

/// What the lines mean.
pub trait Service: Send + Sync + 'static {
    /// What is kept for one connection.
    type Session: Send;

    /// Begins a session.
    fn open(&self, peer: SocketAddr) -> Self::Session;

    /// Takes one line, without its line end, and appends the reply's line to `out`, now or in
    /// [`Service::settle`]. Replies go out in the order of the requests.
    ///
    /// # Errors
    /// Only what [`Replies::flush_large`] gives: the client is gone.
    fn line(
        &self,
        session: &mut Self::Session,
        line: &[u8],
        out: &mut Replies<'_>,
    ) -> io::Result<Flow>;

    /// All lines that have come together have been handed in: what is still owed is answered now.
    ///
    /// # Errors
    /// As for [`Service::line`].
    fn settle(&self, _session: &mut Self::Session, _out: &mut Replies<'_>) -> io::Result<Flow> {
        Ok(Flow::GoOn)
    }

    /// The line, with its line feed, that tells a client of a refusal. What `line` still owes is settled first.
    fn refusal(&self, refusal: Refusal) -> Vec<u8>;

    /// Whether the connection goes on after a line has been refused.
    fn after_refusal(&self) -> Flow {
        Flow::GoOn
    }
}

/// The replies on their way to one client.
#[derive(Debug)]
pub struct Replies<'a> {
    /// The bytes that are not sent yet.
    pub bytes: Vec<u8>,
    stream: &'a TcpStream,
}

impl Replies<'_> {
    /// Sends what there is once it is much (64 KiB), so that a reply of any length takes little memory.
    ///
    /// # Errors
    /// The client is gone, or has not read for 30 s.
    pub fn flush_large(&mut self) -> io::Result<()> {
        if self.bytes.len() >= LARGE { self.flush() } else { Ok(()) }
    }

    /// Sends what there is.
    ///
    /// # Errors
    /// As for [`Replies::flush_large`].
    pub fn flush(&mut self) -> io::Result<()> {
        if !self.bytes.is_empty() {
            let mut stream = self.stream;
            stream.write_all(&self.bytes)?;
            self.bytes.clear();
            self.bytes.shrink_to(LARGE);
        }
        Ok(())
    }
}

/// The bounds of a port.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bounds {
    /// The most clients at a time.
    pub connections: usize,
    /// The longest line in bytes, without its line end.
    pub line: usize,
    /// The memory that all lines of more than 64 KiB may take together, in bytes.
    pub memory: usize,
    /// How long a client may say nothing; for ever where it is `None`.
    pub idle: Option<Duration>,
}

impl Default for Bounds {
    fn default() -> Self {
        Self { connections: 10_000, line: 16 * 1024 * 1024, memory: 256 * 1024 * 1024, idle: None }
    }
}

struct Shared<S> {
    service: Arc<S>,
    name: String,
    bounds: Bounds,
    budget: Budget,
    sessions: Sessions,
    stop: AtomicBool,
    paused: Mutex<()>,
    stopped: Condvar,
}

impl<S: Service> Owner for Shared<S> {
    fn name(&self) -> String {
        self.name.clone()
    }

    fn stopping(&self) -> bool {
        self.stop.load(Ordering::Acquire)
    }

    fn pause(&self, time: Duration) {
        pause(&self.paused, &self.stopped, time, || self.stopping());
    }
}

/// A port with its threads.
pub struct LineServer<S: Service> {
    shared: Arc<Shared<S>>,
    address: SocketAddr,
    thread: Option<JoinHandle<()>>,
}

/// A port that is bound and does not accept yet: clients may connect and wait.
#[derive(Debug)]
pub struct BoundPort {
    listener: TcpListener,
    address: SocketAddr,
}

impl BoundPort {
    /// Takes a port of this host; 0 lets the system choose.
    ///
    /// # Errors
    /// The host has no address, or the port is taken ([`ErrorKind::AddrInUse`]).
    pub fn bind(host: &str, port: u16) -> io::Result<Self> {
        let listener = ports::bind(host, port)?;
        Ok(Self { address: listener.local_addr()?, listener })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }
}

impl<S: Service> LineServer<S> {
    /// Begins to serve. `name` goes into the names of the threads and into messages.
    ///
    /// # Errors
    /// The system has no thread left.
    pub fn start(name: &str, port: BoundPort, service: Arc<S>, bounds: Bounds) -> io::Result<Self> {
        let shared = Arc::new(Shared {
            service,
            name: name.to_owned(),
            bounds,
            budget: Budget::new(bounds.memory),
            sessions: Sessions::default(),
            stop: AtomicBool::new(false),
            paused: Mutex::new(()),
            stopped: Condvar::new(),
        });
        let its_shared = Arc::clone(&shared);
        let listener = port.listener;
        let thread = thread::Builder::new()
            .name(format!("{name}-port"))
            .spawn(move || listen(&its_shared, &listener))?;
        Ok(Self { shared, address: port.address, thread: Some(thread) })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// How many clients are connected.
    pub fn connections(&self) -> usize {
        self.shared.sessions.len()
    }

    /// Stops: no new connection, the open ones closed; waits half a second for their threads.
    pub fn stop(&mut self) {
        let Some(thread) = self.thread.take() else { return };
        self.shared.stop.store(true, Ordering::Release);
        drop(lock(&self.shared.paused));
        self.shared.stopped.notify_all();
        ports::wake(self.address);
        self.shared.sessions.end_all(Instant::now() + Duration::from_millis(500));
        // A thread that panicked has said so on stderr.
        let _ = thread.join();
    }
}

impl<S: Service> Drop for LineServer<S> {
    fn drop(&mut self) {
        self.stop();
    }
}

fn listen<S: Service>(shared: &Arc<Shared<S>>, listener: &TcpListener) {
    ports::accept_loop(&**shared, listener, "port", |stream| {
        if shared.sessions.len() >= shared.bounds.connections {
            return refuse(shared, &stream, Refusal::TooManyConnections);
        }
        let stream = Arc::new(stream);
        let id = shared.sessions.add(&stream, None);
        let (its_shared, its_stream) = (Arc::clone(shared), Arc::clone(&stream));
        let spawned = thread::Builder::new()
            .name(format!("{}-session", shared.name))
            .stack_size(SESSION_STACK)
            .spawn(move || {
                // What ends a session early is the client's connection; there is no one left to tell.
                let _ = Session::new(&its_shared, &its_stream).serve();
                let _ = its_stream.shutdown(Shutdown::Both);
                its_shared.sessions.remove(id);
            });
        if let Err(error) = spawned {
            warn!("{}: cannot start a thread for a client: {error}", shared.name);
            shared.sessions.remove(id);
            refuse(shared, &stream, Refusal::OutOfThreads);
        }
    });
}

/// Tells a client why it is turned away.
fn refuse<S: Service>(shared: &Shared<S>, mut stream: &TcpStream, why: Refusal) {
    // A new socket's buffer has room for one line; if it has not, the client learns from the close.
    let _ = stream.set_write_timeout(Some(Duration::from_millis(100)));
    let _ = stream.write_all(&shared.service.refusal(why));
}

/// One client's connection. `buffer[..filled]` begins with an unfinished line, of which the first
/// `searched` bytes hold no line feed.
struct Session<'a, S: Service> {
    shared: &'a Shared<S>,
    stream: &'a TcpStream,
    buffer: Vec<u8>,
    filled: usize,
    searched: usize,
    /// The rest of a refused line is still to come.
    skipping: bool,
    /// What is taken from the budget.
    borrowed: usize,
    /// The client sends more at once than the small buffer holds.
    much: bool,
    out: Replies<'a>,
}

impl<S: Service> Drop for Session<'_, S> {
    fn drop(&mut self) {
        self.shared.budget.give_back(self.borrowed);
    }
}

impl<'a, S: Service> Session<'a, S> {
    fn new(shared: &'a Shared<S>, stream: &'a TcpStream) -> Self {
        Self {
            shared,
            stream,
            buffer: vec![0; SMALL],
            filled: 0,
            searched: 0,
            skipping: false,
            borrowed: 0,
            much: false,
            out: Replies { bytes: Vec::new(), stream },
        }
    }

    fn serve(&mut self) -> io::Result<()> {
        self.stream.set_nodelay(true)?;
        self.stream.set_write_timeout(Some(WRITE_TIMEOUT))?;
        self.stream.set_read_timeout(self.shared.bounds.idle)?;
        let mut session = self.shared.service.open(self.stream.peer_addr()?);
        let mut stream = self.stream;
        loop {
            let room = self.buffer.len() - self.filled;
            let read = match stream.read(&mut self.buffer[self.filled..]) {
                Ok(0) => return Ok(()),
                Ok(read) => read,
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                Err(error) => return Err(error),
            };
            self.filled += read;
            self.much = read == room || (self.much && read > SMALL);
            let flow = self.take_lines(&mut session)?;
            self.out.flush()?;
            if flow == Flow::Close || self.shared.stopping() {
                return Ok(());
            }
            if self.make_room(&mut session)? == Flow::Close {
                self.out.flush()?;
                return Ok(());
            }
            self.out.flush()?;
        }
    }

    /// Hands in all whole lines, and settles.
    fn take_lines(&mut self, session: &mut S::Session) -> io::Result<Flow> {
        let service = &*self.shared.service;
        let mut start = 0;
        let mut flow = Flow::GoOn;
        while flow == Flow::GoOn {
            let from = self.searched.max(start);
            let Some(end) = memchr::memchr(b'\n', &self.buffer[from..self.filled]) else { break };
            let end = from + end;
            let line = &self.buffer[start..end];
            let line = line.strip_suffix(b"\r").unwrap_or(line);
            if std::mem::take(&mut self.skipping) {
                // The end of what was refused.
            } else if line.len() > self.shared.bounds.line {
                flow = self.refuse(session, Refusal::TooLong(self.shared.bounds.line))?;
            } else {
                flow = service.line(session, line, &mut self.out)?;
                self.out.flush_large()?;
            }
            start = end + 1;
        }
        if start > 0 {
            self.buffer.copy_within(start..self.filled, 0);
            self.filled -= start;
        }
        self.searched = self.filled;
        match service.settle(session, &mut self.out)? {
            Flow::Close => Ok(Flow::Close),
            Flow::GoOn => Ok(flow),
        }
    }

    fn refuse(&mut self, session: &mut S::Session, why: Refusal) -> io::Result<Flow> {
        let flow = self.shared.service.settle(session, &mut self.out)?;
        self.out.bytes.extend_from_slice(&self.shared.service.refusal(why));
        Ok(if flow == Flow::Close { flow } else { self.shared.service.after_refusal() })
    }

    /// Makes room for more of a long line, or begins to skip it; gives back what one took.
    fn make_room(&mut self, session: &mut S::Session) -> io::Result<Flow> {
        let bound = self.shared.bounds.line;
        let mut flow = Flow::GoOn;
        if self.skipping || self.filled > bound.saturating_add(1) {
            if !self.skipping {
                flow = self.refuse(session, Refusal::TooLong(bound))?;
            }
            self.skip();
        } else if self.filled == self.buffer.len() {
            // Two bytes more than a line with its line end: what fills it is too long.
            let size = (self.buffer.len() * 2).min(bound.saturating_add(3)).max(LARGE);
            let more = size.saturating_sub(LARGE.max(self.buffer.len()));
            if more > 0 && !self.shared.budget.take(more) {
                flow = self.refuse(session, Refusal::OutOfMemory)?;
                self.skip();
            } else {
                self.borrowed += more;
                self.resize(size);
            }
        } else if self.filled <= SMALL {
            self.shrink();
        }
        Ok(flow)
    }

    /// Makes the buffer so large and no larger.
    fn resize(&mut self, size: usize) {
        self.buffer.reserve_exact(size.saturating_sub(self.buffer.len()));
        self.buffer.resize(size, 0);
        self.buffer.shrink_to_fit();
    }

    fn skip(&mut self) {
        self.skipping = true;
        (self.filled, self.searched) = (0, 0);
        self.shrink();
    }

    /// Back to what the client's habit asks for.
    fn shrink(&mut self) {
        let size = if self.much { LARGE } else { SMALL };
        if self.buffer.len() != size {
            self.resize(size);
        }
        self.shared.budget.give_back(std::mem::take(&mut self.borrowed));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::io::{BufRead, BufReader};

    /// Answers each line with its length and its hash, `later` only when all have come; counts what it is asked.
    #[derive(Default)]
    struct Lengths {
        settled: std::sync::atomic::AtomicUsize,
    }

    impl Service for Lengths {
        type Session = Vec<String>;

        fn open(&self, _peer: SocketAddr) -> Vec<String> {
            Vec::new()
        }

        fn line(
            &self,
            owed: &mut Vec<String>,
            line: &[u8],
            out: &mut Replies<'_>,
        ) -> io::Result<Flow> {
            if line.starts_with(b"later") {
                owed.push(answer(line));
                return Ok(Flow::GoOn);
            }
            let flow = self.settle(owed, out)?;
            out.bytes.extend_from_slice(answer(line).as_bytes());
            Ok(if line == b"bye" { Flow::Close } else { flow })
        }

        fn settle(&self, owed: &mut Vec<String>, out: &mut Replies<'_>) -> io::Result<Flow> {
            self.settled.fetch_add(1, Ordering::Relaxed);
            owed.drain(..).for_each(|answer| out.bytes.extend_from_slice(answer.as_bytes()));
            Ok(Flow::GoOn)
        }

        fn refusal(&self, refusal: Refusal) -> Vec<u8> {
            format!("{refusal}\n").into_bytes()
        }
    }

    fn answer(line: &[u8]) -> String {
        format!("{} {:08x}\n", line.len(), crc32fast::hash(line))
    }

    fn serve(bounds: Bounds) -> (LineServer<Lengths>, Arc<Lengths>) {
        let service = Arc::new(Lengths::default());
        let port = BoundPort::bind("127.0.0.1", 0).expect("a port");
        let its_service = Arc::clone(&service);
        let server = LineServer::start("test", port, its_service, bounds).expect("a thread");
        (server, service)
    }

    fn connect(server: &LineServer<Lengths>) -> TcpStream {
        let stream = TcpStream::connect(server.address()).expect("it listens");
        stream.set_nodelay(true).expect("a socket");
        stream.set_read_timeout(Some(Duration::from_secs(30))).expect("a socket");
        stream
    }

    /// All that is answered when no more is asked.
    fn all(mut stream: TcpStream) -> String {
        stream.shutdown(Shutdown::Write).expect("it is open");
        let mut text = String::new();
        stream.read_to_string(&mut text).expect("text");
        text
    }

    fn small(line: usize) -> Bounds {
        Bounds { line, ..Bounds::default() }
    }

    #[test]
    fn a_line_may_be_as_long_as_the_bound_and_no_longer() {
        let bound = 100_000;
        let (server, _) = serve(small(bound));
        for end in ["\n", "\r\n"] {
            for (length, fits) in [(bound - 1, true), (bound, true), (bound + 1, false)] {
                let line = vec![b'x'; length];
                let expected =
                    if fits { answer(&line) } else { format!("{}\n", Refusal::TooLong(bound)) };
                let expected = expected + &answer(b"next");
                let sent = [&line, end.as_bytes(), b"next\n"].concat();
                for pieces in [1, 7, 50] {
                    let mut stream = connect(&server);
                    for piece in sent.chunks(sent.len().div_ceil(pieces)) {
                        stream.write_all(piece).expect("it reads");
                    }
                    assert_eq!(all(stream), expected, "{length} bytes, {end:?}, {pieces} pieces");
                }
            }
        }
    }

    #[test]
    fn lines_that_come_together_are_settled_together_and_in_order() {
        let (server, service) = serve(small(1000));
        let mut stream = connect(&server);
        let lines = ["later 1", "later 2", "now", "later 3", "", "later 4"];
        stream
            .write_all(lines.map(|line| line.to_owned() + "\n").concat().as_bytes())
            .expect("open");
        let expected: String = lines.iter().map(|line| answer(line.as_bytes())).collect();
        assert_eq!(all(stream), expected);
        let settled = service.settled.load(Ordering::Relaxed);
        assert!(
            settled >= 3,
            "twice for a line that is answered at once, and behind all: {settled}"
        );
    }

    #[test]
    fn a_refusal_comes_behind_what_was_owed() {
        let (server, _) = serve(small(20));
        let mut stream = connect(&server);
        let long = "x".repeat(10_000);
        stream
            .write_all(format!("later\n{long}\nlater too\n{long}{long}").as_bytes())
            .expect("open");
        let refusal = format!("{}\n", Refusal::TooLong(20));
        assert_eq!(
            all(stream),
            [answer(b"later"), refusal.clone(), answer(b"later too"), refusal].concat()
        );
    }

    #[test]
    fn what_follows_a_goodbye_is_not_read() {
        let (server, _) = serve(small(20));
        let mut stream = connect(&server);
        stream.write_all(b"bye\nmore\n").expect("open");
        let mut text = String::new();
        stream.read_to_string(&mut text).expect("text");
        assert_eq!(text, answer(b"bye"));
    }

    #[test]
    fn long_lines_share_a_memory() {
        let bounds = Bounds { line: 1 << 20, memory: 1 << 20, ..Bounds::default() };
        let (server, _) = serve(bounds);
        let line = vec![b'x'; 900_000];
        let (mut first, mut second) = (connect(&server), connect(&server));
        first.write_all(&line).expect("open");
        let deadline = Instant::now() + Duration::from_secs(30);
        // Until the first line has taken its share, there is room for a second.
        while server.shared.budget.take(500_000) {
            server.shared.budget.give_back(500_000);
            assert!(Instant::now() < deadline, "the line takes no memory");
            thread::yield_now();
        }
        second.write_all(&line).expect("open");
        second.write_all(b"\nshort\n").expect("open");
        assert_eq!(all(second), format!("{}\n{}", Refusal::OutOfMemory, answer(b"short")));
        first.write_all(b"\n").expect("open");
        assert_eq!(all(first), answer(&line));
        let mut third = connect(&server);
        third.write_all(&[&line[..], b"\n"].concat()).expect("open");
        assert_eq!(all(third), answer(&line), "the memory was given back");
    }

    #[test]
    fn too_many_clients_are_told_so() {
        let (server, _) = serve(Bounds { connections: 1, ..Bounds::default() });
        let mut first = connect(&server);
        first.write_all(b"a\n").expect("open");
        let mut reader = BufReader::new(first.try_clone().expect("a socket"));
        reader.read_line(&mut String::new()).expect("it is served");
        assert_eq!(server.connections(), 1);
        let mut text = String::new();
        connect(&server).read_to_string(&mut text).expect("text");
        assert_eq!(text, format!("{}\n", Refusal::TooManyConnections));
    }

    #[test]
    fn stopping_ends_all_sessions() {
        let (mut server, _) = serve(small(1000));
        let mut streams: Vec<_> = (0..20).map(|_| connect(&server)).collect();
        for stream in &mut streams {
            stream.write_all(b"a\nhalf a line").expect("open");
            BufReader::new(&*stream).read_line(&mut String::new()).expect("it is served");
        }
        server.stop();
        assert_eq!(server.connections(), 0);
        for mut stream in streams {
            assert_eq!(stream.read(&mut [0; 10]).unwrap_or(0), 0);
        }
        assert!(TcpStream::connect(server.address()).is_err());
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

        /// However the bytes are cut into pieces, the lines are the same.
        #[test]
        fn pieces_make_no_difference(
            lines in proptest::collection::vec((proptest::collection::vec(b' '..=b'z', 0..12), 1..1500usize), 0..12),
            cuts in proptest::collection::vec(1..6000usize, 1..20),
        ) {
            let bound = 5000;
            let (server, _) = serve(small(bound));
            let lines: Vec<Vec<u8>> = lines.iter().map(|(text, times)| text.repeat(*times)).collect();
            let mut stream = connect(&server);
            let mut sent = &lines.iter().flat_map(|line| [&line[..], b"\n"].concat()).collect::<Vec<u8>>()[..];
            for cut in cuts.iter().cycle() {
                let (piece, rest) = sent.split_at((*cut).min(sent.len()));
                stream.write_all(piece).expect("open");
                sent = rest;
                if sent.is_empty() {
                    break;
                }
            }
            let expected: String = lines
                .iter()
                .map(|line| if line.len() > bound { format!("{}\n", Refusal::TooLong(bound)) } else { answer(line) })
                .collect();
            prop_assert_eq!(all(stream), expected);
        }
    }
}
