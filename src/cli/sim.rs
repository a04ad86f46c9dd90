//! `lab sim`: production replicas in virtual time, under faults, from a seed.

use std::{
    ffi::OsString,
    io::{self, IsTerminal, Write},
    ops::Range,
    path::PathBuf,
    process::ExitCode,
    thread,
    time::Instant,
};

use indicatif::{ProgressBar, ProgressStyle};
use serde_json::json;

use super::usage;
use crate::{
    faults::FaultSet,
    labs::simulation::{self, Kept, SimulationError},
    report::{Style, verdicts},
    sim::{
        Config, MUTANTS, Plan, Sweep, SweepOptions, Verdict,
        explore::{self, SCOPES},
        shrink, sweep,
    },
};

/// The exit code where a checker could not decide.
const UNDECIDED: u8 = 2;

/// How many runs shrinking may take.
const SHRINK_RUNS: u64 = 20_000;

/// How many states of a small scope are explored at the most.
const MOST_STATES: usize = 20_000_000;

/// No range of seeds ends behind this, so that counting never wraps.
const LAST_SEED: u64 = 1 << 63;

/// How many failing seeds `--keep-going` lists.
const LISTED: usize = 20;

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
    #[arg(long, value_name = "MODE", required_unless_present_any = ["plan", "list_mutants", "exhaustive"])]
    consistency: Option<String>,
    /// One seed.
    #[arg(long, value_name = "N", conflicts_with_all = ["seeds", "plan"])]
    seed: Option<u64>,
    /// The seeds from A up to but without B.
    #[arg(long, value_name = "A..B", value_parser = seeds, conflicts_with = "plan")]
    seeds: Option<Range<u64>>,
    /// A plan that was saved, instead of one from a seed.
    #[arg(long, value_name = "FILE", conflicts_with_all = [
        "consistency", "mutant", "replicas", "clients", "ops", "keys", "faults",
    ])]
    plan: Option<PathBuf>,
    /// How many replicas.
    #[arg(long, value_name = "N", default_value = "3", value_parser = clap::value_parser!(u16).range(1..=16))]
    replicas: u16,
    /// How many clients.
    #[arg(long, value_name = "N", default_value = "4", value_parser = clap::value_parser!(u16).range(1..=1000))]
    clients: u16,
    /// How many operations, of all clients together.
    #[arg(long, value_name = "N", default_value = "200", value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    ops: u32,
    /// How many keys they are about.
    #[arg(long, value_name = "N", default_value = "3", value_parser = clap::value_parser!(u16).range(1..=1000))]
    keys: u16,
    /// Which faults: `none`, `all`, or names with commas between them.
    #[arg(long, value_name = "LIST", default_value = "all")]
    faults: FaultSet,
    /// A protocol that is wrong on purpose.
    #[arg(long, value_name = "NAME")]
    mutant: Option<String>,
    /// List the mutants: name, modes, and the rule that each breaks.
    #[arg(long)]
    list_mutants: bool,
    /// Explore small scopes of the total-order core completely.
    #[arg(long)]
    exhaustive: bool,
    /// Go on behind the first failing seed, and list them.
    #[arg(long)]
    keep_going: bool,
    /// Do not make a failing run small.
    #[arg(long)]
    no_shrink: bool,
    /// How many threads run seeds; by default one a core.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=1024))]
    threads: Option<u16>,
    /// The folder for what is kept; by default one below results/ that names the mode and the seed.
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
}

fn seeds(text: &str) -> Result<Range<u64>, String> {
    let parsed =
        text.split_once("..").and_then(|(from, to)| Some(from.parse().ok()?..to.parse().ok()?));
    match parsed {
        Some(range) if range.start < range.end && range.end <= LAST_SEED => Ok(range),
        _ => {
            Err("expected two numbers up to 2^63, the first one smaller, such as 0..10000"
                .to_owned())
        }
    }
}

/// Runs the command.
pub fn run(args: &SimArgs, arguments: &[OsString]) -> anyhow::Result<ExitCode> {
    let command = Command { args, arguments, style: Style::of_stdout() };
    let result = if args.list_mutants {
        command.list_mutants()
    } else if args.exhaustive {
        command.explore()
    } else if let Some(seeds) = &args.seeds {
        command.sweep(seeds.clone())
    } else {
        command.single()
    };
    match result {
        // What a plan cannot be made of was typed.
        Err(error) => match error.downcast::<SimulationError>() {
            Ok(SimulationError::Plan(error)) => {
                Ok(usage::wrong_usage::<super::Lab>(&error.to_string(), arguments))
            }
            Ok(error @ SimulationError::NoPlan { .. }) => {
                Ok(usage::wrong_usage::<super::Lab>(&error.to_string(), arguments))
            }
            Ok(error) => Err(error.into()),
            Err(error) => Err(error),
        },
        ok => ok,
    }
}

struct Command<'a> {
    args: &'a SimArgs,
    arguments: &'a [OsString],
    style: Style,
}

