//! The command line: what was asked for, decided without doing it.

use std::io;

use getopts::{Matches, Options};
use zkd::base::ANNOUNCED_VERSION;
use zkd::config::{Config, ConfigError, FileText, MemberSources, Sources, SystemProperties, Tls};
use zkd::members;

use crate::start::login;

/// Java's status for arguments and configuration.
const INVALID_INVOCATION: u8 = 2;
const USAGE: &str =
    "Usage: zkd [-Dkey=value ...] [configfile | port datadir [ticktime] [maxcnxns]]";

/// What to do.
#[derive(Debug, PartialEq)]
pub enum Command {
    Run(Box<Config>),
    /// Print it and end well.
    Say(String),
    /// Print it as an error and end with this status.
    Refuse {
        text: String,
        status: u8,
    },
}

/// The outside as values: variables and files.
pub struct Outside<'a> {
    pub variable: &'a dyn Fn(&str) -> Option<String>,
    pub file: &'a dyn Fn(&str) -> io::Result<Vec<u8>>,
    /// A file's path from the root on.
    pub whole_path: &'a dyn Fn(&str) -> String,
    /// Whether the TLS stores of a configuration can be taken.
    pub stores: &'a dyn Fn(&Tls) -> Result<(), String>,
}

pub fn command(arguments: &[String], outside: &Outside) -> Command {
    let options = options();
    let matches = match options.parse(arguments) {
        Ok(matches) => matches,
        Err(error) => return invalid_arguments(&error.to_string()),
    };
    if matches.opt_present("help") {
        return Command::Say(help(&options));
    }
    if matches.opt_present("version") {
        return Command::Say(format!("zkd {}\n", ANNOUNCED_VERSION));
    }
    let properties = properties(&matches, outside);
    if let Some(file) = matches.opt_str("check") {
        if !matches.free.is_empty() {
            return invalid_arguments("--check takes one file and nothing else");
        }
        return match read(&file, &properties, outside) {
            Ok(config) => check(&file, config, outside),
            Err(error) => invalid_config(&error),
        };
    }
    let config = match matches.free.as_slice() {
        [] => Config::embedded_default().with_properties(&properties),
        [file] => read(file, &properties, outside),
        words => match Config::of_arguments(words) {
            Ok(config) => config.with_properties(&properties),
            Err(reason) => return invalid_arguments(&reason),
        },
    };
    match config {
        Ok(config) => Command::Run(Box::new(config)),
        Err(error) => invalid_config(&error),
    }
}

/// What a configuration means, the files that it names taken into account.
fn check(file: &str, mut config: Config, outside: &Outside) -> Command {
    let login = login::read(&config, outside.file, outside.variable);
    match login.and_then(|login| (outside.stores)(&config.tls).map(|()| login)) {
        Ok(login) => {
            config.warnings.extend(login.warnings);
            Command::Say(config.listing())
        }
        Err(reason) => invalid_config(&ConfigError {
            file: file.to_owned(),
            line: None,
            key: None,
            reason,
            exit_status: i32::from(INVALID_INVOCATION),
        }),
    }
}

fn options() -> Options {
    let mut options = Options::new();
    options.optmulti("D", "", "set a system property; zoo.cfg is stronger", "key=value");
    options.optopt("", "check", "print what a zoo.cfg means, and every warning", "FILE");
    options.optflag("h", "help", "print this");
    options.optflag("V", "version", "print the version that clients are told");
    options
}

fn help(options: &Options) -> String {
    let brief = format!(
        "{USAGE}\n\nWithout arguments: a standalone server on 127.0.0.1:2181, data in ./zkd-data."
    );
    options.usage(&brief)
}

fn properties(matches: &Matches, outside: &Outside) -> SystemProperties {
    let variable = |name: &str| (outside.variable)(name).unwrap_or_default();
    let arguments = matches.opt_strs("D");
    SystemProperties::from_layers(&arguments, &variable("SERVER_JVMFLAGS"), &variable("JVMFLAGS"))
}

