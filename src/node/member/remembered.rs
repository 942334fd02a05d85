//! The end of the history, as this member has it in memory from one role to the next.

use crate::base::Zxid;
use crate::history::record_zxid;
use crate::zab::Ring;

use super::entries;

pub(super) struct Remembered {
    /// None while nobody knows where the history ends, or a leader has it.
    ring: Option<Ring>,
    /// What was forgotten leaves its memory to what comes.
    spare: Option<Ring>,
    bound: usize,
}

impl Remembered {
    pub fn bounded(bound: usize) -> Remembered {
        Remembered { ring: None, spare: None, bound }
    }

    pub fn ring(&self) -> Option<&Ring> {
        self.ring.as_ref()
    }

    pub fn ring_mut(&mut self) -> Option<&mut Ring> {
        self.ring.as_mut()
    }

    /// The history has come to `after`, and what is remembered ends there, too, or begins there.
    pub fn go_on(&mut self, after: Zxid) {
        if self.ring.as_ref().is_none_or(|ring| ring.last() != after) {
            self.restart(after);
        }
    }

    /// The history is another, which has come to `after`.
    pub fn restart(&mut self, after: Zxid) {
        self.forget();
        let mut ring = self.spare.take().unwrap_or_else(|| Ring::bounded(after, self.bound));
        ring.restart(after);
        self.ring = Some(ring);
    }

    /// Nobody knows where it ends.
    pub fn forget(&mut self) {
        self.spare = self.ring.take().or(self.spare.take());
    }

    /// For a leader, who gives it back. Nothing is remembered but where it has come to: `after`.
    pub fn take(&mut self, after: Zxid) -> Ring {
        if self.ring.is_none() {
            self.restart(after);
        }
        self.ring.take().expect("it was begun where there was none")
    }

    pub fn give_back(&mut self, ring: Ring) {
        self.ring = Some(ring);
    }

    /// What a learner logs is what it will feed others from, should it lead next.
    pub fn push(&mut self, records: &[u8]) {
        let Some(ring) = &mut self.ring else { return };
        for entry in entries(records) {
            if let Some(zxid) = record_zxid(entry) {
                ring.push(zxid, entry);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(counter: u32) -> Zxid {
        Zxid::new(1, counter)
    }

    #[test]
    fn what_is_remembered_ends_where_the_history_does() {
        let mut remembered = Remembered::bounded(1024);
        remembered.go_on(at(1));
        let ring = remembered.ring_mut().expect("one was begun");
        ring.push(at(2), b"txn");
        remembered.go_on(at(2));
        assert_eq!(remembered.ring().map(Ring::len), Some(1), "it goes on");
        remembered.go_on(at(7));
        let ring = remembered.ring().expect("another history");
        assert_eq!((ring.len(), ring.last()), (0, at(7)));
    }

    #[test]
    fn what_is_forgotten_leaves_its_memory() {
        let mut remembered = Remembered::bounded(1024);
        remembered.restart(at(1));
        remembered.forget();
        assert!(remembered.ring().is_none() && remembered.spare.is_some());
        remembered.forget();
        assert!(remembered.spare.is_some(), "once more");
        let ring = remembered.take(at(5));
        assert!(ring.last() == at(5) && remembered.spare.is_none());
        remembered.give_back(ring);
        remembered.restart(at(3));
        assert_eq!(remembered.ring().map(Ring::last), Some(at(3)));
    }
}
