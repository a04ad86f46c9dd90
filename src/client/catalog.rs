//! The client side of a catalog: who is where, and telling it so.
//!
//! A catalog is asked over HTTP (`GET /query.json`: an array with an object for each server that it has heard
//! of lately) and told over UDP (one JSON object a datagram). That is what cctools' `catalog_server` does, and
//! our `servers catalog` likewise.
//!
//! Other people's servers are in a catalog too, and say of themselves what they like: what has no port or no
//! project is passed over.

use std::fmt;
use std::io::{ErrorKind, Read as _};
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, ToSocketAddrs, UdpSocket};
use std::time::Duration;

use serde::de::{IgnoredAny, MapAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::Value;

/// How long a host may take to say that nothing listens there.
const REFUSAL: Duration = Duration::from_millis(50);

/// How long a query may take, in seconds.
const TIMEOUT: u64 = 5;

/// The longest answer that is taken, in bytes.
const MAX_ANSWER: u64 = 16 << 20;

/// A server, as a catalog knows it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Registration {
    /// What it is: `hashtable`. The member is called `type`.
    pub kind: String,
    /// Whose it is.
    pub owner: String,
    /// Its name: `mytable-0`.
    pub project: String,
    /// Its port; 0 where it has none.
    pub port: u16,
    /// The name of its host.
    pub name: String,
    /// The address of its host, from which the catalog heard of it.
    pub address: String,
    /// When the catalog did, in seconds since 1970.
    pub lastheardfrom: u64,
}

/// What a server tells a catalog of itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Announcement {
    /// What it is: `hashtable`. The member is called `type`.
    #[serde(rename = "type")]
    pub kind: String,
    /// Whose it is.
    pub owner: String,
    /// Its port.
    pub port: u16,
    /// Its name: `mytable-0`.
    pub project: String,
}

/// Why a catalog could not be asked or told.
#[derive(Debug, thiserror::Error)]
pub enum CatalogError {
    /// It cannot be reached, or does not speak HTTP.
    #[error("the catalog {catalog} does not answer: {source}")]
    Http {
        /// Its address.
        catalog: String,
        /// What went wrong.
        source: minreq::Error,
    },
    /// Its answer is no list of servers.
    #[error("the catalog {catalog} does not answer with a list of servers: {why}")]
    Answer {
        /// Its address.
        catalog: String,
        /// What came instead.
        why: String,
    },
    /// It cannot be told.
    #[error("cannot register with the catalog {catalog}: {source}")]
    Announce {
        /// Its address.
        catalog: String,
        /// What the system says.
        source: std::io::Error,
    },
}

/// A catalog.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Catalog {
    address: String,
}

impl Catalog {
    /// The catalog at `HOST:PORT`.
    pub fn new(address: &str) -> Self {
        Self { address: address.to_owned() }
    }

    /// Its address.
    pub fn address(&self) -> &str {
        &self.address
    }

    /// All servers that it knows.
    ///
    /// # Errors
    /// It does not answer within 5 s, or not with a list.
    pub fn query(&self) -> Result<Vec<Registration>, CatalogError> {
        let failed = |source| CatalogError::Http { catalog: self.address.clone(), source };
        let wrong = |why: String| CatalogError::Answer { catalog: self.address.clone(), why };
        let url = format!("http://{}/query.json", self.address);
        let request = minreq::get(url).with_timeout(TIMEOUT).with_max_headers_size(64 * 1024);
        let answer = request.with_follow_redirects(false).send_lazy().map_err(failed)?;
        if answer.status_code != 200 {
            return Err(wrong(format!("status {}", answer.status_code)));
        }
        let mut text = Vec::new();
        let read = answer.take(MAX_ANSWER + 1).read_to_end(&mut text);
        read.map_err(|error| failed(minreq::Error::IoError(error)))?;
        if text.len() as u64 > MAX_ANSWER {
            return Err(wrong(format!("it is longer than {MAX_ANSWER} bytes")));
        }
        serde_json::from_slice(&text).map_err(|error| wrong(error.to_string()))
    }

    /// The servers of this name and kind, the one heard from last first. A server that was started again on
    /// another port is there twice for a while.
    ///
    /// # Errors
    /// As for [`Catalog::query`].
    pub fn find(&self, project: &str, kind: &str) -> Result<Vec<Registration>, CatalogError> {
        let mut found = self.query()?;
        found.retain(|one| one.project == project && one.kind == kind && one.port != 0);
        found.sort_by_key(|one| std::cmp::Reverse(one.lastheardfrom));
        Ok(found)
    }

