//! The stories: plans of the simulator, and what has to be true of each.

use super::events::{Answer, Event, What};
use crate::faults::Fault;
use crate::sim::plan::{Delay, MS, PlannedFault, Shape};
use crate::sim::two_phase::{Ask, Plan, Script, Step, VotesNo};

/// How many participants there are.
pub(super) const PARTICIPANTS: u16 = 3;

/// The clients begin when the first view is long there.
pub(super) const BEGIN: u64 = 1000 * MS;

/// When the coordinator comes back, where it dies.
const AWAY: u64 = 300 * MS;

/// A story.
pub(super) struct Story {
    /// Its name: that of its folder is `2pc-` and this.
    pub name: &'static str,
    pub title: &'static str,
    /// What is told before the picture.
    pub before: &'static str,
    pub plan: fn() -> Plan,
    /// What has to be true, in words that are printed behind the picture where it is.
    pub claims: &'static [Claim],
}

/// A sentence, and how it is seen in what happened.
pub(super) struct Claim {
    pub words: &'static str,
    pub holds: fn(&Seen<'_>) -> bool,
}

/// What happened, with questions about it.
pub(super) struct Seen<'a> {
    pub events: &'a [Event],
}

impl Seen<'_> {
    /// The places of events among all.
    fn places(&self, is: impl Fn(&What) -> bool) -> Vec<usize> {
        (0..self.events.len()).filter(|at| is(&self.events[*at].what)).collect()
    }

    fn sent(&self, kind: &str) -> Vec<usize> {
        self.places(|what| matches!(what, What::Sends { kind: k, .. } if *k == kind))
    }

    /// How many messages of a kind were sent in the last transaction that was prepared.
    fn last(&self, kind: &str) -> usize {
        let from = self.last_request();
        self.sent(kind).into_iter().filter(|at| *at >= from).count()
    }

    fn last_request(&self) -> usize {
        let requests = self.sent("REQUEST-TO-PREPARE");
        let first = requests.len().saturating_sub(usize::from(PARTICIPANTS));
        requests.get(first).copied().unwrap_or(0)
    }

    /// Whether every one of the first comes before every one of the second, and both are there.
    fn before(first: &[usize], second: &[usize]) -> bool {
        first.last().zip(second.first()).is_some_and(|(one, other)| one < other)
    }

    fn told(&self, answer: &Answer) -> Vec<usize> {
        self.places(|what| matches!(what, What::Told { answer: told, .. } if told == answer))
    }

    /// Who committed, and who aborted, since the last request.
    fn ended(&self, commit: bool) -> Vec<u16> {
        let from = self.last_request();
        let mut who: Vec<u16> = self.events[from..]
            .iter()
            .filter_map(|event| match &event.what {
                What::Ends { participant, commit: did } if *did == commit => Some(*participant),
                _ => None,
            })
            .collect();
        who.sort_unstable();
        who
    }

    fn death(&self) -> usize {
        let deaths = self.places(|what| *what == What::Dies(PARTICIPANTS));
        deaths.first().copied().unwrap_or(usize::MAX)
    }

    fn rebirth(&self) -> usize {
        let births = self.places(|what| *what == What::Starts(PARTICIPANTS));
        births.last().copied().unwrap_or(usize::MAX)
    }

    /// Whether nothing is decided while the coordinator is away.
    fn nothing_ends_meanwhile(&self) -> bool {
        let (death, rebirth) = (self.death(), self.rebirth());
        let ends = self.places(|what| matches!(what, What::Ends { .. }));
        death < rebirth
            && !ends.iter().any(|at| {
                // What was on its way still arrives.
                *at > death && *at < rebirth && self.events[*at].at > self.events[death].at + 2 * MS
            })
    }

    /// Whether a report of the new incarnation says so.
    fn reports(&self, words: &str) -> usize {
        let is =
            |what: &What| matches!(what, What::Sends { kind: "REPORT", more, .. } if more == words);
        self.places(is).into_iter().filter(|at| *at > self.rebirth()).count()
    }

    /// The answer that the last reader got, and that it got it after the new incarnation had ended the doubt.
    fn last_read(&self, value: &str) -> bool {
        let last = self.places(|what| matches!(what, What::Told { .. })).last().copied();
        let value = Answer::Value(value.to_owned());
        last.is_some_and(
            |at| matches!(&self.events[at].what, What::Told { answer, .. } if *answer == value),
        )
    }
}

fn at(ms_times_ten: u64) -> u64 {
    BEGIN + ms_times_ten * MS / 10
}

fn set(when: u64, value: u32) -> Step {
    Step { at: when, ask: Ask::Set { key: 0, value } }
}

fn get(when: u64) -> Step {
    Step { at: when, ask: Ask::Get { key: 0 } }
}

/// Every message takes a millisecond, from and to a client half of one.
fn plan(clients: Vec<Vec<Step>>, faults: Vec<PlannedFault>, votes_no: Vec<VotesNo>) -> Plan {
    let even = |base| Delay { base, jitter: 0, shape: Shape::Constant };
    Plan {
        seed: 0,
        mutant: None,
        participants: PARTICIPANTS,
        durable: false,
        sync_time: MS,
        chunk: 1000,
        client_timeout: 2000 * MS,
        settle: 0,
        client_delay: even(MS / 2),
        links: vec![[even(MS); 2]; usize::from(PARTICIPANTS)],
        clients: clients.into_iter().map(|steps| Script { steps }).collect(),
        faults,
        votes_no,
    }
}

