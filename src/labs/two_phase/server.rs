//! The ultimate version: servers without a coordinator.
//!
//! Every server is a replica of the replicas lab that speaks the simplified RESP. Clients and the other servers
//! come to one and the same address; a connection's first byte says which of them it is. The servers number
//! themselves: all addresses, sorted as text, so that every server gives each the same number. What is sorted
//! travels as a digest with every greeting, so that servers whose files name different addresses refuse each
//! other with a line that says so, and do not mix up who is who. (So an address is the same text in every file:
//! `0.0.0.0:8001` here and `10.0.0.1:8001` there are two.)
//!
//! A request has at most 512 MiB in all, and so has what one server tells another of it; a key has at most
//! 1 MiB. What is larger, refused, or not decided in time is answered with `-ERROR`.
//!
//! Without `--data` the store is a temporary folder, removed when the server stops. What a killed one leaves there
//! is removed by the next server on the machine. So a server that was killed comes back empty, and its peers
//! must bring it up to date.

use std::fs::{self, File};
use std::io::Write;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use md5::{Digest, Md5};
use rustix::process::{Pid, geteuid, test_kill_process};
use tempfile::TempDir;

use super::{Address, Stop, TwoPhaseError};
use crate::base::limits::HIGHEST_MAX_VALUE;
use crate::base::{Limits, ReplicaId};
use crate::protocol;
use crate::runtime::{Host, Notice, Place, Settings, StartError, SyncPolicy};
use crate::wire::Tongue;

/// The consistency mode that the servers run in.
pub const MODE: &str = "sequential";

/// How the names of temporary stores begin; the process's number follows.
const TEMPORARY: &str = "kvstore2pcsystem-";

/// Who is who: all addresses, sorted as text.
struct Servers {
    addresses: Vec<String>,
    me: ReplicaId,
}

impl Servers {
    fn new(listen: &Address, peers: &[Address]) -> Self {
        let own = listen.to_string();
        let mut addresses: Vec<String> = peers.iter().map(ToString::to_string).collect();
        addresses.push(own.clone());
        addresses.sort_unstable();
        let me = addresses.iter().position(|address| *address == own).unwrap_or_default();
        // The configuration file names at most 128.
        Self { me: ReplicaId(u16::try_from(me).unwrap_or(u16::MAX)), addresses }
    }

    /// What only servers say to each other whose files name the same addresses.
    fn digest(&self) -> String {
        let hash = Md5::digest(self.addresses.join(" "));
        let start: String = hash.iter().take(8).map(|byte| format!("{byte:02x}")).collect();
        format!("addresses {start}")
    }

    fn settings(&self, durable: bool) -> Result<Settings, TwoPhaseError> {
        let mode = protocol::mode(MODE).ok_or(StartError::NotBuilt(MODE))?;
        Ok(Settings {
            replicas: u16::try_from(self.addresses.len()).unwrap_or(u16::MAX),
            // Where nothing is to survive the machine, nothing waits for the disk.
            sync: if durable { SyncPolicy::Always } else { SyncPolicy::Os },
            limits: Limits { max_value: HIGHEST_MAX_VALUE },
            broadcast_addresses: self.addresses.clone(),
            tongue: Tongue::Simple,
            cluster: self.digest(),
            ..Settings::new(mode)
        })
    }
}

/// Runs one server; see [`super::run`].
pub(super) fn run(
    listen: &Address,
    peers: &[Address],
    data: Option<&Path>,
    out: &mut impl Write,
    on_start: impl FnOnce(Stop),
) -> Result<(), TwoPhaseError> {
    let servers = Servers::new(listen, peers);
    let temporary = data.is_none().then(temporary_folder).transpose()?;
    let folder = data.or(temporary.as_ref().map(TempDir::path)).unwrap_or(Path::new("."));
    let place = Place {
        id: servers.me,
        host: listen.host.clone(),
        client_port: listen.port,
        broadcast_port: listen.port,
        folder: folder.to_owned(),
    };
    let mut host = Host::start(servers.settings(data.is_some())?, &[place])?;
    let notify = host.notifier();
    // If the host is gone already, there is nothing left to stop.
    on_start(Box::new(move || drop(notify.send(Notice::Stop))));
    let said = announce(out, listen, &servers, data);
    if said.is_err() {
        host.stop();
        return Ok(said?);
    }
    match host.wait() {
        Notice::Stop => {
            host.stop();
            Ok(())
        }
        // It has been stopped already.
        Notice::Failed(_, why) => Err(TwoPhaseError::Failed(why)),
    }
}

