//! Regular expressions of strangers: matching takes time linear in the text, and compiling is bounded here.

use regex::{Regex, RegexBuilder};

/// The longest expression in bytes: its syntax tree takes a few hundred times as much.
const MAX_LENGTH: usize = 8 * 1024;

/// How much memory the compiled expression may take, and its cache.
const MAX_COMPILED: usize = 4 << 20;

/// How deep it may be nested: its compiler recurses, on a session's small stack.
const MAX_NESTING: u32 = 50;

/// How much of an expression a message quotes.
const SHOWN: usize = 200;

/// Compiles an expression; `Err` says in words what is wrong, with the expression.
pub(super) fn compile(text: &str) -> Result<Regex, String> {
    let refused = |why: &str| {
        let shown: String = text.chars().take(SHOWN).collect();
        let more = if shown.len() < text.len() { "..." } else { "" };
        format!("invalid regular expression {shown:?}{more}: {why}")
    };
    if text.len() > MAX_LENGTH {
        return Err(refused(&format!("longer than {MAX_LENGTH} bytes")));
    }
    RegexBuilder::new(text)
        .size_limit(MAX_COMPILED)
        .dfa_size_limit(MAX_COMPILED)
        .nest_limit(MAX_NESTING)
        .build()
        .map_err(|error| match error {
            regex::Error::CompiledTooBig(_) => refused("too large when compiled"),
            // Its last line says what is wrong; those before draw where.
            error => refused(error.to_string().lines().last().unwrap_or_default().trim()),
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_wrong_is_said_with_the_expression() {
        for (text, why) in [
            ("(", r#"invalid regular expression "(": error: unclosed group"#),
            ("a{1000}{1000}", r#"invalid regular expression "a{1000}{1000}": too large"#),
            (r"\q", "unrecognized escape"),
            (r"(a)\1", "backreferences are not supported"),
        ] {
            let said = compile(text).expect_err(text);
            assert!(said.contains(why), "{said}");
            assert!(!said.contains('\n'), "{said}");
        }
        let long = compile(&"a".repeat(MAX_LENGTH + 1)).expect_err("too long");
        assert!(long.len() < 500, "{long}");
    }

    #[test]
    fn nothing_overflows_a_sessions_stack() {
        let nest = |open: &str, close: &str, depth| open.repeat(depth) + "a" + &close.repeat(depth);
        let hostile = [
            nest("(", ")", 49),
            nest("(", ")", 4000),
            nest("(?:", ")*", 49),
            nest("(?:a|", ")+?", 49),
            "[[a]&&".repeat(45) + "b" + &"]".repeat(45),
            "a*".repeat(4000),
            "(?:a|b|c)?".repeat(800),
            "\\pL{50}".to_owned(),
        ];
        let thread = std::thread::Builder::new().stack_size(256 * 1024);
        let tried = thread.spawn(move || {
            hostile
                .iter()
                .filter_map(|text| compile(text).ok())
                .filter(|r| r.is_match("aaab"))
                .count()
        });
        assert!(tried.expect("a thread").join().expect("no overflow") >= 3);
    }
}
