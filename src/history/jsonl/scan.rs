//! The fields of a usual line, in one pass and without allocation.
//!
//! A usual line is what this lab's own writer writes: one flat object, strings without escapes, whole numbers,
//! no spaces. For anything else [`scan`] gives up and the general parser decides; where it does not give up,
//! it says exactly what the general parser would (a property test compares them).

use std::borrow::Cow;

use super::fields::{Fields, Found, KINDS, Kind, Text};

/// The fields of an event, if the line is a usual one.
pub(super) fn scan(line: &str) -> Option<Fields<'_>> {
    let mut scanner = Scanner { text: line, bytes: line.as_bytes(), at: 0 };
    let fields = scanner.object()?;
    (scanner.at == line.len()).then_some(fields)
}

/// Which bytes stand for themselves within a string.
const PLAIN: [bool; 256] = {
    let mut plain = [true; 256];
    let mut byte = 0;
    while byte < 0x20 {
        plain[byte] = false;
        byte += 1;
    }
    plain[b'"' as usize] = false;
    plain[b'\\' as usize] = false;
    plain
};

struct Scanner<'a> {
    text: &'a str,
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Scanner<'a> {
    fn object(&mut self) -> Option<Fields<'a>> {
        // The type comes first on a usual line.
        self.literal(b"{\"type\":")?;
        let kind = self.string()?;
        let kind: Kind = KINDS.iter().find(|(name, _)| *name == kind)?.1;
        let mut fields = Fields::new(kind);
        while self.eat(b',') {
            let name = self.string()?;
            self.literal(b":")?;
            match name {
                "process" => fields.process = Some(self.scalar()??),
                "f" => fields.f = Some(self.scalar()??),
                "key" => fields.key = Some(self.scalar()??),
                "value" => fields.value = Some(self.value()?),
                "time" => fields.time = Some(self.number()?.parse().ok()?),
                "replica" => fields.replica = Some(self.number()?.parse().ok()?),
                "swapped" => fields.swapped = Some(self.boolean()?),
                "error" => drop(self.string()?),
                // A second type, or what only the general parser knows how to skip.
                _ => return None,
            }
        }
        self.literal(b"}")?;
        Some(fields)
    }

    fn peek(&self) -> Option<u8> {
        self.bytes.get(self.at).copied()
    }

    fn eat(&mut self, byte: u8) -> bool {
        let found = self.peek() == Some(byte);
        self.at += usize::from(found);
        found
    }

    fn literal(&mut self, literal: &[u8]) -> Option<()> {
        self.bytes[self.at..].starts_with(literal).then(|| self.at += literal.len())
    }

    fn string(&mut self) -> Option<&'a str> {
        self.literal(b"\"")?;
        let start = self.at;
        let length = self.bytes[start..].iter().position(|byte| !PLAIN[usize::from(*byte)])?;
        self.at += length;
        self.literal(b"\"")?;
        self.text.get(start..start + length)
    }

    /// The digits of a whole number, written the one way JSON writes it.
    fn number(&mut self) -> Option<&'a str> {
        let start = self.at;
        let negative = self.eat(b'-');
        let digits = self.bytes[self.at..].iter().take_while(|byte| byte.is_ascii_digit()).count();
        let leading_zero = self.peek() == Some(b'0') && (digits > 1 || negative);
        // Longer ones may not fit 64 bits, and are no whole numbers to the general parser.
        if digits == 0 || digits > 18 || leading_zero {
            return None;
        }
        self.at += digits;
        (!matches!(self.peek(), Some(b'.' | b'e' | b'E')))
            .then(|| self.text.get(start..self.at))
            .flatten()
    }

    fn boolean(&mut self) -> Option<bool> {
        match self.literal(b"true") {
            Some(()) => Some(true),
            None => self.literal(b"false").map(|()| false),
        }
    }

    /// A string, a number or null.
    fn scalar(&mut self) -> Option<Option<Text<'a>>> {
        match self.peek()? {
            b'"' => self.string().map(|text| Some(Cow::Borrowed(text))),
            b'n' => self.literal(b"null").map(|()| None),
            _ => self.number().map(|text| Some(Cow::Borrowed(text))),
        }
    }

    fn value(&mut self) -> Option<Found<'a>> {
        if !self.eat(b'[') {
            return Some(Found::One(self.scalar()?));
        }
        let from = self.scalar()?;
        self.literal(b",")?;
        let to = self.scalar()?;
        self.literal(b"]")?;
        Some(Found::Two(from, to))
    }
}

