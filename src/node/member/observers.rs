//! An observer master carried out: who observes behind this follower, and what passes between him
//! and the leader.

use std::collections::{BTreeMap, VecDeque};

use crate::base::{ConnId, ServerId, SessionId, Zxid, limits};
use crate::peering::{
    AuthId, AuthIds, Forwarded, Revalidate, Revalidated, Touch, read_touches, write_request,
};
use crate::proto::{OpCode, Writer};
use crate::session::Owner;
use crate::zab::{self, ObserverMaster, Passed, Stock};

use super::super::Node;
use super::super::seam::Effects;
use super::{Kind, Role};

/// What goes with an observer master besides the machine itself.
pub(super) struct Observers {
    pub master: ObserverMaster,
    /// Their requests, in the order in which they came, while the leader takes no more.
    asked: VecDeque<Waiting>,
    asked_bytes: usize,
    /// Sessions of theirs that were heard of since the leader was last told.
    touched: BTreeMap<SessionId, i32>,
    /// Through whom each session speaks that has spoken through an observer here. To the leader
    /// all of them speak through this server: what an observer has held up since its client went
    /// to another of them, or came here, it could not tell from what the client says now.
    speakers: BTreeMap<SessionId, Owner>,
}

/// An observer's request on its way to the leader.
struct Waiting {
    link: ConnId,
    is_sync: bool,
    packet: Vec<u8>,
}

impl Observers {
    fn new(master: ObserverMaster) -> Observers {
        let (asked, touched, speakers) = (VecDeque::new(), BTreeMap::new(), BTreeMap::new());
        Observers { master, asked, asked_bytes: 0, touched, speakers }
    }

    /// Whether an observer's link may speak for a session: for one that has come elsewhere, not.
    /// One that nobody has made or moved here is the leader's to judge, and not noted.
    fn may_speak(&self, session: SessionId, link: ConnId) -> bool {
        self.speakers.get(&session).is_none_or(|speaker| *speaker == Owner::Learner(link))
    }

    /// Who was heard of since the leader was last told.
    pub fn take_touches(&mut self) -> impl Iterator<Item = Touch> + use<> {
        let touched = std::mem::take(&mut self.touched);
        touched.into_iter().map(|(session, timeout_ms)| Touch { session, timeout_ms })
    }
}

impl Node {
    /// This follower's leader is established: from now on observers may come.
    pub(super) fn begin_observer_master(&mut self, epoch: i64) {
        let now = self.now.mono;
        let Some(member) = self.member.as_deref_mut() else { return };
        let settings = &member.settings;
        if settings.observer_port.is_none() || settings.learner.role != Kind::Participant {
            return;
        }
        let Role::Learning(learner) = &mut member.role else { return };
        let Ok(epoch) = u32::try_from(epoch) else { return };
        let durable = learner.role.progress().map_or(Zxid::ZERO, |progress| progress.durable);
        if member.remembered.ring().is_none() {
            member.remembered.restart(durable);
        }
        log::info!("Starting ObserverMaster");
        let master =
            ObserverMaster::new(settings.me, settings.leader, &member.ensemble, epoch, now);
        learner.observers = Some(Box::new(Observers::new(master)));
    }

    /// Tells the observer master what happened, does what it wants, and hands on what it has
    /// passed.
    pub(super) fn tell_observer_master(&mut self, input: zab::Input<'_>, out: &mut Effects) {
        let passed =
            self.with_observer_master(out, |master, turn, stock| master.handle(turn, input, stock));
        match passed.flatten() {
            Some(Passed::Request { link, request, ids }) => {
                self.pass_request_on(link, &request, ids, out);
            }
            Some(Passed::Revalidate { link, revalidate }) => {
                self.pass_session_on(link, revalidate, out);
            }
            Some(Passed::Touched { touches, .. }) => self.note_touches(touches),
            None => {}
        }
    }

    fn with_observer_master<R>(
        &mut self,
        out: &mut Effects,
        act: impl FnOnce(&mut ObserverMaster, &mut zab::Turn<'_>, &Stock<'_>) -> R,
    ) -> Option<R> {
        let now = self.now.mono;
        let member = self.member.as_deref_mut()?;
        let (Role::Learning(learner), Some(ring)) = (&mut member.role, member.remembered.ring())
        else {
            return None;
        };
        let committed = learner.role.progress()?.committed;
        let observers = learner.observers.as_deref_mut()?;
        let mut outputs = Vec::new();
        let turn = &mut zab::Turn { now, last_ticket: &mut self.tickets.0, out: &mut outputs };
        let result = act(&mut observers.master, turn, &Stock { ring, committed });
        outputs.into_iter().for_each(|output| self.on_feeding_output(output, out));
        Some(result)
    }

    /// The end of a turn: what is committed leaves for the observers.
    pub(super) fn flush_observers(&mut self, out: &mut Effects) {
        self.with_observer_master(out, |master, turn, stock| master.flush(turn, stock));
    }

    /// The role ends, and with it all of theirs.
    pub(super) fn end_observer_master(&mut self, out: &mut Effects) {
        self.with_observer_master(out, |master, turn, _| master.end(turn));
        if let Some(learner) = self.member.as_deref_mut().and_then(|member| member.learner()) {
            learner.observers = None;
        }
    }

    pub(super) fn run_observer_timer(&mut self, out: &mut Effects) {
        let now = self.now.mono;
        if self.observers().is_some_and(|observers| observers.master.next_timeout() <= now) {
            self.tell_observer_master(zab::Input::Time, out);
        }
    }

    fn observers(&mut self) -> Option<&mut Observers> {
        self.member.as_deref_mut()?.learner()?.observers.as_deref_mut()
    }

