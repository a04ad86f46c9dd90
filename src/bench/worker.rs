//! One client's loop, over any target and any clock.

use std::{
    sync::atomic::{AtomicBool, Ordering},
    time::Duration,
};

use super::{Answer, Clock, Meter, Target, Timetable, Workload};
use crate::{
    client::{Certainty, ClientError},
    report::{Kind, Round},
};

/// How long a client tries to get its connection back before it gives up.
const RECONNECT_FOR: Duration = Duration::from_secs(5);

/// The pause between two tries to connect.
const RECONNECT_PAUSE: Duration = Duration::from_millis(50);

/// What one client has to do.
#[derive(Clone, Copy, Debug, Default)]
pub struct Plan {
    /// The most commands of a batch; at least 1.
    pub pipeline: usize,
    /// How many operations at most.
    pub ops: Option<u64>,
    /// When to stop, since the start of the round.
    pub until: Option<Duration>,
    /// Open loop: when operations are due.
    pub timetable: Option<Timetable>,
}

/// One client: its target, its operations, and what it has measured.
pub struct Worker<'a, T, C> {
    target: &'a mut T,
    workload: &'a mut Workload,
    plan: Plan,
    clock: C,
    stop: &'a AtomicBool,
    meter: &'a Meter,
    kinds: Vec<Kind>,
    issued: u64,
    round: Round,
}

impl<'a, T: Target, C: Clock> Worker<'a, T, C> {
    /// A client that has not begun.
    pub fn new(
        target: &'a mut T,
        workload: &'a mut Workload,
        plan: Plan,
        clock: C,
        stop: &'a AtomicBool,
        meter: &'a Meter,
    ) -> Self {
        let kinds = Vec::with_capacity(plan.pipeline.max(1));
        let mut round = Round::default();
        if plan.timetable.is_some() {
            round.lateness = Some(Default::default());
        }
        Self { target, workload, plan, clock, stop, meter, kinds, issued: 0, round }
    }

    /// Works until the plan is fulfilled, or a stop is asked for, or the server is gone for good; the
    /// error says so. What was measured until then counts in any case.
    pub fn run(mut self) -> (Round, Option<ClientError>) {
        let mut gone = None;
        while let Some(batch) = self.next_batch() {
            if let Err(error) = self.batch(batch) {
                gone = Some(error);
                break;
            }
        }
        let now = self.clock.now();
        self.round.elapsed = now;
        if let Some(timetable) = &self.plan.timetable {
            let end = self.plan.until.map_or(now, |until| until.min(now));
            // What is due exactly at the end is not sent any more, so it is not missed either.
            let due = timetable
                .due_by(end.saturating_sub(Duration::from_nanos(1)))
                .min(self.plan.ops.unwrap_or(u64::MAX));
            self.round.unsent = due.saturating_sub(self.issued);
        }
        (self.round, gone)
    }

    /// How many operations to send now; waits until there is one. `None` at the end.
    fn next_batch(&mut self) -> Option<usize> {
        let mut waited_for = None;
        loop {
            let left = self.plan.ops.map_or(u64::MAX, |ops| ops - self.issued);
            let now = self.clock.now();
            // What was due before the end and was waited for is sent even if the timer came late.
            let over = self
                .plan
                .until
                .is_some_and(|until| now >= until && waited_for.is_none_or(|then| then >= until));
            if left == 0 || over || self.stop.load(Ordering::Relaxed) {
                return None;
            }
            let most = left.min(self.plan.pipeline.max(1) as u64);
            let Some(timetable) = &self.plan.timetable else { return Some(most as usize) };
            let due = timetable.due_by(now).saturating_sub(self.issued);
            if due > 0 {
                if let (Some(then), Some(lateness)) = (waited_for, &mut self.round.lateness) {
                    lateness.record(now.saturating_sub(then));
                }
                return Some(due.min(most) as usize);
            }
            let then = timetable.due(self.issued);
            let wake = self.plan.until.map_or(then, |until| until.min(then));
            self.clock.sleep_until(wake);
            waited_for = Some(then);
        }
    }

