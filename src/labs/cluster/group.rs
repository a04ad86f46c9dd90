//! A group of servers in the background, by its name: `NAME-0` to `NAME-(N-1)`, each a process with a folder of
//! its own.
//!
//! ```text
//! ROOT/catalog.log, catalog.run      a catalog, where none was there
//! ROOT/NAME/0/                       table.txn and table.ckpt of NAME-0
//! ROOT/NAME/logs/NAME-0              what it says
//! ROOT/NAME/run/NAME-0               its run file (see labs/processes.rs)
//! ```
//! Starting again what was stopped brings the data back. The ports are new at every start: clients find them in
//! the catalog.

use std::fs;
use std::io;
use std::net::{SocketAddr, ToSocketAddrs};
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use crate::client::catalog::Catalog;
use crate::client::cluster::{KIND, MAX_SERVERS};
use crate::labs::processes::{self, Launch, ProcessError};

/// How long a server may take to read its tables.
const PATIENCE: Duration = Duration::from_secs(60);

/// How long a server may take to write down what it has.
const STOP_PATIENCE: Duration = Duration::from_secs(5);

/// How long a catalog may take to hear of the servers.
const LISTED: Duration = Duration::from_secs(5);

/// How many servers are started at a time.
const AT_ONCE: usize = 16;

/// Why a group cannot be dealt with.
#[derive(Debug, thiserror::Error)]
pub enum GroupError {
    /// A server cannot be started or stopped.
    #[error("{server}: {source}")]
    Server {
        /// Its name.
        server: String,
        /// Why.
        source: ProcessError,
    },
    /// Nothing of that name has ever been started here.
    #[error("there is no group {name} below {}; lab cluster start {name} N starts one", root.display())]
    NoGroup {
        /// The name.
        name: String,
        /// Where it was looked for.
        root: PathBuf,
    },
    /// A folder cannot be read.
    #[error("cannot read {}: {source}", path.display())]
    Unreadable {
        /// The folder.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
}

/// Where groups live, and the catalog that they use.
#[derive(Clone, Debug)]
pub struct Groups {
    /// The folder of all groups.
    pub root: PathBuf,
    /// The catalog's `HOST:PORT`.
    pub catalog: String,
}

/// A server that has been started, or was there.
#[derive(Clone, Debug)]
pub struct Started {
    /// Its name.
    pub name: String,
    /// Its process.
    pub pid: Option<i32>,
    /// The line by which it says that it serves; `None` where it was running already.
    pub line: Option<String>,
    /// Where it writes what happens.
    pub log: PathBuf,
}

/// What there is of a server.
#[derive(Clone, Debug)]
pub struct Member {
    /// Its name.
    pub name: String,
    /// Its process, where it runs.
    pub pid: Option<i32>,
}

impl Groups {
    fn folder(&self, name: &str) -> PathBuf {
        self.root.join(name)
    }

    fn run_file(&self, group: &str, server: &str) -> PathBuf {
        self.folder(group).join("run").join(server)
    }

    fn catalog_run_file(&self) -> PathBuf {
        self.root.join("catalog.run")
    }

    /// Starts what does not run of servers 0 to `count` - 1.
    ///
    /// # Errors
    /// The first server that cannot be started; those that could be go on.
    pub fn start(
        &self,
        name: &str,
        count: usize,
        more: &[String],
    ) -> Result<Vec<Started>, GroupError> {
        let indices: Vec<usize> = (0..count.min(MAX_SERVERS)).collect();
        let mut all = Vec::with_capacity(count);
        for some in indices.chunks(AT_ONCE) {
            let started: Vec<_> = thread::scope(|scope| {
                let begin = |index: &usize| {
                    let index = *index;
                    scope.spawn(move || self.start_one(name, index, more))
                };
                let threads: Vec<_> = some.iter().map(begin).collect();
                threads.into_iter().map(|thread| thread.join()).collect()
            });
            for one in started {
                // A thread that panicked has said so, and takes this one along.
                all.push(one.unwrap_or_else(|panic| std::panic::resume_unwind(panic))?);
            }
        }
        Ok(all)
    }

    fn start_one(&self, group: &str, index: usize, more: &[String]) -> Result<Started, GroupError> {
        let name = format!("{group}-{index}");
        let failed = |source| GroupError::Server { server: name.clone(), source };
        let folder = self.folder(group);
        let (run_file, log) = (self.run_file(group, &name), folder.join("logs").join(&name));
        let mut arguments = vec!["cluster".into(), name.clone().into(), "--dir".into()];
        arguments.push(folder.join(index.to_string()).into_os_string());
        arguments.extend(["--catalog".into(), self.catalog.clone().into()]);
        arguments.extend(more.iter().map(Into::into));
        let program = processes::program("servers").map_err(failed)?;
        let sign = "Listening on port";
        let launch = Launch { program, arguments, log, run_file, sign, patience: PATIENCE };
        let line = match launch.start() {
            Ok(line) => Some(line),
            Err(ProcessError::Running { .. }) => None,
            Err(error) => return Err(failed(error)),
        };
        let pid = processes::holder(&launch.run_file);
        Ok(Started { name, pid, line, log: launch.log })
    }

