//! A server's place in an ensemble: elections, the role that comes of each, and what passes from
//! one role to the next. A lone server has none of it.
//!
//! Between two roles the storage queue drains, so that a vote carries nothing but what is on the
//! disk. Clients are served in a role only.

mod changes;
mod feeding;
mod held;
mod images;
mod leader;
mod leading;
mod learner;
mod learning;
mod leaving;
mod links;
mod locals;
mod masters;
mod measures;
mod observers;
#[cfg(test)]
mod observing_tests;
mod read_only;
#[cfg(test)]
mod reconfig_tests;
mod remembered;
mod requests;
mod settings;
#[cfg(test)]
mod tests;
mod voting;

use std::collections::{BTreeMap, VecDeque};

use crate::base::{ConnId, Instant, ServerId, Zxid, limits};
use crate::config::MemberConfig;
use crate::election::{Election, ElectionOutput, Mesh, MeshOutput};
use crate::history::{Behind, ChoreCommand, FRAME_HEAD_BYTES, StorageCommand, frame_length};
use crate::members::Role as Kind;
use crate::proto::Entry;
use crate::state::State;
use crate::zab::{Ensemble, Leading, Progress, Stock, Tail};

use super::Node;
use super::seam::{Effect, Effects, PeerPort};
use super::upkeep::Reaper;
use held::Held;
use leader::Leader;
use leading::has_no_zxid;
use learner::Learner;
use links::{DialFor, Use};
use locals::Locals;
use masters::Masters;
use measures::Stand;
use read_only::ReadOnly;
use remembered::Remembered;
pub(super) use requests::Wanted;
use settings::{MemberSettings, on_disk, replay_until};

/// What a server that is asked is, by the name that operators know.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    Standalone,
    Looking,
    Leader,
    Follower,
    Observer,
    /// Nobody leads, and clients that only read are served.
    ReadOnly,
}

pub(super) struct Member {
    settings: MemberSettings,
    placed: MemberConfig,
    ensemble: Ensemble,
    /// The version that the files say is active.
    written_version: i64,
    /// The next leader, where the last one has named it.
    designated: Option<ServerId>,
    mesh: Mesh,
    election: Election,
    /// What both want done, in the order in which they said it.
    meant: VecDeque<MeshOutput>,
    told: VecDeque<ElectionOutput>,
    uses: BTreeMap<ConnId, Use>,
    held: Held,
    dials: BTreeMap<u64, DialFor>,
    last_dial: u64,
    /// Which image each learner is sent.
    images: BTreeMap<ConnId, Zxid>,
    /// Whom this server asks in turn where it observes.
    masters: Option<Masters>,
    role: Role,
    /// What the epoch files hold, or will once the queue has drained.
    accepted_epoch: i64,
    current_epoch: i64,
    /// What a voter had accepted that could not follow this server for it.
    promised_elsewhere: i64,
    /// The highest zxid that lies on the disk, of use or not.
    on_disk: Zxid,
    is_lost: bool,
    /// As an observer it has applied what it did not log.
    is_unkept: bool,
    /// Changes would bring the break that ended the last role again.
    wants_image: bool,
    /// Logged and not applied; a role takes it and gives it back.
    tail: Tail,
    remembered: Remembered,
    /// A role has given up an image that the chore thread may still hold.
    gave_up_image: bool,
    /// When an observer that has lost its leader looks for one again.
    rests_until: Option<Instant>,
    looking_since: Instant,
    /// What it was doing when that was told last, and since when it serves nobody where it does
    /// not.
    told_stand: Stand,
    unavailable_since: Instant,
    locals: Locals,
    /// How often the chore thread was asked to rebuild and has not answered: the last one counts.
    rebuilding: u32,
}

/// What this server does, and what it waits for where it does nothing.
enum Role {
    /// That everything handed over is durable. Then the state is rebuilt from the disk, where the
    /// one in memory is none, and an election begins.
    Settling {
        rebuilds: bool,
    },
    AwaitRebuilt,
    /// An observer lets others look for a leader first.
    Resting {
        until: Instant,
    },
    Looking(ReadOnly),
    Leading(Box<Leader>),
    Learning(Box<Learner>),
}

impl Member {
    /// The next numbers of dials are not those of earlier ones, whose outcomes may still come.
    fn next_dial(&mut self, what: DialFor) -> u64 {
        self.last_dial += 1;
        self.dials.insert(self.last_dial, what);
        self.last_dial
    }

    /// It has no role, and votes until it has one.
    fn begin_looking(&mut self) {
        let (grace_ms, is_lost) = (self.settings.read_only_grace_ms, self.is_lost);
        self.role = Role::Looking(ReadOnly::of(grace_ms, is_lost, self.looking_since));
    }

