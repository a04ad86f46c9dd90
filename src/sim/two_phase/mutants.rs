//! The protocol, and protocols that are wrong on purpose: each breaks one rule. The checkers have to find them all.
//!
//! A variant of the rules is a type, so that the servers pay nothing for this; here each becomes a pair of
//! functions that build its machines behind a trait object.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::protocol::two_phase::{
    Answer, Batch, Blob, Change, Command, Coordinator, Event, Frame, Key, Members, Participant,
    PresumedAbort, Recovered, Rules, Status, TxnId, View, Violation, coordinator, participant,
};
use crate::sim::plan::PlanError;

/// A coordinator of any variant; see [`Coordinator`].
pub(super) trait Coordinates {
    fn submit(&mut self, now: Duration, command: Command, ticket: u32);
    fn connected(&mut self, now: Duration, p: u16);
    fn disconnected(&mut self, now: Duration, p: u16);
    fn receive(&mut self, now: Duration, p: u16, frame: Frame) -> Result<(), Violation>;
    fn finish(&mut self, now: Duration);
    fn deadline(&self) -> Option<Duration>;
    fn frames_mut(&mut self, p: u16) -> &mut Vec<u8>;
    fn replies_mut(&mut self) -> &mut Vec<(u32, Answer)>;
    fn cuts_mut(&mut self) -> &mut Vec<(u16, Violation)>;
    fn events_mut(&mut self) -> &mut Vec<Event>;
    fn status(&self) -> Status;
}

/// A participant of any variant; see [`Participant`].
pub(super) trait Participates {
    fn connected(&mut self, now: Duration, session: u64);
    fn disconnected(&mut self, now: Duration, session: u64);
    fn receive(&mut self, now: Duration, session: u64, frame: Frame) -> Result<(), Violation>;
    fn coordinator_gone(&mut self, now: Duration);
    fn probe(&self, now: Duration) -> bool;
    fn refuse_all(&mut self, refuses: bool);
    fn finish(&mut self, now: Duration) -> Batch;
    fn deadline(&self) -> Option<Duration>;
    fn table(&self) -> &BTreeMap<Key, Blob>;
    fn prepared(&self) -> &BTreeMap<TxnId, Change>;
    fn view(&self) -> View;
    fn state(&self) -> &Recovered;
}

macro_rules! forward {
    ($($name:ident($($arg:ident: $kind:ty),*) $(-> $out:ty)?;)*) => {
        $(fn $name(&mut self, $($arg: $kind),*) $(-> $out)? { Self::$name(self, $($arg),*) })*
    };
    (ref $($name:ident($($arg:ident: $kind:ty),*) -> $out:ty;)*) => {
        $(fn $name(&self, $($arg: $kind),*) -> $out { Self::$name(self, $($arg),*) })*
    };
}

impl<R: Rules> Coordinates for Coordinator<u32, R> {
    forward! {
        submit(now: Duration, command: Command, ticket: u32);
        connected(now: Duration, p: u16);
        disconnected(now: Duration, p: u16);
        receive(now: Duration, p: u16, frame: Frame) -> Result<(), Violation>;
        finish(now: Duration);
        frames_mut(p: u16) -> &mut Vec<u8>;
        replies_mut() -> &mut Vec<(u32, Answer)>;
        cuts_mut() -> &mut Vec<(u16, Violation)>;
        events_mut() -> &mut Vec<Event>;
    }
    forward! { ref deadline() -> Option<Duration>; status() -> Status; }
}

impl<R: Rules> Participates for Participant<R> {
    forward! {
        connected(now: Duration, session: u64);
        disconnected(now: Duration, session: u64);
        receive(now: Duration, session: u64, frame: Frame) -> Result<(), Violation>;
        coordinator_gone(now: Duration);
        refuse_all(refuses: bool);
        finish(now: Duration) -> Batch;
    }
    forward! { ref
        probe(now: Duration) -> bool;
        deadline() -> Option<Duration>;
        table() -> &BTreeMap<Key, Blob>;
        prepared() -> &BTreeMap<TxnId, Change>;
        view() -> View;
        state() -> &Recovered;
    }
}

