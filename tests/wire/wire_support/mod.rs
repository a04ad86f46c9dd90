//! A small store behind the wire layer, to compare whole conversations with memcached and redis, and a way
//! to start those.

// Every test crate uses its own part of this.
#![allow(dead_code)]

#[path = "../../../fuzz/entries/wire.rs"]
pub mod entries;

use std::collections::BTreeMap;
use std::io::{Read as _, Write as _};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use consistency_lab::base::{Arithmetic, End, Expiry, Limits, Op, Outcome, Read, StoreRule, Value};
use consistency_lab::wire::{Call, Dialect, Failure, Found, Request};
use entries::{Ending, NOW_UNIX_MS, decode};

/// A server without sockets, replication or a clock.
#[derive(Default)]
pub struct Model {
    entries: BTreeMap<Vec<u8>, (Value, u64)>,
    uniques: u64,
    limits: Limits,
}

impl Model {
    /// A server that takes values of at most so many bytes.
    pub fn with_max_value(max_value: usize) -> Self {
        Self { limits: Limits { max_value }, ..Self::default() }
    }

    /// What a connection that sends `input` in pieces of `piece` bytes is answered until it is closed.
    pub fn talk(&mut self, dialect: Dialect, input: &[u8], piece: usize) -> Vec<u8> {
        let mut out = Vec::new();
        let limits = self.limits;
        let ending =
            decode(dialect, input, &limits, || piece, |request| self.answer(request, &mut out));
        if let Ending::Fatal(reply) = ending {
            out.extend(reply);
        }
        out
    }

    fn answer(&mut self, Request { call, form }: Request<'_>, out: &mut Vec<u8>) -> bool {
        match call {
            Call::Write(op) => form.outcome(out, &self.execute(op)),
            Call::TouchThenGet { keys, expires } => {
                let owned = keys.iter().map(|key| Box::from(*key)).collect();
                self.execute(Op::Touch { keys: owned, expires });
                self.answer(Request { call: Call::Read(Read::Get(keys)), form }, out);
            }
            Call::Read(Read::Get(keys)) => {
                form.begin_values(out, keys.len());
                for key in keys {
                    let found = self.live(key).map(|(value, unique)| Found {
                        data: &value.data,
                        flags: value.flags,
                        unique: *unique,
                    });
                    form.value(out, key, found);
                }
                form.end_values(out);
            }
            Call::Read(Read::Exists(keys)) => {
                form.count(out, keys.iter().filter(|key| self.live(key).is_some()).count() as u64);
            }
            Call::Read(Read::Length(key)) => {
                form.count(out, self.live(key).map_or(0, |(value, _)| value.data.len() as u64));
            }
            Call::Read(Read::Size) => form.count(out, self.entries.len() as u64),
            Call::Read(Read::Keys(pattern)) => {
                let start = pattern.strip_suffix(b"*").unwrap_or(pattern);
                let keys: Vec<&[u8]> = self.entries.keys().map(Vec::as_slice).collect();
                let keys: Vec<_> = keys.into_iter().filter(|key| key.starts_with(start)).collect();
                form.keys(out, keys.into_iter());
            }
            Call::Stats(b"reset") => form.stats_reset(out),
            Call::Stats(b"items") => form.stats(out, std::iter::empty::<(&str, &str)>()),
            Call::Stats(_) => form.no_such_stats(out),
            Call::Info(_) => form.stats(out, std::iter::empty::<(&str, &str)>()),
            // What each means is for a replica; `wire/lab.rs` tests how they are read.
            Call::Lab(_) => form.failure(out, &consistency_lab::wire::Failure::OutcomeUnknown),
            Call::Static(reply) => out.extend_from_slice(&reply),
            Call::Quit(reply) => {
                out.extend_from_slice(reply);
                return false;
            }
        }
        true
    }

    fn live(&self, key: &[u8]) -> Option<&(Value, u64)> {
        self.entries.get(key)
    }

    fn put(&mut self, key: &[u8], value: Value) -> Outcome {
        self.uniques += 1;
        if gone(value.expires) {
            self.entries.remove(key);
        } else {
            self.entries.insert(key.to_vec(), (value, self.uniques));
        }
        Outcome::Stored
    }

    fn execute(&mut self, op: Op) -> Outcome {
        match op {
            Op::Store { key, value, rule } => {
                let there = self.live(&key).map(|(_, unique)| *unique);
                match (rule, there) {
                    (StoreRule::IfAbsent, Some(_)) | (StoreRule::IfPresent, None) => {
                        Outcome::NotStored
                    }
                    (StoreRule::IfUnique(_), None) => Outcome::NotFound,
                    (StoreRule::IfUnique(asked), Some(unique)) if asked != unique => {
                        Outcome::Exists
                    }
                    _ => self.put(&key, value),
                }
            }
            Op::StoreMany(pairs) => {
                pairs.into_iter().for_each(|(key, value)| {
                    self.put(&key, value);
                });
                Outcome::Stored
            }
            Op::Concat { key, data, end, create, max_value } => {
                let Some(mut value) = self
                    .live(&key)
                    .map(|(value, _)| value.clone())
                    .or_else(|| create.then(Value::default))
                else {
                    return Outcome::NotStored;
                };
                value.data = match end {
                    End::Back => [&value.data[..], &data].concat().into(),
                    End::Front => [&data[..], &value.data].concat().into(),
                };
                let length = value.data.len();
                if length > max_value {
                    return Outcome::TooLarge;
                }
                self.put(&key, value);
                Outcome::Length(length as u64)
            }
            Op::Count { key, by } => self.count(&key, by),
            Op::Touch { keys, expires } => {
                let touched = keys.iter().filter(|key| self.touch(key, expires)).count();
                Outcome::Touched(touched as u64)
            }
            Op::Delete { keys } => {
                let deleted = keys.iter().filter(|key| self.entries.remove(&key[..]).is_some());
                Outcome::Deleted(deleted.count() as u64)
            }
            Op::FlushAll { .. } => {
                self.entries.clear();
                Outcome::Stored
            }
            Op::OpenSession | Op::Once { .. } => unreachable!("the conversations have no sessions"),
        }
    }

