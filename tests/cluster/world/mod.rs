//! A machine that runs the real node and the real storage code in simulated time, and the clients
//! that use it over cut-up streams; and for several nodes a clock and a network.

pub mod client;
pub mod clock;
pub mod disk;
pub mod machine;
pub mod network;
pub mod watches;

use network::{Errand, Happening};

/// What happens in a world of several nodes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event {
    /// The network has something to look after.
    Errand(Errand),
    /// A kernel has something for its process.
    Happened(Happening),
    /// The next thing that the plan has goes wrong, or is over.
    Stroke(usize),
}
