//! Which ensemble a file makes this server a member of, and which files that is kept in.

use std::fmt;

use crate::base::ServerId;
use crate::members::{self, HostPort, MembersError, Membership, Role, Rules};

use super::read::File;
use super::values;
use super::{Config, ConfigError, Sources};

/// What a member's configuration is read from beside `zoo.cfg`. The caller has read the files.
#[derive(Clone, Copy, Debug, Default)]
pub struct MemberSources<'a> {
    /// `zoo.cfg` by its path from the root on.
    pub static_path: &'a str,
    /// `myid` in the data directory.
    pub my_id: FileText<'a>,
    /// The file that `members::next_file_name` names.
    pub next: FileText<'a>,
}

/// The text of a file that need not be there.
#[derive(Clone, Copy, Debug, Default)]
pub enum FileText<'a> {
    #[default]
    Missing,
    Read(&'a [u8]),
    /// It is there, and why it could not be read.
    Failed(&'a str),
}

/// A file by its path, and what it is replaced with; none: it is removed.
pub type Replacement = (String, Option<Vec<u8>>);

/// One server of an ensemble: who it is, whom it knows, and where that is kept.
#[derive(Clone, PartialEq, Eq)]
pub struct MemberConfig {
    pub me: ServerId,
    /// The members as this server knows them to be agreed.
    pub active: Membership,
    /// A later configuration that was proposed and is not known to be committed.
    pub last_seen: Option<Membership>,
    /// How texts of members are read here.
    pub rules: Rules,
    /// `zoo.cfg` by its path from the root on; its dynamic files stand beside it.
    pub static_file: String,
    /// As `dynamicConfigFile` names it; none: `zoo.cfg` has the members' lines itself.
    pub dynamic_file: Option<String>,
    /// What `zoo.cfg` says, in its order. There may be passwords in it.
    static_pairs: Vec<(String, String)>,
    files_at_start: Vec<Replacement>,
}

impl MemberConfig {
    /// A member without files of its own.
    pub fn for_tests(me: ServerId, active: Membership) -> MemberConfig {
        MemberConfig {
            me,
            active,
            last_seen: None,
            rules: Rules { standalone_enabled: false, multi_address: true },
            static_file: "/nonexistent/zoo.cfg".to_owned(),
            dynamic_file: None,
            static_pairs: Vec::new(),
            files_at_start: Vec::new(),
        }
    }

    /// What this server is by the list.
    pub fn role(&self) -> Role {
        self.active.role(self.me)
    }

    /// A configuration's text as servers send it and `/zookeeper/config` holds it.
    pub fn read_text(&self, text: &str) -> Result<Membership, MembersError> {
        Membership::of_text(text, self.rules)
    }

    /// What becomes of the files, in this order, before anything is served: a static file that a
    /// reconfiguration would rewrite is kept as `.bak`, and what was proposed goes once it is
    /// agreed or overtaken. Unlike Java this server keeps the proposed one until then.
    pub fn files_at_start(&self) -> &[Replacement] {
        &self.files_at_start
    }

    /// What becomes of the files when a configuration is proposed.
    pub fn files_of_last_seen(&self, last_seen: &Membership) -> Vec<Replacement> {
        let text = last_seen.next_file_text();
        vec![(members::next_file_name(&self.static_file), Some(text.into_bytes()))]
    }

    /// What becomes of them when what was proposed is agreed, overtaken or nobody's.
    pub fn files_without_last_seen(&self) -> Vec<Replacement> {
        vec![(members::next_file_name(&self.static_file), None)]
    }

    /// What becomes of the files, in this order, when a configuration is activated: the members
    /// get a file of their own, which then the static file names instead of them. What has left
    /// the static file does not come back to it with the next one.
    pub fn files_of_active(&mut self, active: &Membership) -> Vec<Replacement> {
        let dynamic_file = members::dynamic_file_name(&self.static_file, active.version);
        let erases = active.erases_client_port(self.me);
        self.static_pairs.retain(|(key, _)| !members::leaves_static_file(key, erases));
        let pairs = self.static_pairs.iter().map(|(key, value)| (key.as_str(), value.as_str()));
        let static_text = members::static_file_text(pairs, &dynamic_file, erases);
        vec![
            (dynamic_file, Some(active.dynamic_file_text().into_bytes())),
            (self.static_file.clone(), Some(static_text)),
        ]
    }
}

/// Without what the static file says, which may be secret.
impl fmt::Debug for MemberConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let lines = |of: &Membership| of.text().lines().map(str::to_owned).collect::<Vec<_>>();
        let paths: Vec<&str> = self.files_at_start.iter().map(|(path, _)| path.as_str()).collect();
        f.debug_struct("MemberConfig")
            .field("me", &self.me)
            .field("role", &self.role())
            .field("active", &lines(&self.active))
            .field("last_seen", &self.last_seen.as_ref().map(lines))
            .field("static_file", &self.static_file)
            .field("dynamic_file", &self.dynamic_file)
            .field("files_at_start", &paths)
            .finish_non_exhaustive()
    }
}

