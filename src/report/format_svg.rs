//! `latency.svg`: latency by percentile, the x axis logarithmic in `1/(1-percentile)` as HdrHistogram's
//! plotter has it, so that the tail gets as much room as the rest.
//!
//! The picture has a background of its own and dark text on it: legible on light and dark pages.

use hdrhistogram::Histogram;
use plotters::{coord::Shift, prelude::*};

use super::{FormatError, Kind, Report};

/// The size of the picture.
const SIZE: (u32, u32) = (960, 540);

/// Page, ink and grid.
const PAPER: RGBColor = RGBColor(0xfb, 0xfb, 0xf8);
const INK: RGBColor = RGBColor(0x22, 0x28, 0x31);
const FAINT: RGBColor = RGBColor(0xdd, 0xdd, 0xd6);

/// Distinguishable also by those who do not tell red from green (Okabe and Ito's palette).
const COLOURS: [RGBColor; 4] = [
    RGBColor(0x00, 0x72, 0xb2),
    RGBColor(0xd5, 0x5e, 0x00),
    RGBColor(0x00, 0x9e, 0x73),
    RGBColor(0xcc, 0x79, 0xa7),
];

/// One curve.
pub(super) struct Curve {
    /// Its name in the legend.
    pub(super) name: String,
    /// `(log10(1/(1-percentile)), latency in µs)`, from left to right.
    pub(super) points: Vec<(f64, f64)>,
}

/// The file's text.
pub(super) fn write(report: &Report) -> Result<String, FormatError> {
    let total = report.total();
    let curves: Vec<Curve> = Kind::ALL
        .into_iter()
        .filter(|kind| !total.tally(*kind).latency.is_empty())
        .map(|kind| curve(kind.name().to_owned(), &total.tally(kind).latency))
        .collect();
    plot(&format!("{}: latency by percentile", report.name), &curves)
        .map_err(|why| FormatError { format: "latency.svg", why })
}

/// The curve of a histogram.
pub(super) fn curve(name: String, histogram: &Histogram<u64>) -> Curve {
    // The last point, 100 %, would lie at infinity; the largest value stands where one operation of
    // all is left.
    let right = (histogram.len().max(2) as f64).log10();
    let points = histogram
        .iter_quantiles(5)
        .map(|step| {
            let quantile = step.quantile_iterated_to();
            let x = if quantile < 1.0 { -(1.0 - quantile).log10() } else { right };
            (x.min(right), step.value_iterated_to() as f64 / 1000.0)
        })
        .collect();
    Curve { name, points }
}

/// Draws curves into the text of an SVG.
pub(super) fn plot(title: &str, curves: &[Curve]) -> Result<String, String> {
    let mut text = String::new();
    {
        let root = SVGBackend::with_string(&mut text, SIZE).into_drawing_area();
        draw(&root, title, curves).map_err(|error| error.to_string())?;
        root.present().map_err(|error| error.to_string())?;
    }
    Ok(text)
}

fn draw<'a>(
    root: &DrawingArea<SVGBackend<'a>, Shift>,
    title: &str,
    curves: &[Curve],
) -> Result<(), DrawingAreaErrorKind<<SVGBackend<'a> as DrawingBackend>::ErrorType>> {
    root.fill(&PAPER)?;
    let points = || curves.iter().flat_map(|curve| &curve.points);
    let right = points().map(|(x, _)| *x).fold(1.0, f64::max);
    let low = points().map(|(_, y)| *y).fold(f64::INFINITY, f64::min);
    let high = points().map(|(_, y)| *y).fold(1.0, f64::max);
    let low = if low.is_finite() { low.max(0.1).min(high) } else { 0.1 };
    let text = |size: i32| ("sans-serif", size).into_font().color(&INK);
    let mut chart = ChartBuilder::on(root)
        .caption(title, text(22))
        .margin(16)
        .margin_right(44)
        .x_label_area_size(48)
        .y_label_area_size(76)
        .build_cartesian_2d(0.0..right, (low / 1.3..high * 1.3).log_scale())?;
    chart
        .configure_mesh()
        .bold_line_style(FAINT)
        .light_line_style(TRANSPARENT)
        .axis_style(INK)
        .label_style(text(15))
        .axis_desc_style(text(16))
        .x_labels(right.ceil() as usize + 1)
        .x_label_formatter(&percentile_label)
        .y_label_formatter(&|us| latency_label(*us))
        .x_desc("percentile")
        .y_desc("latency")
        .draw()?;
    for (curve, colour) in curves.iter().zip(COLOURS.iter().cycle()) {
        let style = ShapeStyle::from(colour).stroke_width(3);
        chart
            .draw_series(LineSeries::new(curve.points.iter().copied(), style))?
            .label(curve.name.clone())
            .legend(move |(x, y)| PathElement::new([(x, y), (x + 24, y)], style));
    }
    chart
        .configure_series_labels()
        .position(SeriesLabelPosition::UpperLeft)
        .legend_area_size(32)
        .margin(12)
        .background_style(PAPER)
        .border_style(FAINT)
        .label_font(text(16))
        .draw()
}

/// `0` → 0 %, `1` → 90 %, `2` → 99 %, …
fn percentile_label(x: &f64) -> String {
    let decimals = (x.round() as usize).saturating_sub(2);
    format!("{:.decimals$} %", (1.0 - 10f64.powf(-x)) * 100.0)
}

/// `120 µs`, `3.4 ms`, `2 s`.
pub(super) fn latency_label(us: f64) -> String {
    match us {
        us if us >= 1e6 => format!("{} s", round(us / 1e6)),
        us if us >= 1e3 => format!("{} ms", round(us / 1e3)),
        us => format!("{} µs", round(us)),
    }
}

/// Two significant digits and no trailing zeros.
fn round(figure: f64) -> f64 {
    if figure >= 10.0 { figure.round() } else { (figure * 10.0).round() / 10.0 }
}
