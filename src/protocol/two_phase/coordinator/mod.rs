//! The coordinator: stores nothing, decides everything.

use std::marker::PhantomData;
use std::time::Duration;

use super::{
    Answer, Command, Frame, PresumedAbort, Refusal, Rules, Timing, TxnId, View, Violation,
};

/// How much may be under way at once; beyond it, commands are answered with an error at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// How many commands.
    pub commands: usize,
    /// How many bytes of them, about; a single command may be larger.
    pub bytes: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self { commands: 100_000, bytes: 1024 * 1024 * 1024 }
    }
}

/// What a coordinator needs to know from the start.
#[derive(Clone, Debug)]
pub struct Setup {
    /// How many participants are configured; 1 to [`MAX_PARTICIPANTS`](super::MAX_PARTICIPANTS).
    pub participants: u16,
    /// A number greater than that of any earlier start, such as the wall clock in nanoseconds; not 0.
    pub incarnation: u64,
    /// The times to go by.
    pub timing: Timing,
    /// How much may be under way.
    pub limits: Limits,
    /// Whether [`Event`]s about single transactions are wanted too.
    pub trace: bool,
}

/// What happened, for a log and for those who watch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// Traced: a transaction began at these participants.
    Began(TxnId),
    /// Traced: a transaction is decided.
    Decided {
        /// The transaction.
        txn: TxnId,
        /// Whether it commits.
        commit: bool,
    },
    /// Traced: everybody has carried the decision out.
    Finished(TxnId),
    /// A view is decided upon, and sent to its members.
    Decides(View),
    /// All its members have stored it.
    Active(View),
    /// A member is excluded by the next view.
    Excludes(u16),
    /// A participant drops its copy and takes part again.
    Joins(u16),
    /// It has caught up.
    CaughtUp(u16),
    /// Nobody who holds the data is left, or a newer incarnation is known: everything starts over.
    StartsOver {
        /// The new incarnation.
        incarnation: u64,
    },
    /// What an earlier incarnation left prepared ends so.
    Resolved {
        /// The transaction.
        txn: TxnId,
        /// Whether it commits.
        commit: bool,
    },
    /// All participants have lost their memory, and with it all data.
    DataLost,
}

/// Where a coordinator stands.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Status {
    /// Whether commands are carried out.
    pub serving: bool,
    /// The incarnation.
    pub incarnation: u64,
    /// The view; of epoch 0 while there is none.
    pub view: View,
    /// Who is connected and has reported.
    pub connected: super::Members,
    /// Who is being brought up to date.
    pub joining: super::Members,
    /// How many commands are under way.
    pub commands: usize,
}

/// The coordinator. `T` is what the driver knows a command by.
#[derive(Debug)]
pub struct Coordinator<T, R: Rules = PresumedAbort> {
    incarnation: u64,
    frames: Vec<Vec<u8>>,
    replies: Vec<(T, Answer)>,
    cuts: Vec<(u16, Violation)>,
    events: Vec<Event>,
    rules: PhantomData<R>,
}

impl<T, R: Rules> Coordinator<T, R> {
    /// A coordinator that knows nothing.
    pub fn new(setup: Setup) -> Self {
        Self {
            incarnation: setup.incarnation,
            frames: (0..setup.participants).map(|_| Vec::new()).collect(),
            replies: Vec::new(),
            cuts: Vec::new(),
            events: Vec::new(),
            rules: PhantomData,
        }
    }

    /// A client wants `command` carried out; its answer will be among [`Coordinator::replies_mut`] under `ticket`.
    pub fn submit(&mut self, _now: Duration, _command: Command, ticket: T) {
        self.replies.push((ticket, Answer::Error(Refusal::NoData)));
    }

    /// A connection to participant `p` has come up (its preface has been read). Whatever an earlier one
    /// carried is gone; what is in [`Coordinator::frames_mut`] afterwards belongs on the new one.
    pub fn connected(&mut self, _now: Duration, _p: u16) {}

    /// The connection to participant `p` is lost. Without an effect when there is none.
    pub fn disconnected(&mut self, _now: Duration, _p: u16) {}

    /// A frame has come from participant `p`.
    ///
    /// # Errors
    /// When no correct participant sends this: the driver cuts the connection and calls
    /// [`Coordinator::disconnected`].
    pub fn receive(&mut self, _now: Duration, _p: u16, frame: Frame) -> Result<(), Violation> {
        Err(Violation::Unexpected(frame.name()))
    }

    /// Ends a batch of inputs, or of none when the deadline has passed.
    pub fn finish(&mut self, _now: Duration) {}

    /// When [`Coordinator::finish`] next has something to do by itself.
    pub fn deadline(&self) -> Option<Duration> {
        None
    }

    /// The encoded frames for participant `p`, in order, to be taken and sent.
    pub fn frames_mut(&mut self, p: u16) -> &mut Vec<u8> {
        &mut self.frames[usize::from(p)]
    }

    /// The answers to clients, to be taken.
    pub fn replies_mut(&mut self) -> &mut Vec<(T, Answer)> {
        &mut self.replies
    }

    /// Connections to be cut, and why, to be taken; the machine treats them as lost already.
    pub fn cuts_mut(&mut self) -> &mut Vec<(u16, Violation)> {
        &mut self.cuts
    }

    /// What happened, to be taken.
    pub fn events_mut(&mut self) -> &mut Vec<Event> {
        &mut self.events
    }

    /// Where it stands.
    pub fn status(&self) -> Status {
        Status { incarnation: self.incarnation, ..Status::default() }
    }
}
