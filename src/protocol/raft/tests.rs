//! One step at a time: rules whose breach takes more coincidences than a random run has (the simulator needs election
//! storms for them).

use super::*;
use crate::protocol::{Backlog, Recovered, Tail};
use crate::wire::raft::{RaftHello, Step, StepKind};

const NOW: Now = Now { since_start: Duration::ZERO, unix_ms: 0 };

struct Bench<R: Rules> {
    machine: RaftMachine<R>,
    fx: Effects,
    /// What its disk holds.
    disk: KeptLog,
}

impl<R: Rules> Bench<R> {
    /// Replica `me` of three with this on its disk; both peers say this hello.
    fn new(me: u16, disk: KeptLog, hello: RaftHello) -> Self {
        let setup = Setup {
            me: ReplicaId(me),
            replicas: 3,
            life: 7,
            write_delay: Duration::ZERO,
            remember_own: false,
            backlog: Backlog::default(),
            tail: Tail::default(),
            patience: Duration::ZERO,
            recovered: Recovered { kept: disk.clone(), ..Recovered::default() },
        };
        let mut bench = Self { machine: RaftMachine::new(setup), fx: Effects::new(3), disk };
        for peer in bench.machine.others() {
            bench.machine.connected(peer, &mut bench.fx);
            bench.hear(peer.0, RaftFrame::Hello(hello));
        }
        bench
    }

    fn try_hear(&mut self, from: u16, frame: RaftFrame) -> Result<(), Violation> {
        let frame = Frame::Raft(Box::new(frame));
        self.machine.receive(NOW, ReplicaId(from), frame, &mut self.fx)
    }

    /// A frame comes, and the disk keeps at once what follows.
    fn hear(&mut self, from: u16, frame: RaftFrame) {
        self.try_hear(from, frame).expect("a correct peer says this");
        self.finish();
    }

    fn finish(&mut self) {
        self.machine.finish(NOW, &mut self.fx);
        while let Some(mark) = self.fx.mark.take() {
            self.machine.kept(mark);
            self.machine.finish(NOW, &mut self.fx);
        }
        for note in self.fx.notes.drain(..) {
            match note {
                Note::Ballot(ballot) => self.disk.ballot = Some(ballot),
                Note::Entry(entry) => self.disk.put(entry),
            }
        }
    }

    /// Asks for a vote; `Some(granted)` if there is an answer.
    fn asked_to_vote(&mut self, from: u16, term: u64, log: LogPlace) -> Option<bool> {
        self.fx.promises.clear();
        let (index, log_term) = (log.index, log.term);
        let vote = Step { index, log_term, ..Step::new(StepKind::Vote, term) };
        self.hear(from, RaftFrame::Step(vote));
        let answer = |frames: &[u8]| match Frame::decode(frames) {
            Ok(Some((Frame::Raft(frame), _))) => match *frame {
                RaftFrame::Step(step) if step.kind == StepKind::VoteReply => Some(!step.reject),
                _ => None,
            },
            _ => None,
        };
        self.fx.promises.iter().find_map(|promise| answer(&promise.frames))
    }
}

fn voter(term: u64) -> KeptLog {
    KeptLog { ballot: Some(Ballot::Voter { term, vote: None }), entries: VecDeque::new() }
}

#[derive(Clone, Copy, Debug)]
struct ForgetsVote;

impl Rules for ForgetsVote {
    fn kept_vote(_vote: Option<ReplicaId>) -> Option<ReplicaId> {
        None
    }
}

fn votes_twice<R: Rules>() -> bool {
    let log = LogPlace::default();
    let mut bench = Bench::<R>::new(2, voter(0), RaftHello::default());
    assert_eq!(bench.asked_to_vote(0, 1, log), Some(true));
    assert_eq!(bench.asked_to_vote(1, 1, log), Some(false), "it knows while it lives");
    let mut again = Bench::<R>::new(2, bench.disk, RaftHello::default());
    again.asked_to_vote(1, 1, log) == Some(true)
}

