//! JSON Lines, the lab's own format: one event a line, in the order in which they happened.
//!
//! `docs/histories.md` describes it. The `put` functions append one line each and allocate
//! nothing beyond the buffer, so that a recorder can afford them while it serves. Reading costs one pass over
//! the bytes ([`read`]): usual lines go through a small scanner, all others through serde_json.

mod fields;
mod put;
mod read;
mod scan;
mod write;

pub use put::{
    Asked, CompletionLine, Header, InvocationLine, Order, Reported, put_completion, put_delivery,
    put_fault, put_header, put_invocation, put_message, put_replica_names, put_together,
};
pub use read::read;
pub use write::write;

pub(super) use read::Reader;
pub(super) use write::{header, put_event};
