//! `lab client --history FILE`: what one client asked and was told, added to a file.
//!
//! Commands one after the other, each a process of the system, add to the same file, and so may clients at the
//! same time: every line is written at once, and the times are nanoseconds since 1970. That is as good an order
//! as the machine's clock: within one client it never goes back, and a file whose last event lies in the
//! future is refused. A client does not know what keys held before; `lab check --init VALUE` can be told.
//!
//! An operation is written down before it is sent. If that fails it is not sent, and if its end cannot be
//! written down it stays unknown: what the file says is true in both cases.

use std::{
    fs::{File, OpenOptions},
    io::{self, BufRead, BufReader, Read as _, Seek, SeekFrom, Write},
    path::{Path, PathBuf},
    time::{Instant, SystemTime, UNIX_EPOCH},
};

use crate::{
    base::{Limits, Op, Outcome, Read, ReplicaId, limits::HIGHEST_MAX_VALUE},
    client::{Certainty, Client, ClientError},
    history::{
        Clock,
        jsonl::{Header, Order, put_header},
        record::{self, Certain, Ended, Invoked, PlainNumbers},
        tape::{Ending, Request, Tape, events},
        tape_lines::{LineWriter, Owner},
    },
    protocol::{self, ReplyAt},
    wire::{Call, Decoder, Reply, Step},
};

/// The longest end of a file that is looked at for its last line.
const TAIL: u64 = 64 * 1024;

/// Why a client's history cannot be recorded.
#[derive(Debug, thiserror::Error)]
pub enum HistoryError {
    /// The system refused.
    #[error("cannot write the history {}: {source}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What it says.
        source: io::Error,
    },
    /// The file is something else.
    #[error(
        "cannot add to {}: expected a history that lab client began, found {found}; name another file",
        path.display()
    )]
    Other {
        /// The file.
        path: PathBuf,
        /// What was found.
        found: &'static str,
    },
}

/// A client's recording.
pub struct ClientHistory {
    path: PathBuf,
    file: File,
    owner: Owner,
    tape: Tape,
    lines: LineWriter,
    /// Nanoseconds since 1970 at `start`.
    base: u64,
    start: Instant,
    certain: Certain,
    numbers: PlainNumbers,
}

/// What has been invoked and not completed.
pub enum Open {
    /// An operation that changes something, and the keys that are read along with it.
    Write(Invoked, Vec<Vec<u8>>),
    /// Reads of these keys.
    Reads(Vec<Vec<u8>>),
    /// Nothing that is recorded.
    Nothing,
}

impl ClientHistory {
    /// Opens the file, or begins it.
    ///
    /// # Errors
    /// It cannot be written, or it is something else.
    pub fn open(path: &Path) -> Result<Self, HistoryError> {
        let failed = |source| HistoryError::Io { path: path.to_owned(), source };
        let other = |found| HistoryError::Other { path: path.to_owned(), found };
        let mut options = OpenOptions::new();
        let mut file = options.read(true).append(true).create(true).open(path).map_err(failed)?;
        let since_1970 = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let base = u64::try_from(since_1970.as_nanos()).unwrap_or(u64::MAX);
        if file.metadata().map_err(failed)?.len() > 0 {
            check(&mut file, base).map_err(failed)?.map_or(Ok(()), |found| Err(other(found)))?;
        }
        Ok(Self {
            path: path.to_owned(),
            file,
            owner: Owner::default(),
            tape: Tape::default(),
            lines: LineWriter::default(),
            base,
            start: Instant::now(),
            certain: Certain::Everywhere,
            numbers: PlainNumbers::new(false),
        })
    }

