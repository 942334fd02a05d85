//! One member: where it is reached, whether it votes, and its line of text.

use std::collections::BTreeSet;
use std::fmt;
use std::net::{IpAddr, Ipv6Addr};

use crate::base::ServerId;

use super::MembersError;

/// What a member is by the list, spelled in messages as Apache's logs do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    Participant,
    Observer,
}

impl Role {
    /// How a member's line says it.
    pub fn word(self) -> &'static str {
        match self {
            Role::Participant => "participant",
            Role::Observer => "observer",
        }
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Role::Participant => "PARTICIPANT",
            Role::Observer => "OBSERVER",
        })
    }
}

/// A name or address, without brackets, and a port.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct HostPort {
    pub host: String,
    pub port: u16,
}

impl fmt::Display for HostPort {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", Delimited(&self.host), self.port)
    }
}

/// One of a member's addresses: the leader listens at the quorum port, everyone at the other.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Address {
    pub host: String,
    pub quorum_port: u16,
    pub election_port: u16,
}

/// What a `server.N` line says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MemberSpec {
    /// At least one, in the order of their hosts.
    pub addresses: Vec<Address>,
    pub role: Role,
    /// Where clients reach it, when its own line says so.
    pub client: Option<HostPort>,
    /// This server's `clientPort`, where its line names none: used and compared like the other,
    /// and never written into a member's line.
    pub static_client: Option<HostPort>,
}

impl MemberSpec {
    /// Reads what stands behind `server.N=`, with Apache's checks in their order.
    pub fn read(id: ServerId, text: &str, multi_address: bool) -> Result<MemberSpec, MembersError> {
        member(id, text, multi_address)
            .map_err(|reason| MembersError { key: Some(format!("server.{}", id.0)), reason })
    }

    pub fn client_address(&self) -> Option<&HostPort> {
        self.client.as_ref().or(self.static_client.as_ref())
    }

    pub fn quorum_addresses(&self) -> impl Iterator<Item = HostPort> + '_ {
        self.addresses.iter().map(|a| HostPort { host: a.host.clone(), port: a.quorum_port })
    }

    pub fn election_addresses(&self) -> impl Iterator<Item = HostPort> + '_ {
        self.addresses.iter().map(|a| HostPort { host: a.host.clone(), port: a.election_port })
    }

    /// Apache's equality, but hosts are compared by their text: no name is looked up for it, and
    /// it means the same on every server.
    pub fn is_same_as(&self, other: &MemberSpec) -> bool {
        self.role == other.role
            && self.has_same_quorum_address(other)
            && as_set(self.election_addresses()) == as_set(other.election_addresses())
            && as_set(self.client_address().cloned()) == as_set(other.client_address().cloned())
    }

    /// Whether a leader that moves from one spec to the other may stay leader.
    pub fn has_same_quorum_address(&self, other: &MemberSpec) -> bool {
        as_set(self.quorum_addresses()) == as_set(other.quorum_addresses())
    }
}

/// Addresses without order, names without case.
fn as_set(addresses: impl IntoIterator<Item = HostPort>) -> BTreeSet<HostPort> {
    let lowered = |a: HostPort| HostPort { host: a.host.to_ascii_lowercase(), port: a.port };
    addresses.into_iter().map(lowered).collect()
}

/// The line's text as Apache writes it: with the type in any case, and the client's address whole.
impl fmt::Display for MemberSpec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, address) in self.addresses.iter().enumerate() {
            let before = if i == 0 { "" } else { "|" };
            let Address { host, quorum_port, election_port } = address;
            write!(f, "{before}{}:{quorum_port}:{election_port}", Delimited(host))?;
        }
        write!(f, ":{}", self.role.word())?;
        match &self.client {
            Some(client) => write!(f, ";{client}"),
            None => Ok(()),
        }
    }
}

struct Delimited<'a>(&'a str);

impl fmt::Display for Delimited<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.contains(':') { write!(f, "[{}]", self.0) } else { f.write_str(self.0) }
    }
}

fn member(id: ServerId, text: &str, multi_address: bool) -> Result<MemberSpec, String> {
    let halves = split(text, ';');
    let addresses = split(halves.first().copied().unwrap_or(""), '|');
    let client = match halves.as_slice() {
        [_, client] => Some(client_address(text, client)?),
        _ => None,
    };
    if addresses.len() > 1 && !multi_address {
        return Err(format!(
            "Multiple address feature is disabled, but multiple addresses were specified for sid {}",
            id.0
        ));
    }
    if halves.len() > 2 || addresses.is_empty() {
        return Err(wrong_form(text));
    }
    let mut spec =
        MemberSpec { addresses: Vec::new(), role: Role::Participant, client, static_client: None };
    let mut stated = None;
    for part in addresses {
        let (address, role) = server_address(id, text, part)?;
        if !spec.addresses.contains(&address) {
            spec.addresses.push(address);
        }
        let Some(role) = role else { continue };
        let first = *stated.get_or_insert(role);
        if first != role {
            return Err(format!("Multiple addresses should have similar roles: {first} vs {role}"));
        }
    }
    spec.addresses.sort_by(|a, b| a.host.cmp(&b.host));
    spec.role = stated.unwrap_or(Role::Participant);
    Ok(spec)
}

