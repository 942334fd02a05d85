//! The learners that a server feeds, be it a leader or an observer master: who they say they are,
//! how each is brought to this server's history, what each is sent, who is late.
//!
//! It knows of no quorum: what an ACK is worth and when a learner is up to date, its owner says.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use log::{info, warn};

use crate::base::{ConnId, Instant, ServerId, Zxid, limits};
use crate::members::Membership;
use crate::peering::{
    AckEpoch, Forwarded, LEARNER_PROTOCOL, LeaderInfo, LearnerInfo, Packet, PacketKind, Revalidate,
    read_touches,
};

use super::discovery::{LAST_EPOCH, Summary};
use super::feed::{Feed, LearnerKind, Note, Outgoing, TooMany, View};
use super::leadership::{LeaderSettings, LearnerView, Output, Parting, Passed, Turn};
use super::learner::{AckWatch, Known, Learner, Patience, Stage};
use super::ring::{Recent, Ring};
use super::sync::{Decision, Facts, Probed, Reason, Verdict, decide};

/// What learners are brought to.
#[derive(Clone, Copy, Debug)]
pub(super) struct Ground<'a> {
    pub view: View<'a>,
    /// What Apache calls the last processed zxid.
    pub processed: Zxid,
    /// What NEWLEADER carries: the last seen configuration.
    pub text: &'a Bytes,
}

/// What was acknowledged by a learner that is brought up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum FirstAck {
    NewLeader(Known),
    Other(Zxid),
}

#[derive(Debug)]
pub(super) struct Feeding {
    me: ServerId,
    settings: LeaderSettings,
    learners: BTreeMap<ConnId, Learner>,
    /// Who is sent an image next, since what it misses could not be sent.
    image_next: BTreeSet<ServerId>,
    /// Learners of before 3.4 that do not say who they are are numbered downwards.
    next_anonymous: i64,
}

impl Feeding {
    pub fn new(me: ServerId, settings: LeaderSettings) -> Feeding {
        let (learners, image_next) = (BTreeMap::new(), BTreeSet::new());
        Feeding { me, settings, learners, image_next, next_anonymous: -1 }
    }

    pub fn connect(&mut self, turn: &mut Turn<'_>, link: ConnId, learner: Learner) {
        if self.learners.len() >= limits::LEARNERS {
            return turn.out.push(Output::Close { link, why: Parting::TooManyLearners });
        }
        let earlier = self.learners.insert(link, learner);
        assert!(earlier.is_none(), "a link is opened once");
    }

    /// The link is gone.
    pub fn remove(&mut self, link: ConnId) -> Option<Learner> {
        self.learners.remove(&link)
    }

    /// Gives a learner's link up.
    pub fn part(&mut self, turn: &mut Turn<'_>, link: ConnId, why: Parting) -> Option<Learner> {
        let learner = self.learners.remove(&link)?;
        let sid = learner.server().map_or(0, |server| server.0);
        warn!("******* GOODBYE sid:{sid} ******** ({why:?})");
        turn.out.push(Output::Close { link, why });
        Some(learner)
    }

    /// The role is over.
    pub fn part_with_all(&mut self, turn: &mut Turn<'_>) {
        for (link, _) in std::mem::take(&mut self.learners) {
            turn.out.push(Output::Close { link, why: Parting::RoleEnded });
        }
    }

    /// A learner has said something: what is awaited of it.
    pub fn hear(&mut self, link: ConnId, now: Instant) -> Option<&Stage> {
        let learner = self.learners.get_mut(&link)?;
        learner.heard = now;
        Some(&learner.stage)
    }

    /// Who a learner says that it is, and the epoch that it has accepted.
    pub fn read_info(
        &mut self,
        packet: &Packet<'_>,
        current: &Membership,
    ) -> Result<(Known, i64), Parting> {
        let kind = match packet.kind {
            PacketKind::FollowerInfo => LearnerKind::Follower,
            PacketKind::ObserverInfo => LearnerKind::Observer,
            other => return Err(Parting::OutOfTurn(other)),
        };
        let info = match packet.data {
            Some(data) => LearnerInfo::read(data).map_err(Parting::Undecodable)?,
            None => self.number_anonymous(),
        };
        let LearnerInfo { server, protocol, config_version } = info;
        if server == self.me {
            return Err(Parting::OurId);
        }
        let ours = current.version;
        if let Some(version) = config_version.filter(|version| *version > ours) {
            return Err(Parting::NewerConfiguration(version));
        }
        let accepted = packet.zxid.0 >> 32;
        // Java's has accepted −1 where it was not to make its own database.
        if !(-1..LAST_EPOCH).contains(&accepted) {
            return Err(Parting::Epoch(accepted));
        }
        match current.members.get(&server) {
            Some(member) => info!("Follower sid: {} : info : {member}", server.0),
            None => info!("Follower sid: {} not in the current config {ours:x}", server.0),
        }
        Ok((Known { server, kind, protocol, said: packet.zxid }, accepted))
    }

