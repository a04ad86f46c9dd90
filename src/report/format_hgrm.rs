//! `latency.hgrm`: the percentile distribution, as HdrHistogram's `outputPercentileDistribution` prints it
//! and its plotter (hdrhistogram.github.io/HdrHistogram/plotFiles.html) reads it.
//!
//! Values are in microseconds, five ticks a half distance, reads and writes together: the format has
//! room for one distribution. `latency.hlog` holds the two apart.

use std::fmt::Write;

use hdrhistogram::Histogram;

use super::{FormatError, Report};

/// Nanoseconds in a unit of the file.
const UNIT: f64 = 1000.0;

/// Steps of the percentile in each half of the distance to 100 %.
const TICKS: u32 = 5;

/// The file's text.
pub(super) fn write(report: &Report) -> Result<String, FormatError> {
    let total = report.total();
    let mut both = total.read;
    both.merge(&total.write);
    let mut text = String::new();
    distribution(&both.latency, &mut text)
        .map_err(|error| FormatError { format: "latency.hgrm", why: error.to_string() })?;
    Ok(text)
}

fn distribution(histogram: &Histogram<u64>, text: &mut String) -> std::fmt::Result {
    writeln!(
        text,
        "{:>12} {:>14} {:>10} {:>14}\n",
        "Value", "Percentile", "TotalCount", "1/(1-Percentile)"
    )?;
    let digits = usize::from(histogram.sigfig());
    let mut count = 0;
    for step in histogram.iter_quantiles(TICKS) {
        count += step.count_since_last_iteration();
        let value = step.value_iterated_to() as f64 / UNIT;
        let quantile = step.quantile_iterated_to();
        write!(text, "{value:12.digits$} {quantile:14.12} {count:10}")?;
        if quantile < 1.0 {
            write!(text, " {:14.2}", 1.0 / (1.0 - quantile))?;
        }
        writeln!(text)?;
    }
    let (mean, deviation) = (histogram.mean() / UNIT, histogram.stdev() / UNIT);
    writeln!(text, "#[Mean    = {mean:12.digits$}, StdDeviation   = {deviation:12.digits$}]")?;
    let max = histogram.max() as f64 / UNIT;
    writeln!(text, "#[Max     = {max:12.digits$}, Total count    = {:12}]", histogram.len())?;
    let (buckets, sub_buckets) = shape(histogram);
    writeln!(text, "#[Buckets = {buckets:12}, SubBuckets     = {sub_buckets:12}]")
}

/// How many buckets the histogram has and how many sub-buckets each: the sub-buckets are the power of
/// two that tells `sigfig` digits apart, and each bucket doubles the range until `high` is within it.
fn shape(histogram: &Histogram<u64>) -> (u32, u64) {
    let sub_buckets = (2 * 10u64.pow(u32::from(histogram.sigfig()))).next_power_of_two();
    let mut buckets = 1;
    let mut reach = sub_buckets;
    while reach <= histogram.high() && reach < u64::MAX / 2 {
        reach *= 2;
        buckets += 1;
    }
    (buckets, sub_buckets)
}
