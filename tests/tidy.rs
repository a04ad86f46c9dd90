//! The house rules that no compiler checks, kept by a test: the floors, the size of files and functions,
//! determinism, and what must not stand in the repository. A failure names file and line and what to do.
//!
//! The rules are the tables below. Each rule is a function from source to findings and is itself tested
//! on small samples at the end of this file: a check that cannot fail is worth nothing.
//!
//! The bans on clocks and randomness are kept twice. Here by their usual spelling, in every file of a pure
//! floor; and by clippy (`disallowed-methods` in `clippy.toml`), which sees through renamed imports. Clippy
//! cannot tell folders apart, so `src/lib.rs` switches its lint on floor by floor, and this test looks
//! that it does.

#![allow(clippy::unwrap_used, reason = "a test of files: what cannot be read shall fail it")]

#[path = "tidy/source.rs"]
mod source;

use source::{Source, words};
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

/// One folder (or file) right under `src/`.
struct Floor {
    name: &'static str,
    /// A floor imports from lower levels only; floors of one level are siblings and do not meet.
    level: u8,
    /// Where set, the only floors it imports.
    only: Option<&'static [&'static str]>,
    /// Pure floors own no clock, no sleep and no random source.
    pure: bool,
}

const fn pure(name: &'static str, level: u8) -> Floor {
    Floor { name, level, only: None, pure: true }
}

const fn driver(name: &'static str, level: u8) -> Floor {
    Floor { name, level, only: None, pure: false }
}

const fn restricted(floor: Floor, only: &'static [&'static str]) -> Floor {
    Floor { only: Some(only), ..floor }
}

/// The house from the ground up. Floors that are not built yet have their place already.
const FLOORS: &[Floor] = &[
    pure("base", 0),
    pure("wire", 1),
    restricted(pure("faults", 1), &["base"]),
    restricted(pure("history", 1), &["base"]),
    restricted(pure("check", 2), &["base", "history"]),
    pure("protocol", 2),
    pure("storage", 3),
    pure("node", 4),
    restricted(driver("client", 4), &["base", "wire"]),
    driver("runtime", 5),
    pure("sim", 5),
    driver("report", 6),
    driver("view", 6),
    driver("bench", 7),
    driver("labs", 8),
    driver("cli", 9),
];

const MAX_FILE_LINES: usize = 500;
const MAX_FUNCTION_LINES: usize = 70;

/// What a pure floor must not name, and what to do instead.
const BANNED_IN_PURE_FLOORS: &[(&str, &str)] = &[
    ("Instant::now", "take the time as an argument (base::Now)"),
    ("SystemTime::now", "take the time as an argument (base::Now)"),
    ("thread::sleep", "return a deadline and let the driver wait"),
    ("rand::rng", "take a seeded generator as an argument"),
    ("thread_rng", "take a seeded generator as an argument"),
    ("RandomState", "use a fixed hasher, or a BTreeMap where it is iterated"),
];

/// What must not stand in any file: it would tie the repository to one machine or one conversation.
const PRIVATE: &[&str] = &[
    concat!("/ho", "me/"),
    concat!("/ro", "ot/"),
    concat!("/wo", "rk/"),
    concat!("/Us", "ers/"),
    concat!("iss", "ue #"),
];

const REGISTRY: &str = "registry+https://github.com/rust-lang/crates.io-index";

/// `file:line: what is wrong; what to do`.
type Finding = String;

fn floor(name: &str) -> Option<&'static Floor> {
    FLOORS.iter().find(|floor| floor.name == name)
}

fn finding(source: &Source, offset: usize, message: &str) -> Finding {
    format!("{}:{}: {message}", source.path, source.line(offset))
}

/// The floor a file of `src/` stands on; `None` for `src/lib.rs` and the programs in `src/bin/`.
fn floor_name(source: &Source) -> Option<&str> {
    let first = source.module_path().first().copied()?;
    (source.path.starts_with("src/") && first != "bin").then_some(first)
}