    /// Java's numbering, which nobody looks at.
    fn number_anonymous(&mut self) -> LearnerInfo {
        let server = ServerId(self.next_anonymous);
        self.next_anonymous -= 1;
        LearnerInfo { server, protocol: 1, config_version: None }
    }

    /// The links over which a server had come before: it has lost them, whether we have noticed or
    /// not.
    pub fn earlier_links(&self, link: ConnId, server: ServerId) -> Vec<ConnId> {
        let is_earlier = |(other, learner): &(&ConnId, &Learner)| {
            **other != link && learner.server() == Some(server)
        };
        self.learners.iter().filter(is_earlier).map(|(other, _)| *other).collect()
    }

    pub fn set_stage(&mut self, link: ConnId, stage: Stage) {
        if let Some(learner) = self.learners.get_mut(&link) {
            learner.stage = stage;
        }
    }

    pub fn those<T>(&self, wanted: impl Fn(&Stage) -> Option<T>) -> Vec<(ConnId, T)> {
        let found = |(link, learner): (&ConnId, &Learner)| Some((*link, wanted(&learner.stage)?));
        self.learners.iter().filter_map(found).collect()
    }

    /// LEADERINFO, to one who knows of it: the epoch that begins so.
    pub fn offer_epoch(&mut self, turn: &mut Turn<'_>, link: ConnId, known: Known, begin: Zxid) {
        let mut data = Vec::with_capacity(4);
        LeaderInfo { protocol: LEARNER_PROTOCOL }.write(&mut data);
        let (kind, data) = (PacketKind::LeaderInfo, Some(Bytes::from(data)));
        let outgoing = Outgoing::Packet { kind, zxid: begin, data };
        turn.out.push(Output::Send { link, outgoing });
        if let Some(learner) = self.learners.get_mut(&link) {
            learner.heard = turn.now;
            learner.stage = Stage::AwaitAckEpoch(known);
        }
    }

    /// Decides how a learner is brought to our history, as soon as the log has said what it must.
    pub fn begin_sync(
        &mut self,
        turn: &mut Turn<'_>,
        link: ConnId,
        probed: Option<&Probed>,
        ground: &Ground<'_>,
    ) -> Result<(), Parting> {
        let Some(learner) = self.learners.get(&link) else { return Ok(()) };
        let (Stage::AwaitAgreement { known, peer } | Stage::AwaitProbe { known, peer }) =
            learner.stage
        else {
            return Ok(());
        };
        let LeaderSettings { force_snap, log_sync: log, .. } = self.settings;
        let Ground { view, processed, .. } = *ground;
        let facts =
            Facts { force_snap, processed, committed: view.committed, ring: view.ring, log };
        let verdict = match self.image_next.contains(&known.server) {
            true => Verdict::Decided(Decision::Snap, Reason::Hole),
            false => decide(&facts, peer, probed),
        };
        match verdict {
            Verdict::AskLog => {
                self.set_stage(link, Stage::AwaitProbe { known, peer });
                turn.out.push(Output::AskLog { link, zxid: peer });
                Ok(())
            }
            Verdict::Decided(decision, reason) => {
                log_sync(&facts, known.server, peer, decision, reason);
                self.start_feed(turn, link, known, decision, ground)
            }
        }
    }

