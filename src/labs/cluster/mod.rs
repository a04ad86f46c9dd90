//! The cluster lab: hash tables that know nothing of each other, and a client that makes them a cluster.

pub mod basics;
pub mod catalog;
pub mod diverge;
pub mod fleet;
pub mod group;
pub mod outliers;
pub mod perf;
mod regex;
pub mod server;
mod service;
