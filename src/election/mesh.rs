//! Who dials whom on the election port, and which link stays.
//!
//! Between two servers one link is enough, and only one that the greater id has dialled stays. So
//! who is smaller dials to say that it is there, is left, and is dialled back. A newer link to the
//! same server takes the place of the older, which may be dead without anybody's knowing.
//!
//! Servers are compared by id, never by address: addresses are names that are looked up at every
//! dial, by whoever carries it out. Nothing here waits for a name, this server's own included.

use std::collections::BTreeMap;

use crate::base::limits::{ELECTION_DIAL_BACK_MS, ELECTION_GREETINGS, ELECTION_STRANGERS};
use crate::base::{ConnId, Instant, ServerId};
use crate::peering::{HostPort, Initial, InitialForm, Notification};

use super::peer::{Dial, Link, Pause, Peer};
use super::{PeerSpec, Reach};

/// What of the configuration concerns the mesh.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MeshSettings {
    pub me: ServerId,
    /// This server's election addresses as the configuration writes them.
    pub own: Vec<HostPort>,
    /// `V2` with `multiAddress.enabled`, which tells all of them and which 3.5 cannot read.
    pub form: InitialForm,
    pub tick_ms: u64,
    /// How long an accepted link has for its first message.
    pub greeting_ms: u64,
}

/// Why a link is closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CloseReason {
    /// The other end says that it is this server.
    OwnId,
    /// The smaller id has dialled; it is dialled back.
    DialledBySmaller,
    /// This server is the smaller and has said that it is there.
    ToBeDialledBack,
    /// It was only asked whether somebody listens.
    Knocked,
    /// A newer link to the same server takes its place, or is about to.
    Replaced,
    /// Nobody waits for it any more.
    Unwanted,
    /// No first message in time.
    Silent,
    /// Too many have come that are not members, or have not said who they are.
    Crowded,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DialFailure {
    /// The machine answers, and nobody listens.
    Refused,
    /// Anything else: no answer, no way, no such name.
    Unreached,
}

/// What is to be done, in this order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum MeshOutput {
    /// The addresses in the order of preference; the first that answers counts.
    Dial {
        dial: u64,
        server: ServerId,
        addresses: Vec<HostPort>,
    },
    /// Its outcome is of no interest any more.
    DropDial {
        dial: u64,
    },
    /// The first message of a link that was dialled.
    Greet {
        link: ConnId,
        initial: Initial,
        form: InitialForm,
    },
    Send {
        link: ConnId,
        notification: Notification,
    },
    Close {
        link: ConnId,
        reason: CloseReason,
        after_flush: bool,
    },
    /// A server can be reached otherwise than before.
    Reach {
        server: ServerId,
        reach: Reach,
    },
}

/// One server's links on the election port.
#[derive(Debug)]
pub struct Mesh {
    settings: MeshSettings,
    peers: BTreeMap<ServerId, Peer>,
    links: BTreeMap<ConnId, ServerId>,
    /// Accepted links whose first message is not there, and until when they may wait.
    greetings: BTreeMap<ConnId, Instant>,
    dials: BTreeMap<u64, ServerId>,
    dialled: u64,
    /// What a voter's link begins with if nothing is queued for it.
    word: Option<Notification>,
    /// Servers without an id of their own so far.
    nameless: i64,
}

impl Mesh {
    pub fn new(settings: MeshSettings) -> Mesh {
        assert!(settings.tick_ms > 0, "a tick takes time");
        Mesh {
            settings,
            peers: BTreeMap::new(),
            links: BTreeMap::new(),
            greetings: BTreeMap::new(),
            dials: BTreeMap::new(),
            dialled: 0,
            word: None,
            nameless: 0,
        }
    }

    /// This server's election addresses are others from now on; links that stand keep standing.
    pub fn move_to(&mut self, own: Vec<HostPort>) {
        self.settings.own = own;
    }

