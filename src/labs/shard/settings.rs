//! `settings.cfg`: which nodes there are, and how the database uses them.
//!
//! ```text
//! [Node_hostnames]
//! scutter01 = 127.0.1.1          # a name and where it listens; HOST:PORT where it has a port of its own
//! scutter02                      # a name alone: the system knows its address
//!
//! [General_parameters]
//! hashing_function = None
//! number_replicas = 1
//! message_handler = simple_message_handler
//! port = 7000
//! ```
//! `#` and `;` begin a comment at the beginning of a line or behind a space. The order of the nodes counts: it is
//! their number. Whoever starts or sends reads the file anew.

use std::collections::HashSet;
use std::fmt::{self, Write as _};
use std::net::Ipv6Addr;
use std::path::{Path, PathBuf};
use std::{fs, io};

use crate::client::routing::{self, Function, Placement, copies};

/// The port of a node that is not told otherwise.
pub const DEFAULT_PORT: u16 = 7000;

/// The most nodes; each has a number in the messages.
pub const MAX_NODES: usize = 1024;

/// The longest file that is read.
const MAX_FILE: u64 = 1 << 20;

/// How a node treats an update.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Handler {
    /// It keeps the pair and answers.
    Simple,
    /// It sees to it that the next nodes hold copies, then keeps the pair and answers.
    FaultTolerant,
}

impl Handler {
    const ALL: [Self; 2] = [Self::Simple, Self::FaultTolerant];

    /// As it is written in the file.
    pub fn word(self) -> &'static str {
        match self {
            Self::Simple => "simple_message_handler",
            Self::FaultTolerant => "fault_tolerant_message_handler",
        }
    }
}

/// A node of the database.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NodeAddress {
    /// What people call it.
    pub name: String,
    /// Where it listens: an address or a name that the system resolves.
    pub host: String,
    /// On which port.
    pub port: u16,
}

impl NodeAddress {
    /// `HOST:PORT`, to connect to.
    pub fn address(&self) -> String {
        join(&self.host, self.port)
    }
}

/// `HOST:PORT`, with brackets around an IPv6 address.
pub fn join(host: &str, port: u16) -> String {
    if host.contains(':') { format!("[{host}]:{port}") } else { format!("{host}:{port}") }
}

/// What the file says.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The nodes, in the order of their numbers; at least one.
    pub nodes: Vec<NodeAddress>,
    /// Spreads the keys.
    pub function: &'static Function,
    /// On how many nodes a pair is with the fault tolerant handler, from 1 to the number of nodes.
    pub replicas: usize,
    /// What a node does with an update.
    pub handler: Handler,
    /// The port of what has no port of its own.
    pub port: u16,
}

