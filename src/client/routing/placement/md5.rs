//! `md5`: the digest of the key as a number, modulo the number of nodes. In Python
//! `int(hashlib.md5(key.encode()).hexdigest(), 16) % n`.
//!
//! A good hash forgets every pattern of the keys, so each node gets a fair share of any keys: as if they were
//! thrown at random. Random is not equal: of 1000 keys on 12 nodes a node gets 83 ± 9.
//!
//! Cost: one digest of the key. Caveat: the remainder depends on n as a whole, so from n to n+1 nodes n of n+1
//! keys move, as with [`super::none`]. That md5 is broken as a cryptographic hash matters only where somebody
//! chooses keys to overload a node.
//!
//! Source: hash partitioning; md5 is RFC 1321.

use super::numbers::{digest, remainder_of_bytes};
use super::{Function, Place};

pub(super) const FUNCTION: Function = Function {
    name: "md5",
    about: "the md5 digest as a number, modulo the number of nodes",
    build: |nodes| Box::new(Digested { nodes }),
};

#[derive(Debug)]
struct Digested {
    nodes: usize,
}

impl Place for Digested {
    fn primary(&self, key: &str) -> usize {
        remainder_of_bytes(&digest(key), self.nodes)
    }
}
