//! `lab cluster perf`, `outliers` and `diverge` as commands, against real servers: what they print, what they
//! leave in their folders, and that the figures fit together.

use std::fs;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};

use serde_json::Value;

fn lab(arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_lab"));
    command.args(arguments).env_remove("RUST_LOG").stdin(Stdio::null());
    command.output().expect("lab runs")
}

fn succeeded(output: &Output) -> String {
    let errors = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(0), "{errors}");
    String::from_utf8(output.stdout.clone()).expect("text")
}

fn json(path: &Path) -> Value {
    serde_json::from_str(&fs::read_to_string(path).expect("a file")).expect("JSON")
}

fn rows(path: &Path) -> Vec<csv::StringRecord> {
    let mut reader = csv::Reader::from_path(path).expect("a file");
    reader.records().collect::<Result<_, _>>().expect("CSV")
}

/// A hash table server, killed in the end.
struct Server {
    child: Child,
    address: String,
}

impl Server {
    fn start(dir: &Path) -> Server {
        let mut command = Command::new(env!("CARGO_BIN_EXE_servers"));
        command.args(["cluster", "t-0", "--dir"]).arg(dir).env_remove("RUST_LOG");
        let mut child = command.stdout(Stdio::piped()).spawn().expect("servers starts");
        let mut line = String::new();
        let stdout = child.stdout.take().expect("piped");
        BufReader::new(stdout).read_line(&mut line).expect("text");
        let port = line.trim().strip_prefix("Listening on port ").expect("a port");
        let address = format!("127.0.0.1:{port}");
        Server { child, address }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// No file of a server is left below this folder.
fn no_servers_left(folder: &Path) {
    let left = fs::read_dir(folder).expect("a folder").filter_map(Result::ok);
    let left: Vec<_> = left.filter(|entry| entry.path().is_dir()).collect();
    assert!(left.is_empty(), "{left:?}");
}

#[test]
fn a_sweep_measures_three_clusters_with_every_number_of_clients() {
    let folder = tempfile::tempdir().expect("a folder");
    let out = folder.path().to_str().expect("text");
    let load = ["--ops", "20", "--lookups", "20", "--scans", "3", "--clients", "1,3", "--out", out];
    let text = succeeded(&lab(&[&["cluster", "perf", "--sweep"], &load[..]].concat()));
    for cluster in ["N=1 K=1", "N=3 K=2", "N=5 K=3"] {
        assert_eq!(text.matches(cluster).count(), 2, "{text}");
    }
    let steps = rows(&folder.path().join("perf.csv"));
    assert_eq!(steps.len(), 3 * 2 * 4);
    for step in &steps {
        let clients: u64 = step[2].parse().expect("a number");
        let each = if &step[3] == "scan" { 3 } else { 20 };
        assert_eq!(step[4].parse(), Ok(clients * each), "{step:?}");
        assert!(step[5].parse::<f64>().expect("a number") > 0.0, "{step:?}");
    }
    // The clients of each step add up to its throughput.
    let clients = rows(&folder.path().join("clients.csv"));
    assert_eq!(clients.len(), 3 * (1 + 3) * 4);
    for step in &steps {
        let same = |row: &&csv::StringRecord| (0..4).all(|column| row[column] == step[column]);
        let sum: f64 = clients.iter().filter(same).map(|row| row[6].parse::<f64>().unwrap()).sum();
        let whole: f64 = step[5].parse().expect("a number");
        assert!((sum - whole).abs() <= 0.5, "{sum} {whole}");
    }
    let summary = json(&folder.path().join("summary.json"));
    assert_eq!(summary["results"]["troubles"], Value::Array(Vec::new()));
    assert_eq!(summary["results"]["figures"].as_array().map(Vec::len), Some(24));
    assert!(
        fs::read_to_string(folder.path().join("perf.svg")).expect("a picture").contains("</svg>")
    );
    no_servers_left(folder.path());
}

#[test]
fn the_floors_are_measured_and_set_against_the_aims() {
    let folder = tempfile::tempdir().expect("a folder");
    let out = folder.path().to_str().expect("text");
    let arguments =
        ["cluster", "perf", "--floor", "--rounds", "1", "--entries", "2000", "--out", out];
    let text = succeeded(&lab(&arguments));
    for line in ["insert, N=1 K=1", "insert, 50 clients", "lookup, 50", "all match", "restart"] {
        assert!(text.contains(line), "{text}");
    }
    let figures = json(&folder.path().join("summary.json"))["figures"].clone();
    for figure in ["echo_p50_us", "disk_p50_us", "insert_p50_us", "scan_all", "restart_seconds"] {
        assert!(figures[figure].as_f64().is_some_and(|figure| figure > 0.0), "{figure}: {figures}");
    }
    no_servers_left(folder.path());
}

#[test]
fn outliers_names_the_slowest_of_each_operation() {
    let folder = tempfile::tempdir().expect("a folder");
    let server = Server::start(&folder.path().join("data"));
    let out = folder.path().join("out");
    let load = ["--clients", "2", "--ops", "400", "--scans", "20"];
    let to = ["--at", server.address.as_str(), "--out", out.to_str().expect("text")];
    let text = succeeded(&lab(&[&["cluster", "outliers", "t", "1", "1"], &load[..], &to].concat()));
    for phase in ["insert", "lookup", "scan", "remove"] {
        assert!(text.contains(&format!("slowest {phase}s")), "{text}");
    }
    let slowest = rows(&out.join("slowest.csv"));
    assert_eq!(slowest.len(), 4 * 10);
    for ten in slowest.chunks(10) {
        let took: Vec<f64> = ten.iter().map(|row| row[2].parse().expect("a number")).collect();
        assert!(took.windows(2).all(|pair| pair[0] >= pair[1]), "{took:?}");
    }
    let figures = json(&out.join("summary.json"))["results"]["figures"].clone();
    assert_eq!(figures["insert"]["ops"], 800);
    // 800 inserts at 100 a log: the server has compacted.
    assert!(!rows(&out.join("compactions.csv")).is_empty());
    assert!(fs::read_to_string(out.join("outliers.svg")).expect("a picture").contains("<circle"));
}

#[test]
fn perf_shows_each_client_and_their_sum() {
    let folder = tempfile::tempdir().expect("a folder");
    let server = Server::start(&folder.path().join("data"));
    let out = folder.path().join("out");
    let arguments = ["cluster", "perf", "t", "1", "1", "--at", &server.address, "--clients", "3"];
    let load = ["--ops", "20", "--scans", "2", "--out", out.to_str().expect("text")];
    let text = succeeded(&lab(&[&arguments[..], &load].concat()));
    let sum = text.lines().filter(|line| line.starts_with("sum")).count();
    let clients = text.lines().filter(|line| line.starts_with(['0', '1', '2'])).count();
    assert_eq!((clients, sum), (3, 1), "{text}");
}

#[test]
fn copies_diverge_and_the_checker_says_so_from_the_file_too() {
    let folder = tempfile::tempdir().expect("a folder");
    let out = folder.path().to_str().expect("text");
    let text = succeeded(&lab(&["cluster", "diverge", "--rounds", "20", "--out", out]));
    for line in ["copy 1 ← a", "copy 2 ← b", "reads b from", "reads a from", "is killed", "of 20"]
    {
        assert!(text.contains(line), "{text}");
    }
    let history = folder.path().join("history.jsonl");
    let checked = lab(&["check", history.to_str().expect("text"), "--json"]);
    assert_eq!(checked.status.code(), Some(1), "{}", String::from_utf8_lossy(&checked.stderr));
    let verdicts: Value = serde_json::from_slice(&checked.stdout).expect("JSON");
    let summary = json(&folder.path().join("summary.json"));
    assert_eq!(verdicts["witness"]["model"], "mr");
    assert_eq!(summary["witness_against"], "mr");
    assert_eq!(summary["strongest"], verdicts["strongest"]);
    assert_eq!(summary["races"], 20);
    let page = fs::read_to_string(folder.path().join("timeline.html")).expect("a page");
    assert!(page.contains("monotonic reads"));
    no_servers_left(folder.path());
}

#[test]
fn wrong_usage_is_one_line() {
    for arguments in [
        &["perf"][..],
        &["perf", "t", "1", "2", "--at", "127.0.0.1:1"],
        &["perf", "t", "2", "1", "--at", "127.0.0.1:1"],
        &["perf", "--sweep", "--floor"],
        &["perf", "--sweep", "--clients", "0"],
        &["perf", "--sweep", "--rounds", "3"],
        &["perf", "t", "1", "1", "--at", "127.0.0.1:1", "--entries", "10"],
        &["perf", "--floor", "--clients", "2"],
        &["perf", "t", "1", "1", "--sweep"],
        &["outliers", "t", "1", "2", "--at", "127.0.0.1:1"],
        &["outliers", "t", "1", "1", "--clients", "1000", "--ops", "1000000"],
        &["diverge", "--rounds", "many"],
    ] {
        let output = lab(&[&["cluster"], arguments].concat());
        let errors = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(64), "{arguments:?}: {errors}");
        assert_eq!(errors.lines().count(), 1, "{errors}");
    }
}

#[test]
fn a_cluster_that_is_not_there_is_given_up_when_asked_to() {
    let folder = tempfile::tempdir().expect("a folder");
    let patience = ["--retry-wait", "10ms", "--give-up-after", "30ms", "--duration", "100ms"];
    let out = ["--clients", "1", "--out", folder.path().to_str().expect("text")];
    let to = ["cluster", "perf", "t", "1", "1", "--at", "127.0.0.1:1"];
    let output = lab(&[&to[..], &patience, &out].concat());
    assert_eq!(output.status.code(), Some(1));
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(text.contains("gave up after"), "{text}");
}
