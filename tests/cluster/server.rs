//! Hash table servers as processes: what they answer, what they make of nonsense, and what is left after
//! kill -9, again and again, and when a disk fills.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Write};
use std::net::TcpStream;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};
use rustix::process::{Pid, Resource, Rlimit, Signal, kill_process, prlimit};
use serde_json::{Value, json};

/// Far more than anything here takes, also on a busy machine.
const LONG: Duration = Duration::from_secs(60);

fn eventually(what: &str, mut holds: impl FnMut() -> bool) {
    crate::process_support::eventually(what, LONG, || holds().then_some(()));
}

struct Server {
    child: Child,
    port: u16,
}

fn command(dir: &Path, more: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_servers"));
    command.args(["cluster", "test-0", "--dir"]).arg(dir).args(more);
    command.env_remove("RUST_LOG").stdin(Stdio::null()).stdout(Stdio::piped());
    command
}

impl Server {
    fn start(dir: &Path, more: &[&str]) -> Server {
        Self::run(command(dir, more))
    }

    fn run(mut command: Command) -> Server {
        let mut child = command.spawn().expect("servers starts");
        let mut line = String::new();
        let stdout = child.stdout.take().expect("piped");
        BufReader::new(stdout).read_line(&mut line).expect("text");
        let port = line.trim().strip_prefix("Listening on port ");
        let port = port.unwrap_or_else(|| panic!("said {line:?}")).parse().expect("a port");
        Server { child, port }
    }

    fn pid(&self) -> Pid {
        Pid::from_child(&self.child)
    }

    fn client(&self) -> Client {
        Client::connect(self.port)
    }

    fn kill(&mut self) {
        self.child.kill().expect("it runs");
        self.child.wait().expect("it ends");
    }

    fn stop(mut self) {
        kill_process(self.pid(), Signal::TERM).expect("it runs");
        let begun = Instant::now();
        let status = self.child.wait().expect("it ends");
        assert_eq!(status.code(), Some(0), "{status}");
        assert!(begun.elapsed() < Duration::from_secs(5), "{:?}", begun.elapsed());
    }

    /// A line of /proc/PID/status, in KiB.
    fn memory_kib(&self, name: &str) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id()));
        let status = status.expect("Linux shows a process's memory");
        let line = status.lines().find_map(|line| line.strip_prefix(name)).expect("the line");
        line.trim_matches([':', ' ', '\t', 'k', 'B']).parse().expect("N kB")
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // It may have ended already, and then there is nothing to do.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

struct Client {
    stream: BufReader<TcpStream>,
}

impl Client {
    fn connect(port: u16) -> Client {
        let stream = TcpStream::connect(("127.0.0.1", port)).expect("the server listens");
        stream.set_nodelay(true).expect("a socket");
        stream.set_read_timeout(Some(LONG)).expect("a socket");
        Client { stream: BufReader::new(stream) }
    }

    /// `None` where the connection is gone.
    fn try_send(&mut self, bytes: &[u8]) -> Option<()> {
        self.stream.get_mut().write_all(bytes).ok()
    }

    fn try_reply(&mut self) -> Option<Value> {
        let mut line = String::new();
        self.stream.read_line(&mut line).ok()?;
        line.ends_with('\n').then(|| serde_json::from_str(&line).expect("replies are JSON"))
    }

    fn send(&mut self, bytes: &[u8]) {
        self.try_send(bytes).expect("the connection is open");
    }

    fn reply(&mut self) -> Value {
        self.try_reply().expect("the connection is open")
    }

    fn raw(&mut self, line: &[u8]) -> Value {
        self.send(&[line, b"\n"].concat());
        self.reply()
    }

    fn call(&mut self, request: &Value) -> Value {
        self.raw(request.to_string().as_bytes())
    }

    fn insert(&mut self, key: &str, value: &Value) -> Value {
        self.call(&json!({"method": "insert", "key": key, "value": value}))
    }

    fn lookup(&mut self, key: &str) -> Value {
        self.call(&json!({"method": "lookup", "key": key}))
    }

    fn status(&mut self) -> Value {
        self.call(&json!({"method": "status"}))["value"].clone()
    }

    /// All that is there; no key twice.
    fn all(&mut self) -> BTreeMap<String, Value> {
        let reply = self.call(&json!({"method": "scan", "regex": ""}));
        let matches = reply["matches"].as_array().expect("matches").clone();
        let pair = |pair: &Value| (pair[0].as_str().expect("a key").to_owned(), pair[1].clone());
        let map: BTreeMap<_, _> = matches.iter().map(pair).collect();
        assert_eq!(map.len(), matches.len(), "a key twice");
        map
    }
}

