//! When a snapshot is taken, and one being taken: begun at an exact zxid, walked in slices, paced
//! by the chore thread, named by the log thread.

use bytes::Bytes;

use crate::base::{Instant, Rng, Ticket, Zxid, limits};
use crate::history::{
    Behind, ChoreCommand, SnapshotTrailers, SnapshotWriter, StorageCommand, StorageEvent,
};

use super::Node;
use super::seam::{Effect, Effects};
use super::settings::Settings;

/// The stages of a snapshot, each named for what it waits for.
enum Stage {
    Idle,
    /// The walk goes on while the chore thread keeps up.
    Walking(Walk),
    /// Given up; the chore thread still has what it was handed.
    AwaitGivenUp {
        zxid: Zxid,
    },
    AwaitWritten {
        zxid: Zxid,
        began: Instant,
    },
    AwaitInstalled {
        zxid: Zxid,
        began: Instant,
        ticket: Ticket,
    },
}

impl Stage {
    fn zxid(&self) -> Option<Zxid> {
        match self {
            Stage::Idle => None,
            Stage::Walking(walk) => Some(walk.zxid),
            Stage::AwaitGivenUp { zxid }
            | Stage::AwaitWritten { zxid, .. }
            | Stage::AwaitInstalled { zxid, .. } => Some(*zxid),
        }
    }
}

/// A snapshot whose nodes are being walked.
struct Walk {
    writer: SnapshotWriter,
    trailers: SnapshotTrailers,
    zxid: Zxid,
    began: Instant,
    /// Bytes handed over that the chore thread has not written yet.
    queued: usize,
    /// The length of the last chunk.
    chunk_bytes: usize,
}

pub(super) struct Snapshots {
    snap_count: u64,
    size_limit: u64,
    txns: u64,
    bytes: u64,
    /// Java's randomisation: members of an ensemble do not all snapshot at once.
    txns_due: u64,
    bytes_due: u64,
    is_due: bool,
    /// The one that is due is for whoever is brought up with it.
    is_for_learner: bool,
    stage: Stage,
    /// The zxid of the last snapshot.
    pub last: Option<Zxid>,
    /// Bytes logged since there could have been a better one to bring somebody up with.
    outdated_by: u64,
}

impl Snapshots {
    /// `behind`: already behind the last one. A server that is restarted often takes them all the
    /// same.
    pub fn new(settings: &Settings, rng: &mut Rng, behind: Behind) -> Snapshots {
        let mut snapshots = Snapshots {
            snap_count: settings.snap_count,
            size_limit: settings.snap_size_limit_bytes,
            txns: 0,
            bytes: 0,
            txns_due: 0,
            bytes_due: 0,
            is_due: false,
            is_for_learner: false,
            stage: Stage::Idle,
            last: None,
            outdated_by: behind.bytes,
        };
        snapshots.draw(rng);
        snapshots.txns = behind.txns;
        snapshots
    }

    fn draw(&mut self, rng: &mut Rng) {
        let (count, size) = (self.snap_count / 2, self.size_limit / 2);
        self.txns_due = count + rng.below(count);
        self.bytes_due = if size == 0 { u64::MAX } else { size + rng.below(size) };
        self.txns = 0;
        self.bytes = 0;
    }

    /// One is due, whatever was counted.
    pub fn demand(&mut self) {
        self.is_due = true;
    }

    /// The same for a learner. It asks again until it has one: one under way may be what it wants.
    pub fn demand_for_learner(&mut self) {
        if !self.is_busy() {
            (self.is_due, self.is_for_learner) = (true, true);
        }
    }

    /// The same, to bring it over a hole in the log.
    pub fn demand_beyond(&mut self, hole: Zxid) {
        if self.last.is_none_or(|last| last <= hole) {
            self.demand_for_learner();
        }
    }

