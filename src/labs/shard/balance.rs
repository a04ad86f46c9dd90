//! The exercise on load balancing: keys in strides, and how many of them each node gets.
//!
//! A strided access touches every s-th key: a program that walks over one column of a matrix, or timestamps that
//! are all full minutes. Modulo n such keys reach only `n/gcd(s, n)` nodes. A hash does not see the stride.

use std::fmt::Write;

use serde_json::{Value, json};

use super::exercise::Exercise;
use super::fairness::{DOUBTFUL, FEWEST, Fairness, UNFAIR, Verdict, bound};
use crate::client::routing::{Function, Placement};
use crate::report::{
    BarChart, BarGroup, BarLook, BarPanel, Columns, Style, bar, bar_chart, grouped,
};

/// How many cells of the terminal the longest bar takes.
const CELLS: usize = 7;

/// The most nodes whose bars are shown on the terminal.
const MOST_SHOWN: usize = 64;

/// The progress is told every so many keys.
const REPORTED: u64 = 4096;

/// What is to be placed where.
#[derive(Clone, Debug)]
pub struct Plan {
    /// The first key.
    pub start: u64,
    /// No key is greater.
    pub last: u64,
    /// The distances from key to key, none of them 0.
    pub strides: Vec<u64>,
    /// How many nodes.
    pub nodes: usize,
    /// With which functions.
    pub functions: Vec<&'static Function>,
}

impl Plan {
    /// How many keys a stride gives.
    pub fn keys(&self, stride: u64) -> u64 {
        let span = self.last.checked_sub(self.start);
        span.map_or(0, |span| span / stride.max(1) + 1)
    }

    /// How many keys are placed, all in all.
    pub fn work(&self) -> u64 {
        let keys: u64 = self.strides.iter().map(|stride| self.keys(*stride)).sum();
        keys * self.functions.len() as u64
    }
}

/// The load of the nodes with one function under one stride.
#[derive(Clone, Debug)]
pub struct Case {
    /// The stride.
    pub stride: u64,
    /// The function.
    pub function: &'static Function,
    /// The keys of each node.
    pub counts: Vec<u64>,
    /// How even that is.
    pub fairness: Fairness,
}

/// The exercise's result.
#[derive(Clone, Debug)]
pub struct Balance {
    plan: Plan,
    cases: Vec<Case>,
}

impl Balance {
    /// Places all keys. `progress` is told how many have been placed.
    pub fn run(plan: Plan, progress: &dyn Fn(u64)) -> Self {
        let mut placed = 0;
        let mut cases = Vec::new();
        for stride in plan.strides.iter().map(|stride| (*stride).max(1)) {
            for function in &plan.functions {
                let placement = Placement::new(function, plan.nodes);
                let mut counts = vec![0u64; placement.nodes()];
                for number in 0..plan.keys(stride) {
                    let key = plan.start + number * stride;
                    counts[placement.primary(itoa::Buffer::new().format(key))] += 1;
                    placed += 1;
                    if placed % REPORTED == 0 {
                        progress(placed);
                    }
                }
                let fairness = Fairness::of(&counts);
                cases.push(Case { stride, function, counts, fairness });
            }
        }
        Self { plan, cases }
    }

    /// The cases, stride by stride.
    pub fn cases(&self) -> &[Case] {
        &self.cases
    }

    fn of_stride(&self, stride: u64) -> impl Iterator<Item = &Case> + Clone {
        self.cases.iter().filter(move |case| case.stride == stride)
    }

    /// What a person reads.
    pub fn text(&self, style: Style) -> String {
        let mut text = String::new();
        for stride in &self.plan.strides {
            let _ = writeln!(text, "{}\n", style.bold(&self.heading(*stride)));
            if self.plan.nodes <= MOST_SHOWN {
                text += &self.bars(*stride, style);
                text.push('\n');
            }
            text += &self.figures(*stride, style);
            if let Some(why) = self.why(*stride) {
                let _ = writeln!(text, "{}", style.dim(&why));
            }
            text.push('\n');
        }
        let freedom = self.plan.nodes - 1;
        let _ = writeln!(
            text,
            "chi-square has {freedom} degrees of freedom; 95 % of fair placements stay below {:.1}. \
             p is the probability\nof such a chi-square by chance: doubtful below {DOUBTFUL}, unfair below \
             {UNFAIR}.",
            if freedom == 0 { 0.0 } else { bound(0.95, freedom) },
        );
        if let Some(few) = self.cases.iter().find(|case| case.fairness.mean < FEWEST) {
            let line = format!(
                "with {:.1} keys a node (stride {}) chi-square is a rough guide; from {FEWEST} on it is sound",
                few.fairness.mean, few.stride
            );
            let _ = writeln!(text, "{}", style.warning(&line));
        }
        text
    }

