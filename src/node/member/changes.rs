//! Configurations: who the members are from now on, which files say so, and whether this server
//! keeps its role under it. They come from a leader, proposed and then committed, or from another
//! server while this one looks for a leader.

use bytes::Bytes;

use crate::base::{ServerId, Zxid};
use crate::config::Replacement;
use crate::history::StorageCommand;
use crate::members::Membership;
use crate::peering::HostPort;
use crate::proto::decode_utf8;
use crate::zab::{ConfigPlace, Ensemble};

use super::super::Node;
use super::super::seam::{Effect, Effects, Places};
use super::settings::{electorate, own_addresses, peers};
use super::{Kind, Member, Role, dialable};

impl Member {
    /// A configuration is proposed, or is the last that a leader has seen: what becomes of this
    /// server's files. One that is older than what was proposed here takes its place, too: nobody
    /// else knows of that.
    fn see(&mut self, config: &Membership) -> Vec<Replacement> {
        let Ensemble { current, last_seen, .. } = &mut self.ensemble;
        if config.version == last_seen.version {
            return Vec::new();
        }
        let was_pending = last_seen.version > current.version;
        if config.version > current.version {
            *last_seen = config.clone();
            return self.placed.files_of_last_seen(config);
        }
        *last_seen = current.clone();
        if was_pending { self.placed.files_without_last_seen() } else { Vec::new() }
    }

    /// What becomes of this server's files when a configuration is activated, once.
    fn files_of_activated(&mut self, config: &Membership) -> Vec<Replacement> {
        if config.version <= self.written_version {
            return Vec::new();
        }
        self.written_version = config.version;
        let mut files = self.placed.files_of_active(config);
        if self.ensemble.last_seen.version <= config.version {
            files.extend(self.placed.files_without_last_seen());
        }
        files
    }

    /// A configuration is proposed that may make this server the next leader.
    pub(super) fn has_pending_config(&self) -> bool {
        self.ensemble.last_seen.version > self.ensemble.current.version
    }

    /// Whether the leader that this server follows is another one, or elsewhere, by the new list.
    fn is_leader_another(&self, new: &Membership, suggested: Option<ServerId>) -> bool {
        let leader = self.election.settled_vote().leader;
        if let Some(suggested) = suggested {
            return suggested != leader;
        }
        let voter =
            |of: &Membership| of.members.get(&leader).filter(|_| of.is_voter(leader)).cloned();
        match (voter(&self.ensemble.current), voter(new)) {
            (Some(before), Some(after)) => !before.has_same_quorum_address(&after),
            _ => true,
        }
    }

    /// Who does not vote leads nobody, nor does who cannot say what its disk held.
    pub(super) fn may_lead(&self, server: ServerId) -> bool {
        let is_lost = self.is_lost && server == self.settings.me;
        self.ensemble.current.is_voter(server) && !is_lost
    }

    /// Where the present configuration has this server, if it has it.
    fn places(&self) -> Option<Places> {
        let me = self.settings.me;
        let line = self.ensemble.current.members.get(&me)?;
        let votes = self.ensemble.current.is_voter(me);
        let quorum: Vec<_> = line.quorum_addresses().map(dialable).collect();
        let port = self.settings.observer_port.filter(|_| votes);
        let at = |port| quorum.iter().map(move |at| HostPort { host: at.host.clone(), port });
        Some(Places {
            election: line.election_addresses().map(dialable).collect(),
            observers: port.into_iter().flat_map(at).collect(),
            quorum,
            client: line.client_address().cloned().map(dialable),
        })
    }

    /// Another configuration is the present one. Who is in none keeps the addresses that it has.
    fn take_config(&mut self, config: Membership) {
        let me = self.settings.me;
        self.settings.learner.role = config.role(me);
        self.settings.learner.config_version = config.version;
        if config.version > self.ensemble.last_seen.version {
            self.ensemble.last_seen = config.clone();
        }
        self.ensemble.current = config;
        if self.ensemble.current.members.contains_key(&me) {
            self.mesh.move_to(own_addresses(&self.ensemble, me));
        }
    }
}

impl Node {
    /// What clients see of the members is what this server knows, whenever a role or a state
    /// begins.
    pub(in super::super) fn show_members(&mut self) {
        let Some(member) = self.member.as_deref() else { return };
        let current = &member.ensemble.current;
        let (text, version) = (current.text(), Zxid(current.version));
        self.state.set_config(text.as_bytes(), version, self.now.wall);
    }