    fn start_feed(
        &mut self,
        turn: &mut Turn<'_>,
        link: ConnId,
        known: Known,
        decision: Decision,
        ground: &Ground<'_>,
    ) -> Result<(), Parting> {
        let by_snap = decision == Decision::Snap;
        let syncing = self.learners.values().filter(|l| l.is_syncing_by_snap() == Some(by_snap));
        let LeaderSettings { max_snap_syncs, max_diff_syncs, .. } = self.settings;
        let most = if by_snap { max_snap_syncs } else { max_diff_syncs };
        // Those who vote are needed.
        if known.kind == LearnerKind::Observer && syncing.count() >= most {
            return Err(Parting::TooManySyncs);
        }
        let text = (known.protocol >= LEARNER_PROTOCOL).then(|| ground.text.clone());
        if let Some(learner) = self.learners.get_mut(&link) {
            let feed = Feed::new(known.kind, decision, &ground.view, text, learner.room);
            learner.heard = turn.now;
            learner.stage = Stage::AwaitNewLeaderAck { known, feed, is_snap: by_snap };
        }
        Ok(())
    }

    /// All that comes before the ACK of NEWLEADER are ACKs: servers of some versions acknowledge
    /// what they were sent before it, too.
    pub fn on_first_ack(
        &mut self,
        link: ConnId,
        packet: &Packet<'_>,
        begin: Zxid,
    ) -> Result<FirstAck, Parting> {
        if packet.kind != PacketKind::Ack {
            return Err(Parting::OutOfTurn(packet.kind));
        }
        let Some(learner) = self.learners.get_mut(&link).filter(|_| packet.zxid == begin) else {
            return Ok(FirstAck::Other(packet.zxid));
        };
        if !learner.feed().is_some_and(Feed::has_new_leader) {
            return Err(Parting::OutOfTurn(packet.kind));
        }
        let Stage::AwaitNewLeaderAck { known, feed, .. } =
            std::mem::replace(&mut learner.stage, Stage::AwaitInfo)
        else {
            panic!("only who is brought up is awaited so");
        };
        learner.stage = Stage::Synced { known, feed };
        self.image_next.remove(&known.server);
        Ok(FirstAck::NewLeader(known))
    }

    /// The learner may serve clients once it has been told of what is committed by now.
    pub fn welcome(&mut self, link: ConnId, committed: Zxid) {
        if let Some(feed) = self.learners.get_mut(&link).and_then(Learner::feed_mut) {
            feed.say(committed, Note::UpToDate).expect("it is the first thing that is said to it");
        }
    }

    /// An ACK of one that has the history.
    pub fn on_ack(&mut self, link: ConnId, zxid: Zxid, deadline_tick: u64) {
        let Some(learner) = self.learners.get_mut(&link) else { return };
        if learner.feed().is_some_and(Feed::is_up_to_date) {
            learner.deadline_tick = deadline_tick;
        }
        learner.watch.on_ack(zxid);
    }

