//! `lab client`: one command, or an interactive session.

use std::{
    ffi::OsString,
    io::{self, BufRead, IsTerminal, Write},
    path::PathBuf,
    process::ExitCode,
    time::Duration,
};

use super::{
    Lab,
    client_history::{ClientHistory, HistoryError, Open},
    usage,
};
use crate::{
    client::{
        Certainty, Client, ClientError, DEFAULT_TO, KeyValue, Options, Protocol, RetryingClient,
        Words, check_key, help_text, translate,
    },
    history::tape::{Ending, Request},
    wire::Reply,
};

/// The longest reply that is shown, in bytes.
const MAX_REPLY: usize = 64 << 20;

/// Talk to a server: one command, or an interactive session without one.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  lab client set x 42                         # prints STORED
  lab client --to 127.0.0.1:9890 get x        # reads at the second replica
  lab client                                  # interactive; help lists the commands
  printf 'set x 1\\nget x\\n' | lab client      # the same from a pipe
  lab client --history run.jsonl set x 1      # also in the history run.jsonl
  lab client --to 127.0.0.1:9889,127.0.0.1:9890 --retry 10s set x 1   # outlives a replica; stored once

Exit codes: 0 done; 1 it did not happen: no such key, or an error; 2 the outcome is unknown: a timeout
or a lost connection; 64 wrong usage.")]
pub struct ClientArgs {
    /// The server; with --retry also several.
    #[arg(long, value_name = "HOST:PORT,...", default_value = DEFAULT_TO, value_parser = usage::address,
        value_delimiter = ',')]
    to: Vec<String>,
    /// memcached or resp.
    #[arg(long, default_value = "memcached")]
    protocol: Protocol,
    /// How long to wait for a reply.
    #[arg(long, value_name = "TIME", default_value = "15s", value_parser = humantime::parse_duration)]
    timeout: Duration,
    /// Send again, through each server of --to in turn, for this long; a write is executed once all the same.
    #[arg(long, value_name = "TIME", value_parser = usage::time)]
    retry: Option<Duration>,
    /// Add what is asked and answered to the history in FILE.
    #[arg(long, value_name = "FILE")]
    history: Option<PathBuf>,
    #[command(subcommand)]
    command: Option<ClientCommand>,
}

#[derive(Debug, clap::Subcommand)]
enum ClientCommand {
    /// Print the value of a key; exit code 1 if there is none.
    #[command(after_help = "Example:\n  lab client get x")]
    Get {
        /// The key.
        key: String,
    },
    /// Store a value.
    #[command(after_help = "Example:\n  lab client set x 42")]
    Set {
        /// The key.
        key: String,
        /// The value.
        #[arg(allow_hyphen_values = true)]
        value: String,
    },
    /// Remove a key; exit code 1 if there is none.
    #[command(visible_alias = "delete", after_help = "Example:\n  lab client del x")]
    Del {
        /// The key.
        key: String,
    },
}

impl ClientCommand {
    fn key(&self) -> &[u8] {
        match self {
            Self::Get { key } | Self::Set { key, .. } | Self::Del { key } => key.as_bytes(),
        }
    }
}

