//! A server that leads: its learners' bytes in, its log, images and answers out.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use bytes::Bytes;

use crate::base::{ConnId, SessionId, Ticket, WallMillis, Zxid};
use crate::peering::{Forwarded, PacketBytes, PacketKind, Revalidate, Revalidated, Splitter};
use crate::proto::{Entry, Txn, TxnHeader};
use crate::zab::spoken::spoken;
use crate::zab::{
    Ended, Ensemble, Input, LeaderSettings, Leadership, Left, LogSync, Outgoing, Output, Parting,
    Passed, Recent, Ring, Start, Summary, Turn, Wish,
};

use super::disk::{Command, DiskSaid};
use super::learner::record_of;
use super::machine::tail_of;
use super::net::link;
use super::{Breakage, INIT_LIMIT_TICKS, Role, SYNC_LIMIT_TICKS, Said, TICK_MS, World, image};

pub struct Leader {
    pub number: u64,
    pub leadership: Leadership,
    /// By wire.
    links: BTreeMap<u32, Splitter>,
    /// Logged, or about to be, and not applied.
    pending: VecDeque<Recent>,
    /// Proposed in this turn.
    batch: Vec<Recent>,
    images: BTreeMap<u32, (Zxid, Bytes)>,
    /// Learners that lose something on purpose, and what they have lost.
    lossy: BTreeSet<u32>,
    ended: Option<Ended>,
}

/// What a learner has passed up.
enum Asks {
    Write { session: SessionId, cxid: i32 },
    Sync,
    Revalidate(Revalidate),
}

/// The number of a sync among the requests.
pub const SYNC_OP: i32 = 9;

impl World {
    fn leader_settings(&self) -> LeaderSettings {
        LeaderSettings {
            tick_ms: TICK_MS,
            init_limit_ticks: INIT_LIMIT_TICKS,
            sync_limit_ticks: SYNC_LIMIT_TICKS,
            max_snap_syncs: 1,
            max_diff_syncs: 2,
            force_snap: self.shape.force_snap,
            log_sync: LogSync::UpTo { snapshot_factor: 0.0 },
            max_wait_for_epoch_ms: None,
        }
    }

    /// Begins to lead, with the end of its history in memory or none of it.
    pub fn lead(&mut self, index: usize) {
        let number = self.next_role();
        let mut current = self.membership();
        if self.shape.breakage == Some(Breakage::CommitsAlone) {
            current.members.retain(|id, _| *id == self.machines[index].id);
        }
        let settings = self.leader_settings();
        let machine = &mut self.machines[index];
        let tail = std::mem::take(&mut machine.tail);
        let history = [machine.state.clone(), tail.entries().iter().map(record_of).collect()];
        let history = history.concat();
        let kept = self.rng.below(history.len() as u64 + 1).min(self.rng.below(40)) as usize;
        let (before, kept) = history.split_at(history.len() - kept);
        let after = before.last().map_or(Zxid::ZERO, |last| last.zxid);
        let mut ring = Ring::bounded(after, self.shape.ring_bytes);
        for record in kept {
            ring.push(record.zxid, &record.data);
        }
        let machine = &mut self.machines[index];
        machine.number = number;
        let start = Start {
            me: machine.id,
            settings,
            ensemble: Ensemble { last_seen: current.clone(), current, reconfig_enabled: false },
            accepted_epoch: machine.disk.accepted,
            ours: Summary { current_epoch: machine.disk.current, last_zxid: tail.logged() },
            ring,
        };
        let mut out = Vec::new();
        let mut turn = Turn { now: self.now, last_ticket: &mut machine.last_ticket, out: &mut out };
        let leadership = Leadership::begin(start, &mut turn);
        let mut leader = Box::new(Leader {
            number,
            leadership,
            links: BTreeMap::new(),
            pending: tail.entries().iter().map(record_of).collect(),
            batch: Vec::new(),
            images: BTreeMap::new(),
            lossy: BTreeSet::new(),
            ended: None,
        });
        self.perform_leader(index, &mut leader, out);
        self.machines[index].role = Role::Leading(leader);
    }

