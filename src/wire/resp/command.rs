//! What RESP commands mean: arguments to a [`Call`] and the [`Form`] of its reply.
//!
//! One table names the commands and how many arguments each takes; as in redis an unknown name is reported
//! first, then a wrong number of arguments, then whatever is wrong with them.

use std::borrow::Cow;

use super::{Arguments, fixed};
use crate::base::limits::MAX_KEY;
use crate::base::{Arithmetic, End, Expiry, Limits, Op, Read, StoreRule, Value};
use crate::wire::number::canonical;
use crate::wire::request::{Call, Form, bulk, header, resp_error};

/// What the commands that concern the connection itself need to know of it.
#[derive(Debug)]
pub(super) struct Session {
    connection: u64,
    /// As set by `CLIENT SETNAME`; at most [`MAX_KEY`] bytes.
    name: Box<[u8]>,
}

impl Session {
    pub(super) fn new(connection: u64) -> Self {
        Self { connection, name: Box::default() }
    }
}

/// Why a command is refused.
enum Refusal {
    Arity,
    Syntax,
    NotInteger,
    ExpireTime,
    KeyTooLong,
    Text(Cow<'static, [u8]>),
}

type Parsed<'a> = Result<(Call<'a>, Form), Refusal>;

/// A command and what bounds the number of its arguments, its name included; the most used come first.
type Row = (&'static str, Command, usize, usize);

#[derive(Clone, Copy)]
enum Command {
    Get,
    Set,
    Incr(i64),
    IncrBy(i64),
    Del,
    Mget,
    Mset,
    Ping,
    Exists,
    Append,
    Strlen,
    Setnx,
    /// Milliseconds a unit.
    Setex(i64),
    /// Milliseconds a unit, and whether it counts from 1970.
    Expire(i64, bool),
    Keys,
    Dbsize,
    Flush,
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

const ANY: usize = usize::MAX;

const TABLE: &[Row] = &[
    ("get", Command::Get, 2, 2),
    ("set", Command::Set, 3, ANY),
    ("incr", Command::Incr(1), 2, 2),
    ("del", Command::Del, 2, ANY),
    ("mget", Command::Mget, 2, ANY),
    ("mset", Command::Mset, 3, ANY),
    ("ping", Command::Ping, 1, 2),
    ("exists", Command::Exists, 2, ANY),
    ("append", Command::Append, 3, 3),
    ("strlen", Command::Strlen, 2, 2),
    ("decr", Command::Incr(-1), 2, 2),
    ("incrby", Command::IncrBy(1), 3, 3),
    ("decrby", Command::IncrBy(-1), 3, 3),
    ("setnx", Command::Setnx, 3, 3),
    ("setex", Command::Setex(1000), 4, 4),
    ("psetex", Command::Setex(1), 4, 4),
    ("unlink", Command::Del, 2, ANY),
    ("expire", Command::Expire(1000, false), 3, ANY),
    ("pexpire", Command::Expire(1, false), 3, ANY),
    ("expireat", Command::Expire(1000, true), 3, ANY),
    ("pexpireat", Command::Expire(1, true), 3, ANY),
    ("keys", Command::Keys, 2, 2),
    ("dbsize", Command::Dbsize, 1, 1),
    ("flushall", Command::Flush, 1, ANY),
    ("flushdb", Command::Flush, 1, ANY),
    ("echo", Command::Echo, 2, 2),
    ("info", Command::Info, 1, ANY),
    ("command", Command::Commands, 1, ANY),
    ("hello", Command::Hello, 1, ANY),
    ("client", Command::Client, 2, ANY),
    ("config", Command::Config, 2, ANY),
    ("select", Command::Select, 2, 2),
    ("auth", Command::Auth, 2, 3),
    ("reset", Command::Reset, 1, 1),
    ("quit", Command::Quit, 1, ANY),
];

/// Understands one request; there is at least one argument, the name of the command.
pub(super) fn parse<'a>(
    arguments: &Arguments<'a, '_>,
    session: &mut Session,
    now_unix_ms: u64,
    limits: &Limits,
) -> (Call<'a>, Form) {
    let name = arguments.get(0);
    let Some((name, command, least, most)) =
        TABLE.iter().find(|row| row.0.as_bytes().eq_ignore_ascii_case(name))
    else {
        return (Call::Static(unknown(arguments)), Form::Status);
    };
    let parsed = if (*least..=*most).contains(&arguments.len()) {
        run(*command, name, arguments, session, now_unix_ms, limits)
    } else {
        Err(Refusal::Arity)
    };
    parsed.unwrap_or_else(|refusal| (Call::Static(refusal.reply(name)), Form::Status))
}

fn run<'a>(
    command: Command,
    name: &str,
    a: &Arguments<'a, '_>,
    session: &mut Session,
    now: u64,
    limits: &Limits,
) -> Parsed<'a> {
    match command {
        Command::Get => Ok((Call::Read(Read::Get(vec![key(a.get(1))?])), Form::Bulk)),
        Command::Mget => Ok((Call::Read(Read::Get(keys(a)?)), Form::Array)),
        Command::Exists => Ok((Call::Read(Read::Exists(keys(a)?)), Form::Integer)),
        Command::Strlen => Ok((Call::Read(Read::Length(key(a.get(1))?)), Form::Integer)),
        Command::Keys => Ok((Call::Read(Read::Keys(a.get(1))), Form::Array)),
        Command::Dbsize => Ok((Call::Read(Read::Size), Form::Integer)),
        Command::Set => set(a, now),
        Command::Mset => mset(a),
        Command::Setnx => write(
            Op::Store {
                key: owned(a.get(1))?,
                value: value(a.get(2), 0),
                rule: StoreRule::IfAbsent,
            },
            Form::Integer,
        ),
        Command::Setex(unit) => {
            let expires = expiry(integer(a.get(2))?, unit, Some(now))?;
            let value = value(a.get(3), expires);
            write(Op::Store { key: owned(a.get(1))?, value, rule: StoreRule::Always }, Form::Status)
        }
        Command::Incr(by) => {
            write(Op::Count { key: owned(a.get(1))?, by: Arithmetic::Signed(by) }, Form::Integer)
        }
        Command::IncrBy(sign) => {
            let by = integer(a.get(2))?
                .checked_mul(sign)
                .ok_or(Refusal::Text(fixed(b"-ERR decrement would overflow\r\n")))?;
            write(Op::Count { key: owned(a.get(1))?, by: Arithmetic::Signed(by) }, Form::Integer)
        }
        Command::Append => {
            let (key, data) = (owned(a.get(1))?, Box::from(a.get(2)));
            let max_value = limits.max_value;
            write(Op::Concat { key, data, end: End::Back, create: true, max_value }, Form::Integer)
        }
        Command::Del => {
            let keys = a.from(1).map(owned).collect::<Result<_, _>>()?;
            write(Op::Delete { keys }, Form::Integer)
        }
        Command::Expire(unit, absolute) => expire(name, a, unit, absolute, now),
        Command::Flush => match a.get(1) {
            mode if a.len() == 1 || (a.len() == 2 && is_any(mode, &["async", "sync"])) => {
                write(Op::FlushAll { at: 0 }, Form::Status)
            }
            _ => Err(Refusal::Syntax),
        },
        Command::Info => Ok((Call::Info(a.get(1)), Form::Info)),
        Command::Ping if a.len() == 1 => answer(fixed(b"+PONG\r\n")),
        Command::Ping | Command::Echo => answer(one_bulk(a.get(1))),
        Command::Commands => commands(a),
        Command::Hello => hello(a, session),
        Command::Client => client(a, session),
        Command::Config => config(a),
        Command::Select => match integer(a.get(1))? {
            0 => ok(),
            _ => Err(Refusal::Text(fixed(b"-ERR DB index is out of range\r\n"))),
        },
        Command::Auth => Err(Refusal::Text(fixed(
            b"-ERR AUTH <password> called without any password configured for the default user. \
              Are you sure your configuration is correct?\r\n",
        ))),
        Command::Reset => {
            session.name = Box::default();
            answer(fixed(b"+RESET\r\n"))
        }
        Command::Quit => Ok((Call::Quit(b"+OK\r\n"), Form::Status)),
    }
}

