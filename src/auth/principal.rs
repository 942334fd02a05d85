//! From a Kerberos principal to the name that ACLs know, by Java's rules.

use regex_lite::Regex;

use super::sasl::is_principal;

/// `security.auth_to_local` and what goes with it.
#[derive(Debug)]
pub struct PrincipalRules {
    rules: Vec<Rule>,
    default_realm: String,
    removes_host: bool,
    removes_realm: bool,
}

/// What an operator chose.
#[derive(Clone, Copy, Debug, Default)]
pub struct PrincipalSettings<'a> {
    /// None: those of the default realm are known by their first part.
    pub rules: Option<&'a str>,
    /// Empty where there is none.
    pub default_realm: &'a str,
    pub removes_host: bool,
    pub removes_realm: bool,
}

#[derive(Debug)]
enum Rule {
    Default,
    Mapping {
        /// Of names with so many parts, the realm not counted.
        parts: usize,
        format: Vec<Piece>,
        /// Has to fit the whole of what `format` gives.
        fits: Option<Regex>,
        change: Option<Change>,
    },
}

#[derive(Debug)]
struct Change {
    from: Regex,
    to: Vec<Piece>,
    is_repeated: bool,
}

#[derive(Debug)]
enum Piece {
    Text(String),
    /// A part of the name (the realm is the first) or a group of the expression.
    Number(usize),
}

impl PrincipalRules {
    /// Java finds most faults of rules when somebody comes; here they stop the start.
    pub fn new(settings: PrincipalSettings<'_>) -> Result<PrincipalRules, String> {
        let text = settings.rules.unwrap_or("DEFAULT");
        Ok(PrincipalRules {
            rules: parse(text).map_err(|reason| format!("security.auth_to_local: {reason}"))?,
            default_realm: settings.default_realm.to_owned(),
            removes_host: settings.removes_host,
            removes_realm: settings.removes_realm,
        })
    }

    /// The name of a client; none where Java's server stumbles over its principal.
    ///
    /// Where no rule fits, the whole principal is the name. Java takes instead whom the client
    /// claims to be, if it claims anything.
    pub fn user(&self, principal: &str) -> Option<String> {
        // What is escaped there would be a sign of its own in an ACL.
        if !is_principal(principal) || principal.contains('\\') {
            return None;
        }
        let (name, realm) = principal.split_once('@')?;
        let (service, host) = match name.split_once('/') {
            Some((service, host)) => (service, Some(host)),
            None => (name, None),
        };
        let parts: Vec<&str> = [Some(realm), Some(service), host].into_iter().flatten().collect();
        let Some(mut user) = self.short_name(&parts) else { return Some(principal.to_owned()) };
        if let Some(host) = host.filter(|_| !self.removes_host) {
            user.push('/');
            user.push_str(host);
        }
        if !self.removes_realm {
            user.push('@');
            user.push_str(realm);
        }
        Some(user)
    }

    fn short_name(&self, parts: &[&str]) -> Option<String> {
        let mut names = self.rules.iter().filter_map(|rule| self.apply(rule, parts));
        names.next().filter(|name| !name.contains(['/', '@']))
    }

    fn apply(&self, rule: &Rule, parts: &[&str]) -> Option<String> {
        let Rule::Mapping { parts: count, format, fits, change } = rule else {
            let is_ours = parts.first() == Some(&self.default_realm.as_str());
            return parts.get(1).filter(|_| is_ours).map(|name| (*name).to_owned());
        };
        if parts.len() != count + 1 {
            return None;
        }
        let base = fill(format, |n| parts.get(n).copied());
        if fits.as_ref().is_some_and(|fits| !fits.is_match(&base)) {
            return None;
        }
        Some(match change {
            None => base,
            Some(change) => change.apply(&base),
        })
    }
}

impl Change {
    fn apply(&self, base: &str) -> String {
        let mut out = String::new();
        let mut end = 0;
        let most = if self.is_repeated { usize::MAX } else { 1 };
        for found in self.from.captures_iter(base).take(most) {
            let Some(whole) = found.get(0) else { continue };
            out.push_str(&base[end..whole.start()]);
            out.push_str(&fill(&self.to, |n| found.get(n).map(|group| group.as_str())));
            end = whole.end();
        }
        out.push_str(&base[end..]);
        out
    }
}

fn fill<'a>(pieces: &[Piece], number: impl Fn(usize) -> Option<&'a str>) -> String {
    let text = |piece: &Piece| match piece {
        Piece::Text(text) => text.clone(),
        Piece::Number(n) => number(*n).unwrap_or_default().to_owned(),
    };
    pieces.iter().map(text).collect()
}

