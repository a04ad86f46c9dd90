//! The shard lab: a database spread over nodes by the client, and copies on adjacent nodes.
//!
//! | file | what |
//! |---|---|
//! | `settings` | `settings.cfg`: the nodes, the placement function, the number of copies, the handler |
//! | `server` | one node: its port, its threads, the machine of [`crate::protocol::adjacent`] |
//! | `log` | what a node prints |
//! | `peers` | calls to other nodes |
//! | `nodes` | all nodes as processes of their own, here or on other hosts |
//! | `client` | updates and reads at one node, or spread by the placement function |
//! | `local` | all nodes of some settings in this process, for experiments and tests |
//! | `balance`, `resize`, `quorum` | the exercises |
//! | `fairness` | how even a load is |

pub mod balance;
pub mod client;
pub mod fairness;
pub mod local;
pub mod log;
pub mod nodes;
mod peers;
pub mod quorum;
pub mod resize;
pub mod server;
pub mod settings;

pub use super::exercise;
pub use client::{Answer, SendError, ShardClient};
pub use local::LocalNodes;
pub use log::Log;
pub use server::{ServerError, ShardServer};
pub use settings::{Handler, NodeAddress, Settings, SettingsError};