/// Why a file cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum SettingsError {
    /// It cannot be read.
    #[error("cannot read the settings {}: {source}", path.display())]
    Read {
        /// Which file.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// A line says what no settings can say.
    #[error("{}:{line}: expected {expected}, found {found:?}", path.display())]
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

impl Settings {
    /// Settings for these nodes, otherwise as the file is delivered.
    pub fn new(nodes: Vec<NodeAddress>) -> Self {
        Self {
            nodes,
            function: &routing::FUNCTIONS[0],
            replicas: 1,
            handler: Handler::Simple,
            port: DEFAULT_PORT,
        }
    }

    /// Reads a file.
    ///
    /// # Errors
    /// [`SettingsError`] names the file, the line and what was expected.
    pub fn load(path: &Path) -> Result<Self, SettingsError> {
        let unreadable = |source| SettingsError::Read { path: path.to_owned(), source };
        let size = fs::metadata(path).map_err(unreadable)?.len();
        if size > MAX_FILE {
            let why = format!("it has {size} bytes, more than {MAX_FILE}");
            return Err(unreadable(io::Error::new(io::ErrorKind::InvalidData, why)));
        }
        Self::parse(path, &fs::read_to_string(path).map_err(unreadable)?)
    }

    /// Reads the text of a file; `path` is for messages.
    ///
    /// # Errors
    /// As for [`Settings::load`].
    pub fn parse(path: &Path, text: &str) -> Result<Self, SettingsError> {
        let mut reader = Reader::new(path);
        for (number, line) in text.lines().enumerate() {
            reader.line(number + 1, without_comment(line).trim())?;
        }
        reader.finish()
    }

    /// The number of the node with this name.
    pub fn node(&self, name: &str) -> Option<usize> {
        self.nodes.iter().position(|node| node.name == name)
    }

    /// On how many nodes a pair is.
    pub fn copies(&self) -> usize {
        match self.handler {
            Handler::Simple => 1,
            Handler::FaultTolerant => self.replicas.clamp(1, self.nodes.len().max(1)),
        }
    }

    /// The nodes that hold what belongs to a node, that one first.
    pub fn holders(&self, home: usize) -> impl Iterator<Item = usize> + Clone + use<> {
        copies(home, self.copies(), self.nodes.len().max(1))
    }

    /// The placement function, prepared for the nodes.
    pub fn placement(&self) -> Placement {
        Placement::new(self.function, self.nodes.len())
    }
}

impl fmt::Display for Settings {
    /// As a file that [`Settings::parse`] reads.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[Node_hostnames]\n")?;
        for node in &self.nodes {
            if node.port == self.port {
                writeln!(f, "{} = {}", node.name, node.host)?;
            } else {
                writeln!(f, "{} = {}", node.name, node.address())?;
            }
        }
        writeln!(
            f,
            "\n[General_parameters]\nhashing_function = {}\nnumber_replicas = {}\n\
             message_handler = {}\nport = {}",
            self.function.name,
            self.replicas,
            self.handler.word(),
            self.port
        )
    }
}

/// A comment begins with `#` or `;` at the beginning or behind white space.
fn without_comment(line: &str) -> &str {
    let mut before = ' ';
    for (at, character) in line.char_indices() {
        if matches!(character, '#' | ';') && before.is_whitespace() {
            return &line[..at];
        }
        before = character;
    }
    line
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Section {
    Nodes,
    General,
}

/// What has been read so far; values come with the number of their line.
struct Reader<'a> {
    path: &'a Path,
    section: Option<Section>,
    nodes: Vec<(String, String, Option<u16>)>,
    names: HashSet<String>,
    function: Option<&'static Function>,
    replicas: Option<(usize, usize)>,
    handler: Option<Handler>,
    port: Option<u16>,
}

impl<'a> Reader<'a> {
    fn new(path: &'a Path) -> Self {
        Self {
            path,
            section: None,
            nodes: Vec::new(),
            names: HashSet::new(),
            function: None,
            replicas: None,
            handler: None,
            port: None,
        }
    }

    fn wrong(&self, line: usize, expected: impl Into<String>, found: &str) -> SettingsError {
        let found = found.chars().take(80).collect();
        SettingsError::Line { path: self.path.to_owned(), line, expected: expected.into(), found }
    }

    fn line(&mut self, number: usize, text: &str) -> Result<(), SettingsError> {
        if text.is_empty() {
            return Ok(());
        }
        if text.starts_with('[') {
            self.section = Some(match text {
                "[Node_hostnames]" => Section::Nodes,
                "[General_parameters]" => Section::General,
                _ => {
                    let expected = "[Node_hostnames] or [General_parameters]";
                    return Err(self.wrong(number, expected, text));
                }
            });
            return Ok(());
        }
        match self.section {
            Some(Section::Nodes) => self.node(number, text),
            Some(Section::General) => self.parameter(number, text),
            None => Err(self.wrong(number, "the section [Node_hostnames] first", text)),
        }
    }

    fn node(&mut self, number: usize, text: &str) -> Result<(), SettingsError> {
        let (name, place) = text.split_once('=').unwrap_or((text, text));
        let (name, place) = (name.trim(), place.trim());
        let is_name = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_');
        // The name becomes the name of a log file and a word of a command line.
        if !name.starts_with(|c: char| c.is_ascii_alphanumeric()) || !name.chars().all(is_name) {
            let expected =
                "a node as NAME or NAME = ADDRESS, the name of letters, digits, '.', '-', '_'";
            return Err(self.wrong(number, expected, text));
        }
        let Some((host, port)) = split_place(place) else {
            let expected = "an address such as 127.0.1.1, a host's name, or HOST:PORT";
            return Err(self.wrong(number, expected, place));
        };
        if !self.names.insert(name.to_owned()) {
            return Err(self.wrong(number, "each node once", name));
        }
        if self.nodes.len() == MAX_NODES {
            return Err(self.wrong(number, format!("at most {MAX_NODES} nodes"), text));
        }
        self.nodes.push((name.to_owned(), host, port));
        Ok(())
    }

