//! Records a history into a file, beside threads that must not notice.
//!
//! Each recording thread has a [`Track`]: a buffer behind a lock of its own, which no one else wants but for
//! the moment in which the writer swaps it for an empty one. The thread stamps the event while it holds that
//! lock. One writer thread comes round every 20 ms, takes the buffers that hold anything, sorts
//! their events by time, turns them into lines and appends these to the file. (A read is recorded at its end,
//! with both its times, so its invocation stands later in the file than by its time.)
//!
//! # The file is a prefix of the history at every moment
//!
//! The writer notes the time before it takes the first buffer. An event that was stamped earlier is in its
//! buffer by then, because stamping and appending are one step under the buffer's lock; so once all buffers
//! are taken, all events before the noted time are at hand. Just these are written, in their
//! order; the few others wait for the next round. A process that is killed leaves a history of all that
//! happened until 20 ms earlier: no read of a value whose write is missing, and what was under way is
//! unknown. The page cache has what was written; it is not synced, so the loss of power may cost more.
//!
//! # Bounds
//!
//! A track that holds 256 KiB waits for the writer before it takes the next event, so sessions become as slow
//! as the disk. Deliveries are recorded under a replica's lock and therefore never wait; beyond 64 MiB they are
//! left out, which a hint can be. If the file cannot be written, the recording ends: what is in the file is cut
//! to whole lines and renamed to `FILE.incomplete`, so that nothing takes it for the whole history.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write as _};
use std::mem;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU8, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, Sender, TrySendError, bounded};
use thiserror::Error;
use tracing::{error, warn};

use super::recording::Deliveries;
use super::sync::{lock, wait_for};
use crate::base::ReplicaId;
use crate::history::jsonl::{Header, put_header};
use crate::history::record::PlainNumbers;
use crate::history::tape::{Tape, events, order_of};
use crate::history::tape_lines::{LineWriter, Owner};

/// How often the writer comes round.
const ROUND: Duration = Duration::from_millis(20);

/// A track with so many bytes calls for the writer.
const MANY: usize = 64 * 1024;

/// A track with so many bytes waits for the writer.
const FULL: usize = 256 * 1024;

/// How many bytes of deliveries may wait at one replica.
const MAX_DELIVERIES: usize = 64 * 1024 * 1024;

/// About how much is written at once.
const CHUNK: usize = 64 * 1024;

/// How many empty buffers the writer keeps.
const SPARES: usize = 256;

/// Why a history is not recorded, or not any more.
#[derive(Debug, Error)]
pub enum RecordError {
    /// The file cannot be had.
    #[error("cannot write the history {}: {source}", path.display())]
    Open {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The file could not be written to its end.
    #[error(
        "cannot write the history {}: {why}; recording has ended{}",
        path.display(), kept(kept_as.as_deref())
    )]
    Incomplete {
        /// The file.
        path: PathBuf,
        /// Why.
        why: String,
        /// Where what had been written is now, if the file could be renamed.
        kept_as: Option<PathBuf>,
    },
    /// The thread that writes cannot be started.
    #[error("cannot start the thread that writes the history: {0}")]
    Thread(io::Error),
}

fn kept(as_path: Option<&Path>) -> String {
    as_path.map_or(String::new(), |path| format!(", what came before is in {}", path.display()))
}

/// Not begun: who has something to record waits.
const WAITING: u8 = 0;
const RUNNING: u8 = 1;
/// Over: nothing is recorded any more.
const OVER: u8 = 2;

/// A recording; clones are the same one.
#[derive(Clone, Debug)]
pub struct Recorder(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    path: PathBuf,
    start: Instant,
    state: AtomicU8,
    /// Signalled when the state changes, with the lock of `writer`.
    changed: Condvar,
    writer: Mutex<Writer>,
    /// The tracks that hold something.
    filled: Mutex<Vec<Arc<Reel>>>,
    call: Sender<()>,
    numbers: PlainNumbers,
    deliveries: Deliveries,
    /// Deliveries had to be left out.
    left_out: AtomicBool,
}

#[derive(Debug)]
enum Writer {
    /// With what it will need.
    NotStarted(File, Receiver<()>),
    Running(JoinHandle<Result<(), RecordError>>),
    Ended,
}

/// The part of a track that the writer sees.
#[derive(Debug)]
struct Reel {
    owner: Owner,
    tape: Mutex<Tape>,
    emptied: Condvar,
}

/// Where one thread records.
#[derive(Debug)]
pub struct Track {
    shared: Arc<Shared>,
    reel: Arc<Reel>,
}

impl Recorder {
    /// Opens the file, which keeps what it holds until the recording begins.
    ///
    /// # Errors
    /// It cannot be opened for writing.
    pub fn open(path: &Path, deliveries: Deliveries) -> Result<Self, RecordError> {
        let opened = OpenOptions::new().write(true).create(true).truncate(false).open(path);
        let file = opened.map_err(|source| RecordError::Open { path: path.to_owned(), source })?;
        let (call, called) = bounded(1);
        Ok(Self(Arc::new(Shared {
            path: path.to_owned(),
            start: Instant::now(),
            state: AtomicU8::new(WAITING),
            changed: Condvar::new(),
            writer: Mutex::new(Writer::NotStarted(file, called)),
            filled: Mutex::default(),
            call,
            numbers: PlainNumbers::new(true),
            deliveries,
            left_out: AtomicBool::new(false),
        })))
    }

