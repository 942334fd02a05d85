//! Learners fed, by whichever role here feeds any: a leadership, or a follower's observer master.

use crate::base::{ConnId, limits};
use crate::history::ChoreCommand;
use crate::zab::{self, Outgoing, Output, Parting, Wish};

use super::super::Node;
use super::super::seam::{Effect, Effects};
use super::Role;

impl Node {
    /// Tells whoever feeds learners here what happened.
    pub(super) fn tell_feeder(&mut self, input: zab::Input<'_>, out: &mut Effects) {
        match self.member.as_deref().map(|member| &member.role) {
            Some(Role::Leading(_)) => self.tell_leader(input, out),
            Some(Role::Learning(_)) => self.tell_observer_master(input, out),
            _ => {}
        }
    }

    /// Whether a learner was told that it is up to date. Until then it has little to say, and
    /// anybody can come as far as that: requests, which may be large, come behind it.
    pub(super) fn is_up_to_date(&self, link: ConnId) -> bool {
        match self.member.as_deref().map(|member| &member.role) {
            Some(Role::Leading(leader)) => leader.leadership.is_up_to_date(link),
            Some(Role::Learning(learner)) => {
                let observers = learner.observers.as_deref();
                observers.is_some_and(|observers| observers.master.is_up_to_date(link))
            }
            _ => false,
        }
    }

    /// Closes links while all of them hold too much of packets that are not whole. Who votes is
    /// needed.
    pub(super) fn bound_held(&mut self, out: &mut Effects) {
        loop {
            let Some(member) = self.member.as_deref() else { return };
            let all = member.held.all();
            if all <= member.held.most {
                return;
            }
            let may_go = |link| match &member.role {
                Role::Leading(leader) => !leader.leadership.is_voters(link),
                _ => true,
            };
            let Some((link, bytes)) = member.held.largest(may_go) else { return };
            log::warn!(
                "Closing a learner's link: unfinished packets of all learners take {all} bytes, \
                 and this one's {bytes} are the most of those who do not vote"
            );
            self.turn_away(link, out);
        }
    }

    /// What both of them want done.
    pub(super) fn on_feeding_output(&mut self, output: Output, out: &mut Effects) {
        match output {
            Output::Send { link, outgoing } => {
                if let Outgoing::Packet { kind, .. } = outgoing {
                    self.note_to_learner(kind);
                }
                out.send(link, |out| outgoing.write(out));
            }
            Output::Close { link, why } => {
                log::info!("A learner's link is closed: {why:?}");
                if let Parting::Hole(after) = why {
                    self.snapshots.demand_beyond(after);
                }
                self.part_with_link(link, out);
            }
            Output::AskLog { link, zxid } => {
                out.push(Effect::Chore(ChoreCommand::ProbeLog { reader: link, zxid }));
            }
            Output::Wanted { link, wish } => self.on_wish(link, wish, out),
            other => unreachable!("only a leadership wants {other:?}"),
        }
    }

    fn part_with_link(&mut self, link: ConnId, out: &mut Effects) {
        self.stop_reading_for(link, out);
        if let Some(member) = self.member.as_deref_mut() {
            member.drop_use(link);
        }
        out.push(Effect::Close { conn: link, after_flush: false });
    }

    /// Gives a learner's link up, for what the machine has not seen of it.
    pub(super) fn turn_away(&mut self, link: ConnId, out: &mut Effects) {
        self.part_with_link(link, out);
        self.tell_feeder(zab::Input::Closed { link }, out);
    }

    fn on_wish(&mut self, link: ConnId, wish: Wish, out: &mut Effects) {
        match wish {
            Wish::Log { after, bytes } => {
                out.push(Effect::Chore(ChoreCommand::ReadLog { reader: link, after, bytes }));
            }
            Wish::Image => self.find_image(link, out),
            Wish::ImageBytes { offset, bytes } => self.read_image(link, offset, bytes, out),
        }
    }

    /// The last snapshot will do: what the log has behind it is sent behind the image. Where that
    /// is too much, whoever asks comes back once there is another.
    fn find_image(&mut self, link: ConnId, out: &mut Effects) {
        let within = if self.has_role() {
            limits::IMAGE_BEHIND_BYTES
        } else {
            limits::IMAGE_BEHIND_MOST_BYTES
        };
        let fresh = self.snapshots.fresh(within);
        if fresh.is_none() {
            self.snapshots.demand_for_learner();
        }
        let Some(zxid) = fresh.or(self.snapshots.last.filter(|_| !self.could_snapshot())) else {
            return self.tell_feeder(zab::Input::Missing { link }, out);
        };
        if let Some(member) = self.member.as_deref_mut() {
            member.images.insert(link, zxid);
            // It was asked for at the end of a turn, and its bytes are asked for at that of the
            // next.
            member.want_turn();
        }
        self.tell_feeder(zab::Input::Image { link, zxid }, out);
    }

    fn read_image(&mut self, link: ConnId, offset: u64, bytes: usize, out: &mut Effects) {
        let member = self.member.as_deref();
        let Some(zxid) = member.and_then(|member| member.images.get(&link).copied()) else {
            return;
        };
        out.push(Effect::Chore(ChoreCommand::ReadSnapshot { reader: link, zxid, offset, bytes }));
    }

    /// Nothing is read for a learner any more.
    pub(super) fn stop_reading_for(&mut self, link: ConnId, out: &mut Effects) {
        if let Some(member) = self.member.as_deref_mut() {
            member.images.remove(&link);
            out.push(Effect::Chore(ChoreCommand::CloseReader { reader: link }));
        }
    }
}