    fn parameter(&mut self, number: usize, text: &str) -> Result<(), SettingsError> {
        let Some((name, value)) = text.split_once('=') else {
            return Err(self.wrong(number, "PARAMETER = VALUE", text));
        };
        let (name, value) = (name.trim(), value.trim());
        let again = match name {
            "hashing_function" => {
                let names: Vec<&str> = routing::FUNCTIONS.iter().map(|f| f.name).collect();
                let expected = || format!("hashing_function to be one of {}", names.join(", "));
                let found = routing::function(value);
                self.function
                    .replace(found.ok_or_else(|| self.wrong(number, expected(), value))?)
                    .is_some()
            }
            "number_replicas" => {
                let found = value.parse().ok().filter(|count| *count > 0);
                let expected = "number_replicas to be a number from 1 on";
                let count = found.ok_or_else(|| self.wrong(number, expected, value))?;
                self.replicas.replace((count, number)).is_some()
            }
            "message_handler" => {
                let words = Handler::ALL.map(Handler::word).join(" or ");
                let found = Handler::ALL.into_iter().find(|handler| handler.word() == value);
                let expected = || format!("message_handler to be {words}");
                self.handler
                    .replace(found.ok_or_else(|| self.wrong(number, expected(), value))?)
                    .is_some()
            }
            "port" => {
                let found = value.parse().ok().filter(|port| *port != 0);
                let expected = "port to be a number from 1 to 65535";
                self.port
                    .replace(found.ok_or_else(|| self.wrong(number, expected, value))?)
                    .is_some()
            }
            _ => {
                let expected = "hashing_function, number_replicas, message_handler or port";
                return Err(self.wrong(number, expected, name));
            }
        };
        if again { Err(self.wrong(number, "each parameter once", name)) } else { Ok(()) }
    }

    fn finish(self) -> Result<Settings, SettingsError> {
        if self.nodes.is_empty() {
            let expected = "at least one node in [Node_hostnames]";
            return Err(SettingsError::Missing { path: self.path.to_owned(), expected });
        }
        let (replicas, line) = self.replicas.unwrap_or((1, 0));
        let handler = self.handler.unwrap_or(Handler::Simple);
        let found = replicas.to_string();
        if replicas > self.nodes.len() {
            let expected =
                format!("number_replicas of at most {}, the number of nodes", self.nodes.len());
            return Err(self.wrong(line, expected, &found));
        }
        if handler == Handler::FaultTolerant && replicas < 2 {
            // An update needs two nodes to succeed; with one copy none ever would.
            let expected = "number_replicas of at least 2 with fault_tolerant_message_handler";
            return Err(match self.replicas {
                Some(_) => self.wrong(line, expected, &found),
                None => SettingsError::Missing { path: self.path.to_owned(), expected },
            });
        }
        let common = self.port.unwrap_or(DEFAULT_PORT);
        let nodes = self.nodes.into_iter().map(|(name, host, port)| NodeAddress {
            name,
            host,
            port: port.unwrap_or(common),
        });
        Ok(Settings {
            nodes: nodes.collect(),
            function: self.function.unwrap_or(&routing::FUNCTIONS[0]),
            replicas,
            handler,
            port: common,
        })
    }
}

/// `HOST`, `HOST:PORT`, an IPv6 address, or `[IPv6]:PORT`.
pub fn split_place(place: &str) -> Option<(String, Option<u16>)> {
    if place.parse::<Ipv6Addr>().is_ok() {
        return Some((place.to_owned(), None));
    }
    let (host, port) = match place.rsplit_once(':') {
        Some((host, port)) => (host, Some(port.parse().ok().filter(|port| *port != 0)?)),
        None => (place, None),
    };
    let bare = host.strip_prefix('[').and_then(|host| host.strip_suffix(']'));
    let host = match bare {
        Some(host) => host.parse::<Ipv6Addr>().ok().map(|_| host)?,
        None => host,
    };
    let is_host = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_');
    let fine = bare.is_some() || (!host.is_empty() && host.chars().all(is_host));
    // What begins with a dash would be an option to ssh.
    (fine && !host.starts_with('-')).then(|| (host.to_owned(), port))
}