    /// Asks the server who it is, and writes the header where there is none.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn meet(&mut self, client: &mut Client) -> Result<(), HistoryError> {
        // A server without statistics claims nothing.
        let stats = client.stats().unwrap_or_default();
        let find = |wanted| stats.iter().find(|(name, _)| name == wanted).map(|(_, text)| text);
        let replica = find("replica").and_then(|text| text.parse().ok()).map(ReplicaId);
        self.owner = Owner::new(&format!("client-{}", std::process::id()), replica);
        let mode = find("consistency");
        let answers_early = mode
            .and_then(|name| protocol::mode(name))
            .is_some_and(|mode| mode.reply_at == ReplyAt::Submission);
        if answers_early {
            self.certain = Certain::Here;
        }
        let empty = self.file.metadata().map(|found| found.len() == 0);
        if empty.map_err(|source| self.failed(source))? {
            let claim = mode.cloned();
            let (clock, order) = (Clock::Nanoseconds, Order::Time);
            let mut line = Vec::new();
            put_header(&mut line, &Header { claim, clock, order, initial: Vec::new() });
            self.file.write_all(&line).map_err(|source| self.failed(source))?;
        }
        Ok(())
    }

    fn failed(&self, source: io::Error) -> HistoryError {
        HistoryError::Io { path: self.path.clone(), source }
    }

    /// Records events of now.
    fn record<R>(
        &mut self,
        put: impl FnOnce(&mut Tape, &PlainNumbers) -> R,
    ) -> Result<R, HistoryError> {
        let now = u64::try_from(self.start.elapsed().as_nanos()).unwrap_or(u64::MAX);
        self.tape.set_time(self.base.saturating_add(now));
        let result = put(&mut self.tape, &self.numbers);
        let bytes = self.tape.take(Vec::new());
        let mut out = Vec::new();
        for (_, at) in events(&bytes) {
            self.lines.put(&mut out, &self.owner, &bytes, at);
        }
        self.file.write_all(&out).map_err(|source| self.failed(source))?;
        Ok(result)
    }

    /// A single request on one key is about to be sent.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn invoke(&mut self, key: &[u8], request: Request<'_>) -> Result<(), HistoryError> {
        self.record(|tape, _| tape.invoke(0, key, request))
    }

    /// This is how it ended.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn complete(
        &mut self,
        ended: Result<Ending<'_>, &ClientError>,
    ) -> Result<(), HistoryError> {
        self.record(|tape, _| match ended {
            Ok(ending) => tape.complete(0, ending),
            Err(error) => tape.complete(0, ending_of(error, &error.to_string())),
        })
    }

    /// A command is about to be sent, given as it goes over the wire.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn invoke_command(&mut self, bytes: &[u8]) -> Result<Open, HistoryError> {
        let Some(first) = bytes.first() else { return Ok(Open::Nothing) };
        let limits = Limits { max_value: HIGHEST_MAX_VALUE };
        // The server's own decoder. What it makes of expiry times is not looked at, but for 0.
        let mut decoder = Decoder::of_first_byte(*first, 0);
        let Step::Request { request, .. } = decoder.next(bytes, 1, &limits) else {
            return Ok(Open::Nothing);
        };
        let owned = |keys: &[&[u8]]| keys.iter().map(|key| key.to_vec()).collect::<Vec<_>>();
        let (op, keys) = match request.call {
            Call::Write(op) => (Some(op), Vec::new()),
            Call::Read(Read::Get(keys)) => (None, owned(&keys)),
            Call::TouchThenGet { keys, expires } => {
                let touched = keys.iter().map(|key| Box::from(*key)).collect();
                (Some(Op::Touch { keys: touched, expires }), owned(&keys))
            }
            _ => return Ok(Open::Nothing),
        };
        self.record(|tape, numbers| {
            let invoked = op.map(|op| record::invoke(tape, numbers, 0, &op));
            let first = invoked.map_or(0, |invoked| invoked.next_lane());
            for (key, lane) in keys.iter().zip(first..) {
                tape.invoke(lane, key, Request::Read);
            }
            match invoked {
                Some(invoked) => Open::Write(invoked, keys),
                None => Open::Reads(keys),
            }
        })
    }

    /// This is what was answered; `None` where no answer is expected.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn complete_command(
        &mut self,
        open: &Open,
        answer: Result<Option<&Reply<'_>>, &ClientError>,
    ) -> Result<(), HistoryError> {
        let (invoked, keys) = match open {
            Open::Write(invoked, keys) => (Some(invoked), keys),
            Open::Reads(keys) => (None, keys),
            Open::Nothing => return Ok(()),
        };
        let certain = self.certain;
        self.record(|tape, numbers| {
            if let Some(invoked) = invoked {
                let text;
                let ended = match answer {
                    Ok(None) => Ended::Unknown,
                    Ok(Some(reply)) if reply.is_unknown() => Ended::Unknown,
                    Ok(Some(Reply::Error(line))) => {
                        text = String::from_utf8_lossy(line).into_owned();
                        Ended::Refused(&text)
                    }
                    Ok(Some(reply)) => Ended::Outcome(outcome_of(reply, invoked), certain),
                    Err(error) if error.certainty() == Certainty::Fail => {
                        text = error.to_string();
                        Ended::Refused(&text)
                    }
                    Err(_) => Ended::Unknown,
                };
                invoked.complete(tape, numbers, ended);
            }
            let first = invoked.map_or(0, |invoked| invoked.next_lane());
            for ((key, at), lane) in keys.iter().zip(0..).zip(first..) {
                let ending = match answer {
                    Ok(Some(reply)) => value_of(reply, key, at)
                        .map_or(Ending::Failed("no value was answered"), Ending::Found),
                    Ok(None) => Ending::Unknown("no answer is expected"),
                    Err(_) => Ending::Unknown("no answer"),
                };
                tape.complete(lane, ending);
            }
        })
    }
}

