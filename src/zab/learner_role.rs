//! One learner, from a leader's addresses to the end of the role: joining, learning, following or
//! observing.

use crate::base::{ConnId, Instant, SessionId};
use crate::peering::{Packet, Revalidate};

use super::following::Following;
use super::joining::Joining;
use super::leading::Progress;
use super::learner_end::LearnerEnd;
use super::learner_seam::{
    Committed, LearnerInput, LearnerOutput, LearnerSettings, LearnerTurn, Left, Reads, Ready,
    Standing,
};
use super::learning::Learning;
use super::ledger::Ledger;
use super::observing::Observing;
use super::receiving::ImageSink;
use super::requests::Requests;
use super::watch::Watch;

/// A learner's role. `O` is what the caller wants back with its own requests.
///
/// After an error it is left, and nothing else is asked of it. Before every packet `reads` is
/// asked, and at the end of every turn with an input `end_turn`; then `next_ready` gives what the
/// turn may apply.
#[derive(Debug)]
pub struct LearnerRole<O> {
    settings: LearnerSettings,
    phase: Phase<O>,
}

/// How far a learner is, in Java's words.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LearnerPhase {
    Discovery,
    Synchronization,
    Broadcast,
}

#[derive(Debug)]
enum Phase<O> {
    /// With the time from which the link counts.
    Joining(Joining, Watch),
    Learning(Box<Learning>),
    Following(Box<Following<O>>),
    Observing(Box<Observing<O>>),
    /// Between two of them, and never longer.
    Over,
}

impl<O> LearnerRole<O> {
    /// Begins to dial the leader's `addresses`, of which there are so many.
    pub fn new(
        settings: LearnerSettings,
        standing: Standing,
        addresses: usize,
        turn: &mut LearnerTurn<'_>,
    ) -> LearnerRole<O> {
        let joining = Joining::new(&settings, standing, addresses, turn);
        let limit_ms = settings.init_limit_ms();
        let watch = Watch::new(turn.now, limit_ms, limit_ms, settings.tick_ms);
        LearnerRole { settings, phase: Phase::Joining(joining, watch) }
    }

    pub fn handle(
        &mut self,
        input: LearnerInput<'_>,
        turn: &mut LearnerTurn<'_>,
    ) -> Result<(), LearnerEnd> {
        self.watch().look(turn.now)?;
        match input {
            LearnerInput::LinkLost => return Err(LearnerEnd::LinkLost),
            LearnerInput::Reconfigured { leader } => {
                return Err(LearnerEnd::Reconfigured { leader });
            }
            LearnerInput::Time => self.handle_time(turn)?,
            LearnerInput::Dialed { address } => match &mut self.phase {
                Phase::Joining(joining, watch) => {
                    watch.hear(turn.now);
                    joining.on_dialed(address, &self.settings, turn);
                }
                _ => turn.push(LearnerOutput::HangUp { address }),
            },
            LearnerInput::DialFailed { address } => {
                if let Phase::Joining(joining, _) = &mut self.phase {
                    joining.on_dial_failed(address, turn)?;
                }
            }
            LearnerInput::Packet(packet) => self.on_packet(&packet, turn)?,
            LearnerInput::Durable(ticket) => match &mut self.phase {
                Phase::Joining(joining, _) => joining.on_durable(ticket, turn),
                Phase::Learning(learning) => learning.on_durable(ticket, &self.settings, turn),
                Phase::Following(following) => following.on_durable(ticket, turn),
                Phase::Observing(observing) => observing.on_durable(ticket),
                Phase::Over => {}
            },
            other => {
                if let Phase::Learning(learning) = &mut self.phase {
                    on_storage(learning, other, turn)?;
                }
            }
        }
        self.go_on(turn.now);
        Ok(())
    }

    fn on_packet(
        &mut self,
        packet: &Packet<'_>,
        turn: &mut LearnerTurn<'_>,
    ) -> Result<(), LearnerEnd> {
        let settings = &self.settings;
        match &mut self.phase {
            Phase::Joining(joining, watch) => {
                watch.hear(turn.now);
                joining.on_packet(packet, settings, turn)
            }
            Phase::Learning(learning) => learning.on_packet(packet, settings, turn),
            Phase::Following(following) => following.on_packet(packet, settings, turn),
            Phase::Observing(observing) => observing.on_packet(packet, settings, turn),
            Phase::Over => Ok(()),
        }
    }

    /// Bytes of the link while it `reads` an image: how many of them are the image's, with the
    /// signature behind it. What is left are packets.
    pub fn handle_image(
        &mut self,
        bytes: &[u8],
        sink: ImageSink<'_>,
        turn: &mut LearnerTurn<'_>,
    ) -> Result<usize, LearnerEnd> {
        self.watch().look(turn.now)?;
        let Phase::Learning(learning) = &mut self.phase else {
            panic!("no image is read before it is asked for")
        };
        learning.on_image(bytes, sink, turn)
    }

