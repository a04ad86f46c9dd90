//! What a hash table server costs over the bare machine: `cargo bench --bench cluster`.
//!
//! The server and the echo (the floor) each run in a process of their own. Rounds alternate between the floor
//! and the work, and medians over the rounds are compared, so that the machine's noise hits both alike.
//! `-- --keys N` changes how many keys are scanned and restarted with (1,000,000 by default), `-- --rounds N`
//! the rounds (5 by default).

use std::error::Error;
use std::fs::File;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use consistency_lab::bench::floor::{FLOOR_COMMAND, FloorServer};
use consistency_lab::bench::floor_server;
use consistency_lab::labs::cluster::server::{COMPACT_AFTER, ClusterServer, ServerOptions};
use consistency_lab::runtime::line_server::Bounds;

type Failable<T> = Result<T, Box<dyn Error + Send + Sync>>;

/// The hidden command by which this program serves.
const SERVE: &str = "serve-cluster";

/// How long a round takes.
const ROUND: Duration = Duration::from_secs(1);

fn main() -> Failable<()> {
    let arguments: Vec<String> = std::env::args().collect();
    match arguments.get(1).map(String::as_str) {
        Some(FLOOR_COMMAND) => {
            return Ok(floor_server::serve(std::io::stdin().lock(), std::io::stdout().lock())?);
        }
        Some(SERVE) => return serve(Path::new(&arguments[2])),
        _ => {}
    }
    let number = |name: &str, default: usize| -> Failable<usize> {
        let at = arguments.iter().position(|argument| argument == name);
        Ok(at.and_then(|at| arguments.get(at + 1)).map_or(Ok(default), |text| text.parse())?)
    };
    let (keys, rounds) = (number("--keys", 1_000_000)?, number("--rounds", 5)?);
    let folder = tempfile::Builder::new()
        .prefix("bench-cluster-")
        .tempdir_in(env!("CARGO_TARGET_TMPDIR"))?;
    requests(folder.path(), rounds)?;
    table(folder.path(), keys, rounds)
}

/// Serves until its standard input ends.
fn serve(dir: &Path) -> Failable<()> {
    let mut server = ClusterServer::start(ServerOptions {
        name: "bench-0".to_owned(),
        host: "127.0.0.1".to_owned(),
        port: 0,
        dir: dir.to_owned(),
        catalog: None,
        compact_after: COMPACT_AFTER,
        bounds: Bounds::default(),
    })?;
    println!("{}", server.address());
    std::io::copy(&mut std::io::stdin(), &mut std::io::sink())?;
    server.stop();
    Ok(())
}

struct Server {
    child: Child,
    address: SocketAddr,
}

impl Server {
    fn start(dir: &Path) -> Failable<Self> {
        let mut child = Command::new(std::env::current_exe()?)
            .arg(SERVE)
            .arg(dir)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()?;
        let stdout = child.stdout.take().ok_or("no standard output")?;
        let mut line = String::new();
        BufReader::new(stdout).read_line(&mut line)?;
        Ok(Self { child, address: line.trim().parse()? })
    }

    /// The processor time that it has taken, in seconds.
    fn processor(&self) -> f64 {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.child.id()));
        let stat = stat.unwrap_or_default();
        let fields = stat.rsplit_once(')').map_or("", |(_, rest)| rest).split_whitespace();
        // User and system time, in hundredths of a second.
        fields.skip(11).take(2).filter_map(|ticks| ticks.parse::<f64>().ok()).sum::<f64>() / 100.0
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// One request and the length of its reply.
type Call = Box<dyn FnMut(&mut Vec<u8>) -> usize + Send>;

/// A closed loop of clients; all latencies, and how long it took.
fn drive(to: SocketAddr, calls: Vec<Call>) -> Failable<(Vec<Duration>, Duration)> {
    let begun = Instant::now();
    let clients: Vec<_> = calls
        .into_iter()
        .map(|mut call| {
            thread::spawn(move || -> Failable<Vec<Duration>> {
                let mut stream = TcpStream::connect(to)?;
                stream.set_nodelay(true)?;
                let (mut request, mut reply) = (Vec::new(), vec![0; 4096]);
                let mut latencies = Vec::new();
                while begun.elapsed() < ROUND {
                    request.clear();
                    let expected = call(&mut request);
                    let sent = Instant::now();
                    stream.write_all(&request)?;
                    let mut filled = 0;
                    while filled < expected {
                        match stream.read(&mut reply[filled..])? {
                            0 => return Err("the server has closed the connection".into()),
                            more => filled += more,
                        }
                    }
                    latencies.push(sent.elapsed());
                    if filled != expected {
                        let shown = String::from_utf8_lossy(&reply[..filled]).into_owned();
                        return Err(format!("expected {expected} bytes, found {shown}").into());
                    }
                }
                Ok(latencies)
            })
        })
        .collect();
    let mut all = Vec::new();
    for client in clients {
        all.extend(client.join().map_err(|_| "a client has panicked")??);
    }
    Ok((all, begun.elapsed()))
}

