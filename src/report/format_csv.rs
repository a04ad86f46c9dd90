//! `latency.csv`: the whole distribution, a row a recorded value.
//!
//! Columns: kind, value in microseconds, how many operations had it, how many had it or less, and the
//! percentile which that makes.

use super::{FormatError, Kind, Report};

/// The file's text.
pub(super) fn write(report: &Report) -> Result<String, FormatError> {
    let failed = |why: String| FormatError { format: "latency.csv", why };
    let total = report.total();
    let mut writer = csv::Writer::from_writer(Vec::new());
    let row = |writer: &mut csv::Writer<Vec<u8>>, cells: [&str; 5]| {
        writer.write_record(cells).map_err(|error| failed(error.to_string()))
    };
    row(&mut writer, ["kind", "latency_us", "count", "cumulative_count", "percentile"])?;
    for kind in Kind::ALL {
        let histogram = &total.tally(kind).latency;
        let mut below = 0u64;
        for step in histogram.iter_recorded() {
            below += step.count_at_value();
            let percentile = below as f64 * 100.0 / histogram.len() as f64;
            let cells = [
                kind.name(),
                &format!("{:.3}", step.value_iterated_to() as f64 / 1000.0),
                &step.count_at_value().to_string(),
                &below.to_string(),
                &format!("{percentile:.6}"),
            ];
            row(&mut writer, cells)?;
        }
    }
    let bytes = writer.into_inner().map_err(|error| failed(error.to_string()))?;
    String::from_utf8(bytes).map_err(|error| failed(error.to_string()))
}