fn parse(text: &str) -> Result<Vec<Rule>, String> {
    let mut rules = Vec::new();
    let mut rest = text.trim_matches(|c: char| c <= ' ');
    while !rest.is_empty() {
        rest = rest.trim_start();
        let invalid = || format!("this is no rule: {rest}");
        if let Some(after) = rest.strip_prefix("DEFAULT") {
            rules.push(Rule::Default);
            rest = after;
            continue;
        }
        let after = rest.strip_prefix("RULE:[").ok_or_else(invalid)?;
        let (count, after) = after.split_once(':').ok_or_else(invalid)?;
        let parts: usize = count.parse().map_err(|_| invalid())?;
        let (format, mut after) = after.split_once(']').ok_or_else(invalid)?;
        let mut fits = None;
        if let Some(inner) = after.strip_prefix('(') {
            let (pattern, behind) = inner.split_once(')').ok_or_else(invalid)?;
            fits = Some(regex(&format!(r"\A(?:{pattern})\z"), pattern)?);
            after = behind;
        }
        let mut change = None;
        if let Some(inner) = after.strip_prefix("s/") {
            let (from, inner) = inner.split_once('/').ok_or_else(invalid)?;
            let (to, behind) = inner.split_once('/').ok_or_else(invalid)?;
            let is_repeated = behind.starts_with('g');
            let from = regex(from, from)?;
            let to = replacement(to, from.captures_len())?;
            change = Some(Change { from, to, is_repeated });
            after = if is_repeated { &behind[1..] } else { behind };
        }
        rules.push(Rule::Mapping { parts, format: format_of(format, parts)?, fits, change });
        rest = after;
    }
    Ok(rules)
}

fn regex(pattern: &str, written: &str) -> Result<Regex, String> {
    Regex::new(pattern).map_err(|error| format!("the expression {written}: {error}"))
}

/// `$N` stands for a part of the name, `$0` for the realm.
fn format_of(format: &str, parts: usize) -> Result<Vec<Piece>, String> {
    let mut pieces = Vec::new();
    for (n, text) in format.split('$').enumerate() {
        let digits = text.len() - text.trim_start_matches(|c: char| c.is_ascii_digit()).len();
        let (number, text) = if n == 0 { ("0", text) } else { text.split_at(digits) };
        if n > 0 {
            let number: Option<usize> = number.parse().ok().filter(|number| *number <= parts);
            let number =
                number.ok_or_else(|| format!("{format}: ${parts} is the last of {parts} parts"))?;
            pieces.push(Piece::Number(number));
        }
        pieces.push(Piece::Text(text.to_owned()));
    }
    Ok(pieces)
}

