//! The scripts in `scripts/`: help, wrong usage, and what the client scripts send and print.
//!
//! No replica runs here; `scripts/demonstrations.sh` has the scripts meet real ones.

#![cfg(unix)]
#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::PathBuf;
use std::process::Output;
use std::thread::JoinHandle;

use assert_cmd::Command;
use socket2::{Domain, Socket, Type};

const PROGRAMS: &[&str] = &[
    "bench-peers.sh",
    "bench.sh",
    "client-normal.sh",
    "client-read.sh",
    "client-stale-custom.sh",
    "client-stale.sh",
    "client-xto0.sh",
    "conformance.sh",
    "demonstrations.sh",
    "performance.sh",
    "pictures.sh",
    "prove.sh",
    "server-normal.sh",
    "server-stale.sh",
];

fn folder() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("scripts")
}

/// Runs a script from another folder, with the environment of a person who has set nothing.
fn run(script: &str, arguments: &[&str], port: Option<u16>) -> Output {
    let mut command = Command::new(folder().join(script));
    for variable in ["CLIENT_PORT", "BROADCAST_PORT", "DATA", "WRITE_DELAY", "PAIRS"] {
        command.env_remove(variable);
    }
    if let Some(port) = port {
        command.env("CLIENT_PORT", port.to_string());
    }
    command.args(arguments).current_dir(std::env::temp_dir()).output().unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// A server for one connection: for each request, the bytes that it must consist of and the reply.
fn serve(exchanges: &'static [(&'static str, &'static str)]) -> (u16, JoinHandle<()>) {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let port = listener.local_addr().unwrap().port();
    let server = std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        for (request, reply) in exchanges {
            let mut found = vec![0; request.len()];
            stream.read_exact(&mut found).unwrap();
            assert_eq!(text(&found), *request);
            stream.write_all(reply.as_bytes()).unwrap();
        }
    });
    (port, server)
}

#[test]
fn the_list_above_is_the_folder() {
    let mut found: Vec<String> = std::fs::read_dir(folder())
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .filter(|name| name.ends_with(".sh") && name != "lib.sh")
        .collect();
    found.sort();
    assert_eq!(found, PROGRAMS);
}

#[test]
fn every_script_has_the_same_frame() {
    for script in PROGRAMS {
        let mut lines = BufReader::new(std::fs::File::open(folder().join(script)).unwrap()).lines();
        assert_eq!(lines.next().unwrap().unwrap(), "#!/usr/bin/env bash", "{script}");
        assert!(lines.any(|line| line.unwrap() == "set -euo pipefail"), "{script}");
    }
}

#[test]
fn help_shows_usage_and_an_example() {
    for script in PROGRAMS {
        let output = run(script, &["--help"], None);
        let help = text(&output.stdout);
        assert!(output.status.success(), "{script}");
        assert!(help.contains(&format!("usage: scripts/{script}")), "{script}: {help}");
        assert!(help.contains("example: "), "{script}: {help}");
        assert!(!help.contains("set -e"), "{script}: help goes on into the code");
    }
}

#[test]
fn wrong_usage_is_one_line_and_exit_64() {
    let cases: &[(&str, &[&str])] = &[
        ("bench-peers.sh", &["more"]),
        ("bench-peers.sh", &["--ops"]),
        ("bench-peers.sh", &["--ops", "0"]),
        ("bench-peers.sh", &["--rounds=many"]),
        ("bench-peers.sh", &["--clients", "1,x"]),
        ("bench-peers.sh", &["--clients", ""]),
        ("bench-peers.sh", &["--only", "redis,oracle"]),
        ("bench-peers.sh", &["--only="]),
        ("bench-peers.sh", &["--only", "redis", "--baseline", "etcd"]),
        ("bench-peers.sh", &["--speed", "1"]),
        ("bench.sh", &["more"]),
        ("client-normal.sh", &["more"]),
        ("client-read.sh", &["x", "99999"]),
        ("client-read.sh", &["x", "port"]),
        ("client-read.sh", &["two words"]),
        ("client-read.sh", &["x", "1", "more"]),
        ("client-stale-custom.sh", &[]),
        ("client-stale-custom.sh", &["key"]),
        ("client-stale-custom.sh", &["", "value"]),
        ("client-stale-custom.sh", &["line\nbreak", "value"]),
        ("client-stale-custom.sh", &["key", "value", "0"]),
        ("client-stale.sh", &["more"]),
        ("client-xto0.sh", &["more"]),
        ("conformance.sh", &["more"]),
        ("demonstrations.sh", &["more"]),
        ("performance.sh", &["0"]),
        ("performance.sh", &["many"]),
        ("server-normal.sh", &[]),
        ("server-normal.sh", &["--replicas"]),
        ("server-stale.sh", &[]),
    ];
    for (script, arguments) in cases {
        let output = run(script, arguments, None);
        let message = text(&output.stderr);
        assert_eq!(output.status.code(), Some(64), "{script} {arguments:?}: {message}");
        assert!(message.contains("expected"), "{script} {arguments:?}: {message}");
        assert!(text(&output.stdout).is_empty(), "{script} {arguments:?}");
        let first = message.lines().next().unwrap();
        assert!(first.starts_with(&format!("{script}: ")), "{script} {arguments:?}: {message}");
    }
}

