//! A target whose operations are recorded in a history.
//!
//! It stands around any [`Target`], so that a run without a history pays nothing. Client i is the process
//! `ci`. A pipelined client has several operations under way at once, and each of a batch has a
//! lane of its own: `c3`, `c3+1`, `c3+2`, … An operation is open from before it is sent until its reply is
//! here; one whose reply never came is unknown.

use std::collections::VecDeque;

use super::{Answer, Operation, Target};
use crate::{
    client::{Certainty, ClientError},
    history::tape::{Ending, Request},
    report::Kind,
    runtime::Track,
};

/// A target that records.
#[derive(Debug)]
pub struct Recorded<T> {
    target: T,
    lanes: Lanes,
}

impl<T> Recorded<T> {
    /// Records in this track what this target does.
    pub fn new(target: T, track: Track) -> Self {
        Self { target, lanes: Lanes::new(track) }
    }
}

/// The operations of the present batch.
#[derive(Debug)]
struct Lanes {
    track: Track,
    /// How many have been queued, and how many of them have ended.
    queued: u32,
    ended: u32,
    /// Of those queued: what is read and since when; writes are in the history already.
    reads: VecDeque<Option<(u64, usize)>>,
    /// The keys that are read, one behind the other.
    keys: VecDeque<u8>,
}

impl Lanes {
    fn new(track: Track) -> Self {
        Self { track, queued: 0, ended: 0, reads: VecDeque::new(), keys: VecDeque::new() }
    }

    fn begin(&mut self, operation: &Operation<'_>) {
        if self.ended == self.queued {
            (self.queued, self.ended) = (0, 0);
        }
        match operation.kind {
            Kind::Read => {
                self.reads.push_back(Some((self.track.begin(), operation.key.len())));
                self.keys.extend(operation.key);
            }
            Kind::Write => {
                self.reads.push_back(None);
                let request = Request::Write(Some(operation.value));
                self.track.record(|tape| tape.invoke(self.queued, operation.key, request));
            }
        }
        self.queued += 1;
    }

    fn end(&mut self, ending: Ending<'_>) {
        match self.reads.pop_front().flatten() {
            Some((begun, length)) => {
                let key = &self.keys.make_contiguous()[..length];
                self.track.record(|tape| tape.read(self.ended, begun, key, ending));
                self.keys.drain(..length);
            }
            None => self.track.record(|tape| tape.complete(self.ended, ending)),
        }
        self.ended += 1;
    }

    fn fail(&mut self, error: &ClientError) {
        let why = error.to_string();
        if error.ends_connection() {
            // What has not been answered never will be.
            while self.ended < self.queued {
                self.end(Ending::Unknown(&why));
            }
        } else {
            self.end(match error.certainty() {
                Certainty::Fail => Ending::Failed(&why),
                Certainty::Unknown => Ending::Unknown(&why),
            });
        }
    }
}

impl<T: Target> Target for Recorded<T> {
    fn queue(&mut self, operation: &Operation<'_>) {
        self.lanes.begin(operation);
        self.target.queue(operation);
    }

    fn send(&mut self) -> Result<(), ClientError> {
        self.target.send().inspect_err(|error| self.lanes.fail(error))
    }

    fn receive(&mut self, kind: Kind) -> Result<Answer<'_>, ClientError> {
        let answer = self.target.receive(kind).inspect_err(|error| self.lanes.fail(error))?;
        self.lanes.end(match (kind, answer) {
            (Kind::Write, _) => Ending::Done,
            (Kind::Read, Answer::Value(value)) => Ending::Found(Some(value)),
            (Kind::Read, Answer::Missing) => Ending::Found(None),
            (Kind::Read, Answer::Done) => Ending::Failed("answered without a value"),
        });
        Ok(answer)
    }

    fn reconnect(&mut self) -> Result<(), ClientError> {
        self.target.reconnect()
    }
}
