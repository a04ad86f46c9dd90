//! Placement: from a key to the number of its primary node, and to the nodes that hold copies.

use md5::{Digest, Md5};

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
    fn primary(&self, key: &str) -> usize;
}

/// All of them; a new one is one line here.
pub const FUNCTIONS: &[Function] = &[
    Function {
        name: "None",
        about: "the key as a number, modulo the number of nodes",
        build: |nodes| Box::new(Simple { nodes }),
    },
    Function {
        name: "md5",
        about: "the md5 digest as a number, modulo the number of nodes",
        build: |nodes| Box::new(Digested { nodes }),
    },
];

/// The function of this name.
pub fn function(name: &str) -> Option<&'static Function> {
    FUNCTIONS.iter().find(|function| function.name == name)
}

/// A function for a number of nodes.
#[derive(Debug)]
pub struct Placement {
    function: &'static Function,
    nodes: usize,
    place: Box<dyn Place>,
}

impl Placement {
    /// Prepares a function for `nodes` nodes; no nodes are taken for one.
    pub fn new(function: &'static Function, nodes: usize) -> Self {
        let nodes = nodes.max(1);
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

/// The remainder of a big-endian number of any length.
fn remainder(bytes: &[u8], nodes: usize) -> usize {
    let nodes = nodes as u128;
    let rest = bytes.iter().fold(0u128, |rest, byte| ((rest << 8) | u128::from(*byte)) % nodes);
    rest as usize
}

#[derive(Debug)]
struct Simple {
    nodes: usize,
}

impl Place for Simple {
    fn primary(&self, key: &str) -> usize {
        match key.parse::<u128>() {
            Ok(number) => (number % self.nodes as u128) as usize,
            Err(_) => remainder(key.as_bytes(), self.nodes),
        }
    }
}

#[derive(Debug)]
struct Digested {
    nodes: usize,
}

impl Place for Digested {
    fn primary(&self, key: &str) -> usize {
        remainder(&Md5::digest(key.as_bytes()), self.nodes)
    }
}
