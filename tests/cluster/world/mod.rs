//! A machine that runs the real node and the real storage code in simulated time, and the clients
//! that use it over cut-up streams.

pub mod client;
pub mod disk;
pub mod machine;
