//! Bytes to messages and back, without I/O: what the runtime reads and writes goes through here, and so
//! does what a simulated network carries.
//!
//! ```text
//! request     what both client dialects share: the request, the form of its reply, failures
//! memcached   the memcached text protocol, server side
//! resp        RESP, the protocol of redis, server side
//! lab         the gossip lab's commands, next to those of RESP
//! simple_resp the simplified RESP of the two-phase commit lab, server side
//! decoder     one of them: what the port speaks, or what the first byte of a connection announced
//! command     client side: commands out, in either dialect
//! reply       client side: replies in, in either dialect
//! lines       JSON Lines: the shard lab's messages, the cluster lab's requests
//! number      numbers in ASCII
//! http        client side: HTTP/1.1 responses
//! peer        what replicas say to each other: a preface, then frames
//! two_phase   what a coordinator and its participants say to each other
//! frame       what all binary frames share
//! traffic     how many frames and bytes go between replicas
//! raft        what the replicas of a Raft group say, inside of peer frames
//! gossip      what replicas say that converge without one order, inside of peer frames
//! codec       operations as bytes, for peer frames
//! ```
//!
//! All decoders are incremental in the same way: the caller keeps one growable buffer, calls `next` with
//! all that is in it, and drops from its front what was consumed. A decoder keeps only positions, so a
//! request borrows its keys from the caller's buffer, and a byte that has been looked at is not looked at
//! again when the next one arrives: a client that sends one byte at a time costs time linear in its bytes.

pub mod codec;
pub mod command;
pub mod decoder;
mod frame;
pub mod gossip;
pub mod http;
pub mod lab;
pub mod lines;
pub mod memcached;
pub mod number;
pub mod peer;
pub mod raft;
pub mod reply;
pub mod request;
pub mod resp;
pub mod simple_resp;
pub mod traffic;
pub mod two_phase;

pub use decoder::{Decoder, Tongue};
pub use reply::{Reply, ReplyDecoder, ReplyError, ReplyStep, Stats, Values};
pub use request::{Call, Dialect, Failure, Form, Found, Request, RespVersion, Step, max_request};
