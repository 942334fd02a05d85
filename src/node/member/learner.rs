//! What goes with a learner's role besides the machine itself.

use std::collections::BTreeMap;

use crate::base::{ConnId, Instant, ServerId, SessionId, Zxid};
use crate::peering::{HostPort, Splitter, Touch};
use crate::state::StateLoader;
use crate::zab::{LearnerRole, Reads, Ready, SyncKind};

use super::super::Origin;
use super::measures::Proposed;
use super::observers::Observers;

pub(super) struct Learner {
    pub role: LearnerRole<Origin>,
    /// Where the leader is reached, in the order of its line.
    pub addresses: Vec<HostPort>,
    pub link: Option<ConnId>,
    pub splitter: Option<Box<Splitter>>,
    /// What the link has brought and the role does not take yet; meanwhile nothing is read.
    pub held: Vec<u8>,
    pub is_paused: bool,
    /// Bytes to the leader that wait to be taken.
    pub unsent: usize,
    /// An image on its way in.
    pub loader: Option<StateLoader>,
    /// All of it has come.
    pub finished: Option<Zxid>,
    /// The next of what may be applied, where something else has to come first.
    pub ready: Option<Ready<Origin>>,
    pub has_more: bool,
    /// When the leader was last told who is alive, and who was before he left.
    pub told_touches: Instant,
    pub gone: Vec<Touch>,
    /// Sessions that came with a client, and their connections, until the leader has spoken.
    pub revalidating: BTreeMap<SessionId, ConnId>,
    /// What feeds observers, where this server follows and has a port for them.
    pub observers: Option<Box<Observers>>,
    /// A configuration has given this server another role, or another leader.
    pub reconfigured: Option<Option<ServerId>>,
    /// How the leader brings it up, and since when.
    pub sync: Option<SyncKind>,
    pub sync_since: Instant,
    pub proposed: Proposed,
}

impl Learner {
    pub fn next_timeout(&self) -> Instant {
        let next = self.role.next_timeout();
        self.observers.as_ref().map_or(next, |behind| behind.master.next_timeout().min(next))
    }

    /// The link is not read, and need not be left so.
    pub fn could_read_on(&self) -> bool {
        self.is_paused && self.role.reads() != Reads::Nothing
    }
}