    /// Whether an own snapshot could be taken before there is a role.
    pub fn could_snapshot(&self, state: &State) -> bool {
        matches!(self.role, Role::Leading(_)) && self.tail.replay_until() <= state.last_zxid()
    }

    /// It is to vote now, and its disk has less than its state.
    fn lacks_log(&self) -> bool {
        self.is_unkept && self.settings.learner.is_logging()
    }

    fn leader(&mut self) -> Option<&mut Leader> {
        match &mut self.role {
            Role::Leading(leader) => Some(leader),
            _ => None,
        }
    }

    fn learner(&mut self) -> Option<&mut Learner> {
        match &mut self.role {
            Role::Learning(learner) => Some(learner),
            _ => None,
        }
    }

    /// Whether clients are served, if only those who read. Where its operator wants it, a leader
    /// leaves them to others.
    pub fn serves_clients(&self) -> bool {
        match &self.role {
            Role::Looking(read_only) => *read_only == ReadOnly::Serving,
            _ => self.is_established() && (self.settings.leader_serves || !self.leads()),
        }
    }

    /// Whether a quorum stands behind what this server does.
    pub fn is_established(&self) -> bool {
        match &self.role {
            Role::Leading(leader) => leader.leadership.is_established(),
            Role::Learning(learner) => learner.role.is_established(),
            _ => false,
        }
    }

    pub fn leads(&self) -> bool {
        matches!(&self.role, Role::Leading(leader) if leader.leadership.is_established())
    }

    /// Another write of a client, or of the server itself, can be taken up.
    pub fn has_room<O>(&self, leading: &Leading<O>) -> bool {
        match &self.role {
            Role::Leading(leader) if leader.leadership.is_established() => {
                !has_no_zxid(leading)
                    && leading.unsynced_bytes() < limits::UNSYNCED_BYTES
                    && leading.uncommitted_bytes() < limits::LEADER_UNCOMMITTED_BYTES
            }
            Role::Learning(learner) if learner.role.is_established() => {
                learner.unsent < limits::PEER_UNSENT_BYTES
            }
            _ => false,
        }
    }

    /// What was done in this turn does not end it.
    pub fn wants_turn(&self, may_settle: bool) -> bool {
        match &self.role {
            Role::Settling { .. } => may_settle,
            Role::Learning(learner) => learner.has_more || learner.could_read_on(),
            Role::Leading(leader) => leader.has_more,
            Role::AwaitRebuilt | Role::Resting { .. } | Role::Looking(_) => false,
        }
    }

    pub fn want_turn(&mut self) {
        match &mut self.role {
            Role::Learning(learner) => learner.has_more = true,
            Role::Leading(leader) => leader.has_more = true,
            _ => {}
        }
    }

    pub fn next_timeout(&self) -> Option<Instant> {
        let role = match &self.role {
            Role::Leading(leader) => leader.leadership.next_timeout(),
            Role::Learning(learner) => Some(learner.next_timeout()),
            Role::Resting { until } => Some(*until),
            Role::Looking(read_only) => read_only.next_timeout(),
            Role::Settling { .. } | Role::AwaitRebuilt => None,
        };
        [self.mesh.next_timeout(), self.election.next_timeout(), role].into_iter().flatten().min()
    }

    pub fn progress<O>(&self, leading: &Leading<O>) -> Progress {
        match &self.role {
            Role::Leading(leader) if leader.leadership.is_established() => leading.progress(),
            Role::Learning(learner) => {
                learner.role.progress().unwrap_or_else(|| resting(&self.tail))
            }
            _ => resting(&self.tail),
        }
    }

    pub fn mode(&self) -> Mode {
        match &self.role {
            Role::Looking(ReadOnly::Serving) => Mode::ReadOnly,
            _ if !self.serves_clients() => Mode::Looking,
            Role::Leading(_) => Mode::Leader,
            _ if self.settings.learner.role == Kind::Observer => Mode::Observer,
            _ => Mode::Follower,
        }
    }

    /// What must hold between any two turns.
    pub fn check(&self) {
        self.mesh.check();
        self.election.check();
        self.locals.sessions.check_invariants();
        self.tail.check();
        assert!(self.meant.is_empty() && self.told.is_empty(), "what was wanted is done");
        self.held.check();
        let is_learner = |link| matches!(self.uses.get(&link), Some(Use::Learner(_)));
        assert!(self.held.links().all(is_learner), "what is held is forgotten with its link");
        match &self.role {
            Role::Leading(leader) => leader.leadership.check(),
            Role::Learning(learner) => {
                learner.role.check();
                self.check_observers(learner);
                if let (Some(ring), Some(progress)) =
                    (self.remembered.ring(), learner.role.progress())
                {
                    assert!(ring.is_shed(progress.durable), "what is on the disk is let go");
                }
            }
            _ => {}
        }
    }

