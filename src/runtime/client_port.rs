//! The client port: accepts clients and gives each a session with a thread of its own.

use std::io::Write;
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use tracing::warn;

use super::ports::accept_loop;
use super::replica::Replica;
use super::session::Session;
use super::sessions::{SESSION_STACK, WRITE_TIMEOUT};
use super::slot::Slot;

/// The body of the client-port thread.
pub(super) fn listen(replica: &Arc<Replica>, listener: &TcpListener) {
    accept_loop(&**replica, listener, "client port", |stream| {
        if replica.sessions.len() >= replica.settings.max_connections {
            refuse(&stream, "too many open connections");
            return;
        }
        let stream = Arc::new(stream);
        let slot = Arc::new(Slot::default());
        let id = replica.sessions.add(&stream, Some(&slot));
        let its_replica = Arc::clone(replica);
        let its_stream = Arc::clone(&stream);
        let spawned = thread::Builder::new()
            .name(format!("r{}-session", replica.id))
            .stack_size(SESSION_STACK)
            .spawn(move || {
                let _ = its_stream.set_nodelay(true);
                let _ = its_stream.set_write_timeout(Some(WRITE_TIMEOUT));
                Session::new(&its_replica, &its_stream, slot, id).run();
                its_replica.sessions.remove(id);
            });
        if let Err(error) = spawned {
            warn!("replica {}: cannot start a thread for a client: {error}", replica.id);
            replica.sessions.remove(id);
            refuse(&stream, "out of threads");
        }
    });
}

/// Tells a client why it is turned away. The words are memcached's; a RESP client sees them as an error too,
/// because it has not been heard yet.
fn refuse(mut stream: &TcpStream, why: &str) {
    // A new socket's buffer has room for one line; if it has not, the client learns from the close.
    let _ = stream.set_write_timeout(Some(Duration::from_millis(100)));
    let _ = stream.write_all(format!("SERVER_ERROR {why}\r\n").as_bytes());
}
