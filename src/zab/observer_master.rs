//! An observer master: a follower that feeds observers, so that the leader need not.
//!
//! To them it is as good as a leader. The epoch is the one that it follows, nobody is waited for,
//! and what the leader has committed is told on as INFORM. What they ask for is passed up: the
//! follower asks the leader for it, and the answers come back here. It dies with the follower's
//! role.

use std::collections::BTreeMap;

use bytes::Bytes;

use crate::base::{ConnId, Instant, ServerId, Zxid};
use crate::members::Membership;
use crate::peering::{LEARNER_PROTOCOL, Packet, PacketKind};

use super::discovery::{Ahead, Summary};
use super::feed::{LearnerKind, Note, View};
use super::feeding::{Feeding, FirstAck, Ground, read_ack_epoch};
use super::leadership::{
    Ensemble, Input, LeaderSettings, LearnerView, Output, Parting, Passed, Turn,
};
use super::learner::{Known, Learner, Stage};
use super::ring::{Recent, Ring};
use super::sync::Probed;

/// What the follower has to feed others from.
#[derive(Clone, Copy, Debug)]
pub struct Stock<'a> {
    /// All that its log was handed, committed or not.
    pub ring: &'a Ring,
    /// What the leader has committed, handed to the log or not.
    pub committed: Zxid,
}

#[derive(Debug)]
pub struct ObserverMaster {
    settings: LeaderSettings,
    /// Where the epoch begins that is followed.
    begin: Zxid,
    current: Membership,
    /// What NEWLEADER carries: the last seen configuration.
    text: Bytes,
    feeding: Feeding,
    /// Configurations that were committed in this role, and who leads under each: observers are
    /// told with the txn.
    activations: BTreeMap<Zxid, ServerId>,
    half_due: Instant,
}

impl ObserverMaster {
    /// Of a follower whose leader is established in `epoch`.
    pub fn new(
        me: ServerId,
        settings: LeaderSettings,
        ensemble: &Ensemble,
        epoch: u32,
        now: Instant,
    ) -> ObserverMaster {
        assert!(settings.tick_ms >= 2, "there are two pings a tick");
        ObserverMaster {
            settings,
            begin: Zxid::new(epoch, 0),
            current: ensemble.current.clone(),
            text: Bytes::from(ensemble.last_seen.text()),
            feeding: Feeding::new(me, settings),
            activations: BTreeMap::new(),
            half_due: now.plus_ms(settings.tick_ms / 2),
        }
    }

