//! `lab client` as a person or a script uses it.

use crate::mock_server::{Manner, nowhere, start};
use assert_cmd::{Command, assert::Assert};

fn client(to: &str, words: &[&str]) -> Assert {
    lab().args(["client", "--timeout", "300ms", "--to", to]).args(words).assert()
}

fn lab() -> Command {
    Command::new(env!("CARGO_BIN_EXE_lab"))
}

#[test]
fn one_command() {
    let to = start(Manner::default());
    client(&to, &["set", "x", "42"]).code(0).stdout("STORED\n").stderr("");
    client(&to, &["get", "x"]).code(0).stdout("42\n").stderr("");
    client(&to, &["set", "x", "-1 and more"]).code(0);
    client(&to, &["get", "x"]).code(0).stdout("-1 and more\n");
    client(&to, &["del", "x"]).code(0).stdout("DELETED\n");
    client(&to, &["get", "x"]).code(1).stdout("").stderr("not found\n");
    client(&to, &["delete", "x"]).code(1).stdout("").stderr("not found\n");
}

#[test]
fn failures_tell_what_is_known_by_their_exit_code() {
    let to = nowhere();
    client(&to, &["get", "x"]).code(1).stdout("").stderr(format!(
        "lab: error: nothing listens on {to}; start servers with: scripts/server-normal.sh \
         sequential\n"
    ));
    let silent = start(Manner { silent: true, ..Manner::default() });
    client(&silent, &["set", "x", "1"])
        .code(2)
        .stderr(format!("lab: error: no reply from {silent} within 300ms, outcome unknown\n"));
    let refusal = "SERVER_ERROR timeout, outcome unknown";
    let gives_up = start(Manner { refuse_every: 1, refusal, ..Manner::default() });
    client(&gives_up, &["set", "x", "1"])
        .code(2)
        .stderr(format!("lab: error: the server answered: {refusal}\n"));
}

#[test]
fn commands_from_a_pipe() {
    let to = start(Manner::default());
    let script = "set x 42\nget x\n\nset y\nnonsense\nstats\ndel x\nquit\nget x\n";
    let replies = "STORED\nVALUE x 0 2\n42\nEND\nexpected: set KEY VALUE\nERROR\nSTAT pid 1\nEND\n\
                   DELETED\n";
    lab().args(["client", "--to", &to]).write_stdin(script).assert().code(0).stdout(replies);
}

#[test]
fn wrong_usage_is_one_line_and_exit_code_64() {
    for (words, line) in [
        (
            &["client", "get"][..],
            "lab: error: the following required arguments were not provided: <KEY>; \
             try lab client get --help\n",
        ),
        (
            &["client", "--protocol", "smtp"],
            "lab: error: invalid value 'smtp' for '--protocol <PROTOCOL>': expected memcached or \
             resp; try lab client --help\n",
        ),
        (
            &["bench", "--reads", "2"],
            "lab: error: invalid value '2' for '--reads <SHARE>': expected a number from 0 to 1; \
             try lab bench --help\n",
        ),
        (
            &["bench", "--client", "2"],
            "lab: error: unexpected argument '--client' found; a similar argument exists: \
             '--clients'; try lab bench --help\n",
        ),
        (
            &["bench", "--to", "127.0.0.1:9889,nope"],
            "lab: error: invalid value 'nope' for '--to <HOST:PORT,...>': expected HOST:PORT, such \
             as 127.0.0.1:9889; try lab bench --help\n",
        ),
        (
            &["bench", "--to", "127.0.0.1:9889,"],
            "lab: error: invalid value '' for '--to <HOST:PORT,...>': expected HOST:PORT, such \
             as 127.0.0.1:9889; try lab bench --help\n",
        ),
        (
            &["client", "--to", "127.0.0.1:0", "get", "x"],
            "lab: error: invalid value '127.0.0.1:0' for '--to <HOST:PORT,...>': expected HOST:PORT, \
             such as 127.0.0.1:9889; try lab client --help\n",
        ),
        (
            &["client", "set", "a b", "v"],
            "lab: error: the key \"a b\" cannot be sent: it holds a space or a control character; \
             try lab client set --help\n",
        ),
        (
            &["client", "get", ""],
            "lab: error: the key \"\" cannot be sent: it is empty; try lab client get --help\n",
        ),
        (&["dance"], "lab: error: unrecognized subcommand 'dance'; try lab --help\n"),
    ] {
        lab().args(words).assert().code(64).stdout("").stderr(line);
    }
}

#[test]
fn every_help_shows_an_example_and_succeeds() {
    for words in [
        &["--help"][..],
        &["client", "--help"],
        &["client", "get", "--help"],
        &["bench", "--help"],
        &["completions", "--help"],
        &["man", "--help"],
    ] {
        let output = lab().args(words).assert().code(0).get_output().stdout.clone();
        let text = String::from_utf8_lossy(&output).into_owned();
        assert!(text.contains("Example"), "{words:?}: {text}");
        assert!(!text.contains("floor-server"), "the hidden command stays hidden: {text}");
    }
    lab().arg("--version").assert().code(0).stdout(concat!(
        "lab ",
        env!("CARGO_PKG_VERSION"),
        "\n"
    ));
}

#[test]
fn completions_and_manual_pages_are_made() {
    let output = lab().args(["completions", "bash"]).assert().code(0).get_output().stdout.clone();
    assert!(String::from_utf8_lossy(&output).contains("_lab()"));
    let folder = tempfile::tempdir().expect("a folder");
    lab().arg("man").arg(folder.path().join("man")).assert().code(0);
    assert!(folder.path().join("man/lab-bench.1").exists());
}
