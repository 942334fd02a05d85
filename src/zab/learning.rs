//! From an agreed epoch to a leader that is established: DIFF, TRUNC or SNAP, the txns behind it,
//! NEWLEADER, UPTODATE.
//!
//! The order on the disk is the order of the storage queue: what the leader has sent, the epoch,
//! and only then the ACK of NEWLEADER. Nothing is sent before that ACK, and the ACKs of proposals
//! leave behind it.

use std::collections::VecDeque;

use bytes::Bytes;

use crate::base::{Instant, Ticket, Zxid};
use crate::history::{ChoreCommand, EpochFile};
use crate::members::Membership;
use crate::peering::{Packet, PacketKind};
use crate::proto::Entry;

use super::joining::LeaderForm;
use super::learner_end::LearnerEnd;
use super::learner_seam::{
    LearnerOutput, LearnerSettings, LearnerStorage, LearnerTurn, Left, Reads, Standing, SyncKind,
    ToLeader,
};
use super::ledger::Ledger;
use super::reading::check_epoch;
use super::receiving::{ImageSink, Receiving};
use super::tail::{Tail, TailCut};
use super::watch::Watch;

/// What there is to wait for.
#[derive(Debug)]
enum Stage {
    /// DIFF, TRUNC or SNAP.
    AwaitSync,
    AwaitImage(Box<Receiving>),
    /// The chore thread writes and syncs the image's last bytes.
    AwaitWritten {
        zxid: Zxid,
    },
    /// The disk cuts away what the state holds.
    AwaitTruncated {
        ticket: Ticket,
        zxid: Zxid,
    },
    AwaitReloaded {
        zxid: Zxid,
    },
    /// The history's txns, and NEWLEADER.
    AwaitNewLeader,
    /// NEWLEADER has come; the disk removes what lies above the image.
    AwaitCut {
        ticket: Ticket,
    },
    /// NEWLEADER has come; the log has no room yet for all that came before it.
    AwaitRoom,
    /// Everything up to the epoch is on its way to the disk.
    AwaitLogged {
        ticket: Ticket,
    },
    AwaitUpToDate,
    Established,
}

/// The image that a SNAP brought. It gets its name at NEWLEADER and not before: a Java leader has
/// applied txns while it wrote, and until all of these have come the image is nobody's state.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Image {
    zxid: Zxid,
    /// It has its name, or nothing is wanted of it any more.
    is_settled: bool,
}

#[derive(Debug)]
pub(super) struct Learning {
    pub(super) epoch: i64,
    form: LeaderForm,
    stage: Stage,
    pub(super) ledger: Ledger,
    pub(super) watch: Watch,
    on_disk: Zxid,
    /// Zxids of the history on the disk, if it can be relied on: where the state ended, and the
    /// tail behind it.
    own: Vec<Zxid>,
    /// Only an image will do.
    needs_image: bool,
    /// A mark says that this disk has lost something.
    is_marked: bool,
    image: Option<Image>,
    /// The disk holds something above this that is not to be believed after NEWLEADER. Until then
    /// it stays: this server may have acknowledged it, and the leader may send it again.
    cuts_above: Option<Zxid>,
    /// What a TRUNC has taken off the tail and not yet off the disk.
    cut_off: VecDeque<Entry>,
    /// The state in memory is the one that the ledger goes on from.
    has_state: bool,
    /// NEWLEADER's.
    pub(super) config: Option<Box<Membership>>,
    /// What an observer was told of before its commit: it keeps only what is committed.
    pub(super) proposed: VecDeque<(Entry, Bytes)>,
    pub(super) proposed_bytes: usize,
}

impl Learning {
    pub fn new(
        settings: &LearnerSettings,
        standing: Standing,
        (epoch, form): (i64, LeaderForm),
        now: Instant,
    ) -> Learning {
        let limit_ms = settings.init_limit_ms();
        let is_whole = standing.can_rebuild && !standing.wants_image && settings.is_logging();
        Learning {
            epoch,
            form,
            stage: Stage::AwaitSync,
            own: if is_whole { standing.tail.zxids() } else { Vec::new() },
            ledger: Ledger::new(standing.tail, settings.is_logging(), settings.pending_bytes),
            watch: Watch::new(now, limit_ms, limit_ms, settings.tick_ms),
            on_disk: standing.on_disk,
            needs_image: !standing.can_rebuild || standing.wants_image,
            is_marked: !standing.can_rebuild,
            image: None,
            cuts_above: None,
            cut_off: VecDeque::new(),
            has_state: true,
            config: None,
            proposed: VecDeque::new(),
            proposed_bytes: 0,
        }
    }