    fn touch(&mut self, key: &[u8], expires: Expiry) -> bool {
        let there = self.entries.contains_key(key);
        if gone(expires) {
            self.entries.remove(key);
        }
        there
    }

    fn count(&mut self, key: &[u8], by: Arithmetic) -> Outcome {
        let signed = matches!(by, Arithmetic::Signed(_));
        let Some(mut value) = self
            .live(key)
            .map(|(value, _)| value.clone())
            .or_else(|| signed.then(|| Value { data: Box::from(*b"0"), ..Value::default() }))
        else {
            return Outcome::NotFound;
        };
        let text = String::from_utf8_lossy(&value.data).into_owned();
        let number = match by {
            Arithmetic::Signed(by) => match text.parse::<i64>() {
                Ok(old) if old.to_string() == text => match old.checked_add(by) {
                    Some(new) => i128::from(new),
                    None => return Outcome::Overflow,
                },
                _ => return Outcome::NotANumber,
            },
            Arithmetic::WrappingAdd(by) => match text.parse::<u64>() {
                Ok(old) => old.wrapping_add(by).into(),
                Err(_) => return Outcome::NotANumber,
            },
            Arithmetic::SaturatingSub(by) => match text.parse::<u64>() {
                Ok(old) => old.saturating_sub(by).into(),
                Err(_) => return Outcome::NotANumber,
            },
        };
        value.data = number.to_string().into_bytes().into();
        self.put(key, value);
        Outcome::Number(number)
    }
}

fn gone(expires: Expiry) -> bool {
    expires != 0 && expires <= NOW_UNIX_MS
}

/// What a failure looks like in a form; kept here so that the tests of both dialects read alike.
pub fn failure(form: consistency_lab::wire::Form, failure: &Failure) -> String {
    let mut out = Vec::new();
    form.failure(&mut out, failure);
    String::from_utf8(out).expect("failures are text")
}

/// A real server in a process of its own; ends with the test.
pub struct RealServer {
    process: Child,
    port: u16,
    _folder: tempfile::TempDir,
}

impl Drop for RealServer {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

impl RealServer {
    /// Starts memcached, or says why not.
    pub fn memcached() -> Option<Self> {
        Self::start("memcached", "stats\r\nquit\r\n", |command, port| {
            command.args(["-l", "127.0.0.1", "-U", "0", "-m", "64", "-u", "nobody"]);
            command.args(["-p", &port.to_string()]);
        })
    }

    /// Starts redis-server, or says why not.
    pub fn redis() -> Option<Self> {
        Self::start("redis-server", "INFO server\r\nQUIT\r\n", |command, port| {
            command.args(["--bind", "127.0.0.1", "--save", "", "--port", &port.to_string()]);
        })
    }

    /// `whoami` has the program say its process id.
    fn start(program: &str, whoami: &str, arguments: impl Fn(&mut Command, u16)) -> Option<Self> {
        // Neither program says which port the system chose, so one that was free a moment ago is named; somebody
        // may be faster, and answer there instead: hence the question who it is, and more than one attempt.
        for _ in 0..5 {
            let free = TcpListener::bind("127.0.0.1:0").and_then(|free| free.local_addr());
            let port = free.expect("a free port").port();
            let folder = tempfile::tempdir().expect("a temporary folder");
            let mut command = Command::new(program);
            arguments(&mut command, port);
            command.current_dir(folder.path()).stdout(Stdio::null()).stderr(Stdio::null());
            let process = match command.spawn() {
                Ok(process) => process,
                Err(error) => {
                    eprintln!("skipped: cannot start {program} to compare with: {error}");
                    return None;
                }
            };
            let mut started = Self { process, port, _folder: folder };
            let id = started.process.id().to_string();
            while started.process.try_wait().expect("a child process").is_none() {
                let says = ask(port, whoami.as_bytes()).unwrap_or_default();
                if String::from_utf8_lossy(&says).contains(&id) {
                    return Some(started);
                }
                std::thread::sleep(Duration::from_millis(5));
            }
        }
        panic!("{program} is installed but does not stay up");
    }

    /// All that a connection is answered that sends `input` and nothing more.
    pub fn talk(&self, input: &[u8]) -> Vec<u8> {
        ask(self.port, input).expect("the server listens")
    }
}

/// All that a connection to a port is answered.
fn ask(port: u16, input: &[u8]) -> std::io::Result<Vec<u8>> {
    let mut socket = TcpStream::connect(("127.0.0.1", port))?;
    let mut out = Vec::new();
    // It may hang up before all is sent, or with bytes unread: what it said until then counts.
    let _ = socket.write_all(input);
    let _ = socket.shutdown(Shutdown::Write);
    let _ = socket.read_to_end(&mut out);
    Ok(out)
}

/// Bytes as one readable line.
pub fn readable(bytes: &[u8]) -> String {
    let text = bytes.escape_ascii().to_string();
    if text.len() <= 600 { text } else { format!("{} … {} bytes", &text[..600], bytes.len()) }
}