    pub fn leader_turn(&mut self, index: usize, mut l: Box<Leader>) -> Role {
        while let Some((role, said)) = self.machines[index].inbox.pop_front() {
            if role != 0 && role != l.number {
                self.pass_over(said);
                continue;
            }
            self.tell_leader(index, &mut l, said);
        }
        if l.leadership.next_timeout().is_some_and(|due| due <= self.now) {
            self.leader_input(index, &mut l, Input::Time);
        }
        if let Some(ms) = self.disk_hangs_ms(index) {
            self.with_leader(index, &mut l, |leadership, turn| {
                leadership.end(turn, Ended::Stalled { ms });
            });
        }
        self.end_leader_turn(index, &mut l);
        self.go_on_leading(index, l)
    }

    /// The records go to the log, then learners are sent what there is for them.
    fn end_leader_turn(&mut self, index: usize, l: &mut Leader) {
        let records = std::mem::take(&mut l.batch);
        if !records.is_empty() {
            let machine = &mut self.machines[index];
            machine.last_ticket = machine.last_ticket.next();
            let ticket: Ticket = machine.last_ticket;
            self.queue(index, ticket, Command::Append { records });
        }
        self.with_leader(index, l, |leadership, turn| leadership.flush(turn));
    }

    fn go_on_leading(&mut self, index: usize, l: Box<Leader>) -> Role {
        if l.ended.is_none() {
            return Role::Leading(l);
        }
        let wires: Vec<u32> = l.links.keys().copied().collect();
        assert!(wires.is_empty(), "a role that is over has closed its links");
        self.machines[index].number = 0;
        let tail = tail_of(self.machines[index].at, l.pending.iter());
        Role::Leaving(Some(Left::History(tail)))
    }

    fn tell_leader(&mut self, m: usize, l: &mut Leader, said: Said) {
        match said {
            Said::Disk(DiskSaid::Durable(ticket)) => {
                let log = match self.shape.breakage {
                    Some(Breakage::DurableAtOnce) => l.pending.back().map(|last| last.zxid),
                    _ => None,
                };
                let log = log.unwrap_or(self.machines[m].disk.last());
                self.leader_input(m, l, Input::Durable { ticket, log });
            }
            Said::Connected(wire) => {
                let splitter = Splitter::new(PacketBytes::default());
                l.links.insert(wire, splitter);
                if self.shape.breakage == Some(Breakage::LosesLastOfEpoch) {
                    l.lossy.insert(wire);
                }
                let room = self.room(wire, 1);
                self.leader_input(m, l, Input::Connected { link: link(wire), room });
            }
            Said::Readable(wire) => self.read_leader(m, l, wire),
            Said::Room(wire) => {
                let bytes = self.room(wire, 1);
                self.leader_input(m, l, Input::Room { link: link(wire), bytes });
            }
            Said::Lost(wire) if l.links.remove(&wire).is_some() => {
                self.leader_input(m, l, Input::Closed { link: link(wire) });
            }
            Said::Lost(_) => {}
            Said::Probe(wire, zxid) => self.on_probe(m, l, wire, zxid),
            Said::Wish(wire, wish) => self.on_wish(m, l, wire, wish),
            Said::Revalidated(wire, revalidated) => {
                self.leader_input(m, l, Input::Revalidated { link: link(wire), revalidated });
            }
            _ => {}
        }
    }

