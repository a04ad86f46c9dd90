//! Workloads for the master: command files out of a seed, the same on any machine.
//!
//! Servers are `0..n`, clients behind them; client *i* begins at server *i* modulo *n*, and the clients take turns.
//!
//! | workload | what it does |
//! |---|---|
//! | `tree` | all servers, then only the links of a binary tree; puts; all stores |
//! | `chain` | servers join one by one into a chain, with puts in between; one is killed and joins again |
//! | `partition` | all servers, with puts; the net falls into two halves; puts; the halves are joined; puts |

use std::io::{self, Write};
use std::str::FromStr;

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};
use thiserror::Error;

use super::command::Ids;
use crate::base::limits::{DEFAULT_MAX_VALUE, MAX_REPLICAS};

/// The letters of keys: 64 keys of three.
const KEY_LETTERS: &[u8; 4] = b"abcd";

/// The letters of values.
const VALUE_LETTERS: &[u8; 64] =
    b"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_";

/// Values are parts of one random text, which is longer than the longest by this.
const OFFSETS: usize = 4096;

/// The kinds of workload.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Workload {
    /// A binary tree.
    Tree,
    /// A chain that grows.
    Chain,
    /// A net that falls apart and is mended.
    Partition,
}

impl FromStr for Workload {
    type Err = String;

    fn from_str(name: &str) -> Result<Self, String> {
        match name {
            "tree" => Ok(Self::Tree),
            "chain" => Ok(Self::Chain),
            "partition" => Ok(Self::Partition),
            other => Err(format!("expected tree, chain or partition, found {other}")),
        }
    }
}

/// What to generate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Plan {
    /// The kind.
    pub workload: Workload,
    /// How many puts.
    pub puts: u64,
    /// The shortest value in bytes.
    pub min_value: usize,
    /// The longest value in bytes.
    pub max_value: usize,
    /// What fixes keys and values.
    pub seed: u64,
    /// How many servers and clients.
    pub ids: Ids,
}

/// Why there is no such workload.
#[derive(Debug, Error)]
pub enum GenerateError {
    /// The lengths of values.
    #[error(
        "expected values of 1 to {DEFAULT_MAX_VALUE} bytes, the shortest not longer than the longest, found {min} to {max}"
    )]
    Values {
        /// The shortest.
        min: usize,
        /// The longest.
        max: usize,
    },
    /// The number of servers or clients.
    #[error(
        "expected 2 to {MAX_REPLICAS} servers and at least one client, found {servers} and {clients}"
    )]
    Ids {
        /// How many servers.
        servers: u16,
        /// How many clients.
        clients: u16,
    },
    /// The output cannot be written.
    #[error(transparent)]
    Output(#[from] io::Error),
}

/// Prints a workload.
///
/// # Errors
/// There is no such workload, or `out` cannot be written.
pub fn generate(plan: &Plan, out: &mut impl Write) -> Result<(), GenerateError> {
    let Plan { min_value: min, max_value: max, ids, .. } = *plan;
    if min == 0 || min > max || max > DEFAULT_MAX_VALUE {
        return Err(GenerateError::Values { min, max });
    }
    let Ids { servers, clients } = ids;
    if !(2..=MAX_REPLICAS).contains(&servers) || clients == 0 || clients > u16::MAX - servers {
        return Err(GenerateError::Ids { servers, clients });
    }
    let mut writer = Writer::new(plan, out);
    match plan.workload {
        Workload::Tree => tree(&mut writer),
        Workload::Chain => chain(&mut writer),
        Workload::Partition => partition(&mut writer),
    }?;
    Ok(())
}

struct Writer<'a, W> {
    plan: &'a Plan,
    out: &'a mut W,
    rng: ChaCha8Rng,
    text: Vec<u8>,
    /// How many puts have been printed.
    puts: u64,
}

impl<'a, W: Write> Writer<'a, W> {
    fn new(plan: &'a Plan, out: &'a mut W) -> Self {
        let mut rng = ChaCha8Rng::seed_from_u64(plan.seed);
        let letter = |_| VALUE_LETTERS[(rng.next_u32() % 64) as usize];
        let text = (0..plan.max_value + OFFSETS).map(letter).collect();
        Self { plan, out, rng, text, puts: 0 }
    }

    fn below(&mut self, bound: usize) -> usize {
        ((u128::from(self.rng.next_u64()) * bound as u128) >> 64) as usize
    }

    fn servers(&self) -> u16 {
        self.plan.ids.servers
    }

    /// The clients that begin at a server.
    fn clients_at(&self, server: u16) -> impl Iterator<Item = u16> + use<W> {
        let Ids { servers, clients } = self.plan.ids;
        (0..clients).filter(move |i| i % servers == server).map(move |i| servers + i)
    }

    fn join(&mut self, server: u16) -> io::Result<()> {
        writeln!(self.out, "joinServer {server}")?;
        for client in self.clients_at(server) {
            writeln!(self.out, "joinClient {client} {server}")?;
        }
        Ok(())
    }

    fn cut_unless(
        &mut self,
        server: u16,
        below: u16,
        stays: impl Fn(u16, u16) -> bool,
    ) -> io::Result<()> {
        for other in (0..below).filter(|other| *other != server && !stays(*other, server)) {
            writeln!(self.out, "breakConnection {other} {server}")?;
        }
        Ok(())
    }

