//! The rules, each from one source to its faults, each shown a bad sample below.

use std::fmt;

use super::source::Source;

pub const FILE_LINES: usize = 600;
pub const FUNCTION_LINES: usize = 70;
pub const LINE_COLUMNS: usize = 100;

/// Room, rank, whether it is pure. The table of `src/lib.rs`.
const ROOMS: [(&str, u8, bool); 22] = [
    ("base", 0, true),
    ("proto", 1, true),
    ("members", 1, true),
    ("config", 2, true),
    ("stores", 2, true),
    ("state", 2, true),
    ("auth", 2, true),
    ("history", 2, true),
    ("peering", 2, true),
    ("watch", 3, true),
    ("prepare", 3, true),
    ("election", 4, true),
    ("zab", 4, true),
    ("session", 4, true),
    ("serve", 4, true),
    ("node", 5, true),
    ("admin", 6, true),
    ("disk", 7, false),
    ("reactor", 7, false),
    ("client", 7, false),
    ("kerberos", 7, false),
    ("bin", 8, false),
];

/// What opens a pure room's door to the outside world.
const IMPURE: [&str; 12] = [
    "std::fs",
    "std::thread",
    "std::process",
    "std::env",
    "std::time::Instant",
    "std::time::SystemTime",
    "SystemTime::now",
    "Instant::now",
    "RandomState",
    "DefaultHasher",
    "std::collections::HashMap",
    "std::collections::HashSet",
];

/// Crates that reach sockets, files, clocks or chance.
const IMPURE_CRATES: [&str; 6] = ["mio", "socket2", "rustix", "memmap2", "signal_hook", "libc"];

/// Values of `std::net` that are no sockets.
const NET_VALUES: [&str; 7] = [
    "SocketAddr",
    "SocketAddrV4",
    "SocketAddrV6",
    "IpAddr",
    "Ipv4Addr",
    "Ipv6Addr",
    "AddrParseError",
];

pub struct Fault {
    place: String,
    line: usize,
    text: String,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}: {}", self.place, self.line, self.text)
    }
}

fn fault(source: &Source, index: usize, text: impl Into<String>) -> Fault {
    Fault { place: source.path.clone(), line: index + 1, text: text.into() }
}

fn rank(room: &str) -> Option<(u8, bool)> {
    ROOMS.iter().find(|(name, ..)| *name == room).map(|(_, rank, pure)| (*rank, *pure))
}

/// The rooms that a line of code names as `crate::room` or `zkd::room`, grouped imports included.
fn rooms_named(code: &str) -> Vec<String> {
    let mut named = Vec::new();
    for head in ["crate::", "zkd::"] {
        for (at, _) in code.match_indices(head) {
            let rest = &code[at + head.len()..];
            if let Some(group) = rest.strip_prefix('{') {
                named.extend(group_heads(group));
            } else {
                named.push(first_word(rest).to_owned());
            }
        }
    }
    named.retain(|n| rank(n).is_some());
    named
}

/// The first word of every part of a `{a::b, c::{d, e}}` group.
fn group_heads(group: &str) -> Vec<String> {
    let (mut deep, mut heads, mut fresh) = (0, Vec::new(), true);
    for (at, c) in group.char_indices() {
        match c {
            '{' => deep += 1,
            '}' if deep == 0 => break,
            '}' => deep -= 1,
            ',' if deep == 0 => fresh = true,
            c if fresh && !c.is_whitespace() => {
                heads.push(first_word(&group[at..]).to_owned());
                fresh = false;
            }
            _ => {}
        }
    }
    heads
}

fn first_word(text: &str) -> &str {
    let end = text.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(text.len());
    &text[..end]
}

pub fn ranks(source: &Source) -> Vec<Fault> {
    let Some(room) = source.room() else { return Vec::new() };
    let Some((own, pure)) = rank(room) else { return Vec::new() };
    let mut faults = Vec::new();
    // One string, so that an import over several lines is one import.
    let code = source.code.join("\n");
    for named in rooms_named(&code) {
        let (other, other_pure) = rank(&named).expect("only rooms are named");
        if named != room && (other >= own || (pure && !other_pure)) {
            let line = source.code.iter().position(|l| l.contains(&named)).unwrap_or(0);
            let text = format!("{room} (rank {own}) may not use {named} (rank {other})");
            faults.push(fault(source, line, text));
        }
    }
    faults
}