    /// Sends a batch and receives its replies. Fails when the server is gone for good.
    fn batch(&mut self, size: usize) -> Result<(), ClientError> {
        self.kinds.clear();
        for _ in 0..size {
            let operation = self.workload.next_operation();
            self.kinds.push(operation.kind);
            self.target.queue(&operation);
        }
        let first = self.issued;
        self.issued += size as u64;
        let sent = self.clock.now();
        let mut failure = self.target.send().err();
        for index in 0..size {
            let kind = self.kinds[index];
            let reply = match failure {
                Some(_) => None,
                None => Some(self.target.receive(kind)),
            };
            match reply {
                Some(Ok(answer)) => {
                    let start = match &self.plan.timetable {
                        Some(timetable) => timetable.due(first + index as u64),
                        None => sent,
                    };
                    let latency = self.clock.now().saturating_sub(start);
                    let tally = self.round.tally_mut(kind);
                    tally.record(latency);
                    tally.missing += u64::from(answer == Answer::Missing);
                }
                Some(Err(error)) => {
                    self.count_failure(kind, error.certainty());
                    if error.ends_connection() {
                        failure = Some(error);
                    }
                }
                // The connection is lost; all was handed to it, so what is left is unknown.
                None => self.count_failure(kind, Certainty::Unknown),
            }
        }
        self.meter.add(size as u64);
        if failure.is_some() { self.reconnect() } else { Ok(()) }
    }

    fn count_failure(&mut self, kind: Kind, certainty: Certainty) {
        let tally = self.round.tally_mut(kind);
        match certainty {
            Certainty::Fail => tally.errors += 1,
            Certainty::Unknown => tally.unknown += 1,
        }
    }

