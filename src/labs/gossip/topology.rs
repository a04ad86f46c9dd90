//! Who is up and who is linked to whom, as the master has ordered it.

use std::collections::BTreeSet;

/// The servers that are up, and the pairs of servers whose link is cut.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Topology {
    up: BTreeSet<u16>,
    /// The lesser id first.
    broken: BTreeSet<(u16, u16)>,
}

impl Topology {
    /// A server comes up, linked to all others: whatever was cut before is forgotten.
    pub fn join(&mut self, server: u16) {
        self.up.insert(server);
        self.broken.retain(|(low, high)| *low != server && *high != server);
    }

    /// A server is gone.
    pub fn leave(&mut self, server: u16) {
        self.up.remove(&server);
    }

    /// The servers that are up, ascending.
    pub fn up(&self) -> impl Iterator<Item = u16> + '_ {
        self.up.iter().copied()
    }

    /// The link of a pair is cut.
    pub fn cut(&mut self, one: u16, other: u16) {
        self.broken.insert((one.min(other), one.max(other)));
    }

    /// The link of a pair is there again.
    pub fn mend(&mut self, one: u16, other: u16) {
        self.broken.remove(&(one.min(other), one.max(other)));
    }

    fn linked(&self, one: u16, other: u16) -> bool {
        !self.broken.contains(&(one.min(other), one.max(other)))
    }

    /// The servers that are up, taken together where one reaches the other, over others if need be.
    pub fn components(&self) -> Vec<Vec<u16>> {
        let mut left = self.up.clone();
        let mut components = Vec::new();
        while let Some(first) = left.pop_first() {
            let mut component = vec![first];
            let mut looked_at = 0;
            while let Some(one) = component.get(looked_at).copied() {
                let (reached, rest) = left.iter().partition(|other| self.linked(one, **other));
                left = rest;
                component.extend::<BTreeSet<u16>>(reached);
                looked_at += 1;
            }
            component.sort_unstable();
            components.push(component);
        }
        components
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_chain_is_one_component_until_it_is_cut() {
        let mut topology = Topology::default();
        (0..4).for_each(|server| topology.join(server));
        for (one, other) in [(0, 2), (0, 3), (3, 1)] {
            topology.cut(one, other);
        }
        assert_eq!(topology.components(), [vec![0, 1, 2, 3]]);
        topology.cut(2, 1);
        assert_eq!(topology.components(), [vec![0, 1], vec![2, 3]]);
        topology.leave(2);
        assert_eq!(topology.components(), [vec![0, 1], vec![3]]);
        topology.join(2);
        assert_eq!(topology.components(), [vec![0, 1, 2, 3]], "a join mends");
        topology.mend(0, 3);
        topology.leave(2);
        assert_eq!(topology.components(), [vec![0, 1, 3]]);
    }
}
