//! What a bench can speak. The load, the clock and the histograms are the same for all of them.

use std::{fmt, str::FromStr};

use crate::client::Protocol as Dialect;

/// The protocol of a bench.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Protocol {
    /// A dialect of the replicas: memcached or RESP.
    Replica(Dialect),
    /// The simplified RESP of the two-phase commit lab.
    SimpleResp,
    /// etcd's HTTP gateway.
    Etcd,
}

/// All of them, by the names that `--protocol` takes.
const NAMES: [(&str, Protocol); 4] = [
    ("memcached", Protocol::Replica(Dialect::Memcached)),
    ("resp", Protocol::Replica(Dialect::Resp)),
    ("simple-resp", Protocol::SimpleResp),
    ("etcd", Protocol::Etcd),
];

impl FromStr for Protocol {
    type Err = String;

    fn from_str(name: &str) -> Result<Self, Self::Err> {
        let found = NAMES.iter().find(|(known, _)| *known == name);
        found.map(|(_, protocol)| *protocol).ok_or_else(|| {
            let names: Vec<&str> = NAMES.iter().map(|(known, _)| *known).collect();
            format!("expected one of {}", names.join(", "))
        })
    }
}

impl fmt::Display for Protocol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let found = NAMES.iter().find(|(_, protocol)| protocol == self);
        f.write_str(found.map_or("unknown", |(name, _)| name))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_read_as_they_are_written() {
        for (name, protocol) in NAMES {
            assert_eq!(name.parse(), Ok(protocol));
            assert_eq!(protocol.to_string(), name);
        }
        assert!("http".parse::<Protocol>().is_err_and(|why| why.contains("simple-resp")));
    }
}