impl Command<'_> {
    fn say(&self, text: &str) -> anyhow::Result<()> {
        Ok(writeln!(io::stdout(), "{text}")?)
    }

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

    /// Where a run of this seed (or all of a sweep) is kept.
    fn folder(&self, seed: Option<u64>) -> PathBuf {
        if let Some(folder) = &self.args.out {
            return folder.clone();
        }
        let mut name = "sim".to_owned();
        let mutant = self.args.mutant.as_deref();
        for part in [self.args.consistency.as_deref(), mutant].into_iter().flatten() {
            name += &format!("-{part}");
        }
        if let Some(seed) = seed {
            name += &format!("-{seed}");
        }
        PathBuf::from("results").join(name)
    }

    fn words(&self) -> Vec<String> {
        self.arguments.iter().map(|word| word.to_string_lossy().into_owned()).collect()
    }

    fn list_mutants(&self) -> anyhow::Result<ExitCode> {
        for mutant in MUTANTS {
            self.say(&format!("{}\t{}\t{}", mutant.name, mutant.modes.join(","), mutant.breaks))?;
        }
        Ok(ExitCode::SUCCESS)
    }

    fn explore(&self) -> anyhow::Result<ExitCode> {
        for scope in SCOPES {
            let begun = Instant::now();
            match explore::explore(scope, MOST_STATES) {
                Ok(found) => self.say(&format!(
                    "{} {}: {} states, {} steps, {} different ends, in {:.1} s",
                    self.style.good("✓"),
                    scope.name,
                    found.states,
                    found.steps,
                    found.ends,
                    begun.elapsed().as_secs_f64()
                ))?,
                Err(wrong) => {
                    self.say(&format!("{} {}: {wrong}", self.style.bad("✗"), scope.name))?;
                    return Ok(ExitCode::FAILURE);
                }
            }
        }
        Ok(ExitCode::SUCCESS)
    }

    /// One run, from a seed or a saved plan.
    fn single(&self) -> anyhow::Result<ExitCode> {
        let (plan, replay) = match &self.args.plan {
            Some(path) => {
                (simulation::read_plan(path)?, format!("lab sim --plan {}", path.display()))
            }
            None => {
                let seed = self.args.seed.unwrap_or(0);
                let plan = Plan::generate(seed, &self.config()).map_err(SimulationError::from)?;
                (plan, self.replay(seed))
            }
        };
        let folder = self.folder(self.args.plan.is_none().then_some(plan.seed));
        let kept = Kept::run(plan)?;
        self.say(&kept.title())?;
        kept.save(&folder, &self.words())?;
        match &kept.outcome.verdict {
            Verdict::Holds => {
                self.say(&format!("{} holds", self.style.good("✓")))?;
                self.say(&verdicts::strongest(&kept.judged.ladder))?;
                for remark in &kept.judged.remarks {
                    self.say(remark)?;
                }
                self.say_saved(&folder)?;
                Ok(ExitCode::SUCCESS)
            }
            Verdict::Unknown(why) => {
                self.say(&format!("{} not decided: {why}", self.style.warning("?")))?;
                self.say_saved(&folder)?;
                Ok(ExitCode::from(UNDECIDED))
            }
            verdict => {
                self.say(&format!("seed {} {verdict}", kept.plan.seed))?;
                self.say(&format!("replay: {replay}"))?;
                self.shrunk(kept, folder)?;
                Ok(ExitCode::FAILURE)
            }
        }
    }

    /// The command that runs one seed of these again.
    fn replay(&self, seed: u64) -> String {
        let args = self.args;
        let mode = args.consistency.as_deref().unwrap_or_default();
        let mut words = format!("lab sim --consistency {mode} --seed {seed}");
        if let Some(mutant) = &args.mutant {
            words += &format!(" --mutant {mutant}");
        }
        let usual = Config::new(mode);
        let numbers = [
            ("replicas", usize::from(args.replicas), usize::from(usual.replicas)),
            ("clients", usize::from(args.clients), usual.clients),
            ("ops", args.ops as usize, usual.operations),
            ("keys", usize::from(args.keys), usize::from(usual.keys)),
        ];
        for (name, number, usual) in numbers {
            if number != usual {
                words += &format!(" --{name} {number}");
            }
        }
        if args.faults != usual.faults {
            let names: Vec<&str> = args.faults.kinds().map(|kind| kind.name()).collect();
            let list = if names.is_empty() { "none".to_owned() } else { names.join(",") };
            words += &format!(" --faults {list}");
        }
        words
    }

    /// Makes a failing run small, saves it, and says why it is wrong.
    fn shrunk(&self, kept: Kept, folder: PathBuf) -> anyhow::Result<()> {
        let mut kept = kept;
        if !self.args.no_shrink {
            let spinner = self.spinner("making it small");
            let shrunk = shrink(&kept.plan, &simulation::checker, SHRINK_RUNS);
            spinner.finish_and_clear();
            if let Some(small) = shrunk.map_err(SimulationError::from)? {
                let more = if small.minimal { "" } else { " (it could be smaller)" };
                self.say(&format!(
                    "made small in {} runs{more}: {} operations, {} clients, {} replicas, {} faults",
                    small.runs,
                    small.plan.operations(),
                    small.plan.clients.len(),
                    small.plan.replicas,
                    small.plan.faults.len()
                ))?;
                kept = Kept::run(small.plan)?;
                kept.save(&folder, &self.words())?;
                for planned in &kept.plan.faults {
                    let at = planned.at as f64 / 1e6;
                    self.say(&format!("  fault at {at:.3} ms: {}", planned.fault))?;
                }
            }
        }
        self.say(&format!("{} {}", self.style.bad("✗"), kept.outcome.verdict))?;
        if let Some((model, witness)) = &kept.judged.witness {
            let history = &kept.outcome.history;
            let text = verdicts::witness_text(history, model, witness, self.style);
            self.say(&format!("\n{text}"))?;
        }
        self.say_saved(&folder)?;
        self.say(&format!("replay it: lab sim --plan {}", folder.join("plan.json").display()))
    }

    fn say_saved(&self, folder: &std::path::Path) -> anyhow::Result<()> {
        let path = self.style.accent(&folder.join("").display().to_string());
        self.say(&format!("{path} has {}", simulation::FILES.join(", ")))
    }

    fn sweep(&self, seeds: Range<u64>) -> anyhow::Result<ExitCode> {
        let config = self.config();
        let cores = || thread::available_parallelism().map_or(1, std::num::NonZero::get);
        let threads = self.args.threads.map_or_else(cores, usize::from);
        let keep_going = self.args.keep_going;
        let options = SweepOptions { threads, keep_going, keep: LISTED };
        let bar = self.bar(seeds.end - seeds.start);
        let begun = Instant::now();
        let swept = sweep(&config, seeds.clone(), options, &simulation::checker, &|done| {
            bar.set_position(done)
        });
        bar.finish_and_clear();
        let swept = swept.map_err(SimulationError::from)?;
        let seconds = begun.elapsed().as_secs_f64().max(1e-9);
        self.say(&format!(
            "{} seeds, {} operations, {} events in {seconds:.1} s: {:.0} seeds/s and {:.0} events/s on \
             {threads} threads",
            swept.runs,
            swept.operations,
            swept.events,
            swept.runs as f64 / seconds,
            swept.events as f64 / seconds,
        ))?;
        if let Some(first) = swept.failures.first() {
            for failure in &swept.failures {
                self.say(&format!("seed {} {}", failure.seed, failure.verdict))?;
            }
            if keep_going {
                self.say(&format!("{} of {} seeds fail", swept.failed, swept.runs))?;
            }
            self.say(&format!("replay: {}", self.replay(first.seed)))?;
            let plan = Plan::generate(first.seed, &config).map_err(SimulationError::from)?;
            let (kept, folder) = (Kept::run(plan)?, self.folder(Some(first.seed)));
            kept.save(&folder, &self.words())?;
            self.shrunk(kept, folder)?;
            return Ok(ExitCode::FAILURE);
        }
        self.save_sweep(&seeds, &swept, seconds)?;
        if let Some((seed, why)) = &swept.first_undecided {
            let mark = self.style.warning("?");
            self.say(&format!("{mark} {} seeds not decided; seed {seed}: {why}", swept.undecided))?;
            return Ok(ExitCode::from(UNDECIDED));
        }
        self.say(&format!("{} all {} seeds hold", self.style.good("✓"), swept.runs))?;
        Ok(ExitCode::SUCCESS)
    }

    fn save_sweep(&self, seeds: &Range<u64>, swept: &Sweep, seconds: f64) -> anyhow::Result<()> {
        let summary = json!({
            "command_line": self.words(),
            "mode": self.args.consistency,
            "mutant": self.args.mutant,
            "seeds": [seeds.start, seeds.end],
            "runs": swept.runs,
            "failed": swept.failed,
            "undecided": swept.undecided,
            "operations": swept.operations,
            "events": swept.events,
            "seconds": seconds,
        });
        Ok(simulation::write_summary(&self.folder(None), &summary)?)
    }

    fn bar(&self, length: u64) -> ProgressBar {
        let template = "{bar:40} {pos} of {len} seeds, {per_sec}, {eta} to go";
        match ProgressStyle::with_template(template) {
            Ok(style) if io::stderr().is_terminal() => ProgressBar::new(length).with_style(style),
            _ => ProgressBar::hidden(),
        }
    }

    fn spinner(&self, doing: &'static str) -> ProgressBar {
        if !io::stderr().is_terminal() {
            return ProgressBar::hidden();
        }
        let spinner = ProgressBar::new_spinner().with_message(doing);
        spinner.enable_steady_tick(std::time::Duration::from_millis(120));
        spinner
    }
}
