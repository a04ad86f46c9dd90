//! Servers as processes in the background: starting them, seeing that they serve, stopping them.
//!
//! A server that is started so gets a *run file*: it holds its process id, and the server holds a lock on it
//! for as long as it lives. The lock, not the id, says whether a server runs: ids are used again, and a
//! file outlives a kill. Output goes to a log file.

use std::ffi::OsString;
use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::MetadataExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

/// How often a log or a lock is looked at.
const LOOK: Duration = Duration::from_millis(5);

/// Whoever asks whether a run file is held takes its lock for a moment; a server waits that long for it.
const GLANCE: Duration = Duration::from_millis(200);

/// How much of a log is searched for a sign, and how much of it an error quotes.
const MAX_LOG: u64 = 1 << 20;

/// Why a server could not be started or stopped.
#[derive(Debug, thiserror::Error)]
pub enum ProcessError {
    /// The system refused.
    #[error("cannot {action} {}: {source}", path.display())]
    Io {
        /// What was tried.
        action: &'static str,
        /// With which file.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// A server with this run file is there already.
    #[error("already running (process {pid}, {})", path.display())]
    Running {
        /// Its process.
        pid: i32,
        /// The run file.
        path: PathBuf,
    },
    /// It ended before it served.
    #[error("the server ended before it was ready ({status}): {last_words}")]
    Ended {
        /// How.
        status: String,
        /// The end of its log.
        last_words: String,
    },
    /// It did not say that it serves.
    #[error("the server was not ready within {}; see {}", humantime::format_duration(*after), log.display())]
    NotReady {
        /// The patience.
        after: Duration,
        /// The log.
        log: PathBuf,
    },
    /// It does not end, not even when killed.
    #[error("process {pid} does not end")]
    Immortal {
        /// The process.
        pid: i32,
    },
}

fn failed(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> ProcessError {
    let path = path.to_owned();
    move |source| ProcessError::Io { action, path, source }
}

/// The run file of this process; the lock goes with it.
#[derive(Debug)]
pub struct RunFile {
    path: PathBuf,
    _lock: File,
}

impl RunFile {
    /// Takes the run file for this process.
    ///
    /// # Errors
    /// [`ProcessError::Running`] where another process holds it.
    pub fn hold(path: &Path) -> Result<Self, ProcessError> {
        if let Some(folder) = path.parent() {
            fs::create_dir_all(folder).map_err(failed("create", folder))?;
        }
        let mut file = Self::lock(path)?;
        file.set_len(0).map_err(failed("write", path))?;
        write!(file, "{}", std::process::id()).map_err(failed("write", path))?;
        Ok(Self { path: path.to_owned(), _lock: file })
    }

    fn lock(path: &Path) -> Result<File, ProcessError> {
        let deadline = Instant::now() + GLANCE;
        loop {
            let mut options = OpenOptions::new();
            options.read(true).write(true).create(true).truncate(false);
            let file = options.open(path).map_err(failed("open", path))?;
            match file.try_lock() {
                // Whoever held it before may have removed the file meanwhile: then this lock is on nothing.
                Ok(()) if is_at(&file, path) => return Ok(file),
                Ok(()) => {}
                Err(TryLockError::WouldBlock) if Instant::now() < deadline => thread::sleep(LOOK),
                Err(TryLockError::WouldBlock) => {
                    let pid = holder(path).unwrap_or(0);
                    return Err(ProcessError::Running { pid, path: path.to_owned() });
                }
                Err(TryLockError::Error(source)) => return Err(failed("lock", path)(source)),
            }
        }
    }
}

/// Whether an open file is the one at this path.
fn is_at(file: &File, path: &Path) -> bool {
    let (Ok(open), Ok(there)) = (file.metadata(), fs::metadata(path)) else { return false };
    (open.dev(), open.ino()) == (there.dev(), there.ino())
}

impl Drop for RunFile {
    fn drop(&mut self) {
        // Left behind it says nothing wrong: nobody holds its lock.
        let _ = fs::remove_file(&self.path);
    }
}

/// Where a program of this package is: beside this one.
///
/// # Errors
/// The system does not say where this one is.
pub fn program(name: &str) -> Result<PathBuf, ProcessError> {
    let own = std::env::current_exe().map_err(failed("find", Path::new(name)))?;
    let folder = own.parent().unwrap_or(Path::new("."));
    // Tests run in a folder below.
    let folder = if folder.ends_with("deps") { folder.parent().unwrap_or(folder) } else { folder };
    Ok(folder.join(name))
}

/// The process that holds a run file, if one does.
pub fn holder(path: &Path) -> Option<i32> {
    let mut file = File::open(path).ok()?;
    match file.try_lock() {
        Err(TryLockError::WouldBlock) => {}
        // Nobody holds it; the lock taken here goes with `file`.
        _ => return None,
    }
    let mut text = String::new();
    Read::by_ref(&mut file).take(32).read_to_string(&mut text).ok()?;
    text.trim().parse().ok().filter(|pid| *pid > 0)
}

/// A server to start in the background.
#[derive(Clone, Debug)]
pub struct Launch {
    /// The program.
    pub program: PathBuf,
    /// Its arguments, without the run file's.
    pub arguments: Vec<OsString>,
    /// Where its output goes, behind what is there.
    pub log: PathBuf,
    /// Its run file, which is passed on as `--run-file PATH`.
    pub run_file: PathBuf,
    /// The beginning of the line by which it says that it serves.
    pub sign: &'static str,
    /// How long it may take until it says so.
    pub patience: Duration,
}

impl Launch {
    /// Starts the server, in a process group of its own so that a Ctrl-C here does not end it, and waits until
    /// it serves; gives the line by which it says so.
    ///
    /// # Errors
    /// It could not be started, ended at once, or does not serve in time (it is killed then).
    pub fn start(&self) -> Result<String, ProcessError> {
        if let Some(pid) = holder(&self.run_file) {
            return Err(ProcessError::Running { pid, path: self.run_file.clone() });
        }
        if let Some(folder) = self.log.parent() {
            fs::create_dir_all(folder).map_err(failed("create", folder))?;
        }
        let open = OpenOptions::new().create(true).append(true).open(&self.log);
        let log = open.map_err(failed("open", &self.log))?;
        let begin = log.metadata().map_err(failed("read", &self.log))?.len();
        let errors = log.try_clone().map_err(failed("open", &self.log))?;
        let mut child = Command::new(&self.program)
            .args(&self.arguments)
            .arg("--run-file")
            .arg(&self.run_file)
            .stdin(Stdio::null())
            .stdout(log)
            .stderr(errors)
            .process_group(0)
            .spawn()
            .map_err(failed("start", &self.program))?;
        let deadline = Instant::now() + self.patience;
        loop {
            let ended = child.try_wait().map_err(failed("wait for", &self.program))?;
            let text = read_from(&self.log, begin).map_err(failed("read", &self.log))?;
            let whole = text.rsplit_once('\n').map_or("", |(lines, _)| lines);
            if let Some(line) = whole.lines().find(|line| line.starts_with(self.sign)) {
                return Ok(line.to_owned());
            }
            if let Some(status) = ended {
                let last_words = text.lines().last().unwrap_or("it said nothing").to_owned();
                return Err(ProcessError::Ended { status: status.to_string(), last_words });
            }
            if Instant::now() >= deadline {
                // It may have ended by itself just now, which is as good.
                let _ = child.kill();
                let _ = child.wait();
                let log = self.log.clone();
                return Err(ProcessError::NotReady { after: self.patience, log });
            }
            thread::sleep(LOOK);
        }
    }
}

fn read_from(log: &Path, begin: u64) -> io::Result<String> {
    let mut file = File::open(log)?;
    file.seek(SeekFrom::Start(begin))?;
    let mut bytes = Vec::new();
    file.take(MAX_LOG).read_to_end(&mut bytes)?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

/// Ends the server of a run file: asks it to stop, and kills it when it has not within `patience`; gives whether
/// there was one.
///
/// # Errors
/// It may not be signalled, or does not end.
pub fn stop(run_file: &Path, patience: Duration) -> Result<bool, ProcessError> {
    let Some(pid) = holder(run_file) else { return Ok(false) };
    signal(pid, Signal::TERM, run_file)?;
    if wait_gone(run_file, patience) { Ok(true) } else { kill(run_file) }
}

/// Kills the server of a run file; gives whether there was one.
///
/// # Errors
/// As for [`stop`].
pub fn kill(run_file: &Path) -> Result<bool, ProcessError> {
    let Some(pid) = holder(run_file) else { return Ok(false) };
    signal(pid, Signal::KILL, run_file)?;
    if !wait_gone(run_file, Duration::from_secs(10)) {
        return Err(ProcessError::Immortal { pid });
    }
    // Nobody holds it any more; a new server may have made it its own, and then it is left alone.
    if holder(run_file).is_none() {
        let _ = fs::remove_file(run_file);
    }
    Ok(true)
}

fn signal(pid: i32, signal: Signal, run_file: &Path) -> Result<(), ProcessError> {
    let Some(process) = Pid::from_raw(pid) else { return Ok(()) };
    match kill_process(process, signal) {
        Ok(()) | Err(rustix::io::Errno::SRCH) => Ok(()),
        Err(error) => Err(failed("end the process of", run_file)(error.into())),
    }
}

fn wait_gone(run_file: &Path, patience: Duration) -> bool {
    let deadline = Instant::now() + patience;
    while holder(run_file).is_some() {
        if Instant::now() >= deadline {
            return false;
        }
        thread::sleep(LOOK);
    }
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A server in shell: `body` runs with the run file held.
    fn launch(folder: &Path, body: &str) -> Launch {
        let script = format!("exec 9>>\"$2\"; flock -n 9; echo $$ >\"$2\"; {body}");
        Launch {
            program: "/bin/sh".into(),
            arguments: ["-c", &script, "sh"].map(OsString::from).into(),
            log: folder.join("logs/one"),
            run_file: folder.join("one.run"),
            sign: "Ready",
            patience: Duration::from_secs(10),
        }
    }

    fn with_run_folder(test: impl FnOnce(&Path)) {
        let folder = tempfile::tempdir().expect("a folder");
        test(folder.path());
    }

    #[test]
    fn a_server_is_started_seen_and_stopped() {
        with_run_folder(|folder| {
            let server = launch(folder, "echo Starting; echo Ready on 7; exec sleep 600");
            assert_eq!(server.start().expect("it starts"), "Ready on 7");
            let pid = holder(&server.run_file).expect("it runs");
            let again = server.start().expect_err("it runs already");
            assert!(matches!(again, ProcessError::Running { pid: found, .. } if found == pid));
            assert!(stop(&server.run_file, Duration::from_secs(10)).expect("it ends"));
            assert_eq!(holder(&server.run_file), None);
            assert!(!stop(&server.run_file, Duration::ZERO).expect("there is none"));
        });
    }

    #[test]
    fn a_server_that_does_not_listen_to_reason_is_killed() {
        with_run_folder(|folder| {
            let server = launch(folder, "trap '' TERM; echo Ready; exec sleep 600");
            server.start().expect("it starts");
            assert!(stop(&server.run_file, Duration::from_millis(50)).expect("it ends"));
            assert_eq!(holder(&server.run_file), None);
        });
    }

    #[test]
    fn a_server_that_ends_or_never_serves_is_told() {
        with_run_folder(|folder| {
            let ended = launch(folder, "echo the port is taken >&2; exit 3").start();
            let Err(ProcessError::Ended { status, last_words }) = ended else {
                panic!("expected the end, found {ended:?}")
            };
            assert_eq!(
                (status.as_str(), last_words.as_str()),
                ("exit status: 3", "the port is taken")
            );
            let silent = launch(folder, "exec sleep 600");
            let silent = Launch { patience: Duration::from_millis(50), ..silent };
            assert!(matches!(silent.start(), Err(ProcessError::NotReady { .. })));
            assert_eq!(holder(&silent.run_file), None);
        });
    }

    #[test]
    fn a_run_file_is_held_by_one_process_and_goes_with_it() {
        with_run_folder(|folder| {
            let path = folder.join("below/two.run");
            let held = RunFile::hold(&path).expect("it is free");
            assert_eq!(holder(&path), i32::try_from(std::process::id()).ok());
            assert!(matches!(RunFile::hold(&path), Err(ProcessError::Running { .. })));
            drop(held);
            assert!(!path.exists());
            // Left behind by a process that is gone: nobody's.
            fs::write(&path, "1").expect("written");
            assert_eq!(holder(&path), None);
        });
    }
}
