//! Which operation a delivery delivers, found when the history is complete.
//!
//! A delivery names a key and a value. Where several operations write that value to that key, the first
//! delivery of it at a replica is taken for the first of them, the second for the second, and so on; what is
//! left over is taken for the last. That is a guess, and may be: deliveries are hints.

use hashbrown::{HashMap, hash_map::Entry};

use super::{Action, Delivery, KeyId, OpId, Operation, ValueId};

type Map<K, V> = HashMap<K, V, foldhash::fast::FixedState>;

struct Writers {
    first: OpId,
    last: OpId,
}

/// Sets the operation of each delivery. Costs nothing where there are none.
pub(super) fn resolve(operations: &[Operation], deliveries: &mut [Delivery]) {
    if deliveries.is_empty() {
        return;
    }
    let mut writers: Map<(KeyId, ValueId), Writers> = Map::default();
    // The next operation that writes the same value to the same key.
    let mut next: Map<OpId, OpId> = Map::default();
    for (index, operation) in operations.iter().enumerate() {
        let Some(value) = delivered(operation.action) else { continue };
        let id = OpId(index as u32);
        match writers.entry((operation.key, value)) {
            Entry::Vacant(entry) => {
                entry.insert(Writers { first: id, last: id });
            }
            Entry::Occupied(mut entry) => {
                next.insert(entry.get().last, id);
                entry.get_mut().last = id;
            }
        }
    }
    let mut current = Map::default();
    for delivery in deliveries {
        let Some(found) = writers.get(&(delivery.key, delivery.value)) else { continue };
        delivery.operation = Some(found.first);
        if found.first != found.last {
            let place = (delivery.replica, delivery.key, delivery.value);
            let at = current.entry(place).or_insert(found.first);
            delivery.operation = Some(*at);
            *at = next.get(at).copied().unwrap_or(*at);
        }
    }
}

/// What a delivery of this operation shows.
fn delivered(action: Action) -> Option<ValueId> {
    match action {
        Action::Write(value) | Action::Append(value) | Action::Cas { to: value, .. } => Some(value),
        Action::Read(_) | Action::Other(_) => None,
    }
}
