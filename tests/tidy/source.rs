//! A small reader of Rust source, just enough for the tidy checks: it knows comments, literals, braces and
//! modules, and nothing of types or macros.
//!
//! Everything works on *code*: the text with every comment, string and character literal replaced by
//! spaces. Offsets and line numbers stay those of the file.

/// One Rust file, taken apart.
pub struct Source {
    /// Path from the repository root, with `/`.
    pub path: String,
    /// The text as it is.
    pub text: String,
    /// The text with comments and literals blanked out; as long as `text`.
    pub code: String,
    /// The byte offset at which each line starts.
    line_starts: Vec<usize>,
    /// The byte ranges of items under `#[cfg(test)]`.
    test_ranges: Vec<(usize, usize)>,
    /// The inline modules: body range and name, outer ones first.
    inline_modules: Vec<(usize, usize, String)>,
}

/// A `mod name;` that asks for a file.
pub struct ModDeclaration {
    /// The module's name.
    pub name: String,
    /// The inline modules it stands in, outermost first.
    pub inside: Vec<String>,
    /// What `#[path = "…"]` says, if it says anything.
    pub path_attribute: Option<String>,
}

impl Source {
    /// Takes a file apart.
    pub fn new(path: &str, text: &str) -> Self {
        let code = blank(text);
        let line_starts =
            std::iter::once(0).chain(text.match_indices('\n').map(|(at, _)| at + 1)).collect();
        let test_ranges = ["#[cfg(test)]", "#[cfg(all(test,"]
            .iter()
            .flat_map(|attribute| code.match_indices(attribute))
            .map(|(at, _)| (at, item_end(code.as_bytes(), at)))
            .collect();
        let inline_modules = words(&code, "mod")
            .filter_map(|at| {
                let (name, after) = identifier(&code, at + 3)?;
                let open = skip_spaces(&code, after);
                (code.as_bytes().get(open) == Some(&b'{'))
                    .then(|| (open, closing(code.as_bytes(), open), name.to_string()))
            })
            .collect();
        let (path, text) = (path.to_string(), text.to_string());
        Self { path, text, code, line_starts, test_ranges, inline_modules }
    }

    /// The line number, from 1, of a byte offset.
    pub fn line(&self, offset: usize) -> usize {
        self.line_starts.partition_point(|start| *start <= offset)
    }

    /// Whether the offset lies in an item under `#[cfg(test)]`.
    pub fn is_test(&self, offset: usize) -> bool {
        self.test_ranges.iter().any(|(from, to)| (*from..*to).contains(&offset))
    }

    /// The number of lines that are not in items under `#[cfg(test)]`.
    pub fn lines_without_tests(&self) -> usize {
        let end = self.text.trim_end().len();
        self.line_starts.iter().filter(|start| **start < end && !self.is_test(**start)).count()
    }

    /// The names of the inline modules around an offset, outermost first.
    pub fn inside(&self, offset: usize) -> Vec<String> {
        let around = |(from, to, _): &&(usize, usize, String)| (*from..*to).contains(&offset);
        self.inline_modules.iter().filter(around).map(|(_, _, name)| name.clone()).collect()
    }

    /// The path of the file's own module: `src/node/x.rs` is `["node", "x"]`, `src/lib.rs` is `[]`.
    pub fn module_path(&self) -> Vec<&str> {
        let inner = self.path.trim_start_matches("src/").trim_end_matches(".rs");
        inner.split('/').filter(|part| !["lib", "mod"].contains(part)).collect()
    }

    /// Every use of a top-level module of this crate, as `(offset, module)`: through `crate::`, also in
    /// braces, and through a chain of `super::` that ends at the crate's root.
    pub fn top_level_uses(&self) -> Vec<(usize, String)> {
        let mut found = Vec::new();
        for at in words(&self.code, "crate") {
            if let Some(rest) = after_colons(&self.code, at + "crate".len()) {
                found.extend(heads(&self.code, rest));
            }
        }
        let depth = self.module_path().len();
        for at in words(&self.code, "super") {
            let (mut supers, mut rest) = (1, after_colons(&self.code, at + "super".len()));
            while let Some(next) = rest.filter(|next| self.code[*next..].starts_with("super")) {
                (supers, rest) = (supers + 1, after_colons(&self.code, next + "super".len()));
            }
            if let Some(rest) = rest.filter(|_| supers == depth + self.inside(at).len()) {
                found.extend(heads(&self.code, rest));
            }
        }
        found
    }

