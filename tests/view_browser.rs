//! The timeline page in a real browser: it draws, it answers the mouse and the keyboard, it is dark where the system
//! is. Pictures are left in `target/tmp/`, to be looked at.
//!
//! Needs Chromium. Where there is none the tests say SKIP and pass, unless `REQUIRE_BROWSER=1` is set.

mod view_support;

use consistency_lab::history::{Clock, History, OpId};
use consistency_lab::view::{Mark, Page, VerdictLine, write_html};
use serde_json::json;
use std::path::PathBuf;
use view_support::browser::{Browser, installed, pictures};
use view_support::samples;

/// The verdicts that go with the sample of a stale read.
const VERDICTS: &[VerdictLine<'static>] = &[
    VerdictLine {
        model: "linearizable",
        mark: Mark::Broken,
        text: "carol reads 0 after bob has read 42",
    },
    VerdictLine {
        model: "sequential",
        mark: Mark::Holds,
        text: "an order of all operations exists",
    },
    VerdictLine { model: "causal", mark: Mark::Holds, text: "follows from sequential" },
    VerdictLine {
        model: "convergent",
        mark: Mark::Unknown,
        text: "the history ends before the replicas are at rest",
    },
];

fn browser() -> Option<Browser> {
    let Some(program) = installed() else {
        let required = std::env::var("REQUIRE_BROWSER").is_ok_and(|value| value == "1");
        assert!(!required, "REQUIRE_BROWSER=1 is set, but no Chromium is installed");
        println!("SKIP: no Chromium is installed (Debian: apt-get install chromium)");
        return None;
    };
    Some(Browser::start(program, 1280, 900, 1.5))
}

/// Writes the page to a file; says where, and its length.
fn write(name: &str, title: &str, (history, witness): &(History, Vec<OpId>)) -> (PathBuf, usize) {
    let story = [
        "alice writes 42 to x at replica 0; the write is done at 2.1 ms.",
        "bob reads 42 from x at replica 1, which has delivered the write.",
        "carol reads x at replica 2 after that and is told 0; replica 2 delivers the write at 8.3 ms only.",
        "No order in real time explains it: carol should have read 42.",
    ];
    let story = story.map(str::to_owned);
    let culprit = witness.last().copied();
    let page = Page { title, history, verdicts: VERDICTS, witness, culprit, story: &story };
    let mut bytes = Vec::new();
    write_html(&page, &mut bytes).expect("memory does not fail");
    let file = pictures().join(name);
    std::fs::write(&file, &bytes).expect("the page can be written");
    (file, bytes.len())
}

/// Writes the page to a file and opens it; says its length.
fn show(browser: &mut Browser, name: &str, title: &str, sample: &(History, Vec<OpId>)) -> usize {
    let (file, bytes) = write(name, title, sample);
    browser.open(&file);
    browser.wait_for("window.timeline && timeline.firstDraw > 0");
    bytes
}

/// The middle of an operation's bar in the window.
fn middle(browser: &mut Browser, id: OpId) -> (f64, f64) {
    let at = browser.evaluate(&format!("timeline.locate({})", id.0));
    let half = |from: &str, length: &str| {
        let number = |name: &str| at[name].as_f64().expect("the operation is in view");
        number(from) + number(length) / 2.0
    };
    (half("x", "width"), half("y", "height"))
}

fn visible(browser: &mut Browser) -> (f64, f64) {
    (browser.number("timeline.visibleFrom"), browser.number("timeline.visibleTo"))
}