    /// Starts a catalog where none answers and one on this host would; gives whether it did.
    ///
    /// # Errors
    /// It cannot be started.
    pub fn start_catalog(&self) -> Result<bool, GroupError> {
        let failed = |source| GroupError::Server { server: "catalog".to_owned(), source };
        let Some((host, port)) = self.catalog.rsplit_once(':') else { return Ok(false) };
        if !is_loopback(&self.catalog) || Catalog::new(&self.catalog).query().is_ok() {
            return Ok(false);
        }
        let host = host.trim_start_matches('[').trim_end_matches(']');
        let launch = Launch {
            program: processes::program("servers").map_err(failed)?,
            arguments: ["catalog", "--host", host, "--port", port].map(Into::into).into(),
            log: self.root.join("catalog.log"),
            run_file: self.catalog_run_file(),
            sign: "Listening on port",
            patience: Duration::from_secs(10),
        };
        match launch.start() {
            Ok(_) => Ok(true),
            Err(ProcessError::Running { .. }) => Ok(false),
            Err(error) => Err(failed(error)),
        }
    }

    /// Waits until the catalog lists these servers; gives those that it does not list in time.
    pub fn wait_listed(&self, started: &[Started]) -> Vec<String> {
        let catalog = Catalog::new(&self.catalog);
        let deadline = Instant::now() + LISTED;
        loop {
            let listed = catalog.query().unwrap_or_default();
            let is_listed = |name: &str| listed.iter().any(|r| r.kind == KIND && r.project == name);
            let names = started.iter().map(|server| server.name.clone());
            let missing: Vec<String> = names.filter(|name| !is_listed(name)).collect();
            if missing.is_empty() || Instant::now() >= deadline {
                return missing;
            }
            thread::sleep(Duration::from_millis(20));
        }
    }

    /// The servers of a group that have ever been started here.
    ///
    /// # Errors
    /// There is no such group, or its folder cannot be read.
    pub fn members(&self, group: &str) -> Result<Vec<Member>, GroupError> {
        let folder = self.folder(group);
        let entries = match fs::read_dir(&folder) {
            Ok(entries) => entries,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return Err(GroupError::NoGroup {
                    name: group.to_owned(),
                    root: self.root.clone(),
                });
            }
            Err(source) => return Err(GroupError::Unreadable { path: folder, source }),
        };
        let number = |entry: io::Result<fs::DirEntry>| {
            entry.ok().and_then(|entry| entry.file_name().to_str()?.parse::<usize>().ok())
        };
        let mut indices: Vec<usize> = entries.filter_map(number).collect();
        indices.sort_unstable();
        let member = |index| {
            let name = format!("{group}-{index}");
            let pid = processes::holder(&self.run_file(group, &name));
            Member { name, pid }
        };
        Ok(indices.into_iter().map(member).collect())
    }

    /// Stops what runs of a group; gives the names of those that it stopped.
    ///
    /// # Errors
    /// There is no such group, or a server does not end.
    pub fn stop(&self, group: &str) -> Result<Vec<String>, GroupError> {
        let members = self.members(group)?;
        let stopped = thread::scope(|scope| {
            let threads: Vec<_> = members
                .into_iter()
                .map(|member| {
                    scope.spawn(move || {
                        let run_file = self.run_file(group, &member.name);
                        let stopped = processes::stop(&run_file, STOP_PATIENCE);
                        (member.name, stopped)
                    })
                })
                .collect();
            let join = |thread: thread::ScopedJoinHandle<'_, _>| {
                thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
            };
            threads.into_iter().map(join).collect::<Vec<_>>()
        });
        let mut names = Vec::new();
        for (name, stopped) in stopped {
            match stopped {
                Ok(true) => names.push(name),
                Ok(false) => {}
                Err(source) => return Err(GroupError::Server { server: name, source }),
            }
        }
        Ok(names)
    }

    /// Stops the catalog that [`Groups::start_catalog`] started, if no group below this root needs it any more.
    ///
    /// # Errors
    /// It does not end, or the root cannot be read.
    pub fn stop_catalog(&self) -> Result<bool, GroupError> {
        let unreadable = |source| GroupError::Unreadable { path: self.root.clone(), source };
        for entry in fs::read_dir(&self.root).map_err(unreadable)? {
            let run = entry.map_err(unreadable)?.path().join("run");
            let files = fs::read_dir(run).into_iter().flatten().flatten();
            if files.into_iter().any(|file| processes::holder(&file.path()).is_some()) {
                return Ok(false);
            }
        }
        let stopped = processes::stop(&self.catalog_run_file(), STOP_PATIENCE);
        stopped.map_err(|source| GroupError::Server { server: "catalog".to_owned(), source })
    }
}

fn is_loopback(address: &str) -> bool {
    let addresses = address.to_socket_addrs().map(Iterator::collect::<Vec<SocketAddr>>);
    addresses.is_ok_and(|all| !all.is_empty() && all.iter().all(|one| one.ip().is_loopback()))
}

/// Whether a group may be called so: its servers' names become names of files and entries of a catalog.
pub fn is_name(text: &str) -> bool {
    let fits = |c: char| c.is_alphanumeric() || "-_.".contains(c);
    !text.is_empty() && text.len() <= 100 && !text.starts_with('.') && text.chars().all(fits)
}

/// The folder in which groups live, where nothing else is said.
pub fn default_root() -> &'static Path {
    Path::new("cluster")
}
