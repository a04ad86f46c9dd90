//! The cluster lab: hash tables that know nothing of each other, and a client that makes them a cluster.

mod regex;
pub mod server;
mod service;
