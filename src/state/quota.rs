//! Quotas: which limit a path is under, and the usage written beside it.

use std::collections::{BTreeMap, BTreeSet};

use super::State;

const QUOTA: &str = "/zookeeper/quota";
const LIMITS: &str = "zookeeper_limits";
const STATS: &str = "zookeeper_stats";

const COUNT: &str = "count";
const BYTES: &str = "bytes";
const HARD_COUNT: &str = "countHardLimit";
const HARD_BYTES: &str = "byteHardLimit";

/// The paths that have limits.
#[derive(Default)]
pub(super) struct Quotas {
    prefixes: BTreeSet<String>,
}

/// Limits of a subtree; -1 is none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct QuotaLimits {
    pub count: i64,
    pub bytes: i64,
    pub hard_count: i64,
    pub hard_bytes: i64,
}

/// The quota a path is under.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct QuotaView {
    pub prefix: String,
    pub limits: QuotaLimits,
    pub used_count: i64,
    pub used_bytes: i64,
}

/// A change would pass a limit. A soft one is only told to the operator.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct QuotaExceeded {
    pub prefix: String,
    pub is_hard: bool,
    /// Whether bytes or nodes are too many.
    pub is_bytes: bool,
    pub limit: i64,
    pub would_be: i64,
}

/// Keys and numbers as the limits and statistics nodes hold them.
struct Track(BTreeMap<String, i64>);

impl Quotas {
    /// The longest prefix with a limit. The root cannot have one.
    fn prefix_of<'a>(&self, path: &'a str) -> Option<&'a str> {
        if self.prefixes.is_empty() {
            return None;
        }
        let mut prefix = path;
        while prefix.len() > 1 {
            if self.prefixes.contains(prefix) {
                return Some(prefix);
            }
            prefix = &prefix[..prefix.rfind('/')?];
        }
        None
    }
}

impl State {
    /// The quota that a path is under.
    pub fn quota(&self, path: &str) -> Option<QuotaView> {
        let prefix = self.quotas.prefix_of(path)?;
        let limits = self.track(&format!("{QUOTA}{prefix}/{LIMITS}"))?;
        let used = self.track(&format!("{QUOTA}{prefix}/{STATS}"))?;
        Some(QuotaView {
            prefix: prefix.to_owned(),
            limits: QuotaLimits {
                count: limits.value(COUNT),
                bytes: limits.value(BYTES),
                hard_count: limits.value(HARD_COUNT),
                hard_bytes: limits.value(HARD_BYTES),
            },
            used_count: used.value(COUNT),
            used_bytes: used.value(BYTES),
        })
    }

    /// Whether a change below `path` fits. What does not change cannot be too much; a hard limit
    /// takes the place of the soft one.
    pub fn check_quota(
        &self,
        path: &str,
        bytes_delta: i64,
        count_delta: i64,
    ) -> Result<(), QuotaExceeded> {
        let Some(QuotaView { prefix, limits, used_count, used_bytes }) = self.quota(path) else {
            return Ok(());
        };
        let exceeds = |is_bytes: bool, soft: i64, hard: i64, used: i64, delta: i64| {
            let is_hard = hard > -1;
            let limit = if is_hard { hard } else { soft };
            let would_be = used.wrapping_add(delta);
            let exceeds = delta != 0 && limit > -1 && would_be > limit;
            let prefix = prefix.clone();
            exceeds.then_some(QuotaExceeded { prefix, is_hard, is_bytes, limit, would_be })
        };
        let count = exceeds(false, limits.count, limits.hard_count, used_count, count_delta);
        let bytes = exceeds(true, limits.bytes, limits.hard_bytes, used_bytes, bytes_delta);
        match (count, bytes) {
            (Some(count), Some(bytes)) if bytes.is_hard && !count.is_hard => Err(bytes),
            (Some(exceeded), _) | (None, Some(exceeded)) => Err(exceeded),
            (None, None) => Ok(()),
        }
    }

    pub(super) fn quota_on_create(&mut self, id: u32, parent: &str, name: &str, path: &str) {
        if let Some(prefix) = limited_path(parent) {
            match name {
                LIMITS => _ = self.quotas.prefixes.insert(prefix.to_owned()),
                STATS => self.count_usage(prefix),
                _ => {}
            }
        }
        let bytes = self.nodes.data_bytes(id) as i64;
        self.add_to_quota(path, bytes, 1);
    }