    pub fn reads(&self, settings: &LearnerSettings) -> Reads {
        let reads_packets = match &self.stage {
            Stage::AwaitImage(image) if image.has_room() => return Reads::Image,
            Stage::AwaitSync => true,
            // What an old leader sends now is for the role that begins when this is on disk.
            Stage::AwaitLogged { .. } if self.form == LeaderForm::Old => false,
            Stage::AwaitNewLeader | Stage::AwaitLogged { .. } | Stage::AwaitUpToDate => {
                self.ledger.has_room(settings.hold_back)
            }
            _ => false,
        };
        if reads_packets { Reads::Packets } else { Reads::Nothing }
    }

    pub fn is_established(&self) -> bool {
        matches!(self.stage, Stage::Established)
    }

    /// A leader that is not read is not silent, and one that waits for our ACK may be.
    fn is_waiting_for_itself(&self, settings: &LearnerSettings) -> bool {
        self.reads(settings) == Reads::Nothing || matches!(self.stage, Stage::AwaitLogged { .. })
    }

    pub fn on_packet(
        &mut self,
        packet: &Packet<'_>,
        settings: &LearnerSettings,
        turn: &mut LearnerTurn<'_>,
    ) -> Result<(), LearnerEnd> {
        self.watch.hear(turn.now);
        match (&self.stage, packet.kind) {
            (_, PacketKind::Ping) => Ok(()),
            (Stage::AwaitSync, kind) => {
                let zxid = packet.zxid;
                check_epoch(zxid, self.epoch)?;
                match kind {
                    PacketKind::Diff => self.on_diff(zxid, turn),
                    PacketKind::Trunc => self.on_trunc(zxid, turn),
                    PacketKind::Snap => {
                        self.on_snap(zxid, settings, turn);
                        Ok(())
                    }
                    _ => Err(LearnerEnd::Unexpected { kind, awaited: "DIFF, TRUNC or SNAP" }),
                }
            }
            (Stage::AwaitNewLeader, PacketKind::NewLeader) if self.form == LeaderForm::Current => {
                self.on_new_leader(packet, settings, turn)
            }
            (Stage::AwaitNewLeader, PacketKind::UpToDate) if self.form == LeaderForm::Old => {
                log::info!("Learner received UPTODATE message");
                self.log_everything(settings, turn);
                Ok(())
            }
            (Stage::AwaitUpToDate, PacketKind::UpToDate) => {
                self.on_up_to_date(turn);
                Ok(())
            }
            (Stage::AwaitNewLeader, _) => self.on_history(packet, false, settings, turn),
            (Stage::AwaitLogged { .. } | Stage::AwaitUpToDate, _) => {
                self.on_history(packet, true, settings, turn)
            }
            _ => unreachable!("nothing is read before it is asked for"),
        }
    }

    fn on_diff(&mut self, zxid: Zxid, turn: &mut LearnerTurn<'_>) -> Result<(), LearnerEnd> {
        if self.needs_image {
            return Err(LearnerEnd::NeedsImage);
        }
        log::info!("Getting a diff from the leader 0x{zxid:x}");
        turn.push(LearnerOutput::SyncBegan { kind: SyncKind::Diff, zxid });
        // What is here up to that point is the leader's own history.
        self.ledger.commit_until(zxid);
        self.stage = Stage::AwaitNewLeader;
        Ok(())
    }

