//! Connections: the coordinator dials each participant, again and again, as in the runtime.
//!
//! Each connection is FIFO by itself. Two of them are not ordered: what an old one still carries may come
//! behind what the next one brings.

use super::world::{Event, World};
use crate::protocol::two_phase::Frame;
use crate::sim::link::{DIAL_TIMEOUT, Link, Payload, REDIAL};
use crate::sim::plan::Delay;
use crate::sim::verdict::Kind;
use crate::wire::two_phase::PREFACE;

/// One direction between the coordinator and a participant.
#[derive(Debug)]
pub(super) struct Wire {
    pub link: Link,
    /// The newest connection that anything was sent on.
    latest: u32,
}

impl Wire {
    pub fn new(seed: u64, number: u64, delay: Delay) -> Self {
        Self { link: Link::new(seed, number, delay), latest: 0 }
    }

    fn send(&mut self, now: u64, session: u32, payload: Payload) -> Option<(u64, Payload)> {
        if session > self.latest {
            self.latest = session;
            self.link.last = 0;
        }
        self.link.send(now, true, session, payload)
    }
}

impl World<'_> {
    /// The link from one node to another, one of which is the coordinator.
    pub fn link_mut(&mut self, from: u16, to: u16) -> &mut Wire {
        let hub = self.hub();
        let (participant, direction) = if from == hub { (to, 0) } else { (from, 1) };
        &mut self.wires[usize::from(participant)][direction]
    }

    /// Puts something on a link.
    pub fn send(&mut self, from: u16, to: u16, session: u32, payload: Payload) {
        let now = self.now;
        if let Some((at, payload)) = self.link_mut(from, to).send(now, session, payload) {
            self.schedule(at, Event::Arrive { from, to, session, payload });
        }
    }

    /// Sends frames.
    pub fn send_frames(&mut self, from: u16, to: u16, session: u32, bytes: Vec<u8>) {
        if bytes.is_empty() {
            return;
        }
        let names = &mut self.names;
        let message = self.recorder.sent(self.now, from, to, || names.labels(&bytes));
        self.send(from, to, session, Payload::Data { bytes, message });
    }

    /// What was held up goes on its way.
    pub fn release(&mut self, from: u16, to: u16) {
        for (session, payload) in self.link_mut(from, to).link.take_held() {
            self.send(from, to, session, payload);
        }
    }

    /// The session that the coordinator has with a participant; 0 is none.
    pub fn session(&mut self, p: u16) -> u32 {
        self.wires[usize::from(p)][0].link.session
    }

    pub fn on_dial(&mut self, to: u16, life: u32) {
        if self.coordinator.life() != Some(life) {
            return;
        }
        let (now, hub) = (self.now, self.hub());
        let link = &mut self.link_mut(hub, to).link;
        if link.dials_at.take_if(|at| *at <= now).is_none() || link.session != 0 {
            return;
        }
        if let Some((_, until)) = link.dialling.filter(|(_, until)| *until > now) {
            return self.dial_at(to, until + REDIAL);
        }
        self.sessions += 1;
        let session = self.sessions;
        self.link_mut(hub, to).link.dialling = Some((session, now + DIAL_TIMEOUT));
        self.send(hub, to, session, Payload::Open(PREFACE.to_vec()));
        self.dial_at(to, now + DIAL_TIMEOUT + REDIAL);
    }

    /// Has the coordinator dial at this time, if that is sooner than it would.
    pub fn dial_at(&mut self, to: u16, at: u64) {
        let Some(life) = self.coordinator.life() else { return };
        let hub = self.hub();
        let link = &mut self.link_mut(hub, to).link;
        if link.dials_at.is_none_or(|planned| at < planned) {
            link.dials_at = Some(at);
            self.schedule(at, Event::Dial { to, life });
        }
    }

    fn is_up(&self, node: u16) -> bool {
        match self.participants.get(usize::from(node)) {
            Some(participant) => participant.running.is_some(),
            None => self.coordinator.running.is_some(),
        }
    }

    pub fn on_arrival(&mut self, from: u16, to: u16, session: u32, payload: Payload) {
        let severed = session <= self.link_mut(from, to).link.severed;
        if severed || !self.is_up(to) {
            if let Payload::Data { message, .. } = payload {
                self.recorder.lost(self.now, from, to, message);
            }
            // The dialler hears that the port is closed, or that the connection broke.
            let dialling = &mut self.link_mut(from, to).link.dialling;
            if dialling.take_if(|(dialled, _)| *dialled == session).is_some() {
                self.dial_at(to, self.now + REDIAL);
            }
            return;
        }
        let hub = self.hub();
        match payload {
            Payload::Open(preface) | Payload::Accept(preface) if preface != PREFACE => {
                self.violate(Kind::Wire, || format!("{from} opens with something else to {to}"));
            }
            Payload::Open(_) => {
                self.send(to, from, session, Payload::Accept(PREFACE.to_vec()));
                self.participants[usize::from(to)].sessions.insert(session);
                self.drive_participant(to, |machine, now| {
                    machine.connected(now, u64::from(session));
                });
            }
            Payload::Accept(_) => {
                let link = &mut self.link_mut(hub, from).link;
                if link.dialling.take_if(|(dialled, _)| *dialled == session).is_none() {
                    return self.send(to, from, session, Payload::Close);
                }
                link.session = session;
                self.recorder.linked(self.now, to, from);
                self.drive_coordinator(|machine, now| machine.connected(now, from));
            }
            Payload::Data { bytes, message } => self.on_data(from, to, session, &bytes, message),
            Payload::Close if to == hub => {
                let link = &mut self.link_mut(hub, from).link;
                let dialled = link.dialling.take_if(|(dialled, _)| *dialled == session).is_some();
                if link.session == session {
                    self.coordinator_loses(from);
                } else if dialled {
                    self.dial_at(from, self.now + REDIAL);
                }
            }
            Payload::Close => self.participant_loses(to, session),
        }
    }

    fn on_data(&mut self, from: u16, to: u16, session: u32, bytes: &[u8], message: u32) {
        let known = match self.participants.get(usize::from(to)) {
            Some(participant) => participant.sessions.contains(&session),
            None => self.session(from) == session,
        };
        if !known {
            self.recorder.lost(self.now, from, to, message);
            return self.send(to, from, session, Payload::Close);
        }
        self.recorder.received(self.now, from, to, message);
        let mut frames = Vec::new();
        let mut rest = bytes;
        while !rest.is_empty() {
            match Frame::decode(rest) {
                Ok(Some((frame, used))) => {
                    frames.push(frame);
                    rest = &rest[used..];
                }
                Ok(None) => {
                    return self.violate(Kind::Wire, || format!("{from} sent half a frame"));
                }
                Err(error) => {
                    return self.violate(Kind::Wire, || format!("{from} sent {error}"));
                }
            }
        }
        if to == self.hub() {
            self.coordinator_receives(from, frames);
        } else {
            self.participant_receives(to, session, frames);
        }
    }

    /// The coordinator finds that its connection to a participant is gone.
    pub fn coordinator_loses(&mut self, p: u16) {
        let hub = self.hub();
        if std::mem::take(&mut self.link_mut(hub, p).link.session) == 0 {
            return;
        }
        self.recorder.unlinked(self.now, hub, p);
        self.drive_coordinator(|machine, now| machine.disconnected(now, p));
        self.dial_at(p, self.now + REDIAL);
    }

    /// A participant finds that a connection is gone.
    pub fn participant_loses(&mut self, p: u16, session: u32) {
        if self.participants[usize::from(p)].sessions.remove(&session) {
            self.recorder.unlinked(self.now, p, self.plan.participants);
            self.drive_participant(p, |machine, now| {
                machine.disconnected(now, u64::from(session));
            });
        }
    }
}
