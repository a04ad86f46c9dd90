//! `lab demo` and `lab draw` as a user runs them: a process, its output, its files, its exit code.

use std::fs;
use std::io::{BufRead, BufReader, Read};
use std::path::Path;
use std::process::{Command as Process, Stdio};
use std::time::{Duration, Instant};

use assert_cmd::Command;
use consistency_lab::report::{FORMATS, PAIR_MODES, Summary};
use signal_hook::consts::SIGINT;

fn lab(folder: &Path) -> Process {
    let mut lab = Process::new(env!("CARGO_BIN_EXE_lab"));
    // The temporary data folder goes there too, so that what is left over can be seen.
    lab.current_dir(folder).env("TMPDIR", folder);
    lab
}

fn demo(folder: &Path, words: &[&str]) -> String {
    let mut command = Command::from_std(lab(folder));
    let assert = command.arg("demo").args(words).assert().code(0).stderr("");
    String::from_utf8(assert.get_output().stdout.clone()).expect("text")
}

/// The lines with what differs from run to run (times, ports, measured figures) taken out.
fn stable(text: &str) -> String {
    let line = |line: &str| {
        let time = line.trim_start().split(' ').next().is_some_and(|t| t.parse::<f64>().is_ok());
        let line = match line.trim_start().split_once(" s  ") {
            Some((_, rest)) if time => format!("  T  {rest}"),
            _ => line.to_owned(),
        };
        if line.contains("127.0.0.1:") { "  PLACES".to_owned() } else { line }
    };
    let tour = text.split("\n3. ").next().expect("a tour");
    // What is recorded is judged below: how many rounds it takes differs.
    let watched = tour.split("\n2. ").map(|mode| mode.split("\nOnce more").next().expect("a mode"));
    let tour = watched.collect::<Vec<_>>().join("\n2. ");
    tour.lines().map(line).collect::<Vec<_>>().join("\n")
}

#[test]
fn the_tour_shows_what_each_mode_promises() {
    let folder = tempfile::tempdir().expect("a folder");
    let text = demo(folder.path(), &["--write-delay", "2s", "--pairs", "20"]);
    insta::assert_snapshot!(stable(&text), @r"
    The consistency lab
    Three replicas of a small key-value store. A write to one of them goes to all.
    What a client may rely on meanwhile is the consistency mode. Here are two.

    1. eventual
    ───────────
    replies at once; replicas converge; reads may be stale

    Replicas 0, 1 and 2 serve clients on
      PLACES
    x is 0 everywhere. A write waits 2s before it is applied, so that we can watch.

    Client A writes and reads at replica 0:

      T  A, replica 0  set x=42 → STORED  at once
      T  A, replica 0  get x    → 0       stale: A does not see its own write

      meanwhile                replica 0   replica 1   replica 2
      x                                0           0           0
      Lamport time                     2           2           2
      delivered up to                1.0         1.0         1.0
      writes not delivered             1           1           1

    The write is on its way. We ask all replicas until they have it:

      T  all replicas  get x    → 42      delivered everywhere

    The messages in order, as the same code sends them in virtual time:

      A → 0        set x=42
      0 → 1, 2     write 2.0
      0 → A        STORED
      A → 0        get x
      0 → A        0
      1, 2 → 0     acknowledge 2.0
      1 → 2        acknowledge 2.0
      2 → 1        acknowledge 2.0
      0, 1, 2      deliver 2.0, after the delay: x = 42

    2. sequential
    ─────────────
    one order of all writes that every client's own order fits; reads may be old

    Replicas 0, 1 and 2 serve clients on
      PLACES
    x is 0 everywhere. A write waits 2s before it is applied, so that we can watch.

    Client A writes at replica 0. While it waits, client B reads at replica 1:

      T  B, replica 1  get x    → 0       old, and allowed: see below

      meanwhile                replica 0   replica 1   replica 2
      x                                0           0           0
      Lamport time                     2           2           2
      delivered up to                1.0         1.0         1.0
      writes not delivered             1           1           1

    A waits until its own replica has delivered the write:

      T  A, replica 0  set x=42 → STORED  after the delivery
      T  A, replica 0  get x    → 42      A sees its own write
      T  all replicas  get x    → 42      and so does everyone

    Why B may read the old value: sequential consistency promises one order of all
    operations that fits every client's own order. Here: B reads 0, A sets 42,
    A reads 42. It does not promise that this order follows the clock.

    The messages in order, as the same code sends them in virtual time:

      A → 0        set x=42
      0 → 1, 2     write 2.0
      1, 2 → 0     acknowledge 2.0
      1 → 2        acknowledge 2.0
      2 → 1        acknowledge 2.0
      B → 1        get x
      1 → B        0
      0, 1, 2      deliver 2.0, after the delay: x = 42
      0 → A        STORED
      A → 0        get x
      0 → A        42
    ");
    let wide: Vec<&str> = text.lines().filter(|line| line.chars().count() > 80).collect();
    assert!(wide.is_empty(), "wider than 80 columns: {wide:#?}");
    assert!(!text.contains('\x1b'), "no colours in a pipe");
}

#[test]
fn what_is_recorded_is_judged() {
    let folder = tempfile::tempdir().expect("a folder");
    let text = demo(folder.path(), &["--write-delay", "100ms", "--pairs", "2"]);
    let mut modes = text.split("\nOnce more").skip(1);
    let expected = [
        ("eventual", ["✓ convergent", "✗ sequential", "✗ read your writes", "← this read"]),
        ("sequential", ["✓ convergent", "✓ sequential", "✗ linearizable", "← this read"]),
    ];
    for (mode, lines) in expected {
        let judged = modes.next().expect("two modes");
        for line in lines {
            assert!(judged.contains(line), "{mode}: {line} is not in {judged}");
        }
        let recorded = folder.path().join(format!("results/demo-{mode}"));
        for file in ["history.jsonl", "timeline.html", "summary.json"] {
            assert!(recorded.join(file).exists(), "{mode}: no {file}");
        }
        // The file says the same to whoever checks it again: it keeps what it claims.
        Command::from_std(lab(folder.path()))
            .arg("check")
            .arg(recorded.join("history.jsonl"))
            .assert()
            .code(0);
    }
}

#[test]
fn the_comparison_leaves_figures_and_pictures() {
    let folder = tempfile::tempdir().expect("a folder");
    let words = ["--write-delay", "2s", "--pairs", "20", "--out", "here", "--seed", "7"];
    let text = demo(folder.path(), &words);
    assert!(text.contains("sequential took"), "{text}");
    let out = folder.path().join("here");
    for mode in PAIR_MODES {
        let run = out.join(format!("performance-{mode}"));
        for format in FORMATS {
            assert!(run.join(format.file).exists(), "{mode}: {}", format.file);
        }
        let summary = fs::read_to_string(run.join("summary.json")).expect("a summary");
        let summary: Summary = serde_json::from_str(&summary).expect("a summary of this program");
        assert_eq!(summary.pairs.map(|p| (p.count, p.mode)), Some((20, mode.to_owned())));
        assert_eq!(summary.config["seed"], 7);
        assert!(summary.command_line.contains(&"--seed".to_owned()));
    }
    for picture in ["replicas.svg", "performance.svg"] {
        let text = fs::read_to_string(out.join(picture)).expect("a picture");
        assert!(text.starts_with("<svg") && text.trim_end().ends_with("</svg>"), "{picture}");
    }
    let left: Vec<_> = fs::read_dir(folder.path()).expect("a folder").collect();
    assert_eq!(left.len(), 1, "the temporary data is gone: {left:?}");
}

#[test]
fn ctrl_c_stops_the_demo_and_its_replicas() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut lab = lab(folder.path());
    lab.args(["demo", "--write-delay", "60s"]).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut running = lab.spawn().expect("a demo");
    let mut lines = BufReader::new(running.stdout.take().expect("its output")).lines();
    let waits = lines.any(|line| line.is_ok_and(|line| line.contains("on its way")));
    assert!(waits, "the demo waits for the delivery");
    let interrupted = Instant::now();
    signal(running.id(), SIGINT);
    let status = running.wait().expect("its end");
    assert_eq!(status.code(), Some(130));
    assert!(interrupted.elapsed() < Duration::from_secs(10), "long before the write delay is over");
    let mut said = String::new();
    running.stderr.take().expect("its errors").read_to_string(&mut said).expect("text");
    assert_eq!(said.lines().count(), 1, "{said}");
    let data = fs::read_dir(folder.path()).expect("a folder").map(|entry| entry.expect("an entry"));
    let data: Vec<_> = data.filter(|entry| entry.file_name() != "results").collect();
    assert!(data.is_empty(), "the temporary data is gone: {data:?}");
}

