//! Links that are cut and healed between processes of their own hosts: network namespaces, one a participant,
//! joined to the coordinator's by a pair of virtual cards. Where the machine does not allow that (it takes root and
//! `ip` of iproute2) the test says so and passes; `two_phase_processes.rs` cuts links with a proxy everywhere.
//!
//! A cut is a card switched off: packets are lost, connections hang until they are given up, and dialling fails
//! with something other than "refused". That is what the protocol's witnesses depend on.

mod process_support;

use std::fs;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use process_support::{LONG, eventually};

/// The variable that tells the test that it runs inside the coordinator's namespace.
const INSIDE: &str = "TWO_PHASE_LINKS_INSIDE";

const PARTICIPANTS: usize = 3;

fn ip(arguments: &str) -> bool {
    let run = Command::new("ip").args(arguments.split(' ')).stderr(Stdio::null()).status();
    run.is_ok_and(|status| status.success())
}

/// The namespaces of one test; gone when it is dropped.
struct Hosts {
    name: String,
}

impl Hosts {
    /// Makes them; `None` where the machine does not allow it.
    fn make() -> Option<Hosts> {
        let hosts = Hosts { name: format!("lab{}", std::process::id()) };
        let c = hosts.coordinator();
        let mut well = ip(&format!("netns add {c}"))
            && ip(&format!("-n {c} link set lo up"))
            && ip(&format!("-n {c} address add 10.77.0.1/32 dev lo"));
        for i in 0..PARTICIPANTS {
            let p = hosts.participant(i);
            well = well
                && ip(&format!("netns add {p}"))
                && ip(&format!("-n {p} link set lo up"))
                && ip(&format!("-n {c} link add to{i} type veth peer name host netns {p}"))
                && ip(&format!("-n {c} address add 10.77.{}.1/24 dev to{i}", i + 1))
                && ip(&format!("-n {p} address add 10.77.{}.2/24 dev host", i + 1))
                && ip(&format!("-n {c} link set to{i} up"))
                && ip(&format!("-n {p} link set host up"))
                && ip(&format!("-n {p} route add default via 10.77.{}.1", i + 1));
        }
        well.then_some(hosts)
    }

    fn coordinator(&self) -> String {
        format!("{}c", self.name)
    }

    fn participant(&self, i: usize) -> String {
        format!("{}p{i}", self.name)
    }
}

impl Drop for Hosts {
    fn drop(&mut self) {
        for i in 0..PARTICIPANTS {
            ip(&format!("netns delete {}", self.participant(i)));
        }
        ip(&format!("netns delete {}", self.coordinator()));
    }
}

/// One process; killed when it is dropped.
struct Process(Child);

