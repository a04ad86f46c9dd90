//! One client's connection: its thread reads requests, has them executed, and writes the replies.
//!
//! Requests that have come together are taken together: a run of writes is ordered in one go and waited for
//! once, and all replies go out in one write to the socket. Order is kept as the client sent it: nothing
//! is read before the writes ahead of it have their outcome, which is the client's own order that
//! sequential consistency speaks of.

use std::io::{self, ErrorKind, Read as _, Write as _};
use std::net::TcpStream;
use std::ops::Range;
use std::sync::Arc;
use std::time::Instant;

use super::budget::LARGE;
use super::ports::Owner;
use super::recording::SessionRecord;
use super::replica::Replica;
use super::slot::{Slot, Ticket};
use super::stats;
use crate::base::{Op, Outcome, Read, Timestamp, VectorClock};
use crate::node::Node;
use crate::protocol::Reads;
use crate::wire::lab::{self, Lab};
use crate::wire::{Call, Decoder, Failure, Form, Found, Request, Step, max_request, simple_resp};

/// The buffer that every session has; what needs more is taken from the budget.
const SMALL: usize = 4 * 1024;

/// How many writes are ordered in one go.
const MAX_ROUND: usize = 1024;

/// One client's session.
pub(super) struct Session<'a> {
    replica: &'a Replica,
    stream: &'a TcpStream,
    slot: Arc<Slot>,
    /// Known from the first byte on.
    decoder: Option<Decoder>,
    /// The number of the connection.
    id: u64,
    out: Vec<u8>,
    /// Writes that have been parsed and not been ordered yet, and how their replies are written.
    ops: Vec<Op>,
    forms: Vec<Form>,
    /// What is taken from the budget for the request.
    borrowed: usize,
    /// What is taken from the budget for the replies.
    lent: usize,
    record: Option<SessionRecord>,
    /// The store holds all that was agreed upon when the requests at hand came.
    current: bool,
}

/// Whether a session goes on.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Next {
    GoOn,
    Close,
}

impl<'a> Session<'a> {
    pub(super) fn new(
        replica: &'a Replica,
        stream: &'a TcpStream,
        slot: Arc<Slot>,
        id: u64,
    ) -> Self {
        Self {
            replica,
            stream,
            slot,
            decoder: None,
            id,
            out: Vec::new(),
            ops: Vec::new(),
            forms: Vec::new(),
            borrowed: 0,
            lent: 0,
            record: SessionRecord::of(replica, id),
            current: false,
        }
    }

    /// Serves the client until it leaves, is turned away, or the replica stops.
    pub(super) fn run(mut self) {
        // What ends a session early is the client's connection; there is no one left to tell.
        let _ = self.serve();
        self.replica.budget.give_back(self.borrowed + self.lent);
        let _ = self.stream.shutdown(std::net::Shutdown::Both);
    }

    fn serve(&mut self) -> io::Result<()> {
        let mut buffer = vec![0; SMALL];
        let mut filled = 0;
        loop {
            let n = match (&mut &*self.stream).read(&mut buffer[filled..]) {
                Ok(0) => return Ok(()),
                Ok(n) => n,
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                Err(error) => return Err(error),
            };
            filled += n;
            self.current = false;
            let (used, next) = self.take_requests(&buffer[..filled])?;
            self.send()?;
            if next == Next::Close || self.replica.stopping() {
                return Ok(());
            }
            if used > 0 {
                buffer.copy_within(used..filled, 0);
                filled -= used;
            }
            self.resize(&mut buffer, filled)?;
        }
    }

    /// Makes room for more than has come, and gives back what one large request took.
    fn resize(&mut self, buffer: &mut Vec<u8>, filled: usize) -> io::Result<()> {
        if filled == buffer.len() {
            let bound = max_request(&self.replica.settings.limits).max(LARGE);
            let size = (buffer.len() * 2).min(bound).max(buffer.len() + SMALL);
            let grown = if size > LARGE { size - buffer.len() } else { 0 };
            if grown > 0 && !self.replica.budget.take(grown) {
                let reply: &[u8] = match &self.decoder {
                    Some(Decoder::Simple(_)) => simple_resp::ERROR,
                    Some(Decoder::Resp(_)) => b"-ERR out of memory for large requests\r\n",
                    _ => b"SERVER_ERROR out of memory storing object\r\n",
                };
                self.out.extend_from_slice(reply);
                self.send()?;
                return Err(ErrorKind::OutOfMemory.into());
            }
            self.borrowed += grown;
            buffer.resize(size, 0);
        } else if self.borrowed > 0 && filled <= LARGE {
            buffer.truncate(LARGE);
            buffer.shrink_to_fit();
            self.replica.budget.give_back(std::mem::take(&mut self.borrowed));
        }
        Ok(())
    }