fn median<T: Copy + PartialOrd>(values: &mut [T]) -> T {
    values.sort_by(|a, b| a.partial_cmp(b).unwrap_or(std::cmp::Ordering::Equal));
    values[values.len() / 2]
}

fn per_second((latencies, took): &(Vec<Duration>, Duration)) -> f64 {
    latencies.len() as f64 / took.as_secs_f64()
}

fn micros(latencies: &mut [Duration]) -> f64 {
    median(latencies).as_secs_f64() * 1e6
}

fn insert(client: usize) -> Call {
    let mut number = 0;
    Box::new(move |out| {
        number += 1;
        let key = format!("key-{client:03}-{:05}", number % 1000);
        out.extend_from_slice(
            format!(
                "{{\"method\":\"insert\",\"key\":\"{key}\",\"value\":{{\"weight\":{number}}}}}\n"
            )
            .as_bytes(),
        );
        r#"{"result":"success"}"#.len() + 1
    })
}

fn lookup(client: usize) -> Call {
    let mut number = 0;
    Box::new(move |out| {
        number += 1;
        let key = format!("look-{client:03}-{:05}", number % 100);
        out.extend_from_slice(format!("{{\"method\":\"lookup\",\"key\":\"{key}\"}}\n").as_bytes());
        r#"{"result":"success","value":{"weight":100}}"#.len() + 1
    })
}

/// The echo of as many bytes as `like` sends and gets.
fn echo(mut like: Call) -> Call {
    let mut work = Vec::new();
    Box::new(move |out| {
        work.clear();
        let reply = like(&mut work);
        out.extend_from_slice(&(work.len() as u32).to_le_bytes());
        out.extend_from_slice(&(reply as u32).to_le_bytes());
        out.resize(work.len(), 0);
        reply
    })
}

/// Appends and syncs as a log would, with nothing around it.
fn bare(file: &File, offset: &mut u64) -> Failable<Vec<Duration>> {
    let line = [b'x'; 60];
    let (begun, mut all) = (Instant::now(), Vec::new());
    while begun.elapsed() < ROUND {
        let one = Instant::now();
        file.write_all_at(&line, *offset)?;
        file.sync_data()?;
        *offset += line.len() as u64;
        all.push(one.elapsed());
    }
    Ok(all)
}

fn requests(folder: &Path, rounds: usize) -> Failable<()> {
    let floor = FloorServer::start()?;
    let echo_at: SocketAddr = floor.echo().parse()?;
    let server = Server::start(&folder.join("requests"))?;
    let mut stream = TcpStream::connect(server.address)?;
    let mut fill = Vec::new();
    for client in 0..50 {
        for number in 0..100 {
            let key = format!("look-{client:03}-{number:05}");
            fill.extend_from_slice(
                format!(
                    "{{\"method\":\"insert\",\"key\":\"{key}\",\"value\":{{\"weight\":100}}}}\n"
                )
                .as_bytes(),
            );
        }
    }
    stream.write_all(&fill)?;
    let mut replies = vec![0; 5000 * 21];
    stream.read_exact(&mut replies)?;

    let file = File::create(folder.join("bare"))?;
    let mut offset = 0;
    let mut rows: [Vec<f64>; 9] = Default::default();
    for _ in 0..rounds {
        let mut sync = bare(&file, &mut offset)?;
        rows[0].push(micros(&mut sync));
        let mut one = drive(echo_at, vec![echo(insert(0))])?;
        rows[1].push(micros(&mut one.0));
        let mut work = drive(server.address, vec![insert(0)])?;
        rows[2].push(micros(&mut work.0));
        rows[3].push(per_second(&work));
        let before = server.processor();
        let many = drive(server.address, (0..50).map(insert).collect())?;
        rows[4].push(per_second(&many));
        rows[5].push((server.processor() - before) / many.1.as_secs_f64());
        let floor = drive(echo_at, (0..50).map(|i| echo(lookup(i))).collect())?;
        rows[6].push(per_second(&floor));
        let before = server.processor();
        let looked = drive(server.address, (0..50).map(lookup).collect())?;
        rows[7].push(per_second(&looked));
        rows[8].push((server.processor() - before) / looked.1.as_secs_f64());
    }
    let [sync, echo, one, one_rate, many, many_cpu, floor, looked, looked_cpu] =
        rows.map(|mut row| median(&mut row));
    println!("append and fdatasync, p50          {sync:8.1} us");
    println!("echo, 1 client, p50                {echo:8.1} us");
    println!(
        "insert, 1 client, p50              {one:8.1} us   {:.2} x (echo + append and sync)",
        one / (echo + sync)
    );
    println!("insert, 1 client                   {one_rate:8.0} /s");
    println!(
        "insert, 50 clients                 {many:8.0} /s   {:.1} x 1 client, {many_cpu:.2} processors in the server",
        many / one_rate
    );
    println!("echo, 50 clients                   {floor:8.0} /s");
    println!(
        "lookup, 50 clients                 {looked:8.0} /s   {:.2} x the echo, {looked_cpu:.2} processors in the server",
        looked / floor
    );
    Ok(())
}

