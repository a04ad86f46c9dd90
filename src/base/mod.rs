//! The words everything else is written in: who (replica ids), when (Lamport timestamps, vector clocks, the two
//! clocks of a driver), what (operations and their outcomes), in which order (places in a replicated log) and how
//! much (limits).
//!
//! Nothing here does I/O, starts a thread or asks the system for the time.

pub mod consensus;
pub mod lamport;
pub mod limits;
pub mod op;
pub mod time;
pub mod vector;

pub use consensus::{Ballot, KeptLog, LogEntry, LogPlace};
pub use lamport::{LamportClock, ReplicaId, Timestamp};
pub use limits::Limits;
pub use op::{Arithmetic, End, Expiry, Op, Outcome, Read, StoreRule, Value, Versioned};
pub use time::Now;
pub use vector::VectorClock;
