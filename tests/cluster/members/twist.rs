//! Mistakes in what a member says to its leader or to its learners, or in how it takes what they
//! say: packets that are left out, changed, or in another order.

use zkd::base::Zxid;
use zkd::peering::{Packet, PacketBytes, PacketKind, Splitter};
use zkd::proto::{Entry, Txn};

use super::breakage::Breakage;
use super::tap::{Tap, behind_image};

#[derive(Debug)]
pub struct Twist {
    splitter: Splitter,
    /// The last bytes of an image, while there is one.
    image: Option<Vec<u8>>,
    said: Said,
}

/// What was said so far, and what is kept back.
#[derive(Debug)]
struct Said {
    breakage: Breakage,
    has_image: bool,
    is_new_leader: bool,
    is_up_to_date: bool,
    held: Vec<u8>,
    /// Proposals that came, and the first of them that was taken for granted.
    proposals: u32,
    ahead: Option<Zxid>,
}

/// Of so many proposals one is lost.
const LOST_EVERY: u32 = 16;

impl Twist {
    /// What a breakage does to a link, if it is one of those that do anything.
    pub fn of(breakage: Breakage, tap: &Tap) -> Option<Twist> {
        use Breakage::{
            AckEpochAhead, AcksOvertake, CommitsInSyncLost, ImageClaimsMore, LastOfHistoryLost,
            NewLeaderEarly, TouchesInvented, TouchesLost,
        };
        let is_it = match tap {
            Tap::Leader { .. } => matches!(
                breakage,
                LastOfHistoryLost | NewLeaderEarly | CommitsInSyncLost | ImageClaimsMore
            ),
            Tap::Learner(_) => {
                matches!(breakage, AcksOvertake | AckEpochAhead | TouchesLost | TouchesInvented)
            }
            _ => false,
        };
        is_it.then(|| Twist::new(breakage))
    }

    /// What a breakage does to what comes in, where it does anything: a learner hears its leader,
    /// and a leader its learners.
    pub fn of_ears(breakage: Breakage, tap: &Tap) -> Option<Twist> {
        use Breakage::{AckForeseen, ContinuitySkipped, ExpiresEarly, ReplyBeforeCommit};
        let is_it = match tap {
            Tap::Learner(_) => matches!(breakage, ReplyBeforeCommit | ContinuitySkipped),
            Tap::Leader { follows: false, .. } => matches!(breakage, AckForeseen | ExpiresEarly),
            _ => false,
        };
        is_it.then(|| Twist::new(breakage))
    }

    fn new(breakage: Breakage) -> Twist {
        Twist {
            splitter: Splitter::new(PacketBytes::default()),
            image: None,
            said: Said {
                breakage,
                has_image: false,
                is_new_leader: false,
                is_up_to_date: false,
                held: Vec::new(),
                proposals: 0,
                ahead: None,
            },
        }
    }

    /// What a leader takes for said by a learner, when it says this to it.
    pub fn foresee(&mut self, kind: PacketKind, zxid: Zxid) -> Vec<u8> {
        let said = &mut self.said;
        said.is_up_to_date |= kind == PacketKind::UpToDate;
        let mut ack = Vec::new();
        if said.breakage == Breakage::AckForeseen
            && said.is_up_to_date
            && kind == PacketKind::Proposal
        {
            said.ahead.get_or_insert(zxid);
            Packet::new(PacketKind::Ack, zxid, None).write(&mut ack);
        }
        ack
    }

    /// What is said in the place of this. `sessions`: those there are.
    pub fn pass(&mut self, bytes: &[u8], sessions: &[i64]) -> Vec<u8> {
        let mut input = bytes;
        let mut out = Vec::new();
        let Twist { splitter, image, said } = self;
        loop {
            if let Some(last) = image {
                let Some(rest) = behind_image(last, input) else {
                    out.extend_from_slice(input);
                    return out;
                };
                out.extend_from_slice(&input[..input.len() - rest.len()]);
                (*image, input) = (None, rest);
            }
            let Some(packet) = splitter.next(&mut input).expect("members write well") else {
                return out;
            };
            if packet.kind == PacketKind::Snap {
                *image = Some(Vec::new());
            }
            said.packet(&packet, sessions, &mut out);
        }
    }