pub fn unknown_room(source: &Source) -> Vec<Fault> {
    match source.room() {
        Some("lib" | "main" | "cli" | "start") | None => Vec::new(),
        Some(room) if rank(room).is_some() => Vec::new(),
        Some(room) => vec![fault(source, 0, format!("src/{room} has no rank in the table"))],
    }
}

pub fn purity(source: &Source) -> Vec<Fault> {
    let pure = source.room().and_then(rank).is_some_and(|(_, pure)| pure);
    if !pure {
        return Vec::new();
    }
    let mut faults = Vec::new();
    for (i, line) in source.code.iter().enumerate() {
        for banned in IMPURE.iter().filter(|b| line.contains(**b)) {
            faults.push(fault(source, i, format!("a pure room may not use {banned}")));
        }
        for name in IMPURE_CRATES.iter().filter(|n| uses_crate(line, n)) {
            faults.push(fault(source, i, format!("a pure room may not use the crate {name}")));
        }
        if std_group_names(line, "{fs") || std_group_names(line, " fs") {
            faults.push(fault(source, i, "a pure room may not use std::fs"));
        }
    }
    faults.extend(net_faults(source));
    faults
}

fn uses_crate(line: &str, name: &str) -> bool {
    let path = format!("{name}::");
    line.match_indices(&path).any(|(at, _)| {
        let before = line[..at].chars().next_back();
        !before.is_some_and(|c| c.is_alphanumeric() || c == '_' || c == ':')
    })
}

fn std_group_names(line: &str, word: &str) -> bool {
    line.contains("use std::{") && line.contains(&format!("{word}::"))
}

/// `std::net` is looked at as one text, so that a group over several lines is one group.
fn net_faults(source: &Source) -> Vec<Fault> {
    let code = source.code.join("\n");
    let mut faults = Vec::new();
    for (at, head) in code.match_indices("std::net::") {
        let rest = &code[at + head.len()..];
        let group = rest.strip_prefix('{').and_then(|g| g.split_once('}')).map(|(g, _)| g);
        let names = group.unwrap_or(first_word(rest)).split(',').map(|n| first_word(n.trim()));
        for name in names.filter(|n| !n.is_empty() && !NET_VALUES.contains(n)) {
            let line = code[..at].matches('\n').count();
            faults.push(fault(source, line, format!("a pure room may not use std::net::{name}")));
        }
    }
    faults
}

pub fn file_length(source: &Source) -> Vec<Fault> {
    let lines = source.lines.len();
    if lines <= FILE_LINES {
        return Vec::new();
    }
    vec![fault(source, lines - 1, format!("{lines} lines in one file; {FILE_LINES} are the most"))]
}

pub fn line_width(source: &Source) -> Vec<Fault> {
    let too_wide = |(_, line): &(usize, &String)| line.chars().count() > LINE_COLUMNS;
    let wide = source.lines.iter().enumerate().filter(too_wide);
    wide.map(|(i, _)| fault(source, i, format!("wider than {LINE_COLUMNS} columns"))).collect()
}

pub fn function_length(source: &Source) -> Vec<Fault> {
    let mut faults = Vec::new();
    for (i, line) in source.code.iter().enumerate() {
        if !starts_function(line) {
            continue;
        }
        let Some(end) = body_end(&source.code[i..]) else { continue };
        let lines = end + 1;
        if lines > FUNCTION_LINES {
            let text = format!("a function of {lines} lines; {FUNCTION_LINES} are the most");
            faults.push(fault(source, i, text));
        }
    }
    faults
}

fn starts_function(line: &str) -> bool {
    let found = line.match_indices("fn ").any(|(at, _)| {
        let before = line[..at].chars().next_back();
        let name = first_word(&line[at + 3..]);
        !name.is_empty() && !before.is_some_and(|c| c.is_alphanumeric() || c == '_')
    });
    found && !line.trim_start().starts_with('#')
}

