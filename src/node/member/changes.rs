//! Configurations that a leader brings: who the members are from now on, which files say so, and
//! whether this server keeps its role under it.

use bytes::Bytes;

use crate::base::{ServerId, Zxid};
use crate::history::StorageCommand;
use crate::members::Membership;
use crate::zab::ConfigPlace;

use super::super::Node;
use super::super::seam::{Effect, Effects};
use super::settings::{electorate, own_addresses, peers};
use super::{Kind, Member};

impl Member {
    /// What becomes of this server's files: nothing where it does not follow changes, as Java, or
    /// has written as much before.
    pub(super) fn files_of(
        &mut self,
        config: &Membership,
        place: ConfigPlace,
    ) -> Vec<(String, Option<Bytes>)> {
        let (written, files) = match place {
            ConfigPlace::LastSeen => {
                (&mut self.seen_version, self.placed.files_of_last_seen(config))
            }
            ConfigPlace::Active => (&mut self.active_version, self.placed.files_of_active(config)),
        };
        if !self.ensemble.reconfig_enabled || config.version <= *written {
            return Vec::new();
        }
        *written = config.version;
        files.into_iter().map(|(path, bytes)| (path, bytes.map(Bytes::from))).collect()
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

    /// Writes what a leader decides itself.
    pub(super) fn keep_config(
        &mut self,
        config: &Membership,
        place: ConfigPlace,
        out: &mut Effects,
    ) {
        let Some(member) = self.member.as_deref_mut() else { return };
        let files = member.files_of(config, place);
        if !files.is_empty() {
            let ticket = self.next_ticket();
            out.push(Effect::Storage(StorageCommand::ReplaceFiles { ticket, files }));
        }
    }

    /// A configuration is committed. Java's servers pass it over where reconfiguration is off.
    pub(super) fn activate(&mut self, config: Membership, leader: Option<ServerId>) {
        let now = self.now.mono;
        let Some(member) = self.member.as_deref_mut() else { return };
        let is_newer = config.version > member.ensemble.current.version;
        if !member.ensemble.reconfig_enabled || !is_newer {
            return;
        }
        let me = member.settings.me;
        let is_other = !config.is_same_as(&member.ensemble.current);
        let changes_leader = member.is_leader_another(&config, leader);
        let kind = config.role(me);
        let changes_kind = kind != member.settings.learner.role;
        log::info!("Activating the configuration of version {:x}: {config:?}", config.version);
        member.settings.learner.role = kind;
        member.settings.learner.config_version = config.version;
        member.ensemble.current = config.clone();
        if config.version > member.ensemble.last_seen.version {
            member.ensemble.last_seen = config;
        }
        member.mesh.move_to(own_addresses(&member.ensemble, me));
        let electorate = electorate(&member.ensemble);
        member.election.adopt(electorate, kind == Kind::Observer);
        let peers = peers(&member.ensemble);
        self.show_members();
        self.with_mesh(|mesh, _, out| mesh.adopt(now, peers, out));
        if let Some(learner) = self.member.as_deref_mut().and_then(|member| member.learner())
            && is_other
            && (changes_kind || changes_leader)
        {
            learner.reconfigured = Some(leader);
        }
    }
}
