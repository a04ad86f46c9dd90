//! What both ports share: listening, accepting until told to stop, and dialing.

use std::io::{self, ErrorKind};
use std::net::{TcpListener, TcpStream, ToSocketAddrs};
use std::time::Duration;

use tracing::warn;

use super::replica::Replica;

/// How long to leave a system alone that has no more sockets or memory.
const BREATHER: Duration = Duration::from_millis(100);

/// The connections that may wait to be accepted.
const BACKLOG: i32 = 4096;

/// Listens on an address, so that it can be used again right after a restart.
pub(super) fn bind(host: &str, port: u16) -> io::Result<TcpListener> {
    let address = (host, port)
        .to_socket_addrs()?
        .next()
        .ok_or_else(|| io::Error::new(ErrorKind::NotFound, format!("{host} has no address")))?;
    let domain = socket2::Domain::for_address(address);
    let socket = socket2::Socket::new(domain, socket2::Type::STREAM, None)?;
    socket.set_reuse_address(true)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    Ok(socket.into())
}

/// Connects to `HOST:PORT` within a time.
///
/// Where nobody listens on a port that the system also gives to outgoing connections, TCP may connect
/// a socket to itself sooner or later; it would then hold the very port that it waits for.
pub(super) fn connect(address: &str, timeout: Duration) -> io::Result<TcpStream> {
    let mut last = io::Error::new(ErrorKind::NotFound, format!("{address} has no address"));
    for address in address.to_socket_addrs()? {
        match TcpStream::connect_timeout(&address, timeout) {
            Ok(stream) if stream.local_addr()? == address => {
                last = ErrorKind::ConnectionRefused.into();
            }
            Ok(stream) => return Ok(stream),
            Err(error) => last = error,
        }
    }
    Err(last)
}

/// Accepts connections until the replica stops (which connects once itself, to end the waiting).
pub(super) fn accept_loop(
    replica: &Replica,
    listener: &TcpListener,
    what: &str,
    mut handle: impl FnMut(TcpStream),
) {
    let mut complained = false;
    loop {
        let accepted = listener.accept();
        if replica.stopping() {
            return;
        }
        match accepted {
            Ok((stream, _)) => {
                complained = false;
                handle(stream);
            }
            // The client went away while it waited; nothing is wrong here.
            Err(error)
                if matches!(
                    error.kind(),
                    ErrorKind::Interrupted | ErrorKind::ConnectionAborted
                ) => {}
            Err(error) => {
                if !complained {
                    warn!("replica {}: the {what} cannot accept: {error}", replica.id);
                    complained = true;
                }
                replica.pause(BREATHER);
            }
        }
    }
}
