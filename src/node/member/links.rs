//! Peers' links: what each is for, and the bytes that come over it.

use crate::base::{ConnId, Instant, limits};
use crate::election::DialFailure;
use crate::peering::{ElectionReader, Heard, Initial, Notification, PacketBytes, Splitter};
use crate::zab;

use super::super::Node;
use super::super::seam::{Effect, Effects, PeerEvent, PeerPort};
use super::{Kind, Member, Role};

/// What a link is for. What reads it is lent out while its words are acted upon.
pub(super) enum Use {
    Election(Option<ElectionReader>),
    /// Somebody has come before it is known whether this server leads, or could feed observers. It
    /// is not read; what it said before that is kept.
    Early {
        port: PeerPort,
        since: Instant,
        said: Vec<u8>,
    },
    Learner(Option<Box<Splitter>>),
    /// Our own way to the leader.
    Leader,
}

/// What a dial is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum DialFor {
    /// By the mesh's own number.
    Mesh(u64),
    /// The place of the address in the leader's list.
    Leader(usize),
}

/// What was said on an election link, no longer borrowed from it.
enum Word {
    Initial(Initial),
    Message(Vec<u8>),
}

impl Node {
    pub(in super::super) fn on_peer(&mut self, event: &PeerEvent<'_>, out: &mut Effects) {
        match *event {
            PeerEvent::Accepted { link, port: PeerPort::Election, .. } => {
                let Some(member) = self.member.as_deref_mut() else { return };
                member.uses.insert(link, Use::Election(Some(ElectionReader::accepted())));
                self.with_mesh(|mesh, now, out| mesh.accepted(now, link, out));
            }
            PeerEvent::Accepted { link, port: PeerPort::Quorum, .. } => {
                self.on_quorum_link(link, out);
            }
            PeerEvent::Accepted { link, port: PeerPort::Observers, .. } => {
                self.on_observer_link(link, out);
            }
            PeerEvent::Dialed { dial, outcome } => self.on_peer_dialed(dial, outcome, out),
            PeerEvent::Bytes { link, bytes } => self.on_peer_bytes(link, bytes, out),
            PeerEvent::Closed { link } => self.on_peer_closed(link, out),
            PeerEvent::Unsent { link, bytes } => self.on_peer_unsent(link, bytes, out),
        }
        self.carry_out(out);
    }

    /// A learner, if this server leads. Where that is open it waits: who is elected by others, or
    /// designated by the last leader, may be the last to know.
    fn on_quorum_link(&mut self, link: ConnId, out: &mut Effects) {
        let Some(member) = self.member.as_deref_mut() else { return };
        match member.admits(PeerPort::Quorum) {
            Some(true) => self.admit_learner(link, &[], out),
            Some(false) => out.push(Effect::Close { conn: link, after_flush: false }),
            None => self.let_wait(link, PeerPort::Quorum, out),
        }
    }

    /// An observer, if this server follows. It waits where that has only begun, or may begin.
    fn on_observer_link(&mut self, link: ConnId, out: &mut Effects) {
        let Some(member) = self.member.as_deref_mut() else { return };
        let observes = member.settings.learner.role == Kind::Observer;
        match member.admits(PeerPort::Observers) {
            Some(true) => self.admit_learner(link, &[], out),
            None if !observes => self.let_wait(link, PeerPort::Observers, out),
            _ => out.push(Effect::Close { conn: link, after_flush: false }),
        }
    }

    fn let_wait(&mut self, link: ConnId, port: PeerPort, out: &mut Effects) {
        let since = self.now.mono;
        let Some(member) = self.member.as_deref_mut() else { return };
        let early = |(link, used): (&ConnId, &Use)| match used {
            Use::Early { port: other, since, .. } if *other == port => Some((*since, *link)),
            _ => None,
        };
        let early: Vec<_> = member.uses.iter().filter_map(early).collect();
        // They are not read, so that those who have gone are among them.
        if early.len() >= limits::QUORUM_EARLY_LINKS
            && let Some((_, oldest)) = early.into_iter().min()
        {
            member.drop_use(oldest);
            out.push(Effect::Close { conn: oldest, after_flush: false });
        }
        member.uses.insert(link, Use::Early { port, since, said: Vec::new() });
        out.push(Effect::Pause { conn: link });
    }

