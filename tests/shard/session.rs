//! The shard lab as a person meets it: the commands of `scripts/shard` typed into a shell, with real processes.
//!
//! Each test has a copy of the scripts' folder with settings of its own, so that none meets another or a lab
//! that runs on this machine: addresses of loopback that no other test uses, and a free port.

#![cfg(target_os = "linux")] // all of 127.0.0.0/8 is this machine's only there
#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use crate::process_support::{LONG, cluster::free_port, eventually};
use tempfile::TempDir;

struct Lab {
    folder: TempDir,
    hosts: Vec<String>,
    port: u16,
}

impl Lab {
    /// A folder as `scripts/shard`, with this many nodes.
    fn new(nodes: usize, parameters: &str) -> Lab {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let folder = tempfile::tempdir().unwrap();
        let scripts = Path::new(env!("CARGO_MANIFEST_DIR")).join("scripts/shard");
        fs::create_dir(folder.path().join("bin")).unwrap();
        for entry in fs::read_dir(scripts.join("bin")).unwrap() {
            let path = entry.unwrap().path();
            fs::copy(&path, folder.path().join("bin").join(path.file_name().unwrap())).unwrap();
        }
        fs::copy(scripts.join("shrc"), folder.path().join("shrc")).unwrap();
        let number = std::process::id() * 8 + NEXT.fetch_add(1, Ordering::Relaxed);
        let (a, b) = (1 + number / 250 % 250, number % 250);
        let hosts = (1..=nodes).map(|node| format!("127.{a}.{b}.{node}")).collect();
        let lab = Lab { folder, hosts, port: free_port() };
        lab.set(parameters);
        lab
    }

