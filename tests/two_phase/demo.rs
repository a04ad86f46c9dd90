//! `lab 2pc demo` as a user runs it: its output, its files, its exit code.

use std::fs;
use std::path::Path;

use assert_cmd::Command;
use consistency_lab::labs::two_phase::demo::FILES;

fn demo(folder: &Path) -> String {
    let mut command = Command::new(env!("CARGO_BIN_EXE_lab"));
    let assert = command.current_dir(folder).args(["2pc", "demo"]).assert().code(0).stderr("");
    String::from_utf8(assert.get_output().stdout.clone()).expect("text")
}

#[test]
fn four_stories_come_out_as_they_are_told() {
    let folder = tempfile::tempdir().expect("a folder");
    let text = demo(folder.path());
    insta::assert_snapshot!(text, @r"
    Two-phase commit
    One coordinator C, participants P0, P1 and P2 with a copy each: the machines of kvstore2pcsystem and
    their frames, in virtual time. A message takes 1 ms. Time goes downwards, a line is one message when it
    leaves; heartbeats are left out. What has a ✓ below a picture was checked against what the machines
    hold and have sent.

      ?  promises     ║  bound by it     ✓  commits     ✗  aborts     †  killed

    1. commit
    ─────────
    C asks all three to promise. When the last has, it tells them to carry it out, and when the last
    has done so, the client. Between promise and decision (║) a participant is bound.

       ms  client      C        P0       P1       P2
       10     ├───────>│        │        │        │   SET x 1
       11     │        ├───────>│        │        │   REQUEST-TO-PREPARE 1.1: x=1
              │        ├────────┼───────>│        │   REQUEST-TO-PREPARE 1.1: x=1
              │        ├────────┼────────┼───────>│   REQUEST-TO-PREPARE 1.1: x=1
       12     │        │        ?        ?        ?   promised 1.1: x=1
              │        │<───────╢        ║        ║   PREPARED 1.1
              │        │<───────╫────────╢        ║   PREPARED 1.1
              │        │<───────╫────────╫────────╢   PREPARED 1.1
       13     │        ✓        ║        ║        ║   decided: 1.1 commits
              │        ├───────>║        ║        ║   COMMIT 1.1
              │        ├────────╫───────>║        ║   COMMIT 1.1
              │        ├────────╫────────╫───────>║   COMMIT 1.1
       14     │        │        ✓        ✓        ✓   carried out 1.1: x=1
              │        │<───────┤        │        │   DONE 1.1
              │        │<───────┼────────┤        │   DONE 1.1
              │        │<───────┼────────┼────────┤   DONE 1.1
       15     │<───────┤        │        │        │   +OK

      ✓ two rounds of three messages there and three back: 12 in all
      ✓ no COMMIT before the last PREPARED, no OK before the last DONE
      ✓ the client has its OK
      ✓ x is 1 at P0, P1 and P2, and nobody is bound by anything

    2. abort by a NO
    ────────────────
    The same for another value, but P1 takes no promises. One NO is enough: C has the others drop
    theirs, and the client is told that nothing has happened.

       ms  client      C        P0       P1       P2
       16     ├───────>│        │        │        │   SET x 2
       17     │        ├───────>│        │        │   REQUEST-TO-PREPARE 1.2: x=2
              │        ├────────┼───────>│        │   REQUEST-TO-PREPARE 1.2: x=2
              │        ├────────┼────────┼───────>│   REQUEST-TO-PREPARE 1.2: x=2
       18     │        │        ?        │        ?   promised 1.2: x=2
              │        │<───────╢        │        ║   PREPARED 1.2
              │        │<───────╫────────┤        ║   NO 1.2
              │        │<───────╫────────┼────────╢   PREPARED 1.2
       19     │        ✗        ║        │        ║   decided: 1.2 aborts
              │        ├───────>║        │        ║   ABORT 1.2
              │        ├────────╫───────>│        ║   ABORT 1.2
              │        ├────────╫────────┼───────>║   ABORT 1.2
       20     │        │        ✗        │        ✗   dropped 1.2
              │        │<───────┤        │        │   DONE 1.2
              │        │<───────┼────────┤        │   DONE 1.2
              │        │<───────┼────────┼────────┤   DONE 1.2
       21     │<───────┤        │        │        │   -ERROR
       22     ├───────>│        │        │        │   GET x
       23     │        ├────────┼───────>│        │   read x
       24     │        │<───────┼────────┤        │   value 1
       25     │<───────┤        │        │        │   1

      ✓ P0 and P2 had promised, P1 had not
      ✓ nobody was told to commit
      ✓ the client has an error, and knows that nothing happened
      ✓ GET x is 1, the old value
      ✓ x is 1 at P0, P1 and P2, and nobody is bound by anything

    3. the coordinator is lost between the phases; nobody has committed
    ───────────────────────────────────────────────────────────────────
    All three have promised; C is killed before their votes arrive. It stores nothing, so the next
    incarnation knows nothing of the transaction, and has to ask.

       ms  client      C        P0       P1       P2
       26     ├───────>│        │        │        │   SET x 3
       27     │        ├───────>│        │        │   REQUEST-TO-PREPARE 1.4: x=3
              │        ├────────┼───────>│        │   REQUEST-TO-PREPARE 1.4: x=3
              │        ├────────┼────────┼───────>│   REQUEST-TO-PREPARE 1.4: x=3
       28     │        │        ?        ?        ?   promised 1.4: x=3
              │        │✗───────╢        ║        ║   PREPARED 1.4  (lost)
              │        │✗───────╫────────╢        ║   PREPARED 1.4  (lost)
              │        │✗───────╫────────╫────────╢   PREPARED 1.4  (lost)
              │        †        ║        ║        ║   C is killed
       29     ?                 ║        ║        ║   the connection breaks: was it done or not?

      ✓ 30 ms later P0, P1 and P2 are bound by the promise x=3, all the same: blocked
      ✓ none can commit: for all that it knows, another has voted NO
      ✓ none can abort: for all that it knows, another has heard COMMIT
      ✓ the client was told neither OK nor ERROR

    A new incarnation comes and asks everybody what they hold:

       ms  client      C        P0       P1       P2
       58     │        ●        ║        ║        ║   incarnation 2 starts; it remembers nothing
              │        ├───────>║        ║        ║   greeting of incarnation 2
              │        ├────────╫───────>║        ║   greeting of incarnation 2
              │        ├────────╫────────╫───────>║   greeting of incarnation 2
       59     │        │<───────╢        ║        ║   report: promised 1.4, committed 1.1
              │        │<───────╫────────╢        ║   report: promised 1.4, committed 1.1
              │        │<───────╫────────╫────────╢   report: promised 1.4, committed 1.1
       60     │        ✗        ║        ║        ║   nobody has committed 1.4: presumed abort
              │        ├───────>║        ║        ║   install view 3: commit nothing, abort the rest
              │        ├────────╫───────>║        ║   install view 3: commit nothing, abort the rest
              │        ├────────╫────────╫───────>║   install view 3: commit nothing, abort the rest
       61     │        │        ✗        ✗        ✗   dropped 1.4
              │        │<───────┤        │        │   installed view 3
              │        │<───────┼────────┤        │   installed view 3
              │        │<───────┼────────┼────────┤   installed view 3
       62     │        ●        │        │        │   view 3 is active
              ├───────>│        │        │        │   GET x
       63     │        ├────────┼───────>│        │   read x
       64     │        │<───────┼────────┤        │   value 1
       65     │<───────┤        │        │        │   1
       66     ├───────>│        │        │        │   SET x 4
       67     │        ├───────>│        │        │   REQUEST-TO-PREPARE 2.2: x=4
              │        ├────────┼───────>│        │   REQUEST-TO-PREPARE 2.2: x=4
              │        ├────────┼────────┼───────>│   REQUEST-TO-PREPARE 2.2: x=4
       68     │        │        ?        ?        ?   promised 2.2: x=4
              │        │<───────╢        ║        ║   PREPARED 2.2
              │        │<───────╫────────╢        ║   PREPARED 2.2
              │        │<───────╫────────╫────────╢   PREPARED 2.2
       69     │        ✓        ║        ║        ║   decided: 2.2 commits
              │        ├───────>║        ║        ║   COMMIT 2.2
              │        ├────────╫───────>║        ║   COMMIT 2.2
              │        ├────────╫────────╫───────>║   COMMIT 2.2
       70     │        │        ✓        ✓        ✓   carried out 2.2: x=4
              │        │<───────┤        │        │   DONE 2.2
              │        │<───────┼────────┤        │   DONE 2.2
              │        │<───────┼────────┼────────┤   DONE 2.2
       71     │<───────┤        │        │        │   +OK

      ✓ nobody reported it as committed, so it was aborted everywhere
      ✓ GET x is 1, the old value
      ✓ nothing stays locked: SET x 4 has its OK
      ✓ x is 4 at P0, P1 and P2, and nobody is bound by anything

    4. the coordinator is lost between the phases; one has committed
    ────────────────────────────────────────────────────────────────
    Now C is killed a moment later: it has sent COMMIT to P0, and not yet to P1 and P2.

       ms  client      C        P0       P1       P2
       72     ├───────>│        │        │        │   SET x 5
       73     │        ├───────>│        │        │   REQUEST-TO-PREPARE 2.3: x=5
              │        ├────────┼───────>│        │   REQUEST-TO-PREPARE 2.3: x=5
              │        ├────────┼────────┼───────>│   REQUEST-TO-PREPARE 2.3: x=5
       74     │        │        ?        ?        ?   promised 2.3: x=5
              │        │<───────╢        ║        ║   PREPARED 2.3
              │        │<───────╫────────╢        ║   PREPARED 2.3
              │        │<───────╫────────╫────────╢   PREPARED 2.3
       75     │        ✓        ║        ║        ║   decided: 2.3 commits
              │        ├───────>║        ║        ║   COMMIT 2.3
              │        †        ║        ║        ║   C is killed
       76     ?                 ║        ║        ║   the connection breaks: was it done or not?
              │                 ✓        ║        ║   carried out 2.3: x=5
              │         ✗───────┤        ║        ║   DONE 2.3  (lost)

      ✓ P0 has carried it out: x is 5 there
      ✓ P1 and P2 are blocked: x is 4 there, and the promise x=5 binds them
      ✓ the client was told neither OK nor ERROR

    Had the next incarnation aborted as before, P0 would differ for ever. But it asks:

       ms  client      C        P0       P1       P2
      105     │        ●        │        ║        ║   incarnation 3 starts; it remembers nothing
              │        ├───────>│        ║        ║   greeting of incarnation 3
              │        ├────────┼───────>║        ║   greeting of incarnation 3
              │        ├────────┼────────╫───────>║   greeting of incarnation 3
      106     │        │<───────┤        ║        ║   report: committed 1.1 2.2 2.3
              │        │<───────┼────────╢        ║   report: promised 2.3, committed 1.1 2.2
              │        │<───────┼────────╫────────╢   report: promised 2.3, committed 1.1 2.2
      107     │        ✓        │        ║        ║   somebody has committed 2.3: it commits
              │        ├───────>│        ║        ║   install view 4: commit 2.3, abort the rest
              │        ├────────┼───────>║        ║   install view 4: commit 2.3, abort the rest
              │        ├────────┼────────╫───────>║   install view 4: commit 2.3, abort the rest
      108     │        │        │        ✓        ✓   carried out 2.3: x=5
              │        │<───────┤        │        │   installed view 4
              │        │<───────┼────────┤        │   installed view 4
              │        │<───────┼────────┼────────┤   installed view 4
      109     │        ●        │        │        │   view 4 is active
              ├───────>│        │        │        │   GET x
      110     │        ├────────┼───────>│        │   read x
      111     │        │<───────┼────────┤        │   value 5
      112     │<───────┤        │        │        │   5

      ✓ P0 reported it as committed, so it was committed everywhere
      ✓ GET x is 5, the new value
      ✓ x is 5 at P0, P1 and P2, and nobody is bound by anything

    All that the client saw
      ✓ what the client was told is linearizable

    results/2pc-demo-1/ summary.json history.jsonl trace.jsonl timeline.html
    ");

    let results = folder.path().join("results/2pc-demo-1");
    for file in FILES {
        let length = fs::metadata(results.join(file)).expect("a file").len();
        assert!(length > 0, "{file} is empty");
    }
    let again = demo(folder.path());
    assert_eq!(again.replace("2pc-demo-2", "2pc-demo-1"), text, "the same every time");
    for file in ["history.jsonl", "trace.jsonl", "timeline.html"] {
        let read = |name: &str| fs::read(folder.path().join("results").join(name).join(file));
        assert_eq!(read("2pc-demo-1").expect(file), read("2pc-demo-2").expect(file), "{file}");
    }
    let summary = fs::read_to_string(results.join("summary.json")).expect("a summary");
    assert!(summary.contains("\"linearizable\""), "{summary}");
    let page = fs::read_to_string(results.join("timeline.html")).expect("a page");
    for message in
        ["REQUEST-TO-PREPARE 1.1: x=1", "NO 1.2", "ABORT 1.2", "commit 2.3, abort the rest"]
    {
        assert!(page.contains(message), "the page lacks {message}");
    }
}
