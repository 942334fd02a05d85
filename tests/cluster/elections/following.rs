//! A follower, or an observer: it dials its leader until it is let in, and stays while it is
//! pinged.

use zkd::base::{Instant, ServerId};
use zkd::peering::HostPort;

use super::plan::Kind;
use super::role::{News, Office, QUORUM_PORT, Word, Words};
use super::wires::{Calls, Line, Wires};
use crate::world::network::{DialError, Socket};

/// Java tries so often, with a pause between; zkd until the limit, with a shorter one.
const JAVA_TRIES: u32 = 5;
const JAVA_PAUSE_MS: u64 = 100;
const PAUSE_MS: u64 = 20;

#[derive(Debug)]
pub struct Following {
    leader: ServerId,
    calls: Calls,
    tries: u32,
    /// When it is dialled again.
    again: Option<Instant>,
    line: Option<(Line, Words)>,
    is_in: bool,
    /// Nothing heard by then: it is given up.
    until: Instant,
}

impl Following {
    pub fn new(office: &Office<'_, '_>, leader: ServerId) -> Following {
        let now = office.wires.now();
        Following {
            leader,
            calls: Calls::default(),
            tries: 0,
            again: Some(now),
            line: None,
            is_in: false,
            until: now.plus_ms(office.plan.init_ms()),
        }
    }

    pub fn on_dialled(
        &mut self,
        office: &mut Office<'_, '_>,
        dial: u64,
        outcome: Result<Socket, DialError>,
        news: &mut Vec<News>,
    ) -> bool {
        let over = self.calls.on_dialled(office.wires, dial, outcome);
        if let Some((_, outcome)) = over {
            self.on_called(office, outcome, news);
        }
        over.is_some()
    }

    pub fn on_readable(
        &mut self,
        office: &mut Office<'_, '_>,
        socket: Socket,
        news: &mut Vec<News>,
    ) -> bool {
        let Some((line, words)) = &mut self.line else { return false };
        if line.socket != socket {
            return false;
        }
        let mut heard = Vec::new();
        let goes_on = words.take(office.wires, socket, &mut heard);
        for word in heard {
            if !self.on_word(office, word, news) {
                news.push(News::Lost);
                return true;
            }
        }
        if !goes_on {
            news.push(News::Lost);
        }
        true
    }

    pub fn on_writable(&mut self, office: &mut Office<'_, '_>, socket: Socket) -> bool {
        let line = self.line.as_mut().filter(|(line, _)| line.socket == socket);
        line.is_some_and(|(line, _)| {
            line.flush(office.wires);
            true
        })
    }

    pub fn on_timeout(&mut self, office: &mut Office<'_, '_>, news: &mut Vec<News>) {
        let now = office.wires.now();
        if self.again.is_some_and(|again| again <= now) {
            self.again = None;
            self.tries += 1;
            let host = format!("m{}", self.leader.0);
            let at = HostPort { host, port: QUORUM_PORT };
            self.calls.begin(office.wires, u64::from(self.tries), &[at]);
        }
        for (_, outcome) in self.calls.on_timeout(office.wires) {
            self.on_called(office, outcome, news);
        }
        if self.until <= now {
            news.push(News::Lost);
        }
    }

    pub fn next_timeout(&self) -> Option<Instant> {
        let timers = [self.again, self.calls.next_timeout(), Some(self.until)];
        timers.into_iter().flatten().min()
    }

    pub fn end(mut self, wires: &mut Wires<'_>) {
        self.calls.drop(wires, u64::from(self.tries));
        if let Some((line, _)) = self.line {
            wires.close(line.socket);
        }
    }

    fn on_called(
        &mut self,
        office: &mut Office<'_, '_>,
        outcome: Result<Socket, DialError>,
        news: &mut Vec<News>,
    ) {
        let place = office.plan.place_of(office.me.0).expect("a member of the plan");
        let is_java = office.plan.members[place].kind != Kind::Zkd;
        match outcome {
            Ok(socket) => {
                let mut line = Line::new(socket);
                let hello = Word::Hello { id: office.me.0, accepted: office.kept.accepted };
                line.send(office.wires, &hello.bytes());
                self.line = Some((line, Words::default()));
                self.on_readable(office, socket, news);
            }
            Err(_) if is_java && self.tries >= JAVA_TRIES => news.push(News::Lost),
            Err(_) => {
                let pause_ms = if is_java { JAVA_PAUSE_MS } else { PAUSE_MS };
                self.again = Some(office.wires.now().plus_ms(pause_ms));
            }
        }
    }

    /// False where the leader cannot be followed.
    fn on_word(&mut self, office: &mut Office<'_, '_>, word: Word, news: &mut Vec<News>) -> bool {
        let kept = &mut *office.kept;
        let answer = match word {
            Word::Epoch { epoch } if epoch < kept.accepted => return false,
            Word::Epoch { epoch } => {
                let is_new = epoch > kept.accepted;
                kept.accepted = epoch;
                kept.note(office.wires);
                let current = if is_new { kept.current } else { -1 };
                Some(Word::AckEpoch { current, zxid: kept.zxid })
            }
            Word::NewLeader { epoch, zxid } => {
                (kept.zxid, kept.current) = (zxid, epoch);
                kept.note(office.wires);
                Some(Word::AckLeader { epoch })
            }
            Word::UpToDate => {
                self.is_in = true;
                news.push(News::Established { epoch: kept.current });
                None
            }
            Word::Txn { zxid } => {
                kept.zxid = zxid;
                Some(Word::Ack { zxid })
            }
            Word::Ping => Some(Word::Pong),
            other => panic!("a leader does not say {other:?}"),
        };
        let plan = office.plan;
        let limit_ms = if self.is_in { plan.sync_ms() } else { plan.init_ms() };
        self.until = office.wires.now().plus_ms(limit_ms);
        if let (Some(answer), Some((line, _))) = (answer, &mut self.line) {
            line.send(office.wires, &answer.bytes());
        }
        true
    }
}
