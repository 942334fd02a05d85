//! One voter of ours, as a test holds it: started, asked how it stands, told to look again, ended.

use std::collections::BTreeSet;
use std::sync::mpsc::{self, Sender};
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::thread::{self, JoinHandle};
use std::time::Instant;

use mio::Waker;

use zkd::base::{ServerId, Zxid};
use zkd::election::{CloseReason, Outcome, Standing};
use zkd::peering::{Initial, InitialForm, LearnerInfo, Notification, PeerState, StreamError, Vote};

use crate::PATIENCE;
use crate::ensemble::Ensemble;
use crate::wiring::Wiring;

/// What a voter brings, and how it speaks.
#[derive(Clone, Debug)]
pub struct Setup {
    pub standing: Standing,
    pub form: InitialForm,
    /// How long who dials may say nothing.
    pub greeting_ms: u64,
}

impl Default for Setup {
    /// It holds nothing.
    fn default() -> Setup {
        let standing = Standing { zxid: Zxid(0), peer_epoch: 0 };
        Setup { standing, form: InitialForm::V1, greeting_ms: 10_000 }
    }
}

impl Setup {
    pub fn holding(zxid: i64, peer_epoch: i64) -> Setup {
        Setup { standing: Standing { zxid: Zxid(zxid), peer_epoch }, ..Setup::default() }
    }
}

/// What a test may want of a voter.
#[derive(Clone, Copy, Debug)]
pub enum Command {
    /// It leaves its role and looks for a leader.
    LookAgain,
    /// It has come to an epoch, as after a sync.
    CorrectEpoch(i64),
    End,
}

/// How a voter stands, and what it has met since it was started.
#[derive(Clone, Debug)]
pub struct View {
    pub state: PeerState,
    pub round: i64,
    pub settled: Vote,
    pub proposal: Vote,
    pub outcomes: Vec<Outcome>,
    pub reopened: usize,
    /// Whose links on the election port are up.
    pub linked: BTreeSet<ServerId>,
    /// Whose links went down.
    pub lost: Vec<ServerId>,
    pub initials: Vec<Initial>,
    pub heard: Vec<(ServerId, Notification)>,
    /// Messages that said nothing.
    pub senseless: usize,
    pub faults: Vec<StreamError>,
    pub closed: Vec<CloseReason>,
    /// Who has come to the quorum port and said who it is.
    pub learners: Vec<LearnerInfo>,
    /// The leader whose quorum port this voter is connected to.
    pub let_in_by: Option<ServerId>,
    /// Connections of all kinds.
    pub sockets: usize,
}

impl View {
    pub fn follows(&self, leader: i64) -> bool {
        self.state == PeerState::Following && self.settled.leader == ServerId(leader)
    }

    pub fn leads(&self) -> bool {
        self.state == PeerState::Leading
    }

    pub fn is_linked_to(&self, server: i64) -> bool {
        self.linked.contains(&ServerId(server))
    }

    /// How its last election ended.
    pub fn outcome(&self) -> &Outcome {
        self.outcomes.last().expect("an election has ended")
    }
}

/// Between the voter's thread and the test's.
pub struct Shared {
    view: Mutex<View>,
    changed: Condvar,
}

impl Shared {
    pub fn note(&self, change: impl FnOnce(&mut View)) {
        change(&mut self.lock());
        self.changed.notify_all();
    }

    fn lock(&self) -> MutexGuard<'_, View> {
        // Who fails while holding it is a test that fails anyway.
        self.view.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }
}

pub struct Voter {
    pub id: i64,
    commands: Sender<Command>,
    waker: Arc<Waker>,
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

impl Voter {
    pub fn start(ensemble: &Ensemble, id: i64, setup: Setup) -> Voter {
        let nothing = Vote {
            leader: ServerId(id),
            zxid: setup.standing.zxid,
            election_epoch: 0,
            peer_epoch: setup.standing.peer_epoch,
        };
        let view = View {
            state: PeerState::Looking,
            round: 0,
            settled: nothing,
            proposal: nothing,
            outcomes: Vec::new(),
            reopened: 0,
            linked: BTreeSet::new(),
            lost: Vec::new(),
            initials: Vec::new(),
            heard: Vec::new(),
            senseless: 0,
            faults: Vec::new(),
            closed: Vec::new(),
            learners: Vec::new(),
            let_in_by: None,
            sockets: 0,
        };
        let shared = Arc::new(Shared { view: Mutex::new(view), changed: Condvar::new() });
        let (commands, heard) = mpsc::channel();
        // The ports are listened to when this returns.
        let (wiring, waker) = Wiring::new(ensemble, id, setup, heard, Arc::clone(&shared));
        let thread = thread::Builder::new().name(format!("voter {id}"));
        let thread = thread.spawn(move || wiring.run()).expect("a thread");
        let waker = Arc::new(waker);
        Voter { id, commands, waker, shared, thread: Some(thread) }
    }

    pub fn tell(&self, command: Command) {
        // A voter that is gone says so where it is waited for.
        let _ = self.commands.send(command);
        self.waker.wake().expect("a voter that can be woken");
    }

    pub fn view(&self) -> View {
        self.shared.lock().clone()
    }

    /// Waits until it stands as the test expects.
    pub fn await_view(&self, what: &str, is_there: impl Fn(&View) -> bool) -> View {
        let deadline = Instant::now() + PATIENCE;
        let mut view = self.shared.lock();
        while !is_there(&view) {
            let is_over = self.thread.as_ref().is_none_or(JoinHandle::is_finished);
            let left = deadline.saturating_duration_since(Instant::now());
            assert!(!is_over && !left.is_zero(), "voter {} never {what}: {view:#?}", self.id);
            let pause = left.min(std::time::Duration::from_millis(100));
            let waited = self.shared.changed.wait_timeout(view, pause);
            view = waited.unwrap_or_else(|poisoned| poisoned.into_inner()).0;
        }
        view.clone()
    }

    /// Ends it, its sockets with it; a thread that has failed fails the test.
    pub fn end(mut self) {
        self.finish().expect("the voter's thread holds");
    }

    fn finish(&mut self) -> thread::Result<()> {
        let Some(thread) = self.thread.take() else { return Ok(()) };
        let _ = self.commands.send(Command::End);
        let _ = self.waker.wake();
        thread.join()
    }
}

impl Drop for Voter {
    fn drop(&mut self) {
        let finished = self.finish();
        assert!(finished.is_ok() || thread::panicking(), "voter {} has failed", self.id);
    }
}
