//! A large table: how fast it is scanned, and how soon a server that was killed has read it back.

use std::path::Path;
use std::sync::atomic::AtomicBool;
use std::time::{Duration, Instant};

use serde_json::value::RawValue;

use super::floor::{FloorError, FloorFigures, FloorPlan, go_on};
use crate::bench::Meter;
use crate::client::{ClientError, Connection, Options, TableClient};
use crate::labs::cluster::fleet::Fleet;
use crate::report::median;
use crate::wire::lines::cluster::Request;

/// So many inserts travel together: the server commits them together, so a million take seconds.
const BATCH: u64 = 500;

/// So often a scan and a restart are measured; medians count.
const TIMES: usize = 3;

/// What keys begin with.
const PREFIX: &str = "large-";

const SUCCESS: &[u8] = b"{\"result\":\"success\"";

/// Measures into `figures`.
///
/// # Errors
/// A server could not be had, an operation failed, or `stop` is set.
pub(super) fn measure(
    program: &Path,
    folder: &Path,
    plan: &FloorPlan,
    figures: &mut FloorFigures,
    stop: &AtomicBool,
    meter: &Meter,
) -> Result<(), FloorError> {
    let mut fleet = Fleet::start(program, "large", 1, folder)?;
    let options = Options { timeout: Duration::from_secs(60), ..Options::default() };
    let address = fleet.addresses().into_iter().next().unwrap_or_default();
    fill(&address, &options, plan, stop, meter)?;
    figures.entries = plan.entries;
    meter.begin("scan");
    let few = format!("^{PREFIX}{:08}\\d$", 0);
    let all = format!("^{PREFIX}");
    let (mut seconds_few, mut seconds_all, mut seconds_restart) = (vec![], vec![], vec![]);
    for _ in 0..TIMES {
        go_on(stop)?;
        seconds_few.push(scan(&address, &options, &few)?.0.as_secs_f64());
        let (took, bytes) = scan(&address, &options, &all)?;
        seconds_all.push(took.as_secs_f64());
        figures.scan_all_bytes = bytes;
    }
    figures.scan_few = plan.entries as f64 / median(seconds_few);
    figures.scan_all = plan.entries as f64 / median(seconds_all);
    meter.begin("restart");
    for _ in 0..TIMES {
        go_on(stop)?;
        fleet.kill(0)?;
        seconds_restart.push(fleet.start_again(0)?.as_secs_f64());
        let status = TableClient::open(&address, &options)?.status()?;
        let entries = status.get("entries").and_then(serde_json::Value::as_u64);
        if entries != Some(plan.entries) {
            let found = entries.map_or("nothing".to_owned(), |entries| entries.to_string());
            let expected = plan.entries;
            return Err(FloorError::Trouble(format!(
                "expected {expected} entries after the restart, the server says {found}"
            )));
        }
    }
    figures.restart_seconds = median(seconds_restart);
    Ok(())
}

/// Inserts all entries, many at a time.
fn fill(
    to: &str,
    options: &Options,
    plan: &FloorPlan,
    stop: &AtomicBool,
    meter: &Meter,
) -> Result<(), FloorError> {
    meter.begin("fill");
    let mut connection = Connection::open(to, options)?;
    let text = format!("\"{}\"", "v".repeat(plan.value_size.saturating_sub(2)));
    let value = RawValue::from_string(text);
    let value = value.map_err(|error| FloorError::Trouble(error.to_string()))?;
    let mut next = 0;
    while next < plan.entries {
        go_on(stop)?;
        let batch = BATCH.min(plan.entries - next);
        for number in next..next + batch {
            let key = format!("{PREFIX}{number:09}");
            Request::Insert { key: key.into(), value: &value }.write(&mut connection.output);
        }
        connection.send()?;
        for _ in 0..batch {
            let success = line(&mut connection, |line| line.starts_with(SUCCESS))?;
            if !success {
                return Err(FloorError::Trouble("an insert was refused".to_owned()));
            }
        }
        next += batch;
        meter.add(batch);
    }
    Ok(())
}

/// Waits for a line and shows it to `look`.
fn line<R>(connection: &mut Connection, look: impl FnOnce(&[u8]) -> R) -> Result<R, ClientError> {
    loop {
        if let Some(length) = memchr::memchr(b'\n', connection.unread()) {
            let at = connection.consume(length + 1);
            return Ok(look(connection.bytes(at, at + length)));
        }
        connection.fill()?;
    }
}

/// How long a scan takes until the last byte of its reply is here, and how many bytes that are.
fn scan(to: &str, options: &Options, regex: &str) -> Result<(Duration, u64), FloorError> {
    let mut connection = Connection::open(to, options)?;
    Request::Scan { regex: regex.into() }.write(&mut connection.output);
    let begun = Instant::now();
    connection.send()?;
    let (mut bytes, mut begin) = (0u64, Vec::new());
    loop {
        connection.fill()?;
        let piece = connection.unread();
        if begin.len() < SUCCESS.len() {
            begin.extend_from_slice(&piece[..piece.len().min(SUCCESS.len())]);
        }
        let (length, ended) = (piece.len(), piece.last() == Some(&b'\n'));
        bytes += length as u64;
        connection.consume(length);
        if ended {
            break;
        }
    }
    let took = begun.elapsed();
    if !begin.starts_with(SUCCESS) {
        return Err(FloorError::Trouble(format!("the scan for {regex} was refused")));
    }
    Ok((took, bytes))
}
