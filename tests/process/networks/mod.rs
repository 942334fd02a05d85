//! Ensembles across a real network stack: each member in a network namespace of its own, joined
//! by veth pairs on a bridge. Links are cut whole or in one direction, slowed down, or led through
//! a relay; sessions write meanwhile, and what they were told must hold in the end.
//!
//! Needs root, `ip`, `tc`, `nsenter` and `setpriv`. Where namespaces cannot be made, every test
//! here fails and says so.

mod clients;
mod cuts;
mod halves;
mod history;
mod members;
mod names;
mod relay;
mod relayed;
mod silence;
mod slow;
mod tree;
mod wires;
