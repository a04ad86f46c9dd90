//! How things stand with each replica, as it said last: its clock and its links, a *row* each.
//!
//! Own rows are numbered, so that of two that come over different ways the later is known. A row is told to every
//! neighbour once: at once when links have changed or state was taken over, else when clocks have gathered.

use std::time::Duration;

use super::router::Router;
use super::rules::Rules;
use super::{Effects, GOSSIP, Needs, ReplicaId, VectorClock};
use crate::wire::gossip::{GossipFrame, Row};
use crate::wire::peer::Frame;

/// What is known of a neighbour on the present link.
#[derive(Clone, Debug)]
struct Neighbour {
    /// They have met.
    open: bool,
    /// The latest row of each replica that it was told, or told itself.
    told: Vec<(u64, u64)>,
}

/// Deletions that all have, and what must be everywhere before they are forgotten.
#[derive(Clone, Debug)]
struct Settling {
    by_all: VectorClock,
    until: VectorClock,
}

/// The rows of all replicas.
#[derive(Clone, Debug)]
pub(super) struct Standing {
    me: ReplicaId,
    rows: Vec<Row>,
    neighbours: Vec<Neighbour>,
    /// Links have changed, or state was taken over: it is told at once.
    hurry: bool,
    /// State was taken over: those behind may ask for it at once.
    took_over: bool,
    /// When what has gathered is due.
    due: Option<Duration>,
    settling: Option<Settling>,
}

impl Standing {
    pub fn new(me: ReplicaId, replicas: u16, incarnation: u64, have: VectorClock) -> Self {
        let n = usize::from(replicas);
        let mut rows: Vec<Row> =
            (0..replicas).map(|of| Row { of: ReplicaId(of), ..Row::default() }).collect();
        rows[me.index()] = Row { of: me, incarnation, number: 1, links: 0, have };
        Self {
            me,
            rows,
            neighbours: vec![Neighbour { open: false, told: vec![(0, 0); n] }; n],
            hurry: false,
            took_over: false,
            due: None,
            settling: None,
        }
    }

    pub fn incarnation(&self) -> u64 {
        self.rows[self.me.index()].incarnation
    }

    /// The latest known row of a replica.
    pub fn row(&self, of: ReplicaId) -> &Row {
        &self.rows[of.index()]
    }

    pub fn is_open(&self, peer: ReplicaId) -> bool {
        self.neighbours[peer.index()].open
    }

    /// The neighbours that this replica has met.
    pub fn open(&self) -> impl Iterator<Item = ReplicaId> + '_ {
        (0..self.rows.len() as u16).map(ReplicaId).filter(|id| self.is_open(*id))
    }

    /// The own row as it is now.
    pub fn own_row(&mut self, have: &VectorClock) -> Row {
        let links = self.open().fold(0, |mask, id| mask | 1 << id.0);
        let own = &mut self.rows[self.me.index()];
        if own.links != links || own.have != *have {
            (own.links, own.have, own.number) = (links, have.clone(), own.number + 1);
        }
        own.clone()
    }

    /// A link has come up, and the other side has said how things stand with it.
    pub fn meet(&mut self, peer: ReplicaId, row: Row, fresh: bool, router: &mut Router) {
        let known = &mut self.rows[peer.index()];
        let neighbour = &mut self.neighbours[peer.index()];
        neighbour.open = true;
        neighbour.told.fill((0, 0));
        // It speaks for itself. If others have told something later of it, either that came a shorter way, or it was said
        // in a life whose disk is lost: it is told that, and sees to it that it counts as later.
        if fresh || row.age() > known.age() {
            neighbour.told[peer.index()] = row.age();
            *known = row;
        }
        let links = known.links;
        router.note(peer, links);
        self.note_own_links(router);
    }

    /// A link is lost.
    pub fn part(&mut self, peer: ReplicaId, router: &mut Router) {
        self.neighbours[peer.index()].open = false;
        self.note_own_links(router);
    }

    fn note_own_links(&mut self, router: &mut Router) {
        let links = self.open().fold(0, |mask, id| mask | 1 << id.0);
        router.note(self.me, links);
        self.hurry = true;
    }

    /// A neighbour tells what it knows.
    pub fn hear(&mut self, now: Duration, from: ReplicaId, rows: Vec<Row>, router: &mut Router) {
        for row in rows {
            let told = &mut self.neighbours[from.index()].told[row.of.index()];
            *told = row.age().max(*told);
            let known = &mut self.rows[row.of.index()];
            if row.age() <= known.age() {
                continue;
            }
            if row.of == self.me {
                // Said in an earlier life whose disk is lost; what is said from here on must count as later.
                (known.incarnation, known.number) = (row.incarnation + 1, 1);
                self.hurry = true;
                continue;
            }
            self.due.get_or_insert(now + GOSSIP);
            self.hurry |= router.note(row.of, row.links);
            *known = row;
        }
    }

    /// State was taken over; that is told at once.
    pub fn hurry(&mut self) {
        (self.hurry, self.took_over) = (true, true);
    }

    /// A neighbour that has more than this.
    pub fn who_has_more(&self, have: &VectorClock) -> Option<ReplicaId> {
        self.open().find(|id| !have.covers(&self.row(*id).have))
    }

    /// The own clock has moved; that is told with what else gathers.
    pub fn gather(&mut self, now: Duration) {
        self.due.get_or_insert(now + GOSSIP);
    }

    /// Whether rows are to be told now.
    pub fn is_due(&self, now: Duration) -> bool {
        self.hurry || self.due.is_some_and(|at| at <= now)
    }

    pub fn due_at(&self) -> Option<Duration> {
        self.due
    }

    /// Tells every neighbour the rows that are news to it.
    pub fn tell(&mut self, have: &VectorClock, fx: &mut Effects) {
        self.own_row(have);
        (self.hurry, self.due) = (false, None);
        let settled = std::mem::take(&mut self.took_over);
        let open: Vec<ReplicaId> = self.open().collect();
        for peer in open {
            let told = &mut self.neighbours[peer.index()].told;
            let is_news = |row: &&Row| row.age() > told[row.of.index()];
            let rows: Vec<Row> = self.rows.iter().filter(is_news).cloned().collect();
            if rows.is_empty() {
                continue;
            }
            rows.iter().for_each(|row| told[row.of.index()] = row.age());
            let frame = Frame::Gossip(Box::new(GossipFrame::Rows { rows, settled }));
            // The own clock is an acknowledgement.
            fx.promise(peer, Needs::Everything, &frame);
        }
    }

    /// What all replicas have executed and keep.
    pub fn acknowledged<R: Rules>(&self) -> VectorClock {
        let mut all = self.rows[0].have.clone();
        self.rows[1..].iter().for_each(|row| R::acknowledged(&mut all, &row.have));
        all
    }

    /// Gives the clock of writes such that no older one of the same keys can be under way any more, when that has
    /// become known: everybody has all that anybody had when everybody had these.
    pub fn settled(&mut self, by_all: VectorClock) -> Option<VectorClock> {
        let mut until = VectorClock::new();
        self.rows.iter().for_each(|row| until.merge(&row.have));
        if by_all.covers(&until) {
            self.settling = None;
            return Some(by_all);
        }
        let settling = self.settling.take_if(|settling| by_all.covers(&settling.until));
        if self.settling.is_none() {
            self.settling = Some(Settling { by_all, until });
        }
        settling.map(|settling| settling.by_all)
    }
}
