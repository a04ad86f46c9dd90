//! The shard lab's exercises as a user runs them, and what the quorum exercise measures against the rule.

use std::fs;
use std::path::Path;

use assert_cmd::Command;
use consistency_lab::client::routing::{copies, function};
use consistency_lab::labs::shard::Handler;
use consistency_lab::labs::shard::quorum::{Order, Plan, Quorum};

fn lab(folder: &Path, words: &[&str]) -> Command {
    let mut lab = Command::new(env!("CARGO_BIN_EXE_lab"));
    lab.current_dir(folder).arg("shard").args(words);
    lab
}

/// What the command prints; it succeeds and has no complaint.
fn printed(folder: &Path, words: &[&str]) -> String {
    let assert = lab(folder, words).assert().code(0).stderr("");
    String::from_utf8(assert.get_output().stdout.clone()).expect("text")
}

fn read(folder: &Path, file: &str) -> String {
    fs::read_to_string(folder.join(file)).expect("a file of the run")
}

#[test]
fn strides_show_what_a_modulus_does() {
    let folder = tempfile::tempdir().expect("a folder");
    let words = ["balance", "--stride", "3", "--function", "None", "--function", "md5"];
    insta::assert_snapshot!(printed(folder.path(), &words), @r"
    stride 3: 334 keys 1, 4 … 1000 on 12 nodes

    node        None         md5
    0              0  ██▏     26
    1     ███████ 84  ██▊     33
    2              0  █▉      22
    3              0  ██▍     29
    4     ███████ 84  ██▉     34
    5              0  ██▉     35
    6              0  ██▉     35
    7     ██████▉ 83  █▉      22
    8              0  ██▍     29
    9              0  █▉      22
    10    ██████▉ 83  ██▏     26
    11             0  █▊      21

    function  nodes used  fullest  max/mean     cv  chi-square        p
    None               4       84      3.02  1.414       668.0  < 0.001  unfair
    md5               12       35      1.26  0.187        11.7    0.387    fair
    None: gcd(3, 12) = 3, so the keys can reach 12/3 = 4 nodes

    chi-square has 11 degrees of freedom; 95 % of fair placements stay below 19.7. p is the probability
    of such a chi-square by chance: doubtful below 0.05, unfair below 0.001.

    results/shard-balance-1/ summary.json balance.csv fairness.csv balance.svg
    ");
}

#[test]
fn a_run_leaves_tables_a_picture_and_a_summary() {
    let folder = tempfile::tempdir().expect("a folder");
    let first = printed(folder.path(), &["balance"]);
    assert!(
        first
            .contains("results/shard-balance-1/ summary.json balance.csv fairness.csv balance.svg")
    );
    let run = folder.path().join("results/shard-balance-1");
    // Three strides, five functions, twelve nodes, and the heading.
    assert_eq!(read(&run, "balance.csv").lines().count(), 3 * 5 * 12 + 1);
    assert!(
        read(&run, "balance.csv")
            .starts_with("stride,function,node,keys\n3,None,0,0\n3,None,1,84\n")
    );
    assert_eq!(read(&run, "fairness.csv").lines().count(), 3 * 5 + 1);
    assert!(read(&run, "balance.svg").ends_with("</svg>\n"));
    let summary: serde_json::Value =
        serde_json::from_str(&read(&run, "summary.json")).expect("JSON");
    assert_eq!(summary["config"]["strides"], serde_json::json!([3, 10, 12]));
    assert_eq!(summary["results"][10]["counts"][1], 84, "None, stride 12: all on node 1");
    assert_eq!(summary["command_line"][1], "shard");
    let second = printed(folder.path(), &["balance"]);
    assert!(second.contains("results/shard-balance-2/"), "a run does not touch another's folder");
    assert_eq!(
        read(&run, "balance.svg"),
        read(&folder.path().join("results/shard-balance-2"), "balance.svg")
    );
}

#[test]
fn a_new_node_moves_few_keys_or_nearly_all() {
    let folder = tempfile::tempdir().expect("a folder");
    let words = ["resize", "--from", "12", "--to", "13"];
    insta::assert_snapshot!(printed(folder.path(), &words), @r"
    from 12 to 13 nodes: 10 000 keys, of which 769 (7.7 %) have to move

    function                          moved   share  times the least  in vain
    None        ██████████████████▌   9 221  92.2 %            11.99    8 452
    md5         ██████████████████▌   9 228  92.3 %            12.00    8 457
    ring        █▍                      683   6.8 %             0.89        0
    rendezvous  █▌                      771   7.7 %             1.00        0
    jump        █▌                      753   7.5 %             0.98        0

    in vain: moved between two nodes that are there before and after. A function that moves less than the
    least leaves the new nodes with less than their share.

    results/shard-resize-1/ summary.json resize.csv resize.svg
    ");
    let table = read(&folder.path().join("results/shard-resize-1"), "resize.csv");
    assert!(
        table
            .starts_with("function,from,to,keys,moved,share,least,in_vain\nNone,12,13,10000,9221,")
    );
}

#[test]
fn a_node_less_moves_as_little() {
    let folder = tempfile::tempdir().expect("a folder");
    let words = ["resize", "--from", "13", "--to", "12", "--function", "jump", "--out", "there"];
    let text = printed(folder.path(), &words);
    assert!(text.contains("from 13 to 12 nodes: 10 000 keys, of which 769 (7.7 %)"), "{text}");
    assert!(read(&folder.path().join("there"), "resize.csv").contains("jump,13,12,10000,753,"));
    // Nothing moves, and nothing has to.
    let text = printed(folder.path(), &["resize", "--from", "3", "--to", "3", "--out", "there"]);
    assert!(text.contains("0 (0.0 %) have to move"), "{text}");
}

#[test]
fn odd_sizes_are_shown() {
    let folder = tempfile::tempdir().expect("a folder");
    let text = printed(folder.path(), &["balance", "--nodes", "1", "--keys", "1", "--stride", "9"]);
    assert!(text.contains("stride 9: the key 1 on 1 node"), "{text}");
    assert!(text.contains("0 degrees of freedom"), "{text}");
    let words = ["balance", "--nodes", "1000", "--keys", "20000", "--stride", "1"];
    let text = printed(folder.path(), &words);
    assert!(!text.contains('█'), "too many nodes for a bar each");
    assert!(text.contains("rendezvous"), "{text}");
}

#[test]
fn wrong_usage_is_one_line_that_says_what_was_expected() {
    let folder = tempfile::tempdir().expect("a folder");
    for (line, expected) in [
        ("balance --nodes 0", "0 is not in 1..=1000"),
        ("balance --nodes 70000", "--nodes"),
        ("balance --stride 0", "0 is not in 1..=1000000000"),
        ("balance --stride 3 --stride 3", "expected each --stride once"),
        (
            "balance --stride 1 --stride 2 --stride 3 --stride 4 --stride 5 --stride 6 --stride 7",
            "6 times at most",
        ),
        ("balance --start 1001", "expected --start up to --keys, found 1001 and 1000"),
        ("balance --function MD5", "expected one of None, md5, ring, rendezvous, jump"),
        ("balance --keys 0", "0 is not in"),
        ("resize --from 12", "--to"),
        ("resize --from 0 --to 1", "0 is not in"),
        ("resize --from 1 --to 2 --keys 99999999999", "--keys"),
        ("quorum --nodes 0", "0 is not in 2..=32"),
        ("quorum --nodes 3 --replicas 4", "expected --replicas up to --nodes, found 4 and 3"),
        ("quorum --replicas 1", "--replicas"),
        ("quorum --function fair", "expected one of None"),
        ("nothing", "unrecognized subcommand"),
    ] {
        let words: Vec<&str> = line.split(' ').collect();
        let assert = lab(folder.path(), &words).assert().code(64).stdout("");
        let text = String::from_utf8_lossy(&assert.get_output().stderr).into_owned();
        assert!(text.contains(expected), "{line}: {text}");
        assert_eq!(text.lines().count(), 1, "{line}: {text}");
    }
    assert!(!folder.path().join("results").exists(), "nothing is left behind");
}

#[test]
fn a_folder_that_cannot_be_written_is_an_error() {
    let folder = tempfile::tempdir().expect("a folder");
    fs::write(folder.path().join("file"), "").expect("a file");
    let assert = lab(folder.path(), &["balance", "--out", "file/in"]).assert().code(1);
    let text = String::from_utf8_lossy(&assert.get_output().stderr).into_owned();
    assert!(text.contains("choose another folder with --out"), "{text}");
}

/// With copies, a home's pairs can be updated while two of its nodes are up (`-a`: and itself), and read while
/// one is.
#[test]
fn the_quorum_exercise_measures_the_rule() {
    for (nodes, replicas) in [(5, 3), (4, 2), (3, 3), (12, 3)] {
        let function = function("md5").expect("a function");
        let plan = Plan { nodes, replicas, function };
        let quorum = Quorum::run(plan.clone(), &|| {}).expect("nodes");
        for outcome in quorum.outcomes() {
            let tolerant = outcome.handler == Handler::FaultTolerant;
            let (copied, needed) = if tolerant { (replicas, 2) } else { (1, 1) };
            let order = outcome.order.nodes(&plan);
            for row in &outcome.rows {
                let homes = usize::from(nodes);
                let up = |node: usize| !order[..row.down].contains(&node);
                let ups = |home: usize| {
                    copies(home, copied.into(), homes).filter(|node| up(*node)).count()
                };
                let count =
                    |holds: &dyn Fn(usize) -> bool| (0..homes).filter(|h| holds(*h)).count();
                let what = format!("{nodes} nodes, {replicas} copies: {outcome:?}, {row:?}");
                assert_eq!(
                    row.update_at_home,
                    count(&|home| up(home) && ups(home) >= needed),
                    "{what}"
                );
                assert_eq!(row.update_at_copies, count(&|home| ups(home) >= needed), "{what}");
                assert_eq!(row.read_at_home, count(&up), "{what}");
                assert_eq!(row.read_at_copies, count(&|home| ups(home) >= 1), "{what}");
                assert_eq!(row.back, row.read_at_copies, "what one node kept is back: {what}");
                assert_eq!((row.stale, row.back + row.lost), (0, homes), "{what}");
            }
        }
    }
}

#[test]
fn nodes_go_down_in_the_order_that_was_named() {
    let plan = Plan { nodes: 7, replicas: 3, function: function("None").expect("a function") };
    assert_eq!(Order::Adjacent.nodes(&plan), [0, 1, 2, 3, 4, 5, 6]);
    assert_eq!(Order::Spread.nodes(&plan), [0, 3, 6, 1, 4, 2, 5]);
}

#[test]
fn the_pictures_of_the_chapter_are_what_the_lab_draws() {
    let folder = tempfile::tempdir().expect("a folder");
    for (picture, words) in [
        ("balance.svg", vec!["balance"]),
        ("resize.svg", vec!["resize", "--from", "12", "--to", "13"]),
        ("quorum.svg", vec!["quorum"]),
    ] {
        printed(folder.path(), &[words, vec!["--out", "run"]].concat());
        let kept = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/img");
        let kept = read(&kept, &format!("shard-{picture}")).replace("\r\n", "\n");
        assert!(
            kept == read(&folder.path().join("run"), picture),
            "docs/img/shard-{picture} is out of date; make it anew: scripts/pictures.sh"
        );
    }
}

/// The tables of the chapter are pasted output: the first paragraph behind `after` of what a command prints.
#[test]
fn the_chapter_quotes_what_the_lab_prints() {
    let folder = tempfile::tempdir().expect("a folder");
    let chapter = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs");
    let chapter = read(&chapter, "shard.md").replace("\r\n", "\n");
    for (line, after) in [
        ("resize --from 12 --to 13", "have to move\n\n"),
        ("balance --stride 1 --keys 100000 --function ring --function jump", "\n\nfunction"),
        ("quorum", "adjacent nodes go down\n\n"),
    ] {
        assert!(chapter.contains(&format!("lab shard {line}\n")), "the chapter runs {line}");
        let words: Vec<&str> = line.split(' ').chain(["--out", "run"]).collect();
        let text = printed(folder.path(), &words);
        let (_, behind) = text.split_once(after).expect("a table");
        let table = behind.split("\n\n").next().expect("a paragraph");
        assert!(chapter.contains(table), "docs/shard.md has other figures than {line}:\n{table}");
    }
    let words = ["balance", "--out", "run"];
    printed(folder.path(), &words);
    for case in read(&folder.path().join("run"), "fairness.csv").lines().skip(1) {
        let cells: Vec<&str> = case.split(',').collect();
        let (name, max_over_mean) = (cells[1], cells[6].parse::<f64>().expect("a number"));
        if ["None", "md5"].contains(&name) {
            let row = chapter.lines().find(|line| line.starts_with(&format!("| `{name}` | ")));
            let figure = format!("{max_over_mean:.2}");
            assert!(row.is_some_and(|row| row.contains(&figure)), "{name}: {figure}");
        }
    }
}