/// Runs the command and returns its exit code; everything has been printed.
pub fn run(args: &ClientArgs, arguments: &[OsString]) -> ExitCode {
    // Which keys can be sent depends on --protocol, so they are not clap's to judge.
    let protocol = if args.retry.is_some() { Protocol::Resp } else { args.protocol };
    let key = args.command.as_ref().map_or(Ok(()), |c| check_key(protocol, c.key()));
    if let Err(error) = key {
        return usage::wrong_usage::<Lab>(&error.to_string(), arguments);
    }
    if args.retry.is_none() && args.to.len() > 1 {
        return usage::wrong_usage::<Lab>("expected one address, or --retry TIME", arguments);
    }
    if args.retry.is_some() && args.command.is_none() {
        return usage::wrong_usage::<Lab>("expected a command behind --retry", arguments);
    }
    let options = Options { timeout: args.timeout, ..Options::default() };
    let result = match (&args.command, args.retry) {
        (Some(command), Some(patience)) => outlive(args, options, patience, command),
        (Some(command), None) => {
            begin(args, options).and_then(|Session { mut client, mut history }| {
                one_shot(&mut client, history.as_mut(), command)
            })
        }
        (None, _) => begin(args, options).and_then(|mut session| {
            if io::stdin().is_terminal() { interactive(&mut session) } else { piped(&mut session) }
        }),
    };
    let failed = |text: String, code: u8| {
        let _ = writeln!(io::stderr(), "lab: error: {text}");
        ExitCode::from(code)
    };
    match result {
        Ok(code) => code,
        Err(Failure::Client(error)) => match error.certainty() {
            Certainty::Fail => failed(error.to_string(), 1),
            Certainty::Unknown => failed(error.to_string(), 2),
        },
        Err(Failure::Io(error)) if error.kind() == io::ErrorKind::BrokenPipe => ExitCode::SUCCESS,
        Err(Failure::Io(error)) => failed(error.to_string(), 1),
        Err(Failure::History(error)) => failed(error.to_string(), 1),
        Err(Failure::Editor(error)) => failed(format!("the terminal cannot be used: {error}"), 1),
    }
}