fn success() -> Value {
    json!({"result": "success"})
}

fn folder() -> tempfile::TempDir {
    tempfile::tempdir().expect("a folder")
}

#[test]
fn requests_and_replies() {
    let dir = folder();
    let server = Server::start(dir.path(), &[]);
    let mut client = server.client();
    let weight = json!({"weight": 100, "of": [1.50, null, "\u{1f993}\n"]});
    assert_eq!(client.insert("zebra", &weight), success());
    assert_eq!(client.insert("", &Value::Null), success());
    assert_eq!(client.insert("a\tb\u{0}\u{9b}\"\\", &json!("removed")), success());
    let found = json!({"result": "success", "value": weight});
    assert_eq!(client.lookup("zebra"), found);
    assert_eq!(client.lookup(""), json!({"result": "success", "value": null}));
    let missing = json!({"result": "failed", "error": "no such key: lion"});
    assert_eq!(client.lookup("lion"), missing);
    assert_eq!(client.call(&json!({"method": "remove", "key": "lion"})), missing);
    assert_eq!(
        client.call(&json!({"method": "scan", "regex": "^.e.ra$"})),
        json!({"result": "success", "matches": [["zebra", weight]]})
    );
    assert_eq!(client.all().len(), 3);
    assert_eq!(client.call(&json!({"method": "remove", "key": "zebra"})), found);
    assert_eq!(client.lookup("zebra")["result"], "failed");
    let long = client.lookup(&"k".repeat(100_000));
    assert!(long["error"].as_str().expect("a reason").len() < 300, "{long}");
    let before = client.all();
    server.stop();
    let server = Server::start(dir.path(), &[]);
    assert_eq!(server.client().all(), before);
}

/// A number that a client sends comes back digit by digit.
#[test]
fn values_come_back_as_they_were_written() {
    let dir = folder();
    let server = Server::start(dir.path(), &[]);
    let mut client = server.client();
    client.raw(b"{\"value\": 1.2300e+5000 ,\"key\":\"k\",\"method\":\"insert\"}");
    client.send(b"{\"method\":\"lookup\",\"key\":\"k\"}\n");
    let mut line = String::new();
    client.stream.read_line(&mut line).expect("a line");
    assert_eq!(line, "{\"result\":\"success\",\"value\":1.2300e+5000}\n");
}

#[test]
fn a_batch_sees_its_own_changes_in_their_order() {
    let dir = folder();
    let server = Server::start(dir.path(), &[]);
    let mut client = server.client();
    let requests = [
        (json!({"method": "insert", "key": "k", "value": 1}), success()),
        (json!({"method": "insert", "key": "k", "value": 2}), success()),
        (json!({"method": "lookup", "key": "k"}), json!({"result": "success", "value": 2})),
        (json!({"method": "remove", "key": "k"}), json!({"result": "success", "value": 2})),
        (json!({"method": "insert", "key": "l", "value": 3}), success()),
        (
            json!({"method": "remove", "key": "k"}),
            json!({"result": "failed", "error": "no such key: k"}),
        ),
        (
            json!({"method": "scan", "regex": ""}),
            json!({"result": "success", "matches": [["l", 3]]}),
        ),
    ];
    let lines: String = requests.iter().map(|(request, _)| format!("{request}\r\n")).collect();
    for round in 0..20 {
        client.send(lines.as_bytes());
        for (request, expected) in &requests {
            assert_eq!(client.reply(), *expected, "round {round}: {request}");
        }
    }
}

