//! Both modes measured with the same work, without a write delay, and put side by side.

use std::io::Write;

use super::{Demo, DemoError, Stage};
use crate::bench::pairs::run_pairs;
use crate::bench::{Config, Meter};
use crate::labs::compared_modes;
use crate::labs::trace::KEY;
use crate::protocol::{Mode, ReplyAt};
use crate::report::{self, Summary};

/// Measures, writes the folders, and prints the table.
pub(super) fn show<W: Write>(demo: &Demo, stage: &mut Stage<'_, W>) -> Result<(), DemoError> {
    let pairs = demo.pairs;
    stage.say(&format!(
        "{pairs} pairs of `set {KEY} i` and `get {KEY}` by one client of replica 0, without a write\n\
         delay. A read is current if it returns the i that was just written.\n",
    ))?;
    for mode in compared_modes() {
        measure(demo, mode, stage)?;
    }
    let Some(comparison) = report::compare_folders(&demo.out)? else { return Ok(()) };
    let table = report::comparison_text(&comparison.runs, stage.style);
    for line in table.lines() {
        stage.say(&format!("  {line}"))?;
    }
    stage.say(&meaning(&comparison.runs))
}

/// What the figures of the two runs say, in words; `eventual` comes first.
fn meaning([eventual, sequential]: &[Summary; 2]) -> String {
    let p50 = |run: &Summary, kind: &str| {
        run.kinds.get(kind).and_then(|figures| figures.percentiles_us.get("p50")).copied()
    };
    let longer = |kind: &str| Some(p50(sequential, kind)? - p50(eventual, kind)?);
    let wait = match longer("write") {
        Some(us) if us >= 0.1 => format!("{us:.1} µs longer at the median"),
        _ => "no longer at the median".to_owned(),
    };
    let current = |run: &Summary| {
        run.pairs
            .as_ref()
            .map_or("no".to_owned(), |p| format!("{} of {}", p.current_reads, p.count))
    };
    let (all, some) = (current(sequential), current(eventual));
    let mut text = format!(
        "\nA sequential set is answered after two hops between replicas, an eventual one\n\
         before them. Here it took {wait}.\n\
         In return {all} reads were current, against {some}."
    );
    if longer("read").is_some_and(|us| us < 0.0) {
        text += "\nAn eventual get is slower: the delivery of the set before it runs beside it.";
    }
    text
}

fn measure<W: Write>(
    demo: &Demo,
    mode: &'static Mode,
    stage: &mut Stage<'_, W>,
) -> Result<(), DemoError> {
    let run = demo.with_replicas(mode, std::time::Duration::ZERO, |addresses| {
        let to = addresses.iter().take(1).cloned().collect();
        let config = Config { to, seed: demo.seed, ..Config::default() };
        // The first run warms up threads, caches and branch predictors, and does not count.
        run_pairs(&config, demo.pairs, stage.stop, &Meter::default())?;
        let run = run_pairs(&config, demo.pairs, stage.stop, &Meter::default())?;
        Ok((config, run))
    });
    let (config, run) = run?;
    if run.pairs.count < demo.pairs {
        return Err(DemoError::Interrupted);
    }
    if mode.reply_at == ReplyAt::Delivery && run.pairs.current < run.pairs.count {
        return Err(DemoError::Surprise {
            mode: mode.name,
            what: "the number of current reads".to_owned(),
            expected: run.pairs.count.to_string(),
            found: run.pairs.current.to_string(),
        });
    }
    let folder = report::pairs_folder(&demo.out, mode.name);
    report::prepare(&folder)?;
    let name = format!("performance-{}", mode.name);
    let notes = vec!["measured after as many pairs that were not counted".to_owned()];
    let report = run.report(name, demo.command_line.clone(), &config, notes);
    report::write_files(&report, &folder)?;
    Ok(())
}
