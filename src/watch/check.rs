//! What must hold between calls, looked at from both sides.

use super::holders::{Crowds, Flags, Holders, Slot};
use super::table::Table;
use super::watchers::Side;

#[derive(Default)]
struct Seen {
    places: u64,
    data_places: u64,
    data: u64,
    child: u64,
    crowds: usize,
}

impl Table {
    /// Walks everything: for tests and the simulator.
    pub fn check(&self) {
        let mut seen = Seen::default();
        let mut from = 0;
        while let Some((id, holders)) = self.nodes.next_from(from) {
            self.look(&mut seen, holders, Side::Node, id);
            from = id + 1;
        }
        let (mut from, mut names) = (0, 0);
        while let Some((name, holders)) = self.names.next_from(from) {
            assert_eq!(self.names.find(self.names.text(name)), Some(name), "a name is found");
            let bytes = self.names.text(name).len();
            self.look(&mut seen, holders, Side::Name { bytes }, name);
            (from, names) = (name + 1, names + 1);
        }
        assert_eq!(self.names.len(), names, "every name is held");
        let totals = self.watchers.totals;
        assert_eq!(totals.data, seen.data, "data watches are counted");
        assert_eq!(totals.child, seen.child, "child watches are counted");
        assert_eq!(self.data_places, seen.data_places, "places with data watches are counted");
        let mut live = 0;
        for (slot, w) in self.watchers.iter() {
            live += (w.nodes.live() + w.names.live()) as u64;
            for path in &w.recursive {
                let flags = self.crowds.flags(self.recursive.holders(*path), slot);
                assert!(flags.any(Flags::RECURSIVE), "a recursive watch is found from below");
            }
            assert!(w.gone || w.data == 0 || w.listed, "who watches is listed");
        }
        assert_eq!(live, seen.places, "both sides know the same places");
        let shared = |h: &Holders| crowd_of(&self.crowds, *h);
        let above = (0..).map_while({
            let mut from = 0;
            move |_| {
                let (name, holders) = self.recursive.next_from(from)?;
                from = name + 1;
                Some(holders)
            }
        });
        let crowds = seen.crowds + above.filter(shared).count();
        assert_eq!(self.crowds.len(), crowds, "no crowd is lost");
    }

    fn look(&self, seen: &mut Seen, holders: Holders, side: Side, number: u32) {
        self.crowds.check_invariants(holders);
        seen.crowds += usize::from(crowd_of(&self.crowds, holders));
        let mut data = false;
        self.crowds.for_each(holders, |slot, flags| {
            assert!(!flags.is_none(), "who stands somewhere stands for something");
            seen.places += 1;
            data |= flags.any(Flags::DATA);
            self.look_back(slot, side, number);
            if !self.watchers.watcher(slot).gone {
                seen.data += u64::from(flags.any(Flags::DATA));
                seen.child += u64::from(flags.any(Flags::CHILD));
            }
        });
        seen.data_places += u64::from(data);
    }

    fn look_back(&self, slot: Slot, side: Side, number: u32) {
        let watcher = self.watchers.watcher(slot);
        let covered = match side {
            Side::Node => watcher.nodes.covers(number),
            Side::Name { .. } => watcher.names.covers(number),
        };
        assert!(covered, "the connection's side covers every place");
    }
}

fn crowd_of(crowds: &Crowds, holders: Holders) -> bool {
    let mut members = 0;
    crowds.for_each(holders, |_, _| members += 1);
    members > 1
}
