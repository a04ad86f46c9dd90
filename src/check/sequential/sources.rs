//! Which write each observation comes from, as far as the values tell.
//!
//! Where just one operation (or only the beginning) can have left what was found, the observation comes
//! from there; where several can, nothing is said, and the search has to find out. What one operation
//! finds may also tell that another, of unknown outcome, did happen: it is *definite* then.

use hashbrown::HashMap;

use super::super::spec::{State, Step};
use super::program::Program;

/// Where an observation comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum From {
    /// It observes nothing, or nothing that has just one possible source.
    Unclear,
    /// What the key held at first.
    Initial,
    /// What this node left.
    Node(u32),
}

/// The sources of a program's observations.
#[derive(Debug)]
pub(super) struct Sources {
    /// By node; for a node of unknown outcome only where it is definite.
    pub(super) from: Vec<From>,
    /// By node: whether it is certain to have happened.
    pub(super) definite: Vec<bool>,
    /// By node of unknown outcome that is definite: a node which proves it.
    pub(super) witness: Vec<Option<u32>>,
    /// Whether each observation has one source: what is not definite can be left out then.
    pub(super) all_clear: bool,
}

/// The first of these nodes found what nobody left: out of thin air. Where it is of unknown outcome, the
/// next one proves that it happened, and so on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct ThinAir(pub(super) Vec<u32>);

type Makers = HashMap<(u32, State), Maker, foldhash::fast::FixedState>;

#[derive(Clone, Copy)]
enum Maker {
    Initial,
    Node(u32),
    Several,
}

impl Sources {
    pub(super) fn of(program: &Program<'_>) -> Result<Self, ThinAir> {
        let makers = makers(program);
        let size = program.nodes.len();
        let mut sources = Self {
            from: vec![From::Unclear; size],
            definite: program.nodes.iter().map(|node| !node.loose).collect(),
            witness: vec![None; size],
            all_clear: true,
        };
        let mut certain: Vec<u32> =
            program.numbers().filter(|number| !program.node(*number).loose).collect();
        while let Some(number) = certain.pop() {
            let node = program.node(number);
            if program.opaque[node.key as usize] || matches!(node.step, Step::Miss(_)) {
                sources.all_clear = false;
                continue;
            }
            let found = match node.step {
                Step::Try { from, .. } => Some(from),
                step => step.found(),
            };
            let Some(state) = found else { continue };
            match makers.get(&(node.key, state)) {
                None => {
                    let witness = |number: &u32| sources.witness[*number as usize];
                    return Err(ThinAir(std::iter::successors(Some(number), witness).collect()));
                }
                Some(Maker::Several) => sources.all_clear = false,
                Some(Maker::Initial) => sources.from[number as usize] = From::Initial,
                Some(Maker::Node(maker)) => {
                    sources.from[number as usize] = From::Node(*maker);
                    if !std::mem::replace(&mut sources.definite[*maker as usize], true) {
                        sources.witness[*maker as usize] = Some(number);
                        certain.push(*maker);
                    }
                }
            }
        }
        Ok(sources)
    }
}

fn makers(program: &Program<'_>) -> Makers {
    let mut makers = Makers::default();
    for key in 0..program.keys as u32 {
        makers.insert((key, program.initial(key)), Maker::Initial);
    }
    for number in program.numbers() {
        let node = program.node(number);
        if let Some(state) = node.step.leaves() {
            makers
                .entry((node.key, state))
                .and_modify(|maker| *maker = Maker::Several)
                .or_insert(Maker::Node(number));
        }
    }
    makers
}
