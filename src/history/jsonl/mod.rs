//! JSON Lines, the lab's own format: one event a line, in the order in which they happened.
//!
//! `docs/histories.md` describes it. [`put`](self) functions append one line each and allocate nothing beyond
//! the buffer, so that a recorder can afford them while it serves.

mod put;

pub use put::{
    Asked, CompletionLine, Header, InvocationLine, Order, Reported, put_completion, put_delivery,
    put_fault, put_header, put_invocation, put_message,
};
