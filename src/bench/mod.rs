//! Load generation: closed and open loop, a thread a client, and the floors to compare with.
//!
//! *Closed loop*: each client sends a batch of `pipeline` commands in one write, reads their replies, and
//! sends the next. Latency counts from the send. A slow server slows its own load down, so what a closed
//! loop says of latency holds only for that many clients.
//!
//! *Open loop* (`rate`): each client has a timetable. Latency counts from the moment an operation was
//! *due*, not from when it could be sent; when the client is behind, due operations are sent at once, as
//! many as the pipeline allows. That is what keeps a stall from hiding: every operation that would have
//! been sent during it counts its own wait (Gil Tene: coordinated omission). Operations that were due and
//! could not even be sent before the end are counted as `unsent`.
//!
//! *Floors*: see [`floor`]. *Pairs*: see [`pairs`].
//!
//! Cost: one clock reading a batch and one a reply, one random draw or two an operation; no allocation
//! and no lock on the way. Only operations that succeeded have a latency; the others are counted.
//!
//! Caveat: the generator shares the machine with the servers when both run on it. `floor` shows how
//! much of the figures is the machine's.

mod clock;
mod config;
mod drive;
pub mod floor;
pub mod floor_disk;
pub mod floor_server;
mod history;
pub mod pairs;
mod protocol;
mod recorded;
mod run;
mod target;
mod timetable;
mod worker;
mod workload;

pub use clock::{Clock, MonotonicClock};
pub use config::{BenchError, Config, MAX_CLIENTS, MAX_PIPELINE};
pub use drive::{Limit, Meter, drive, together};
pub use protocol::Protocol;
pub use recorded::Recorded;
pub use run::{Measured, run};
pub use target::{Answer, Operation, Target};
pub use timetable::Timetable;
pub use worker::{Plan, Worker};
pub use workload::Workload;
