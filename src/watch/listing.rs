//! Long listings in portions: a cursor keeps numbers only, so that watches may come and go
//! between two portions.

use crate::base::ConnId;

use super::holders::Flags;
use super::table::Table;

/// One line of a listing: what stands at the margin, or below it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Listed<'a> {
    Path(&'a str),
    Conn(ConnId),
}

/// Names the node of an id.
pub(super) type PathOf<'a> = dyn Fn(u32, &mut String) + 'a;

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Part {
    #[default]
    Nodes,
    Names,
    Done,
}

/// Each path with data watches, then the connections that watch it.
#[derive(Clone, Debug, Default)]
pub struct PathListing {
    part: Part,
    next: u32,
    path: String,
}

impl PathListing {
    /// Visits about `max` lines more (a path's connections stay together). True at the end.
    pub(super) fn step(
        &mut self,
        table: &Table,
        path_of: &PathOf<'_>,
        max: usize,
        visit: &mut dyn FnMut(Listed<'_>),
    ) -> bool {
        let mut lines = 0;
        while lines < max {
            let found = match self.part {
                Part::Nodes => table.nodes.next_from(self.next),
                Part::Names => table.names.next_from(self.next),
                Part::Done => return true,
            };
            let Some((number, holders)) = found else {
                self.part = if self.part == Part::Nodes { Part::Names } else { Part::Done };
                self.next = 0;
                continue;
            };
            self.next = number + 1;
            if !table.crowds.has_data(holders) {
                continue;
            }
            self.path.clear();
            match self.part {
                Part::Nodes => path_of(number, &mut self.path),
                _ => self.path.push_str(table.names.text(number)),
            }
            visit(Listed::Path(&self.path));
            lines += 1;
            table.crowds.for_each(holders, |slot, flags| {
                let watcher = table.watchers.watcher(slot);
                if flags.any(Flags::DATA) && !watcher.gone {
                    visit(Listed::Conn(watcher.conn));
                    lines += 1;
                }
            });
        }
        self.part == Part::Done
    }
}

/// Each connection with data watches, then the paths that it watches.
#[derive(Clone, Debug, Default)]
pub struct ConnListing {
    slot: u32,
    /// The connection whose paths are being listed.
    inside: Option<ConnId>,
    part: Part,
    next: u32,
    path: String,
}

impl ConnListing {
    /// Visits at most `max` lines more. True at the end.
    pub(super) fn step(
        &mut self,
        table: &mut Table,
        path_of: &PathOf<'_>,
        max: usize,
        visit: &mut dyn FnMut(Listed<'_>),
    ) -> bool {
        let mut lines = 0;
        while lines < max {
            let Some(slot) = table.watchers.next_from(self.slot) else { return true };
            let conn = table.watchers.watcher(slot).conn;
            if self.inside != Some(conn) {
                if !table.watchers.watcher(slot).listed {
                    self.slot = slot + 1;
                    continue;
                }
                (self.slot, self.inside) = (slot, Some(conn));
                (self.part, self.next) = (Part::Nodes, 0);
                visit(Listed::Conn(conn));
                lines += 1;
            }
            table.compact(slot);
            lines += self.paths_of(table, slot, path_of, max - lines, visit);
        }
        table.watchers.next_from(self.slot).is_none()
    }

    fn paths_of(
        &mut self,
        table: &Table,
        slot: u32,
        path_of: &PathOf<'_>,
        max: usize,
        visit: &mut dyn FnMut(Listed<'_>),
    ) -> usize {
        let watcher = table.watchers.watcher(slot);
        let mut lines = 0;
        while lines < max {
            let found = match self.part {
                Part::Nodes => watcher.nodes.next_from(self.next),
                Part::Names => watcher.names.next_from(self.next),
                Part::Done => {
                    (self.slot, self.inside) = (slot + 1, None);
                    break;
                }
            };
            let Some(number) = found else {
                self.part = if self.part == Part::Nodes { Part::Names } else { Part::Done };
                self.next = 0;
                continue;
            };
            self.next = number + 1;
            let is_node = self.part == Part::Nodes;
            let holders =
                if is_node { table.nodes.holders(number) } else { table.names.holders(number) };
            if !table.crowds.flags(holders, slot).any(Flags::DATA) {
                continue;
            }
            self.path.clear();
            if is_node {
                path_of(number, &mut self.path);
            } else {
                self.path.push_str(table.names.text(number));
            }
            visit(Listed::Path(&self.path));
            lines += 1;
        }
        lines
    }
}
