//! What a connection has proved to be.

use std::net::IpAddr;

use crate::base::limits;

use super::ip;

/// One proved identity.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Identity {
    pub scheme: String,
    pub id: String,
}

impl Identity {
    pub fn new(scheme: &str, id: &str) -> Identity {
        Identity { scheme: scheme.to_owned(), id: id.to_owned() }
    }
}

/// All that one connection has proved, each once, in the order it came.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Identities {
    list: Vec<Identity>,
    is_super: bool,
    /// What the scheme `ip` proves again when a client names it.
    address: Option<String>,
}

impl Identities {
    /// Of nobody: the server's own requests.
    pub fn none() -> Identities {
        Identities::default()
    }

    /// What a connection starts with: its address, an IPv4-mapped one seen as IPv4.
    pub fn of_peer(address: IpAddr) -> Identities {
        let text = ip::text(address);
        let list = vec![Identity::new("ip", &text)];
        Identities { list, is_super: false, address: Some(text) }
    }

    /// What another server of the ensemble vouches for; its frame bounds the number.
    pub fn vouched(list: impl IntoIterator<Item = Identity>) -> Identities {
        let mut ids = Identities::none();
        for identity in list {
            if !ids.list.contains(&identity) {
                ids.push(identity);
            }
        }
        ids
    }

    /// Adds one; false where there is no room for another.
    pub fn add(&mut self, identity: Identity) -> bool {
        if self.list.contains(&identity) {
            return true;
        }
        if self.list.len() >= limits::AUTH_IDS_PER_CONN {
            return false;
        }
        self.push(identity);
        true
    }

    pub fn iter(&self) -> impl Iterator<Item = &Identity> {
        self.list.iter()
    }

    pub fn is_super(&self) -> bool {
        self.is_super
    }

    pub(super) fn address(&self) -> Option<&str> {
        self.address.as_deref()
    }

    fn push(&mut self, identity: Identity) {
        self.is_super |= identity.scheme == "super";
        self.list.push(identity);
    }
}
