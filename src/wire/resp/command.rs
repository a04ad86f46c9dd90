//! What RESP commands mean: arguments to a [`Call`] and the [`Form`] of its reply.
//!
//! One table names the commands and how many arguments each takes; as in redis an unknown name is reported
//! first, then a wrong number of arguments, then whatever is wrong with them.

use std::borrow::Cow;
use std::time::Duration;

use super::connection::{self, Server, Session};
use super::{Arguments, fixed};
use crate::base::limits::{MAX_KEY, SESSION_KEY};
use crate::base::{Arithmetic, End, Expiry, Limits, Op, Read, StoreRule, Value};
use crate::wire::lab::{self, Lab};
use crate::wire::number::canonical;
use crate::wire::request::{Call, Form, RespVersion, bulk, resp_error};

/// Why a command is refused.
pub(super) enum Refusal {
    Arity,
    Syntax,
    NotInteger,
    ExpireTime,
    KeyTooLong,
    Text(Cow<'static, [u8]>),
}

pub(super) type Parsed<'a> = Result<(Call<'a>, Form), Refusal>;

/// A command and what bounds the number of its arguments, its name included; the most used come first.
pub(super) type Row = (&'static str, Command, usize, usize);

#[derive(Clone, Copy)]
pub(super) enum Command {
    Get,
    Set,
    Incr(i64),
    IncrBy(i64),
    Del,
    Mget,
    Mset,
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
    OpenSession,
    Once,
    Lab(LabCommand),
    /// About the connection and the server, not the store.
    Server(Server),
}

/// The commands of `wire/lab.rs`.
#[derive(Clone, Copy)]
pub(super) enum LabCommand {
    Get,
    Set,
    Clock,
    Await,
    Links,
    Link,
    Unlink,
}

/// The form of replies in which no null can occur.
pub(super) const STATUS: Form = Form::Status(RespVersion::Two);

const ANY: usize = usize::MAX;

pub(super) const TABLE: &[Row] = &[
    ("get", Command::Get, 2, 2),
    ("set", Command::Set, 3, ANY),
    ("incr", Command::Incr(1), 2, 2),
    ("del", Command::Del, 2, ANY),
    ("mget", Command::Mget, 2, ANY),
    ("mset", Command::Mset, 3, ANY),
    ("ping", Command::Server(Server::Ping), 1, 2),
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
    ("lab.session", Command::OpenSession, 1, 1),
    ("lab.once", Command::Once, 4, ANY),
    ("lab.get", Command::Lab(LabCommand::Get), 3, 3),
    ("lab.set", Command::Lab(LabCommand::Set), 4, 4),
    ("lab.clock", Command::Lab(LabCommand::Clock), 1, 1),
    ("lab.await", Command::Lab(LabCommand::Await), 3, 3),
    ("lab.links", Command::Lab(LabCommand::Links), 1, 1),
    ("lab.link", Command::Lab(LabCommand::Link), 3, 3),
    ("lab.unlink", Command::Lab(LabCommand::Unlink), 2, 2),
    ("echo", Command::Server(Server::Echo), 2, 2),
    ("info", Command::Server(Server::Info), 1, ANY),
    ("command", Command::Server(Server::Commands), 1, ANY),
    ("hello", Command::Server(Server::Hello), 1, ANY),
    ("client", Command::Server(Server::Client), 2, ANY),
    ("config", Command::Server(Server::Config), 2, ANY),
    ("select", Command::Server(Server::Select), 2, 2),
    ("auth", Command::Server(Server::Auth), 2, 3),
    ("reset", Command::Server(Server::Reset), 1, 1),
    ("quit", Command::Server(Server::Quit), 1, ANY),
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
        return (Call::Static(unknown(arguments)), STATUS);
    };
    let parsed = if (*least..=*most).contains(&arguments.len()) {
        run(*command, name, arguments, session, now_unix_ms, limits)
    } else {
        Err(Refusal::Arity)
    };
    parsed.unwrap_or_else(|refusal| (Call::Static(refusal.reply(name)), STATUS))
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
        Command::Get => {
            Ok((Call::Read(Read::Get(vec![key(a.get(1))?])), Form::Bulk(session.version())))
        }
        Command::Mget => Ok((Call::Read(Read::Get(keys(a)?)), Form::Array(session.version()))),
        Command::Exists => Ok((Call::Read(Read::Exists(keys(a)?)), Form::Integer)),
        Command::Strlen => Ok((Call::Read(Read::Length(key(a.get(1))?)), Form::Integer)),
        Command::Keys => Ok((Call::Read(Read::Keys(a.get(1))), Form::Array(session.version()))),
        Command::Dbsize => Ok((Call::Read(Read::Size), Form::Integer)),
        Command::Set => set(a, now, session.version()),
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
            write(Op::Store { key: owned(a.get(1))?, value, rule: StoreRule::Always }, STATUS)
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
                write(Op::FlushAll { at: 0 }, STATUS)
            }
            _ => Err(Refusal::Syntax),
        },
        Command::OpenSession => write(Op::OpenSession, Form::Integer),
        Command::Once => once(a, session, now, limits),
        Command::Lab(command) => Ok((Call::Lab(lab(command, a)?), Form::Bulk(session.version()))),
        Command::Server(command) => connection::run(command, a, session),
    }
}

