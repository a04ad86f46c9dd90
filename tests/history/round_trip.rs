//! What is written is read back: every format that can be written, on random histories.

use crate::history_support::{Kept, histories, picture, timed_histories};
use consistency_lab::history::formats::{self, Format};
use consistency_lab::history::jsonl::{
    Asked, CompletionLine, Header, InvocationLine, Order, Reported, put_completion, put_header,
    put_invocation,
};
use consistency_lab::history::{Clock, History, Outcome, jsonl};
use proptest::prelude::*;

fn written(format: &Format, history: &History) -> Vec<u8> {
    let mut out = Vec::new();
    let write = format.write.expect("a format that can be written");
    write(history, &mut out).expect("a Vec takes all");
    out
}

fn again(name: &str, history: &History) -> History {
    let format = formats::find(name).expect("a known format");
    let bytes = written(format, history);
    // Its own writing is recognised, too.
    match formats::read_any(&mut &*bytes, name, None) {
        Ok(history) => history,
        Err(error) => panic!("{error}\n{}", String::from_utf8_lossy(&bytes)),
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1000))]

    #[test]
    fn the_own_format_and_shiviz_keep_everything(history in histories()) {
        for name in ["jsonl", "shiviz"] {
            let again = again(name, &history);
            prop_assert_eq!(picture(&again, Kept::All), picture(&history, Kept::All), "{}", name);
        }
    }

    #[test]
    fn jepsens_formats_keep_the_operations(history in histories()) {
        prop_assume!(!history.operations.is_empty());
        for name in ["edn", "elle"] {
            let again = again(name, &history);
            let (found, expected) =
                (picture(&again, Kept::Operations), picture(&history, Kept::Operations));
            prop_assert_eq!(found, expected, "{}", name);
        }
        // Without a clock, a fault has no time at which nothing else happens.
        if history.clock == Clock::Nanoseconds {
            let again = again("edn", &history);
            prop_assert_eq!(again.faults, history.faults);
        }
    }

    /// What sessions wrote one after the other, sorted by time, is what happened.
    #[test]
    fn lines_that_are_gathered_by_session_are_sorted(history in timed_histories()) {
        let bytes = written(formats::find("jsonl").expect("a format"), &history);
        let text = String::from_utf8(bytes).expect("text");
        let mut lines: Vec<&str> = text.lines().collect();
        lines[1..].sort_by_key(|line| line.split("\"process\":").nth(1).map(|rest| &rest[..4]));
        let shuffled = lines.join("\n").replacen("\"order\":\"lines\"", "\"order\":\"time\"", 1);
        let again = jsonl::read(&mut shuffled.as_bytes(), "shuffled").expect("it is sorted by time");
        let operations = |history: &History| picture(history, Kept::Operations);
        prop_assert_eq!(operations(&again), operations(&history));
    }
}

#[test]
fn the_recorders_lines_are_read_as_they_were_meant() {
    let mut out = Vec::new();
    let initial = vec![("x".to_owned(), Some("0".to_owned()))];
    put_header(
        &mut out,
        &Header { clock: Clock::Nanoseconds, order: Order::Time, claim: None, initial },
    );
    let mut time = 0;
    let mut operation = |asked, outcome, reported| {
        let key = "x";
        let line = InvocationLine { process: "c0", key, asked, replica: None, time: Some(time) };
        put_invocation(&mut out, &line);
        let time_of_end = Some(time + 1);
        put_completion(
            &mut out,
            &CompletionLine { process: "c0", outcome, reported, time: time_of_end, error: None },
        );
        time += 2;
    };
    let (ok, none) = (Outcome::Ok, Reported::Nothing);
    operation(Asked::Write(Some("1")), ok, none);
    operation(Asked::Write(None), ok, none);
    operation(Asked::Read, ok, Reported::Value(None));
    operation(Asked::Cas { from: None, to: Some("2") }, ok, Reported::Swapped(true));
    operation(Asked::Cas { from: None, to: Some("3") }, ok, Reported::Swapped(false));
    operation(Asked::Append("4"), Outcome::Unknown, none);
    let was = Asked::Cas { from: Some("24"), to: Some("25") };
    operation(Asked::Other("incr"), ok, Reported::Was(was));
    let (from, to) = (Some("1"), Some("2"));
    operation(Asked::Other("incr"), ok, Reported::WasNotSwapped { from, to });
    operation(Asked::Other("incr"), Outcome::Fail, none);
    let history = jsonl::read(&mut &*out, "recorded").expect("the recorder's own lines");
    let actions: Vec<String> = picture(&history, Kept::All);
    let short = |line: &String| line.split(" None ").next().unwrap_or_default().to_owned();
    let actions: Vec<String> = actions[..9].iter().map(short).collect();
    let expected = [
        r#""c0" "x" write Some("1") Ok"#,
        r#""c0" "x" write"#,
        r#""c0" "x" read"#,
        r#""c0" "x" cas"#,
        r#""c0" "x" cas"#,
        r#""c0" "x" append Some("4") Unknown"#,
        r#""c0" "x" cas Some("24") Some("25") true Ok"#,
        r#""c0" "x" cas Some("1") Some("2") false Ok"#,
        r#""c0" "x" other Some("incr") Fail"#,
    ];
    for (action, expected) in actions.iter().zip(expected) {
        assert!(action.starts_with(expected), "{action} is no {expected}");
    }
}
