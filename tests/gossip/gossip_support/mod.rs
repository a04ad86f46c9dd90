//! A master that is spoken to line by line, and the processes below it.

use std::io::{BufRead, BufReader, Read, Write};
use std::process::{Child, ChildStdin, Command, ExitStatus, Output, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::thread;

use crate::process_support::{LONG, eventually};

/// `lab` with these arguments, and nothing of the caller's environment that changes what it prints.
pub fn lab(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_lab"));
    command.args(arguments).env_remove("RUST_LOG").stdin(Stdio::null());
    command
}

/// Runs `lab` with this on standard input until it ends.
pub fn run(arguments: &[&str], input: &str) -> Output {
    let mut command = lab(arguments);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().expect("lab starts");
    let mut stdin = child.stdin.take().expect("piped");
    let input = input.to_owned();
    // It may print much before it has read all.
    let writer = thread::spawn(move || stdin.write_all(input.as_bytes()));
    let output = child.wait_with_output().expect("its output");
    // Where it refuses to start, nobody reads.
    let _ = writer.join().expect("no panic");
    output
}

/// Runs commands; gives the lines of standard output and of standard error, but for the last, which says how fast it
/// went.
pub fn master(arguments: &[&str], commands: &str) -> (Vec<String>, Vec<String>) {
    let output = run(&[&["master"], arguments].concat(), commands);
    let lines = |bytes| -> Vec<String> {
        String::from_utf8_lossy(bytes).lines().map(str::to_owned).collect()
    };
    let (out, mut errors) = (lines(&output.stdout), lines(&output.stderr));
    assert_eq!(output.status.code(), Some(0), "{errors:?}");
    let last = errors.pop().expect("a line about the speed");
    assert!(last.contains(" commands") && last.ends_with(" commands/s"), "{last}");
    (out, errors)
}

/// A master that runs.
pub struct Master {
    child: Child,
    stdin: Option<ChildStdin>,
    lines: Receiver<String>,
}

impl Master {
    pub fn start(arguments: &[&str]) -> Master {
        let mut command = lab(&[&["master"], arguments].concat());
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
        let mut child = command.spawn().expect("lab starts");
        let stdout = child.stdout.take().expect("piped");
        let (sender, lines) = channel();
        thread::spawn(move || {
            for line in BufReader::new(stdout).lines().map_while(Result::ok) {
                let _ = sender.send(line);
            }
        });
        Master { stdin: child.stdin.take(), child, lines }
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    pub fn say(&mut self, commands: &str) {
        let stdin = self.stdin.as_mut().expect("it listens");
        stdin.write_all(commands.as_bytes()).expect("it listens");
    }

    /// A line that the master prints.
    pub fn line(&self) -> String {
        self.lines.recv_timeout(LONG).expect("a line")
    }

    /// Says commands of which the last prints a line.
    pub fn ask(&mut self, commands: &str) -> String {
        self.say(commands);
        self.line()
    }

    pub fn signal(&self, name: &str) {
        signal(self.pid(), name);
    }

    pub fn wait(&mut self) -> ExitStatus {
        eventually("the master ends", LONG, || self.child.try_wait().expect("a child"))
    }

    /// Nothing more is said; it must end well.
    pub fn end(mut self) {
        drop(self.stdin.take());
        let status = self.wait();
        assert_eq!(status.code(), Some(0), "{status}");
    }
}

impl Drop for Master {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

pub fn signal(pid: u32, name: &str) {
    let kill = format!("kill -{name} {pid}");
    let status = Command::new("sh").args(["-c", &kill]).status().expect("sh is there");
    assert!(status.success(), "{kill}: {status}");
}

/// The processes that this one has started, and those that they have started: each with its command line.
pub fn descendants(pid: u32) -> Vec<(u32, String)> {
    let mut found = Vec::new();
    let mut parents = vec![pid];
    while let Some(parent) = parents.pop() {
        for (child, line) in
            processes().into_iter().filter(|(child, _)| parent_of(*child) == Some(parent))
        {
            parents.push(child);
            found.push((child, line));
        }
    }
    found
}

/// Waits until none of these processes is there any more.
pub fn all_gone(those: &[(u32, String)]) {
    eventually("all processes are gone", LONG, || {
        let now = processes();
        (!those.iter().any(|one| now.contains(one))).then_some(())
    });
}

fn processes() -> Vec<(u32, String)> {
    let entries = std::fs::read_dir("/proc").expect("Linux shows its processes");
    let process = |entry: std::io::Result<std::fs::DirEntry>| {
        let pid = entry.ok()?.file_name().to_str()?.parse().ok()?;
        let mut line = Vec::new();
        std::fs::File::open(format!("/proc/{pid}/cmdline")).ok()?.read_to_end(&mut line).ok()?;
        let words = line.split(|byte| *byte == 0).map(String::from_utf8_lossy);
        let line = words.collect::<Vec<_>>().join(" ");
        // One that has ended and is not waited for yet has no command line.
        (!line.is_empty()).then_some((pid, line))
    };
    entries.filter_map(process).collect()
}

fn parent_of(pid: u32) -> Option<u32> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name, in parentheses, may hold anything.
    stat.rsplit_once(") ")?.1.split(' ').nth(1)?.parse().ok()
}