    /// Counts what was appended; true where the log is to roll and a snapshot to be taken.
    pub fn on_append(&mut self, txns: u64, bytes: u64, rng: &mut Rng) -> bool {
        self.txns += txns;
        self.bytes += bytes;
        self.outdated_by += bytes;
        if self.txns <= self.txns_due && self.bytes <= self.bytes_due {
            return false;
        }
        self.draw(rng);
        if matches!(self.stage, Stage::Idle) {
            self.is_due = true;
        } else {
            log::warn!("Too busy to snap, skipping");
        }
        true
    }

    pub fn on_durable(&mut self, ticket: Ticket, now: Instant) {
        if let Stage::AwaitInstalled { zxid, began, ticket: wanted } = self.stage
            && wanted <= ticket
        {
            log::info!("Snapshot taken in {} ms (0x{zxid:x})", now.ms_since(began));
            (self.last, self.outdated_by) = (Some(zxid), 0);
            self.stage = Stage::Idle;
        }
    }

    /// The disk has another history: its last snapshot, and what the log has behind that.
    pub fn restart(&mut self, last: Option<Zxid>, behind: Behind) {
        (self.last, self.outdated_by) = (last, behind.bytes);
    }

    /// The last one, unless so much was logged since that whoever is brought up with it may not
    /// hold what lies behind it.
    pub fn fresh(&self, within: u64) -> Option<Zxid> {
        self.last.filter(|_| self.outdated_by <= within)
    }

    /// That one cannot be read.
    pub fn on_unread(&mut self, zxid: Zxid) {
        self.last = self.last.filter(|last| *last != zxid);
    }

    /// There is no better one now: the last has to do for as long as a new one would.
    fn make_do(&mut self) {
        self.outdated_by = 0;
    }

    /// One is under way, or was given up and is not let go of.
    pub fn is_busy(&self) -> bool {
        !matches!(self.stage, Stage::Idle)
    }

    /// The walk could go on at once, or begin where it may.
    pub fn wants_turn(&self, may_begin: bool) -> bool {
        match &self.stage {
            Stage::Idle => self.is_due && may_begin,
            Stage::Walking(walk) => walk.queued < limits::SNAPSHOT_PACE_BYTES,
            _ => false,
        }
    }
}

impl Node {
    /// Begins a snapshot that is due, or takes the next slice of the one under way.
    pub(super) fn upkeep_snapshot(&mut self, out: &mut Effects) {
        // One that is asked for while another is under way is taken behind it.
        let may_begin = !self.snapshots.is_busy() && self.may_begin_snapshot();
        if may_begin && std::mem::take(&mut self.snapshots.is_due) {
            self.begin_snapshot(out);
        }
        let Stage::Walking(walk) = &mut self.snapshots.stage else { return };
        let waiting = self.state.snapshot_pending_bytes() + walk.queued;
        if self.state.snapshot_is_overrun() || waiting > limits::SNAPSHOT_QUEUE_BYTES {
            log::warn!(
                "Snapshot of 0x{:x} given up: the disk does not keep up with what changes; the \
                 next is taken when it is due",
                walk.zxid
            );
            self.metrics.snapshot_error_count.one();
            self.snapshots.make_do();
            return self.give_up_snapshot(out);
        }
        if walk.queued >= limits::SNAPSHOT_PACE_BYTES {
            return;
        }
        // About as long as the one before.
        let mut chunk = Vec::with_capacity(walk.chunk_bytes);
        let is_done = self.state.snapshot_step(limits::SNAPSHOT_NODES_PER_TURN, &mut chunk);
        walk.writer.cover(&chunk);
        if is_done {
            return self.end_walk(chunk, out);
        }
        walk.chunk_bytes = chunk.len();
        walk.queued += chunk.len();
        out.push(Effect::Chore(ChoreCommand::SnapshotChunk { bytes: Bytes::from(chunk) }));
    }

    /// A new leader serves before it takes one, unless it needs one to be followed.
    pub(super) fn may_begin_snapshot(&self) -> bool {
        self.has_role() || self.snapshots.is_for_learner && self.could_snapshot()
    }

    /// The state is the ensemble's: who is about to lead has it, unless what it has yet to apply
    /// belongs to the image that it was read from.
    pub(super) fn could_snapshot(&self) -> bool {
        let member = self.member.as_ref();
        self.has_role() || member.is_some_and(|member| member.could_snapshot(&self.state))
    }

