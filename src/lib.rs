//! The map of the house. Imports point down only; `tests/tidy.rs` keeps it so.
//!
//! ```text
//! cli          arguments as typed -> built configuration; one file a command
//! labs         one folder or file a lab
//! bench report load generation; results, one file an output format
//! view         recorded histories as pages for a browser
//! runtime      client port, broadcast port, line port, links, sessions: threads and sockets
//! sim          virtual time, network, disks, seeds, shrinking; a sibling of runtime
//! client       blocking clients; routing: which nodes hold a key
//! node         one replica: protocol + storage + pending requests
//! check        the checkers: one file a consistency model
//! history      recorded histories; readers and writers, one file a format
//! storage      storage.txt and the hash tables, in memory and on the disk
//! protocol     the pure machines, one file a protocol, and the one list of modes
//! wire         memcached text, RESP, peer frames, JSON lines: bytes <-> messages, no I/O
//! faults       one vocabulary of faults
//! base         ids, operations and outcomes, clocks, time, limits
//! ```
//!
//! `base`, `wire`, `protocol`, `storage`, `node` and `sim` are pure: no clock, no sleep, no random source. The
//! `deny` lines below have clippy keep it.

#[deny(clippy::disallowed_methods, clippy::iter_over_hash_type)]
pub mod base;
pub mod bench;
#[deny(clippy::disallowed_methods, clippy::iter_over_hash_type)]
pub mod check;
pub mod cli;
pub mod client;
#[deny(clippy::disallowed_methods, clippy::iter_over_hash_type)]
pub mod faults;
#[deny(clippy::disallowed_methods, clippy::iter_over_hash_type)]
pub mod history;
pub mod labs;
#[deny(clippy::disallowed_methods, clippy::iter_over_hash_type)]
pub mod node;
#[deny(clippy::disallowed_methods, clippy::iter_over_hash_type)]
pub mod protocol;
pub mod report;
pub mod runtime;
#[deny(clippy::disallowed_methods, clippy::iter_over_hash_type)]
pub mod sim;
#[deny(clippy::disallowed_methods, clippy::iter_over_hash_type)]
pub mod storage;
pub mod view;
#[deny(clippy::disallowed_methods, clippy::iter_over_hash_type)]
pub mod wire;
