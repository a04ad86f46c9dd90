//! RESP commands about the connection and the server: what clients and tools ask before they begin.

use std::borrow::Cow;

use super::command::{
    Parsed, Refusal, STATUS, TABLE, answer, excerpt, integer, is_any, ok, one_bulk, owned,
};
use super::{Arguments, fixed};
use crate::wire::number::canonical;
use crate::wire::request::{Call, Form, RespVersion, bulk, header, resp_error};

/// What the commands that concern the connection itself need to know of it.
#[derive(Debug)]
pub(super) struct Session {
    connection: u64,
    /// As set by `CLIENT SETNAME`; at most 250 bytes, as a key.
    name: Box<[u8]>,
    /// As set by `HELLO`.
    version: RespVersion,
}

impl Session {
    pub(super) fn new(connection: u64) -> Self {
        Self { connection, name: Box::default(), version: RespVersion::Two }
    }

    pub(super) fn version(&self) -> RespVersion {
        self.version
    }
}

/// The commands that do not need the store.
#[derive(Clone, Copy)]
pub(super) enum Server {
    Ping,
    Echo,
    Info,
    Commands,
    Hello,
    Client,
    Config,
    Select,
    Auth,
    Reset,
    Quit,
}

/// Runs one of them.
pub(super) fn run<'a>(command: Server, a: &Arguments<'a, '_>, session: &mut Session) -> Parsed<'a> {
    match command {
        Server::Info => Ok((Call::Info(a.get(1)), Form::Info)),
        Server::Ping if a.len() == 1 => answer(fixed(b"+PONG\r\n")),
        Server::Ping | Server::Echo => answer(one_bulk(a.get(1))),
        Server::Commands => commands(a, session.version),
        Server::Hello => hello(a, session),
        Server::Client => client(a, session),
        Server::Config => config(a, session.version),
        Server::Select => match integer(a.get(1))? {
            0 => ok(),
            _ => Err(Refusal::Text(fixed(b"-ERR DB index is out of range\r\n"))),
        },
        Server::Auth => Err(Refusal::Text(fixed(
            b"-ERR AUTH <password> called without any password configured for the default user. \
              Are you sure your configuration is correct?\r\n",
        ))),
        Server::Reset => {
            *session = Session::new(session.connection);
            answer(fixed(b"+RESET\r\n"))
        }
        Server::Quit => Ok((Call::Quit(b"+OK\r\n"), STATUS)),
    }
}

fn commands<'a>(a: &Arguments<'a, '_>, version: RespVersion) -> Parsed<'a> {
    let subcommand = a.get(1);
    let mut out = Vec::new();
    if a.len() == 1 {
        header(&mut out, b'*', 0);
    } else if is_any(subcommand, &["docs"]) {
        version.map(&mut out, 0);
    } else if is_any(subcommand, &["count"]) {
        header(&mut out, b':', TABLE.len());
    } else if is_any(subcommand, &["list"]) {
        header(&mut out, b'*', TABLE.len());
        TABLE.iter().for_each(|row| bulk(&mut out, row.0.as_bytes()));
    } else if is_any(subcommand, &["info"]) {
        // Nothing is known of the positions of keys: a null for each.
        header(&mut out, b'*', a.len() - 2);
        a.from(2).for_each(|_| out.extend_from_slice(version.null()));
    } else {
        return Err(unknown_subcommand("COMMAND", subcommand));
    }
    answer(Cow::Owned(out))
}

/// `HELLO [2|3 [SETNAME name]]`: which version of RESP to speak from here on, this reply included.
fn hello<'a>(a: &Arguments<'a, '_>, session: &mut Session) -> Parsed<'a> {
    let version = match canonical(a.get(1)) {
        _ if a.len() == 1 => session.version,
        Some(2) => RespVersion::Two,
        Some(3) => RespVersion::Three,
        Some(_) => {
            return Err(Refusal::Text(fixed(b"-NOPROTO unsupported protocol version\r\n")));
        }
        None => {
            return Err(Refusal::Text(fixed(
                b"-ERR Protocol version is not an integer or out of range\r\n",
            )));
        }
    };
    if a.len() == 4 && is_any(a.get(2), &["setname"]) {
        set_name(session, a.get(3))?;
    } else if a.len() > 2 {
        let option = String::from_utf8_lossy(a.get(2));
        let text = format_args!("Syntax error in HELLO option '{option}'");
        return Err(Refusal::Text(resp_error(text)));
    }
    session.version = version;
    let mut out = Vec::new();
    version.map(&mut out, 7);
    bulk(&mut out, b"server");
    bulk(&mut out, env!("CARGO_PKG_NAME").as_bytes());
    bulk(&mut out, b"version");
    bulk(&mut out, env!("CARGO_PKG_VERSION").as_bytes());
    bulk(&mut out, b"proto");
    header(&mut out, b':', if version == RespVersion::Two { 2 } else { 3 });
    bulk(&mut out, b"id");
    header(&mut out, b':', session.connection);
    bulk(&mut out, b"mode");
    bulk(&mut out, b"standalone");
    bulk(&mut out, b"role");
    bulk(&mut out, b"master");
    bulk(&mut out, b"modules");
    header(&mut out, b'*', 0);
    answer(Cow::Owned(out))
}

