//! Every output format is read back, and the texts for people are compared with what they should be.

use std::{
    collections::BTreeMap,
    time::{Duration, UNIX_EPOCH},
};

use consistency_lab::report::{
    FORMATS, Floors, Kind, Machine, Pairs, Report, Round, Style, Summary, bars, comparison_svg,
    comparison_text, floor_table, latency_table, summarize,
};
use hdrhistogram::{
    Histogram,
    serialization::{
        Deserializer,
        interval_log::{IntervalLogIterator, LogEntry},
    },
};

/// Latencies without chance: most around 20 µs, a tail up to 50 ms.
fn round(scale: u64) -> Round {
    let mut round = Round { elapsed: Duration::from_secs(2), ..Round::default() };
    for n in 0..10_000u64 {
        let tail = if n % 1000 == 0 { 50_000_000 } else { n % 100 * 150 };
        round.tally_mut(Kind::Read).record(Duration::from_nanos((12_000 + tail) * scale));
        round.tally_mut(Kind::Write).record(Duration::from_nanos((31_000 + 2 * tail) * scale));
    }
    round.read.missing = 7;
    round.write.errors = 3;
    round.write.unknown = 12_345;
    round
}

fn report() -> Report {
    let second = Round { begin: Duration::from_millis(2500), ..round(1) };
    Report {
        name: "bench-memcached-1".into(),
        command_line: vec!["lab".into(), "bench".into()],
        started: UNIX_EPOCH + Duration::from_millis(1_700_000_000_250),
        machine: Machine { cpu: "a \"cpu\"".into(), cores: 2, ..Machine::default() },
        config: serde_json::json!({"seed": 1}),
        rounds: vec![round(1), second],
        floors: None,
        pairs: None,
        notes: vec!["client 2 gave up: no reply".into()],
    }
}

fn text_of(file: &str, report: &Report) -> String {
    let format = FORMATS.iter().find(|format| format.file == file).expect("a format of the list");
    (format.write)(report).expect("it can be written")
}

#[test]
fn the_json_is_read_back() {
    let summary: Summary =
        serde_json::from_str(&text_of("summary.json", &report())).expect("a summary");
    assert_eq!(summary.started, "2023-11-14T22:13:20.250Z");
    assert_eq!(summary.kinds["write"].ops, 20_000);
    assert_eq!(summary.kinds["write"].unknown, 24_690);
    assert_eq!(summary.kinds["read"].missing, 14);
    assert_eq!(summary.seconds, 4.0);
    assert_eq!(summary.ops_per_second, 10_000.0);
    let p50 = summary.kinds["read"].percentiles_us["p50"];
    assert!((19.4..19.6).contains(&p50), "{p50}");
}

#[test]
fn the_csv_is_read_back() {
    let text = text_of("latency.csv", &report());
    let mut reader = csv::Reader::from_reader(text.as_bytes());
    assert_eq!(
        reader.headers().expect("a heading"),
        vec!["kind", "latency_us", "count", "cumulative_count", "percentile"]
    );
    let mut counts: BTreeMap<String, (u64, u64, f64)> = BTreeMap::new();
    for row in reader.records() {
        let row = row.expect("a row");
        let entry = counts.entry(row[0].to_owned()).or_default();
        entry.0 += row[2].parse::<u64>().expect("a count");
        entry.1 = row[3].parse().expect("a count");
        entry.2 = row[4].parse().expect("a percentile");
    }
    for kind in ["read", "write"] {
        assert_eq!(counts[kind], (20_000, 20_000, 100.0));
    }
}

