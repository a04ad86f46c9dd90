//! The reading half of a link: the preface, then frames as they come.

use std::io::{self, ErrorKind, Read};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use thiserror::Error;

use super::{Life, PREFACE_TIMEOUT, SILENCE};
use crate::runtime::ports::Owner;
use crate::wire::two_phase::{Frame, FrameError, PREFACE};

/// How much is read at once.
const READ_SIZE: usize = 64 * 1024;

/// How often a connection that does not say its preface is left to look whether all stops.
const GLANCE: Duration = Duration::from_millis(100);

/// Why a link ends.
#[derive(Debug, Error)]
pub(super) enum LinkError {
    /// The other side is none of ours.
    #[error("does not speak the two-phase commit protocol")]
    Stranger,
    /// It sent what is no frame.
    #[error("sent {0}")]
    Frame(#[from] FrameError),
    /// It says nothing any more.
    #[error("says nothing any more")]
    Silent,
    /// The connection is lost.
    #[error("{0}")]
    Io(#[from] io::Error),
}

/// Reads the other side's preface, and not a byte more. Byte by byte, so that a stranger is known by its
/// first wrong byte and not when enough has come.
pub(super) fn read_preface(life: &Life, mut stream: &TcpStream) -> Result<(), LinkError> {
    let deadline = Instant::now() + PREFACE_TIMEOUT;
    let mut read = 0;
    while read < PREFACE.len() {
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() || life.stopping() {
            return Err(io::Error::from(ErrorKind::TimedOut).into());
        }
        stream.set_read_timeout(Some(left.min(GLANCE)))?;
        let mut byte = [0];
        match stream.read(&mut byte) {
            Ok(0) => return Err(io::Error::from(ErrorKind::UnexpectedEof).into()),
            Ok(_) if byte[0] != PREFACE[read] => return Err(LinkError::Stranger),
            Ok(_) => read += 1,
            Err(error) if is_only_early(&error) => {}
            Err(error) => return Err(error.into()),
        }
    }
    stream.set_read_timeout(Some(SILENCE))?;
    Ok(())
}

/// Whether nothing has come within the time.
fn is_only_early(error: &io::Error) -> bool {
    matches!(error.kind(), ErrorKind::Interrupted | ErrorKind::WouldBlock | ErrorKind::TimedOut)
}

/// What has come and is no whole frame yet.
#[derive(Debug)]
pub(super) struct Intake {
    buffer: Vec<u8>,
    filled: usize,
}

impl Intake {
    pub(super) fn new() -> Self {
        Self { buffer: vec![0; READ_SIZE], filled: 0 }
    }

    /// Waits for more bytes.
    pub(super) fn fill(&mut self, mut stream: &TcpStream) -> Result<(), LinkError> {
        let read = loop {
            match stream.read(&mut self.buffer[self.filled..]) {
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) if is_only_early(&error) => return Err(LinkError::Silent),
                other => break other?,
            }
        };
        if read == 0 {
            return Err(io::Error::from(ErrorKind::UnexpectedEof).into());
        }
        self.filled += read;
        Ok(())
    }

    /// The frames that are whole now; none when a part of one has come. Afterwards there is room for more. For a
    /// long frame all that takes long.
    pub(super) fn frames(&mut self) -> Result<Vec<Frame>, LinkError> {
        let mut frames = Vec::new();
        let mut used = 0;
        while let Some((frame, length)) = Frame::decode(&self.buffer[used..self.filled])? {
            frames.push(frame);
            used += length;
        }
        if used > 0 {
            // Only then: a long frame comes in many pieces, and would be copied at each.
            self.buffer.copy_within(used..self.filled, 0);
            self.filled -= used;
            if self.filled <= READ_SIZE && self.buffer.len() > 16 * READ_SIZE {
                self.buffer.truncate(READ_SIZE);
                self.buffer.shrink_to_fit();
            }
        }
        if self.filled == self.buffer.len() {
            // Grown with the bytes that are here, never by what a frame announces.
            self.buffer.resize(self.buffer.len() * 2, 0);
        }
        Ok(frames)
    }
}
