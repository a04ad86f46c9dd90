//! One server of a cluster, as its client sees it: where it is, a connection, and what is known of it.

use std::io::ErrorKind;
use std::time::{Duration, Instant};

use super::{KIND, Locate};
use crate::client::catalog::{Catalog, Registration};
use crate::client::routing::NodeStatus;
use crate::client::{Certainty, ClientError, Options, TableClient};

/// How often the catalog is asked about one server, at the most.
const ASK_AGAIN: Duration = Duration::from_millis(500);

/// How many registrations of one name are tried; a name has one, and a few left over from earlier starts.
const MAX_TRIED: usize = 8;

/// A server that hung is asked last for so many times as long as it made its client wait: reads that have
/// another copy spend a tenth of their time on it at the most.
const SILENCE: u32 = 9;

/// A server.
#[derive(Debug)]
pub(super) struct Server {
    name: String,
    /// Where it was last.
    address: Option<String>,
    client: Option<TableClient>,
    asked: Option<Instant>,
    status: NodeStatus,
    told: Told,
    silent_until: Option<Instant>,
}

/// What somebody who watches the client has been told of a server that is away.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Told {
    /// Nothing.
    Nothing,
    /// That it is away, and another copy answers for it.
    Away,
    /// That it is waited for.
    Waiting,
}

/// A try that failed.
#[derive(Debug)]
pub(super) struct Failure {
    /// What went wrong last.
    pub error: ClientError,
    /// What is known of the operation: a request may have been sent before the last thing that went wrong.
    pub certainty: Certainty,
}

impl Server {
    pub(super) fn new(name: String, address: Option<String>) -> Self {
        Self {
            name,
            address,
            client: None,
            asked: None,
            status: NodeStatus::Up,
            told: Told::Nothing,
            silent_until: None,
        }
    }

    pub(super) fn name(&self) -> &str {
        &self.name
    }

    pub(super) fn status(&self) -> &NodeStatus {
        &self.status
    }

    pub(super) fn is_connected(&self) -> bool {
        self.client.as_ref().is_some_and(|client| !client.is_broken())
    }

    pub(super) fn disconnect(&mut self) {
        self.client = None;
    }

    /// Whether it has made its clients wait lately.
    pub(super) fn is_silent(&self) -> bool {
        self.silent_until.is_some_and(|until| Instant::now() < until)
    }

    /// Notes a failure. After a timeout it counts as silent for a while.
    pub(super) fn went_away(&mut self, error: &ClientError, options: &Options) {
        self.status = match error {
            ClientError::NothingListens { .. } => NodeStatus::Down,
            error => NodeStatus::Silent { why: error.to_string() },
        };
        if is_timeout(error) {
            self.silent_until = Some(Instant::now() + options.timeout * SILENCE);
        }
    }

    /// Notes that somebody is told; gives whether that is news.
    pub(super) fn tell(&mut self, told: Told) -> bool {
        let news = told > self.told;
        self.told = told.max(self.told);
        news
    }

    /// Notes an answer; gives whether that is news.
    pub(super) fn is_back(&mut self) -> bool {
        self.status = NodeStatus::Up;
        self.silent_until = None;
        std::mem::replace(&mut self.told, Told::Nothing) != Told::Nothing
    }

    /// A connection, opened where there is none: to where the server was last, or else to where the catalog
    /// says it is now.
    pub(super) fn connected(
        &mut self,
        locate: &Locate,
        options: &Options,
    ) -> Result<&mut TableClient, ClientError> {
        let client = match self.client.take().filter(|client| !client.is_broken()) {
            Some(client) => client,
            None => self.connect(locate, options)?,
        };
        Ok(self.client.insert(client))
    }

