//! The shard lab: a database spread over nodes by the client, and copies on adjacent nodes.

pub mod balance;
pub mod fairness;
pub mod resize;

pub use super::exercise;
