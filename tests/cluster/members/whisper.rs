//! Mistakes in what a member says to its clients: frames that are left out, said twice, or in
//! another order.

use zkd::base::Xid;
use zkd::proto::{Reader, ReplyHeader, Splitter};

use super::breakage::Breakage;

/// Every so many events one is lost, and of so many answers one comes early.
const EVERY: u32 = 4;

#[derive(Debug)]
pub struct Whisper {
    breakage: Breakage,
    splitter: Splitter,
    /// The handshake's answer is no reply.
    is_established: bool,
    frames: u32,
    held: Vec<u8>,
}

impl Whisper {
    /// What a breakage does to a client's line, if it is one of those that do anything.
    pub fn of(breakage: Breakage) -> Option<Whisper> {
        use Breakage::{AnswersOvertake, EventLate, EventTwice, WatchLost, WatchesForgotten};
        let is_it = matches!(
            breakage,
            WatchLost | EventTwice | EventLate | WatchesForgotten | AnswersOvertake
        );
        is_it.then(|| Whisper {
            breakage,
            splitter: Splitter::default(),
            is_established: false,
            frames: 0,
            held: Vec::new(),
        })
    }

    /// What is said in the place of this.
    pub fn pass(&mut self, bytes: &[u8]) -> Vec<u8> {
        let mut out = Vec::new();
        let mut splitter = std::mem::take(&mut self.splitter);
        splitter.push(bytes);
        while let Some(frame) = splitter.next(1 << 24).expect("members write well") {
            self.frame(frame, &mut out);
        }
        self.splitter = splitter;
        out
    }

    /// What was kept back for something in the same turn.
    pub fn rest(&mut self) -> Vec<u8> {
        match self.breakage {
            Breakage::AnswersOvertake => std::mem::take(&mut self.held),
            _ => Vec::new(),
        }
    }

    fn frame(&mut self, frame: &[u8], out: &mut Vec<u8>) {
        if !std::mem::replace(&mut self.is_established, true) {
            return put(frame, out);
        }
        let header = ReplyHeader::read(&mut Reader::new(frame)).expect("members write well");
        let is_event = header.xid == Xid::NOTIFICATION;
        let is_answer = header.xid.0 > 0;
        let is_turn = (is_event || is_answer) && {
            self.frames += 1;
            self.frames % EVERY == 0
        };
        match self.breakage {
            Breakage::WatchLost if is_event && is_turn => {}
            Breakage::WatchesForgotten if is_event && header.zxid.0 == -1 => {}
            Breakage::EventTwice if is_event => {
                put(frame, out);
                put(frame, out);
            }
            Breakage::EventLate if is_event => put(frame, &mut self.held),
            Breakage::AnswersOvertake if is_answer && is_turn => put(frame, &mut self.held),
            _ => {
                put(frame, out);
                if is_answer {
                    out.append(&mut self.held);
                }
            }
        }
    }
}

fn put(frame: &[u8], out: &mut Vec<u8>) {
    out.extend_from_slice(&(frame.len() as u32).to_be_bytes());
    out.extend_from_slice(frame);
}
