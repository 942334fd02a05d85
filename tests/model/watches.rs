//! Who watches what. Naive: one list of (table, path, slot, mode).

use std::collections::BTreeSet;

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Table {
    Data,
    Child,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Mode {
    Standard,
    Persistent,
    Recursive,
}

#[derive(Clone, Debug, Default)]
pub struct Watches(BTreeSet<(Table, String, usize, Mode)>);

impl Watches {
    pub fn add(&mut self, table: Table, path: &str, slot: usize, mode: Mode) {
        self.0.insert((table, path.to_owned(), slot, mode));
    }

    pub fn forget(&mut self, slot: usize) {
        self.0.retain(|(_, _, s, _)| *s != slot);
    }

    /// Who hears of a change at `path`; one-shot watches there are used up.
    pub fn trigger(&mut self, table: Table, path: &str) -> BTreeSet<usize> {
        let above = |p: &str| p == "/" || path.starts_with(&format!("{p}/"));
        let hears = |(t, p, _, mode): &(Table, String, usize, Mode)| {
            let here = p == path;
            *t == table && (here || (*mode == Mode::Recursive && !p.is_empty() && above(p)))
        };
        let heard: BTreeSet<usize> =
            self.0.iter().filter(|w| hears(w)).map(|(_, _, slot, _)| *slot).collect();
        self.0.retain(|(t, p, _, mode)| *t != table || p != path || *mode != Mode::Standard);
        heard
    }

    fn matching(&self, path: &str, slot: usize, kind: i32) -> Vec<(Table, String, usize, Mode)> {
        let meant = |table: Table, mode: Mode| match kind {
            1 => table == Table::Child && mode == Mode::Standard,
            2 => table == Table::Data && mode == Mode::Standard,
            3 => true,
            4 => mode == Mode::Persistent,
            _ => mode == Mode::Recursive,
        };
        let is =
            |(t, p, s, m): &&(Table, String, usize, Mode)| p == path && *s == slot && meant(*t, *m);
        self.0.iter().filter(is).cloned().collect()
    }

    pub fn has(&self, path: &str, slot: usize, kind: i32) -> bool {
        !self.matching(path, slot, kind).is_empty()
    }

    pub fn remove(&mut self, path: &str, slot: usize, kind: i32) -> bool {
        let found = self.matching(path, slot, kind);
        found.iter().for_each(|w| {
            self.0.remove(w);
        });
        !found.is_empty()
    }
}
