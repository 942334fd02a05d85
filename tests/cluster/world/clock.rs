//! The order of everything that happens in a world of several nodes. Time jumps to what is next.
//!
//! What happens at one instant to one node is one turn of it, in the order it was asked for; the
//! order of nodes within an instant is the seed's. A paused node has no turns, and then one with
//! all that it has missed.

use std::collections::BTreeMap;

use zkd::base::{Instant, Rng};

/// When, whose turn within the instant, and in which order within the turn.
type Key = (Instant, u64, u64);

#[derive(Debug)]
enum Queued<E> {
    Event { node: Option<usize>, event: E },
    Alarm { node: usize },
    Resume { node: usize },
}

#[derive(Debug)]
struct NodeClock<E> {
    /// Its clock shows so much more than the world's: nodes did not start at the same time.
    ahead_ns: u64,
    alarm: Option<Key>,
    paused_until: Option<Instant>,
    events: Vec<E>,
    has_rung: bool,
}

/// What a node, or the world, has to deal with now. No events: its alarm has rung.
#[derive(Debug, PartialEq, Eq)]
pub struct Turn<E> {
    pub node: Option<usize>,
    pub events: Vec<E>,
}

#[derive(Debug)]
pub struct Clock<E> {
    seed: u64,
    now: Instant,
    queued: BTreeMap<Key, Queued<E>>,
    number: u64,
    nodes: Vec<NodeClock<E>>,
}

impl<E> Clock<E> {
    pub fn new(seed: u64) -> Clock<E> {
        // A second has gone by, so that nothing is before the beginning.
        let now = Instant(1_000_000_000);
        Clock { seed, now, queued: BTreeMap::new(), number: 0, nodes: Vec::new() }
    }

    /// Another node, whose clock shows so much more than the world's.
    pub fn add_node(&mut self, ahead_ms: u64) -> usize {
        self.nodes.push(NodeClock {
            ahead_ns: ahead_ms * 1_000_000,
            alarm: None,
            paused_until: None,
            events: Vec::new(),
            has_rung: false,
        });
        self.nodes.len() - 1
    }

    /// The world's time.
    pub fn now(&self) -> Instant {
        self.now
    }

    /// What a node's clock shows.
    pub fn local(&self, node: usize) -> Instant {
        self.now.plus_ns(self.nodes[node].ahead_ns)
    }

    /// Something happens to a node, or to the world; what should have been before happens now.
    pub fn at(&mut self, when: Instant, node: Option<usize>, event: E) {
        self.queue(when, Queued::Event { node, event });
    }

    /// The node wants a turn when its clock shows this. It has one alarm.
    pub fn set_alarm(&mut self, node: usize, due: Option<Instant>) {
        if let Some(key) = self.nodes[node].alarm.take() {
            self.queued.remove(&key);
        }
        if let Some(due) = due {
            let when = Instant(due.0.saturating_sub(self.nodes[node].ahead_ns));
            self.nodes[node].alarm = Some(self.queue(when, Queued::Alarm { node }));
        }
    }

    /// The node stands still, at least until then.
    pub fn pause(&mut self, node: usize, until: Instant) {
        let until = self.nodes[node].paused_until.map_or(until, |already| already.max(until));
        self.nodes[node].paused_until = Some(until);
        self.queue(until, Queued::Resume { node });
    }

    pub fn is_paused(&self, node: usize) -> bool {
        self.nodes[node].paused_until.is_some()
    }

    /// The process on this node is gone, and with it what it had not looked at.
    pub fn forget(&mut self, node: usize) {
        self.set_alarm(node, None);
        let clock = &mut self.nodes[node];
        clock.events.clear();
        clock.has_rung = false;
        clock.paused_until = None;
    }

    /// When something happens next.
    pub fn next_at(&self) -> Option<Instant> {
        self.queued.first_key_value().map(|((when, ..), _)| *when)
    }

    /// Jumps to the next turn.
    pub fn next_turn(&mut self) -> Option<Turn<E>> {
        loop {
            let ((when, whose, _), queued) = self.queued.pop_first()?;
            assert!(when >= self.now, "time goes forward");
            self.now = when;
            let node = match queued {
                Queued::Event { node: None, event } => {
                    return Some(Turn { node: None, events: vec![event] });
                }
                Queued::Event { node: Some(node), event } => {
                    self.nodes[node].events.push(event);
                    node
                }
                Queued::Alarm { node } => {
                    self.nodes[node].alarm = None;
                    self.nodes[node].has_rung = true;
                    node
                }
                Queued::Resume { node } => {
                    let clock = &mut self.nodes[node];
                    clock.paused_until = clock.paused_until.filter(|until| *until > when);
                    node
                }
            };
            let next = self.queued.first_key_value().map(|((when, whose, _), _)| (*when, *whose));
            let clock = &mut self.nodes[node];
            let has_turn = !clock.events.is_empty() || clock.has_rung;
            if clock.paused_until.is_none() && has_turn && next != Some((when, whose)) {
                clock.has_rung = false;
                let events = std::mem::take(&mut clock.events);
                return Some(Turn { node: Some(node), events });
            }
        }
    }

