//! How large things may be. Every bound that a client can run into is here, with memcached's numbers.

/// The longest key in bytes, as in memcached, for clients that speak memcached's protocol or RESP.
pub const MAX_KEY: usize = 250;

/// The longest key of a dialect that does not have memcached's bound, and so the longest that the store and the
/// links between replicas see.
pub const LONGEST_KEY: usize = 1024 * 1024;

/// What the keys of clients' sessions begin with, which are entries of the table too. No client's key does.
pub const SESSION_KEY: &[u8] = b"\0session:";

/// The default bound of one value in bytes, as in memcached; `--max-value` changes it.
pub const DEFAULT_MAX_VALUE: usize = 1024 * 1024;

/// The largest value that `--max-value` can allow: a peer frame must still fit its length field.
pub const HIGHEST_MAX_VALUE: usize = 512 * 1024 * 1024;

/// The longest command line (without its value) in bytes: 100 keys of the greatest length fit.
pub const MAX_LINE: usize = 64 * 1024;

/// The most keys or arguments one command may name.
pub const MAX_ARGUMENTS: usize = 1024 * 1024;

/// The most replicas of a cluster: each holds a link to every other, and a bit for each in every pending
/// message.
pub const MAX_REPLICAS: u16 = 128;

/// The bounds that a server can be started with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// The longest value in bytes.
    pub max_value: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self { max_value: DEFAULT_MAX_VALUE }
    }
}