    /// The one under way is not wanted any more, unless it only waits for its name.
    pub(super) fn give_up_snapshot(&mut self, out: &mut Effects) {
        let (Stage::Walking(Walk { zxid, .. }) | Stage::AwaitWritten { zxid, .. }) =
            &self.snapshots.stage
        else {
            return;
        };
        let zxid = *zxid;
        self.state.snapshot_abandon();
        out.push(Effect::Chore(ChoreCommand::SnapshotAbandon));
        self.snapshots.stage = Stage::AwaitGivenUp { zxid };
    }

    fn end_walk(&mut self, mut chunk: Vec<u8>, out: &mut Effects) {
        let Stage::Walking(walk) = std::mem::replace(&mut self.snapshots.stage, Stage::Idle) else {
            unreachable!("only a walk ends")
        };
        walk.writer.finish(&walk.trailers, &mut chunk);
        out.push(Effect::Chore(ChoreCommand::SnapshotChunk { bytes: Bytes::from(chunk) }));
        out.push(Effect::Chore(ChoreCommand::SnapshotEnd));
        self.snapshots.stage = Stage::AwaitWritten { zxid: walk.zxid, began: walk.began };
    }

    fn begin_snapshot(&mut self, out: &mut Effects) {
        let zxid = self.state.last_zxid();
        self.snapshots.is_for_learner = false;
        log::info!("Snapshotting: 0x{zxid:x} to snapshot.{zxid:x}");
        self.state.snapshot_begin();
        let trailers = SnapshotTrailers {
            digest: self.settings.digest.then(|| (zxid, self.state.digest())),
            last_processed: self.settings.serialize_last_zxid.then_some(zxid),
        };
        let mut head = Vec::new();
        let writer = SnapshotWriter::begin(&mut head);
        let (began, queued) = (self.now.mono, head.len());
        let walk = Walk { writer, trailers, zxid, began, queued, chunk_bytes: 0 };
        self.snapshots.stage = Stage::Walking(walk);
        out.push(Effect::Chore(ChoreCommand::SnapshotBegin { zxid }));
        out.push(Effect::Chore(ChoreCommand::SnapshotChunk { bytes: Bytes::from(head) }));
    }