    /// Puts until so many of all have been printed, by the clients of these servers in turn.
    fn put_until(&mut self, total: u64, up: impl Fn(u16) -> bool) -> io::Result<()> {
        let Ids { servers, clients } = self.plan.ids;
        let those: Vec<u16> =
            (0..clients).filter(|i| up(i % servers)).map(|i| servers + i).collect();
        if those.is_empty() {
            return Ok(());
        }
        while self.puts < total {
            let client = those[(self.puts % those.len() as u64) as usize];
            let key = [(); 3].map(|()| KEY_LETTERS[self.below(KEY_LETTERS.len())]);
            let Plan { min_value, max_value, .. } = *self.plan;
            let (length, from) =
                (min_value + self.below(max_value - min_value + 1), self.below(OFFSETS));
            write!(self.out, "put {client} ")?;
            self.out.write_all(&key)?;
            self.out.write_all(b" ")?;
            self.out.write_all(&self.text[from..from + length])?;
            self.out.write_all(b"\n")?;
            self.puts += 1;
        }
        Ok(())
    }

    /// So many hundredths of all puts.
    fn share(&self, hundredths: u64) -> u64 {
        self.plan.puts * hundredths / 100
    }

    fn end(&mut self) -> io::Result<()> {
        writeln!(self.out, "stabilize")?;
        for server in 0..self.servers() {
            writeln!(self.out, "printStore {server}")?;
        }
        for server in 0..self.servers() {
            writeln!(self.out, "killServer {server}")?;
        }
        Ok(())
    }
}

/// Whether two servers are linked in a binary tree, the lesser first.
fn in_tree(low: u16, high: u16) -> bool {
    high > 0 && (high - 1) / 2 == low
}

fn tree<W: Write>(w: &mut Writer<'_, W>) -> io::Result<()> {
    for server in 0..w.servers() {
        w.join(server)?;
    }
    for server in 0..w.servers() {
        w.cut_unless(server, server, in_tree)?;
    }
    w.put_until(w.plan.puts, |_| true)?;
    w.end()
}

fn chain<W: Write>(w: &mut Writer<'_, W>) -> io::Result<()> {
    let servers = w.servers();
    let next = |low: u16, high: u16| low + 1 == high;
    for server in 0..servers {
        w.join(server)?;
        w.cut_unless(server, server, next)?;
        let until = w.share(60) * u64::from(server + 1) / u64::from(servers);
        w.put_until(until, |at| at <= server)?;
    }
    let last = servers - 1;
    writeln!(w.out, "killServer {last}")?;
    w.put_until(w.share(80), |at| at != last)?;
    w.join(last)?;
    w.cut_unless(last, last, next)?;
    w.put_until(w.plan.puts, |_| true)?;
    w.end()
}

fn partition<W: Write>(w: &mut Writer<'_, W>) -> io::Result<()> {
    let servers = w.servers();
    for server in 0..servers {
        w.join(server)?;
    }
    w.put_until(w.share(20), |_| true)?;
    let half = servers / 2;
    let between =
        move || (0..half).flat_map(move |low| (half..servers).map(move |high| (low, high)));
    for (low, high) in between() {
        writeln!(w.out, "breakConnection {low} {high}")?;
    }
    w.put_until(w.share(80), |_| true)?;
    for (low, high) in between() {
        writeln!(w.out, "createConnection {low} {high}")?;
    }
    w.put_until(w.plan.puts, |_| true)?;
    w.end()
}

#[cfg(test)]
mod tests {
    use super::super::command::parse;
    use super::*;

    const PLAN: Plan = Plan {
        workload: Workload::Tree,
        puts: 1000,
        min_value: 3,
        max_value: 20,
        seed: 7,
        ids: Ids { servers: 5, clients: 5 },
    };

    fn text(plan: &Plan) -> String {
        let mut out = Vec::new();
        generate(plan, &mut out).expect("a workload");
        String::from_utf8(out).expect("text")
    }

    fn count(text: &str, word: &str) -> usize {
        text.lines().filter(|line| line.starts_with(word)).count()
    }

    #[test]
    fn all_workloads_are_commands_with_as_many_puts_as_were_asked_for() {
        for workload in [Workload::Tree, Workload::Chain, Workload::Partition] {
            for ids in [PLAN.ids, Ids { servers: 2, clients: 1 }, Ids { servers: 20, clients: 7 }] {
                let text = text(&Plan { workload, ids, ..PLAN });
                for line in text.lines() {
                    assert!(matches!(parse(line.as_bytes(), &ids), Ok(Some(_))), "{line}");
                }
                assert_eq!(count(&text, "put "), 1000, "{workload:?} {ids:?}");
                assert_eq!(count(&text, "printStore "), usize::from(ids.servers));
            }
        }
    }

    #[test]
    fn a_tree_keeps_one_link_less_than_it_has_servers() {
        let text = text(&PLAN);
        assert_eq!(count(&text, "breakConnection "), 10 - 4);
        assert!(!text.contains("breakConnection 0 1\n") && !text.contains("breakConnection 1 4\n"));
    }

    #[test]
    fn the_seed_fixes_all() {
        assert_eq!(text(&PLAN), text(&PLAN));
        assert_ne!(text(&PLAN), text(&Plan { seed: 8, ..PLAN }));
        let lengths: Vec<usize> = text(&PLAN)
            .lines()
            .filter(|line| line.starts_with("put "))
            .map(|line| line.len() - "put 5 aaa ".len())
            .collect();
        assert_eq!((lengths.iter().min(), lengths.iter().max()), (Some(&3), Some(&20)));
    }

    #[test]
    fn what_no_master_could_run_is_refused() {
        let refused =
            |plan: &Plan| generate(plan, &mut Vec::new()).expect_err("refused").to_string();
        assert!(refused(&Plan { min_value: 21, ..PLAN }).contains("found 21 to 20"));
        assert!(refused(&Plan { min_value: 0, ..PLAN }).contains("found 0 to 20"));
        let ids = Ids { servers: 1, clients: 1 };
        assert!(refused(&Plan { ids, ..PLAN }).contains("found 1 and 1"));
    }
}
