//! The sending half of a link: a queue of encoded frames, and whoever happens to flush it.
//!
//! No thread is woken to send: the thread that put frames into the queue sends them, together with all
//! that has gathered there meanwhile, without ever blocking. While something sent is still unanswered,
//! further frames gather, and the thread that reads the answer sends them ([`Link::flush_unless_busy`]): one
//! client is served at once, and fifty share their system calls. Only when the peer does not take more does the
//! link's own writer thread step in and wait. So a stalled peer costs one waiting thread and a bounded
//! queue, and never holds up a client or another link.

use std::io;
use std::net::{Shutdown, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, TryLockError};
use std::time::Duration;

use super::sync::lock;

/// The most bytes that wait for one peer; at the bound the link is cut, and what it lost is sent again
/// out of the protocol's own state when it is back.
const QUEUE_BOUND: usize = 256 * 1024 * 1024;

/// How much is written at once where writing waits.
const PIECE: usize = 1 << 20;

/// `MSG_DONTWAIT` | `MSG_NOSIGNAL` where they have Linux's values.
#[cfg(target_os = "linux")]
const DONT_WAIT: i32 = 0x40 | 0x4000;
/// `MSG_DONTWAIT` as the BSDs and macOS number it.
#[cfg(not(target_os = "linux"))]
const DONT_WAIT: i32 = 0x80;

#[derive(Debug, Default)]
struct Queue {
    frames: Vec<u8>,
    /// The present connection; its number tells it from those before.
    stream: Option<Arc<TcpStream>>,
    session: u64,
    closed: bool,
}

/// What has been taken from the queue and is on its way into the socket.
#[derive(Debug, Default)]
struct Sending {
    bytes: Vec<u8>,
    sent: usize,
    session: u64,
}

/// The sending half of the link to one peer.
#[derive(Debug)]
pub(super) struct Link {
    /// The most bytes that wait.
    bound: usize,
    queue: Mutex<Queue>,
    sending: Mutex<Sending>,
    /// The peer takes no more; the writer thread waits for it.
    blocked: AtomicBool,
    wake_writer: Condvar,
    /// Something was sent, and nothing has been heard since.
    unanswered: AtomicBool,
    /// When bytes last came, in milliseconds since the driver's start.
    heard_at: AtomicU64,
}

/// How far sending without waiting came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Sent {
    /// To the end.
    All,
    /// The other side takes no more now.
    Blocked,
    /// The connection is lost.
    Lost,
}

impl Default for Link {
    fn default() -> Self {
        Self::with_bound(QUEUE_BOUND)
    }
}

impl Link {
    /// A link for which at most so many bytes wait.
    pub(super) fn with_bound(bound: usize) -> Self {
        Self {
            bound,
            queue: Mutex::default(),
            sending: Mutex::default(),
            blocked: AtomicBool::new(false),
            wake_writer: Condvar::new(),
            unanswered: AtomicBool::new(false),
            heard_at: AtomicU64::new(0),
        }
    }

    /// Puts a new connection in the place of the one before. Gives the number of the session.
    pub(super) fn attach(&self, stream: Arc<TcpStream>) -> u64 {
        let mut queue = lock(&self.queue);
        if let Some(old) = queue.stream.replace(stream) {
            let _ = old.shutdown(Shutdown::Both);
        }
        queue.frames.clear();
        self.unanswered.store(false, Ordering::SeqCst);
        queue.session += 1;
        queue.session
    }

    /// Closes the connection of this session, if it is still the present one.
    pub(super) fn detach(&self, session: u64) -> bool {
        let mut queue = lock(&self.queue);
        if queue.session != session || queue.stream.is_none() {
            return false;
        }
        Self::drop_stream(&mut queue);
        true
    }

    /// Closes the link for good and ends its writer thread.
    pub(super) fn close(&self) {
        let mut queue = lock(&self.queue);
        Self::drop_stream(&mut queue);
        queue.closed = true;
        self.wake_writer.notify_all();
    }

    fn drop_stream(queue: &mut Queue) {
        if let Some(old) = queue.stream.take() {
            let _ = old.shutdown(Shutdown::Both);
        }
        queue.frames = Vec::new();
    }

