//! The two modes side by side: what the stronger one costs, and what it is good for.

use std::{
    fmt::Write,
    fs, io,
    path::{Path, PathBuf},
};

use super::{
    FolderError, FormatError, Kind, Style, Summary,
    format_svg::{Curve, plot},
    table::{Columns, grouped, micros},
};

/// The modes whose pairs are compared, in the order of the columns.
pub const PAIR_MODES: [&str; 2] = ["eventual", "sequential"];

/// The file with the picture of both modes, beside their folders.
const PICTURE: &str = "performance.svg";

/// What the folders of both modes hold.
#[derive(Clone, Debug)]
pub struct Comparison {
    /// The runs, in the order of [`PAIR_MODES`].
    pub runs: [Summary; 2],
    /// The picture of both, which was written; `None` where a distribution is missing.
    pub picture: Option<PathBuf>,
}

/// The folder of a mode's pairs below `root`.
pub fn pairs_folder(root: &Path, mode: &str) -> PathBuf {
    root.join(format!("performance-{mode}"))
}

/// Reads the runs of both modes below `root` and draws them into one picture there. `None` unless both
/// have been run.
pub fn compare_folders(root: &Path) -> Result<Option<Comparison>, FolderError> {
    let (mut runs, mut distributions) = (Vec::new(), Vec::new());
    for mode in PAIR_MODES {
        let folder = pairs_folder(root, mode);
        let path = folder.join("summary.json");
        let Some(text) = read_if_there(&path)? else { return Ok(None) };
        let summary: Summary = serde_json::from_str(&text)
            .map_err(|source| FolderError::NoSummary { path: path.clone(), source })?;
        runs.push(summary);
        distributions.extend(read_if_there(&folder.join("latency.csv"))?);
    }
    let Ok(runs) = <[Summary; 2]>::try_from(runs) else { return Ok(None) };
    let picture = match <[String; 2]>::try_from(distributions) {
        Ok(distributions) => Some(write_picture(root, &distributions)?),
        Err(_) => None,
    };
    Ok(Some(Comparison { runs, picture }))
}

fn write_picture(root: &Path, distributions: &[String; 2]) -> Result<PathBuf, FolderError> {
    let path = root.join(PICTURE);
    let picture = comparison_svg(distributions)
        .map_err(|why| FolderError::Format(FormatError { format: PICTURE, why }))?;
    match fs::write(&path, picture) {
        Ok(()) => Ok(path),
        Err(source) => Err(FolderError::Io { path, source }),
    }
}

/// A file's text; `None` where there is no such file.
fn read_if_there(path: &Path) -> Result<Option<String>, FolderError> {
    match fs::read_to_string(path) {
        Ok(text) => Ok(Some(text)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(source) => Err(FolderError::Unreadable { path: path.to_owned(), source }),
    }
}

/// The table of the two runs.
pub fn comparison_text(runs: &[Summary; 2], style: Style) -> String {
    let mode = |run: &Summary| run.pairs.as_ref().map_or("unknown".into(), |p| p.mode.clone());
    let heading: Vec<String> =
        std::iter::once("µs".to_owned()).chain(runs.iter().map(mode)).collect();
    let mut columns = Columns::new(&heading);
    let mut row = |name: &str, figure: &dyn Fn(&Summary) -> String| {
        columns.row(std::iter::once(name.to_owned()).chain(runs.iter().map(figure)).collect());
    };
    row("pairs", &|run| grouped(run.pairs.as_ref().map_or(0, |pairs| pairs.count)));
    row("total, s", &|run| format!("{:.3}", run.seconds));
    row("current reads", &|run| grouped(run.pairs.as_ref().map_or(0, |p| p.current_reads)));
    for (name, kind) in [("set", "write"), ("get", "read")] {
        for percentile in ["p50", "p99"] {
            row(&format!("{name} {percentile}"), &|run| {
                let figure = run.kinds.get(kind).and_then(|k| k.percentiles_us.get(percentile));
                figure.map_or("-".to_owned(), |us| micros(*us))
            });
        }
    }
    let mut text = columns.render(style);
    if let [eventual, sequential] = runs
        && eventual.seconds > 0.0
    {
        let factor = sequential.seconds / eventual.seconds;
        // Writing to a string cannot fail.
        let _ = writeln!(text, "sequential took {factor:.2} times as long as eventual");
    }
    text
}

/// The picture of the two runs: set and get of each mode, from the texts of their `latency.csv`.
pub fn comparison_svg(distributions: &[String; 2]) -> Result<String, String> {
    let mut curves = Vec::new();
    for (text, mode) in distributions.iter().zip(PAIR_MODES) {
        for (name, kind) in [("set", Kind::Write), ("get", Kind::Read)] {
            let points = points(text, kind).map_err(|error| error.to_string())?;
            if !points.is_empty() {
                curves.push(Curve { name: format!("{mode} {name}"), points });
            }
        }
    }
    plot("alternating writes and reads: latency by percentile", &curves)
}

/// The points of one kind's curve. 100 % would lie at infinity; the largest value stands where one
/// operation of all is left.
fn points(text: &str, kind: Kind) -> Result<Vec<(f64, f64)>, csv::Error> {
    let mut rows = Vec::new();
    for row in csv::Reader::from_reader(text.as_bytes()).deserialize() {
        let (name, us, _, count, percentile): (String, f64, u64, u64, f64) = row?;
        if name == kind.name() {
            rows.push((us, count, percentile));
        }
    }
    let all = rows.last().map_or(0, |(_, count, _)| *count);
    let right = (all.max(2) as f64).log10();
    let first = rows.first().map(|(us, _, _)| (0.0, *us));
    let place = |(us, _, percentile): &(f64, u64, f64)| {
        let left = 1.0 - percentile / 100.0;
        (if left > 0.0 { -left.log10() } else { right }.clamp(0.0, right), *us)
    };
    Ok(first.into_iter().chain(rows.iter().map(place)).collect())
}
