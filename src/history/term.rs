//! The data of Jepsen's histories: a small EDN reader, and one tree for EDN and JSON.
//!
//! Of [EDN](https://github.com/edn-format/edn) it reads nil, booleans, numbers, strings, characters, symbols,
//! keywords, lists, vectors, maps, sets, comments, `#_` and tags (which it leaves out: `#tag form` is `form`).

use std::borrow::Cow;
use std::fmt;

/// How deep data may be nested.
const MAX_DEPTH: usize = 64;

/// A piece of data.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Term<'a> {
    Nil,
    Bool(bool),
    /// As it was written.
    Number(Cow<'a, str>),
    Text(Cow<'a, str>),
    /// Without its colon.
    Keyword(Cow<'a, str>),
    Symbol(&'a str),
    /// A list, a vector or a set.
    List(Vec<Term<'a>>),
    Map(Vec<(Term<'a>, Term<'a>)>),
}

impl fmt::Display for Term<'_> {
    /// As EDN.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Term::Nil => f.write_str("nil"),
            Term::Bool(value) => value.fmt(f),
            Term::Number(digits) => f.write_str(digits),
            Term::Text(text) => write!(f, "{}", Quoted(text)),
            Term::Keyword(name) => write!(f, ":{name}"),
            Term::Symbol(name) => f.write_str(name),
            Term::List(terms) => {
                f.write_str("[")?;
                for (i, term) in terms.iter().enumerate() {
                    write!(f, "{}{term}", if i == 0 { "" } else { " " })?;
                }
                f.write_str("]")
            }
            Term::Map(entries) => {
                f.write_str("{")?;
                for (i, (key, value)) in entries.iter().enumerate() {
                    write!(f, "{}{key} {value}", if i == 0 { "" } else { ", " })?;
                }
                f.write_str("}")
            }
        }
    }
}

/// A text as an EDN string.
pub(super) struct Quoted<'a>(pub &'a str);

impl fmt::Display for Quoted<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("\"")?;
        for letter in self.0.chars() {
            match letter {
                '"' => f.write_str("\\\""),
                '\\' => f.write_str("\\\\"),
                '\n' => f.write_str("\\n"),
                '\r' => f.write_str("\\r"),
                '\t' => f.write_str("\\t"),
                // As in Java's strings; a file of text has no other control characters in it.
                control if u32::from(control) < 0x20 => write!(f, "\\u{:04x}", u32::from(control)),
                plain => write!(f, "{plain}"),
            }?;
        }
        f.write_str("\"")
    }
}

impl Term<'_> {
    /// The same data, of JSON.
    pub fn of_json(value: serde_json::Value) -> Term<'static> {
        use serde_json::Value;
        match value {
            Value::Null => Term::Nil,
            Value::Bool(value) => Term::Bool(value),
            Value::Number(number) => Term::Number(number.to_string().into()),
            Value::String(text) => Term::Text(text.into()),
            Value::Array(terms) => Term::List(terms.into_iter().map(Term::of_json).collect()),
            Value::Object(entries) => {
                let entries = entries.into_iter();
                let entry =
                    |(key, value): (String, _)| (Term::Keyword(key.into()), Term::of_json(value));
                Term::Map(entries.map(entry).collect())
            }
        }
    }

    /// The name that a keyword, a string or a symbol is.
    pub fn name(&self) -> Option<&str> {
        match self {
            Term::Keyword(name) | Term::Text(name) => Some(name),
            Term::Symbol(name) => Some(name),
            _ => None,
        }
    }
}

/// What is wrong with some EDN.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Wrong {
    /// Where, in bytes.
    pub at: usize,
    pub expected: &'static str,
}

/// The one form of a text.
pub(super) fn parse(text: &str) -> Result<Term<'_>, Wrong> {
    let mut parser = Parser { text, at: 0 };
    let term = parser.form(0)?;
    parser.skip(0)?;
    match parser.at == text.len() {
        true => Ok(term),
        false => Err(parser.wrong("nothing behind the form")),
    }
}

/// The first form of a text, if there is one, and where it ends.
pub(super) fn parse_first(text: &str) -> Result<Option<(Term<'_>, usize)>, Wrong> {
    let mut parser = Parser { text, at: 0 };
    parser.skip(0)?;
    if parser.at == text.len() {
        return Ok(None);
    }
    let term = parser.form(0)?;
    Ok(Some((term, parser.at)))
}

