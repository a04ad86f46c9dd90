//! The configuration file of `kvstore2pcsystem`.
//!
//! ```text
//! ! A line that begins with an exclamation mark is a comment; the other lines have none.
//! mode coordinator
//! coordinator_info 127.0.0.1:8001
//! participant_info 127.0.0.1:8002
//! participant_info 127.0.0.1:8003
//! ```
//! A parameter and its value are separated by white space. `mode` is the first parameter and says which others
//! there are, in any order:
//!
//! | mode | parameters |
//! |---|---|
//! | `coordinator` | one `coordinator_info`: where it listens; a `participant_info` for each participant |
//! | `participant` | one `participant_info`: where it listens; one `coordinator_info` |
//! | `server` | one `server_info`: where it listens; a `peer_info` for each other server |

use std::fmt;
use std::net::{IpAddr, Ipv6Addr};
use std::path::{Path, PathBuf};
use std::{fs, io};

use crate::base::limits::MAX_REPLICAS;

/// The longest file that is read.
const MAX_FILE: u64 = 1 << 20;

/// How much of a line an error quotes.
const QUOTED: usize = 80;

/// `HOST:PORT`. Two that name the same place in the same words are equal, and sort as their text does.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Address {
    /// The host: a name or an IP address, without brackets.
    pub host: String,
    /// The port, not 0.
    pub port: u16,
}

impl Address {
    /// Reads `HOST:PORT`, an IPv6 address in brackets.
    pub fn parse(text: &str) -> Option<Self> {
        let (host, port) = text.rsplit_once(':')?;
        let port = port.bytes().all(|byte| byte.is_ascii_digit()).then_some(port)?;
        let port = port.parse().ok().filter(|port| *port != 0)?;
        let host = match host.strip_prefix('[').and_then(|host| host.strip_suffix(']')) {
            Some(inner) => inner.parse::<Ipv6Addr>().ok()?.to_string(),
            None => match host.parse::<IpAddr>() {
                Ok(IpAddr::V4(address)) => address.to_string(),
                // Without brackets no one could tell where it ends.
                Ok(IpAddr::V6(_)) => return None,
                Err(_) => is_name(host).then(|| host.to_ascii_lowercase())?,
            },
        };
        Some(Self { host, port })
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { host, port } = self;
        if host.contains(':') { write!(f, "[{host}]:{port}") } else { write!(f, "{host}:{port}") }
    }
}

/// Whether it may be the name of a host. Four numbers with dots that are no address are none.
fn is_name(host: &str) -> bool {
    let is_part = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_');
    !host.is_empty()
        && host.chars().all(is_part)
        && !host.chars().all(|c| c.is_ascii_digit() || c == '.')
}

/// What a file says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Config {
    /// The one that takes commands and has the participants agree.
    Coordinator {
        /// Where it listens, for clients.
        listen: Address,
        /// Where the participants are, in the order of the file; at least one.
        participants: Vec<Address>,
    },
    /// One that holds the data.
    Participant {
        /// Where it listens, for the coordinator.
        listen: Address,
        /// Where the coordinator is.
        coordinator: Address,
    },
    /// One of several that do without a coordinator.
    Server {
        /// Where it listens, for clients and for the others.
        listen: Address,
        /// Where the others are; there may be none.
        peers: Vec<Address>,
    },
}

/// Why a file cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// It cannot be read.
    #[error("cannot read the configuration file {}: {source}", path.display())]
    Read {
        /// Which file.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// A line says what it must not.
    #[error("{}:{line}: expected {expected}, found {found}", path.display())]
    Line {
        /// Which file.
        path: PathBuf,
        /// Its line, from 1.
        line: usize,
        /// What should stand there.
        expected: String,
        /// What stands there.
        found: String,
    },
    /// Something must be there and is not.
    #[error("{}: expected {expected}, found none", path.display())]
    Missing {
        /// Which file.
        path: PathBuf,
        /// What is missing.
        expected: &'static str,
    },
}