/// The line, counted from the first, in which the braces that open here are closed again; none
/// for a declaration without a body.
fn body_end(code: &[String]) -> Option<usize> {
    let (mut braces, mut others) = (0usize, 0usize);
    for (i, line) in code.iter().enumerate() {
        for c in line.chars() {
            match c {
                '(' | '[' => others += 1,
                ')' | ']' => others = others.saturating_sub(1),
                '{' => braces += 1,
                '}' => {
                    braces = braces.saturating_sub(1);
                    if braces == 0 {
                        return Some(i);
                    }
                }
                ';' if braces == 0 && others == 0 => return None,
                _ => {}
            }
        }
    }
    None
}

pub fn leftovers(source: &Source) -> Vec<Fault> {
    let mut faults = Vec::new();
    for (i, line) in source.code.iter().enumerate() {
        let macros = ["todo!", "unimplemented!", "dbg!"];
        for found in macros.iter().filter(|m| line.contains(**m)) {
            faults.push(fault(source, i, format!("{found} is left")));
        }
    }
    let words = [concat!("FIX", "ME"), concat!("TO", "DO:"), concat!("XX", "X ")];
    for (i, line) in source.lines.iter().enumerate() {
        for found in words.iter().filter(|w| line.contains(**w)) {
            faults.push(fault(source, i, format!("{found} is left")));
        }
    }
    faults
}

pub fn ignored_tests(source: &Source) -> Vec<Fault> {
    let ignored = |line: &String| {
        let line = line.trim_start();
        line.starts_with("#[ignore") || (line.starts_with("#[cfg_attr") && line.contains("ignore"))
    };
    let found = source.code.iter().enumerate().filter(|(_, line)| ignored(line));
    found.map(|(i, _)| fault(source, i, "an ignored test; fix it or remove it")).collect()
}

/// A test that returns before its end can pass without having tested anything: what cannot be
/// had (a tool, a server, a variable) is a failure. Returns inside closures and helpers are fine.
pub fn skipping_tests(source: &Source) -> Vec<Fault> {
    let mut faults = Vec::new();
    for (i, line) in source.code.iter().enumerate() {
        if line.trim() != "#[test]" {
            continue;
        }
        let body = &source.code[i + 1..];
        let Some(start) = body.iter().position(|l| starts_function(l)) else { continue };
        let Some(end) = body_end(&body[start..]) else { continue };
        for (k, inner) in body[start..=start + end].iter().enumerate() {
            if inner.trim() == "return;"
                || inner.contains("{ return }")
                || inner.contains("{ return;")
            {
                let text = "a test that returns early has tested nothing; let it fail";
                faults.push(fault(source, i + 1 + start + k, text));
            }
        }
    }
    faults
}

/// The file that opens a room says what the room decides and what it never does.
pub fn opening_paragraph(source: &Source) -> Vec<Fault> {
    let parts: Vec<&str> = source.path.split('/').collect();
    let opens = matches!(parts.as_slice(), ["src", _, "mod.rs"]);
    let said = source.lines.iter().take_while(|l| l.starts_with("//!")).any(|l| l.len() > 20);
    if opens && !said {
        return vec![fault(source, 0, "a room opens with a paragraph: what it decides")];
    }
    Vec::new()
}

pub fn script(path: &str, text: &str, executable: bool) -> Vec<Fault> {
    let place = |line: usize, text: String| Fault { place: path.to_owned(), line, text };
    let mut faults = Vec::new();
    for (i, line) in text.lines().enumerate() {
        let squeezed: String = line.split_whitespace().collect::<Vec<_>>().join(" ");
        let hidden = [concat!("|| tr", "ue"), concat!("|| ", ":"), concat!("||tr", "ue")];
        if hidden.iter().any(|h| squeezed.contains(h)) && !squeezed.starts_with('#') {
            faults.push(place(i + 1, "hides a failure".to_owned()));
        }
    }
    if !executable {
        faults.push(place(1, "is not executable".to_owned()));
    }
    if !text.starts_with("#!") {
        faults.push(place(1, "does not say what runs it".to_owned()));
    }
    faults
}

#[cfg(test)]
#[path = "rules_tests.rs"]
mod tests;
