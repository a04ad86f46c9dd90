//! Which nodes hold a key, and what a client does when one of them does not answer.
//!
//! Shared by the shard lab and the cluster lab: `placement` maps a key to its primary node and the
//! copies behind it, `retry` says how long to wait and when to give up, `status` is what is known of a node.

mod placement;
mod retry;
mod status;

pub use placement::{
    FUNCTIONS, Function, MAX_NODES, Placement, VIRTUAL_NODES, copies, function, function_names,
};
pub use retry::{Patience, Retry};
pub use status::NodeStatus;
