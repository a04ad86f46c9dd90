//! One server of a cluster, as its client sees it: where it is, a connection, and what is known of it.

use std::io::ErrorKind;
use std::time::{Duration, Instant};

use super::{KIND, Locate};
use crate::client::catalog::{Catalog, Registration};
use crate::client::routing::NodeStatus;
use crate::client::{ClientError, Options, TableClient};

/// How often the catalog is asked about one server, at the most.
const ASK_AGAIN: Duration = Duration::from_millis(500);

/// How many registrations of one name are tried; a name has one, and a few left over from earlier starts.
const MAX_TRIED: usize = 8;

/// A server.
#[derive(Debug)]
pub(super) struct Server {
    name: String,
    /// Where it was last.
    address: Option<String>,
    client: Option<TableClient>,
    asked: Option<Instant>,
    status: NodeStatus,
    /// Somebody has been told that it is away, and that it is waited for.
    announced: (bool, bool),
    silent_until: Option<Instant>,
}

impl Server {
    pub(super) fn new(name: String, address: Option<String>) -> Self {
        Self {
            name,
            address,
            client: None,
            asked: None,
            status: NodeStatus::Up,
            announced: (false, false),
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

    /// Notes a failure; gives whether it is news that the server is away, or that it is `awaited`. After a timeout
    /// it counts as silent for a while.
    pub(super) fn went_away(
        &mut self,
        error: &ClientError,
        quiet: Duration,
        awaited: bool,
    ) -> bool {
        self.status = match error {
            ClientError::NothingListens { .. } => NodeStatus::Down,
            error => NodeStatus::Silent { why: error.to_string() },
        };
        if is_timeout(error) {
            self.silent_until = Some(Instant::now() + quiet);
        }
        let (away, waited_for) = self.announced;
        self.announced = (true, waited_for || awaited);
        !away || (awaited && !waited_for)
    }

    /// Notes an answer; gives whether that is news.
    pub(super) fn is_back(&mut self) -> bool {
        self.status = NodeStatus::Up;
        self.silent_until = None;
        std::mem::take(&mut self.announced).0
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
        let status = client.status()?;
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
        if let (Some(asked), Some(error)) = (self.asked, failed)
            && asked.elapsed() < ASK_AGAIN
        {
            return Err(error);
        }
        self.asked = Some(Instant::now());
        let found = catalog.find(&self.name, KIND);
        let found = found.map_err(|error| self.unknown(&error.to_string()))?;
        let mut last = self.unknown("the catalog knows no such server");
        for registration in found.iter().take(MAX_TRIED) {
            let address = address_of(registration);
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

fn is_timeout(error: &ClientError) -> bool {
    match error {
        ClientError::NoReply { .. } => true,
        ClientError::Connect { source, .. } => source.kind() == ErrorKind::TimedOut,
        _ => false,
    }
}