struct Parser<'a> {
    text: &'a str,
    at: usize,
}

impl<'a> Parser<'a> {
    fn wrong(&self, expected: &'static str) -> Wrong {
        Wrong { at: self.at, expected }
    }

    fn rest(&self) -> &'a str {
        self.text.get(self.at..).unwrap_or_default()
    }

    fn peek(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }

    /// Skips blanks, commas, comments and forms that are left out.
    fn skip(&mut self, depth: usize) -> Result<(), Wrong> {
        loop {
            match self.peek() {
                Some(b' ' | b',' | b'\t' | b'\n' | b'\r' | 0x0c) => self.at += 1,
                Some(b';') => {
                    let rest = self.rest();
                    self.at += rest.find('\n').unwrap_or(rest.len());
                }
                Some(b'#') if self.rest().starts_with("#_") => {
                    self.at += 2;
                    self.form(depth)?;
                }
                _ => return Ok(()),
            }
        }
    }

    fn form(&mut self, depth: usize) -> Result<Term<'a>, Wrong> {
        if depth > MAX_DEPTH {
            return Err(self.wrong("data nested less than 64 deep"));
        }
        self.skip(depth + 1)?;
        match self.peek() {
            None => Err(self.wrong("a form")),
            Some(b'[') => self.sequence(b']', depth).map(Term::List),
            Some(b'(') => self.sequence(b')', depth).map(Term::List),
            Some(b'{') => {
                let start = self.at;
                let mut entries = self.sequence(b'}', depth)?.into_iter();
                let mut map = Vec::with_capacity(entries.len() / 2);
                while let Some(key) = entries.next() {
                    let expected = "a map with a value for each key";
                    map.push((key, entries.next().ok_or(Wrong { at: start, expected })?));
                }
                Ok(Term::Map(map))
            }
            Some(b'"') => self.string(),
            Some(b'\\') => self.character(),
            Some(b'#') if self.rest().starts_with("#{") => {
                self.at += 1;
                self.sequence(b'}', depth).map(Term::List)
            }
            Some(b'#') => {
                self.at += 1;
                self.token("a tag")?;
                self.form(depth + 1)
            }
            Some(b':') => {
                self.at += 1;
                Ok(Term::Keyword(self.token("a keyword's name")?.into()))
            }
            Some(_) => Ok(atom(self.token("a form")?)),
        }
    }

    fn sequence(&mut self, close: u8, depth: usize) -> Result<Vec<Term<'a>>, Wrong> {
        let start = self.at;
        self.at += 1;
        let mut terms = Vec::new();
        loop {
            self.skip(depth + 1)?;
            match self.peek() {
                Some(byte) if byte == close => {
                    self.at += 1;
                    return Ok(terms);
                }
                None => {
                    return Err(Wrong { at: start, expected: "a form that is closed" });
                }
                Some(_) => terms.push(self.form(depth + 1)?),
            }
        }
    }

    fn string(&mut self) -> Result<Term<'a>, Wrong> {
        let start = self.at;
        self.at += 1;
        let mut text: Cow<'a, str> = Cow::Borrowed("");
        loop {
            let rest = self.rest();
            let Some(length) = memchr::memchr2(b'"', b'\\', rest.as_bytes()) else {
                return Err(Wrong { at: start, expected: "a string that is closed" });
            };
            match (&mut text, &rest[..length]) {
                (Cow::Borrowed(""), plain) => text = Cow::Borrowed(plain),
                (text, plain) => text.to_mut().push_str(plain),
            }
            self.at += length + 1;
            if rest.as_bytes()[length] == b'"' {
                return Ok(Term::Text(text));
            }
            let letter = self.escape()?;
            text.to_mut().push(letter);
        }
    }

    /// The character that is written behind a backslash in a string.
    fn escape(&mut self) -> Result<char, Wrong> {
        let expected = r#"one of \" \\ \n \r \t \b \f \uXXXX"#;
        let letter = self.rest().chars().next().ok_or(self.wrong(expected))?;
        let meant = match letter {
            '"' | '\\' | '/' => letter,
            'n' => '\n',
            'r' => '\r',
            't' => '\t',
            'b' => '\u{8}',
            'f' => '\u{c}',
            'u' => {
                let digits = self.rest().get(1..5).filter(|digits| hexadecimal(digits));
                let code = digits.and_then(|digits| u32::from_str_radix(digits, 16).ok());
                let letter = code.and_then(char::from_u32).ok_or(self.wrong(expected))?;
                self.at += 4;
                letter
            }
            _ => return Err(self.wrong(expected)),
        };
        self.at += letter.len_utf8();
        Ok(meant)
    }

    fn character(&mut self) -> Result<Term<'a>, Wrong> {
        self.at += 1;
        let start = self.at;
        let first = self.rest().chars().next().ok_or(self.wrong("a character"))?;
        self.at += first.len_utf8();
        while self.peek().is_some_and(|byte| !ends_token(byte)) {
            self.at += 1;
        }
        let name = self.text.get(start..self.at).unwrap_or_default();
        Ok(Term::Text(match name {
            "newline" => "\n".into(),
            "return" => "\r".into(),
            "space" => " ".into(),
            "tab" => "\t".into(),
            other => other.into(),
        }))
    }

    fn token(&mut self, expected: &'static str) -> Result<&'a str, Wrong> {
        let rest = self.rest();
        let length = rest.bytes().position(ends_token).unwrap_or(rest.len());
        if length == 0 {
            return Err(self.wrong(expected));
        }
        self.at += length;
        Ok(&rest[..length])
    }
}

