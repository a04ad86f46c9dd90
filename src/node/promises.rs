//! Frames that promise something, held back until the own disk keeps it.
//!
//! A vote or an acknowledgement is worth what the disk behind it remembers. The protocol says which frames are
//! promises and writes notes of what they promise ([`crate::protocol::Effects::promise`]); here they wait for the
//! offset in the log that the notes end at. The driver says how far the log is kept ([`Node::kept`]): written,
//! or synced where its policy is to sync always. Then the frames go the way of all others.

use std::collections::VecDeque;

use super::Node;
use crate::base::ReplicaId;
use crate::protocol::{Needs, Note, Promise};

/// What waits for the disk.
#[derive(Debug, Default)]
pub(super) struct Promises {
    /// Up to where the log is kept.
    kept: u64,
    /// Where the last ballot ends.
    ballot: u64,
    /// Frames, and up to where the log must be kept before they leave.
    held: VecDeque<(u64, Promise)>,
    /// What the protocol wants to hear, and when.
    marks: VecDeque<(u64, u64)>,
}

impl Promises {
    /// The link to a peer is lost, and with it all that was on its way.
    pub(super) fn forget(&mut self, peer: ReplicaId) {
        self.held.retain(|(_, promise)| promise.to != peer);
    }
}

impl<T> Node<T> {
    /// Whether anything waits for [`Node::kept`].
    pub fn holds_promises(&self) -> bool {
        !self.promises.held.is_empty() || !self.promises.marks.is_empty()
    }

    /// Whether somebody waits for what is held back.
    pub fn is_waited_for(&self) -> bool {
        let Promises { held, marks, .. } = &self.promises;
        !marks.is_empty() || held.iter().any(|(_, promise)| !promise.may_gather)
    }

    /// Whether something follows from the log being kept up to this offset.
    pub fn waits_for_kept(&self, upto: u64) -> bool {
        let Promises { held, marks, .. } = &self.promises;
        held.iter().map(|(at, _)| at).chain(marks.iter().map(|(at, _)| at)).any(|at| *at <= upto)
    }

    /// The log is kept up to this offset.
    pub fn kept(&mut self, upto: u64) {
        let promises = &mut self.promises;
        promises.kept = promises.kept.max(upto);
        let mut mark = None;
        while let Some((_, number)) = promises.marks.front().filter(|(at, _)| *at <= upto) {
            mark = Some(*number);
            promises.marks.pop_front();
        }
        if let Some(number) = mark {
            self.protocol.kept(number);
        }
        let due = |(after, _): &(u64, Promise)| *after <= upto;
        if promises.held.iter().any(due) {
            let held = std::mem::take(&mut promises.held);
            let (leave, stay): (VecDeque<_>, VecDeque<_>) = held.into_iter().partition(due);
            self.promises.held = stay;
            leave.into_iter().for_each(|(_, promise)| self.send_promise(promise));
        }
    }

    fn send_promise(&mut self, promise: Promise) {
        self.fx.frames_mut(promise.to).extend_from_slice(&promise.frames);
    }

    /// Writes the protocol's notes down, and has what promises to keep them wait.
    pub(super) fn promise(&mut self) {
        for note in self.fx.notes.drain(..) {
            match note {
                Note::Ballot(ballot) => {
                    self.store.note_ballot(ballot);
                    self.promises.ballot = self.store.appended();
                }
                Note::Entry(entry) => self.store.note_entry(&entry),
            }
        }
        let end = self.store.appended();
        if let Some(number) = self.fx.mark.take() {
            self.promises.marks.push_back((end, number));
        }
        for promise in std::mem::take(&mut self.fx.promises) {
            let after = match promise.needs {
                Needs::Ballot => self.promises.ballot,
                Needs::Everything => end,
            };
            if after <= self.promises.kept {
                self.send_promise(promise);
            } else {
                self.promises.held.push_back((after, promise));
            }
        }
    }
}