    /// Who came early is a learner now, or has come in vain, or waits on.
    pub(super) fn take_early_links(&mut self, out: &mut Effects) {
        let Some(member) = self.member.as_deref() else { return };
        let verdict = |(link, used): (&ConnId, &Use)| match used {
            Use::Early { port, since, .. } => Some((*since, *link, member.admits(*port)?)),
            _ => None,
        };
        let mut verdicts: Vec<_> = member.uses.iter().filter_map(verdict).collect();
        // Of one server the last link is the one that stands.
        verdicts.sort();
        for (_, link, is_admitted) in verdicts {
            let Some(member) = self.member.as_deref_mut() else { return };
            let Some(Use::Early { said, .. }) = member.uses.remove(&link) else { continue };
            if is_admitted {
                out.push(Effect::Resume { conn: link });
                self.admit_learner(link, &said, out);
            } else {
                out.push(Effect::Close { conn: link, after_flush: false });
            }
        }
    }

    fn admit_learner(&mut self, link: ConnId, said: &[u8], out: &mut Effects) {
        let Some(member) = self.member.as_deref_mut() else { return };
        let splitter = Box::new(Splitter::new(PacketBytes::GREETING));
        member.uses.insert(link, Use::Learner(Some(splitter)));
        let room = limits::PEER_UNSENT_BYTES;
        self.tell_feeder(zab::Input::Connected { link, room }, out);
        if !said.is_empty() {
            self.on_peer_bytes(link, said, out);
        }
    }

    fn on_peer_dialed(
        &mut self,
        dial: u64,
        outcome: Result<ConnId, DialFailure>,
        out: &mut Effects,
    ) {
        let Some(member) = self.member.as_deref_mut() else { return };
        match (member.dials.remove(&dial), outcome) {
            (Some(DialFor::Mesh(number)), outcome) => {
                if let Ok(link) = outcome {
                    let reader = ElectionReader::dialed();
                    member.uses.insert(link, Use::Election(Some(reader)));
                }
                self.with_mesh(|mesh, now, out| mesh.handle_dialled(now, number, outcome, out));
            }
            (Some(DialFor::Leader(address)), outcome) => {
                self.on_leader_dialed(address, outcome, out);
            }
            (None, Ok(link)) => out.push(Effect::Close { conn: link, after_flush: false }),
            (None, Err(_)) => {}
        }
    }

    fn on_peer_bytes(&mut self, link: ConnId, bytes: &[u8], out: &mut Effects) {
        let Some(member) = self.member.as_deref_mut() else { return };
        match member.uses.get_mut(&link) {
            Some(Use::Election(reader)) => {
                let Some(reader) = reader.take() else { return };
                self.on_election_bytes(link, reader, bytes, out);
            }
            Some(Use::Early { said, .. }) => {
                if said.len() + bytes.len() > limits::QUORUM_EARLY_BYTES {
                    member.uses.remove(&link);
                    return out.push(Effect::Close { conn: link, after_flush: false });
                }
                said.extend_from_slice(bytes);
            }
            Some(Use::Learner(splitter)) => {
                let Some(splitter) = splitter.take() else { return };
                self.on_learner_bytes(link, splitter, bytes, out);
            }
            Some(Use::Leader) => self.on_leader_bytes(link, bytes, out),
            None => {}
        }
    }

