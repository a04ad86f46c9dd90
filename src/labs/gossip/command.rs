//! The master's commands, one a line.
//!
//! Words are separated by white space, also behind the last; a value is one word. Servers have the ids from 0 on,
//! clients those behind the servers'.

use thiserror::Error;

use crate::base::limits::MAX_KEY;

/// How much of a word an error quotes.
const QUOTED: usize = 40;

/// How many servers and clients there may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ids {
    /// The servers are `0..servers`.
    pub servers: u16,
    /// The clients are the next so many.
    pub clients: u16,
}

/// The two ends of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ends {
    /// Two servers, the lesser id first.
    Servers(u16, u16),
    /// A client and a server.
    Client {
        /// The client's id.
        client: u16,
        /// The server's id.
        server: u16,
    },
}

/// One command.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Command<'a> {
    /// Start a server and link it to all others.
    JoinServer(u16),
    /// Kill a server.
    KillServer(u16),
    /// Connect a client to a server, and to no other.
    JoinClient {
        /// The client.
        client: u16,
        /// The server.
        server: u16,
    },
    /// Cut a connection.
    BreakConnection(Ends),
    /// Make a connection.
    CreateConnection(Ends),
    /// Wait until every value has reached every server that it can reach.
    Stabilize,
    /// Print what a server holds.
    PrintStore(u16),
    /// Write.
    Put {
        /// The client.
        client: u16,
        /// The key.
        key: &'a [u8],
        /// The value.
        value: &'a [u8],
    },
    /// Read, and print what was read.
    Get {
        /// The client.
        client: u16,
        /// The key.
        key: &'a [u8],
    },
}

/// Why a line is no command.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum CommandError {
    /// There is no such command.
    #[error(
        "expected joinServer, killServer, joinClient, breakConnection, createConnection, stabilize, printStore, put \
         or get, found {0}"
    )]
    Unknown(String),
    /// Words are missing, or there are too many.
    #[error("expected {usage}, found {found} words")]
    Words {
        /// The command with names for its words.
        usage: &'static str,
        /// How many words the line has.
        found: usize,
    },
    /// A word is no id of the kind that belongs there.
    #[error("expected {expected}, found {found}")]
    Id {
        /// Which ids there are.
        expected: String,
        /// The word.
        found: String,
    },
    /// A connection of something with itself, or of two clients.
    #[error("expected two different servers, or a client and a server, found {0} and {1}")]
    Ends(u16, u16),
    /// The key is longer than a server takes.
    #[error("expected a key of at most {MAX_KEY} bytes, found one of {0}")]
    Key(usize),
}

fn quote(word: &[u8]) -> String {
    let quoted = word[..word.len().min(QUOTED)].escape_ascii();
    if word.len() > QUOTED { format!("{quoted}…") } else { quoted.to_string() }
}

fn number(word: &[u8]) -> Option<u16> {
    let is_number = !word.is_empty() && word.iter().all(u8::is_ascii_digit);
    std::str::from_utf8(word).ok().filter(|_| is_number)?.parse().ok()
}

impl Ids {
    /// The client of this id as an index, from 0.
    pub fn client_index(&self, client: u16) -> usize {
        usize::from(client.saturating_sub(self.servers))
    }

    fn is_client(&self, id: u16) -> bool {
        (u32::from(self.servers)..u32::from(self.servers) + u32::from(self.clients))
            .contains(&u32::from(id))
    }

    fn servers_text(&self) -> String {
        format!("a server of 0 to {}", self.servers.saturating_sub(1))
    }

    fn clients_text(&self) -> String {
        let last = u32::from(self.servers) + u32::from(self.clients);
        format!("a client of {} to {}", self.servers, last.saturating_sub(1))
    }

    fn server(&self, word: &[u8]) -> Result<u16, CommandError> {
        number(word)
            .filter(|id| *id < self.servers)
            .ok_or_else(|| CommandError::Id { expected: self.servers_text(), found: quote(word) })
    }

    fn client(&self, word: &[u8]) -> Result<u16, CommandError> {
        number(word)
            .filter(|id| self.is_client(*id))
            .ok_or_else(|| CommandError::Id { expected: self.clients_text(), found: quote(word) })
    }

    fn ends(&self, one: &[u8], other: &[u8]) -> Result<Ends, CommandError> {
        let any = |word| {
            number(word).filter(|id| *id < self.servers || self.is_client(*id)).ok_or_else(|| {
                let expected = format!("{} or {}", self.servers_text(), self.clients_text());
                CommandError::Id { expected, found: quote(word) }
            })
        };
        let (low, high) = match (any(one)?, any(other)?) {
            (one, other) if one <= other => (one, other),
            (one, other) => (other, one),
        };
        match (self.is_client(low), self.is_client(high)) {
            (false, false) if low != high => Ok(Ends::Servers(low, high)),
            (false, true) => Ok(Ends::Client { client: high, server: low }),
            _ => Err(CommandError::Ends(low, high)),
        }
    }
}

