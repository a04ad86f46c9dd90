//! `jump`: jump consistent hash.
//!
//! Think of the nodes being added one by one. When the n+1st comes, a key has to jump to it with the
//! probability `1/(n+1)`, and stays otherwise. The key's hash seeds a generator that decides it. The trick is not
//! to ask at every step: from node b, the *next* node that the key jumps to is drawn at once, as
//! `(b + 1) / r` with r uniform in (0, 1]. The last jump below n is the key's node.
//!
//! Cost: one digest and ln n jumps on average; no memory, and as fair as the hash. Caveat: nodes can be added
//! and taken away only at the end of the list. Where any node may leave for good, take `rendezvous` or `ring`.
//!
//! The division is that of IEEE 754 doubles, which is the same on every machine.
//!
//! Source: Lamping and Veach, *A fast, minimal memory, consistent hash algorithm*, arXiv:1406.2294, 2014.

use super::numbers::hash;
use super::{Function, Place};

pub(super) const FUNCTION: Function = Function {
    name: "jump",
    about: "jump consistent hash: the last of the key's random jumps along the nodes",
    build: |nodes| Box::new(Jump { nodes }),
};

#[derive(Debug)]
struct Jump {
    nodes: usize,
}

impl Place for Jump {
    fn primary(&self, key: &str) -> usize {
        jump(hash(key), self.nodes)
    }
}

/// The node of a hash; at least one node.
pub(super) fn jump(hash: u64, nodes: usize) -> usize {
    let (mut state, mut node, mut next) = (hash, 0, 0);
    while next < nodes {
        node = next;
        state = state.wrapping_mul(2_862_933_555_777_941_757).wrapping_add(1);
        let one = (1u64 << 31) as f64;
        // At least node + 1, so the loop ends after `nodes` turns at the latest.
        next = ((node as f64 + 1.0) * (one / ((state >> 33) as f64 + 1.0))) as usize;
    }
    node
}
