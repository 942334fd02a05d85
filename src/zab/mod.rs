//! Positions and their order: what is logged, durable, committed, applied; who may say so; and how
//! a learner comes to its leader's history and follows it.
//!
//! Decides when a txn may be applied. Never applies it, never answers, never touches a file or a
//! link: it emits storage commands and packets and learns of their completion.

mod acks;
mod continuity;
mod dialling;
mod discovery;
mod feed;
mod feeding;
mod following;
mod joining;
mod leadership;
mod leading;
mod learner;
mod learner_end;
mod learner_role;
mod learner_seam;
#[cfg(test)]
mod learner_tests;
mod learning;
mod learning_history;
mod ledger;
mod log_feed;
#[cfg(test)]
mod meeting_tests;
mod observer_master;
mod observing;
mod reading;
mod receiving;
mod requests;
mod ring;
mod segments;
#[cfg(test)]
mod spoken;
mod sync;
mod tail;
mod watch;

pub use acks::{AckTable, Acked};
pub use continuity::Continuity;
pub use discovery::{Ahead, Discovery, Step, Summary};
pub use feed::{Feed, Hole, LearnerKind, Note, Outgoing, Sink, Source, TooMany, View, Wish};
pub use leadership::{
    Ended, Ensemble, Input, LeaderSettings, Leadership, LearnerView, Output, Parting, Passed,
    Start, Turn,
};
pub use leading::{Leading, Progress, Proposal};
pub use learner_end::LearnerEnd;
pub use learner_role::{LearnerPhase, LearnerRole};
pub use learner_seam::{
    Committed, ConfigPlace, LearnerInput, LearnerOutput, LearnerSettings, LearnerStorage,
    LearnerTurn, Left, Reads, Ready, Standing, SyncKind, ToLeader, write_ping_answer,
};
pub use observer_master::{ObserverMaster, Stock};
pub use observing::ObserverDelays;
pub use receiving::{BadItem, ImageSink};
pub use ring::{Place, Recent, Ring};
pub use sync::{Decision, Facts, LogSync, Probed, Reason, Verdict, decide};
pub use tail::{Tail, TailCut};