    /// Tells it of a server, once. That a datagram has been sent does not say that it was received.
    ///
    /// # Errors
    /// The catalog's host has no address, or it is known that nothing listens there.
    pub fn announce(&self, announcement: &Announcement) -> Result<(), CatalogError> {
        let failed = |source| CatalogError::Announce { catalog: self.address.clone(), source };
        self.tell(announcement).map_err(failed)
    }

    fn tell(&self, announcement: &Announcement) -> std::io::Result<()> {
        let datagram = serde_json::to_vec(announcement)?;
        let mut last = ErrorKind::NotFound.into();
        for to in self.address.to_socket_addrs()? {
            match send(&datagram, to) {
                Ok(()) => return Ok(()),
                Err(error) => last = error,
            }
        }
        Err(last)
    }
}

fn send(datagram: &[u8], to: SocketAddr) -> std::io::Result<()> {
    let from: SocketAddr = match to {
        SocketAddr::V4(_) => (Ipv4Addr::UNSPECIFIED, 0).into(),
        SocketAddr::V6(_) => (Ipv6Addr::UNSPECIFIED, 0).into(),
    };
    let socket = UdpSocket::bind(from)?;
    socket.connect(to)?;
    socket.send(datagram)?;
    // Where nothing listens, the host says so, this one at once and another soon; or nobody says anything.
    socket.set_read_timeout(Some(REFUSAL))?;
    match socket.recv(&mut [0]) {
        Err(error) if error.kind() == ErrorKind::ConnectionRefused => Err(error),
        _ => Ok(()),
    }
}

impl<'de> Deserialize<'de> for Registration {
    fn deserialize<D: Deserializer<'de>>(input: D) -> Result<Self, D::Error> {
        input.deserialize_any(Members)
    }
}

/// Reads a registration. Members may be missing, of another type, or there twice: then the first counts, which
/// is the catalog's own where a server forges one.
struct Members;

impl<'de> Visitor<'de> for Members {
    type Value = Registration;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object for each server")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Registration, A::Error> {
        let mut found: [Option<Value>; NAMES.len()] = Default::default();
        while let Some(name) = map.next_key::<String>()? {
            match NAMES.iter().position(|known| **known == name) {
                Some(index) if found[index].is_none() => found[index] = Some(map.next_value()?),
                _ => drop(map.next_value::<IgnoredAny>()?),
            }
        }
        let [kind, owner, project, port, name, address, heard] = found;
        Ok(Registration {
            kind: text(kind),
            owner: text(owner),
            project: text(project),
            port: number(port).try_into().unwrap_or(0),
            name: text(name),
            address: text(address),
            lastheardfrom: number(heard),
        })
    }
}

const NAMES: [&str; 7] = ["type", "owner", "project", "port", "name", "address", "lastheardfrom"];

fn text(value: Option<Value>) -> String {
    match value {
        Some(Value::String(text)) => text,
        Some(Value::Number(number)) => number.to_string(),
        _ => String::new(),
    }
}

fn number(value: Option<Value>) -> u64 {
    match value {
        Some(Value::Number(number)) => number.as_u64().unwrap_or(0),
        Some(Value::String(text)) => text.trim().parse().unwrap_or(0),
        _ => 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_registration_is_read_whatever_its_server_says() {
        let text = r#"[
            {"name":"h","lastheardfrom":7,"address":"1.2.3.4","type":"hashtable","owner":"me","port":"99",
             "project":"t-0","address":"9.9.9.9","more":{"a":[1,2]}},
            {"port":99999,"type":null,"project":5},
            {}
        ]"#;
        let read: Vec<Registration> = serde_json::from_str(text).expect("it is a list");
        let first = Registration {
            kind: "hashtable".to_owned(),
            owner: "me".to_owned(),
            project: "t-0".to_owned(),
            port: 99,
            name: "h".to_owned(),
            address: "1.2.3.4".to_owned(),
            lastheardfrom: 7,
        };
        let second = Registration { project: "5".to_owned(), ..Registration::default() };
        assert_eq!(read, [first, second, Registration::default()]);
        assert!(serde_json::from_str::<Vec<Registration>>("[1]").is_err());
    }
}
