//! One TCP connection with two reused buffers: bytes out, bytes in, no meaning.

use std::{
    io::{self, ErrorKind, Read, Write},
    net::{TcpStream, ToSocketAddrs},
    ops::Range,
    time::Duration,
};

use super::ClientError;

/// How much one `read` asks for, and what the input buffer starts with.
const READ_SIZE: usize = 16 * 1024;

/// An unfinished reply of more bytes than this ends the connection: nobody may fill a client's memory.
const MAX_INPUT: usize = 1 << 30;

/// What of the input buffer is kept between replies, in bytes.
const KEPT_INPUT: usize = 4 << 20;

/// How long a client waits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Options {
    /// For a connection to open.
    pub connect_timeout: Duration,
    /// For one read of a reply, or one write.
    pub timeout: Duration,
}

impl Default for Options {
    fn default() -> Self {
        Self { connect_timeout: Duration::from_secs(3), timeout: Duration::from_secs(15) }
    }
}

/// A connection; `input[start..]` is what has come and is not yet used.
#[derive(Debug)]
pub struct Connection {
    stream: TcpStream,
    to: String,
    timeout: Duration,
    input: Vec<u8>,
    start: usize,
    end: usize,
    /// What [`Connection::send`] will send.
    pub output: Vec<u8>,
}

impl Connection {
    /// Opens a connection, trying each address of the host in turn.
    pub fn open(to: &str, options: &Options) -> Result<Self, ClientError> {
        let stream = connect(to, options.connect_timeout)?;
        let setup = |error| ClientError::Connect { to: to.to_owned(), source: error };
        stream.set_nodelay(true).map_err(setup)?;
        // A zero timeout is an error to the system; the smallest one that it takes stands for it.
        let timeout = options.timeout.max(Duration::from_millis(1));
        stream.set_read_timeout(Some(timeout)).map_err(setup)?;
        stream.set_write_timeout(Some(timeout)).map_err(setup)?;
        Ok(Self {
            stream,
            to: to.to_owned(),
            timeout,
            input: vec![0; READ_SIZE],
            start: 0,
            end: 0,
            output: Vec::with_capacity(1024),
        })
    }

    /// Changes how long one read or write may take.
    pub fn set_timeout(&mut self, timeout: Duration) -> Result<(), ClientError> {
        let timeout = timeout.max(Duration::from_millis(1));
        if timeout != self.timeout {
            let set = self.stream.set_read_timeout(Some(timeout));
            set.and_then(|()| self.stream.set_write_timeout(Some(timeout)))
                .map_err(|error| self.failed(error))?;
            self.timeout = timeout;
        }
        Ok(())
    }

    /// The address, as it was given.
    pub fn to(&self) -> &str {
        &self.to
    }

    /// What has come and is not yet used.
    pub fn unread(&self) -> &[u8] {
        &self.input[self.start..self.end]
    }

    /// Marks `length` bytes as used and returns where they are, for [`Connection::bytes`].
    pub fn consume(&mut self, length: usize) -> usize {
        let at = self.start;
        self.start += length;
        at
    }

    /// Bytes of the input buffer; valid until the next [`Connection::fill`].
    pub fn bytes(&self, from: usize, to: usize) -> &[u8] {
        &self.input[from..to]
    }

    /// Sends the output buffer in one write and empties it.
    pub fn send(&mut self) -> Result<(), ClientError> {
        let result = self.stream.write_all(&self.output);
        self.output.clear();
        result.map_err(|error| self.failed(error))
    }

    /// Waits for more bytes: exactly one successful `read`.
    ///
    /// # Errors
    /// The connection ends, is silent for too long, or what is unread is longer than any reply.
    pub fn fill(&mut self) -> Result<(), ClientError> {
        if self.start == self.end {
            self.start = 0;
            self.end = 0;
            // What one long reply took is not kept for ever.
            if self.input.len() > KEPT_INPUT {
                self.input.truncate(READ_SIZE);
                self.input.shrink_to_fit();
            }
        } else if self.end == self.input.len() {
            // Full: first move the rest to the front, and only if that does not help, grow.
            self.input.copy_within(self.start..self.end, 0);
            self.end -= self.start;
            self.start = 0;
            if self.end + READ_SIZE / 2 > self.input.len() {
                if self.input.len() > MAX_INPUT {
                    return Err(self.malformed(self.unread(), "a shorter reply"));
                }
                self.input.resize(self.input.len() * 2, 0);
            }
        }
        loop {
            match self.stream.read(&mut self.input[self.end..]) {
                Ok(0) => {
                    let closed = io::Error::new(ErrorKind::UnexpectedEof, "the server closed it");
                    return Err(self.failed(closed));
                }
                Ok(length) => {
                    self.end += length;
                    return Ok(());
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(self.failed(error)),
            }
        }
    }

    /// Waits for a line of at most `longest` bytes, and marks it as used; its place, without its line end, is for
    /// [`Connection::bytes`].
    ///
    /// # Errors
    /// The connection ends, is silent for too long, or sends a longer line.
    pub fn line(&mut self, longest: usize) -> Result<Range<usize>, ClientError> {
        let mut searched = 0;
        loop {
            if let Some(end) = memchr::memchr(b'\n', &self.unread()[searched..]) {
                let length = searched + end;
                let start = self.consume(length + 1);
                return Ok(start..start + length);
            }
            searched = self.unread().len();
            if searched > longest {
                return Err(self.malformed(self.unread(), "a shorter line"));
            }
            self.fill()?;
        }
    }

    /// The error that these bytes are not what the protocol says should come.
    pub fn malformed(&self, bytes: &[u8], expected: &'static str) -> ClientError {
        let found = bytes[..bytes.len().min(80)].escape_ascii().to_string();
        ClientError::Malformed { to: self.to.clone(), found, expected }
    }

    fn failed(&self, error: io::Error) -> ClientError {
        let to = self.to.clone();
        match error.kind() {
            ErrorKind::WouldBlock | ErrorKind::TimedOut => {
                ClientError::NoReply { to, after: self.timeout }
            }
            _ => ClientError::Lost { to, source: error },
        }
    }
}

fn connect(to: &str, timeout: Duration) -> Result<TcpStream, ClientError> {
    let address = |why: String| ClientError::Address { to: to.to_owned(), why };
    let mut last = None;
    for candidate in to.to_socket_addrs().map_err(|error| address(error.to_string()))? {
        match TcpStream::connect_timeout(&candidate, timeout.max(Duration::from_millis(1))) {
            // Where nobody listens on a port that the system also gives to outgoing connections, TCP may connect a
            // socket to itself; it would then hold the very port that a server comes back to.
            Ok(stream) if stream.local_addr().is_ok_and(|own| own == candidate) => {
                last = Some(ErrorKind::ConnectionRefused.into());
            }
            Ok(stream) => return Ok(stream),
            Err(error) => last = Some(error),
        }
    }
    Err(match last {
        None => address("the host has no address".to_owned()),
        Some(error) if error.kind() == ErrorKind::ConnectionRefused => {
            ClientError::NothingListens { to: to.to_owned() }
        }
        Some(source) => ClientError::Connect { to: to.to_owned(), source },
    })
}