/// A variant of the protocol.
pub struct Mutant {
    /// Its name on the command line.
    pub name: &'static str,
    /// The rule that it breaks.
    pub breaks: &'static str,
    pub(super) coordinator: fn(coordinator::Setup) -> Box<dyn Coordinates>,
    pub(super) participant: fn(participant::Setup) -> Box<dyn Participates>,
}

impl std::fmt::Debug for Mutant {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name)
    }
}

fn coordinates<R: Rules>(setup: coordinator::Setup) -> Box<dyn Coordinates> {
    Box::new(Coordinator::<u32, R>::new(setup))
}

fn participates<R: Rules>(setup: participant::Setup) -> Box<dyn Participates> {
    Box::new(Participant::<R>::new(setup))
}

const fn variant<R: Rules>(name: &'static str, breaks: &'static str) -> Mutant {
    Mutant { name, breaks, coordinator: coordinates::<R>, participant: participates::<R> }
}

/// The protocol itself.
static CORRECT: Mutant = variant::<PresumedAbort>("none", "nothing");

macro_rules! mutants {
    ($($type:ident, $name:literal, $breaks:literal, { $($rule:tt)* };)*) => {
        $(
            #[derive(Debug)]
            struct $type;
            impl Rules for $type { $($rule)* }
        )*
        /// All of them.
        pub static MUTANTS: &[Mutant] = &[$(variant::<$type>($name, $breaks)),*];
    };
}

mutants! {
    ForgetsPromise, "forgets-promise",
        "a promise is kept until the coordinator says how the transaction ends",
        { fn keeps_promise() -> bool { false } };
    CommitsOnTimeout, "commits-on-timeout",
        "a transaction whose votes do not come is not committed",
        { fn commits_on_timeout() -> bool { true } };
    ServesTooEarly, "serves-too-early",
        "a participant that is back serves only when it has caught up",
        { fn has_caught_up(_: bool) -> bool { true } };
    CommitsWithoutVotes, "commits-without-votes",
        "a transaction commits when all have voted for it, not when most have",
        { fn may_commit(missing: Members) -> bool { missing.len() <= 1 } };
    AbortsInDoubt, "aborts-in-doubt",
        "what was left in doubt commits if somebody has committed it",
        { fn resolves_to_commit(_: bool) -> bool { false } };
    OldEpochWins, "old-epoch-wins",
        "the copy of the newest view wins",
        { fn newer(one: View, other: View) -> View { if one.id < other.id { one } else { other } } };
    NoFencing, "no-fencing",
        "a coordinator is obeyed when no newer incarnation has been seen",
        { fn obeys(_: u64, _: u64) -> bool { true } };
    DirtyRead, "dirty-read",
        "a read waits until no write of its key is under way",
        { fn reads_wait() -> bool { false } };
    ForgetsDeletion, "forgets-deletion",
        "what was removed while a copy is under way stays removed",
        { fn remembers_removed() -> bool { false } };
    HastyView, "hasty-view",
        "nothing commits on the strength of a view that not all its members have stored",
        { fn waits_for_view() -> bool { false } };
    AnswersEarly, "answers-early",
        "the client waits until everybody has carried the decision out",
        { fn waits_for_done() -> bool { false } };
    Guesses, "guesses",
        "where it cannot be known whose copy is the newest, nobody's is taken",
        { fn is_certain(_: bool, _: bool) -> bool { true } };
}

/// The protocol of this name; the correct one for none.
pub(super) fn find(name: Option<&str>) -> Result<&'static Mutant, PlanError> {
    let Some(name) = name else { return Ok(&CORRECT) };
    MUTANTS.iter().find(|mutant| mutant.name == name).ok_or_else(|| {
        let known: Vec<&str> = MUTANTS.iter().map(|mutant| mutant.name).collect();
        PlanError::Mutant { found: name.to_owned(), known: known.join(", ") }
    })
}
