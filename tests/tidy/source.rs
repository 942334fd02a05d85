//! One source file, with its comments and literals blanked out so that rules see only code.

/// A file's lines as written, and the same lines with comments and literals made blank.
pub struct Source {
    pub path: String,
    pub lines: Vec<String>,
    pub code: Vec<String>,
}

impl Source {
    pub fn new(path: &str, text: &str) -> Source {
        let code = blank(text).lines().map(str::to_owned).collect();
        Source { path: path.to_owned(), lines: text.lines().map(str::to_owned).collect(), code }
    }

    /// The room this file belongs to: the folder (or file) below `src/`.
    pub fn room(&self) -> Option<&str> {
        let below = self.path.strip_prefix("src/")?;
        let first = below.split('/').next()?;
        Some(first.strip_suffix(".rs").unwrap_or(first))
    }
}

#[derive(Clone, Copy, PartialEq)]
enum In {
    Code,
    LineComment,
    /// How deep block comments are nested.
    BlockComment(u32),
    Str,
    /// How many `#` end it.
    RawStr(usize),
}

/// Replaces comments and the contents of literals by spaces; newlines and columns stay.
fn blank(text: &str) -> String {
    let chars: Vec<char> = text.chars().collect();
    let mut out = String::with_capacity(text.len());
    let mut state = In::Code;
    let mut i = 0;
    while i < chars.len() {
        let (next, taken) = step(state, &chars, i);
        let keep = state == In::Code && next == In::Code && taken == 1;
        for c in &chars[i..i + taken] {
            out.push(if keep || *c == '\n' { *c } else { ' ' });
        }
        state = next;
        i += taken;
    }
    out
}

fn step(state: In, chars: &[char], i: usize) -> (In, usize) {
    let at = |k: usize| chars.get(i + k).copied().unwrap_or('\0');
    let left = chars.len() - i;
    match state {
        In::Code => code_step(chars, i),
        In::LineComment if at(0) == '\n' => (In::Code, 1),
        In::LineComment => (In::LineComment, 1),
        In::BlockComment(deep) if at(0) == '*' && at(1) == '/' => {
            (if deep == 1 { In::Code } else { In::BlockComment(deep - 1) }, 2)
        }
        In::BlockComment(deep) if at(0) == '/' && at(1) == '*' => (In::BlockComment(deep + 1), 2),
        In::BlockComment(deep) => (In::BlockComment(deep), 1),
        In::Str if at(0) == '\\' => (In::Str, 2.min(left)),
        In::Str if at(0) == '"' => (In::Code, 1),
        In::Str => (In::Str, 1),
        In::RawStr(n) if at(0) == '"' && (1..=n).all(|k| at(k) == '#') => (In::Code, 1 + n),
        In::RawStr(n) => (In::RawStr(n), 1),
    }
}

fn code_step(chars: &[char], i: usize) -> (In, usize) {
    let at = |k: usize| chars.get(i + k).copied().unwrap_or('\0');
    let inside_word = i > 0 && (chars[i - 1].is_alphanumeric() || chars[i - 1] == '_');
    match at(0) {
        '/' if at(1) == '/' => (In::LineComment, 2),
        '/' if at(1) == '*' => (In::BlockComment(1), 2),
        '"' => (In::Str, 1),
        'r' if !inside_word || (i > 0 && chars[i - 1] == 'b') => {
            let hashes = (1..).take_while(|k| at(*k) == '#').count();
            if at(1 + hashes) == '"' { (In::RawStr(hashes), 2 + hashes) } else { (In::Code, 1) }
        }
        // A character, not a lifetime: closed again after one character or one escape.
        '\'' if at(1) == '\\' => {
            let end = (3..).find(|k| at(*k) == '\'' || at(*k) == '\0').unwrap_or(3);
            (In::Code, (end + 1).min(chars.len() - i))
        }
        '\'' if at(2) == '\'' => (In::Code, 3),
        _ => (In::Code, 1),
    }
}

#[test]
fn comments_and_literals_are_blank_and_code_stays() {
    let text =
        "let a = \"x // \\\" y\"; // note\nlet b = '\"'; let c = r#\"q\"z\"#; /* a /* b */ */ d";
    let source = Source::new("src/base/x.rs", text);
    let shown: String = source.code[0].split_whitespace().collect();
    assert_eq!(shown, "leta=;");
    assert_eq!(source.code[0].find(';'), source.lines[0].find(';'));
    assert!(source.code[1].ends_with('d') && !source.code[1].contains('z'));
    assert!(source.code[1].contains("let c ="));
    assert_eq!(source.code[0].len(), source.lines[0].len());
    assert_eq!(source.room(), Some("base"));
    assert_eq!(Source::new("fn.rs", "fn f<'a>(x: &'a str) {}").code[0], "fn f<'a>(x: &'a str) {}");
}