    /// What the chore thread says.
    pub(super) fn on_chore(&mut self, event: &StorageEvent, out: &mut Effects) {
        match (event, &mut self.snapshots.stage) {
            (StorageEvent::SnapshotProgress { bytes }, Stage::Walking(walk)) => {
                walk.queued = walk.queued.saturating_sub(*bytes);
            }
            (StorageEvent::SnapshotWritten { zxid }, Stage::AwaitWritten { zxid: ours, began })
                if zxid == ours =>
            {
                let (zxid, began) = (*zxid, *began);
                let ticket = self.next_ticket();
                out.push(Effect::Storage(StorageCommand::InstallSnapshot { ticket, zxid }));
                self.snapshots.stage = Stage::AwaitInstalled { zxid, began, ticket };
            }
            // The chore thread has let go of it.
            (StorageEvent::SnapshotAbandoned, stage @ Stage::AwaitGivenUp { .. }) => {
                *stage = Stage::Idle;
            }
            // It had failed before it heard of our wish.
            (StorageEvent::SnapshotFailed { .. }, Stage::AwaitGivenUp { .. }) => {}
            (StorageEvent::SnapshotFailed { zxid, reason }, stage) => {
                log::error!("Snapshot of 0x{zxid:x} failed: {reason}");
                self.metrics.snapshot_error_count.one();
                if stage.zxid() == Some(*zxid) {
                    self.state.snapshot_abandon();
                    self.snapshots.stage = Stage::Idle;
                    self.snapshots.make_do();
                }
            }
            (StorageEvent::DirSizes { data, log }, _) => self.dir_sizes = Some((*data, *log)),
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::{Now, WallMillis};
    use crate::config::Config;
    use crate::node::{Event, Start};
    use crate::state::{State, StateSettings};

    const NOW: Now = Now { mono: Instant(1_000_000_000), wall: WallMillis(1) };

    /// Its first snapshot is due.
    fn node() -> Node {
        let start = Start {
            state: State::new(&StateSettings::default()),
            tail: Vec::new(),
            last_logged: Zxid::ZERO,
            replay_until: Zxid::ZERO,
            wants_snapshot: true,
            mismatches: 0,
            behind: Default::default(),
            accepted_epoch: 0,
            current_epoch: 0,
            is_lost: false,
            snapshot: None,
            directory_kept_ms: u64::MAX,
        };
        Node::new(&Config::for_tests(), start, NOW, 7).expect("a node")
    }

    #[test]
    fn a_snapshot_that_was_given_up_and_fails_late_leaves_the_next_alone() {
        let mut node = node();
        let mut tell = |events: &[Event<'_>]| {
            let mut out = Effects::default();
            node.turn(NOW, events, &mut out);
            out.list
        };
        let zxid = Zxid::ZERO;
        let asked = tell(&[]);
        assert!(asked.contains(&Effect::Chore(ChoreCommand::SnapshotEnd)), "{asked:?}");
        let late = StorageEvent::SnapshotFailed { zxid: Zxid(9), reason: "late".to_owned() };
        assert_eq!(tell(&[Event::Storage(late)]), []);
        let asked = tell(&[Event::Storage(StorageEvent::SnapshotWritten { zxid })]);
        let is_install =
            |e: &Effect| matches!(e, Effect::Storage(StorageCommand::InstallSnapshot { .. }));
        assert!(asked.iter().any(is_install), "{asked:?}");
    }

    #[test]
    fn one_is_taken_at_a_time() {
        let mut node = node();
        let begins = |node: &mut Node, events: &[Event<'_>]| {
            let mut out = Effects::default();
            node.turn(NOW, events, &mut out);
            let is_begin =
                |e: &&Effect| matches!(e, Effect::Chore(ChoreCommand::SnapshotBegin { .. }));
            let ticket = out.list.iter().find_map(|e| match e {
                Effect::Storage(command) => Some(command.ticket()),
                _ => None,
            });
            (out.list.iter().filter(is_begin).count(), ticket)
        };
        assert_eq!(begins(&mut node, &[]), (1, None));
        node.snapshots.demand();
        assert_eq!(begins(&mut node, &[]), (0, None), "the first is not written");
        let written = StorageEvent::SnapshotWritten { zxid: Zxid::ZERO };
        let (none, ticket) = begins(&mut node, &[Event::Storage(written)]);
        let ticket = ticket.expect("it gets its name");
        assert_eq!(none, 0);
        let durable = StorageEvent::Durable { ticket, sync_us: 0 };
        assert_eq!(begins(&mut node, &[Event::Storage(durable)]), (1, None));
    }

    #[test]
    fn a_snapshot_with_too_much_behind_it_is_not_fresh() {
        let (mut rng, most) = (Rng::new(1), limits::IMAGE_BEHIND_BYTES);
        let Node { settings, .. } = node();
        let mut snapshots = Snapshots::new(&settings, &mut rng, Behind::default());
        assert_eq!(snapshots.fresh(most), None, "there is none");
        snapshots.restart(Some(Zxid(7)), Behind { txns: 1, bytes: most });
        assert_eq!(snapshots.fresh(most), Some(Zxid(7)));
        snapshots.on_append(1, 1, &mut rng);
        assert_eq!((snapshots.fresh(most), snapshots.last), (None, Some(Zxid(7))));
        snapshots.make_do();
        assert_eq!(snapshots.fresh(most), Some(Zxid(7)), "where the disk gives no other");
        snapshots.on_unread(Zxid(6));
        assert_eq!(snapshots.last, Some(Zxid(7)), "it was another");
        snapshots.demand_beyond(Zxid(6));
        assert!(!snapshots.is_due, "this one will do");
        snapshots.demand_beyond(Zxid(7));
        assert!(snapshots.is_due);
        snapshots.on_unread(Zxid(7));
        assert_eq!(snapshots.fresh(u64::MAX), None);
    }
}