    /// Every function with a body: `(offset, name, number of lines)`.
    pub fn functions(&self) -> Vec<(usize, String, usize)> {
        let code = self.code.as_bytes();
        words(&self.code, "fn")
            .filter_map(|at| {
                let (name, after) = identifier(&self.code, at + 2)?;
                let end = item_end(code, after);
                (code[end - 1] == b'}')
                    .then(|| (at, name.to_string(), self.line(end - 1) - self.line(at) + 1))
            })
            .collect()
    }

    /// The `mod name;` declarations of this file.
    pub fn mod_declarations(&self) -> Vec<ModDeclaration> {
        words(&self.code, "mod")
            .filter_map(|at| {
                let (name, after) = identifier(&self.code, at + 3)?;
                let end = skip_spaces(&self.code, after);
                (self.code.as_bytes().get(end) == Some(&b';')).then(|| ModDeclaration {
                    name: name.to_string(),
                    inside: self.inside(at),
                    path_attribute: self.path_attribute(at),
                })
            })
            .collect()
    }

    /// What stands before the item at `offset`, back to the end of the item before it: its attributes.
    pub fn attributes(&self, offset: usize) -> &str {
        let start = self.code[..offset].rfind([';', '}', '{']).map_or(0, |at| at + 1);
        &self.text[start..offset]
    }

    fn path_attribute(&self, offset: usize) -> Option<String> {
        let (_, value) = self.attributes(offset).rsplit_once("#[path = \"")?;
        value.split_once('"').map(|(path, _)| path.to_string())
    }
}

/// The text with comments and literals replaced by spaces; line breaks stay.
fn blank(text: &str) -> String {
    let bytes = text.as_bytes();
    let mut out = bytes.to_vec();
    let mut at = 0;
    while at < bytes.len() {
        let end = opaque_end(bytes, at).min(bytes.len());
        out[at..end].iter_mut().filter(|byte| **byte != b'\n').for_each(|byte| *byte = b' ');
        at = end.max(at + 1);
    }
    String::from_utf8_lossy(&out).into_owned()
}

/// Where the comment or literal that starts at `at` ends; `at` itself if none starts there.
fn opaque_end(bytes: &[u8], at: usize) -> usize {
    let rest = &bytes[at..];
    match rest {
        [b'/', b'/', ..] => at + position(rest, b"\n"),
        [b'/', b'*', ..] => at + block_comment_length(rest),
        [b'"', ..] => at + string_length(rest),
        [b'\'', ..] => at + char_length(rest),
        [b'r', ..] if starts_a_word(bytes, at) => at + raw_string_length(rest),
        _ => at,
    }
}

/// Whether a literal's prefix can start here: nothing but `b` or `c` (`br"…"`) is joined to it in front.
fn starts_a_word(bytes: &[u8], at: usize) -> bool {
    let joined = |at: usize| at > 0 && is_word(bytes[at - 1]);
    !joined(at) || (matches!(bytes[at - 1], b'b' | b'c') && !joined(at - 1))
}

fn block_comment_length(rest: &[u8]) -> usize {
    let (mut depth, mut at) = (0, 0);
    while at < rest.len() {
        match &rest[at..] {
            [b'/', b'*', ..] => (depth, at) = (depth + 1, at + 2),
            [b'*', b'/', ..] => (depth, at) = (depth - 1, at + 2),
            _ => at += 1,
        }
        if depth == 0 {
            break;
        }
    }
    at
}

fn string_length(rest: &[u8]) -> usize {
    let mut at = 1;
    while at < rest.len() && rest[at] != b'"' {
        at += if rest[at] == b'\\' { 2 } else { 1 };
    }
    at + 1
}