impl Config {
    /// Reads a file.
    ///
    /// # Errors
    /// [`ConfigError`] names the file, the line, what was expected and what was found.
    pub fn load(path: &Path) -> Result<Self, ConfigError> {
        let unreadable = |source| ConfigError::Read { path: path.to_owned(), source };
        let found = fs::metadata(path).map_err(unreadable)?;
        // A pipe or a device has no size to look at, and might never end.
        if !found.is_file() || found.len() > MAX_FILE {
            let why = format!("expected a file of at most {MAX_FILE} bytes");
            return Err(unreadable(io::Error::new(io::ErrorKind::InvalidData, why)));
        }
        Self::parse(path, &fs::read(path).map_err(unreadable)?)
    }

    /// Reads the bytes of a file; `path` is for messages.
    ///
    /// # Errors
    /// As for [`Config::load`].
    pub fn parse(path: &Path, bytes: &[u8]) -> Result<Self, ConfigError> {
        let mut reader = Reader { path, line: 0, mode: None, own: None, others: Vec::new() };
        for line in bytes.split(|byte| *byte == b'\n') {
            reader.line += 1;
            reader.take(line)?;
        }
        reader.finish()
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Mode {
    Coordinator,
    Participant,
    Server,
}

impl Mode {
    const ALL: [(Self, &str); 3] = [
        (Self::Coordinator, "coordinator"),
        (Self::Participant, "participant"),
        (Self::Server, "server"),
    ];

    /// The parameter that says where it listens, and the one that says where others are.
    fn parameters(self) -> (&'static str, &'static str) {
        match self {
            Self::Coordinator => ("coordinator_info", "participant_info"),
            Self::Participant => ("participant_info", "coordinator_info"),
            Self::Server => ("server_info", "peer_info"),
        }
    }

    fn name(self) -> &'static str {
        Self::ALL.iter().find(|(mode, _)| *mode == self).map_or("", |(_, name)| name)
    }
}

/// What has been read so far; addresses come with the number of their line.
struct Reader<'a> {
    path: &'a Path,
    line: usize,
    mode: Option<Mode>,
    own: Option<(Address, usize)>,
    others: Vec<(Address, usize)>,
}

