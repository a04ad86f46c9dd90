//! What the fuzz targets of the wire layer do with their input. The tests include this file too, to run
//! the corpus and random input through it without a fuzzer.

use consistency_lab::base::Limits;
use consistency_lab::wire::simple_resp;
use consistency_lab::wire::{
    Decoder, Dialect, Reply, ReplyDecoder, ReplyStep, Request, Step, max_request,
};

/// A moment in 2026; expiry times are counted from it.
pub const NOW_UNIX_MS: u64 = 1_780_000_000_000;

/// How a stream of requests ended.
#[derive(Debug, PartialEq, Eq)]
pub enum Ending {
    /// So many bytes at the end are not a whole request.
    Open(usize),
    /// The decoder gave up with these words.
    Fatal(Vec<u8>),
    /// Whoever looked at the requests had seen enough.
    Stopped,
}

/// Decodes `data`, which arrives in pieces of the sizes that `piece` names, and checks on the way what a
/// session relies on. `visit` says whether to go on.
pub fn decode(
    dialect: Dialect,
    data: &[u8],
    limits: &Limits,
    mut piece: impl FnMut() -> usize,
    mut visit: impl FnMut(Request<'_>) -> bool,
) -> Ending {
    let first = if dialect == Dialect::Resp { b'*' } else { b'g' };
    let mut decoder = Decoder::of_first_byte(first, 7);
    let (mut start, mut end) = (0, 0);
    loop {
        let buf = &data[start..end];
        match decoder.next(buf, NOW_UNIX_MS, limits) {
            Step::NeedMore { at_least } => {
                assert!(at_least > buf.len(), "asks for {at_least}, has {}", buf.len());
                assert!(at_least <= max_request(limits), "asks for {at_least}");
                if end == data.len() {
                    return Ending::Open(buf.len());
                }
                end = data.len().min(end + piece().max(1));
            }
            Step::Request { request, consumed } => {
                assert!((1..=buf.len()).contains(&consumed));
                start += consumed;
                if !visit(request) {
                    return Ending::Stopped;
                }
            }
            Step::Skip { consumed } => {
                assert!((1..=buf.len()).contains(&consumed));
                start += consumed;
            }
            Step::Fatal { reply } => return Ending::Fatal(reply.into_owned()),
        }
    }
}

/// Requests come out the same, however the stream was cut into pieces.
pub fn requests(dialect: Dialect, data: &[u8]) {
    // Values are kept small, so that a small input reaches what happens to large ones.
    let limits = Limits { max_value: 64 };
    let transcript = |mut piece: usize| {
        let mut list = Vec::new();
        let ending = decode(
            dialect,
            data,
            &limits,
            || {
                piece = piece.wrapping_mul(31) % 257;
                piece
            },
            |request| {
                list.push(format!("{request:?}"));
                true
            },
        );
        (list, ending)
    };
    let whole = {
        let mut list = Vec::new();
        let ending = decode(
            dialect,
            data,
            &limits,
            || data.len(),
            |request| {
                list.push(format!("{request:?}"));
                true
            },
        );
        (list, ending)
    };
    let seed = data.iter().map(|byte| usize::from(*byte)).sum();
    assert_eq!(whole, transcript(0), "one byte at a time");
    assert_eq!(whole, transcript(seed), "in pieces from seed {seed}");
}

/// Replies come out the same, however the stream was cut into pieces.
pub fn replies(dialect: Dialect, data: &[u8]) {
    let most = 4096;
    let run = |piece: usize| {
        let mut decoder = ReplyDecoder::new(dialect, most);
        let (mut start, mut end, mut list) = (0, 0, Vec::new());
        loop {
            let buf = &data[start..end];
            match decoder.next(buf) {
                Ok(ReplyStep::NeedMore { at_least }) => {
                    assert!(at_least > buf.len() && at_least <= most);
                    if end == data.len() {
                        return (list, None);
                    }
                    end = data.len().min(end + piece);
                }
                Ok(ReplyStep::Reply { reply, consumed }) => {
                    assert!((1..=buf.len()).contains(&consumed));
                    let unknown = reply.is_unknown();
                    list.push(match reply {
                        Reply::Values(values) => format!("{:?}", values.collect::<Vec<_>>()),
                        Reply::Stats(stats) => format!("{:?}", stats.collect::<Vec<_>>()),
                        other => format!("{other:?} {unknown}"),
                    });
                    start += consumed;
                }
                // What is wrong is quoted, and more of it may be there to quote.
                Err(error) => return (list, Some(std::mem::discriminant(&error))),
            }
        }
    };
    assert_eq!(run(data.len().max(1)), run(1), "one byte at a time");
}

/// What comes out of a stream of simplified RESP that arrives in pieces, a line a step but for the pieces of
/// what is skipped; and checks on the way what a session relies on.
pub fn simple_transcript(data: &[u8], mut piece: impl FnMut() -> usize) -> Vec<String> {
    let mut decoder = simple_resp::Decoder::default();
    let (mut start, mut end, mut skipped, mut list) = (0, 0, 0, Vec::new());
    loop {
        let buf = &data[start..end];
        match decoder.next(buf) {
            simple_resp::Step::NeedMore { at_least } => {
                assert!(at_least > buf.len(), "asks for {at_least}, has {}", buf.len());
                assert!(at_least <= simple_resp::MAX_REQUEST + 64, "asks for {at_least}");
                if end == data.len() {
                    list.push(format!("{skipped} skipped"));
                    return list;
                }
                end = data.len().min(end + piece().max(1));
            }
            simple_resp::Step::Command { command, consumed } => {
                assert!((1..=buf.len()).contains(&consumed));
                list.push(format!("{command:?}"));
                if let simple_resp::Command::Set { value, .. } = command {
                    // It is an array, and the store gives back these very bytes.
                    let mut whole = b"*3\r\n$3\r\nSET\r\n$1\r\nk\r\n".to_vec();
                    let (count, strings) = value.split_at(1 + head(&value));
                    let count: usize = std::str::from_utf8(&count[1..count.len() - 2])
                        .ok()
                        .and_then(|text| text.parse().ok())
                        .unwrap_or_else(|| panic!("{value:?} begins with a count"));
                    whole.splice(1..2, (count + 2).to_string().into_bytes());
                    whole.extend_from_slice(strings);
                    let again = simple_resp::Decoder::default().next(&whole) == {
                        let (key, value) = (&b"k"[..], value);
                        let command = simple_resp::Command::Set { key, value };
                        simple_resp::Step::Command { command, consumed: whole.len() }
                    };
                    assert!(again, "the value of {whole:?}");
                }
                start += consumed;
            }
            simple_resp::Step::Refused { consumed } => {
                assert!((1..=buf.len()).contains(&consumed));
                list.push("refused".to_owned());
                start += consumed;
            }
            simple_resp::Step::Skip { consumed } => {
                assert!((1..=buf.len()).contains(&consumed));
                skipped += consumed;
                start += consumed;
            }
            simple_resp::Step::Fatal => {
                list.push(format!("{skipped} skipped, then broken"));
                return list;
            }
        }
    }
}

/// How many bytes of a line follow its first one.
fn head(line: &[u8]) -> usize {
    line.iter().position(|byte| *byte == b'\n').unwrap_or_else(|| panic!("{line:?} has no line"))
}

/// Commands come out the same, however the stream was cut into pieces.
pub fn simple_requests(data: &[u8]) {
    let whole = simple_transcript(data, || data.len());
    assert_eq!(whole, simple_transcript(data, || 1), "one byte at a time");
    let seed: usize = data.iter().map(|byte| usize::from(*byte)).sum();
    let mut piece = seed;
    let pieces = || {
        piece = piece.wrapping_mul(31) % 257;
        piece
    };
    assert_eq!(whole, simple_transcript(data, pieces), "in pieces from seed {seed}");
}
