//! `zoo.cfg` and Java system properties in, a checked [`Config`] out.
//!
//! Decides what every key means, its default and unit, what is refused and what is only warned
//! about. Never reads a file, an environment or a command line: they come in as values, and
//! whatever a file is named after (a data directory, an address) is looked up by others.

mod ensemble;
mod flags;
mod judge;
mod keys;
mod member;
mod nearest;
mod properties;
mod read;
mod settings;
mod show;
mod tls;
mod values;

use std::collections::BTreeMap;
use std::fmt;

pub use ensemble::{Elections, Ensemble, Leading, Learning, MultiAddress, Observing};
pub use flags::SystemProperties;
pub use member::{FileText, MemberConfig, MemberSources, Replacement};
pub use settings::{
    Admin, Auth, Clients, ConnectionThrottle, Containers, Kerberos, Limits, Purge, RequestThrottle,
    Sasl, Secret, SnapshotCompression, Storage, Tree, Words,
};
pub use tls::{ClientAuth, Store, StoreKind, Tls, TlsProtocol, TlsSuite};

/// What a configuration is read from. The caller has read the files.
#[derive(Clone, Copy, Debug)]
pub struct Sources<'a> {
    /// The name of the file, for messages.
    pub file: &'a str,
    pub text: &'a [u8],
    /// Name and text of the file that `dynamicConfigFile` names, where it could be read.
    pub dynamic: Option<(&'a str, &'a [u8])>,
    pub properties: &'a SystemProperties,
    /// The default is a server that joins no ensemble.
    pub member: MemberSources<'a>,
}

/// The effective configuration: every value a default, a key of `zoo.cfg` or a system property.
#[derive(Clone, Debug, PartialEq)]
pub struct Config {
    /// Milliseconds of a tick, the unit of session expiry.
    pub tick_time_ms: i32,
    pub min_session_timeout_ms: i32,
    pub max_session_timeout_ms: i32,
    pub clients: Clients,
    pub storage: Storage,
    pub tree: Tree,
    pub limits: Limits,
    pub auth: Auth,
    pub admin: Admin,
    pub ensemble: Ensemble,
    pub tls: Tls,
    /// Every system property as Java would hold it (`zookeeper.` names and bare ones), what
    /// `zoo.cfg` sets included.
    pub system_properties: BTreeMap<String, String>,
    /// What an operator should read, each a line of its own, in the order it was found.
    pub warnings: Vec<String>,
}

impl Config {
    /// What runs when nothing is said: 127.0.0.1:2181, data below `./zkd-data`.
    pub fn embedded_default() -> Config {
        let mut config = Config::of_data_dir("./zkd-data");
        config.clients.port = Some(2181);
        config.clients.address = Some("127.0.0.1".to_owned());
        config
    }

    /// Java's defaults around a data directory that tests never open.
    pub fn for_tests() -> Config {
        let mut config = Config::of_data_dir("/nonexistent/zkd-tests");
        config.clients.port = Some(0);
        config.clients.address = Some("127.0.0.1".to_owned());
        config
    }

    /// Reads a `zoo.cfg`.
    pub fn parse(sources: &Sources) -> Result<Config, ConfigError> {
        read::config(sources)
    }

    /// `PORT DATADIR [tickTime] [maxCnxns]`; what is wrong with them otherwise.
    pub fn of_arguments(words: &[String]) -> Result<Config, String> {
        read::arguments(words)
    }

    /// The same configuration with system properties that no file can override.
    pub fn with_properties(self, properties: &SystemProperties) -> Result<Config, ConfigError> {
        read::without_file(self, properties)
    }

    /// The file that a `zoo.cfg` names for its members, which `parse` wants to see too.
    pub fn dynamic_config_file(text: &[u8]) -> Option<String> {
        said(text, "dynamicConfigFile")
    }

    /// The file that says which member a server is, which `parse` wants to see too.
    pub fn my_id_file(text: &[u8]) -> Option<String> {
        said(text, "dataDir").map(|data_dir| member::my_id_path(&data_dir))
    }

    fn of_data_dir(data_dir: &str) -> Config {
        let tick_time_ms = settings::DEFAULT_TICK_TIME_MS;
        Config {
            tick_time_ms,
            min_session_timeout_ms: tick_time_ms * 2,
            max_session_timeout_ms: tick_time_ms * 20,
            clients: Clients::default(),
            storage: Storage::of_data_dir(data_dir),
            tree: Tree::default(),
            limits: Limits::default(),
            auth: Auth::default(),
            admin: Admin::default(),
            ensemble: Ensemble::default(),
            tls: Tls::default(),
            system_properties: BTreeMap::new(),
            warnings: Vec::new(),
        }
    }
}

/// What a `zoo.cfg` says of one key; the last of several counts.
fn said(text: &[u8], key: &str) -> Option<String> {
    let entries = properties::parse(text).ok()?;
    let named = entries.into_iter().rev().find(|e| e.key.trim() == key)?;
    Some(named.value.trim().to_owned())
}

/// Why a configuration was not taken, and where it says so.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigError {
    pub file: String,
    /// Line of the file, 1 for the first; none where the fault lies in no single line.
    pub line: Option<usize>,
    pub key: Option<String>,
    pub reason: String,
    /// Java's exit status: 2 for arguments and configuration, 3 for the data directory.
    pub exit_status: i32,
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Error processing {}", self.file)?;
        if let Some(line) = self.line {
            write!(f, ", line {line}")?;
        }
        if let Some(key) = &self.key {
            write!(f, ", {key}")?;
        }
        write!(f, ": {}", self.reason)
    }
}

impl std::error::Error for ConfigError {}

#[cfg(test)]
mod tests;

#[cfg(test)]
mod ensemble_tests;

#[cfg(test)]
mod member_tests;

#[cfg(test)]
mod names_tests;

#[cfg(test)]
mod tls_tests;
