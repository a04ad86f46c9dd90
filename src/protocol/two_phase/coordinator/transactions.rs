//! What a command goes through, from its locks to its answer.
//!
//! ```text
//! write   locks -> PREPARE to all -> every vote -> COMMIT to all -> every DONE -> answer, locks free
//! read    lock  -> READ to one member               -> VALUE     -> answer, lock free
//! ```
//!
//! A write takes two rounds and 4n frames, a read one round and two frames. A read of a key waits while a
//! write of it is under way, which is until *everybody* has carried it out: whomever it then asks, it sees
//! all of that write, and so do all later reads. So the order in which locks are granted is a linear
//! order of all commands, and a deletion of many keys is one point in it.

use std::collections::BTreeSet;
use std::hash::BuildHasher;
use std::time::Duration;

use super::{Coordinator, Event, Link};
use crate::protocol::two_phase::{
    Answer, Blob, Change, Command, Frame, Key, Members, No, Refusal, Rules, TxnId, Violation,
};
use crate::wire::two_phase::{ENTRY_OVERHEAD, MAX_FRAME, MAX_ITEMS, put_prepare};

/// What a frame needs beside its keys and values.
const FRAME_OVERHEAD: usize = 1024;

/// A command under way.
#[derive(Debug)]
pub(super) struct Running<T> {
    ticket: T,
    /// About how many bytes it takes.
    size: usize,
    /// How many locks it waits for.
    missing: usize,
    began: Duration,
    /// When its participants were last sent something to answer.
    sent: Duration,
    state: State,
}

#[derive(Debug)]
enum State {
    Read {
        key: Key,
        /// Whom it has asked.
        at: Option<u16>,
    },
    /// Waits for its locks.
    Write(Change),
    Preparing(Prepared),
    /// All votes are there, and a view is being installed.
    Held(Prepared),
    Deciding {
        write: Prepared,
        /// Why it aborts; `None` when it commits.
        no: Option<No>,
        /// Who has not carried it out.
        missing: Members,
    },
}

#[derive(Debug)]
struct Prepared {
    keys: Vec<Key>,
    is_set: bool,
    /// Who takes part.
    at: Members,
    /// Whose vote is missing.
    missing: Members,
    /// How many of its keys a member holds.
    held: u64,
}

impl<T> Running<T> {
    fn keys(&self) -> &[Key] {
        match &self.state {
            State::Read { key, .. } => std::slice::from_ref(key),
            State::Write(change) => change.keys(),
            State::Preparing(write) | State::Held(write) | State::Deciding { write, .. } => {
                &write.keys
            }
        }
    }

    fn take_keys(self) -> (T, Vec<Key>) {
        let keys = match self.state {
            State::Read { key, .. } => vec![key],
            State::Write(change) => change.keys().to_vec(),
            State::Preparing(write) | State::Held(write) | State::Deciding { write, .. } => {
                write.keys
            }
        };
        (self.ticket, keys)
    }

    /// Takes out of it all who are not in `who`; whether it waited for one of them.
    fn keep(&mut self, who: Members) -> bool {
        let waits_for = match &mut self.state {
            State::Preparing(write) => {
                write.at = write.at.and(who);
                &mut write.missing
            }
            State::Held(write) => {
                write.at = write.at.and(who);
                return false;
            }
            State::Deciding { missing, .. } => missing,
            State::Read { .. } | State::Write(_) => return false,
        };
        let before = std::mem::replace(waits_for, waits_for.and(who));
        before != *waits_for
    }
}

/// About how many bytes a command takes; `None` when no frame has room for it.
fn size(command: &Command) -> Option<usize> {
    let (keys, value) = match command {
        Command::Set { key, value } => (std::slice::from_ref(key), value.len()),
        Command::Get { key } => (std::slice::from_ref(key), 0),
        Command::Delete { keys } => (keys.as_slice(), 0),
    };
    let framed: usize = value + keys.iter().map(|key| key.len() + 8).sum::<usize>();
    let fits = keys.len() <= MAX_ITEMS && framed + FRAME_OVERHEAD <= MAX_FRAME;
    fits.then_some(framed + keys.len() * ENTRY_OVERHEAD)
}