fn client<'a>(a: &Arguments<'a, '_>, session: &mut Session) -> Parsed<'a> {
    let subcommand = a.get(1);
    match a.len() {
        3 if is_any(subcommand, &["setname"]) => {
            set_name(session, a.get(2))?;
            ok()
        }
        2 if is_any(subcommand, &["getname"]) && session.name.is_empty() => {
            answer(fixed(session.version.null()))
        }
        2 if is_any(subcommand, &["getname"]) => answer(one_bulk(&session.name)),
        2 if is_any(subcommand, &["id"]) => {
            let mut out = Vec::new();
            header(&mut out, b':', session.connection);
            answer(Cow::Owned(out))
        }
        4 if is_any(subcommand, &["setinfo"]) => ok(),
        3 if is_any(subcommand, &["no-evict", "no-touch"]) => ok(),
        _ if is_any(
            subcommand,
            &["setname", "getname", "id", "setinfo", "no-evict", "no-touch"],
        ) =>
        {
            Err(subcommand_arity("client", subcommand))
        }
        _ => Err(unknown_subcommand("CLIENT", subcommand)),
    }
}

fn set_name(session: &mut Session, name: &[u8]) -> Result<(), Refusal> {
    if !name.iter().all(u8::is_ascii_graphic) {
        return Err(Refusal::Text(fixed(
            b"-ERR Client names cannot contain spaces, newlines or special characters.\r\n",
        )));
    }
    session.name = owned(name)?;
    Ok(())
}

/// The parameters that tools ask for before they begin.
const PARAMETERS: &[(&str, &str)] =
    &[("save", ""), ("appendonly", "no"), ("maxmemory", "0"), ("databases", "1")];

fn config<'a>(a: &Arguments<'a, '_>, version: RespVersion) -> Parsed<'a> {
    let subcommand = a.get(1);
    if is_any(subcommand, &["get"]) {
        if a.len() < 3 {
            return Err(subcommand_arity("config", subcommand));
        }
        let asked = |name: &str| a.from(2).any(|p| p == b"*" || is_any(p, &[name]));
        let mut out = Vec::new();
        let found = || PARAMETERS.iter().filter(|(name, _)| asked(name));
        version.map(&mut out, found().count());
        for (name, value) in found() {
            bulk(&mut out, name.as_bytes());
            bulk(&mut out, value.as_bytes());
        }
        return answer(Cow::Owned(out));
    }
    match a.len() {
        2 if is_any(subcommand, &["resetstat"]) => ok(),
        4.. if is_any(subcommand, &["set"]) => {
            let name = String::from_utf8_lossy(a.get(2));
            Err(Refusal::Text(resp_error(format_args!(
                "Unknown option or number of arguments for CONFIG SET - '{name}'"
            ))))
        }
        _ if is_any(subcommand, &["resetstat", "set"]) => {
            Err(subcommand_arity("config", subcommand))
        }
        _ => Err(unknown_subcommand("CONFIG", subcommand)),
    }
}

fn subcommand_arity(command: &str, subcommand: &[u8]) -> Refusal {
    let subcommand = String::from_utf8_lossy(subcommand).to_ascii_lowercase();
    Refusal::Text(resp_error(format_args!(
        "wrong number of arguments for '{command}|{subcommand}' command"
    )))
}

fn unknown_subcommand(command: &str, subcommand: &[u8]) -> Refusal {
    let subcommand = excerpt(subcommand, 128);
    Refusal::Text(resp_error(format_args!(
        "unknown subcommand '{subcommand}'. Try {command} HELP."
    )))
}