fn check_floors(source: &Source) -> Vec<Finding> {
    let Some(name) = floor_name(source) else { return Vec::new() };
    let Some(own) = floor(name) else {
        let message = format!("`{name}` is no floor of the house; give it a place in FLOORS");
        return vec![finding(source, 0, &message)];
    };
    let upward = |target: &Floor| {
        let forbidden = own.only.is_some_and(|only| !only.contains(&target.name));
        target.name != own.name && (target.level >= own.level || forbidden)
    };
    source
        .top_level_uses()
        .into_iter()
        .filter_map(|(at, used)| {
            let target = floor(&used).filter(|target| upward(target))?.name;
            let message = format!(
                "`{name}` must not import `{target}`; imports point down only: move what both \
                 need to a lower floor, or pass it as an argument"
            );
            Some(finding(source, at, &message))
        })
        .collect()
}

fn check_determinism(source: &Source) -> Vec<Finding> {
    if !floor_name(source).and_then(floor).is_some_and(|floor| floor.pure) {
        return Vec::new();
    }
    BANNED_IN_PURE_FLOORS
        .iter()
        .flat_map(|(word, instead)| words(&source.code, word).map(move |at| (at, word, instead)))
        .map(|(at, word, instead)| {
            finding(source, at, &format!("`{word}` in a pure floor; {instead}"))
        })
        .collect()
}

/// `src/lib.rs` must switch clippy's type-aware bans on for every pure floor that it declares.
fn check_lints_of_pure_floors(lib: &Source) -> Vec<Finding> {
    let is_on = |attributes: &str| attributes.contains("#[deny(clippy::disallowed_methods");
    FLOORS
        .iter()
        .filter(|floor| floor.pure)
        .filter_map(|floor| {
            let at = words(&lib.code, floor.name).find(|at| lib.code[..*at].ends_with("mod "))?;
            let message = format!(
                "`{}` is a pure floor; write above it \
                 `#[deny(clippy::disallowed_methods, clippy::iter_over_hash_type)]`",
                floor.name
            );
            (!is_on(lib.attributes(at))).then(|| finding(lib, at, &message))
        })
        .collect()
}

fn check_size(source: &Source) -> Vec<Finding> {
    let lines = source.lines_without_tests();
    let too_long = (lines > MAX_FILE_LINES).then(|| {
        let message = format!("{lines} lines without tests, more than {MAX_FILE_LINES}; split it");
        finding(source, 0, &message)
    });
    let functions = source.functions().into_iter().filter_map(|(at, name, lines)| {
        let message = format!(
            "`{name}` has {lines} lines, more than {MAX_FUNCTION_LINES}; take functions out of it"
        );
        (lines > MAX_FUNCTION_LINES && !source.is_test(at)).then(|| finding(source, at, &message))
    });
    functions.chain(too_long).collect()
}

fn check_unwrap(source: &Source) -> Vec<Finding> {
    source
        .code
        .match_indices(".unwrap()")
        .filter(|(at, _)| !source.is_test(*at))
        .map(|(at, _)| {
            finding(
                source,
                at,
                "`unwrap()` outside tests; return an error, or `expect` an invariant and name it",
            )
        })
        .collect()
}

/// The files of a package that no `mod` names, starting at the crate roots.
fn check_orphans(sources: &[Source]) -> Vec<Finding> {
    let known: BTreeSet<&str> = sources.iter().map(|source| source.path.as_str()).collect();
    let mut reached: BTreeSet<String> = BTreeSet::new();
    let mut open: Vec<String> =
        known.iter().filter(|path| is_crate_root(path)).map(ToString::to_string).collect();
    while let Some(path) = open.pop() {
        let Some(source) = sources.iter().find(|source| source.path == path) else { continue };
        if reached.insert(path) {
            open.extend(
                named_files(source).into_iter().filter(|next| known.contains(next.as_str())),
            );
        }
    }
    known
        .iter()
        .filter(|path| !reached.contains(**path))
        .map(|path| format!("{path}:1: no `mod` names this file; declare it or delete it"))
        .collect()
}

/// Cargo compiles these by themselves: the library, the programs, the tests and the benches.
fn is_crate_root(path: &str) -> bool {
    let parts: Vec<&str> = path.split('/').collect();
    matches!(
        parts.as_slice(),
        ["src", "lib.rs"]
            | ["src", "bin", _]
            | ["tests" | "benches", _]
            | ["tests" | "benches", _, "main.rs"]
            | ["fuzz", "fuzz_targets", _]
    )
}