#[test]
fn a_reader_who_goes_away_ends_the_demo_quietly() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut lab = lab(folder.path());
    lab.args(["demo", "--write-delay", "2s"]).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut running = lab.spawn().expect("a demo");
    let mut first = String::new();
    let mut reader = BufReader::new(running.stdout.take().expect("its output"));
    reader.read_line(&mut first).expect("a line");
    assert_eq!(first, "The consistency lab\n");
    drop(reader);
    let output = running.wait_with_output().expect("its end");
    assert_eq!((output.status.code(), &output.stderr[..]), (Some(0), &b""[..]));
}

#[test]
fn wrong_usage_is_one_line() {
    let folder = tempfile::tempdir().expect("a folder");
    for words in [["demo", "--write-delay", "0s"], ["demo", "--pairs", "0"], ["demo", "--out", ""]]
    {
        let mut command = Command::from_std(lab(folder.path()));
        let assert = command.args(words).assert().code(64).stdout("");
        let said = String::from_utf8(assert.get_output().stderr.clone()).expect("text");
        assert_eq!(said.lines().count(), 1, "{said}");
    }
    fs::write(folder.path().join("results"), "a file").expect("a file");
    let mut command = Command::from_std(lab(folder.path()));
    let assert = command.assert().code(1).stdout("");
    let said = String::from_utf8(assert.get_output().stderr.clone()).expect("text");
    assert!(said.contains("cannot write results"), "{said}");
}

#[test]
fn the_picture_of_the_readme_is_what_the_lab_draws() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut command = Command::from_std(lab(folder.path()));
    let assert = command.args(["draw", "--out", "-"]).assert().code(0).stderr("");
    let drawn = String::from_utf8(assert.get_output().stdout.clone()).expect("text");
    let kept = fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/docs/img/replicas.svg"));
    assert!(
        kept.expect("a picture").replace("\r\n", "\n") == drawn,
        "docs/img/replicas.svg is out of date; make it anew: \
         cargo run --release -- draw --out docs/img/replicas.svg"
    );
}

/// Sends a signal with the system's `kill`: the tests have no library for it.
fn signal(process: u32, signal: i32) {
    let status = Process::new("kill")
        .args([format!("-{signal}"), process.to_string()])
        .status()
        .expect("the program kill");
    assert!(status.success());
}
