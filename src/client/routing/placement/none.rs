//! `None`: the key itself, modulo the number of nodes.
//!
//! An integer key is its number: an optional sign and decimal digits, of any length. The remainder is that of
//! mathematics and of Python, never negative: -5 belongs to node 7 of 12. `7`, `+7` and `007` are three
//! different keys with one number, and so lie on one node. Any other key (blanks, `1_000` and `٣` among them,
//! which Python's `int` would take) is its UTF-8 bytes as a big-endian number; the empty key is 0.
//!
//! Cost: nothing but the division. Caveat: a pattern in the keys is a pattern in the load. The keys
//! `a, a+s, a+2s, …` reach only `n/gcd(s, n)` of the n nodes: stride 3 uses 4 of 12, stride 12 a single one.
//! From n to n+1 nodes a key stays only where both remainders agree: n of n+1 keys move.
//!
//! Source: the simple sharding function of the course *Extreme Computing* (Edinburgh), there `int(key) % n`.

use super::numbers::{remainder_of_bytes, remainder_of_digits};
use super::{Function, Place};

pub(super) const FUNCTION: Function = Function {
    name: "None",
    about: "the key as a number, modulo the number of nodes",
    build: |nodes| Box::new(Simple { nodes }),
};

#[derive(Debug)]
struct Simple {
    nodes: usize,
}

impl Place for Simple {
    fn primary(&self, key: &str) -> usize {
        let Some((negative, digits)) = integer(key) else {
            return remainder_of_bytes(key.as_bytes(), self.nodes);
        };
        match remainder_of_digits(digits, self.nodes) {
            0 => 0,
            rest if negative => self.nodes - rest,
            rest => rest,
        }
    }
}

/// Whether it is negative, and its digits; `None` for what is no integer.
fn integer(key: &str) -> Option<(bool, &[u8])> {
    let (negative, digits) = match key.as_bytes() {
        [b'-', digits @ ..] => (true, digits),
        [b'+', digits @ ..] | digits => (false, digits),
    };
    let whole = !digits.is_empty() && digits.iter().all(u8::is_ascii_digit);
    whole.then_some((negative, digits))
}
