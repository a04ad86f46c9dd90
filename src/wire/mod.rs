//! Bytes to messages and back, without I/O: what clients send, and what replicas send each other.

pub mod codec;
pub mod peer;
