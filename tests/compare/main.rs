//! `lab compare` as a person or a script uses it: the same arguments give the same bytes, every mode has its row, the
//! weaker modes show what they do not keep, and wrong usage is one line.

#![cfg(feature = "raft")]

use std::fs;
use std::path::Path;

use assert_cmd::Command;
use assert_cmd::assert::Assert;
use consistency_lab::check::MODELS;
use consistency_lab::labs::compare::FILES;
use consistency_lab::protocol::MODES;

fn compare(words: &[&str]) -> Assert {
    let mut lab = Command::new(env!("CARGO_BIN_EXE_lab"));
    lab.arg("compare").args(words).assert()
}

fn into(folder: &Path, words: &[&str]) -> String {
    let out = folder.to_str().expect("a path of text");
    let assert = compare(&[words, &["--out", out]].concat()).code(0).stderr("");
    String::from_utf8(assert.get_output().stdout.clone()).expect("text")
}

fn built() -> Vec<&'static str> {
    MODES.iter().filter(|mode| mode.build.is_some()).map(|mode| mode.name).collect()
}

/// The rows of `compare.csv`, each a map from the heading.
fn rows(folder: &Path) -> Vec<csv::StringRecord> {
    let mut reader = csv::Reader::from_path(folder.join("compare.csv")).expect("a table");
    let heading = reader.headers().expect("a heading").clone();
    let rows: Vec<_> = reader.records().map(|row| row.expect("a row")).collect();
    assert!(rows.iter().all(|row| row.len() == heading.len()));
    std::iter::once(heading).chain(rows).collect()
}

fn cell<'a>(rows: &'a [csv::StringRecord], mode: &str, column: &str) -> &'a str {
    let at = rows[0].iter().position(|name| name == column).expect("such a column");
    &rows.iter().find(|row| &row[0] == mode).expect("such a mode")[at]
}

#[test]
fn the_same_arguments_give_the_same_bytes() {
    let folder = tempfile::tempdir().expect("a folder");
    let (one, other) = (folder.path().join("one"), folder.path().join("other"));
    let words = ["--seed", "5", "--ops", "120"];
    let texts = [into(&one, &words), into(&other, &words)];
    assert_eq!(texts[0].replace("/one/", "/other/"), texts[1]);
    let read = |folder: &Path, file: &str| fs::read(folder.join(file)).expect("it is there");
    for file in FILES.iter().filter(|file| **file != "summary.json") {
        assert!(read(&one, file) == read(&other, file), "{file} differs");
    }
    for mode in built() {
        for file in ["plan.json", "history.jsonl", "trace.jsonl", "timeline.html"] {
            let file = format!("{mode}/{file}");
            assert!(read(&one, &file) == read(&other, &file), "{file} differs");
        }
    }
}

#[test]
fn every_mode_has_its_row_and_the_weaker_ones_show_what_they_break() {
    let folder = tempfile::tempdir().expect("a folder");
    let text = into(folder.path(), &["--seed", "2"]);
    let rows = rows(folder.path());
    let modes: Vec<&str> = rows[1..].iter().map(|row| &row[0]).collect();
    assert_eq!(modes, built(), "weakest first");
    for mode in &modes {
        assert!(text.lines().any(|line| line.starts_with(mode)), "{text}");
    }
    for model in MODELS {
        assert_eq!(cell(&rows, "linearizable", model.name), "holds", "{}", model.name);
    }
    assert_eq!(cell(&rows, "sequential", "sequential"), "holds");
    assert_eq!(cell(&rows, "sequential", "linearizable"), "broken");
    assert_eq!(cell(&rows, "eventual", "linearizable"), "broken");
    assert_eq!(cell(&rows, "eventual", "ryw"), "broken");
    assert_eq!(cell(&rows, "eventual", "convergent"), "holds");
    assert_eq!(cell(&rows, "linearizable", "reads_stale"), "0");
    let figure =
        |mode: &str, column: &str| -> f64 { cell(&rows, mode, column).parse().expect("a number") };
    // A current read asks a majority; the others ask nobody.
    assert!(figure("linearizable", "read_p50_us") > 2000.0);
    assert!(figure("eventual", "read_p50_us") < 500.0);
    assert!(figure("eventual", "messages_per_read") < 0.1);
    assert!(figure("linearizable", "messages_per_read") >= 1.0);
    // All are asked the same while the same faults are in force.
    let due: Vec<&str> = modes.iter().map(|mode| cell(&rows, mode, "due_in_faults")).collect();
    assert!(due.windows(2).all(|pair| pair[0] == pair[1]), "{due:?}");
    let answered = |mode| figure(mode, "answered_in_faults");
    assert!(answered("eventual") > answered("sequential"));
    let svg = fs::read_to_string(folder.path().join("compare.svg")).expect("a picture");
    assert!(!svg.contains("NaN") && !svg.contains("inf"));
    for class in ["held", "broken"] {
        assert!(svg.contains(&format!("class=\"{class}\"")));
    }
}

