//! Blocking clients: of a replica, in memcached text or RESP ([`Client`]); of several, whose failures it outlives
//! ([`RetryingClient`]); of a two-phase commit store ([`SimpleRespClient`]); of a hash table ([`TableClient`]) and of
//! a whole cluster of them ([`cluster`]); of a catalog; of etcd ([`EtcdClient`]), to measure it beside ours.
//! [`routing`] says which nodes hold a key.
//!
//! One [`Client`] is one TCP connection (with TCP_NODELAY) and two reused buffers. Commands are queued,
//! sent in one write, and their replies are read in order, so that a pipelined batch of n commands
//! costs one `write` and, as a rule, one `read`. Nothing is allocated per command on that path.
//!
//! What goes over the wire is [`crate::wire`]'s affair; here a reply is judged against the command that it
//! answers.
//!
//! Every failure tells what is known of the operation ([`ClientError::certainty`]): `Fail` means that it
//! definitely did not take effect, `Unknown` that it may have, now or later. A timeout or a connection
//! lost after the request was sent is never `Fail`.
//!
//! Caveats. The timeout bounds each single read and write, so a peer that sends a byte now and then can
//! hold a client for longer. A batch whose requests *and* replies both exceed the socket buffers of
//! both ends stalls until the timeout, because the replies are read only after everything is written;
//! keep a batch below a few hundred kilobytes a direction.

pub mod catalog;
pub mod cluster;
mod connection;
mod error;
mod etcd;
mod retrying;
pub mod routing;
mod session;
mod simple_resp;
pub mod table;
mod words;

pub use connection::{Connection, Options};
pub use error::{Certainty, ClientError};
pub use etcd::EtcdClient;
pub use retrying::RetryingClient;
pub use session::{Ask, Client, Reply, Request, check_key};
pub use simple_resp::SimpleRespClient;
pub use table::TableClient;
pub use words::{Words, help_text, translate};

/// The protocol that a client speaks; `--protocol` chooses it.
pub use crate::wire::Dialect as Protocol;

/// Where a client goes when it is not told otherwise: the client port of replica 0.
pub const DEFAULT_TO: &str = "127.0.0.1:9889";

/// What every client of a store can do; each call is one round trip at the least.
#[expect(missing_docs, reason = "the clients' own methods tell")]
#[expect(clippy::missing_errors_doc, reason = "the clients' own methods tell")]
pub trait KeyValue {
    fn protocol(&self) -> Protocol;
    fn get(&mut self, key: &[u8]) -> Result<Option<Vec<u8>>, ClientError>;
    fn set(&mut self, key: &[u8], value: &[u8]) -> Result<(), ClientError>;
    fn delete(&mut self, key: &[u8]) -> Result<bool, ClientError>;
}

macro_rules! key_value {
    ($client:ty, $protocol:expr) => {
        impl KeyValue for $client {
            fn protocol(&self) -> Protocol {
                $protocol(self)
            }

            fn get(&mut self, key: &[u8]) -> Result<Option<Vec<u8>>, ClientError> {
                <$client>::get(self, key)
            }

            fn set(&mut self, key: &[u8], value: &[u8]) -> Result<(), ClientError> {
                <$client>::set(self, key, value)
            }

            fn delete(&mut self, key: &[u8]) -> Result<bool, ClientError> {
                <$client>::delete(self, key)
            }
        }
    };
}

key_value!(Client, Client::protocol);
key_value!(RetryingClient, |_: &RetryingClient| Protocol::Resp);
