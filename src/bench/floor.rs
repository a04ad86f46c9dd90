//! The floors: what the machine itself charges, measured in the same run as the work.
//!
//! Three of them, on plain threads and blocking sockets with TCP_NODELAY, in a process of their own as
//! the servers are:
//!
//! - *echo*: client → server → client, the least a request and its reply can cost;
//! - *chain*: client → R0 → {R1, R2} → R0 → client, the least that a write can cost which has to be
//!   acknowledged by two other replicas before it is answered;
//! - *two-round chain*: client → C → {P1, P2, P3} → C → {P1, P2, P3} → C → client, the least that a two-phase
//!   commit can cost. It takes the chain's place where the protocol is that lab's.
//!
//! They carry the same number of bytes each way as the measured work, with as many clients and the same
//! pipeline. Rounds alternate echo, chain, work, echo, …, and medians over the rounds are compared, so
//! that the machine's noise hits all three alike. A ratio to the echo says what the server adds. What a disk
//! charges is in [`super::floor_disk`].

use std::{
    io::{self, BufRead, BufReader},
    process::{Child, Command, Stdio},
};

use super::{Answer, BenchError, Config, Operation, Protocol, Target};
use crate::{
    base::Outcome,
    client::{ClientError, Connection, Options},
    report::Kind,
    wire::{Dialect, Form, Found, RespVersion, command},
};

/// The hidden command of `lab` that becomes the floors' server.
pub const FLOOR_COMMAND: &str = "floor-server";

/// The header of a floor request: its whole length and its reply's, as little-endian `u32`.
pub(super) const HEADER: usize = 8;

/// The bytes of the measured work's requests and replies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sizes {
    read: (usize, usize),
    write: (usize, usize),
}

impl Sizes {
    /// The sizes that this configuration's operations have on the wire.
    ///
    /// # Errors
    /// The protocol has no floors: what its server says beside the answer is not known beforehand.
    pub fn of(config: &Config) -> Result<Self, BenchError> {
        let key = b"key:000000000000";
        let value = vec![b'v'; config.value_size];
        let found = Some(Found { data: &value, flags: 0, unique: 0 });
        let (dialect, array) = match config.protocol {
            // A value is an array of one string.
            Protocol::SimpleResp => (Dialect::Resp, b"*1\r\n".len()),
            _ => (config.dialect("--floor")?, 0),
        };
        let (read, write) = match dialect {
            Dialect::Memcached => (Form::Values { unique: false }, Form::Word),
            Dialect::Resp => (Form::Bulk(RespVersion::Two), Form::Status(RespVersion::Two)),
        };
        let length = |write: &dyn Fn(&mut Vec<u8>)| {
            let mut out = Vec::new();
            write(&mut out);
            out.len()
        };
        let request = |write: &dyn Fn(&mut Vec<u8>)| length(write).max(HEADER);
        Ok(Self {
            read: (
                request(&|out| command::get(out, dialect, key)),
                array
                    + length(&|out| {
                        read.value(out, key, found);
                        read.end_values(out);
                    }),
            ),
            write: (
                request(&|out| command::set(out, dialect, key, &value)),
                length(&|out| write.outcome(out, &Outcome::Stored)),
            ),
        })
    }

    /// These lengths of a request and its reply, for reads and for writes alike.
    pub fn of_lengths(request: usize, reply: usize) -> Self {
        let both = (request.max(HEADER), reply);
        Self { read: both, write: both }
    }

    fn of_kind(&self, kind: Kind) -> (usize, usize) {
        match kind {
            Kind::Read => self.read,
            Kind::Write => self.write,
        }
    }
}

/// A client of a floor.
#[derive(Debug)]
pub struct FloorClient {
    connection: Connection,
    sizes: Sizes,
    options: Options,
}

impl FloorClient {
    /// Connects to a floor.
    pub fn connect(to: &str, sizes: Sizes, options: Options) -> Result<Self, ClientError> {
        Ok(Self { connection: Connection::open(to, &options)?, sizes, options })
    }
}

impl Target for FloorClient {
    fn queue(&mut self, operation: &Operation<'_>) {
        let (request, reply) = self.sizes.of_kind(operation.kind);
        let out = &mut self.connection.output;
        let end = out.len() + request;
        out.extend_from_slice(&(request as u32).to_le_bytes());
        out.extend_from_slice(&(reply as u32).to_le_bytes());
        out.resize(end, 0);
    }

    fn send(&mut self) -> Result<(), ClientError> {
        self.connection.send()
    }

    fn receive(&mut self, kind: Kind) -> Result<Answer<'_>, ClientError> {
        let (_, reply) = self.sizes.of_kind(kind);
        while self.connection.unread().len() < reply {
            self.connection.fill()?;
        }
        self.connection.consume(reply);
        Ok(Answer::Done)
    }

    fn reconnect(&mut self) -> Result<(), ClientError> {
        self.connection = Connection::open(self.connection.to(), &self.options)?;
        Ok(())
    }
}

/// The child process that serves the floors; it ends when this is dropped.
#[derive(Debug)]
pub struct FloorServer {
    child: Child,
    echo: String,
    chain: String,
    two_rounds: String,
}

impl FloorServer {
    /// Starts this program again as the floors' server and reads where it listens.
    pub fn start() -> io::Result<Self> {
        let mut child = Command::new(std::env::current_exe()?)
            .arg(FLOOR_COMMAND)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()?;
        let Some(stdout) = child.stdout.take() else {
            return Err(io::Error::other("the floor server has no standard output"));
        };
        let mut lines = BufReader::new(stdout).lines();
        let mut address = |name: &str| {
            let line = lines.next().unwrap_or_else(|| Ok(String::new()))?;
            match line.strip_prefix(name) {
                Some(address) => Ok(address.trim().to_owned()),
                None => Err(io::Error::other(format!("expected '{name} ADDRESS', found '{line}'"))),
            }
        };
        let (echo, chain, two_rounds) =
            (address("echo"), address("chain"), address("two-round chain"));
        let none = String::new;
        let mut server = Self { child, echo: none(), chain: none(), two_rounds: none() };
        // From here on a failure drops the server, which ends the child.
        server.echo = echo?;
        server.chain = chain?;
        server.two_rounds = two_rounds?;
        Ok(server)
    }

    /// Where the echo listens.
    pub fn echo(&self) -> &str {
        &self.echo
    }

    /// Where the chain's R0 listens.
    pub fn chain(&self) -> &str {
        &self.chain
    }

    /// Where the two-round chain's C listens.
    pub fn two_rounds(&self) -> &str {
        &self.two_rounds
    }
}

impl Drop for FloorServer {
    fn drop(&mut self) {
        // Both fail only when the child has already ended.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
