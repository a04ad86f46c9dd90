//! What an UPDATE costs over an open connection, against the echo, in one run and interleaved. It is no pass or fail
//! on a busy machine, so it runs when it is asked for:
//!
//! ```text
//! cargo test --release --test shard_speed -- --ignored --nocapture
//! ```

#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Starts a program and gives the first word behind `sign` in what it prints.
fn start(program: &str, arguments: &[&str], sign: &str) -> (Running, String) {
    let mut command = Command::new(program);
    command.args(arguments).stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut running = Running(command.spawn().unwrap());
    let mut lines = BufReader::new(running.0.stdout.take().unwrap()).lines();
    let place =
        lines.find_map(|line| line.unwrap().split_once(sign).map(|(_, rest)| rest.to_owned()));
    // What it prints later is read, so that it never waits for this test.
    std::thread::spawn(move || lines.for_each(drop));
    (running, place.unwrap().trim().to_owned())
}

fn connect(to: &str) -> TcpStream {
    let stream = TcpStream::connect(to).unwrap();
    stream.set_nodelay(true).unwrap();
    stream
}

fn p50(stream: &mut TcpStream, request: &[u8], reply: usize) -> Duration {
    let mut buffer = vec![0; reply];
    let mut times: Vec<Duration> = (0..2000)
        .map(|_| {
            let begun = Instant::now();
            stream.write_all(request).unwrap();
            stream.read_exact(&mut buffer).unwrap();
            begun.elapsed()
        })
        .collect();
    times.sort_unstable();
    times[times.len() / 2]
}

#[test]
#[ignore = "a measurement; see the file's header"]
fn an_update_against_the_echo() {
    let (_echo, echo) = start(env!("CARGO_BIN_EXE_lab"), &["floor-server"], "echo ");
    let arguments = ["shard", "--port", "0"];
    let (_node, port) = start(env!("CARGO_BIN_EXE_servers"), &arguments, "Listening on port ");
    let mut echo = connect(&echo);
    let mut node = connect(&format!("127.0.0.1:{port}"));
    let update = b"{\"type\":\"UPDATE\",\"body\":\"12345:Hello World\"}\n";
    let reply = b"{\"type\":\"UPDATE_ACK\",\"body\":\"Success\"}\n".len();
    let mut floor = vec![0; update.len()];
    floor[..4].copy_from_slice(&(update.len() as u32).to_le_bytes());
    floor[4..8].copy_from_slice(&(reply as u32).to_le_bytes());
    let mut ratios = Vec::new();
    for _ in 0..15 {
        let (floor, work) = (p50(&mut echo, &floor, reply), p50(&mut node, update, reply));
        ratios.push(work.as_secs_f64() / floor.as_secs_f64());
        println!("echo {floor:?}, update {work:?}");
    }
    ratios.sort_by(f64::total_cmp);
    println!("median ratio of the p50: {:.2}", ratios[ratios.len() / 2]);
}