/// Reads who is in the ensemble, with Apache's checks in Apache's order. One server alone stays
/// standalone, as there.
pub fn read(config: &mut Config, file: &File, sources: &Sources) -> Result<(), ConfigError> {
    let stated = peer_type(file)?;
    let dynamic = dynamic_file(config, file, sources)?;
    let of = dynamic.as_ref().unwrap_or(file);
    let ensemble = &config.ensemble;
    let rules = Rules {
        standalone_enabled: ensemble.standalone_enabled,
        multi_address: ensemble.multi_address.enabled,
    };
    let read = match &dynamic {
        Some(dynamic) => Membership::of_dynamic_file(dynamic.name, dynamic.in_order(), rules),
        None => Membership::of_static_file(file.in_order(), rules),
    };
    let mut active = read.map_err(|error| fault(of, error))?;
    let is_distributed = active.is_distributed(rules.standalone_enabled);
    let me = my_id(config, &sources.member)?;
    client_address(config, of, &mut active, me)?;
    let warning = active.warning(rules.standalone_enabled);
    if !is_distributed {
        let alone = |words| format!("{}: {words}; it is started standalone", of.name);
        config.warnings.extend(warning.map(alone));
        return Ok(());
    }
    config.warnings.extend(warning.map(str::to_owned));
    // Java looks at the list even before it has found out that it has no id.
    config.warnings.extend(active.peer_type_warning(me.unwrap_or(NOBODY), stated));
    limits(config, file)?;
    let me = required_id(config, of, &active, me)?;
    strict_properties(config, file)?;
    let last_seen = last_seen(config, sources, dynamic.is_some(), &active, rules)?;
    let files_at_start = files_at_start(config, sources, dynamic.is_some(), last_seen.is_some());
    let static_pairs = file.in_order().map(|(k, v)| (k.to_owned(), v.to_owned())).collect();
    config.ensemble.member = Some(MemberConfig {
        me,
        active,
        last_seen,
        rules,
        static_file: sources.member.static_path.to_owned(),
        dynamic_file: dynamic.map(|dynamic| dynamic.name.to_owned()),
        static_pairs,
        files_at_start,
    });
    Ok(())
}

/// Nobody's id, which stands for "none" in Java.
const NOBODY: ServerId = ServerId(-1);

/// Where a member's id stands.
pub fn my_id_path(data_dir: &str) -> String {
    format!("{}/myid", data_dir.trim_end_matches('/'))
}

fn fault(file: &File, error: MembersError) -> ConfigError {
    file.fault(error.key.as_deref().unwrap_or(""), error.reason)
}

fn dynamic_file<'a>(
    config: &mut Config,
    file: &File,
    sources: &Sources<'a>,
) -> Result<Option<File<'a>>, ConfigError> {
    let Some(path) = file.text("dynamicConfigFile") else { return Ok(None) };
    let mut keys = file.in_order().map(|(key, _)| key);
    if let Some(key) = keys.find(|key| members::belongs_to_dynamic_file(key)) {
        let reason = format!("parameter: {key} must be in a separate dynamic config file");
        return Err(file.fault(key, reason));
    }
    let Some((name, text)) = sources.dynamic else {
        return Err(file.fault("dynamicConfigFile", format!("{path} cannot be read")));
    };
    File::read(name, text, &mut config.warnings).map(Some)
}

/// An id is looked for even where none is needed, and must be a number then.
fn my_id(config: &Config, sources: &MemberSources) -> Result<Option<ServerId>, ConfigError> {
    let refuse = |line, reason| ConfigError {
        file: my_id_path(&config.storage.data_dir),
        line,
        key: None,
        reason,
        exit_status: 2,
    };
    let text = match sources.my_id {
        FileText::Missing => None,
        FileText::Read(text) => Some(text),
        FileText::Failed(reason) => return Err(refuse(None, reason.to_owned())),
    };
    members::my_id(text).map_err(|error| refuse(Some(1), error.reason))
}

/// The host that stands for every address.
const ANY_HOST: &str = "0.0.0.0";

/// Where clients reach this server: its own line of the list may say so instead of `clientPort`.
fn client_address(
    config: &mut Config,
    of: &File,
    active: &mut Membership,
    me: Option<ServerId>,
) -> Result<(), ConfigError> {
    let Some(me) = me else { return Ok(()) };
    let clients = &mut config.clients;
    let host = clients.address.clone().unwrap_or_else(|| ANY_HOST.to_owned());
    let of_file = clients.port.map(|port| HostPort { host, port });
    let settled = active.settle_client_address(me, of_file.clone());
    let settled = settled.map_err(|error| of.fault(&format!("server.{}", me.0), error.reason))?;
    if let Some(HostPort { host, port }) = settled.filter(|at| Some(at) != of_file.as_ref()) {
        clients.port = Some(port);
        clients.address = (host != ANY_HOST).then_some(host);
    }
    Ok(())
}

