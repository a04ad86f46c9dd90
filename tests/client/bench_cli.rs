//! `lab bench` against a mock server: files, floors, pairs, failures, closed pipes.

use std::{
    fs,
    path::Path,
    process::{Command as Process, Stdio},
};

use crate::mock_server::{Manner, nowhere, start};
use assert_cmd::{Command, assert::Assert};
use consistency_lab::report::Summary;

fn bench(folder: &Path, to: &str, words: &[&str]) -> Assert {
    let mut command = Command::new(env!("CARGO_BIN_EXE_lab"));
    command.current_dir(folder).args(["bench", "--to", to]).args(words).assert()
}

fn summary(path: impl AsRef<Path>) -> Summary {
    let text = fs::read_to_string(path.as_ref().join("summary.json")).expect("a summary");
    serde_json::from_str(&text).expect("a summary of this program")
}

fn stdout(assert: &Assert) -> String {
    String::from_utf8(assert.get_output().stdout.clone()).expect("text")
}

#[test]
fn a_bench_counts_every_operation_and_leaves_its_files() {
    let folder = tempfile::tempdir().expect("a folder");
    let to = start(Manner::default());
    let words = ["--clients", "3", "--ops", "1000", "--keys", "10", "--pipeline", "4"];
    let assert = bench(folder.path(), &to, &words).code(0).stderr("");
    let text = stdout(&assert);
    assert!(text.contains("read latency") && text.contains("p99.9"), "{text}");
    assert!(!text.contains('\x1b'), "no colours in a pipe");
    let run = folder.path().join("results/bench-memcached-1");
    let summary = summary(&run);
    assert_eq!(summary.kinds["read"].ops + summary.kinds["write"].ops, 1000);
    assert_eq!(summary.kinds["read"].missing, 0, "the keys were written beforehand");
    assert_eq!(summary.config["seed"], 1);
    assert!(summary.command_line.contains(&"--pipeline".to_owned()));
    for format in consistency_lab::report::FORMATS {
        assert!(run.join(format.file).exists(), "{}", format.file);
    }
    bench(folder.path(), &to, &["--ops", "10"]).code(0);
    assert!(folder.path().join("results/bench-memcached-2/summary.json").exists());
}

#[test]
fn failures_are_counted_and_do_not_end_the_bench() {
    let folder = tempfile::tempdir().expect("a folder");
    let refusal = "SERVER_ERROR timeout, outcome unknown";
    let to = start(Manner { refuse_every: 10, refusal, ..Manner::default() });
    let words = ["--ops", "100", "--reads", "0", "--warmup", "0", "--out", "out"];
    bench(folder.path(), &to, &words).code(0);
    let write = &summary(folder.path().join("out")).kinds["write"];
    assert_eq!((write.ops, write.errors, write.unknown), (90, 0, 10));
}

#[test]
fn a_lost_connection_is_opened_again() {
    let folder = tempfile::tempdir().expect("a folder");
    let to = start(Manner { hang_up_at: 11, ..Manner::default() });
    let words = ["--ops", "100", "--reads", "0", "--warmup", "0", "--name", "again"];
    bench(folder.path(), &to, &words).code(0);
    let write = &summary(folder.path().join("results/again")).kinds["write"];
    assert_eq!((write.ops, write.errors, write.unknown), (91, 0, 9));
}

#[test]
fn an_open_loop_sends_what_is_due() {
    let folder = tempfile::tempdir().expect("a folder");
    let to = start(Manner::default());
    let words = ["--ops", "50", "--rate", "5000", "--clients", "2", "--out", "open"];
    let assert = bench(folder.path(), &to, &words).code(0);
    assert!(stdout(&assert).contains("open loop 5000 ops/s"));
    assert_eq!(summary(folder.path().join("open")).unsent, 0);
}

#[test]
fn floors_are_measured_in_the_same_run() {
    let folder = tempfile::tempdir().expect("a folder");
    let to = start(Manner::default());
    let words = ["--ops", "300", "--floor", "--rounds", "3", "--clients", "2", "--out", "floor"];
    let assert = bench(folder.path(), &to, &words).code(0).stderr("");
    assert!(stdout(&assert).contains("work/chain"));
    let floors = summary(folder.path().join("floor")).floors.expect("floors");
    assert_eq!(floors.rounds, 3);
    for figure in ["read_p50_us", "write_p50_us", "ops_per_second"] {
        let ratios = &floors.figures[figure];
        assert!(ratios.echo > 0.0 && ratios.chain > 0.0 && ratios.to_echo.is_some(), "{figure}");
    }
}

#[test]
fn pairs_count_current_reads_and_both_modes_are_compared() {
    let folder = tempfile::tempdir().expect("a folder");
    let eventual =
        start(Manner { consistency: Some("eventual"), stale_every: 4, ..Manner::default() });
    let assert = bench(folder.path(), &eventual, &["--pairs", "100"]).code(0).stderr("");
    let text = stdout(&assert);
    assert!(text.contains("current reads 75 of 100"), "{text}");
    assert!(!text.contains("sequential"), "only one mode has been run: {text}");
    let sequential = start(Manner { consistency: Some("sequential"), ..Manner::default() });
    let assert = bench(folder.path(), &sequential, &["--pairs", "100"]).code(0);
    let text = stdout(&assert);
    assert!(text.contains("eventual  sequential"), "{text}");
    let results = folder.path().join("results");
    let pairs = summary(results.join("performance-sequential")).pairs.expect("pairs");
    assert_eq!((pairs.count, pairs.current_reads, pairs.mode.as_str()), (100, 100, "sequential"));
    assert!(results.join("performance.svg").exists());
    let unknown = start(Manner::default());
    bench(folder.path(), &unknown, &["--pairs", "5"]).code(0);
    assert!(results.join("performance-unknown/latency.hlog").exists());
}

#[test]
fn nobody_there_is_one_line_and_leaves_no_run() {
    let folder = tempfile::tempdir().expect("a folder");
    let to = nowhere();
    bench(folder.path(), &to, &["--ops", "10"]).code(1).stderr(format!(
        "lab: error: nothing listens on {to}; start servers with: scripts/server-normal.sh \
         sequential\n"
    ));
    assert!(!folder.path().join("results/bench-memcached-1").exists());
}

#[test]
fn a_folder_that_cannot_be_made_is_said_before_the_measuring() {
    let folder = tempfile::tempdir().expect("a folder");
    fs::write(folder.path().join("file"), "").expect("a file");
    let assert = bench(folder.path(), &nowhere(), &["--out", "file/below"]).code(1);
    let text = String::from_utf8_lossy(&assert.get_output().stderr).into_owned();
    let line = "lab: error: cannot write file/below: Not a directory (os error 20); choose another \
                folder with --out\n";
    assert_eq!(text, line, "the cause is said once");
}

#[test]
fn a_closed_pipe_ends_quietly() {
    let folder = tempfile::tempdir().expect("a folder");
    let to = start(Manner::default());
    for words in [&["bench", "--to", &to, "--ops", "10"][..], &["completions", "zsh"]] {
        let mut child = Process::new(env!("CARGO_BIN_EXE_lab"))
            .current_dir(folder.path())
            .args(words)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("lab starts");
        drop(child.stdout.take());
        let output = child.wait_with_output().expect("lab ends");
        assert_eq!(String::from_utf8_lossy(&output.stderr), "");
        assert_eq!(output.status.code(), Some(0));
    }
}
