//! The server of the floors: echo, chain and two-round chain, a thread a connection, nothing but sockets.
//!
//! A request names its own length and its reply's, and is otherwise padding; so one server can stand for
//! any protocol and any mix. All requests that one `read` brought are answered with one `write`.

use std::{
    io::{self, Read, Write},
    net::{SocketAddr, TcpListener, TcpStream},
    thread,
};

use super::floor::HEADER;

/// The longest request or reply that is served.
const LONGEST: usize = 1 << 30;

/// Serves until `until_closed` ends (the parent's end of a pipe), and tells on `out` where it listens.
pub fn serve(mut until_closed: impl Read, mut out: impl Write) -> io::Result<()> {
    let follower = || listen("follower", |stream| pump(stream, &mut [], 0));
    let followers = [follower()?, follower()?, follower()?];
    let echo = listen("echo", |stream| pump(stream, &mut [], 0))?;
    let chain = listen("r0", move |stream| {
        pump(stream, &mut [link(followers[0])?, link(followers[1])?], 1)
    })?;
    let two_rounds = listen("c", move |stream| {
        let [a, b, c] = followers.map(link);
        pump(stream, &mut [a?, b?, c?], 2)
    })?;
    writeln!(out, "echo {echo}\nchain {chain}\ntwo-round chain {two_rounds}")?;
    out.flush()?;
    io::copy(&mut until_closed, &mut io::sink())?;
    Ok(())
}

/// Accepts connections on a free port of loopback, each served by a thread of its own.
fn listen(
    name: &'static str,
    serve: impl Fn(TcpStream) -> io::Result<()> + Clone + Send + 'static,
) -> io::Result<SocketAddr> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let address = listener.local_addr()?;
    thread::Builder::new().name(format!("{name}-accept")).spawn(move || {
        while let Ok((stream, _)) = listener.accept() {
            let serve = serve.clone();
            // A connection that fails, or for which there is no thread, is closed; its client sees it.
            let _ = thread::Builder::new().name(name.to_owned()).spawn(move || serve(stream));
        }
    })?;
    Ok(address)
}

fn link(to: SocketAddr) -> io::Result<TcpStream> {
    let stream = TcpStream::connect(to)?;
    stream.set_nodelay(true)?;
    Ok(stream)
}

/// A request of nothing but its header, with as short a reply.
const SHORTEST: [u8; HEADER] = [HEADER as u8, 0, 0, 0, HEADER as u8, 0, 0, 0];

/// Answers requests. With links, each batch first goes to all of them, and all their replies are awaited; in
/// further rounds, a few bytes go to all of them and back.
fn pump(mut stream: TcpStream, links: &mut [TcpStream], rounds: usize) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let mut input = vec![0; 16 * 1024];
    let mut filled = 0;
    let mut output = Vec::new();
    loop {
        if filled == input.len() {
            input.resize(input.len() * 2, 0);
        }
        match stream.read(&mut input[filled..])? {
            0 => return Ok(()),
            length => filled += length,
        }
        let (used, reply) = whole_requests(&input[..filled])?;
        if used == 0 {
            continue;
        }
        output.resize(reply, 0);
        for link in links.iter_mut() {
            link.write_all(&input[..used])?;
        }
        for link in links.iter_mut() {
            link.read_exact(&mut output)?;
        }
        for _ in 1..rounds {
            for link in links.iter_mut() {
                link.write_all(&SHORTEST)?;
            }
            for link in links.iter_mut() {
                link.read_exact(&mut [0; HEADER])?;
            }
        }
        stream.write_all(&output)?;
        input.copy_within(used..filled, 0);
        filled -= used;
    }
}

/// The bytes of all complete requests at the start of `input`, and of all their replies.
fn whole_requests(input: &[u8]) -> io::Result<(usize, usize)> {
    let (mut used, mut reply) = (0, 0);
    while let Some(&[a, b, c, d, e, f, g, h]) = input[used..].first_chunk::<HEADER>() {
        let request = u32::from_le_bytes([a, b, c, d]) as usize;
        let answer = u32::from_le_bytes([e, f, g, h]) as usize;
        if !(HEADER..=LONGEST).contains(&request) || answer > LONGEST {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "not a floor request"));
        }
        if used + request > input.len() {
            break;
        }
        used += request;
        reply += answer;
    }
    Ok((used, reply))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_are_counted_only_when_complete() {
        let mut input = Vec::new();
        for (request, reply) in [(8u32, 3u32), (12, 5)] {
            input.extend_from_slice(&request.to_le_bytes());
            input.extend_from_slice(&reply.to_le_bytes());
            input.resize(input.len() + request as usize - HEADER, 0);
        }
        assert_eq!(whole_requests(&input[..7]).ok(), Some((0, 0)));
        assert_eq!(whole_requests(&input[..19]).ok(), Some((8, 3)));
        assert_eq!(whole_requests(&input).ok(), Some((20, 8)));
        assert!(whole_requests(&[0; 8]).is_err());
        assert!(whole_requests(&[255; 8]).is_err());
    }
}
