//! The protocol in scenarios that read like the story they tell: one file a scenario in `tests/scenarios/`.
//!
//! After a change that is meant, `UPDATE_GOLDENFILES=1 cargo test --test scenarios` writes the output anew;
//! read the difference before you commit it.

mod support;

use std::error::Error;
use std::fmt::Write as _;
use std::time::Duration;

use consistency_lab::base::{Arithmetic, Op, StoreRule, Value};
use consistency_lab::protocol::Backlog;
use consistency_lab::wire::peer::Frame;
use support::{Cluster, Seen};

macro_rules! scenarios {
    ($($name:ident),* $(,)?) => {
        $(#[test]
        fn $name() {
            let path = concat!("tests/scenarios/", stringify!($name));
            goldenscript::run(&mut Scenario::default(), path).expect("the recorded output");
        })*

        #[test]
        fn every_file_is_run() {
            let mut named = vec![$(stringify!($name)),*];
            let mut found: Vec<String> = std::fs::read_dir("tests/scenarios")
                .expect("the folder of scenarios")
                .map(|entry| entry.expect("a file").file_name().to_string_lossy().into_owned())
                .collect();
            named.sort_unstable();
            found.sort_unstable();
            assert_eq!(named, found, "name each file of tests/scenarios in tests/scenarios.rs");
        }
    };
}

scenarios! {
    absent_replica,
    backlog,
    broken_links,
    empty_folder,
    eventual,
    eventual_outcomes,
    missed_deliveries,
    one_write,
    origin_dies,
    silence,
    two_writers,
    unheard_write,
}

#[derive(goldenscript::Command)]
enum Command {
    /// A cluster of replicas, started and linked unless `idle`.
    Cluster {
        mode: String,
        #[arg(key, optional)]
        n: Option<u16>,
        #[arg(key, optional)]
        delay_s: Option<u64>,
        #[arg(key, optional)]
        backlog: Option<usize>,
        #[arg(key, optional)]
        idle: Option<bool>,
    },
    /// A client of a replica sets a key.
    Set {
        at: usize,
        key: String,
        value: String,
    },
    /// A client adds a key.
    Add {
        at: usize,
        key: String,
        value: String,
    },
    /// A client counts up.
    Incr {
        at: usize,
        key: String,
    },
    /// A client deletes a key.
    Del {
        at: usize,
        key: String,
    },
    /// A client reads a key.
    Get {
        at: usize,
        key: String,
    },
    /// Moves one frame from one replica to another, or as many as asked.
    Step {
        from: usize,
        to: usize,
        #[arg(key, optional)]
        times: Option<usize>,
    },
    /// Moves all frames until all is quiet; says what was answered, and the frames too with `show=frames`.
    Settle {
        #[arg(key, optional)]
        show: Option<String>,
    },
    Cut {
        a: usize,
        b: usize,
    },
    Link {
        a: usize,
        b: usize,
    },
    LinkAll,
    Kill {
        at: usize,
    },
    Wipe {
        at: usize,
    },
    Start {
        at: usize,
    },
    /// Lets seconds pass; frames move meanwhile, unless `frozen`.
    Advance {
        seconds: u64,
        #[arg(key, optional)]
        frozen: Option<bool>,
    },
    /// One line a replica.
    State,
    /// A replica's file.
    Cat {
        at: usize,
    },
}

#[derive(Default)]
struct Scenario {
    cluster: Option<Cluster>,
}

fn set(key: &str, value: &str, rule: StoreRule) -> Op {
    let value = Value { data: value.as_bytes().into(), ..Value::default() };
    Op::Store { key: key.as_bytes().into(), value, rule }
}

impl Scenario {
    fn cluster(&mut self) -> Result<&mut Cluster, Box<dyn Error>> {
        Ok(self.cluster.as_mut().ok_or("the scenario begins with cluster MODE")?)
    }

    fn submit(&mut self, at: usize, op: Op) -> Result<String, Box<dyn Error>> {
        let result = self.cluster()?.submit(at, op);
        Ok(match result {
            Ok(ticket) => format!("write {ticket} is under way\n"),
            Err(refusal) => format!("refused: {refusal}\n"),
        })
    }

    /// What has been seen since the last time; frames only where asked.
    fn report(&mut self, frames: bool) -> Result<String, Box<dyn Error>> {
        let mut out = String::new();
        for seen in std::mem::take(&mut self.cluster()?.seen) {
            match seen {
                Seen::Sent(_, _, Frame::Heartbeat) => {}
                Seen::Sent(i, j, frame) if frames => writeln!(out, "{i} → {j}  {}", say(&frame))?,
                Seen::Sent(..) => {}
                Seen::Answered(i, ticket, outcome) => {
                    writeln!(out, "replica {i} answers write {ticket}: {outcome:?}")?;
                }
                Seen::Cut(i, j, why) => writeln!(out, "replica {i} cuts off {j}: {why}")?,
            }
        }
        Ok(out)
    }
}