#[test]
fn the_interval_log_is_read_back() {
    let (report, text) = (report(), text_of("latency.hlog", &report()));
    let mut found = Vec::new();
    for entry in IntervalLogIterator::new(text.as_bytes()) {
        match entry.expect("a line of the format") {
            LogEntry::StartTime(time) | LogEntry::BaseTime(time) => {
                assert_eq!(time, Duration::from_millis(1_700_000_000_250));
            }
            LogEntry::Interval(interval) => {
                use base64_for_test::decode;
                let bytes = decode(interval.encoded_histogram());
                let histogram: Histogram<u64> =
                    Deserializer::new().deserialize(&mut &bytes[..]).expect("a histogram");
                found.push((
                    interval.tag().map(|tag| tag.as_str().to_owned()),
                    interval.start_timestamp(),
                    interval.duration(),
                    histogram,
                ));
            }
        }
    }
    assert_eq!(found.len(), 4, "two rounds of two kinds");
    let (tag, start, length, histogram) = &found[3];
    assert_eq!(tag.as_deref(), Some("write"));
    assert_eq!((*start, *length), (Duration::from_millis(2500), Duration::from_secs(2)));
    assert_eq!(*histogram, report.rounds[1].write.latency);
}

/// Base64, because the log's reader leaves it to the caller and no dependency has it in its API.
mod base64_for_test {
    pub fn decode(text: &str) -> Vec<u8> {
        const SET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
        let mut bytes = Vec::new();
        let (mut bits, mut held) = (0u32, 0);
        for c in text.bytes().filter(|c| *c != b'=') {
            let six = SET.iter().position(|s| *s == c).expect("a character of base64") as u32;
            bits = bits << 6 | six;
            held += 6;
            if held >= 8 {
                held -= 8;
                bytes.push((bits >> held) as u8);
            }
        }
        bytes
    }
}

#[test]
fn the_percentile_distribution_is_read_back() {
    let text = text_of("latency.hgrm", &report());
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!(lines[0], "       Value     Percentile TotalCount 1/(1-Percentile)");
    assert_eq!(lines[1], "");
    assert_eq!(lines[2], "      12.007 0.000000000000        180           1.00");
    let rows: Vec<Vec<f64>> = lines[2..lines.len() - 3]
        .iter()
        .map(|line| line.split_whitespace().map(|n| n.parse().expect("a number")).collect())
        .collect();
    assert!(rows.windows(2).all(|pair| {
        pair[0][0] <= pair[1][0] && pair[0][1] < pair[1][1] && pair[0][2] <= pair[1][2]
    }));
    let (last, others) = rows.split_last().expect("rows");
    assert!(others.iter().all(|row| row.len() == 4));
    assert_eq!(last[1..], [1.0, 40_000.0]);
    assert!(lines[lines.len() - 3].starts_with("#[Mean    = "));
    assert!(lines[lines.len() - 2].ends_with("Total count    =        40000]"));
    assert_eq!(lines[lines.len() - 1], "#[Buckets =           26, SubBuckets     =         2048]");
}

#[test]
fn the_pictures_are_well_formed() {
    let picture = text_of("latency.svg", &report());
    assert_well_formed(&picture);
    for word in ["read", "write", "99.9 %", "µs", "bench-memcached-1"] {
        assert!(picture.contains(word), "{word}");
    }
    let nothing = Report { rounds: Vec::new(), ..report() };
    assert_well_formed(&text_of("latency.svg", &nothing));
}

/// Every tag that is opened is closed, in order, and no bare `&` or `<` is left.
fn assert_well_formed(xml: &str) {
    let mut open = Vec::new();
    for piece in xml.split('<').skip(1) {
        let (tag, text) = piece.split_once('>').expect("a tag ends");
        assert!(text.match_indices('&').all(|(at, _)| text[at..].contains(';')), "{text}");
        if let Some(name) = tag.strip_prefix('/') {
            assert_eq!(open.pop(), Some(name), "{piece}");
        } else if !tag.ends_with('/') && !tag.starts_with(['?', '!']) {
            open.push(tag.split_whitespace().next().expect("a name"));
        }
    }
    assert!(open.is_empty(), "{open:?}");
}

#[test]
fn formats_of_a_run_without_operations() {
    let nothing = Report { rounds: Vec::new(), notes: Vec::new(), ..report() };
    for format in FORMATS {
        (format.write)(&nothing).expect("it can be written");
    }
    assert_eq!(bars(&nothing, Style::default()), "");
    assert_eq!(summarize(&nothing).kinds.len(), 0);
}

