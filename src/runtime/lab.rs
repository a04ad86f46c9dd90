//! What a replica answers to the gossip lab's commands (`wire/lab.rs`): what it has, waiting until it has more, and,
//! under control, with whom it shall be linked.

use std::time::{Duration, Instant};

use super::ports::Owner;
use super::replica::{Replica, Source};
use crate::base::{ReplicaId, VectorClock};
use crate::protocol::Writes;
use crate::wire::lab;
use crate::wire::request::Failure;

/// How long a link that is wanted may take to come up.
const LINK_PATIENCE: Duration = Duration::from_secs(5);

impl Replica {
    /// That the mode knows of no versions, where it does not.
    pub(super) fn must_know_versions(&self) -> Result<(), Failure> {
        let mode = self.settings.mode;
        if mode.writes == Writes::Merged {
            return Ok(());
        }
        let why = format!(
            "lab.set needs --consistency=session or causal, and these replicas run {}; use SET",
            mode.name
        );
        Err(Failure::Refused(why.into()))
    }

    /// Writes what the replica has, and sees to it that all of that is on its way to the others.
    pub(super) fn answer_clock(&self, out: &mut Vec<u8>) {
        self.tell_kept(Source::Own, 0);
        lab::put_text(out, &self.look(|node, _| node.clock().to_string()));
    }

    /// Waits until the replica has all of `seen`, and writes that, or that the time was too short.
    pub(super) fn answer_await(&self, seen: &VectorClock, within: Duration, out: &mut Vec<u8>) {
        let deadline = Instant::now() + within;
        if self.wait_for_input(deadline, |node| node.clock().covers(seen)) {
            out.extend_from_slice(b"+OK\r\n");
        } else {
            self.look(|node, _| lab::put_behind(out, self.id, &node.clock(), seen));
        }
    }

    /// Writes to whom the replica is linked.
    pub(super) fn answer_links(&self, out: &mut Vec<u8>) {
        let links: Vec<String> =
            self.look(|node, _| node.linked().map(|peer| peer.to_string()).collect());
        lab::put_text(out, &links.join(" "));
    }

    /// Sees to it that there is a link to `peer`, whose broadcast port is at `address`, and waits for it.
    pub(super) fn set_link(&self, peer: ReplicaId, address: &str) -> Result<(), Failure> {
        self.must_be_controlled(peer)?;
        let was_linked = self.link(peer).is_connected();
        if self.gate.open(peer, address) && was_linked {
            // The peer has moved: the link leads to where it was.
            self.cut(peer);
        }
        let linked = |id| id == peer;
        if self.wait_for_input(Instant::now() + LINK_PATIENCE, |node| node.linked().any(linked)) {
            return Ok(());
        }
        let why = if self.stopping() {
            "the replica is stopping".to_owned()
        } else {
            let secs = LINK_PATIENCE.as_secs();
            format!(
                "no link to replica {peer} at {address} within {secs} s; both sides must be told, and the one of \
                 the higher number dials"
            )
        };
        Err(Failure::Refused(why.into()))
    }

    /// Cuts the link to `peer`; there will be none until one is asked for.
    pub(super) fn set_unlinked(&self, peer: ReplicaId) -> Result<(), Failure> {
        self.must_be_controlled(peer)?;
        self.gate.shut(peer);
        self.cut(peer);
        Ok(())
    }

    fn must_be_controlled(&self, peer: ReplicaId) -> Result<(), Failure> {
        let why = if !self.gate.is_controlled() {
            "the links are not to be controlled; start the server with --control".to_owned()
        } else if peer == self.id || peer.0 >= self.settings.replicas {
            let last = self.settings.replicas - 1;
            format!("expected another replica of 0 to {last} than this one, found {peer}")
        } else {
            return Ok(());
        };
        Err(Failure::Refused(why.into()))
    }
}