/// A character literal's length; 0 for a lifetime.
fn char_length(rest: &[u8]) -> usize {
    match rest {
        [_, b'\\', _, tail @ ..] => 3 + position(tail, b"'") + 1,
        _ => {
            let width = (2..=5).find(|end| rest.get(*end) == Some(&b'\''));
            // `'a'` is a literal; in `<'a, 'b>` the next quote comes later than one character on.
            let one_character = |end: &usize| {
                std::str::from_utf8(&rest[1..*end]).is_ok_and(|text| text.chars().count() == 1)
            };
            width.filter(one_character).map_or(0, |end| end + 1)
        }
    }
}

/// A raw string's length; 0 where it is none (a word that begins with `r`, a raw identifier).
fn raw_string_length(rest: &[u8]) -> usize {
    let hashes = rest[1..].iter().take_while(|byte| **byte == b'#').count();
    if rest.get(1 + hashes) != Some(&b'"') {
        return 0;
    }
    let close = format!("\"{}", "#".repeat(hashes));
    let body = 2 + hashes;
    body + position(&rest[body..], close.as_bytes()) + close.len()
}

fn position(haystack: &[u8], needle: &[u8]) -> usize {
    haystack.windows(needle.len()).position(|part| part == needle).unwrap_or(haystack.len())
}

fn is_word(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_'
}

/// The offsets at which `word` stands as a whole word.
pub fn words<'a>(code: &'a str, word: &'a str) -> impl Iterator<Item = usize> + 'a {
    let joins = |at: Option<usize>| {
        at.and_then(|at| code.as_bytes().get(at)).is_some_and(|byte| is_word(*byte))
    };
    let whole = move |at: &usize| !joins(at.checked_sub(1)) && !joins(Some(at + word.len()));
    code.match_indices(word).map(|(at, _)| at).filter(whole)
}

fn skip_spaces(code: &str, at: usize) -> usize {
    code.len() - code[at..].trim_start().len()
}

/// The identifier behind spaces at `at`, and where it ends.
fn identifier(code: &str, at: usize) -> Option<(&str, usize)> {
    let start = skip_spaces(code, at);
    let length = code.as_bytes()[start..].iter().take_while(|byte| is_word(**byte)).count();
    (length > 0).then(|| (&code[start..start + length], start + length))
}

/// Where the path goes on behind `::`; `None` where no `::` follows.
fn after_colons(code: &str, at: usize) -> Option<usize> {
    let at = skip_spaces(code, at);
    code[at..].starts_with("::").then(|| skip_spaces(code, at + 2))
}

/// The first segments of what is named at `at`: one, or several in braces.
fn heads(code: &str, at: usize) -> Vec<(usize, String)> {
    if code.as_bytes().get(at) != Some(&b'{') {
        return identifier(code, at).map(|(name, _)| (at, name.to_string())).into_iter().collect();
    }
    let (mut depth, mut expected, mut found) = (0, true, Vec::new());
    for inner in at + 1..closing(code.as_bytes(), at) {
        match code.as_bytes()[inner] {
            b'{' => depth += 1,
            b'}' => depth -= 1,
            b',' => expected |= depth == 0,
            byte if expected && is_word(byte) => {
                found.extend(identifier(code, inner).map(|(name, _)| (inner, name.to_string())));
                expected = false;
            }
            _ => {}
        }
    }
    found
}

/// Where the item that starts at `at` ends: behind its body, or behind its `;`.
fn item_end(code: &[u8], at: usize) -> usize {
    let mut depth = 0;
    for end in at..code.len() {
        match code[end] {
            b'(' | b'[' => depth += 1,
            b')' | b']' => depth -= 1,
            b';' if depth == 0 => return end + 1,
            b'{' if depth == 0 => return closing(code, end) + 1,
            _ => {}
        }
    }
    code.len()
}

/// The offset of the brace that closes the one at `open`; the last byte if none does.
fn closing(code: &[u8], open: usize) -> usize {
    let mut depth = 0;
    for (at, byte) in code.iter().enumerate().skip(open) {
        match byte {
            b'{' => depth += 1,
            b'}' => depth -= 1,
            _ => {}
        }
        if depth == 0 {
            return at;
        }
    }
    code.len() - 1
}
