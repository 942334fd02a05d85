//! A state and a `Prepare` over it, with what is in flight between them.

use std::collections::VecDeque;

use crate::auth::{AuthSettings, Identities, Providers};
use crate::base::{SessionId, WallMillis, Zxid};
use crate::prepare::{Prepare, PrepareSettings, Prepared, Requester};
use crate::proto::{ErrorCode, RawAcl, Request, Txn, TxnDigest, TxnHeader};
use crate::state::{Applied, Mode, State, StateSettings};

pub struct Bench {
    pub state: State,
    pub prepare: Prepare,
    pub providers: Providers,
    pub zxid: Zxid,
    pub in_flight: VecDeque<(TxnHeader, Txn, Option<TxnDigest>)>,
}

/// Whose requests: a session, its credential, what its session check says.
#[derive(Clone, Debug)]
pub struct Caller {
    pub session: SessionId,
    pub ids: Identities,
    pub session_ok: Result<(), ErrorCode>,
    pub ephemeral_ok: Result<(), ErrorCode>,
    pub from_server: bool,
}

impl Caller {
    pub fn new(session: i64) -> Caller {
        let ids = Identities::of_peer("127.0.0.1".parse().expect("an address"));
        Caller {
            session: SessionId(session),
            ids,
            session_ok: Ok(()),
            ephemeral_ok: Ok(()),
            from_server: false,
        }
    }

    pub fn server() -> Caller {
        Caller { ids: Identities::none(), from_server: true, ..Caller::new(0) }
    }

    pub fn proving(mut self, credential: &str) -> Caller {
        let providers = Providers::new(&AuthSettings::default()).expect("sound settings");
        let proved = providers.authenticate("digest", credential.as_bytes(), &mut self.ids);
        proved.expect("room for an identity");
        self
    }
}

impl Bench {
    pub fn new(change: impl FnOnce(&mut PrepareSettings)) -> Bench {
        let mut settings = PrepareSettings { extended_types: true, ..PrepareSettings::default() };
        change(&mut settings);
        let tree = StateSettings {
            extended_types: settings.extended_types,
            digest: settings.digest,
            ..StateSettings::default()
        };
        Bench {
            state: State::new(&tree),
            prepare: Prepare::new(settings),
            providers: Providers::new(&AuthSettings::default()).expect("sound settings"),
            zxid: Zxid::ZERO,
            in_flight: VecDeque::new(),
        }
    }

    pub fn time(&self) -> WallMillis {
        WallMillis(1_700_000_000_000 + self.zxid.0)
    }

    /// Prepares and leaves it in flight.
    pub fn prepare(&mut self, caller: &Caller, request: &Request<'_>) -> Prepared {
        self.zxid = self.zxid.next();
        let who = Requester {
            session: caller.session,
            cxid: 7,
            ids: &caller.ids,
            session_ok: caller.session_ok,
            ephemeral_ok: caller.session_ok.and(caller.ephemeral_ok),
            from_server: caller.from_server,
        };
        let (zxid, time) = (self.zxid, self.time());
        let (state, providers) = (&self.state, &self.providers);
        let prepared = self.prepare.prepare(state, providers, &who, zxid, time, request);
        let header = TxnHeader { session: caller.session, cxid: 7, zxid, time };
        self.in_flight.push_back((header, prepared.txn.clone(), prepared.digest));
        prepared
    }

    /// Applies the oldest in flight; the state must be as its digest said.
    pub fn apply_one(&mut self) {
        let Some((header, txn, digest)) = self.in_flight.pop_front() else { return };
        let mut applied = Applied::default();
        self.state.apply(&header, &txn, Mode::Exact, &mut applied);
        self.prepare.applied(header.zxid);
        if let Some(digest) = digest {
            assert_eq!(digest.tree, self.state.digest(), "{txn:?}");
        }
        let wanted = match txn {
            Txn::Error { code } => code,
            _ => 0,
        };
        assert_eq!(applied.err.number(), wanted, "{txn:?}");
    }

    pub fn apply_all(&mut self) {
        while !self.in_flight.is_empty() {
            self.apply_one();
        }
    }

    /// Prepares and applies all; the code of the outcome.
    pub fn run(&mut self, caller: &Caller, request: &Request<'_>) -> i32 {
        let prepared = self.prepare(caller, request);
        self.apply_all();
        code(&prepared.txn)
    }
}

/// 0, the error's code, or of a failed multi its first error.
pub fn code(txn: &Txn) -> i32 {
    match txn {
        Txn::Error { code } => *code,
        Txn::Multi(parts) => parts.iter().map(code).find(|c| *c != 0).unwrap_or(0),
        _ => 0,
    }
}

pub fn open_acl() -> Option<Vec<RawAcl<'static>>> {
    Some(vec![raw(31, "world", "anyone")])
}

pub fn raw(perms: i32, scheme: &'static str, id: &'static str) -> RawAcl<'static> {
    RawAcl { perms: crate::proto::Perms(perms), scheme: Some(scheme.into()), id: Some(id.into()) }
}
