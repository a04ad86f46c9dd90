//! The exercise's result for people and for programs.

use std::fmt::Write;

use serde_json::json;

use super::super::balance::count_of;
use super::super::exercise::Exercise;
use super::super::settings::Handler;
use super::{Order, Outcome, Quorum, Row};
use crate::report::{BarChart, BarGroup, BarLook, BarPanel, Columns, Style, bar_chart};

impl Quorum {
    /// What a person reads.
    pub fn text(&self, style: Style) -> String {
        let mut text = String::new();
        let homes = usize::from(self.plan.nodes);
        let painted = |count: usize| match count {
            0 => style.bad("0"),
            count if count == homes => style.good(&count.to_string()),
            count => style.warning(&count.to_string()),
        };
        for outcome in &self.outcomes {
            let _ = writeln!(text, "{}\n", style.bold(&self.title(outcome)));
            let mut table = Columns::new(&[
                "down",
                "online",
                "update -a",
                "update -l",
                "read -a",
                "read -l",
                "back",
                "old",
                "lost",
            ]);
            for row in &outcome.rows {
                let mut cells = vec![row.down.to_string(), (homes - row.down).to_string()];
                let counts = [
                    row.update_at_home,
                    row.update_at_copies,
                    row.read_at_home,
                    row.read_at_copies,
                ];
                cells.extend(counts.map(painted));
                cells.push(painted(row.back));
                cells.extend([row.stale, row.lost].map(|count| match count {
                    0 => style.dim("0"),
                    count => style.bad(&count.to_string()),
                }));
                table.row(cells);
            }
            text += &table.render(style);
            for (name, count) in COLUMNS {
                let _ = writeln!(text, "{name}: {}", self.reach(outcome, count));
            }
            text.push('\n');
        }
        let replicas = self.plan.replicas;
        let _ = writeln!(
            text,
            "Each figure is a number of homes, out of {homes}. -a asks the home itself, -l the nodes that hold the \
             pair in turn.\nback, old, lost: what is read once the nodes that were down run again.\n\
             With copies an update needs two nodes of the {} that hold its pair, a read needs one; -a needs the \
             home\namong them.",
            replicas,
        );
        text
    }

    fn title(&self, outcome: &Outcome) -> String {
        let order = match (outcome.handler, outcome.order) {
            (Handler::Simple, _) => "one node after the other goes down".to_owned(),
            (_, Order::Adjacent) => "adjacent nodes go down".to_owned(),
            (_, Order::Spread) => format!("nodes {} apart go down", self.plan.replicas),
        };
        format!("{}, {}; {order}", outcome.handler.word(), self.copies(outcome))
    }

    fn copies(&self, outcome: &Outcome) -> String {
        match outcome.handler {
            Handler::Simple => "1 copy".to_owned(),
            Handler::FaultTolerant => format!("{} copies", self.plan.replicas),
        }
    }

    /// Up to how many nodes down all succeed, and up to how many some.
    fn reach(&self, outcome: &Outcome, count: fn(&Row) -> usize) -> String {
        let homes = usize::from(self.plan.nodes);
        let online = |row: &Row| count_of(homes - row.down, "node");
        let all = outcome.rows.iter().take_while(|row| count(row) == homes).last();
        let some = outcome.rows.iter().rfind(|row| count(row) > 0);
        let all = all.map_or("never for all homes".to_owned(), |row| {
            format!("all homes up to {} down ({} online)", row.down, online(row))
        });
        let some = some.map_or("never".to_owned(), |row| {
            format!("some up to {} down ({} online)", row.down, online(row))
        });
        format!("{all}, {some}")
    }

