//! Real replicas in this process, each with a host of its own, and a relay between each two: so each can be stopped and
//! started again, and each link can fail.

use std::collections::BTreeMap;
use std::io;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::CompareError;
use super::relay::{Relay, Way};
use super::scenario::{PATIENCE, REPLICA_PATIENCE, Settings};
use crate::base::ReplicaId;
use crate::client::{Client, ClientError, Options, Protocol};
use crate::faults::Fault;
use crate::protocol::Mode;
use crate::runtime::{self, Host, Place, SyncPolicy};
use crate::sim::Sync;
use crate::wire::traffic::Traffic;

/// How long the replicas may take to find each other.
const FIND_EACH_OTHER: Duration = Duration::from_secs(15);

/// The replicas.
pub(super) struct Cluster {
    mode: &'static Mode,
    replicas: u16,
    sync: SyncPolicy,
    /// By the pair of numbers, the higher one first.
    relays: BTreeMap<(u16, u16), Relay>,
    hosts: Mutex<Vec<Option<Host>>>,
    /// Where the clients of each go.
    doors: Mutex<Vec<String>>,
    folder: tempfile::TempDir,
}

impl Cluster {
    /// Starts all of them, and waits until they take writes.
    pub fn start(mode: &'static Mode, settings: &Settings) -> Result<Self, CompareError> {
        let n = settings.replicas;
        let folder = tempfile::Builder::new().prefix("consistency-lab-").tempdir();
        let mut relays = BTreeMap::new();
        for pair in (0..n).flat_map(|high| (0..high).map(move |low| (high, low))) {
            relays.insert(pair, Relay::open().map_err(system("open a port"))?);
        }
        let cluster = Self {
            mode,
            replicas: n,
            sync: match settings.sync {
                Sync::Always => SyncPolicy::Always,
                Sync::Batch => SyncPolicy::Batch,
                Sync::Os => SyncPolicy::Os,
            },
            relays,
            hosts: Mutex::new((0..n).map(|_| None).collect()),
            doors: Mutex::new(vec![String::new(); usize::from(n)]),
            folder: folder.map_err(system("make a temporary folder"))?,
        };
        (0..n).try_for_each(|id| cluster.start_one(id))?;
        let hosts = cluster.hosts();
        let live = hosts.iter().flatten().all(|host| host.wait_live(FIND_EACH_OTHER));
        drop(hosts);
        if live { Ok(cluster) } else { Err(CompareError::NotLive(mode.name)) }
    }

    fn hosts(&self) -> MutexGuard<'_, Vec<Option<Host>>> {
        self.hosts.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Starts a replica that does not run.
    pub fn start_one(&self, id: u16) -> Result<(), CompareError> {
        let mut hosts = self.hosts();
        let slot = &mut hosts[usize::from(id)];
        if slot.is_some() {
            return Ok(());
        }
        let through = |peer: u16| {
            // Only those of lower number are dialled.
            let relay = self.relays.get(&(id, peer));
            relay.map_or(String::new(), |relay| relay.address.to_string())
        };
        let settings = runtime::Settings {
            replicas: self.replicas,
            sync: self.sync,
            write_timeout: Duration::from_nanos(REPLICA_PATIENCE),
            broadcast_addresses: (0..self.replicas).map(through).collect(),
            ..runtime::Settings::new(self.mode)
        };
        let place = Place {
            id: ReplicaId(id),
            host: "127.0.0.1".to_owned(),
            client_port: 0,
            broadcast_port: 0,
            folder: self.folder.path().join(id.to_string()),
        };
        let host = Host::start(settings, &[place])?;
        for address in host.addresses() {
            let above = self.relays.iter().filter(|((_, low), _)| *low == id);
            above.for_each(|(_, relay)| relay.lead_to(address.broadcast));
            let mut doors = self.doors.lock().unwrap_or_else(PoisonError::into_inner);
            doors[usize::from(id)] = address.clients.to_string();
        }
        *slot = Some(host);
        Ok(())
    }

    /// Stops a replica: its clients and peers find their connections broken.
    fn stop_one(&self, id: u16) {
        let host = self.hosts()[usize::from(id)].take();
        if let Some(host) = host {
            host.stop();
        }
    }

    /// A connection to a replica, as a client has it.
    pub fn connect(&self, id: u16) -> Result<Client, ClientError> {
        let door = {
            let doors = self.doors.lock().unwrap_or_else(PoisonError::into_inner);
            doors[usize::from(id)].clone()
        };
        let patience = Duration::from_nanos(PATIENCE);
        let options = Options { connect_timeout: patience, timeout: patience };
        Client::connect(&door, Protocol::Memcached, options)
    }

    /// What the replicas have sent each other.
    pub fn passed(&self) -> Traffic {
        self.relays.values().map(Relay::passed).fold(Traffic::default(), |all, one| Traffic {
            messages: all.messages + one.messages,
            bytes: all.bytes + one.bytes,
        })
    }

    /// The relay that carries what goes from one to the other, and which way that is.
    fn link(&self, from: u16, to: u16) -> Option<(&Relay, Way)> {
        let pair = (from.max(to), from.min(to));
        let way = if from > to { Way::Down } else { Way::Up };
        self.relays.get(&pair).map(|relay| (relay, way))
    }

    /// Has a fault begin.
    pub fn begin(&self, fault: &Fault) {
        match fault {
            Fault::Crash { replica, .. } => self.stop_one(*replica),
            Fault::Cut { a, b } => {
                if let Some((relay, _)) = self.link(*a, *b) {
                    relay.cut();
                }
            }
            _ => self.set(fault, true),
        }
    }

    /// Has a fault end.
    pub fn end(&self, fault: &Fault) -> Result<(), CompareError> {
        match fault {
            Fault::Crash { replica, .. } => self.start_one(*replica)?,
            _ => self.set(fault, false),
        }
        Ok(())
    }

    fn set(&self, fault: &Fault, on: bool) {
        for (from, to) in self.pairs() {
            let Some((relay, way)) = self.link(from, to) else { continue };
            match fault {
                Fault::Partition { side, .. } if side.contains(&from) != side.contains(&to) => {
                    relay.block(way, on);
                }
                Fault::OneWay { from: sources, to: targets, .. }
                    if sources.contains(&from) && targets.contains(&to) =>
                {
                    relay.block(way, on);
                }
                Fault::SlowLink { from: source, to: target, by, .. }
                    if (from, to) == (*source, *target) =>
                {
                    relay.slow(way, Duration::from_nanos(if on { *by } else { 0 }));
                }
                _ => {}
            }
        }
    }

    fn pairs(&self) -> impl Iterator<Item = (u16, u16)> {
        let n = self.replicas;
        (0..n).flat_map(move |from| (0..n).map(move |to| (from, to))).filter(|(a, b)| a != b)
    }

    /// Stops everything.
    pub fn stop(self) {
        for id in 0..self.replicas {
            self.stop_one(id);
        }
    }
}

/// What the system refused.
pub(super) fn system(action: &'static str) -> impl Fn(io::Error) -> CompareError {
    move |source| CompareError::System { action, source }
}
