//! The links of a member that does as Java's servers do: one dial a peer at a time, begun by every
//! word to who has no link; a queue of one word a peer; and the last word said again wherever a
//! link begins.

use std::collections::{BTreeMap, BTreeSet};

use zkd::base::{ConnId, ServerId};
use zkd::election::DialFailure;
use zkd::peering::{HostPort, Initial, InitialForm};

use super::plan::{MemberPlan, Plan};
use super::voter::{Act, addresses};

#[derive(Debug)]
struct Worker {
    link: ConnId,
    is_blocked: bool,
}

#[derive(Debug)]
pub struct JavaLinks {
    me: ServerId,
    own: Vec<HostPort>,
    places: BTreeMap<ServerId, Vec<HostPort>>,
    workers: BTreeMap<ServerId, Worker>,
    /// The newest word a peer has not been sent.
    queued: BTreeMap<ServerId, Option<Vec<u8>>>,
    last: BTreeMap<ServerId, Vec<u8>>,
    /// Whom each dial under way is for.
    dialling: BTreeMap<u64, ServerId>,
    dialled: u64,
    /// Links of its own id: left as they are, and never looked at.
    ignored: BTreeSet<ConnId>,
}

impl JavaLinks {
    pub fn new(plan: &Plan, place: usize) -> JavaLinks {
        let places = |m: &MemberPlan| (ServerId(m.id), addresses(plan, m.id));
        let id = plan.members[place].id;
        JavaLinks {
            me: ServerId(id),
            // All that the first form of its first message has room for, and one that works.
            own: addresses(plan, id).pop().into_iter().collect(),
            places: plan.members.iter().map(places).collect(),
            workers: BTreeMap::new(),
            queued: BTreeMap::new(),
            last: BTreeMap::new(),
            dialling: BTreeMap::new(),
            dialled: 0,
            ignored: BTreeSet::new(),
        }
    }

    pub fn tell(&mut self, to: ServerId, word: Vec<u8>, acts: &mut Vec<Act>) {
        *self.queued.entry(to).or_default() = Some(word);
        self.pass_on(to, acts);
        self.connect(to, Vec::new(), acts);
    }

    pub fn connect_all(&mut self, acts: &mut Vec<Act>) {
        let all: Vec<ServerId> = self.queued.keys().copied().collect();
        all.into_iter().for_each(|to| self.connect(to, Vec::new(), acts));
    }

    /// Whether one of the queues is empty.
    pub fn have_delivered(&self) -> bool {
        self.queued.values().any(Option::is_none)
    }

    /// Whose link it is.
    pub fn owner(&self, link: ConnId) -> Option<ServerId> {
        let mut workers = self.workers.iter();
        workers.find(|(_, worker)| worker.link == link).map(|(server, _)| *server)
    }

    pub fn dialled(
        &mut self,
        call: u64,
        outcome: Result<ConnId, DialFailure>,
        acts: &mut Vec<Act>,
    ) {
        let to = self.dialling.remove(&call).expect("a dial is waited for");
        if let Ok(link) = outcome {
            let initial = Initial { server: self.me, addresses: self.own.clone() };
            let mut bytes = Vec::new();
            initial.write(InitialForm::V1, &mut bytes);
            acts.push(Act::Write { link, bytes });
            if to > self.me {
                acts.push(Act::Close { link, after_flush: true });
            } else {
                self.begin(to, link, acts);
            }
        }
    }

    pub fn initial(&mut self, link: ConnId, initial: &Initial, acts: &mut Vec<Act>) {
        let from = initial.server;
        if from == self.me {
            self.ignored.insert(link);
        } else if from > self.me {
            self.begin(from, link, acts);
        } else {
            if let Some(worker) = self.workers.remove(&from) {
                acts.push(Act::Close { link: worker.link, after_flush: false });
            }
            acts.push(Act::Close { link, after_flush: false });
            self.connect(from, initial.addresses.clone(), acts);
        }
    }

    pub fn closed(&mut self, link: ConnId) {
        self.workers.retain(|_, worker| worker.link != link);
        self.ignored.remove(&link);
    }

    pub fn backlog(&mut self, link: ConnId, waits: bool, acts: &mut Vec<Act>) {
        let Some(to) = self.owner(link) else { return };
        self.workers.get_mut(&to).expect("it has a link").is_blocked = waits;
        self.pass_on(to, acts);
    }

    /// A link is this server's from now on, in place of the one it had.
    fn begin(&mut self, to: ServerId, link: ConnId, acts: &mut Vec<Act>) {
        let worker = Worker { link, is_blocked: false };
        if let Some(old) = self.workers.insert(to, worker) {
            acts.push(Act::Close { link: old.link, after_flush: false });
        }
        let queued = self.queued.entry(to).or_default();
        if queued.is_none()
            && let Some(bytes) = self.last.get(&to).cloned()
        {
            acts.push(Act::Write { link, bytes });
        }
        self.pass_on(to, acts);
    }

    fn pass_on(&mut self, to: ServerId, acts: &mut Vec<Act>) {
        let Some(worker) = self.workers.get(&to).filter(|worker| !worker.is_blocked) else {
            return;
        };
        if let Some(bytes) = self.queued.entry(to).or_default().take() {
            self.last.insert(to, bytes.clone());
            acts.push(Act::Write { link: worker.link, bytes });
        }
    }

    /// Dials it, at the addresses it has given or else at those of the configuration.
    fn connect(&mut self, to: ServerId, given: Vec<HostPort>, acts: &mut Vec<Act>) {
        let known = || self.places.get(&to).cloned().unwrap_or_default();
        let addresses = if given.is_empty() { known() } else { given };
        let is_under_way = self.dialling.values().any(|other| *other == to);
        if !is_under_way && !self.workers.contains_key(&to) && !addresses.is_empty() {
            self.dialled += 1;
            self.dialling.insert(self.dialled, to);
            acts.push(Act::Dial { call: self.dialled, addresses });
        }
    }
}
