//! Keys and values to a [`Membership`], with Apache's checks in Apache's words.

use std::collections::{BTreeMap, BTreeSet};

use crate::base::{ServerId, limits};

use super::membership::Seen;
use super::spec::split;
use super::{Grouping, MemberSpec, MembersError, Membership, java_order, version_of_dynamic_file};

/// What of an operator's settings decides which lines are taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rules {
    pub standalone_enabled: bool,
    /// `multiAddress.enabled`
    pub multi_address: bool,
}

impl Default for Rules {
    fn default() -> Rules {
        Rules { standalone_enabled: true, multi_address: false }
    }
}

impl Membership {
    /// The members that a `zoo.cfg` names itself, among all of its pairs in the file's order.
    pub fn of_static_file<'a>(
        pairs: impl IntoIterator<Item = (&'a str, &'a str)>,
        rules: Rules,
    ) -> Result<Membership, MembersError> {
        let membership = read(&each_once(pairs), rules)?;
        membership.check(rules.standalone_enabled)?;
        Ok(membership)
    }

    /// The pairs of the file that `dynamicConfigFile` names. Its version is the end of its name.
    pub fn of_dynamic_file<'a>(
        name: &str,
        pairs: impl IntoIterator<Item = (&'a str, &'a str)>,
        rules: Rules,
    ) -> Result<Membership, MembersError> {
        let mut pairs = each_once(pairs);
        if pairs.iter().any(|(key, _)| *key == "version") {
            let reason = "dynamic file shouldn't have version inside";
            return Err(MembersError::of_key("version", reason));
        }
        let version = version_of_dynamic_file(name)?.map(|version| format!("{version:x}"));
        pairs.extend(version.iter().map(|version| ("version", version.as_str())));
        judged(&pairs, rules)
    }

    /// The pairs of a `.dynamic.next` file, which a server has written of what it was told.
    pub fn of_next_file<'a>(
        pairs: impl IntoIterator<Item = (&'a str, &'a str)>,
        rules: Rules,
    ) -> Result<Membership, MembersError> {
        read(&each_once(pairs), rules)
    }

    /// The text that a server has written: in NEWLEADER, a notification, a reconfiguration's txn
    /// or `/zookeeper/config`.
    pub fn of_text(text: &str, rules: Rules) -> Result<Membership, MembersError> {
        // Apache writes no escapes and would read the text as another one than it wrote.
        if text.contains('\\') {
            return Err(MembersError::of_whole("a backslash, which no server writes"));
        }
        judged(&each_once(text.split(['\n', '\r']).filter_map(pair)), rules)
    }
}

/// A line's key and value in Java's syntax for them; nothing for blank lines and comments.
fn pair(line: &str) -> Option<(&str, &str)> {
    const BLANKS: [char; 3] = [' ', '\t', '\x0c'];
    let line = line.trim_start_matches(BLANKS);
    if line.is_empty() || line.starts_with(['#', '!']) {
        return None;
    }
    let ends_key = |c: char| BLANKS.contains(&c) || c == '=' || c == ':';
    let (key, rest) = line.split_at(line.find(ends_key).unwrap_or(line.len()));
    let rest = rest.trim_start_matches(BLANKS);
    let value = rest.strip_prefix(['=', ':']).unwrap_or(rest);
    Some((key, value.trim_start_matches(BLANKS)))
}

/// Of a key that is said again the last value counts, in the place of the first.
fn each_once<'a>(pairs: impl IntoIterator<Item = (&'a str, &'a str)>) -> Vec<(&'a str, &'a str)> {
    let mut once: Vec<(&str, &str)> = Vec::new();
    let mut places: BTreeMap<&str, usize> = BTreeMap::new();
    for (key, value) in pairs {
        let place = *places.entry(key).or_insert(once.len());
        if place == once.len() {
            once.push((key, value));
        } else {
            once[place].1 = value;
        }
    }
    once
}

/// A configuration that stands alone: nothing else may be in it.
fn judged(pairs: &[(&str, &str)], rules: Rules) -> Result<Membership, MembersError> {
    for (key, _) in pairs {
        if !super::belongs_to_dynamic_file(key) && *key != "version" {
            return Err(MembersError::of_key(key, format!("Unrecognised parameter: {key}")));
        }
    }
    let membership = read(pairs, rules)?;
    membership.check(rules.standalone_enabled)?;
    Ok(membership)
}

