//! What most commands of the cluster lab are told: which servers, and how patient to be.

use std::io::{self, Write};
use std::time::Duration;

use clap::Args;

use crate::cli::usage;
use crate::client::Options;
use crate::client::catalog::Catalog;
use crate::client::cluster::{ClusterClient, ClusterConfig, ClusterError, Event, Locate};
use crate::client::routing::Retry;

/// Where the catalog is, where nothing else is said.
pub const CATALOG: &str = "127.0.0.1:9097";

/// How servers are found, and what to do where one does not answer.
#[derive(Clone, Debug, Args)]
pub struct Reach {
    /// The catalog in which the servers are found by their names.
    #[arg(long, value_name = "HOST:PORT", default_value = CATALOG, value_parser = usage::address)]
    pub catalog: String,
    /// The addresses of servers 0 to N-1; no catalog is asked then.
    #[arg(long, value_name = "HOST:PORT,...", value_delimiter = ',', value_parser = usage::address, conflicts_with = "catalog")]
    pub at: Option<Vec<String>>,
    /// How long to wait before a server that does not answer is tried again.
    #[arg(long, value_name = "TIME", default_value = "5s", value_parser = usage::time_above_zero)]
    pub retry_wait: Duration,
    /// How long to try at all; for ever, if not given.
    #[arg(long, value_name = "TIME", value_parser = usage::time)]
    pub give_up_after: Option<Duration>,
    /// How long a server may take to answer before it counts as silent.
    #[arg(long, value_name = "TIME", default_value = "5s", value_parser = usage::time_above_zero)]
    pub timeout: Duration,
}

/// Which servers.
#[derive(Clone, Debug, Args)]
pub struct Target {
    /// The name that the servers' names begin with: mytable for mytable-0, mytable-1, ...
    pub name: String,
    /// How many servers there are.
    #[arg(value_name = "N")]
    pub servers: usize,
    /// How many copies each key has.
    #[arg(value_name = "K")]
    pub copies: usize,
    #[command(flatten)]
    #[allow(missing_docs)]
    pub reach: Reach,
}

impl Reach {
    /// How long a single try may take.
    pub fn options(&self) -> Options {
        Options { connect_timeout: self.timeout.min(Duration::from_secs(3)), timeout: self.timeout }
    }

    /// How the servers are found.
    pub fn locate(&self) -> Locate {
        match &self.at {
            Some(addresses) => Locate::At(addresses.clone()),
            None => Locate::Catalog(Catalog::new(&self.catalog)),
        }
    }

    /// What to do where one does not answer.
    pub fn retry(&self) -> Retry {
        Retry { wait: self.retry_wait, give_up_after: self.give_up_after }
    }
}

impl Target {
    /// The client's configuration.
    pub fn config(&self) -> ClusterConfig {
        ClusterConfig {
            name: self.name.clone(),
            servers: self.servers,
            copies: self.copies,
            locate: self.reach.locate(),
            retry: self.reach.retry(),
            options: self.reach.options(),
        }
    }

    /// A client that says on standard error what it waits for.
    ///
    /// # Errors
    /// N, K and the addresses do not fit together.
    pub fn client(&self) -> Result<ClusterClient, ClusterError> {
        let mut client = ClusterClient::new(self.config())?;
        // Whoever closed standard error does not want to know.
        client.observe(|event: &Event| drop(writeln!(io::stderr(), "lab: {event}")));
        Ok(client)
    }
}