    /// What becomes of the files with a configuration, in their order: nothing where this server
    /// does not follow changes, as Java.
    pub(super) fn files_of(
        &mut self,
        config: &Membership,
        place: ConfigPlace,
    ) -> Vec<(String, Option<Bytes>)> {
        let Some(member) = self.member.as_deref_mut() else { return Vec::new() };
        if !member.ensemble.reconfig_enabled {
            return Vec::new();
        }
        let files = match place {
            ConfigPlace::LastSeen => {
                let before = member.ensemble.last_seen.version;
                let files = member.see(config);
                if member.ensemble.last_seen.version != before {
                    self.adopt_members();
                }
                files
            }
            ConfigPlace::Active => member.files_of_activated(config),
        };
        files.into_iter().map(|(path, bytes)| (path, bytes.map(Bytes::from))).collect()
    }

    /// Writes what no learner's role has numbered.
    pub(super) fn keep_config(
        &mut self,
        config: &Membership,
        place: ConfigPlace,
        out: &mut Effects,
    ) {
        let files = self.files_of(config, place);
        if !files.is_empty() {
            let ticket = self.next_ticket();
            out.push(Effect::Storage(StorageCommand::ReplaceFiles { ticket, files }));
        }
    }

    /// Who votes, and who is dialled, by the configuration that is active and the one on its way.
    fn adopt_members(&mut self) {
        let Some(member) = self.member.as_deref_mut() else { return };
        let is_observer = member.settings.learner.role == Kind::Observer;
        member.election.adopt(electorate(&member.ensemble), is_observer);
        let peers = peers(&member.ensemble);
        self.with_mesh(|mesh, now, out| mesh.adopt(now, peers, out));
    }

    /// A configuration is committed. Java's servers pass it over where reconfiguration is off.
    /// Whether it was news.
    pub(super) fn activate(
        &mut self,
        config: Membership,
        leader: Option<ServerId>,
        out: &mut Effects,
    ) -> bool {
        let Some(member) = self.member.as_deref_mut() else { return false };
        let is_newer = config.version > member.ensemble.current.version;
        if !member.ensemble.reconfig_enabled || !is_newer {
            return false;
        }
        let is_other = !config.is_same_as(&member.ensemble.current);
        let changes_leader = member.is_leader_another(&config, leader);
        let before = member.settings.learner.role;
        let told = config.text();
        let told = told.lines().collect::<Vec<_>>().join(", ");
        log::info!("Activating the configuration of version {:x}: {told}", config.version);
        let places = member.places();
        member.take_config(config);
        if let Some(now) = member.places().filter(|now| Some(now) != places.as_ref()) {
            out.push(Effect::Move(Box::new(now)));
        }
        let me = member.settings.me;
        let kind = member.settings.learner.role;
        if kind != before {
            log::info!("Becoming {}", standing_of(&member.ensemble.current, me));
        }
        if let Some(learner) = member.learner()
            && is_other
            && (kind != before || changes_leader)
        {
            if let Some(leader) = leader.filter(|_| changes_leader) {
                log::warn!("Suggested leader: {}", leader.0);
            }
            learner.reconfigured = Some(leader);
        }
        if member.learner().is_some_and(|learner| learner.reconfigured.is_none()) {
            // Who has come to the next leader has come to another one.
            self.take_early_links(out);
        }
        self.show_members();
        self.adopt_members();
        true
    }

    /// Another server's configuration is newer. Who looks for a leader takes it over, as Java:
    /// whom it will find is to be reached where that says.
    pub(super) fn on_newer_config(&mut self, text: &[u8], out: &mut Effects) {
        let Some(member) = self.member.as_deref() else { return };
        if matches!(member.role, Role::Leading(_) | Role::Learning(_)) {
            return;
        }
        let Ok(config) = Membership::of_text(&decode_utf8(text), member.placed.rules) else {
            log::warn!("A notification holds a text that is no configuration");
            return;
        };
        if !self.activate(config.clone(), None, out) {
            return;
        }
        self.keep_config(&config, ConfigPlace::Active, out);
        let Some(member) = self.member.as_deref_mut() else { return };
        if matches!(member.role, Role::Looking(_)) {
            // What was said and decided under the old one is void.
            member.told.clear();
            log::info!("restarting leader election");
            self.end_read_only(out);
            self.look_for_leader();
        }
    }

    /// The leader that the last one has named is followed, or this server is it. Nobody votes.
    pub(super) fn take_designated(&mut self, leader: ServerId) {
        let now = self.now.mono;
        let Some(member) = self.member.as_deref_mut() else { return };
        let zxid = Zxid(member.ensemble.current.version);
        member.looking_since = now;
        member.begin_looking();
        self.with_election(|election, _, out| election.designate(leader, zxid, out));
    }
}

/// What a server is by a list, in Java's words for a change of it.
fn standing_of(config: &Membership, me: ServerId) -> &'static str {
    if config.is_observer(me) {
        "an observer"
    } else if config.is_voter(me) {
        "a voting participant"
    } else {
        "a non-voting participant"
    }
}
