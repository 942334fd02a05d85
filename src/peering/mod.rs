//! The language peers speak: the first messages and notifications of the election port, the
//! packets of the quorum port and what they carry.
//!
//! Decides what a peer's bytes say and how ours are written, and says of foreign bytes what they
//! look like. Never decides what follows from a message, nor whether its sender may say it.

mod auth_ids;
mod bodies;
mod election_reader;
#[cfg(test)]
mod election_tests;
mod foreign;
#[cfg(test)]
mod golden_tests;
mod hold;
mod initial;
mod notification;
mod packet;
mod splitter;
#[cfg(test)]
mod splitter_tests;
#[cfg(test)]
mod testing;

pub use auth_ids::{AuthId, AuthIds};
pub use bodies::{
    AckEpoch, Activation, Forwarded, LEARNER_PROTOCOL, LeaderInfo, LearnerInfo, Revalidate,
    Revalidated, Touch, read_touches, write_touches,
};
pub use election_reader::{ElectionReader, Heard};
pub use foreign::{Foreign, StreamError};
pub use initial::{HostPort, Initial, InitialForm};
pub use notification::{Notification, PeerState, Vote};
pub use packet::{Packet, PacketKind, write_packet, write_packet_with, write_request};
pub use splitter::{PacketBytes, Splitter};
