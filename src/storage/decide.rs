//! What an operation answers, given the entry that it meets. Pure: [`super::table`] asks here both when
//! it executes an operation and when it only previews one, so the two cannot drift apart.
//!
//! Counting follows the protocol the client speaks. memcached: the value is decimal text of at most 20
//! digits, unsigned 64 bits, `incr` wraps around and `decr` stops at 0. Redis: signed 64 bits in
//! canonical form, overflow is an error. Either way the result is stored as plain digits; memcached's
//! habit of padding a shortened number with spaces is not copied, but such padding is understood.

use crate::base::{Arithmetic, Outcome, StoreRule};

/// Ends a `Store`, given the cas unique of the entry that is there.
pub(super) fn store(rule: StoreRule, there: Option<u64>) -> Outcome {
    match (rule, there) {
        (StoreRule::Always, _) | (StoreRule::IfAbsent, None) | (StoreRule::IfPresent, Some(_)) => {
            Outcome::Stored
        }
        (StoreRule::IfAbsent, Some(_)) | (StoreRule::IfPresent, None) => Outcome::NotStored,
        (StoreRule::IfUnique(_), None) => Outcome::NotFound,
        (StoreRule::IfUnique(unique), Some(now)) if unique == now => Outcome::Stored,
        (StoreRule::IfUnique(_), Some(_)) => Outcome::Exists,
    }
}

/// Ends a `Concat`, given the length of the value that is there.
pub(super) fn concat(there: Option<usize>, more: usize, create: bool, max: usize) -> Outcome {
    if there.is_none() && !create {
        return Outcome::NotStored;
    }
    match there.unwrap_or(0).checked_add(more) {
        Some(length) if length <= max => Outcome::Length(length as u64),
        _ => Outcome::TooLarge,
    }
}

/// Ends a `Count`, given the value that is there.
pub(super) fn count(there: Option<&[u8]>, by: Arithmetic) -> Outcome {
    match (by, there) {
        (Arithmetic::WrappingAdd(_) | Arithmetic::SaturatingSub(_), None) => Outcome::NotFound,
        (Arithmetic::WrappingAdd(n), Some(value)) => unsigned(value, |old| old.wrapping_add(n)),
        (Arithmetic::SaturatingSub(n), Some(value)) => unsigned(value, |old| old.saturating_sub(n)),
        (Arithmetic::Signed(n), value) => match signed(value.unwrap_or(b"0")) {
            Some(old) => match old.checked_add(n) {
                Some(new) => Outcome::Number(i128::from(new)),
                None => Outcome::Overflow,
            },
            None => Outcome::NotANumber,
        },
    }
}

fn unsigned(value: &[u8], change: impl Fn(u64) -> u64) -> Outcome {
    let digits = value.trim_ascii_end();
    if digits.is_empty() || value.len() > 20 || !digits.iter().all(u8::is_ascii_digit) {
        return Outcome::NotANumber;
    }
    match std::str::from_utf8(digits).ok().and_then(|text| text.parse::<u64>().ok()) {
        Some(old) => Outcome::Number(i128::from(change(old))),
        None => Outcome::NotANumber,
    }
}

/// A signed number in the one form that printing it would give (no `+`, no leading zeros, no `-0`).
fn signed(value: &[u8]) -> Option<i64> {
    let number: i64 = std::str::from_utf8(value).ok()?.parse().ok()?;
    (itoa::Buffer::new().format(number).as_bytes() == value).then_some(number)
}

#[cfg(test)]
mod tests {
    use super::*;
    use Outcome::{NotANumber, NotFound, Number, Overflow};

    #[test]
    fn memcached_counts_unsigned() {
        let add = Arithmetic::WrappingAdd;
        assert_eq!(count(Some(b"9"), add(1)), Number(10));
        assert_eq!(count(Some(b"18446744073709551615"), add(2)), Number(1));
        assert_eq!(count(Some(b"18446744073709551616"), add(1)), NotANumber);
        assert_eq!(count(Some(b"9 "), add(1)), Number(10), "memcached's own padding");
        assert_eq!(count(Some(b"5"), Arithmetic::SaturatingSub(6)), Number(0));
        assert_eq!(count(None, add(1)), NotFound);
        for bad in ["", " ", "-1", "+1", "1x", "0x1", "000000000000000000001"] {
            assert_eq!(count(Some(bad.as_bytes()), add(1)), NotANumber, "{bad:?}");
        }
    }

    #[test]
    fn redis_counts_signed() {
        let by = Arithmetic::Signed;
        assert_eq!(count(None, by(-5)), Number(-5));
        assert_eq!(count(Some(b"-3"), by(1)), Number(-2));
        assert_eq!(count(Some(b"9223372036854775807"), by(1)), Overflow);
        assert_eq!(count(Some(b"-9223372036854775808"), by(-1)), Overflow);
        for bad in ["", " 1", "01", "+1", "-0", "1 ", "9223372036854775808"] {
            assert_eq!(count(Some(bad.as_bytes()), by(1)), NotANumber, "{bad:?}");
        }
    }

    #[test]
    fn a_join_is_bounded() {
        assert_eq!(concat(Some(3), 2, false, 5), Outcome::Length(5));
        assert_eq!(concat(Some(3), 3, false, 5), Outcome::TooLarge);
        assert_eq!(concat(None, 2, false, 5), Outcome::NotStored);
        assert_eq!(concat(None, 6, true, 5), Outcome::TooLarge);
        assert_eq!(concat(Some(usize::MAX), 1, false, usize::MAX), Outcome::TooLarge);
    }
}
