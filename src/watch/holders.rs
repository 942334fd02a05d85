//! Who watches one place, in four bytes for the usual case of nobody or one connection; a sorted
//! list for several, a hash table for a crowd.

use foldhash::fast::FixedState;
use hashbrown::HashTable;
use slab::Slab;
use std::hash::BuildHasher;

/// A watching connection, by its slot in the watch table.
pub(super) type Slot = u32;

/// In which tables and modes one connection watches one place. They coexist.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Flags(pub u8);

impl Flags {
    pub const NONE: Flags = Flags(0);
    pub const DATA_ONCE: Flags = Flags(1);
    pub const RECURSIVE: Flags = Flags(4);
    pub const CHILD_ONCE: Flags = Flags(8);
    /// A persistent watch stands in both tables.
    pub const PERSISTENT: Flags = Flags(2 | 16);

    pub const DATA: Flags = Flags(1 | 2 | 4);
    pub const CHILD: Flags = Flags(8 | 16);
    pub const ONCE: Flags = Flags(1 | 8);
    pub const ALL: Flags = Flags(31);

    pub fn any(self, of: Flags) -> bool {
        self.0 & of.0 != 0
    }

    pub fn and(self, other: Flags) -> Flags {
        Flags(self.0 & other.0)
    }

    pub fn with(self, other: Flags) -> Flags {
        Flags(self.0 | other.0)
    }

    pub fn without(self, other: Flags) -> Flags {
        Flags(self.0 & !other.0)
    }

    pub fn is_none(self) -> bool {
        self.0 == 0
    }
}

const FLAG_BITS: u32 = 5;
const SLOT_BITS: u32 = 31 - FLAG_BITS;

/// Connections that may watch at a time: what fits beside the flags.
pub(super) const MAX_SLOTS: u32 = 1 << SLOT_BITS;

/// From this size on a list would move too many bytes for each connection that comes or goes.
const LIST_MAX: usize = 4096;

/// Nobody (0), one connection (its packed form), or the number of a crowd (top bit set).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Holders(u32);

impl Holders {
    pub const NOBODY: Holders = Holders(0);
    const CROWD: u32 = 1 << 31;

    pub fn is_nobody(self) -> bool {
        self.0 == 0
    }

    fn crowd(self) -> Option<usize> {
        (self.0 & Holders::CROWD != 0).then_some((self.0 & !Holders::CROWD) as usize)
    }
}

/// A member: slot and flags in one word; never 0, since flags are never empty.
fn pack(slot: Slot, flags: Flags) -> u32 {
    debug_assert!(slot < MAX_SLOTS && !flags.is_none());
    slot << FLAG_BITS | u32::from(flags.0)
}

fn slot_of(member: u32) -> Slot {
    member >> FLAG_BITS
}

fn flags_of(member: u32) -> Flags {
    Flags((member & ((1 << FLAG_BITS) - 1)) as u8)
}

#[derive(Debug)]
enum Members {
    /// Ascending by slot.
    List(Vec<u32>),
    Hash(HashTable<u32>),
}

#[derive(Debug)]
struct Crowd {
    /// Members that stand in the data table.
    data: u32,
    members: Members,
}

/// The crowds of all places.
#[derive(Debug)]
pub(super) struct Crowds {
    crowds: Slab<Crowd>,
    /// Slots are numbered by us: nothing a client sends reaches this hash.
    hasher: FixedState,
}

impl Crowds {
    pub fn new(seed: u64) -> Crowds {
        Crowds { crowds: Slab::new(), hasher: FixedState::with_seed(seed) }
    }

    pub fn flags(&self, holders: Holders, slot: Slot) -> Flags {
        let found = match holders.crowd() {
            None if !holders.is_nobody() && slot_of(holders.0) == slot => Some(holders.0),
            None => None,
            Some(i) => self.crowds[i].members.find(slot, &self.hasher),
        };
        found.map_or(Flags::NONE, flags_of)
    }

    pub fn has_data(&self, holders: Holders) -> bool {
        match holders.crowd() {
            None => flags_of(holders.0).any(Flags::DATA),
            Some(i) => self.crowds[i].data > 0,
        }
    }

    pub fn for_each(&self, holders: Holders, mut visit: impl FnMut(Slot, Flags)) {
        let mut see = |member: &u32| visit(slot_of(*member), flags_of(*member));
        match holders.crowd() {
            None if holders.is_nobody() => {}
            None => see(&holders.0),
            Some(i) => match &self.crowds[i].members {
                Members::List(list) => list.iter().for_each(see),
                Members::Hash(table) => table.iter().for_each(see),
            },
        }
    }

    /// Gives one connection these flags at the place; none removes it.
    pub fn put(&mut self, holders: &mut Holders, slot: Slot, flags: Flags) {
        if holders.crowd().is_none() {
            if holders.is_nobody() || slot_of(holders.0) == slot {
                *holders = Holders(if flags.is_none() { 0 } else { pack(slot, flags) });
                return;
            }
            if flags.is_none() {
                return;
            }
            let only = holders.0;
            let data = u32::from(flags_of(only).any(Flags::DATA));
            let crowd = Crowd { data, members: Members::List(vec![only]) };
            *holders = Holders(self.crowds.insert(crowd) as u32 | Holders::CROWD);
        }
        let crowd = &mut self.crowds[holders.crowd().expect("made one above")];
        let before = crowd.members.put(slot, flags, &self.hasher);
        crowd.data += u32::from(flags.any(Flags::DATA));
        crowd.data -= u32::from(before.any(Flags::DATA));
        self.settle(holders);
    }