/// `host:port:port` or `host:port:port:type`.
fn server_address(id: ServerId, text: &str, part: &str) -> Result<(Address, Option<Role>), String> {
    let parts = host_and_ports(part)?;
    let (host, quorum, election, role) = match parts.as_slice() {
        [host, quorum, election] => (host, quorum, election, None),
        [host, quorum, election, role] => (host, quorum, election, Some(role)),
        _ => return Err(wrong_form(text)),
    };
    // Java would take nothing for this machine's loopback address, which nobody means.
    if host.is_empty() {
        return Err(wrong_form(text));
    }
    let quorum_port = port(host, quorum)?;
    let election_port = port(host, election)?;
    if quorum_port == election_port {
        return Err(format!(
            "Client and election port must be different! Please update the configuration file on \
             server.{}",
            id.0
        ));
    }
    let address = Address { host: as_java_writes(host), quorum_port, election_port };
    Ok((address, role.map(|role| role_of(role)).transpose()?))
}

/// `port` or `host:port`.
fn client_address(text: &str, part: &str) -> Result<HostPort, String> {
    let parts = host_and_ports(part)?;
    let (host, number) = match parts.as_slice() {
        [number] => ("0.0.0.0", *number),
        [host, number] if !host.is_empty() => (*host, *number),
        _ => return Err(wrong_form(text)),
    };
    Ok(HostPort { host: as_java_writes(host), port: port(host, number)? })
}

fn role_of(word: &str) -> Result<Role, String> {
    match word.trim_matches(|c: char| c <= ' ').to_lowercase().as_str() {
        "observer" => Ok(Role::Observer),
        "participant" => Ok(Role::Participant),
        _ => Err(format!("Unrecognised peertype: {word}")),
    }
}

fn port(host: &str, text: &str) -> Result<u16, String> {
    let number: i32 = text.parse().map_err(|_| format!("Address unresolved: {host}:{text}"))?;
    u16::try_from(number).map_err(|_| format!("port out of range:{number}"))
}

/// The host without its brackets and whatever follows it; nothing where no form fits.
fn host_and_ports(text: &str) -> Result<Vec<&str>, String> {
    let Some(rest) = text.strip_prefix('[') else { return Ok(split(text, ':')) };
    let Some((host, behind)) = rest.split_once(']') else {
        return Err(format!("{text} starts with '[' but has no matching ']:'"));
    };
    let mut parts = vec![host];
    match behind.strip_prefix(':') {
        Some("") => return Err(format!("{text} doesn't have a port after colon")),
        Some(ports) => parts.extend(split(ports, ':')),
        None if behind.is_empty() => {}
        None => parts.clear(),
    }
    Ok(parts)
}

/// As Java splits: empty parts at the end are none.
pub(super) fn split(text: &str, at: char) -> Vec<&str> {
    let mut parts: Vec<&str> = text.split(at).collect();
    while parts.len() > 1 && parts.last().is_some_and(|p| p.is_empty()) {
        parts.pop();
    }
    if parts == [""] && !text.is_empty() {
        parts.clear();
    }
    parts
}

/// Java keeps names as they are and writes an IPv6 address with all of its eight groups.
fn as_java_writes(host: &str) -> String {
    let (literal, scope) = match host.split_once('%') {
        Some((literal, scope)) => (literal, Some(scope)),
        None => (host, None),
    };
    let Ok(address) = literal.parse::<Ipv6Addr>() else { return host.to_owned() };
    if let Some(mapped) = address.to_ipv4_mapped() {
        return mapped.to_string();
    }
    let groups: Vec<String> = address.segments().iter().map(|s| format!("{s:x}")).collect();
    match scope {
        Some(scope) => format!("{}%{scope}", groups.join(":")),
        None => groups.join(":"),
    }
}

fn wrong_form(text: &str) -> String {
    format!(
        "{text} does not have the form server_config or server_config;client_config where \
         server_config is the pipe separated list of host:port:port or host:port:port:type and \
         client_config is port or host:port"
    )
}

/// Whether a server's client address of its static file contradicts the one of its member's line.
/// What only a look-up of names could tell does not.
pub(super) fn contradicts(of_file: &HostPort, of_line: &HostPort) -> bool {
    if of_file.port != of_line.port {
        return true;
    }
    match (of_file.host.parse::<IpAddr>(), of_line.host.parse::<IpAddr>()) {
        (Ok(of_file), Ok(of_line)) => !of_file.is_unspecified() && of_file != of_line,
        _ => false,
    }
}

#[cfg(test)]
#[path = "spec_tests.rs"]
mod tests;