    /// Whether this session is the present one.
    pub(super) fn is_current(&self, session: u64) -> bool {
        let queue = lock(&self.queue);
        queue.session == session && queue.stream.is_some()
    }

    /// Whether there is a connection.
    pub(super) fn is_connected(&self) -> bool {
        lock(&self.queue).stream.is_some()
    }

    /// Puts frames into the queue and leaves `frames` empty. `false` when the queue is full: the link is cut.
    pub(super) fn enqueue(&self, frames: &mut Vec<u8>) -> bool {
        let mut queue = lock(&self.queue);
        if queue.stream.is_none() {
            frames.clear();
            return true;
        }
        if queue.frames.is_empty() {
            std::mem::swap(&mut queue.frames, frames);
        } else if queue.frames.len() + frames.len() > self.bound {
            frames.clear();
            Self::drop_stream(&mut queue);
            return false;
        } else {
            queue.frames.append(frames);
        }
        true
    }

    /// Sends what has gathered, unless the peer still owes an answer: its arrival brings a flush of all that
    /// gathers until then. `false` when that is left to happen.
    ///
    /// With `asks`, what is sent is a client's write, which the peer will answer; acknowledgements and the
    /// like nobody answers, and nothing waits behind them.
    pub(super) fn flush_unless_busy(&self, asks: bool) -> bool {
        let queue = lock(&self.queue);
        if queue.frames.is_empty() {
            return true;
        }
        // Set before the frames leave, so that an answer can only clear it afterwards, and with the queue locked,
        // so that nobody has sent them meanwhile: nothing would clear it then.
        let busy =
            if asks { self.unanswered.swap(true, Ordering::SeqCst) } else { self.owes_an_answer() };
        drop(queue);
        if !busy {
            self.flush();
        }
        !busy
    }

    /// Whether the peer was asked something, and nothing has been heard since.
    pub(super) fn owes_an_answer(&self) -> bool {
        self.unanswered.load(Ordering::SeqCst)
    }

    /// Bytes have come from the peer, of a frame that may take long to come whole.
    pub(super) fn note_bytes(&self, at: Duration) {
        let at = u64::try_from(at.as_millis()).unwrap_or(u64::MAX);
        self.heard_at.store(at, Ordering::Relaxed);
    }

    /// When bytes last came, since the driver's start.
    pub(super) fn heard_at(&self) -> Duration {
        Duration::from_millis(self.heard_at.load(Ordering::Relaxed))
    }

    /// The number of the present session.
    pub(super) fn session(&self) -> u64 {
        lock(&self.queue).session
    }

    /// A frame has come from the peer.
    pub(super) fn heard(&self) {
        self.unanswered.store(false, Ordering::SeqCst);
    }

    /// Sends what has gathered, as far as the peer takes it, without waiting.
    pub(super) fn flush(&self) {
        loop {
            if self.blocked.load(Ordering::Acquire) {
                return;
            }
            let mut sending = match self.sending.try_lock() {
                Ok(sending) => sending,
                // Whoever sends looks into the queue again before it leaves.
                Err(TryLockError::WouldBlock) => return,
                Err(TryLockError::Poisoned(poisoned)) => poisoned.into_inner(),
            };
            while let Some((stream, session)) = self.take(&mut sending) {
                match send_now(&stream, &mut sending) {
                    Sent::All => {}
                    Sent::Blocked => {
                        self.blocked.store(true, Ordering::Release);
                        let _queue = lock(&self.queue);
                        self.wake_writer.notify_all();
                        return;
                    }
                    Sent::Lost => {
                        self.detach(session);
                    }
                }
            }
            drop(sending);
            if lock(&self.queue).frames.is_empty() {
                return;
            }
        }
    }

    /// Moves the queue into `sending`; `None` when there is nothing to send or nowhere to send it.
    fn take(&self, sending: &mut Sending) -> Option<(Arc<TcpStream>, u64)> {
        let mut queue = lock(&self.queue);
        let stream = queue.stream.clone()?;
        if sending.session != queue.session || sending.sent == sending.bytes.len() {
            sending.session = queue.session;
            sending.sent = 0;
            sending.bytes.clear();
            // A buffer that one large value stretched is not kept.
            sending.bytes.shrink_to(1024 * 1024);
            std::mem::swap(&mut sending.bytes, &mut queue.frames);
        }
        (!sending.bytes.is_empty()).then_some((stream, queue.session))
    }