    /// The members of the present configuration and of the one on its way, with this server or
    /// without. Links stay as they are, whatever their addresses have become.
    pub fn adopt(
        &mut self,
        now: Instant,
        mut members: BTreeMap<ServerId, PeerSpec>,
        out: &mut Vec<MeshOutput>,
    ) {
        members.remove(&self.settings.me);
        let known: Vec<ServerId> = self.peers.keys().copied().collect();
        for server in known {
            if !members.contains_key(&server) {
                self.forget_member(server, out);
            }
        }
        for (server, spec) in members {
            let peer = self.peers.entry(server).or_insert_with(|| Peer::new(now));
            if peer.spec.as_ref() == Some(&spec) {
                continue;
            }
            peer.spec = Some(spec);
            peer.refresh(now);
            let addresses = peer.addresses();
            if peer.dial.as_ref().is_some_and(|dial| dial.addresses != addresses) {
                self.drop_dial(server, out);
            }
            self.dial_if_wanted(server, out);
        }
        self.make_room_for_strangers(ELECTION_STRANGERS, out);
    }

    /// Somebody has connected. Who it is, its first message will say.
    pub fn accepted(&mut self, now: Instant, link: ConnId, out: &mut Vec<MeshOutput>) {
        assert!(!self.links.contains_key(&link), "a link is accepted once");
        if self.greetings.len() >= ELECTION_GREETINGS {
            let oldest = self.greetings.iter().min_by_key(|(link, until)| (**until, **link));
            let (oldest, _) = oldest.expect("there are as many as there may be");
            let oldest = *oldest;
            self.greetings.remove(&oldest);
            close(oldest, CloseReason::Crowded, out);
        }
        self.greetings.insert(link, now.plus_ms(self.settings.greeting_ms));
    }

    /// An accepted link's first message.
    pub fn handle_initial(
        &mut self,
        now: Instant,
        link: ConnId,
        initial: &Initial,
        out: &mut Vec<MeshOutput>,
    ) {
        if self.greetings.remove(&link).is_none() {
            return;
        }
        let server = self.named(initial.server);
        if server == self.settings.me {
            return close(link, CloseReason::OwnId, out);
        }
        if server < self.settings.me {
            close(link, CloseReason::DialledBySmaller, out);
            self.dial_back(now, server, initial.addresses.clone(), out);
        } else {
            self.welcome(now, server, out);
            self.keep(now, server, link, out);
        }
    }

    /// How a dial has ended.
    pub fn handle_dialled(
        &mut self,
        now: Instant,
        number: u64,
        outcome: Result<ConnId, DialFailure>,
        out: &mut Vec<MeshOutput>,
    ) {
        let Some(server) = self.dials.remove(&number) else {
            if let Ok(link) = outcome {
                close(link, CloseReason::Unwanted, out);
            }
            return;
        };
        let peer = self.peers.get_mut(&server).expect("who is dialled is known");
        let dial = peer.dial.take().expect("a dial under way belongs to its server");
        assert_eq!(dial.number, number, "a server is dialled once at a time");
        peer.given.clear();
        match outcome {
            Ok(link) if server < self.settings.me => {
                self.greet(link, out);
                self.keep(now, server, link, out);
            }
            Ok(link) => {
                if dial.knocks {
                    peer.knocked(now, self.settings.tick_ms);
                    peer.leave_be_unless_voter();
                    close(link, CloseReason::Knocked, out);
                } else {
                    peer.rest(now, Pause::DialBack, self.settings.tick_ms);
                    peer.leave_be_unless_voter();
                    self.greet(link, out);
                    let reason = CloseReason::ToBeDialledBack;
                    out.push(MeshOutput::Close { link, reason, after_flush: true });
                }
            }
            Err(failure) => {
                peer.believe();
                peer.rest(now, Pause::Failed, self.settings.tick_ms);
                peer.leave_be_unless_voter();
                if failure == DialFailure::Refused {
                    self.set_reach(server, Reach::Refused, out);
                }
                self.forget_if_gone(server);
            }
        }
    }

