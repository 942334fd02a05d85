//! What follows an election, in its barest form: a leader opens its door, a quorum comes in, an
//! epoch begins, zxids are written, and who loses the others looks again. It is there to try the
//! election, and to see that nothing a quorum has is lost by a wrong choice.

use super::*;

/// How long a leader waits for its first quorum, and for one that it has lost.
const FIRST_QUORUM_MS: u64 = 1500;
const LOST_QUORUM_MS: u64 = 500;
/// How long a follower tries to come in, how often, and how long it waits for a silent leader.
const JOIN_MS: u64 = 500;
const JOIN_AGAIN_MS: u64 = 20;
const SILENT_LEADER_MS: u64 = 400;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    Down,
    /// The storage queue drains.
    Gap {
        until: Instant,
    },
    Looking,
    /// Is to lead and opens its door.
    Opening {
        until: Instant,
    },
    Leading {
        quorum_at: Instant,
        limit_ms: u64,
        epoch: Option<i64>,
    },
    Joining {
        leader: ServerId,
        since: Instant,
        next: Instant,
    },
    Following {
        leader: ServerId,
        lost: Option<Instant>,
    },
}

impl World {
    fn at(&self, server: ServerId) -> usize {
        server.0 as usize - 1
    }

    fn leads(&self, index: usize) -> bool {
        matches!(self.machines[index].role, Role::Leading { .. })
    }

    pub(super) fn stand_down(&mut self, index: usize) {
        self.give(index, Input::StandDown);
        let until = self.now.plus_ms(self.rng.below(30));
        self.machines[index].role = Role::Gap { until };
    }

    /// What a machine's role does by itself.
    pub fn step(&mut self, index: usize) {
        let now = self.now;
        match self.machines[index].role {
            Role::Gap { until } if now >= until => {
                let Disk { zxid, current, .. } = self.machines[index].disk;
                self.machines[index].role = Role::Looking;
                self.give(index, Input::Look(Standing { zxid, peer_epoch: current }));
            }
            Role::Opening { until } if now >= until => {
                let limit_ms = FIRST_QUORUM_MS;
                self.machines[index].role = Role::Leading { quorum_at: now, limit_ms, epoch: None };
                self.give(index, Input::Confirm);
            }
            Role::Joining { leader, since, next } if now >= next => {
                self.try_to_join(index, leader, since);
            }
            Role::Leading { quorum_at, limit_ms, epoch } => {
                self.lead(index, quorum_at, limit_ms, epoch);
            }
            Role::Following { leader, lost } => self.follow(index, leader, lost),
            _ => {}
        }
        self.check_leaders();
    }

    fn try_to_join(&mut self, index: usize, leader: ServerId, since: Instant) {
        let now = self.now;
        let at = self.at(leader);
        let history = |disk: &Disk| (disk.current, disk.zxid);
        let (mine, his) = (&self.machines[index].disk, &self.machines[at].disk);
        let may = !self.machines[index].votes || history(mine) <= history(his);
        if self.leads(at) && !self.net.is_cut(index, at) && may {
            self.machines[index].role = Role::Following { leader, lost: None };
            self.give(index, Input::Confirm);
            if let Role::Leading { epoch: Some(epoch), .. } = self.machines[at].role {
                self.bring_up(index, at, epoch);
            }
        } else if now.ms_since(since) >= JOIN_MS {
            self.stand_down(index);
        } else {
            let next = now.plus_ms(JOIN_AGAIN_MS);
            self.machines[index].role = Role::Joining { leader, since, next };
        }
    }

    /// A follower gets its leader's history and epoch.
    fn bring_up(&mut self, index: usize, leader: usize, epoch: i64) {
        let zxid = self.machines[leader].disk.zxid;
        self.machines[index].disk = Disk { zxid, current: epoch, accepted: epoch };
        self.give(index, Input::CorrectEpoch(epoch));
    }

    fn follow(&mut self, index: usize, leader: ServerId, lost: Option<Instant>) {
        let at = self.at(leader);
        let is_cut = self.net.is_cut(index, at);
        if self.leads(at) && !is_cut {
            self.machines[index].role = Role::Following { leader, lost: None };
        } else if !is_cut || lost.is_some_and(|at| self.now.ms_since(at) >= SILENT_LEADER_MS) {
            self.stand_down(index);
        } else {
            let lost = lost.or(Some(self.now));
            self.machines[index].role = Role::Following { leader, lost };
        }
    }