/// What `peerType` says, which the list may know better.
fn peer_type(file: &File) -> Result<Role, ConfigError> {
    let text = file.text("peerType").unwrap_or("participant");
    match text.to_lowercase().as_str() {
        "participant" => Ok(Role::Participant),
        "observer" => Ok(Role::Observer),
        _ => Err(file.fault("peerType", format!("Unrecognised peertype: {text}"))),
    }
}

/// How long things may take is counted in ticks, and a member has to say how many.
fn limits(config: &Config, file: &File) -> Result<(), ConfigError> {
    let ensemble = &config.ensemble;
    for (key, ticks) in
        [("initLimit", ensemble.init_limit_ticks), ("syncLimit", ensemble.sync_limit_ticks)]
    {
        if ticks == 0 {
            return Err(file.fault(key, format!("{key} is not set")));
        }
        in_range(config, file, key, ticks)?;
    }
    in_range(config, file, "connectToLearnerMasterLimit", ensemble.connect_limit_ticks)
}

/// Java multiplies without a look at the sign or the end of its numbers, and then waits for less
/// than no time.
fn in_range(config: &Config, file: &File, key: &str, ticks: i32) -> Result<(), ConfigError> {
    let tick_ms = config.tick_time_ms;
    if ticks < 0 || ticks.checked_mul(tick_ms).is_none() {
        let reason = format!("{ticks} ticks of {tick_ms} ms are out of range");
        return Err(file.fault(key, reason));
    }
    Ok(())
}

/// A member has an id, and it is one of the list's.
fn required_id(
    config: &Config,
    of: &File,
    active: &Membership,
    me: Option<ServerId>,
) -> Result<ServerId, ConfigError> {
    let refuse = |error: MembersError, exit_status| ConfigError {
        file: my_id_path(&config.storage.data_dir),
        line: None,
        key: None,
        reason: error.reason,
        exit_status,
    };
    let me = members::require_my_id(me).map_err(|error| refuse(error, 2))?;
    // Java finds out late, by an exception that nobody expects.
    active.holds(me).map_err(|mut error| {
        error.reason.push_str(&format!(" of {}", of.name));
        refuse(error, 1)
    })?;
    Ok(me)
}

/// What a server that is alone only warns of, and what Java does not start a member with.
fn strict_properties(config: &Config, file: &File) -> Result<(), ConfigError> {
    let property = |name: &str| config.system_properties.get(&format!("zookeeper.{name}"));
    if let Some(text) = property("cnxTimeout").filter(|text| text.parse::<i32>().is_err()) {
        return Err(file.fault("cnxTimeout", format!("For input string: \"{text}\"")));
    }
    for key in ["leader.maxConcurrentSnapSyncs", "leader.maxConcurrentDiffSyncs"] {
        let number = property(key).and_then(|text| values::decode(text));
        if let Some(number) = number.filter(|number| *number <= 0) {
            let reason = format!("maxConcurrentSyncs must be positive, was {number}");
            return Err(file.fault(key, reason));
        }
    }
    Ok(())
}

/// What was proposed when this server last ran. Java looks for it only beside a dynamic file, and
/// forgets it where reconfigurations are off.
fn last_seen(
    config: &mut Config,
    sources: &Sources,
    is_dynamic: bool,
    active: &Membership,
    rules: Rules,
) -> Result<Option<Membership>, ConfigError> {
    let name = members::next_file_name(sources.file);
    let text = match sources.member.next {
        _ if !is_dynamic => return Ok(None),
        FileText::Missing => return Ok(None),
        FileText::Read(text) => text,
        FileText::Failed(reason) => {
            let line = format!("NextQuorumVerifier is initiated to null ({name}: {reason})");
            config.warnings.push(line);
            return Ok(None);
        }
    };
    let file = File::read(&name, text, &mut config.warnings)?;
    let next = Membership::of_next_file(file.in_order(), rules).map_err(|e| fault(&file, e))?;
    let counts = config.ensemble.reconfig_enabled && next.version > active.version;
    Ok(counts.then_some(next))
}

fn files_at_start(
    config: &Config,
    sources: &Sources,
    is_dynamic: bool,
    has_last_seen: bool,
) -> Vec<Replacement> {
    let path = sources.member.static_path;
    let mut files = Vec::new();
    if config.ensemble.reconfig_enabled && !is_dynamic {
        files.push((format!("{path}.bak"), Some(sources.text.to_vec())));
    }
    if matches!(sources.member.next, FileText::Read(_)) && !has_last_seen {
        files.push((members::next_file_name(path), None));
    }
    files
}