fn hexadecimal(digits: &str) -> bool {
    digits.bytes().all(|digit| digit.is_ascii_hexdigit())
}

fn ends_token(byte: u8) -> bool {
    matches!(byte, b' ' | b',' | b'\t' | b'\n' | b'\r' | 0x0c | b';' | b'"')
        || matches!(byte, b'(' | b')' | b'[' | b']' | b'{' | b'}')
}

fn atom(token: &str) -> Term<'_> {
    let digits = token.strip_prefix(['-', '+']).unwrap_or(token);
    match token {
        "nil" => Term::Nil,
        "true" => Term::Bool(true),
        "false" => Term::Bool(false),
        // `N` and `M` stand behind big numbers, and change nothing about which number it is.
        _ if digits.starts_with(|first: char| first.is_ascii_digit()) => {
            let plain = token.strip_prefix('+').unwrap_or(token);
            Term::Number(plain.strip_suffix(['N', 'M']).unwrap_or(plain).into())
        }
        _ => Term::Symbol(token),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn edn_is_read() {
        let text = "{:a [1 -2N nil true \"x\\n\\u00fc\\\"\"], ; comment\n :b #{:c/d} #_(skipped 1) \"k\" \\newline
            :t #jepsen.history.Op{:x (s)}}";
        let term = parse(text).expect("EDN");
        let shown = "{:a [1 -2 nil true \"x\\nü\\\"\"], :b [:c/d], \"k\" \"\\n\", :t {:x [s]}}";
        assert_eq!(term.to_string(), shown);
    }

    #[test]
    fn what_is_wrong_is_placed() {
        for (text, at, expected) in [
            ("", 0, "a form"),
            ("{:a 1", 0, "a form that is closed"),
            ("[1 {:a}]", 3, "a map with a value for each key"),
            ("[1] 2", 4, "nothing behind the form"),
            ("[1 \"abc]", 3, "a string that is closed"),
            ("[)", 1, "a form"),
            ("[: ]", 2, "a keyword's name"),
        ] {
            assert_eq!(parse(text), Err(Wrong { at, expected }), "{text}");
        }
        assert!(parse(&"[".repeat(100_000)).is_err());
        assert!(parse(&"#_".repeat(100_000)).is_err());
        assert!(parse(&"#a ".repeat(100_000)).is_err());
    }

    proptest! {
        #[test]
        fn strings_come_back(text: String) {
            let quoted = Quoted(&text).to_string();
            prop_assert_eq!(parse(&quoted), Ok(Term::Text(text.into())));
        }

        #[test]
        fn hostile_edn_is_refused_or_read(text in "[\\[\\](){}\"\\\\;#_:a1 \\n,ü^N-]{0,40}") {
            if let Ok(term) = parse(&text) {
                let again = term.to_string();
                prop_assert!(parse(&again).is_ok(), "{}", again);
            }
        }
    }
}
