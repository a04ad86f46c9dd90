//! Results: what a run measured, on the terminal and in files, one file an output format.
//!
//! Latencies are kept in [HdrHistogram]s: nanoseconds, three significant digits, up to 60 s. They are
//! merged, never averaged, so a percentile of the whole is a percentile of the whole.
//!
//! [`FORMATS`] is the one list of formats. A format turns a [`Report`] into the text of one file of the
//! run's folder; adding one is one file here and one line there.
//!
//! [HdrHistogram]: http://hdrhistogram.org

mod bar_chart;
mod bars;
mod compare;
mod compare_modes;
mod compare_svg;
mod dots;
mod folder;
mod format_csv;
mod format_hgrm;
mod format_hlog;
mod format_json;
mod format_svg;
mod lanes;
mod machine;
mod run;
mod space_time;
mod style;
mod svg;
mod table;
mod tally;
pub mod verdicts;

pub use bar_chart::{BarChart, BarGroup, BarLook, BarPanel, bar_chart};
pub use bars::{bar, bars};
pub use compare::{
    Comparison, PAIR_MODES, compare_folders, comparison_svg, comparison_text, pairs_folder,
};
pub use compare_modes::{Cost, ModeRow, ModeTable};
pub use compare_svg::compare_svg;
pub use dots::{Band, DotChart, DotPanel, Dots, dot_chart};
pub use folder::{FolderError, numbered, prepare, write_files, write_text};
pub use format_json::{KindSummary, PairsSummary, Summary, median, summarize};
pub use lanes::lanes;
pub use machine::{Machine, ProcessorTime};
pub use run::{Floors, Pairs, Report, Round};
pub use space_time::{Arrow, ArrowKind, Diagram, Lane, Look, Panel, Span, space_time};
pub use style::Style;
pub use table::{Columns, floor_table, grouped, latency_table, micros};
pub use tally::{Kind, PERCENTILES, Tally, new_histogram};

/// One output format: the name of its file, and what writes it.
pub struct Format {
    /// The file's name within the run's folder.
    pub file: &'static str,
    /// The file's content.
    pub write: fn(&Report) -> Result<String, FormatError>,
}

/// A report could not be turned into this format.
#[derive(Debug, thiserror::Error)]
#[error("cannot write {format}: {why}")]
pub struct FormatError {
    /// The format.
    pub format: &'static str,
    /// What its library says.
    pub why: String,
}

/// Every file that a bench leaves in its folder.
pub const FORMATS: &[Format] = &[
    Format { file: "summary.json", write: format_json::write },
    Format { file: "latency.csv", write: format_csv::write },
    Format { file: "latency.hgrm", write: format_hgrm::write },
    Format { file: "latency.hlog", write: format_hlog::write },
    Format { file: "latency.svg", write: format_svg::write },
];
