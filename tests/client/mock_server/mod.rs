//! A small memcached-like server in a thread, on a free port, for tests of clients and of the bench.

// Each test program uses its own part of it.
#![allow(dead_code)]

use std::{
    collections::HashMap,
    io::{BufRead, BufReader, Read, Write},
    net::{TcpListener, TcpStream},
    sync::{Arc, Mutex},
    thread,
};

/// How the server behaves.
#[derive(Clone, Copy, Debug, Default)]
pub struct Manner {
    /// The mode that `stats` states.
    pub consistency: Option<&'static str>,
    /// Every n-th `get` returns the value before the last; 0 never.
    pub stale_every: u64,
    /// Every n-th `set` is answered with this line instead of being done; 0 never.
    pub refuse_every: u64,
    /// The line that refuses.
    pub refusal: &'static str,
    /// The connection is closed instead of answering the n-th command of a connection; 0 never.
    pub hang_up_at: u64,
    /// No command is ever answered.
    pub silent: bool,
}

#[derive(Default)]
struct Store {
    values: HashMap<String, (Vec<u8>, Vec<u8>)>,
    gets: u64,
    sets: u64,
}

/// Starts a server and returns its address. It ends with the test's process.
pub fn start(manner: Manner) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = listener.local_addr().expect("an address").to_string();
    let store = Arc::new(Mutex::new(Store::default()));
    thread::spawn(move || {
        for stream in listener.incoming() {
            let (stream, store) = (stream.expect("a connection"), Arc::clone(&store));
            stream.set_nodelay(true).expect("TCP_NODELAY");
            thread::spawn(move || serve(stream, &store, manner));
        }
    });
    address
}

/// An address on which nothing listens.
pub fn nowhere() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    listener.local_addr().expect("an address").to_string()
}

fn serve(stream: TcpStream, store: &Mutex<Store>, manner: Manner) {
    let mut input = BufReader::new(stream.try_clone().expect("a second handle"));
    let mut output = stream;
    for commands in 1.. {
        let mut line = String::new();
        if input.read_line(&mut line).unwrap_or(0) == 0 {
            return;
        }
        let words: Vec<&str> = line.split_whitespace().collect();
        let mut data = Vec::new();
        if words.first() == Some(&"set") {
            let length: usize = words[4].parse().expect("a length");
            data = vec![0; length + 2];
            if input.read_exact(&mut data).is_err() {
                return;
            }
            data.truncate(length);
        }
        if manner.hang_up_at == commands {
            return;
        }
        if !manner.silent && output.write_all(&answer(&words, data, store, manner)).is_err() {
            return;
        }
    }
}

fn answer(words: &[&str], data: Vec<u8>, store: &Mutex<Store>, manner: Manner) -> Vec<u8> {
    let mut store = store.lock().expect("no test panics with the store");
    match words {
        ["set", key, ..] => {
            store.sets += 1;
            if manner.refuse_every > 0 && store.sets.is_multiple_of(manner.refuse_every) {
                return format!("{}\r\n", manner.refusal).into_bytes();
            }
            let before = store.values.get(*key).map(|(_, now)| now.clone()).unwrap_or_default();
            store.values.insert((*key).to_owned(), (before, data));
            b"STORED\r\n".to_vec()
        }
        ["get", key] => {
            store.gets += 1;
            let stale = manner.stale_every > 0 && store.gets.is_multiple_of(manner.stale_every);
            match store.values.get(*key) {
                None => b"END\r\n".to_vec(),
                Some((before, now)) => {
                    let value = if stale { before } else { now };
                    let head = format!("VALUE {key} 0 {}\r\n", value.len());
                    [head.as_bytes(), value, b"\r\nEND\r\n"].concat()
                }
            }
        }
        ["delete", key] => match store.values.remove(*key) {
            Some(_) => b"DELETED\r\n".to_vec(),
            None => b"NOT_FOUND\r\n".to_vec(),
        },
        ["stats"] => {
            let mode = manner.consistency.map(|mode| format!("STAT consistency {mode}\r\n"));
            format!("STAT pid 1\r\n{}END\r\n", mode.unwrap_or_default()).into_bytes()
        }
        _ => b"ERROR\r\n".to_vec(),
    }
}
