//! `lab check`: which consistency models a recorded history keeps.

use std::{
    ffi::OsString,
    fs::File,
    io::{self, BufRead, BufReader, IsTerminal, Write},
    path::{Path, PathBuf},
    process::ExitCode,
    sync::OnceLock,
    time::{Duration, Instant},
};

use anyhow::Context;
use indicatif::ProgressBar;

use super::usage;
use crate::{
    check::{
        Answer, Budget, MODELS, Model, Problem, claimed, model,
        spec::{SPECS, Spec},
    },
    history::{Action, History, ValueId, formats},
    labs::judge::Judged,
    report::{Style, verdicts},
};

/// The exit code where the budget was spent before there was a verdict.
const UNDECIDED: u8 = 2;

/// How long a witness may be made smaller, beside the budget of the checkers.
const SHRINKING: Duration = Duration::from_secs(20);

/// Check which consistency models a recorded history keeps, with a witness against the first it does not.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  lab check history.jsonl                          # the whole ladder
  lab check history.jsonl --model sequential       # one model
  lab check etcd.log --model linearizable --spec cas-register
  lab check history.jsonl --html timeline.html     # a picture of it, with the witness
  lab check histories/*.edn --model linearizable   # many: one line each
  zcat big.jsonl.gz | lab check - --json

Exit codes: 0 the model holds, 1 it is violated, 2 not decided (see --budget), 64 wrong usage or not a
history, 74 the system refused. With --model all it is the verdict on the model that the file claims, or on
linearizable.")]
pub struct CheckArgs {
    /// The history; `-` for standard input. Of several files each gets one line.
    #[arg(value_name = "FILE", required = true)]
    files: Vec<PathBuf>,
    /// What to check: `all`, `causal` (CC, CM and CCv; the verdict is that on CM), or one model.
    #[arg(long, value_name = "MODEL", default_value = "all", value_parser = model_name)]
    model: String,
    /// What the operations mean; by default what fits those in the file.
    #[arg(long, value_name = "SPEC", value_parser = spec_name)]
    spec: Option<&'static Spec>,
    /// What every key held at the beginning; by default what the file says, or nothing.
    #[arg(long, value_name = "VALUE")]
    init: Option<String>,
    /// The format of the file.
    #[arg(long, value_name = "FORMAT", default_value = "auto", value_parser = format_name)]
    format: String,
    /// How long the checkers may search, all together.
    #[arg(long, value_name = "TIME", default_value = "60s", value_parser = humantime::parse_duration)]
    budget: Duration,
    /// Print one JSON object instead of text.
    #[arg(long)]
    json: bool,
    /// Also say how long reading and checking took.
    #[arg(long)]
    timings: bool,
    /// Also draw the history as one self-contained page.
    #[arg(long, value_name = "FILE")]
    html: Option<PathBuf>,
}

fn one_of<'a>(names: impl Iterator<Item = &'a str>) -> String {
    format!("expected one of {}", names.collect::<Vec<_>>().join(", "))
}

fn model_name(text: &str) -> Result<String, String> {
    match text {
        "all" | "causal" => Ok(text.to_owned()),
        _ if model(text).is_some() => Ok(text.to_owned()),
        _ => Err(one_of(["all", "causal"].into_iter().chain(MODELS.iter().map(|m| m.name)))),
    }
}

fn spec_name(text: &str) -> Result<&'static Spec, String> {
    Spec::find(text).ok_or_else(|| one_of(SPECS.iter().map(|spec| spec.name)))
}

fn format_name(text: &str) -> Result<String, String> {
    let known = text == "auto" || formats::FORMATS.iter().any(|format| format.name == text);
    let names = || std::iter::once("auto").chain(formats::FORMATS.iter().map(|f| f.name));
    if known { Ok(text.to_owned()) } else { Err(one_of(names())) }
}

/// How a command ends, the worst last.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum End {
    Holds,
    Undecided,
    Violated,
    NoHistory,
}

/// One file, read and checked.
struct Checked {
    source: String,
    history: History,
    judged: Judged,
    judges: Vec<&'static Model>,
    reading: Duration,
    checking: Duration,
}

/// Runs the command.
pub fn run(args: &CheckArgs, arguments: &[OsString]) -> anyhow::Result<ExitCode> {
    if args.files.len() > 1 && args.html.is_some() {
        let message = "expected one FILE with --html: it draws one history";
        return Ok(usage::wrong_usage::<super::Lab>(message, arguments));
    }
    if let Some(page) = &args.html
        && (page == Path::new("-") || args.files.contains(page))
    {
        let message = "expected another file than the history itself, or `-`, for --html";
        return Ok(usage::wrong_usage::<super::Lab>(message, arguments));
    }
    let mut worst = End::Holds;
    let (mut reading, mut checking) = (Duration::ZERO, Duration::ZERO);
    for path in &args.files {
        let end = match check(args, path) {
            // Not a history: wrong usage, in the one line that the reader's error is.
            Err(error) => {
                let _ = writeln!(io::stderr(), "lab: error: {error:#}");
                End::NoHistory
            }
            Ok(checked) => {
                (reading, checking) = (reading + checked.reading, checking + checked.checking);
                show(args, &checked)?;
                end(&checked)
            }
        };
        worst = worst.max(end);
    }
    if args.timings {
        let ms = |time: Duration| time.as_secs_f64() * 1e3;
        let _ = writeln!(
            io::stderr(),
            "read in {:.3} ms, checked in {:.3} ms",
            ms(reading),
            ms(checking)
        );
    }
    Ok(match worst {
        End::Holds => ExitCode::SUCCESS,
        End::Violated => ExitCode::FAILURE,
        End::Undecided => ExitCode::from(UNDECIDED),
        End::NoHistory => ExitCode::from(usage::USAGE),
    })
}

fn check(args: &CheckArgs, path: &Path) -> anyhow::Result<Checked> {
    let begun = Instant::now();
    let (source, mut history) = read(args, path)?;
    let reading = begun.elapsed();
    anyhow::ensure!(
        !history.operations.is_empty(),
        "{source}: expected a history, found no operation in it"
    );
    let initial = match &args.init {
        None => ValueId::NIL,
        Some(text) => {
            history.initial.clear();
            ValueId(history.values.id(text))
        }
    };
    let begun = Instant::now();
    let deadline = begun + args.budget;
    let spent = move || Instant::now() >= deadline;
    let budget = Budget::new(&spent);
    let spec = args.spec.unwrap_or_else(|| fitting(&history));
    let problem = Problem { history: &history, spec, initial, budget };
    let (models, judges) = asked(&args.model, history.claim.as_deref());
    let progress = spinner(args);
    let shrinking = OnceLock::new();
    let impatient = || shrinking.get_or_init(Instant::now).elapsed() >= SHRINKING;
    let judged = Judged::of(&problem, &models, Budget::new(&impatient), &|doing| {
        progress.set_message(doing.to_owned());
    });
    progress.finish_and_clear();
    Ok(Checked { source, history, judged, judges, reading, checking: begun.elapsed() })
}

fn show(args: &CheckArgs, checked: &Checked) -> anyhow::Result<()> {
    let Checked { source, history, judged, .. } = checked;
    let verdicts = judged.verdicts(source, history);
    let text = if args.json {
        format!("{}\n", verdicts::json(&verdicts))
    } else if args.files.len() > 1 {
        verdicts::line(&verdicts, &checked.judges, Style::of_stdout())
    } else {
        verdicts::text(&verdicts, Style::of_stdout())
    };
    io::stdout().write_all(text.as_bytes())?;
    match &args.html {
        Some(path) => draw(path, args, judged, source, history),
        None => Ok(()),
    }
}

/// The worst verdict of the models that count.
fn end(checked: &Checked) -> End {
    let answer = |model: &&'static Model| Some(&checked.judged.ladder.rung(model)?.answer);
    let end = |answer: &Answer| match answer {
        Answer::Valid => End::Holds,
        Answer::Unknown(_) => End::Undecided,
        Answer::Violation(_) => End::Violated,
    };
    checked.judges.iter().filter_map(answer).map(end).max().unwrap_or(End::Holds)
}

/// The models to check, and those whose verdict is the command's.
fn asked(name: &str, claim: Option<&str>) -> (Vec<&'static Model>, Vec<&'static Model>) {
    let named = |names: &[&str]| names.iter().filter_map(|name| model(name)).collect::<Vec<_>>();
    match name {
        "all" => {
            let claimed = claim.map(claimed).unwrap_or_default();
            let judges = if claimed.is_empty() { named(&["linearizable"]) } else { claimed };
            (MODELS.iter().collect(), judges)
        }
        "causal" => (named(&["ccv", "cm", "cc"]), named(&["cm"])),
        one => (named(&[one]), named(&[one])),
    }
}

/// The specification that takes all that is in the history.
fn fitting(history: &History) -> &'static Spec {
    let takes_all = |spec: &&Spec| {
        let takes = |action: Action| matches!(action, Action::Other(_)) || (spec.takes)(action);
        history.operations.iter().all(|operation| takes(operation.action))
    };
    SPECS.iter().find(takes_all).unwrap_or(&SPECS[0])
}

fn read(args: &CheckArgs, path: &Path) -> anyhow::Result<(String, History)> {
    let format = formats::FORMATS.iter().find(|format| format.name == args.format);
    if path == Path::new("-") {
        let source = "standard input".to_owned();
        let mut input = BufReader::with_capacity(1 << 20, io::stdin().lock());
        let history = formats::read_any(&mut input, &source, format)?;
        return Ok((source, history));
    }
    let source = path.display().to_string();
    let file = File::open(path).with_context(|| format!("cannot read {source}"))?;
    let length = file.metadata().map_or(0, |data| data.len());
    let bar = reading_bar(args, length);
    let mut input = BufReader::with_capacity(1 << 20, bar.wrap_read(file));
    let history = formats::read_any(&mut input as &mut dyn BufRead, &source, format)?;
    bar.finish_and_clear();
    Ok((source, history))
}

/// Whether anybody would see progress.
fn is_watched(args: &CheckArgs) -> bool {
    !args.json && io::stderr().is_terminal()
}

/// Small files are read before a bar could be seen.
const WORTH_A_BAR: u64 = 16 << 20;

fn reading_bar(args: &CheckArgs, length: u64) -> ProgressBar {
    if !is_watched(args) || length < WORTH_A_BAR {
        return ProgressBar::hidden();
    }
    let style = indicatif::ProgressStyle::with_template(
        "reading {bar:40} {bytes} of {total_bytes}, {bytes_per_sec}",
    );
    let bar = ProgressBar::new(length);
    match style {
        Ok(style) => bar.with_style(style),
        Err(_) => bar,
    }
}

fn spinner(args: &CheckArgs) -> ProgressBar {
    if !is_watched(args) {
        return ProgressBar::hidden();
    }
    let spinner = ProgressBar::new_spinner();
    spinner.enable_steady_tick(Duration::from_millis(120));
    spinner
}

fn draw(
    path: &Path,
    args: &CheckArgs,
    judged: &Judged,
    source: &str,
    history: &History,
) -> anyhow::Result<()> {
    let file = File::create(path)
        .with_context(|| format!("cannot write {}; choose another --html", path.display()))?;
    let mut out = io::BufWriter::new(file);
    judged.write_page(source, history, &mut out)?;
    out.flush()?;
    if !args.json {
        writeln!(io::stdout(), "\n{}", path.display())?;
    }
    Ok(())
}
