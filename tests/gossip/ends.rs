//! However the master ends, nothing is left running.

use std::os::unix::process::ExitStatusExt;

use crate::gossip_support::{Master, all_gone, descendants, signal};

/// A master with three servers, and the processes below it.
fn running() -> (Master, Vec<(u32, String)>) {
    let mut lab = Master::start(&[]);
    let commands = "joinServer 0\njoinServer 1\njoinServer 2\njoinClient 5 0\nput 5 k v\nget 5 k\n";
    assert_eq!(lab.ask(commands), "k:v");
    let below = descendants(lab.pid());
    let watchdogs = below.iter().filter(|(_, line)| line.contains("watchdog")).count();
    assert_eq!((watchdogs, below.len()), (3, 6), "{below:?}");
    (lab, below)
}

/// Where a server keeps its data.
fn folder_of(line: &str) -> &str {
    let (_, rest) = line.split_once("--data ").expect("a server");
    rest.split(' ').next().expect("a folder")
}

#[test]
fn at_the_end_of_the_commands() {
    let (lab, below) = running();
    lab.end();
    all_gone(&below);
    for (_, line) in below.iter().filter(|(_, line)| line.contains("--only")) {
        assert!(!std::path::Path::new(folder_of(line)).exists(), "{line}");
    }
}

#[test]
fn by_ctrl_c() {
    let (mut lab, below) = running();
    lab.signal("INT");
    assert_eq!(lab.wait().code(), Some(130));
    all_gone(&below);
}

#[test]
fn by_sigterm_in_the_middle_of_a_wait() {
    let (mut lab, below) = running();
    let (server, _) = below.iter().find(|(_, line)| line.contains("--only 1")).expect("server 1");
    signal(*server, "STOP");
    lab.say("put 5 k w\nstabilize\n");
    lab.signal("TERM");
    lab.wait();
    all_gone(&below);
}

#[test]
fn by_kill_9() {
    let (mut lab, below) = running();
    lab.signal("KILL");
    assert_eq!(lab.wait().signal(), Some(9));
    all_gone(&below);
}

#[test]
fn a_server_goes_with_its_watchdog_and_one_that_dies_can_be_joined_again() {
    let (mut lab, below) = running();
    let process =
        |what: &str| below.iter().find(|(_, line)| line.contains(what)).expect("it runs").clone();
    let server = process("--only 1");
    signal(server.0, "KILL");
    all_gone(&[server]);
    // The master learns of it by the next command that needs it.
    lab.say("stabilize\njoinServer 1\njoinClient 6 1\nstabilize\n");
    assert_eq!(lab.ask("get 6 k\n"), "k:v");
    let before = descendants(lab.pid());
    let server =
        before.iter().find(|(_, line)| line.contains("--only 2")).expect("server 2").clone();
    let watchdog =
        before.iter().find(|(pid, _)| descendants(*pid).contains(&server)).expect("its watchdog");
    signal(watchdog.0, "KILL");
    all_gone(&[server]);
    lab.say("killServer 2\n");
    assert_eq!(lab.ask("get 6 k\n"), "k:v");
    lab.end();
    all_gone(&before);
}
