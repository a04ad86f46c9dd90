//! What the lines mean to one hash table.
//!
//! Changes that come together in one read are committed together, in [`Service::settle`]: a client that
//! sends many requests without waiting pays for one sync. Any other request first settles what came before
//! it, so that a client always sees its own changes.
//!
//! **Scan** looks at the table in pieces of about a thousand entries. Each piece is taken under the table's
//! lock in microseconds; matching and sending need no lock, and the reply is sent as it grows. So a scan sees
//! no single moment: every key that is there from its beginning to its end is returned exactly once, with a
//! value that it had in between; one that comes or goes meanwhile may be there or not, and one that is
//! removed and inserted again may be there twice.

use std::borrow::Cow;
use std::io;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use crossbeam_channel::Sender;
use serde_json::json;

use super::regex;
use crate::runtime::line_server::{Flow, Refusal, Replies, Service};
use crate::storage::hash_table::{Answer, CommitError, Entry, HashTable, RealFolder, Write};
use crate::wire::lines::cluster::{
    Request, Trouble, begin_matches, end_matches, write_match, write_success, write_trouble,
    write_value,
};

/// A session's changes are committed before its read is over when they have so many bytes.
const BATCH_BYTES: usize = 1 << 20;

/// How many compactions `status` tells of.
const COMPACTION_LOG: usize = 1000;

/// How many characters of a key an error quotes.
const SHOWN_KEY: usize = 200;

/// The compactions since the start.
#[derive(Debug, Default)]
pub(super) struct Compactions {
    /// How many have ended.
    pub count: u64,
    /// The last ones: begun and ended, in microseconds since 1970.
    pub last: std::collections::VecDeque<[u64; 2]>,
}

impl Compactions {
    pub(super) fn note(&mut self, begun: u64, ended: u64) {
        self.count += 1;
        if self.last.len() == COMPACTION_LOG {
            self.last.pop_front();
        }
        self.last.push_back([begun, ended]);
    }
}

/// The table and what is told of it.
pub(super) struct Tables {
    /// The server's name, by which a client tells whether it has found the right one.
    pub name: String,
    pub table: HashTable<RealFolder>,
    pub compactions: Mutex<Compactions>,
    pub connections: Arc<AtomicUsize>,
    /// Why the server cannot go on.
    pub failed: Sender<String>,
}

/// One connection.
pub(super) struct Session {
    /// Changes that are not committed yet.
    writes: Vec<Write>,
    bytes: usize,
    connections: Arc<AtomicUsize>,
}

