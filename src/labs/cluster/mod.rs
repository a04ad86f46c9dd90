//! The cluster lab: hash tables that know nothing of each other, and a client that makes them a cluster.

pub mod basics;
pub mod catalog;
pub mod group;
mod regex;
pub mod server;
mod service;
