//! `lab cluster`: a group from its start to its stop, and what is wrong usage.

use std::net::TcpListener;
use std::path::Path;
use std::process::{Command, Stdio};

/// Runs `lab cluster` in a folder; gives the exit code, what it printed, and what it complained about.
fn cluster(folder: &Path, arguments: &[&str]) -> (i32, String, String) {
    let output = Command::new(env!("CARGO_BIN_EXE_lab"))
        .arg("cluster")
        .args(arguments)
        .current_dir(folder)
        .output()
        .expect("lab starts");
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).expect("UTF-8");
    let code = output.status.code().expect("it ends by itself");
    (code, text(&output.stdout), text(&output.stderr))
}

/// A group that is stopped with the test.
struct Group {
    folder: tempfile::TempDir,
    catalog: String,
}

impl Group {
    fn run(&self, arguments: &[&str]) -> (i32, String, String) {
        let mut all = arguments.to_vec();
        all.extend(["--catalog", &self.catalog]);
        cluster(self.folder.path(), &all)
    }

    /// Must succeed; gives what it printed.
    fn good(&self, arguments: &[&str]) -> String {
        let (code, out, err) = self.run(arguments);
        assert_eq!(code, 0, "{arguments:?}: {err}");
        out
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        self.run(&["stop", "animals"]);
    }
}

#[test]
fn a_group_from_its_start_to_its_stop() {
    let free = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let catalog = free.local_addr().expect("an address").to_string();
    drop(free);
    let group = Group { folder: tempfile::tempdir().expect("a folder"), catalog };

    let out = group.good(&["start", "animals", "3"]);
    assert!(out.contains("started, because none answered"), "{out}");
    assert_eq!(out.matches("Listening on port").count(), 3, "{out}");
    let out = group.good(&["start", "animals", "3"]);
    assert_eq!(out.matches("was running already").count(), 3, "{out}");

    group.good(&["insert", "animals", "3", "2", "zebra", r#"{"weight": 100}"#]);
    group.good(&["insert", "animals", "3", "2", "one", "-1"]);
    assert_eq!(group.good(&["lookup", "animals", "3", "2", "zebra"]), "{\"weight\": 100}\n");
    assert_eq!(group.good(&["scan", "animals", "3", "2", "^z"]), "[\"zebra\",{\"weight\": 100}]\n");
    assert_eq!(group.good(&["remove", "animals", "3", "2", "one"]), "-1\n");
    let (code, out, err) = group.run(&["lookup", "animals", "3", "2", "one"]);
    assert_eq!((code, out.as_str(), err.as_str()), (1, "", "lab: no such key: one\n"));
    let (code, _, err) = group.run(&["scan", "animals", "3", "2", "("]);
    assert!(code == 1 && err.lines().count() == 1 && err.contains("\"(\""), "{code} {err}");
    let out = group.good(&["basics", "animals", "3", "2"]);
    assert!(out.ends_with("as it should be\n") && !out.contains('✗'), "{out}");
    assert_eq!(group.good(&["status", "animals"]).matches(" up ").count(), 3);

    let out = group.good(&["stop", "animals"]);
    assert_eq!(out.matches("stopped").count(), 4, "three servers and the catalog: {out}");
    let (code, out, _) = group.run(&["status", "animals"]);
    assert!(code == 1 && out.matches("down").count() == 3, "{out}");
    group.good(&["start", "animals", "3"]);
    assert_eq!(group.good(&["lookup", "animals", "3", "2", "zebra"]), "{\"weight\": 100}\n");
}

#[test]
fn wrong_usage_is_one_line_and_64() {
    let folder = tempfile::tempdir().expect("a folder");
    for (arguments, expected) in [
        (&["start", "a/b", "3"][..], "expected a name"),
        (&["start", ".", "3"], "expected a name"),
        (&["start", "a", "0"], "expected 1 to 1000 servers"),
        (&["start", "a", "many"], "expected 1 to 1000 servers"),
        (&["insert", "a", "3", "4", "k", "1"], "1 ≤ K ≤ N"),
        (&["insert", "a", "3", "0", "k", "1"], "1 ≤ K ≤ N"),
        (&["insert", "a", "3", "1", "k", "hello"], "a string needs quotes"),
        (&["lookup", "a", "2", "1", "k", "--at", "127.0.0.1:1"], "expected 2 addresses"),
        (&["lookup", "a", "1", "1", "k", "--at", "nonsense"], "expected HOST:PORT"),
        (&["lookup", "a", "1", "1", "k", "--retry-wait", "soon"], "retry-wait"),
        (&[], "expected a command"),
    ] {
        let (code, out, err) = cluster(folder.path(), arguments);
        assert_eq!((code, out.as_str()), (64, ""), "{arguments:?}: {err}");
        assert!(err.contains(expected) && err.lines().count() == 1, "{arguments:?}: {err}");
    }
}

#[test]
fn giving_up_says_why_and_a_closed_standard_error_is_no_panic() {
    let folder = tempfile::tempdir().expect("a folder");
    let patience = ["--at", "127.0.0.1:1", "--retry-wait", "10ms", "--give-up-after", "30ms"];
    let mut arguments = vec!["insert", "a", "1", "1", "k", "1"];
    arguments.extend(patience);
    let (code, _, err) = cluster(folder.path(), &arguments);
    assert_eq!(code, 1);
    let lines: Vec<&str> = err.lines().collect();
    assert_eq!(lines.len(), 2, "{err}");
    assert!(lines[0].ends_with("trying again every 10ms"), "{err}");
    assert!(lines[1].starts_with("lab: error: gave up after"), "{err}");

    let mut child = Command::new(env!("CARGO_BIN_EXE_lab"))
        .arg("cluster")
        .args(&arguments)
        .stderr(Stdio::piped())
        .spawn()
        .expect("lab starts");
    drop(child.stderr.take());
    assert_eq!(child.wait().expect("it ends").code(), Some(1), "not 101");
}
