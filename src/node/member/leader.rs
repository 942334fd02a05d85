//! What goes with a leadership besides the machine itself.

use std::collections::VecDeque;

use crate::base::{BufferSizes, ConnId, Instant, SessionId, Zxid};
use crate::peering::{AuthId, AuthIds, Forwarded};
use crate::zab::{Ended, Leadership};

use super::super::Origin;
use super::measures::Proposed;
use crate::auth::{Identities, Identity};

/// A learner's request that waits for room in the log.
pub(super) struct Asked {
    pub link: ConnId,
    pub session: SessionId,
    pub cxid: i32,
    pub op: i32,
    pub body: Box<[u8]>,
    pub ids: Identities,
}

impl Asked {
    pub fn of(link: ConnId, request: &Forwarded<'_>, ids: AuthIds<'_>) -> Asked {
        let identity = |id: AuthId<'_>| {
            Identity::new(&id.scheme.unwrap_or_default(), &id.id.unwrap_or_default())
        };
        Asked {
            link,
            session: request.session,
            cxid: request.cxid,
            op: request.op,
            body: request.body.into(),
            ids: Identities::vouched(ids.iter().map(identity)),
        }
    }
}

pub(super) struct Leader {
    pub leadership: Leadership,
    /// Learners' requests, in the order in which they came.
    pub asked: VecDeque<Asked>,
    pub asked_bytes: usize,
    /// Syncs of this server's own clients, and what must be applied before each is answered.
    pub syncs: VecDeque<(Zxid, Origin)>,
    pub has_more: bool,
    pub ended: Option<Ended>,
    /// Since when it is established.
    pub since: Option<Instant>,
    pub sizes: BufferSizes,
    pub proposed: Proposed,
    /// How many learners were brought up at the same time when that was told last: by an image,
    /// and by changes.
    pub syncs_told: (u64, u64),
}

impl Leader {
    pub fn new(leadership: Leadership) -> Leader {
        Leader {
            leadership,
            asked: VecDeque::new(),
            asked_bytes: 0,
            syncs: VecDeque::new(),
            has_more: false,
            ended: None,
            since: None,
            sizes: BufferSizes::default(),
            proposed: Proposed::default(),
            syncs_told: (0, 0),
        }
    }

    pub fn is_sync_due(&self, applied: Zxid) -> bool {
        self.syncs.front().is_some_and(|(after, _)| *after <= applied)
    }
}