fn say(frame: &Frame) -> String {
    match frame {
        Frame::Write(m) => format!("write {} {}", m.ts, say_op(&m.op)),
        Frame::Ack { origin, through } => {
            format!("ack of {origin}'s writes through {}", through.time)
        }
        Frame::Hello(h) => format!("hello, at position {} ({})", h.position, h.delivered),
        Frame::Delivered(ts) => format!("delivered through {ts}"),
        Frame::Chunk(c) => format!(
            "{} bytes of storage.txt{}{}",
            c.lines.len(),
            if c.full { ", all of it" } else { "" },
            if c.end { ", the end" } else { "" }
        ),
        Frame::Fetch(f) if f.generation == 0 => {
            format!("asks for storage.txt behind position {}", f.after)
        }
        Frame::Fetch(_) => "asks for more".to_owned(),
        Frame::Synced(s) => format!("synced, position {}", s.position),
        other => format!("{other:?}").to_lowercase(),
    }
}

fn say_op(op: &Op) -> String {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    match op {
        Op::Store { key, value, .. } => format!("{}={}", text(key), text(&value.data)),
        Op::Count { key, .. } => format!("{}+1", text(key)),
        Op::Delete { keys } => format!("delete {}", text(&keys[0])),
        other => format!("{other:?}"),
    }
}

impl goldenscript::Runner for Scenario {
    type Command = Command;

    fn run(
        &mut self,
        command: &Command,
        _: &goldenscript::Context,
    ) -> Result<String, Box<dyn Error>> {
        let mut out = String::new();
        match command {
            Command::Cluster { mode, n, delay_s, backlog, idle } => {
                let n = n.unwrap_or(3);
                let delay = Duration::from_secs(delay_s.unwrap_or(0));
                let mut bounds = Backlog::default();
                bounds.writes = backlog.unwrap_or(bounds.writes);
                let mut cluster = Cluster::new(mode, n, delay, bounds);
                if *idle != Some(true) {
                    (0..usize::from(n)).for_each(|i| cluster.start(i));
                    cluster.link_all();
                    cluster.settle();
                    cluster.seen.clear();
                }
                self.cluster = Some(cluster);
            }
            Command::Set { at, key, value } => {
                out += &self.submit(*at, set(key, value, StoreRule::Always))?;
                out += &self.report(true)?;
            }
            Command::Add { at, key, value } => {
                out += &self.submit(*at, set(key, value, StoreRule::IfAbsent))?;
                out += &self.report(true)?;
            }
            Command::Incr { at, key } => {
                let by = Arithmetic::Signed(1);
                out += &self.submit(*at, Op::Count { key: key.as_bytes().into(), by })?;
                out += &self.report(true)?;
            }
            Command::Del { at, key } => {
                out += &self.submit(*at, Op::Delete { keys: vec![key.as_bytes().into()] })?;
                out += &self.report(true)?;
            }
            Command::Get { at, key } => {
                let cluster = self.cluster()?;
                let value = cluster.read(*at, key).unwrap_or_else(|| "nothing".to_owned());
                let ready = cluster.node(*at).readable();
                let note = if ready { "" } else { " (but it does not answer reads yet)" };
                writeln!(out, "replica {at} has {key} = {value}{note}")?;
            }
            Command::Step { from, to, times } => {
                for _ in 0..times.unwrap_or(1) {
                    let Some(frame) = self.cluster()?.step(*from, *to) else {
                        return Err(format!("no frame waits on {from} → {to}").into());
                    };
                    writeln!(out, "{to} receives from {from}: {}", say(&frame))?;
                    out += &self.report(true)?;
                }
            }
            Command::Settle { show } => {
                self.cluster()?.settle();
                out += &self.report(show.as_deref() == Some("frames"))?;
            }
            Command::Cut { a, b } => self.cluster()?.cut(*a, *b),
            Command::Link { a, b } => {
                self.cluster()?.link(*a, *b);
                out += &self.report(true)?;
            }
            Command::LinkAll => self.cluster()?.link_all(),
            Command::Kill { at } => self.cluster()?.kill(*at),
            Command::Wipe { at } => self.cluster()?.wipe(*at),
            Command::Start { at } => self.cluster()?.start(*at),
            Command::Advance { seconds, frozen } => {
                for _ in 0..*seconds {
                    self.cluster()?.advance(Duration::from_secs(1));
                    if *frozen != Some(true) {
                        self.cluster()?.settle();
                    }
                }
                out += &self.report(false)?;
            }
            Command::State => {
                let cluster = self.cluster()?;
                for i in 0..3 {
                    if !cluster.is_up(i) {
                        writeln!(out, "replica {i} is down")?;
                        continue;
                    }
                    let (status, store) = (cluster.node(i).status(), cluster.node(i).store());
                    let live = if status.live { "live" } else { "catching up" };
                    let entries = cluster.contents(i);
                    let entries: Vec<String> =
                        entries.iter().map(|(k, v)| format!("{k}={v}")).collect();
                    writeln!(
                        out,
                        "replica {i} {live}, position {} ({}), {} pending: {}",
                        store.position(),
                        store.last(),
                        status.pending,
                        entries.join(" ")
                    )?;
                }
            }
            Command::Cat { at } => {
                // Checksums would only make the difference of two outputs harder to read.
                for line in self.cluster()?.storage(*at).lines() {
                    let line = line.rsplit_once('\t').map_or(line, |(line, _)| line);
                    writeln!(out, "{}", line.replace('\t', " ⇥ "))?;
                }
            }
        }
        Ok(out)
    }
}
