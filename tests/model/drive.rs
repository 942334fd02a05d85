//! One sequence against one server and the model, and whether they agree.

use std::collections::BTreeMap;

use crate::expect::{Expect, Times, hex};
use crate::generate::{SLOTS, Step};
use crate::model::{Model, SUPER};
use crate::ops::{Op, PING};
use crate::wire::{In, Link, Out, framed, request};

const TIMEOUT_MS: i32 = 40_000;

struct Live {
    link: Link,
    session: i64,
    password: Vec<u8>,
    next_xid: i32,
}

/// A server under test: its port, and the model of what it must hold.
pub struct Pair {
    port: u16,
    pub model: Model,
    times: Times,
    live: BTreeMap<usize, Live>,
    pub operations: u64,
    pub frames: u64,
}

type Outcome = Result<(), String>;

impl Pair {
    pub fn new(port: u16, model: Model) -> Pair {
        let (times, live) = (Times::default(), BTreeMap::new());
        Pair { port, model, times, live, operations: 0, frames: 0 }
    }

    /// Runs the steps, then closes every session and empties the tree.
    pub fn run(&mut self, steps: &[Step]) -> Outcome {
        for (at, step) in steps.iter().enumerate() {
            self.step(step).map_err(|e| format!("step {at}: {e}"))?;
        }
        self.clean().map_err(|e| format!("cleaning: {e}"))
    }

    fn step(&mut self, step: &Step) -> Outcome {
        match step {
            Step::Burst(slot, ops) => {
                for burst in self.bursts(ops) {
                    self.open(*slot)?;
                    self.burst(*slot, &burst)?;
                }
                Ok(())
            }
            Step::Reopen(slot) => {
                self.open(*slot)?;
                let old = self.live.remove(slot).expect("open");
                let (session, password) = (old.session, old.password.clone());
                drop(old);
                self.reopen(*slot, session, &password)
            }
            Step::TakeOver(slot) => {
                self.open(*slot)?;
                let mut old = self.live.remove(slot).expect("open");
                let password = old.password.clone();
                self.reopen(*slot, old.session, &password)?;
                ended(&mut old.link)
            }
            Step::WrongPassword(slot) => {
                self.open(*slot)?;
                let mut old = self.live.remove(slot).expect("open");
                let mut wrong = old.password.clone();
                wrong[3] ^= 1;
                let (mut link, answer) = self.handshake(old.session, &wrong, 0)?;
                let answer = answer.ok_or("a wrong password is answered")?;
                if answer.session != 0 || answer.timeout != 0 || answer.password != [0; 16] {
                    return Err(format!("a wrong password was let in: {answer:?}"));
                }
                ended(&mut link)?;
                ended(&mut old.link)?;
                let password = old.password.clone();
                self.reopen(*slot, old.session, &password)
            }
            Step::FromTheFuture => match self.handshake(0, &[0; 16], i64::MAX)? {
                (_, None) => Ok(()),
                (_, Some(answer)) => Err(format!("a client ahead was let in: {answer:?}")),
            },
        }
    }

    /// Cuts a burst where the order of effects would otherwise be the server's choice.
    fn bursts(&self, ops: &[Op]) -> Vec<Vec<Op>> {
        let mut bursts: Vec<Vec<Op>> = vec![Vec::new()];
        let mut limited = self.model.tree.has_limits();
        for op in ops {
            let overtakes = *op == Op::Ping && self.model.manners.pings_overtake;
            let alone = op.stands_alone() || touches_quota(op) || overtakes;
            limited |= touches_quota(op);
            if alone || limited {
                bursts.push(Vec::new());
            }
            bursts.last_mut().expect("never empty").push(op.clone());
            // Apache looks at the ACL that is applied, not at the one under way.
            if alone || matches!(op, Op::SetAcl(..)) {
                bursts.push(Vec::new());
            }
        }
        bursts.retain(|b| !b.is_empty());
        bursts
    }

