//! The file of login modules that Java reads: sections, modules, options.

use std::collections::BTreeMap;
use std::fmt;
use std::iter::Peekable;
use std::str::Chars;

use crate::proto::decode_utf8;

/// A value that no log line, listing or error may show.
#[derive(Clone, PartialEq, Eq)]
pub struct Password(pub String);

impl fmt::Debug for Password {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

/// One module of a section. What its flag says is not kept: every one of them has to serve.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LoginModule {
    pub class: String,
    pub options: BTreeMap<String, Password>,
    /// Where its class is named.
    pub line: usize,
}

/// What a file says, section by section.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LoginFile {
    sections: BTreeMap<String, Vec<LoginModule>>,
}

/// Why a file was not taken. It never tells a value: that may be a password.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LoginFileError {
    pub line: usize,
    pub reason: String,
}

impl fmt::Display for LoginFileError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "line {}: {}", self.line, self.reason)
    }
}

impl LoginFile {
    /// Reads a file. `property` is asked for what stands in a value as `${name}`.
    pub fn parse(
        text: &[u8],
        property: &dyn Fn(&str) -> Option<String>,
    ) -> Result<LoginFile, LoginFileError> {
        let text = decode_utf8(text);
        let mut parser = Parser::new(&text, property);
        let mut file = LoginFile::default();
        while parser.ahead != Token::End {
            let line = parser.line;
            let (name, modules) = parser.section()?;
            if file.sections.contains_key(&name) {
                let reason = format!("the section {name} is there twice");
                return Err(LoginFileError { line, reason });
            }
            file.sections.insert(name, modules);
        }
        Ok(file)
    }

    /// The modules of a section; an empty one is as none.
    pub fn section(&self, name: &str) -> Option<&[LoginModule]> {
        self.sections.get(name).map(Vec::as_slice).filter(|modules| !modules.is_empty())
    }

    /// For messages about a section that is not there.
    pub fn section_names(&self) -> impl Iterator<Item = &str> {
        self.sections.keys().map(String::as_str)
    }

    /// The users of DIGEST-MD5: options `user_NAME` of any module, the last of several counts.
    pub fn users(modules: &[LoginModule]) -> BTreeMap<String, Password> {
        let options = modules.iter().flat_map(|module| &module.options);
        let named = options.filter_map(|(key, value)| Some((key.strip_prefix("user_")?, value)));
        named.map(|(user, password)| (user.to_owned(), password.clone())).collect()
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Token {
    Word(String),
    Number,
    Sign(char),
    End,
}

struct Parser<'a> {
    chars: Peekable<Chars<'a>>,
    /// Of the next character.
    next_line: usize,
    /// Of the token ahead.
    line: usize,
    ahead: Token,
    property: &'a dyn Fn(&str) -> Option<String>,
}

impl<'a> Parser<'a> {
    fn new(text: &'a str, property: &'a dyn Fn(&str) -> Option<String>) -> Parser<'a> {
        let chars = text.chars().peekable();
        let mut parser = Parser { chars, next_line: 1, line: 1, ahead: Token::End, property };
        parser.advance();
        parser
    }

    fn section(&mut self) -> Result<(String, Vec<LoginModule>), LoginFileError> {
        let name = self.word("the name of a section")?;
        self.sign('{')?;
        let mut modules = Vec::new();
        while self.ahead != Token::Sign('}') {
            modules.push(self.module()?);
        }
        self.sign('}')?;
        self.sign(';')?;
        Ok((name, modules))
    }

    fn module(&mut self) -> Result<LoginModule, LoginFileError> {
        let line = self.line;
        let class = self.word("the class of a login module")?;
        let flag_line = self.line;
        let flag = self.word("required, requisite, sufficient or optional")?;
        let flags = ["required", "requisite", "sufficient", "optional"];
        if !flags.iter().any(|known| flag.eq_ignore_ascii_case(known)) {
            let reason = "a module's flag is required, requisite, sufficient or optional";
            return Err(LoginFileError { line: flag_line, reason: reason.to_owned() });
        }
        let mut options = BTreeMap::new();
        while self.ahead != Token::Sign(';') {
            let key = self.word("an option or ;")?;
            self.sign('=')?;
            let line = self.line;
            let value = self.word("a value (in double quotes unless it is one plain word)")?;
            let value = expand(&value, self.property)
                .map_err(|reason| LoginFileError { line, reason: format!("{key}: {reason}") })?;
            options.insert(key, Password(value));
        }
        self.sign(';')?;
        Ok(LoginModule { class, options, line })
    }

    fn word(&mut self, wanted: &str) -> Result<String, LoginFileError> {
        match std::mem::replace(&mut self.ahead, Token::End) {
            Token::Word(word) => {
                self.advance();
                Ok(word)
            }
            other => Err(self.unexpected(wanted, &other)),
        }
    }

