//! Who is in the ensemble and what is enough: the members' lines, majorities, groups with weights,
//! and the quorums of a changing ensemble.
//!
//! Decides what a configuration's text means, which configurations are refused, and whether a set
//! of servers may commit. Never opens a file, looks up a name, or knows whether anyone is reached.

mod dynamic;
mod java_order;
mod membership;
mod my_id;
mod quorum;
mod read;
mod slots;
mod spec;

use std::fmt;

pub use dynamic::{
    belongs_to_dynamic_file, dynamic_file_name, leaves_static_file, next_file_name,
    static_file_text, version_of_dynamic_file,
};
pub use membership::{Grouping, Membership};
pub use my_id::{my_id, require_my_id};
pub use quorum::{Member, Quorums, Verifier};
pub use read::Rules;
pub use slots::{Acks, Slots};
pub use spec::{Address, HostPort, MemberSpec, Role};

/// Why a configuration is not taken, in Apache's words where Apache refuses it too.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MembersError {
    /// The key at fault; none where the whole is.
    pub key: Option<String>,
    pub reason: String,
}

impl MembersError {
    fn of_whole(reason: impl Into<String>) -> MembersError {
        MembersError { key: None, reason: reason.into() }
    }

    fn of_key(key: &str, reason: impl Into<String>) -> MembersError {
        MembersError { key: Some(key.to_owned()), reason: reason.into() }
    }
}

impl fmt::Display for MembersError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.reason)
    }
}

impl std::error::Error for MembersError {}

#[cfg(test)]
mod tests;