    /// A link was closed from outside, or broke.
    pub fn handle_closed(&mut self, now: Instant, link: ConnId, out: &mut Vec<MeshOutput>) {
        if self.greetings.remove(&link).is_some() {
            return;
        }
        let Some(server) = self.links.remove(&link) else { return };
        let peer = self.peers.get_mut(&server).expect("a link belongs to a server");
        let had = peer.link.take().expect("a server knows its link");
        assert_eq!(had.conn, link, "a server has one link");
        self.set_reach(server, Reach::Unknown, out);
        if self.forget_if_gone(server) {
            return;
        }
        let is_greater = server > self.settings.me;
        let peer = self.peers.get_mut(&server).expect("a member stays known");
        if now.ms_since(had.since) >= ELECTION_DIAL_BACK_MS {
            peer.refresh(now);
            if is_greater {
                peer.doubt();
            }
            if peer.is_wanted() {
                // A greater one is dialling already, if it lives. Only whether it does is asked: a
                // word would make it give up the link it is making.
                self.dial(server, is_greater, out);
            }
        } else {
            let pause = if is_greater { Pause::DialBack } else { Pause::Failed };
            peer.rest(now, pause, self.settings.tick_ms);
        }
    }

    /// Whose link this is, and that it has spoken.
    pub fn heard(&mut self, now: Instant, link: ConnId) -> Option<ServerId> {
        let server = *self.links.get(&link)?;
        self.peers.get_mut(&server).expect("a link belongs to a server").heard = now;
        Some(server)
    }

    /// Whether a link's bytes wait to be taken.
    pub fn handle_backlog(&mut self, link: ConnId, waits: bool, out: &mut Vec<MeshOutput>) {
        let Some(server) = self.links.get(&link) else { return };
        let peer = self.peers.get_mut(server).expect("a link belongs to a server");
        let held = peer.link.as_mut().expect("a server knows its link");
        held.blocked = waits;
        if !waits && let Some(notification) = peer.queued.take() {
            out.push(MeshOutput::Send { link, notification });
        }
    }

    /// Tells a server something, now or as soon as there is a link. What it had not been told yet
    /// is old by that.
    pub fn tell(
        &mut self,
        now: Instant,
        to: ServerId,
        notification: Notification,
        out: &mut Vec<MeshOutput>,
    ) {
        // A stranger may be gone by the time it is answered.
        let Some(peer) = self.peers.get_mut(&to) else { return };
        match &peer.link {
            Some(link) if !link.blocked => {
                out.push(MeshOutput::Send { link: link.conn, notification });
            }
            Some(_) => peer.queued = Some(notification),
            None => {
                peer.queued = Some(notification);
                if peer.dial.is_none() {
                    peer.hasten(now);
                    self.dial_if_due(now, to, out);
                }
            }
        }
    }

    /// What voters' links begin with from now on. What is queued for voters was said before.
    pub fn restate(&mut self, word: Option<Notification>) {
        for peer in self.peers.values_mut().filter(|peer| peer.is_voter()) {
            if peer.queued.is_some() {
                peer.queued = word.clone();
            }
        }
        self.word = word;
    }

    pub fn handle_timeout(&mut self, now: Instant, out: &mut Vec<MeshOutput>) {
        let due = |until: &Instant| *until <= now;
        let silent: Vec<ConnId> =
            self.greetings.iter().filter(|(_, until)| due(until)).map(|(link, _)| *link).collect();
        for link in silent {
            self.greetings.remove(&link);
            close(link, CloseReason::Silent, out);
        }
        let resting: Vec<ServerId> =
            self.peers.iter().filter(|(_, peer)| peer.again.is_some()).map(|(id, _)| *id).collect();
        for server in resting {
            self.dial_if_due(now, server, out);
        }
        assert!(self.next_timeout().is_none_or(|next| next > now), "a timer fires once");
    }

    pub fn next_timeout(&self) -> Option<Instant> {
        let redials = self.peers.values().filter_map(|peer| peer.again);
        redials.chain(self.greetings.values().copied()).min()
    }

    pub fn reach(&self, server: ServerId) -> Reach {
        self.peers.get(&server).map_or(Reach::Unknown, |peer| peer.reach)
    }