#[test]
fn nonsense_is_told_apart_and_the_connection_goes_on() {
    let dir = folder();
    let server = Server::start(dir.path(), &["--max-line", "100000"]);
    let mut client = server.client();
    let nested = "(".repeat(5000) + "a" + &")".repeat(5000);
    for (line, why) in [
        (&b"{\"method\":\"insert\",\"key\":\"k\",\"va"[..], "expected a JSON object"),
        (b"", "expected a JSON object"),
        (b"[]", "expected a JSON object"),
        (b"\xff\xfe", "expected a JSON object"),
        (b"{\"method\":\"insert\",\"key\":\"\xff\",\"value\":1}", "expected a JSON object"),
        (b"{\"method\":\"insert\",\"key\":\"k\",\"value\":\"\xff\"}", "expected a JSON object"),
        (b"{\"method\":\"insert\",\"key\":\"\\ud800\",\"value\":1}", "expected a JSON object"),
        (b"{\"method\":\"insert\",\"key\":1,\"value\":1}", "expected a string"),
        (b"{\"method\":\"insert\",\"key\":\"k\"}", "insert needs the member \"value\""),
        (b"{\"method\":\"lookup\"}", "lookup needs the member \"key\""),
        (b"{\"method\":\"scan\",\"key\":\"k\"}", "scan needs the member \"regex\""),
        (b"{\"method\":\"drop\"}", "found \"drop\""),
        (b"{\"method\":\"lookup\",\"key\":\"k\",\"keys\":1}", "unknown field"),
        (b"{\"method\":\"lookup\",\"key\":\"k\"} x", "trailing characters"),
        (b"{\"method\":\"scan\",\"regex\":\"a(b\"}", "\"a(b\""),
        (b"{\"method\":\"scan\",\"regex\":\"a{9999}{9999}\"}", "a{9999}{9999}"),
        (json!({"method": "scan", "regex": nested}).to_string().as_bytes(), "((("),
        (&[b'x'; 200_000], "longer than 100000 bytes"),
    ] {
        let shown = String::from_utf8_lossy(&line[..line.len().min(60)]).into_owned();
        let reply = client.raw(line);
        assert_eq!(reply["result"], "invalid", "{shown}: {reply}");
        let error = reply["error"].as_str().expect("a reason");
        assert!(error.contains(why), "{shown}: {error}");
        assert!(error.len() < 500, "{shown}: {error}");
    }
    assert_eq!(client.insert("k", &json!(1)), success());
    // Half a line, and then nothing.
    let mut rude = server.client();
    rude.send(b"{\"method\":\"insert\",\"key\":\"rude\",\"value\":1}");
    drop(rude);
    assert_eq!(client.all().len(), 1);
}

#[test]
fn a_value_of_100_mb_is_refused_and_takes_no_memory() {
    let dir = folder();
    let server = Server::start(dir.path(), &[]);
    let mut client = server.client();
    client.send(b"{\"method\":\"insert\",\"key\":\"large\",\"value\":\"");
    let piece = vec![b'x'; 1 << 20];
    (0..100).for_each(|_| client.send(&piece));
    client.send(b"\"}\n");
    let reply = client.reply();
    assert_eq!(reply["result"], "invalid", "{reply}");
    assert_eq!(client.insert("k", &json!("y".repeat(10 << 20))), success());
    assert_eq!(client.all().len(), 1);
    let peak = server.memory_kib("VmHWM");
    assert!(peak < 200 * 1024, "{peak} KiB");
}

#[test]
fn two_thousand_clients_at_once() {
    let wanted = 2_000;
    let allowed = rlimit::increase_nofile_limit(u64::MAX).unwrap_or(0);
    if allowed < wanted + 200 {
        eprintln!(
            "skipped: this system allows {allowed} open files, and {wanted} clients need more"
        );
        return;
    }
    let dir = folder();
    let server = Server::start(dir.path(), &[]);
    let mut clients: Vec<Client> = (0..wanted).map(|_| server.client()).collect();
    for (i, client) in clients.iter_mut().enumerate() {
        let request = json!({"method": "insert", "key": i.to_string(), "value": i});
        client.send(format!("{request}\n").as_bytes());
    }
    for client in &mut clients {
        assert_eq!(client.reply(), success());
    }
    let status = clients[0].status();
    assert_eq!((&status["connections"], &status["entries"]), (&json!(wanted), &json!(wanted)));
    for (i, client) in clients.iter_mut().enumerate() {
        assert_eq!(client.lookup(&i.to_string())["value"], json!(i));
    }
    server.stop();
}

#[test]
fn too_many_clients_are_told() {
    let dir = folder();
    let server = Server::start(dir.path(), &["--max-connections", "2"]);
    let (mut first, mut second) = (server.client(), server.client());
    first.status();
    second.status();
    let reply = server.client().reply();
    assert_eq!(reply, json!({"result": "unavailable", "error": "too many open connections"}));
    drop(second);
    eventually("a place is free again", || {
        let mut client = server.client();
        client.try_send(b"{\"method\":\"status\"}\n").is_some()
            && client.try_reply().is_some_and(|reply| reply["result"] == "success")
    });
}

fn names(dir: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(dir).expect("a folder");
    let mut names: Vec<String> =
        entries.map(|e| e.expect("an entry").file_name().into_string().expect("a name")).collect();
    names.sort();
    names
}