    fn heading(&self, stride: u64) -> String {
        let (keys, start) = (self.plan.keys(stride), self.plan.start);
        let last = start + (keys.saturating_sub(1)) * stride;
        let list = match keys {
            0 | 1 => format!("the key {start}"),
            2 => format!("2 keys {start} and {last}"),
            _ => format!("{} keys {start}, {} … {last}", grouped(keys), start + stride),
        };
        format!("stride {stride}: {list} on {}", count_of(self.plan.nodes, "node"))
    }

    fn bars(&self, stride: u64, style: Style) -> String {
        let cases = self.of_stride(stride);
        let most = cases.clone().map(|case| case.fairness.fullest).max().unwrap_or(0);
        let width = grouped(most).chars().count();
        let names = cases.clone().map(|case| case.function.name);
        let heading: Vec<&str> = std::iter::once("node").chain(names).collect();
        let mut columns = Columns::new(&heading);
        for node in 0..self.plan.nodes {
            let cell = |case: &Case| {
                let count = case.counts[node];
                let bar = bar(count, most, CELLS);
                let bar = match case.fairness.verdict() {
                    Verdict::Unfair => style.bad(&bar),
                    _ => style.accent(&bar),
                };
                format!("{bar} {:>width$}", grouped(count))
            };
            columns.row(std::iter::once(node.to_string()).chain(cases.clone().map(cell)).collect());
        }
        columns.render(style)
    }

    fn figures(&self, stride: u64, style: Style) -> String {
        let mut columns = Columns::new(&[
            "function",
            "nodes used",
            "fullest",
            "max/mean",
            "cv",
            "chi-square",
            "p",
            "",
        ]);
        for case in self.of_stride(stride) {
            let fairness = &case.fairness;
            let verdict = fairness.verdict();
            let word = match verdict {
                Verdict::Fair => style.good(verdict.word()),
                Verdict::Doubtful => style.warning(verdict.word()),
                Verdict::Unfair => style.bad(verdict.word()),
            };
            columns.row(vec![
                case.function.name.to_owned(),
                fairness.reached.to_string(),
                grouped(fairness.fullest),
                format!("{:.2}", fairness.max_over_mean),
                format!("{:.3}", fairness.variation),
                format!("{:.1}", fairness.chi_square),
                probability(fairness.p),
                word,
            ]);
        }
        columns.render(style)
    }

    /// Why `None` does what it does.
    fn why(&self, stride: u64) -> Option<String> {
        let simple = self.of_stride(stride).any(|case| case.function.name == "None");
        let nodes = self.plan.nodes as u64;
        let common = gcd(stride, nodes);
        simple.then(|| {
            format!(
                "None: gcd({stride}, {nodes}) = {common}, so the keys can reach {nodes}/{common} = {}",
                count_of((nodes / common) as usize, "node")
            )
        })
    }

    /// The files.
    pub fn exercise(&self) -> Exercise {
        let mut loads = Columns::new(&["stride", "function", "node", "keys"]);
        let mut figures = Columns::new(&[
            "stride",
            "function",
            "keys",
            "nodes",
            "nodes_used",
            "max",
            "max_over_mean",
            "coefficient_of_variation",
            "chi_square",
            "degrees_of_freedom",
            "p",
            "verdict",
        ]);
        for case in &self.cases {
            let (stride, name) = (case.stride.to_string(), case.function.name.to_owned());
            for (node, count) in case.counts.iter().enumerate() {
                loads.row(vec![stride.clone(), name.clone(), node.to_string(), count.to_string()]);
            }
            let fairness = &case.fairness;
            figures.row(vec![
                stride,
                name,
                fairness.keys.to_string(),
                case.counts.len().to_string(),
                fairness.reached.to_string(),
                fairness.fullest.to_string(),
                format!("{:.6}", fairness.max_over_mean),
                format!("{:.6}", fairness.variation),
                format!("{:.6}", fairness.chi_square),
                fairness.freedom.to_string(),
                format!("{:.6e}", fairness.p),
                fairness.verdict().word().to_owned(),
            ]);
        }
        let plan = &self.plan;
        let names: Vec<&str> = plan.functions.iter().map(|function| function.name).collect();
        Exercise {
            name: "shard-balance",
            config: json!({
                "start": plan.start, "keys": plan.last, "strides": plan.strides,
                "nodes": plan.nodes, "functions": names,
            }),
            results: self.cases.iter().map(result).collect(),
            tables: vec![("balance.csv", loads), ("fairness.csv", figures)],
            picture: ("balance.svg", self.picture()),
        }
    }