    fn check_observers(&self, learner: &Learner) {
        let (Some(observers), Some(progress)) = (&learner.observers, learner.role.progress())
        else {
            return;
        };
        let ring = self.remembered.ring().expect("what is followed is remembered");
        observers.master.check(&Stock { ring, committed: progress.committed });
    }

    /// Whether the state is where the pipeline thinks it is: nothing is half done.
    pub fn is_in_step(&self) -> bool {
        match &self.role {
            Role::Leading(leader) => leader.leadership.is_established(),
            Role::Learning(learner) => learner.role.is_established() && learner.ready.is_none(),
            Role::Looking(read_only) => *read_only == ReadOnly::Serving,
            Role::Settling { .. } | Role::AwaitRebuilt | Role::Resting { .. } => false,
        }
    }
}

/// Where a server stands without a role.
fn resting(tail: &Tail) -> Progress {
    let (logged, applied) = (tail.logged(), tail.applied());
    Progress { logged, durable: logged, committed: applied, applied }
}

impl Node {
    pub fn mode(&self) -> Mode {
        self.member.as_ref().map_or(Mode::Standalone, |member| member.mode())
    }

    /// Whether clients are served at all.
    pub(super) fn serves_clients(&self) -> bool {
        self.member.as_ref().is_none_or(|member| member.serves_clients())
    }

    /// Whether this server is one of those that make a quorum, or learn from them.
    pub(super) fn has_role(&self) -> bool {
        self.member.as_ref().is_none_or(|member| member.is_established())
    }

    /// Whether sessions expire and nodes are reaped here.
    pub(super) fn leads(&self) -> bool {
        self.member.as_ref().is_none_or(|member| member.leads())
    }

    /// Behind all input of a turn: timers of elections and roles, and what follows from a storage
    /// queue that has drained.
    pub(super) fn run_member(&mut self, out: &mut Effects) {
        let now = self.now.mono;
        let Some(member) = self.member.as_deref_mut() else { return };
        if member.mesh.next_timeout().is_some_and(|at| at <= now) {
            self.with_mesh(|mesh, now, out| mesh.handle_timeout(now, out));
        }
        self.carry_out(out);
        let Some(member) = self.member.as_deref_mut() else { return };
        if member.election.next_timeout().is_some_and(|at| at <= now) {
            self.with_election(|election, now, out| election.handle_timeout(now, out));
        }
        self.carry_out(out);
        self.run_leader_timer(out);
        self.run_learner_timer(out);
        self.run_read_only_timer();
        self.settle(out);
        self.end_rest();
        self.carry_out(out);
        self.tell_stand();
    }

    /// Whether nothing that a role has left to the disk is under way there. What ends it is told.
    pub(super) fn may_settle(&self) -> bool {
        let gave_up_image = self.member.as_ref().is_some_and(|member| member.gave_up_image);
        let is_busy = !self.storage_wait.is_idle() || self.snapshots.is_busy();
        !is_busy && !gave_up_image && self.is_serving()
    }

    /// Goes on to the next election once nothing is under way on the disk any more.
    fn settle(&mut self, out: &mut Effects) {
        let may_settle = self.may_settle();
        let Some(member) = self.member.as_deref_mut() else { return };
        let Role::Settling { rebuilds } = member.role else { return };
        if !may_settle {
            return;
        }
        let designated = member.designated.take().filter(|leader| member.may_lead(*leader));
        if rebuilds || member.lacks_log() {
            member.role = Role::AwaitRebuilt;
            return self.ask_to_rebuild(out);
        }
        match designated {
            Some(leader) => self.take_designated(leader),
            None => self.rest_or_look(),
        }
    }

    /// An observer's pause has begun when it lost its leader.
    fn rest_or_look(&mut self) {
        let (now, is_serving) = (self.now.mono, self.is_serving());
        let Some(member) = self.member.as_deref_mut() else { return };
        match member.rests_until.take() {
            Some(until) if until > now && is_serving => member.role = Role::Resting { until },
            _ => self.look_for_leader(),
        }
    }

    fn end_rest(&mut self) {
        let (now, is_serving) = (self.now.mono, self.is_serving());
        let Some(member) = self.member.as_deref_mut() else { return };
        if matches!(member.role, Role::Resting { until } if until <= now) && is_serving {
            self.look_for_leader();
        }
    }

    fn ask_to_rebuild(&mut self, out: &mut Effects) {
        let Some(member) = self.member.as_deref_mut() else { return };
        member.rebuilding += 1;
        out.push(Effect::Chore(ChoreCommand::Rebuild));
    }

