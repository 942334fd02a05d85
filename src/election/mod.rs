//! Fast leader election and the links it speaks over: notifications in, votes out.
//!
//! Decides whom this server votes for, when a vote is final and who leads, and which of two
//! servers' links on the election port stays. Never opens a socket, never looks up a name, never
//! reads a clock or a file, and never decides what a leader may do: that is `zab`'s.
//!
//! Two machines that know nothing of each other and meet in `node`: [`Mesh`] knows links, dials
//! and servers, [`Election`] knows votes. What [`Election`] tells goes to [`Mesh::tell`], what
//! [`Mesh`] learns of a server's reach goes to [`Election::handle_reach`], and before the next word
//! of a link to [`Election::handle_notification`]: a link begins with nothing known of who is at
//! its other end.

mod answers;
mod ballots;
mod electorate;
mod fast;
mod heard;
mod mesh;
mod peer;

#[cfg(test)]
mod early_tests;
#[cfg(test)]
mod fast_tests;
#[cfg(test)]
mod groups_tests;
#[cfg(test)]
mod mesh_tests;
#[cfg(test)]
mod world;

pub use electorate::Electorate;
pub use fast::{Election, ElectionOutput, ElectionSettings, Outcome, Standing};
pub use mesh::{CloseReason, DialFailure, Mesh, MeshOutput, MeshSettings};
pub use peer::{PeerSpec, Reach};
