//! Where watches stand: at an existing node by its id, at a path without a node by its name.

use foldhash::fast::FixedState;
use hashbrown::HashTable;
use slab::Slab;
use std::hash::BuildHasher;

use super::holders::Holders;

/// Nodes a page: small, so that one watch in a far corner costs 260 bytes; shared by neighbours,
/// so that a million watched nodes cost four bytes each.
const PAGE: usize = 64;

#[derive(Debug)]
struct Page {
    used: u32,
    holders: [Holders; PAGE],
}

/// Holders by node id. Ids are slab numbers and therefore dense.
#[derive(Debug, Default)]
pub(super) struct NodePlaces {
    pages: Vec<Option<Box<Page>>>,
}

impl NodePlaces {
    pub fn holders(&self, id: u32) -> Holders {
        match self.pages.get(id as usize / PAGE) {
            Some(Some(page)) => page.holders[id as usize % PAGE],
            _ => Holders::NOBODY,
        }
    }

    pub fn set(&mut self, id: u32, holders: Holders) {
        let (number, at) = (id as usize / PAGE, id as usize % PAGE);
        if number >= self.pages.len() {
            if holders.is_nobody() {
                return;
            }
            self.pages.resize_with(number + 1, || None);
        }
        let slot = &mut self.pages[number];
        if slot.is_none() && holders.is_nobody() {
            return;
        }
        let page = slot
            .get_or_insert_with(|| Box::new(Page { used: 0, holders: [Holders::NOBODY; PAGE] }));
        page.used -= u32::from(!page.holders[at].is_nobody());
        page.used += u32::from(!holders.is_nobody());
        page.holders[at] = holders;
        if page.used == 0 {
            *slot = None;
        }
    }

    /// The first watched node whose id is at least `from`. Unwatched pages cost one look each.
    pub fn next_from(&self, from: u32) -> Option<(u32, Holders)> {
        let start = from as usize;
        for number in start / PAGE..self.pages.len() {
            let Some(page) = &self.pages[number] else { continue };
            let first = if number == start / PAGE { start % PAGE } else { 0 };
            let found = (first..PAGE).find(|at| !page.holders[*at].is_nobody());
            if let Some(at) = found {
                return Some(((number * PAGE + at) as u32, page.holders[at]));
            }
        }
        None
    }
}

#[derive(Debug)]
struct Name {
    text: Box<str>,
    holders: Holders,
}

/// Holders by path. Paths come from clients, so the hash is seeded.
#[derive(Debug)]
pub(super) struct NamePlaces {
    names: Slab<Name>,
    table: HashTable<u32>,
    hasher: FixedState,
}

impl NamePlaces {
    pub fn new(seed: u64) -> NamePlaces {
        NamePlaces {
            names: Slab::new(),
            table: HashTable::new(),
            hasher: FixedState::with_seed(seed),
        }
    }

    pub fn is_empty(&self) -> bool {
        self.names.is_empty()
    }

    pub fn len(&self) -> usize {
        self.names.len()
    }

    pub fn find(&self, path: &str) -> Option<u32> {
        if self.names.is_empty() {
            return None;
        }
        let hash = self.hasher.hash_one(path);
        self.table.find(hash, |n| &*self.names[*n as usize].text == path).copied()
    }

    pub fn find_or_add(&mut self, path: &str) -> u32 {
        if let Some(name) = self.find(path) {
            return name;
        }
        let name = Name { text: path.into(), holders: Holders::NOBODY };
        let number = self.names.insert(name) as u32;
        let (names, hasher) = (&self.names, &self.hasher);
        self.table.insert_unique(hasher.hash_one(path), number, |n| {
            hasher.hash_one(&*names[*n as usize].text)
        });
        number
    }

    pub fn text(&self, name: u32) -> &str {
        &self.names[name as usize].text
    }

    /// Nobody where the number is no (longer a) name.
    pub fn holders(&self, name: u32) -> Holders {
        self.names.get(name as usize).map_or(Holders::NOBODY, |n| n.holders)
    }

    /// A name that nobody holds is gone.
    pub fn set(&mut self, name: u32, holders: Holders) {
        if !holders.is_nobody() {
            self.names[name as usize].holders = holders;
            return;
        }
        let hash = self.hasher.hash_one(self.text(name));
        let entry = self.table.find_entry(hash, |n| *n == name);
        entry.expect("every name is in the table").remove();
        self.names.remove(name as usize);
        if self.names.is_empty() {
            self.names = Slab::new();
            self.table = HashTable::new();
        }
    }

    /// The first name whose number is at least `from`.
    pub fn next_from(&self, from: u32) -> Option<(u32, Holders)> {
        let numbers = from as usize..self.names.capacity();
        for number in numbers {
            if let Some(name) = self.names.get(number) {
                return Some((number as u32, name.holders));
            }
        }
        None
    }
}

/// `path` and then each ancestor up to the root.
pub(super) fn ancestors(path: &str) -> impl Iterator<Item = &str> {
    std::iter::successors(Some(path), |path| match path.rfind('/') {
        Some(0) if path.len() > 1 => Some("/"),
        Some(0) | None => None,
        Some(slash) => Some(&path[..slash]),
    })
}