#[test]
fn a_port_where_nothing_listens_is_one_clear_line() {
    // Bound but not listening: nobody else can take the port meanwhile.
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    socket.bind(&SocketAddr::from((Ipv4Addr::LOCALHOST, 0)).into()).unwrap();
    let port = socket.local_addr().unwrap().as_socket().unwrap().port();
    for (script, arguments) in [
        ("client-stale.sh", vec![]),
        ("client-xto0.sh", vec![]),
        ("client-read.sh", vec!["x".to_string(), port.to_string()]),
        ("client-stale-custom.sh", vec!["key".to_string(), "value".to_string()]),
    ] {
        let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
        let output = run(script, &arguments, Some(port));
        let message = text(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{script}: {message}");
        assert!(message.contains(&format!("nothing listens on 127.0.0.1:{port}")), "{message}");
        assert_eq!(message.lines().count(), 1, "{script}: {message}");
    }
}

#[test]
fn the_stale_client_sets_then_gets_and_prints_the_replies() {
    let (port, server) = serve(&[
        ("set x 0 0 2\r\n42\r\n", "STORED\r\n"),
        ("get x\r\n", "VALUE x 0 1\r\n0\r\nEND\r\n"),
        ("quit\r\n", ""),
    ]);
    let output = run("client-stale.sh", &[], Some(port));
    assert_eq!(text(&output.stdout), "STORED\nVALUE x 0 1\n0\nEND\n");
    assert!(output.status.success());
    server.join().unwrap();
}

#[test]
fn custom_values_may_hold_spaces_line_breaks_and_long_characters() {
    let (port, server) = serve(&[
        ("set greeting 0 0 12\r\nhé llo\nEND\n\r\n", "STORED\r\n"),
        ("get greeting\r\n", "VALUE greeting 0 12\r\nhé llo\nEND\n\r\nEND\r\n"),
        ("quit\r\n", ""),
    ]);
    let port = port.to_string();
    let output = run("client-stale-custom.sh", &["greeting", "hé llo\nEND\n", &port], None);
    assert_eq!(text(&output.stdout), "STORED\nVALUE greeting 0 12\nhé llo\nEND\n\nEND\n");
    assert!(output.status.success());
    server.join().unwrap();
}

#[test]
fn an_error_from_the_server_is_shown_and_is_a_failure() {
    let (port, server) = serve(&[
        ("set x 0 0 2\r\n42\r\n", "SERVER_ERROR timeout, outcome unknown\r\n"),
        ("get x\r\n", "END\r\n"),
        ("quit\r\n", ""),
    ]);
    let output = run("client-stale.sh", &[], Some(port));
    assert_eq!(text(&output.stdout), "SERVER_ERROR timeout, outcome unknown\nEND\n");
    assert_eq!(output.status.code(), Some(1));
    server.join().unwrap();
}

#[test]
fn a_server_that_hangs_up_is_one_clear_line() {
    let (port, server) = serve(&[("set x 0 0 1\r\n0\r\n", "")]);
    let output = run("client-xto0.sh", &[], Some(port));
    assert!(text(&output.stderr).contains("the server closed the connection"));
    assert_eq!(output.status.code(), Some(1));
    server.join().unwrap();
}

#[test]
fn reading_a_key_that_is_not_there_is_no_error() {
    let (port, server) = serve(&[("get nothing\r\n", "END\r\n"), ("quit\r\n", "")]);
    let output = run("client-read.sh", &["nothing", &port.to_string()], None);
    assert_eq!(text(&output.stdout), "END\n");
    assert!(output.status.success());
    server.join().unwrap();
}

/// The table that ends `bench-peers.sh`, from two rounds of two subjects.
#[test]
fn the_table_of_peers_shows_medians_and_ratios_to_ours() {
    if std::process::Command::new("python3").arg("--version").output().is_err() {
        println!("skipped: python3 is not installed");
        return;
    }
    let scratch = tempfile::tempdir().unwrap();
    let file = |name: &str, text: &str| {
        let path = scratch.path().join(name);
        std::fs::write(&path, text).unwrap();
        path
    };
    let runs = file(
        "in.csv",
        "round,subject,work,clients,ops,errors,seconds,p50_us,p99_us,p99.9_us\n\
         1,sequential,set,1,100,0,0.01,100.0,200.0,300.0\n\
         1,etcd,set,1,100,2,0.05,500.0,600.0,700.0\n\
         2,sequential,set,1,100,0,0.01,100.0,200.0,300.0\n\
         2,etcd,set,1,100,0,0.05,300.0,600.0,700.0\n",
    );
    let about = file(
        "about.tsv",
        "baseline\t\tsequential\nnote\t\ta note\npromise\tsequential\tone order\n\
         promise\tetcd\tcurrent\npromise\tredis\tlater\nskipped\tredis\tit is not here\nconfig\tops\t100\n",
    );
    let out = scratch.path().join("peers-1");
    let output = Command::new("python3")
        .arg(folder().join("peers/report.py"))
        .arg("table")
        .args([&runs, &about, &out])
        .output()
        .unwrap();
    let shown = text(&output.stdout);
    assert!(output.status.success(), "{}", text(&output.stderr));
    assert!(shown.contains("skipped: redis: it is not here"), "{shown}");
    assert!(shown.contains("2 errors"), "{shown}");
    let table = std::fs::read_to_string(out.join("peers.csv")).unwrap();
    assert_eq!(
        table,
        "work,clients,subject,ops_per_second,p50_us,p99_us,p99.9_us,rounds,errors,ops_ratio,p50_ratio\n\
         set,1,sequential,10000.0,100.0,200.0,300.0,2,0,1.0000,1.0000\n\
         set,1,etcd,2000.0,400.0,600.0,700.0,2,2,0.2000,4.0000\n"
    );
    let summary = std::fs::read_to_string(out.join("summary.json")).unwrap();
    let summary: serde_json::Value = serde_json::from_str(&summary).unwrap();
    assert_eq!(summary["name"], "peers-1");
    assert_eq!(summary["subjects"]["redis"]["skipped"], "it is not here");
    assert_eq!(summary["results"][1]["p50_ratio"], 4.0);
}
