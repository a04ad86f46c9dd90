//! Bytes as text. The keys and values of a store are bytes; those of a history are text.
//!
//! Bytes that are UTF-8 without a backslash stand for themselves, which costs a scan and no copy. In all
//! others each backslash becomes `\\` and each byte that belongs to no character becomes `\xNN`, so that
//! different bytes never become the same text.

use std::borrow::Cow;

const HEX: &[u8; 16] = b"0123456789abcdef";

/// The text of a key or a value; different bytes have different texts.
pub fn text_of(bytes: &[u8]) -> Cow<'_, str> {
    if memchr::memchr(b'\\', bytes).is_none()
        && let Ok(text) = std::str::from_utf8(bytes)
    {
        return Cow::Borrowed(text);
    }
    let mut text = String::with_capacity(bytes.len() + bytes.len() / 2);
    for chunk in bytes.utf8_chunks() {
        for letter in chunk.valid().chars() {
            if letter == '\\' {
                text.push('\\');
            }
            text.push(letter);
        }
        for byte in chunk.invalid() {
            text.push_str("\\x");
            text.push(char::from(HEX[usize::from(byte >> 4)]));
            text.push(char::from(HEX[usize::from(byte & 15)]));
        }
    }
    Cow::Owned(text)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Undoes `text_of`, which proves that it is injective.
    fn bytes_of(text: &str) -> Vec<u8> {
        let mut bytes = Vec::new();
        let mut rest = text.as_bytes();
        while let [first, behind @ ..] = rest {
            rest = match (first, behind) {
                (b'\\', [b'\\', behind @ ..]) => {
                    bytes.push(b'\\');
                    behind
                }
                (b'\\', [b'x', high, low, behind @ ..]) => {
                    let digits = [*high, *low];
                    let digits = std::str::from_utf8(&digits).expect("two digits");
                    bytes.push(u8::from_str_radix(digits, 16).expect("two hexadecimal digits"));
                    behind
                }
                (plain, behind) => {
                    bytes.push(*plain);
                    behind
                }
            };
        }
        bytes
    }

    #[test]
    fn text_stays_as_it_is_and_bytes_are_escaped() {
        assert!(matches!(text_of("Zürich\n".as_bytes()), Cow::Borrowed("Zürich\n")));
        assert_eq!(text_of(b"a\xffb"), r"a\xffb");
        assert_eq!(text_of(br"a\xffb"), r"a\\xffb");
    }

    proptest! {
        #[test]
        fn different_bytes_have_different_texts(
            bytes in proptest::collection::vec(proptest::sample::select(b"ax0f\\\xff\xc3\xbc".to_vec()), 0..12)
        ) {
            prop_assert_eq!(bytes_of(&text_of(&bytes)), bytes);
        }
    }
}
