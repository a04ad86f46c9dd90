//! The shard lab: its core, its exercises, a session of its commands, and hostile peers.

#[path = "../process_support/mod.rs"]
mod process_support;

mod core;
mod exercises;
mod hostile;
mod session;
