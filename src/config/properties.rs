//! Java's Properties syntax: lines, continuations, separators, escapes.

/// One `key=value` of a file, in the file's order, with the line it begins in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    pub key: String,
    pub value: String,
    /// 1 for the first line.
    pub line: usize,
}

/// A `\u` without four hexadecimal digits behind it, the only thing Java's syntax refuses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Malformed {
    pub line: usize,
}

/// Reads a file as Java does, one character a byte (ISO 8859-1). Duplicates stay, in order.
pub fn parse(text: &[u8]) -> Result<Vec<Entry>, Malformed> {
    let mut lines = Lines { text, at: 0, line: 1 };
    let mut entries = Vec::new();
    while let Some((line, logical)) = lines.next_logical() {
        let (key, value) = split(&logical);
        let unescaped = unescape(key).zip(unescape(value));
        let (key, value) = unescaped.ok_or(Malformed { line })?;
        entries.push(Entry { key, value, line });
    }
    Ok(entries)
}

struct Lines<'a> {
    text: &'a [u8],
    at: usize,
    line: usize,
}

impl Lines<'_> {
    fn take(&mut self) -> Option<u8> {
        let byte = *self.text.get(self.at)?;
        self.at += 1;
        // "\r\n" is one line's end, counted at its second byte.
        if byte == b'\n' || (byte == b'\r' && self.text.get(self.at) != Some(&b'\n')) {
            self.line += 1;
        }
        Some(byte)
    }

    /// The next line with its continuations joined, comments and blank lines left out, leading
    /// blanks taken off; with the number of the line it began in.
    fn next_logical(&mut self) -> Option<(usize, Vec<u8>)> {
        let mut logical = Vec::new();
        let mut began = self.line;
        let (mut skipping, mut continued, mut escaped) = (true, false, false);
        loop {
            let line = self.line;
            let Some(byte) = self.take() else {
                // A backslash at the very end of the file continues into nothing.
                if escaped {
                    logical.pop();
                }
                let any = !logical.is_empty() || escaped;
                return any.then_some((began, logical));
            };
            let ends = byte == b'\n' || byte == b'\r';
            if skipping {
                if is_blank(byte) || (ends && !continued) {
                    continue;
                }
                (skipping, continued) = (false, false);
            }
            if logical.is_empty() {
                began = line;
            }
            match byte {
                b'#' | b'!' if logical.is_empty() => {
                    self.skip_line();
                    skipping = true;
                }
                _ if !ends => {
                    logical.push(byte);
                    escaped = byte == b'\\' && !escaped;
                }
                _ if logical.is_empty() => skipping = true,
                _ if escaped => {
                    logical.pop();
                    if self.at == self.text.len() {
                        return Some((began, logical));
                    }
                    (skipping, continued, escaped) = (true, true, false);
                    if byte == b'\r' && self.text.get(self.at) == Some(&b'\n') {
                        self.take();
                    }
                }
                _ => return Some((began, logical)),
            }
        }
    }

    fn skip_line(&mut self) {
        while let Some(byte) = self.take() {
            if byte == b'\n' || byte == b'\r' {
                return;
            }
        }
    }
}

fn is_blank(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t' | 0x0c)
}

/// At the first `=`, `:` or blank that no backslash stands before; blanks around one separator
/// belong to neither side.
fn split(logical: &[u8]) -> (&[u8], &[u8]) {
    let mut escaped = false;
    let ends_key = |byte: &u8| {
        let ends = !escaped && (is_blank(*byte) || *byte == b'=' || *byte == b':');
        escaped = *byte == b'\\' && !escaped;
        ends
    };
    let key_end = logical.iter().position(ends_key).unwrap_or(logical.len());
    let (key, rest) = logical.split_at(key_end);
    let rest = skip_blanks(rest);
    let rest = match rest.split_first() {
        Some((b'=' | b':', behind)) => skip_blanks(behind),
        _ => rest,
    };
    (key, rest)
}

fn skip_blanks(text: &[u8]) -> &[u8] {
    let blanks = text.iter().take_while(|b| is_blank(**b)).count();
    text.split_at(blanks).1
}

/// None where a `\u` has no four hexadecimal digits.
fn unescape(text: &[u8]) -> Option<String> {
    let mut units: Vec<u16> = Vec::with_capacity(text.len());
    let mut rest = text.iter().copied();
    while let Some(byte) = rest.next() {
        if byte != b'\\' {
            units.push(u16::from(byte));
            continue;
        }
        let Some(code) = rest.next() else { break };
        units.push(match code {
            b'u' => {
                let mut unit = 0u16;
                for _ in 0..4 {
                    let digit = char::from(rest.next()?).to_digit(16)?;
                    unit = (unit << 4) | digit as u16;
                }
                unit
            }
            b't' => 0x09,
            b'n' => 0x0a,
            b'r' => 0x0d,
            b'f' => 0x0c,
            other => u16::from(other),
        });
    }
    // Half a surrogate pair is no character; Java would keep it, a path could not hold it.
    Some(String::from_utf16_lossy(&units))
}

#[cfg(test)]
#[path = "properties_tests.rs"]
mod tests;
