//! Positions and their order: what is logged, durable, committed, applied; and who may say so.
//!
//! Decides when a txn may be applied, which epoch a leader leads and how its learners come to its
//! history. Never applies a txn, never answers, never touches a file or a socket: it emits commands
//! and packets and learns of their completion.

mod acks;
mod continuity;
mod discovery;
mod feed;
mod leadership;
mod leading;
mod learner;
mod ring;
#[cfg(test)]
mod spoken;
mod sync;

pub use acks::{AckTable, Acked};
pub use continuity::Continuity;
pub use discovery::{Ahead, Discovery, Step, Summary};
pub use feed::{Feed, Hole, LearnerKind, Note, Outgoing, Sink, Source, TooMany, View, Wish};
pub use leadership::{
    Ended, Ensemble, Input, LeaderSettings, Leadership, LearnerView, Output, Parting, Passed,
    Start, Turn,
};
pub use leading::{Leading, Progress, Proposal};
pub use ring::{Place, Recent, Ring};
pub use sync::{Decision, Facts, LogSync, Probed, Reason, Verdict, decide};
