//! Two clients that race: how often their copies differ afterwards, with nothing done to make them.

use std::sync::atomic::{AtomicBool, Ordering};

use serde_json::value::RawValue;

use super::DivergeError;
use crate::bench::{Meter, together};
use crate::client::cluster::{ClusterClient, ClusterError};

/// What came of the races.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Chance {
    /// How many rounds: in each, both clients wrote the same key at the same time.
    pub rounds: u64,
    /// After how many of them the copies differed.
    pub diverged: u64,
}

impl Chance {
    /// Lets two writers race, each round on a new key, and looks at each copy by itself afterwards.
    pub(super) fn take(
        mut writers: [ClusterClient; 2],
        mut observer: ClusterClient,
        rounds: u64,
        stop: &AtomicBool,
        meter: &Meter,
    ) -> Result<Self, DivergeError> {
        let values = [
            RawValue::from_string("\"a\"".to_owned())?,
            RawValue::from_string("\"b\"".to_owned())?,
        ];
        let mut chance = Self::default();
        for round in 0..rounds {
            if stop.load(Ordering::Relaxed) {
                break;
            }
            let key = format!("race-{round}");
            let write =
                |writer: usize, client: &mut ClusterClient, _| client.insert(&key, &values[writer]);
            let ended = together(writers.iter_mut(), write)?;
            // One that panicked has said so; its round counts as one in which it wrote nothing.
            ended.into_iter().flatten().collect::<Result<Vec<()>, ClusterError>>()?;
            let mut copies = Vec::new();
            for server in observer.copies_of(&key) {
                let found = observer.server(server)?.lookup(&key)?;
                copies.push(found.map(|value| value.get().to_owned()));
            }
            chance.rounds += 1;
            chance.diverged += u64::from(copies.windows(2).any(|pair| pair[0] != pair[1]));
            meter.add(1);
        }
        Ok(chance)
    }
}