#[test]
fn a_vote_is_kept_through_a_restart() {
    assert!(!votes_twice::<Ongaro>());
    assert!(votes_twice::<ForgetsVote>(), "the rule is what keeps it");
}

#[derive(Clone, Copy, Debug)]
struct CountsAnyTerm;

impl Rules for CountsAnyTerm {
    fn counts_any_term() -> bool {
        true
    }
}

/// Raft's figure 8: a leader has an entry of an earlier term on a majority, and its own term's entry nowhere else.
fn agrees_by_counting<R: Rules>() -> bool {
    let mut disk = voter(1);
    disk.put(LogEntry { place: LogPlace::new(1, 1), data: Vec::new() });
    let mut bench = Bench::<R>::new(0, disk, RaftHello::default());
    bench.machine.engine.as_mut().expect("it votes").campaign().expect("it may");
    bench.finish();
    bench.hear(1, RaftFrame::Step(Step::new(StepKind::PreVoteReply, 2)));
    bench.hear(1, RaftFrame::Step(Step::new(StepKind::VoteReply, 2)));
    assert_eq!(bench.machine.status().role.expect("it has one").name, "leader");
    let holds_first = Step { index: 1, ..Step::new(StepKind::AppendReply, 2) };
    bench.hear(1, RaftFrame::Step(holds_first));
    let agreed = bench.machine.deliver(NOW).is_some();
    let holds_both = Step { index: 2, ..Step::new(StepKind::AppendReply, 2) };
    bench.hear(1, RaftFrame::Step(holds_both));
    assert!(bench.machine.deliver(NOW).is_some(), "with an entry of its own term behind it");
    agreed
}

#[test]
fn an_entry_of_an_earlier_term_is_not_agreed_upon_by_counting() {
    assert!(!agrees_by_counting::<Ongaro>());
    assert!(agrees_by_counting::<CountsAnyTerm>(), "the rule is what keeps it");
}

const PEERS: RaftHello = RaftHello {
    life: 3,
    joining: false,
    term: 3,
    last_index: 5,
    position: 5,
    delivered: Timestamp { time: 3 << 40 | 5, replica: ReplicaId(0) },
};

#[test]
fn a_replica_that_lost_its_disk_has_no_vote_until_it_holds_what_it_may_have_promised() {
    let mut bench = Bench::<Ongaro>::new(2, KeptLog::default(), PEERS);
    let place = LogPlace::new(3, 5);
    assert_eq!(bench.asked_to_vote(1, 4, place), None);
    bench.hear(0, RaftFrame::Standing { term: 3, commit: 5 });
    assert!(bench.fx.events.is_empty(), "one has not said how things stand");
    bench.hear(1, RaftFrame::Standing { term: 4, commit: 0 });
    assert!(bench.fx.events.is_empty(), "they are not at one term");
    bench.hear(0, RaftFrame::Standing { term: 4, commit: 0 });
    bench.hear(1, RaftFrame::Standing { term: 4, commit: 6 });
    assert_eq!(bench.fx.events, [Event::CatchUp(ReplicaId(1))]);
    assert_eq!(bench.disk.ballot, Some(Ballot::Joining));
    let ts = Timestamp::new(LogPlace::new(4, 6).time(), ReplicaId(0));
    bench.machine.caught_up(NOW, 6, ts, &mut bench.fx);
    bench.finish();
    let kept = Ballot::Voter { term: 4, vote: Some(ReplicaId(1)) };
    assert_eq!(bench.disk.ballot, Some(kept));
    assert_eq!(bench.asked_to_vote(0, 4, LogPlace::new(4, 9)), Some(false), "it may have voted");
    assert_eq!(bench.asked_to_vote(0, 5, LogPlace::new(4, 9)), Some(true));
}