    /// Takes all whole requests off the front of the buffer; gives how many bytes they were.
    fn take_requests(&mut self, buffer: &[u8]) -> io::Result<(usize, Next)> {
        let Some(&first) = buffer.first() else { return Ok((0, Next::GoOn)) };
        let tongue = self.replica.settings.tongue;
        let mut decoder = self.decoder.take().unwrap_or_else(|| tongue.decoder(first, self.id));
        let limits = self.replica.settings.limits;
        let now = self.replica.clock.now().unix_ms;
        let mut used = 0;
        let mut next = Next::GoOn;
        while used < buffer.len() && next == Next::GoOn {
            let rest = &buffer[used..];
            match decoder.next(rest, now, &limits) {
                Step::NeedMore { .. } => break,
                Step::Skip { consumed } => used += consumed,
                Step::Request { request, consumed } => {
                    next = self.handle(request)?;
                    used += consumed;
                }
                Step::Fatal { reply } => {
                    self.order_writes();
                    self.out.extend_from_slice(&reply);
                    next = Next::Close;
                }
            }
        }
        self.order_writes();
        self.decoder = Some(decoder);
        Ok((used, next))
    }

    fn handle(&mut self, request: Request<'_>) -> io::Result<Next> {
        let Request { call, form } = request;
        if let Call::Write(op) = call {
            self.ops.push(op);
            self.forms.push(form);
            if self.ops.len() >= MAX_ROUND {
                self.order_writes();
            }
            return Ok(Next::GoOn);
        }
        self.order_writes();
        match call {
            Call::Write(_) => {}
            Call::TouchThenGet { keys, expires } => {
                let owned = keys.iter().map(|key| Box::from(*key)).collect();
                self.ops.push(Op::Touch { keys: owned, expires });
                match self.execute().pop() {
                    Some(Err(failure)) => form.failure(&mut self.out, &failure),
                    _ => self.read(&Read::Get(keys), form),
                }
            }
            Call::Read(read) => self.read(&read, form),
            Call::Stats(argument) => stats::write(self.replica, argument, form, &mut self.out),
            Call::Info(_) => stats::write_info(self.replica, form, &mut self.out),
            Call::Lab(command) => self.lab(command, form),
            Call::Static(reply) => self.out.extend_from_slice(&reply),
            Call::Quit(last_words) => {
                self.out.extend_from_slice(last_words);
                return Ok(Next::Close);
            }
        }
        if self.out.len() >= LARGE {
            self.send()?;
        }
        Ok(Next::GoOn)
    }

    /// Has the gathered writes ordered, waits as the mode demands, and writes their replies.
    fn order_writes(&mut self) {
        if self.ops.is_empty() {
            return;
        }
        let results = self.execute();
        for (form, result) in self.forms.drain(..).zip(results) {
            match result {
                Ok(outcome) => form.outcome(&mut self.out, &outcome),
                Err(failure) => form.failure(&mut self.out, &failure),
            }
        }
    }

    /// Has the gathered writes ordered, waits as the mode demands, and gives their outcomes.
    fn execute(&mut self) -> Vec<Result<Outcome, Failure>> {
        self.execute_after(0)
    }

    /// The same, later than this Lamport time.
    fn execute_after(&mut self, time: u64) -> Vec<Result<Outcome, Failure>> {
        if let Some(record) = &mut self.record {
            record.invoke(&self.ops);
        }
        let results = self.replica.execute_after(&self.slot, &mut self.ops, false, time);
        if let Some(record) = &mut self.record {
            record.complete(&results);
        }
        results
    }

    /// Does what the gossip lab asks; see `lab.rs`.
    fn lab(&mut self, command: Lab<'_>, form: Form) {
        let (replica, out) = (self.replica, &mut self.out);
        let done = match command {
            Lab::Get { key, seen } => self.read_after(key, &seen, form),
            Lab::Set { op, seen } => self.write_after(op, &seen),
            Lab::Clock => return replica.answer_clock(out),
            Lab::Await { seen, within } => return replica.answer_await(&seen, within, out),
            Lab::Links => return replica.answer_links(out),
            Lab::Link { peer, address } => replica.set_link(peer, address).map(|()| put_ok(out)),
            Lab::Unlink { peer } => replica.set_unlinked(peer).map(|()| put_ok(out)),
        };
        if let Err(failure) = done {
            form.failure(&mut self.out, &failure);
        }
    }