impl Process {
    fn start(namespace: &str, config: &Path) -> Process {
        let mut command = Command::new("ip");
        command.args(["netns", "exec", namespace, env!("CARGO_BIN_EXE_kvstore2pcsystem")]);
        command.arg("--config_path").arg(config);
        let child =
            command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn();
        Process(child.expect("ip starts it"))
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Says one command over a connection of its own; `None` where no whole reply comes in time.
fn say(words: &[&str]) -> Option<String> {
    let address = "10.77.0.1:8001".parse().expect("an address");
    let mut stream = TcpStream::connect_timeout(&address, Duration::from_secs(1)).ok()?;
    stream.set_read_timeout(Some(Duration::from_secs(5))).ok()?;
    let mut request = format!("*{}\r\n", words.len());
    words.iter().for_each(|word| request += &format!("${}\r\n{word}\r\n", word.len()));
    stream.write_all(request.as_bytes()).ok()?;
    stream.shutdown(std::net::Shutdown::Write).ok()?;
    let mut reply = String::new();
    stream.read_to_string(&mut reply).ok()?;
    (!reply.is_empty()).then_some(reply)
}

fn set(value: &str) -> Option<String> {
    say(&["SET", "x", value])
}

fn is(value: &str) -> String {
    format!("*1\r\n${}\r\n{value}\r\n", value.len())
}

/// Cuts or heals the link to a participant.
fn link(i: usize, state: &str) {
    assert!(ip(&format!("link set to{i} {state}")), "link {i} {state}");
}

fn becomes_ok(value: &str) {
    eventually("a SET is answered with OK", LONG, || set(value).filter(|reply| reply == "+OK\r\n"));
}

/// Keeps asking until the value stands `n` times in a row, whichever participant is asked.
fn stays(value: &str) {
    let mut in_a_row = 0;
    eventually(&format!("x is {value}"), LONG, || {
        let reply = say(&["GET", "x"])?;
        assert!(reply == is(value) || reply == "-ERROR\r\n", "x is {value}, not {reply:?}");
        in_a_row = if reply == is(value) { in_a_row + 1 } else { 0 };
        (in_a_row == 5).then_some(())
    });
}

#[test]
fn links_are_cut_and_healed_in_any_order() {
    if std::env::var_os(INSIDE).is_some() {
        return story(Path::new(&std::env::var("TWO_PHASE_LINKS_FOLDER").expect("a folder")));
    }
    let Some(hosts) = Hosts::make() else {
        println!("SKIP  no network namespaces here: it takes root and iproute2");
        return;
    };
    let folder = tempfile::tempdir().expect("a folder");
    let mut coordinator = "mode coordinator\ncoordinator_info 10.77.0.1:8001\n".to_owned();
    let mut processes = Vec::new();
    for i in 0..PARTICIPANTS {
        coordinator += &format!("participant_info 10.77.{}.2:8002\n", i + 1);
        let file = folder.path().join(format!("participant{i}.conf"));
        let text = format!(
            "mode participant\nparticipant_info 10.77.{}.2:8002\ncoordinator_info 10.77.0.1:8001\n",
            i + 1
        );
        fs::write(&file, text).expect("a file");
        processes.push(Process::start(&hosts.participant(i), &file));
    }
    fs::write(folder.path().join("coordinator.conf"), coordinator).expect("a file");
    let mut inside = Command::new("ip");
    inside.args(["netns", "exec", &hosts.coordinator()]);
    inside.arg(std::env::current_exe().expect("this program"));
    inside.args(["--exact", "links_are_cut_and_healed_in_any_order", "--nocapture"]);
    inside.env(INSIDE, hosts.coordinator()).env("TWO_PHASE_LINKS_FOLDER", folder.path());
    assert!(inside.status().expect("it runs").success(), "see above");
}

/// What happens, seen from the coordinator's host.
fn story(folder: &Path) {
    let here = std::env::var(INSIDE).expect("a namespace");
    let start = || Process::start(&here, &folder.join("coordinator.conf"));
    let coordinator = start();
    becomes_ok("1");
    // A link is cut: the participant is out within a second, and the others serve.
    link(0, "down");
    let cut = Instant::now();
    becomes_ok("2");
    assert!(cut.elapsed() < Duration::from_secs(3), "out after {:?}", cut.elapsed());
    link(1, "down");
    becomes_ok("3");
    // Participant 2 alone has the newest value. Cut off, it is missed; the old copies are not asked.
    link(2, "down");
    eventually("nobody is left", LONG, || set("4").filter(|reply| reply == "-ERROR\r\n"));
    link(0, "up");
    link(1, "up");
    let watch = Instant::now();
    while watch.elapsed() < Duration::from_secs(2) {
        assert_eq!(say(&["GET", "x"]).expect("a reply"), "-ERROR\r\n", "an old copy was asked");
    }
    link(2, "up");
    stays("3");
    // All are brought up to date; each can then serve alone.
    for alone in [0, 1, 2] {
        let value = format!("{}", 10 + alone);
        eventually("all are back", LONG, || {
            becomes_ok(&value);
            (0..PARTICIPANTS).filter(|i| *i != alone).for_each(|i| link(i, "down"));
            let served = eventually("one serves, or none is left", LONG, || {
                let reply = say(&["GET", "x"])?;
                assert!(reply == is(&value) || reply == "-ERROR\r\n", "{reply:?}");
                Some(reply)
            });
            let still = Instant::now();
            let mut last = served;
            while still.elapsed() < Duration::from_secs(2) {
                last = say(&["GET", "x"]).expect("a reply");
            }
            (0..PARTICIPANTS).for_each(|i| link(i, "up"));
            stays(&value);
            (last == is(&value)).then_some(())
        });
    }
    // The coordinator remembers nothing; cut off from the newest copy it does not guess, either.
    becomes_ok("20");
    link(0, "down");
    link(1, "down");
    becomes_ok("21");
    drop(coordinator);
    link(2, "down");
    link(0, "up");
    link(1, "up");
    let coordinator = start();
    let watch = Instant::now();
    while watch.elapsed() < Duration::from_secs(3) {
        let reply = say(&["GET", "x"]).unwrap_or_else(|| "-ERROR\r\n".to_owned());
        assert_eq!(reply, "-ERROR\r\n", "an old copy was asked");
    }
    link(2, "up");
    stays("21");
    drop(coordinator);
}