    fn on_trunc(&mut self, zxid: Zxid, turn: &mut LearnerTurn<'_>) -> Result<(), LearnerEnd> {
        if self.needs_image {
            return Err(LearnerEnd::NeedsImage);
        }
        log::warn!("Truncating log to get in sync with the leader 0x{zxid:x}");
        turn.push(LearnerOutput::SyncBegan { kind: SyncKind::Trunc, zxid });
        let none = self.ledger.renewed(Tail::default());
        let mut tail = std::mem::replace(&mut self.ledger, none).into_tail();
        match tail.cut(zxid) {
            TailCut::Within(dropped) => {
                let ends = tail.logged();
                // An epoch begins with no txn: what comes before it is what is meant.
                let is_here = ends == zxid || zxid.counter() == 0;
                if !is_here {
                    tail.put_back(dropped);
                    self.ledger = self.ledger.renewed(tail);
                    return Err(LearnerEnd::CutBetween { wanted: zxid, ends });
                }
                self.ledger = self.ledger.renewed(tail);
                if !dropped.is_empty() && self.ledger.is_logging() {
                    self.cuts_above = Some(ends);
                    self.cut_off = dropped;
                    self.ledger.hold();
                }
                self.ledger.commit_until(ends);
                self.stage = Stage::AwaitNewLeader;
            }
            TailCut::Deeper => {
                self.ledger = self.ledger.renewed(tail);
                let cut = |ticket| LearnerStorage::Truncate { ticket, zxid };
                let ticket = self.ledger.command(turn, cut);
                self.stage = Stage::AwaitTruncated { ticket, zxid };
            }
        }
        Ok(())
    }

    pub fn on_reloaded(&mut self, tail: Tail) -> Result<(), LearnerEnd> {
        let Stage::AwaitReloaded { zxid } = self.stage else {
            panic!("nothing is reloaded unasked")
        };
        let ends = tail.logged();
        self.ledger = self.ledger.renewed(tail);
        self.has_state = true;
        if ends != zxid && (zxid.counter() != 0 || ends > zxid) {
            return Err(LearnerEnd::CutBetween { wanted: zxid, ends });
        }
        self.ledger.commit_until(zxid);
        self.stage = Stage::AwaitNewLeader;
        Ok(())
    }

    /// The log could not be cut to what the leader named: nothing was removed, and until there is
    /// an image this server is not what it was told to be.
    pub fn on_cut_refused(
        &mut self,
        ticket: Ticket,
        turn: &mut LearnerTurn<'_>,
    ) -> Result<(), LearnerEnd> {
        match self.stage {
            Stage::AwaitTruncated { ticket: ours, zxid } if ours == ticket => {
                self.ledger.command(turn, |ticket| LearnerStorage::MarkLost { ticket });
                self.has_state = false;
                Err(LearnerEnd::CannotCut { zxid })
            }
            _ => Ok(()),
        }
    }

    fn on_snap(&mut self, zxid: Zxid, settings: &LearnerSettings, turn: &mut LearnerTurn<'_>) {
        log::info!("Getting a snapshot from leader 0x{zxid:x}");
        turn.push(LearnerOutput::SyncBegan { kind: SyncKind::Snap, zxid });
        self.cuts_above = (self.on_disk > zxid).then_some(zxid);
        self.image = Some(Image { zxid, is_settled: false });
        self.has_state = false;
        self.ledger.begin_behind(zxid);
        let receiving = Receiving::new(zxid, settings.item_bytes, turn);
        self.stage = Stage::AwaitImage(Box::new(receiving));
    }

    /// Bytes of the image: how many of them are its own.
    pub fn on_image(
        &mut self,
        bytes: &[u8],
        sink: ImageSink<'_>,
        turn: &mut LearnerTurn<'_>,
    ) -> Result<usize, LearnerEnd> {
        self.watch.hear(turn.now);
        let Stage::AwaitImage(receiving) = &mut self.stage else {
            panic!("no image is read before it is asked for")
        };
        let used = receiving.take(bytes, sink, turn)?;
        if receiving.is_ended() {
            self.has_state = true;
            self.stage = Stage::AwaitWritten { zxid: receiving.zxid() };
        }
        Ok(used)
    }

    pub fn on_image_progress(&mut self, bytes: usize) {
        if let Stage::AwaitImage(receiving) = &mut self.stage {
            receiving.on_progress(bytes);
        }
    }

    pub fn on_image_written(&mut self, written: Zxid, turn: &mut LearnerTurn<'_>) {
        if let Stage::AwaitWritten { zxid } = self.stage
            && zxid == written
        {
            self.watch.hear(turn.now);
            self.stage = Stage::AwaitNewLeader;
        }
    }

    pub fn on_image_failed(&mut self, failed: Zxid) -> Result<(), LearnerEnd> {
        let is_ours = match &self.stage {
            Stage::AwaitImage(receiving) => receiving.zxid() == failed,
            Stage::AwaitWritten { zxid } => *zxid == failed,
            _ => false,
        };
        if is_ours { Err(LearnerEnd::ImageUnwritten) } else { Ok(()) }
    }

