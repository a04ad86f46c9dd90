//! A client that can also behave badly: raw bytes out, lines in, and nothing waits for ever.

use std::io::{BufRead, BufReader, ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use super::LONG;

/// A connection to a client port.
pub struct Client {
    reader: BufReader<TcpStream>,
}

impl Client {
    pub fn connect(to: SocketAddr) -> Client {
        Self::try_connect(to).unwrap_or_else(|error| panic!("{to}: {error}"))
    }

    pub fn try_connect(to: SocketAddr) -> std::io::Result<Client> {
        let stream = TcpStream::connect_timeout(&to, LONG)?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(LONG))?;
        stream.set_write_timeout(Some(LONG))?;
        Ok(Client { reader: BufReader::new(stream) })
    }

    pub fn stream(&self) -> &TcpStream {
        self.reader.get_ref()
    }

    /// Sends bytes as they are.
    pub fn send(&mut self, bytes: impl AsRef<[u8]>) -> &mut Self {
        self.try_send(bytes).expect("the server takes what is sent");
        self
    }

    pub fn try_send(&mut self, bytes: impl AsRef<[u8]>) -> std::io::Result<()> {
        self.reader.get_mut().write_all(bytes.as_ref())
    }

    /// One line without its end; empty where the connection has ended.
    pub fn line(&mut self) -> String {
        self.try_line().unwrap_or_else(|error| panic!("a line was expected: {error}"))
    }

    pub fn try_line(&mut self) -> std::io::Result<String> {
        let mut line = Vec::new();
        self.reader.read_until(b'\n', &mut line)?;
        while line.last().is_some_and(|byte| matches!(byte, b'\n' | b'\r')) {
            line.pop();
        }
        Ok(String::from_utf8_lossy(&line).into_owned())
    }

    /// Sends, and gives the first line of the reply.
    pub fn ask(&mut self, bytes: impl AsRef<[u8]>) -> String {
        self.send(bytes).line()
    }

    /// Sends, and gives so many lines of the reply.
    pub fn lines(&mut self, bytes: impl AsRef<[u8]>, n: usize) -> Vec<String> {
        self.send(bytes);
        (0..n).map(|_| self.line()).collect()
    }

    /// `set`, the reply's line.
    pub fn set(&mut self, key: &str, value: impl AsRef<[u8]>) -> String {
        self.try_set(key, value).unwrap_or_else(|error| panic!("set {key}: {error}"))
    }

    pub fn try_set(&mut self, key: &str, value: impl AsRef<[u8]>) -> std::io::Result<String> {
        let value = value.as_ref();
        let mut request = format!("set {key} 0 0 {}\r\n", value.len()).into_bytes();
        request.extend_from_slice(value);
        request.extend_from_slice(b"\r\n");
        self.try_send(request)?;
        self.try_line()
    }

    /// `get`, the value.
    pub fn get(&mut self, key: &str) -> Option<Vec<u8>> {
        let head = self.ask(format!("get {key}\r\n"));
        if head == "END" {
            return None;
        }
        let length = head.rsplit(' ').next().and_then(|n| n.parse().ok());
        let length: usize = length.unwrap_or_else(|| panic!("VALUE … expected, found {head:?}"));
        let mut value = vec![0; length + 2];
        self.reader.read_exact(&mut value).expect("the value");
        value.truncate(length);
        assert_eq!(self.line(), "END");
        Some(value)
    }

    /// `get` where the value is text.
    pub fn text(&mut self, key: &str) -> Option<String> {
        self.get(key).map(|value| String::from_utf8_lossy(&value).into_owned())
    }

    /// One number or word of `stats`.
    pub fn stat(&mut self, name: &str) -> String {
        self.send("stats\r\n");
        let mut found = None;
        loop {
            let line = self.line();
            if line == "END" {
                return found.unwrap_or_else(|| panic!("stats has no {name}"));
            }
            let mut words = line.strip_prefix("STAT ").expect("STAT …").splitn(2, ' ');
            if words.next() == Some(name) {
                found = words.next().map(str::to_owned);
            }
        }
    }

    /// Whether the server has closed the connection (what it still says is passed over).
    pub fn is_closed(&mut self, within: Duration) -> bool {
        self.stream().set_read_timeout(Some(within)).expect("a timeout");
        let mut rest = [0; 4096];
        loop {
            match self.reader.read(&mut rest) {
                Ok(0) => return true,
                Ok(_) => {}
                Err(error) => {
                    return !matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut);
                }
            }
        }
    }
}