fn read(
    file: &str,
    properties: &SystemProperties,
    outside: &Outside,
) -> Result<Config, ConfigError> {
    let text = (outside.file)(file).map_err(|error| ConfigError {
        file: file.to_owned(),
        line: None,
        key: None,
        reason: error.to_string(),
        exit_status: i32::from(INVALID_INVOCATION),
    })?;
    // A dynamic file that cannot be read is refused by the configuration, which knows its key.
    let path = Config::dynamic_config_file(&text);
    let dynamic = path.and_then(|path| (outside.file)(&path).ok().map(|text| (path, text)));
    let dynamic = dynamic.as_ref().map(|(path, text)| (path.as_str(), text.as_slice()));
    let my_id = Config::my_id_file(&text).map_or(Ok(None), |path| optional(&path, outside));
    let next = optional(&members::next_file_name(file), outside);
    let member = MemberSources {
        static_path: &(outside.whole_path)(file),
        my_id: file_text(&my_id),
        next: file_text(&next),
    };
    Config::parse(&Sources { file, text: &text, dynamic, properties, member })
}

/// A file that need not be there. What is no file is none, as in Java.
fn optional(path: &str, outside: &Outside) -> Result<Option<Vec<u8>>, String> {
    use io::ErrorKind::{IsADirectory, NotADirectory, NotFound};
    match (outside.file)(path) {
        Ok(text) => Ok(Some(text)),
        Err(error) if matches!(error.kind(), NotFound | IsADirectory | NotADirectory) => Ok(None),
        Err(error) => Err(error.to_string()),
    }
}

fn file_text(read: &Result<Option<Vec<u8>>, String>) -> FileText<'_> {
    match read {
        Ok(Some(text)) => FileText::Read(text),
        Ok(None) => FileText::Missing,
        Err(reason) => FileText::Failed(reason),
    }
}

fn invalid_arguments(reason: &str) -> Command {
    let text = format!("{reason}\nInvalid arguments, exiting abnormally\n{USAGE}\n");
    Command::Refuse { text, status: INVALID_INVOCATION }
}

