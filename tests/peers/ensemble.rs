//! The members of one test's ensemble: their ids, and the ports that are theirs while it lasts.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};

use bytes::Bytes;

use zkd::base::ServerId;
use zkd::election::{Electorate, PeerSpec};
use zkd::members::{self, Membership, Rules};
use zkd::peering::HostPort;

use crate::ports::Port;

/// Voters numbered from one.
#[derive(Debug)]
pub struct Ensemble {
    pub membership: Membership,
    pub multi_address: bool,
    ports: BTreeMap<i64, Ports>,
    lines: Vec<(String, String)>,
}

#[derive(Debug)]
struct Ports {
    quorum: Port,
    election: Port,
    client: Port,
}

impl Ensemble {
    pub fn of(count: i64) -> Ensemble {
        Ensemble::at(count, |_| vec!["127.0.0.1".to_owned()])
    }

    /// Each of them at two addresses.
    pub fn at_two_addresses(count: i64) -> Ensemble {
        Ensemble::at(count, |_| vec!["127.0.0.1".to_owned(), "127.0.0.2".to_owned()])
    }

    /// By names that no machine knows: whoever looks them up must be told.
    pub fn named(count: i64) -> Ensemble {
        Ensemble::at(count, |id| vec![host_name(id)])
    }

    fn at(count: i64, hosts: impl Fn(i64) -> Vec<String>) -> Ensemble {
        let mut ports = BTreeMap::new();
        let mut lines = Vec::new();
        for id in 1..=count {
            let own = Ports { quorum: Port::free(), election: Port::free(), client: Port::free() };
            let (quorum, election) = (own.quorum.number, own.election.number);
            let place = |host: String| format!("{host}:{quorum}:{election}");
            let places: Vec<String> = hosts(id).into_iter().map(place).collect();
            lines.push((format!("server.{id}"), places.join("|")));
            ports.insert(id, own);
        }
        let multi_address = lines.iter().any(|(_, places)| places.contains('|'));
        let rules = Rules { standalone_enabled: true, multi_address };
        let pairs = lines.iter().map(|(key, value)| (key.as_str(), value.as_str()));
        let membership = Membership::of_static_file(pairs, rules).expect("sound lines");
        Ensemble { membership, multi_address, ports, lines }
    }

    /// What every member's `zoo.cfg` says of the others.
    pub fn server_lines(&self) -> String {
        self.lines.iter().map(|(key, value)| format!("{key}={value}\n")).collect()
    }

    pub fn ids(&self) -> impl Iterator<Item = i64> + '_ {
        self.ports.keys().copied()
    }

    pub fn electorate(&self) -> Electorate {
        Electorate {
            quorums: self.membership.quorums(None),
            config: Bytes::from(self.membership.text()),
            version: self.membership.version,
        }
    }

    pub fn peers(&self) -> BTreeMap<ServerId, PeerSpec> {
        let specs = self.membership.members.iter();
        let peer = |spec: &members::MemberSpec| PeerSpec {
            addresses: spec.election_addresses().map(spoken).collect(),
            voter: true,
        };
        specs.map(|(id, spec)| (*id, peer(spec))).collect()
    }

    /// As a member says it to others.
    pub fn own_addresses(&self, id: i64) -> Vec<HostPort> {
        self.membership.members[&ServerId(id)].election_addresses().map(spoken).collect()
    }

    pub fn quorum_port(&self, id: i64) -> u16 {
        self.ports[&id].quorum.number
    }

    pub fn election_port(&self, id: i64) -> u16 {
        self.ports[&id].election.number
    }

    pub fn client_port(&self, id: i64) -> u16 {
        self.ports[&id].client.number
    }

    /// The first of a member's addresses on the election port.
    pub fn election_address(&self, id: i64) -> SocketAddr {
        self.election_listeners(id)[0]
    }

    pub fn election_listeners(&self, id: i64) -> Vec<SocketAddr> {
        let spec = &self.membership.members[&ServerId(id)];
        spec.election_addresses().map(|at| numeric(&at.host, at.port)).collect()
    }

    pub fn quorum_listeners(&self, id: i64) -> Vec<SocketAddr> {
        let spec = &self.membership.members[&ServerId(id)];
        spec.quorum_addresses().map(|at| numeric(&at.host, at.port)).collect()
    }
}

/// What a member is called in an ensemble of names.
pub fn host_name(id: i64) -> String {
    format!("member-{id}")
}

pub fn numeric(host: &str, port: u16) -> SocketAddr {
    SocketAddr::new(host.parse::<IpAddr>().expect("tests name addresses by number"), port)
}

fn spoken(at: members::HostPort) -> HostPort {
    HostPort { host: at.host, port: at.port }
}