fn announce(
    out: &mut impl Write,
    listen: &Address,
    servers: &Servers,
    data: Option<&Path>,
) -> std::io::Result<()> {
    let (me, all) = (servers.me, servers.addresses.len());
    let store = data.map_or("in a temporary folder".into(), Path::to_string_lossy);
    writeln!(out, "server: clients and peers {listen}, replica {me} of {all}, data {store}")?;
    writeln!(out, "ready")?;
    out.flush()
}

/// A folder that goes when it is dropped. What earlier processes could not take away goes first.
fn temporary_folder() -> Result<TempDir, TwoPhaseError> {
    let path = std::env::temp_dir();
    for entry in fs::read_dir(&path).into_iter().flatten().flatten() {
        if entry.file_name().to_str().is_some_and(is_left_over) && is_abandoned(&entry.path()) {
            // What cannot be removed is in nobody's way.
            let _ = fs::remove_dir_all(entry.path());
        }
    }
    tempfile::Builder::new()
        .prefix(&format!("{TEMPORARY}{}-", std::process::id()))
        .tempdir_in(&path)
        .map_err(|source| TwoPhaseError::Folder { path, source })
}

/// Whether the name is that of a temporary store whose process is gone.
fn is_left_over(name: &str) -> bool {
    let Some((process, _)) = name.strip_prefix(TEMPORARY).and_then(|rest| rest.split_once('-'))
    else {
        return false;
    };
    let process = process.parse().ok().and_then(Pid::from_raw);
    process.is_some_and(|process| test_kill_process(process) == Err(rustix::io::Errno::SRCH))
}

/// Whether a temporary store is one's own and no one holds its lock: a process of another container has a
/// number that means nothing here.
fn is_abandoned(folder: &Path) -> bool {
    let own = fs::symlink_metadata(folder)
        .is_ok_and(|found| found.is_dir() && found.uid() == geteuid().as_raw());
    own && File::open(folder.join("lock")).is_ok_and(|lock| lock.try_lock().is_ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(text: &str) -> Address {
        Address::parse(text).unwrap_or_else(|| panic!("{text} is an address"))
    }

    #[test]
    fn every_server_gives_each_the_same_number() {
        let all = ["h:9001", "h:10001", "a:1"].map(address);
        let seen: Vec<Servers> = (0..3)
            .map(|own| {
                let mut peers = all.to_vec();
                let own = peers.remove(own);
                Servers::new(&own, &peers)
            })
            .collect();
        for servers in &seen {
            assert_eq!(servers.addresses, ["a:1", "h:10001", "h:9001"]);
            assert_eq!(servers.digest(), seen[0].digest());
        }
        assert_eq!(seen.iter().map(|s| s.me.0).collect::<Vec<_>>(), [2, 1, 0]);
        let fewer = Servers::new(&all[0], &all[1..2]);
        assert_ne!(fewer.digest(), seen[0].digest());
    }

    #[test]
    fn only_the_stores_of_processes_that_are_gone_are_left_over() {
        let own = format!("{TEMPORARY}{}-abc", std::process::id());
        assert!(!is_left_over(&own));
        // No system numbers its processes so high.
        assert!(is_left_over(&format!("{TEMPORARY}2147483647-abc")));
        for name in ["kvstore2pcsystem-", "kvstore2pcsystem-x-y", "other-2147483647-abc"] {
            assert!(!is_left_over(name), "{name}");
        }
    }
}
