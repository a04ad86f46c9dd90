//! What goes over the wire: every parser, against properties, damage and the documents.

#[path = "../../fuzz/entries/frames.rs"]
mod frames;

mod memcached;
mod peer;
mod properties;
mod resp;
mod two_phase;
mod wire_support;
