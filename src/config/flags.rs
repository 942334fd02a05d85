//! System properties from a command line and from `SERVER_JVMFLAGS` and `JVMFLAGS`.

use std::collections::BTreeMap;

/// The system properties that were given outside `zoo.cfg`, the strongest word of each.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SystemProperties {
    pairs: BTreeMap<String, String>,
    /// Flags that only a Java machine knows.
    ignored: Vec<String>,
}

impl SystemProperties {
    /// `arguments` are the values of `-D` (`key=value`, strongest), then the two variables.
    pub fn from_layers(
        arguments: &[String],
        server_jvmflags: &str,
        jvmflags: &str,
    ) -> SystemProperties {
        let mut properties = SystemProperties::default();
        properties.add_flags(jvmflags);
        properties.add_flags(server_jvmflags);
        arguments.iter().for_each(|argument| properties.add(argument));
        properties
    }

    /// `key=value`; a key alone is present with an empty value, as in Java. Later words win.
    fn add(&mut self, pair: &str) {
        let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
        self.pairs.insert(key.to_owned(), value.to_owned());
    }

    fn add_flags(&mut self, flags: &str) {
        for word in flags.split_whitespace() {
            match word.strip_prefix("-D") {
                Some(pair) if !pair.is_empty() => self.add(pair),
                _ => self.ignored.push(word.to_owned()),
            }
        }
    }

    pub fn pairs(&self) -> &BTreeMap<String, String> {
        &self.pairs
    }

    /// One line for all of them, where there are any.
    pub(super) fn warning(&self) -> Option<String> {
        if self.ignored.is_empty() {
            return None;
        }
        // What stands behind `=`, or comes from a value with a blank in it, may be a password.
        let flags = self.ignored.iter().filter(|word| word.starts_with('-'));
        let names: Vec<&str> = flags.filter_map(|flag| flag.split('=').next()).collect();
        let others = self.ignored.len() - names.len();
        let mut line = format!("flags for a Java machine do nothing here: {}", names.join(" "));
        if others > 0 {
            line.push_str(&format!(" ({others} words that are no flags)"));
        }
        Some(line)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_stronger_than_either_variable() {
        let arguments = ["a=1".to_owned(), "b=1".to_owned(), "b=2".to_owned()];
        let properties = SystemProperties::from_layers(
            &arguments,
            "-Xmx1g -Da=5 -Dc=6 -Djute.maxbuffer",
            " -Dc=7\t-Dd=8=9 -XX:+UseG1GC -javaagent:/a.jar=hush -De=a hush",
        );
        let pairs: Vec<_> =
            properties.pairs().iter().map(|(k, v)| (k.as_str(), v.as_str())).collect();
        let expected =
            [("a", "1"), ("b", "2"), ("c", "6"), ("d", "8=9"), ("e", "a"), ("jute.maxbuffer", "")];
        assert_eq!(pairs, expected);
        let warning = properties.warning().expect("a line");
        assert!(warning.contains("-Xmx1g") && warning.contains("-XX:+UseG1GC"), "{warning}");
        assert!(warning.contains("-javaagent:/a.jar") && !warning.contains("hush"), "{warning}");
    }
}
