//! Many paths in one piece of memory: a session that closes may list a hundred thousand.

use std::fmt;

use super::jute::{DecodeError, Reader, Writer};

#[derive(Clone, Default, PartialEq, Eq)]
pub struct PathList {
    text: String,
    /// Where each ends in the text.
    ends: Vec<usize>,
}

impl PathList {
    pub fn push(&mut self, path: &str) {
        self.push_parts(path, "", "");
    }

    /// A path of up to three parts.
    pub fn push_parts(&mut self, first: &str, second: &str, third: &str) {
        for part in [first, second, third] {
            self.text.push_str(part);
        }
        self.ends.push(self.text.len());
    }

    /// Takes the last away again.
    pub fn pop(&mut self) {
        self.ends.pop();
        self.text.truncate(self.ends.last().copied().unwrap_or_default());
    }

    pub fn last(&self) -> Option<&str> {
        let before = self.ends.len().checked_sub(2).map_or(0, |at| self.ends[at]);
        self.ends.last().map(|end| &self.text[before..*end])
    }

    pub fn len(&self) -> usize {
        self.ends.len()
    }

    pub fn is_empty(&self) -> bool {
        self.ends.is_empty()
    }

    /// The `n`th, which must be there.
    pub fn at(&self, n: usize) -> &str {
        let begin = n.checked_sub(1).map_or(0, |before| self.ends[before]);
        &self.text[begin..self.ends[n]]
    }

    pub fn iter(&self) -> impl Iterator<Item = &str> {
        let mut begin = 0;
        self.ends.iter().map(move |end| &self.text[std::mem::replace(&mut begin, *end)..*end])
    }

    /// As many bytes as it takes when it is written, where the paths are plain.
    pub fn encoded_bytes(&self) -> usize {
        4 + 4 * self.ends.len() + self.text.len()
    }

    pub(super) fn write(&self, out: &mut Vec<u8>) {
        out.put_i32(self.len() as i32);
        self.iter().for_each(|path| out.put_string(path));
    }

    /// Reads twice: what is reserved is what is needed, whatever the bytes decode to.
    pub(super) fn read(r: &mut Reader<'_>) -> Result<PathList, DecodeError> {
        let (mut count, mut bytes) = (0, 0);
        r.clone().vector(4, |r| {
            bytes += r.string()?.ok_or(DecodeError::Null)?.len();
            count += 1;
            Ok(())
        })?;
        let (text, ends) = (String::with_capacity(bytes), Vec::with_capacity(count));
        let mut paths = PathList { text, ends };
        r.vector(4, |r| {
            paths.push(&r.string()?.ok_or(DecodeError::Null)?);
            Ok(())
        })?;
        Ok(paths)
    }
}

impl<S: AsRef<str>> FromIterator<S> for PathList {
    fn from_iter<I: IntoIterator<Item = S>>(paths: I) -> PathList {
        let mut list = PathList::default();
        paths.into_iter().for_each(|path| list.push(path.as_ref()));
        list
    }
}

impl fmt::Debug for PathList {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.iter()).finish()
    }
}
