//! The effective configuration as text, without anything secret.

use std::fmt::Write;

use super::{Config, keys};

impl Config {
    /// One setting a line, then the system properties, then every warning.
    pub fn listing(&self) -> String {
        let mut text = String::new();
        // `Debug` of the groups names every field, and hides what is a `Secret`.
        let groups: [(&str, String); 8] = [
            ("clients", format!("{:#?}", self.clients)),
            ("storage", format!("{:#?}", self.storage)),
            ("tree", format!("{:#?}", self.tree)),
            ("limits", format!("{:#?}", self.limits)),
            ("auth", format!("{:#?}", self.auth)),
            ("tls", format!("{:#?}", self.tls)),
            ("admin", format!("{:#?}", self.admin)),
            ("ensemble", format!("{:#?}", self.ensemble)),
        ];
        let mut line = |words: std::fmt::Arguments| {
            text.write_fmt(words).expect("writing to a string");
            text.push('\n');
        };
        line(format_args!("tick_time_ms: {}", self.tick_time_ms));
        line(format_args!("min_session_timeout_ms: {}", self.min_session_timeout_ms));
        line(format_args!("max_session_timeout_ms: {}", self.max_session_timeout_ms));
        for (name, fields) in &groups {
            let fields = fields.split_once(' ').map_or(fields.as_str(), |(_, fields)| fields);
            line(format_args!("{name} {fields}"));
        }
        for (key, value) in &self.system_properties {
            let value = if is_shown(key) { value } else { "***" };
            line(format_args!("-D{key}={value}"));
        }
        for warning in &self.warnings {
            line(format_args!("warning: {warning}"));
        }
        text
    }
}

/// A name that nobody knows may be a password's, misspelt, or one that the login file expands.
fn is_shown(key: &str) -> bool {
    let name = key.strip_prefix("zookeeper.").unwrap_or(key);
    let is_known = keys::find(name).is_some() || keys::family(name).is_some();
    is_known && !is_secret(key)
}

/// Whether a property holds something that must not be shown.
pub fn is_secret(key: &str) -> bool {
    let key = key.to_ascii_lowercase();
    ["password", "passwd", "superdigest", "secret"].iter().any(|word| key.contains(word))
}
