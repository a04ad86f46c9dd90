//! What all binary frames share: a length, a kind, a body.
//!
//! ```text
//! frame = length:u32 kind:u8 body          (length counts kind and body; little endian)
//! ```
//!
//! A length beyond the protocol's bound is refused before a byte of the frame is stored, and every body
//! must be used up to its last byte.

use thiserror::Error;

use super::codec::CodecError;

/// Why a peer is cut off.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum FrameError {
    /// The announced length is out of bounds.
    #[error("a frame of {found} bytes (expected 1 to {max})")]
    Length {
        /// The length.
        found: usize,
        /// The longest allowed.
        max: usize,
    },
    /// A kind that no frame has.
    #[error("a frame of unknown kind {0}")]
    Kind(u8),
    /// A body that does not decode.
    #[error("a damaged frame: {0}")]
    Body(#[from] CodecError),
}

/// Appends a frame around what `body` appends.
pub(super) fn framed(out: &mut Vec<u8>, kind: u8, body: impl FnOnce(&mut Vec<u8>)) {
    let start = out.len();
    out.extend_from_slice(&[0, 0, 0, 0, kind]);
    body(out);
    let length = (out.len() - start - 4) as u32;
    out[start..start + 4].copy_from_slice(&length.to_le_bytes());
}

/// Kind and body of the frame at the front of `bytes`, and the length of all of it; `None` while it is
/// incomplete.
pub(super) fn unframed(bytes: &[u8], max: usize) -> Result<Option<(&[u8], usize)>, FrameError> {
    let Some((head, rest)) = bytes.split_first_chunk::<4>() else { return Ok(None) };
    let found = u32::from_le_bytes(*head) as usize;
    if found == 0 || found > max {
        return Err(FrameError::Length { found, max });
    }
    Ok(rest.get(..found).map(|body| (body, 4 + found)))
}