    /// The history was recovered once more.
    pub(super) fn on_rebuilt(&mut self, start: super::Start, out: &mut Effects) {
        let Some(member) = self.member.as_deref_mut() else { return };
        member.rebuilding -= 1;
        // What a role that is over has asked for is nobody's state.
        let is_wanted = matches!(member.role, Role::AwaitRebuilt | Role::Learning(_));
        if member.rebuilding > 0 || !is_wanted {
            return;
        }
        member.on_disk = on_disk(&start);
        member.is_lost = start.is_lost;
        member.is_unkept = false;
        let until = replay_until(&start);
        self.state = start.state;
        out.push(Effect::GiveBackMemory);
        self.prepare.clear();
        self.snapshots.restart(start.snapshot, start.behind);
        let tail = Tail::new(self.state.last_zxid(), start.tail, until);
        match &mut member.role {
            Role::AwaitRebuilt => {
                member.tail = tail;
                member.accepted_epoch = start.accepted_epoch;
                member.current_epoch = start.current_epoch;
                self.rest_or_look();
            }
            _ => {
                // The log ends there, and what comes behind it is remembered.
                member.remembered.restart(tail.logged());
                self.reloaded(tail, out);
            }
        }
        self.show_members();
    }

    /// A role is over: clients go, and with them all that waits for it.
    fn leave_role(&mut self, rebuilds: bool, out: &mut Effects) {
        self.part_with_clients(out);
        self.inbox.clear();
        self.left_writes.clear();
        self.returned.clear();
        self.starved.clear();
        self.sessions.clear();
        self.prepare.clear();
        self.give_up_snapshot(out);
        self.reaper = Reaper::new(&self.settings, self.now.mono);
        let Some(member) = self.member.as_deref_mut() else { return };
        let places: Vec<ConnId> = member.uses.keys().copied().collect();
        for link in places {
            let Some(member) = self.member.as_deref_mut() else { return };
            // Who waits for a leader here may have come to the next.
            let is_kept = |used: &Use| {
                matches!(used, Use::Election(_) | Use::Early { port: PeerPort::Quorum, .. })
            };
            if !member.uses.get(&link).is_some_and(is_kept) {
                member.drop_use(link);
                out.push(Effect::Close { conn: link, after_flush: false });
            }
        }
        let Some(member) = self.member.as_deref_mut() else { return };
        member.role = Role::Settling { rebuilds };
        self.with_election(|election, _, out| election.stand_down(out));
    }

    /// Hands a role's command over. The roles number their own, and what they say is done before
    /// anything else is numbered.
    fn hand_over(&mut self, command: StorageCommand, out: &mut Effects) {
        use crate::history::EpochFile;
        self.storage_wait.on_command(command.ticket(), self.now.mono);
        if let Some(member) = self.member.as_deref_mut() {
            match &command {
                StorageCommand::WriteEpoch { file: EpochFile::Accepted, epoch, .. } => {
                    member.accepted_epoch = *epoch;
                }
                StorageCommand::WriteEpoch { file: EpochFile::Current, epoch, .. } => {
                    member.current_epoch = *epoch;
                }
                StorageCommand::Append { last, bytes, .. } => {
                    member.on_disk = member.on_disk.max(*last);
                    member.remembered.push(bytes);
                }
                StorageCommand::InstallSnapshot { zxid, .. } => {
                    member.on_disk = member.on_disk.max(*zxid);
                    member.remembered.restart(*zxid);
                    self.snapshots.restart(Some(*zxid), Behind::default());
                }
                StorageCommand::Truncate { .. } | StorageCommand::CutAbove { .. } => {
                    member.remembered.forget();
                }
                StorageCommand::MarkLost { .. } => member.is_lost = true,
                StorageCommand::ClearLost { .. } => member.is_lost = false,
                _ => {}
            }
        }
        out.push(Effect::Storage(command));
    }
}

/// The entries of whole records that this server has framed.
fn entries(records: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut at = 0;
    std::iter::from_fn(move || {
        let head = records.get(at..)?.first_chunk()?;
        let length = frame_length(head, u64::MAX).expect("this server has framed it");
        let entry = at + FRAME_HEAD_BYTES..at + length - 1;
        at += length;
        Some(&records[entry])
    })
}

/// Txns that were logged, as the tail holds them.
fn entry_of<O>(proposal: crate::zab::Proposal<O>) -> Entry {
    Entry { header: proposal.header, txn: proposal.txn, digest: proposal.digest }
}

/// Addresses as whoever dials takes them.
fn dialable(address: crate::members::HostPort) -> crate::peering::HostPort {
    crate::peering::HostPort { host: address.host, port: address.port }
}
