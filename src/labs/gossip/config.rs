//! The watchdogs of other hosts, from a TOML file.
//!
//! ```toml
//! [[server]]
//! id = 0
//! watchdog = "10.0.0.5:7700"   # what `servers watchdog` printed there; the server listens on the same host
//! ```

use std::collections::BTreeSet;
use std::io;
use std::path::{Path, PathBuf};

use serde::Deserialize;
use thiserror::Error;

use crate::base::limits::MAX_REPLICAS;

/// The longest file that is read.
const MAX_FILE: u64 = 1 << 20;

/// One `[[server]]` table.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
struct Entry {
    id: toml::Spanned<u16>,
    watchdog: toml::Spanned<String>,
}

#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    server: Vec<Entry>,
}

/// Why a file does not say where the watchdogs are.
#[derive(Debug, Error)]
pub enum ConfigError {
    /// It cannot be read.
    #[error("cannot read {}: {source}", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// It is not TOML, or not of the expected shape.
    #[error("{}:{line}: {message} (expected [[server]] tables with id and watchdog = \"HOST:PORT\")", path.display())]
    Malformed {
        /// The file.
        path: PathBuf,
        /// The line, from 1.
        line: usize,
        /// What is wrong there.
        message: String,
    },
}

/// Where the watchdogs are, by server: `HOST:PORT`.
///
/// # Errors
/// The file cannot be read or is malformed; the message names file and line.
pub fn load(path: &Path) -> Result<Vec<String>, ConfigError> {
    let text =
        read(path).map_err(|source| ConfigError::Unreadable { path: path.to_owned(), source });
    parse(&text?).map_err(|(line, message)| ConfigError::Malformed {
        path: path.to_owned(),
        line,
        message,
    })
}

fn read(path: &Path) -> io::Result<String> {
    use io::Read;
    let mut text = String::new();
    std::fs::File::open(path)?.take(MAX_FILE + 1).read_to_string(&mut text)?;
    if text.len() as u64 > MAX_FILE {
        return Err(io::Error::other(format!("expected a file of at most {MAX_FILE} bytes")));
    }
    Ok(text)
}

/// The error names a line.
fn parse(text: &str) -> Result<Vec<String>, (usize, String)> {
    let line = |at: usize| {
        1 + text.as_bytes()[..at.min(text.len())].iter().filter(|b| **b == b'\n').count()
    };
    let file: File = toml::from_str(text).map_err(|error| {
        (line(error.span().map_or(0, |span| span.start)), error.message().replace('\n', " "))
    })?;
    let count = file.server.len();
    if count == 0 || count > usize::from(MAX_REPLICAS) {
        return Err((1, format!("expected 1 to {MAX_REPLICAS} servers, found {count}")));
    }
    let mut servers = vec![String::new(); count];
    let mut ids = BTreeSet::new();
    for Entry { id, watchdog } in file.server {
        let at = line(id.span().start);
        let place = servers.get_mut(usize::from(*id.get_ref()));
        let Some(place) = place.filter(|_| ids.insert(*id.get_ref())) else {
            let last = count - 1;
            return Err((
                at,
                format!("expected the ids 0 to {last} once each, found {}", id.get_ref()),
            ));
        };
        let at = line(watchdog.span().start);
        let address = watchdog.into_inner();
        let port =
            address.rsplit_once(':').filter(|(host, _)| !host.is_empty()).map(|(_, port)| port);
        if !port.is_some_and(|port| port.parse::<u16>().is_ok_and(|port| port != 0)) {
            return Err((at, format!("expected HOST:PORT, found {address:?}")));
        }
        *place = address;
    }
    Ok(servers)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn watchdogs_are_given_by_server() {
        let text = "[[server]]\nid = 1\nwatchdog = \"b:2\"\n\n[[server]]\nid = 0\nwatchdog = \"[::1]:1\"\n";
        assert_eq!(parse(text), Ok(vec!["[::1]:1".to_owned(), "b:2".to_owned()]));
    }

    #[test]
    fn what_is_wrong_is_said_with_its_line() {
        let server = |id: &str, watchdog: &str| {
            format!("[[server]]\nid = {id}\nwatchdog = \"{watchdog}\"\n")
        };
        let twice = server("0", "a:1") + &server("0", "a:2");
        for (text, line, why) in [
            ("server = 1\n".to_owned(), 1, "expected"),
            ("\n[[server]]\nid = 0\nhost = \"a\"\n".to_owned(), 4, "unknown field"),
            (twice, 5, "once each, found 0"),
            (server("7", "a:1"), 2, "expected the ids 0 to 0"),
            (server("0", "a"), 3, "expected HOST:PORT, found \"a\""),
            (server("0", "a:0"), 3, "HOST:PORT"),
            ("server = []".to_owned(), 1, "found 0"),
        ] {
            let (found, message) = parse(&text).expect_err(&text);
            assert!(found == line && message.contains(why), "{text}: {found}: {message}");
        }
        let missing = load(Path::new("/no/such/file")).expect_err("there is none").to_string();
        assert!(missing.starts_with("cannot read /no/such/file: "), "{missing}");
    }
}
