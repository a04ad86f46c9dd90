//! `lab check` on histories with commands of several keys.

use assert_cmd::Command;

const HALF: &str = "\
{\"history\":1,\"claim\":\"linearizable\",\"clock\":\"steps\"}
{\"type\":\"invoke\",\"process\":\"a\",\"f\":\"write\",\"key\":\"x\",\"value\":\"1\"}
{\"type\":\"ok\",\"process\":\"a\"}
{\"type\":\"invoke\",\"process\":\"a\",\"f\":\"write\",\"key\":\"y\",\"value\":\"2\"}
{\"type\":\"ok\",\"process\":\"a\"}
{\"type\":\"invoke\",\"process\":\"d\",\"f\":\"delete\",\"key\":\"x\"}
{\"type\":\"invoke\",\"process\":\"d+1\",\"f\":\"delete\",\"key\":\"y\"}
{\"type\":\"invoke\",\"process\":\"b\",\"f\":\"read\",\"key\":\"x\"}
{\"type\":\"ok\",\"process\":\"b\",\"value\":null}
{\"type\":\"invoke\",\"process\":\"b\",\"f\":\"read\",\"key\":\"y\"}
{\"type\":\"ok\",\"process\":\"b\",\"value\":\"2\"}
{\"type\":\"ok\",\"process\":\"d\"}
{\"type\":\"ok\",\"process\":\"d+1\"}
";

fn check(history: &str) -> (Option<i32>, String) {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("history.jsonl");
    std::fs::write(&file, history).expect("written");
    let mut lab = Command::cargo_bin("lab").expect("it is built");
    let output = lab.arg("check").arg(&file).output().expect("it runs");
    (output.status.code(), String::from_utf8(output.stdout).expect("text"))
}

#[test]
fn half_a_deletion_is_a_violation_only_where_it_is_one_command() {
    let (code, told) = check(HALF);
    assert_eq!(code, Some(0), "two deletions of one key each may be seen one by one: {told}");
    let one = format!("{HALF}{{\"type\":\"together\",\"operations\":[2,3]}}\n");
    let (code, told) = check(&one);
    assert_eq!(code, Some(1), "{told}");
    assert!(told.contains("The write of x and y by d was seen half"), "{told}");
}

#[test]
fn what_is_put_together_must_be_there_and_only_once() {
    for line in ["[2,99]", "[3,2]", "[]", "\"2\""] {
        let wrong = format!("{HALF}{{\"type\":\"together\",\"operations\":{line}}}\n");
        assert_eq!(check(&wrong).0, Some(64), "{line}");
    }
    let twice = "{\"type\":\"together\",\"operations\":[2,3]}\n";
    assert_eq!(check(&format!("{HALF}{twice}{twice}")).0, Some(64));
}