#[test]
fn a_small_run_answers_mouse_and_keyboard_in_light_and_dark() {
    let Some(mut browser) = browser() else { return };
    let sample = samples::stale_read();
    browser.prefer("light");
    show(&mut browser, "timeline.html", "Eventual consistency, 3 replicas", &sample);
    browser.screenshot("timeline-light.png", true);

    let culprit = sample.1[2];
    browser.evaluate("document.getElementById('lanes').scrollIntoView()");
    let (x, y) = middle(&mut browser, culprit);
    browser.mouse("mouseMoved", x, y);
    browser.wait_for("!document.getElementById('tip').hidden");
    let tip = browser.evaluate("document.getElementById('tip').innerText");
    let tip = tip.as_str().expect("a text");
    for part in ["read x → 0", "cannot be explained", "carol", "replica", "ok", "4.7 ms", "650 µs"]
    {
        assert!(tip.contains(part), "the tooltip lacks `{part}`: {tip}");
    }
    let hovered = browser.evaluate("timeline.hovered");
    assert_eq!(hovered, json!({ "kind": "operation", "id": culprit.0 }));
    browser.screenshot("timeline-tooltip.png", false);

    zooms_and_pans(&mut browser, (x, y));
    steps_and_filters(&mut browser, &sample);

    browser.prefer("dark");
    browser.wait_for("timeline.dark");
    browser.key("Escape");
    browser.key("0");
    let dark = browser.screenshot("timeline-dark.png", true);
    assert!(dark.starts_with(b"\x89PNG"), "the picture is a PNG");
    browser.evaluate("document.getElementById('theme').click()");
    browser.wait_for("!timeline.dark");
    assert!(browser.complaints.is_empty(), "{:?}", browser.complaints);
}

fn zooms_and_pans(browser: &mut Browser, (x, y): (f64, f64)) {
    let (from, to) = visible(browser);
    browser.wheel(x, y, -200.0);
    browser.wait_for(&format!("timeline.visibleTo - timeline.visibleFrom < {}", (to - from) * 0.8));
    let (wheel_from, wheel_to) = visible(browser);
    assert!(from < wheel_from && wheel_to < to, "the wheel zooms in around the pointer");

    browser.key("+");
    let (key_from, key_to) = visible(browser);
    assert!(key_to - key_from < (wheel_to - wheel_from) * 0.8, "+ zooms in");

    browser.drag((x, y), (x - 150.0, y));
    let (panned_from, panned_to) = visible(browser);
    assert!(
        panned_from > key_from && panned_to > key_to,
        "dragging to the left moves to later times"
    );
    let kept = (panned_to - panned_from) - (key_to - key_from);
    assert!(kept.abs() < 1e-3, "dragging keeps the length of what is in view");

    browser.evaluate("document.getElementById('lanes').focus()");
    browser.key("ArrowLeft");
    assert!(visible(browser).0 < panned_from, "the left arrow moves to earlier times");
    browser.key("Home");
    assert_eq!(visible(browser), (from, to), "Home shows everything");
}

fn steps_and_filters(browser: &mut Browser, (history, witness): &(History, Vec<OpId>)) {
    browser.key("Escape");
    browser.key("n");
    let first = browser.evaluate("timeline.focused.id");
    browser.key("n");
    let second = browser.evaluate("timeline.focused.id");
    assert_eq!((first, second), (json!(0), json!(1)), "n steps through the operations");
    browser.key("p");
    assert_eq!(browser.evaluate("timeline.focused.id"), json!(0), "and p back");
    let said = browser.evaluate("document.getElementById('spoken').textContent");
    assert!(said.as_str().is_some_and(|said| said.contains("read y")), "{said}");

    browser.key("w");
    let (from, to) = visible(browser);
    for id in witness {
        let at = history.operation(*id).invoked_at as f64;
        assert!(from < at && at < to, "w shows the witness");
    }
    browser.evaluate("(() => { search.value = 'process:carol key:x'; search.dispatchEvent(new Event('input')); })()");
    assert_eq!(browser.number("timeline.matching"), 2.0, "two operations of carol's are on x");
    browser.evaluate("(() => { search.value = ''; search.dispatchEvent(new Event('input')); })()");
}

/// At the witness, some way out, and with everything in view: the median of 30 frames of dragging each, in ms.
fn frames(browser: &mut Browser) -> Vec<f64> {
    let out = "for (let i = 0; i < 6; i++) document.getElementById('zoom-out').click();";
    let places = ["", out, "document.getElementById('fit').click();"];
    let mut medians = Vec::new();
    for place in places {
        medians.push(browser.number(&format!(
            "(() => {{
                {place}
                const times = [];
                for (let i = 0; i < 30; i++) {{
                    const began = performance.now();
                    timeline.redraw(i % 2 ? 7 : -7);
                    times.push(performance.now() - began);
                }}
                return times.sort((a, b) => a - b)[15];
            }})()"
        )));
    }
    medians
}

