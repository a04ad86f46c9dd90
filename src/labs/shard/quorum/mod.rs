//! The exercise on fault tolerance: real nodes go down one by one; which updates and reads still succeed?
//!
//! Each scenario is a handler and an order in which nodes go down. For each number of nodes that are down it
//! starts all nodes anew and writes pairs to every home. Then it takes the nodes down one after the other and
//! writes every pair again after each. So the pairs that are read in the end were written with fewer and fewer
//! copies. A pair is written and read in two ways, as `send_message` does it: at its home (`-a`), and through
//! the client's list of copies (`-l`). At last the nodes that are down start again, empty, and all is read once more: what
//! was acknowledged and is not there is lost.
//!
//! With n copies on adjacent nodes, of which an update needs two: the pairs of a home can be updated through
//! `-l` while two of its n nodes are up, and read while one is. At its home (`-a`) that node itself has to be
//! up too. The order matters: adjacent nodes share their pairs, so two adjacent failures can already stop
//! updates with n = 3, while failures spread n apart hit each pair only once.
//!
//! Cost: each row is a start of all nodes, and so many rounds of messages as nodes go down.

mod show;

use super::settings::{Handler, NodeAddress, Settings};
use super::{Answer, LocalNodes, SendError, ServerError, ShardClient};
use crate::client::Options;
use crate::client::routing::{Function, Placement};
use crate::wire::lines::shard::Kind;

/// Keys are looked for among so many numbers; any function finds one for each of [`MOST_NODES`] nodes.
const MOST_TRIES: u32 = 1_000_000;

/// The most nodes of this exercise: the work grows with their cube.
pub const MOST_NODES: u16 = 32;

/// What is to be done.
#[derive(Clone, Debug)]
pub struct Plan {
    /// How many nodes.
    pub nodes: u16,
    /// On how many of them a pair is, with the fault tolerant handler; from 2 to `nodes`.
    pub replicas: u16,
    /// Spreads the keys.
    pub function: &'static Function,
}

impl Plan {
    /// How many rows the tables will have together.
    pub fn work(&self) -> u64 {
        (u64::from(self.nodes) + 1) * SCENARIOS.len() as u64
    }

    fn settings(&self, handler: Handler) -> Settings {
        let node = |number: u16| NodeAddress {
            name: format!("scutter{:02}", number + 1),
            host: "127.0.0.1".to_owned(),
            port: 0,
        };
        let mut settings = Settings::new((0..self.nodes).map(node).collect());
        settings.function = self.function;
        settings.replicas = self.replicas.into();
        settings.handler = handler;
        settings
    }

    /// A key for each home.
    fn keys(&self) -> Vec<String> {
        let placement = Placement::new(self.function, self.nodes.into());
        let mut keys = vec![None; placement.nodes()];
        let mut missing = keys.len();
        for number in 0..MOST_TRIES {
            let key = number.to_string();
            let place = &mut keys[placement.primary(&key)];
            if place.is_none() {
                *place = Some(key);
                missing -= 1;
                if missing == 0 {
                    break;
                }
            }
        }
        keys.into_iter().flatten().collect()
    }
}

/// In which order nodes go down.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Order {
    /// One beside the other: 0, 1, 2, …
    Adjacent,
    /// As far apart as the copies reach: 0, n, 2n, …, then 1, n+1, …
    Spread,
}

impl Order {
    /// The nodes in this order.
    pub fn nodes(self, plan: &Plan) -> Vec<usize> {
        let (nodes, step) = (usize::from(plan.nodes), usize::from(plan.replicas.max(1)));
        match self {
            Self::Adjacent => (0..nodes).collect(),
            Self::Spread => (0..step).flat_map(|first| (first..nodes).step_by(step)).collect(),
        }
    }

    /// As it is written in files.
    pub fn word(self) -> &'static str {
        match self {
            Self::Adjacent => "adjacent",
            Self::Spread => "spread",
        }
    }
}

/// The scenarios, in the order in which they are shown.
pub const SCENARIOS: [(Handler, Order); 3] = [
    (Handler::Simple, Order::Adjacent),
    (Handler::FaultTolerant, Order::Adjacent),
    (Handler::FaultTolerant, Order::Spread),
];

/// Of how many homes the pairs are, of those that the plan has as nodes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Row {
    /// How many nodes are down.
    pub down: usize,
    /// Updated at the home.
    pub update_at_home: usize,
    /// Updated through the copies.
    pub update_at_copies: usize,
    /// Read at the home, with the value that was acknowledged last (or one written since).
    pub read_at_home: usize,
    /// The same through the copies.
    pub read_at_copies: usize,
    /// The same through the copies, when all nodes run again.
    pub back: usize,
    /// Read then with an older value.
    pub stale: usize,
    /// Not there then.
    pub lost: usize,
}

