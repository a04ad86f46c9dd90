//! How fast a store starts, and how much memory its table takes: `cargo bench --bench replay`.
//!
//! Writes a 1 GiB `storage.txt` of about 100 bytes a record over 1,000,000 keys into a temporary folder,
//! opens it, compacts it, and opens the result. `-- --bytes N` changes the size. Also prints the resident
//! memory of a fresh table of 1,000,000 keys of 16 bytes with values of 32.

use std::error::Error;
use std::time::Instant;

use consistency_lab::base::{Op, ReplicaId, StoreRule, Timestamp, Value};
use consistency_lab::storage::{Finish, Opened, RealDisk, Table, open};

const KEYS: u64 = 1_000_000;

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().collect();
    let wanted = arguments.iter().position(|argument| argument == "--bytes");
    let bytes = match wanted.and_then(|at| arguments.get(at + 1)) {
        Some(number) => number.parse()?,
        None => 1 << 30,
    };
    table_memory();
    let folder = tempfile::tempdir()?;
    write_file(folder.path(), bytes)?;
    let mut opened = start(folder.path(), "start-up")?;
    compact(&mut opened)?;
    drop(opened);
    start(folder.path(), "start-up after compaction")?;
    Ok(())
}

/// `set` with a 16-byte key and a value of `size` bytes.
fn set(i: u64, size: usize) -> Op {
    // A large odd factor spreads the keys, so that the table is not visited in order.
    let key = format!("key-{:012}", i.wrapping_mul(0x9e37_79b9_7f4a_7c15) % KEYS);
    let data = format!("{i:0size$}").into_bytes().into();
    let value = Value { data, flags: 0, expires: 0 };
    Op::Store { key: key.into_bytes().into(), value, rule: StoreRule::Always }
}

fn table_memory() {
    let before = resident_mib();
    let mut table = Table::new(1);
    let begun = Instant::now();
    for i in 0..KEYS {
        let key = format!("key-{i:012}").into_bytes().into();
        let value = Value { data: vec![b'v'; 32].into(), flags: 0, expires: 0 };
        table.execute(&Op::StoreMany(vec![(key, value)]), i + 1, 0, &mut |_| 100);
    }
    println!(
        "table of {} keys: {:.0} MiB resident, {:.2} s to fill",
        table.len(0),
        resident_mib() - before,
        begun.elapsed().as_secs_f64()
    );
}

fn write_file(folder: &std::path::Path, bytes: u64) -> Result<(), Box<dyn Error>> {
    let Opened { mut store, mut log, .. } = open(RealDisk::open(folder)?, 1)?;
    let begun = Instant::now();
    let mut i = 0;
    while log.len() < bytes {
        for _ in 0..1000 {
            i += 1;
            store.execute(Timestamp::new(i, ReplicaId((i % 3) as u16)), 0, &set(i, 50));
        }
        log.write(&store.take_unwritten())?;
    }
    let seconds = begun.elapsed().as_secs_f64();
    let mib = log.len() as f64 / f64::from(1 << 20);
    println!(
        "executed and wrote {i} operations, {mib:.0} MiB, {:.0} bytes a record: {seconds:.2} s, {:.0} operations/s",
        log.len() as f64 / i as f64,
        i as f64 / seconds
    );
    Ok(())
}

fn start(folder: &std::path::Path, name: &str) -> Result<Opened<RealDisk>, Box<dyn Error>> {
    let before = resident_mib();
    let begun = Instant::now();
    let opened = open(RealDisk::open(folder)?, 1)?;
    let seconds = begun.elapsed().as_secs_f64();
    println!(
        "{name}: {:.0} MB, {} lines in {seconds:.2} s = {:.0} MB/s; {} keys, {:.0} MiB resident more",
        opened.report.bytes as f64 / 1e6,
        opened.report.lines,
        opened.report.bytes as f64 / 1e6 / seconds,
        opened.store.table().len(0),
        resident_mib() - before,
    );
    Ok(opened)
}

fn compact(opened: &mut Opened<RealDisk>) -> Result<(), Box<dyn Error>> {
    let begun = Instant::now();
    let before = opened.log.len();
    let mut compaction = opened.log.begin_compaction()?;
    compaction.run(|records| Some(opened.store.are_live(records)))?;
    match opened.log.finish_compaction(compaction)? {
        Finish::Done(done) => println!(
            "compaction: {:.0} MB to {:.0} MB in {:.2} s",
            before as f64 / 1e6,
            done.file_len as f64 / 1e6,
            begun.elapsed().as_secs_f64()
        ),
        Finish::NotYet(_) => return Err("nothing is unwritten, so it must end".into()),
    }
    Ok(())
}

/// The resident memory of this process; 0 where the system does not tell.
fn resident_mib() -> f64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap_or("0 kB");
    let kib: f64 = line.trim().trim_end_matches(" kB").trim().parse().unwrap_or(0.0);
    kib / 1024.0
}
