//! A whole configuration: its members, its version, its text, and what follows from them.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;

use crate::base::ServerId;

use super::java_order;
use super::spec::contradicts;
use super::{HostPort, Member, MemberSpec, MembersError, Quorums, Role, Verifier};

/// The servers of an ensemble. A configuration of a higher version replaces one of a lower.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Membership {
    pub version: i64,
    pub members: BTreeMap<ServerId, MemberSpec>,
    /// None: a majority of the voters is enough.
    pub grouping: Option<Grouping>,
    pub(super) seen: Seen,
}

/// What `group.N` and `weight.N` lines say. They may name servers that do not vote or are not
/// members; who votes is always in a group.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Grouping {
    pub groups: BTreeMap<ServerId, i64>,
    pub weights: BTreeMap<ServerId, u32>,
}

/// In which order Apache has seen what the lines name. Ids that fall in one bucket of a Java hash
/// table are written in this order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Seen {
    pub members: Vec<ServerId>,
    pub grouped: Vec<ServerId>,
    pub weighed: Vec<ServerId>,
}

impl Membership {
    /// A configuration whose voters are all alike.
    pub fn new(version: i64, members: BTreeMap<ServerId, MemberSpec>) -> Membership {
        Membership { version, members, grouping: None, seen: Seen::default() }
    }

    /// Takes this server's `clientPort` of the static file into account: where the member's own
    /// line names a client address, that one counts and may not be another; where it names none,
    /// the static one does. Says which it is.
    pub fn settle_client_address(
        &mut self,
        me: ServerId,
        of_file: Option<HostPort>,
    ) -> Result<Option<HostPort>, MembersError> {
        let Some(member) = self.members.get_mut(&me) else { return Ok(of_file) };
        let Some(of_line) = &member.client else {
            member.static_client = of_file.clone();
            return Ok(of_file);
        };
        match of_file {
            Some(of_file) if contradicts(&of_file, of_line) => {
                Err(MembersError::of_whole(format!(
                    "client address for this server (id = {}) in static config file is {of_file} \
                     is different from client address found in dynamic file: {of_line}",
                    me.0
                )))
            }
            _ => Ok(Some(of_line.clone())),
        }
    }