    /// Writes the settings.
    fn set(&self, parameters: &str) {
        let mut text = "[Node_hostnames]\n".to_owned();
        for (number, host) in self.hosts.iter().enumerate() {
            let _ = writeln!(text, "scutter{:02} = {host}", number + 1);
        }
        let _ = writeln!(text, "[General_parameters]\nport = {}\n{parameters}", self.port);
        fs::write(self.path("settings.cfg"), text).unwrap();
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn bash(&self, typed: &str) -> Command {
        let programs = Path::new(env!("CARGO_BIN_EXE_servers")).parent().unwrap();
        let mut command = Command::new("bash");
        command
            .args(["-c", &format!("source {}/shrc\n{typed}", self.folder.path().display())])
            .current_dir(std::env::temp_dir())
            .env("SHARD_PROGRAMS", programs)
            .env_remove("SHARD_SETTINGS")
            .stdin(Stdio::null());
        command
    }

    fn run(&self, typed: &str) -> Output {
        self.bash(typed).output().unwrap()
    }

    /// What is printed, on both.
    fn says(&self, typed: &str) -> String {
        let output = self.run(&format!("exec 2>&1\n{typed}"));
        String::from_utf8_lossy(&output.stdout).into_owned()
    }

    fn log(&self, node: &str) -> String {
        fs::read_to_string(self.path("logs").join(node)).unwrap_or_default()
    }

    fn pid(&self, node: &str) -> i32 {
        fs::read_to_string(self.path("run").join(node)).unwrap().trim().parse().unwrap()
    }

    fn signal(&self, node: &str, signal: &str) {
        let status = Command::new("kill").args([signal, &self.pid(node).to_string()]).status();
        assert!(status.unwrap().success());
    }

    fn address(&self, node: usize) -> String {
        format!("{}:{}", self.hosts[node - 1], self.port)
    }
}

impl Drop for Lab {
    fn drop(&mut self) {
        let said = self.says("kill_db_on_all_nodes; kill_local_db");
        if std::thread::panicking() {
            eprintln!("{said}");
            for node in 1..=self.hosts.len() {
                let name = format!("scutter{node:02}");
                eprintln!("--- {name}\n{}", self.log(&name));
            }
        }
    }
}

const SUCCESS: &str = "MessageBody: Success\n";

#[test]
fn a_local_database_as_in_the_first_part() {
    let lab = Lab::new(2, "");
    let mut server = lab.bash("start_local_db").stdout(Stdio::piped()).spawn().unwrap();
    let log = lab.path("local.log");
    let (mut out, mut file) = (server.stdout.take().unwrap(), fs::File::create(&log).unwrap());
    let copier = std::thread::spawn(move || std::io::copy(&mut out, &mut file));
    let read = || fs::read_to_string(&log).unwrap();
    eventually("it waits for a message", LONG, || read().contains("Waiting").then_some(()));
    let port = lab.port;
    let begun = format!(
        "Starting up a server. Listening on port {port}\nWaiting for a message to arrive...\n"
    );
    assert_eq!(read(), begun);
    let said = lab.says("send_message -a $LOCAL_HOSTNAME -t UPDATE -m '12345:Hello World'");
    assert_eq!(
        said,
        format!(
            "Sending Message: Type: UPDATE, Addr: 127.0.0.1:{port}, MessageBody: 12345:Hello World\n\
             Response Message: Type: UPDATE_ACK, Addr: 127.0.0.1:{port}, MessageBody: Success\n"
        )
    );
    let said = lab.says("send_message -a $LOCAL_HOSTNAME -t READ -m 12345");
    let reply = format!(
        "Response Message: Type: READ_REPLY, Addr: 127.0.0.1:{port}, MessageBody: Hello World\n"
    );
    assert!(said.ends_with(&reply), "{said}");
    let entry = "Add an entry to the database: key: 12345, value: Hello World\n";
    eventually("the entry is printed", LONG, || {
        (read() == format!("{begun}{entry}")).then_some(())
    });
    let second = lab.run("start_local_db");
    assert_eq!(second.status.code(), Some(2));
    assert_eq!(
        String::from_utf8_lossy(&second.stderr),
        "ERROR: [Errno 98] Address already in use. Seems like a database is already running on this \
         node. Run stop_distributed_db to stop a database on all nodes.\n"
    );
    assert_eq!(lab.says("kill_local_db"), "localhost: killed\n");
    server.wait().unwrap();
    copier.join().unwrap().unwrap();
    assert_eq!(lab.says("kill_local_db"), "localhost: not running\n");
}

#[test]
fn the_nodes_of_the_second_part() {
    let lab = Lab::new(5, "hashing_function = None");
    let begun = lab.run("start_distributed_db");
    assert!(begun.status.success(), "{begun:?}");
    assert!(lab.says("start_distributed_db").contains("scutter05: already running on"));
    let said = lab.says(
        "send_message -a scutter03 -t UPDATE -m '12345:Hello World'
         send_message -a scutter05 -t UPDATE -m '77777:This is a test line'
         send_message -a scutter03 -t READ   -m 12345
         send_message -a scutter05 -t READ   -m 77777",
    );
    assert!(
        said.contains("MessageBody: Hello World\n") && said.contains(": This is a test line\n")
    );
    for (key, node) in [("77776", "scutter05"), ("77777", "scutter04")] {
        let output = lab.run(&format!("send_message -a {node} -t READ -m {key}"));
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        let error = format!("MessageBody: ERROR: can not find a key {key} in the table.\n");
        assert!(said.contains("Type: ERROR,") && said.ends_with(&error), "{said}");
        assert_eq!(output.status.code(), Some(1));
    }
    // Key 18 of 5 nodes is of node number 3, the fourth.
    assert!(lab.says("send_message -l -t UPDATE -m 18:x").contains(&lab.address(4)));
    eventually("its log", LONG, || {
        lab.log("scutter04").contains("key: 18, value: x").then_some(())
    });
    lab.set("hashing_function = md5");
    let said = lab.says("send_message -l -t UPDATE -m 18:x");
    assert!(said.ends_with(SUCCESS) && !said.contains(&lab.address(4)), "{said}");
    assert_eq!(lab.says("stop_distributed_db -a scutter02"), "scutter02: stopped\n");
    let output = lab.run("send_message -a scutter02 -t UPDATE -m '12345:Hello World'");
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(1));
    assert!(said.contains("the node scutter02 is down: nothing listens on"), "{said}");
    assert_eq!(said.lines().count(), 1, "{said}");
    let stopped = lab.says("stop_distributed_db");
    assert_eq!(stopped.matches(": stopped\n").count(), 4, "{stopped}");
    let random = lab.says("gen_random_string 20; bash -c 'gen_random_string 20'");
    assert!(random.lines().all(|line| line.len() == 20) && random.lines().count() == 2, "{random}");
}

const COPIES: &str = "number_replicas = 3\nmessage_handler = fault_tolerant_message_handler\nhashing_function = None";