    fn on_election_bytes(
        &mut self,
        link: ConnId,
        mut reader: ElectionReader,
        bytes: &[u8],
        out: &mut Effects,
    ) {
        let mut input = bytes;
        loop {
            let word = match reader.next(&mut input) {
                Ok(Some(Heard::Initial(initial))) => Word::Initial(initial),
                Ok(Some(Heard::Message(body))) => Word::Message(body.to_vec()),
                Ok(None) => break,
                Err(fault) => {
                    log::warn!("Closing a link to the election port: {fault}");
                    out.push(Effect::Close { conn: link, after_flush: false });
                    return self.on_peer_closed(link, out);
                }
            };
            self.on_election_word(link, word);
            self.carry_out(out);
            // It may have been the last that is of interest.
            if !self.is_election_link(link) {
                return;
            }
        }
        let Some(member) = self.member.as_deref_mut() else { return };
        if let Some(Use::Election(lent)) = member.uses.get_mut(&link) {
            *lent = Some(reader);
        }
    }

    fn is_election_link(&self, link: ConnId) -> bool {
        let used = self.member.as_ref().and_then(|member| member.uses.get(&link));
        matches!(used, Some(Use::Election(_)))
    }

    fn on_election_word(&mut self, link: ConnId, word: Word) {
        let now = self.now.mono;
        let Some(member) = self.member.as_deref_mut() else { return };
        match word {
            Word::Initial(initial) => {
                self.with_mesh(|mesh, now, out| mesh.handle_initial(now, link, &initial, out));
            }
            Word::Message(body) => {
                let Some(from) = member.mesh.heard(now, link) else { return };
                // As Java: a message without sense is passed over, the link stays.
                let Ok(heard) = Notification::read(&body) else {
                    log::warn!("Got a short response from server {}", from.0);
                    return;
                };
                self.with_election(|election, now, out| {
                    election.handle_notification(now, from, &heard, out);
                });
            }
        }
    }

    fn on_peer_closed(&mut self, link: ConnId, out: &mut Effects) {
        let Some(member) = self.member.as_deref_mut() else { return };
        member.held.forget(link);
        match member.uses.remove(&link) {
            Some(Use::Election(_)) => {
                self.with_mesh(|mesh, now, out| mesh.handle_closed(now, link, out));
            }
            Some(Use::Learner(_)) => {
                self.stop_reading_for(link, out);
                self.tell_feeder(zab::Input::Closed { link }, out);
            }
            Some(Use::Leader) => self.on_leader_lost(link, out),
            Some(Use::Early { .. }) | None => {}
        }
    }

    fn on_peer_unsent(&mut self, link: ConnId, bytes: usize, out: &mut Effects) {
        let Some(member) = self.member.as_deref_mut() else { return };
        match member.uses.get(&link) {
            Some(Use::Election(_)) => {
                self.with_mesh(|mesh, _, out| mesh.handle_backlog(link, bytes > 0, out));
            }
            Some(Use::Learner(_)) => {
                let room = limits::PEER_UNSENT_BYTES.saturating_sub(bytes);
                self.tell_feeder(zab::Input::Room { link, bytes: room }, out);
            }
            Some(Use::Leader) => {
                if let Some(learner) = member.learner() {
                    learner.unsent = bytes;
                }
                self.pass_requests_on(out);
                self.feed_starved();
            }
            Some(Use::Early { .. }) | None => {}
        }
    }

    /// There may be room again for what waited for it.
    pub(in super::super) fn feed_starved(&mut self) {
        if self.has_log_room() {
            self.runnable.append(&mut self.starved);
        }
    }
}

impl Member {
    /// Whether who has come to a port is fed here; none: that is not known yet.
    fn admits(&self, port: PeerPort) -> Option<bool> {
        match (&self.role, port) {
            (Role::Leading(_), _) => Some(port == PeerPort::Quorum),
            (Role::Learning(learner), PeerPort::Observers) => {
                learner.role.is_established().then_some(learner.observers.is_some())
            }
            // It may be told any moment that it leads next.
            (Role::Learning(_), _) if self.has_pending_config() => None,
            (Role::Learning(_), _) => Some(false),
            _ => None,
        }
    }

    /// The link is used for nothing any more.
    pub(super) fn drop_use(&mut self, link: ConnId) {
        self.uses.remove(&link);
        self.held.forget(link);
    }
}
