//! The registrations, in memory.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::ops::Bound;

use serde_json::{Map, Value};

/// The longest datagram that is taken, in bytes.
pub const MAX_DATAGRAM: usize = 8 * 1024;

/// The most registrations. At the bound new ones are dropped, and those that are there go on.
pub const MAX_ENTRIES: usize = 10_000;

/// The most bytes that all registrations may have, as they came. At the bound as for [`MAX_ENTRIES`]; the whole list
/// stays short enough for every client.
pub const MAX_BYTES: usize = 8 << 20;

/// The members that the catalog fills in itself.
const OWN: [&str; 3] = ["name", "lastheardfrom", "address"];

/// Why a datagram is no registration.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum Dropped {
    /// It is longer than a registration may be.
    #[error("a datagram of more than {MAX_DATAGRAM} bytes")]
    TooLong,
    /// It is no JSON object.
    #[error("expected a JSON object: {0}")]
    Malformed(String),
    /// There are as many registrations as there may be.
    #[error("there are {MAX_ENTRIES} registrations, or {MAX_BYTES} bytes of them, already")]
    Full,
}

/// What a registration is known by: a server that registers again takes its own place.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Key {
    address: IpAddr,
    port: u64,
}

/// Who has been heard from.
#[derive(Debug)]
pub struct Table {
    /// In seconds.
    lifetime: u64,
    entries: BTreeMap<Key, Entry>,
    /// Of all entries together, as they came.
    bytes: usize,
}

/// A registration.
#[derive(Debug, Clone, PartialEq)]
pub struct Entry {
    /// Seconds since 1970.
    pub heard: u64,
    /// The sender's host.
    pub address: IpAddr,
    /// What the sender says of itself.
    pub members: Map<String, Value>,
    /// In seconds.
    lifetime: u64,
    bytes: usize,
}

impl Table {
    /// An empty table that forgets after `lifetime` seconds.
    pub fn new(lifetime: u64) -> Self {
        Self { lifetime, entries: BTreeMap::new(), bytes: 0 }
    }

    /// Takes a datagram that came from `address` at `now` (seconds since 1970).
    ///
    /// # Errors
    /// It is no registration, or there is no room; nothing has changed then.
    pub fn register(&mut self, datagram: &[u8], address: IpAddr, now: u64) -> Result<(), Dropped> {
        if datagram.len() > MAX_DATAGRAM {
            return Err(Dropped::TooLong);
        }
        let members: Map<String, Value> = serde_json::from_slice(datagram)
            .map_err(|error| Dropped::Malformed(error.to_string()))?;
        let port = number(members.get("port")).unwrap_or(0);
        let own = number(members.get("lifetime")).unwrap_or(self.lifetime);
        let key = Key { address, port };
        let bytes = datagram.len();
        if !self.has_room(&key, bytes) {
            self.expire(now);
            if !self.has_room(&key, bytes) {
                return Err(Dropped::Full);
            }
        }
        let lifetime = own.min(self.lifetime);
        let entry = Entry { heard: now, address, members, lifetime, bytes };
        let before = self.entries.insert(key, entry);
        self.bytes += bytes;
        self.bytes -= before.map_or(0, |before| before.bytes);
        Ok(())
    }

    fn has_room(&self, key: &Key, bytes: usize) -> bool {
        let before = self.entries.get(key);
        let count = self.entries.len() + usize::from(before.is_none());
        let total = self.bytes + bytes - before.map_or(0, |before| before.bytes);
        count <= MAX_ENTRIES && total <= MAX_BYTES
    }

    /// Forgets who has not been heard from for its lifetime.
    pub fn expire(&mut self, now: u64) {
        let bytes = &mut self.bytes;
        self.entries.retain(|_, entry| {
            let stays = now.saturating_sub(entry.heard) < entry.lifetime;
            *bytes -= if stays { 0 } else { entry.bytes };
            stays
        });
    }

    /// How many registrations there are.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// The next registration behind a key, in the order of the keys: who goes through the list so needs no copy of
    /// it and holds nobody up.
    pub fn next(&self, after: Option<&Key>) -> Option<(&Key, &Entry)> {
        match after {
            None => self.entries.iter().next(),
            Some(key) => self.entries.range((Bound::Excluded(key), Bound::Unbounded)).next(),
        }
    }

    /// The registrations, by address and port.
    #[cfg(test)]
    pub fn entries(&self) -> impl Iterator<Item = &Entry> {
        self.entries.values()
    }
}

impl Entry {
    /// The name of the sender's host.
    pub fn host(&self) -> String {
        let here = [IpAddr::from(Ipv4Addr::LOCALHOST), Ipv6Addr::LOCALHOST.into()];
        if here.contains(&self.address) { "localhost".to_owned() } else { self.address.to_string() }
    }