/// `SET key value [NX|XX] [EX s|PX ms|EXAT s|PXAT ms]`.
fn set<'a>(a: &Arguments<'a, '_>, now: u64) -> Parsed<'a> {
    let mut rule = None;
    let mut time: Option<(i64, i64, bool)> = None;
    let mut at = 3;
    while at < a.len() {
        let option = a.get(at);
        if rule.is_none() && is_any(option, &["nx", "xx"]) {
            let absent = option.eq_ignore_ascii_case(b"nx");
            rule = Some(if absent { StoreRule::IfAbsent } else { StoreRule::IfPresent });
        } else if time.is_none()
            && at + 1 < a.len()
            && is_any(option, &["ex", "px", "exat", "pxat"])
        {
            let unit = if option[0].eq_ignore_ascii_case(&b'e') { 1000 } else { 1 };
            at += 1;
            time = Some((integer(a.get(at))?, unit, option.len() == 4));
        } else if is_any(option, &["keepttl", "get"]) {
            return Err(Refusal::Text(fixed(
                b"-ERR syntax error: KEEPTTL and GET are not supported\r\n",
            )));
        } else {
            return Err(Refusal::Syntax);
        }
        at += 1;
    }
    let expires = match time {
        Some((time, unit, absolute)) => expiry(time, unit, (!absolute).then_some(now))?,
        None => 0,
    };
    let rule = rule.unwrap_or(StoreRule::Always);
    let op = Op::Store { key: owned(a.get(1))?, value: value(a.get(2), expires), rule };
    write(op, Form::Status)
}