    /// Takes what happened; what a packet asks of the leader comes back.
    pub fn handle<'a>(
        &mut self,
        turn: &mut Turn<'_>,
        input: Input<'a>,
        stock: &Stock<'_>,
    ) -> Option<Passed<'a>> {
        match input {
            Input::Packet { link, packet } => return self.on_packet(turn, link, packet, stock),
            Input::Connected { link, room } => {
                self.feeding.connect(turn, link, Learner::new(turn.now, room, NO_TICK));
            }
            Input::Closed { link } => drop(self.feeding.remove(link)),
            Input::Room { link, bytes } => self.feeding.set_room(link, bytes),
            Input::Probed { link, probed } => self.begin_sync(turn, link, Some(&probed), stock),
            Input::Log { link, records, is_end } => {
                self.on_log(turn, link, (records, is_end), stock);
            }
            Input::Image { link, zxid } => self.feeding.on_image(link, zxid),
            Input::ImageBytes { link, bytes, is_last } => {
                self.feeding.on_image_bytes(turn, link, bytes, is_last);
            }
            Input::Missing { link } => {
                let ground = ground(self.begin, &self.text, stock);
                let replaced = self.feeding.on_missing(turn, link, Some(&ground));
                self.part_unless(turn, link, replaced);
            }
            Input::Sync { link, after } => self.say(turn, link, after, Note::Sync),
            Input::Revalidated { link, revalidated } => {
                // Behind all that is committed by now, the session's creation perhaps.
                self.say(turn, link, stock.committed, Note::Revalidated(revalidated));
            }
            Input::Time => self.on_time(turn, stock),
            // Nothing waits for this server's own disk, and no quorum is asked.
            Input::Durable { .. } | Input::Looking { .. } => {}
        }
        None
    }

    /// Another configuration is the present one, or the last one seen.
    pub fn adopt(&mut self, ensemble: &Ensemble) {
        self.current = ensemble.current.clone();
        self.text = Bytes::from(ensemble.last_seen.text());
    }

    /// The configuration that this txn holds is committed; `leader` leads under it.
    pub fn activate(&mut self, zxid: Zxid, leader: ServerId) {
        self.activations.insert(zxid, leader);
    }

    /// Sends every observer what there is for it and what its socket takes. The end of a turn.
    pub fn flush(&mut self, turn: &mut Turn<'_>, stock: &Stock<'_>) {
        self.take_up(turn, stock);
        let before = turn.out.len();
        self.feeding.flush(turn, &view(self.begin, stock));
        self.add_activations(turn, before);
        self.forget_activations();
    }

    /// The role is over, and with it every link.
    pub fn end(&mut self, turn: &mut Turn<'_>) {
        self.feeding.part_with_all(turn);
    }

    /// When `Input::Time` is due though nothing may happen.
    pub fn next_timeout(&self) -> Instant {
        self.half_due
    }

    /// Whether an observer was told that it is up to date.
    pub fn is_up_to_date(&self, link: ConnId) -> bool {
        self.feeding.is_up_to_date(link)
    }

    pub fn observers<'a>(&'a self, ring: &'a Ring) -> impl Iterator<Item = LearnerView> + 'a {
        self.feeding.views(ring, NO_TICK, |_| false)
    }

    fn on_packet<'a>(
        &mut self,
        turn: &mut Turn<'_>,
        link: ConnId,
        packet: Packet<'a>,
        stock: &Stock<'_>,
    ) -> Option<Passed<'a>> {
        let taken = match self.feeding.hear(link, turn.now)? {
            Stage::AwaitInfo => self.on_info(turn, link, &packet, stock).map(|()| None),
            Stage::AwaitAckEpoch(known) => {
                let known = *known;
                self.on_ack_epoch(turn, link, known, &packet, stock).map(|()| None)
            }
            Stage::AwaitNewLeaderAck { .. } => {
                self.on_first_ack(link, &packet, stock).map(|()| None)
            }
            Stage::Synced { .. } if packet.kind == PacketKind::Ack => {
                self.on_ack(link, packet.zxid).map(|()| None)
            }
            Stage::Synced { .. } => self.feeding.on_synced_packet(link, packet, NO_TICK),
            Stage::AwaitEpoch(_) | Stage::AwaitAgreement { .. } | Stage::AwaitProbe { .. } => {
                Err(Parting::OutOfTurn(packet.kind))
            }
        };
        match taken {
            Ok(passed) => passed,
            Err(why) => {
                self.feeding.part(turn, link, why);
                None
            }
        }
    }

    fn on_info(
        &mut self,
        turn: &mut Turn<'_>,
        link: ConnId,
        packet: &Packet<'_>,
        stock: &Stock<'_>,
    ) -> Result<(), Parting> {
        // Who votes follows the leader.
        if packet.kind != PacketKind::ObserverInfo {
            return Err(Parting::OutOfTurn(packet.kind));
        }
        let (known, _) = self.feeding.read_info(packet, &self.current)?;
        for earlier in self.feeding.earlier_links(link, known.server) {
            self.feeding.part(turn, earlier, Parting::Replaced);
        }
        if known.protocol < LEARNER_PROTOCOL {
            // It does not know of LEADERINFO, and has named its last zxid at once.
            return self.await_stock(turn, link, known, known.said, stock);
        }
        self.feeding.offer_epoch(turn, link, known, self.begin);
        Ok(())
    }

    fn on_ack_epoch(
        &mut self,
        turn: &mut Turn<'_>,
        link: ConnId,
        known: Known,
        packet: &Packet<'_>,
        stock: &Stock<'_>,
    ) -> Result<(), Parting> {
        let (summary, peer) = read_ack_epoch(packet)?;
        let epoch = i64::from(self.begin.epoch());
        let followed = summary.map_or(0, |summary| summary.current_epoch);
        if followed > epoch || peer.0 >> 32 > epoch {
            return Err(self.ahead(peer, followed, stock));
        }
        self.await_stock(turn, link, known, peer, stock)
    }

    /// Brings an observer up once this server has what it has. Whoever was fed by another may have
    /// seen more of this epoch: all of that is committed, and on its way here.
    fn await_stock(
        &mut self,
        turn: &mut Turn<'_>,
        link: ConnId,
        known: Known,
        peer: Zxid,
        stock: &Stock<'_>,
    ) -> Result<(), Parting> {
        self.feeding.set_stage(link, Stage::AwaitAgreement { known, peer });
        self.take_up(turn, stock);
        Ok(())
    }

    fn take_up(&mut self, turn: &mut Turn<'_>, stock: &Stock<'_>) {
        let committed = view(self.begin, stock).committed;
        for (link, peer) in self.awaiting_stock() {
            if peer <= self.begin.max(committed) {
                self.begin_sync(turn, link, None, stock);
            }
        }
    }

    fn awaiting_stock(&self) -> Vec<(ConnId, Zxid)> {
        self.feeding.those(|stage| match stage {
            Stage::AwaitAgreement { peer, .. } => Some(*peer),
            _ => None,
        })
    }

    fn begin_sync(
        &mut self,
        turn: &mut Turn<'_>,
        link: ConnId,
        probed: Option<&Probed>,
        stock: &Stock<'_>,
    ) {
        let ground = ground(self.begin, &self.text, stock);
        let begun = self.feeding.begin_sync(turn, link, probed, &ground);
        self.part_unless(turn, link, begun);
    }

    fn on_first_ack(
        &mut self,
        link: ConnId,
        packet: &Packet<'_>,
        stock: &Stock<'_>,
    ) -> Result<(), Parting> {
        if let FirstAck::NewLeader(_) = self.feeding.on_first_ack(link, packet, self.begin)? {
            self.feeding.welcome(link, view(self.begin, stock).committed);
        }
        Ok(())
    }

    /// Behind UPTODATE comes a second ACK of the epoch, and then none: nobody proposes here.
    fn on_ack(&mut self, link: ConnId, zxid: Zxid) -> Result<(), Parting> {
        if zxid.counter() != 0 {
            return Err(Parting::OutOfTurn(PacketKind::Ack));
        }
        self.feeding.on_ack(link, zxid, NO_TICK);
        Ok(())
    }

    fn on_log(
        &mut self,
        turn: &mut Turn<'_>,
        link: ConnId,
        log: (Vec<Recent>, bool),
        stock: &Stock<'_>,
    ) {
        let before = turn.out.len();
        let sent = self.feeding.on_log(turn, link, log, &view(self.begin, stock));
        self.add_activations(turn, before);
        self.part_unless(turn, link, sent);
    }

    fn say(&mut self, turn: &mut Turn<'_>, link: ConnId, after: Zxid, note: Note) {
        let said = self.feeding.say(link, after, note);
        self.part_unless(turn, link, said);
    }

    fn part_unless(&mut self, turn: &mut Turn<'_>, link: ConnId, done: Result<(), Parting>) {
        if let Err(why) = done {
            self.feeding.part(turn, link, why);
        }
    }

    fn on_time(&mut self, turn: &mut Turn<'_>, stock: &Stock<'_>) {
        if turn.now < self.half_due {
            return;
        }
        self.half_due = turn.now.plus_ms(self.settings.tick_ms / 2);
        for (link, why) in self.feeding.late(turn.now) {
            self.feeding.part(turn, link, why);
        }
        // What these have seen does not come: nobody has proposed it.
        let init_limit_ms = self.settings.init_limit_ms();
        for (link, peer) in self.awaiting_stock() {
            let heard = self.feeding.get(link).map_or(turn.now, |learner| learner.heard);
            if turn.now.ms_since(heard) >= init_limit_ms {
                let why = self.ahead(peer, i64::from(self.begin.epoch()), stock);
                self.feeding.part(turn, link, why);
            }
        }
        self.feeding.ping();
    }

    fn ahead(&self, last_zxid: Zxid, current_epoch: i64, stock: &Stock<'_>) -> Parting {
        let theirs = Summary { current_epoch, last_zxid };
        let current_epoch = i64::from(self.begin.epoch());
        Parting::Ahead(Ahead {
            theirs,
            ours: Summary { current_epoch, last_zxid: stock.committed },
        })
    }

    /// INFORM of a txn that has activated a configuration says who leads under that.
    fn add_activations(&self, turn: &mut Turn<'_>, from: usize) {
        if self.activations.is_empty() {
            return;
        }
        for output in &mut turn.out[from..] {
            if let Output::Send { outgoing, .. } = output
                && let Some(leader) = outgoing.informs_of().and_then(|z| self.activations.get(&z))
            {
                outgoing.activate(*leader);
            }
        }
    }

    /// Those that every observer knows of: one that comes later is told by NEWLEADER.
    fn forget_activations(&mut self) {
        let sent = self.feeding.iter().filter_map(|learner| Some(learner.feed()?.sent()));
        let Some(least) = sent.min() else { return self.activations.clear() };
        self.activations.retain(|zxid, _| *zxid > least);
    }

    /// What must hold between any two inputs.
    pub fn check(&self, stock: &Stock<'_>) {
        stock.ring.check();
        self.feeding.check(&view(self.begin, stock));
        let mut known = self.feeding.iter().filter_map(Learner::known);
        assert!(known.all(|known| known.kind == LearnerKind::Observer), "nobody else is fed");
    }
}

/// Nothing is asked of observers by the tick: who is late is parted with.
const NO_TICK: u64 = 0;

/// What the log was not handed yet is told on when it was.
fn view<'a>(begin: Zxid, stock: &Stock<'a>) -> View<'a> {
    View { ring: stock.ring, begin, committed: stock.committed.min(stock.ring.last()) }
}

fn ground<'a>(begin: Zxid, text: &'a Bytes, stock: &Stock<'a>) -> Ground<'a> {
    let view = view(begin, stock);
    Ground { view, processed: begin.max(view.committed), text }
}

#[cfg(test)]
#[path = "observer_master_tests.rs"]
mod tests;