    /// What must hold between any two inputs.
    pub fn check(&self) {
        for (server, peer) in &self.peers {
            assert_ne!(*server, self.settings.me, "nobody has a link to himself");
            let linked = peer.link.is_some_and(|link| self.links.get(&link.conn) == Some(server));
            assert_eq!(linked, peer.link.is_some(), "a link knows its server");
            assert_eq!(linked, peer.reach == Reach::Linked, "who has a link is reached");
            assert!(!(linked && peer.dial.is_some()), "who has a link is not dialled");
            let numbered = peer.dial.as_ref().map(|dial| self.dials.get(&dial.number));
            assert!(numbered.is_none_or(|at| at == Some(server)), "a dial knows its server");
            let idles = peer.link.is_none() && peer.dial.is_none();
            assert!(!(idles && peer.is_stranger()), "strangers are forgotten with their link");
            let forgotten = peer.is_voter() && peer.is_wanted() && peer.again.is_none();
            assert!(!forgotten, "voters are dialled again");
        }
        let linked = self.peers.values().filter(|peer| peer.link.is_some()).count();
        assert_eq!(linked, self.links.len(), "every link belongs to a server");
        let dialled = self.peers.values().filter(|peer| peer.dial.is_some()).count();
        assert_eq!(dialled, self.dials.len(), "every dial belongs to a server");
        assert!(self.greetings.len() <= ELECTION_GREETINGS, "who says nothing is bounded");
        let strangers = self.peers.values().filter(|peer| peer.is_stranger()).count();
        assert!(strangers <= ELECTION_STRANGERS, "strangers are bounded");
    }

    /// Who has no id of its own, as the oldest observers, gets one that is smaller than any. It
    /// stands for one link and is not used again.
    fn named(&mut self, server: ServerId) -> ServerId {
        if server != Initial::ANONYMOUS && server >= ServerId(0) {
            return server;
        }
        self.nameless -= 1;
        ServerId(self.nameless)
    }

    /// A smaller server has shown itself. Whatever link it had is not good any more, or it would
    /// not have dialled.
    fn dial_back(
        &mut self,
        now: Instant,
        server: ServerId,
        given: Vec<HostPort>,
        out: &mut Vec<MeshOutput>,
    ) {
        if given.is_empty() && !self.peers.contains_key(&server) {
            return;
        }
        self.welcome(now, server, out);
        self.unlink(server, CloseReason::Replaced, out);
        let peer = self.peers.get_mut(&server).expect("it was welcomed");
        let is_news = |dial: &Dial| given.iter().any(|at| !dial.addresses.contains(at));
        if peer.dial.as_ref().is_some_and(is_news) {
            // It is not where it is being looked for.
            self.drop_dial(server, out);
        }
        let peer = self.peers.get_mut(&server).expect("it was welcomed");
        if peer.dial.is_none() {
            peer.given = given;
            peer.refresh(now);
            self.dial(server, false, out);
        }
        self.forget_if_gone(server);
    }

    /// Makes a server known that has shown itself.
    fn welcome(&mut self, now: Instant, server: ServerId, out: &mut Vec<MeshOutput>) {
        if !self.peers.contains_key(&server) {
            self.make_room_for_strangers(ELECTION_STRANGERS - 1, out);
        }
        self.peers.entry(server).or_insert_with(|| Peer::new(now)).heard = now;
    }

    /// Leaves so many strangers as they are, and no more: those who were heard last.
    fn make_room_for_strangers(&mut self, most: usize, out: &mut Vec<MeshOutput>) {
        let strangers = self.peers.iter().filter(|(_, peer)| peer.is_stranger());
        let mut oldest_first: Vec<(Instant, ServerId)> =
            strangers.map(|(server, peer)| (peer.heard, *server)).collect();
        let surplus = oldest_first.len().saturating_sub(most);
        oldest_first.sort_unstable();
        for (_, server) in &oldest_first[..surplus] {
            self.unlink(*server, CloseReason::Crowded, out);
            self.drop_dial(*server, out);
            self.peers.remove(server);
        }
    }

    /// No configuration names it any more. While it has a link it may go on asking.
    fn forget_member(&mut self, server: ServerId, out: &mut Vec<MeshOutput>) {
        let peer = self.peers.get_mut(&server).expect("asked about who is known");
        if peer.is_stranger() {
            return;
        }
        peer.spec = None;
        peer.again = None;
        self.drop_dial(server, out);
        self.forget_if_gone(server);
    }

