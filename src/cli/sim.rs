//! `lab sim`: production replicas in virtual time, under faults, from a seed.

use std::{
    ffi::OsString,
    io::{self, Write},
    ops::Range,
    process::ExitCode,
    time::Instant,
};

use serde_json::json;

use super::simulate::{self, Runs, Simulator};
use crate::{
    faults::FaultSet,
    labs::simulation,
    report::Style,
    sim::{
        Config, MUTANTS, Plan, PlanError, Shrunk, Sweep, SweepOptions,
        explore::{self, SCOPES},
        shrink, sweep,
    },
};

/// How many states of a small scope are explored at the most.
const MOST_STATES: usize = 20_000_000;

/// Run the production replicas in virtual time, under faults, from seeds.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  lab sim --consistency sequential --seed 17           # one run, saved with its picture
  lab sim --consistency sequential --seeds 0..10000    # many, on all cores, to the first failure
  lab sim --consistency sequential --seeds 0..5000 --mutant one-ack-short
  lab sim --consistency eventual --seed 3 --faults partition,crash
  lab sim --plan results/sim-sequential-17/plan.json   # the same run again
  lab sim --list-mutants                               # protocols that are wrong on purpose
  lab sim --exhaustive                                 # small scopes, every interleaving

The same arguments give the same bytes in history.jsonl and trace.jsonl, on any machine.
Exit codes: 0 all seeds hold, 1 a violation, 2 not decided, 64 wrong usage, 74 the system refused.")]
pub struct SimArgs {
    /// The consistency mode.
    #[arg(long, value_name = "MODE", required_unless_present_any = ["plan", "list_mutants", "exhaustive"], conflicts_with = "plan")]
    consistency: Option<String>,
    #[command(flatten)]
    runs: Runs,
    /// How many replicas.
    #[arg(long, value_name = "N", default_value = "3", value_parser = clap::value_parser!(u16).range(1..=16), conflicts_with = "plan")]
    replicas: u16,
    /// How many clients.
    #[arg(long, value_name = "N", default_value = "4", value_parser = clap::value_parser!(u16).range(1..=1000), conflicts_with = "plan")]
    clients: u16,
    /// How many operations, of all clients together.
    #[arg(long, value_name = "N", default_value = "200", value_parser = clap::value_parser!(u32).range(1..=1_000_000), conflicts_with = "plan")]
    ops: u32,
    /// How many keys they are about.
    #[arg(long, value_name = "N", default_value = "3", value_parser = clap::value_parser!(u16).range(1..=1000), conflicts_with = "plan")]
    keys: u16,
    /// Which faults: `none`, `all`, or names with commas between them.
    #[arg(long, value_name = "LIST", default_value = "all", conflicts_with = "plan")]
    faults: FaultSet,
    /// A protocol that is wrong on purpose.
    #[arg(long, value_name = "NAME", conflicts_with = "plan")]
    mutant: Option<String>,
    /// List the mutants: name, modes, and the rule that each breaks.
    #[arg(long)]
    list_mutants: bool,
    /// Explore small scopes of the total-order core completely.
    #[arg(long)]
    exhaustive: bool,
}

/// Runs the command.
pub fn run(args: &SimArgs, arguments: &[OsString]) -> anyhow::Result<ExitCode> {
    let style = Style::of_stdout();
    if args.list_mutants {
        return list_mutants();
    }
    if args.exhaustive {
        return explore(style);
    }
    simulate::run(&Replicas { args }, &args.runs, arguments)
}

fn list_mutants() -> anyhow::Result<ExitCode> {
    let mut out = io::stdout().lock();
    for mutant in MUTANTS {
        writeln!(out, "{}\t{}\t{}", mutant.name, mutant.modes.join(","), mutant.breaks)?;
    }
    Ok(ExitCode::SUCCESS)
}

fn explore(style: Style) -> anyhow::Result<ExitCode> {
    let mut out = io::stdout();
    for scope in SCOPES {
        let begun = Instant::now();
        match explore::explore(scope, MOST_STATES) {
            Ok(found) => writeln!(
                out,
                "{} {}: {} states, {} steps, {} different ends, in {:.1} s",
                style.good("✓"),
                scope.name,
                found.states,
                found.steps,
                found.ends,
                begun.elapsed().as_secs_f64()
            )?,
            Err(wrong) => {
                writeln!(out, "{} {}: {wrong}", style.bad("✗"), scope.name)?;
                return Ok(ExitCode::FAILURE);
            }
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// The replicas' simulator.
struct Replicas<'a> {
    args: &'a SimArgs,
}

impl Replicas<'_> {
    fn config(&self) -> Config {
        let args = self.args;
        Config {
            mutant: args.mutant.clone(),
            replicas: args.replicas,
            clients: usize::from(args.clients),
            operations: args.ops as usize,
            keys: args.keys,
            faults: args.faults,
            ..Config::new(args.consistency.as_deref().unwrap_or_default())
        }
    }
}

impl Simulator for Replicas<'_> {
    type Plan = Plan;

    fn command(&self) -> &'static str {
        "lab sim"
    }

    fn name(&self) -> String {
        let mutant = self.args.mutant.as_deref();
        let parts = [self.args.consistency.as_deref(), mutant].into_iter().flatten();
        parts.fold("sim".to_owned(), |name, part| name + "-" + part)
    }

    fn generate(&self, seed: u64) -> Result<Plan, PlanError> {
        Plan::generate(seed, &self.config())
    }

    fn sweep(
        &self,
        seeds: Range<u64>,
        options: SweepOptions,
        progress: &(dyn Fn(u64) + Sync),
    ) -> Result<Sweep, PlanError> {
        sweep(&self.config(), seeds, options, &simulation::checker, progress)
    }

    fn shrink(&self, plan: &Plan, most: u64) -> Result<Option<Shrunk>, PlanError> {
        shrink(plan, &simulation::checker, most)
    }

    fn replay(&self, seed: u64) -> String {
        let args = self.args;
        let mode = args.consistency.as_deref().unwrap_or_default();
        let usual = Config::new(mode);
        let mut words = format!("lab sim --consistency {mode} --seed {seed}");
        if let Some(mutant) = &args.mutant {
            words += &format!(" --mutant {mutant}");
        }
        words += &simulate::numbers(&[
            ("replicas", usize::from(args.replicas), usize::from(usual.replicas)),
            ("clients", usize::from(args.clients), usual.clients),
            ("ops", args.ops as usize, usual.operations),
            ("keys", usize::from(args.keys), usize::from(usual.keys)),
        ]);
        words + &simulate::faults(args.faults, usual.faults)
    }

    fn about(&self) -> serde_json::Value {
        json!({ "mode": self.args.consistency, "mutant": self.args.mutant })
    }
}