    /// The voters that a leader reaches, itself among them.
    fn led_by(&self, index: usize) -> Vec<usize> {
        let me = self.machines[index].id;
        let follows = |at: usize| {
            let role = self.machines[at].role;
            matches!(role, Role::Following { leader, .. } if leader == me)
        };
        let is_with = |at: usize| at == index || (follows(at) && !self.net.is_cut(at, index));
        (0..self.shape.voters).filter(|at| is_with(*at)).collect()
    }

    fn lead(&mut self, index: usize, quorum_at: Instant, limit_ms: u64, epoch: Option<i64>) {
        let led = self.led_by(index);
        if led.len() * 2 <= self.shape.voters {
            if self.now.ms_since(quorum_at) >= limit_ms {
                self.stand_down(index);
            }
            return;
        }
        let begun = epoch.unwrap_or_else(|| self.establish(index, &led));
        let (quorum_at, limit_ms, epoch) = (self.now, LOST_QUORUM_MS, Some(begun));
        self.machines[index].role = Role::Leading { quorum_at, limit_ms, epoch };
        if self.rng.below(4) == 0 {
            self.write(index, &led);
        }
    }

    /// A quorum has come in: its epoch begins, and nothing that a quorum had may be missing.
    fn establish(&mut self, index: usize, led: &[usize]) -> i64 {
        let accepted = led.iter().map(|at| self.machines[*at].disk.accepted);
        let epoch = accepted.max().expect("the leader is one of them") + 1;
        let id = self.machines[index].id;
        assert!(self.machines[index].disk.zxid >= self.committed, "what was committed is lost");
        assert_eq!(self.epochs.insert(epoch, id), None, "an epoch has one leader");
        for at in led.iter().filter(|at| **at != index) {
            self.bring_up(*at, index, epoch);
        }
        self.machines[index].disk.current = epoch;
        self.machines[index].disk.accepted = epoch;
        self.machines[index].disk.zxid = Zxid::new(epoch as u32, 0);
        self.give(index, Input::CorrectEpoch(epoch));
        self.established_at = self.now;
        epoch
    }

    /// The leader writes, some of its followers have it, and a quorum of them makes it last.
    fn write(&mut self, index: usize, led: &[usize]) {
        let zxid = self.machines[index].disk.zxid.next();
        let mut have = 0;
        for at in led {
            let behind = self.machines[*at].disk.current < self.machines[index].disk.current;
            if *at == index || (!behind && self.rng.below(4) > 0) {
                self.machines[*at].disk.zxid = zxid;
                have += 1;
            }
        }
        if have * 2 > self.shape.voters {
            self.committed = zxid;
        }
    }

    /// Of one round's leaders, one at most has a quorum that follows it.
    fn check_leaders(&self) {
        let mut rounds = BTreeSet::new();
        for index in (0..self.shape.voters).filter(|at| self.leads(*at)) {
            let vote = self.machines[index].server.settled_vote();
            assert_eq!(vote.leader, self.machines[index].id, "who leads voted for itself");
            if self.led_by(index).len() * 2 > self.shape.voters {
                assert!(rounds.insert(vote.election_epoch), "two leaders of one round");
            }
        }
    }

    /// One established leader, and everybody that is up with it.
    pub fn is_whole(&self) -> bool {
        let established =
            |at: &usize| matches!(self.machines[*at].role, Role::Leading { epoch: Some(_), .. });
        let leaders: Vec<usize> = (0..self.machines.len()).filter(established).collect();
        let [leader] = leaders[..] else { return false };
        let id = self.machines[leader].id;
        let is_with = |at: usize| match self.machines[at].role {
            Role::Following { leader, .. } => leader == id && !self.net.is_cut(at, leader_at(id)),
            Role::Down => true,
            _ => at == leader,
        };
        (0..self.machines.len()).all(is_with) && self.led_by(leader).len() * 2 > self.shape.voters
    }

    /// The established leader, if there is one.
    pub fn leader(&self) -> Option<usize> {
        (0..self.machines.len())
            .find(|at| matches!(self.machines[*at].role, Role::Leading { epoch: Some(_), .. }))
    }
}

fn leader_at(id: ServerId) -> usize {
    id.0 as usize - 1
}
