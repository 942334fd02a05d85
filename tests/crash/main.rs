//! The real binary on real file systems: killed, cut off from power, with disks that fail, stopped.
//! Needs root, loop devices, xfsprogs and strace; whatever is missing fails the test that needs it.

mod crashes;
mod faults;
mod load;
mod mounted;
#[path = "../rig/ports.rs"]
mod ports;
mod server;