    /// One phase ends where the next begins.
    fn go_on(&mut self, now: Instant) {
        self.phase = match std::mem::replace(&mut self.phase, Phase::Over) {
            Phase::Joining(joining, watch) => match joining.joined() {
                Some(agreed) => {
                    let standing = joining.into_standing();
                    let learning = Learning::new(&self.settings, standing, agreed, now);
                    Phase::Learning(Box::new(learning))
                }
                None => Phase::Joining(joining, watch),
            },
            Phase::Learning(learning) if learning.is_established() => {
                let Learning { epoch, ledger, .. } = *learning;
                if self.settings.is_observer() {
                    let observing = Observing::new(epoch, ledger, &self.settings, now);
                    Phase::Observing(Box::new(observing))
                } else {
                    let following = Following::new(epoch, ledger, &self.settings, now);
                    Phase::Following(Box::new(following))
                }
            }
            phase => phase,
        };
    }

    fn watch(&mut self) -> &mut Watch {
        match &mut self.phase {
            Phase::Joining(_, watch) => watch,
            Phase::Learning(learning) => &mut learning.watch,
            Phase::Following(following) => &mut following.watch,
            Phase::Observing(observing) => &mut observing.watch,
            Phase::Over => unreachable!("no phase lasts until the next one"),
        }
    }

    fn handle_time(&mut self, turn: &mut LearnerTurn<'_>) -> Result<(), LearnerEnd> {
        let limit_ms = self.settings.sync_limit_ms();
        let (watch, ledger) = match &mut self.phase {
            Phase::Joining(joining, watch) => {
                if joining.reads_packets() {
                    watch.on_time(turn.now)?;
                } else {
                    watch.hear(turn.now);
                }
                return joining.on_time(&self.settings, turn);
            }
            Phase::Learning(learning) => return learning.on_time(&self.settings, turn),
            Phase::Following(following) => (&mut following.watch, &following.ledger),
            Phase::Observing(observing) => (&mut observing.watch, &observing.ledger),
            Phase::Over => return Ok(()),
        };
        // A leader that is not read is not silent.
        if !ledger.has_room(0) {
            watch.hear(turn.now);
        }
        watch.on_time(turn.now)?;
        ledger.look_at_disk(turn.now, limit_ms)
    }

    /// When the next `Time` is due.
    pub fn next_timeout(&self) -> Instant {
        let hanging = |ledger: &Ledger| {
            ledger.oldest_command().map(|at| at.plus_ms(self.settings.sync_limit_ms()))
        };
        let (watch, other) = match &self.phase {
            Phase::Joining(joining, watch) => (watch, joining.next_timeout(&self.settings)),
            Phase::Learning(learning) => return learning.next_timeout(&self.settings),
            Phase::Following(following) => (&following.watch, hanging(&following.ledger)),
            Phase::Observing(observing) => (&observing.watch, hanging(&observing.ledger)),
            Phase::Over => unreachable!("no phase lasts until the next one"),
        };
        let next = watch.next_timeout();
        other.map_or(next, |at| at.min(next))
    }

    /// What is taken from the link now.
    pub fn reads(&self) -> Reads {
        let is_open = match &self.phase {
            Phase::Joining(joining, _) => joining.reads_packets(),
            Phase::Learning(learning) => return learning.reads(&self.settings),
            Phase::Following(following) => following.ledger.has_room(0),
            Phase::Observing(observing) => observing.ledger.has_room(0),
            Phase::Over => false,
        };
        if is_open { Reads::Packets } else { Reads::Nothing }
    }

    /// Hands this turn's records to the log.
    pub fn end_turn(&mut self, turn: &mut LearnerTurn<'_>) {
        match &mut self.phase {
            Phase::Joining(..) | Phase::Over => {}
            Phase::Learning(learning) => learning.end_turn(turn),
            Phase::Following(following) => following.end_turn(turn),
            Phase::Observing(observing) => observing.end_turn(turn),
        }
    }

    /// The next txn to apply or sync to answer, in their order.
    pub fn next_ready(&mut self) -> Option<Ready<O>> {
        let (ledger, requests) = match &mut self.phase {
            Phase::Joining(..) | Phase::Over => return None,
            Phase::Learning(learning) => {
                let (entry, is_replay) = learning.ledger.next_committed(self.settings.hold_back)?;
                return Some(Ready::Txn(Committed { entry, is_replay, origin: None }));
            }
            Phase::Following(following) => (&mut following.ledger, &mut following.requests),
            Phase::Observing(observing) => (&mut observing.ledger, &mut observing.requests),
        };
        if let Some(origin) = requests.next_synced(ledger.progress().applied) {
            return Some(Ready::Synced(origin));
        }
        let (entry, is_replay) = ledger.next_committed(0)?;
        let origin = requests.take_write(entry.header.session, entry.header.cxid);
        Some(Ready::Txn(Committed { entry, is_replay, origin }))
    }

    /// A write of this server's client goes to the leader as REQUEST. False where there is no
    /// established leader.
    pub fn forward(&mut self, session: SessionId, cxid: i32, origin: O) -> bool {
        let requests = self.requests();
        let is_established = requests.is_some();
        if let Some(requests) = requests {
            requests.forward(session, cxid, origin);
        }
        is_established
    }