    /// The files.
    pub fn exercise(&self) -> Exercise {
        let mut table = Columns::new(&[
            "handler",
            "order",
            "homes",
            "down",
            "online",
            "update_at_home",
            "update_at_copies",
            "read_at_home",
            "read_at_copies",
            "back",
            "old",
            "lost",
        ]);
        let homes = usize::from(self.plan.nodes);
        for outcome in &self.outcomes {
            for row in &outcome.rows {
                let mut cells =
                    vec![outcome.handler.word().to_owned(), outcome.order.word().to_owned()];
                let counts = [
                    homes,
                    row.down,
                    homes - row.down,
                    row.update_at_home,
                    row.update_at_copies,
                    row.read_at_home,
                    row.read_at_copies,
                    row.back,
                    row.stale,
                    row.lost,
                ];
                cells.extend(counts.map(|count| count.to_string()));
                table.row(cells);
            }
        }
        let result = |outcome: &Outcome| {
            let mut object =
                json!({ "handler": outcome.handler.word(), "order": outcome.order.word() });
            for (name, count) in COLUMNS {
                let counts: Vec<usize> = outcome.rows.iter().map(count).collect();
                object[name] = json!(counts);
            }
            object["back"] = outcome.rows.iter().map(|row| row.back).collect();
            object["old"] = outcome.rows.iter().map(|row| row.stale).collect();
            object["lost"] = outcome.rows.iter().map(|row| row.lost).collect();
            object
        };
        let plan = &self.plan;
        Exercise {
            name: "shard-quorum",
            config: json!({
                "nodes": plan.nodes, "replicas": plan.replicas, "function": plan.function.name,
            }),
            results: self.outcomes.iter().map(result).collect(),
            tables: vec![("quorum.csv", table)],
            picture: ("quorum.svg", self.picture()),
        }
    }

    fn picture(&self) -> String {
        let plan = &self.plan;
        let panels = self.outcomes.iter().flat_map(|outcome| {
            let panel = |heading: &str, bars: fn(&Row) -> [(f64, BarLook); 2]| BarPanel {
                heading: heading.to_owned(),
                subheading: match (outcome.handler, outcome.order) {
                    (Handler::Simple, _) => "simple handler, 1 copy".to_owned(),
                    (_, Order::Adjacent) => {
                        format!("{}, adjacent nodes down", self.copies(outcome))
                    }
                    (_, Order::Spread) => {
                        format!("{}, nodes {} apart down", self.copies(outcome), plan.replicas)
                    }
                },
                groups: outcome
                    .rows
                    .iter()
                    .map(|row| BarGroup { label: row.down.to_string(), bars: bars(row).to_vec() })
                    .collect(),
                top: f64::from(plan.nodes),
                mark: None,
            };
            [
                panel("-a: at the home", |row| {
                    [
                        (row.update_at_home as f64, BarLook::Plain),
                        (row.read_at_home as f64, BarLook::Other),
                    ]
                }),
                panel("-l: at the copies in turn", |row| {
                    [
                        (row.update_at_copies as f64, BarLook::Plain),
                        (row.read_at_copies as f64, BarLook::Other),
                    ]
                }),
                panel("-l: all nodes run again", |row| {
                    [
                        (row.back as f64, BarLook::Other),
                        ((row.stale + row.lost) as f64, BarLook::Notable),
                    ]
                }),
            ]
        });
        bar_chart(&BarChart {
            title: format!(
                "Homes whose pairs can be updated and read, by the number of nodes down, of {}",
                count_of(plan.nodes.into(), "node")
            ),
            description: "One row of panels for each scenario. With the simple handler every node that goes \
                          down takes its pairs along. With copies, updates through the copies succeed while \
                          two of a pair's nodes are up, reads while one is."
                .to_owned(),
            columns: 3,
            height: 120.0,
            panels: panels.collect(),
            legend: vec![
                (BarLook::Plain, "updates succeed".to_owned()),
                (BarLook::Other, "reads give the last acknowledged value".to_owned()),
                (BarLook::Notable, "lost, or old".to_owned()),
            ],
            notes: vec![
                "Measured with real nodes, started anew for each number. Every pair is written again after \
                 each failure."
                    .to_owned(),
            ],
        })
    }
}

/// A name, and what it counts.
type Column = (&'static str, fn(&Row) -> usize);

/// What is tabulated of the nodes that are down: its name and its count.
const COLUMNS: [Column; 4] = [
    ("update -a", |row| row.update_at_home),
    ("update -l", |row| row.update_at_copies),
    ("read -a", |row| row.read_at_home),
    ("read -l", |row| row.read_at_copies),
];