    /// Everything that the leader has sent goes to the disk, then the epoch, then the ACK leaves.
    pub(super) fn log_everything(
        &mut self,
        settings: &LearnerSettings,
        turn: &mut LearnerTurn<'_>,
    ) {
        // What came up to here may be in an image already; nothing later is.
        self.ledger.end_replay();
        if !settings.is_observer() {
            self.ledger.owe_acks();
        }
        let sent = self.ledger.waiting_zxids();
        if let Some(zxid) = self.last_shared(&sent) {
            return self.keep_until(zxid, &sent, turn);
        }
        if let Some(image) = &mut self.image {
            let zxid = image.zxid;
            if self.is_marked && self.cuts_above.is_some() {
                // What shows that something is missing may go before all of it is back.
                self.ledger.command(turn, |ticket| LearnerStorage::MarkLost { ticket });
            }
            self.ledger.command(turn, |ticket| LearnerStorage::InstallSnapshot { ticket, zxid });
            image.is_settled = true;
        }
        match (self.cuts_above, self.image) {
            (Some(zxid), _) => {
                let cut = |ticket| LearnerStorage::CutAbove { ticket, zxid, sent };
                let ticket = self.ledger.command(turn, cut);
                self.stage = Stage::AwaitCut { ticket };
            }
            (None, Some(image)) => {
                self.ledger.release(image.zxid);
                self.write_epoch(turn);
            }
            (None, None) => self.write_epoch(turn),
        }
    }

    /// The last txn here that the leader has sent behind its image: up to there the history on the
    /// disk is the leader's. To cut it down to the image would take away for a moment what this
    /// server has acknowledged, where its log begins behind the image.
    fn last_shared(&self, sent: &[Zxid]) -> Option<Zxid> {
        self.image?;
        self.own.iter().rev().copied().find(|own| sent.binary_search(own).is_ok())
    }

    /// The disk goes on from its own history. Whoever sent an image to replace it gets what he
    /// wants by the snapshot that follows.
    fn keep_until(&mut self, zxid: Zxid, sent: &[Zxid], turn: &mut LearnerTurn<'_>) {
        log::info!("The log is the leader's up to 0x{zxid:x}, behind its snapshot, and is kept");
        turn.push(LearnerOutput::Chore(ChoreCommand::SnapshotAbandon));
        if let Some(image) = &mut self.image {
            image.is_settled = true;
        }
        let sent = sent[sent.partition_point(|sent| *sent <= zxid)..].to_vec();
        let cut = |ticket| LearnerStorage::CutAbove { ticket, zxid, sent };
        let ticket = self.ledger.command(turn, cut);
        self.stage = Stage::AwaitCut { ticket };
    }

    /// The log has nothing above the cut but what it shares with the leader, up to `kept`.
    pub fn on_cut_at(&mut self, ticket: Ticket, kept: Zxid, turn: &mut LearnerTurn<'_>) {
        let Stage::AwaitCut { ticket: ours } = self.stage else { return };
        if ours == ticket {
            self.ledger.release(kept);
            self.cuts_above = None;
            self.cut_off.clear();
            self.write_epoch(turn);
        }
    }

    fn write_epoch(&mut self, turn: &mut LearnerTurn<'_>) {
        self.ledger.flush(turn);
        if !self.ledger.is_drained() {
            self.stage = Stage::AwaitRoom;
            return;
        }
        if self.is_marked {
            self.is_marked = false;
            self.ledger.command(turn, |ticket| LearnerStorage::ClearLost { ticket });
        }
        let (file, epoch) = (EpochFile::Current, self.epoch);
        let write = |ticket| LearnerStorage::WriteEpoch { ticket, file, epoch };
        let ticket = self.ledger.command(turn, write);
        self.stage = Stage::AwaitLogged { ticket };
    }