    pub(super) fn quota_on_delete(&mut self, path: &str, data_bytes: usize) {
        if let Some(prefix) = path.strip_suffix(LIMITS).and_then(|p| p.strip_suffix('/')) {
            if let Some(prefix) = limited_path(prefix) {
                self.quotas.prefixes.remove(prefix);
            }
        }
        self.add_to_quota(path, -(data_bytes as i64), -1);
    }

    /// In place: neither version nor zxid nor digest of the statistics node changes.
    pub(super) fn add_to_quota(&mut self, path: &str, bytes: i64, count: i64) {
        let Some(prefix) = self.quotas.prefix_of(path) else { return };
        let stats = format!("{QUOTA}{prefix}/{STATS}");
        let Some(mut track) = self.track(&stats) else { return };
        track.add(COUNT, count);
        track.add(BYTES, bytes);
        self.put_track(&stats, &track);
    }

    /// After an image: which limits there are, and the usage counted anew. As in Java only
    /// limits without children count.
    pub(super) fn set_up_quotas(&mut self) {
        let Some(top) = self.nodes.find(QUOTA) else { return };
        let mut found = Vec::new();
        let mut at = top;
        while let Some(id) = self.nodes.next_below(top, at) {
            at = id;
            if self.nodes.name(id) == LIMITS && self.nodes.child_count(id) == 0 {
                let parent = self.nodes.path(self.nodes.parent(id));
                found.extend(limited_path(&parent).map(str::to_owned));
            }
        }
        for prefix in found {
            self.count_usage(&prefix);
            self.quotas.prefixes.insert(prefix);
        }
    }

    /// Writes the number and bytes of all nodes of a subtree, itself included.
    fn count_usage(&mut self, prefix: &str) {
        let (mut count, mut bytes) = (0, 0);
        if let Some(top) = self.nodes.find(prefix) {
            let mut at = Some(top);
            while let Some(id) = at {
                count += 1;
                bytes += self.nodes.data_bytes(id) as i64;
                at = self.nodes.next_below(top, id);
            }
        }
        let track = Track([(COUNT.to_owned(), count), (BYTES.to_owned(), bytes)].into());
        self.put_track(&format!("{QUOTA}{prefix}/{STATS}"), &track);
    }

    fn track(&self, path: &str) -> Option<Track> {
        let id = self.nodes.find(path)?;
        Some(Track::parse(self.nodes.data(id).unwrap_or_default()))
    }

    fn put_track(&mut self, path: &str, track: &Track) {
        if let Some(id) = self.nodes.find(path) {
            self.put_data(id, Some(track.text().as_bytes()));
        }
    }

    /// Asserts that the limits known are those in the tree. Limits that got children since they
    /// came to be are known still.
    pub(super) fn check_quotas(&self) {
        for prefix in &self.quotas.prefixes {
            assert!(self.nodes.find(&format!("{QUOTA}{prefix}/{LIMITS}")).is_some(), "{prefix}");
        }
    }
}

impl Track {
    /// Total: what is no number is left out.
    fn parse(text: &[u8]) -> Track {
        let text = String::from_utf8_lossy(text);
        let mut track = Track(BTreeMap::new());
        for pair in text.split([',', ';']) {
            let mut parts = pair.split('=');
            let (Some(key), Some(value)) = (parts.next(), parts.next()) else { continue };
            let value = if value.is_empty() { Some(-1) } else { value.parse().ok() };
            if let Some(value) = value {
                track.0.insert(key.to_owned(), value);
            }
        }
        track
    }

    fn value(&self, key: &str) -> i64 {
        self.0.get(key).copied().unwrap_or(-1)
    }

    fn add(&mut self, key: &str, delta: i64) {
        self.0.insert(key.to_owned(), self.value(key).wrapping_add(delta));
    }

    /// The extra "=" makes the oldest parsers ignore what follows.
    fn text(&self) -> String {
        let mut text = format!("count={},bytes={}", self.value(COUNT), self.value(BYTES));
        let others = self.0.iter().filter(|(key, _)| *key != COUNT && *key != BYTES);
        for (i, (key, value)) in others.enumerate() {
            text.push_str(if i == 0 { "=;" } else { ";" });
            text.push_str(&format!("{key}={value}"));
        }
        text
    }
}

/// The path that limits below `parent` are about. The root's are nobody's.
fn limited_path(parent: &str) -> Option<&str> {
    parent.strip_prefix(QUOTA).filter(|path| path.starts_with('/'))
}