#[test]
fn the_log_is_compacted_when_it_has_passed_100_entries() {
    let dir = folder();
    let server = Server::start(dir.path(), &[]);
    let mut client = server.client();
    for i in 0..100 {
        client.insert(&format!("key {}", i % 30), &json!(i));
    }
    let status = client.status();
    assert_eq!((&status["log_entries"], &status["compactions"]), (&json!(100), &json!(0)));
    client.insert("one more", &json!(1));
    eventually("it is compacted", || client.status()["compactions"] == 1);
    let status = client.status();
    assert_eq!((&status["log_entries"], &status["entries"]), (&json!(0), &json!(31)));
    let times = status["compaction_log"][0].as_array().expect("begun and ended").clone();
    assert!(times[0].as_u64() <= times[1].as_u64() && times.len() == 2, "{times:?}");
    assert_eq!(names(dir.path()), ["lock", "table.ckpt", "table.txn"]);
    let before = client.all();
    drop(server);
    let server = Server::start(dir.path(), &[]);
    assert_eq!(server.client().all(), before);
}

fn refused(dir: &Path, more: &[&str]) -> (Output, String) {
    let mut command = command(dir, more);
    let output = command.stderr(Stdio::piped()).output().expect("servers starts");
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    (output, said)
}

#[test]
fn a_server_that_cannot_begin_says_why_in_one_line() {
    let dir = folder();
    let server = Server::start(dir.path(), &[]);
    let (output, said) = refused(dir.path(), &[]);
    assert_eq!((output.status.code(), said.lines().count()), (Some(1), 1), "{said}");
    assert!(said.contains("in use by another process"), "{said}");
    let other = folder();
    let (output, said) = refused(other.path(), &["--port", &server.port.to_string()]);
    assert_eq!((output.status.code(), said.lines().count()), (Some(1), 1), "{said}");
    assert!(said.contains(&format!("127.0.0.1:{}", server.port)), "{said}");
    for wrong in [&["--compact-after", "0"][..], &["--max-line", "1"], &["--catalog", "nowhere"]] {
        let (output, said) = refused(other.path(), wrong);
        assert_eq!((output.status.code(), said.lines().count()), (Some(64), 1), "{said}");
    }
    drop(server);
    let data = std::fs::read(dir.path().join("table.txn")).expect("the log");
    std::fs::write(dir.path().join("table.txn"), &data[1..]).expect("it is ours");
    let (output, said) = refused(dir.path(), &[]);
    assert_eq!((output.status.code(), said.lines().count()), (Some(1), 1), "{said}");
    assert!(said.contains("table.txn is not a file of this program's version"), "{said}");
}

/// What one client knows of its keys.
#[derive(Default)]
struct Known {
    acknowledged: BTreeMap<String, Value>,
    /// Changes without an answer, in their order.
    in_flight: Vec<(String, Option<Value>)>,
}

impl Known {
    fn change(map: &mut BTreeMap<String, Value>, (key, value): &(String, Option<Value>)) {
        match value {
            Some(value) => drop(map.insert(key.clone(), value.clone())),
            None => drop(map.remove(key)),
        }
    }

    /// What is found must be what was acknowledged, and of the rest the first few.
    fn compare(&mut self, found: BTreeMap<String, Value>) {
        let mut possible = self.acknowledged.clone();
        let mut seen = possible == found;
        for change in &self.in_flight {
            Self::change(&mut possible, change);
            seen |= possible == found;
        }
        let (acknowledged, in_flight) = (&self.acknowledged, &self.in_flight);
        assert!(seen, "found {found:?}; known {acknowledged:?}; without an answer {in_flight:?}");
        *self = Known { acknowledged: found, in_flight: Vec::new() };
    }

    /// Changes keys until the connection is gone.
    fn load(&mut self, client: &mut Client, mut random: impl FnMut() -> u64) {
        for number in 0.. {
            let mut lines = String::new();
            for _ in 0..1 + random() % 4 {
                let key = format!("key {}", random() % 10);
                let value = (random() % 4 != 3)
                    .then(|| json!([number, "x".repeat(random() as usize % 200)]));
                let request = match &value {
                    Some(value) => json!({"method": "insert", "key": key, "value": value}),
                    None => json!({"method": "remove", "key": key}),
                };
                lines += &format!("{request}\n");
                self.in_flight.push((key, value));
            }
            if client.try_send(lines.as_bytes()).is_none() {
                return;
            }
            for _ in 0..self.in_flight.len() {
                let Some(reply) = client.try_reply() else { return };
                let change = self.in_flight.remove(0);
                let there = self.acknowledged.contains_key(&change.0);
                let result = if there || change.1.is_some() { "success" } else { "failed" };
                assert_eq!(reply["result"], result, "{reply}");
                Self::change(&mut self.acknowledged, &change);
            }
        }
    }
}