fn mset<'a>(a: &Arguments<'a, '_>) -> Parsed<'a> {
    if a.len().is_multiple_of(2) {
        return Err(Refusal::Arity);
    }
    let pairs = (1..a.len()).step_by(2);
    let pairs = pairs.map(|at| Ok((owned(a.get(at))?, value(a.get(at + 1), 0))));
    write(Op::StoreMany(pairs.collect::<Result<_, _>>()?), Form::Status)
}

fn expire<'a>(
    name: &str,
    a: &Arguments<'a, '_>,
    unit: i64,
    absolute: bool,
    now: u64,
) -> Parsed<'a> {
    if a.len() > 3 {
        let option = String::from_utf8_lossy(a.get(3));
        return Err(Refusal::Text(resp_error(format_args!("Unsupported option {option}"))));
    }
    let time = integer(a.get(2))?;
    let expires = if time <= 0 {
        1 // In the past: the entry ends at once.
    } else {
        expiry(time, unit, (!absolute).then_some(now)).map_err(|_| invalid_expire_time(name))?
    };
    write(Op::Touch { keys: vec![owned(a.get(1))?], expires }, Form::Integer)
}

fn commands<'a>(a: &Arguments<'a, '_>) -> Parsed<'a> {
    let subcommand = a.get(1);
    let mut out = Vec::new();
    if a.len() == 1 || is_any(subcommand, &["docs"]) {
        header(&mut out, b'*', 0);
    } else if is_any(subcommand, &["count"]) {
        header(&mut out, b':', TABLE.len());
    } else if is_any(subcommand, &["list"]) {
        header(&mut out, b'*', TABLE.len());
        TABLE.iter().for_each(|row| bulk(&mut out, row.0.as_bytes()));
    } else if is_any(subcommand, &["info"]) {
        // Nothing is known of the positions of keys: a null for each.
        header(&mut out, b'*', a.len() - 2);
        a.from(2).for_each(|_| out.extend_from_slice(b"*-1\r\n"));
    } else {
        return Err(unknown_subcommand("COMMAND", subcommand));
    }
    answer(Cow::Owned(out))
}

