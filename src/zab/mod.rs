//! Positions and their order: what is logged, durable, committed, applied.
//!
//! Decides when a txn may be applied. Never applies it, never answers, never touches a file: it
//! emits storage commands and learns of their completion.

mod leading;

pub use leading::{Leading, Progress, Proposal};
