//! `rendezvous`: the highest random weight.
//!
//! Every pair of a key and a node has a weight, a hash of both. A key belongs to the node with the highest
//! weight. A new node changes no weight of the others: it wins `1/(n+1)` of the keys and all else stays. The
//! same holds for *any* node that leaves: its keys spread evenly over those that remain.
//!
//! Cost: one digest of the key and n multiplications; no memory. For a dozen nodes that is as fast as
//! anything; for thousands, `jump` or `ring`.
//!
//! The weight is `scatter(hash(key) ^ scatter(node))`, a mix of two hashes in the place of a digest for each
//! pair. For one key no two weights are equal, because scattering is one to one.
//!
//! Source: Thaler and Ravishankar, *Using name-based mappings to increase hit rates*, IEEE/ACM Transactions on
//! Networking 6(1), 1998.

use super::numbers::{hash, scatter};
use super::{Function, Place};

pub(super) const FUNCTION: Function = Function {
    name: "rendezvous",
    about: "the node whose hash together with the key is the highest",
    build: |nodes| Box::new(Rendezvous { nodes }),
};

#[derive(Debug)]
struct Rendezvous {
    nodes: usize,
}

impl Place for Rendezvous {
    fn primary(&self, key: &str) -> usize {
        let hash = hash(key);
        let weight = |node: &usize| scatter(hash ^ scatter(*node as u64));
        (0..self.nodes).max_by_key(weight).unwrap_or(0)
    }
}