    fn with_leader<T>(
        &mut self,
        index: usize,
        l: &mut Leader,
        act: impl FnOnce(&mut Leadership, &mut Turn<'_>) -> T,
    ) -> T {
        let mut out = Vec::new();
        let last_ticket = &mut self.machines[index].last_ticket;
        let mut turn = Turn { now: self.now, last_ticket, out: &mut out };
        let value = act(&mut l.leadership, &mut turn);
        l.leadership.check();
        self.perform_leader(index, l, out);
        value
    }

    fn leader_input(&mut self, index: usize, l: &mut Leader, input: Input<'_>) {
        let passed =
            self.with_leader(index, l, |leadership, turn| leadership.handle(turn, input).is_some());
        assert!(!passed, "only packets are passed up");
    }

    fn read_leader(&mut self, m: usize, l: &mut Leader, wire: u32) {
        let bytes = self.take_arrived(wire, 1);
        let mut input = &bytes[..];
        while let Some(mut splitter) = l.links.remove(&wire) {
            let packet = splitter.next(&mut input).expect("a learner's packets");
            let Some(packet) = packet else {
                l.links.insert(wire, splitter);
                break;
            };
            // It is taken out while the packet lives; a link that is closed meanwhile stays out.
            let (mut out, now) = (Vec::new(), self.now);
            let last_ticket = &mut self.machines[m].last_ticket;
            let mut turn = Turn { now, last_ticket, out: &mut out };
            let input = Input::Packet { link: link(wire), packet };
            let asks = l.leadership.handle(&mut turn, input).and_then(asks);
            l.leadership.check();
            let closed = out.iter().filter_map(|output| match output {
                Output::Close { link, .. } => Some(*link),
                _ => None,
            });
            if closed.into_iter().all(|closed| closed != link(wire)) {
                l.links.insert(wire, splitter);
            }
            self.perform_leader(m, l, out);
            if let Some(asks) = asks {
                self.on_asks(m, l, wire, asks);
            }
        }
    }

    fn on_asks(&mut self, m: usize, l: &mut Leader, wire: u32, asks: Asks) {
        match asks {
            Asks::Write { session, cxid } => self.propose(m, l, session, cxid),
            Asks::Sync if self.shape.breakage == Some(Breakage::SyncsEarly) => {
                let mut bytes = Vec::new();
                Outgoing::packet(PacketKind::Sync, Zxid::ZERO).write(&mut bytes);
                self.write(wire, 1, &bytes);
            }
            Asks::Sync => {
                let (link, after) = (link(wire), Zxid::ZERO);
                self.leader_input(m, l, Input::Sync { link, after });
            }
            Asks::Revalidate(Revalidate { session, .. }) => {
                let revalidated = Revalidated { session, is_valid: true };
                self.tell_soon(m, l.number, Said::Revalidated(wire, revalidated));
            }
        }
    }

    /// Proposes a txn that is like no other.
    pub fn propose(&mut self, m: usize, l: &mut Leader, session: SessionId, cxid: i32) {
        let zxid = self.with_leader(m, l, |leadership, turn| leadership.next_zxid(turn));
        let Some(zxid) = zxid else { return };
        let header = TxnHeader { session, cxid, zxid, time: WallMillis(1) };
        let mut data = self.rng.next_u64().to_be_bytes().to_vec();
        data.resize(8 + self.rng.below(200) as usize, 7);
        let txn = Txn::SetData { path: "/a".to_owned(), data: Some(data), version: 1 };
        let mut encoded = Vec::new();
        Entry::write(&header, &txn, None, &mut encoded);
        let record = Recent { zxid, data: Bytes::from(encoded) };
        self.counts.proposals += 1;
        l.leadership.propose(zxid, &record.data);
        l.pending.push_back(record.clone());
        l.batch.push(record);
    }

    fn on_probe(&mut self, m: usize, l: &mut Leader, wire: u32, zxid: Zxid) {
        let mut probed = self.machines[m].disk.probe(zxid);
        if self.shape.breakage == Some(Breakage::ProbeKnowsAll) {
            probed.place.at_or_before = Some(zxid);
        }
        let is_missing = !self.is_healed && self.rng.below(20) == 0;
        let link = link(wire);
        let input =
            if is_missing { Input::Missing { link } } else { Input::Probed { link, probed } };
        self.leader_input(m, l, input);
    }

    fn on_wish(&mut self, m: usize, l: &mut Leader, wire: u32, wish: Wish) {
        let at = link(wire);
        let missing = Input::Missing { link: at };
        let input = match wish {
            Wish::Log { after, bytes } => match self.machines[m].disk.read(after, bytes) {
                Some((records, is_end)) => Input::Log { link: at, records, is_end },
                None => missing,
            },
            Wish::Image => {
                let (zxid, history) = self.image(m, l);
                l.images.insert(wire, (zxid, image::encode(&history)));
                Input::Image { link: at, zxid }
            }
            Wish::ImageBytes { offset, bytes } => match l.images.get(&wire) {
                Some((_, whole)) => {
                    let from = (offset as usize).min(whole.len());
                    let to = (from + 1 + self.rng.below(bytes as u64) as usize).min(whole.len());
                    let is_last = to == whole.len();
                    Input::ImageBytes { link: at, bytes: whole.slice(from..to), is_last }
                }
                None => missing,
            },
        };
        self.leader_input(m, l, input);
    }

    /// An image that learners may be sent: of the state, or a snapshot that the log leads on from.
    fn image(&mut self, m: usize, l: &Leader) -> (Zxid, Vec<Recent>) {
        let machine = &self.machines[m];
        let file = machine.disk.snapshots.last_key_value();
        let file = file.filter(|(zxid, _)| **zxid >= machine.disk.log_from && zxid.0 > 0);
        let (mut zxid, mut history) = match file {
            Some((zxid, history)) if self.shape.sends_files && self.rng.below(2) == 0 => {
                (*zxid, history.to_vec())
            }
            _ => (machine.at, machine.state.clone()),
        };
        let epoch = l.leadership.epoch().filter(|_| l.leadership.is_established());
        if let Some(epoch) = epoch.filter(|epoch| zxid.epoch() < *epoch)
            && self.shape.names_epochs
            && zxid == l.leadership.committed()
        {
            zxid = Zxid::new(epoch, 0);
        }
        if self.shape.breakage == Some(Breakage::ImageLacksLast) {
            history.pop();
        }
        (zxid, history)
    }

    fn perform_leader(&mut self, m: usize, l: &mut Leader, out: Vec<Output>) {
        for output in out {
            self.note(|| format!("{} {}", m + 1, told(&output)));
            match output {
                Output::Send { link, outgoing } => self.send_out(l, link, &outgoing),
                Output::Close { link, why } => {
                    self.counts.on_parting(why);
                    let is_expected = is_honest(why);
                    assert!(is_expected, "server {} parted from one of ours: {why:?}", m + 1);
                    l.links.remove(&link.index);
                    self.close_end(link.index, 1);
                }
                Output::Storage(command) => {
                    let (ticket, command) = Command::of_leader(&command);
                    self.queue(m, ticket, command);
                }
                Output::AskLog { link, zxid } => {
                    self.counts.probes += 1;
                    self.tell_soon(m, l.number, Said::Probe(link.index, zxid));
                }
                Output::Wanted { link, wish } => {
                    self.counts.log_reads += u64::from(matches!(wish, Wish::Log { .. }));
                    self.tell_soon(m, l.number, Said::Wish(link.index, wish));
                }
                Output::LastSeen { .. } => {}
                Output::Established { epoch } => {
                    let pending = std::mem::take(&mut l.pending);
                    pending.into_iter().for_each(|record| self.apply(m, record));
                    self.on_leader_established(m, epoch);
                }
                Output::Committed { through } => {
                    let epoch = l.leadership.epoch().expect("a leader commits in its epoch");
                    while l.pending.front().is_some_and(|record| record.zxid <= through) {
                        let record = l.pending.pop_front().expect("it was looked at");
                        self.on_committed(m, epoch, &record);
                        self.apply(m, record);
                    }
                }
                Output::Ended(why) => {
                    self.counts.on_ended(&why);
                    l.ended = Some(why);
                }
            }
        }
    }

    fn send_out(&mut self, l: &mut Leader, link: ConnId, outgoing: &Outgoing) {
        let is_last_of_epoch = |zxid: Zxid| {
            let epoch = l.leadership.epoch().unwrap_or_default();
            zxid.epoch() < epoch && zxid.counter() > 1
        };
        if let Outgoing::Packet { kind: PacketKind::Proposal | PacketKind::Commit, zxid, .. } =
            outgoing
            && l.lossy.contains(&link.index)
            && is_last_of_epoch(*zxid)
        {
            return;
        }
        let mut bytes = Vec::new();
        outgoing.write(&mut bytes);
        self.write(link.index, 1, &bytes);
    }
}

fn asks(passed: Passed<'_>) -> Option<Asks> {
    match passed {
        Passed::Request { request: Forwarded { op: SYNC_OP, .. }, .. } => Some(Asks::Sync),
        Passed::Request { request: Forwarded { session, cxid, .. }, .. } => {
            Some(Asks::Write { session, cxid })
        }
        Passed::Revalidate { revalidate, .. } => Some(Asks::Revalidate(revalidate)),
        Passed::Touched { .. } => None,
    }
}

/// Two servers of ours have no other reasons to part.
fn is_honest(why: Parting) -> bool {
    use Parting::*;
    matches!(
        why,
        Replaced | Silent | AckOverdue | Ahead(_) | TooManySyncs | Hole(_) | Missing | RoleEnded
    )
}

fn told(output: &Output) -> String {
    match output {
        Output::Send { link, outgoing } => format!("says to {} {}", link.index, spoken(outgoing)),
        other => format!("{other:?}"),
    }
}