impl Reader<'_> {
    fn wrong(&self, expected: impl Into<String>, found: impl fmt::Display) -> ConfigError {
        let (path, line, expected) = (self.path.to_owned(), self.line, expected.into());
        ConfigError::Line { path, line, expected, found: found.to_string() }
    }

    fn take(&mut self, line: &[u8]) -> Result<(), ConfigError> {
        let line = match std::str::from_utf8(line) {
            Ok(line) => line,
            Err(error) => {
                let byte = line[error.valid_up_to()];
                return Err(self.wrong("text in UTF-8", format_args!("the byte 0x{byte:02x}")));
            }
        };
        // Some editors put a mark before the first line, and some write CRLF.
        let line = if self.line == 1 { line.trim_start_matches('\u{feff}') } else { line };
        let line = line.trim();
        if line.is_empty() || line.starts_with('!') {
            return Ok(());
        }
        let mut words = line.split_whitespace();
        let (Some(parameter), value, more) = (words.next(), words.next(), words.next()) else {
            return Ok(());
        };
        let Some(mode) = self.mode else {
            if parameter != "mode" {
                return Err(self.wrong("mode as the first parameter", quoted(parameter)));
            }
            self.mode = Some(self.mode_of(value, more)?);
            return Ok(());
        };
        let (own, others) = mode.parameters();
        match parameter {
            "mode" => Err(self.wrong("mode once, as the first parameter", quoted(line))),
            _ if parameter == own => {
                if let Some((_, first)) = &self.own {
                    let expected = format!("{own} once; line {first} has it");
                    return Err(self.wrong(expected, quoted(line)));
                }
                self.own = Some((self.address(parameter, value, more)?, self.line));
                Ok(())
            }
            _ if parameter == others => self.other(mode, others, value, more),
            _ => {
                let expected = format!("{own} or {others} in mode {}", mode.name());
                Err(self.wrong(expected, quoted(parameter)))
            }
        }
    }

    fn mode_of(&self, value: Option<&str>, more: Option<&str>) -> Result<Mode, ConfigError> {
        let found = Mode::ALL.into_iter().find(|(_, name)| Some(*name) == value);
        match (found, more) {
            (Some((mode, _)), None) => Ok(mode),
            (Some(_), Some(more)) => {
                Err(self.wrong("one value behind mode", format_args!("also {}", quoted(more))))
            }
            (None, _) => {
                let expected = "mode to be coordinator, participant or server";
                Err(self.wrong(expected, value.map_or("no value".to_owned(), quoted)))
            }
        }
    }

    /// A place where another process is.
    fn other(
        &mut self,
        mode: Mode,
        parameter: &str,
        value: Option<&str>,
        more: Option<&str>,
    ) -> Result<(), ConfigError> {
        if let (Mode::Participant, Some((_, first))) = (mode, self.others.first()) {
            let expected = format!("{parameter} once; line {first} has it");
            return Err(self.wrong(expected, format_args!("another {parameter}")));
        }
        if self.others.len() == usize::from(MAX_REPLICAS) - 1 {
            let expected = format!("at most {} lines {parameter}", MAX_REPLICAS - 1);
            return Err(self.wrong(expected, "one more"));
        }
        let address = self.address(parameter, value, more)?;
        self.others.push((address, self.line));
        Ok(())
    }

    fn address(
        &self,
        parameter: &str,
        value: Option<&str>,
        more: Option<&str>,
    ) -> Result<Address, ConfigError> {
        if let (Some(_), Some(more)) = (value, more) {
            let expected = format!("one value behind {parameter}");
            return Err(self.wrong(expected, format_args!("also {}", quoted(more))));
        }
        let expected = || format!("{parameter} to be HOST:PORT, such as 127.0.0.1:8001");
        let text = value.ok_or_else(|| self.wrong(expected(), "no value"))?;
        let address = Address::parse(text).ok_or_else(|| self.wrong(expected(), quoted(text)))?;
        match self.own.iter().chain(&self.others).find(|(other, _)| *other == address) {
            Some((_, first)) => {
                let expected = format!("each address once; line {first} has it");
                Err(self.wrong(expected, quoted(text)))
            }
            None => Ok(address),
        }
    }

    fn finish(self) -> Result<Config, ConfigError> {
        let missing = |expected| ConfigError::Missing { path: self.path.to_owned(), expected };
        let mode = self
            .mode
            .ok_or_else(|| missing("a line mode coordinator, mode participant or mode server"))?;
        let (listen, _) = self.own.ok_or_else(|| {
            missing(match mode {
                Mode::Coordinator => "a line coordinator_info HOST:PORT: where it listens",
                Mode::Participant => "a line participant_info HOST:PORT: where it listens",
                Mode::Server => "a line server_info HOST:PORT: where it listens",
            })
        })?;
        let others: Vec<Address> = self.others.into_iter().map(|(address, _)| address).collect();
        match (mode, others.into_iter()) {
            (Mode::Server, peers) => Ok(Config::Server { listen, peers: peers.collect() }),
            (Mode::Coordinator, others) if others.len() == 0 => {
                Err(missing("a line participant_info HOST:PORT for each participant"))
            }
            (Mode::Coordinator, others) => {
                Ok(Config::Coordinator { listen, participants: others.collect() })
            }
            (Mode::Participant, mut others) => {
                let coordinator = others.next().ok_or_else(|| {
                    missing("a line coordinator_info HOST:PORT: where the coordinator is")
                })?;
                Ok(Config::Participant { listen, coordinator })
            }
        }
    }
}

/// A text as an error quotes it: on one line, and not for ever.
fn quoted(text: &str) -> String {
    let mut start: String = text.chars().take(QUOTED).collect();
    if start.len() < text.len() {
        start.push('…');
    }
    format!("{start:?}")
}

#[cfg(test)]
mod tests {
    use super::*;

