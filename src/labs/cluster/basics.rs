//! Every call of the cluster's client, in its success and in its failure, as a checklist.
//!
//! The checks run against a cluster that serves. They use keys of their own, which begin with a word that no
//! other run has, and remove them at the end.

use serde_json::value::{RawValue, to_raw_value};

use crate::client::ClientError;
use crate::client::cluster::{ClusterClient, ClusterError};

/// How long the line is that must be refused.
const HUGE: usize = 100 * 1024 * 1024;

/// A check that has been made.
#[derive(Clone, Debug)]
pub struct Checked {
    /// What should hold.
    pub name: &'static str,
    /// What came instead.
    pub result: Result<(), String>,
}

type Check = (&'static str, fn(&mut Bench<'_>) -> Result<(), String>);

/// What the checks work with.
struct Bench<'a> {
    client: &'a mut ClusterClient,
    prefix: String,
}

const CHECKS: &[Check] = &[
    ("insert: a new key", |b| b.insert("zebra", r#"{"weight":100}"#)),
    ("lookup: finds what was inserted", |b| b.expect("zebra", Some(r#"{"weight":100}"#))),
    ("lookup: a key that nobody inserted is missing", |b| b.expect("unicorn", None)),
    ("insert: a second value takes the place of the first", |b| {
        b.insert("zebra", "2")?;
        b.expect("zebra", Some("2"))
    }),
    ("insert: K copies, on the primary and the next servers, and nowhere else", |b| b.copies()),
    ("insert: any JSON is a value", |b| b.all_values()),
    ("insert: any string is a key", |b| b.all_keys()),
    ("insert: the empty string is a key", |b| b.empty_key()),
    ("remove: gives the value, and the key is gone from every copy", |b| {
        b.insert("lion", "[1,2]")?;
        b.remove("lion", Some("[1,2]"))?;
        b.expect("lion", None)?;
        b.on_each("lion", |_| None)
    }),
    ("remove: a key that is not there is missing", |b| b.remove("lion", None)),
    ("scan: finds each key once, by regular expression", |b| b.scan()),
    ("scan: one that matches nothing finds nothing", |b| b.scan_for("no such thing", &[])),
    ("scan: an invalid expression is refused, and named", |b| b.invalid_regex()),
    ("a line that is no JSON is told from a failed operation", |b| b.invalid_line()),
    ("a value of 100 MB is refused, and the connection goes on", |b| b.huge()),
];

/// Makes all checks; `before` is told of each.
pub fn run(client: &mut ClusterClient, prefix: &str, mut before: impl FnMut(&Checked)) -> bool {
    let mut bench = Bench { client, prefix: prefix.to_owned() };
    let mut good = true;
    for (name, check) in CHECKS {
        let checked = Checked { name, result: check(&mut bench) };
        good &= checked.result.is_ok();
        before(&checked);
    }
    let checked =
        Checked { name: "the keys of these checks are removed", result: bench.clean_up() };
    before(&checked);
    good && checked.result.is_ok()
}

/// How many checks there are.
pub fn count() -> usize {
    CHECKS.len() + 1
}

impl Bench<'_> {
    fn key(&self, key: &str) -> String {
        format!("{}{key}", self.prefix)
    }

    fn insert(&mut self, key: &str, value: &str) -> Result<(), String> {
        let (key, value) = (self.key(key), json(value)?);
        self.client.insert(&key, &value).map_err(failed)
    }

    fn expect(&mut self, key: &str, value: Option<&str>) -> Result<(), String> {
        let key = self.key(key);
        let found = self.client.lookup(&key).map_err(failed)?;
        same(found.as_deref(), value)
    }

    fn remove(&mut self, key: &str, value: Option<&str>) -> Result<(), String> {
        let key = self.key(key);
        let found = self.client.remove(&key).map_err(failed)?;
        same(found.as_deref(), value)
    }

    /// What each server has, asked alone; `expected` by its rank among the copies.
    fn on_each(
        &mut self,
        key: &str,
        expected: impl Fn(Option<usize>) -> Option<&'static str>,
    ) -> Result<(), String> {
        let key = self.key(key);
        let holders = self.client.copies_of(&key);
        for index in 0..self.client.servers() {
            let rank = holders.iter().position(|holder| *holder == index);
            let server = self.client.server(index).map_err(|error| error.to_string())?;
            let found = server.lookup(&key).map_err(|error| error.to_string())?;
            same(found.as_deref(), expected(rank))
                .map_err(|why| format!("server {index}: {why}"))?;
        }
        Ok(())
    }

    fn copies(&mut self) -> Result<(), String> {
        self.insert("zebra", "3")?;
        self.on_each("zebra", |rank| rank.map(|_| "3"))
    }

    fn all_values(&mut self) -> Result<(), String> {
        let deep = format!("{}1{}", "[".repeat(100), "]".repeat(100));
        let values = [
            "null",
            "true",
            "-1.5e300",
            r#""""#,
            r#""ü\n\u0000""#,
            "[]",
            r#"{"a":{"b":[1]}}"#,
            &deep,
        ];
        for value in values {
            self.insert("any", value)?;
            self.expect("any", Some(value)).map_err(|why| format!("{value}: {why}"))?;
        }
        Ok(())
    }

    fn all_keys(&mut self) -> Result<(), String> {
        for (number, key) in ["", " ", "a\nb", "\"\\", "Schlüssel 🗝", "\0"].iter().enumerate() {
            self.insert(key, &number.to_string())?;
        }
        for (number, key) in ["", " ", "a\nb", "\"\\", "Schlüssel 🗝", "\0"].iter().enumerate() {
            let expected = number.to_string();
            self.expect(key, Some(&expected)).map_err(|why| format!("{key:?}: {why}"))?;
        }
        Ok(())
    }

    /// The one key that cannot begin with this run's word: what it had before is put back.
    fn empty_key(&mut self) -> Result<(), String> {
        let before = self.client.lookup("").map_err(failed)?;
        let own = json(r#""basics""#)?;
        self.client.insert("", &own).map_err(failed)?;
        let found = self.client.lookup("").map_err(failed)?;
        match before {
            Some(value) => self.client.insert("", &value).map_err(failed)?,
            None => self.client.remove("").map(drop).map_err(failed)?,
        }
        same(found.as_deref(), Some(own.get()))
    }

    fn scan_for(&mut self, regex: &str, expected: &[&str]) -> Result<(), String> {
        let regex = format!("^{}{regex}$", ::regex::escape(&self.prefix));
        let found = self.client.scan(&regex).map_err(failed)?;
        let keys: Vec<&str> = found.iter().map(|(key, _)| &key[self.prefix.len()..]).collect();
        if keys == expected {
            Ok(())
        } else {
            Err(format!("expected {expected:?}, found {keys:?}"))
        }
    }

    fn scan(&mut self) -> Result<(), String> {
        let names: Vec<String> = (0..20).map(|number| format!("scan{number:02}")).collect();
        for name in &names {
            self.insert(name, "1")?;
        }
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        self.scan_for("scan[0-9]+", &names)
    }

    fn invalid_regex(&mut self) -> Result<(), String> {
        match self.client.scan("(") {
            Err(ClusterError::Refused { source: ClientError::Refused { line }, .. })
                if line.contains('(') =>
            {
                Ok(())
            }
            other => Err(format!("found {other:?}")),
        }
    }

    fn invalid_line(&mut self) -> Result<(), String> {
        let server = self.client.server(0).map_err(|error| error.to_string())?;
        for line in
            [&b"{\"method\":\"insert\",\"key\":\"half"[..], b"", b"\xff", b"{\"method\":\"fly\"}"]
        {
            let reply = server.raw(line).map_err(|error| error.to_string())?;
            if !reply.contains(r#""result":"invalid""#) {
                return Err(format!("{}: found {reply}", line.escape_ascii()));
            }
        }
        self.expect("unicorn", None)
    }

    fn huge(&mut self) -> Result<(), String> {
        let mut line = br#"{"method":"insert","key":"huge","value":""#.to_vec();
        line.resize(line.len() + HUGE, b'x');
        line.extend_from_slice(b"\"}");
        let server = self.client.server(0).map_err(|error| error.to_string())?;
        let reply = server.raw(&line).map_err(|error| error.to_string())?;
        if !reply.contains(r#""result":"invalid""#) {
            return Err(format!("found {reply}"));
        }
        server.lookup("huge").map_err(|error| error.to_string()).map(drop)
    }

    fn clean_up(&mut self) -> Result<(), String> {
        let regex = format!("^{}", ::regex::escape(&self.prefix));
        for (key, _) in self.client.scan(&regex).map_err(failed)? {
            self.client.remove(&key).map_err(failed)?;
        }
        match self.client.scan(&regex).map_err(failed)?.len() {
            0 => Ok(()),
            left => Err(format!("{left} keys are left")),
        }
    }
}

fn failed(error: ClusterError) -> String {
    error.to_string()
}

fn json(text: &str) -> Result<Box<RawValue>, String> {
    serde_json::from_str(text).or_else(|_| to_raw_value(text)).map_err(|error| error.to_string())
}

fn same(found: Option<&RawValue>, expected: Option<&str>) -> Result<(), String> {
    let found = found.map(RawValue::get);
    if found == expected {
        return Ok(());
    }
    let show = |value: Option<&str>| value.map_or_else(|| "no such key".to_owned(), str::to_owned);
    Err(format!("expected {}, found {}", show(expected), show(found)))
}