    fn picture(&self) -> String {
        let plan = &self.plan;
        // A row a function, a column a stride.
        let panels = plan.functions.iter().flat_map(|function| {
            let of_function = |case: &&Case| case.function.name == function.name;
            self.cases.iter().filter(of_function).map(|case| self.panel(case))
        });
        bar_chart(&BarChart {
            title: format!(
                "Keys a node: strides {} on {}",
                listed(&plan.strides),
                count_of(plan.nodes, "node")
            ),
            description: "One panel for each function and stride, one bar for each node. Under None a \
                          stride that shares a divisor with the number of nodes leaves nodes without keys; \
                          the functions that hash spread the same keys over all nodes."
                .to_owned(),
            columns: plan.strides.len(),
            height: 92.0,
            panels: panels.collect(),
            legend: vec![
                (BarLook::Plain, "keys of a node".to_owned()),
                (BarLook::Notable, format!("unfair: chance does this with p < {UNFAIR}")),
                (BarLook::Mark, "the mean".to_owned()),
            ],
            notes: vec![format!(
                "Keys from {} to {} in steps of the stride. max/mean: the fullest node against the mean; cv: \
                 standard deviation over mean.",
                plan.start, plan.last
            )],
        })
    }

    fn panel(&self, case: &Case) -> BarPanel {
        let fairness = &case.fairness;
        let most = self.of_stride(case.stride).map(|case| case.fairness.fullest).max();
        let look = match fairness.verdict() {
            Verdict::Unfair => BarLook::Notable,
            _ => BarLook::Plain,
        };
        let group = |(node, count): (usize, &u64)| BarGroup {
            label: node.to_string(),
            bars: vec![(*count as f64, look)],
        };
        BarPanel {
            heading: format!("{}, stride {}", case.function.name, case.stride),
            subheading: format!(
                "max/mean {:.2} · cv {:.2} · p {}",
                fairness.max_over_mean,
                fairness.variation,
                probability(fairness.p)
            ),
            groups: case.counts.iter().enumerate().map(group).collect(),
            // Room for the figure above the highest bar.
            top: most.unwrap_or(0).max(1) as f64 * 1.1,
            mark: Some(fairness.mean),
        }
    }
}

fn result(case: &Case) -> Value {
    let fairness = &case.fairness;
    json!({
        "stride": case.stride,
        "function": case.function.name,
        "keys": fairness.keys,
        "counts": case.counts,
        "nodes_used": fairness.reached,
        "max_over_mean": fairness.max_over_mean,
        "coefficient_of_variation": fairness.variation,
        "chi_square": fairness.chi_square,
        "degrees_of_freedom": fairness.freedom,
        "p": fairness.p,
        "verdict": fairness.verdict().word(),
    })
}

fn probability(p: f64) -> String {
    if p < UNFAIR { format!("< {UNFAIR}") } else { format!("{p:.3}") }
}

/// `3, 10 and 12`.
fn listed(numbers: &[u64]) -> String {
    let texts: Vec<String> = numbers.iter().map(u64::to_string).collect();
    match texts.split_last() {
        Some((last, [])) => last.clone(),
        Some((last, others)) => format!("{} and {last}", others.join(", ")),
        None => String::new(),
    }
}

/// `1 node`, `12 nodes`.
pub(super) fn count_of(count: usize, what: &str) -> String {
    if count == 1 { format!("1 {what}") } else { format!("{count} {what}s") }
}

fn gcd(a: u64, b: u64) -> u64 {
    if b == 0 { a } else { gcd(b, a % b) }
}
