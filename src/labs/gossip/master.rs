//! The master: reads commands and has servers and clients do them, one after the other.
//!
//! Standard output holds what `get` and `printStore` print and nothing else. What is wrong with a command is one line
//! on standard error, and the next command is read: a list of commands always runs to its end.

use std::io::{BufRead, BufReader, Read, Write};
use std::path::PathBuf;
use std::time::{Duration, Instant};

use super::MasterError;
use super::client::{Client, print};
use super::command::{Command, Ends, Ids, parse};
use super::servers::Servers;
use super::watchdogs::{Leash, Watchdogs};
use crate::client::ClientError;

/// The longest line: a value of the greatest default length, with its key.
const MAX_LINE: usize = 1024 * 1024 + 4096;

/// What a master runs with.
#[derive(Clone, Debug)]
pub struct Options {
    /// How many servers and clients there may be.
    pub ids: Ids,
    /// Where the watchdogs are, by server; `None`: the master starts them.
    pub watchdogs: Option<Vec<String>>,
    /// The folder of the servers' data; `None`: a temporary one each.
    pub data: Option<PathBuf>,
}

/// What has been done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ran {
    /// How many commands were read.
    pub commands: u64,
    /// How many of them could not be carried out.
    pub failed: u64,
    /// How long all took.
    pub time: Duration,
}

/// A master.
#[derive(Debug)]
pub struct Master<O, E> {
    ids: Ids,
    servers: Servers,
    clients: Vec<Option<Client>>,
    leash: Leash,
    out: O,
    errors: E,
}

impl<O: Write, E: Write> Master<O, E> {
    /// A master that prints to `out`, and to `errors` what goes wrong. What it starts is on the leash.
    pub fn new(options: Options, leash: &Leash, out: O, errors: E) -> Self {
        let Options { ids, watchdogs, data } = options;
        let watchdogs = Watchdogs::new(ids.servers, watchdogs, data, leash.clone());
        Self {
            ids,
            servers: Servers::new(ids.servers, watchdogs),
            clients: (0..ids.clients).map(|_| None).collect(),
            leash: leash.clone(),
            out,
            errors,
        }
    }

    /// Carries out all commands of `input`, or as many as can be until the leash is released.
    ///
    /// # Errors
    /// The commands cannot be read, or what they print not be written.
    pub fn run(&mut self, input: impl Read) -> Result<Ran, MasterError> {
        let begin = Instant::now();
        let mut input = BufReader::with_capacity(256 * 1024, input);
        let mut line = Vec::new();
        let (mut number, mut commands, mut failed) = (0_u64, 0, 0);
        loop {
            if input.buffer().is_empty() {
                // Whoever types, or waits for an answer before the next command, sees it now.
                self.out.flush()?;
            }
            let fits = match read_line(&mut input, &mut line)? {
                Some(fits) => fits,
                None => break,
            };
            number += 1;
            let done =
                if fits { self.obey(&line) } else { Err(MasterError::Line { most: MAX_LINE }) };
            commands += u64::from(!matches!(done, Ok(false)));
            match done {
                Ok(_) => {}
                Err(MasterError::Io(error)) => return Err(error.into()),
                Err(_) if self.leash.is_released() => break,
                Err(error) => {
                    failed += 1;
                    writeln!(self.errors, "line {number}: {error}")?;
                }
            }
        }
        self.out.flush()?;
        Ok(Ran { commands, failed, time: begin.elapsed() })
    }

    /// Kills all servers that are up; they are gone when this returns.
    pub fn stop(&mut self) {
        self.servers.kill_all();
    }

    /// Carries out a line; gives whether it was a command.
    fn obey(&mut self, line: &[u8]) -> Result<bool, MasterError> {
        let Some(command) = parse(line, &self.ids)? else { return Ok(false) };
        match command {
            Command::JoinServer(id) => self.servers.join(id)?,
            Command::KillServer(id) => {
                self.clients
                    .iter_mut()
                    .flatten()
                    .filter(|c| c.server() == Some(id))
                    .for_each(Client::hang_up);
                self.servers.kill(id)?;
            }
            Command::JoinClient { client, server } => self.connect(client, server)?,
            Command::BreakConnection(Ends::Servers(one, other)) => self.servers.cut(one, other)?,
            Command::BreakConnection(Ends::Client { client, server }) => {
                let its = self.client(client)?;
                if its.server() != Some(server) {
                    return Err(MasterError::Elsewhere { client, server });
                }
                its.go_to(None);
            }
            Command::CreateConnection(Ends::Servers(one, other)) => {
                self.servers.link(one, other)?
            }
            Command::CreateConnection(Ends::Client { client, server }) => {
                self.connect(client, server)?;
            }
            Command::Stabilize => self.servers.stabilize()?,
            Command::PrintStore(id) => {
                for (key, value) in self.servers.contents(id)? {
                    print(&mut self.out, &key, &value)?;
                }
            }
            Command::Put { client, key, value } => {
                self.with_client(client, |client, _| client.put(key, value))?;
            }
            Command::Get { client, key } => {
                self.with_client(client, |client, out| client.get(key, out))??;
            }
        }
        Ok(true)
    }

