//! What a participant knows of the coordinator's life: silence, lease, witness.

use std::collections::VecDeque;
use std::time::Duration;

use crate::protocol::two_phase::Timing;

/// How many answers are remembered that the coordinator has not said it heard.
const MAX_ANSWERS: usize = 64;

/// See the module.
#[derive(Debug)]
pub(super) struct Lease {
    timing: Timing,
    /// When answers left, by their numbers.
    answers: VecDeque<(u64, Duration)>,
    /// Until when the coordinator that rules has promised not to exclude this participant.
    until: Option<Duration>,
    /// From when on its silence is long.
    silent_from: Option<Duration>,
    witness: bool,
}

impl Lease {
    pub(super) fn new(timing: Timing) -> Self {
        Self { timing, answers: VecDeque::new(), until: None, silent_from: None, witness: false }
    }

    /// A coordinator has greeted: whatever was promised before is void.
    pub(super) fn begin(&mut self, now: Duration) {
        *self = Self::new(self.timing);
        self.heard(now);
    }

    pub(super) fn heard(&mut self, now: Duration) {
        self.silent_from = Some(now + self.timing.silence);
    }

    /// The connection is lost.
    pub(super) fn silent(&mut self, now: Duration) {
        self.silent_from = Some(now);
    }

    /// The heartbeat of this number is answered now; the coordinator has heard the answer `heard`.
    pub(super) fn answered(&mut self, now: Duration, number: u64, heard: u64) {
        while let Some(&(_, at)) = self.answers.front().filter(|(answer, _)| *answer <= heard) {
            self.until = Some(at + self.timing.lease);
            self.answers.pop_front();
        }
        if self.answers.len() == MAX_ANSWERS {
            self.answers.pop_front();
        }
        self.answers.push_back((number, now));
    }

    fn holds(&self, now: Duration) -> bool {
        self.until.is_some_and(|until| now < until)
    }

    pub(super) fn coordinator_gone(&mut self, now: Duration) {
        self.witness |= self.holds(now);
    }

    /// Whether it saw the incarnation that rules end while it held its lease.
    pub(super) fn is_witness(&self) -> bool {
        self.witness
    }

    pub(super) fn probe(&self, now: Duration) -> bool {
        !self.witness && self.holds(now) && self.silent_from.is_some_and(|from| now >= from)
    }

    pub(super) fn deadline(&self) -> Option<Duration> {
        let from = self.silent_from.filter(|_| !self.witness)?;
        self.until.filter(|until| from < *until).map(|_| from)
    }
}
