//! The cluster lab: hash tables that know nothing of each other, and a client that makes them a cluster.

pub mod diverge;
pub mod fleet;
pub mod outliers;
pub mod perf;
mod regex;
pub mod server;
mod service;
