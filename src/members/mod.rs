//! What is enough: majorities, groups with weights, and the quorums of a changing ensemble.
//!
//! Decides whether a set of servers may commit. Never knows who they are or how they are reached.

mod quorum;

pub use quorum::{Member, Quorums, Verifier};