/// What happened in one scenario.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// What the nodes did with updates.
    pub handler: Handler,
    /// In which order they went down.
    pub order: Order,
    /// From no node down to all.
    pub rows: Vec<Row>,
}

/// The exercise's result.
#[derive(Clone, Debug)]
pub struct Quorum {
    plan: Plan,
    outcomes: Vec<Outcome>,
}

/// One row in the making.
struct Trial<'a> {
    keys: &'a [String],
    names: Vec<String>,
    client: ShardClient<'a>,
    /// The last value of each home that was acknowledged: at home, through the copies.
    acknowledged: [Vec<usize>; 2],
}

/// The two ways to send a message, as the index of [`Trial::acknowledged`].
const AT_HOME: usize = 0;
const AT_COPIES: usize = 1;

impl Trial<'_> {
    /// The key that is used this way; the ways do not meet.
    fn key(&self, way: usize, home: usize) -> String {
        // Any node is a home for `-a`. A name keeps the key apart from the numbers, whose homes are computed.
        if way == AT_HOME { format!("at-{home}") } else { self.keys[home].clone() }
    }

    fn send(
        &mut self,
        way: usize,
        home: usize,
        kind: Kind,
        body: &str,
    ) -> Result<Answer, SendError> {
        match way {
            AT_HOME => self.client.send_to(&self.names[home], kind, body),
            _ => self.client.send(kind, body, |_| {}),
        }
    }

    /// Writes the pairs of all homes; gives how many were acknowledged.
    fn update(&mut self, way: usize, value: usize) -> usize {
        let mut done = 0;
        for home in 0..self.keys.len() {
            let pair = format!("{}:{value}", self.key(way, home));
            if self.send(way, home, Kind::Update, &pair).is_ok_and(|answer| answer.is_success()) {
                self.acknowledged[way][home] = value;
                done += 1;
            }
        }
        done
    }

    /// Reads the pairs of all homes; gives how many were current, old, and not there.
    fn read(&mut self, way: usize) -> [usize; 3] {
        let mut counts = [0; 3];
        for home in 0..self.keys.len() {
            let key = self.key(way, home);
            let answer = self.send(way, home, Kind::Read, &key);
            let value = answer.ok().filter(Answer::is_success).and_then(|a| a.body.parse().ok());
            // A value of an update that was refused is no older than the last one that was acknowledged.
            let found = match value {
                Some(value) if self.acknowledged[way][home] <= value => 0,
                Some(_) => 1,
                None => 2,
            };
            counts[found] += 1;
        }
        counts
    }
}

impl Quorum {
    /// Runs all scenarios. `progress` is told after each row.
    ///
    /// # Errors
    /// The system has no ports or threads left.
    pub fn run(plan: Plan, progress: &dyn Fn()) -> Result<Self, ServerError> {
        let mut outcomes = Vec::new();
        for (handler, order) in SCENARIOS {
            let mut rows = Vec::new();
            for down in 0..=usize::from(plan.nodes) {
                rows.push(row(&plan, handler, order, down)?);
                progress();
            }
            outcomes.push(Outcome { handler, order, rows });
        }
        Ok(Self { plan, outcomes })
    }

    /// What happened, a scenario each.
    pub fn outcomes(&self) -> &[Outcome] {
        &self.outcomes
    }
}

fn row(plan: &Plan, handler: Handler, order: Order, down: usize) -> Result<Row, ServerError> {
    let mut nodes = LocalNodes::start(&plan.settings(handler))?;
    let settings = nodes.settings().clone();
    let keys = plan.keys();
    let none = vec![0; keys.len()];
    let mut trial = Trial {
        names: settings.nodes.iter().map(|node| node.name.clone()).collect(),
        client: ShardClient::new(&settings, Options::default()),
        keys: &keys,
        acknowledged: [none.clone(), none],
    };
    let mut row = Row { down, ..Row::default() };
    // Values are counted from 1, so that 0 is none.
    for value in 1..=down + 1 {
        if let Some(number) = value.checked_sub(2) {
            nodes.stop(order.nodes(plan)[number]);
        }
        row.update_at_home = trial.update(AT_HOME, value);
        row.update_at_copies = trial.update(AT_COPIES, value);
    }
    [row.read_at_home, ..] = trial.read(AT_HOME);
    [row.read_at_copies, ..] = trial.read(AT_COPIES);
    for node in &order.nodes(plan)[..down] {
        nodes.restart(*node)?;
    }
    [row.back, row.stale, row.lost] = trial.read(AT_COPIES);
    Ok(row)
}
