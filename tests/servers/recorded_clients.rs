//! `lab bench --history` and `lab client --history` against real servers, and the files that they leave.

use std::collections::{HashMap, HashSet};
use std::fs::File;
use std::io::BufReader;
use std::path::Path;

use crate::process_support::{Server, three};
use assert_cmd::{Command, assert::Assert};
use consistency_lab::history::{Action, History, Outcome, ValueId, formats};

fn read(path: &Path) -> History {
    let file = File::open(path).unwrap_or_else(|error| panic!("{path:?}: {error}"));
    formats::read_any(&mut BufReader::new(file), "history", None)
        .unwrap_or_else(|error| panic!("{error}"))
}

fn lab(folder: &Path, words: &[&str]) -> Assert {
    let mut command = Command::new(env!("CARGO_BIN_EXE_lab"));
    command.current_dir(folder).args(words).assert()
}

fn all(server: &Server) -> String {
    (0..3).map(|i| server.clients(i).to_string()).collect::<Vec<_>>().join(",")
}

fn stderr(assert: &Assert) -> String {
    String::from_utf8_lossy(&assert.get_output().stderr).into_owned()
}

#[test]
fn a_bench_records_every_operation_with_values_that_are_written_once() {
    let folder = tempfile::tempdir().expect("a folder");
    let server = three("eventual", &folder.path().join("data"), &[]);
    let to = all(&server);
    let mut runs = Vec::new();
    for (run, pipeline) in [("one", "1"), ("two", "5")] {
        let words = ["bench", "--history", "--to", &to, "--clients", "7", "--ops", "2000"];
        let more = ["--keys", "20", "--pipeline", pipeline, "--warmup", "10", "--out", run];
        let assert = lab(folder.path(), &[&words[..], &more].concat()).code(0);
        let stdout = String::from_utf8_lossy(&assert.get_output().stdout).into_owned();
        assert!(stdout.contains(&format!("history: {run}/history.jsonl")), "{stdout}");
        runs.push(read(&folder.path().join(run).join("history.jsonl")));
    }
    for (history, initial) in runs.iter().zip([0, 20]) {
        assert_eq!(history.claim.as_deref(), Some("eventual"));
        assert_eq!(history.initial.len(), initial);
        assert_eq!(history.operations.len(), 20 + 70 + 2000, "preload, warm-up, measured");
        let mut written: HashSet<_> = history.initial.iter().copied().collect();
        for operation in &history.operations {
            assert_eq!(operation.outcome, Outcome::Ok);
            let process = history.process(operation.process);
            let client = process[1..].split('+').next().and_then(|n| n.parse::<u16>().ok());
            assert_eq!(operation.replica.map(|replica| replica.0), client.map(|client| client % 3));
            if let Action::Write(value) = operation.action {
                assert!(written.insert((operation.key, value)), "{}", history.value(value));
                assert_eq!(history.value(value).len(), 32);
            }
        }
        let mut reads = 0;
        for operation in &history.operations {
            if let Some(value) = operation.read() {
                let known = value == ValueId::NIL || written.contains(&(operation.key, value));
                assert!(known, "{} out of thin air", history.value(value));
                reads += 1;
            }
        }
        assert!(reads > 500);
    }
    server.stop();
}

#[test]
fn a_bench_that_cannot_be_recorded_says_what_it_needs() {
    let folder = tempfile::tempdir().expect("a folder");
    let server = three("sequential", &folder.path().join("data"), &[]);
    let to = all(&server);
    let words = ["bench", "--history", "--to", &to, "--clients", "50", "--ops", "1000"];
    let assert = lab(folder.path(), &[&words[..], &["--value-size", "3"]].concat()).code(64);
    let said = stderr(&assert);
    assert_eq!(said.lines().count(), 1, "{said}");
    assert!(said.contains("--value-size of at least 9"), "1:50:1100: {said}");
    assert!(!folder.path().join("results/bench-memcached-1").exists(), "no run, no folder");
    let assert = lab(folder.path(), &["bench", "--history", "--keys", "2000000", "--to", &to]);
    assert!(stderr(&assert.code(64)).contains("at most 1000000 --keys"));
    server.stop();
}

