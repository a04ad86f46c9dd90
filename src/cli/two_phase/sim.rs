//! `lab 2pc sim`: the production coordinator and participants in virtual time, under faults, from a seed.

use std::ffi::OsString;
use std::io::{self, Write};
use std::ops::Range;
use std::process::ExitCode;

use serde_json::json;

use crate::cli::simulate::{self, Runs, Simulator};
use crate::faults::FaultSet;
use crate::sim::two_phase::{Config, MOST_PARTICIPANTS, MUTANTS, Plan, shrink, sweep};
use crate::sim::{PlanError, Shrunk, Sweep, SweepOptions};

/// Run the production coordinator and participants in virtual time, under faults, from seeds.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  lab 2pc sim --seed 17                              # one run, saved with its picture
  lab 2pc sim --seeds 0..10000                       # many, on all cores, to the first failure
  lab 2pc sim --seeds 0..5000 --mutant no-fencing
  lab 2pc sim --seed 3 --faults partition,crash --durable
  lab 2pc sim --plan results/sim-2pc-17/plan.json    # the same run again
  lab 2pc sim --list-mutants                         # protocols that are wrong on purpose

The same arguments give the same bytes in history.jsonl and trace.jsonl, on any machine. To faults, the
coordinator is the node behind the last participant.
Exit codes: 0 all seeds hold, 1 a violation, 2 not decided, 64 wrong usage, 74 the system refused.")]
pub struct SimArgs {
    #[command(flatten)]
    runs: Runs,
    /// How many participants.
    #[arg(long, value_name = "N", default_value = "3", value_parser = clap::value_parser!(u16).range(1..=i64::from(MOST_PARTICIPANTS)), conflicts_with = "plan")]
    participants: u16,
    /// How many clients.
    #[arg(long, value_name = "N", default_value = "4", value_parser = clap::value_parser!(u16).range(1..=1000), conflicts_with = "plan")]
    clients: u16,
    /// How many commands, of all clients together.
    #[arg(long, value_name = "N", default_value = "100", value_parser = clap::value_parser!(u32).range(1..=1_000_000), conflicts_with = "plan")]
    ops: u32,
    /// How many keys they are about.
    #[arg(long, value_name = "N", default_value = "4", value_parser = clap::value_parser!(u16).range(1..=1000), conflicts_with = "plan")]
    keys: u16,
    /// Which faults: `none`, `all`, or names with commas between them.
    #[arg(long, value_name = "LIST", default_value = "all", conflicts_with = "plan")]
    faults: FaultSet,
    /// Participants keep a log, and come back with what is in it.
    #[arg(long, conflicts_with = "plan")]
    durable: bool,
    /// A protocol that is wrong on purpose.
    #[arg(long, value_name = "NAME", conflicts_with = "plan")]
    mutant: Option<String>,
    /// List the mutants: name, and the rule that each breaks.
    #[arg(long)]
    list_mutants: bool,
}

/// Runs the command.
pub fn run(args: &SimArgs, arguments: &[OsString]) -> anyhow::Result<ExitCode> {
    if args.list_mutants {
        let mut out = io::stdout().lock();
        for mutant in MUTANTS {
            writeln!(out, "{}\t{}", mutant.name, mutant.breaks)?;
        }
        return Ok(ExitCode::SUCCESS);
    }
    simulate::run(&TwoPhase { args }, &args.runs, arguments)
}

struct TwoPhase<'a> {
    args: &'a SimArgs,
}

impl TwoPhase<'_> {
    fn config(&self) -> Config {
        let args = self.args;
        Config {
            mutant: args.mutant.clone(),
            participants: args.participants,
            clients: usize::from(args.clients),
            operations: args.ops as usize,
            keys: args.keys,
            faults: args.faults,
            durable: args.durable,
        }
    }
}

impl Simulator for TwoPhase<'_> {
    type Plan = Plan;

    fn command(&self) -> &'static str {
        "lab 2pc sim"
    }

    fn name(&self) -> String {
        let durable = self.args.durable.then_some("durable");
        let parts = [durable, self.args.mutant.as_deref()].into_iter().flatten();
        parts.fold("sim-2pc".to_owned(), |name, part| name + "-" + part)
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
        sweep(&self.config(), seeds, options, progress)
    }

    fn shrink(&self, plan: &Plan, most: u64) -> Result<Option<Shrunk<Plan>>, PlanError> {
        shrink(plan, most)
    }

    fn replay(&self, seed: u64) -> String {
        let (args, usual) = (self.args, Config::default());
        let mut words = format!("lab 2pc sim --seed {seed}");
        if args.durable {
            words += " --durable";
        }
        if let Some(mutant) = &args.mutant {
            words += &format!(" --mutant {mutant}");
        }
        words += &simulate::numbers(&[
            ("participants", usize::from(args.participants), usize::from(usual.participants)),
            ("clients", usize::from(args.clients), usual.clients),
            ("ops", args.ops as usize, usual.operations),
            ("keys", usize::from(args.keys), usize::from(usual.keys)),
        ]);
        words + &simulate::faults(args.faults, usual.faults)
    }

    fn about(&self) -> serde_json::Value {
        json!({ "mode": "2pc", "mutant": self.args.mutant, "durable": self.args.durable })
    }
}