#[test]
fn nodes_are_lost_stand_still_and_come_back() {
    let lab = Lab::new(5, COPIES);
    assert!(lab.run("start_distributed_db").status.success());
    let updated =
        lab.says("for key in $(seq 0 19); do send_message -l -t UPDATE -m $key:old; done");
    assert_eq!(updated.matches(SUCCESS).count(), 20, "{updated}");
    // Keys 1, 6, 11, 16 are of scutter02, with copies on scutter03 and scutter04.
    lab.says("stop_distributed_db -a scutter02");
    let said = lab.says("send_message -l -t UPDATE -m 6:new; send_message -l -t READ -m 6");
    assert!(said.contains(SUCCESS) && said.ends_with("MessageBody: new\n"), "{said}");
    assert!(said.contains(&format!("Addr: {}", lab.address(2))), "the first is tried: {said}");
    assert!(said.contains(&format!("UPDATE_ACK, Addr: {}", lab.address(3))), "{said}");
    // It comes back with what it had and what it missed.
    assert!(lab.run("start_distributed_db").status.success());
    let said = lab.says("for key in 1 6 11 16; do send_message -a scutter02 -t READ -m $key; done");
    assert_eq!(said.matches("MessageBody: old\n").count(), 3, "{said}");
    assert_eq!(said.matches("MessageBody: new\n").count(), 1, "{said}");
    // One that stands still costs time, not success.
    lab.signal("scutter03", "-STOP");
    let begun = Instant::now();
    let said = lab.says("for i in 1 2 3; do send_message -a scutter02 -t UPDATE -m 6:newer; done");
    assert_eq!(said.matches(SUCCESS).count(), 3, "{said}");
    assert!(begun.elapsed() < Duration::from_secs(10), "{:?}", begun.elapsed());
    lab.signal("scutter03", "-CONT");
    eventually("what it missed", LONG, || {
        let said = lab.says("send_message -a scutter03 -t READ -m 6");
        said.ends_with("MessageBody: newer\n").then_some(())
    });
    // With both copies gone an update is refused, and not to be read.
    lab.says("stop_distributed_db -a scutter03; stop_distributed_db -a scutter04");
    let output = lab.run("send_message -a scutter02 -t UPDATE -m 6:alone");
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    let error = "Type: ERROR, ";
    assert!(said.contains(error) && output.status.code() == Some(1), "{said}");
    let body = "MessageBody: ERROR: was not able to allocate a key:value pair in at least two nodes: \
                replication failed\n";
    assert!(said.ends_with(body), "{said}");
    assert!(lab.says("send_message -l -t READ -m 6").ends_with("MessageBody: newer\n"));
    lab.says("stop_distributed_db -a scutter02");
    let output = lab.run("send_message -l -t READ -m 6");
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(said.contains("none of the nodes that hold the key answered"), "{said}");
    assert_eq!((said.lines().count(), output.status.code()), (1, Some(1)));
}

#[test]
fn a_node_that_hangs_is_given_up() {
    let lab = Lab::new(2, "");
    assert!(lab.run("start_distributed_db").status.success());
    lab.signal("scutter01", "-STOP");
    let output = lab.run("send_message -a scutter01 -t READ -m 1 --timeout 300ms");
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(said.contains("no reply from") && said.contains("300ms"), "{said}");
    assert_eq!((said.lines().count(), output.status.code()), (1, Some(1)));
    // It does not stop when it is asked to; then it is killed.
    assert_eq!(lab.says("stop_distributed_db -a scutter01"), "scutter01: stopped\n");
}