    fn queue(&mut self, when: Instant, queued: Queued<E>) -> Key {
        let when = when.max(self.now);
        let owner = match &queued {
            Queued::Event { node, .. } => node.map_or(0, |node| node as u64 + 1),
            Queued::Alarm { node } | Queued::Resume { node } => *node as u64 + 1,
        };
        self.number += 1;
        // By the instant and the node, not by how many there were before: what is left out of a
        // plan does not turn the rest of it about.
        let mut order = Rng::new(self.seed ^ when.0.rotate_left(17) ^ owner);
        let key = (when, order.next_u64(), self.number);
        self.queued.insert(key, queued);
        key
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ms(ms: u64) -> Instant {
        Instant(1_000_000_000).plus_ms(ms)
    }

    fn turn(node: usize, events: &[u32]) -> Option<Turn<u32>> {
        Some(Turn { node: Some(node), events: events.to_vec() })
    }

    #[test]
    fn time_jumps_to_what_is_next_and_never_goes_back() {
        let mut clock = Clock::new(1);
        let node = clock.add_node(5000);
        clock.at(ms(90), Some(node), 2);
        clock.at(ms(30), None, 1);
        assert_eq!(clock.next_turn(), Some(Turn { node: None, events: vec![1] }));
        assert_eq!((clock.now(), clock.local(node)), (ms(30), ms(5030)));
        clock.at(ms(3), Some(node), 3);
        assert_eq!(clock.next_turn(), turn(node, &[3]), "what is late happens at once");
        assert_eq!(clock.next_turn(), turn(node, &[2]));
        assert_eq!((clock.now(), clock.next_turn()), (ms(90), None));
    }

    #[test]
    fn one_instant_is_one_turn_of_each_node_in_the_seeds_order() {
        let mut orders = std::collections::BTreeSet::new();
        for seed in 0..50 {
            let mut clock = Clock::new(seed);
            let nodes: Vec<usize> = (0..3).map(|_| clock.add_node(0)).collect();
            for event in [10, 20] {
                nodes.iter().for_each(|node| clock.at(ms(7), Some(*node), event));
            }
            let mut order = Vec::new();
            while let Some(turn) = clock.next_turn() {
                assert_eq!(turn.events, [10, 20]);
                order.push(turn.node);
            }
            assert_eq!(order.len(), 3);
            orders.insert(order);
        }
        assert_eq!(orders.len(), 6, "every order, by some seed");
    }

    #[test]
    fn a_paused_node_gets_nothing_and_then_everything_in_order() {
        let mut clock = Clock::new(3);
        let (slow, other) = (clock.add_node(0), clock.add_node(0));
        clock.at(ms(1), Some(slow), 1);
        clock.at(ms(5), Some(slow), 2);
        clock.at(ms(40), Some(slow), 3);
        clock.at(ms(6), Some(other), 9);
        clock.set_alarm(slow, Some(ms(8)));
        clock.pause(slow, ms(20));
        clock.pause(slow, ms(40));
        clock.pause(slow, ms(10));
        assert_eq!(clock.next_turn(), turn(other, &[9]));
        assert!(clock.is_paused(slow));
        assert_eq!(clock.next_turn(), turn(slow, &[1, 2, 3]));
        assert_eq!((clock.now(), clock.is_paused(slow)), (ms(40), false));
        assert_eq!(clock.next_turn(), None, "the alarm has rung with it");
    }

    #[test]
    fn a_node_has_one_alarm_by_its_own_clock() {
        let mut clock: Clock<u32> = Clock::new(3);
        let node = clock.add_node(700);
        clock.set_alarm(node, Some(ms(705)));
        clock.set_alarm(node, Some(ms(750)));
        assert_eq!(clock.next_turn(), turn(node, &[]));
        assert_eq!(clock.now(), ms(50));
        clock.set_alarm(node, Some(ms(1)));
        assert_eq!((clock.next_at(), clock.next_turn()), (Some(ms(50)), turn(node, &[])));
        clock.set_alarm(node, Some(ms(800)));
        clock.set_alarm(node, None);
        assert_eq!(clock.next_turn(), None);
    }

    #[test]
    fn a_process_that_is_gone_leaves_nothing_to_the_next_one() {
        let mut clock = Clock::new(3);
        let node = clock.add_node(0);
        clock.at(ms(1), Some(node), 1);
        clock.at(ms(2), None, 7);
        clock.pause(node, ms(30));
        assert_eq!(clock.next_turn().and_then(|turn| turn.node), None);
        clock.forget(node);
        clock.at(ms(10), Some(node), 2);
        clock.pause(node, ms(50));
        assert_eq!(clock.next_turn(), turn(node, &[2]), "the earlier pause ends nothing");
        assert_eq!(clock.now(), ms(50));
    }
}
