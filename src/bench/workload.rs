//! Which operations a client performs: a seeded random source, the same draws on every machine.

use rand_chacha::{
    ChaCha8Rng,
    rand_core::{Rng, SeedableRng},
};
use rand_distr::{Distribution, Zipf};

use super::{BenchError, Config, Operation, history::UniqueValues};
use crate::report::Kind;

/// How many different values a client writes: views of one random text at this many offsets.
const VALUES: usize = 1024;

/// The characters of values; printable, so that `storage.txt` stays readable.
const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+-";

/// The operations of one client.
#[derive(Debug)]
pub struct Workload {
    rng: ChaCha8Rng,
    /// A draw below this is a read.
    read_below: u64,
    keys: u64,
    zipf: Option<Zipf<f64>>,
    key: Vec<u8>,
    value_size: usize,
    text: Vec<u8>,
    /// In the place of `text`, where each value is to be written once.
    unique: Option<UniqueValues>,
}

impl Workload {
    /// The workload of client `index`: its own stream of the configuration's seed.
    pub fn new(config: &Config, index: usize) -> Result<Self, BenchError> {
        let mut rng = ChaCha8Rng::seed_from_u64(config.seed);
        rng.set_stream(index as u64);
        let zipf = match config.zipf {
            None => None,
            Some(s) => Some(
                Zipf::new(config.keys as f64, s)
                    .map_err(|error| BenchError::Config(format!("--zipf {s}: {error}")))?,
            ),
        };
        let text = (0..config.value_size + VALUES)
            .map(|_| ALPHABET[(rng.next_u32() % 64) as usize])
            .collect();
        let mut workload = Self {
            rng,
            read_below: (config.reads.clamp(0.0, 1.0) * u64::MAX as f64) as u64,
            keys: config.keys.max(1),
            zipf,
            key: Vec::with_capacity(24),
            value_size: config.value_size,
            text,
            unique: None,
        };
        workload.name_key(0);
        Ok(workload)
    }

    /// From here on each value is written once: by this client of this run.
    pub fn make_values_unique(&mut self, run: u64, client: usize) {
        self.unique = Some(UniqueValues::new(run, client, self.value_size));
    }

    /// Draws the next operation.
    pub fn next_operation(&mut self) -> Operation<'_> {
        let draw = self.rng.next_u64();
        let kind = if draw < self.read_below || self.read_below == u64::MAX {
            Kind::Read
        } else {
            Kind::Write
        };
        let index = match &self.zipf {
            Some(zipf) => (zipf.sample(&mut self.rng) as u64).clamp(1, self.keys) - 1,
            // The high half of the product: uniform but for a bias of keys / 2^64.
            None => ((u128::from(self.rng.next_u64()) * u128::from(self.keys)) >> 64) as u64,
        };
        self.name_key(index);
        self.next_value(kind);
        Operation { kind, key: &self.key, value: self.value(draw as usize % VALUES) }
    }

    /// The write that makes key `index` exist.
    pub fn preload(&mut self, index: u64) -> Operation<'_> {
        self.name_key(index);
        self.next_value(Kind::Write);
        Operation {
            kind: Kind::Write,
            key: &self.key,
            value: self.value((index % VALUES as u64) as usize),
        }
    }

    fn next_value(&mut self, kind: Kind) {
        if let (Kind::Write, Some(unique)) = (kind, &mut self.unique) {
            unique.advance();
        }
    }

    fn value(&self, offset: usize) -> &[u8] {
        match &self.unique {
            Some(unique) => unique.value(),
            None => &self.text[offset..offset + self.value_size],
        }
    }

    fn name_key(&mut self, index: u64) {
        self.key.clear();
        put_key(&mut self.key, index);
    }
}

/// `key:` and at least twelve digits: 16 bytes for every sensible number of keys.
fn put_key(out: &mut Vec<u8>, index: u64) {
    out.extend_from_slice(b"key:");
    let mut buffer = itoa::Buffer::new();
    let digits = buffer.format(index).as_bytes();
    out.extend(std::iter::repeat_n(b'0', 12usize.saturating_sub(digits.len())));
    out.extend_from_slice(digits);
}

/// The name of key `index`.
pub(super) fn key_name(index: u64) -> Vec<u8> {
    let mut name = Vec::with_capacity(24);
    put_key(&mut name, index);
    name
}

#[cfg(test)]
mod tests {
    use super::*;

    fn draw(config: &Config, index: usize, count: usize) -> Vec<(Kind, String)> {
        let mut workload = Workload::new(config, index).expect("a valid configuration");
        (0..count)
            .map(|_| {
                let operation = workload.next_operation();
                assert_eq!(operation.value.len(), config.value_size);
                (operation.kind, String::from_utf8(operation.key.to_vec()).expect("text"))
            })
            .collect()
    }

    #[test]
    fn the_seed_fixes_the_draws_and_clients_differ() {
        let config = Config { seed: 7, ..Config::default() };
        assert_eq!(draw(&config, 0, 50), draw(&config, 0, 50));
        assert_ne!(draw(&config, 0, 50), draw(&config, 1, 50));
        assert_ne!(draw(&config, 0, 50), draw(&Config { seed: 8, ..config.clone() }, 0, 50));
        assert_eq!(draw(&config, 0, 1)[0].1.len(), 16);
    }

    #[test]
    fn the_share_of_reads_holds() {
        let reads = |share| {
            let config = Config { reads: share, ..Config::default() };
            draw(&config, 0, 10_000).iter().filter(|(kind, _)| *kind == Kind::Read).count()
        };
        assert_eq!(reads(0.0), 0);
        assert_eq!(reads(1.0), 10_000);
        assert!((4_800..5_200).contains(&reads(0.5)));
    }

    #[test]
    fn zipf_prefers_the_first_keys_and_stays_within_range() {
        let config = Config { zipf: Some(1.2), keys: 100, ..Config::default() };
        let draws = draw(&config, 0, 10_000);
        let of = |n| draws.iter().filter(|(_, key)| *key == format!("key:{n:012}")).count();
        assert!(of(0) > 3 * of(9), "{} {}", of(0), of(9));
        assert!(draws.iter().all(|(_, key)| *key < format!("key:{:012}", 100)));
    }
}