    const COORDINATOR: &str = "\
! Coordinator configuration
! 2020/05/07 11:25:33
!
! The argument name and value are separated by whitespace in the configuration file.
!
! Mode of process, coordinator OR participant
mode coordinator
!
! The address and port the coordinator process is listening on.
coordinator_info 127.0.0.1:8001
!
! Address and port information of all participants.
participant_info 127.0.0.1:8002
participant_info 127.0.0.1:8003
participant_info 127.0.0.1:8004
";

    fn parse(text: &str) -> Result<Config, ConfigError> {
        Config::parse(Path::new("lab.conf"), text.as_bytes())
    }

    fn address(port: u16) -> Address {
        Address { host: "127.0.0.1".to_owned(), port }
    }

    #[test]
    fn the_documents_files() {
        let participants = vec![address(8002), address(8003), address(8004)];
        let expected = Config::Coordinator { listen: address(8001), participants };
        assert_eq!(parse(COORDINATOR).expect("it is right"), expected);
        let text = "mode participant\nparticipant_info 127.0.0.1:8002\n!\n\
                    coordinator_info 127.0.0.1:8001\n";
        let expected = Config::Participant { listen: address(8002), coordinator: address(8001) };
        assert_eq!(parse(text).expect("it is right"), expected);
    }

    #[test]
    fn servers_and_their_peers() {
        let text = "mode server\npeer_info 127.0.0.1:2\nserver_info 127.0.0.1:1\n\
                    peer_info 127.0.0.1:3";
        let peers = vec![address(2), address(3)];
        let expected = Config::Server { listen: address(1), peers };
        assert_eq!(parse(text).expect("it is right"), expected);
        let alone = Config::Server { listen: address(1), peers: Vec::new() };
        assert_eq!(parse("mode server\nserver_info 127.0.0.1:1").expect("it is right"), alone);
    }

    #[test]
    fn white_space_line_ends_and_order_are_free() {
        let expected = parse(COORDINATOR).expect("it is right");
        let text = "\u{feff}\r\n  ! a comment\r\n\t mode \t coordinator  \r\n\
                    participant_info\t127.0.0.1:8002\r\n\r\n  participant_info 127.0.0.1:8003\r\n\
                    coordinator_info    127.0.0.1:8001\r\nparticipant_info 127.0.0.1:8004";
        assert_eq!(parse(text).expect("it is right"), expected);
    }

    #[test]
    fn addresses() {
        for (text, shown) in [
            ("127.0.0.1:8001", "127.0.0.1:8001"),
            ("[::1]:8001", "[::1]:8001"),
            ("[0:0:0:0:0:0:0:1]:8001", "[::1]:8001"),
            ("Node-1.Lab:65535", "node-1.lab:65535"),
        ] {
            assert_eq!(Address::parse(text).map(|a| a.to_string()).as_deref(), Some(shown));
        }
        for bad in [
            "",
            ":",
            "8001",
            ":8001",
            "host:",
            "host:0",
            "host:65536",
            "host:+1",
            "host:x",
            "::1:8001",
            "[::1]",
            "[x]:1",
            "a b:1",
            "1.2.3:1",
            "1.2.3.256:1",
            "host:1:2",
        ] {
            assert_eq!(Address::parse(bad), None, "{bad}");
        }
    }

