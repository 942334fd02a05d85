//! The memory of a ring: pieces of one size, filled one after the other and then again. What is
//! kept for minutes does not lie between what lives for a turn, so the heap stays as it is.

use std::collections::VecDeque;

use bytes::{Bytes, BytesMut};

/// How many of them the ring's bound makes.
const IN_BOUND: usize = 32;
/// What lies across the end of one is put into the next: at most this part of each is lost.
const LOST: usize = 4;
/// How many more there may be: the one being filled, and what is still being sent.
const SPARE: usize = IN_BOUND / LOST + 4;

#[derive(Clone, Debug)]
pub(super) struct Segments {
    filling: Option<BytesMut>,
    /// Full ones, the oldest first: each is used again once nothing in it is.
    full: VecDeque<BytesMut>,
    bytes: usize,
}

impl Segments {
    pub fn new(bound: usize) -> Segments {
        Segments { filling: None, full: VecDeque::new(), bytes: bound / IN_BOUND }
    }

    /// A copy that lies here; of what is too long for that, its own.
    pub fn keep(&mut self, data: &[u8]) -> Bytes {
        if data.len() > self.bytes / LOST {
            return Bytes::copy_from_slice(data);
        }
        if self.filling.as_ref().is_none_or(|filling| filling.capacity() < data.len()) {
            self.turn_over();
        }
        let filling = self.filling.as_mut().expect("one is being filled");
        filling.extend_from_slice(data);
        filling.split().freeze()
    }

    fn turn_over(&mut self) {
        let next = self.reclaim().unwrap_or_else(|| BytesMut::with_capacity(self.bytes));
        self.full.extend(self.filling.replace(next));
        if self.full.len() > IN_BOUND + SPARE {
            // Its memory goes with the last that lies in it.
            self.full.pop_front();
        }
    }

    fn reclaim(&mut self) -> Option<BytesMut> {
        let is_free = self.full.front_mut().is_some_and(|oldest| oldest.try_reclaim(self.bytes));
        if is_free { self.full.pop_front() } else { None }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_kept_lies_in_as_many_pieces_as_the_bound_has_however_long_it_goes_on() {
        let mut segments = Segments::new(32 * 1024);
        let mut held = VecDeque::new();
        for n in 0..100_000_usize {
            let kept = segments.keep(&vec![n as u8; n % 257]);
            assert!(kept.len() == n % 257 && kept.iter().all(|byte| *byte == n as u8));
            held.push_back((n, kept));
            if held.len() > 200 {
                let (n, oldest) = held.pop_front().expect("the oldest");
                assert!(oldest.iter().all(|byte| *byte == n as u8), "nobody wrote over it");
            }
            // 200 of 128 bytes each, and what is lost at the ends.
            assert!(segments.full.len() <= 36, "{}", segments.full.len());
        }
    }

    #[test]
    fn a_piece_that_is_still_sent_is_left_alone_and_its_like_is_taken() {
        let mut segments = Segments::new(32 * 1024);
        let sent = segments.keep(b"still being sent");
        for n in 0..100_000_u32 {
            segments.keep(&n.to_be_bytes());
            assert!(segments.full.len() <= IN_BOUND + SPARE);
        }
        assert_eq!(sent, &b"still being sent"[..]);
        assert!(segments.reclaim().is_some(), "it is not waited for");
    }

    #[test]
    fn what_is_long_has_a_place_of_its_own() {
        let mut segments = Segments::new(32 * 1024);
        let long = segments.keep(&[7; 257]);
        assert!(segments.filling.is_none() && long.len() == 257);
    }
}
