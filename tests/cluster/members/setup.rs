//! What every member is told at its start.

use std::collections::BTreeMap;
use std::path::Path;

use zkd::base::ServerId;
use zkd::config::{Config, MemberConfig};
use zkd::disk::{Disk, OpenMode, StorageSettings};
use zkd::history::{EpochFile, epoch_file_name, parse_epoch};
use zkd::members::{Address, HostPort, MemberSpec, Membership, Role};

use super::plan::Plan;
use super::wires::{CLIENT_PORT, ELECTION_PORT, OBSERVERS_PORT, QUORUM_PORT};

pub const DATA: &str = "/data";

/// More than a plan's clients send between two syncs.
const UNSYNCED_BYTES: u64 = 64 * 1024;

/// Its name in the configuration and in the network.
pub fn host(place: usize) -> String {
    format!("m{place}")
}

pub fn server_id(place: usize) -> ServerId {
    ServerId(place as i64 + 1)
}

/// A list of some of a plan's members.
pub fn membership(plan: &Plan, places: &[usize]) -> Membership {
    let spec = |place: usize| {
        let address =
            Address { host: host(place), quorum_port: QUORUM_PORT, election_port: ELECTION_PORT };
        let role = if place < plan.voters { Role::Participant } else { Role::Observer };
        let client = HostPort { host: "0.0.0.0".to_owned(), port: CLIENT_PORT };
        MemberSpec { addresses: vec![address], role, client: Some(client), static_client: None }
    };
    let members: BTreeMap<ServerId, MemberSpec> =
        places.iter().map(|place| (server_id(*place), spec(*place))).collect();
    Membership::new(0, members)
}

pub fn config(plan: &Plan, place: usize) -> Config {
    let mut config = Config::for_tests();
    config.tick_time_ms = plan.tick_ms as i32;
    config.min_session_timeout_ms = 2 * plan.tick_ms as i32;
    config.max_session_timeout_ms = 60_000;
    config.storage.snap_count = plan.snap_count.max(2) as i32;
    config.ensemble.init_limit_ticks = plan.init_ticks as i32;
    config.ensemble.sync_limit_ticks = plan.sync_ticks as i32;
    config.ensemble.commit_log_count = plan.hold_back as i32;
    config.ensemble.observing.master_port = plan.followers_feed.then_some(OBSERVERS_PORT);
    // So little that followers let go of what they remember, and read it back.
    config.ensemble.observing.master_bytes = 10_000;
    config.ensemble.local_sessions = plan.local_sessions;
    config.ensemble.local_session_upgrades = true;
    config.admin.read_only_mode = plan.read_only;
    let all: Vec<usize> = (0..plan.members()).collect();
    let active = membership(plan, &all);
    config.ensemble.member = Some(MemberConfig::for_tests(server_id(place), active));
    config
}

pub fn settings(plan: &Plan) -> StorageSettings {
    let mut settings = StorageSettings::new(DATA);
    settings.preallocate_bytes = plan.pre_alloc_kib * 1024;
    settings.unsynced_bytes = UNSYNCED_BYTES;
    settings.is_alone = false;
    settings.hold_back = plan.hold_back;
    settings
}

/// What the file of the current epoch says, if there is one.
pub fn epoch_on_disk(disk: &mut impl Disk) -> Option<i64> {
    let path = Path::new(DATA).join("version-2").join(epoch_file_name(EpochFile::Current));
    let file = disk.open(&path, OpenMode::Read).ok()?;
    let mut text = [0; 32];
    let length = disk.read_at(file, 0, &mut text);
    disk.close(file);
    parse_epoch(&text[..length.ok()?])
}
