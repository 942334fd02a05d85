//! What goes wrong, and how it ends.

use super::cluster::{Cluster, World};
use super::plan::Fault;
use super::wires::{Stroke, Wires};
use crate::world::disk::Fault as DiskFault;

impl Cluster {
    pub(super) fn begin(&mut self, index: usize) {
        let fault = self.plan.faults[index].fault.clone();
        self.world.record.count("faults");
        self.world.record.count(fault.name());
        self.note(format!("{fault:?}"));
        let end = self.now().plus_ms(fault.lasts_ms());
        let end = self.calm.map_or(end, |calm| end.min(calm));
        let World { clock, network, .. } = &mut self.world;
        match &fault {
            Fault::Kill { member, .. } => self.kill(*member, DiskFault::Kill),
            Fault::PowerCut { member, .. } => self.kill(*member, DiskFault::PowerCut),
            Fault::KillLeader { power, .. } => {
                let fault = if *power { DiskFault::PowerCut } else { DiskFault::Kill };
                if let Some(member) = self.world.record.last_leader() {
                    self.kill(member, fault);
                    self.world.stroke_at(end, None, Stroke::Start { member });
                }
            }
            Fault::Strike { member, call, fault, .. } => {
                let files = &mut *self.machines[*member].files.borrow_mut();
                files.fault = Some((files.calls + call, *fault));
            }
            Fault::Pause { member, .. } => clock.pause(*member, end),
            Fault::SlowDisk { member, us, .. } => {
                self.machines[*member].threads.slow = (*us, end);
            }
            Fault::HangingDisk { member, .. } => {
                self.machines[*member].threads.hangs_until = end;
            }
            Fault::Partition { side, both_ways, .. } => {
                for (from, to) in ways(side, *both_ways, self.machines.len()) {
                    network.block(from, to);
                }
            }
            Fault::Clog { from, to, .. } => network.clog(clock, (*from, *to), end),
            Fault::Slow { from, to, us, .. } => network.slow_down((*from, *to), *us),
            Fault::Break { a, b, within_ms } => {
                network.break_between(clock, (*a, *b), *within_ms);
            }
            Fault::Lose { a, b, told } => {
                network.lose_between(clock, (*a, *b), told.then_some(*a));
            }
            Fault::Jump { member, ms } => self.machines[*member].jumped_ms += ms,
            Fault::CutClient { client } => self.with_agent(*client, |agent, w| agent.cut(w)),
            Fault::ClientDies { client } => self.with_agent(*client, |agent, w| agent.die(w)),
        }
        self.world.stroke_at(end, None, Stroke::End { fault: index });
    }

    fn with_agent(
        &mut self,
        client: usize,
        act: impl FnOnce(&mut super::agent::Agent, &mut Wires<'_>),
    ) {
        let node = self.plan.members() + client;
        let mut wires = self.world.wires(node);
        act(&mut self.agents[client], &mut wires);
        let soon = wires.now().plus_ms(150);
        wires.clock.set_alarm(node, Some(soon));
    }

    pub(super) fn end(&mut self, index: usize) {
        let fault = self.plan.faults[index].fault.clone();
        let World { clock, network, .. } = &mut self.world;
        match &fault {
            Fault::Kill { member, .. } | Fault::PowerCut { member, .. } => {
                self.start_later(*member, 0);
            }
            Fault::Partition { side, both_ways, .. } => {
                for (from, to) in ways(side, *both_ways, self.machines.len()) {
                    network.unblock(clock, from, to);
                }
            }
            Fault::Slow { from, to, .. } => network.slow_down((*from, *to), 0),
            _ => {}
        }
    }

    /// From here on nothing goes wrong among the core. All others are gone.
    pub(super) fn calm_down(&mut self) {
        self.note("calm".to_owned());
        for member in 0..self.machines.len() {
            self.machines[member].files.borrow_mut().fault = None;
            if self.plan.core.contains(&member) {
                self.start_later(member, 0);
            } else {
                self.gone.insert(member);
                self.kill(member, DiskFault::Kill);
            }
        }
    }
}

/// Which ways a partition closes.
fn ways(side: &[usize], both_ways: bool, nodes: usize) -> Vec<(usize, usize)> {
    let others = (0..nodes).filter(|node| !side.contains(node));
    let mut ways = Vec::new();
    for other in others {
        for one in side {
            ways.push((*one, other));
            if both_ways {
                ways.push((other, *one));
            }
        }
    }
    ways
}