    /// In ascending order.
    pub fn voters(&self) -> impl Iterator<Item = ServerId> + '_ {
        self.of_role(Role::Participant)
    }

    /// In ascending order.
    pub fn observers(&self) -> impl Iterator<Item = ServerId> + '_ {
        self.of_role(Role::Observer)
    }

    fn of_role(&self, role: Role) -> impl Iterator<Item = ServerId> + '_ {
        self.members.iter().filter(move |(_, m)| m.role == role).map(|(id, _)| *id)
    }

    pub fn is_voter(&self, server: ServerId) -> bool {
        self.members.get(&server).is_some_and(|m| m.role == Role::Participant)
    }

    pub fn is_observer(&self, server: ServerId) -> bool {
        self.members.get(&server).is_some_and(|m| m.role == Role::Observer)
    }

    /// What a server is by this list; one that is not in it takes part without a vote.
    pub fn role(&self, server: ServerId) -> Role {
        if self.is_observer(server) { Role::Observer } else { Role::Participant }
    }

    /// A server of weight 0 can never lead. In a majority everyone weighs the same.
    pub fn weight(&self, server: ServerId) -> u32 {
        let Some(grouping) = &self.grouping else { return 1 };
        let default = u32::from(self.is_voter(server));
        grouping.weights.get(&server).copied().unwrap_or(default)
    }

    pub fn verifier(&self) -> Verifier {
        let Some(grouping) = &self.grouping else {
            return Verifier::Majority { voters: self.voters().collect() };
        };
        let member = |(server, group): (&ServerId, &i64)| {
            let votes = self.is_voter(*server);
            (*server, Member { group: *group, weight: self.weight(*server), votes })
        };
        Verifier::Groups { members: grouping.groups.iter().map(member).collect() }
    }

    /// What is enough beside the last configuration that was proposed, while that one is newer.
    pub fn quorums(&self, last_seen: Option<&Membership>) -> Quorums {
        let next = last_seen.filter(|last_seen| last_seen.version > self.version);
        Quorums { current: self.verifier(), next: next.map(Membership::verifier) }
    }

    /// Apache's equality: a version stands for one configuration; of two versions the members and
    /// their groups are compared.
    pub fn is_same_as(&self, other: &Membership) -> bool {
        let same_kind = self.grouping.is_some() == other.grouping.is_some();
        if self.version == other.version {
            return same_kind;
        }
        self.grouping == other.grouping
            && self.members.len() == other.members.len()
            && self.members.iter().all(|(id, member)| {
                other.members.get(id).is_some_and(|theirs| member.is_same_as(theirs))
            })
    }

    /// Whether these servers form an ensemble; otherwise this one runs standalone.
    pub fn is_distributed(&self, standalone_enabled: bool) -> bool {
        !standalone_enabled || self.voters().count() > 1
    }

    /// What an operator should know of a configuration that is taken.
    pub fn warning(&self, standalone_enabled: bool) -> Option<&'static str> {
        match self.voters().count() {
            0 => None,
            1 if standalone_enabled => {
                Some("Invalid configuration, only one server specified (ignoring)")
            }
            1 | 2 => Some("No server failure will be tolerated. You need at least 3 servers."),
            even if even % 2 == 0 => {
                Some("Non-optimal configuration, consider an odd number of servers.")
            }
            _ => None,
        }
    }

    /// A server starts only in an ensemble that it is a member of.
    pub fn holds(&self, me: ServerId) -> Result<(), MembersError> {
        if self.members.contains_key(&me) {
            return Ok(());
        }
        Err(MembersError::of_whole(format!("My id {} not in the peer list", me.0)))
    }

    /// The list decides what a server is; `peerType` may only agree.
    pub fn peer_type_warning(&self, me: ServerId, stated: Role) -> Option<String> {
        let role = self.role(me);
        (role != stated).then(|| {
            format!(
                "Peer type from servers list ({role}) doesn't match peerType ({stated}). \
                 Defaulting to servers list."
            )
        })
    }

    /// What no ensemble can be made of.
    pub(super) fn check(&self, standalone_enabled: bool) -> Result<(), MembersError> {
        let (voters, observers) = (self.voters().count(), self.observers().count());
        let reason = match (voters, observers) {
            (0, _) if !standalone_enabled => {
                "standaloneEnabled = false then number of participants should be >0"
            }
            (0, 1..) => "Observers w/o participants is an invalid configuration",
            (1, 1..) if standalone_enabled => "Observers w/o quorum is an invalid configuration",
            _ => return Ok(()),
        };
        Err(MembersError::of_whole(reason))
    }

    /// The text in `/zookeeper/config`, NEWLEADER and notifications, byte for byte as Apache
    /// would write it that has read the same lines.
    pub fn text(&self) -> String {
        let mut text = String::new();
        self.write_lines(&mut text).expect("a string takes every text");
        text
    }

    /// The members in the order of their lines.
    pub(super) fn member_order(&self) -> Vec<ServerId> {
        in_java_order(&self.seen.members, &self.members)
    }

    fn write_lines(&self, text: &mut String) -> std::fmt::Result {
        for id in self.member_order() {
            writeln!(text, "server.{}={}", id.0, self.members[&id])?;
        }
        if let Some(Grouping { groups, weights }) = &self.grouping {
            let mut of_group: BTreeMap<i64, String> = BTreeMap::new();
            let mut met = Vec::new();
            for id in in_java_order(&self.seen.grouped, groups) {
                let ids = of_group.entry(groups[&id]).or_default();
                if ids.is_empty() {
                    met.push(groups[&id]);
                } else {
                    ids.push(':');
                }
                write!(ids, "{}", id.0)?;
            }
            for group in java_order::hash_map(met) {
                writeln!(text, "group.{group}={}", of_group[&group])?;
            }
            for id in in_java_order(&self.seen.weighed, weights) {
                writeln!(text, "weight.{}={}", id.0, weights[&id])?;
            }
        }
        write!(text, "version={:x}", self.version)
    }
}

/// The keys in the order of a Java hash table that has seen them in this order; those it has not
/// seen come to it last.
fn in_java_order<V>(seen: &[ServerId], map: &BTreeMap<ServerId, V>) -> Vec<ServerId> {
    let known: BTreeSet<ServerId> = seen.iter().copied().collect();
    let seen = seen.iter().filter(|id| map.contains_key(id));
    let unseen = map.keys().filter(|id| !known.contains(id));
    java_order::hash_map(seen.chain(unseen).map(|id| id.0)).into_iter().map(ServerId).collect()
}
