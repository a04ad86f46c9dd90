//! What the fuzz target of recorded histories does with its input. The tests include this file too.

use consistency_lab::history::events::events;
use consistency_lab::history::{History, formats, jsonl};

/// All that the lab's own format keeps of a history, fit to compare.
fn kept(history: &History) -> Vec<u8> {
    let mut out = Vec::new();
    jsonl::write(history, &mut out).expect("a Vec takes all");
    out
}

/// What must hold of any history.
fn check(history: &History) {
    let mut last = None;
    for operation in &history.operations {
        assert!(last < Some(operation.invoked), "in the order of invocation");
        assert!(operation.invoked < operation.completed);
        last = Some(operation.invoked);
    }
    let mut completed = vec![None; history.processes.len()];
    for operation in &history.operations {
        let slot = &mut completed[operation.process.0 as usize];
        assert!(slot.is_none_or(|at| at <= operation.invoked || at == u32::MAX), "one at a time");
        *slot = Some(operation.completed);
    }
    assert!(events(history).len() <= 2 * history.operations.len());
}

/// Reads `data` as each format, and as the one that it looks like. What is refused has a message of bounded
/// length; what is read comes back the same through every format that keeps all of it.
pub fn read(data: &[u8]) {
    for format in formats::FORMATS.iter().map(Some).chain([None]) {
        match formats::read_any(&mut &*data, "fuzz", format) {
            Err(error) => {
                let message = error.to_string();
                assert!(message.starts_with("fuzz:"), "{message}");
                assert!(message.len() < 4000 + 4 * data.len(), "{message}");
            }
            Ok(history) => {
                check(&history);
                let written = kept(&history);
                let again = jsonl::read(&mut &*written, "again").expect("the lab's own writing");
                assert_eq!(kept(&again), written);
                for format in formats::FORMATS {
                    let Some(write) = format.write else { continue };
                    let mut out = Vec::new();
                    write(&history, &mut out).expect("a Vec takes all");
                    if format.name == "shiviz" {
                        let again = (format.read)(&mut &*out, "again").expect("its own writing");
                        assert_eq!(again.operations.len(), history.operations.len());
                    }
                }
            }
        }
    }
}