/// `HELLO [2 [AUTH user password] [SETNAME name]]`. Only version 2 is spoken; clients fall back to it.
fn hello<'a>(a: &Arguments<'a, '_>, session: &mut Session) -> Parsed<'a> {
    if a.len() > 1 {
        let version = canonical(a.get(1)).ok_or(Refusal::Text(fixed(
            b"-ERR Protocol version is not an integer or out of range\r\n",
        )))?;
        if version != 2 {
            return Err(Refusal::Text(fixed(b"-NOPROTO unsupported protocol version\r\n")));
        }
    }
    if a.len() == 4 && is_any(a.get(2), &["setname"]) {
        set_name(session, a.get(3))?;
    } else if a.len() > 2 {
        let option = String::from_utf8_lossy(a.get(2));
        let text = format_args!("Syntax error in HELLO option '{option}'");
        return Err(Refusal::Text(resp_error(text)));
    }
    let mut out = Vec::new();
    header(&mut out, b'*', 14);
    bulk(&mut out, b"server");
    bulk(&mut out, env!("CARGO_PKG_NAME").as_bytes());
    bulk(&mut out, b"version");
    bulk(&mut out, env!("CARGO_PKG_VERSION").as_bytes());
    bulk(&mut out, b"proto");
    header(&mut out, b':', 2);
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
            answer(fixed(b"$-1\r\n"))
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

fn config<'a>(a: &Arguments<'a, '_>) -> Parsed<'a> {
    let subcommand = a.get(1);
    if is_any(subcommand, &["get"]) {
        if a.len() < 3 {
            return Err(subcommand_arity("config", subcommand));
        }
        let asked = |name: &str| a.from(2).any(|p| p == b"*" || is_any(p, &[name]));
        let mut out = Vec::new();
        let found = || PARAMETERS.iter().filter(|(name, _)| asked(name));
        header(&mut out, b'*', 2 * found().count());
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

fn write<'a>(op: Op, form: Form) -> Parsed<'a> {
    Ok((Call::Write(op), form))
}

fn answer<'a>(reply: Cow<'static, [u8]>) -> Parsed<'a> {
    Ok((Call::Static(reply), Form::Status))
}

fn ok<'a>() -> Parsed<'a> {
    answer(fixed(b"+OK\r\n"))
}

fn one_bulk(data: &[u8]) -> Cow<'static, [u8]> {
    let mut out = Vec::new();
    bulk(&mut out, data);
    Cow::Owned(out)
}

fn key(key: &[u8]) -> Result<&[u8], Refusal> {
    if key.len() <= MAX_KEY { Ok(key) } else { Err(Refusal::KeyTooLong) }
}

fn owned(name: &[u8]) -> Result<Box<[u8]>, Refusal> {
    key(name).map(Box::from)
}

fn keys<'a>(a: &Arguments<'a, '_>) -> Result<Vec<&'a [u8]>, Refusal> {
    a.from(1).map(key).collect()
}

fn value(data: &[u8], expires: Expiry) -> Value {
    Value { data: Box::from(data), flags: 0, expires }
}

fn integer(text: &[u8]) -> Result<i64, Refusal> {
    canonical(text).ok_or(Refusal::NotInteger)
}

/// The end of an entry, `time` units of `unit` milliseconds after `from`, or after 1970.
fn expiry(time: i64, unit: i64, from: Option<u64>) -> Result<Expiry, Refusal> {
    let ms = time.checked_mul(unit).filter(|ms| *ms > 0).ok_or(Refusal::ExpireTime)?;
    let end = ms.checked_add_unsigned(from.unwrap_or(0)).ok_or(Refusal::ExpireTime)?;
    Ok(end.unsigned_abs())
}

fn is_any(text: &[u8], names: &[&str]) -> bool {
    names.iter().any(|name| name.as_bytes().eq_ignore_ascii_case(text))
}

impl Refusal {
    fn reply(self, command: &str) -> Cow<'static, [u8]> {
        match self {
            Refusal::Arity => {
                resp_error(format_args!("wrong number of arguments for '{command}' command"))
            }
            Refusal::Syntax => fixed(b"-ERR syntax error\r\n"),
            Refusal::NotInteger => fixed(b"-ERR value is not an integer or out of range\r\n"),
            Refusal::ExpireTime => {
                resp_error(format_args!("invalid expire time in '{command}' command"))
            }
            Refusal::KeyTooLong => {
                resp_error(format_args!("key is too long: at most {MAX_KEY} bytes"))
            }
            Refusal::Text(reply) => reply,
        }
    }
}

fn invalid_expire_time(command: &str) -> Refusal {
    Refusal::Text(Refusal::ExpireTime.reply(command))
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

fn unknown(a: &Arguments<'_, '_>) -> Cow<'static, [u8]> {
    let mut list = String::new();
    for argument in a.from(1) {
        if list.len() >= 128 {
            break;
        }
        let excerpt = excerpt(argument, 128 - list.len());
        list.extend(["'", &*excerpt, "' "]);
    }
    let name = excerpt(a.get(0), 128);
    resp_error(format_args!("unknown command '{name}', with args beginning with: {list}"))
}

fn excerpt(text: &[u8], most: usize) -> Cow<'_, str> {
    String::from_utf8_lossy(&text[..text.len().min(most)])
}