    /// Anything else of one that has the history.
    pub fn on_synced_packet<'a>(
        &mut self,
        link: ConnId,
        packet: Packet<'a>,
        deadline_tick: u64,
    ) -> Result<Option<Passed<'a>>, Parting> {
        let Some(learner) = self.learners.get_mut(&link) else { return Ok(None) };
        let Stage::Synced { feed, .. } = &learner.stage else { return Ok(None) };
        // It serves nobody before it was told that it is up to date.
        if !feed.is_up_to_date() {
            return Err(Parting::OutOfTurn(packet.kind));
        }
        let pings = feed.pings();
        learner.deadline_tick = deadline_tick;
        let undecodable = Parting::Undecodable;
        match packet.kind {
            PacketKind::Ping => {
                let touches = packet.data.unwrap_or_default();
                read_touches(touches).map(drop).map_err(undecodable)?;
                learner.answered = pings.min(learner.answered + 1);
                let is_any = !touches.is_empty();
                Ok(is_any.then_some(Passed::Touched { link, touches }))
            }
            PacketKind::Revalidate => {
                let revalidate = packet.body().and_then(Revalidate::read).map_err(undecodable)?;
                Ok(Some(Passed::Revalidate { link, revalidate }))
            }
            PacketKind::Request => {
                let request = packet.body().and_then(Forwarded::read).map_err(undecodable)?;
                Ok(Some(Passed::Request { link, request, ids: packet.ids }))
            }
            other => Err(Parting::OutOfTurn(other)),
        }
    }

    /// Says something to one learner, once it was told of everything up to `after`.
    pub fn say(&mut self, link: ConnId, after: Zxid, note: Note) -> Result<(), Parting> {
        let feed = self.learners.get_mut(&link).and_then(Learner::feed_mut);
        let said = feed.map_or(Ok(()), |feed| feed.say(after, note));
        said.map_err(|TooMany| Parting::TooManyNotes)
    }

    pub fn set_room(&mut self, link: ConnId, bytes: usize) {
        if let Some(learner) = self.learners.get_mut(&link) {
            learner.room = bytes;
            if let Some(feed) = learner.feed_mut() {
                feed.set_room(bytes);
            }
        }
    }

    pub fn on_log(
        &mut self,
        turn: &mut Turn<'_>,
        link: ConnId,
        (records, is_end): (Vec<Recent>, bool),
        view: &View<'_>,
    ) -> Result<(), Parting> {
        let Some(learner) = self.learners.get_mut(&link) else { return Ok(()) };
        let is_synced = learner.is_synced();
        let Learner { stage, watch, heard, .. } = learner;
        let (Stage::AwaitNewLeaderAck { feed, known, .. } | Stage::Synced { feed, known }) = stage
        else {
            return Ok(());
        };
        if !feed.has_new_leader() {
            *heard = turn.now;
        }
        let server = known.server;
        let watch = is_synced.then_some(watch);
        let sent =
            feed.on_log(records, is_end, view, &mut sending(link, watch, turn.now, turn.out));
        sent.map_err(|hole| {
            self.image_next.insert(server);
            Parting::Hole(hole.after)
        })
    }

    pub fn on_image(&mut self, link: ConnId, zxid: Zxid) {
        if let Some(feed) = self.learners.get_mut(&link).and_then(Learner::feed_mut) {
            feed.on_image(zxid);
        }
    }

    pub fn on_image_bytes(
        &mut self,
        turn: &mut Turn<'_>,
        link: ConnId,
        bytes: Bytes,
        is_last: bool,
    ) {
        let Some(learner) = self.learners.get_mut(&link) else { return };
        learner.heard = turn.now;
        if let Some(feed) = learner.feed_mut() {
            let mut send = |outgoing| turn.out.push(Output::Send { link, outgoing });
            feed.on_image_bytes(bytes, is_last, &mut send);
        }
    }

    /// What a learner was to be sent is not there: an image takes the place of the log, where it
    /// has not been told yet how it is brought up.
    pub fn on_missing(
        &mut self,
        turn: &mut Turn<'_>,
        link: ConnId,
        ground: Option<&Ground<'_>>,
    ) -> Result<(), Parting> {
        let Some(learner) = self.learners.get(&link) else { return Ok(()) };
        if learner.is_syncing_by_snap() != Some(true) {
            self.image_next.extend(learner.server());
        }
        let is_untold = matches!(learner.stage, Stage::AwaitProbe { .. });
        match ground.filter(|_| is_untold) {
            Some(ground) => self.begin_sync(turn, link, None, ground),
            None => Err(Parting::Missing),
        }
    }

    /// Sends every learner what there is for it and what its socket takes.
    pub fn flush(&mut self, turn: &mut Turn<'_>, view: &View<'_>) {
        for (link, learner) in &mut self.learners {
            pump(*link, learner, view, turn);
        }
    }

    /// A sign of life is due.
    pub fn ping(&mut self) {
        for learner in self.learners.values_mut().filter(|learner| learner.is_synced()) {
            learner.feed_mut().expect("it was brought up by one").ping();
        }
    }

    /// Who has said nothing for too long, or has not acknowledged.
    pub fn late(&self, now: Instant) -> Vec<(ConnId, Parting)> {
        let late = |learner: &Learner| self.lateness(learner, now);
        self.learners.iter().filter_map(|(link, learner)| Some((*link, late(learner)?))).collect()
    }

    fn lateness(&self, learner: &Learner, now: Instant) -> Option<Parting> {
        let silent_ms = now.ms_since(learner.heard);
        let is_silent = match learner.patience() {
            Patience::Endless => false,
            Patience::InitLimit => silent_ms >= self.settings.init_limit_ms(),
            Patience::SyncLimit => silent_ms >= self.settings.sync_limit_ms(),
        };
        if is_silent {
            return Some(Parting::Silent);
        }
        let is_overdue = learner.watch.waits_ms(now) >= self.settings.sync_limit_ms();
        is_overdue.then_some(Parting::AckOverdue)
    }

    /// Whether it was told so.
    pub fn is_up_to_date(&self, link: ConnId) -> bool {
        self.get(link).and_then(Learner::feed).is_some_and(Feed::is_up_to_date)
    }

    pub fn get(&self, link: ConnId) -> Option<&Learner> {
        self.learners.get(&link)
    }

    pub fn iter(&self) -> impl Iterator<Item = &Learner> {
        self.learners.values()
    }

    pub fn len(&self) -> usize {
        self.learners.len()
    }

    /// What operators see of the learners that have said who they are.
    pub fn views(
        &self,
        ring: &Ring,
        tick: u64,
        is_voter: impl Fn(ServerId) -> bool,
    ) -> impl Iterator<Item = LearnerView> {
        self.learners.values().filter_map(move |learner| {
            let known = learner.known()?;
            let feed = learner.feed();
            Some(LearnerView {
                server: known.server,
                kind: known.kind,
                is_voter: is_voter(known.server),
                is_synced: learner.is_synced() && tick <= learner.deadline_tick,
                sent: feed.map(|feed| (feed.sent(), feed.source(ring))),
                pings: (feed.map_or(0, Feed::pings), learner.answered),
                is_by_snap: learner.is_syncing_by_snap(),
            })
        })
    }

    /// What must hold between any two inputs.
    pub fn check(&self, view: &View<'_>) {
        self.learners.values().filter_map(Learner::feed).for_each(|feed| feed.check(view));
    }
}

