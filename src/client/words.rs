//! What a person types, as a command of the protocol.
//!
//! Storage commands are friendly: `set KEY VALUE` counts the bytes itself, and the value is the rest of
//! the line. Everything else goes to the server word by word as it was typed.

use super::Protocol;
use crate::wire::command;

/// The meaning of one typed line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Words {
    /// An empty line.
    Nothing,
    /// `help`.
    Help,
    /// `quit` or `exit`.
    Quit,
    /// Bytes to send, and whether the server answers them.
    Send {
        /// The command as it goes over the wire.
        bytes: Vec<u8>,
        /// False after `noreply`.
        reply: bool,
    },
    /// The line cannot be sent; this says what was expected.
    Wrong(String),
}

/// The text that `help` prints.
pub fn help_text(protocol: Protocol) -> &'static str {
    match protocol {
        Protocol::Memcached => {
            "  get KEY...          read                  incr KEY [N], decr KEY [N]  count\n  \
             set KEY VALUE       store; the value is   touch KEY SECONDS           set the expiry\n  \
             add, replace,       the rest of the line  cas KEY UNIQUE VALUE        store if unchanged\n  \
             append, prepend                           stats, version, flush_all   the server\n  \
             del KEY             remove                help, quit                  this client\n"
        }
        Protocol::Resp => {
            "  get KEY, set KEY VALUE, del KEY..., incr KEY, mset KEY VALUE..., keys PATTERN, info,\n  \
             or any other command of the server; help, quit. Quote a value with spaces: \"a b\".\n"
        }
    }
}

/// Translates one typed line.
pub fn translate(protocol: Protocol, line: &str) -> Words {
    let line = line.trim();
    let first = line.split_ascii_whitespace().next().unwrap_or_default().to_ascii_lowercase();
    match (first.as_str(), protocol) {
        ("", _) => Words::Nothing,
        ("help" | "?", _) => Words::Help,
        ("quit" | "exit", _) => Words::Quit,
        (_, Protocol::Memcached) => memcached(&first, line),
        (_, Protocol::Resp) => resp(line),
    }
}

fn memcached(command: &str, line: &str) -> Words {
    match command {
        "set" | "add" | "replace" | "append" | "prepend" => {
            let (_, rest) = word(line);
            let (key, value) = word(rest);
            if key.is_empty() || value.is_empty() {
                return Words::Wrong(format!("expected: {command} KEY VALUE"));
            }
            storage(command, key, "", value)
        }
        "cas" => {
            let (_, rest) = word(line);
            let (key, rest) = word(rest);
            let (unique, value) = word(rest);
            if value.is_empty() || unique.parse::<u64>().is_err() {
                return Words::Wrong(
                    "expected: cas KEY UNIQUE VALUE; `gets KEY` prints the unique number"
                        .to_owned(),
                );
            }
            storage(command, key, unique, value)
        }
        "incr" | "decr" if line.split_ascii_whitespace().count() == 2 => {
            plain(&format!("{command} {} 1", word(word(line).1).0))
        }
        "del" => plain(&format!("delete {}", word(line).1)),
        _ => plain(&format!("{command} {}", word(line).1)),
    }
}

fn storage(command: &str, key: &str, unique: &str, value: &str) -> Words {
    let unique = if unique.is_empty() { String::new() } else { format!(" {unique}") };
    let text = format!("{command} {key} 0 0 {}{unique}\r\n{value}\r\n", value.len());
    Words::Send { bytes: text.into_bytes(), reply: true }
}

fn plain(line: &str) -> Words {
    let line = line.trim_end();
    // `get noreply` asks for a key of that name: reading commands always answer.
    let reads = line.starts_with("get") || line.starts_with("gat");
    let reply = reads || line.split_ascii_whitespace().next_back() != Some("noreply");
    Words::Send { bytes: format!("{line}\r\n").into_bytes(), reply }
}

fn resp(line: &str) -> Words {
    match split_quoted(line) {
        Ok(words) => {
            let words: Vec<&[u8]> = words.iter().map(|word| word.as_bytes()).collect();
            let mut bytes = Vec::new();
            command::resp(&mut bytes, &words);
            Words::Send { bytes, reply: true }
        }
        Err(expected) => Words::Wrong(expected.to_owned()),
    }
}

/// The first word, and what follows it.
fn word(text: &str) -> (&str, &str) {
    let text = text.trim_start();
    let end = text.find(|c: char| c.is_ascii_whitespace()).unwrap_or(text.len());
    (&text[..end], text[end..].trim_start())
}

/// Words separated by spaces; double quotes hold words with spaces together, `\"` and `\\` inside them.
fn split_quoted(line: &str) -> Result<Vec<String>, &'static str> {
    let mut words = Vec::new();
    let mut current: Option<String> = None;
    let mut quoted = false;
    let mut chars = line.chars();
    while let Some(c) = chars.next() {
        match c {
            '"' => {
                quoted = !quoted;
                current.get_or_insert_default();
            }
            '\\' if quoted => {
                let escaped = chars.next().ok_or("expected a character after \\")?;
                current.get_or_insert_default().push(escaped);
            }
            c if c.is_whitespace() && !quoted => words.extend(current.take()),
            c => current.get_or_insert_default().push(c),
        }
    }
    words.extend(current);
    if quoted { Err("expected a closing \"") } else { Ok(words) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sent(protocol: Protocol, line: &str) -> String {
        match translate(protocol, line) {
            Words::Send { bytes, .. } => String::from_utf8(bytes).expect("text"),
            other => panic!("{line}: {other:?}"),
        }
    }

    #[test]
    fn memcached_words() {
        let m = |line| sent(Protocol::Memcached, line);
        assert_eq!(m("set x 42"), "set x 0 0 2\r\n42\r\n");
        assert_eq!(m("SET  x   a  b "), "set x 0 0 4\r\na  b\r\n");
        assert_eq!(m("set x é"), "set x 0 0 2\r\né\r\n");
        assert_eq!(m("cas x 7 new"), "cas x 0 0 3 7\r\nnew\r\n");
        assert_eq!(m("incr x"), "incr x 1\r\n");
        assert_eq!(m("incr x 5"), "incr x 5\r\n");
        assert_eq!(m("del x"), "delete x\r\n");
        assert_eq!(m("get x y"), "get x y\r\n");
        assert!(matches!(translate(Protocol::Memcached, "set x"), Words::Wrong(_)));
        assert!(matches!(translate(Protocol::Memcached, "cas x new 1"), Words::Wrong(_)));
        assert_eq!(translate(Protocol::Memcached, " "), Words::Nothing);
        assert_eq!(translate(Protocol::Memcached, "QUIT"), Words::Quit);
        let silent = translate(Protocol::Memcached, "delete x noreply");
        assert!(matches!(silent, Words::Send { reply: false, .. }));
        let asked = translate(Protocol::Memcached, "get noreply");
        assert!(matches!(asked, Words::Send { reply: true, .. }));
    }

    #[test]
    fn resp_words() {
        let r = |line| sent(Protocol::Resp, line);
        assert_eq!(r("get x"), "*2\r\n$3\r\nget\r\n$1\r\nx\r\n");
        assert_eq!(r(r#"set x "a \"b""#), "*3\r\n$3\r\nset\r\n$1\r\nx\r\n$4\r\na \"b\r\n");
        assert_eq!(r(r#"set x """#), "*3\r\n$3\r\nset\r\n$1\r\nx\r\n$0\r\n\r\n");
        assert!(matches!(translate(Protocol::Resp, "set x \"a"), Words::Wrong(_)));
    }
}