    /// One try. A connection may have been closed since it was used last, which says nothing of the server:
    /// then another is opened at once. So every operation may be carried out twice.
    pub(super) fn attempt<T>(
        &mut self,
        locate: &Locate,
        options: &Options,
        call: &mut dyn FnMut(&mut TableClient) -> Result<T, ClientError>,
    ) -> Result<T, Failure> {
        let reused = self.is_connected();
        let mut certainty = Certainty::Fail;
        let mut tries = if reused { 2 } else { 1 };
        loop {
            // What goes wrong before there is a connection says nothing of the operation.
            let client = self.connected(locate, options);
            let client = client.map_err(|error| Failure { error, certainty })?;
            let error = match call(client) {
                Ok(answer) => return Ok(answer),
                Err(error) => error,
            };
            if error.certainty() == Certainty::Unknown {
                certainty = Certainty::Unknown;
            }
            if error.ends_connection() {
                self.disconnect();
            }
            tries -= 1;
            if tries == 0 || !matches!(error, ClientError::Lost { .. } | ClientError::Closed { .. })
            {
                return Err(Failure { error, certainty });
            }
        }
    }

    fn connect(&mut self, locate: &Locate, options: &Options) -> Result<TableClient, ClientError> {
        match (locate, &self.address) {
            (Locate::At(_), Some(address)) => TableClient::open(address, options),
            (Locate::At(_), None) => Err(self.unknown("it has no address")),
            (Locate::Catalog(catalog), None) => self.find(catalog, options, None),
            (Locate::Catalog(catalog), Some(address)) => match self.open(address, options) {
                Ok(client) => Ok(client),
                Err(error) => self.find(catalog, options, Some(error)),
            },
        }
    }

    /// Connects to an address that may have become another's: servers choose their ports anew at each start.
    fn open(&self, address: &str, options: &Options) -> Result<TableClient, ClientError> {
        let mut client = TableClient::open(address, options)?;
        let status = match client.status() {
            Ok(status) => status,
            // Another program's server, which has no such method.
            Err(ClientError::Refused { .. }) => return Ok(client),
            Err(error) => return Err(error),
        };
        match status.get("name").and_then(|name| name.as_str()) {
            Some(name) if name != self.name => {
                Err(self.unknown(&format!("{address} is {name} by now")))
            }
            _ => Ok(client),
        }
    }

    /// Asks the catalog, and tries its registrations, the freshest first. An older one may be right: a catalog
    /// keeps what a server said for a while after it has moved.
    fn find(
        &mut self,
        catalog: &Catalog,
        options: &Options,
        failed: Option<ClientError>,
    ) -> Result<TableClient, ClientError> {
        let lately = self.asked.is_some_and(|asked| asked.elapsed() < ASK_AGAIN);
        let (tried, mut last) = match failed {
            Some(error) if lately => return Err(error),
            // Where it was last; to try that again would only take twice as long.
            Some(error) => (self.address.clone(), error),
            None => (None, self.unknown("the catalog knows no such server")),
        };
        let found = catalog.find(&self.name, KIND);
        self.asked = Some(Instant::now());
        let found = match found {
            Ok(found) => found,
            // That it does not answer where it was is more to the point.
            Err(_) if tried.is_some() => return Err(last),
            Err(error) => return Err(self.unknown(&error.to_string())),
        };
        let addresses =
            found.iter().map(address_of).filter(|address| Some(address) != tried.as_ref());
        for address in addresses.take(MAX_TRIED) {
            match self.open(&address, options) {
                Ok(client) => {
                    self.address = Some(address);
                    return Ok(client);
                }
                Err(error) => last = error,
            }
        }
        Err(last)
    }

    fn unknown(&self, why: &str) -> ClientError {
        ClientError::NotFound { name: self.name.clone(), why: why.to_owned() }
    }
}

fn address_of(registration: &Registration) -> String {
    let Registration { address, port, .. } = registration;
    if address.contains(':') { format!("[{address}]:{port}") } else { format!("{address}:{port}") }
}

/// What went wrong, without advice for another lab and without what is known of an operation of which this was
/// one try of many.
pub(super) fn reason(error: &ClientError) -> String {
    match error {
        ClientError::NothingListens { to } => format!("nothing listens on {to}"),
        ClientError::NoReply { to, after } => {
            format!("no reply from {to} within {}", humantime::format_duration(*after))
        }
        ClientError::Lost { to, source } => format!("the connection to {to} was lost: {source}"),
        error => error.to_string(),
    }
}

fn is_timeout(error: &ClientError) -> bool {
    match error {
        ClientError::NoReply { .. } => true,
        ClientError::Connect { source, .. } => source.kind() == ErrorKind::TimedOut,
        _ => false,
    }
}