impl<T, R: Rules> Coordinator<T, R> {
    pub(super) fn take_command(&mut self, now: Duration, mut command: Command, ticket: T) {
        if let Command::Delete { keys } = &mut command {
            let mut seen = BTreeSet::new();
            keys.retain(|key| seen.insert(key.clone()));
        }
        let refusal = match size(&command) {
            None => Refusal::TooLarge,
            Some(size) if self.is_full(size) => Refusal::Busy,
            Some(size) if self.serves() => {
                self.bytes += size;
                return self.enter(now, command, size, ticket);
            }
            Some(size) if self.is_patient(now) => {
                self.bytes += size;
                return self.waiting.push_back((command, size, ticket));
            }
            Some(_) => Refusal::NoData,
        };
        self.replies.push((ticket, Answer::Error(refusal)));
    }

    fn is_full(&self, size: usize) -> bool {
        self.running.len() + self.waiting.len() >= self.setup.limits.commands
            || (self.bytes > 0 && self.bytes + size > self.setup.limits.bytes)
    }

    /// Whether commands wait for the participants.
    fn is_patient(&self, now: Duration) -> bool {
        let someone = self.at_start || self.peers.iter().any(|peer| peer.link != Link::Down);
        someone && self.patience.is_some_and(|until| now < until)
    }

    /// Commands that have waited long enough are answered.
    pub(super) fn end_patience(&mut self, now: Duration) {
        if !self.serves() && !self.waiting.is_empty() && !self.is_patient(now) {
            for (_, size, ticket) in std::mem::take(&mut self.waiting) {
                self.bytes -= size;
                self.replies.push((ticket, Answer::Error(Refusal::NoData)));
            }
        }
    }

    /// All who are there have the new and empty data, or it has taken too long.
    pub(super) fn end_filling(&mut self, now: Duration) {
        let all = self.up().without(self.view.members).is_empty() && self.pending.is_empty();
        if self.filling && (all || self.patience.is_none_or(|until| until <= now)) {
            self.filling = false;
            self.enter_waiting(now);
        }
    }

    /// The first view is there: commands that waited for it begin.
    pub(super) fn enter_waiting(&mut self, now: Duration) {
        for (command, size, ticket) in std::mem::take(&mut self.waiting) {
            self.enter(now, command, size, ticket);
        }
    }

    fn enter(&mut self, now: Duration, command: Command, size: usize, ticket: T) {
        let id = self.next;
        self.next += 1;
        let (state, locked) = match command {
            Command::Get { key } => (State::Read { key, at: None }, R::reads_wait()),
            Command::Set { key, value } => (State::Write(Change::Set { key, value }), true),
            Command::Delete { keys } => (State::Write(Change::Delete { keys }), true),
        };
        let exclusive = matches!(state, State::Write(_));
        let mut running = Running { ticket, size, missing: 0, began: now, sent: now, state };
        if locked {
            running.missing =
                running.keys().iter().filter(|key| !self.locks.acquire(id, key, exclusive)).count();
        }
        let starts = running.missing == 0;
        self.running.insert(id, running);
        if starts {
            self.start(id);
        }
    }

    /// It holds all its locks.
    fn start(&mut self, id: u64) {
        let at = self.view.members.or(self.joining());
        let txn = self.txn(id);
        let sent = self.clock;
        let Some(running) = self.running.get_mut(&id) else { return };
        running.sent = sent;
        let placeholder = State::Read { key: Key::from([]), at: None };
        let change = match std::mem::replace(&mut running.state, placeholder) {
            State::Write(change) => change,
            other => {
                running.state = other;
                return self.ask(id);
            }
        };
        for (p, peer) in (0..).zip(&mut self.peers) {
            if peer.link == Link::Up && !peer.lost && at.has(p) {
                put_prepare(&mut peer.out, txn, peer.told, &change);
            }
        }
        let (is_set, keys) = match change {
            Change::Set { key, .. } => (true, vec![key]),
            Change::Delete { keys } => (false, keys),
        };
        running.state = State::Preparing(Prepared { keys, is_set, at, missing: at, held: 0 });
        self.trace(Event::Began(txn));
    }

    pub(super) fn txn(&self, sequence: u64) -> TxnId {
        TxnId { incarnation: self.incarnation, sequence }
    }

    fn trace(&mut self, event: Event) {
        if self.setup.trace {
            self.events.push(event);
        }
    }

