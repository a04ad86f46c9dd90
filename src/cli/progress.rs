//! The progress of a measurement on standard error, if that is a terminal.

use std::io::{self, IsTerminal};
use std::sync::{Condvar, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use crate::bench::Meter;

/// Runs `work` and meanwhile draws how far it is, if standard error is a terminal. `message` is told the phase and
/// how much was done in the last tenth of a second, and says what stands behind the count.
pub fn with_progress<R: Send>(
    meter: &Meter,
    message: impl Fn(&str, u64) -> String + Sync,
    work: impl FnOnce() -> R,
) -> R {
    if !io::stderr().is_terminal() {
        return work();
    }
    let over = (Mutex::new(false), Condvar::new());
    thread::scope(|scope| {
        scope.spawn(|| draw(meter, &message, &over));
        let _end = EndOfProgress(&over);
        work()
    })
}

/// Ends the drawing when the work ends, in whatever way.
struct EndOfProgress<'a>(&'a (Mutex<bool>, Condvar));

impl Drop for EndOfProgress<'_> {
    fn drop(&mut self) {
        *self.0.0.lock().unwrap_or_else(PoisonError::into_inner) = true;
        self.0.1.notify_all();
    }
}

fn draw(
    meter: &Meter,
    message: &(impl Fn(&str, u64) -> String + Sync),
    over: &(Mutex<bool>, Condvar),
) {
    let bar = indicatif::ProgressBar::new_spinner();
    let template = "{spinner:.cyan} {prefix:<13} {pos} {msg} {elapsed:.dim}";
    if let Ok(style) = indicatif::ProgressStyle::with_template(template) {
        bar.set_style(style);
    }
    let mut last = 0;
    let mut ended = over.0.lock().unwrap_or_else(PoisonError::into_inner);
    while !*ended {
        let done = meter.done();
        let tenth = done.saturating_sub(std::mem::replace(&mut last, done));
        bar.set_prefix(meter.phase());
        bar.set_message(message(meter.phase(), tenth));
        bar.set_position(done);
        bar.tick();
        let wait = over.1.wait_timeout(ended, Duration::from_millis(100));
        ended = wait.unwrap_or_else(PoisonError::into_inner).0;
    }
    bar.finish_and_clear();
}
