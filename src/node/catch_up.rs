//! Fetching missed deliveries out of a peer's `storage.txt`.
//!
//! The requester pulls one chunk of whole lines at a time, so one is on the way at most and the source
//! keeps no state. Where the source's file still has every delivery behind the requester's position,
//! the transfer continues the requester's own file; where compaction has merged them, it replaces the
//! whole: a new table grows beside the old one, which goes on answering reads, and a new file beside
//! the old file. When the source compacts in between, the transfer starts over.

use super::{InstallStep, LogWrite, Node};
use crate::base::{Now, ReplicaId};
use crate::protocol::ReplyAt;
use crate::storage::Installed;
use crate::wire::peer::{Chunk, Fetch, Frame, Message};

/// A transfer under way.
#[derive(Clone, Copy, Debug)]
pub(super) struct Transfer {
    source: ReplicaId,
    /// It replaces the whole.
    replacing: bool,
}

impl<T> Node<T> {
    pub(super) fn begin_transfer(&mut self, source: ReplicaId) {
        if self.installing {
            // What is being put in place will move the store; until then nothing can be built on it.
            self.next_source = Some(source);
            return;
        }
        self.transfer = Some(Transfer { source, replacing: false });
        self.fetch(source, 0, 0);
    }

    fn fetch(&mut self, source: ReplicaId, generation: u64, offset: u64) {
        let after = self.store.position();
        self.fx.send(source, &Frame::Fetch(Fetch { generation, offset, after }));
    }

    pub(super) fn on_chunk(
        &mut self,
        now: Now,
        peer: ReplicaId,
        chunk: Chunk,
    ) -> Result<(), String> {
        let Some(transfer) = self.transfer.as_mut().filter(|t| t.source == peer) else {
            return Err("sent a piece of state that was not asked for".to_owned());
        };
        if chunk.first {
            transfer.replacing = chunk.full;
        }
        let replacing = transfer.replacing;
        if replacing {
            if chunk.first {
                self.install_step(InstallStep::Begin);
            }
            self.install_step(InstallStep::Lines(chunk.lines));
        } else {
            self.store
                .absorb(&chunk.lines)
                .map_err(|error| format!("sent state that does not fit: {error}"))?;
        }
        if !chunk.end {
            self.fetch(peer, chunk.generation, chunk.next);
        } else if replacing {
            // The driver answers with `installed`, which ends the transfer.
            let step = self.finish_step();
            self.installing = true;
            self.protocol.installing(true);
            self.install_step(step);
        } else {
            self.transfer = None;
            self.caught_up(now);
        }
        Ok(())
    }

    fn finish_step(&self) -> InstallStep {
        let encoded = |message: &Message| {
            let mut bytes = Vec::new();
            message.encode(&mut bytes);
            (message.ts, bytes)
        };
        let noted = self.mode.reply_at == ReplyAt::Submission;
        let pending = self.protocol.own_pending().filter(|_| noted).map(encoded).collect();
        InstallStep::Finish {
            incarnation: self.store.incarnation(),
            pending,
            own: self.store.last(),
            kept: self.protocol.to_keep(),
        }
    }

    /// The state that came cannot be taken.
    pub fn install_failed(&mut self, why: &str) {
        self.installing = false;
        self.protocol.installing(false);
        if let Some(source) = self.next_source.take() {
            self.begin_transfer(source);
            return;
        }
        if let Some(transfer) = self.transfer.take() {
            self.output.cut.push((transfer.source, format!("sent state that does not fit: {why}")));
            self.links[transfer.source.index()].up = false;
        }
    }

    /// The state that the steps in [`super::Output::log`] have built is in the file: takes it over.
    pub fn installed(&mut self, now: Now, installed: Installed) {
        self.store.install(installed);
        // Also when the source was lost meanwhile: the store has moved, and the protocol must know. It asks
        // again for what is still missing.
        (self.installing, self.next_source, self.transfer) = (false, None, None);
        self.caught_up(now);
    }

    pub(super) fn caught_up(&mut self, now: Now) {
        self.protocol.caught_up(now, self.store.position(), self.store.last(), &mut self.fx);
    }

    /// The source is gone. Whether the store has moved, or may have, by what came from it.
    pub(super) fn abandon_transfer(&mut self, peer: ReplicaId) -> bool {
        self.next_source = self.next_source.filter(|source| *source != peer);
        let Some(transfer) = self.transfer.take_if(|t| t.source == peer) else { return false };
        if transfer.replacing {
            self.install_step(InstallStep::Abandon);
        }
        !transfer.replacing
    }

    /// A step of an installation, in its place among the appended lines.
    fn install_step(&mut self, step: InstallStep) {
        self.take_log();
        self.output.log.push(LogWrite::Install(step));
    }
}
