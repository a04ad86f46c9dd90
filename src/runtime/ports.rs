//! What both ports share: listening, accepting until told to stop, and dialing.

use std::io::{self, ErrorKind};
use std::net::{SocketAddr, TcpListener, TcpStream, ToSocketAddrs};
use std::time::Duration;

use tracing::warn;

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

/// Whose port it is.
pub(super) trait Owner {
    /// What to call it in messages.
    fn name(&self) -> String;
    /// Whether it stops.
    fn stopping(&self) -> bool;
    /// Pauses the calling thread, not longer than until the owner stops.
    fn pause(&self, time: Duration);
}

/// Accepts connections until the owner stops (which connects once itself, to end the waiting).
pub(super) fn accept_loop(
    owner: &impl Owner,
    listener: &TcpListener,
    what: &str,
    mut handle: impl FnMut(TcpStream),
) {
    let mut complained = false;
    loop {
        let accepted = listener.accept();
        if owner.stopping() {
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
                    warn!("{}: the {what} cannot accept: {error}", owner.name());
                    complained = true;
                }
                owner.pause(BREATHER);
            }
        }
    }
}

/// Ends the wait in [`accept_loop`]; if it fails, nothing waits there any more.
pub(super) fn wake(port: SocketAddr) {
    let _ = TcpStream::connect_timeout(&reachable(port), Duration::from_millis(200));
}

/// An address to reach a listener by: one that listens everywhere is reached over loopback.
fn reachable(mut address: SocketAddr) -> SocketAddr {
    if address.ip().is_unspecified() {
        address.set_ip(match address {
            SocketAddr::V4(_) => std::net::Ipv4Addr::LOCALHOST.into(),
            SocketAddr::V6(_) => std::net::Ipv6Addr::LOCALHOST.into(),
        });
    }
    address
}