    fn client(&mut self, id: u16) -> Result<&mut Client, MasterError> {
        let client = self.clients.get_mut(self.ids.client_index(id)).and_then(Option::as_mut);
        client.ok_or(MasterError::NoClient(id))
    }

    /// Connects a client to a server, with the session that it has. It stays at a server that is not up: when that
    /// comes, the client finds it.
    fn connect(&mut self, client: u16, server: u16) -> Result<(), MasterError> {
        if let Some(place) = self.clients.get_mut(self.ids.client_index(client)) {
            place.get_or_insert_default().go_to(Some(server));
        }
        self.with_client(client, |_, _| Ok(()))
    }

    /// Has a client do something that is connected.
    fn with_client<T>(
        &mut self,
        id: u16,
        act: impl FnOnce(&mut Client, &mut O) -> Result<T, ClientError>,
    ) -> Result<T, MasterError> {
        let place = self.clients.get_mut(self.ids.client_index(id)).and_then(Option::as_mut);
        let client = place.ok_or(MasterError::NoClient(id))?;
        let server = client.server().ok_or(MasterError::NotConnected(id))?;
        let address = self
            .servers
            .clients_of(server)
            .map_err(|_| MasterError::ServerGone { client: id, server })?;
        let done = client.connect(address).and_then(|()| act(client, &mut self.out));
        done.map_err(|source| {
            if !matches!(source, ClientError::Refused { .. }) {
                // Whatever may still come on it would be taken for the answer to what is asked next.
                client.hang_up();
            }
            match source {
                ClientError::NothingListens { .. } => {
                    MasterError::ServerGone { client: id, server }
                }
                source => MasterError::Client { client: id, server, source },
            }
        })
    }
}

/// Reads a line; gives whether it is of a length that is taken, and `None` at the end.
fn read_line(input: &mut impl BufRead, line: &mut Vec<u8>) -> std::io::Result<Option<bool>> {
    line.clear();
    let most = MAX_LINE as u64;
    if input.by_ref().take(most).read_until(b'\n', line)? == 0 {
        return Ok(None);
    }
    if line.last() == Some(&b'\n') || line.len() < MAX_LINE {
        return Ok(Some(true));
    }
    // The rest of it, a piece at a time.
    while line.last() != Some(&b'\n') {
        line.clear();
        if input.by_ref().take(most).read_until(b'\n', line)? == 0 {
            break;
        }
    }
    Ok(Some(false))
}

#[cfg(test)]
mod tests {
    use super::*;

    const IDS: Ids = Ids { servers: 2, clients: 2 };

    /// Runs commands that start no server; gives what was printed and what went wrong.
    fn run(input: &str) -> (String, Vec<String>, Ran) {
        let options = Options { ids: IDS, watchdogs: None, data: None };
        let (mut out, mut errors) = (Vec::new(), Vec::new());
        let leash = Leash::default();
        let ran = Master::new(options, &leash, &mut out, &mut errors)
            .run(input.as_bytes())
            .expect("it runs to its end");
        let text = |bytes| String::from_utf8(bytes).expect("text");
        (text(out), text(errors).lines().map(str::to_owned).collect(), ran)
    }

    #[test]
    fn what_cannot_be_done_is_one_line_each_and_on_it_goes() {
        let (out, errors, ran) = run(
            "# comment\n\nkillServer 0\nput 2 k v\nget 3 k\nbreakConnection 2 0\nbreakConnection 0 1 \n\
             createConnection 1 0\nprintStore 1\nfly\njoinClient 2 0\nput 2 k v\nbreakConnection 2 1\n\
             breakConnection 2 0\nget 2 k\nstabilize",
        );
        assert_eq!(out, "");
        let expected = [
            "line 3: server 0 is not up; start it with joinServer 0",
            "line 4: client 2 has not joined; connect it with joinClient 2 SERVER",
            "line 5: client 3 has not joined; connect it with joinClient 3 SERVER",
            "line 6: client 2 has not joined; connect it with joinClient 2 SERVER",
            "line 7: server 0 is not up; start it with joinServer 0",
            "line 8: server 1 is not up; start it with joinServer 1",
            "line 9: server 1 is not up; start it with joinServer 1",
        ];
        assert_eq!(errors[..7], expected);
        assert!(errors[7].starts_with("line 10: expected joinServer, "), "{}", errors[7]);
        let gone = "client 2 is at server 0, which is not up; nothing was sent";
        let rest = [
            format!("line 11: {gone}"),
            format!("line 12: {gone}"),
            "line 13: client 2 is not connected to server 1".to_owned(),
            "line 15: client 2 has no connection; connect it with createConnection 2 SERVER"
                .to_owned(),
        ];
        assert_eq!(errors[8..], rest);
        assert_eq!((ran.commands, ran.failed), (14, 12));
    }

    #[test]
    fn a_line_that_is_too_long_is_skipped_as_a_whole() {
        let long = format!("put 2 k {}\nget 2 k\n", "v".repeat(3 * MAX_LINE));
        let (_, errors, ran) = run(&long);
        assert_eq!(errors[0], format!("line 1: expected a line of at most {MAX_LINE} bytes"));
        assert!(errors[1].starts_with("line 2: client 2 has not joined"), "{}", errors[1]);
        assert_eq!(ran.commands, 2);
    }
}
