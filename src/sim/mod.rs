//! tmp
pub mod explore;