#[test]
fn a_lost_server_leaves_unknown_operations() {
    let folder = tempfile::tempdir().expect("a folder");
    let server = three("sequential", &folder.path().join("data"), &[]);
    let to = server.clients(0).to_string();
    let out = folder.path().join("run");
    let file = out.join("history.jsonl");
    let mut bench = std::process::Command::new(env!("CARGO_BIN_EXE_lab"))
        .args(["bench", "--history", "--to", &to, "--clients", "5", "--duration", "20s", "--out"])
        .arg(&out)
        .stdout(std::process::Stdio::null())
        .spawn()
        .expect("lab starts");
    crate::process_support::eventually(
        "something is recorded",
        crate::process_support::LONG,
        || (std::fs::metadata(&file).ok()?.len() > 500_000).then_some(()),
    );
    server.kill();
    assert!(bench.wait().expect("it ends").success());
    let history = read(&file);
    let mut ends: HashMap<Outcome, u32> = HashMap::new();
    history.operations.iter().for_each(|o| *ends.entry(o.outcome).or_default() += 1);
    // Who is fast reaches the server once more before it is quite gone.
    assert!(ends[&Outcome::Unknown] >= 5, "one a client: {ends:?}");
    assert_eq!(ends.get(&Outcome::Fail), None);
}

#[test]
fn clients_one_after_the_other_add_to_one_history() {
    let folder = tempfile::tempdir().expect("a folder");
    let server = three("sequential", &folder.path().join("data"), &["--init", "x=0"]);
    let (first, second) = (server.clients(0).to_string(), server.clients(1).to_string());
    let client = |to: &str, words: &[&str]| {
        lab(folder.path(), &[&["client", "--history", "h.jsonl", "--to", to], words].concat())
    };
    client(&first, &["set", "x", "1"]).code(0).stdout("STORED\n");
    client(&second, &["get", "x"]).code(0);
    client(&first, &["del", "y"]).code(1);
    let typed = "set a 5\nget a b\nincr a\nadd a 9\nappend a 7\ngat 0 a\nstats noreply\nversion\n";
    let mut command = Command::new(env!("CARGO_BIN_EXE_lab"));
    command.current_dir(folder.path()).args(["client", "--history", "h.jsonl", "--to", &second]);
    command.write_stdin(typed).assert().code(0);
    let resp = "mset m 1 n 2\nmget m n o\nset m 3 nx\ndel m n\nincr c\nget a\n";
    let mut command = Command::new(env!("CARGO_BIN_EXE_lab"));
    command.current_dir(folder.path()).args(["client", "--history", "h.jsonl", "--to", &first]);
    command.args(["--protocol", "resp"]).write_stdin(resp).assert().code(0);

    let history = read(&folder.path().join("h.jsonl"));
    assert_eq!(history.claim.as_deref(), Some("sequential"));
    let found: Vec<String> = history
        .operations
        .iter()
        .map(|operation| {
            let value = |id| history.value(id);
            let action = match operation.action {
                Action::Read(found) => format!("read {}", value(found)),
                Action::Write(new) => format!("write {}", value(new)),
                Action::Append(more) => format!("append {}", value(more)),
                Action::Other(name) => value(name).to_owned(),
                Action::Cas { from, to, .. } => format!("cas {} {}", value(from), value(to)),
            };
            let replica = operation.replica.map_or(9, |replica| replica.0);
            format!("{replica} {} {action} {:?}", history.key(operation.key), operation.outcome)
        })
        .collect();
    let expected = [
        "0 x write 1 Ok",
        "1 x read 1 Ok",
        "0 y write nil Fail",
        "1 a write 5 Ok",
        "1 a read 5 Ok",
        "1 b read nil Ok",
        "1 a count Ok",
        "1 a write 9 Fail",
        "1 a append 7 Ok",
        "1 a touch Ok",
        "1 a read 67 Ok",
        "0 m write 1 Ok",
        "0 n write 2 Ok",
        "0 m read 1 Ok",
        "0 n read 2 Ok",
        "0 o read nil Ok",
        "0 m write 3 Fail",
        "0 m write nil Ok",
        "0 n write nil Ok",
        "0 c count Ok",
        "0 a read 67 Ok",
    ];
    assert_eq!(found, expected);
    std::fs::write(folder.path().join("other"), "{\"history\":1}\n").expect("a file");
    let assert = lab(folder.path(), &["client", "--history", "other", "--to", &first, "get", "x"]);
    assert!(stderr(&assert.code(1)).contains("cannot add to other"));
    server.stop();
}