/// As Java's: `$N` is a group (as many digits as there are groups for), `\` takes the next sign as
/// it is.
fn replacement(text: &str, groups: usize) -> Result<Vec<Piece>, String> {
    let mut pieces = Vec::new();
    let mut chars = text.chars().peekable();
    while let Some(c) = chars.next() {
        let fault = || format!("{text}: $ and \\ need a group's number and a sign behind them");
        match c {
            '\\' => pieces.push(Piece::Text(chars.next().ok_or_else(fault)?.to_string())),
            '$' => {
                let digit = |c: &char| c.to_digit(10).map(|digit| digit as usize);
                let mut number = chars.next().as_ref().and_then(digit).ok_or_else(fault)?;
                while let Some(next) = chars.peek().and_then(digit) {
                    if number * 10 + next >= groups {
                        break;
                    }
                    number = number * 10 + next;
                    chars.next();
                }
                if number >= groups {
                    return Err(fault());
                }
                pieces.push(Piece::Number(number));
            }
            c => pieces.push(Piece::Text(c.to_string())),
        }
    }
    Ok(pieces)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn rules(text: &str) -> PrincipalRules {
        let rules = Some(text).filter(|text| !text.is_empty());
        PrincipalRules::new(PrincipalSettings { rules, default_realm: "R", ..Default::default() })
            .expect(text)
    }

    #[test]
    fn names_are_those_that_apache_gave() {
        let cases = [
            ("", "bob@R", "bob@R"),
            ("", "bob/admin@R", "bob/admin@R"),
            ("", "bob@OTHER", "bob@OTHER"),
            ("DEFAULT", "bob/h@R", "bob/h@R"),
            ("RULE:[1:$1@$0](.*@R)s/@.*/X/ RULE:[2:$2] DEFAULT", "bob@R", "bobX@R"),
            ("RULE:[1:$1@$0](.*@R)s/@.*/X/ RULE:[2:$2] DEFAULT", "bob/h@R", "h/h@R"),
            ("RULE:[1:$1@$0](.*@NOWHERE)s/@.*//", "bob@R", "bob@R"),
            ("RULE:[1:$1@$0](.*@NOWHERE)s/@.*//DEFAULT", "bob@R", "bob@R"),
            ("RULE:[1:$1;$0]", "bob@R", "bob;R@R"),
            ("RULE:[1:$1@$0] RULE:[1:x]", "bob@R", "bob@R"),
            ("RULE:[1:$1](b.)", "bob@R", "bob@R"),
            ("RULE:[1:$1]s/b/p/", "bob@R", "pob@R"),
            ("RULE:[1:$1]s/b/p/g", "bob@R", "pop@R"),
            (r"RULE:[1:$1]s/(b)(o)/$2$1\$\\$12/", "bob@R", r"ob$\b2b@R"),
            ("RULE:[3:x] RULE:[0:y] RULE:[1:z]", "bob@R", "z@R"),
        ];
        for (text, principal, name) in cases {
            assert_eq!(rules(text).user(principal).as_deref(), Some(name), "{text} {principal}");
        }
    }

    #[test]
    fn host_and_realm_go_where_they_are_not_wanted_and_a_rule_fits() {
        let named = |removes_host, removes_realm, principal: &str| {
            let settings =
                PrincipalSettings { rules: None, default_realm: "R", removes_host, removes_realm };
            PrincipalRules::new(settings).expect("sound").user(principal).expect("a name")
        };
        assert_eq!(named(true, false, "bob/h@R"), "bob@R");
        assert_eq!(named(false, true, "bob/h@R"), "bob/h");
        assert_eq!(named(true, true, "bob/h@R"), "bob");
        assert_eq!(named(true, true, "bob/h@OTHER"), "bob/h@OTHER", "not bob of our realm");
    }

    #[test]
    fn principals_that_java_cannot_read_are_nobody() {
        for principal in ["a/b/c@R", "a@b@R", r"a\/b@R", r"a\@b@R", "bob", ""] {
            assert_eq!(rules("").user(principal), None, "{principal}");
        }
    }

    #[test]
    fn faulty_rules_are_found_at_once() {
        let faulty = [
            "RULE",
            "x",
            "DEFAULT,DEFAULT",
            "RULE:[:x]",
            "RULE:[1:x",
            "RULE:[1:x](a",
            "RULE:[x:1]",
            "RULE:[1:$2]",
            "RULE:[1:$]",
            "RULE:[1:$1]s/a",
            "RULE:[1:$1]s/a/b",
            "RULE:[1:$1](*)",
            "RULE:[1:$1]s/a/$1/",
            "RULE:[1:$1]s/a/$/",
            r"RULE:[1:$1]s/a/\/",
            "RULE:[1:$1](?=a)",
        ];
        for text in faulty {
            let settings = PrincipalSettings { rules: Some(text), ..Default::default() };
            let reason = PrincipalRules::new(settings).expect_err(text);
            assert!(reason.starts_with("security.auth_to_local: "), "{reason}");
        }
    }

    /// A few rules of every shape: forms, a filter or none, an exchange or none.
    const ANY_RULES: &str =
        r"(DEFAULT |RULE:\[[12]:\$[01](@\$0)?\](\([a-z.*]+\))?(s/[a-z@.]*/[a-z]*/g?)? ){0,3}";

    proptest! {
        #[test]
        fn a_name_never_leaves_its_realm(
            name in "[a-z/@\\\\]{0,6}",
            realm in "[A-Z]{1,3}",
            text in ANY_RULES,
        ) {
            let settings = PrincipalSettings { rules: Some(&text), default_realm: "R",
                ..Default::default() };
            if let Ok(rules) = PrincipalRules::new(settings)
                && let Some(user) = rules.user(&format!("{name}@{realm}"))
            {
                prop_assert!(user.ends_with(&format!("@{realm}")), "{}", user);
            }
        }

        #[test]
        fn no_rules_break_the_reader(
            text in r"(DEFAULT|RULE|:|\[|\]|\(|\)|s/|/|\$|1|2|\\|g| |é){0,20}",
        ) {
            let settings = PrincipalSettings { rules: Some(&text), ..Default::default() };
            if let Ok(rules) = PrincipalRules::new(settings) {
                let _ = rules.user("bob/admin@R");
            }
        }
    }
}