    /// The file.
    pub fn path(&self) -> &Path {
        &self.0.path
    }

    /// A track for one thread: the name of its process, and the replica that it asks.
    pub fn track(&self, process: &str, replica: Option<ReplicaId>) -> Track {
        let owner = Owner::new(process, replica);
        let reel = Reel { owner, tape: Mutex::default(), emptied: Condvar::new() };
        Track { shared: Arc::clone(&self.0), reel: Arc::new(reel) }
    }

    /// What is known of the numbers in the store.
    pub fn numbers(&self) -> &PlainNumbers {
        &self.0.numbers
    }

    /// Which deliveries are to be recorded.
    pub fn deliveries(&self) -> Deliveries {
        self.0.deliveries
    }

    /// Writes the header in the place of what the file holds, and lets the tracks go.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn begin(&self, header: &Header) -> Result<(), RecordError> {
        let mut writer = lock(&self.0.writer);
        let (mut file, called) = match mem::replace(&mut *writer, Writer::Ended) {
            Writer::NotStarted(file, called) => (file, called),
            other => {
                *writer = other;
                return Ok(());
            }
        };
        let mut line = Vec::new();
        put_header(&mut line, header);
        // A device has no length to set.
        let _ = file.set_len(0);
        if let Err(source) = file.write_all(&line) {
            self.0.enter(OVER);
            return Err(RecordError::Open { path: self.0.path.clone(), source });
        }
        let pen = Pen::new(Arc::clone(&self.0), file, line.len() as u64);
        let thread = thread::Builder::new()
            .name("history".to_owned())
            .spawn(move || pen.run(&called))
            .map_err(RecordError::Thread)?;
        *writer = Writer::Running(thread);
        self.0.enter(RUNNING);
        Ok(())
    }

    /// Writes all that has been recorded and ends the recording.
    ///
    /// # Errors
    /// The history is incomplete: the file could not be written, now or before.
    pub fn finish(&self) -> Result<(), RecordError> {
        self.0.enter(OVER);
        match mem::replace(&mut *lock(&self.0.writer), Writer::Ended) {
            Writer::Running(thread) => {
                let _ = self.0.call.try_send(());
                // A writer that panicked has said so on standard error.
                thread.join().unwrap_or_else(|_| {
                    let why = "the writing thread panicked".to_owned();
                    Err(self.0.incomplete(why, None))
                })
            }
            Writer::NotStarted(..) | Writer::Ended => Ok(()),
        }
    }
}

impl Shared {
    fn enter(&self, state: u8) {
        self.state.fetch_max(state, Ordering::SeqCst);
        self.changed.notify_all();
    }

    fn now(&self) -> u64 {
        u64::try_from(self.start.elapsed().as_nanos()).unwrap_or(u64::MAX)
    }

    fn state(&self) -> u8 {
        self.state.load(Ordering::SeqCst)
    }

    /// Waits until the recording has begun; `false` when it is over.
    fn wait_begun(&self) -> bool {
        let mut guard = lock(&self.writer);
        while self.state() == WAITING {
            guard = wait_for(&self.changed, guard, ROUND);
        }
        self.state() == RUNNING
    }

    fn incomplete(&self, why: String, kept_as: Option<PathBuf>) -> RecordError {
        RecordError::Incomplete { path: self.path.clone(), why, kept_as }
    }
}

impl Track {
    /// Records events of now. Waits for the recording to begin, and for the writer where it is behind.
    pub fn record(&self, put: impl FnOnce(&mut Tape)) {
        match self.shared.state() {
            RUNNING => {}
            WAITING if self.shared.wait_begun() => {}
            _ => return,
        }
        let mut tape = lock(&self.reel.tape);
        while tape.bytes().len() >= FULL && self.shared.state() == RUNNING {
            tape = wait_for(&self.reel.emptied, tape, ROUND);
        }
        self.put(&mut tape, put);
    }

    /// When an operation begins that is recorded at its end. Waits for the recording to begin.
    pub fn begin(&self) -> u64 {
        if self.shared.state() == WAITING {
            self.shared.wait_begun();
        }
        lock(&self.reel.tape).begin(self.shared.now())
    }

    /// Records events of now, if the recording runs; never waits. For deliveries.
    pub fn record_at_once(&self, put: impl FnOnce(&mut Tape)) {
        if self.shared.state() != RUNNING {
            return;
        }
        let mut tape = lock(&self.reel.tape);
        if tape.bytes().len() < MAX_DELIVERIES {
            self.put(&mut tape, put);
        } else {
            self.shared.left_out.store(true, Ordering::Relaxed);
        }
    }