#[test]
fn a_long_run_is_drawn_fast_enough_to_be_dragged() {
    let Some(mut browser) = browser() else { return };
    browser.prefer("light");
    let sample = samples::long_run(10_000);
    let bytes = show(&mut browser, "timeline-10000.html", "A long run", &sample);
    browser.screenshot("timeline-10000-light.png", true);
    let first = browser.number("timeline.firstDraw");
    let frames = frames(&mut browser);
    println!(
        "10,000 operations: {bytes} bytes; first picture after {first:.0} ms; frames of {frames:.1?} ms"
    );
    browser.screenshot("timeline-10000-all-light.png", false);
    browser.prefer("dark");
    browser.wait_for("timeline.dark");
    browser.evaluate("document.getElementById('to-witness').click()");
    browser.evaluate("for (let i = 0; i < 3; i++) document.getElementById('zoom-out').click()");
    browser.screenshot("timeline-10000-dark.png", true);
    assert!(bytes < 2_000_000, "the page is compact: {bytes} bytes");
    // A loose bound: the machine may be busy. What it prints is what counts.
    assert!(frames.iter().all(|frame| *frame < 250.0), "a frame takes {frames:?} ms");
    assert!(browser.complaints.is_empty(), "{:?}", browser.complaints);
}

#[test]
fn a_very_long_run_is_still_drawn() {
    let Some(mut browser) = browser() else { return };
    let sample = samples::long_run(100_000);
    let bytes = show(&mut browser, "timeline-100000.html", "A very long run", &sample);
    let first = browser.number("timeline.firstDraw");
    let frames = frames(&mut browser);
    println!(
        "100,000 operations: {bytes} bytes; first picture after {first:.0} ms; frames of {frames:.1?} ms"
    );
    browser.evaluate("document.getElementById('dim').click()");
    browser.screenshot("timeline-100000.png", false);
    assert!(frames.iter().all(|frame| *frame < 1_000.0), "a frame takes {frames:?} ms");
    assert!(browser.complaints.is_empty(), "{:?}", browser.complaints);
}

#[test]
fn odd_texts_and_histories_without_times_are_drawn() {
    let Some(mut browser) = browser() else { return };
    for (name, clock) in [("steps", Clock::Steps), ("order", Clock::ProcessOrder)] {
        let sample = samples::odd(clock);
        let title = "<b>Odd</b> texts";
        show(&mut browser, &format!("timeline-{name}.html"), title, &sample);
        let shown = browser.evaluate("document.title");
        assert_eq!(shown, json!(title), "no text of the history runs as a script");
        browser.evaluate("document.getElementById('lanes').scrollIntoView()");
        let (x, y) = middle(&mut browser, sample.1[0]);
        browser.mouse("mouseMoved", x, y);
        browser.wait_for("timeline.hovered");
        browser.key("n");
        browser.wait_for("timeline.focused");
        browser.screenshot(&format!("timeline-{name}.png"), true);
    }
    let empty = (History::default(), Vec::new());
    show(&mut browser, "timeline-empty.html", "Nothing", &empty);
    browser.key("n");
    browser.key("w");
    browser.key("+");
    assert!(browser.complaints.is_empty(), "{:?}", browser.complaints);
}

#[test]
fn without_scripts_the_page_still_tells_what_happened() {
    let Some(mut browser) = browser() else { return };
    let file = write("timeline-plain.html", "Without scripts", &samples::stale_read()).0;
    browser.open_without_scripts(&file);
    let text = browser.evaluate("document.body.innerText");
    let text = text.as_str().expect("a text");
    for part in [
        "carol reads 0 after bob has read 42",
        "No order in real time",
        "read x → 0",
        "JavaScript, which is off",
    ] {
        assert!(text.contains(part), "the page lacks `{part}`: {text}");
    }
    assert!(!text.contains("Filter"), "what cannot work is not shown");
    browser.screenshot_at_once("timeline-plain.png", true);
}
