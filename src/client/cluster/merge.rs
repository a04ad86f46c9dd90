//! Merging what the servers of a cluster found: each key once.

use crate::client::table::Pairs;

/// Merges what each server found, server 0 first; the result is sorted by key. Where a key came more than once,
/// the server with the lowest `rank` for that key decides, whoever answered first; what one server says twice
/// (a key that came anew while it looked) counts as it says it last.
///
/// Cost: one sort. `rank` hashes the key, so it is only asked where values differ.
pub(super) fn merge(found: Vec<Pairs>, rank: impl Fn(&str, usize) -> usize) -> Pairs {
    let total = found.iter().map(Vec::len).sum();
    let mut all = Vec::with_capacity(total);
    for (server, pairs) in found.into_iter().enumerate() {
        all.extend(pairs.into_iter().map(|(key, value)| (key, value, server)));
    }
    // Stable: what one server says of one key stays in its order.
    all.sort_by(|one, other| one.0.cmp(&other.0));
    let mut merged = Vec::with_capacity(total);
    let mut all = all.into_iter().peekable();
    while let Some((key, mut value, server)) = all.next() {
        let mut rivals = Vec::new();
        while let Some((_, value, server)) = all.next_if(|next| next.0 == key) {
            rivals.push((value, server));
        }
        if rivals.iter().any(|rival| rival.0.get() != value.get()) {
            let mut lowest = rank(&key, server);
            for (rival, server) in rivals {
                let its_rank = rank(&key, server);
                if its_rank <= lowest {
                    (lowest, value) = (its_rank, rival);
                }
            }
        }
        merged.push((key, value));
    }
    merged
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pairs(text: &[(&str, &str)]) -> Pairs {
        let value = |text: &str| serde_json::from_str(text).expect("JSON");
        text.iter().map(|(key, text)| ((*key).to_owned(), value(text))).collect()
    }

    fn merged(found: Vec<Pairs>, primary: usize) -> Vec<(String, String)> {
        let servers = found.len();
        let rank = |_: &str, server: usize| (server + servers - primary) % servers;
        merge(found, rank).into_iter().map(|(key, v)| (key, v.get().to_owned())).collect()
    }

    #[test]
    fn each_key_comes_once_and_in_order() {
        let found = vec![pairs(&[("b", "1"), ("a", "2")]), pairs(&[("c", "3"), ("b", "1")])];
        let expected = [("a", "2"), ("b", "1"), ("c", "3")];
        assert_eq!(merged(found, 0), expected.map(|(k, v)| (k.to_owned(), v.to_owned())));
        assert_eq!(merged(vec![], 0), []);
    }

    #[test]
    fn where_copies_differ_the_first_to_be_read_decides() {
        let found = || vec![pairs(&[("a", "0")]), pairs(&[("a", "1")]), pairs(&[("a", "2")])];
        for primary in 0..3 {
            assert_eq!(merged(found(), primary), [("a".to_owned(), primary.to_string())]);
        }
        // Equal values in between hide no rank.
        let found = vec![pairs(&[("a", "7")]), pairs(&[("a", "7")]), pairs(&[("a", "8")])];
        assert_eq!(merged(found, 1), [("a".to_owned(), "7".to_owned())]);
    }

    #[test]
    fn what_a_server_says_last_counts() {
        let found = vec![pairs(&[("a", "1"), ("a", "2")]), pairs(&[])];
        assert_eq!(merged(found, 0), [("a".to_owned(), "2".to_owned())]);
    }
}