/// Nodes of these names on consecutive addresses of loopback, as the file is delivered.
pub fn loopback_nodes(count: u8) -> Vec<NodeAddress> {
    (1..=count)
        .map(|number| {
            let mut host = String::from("127.0.1.");
            let _ = write!(host, "{number}");
            NodeAddress { name: format!("scutter{number:02}"), host, port: DEFAULT_PORT }
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<Settings, String> {
        Settings::parse(Path::new("settings.cfg"), text).map_err(|error| error.to_string())
    }

    #[test]
    fn what_is_delivered_is_what_is_written_here() {
        let text = include_str!("../../../scripts/shard/settings.cfg");
        let settings = parse(text).unwrap();
        assert_eq!(settings.nodes, loopback_nodes(12));
        assert_eq!(settings.to_string(), Settings::new(loopback_nodes(12)).to_string());
    }

    #[test]
    fn what_is_written_is_what_is_read() {
        let text = "[Node_hostnames]\na = ::1\nb = [::1]:70\nc=example.org:7001 ; far\nd\n\
                    [General_parameters]\nhashing_function = md5\nnumber_replicas = 4\n\
                    message_handler = fault_tolerant_message_handler # copies\nport = 7007\n";
        let settings = parse(text).unwrap();
        let places: Vec<String> = settings.nodes.iter().map(NodeAddress::address).collect();
        assert_eq!(places, ["[::1]:7007", "[::1]:70", "example.org:7001", "d:7007"]);
        let again = parse(&settings.to_string()).unwrap();
        assert_eq!((again.nodes.clone(), again.copies()), (settings.nodes.clone(), 4));
        assert_eq!(again.to_string(), settings.to_string());
    }

    #[test]
    fn mistakes_are_named_with_their_line() {
        let node = "[Node_hostnames]\na\n[General_parameters]\n";
        for (text, expected) in [
            ("a", "settings.cfg:1: expected the section [Node_hostnames] first, found \"a\""),
            ("[Nodes]", "settings.cfg:1: expected [Node_hostnames] or"),
            ("[Node_hostnames]\n\n-a", "settings.cfg:3: expected a node as NAME"),
            ("[Node_hostnames]\n../a", "settings.cfg:2: expected a node as NAME"),
            ("[Node_hostnames]\na = -oProxyCommand=x", "settings.cfg:2: expected an address"),
            ("[Node_hostnames]\na = 1.2.3.4:0", "settings.cfg:2: expected an address"),
            ("[Node_hostnames]\na\na = b", "settings.cfg:3: expected each node once"),
            ("[General_parameters]\nport = 1", "settings.cfg: expected at least one node"),
            (&format!("{node}port = 70000"), "settings.cfg:4: expected port to be a number"),
            (&format!("{node}port = 1\nport = 2"), "settings.cfg:5: expected each parameter once"),
            (&format!("{node}ports"), "settings.cfg:4: expected PARAMETER = VALUE"),
            (&format!("{node}ports = 1"), "settings.cfg:4: expected hashing_function,"),
            (
                &format!("{node}hashing_function = MD5"),
                "settings.cfg:4: expected hashing_function to be one of None, md5",
            ),
            (&format!("{node}number_replicas = 0"), "settings.cfg:4: expected number_replicas"),
            (
                &format!("{node}number_replicas = 2"),
                "settings.cfg:4: expected number_replicas of at most 1",
            ),
            (&format!("{node}message_handler = x"), "settings.cfg:4: expected message_handler"),
            (
                &format!("{node}message_handler = fault_tolerant_message_handler"),
                "settings.cfg: expected number_replicas of at least 2",
            ),
        ] {
            let error = parse(text).unwrap_err();
            assert!(error.starts_with(expected), "{text:?}: {error}");
        }
    }
}
