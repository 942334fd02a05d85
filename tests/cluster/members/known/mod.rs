//! The failures that ZooKeeper had, each played by its number: what brought it about there is
//! brought about here, and must not have the same outcome. `tests/known/register` says of each row
//! which test plays it, and which mistake makes that test fail by which checker.

mod cuts;
mod diffs;
mod growth;
mod images;
mod java;
mod limits;
mod puppet;
mod sessions;
mod stage;
