//! One server's whole behaviour behind a seam of values: events in, effects out.
//!
//! Decides the order of a turn and wires the rooms to each other. Never reads a clock, a socket or
//! a file: the reactor and the simulator perform what it says.

mod seam;

pub use seam::{CloseReason, Effect, Effects, Event};
