//! The router: over which links a write goes on, where not every two replicas are linked.
//!
//! Each replica tells all others whom it is linked to (link-state routing), so all see the same graph, but for news
//! under way. The writes of a replica go along the breadth-first tree from it, with neighbours in the order of their
//! numbers: each replica works out the same tree by itself and sends what it receives to its own children in it. So
//! a write crosses n-1 links in any graph that hangs together, and reaches everyone on a shortest way. Where views
//! differ for a moment a write may miss somebody, who then asks for it ([`super::Gossip`]).
//!
//! Cost: n² steps for each origin after a change of the graph, none otherwise.
//!
//! Source: J. McQuillan, I. Richer, E. Rosen, *The New Routing Algorithm for the ARPANET*, 1980 (link state).

use crate::base::ReplicaId;

/// The graph of links as it is known, and this replica's place in each tree.
#[derive(Clone, Debug)]
pub(super) struct Router {
    me: ReplicaId,
    /// Whom each replica says that it is linked to, a bit each.
    links: Vec<u128>,
    /// This replica's children in the tree of each origin, once worked out.
    children: Vec<Option<Vec<ReplicaId>>>,
}

impl Router {
    /// A graph without links.
    pub fn new(me: ReplicaId, replicas: u16) -> Self {
        let n = usize::from(replicas);
        Self { me, links: vec![0; n], children: vec![None; n] }
    }

    /// Notes what a replica says of its links; whether that is news.
    pub fn note(&mut self, of: ReplicaId, links: u128) -> bool {
        let is_new = std::mem::replace(&mut self.links[of.index()], links) != links;
        if is_new {
            self.children.fill(None);
        }
        is_new
    }

    /// To whom this replica sends what comes from `origin`.
    pub fn children(&mut self, origin: ReplicaId) -> &[ReplicaId] {
        if self.children[origin.index()].is_none() {
            let children = self.work_out(origin);
            self.children[origin.index()] = Some(children);
        }
        self.children[origin.index()].as_deref().unwrap_or_default()
    }

    /// A link is there when both ends say so.
    fn neighbours(&self, of: ReplicaId) -> impl Iterator<Item = ReplicaId> + '_ {
        let ids = (0..self.links.len() as u16).map(ReplicaId);
        ids.filter(move |other| {
            self.links[of.index()] >> other.0 & 1 == 1 && self.links[other.index()] >> of.0 & 1 == 1
        })
    }

    fn work_out(&self, origin: ReplicaId) -> Vec<ReplicaId> {
        let mut children = Vec::new();
        let mut reached = 1u128 << origin.0;
        let mut layer = vec![origin];
        while !layer.is_empty() {
            let mut next = Vec::new();
            for parent in layer {
                for child in self.neighbours(parent).filter(|id| reached >> id.0 & 1 == 0) {
                    if parent == self.me {
                        children.push(child);
                    }
                    next.push(child);
                }
                next.iter().for_each(|id: &ReplicaId| reached |= 1 << id.0);
            }
            layer = next;
        }
        children
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Every replica's router for a graph of these links.
    fn routers(n: u16, links: &[(u16, u16)]) -> Vec<Router> {
        let mut masks = vec![0u128; usize::from(n)];
        for &(a, b) in links {
            masks[usize::from(a)] |= 1 << b;
            masks[usize::from(b)] |= 1 << a;
        }
        let router = |me| {
            let mut router = Router::new(ReplicaId(me), n);
            for of in 0..n {
                router.note(ReplicaId(of), masks[usize::from(of)]);
            }
            router
        };
        (0..n).map(router).collect()
    }

    /// How often each replica gets a write of `origin`.
    fn spread(routers: &mut [Router], origin: u16) -> Vec<usize> {
        let mut got = vec![0; routers.len()];
        let mut under_way = vec![ReplicaId(origin)];
        while let Some(at) = under_way.pop() {
            got[at.index()] += 1;
            assert!(got[at.index()] <= 1, "nobody gets it twice");
            under_way.extend_from_slice(routers[at.index()].children(ReplicaId(origin)));
        }
        got
    }

    #[test]
    fn in_a_full_mesh_the_origin_sends_to_all_and_nobody_sends_on() {
        let mut all = routers(4, &[(0, 1), (0, 2), (0, 3), (1, 2), (1, 3), (2, 3)]);
        assert_eq!(all[1].children(ReplicaId(1)), [0, 2, 3].map(ReplicaId));
        assert_eq!(all[2].children(ReplicaId(1)), []);
    }

    #[test]
    fn a_link_that_one_end_does_not_confirm_is_none() {
        let mut router = Router::new(ReplicaId(0), 2);
        assert!(router.note(ReplicaId(0), 0b10));
        assert_eq!(router.children(ReplicaId(0)), []);
        assert!(router.note(ReplicaId(1), 0b01));
        assert!(!router.note(ReplicaId(1), 0b01), "no news");
        assert_eq!(router.children(ReplicaId(0)), [ReplicaId(1)]);
    }

    proptest! {
        #[test]
        fn in_any_graph_everyone_who_can_be_reached_gets_it_once(
            n in 1u16..12,
            links in proptest::collection::vec((0u16..12, 0u16..12), 0..40),
            origin in 0u16..12,
        ) {
            let origin = origin % n;
            let links: Vec<(u16, u16)> =
                links.into_iter().map(|(a, b)| (a % n, b % n)).filter(|(a, b)| a != b).collect();
            let mut reached = vec![false; usize::from(n)];
            let mut todo = vec![origin];
            while let Some(at) = todo.pop() {
                if !std::mem::replace(&mut reached[usize::from(at)], true) {
                    todo.extend(links.iter().filter(|l| l.0 == at).map(|l| l.1));
                    todo.extend(links.iter().filter(|l| l.1 == at).map(|l| l.0));
                }
            }
            let got = spread(&mut routers(n, &links), origin);
            let expected: Vec<usize> = reached.into_iter().map(usize::from).collect();
            prop_assert_eq!(got, expected);
        }
    }
}
