//! The lines that a node prints, from a thread of its own: a standard output that is closed, or that nobody reads,
//! neither slows the node nor stops it.
//!
//! Lines gather for a moment and go out together. Where more gather than `BOUND` bytes, lines are left out and
//! counted.

use std::fmt::Write as _;
use std::io::Write;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

/// The most bytes that wait to be printed.
const BOUND: usize = 1 << 20;

/// How long lines gather: a burst costs one write, and a node one wake-up.
const GATHER: Duration = Duration::from_millis(5);

/// How many characters of a key or a value are shown.
const SHOWN: usize = 200;

#[derive(Debug, Default)]
struct Pending {
    text: String,
    left_out: u64,
    /// The printer waits for the first line.
    idle: bool,
    writing: bool,
    over: bool,
}

#[derive(Debug, Default)]
struct Shared {
    pending: Mutex<Pending>,
    changed: Condvar,
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Pending> {
        self.pending.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Where a node's lines go. Clones print to the same place.
#[derive(Clone, Debug, Default)]
pub struct Log(Option<Arc<Shared>>);

impl Log {
    /// Prints nothing.
    pub fn silent() -> Self {
        Self(None)
    }

    /// Prints to `out`, from a thread of its own.
    ///
    /// # Errors
    /// The system has no thread left.
    pub fn to(mut out: impl Write + Send + 'static) -> std::io::Result<Self> {
        let shared = Arc::new(Shared::default());
        let its_shared = Arc::clone(&shared);
        thread::Builder::new().name("log".to_owned()).spawn(move || {
            while let Some(text) = its_shared.next() {
                // Closed, or its disk is full: there is nobody to tell, and the node goes on.
                let _ = out.write_all(text.as_bytes()).and_then(|()| out.flush());
            }
        })?;
        Ok(Self(Some(shared)))
    }

    /// Prints a line.
    pub fn line(&self, line: &str) {
        self.append(line.len(), |text| {
            text.push_str(line);
            text.push('\n');
        });
    }

    /// `Add an entry to the database: key: 12345, value: Hello World`
    pub fn added(&self, key: &str, value: &str) {
        self.append(64 + 2 * SHOWN, |text| {
            text.push_str("Add an entry to the database: key: ");
            show(text, key);
            text.push_str(", value: ");
            show(text, value);
            text.push('\n');
        });
    }

    fn append(&self, room: usize, write: impl FnOnce(&mut String)) {
        let Some(shared) = &self.0 else { return };
        let mut pending = shared.lock();
        if pending.text.len() + room > BOUND {
            pending.left_out += 1;
            return;
        }
        write(&mut pending.text);
        if pending.idle {
            pending.idle = false;
            shared.changed.notify_all();
        }
    }

    /// Waits until all is printed, not longer than `patience`; nothing is printed afterwards.
    pub fn finish(&self, patience: Duration) {
        let Some(shared) = &self.0 else { return };
        let mut pending = shared.lock();
        pending.over = true;
        shared.changed.notify_all();
        let is_busy = |pending: &mut Pending| !pending.text.is_empty() || pending.writing;
        // A poisoned lock means that the printer is gone; there is nothing to wait for then.
        let _ = shared.changed.wait_timeout_while(pending, patience, is_busy);
    }
}

impl Shared {
    /// Waits for lines; `None` at the end.
    fn next(&self) -> Option<String> {
        let mut pending = self.lock();
        pending.writing = false;
        self.changed.notify_all();
        while pending.text.is_empty() {
            if pending.over {
                return None;
            }
            pending.idle = true;
            pending = self.changed.wait(pending).unwrap_or_else(PoisonError::into_inner);
        }
        pending.idle = false;
        if !pending.over {
            drop(pending);
            thread::sleep(GATHER);
            pending = self.lock();
        }
        pending.writing = true;
        let mut text = std::mem::take(&mut pending.text);
        let left_out = std::mem::take(&mut pending.left_out);
        if left_out > 0 {
            let _ =
                writeln!(text, "({left_out} lines were left out: nobody reads them fast enough)");
        }
        Some(text)
    }
}

/// Appends text so that it stays on its line: control characters escaped, and cut where it is long.
fn show(out: &mut String, text: &str) {
    for (number, character) in text.chars().enumerate() {
        if number == SHOWN {
            let _ = write!(out, "... ({} bytes)", text.len());
            return;
        }
        if character.is_control() || matches!(character, '\u{2028}' | '\u{2029}') {
            out.extend(character.escape_default());
        } else {
            out.push(character);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use super::*;

    struct Pipe(mpsc::Sender<String>);

    impl Write for Pipe {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0.send(String::from_utf8_lossy(bytes).into_owned()).unwrap();
            Ok(bytes.len())
        }

        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn an_entry_is_one_short_line() {
        let (sender, lines) = mpsc::channel();
        let log = Log::to(Pipe(sender)).unwrap();
        log.added("12345", "Hello World");
        log.added("two\nlines", &"\u{e9}".repeat(300));
        log.finish(Duration::from_secs(10));
        let text: String = lines.iter().collect();
        let mut lines = text.lines();
        let first = "Add an entry to the database: key: 12345, value: Hello World";
        assert_eq!(lines.next(), Some(first));
        let second = lines.next().unwrap();
        assert!(second.contains("key: two\\nlines, value: \u{e9}"), "{second}");
        assert!(second.ends_with("... (600 bytes)"), "{second}");
        assert_eq!(lines.next(), None);
    }

    #[test]
    fn a_reader_that_does_not_read_loses_lines_and_stops_nobody() {
        struct Stuck(mpsc::Receiver<()>, mpsc::Sender<usize>);
        impl Write for Stuck {
            fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
                let _ = self.0.recv();
                let _ = self.1.send(String::from_utf8_lossy(bytes).matches("left out").count());
                Ok(bytes.len())
            }

            fn flush(&mut self) -> std::io::Result<()> {
                Ok(())
            }
        }
        let (go, wait) = mpsc::channel();
        let (sender, found) = mpsc::channel();
        let log = Log::to(Stuck(wait, sender)).unwrap();
        for _ in 0..3 * BOUND / 100 {
            log.added("key", &"v".repeat(100));
        }
        log.finish(Duration::from_millis(1));
        drop(go);
        // Once in what is printed last; and once before, where the printer was so late that its first piece was full.
        let said = found.iter().sum::<usize>();
        assert!((1..=2).contains(&said), "said {said} times");
    }
}