/// `LAB.ONCE session sequence COMMAND …`: a write that is executed once however often it is sent.
fn once<'a>(a: &Arguments<'a, '_>, session: &mut Session, now: u64, limits: &Limits) -> Parsed<'a> {
    let number = |at| u64::try_from(integer(a.get(at))?).map_err(|_| Refusal::NotInteger);
    let (id, sequence) = (number(1)?, number(2)?);
    match parse(&a.tail(3), session, now, limits) {
        (Call::Write(Op::OpenSession | Op::Once { .. }), _) | (Call::Read(_), _) => {
            Err(Refusal::Text(fixed(b"-ERR LAB.ONCE takes a command that writes\r\n")))
        }
        (Call::Write(op), form) => {
            write(Op::Once { session: id, sequence, op: Box::new(op) }, form)
        }
        // What was wrong with the command.
        (call @ Call::Static(_), form) => Ok((call, form)),
        _ => Err(Refusal::Text(fixed(b"-ERR LAB.ONCE takes a command that writes\r\n"))),
    }
}

/// What the gossip lab asks; see `wire/lab.rs`.
fn lab<'a>(command: LabCommand, a: &Arguments<'a, '_>) -> Result<Lab<'a>, Refusal> {
    let peer = |text| lab::replica(integer(text)?).map_err(Refusal::because);
    let seen = |text| lab::clock(text).map_err(Refusal::because);
    Ok(match command {
        LabCommand::Get => Lab::Get { key: key(a.get(1))?, seen: seen(a.get(2))? },
        LabCommand::Set => {
            let (key, value) = (owned(a.get(1))?, value(a.get(2), 0));
            let op = Op::Store { key, value, rule: StoreRule::Always };
            Lab::Set { op, seen: seen(a.get(3))? }
        }
        LabCommand::Clock => Lab::Clock,
        LabCommand::Await => {
            let ms = u64::try_from(integer(a.get(2))?).map_err(|_| Refusal::NotInteger)?;
            let within = Duration::from_millis(ms).min(lab::LONGEST_AWAIT);
            Lab::Await { seen: seen(a.get(1))?, within }
        }
        LabCommand::Links => Lab::Links,
        LabCommand::Link => {
            let address = lab::address(a.get(2)).map_err(Refusal::because)?;
            Lab::Link { peer: peer(a.get(1))?, address }
        }
        LabCommand::Unlink => Lab::Unlink { peer: peer(a.get(1))? },
    })
}

/// `SET key value [NX|XX] [EX s|PX ms|EXAT s|PXAT ms]`.
fn set<'a>(a: &Arguments<'a, '_>, now: u64, version: RespVersion) -> Parsed<'a> {
    let mut rule = None;
    let mut time: Option<(i64, i64, bool)> = None;
    let mut at = 3;
    while at < a.len() {
        let option = a.get(at);
        if is_any(option, &["nx", "xx"]) {
            let absent = option.eq_ignore_ascii_case(b"nx");
            let asked = if absent { StoreRule::IfAbsent } else { StoreRule::IfPresent };
            if *rule.get_or_insert(asked) != asked {
                return Err(Refusal::Syntax);
            }
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
    write(op, Form::Status(version))
}

fn mset<'a>(a: &Arguments<'a, '_>) -> Parsed<'a> {
    if a.len().is_multiple_of(2) {
        return Err(Refusal::Arity);
    }
    let pairs = (1..a.len()).step_by(2);
    let pairs = pairs.map(|at| Ok((owned(a.get(at))?, value(a.get(at + 1), 0))));
    write(Op::StoreMany(pairs.collect::<Result<_, _>>()?), STATUS)
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

fn write<'a>(op: Op, form: Form) -> Parsed<'a> {
    Ok((Call::Write(op), form))
}

pub(super) fn answer<'a>(reply: Cow<'static, [u8]>) -> Parsed<'a> {
    Ok((Call::Static(reply), STATUS))
}

pub(super) fn ok<'a>() -> Parsed<'a> {
    answer(fixed(b"+OK\r\n"))
}

pub(super) fn one_bulk(data: &[u8]) -> Cow<'static, [u8]> {
    let mut out = Vec::new();
    bulk(&mut out, data);
    Cow::Owned(out)
}

fn key(key: &[u8]) -> Result<&[u8], Refusal> {
    if key.len() > MAX_KEY {
        return Err(Refusal::KeyTooLong);
    }
    if key.starts_with(SESSION_KEY) {
        return Err(Refusal::Text(fixed(b"-ERR keys that begin so are the sessions' own\r\n")));
    }
    Ok(key)
}

pub(super) fn owned(name: &[u8]) -> Result<Box<[u8]>, Refusal> {
    key(name).map(Box::from)
}

fn keys<'a>(a: &Arguments<'a, '_>) -> Result<Vec<&'a [u8]>, Refusal> {
    a.from(1).map(key).collect()
}

fn value(data: &[u8], expires: Expiry) -> Value {
    Value { data: Box::from(data), flags: 0, expires }
}

pub(super) fn integer(text: &[u8]) -> Result<i64, Refusal> {
    canonical(text).ok_or(Refusal::NotInteger)
}

/// The end of an entry, `time` units of `unit` milliseconds after `from`, or after 1970.
fn expiry(time: i64, unit: i64, from: Option<u64>) -> Result<Expiry, Refusal> {
    let ms = time.checked_mul(unit).filter(|ms| *ms > 0).ok_or(Refusal::ExpireTime)?;
    let end = ms.checked_add_unsigned(from.unwrap_or(0)).ok_or(Refusal::ExpireTime)?;
    Ok(end.unsigned_abs())
}

pub(super) fn is_any(text: &[u8], names: &[&str]) -> bool {
    names.iter().any(|name| name.as_bytes().eq_ignore_ascii_case(text))
}

impl Refusal {
    fn because(why: String) -> Self {
        Self::Text(resp_error(format_args!("{why}")))
    }

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

pub(super) fn excerpt(text: &[u8], most: usize) -> Cow<'_, str> {
    String::from_utf8_lossy(&text[..text.len().min(most)])
}
