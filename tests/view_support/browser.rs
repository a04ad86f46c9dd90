//! A headless Chromium, spoken to over its DevTools protocol.
//!
//! Commands and events go over two pipes (`--remote-debugging-pipe`: the browser reads file descriptor 3 and
//! writes 4), as JSON objects that end with a zero byte. No port is opened, and the browser ends by itself when
//! its pipe closes, however the test ends.

use serde_json::{Value, json};
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

/// How long anything may take; generous, because the machine may be busy.
const PATIENCE: Duration = Duration::from_secs(60);

/// Where Chromium may be.
const PROGRAMS: &[&str] =
    &["/usr/bin/chromium", "/usr/bin/chromium-browser", "/usr/bin/google-chrome"];

/// The browser that is installed here, if there is one.
pub fn installed() -> Option<&'static str> {
    PROGRAMS.iter().copied().find(|program| Path::new(program).exists())
}

/// A browser with one page.
pub struct Browser {
    child: Child,
    commands: Option<ChildStdin>,
    answers: Receiver<Value>,
    last_id: u64,
    session: Option<String>,
    /// Complaints of the page: exceptions and errors on its console.
    pub complaints: Vec<String>,
    // Dropped last, when the browser has ended.
    _profile: tempfile::TempDir,
}

impl Browser {
    /// Starts the browser and opens an empty page of this size.
    pub fn start(program: &str, width: u32, height: u32, scale: f64) -> Self {
        let profile = tempfile::tempdir().expect("a folder for the profile");
        // Standard input and output become 3 and 4; the browser's own output would only disturb.
        let script = r#"exec "$0" "$@" 3<&0 4>&1 </dev/null >/dev/null 2>&1"#;
        let mut child = Command::new("/bin/sh")
            .args(["-c", script, program])
            .args(["--headless=new", "--no-sandbox", "--remote-debugging-pipe", "--no-first-run"])
            .args([
                "--disable-gpu",
                "--disable-dev-shm-usage",
                "--hide-scrollbars",
                "--disable-extensions",
            ])
            .arg(format!("--user-data-dir={}", profile.path().display()))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("the browser starts");
        let commands = child.stdin.take();
        let output = child.stdout.take().expect("its output is a pipe");
        let (sender, answers) = channel();
        std::thread::spawn(move || {
            for message in BufReader::new(output).split(0) {
                let Ok(message) = message else { return };
                let Ok(message) = serde_json::from_slice(&message) else { return };
                if sender.send(message).is_err() {
                    return;
                }
            }
        });
        let mut browser = Self {
            child,
            commands,
            answers,
            last_id: 0,
            session: None,
            complaints: Vec::new(),
            _profile: profile,
        };
        let target = browser.call("Target.createTarget", json!({ "url": "about:blank" }));
        let attach = json!({ "targetId": target["targetId"], "flatten": true });
        let session = browser.call("Target.attachToTarget", attach);
        browser.session = session["sessionId"].as_str().map(str::to_owned);
        browser.call("Page.enable", json!({}));
        browser.call("Runtime.enable", json!({}));
        let metrics = json!({ "width": width, "height": height, "deviceScaleFactor": scale, "mobile": false });
        browser.call("Emulation.setDeviceMetricsOverride", metrics);
        browser
    }

    /// Sends a command and waits for its result.
    pub fn call(&mut self, method: &str, params: Value) -> Value {
        self.last_id += 1;
        let id = self.last_id;
        let mut command = json!({ "id": id, "method": method, "params": params });
        if let Some(session) = &self.session {
            command["sessionId"] = json!(session);
        }
        let pipe = self.commands.as_mut().expect("it is open until the end");
        pipe.write_all(format!("{command}\0").as_bytes()).expect("the browser listens");
        pipe.flush().expect("the browser listens");
        let answer = self.receive(method, |message| message["id"] == json!(id));
        assert!(answer["error"].is_null(), "{method}: {}", answer["error"]);
        answer["result"].clone()
    }

