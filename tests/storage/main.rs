//! `storage.txt`: its lines, its compaction, what a crash leaves behind, and what is shipped to a peer.

mod compact;
mod merge;
mod replay;
mod ship;
mod storage_support;
mod table;
