//! The exercise on growth: how many keys move when the number of nodes changes.
//!
//! A key that moves has to be copied over the network while clients ask for it, so the fewer the better. Fewer
//! than the new nodes have to hold cannot be: from n to m nodes the share `|m-n| / max(n, m)`.

use std::fmt::Write;

use serde_json::json;

use super::balance::count_of;
use super::exercise::Exercise;
use crate::client::routing::{Function, Placement};
use crate::report::{
    BarChart, BarGroup, BarLook, BarPanel, Columns, Style, bar, bar_chart, grouped,
};

/// How many cells of the terminal a bar of all keys takes.
const CELLS: usize = 20;

/// The progress is told every so many keys.
const REPORTED: u64 = 4096;

/// What changes.
#[derive(Clone, Debug)]
pub struct Plan {
    /// The nodes before, at least one.
    pub from: usize,
    /// The nodes after, at least one.
    pub to: usize,
    /// The keys are 1 up to this one.
    pub keys: u64,
    /// With which functions.
    pub functions: Vec<&'static Function>,
}

/// What moves with one function.
#[derive(Clone, Copy, Debug)]
pub struct Case {
    /// The function.
    pub function: &'static Function,
    /// How many keys change their node.
    pub moved: u64,
    /// How many of them between nodes that are there before and after: in vain.
    pub in_vain: u64,
}

/// The exercise's result.
#[derive(Clone, Debug)]
pub struct Resize {
    plan: Plan,
    cases: Vec<Case>,
}

impl Resize {
    /// Places all keys twice. `progress` is told how many have been placed.
    pub fn run(plan: Plan, progress: &dyn Fn(u64)) -> Self {
        let mut placed = 0;
        let mut cases = Vec::new();
        for function in &plan.functions {
            let (before, after) =
                (Placement::new(function, plan.from), Placement::new(function, plan.to));
            let kept = before.nodes().min(after.nodes());
            let mut case = Case { function, moved: 0, in_vain: 0 };
            for key in 1..=plan.keys {
                let mut buffer = itoa::Buffer::new();
                let key = buffer.format(key);
                let (old, new) = (before.primary(key), after.primary(key));
                case.moved += u64::from(old != new);
                case.in_vain += u64::from(old != new && old < kept && new < kept);
                placed += 1;
                if placed % REPORTED == 0 {
                    progress(placed);
                }
            }
            cases.push(case);
        }
        Self { plan, cases }
    }

    /// The cases, a function each.
    pub fn cases(&self) -> &[Case] {
        &self.cases
    }

    /// The least share of the keys that has to move.
    pub fn least_share(&self) -> f64 {
        let (from, to) = (self.plan.from, self.plan.to);
        from.abs_diff(to) as f64 / from.max(to).max(1) as f64
    }

    fn least(&self) -> f64 {
        self.least_share() * self.plan.keys as f64
    }

    fn share(&self, moved: u64) -> f64 {
        moved as f64 / self.plan.keys.max(1) as f64
    }

    /// How many times the least; `None` where nothing has to move.
    fn times(&self, case: &Case) -> Option<f64> {
        let least = self.least();
        (least > 0.0).then(|| case.moved as f64 / least)
    }

    /// What a person reads.
    pub fn text(&self, style: Style) -> String {
        let plan = &self.plan;
        let heading = format!(
            "from {} to {}: {} keys, of which {} ({:.1} %) have to move",
            plan.from,
            count_of(plan.to, "node"),
            grouped(plan.keys),
            grouped(self.least().round() as u64),
            self.least_share() * 100.0
        );
        let mut text = format!("{}\n\n", style.bold(&heading));
        let mut columns =
            Columns::new(&["function", "", "moved", "share", "times the least", "in vain"]);
        for case in &self.cases {
            let cells = bar(case.moved, plan.keys, CELLS);
            columns.row(vec![
                case.function.name.to_owned(),
                if case.in_vain > 0 { style.bad(&cells) } else { style.accent(&cells) },
                grouped(case.moved),
                format!("{:.1} %", self.share(case.moved) * 100.0),
                self.times(case).map_or("-".to_owned(), |times| format!("{times:.2}")),
                grouped(case.in_vain),
            ]);
        }
        text += &columns.render(style);
        let _ = writeln!(
            text,
            "\nin vain: moved between two nodes that are there before and after. A function that moves less \
             than the\nleast leaves the new nodes with less than their share."
        );
        text
    }

    /// The files.
    pub fn exercise(&self) -> Exercise {
        let plan = &self.plan;
        let mut table =
            Columns::new(&["function", "from", "to", "keys", "moved", "share", "least", "in_vain"]);
        for case in &self.cases {
            table.row(vec![
                case.function.name.to_owned(),
                plan.from.to_string(),
                plan.to.to_string(),
                plan.keys.to_string(),
                case.moved.to_string(),
                format!("{:.6}", self.share(case.moved)),
                format!("{:.6}", self.least_share()),
                case.in_vain.to_string(),
            ]);
        }
        let names: Vec<&str> = plan.functions.iter().map(|function| function.name).collect();
        let result = |case: &Case| {
            json!({
                "function": case.function.name,
                "moved": case.moved,
                "share": self.share(case.moved),
                "times_the_least": self.times(case),
                "in_vain": case.in_vain,
            })
        };
        Exercise {
            name: "shard-resize",
            config: json!({ "from": plan.from, "to": plan.to, "keys": plan.keys, "functions": names }),
            results: json!({
                "least_share": self.least_share(),
                "functions": self.cases.iter().map(result).collect::<Vec<_>>(),
            }),
            tables: vec![("resize.csv", table)],
            picture: ("resize.svg", self.picture()),
        }
    }

    fn picture(&self) -> String {
        let plan = &self.plan;
        let group = |case: &Case| {
            let look = if case.in_vain > 0 { BarLook::Notable } else { BarLook::Plain };
            // One decimal is what the table shows.
            let percent = (self.share(case.moved) * 1000.0).round() / 10.0;
            BarGroup { label: case.function.name.to_owned(), bars: vec![(percent, look)] }
        };
        bar_chart(&BarChart {
            title: format!("Keys that move from {} to {}", plan.from, count_of(plan.to, "node")),
            description: "One bar for each function: the share of the keys that change their node. None \
                          and md5 move nearly all; ring, rendezvous and jump about as few as possible."
                .to_owned(),
            columns: 1,
            height: 220.0,
            panels: vec![BarPanel {
                heading: "Share of the keys that change their node, in percent".to_owned(),
                subheading: format!(
                    "{} keys, the integers from 1 on; {:.1} % have to move",
                    grouped(plan.keys),
                    self.least_share() * 100.0
                ),
                groups: self.cases.iter().map(group).collect(),
                top: 100.0,
                mark: Some(self.least_share() * 100.0),
            }],
            legend: vec![
                (BarLook::Notable, "moves keys between old nodes too, in vain".to_owned()),
                (BarLook::Plain, "moves only what has to move".to_owned()),
                (BarLook::Mark, "the least possible".to_owned()),
            ],
            notes: Vec::new(),
        })
    }
}
