//! The catalog: who is where. Servers tell it of themselves by UDP, everybody asks it by HTTP.
//!
//! ```text
//! server --UDP--> {"type":"hashtable","owner":"me","port":9900,"project":"mytable-0"}
//! client --HTTP-> GET /query.json        the list, as JSON
//!                 GET /query.text        the same as lines `member value`
//!                 GET /                  a page for people
//! ```
//! The catalog adds `name` and `address` of the sender's host and `lastheardfrom` (seconds since 1970), and
//! forgets who has not been heard from for 15 minutes. Nothing is kept on disk: after a restart every server is
//! listed again within a minute.
//!
//! It is interchangeable with cctools' `catalog_server`: the same port for both protocols, the same members, the
//! same two formats, the same key (address, port and name). What differs: `name` is `localhost` or the address
//! itself, because asking a name server could hold up everybody; ports may be numbers in quotes; a sender's own `name`, `address` and
//! `lastheardfrom` are dropped, where the other lists some of them twice; and the other does not read all of
//! JSON (`\u00e9` is an error to it). Of the other's pages those for its own tools (`/query/EXPRESSION`) are missing.
//!
//! ```text
//! table      the registrations                        (pure: time is an argument)
//! pages      the table as JSON, text and HTML         (pure)
//! http       GET over lines
//! server     the threads
//! registrar  the other end: a server's thread that tells a catalog of it
//! ```

mod http;
mod pages;
mod registrar;
pub mod server;
mod table;

pub use registrar::Registrar;