/// The files that the `mod name;` lines of a file may mean.
fn named_files(source: &Source) -> Vec<String> {
    let path = Path::new(&source.path);
    let folder = path.parent().unwrap();
    let stem = path.file_stem().unwrap();
    let owns_folder = is_crate_root(&source.path) || stem == "mod";
    let children = if owns_folder { folder.to_path_buf() } else { folder.join(stem) };
    source
        .mod_declarations()
        .into_iter()
        .flat_map(|declaration| match declaration.path_attribute {
            Some(named) => vec![folder.join(named)],
            None => {
                let base =
                    declaration.inside.iter().fold(children.clone(), |at, part| at.join(part));
                let name = &declaration.name;
                vec![base.join(format!("{name}.rs")), base.join(name).join("mod.rs")]
            }
        })
        .map(|path| without_dots(&path.to_string_lossy()))
        .collect()
}

/// `tests/../fuzz/x.rs` is `fuzz/x.rs`.
fn without_dots(path: &str) -> String {
    let mut parts = Vec::new();
    for part in path.split('/') {
        match part {
            ".." => drop(parts.pop()),
            "." => {}
            _ => parts.push(part),
        }
    }
    parts.join("/")
}

fn check_private(path: &str, text: &str) -> Vec<Finding> {
    let starts_word = |line: &str, at: usize| {
        line[..at]
            .chars()
            .next_back()
            .is_none_or(|c| !(c.is_alphanumeric() || "_-.~$}".contains(c)))
    };
    let named =
        |line: &str, word: &str| line.match_indices(word).any(|(at, _)| starts_word(line, at));
    text.lines()
        .enumerate()
        .flat_map(|(number, line)| {
            PRIVATE.iter().filter(move |word| named(line, word)).map(move |word| (number + 1, word))
        })
        .map(|(line, word)| {
            format!(
                "{path}:{line}: `{word}` belongs to one machine or one conversation; say it so \
                 that it holds anywhere"
            )
        })
        .collect()
}

fn check_lock_file(path: &str, text: &str) -> Vec<Finding> {
    text.lines()
        .enumerate()
        .filter(|(_, line)| line.starts_with("source = ") && !line.contains(REGISTRY))
        .map(|(at, line)| {
            format!(
                "{path}:{}: `{line}` is not crates.io; a fresh clone could not fetch it",
                at + 1
            )
        })
        .collect()
}

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

/// Folders that are built, run or fetched, and not written.
const SKIPPED: &[&str] = &["target", "results", "replicas", "corpus", "artifacts"];

/// All text files under a folder of the repository, with paths from its root.
fn files(folder: &str) -> Vec<(String, String)> {
    let written = |path: &PathBuf| {
        let name = path.file_name().unwrap().to_string_lossy();
        !SKIPPED.contains(&name.as_ref()) && (!name.starts_with('.') || name == ".ci")
    };
    let mut open = vec![root().join(folder)];
    let mut found = Vec::new();
    while let Some(path) = open.pop() {
        if path.is_dir() {
            let entries = std::fs::read_dir(&path).unwrap().map(|entry| entry.unwrap().path());
            open.extend(entries.filter(written));
        } else if let Ok(text) = std::fs::read_to_string(&path) {
            let inner = path.strip_prefix(root()).unwrap();
            found.push((inner.to_string_lossy().replace('\\', "/"), text));
        }
    }
    found.sort();
    found
}

fn rust_sources(folders: &[&str]) -> Vec<Source> {
    folders
        .iter()
        .flat_map(|folder| files(folder))
        .filter(|(path, _)| path.ends_with(".rs"))
        .map(|(path, text)| Source::new(&path, &text))
        .collect()
}

#[track_caller]
fn assert_tidy(findings: Vec<Finding>) {
    assert!(findings.is_empty(), "{} findings:\n{}", findings.len(), findings.join("\n"));
}

#[test]
fn imports_point_down_only() {
    assert_tidy(rust_sources(&["src"]).iter().flat_map(check_floors).collect());
}

#[test]
fn pure_floors_own_no_clock_and_no_randomness() {
    let sources = rust_sources(&["src"]);
    let lib = sources.iter().find(|source| source.path == "src/lib.rs").unwrap();
    let lints = check_lints_of_pure_floors(lib);
    assert_tidy(sources.iter().flat_map(check_determinism).chain(lints).collect());
}

