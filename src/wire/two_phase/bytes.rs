//! The frames as bytes. The parts that a participant's log is made of too are public.

use std::sync::Arc;

use super::{
    Blob, Change, Frame, Greeting, Key, MAX_FRAME, MAX_ITEMS, Members, No, Report, TxnId, View,
    ViewId,
};
use crate::wire::codec::{CodecError, Reader, put_bytes};
use crate::wire::frame::{FrameError, framed, unframed};

const GREETING: u8 = 1;
const REPORT: u8 = 2;
const REFUSED: u8 = 3;
const PREPARE: u8 = 4;
const PREPARED: u8 = 5;
const NO: u8 = 6;
const COMMIT: u8 = 7;
const ABORT: u8 = 8;
const DONE: u8 = 9;
const READ: u8 = 10;
const VALUE: u8 = 11;
const HEARTBEAT: u8 = 12;
const ALIVE: u8 = 13;
const INSTALL: u8 = 14;
const INSTALLED: u8 = 15;
const JOIN: u8 = 16;
const JOINED: u8 = 17;
const FETCH: u8 = 18;
const CHUNK: u8 = 19;
const STORE: u8 = 20;
const STORED: u8 = 21;

fn put_u64(out: &mut Vec<u8>, n: u64) {
    out.extend_from_slice(&n.to_le_bytes());
}

fn put_count(out: &mut Vec<u8>, n: usize) {
    // Bounded by MAX_ITEMS.
    out.extend_from_slice(&(n as u32).to_le_bytes());
}

/// Appends the number of a transaction, without a frame around it.
pub fn put_txn(out: &mut Vec<u8>, txn: TxnId) {
    put_u64(out, txn.incarnation);
    put_u64(out, txn.sequence);
}

fn put_txns(out: &mut Vec<u8>, txns: &[TxnId]) {
    put_count(out, txns.len());
    txns.iter().for_each(|txn| put_txn(out, *txn));
}

fn put_view_id(out: &mut Vec<u8>, id: ViewId) {
    put_u64(out, id.epoch);
    put_u64(out, id.maker);
}

/// Appends a view, without a frame around it.
pub fn put_view(out: &mut Vec<u8>, view: View) {
    put_view_id(out, view.id);
    out.extend_from_slice(&view.members.0.to_le_bytes());
}

/// Appends what a transaction does, without a frame around it.
pub fn put_change(out: &mut Vec<u8>, change: &Change) {
    match change {
        Change::Set { key, value } => {
            out.push(1);
            put_bytes(out, key);
            put_bytes(out, value);
        }
        Change::Delete { keys } => {
            out.push(2);
            put_count(out, keys.len());
            keys.iter().for_each(|key| put_bytes(out, key));
        }
    }
}

/// Appends entries, without a frame around them.
pub fn put_entries(out: &mut Vec<u8>, entries: &[(Key, Blob)]) {
    put_count(out, entries.len());
    for (key, value) in entries {
        put_bytes(out, key);
        put_bytes(out, value);
    }
}

/// Appends a [`Frame::Prepare`] without taking what it carries.
pub fn put_prepare(out: &mut Vec<u8>, txn: TxnId, view: ViewId, change: &Change) {
    framed(out, PREPARE, |out| {
        put_txn(out, txn);
        put_view_id(out, view);
        put_change(out, change);
    });
}

/// Appends a [`Frame::Store`] without taking what it carries.
pub fn put_store(out: &mut Vec<u8>, copy: u64, entries: &[(Key, Blob)]) {
    framed(out, STORE, |out| {
        put_u64(out, copy);
        put_entries(out, entries);
    });
}

/// Reads what [`put_txn`] wrote.
pub fn take_txn(r: &mut Reader<'_>) -> Result<TxnId, CodecError> {
    Ok(TxnId { incarnation: r.u64()?, sequence: r.u64()? })
}

fn take_count(r: &mut Reader<'_>, least: usize) -> Result<usize, CodecError> {
    match r.count(least)? {
        n if n > MAX_ITEMS => Err(CodecError::Items { max: MAX_ITEMS, found: n }),
        n => Ok(n),
    }
}

fn take_txns(r: &mut Reader<'_>) -> Result<Vec<TxnId>, CodecError> {
    let n = take_count(r, 16)?;
    (0..n).map(|_| take_txn(r)).collect()
}

fn take_view_id(r: &mut Reader<'_>) -> Result<ViewId, CodecError> {
    Ok(ViewId { epoch: r.u64()?, maker: r.u64()? })
}