    /// A sync goes to the leader as REQUEST.
    pub fn sync(&mut self, origin: O) -> bool {
        let requests = self.requests();
        let is_established = requests.is_some();
        if let Some(requests) = requests {
            requests.sync(origin);
        }
        is_established
    }

    /// Asks the leader whether a session lives whose client has come here.
    pub fn revalidate(&mut self, asked: Revalidate, turn: &mut LearnerTurn<'_>) -> bool {
        let requests = self.requests();
        let is_established = requests.is_some();
        if let Some(requests) = requests {
            requests.revalidate(asked, turn);
        }
        is_established
    }

    /// A sync of an observer that this follower feeds goes to the leader as REQUEST. False where
    /// more of what observers ask for waits than may.
    pub fn sync_for(&mut self, link: ConnId) -> bool {
        self.of_follower().is_some_and(|requests| requests.sync_for(link).is_ok())
    }

    /// The same for a session whose client has come to such an observer.
    pub fn revalidate_for(
        &mut self,
        link: ConnId,
        asked: Revalidate,
        turn: &mut LearnerTurn<'_>,
    ) -> bool {
        let requests = self.of_follower();
        requests.is_some_and(|requests| requests.revalidate_for(link, asked, turn).is_ok())
    }

    /// Who observes feeds nobody.
    fn of_follower(&mut self) -> Option<&mut Requests<O>> {
        match &mut self.phase {
            Phase::Following(following) => Some(&mut following.requests),
            _ => None,
        }
    }

    fn requests(&mut self) -> Option<&mut Requests<O>> {
        match &mut self.phase {
            Phase::Following(following) => Some(&mut following.requests),
            Phase::Observing(observing) => Some(&mut observing.requests),
            Phase::Joining(..) | Phase::Learning(_) | Phase::Over => None,
        }
    }

    /// The next append begins a new log file.
    pub fn roll(&mut self) {
        match &mut self.phase {
            Phase::Joining(..) | Phase::Over => {}
            Phase::Learning(learning) => learning.ledger.roll(),
            Phase::Following(following) => following.ledger.roll(),
            Phase::Observing(observing) => observing.ledger.roll(),
        }
    }

    /// Whether it keeps what it learns on the disk.
    pub fn is_logging(&self) -> bool {
        self.settings.is_logging()
    }

    pub fn is_observer(&self) -> bool {
        self.settings.is_observer()
    }

    pub fn is_established(&self) -> bool {
        matches!(self.phase, Phase::Following(_) | Phase::Observing(_))
    }

    pub fn phase(&self) -> LearnerPhase {
        match self.phase {
            Phase::Joining(..) | Phase::Over => LearnerPhase::Discovery,
            Phase::Learning(_) => LearnerPhase::Synchronization,
            Phase::Following(_) | Phase::Observing(_) => LearnerPhase::Broadcast,
        }
    }

    /// Where this server stands, once it learns.
    pub fn progress(&self) -> Option<Progress> {
        match &self.phase {
            Phase::Joining(..) | Phase::Over => None,
            Phase::Learning(learning) => Some(learning.ledger.progress()),
            Phase::Following(following) => Some(following.ledger.progress()),
            Phase::Observing(observing) => Some(observing.ledger.progress()),
        }
    }

    /// The role ends: what is under way is given up, what was logged stays. An election may begin
    /// when everything that was handed over is durable.
    pub fn leave(self, turn: &mut LearnerTurn<'_>) -> Left {
        match self.phase {
            Phase::Joining(joining, _) => Left::History(joining.leave(turn).tail),
            Phase::Learning(learning) => learning.leave(turn),
            Phase::Following(following) => Left::History(following.ledger.into_tail()),
            Phase::Observing(observing) => Left::History(observing.ledger.into_tail()),
            Phase::Over => unreachable!("no phase lasts until the next one"),
        }
    }

    /// What must hold between any two inputs.
    pub fn check(&self) {
        match &self.phase {
            Phase::Joining(..) => {}
            Phase::Learning(learning) => learning.check(),
            Phase::Following(following) => {
                following.ledger.check();
                following.requests.check();
            }
            Phase::Observing(observing) => {
                observing.ledger.check();
                observing.requests.check();
            }
            Phase::Over => unreachable!("no phase lasts until the next one"),
        }
    }
}

/// What the disk says to one who learns.
fn on_storage(
    learning: &mut Learning,
    input: LearnerInput<'_>,
    turn: &mut LearnerTurn<'_>,
) -> Result<(), LearnerEnd> {
    match input {
        LearnerInput::CutRefused(ticket) => learning.on_cut_refused(ticket, turn)?,
        LearnerInput::CutAt { ticket, kept } => learning.on_cut_at(ticket, kept, turn),
        LearnerInput::ImageProgress { bytes } => learning.on_image_progress(bytes),
        LearnerInput::ImageWritten { zxid } => learning.on_image_written(zxid, turn),
        LearnerInput::ImageFailed { zxid } => learning.on_image_failed(zxid)?,
        LearnerInput::Reloaded(tail) => learning.on_reloaded(tail)?,
        _ => {}
    }
    Ok(())
}