/// Reads a line; `None` for one that says nothing: blank, or a comment.
///
/// # Errors
/// It is no command.
pub fn parse<'a>(line: &'a [u8], ids: &Ids) -> Result<Option<Command<'a>>, CommandError> {
    let mut split = line.split(u8::is_ascii_whitespace).filter(|word| !word.is_empty());
    let Some(name) = split.next().filter(|name| !name.starts_with(b"#")) else { return Ok(None) };
    let mut words: [&[u8]; 3] = [&[]; 3];
    let mut count = 0;
    for word in split {
        if let Some(place) = words.get_mut(count) {
            *place = word;
        }
        count += 1;
    }
    let [one, two, three] = words;
    let takes = |expected: usize, usage: &'static str| {
        if count == expected {
            Ok(())
        } else {
            Err(CommandError::Words { usage, found: count + 1 })
        }
    };
    Ok(Some(match name {
        b"joinServer" => {
            takes(1, "joinServer SERVER")?;
            Command::JoinServer(ids.server(one)?)
        }
        b"killServer" => {
            takes(1, "killServer SERVER")?;
            Command::KillServer(ids.server(one)?)
        }
        b"joinClient" => {
            takes(2, "joinClient CLIENT SERVER")?;
            Command::JoinClient { client: ids.client(one)?, server: ids.server(two)? }
        }
        b"breakConnection" => {
            takes(2, "breakConnection ID ID")?;
            Command::BreakConnection(ids.ends(one, two)?)
        }
        b"createConnection" => {
            takes(2, "createConnection ID ID")?;
            Command::CreateConnection(ids.ends(one, two)?)
        }
        b"stabilize" => {
            takes(0, "stabilize alone")?;
            Command::Stabilize
        }
        b"printStore" => {
            takes(1, "printStore SERVER")?;
            Command::PrintStore(ids.server(one)?)
        }
        b"put" => {
            takes(3, "put CLIENT KEY VALUE")?;
            Command::Put { client: ids.client(one)?, key: key(two)?, value: three }
        }
        b"get" => {
            takes(2, "get CLIENT KEY")?;
            Command::Get { client: ids.client(one)?, key: key(two)? }
        }
        other => return Err(CommandError::Unknown(quote(other))),
    }))
}

fn key(word: &[u8]) -> Result<&[u8], CommandError> {
    if word.len() > MAX_KEY { Err(CommandError::Key(word.len())) } else { Ok(word) }
}

#[cfg(test)]
mod tests {
    use super::*;

    const IDS: Ids = Ids { servers: 5, clients: 5 };

    fn read(line: &str) -> Result<Option<Command<'_>>, String> {
        parse(line.as_bytes(), &IDS).map_err(|error| error.to_string())
    }

    #[test]
    fn the_nine_commands_are_understood() {
        let commands = [
            ("joinServer 3 ", Command::JoinServer(3)),
            ("\tkillServer  0\r\n", Command::KillServer(0)),
            ("joinClient 9 4", Command::JoinClient { client: 9, server: 4 }),
            ("breakConnection 4 1", Command::BreakConnection(Ends::Servers(1, 4))),
            (
                "createConnection 5 0",
                Command::CreateConnection(Ends::Client { client: 5, server: 0 }),
            ),
            (
                "breakConnection 0 5",
                Command::BreakConnection(Ends::Client { client: 5, server: 0 }),
            ),
            ("stabilize", Command::Stabilize),
            ("printStore 4", Command::PrintStore(4)),
            ("put 5 k v:#w", Command::Put { client: 5, key: b"k", value: b"v:#w" }),
            ("get 9 k", Command::Get { client: 9, key: b"k" }),
        ];
        for (line, command) in commands {
            assert_eq!(read(line), Ok(Some(command)), "{line:?}");
        }
        for nothing in ["", "  ", "# comment", "  #joinServer 0", "\r\n"] {
            assert_eq!(read(nothing), Ok(None), "{nothing:?}");
        }
    }

    #[test]
    fn what_is_wrong_is_said_with_what_was_expected() {
        let wrong = [
            ("start 1", "expected joinServer, killServer"),
            ("JOINSERVER 1", "found JOINSERVER"),
            ("joinServer", "expected joinServer SERVER, found 1 words"),
            ("put 5 k", "expected put CLIENT KEY VALUE, found 3 words"),
            ("put 5 k v w", "expected put CLIENT KEY VALUE, found 5 words"),
            ("stabilize 1", "expected stabilize alone, found 2 words"),
            ("joinServer 5", "expected a server of 0 to 4, found 5"),
            ("joinServer +1", "found +1"),
            ("get 4 k", "expected a client of 5 to 9, found 4"),
            ("get 99999999 k", "found 99999999"),
            ("breakConnection 1 1", "found 1 and 1"),
            ("breakConnection 5 6", "found 5 and 6"),
            ("breakConnection 0 10", "expected a server of 0 to 4 or a client of 5 to 9, found 10"),
        ];
        for (line, why) in wrong {
            let error = read(line).expect_err(line);
            assert!(error.contains(why), "{line:?}: {error}");
        }
        let long = format!("get 5 {}", "k".repeat(251));
        assert!(read(&long).expect_err("too long").contains("found one of 251"));
    }
}
