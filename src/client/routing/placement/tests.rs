//! What placement promises. The known nodes were computed by a Python program that shares no code with
//! this one (`int(key) % n`, `hashlib.md5`, `bisect`, floats); they must never change.

use std::fmt::Write;

use proptest::prelude::*;

use super::jump::jump;
use super::*;

fn placement(name: &str, nodes: usize) -> Placement {
    Placement::new(function(name).expect("a known function"), nodes)
}

const KEYS: [&str; 20] = [
    "",
    "0",
    "1",
    "12",
    "007",
    "+7",
    "-5",
    "-0",
    "-12",
    "-",
    "+",
    "1 000",
    "12345",
    "77777",
    "123456789012345678901234567890123456789012345678901234567890",
    "-340282366920938463463374607431768211457",
    "zebra",
    "Hello World",
    "käse",
    "日本",
];

#[rustfmt::skip]
const KNOWN: &[(&str, usize, [usize; 20])] = &[
    ("None", 2, [0, 0, 1, 0, 1, 1, 1, 0, 0, 1, 1, 0, 1, 1, 0, 1, 1, 0, 1, 0]),
    ("None", 12, [0, 0, 1, 0, 7, 7, 7, 0, 0, 9, 7, 0, 9, 5, 6, 7, 1, 8, 1, 0]),
    ("None", 13, [0, 0, 1, 12, 7, 7, 8, 0, 1, 6, 4, 5, 8, 11, 0, 3, 3, 10, 4, 8]),
    ("None", 1000, [0, 0, 1, 12, 7, 7, 995, 0, 988, 45, 43, 480, 345, 777, 890, 543, 737, 812, 237, 204]),
    ("md5", 2, [0, 0, 1, 0, 1, 1, 1, 1, 0, 1, 0, 1, 1, 1, 0, 1, 1, 1, 0, 1]),
    ("md5", 12, [6, 10, 7, 8, 5, 7, 7, 11, 8, 11, 8, 9, 7, 7, 2, 1, 11, 1, 2, 7]),
    ("md5", 13, [6, 11, 0, 3, 4, 12, 11, 11, 6, 12, 12, 6, 12, 11, 7, 11, 1, 10, 9, 5]),
    ("md5", 1000, [366, 850, 411, 112, 721, 587, 391, 107, 412, 671, 248, 245, 915, 87, 150, 893, 311, 797, 682, 539]),
    ("ring", 2, [0, 0, 1, 1, 1, 0, 1, 0, 1, 1, 0, 0, 1, 1, 1, 0, 1, 0, 0, 0]),
    ("ring", 12, [11, 3, 2, 10, 8, 9, 11, 7, 1, 6, 11, 4, 8, 1, 9, 5, 5, 9, 0, 10]),
    ("ring", 13, [11, 3, 2, 10, 8, 9, 11, 7, 1, 6, 11, 4, 8, 1, 9, 5, 5, 9, 12, 10]),
    ("ring", 1000, [663, 824, 346, 577, 698, 995, 250, 235, 325, 623, 447, 28, 793, 459, 9, 837, 112, 9, 294, 750]),
    ("rendezvous", 2, [1, 0, 0, 0, 1, 1, 0, 1, 1, 1, 0, 0, 1, 0, 1, 0, 0, 0, 0, 0]),
    ("rendezvous", 12, [5, 0, 5, 0, 2, 4, 0, 3, 1, 8, 9, 4, 6, 6, 4, 0, 2, 6, 6, 8]),
    ("rendezvous", 13, [5, 0, 5, 0, 2, 4, 0, 3, 1, 8, 9, 4, 6, 6, 4, 12, 2, 6, 6, 8]),
    ("rendezvous", 1000, [481, 182, 688, 643, 705, 572, 870, 899, 681, 180, 48, 245, 55, 100, 567, 717, 552, 588, 325, 407]),
    ("jump", 2, [1, 0, 0, 0, 1, 1, 1, 0, 0, 1, 0, 0, 0, 1, 0, 1, 1, 1, 0, 1]),
    ("jump", 12, [11, 3, 2, 10, 1, 11, 5, 8, 4, 6, 9, 8, 7, 5, 0, 3, 5, 3, 8, 3]),
    ("jump", 13, [11, 3, 2, 10, 1, 11, 5, 8, 4, 6, 9, 8, 12, 5, 0, 3, 5, 3, 8, 3]),
    ("jump", 1000, [771, 413, 19, 919, 885, 898, 579, 201, 678, 717, 762, 308, 905, 405, 151, 81, 557, 821, 621, 34]),
];

#[test]
fn keys_lie_where_they_have_always_lain() {
    for (name, nodes, expected) in KNOWN {
        let placement = placement(name, *nodes);
        let found = KEYS.map(|key| placement.primary(key));
        assert_eq!(found, *expected, "{name} for {nodes} nodes");
    }
}

#[test]
fn every_function_has_known_nodes() {
    for function in FUNCTIONS {
        assert!(KNOWN.iter().any(|(name, ..)| *name == function.name), "{}", function.name);
    }
}