#[test]
fn another_host_is_reached_through_ssh() {
    let lab = Lab::new(2, "");
    // An address of documentation: certainly not of this machine. The ssh here runs the command line as a
    // shell at the other end would, with that address put right.
    let settings = lab.path("settings.cfg");
    let text = fs::read_to_string(&settings).unwrap().replace(&lab.hosts[1], "192.0.2.7");
    fs::write(&settings, &text).unwrap();
    let there = lab.path("there.cfg");
    fs::write(&there, text.replace("192.0.2.7", &lab.hosts[1])).unwrap();
    let (seen, ssh) = (lab.path("seen"), lab.path("bin/ssh"));
    let script = format!(
        "#!/bin/bash\necho \"$@\" >>{seen}\n[[ $1 == -o && $3 == -o ]] || exit 255\nshift 5\n\
         command=\"$*\"\nexec bash -c \"$(sed 's|{settings}|{there}|' <<<\"$command\")\"\n",
        seen = seen.display(),
        settings = settings.display(),
        there = there.display()
    );
    fs::write(&ssh, script).unwrap();
    Command::new("chmod").arg("+x").arg(&ssh).status().unwrap();
    let begun = lab.says("start_distributed_db");
    assert!(begun.contains("scutter02: listening on 192.0.2.7"), "{begun}");
    let typed = format!("send_message -a {} -t UPDATE -m 1:far", lab.hosts[1]);
    assert!(lab.says(&typed).ends_with(SUCCESS));
    eventually("its log is here", LONG, || {
        lab.log("scutter02").contains("value: far").then_some(())
    });
    assert_eq!(lab.says("stop_distributed_db -a scutter02"), "scutter02: stopped\n");
    let seen = fs::read_to_string(seen).unwrap();
    let lines: Vec<&str> = seen.lines().collect();
    let settings = settings.display();
    let programs = Path::new(env!("CARGO_BIN_EXE_servers")).parent().unwrap().display();
    let run = lab.path("run");
    let run = run.display();
    assert_eq!(
        lines,
        [
            format!(
                "-o BatchMode=yes -o ConnectTimeout=5 192.0.2.7 {programs}/servers shard --node \
                 scutter02 --settings {settings} --run-file {run}/scutter02"
            ),
            format!(
                "-o BatchMode=yes -o ConnectTimeout=5 192.0.2.7 {programs}/lab shard stop --here \
                 --address scutter02 --settings {settings} --run {run}"
            ),
        ]
    );
}

#[test]
fn wrong_usage_and_wrong_settings_are_one_clear_line() {
    let lab = Lab::new(3, "");
    for typed in [
        "send_message",
        "send_message -a scutter01 -t UPDATE",
        "send_message -a scutter01 -l -t READ -m 1",
        "send_message -t READ -m 1",
        "send_message -a scutter01 -t DELETE -m 1",
        "send_message -a 'two words' -t READ -m 1",
        "send_message -l -t READ -m 1 --timeout never",
        "stop_distributed_db -a scutter99",
        "start_distributed_db more",
        "gen_random_string",
        "gen_random_string many",
        "gen_random_string -1",
        "start_local_db --port 70000",
    ] {
        let output = lab.run(typed);
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(64), "{typed}: {said}");
        assert_eq!(said.lines().count(), 1, "{typed}: {said}");
    }
    for command in ["send_message", "start_distributed_db", "stop_distributed_db", "start_local_db"]
    {
        let output = lab.run(&format!("{command} --help"));
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(output.status.success() && said.contains("Example"), "{command}: {said}");
    }
    let output = lab.run("send_message -a no.such.host.invalid -t READ -m 1");
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(said.contains("unknown host no.such.host.invalid"), "{said}");
    assert_eq!((said.lines().count(), output.status.code()), (1, Some(1)));
    lab.set("number_replicas = 4");
    for typed in ["send_message -l -t READ -m 1", "start_distributed_db", "start_local_db"] {
        let output = lab.run(typed);
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        let expected = "settings.cfg:7: expected number_replicas of at most 3";
        assert!(said.contains(expected), "{typed}: {said}");
        assert_eq!((said.lines().count(), output.status.code()), (1, Some(1)), "{typed}: {said}");
    }
}

#[test]
fn bodies_of_any_text_come_back_as_they_were() {
    let lab = Lab::new(1, "");
    assert!(lab.run("start_distributed_db").status.success());
    for (key, value) in [
        ("", "an empty key"),
        ("empty", ""),
        ("time", "12:34:56"),
        ("lines", "one\ntwo\r\n\tthree"),
        ("gr\u{fc}\u{df}e", "\u{1f980} \"quoted\" \\ {json}"),
        ("-5", "-t"),
    ] {
        let mut command = lab
            .bash("send_message -l -t UPDATE -m \"$BODY\" && send_message -l -t READ -m \"$KEY\"");
        let output =
            command.env("BODY", format!("{key}:{value}")).env("KEY", key).output().unwrap();
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(said.ends_with(&format!("MessageBody: {value}\n")), "{key}: {said} {output:?}");
    }
    eventually("a line an entry", LONG, || {
        (lab.log("scutter01").lines().count() == 8).then_some(())
    });
    let log = lab.log("scutter01");
    assert!(log.contains(r"key: lines, value: one\ntwo\r\n\tthree"), "{log}");
}