#[test]
fn the_latency_table() {
    insta::assert_snapshot!(latency_table(&report(), Style::default()), @r"
        µs        ops   ops/s   min   p50   p90   p99    p99.9      max   mean  errors  unknown
        read   20 000   5 000  12.0  19.5  25.5  26.9   50 037   50 037   69.4       0        0
        write  20 000   5 000  31.0  46.0  58.0  60.7  100 073  100 073  145.9       6   24 690
        both   40 000  10 000  12.0  31.0  55.0  60.4   50 037  100 073  107.6       6   24 690
        14 of 20 000 reads found no such key
        client 2 gave up: no reply
    ");
}

#[test]
fn the_text_histogram() {
    insta::assert_snapshot!(bars(&report(), Style::default()), @r"
        read latency
           < 20 µs ████████████████████████████████████████  53.90 %  10 780
           < 50 µs ██████████████████████████████████▏       46.00 %  9 200
                 ⋮
          < 100 ms ▏                                          0.10 %  20
        write latency
           < 50 µs ████████████████████████████████████████  63.90 %  12 780
          < 100 µs ██████████████████████▌                   36.00 %  7 200
                 ⋮
          < 200 ms ▏                                          0.10 %  20
    ");
}

#[test]
fn the_table_of_ratios() {
    let floors = Floors {
        echo: vec![round(1), round(1)],
        chain: vec![round(2), round(4)],
        two_rounds: false,
    };
    let report = Report { floors: Some(floors), rounds: vec![round(2), round(2)], ..report() };
    insta::assert_snapshot!(floor_table(&report, Style::default()), @r"
        medians of the rounds    work    echo   chain  work/echo  work/chain
        read p50 µs              39.0    19.5    58.5      2.00×       0.67×
        read p99 µs              53.7    26.9    80.6      2.00×       0.67×
        write p50 µs             92.0    46.0   138.0      2.00×       0.67×
        write p99 µs            121.4    60.7   182.1      2.00×       0.67×
        throughput, ops/s      10 000  10 000  10 000      1.00×       1.00×
        2 rounds each of echo, chain and work in turn; echo: client-server-client, chain: client-R0-{R1,R2}-R0-client, same clients, pipeline and bytes
    ");
    let floors = summarize(&report).floors.expect("floors");
    assert_eq!(floors.figures["ops_per_second"].to_echo, Some(1.0));
}

fn pairs(mode: &str, scale: u64, current: u64) -> Summary {
    let pairs = Pairs { count: 10_000, current, mode: mode.into() };
    summarize(&Report { rounds: vec![round(scale)], pairs: Some(pairs), ..report() })
}

#[test]
fn the_two_modes_side_by_side() {
    let mut runs = [pairs("eventual", 1, 2_700), pairs("sequential", 4, 10_000)];
    runs[1].seconds = 7.6;
    insta::assert_snapshot!(comparison_text(&runs, Style::default()), @r"
        µs             eventual  sequential
        pairs            10 000      10 000
        total, s          2.000       7.600
        current reads     2 700      10 000
        set p50            46.0       184.1
        set p99            60.7       242.8
        get p50            19.5        78.0
        get p99            26.9       107.5
        sequential took 3.80 times as long as eventual
    ");
    let slow = Report { rounds: vec![round(4)], ..report() };
    let distributions = [text_of("latency.csv", &report()), text_of("latency.csv", &slow)];
    let picture = comparison_svg(&distributions).expect("a picture");
    assert_well_formed(&picture);
    assert!(picture.contains("sequential set"));
}

#[test]
fn a_narrow_distribution_gets_finer_bars() {
    let mut round = Round::default();
    for n in 0..1000u64 {
        round.tally_mut(Kind::Write).record(Duration::from_nanos(31_000 + n % 37 * 400));
    }
    let report = Report { rounds: vec![round], ..report() };
    insta::assert_snapshot!(bars(&report, Style::default()), @r"
        write latency
          < 33 µs ████████████████████▏                     13.60 %  136
          < 36 µs ████████████████████████████████          21.60 %  216
          < 39 µs ████████████████████████████              18.90 %  189
          < 43 µs ████████████████████████████████████████  27.00 %  270
          < 47 µs ████████████████████████████              18.90 %  189
    ");
}