    #[test]
    fn errors_say_where_and_what() {
        let participants: String =
            (1..=128).map(|port| format!("participant_info p:{port}\n")).collect();
        let long = format!("mode {}", "x".repeat(100));
        let own = "mode coordinator\ncoordinator_info h:1\n";
        let files = [
            "",
            "! nothing but this\n\n",
            "coordinator_info h:1\nmode coordinator",
            "mode",
            "mode Coordinator",
            "mode coordinator ! the first",
            "mode coordinator\nmode participant",
            "mode coordinator\nparticipant_info h:1",
            own,
            &format!("{own}coordinator_info h:2"),
            &format!("{own}participant_info"),
            &format!("{own}participant_info h"),
            &format!("{own}participant_info h:70000"),
            &format!("{own}participant_info ::1:8001"),
            &format!("{own}participant_info h:2 h:3"),
            &format!("{own}participant_info h:2\nparticipant_info H:2"),
            &format!("{own}participant_info h:1"),
            &format!("{own}\n\nparticipants_info h:2"),
            &format!("{own}peer_info h:2"),
            &format!("{own}{participants}"),
            "mode participant\ncoordinator_info h:1",
            "mode participant\nparticipant_info h:1",
            "mode participant\nparticipant_info h:1\nparticipant_info h:2",
            "mode participant\nparticipant_info h:1\ncoordinator_info h:2\ncoordinator_info h:3",
            "mode server\npeer_info h:2",
            "mode server\nserver_info h:1\ncoordinator_info h:2",
            &long,
        ];
        let said = |text: &str| match parse(text) {
            Ok(config) => format!("{config:?}"),
            Err(error) => error.to_string(),
        };
        let mut all: Vec<String> = files.into_iter().map(said).collect();
        let bytes = b"mode server\nserver_info h:1 \xff\n";
        all.extend(Config::parse(Path::new("lab.conf"), bytes).map_err(|e| e.to_string()).err());
        for path in ["no/such/file.conf", "/"] {
            all.extend(Config::load(Path::new(path)).map_err(|e| e.to_string()).err());
        }
        insta::assert_snapshot!(all.join("\n"), @r#"
        lab.conf: expected a line mode coordinator, mode participant or mode server, found none
        lab.conf: expected a line mode coordinator, mode participant or mode server, found none
        lab.conf:1: expected mode as the first parameter, found "coordinator_info"
        lab.conf:1: expected mode to be coordinator, participant or server, found no value
        lab.conf:1: expected mode to be coordinator, participant or server, found "Coordinator"
        lab.conf:1: expected one value behind mode, found also "!"
        lab.conf:2: expected mode once, as the first parameter, found "mode participant"
        lab.conf: expected a line coordinator_info HOST:PORT: where it listens, found none
        lab.conf: expected a line participant_info HOST:PORT for each participant, found none
        lab.conf:3: expected coordinator_info once; line 2 has it, found "coordinator_info h:2"
        lab.conf:3: expected participant_info to be HOST:PORT, such as 127.0.0.1:8001, found no value
        lab.conf:3: expected participant_info to be HOST:PORT, such as 127.0.0.1:8001, found "h"
        lab.conf:3: expected participant_info to be HOST:PORT, such as 127.0.0.1:8001, found "h:70000"
        lab.conf:3: expected participant_info to be HOST:PORT, such as 127.0.0.1:8001, found "::1:8001"
        lab.conf:3: expected one value behind participant_info, found also "h:3"
        lab.conf:4: expected each address once; line 3 has it, found "H:2"
        lab.conf:3: expected each address once; line 2 has it, found "h:1"
        lab.conf:5: expected coordinator_info or participant_info in mode coordinator, found "participants_info"
        lab.conf:3: expected coordinator_info or participant_info in mode coordinator, found "peer_info"
        lab.conf:130: expected at most 127 lines participant_info, found one more
        lab.conf: expected a line participant_info HOST:PORT: where it listens, found none
        lab.conf: expected a line coordinator_info HOST:PORT: where the coordinator is, found none
        lab.conf:3: expected participant_info once; line 2 has it, found "participant_info h:2"
        lab.conf:4: expected coordinator_info once; line 3 has it, found another coordinator_info
        lab.conf: expected a line server_info HOST:PORT: where it listens, found none
        lab.conf:3: expected server_info or peer_info in mode server, found "coordinator_info"
        lab.conf:1: expected mode to be coordinator, participant or server, found "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx…"
        lab.conf:2: expected text in UTF-8, found the byte 0xff
        cannot read the configuration file no/such/file.conf: No such file or directory (os error 2)
        cannot read the configuration file /: expected a file of at most 1048576 bytes
        "#);
    }
}