    fn put(&self, tape: &mut Tape, put: impl FnOnce(&mut Tape)) {
        if tape.bytes().is_empty() {
            // Before the stamp: see the module's words on prefixes.
            lock(&self.shared.filled).push(Arc::clone(&self.reel));
        }
        let before = tape.bytes().len();
        tape.set_time(self.shared.now());
        put(tape);
        if before < MANY
            && tape.bytes().len() >= MANY
            && let Err(TrySendError::Disconnected(())) = self.shared.call.try_send(())
        {
            self.shared.enter(OVER);
        }
    }

    /// What is known of the numbers in the store.
    pub fn numbers(&self) -> &PlainNumbers {
        &self.shared.numbers
    }
}

/// Events of one reel that wait to be written.
struct Piece {
    reel: Arc<Reel>,
    bytes: Vec<u8>,
    /// Where the events begin that are not to be written yet.
    end: usize,
}

/// The writer.
struct Pen {
    shared: Arc<Shared>,
    file: File,
    /// How long the file is.
    written: u64,
    pieces: Vec<Piece>,
    /// The events of the pieces: order, piece, place. Small, because it is sorted.
    order: Vec<(u64, u32, u32)>,
    spares: Vec<Vec<u8>>,
    out: Vec<u8>,
    lines: LineWriter,
}

impl Pen {
    fn new(shared: Arc<Shared>, file: File, written: u64) -> Self {
        Self {
            shared,
            file,
            written,
            pieces: Vec::new(),
            order: Vec::new(),
            spares: Vec::new(),
            out: Vec::with_capacity(2 * CHUNK),
            lines: LineWriter::default(),
        }
    }

    /// The body of the writer's thread.
    fn run(mut self, called: &Receiver<()>) -> Result<(), RecordError> {
        loop {
            // Either way it is time to look.
            let _ = called.recv_timeout(ROUND);
            let last = self.shared.state() == OVER;
            if let Err(error) = self.round() {
                return Err(self.give_up(&error));
            }
            if last {
                return Ok(());
            }
        }
    }

    /// Writes all events until now.
    fn round(&mut self) -> io::Result<()> {
        let until = order_of(self.shared.now());
        for reel in mem::take(&mut *lock(&self.shared.filled)) {
            let empty = self.spares.pop().unwrap_or_default();
            let bytes = lock(&reel.tape).take(empty);
            reel.emptied.notify_all();
            self.pieces.push(Piece { reel, bytes, end: 0 });
        }
        self.order.clear();
        for (piece, number) in self.pieces.iter_mut().zip(0..) {
            let all = piece.bytes.len();
            piece.end = events(&piece.bytes)
                .inspect(|(order, at)| {
                    if *order < until {
                        // A tape holds less than 2 GiB: its bound and the largest request.
                        self.order.push((*order, number, *at as u32));
                    }
                })
                .find(|(order, _)| *order >= until)
                .map_or(all, |(_, at)| at);
        }
        // The pieces are sorted in themselves, which this kind of sort makes use of.
        self.order.sort();
        for (_, number, at) in &self.order {
            let piece = &self.pieces[*number as usize];
            self.lines.put(&mut self.out, &piece.reel.owner, &piece.bytes, *at as usize);
            if self.out.len() >= CHUNK {
                write_out(&mut self.file, &mut self.out, &mut self.written)?;
            }
        }
        write_out(&mut self.file, &mut self.out, &mut self.written)?;
        self.keep_the_rest();
        if self.shared.left_out.swap(false, Ordering::Relaxed) {
            warn!("the history is written too slowly: some deliveries are missing in it");
        }
        Ok(())
    }

    /// Keeps what is not written yet for the next round, and the buffers for others.
    fn keep_the_rest(&mut self) {
        for mut piece in mem::take(&mut self.pieces) {
            if piece.end < piece.bytes.len() {
                let bytes = piece.bytes.split_off(piece.end);
                self.pieces.push(Piece { reel: Arc::clone(&piece.reel), bytes, end: 0 });
            }
            piece.bytes.clear();
            if self.spares.len() < SPARES && piece.bytes.capacity() <= MANY {
                self.spares.push(piece.bytes);
            }
        }
    }

    /// Ends the recording before its time.
    fn give_up(&mut self, error: &io::Error) -> RecordError {
        self.shared.enter(OVER);
        // The last write may have ended within a line.
        let _ = self.file.set_len(self.written);
        let path = &self.shared.path;
        let mut incomplete = path.clone().into_os_string();
        incomplete.push(".incomplete");
        let incomplete = PathBuf::from(incomplete);
        let movable = fs::symlink_metadata(path)
            .is_ok_and(|found| found.is_file() || found.file_type().is_symlink());
        let kept_as = (movable && fs::rename(path, &incomplete).is_ok()).then_some(incomplete);
        let ended = self.shared.incomplete(error.to_string(), kept_as);
        error!("{ended}");
        ended
    }
}

/// Whole lines go into the file in one call.
fn write_out(file: &mut File, out: &mut Vec<u8>, written: &mut u64) -> io::Result<()> {
    file.write_all(out)?;
    *written += out.len() as u64;
    out.clear();
    out.shrink_to(4 * CHUNK);
    Ok(())
}
