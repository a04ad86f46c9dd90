//! How a replica serves its clients, as the runtime's sessions do: writes wait until it is live and reads
//! until it is readable, not longer than a bound; what a read shows is on the disk first.

use super::client::{Answer, key_name};
use super::plan::Sync;
use super::verdict::Kind;
use super::world::{Event, World};
use crate::protocol::Reads;

impl World<'_> {
    /// A client's request has come.
    pub fn on_ask(&mut self, request: u32) {
        let asked = self.requests[request as usize].clone();
        let id = asked.replica;
        let Some(running) = self.replicas[usize::from(id)].running.as_mut() else {
            let refused = asked.life.is_none();
            return self.answer(request, if refused { Answer::Refused } else { Answer::Reset });
        };
        if asked.life.is_some_and(|life| life != running.life) {
            return self.answer(request, Answer::Reset);
        }
        let life = running.life;
        self.note_arrival(request, life);
        let asks = asked.write.is_none() && self.asks_for_current();
        let Some(running) = self.replicas[usize::from(id)].running.as_mut() else { return };
        if asks {
            running.confirming.push(request);
            let mut refused = false;
            self.drive(id, |node, _| refused = node.read(request).is_err());
            let until = if refused { 0 } else { self.plan.write_timeout };
            let until = self.now.saturating_add(until);
            return self.schedule(until, Event::Refuse { replica: id, life, request });
        }
        let ready = match asked.write {
            Some(_) => running.node.not_live().is_none(),
            None => running.node.readable() || !self.duties.waits_until_readable,
        };
        if !ready {
            running.waiting.push(request);
            let until = self.now.saturating_add(self.plan.write_timeout);
            return self.schedule(until, Event::Refuse { replica: id, life, request });
        }
        match asked.write {
            Some(_) => self.submit(id, request),
            None => self.read(id, request),
        }
    }

    /// Whether reads wait until the store is known to be current.
    fn asks_for_current(&self) -> bool {
        self.mode.reads == Reads::Current && self.duties.reads_are_current
    }

    fn submit(&mut self, id: u16, request: u32) {
        let op = self.requests[request as usize].op();
        let seen = self.seen_by(request).latest();
        let mut refused = false;
        self.drive(id, |node, now| {
            node.observe(seen);
            refused = node.submit(now, op, false, request).is_err();
        });
        if refused {
            self.answer(request, Answer::Refused);
        }
    }

    pub fn read(&mut self, id: u16, request: u32) {
        let (unix_ms, key) = (self.clocks(id).unix_ms, self.requests[request as usize].key);
        let seen = self.seen_by(request);
        let Some(running) = self.replicas[usize::from(id)].running.as_mut() else { return };
        if self.mode.reads == Reads::Seen && !running.node.clock().covers(&seen) {
            // It says that it is behind.
            return self.answer(request, Answer::Refused);
        }
        let table = running.node.store().table();
        let found = table.get(key_name(key).as_bytes(), unix_ms);
        let shown = found.map_or(table.last_removal(), |found| found.position);
        let source = found.map(|found| self.judge.writer(found.data));
        self.requests[request as usize].version = found.map(|found| found.version);
        let waits =
            self.plan.sync == Sync::Always && self.duties.reads_wait && shown > running.durable;
        // What a majority has agreed upon is on their disks.
        let waits = waits && self.mode.reads != Reads::Current;
        let Some(source) = source.map_or(Some(None), |known| known.map(Some)) else {
            return self.violate(Kind::ThinAir, || {
                format!("replica {id} shows a value of {} that nobody wrote", key_name(key))
            });
        };
        let answer = Answer::Value(source);
        if waits {
            running.deferred.push((0, shown, request, answer));
        }
        self.judge_read(id, key, source);
        if !waits {
            self.answer(request, answer);
        }
    }

    /// Those who wait for a live or readable replica have their turn.
    pub fn on_wake(&mut self, id: u16, life: u32) {
        let Some(running) = self.replicas[usize::from(id)].running.as_mut() else { return };
        if running.life == life {
            for request in std::mem::take(&mut running.waiting) {
                self.on_ask_again(request);
            }
        }
    }

    fn on_ask_again(&mut self, request: u32) {
        let asked = &self.requests[request as usize];
        let (id, is_write) = (asked.replica, asked.write.is_some());
        let Some(running) = self.replicas[usize::from(id)].running.as_mut() else { return };
        let ready =
            if is_write { running.node.not_live().is_none() } else { running.node.readable() };
        match (ready, is_write) {
            (false, _) => running.waiting.push(request),
            (true, true) => self.submit(id, request),
            (true, false) => self.read(id, request),
        }
    }

    pub fn on_refuse(&mut self, id: u16, life: u32, request: u32) {
        let Some(running) = self.replicas[usize::from(id)].running.as_mut() else { return };
        if running.life != life {
            return;
        }
        let before = running.waiting.len() + running.confirming.len();
        running.waiting.retain(|waits| *waits != request);
        running.confirming.retain(|waits| *waits != request);
        if running.waiting.len() + running.confirming.len() < before {
            self.answer(request, Answer::Refused);
        }
    }
}