#[test]
fn without_faults_everything_is_answered() {
    let folder = tempfile::tempdir().expect("a folder");
    let words = ["--faults", "none", "--modes", "sequential,eventual", "--ops", "80"];
    into(folder.path(), &words);
    let rows = rows(folder.path());
    assert_eq!(&rows[1][0], "eventual");
    for mode in ["eventual", "sequential"] {
        assert_eq!(cell(&rows, mode, "due_in_faults"), "0");
        assert_eq!(cell(&rows, mode, "reads_failed"), "0");
        assert_eq!(cell(&rows, mode, "writes_unknown"), "0");
    }
}

/// Real threads and sockets: no bytes to compare, but all that was promised.
#[test]
fn the_modes_keep_their_promises_on_real_threads_and_sockets() {
    let folder = tempfile::tempdir().expect("a folder");
    let modes = ["causal", if cfg!(feature = "raft") { "linearizable" } else { "sequential" }];
    let words = ["--real", "--ops", "80", "--faults", "partition", "--modes", &modes.join(",")];
    into(folder.path(), &words);
    let rows = rows(folder.path());
    for mode in modes {
        assert_ne!(cell(&rows, mode, "due_in_faults"), "0");
        assert_ne!(cell(&rows, mode, "equal_after_ms"), "");
        assert!(cell(&rows, mode, "messages_per_write").parse::<f64>().expect("a number") > 1.0);
        for file in ["summary.json", "history.jsonl", "timeline.html"] {
            assert!(folder.path().join(mode).join(file).exists(), "{mode}/{file}");
        }
    }
    assert_eq!(cell(&rows, modes[1], modes[1]), "holds");
    assert_eq!(cell(&rows, "causal", "ccv"), "holds");
}

#[test]
fn wrong_usage_is_one_line_and_exit_code_64() {
    let mut wrong = vec![
        vec!["--modes", "strong"],
        vec!["--modes", ""],
        vec!["--faults", "flood"],
        vec!["--faults", "power-loss"],
        vec!["--modes", "eventual", "--faults", "disk-lost"],
        vec!["--reads", "2"],
        vec!["--delay", "1h"],
        vec!["--sync", "never"],
        vec!["--replicas", "0"],
        vec!["--replicas", "1", "--faults", "partition"],
        vec!["--real", "--faults", "power-loss"],
        vec!["--real", "--delay", "2ms"],
    ];
    let missing = MODES.iter().find(|mode| mode.build.is_none());
    wrong.extend(missing.map(|mode| vec!["--modes", mode.name]));
    for words in wrong {
        let assert = compare(&words).code(64).stdout("");
        let stderr = String::from_utf8_lossy(&assert.get_output().stderr).into_owned();
        assert_eq!(stderr.lines().count(), 1, "{words:?}: {stderr}");
        assert!(stderr.ends_with("try lab compare --help\n"), "{stderr}");
    }
}
