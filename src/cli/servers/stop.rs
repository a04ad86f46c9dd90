//! SIGINT, SIGTERM and the end of standard input: what they stop.

use std::io;
use std::sync::{Arc, Mutex, PoisonError};

use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::iterator::Signals;

type Action = Box<dyn Fn() + Send>;

/// What a signal does. Until it is told, a signal ends the process at once: nothing serves yet, and its stores
/// are as good then as after a kill.
#[derive(Clone)]
pub struct StopSwitch(Arc<Mutex<Option<Action>>>);

impl StopSwitch {
    /// Begins to listen for signals.
    ///
    /// # Errors
    /// The system has no thread left, or refuses the handler.
    pub fn on_signal() -> io::Result<Self> {
        let switch = Self(Arc::new(Mutex::new(None)));
        let shared = switch.clone();
        let mut signals = Signals::new([SIGINT, SIGTERM])?;
        std::thread::Builder::new().name("signals".to_owned()).spawn(move || {
            for _ in signals.forever() {
                shared.throw();
            }
        })?;
        Ok(switch)
    }

    /// The end of standard input does the same: whoever holds its other end has ended.
    ///
    /// # Errors
    /// The system has no thread left.
    pub fn also_on_eof(&self) -> io::Result<()> {
        let shared = self.clone();
        std::thread::Builder::new().name("until-eof".to_owned()).spawn(move || {
            // What comes is not for this program; an error is an end as well.
            let _ = io::copy(&mut io::stdin().lock(), &mut io::sink());
            shared.throw();
        })?;
        Ok(())
    }

    fn throw(&self) {
        match &*self.0.lock().unwrap_or_else(PoisonError::into_inner) {
            Some(stop) => stop(),
            None => std::process::exit(0),
        }
    }

    /// From here on a signal does this.
    pub fn set(&self, stop: impl Fn() + Send + 'static) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(Box::new(stop));
    }

    /// Blocks until a signal comes, or `failed` has something to say: a server that cannot go on.
    pub fn wait<T: Send + 'static>(&self, failed: &crossbeam_channel::Receiver<T>) -> Option<T> {
        let (sender, receiver) = crossbeam_channel::bounded(1);
        // Full: a signal has come before and is being followed.
        self.set(move || {
            let _ = sender.try_send(());
        });
        crossbeam_channel::select! {
            recv(receiver) -> _ => None,
            recv(failed) -> why => why.ok(),
        }
    }
}
