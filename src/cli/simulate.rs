//! What the commands that simulate a lab have in common: one run or many, from seeds or a saved plan.

use std::ffi::OsString;
use std::io::{self, IsTerminal, Write};
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::thread;
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressStyle};
use serde_json::json;

use super::usage;
use crate::faults::FaultSet;
use crate::labs::simulation::{self, Kept, Planned, SimulationError};
use crate::report::{Style, verdicts};
use crate::sim::{PlanError, Shrunk, Sweep, SweepOptions, Verdict};

/// The exit code where a checker could not decide.
const UNDECIDED: u8 = 2;

/// How many runs shrinking may take.
const SHRINK_RUNS: u64 = 20_000;

/// No range of seeds ends behind this, so that counting never wraps.
const LAST_SEED: u64 = 1 << 63;

/// How many failing seeds `--keep-going` lists.
const LISTED: usize = 20;

/// Which runs, and what becomes of them.
#[derive(Debug, clap::Args)]
pub struct Runs {
    /// One seed.
    #[arg(long, value_name = "N", conflicts_with_all = ["seeds", "plan"])]
    seed: Option<u64>,
    /// The seeds from A up to but without B.
    #[arg(long, value_name = "A..B", value_parser = seeds, conflicts_with = "plan")]
    seeds: Option<Range<u64>>,
    /// A plan that was saved, instead of one from a seed.
    #[arg(long, value_name = "FILE")]
    plan: Option<PathBuf>,
    /// Go on behind the first failing seed, and list them.
    #[arg(long)]
    keep_going: bool,
    /// Do not make a failing run small.
    #[arg(long)]
    no_shrink: bool,
    /// How many threads run seeds; by default one a core.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=1024))]
    threads: Option<u16>,
    /// The folder for what is kept; by default one below results/ that names what was run and the seed.
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

/// The simulator of a lab, as its command was typed.
pub trait Simulator {
    /// What its runs depend on.
    type Plan: Planned;

    /// The command, such as `lab sim`.
    fn command(&self) -> &'static str;

    /// What the folder of a run is called, without the seed.
    fn name(&self) -> String;

    /// The plan of a seed.
    ///
    /// # Errors
    /// What was typed makes no plan.
    fn generate(&self, seed: u64) -> Result<Self::Plan, PlanError>;

    /// Runs many seeds.
    ///
    /// # Errors
    /// What was typed makes no plan.
    fn sweep(
        &self,
        seeds: Range<u64>,
        options: SweepOptions,
        progress: &(dyn Fn(u64) + Sync),
    ) -> Result<Sweep, PlanError>;

    /// Makes a failing plan small.
    ///
    /// # Errors
    /// It cannot be run.
    fn shrink(&self, plan: &Self::Plan, most: u64)
    -> Result<Option<Shrunk<Self::Plan>>, PlanError>;

    /// The command that runs one seed of these again.
    fn replay(&self, seed: u64) -> String;

    /// What the summary of a sweep says of it.
    fn about(&self) -> serde_json::Value;
}

/// The numbers of a command line that are not the usual ones: name, number, usual number.
pub fn numbers(all: &[(&str, usize, usize)]) -> String {
    let unusual = all.iter().filter(|(_, number, usual)| number != usual);
    unusual.map(|(name, number, _)| format!(" --{name} {number}")).collect()
}

/// The faults, where they are not the usual ones.
pub fn faults(faults: FaultSet, usual: FaultSet) -> String {
    if faults == usual { String::new() } else { format!(" --faults {faults}") }
}

/// Runs what was typed.
pub fn run<S: Simulator>(
    simulator: &S,
    runs: &Runs,
    arguments: &[OsString],
) -> anyhow::Result<ExitCode> {
    let command = Command { simulator, runs, arguments, style: Style::of_stdout() };
    let result = match &runs.seeds {
        Some(seeds) => command.sweep(seeds.clone()),
        None => command.single(),
    };
    match result {
        // What a plan cannot be made of was typed.
        Err(error) => match error.downcast::<SimulationError>() {
            Ok(error @ (SimulationError::Plan(_) | SimulationError::NoPlan { .. })) => {
                Ok(usage::wrong_usage::<super::Lab>(&error.to_string(), arguments))
            }
            Ok(error) => Err(error.into()),
            Err(error) => Err(error),
        },
        ok => ok,
    }
}

struct Command<'a, S> {
    simulator: &'a S,
    runs: &'a Runs,
    arguments: &'a [OsString],
    style: Style,
}

