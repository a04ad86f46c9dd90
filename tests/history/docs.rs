//! The examples of `docs/histories.md` are what they say.

use std::fs;
use std::path::Path;

use consistency_lab::history::formats;

fn chapter() -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/histories.md");
    fs::read_to_string(path).expect("the chapter on histories")
}

#[test]
fn each_format_has_an_example_that_is_recognised_and_read() {
    let chapter = chapter();
    for format in formats::FORMATS {
        let fence = format!("```{}\n", format.name);
        let examples: Vec<&str> = chapter
            .split(&fence)
            .skip(1)
            .map(|rest| rest.split("```").next().expect("the end of the example"))
            .collect();
        assert!(!examples.is_empty(), "no example of {}", format.name);
        for example in examples {
            let found = formats::recognise(example).map(|format| format.name);
            assert_eq!(found, Some(format.name), "{example}");
            let history = formats::read_any(&mut example.as_bytes(), format.name, None);
            let history = history.unwrap_or_else(|error| panic!("{error}"));
            assert!(!history.operations.is_empty());
        }
    }
}

#[test]
fn the_table_of_formats_is_the_list_of_formats() {
    let chapter = chapter();
    for format in formats::FORMATS {
        let row = format!("| `{}` | ", format.name);
        let row = chapter.lines().find(|line| line.starts_with(&row)).expect("a row of the table");
        assert!(row.replace('`', "").contains(format.what), "{row}");
        assert_eq!(row.ends_with("| yes |"), format.write.is_some(), "{row}");
    }
}