    /// All members, the catalog's own first.
    pub fn all(&self) -> Map<String, Value> {
        let [name, heard, address] = OWN.map(str::to_owned);
        let mut all = Map::new();
        all.insert(name, self.host().into());
        all.insert(heard, self.heard.into());
        all.insert(address, self.address.to_string().into());
        let others = self.members.iter().filter(|(name, _)| !OWN.contains(&name.as_str()));
        all.extend(others.map(|(name, value)| (name.clone(), value.clone())));
        all
    }
}

fn number(value: Option<&Value>) -> Option<u64> {
    match value? {
        Value::Number(number) => number.as_u64(),
        Value::String(text) => text.trim().parse().ok(),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HERE: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

    fn projects(table: &Table) -> Vec<String> {
        table.entries().map(|entry| entry.members["project"].to_string()).collect()
    }

    #[test]
    fn a_server_takes_its_own_place_and_is_forgotten_when_silent() {
        let mut table = Table::new(900);
        let one = br#"{"type":"hashtable","port":1,"project":"t-0"}"#;
        let two = br#"{"type":"hashtable","port":"2","project":"t-1","lifetime":20}"#;
        table.register(one, HERE, 1000).expect("taken");
        table.register(two, HERE, 1000).expect("taken");
        table.register(one, HERE, 1010).expect("taken");
        assert_eq!(projects(&table), [r#""t-0""#, r#""t-1""#]);
        table.expire(1019);
        assert_eq!(table.entries().count(), 2);
        table.expire(1020);
        assert_eq!(projects(&table), [r#""t-0""#]);
        table.expire(1910);
        assert_eq!(table.entries().count(), 0);
    }

    #[test]
    fn what_the_catalog_says_itself_cannot_be_forged() {
        let mut table = Table::new(900);
        let forged = br#"{"address":"9.9.9.9","name":"bank","lastheardfrom":1,"port":1}"#;
        table.register(forged, HERE, 1000).expect("taken");
        let all = table.entries().next().expect("it is there").all();
        let text = serde_json::to_string(&all).expect("JSON");
        let expected =
            r#"{"name":"localhost","lastheardfrom":1000,"address":"127.0.0.1","port":1}"#;
        assert_eq!(text, expected);
    }

    #[test]
    fn what_is_no_registration_is_dropped() {
        let mut table = Table::new(900);
        for datagram in [&b""[..], b"garbage", b"[1]", b"{\"port\":1", b"\xff{}"] {
            let dropped = table.register(datagram, HERE, 0);
            assert!(matches!(dropped, Err(Dropped::Malformed(_))), "{dropped:?}");
        }
        let deep = format!("{{\"a\":{}1{}}}", "[".repeat(4000), "]".repeat(4000));
        assert!(matches!(table.register(deep.as_bytes(), HERE, 0), Err(Dropped::Malformed(_))));
        assert_eq!(table.register(&[b' '; MAX_DATAGRAM + 1], HERE, 0), Err(Dropped::TooLong));
        assert_eq!(table.entries().count(), 0);
    }

    #[test]
    fn a_full_table_drops_strangers_until_somebody_is_forgotten() {
        let mut table = Table::new(900);
        let registration = |port: usize| format!("{{\"port\":{port}}}");
        for port in 0..MAX_ENTRIES {
            table.register(registration(port).as_bytes(), HERE, 0).expect("there is room");
        }
        let stranger = registration(MAX_ENTRIES);
        assert_eq!(table.register(stranger.as_bytes(), HERE, 800), Err(Dropped::Full));
        table.register(registration(7).as_bytes(), HERE, 800).expect("it is known");
        table.register(stranger.as_bytes(), HERE, 900).expect("the others are gone");
        assert_eq!(table.entries().count(), 2);
    }

    #[test]
    fn the_bytes_of_all_registrations_are_bounded() {
        let mut table = Table::new(900);
        let long = |port: usize| format!("{{\"port\":{port},\"x\":\"{}\"}}", "x".repeat(8000));
        let taken = (0..MAX_ENTRIES)
            .take_while(|port| table.register(long(*port).as_bytes(), HERE, 0).is_ok());
        let taken = taken.count();
        assert!((1040..=1050).contains(&taken), "{taken}");
        table.register(long(3).as_bytes(), HERE, 100).expect("it takes its own place");
        table.register(b"{\"port\":3}", HERE, 100).expect("it is shorter now");
        table.register(long(taken).as_bytes(), HERE, 100).expect("there is room again");
        table.expire(1000);
        assert_eq!((table.len(), table.bytes), (0, 0));
    }
}
