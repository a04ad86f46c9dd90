//! Two-phase commit in scenarios that read like the story they tell: one file a scenario in
//! `tests/scenarios_2pc/`.
//!
//! After a change that is meant, `UPDATE_GOLDENFILES=1 cargo test --test two_phase_scenarios` writes the output
//! anew; read the difference before you commit it.

use std::error::Error;
use std::fmt::Write as _;

use crate::two_phase_support::{MS, World, delete, get, names, set, text};
use consistency_lab::protocol::two_phase::{Answer, Event};

macro_rules! scenarios {
    ($($name:ident),* $(,)?) => {
        $(#[test]
        fn $name() {
            let path = concat!("tests/scenarios_2pc/", stringify!($name));
            goldenscript::run(&mut Scenario::default(), path).expect("the recorded output");
        })*

        #[test]
        fn every_file_is_run() {
            let mut named = vec![$(stringify!($name)),*];
            let mut found: Vec<String> = std::fs::read_dir("tests/scenarios_2pc")
                .expect("the folder of scenarios")
                .map(|entry| entry.expect("a file").file_name().to_string_lossy().into_owned())
                .collect();
            named.sort_unstable();
            found.sort_unstable();
            assert_eq!(named, found, "name each file of tests/scenarios_2pc in this file");
        }
    };
}

scenarios! {
    commit,
    coordinator_lost,
    old_copy,
    there_and_back,
    vote_no,
    witness,
}

#[derive(goldenscript::Command)]
enum Command {
    /// A coordinator and participants, started.
    World {
        n: u16,
        #[arg(key, optional)]
        durable: Option<bool>,
    },
    /// A client sets a key; frames wait for `step`, `settle` or `run`.
    Set {
        ticket: u64,
        key: String,
        value: String,
    },
    /// A client reads a key.
    Get {
        ticket: u64,
        key: String,
    },
    /// A client deletes two keys.
    Del {
        ticket: u64,
        a: String,
        b: String,
    },
    /// Moves one frame to a participant, and its answer back.
    Step {
        p: u16,
    },
    /// Moves all frames until all is quiet, and shows them.
    Settle,
    /// Lets milliseconds pass; shows the frames when asked to.
    Run {
        ms: u32,
        #[arg(key, optional)]
        show: Option<String>,
    },
    /// A participant votes NO from now on.
    Refuse {
        p: u16,
    },
    Cut {
        p: u16,
    },
    Heal {
        p: u16,
    },
    /// Ends the coordinator (`c`) or a participant.
    Kill {
        who: String,
    },
    Start {
        who: String,
    },
    /// One line for everybody.
    State,
}

#[derive(Default)]
struct Scenario {
    world: Option<World>,
}

impl Scenario {
    fn world(&mut self) -> &mut World {
        self.world.as_mut().expect("a world first")
    }

    fn happened(&mut self) -> String {
        let world = self.world();
        let mut out = String::new();
        for line in std::mem::take(&mut world.frames) {
            let _ = writeln!(out, "{line}");
        }
        for event in std::mem::take(&mut world.events) {
            let _ = match event {
                Event::Resolved { txn, commit } => {
                    writeln!(out, "{txn} {}", if commit { "commits" } else { "aborts" })
                }
                Event::Active(view) => {
                    writeln!(out, "epoch {} of [{}]", view.id.epoch, names(view.members))
                }
                Event::Excludes(p) => writeln!(out, "P{p} is excluded"),
                _ => Ok(()),
            };
        }
        for (ticket, answer) in std::mem::take(&mut world.answers) {
            let answer = match answer {
                Answer::Value(value) => value.map_or("nothing".into(), |value| text(&value)),
                Answer::Error(why) => format!("error, {why}"),
                other => format!("{other:?}"),
            };
            let _ = writeln!(out, "answer {ticket}: {answer}");
        }
        out
    }

    fn state(&mut self) -> String {
        let world = self.world();
        let mut out = match world.coordinator.as_ref().map(|c| c.status()) {
            None => "C is down\n".to_owned(),
            Some(status) => format!(
                "C {}, epoch {} of [{}]\n",
                if status.serving { "serves" } else { "does not serve" },
                status.view.id.epoch,
                names(status.view.members)
            ),
        };
        for (p, node) in world.nodes.iter().enumerate() {
            let Some(machine) = &node.machine else {
                let _ = writeln!(out, "P{p} is down");
                continue;
            };
            let entry = |(key, value): (&_, &std::sync::Arc<Vec<u8>>)| {
                let key: &std::sync::Arc<[u8]> = key;
                format!(" {}={}", text(key), text(value))
            };
            let entries: String = machine.table().iter().map(entry).collect();
            let prepared: Vec<String> =
                machine.prepared().keys().map(ToString::to_string).collect();
            let _ = writeln!(
                out,
                "P{p} epoch {}:{entries}{}",
                machine.view().id.epoch,
                if prepared.is_empty() {
                    String::new()
                } else {
                    format!(", promised {}", prepared.join(" "))
                }
            );
        }
        out
    }
}

impl goldenscript::Runner for Scenario {
    type Command = Command;

    fn run(
        &mut self,
        command: &Command,
        _context: &goldenscript::Context,
    ) -> Result<String, Box<dyn Error>> {
        match command {
            Command::World { n, durable } => {
                let mut world = World::new(*n, *durable == Some(true), 1);
                world.start_all();
                self.world = Some(world);
            }
            Command::Set { ticket, key, value } => self.world().submit(*ticket, set(key, value)),
            Command::Get { ticket, key } => self.world().submit(*ticket, get(key)),
            Command::Del { ticket, a, b } => self.world().submit(*ticket, delete(&[a, b])),
            Command::Step { p } => {
                let world = self.world();
                world.show = true;
                world.step(*p);
                world.show = false;
            }
            Command::Settle => {
                let world = self.world();
                world.show = true;
                world.pump();
                world.show = false;
            }
            Command::Run { ms, show } => {
                let world = self.world();
                world.show = show.is_some();
                world.run(MS * *ms);
                world.show = false;
            }
            Command::Refuse { p } => {
                let node = &mut self.world().nodes[usize::from(*p)];
                node.machine.as_mut().expect("it runs").refuse_all(true);
            }
            Command::Cut { p } => self.world().cut(*p),
            Command::Heal { p } => self.world().heal(*p),
            Command::Kill { who } if who == "c" => self.world().kill_coordinator(),
            Command::Kill { who } => self.world().kill(who.parse()?),
            Command::Start { who } if who == "c" => self.world().start_coordinator(),
            Command::Start { who } => self.world().start(who.parse()?),
            Command::State => return Ok(self.state()),
        }
        Ok(self.happened())
    }
}