    fn burst(&mut self, slot: usize, ops: &[Op]) -> Outcome {
        let mut bytes = Vec::new();
        for op in ops {
            let live = self.live.get_mut(&slot).expect("open");
            let xid = op.xid(&mut live.next_xid);
            bytes.extend(request(xid, op.code(), &op.body(self.model.relative(op))));
            self.model.run(slot, xid, op);
            self.operations += 1;
        }
        self.send(slot, &bytes)?;
        self.take_due(slot)?;
        self.barrier()
    }

    fn send(&mut self, slot: usize, bytes: &[u8]) -> Outcome {
        let live = self.live.get_mut(&slot).expect("open");
        live.link.send(bytes).map_err(|e| format!("slot {slot}: sending: {e}"))
    }

    /// A ping on every connection: what was due before it has come.
    fn barrier(&mut self) -> Outcome {
        let slots: Vec<usize> = self.live.keys().copied().collect();
        for slot in &slots {
            self.model.run(*slot, -2, &Op::Ping);
            self.send(*slot, &request(-2, PING, &[]))?;
        }
        slots.into_iter().try_for_each(|slot| self.take_due(slot))
    }

    fn take_due(&mut self, slot: usize) -> Outcome {
        let conn = self.model.conns.get_mut(&slot).expect("open");
        let due = std::mem::take(&mut conn.due);
        let (ends, closed) = (conn.ends, conn.closed);
        let mut rest = due.as_slice();
        while let Some(first) = rest.first() {
            let group = rest.iter().take_while(|e| e.any_order).count().max(1);
            let (now, later) = rest.split_at(group);
            rest = later;
            let mut frames = Vec::new();
            for _ in now {
                frames.push(self.frame(slot, first)?);
            }
            self.check(now, frames).map_err(|e| format!("slot {slot}: {e}"))?;
        }
        if ends {
            let mut live = self.live.remove(&slot).expect("open");
            self.model.disconnect(slot);
            ended(&mut live.link).map_err(|e| format!("slot {slot}: {e}"))?;
            if !closed {
                // Left alone it would expire some time later, in the middle of something else.
                self.reopen(slot, live.session, &live.password)?;
            }
        }
        Ok(())
    }

    fn check(&mut self, due: &[Expect], mut frames: Vec<Vec<u8>>) -> Outcome {
        let mut due: Vec<&Expect> = due.iter().collect();
        if due.len() > 1 {
            frames.sort();
            due.sort_by_key(|e| format!("{:?}", e.pieces));
            due.sort_by_cached_key(|e| flat(e));
        }
        due.iter().zip(&frames).try_for_each(|(e, f)| e.check(f, &mut self.times))
    }

    fn frame(&mut self, slot: usize, due: &Expect) -> Result<Vec<u8>, String> {
        self.frames += 1;
        let live = self.live.get_mut(&slot).expect("open");
        match live.link.frame() {
            Ok(Some(frame)) => Ok(frame),
            Ok(None) => Err(format!("slot {slot}: closed where a frame is due: {}", due.what)),
            Err(e) => Err(format!("slot {slot}: {e} where a frame is due: {}", due.what)),
        }
    }

    /// A session for the slot, if it has none.
    fn open(&mut self, slot: usize) -> Outcome {
        if self.live.contains_key(&slot) {
            return Ok(());
        }
        let (link, answer) = self.handshake(0, &[0; 16], 0)?;
        let answer = answer.ok_or("a new session is answered")?;
        if answer.timeout != TIMEOUT_MS || answer.password != password_of(answer.session) {
            return Err(format!("new session: {answer:?}"));
        }
        let (session, password) = (answer.session, answer.password);
        self.model.zxid += 1;
        self.model.connect(slot, session);
        self.live.insert(slot, Live { link, session, password, next_xid: 0 });
        Ok(())
    }

    fn reopen(&mut self, slot: usize, session: i64, password: &[u8]) -> Outcome {
        self.model.disconnect(slot);
        let (link, answer) = self.handshake(session, password, 0)?;
        let answer = answer.ok_or("an open session is answered")?;
        if answer.session != session || answer.password != password {
            return Err(format!("session {session:#x} opened again: {answer:?}"));
        }
        self.model.connect(slot, session);
        let live = Live { link, session, password: password.to_vec(), next_xid: 0 };
        self.live.insert(slot, live);
        Ok(())
    }