#[test]
fn every_file_is_named_by_a_module() {
    assert_tidy(check_orphans(&rust_sources(&["src", "tests", "benches", "fuzz"])));
}

#[test]
fn files_and_functions_are_short() {
    assert_tidy(rust_sources(&["src", "benches", "fuzz"]).iter().flat_map(check_size).collect());
}

#[test]
fn the_product_does_not_unwrap() {
    assert_tidy(rust_sources(&["src"]).iter().flat_map(check_unwrap).collect());
}

#[test]
fn the_repository_holds_on_any_machine() {
    let files = files("");
    let private = files.iter().flat_map(|(path, text)| check_private(path, text));
    let locks = files.iter().filter(|(path, _)| path.ends_with("Cargo.lock"));
    assert_tidy(
        private.chain(locks.flat_map(|(path, text)| check_lock_file(path, text))).collect(),
    );
}

/// The checks themselves, on samples that break each rule and samples that only look like it.
mod checks_bite {
    use super::*;

    /// The line numbers at which a check finds something in a sample.
    fn lines(check: fn(&Source) -> Vec<Finding>, path: &str, text: &str) -> Vec<usize> {
        let number = |finding: &Finding| finding.split(':').nth(1).unwrap().parse().unwrap();
        check(&Source::new(path, text)).iter().map(number).collect()
    }

    #[test]
    fn upward_imports_are_found_however_they_are_spelled() {
        let upward = [
            "use crate::runtime::Server;",
            "use crate::{base::Op, runtime};",
            "use crate::{\n    base::{Op, Read},\n    node::Node,\n};",
            "fn f() { crate::cli::run() }",
            "use super::super::storage::Store;",
            "mod tests { use super::super::super::storage::Store; }",
            "use crate :: labs :: demo;",
            "use crate::check::Verdict;",
        ];
        for text in upward {
            assert_eq!(lines(check_floors, "src/protocol/order.rs", text).len(), 1, "{text}");
        }
        let fine = [
            "use crate::base::Op;",
            "use crate::{base::{node, Op}, wire::frame};",
            "use crate::protocol::modes;",
            "use super::runtime; // a module of its own floor",
            "//! See [`crate::runtime`].\nfn f() -> &'static str { \"crate::runtime::x\" }",
            "pub(crate) fn storage() {}",
        ];
        for text in fine {
            assert!(lines(check_floors, "src/protocol/order.rs", text).is_empty(), "{text}");
        }
    }

    #[test]
    fn restricted_floors_and_siblings_and_strangers_are_found() {
        let found = |path, text| lines(check_floors, path, text);
        assert_eq!(found("src/client/mod.rs", "\nuse crate::storage::Store;"), [2]);
        assert_eq!(found("src/client/mod.rs", "use super::protocol::Mode;"), [1]);
        assert_eq!(found("src/sim/mod.rs", "use crate::runtime::Link;"), [1]);
        assert_eq!(found("src/check/mod.rs", "use crate::wire::memcached;"), [1]);
        assert_eq!(found("src/attic/mod.rs", ""), [1]);
        assert!(found("src/client/mod.rs", "use crate::wire::memcached;").is_empty());
        assert!(found("src/cli/mod.rs", "use crate::{runtime, labs, bench};").is_empty());
        assert!(found("src/bin/lab.rs", "use consistency_lab::cli;").is_empty());
        assert!(found("src/faults.rs", "use crate::base::ReplicaId;").is_empty());
    }

    #[test]
    fn clocks_and_randomness_are_found_in_pure_floors_only() {
        for word in BANNED_IN_PURE_FLOORS.iter().map(|(word, _)| word) {
            let text = format!("// {word} is banned\nfn f() {{\n    std::{word}();\n}}\n");
            assert_eq!(lines(check_determinism, "src/node/mod.rs", &text), [3], "{word}");
            assert!(lines(check_determinism, "src/runtime/mod.rs", &text).is_empty(), "{word}");
        }
        let lib =
            "#[deny(clippy::disallowed_methods)]\npub mod base;\npub mod wire;\npub mod cli;\n";
        assert_eq!(lines(check_lints_of_pure_floors, "src/lib.rs", lib), [3]);
    }