    fn reconnect(&mut self) -> Result<(), ClientError> {
        let give_up = self.clock.now() + RECONNECT_FOR;
        loop {
            let Err(error) = self.target.reconnect() else { return Ok(()) };
            let now = self.clock.now();
            if now >= give_up || self.stop.load(Ordering::Relaxed) {
                return Err(error);
            }
            self.clock.sleep_until(now + RECONNECT_PAUSE);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{cell::Cell, collections::VecDeque, rc::Rc};

    use super::*;
    use crate::{bench::Config, report::Tally};

    const MS: Duration = Duration::from_millis(1);

    /// A clock that moves only when somebody sleeps or works.
    #[derive(Clone, Default)]
    struct MockClock(Rc<Cell<Duration>>);

    impl MockClock {
        fn advance(&self, by: Duration) {
            self.0.set(self.0.get() + by);
        }
    }

    impl Clock for MockClock {
        fn now(&self) -> Duration {
            self.0.get()
        }
        fn sleep_until(&self, then: Duration) {
            self.0.set(self.0.get().max(then));
        }
    }

    /// A server that takes `service(n)` for its n-th operation.
    struct MockTarget<F> {
        clock: MockClock,
        served: u64,
        service: F,
        failures: VecDeque<ClientError>,
        sizes: Vec<usize>,
        queued: usize,
        reconnects: u32,
    }

    fn target<F: Fn(u64) -> Duration>(clock: &MockClock, service: F) -> MockTarget<F> {
        MockTarget {
            clock: clock.clone(),
            served: 0,
            service,
            failures: VecDeque::new(),
            sizes: Vec::new(),
            queued: 0,
            reconnects: 0,
        }
    }

    impl<F: Fn(u64) -> Duration> Target for MockTarget<F> {
        fn queue(&mut self, _: &crate::bench::Operation<'_>) {
            self.queued += 1;
        }
        fn send(&mut self) -> Result<(), ClientError> {
            self.sizes.push(std::mem::take(&mut self.queued));
            Ok(())
        }
        fn receive(&mut self, _: Kind) -> Result<Answer<'_>, ClientError> {
            self.clock.advance((self.service)(self.served));
            self.served += 1;
            self.failures.pop_front().map_or(Ok(Answer::Done), Err)
        }
        fn reconnect(&mut self) -> Result<(), ClientError> {
            self.reconnects += 1;
            Ok(())
        }
    }

    fn work<F: Fn(u64) -> Duration>(
        target: &mut MockTarget<F>,
        clock: &MockClock,
        plan: Plan,
    ) -> Round {
        let config = Config { reads: 0.0, ..Config::default() };
        let mut workload = Workload::new(&config, 0).expect("valid");
        let (stop, meter) = (AtomicBool::new(false), Meter::default());
        let (round, gone) =
            Worker::new(target, &mut workload, plan, clock.clone(), &stop, &meter).run();
        assert!(gone.is_none());
        assert_eq!(meter.done(), round.read.tried() + round.write.tried());
        round
    }

    /// Latencies in whole milliseconds with their counts.
    fn milliseconds(tally: &Tally) -> Vec<(u64, u64)> {
        let mut found: Vec<(u64, u64)> = Vec::new();
        for step in tally.latency.iter_recorded() {
            let ms = (step.value_iterated_to() as f64 / 1e6).round() as u64;
            match found.last_mut() {
                Some((last, count)) if *last == ms => *count += step.count_at_value(),
                _ => found.push((ms, step.count_at_value())),
            }
        }
        found
    }

    #[test]
    fn a_closed_loop_counts_a_stall_once() {
        let clock = MockClock::default();
        let mut server = target(&clock, |n| if n == 5 { 100 * MS } else { MS });
        let plan = Plan { pipeline: 1, ops: Some(50), ..Plan::default() };
        let round = work(&mut server, &clock, plan);
        assert_eq!(milliseconds(&round.write), [(1, 49), (100, 1)]);
        assert_eq!(round.elapsed, 149 * MS);
    }

    #[test]
    fn an_open_loop_counts_the_wait_of_every_operation_that_was_due_during_a_stall() {
        let clock = MockClock::default();
        let mut server = target(&clock, |n| if n == 5 { 100 * MS } else { MS });
        let timetable = Some(Timetable::new(100.0, 0, 1));
        let plan = Plan { pipeline: 1, ops: Some(50), timetable, ..Plan::default() };
        let round = work(&mut server, &clock, plan);
        // One every 10 ms; the sixth takes 100 ms; the next, due 10 ms after it, waits 90 ms more and
        // takes 1 ms itself, and so on, until the backlog is worked off at 9 ms an operation.
        let expected: Vec<u64> = (0..=11).map(|k| 100 - 9 * k).rev().collect();
        let found = milliseconds(&round.write);
        let waits: Vec<u64> = found.iter().filter(|(ms, _)| *ms > 1).map(|(ms, _)| *ms).collect();
        assert_eq!(waits, expected[1..], "{found:?}");
        assert_eq!(round.write.succeeded(), 50);
        assert_eq!(round.unsent, 0);
        assert_eq!(round.lateness.map(|l| l.latency.max()), Some(1), "a mock clock is never late");
    }

    #[test]
    fn an_open_loop_that_is_behind_sends_what_is_due_in_batches() {
        let clock = MockClock::default();
        let mut server = target(&clock, |n| if n == 0 { 35 * MS } else { Duration::ZERO });
        let timetable = Some(Timetable::new(100.0, 0, 1));
        let plan = Plan { pipeline: 16, ops: Some(6), timetable, ..Plan::default() };
        let round = work(&mut server, &clock, plan);
        assert_eq!(server.sizes, [1, 3, 1, 1]);
        assert_eq!(milliseconds(&round.write), [(0, 2), (5, 1), (15, 1), (25, 1), (35, 1)]);
    }

    #[test]
    fn what_was_due_and_never_sent_is_counted() {
        let clock = MockClock::default();
        let mut server = target(&clock, |_| 50 * MS);
        let timetable = Some(Timetable::new(100.0, 0, 1));
        let plan =
            Plan { pipeline: 1, until: Some(Duration::from_secs(1)), timetable, ..Plan::default() };
        let round = work(&mut server, &clock, plan);
        assert_eq!(round.write.succeeded(), 20);
        assert_eq!(round.unsent, 100 - 20, "due at 0, 10, … 990 ms");
    }

    #[test]
    fn a_pipelined_closed_loop_counts_from_the_send() {
        let clock = MockClock::default();
        let mut server = target(&clock, |_| MS);
        let plan = Plan { pipeline: 4, ops: Some(6), ..Plan::default() };
        let round = work(&mut server, &clock, plan);
        assert_eq!(server.sizes, [4, 2]);
        assert_eq!(milliseconds(&round.write), [(1, 2), (2, 2), (3, 1), (4, 1)]);
    }

    #[test]
    fn failures_are_counted_apart_and_a_lost_connection_makes_the_rest_unknown() {
        let clock = MockClock::default();
        let mut server = target(&clock, |_| MS);
        server.failures = VecDeque::from([
            ClientError::Refused { line: "SERVER_ERROR full".into() },
            ClientError::OutcomeUnknown { line: "SERVER_ERROR timeout, outcome unknown".into() },
            ClientError::NoReply { to: "mock".into(), after: MS },
        ]);
        let plan = Plan { pipeline: 5, ops: Some(10), ..Plan::default() };
        let round = work(&mut server, &clock, plan);
        assert_eq!((round.write.errors, round.write.unknown), (1, 4));
        assert_eq!(round.write.succeeded(), 5);
        assert_eq!(server.reconnects, 1);
    }
}
