//! Where the last looks for paths ended. A request's path is looked for several times on its way:
//! ahead of the turn, by `prepare` or the read, by `apply`; only the first needs the table.

use std::cell::Cell;

const PLACE_BITS: u32 = 10;

/// Guesses only: whoever asks compares the path, since the node may have gone or be another.
pub(super) struct Recent {
    places: Box<[Cell<Place>]>,
}

#[derive(Clone, Copy, Default)]
struct Place {
    tag: u32,
    id: u32,
}

/// A path's place, and what tells it from most others that have the same.
#[derive(Clone, Copy, Default)]
pub(super) struct Mark {
    place: u32,
    tag: u32,
}

impl Mark {
    /// Whoever makes paths of equal marks wins nothing: they are looked for in the table.
    pub fn of(path: &[u8]) -> Mark {
        let mut words = path.chunks_exact(8);
        let start = path.len() as u64;
        let whole =
            words.by_ref().fold(start, |sum, word| mix(sum, word.try_into().unwrap_or_default()));
        let mut last = [0; 8];
        last[..words.remainder().len()].copy_from_slice(words.remainder());
        let sum = mix(whole, last);
        Mark { place: (sum >> (64 - PLACE_BITS)) as u32, tag: sum as u32 }
    }
}

fn mix(sum: u64, word: [u8; 8]) -> u64 {
    let product = (sum ^ u64::from_le_bytes(word)).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    product ^ (product >> 32)
}

impl Recent {
    pub fn new() -> Recent {
        Recent { places: vec![Cell::default(); 1 << PLACE_BITS].into() }
    }

    /// The node that the last look of this mark found, if it was not the root.
    pub fn guess(&self, mark: Mark) -> Option<u32> {
        let place = self.places[mark.place as usize].get();
        (place.tag == mark.tag && place.id != super::nodes::ROOT).then_some(place.id)
    }

    pub fn note(&self, mark: Mark, id: u32) {
        self.places[mark.place as usize].set(Place { tag: mark.tag, id });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_guess_is_the_last_node_found_by_the_same_mark() {
        let recent = Recent::new();
        let (a, b) = (Mark::of(b"app/a"), Mark::of(b"app/a-longer-name"));
        assert_eq!(recent.guess(a), None);
        recent.note(a, 7);
        assert_eq!((recent.guess(a), recent.guess(b)), (Some(7), None));
        recent.note(a, 8);
        assert_eq!(recent.guess(a), Some(8));
    }

    #[test]
    fn marks_tell_paths_apart_that_differ_anywhere() {
        let paths =
            ["", "a", "b", "ab", "app/node-0000001", "app/node-0000002", "bpp/node-0000001"];
        let marks = paths.map(|path| Mark::of(path.as_bytes()));
        for (at, one) in marks.iter().enumerate() {
            assert!(marks[..at].iter().all(|other| other.tag != one.tag), "{}", paths[at]);
        }
        // A last word of NULs is not the same as none.
        assert_ne!(Mark::of(b"12345678").tag, Mark::of(b"12345678\0").tag);
    }
}
