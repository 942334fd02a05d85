//! One table of all nodes' ids, keyed by a hash that each node keeps.

use hashbrown::HashTable;
use hashbrown::hash_table::{Entry, VacantEntry};

/// The table is cut into this many, each growing at its own time: no insert moves more than its
/// own shard, some thousand entries among ten million nodes.
const SHARD_BITS: u32 = 11;

pub(super) struct IdTable {
    shards: Vec<HashTable<u32>>,
}

/// A shard is chosen by the hash's high bits; within it these spread the rest over all 64.
fn wide(hash: u32) -> u64 {
    let product = u64::from(hash).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    product ^ (product >> 29)
}

impl IdTable {
    pub fn new() -> IdTable {
        IdTable { shards: (0..1 << SHARD_BITS).map(|_| HashTable::new()).collect() }
    }

    /// Makes room for `nodes` in all, as hashes spread them, so that filling it moves little.
    pub fn reserve(&mut self, nodes: usize, hash_of: impl Fn(u32) -> u32) {
        let each = nodes >> SHARD_BITS;
        for shard in &mut self.shards {
            shard.reserve(each.saturating_sub(shard.len()), |id| wide(hash_of(*id)));
        }
    }

    pub fn find(&self, hash: u32, mut is_it: impl FnMut(u32) -> bool) -> Option<u32> {
        self.shards[shard(hash)].find(wide(hash), |id| is_it(*id)).copied()
    }

    /// The place for an id of this hash, unless one that `is_it` stands there: one look for both.
    pub fn vacancy(
        &mut self,
        hash: u32,
        mut is_it: impl FnMut(u32) -> bool,
        hash_of: impl Fn(u32) -> u32,
    ) -> Result<VacantEntry<'_, u32>, u32> {
        let shard = &mut self.shards[shard(hash)];
        match shard.entry(wide(hash), |id| is_it(*id), |id| wide(hash_of(*id))) {
            Entry::Occupied(other) => Err(*other.get()),
            Entry::Vacant(vacancy) => Ok(vacancy),
        }
    }

    pub fn remove(&mut self, hash: u32, id: u32) {
        let entry = self.shards[shard(hash)].find_entry(wide(hash), |other| *other == id);
        entry.expect("every node is in the table").remove();
    }

    pub fn len(&self) -> usize {
        self.shards.iter().map(HashTable::len).sum()
    }
}

fn shard(hash: u32) -> usize {
    (hash >> (32 - SHARD_BITS)) as usize
}