    #[test]
    fn long_files_and_functions_are_found_and_tests_do_not_count() {
        let statements = |count: usize| "    work();\n".repeat(count);
        let long = format!("fn f(x: [u8; 3]) -> char {{\n{}    '}}'\n}}\n", statements(68));
        assert_eq!(lines(check_size, "src/a.rs", &format!("\n{long}")), [2]);
        let fits = format!("fn f() {{\n    let _ = \"{{\";\n{}}}\n", statements(67));
        assert!(lines(check_size, "src/a.rs", &fits).is_empty());
        let test = format!("#[cfg(test)]\nmod tests {{\n{long}}}\n");
        assert!(lines(check_size, "src/a.rs", &test).is_empty());

        let many = "const A: u8 = 0;\n".repeat(MAX_FILE_LINES);
        assert!(lines(check_size, "src/a.rs", &many).is_empty());
        assert!(lines(check_size, "src/a.rs", &format!("{many}{test}")).is_empty());
        assert_eq!(lines(check_size, "src/a.rs", &format!("{many}{test}const B: u8 = 0;\n")), [1]);
    }

    #[test]
    fn unwrap_is_found_outside_tests_only() {
        let text = "fn f() {\n    g().unwrap();\n    h().unwrap_or(1);\n}\n\
                    #[cfg(test)]\nmod tests {\n    fn t() { g().unwrap(); }\n}\n// .unwrap()\n";
        assert_eq!(lines(check_unwrap, "src/a.rs", text), [2]);
    }

    #[test]
    fn files_without_a_module_are_found() {
        let sources = [
            ("src/lib.rs", "pub mod node;\n// mod commented;\n"),
            ("src/node/mod.rs", "mod pending;\n#[cfg(test)]\nmod tests { mod inner; }\n"),
            ("src/node/pending.rs", "#[path = \"odd_name.rs\"]\nmod odd;\nmod deep;\n"),
            ("src/node/odd_name.rs", ""),
            ("src/node/pending/deep.rs", ""),
            ("src/node/tests/inner.rs", ""),
            ("src/node/forgotten.rs", ""),
            ("src/commented.rs", ""),
            ("src/bin/lab.rs", ""),
            ("tests/servers.rs", "mod support;\n#[path = \"../fuzz/entry.rs\"]\nmod entry;\n"),
            ("fuzz/entry.rs", ""),
            ("tests/support/mod.rs", ""),
        ]
        .map(|(path, text)| Source::new(path, text));
        let orphans = check_orphans(&sources);
        let paths: Vec<&str> = orphans.iter().filter_map(|line| line.split(':').next()).collect();
        assert_eq!(paths, ["src/commented.rs", "src/node/forgotten.rs"]);
    }

    #[test]
    fn what_belongs_to_one_machine_is_found() {
        for word in PRIVATE {
            let text = format!("fine\nsee {word}7 here\n");
            let found = check_private("docs/x.md", &text);
            assert_eq!(found.len(), 1, "{word}");
            assert!(found[0].starts_with("docs/x.md:2: "), "{}", found[0]);
        }
        let relative = format!("tests{}7", PRIVATE[2]);
        assert!(check_private("docs/x.md", &relative).is_empty());
        let lock = format!("source = \"{REGISTRY}\"\nsource = \"sparse+https://elsewhere/\"\n");
        assert_eq!(check_lock_file("Cargo.lock", &lock).len(), 1);
    }

    #[test]
    fn the_reader_tells_code_from_comments_and_literals() {
        let code = |text: &str| Source::new("src/a.rs", text).code;
        assert_eq!(code("a /* b /* c */ d */ e"), "a                   e");
        assert_eq!(code("a \"b\\\" c\" d"), "a         d");
        assert_eq!(code("a r#\"b\" c\"# d"), "a           d");
        assert_eq!(code("f('{', '\\'', b'x', '\\u{7f}')"), "f(   ,     , b   ,         )");
        assert_eq!(code("fn f<'a, 'b>(x: &'a str)"), "fn f<'a, 'b>(x: &'a str)");
        assert_eq!(code("r#fn bar\"b\""), "r#fn bar   ");
        assert_eq!(code("a // b\nc 'é' d"), "a     \nc      d");
    }
}
