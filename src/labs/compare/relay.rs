//! Relays between replicas: each pair's connection goes through one, so that links can fail on purpose, and be counted,
//! without the replicas knowing.
//!
//! The replica of the higher number dials the relay in the place of its peer; the relay dials the peer. Two threads a
//! connection carry what comes, one a direction. A *blocked* direction carries nothing and loses nothing: what is sent stays in
//! the sockets, as behind a partition. A *slow* one holds back each piece for its time. A *cut* closes the connection with all
//! that is on its way.

use std::io::{self, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use crate::wire::peer;
use crate::wire::traffic::{FrameCounter, Traffic};

/// How much is carried at once.
const PIECE: usize = 64 * 1024;

/// What holds a direction up, and what has passed.
#[derive(Clone, Copy, Debug, Default)]
struct Direction {
    blocked: bool,
    slower: Duration,
    passed: Traffic,
}

/// A pair's links.
#[derive(Debug, Default)]
struct State {
    /// Where the replica of the lower number listens; it moves when that starts again.
    target: Option<SocketAddr>,
    /// To the lower number, and from it.
    directions: [Direction; 2],
    /// The connections that are open.
    open: Vec<(u64, TcpStream, TcpStream)>,
    connections: u64,
    over: bool,
}

#[derive(Debug, Default)]
struct Shared {
    state: Mutex<State>,
    changed: Condvar,
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The relay of one pair of replicas.
#[derive(Debug)]
pub(super) struct Relay {
    /// Where the replica of the higher number dials.
    pub address: SocketAddr,
    shared: Arc<Shared>,
    listener: Option<thread::JoinHandle<()>>,
}

/// Which way through a relay.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Way {
    /// To the replica of the lower number.
    Down,
    /// To that of the higher.
    Up,
}

impl Relay {
    /// Opens a relay on a port of the system's choice.
    pub fn open() -> io::Result<Self> {
        let listener = TcpListener::bind(("127.0.0.1", 0))?;
        let address = listener.local_addr()?;
        let shared = Arc::new(Shared::default());
        let theirs = Arc::clone(&shared);
        let body = move || accept(&theirs, &listener);
        let thread = thread::Builder::new().name("relay".to_owned()).spawn(body)?;
        Ok(Self { address, shared, listener: Some(thread) })
    }

    /// From now on it leads there.
    pub fn lead_to(&self, target: SocketAddr) {
        self.shared.lock().target = Some(target);
    }

    /// Stops or lets pass what goes this way.
    pub fn block(&self, way: Way, blocked: bool) {
        self.shared.lock().directions[way as usize].blocked = blocked;
        self.shared.changed.notify_all();
    }

    /// Holds back what goes this way for a time.
    pub fn slow(&self, way: Way, slower: Duration) {
        self.shared.lock().directions[way as usize].slower = slower;
        self.shared.changed.notify_all();
    }

    /// Breaks the connection.
    pub fn cut(&self) {
        for (_, one, other) in self.shared.lock().open.drain(..) {
            let _ = (one.shutdown(Shutdown::Both), other.shutdown(Shutdown::Both));
        }
        self.shared.changed.notify_all();
    }

    /// What has passed in both directions.
    pub fn passed(&self) -> Traffic {
        let [down, up] = self.shared.lock().directions.map(|direction| direction.passed);
        Traffic { messages: down.messages + up.messages, bytes: down.bytes + up.bytes }
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        self.shared.lock().over = true;
        self.cut();
        // To end the waiting.
        let _ = TcpStream::connect(self.address);
        if let Some(thread) = self.listener.take() {
            let _ = thread.join();
        }
    }
}

fn accept(shared: &Arc<Shared>, listener: &TcpListener) {
    for dialler in listener.incoming() {
        let target = {
            let state = shared.lock();
            if state.over {
                return;
            }
            state.target
        };
        // A replica that is not there is not there through a relay either: the dialler finds its connection closed.
        if let (Ok(dialler), Some(target)) = (dialler, target) {
            let _ = TcpStream::connect(target).and_then(|peer| carry(shared, dialler, peer));
        }
    }
}

/// Gives a connection its two threads.
fn carry(shared: &Arc<Shared>, dialler: TcpStream, peer: TcpStream) -> io::Result<()> {
    dialler.set_nodelay(true)?;
    peer.set_nodelay(true)?;
    let number = {
        let mut state = shared.lock();
        if state.over {
            return Ok(());
        }
        state.connections += 1;
        let number = state.connections;
        state.open.push((number, dialler.try_clone()?, peer.try_clone()?));
        number
    };
    let ways = [(Way::Down, dialler.try_clone()?, peer.try_clone()?), (Way::Up, peer, dialler)];
    for (way, from, to) in ways {
        let shared = Arc::clone(shared);
        let name = format!("relay-{way:?}").to_lowercase();
        thread::Builder::new().name(name).spawn(move || {
            let _ = pump(&shared, way, number, &from, &to);
            let _ = (from.shutdown(Shutdown::Both), to.shutdown(Shutdown::Both));
            shared.lock().open.retain(|(open, _, _)| *open != number);
        })?;
    }
    Ok(())
}

/// Carries what comes in one direction until the connection ends.
fn pump(
    shared: &Shared,
    way: Way,
    number: u64,
    mut from: &TcpStream,
    mut to: &TcpStream,
) -> io::Result<()> {
    let mut piece = vec![0; PIECE];
    let (mut counter, mut preface) = (FrameCounter::default(), peer::PREFACE.len());
    loop {
        let length = match from.read(&mut piece)? {
            0 => return Ok(()),
            length => length,
        };
        if !may_pass(shared, way, number) {
            return Ok(());
        }
        let skipped = preface.min(length);
        preface -= skipped;
        let before = counter.traffic;
        counter.count(&piece[skipped..length]);
        let new = counter.traffic.since(before);
        {
            let passed = &mut shared.lock().directions[way as usize].passed;
            passed.messages += new.messages;
            passed.bytes += new.bytes;
        }
        // Whoever has it can rely on its being counted.
        to.write_all(&piece[..length])?;
    }
}

/// Waits until a piece may pass; `false` where its connection is over before.
fn may_pass(shared: &Shared, way: Way, number: u64) -> bool {
    let came = Instant::now();
    let mut state = shared.lock();
    loop {
        if !state.open.iter().any(|(open, _, _)| *open == number) {
            return false;
        }
        let direction = state.directions[way as usize];
        let left = direction.slower.saturating_sub(came.elapsed());
        state = match (direction.blocked, left) {
            (false, Duration::ZERO) => return true,
            (true, _) => shared.changed.wait(state).unwrap_or_else(PoisonError::into_inner),
            (false, left) => {
                let waited = shared.changed.wait_timeout(state, left);
                waited.unwrap_or_else(PoisonError::into_inner).0
            }
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_relay_carries_counts_holds_up_and_breaks() {
        let listener = TcpListener::bind(("127.0.0.1", 0)).expect("a port");
        let relay = Relay::open().expect("a port");
        relay.lead_to(listener.local_addr().expect("bound"));
        let mut dialler = TcpStream::connect(relay.address).expect("it listens");
        let (mut peer, _) = listener.accept().expect("the relay dials");
        let mut bytes = peer::PREFACE.to_vec();
        peer::Frame::Heartbeat.encode(&mut bytes);
        relay.block(Way::Down, true);
        dialler.write_all(&bytes).expect("there is room");
        peer.set_read_timeout(Some(Duration::from_millis(50))).expect("a time");
        let mut found = vec![0; bytes.len()];
        assert!(peer.read(&mut found).is_err(), "nothing passes");
        relay.block(Way::Down, false);
        peer.set_read_timeout(Some(Duration::from_secs(10))).expect("a time");
        peer.read_exact(&mut found).expect("it has waited");
        assert_eq!(found, bytes);
        relay.cut();
        assert_eq!(peer.read(&mut found).expect("an end"), 0);
        assert_eq!(relay.passed().messages, 1);
    }
}
