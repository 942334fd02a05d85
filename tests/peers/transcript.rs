//! Golden transcripts of what peers say (`tests/wire/peers/`), one message a line, in the form of
//! those beside them: `> link hex` was said by who dialled, `< link hex` by who accepted, where
//! link `2-1` is the one that member 2 has dialled to member 1. `[name=hex]` is a field that
//! differs from run to run; what follows ` # ` is a comment.

use std::fs;
use std::path::PathBuf;

use crate::java::root;
use crate::relay::Side;

#[derive(Clone, Debug)]
pub struct Line {
    pub dialler: i64,
    pub acceptor: i64,
    pub side: Side,
    /// Fields in hex, some of them in brackets.
    pub groups: String,
    pub comment: String,
}

impl Line {
    pub fn speaker(&self) -> i64 {
        if self.side == Side::Dialler { self.dialler } else { self.acceptor }
    }

    pub fn listener(&self) -> i64 {
        if self.side == Side::Dialler { self.acceptor } else { self.dialler }
    }

    pub fn bytes(&self) -> Vec<u8> {
        self.groups.split(' ').flat_map(|group| unhex(value(group))).collect()
    }

    /// What must be the same in each run.
    pub fn masked(&self) -> String {
        let name = |group: &str| match group.split_once('=') {
            Some((name, _)) => format!("{name}]"),
            None => group.to_owned(),
        };
        self.groups.split(' ').map(name).collect::<Vec<String>>().join(" ")
    }

    fn text(&self) -> String {
        let mark = if self.side == Side::Dialler { '>' } else { '<' };
        let Line { dialler, acceptor, groups, comment, .. } = self;
        format!("{mark} {dialler}-{acceptor} {groups} # {comment}\n")
    }

    fn read(text: &str) -> Option<Line> {
        let (said, comment) = text.split_once(" # ")?;
        let (mark, said) = said.split_once(' ')?;
        let side = match mark {
            ">" => Side::Dialler,
            "<" => Side::Acceptor,
            _ => return None,
        };
        let (link, groups) = said.split_once(' ')?;
        let (dialler, acceptor) = link.split_once('-')?;
        Some(Line {
            dialler: dialler.parse().ok()?,
            acceptor: acceptor.parse().ok()?,
            side,
            groups: groups.to_owned(),
            comment: comment.to_owned(),
        })
    }
}

fn path(name: &str) -> PathBuf {
    root().join("tests/wire/peers").join(format!("{name}.golden"))
}

pub fn read(name: &str) -> Vec<Line> {
    let path = path(name);
    let text = fs::read_to_string(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    let said = text.lines().filter(|line| !line.starts_with('#'));
    let lines: Vec<Line> = said
        .map(|line| Line::read(line).unwrap_or_else(|| panic!("{name}: no such line: {line}")))
        .collect();
    assert!(!lines.is_empty(), "{name} says something");
    lines
}

pub fn write(name: &str, about: &str, lines: &[Line]) {
    let said: String = lines.iter().map(Line::text).collect();
    let path = path(name);
    fs::create_dir_all(path.parent().expect("a folder")).expect("a folder for transcripts");
    fs::write(&path, format!("# {about}\n{said}")).expect("a transcript is written");
}

pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn unhex(text: &str) -> Vec<u8> {
    let digits = |at: usize| text.get(at..at + 2).expect("pairs of digits");
    let byte = |at: usize| u8::from_str_radix(digits(at), 16).expect("hexadecimal");
    (0..text.len()).step_by(2).map(byte).collect()
}

/// `[name=hex]` stands for its hex.
fn value(group: &str) -> &str {
    let masked = group.strip_prefix('[').and_then(|inner| inner.strip_suffix(']'));
    masked.map_or(group, |inner| inner.split_once('=').expect("a name and a value").1)
}