impl Drop for Session {
    fn drop(&mut self) {
        self.connections.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Tables {
    /// Passes on that the disk has failed.
    pub(super) fn report_failure(&self) {
        if let Some(why) = self.table.failure() {
            // Full: it has been told before.
            let _ = self.failed.try_send(why.to_owned());
        }
    }

    /// Commits what has gathered and appends the replies.
    fn commit(&self, session: &mut Session, out: &mut Vec<u8>) -> Flow {
        if session.writes.is_empty() {
            return Flow::GoOn;
        }
        session.bytes = 0;
        let writes = std::mem::take(&mut session.writes);
        let keys: Vec<Option<String>> = writes
            .iter()
            .map(|write| match write {
                Write::Remove(key) => Some(shown(key).into_owned()),
                Write::Insert(_) => None,
            })
            .collect();
        match self.table.commit(writes) {
            Ok(answers) => {
                for (answer, key) in answers.into_iter().zip(keys) {
                    match answer {
                        Answer::Inserted => write_success(out),
                        Answer::Removed(Some(entry)) => write_value(out, entry.value()),
                        Answer::Removed(None) => no_such_key(out, &key.unwrap_or_default()),
                    }
                }
                Flow::GoOn
            }
            Err(CommitError::Refused(why)) => {
                keys.iter().for_each(|_| write_trouble(out, Trouble::Unavailable, &why));
                self.report_failure();
                Flow::GoOn
            }
            // Whether it happened nobody knows, and no reply says so: the connection is closed.
            Err(CommitError::Failed(_)) => {
                self.report_failure();
                Flow::Close
            }
        }
    }

    fn request(
        &self,
        session: &mut Session,
        request: Request<'_>,
        out: &mut Replies<'_>,
    ) -> io::Result<Flow> {
        let write = match request {
            Request::Insert { key, value } => Write::Insert(Entry::new(&key, value.get())),
            // What is not there is not removed, and that needs no disk.
            Request::Remove { ref key }
                if session.writes.is_empty() && self.table.lookup(key).is_none() =>
            {
                no_such_key(&mut out.bytes, &shown(key));
                return Ok(Flow::GoOn);
            }
            Request::Remove { key } => Write::Remove(key.into()),
            other => {
                if self.commit(session, &mut out.bytes) == Flow::Close {
                    return Ok(Flow::Close);
                }
                self.read(other, out)?;
                return Ok(Flow::GoOn);
            }
        };
        session.bytes += write.cost();
        session.writes.push(write);
        let full = session.bytes >= BATCH_BYTES;
        Ok(if full { self.commit(session, &mut out.bytes) } else { Flow::GoOn })
    }

    fn read(&self, request: Request<'_>, out: &mut Replies<'_>) -> io::Result<()> {
        match request {
            Request::Lookup { key } => match self.table.lookup(&key) {
                Some(entry) => write_value(&mut out.bytes, entry.value()),
                None => no_such_key(&mut out.bytes, &shown(&key)),
            },
            Request::Scan { regex } => match regex::compile(&regex) {
                Ok(regex) => return self.scan(&regex, out),
                Err(why) => write_trouble(&mut out.bytes, Trouble::Invalid, &why),
            },
            Request::Status => write_value(&mut out.bytes, &self.status()),
            Request::Insert { .. } | Request::Remove { .. } => {}
        }
        Ok(())
    }

    fn scan(&self, regex: &::regex::Regex, out: &mut Replies<'_>) -> io::Result<()> {
        begin_matches(&mut out.bytes);
        let (mut walk, mut found, mut first) = (self.table.walk(), Vec::new(), true);
        while self.table.step(&mut walk, &mut found) {
            for entry in found.drain(..) {
                if regex.is_match(entry.key()) {
                    write_match(&mut out.bytes, first, entry.key(), entry.value());
                    first = false;
                    out.flush_large()?;
                }
            }
        }
        end_matches(&mut out.bytes);
        Ok(())
    }

    fn status(&self) -> String {
        let size = self.table.size();
        let compactions = self.compactions.lock().unwrap_or_else(PoisonError::into_inner);
        json!({
            "name": self.name,
            "entries": size.entries,
            "bytes": size.bytes,
            "log_entries": size.log_entries,
            "compactions": compactions.count,
            "connections": self.connections.load(Ordering::Relaxed),
            "compaction_log": compactions.last,
        })
        .to_string()
    }
}

/// The beginning of a key, for a message.
fn shown(key: &str) -> Cow<'_, str> {
    match key.char_indices().nth(SHOWN_KEY) {
        Some((end, _)) => format!("{}...", &key[..end]).into(),
        None => key.into(),
    }
}

fn no_such_key(out: &mut Vec<u8>, shown: &str) {
    write_trouble(out, Trouble::Failed, &format!("no such key: {shown}"));
}

impl Service for Tables {
    type Session = Session;

    fn open(&self, _peer: SocketAddr) -> Session {
        self.connections.fetch_add(1, Ordering::Relaxed);
        Session { writes: Vec::new(), bytes: 0, connections: Arc::clone(&self.connections) }
    }

    fn line(&self, session: &mut Session, line: &[u8], out: &mut Replies<'_>) -> io::Result<Flow> {
        match Request::parse(line) {
            Ok(request) => self.request(session, request, out),
            Err(error) => {
                let flow = self.commit(session, &mut out.bytes);
                if flow == Flow::GoOn {
                    write_trouble(&mut out.bytes, Trouble::Invalid, &error.to_string());
                }
                Ok(flow)
            }
        }
    }

    fn settle(&self, session: &mut Session, out: &mut Replies<'_>) -> io::Result<Flow> {
        Ok(self.commit(session, &mut out.bytes))
    }

    fn refusal(&self, refusal: Refusal) -> Vec<u8> {
        let trouble = match refusal {
            Refusal::TooLong(_) => Trouble::Invalid,
            Refusal::OutOfMemory | Refusal::TooManyConnections | Refusal::OutOfThreads => {
                Trouble::Unavailable
            }
        };
        let mut line = Vec::new();
        write_trouble(&mut line, trouble, &refusal.to_string());
        line
    }
}
