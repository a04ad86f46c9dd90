//! Connections between replicas: who dials whom, when, and what is done with what arrives.
//!
//! Every pair shares one connection, dialled by the higher number, again and again, as in the runtime.

use super::link::{DIAL_TIMEOUT, Link, Payload, REDIAL};
use super::verdict::Kind;
use super::world::{Event, World};
use crate::base::ReplicaId;
use crate::wire::peer::{self, Frame, Greeting};

impl World<'_> {
    pub fn link_mut(&mut self, from: u16, to: u16) -> &mut Link {
        let at = usize::from(from) * usize::from(self.replicas_count()) + usize::from(to);
        &mut self.links[at]
    }

    pub fn peers(&self, of: u16) -> impl Iterator<Item = u16> + use<> {
        (0..self.replicas_count()).filter(move |peer| *peer != of)
    }

    /// Sends something: counts it, and puts it on its link.
    pub fn send(&mut self, from: u16, to: u16, session: u32, payload: Payload) {
        if let Payload::Data { bytes, .. } = &payload {
            self.sent.count(bytes);
        }
        self.put(from, to, session, payload);
    }

    /// Puts something on a link.
    fn put(&mut self, from: u16, to: u16, session: u32, payload: Payload) {
        let (now, fifo) = (self.now, self.duties.fifo);
        if let Some((at, payload)) = self.link_mut(from, to).send(now, fifo, session, payload) {
            self.schedule(at, Event::Arrive { from, to, session, payload });
        }
    }

    /// What was held up goes on its way.
    pub fn release(&mut self, from: u16, to: u16) {
        for (session, payload) in self.link_mut(from, to).take_held() {
            self.put(from, to, session, payload);
        }
    }

    fn greeting(&self, from: u16, to: u16) -> Vec<u8> {
        let mut bytes = peer::PREFACE.to_vec();
        let greeting = Greeting {
            from: ReplicaId(from),
            to: ReplicaId(to),
            replicas: self.replicas_count(),
            mode: self.mode.name.to_owned(),
        };
        Frame::Greeting(greeting).encode(&mut bytes);
        bytes
    }

    fn is_greeting(&self, bytes: &[u8], from: u16, to: u16) -> bool {
        let Some(rest) = bytes.strip_prefix(peer::PREFACE) else { return false };
        match Frame::decode(rest) {
            Ok(Some((Frame::Greeting(greeting), used))) => {
                used == rest.len()
                    && greeting.from.0 == from
                    && greeting.to.0 == to
                    && greeting.replicas == self.replicas_count()
                    && greeting.mode == self.mode.name
            }
            _ => false,
        }
    }

    pub fn on_dial(&mut self, from: u16, to: u16, life: u32) {
        if self.life(from) != Some(life) || from < to {
            return;
        }
        let now = self.now;
        let link = self.link_mut(from, to);
        if link.dials_at.take_if(|at| *at <= now).is_none() || link.session != 0 {
            return;
        }
        if let Some((_, until)) = link.dialling.filter(|(_, until)| *until > now) {
            return self.dial_at(from, to, until + REDIAL);
        }
        self.sessions += 1;
        let session = self.sessions;
        self.link_mut(from, to).dialling = Some((session, now + DIAL_TIMEOUT));
        let greeting = self.greeting(from, to);
        self.send(from, to, session, Payload::Open(greeting));
        self.dial_at(from, to, now + DIAL_TIMEOUT + REDIAL);
    }

    /// Has a replica dial at this time, if that is sooner than it would.
    pub fn dial_at(&mut self, from: u16, to: u16, at: u64) {
        let Some(life) = self.life(from) else { return };
        let link = self.link_mut(from, to);
        if link.dials_at.is_none_or(|planned| at < planned) {
            link.dials_at = Some(at);
            self.schedule(at, Event::Dial { from, to, life });
        }
    }

    /// Has the one of the two that dials try again soon.
    pub fn redial(&mut self, one: u16, other: u16) {
        self.dial_at(one.max(other), one.min(other), self.now + REDIAL);
    }

    pub fn on_arrival(&mut self, from: u16, to: u16, session: u32, payload: Payload) {
        let severed = session <= self.link_mut(from, to).severed;
        let up = self.life(to).is_some();
        if severed || !up {
            if let Payload::Data { message, .. } = payload {
                self.recorder.lost(self.now, from, to, message);
            }
            // The dialler hears that the port is closed, or that the connection broke.
            let dialling = &mut self.link_mut(from, to).dialling;
            if dialling.take_if(|(dialled, _)| *dialled == session).is_some() {
                self.redial(from, to);
            }
            return;
        }
        match payload {
            Payload::Open(greeting) => {
                if !self.is_greeting(&greeting, from, to) {
                    return self.violate(Kind::Wire, || format!("{from} greets {to} wrongly"));
                }
                self.link_mut(to, from).session = session;
                let back = self.greeting(to, from);
                self.send(to, from, session, Payload::Accept(back));
                self.connected(to, from);
            }
            Payload::Accept(greeting) => {
                let link = self.link_mut(to, from);
                if link.dialling.take_if(|(dialled, _)| *dialled == session).is_none() {
                    return self.send(to, from, session, Payload::Close);
                }
                link.session = session;
                if !self.is_greeting(&greeting, from, to) {
                    return self.violate(Kind::Wire, || format!("{from} greets {to} wrongly"));
                }
                self.connected(to, from);
            }
            Payload::Data { bytes, message } => self.on_data(from, to, session, &bytes, message),
            Payload::Close => {
                let link = self.link_mut(to, from);
                let dialled = link.dialling.take_if(|(dialled, _)| *dialled == session).is_some();
                if link.session == session {
                    self.lose(to, from);
                } else if dialled {
                    self.redial(to, from);
                }
            }
        }
    }

    fn connected(&mut self, at: u16, peer: u16) {
        self.recorder.linked(self.now, at, peer);
        self.drive(at, |node, now| {
            node.disconnected(ReplicaId(peer));
            node.connected(now, ReplicaId(peer));
        });
    }

    fn on_data(&mut self, from: u16, to: u16, session: u32, bytes: &[u8], message: u32) {
        if self.link_mut(to, from).session != session {
            self.recorder.lost(self.now, from, to, message);
            self.send(to, from, session, Payload::Close);
            return;
        }
        self.recorder.received(self.now, from, to, message);
        let mut rest = bytes;
        let mut frames = std::mem::take(&mut self.replicas[usize::from(to)].frames);
        loop {
            match Frame::decode(rest) {
                Ok(Some((frame, used))) => {
                    frames.push(frame);
                    rest = &rest[used..];
                }
                Ok(None) if rest.is_empty() => break,
                Ok(None) => {
                    return self.violate(Kind::Wire, || format!("{from} sent half a frame"));
                }
                Err(error) => {
                    return self.violate(Kind::Wire, || format!("{from} sent {error}"));
                }
            }
        }
        self.drive(to, |node, now| {
            for frame in frames.drain(..) {
                node.receive(now, ReplicaId(from), frame);
            }
        });
        self.replicas[usize::from(to)].frames = frames;
    }

    /// A replica finds that its connection to a peer is gone.
    pub fn lose(&mut self, at: u16, peer: u16) {
        if std::mem::take(&mut self.link_mut(at, peer).session) == 0 {
            return;
        }
        self.recorder.unlinked(self.now, at, peer);
        self.drive(at, |node, _| node.disconnected(ReplicaId(peer)));
        if at > peer {
            self.redial(at, peer);
        }
    }

    /// A replica gives its connection to a peer up.
    pub fn hang_up(&mut self, at: u16, peer: u16) {
        let session = self.link_mut(at, peer).session;
        if session != 0 {
            self.send(at, peer, session, Payload::Close);
            self.lose(at, peer);
        }
    }
}
