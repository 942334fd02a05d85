//! Text to values, as strictly or as leniently as Java reads each kind.

use std::collections::BTreeMap;

/// The system properties, read by the rules of `Integer.getInteger` and its kin: what cannot be
/// read is the default, with a line about it.
pub struct Properties<'a> {
    pub pairs: &'a BTreeMap<String, String>,
    pub warnings: &'a mut Vec<String>,
}

impl Properties<'_> {
    /// The value of `zookeeper.` + name, or of the bare name where only that is given.
    pub fn text(&self, name: &str) -> Option<&str> {
        let full = self.pairs.get(&format!("zookeeper.{name}"));
        full.or_else(|| self.pairs.get(name)).map(String::as_str)
    }

    pub fn long(&mut self, name: &str, default: i64) -> i64 {
        let Some(text) = self.text(name) else { return default };
        if text.is_empty() {
            return default;
        }
        if let Some(value) = decode(text) {
            return value;
        }
        self.warnings.push(format!("{name}: '{text}' is no number; {default} is used"));
        default
    }

    pub fn int(&mut self, name: &str, default: i32) -> i32 {
        let value = self.long(name, i64::from(default));
        i32::try_from(value).unwrap_or_else(|_| {
            self.warnings.push(format!("{name}: {value} is out of range; {default} is used"));
            default
        })
    }

    /// A number of at least `least`; less becomes `least`, with a line.
    pub fn at_least(&mut self, name: &str, default: i32, least: i32) -> i32 {
        let value = self.int(name, default);
        if value < least {
            self.warnings.push(format!("{name}: {value} is too small; {least} is used"));
        }
        value.max(least)
    }

    /// A number above 0; any other is the default, with a line.
    pub fn positive(&mut self, name: &str, default: i32) -> i32 {
        let value = self.int(name, default);
        if value > 0 {
            return value;
        }
        self.warnings.push(format!("{name}: {value} is too small; {default} is used"));
        default
    }

    pub fn float(&mut self, name: &str, default: f64) -> f64 {
        let Some(text) = self.text(name) else { return default };
        match text.trim().parse::<f64>() {
            Ok(value) if value.is_finite() => value,
            _ => {
                self.warnings.push(format!("{name}: '{text}' is no number; {default} is used"));
                default
            }
        }
    }

    /// `true` in any case is true; everything else is false, with a line where it is not `false`.
    pub fn flag(&mut self, name: &str, default: bool) -> bool {
        let Some(text) = self.text(name) else { return default };
        let value = text.eq_ignore_ascii_case("true");
        if !value && !text.eq_ignore_ascii_case("false") {
            self.warnings
                .push(format!("{name}: '{text}' is neither true nor false; false is used"));
        }
        value
    }

    /// Whether it is exactly `word`; a line where it is neither that nor `other`.
    pub fn is_word(&mut self, name: &str, word: &str, other: &str) -> bool {
        let Some(text) = self.text(name) else { return false };
        let is_word = text == word;
        if !is_word && text != other {
            let line = format!("{name}: '{text}' is neither {word} nor {other}; {other} is used");
            self.warnings.push(line);
        }
        is_word
    }
}

/// A number as `Long.decode` reads it: decimal, `0x`, `#` and octal with a leading zero.
pub fn decode(text: &str) -> Option<i64> {
    let (negative, digits) = match text.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, text.strip_prefix('+').unwrap_or(text)),
    };
    let hex = ["0x", "0X", "#"].iter().find_map(|p| digits.strip_prefix(p));
    let (digits, radix) = match hex {
        Some(digits) => (digits, 16),
        None if digits.len() > 1 && digits.starts_with('0') => (&digits[1..], 8),
        None => (digits, 10),
    };
    if !digits.starts_with(|c: char| c.is_digit(radix)) {
        return None;
    }
    let value = i128::from_str_radix(digits, radix).ok()?;
    i64::try_from(if negative { -value } else { value }).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_decoded_as_java_does() {
        let cases = [
            ("0", Some(0)),
            ("-17", Some(-17)),
            ("+17", Some(17)),
            ("0x10", Some(16)),
            ("-#ff", Some(-255)),
            ("010", Some(8)),
            ("08", None),
            ("1k", None),
            ("--1", None),
            ("0x-1", None),
            ("", None),
            ("9223372036854775807", Some(i64::MAX)),
            ("-9223372036854775808", Some(i64::MIN)),
            ("9223372036854775808", None),
        ];
        for (text, expected) in cases {
            assert_eq!(decode(text), expected, "{text}");
        }
    }

    #[test]
    fn what_cannot_be_read_is_the_default_with_a_line() {
        let pair = |k: &str, v: &str| (k.to_owned(), v.to_owned());
        let pairs = BTreeMap::from([
            pair("zookeeper.snapCount", "many"),
            pair("jute.maxbuffer", "0x200000"),
            pair("zookeeper.skip", "YES"),
            pair("zookeeper.big", "4294967296"),
            pair("zookeeper.on", "TRUE"),
        ]);
        let mut warnings = Vec::new();
        let mut p = Properties { pairs: &pairs, warnings: &mut warnings };
        assert_eq!(p.int("snapCount", 7), 7);
        assert_eq!(p.int("jute.maxbuffer", 1), 0x20_0000);
        assert_eq!(p.int("big", 3), 3);
        assert!(!p.is_word("skip", "yes", "no"));
        assert!(p.flag("on", false));
        assert!(p.flag("absent", true));
        assert_eq!(warnings.len(), 3);
    }
}
