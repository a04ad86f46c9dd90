//! The client port: accepts clients and gives each a session with a thread of its own. Where peers come to the
//! same port, the first byte says which of the two a connection is: a request begins with `*`.

use std::io::{ErrorKind, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use tracing::warn;

use super::broadcast_port::Door;
use super::ports::accept_loop;
use super::replica::Replica;
use super::session::Session;
use super::sessions::{SESSION_STACK, WRITE_TIMEOUT};
use super::slot::Slot;
use crate::wire::peer::PREFACE;
use crate::wire::{Tongue, simple_resp};

/// The body of the client-port thread. With a `door`, peers come to the same port.
pub(super) fn listen(replica: &Arc<Replica>, listener: &TcpListener, door: Option<&Arc<Door>>) {
    accept_loop(&**replica, listener, "client port", |stream| {
        if replica.sessions.len() >= replica.settings.max_connections {
            match door {
                // No number of clients keeps the peers out.
                Some(door) => door.admit(stream, simple_resp::ERROR),
                None => refuse(replica, &stream, "too many open connections"),
            }
            return;
        }
        let stream = Arc::new(stream);
        let slot = Arc::new(Slot::default());
        let id = replica.sessions.add(&stream, Some(&slot));
        let its_replica = Arc::clone(replica);
        let its_stream = Arc::clone(&stream);
        let its_door = door.cloned();
        let spawned = thread::Builder::new()
            .name(format!("r{}-session", replica.id))
            .stack_size(SESSION_STACK)
            .spawn(move || {
                let peer = its_door.and_then(|door| peer_at(&its_stream).map(|peer| (door, peer)));
                if let Some((door, peer)) = peer {
                    door.admit(peer, simple_resp::ERROR);
                } else {
                    let _ = its_stream.set_nodelay(true);
                    let _ = its_stream.set_write_timeout(Some(WRITE_TIMEOUT));
                    Session::new(&its_replica, &its_stream, slot, id).run();
                }
                its_replica.sessions.remove(id);
            });
        if let Err(error) = spawned {
            warn!("replica {}: cannot start a thread for a client: {error}", replica.id);
            replica.sessions.remove(id);
            refuse(replica, &stream, "out of threads");
        }
    });
}

/// The connection, where its first byte says that it is a peer's. The byte is left to be read.
fn peer_at(stream: &TcpStream) -> Option<TcpStream> {
    let mut first = [0];
    loop {
        match stream.peek(&mut first) {
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            // What is wrong shows again when the session reads.
            Err(_) | Ok(0) => return None,
            Ok(_) => break,
        }
    }
    // The session's own handle goes with the session.
    if first[0] == PREFACE[0] { stream.try_clone().ok() } else { None }
}

/// Tells a client why it is turned away. The words are memcached's; a RESP client sees them as an error too,
/// because it has not been heard yet.
fn refuse(replica: &Replica, mut stream: &TcpStream, why: &str) {
    // A new socket's buffer has room for one line; if it has not, the client learns from the close.
    let _ = stream.set_write_timeout(Some(Duration::from_millis(100)));
    let _ = match replica.settings.tongue {
        Tongue::Either => stream.write_all(format!("SERVER_ERROR {why}\r\n").as_bytes()),
        Tongue::Simple => stream.write_all(simple_resp::ERROR),
    };
}