#[test]
fn what_no_correct_peer_sends_is_never_shown_to_the_engine() {
    let mut disk = voter(3);
    disk.put(LogEntry { place: LogPlace::new(2, 1), data: Vec::new() });
    let mut bench = Bench::<Ongaro>::new(2, disk, PEERS);
    let step = |kind| Step { log_term: 2, index: 1, ..Step::new(kind, 3) };
    for wrong in [
        Step { term: 0, ..step(StepKind::Append) },
        Step { term: 1 << 22, ..step(StepKind::Heartbeat) },
        Step { commit: 9, ..step(StepKind::Heartbeat) },
        Step { index: 1 << 40, ..step(StepKind::Append) },
        Step { entries: vec![(1, Vec::new())], ..step(StepKind::Append) },
        Step { entries: vec![(9, Vec::new())], ..step(StepKind::Append) },
    ] {
        assert!(bench.try_hear(0, RaftFrame::Step(wrong.clone())).is_err(), "{wrong:?}");
    }
    let commits = Step { commit: 1, ..step(StepKind::Append) };
    bench.hear(0, RaftFrame::Step(commits));
    let before = Step { log_term: 1, index: 7, ..step(StepKind::Append) };
    assert!(bench.try_hear(0, RaftFrame::Step(before)).is_err(), "its log cannot be as it says");
    let forged = RaftFrame::Forward { term: 3, proposal: b"nothing".to_vec() };
    assert!(bench.try_hear(1, forged).is_err());
}

#[test]
fn an_answer_to_an_earlier_life_is_none() {
    let mut bench = Bench::<Ongaro>::new(2, voter(3), PEERS);
    let round = bench.machine.read().expect("it may wait");
    // As if it had been asked.
    bench.machine.on_read_at(3, round, 0);
    assert!(bench.machine.current() < round);
}

/// The commit indices that peer 2 has been told since the last look.
fn told(bench: &mut Bench<Ongaro>) -> Vec<u64> {
    let mut bytes = std::mem::take(bench.fx.frames_mut(ReplicaId(2)));
    let mut told = Vec::new();
    while let Ok(Some((frame, length))) = Frame::decode(&bytes) {
        bytes.drain(..length);
        if let Frame::Raft(frame) = frame
            && let RaftFrame::Step(step) = *frame
            && step.kind == StepKind::Append
        {
            told.push(step.commit);
        }
    }
    told
}

#[test]
fn others_are_told_at_once_only_of_what_they_wait_for() {
    let mut bench = Bench::<Ongaro>::new(0, voter(1), RaftHello::default());
    bench.machine.engine.as_mut().expect("it votes").campaign().expect("it may");
    bench.finish();
    bench.hear(1, RaftFrame::Step(Step::new(StepKind::PreVoteReply, 2)));
    bench.hear(1, RaftFrame::Step(Step::new(StepKind::VoteReply, 2)));
    let holds = |bench: &mut Bench<Ongaro>, from, index| {
        bench.hear(from, RaftFrame::Step(Step { index, ..Step::new(StepKind::AppendReply, 2) }));
        while bench.machine.deliver(NOW).is_some() {}
        told(bench)
    };
    assert_eq!(holds(&mut bench, 2, 0), [0], "the first entry of the term");
    assert_eq!(holds(&mut bench, 2, 1), [1], "it is what makes the others settle");
    holds(&mut bench, 1, 1);

    let write = |key: &str| Op::Delete { keys: vec![key.as_bytes().into()] };
    bench.machine.submit(NOW, write("a"), false, &mut bench.fx).expect("it is settled");
    bench.finish();
    assert_eq!(told(&mut bench), [1], "the entry of an own client");
    assert!(holds(&mut bench, 2, 2).is_empty(), "nobody else waits for it");

    let proposal =
        Proposal { origin: ReplicaId(2), life: 5, number: 1, at: 0, prompt: false, op: write("b") };
    let mut bytes = Vec::new();
    proposal.encode(&mut bytes);
    bench.hear(2, RaftFrame::Forward { term: 2, proposal: bytes });
    assert_eq!(told(&mut bench), [2], "the entry of another's client");
    assert_eq!(holds(&mut bench, 1, 3), [3], "its client waits for it");
}
