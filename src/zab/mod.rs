//! Positions and their order: what is logged, durable, committed, applied; and how a learner comes
//! to its leader's history and follows it.
//!
//! Decides when a txn may be applied. Never applies it, never answers, never touches a file or a
//! link: it emits storage commands and packets and learns of their completion.

mod continuity;
mod dialling;
mod following;
mod joining;
mod leading;
mod learner_end;
mod learner_role;
mod learner_seam;
#[cfg(test)]
mod learner_tests;
mod learning;
mod learning_history;
mod ledger;
mod log_feed;
mod observing;
mod reading;
mod receiving;
mod requests;
mod tail;
mod watch;

pub use leading::{Leading, Progress, Proposal};
pub use learner_end::LearnerEnd;
pub use learner_role::LearnerRole;
pub use learner_seam::{
    Committed, ConfigPlace, LearnerInput, LearnerOutput, LearnerSettings, LearnerStorage,
    LearnerTurn, Left, Reads, Ready, Standing, SyncKind, ToLeader, write_ping_answer,
};
pub use observing::ObserverDelays;
pub use receiving::{BadItem, ImageSink};
pub use tail::{Tail, TailCut};
