//! The chapter on the ladder of models: its histories are checked, and what it shows is what `lab check` finds.
//!
//! What stands between `<!-- NAME -->` and `<!-- end -->` in docs/models.md is made from
//! `tests/histories/ladder/NAME.jsonl`. After a change: `UPDATE_GOLDENFILES=1 cargo test --test docs_models`.

use std::fs;
use std::path::Path;

use consistency_lab::check::ladder::Ladder;
use consistency_lab::check::witness::Witness;
use consistency_lab::check::{Answer, Budget, MODELS, Model, Problem, model, spec};
use consistency_lab::history::{History, OpId, ValueId, formats};
use consistency_lab::report::{Style, lanes, verdicts};

const CHAPTER: &str = "docs/models.md";
const FOLDER: &str = "tests/histories/ladder";

fn history(name: &str) -> History {
    let path = format!("{FOLDER}/{name}.jsonl");
    let text = fs::read(&path).unwrap_or_else(|error| panic!("{path}: {error}"));
    formats::read_any(&mut &text[..], &path, None).expect("a history")
}

fn problem(history: &History) -> Problem<'_> {
    let (spec, budget) = (&spec::SPECS[0], Budget::unlimited());
    Problem { history, spec, initial: ValueId::NIL, budget }
}

/// The picture, the ladder in one line, and the witness.
fn generated(name: &str) -> String {
    let history = history(name);
    let problem = problem(&history);
    let ladder = Ladder::climb(&problem, &MODELS.iter().collect::<Vec<_>>(), &|_| ());
    let all: Vec<OpId> = history.ids().collect();
    let marks: Vec<String> = ladder
        .rungs
        .iter()
        .map(|rung| format!("{} {}", verdicts::mark(&rung.answer), rung.model.name))
        .collect();
    let mut text = format!("{}\n\n{}\n", lanes(&history, &all), marks.join("  "));
    if let Some(rung) = ladder.first_broken(None)
        && let Answer::Violation(core) = &rung.answer
    {
        let witness = Witness::find(&problem, rung.model, core);
        text += "\n";
        text += &verdicts::witness_text(&history, rung.model, &witness, Style::default());
    }
    let lines: Vec<&str> = text.lines().map(str::trim_end).collect();
    format!("```\n{}\n```", lines.join("\n"))
}

/// The chapter with every generated part made anew.
fn regenerated(chapter: &str) -> String {
    let mut out = String::new();
    let mut lines = chapter.lines();
    while let Some(line) = lines.next() {
        out += &format!("{line}\n");
        let name = line.strip_prefix("<!-- ").and_then(|rest| rest.strip_suffix(" -->"));
        if let Some(name) = name.filter(|name| *name != "end") {
            out += &format!("{}\n", generated(name));
            assert!(lines.any(|line| line == "<!-- end -->"), "{name} has no end in {CHAPTER}");
            out += "<!-- end -->\n";
        }
    }
    out
}

#[test]
fn the_chapter_shows_what_the_checkers_find() {
    let chapter = fs::read_to_string(CHAPTER).expect("the chapter");
    let fresh = regenerated(&chapter);
    if std::env::var_os("UPDATE_GOLDENFILES").is_some() {
        fs::write(CHAPTER, &fresh).expect("the chapter can be written");
    }
    assert!(chapter == fresh, "{CHAPTER} is out of date; see the head of this test");
}

#[test]
fn every_history_of_the_ladder_is_in_the_chapter() {
    let chapter = fs::read_to_string(CHAPTER).expect("the chapter");
    for entry in fs::read_dir(Path::new(FOLDER)).expect("the folder") {
        let path = entry.expect("an entry").path();
        let name = path.file_stem().and_then(|name| name.to_str()).expect("a name");
        assert!(chapter.contains(&format!("<!-- {name} -->")), "{name} is not in {CHAPTER}");
    }
}

/// For each step of the ladder, some history of the chapter keeps the one model and breaks the other.
#[test]
fn the_histories_tell_all_models_apart() {
    let names: Vec<String> = fs::read_dir(FOLDER)
        .expect("the folder")
        .map(|entry| entry.expect("an entry").path())
        .map(|path| path.file_stem().and_then(|name| name.to_str()).expect("a name").to_owned())
        .collect();
    let histories: Vec<History> = names.iter().map(|name| history(name)).collect();
    let holds = |model: &Model, history: &History| model.check(&problem(history)) == Answer::Valid;
    let apart = |keeps: &Model, breaks: &Model| {
        let found = histories.iter().any(|h| holds(keeps, h) && !holds(breaks, h));
        assert!(found, "no history keeps {keeps:?} and breaks {breaks:?}");
    };
    for strong in MODELS {
        for weak in MODELS.iter().filter(|weak| weak.name != strong.name && strong.implies(weak)) {
            apart(weak, strong);
        }
    }
    let [cm, ccv] = ["cm", "ccv"].map(|name| model(name).expect("a model of the list"));
    apart(cm, ccv);
    apart(ccv, cm);
}
