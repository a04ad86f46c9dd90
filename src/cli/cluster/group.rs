//! `lab cluster start`, `stop` and `status`: a group of servers in the background.

use std::io::{self, Write};
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::bail;
use clap::Args;

use super::target::CATALOG;
use crate::cli::usage;
use crate::client::catalog::Catalog;
use crate::client::cluster::{ClusterClient, ClusterConfig, Locate, MAX_SERVERS};
use crate::client::routing::{NodeStatus, Retry};
use crate::client::{ClientError, Options};
use crate::labs::cluster::group::{Groups, default_root, is_name};
use crate::report::Style;

/// Which group, and where.
#[derive(Debug, Args)]
struct Where {
    /// The group's name; its servers are NAME-0, NAME-1, ...
    #[arg(value_parser = parse_name)]
    name: String,
    /// The folder of all groups, for data, logs and run files.
    #[arg(long, value_name = "DIR", default_value_os_t = default_root().to_owned())]
    dir: PathBuf,
    /// The catalog with which the servers register.
    #[arg(long, value_name = "HOST:PORT", default_value = CATALOG, value_parser = usage::address)]
    catalog: String,
}

impl Where {
    fn groups(&self) -> Groups {
        Groups { root: self.dir.clone(), catalog: self.catalog.clone() }
    }
}

/// Starts N servers in the background, and a catalog on this host where none answers.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  lab cluster start mytable 3
  lab cluster insert mytable 3 2 zebra '{\"weight\":100}'
  lab cluster stop mytable")]
pub struct StartArgs {
    #[command(flatten)]
    place: Where,
    /// How many servers.
    #[arg(value_name = "N", value_parser = parse_count)]
    servers: usize,
    /// How many records a server's table.txn may hold before it is compacted.
    #[arg(long, value_name = "RECORDS", value_parser = clap::value_parser!(u64).range(1..))]
    compact_after: Option<u64>,
    /// Where the servers listen; other hosts can only reach what does not listen on loopback.
    #[arg(long)]
    host: Option<String>,
}

/// Stops a group's servers, and the catalog that was started with them once no group needs it.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  lab cluster stop mytable         # the data stays in cluster/mytable/; start brings it back")]
pub struct StopArgs {
    #[command(flatten)]
    place: Where,
}

/// Shows which servers of a group serve, and what they hold.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  lab cluster status mytable")]
pub struct StatusArgs {
    #[command(flatten)]
    place: Where,
}

fn parse_name(text: &str) -> Result<String, String> {
    if is_name(text) {
        return Ok(text.to_owned());
    }
    Err("expected a name of letters, digits, '-', '_' and '.', such as mytable".to_owned())
}

fn parse_count(text: &str) -> Result<usize, String> {
    match text.parse() {
        Ok(count) if (1..=MAX_SERVERS).contains(&count) => Ok(count),
        _ => Err(format!("expected 1 to {MAX_SERVERS} servers")),
    }
}

/// Starts a group.
///
/// # Errors
/// A server cannot be started.
pub fn start(args: &StartArgs) -> anyhow::Result<ExitCode> {
    let groups = args.place.groups();
    let mut out = io::stdout().lock();
    if groups.start_catalog()? {
        writeln!(out, "catalog    {}  started, because none answered", args.place.catalog)?;
    }
    let mut more = Vec::new();
    if let Some(records) = args.compact_after {
        more.extend(["--compact-after".to_owned(), records.to_string()]);
    }
    if let Some(host) = &args.host {
        more.extend(["--host".to_owned(), host.clone()]);
    }
    let started = groups.start(&args.place.name, args.servers, &more)?;
    for server in &started {
        let what = server.line.as_deref().unwrap_or("was running already");
        let pid = server.pid.map_or_else(|| "?".to_owned(), |pid| pid.to_string());
        let log = server.log.display();
        writeln!(out, "{:<10} {what}, process {pid}, log {log}", server.name)?;
    }
    let missing = groups.wait_listed(&started);
    if !missing.is_empty() {
        // Whoever closed standard error does not want to know.
        let _ = writeln!(
            io::stderr(),
            "lab: warning: the catalog {} does not list {} yet; clients will wait for it",
            args.place.catalog,
            missing.join(", ")
        );
    }
    Ok(ExitCode::SUCCESS)
}

/// Stops a group.
///
/// # Errors
/// There is none, or a server does not end.
pub fn stop(args: &StopArgs) -> anyhow::Result<ExitCode> {
    let groups = args.place.groups();
    let mut out = io::stdout().lock();
    for name in groups.stop(&args.place.name)? {
        writeln!(out, "{name} stopped")?;
    }
    if groups.stop_catalog()? {
        writeln!(out, "catalog stopped")?;
    }
    Ok(ExitCode::SUCCESS)
}

/// Shows a group.
///
/// # Errors
/// There is none.
pub fn status(args: &StatusArgs) -> anyhow::Result<ExitCode> {
    let groups = args.place.groups();
    let members = groups.members(&args.place.name)?;
    if members.is_empty() {
        bail!("the group {} has no servers", args.place.name);
    }
    let second = Duration::from_secs(1);
    let mut client = ClusterClient::new(ClusterConfig {
        name: args.place.name.clone(),
        servers: members.len(),
        copies: 1,
        locate: Locate::Catalog(Catalog::new(&args.place.catalog)),
        retry: Retry { wait: second, give_up_after: Some(Duration::ZERO) },
        options: Options { connect_timeout: second, timeout: second },
    })?;
    let (mut out, style) = (io::stdout().lock(), Style::of_stdout());
    writeln!(out, "{}", style.bold("server       state   process   entries  log  compactions"))?;
    let mut all_up = true;
    for (index, member) in members.iter().enumerate() {
        let name = format!("{:<12}", member.name);
        let pid = member.pid.map_or_else(|| "-".to_owned(), |pid| pid.to_string());
        let asked = client.server(index).and_then(|server| server.status());
        match asked {
            Ok(told) => {
                let figure =
                    |name: &str| told.get(name).map_or_else(String::new, |f| f.to_string());
                let (entries, log) = (figure("entries"), figure("log_entries"));
                let up = style.good("up    ");
                let compactions = figure("compactions");
                writeln!(out, "{name} {up}  {pid:<8} {entries:>8} {log:>4} {compactions:>12}")?;
            }
            Err(error) => {
                all_up = false;
                let state = style.bad(&state(&error, member.pid).to_string());
                writeln!(out, "{name} {state}  {pid}")?;
            }
        }
    }
    Ok(if all_up { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// A server without a process is down, whatever the catalog still says.
fn state(error: &ClientError, pid: Option<i32>) -> NodeStatus {
    match error {
        _ if pid.is_none() => NodeStatus::Down,
        ClientError::NothingListens { .. } => NodeStatus::Down,
        error => NodeStatus::Silent { why: error.to_string() },
    }
}