/// Reads what [`put_view`] wrote.
pub fn take_view(r: &mut Reader<'_>) -> Result<View, CodecError> {
    let id = take_view_id(r)?;
    let low = u128::from(r.u64()?);
    Ok(View { id, members: Members(low | u128::from(r.u64()?) << 64) })
}

fn take_key(r: &mut Reader<'_>) -> Result<Key, CodecError> {
    Ok(r.bytes()?.into())
}

fn take_blob(r: &mut Reader<'_>) -> Result<Blob, CodecError> {
    Ok(Arc::new(r.bytes()?.to_vec()))
}

/// Reads what [`put_change`] wrote.
pub fn take_change(r: &mut Reader<'_>) -> Result<Change, CodecError> {
    Ok(match r.u8()? {
        1 => Change::Set { key: take_key(r)?, value: take_blob(r)? },
        2 => {
            let n = take_count(r, 4)?;
            Change::Delete { keys: (0..n).map(|_| take_key(r)).collect::<Result<_, _>>()? }
        }
        tag => return Err(CodecError::Tag { what: "a change", tag }),
    })
}

/// Reads what [`put_entries`] wrote.
pub fn take_entries(r: &mut Reader<'_>) -> Result<Vec<(Key, Blob)>, CodecError> {
    let n = take_count(r, 8)?;
    (0..n).map(|_| Ok((take_key(r)?, take_blob(r)?))).collect()
}

impl Frame {
    /// Appends the frame.
    pub fn encode(&self, out: &mut Vec<u8>) {
        match self {
            Frame::Prepare { txn, view, change } => {
                put_prepare(out, *txn, *view, change);
            }
            Frame::Store { copy, entries } => put_store(out, *copy, entries),
            _ => framed(out, self.kind(), |out| self.put_body(out)),
        }
    }

    fn kind(&self) -> u8 {
        match self {
            Frame::Greeting(_) => GREETING,
            Frame::Report(_) => REPORT,
            Frame::Refused { .. } => REFUSED,
            Frame::Prepare { .. } => PREPARE,
            Frame::Prepared { .. } => PREPARED,
            Frame::No { .. } => NO,
            Frame::Commit(_) => COMMIT,
            Frame::Abort(_) => ABORT,
            Frame::Done(_) => DONE,
            Frame::Read { .. } => READ,
            Frame::Value { .. } => VALUE,
            Frame::Heartbeat { .. } => HEARTBEAT,
            Frame::Alive { .. } => ALIVE,
            Frame::Install { .. } => INSTALL,
            Frame::Installed(_) => INSTALLED,
            Frame::Join { .. } => JOIN,
            Frame::Joined { .. } => JOINED,
            Frame::Fetch { .. } => FETCH,
            Frame::Chunk { .. } => CHUNK,
            Frame::Store { .. } => STORE,
            Frame::Stored { .. } => STORED,
        }
    }

    fn put_body(&self, out: &mut Vec<u8>) {
        match self {
            Frame::Greeting(g) => {
                put_u64(out, g.incarnation);
                out.extend_from_slice(&g.you.to_le_bytes());
                out.extend_from_slice(&g.participants.to_le_bytes());
            }
            Frame::Report(report) => put_report(out, report),
            Frame::Refused { newest: n }
            | Frame::Alive { number: n }
            | Frame::Join { copy: n }
            | Frame::Joined { copy: n }
            | Frame::Stored { copy: n } => put_u64(out, *n),
            Frame::Prepared { txn, held } => {
                put_txn(out, *txn);
                put_u64(out, *held);
            }
            Frame::No { txn, why } => {
                put_txn(out, *txn);
                out.push(match why {
                    No::Full => 1,
                    No::View => 2,
                    No::Refuses => 3,
                });
            }
            Frame::Commit(txn) | Frame::Abort(txn) | Frame::Done(txn) => put_txn(out, *txn),
            Frame::Read { id, key } => {
                put_u64(out, *id);
                put_bytes(out, key);
            }
            Frame::Value { id, value } => {
                put_u64(out, *id);
                out.push(value.is_some().into());
                out.extend_from_slice(value.as_deref().map_or(&[], Vec::as_slice));
            }
            Frame::Heartbeat { number, heard, finished } => {
                put_u64(out, *number);
                put_u64(out, *heard);
                put_txn(out, *finished);
            }
            Frame::Install { view, fresh, resolve } => {
                put_view(out, *view);
                out.extend_from_slice(&[(*fresh).into(), resolve.is_some().into()]);
                resolve.iter().for_each(|txns| put_txns(out, txns));
            }
            Frame::Installed(id) => put_view_id(out, *id),
            Frame::Fetch { copy, after, bytes } => {
                put_u64(out, *copy);
                out.extend_from_slice(&bytes.to_le_bytes());
                out.push(after.is_some().into());
                out.extend_from_slice(after.as_deref().unwrap_or_default());
            }
            Frame::Chunk { copy, end, entries } => {
                put_u64(out, *copy);
                out.push((*end).into());
                put_entries(out, entries);
            }
            Frame::Prepare { .. } | Frame::Store { .. } => {
                unreachable!("they have functions of their own")
            }
        }
    }