fn invalid_config(error: &ConfigError) -> Command {
    let text = format!("{error}\nInvalid config, exiting abnormally\n");
    let status = u8::try_from(error.exit_status).unwrap_or(INVALID_INVOCATION);
    Command::Refuse { text, status }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(line: &str) -> Command {
        let arguments: Vec<String> = line.split_whitespace().map(str::to_owned).collect();
        let variable = |name: &str| match name {
            "SERVER_JVMFLAGS" => Some("-Xmx1g -Dzookeeper.snapCount=9".to_owned()),
            _ => None,
        };
        let file = |name: &str| match name {
            "zoo.cfg" => Ok(b"dataDir=/d\nclientPort=1\n".to_vec()),
            "dynamic.cfg" => Ok(b"dataDir=/d\ndynamicConfigFile=two\n".to_vec()),
            "two" => Ok(b"server.1=a:1:2\nserver.2=b:1:2\n".to_vec()),
            "member.cfg" => Ok(b"dataDir=/m\ninitLimit=2\nsyncLimit=2\ndynamicConfigFile=two\n\
                reconfigEnabled=true\n"
                .to_vec()),
            "/m/myid" => Ok(b"2\n".to_vec()),
            "member.cfg.dynamic.next" => Ok(b"server.2=b:1:2\nserver.3=c:1:2\nversion=5".to_vec()),
            "lone.cfg" => Ok(b"dataDir=/l\n".to_vec()),
            "/l/myid" => Err(io::Error::from(io::ErrorKind::PermissionDenied)),
            "bad.cfg" => Ok(b"dataDir=/d\ntickTime=x\n".to_vec()),
            "tls.cfg" => Ok(b"dataDir=/d\nsecureClientPort=1\nssl.clientAuth=none\n\
                ssl.keyStore.location=/k.pem\n"
                .to_vec()),
            _ => Err(io::Error::from(io::ErrorKind::NotFound)),
        };
        let stores = |tls: &Tls| match &tls.key_store.location {
            Some(path) => Err(format!("{path} cannot be read")),
            None => Ok(()),
        };
        let whole_path = |name: &str| format!("/etc/zkd/{name}");
        let (variable, file, whole_path) = (&variable, &file, &whole_path);
        command(&arguments, &Outside { variable, file, whole_path, stores: &stores })
    }

    fn config(line: &str) -> Config {
        match asked(line) {
            Command::Run(config) => *config,
            other => panic!("{line}: {other:?}"),
        }
    }

    #[test]
    fn no_argument_runs_the_embedded_default() {
        let config = config("");
        assert_eq!(config.clients.port, Some(2181));
        assert_eq!(config.clients.address.as_deref(), Some("127.0.0.1"));
        assert_eq!(config.storage.data_dir, "./zkd-data");
        assert_eq!(config.storage.snap_count, 9);
        assert_eq!(config.warnings.len(), 1, "the flag of a Java machine");
    }

    #[test]
    fn a_file_or_port_and_directory_run_with_properties() {
        assert_eq!(config("zoo.cfg -Dzookeeper.snapCount=5").storage.snap_count, 5);
        assert_eq!(config("-D zookeeper.snapCount=5 2181 /d 500").tick_time_ms, 500);
    }

    #[test]
    fn what_is_wrong_ends_with_java_s_words_and_status() {
        let cases = [
            ("bad.cfg", "Invalid config, exiting abnormally", "line 2, tickTime"),
            ("--check bad.cfg", "Invalid config, exiting abnormally", "line 2, tickTime"),
            ("--check tls.cfg", "Invalid config, exiting abnormally", "/k.pem cannot be read"),
            ("missing.cfg", "Invalid config, exiting abnormally", "missing.cfg"),
            ("dynamic.cfg", "Invalid config, exiting abnormally", "initLimit is not set"),
            ("2181 /d x", "Usage: ", "Invalid arguments"),
            ("1 2 3 4 5", "Usage: ", "Invalid number of arguments"),
            ("--nonsense", "Usage: ", "nonsense"),
        ];
        for (line, java, ours) in cases {
            let Command::Refuse { text, status } = asked(line) else { panic!("{line}") };
            assert_eq!(status, 2, "{line}");
            assert!(text.contains(java) && text.contains(ours), "{line}: {text}");
        }
    }

    #[test]
    fn a_member_is_read_from_its_files() {
        let config = config("member.cfg");
        let member = config.ensemble.member.as_ref().expect("a member");
        assert_eq!(member.me.0, 2);
        assert_eq!(member.static_file, "/etc/zkd/member.cfg");
        assert_eq!(member.dynamic_file.as_deref(), Some("two"));
        assert_eq!(member.last_seen.as_ref().map(|seen| seen.version), Some(5));
        let Command::Say(text) = asked("--check member.cfg") else { panic!() };
        for line in ["\"server.1=a:1:2:participant\"", "\"version=5\"", "role: Participant"] {
            assert!(text.contains(line), "{line}: {text}");
        }
    }

    #[test]
    fn an_id_that_cannot_be_read_stops_even_a_server_that_is_alone() {
        let Command::Refuse { text, status } = asked("lone.cfg") else { panic!() };
        assert!(text.contains("/l/myid: permission denied"), "{text}");
        assert_eq!(status, 2);
    }

    #[test]
    fn help_version_and_check_only_say() {
        for (line, word) in
            [("--help", "--check FILE"), ("--version", "3.9.5-zkd"), ("--check zoo.cfg", "/d")]
        {
            let Command::Say(text) = asked(line) else { panic!("{line}") };
            assert!(text.contains(word), "{text}");
        }
    }
}