    /// Every command with a smaller number has ended.
    pub(super) fn oldest(&self) -> u64 {
        self.running.keys().next().copied().unwrap_or(self.next)
    }

    /// Asks a member for the value that a read wants. Which one is told by the key, so that the members share
    /// the work.
    fn ask(&mut self, id: u64) {
        let may = self.view.members.and(self.active.members).and(self.trusted());
        let now = self.clock;
        let Some(Running { state: State::Read { key, at }, sent, .. }) = self.running.get_mut(&id)
        else {
            return;
        };
        *sent = now;
        let hash = foldhash::fast::FixedState::default().hash_one(&**key);
        *at = may.iter().nth(hash as usize % may.len().max(1));
        match *at {
            Some(p) => {
                let frame = Frame::Read { id, key: key.clone() };
                self.send(p, &frame);
            }
            None => self.parked.push(id),
        }
    }

    /// Nobody answers from `p` any more.
    pub(super) fn ask_others(&mut self, p: u16) {
        let asked = |running: &Running<T>| matches!(running.state, State::Read { at: Some(at), .. } if at == p);
        let ids: Vec<u64> =
            self.running.iter().filter(|(_, r)| asked(r)).map(|(id, _)| *id).collect();
        ids.into_iter().for_each(|id| self.ask(id));
    }

    /// The members have changed: whoever found none looks again.
    pub(super) fn ask_again(&mut self) {
        std::mem::take(&mut self.parked).into_iter().for_each(|id| self.ask(id));
    }

    pub(super) fn read(&mut self, p: u16, id: u64, value: Option<Blob>) -> Result<(), Violation> {
        match self.running.get(&id) {
            Some(Running { state: State::Read { at: Some(at), .. }, .. }) if *at == p => {
                self.end(id, Answer::Value(value));
                Ok(())
            }
            _ => Err(Violation::Unexpected("value")),
        }
    }

    /// Its number, when `txn` is a transaction of this incarnation that has not ended.
    fn number(&self, txn: TxnId) -> Option<u64> {
        let ours = txn.incarnation == self.incarnation && self.running.contains_key(&txn.sequence);
        ours.then_some(txn.sequence)
    }

    pub(super) fn voted(
        &mut self,
        p: u16,
        txn: TxnId,
        vote: Result<u64, No>,
    ) -> Result<(), Violation> {
        const BAD: Result<(), Violation> = Err(Violation::Unexpected("vote"));
        let is_member = self.view.members.has(p);
        let Some(id) = self.number(txn) else {
            // The variant that does not wait has forgotten it.
            return if R::waits_for_done() { BAD } else { Ok(()) };
        };
        let write = match self.running.get_mut(&id).map(|running| &mut running.state) {
            Some(State::Preparing(write)) if write.missing.has(p) => write,
            // It was decided without this vote.
            Some(State::Deciding { .. }) => return Ok(()),
            _ => return BAD,
        };
        match vote {
            Ok(held) => {
                write.missing.remove(p);
                if is_member {
                    write.held = held.min(write.keys.len() as u64);
                }
                self.try_to_commit(id);
            }
            Err(why) => self.decide(id, Some(why)),
        }
        Ok(())
    }

    fn try_to_commit(&mut self, id: u64) {
        let Some(running) = self.running.get_mut(&id) else { return };
        let State::Preparing(write) = &mut running.state else { return };
        if !R::may_commit(write.missing) {
            return;
        }
        if R::waits_for_view() && !self.pending.is_empty() {
            let write = Prepared { keys: std::mem::take(&mut write.keys), ..*write };
            running.state = State::Held(write);
            self.held.push(id);
        } else {
            self.decide(id, None);
        }
    }

    /// The view is active: what waited for it commits.
    pub(super) fn commit_held(&mut self) {
        std::mem::take(&mut self.held).into_iter().for_each(|id| self.decide(id, None));
    }

    /// Whether `p` has not answered something that it was sent before this time. Looks at the commands that
    /// began before it, which are few: a command takes two rounds.
    pub(super) fn owes(&self, p: u16, before: Duration) -> bool {
        let older = self.running.values().take_while(|running| running.began < before);
        older.filter(|running| running.sent < before).any(|running| match &running.state {
            State::Preparing(write) => write.missing.has(p),
            State::Deciding { missing, .. } => missing.has(p),
            State::Read { at, .. } => *at == Some(p),
            State::Write(_) | State::Held(_) => false,
        })
    }

