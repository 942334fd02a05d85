//! The learner's machines together, against a leader that is a script and a disk that is a model.

mod bench;
mod disk;
mod failures;
mod joining;
mod observers;
mod random;
mod snap;
mod steady;
mod sync;
mod wire;

use crate::base::{Instant, ServerId, Zxid};
use crate::members::{Role, Rules};

use super::LearnerSettings;

pub(super) fn at(ms: u64) -> Instant {
    Instant(0).plus_ms(ms)
}

fn z(epoch: u32, counter: u32) -> Zxid {
    Zxid::new(epoch, counter)
}

/// The zxids of an epoch, from the first counter to the last.
fn zs(epoch: u32, first: u32, last: u32) -> Vec<Zxid> {
    (first..=last).map(|counter| z(epoch, counter)).collect()
}

pub(super) fn follower_settings() -> LearnerSettings {
    LearnerSettings {
        server: ServerId(1),
        role: Role::Participant,
        tick_ms: 2000,
        init_limit_ticks: 10,
        sync_limit_ticks: 5,
        connect_limit_ticks: None,
        connect_retry_ms: 100,
        dial_pause_ms: 0,
        config_version: 0,
        rules: Rules::default(),
        observer_logs: true,
        hold_back: 500,
        item_bytes: 4096,
        pending_bytes: 32 * 1024 * 1024,
    }
}

fn observer_settings() -> LearnerSettings {
    LearnerSettings { role: Role::Observer, ..follower_settings() }
}
