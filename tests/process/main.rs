//! The real binary as its operators and its worst clients meet it: how it starts, what it says,
//! how it ends, and what each hostile connection costs.

mod bench;
mod certificates;
mod disk;
mod ending;
mod hostile;
mod limits;
mod networks;
#[path = "../rig/ports.rs"]
mod ports;
mod secured;
mod server;
mod starting;
mod watches;