fn read(pairs: &[(&str, &str)], rules: Rules) -> Result<Membership, MembersError> {
    let is_grouped = pairs.iter().any(|(key, _)| is_group(key) || is_weight(key));
    let keys: Vec<&str> = pairs.iter().map(|(key, _)| *key).collect();
    let mut lines = Lines { rules, ..Lines::default() };
    for at in java_order::properties(&keys) {
        let (key, value) = pairs[at];
        let taken = if key.starts_with("server.") {
            lines.on_server(key, value)
        } else if is_group(key) {
            lines.on_group(key, value)
        } else if is_weight(key) {
            lines.on_weight(key, value)
        } else if key == "version" {
            hex(value).map(|version| lines.version = version)
        } else {
            Ok(())
        };
        taken.map_err(|reason| MembersError::of_key(key, reason))?;
    }
    let mut membership = Membership {
        version: lines.version,
        members: lines.members,
        grouping: is_grouped.then_some(lines.grouping),
        seen: lines.seen,
    };
    let voters = membership.voters().count();
    if voters > limits::VOTERS {
        let reason = format!("{voters} servers vote; {} are the most", limits::VOTERS);
        return Err(MembersError::of_whole(reason));
    }
    settle_groups(&mut membership)?;
    Ok(membership)
}

/// What the lines have said so far.
#[derive(Default)]
struct Lines {
    rules: Rules,
    version: i64,
    members: BTreeMap<ServerId, MemberSpec>,
    grouping: Grouping,
    seen: Seen,
    /// Groups that had a line.
    groups: BTreeSet<i64>,
}

impl Lines {
    fn on_server(&mut self, key: &str, value: &str) -> Result<(), String> {
        let id = ServerId(id_in(key)?);
        let spec = MemberSpec::read(id, value, self.rules.multi_address).map_err(|e| e.reason)?;
        if self.members.insert(id, spec).is_some() {
            return Err(said_twice("server", id.0));
        }
        self.seen.members.push(id);
        Ok(())
    }

    fn on_group(&mut self, key: &str, value: &str) -> Result<(), String> {
        let group = id_in(key)?;
        if !self.groups.insert(group) {
            return Err(said_twice("group", group));
        }
        let ids = split(value, ':');
        // Java would count a group that nobody is in, and that no text of its own shows.
        if ids.is_empty() {
            return Err(format!("group {group} has no members"));
        }
        for id in ids {
            let id = ServerId(long(id)?);
            if self.grouping.groups.insert(id, group).is_some() {
                return Err(format!("Server {}is in multiple groups", id.0));
            }
            self.seen.grouped.push(id);
        }
        Ok(())
    }

    fn on_weight(&mut self, key: &str, value: &str) -> Result<(), String> {
        let id = ServerId(id_in(key)?);
        let weight = u32::try_from(long(value)?)
            .map_err(|_| format!("weights are from 0 to {}, not {value}", u32::MAX))?;
        if self.grouping.weights.insert(id, weight).is_some() {
            return Err(said_twice("weight", id.0));
        }
        self.seen.weighed.push(id);
        Ok(())
    }
}

/// Who votes is in a group and weighs 1 if nothing else is said. Java gives up without a word on
/// a group whose total it cannot tell.
fn settle_groups(membership: &mut Membership) -> Result<(), MembersError> {
    let in_order = membership.member_order();
    let Membership { members, grouping: Some(grouping), seen, .. } = membership else {
        return Ok(());
    };
    for id in in_order.iter().filter(|id| members[id].role == super::Role::Participant) {
        if !grouping.groups.contains_key(id) {
            let reason = format!("Server {}is not in a group", id.0);
            return Err(MembersError::of_key(&format!("server.{}", id.0), reason));
        }
        if !grouping.weights.contains_key(id) {
            grouping.weights.insert(*id, 1);
            seen.weighed.push(*id);
        }
    }
    match grouping.groups.iter().find(|(id, _)| !grouping.weights.contains_key(id)) {
        None => Ok(()),
        Some((id, group)) => {
            let key = format!("group.{group}");
            let reason = format!("Server {} of group {group} has neither vote nor weight", id.0);
            Err(MembersError::of_key(&key, reason))
        }
    }
}

fn is_group(key: &str) -> bool {
    key.starts_with("group")
}

fn is_weight(key: &str) -> bool {
    key.starts_with("weight")
}

/// What stands behind the first dot; the whole where there is none, which is no number then.
fn id_in(key: &str) -> Result<i64, String> {
    long(key.split_once('.').map_or(key, |(_, id)| id))
}

/// In the words of Java's `NumberFormatException`, which are all that operators get to read.
pub(super) fn long(text: &str) -> Result<i64, String> {
    text.parse().map_err(|_| format!("For input string: \"{text}\""))
}

pub(super) fn hex(text: &str) -> Result<i64, String> {
    i64::from_str_radix(text, 16)
        .map_err(|_| format!("For input string: \"{text}\" under radix 16"))
}

/// `server.1` and `server.01` are two keys, and which of them Java takes is left to chance.
fn said_twice(what: &str, id: i64) -> String {
    format!("{what} {id} is named by two keys")
}