    /// Reads the frame at the front of `bytes`: the frame and its length, or `None` while it is incomplete.
    ///
    /// # Errors
    /// When the bytes can not become a frame whatever follows.
    pub fn decode(bytes: &[u8]) -> Result<Option<(Frame, usize)>, FrameError> {
        match unframed(bytes, MAX_FRAME)? {
            Some((body, length)) => Ok(Some((Self::decode_body(body)?, length))),
            None => Ok(None),
        }
    }

    fn decode_body(body: &[u8]) -> Result<Frame, FrameError> {
        let mut r = Reader::new(body);
        let frame = match r.u8()? {
            GREETING => Frame::Greeting(Greeting {
                incarnation: r.u64()?,
                you: r.u16()?,
                participants: r.u16()?,
            }),
            REPORT => Frame::Report(take_report(&mut r)?),
            REFUSED => Frame::Refused { newest: r.u64()? },
            PREPARE => Frame::Prepare {
                txn: take_txn(&mut r)?,
                view: take_view_id(&mut r)?,
                change: take_change(&mut r)?,
            },
            PREPARED => Frame::Prepared { txn: take_txn(&mut r)?, held: r.u64()? },
            NO => Frame::No { txn: take_txn(&mut r)?, why: take_no(&mut r)? },
            COMMIT => Frame::Commit(take_txn(&mut r)?),
            ABORT => Frame::Abort(take_txn(&mut r)?),
            DONE => Frame::Done(take_txn(&mut r)?),
            READ => Frame::Read { id: r.u64()?, key: take_key(&mut r)? },
            VALUE => Frame::Value {
                id: r.u64()?,
                value: take_optional(&mut r)?.map(|value| Arc::new(value.to_vec())),
            },
            HEARTBEAT => {
                Frame::Heartbeat { number: r.u64()?, heard: r.u64()?, finished: take_txn(&mut r)? }
            }
            ALIVE => Frame::Alive { number: r.u64()? },
            INSTALL => {
                let (view, fresh) = (take_view(&mut r)?, r.flag()?);
                let resolve = if r.flag()? { Some(take_txns(&mut r)?) } else { None };
                Frame::Install { view, fresh, resolve }
            }
            INSTALLED => Frame::Installed(take_view_id(&mut r)?),
            JOIN => Frame::Join { copy: r.u64()? },
            JOINED => Frame::Joined { copy: r.u64()? },
            FETCH => {
                let (copy, bytes) = (r.u64()?, r.u32()?);
                Frame::Fetch { copy, bytes, after: take_optional(&mut r)?.map(Key::from) }
            }
            CHUNK => {
                Frame::Chunk { copy: r.u64()?, end: r.flag()?, entries: take_entries(&mut r)? }
            }
            STORE => Frame::Store { copy: r.u64()?, entries: take_entries(&mut r)? },
            STORED => Frame::Stored { copy: r.u64()? },
            kind => return Err(FrameError::Kind(kind)),
        };
        r.finish()?;
        Ok(frame)
    }
}

/// What is left, where a flag says that there is something; nothing may be left otherwise.
fn take_optional<'a>(r: &mut Reader<'a>) -> Result<Option<&'a [u8]>, CodecError> {
    Ok(if r.flag()? { Some(r.rest()) } else { None })
}

fn take_no(r: &mut Reader<'_>) -> Result<No, CodecError> {
    Ok(match r.u8()? {
        1 => No::Full,
        2 => No::View,
        3 => No::Refuses,
        tag => return Err(CodecError::Tag { what: "a reason for NO", tag }),
    })
}

fn put_report(out: &mut Vec<u8>, report: &Report) {
    for n in [report.to, report.life, report.seen] {
        put_u64(out, n);
    }
    out.push(report.witness.into());
    put_view(out, report.view);
    out.extend_from_slice(&report.me.to_le_bytes());
    put_txns(out, &report.prepared);
    put_txns(out, &report.committed);
}

fn take_report(r: &mut Reader<'_>) -> Result<Report, CodecError> {
    Ok(Report {
        to: r.u64()?,
        life: r.u64()?,
        seen: r.u64()?,
        witness: r.flag()?,
        view: take_view(r)?,
        me: r.u16()?,
        prepared: take_txns(r)?,
        committed: take_txns(r)?,
    })
}