/// Sends requests without waiting, and reads replies of 21 bytes each.
fn fill(to: SocketAddr, keys: usize) -> Failable<()> {
    let stream = TcpStream::connect(to)?;
    let mut reader = stream.try_clone()?;
    let replies = thread::spawn(move || {
        let (mut left, mut buffer) = (keys * 21, vec![0; 1 << 16]);
        while left > 0 {
            match reader.read(&mut buffer) {
                Ok(more) if more > 0 => left = left.saturating_sub(more),
                _ => return false,
            }
        }
        true
    });
    let mut out = std::io::BufWriter::with_capacity(1 << 16, stream);
    for number in 0..keys {
        writeln!(
            out,
            "{{\"method\":\"insert\",\"key\":\"key-{number:012}\",\"value\":{{\"weight\":{number}}}}}"
        )?;
    }
    out.flush()?;
    if !replies.join().unwrap_or(false) {
        return Err("the server did not take all keys".into());
    }
    Ok(())
}

fn table(folder: &Path, keys: usize, rounds: usize) -> Failable<()> {
    let dir = folder.join("table");
    let server = Server::start(&dir)?;
    let begun = Instant::now();
    fill(server.address, keys)?;
    let seconds = begun.elapsed().as_secs_f64();
    println!("{keys} inserts through a pipeline    {:8.0} /s", keys as f64 / seconds);
    for (name, regex) in [("none of", "zebra$"), ("a tenth of", "7$"), ("all", "")] {
        let mut stream = BufReader::with_capacity(1 << 18, TcpStream::connect(server.address)?);
        let mut times = Vec::new();
        let mut length = 0;
        for _ in 0..rounds {
            let request = format!("{{\"method\":\"scan\",\"regex\":\"{regex}\"}}\n");
            let begun = Instant::now();
            stream.get_mut().write_all(request.as_bytes())?;
            length = skip_line(&mut stream)?;
            times.push(begun.elapsed().as_secs_f64());
        }
        let time = median(&mut times);
        println!(
            "scan that finds {name} {keys} keys: {:.0} ms, {:.1} million keys/s, {:.1} MB",
            time * 1e3,
            keys as f64 / time / 1e6,
            length as f64 / 1e6
        );
    }
    drop(server);
    for _ in 0..rounds.min(3) {
        let begun = Instant::now();
        let server = Server::start(&dir)?;
        println!(
            "restart with {keys} entries           {:8.2} s (killed and started again)",
            begun.elapsed().as_secs_f64()
        );
        drop(server);
    }
    Ok(())
}

fn skip_line(stream: &mut impl BufRead) -> Failable<usize> {
    let mut length = 0;
    loop {
        let buffer = stream.fill_buf()?;
        if buffer.is_empty() {
            return Err("the server has closed the connection".into());
        }
        let end = memchr::memchr(b'\n', buffer);
        let used = end.map_or(buffer.len(), |end| end + 1);
        length += used;
        stream.consume(used);
        if end.is_some() {
            return Ok(length);
        }
    }
}