fn dies(when: u64) -> PlannedFault {
    PlannedFault { at: when, fault: Fault::Crash { replica: PARTICIPANTS, down: AWAY } }
}

/// All four.
pub(super) static STORIES: &[Story] = &[
    Story {
        name: "commit",
        title: "All vote for it: commit",
        before: "A client sets x. Two rounds: first everybody promises, then everybody does it.",
        plan: || plan(vec![vec![set(at(0), 1), get(at(100))]], vec![], vec![]),
        claims: &[
            Claim {
                words: "Nobody committed before all three had voted PREPARED.",
                holds: |seen| {
                    seen.last("PREPARED") == 3
                        && Seen::before(&seen.sent("PREPARED"), &seen.sent("COMMIT"))
                },
            },
            Claim {
                words: "All three committed, and the client was answered behind the last DONE.",
                holds: |seen| {
                    seen.ended(true) == [0, 1, 2]
                        && Seen::before(&seen.sent("DONE"), &seen.told(&Answer::Ok))
                },
            },
            Claim { words: "Who reads then finds x = 1.", holds: |seen| seen.last_read("1") },
        ],
    },
    Story {
        name: "abort",
        title: "One votes NO: abort",
        before: "x is 1. P1 votes NO on the next SET, as it would with a full memory: then nobody does it.",
        plan: || {
            let no = VotesNo { participant: 1, from: at(80), until: at(200) };
            plan(vec![vec![set(at(0), 1), set(at(100), 2), get(at(250))]], vec![], vec![no])
        },
        claims: &[
            Claim {
                words: "One NO is enough: the two that voted PREPARED dropped their promise.",
                holds: |seen| {
                    seen.last("NO") == 1
                        && seen.last("PREPARED") == 2
                        && seen.last("COMMIT") == 0
                        && seen.ended(true).is_empty()
                        && seen.ended(false) == [0, 2]
                },
            },
            Claim {
                words: "The client was told -ERROR, and who reads then finds x = 1 as before.",
                holds: |seen| seen.told(&Answer::Error).len() == 1 && seen.last_read("1"),
            },
        ],
    },
    Story {
        name: "presumed-abort",
        title: "The coordinator is lost before the votes come: presumed abort",
        before: "x is 1. The coordinator dies while the votes are on their way to it. The three have promised x = 2 and\n\
                 must neither do it nor drop it by themselves. The new coordinator has nothing but its file.",
        plan: || {
            let steps =
                vec![vec![set(at(0), 1), set(at(100), 2)], vec![get(at(1000)), get(at(3135))]];
            plan(steps, vec![dies(at(120))], vec![])
        },
        claims: &[
            Claim {
                words: "While it was away nothing was decided, and a client that asked was refused.",
                holds: |seen| seen.nothing_ends_meanwhile() && seen.told(&Answer::Error).len() == 1,
            },
            Claim {
                words: "All three were in doubt, nobody had committed: the new incarnation aborted it everywhere.",
                holds: |seen| {
                    seen.reports("in doubt") == 3
                        && seen.ended(true).is_empty()
                        && seen.ended(false) == [0, 1, 2]
                },
            },
            Claim {
                words: "A read that came meanwhile waited for that, and found x = 1. Nothing stayed locked.",
                holds: |seen| seen.last_read("1"),
            },
            Claim {
                words: "The client whose connection broke knows only that it does not know.",
                holds: |seen| seen.told(&Answer::Unknown).len() == 1,
            },
        ],
    },
    Story {
        name: "commit-in-doubt",
        title: "The coordinator is lost when one has committed: commit",
        before: "x is 1. All have voted for x = 2. COMMIT comes to P0, but not to P1 and P2, before the coordinator dies.",
        plan: || {
            let steps =
                vec![vec![set(at(0), 1), set(at(100), 2)], vec![get(at(1000)), get(at(3150))]];
            let cut = Fault::OneWay { from: vec![PARTICIPANTS], to: vec![1, 2], lasts: 3 * MS };
            let faults = vec![PlannedFault { at: at(122), fault: cut }, dies(at(136))];
            plan(steps, faults, vec![])
        },
        claims: &[
            Claim {
                words: "P0 had committed before the new coordinator came; P1 and P2 were in doubt, and could not know.",
                holds: |seen| {
                    let first =
                        seen.places(|what| *what == What::Ends { participant: 0, commit: true });
                    first.iter().any(|at| *at > seen.last_request() && *at < seen.rebirth())
                        && seen.reports("in doubt") == 2
                        && seen.nothing_ends_meanwhile()
                },
            },
            Claim {
                words: "Because one had committed, the new incarnation had the others commit too.",
                holds: |seen| seen.ended(true) == [0, 1, 2] && seen.ended(false).is_empty(),
            },
            Claim {
                words: "A read that came meanwhile waited for that, and found x = 2.",
                holds: |seen| seen.last_read("2"),
            },
        ],
    },
];
