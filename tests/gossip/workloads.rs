//! Generated workloads: they run through, and all servers end with the same store.

use crate::gossip_support::{master, run};

#[test]
fn every_workload_ends_with_equal_stores() {
    for workload in ["tree", "chain", "partition"] {
        let arguments =
            ["gossip", "generate", "--workload", workload, "--commands", "400", "--seed", "7"];
        let generated = run(&[&arguments[..], &["--value-size", "50"]].concat(), "");
        assert_eq!(generated.status.code(), Some(0));
        let commands = String::from_utf8(generated.stdout).expect("text");
        let (out, errors) = master(&[], &commands);
        assert_eq!(errors, [""; 0], "{workload}");
        assert!(
            out.len().is_multiple_of(5) && out.len() > 5 * 30,
            "{workload}: {} lines",
            out.len()
        );
        let stores: Vec<_> = out.chunks(out.len() / 5).collect();
        assert!(stores.iter().all(|store| *store == stores[0]), "{workload}");
        assert!(stores[0].is_sorted(), "{workload}");
    }
}
