//! The glob patterns of RESP `KEYS`: `*`, `?`, `[abc]`, `[a-z]`, `[^a]`, and `\` before a literal.
//!
//! One backtracking point (the last `*`) is enough, so the cost is at most the product of the two
//! lengths; a hostile pattern cannot make it exponential.

/// Whether `text` matches `pattern`.
pub fn matches(pattern: &[u8], text: &[u8]) -> bool {
    let (mut p, mut t) = (0, 0);
    let mut retry: Option<(usize, usize)> = None;
    while t < text.len() {
        if pattern.get(p) == Some(&b'*') {
            retry = Some((p + 1, t));
            p += 1;
            continue;
        }
        if let Some(next) = one(pattern, p, text[t]) {
            (p, t) = (next, t + 1);
        } else if let Some((after_star, start)) = retry {
            retry = Some((after_star, start + 1));
            (p, t) = (after_star, start + 1);
        } else {
            return false;
        }
    }
    pattern[p..].iter().all(|&byte| byte == b'*')
}

/// Matches one byte against the pattern at `p`; returns where the pattern goes on.
fn one(pattern: &[u8], p: usize, byte: u8) -> Option<usize> {
    match *pattern.get(p)? {
        b'?' => Some(p + 1),
        b'[' => class(pattern, p + 1, byte),
        b'\\' if p + 1 < pattern.len() => (pattern[p + 1] == byte).then_some(p + 2),
        literal => (literal == byte).then_some(p + 1),
    }
}

/// Matches one byte against the class that begins at `p`; an unclosed class ends with the pattern.
fn class(pattern: &[u8], mut p: usize, byte: u8) -> Option<usize> {
    let negated = pattern.get(p) == Some(&b'^');
    p += usize::from(negated);
    let mut hit = false;
    while let Some(&low) = pattern.get(p) {
        if low == b']' {
            p += 1;
            break;
        }
        if low == b'\\' && p + 1 < pattern.len() {
            hit |= pattern[p + 1] == byte;
            p += 2;
        } else if pattern.get(p + 1) == Some(&b'-') && p + 2 < pattern.len() {
            let high = pattern[p + 2];
            hit |= (low.min(high)..=low.max(high)).contains(&byte);
            p += 3;
        } else {
            hit |= low == byte;
            p += 1;
        }
    }
    (hit != negated).then_some(p)
}

#[cfg(test)]
mod tests {
    use super::matches;

    #[test]
    fn patterns_match_as_in_redis() {
        let yes = [
            ("*", ""),
            ("*", "abc"),
            ("a*c", "abbbc"),
            ("a?c", "abc"),
            ("h[ae]llo", "hallo"),
            ("h[a-c]llo", "hbllo"),
            ("h[^e]llo", "hallo"),
            (r"a\*", "a*"),
            ("**b", "aab"),
            ("", ""),
            (r"[\]]", "]"),
            ("[c-a]", "b"),
            ("*a*b*", "xaybz"),
            ("[ab", "b"),
        ];
        for (pattern, text) in yes {
            assert!(matches(pattern.as_bytes(), text.as_bytes()), "{pattern} {text}");
        }
        let no = [
            ("", "a"),
            ("a", ""),
            ("a?c", "ac"),
            ("h[ae]llo", "hillo"),
            ("h[^e]llo", "hello"),
            (r"a\*", "ab"),
            ("a*b", "abc"),
            ("[", "["),
            ("?", ""),
        ];
        for (pattern, text) in no {
            assert!(!matches(pattern.as_bytes(), text.as_bytes()), "{pattern} {text}");
        }
    }

    #[test]
    fn a_hostile_pattern_is_not_exponential() {
        let pattern = b"*a".repeat(40);
        let text = b"a".repeat(200);
        assert!(!matches(&[&pattern[..], b"b"].concat(), &text));
    }
}