#[test]
fn a_name_finds_its_function_and_no_other_does() {
    for listed in FUNCTIONS {
        assert_eq!(function(listed.name).map(|found| found.name), Some(listed.name));
    }
    assert!(function("MD5").is_none());
    assert!(function("").is_none());
    assert_eq!(function_names(), "None, md5, ring, rendezvous, jump");
}

#[test]
fn jump_agrees_with_the_published_vectors() {
    for (hash, nodes, expected) in [
        (1, 1, 0),
        (42, 57, 43),
        (0xdead_10cc, 666, 361),
        (256, 1024, 520),
        (10_863_919_174_838_991, 11, 6),
        (2, 100_001, 80_343),
        (2_202, 100_001, 15_018),
    ] {
        assert_eq!(jump(hash, nodes), expected, "{hash} on {nodes}");
    }
}

#[test]
fn absurd_numbers_of_nodes_have_a_defined_answer() {
    for function in FUNCTIONS {
        assert_eq!(Placement::new(function, 0).nodes(), 1);
        assert_eq!(Placement::new(function, 0).primary("x"), 0);
        let most = Placement::new(function, usize::MAX);
        assert_eq!(most.nodes(), MAX_NODES);
        assert!(most.primary("x") < MAX_NODES);
    }
}

#[test]
fn copies_wrap_and_name_each_node_once() {
    assert_eq!(copies(4, 3, 5).collect::<Vec<_>>(), [4, 0, 1]);
    assert_eq!(copies(1, 9, 3).collect::<Vec<_>>(), [1, 2, 0]);
    assert_eq!(copies(0, 0, 3).count(), 0);
}

/// How many of the keys 0..10000 each node gets.
fn counts(name: &str, nodes: usize) -> Vec<usize> {
    let placement = placement(name, nodes);
    let mut counts = vec![0; nodes];
    for key in 0..10_000 {
        counts[placement.primary(&key.to_string())] += 1;
    }
    counts
}

#[test]
fn a_hashed_key_is_on_any_node_alike() {
    for nodes in [2, 3, 12, 100] {
        for name in ["md5", "rendezvous", "jump"] {
            let mean = 10_000.0 / nodes as f64;
            let square = |count: &usize| (*count as f64 - mean).powi(2) / mean;
            let chi_square: f64 = counts(name, nodes).iter().map(square).sum();
            // Beyond this in fewer than one of 1000 fair placements (Laurent and Massart's bound).
            let (freedom, x) = (nodes as f64 - 1.0, 1000f64.ln());
            let bound = freedom + 2.0 * (freedom * x).sqrt() + 2.0 * x;
            assert!(chi_square < bound, "{name} on {nodes} nodes: {chi_square}");
        }
        let most = counts("ring", nodes).into_iter().max().unwrap_or(0) as f64;
        assert!(most * (nodes as f64) < 1.4 * 10_000.0, "ring on {nodes} nodes: {most}");
    }
}

#[test]
fn a_new_node_gets_its_share() {
    for name in ["ring", "rendezvous", "jump"] {
        let (before, after) = (placement(name, 12), placement(name, 13));
        let keys = (0..10_000).map(|key: u32| key.to_string());
        let moved = keys.filter(|key| before.primary(key) != after.primary(key)).count();
        assert!((650..900).contains(&moved), "{name}: {moved} of 10000, 769 are due");
    }
}

/// Any text, and integers of any length and sign.
fn key() -> impl Strategy<Value = String> {
    prop_oneof![any::<String>(), "[+-]?[0-9]{1,80}"]
}

/// The remainder as it is done by hand, digit by digit.
fn by_hand(digits: &str, nodes: usize) -> usize {
    digits.bytes().fold(0, |rest, digit| (rest * 10 + usize::from(digit - b'0')) % nodes)
}

proptest! {
    #[test]
    fn any_key_has_one_node_in_range(key in key(), nodes in 1..300usize) {
        for function in FUNCTIONS {
            let placement = Placement::new(function, nodes);
            let node = placement.primary(&key);
            prop_assert!(node < nodes, "{}: {}", function.name, node);
            prop_assert_eq!(node, Placement::new(function, nodes).primary(&key));
        }
    }

    #[test]
    fn keys_move_to_the_new_node_only(key in key(), nodes in 1..300usize) {
        for name in ["ring", "rendezvous", "jump"] {
            let before = placement(name, nodes).primary(&key);
            let after = placement(name, nodes + 1).primary(&key);
            prop_assert!(after == before || after == nodes, "{}: {} to {}", name, before, after);
        }
    }

    #[test]
    fn an_integer_of_any_length_is_its_remainder(digits in "[0-9]{1,80}", nodes in 1..4096usize) {
        let place = placement("None", nodes);
        let rest = by_hand(&digits, nodes);
        prop_assert_eq!(place.primary(&digits), rest);
        let mut signed = String::new();
        write!(signed, "-{digits}").expect("a string takes all");
        prop_assert_eq!((place.primary(&signed) + rest) % nodes, 0);
    }

    #[test]
    fn other_keys_are_their_bytes(key in "[a-z]{1,15}", nodes in 1..4096usize) {
        let number = key.bytes().fold(0u128, |number, byte| number << 8 | u128::from(byte));
        prop_assert_eq!(placement("None", nodes).primary(&key) as u128, number % nodes as u128);
    }
}