    /// Has a write ordered behind all that its client has seen, and answers with its version.
    fn write_after(&mut self, op: Op, seen: &VectorClock) -> Result<(), Failure> {
        self.replica.must_know_versions()?;
        self.ops.push(op);
        let result = self.execute_after(seen.latest()).pop();
        match result.unwrap_or(Err(Failure::OutcomeUnknown))? {
            Outcome::Stored => lab::put_version(&mut self.out, self.slot.version()),
            outcome => return Err(Failure::Refused(format!("not stored: {outcome:?}").into())),
        }
        Ok(())
    }

    /// Answers from the local copy with the value and its version, unless the client has seen what the copy lacks.
    fn read_after(&mut self, key: &[u8], seen: &VectorClock, form: Form) -> Result<(), Failure> {
        let replica = self.replica;
        let begun = self.record.as_mut().map_or(0, |record| record.begin_reads(&[key]));
        let start = self.out.len();
        let (out, lent) = (&mut self.out, &mut self.lent);
        let mut value_at = None;
        let answered = replica.look(|node, now| {
            let clock = node.clock();
            if !node.readable() || !clock.covers(seen) {
                lab::put_behind(out, replica.id, &clock, seen);
                return Some(None);
            }
            let (found, shown) = find(node, key, now.unix_ms);
            match found {
                Some((version, value)) => {
                    lab::put_found(out, version, value, form.resp_version());
                    let end = out.len().saturating_sub(2);
                    value_at = value.map(|value| end.saturating_sub(value.len())..end);
                }
                None => out.extend_from_slice(form.resp_version().null()),
            }
            replica.budget.covers(out.capacity(), lent).then_some(Some(shown))
        });
        let failure = match answered {
            None => Some("out of memory writing a large reply"),
            Some(Some(shown)) => {
                let kept = replica.disk.is_durable(shown) || replica.wait_durable(shown);
                (!kept).then_some("the store cannot be written")
            }
            Some(None) => None,
        };
        if let Some(record) = &mut self.record {
            record.found.push(value_at);
            let shown = failure.is_none() && answered.flatten().is_some();
            record.record_reads(begun, &[key], shown.then_some(&self.out));
        }
        match failure {
            None => Ok(()),
            Some(why) => {
                self.out.truncate(start);
                self.out.shrink_to(LARGE);
                Err(Failure::Refused(why.into()))
            }
        }
    }

    /// Answers from the local copy, or says why it cannot, and records what it showed of which keys.
    fn read(&mut self, read: &Read<'_>, form: Form) {
        let keys = match read {
            Read::Get(keys) if form != Form::Silent => keys.as_slice(),
            _ => &[],
        };
        let begun = self.record.as_mut().map_or(0, |record| record.begin_reads(keys));
        let start = self.out.len();
        let shown = self.show(read, form);
        if let Some(record) = &mut self.record {
            record.record_reads(begun, keys, shown.is_ok().then_some(&self.out));
        }
        if let Err(failure) = shown {
            self.out.truncate(start);
            self.out.shrink_to(LARGE);
            // What stays in the buffer is covered by what was taken for more.
            form.failure(&mut self.out, &failure);
        }
    }