    fn handshake(
        &self,
        session: i64,
        password: &[u8],
        seen: i64,
    ) -> Result<(Link, Option<Welcome>), String> {
        let mut link = Link::dial(self.port).map_err(|e| format!("dialling: {e}"))?;
        let mut out = Out::default();
        // More than the server grants: its limit comes back.
        out.int(0).long(seen).int(100_000).long(session).buf(Some(password)).bool(false);
        link.send(&framed(&out.0)).map_err(|e| format!("handshake: {e}"))?;
        let Some(frame) = link.frame().map_err(|e| format!("handshake: {e}"))? else {
            return Ok((link, None));
        };
        let mut r = In(&frame);
        let welcome = (|| {
            let version = r.int()?;
            let (timeout, session) = (r.int()?, r.long()?);
            let password = r.field()?[4..].to_vec();
            let tail = r.take(1)?.to_vec();
            if version != 0 || tail != [0] || !r.0.is_empty() {
                return Err("odd".to_owned());
            }
            Ok(Welcome { timeout, session, password })
        })();
        let welcome = welcome.map_err(|e: String| format!("handshake: {e}: {}", hex(&frame)))?;
        Ok((link, Some(welcome)))
    }

    /// Closes every session, then removes every node but the system's, as super user.
    fn clean(&mut self) -> Outcome {
        for slot in 0..SLOTS {
            if self.live.contains_key(&slot) {
                self.burst(slot, &[Op::CloseSession])?;
            }
        }
        self.open(SLOTS)?;
        self.burst(SLOTS, &[Op::Auth("digest".to_owned(), SUPER.to_owned())])?;
        let system = ["/", "/zookeeper", "/zookeeper/quota", "/zookeeper/config"];
        let paths = self.model.tree.paths().rev();
        let paths = paths.filter(|p| !system.contains(&p.as_str()));
        let ops: Vec<Op> = paths.map(|p| Op::Delete(p.clone(), -1)).collect();
        for op in ops.chunks(1) {
            self.burst(SLOTS, op)?;
        }
        self.burst(SLOTS, &[Op::GetAllChildrenNumber("/".to_owned())])?;
        self.burst(SLOTS, &[Op::CloseSession])
    }
}

#[derive(Debug)]
struct Welcome {
    timeout: i32,
    session: i64,
    password: Vec<u8>,
}

fn touches_quota(op: &Op) -> bool {
    let path = match op {
        Op::Create(new) => &new.path,
        Op::Delete(path, _) | Op::SetData(path, ..) => path,
        _ => return false,
    };
    path.starts_with("/zookeeper/quota/")
}

/// The bytes of a frame without times, for sorting.
fn flat(due: &Expect) -> Vec<u8> {
    let bytes = due.pieces.iter().filter_map(|p| match p {
        crate::expect::Piece::Bytes(b) => Some(b.as_slice()),
        _ => None,
    });
    bytes.collect::<Vec<_>>().concat()
}

fn ended(link: &mut Link) -> Outcome {
    match link.frame() {
        Ok(None) => Ok(()),
        Ok(Some(frame)) => Err(format!("a frame where the end is due: {}", hex(&frame))),
        Err(e) => Err(format!("{e} where the end is due")),
    }
}

/// Sixteen bytes of the well-known generator, seeded by the session's id.
fn password_of(session: i64) -> Vec<u8> {
    const STEP: u64 = 0x5_DEEC_E66D;
    const MASK: u64 = (1 << 48) - 1;
    let mut seed = (session as u64 ^ 0xB341_5C00 ^ STEP) & MASK;
    let mut password = Vec::new();
    for _ in 0..4 {
        seed = seed.wrapping_mul(STEP).wrapping_add(0xB) & MASK;
        password.extend_from_slice(&((seed >> 16) as u32).to_le_bytes());
    }
    password
}