    /// Observers hear of a configuration with the txn that holds it, new ones at once.
    pub(super) fn show_observers(&mut self, activated: Option<(Zxid, ServerId)>) {
        let Some(member) = self.member.as_deref_mut() else { return };
        let Role::Learning(learner) = &mut member.role else { return };
        let Some(observers) = learner.observers.as_deref_mut() else { return };
        observers.master.adopt(&member.ensemble);
        if let Some((zxid, leader)) = activated {
            observers.master.activate(zxid, leader);
        }
    }

    /// The leader has answered.
    pub(super) fn on_observer_synced(&mut self, link: ConnId, after: Zxid, out: &mut Effects) {
        self.tell_observer_master(zab::Input::Sync { link, after }, out);
    }

    /// The same; to the leader the session speaks through this server either way.
    pub(super) fn on_observer_revalidated(
        &mut self,
        link: ConnId,
        revalidated: Revalidated,
        out: &mut Effects,
    ) {
        if revalidated.is_valid {
            self.part_with_holder(revalidated.session, out);
            if let Some(observers) = self.observers() {
                observers.speakers.insert(revalidated.session, Owner::Learner(link));
            }
        }
        self.tell_observer_master(zab::Input::Revalidated { link, revalidated }, out);
    }

    /// A session has come to a client of this server.
    pub(super) fn note_here(&mut self, session: SessionId) {
        let speaker = self.observers().and_then(|observers| observers.speakers.get_mut(&session));
        speaker.into_iter().for_each(|speaker| *speaker = Owner::Here);
    }

    /// A session has ended.
    pub(in super::super) fn forget_speaker(&mut self, session: SessionId) {
        if let Some(observers) = self.observers() {
            observers.speakers.remove(&session);
        }
    }

    /// An observer's request goes on to the leader, as it came: whose it is the txn says.
    fn pass_request_on(
        &mut self,
        link: ConnId,
        request: &Forwarded<'_>,
        ids: AuthIds<'_>,
        out: &mut Effects,
    ) {
        let op = OpCode::from_number(request.op);
        let is_sync = op == Some(OpCode::Sync);
        if !is_sync && !op.is_some_and(OpCode::is_write) {
            return log::warn!("An observer forwards a request of type {}: ignored", request.op);
        }
        let ids: Option<Vec<AuthId<'_>>> = (!ids.is_null()).then(|| ids.iter().collect());
        let Some(observers) = self.observers() else { return };
        let mut packet = Vec::new();
        // The end of a session is asked for wherever it was; reads need no leave.
        let is_free = is_sync || op == Some(OpCode::CloseSession);
        if op == Some(OpCode::CreateSession) {
            observers.speakers.insert(request.session, Owner::Learner(link));
        }
        if is_free || observers.may_speak(request.session, link) {
            write_request(request, ids.as_deref(), &mut packet);
        } else {
            log::info!("Session 0x{:x} has moved: an observer's request fails", request.session.0);
            write_request(&failing(request, &nowhere()), ids.as_deref(), &mut packet);
        }
        if observers.asked_bytes + packet.len() > limits::LEADER_FORWARDED_BYTES {
            log::warn!("An observer forwards more than can wait here: its link is closed");
            return self.turn_away(link, out);
        }
        observers.asked_bytes += packet.len();
        observers.asked.push_back(Waiting { link, is_sync, packet });
        self.pass_requests_on(out);
    }

    /// As much of what waits as the leader's link has room for.
    pub(super) fn pass_requests_on(&mut self, out: &mut Effects) {
        loop {
            let Some(member) = self.member.as_deref_mut() else { return };
            let Some(learner) = member.learner() else { return };
            let (Some(leader), Some(observers)) = (learner.link, &mut learner.observers) else {
                return;
            };
            if learner.unsent >= limits::PEER_UNSENT_BYTES {
                return;
            }
            let Some(Waiting { link, is_sync, packet }) = observers.asked.pop_front() else {
                return;
            };
            observers.asked_bytes -= packet.len();
            if is_sync && !learner.role.sync_for(link) {
                self.turn_away_asker(link, out);
                continue;
            }
            learner.unsent += packet.len();
            out.send(leader, |out| out.extend_from_slice(&packet));
        }
    }

    fn pass_session_on(&mut self, link: ConnId, asked: Revalidate, out: &mut Effects) {
        let is_taken = self
            .with_learner(out, |role, turn| Ok(role.revalidate_for(link, asked, turn)))
            .unwrap_or_default();
        if !is_taken {
            self.turn_away_asker(link, out);
        }
    }

    fn turn_away_asker(&mut self, link: ConnId, out: &mut Effects) {
        log::warn!("Observers ask for more than the leader answers: a link is closed");
        self.turn_away(link, out);
    }

    /// The leader hears of them with the next ping.
    fn note_touches(&mut self, touches: &[u8]) {
        let (Some(observers), Ok(touches)) = (self.observers(), read_touches(touches)) else {
            return;
        };
        for Touch { session, timeout_ms } in touches {
            if observers.touched.len() < limits::QUORUM_TOUCHES {
                observers.touched.insert(session, timeout_ms);
            }
        }
    }
}

/// The body of a delete of no path.
fn nowhere() -> Vec<u8> {
    let mut body = Vec::new();
    body.put_string("");
    body.put_i32(-1);
    body
}

/// In the place of a request that must have no effect: its observer waits for a txn all the same,
/// one of Java's would answer nothing of that session before it has come.
fn failing<'a>(request: &Forwarded<'a>, body: &'a [u8]) -> Forwarded<'a> {
    let Forwarded { session, cxid, .. } = *request;
    Forwarded { session, cxid, op: OpCode::Delete.number(), body }
}
