//! The space-time diagram of the replicas lab: one write and a few reads, in both modes, traced with the
//! real nodes in virtual time.
//!
//! The links are chosen so that the replicas deliver at different times: between replicas 1 and 2 a
//! message takes twice as long as elsewhere. So replica 0 delivers first, and client B, who reads at
//! replica 2, gets the old value although client A's write has been answered: sequential consistency
//! allows that, and linearizability would not.

use std::time::Duration;

use super::compared_modes;
use super::trace::{Ask, Happening, INITIAL, KEY, Script, TraceError, What, World, trace};
use crate::protocol::{Mode, ReplyAt};
use crate::report::{Arrow, ArrowKind, Diagram, Lane, Look, Panel, Span, space_time};
use crate::wire::peer::Frame;

const REPLICAS: usize = 3;

/// How long before the first request and after the last answer the picture goes on, in milliseconds.
const MARGIN: f64 = 0.5;

/// The text of an SVG: both modes, one above the other.
///
/// # Errors
/// See [`trace`].
pub fn picture() -> Result<String, TraceError> {
    let world = world();
    let runs: Vec<(&Mode, Vec<Happening>)> = compared_modes()
        .map(|mode| Ok((mode, trace(mode, &world, &scripts())?)))
        .collect::<Result<_, TraceError>>()?;
    // One axis for all, so that the panels can be compared by eye.
    let last = runs.iter().flat_map(|(_, happenings)| happenings.iter().map(|h| h.arrives)).max();
    let end = ms(last.unwrap_or_default()) + MARGIN;
    let panels = runs.iter().map(|(mode, happenings)| panel(mode, happenings, end)).collect();
    Ok(space_time(&Diagram {
        title: "One write in three replicas, eventual and sequential".to_owned(),
        description: "Client A sets x to 42 at replica 0, which sends the write to replicas 1 and 2. \
                      Every replica acknowledges it to all others and delivers it when it has all \
                      acknowledgements. In eventual mode client A is answered at once and reads the old \
                      value; in sequential mode it is answered at the delivery and reads 42. Client B \
                      reads the old value at replica 2 in both."
            .to_owned(),
        panels,
        notes: vec![
            "Traced from the lab's own replicas in virtual time, without a write delay. One way takes 2 ms \
             from replica 0"
                .to_owned(),
            "and 4 ms between 1 and 2, whose acknowledgements to each other no client waits for: they \
             gather a while first."
                .to_owned(),
        ],
    }))
}

fn world() -> World {
    let [near, far] = [Duration::from_millis(2), Duration::from_millis(4)];
    World {
        client_delay: Duration::from_millis(1),
        think_time: Duration::from_micros(350),
        link_delays: vec![vec![near, near, near], vec![near, near, far], vec![near, far, near]],
        write_delay: Duration::ZERO,
    }
}

fn scripts() -> Vec<Script> {
    let at = Duration::from_micros;
    vec![
        Script {
            replica: 0,
            asks: vec![(at(0), Ask::Set("42")), (at(2_350), Ask::Get), (at(6_350), Ask::Get)],
        },
        Script { replica: REPLICAS - 1, asks: vec![(at(6_200), Ask::Get), (at(8_550), Ask::Get)] },
    ]
}

fn panel(mode: &Mode, happenings: &[Happening], end: f64) -> Panel {
    let subheading = match mode.reply_at {
        ReplyAt::Submission => {
            "A write is answered at once; its delivery goes on behind the answer."
        }
        ReplyAt::Delivery => "A write is answered when the client's own replica has delivered it.",
    };
    let mut lanes = vec![Lane { name: "client A".to_owned(), spans: operations(happenings, 0) }];
    lanes.extend((0..REPLICAS).map(|replica| Lane {
        name: format!("replica {replica}"),
        spans: values(happenings, replica, end),
    }));
    lanes.push(Lane { name: "client B".to_owned(), spans: operations(happenings, 1) });
    Panel {
        heading: mode.name.to_owned(),
        subheading: subheading.to_owned(),
        lanes,
        arrows: happenings.iter().filter_map(arrow).collect(),
        start: -MARGIN,
        end,
    }
}

/// Milliseconds as the axis has them.
fn ms(time: Duration) -> f64 {
    time.as_secs_f64() * 1000.0
}

/// The boxes of a client: from each request to its answer.
fn operations(happenings: &[Happening], client: usize) -> Vec<Span> {
    let of_client = |h: &&Happening| h.client == Some(client);
    let asked = happenings.iter().filter(of_client).filter(|h| matches!(h.what, What::Asked(_)));
    let answered =
        happenings.iter().filter(of_client).filter(|h| matches!(h.what, What::Answered(..)));
    asked
        .zip(answered)
        .filter_map(|(asked, answered)| {
            let What::Answered(ask, words) = &answered.what else { return None };
            let stale = *ask == Ask::Get && *words != newest(happenings, answered.at);
            Some(Span {
                from: ms(asked.at),
                to: ms(answered.arrives),
                look: if stale { Look::StaleRead } else { Look::Operation },
                text: match ask {
                    Ask::Set(value) => format!("set {KEY}={value} → {words}"),
                    Ask::Get => format!("get {KEY} → {words}"),
                },
            })
        })
        .collect()
}

/// The value that the last write to have reached any replica by then has given.
fn newest(happenings: &[Happening], by: Duration) -> &str {
    let writes = happenings.iter().filter(|h| h.arrives <= by).filter_map(|h| match h.what {
        What::Asked(Ask::Set(value)) => Some((h.arrives, value)),
        _ => None,
    });
    writes.max_by_key(|(time, _)| *time).map_or(INITIAL, |(_, value)| value)
}

/// What a replica holds over time, and whether it is current.
fn values(happenings: &[Happening], replica: usize, end: f64) -> Vec<Span> {
    let written = happenings.iter().find_map(|h| match h.what {
        What::Asked(Ask::Set(_)) => Some(ms(h.arrives)),
        _ => None,
    });
    let delivered = happenings.iter().find_map(|h| match &h.what {
        What::Delivered(ts, value) if h.replica == replica => Some((ms(h.at), ts, value)),
        _ => None,
    });
    let written = written.unwrap_or(end);
    let old = format!("{KEY} = {INITIAL}");
    let mut spans =
        vec![Span { from: -MARGIN, to: written, look: Look::Before, text: old.clone() }];
    let until = delivered.map_or(end, |(at, _, _)| at);
    spans.push(Span { from: written, to: until, look: Look::Stale, text: format!("still {old}") });
    if let Some((at, ts, value)) = delivered {
        let text = format!("delivers {ts}: {KEY} = {value}");
        spans.push(Span { from: at, to: end, look: Look::Current, text });
    }
    spans
}

fn arrow(happening: &Happening) -> Option<Arrow> {
    let lane = |replica: usize| replica + 1;
    let of_client = |client: Option<usize>| if client == Some(0) { 0 } else { REPLICAS + 1 };
    let (at, arrives) = (ms(happening.at), ms(happening.arrives));
    let (from, to, kind) = match &happening.what {
        What::Asked(_) => (of_client(happening.client), lane(happening.replica), ArrowKind::Client),
        What::Answered(..) => {
            (lane(happening.replica), of_client(happening.client), ArrowKind::Client)
        }
        What::Sent(to, Frame::Write(_)) => (lane(happening.replica), lane(*to), ArrowKind::Write),
        What::Sent(to, Frame::Ack { .. }) => (lane(happening.replica), lane(*to), ArrowKind::Ack),
        What::Sent(..) | What::Delivered(..) => return None,
    };
    Some(Arrow { from: (from, at), to: (to, arrives), kind })
}