/// Rounds of starting, changing keys, and kill -9 at any moment; several servers side by side.
#[test]
fn a_thousand_kills_lose_nothing_that_was_acknowledged() {
    const ROUNDS: usize = 1000;
    let (rounds, during_compaction) = (AtomicUsize::new(0), AtomicUsize::new(0));
    thread::scope(|scope| {
        for lane in 0..6 {
            let (rounds, during_compaction) = (&rounds, &during_compaction);
            scope.spawn(move || {
                let dir = folder();
                let mut known = Known::default();
                let mut random = ChaCha8Rng::seed_from_u64(lane);
                while rounds.fetch_add(1, Ordering::Relaxed) < ROUNDS {
                    let after = (1 + random.next_u64() % 10).to_string();
                    let mut server = Server::start(dir.path(), &["--compact-after", &after]);
                    let mut client = server.client();
                    known.compare(client.all());
                    let life = Duration::from_micros(random.next_u64() % 15_000);
                    thread::scope(|scope| {
                        scope.spawn(|| known.load(&mut client, || random.next_u64()));
                        thread::sleep(life);
                        server.kill();
                    });
                    if names(dir.path()).contains(&"table.txn.next".to_owned()) {
                        during_compaction.fetch_add(1, Ordering::Relaxed);
                    }
                }
                let server = Server::start(dir.path(), &[]);
                known.compare(server.client().all());
            });
        }
    });
    let during_compaction = during_compaction.into_inner();
    eprintln!("{during_compaction} of {ROUNDS} kills fell into a compaction");
    assert!(during_compaction > ROUNDS / 50, "{during_compaction}");
}

/// A file may grow to 40 KiB and no further, which a server meets as it meets a full disk; then the limit is
/// lifted.
#[test]
fn a_disk_that_fills_refuses_changes_until_there_is_room() {
    let dir = folder();
    let mut limited = Command::new("sh");
    // What a shell ignores stays ignored: the write fails instead of the process.
    limited
        .args(["-c", "trap '' XFSZ; ulimit -S -f 80; exec \"$@\"", "sh"])
        .arg(env!("CARGO_BIN_EXE_servers"))
        .args(["cluster", "test-0", "--compact-after", "1000000", "--dir"])
        .arg(dir.path())
        .process_group(0);
    limited.stdin(Stdio::null()).stdout(Stdio::piped());
    let mut server = Server::run(limited);
    let mut client = server.client();
    let value = json!("x".repeat(1000));
    let mut model = BTreeMap::new();
    let mut refused = 0;
    for i in 0..200 {
        let reply = client.insert(&format!("key {i}"), &value);
        if reply == success() {
            model.insert(format!("key {i}"), value.clone());
        } else {
            assert_eq!(reply["result"], "unavailable", "{reply}");
            assert!(reply["error"].as_str().is_some_and(|e| e.contains("table.txn")), "{reply}");
            refused += 1;
        }
    }
    assert!(refused > 100 && model.len() > 20, "{refused} refused, {} taken", model.len());
    assert_eq!(client.all(), model);
    let unlimited = Rlimit { current: None, maximum: None };
    prlimit(Some(server.pid()), Resource::Fsize, unlimited).expect("the limit was a soft one");
    assert_eq!(client.insert("room", &json!(1)), success());
    model.insert("room".to_owned(), json!(1));
    server.kill();
    let server = Server::start(dir.path(), &[]);
    assert_eq!(server.client().all(), model);
}

/// The other way a disk fills: the checkpoint has no room, and the log goes on.
#[test]
fn a_compaction_without_room_is_no_reason_to_stop() {
    let dir = folder();
    let server = Server::start(dir.path(), &["--compact-after", "10"]);
    let mut client = server.client();
    std::fs::create_dir(dir.path().join("table.ckpt.new")).expect("in the checkpoint's way");
    for i in 0..50 {
        assert_eq!(client.insert(&i.to_string(), &json!(i)), success());
    }
    let status = client.status();
    assert_eq!((&status["compactions"], &status["log_entries"]), (&json!(0), &json!(50)));
    std::fs::remove_dir(dir.path().join("table.ckpt.new")).expect("it is empty");
    eventually("it is tried again", || client.status()["compactions"] == 1);
    assert_eq!(names(dir.path()), ["lock", "table.ckpt", "table.txn"]);
    assert_eq!(client.all().len(), 50);
}

#[test]
fn help_shows_an_example() {
    let output = Command::new(env!("CARGO_BIN_EXE_servers"))
        .args(["cluster", "--help"])
        .output()
        .expect("servers starts");
    let help = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success() && help.contains("servers cluster mytable-0"), "{help}");
}