    /// For the variant that commits when it has waited long enough.
    pub(super) fn commit_late(&mut self, now: Duration) {
        if R::commits_on_timeout() {
            let lease = self.setup.timing.lease;
            let late =
                |r: &Running<T>| matches!(r.state, State::Preparing(_)) && r.began + lease <= now;
            let ids: Vec<u64> =
                self.running.iter().filter(|(_, r)| late(r)).map(|(id, _)| *id).collect();
            ids.into_iter().for_each(|id| self.decide(id, None));
        }
    }

    fn decide(&mut self, id: u64, no: Option<No>) {
        let txn = self.txn(id);
        let sent = self.clock;
        let Some(running) = self.running.get_mut(&id) else { return };
        running.sent = sent;
        let (State::Preparing(write) | State::Held(write)) = &mut running.state else { return };
        let at = write.at;
        let write = Prepared { keys: std::mem::take(&mut write.keys), ..*write };
        running.state = State::Deciding { write, no, missing: at };
        self.trace(Event::Decided { txn, commit: no.is_none() });
        self.send_all(at, &if no.is_none() { Frame::Commit(txn) } else { Frame::Abort(txn) });
        if !R::waits_for_done() {
            self.end_write(id);
        } else {
            self.try_to_end(id);
        }
    }

    pub(super) fn done(&mut self, p: u16, txn: TxnId) -> Result<(), Violation> {
        let Some(id) = self.number(txn) else {
            // The variant that does not wait has forgotten it.
            return if R::waits_for_done() { Err(Violation::Unexpected("DONE")) } else { Ok(()) };
        };
        match self.running.get_mut(&id).map(|running| &mut running.state) {
            Some(State::Deciding { missing, .. }) if missing.has(p) => {
                missing.remove(p);
                self.try_to_end(id);
                Ok(())
            }
            _ => Err(Violation::Unexpected("DONE")),
        }
    }

    fn try_to_end(&mut self, id: u64) {
        if let Some(Running { state: State::Deciding { missing, .. }, .. }) = self.running.get(&id)
            && missing.is_empty()
        {
            self.end_write(id);
        }
    }

    fn end_write(&mut self, id: u64) {
        let Some(Running { state: State::Deciding { write, no, .. }, .. }) = self.running.get(&id)
        else {
            return;
        };
        let answer = match no {
            Some(why) => Answer::Error(Refusal::No(*why)),
            None if write.is_set => Answer::Ok,
            None => Answer::Removed(write.held),
        };
        let txn = self.txn(id);
        self.trace(Event::Finished(txn));
        self.end(id, answer);
    }

    /// Answers, and gives the locks back.
    fn end(&mut self, id: u64, answer: Answer) {
        let Some(running) = self.running.remove(&id) else { return };
        self.bytes -= running.size;
        let locked = R::reads_wait() || !matches!(running.state, State::Read { .. });
        let (ticket, keys) = running.take_keys();
        self.replies.push((ticket, answer));
        let mut granted = Vec::new();
        if locked {
            keys.iter().for_each(|key| self.locks.release(key, &mut granted));
        }
        for id in granted {
            let Some(next) = self.running.get_mut(&id) else { continue };
            next.missing -= 1;
            if next.missing == 0 {
                self.start(id);
            }
        }
    }

    /// Only `who` take part any more: what waited for others goes on.
    pub(super) fn go_on_with(&mut self, who: Members) {
        let mut changed = Vec::new();
        for (id, running) in &mut self.running {
            if running.keep(who) {
                changed.push(*id);
            }
        }
        for id in changed {
            self.try_to_commit(id);
            self.try_to_end(id);
        }
    }

    /// Everybody is answered as it stands, and nothing is under way any more.
    pub(super) fn give_up(&mut self) {
        for (_, running) in std::mem::take(&mut self.running) {
            self.bytes -= running.size;
            let answer = match running.state {
                State::Deciding { no: None, .. } => Answer::Unknown,
                State::Deciding { no: Some(why), .. } => Answer::Error(Refusal::No(why)),
                _ => Answer::Error(Refusal::NoData),
            };
            self.replies.push((running.ticket, answer));
        }
        self.locks.clear();
        self.held.clear();
        self.parked.clear();
    }
}