    /// Waits for a message; notes complaints on the way.
    fn receive(&mut self, what: &str, wanted: impl Fn(&Value) -> bool) -> Value {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            let message = self.answers.recv_timeout(left);
            let message = message.unwrap_or_else(|_| panic!("no answer to {what} in {PATIENCE:?}"));
            let complains = match message["method"].as_str() {
                Some("Runtime.exceptionThrown") => true,
                Some("Runtime.consoleAPICalled") => message["params"]["type"] == "error",
                _ => false,
            };
            if complains {
                self.complaints.push(message["params"].to_string());
            }
            if wanted(&message) {
                return message;
            }
        }
    }

    /// Opens a file and waits until it is loaded.
    pub fn open(&mut self, file: &Path) {
        self.call("Page.navigate", json!({ "url": format!("file://{}", file.display()) }));
        self.wait_for("document.readyState === 'complete'");
    }

    /// Opens a file with scripts switched off, until the next file is opened, and waits until it is loaded.
    pub fn open_without_scripts(&mut self, file: &Path) {
        self.call("Emulation.setScriptExecutionDisabled", json!({ "value": true }));
        self.call("Page.navigate", json!({ "url": format!("file://{}", file.display()) }));
        let deadline = Instant::now() + PATIENCE;
        // The page cannot look at itself now, so it is asked.
        while self.evaluate("document.readyState + location.protocol") != json!("completefile:") {
            assert!(Instant::now() < deadline, "the page does not load in {PATIENCE:?}");
        }
    }

    /// The value of an expression; a promise's once it is there.
    pub fn evaluate(&mut self, expression: &str) -> Value {
        let params =
            json!({ "expression": expression, "awaitPromise": true, "returnByValue": true });
        let result = self.call("Runtime.evaluate", params);
        assert!(result["exceptionDetails"].is_null(), "{expression}: {result}");
        result["result"]["value"].clone()
    }

    /// The value of an expression as a number.
    pub fn number(&mut self, expression: &str) -> f64 {
        let value = self.evaluate(expression);
        value.as_f64().unwrap_or_else(|| panic!("{expression} is {value} and not a number"))
    }

    /// Waits until an expression holds. The page looks at every frame; nobody sleeps.
    pub fn wait_for(&mut self, condition: &str) {
        let patience = PATIENCE.as_millis() / 2;
        let held = self.evaluate(&format!(
            "new Promise((done) => {{
                const deadline = performance.now() + {patience};
                const look = () => {{
                    if ({condition}) done(true);
                    else if (performance.now() > deadline) done(false);
                    else requestAnimationFrame(look);
                }};
                look();
            }})"
        ));
        assert_eq!(held, json!(true), "it never came to be that {condition}");
    }

    /// Moves the mouse, presses or releases its left button.
    pub fn mouse(&mut self, kind: &str, x: f64, y: f64) {
        let down = if kind == "mouseMoved" { "none" } else { "left" };
        let params = json!({ "type": kind, "x": x, "y": y, "button": down, "clickCount": 1 });
        self.call("Input.dispatchMouseEvent", params);
    }

    /// Presses the left button, moves the mouse, and releases it.
    pub fn drag(&mut self, from: (f64, f64), to: (f64, f64)) {
        self.mouse("mousePressed", from.0, from.1);
        for part in 1..=4 {
            let at = |from: f64, to: f64| from + (to - from) * f64::from(part) / 4.0;
            let (x, y) = (at(from.0, to.0), at(from.1, to.1));
            let moved =
                json!({ "type": "mouseMoved", "x": x, "y": y, "button": "left", "buttons": 1 });
            self.call("Input.dispatchMouseEvent", moved);
        }
        self.mouse("mouseReleased", to.0, to.1);
    }

    /// Turns the wheel.
    pub fn wheel(&mut self, x: f64, y: f64, by: f64) {
        let params = json!({ "type": "mouseWheel", "x": x, "y": y, "deltaX": 0, "deltaY": by });
        self.call("Input.dispatchMouseEvent", params);
    }

    /// Presses and releases a key, by its name in the DOM.
    pub fn key(&mut self, key: &str) {
        let mut params = json!({ "type": "keyDown", "key": key });
        if key.chars().count() == 1 {
            params["text"] = json!(key);
        }
        self.call("Input.dispatchKeyEvent", params);
        self.call("Input.dispatchKeyEvent", json!({ "type": "keyUp", "key": key }));
    }

    /// Sets the scheme of colours that the system prefers: `light` or `dark`.
    pub fn prefer(&mut self, scheme: &str) {
        let features = json!([{ "name": "prefers-color-scheme", "value": scheme }]);
        self.call("Emulation.setEmulatedMedia", json!({ "features": features }));
    }

    /// Writes what the window shows as a PNG, the whole page where `whole`; returns its bytes.
    pub fn screenshot(&mut self, name: &str, whole: bool) -> Vec<u8> {
        // Two frames, so that what was scheduled is painted.
        self.evaluate(
            "new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)))",
        );
        self.screenshot_at_once(name, whole)
    }

    /// The same of a page without scripts, which cannot count its frames.
    pub fn screenshot_at_once(&mut self, name: &str, whole: bool) -> Vec<u8> {
        let params = json!({ "format": "png", "captureBeyondViewport": whole });
        let picture = self.call("Page.captureScreenshot", params);
        let png = base64(picture["data"].as_str().expect("a picture"));
        std::fs::write(pictures().join(name), &png).expect("the picture can be written");
        png
    }
}

/// Where the pictures go.
pub fn pictures() -> PathBuf {
    PathBuf::from(env!("CARGO_TARGET_TMPDIR"))
}

impl Drop for Browser {
    fn drop(&mut self) {
        // The end of its commands ends the browser, and all of its processes.
        drop(self.commands.take());
        let deadline = Instant::now() + Duration::from_secs(10);
        while self.answers.recv_timeout(deadline.saturating_duration_since(Instant::now())).is_ok()
        {
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn base64(text: &str) -> Vec<u8> {
    let digit = |byte: u8| match byte {
        b'A'..=b'Z' => Some(byte - b'A'),
        b'a'..=b'z' => Some(byte - b'a' + 26),
        b'0'..=b'9' => Some(byte - b'0' + 52),
        b'+' => Some(62),
        b'/' => Some(63),
        _ => None,
    };
    let (mut bytes, mut bits, mut held) = (Vec::with_capacity(text.len() * 3 / 4), 0u32, 0);
    for value in text.bytes().filter_map(digit) {
        bits = (bits << 6) | u32::from(value);
        held += 6;
        if held >= 8 {
            held -= 8;
            bytes.push((bits >> held) as u8);
        }
    }
    bytes
}