impl<S: Simulator> Command<'_, S> {
    fn say(&self, text: &str) -> anyhow::Result<()> {
        Ok(writeln!(io::stdout(), "{text}")?)
    }

    /// Where a run of this seed (or all of a sweep) is kept.
    fn folder(&self, seed: Option<u64>) -> PathBuf {
        if let Some(folder) = &self.runs.out {
            return folder.clone();
        }
        let name = self.simulator.name();
        let seed = seed.map_or(String::new(), |seed| format!("-{seed}"));
        PathBuf::from("results").join(name + &seed)
    }

    fn words(&self) -> Vec<String> {
        self.arguments.iter().map(|word| word.to_string_lossy().into_owned()).collect()
    }

    fn replay_plan(&self, path: &Path) -> String {
        format!("{} --plan {}", self.simulator.command(), path.display())
    }

    /// One run, from a seed or a saved plan.
    fn single(&self) -> anyhow::Result<ExitCode> {
        let (plan, replay): (S::Plan, _) = match &self.runs.plan {
            Some(path) => (simulation::read_plan(path)?, self.replay_plan(path)),
            None => {
                let seed = self.runs.seed.unwrap_or(0);
                let plan = self.simulator.generate(seed).map_err(SimulationError::from)?;
                (plan, self.simulator.replay(seed))
            }
        };
        let folder = self.folder(self.runs.plan.is_none().then_some(plan.seed()));
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
                self.say(&format!("seed {} {verdict}", kept.plan.seed()))?;
                self.say(&format!("replay: {replay}"))?;
                self.shrunk(kept, &folder)?;
                Ok(ExitCode::FAILURE)
            }
        }
    }

    /// Makes a failing run small, saves it, and says why it is wrong.
    fn shrunk(&self, kept: Kept<S::Plan>, folder: &Path) -> anyhow::Result<()> {
        let mut kept = kept;
        if !self.runs.no_shrink {
            let spinner = spinner("making it small");
            let shrunk = self.simulator.shrink(&kept.plan, SHRINK_RUNS);
            spinner.finish_and_clear();
            if let Some(small) = shrunk.map_err(SimulationError::from)? {
                let more = if small.minimal { "" } else { " (it could be smaller)" };
                self.say(&format!(
                    "made small in {} runs{more}: {}, {} faults",
                    small.runs,
                    small.plan.sizes_in_words(),
                    small.plan.faults().len()
                ))?;
                kept = Kept::run(small.plan)?;
                kept.save(folder, &self.words())?;
                for planned in kept.plan.faults() {
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
        self.say_saved(folder)?;
        self.say(&format!("replay it: {}", self.replay_plan(&folder.join("plan.json"))))
    }

    fn say_saved(&self, folder: &Path) -> anyhow::Result<()> {
        let path = self.style.accent(&folder.join("").display().to_string());
        self.say(&format!("{path} has {}", simulation::FILES.join(", ")))
    }

    fn sweep(&self, seeds: Range<u64>) -> anyhow::Result<ExitCode> {
        let cores = || thread::available_parallelism().map_or(1, std::num::NonZero::get);
        let threads = self.runs.threads.map_or_else(cores, usize::from);
        let keep_going = self.runs.keep_going;
        let options = SweepOptions { threads, keep_going, keep: LISTED };
        let bar = bar(seeds.end - seeds.start);
        let begun = Instant::now();
        let swept = self.simulator.sweep(seeds.clone(), options, &|done| bar.set_position(done));
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
            self.say(&format!("replay: {}", self.simulator.replay(first.seed)))?;
            let plan = self.simulator.generate(first.seed).map_err(SimulationError::from)?;
            let (kept, folder) = (Kept::run(plan)?, self.folder(Some(first.seed)));
            kept.save(&folder, &self.words())?;
            self.shrunk(kept, &folder)?;
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
        let mut summary = json!({
            "command_line": self.words(),
            "seeds": [seeds.start, seeds.end],
            "runs": swept.runs,
            "failed": swept.failed,
            "undecided": swept.undecided,
            "operations": swept.operations,
            "events": swept.events,
            "seconds": seconds,
        });
        if let (Some(summary), serde_json::Value::Object(about)) =
            (summary.as_object_mut(), self.simulator.about())
        {
            summary.extend(about);
        }
        Ok(simulation::write_summary(&self.folder(None), &summary)?)
    }
}

fn bar(length: u64) -> ProgressBar {
    let template = "{bar:40} {pos} of {len} seeds, {per_sec}, {eta} to go";
    match ProgressStyle::with_template(template) {
        Ok(style) if io::stderr().is_terminal() => ProgressBar::new(length).with_style(style),
        _ => ProgressBar::hidden(),
    }
}

fn spinner(doing: &'static str) -> ProgressBar {
    if !io::stderr().is_terminal() {
        return ProgressBar::hidden();
    }
    let spinner = ProgressBar::new_spinner().with_message(doing);
    spinner.enable_steady_tick(Duration::from_millis(120));
    spinner
}