    /// Strangers are known as long as they have a link or are about to get one.
    fn forget_if_gone(&mut self, server: ServerId) -> bool {
        let is_gone =
            |peer: &Peer| peer.is_stranger() && peer.link.is_none() && peer.dial.is_none();
        let gone = self.peers.get(&server).is_some_and(is_gone);
        if gone {
            self.peers.remove(&server);
        }
        gone
    }

    /// The link is this server's from now on.
    fn keep(&mut self, now: Instant, server: ServerId, link: ConnId, out: &mut Vec<MeshOutput>) {
        self.unlink(server, CloseReason::Replaced, out);
        self.drop_dial(server, out);
        let word = self.word.clone();
        let peer = self.peers.get_mut(&server).expect("a link is kept of who is known");
        peer.link = Some(Link { conn: link, since: now, blocked: false });
        peer.believe();
        peer.given.clear();
        peer.again = None;
        let word = word.filter(|_| peer.is_voter());
        let first = peer.queued.take().or(word);
        self.links.insert(link, server);
        self.set_reach(server, Reach::Linked, out);
        if let Some(notification) = first {
            out.push(MeshOutput::Send { link, notification });
        }
    }

    fn unlink(&mut self, server: ServerId, reason: CloseReason, out: &mut Vec<MeshOutput>) {
        let Some(peer) = self.peers.get_mut(&server) else { return };
        if let Some(link) = peer.link.take() {
            self.links.remove(&link.conn);
            close(link.conn, reason, out);
            self.set_reach(server, Reach::Unknown, out);
        }
    }

    fn drop_dial(&mut self, server: ServerId, out: &mut Vec<MeshOutput>) {
        let Some(peer) = self.peers.get_mut(&server) else { return };
        if let Some(dial) = peer.dial.take() {
            self.dials.remove(&dial.number);
            out.push(MeshOutput::DropDial { dial: dial.number });
        }
    }

    fn dial_if_due(&mut self, now: Instant, server: ServerId, out: &mut Vec<MeshOutput>) {
        let peer = self.peers.get_mut(&server).expect("asked about who is known");
        if peer.again.is_some_and(|again| again <= now) {
            peer.again = None;
            if peer.is_wanted() && peer.is_doubted() {
                self.dial(server, true, out);
            } else {
                self.dial_if_wanted(server, out);
            }
        }
    }

    fn dial_if_wanted(&mut self, server: ServerId, out: &mut Vec<MeshOutput>) {
        if self.peers.get(&server).is_some_and(Peer::is_wanted) {
            self.dial(server, false, out);
        }
    }

    /// Dials a server unless there is a link, a dial under way, or no place to look for it.
    fn dial(&mut self, server: ServerId, knocks: bool, out: &mut Vec<MeshOutput>) {
        let peer = self.peers.get_mut(&server).expect("asked about who is known");
        let addresses = peer.addresses();
        if peer.link.is_some() || peer.dial.is_some() || addresses.is_empty() {
            return;
        }
        self.dialled += 1;
        let number = self.dialled;
        peer.again = None;
        peer.dial = Some(Dial { number, knocks, addresses: addresses.clone() });
        self.dials.insert(number, server);
        // What was found at the last dial is not said of this one.
        self.set_reach(server, Reach::Unknown, out);
        out.push(MeshOutput::Dial { dial: number, server, addresses });
    }

    fn set_reach(&mut self, server: ServerId, reach: Reach, out: &mut Vec<MeshOutput>) {
        let peer = self.peers.get_mut(&server).expect("asked about who is known");
        if peer.reach != reach {
            peer.reach = reach;
            out.push(MeshOutput::Reach { server, reach });
        }
    }

    fn greet(&self, link: ConnId, out: &mut Vec<MeshOutput>) {
        let MeshSettings { me, own, form, .. } = &self.settings;
        let initial = Initial { server: *me, addresses: own.clone() };
        out.push(MeshOutput::Greet { link, initial, form: *form });
    }
}

fn close(link: ConnId, reason: CloseReason, out: &mut Vec<MeshOutput>) {
    out.push(MeshOutput::Close { link, reason, after_flush: false });
}
