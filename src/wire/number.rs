//! Numbers in ASCII, as the two protocols read and write them.

/// Appends a number in decimal.
pub fn push(out: &mut Vec<u8>, number: impl itoa::Integer) {
    out.extend_from_slice(itoa::Buffer::new().format(number).as_bytes());
}

/// Reads an unsigned number as memcached does: decimal, a leading `+` and leading zeros are fine.
pub fn unsigned(text: &[u8]) -> Option<u64> {
    digits(text.strip_prefix(b"+").unwrap_or(text))
}

/// Reads a signed number as memcached does: as [`unsigned`], or with a leading `-`.
pub fn signed(text: &[u8]) -> Option<i64> {
    match text.strip_prefix(b"-") {
        Some(rest) => 0i64.checked_sub_unsigned(digits(rest)?),
        None => i64::try_from(unsigned(text)?).ok(),
    }
}

/// Reads a signed number as redis does: in its one shortest form only, without `+`, `-0` or leading zeros.
pub fn canonical(text: &[u8]) -> Option<i64> {
    match text {
        b"0" => Some(0),
        [b'1'..=b'9', ..] => i64::try_from(digits(text)?).ok(),
        [b'-', rest @ ..] if matches!(rest, [b'1'..=b'9', ..]) => {
            0i64.checked_sub_unsigned(digits(rest)?)
        }
        _ => None,
    }
}

fn digits(text: &[u8]) -> Option<u64> {
    if text.is_empty() {
        return None;
    }
    let mut number = 0u64;
    for byte in text {
        let digit = byte.wrapping_sub(b'0');
        if digit > 9 {
            return None;
        }
        number = number.checked_mul(10)?.checked_add(u64::from(digit))?;
    }
    Some(number)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memcached_numbers() {
        assert_eq!(unsigned(b"18446744073709551615"), Some(u64::MAX));
        assert_eq!(unsigned(b"18446744073709551616"), None);
        assert_eq!(unsigned(b"+007"), Some(7));
        for bad in [&b""[..], b"+", b"-1", b"1a", b" 1", b"++1"] {
            assert_eq!(unsigned(bad), None, "{bad:?}");
        }
        assert_eq!(signed(b"-9223372036854775808"), Some(i64::MIN));
        assert_eq!(signed(b"-9223372036854775809"), None);
        assert_eq!(signed(b"9223372036854775808"), None);
        assert_eq!(signed(b"-+1"), None);
    }

    #[test]
    fn redis_numbers_have_one_form() {
        assert_eq!(canonical(b"-9223372036854775808"), Some(i64::MIN));
        assert_eq!(canonical(b"9223372036854775807"), Some(i64::MAX));
        for bad in [&b""[..], b"-", b"-0", b"01", b"+1", b"1 ", b"9223372036854775808"] {
            assert_eq!(canonical(bad), None, "{bad:?}");
        }
    }
}