    /// What was kept back for something in the same turn.
    pub fn rest(&mut self) -> Vec<u8> {
        match self.said.breakage {
            Breakage::AcksOvertake => std::mem::take(&mut self.said.held),
            _ => Vec::new(),
        }
    }
}

impl Said {
    fn packet(&mut self, packet: &Packet<'_>, sessions: &[i64], out: &mut Vec<u8>) {
        use PacketKind::*;
        let Packet { kind, zxid, .. } = *packet;
        match kind {
            Snap => self.has_image = true,
            NewLeader => self.is_new_leader = true,
            UpToDate => self.is_up_to_date = true,
            _ => {}
        }
        let is_history = matches!(kind, Proposal | Commit) && !self.is_new_leader;
        let is_live = self.is_up_to_date && matches!(kind, Proposal | Commit);
        self.proposals += u32::from(is_live && kind == Proposal);
        match (self.breakage, kind) {
            (Breakage::AcksOvertake, Ack) if zxid.counter() == 0 => packet.write(&mut self.held),
            (Breakage::AcksOvertake, Ack) => {
                packet.write(out);
                out.append(&mut self.held);
            }
            (Breakage::LastOfHistoryLost, _) if is_history => {
                if kind == Proposal {
                    out.append(&mut self.held);
                }
                packet.write(&mut self.held);
            }
            (Breakage::LastOfHistoryLost, NewLeader) => {
                self.held.clear();
                packet.write(out);
            }
            (Breakage::NewLeaderEarly, _) if is_history && self.has_image => {
                packet.write(&mut self.held);
            }
            (Breakage::NewLeaderEarly, NewLeader) => {
                packet.write(out);
                out.append(&mut self.held);
            }
            (Breakage::CommitsInSyncLost, Commit) if self.is_new_leader && !self.is_up_to_date => {}
            (Breakage::AckEpochAhead, AckEpoch) | (Breakage::ImageClaimsMore, Snap) => {
                Packet { zxid: Zxid(zxid.0 + 1), ..*packet }.write(out);
            }
            (Breakage::TouchesLost, Ping) => Packet { data: Some(&[]), ..*packet }.write(out),
            (Breakage::TouchesInvented, Ping) => {
                let mut touches = Vec::new();
                for session in sessions {
                    touches.extend(session.to_be_bytes());
                    touches.extend(4000i32.to_be_bytes());
                }
                Packet { data: Some(&touches), ..*packet }.write(out);
            }
            (Breakage::ReplyBeforeCommit, Proposal) if is_live => {
                self.ahead.get_or_insert(zxid);
                packet.write(out);
                Packet::new(Commit, zxid, None).write(out);
            }
            (Breakage::ReplyBeforeCommit, Commit) if self.ahead.is_some_and(|at| at <= zxid) => {}
            (Breakage::AckForeseen, Ack) if self.ahead.is_some_and(|at| at <= zxid) => {}
            (Breakage::ContinuitySkipped, Proposal)
                if is_live && self.proposals % LOST_EVERY == 0 =>
            {
                let nothing = emptied(packet);
                Packet { data: Some(&nothing), ..*packet }.write(out);
            }
            (Breakage::ExpiresEarly, Ping) => Packet { data: Some(&[]), ..*packet }.write(out),
            _ => packet.write(out),
        }
    }
}

/// What stands in the place of a proposal that was lost, so that the next one follows.
fn emptied(packet: &Packet<'_>) -> Vec<u8> {
    let body = packet.data.expect("a proposal has a txn");
    let header = Entry::read(body).expect("members propose entries").header;
    let mut nothing = Vec::new();
    Entry::write(&header, &Txn::Error { code: -1 }, None, &mut nothing);
    nothing
}
