//! Placement: from a key to the number of its primary node, and to the nodes that hold copies.
//!
//! A client that knows the nodes needs nobody to tell it where a key lives: it computes the node. Two things
//! are asked of such a function. It shall be *fair*: every node gets about the same number of keys, whatever
//! the pattern in the keys. And it shall be *stable*: when a node is added, no more keys move than the new
//! node has to get, the share `1/(n+1)`.
//!
//! | function | a look-up costs | memory | fair to strided keys | keys that move from n to n+1 nodes |
//! |---|---|---|---|---|
//! | `None` | O(length of the key) | none | no | n/(n+1), nearly all |
//! | `md5` | one digest | none | yes | n/(n+1), nearly all |
//! | `ring` | one digest, O(log n) | O(n) | within some percent | 1/(n+1), the least possible |
//! | `rendezvous` | one digest, O(n) | none | yes | 1/(n+1) |
//! | `jump` | one digest, O(log n) | none | yes | 1/(n+1) |
//!
//! [`FUNCTIONS`] is the one list; a function is one file here and one line there. Where a key lives is part of
//! the data: a release that computes another node loses what is stored. Therefore the functions take nothing
//! from the system, and a test holds nodes of known keys, computed independently, against them.
//!
//! Caveat: the functions know nodes by their number. A node that leaves from the middle of the list renumbers
//! those behind it; take nodes from the end.

mod jump;
mod md5;
mod none;
mod numbers;
mod rendezvous;
mod ring;
#[cfg(test)]
mod tests;

pub use ring::VIRTUAL_NODES;

/// The most nodes of a placement. It bounds what a ring takes (16 MB) and is far beyond any lab.
pub const MAX_NODES: usize = 4096;

/// A way to spread keys over nodes.
#[derive(Debug)]
pub struct Function {
    /// What it is called in settings and on the command line.
    pub name: &'static str,
    /// What it does, in one line.
    pub about: &'static str,
    /// Prepares it for a number of nodes (at least 1).
    build: fn(nodes: usize) -> Box<dyn Place>,
}

/// A function prepared for a number of nodes.
trait Place: std::fmt::Debug + Send + Sync {
    /// The node of a key, below the number of nodes.
    fn primary(&self, key: &str) -> usize;
}

/// All of them; a new one is one line here.
pub const FUNCTIONS: &[Function] =
    &[none::FUNCTION, md5::FUNCTION, ring::FUNCTION, rendezvous::FUNCTION, jump::FUNCTION];

/// The function of this name.
pub fn function(name: &str) -> Option<&'static Function> {
    FUNCTIONS.iter().find(|function| function.name == name)
}

/// The names of all functions, for a message: `None, md5, ...`.
pub fn function_names() -> String {
    let names: Vec<&str> = FUNCTIONS.iter().map(|function| function.name).collect();
    names.join(", ")
}

/// A function for a number of nodes.
#[derive(Debug)]
pub struct Placement {
    function: &'static Function,
    nodes: usize,
    place: Box<dyn Place>,
}

impl Placement {
    /// Prepares a function for `nodes` nodes; no nodes are taken for one, more than [`MAX_NODES`] for that
    /// many. Whoever lets people choose the number refuses others before.
    pub fn new(function: &'static Function, nodes: usize) -> Self {
        let nodes = nodes.clamp(1, MAX_NODES);
        Self { function, nodes, place: (function.build)(nodes) }
    }

    /// The function.
    pub fn function(&self) -> &'static Function {
        self.function
    }

    /// The number of nodes.
    pub fn nodes(&self) -> usize {
        self.nodes
    }

    /// The number of the node that a key belongs to, below [`Placement::nodes`].
    pub fn primary(&self, key: &str) -> usize {
        self.place.primary(key)
    }
}

/// The nodes that hold what belongs to `primary`: itself and the next ones, wrapping, `count` in all (at most
/// each node once).
pub fn copies(primary: usize, count: usize, nodes: usize) -> impl Iterator<Item = usize> + Clone {
    (0..count.min(nodes)).map(move |step| (primary + step) % nodes)
}