#[cfg(test)]
mod tests {
    use super::super::super::lines::Line;
    use super::super::fields::Object;
    use super::*;
    use proptest::prelude::*;

    /// What the general parser says, where it takes the line for an event.
    fn general(text: &str) -> Option<Fields<'static>> {
        let object = Object::parse(Line { text, number: 1, file: "f" }).ok()?;
        let kind = object.string("type").ok()?;
        let kind = KINDS.iter().find(|(name, _)| *name == kind)?.1;
        object.fields(kind).ok()
    }

    #[test]
    fn usual_lines_are_scanned() {
        for usual in [
            r#"{"type":"invoke","process":"c0","f":"write","key":"x","value":"1","replica":0,"time":123}"#,
            r#"{"type":"ok","process":7,"value":null,"swapped":false,"time":0}"#,
            r#"{"type":"info","process":"c0","time":456,"error":"timeout"}"#,
            r#"{"type":"deliver","replica":1,"key":"ü","value":-1,"time":460}"#,
            r#"{"type":"invoke","process":"c0","f":"cas","key":"x","value":[null,2]}"#,
        ] {
            assert!(scan(usual).is_some(), "{usual}");
            assert_eq!(scan(usual), general(usual), "{usual}");
        }
    }

    fn token() -> impl Strategy<Value = String> {
        let tokens = [
            "{",
            "}",
            "[",
            "]",
            ",",
            ":",
            "\"",
            "\\",
            " ",
            "null",
            "true",
            "false",
            "0",
            "-0",
            "01",
            "-1",
            "1.5",
            "1e3",
            "99999",
            "999999999999999999",
            "18446744073709551616",
            "65536",
            "\"a\"",
            "\"\\n\"",
            "\"type\":",
            "\"ok\"",
            "\"process\":",
            "\"time\":",
            "\"value\":",
            "\"f\":",
            "\"key\":",
            "\"x\":",
            "\"replica\":",
            "\"swapped\":",
            "\"error\":",
            ",\"time\":1",
            ",\"value\":[1,2]",
            "\t",
            "ü",
        ];
        proptest::sample::select(tokens.to_vec()).prop_map(str::to_owned)
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(20_000))]
        #[test]
        fn what_is_scanned_is_what_the_general_parser_says(
            tokens in proptest::collection::vec(token(), 0..8),
            whole: bool,
        ) {
            let middle = tokens.concat();
            let line = if whole { format!("{{\"type\":\"ok\",{middle}}}") } else { middle };
            if let Some(fields) = scan(&line) {
                prop_assert_eq!(Some(fields), general(&line), "{}", line);
            }
        }

        #[test]
        fn fields_in_any_order_are_scanned_alike(
            picks in proptest::collection::vec(0..9_usize, 0..8),
            kind in 0..KINDS.len(),
        ) {
            let fields = [
                "\"process\":\"c\"", "\"process\":3", "\"time\":17", "\"value\":[\"1\",null]", "\"value\":4",
                "\"f\":\"read\"", "\"key\":\"k\"", "\"swapped\":true", "\"replica\":2",
            ];
            let mut line = format!("{{\"type\":\"{}\"", KINDS[kind].0);
            for pick in picks {
                line = line + "," + fields[pick];
            }
            line.push('}');
            prop_assert!(scan(&line).is_some());
            prop_assert_eq!(scan(&line), general(&line));
        }
    }
}