    pub fn on_durable(
        &mut self,
        ticket: Ticket,
        settings: &LearnerSettings,
        turn: &mut LearnerTurn<'_>,
    ) {
        self.ledger.on_durable(ticket);
        match self.stage {
            Stage::AwaitTruncated { ticket: wanted, zxid } if wanted <= ticket => {
                self.has_state = false;
                turn.push(LearnerOutput::Reload);
                self.stage = Stage::AwaitReloaded { zxid };
            }
            Stage::AwaitRoom => self.write_epoch(turn),
            Stage::AwaitLogged { ticket: wanted } if wanted <= ticket => {
                self.on_logged(settings, turn);
            }
            Stage::AwaitUpToDate => self.ledger.send_acks(turn),
            _ => {}
        }
    }

    fn on_logged(&mut self, settings: &LearnerSettings, turn: &mut LearnerTurn<'_>) {
        self.send_epoch_ack(turn);
        self.ledger.send_acks(turn);
        self.watch.set_silence(turn.now, settings.sync_limit_ms());
        match self.form {
            LeaderForm::Current => self.stage = Stage::AwaitUpToDate,
            LeaderForm::Old => self.establish(turn),
        }
    }

    fn send_epoch_ack(&self, turn: &mut LearnerTurn<'_>) {
        turn.send(ToLeader::Ack(Zxid(self.epoch << 32)));
    }

    fn on_up_to_date(&mut self, turn: &mut LearnerTurn<'_>) {
        log::info!("Learner received UPTODATE message");
        if let Some(config) = self.config.take() {
            self.activate(config, None, None, turn);
        }
        self.send_epoch_ack(turn);
        self.establish(turn);
    }

    fn establish(&mut self, turn: &mut LearnerTurn<'_>) {
        if let Some((entry, _)) = self.proposed.front() {
            // Leaders before 3.5 propose to observers; the commits come as INFORM.
            log::warn!("0x{:x} was proposed to an observer, dropped", entry.header.zxid);
            self.proposed.clear();
        }
        turn.push(LearnerOutput::Established { epoch: self.epoch });
        if self.image.is_some() {
            turn.push(LearnerOutput::WantSnapshot);
        }
        self.stage = Stage::Established;
    }

    pub(super) fn image_zxid(&self) -> Option<Zxid> {
        self.image.map(|image| image.zxid)
    }

    pub fn on_time(
        &mut self,
        settings: &LearnerSettings,
        turn: &mut LearnerTurn<'_>,
    ) -> Result<(), LearnerEnd> {
        if self.is_waiting_for_itself(settings) {
            self.watch.hear(turn.now);
        }
        self.watch.on_time(turn.now)?;
        self.ledger.look_at_disk(turn.now, settings.init_limit_ms())
    }

    pub fn next_timeout(&self, settings: &LearnerSettings) -> Instant {
        let hanging = self.ledger.oldest_command().map(|at| at.plus_ms(settings.init_limit_ms()));
        let next = self.watch.next_timeout();
        hanging.map_or(next, |at| at.min(next))
    }

    pub fn end_turn(&mut self, turn: &mut LearnerTurn<'_>) {
        self.ledger.flush(turn);
    }

    /// Gives up what is under way: what stays of the history.
    pub fn leave(self, turn: &mut LearnerTurn<'_>) -> Left {
        if self.image.is_some_and(|image| !image.is_settled) {
            turn.push(LearnerOutput::Chore(ChoreCommand::SnapshotAbandon));
        }
        // What the disk makes of a cut under way is known by then.
        let is_cutting =
            matches!(self.stage, Stage::AwaitTruncated { .. } | Stage::AwaitCut { .. });
        let is_on_disk = self.image.is_none_or(|image| image.is_settled);
        // Over an image, before the log was given all that lies behind it.
        let is_ahead = self.ledger.is_ahead_of_log();
        if is_cutting || !is_on_disk || is_ahead || !self.has_state {
            return Left::Reload;
        }
        let mut tail = self.ledger.into_tail();
        tail.put_back(self.cut_off);
        Left::History(tail)
    }

    /// What must hold between any two inputs.
    pub fn check(&self) {
        self.ledger.check();
        if let Some(image) = self.image {
            let logged = self.ledger.progress().logged;
            assert!(logged >= image.zxid, "an image is the beginning of what is learned");
        }
        if matches!(self.stage, Stage::AwaitLogged { .. } | Stage::AwaitUpToDate) {
            let has_name = self.image.is_none_or(|image| image.is_settled);
            assert!(has_name, "no epoch is written above an image without a name");
            assert_eq!(self.cuts_above, None, "nor above what is to go");
        }
    }
}