/// Why a session ended badly.
#[derive(Debug, thiserror::Error)]
enum Failure {
    #[error(transparent)]
    Client(#[from] ClientError),
    #[error(transparent)]
    Io(#[from] io::Error),
    #[error(transparent)]
    History(#[from] HistoryError),
    #[error(transparent)]
    Editor(#[from] rustyline::error::ReadlineError),
}

/// A connection, and what is recorded of it.
struct Session {
    client: Client,
    history: Option<ClientHistory>,
}

fn begin(args: &ClientArgs, options: Options) -> Result<Session, Failure> {
    // First the file: nothing is asked that could not be written down.
    let history = args.history.as_deref().map(ClientHistory::open).transpose()?;
    let mut session =
        Session { client: Client::connect(&args.to[0], args.protocol, options)?, history };
    if let Some(history) = &mut session.history {
        history.meet(&mut session.client)?;
    }
    Ok(session)
}

/// One command through whichever of the servers answers.
fn outlive(
    args: &ClientArgs,
    options: Options,
    patience: Duration,
    command: &ClientCommand,
) -> Result<ExitCode, Failure> {
    let mut history = args.history.as_deref().map(ClientHistory::open).transpose()?;
    let mut client = RetryingClient::new(args.to.clone(), options, patience);
    if let Some(history) = &mut history {
        history.meet(client.connection()?)?;
    }
    one_shot(&mut client, history.as_mut(), command)
}

/// Carries out one request and records it.
fn recorded<C, R>(
    (client, history): (&mut C, Option<&mut ClientHistory>),
    key: &str,
    request: Request<'_>,
    ask: impl FnOnce(&mut C) -> Result<R, ClientError>,
    ending: impl FnOnce(&R) -> Ending<'_>,
) -> Result<R, Failure> {
    let Some(history) = history else { return Ok(ask(client)?) };
    history.invoke(key.as_bytes(), request)?;
    let answer = ask(client);
    history.complete(answer.as_ref().map(ending))?;
    Ok(answer?)
}

fn found(value: &Option<Vec<u8>>) -> Ending<'_> {
    Ending::Found(value.as_deref())
}

fn removed(there_was: &bool) -> Ending<'_> {
    match there_was {
        true => Ending::Done,
        false => Ending::Failed("not found"),
    }
}

fn one_shot<C: KeyValue>(
    client: &mut C,
    history: Option<&mut ClientHistory>,
    command: &ClientCommand,
) -> Result<ExitCode, Failure> {
    let mut out = io::stdout().lock();
    let protocol = client.protocol();
    let both = (client, history);
    let found = match command {
        ClientCommand::Get { key } => {
            let ask = |client: &mut C| client.get(key.as_bytes());
            match recorded(both, key, Request::Read, ask, found)? {
                Some(mut value) => {
                    value.push(b'\n');
                    out.write_all(&value)?;
                    true
                }
                None => false,
            }
        }
        ClientCommand::Set { key, value } => {
            let ask = |client: &mut C| client.set(key.as_bytes(), value.as_bytes());
            let request = Request::Write(Some(value.as_bytes()));
            recorded(both, key, request, ask, |()| Ending::Done)?;
            writeln!(out, "{}", word(protocol, "STORED", "OK"))?;
            true
        }
        ClientCommand::Del { key } => {
            let ask = |client: &mut C| client.delete(key.as_bytes());
            let there_was = recorded(both, key, Request::Write(None), ask, removed)?;
            if there_was {
                writeln!(out, "{}", word(protocol, "DELETED", "OK"))?;
            }
            there_was
        }
    };
    out.flush()?;
    if found {
        return Ok(ExitCode::SUCCESS);
    }
    writeln!(io::stderr(), "not found")?;
    Ok(ExitCode::FAILURE)
}

fn word(protocol: Protocol, memcached: &'static str, resp: &'static str) -> &'static str {
    match protocol {
        Protocol::Memcached => memcached,
        Protocol::Resp => resp,
    }
}

/// Commands from a pipe or a file: no prompt, no line editing. Ends with the first lost connection,
/// because what follows may depend on what was lost.
fn piped(session: &mut Session) -> Result<ExitCode, Failure> {
    for line in io::stdin().lock().lines() {
        match say(session, &line?) {
            Ok(true) => {}
            Ok(false) => break,
            Err(failure) => return Err(failure),
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn interactive(session: &mut Session) -> Result<ExitCode, Failure> {
    let mut editor = rustyline::DefaultEditor::new()?;
    let history = history_file();
    if let Some(path) = &history {
        // The first time there is none; a history that cannot be read is not worth a word.
        let _ = editor.load_history(path);
    }
    let (to, protocol) = (session.client.to().to_owned(), session.client.protocol());
    println_or_end(&format!("connected to {to} ({protocol}); help, quit"))?;
    loop {
        match editor.readline(&format!("{to}> ")) {
            Ok(line) => {
                // Fails only for a history of size 0.
                let _ = editor.add_history_entry(&line);
                match say(session, &line) {
                    Ok(true) => {}
                    Ok(false) => break,
                    Err(Failure::Client(error)) => recover(&mut session.client, &error)?,
                    Err(failure) => return Err(failure),
                }
            }
            Err(rustyline::error::ReadlineError::Eof)
            | Err(rustyline::error::ReadlineError::Interrupted) => break,
            Err(error) => return Err(error.into()),
        }
    }
    if let Some(path) = &history {
        if let Some(folder) = path.parent() {
            let _ = std::fs::create_dir_all(folder);
        }
        let _ = editor.save_history(path);
    }
    Ok(ExitCode::SUCCESS)
}

/// Says what went wrong and, where the connection is of no more use, opens a new one.
fn recover(client: &mut Client, error: &ClientError) -> Result<(), Failure> {
    let mut text = error.to_string();
    // Not after a failure to connect: that has just been tried.
    if error.ends_connection() && error.certainty() == Certainty::Unknown {
        text += &match client.reconnect() {
            Ok(()) => "\nconnected again".to_owned(),
            Err(again) => format!("\n{again}"),
        };
    }
    println_or_end(&text)
}

/// Carries out one line; false for `quit`.
fn say(session: &mut Session, line: &str) -> Result<bool, Failure> {
    let Session { client, history } = session;
    let protocol = client.protocol();
    match translate(protocol, line) {
        Words::Nothing => {}
        Words::Quit => return Ok(false),
        Words::Help => println_or_end(help_text(protocol).trim_end())?,
        Words::Wrong(expected) => println_or_end(&expected)?,
        Words::Send { bytes, reply } => {
            if client.is_broken() {
                client.reconnect()?;
                println_or_end("connected again")?;
            }
            let open = match history {
                Some(history) => history.invoke_command(&bytes)?,
                None => Open::Nothing,
            };
            if reply {
                let answer = client.exchange(&bytes, MAX_REPLY);
                if let Some(history) = history {
                    history
                        .complete_command(&open, answer.as_ref().map(|(_, reply)| Some(reply)))?;
                }
                let (bytes, reply) = answer?;
                let mut out = io::stdout().lock();
                out.write_all(&shown(protocol, bytes, &reply))?;
                out.flush()?;
            } else {
                let sent = client.send_raw(&bytes);
                if let Some(history) = history {
                    history.complete_command(&open, sent.as_ref().map(|()| None))?;
                }
                sent?;
            }
        }
    }
    Ok(true)
}

fn println_or_end(text: &str) -> Result<(), Failure> {
    Ok(writeln!(io::stdout(), "{text}")?)
}

/// A reply as a person reads it: memcached's as it is, with plain line ends; RESP's unwrapped.
fn shown(protocol: Protocol, bytes: &[u8], reply: &Reply<'_>) -> Vec<u8> {
    match protocol {
        Protocol::Memcached => without_cr(bytes),
        Protocol::Resp => {
            let mut out = Vec::new();
            show_resp(reply, 0, &mut out);
            out
        }
    }
}

fn without_cr(reply: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(reply.len());
    for (index, byte) in reply.iter().enumerate() {
        if *byte != b'\r' || reply.get(index + 1) != Some(&b'\n') {
            out.push(*byte);
        }
    }
    out
}

/// One value and what it contains.
fn show_resp(reply: &Reply<'_>, depth: usize, out: &mut Vec<u8>) {
    match reply {
        Reply::Bulk(None) | Reply::Array(None) => out.extend_from_slice(b"(nil)"),
        Reply::Status(text) | Reply::Bulk(Some(text)) => out.extend_from_slice(text),
        Reply::Error(text) => {
            out.extend_from_slice(b"(error) ");
            out.extend_from_slice(text);
        }
        Reply::Number(number) => out.extend_from_slice(number.to_string().as_bytes()),
        Reply::Array(Some(list)) if list.is_empty() => out.extend_from_slice(b"(none)"),
        Reply::Array(Some(list)) => {
            for (index, item) in list.iter().enumerate() {
                out.extend(std::iter::repeat_n(b' ', if index > 0 { depth * 3 } else { 0 }));
                out.extend_from_slice(format!("{}) ", index + 1).as_bytes());
                show_resp(item, depth + 1, out);
            }
            return; // Its items have ended their lines.
        }
        // Lists of memcached's, which no RESP reply holds.
        Reply::Values(_) | Reply::Stats(_) => {}
    }
    out.push(b'\n');
}

/// Where the history of typed lines is kept, by the XDG rules.
fn history_file() -> Option<PathBuf> {
    let set = |name: &str| std::env::var_os(name).filter(|v| !v.is_empty()).map(PathBuf::from);
    let state = set("XDG_STATE_HOME").or_else(|| Some(set("HOME")?.join(".local/state")))?;
    Some(state.join("consistency-lab").join("client-history"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown_text(protocol: Protocol, bytes: &[u8]) -> String {
        let reply = Reply::of_whole(protocol, bytes).expect("a reply");
        String::from_utf8(shown(protocol, bytes, &reply)).expect("text")
    }

    #[test]
    fn resp_replies_are_unwrapped() {
        let text = |bytes: &[u8]| shown_text(Protocol::Resp, bytes);
        assert_eq!(text(b"+OK\r\n"), "OK\n");
        assert_eq!(text(b"$-1\r\n"), "(nil)\n");
        assert_eq!(text(b"*2\r\n$1\r\na\r\n*2\r\n:1\r\n:2\r\n"), "1) a\n2) 1) 1\n   2) 2\n");
        assert_eq!(text(b"-ERR no\r\n"), "(error) ERR no\n");
        assert_eq!(text(b"*0\r\n"), "(none)\n");
    }

    #[test]
    fn memcached_replies_lose_only_their_carriage_returns() {
        let reply = b"VALUE x 0 2\r\n42\r\nEND\r\n";
        assert_eq!(shown_text(Protocol::Memcached, reply), "VALUE x 0 2\n42\nEND\n");
    }
}