    /// Takes the one-shot watches of `table` away, and tells of every connection that stands in
    /// that table: its flags before and after.
    pub fn take_once(
        &mut self,
        holders: &mut Holders,
        table: Flags,
        mut see: impl FnMut(Slot, Flags, Flags),
    ) {
        let gone = table.and(Flags::ONCE);
        // The member as it will be; 0 if it goes.
        let mut next = |member: u32| {
            let (slot, before) = (slot_of(member), flags_of(member));
            if !before.any(table) {
                return member;
            }
            let after = before.without(gone);
            see(slot, before, after);
            if after.is_none() { 0 } else { pack(slot, after) }
        };
        let Some(i) = holders.crowd() else {
            if !holders.is_nobody() {
                holders.0 = next(holders.0);
            }
            return;
        };
        let crowd = &mut self.crowds[i];
        let mut data = 0;
        let mut keep = |member: &mut u32| {
            *member = next(*member);
            data += u32::from(*member != 0 && flags_of(*member).any(Flags::DATA));
            *member != 0
        };
        match &mut crowd.members {
            Members::List(list) => list.retain_mut(&mut keep),
            Members::Hash(table) => table.retain(&mut keep),
        }
        crowd.data = data;
        self.settle(holders);
    }

    /// A crowd of one or nobody is none.
    fn settle(&mut self, holders: &mut Holders) {
        let Some(i) = holders.crowd() else { return };
        let members = &mut self.crowds[i].members;
        let only = match members.len() {
            0 => 0,
            1 => members.first().expect("there is one"),
            _ => return members.fit(&self.hasher),
        };
        self.crowds.remove(i);
        if self.crowds.is_empty() {
            self.crowds = Slab::new();
        }
        *holders = Holders(only);
    }

    pub fn check_invariants(&self, holders: Holders) {
        let Some(i) = holders.crowd() else { return };
        let crowd = &self.crowds[i];
        assert!(crowd.members.len() > 1, "a crowd is more than one");
        if let Members::List(list) = &crowd.members {
            assert!(list.is_sorted_by_key(|m| slot_of(*m)), "a list ascends");
        }
        let mut data = 0;
        self.for_each(holders, |_, flags| data += u32::from(flags.any(Flags::DATA)));
        assert_eq!(crowd.data, data, "a crowd knows its data watchers");
    }

    pub fn len(&self) -> usize {
        self.crowds.len()
    }
}

impl Members {
    fn len(&self) -> usize {
        match self {
            Members::List(list) => list.len(),
            Members::Hash(table) => table.len(),
        }
    }

    fn first(&self) -> Option<u32> {
        match self {
            Members::List(list) => list.first().copied(),
            Members::Hash(table) => table.iter().next().copied(),
        }
    }

    fn find(&self, slot: Slot, hasher: &FixedState) -> Option<u32> {
        match self {
            Members::List(list) => {
                let at = list.binary_search_by_key(&slot, |m| slot_of(*m)).ok()?;
                Some(list[at])
            }
            Members::Hash(table) => {
                table.find(hasher.hash_one(slot), |m| slot_of(*m) == slot).copied()
            }
        }
    }

    /// Sets or removes a member and gives its flags from before.
    fn put(&mut self, slot: Slot, flags: Flags, hasher: &FixedState) -> Flags {
        match self {
            Members::List(list) => match list.binary_search_by_key(&slot, |m| slot_of(*m)) {
                Ok(at) if flags.is_none() => flags_of(list.remove(at)),
                Ok(at) => flags_of(std::mem::replace(&mut list[at], pack(slot, flags))),
                Err(_) if flags.is_none() => Flags::NONE,
                Err(at) => {
                    list.insert(at, pack(slot, flags));
                    Flags::NONE
                }
            },
            Members::Hash(table) => {
                let rehash = |m: &u32| hasher.hash_one(slot_of(*m));
                let found = table.find_entry(hasher.hash_one(slot), |m| slot_of(*m) == slot);
                match found {
                    Ok(entry) if flags.is_none() => flags_of(entry.remove().0),
                    Ok(mut entry) => {
                        flags_of(std::mem::replace(entry.get_mut(), pack(slot, flags)))
                    }
                    Err(_) if flags.is_none() => Flags::NONE,
                    Err(_) => {
                        table.insert_unique(hasher.hash_one(slot), pack(slot, flags), rehash);
                        Flags::NONE
                    }
                }
            }
        }
    }

    /// List or hash, by size. A list takes over again only at half of it.
    fn fit(&mut self, hasher: &FixedState) {
        let rehash = |m: &u32| hasher.hash_one(slot_of(*m));
        match self {
            Members::List(list) if list.len() > LIST_MAX => {
                let mut table = HashTable::with_capacity(list.len());
                for member in list.iter() {
                    table.insert_unique(rehash(member), *member, rehash);
                }
                *self = Members::Hash(table);
            }
            Members::Hash(table) if table.len() <= LIST_MAX / 2 => {
                let mut list: Vec<u32> = table.iter().copied().collect();
                list.sort_unstable();
                *self = Members::List(list);
            }
            Members::List(list) if list.capacity() > 16 && list.len() < list.capacity() / 4 => {
                list.shrink_to(list.len() * 2);
            }
            _ => {}
        }
    }
}
