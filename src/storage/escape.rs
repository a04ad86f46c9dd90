//! Any bytes as one printable column of text, and back.
//!
//! Printable ASCII and well-formed UTF-8 stand for themselves, so that `cat` and `grep` show what a
//! person would type. Tab, line feed, carriage return, the backslash, control characters and bytes that
//! are no UTF-8 are escaped: `\t`, `\n`, `\r`, `\\`, `\xNN`. A clean value costs one scan and one copy.

use std::borrow::Cow;

/// Which bytes stand for themselves: printable ASCII but the backslash.
const CLEAN: [bool; 256] = {
    let mut clean = [false; 256];
    let mut byte = 0x20;
    while byte <= 0x7e {
        clean[byte] = byte != b'\\' as usize;
        byte += 1;
    }
    clean
};

const HEX: &[u8; 16] = b"0123456789abcdef";

/// Appends `bytes` in their escaped form.
pub(super) fn escape(bytes: &[u8], out: &mut Vec<u8>) {
    let mut rest = bytes;
    loop {
        let clean = rest.iter().position(|&byte| !CLEAN[usize::from(byte)]).unwrap_or(rest.len());
        out.extend_from_slice(&rest[..clean]);
        rest = &rest[clean..];
        let Some(&byte) = rest.first() else { return };
        let taken = match byte {
            b'\t' => escaped(out, b't'),
            b'\n' => escaped(out, b'n'),
            b'\r' => escaped(out, b'r'),
            b'\\' => escaped(out, b'\\'),
            0x80.. => match printable_char(rest) {
                Some(length) => {
                    out.extend_from_slice(&rest[..length]);
                    length
                }
                None => hex(out, byte),
            },
            _ => hex(out, byte),
        };
        rest = &rest[taken..];
    }
}

fn escaped(out: &mut Vec<u8>, letter: u8) -> usize {
    out.extend_from_slice(&[b'\\', letter]);
    1
}

/// Appends one byte as `\xNN`; returns how many bytes of the input that covers.
pub(super) fn hex(out: &mut Vec<u8>, byte: u8) -> usize {
    let (high, low) = (HEX[usize::from(byte >> 4)], HEX[usize::from(byte & 15)]);
    out.extend_from_slice(&[b'\\', b'x', high, low]);
    1
}

/// The length of the well-formed multi-byte character at the front, unless it is a control character
/// (U+0080 to U+009F can command a terminal).
fn printable_char(bytes: &[u8]) -> Option<usize> {
    let length = match bytes.first()? {
        0xc2..=0xdf => 2,
        0xe0..=0xef => 3,
        0xf0..=0xf4 => 4,
        _ => return None,
    };
    let text = std::str::from_utf8(bytes.get(..length)?).ok()?;
    (!text.chars().next()?.is_control()).then_some(length)
}

/// Undoes [`escape`]; `None` where an escape sequence is unknown or cut short, or a raw tab stands.
pub(super) fn unescape(text: &[u8]) -> Option<Cow<'_, [u8]>> {
    let Some(first) = memchr::memchr2(b'\\', b'\t', text) else { return Some(Cow::Borrowed(text)) };
    let mut bytes = Vec::with_capacity(text.len());
    bytes.extend_from_slice(&text[..first]);
    let mut rest = &text[first..];
    while let Some((&byte, behind)) = rest.split_first() {
        let (value, behind) = match (byte, behind) {
            (b'\\', [b't', behind @ ..]) => (b'\t', behind),
            (b'\\', [b'n', behind @ ..]) => (b'\n', behind),
            (b'\\', [b'r', behind @ ..]) => (b'\r', behind),
            (b'\\', [b'\\', behind @ ..]) => (b'\\', behind),
            (b'\\', [b'x', high, low, behind @ ..]) => (digit(*high)? << 4 | digit(*low)?, behind),
            (b'\\' | b'\t', _) => return None,
            (plain, behind) => (plain, behind),
        };
        bytes.push(value);
        rest = behind;
    }
    Some(Cow::Owned(bytes))
}

fn digit(letter: u8) -> Option<u8> {
    match letter {
        b'0'..=b'9' => Some(letter - b'0'),
        b'a'..=b'f' => Some(letter - b'a' + 10),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn text(bytes: &[u8]) -> String {
        let mut out = Vec::new();
        escape(bytes, &mut out);
        String::from_utf8(out).expect("escaped text is UTF-8")
    }

    #[test]
    fn readable_text_stays_readable() {
        assert_eq!(text("Hello Zürich ✓ 🦀".as_bytes()), "Hello Zürich ✓ 🦀");
        assert_eq!(text(b"a\tb\nc\rd\\e\0\x7f\xff"), r"a\tb\nc\rd\\e\x00\x7f\xff");
        assert_eq!(text("\u{9b}31m".as_bytes()), r"\xc2\x9b31m", "no terminal commands");
        assert_eq!(text(b"\xe2\x9c"), r"\xe2\x9c", "half a character");
    }

    #[test]
    fn broken_escapes_are_refused() {
        for broken in [r"\", r"\q", r"\x", r"\x1", r"\xZZ", r"\xAB", "a\tb"] {
            assert_eq!(unescape(broken.as_bytes()), None, "{broken}");
        }
    }

    proptest! {
        #[test]
        fn any_bytes_come_back(bytes: Vec<u8>) {
            let escaped = text(&bytes);
            prop_assert!(!escaped.contains(['\t', '\n', '\r']));
            prop_assert_eq!(unescape(escaped.as_bytes()).expect("our own escapes"), bytes);
        }
    }
}
