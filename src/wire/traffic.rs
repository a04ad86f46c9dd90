//! How much goes between replicas: frames and bytes, counted where they leave or pass.
//!
//! A frame says its own length ([`super::frame`]), so counting needs no decoding: four bytes of each are looked at,
//! in whatever pieces a stream comes.

/// What has gone between replicas.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Traffic {
    /// Frames.
    pub messages: u64,
    /// Bytes of frames, their lengths included.
    pub bytes: u64,
}

impl Traffic {
    /// What has gone since an earlier count.
    #[must_use]
    pub fn since(self, earlier: Traffic) -> Traffic {
        Traffic {
            messages: self.messages.saturating_sub(earlier.messages),
            bytes: self.bytes.saturating_sub(earlier.bytes),
        }
    }
}

/// Counts the frames of one stream.
#[derive(Clone, Debug, Default)]
pub struct FrameCounter {
    /// What has been counted; a frame counts with its first byte.
    pub traffic: Traffic,
    /// The length of the next frame, as far as it has come.
    head: [u8; 4],
    filled: usize,
    /// How many bytes of the present frame are still to come.
    rest: usize,
}

impl FrameCounter {
    /// Counts the next bytes of the stream.
    pub fn count(&mut self, mut bytes: &[u8]) {
        self.traffic.bytes += bytes.len() as u64;
        while !bytes.is_empty() {
            let skipped = self.rest.min(bytes.len());
            self.rest -= skipped;
            bytes = &bytes[skipped..];
            while self.rest == 0
                && let Some((byte, later)) = bytes.split_first()
            {
                bytes = later;
                self.traffic.messages += u64::from(self.filled == 0);
                self.head[self.filled] = *byte;
                self.filled += 1;
                if self.filled == self.head.len() {
                    self.filled = 0;
                    self.rest = u32::from_le_bytes(self.head) as usize;
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::peer::Frame;

    #[test]
    fn frames_are_counted_in_whatever_pieces_they_come() {
        let mut bytes = Vec::new();
        for _ in 0..3 {
            Frame::Heartbeat.encode(&mut bytes);
        }
        Frame::Delivered(crate::base::Timestamp::default()).encode(&mut bytes);
        for size in 1..=bytes.len() {
            let mut counter = FrameCounter::default();
            bytes.chunks(size).for_each(|piece| counter.count(piece));
            let expected = Traffic { messages: 4, bytes: bytes.len() as u64 };
            assert_eq!(counter.traffic, expected, "in pieces of {size}");
        }
    }
}