    fn sign(&mut self, wanted: char) -> Result<(), LoginFileError> {
        if self.ahead == Token::Sign(wanted) {
            self.advance();
            return Ok(());
        }
        let found = self.ahead.clone();
        Err(self.unexpected(&wanted.to_string(), &found))
    }

    fn unexpected(&self, wanted: &str, found: &Token) -> LoginFileError {
        let found = match found {
            Token::Word(_) => "a word".to_owned(),
            Token::Number => "a number without quotes".to_owned(),
            Token::Sign(sign) => sign.escape_debug().to_string(),
            Token::End => "the end of the file".to_owned(),
        };
        LoginFileError { line: self.line, reason: format!("{wanted} expected, {found} found") }
    }

    fn advance(&mut self) {
        self.skip_blanks();
        self.line = self.next_line;
        self.ahead = match self.read() {
            None => Token::End,
            Some('"') => Token::Word(self.quoted()),
            // As Java's tokenizer: a number is no word, wherever it leads to.
            Some(c) if c.is_ascii_digit() || c == '.' => self.number(),
            Some('-') if self.chars.peek().is_some_and(|c| c.is_ascii_digit() || *c == '.') => {
                self.number()
            }
            Some(c) if is_of_word(c) => {
                let mut word = String::from(c);
                while let Some(&c) = self.chars.peek()
                    && (is_of_word(c) || c.is_ascii_digit() || c == '.')
                {
                    word.push(c);
                    self.read();
                }
                Token::Word(word)
            }
            Some(c) => Token::Sign(c),
        };
    }

    fn number(&mut self) -> Token {
        while self.chars.peek().is_some_and(|c| c.is_ascii_digit() || *c == '.') {
            self.read();
        }
        Token::Number
    }

    fn read(&mut self) -> Option<char> {
        let c = self.chars.next()?;
        let is_pair = c == '\r' && self.chars.peek() == Some(&'\n');
        self.next_line += usize::from(c == '\n' || c == '\r' && !is_pair);
        Some(c)
    }

    /// Blanks and comments. A lone slash begins a comment too, as in Java.
    fn skip_blanks(&mut self) {
        while let Some(&c) = self.chars.peek() {
            if c > ' ' && c != '/' {
                return;
            }
            self.read();
            if c != '/' {
                continue;
            }
            if self.chars.peek() == Some(&'*') {
                self.read();
                let mut before = ' ';
                while let Some(c) = self.read() {
                    if before == '*' && c == '/' {
                        break;
                    }
                    before = c;
                }
                continue;
            }
            while self.chars.peek().is_some_and(|c| *c != '\n' && *c != '\r') {
                self.read();
            }
        }
    }

    /// What stands between double quotes; the end of the line ends it too, as in Java.
    fn quoted(&mut self) -> String {
        let mut text = String::new();
        while let Some(&c) = self.chars.peek() {
            if c == '\n' || c == '\r' {
                break;
            }
            self.read();
            match c {
                '"' => break,
                '\\' => text.extend(self.escaped()),
                c => text.push(c),
            }
        }
        text
    }

    fn escaped(&mut self) -> Option<char> {
        let c = self.read()?;
        let Some(first) = c.to_digit(8) else {
            return Some(match c {
                'a' => '\u{7}',
                'b' => '\u{8}',
                'f' => '\u{c}',
                'n' => '\n',
                'r' => '\r',
                't' => '\t',
                'v' => '\u{b}',
                c => c,
            });
        };
        let mut number = first;
        // Up to \377.
        for _ in 0..if first <= 3 { 2 } else { 1 } {
            let Some(digit) = self.chars.peek().and_then(|c| c.to_digit(8)) else { break };
            self.read();
            number = number * 8 + digit;
        }
        char::from_u32(number)
    }
}

fn is_of_word(c: char) -> bool {
    c.is_ascii_alphabetic() || matches!(c, '$' | '_' | '-' | '*') || c >= '\u{a0}'
}

/// `${name}` becomes the property's value, `${/}` a slash; `${{…}}` stays.
fn expand(value: &str, property: &dyn Fn(&str) -> Option<String>) -> Result<String, String> {
    let mut expanded = String::with_capacity(value.len());
    let mut rest = value;
    while let Some(at) = rest.find("${") {
        let (before, named) = rest.split_at(at);
        expanded.push_str(before);
        let (close, kept) = if named.starts_with("${{") { ("}}", true) } else { ("}", false) };
        let Some(end) = named.find(close) else {
            expanded.push_str(named);
            return Ok(expanded);
        };
        let name = &named[2..end];
        match name {
            _ if kept => expanded.push_str(&named[..end + close.len()]),
            "/" => expanded.push('/'),
            name => match property(name) {
                Some(value) => expanded.push_str(&value),
                None => return Err(format!("there is no system property {name:?} to expand")),
            },
        }
        rest = &named[end + close.len()..];
    }
    expanded.push_str(rest);
    if expanded.is_empty() && !value.is_empty() {
        return Err("its system properties expand to nothing".to_owned());
    }
    Ok(expanded)
}
