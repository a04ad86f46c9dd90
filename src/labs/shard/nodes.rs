//! All nodes as processes of their own: on this machine, or through ssh where an address is not of this machine.
//!
//! A node's output goes to `LOGS/NAME`, its run file is `RUN/NAME` (see [`crate::labs::processes`]). For a node on
//! another host `ssh -o BatchMode=yes HOST servers shard ...` stays in the background here and brings its output
//! into the log. It expects there: the programs and the settings at the same paths as here (a shared home, or the
//! same installation), and a key that needs no password.

use std::ffi::OsString;
use std::net::{TcpListener, ToSocketAddrs};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread;
use std::time::Duration;

use super::settings::{NodeAddress, Settings};
use crate::labs::processes::{self, Launch, ProcessError, holder};

/// The beginning of the line by which a node says that it serves.
pub const SIGN: &str = "Waiting for a message to arrive";

/// The run file of a database that `start_local_db` has started.
pub const LOCAL: &str = "localhost";

/// How long a node may take to begin; its neighbours may have much to tell it.
const START_PATIENCE: Duration = Duration::from_secs(60);

/// How long a node may take to stop before it is killed.
const STOP_PATIENCE: Duration = Duration::from_secs(3);

/// Where things are.
#[derive(Clone, Debug)]
pub struct Places {
    /// `settings.cfg`.
    pub settings: PathBuf,
    /// The folder of the logs.
    pub logs: PathBuf,
    /// The folder of the run files.
    pub run: PathBuf,
    /// The programs `servers` and `lab`.
    pub programs: PathBuf,
}

/// What has become of a node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It has been started.
    Started,
    /// It runs already.
    Running,
    /// It has been stopped.
    Stopped,
    /// It did not run.
    NotRunning,
}

/// Why a node could not be started or stopped.
#[derive(Debug, thiserror::Error)]
pub enum NodeError {
    /// On this machine.
    #[error(transparent)]
    Process(#[from] ProcessError),
    /// On another host.
    #[error("ssh to {host}: {why}")]
    Ssh {
        /// Which host.
        host: String,
        /// What ssh says.
        why: String,
    },
    /// A path that the other host's shell would take apart.
    #[error(
        "{} cannot be passed to the shell of {host}; expected a path of letters, digits and /._-+",
        path.display()
    )]
    Path {
        /// The path.
        path: PathBuf,
        /// Which host.
        host: String,
    },
}

/// Whether a node's address is of this machine: only then can it be listened on. What the system does not know is
/// left to ssh, which may.
pub fn is_local(node: &NodeAddress) -> bool {
    let Ok(mut found) = (&*node.host, 0).to_socket_addrs() else { return false };
    found.any(|address| TcpListener::bind(address).is_ok())
}

/// How to end a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// It is asked to (SIGTERM), and killed where it does not.
    Stop,
    /// SIGKILL.
    Kill,
}

/// Does something for each of these nodes, side by side; gives the outcomes in their order.
pub fn for_each<T: Send>(
    settings: &Settings,
    nodes: &[usize],
    act: impl Fn(&NodeAddress) -> T + Sync,
) -> Vec<T> {
    thread::scope(|scope| {
        let act = &act;
        let threads: Vec<_> =
            nodes.iter().map(|node| scope.spawn(move || act(&settings.nodes[*node]))).collect();
        let joined = threads.into_iter().map(|thread| match thread.join() {
            Ok(result) => result,
            Err(panic) => std::panic::resume_unwind(panic),
        });
        joined.collect()
    })
}

/// Starts a node and waits until it serves.
///
/// # Errors
/// It could not be started.
pub fn start(places: &Places, node: &NodeAddress) -> Result<Outcome, NodeError> {
    let servers = places.programs.join("servers");
    let mut arguments: Vec<OsString> = vec!["shard".into(), "--node".into(), (&node.name).into()];
    arguments.extend(["--settings".into(), places.settings.clone().into()]);
    let run_file = places.run.join(&node.name);
    let (program, arguments) = if is_local(node) {
        (servers, arguments)
    } else {
        for path in [&servers, &places.settings, &run_file] {
            plain(path, node)?;
        }
        let mut remote = ssh_options(node);
        remote.push(servers.into());
        remote.extend(arguments);
        ("ssh".into(), remote)
    };
    let launch = Launch {
        program,
        arguments,
        log: places.logs.join(&node.name),
        run_file,
        sign: SIGN,
        patience: START_PATIENCE,
    };
    match launch.start() {
        Ok(_) => Ok(Outcome::Started),
        Err(ProcessError::Running { .. }) => Ok(Outcome::Running),
        Err(error) => Err(error.into()),
    }
}

/// Ends a node. `here`: whatever its address is, it is looked for on this machine.
///
/// # Errors
/// It does not end, or cannot be reached.
pub fn end(
    places: &Places,
    node: &NodeAddress,
    how: End,
    here: bool,
) -> Result<Outcome, NodeError> {
    if here || is_local(node) {
        return end_local(places, &node.name, how);
    }
    let lab = places.programs.join("lab");
    let mut arguments = ssh_options(node);
    for path in [&lab, &places.settings, &places.run] {
        plain(path, node)?;
    }
    let word = if how == End::Stop { "stop" } else { "kill" };
    arguments.push(lab.into());
    arguments.extend(["shard", word, "--here", "--address", &node.name].map(OsString::from));
    arguments.extend(["--settings".into(), places.settings.clone().into()]);
    arguments.extend(["--run".into(), places.run.clone().into()]);
    let failed = |why: String| NodeError::Ssh { host: node.host.clone(), why };
    let output = Command::new("ssh")
        .args(arguments)
        .stdin(Stdio::null())
        .output()
        .map_err(|error| failed(error.to_string()))?;
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    if !output.status.success() {
        let errors = String::from_utf8_lossy(&output.stderr);
        let last = errors.lines().last().unwrap_or("it said nothing").to_owned();
        return Err(failed(format!("{}: {last}", output.status)));
    }
    Ok(if said.contains("not running") { Outcome::NotRunning } else { Outcome::Stopped })
}

/// Ends what has this name in the folder of run files.
///
/// # Errors
/// It does not end.
pub fn end_local(places: &Places, name: &str, how: End) -> Result<Outcome, NodeError> {
    let run_file = places.run.join(name);
    let ended = match how {
        End::Stop => processes::stop(&run_file, STOP_PATIENCE)?,
        End::Kill => processes::kill(&run_file)?,
    };
    Ok(if ended { Outcome::Stopped } else { Outcome::NotRunning })
}

/// The process of a node on this machine, if it runs.
pub fn process(places: &Places, name: &str) -> Option<i32> {
    holder(&places.run.join(name))
}

fn ssh_options(node: &NodeAddress) -> Vec<OsString> {
    ["-o", "BatchMode=yes", "-o", "ConnectTimeout=5", &node.host].map(OsString::from).to_vec()
}

/// ssh joins its arguments, and a shell takes them apart again.
fn plain(path: &Path, node: &NodeAddress) -> Result<(), NodeError> {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "/._-+".contains(c);
    match path.to_str() {
        Some(text) if text.chars().all(is_plain) => Ok(()),
        _ => Err(NodeError::Path { path: path.to_owned(), host: node.host.clone() }),
    }
}
