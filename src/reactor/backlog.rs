//! Bytes that the kernel did not take, per connection, in chunks of one pool.

use std::collections::VecDeque;
use std::io::IoSlice;

use super::memory::Need;

/// Free chunks are kept for the next backlog, as many as were lately in use.
#[derive(Debug, Default)]
pub struct Pool {
    free: Vec<Vec<u8>>,
    /// Chunks in use, in bytes: what counts toward the budget of all connections.
    pub used_bytes: usize,
    need: Need,
}

impl Pool {
    /// The first piece of a backlog that is a small one gets a small chunk: ten thousand
    /// connections may wait for one notification each.
    fn take(&mut self, is_small: bool) -> Vec<u8> {
        let free = if is_small { None } else { self.free.pop() };
        let chunk = match free {
            Some(chunk) => chunk,
            None => Vec::with_capacity(if is_small { SMALL_BYTES } else { CHUNK_BYTES }),
        };
        self.used_bytes += chunk.capacity();
        self.need.note(self.used_bytes);
        chunk
    }

    fn put(&mut self, mut chunk: Vec<u8>) {
        self.used_bytes -= chunk.capacity();
        if chunk.capacity() >= CHUNK_BYTES && self.free.len() < FREE_CHUNKS {
            chunk.clear();
            self.free.push(chunk);
        }
    }

    /// Lets go of the chunks that nobody needed lately.
    pub fn keep_what_is_needed(&mut self) {
        let spare = self.need.take().saturating_sub(self.used_bytes);
        self.free.truncate(spare / CHUNK_BYTES);
        self.need.note(self.used_bytes);
    }
}

/// One connection's unsent bytes; no memory while there are none.
#[derive(Debug, Default)]
pub struct Backlog {
    chunks: VecDeque<Vec<u8>>,
    /// Bytes of the first chunk that have left.
    gone: usize,
    bytes: usize,
}

impl Backlog {
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    pub fn is_empty(&self) -> bool {
        self.bytes == 0
    }

    pub fn push(&mut self, mut bytes: &[u8], pool: &mut Pool) {
        self.bytes += bytes.len();
        while !bytes.is_empty() {
            if self.chunks.back().is_none_or(|last| last.len() == last.capacity()) {
                let is_small = self.chunks.is_empty() && bytes.len() <= SMALL_BYTES;
                self.chunks.push_back(pool.take(is_small));
            }
            let last = self.chunks.back_mut().expect("pushed just now");
            let room = last.capacity() - last.len();
            let (now, later) = bytes.split_at(bytes.len().min(room));
            last.extend_from_slice(now);
            bytes = later;
        }
    }

    /// The first of it, as many slices as there are places: how many.
    pub fn slices<'a>(&'a self, places: &mut [IoSlice<'a>]) -> usize {
        let mut gone = self.gone;
        let mut count = 0;
        for (place, chunk) in places.iter_mut().zip(&self.chunks) {
            *place = IoSlice::new(&chunk[gone..]);
            gone = 0;
            count += 1;
        }
        count
    }

    /// `count` bytes have left.
    pub fn advance(&mut self, count: usize, pool: &mut Pool) {
        assert!(count <= self.bytes, "no more leaves than was there");
        self.bytes -= count;
        self.gone += count;
        while let Some(first) = self.chunks.front()
            && self.gone >= first.len()
        {
            self.gone -= first.len();
            pool.put(self.chunks.pop_front().expect("the first"));
        }
        if self.chunks.is_empty() {
            self.chunks = VecDeque::new();
        }
    }

    pub fn clear(&mut self, pool: &mut Pool) {
        self.advance(self.bytes, pool);
    }
}

/// Small, so that 65,536 connections with a few bytes each stay within the budget of all.
const CHUNK_BYTES: usize = 8 * 1024;

/// What a notification or two take.
const SMALL_BYTES: usize = 256;

/// Chunks kept at most: 2 MiB.
const FREE_CHUNKS: usize = 256;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn what_was_pushed_leaves_in_order_and_the_pool_gets_it_back(
            steps in proptest::collection::vec(
                (prop_oneof![0usize..300, 0usize..30_000], 0usize..40_000), 1..40
            )
        ) {
            let (mut backlog, mut pool) = (Backlog::default(), Pool::default());
            let (mut naive, mut next) = (VecDeque::new(), 0u8);
            for (pushed, taken) in steps {
                let bytes: Vec<u8> = (0..pushed).map(|i| next.wrapping_add(i as u8)).collect();
                next = next.wrapping_add(pushed as u8).wrapping_add(1);
                backlog.push(&bytes, &mut pool);
                naive.extend(bytes);
                let mut places = [IoSlice::new(&[]); 3];
                let count = backlog.slices(&mut places);
                let seen: Vec<u8> = places[..count].iter().flat_map(|s| s.to_vec()).collect();
                prop_assert!(seen.iter().eq(naive.iter().take(seen.len())));
                prop_assert_eq!(seen.is_empty(), naive.is_empty());
                let taken = taken.min(seen.len());
                backlog.advance(taken, &mut pool);
                naive.drain(..taken);
                prop_assert_eq!(backlog.bytes(), naive.len());
            }
            backlog.clear(&mut pool);
            prop_assert!(backlog.is_empty() && pool.used_bytes == 0);
        }
    }

    #[test]
    fn chunks_that_nobody_needs_go_back() {
        let (mut backlog, mut pool) = (Backlog::default(), Pool::default());
        backlog.push(&[7; 10 * CHUNK_BYTES], &mut pool);
        backlog.advance(4 * CHUNK_BYTES, &mut pool);
        pool.keep_what_is_needed();
        assert_eq!(pool.free.len(), 4, "all ten were in use lately");
        backlog.advance(5 * CHUNK_BYTES, &mut pool);
        assert_eq!(pool.free.len(), 9);
        pool.keep_what_is_needed();
        assert_eq!(pool.free.len(), 5, "since then there were six, of which one is still in use");
        pool.keep_what_is_needed();
        assert_eq!(pool.free.len(), 0);
    }

    #[test]
    fn a_notification_that_waits_costs_no_more_than_a_small_chunk() {
        let (mut backlog, mut pool) = (Backlog::default(), Pool::default());
        backlog.push(&[7; 40], &mut pool);
        assert_eq!(pool.used_bytes, SMALL_BYTES);
        backlog.push(&[7; CHUNK_BYTES], &mut pool);
        assert_eq!(pool.used_bytes, SMALL_BYTES + CHUNK_BYTES);
    }
}
