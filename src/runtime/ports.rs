//! What both ports share: listening, accepting until told to stop, and dialing.

use std::io::{self, ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream, ToSocketAddrs};
use std::time::{Duration, Instant};

use tracing::warn;

/// How long to leave a system alone that has no more sockets or memory.
const BREATHER: Duration = Duration::from_millis(100);

/// How long the last words to a client may take.
const PARTING: Duration = Duration::from_millis(250);

/// The connections that may wait to be accepted.
const BACKLOG: i32 = 4096;

/// Listens on an address, so that it can be used again right after a restart.
pub(super) fn bind(host: &str, port: u16) -> io::Result<TcpListener> {
    bind_to((host, port))
}

/// Listens on an address of any form, such as `HOST:PORT`.
pub(super) fn bind_to(address: impl ToSocketAddrs) -> io::Result<TcpListener> {
    let address = address
        .to_socket_addrs()?
        .next()
        .ok_or_else(|| io::Error::new(ErrorKind::NotFound, "the host has no address"))?;
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
        match connect_to(address, timeout) {
            Ok(stream) => return Ok(stream),
            Err(error) => last = error,
        }
    }
    Err(last)
}

fn connect_to(address: SocketAddr, timeout: Duration) -> io::Result<TcpStream> {
    let stream = TcpStream::connect_timeout(&address, timeout)?;
    match stream.local_addr()? == address {
        true => Err(ErrorKind::ConnectionRefused.into()),
        false => Ok(stream),
    }
}

/// Whether the system that has this address says that nobody listens there: whoever did has ended. No
/// answer says nothing.
pub(super) fn is_refused(address: &str, timeout: Duration) -> bool {
    let refused = |error: io::Error| error.kind() == ErrorKind::ConnectionRefused;
    let Ok(addresses) = address.to_socket_addrs() else { return false };
    let mut all = addresses.map(|one| connect_to(one, timeout).is_err_and(refused)).peekable();
    all.peek().is_some() && all.all(|refused| refused)
}

/// Tells the other side something last and parts from it, so that the words arrive: closing a connection on
/// which unread bytes lie would have the system discard them on the way.
pub(super) fn part(mut stream: &TcpStream, last_words: &[u8]) {
    let deadline = Instant::now() + PARTING;
    let _ = stream.set_write_timeout(Some(PARTING));
    let _ = stream.set_read_timeout(Some(PARTING));
    if stream.write_all(last_words).is_ok() && stream.shutdown(Shutdown::Write).is_ok() {
        let mut unread = [0; 4096];
        while Instant::now() < deadline && matches!(stream.read(&mut unread), Ok(1..)) {}
    }
    let _ = stream.shutdown(Shutdown::Both);
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
