//! The replicas lab: where each replica lives, and running those that this process hosts.

use std::collections::BTreeSet;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::Deserialize;
use thiserror::Error;

use crate::base::ReplicaId;
use crate::base::limits::MAX_REPLICAS;
use crate::runtime::{
    BeginError, Deliveries, Host, InitialValue, Notice, Place, RecordError, Recorder, Settings,
    StartError,
};

/// Where one replica lives, as in a cluster file.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Member {
    /// Its number, from 0.
    pub id: u16,
    /// Its host, by name or address.
    pub host: String,
    /// Its client port.
    pub client_port: u16,
    /// Its broadcast port.
    pub broadcast_port: u16,
}

/// A cluster file: one `[[replica]]` table a replica.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
struct ClusterFile {
    replica: Vec<Member>,
}

/// Why a cluster cannot be described or run.
#[derive(Debug, Error)]
pub enum LabError {
    /// The cluster file cannot be read.
    #[error("cannot read the cluster file {}", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The cluster file is not TOML, or not of the expected shape.
    #[error(
        "{}:{line}: {message} (expected [[replica]] tables with id, host, client_port and broadcast_port)",
        path.display()
    )]
    Malformed {
        /// The file.
        path: PathBuf,
        /// The line, from 1.
        line: usize,
        /// What is wrong there.
        message: String,
    },
    /// The replicas are not numbered 0 to n-1.
    #[error("{}: expected the ids 0 to {} once each, found {found}", path.display(), expected - 1)]
    Ids {
        /// The file.
        path: PathBuf,
        /// How many replicas the file names.
        expected: usize,
        /// The ids it gives them.
        found: String,
    },
    /// There are no replicas, or too many.
    #[error("expected 1 to {MAX_REPLICAS} replicas, found {0}")]
    Count(usize),
    /// A port number beyond 65535.
    #[error("the ports of {replicas} replicas from {first} on go beyond 65535")]
    Ports {
        /// How many replicas.
        replicas: u16,
        /// The port of the first.
        first: u16,
    },
    /// `--only` names a replica that the cluster does not have.
    #[error("expected --only to be 0 to {last}, found {found}")]
    Only {
        /// The last replica.
        last: usize,
        /// What was given.
        found: u16,
    },
    /// Port 0 with `--only`: the other processes could not know the port.
    #[error(
        "--only with a broadcast port 0: the replicas could not find each other; name the ports"
    )]
    UnknownPort,
    /// The replicas do not start.
    #[error(transparent)]
    Start(#[from] StartError),
    /// The replicas, all of them in this process, do not come together.
    #[error("the replicas have not found each other in time")]
    NotLive,
    /// The initial values cannot be written.
    #[error("cannot write the initial values: {0}")]
    Init(String),
    /// A history of one replica of several: the file would miss what clients do elsewhere.
    #[error(
        "--history with --only: a history needs all replicas in one process, because it would miss what \
         the clients of the others do; record at the clients instead (lab bench, lab client)"
    )]
    PartOfHistory,
    /// The recording of the history cannot begin.
    #[error(transparent)]
    BeginHistory(#[from] BeginError),
    /// The history is not whole.
    #[error(transparent)]
    History(#[from] RecordError),
    /// Standard output cannot be written.
    #[error("cannot write to standard output")]
    Output(#[from] io::Error),
    /// All replicas of this process have failed.
    #[error("no replica is left in this process: {0}")]
    AllFailed(String),
}

/// The members of a cluster on one host, on consecutive ports (or on ports of the system's choice for 0).
///
/// # Errors
/// Too many replicas, or ports beyond the last.
pub fn members_on(
    host: &str,
    replicas: u16,
    client_port: u16,
    broadcast_port: u16,
) -> Result<Vec<Member>, LabError> {
    if replicas == 0 || replicas > MAX_REPLICAS {
        return Err(LabError::Count(replicas.into()));
    }
    let port = |first: u16, id: u16| match first {
        0 => Ok(0),
        _ => first.checked_add(id).ok_or(LabError::Ports { replicas, first }),
    };
    (0..replicas)
        .map(|id| {
            Ok(Member {
                id,
                host: host.to_owned(),
                client_port: port(client_port, id)?,
                broadcast_port: port(broadcast_port, id)?,
            })
        })
        .collect()
}

/// The members that a cluster file names, by id.
///
/// # Errors
/// A file that cannot be read or is malformed; the message names file and line.
pub fn members_from(path: &Path) -> Result<Vec<Member>, LabError> {
    let text = std::fs::read_to_string(path)
        .map_err(|source| LabError::Unreadable { path: path.to_owned(), source })?;
    let file: ClusterFile = toml::from_str(&text).map_err(|error| {
        let start = error.span().map_or(0, |span| span.start).min(text.len());
        LabError::Malformed {
            path: path.to_owned(),
            line: 1 + text.as_bytes()[..start].iter().filter(|b| **b == b'\n').count(),
            message: error.message().replace('\n', " "),
        }
    })?;
    let mut members = file.replica;
    if members.is_empty() || members.len() > usize::from(MAX_REPLICAS) {
        return Err(LabError::Count(members.len()));
    }
    let ids: BTreeSet<u16> = members.iter().map(|m| m.id).collect();
    if ids.len() != members.len() || ids.iter().zip(0..).any(|(id, expected)| *id != expected) {
        let found: Vec<String> = members.iter().map(|m| m.id.to_string()).collect();
        let (expected, found) = (members.len(), found.join(", "));
        return Err(LabError::Ids { path: path.to_owned(), expected, found });
    }
    members.sort_by_key(|m| m.id);
    Ok(members)
}

/// What `servers` runs.
#[derive(Clone, Debug)]
pub struct Lab {
    /// All replicas of the cluster.
    pub members: Vec<Member>,
    /// The one to host; all of them if `None`.
    pub only: Option<u16>,
    /// The folder that has a folder for each replica.
    pub data: PathBuf,
    /// Values to write where there is no such key.
    pub init: Vec<InitialValue>,
    /// The file to record a history in, and which deliveries to record.
    pub history: Option<(PathBuf, Deliveries)>,
    /// What the replicas run with; the addresses of peers are filled in from `members`, and the recorder from
    /// `history`.
    pub settings: Settings,
}

impl Lab {
    /// Starts the replicas that this process hosts, and waits until they are usable: live and with their
    /// initial values where it hosts all of them, and listening where others run elsewhere.
    ///
    /// # Errors
    /// Whatever prevents the start; nothing is served then.
    pub fn start(mut self) -> Result<Host, LabError> {
        self.open_history()?;
        let hosted: Vec<&Member> = match self.only {
            None => self.members.iter().collect(),
            Some(id) => {
                let last = self.members.len() - 1;
                let member = self.members.get(usize::from(id));
                let member = member.ok_or(LabError::Only { last, found: id })?;
                // Neither could this one find the others, nor they it, unless they are told.
                if !self.settings.control
                    && self.members.len() > 1
                    && self.members.iter().any(|m| m.broadcast_port == 0)
                {
                    return Err(LabError::UnknownPort);
                }
                vec![member]
            }
        };
        let places: Vec<Place> = hosted
            .iter()
            .map(|member| Place {
                id: ReplicaId(member.id),
                host: member.host.clone(),
                client_port: member.client_port,
                broadcast_port: member.broadcast_port,
                folder: self.data.join(member.id.to_string()),
            })
            .collect();
        self.settings.broadcast_addresses =
            self.members.iter().map(|m| format!("{}:{}", m.host, m.broadcast_port)).collect();
        let timeout = self.settings.write_timeout.max(Duration::from_secs(5));
        let history = self.settings.history.clone();
        let host = Host::start(self.settings, &places)?;
        if self.only.is_some() && self.members.len() > 1 {
            host.init_when_live(self.init);
            return Ok(host);
        }
        let ready = if host.wait_live(timeout) {
            host.init(&self.init).map_err(LabError::Init)
        } else {
            Err(LabError::NotLive)
        };
        match (ready, host.failure()) {
            // What failed first is what there is to say.
            (Err(_), Some(why)) => return Err(LabError::AllFailed(why)),
            (ready, _) => ready?,
        }
        if let Some(recorder) = history {
            host.begin_history(&recorder)?;
        }
        Ok(host)
    }

    fn open_history(&mut self) -> Result<(), LabError> {
        let (Some((path, deliveries)), None) = (&self.history, &self.settings.history) else {
            return Ok(());
        };
        if self.only.is_some() && self.members.len() > 1 {
            return Err(LabError::PartOfHistory);
        }
        self.settings.history = Some(Recorder::open(path, *deliveries)?);
        Ok(())
    }

    /// Starts, says where on `out` (one line a replica, then `ready`), and serves until it is told to stop.
    ///
    /// `on_start` is given the way to tell it.
    ///
    /// # Errors
    /// Whatever prevents the start, or the failure of the last replica.
    pub fn run(
        mut self,
        out: &mut impl Write,
        on_start: impl FnOnce(crossbeam_channel::Sender<Notice>),
    ) -> Result<(), LabError> {
        self.open_history()?;
        let history = self.settings.history.clone();
        let mut host = self.start()?;
        on_start(host.notifier());
        for a in host.addresses() {
            let (clients, broadcast, storage) = (a.clients, a.broadcast, a.storage.display());
            writeln!(
                out,
                "replica {}: clients {clients}, broadcast {broadcast}, storage {storage}",
                a.id
            )?;
        }
        writeln!(out, "ready")?;
        out.flush()?;
        let ended = loop {
            match host.wait() {
                Notice::Stop => {
                    host.stop();
                    break Ok(());
                }
                Notice::Failed(_, why) if host.is_empty() => break Err(LabError::AllFailed(why)),
                Notice::Failed(..) => {}
            }
        };
        let recorded = history.map_or(Ok(()), |recorder| recorder.finish());
        ended.and(recorded.map_err(LabError::History))
    }
}
