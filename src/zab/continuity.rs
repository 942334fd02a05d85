//! How one zxid follows another.

use crate::base::Zxid;

/// What a txn's zxid is to the last one. Peers and disks say what they like, so this is a value
/// that somebody looks at: legal histories of Java servers hold gaps and txns that are there twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Continuity {
    /// The one after it, or the first of a later epoch.
    Next,
    /// Something between them is missing.
    Gap,
    /// The same again.
    Duplicate,
    /// It belongs before it.
    Back,
}

impl Continuity {
    pub fn of(last: Zxid, zxid: Zxid) -> Continuity {
        if zxid <= last {
            return if zxid == last { Continuity::Duplicate } else { Continuity::Back };
        }
        // A lone server counts on across its epoch. Everyone else's first txn has counter 1, so
        // an epoch that begins with a later one lacks its beginning.
        let is_after = last.0.checked_add(1) == Some(zxid.0);
        let begins = zxid.epoch() > last.epoch() && zxid.counter() == 1;
        if is_after || begins { Continuity::Next } else { Continuity::Gap }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_follows_is_the_next_number_or_the_first_of_a_later_epoch() {
        let last = Zxid::new(4, 9);
        let of = |epoch, counter| Continuity::of(last, Zxid::new(epoch, counter));
        assert_eq!([of(4, 10), of(5, 1), of(7, 1)], [Continuity::Next; 3]);
        assert_eq!([of(4, 11), of(5, 2), of(5, 0)], [Continuity::Gap; 3]);
        assert_eq!(of(4, 9), Continuity::Duplicate);
        assert_eq!([of(4, 8), of(3, 10), of(4, 0)], [Continuity::Back; 3]);
        assert_eq!(Continuity::of(last, Zxid::NONE), Continuity::Back);
    }

    #[test]
    fn an_epoch_begins_behind_its_own_zero_and_a_lone_server_counts_across() {
        assert_eq!(Continuity::of(Zxid::new(5, 0), Zxid::new(5, 1)), Continuity::Next);
        assert_eq!(Continuity::of(Zxid::new(0, u32::MAX), Zxid::new(1, 0)), Continuity::Next);
        assert_eq!(Continuity::of(Zxid::ZERO, Zxid::new(0, 1)), Continuity::Next);
        assert_eq!(Continuity::of(Zxid(i64::MAX), Zxid(i64::MAX)), Continuity::Duplicate);
    }
}