    /// Answers from the local copy; what is behind the replies so far is no answer where that fails.
    ///
    /// What is shown must be in the file (and synced, with `--sync always`): otherwise a client could
    /// read a value that a crash takes back. Where a majority has agreed on it, it is on their disks.
    ///
    /// One question for what is current serves all reads that have come together: they were all there before it
    /// was asked. Where operations are recorded, each asks for itself, because the record says when each began.
    fn show(&mut self, read: &Read<'_>, form: Form) -> Result<(), Failure> {
        let replica = self.replica;
        let agreed = replica.settings.mode.reads == Reads::Current;
        let known = !agreed || std::mem::replace(&mut self.current, self.record.is_none());
        if !known && !replica.wait_current(&self.slot) {
            self.current = false;
            let why = format!("replica {} found no majority in time; nothing was read", replica.id);
            return Err(Failure::Refused(why.into()));
        }
        let (out, lent) = (&mut self.out, &mut self.lent);
        let mut found = self.record.as_mut().map(|record| &mut record.found);
        let Some(answered) = replica.look(|node, now| {
            let has_room = |out: &Vec<u8>| replica.budget.covers(out.capacity(), lent);
            let note = |value| {
                if let Some(found) = &mut found {
                    found.push(value);
                }
            };
            let answer = || answer(node.store(), read, form, now.unix_ms, out, note, has_room);
            (agreed || node.readable()).then(answer)
        }) else {
            let deadline = Instant::now() + replica.settings.write_timeout;
            if replica.wait_readable(deadline) {
                return self.show(read, form);
            }
            let why = replica.look(|node, _| node.not_live());
            let why = why.map_or_else(
                || "replica is stopping".to_owned(),
                |refusal| refusal.to_string().replace("; the write was not accepted", ""),
            );
            return Err(Failure::Refused(why.into()));
        };
        let Some(shown) = answered else {
            return Err(Failure::Refused("out of memory writing a large reply".into()));
        };
        if !agreed && !replica.disk.is_durable(shown) && !replica.wait_durable(shown) {
            return Err(Failure::Refused("the store cannot be written".into()));
        }
        Ok(())
    }

    fn send(&mut self) -> io::Result<()> {
        if !self.out.is_empty() {
            self.replica.may_answer()?;
            (&mut &*self.stream).write_all(&self.out)?;
            self.out.clear();
            self.out.shrink_to(LARGE);
            self.replica.budget.give_back(std::mem::take(&mut self.lent));
        }
        Ok(())
    }
}

/// Writes the answer; gives the position that must be durable before the client may see it, or `None` as
/// soon as `has_room` denies it the room that it takes.
///
/// `note` is told where in `out` the value of each key stands that is read by [`Read::Get`].
///
/// All of it is of one moment, so that a read of several keys never shows a part of a write of several.
fn answer(
    store: &crate::storage::Store,
    read: &Read<'_>,
    form: Form,
    now_ms: u64,
    out: &mut Vec<u8>,
    mut note: impl FnMut(Option<Range<usize>>),
    mut has_room: impl FnMut(&Vec<u8>) -> bool,
) -> Option<u64> {
    let table = store.table();
    let mut shown = 0;
    let mut find = |key: &[u8]| {
        let found = table.get(key, now_ms);
        shown = shown.max(found.as_ref().map_or(table.last_removal(), |found| found.position));
        found
    };
    match read {
        Read::Get(keys) => {
            form.begin_values(out, keys.len());
            for key in keys {
                let found = find(key);
                let found = found.map(|f| Found { data: f.data, flags: f.flags, unique: f.unique });
                form.value(out, key, found);
                // In all forms the value stands last, but for its line end.
                let end = out.len().saturating_sub(form.behind_value());
                note(found.map(|found| end.saturating_sub(found.data.len())..end));
                if !has_room(out) {
                    return None;
                }
            }
            form.end_values(out);
        }
        Read::Exists(keys) => {
            let n = keys.iter().filter(|key| find(key).is_some()).count();
            form.count(out, n as u64);
        }
        Read::Length(key) => {
            let n = find(key).map_or(0, |found| found.data.len());
            form.count(out, n as u64);
        }
        Read::Keys(pattern) => {
            let keys = table.keys_matching(pattern, now_ms);
            form.keys(out, keys.iter().map(|key| &**key));
            shown = store.position();
        }
        Read::Size => {
            form.count(out, table.len(now_ms) as u64);
            shown = store.position();
        }
    }
    has_room(out).then_some(shown)
}

/// A version and the value that it gave the key.
type Versioned<'n> = (Timestamp, Option<&'n [u8]>);

/// The version of a key and its value (`None`: deleted), and the position that must be durable before it is shown.
fn find<'n>(node: &'n Node<Ticket>, key: &[u8], now_ms: u64) -> (Option<Versioned<'n>>, u64) {
    let table = node.store().table();
    match table.get(key, now_ms) {
        Some(found) => (Some((found.version, Some(found.data))), found.position),
        None => (table.version(key).map(|version| (version, None)), table.last_removal()),
    }
}

fn put_ok(out: &mut Vec<u8>) {
    out.extend_from_slice(b"+OK\r\n");
}