    /// The body of the link's writer thread: waits where [`Link::flush`] must not.
    /// `taken` is told whenever the peer has taken more: it lives, although a long frame may keep it from
    /// saying so.
    pub(super) fn write_blocked(&self, taken: impl Fn()) {
        loop {
            let mut queue = lock(&self.queue);
            while !queue.closed && !self.blocked.load(Ordering::Acquire) {
                queue = match self.wake_writer.wait(queue) {
                    Ok(queue) => queue,
                    Err(poisoned) => poisoned.into_inner(),
                };
            }
            if queue.closed {
                return;
            }
            drop(queue);
            let mut sending = lock(&self.sending);
            while let Some((stream, session)) = self.take(&mut sending) {
                if write_fully(&stream, &mut sending, &taken).is_err() {
                    self.detach(session);
                }
            }
            self.blocked.store(false, Ordering::Release);
            drop(sending);
            self.flush();
        }
    }
}

fn write_fully(mut stream: &TcpStream, sending: &mut Sending, taken: &impl Fn()) -> io::Result<()> {
    use io::Write;
    while sending.sent < sending.bytes.len() {
        let end = sending.bytes.len().min(sending.sent + PIECE);
        match stream.write(&sending.bytes[sending.sent..end]) {
            Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
            Ok(n) => {
                sending.sent += n;
                taken();
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

fn send_now(stream: &TcpStream, sending: &mut Sending) -> Sent {
    send_without_waiting(stream, &sending.bytes, &mut sending.sent)
}

/// Sends `bytes` from `sent` on, as far as the other side takes them now.
pub(super) fn send_without_waiting(stream: &TcpStream, bytes: &[u8], sent: &mut usize) -> Sent {
    let socket = socket2::SockRef::from(stream);
    while *sent < bytes.len() {
        match socket.send_with_flags(&bytes[*sent..], DONT_WAIT) {
            Ok(0) => return Sent::Lost,
            Ok(n) => *sent += n,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Sent::Blocked,
            Err(_) => return Sent::Lost,
        }
    }
    Sent::All
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::net::TcpListener;
    use std::thread;

    use super::*;

    /// A peer that answers every byte with the same byte, and this side's connection to it.
    fn echo() -> Arc<TcpStream> {
        let listener = TcpListener::bind(("127.0.0.1", 0)).expect("a free port");
        let stream = TcpStream::connect(listener.local_addr().expect("bound")).expect("it listens");
        let (mut peer, _) = listener.accept().expect("somebody connects");
        thread::spawn(move || {
            let mut buffer = [0; 256];
            while let Ok(n @ 1..) = peer.read(&mut buffer) {
                peer.write_all(&buffer[..n]).expect("the other side reads");
            }
        });
        Arc::new(stream)
    }

    #[test]
    fn what_gathers_never_waits_for_an_answer_that_nobody_owes() {
        let link = Link::default();
        let stream = echo();
        link.attach(Arc::clone(&stream));
        let (answered, answers): (Vec<_>, Vec<_>) =
            (0..8_u8).map(|_| crossbeam_channel::bounded(1)).unzip();
        thread::scope(|scope| {
            let link = &link;
            scope.spawn(move || {
                let mut buffer = [0; 256];
                while let Ok(n @ 1..) = (&*stream).read(&mut buffer) {
                    link.heard();
                    link.flush_unless_busy(true);
                    for asked in &buffer[..n] {
                        answered[usize::from(*asked)].send(()).expect("it waits for that");
                    }
                }
            });
            let askers: Vec<_> = (0..)
                .zip(answers)
                .map(|(number, answer)| {
                    scope.spawn(move || {
                        for _ in 0..2_000 {
                            assert!(link.enqueue(&mut vec![number]), "the queue is not full");
                            link.flush_unless_busy(true);
                            answer.recv_timeout(Duration::from_secs(10)).map_err(|_| number)?;
                        }
                        Ok::<(), u8>(())
                    })
                })
                .collect();
            let ends: Vec<_> = askers.into_iter().map(|asker| asker.join()).collect();
            link.close();
            for end in ends {
                assert_eq!(end.expect("no asker panics"), Ok(()), "its byte was never sent");
            }
        });
    }
}