fn ending_of<'a>(error: &ClientError, why: &'a str) -> Ending<'a> {
    match error.certainty() {
        Certainty::Fail => Ending::Failed(why),
        Certainty::Unknown => Ending::Unknown(why),
    }
}

/// What an answer that is no error says of an operation that changes the store.
fn outcome_of(reply: &Reply<'_>, invoked: &Invoked) -> Outcome {
    match reply {
        Reply::Status(b"NOT_STORED") | Reply::Bulk(None) => Outcome::NotStored,
        Reply::Status(b"EXISTS") => Outcome::Exists,
        Reply::Status(b"NOT_FOUND") => Outcome::NotFound,
        Reply::Number(number) if invoked.counts() => Outcome::Number(*number),
        // `DEL`, `SETNX`, `EXPIRE`: nothing was there, or nothing was done.
        Reply::Number(0) => Outcome::NotStored,
        _ => Outcome::Stored,
    }
}

/// The value of the key that was asked for at this place; the outer `None` where the answer has no values.
fn value_of<'a>(reply: &Reply<'a>, key: &[u8], at: usize) -> Option<Option<&'a [u8]>> {
    match reply {
        Reply::Values(values) => {
            Some(values.clone().find(|(found, _)| *found == key).map(|(_, found)| found.data))
        }
        Reply::Bulk(value) if at == 0 => Some(*value),
        Reply::Array(Some(values)) => match values.get(at)? {
            Reply::Bulk(value) => Some(*value),
            _ => None,
        },
        _ => None,
    }
}

/// What is wrong with a file that is to be added to, if anything.
fn check(file: &mut File, now: u64) -> io::Result<Option<&'static str>> {
    let json = |line: &[u8]| serde_json::from_slice::<serde_json::Value>(line).ok();
    let mut first = Vec::new();
    file.seek(SeekFrom::Start(0))?;
    BufReader::new(&*file).take(TAIL).read_until(b'\n', &mut first)?;
    let header = json(&first).unwrap_or_default();
    if (header["history"].as_u64(), header["clock"].as_str(), header["order"].as_str())
        != (Some(1), Some("ns"), Some("time"))
    {
        return Ok(Some("another first line"));
    }
    let length = file.metadata()?.len();
    file.seek(SeekFrom::Start(length.saturating_sub(TAIL)))?;
    let mut tail = Vec::new();
    file.read_to_end(&mut tail)?;
    let Some(whole) = tail.strip_suffix(b"\n") else { return Ok(Some("a line without an end")) };
    let last = json(whole.rsplit(|byte| *byte == b'\n').next().unwrap_or_default());
    let time = last.and_then(|line| line["time"].as_u64());
    Ok(time.is_some_and(|time| time >= now).then_some("events of the future"))
}
