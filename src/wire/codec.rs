//! Operations as bytes: fixed-width little-endian numbers, and byte strings behind a 32-bit length.
//!
//! Used in peer frames and in the notes of undelivered broadcasts in `storage.txt`. The encoding is not
//! self-describing; the version in a link's preface and in the header of `storage.txt` stands for it.

use thiserror::Error;

use crate::base::{Arithmetic, End, Op, ReplicaId, StoreRule, Value, limits};

/// Why bytes are not what they should be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum CodecError {
    /// The bytes end too early.
    #[error("expected {expected} more bytes, found {found}")]
    Short {
        /// How many bytes the next field needs.
        expected: usize,
        /// How many there are.
        found: usize,
    },
    /// A tag that no variant has.
    #[error("expected {what}, found tag {tag}")]
    Tag {
        /// What was being read.
        what: &'static str,
        /// The tag.
        tag: u8,
    },
    /// Bytes are left behind the last field.
    #[error("{0} bytes too many behind the last field")]
    Trailing(usize),
    /// More of something than a frame may hold.
    #[error("expected at most {max} items, found {found}")]
    Items {
        /// The most.
        max: usize,
        /// How many are announced.
        found: usize,
    },
    /// A replica that no cluster has.
    #[error("expected a replica below {max}, found {found}", max = limits::MAX_REPLICAS)]
    Replica {
        /// Its number.
        found: u16,
    },
    /// A key that is too long.
    #[error("expected a key of at most {max} bytes, found {found}", max = limits::LONGEST_KEY)]
    Key {
        /// Its length.
        found: usize,
    },
}

/// Refuses a replica that no cluster has, before anything is as large as its number.
pub(super) fn check_replica(id: ReplicaId) -> Result<(), CodecError> {
    if id.0 < limits::MAX_REPLICAS { Ok(()) } else { Err(CodecError::Replica { found: id.0 }) }
}

/// Reads fields off the front of a slice.
#[derive(Debug)]
pub struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    /// Reads `bytes` from their first.
    pub fn new(bytes: &'a [u8]) -> Self {
        Self(bytes)
    }

    /// The next `n` bytes.
    pub fn take(&mut self, n: usize) -> Result<&'a [u8], CodecError> {
        match self.0.split_at_checked(n) {
            Some((head, tail)) => {
                self.0 = tail;
                Ok(head)
            }
            None => Err(CodecError::Short { expected: n, found: self.0.len() }),
        }
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], CodecError> {
        let found = self.0.len();
        let (head, tail) =
            self.0.split_first_chunk::<N>().ok_or(CodecError::Short { expected: N, found })?;
        self.0 = tail;
        Ok(*head)
    }

    /// The next byte.
    pub fn u8(&mut self) -> Result<u8, CodecError> {
        Ok(u8::from_le_bytes(self.array()?))
    }

    /// The next two bytes as a number.
    pub fn u16(&mut self) -> Result<u16, CodecError> {
        Ok(u16::from_le_bytes(self.array()?))
    }

    /// The next four bytes as a number.
    pub fn u32(&mut self) -> Result<u32, CodecError> {
        Ok(u32::from_le_bytes(self.array()?))
    }

    /// The next eight bytes as a number.
    pub fn u64(&mut self) -> Result<u64, CodecError> {
        Ok(u64::from_le_bytes(self.array()?))
    }

    /// A byte string behind its length.
    pub fn bytes(&mut self) -> Result<&'a [u8], CodecError> {
        let n = self.u32()? as usize;
        self.take(n)
    }

    /// The next byte as yes or no.
    pub fn flag(&mut self) -> Result<bool, CodecError> {
        match self.u8()? {
            0 => Ok(false),
            1 => Ok(true),
            tag => Err(CodecError::Tag { what: "a flag of 0 or 1", tag }),
        }
    }

    /// A count of things that take at least `least` bytes each: never more than there is room for.
    pub fn count(&mut self, least: usize) -> Result<usize, CodecError> {
        let n = self.u32()? as usize;
        let expected = n.saturating_mul(least);
        if expected > self.0.len() {
            return Err(CodecError::Short { expected, found: self.0.len() });
        }
        Ok(n)
    }

    /// All that is left.
    pub fn rest(&mut self) -> &'a [u8] {
        std::mem::take(&mut self.0)
    }

    /// Fails if anything is left.
    pub fn finish(self) -> Result<(), CodecError> {
        if self.0.is_empty() { Ok(()) } else { Err(CodecError::Trailing(self.0.len())) }
    }

    pub(super) fn key(&mut self) -> Result<Box<[u8]>, CodecError> {
        let key = self.bytes()?;
        if key.len() > limits::LONGEST_KEY {
            return Err(CodecError::Key { found: key.len() });
        }
        Ok(key.into())
    }

    fn keys(&mut self) -> Result<Vec<Box<[u8]>>, CodecError> {
        // The announced count is not trusted with an allocation: the vector grows as keys are found.
        let n = self.u32()?;
        let mut keys = Vec::new();
        for _ in 0..n {
            keys.push(self.key()?);
        }
        Ok(keys)
    }

    pub(super) fn value(&mut self) -> Result<Value, CodecError> {
        Ok(Value { flags: self.u32()?, expires: self.u64()?, data: self.bytes()?.into() })
    }
}

/// Appends a byte string behind its length.
pub fn put_bytes(out: &mut Vec<u8>, bytes: &[u8]) {
    // Bounded far below 4 GiB by the limits on requests and by `peer::MAX_FRAME`.
    out.extend_from_slice(&(bytes.len() as u32).to_le_bytes());
    out.extend_from_slice(bytes);
}

