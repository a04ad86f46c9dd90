//! `latency.hlog`: HdrHistogram's interval log, version 1.3, with the tags `read` and `write`.
//!
//! One interval a round and kind; values in nanoseconds; the maximum of each line, which is there for
//! people, in milliseconds, as Java's writer has it. Histograms are V2, deflated, base64.

use hdrhistogram::serialization::{
    V2DeflateSerializer,
    interval_log::{IntervalLogWriterBuilder, Tag},
};

use super::{FormatError, Kind, Report};

/// The file's text.
pub(super) fn write(report: &Report) -> Result<String, FormatError> {
    let failed = |why: String| FormatError { format: "latency.hlog", why };
    let mut text = Vec::new();
    let mut serializer = V2DeflateSerializer::new();
    let mut builder = IntervalLogWriterBuilder::new();
    builder
        .add_comment("[Logged with consistency-lab, values in nanoseconds]")
        .add_comment("[Histogram log format version 1.3]")
        .with_base_time(report.started)
        .with_start_time(report.started)
        .with_max_value_divisor(1e6);
    let mut writer = builder
        .begin_log_with(&mut text, &mut serializer)
        .map_err(|error| failed(error.to_string()))?;
    for round in &report.rounds {
        for kind in Kind::ALL {
            let histogram = &round.tally(kind).latency;
            if histogram.is_empty() {
                continue;
            }
            writer
                .write_histogram(histogram, round.begin, round.elapsed, Tag::new(kind.name()))
                .map_err(|error| failed(format!("{error:?}")))?;
        }
    }
    String::from_utf8(text).map_err(|error| failed(error.to_string()))
}
