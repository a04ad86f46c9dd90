//! A cluster of our own for a measurement or an experiment: server processes in folders below one folder, which
//! are killed with it.
//!
//! The processes are those that a user starts (`servers cluster NAME-i`), so what is measured is what users have.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use crate::labs::processes::{self, Launch, ProcessError};

/// How long a server may take until it serves; one with millions of entries reads them first.
const PATIENCE: Duration = Duration::from_secs(60);

/// The line by which a server says that it serves.
const SIGN: &str = "Listening on port ";

/// Why a cluster of our own could not be had.
#[derive(Debug, thiserror::Error)]
pub enum FleetError {
    /// A server did not start or stop.
    #[error(transparent)]
    Process(#[from] ProcessError),
    /// It said something else than its port.
    #[error("expected '{SIGN}PORT' from the server, found {0:?}")]
    NoPort(String),
}

/// Running servers; they are killed when this is dropped.
#[derive(Debug)]
pub struct Fleet {
    members: Vec<Member>,
}

#[derive(Debug)]
struct Member {
    launch: Launch,
    address: String,
}

impl Fleet {
    /// Starts `count` servers, each with a folder of its own below `folder`.
    ///
    /// # Errors
    /// One does not start; those that have are killed.
    pub fn start(
        program: &Path,
        name: &str,
        count: usize,
        folder: &Path,
    ) -> Result<Self, FleetError> {
        let mut fleet = Self { members: Vec::with_capacity(count) };
        for number in 0..count {
            let own = folder.join(format!("{name}-{number}"));
            let mut arguments = vec!["cluster".into(), format!("{name}-{number}").into()];
            arguments.extend(["--dir".into(), own.join("data").into_os_string()]);
            arguments.extend(["--port".into(), "0".into()]);
            let launch = Launch {
                program: program.to_owned(),
                arguments,
                log: own.join("log"),
                run_file: own.join("run"),
                sign: SIGN,
                patience: PATIENCE,
            };
            fleet.members.push(Member { launch, address: String::new() });
            fleet.start_again(number)?;
        }
        Ok(fleet)
    }

    /// Where the servers listen, in order.
    pub fn addresses(&self) -> Vec<String> {
        self.members.iter().map(|member| member.address.clone()).collect()
    }

    /// The folder that a server keeps its files in.
    pub fn data(&self, number: usize) -> Option<PathBuf> {
        let run_file = &self.members.get(number)?.launch.run_file;
        Some(run_file.with_file_name("data"))
    }

    /// The processes of those that run.
    pub fn processes(&self) -> Vec<u32> {
        let pid = |member: &Member| processes::holder(&member.launch.run_file)?.try_into().ok();
        self.members.iter().filter_map(pid).collect()
    }

    /// Kills a server, at once and without warning.
    ///
    /// # Errors
    /// It does not end.
    pub fn kill(&self, number: usize) -> Result<(), FleetError> {
        if let Some(member) = self.members.get(number) {
            processes::kill(&member.launch.run_file)?;
        }
        Ok(())
    }

    /// Starts a server that was killed, on the port that it had, and says how long it took until it served.
    ///
    /// # Errors
    /// It does not start.
    pub fn start_again(&mut self, number: usize) -> Result<Duration, FleetError> {
        let Some(member) = self.members.get_mut(number) else { return Ok(Duration::ZERO) };
        let begun = Instant::now();
        let line = member.launch.start()?;
        let took = begun.elapsed();
        let port = line.strip_prefix(SIGN).map(str::trim);
        let Some(port) = port.and_then(|port| port.parse::<u16>().ok()) else {
            return Err(FleetError::NoPort(line));
        };
        member.address = format!("127.0.0.1:{port}");
        if let Some(last) = member.launch.arguments.last_mut() {
            *last = port.to_string().into();
        }
        Ok(took)
    }
}

impl Drop for Fleet {
    fn drop(&mut self) {
        for member in &self.members {
            // One that cannot be killed has said so already; there is nobody left to tell.
            let _ = processes::kill(&member.launch.run_file);
        }
    }
}