fn put_keys(out: &mut Vec<u8>, keys: &[Box<[u8]>]) {
    out.extend_from_slice(&(keys.len() as u32).to_le_bytes());
    for key in keys {
        put_bytes(out, key);
    }
}

pub(super) fn put_value(out: &mut Vec<u8>, value: &Value) {
    out.extend_from_slice(&value.flags.to_le_bytes());
    out.extend_from_slice(&value.expires.to_le_bytes());
    put_bytes(out, &value.data);
}

/// Appends an operation.
pub fn put_op(out: &mut Vec<u8>, op: &Op) {
    match op {
        Op::Store { key, value, rule } => {
            out.push(1);
            put_rule(out, *rule);
            put_bytes(out, key);
            put_value(out, value);
        }
        Op::StoreMany(entries) => {
            out.push(2);
            out.extend_from_slice(&(entries.len() as u32).to_le_bytes());
            for (key, value) in entries {
                put_bytes(out, key);
                put_value(out, value);
            }
        }
        Op::Concat { key, data, end, create, max_value } => {
            out.push(3);
            out.push(u8::from(*end == End::Front) | u8::from(*create) << 1);
            out.extend_from_slice(&(*max_value as u64).to_le_bytes());
            put_bytes(out, key);
            put_bytes(out, data);
        }
        Op::Count { key, by } => {
            out.push(4);
            let (tag, bits) = match *by {
                Arithmetic::WrappingAdd(delta) => (0, delta),
                Arithmetic::SaturatingSub(delta) => (1, delta),
                Arithmetic::Signed(delta) => (2, delta as u64),
            };
            out.push(tag);
            out.extend_from_slice(&bits.to_le_bytes());
            put_bytes(out, key);
        }
        Op::Touch { keys, expires } => {
            out.push(5);
            out.extend_from_slice(&expires.to_le_bytes());
            put_keys(out, keys);
        }
        Op::Delete { keys } => {
            out.push(6);
            put_keys(out, keys);
        }
        Op::FlushAll { at } => {
            out.push(7);
            out.extend_from_slice(&at.to_le_bytes());
        }
        Op::OpenSession => out.push(8),
        Op::Once { session, sequence, op } => {
            out.push(9);
            out.extend_from_slice(&session.to_le_bytes());
            out.extend_from_slice(&sequence.to_le_bytes());
            put_op(out, op);
        }
    }
}

fn put_rule(out: &mut Vec<u8>, rule: StoreRule) {
    match rule {
        StoreRule::Always => out.push(0),
        StoreRule::IfAbsent => out.push(1),
        StoreRule::IfPresent => out.push(2),
        StoreRule::IfUnique(unique) => {
            out.push(3);
            out.extend_from_slice(&unique.to_le_bytes());
        }
    }
}

fn take_rule(r: &mut Reader<'_>) -> Result<StoreRule, CodecError> {
    Ok(match r.u8()? {
        0 => StoreRule::Always,
        1 => StoreRule::IfAbsent,
        2 => StoreRule::IfPresent,
        3 => StoreRule::IfUnique(r.u64()?),
        tag => return Err(CodecError::Tag { what: "a store rule", tag }),
    })
}

/// Reads an operation that [`put_op`] wrote.
pub fn take_op(r: &mut Reader<'_>) -> Result<Op, CodecError> {
    match r.u8()? {
        8 => Ok(Op::OpenSession),
        9 => {
            let (session, sequence, tag) = (r.u64()?, r.u64()?, r.u8()?);
            Ok(Op::Once { session, sequence, op: Box::new(take_plain_op(r, tag)?) })
        }
        tag => take_plain_op(r, tag),
    }
}

/// Reads an operation that is not about sessions: so one that holds another holds no third.
fn take_plain_op(r: &mut Reader<'_>, tag: u8) -> Result<Op, CodecError> {
    Ok(match tag {
        1 => Op::Store { rule: take_rule(r)?, key: r.key()?, value: r.value()? },
        2 => {
            let n = r.u32()?;
            let mut entries = Vec::new();
            for _ in 0..n {
                entries.push((r.key()?, r.value()?));
            }
            Op::StoreMany(entries)
        }
        3 => {
            let bits = r.u8()?;
            if bits > 3 {
                return Err(CodecError::Tag { what: "the bits of a concatenation", tag: bits });
            }
            let max_value = usize::try_from(r.u64()?).unwrap_or(usize::MAX);
            Op::Concat {
                key: r.key()?,
                data: r.bytes()?.into(),
                end: if bits & 1 != 0 { End::Front } else { End::Back },
                create: bits & 2 != 0,
                max_value: max_value.min(limits::HIGHEST_MAX_VALUE),
            }
        }
        4 => {
            let tag = r.u8()?;
            let bits = r.u64()?;
            let by = match tag {
                0 => Arithmetic::WrappingAdd(bits),
                1 => Arithmetic::SaturatingSub(bits),
                2 => Arithmetic::Signed(bits as i64),
                tag => return Err(CodecError::Tag { what: "an arithmetic", tag }),
            };
            Op::Count { key: r.key()?, by }
        }
        5 => Op::Touch { expires: r.u64()?, keys: r.keys()? },
        6 => Op::Delete { keys: r.keys()? },
        7 => Op::FlushAll { at: r.u64()? },
        tag => return Err(CodecError::Tag { what: "an operation", tag }),
    })
}
