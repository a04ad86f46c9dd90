//! Bringing a participant up to date while commands go on.
//!
//! ```text
//! C -> P     JOIN           P drops its old copy and takes part in all that begins from here on
//!            ...            all that began before has ended: it is in every member's copy
//! C -> A     FETCH after k  A is any member
//! A -> C     CHUNK          about 256 KiB (`Limits::chunk`)
//! C -> P     STORE          P leaves out the keys that it has committed itself meanwhile
//! P -> C     STORED         two stores may be under way
//!            ...
//! C -> all   INSTALL        the next view has P in it
//! ```
//!
//! The copy is not a snapshot, and need not be: what is committed while it is being made reaches P itself, and
//! is newer than what comes in a chunk. What P has *promised* is not left out: should it commit, it will
//! overwrite what was copied; should it abort, what was copied is what counts. If A is lost, another
//! member goes on behind the last key. If P is lost, nothing is: it was no member.

use std::time::Duration;

use super::{Coordinator, Event};
use crate::protocol::two_phase::{Blob, Frame, Key, Members, Rules, Violation};
use crate::wire::two_phase::put_store;

/// How many chunks may be on their way into the joining participant.
const STORES: u8 = 2;

/// A participant that joins.
#[derive(Debug)]
pub(super) struct Join {
    copy: u64,
    /// Commands with smaller numbers began without it.
    since: u64,
    /// Whom the copy is taken from.
    source: Option<u16>,
    /// The last key of what has come.
    after: Option<Key>,
    /// Whether a chunk has been asked for.
    asked: bool,
    /// How many chunks are being stored.
    storing: u8,
    /// Whether it has dropped its old copy.
    joined: bool,
    /// Whether the last chunk has come.
    ended: bool,
}

impl<T, R: Rules> Coordinator<T, R> {
    /// Starts, goes on with, and ends the joining of whoever is connected and no member.
    pub(super) fn go_on_joining(&mut self, _now: Duration) {
        let sources = self.view.members.and(self.active.members).and(self.trusted());
        let settled = self.pending.is_empty();
        let mut caught_up = Members::default();
        for p in self.up().without(self.view.members).iter() {
            // Its old copy is dropped only when there is one to take the place of that.
            if self.peer(p).join.is_none() && settled && !sources.is_empty() {
                self.start_joining(p);
            }
            let oldest = self.oldest();
            let Some(join) = &mut self.peer(p).join else { continue };
            if join.source.is_some_and(|source| !sources.has(source)) {
                (join.source, join.asked) = (None, false);
            }
            if join.source.is_none() && oldest >= join.since {
                join.source = sources.iter().nth(usize::from(p) % sources.len().max(1));
            }
            if R::has_caught_up(join.joined && join.ended && join.storing == 0) {
                caught_up.insert(p);
            } else {
                self.fetch(p);
            }
        }
        if settled && !caught_up.is_empty() {
            for p in caught_up.iter() {
                self.peer(p).join = None;
                self.events.push(Event::CaughtUp(p));
            }
            self.decide_view(self.view.id.epoch + 1, self.view.members.or(caught_up));
        }
    }

    fn start_joining(&mut self, p: u16) {
        let (copy, since) = (self.next_copy, self.next);
        self.next_copy += 1;
        self.peer(p).lost = false;
        self.peer(p).join = Some(Join {
            copy,
            since,
            source: None,
            after: None,
            asked: false,
            storing: 0,
            joined: false,
            ended: false,
        });
        self.events.push(Event::Joins(p));
        self.send(p, &Frame::Join { copy });
    }

    /// It is not there any more, or not wanted: what waited for it goes on.
    pub(super) fn stop_joining(&mut self, p: u16) {
        if self.peer(p).join.take().is_some() {
            let members = self.view.members.or(self.active.members);
            self.go_on_with(members.or(self.joining()));
        }
    }

    /// Asks for the next chunk, if it is time.
    fn fetch(&mut self, p: u16) {
        let Some(join) = &mut self.peer(p).join else { return };
        let Some(source) = join.source else { return };
        if !join.ended && !join.asked && join.storing < STORES {
            join.asked = true;
            let frame = Frame::Fetch {
                copy: join.copy,
                after: join.after.clone(),
                bytes: self.setup.limits.chunk,
            };
            self.send(source, &frame);
        }
    }

    pub(super) fn joined(&mut self, p: u16, copy: u64) -> Result<(), Violation> {
        match &mut self.peer(p).join {
            Some(join) if join.copy == copy => {
                join.joined = true;
                Ok(())
            }
            // The variant that does not copy.
            None if R::has_caught_up(false) => Ok(()),
            _ => Err(Violation::Unexpected("joining")),
        }
    }

    /// A part of the copy has come from participant `source`.
    pub(super) fn chunk(
        &mut self,
        source: u16,
        copy: u64,
        end: bool,
        entries: &[(Key, Blob)],
    ) -> Result<(), Violation> {
        if copy == 0 || copy >= self.next_copy {
            return Err(Violation::Unexpected("chunk"));
        }
        let is_it = |join: &Join| join.copy == copy && join.source == Some(source) && join.asked;
        let to = self.select(|peer| peer.join.as_ref().is_some_and(is_it));
        // Nobody: who wanted it is gone.
        let Some(p) = to.iter().next() else { return Ok(()) };
        let Some(join) = &mut self.peer(p).join else { return Ok(()) };
        join.asked = false;
        join.ended = end;
        match entries.last() {
            Some((last, _)) if join.after.as_ref().is_none_or(|after| after < last) => {
                join.after = Some(last.clone());
                join.storing += 1;
                put_store(&mut self.peer(p).out, copy, entries);
            }
            None if end => {}
            _ => return Err(Violation::Unexpected("chunk")),
        }
        self.fetch(p);
        Ok(())
    }

    pub(super) fn stored(&mut self, p: u16, copy: u64) -> Result<(), Violation> {
        match &mut self.peer(p).join {
            Some(join) if join.copy == copy && join.storing > 0 => join.storing -= 1,
            _ => return Err(Violation::Unexpected("stored")),
        }
        self.fetch(p);
        Ok(())
    }
}
