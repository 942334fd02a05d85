//! Everything that must hold between the parts of a state.

use std::collections::BTreeMap;

use super::apply::utf16_units;
use super::nodes::ROOT;
use super::{OwnerKind, State, node_digest};

impl State {
    /// Asserts all of it, from scratch: for tests and the simulator.
    pub fn check(&self) {
        self.nodes.check();
        let mut held = BTreeMap::new();
        let (mut digest, mut bytes) = (0_u64, 0);
        let (mut ephemerals, mut containers, mut ttls) = (0, 0, 0);
        for id in (0..self.nodes.end()).filter(|id| !self.nodes.is_vacant(*id)) {
            *held.entry(self.nodes.acl(id)).or_insert(0) += 1;
            let path = if id == ROOT { String::new() } else { self.nodes.path(id) };
            bytes += utf16_units(&path) + self.nodes.data_bytes(id) as u64;
            let is_outside = path.starts_with("/zookeeper/");
            assert_eq!(is_outside, self.nodes.is_outside_digest(id), "{path} in the digest");
            if !is_outside && self.settings.digest {
                let own = node_digest(&path, self.nodes.data(id), &self.nodes.stat(id));
                assert_eq!(own, self.nodes.digest(id), "the digest of {path}");
                digest = digest.wrapping_add(u64::from(own));
            }
            let owned = super::NodeId(id);
            match self.kind_of_owner(self.nodes.owner(id)) {
                _ if id == ROOT => {}
                OwnerKind::Void => {}
                OwnerKind::Container => {
                    assert!(self.containers.contains(&owned), "{path} among the containers");
                    containers += 1;
                }
                OwnerKind::Ttl(_) => {
                    assert!(self.ttls.contains(&owned), "{path} among the TTL nodes");
                    ttls += 1;
                }
                OwnerKind::Normal(session) => {
                    let list = self.ephemerals.get(&session).expect("an ephemeral's owner");
                    assert!(list.contains(&owned), "{path} among its owner's");
                    ephemerals += 1;
                }
            }
        }
        assert_eq!(digest, self.digest, "the tree's digest");
        assert_eq!(bytes, self.data_bytes, "the bytes of all paths and data");
        assert_eq!(ephemerals, self.ephemeral_count, "ephemerals");
        assert_eq!(ephemerals, self.ephemerals.values().map(|list| list.len()).sum::<usize>());
        assert!(self.ephemerals.values().all(|list| !list.is_empty()), "an empty owner's list");
        assert_eq!(containers, self.containers.len(), "containers");
        assert_eq!(ttls, self.ttls.len(), "TTL nodes");
        self.acls.check(&held);
        self.check_quotas();
    }
}
