//! Election storms: plans for modes with a leader that concentrate on what breaks elections.
//!
//! A storm is a row of rounds with a rest between them, in which the logs become equal again. In a round two *rivals* cannot
//! hear each other, both hear the rest, the *voters*, and the links to those are slow; all replicas begin it with a
//! restart, so that nobody leads. Then
//! - either (*split*) the rivals ask for votes one soon after the other, and a voter restarts in between: a voter
//!   that has forgotten whom it voted for elects both in one term;
//! - or (*seesaw*) the rivals take turns: while one can be elected, the voters do not hear the other, and the turn
//!   ends with a restart of a voter that loses what was on its way to it. So leaders lose their office right after they
//!   were elected, with an entry on one voter or on none; figure 8 of the Raft paper needs three of those in a row.
//!
//! Random faults hardly ever line up so.

use super::plan::{Delay, MS, PlannedFault, Shape};
use super::random::{Concern, Stream};
use crate::faults::{Fault, FaultSet, Kind};

/// How much time a client lets pass between its operations, about. They span several elections, each of which takes
/// about half a second.
pub(super) const PACE: u64 = 600 * MS;

/// One seed in so many is a storm, where the mode has leaders.
const ONE_IN: u64 = 4;

/// The group has elected its first leader by then, most of the time.
const BEGIN: u64 = 500 * MS;

/// The most rounds.
const MOST_ROUNDS: usize = 1_000;

/// One storm.
#[derive(Debug)]
pub(super) struct Storm {
    stream: Stream,
    allowed: FaultSet,
    rivals: [u16; 2],
    voters: Vec<u16>,
    faults: Vec<PlannedFault>,
}

impl Storm {
    /// The storm of this seed, if it has one.
    pub fn of(seed: u64, replicas: u16, allowed: FaultSet) -> Option<Self> {
        let mut stream = Stream::new(seed, Concern::Storm);
        let possible = replicas >= 3
            && [Kind::Crash, Kind::OneWay].into_iter().all(|kind| allowed.contains(kind));
        if !possible || !stream.one_in(ONE_IN) {
            return None;
        }
        let n = u64::from(replicas);
        let one = stream.below(n);
        let other = (one + 1 + stream.below(n - 1)) % n;
        let rivals = [one as u16, other as u16];
        let voters = (0..replicas).filter(|id| !rivals.contains(id)).collect();
        Some(Self { stream, allowed, rivals, voters, faults: Vec::new() })
    }

    /// Its links: slow enough that faults come between a message and its answer.
    pub fn links(&mut self, replicas: u16) -> Vec<Delay> {
        let link = |_| {
            let base = self.stream.between(1, 10) * MS;
            Delay { base, jitter: base / 4, shape: Shape::Exponential }
        };
        (0..u32::from(replicas).pow(2)).map(link).collect()
    }

    /// Its faults, up to the time `last`.
    pub fn faults(mut self, last: u64) -> Vec<PlannedFault> {
        let mut at = BEGIN;
        for _ in 0..MOST_ROUNDS {
            if at >= last {
                break;
            }
            if self.stream.one_in(2) {
                self.rivals.reverse();
            }
            let lasts = if self.stream.one_in(2) { self.split(at) } else { self.seesaw(at) };
            let [one, other] = self.rivals;
            self.block(at, one, vec![other], lasts);
            self.block(at, other, vec![one], lasts);
            for rival in self.rivals {
                self.slow_down(at, rival, lasts);
            }
            at += lasts + self.ms(500, 1200);
        }
        self.faults.sort_by_key(|planned| planned.at);
        self.faults
    }

    /// Two candidates soon after each other, and voters that restart between them; how long it takes.
    fn split(&mut self, at: u64) -> u64 {
        let [first, second] = self.rivals;
        self.restart(at, first);
        let down = self.ms(50, 500);
        self.add(at, Fault::Crash { replica: second, down });
        for voter in self.voters.clone() {
            self.restart(at, voter);
            // It is no candidate itself then.
            let soon = at + self.ms(200, 320);
            self.restart(soon, voter);
            for _ in 0..=self.stream.below(2) {
                let later = at + self.ms(450, 1100);
                self.restart(later, voter);
            }
        }
        self.ms(1300, 2000)
    }

    /// Leaders that follow each other quickly; how long it takes.
    ///
    /// A voter that is held up does not see time pass: it is no candidate itself, and what the rival asks
    /// meanwhile it answers all at once when it goes on. So it is known when the rival is elected, and when its turn has
    /// to end. A rival that has missed the last election first hears of its term, and asks again.
    fn seesaw(&mut self, at: u64) -> u64 {
        self.restart(at, self.rivals[0]);
        let mut begins = at;
        for turn in 0..self.stream.between(4, 6) as usize {
            let waits = if turn == 0 { 650 * MS } else { 1300 * MS };
            // A leader that is elected again has an old entry to bring along first.
            let lasts = waits
                + if turn % 2 == 0 && turn > 0 { self.ms(150, 450) } else { self.ms(60, 260) };
            let silent = self.rivals[(turn + 1) % 2];
            self.block(begins, silent, self.voters.clone(), lasts);
            for voter in self.voters.clone() {
                self.restart(begins, voter);
                self.add(begins + 150 * MS, Fault::Pause { replica: voter, lasts: 500 * MS });
                if turn > 0 {
                    self.add(begins + 700 * MS, Fault::Pause { replica: voter, lasts: 600 * MS });
                }
            }
            begins += lasts;
        }
        begins - at
    }

    /// What a rival says to the voters takes longer.
    fn slow_down(&mut self, at: u64, rival: u16, lasts: u64) {
        let by = if self.stream.one_in(3) { 0 } else { self.ms(40, 110) };
        for to in self.voters.clone() {
            self.add(at, Fault::SlowLink { from: rival, to, by, lasts });
        }
    }

    fn block(&mut self, at: u64, from: u16, to: Vec<u16>, lasts: u64) {
        self.add(at, Fault::OneWay { from: vec![from], to, lasts });
    }

    fn restart(&mut self, at: u64, replica: u16) {
        let down = self.ms(1, 20);
        self.add(at, Fault::Crash { replica, down });
    }

    /// A time between so many milliseconds.
    fn ms(&mut self, from: u64, to: u64) -> u64 {
        self.stream.between(from * MS, to * MS)
    }

    fn add(&mut self, at: u64, fault: Fault) {
        if self.allowed.contains(fault.kind()) {
            self.faults.push(PlannedFault { at, fault });
        }
    }
}