/// What a learner has answered to the epoch: where it followed last, unless it had accepted the
/// epoch before, and where its history ends.
pub(super) fn read_ack_epoch(packet: &Packet<'_>) -> Result<(Option<Summary>, Zxid), Parting> {
    if packet.kind != PacketKind::AckEpoch {
        return Err(Parting::OutOfTurn(packet.kind));
    }
    let said = packet.body().and_then(AckEpoch::read).map_err(Parting::Undecodable)?;
    let last_zxid = packet.zxid;
    let summary = said.current_epoch.map(|current_epoch| Summary { current_epoch, last_zxid });
    Ok((summary, last_zxid))
}

fn log_sync(facts: &Facts<'_>, server: ServerId, peer: Zxid, decision: Decision, reason: Reason) {
    info!(
        "Synchronizing with Learner sid: {} maxCommittedLog=0x{:x} minCommittedLog=0x{:x} \
         lastProcessedZxid=0x{:x} peerLastZxid=0x{peer:x}",
        server.0,
        facts.committed,
        facts.ring.after(),
        facts.processed
    );
    let zxid = match decision {
        Decision::Diff { zxid, .. } | Decision::Trunc { zxid } => zxid,
        Decision::Snap => facts.committed,
    };
    let name = decision.name();
    info!("Sending {name} zxid=0x{zxid:x}  for peer sid: {}: {reason}", server.0);
}

/// Notes when proposals leave, of learners that are to acknowledge them in time.
fn sending<'a>(
    link: ConnId,
    mut watch: Option<&'a mut AckWatch>,
    now: Instant,
    out: &'a mut Vec<Output>,
) -> impl FnMut(Outgoing) + 'a {
    move |outgoing| {
        if let (Some(watch), Outgoing::Packet { kind: PacketKind::Proposal, zxid, .. }) =
            (&mut watch, &outgoing)
        {
            watch.on_sent(*zxid, now);
        }
        out.push(Output::Send { link, outgoing });
    }
}

fn pump(link: ConnId, learner: &mut Learner, view: &View<'_>, turn: &mut Turn<'_>) {
    let is_synced = learner.is_synced();
    let Learner { stage, watch, heard, .. } = learner;
    let (Stage::AwaitNewLeaderAck { feed, .. } | Stage::Synced { feed, .. }) = stage else {
        return;
    };
    let (was_up_to_date, room) = (feed.is_up_to_date(), feed.room());
    let was_told_of_leader = feed.has_new_leader();
    let watch = is_synced.then_some(watch);
    let wish = feed.pump(view, &mut sending(link, watch, turn.now, turn.out));
    // What a learner takes up to NEWLEADER is a sign of its life; behind that its ACK is owed, and
    // there is room for more though nobody takes it.
    let is_taking = !was_told_of_leader && feed.room() < room;
    if is_taking || feed.is_up_to_date() != was_up_to_date {
        *heard = turn.now;
    }
    turn.out.extend(wish.map(|wish| Output::Wanted { link, wish }));
}
